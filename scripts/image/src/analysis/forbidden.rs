//! Which instructions behave differently in ring 0.

use iced_x86::{Code, FlowControl, Instruction, Mnemonic, OpKind, Register};

/// Whether the instruction would fault in ring 3, or be ignored there, but does something in ring 0.
///
/// `popf` is among them: in ring 3 it cannot change the interrupt flag. The kernel executes it in the program's place.
pub(super) fn is_forbidden(instruction: &Instruction) -> bool {
    // hlt, cli, sti, in, out, rdmsr, wrmsr, xsetbv, mov cr and dr, lmsw, clts, lgdt, lidt, lldt, ltr, invlpg, wbinvd,
    // swapgs, sysret, sysexit and the like.
    if instruction.is_privileged() {
        return true;
    }
    match instruction.mnemonic() {
        Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq => true,
        // Any vector can be called; int3 and int1 mean the same everywhere.
        Mnemonic::Int => true,
        Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq | Mnemonic::Retf => true,
        // The gs base in place is the kernel's.
        Mnemonic::Rdgsbase | Mnemonic::Wrgsbase | Mnemonic::Lgs | Mnemonic::Lss => true,
        Mnemonic::Mov | Mnemonic::Pop => loads_segment(instruction),
        Mnemonic::Rdpmc | Mnemonic::Monitor | Mnemonic::Mwait | Mnemonic::Vmcall | Mnemonic::Vmmcall => true,
        Mnemonic::Stac | Mnemonic::Clac => true,
        Mnemonic::Jmp | Mnemonic::Call => is_far(instruction.code()),
        _ => false,
    }
}

/// Whether hardly any program contains the instruction, so that bytes that look like it are rather data. A `hlt` does
/// not count: C libraries use it to crash.
pub(super) fn is_implausible(instruction: &Instruction) -> bool {
    let is_rare = matches!(instruction.mnemonic(), Mnemonic::Salc | Mnemonic::Int1 | Mnemonic::Enter | Mnemonic::Xlatb);
    is_rare || (is_forbidden(instruction) && instruction.mnemonic() != Mnemonic::Hlt)
}

/// Whether control never goes on behind the instruction. A `hlt` is left out: it is a fault, but code may follow it.
pub(super) fn ends_flow(instruction: &Instruction) -> bool {
    let flow = instruction.flow_control();
    matches!(
        flow,
        FlowControl::UnconditionalBranch | FlowControl::IndirectBranch | FlowControl::Return | FlowControl::Exception
    ) || instruction.mnemonic() == Mnemonic::Int3
}

/// Whether control may never come back: what follows is code only if nothing speaks against it.
pub(super) fn may_not_return(instruction: &Instruction) -> bool {
    let flow = instruction.flow_control();
    matches!(flow, FlowControl::Call | FlowControl::IndirectCall | FlowControl::Interrupt)
        || instruction.mnemonic() == Mnemonic::Hlt
}

/// The target of a direct branch or call, with the size of its displacement in the instruction.
pub(super) fn direct_target(instruction: &Instruction) -> Option<(u64, DisplacementSize)> {
    let is_near = matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64);
    if instruction.op_count() == 0 || !is_near {
        return None;
    }
    let size = if instruction.is_jcc_short_or_near() && instruction.is_jcc_near()
        || instruction.is_jmp_near()
        || instruction.is_call_near()
    {
        DisplacementSize::Long
    } else {
        DisplacementSize::Short
    };
    Some((instruction.near_branch_target(), size))
}

/// How much a branch says: four bytes hit an instruction by chance hardly ever, one byte easily does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DisplacementSize {
    /// One byte.
    Short,
    /// Four bytes.
    Long,
}

/// A load of gs, ss, ds or es. Loads of fs are as harmless as in ring 3.
fn loads_segment(instruction: &Instruction) -> bool {
    instruction.op0_kind() == OpKind::Register
        && matches!(instruction.op0_register(), Register::GS | Register::SS | Register::DS | Register::ES)
}

fn is_far(code: Code) -> bool {
    matches!(
        code,
        Code::Jmp_m1616
            | Code::Jmp_m1632
            | Code::Jmp_m1664
            | Code::Call_m1616
            | Code::Call_m1632
            | Code::Call_m1664
            | Code::Jmp_ptr1616
            | Code::Jmp_ptr1632
            | Code::Call_ptr1616
            | Code::Call_ptr1632
    )
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::*;

    fn decode(bytes: &[u8]) -> Instruction {
        let instruction = Decoder::with_ip(64, bytes, 0x1000, DecoderOptions::NONE).decode();
        assert_eq!((instruction.is_invalid(), instruction.len()), (false, bytes.len()), "{bytes:x?}");
        instruction
    }

    #[test]
    fn every_dangerous_kind_is_forbidden() {
        let forbidden: &[(&str, &[u8])] = &[
            ("hlt", &[0xf4]),
            ("cli", &[0xfa]),
            ("sti", &[0xfb]),
            ("in al, 5", &[0xe4, 5]),
            ("in eax, 5", &[0xe5, 5]),
            ("in al, dx", &[0xec]),
            ("in eax, dx", &[0xed]),
            ("out 5, al", &[0xe6, 5]),
            ("out 5, eax", &[0xe7, 5]),
            ("out dx, al", &[0xee]),
            ("out dx, ax", &[0x66, 0xef]),
            ("insb", &[0x6c]),
            ("rep insd", &[0xf3, 0x6d]),
            ("outsb", &[0x6e]),
            ("outsd", &[0x6f]),
            ("rdmsr", &[0x0f, 0x32]),
            ("wrmsr", &[0x0f, 0x30]),
            ("xsetbv", &[0x0f, 0x01, 0xd1]),
            ("mov rax, cr0", &[0x0f, 0x20, 0xc0]),
            ("mov cr3, rax", &[0x0f, 0x22, 0xd8]),
            ("mov rax, dr7", &[0x0f, 0x21, 0xf8]),
            ("mov dr7, rax", &[0x0f, 0x23, 0xf8]),
            ("lmsw ax", &[0x0f, 0x01, 0xf0]),
            ("clts", &[0x0f, 0x06]),
            ("lgdt [rax]", &[0x0f, 0x01, 0x10]),
            ("lidt [rax]", &[0x0f, 0x01, 0x18]),
            ("lldt ax", &[0x0f, 0x00, 0xd0]),
            ("ltr ax", &[0x0f, 0x00, 0xd8]),
            ("invlpg [rax]", &[0x0f, 0x01, 0x38]),
            ("invpcid rax, [rax]", &[0x66, 0x0f, 0x38, 0x82, 0x00]),
            ("invd", &[0x0f, 0x08]),
            ("wbinvd", &[0x0f, 0x09]),
            ("swapgs", &[0x0f, 0x01, 0xf8]),
            ("rdgsbase rax", &[0xf3, 0x48, 0x0f, 0xae, 0xc8]),
            ("wrgsbase rax", &[0xf3, 0x48, 0x0f, 0xae, 0xd8]),
            ("mov gs, ax", &[0x8e, 0xe8]),
            ("mov ss, ax", &[0x8e, 0xd0]),
            ("mov ds, ax", &[0x8e, 0xd8]),
            ("mov es, [rax]", &[0x8e, 0x00]),
            ("pop gs", &[0x0f, 0xa9]),
            ("lgs rax, [rax]", &[0x48, 0x0f, 0xb5, 0x00]),
            ("lss rax, [rax]", &[0x48, 0x0f, 0xb2, 0x00]),
            ("jmp far [rax]", &[0xff, 0x28]),
            ("rex jmp far [rax]", &[0x48, 0xff, 0x28]),
            ("call far [rax]", &[0xff, 0x18]),
            ("retf", &[0xcb]),
            ("retf 8", &[0xca, 8, 0]),
            ("rex retf", &[0x48, 0xcb]),
            ("iret", &[0xcf]),
            ("iretq", &[0x48, 0xcf]),
            ("sysret", &[0x0f, 0x07]),
            ("sysretq", &[0x48, 0x0f, 0x07]),
            ("sysexit", &[0x0f, 0x35]),
            ("int 0x80", &[0xcd, 0x80]),
            ("int 3, two bytes", &[0xcd, 3]),
            ("popf", &[0x9d]),
            ("popfw", &[0x66, 0x9d]),
            ("rdpmc", &[0x0f, 0x33]),
            ("monitor", &[0x0f, 0x01, 0xc8]),
            ("mwait", &[0x0f, 0x01, 0xc9]),
            ("vmcall", &[0x0f, 0x01, 0xc1]),
            ("vmmcall", &[0x0f, 0x01, 0xd9]),
            ("stac", &[0x0f, 0x01, 0xcb]),
            ("xsaves [rax]", &[0x0f, 0xc7, 0x28]),
            ("xrstors [rax]", &[0x0f, 0xc7, 0x18]),
        ];
        for (name, bytes) in forbidden {
            assert!(is_forbidden(&decode(bytes)), "{name}");
        }
    }

    #[test]
    fn harmless_kinds_are_not() {
        let harmless: &[(&str, &[u8])] = &[
            ("syscall", &[0x0f, 0x05]),
            ("int3", &[0xcc]),
            ("int1", &[0xf1]),
            ("ud2", &[0x0f, 0x0b]),
            ("pushf", &[0x9c]),
            ("mov ax, gs", &[0x8c, 0xe8]),
            ("mov fs, ax", &[0x8e, 0xe0]),
            ("pop fs", &[0x0f, 0xa1]),
            ("push gs", &[0x0f, 0xa8]),
            ("wrfsbase rax", &[0xf3, 0x48, 0x0f, 0xae, 0xd0]),
            ("rdtsc", &[0x0f, 0x31]),
            ("cpuid", &[0x0f, 0xa2]),
            ("xgetbv", &[0x0f, 0x01, 0xd0]),
            ("jmp [rax]", &[0xff, 0x20]),
            ("call [rax]", &[0xff, 0x10]),
            ("ret", &[0xc3]),
            ("cmpxchg16b", &[0x48, 0x0f, 0xc7, 0x08]),
            ("rdrand eax", &[0x0f, 0xc7, 0xf0]),
            ("xsave [rax]", &[0x0f, 0xae, 0x20]),
        ];
        for (name, bytes) in harmless {
            assert!(!is_forbidden(&decode(bytes)), "{name}");
        }
    }

    #[test]
    fn targets_and_their_sizes_are_read() {
        assert_eq!(direct_target(&decode(&[0xeb, 2])), Some((0x1004, DisplacementSize::Short)));
        assert_eq!(direct_target(&decode(&[0x74, 0xfe])), Some((0x1000, DisplacementSize::Short)));
        assert_eq!(direct_target(&decode(&[0xe3, 0])), Some((0x1002, DisplacementSize::Short)));
        assert_eq!(direct_target(&decode(&[0xe8, 0, 1, 0, 0])), Some((0x1105, DisplacementSize::Long)));
        assert_eq!(direct_target(&decode(&[0xe9, 0, 1, 0, 0])), Some((0x1105, DisplacementSize::Long)));
        assert_eq!(direct_target(&decode(&[0x0f, 0x84, 0, 1, 0, 0])), Some((0x1106, DisplacementSize::Long)));
        assert_eq!(direct_target(&decode(&[0xff, 0xe0])), None);
        assert_eq!(direct_target(&decode(&[0xc3])), None);
    }
}
