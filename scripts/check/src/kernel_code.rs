//! Trap T3 in machine code: the program's vector registers stay where they are, so kernel code must not touch them.
//!
//! Disassembles the built kernel, symbol by symbol, and reports every function that uses an x87, MMX, SSE, AVX or mask
//! register or changes their state, but for the few whose purpose that is: `scripts/check/vector-allowlist.txt` has their
//! names. Assembly without sizes counts: such a symbol reaches to the next one.
//!
//! Also: no segment is both writable and executable, and every relocation is one that the boot code applies.

use std::collections::BTreeSet;

use goblin::elf::Elf;
use goblin::elf::program_header::PT_LOAD;
use goblin::elf::reloc::R_X86_64_RELATIVE;
use goblin::elf::section_header::SHF_EXECINSTR;
use goblin::elf::sym::{STT_FUNC, STT_NOTYPE, Sym};
use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic};

use crate::Finding;

/// Symbols of the boot assembly that are data among code, or code that runs in 32-bit mode before there is a program.
const NOT_CODE: &[&str] = &[
    "boot_base",
    "boot_gdt",
    "boot_gdt_pointer",
    "distance_early_pd_low",
    "distance_early_pdpt_low",
    "distance_early_pml4",
    "pvh_entry",
];

/// The file of the functions that may touch vector state.
pub(crate) const ALLOWLIST: &str = "scripts/check/vector-allowlist.txt";

/// Code under a name.
#[derive(Debug, PartialEq, Eq)]
struct Function<'a> {
    /// The demangled name, without a hash.
    name: String,
    address: u64,
    code: &'a [u8],
}

/// Checks a kernel file. `allowlist` is the text of [`ALLOWLIST`].
pub(crate) fn check(bytes: &[u8], allowlist: &str) -> Result<Vec<Finding>, String> {
    let elf = Elf::parse(bytes).map_err(|error| format!("the kernel is not an ELF file: {error}"))?;
    let functions = functions(&elf, bytes);
    if functions.is_empty() {
        return Err("the kernel has no function symbols: check the unstripped file".into());
    }
    let mut findings = check_layout(&elf);
    findings.extend(check_vector_use(&functions, allowlist));
    Ok(findings)
}

fn check_layout(elf: &Elf<'_>) -> Vec<Finding> {
    let relocations =
        elf.dynrelas.iter().filter(|relocation| relocation.r_type != R_X86_64_RELATIVE).map(|relocation| {
            let remedy = "link without symbols that are resolved at run time";
            let message = format!("is of type {}, which the boot code does not apply: {remedy}", relocation.r_type);
            Finding::new(format!("relocation at {:#x}", relocation.r_offset), message)
        });
    let loaded = elf.program_headers.iter().filter(|header| header.p_type == PT_LOAD);
    let segments = loaded.filter(|header| header.is_write() && header.is_executable()).map(|header| {
        let subject = format!("segment at {:#x}", header.p_vaddr);
        Finding::new(subject, "is writable and executable: separate the sections in the linker script")
    });
    relocations.chain(segments).collect()
}

/// The functions of the executable sections, in the order of their addresses.
fn functions<'a>(elf: &Elf<'_>, bytes: &'a [u8]) -> Vec<Function<'a>> {
    let mut functions = Vec::new();
    for (index, section) in elf.section_headers.iter().enumerate() {
        if section.sh_flags & u64::from(SHF_EXECINSTR) == 0 {
            continue;
        }
        let Some(contents) = section.file_range().and_then(|range| bytes.get(range)) else { continue };
        let mut symbols: Vec<Sym> =
            elf.syms.iter().filter(|symbol| symbol.st_shndx == index && is_code(symbol)).collect();
        symbols.sort_by_key(|symbol| symbol.st_value);
        let ends = symbols.iter().enumerate().map(|(position, symbol)| {
            let next = symbols[position..].iter().map(|later| later.st_value).find(|value| *value > symbol.st_value);
            let section_end = section.sh_addr + section.sh_size;
            if symbol.st_size > 0 { symbol.st_value + symbol.st_size } else { next.unwrap_or(section_end) }
        });
        for (symbol, end) in symbols.iter().zip(ends) {
            let offset = |address: u64| usize::try_from(address.checked_sub(section.sh_addr)?).ok();
            let range = offset(symbol.st_value).zip(offset(end));
            let Some(code) = range.and_then(|(start, end)| contents.get(start..end)) else { continue };
            let mangled = elf.strtab.get_at(symbol.st_name).unwrap_or_default();
            let name = format!("{:#}", rustc_demangle::demangle(mangled));
            functions.push(Function { name, address: symbol.st_value, code });
        }
    }
    functions
}

fn is_code(symbol: &Sym) -> bool {
    matches!(symbol.st_type(), STT_FUNC | STT_NOTYPE)
}

fn check_vector_use(functions: &[Function<'_>], allowlist: &str) -> Vec<Finding> {
    let allowed: Vec<&str> =
        allowlist.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut used = BTreeSet::new();
    let mut findings = Vec::new();
    for function in functions.iter().filter(|function| !NOT_CODE.contains(&function.name.as_str())) {
        let Some(instruction) = first_vector_use(function.code, function.address) else { continue };
        match allowed.iter().find(|line| covers(line, &function.name)) {
            Some(line) => {
                used.insert(*line);
            }
            None => {
                let remedy = format!("move it to the code that saves vector state, or add the function to {ALLOWLIST}");
                let message =
                    format!("uses vector state at {:#x} ({:?}): {remedy}", instruction.ip(), instruction.mnemonic());
                findings.push(Finding::new(&function.name, message));
            }
        }
    }
    let stale = allowed.iter().filter(|line| !used.contains(*line));
    findings.extend(stale.map(|line| {
        Finding::new(*line, format!("is in {ALLOWLIST} and no such function uses vector state: remove the line"))
    }));
    let unknown = NOT_CODE.iter().filter(|name| !functions.iter().any(|function| function.name == **name));
    findings.extend(unknown.map(|name| {
        Finding::new(*name, "is in NOT_CODE in scripts/check/src/kernel_code.rs and not in the kernel: remove it there")
    }));
    findings
}

/// A line names a function, or with `::` at its end all functions of a module.
fn covers(line: &str, name: &str) -> bool {
    line == name || (line.ends_with("::") && name.starts_with(line))
}

/// The first instruction that uses a vector or x87 register or changes how they work.
fn first_vector_use(code: &[u8], address: u64) -> Option<Instruction> {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut factory = InstructionInfoFactory::new();
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        let uses_register = factory.info(&instruction).used_registers().iter().any(|used| {
            let register = used.register();
            register.is_vector_register() || register.is_st() || register.is_mm() || register.is_k()
        });
        let changes_state =
            instruction.cpuid_features().iter().any(is_vector_feature) || is_mxcsr(instruction.mnemonic());
        if uses_register || changes_state {
            return Some(instruction);
        }
    }
    None
}

/// Features whose instructions change vector or x87 state though they may name no such register.
fn is_vector_feature(feature: &CpuidFeature) -> bool {
    use CpuidFeature::{FPU, FPU287, FPU387, FXSR, MMX, XSAVE, XSAVEC, XSAVEOPT, XSAVES};
    matches!(feature, FPU | FPU287 | FPU387 | FXSR | MMX | XSAVE | XSAVEC | XSAVEOPT | XSAVES)
}

/// The loads and stores of MXCSR are of SSE, as are the harmless prefetches and fences, so their feature does not tell.
fn is_mxcsr(mnemonic: Mnemonic) -> bool {
    matches!(mnemonic, Mnemonic::Ldmxcsr | Mnemonic::Stmxcsr | Mnemonic::Vldmxcsr | Mnemonic::Vstmxcsr)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOP: &[u8] = &[0x90];
    /// movaps xmm0, xmm1
    const MOVAPS: &[u8] = &[0x0f, 0x28, 0xc1];

    fn offset_of_use(code: &[u8]) -> Option<u64> {
        first_vector_use(code, 0x1000).map(|instruction| instruction.ip() - 0x1000)
    }

    /// The names in [`NOT_CODE`], so that they are not reported as unknown, and one more function.
    fn functions_with<'a>(name: &str, code: &'a [u8]) -> Vec<Function<'a>> {
        let boot = NOT_CODE.iter().map(|name| Function { name: (*name).to_string(), address: 0, code: MOVAPS });
        boot.chain([Function { name: name.to_string(), address: 0x1000, code }]).collect()
    }

    #[test]
    fn integer_code_is_fine() {
        // push rbp; mov rbp, rsp; rep movsq; ret
        assert_eq!(offset_of_use(&[0x55, 0x48, 0x89, 0xe5, 0xf3, 0x48, 0xa5, 0xc3]), None);
        // prefetcht0 [rax]; sfence; mfence; pause
        assert_eq!(offset_of_use(&[0x0f, 0x18, 0x08, 0x0f, 0xae, 0xf8, 0x0f, 0xae, 0xf0, 0xf3, 0x90]), None);
    }

    #[test]
    fn vector_and_x87_instructions_are_found_where_they_are() {
        let cases: &[(&str, &[u8])] = &[
            ("movaps xmm0, xmm1", MOVAPS),
            ("vxorps ymm0, ymm0, ymm0", &[0xc5, 0xfc, 0x57, 0xc0]),
            ("vpxord zmm0, zmm0, zmm0", &[0x62, 0xf1, 0x7d, 0x48, 0xef, 0xc0]),
            ("kmovw k1, eax", &[0xc5, 0xf8, 0x92, 0xc8]),
            ("movq mm0, rax", &[0x48, 0x0f, 0x6e, 0xc0]),
            ("emms", &[0x0f, 0x77]),
            ("fld1", &[0xd9, 0xe8]),
            ("fninit", &[0xdb, 0xe3]),
            ("fxsave64 [rax]", &[0x48, 0x0f, 0xae, 0x00]),
            ("xrstor64 [rdi]", &[0x48, 0x0f, 0xae, 0x2f]),
            ("ldmxcsr [rax]", &[0x0f, 0xae, 0x10]),
            ("vzeroupper", &[0xc5, 0xf8, 0x77]),
        ];
        for (name, code) in cases {
            let after_nop: Vec<u8> = NOP.iter().chain(*code).copied().collect();
            assert_eq!(offset_of_use(&after_nop), Some(1), "{name}");
        }
    }

    #[test]
    fn a_function_that_is_not_listed_is_told() {
        let findings = check_vector_use(&functions_with("kernel::boot::start", MOVAPS), "");
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].subject, "kernel::boot::start");
        assert!(findings[0].message.contains("0x1000") && findings[0].message.contains(ALLOWLIST));
    }

    #[test]
    fn a_line_covers_a_function_or_a_module() {
        let functions = functions_with("kernel::vector_state::save", MOVAPS);
        assert_eq!(check_vector_use(&functions, "# Why.\nkernel::vector_state::\n"), []);
        assert_eq!(check_vector_use(&functions, "kernel::vector_state::save"), []);
        // Neither the name nor the line that covers nothing.
        assert_eq!(check_vector_use(&functions, "kernel::vector_state").len(), 2);
    }

    #[test]
    fn a_line_without_use_is_stale() {
        let findings = check_vector_use(&functions_with("kernel::vector_state::save", NOP), "kernel::vector_state::");
        assert!(findings.len() == 1 && findings[0].message.contains("remove the line"));
    }

    #[test]
    fn a_symbol_that_is_no_code_must_be_there() {
        let mut functions = functions_with("f", NOP);
        functions.remove(0);
        let findings = check_vector_use(&functions, "");
        assert!(findings.len() == 1 && findings[0].subject == NOT_CODE[0]);
    }

    #[test]
    fn this_very_program_uses_vector_registers() {
        let path = std::env::current_exe().unwrap();
        let findings = check(&std::fs::read(path).unwrap(), "").unwrap();
        assert!(findings.iter().any(|finding| finding.message.contains("uses vector state")));
    }

    #[test]
    fn something_else_is_an_error() {
        assert!(check(b"no kernel", "").is_err());
    }
}
