//! Is the file a program the kernel can run? If not, why not, in one line.
//!
//! The kernel's loader checks again, and more strictly: what is found here is what a user is likely to get wrong.

use std::fmt;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::Elf;
use goblin::elf::dynamic::{DT_NEEDED, Dynamic};
use goblin::elf::header::{
    EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, EM_X86_64, ET_CORE, ET_DYN, ET_EXEC, ET_REL, Header,
    header64::SIZEOF_EHDR, machine_to_str,
};
use goblin::elf::program_header::{PF_W, PT_INTERP, PT_LOAD, ProgramHeader};

/// How a program was linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// At a fixed address.
    Static,
    /// Position independent.
    StaticPie,
}

impl fmt::Display for Linkage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Static => "static",
            Self::StaticPie => "static-pie",
        })
    }
}

/// What is known about a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// How it was linked.
    pub linkage: Linkage,
    /// The memory of its own that it can write to from the start, in bytes of whole pages.
    pub writable_memory: u64,
}

/// Why a file is no program for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramError {
    /// There is nothing in it.
    Empty,
    /// It begins with `#!`.
    Script(String),
    /// It is something else.
    NotElf,
    /// It is an ELF file for 32-bit machines.
    WrongClass,
    /// It is an ELF file for another processor.
    WrongMachine(String),
    /// It is an ELF file, but no linked program.
    WrongType(&'static str),
    /// It ends before something that it announces.
    Truncated(&'static str),
    /// A header makes no sense.
    BadHeader(&'static str),
    /// It needs this interpreter.
    Dynamic(String),
    /// It needs shared libraries, but names no interpreter.
    SharedLibrary,
    /// It has no segment to load.
    NothingToLoad,
}

impl fmt::Display for ProgramError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("the file is empty"),
            Self::Script(interpreter) => {
                write!(formatter, "a script, not an ELF program: give {interpreter} as the program")
            }
            Self::NotElf => formatter.write_str("not an ELF file"),
            Self::WrongClass => formatter.write_str("a 32-bit ELF file, only 64-bit programs can run"),
            Self::WrongMachine(machine) => write!(formatter, "built for {machine}, only x86-64 programs can run"),
            Self::WrongType(kind) => write!(formatter, "{kind}, not a linked program"),
            Self::Truncated(part) => write!(formatter, "truncated: {part} lies beyond the end of the file"),
            Self::BadHeader(what) => write!(formatter, "malformed ELF file: {what}"),
            Self::Dynamic(interpreter) => write!(
                formatter,
                "dynamically linked (interpreter {interpreter}), which is not supported yet: link it with -static"
            ),
            Self::SharedLibrary => formatter.write_str("a shared library, not a program"),
            Self::NothingToLoad => formatter.write_str("malformed ELF file: it has no segment to load"),
        }
    }
}

impl std::error::Error for ProgramError {}

const PAGE_SIZE: u64 = image_format::PAGE_SIZE;
const CONTEXT: Ctx = Ctx { container: Container::Big, le: Endian::Little };

/// Checks the bytes of a program.
///
/// # Errors
/// Says why the kernel could not run it.
pub fn inspect(bytes: &[u8]) -> Result<Program, ProgramError> {
    let header = elf_header(bytes)?;
    let segments = program_headers(bytes, &header)?;
    let slice = |segment: &ProgramHeader| {
        let start = usize::try_from(segment.p_offset).ok()?;
        bytes.get(start..start.checked_add(usize::try_from(segment.p_filesz).ok()?)?)
    };
    if let Some(segment) = segments.iter().find(|segment| segment.p_type == PT_INTERP) {
        let name = slice(segment).ok_or(ProgramError::Truncated("the interpreter's name"))?;
        let name = name.strip_suffix(b"\0").unwrap_or(name);
        return Err(ProgramError::Dynamic(String::from_utf8_lossy(name).into_owned()));
    }
    let mut writable_memory = 0_u64;
    let mut is_empty = true;
    for segment in segments.iter().filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz > 0) {
        is_empty = false;
        slice(segment).ok_or(ProgramError::Truncated("a segment"))?;
        let pages = page_span(segment).ok_or(ProgramError::BadHeader("a segment wraps around"))?;
        if segment.p_flags & PF_W != 0 {
            writable_memory = writable_memory.saturating_add(pages);
        }
    }
    if is_empty {
        return Err(ProgramError::NothingToLoad);
    }
    let needs_libraries = Dynamic::parse(bytes, &segments, CONTEXT)
        .ok()
        .flatten()
        .is_some_and(|dynamic| dynamic.dyns.iter().any(|entry| entry.d_tag == DT_NEEDED));
    if needs_libraries || header.e_entry == 0 {
        return Err(if header.e_type == ET_DYN {
            ProgramError::SharedLibrary
        } else {
            ProgramError::BadHeader("it has no entry point")
        });
    }
    let linkage = if header.e_type == ET_DYN { Linkage::StaticPie } else { Linkage::Static };
    Ok(Program { linkage, writable_memory })
}

/// Whether the bytes are an ELF file for x86-64 whose headers can be read.
pub fn is_x86_64_elf(bytes: &[u8]) -> bool {
    elf_header(bytes).is_ok_and(|header| program_headers(bytes, &header).is_ok())
}

/// The size in memory of a segment, in bytes of whole pages.
fn page_span(segment: &ProgramHeader) -> Option<u64> {
    let end = segment.p_vaddr.checked_add(segment.p_memsz)?.checked_next_multiple_of(PAGE_SIZE)?;
    end.checked_sub(segment.p_vaddr - segment.p_vaddr % PAGE_SIZE)
}

fn elf_header(bytes: &[u8]) -> Result<Header, ProgramError> {
    if bytes.is_empty() {
        return Err(ProgramError::Empty);
    }
    if let Some(line) = bytes.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let interpreter =
            String::from_utf8_lossy(line).split_whitespace().next().unwrap_or("its interpreter").to_owned();
        return Err(ProgramError::Script(interpreter));
    }
    if !bytes.starts_with(b"\x7fELF") {
        return Err(ProgramError::NotElf);
    }
    let class = bytes.get(EI_CLASS).copied().ok_or(ProgramError::Truncated("the ELF header"))?;
    if class != ELFCLASS64 {
        return Err(ProgramError::WrongClass);
    }
    if bytes.get(EI_DATA) != Some(&ELFDATA2LSB) {
        return Err(ProgramError::WrongMachine("a big-endian machine".to_owned()));
    }
    if bytes.len() < SIZEOF_EHDR {
        return Err(ProgramError::Truncated("the ELF header"));
    }
    let header = Elf::parse_header(bytes).map_err(|_| ProgramError::BadHeader("the ELF header"))?;
    if header.e_machine != EM_X86_64 {
        let name = machine_to_str(header.e_machine).trim_start_matches("EM_").to_owned();
        let is_known = name != "EM_UNKNOWN" && name != "UNKNOWN";
        return Err(ProgramError::WrongMachine(if is_known { name } else { format!("machine {}", header.e_machine) }));
    }
    match header.e_type {
        ET_EXEC | ET_DYN => Ok(header),
        ET_REL => Err(ProgramError::WrongType("an object file")),
        ET_CORE => Err(ProgramError::WrongType("a core dump")),
        _ => Err(ProgramError::WrongType("an ELF file of unknown type")),
    }
}

/// The program headers, all of which lie in the file.
pub(crate) fn program_headers(bytes: &[u8], header: &Header) -> Result<Vec<ProgramHeader>, ProgramError> {
    let count = usize::from(header.e_phnum);
    if count == 0 {
        return Err(ProgramError::NothingToLoad);
    }
    let size = ProgramHeader::size(CONTEXT);
    if usize::from(header.e_phentsize) != size {
        return Err(ProgramError::BadHeader("the size of a program header"));
    }
    let start = usize::try_from(header.e_phoff).map_err(|_| ProgramError::Truncated("the program header table"))?;
    if start.checked_add(count * size).is_none_or(|end| end > bytes.len()) {
        return Err(ProgramError::Truncated("the program header table"));
    }
    ProgramHeader::parse(bytes, start, count, CONTEXT).map_err(|_| ProgramError::BadHeader("the program header table"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A static program with one segment of text and one of data.
    fn sample() -> Vec<u8> {
        let mut bytes = vec![0; 0x1000];
        bytes[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0");
        bytes[20] = 1;
        bytes[24..32].copy_from_slice(&0x40_0100_u64.to_le_bytes());
        bytes[32] = 64;
        bytes[52] = 64;
        bytes[54] = 56;
        bytes[56] = 2;
        segment(&mut bytes, 0, 5, [0, 0x40_0000, 0x1000, 0x1000]);
        segment(&mut bytes, 1, 6, [0x800, 0x60_0800, 0x800, 0x10_0000]);
        bytes
    }

    fn segment(bytes: &mut [u8], index: usize, flags: u8, [offset, address, file_size, memory_size]: [u64; 4]) {
        let at = 64 + index * 56;
        bytes[at] = 1;
        bytes[at + 4] = flags;
        for (position, value) in [(8, offset), (16, address), (24, address), (32, file_size), (40, memory_size)] {
            bytes[at + position..at + position + 8].copy_from_slice(&value.to_le_bytes());
        }
    }

    fn error_of(change: impl Fn(&mut Vec<u8>)) -> String {
        let mut bytes = sample();
        change(&mut bytes);
        inspect(&bytes).unwrap_err().to_string()
    }

    #[test]
    fn static_programs_are_accepted() {
        let expected = Program { linkage: Linkage::Static, writable_memory: 0x10_1000 };
        assert_eq!(inspect(&sample()), Ok(expected));
        let mut pie = sample();
        pie[16] = 3;
        assert_eq!(inspect(&pie), Ok(Program { linkage: Linkage::StaticPie, ..expected }));
    }

    #[test]
    fn other_files_are_named() {
        assert_eq!(inspect(b"").unwrap_err().to_string(), "the file is empty");
        assert_eq!(inspect(b"hello").unwrap_err().to_string(), "not an ELF file");
        assert_eq!(
            inspect(b"#! /bin/sh -e\n").unwrap_err().to_string(),
            "a script, not an ELF program: give /bin/sh as the program"
        );
        assert_eq!(error_of(|elf| elf[4] = 1), "a 32-bit ELF file, only 64-bit programs can run");
        assert_eq!(error_of(|elf| elf[5] = 2), "built for a big-endian machine, only x86-64 programs can run");
        assert_eq!(error_of(|elf| elf[18] = 183), "built for AARCH64, only x86-64 programs can run");
        assert_eq!(error_of(|elf| elf[16] = 1), "an object file, not a linked program");
        assert_eq!(error_of(|elf| elf[16] = 4), "a core dump, not a linked program");
        let library = error_of(|elf| {
            elf[16] = 3;
            elf[24..32].fill(0);
        });
        assert_eq!(library, "a shared library, not a program");
    }

    #[test]
    fn dynamic_programs_are_named_with_their_interpreter() {
        let message = error_of(|elf| {
            elf[0x300..0x30a].copy_from_slice(b"/lib/ld.so");
            segment(elf, 1, 4, [0x300, 0x40_0300, 11, 11]);
            elf[64 + 56] = 3;
        });
        let expected = "dynamically linked (interpreter /lib/ld.so), which is not supported yet: link it with -static";
        assert_eq!(message, expected);
    }

    #[test]
    fn truncation_is_named_at_every_length() {
        let whole = sample();
        for size in 0..whole.len() {
            let message = inspect(&whole[..size]).unwrap_err().to_string();
            let expected = match size {
                0 => "the file is empty",
                1..4 => "not an ELF file",
                4 => "truncated: the ELF header lies beyond the end of the file",
                5 => "built for a big-endian machine, only x86-64 programs can run",
                6..64 => "truncated: the ELF header lies beyond the end of the file",
                64..176 => "truncated: the program header table lies beyond the end of the file",
                _ => "truncated: a segment lies beyond the end of the file",
            };
            assert_eq!(message, expected, "{size} bytes");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(error_of(|elf| elf[56] = 0), "malformed ELF file: it has no segment to load");
        assert_eq!(error_of(|elf| elf[54] = 32), "malformed ELF file: the size of a program header");
        assert_eq!(
            error_of(|elf| elf[32..40].fill(0xff)),
            "truncated: the program header table lies beyond the end of the file"
        );
        assert_eq!(
            error_of(|elf| segment(elf, 1, 6, [0, u64::MAX - 0xfff, 16, 0x2000])),
            "malformed ELF file: a segment wraps around"
        );
        assert_eq!(error_of(|elf| elf[24..32].fill(0)), "malformed ELF file: it has no entry point");
    }
}
