//! Trap T3 in machine code: the program's vector registers stay where they are, so kernel code must not touch them.
//!
//! Disassembles every function symbol of the kernel and reports those that use an x87, MMX, SSE, AVX or mask register,
//! but for the few whose purpose it is. Also checks that every relocation is one that the boot code knows.

use goblin::elf::Elf;
use goblin::elf::reloc::R_X86_64_RELATIVE;
use goblin::elf::sym::STT_FUNC;
use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic};

use crate::Finding;

/// Parts of the names of the functions that save and restore vector state.
const ALLOWED: &[&str] = &["vector_state"];

/// Checks a kernel file.
pub(crate) fn check(bytes: &[u8]) -> Result<Vec<Finding>, String> {
    let elf = Elf::parse(bytes).map_err(|error| format!("the kernel is not an ELF file: {error}"))?;
    let mut findings = Vec::new();
    for relocation in &elf.dynrelas {
        if relocation.r_type != R_X86_64_RELATIVE {
            findings.push(Finding::new(
                format!("relocation at {:#x}", relocation.r_offset),
                "is of a type that the boot code does not apply",
            ));
        }
    }
    let mut functions = 0;
    for symbol in elf.syms.iter().filter(|symbol| symbol.st_type() == STT_FUNC && symbol.st_size > 0) {
        let name = elf.strtab.get_at(symbol.st_name).unwrap_or("?");
        let Some(code) = code_of(&elf, bytes, symbol.st_value, symbol.st_size) else { continue };
        functions += 1;
        if ALLOWED.iter().any(|allowed| name.contains(allowed)) {
            continue;
        }
        if let Some(address) = first_vector_use(code, symbol.st_value) {
            findings.push(Finding::new(name, format!("uses a vector register at {address:#x}")));
        }
    }
    if functions == 0 {
        return Err("the kernel has no function symbols: check the unstripped file".into());
    }
    Ok(findings)
}

fn code_of<'a>(elf: &Elf<'_>, bytes: &'a [u8], address: u64, size: u64) -> Option<&'a [u8]> {
    let holds = |header: &&goblin::elf::ProgramHeader| {
        header.is_executable() && header.p_vaddr <= address && address + size <= header.p_vaddr + header.p_filesz
    };
    let header = elf.program_headers.iter().find(holds)?;
    let start = usize::try_from(header.p_offset + (address - header.p_vaddr)).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)
}

/// Address of the first instruction that uses a vector or x87 register.
fn first_vector_use(code: &[u8], address: u64) -> Option<u64> {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut factory = InstructionInfoFactory::new();
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        let uses = factory.info(&instruction).used_registers().iter().any(|used| {
            let register = used.register();
            register.is_vector_register() || register.is_st() || register.is_mm() || register.is_k()
        });
        let is_x87 = instruction.cpuid_features().contains(&CpuidFeature::FPU);
        if uses || is_x87 || is_state_instruction(instruction.mnemonic()) {
            return Some(instruction.ip());
        }
    }
    None
}

fn is_state_instruction(mnemonic: Mnemonic) -> bool {
    use Mnemonic::{Emms, Fninit, Fxrstor, Fxrstor64, Fxsave, Fxsave64, Ldmxcsr, Xrstor, Xrstor64, Xsave, Xsave64};
    matches!(
        mnemonic,
        Emms | Fninit | Fxrstor | Fxrstor64 | Fxsave | Fxsave64 | Ldmxcsr | Xrstor | Xrstor64 | Xsave | Xsave64
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_code_is_fine() {
        // push rbp; mov rbp, rsp; rep movsq; ret
        assert_eq!(first_vector_use(&[0x55, 0x48, 0x89, 0xe5, 0xf3, 0x48, 0xa5, 0xc3], 0x1000), None);
    }

    #[test]
    fn sse_avx_and_x87_are_found_where_they_are() {
        // nop; movaps xmm0, xmm1
        assert_eq!(first_vector_use(&[0x90, 0x0f, 0x28, 0xc1], 0x1000), Some(0x1001));
        // vxorps ymm0, ymm0, ymm0
        assert_eq!(first_vector_use(&[0xc5, 0xfc, 0x57, 0xc0], 0x1000), Some(0x1000));
        // fld1
        assert_eq!(first_vector_use(&[0xd9, 0xe8], 0x1000), Some(0x1000));
        // fxsave64 [rax]
        assert_eq!(first_vector_use(&[0x48, 0x0f, 0xae, 0x00], 0x1000), Some(0x1000));
    }

    #[test]
    fn something_else_is_an_error() {
        assert!(check(b"no kernel").is_err());
    }
}
