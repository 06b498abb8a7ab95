//! Why a file is not a program that can be loaded.

use core::fmt;

use abi::Errno;

/// A reason to refuse an ELF file. `Display` is one line for a person; [`Errno::from`] is what `execve` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElfError {
    /// The file does not begin with the ELF magic number.
    NotElf,
    /// The file ends inside its ELF header or its program headers.
    TruncatedHeaders,
    /// Not a 64-bit file.
    WrongClass,
    /// Not a little-endian file.
    WrongByteOrder,
    /// Built for another processor (the value of `e_machine`).
    WrongMachine(u16),
    /// Neither an executable nor a position-independent executable (the value of `e_type`).
    WrongType(u16),
    /// Program headers of an unknown size.
    HeaderSize(u16),
    /// No program headers, or more than fit one page.
    HeaderCount(u16),
    /// Nothing to load.
    NoSegments,
    /// A segment has more bytes in the file than in memory.
    SegmentSizes,
    /// A segment's address and file offset differ within the page.
    SegmentAlignment,
    /// A segment's bytes lie beyond the end of the file.
    TruncatedSegment,
    /// A segment lies outside the program's half of the address space.
    SegmentAddress,
    /// A segment lies below the lowest address a program may map.
    SegmentTooLow,
    /// Two segments claim the same bytes of memory.
    SegmentsOverlap,
    /// The entry point lies outside the program's half of the address space.
    EntryAddress,
    /// The interpreter's path is empty, too long or not terminated.
    BadInterpreter,
    /// The interpreter's path lies beyond the end of the file.
    TruncatedInterpreter,
    /// Reading the file failed.
    Read(Errno),
}

/// `e_machine` values worth naming to a person.
const MACHINES: &[(u16, &str)] = &[
    (2, "SPARC"),
    (3, "32-bit x86"),
    (8, "MIPS"),
    (20, "32-bit PowerPC"),
    (21, "64-bit PowerPC"),
    (22, "IBM S/390"),
    (40, "32-bit ARM"),
    (183, "64-bit ARM (AArch64)"),
    (243, "RISC-V"),
    (258, "LoongArch"),
];

impl fmt::Display for ElfError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::NotElf => "not an ELF file",
            Self::TruncatedHeaders => "truncated: the file ends inside its ELF headers",
            Self::WrongClass => "wrong class: a 32-bit program, only 64-bit x86-64 programs run here",
            Self::WrongByteOrder => "wrong byte order: a big-endian program, only x86-64 programs run here",
            Self::WrongMachine(machine) => return describe_machine(machine, formatter),
            Self::WrongType(kind) => return describe_type(kind, formatter),
            Self::HeaderSize(size) => {
                return write!(formatter, "malformed: program headers of {size} bytes, expected 56");
            }
            Self::HeaderCount(0) => "malformed: no program headers",
            Self::HeaderCount(count) => {
                return write!(formatter, "malformed: {count} program headers, more than fit one page");
            }
            Self::NoSegments => "malformed: no segment to load",
            Self::SegmentSizes => "malformed: a segment is larger in the file than in memory",
            Self::SegmentAlignment => "malformed: a segment's address and file offset disagree within a page",
            Self::TruncatedSegment => "truncated: a segment reaches beyond the end of the file",
            Self::SegmentAddress => "malformed: a segment lies outside the address space of a program",
            Self::SegmentTooLow => "a segment lies below 0x10000, the lowest address a program may use",
            Self::SegmentsOverlap => "malformed: two segments overlap in memory",
            Self::EntryAddress => "malformed: the entry point lies outside the address space of a program",
            Self::BadInterpreter => "malformed: the interpreter's path is empty, too long or unterminated",
            Self::TruncatedInterpreter => "truncated: the interpreter's path lies beyond the end of the file",
            Self::Read(errno) => return write!(formatter, "cannot read the file: {errno:?}"),
        };
        formatter.write_str(text)
    }
}

fn describe_machine(machine: u16, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    match MACHINES.iter().find(|(number, _)| *number == machine) {
        Some((_, name)) => write!(formatter, "wrong machine: a program for {name}, expected x86-64"),
        None => write!(formatter, "wrong machine: ELF machine number {machine}, expected 62 (x86-64)"),
    }
}

fn describe_type(kind: u16, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    match kind {
        1 => formatter.write_str("not a program: an object file that was never linked"),
        4 => formatter.write_str("not a program: a core dump"),
        _ => write!(formatter, "not a program: ELF type {kind}"),
    }
}

impl core::error::Error for ElfError {}

impl From<ElfError> for Errno {
    fn from(error: ElfError) -> Self {
        match error {
            ElfError::SegmentSizes | ElfError::SegmentAlignment | ElfError::SegmentAddress | ElfError::EntryAddress => {
                Self::EINVAL
            }
            ElfError::SegmentTooLow => Self::EPERM,
            ElfError::TruncatedInterpreter => Self::EIO,
            ElfError::Read(errno) => errno,
            _ => Self::ENOEXEC,
        }
    }
}
