//! Instructions that must not run in ring 0: what they do in ring 3.
//!
//! Their first byte was replaced when the code was mapped, so they arrive as invalid opcodes. Most are general protection
//! faults in ring 3, and a few are invalid there too. Those that work in ring 3 are executed here with its rights: `popf`
//! leaves alone what a program may not change, `rdgsbase` and `wrgsbase` mean the program's own gs, loads of a data segment
//! that is open to programs have no effect in 64-bit mode, and two interrupt gates are open.

use abi::{
    Siginfo, Signal,
    signal::{ILL_ILLOPN, SI_KERNEL, TRAP_TRACE},
};
use mm::USER_END;
use mm::user::read_user_struct;

use super::{Consequence, DEBUG, GENERAL_PROTECTION, INVALID_OPCODE};
use crate::platform::Platform;
use crate::registers::{Registers, flags};

/// The most bytes an instruction has.
const INSTRUCTION_LEN_MAX: usize = 15;

/// What comes of an instruction that was not let run.
pub(super) enum Outcome {
    /// A signal.
    Raised(Consequence),
    /// It was executed; the registers are those after it.
    Executed,
    /// It needs memory at this address that is not there.
    NeedsMemory(usize),
}

/// Prefixes that change what the instructions here do.
#[derive(Clone, Copy, Default)]
struct Prefixes {
    is_16_bit: bool,
    is_repeated: bool,
    rex: u8,
}

/// An instruction as far as it was needed.
struct Instruction {
    prefixes: Prefixes,
    /// The bytes from the opcode on; zero where there are none.
    bytes: [u8; 4],
    /// Its length up to the opcode.
    start: u64,
}

impl Instruction {
    /// The register that the low bits of a ModRM byte name.
    fn operand<'a>(&self, modrm: u8, registers: &'a mut Registers) -> &'a mut u64 {
        registers.general(modrm & 7 | (self.prefixes.rex & 1) << 3)
    }

    /// Puts the program behind the instruction, which ends `len` bytes after its opcode begins. A single step ends here
    /// too.
    fn finish(&self, registers: &mut Registers, len: u64, was_stepped: bool) -> Outcome {
        registers.rip = registers.rip.wrapping_add(self.start + len);
        registers.rflags &= !flags::RF;
        if !was_stepped {
            return Outcome::Executed;
        }
        let info = Siginfo::fault(Signal::SIGTRAP, TRAP_TRACE, registers.rip);
        Outcome::Raised(Consequence { trap_number: DEBUG, error_code: 0, info })
    }
}

/// Does what the instruction at the program's instruction pointer does in ring 3. `first` is its first byte as it is in
/// the file.
pub(super) fn execute(platform: &dyn Platform, registers: &mut Registers, first: u8) -> Outcome {
    let Some(instruction) = read(registers.rip, first) else {
        return Outcome::Raised(protection(0));
    };
    let is_stepped = registers.rflags & flags::TF != 0;
    match instruction.bytes {
        [0x9d, ..] => pop_flags(registers, &instruction, is_stepped),
        [0xcd, vector, ..] => interrupt(registers, &instruction, vector),
        [0x8e, modrm, ..] if modrm >= 0xc0 => {
            let selector = u64::from(u16::MAX) & *instruction.operand(modrm, registers);
            match load_segment(modrm >> 3 & 7, selector) {
                Ok(()) => instruction.finish(registers, 2, is_stepped),
                Err(error_code) => Outcome::Raised(protection(error_code)),
            }
        }
        [0x0f, 0xae, modrm, _] if modrm >= 0xc0 && instruction.prefixes.is_repeated => {
            gs_base(platform, registers, &instruction, modrm, is_stepped)
        }
        // monitor, mwait, clac and stac do not exist in ring 3.
        [0x0f, 0x01, 0xc8..=0xcb, _] => Outcome::Raised(Consequence {
            trap_number: INVALID_OPCODE,
            error_code: 0,
            info: Siginfo::fault(Signal::SIGILL, ILL_ILLOPN, registers.rip),
        }),
        _ => Outcome::Raised(protection(0)),
    }
}

/// Reads an instruction. Memory that is not there reads as zero: an instruction that works was read to its end.
fn read(address: u64, first: u8) -> Option<Instruction> {
    let address = usize::try_from(address).ok()?;
    let byte = |offset: usize| match offset {
        0 => first,
        _ => address.checked_add(offset).and_then(|at| read_user_struct(at).ok()).unwrap_or(0),
    };
    let mut prefixes = Prefixes::default();
    for offset in 0..INSTRUCTION_LEN_MAX {
        match byte(offset) {
            0x66 => prefixes.is_16_bit = true,
            0xf3 => prefixes.is_repeated = true,
            rex @ 0x40..=0x4f => prefixes.rex = rex,
            // Segment, address size, lock and the other repeat prefix.
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67 | 0xf0 | 0xf2 => {}
            _ => {
                let bytes = core::array::from_fn(|index| byte(offset + index));
                return Some(Instruction { prefixes, bytes, start: offset as u64 });
            }
        }
    }
    None
}

fn protection(error_code: u64) -> Consequence {
    Consequence { trap_number: GENERAL_PROTECTION, error_code, info: Siginfo::new(Signal::SIGSEGV, SI_KERNEL) }
}

/// `int` with a vector in the instruction: only the breakpoint and overflow gates are open to programs, and these are
/// traps: the program is already past the instruction.
fn interrupt(registers: &mut Registers, instruction: &Instruction, vector: u8) -> Outcome {
    let signal = match vector {
        3 => Signal::SIGTRAP,
        4 => Signal::SIGSEGV,
        // The error code names the closed gate of the interrupt table.
        _ => return Outcome::Raised(protection(u64::from(vector) << 3 | 2)),
    };
    instruction.finish(registers, 2, false);
    let info = Siginfo::new(signal, SI_KERNEL);
    Outcome::Raised(Consequence { trap_number: u64::from(vector), error_code: 0, info })
}

/// `popf` with the rights of ring 3.
fn pop_flags(registers: &mut Registers, instruction: &Instruction, is_stepped: bool) -> Outcome {
    let address = usize::try_from(registers.rsp).unwrap_or(usize::MAX);
    let is_16_bit = instruction.prefixes.is_16_bit;
    let (popped, size) = if is_16_bit {
        (read_user_struct::<u16>(address).map(u64::from), 2)
    } else {
        (read_user_struct::<u64>(address), 8)
    };
    let Ok(popped) = popped else { return Outcome::NeedsMemory(address) };
    registers.rflags = with_popped(registers.rflags, popped, is_16_bit);
    registers.rsp = registers.rsp.wrapping_add(size);
    instruction.finish(registers, 1, is_stepped)
}

/// The flags after `popf`. A 16-bit one leaves the upper half alone.
fn with_popped(old: u64, popped: u64, is_16_bit: bool) -> u64 {
    let width = if is_16_bit { u64::from(u16::MAX) } else { u64::MAX };
    let changed = flags::POPPED & width;
    old & !changed | popped & changed
}

/// A load of a segment register. Linux's tables have these open to programs: 32-bit code, data, 64-bit code, and the
/// CPU's number; only the data segment can be a stack. An error is the error code of the fault.
fn load_segment(register: u8, selector: u64) -> Result<(), u64> {
    const STACK_SEGMENT: u8 = 2;
    const DATA: u64 = 0x2b;
    let is_open = match register {
        STACK_SEGMENT => selector == DATA,
        _ => selector < 4 || matches!(selector | 3, 0x23 | DATA | 0x33 | 0x7b),
    };
    if is_open { Ok(()) } else { Err(selector & !3) }
}

/// `rdgsbase` and `wrgsbase`, which mean the program's own gs and not the one in place now.
fn gs_base(
    platform: &dyn Platform,
    registers: &mut Registers,
    instruction: &Instruction,
    modrm: u8,
    is_stepped: bool,
) -> Outcome {
    const READ: u8 = 1;
    const WRITE: u8 = 3;
    let is_64_bit = instruction.prefixes.rex & 8 != 0;
    let width = if is_64_bit { u64::MAX } else { u64::from(u32::MAX) };
    match modrm >> 3 & 7 {
        READ => *instruction.operand(modrm, registers) = platform.gs_base() & width,
        WRITE => {
            let base = *instruction.operand(modrm, registers) & width;
            // Linux takes any canonical base; the kernel's half stays the kernel's here.
            if base >= USER_END as u64 || platform.set_gs_base(base).is_err() {
                return Outcome::Raised(protection(0));
            }
        }
        _ => return Outcome::Raised(protection(0)),
    }
    instruction.finish(registers, 3, is_stepped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(bytes: [u8; 4]) -> Instruction {
        Instruction { prefixes: Prefixes::default(), bytes, start: 0 }
    }

    #[test]
    fn popf_cannot_turn_interrupts_off() {
        let old = flags::IF | flags::FIXED | flags::CF;
        assert_eq!(with_popped(old, 0, false), flags::IF | flags::FIXED);
        assert_eq!(with_popped(old, u64::MAX, false) & !(flags::POPPED | flags::IF | flags::FIXED), 0);
        assert_eq!(with_popped(old | flags::AC, 0, true), flags::IF | flags::FIXED | flags::AC);
    }

    #[test]
    fn closed_gates_are_named() {
        let mut registers = Registers { rip: 0x1000, ..Registers::default() };
        let mut raised = |vector| match interrupt(&mut registers, &instruction([0xcd, vector, 0, 0]), vector) {
            Outcome::Raised(consequence) => (consequence.trap_number, consequence.error_code, registers.rip),
            _ => unreachable!(),
        };
        assert_eq!(raised(0x80), (13, 0x402, 0x1000));
        assert_eq!(raised(3), (3, 0, 0x1002));
    }

    #[test]
    fn segments_of_programs_can_be_loaded() {
        for selector in [0, 3, 0x23, 0x28, 0x2b, 0x33] {
            assert!(load_segment(3, selector).is_ok(), "{selector:#x}");
        }
        for selector in [8, 0x10, 0x18, 0x63, 0x87] {
            assert_eq!(load_segment(3, selector), Err(selector & !3));
        }
        assert!(load_segment(2, 0x2b).is_ok());
        assert!(load_segment(2, 0).is_err());
    }

    #[test]
    fn a_single_step_ends_behind_an_executed_instruction() {
        let mut registers = Registers { rip: 0x1000, rflags: flags::RF, ..Registers::default() };
        let outcome = instruction([0x9d, 0, 0, 0]).finish(&mut registers, 1, true);
        assert_eq!((registers.rip, registers.rflags), (0x1001, 0));
        assert!(matches!(outcome, Outcome::Raised(Consequence { trap_number: 1, .. })));
    }
}
