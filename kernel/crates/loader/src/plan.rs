//! [`LoadPlan`]: the checked meaning of an ELF executable.
//!
//! The rules are those of Linux's ELF loader, with one difference in time: what Linux finds wrong only after the
//! old program is gone (and then kills the process for) is refused here, before anything is mapped.
//!
//! Invariants of an accepted plan: segments are sorted by address and share no byte; every one lies, rounded out to
//! pages, inside the program's half of the address space; every byte taken from the file exists.
//!
//! It does not look at sections, dynamic entries or property notes.

use alloc::vec;
use alloc::vec::Vec;

use abi::Errno;
use goblin::container::{Container, Ctx, Endian};
use goblin::elf::Elf;
use goblin::elf::header::header64::SIZEOF_EHDR;
use goblin::elf::header::{EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, ET_DYN, ET_EXEC, Header};
use goblin::elf::program_header::program_header64::SIZEOF_PHDR;
use goblin::elf::program_header::{
    PF_R, PF_W, PF_X, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_TLS, ProgramHeader,
};

use crate::{ElfError, PAGE_SIZE, USER_END, USER_START, page_ceil, page_floor};

/// Longest path of an interpreter, its terminator included (`PATH_MAX`).
const INTERPRETER_PATH_MAX: u64 = 4096;

/// Most program headers: Linux wants the table to fit one page.
const PROGRAM_HEADERS_MAX: u16 = 73;
const _: () = assert!(PROGRAM_HEADERS_MAX as usize == 4096 / SIZEOF_PHDR);

/// Reads file bytes at an offset into a buffer; answers how many there were (fewer only at the end of the file).
pub type ReadAt<'a> = dyn FnMut(u64, &mut [u8]) -> Result<usize, Errno> + 'a;

/// How the program's addresses are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `ET_EXEC`: the addresses are final.
    Fixed,
    /// `ET_DYN`: all addresses move together by a load bias.
    PositionIndependent,
}

/// What a program may do with the pages of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// Loads are allowed.
    pub read: bool,
    /// Stores are allowed.
    pub write: bool,
    /// Instruction fetches are allowed.
    pub execute: bool,
}

/// Addresses `start..end`, before any load bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtualRange {
    /// First address.
    pub start: u64,
    /// First address after the range.
    pub end: u64,
}

impl VirtualRange {
    /// Number of bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether the range has no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One `PT_LOAD`: file bytes, then zeros, at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Address of the first byte, before any load bias.
    pub vaddr: u64,
    /// Where the bytes are in the file; equal to `vaddr` modulo the page size when there are any.
    pub offset: u64,
    /// Bytes taken from the file.
    pub file_size: u64,
    /// Bytes in memory; those beyond `file_size` are zero.
    pub mem_size: u64,
    /// Rights of all its pages.
    pub rights: Rights,
    /// The alignment the linker asked for; not necessarily a power of two.
    pub alignment: u64,
}

impl Segment {
    /// First address after the segment.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.vaddr + self.mem_size
    }

    /// First address after the bytes that come from the file.
    #[must_use]
    pub const fn file_end(&self) -> u64 {
        self.vaddr + self.file_size
    }

    /// All pages of the segment.
    #[must_use]
    pub const fn pages(&self) -> VirtualRange {
        VirtualRange { start: page_floor(self.vaddr), end: page_ceil_in_user(self.end()) }
    }

    /// The pages to map from the file and the page-aligned file offset of the first; `None` when there are none.
    #[must_use]
    pub const fn file_pages(&self) -> Option<(VirtualRange, u64)> {
        if self.file_size == 0 {
            return None;
        }
        let pages = VirtualRange { start: page_floor(self.vaddr), end: page_ceil_in_user(self.file_end()) };
        Some((pages, page_floor(self.offset)))
    }

    /// The bytes between the end of the file's part and the end of its last page. They must be zeroed after mapping
    /// when the segment goes on beyond the file's bytes and is writable; otherwise the file's own bytes stay, as on Linux.
    #[must_use]
    pub const fn zero_tail(&self) -> Option<VirtualRange> {
        if self.file_size == 0 || self.mem_size == self.file_size || !self.rights.write {
            return None;
        }
        let tail = VirtualRange { start: self.file_end(), end: page_ceil_in_user(self.file_end()) };
        if tail.is_empty() { None } else { Some(tail) }
    }

    /// The pages after those from the file: anonymous zero memory.
    #[must_use]
    pub const fn zero_pages(&self) -> Option<VirtualRange> {
        let start = match self.file_pages() {
            Some((pages, _)) => pages.end,
            None => page_floor(self.vaddr),
        };
        let pages = VirtualRange { start, end: page_ceil_in_user(self.end()) };
        if pages.is_empty() { None } else { Some(pages) }
    }
}

/// The thread-local storage template (`PT_TLS`). The program's libc sets it up; the kernel only reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadStorage {
    /// Address of the initialised bytes, before any load bias.
    pub vaddr: u64,
    /// Initialised bytes.
    pub file_size: u64,
    /// Size of the block.
    pub mem_size: u64,
    /// Alignment of the block.
    pub alignment: u64,
}

/// What `PT_GNU_STACK` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StackRights {
    /// No such header: on x86-64 the stack is not executable.
    #[default]
    Default,
    /// Not executable.
    NotExecutable,
    /// Executable.
    Executable,
}

impl StackRights {
    /// Whether the stack's pages are executable.
    #[must_use]
    pub const fn is_executable(self) -> bool {
        matches!(self, Self::Executable)
    }
}

/// The program header table, as the auxiliary vector describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramHeaders {
    /// Address of the table, before any load bias: 0 when no segment holds it.
    pub vaddr: u64,
    /// Number of entries.
    pub count: u16,
    /// Size of an entry in bytes.
    pub entry_size: u16,
}

/// Everything needed to map a program, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadPlan {
    /// Fixed or position independent.
    pub kind: Kind,
    /// First instruction, before any load bias.
    pub entry: u64,
    /// What to map, in ascending order of address. Never empty. Where two segments share a page the later one's
    /// page is the one that counts, so mapping in this order gives Linux's result.
    pub segments: Vec<Segment>,
    /// Path of the program interpreter (the dynamic linker), without the terminator.
    pub interpreter: Option<Vec<u8>>,
    /// Thread-local storage template.
    pub tls: Option<ThreadStorage>,
    /// Whether the stack is executable.
    pub stack: StackRights,
    /// The part that the program makes read-only after relocating itself (`PT_GNU_RELRO`).
    pub relro: Option<VirtualRange>,
    /// The program header table in memory.
    pub program_headers: ProgramHeaders,
}

impl LoadPlan {
    /// Parses a file whose first bytes are in memory. `bytes` must hold the headers and the interpreter's path;
    /// segments may lie beyond `bytes` but not beyond `file_size`.
    ///
    /// # Errors
    /// The reason why the file cannot be run.
    pub fn parse(bytes: &[u8], file_size: u64) -> Result<Self, ElfError> {
        Self::read(file_size.max(bytes.len() as u64), &mut |offset, buffer| {
            let source = usize::try_from(offset).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
            let len = source.len().min(buffer.len());
            buffer[..len].copy_from_slice(&source[..len]);
            Ok(len)
        })
    }

    /// Parses a file through a reading function; reads only headers and the interpreter's path.
    ///
    /// # Errors
    /// The reason why the file cannot be run.
    pub fn read(file_size: u64, read_at: &mut ReadAt<'_>) -> Result<Self, ElfError> {
        let header = read_header(read_at)?;
        let kind = match header.e_type {
            ET_EXEC => Kind::Fixed,
            ET_DYN => Kind::PositionIndependent,
            other => return Err(ElfError::WrongType(other)),
        };
        let table = read_program_headers(&header, read_at)?;
        let segments = collect_segments(&table, kind, file_size)?;
        if header.e_entry >= USER_END {
            return Err(ElfError::EntryAddress);
        }
        Ok(Self {
            kind,
            entry: header.e_entry,
            interpreter: read_interpreter(&table, read_at)?,
            tls: table.iter().find(|entry| entry.p_type == PT_TLS).map(|entry| ThreadStorage {
                vaddr: entry.p_vaddr,
                file_size: entry.p_filesz,
                mem_size: entry.p_memsz,
                alignment: entry.p_align,
            }),
            stack: stack_rights(&table),
            relro: table
                .iter()
                .find(|entry| entry.p_type == PT_GNU_RELRO)
                .map(|entry| VirtualRange { start: entry.p_vaddr, end: entry.p_vaddr.saturating_add(entry.p_memsz) }),
            program_headers: ProgramHeaders {
                vaddr: program_headers_vaddr(&table, header.e_phoff),
                count: header.e_phnum,
                entry_size: header.e_phentsize,
            },
            segments,
        })
    }

    /// Whether the program needs no interpreter.
    #[must_use]
    pub const fn is_static(&self) -> bool {
        self.interpreter.is_none()
    }

    /// The pages from the first segment's start to the last one's end.
    #[must_use]
    pub fn pages(&self) -> VirtualRange {
        let start = self.segments.iter().map(|segment| segment.pages().start).min().unwrap_or(0);
        let end = self.segments.iter().map(|segment| segment.pages().end).max().unwrap_or(start);
        VirtualRange { start, end }
    }

    /// Bytes of memory that the segments' pages take when all are touched.
    #[must_use]
    pub fn memory_size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.pages().len()).fold(0, u64::saturating_add)
    }

    /// The alignment the load bias must keep: the largest power of two asked for, at least a page.
    #[must_use]
    pub fn alignment(&self) -> u64 {
        let asked = self.segments.iter().map(|segment| segment.alignment).filter(|align| align.is_power_of_two());
        asked.max().unwrap_or(PAGE_SIZE).max(PAGE_SIZE)
    }

    /// The span of executable segments' file bytes (`start_code` and `end_code` of `/proc/self/stat`).
    #[must_use]
    pub fn code(&self) -> VirtualRange {
        let code = self.segments.iter().filter(|segment| segment.rights.execute);
        let start = code.clone().map(|segment| segment.vaddr).min().unwrap_or(0);
        VirtualRange { start, end: code.map(Segment::file_end).max().unwrap_or(start) }
    }

    /// The last segment's initialised bytes (`start_data` and `end_data` of `/proc/self/stat`).
    #[must_use]
    pub fn data(&self) -> VirtualRange {
        let start = self.segments.iter().map(|segment| segment.vaddr).max().unwrap_or(0);
        VirtualRange { start, end: self.segments.iter().map(Segment::file_end).max().unwrap_or(start) }
    }
}

fn read_header(read_at: &mut ReadAt<'_>) -> Result<Header, ElfError> {
    let mut bytes = [0u8; SIZEOF_EHDR];
    let len = read_full(read_at, 0, &mut bytes)?;
    if len < ELFMAG.len() || !bytes.starts_with(ELFMAG) {
        return Err(ElfError::NotElf);
    }
    if len < bytes.len() {
        return Err(ElfError::TruncatedHeaders);
    }
    let machine = u16::from_le_bytes([bytes[18], bytes[19]]);
    if bytes[EI_DATA] != ELFDATA2LSB {
        return Err(ElfError::WrongByteOrder);
    }
    if bytes[EI_CLASS] != ELFCLASS64 {
        return Err(ElfError::WrongClass);
    }
    if machine != EM_X86_64 {
        return Err(ElfError::WrongMachine(machine));
    }
    Elf::parse_header(&bytes).map_err(|_| ElfError::TruncatedHeaders)
}

fn read_program_headers(header: &Header, read_at: &mut ReadAt<'_>) -> Result<Vec<ProgramHeader>, ElfError> {
    if usize::from(header.e_phentsize) != SIZEOF_PHDR {
        return Err(ElfError::HeaderSize(header.e_phentsize));
    }
    if header.e_phnum == 0 || header.e_phnum > PROGRAM_HEADERS_MAX {
        return Err(ElfError::HeaderCount(header.e_phnum));
    }
    let count = usize::from(header.e_phnum);
    let mut table = vec![0u8; count * SIZEOF_PHDR];
    if read_full(read_at, header.e_phoff, &mut table)? < table.len() {
        return Err(ElfError::TruncatedHeaders);
    }
    let context = Ctx::new(Container::Big, Endian::Little);
    ProgramHeader::parse(&table, 0, count, context).map_err(|_| ElfError::TruncatedHeaders)
}

fn collect_segments(table: &[ProgramHeader], kind: Kind, file_size: u64) -> Result<Vec<Segment>, ElfError> {
    let mut segments = Vec::new();
    for entry in table.iter().filter(|entry| entry.p_type == PT_LOAD) {
        if entry.p_filesz > entry.p_memsz {
            return Err(ElfError::SegmentSizes);
        }
        if entry.p_memsz != 0 {
            segments.push(check_segment(entry, kind, file_size)?);
        }
    }
    if segments.is_empty() {
        return Err(ElfError::NoSegments);
    }
    segments.sort_by_key(|segment| segment.vaddr);
    if segments.windows(2).any(|pair| pair[0].end() > pair[1].vaddr) {
        return Err(ElfError::SegmentsOverlap);
    }
    Ok(segments)
}

fn check_segment(entry: &ProgramHeader, kind: Kind, file_size: u64) -> Result<Segment, ElfError> {
    let end = entry.p_vaddr.checked_add(entry.p_memsz).ok_or(ElfError::SegmentAddress)?;
    if end > USER_END {
        return Err(ElfError::SegmentAddress);
    }
    if kind == Kind::Fixed && entry.p_vaddr < USER_START {
        return Err(ElfError::SegmentTooLow);
    }
    if entry.p_filesz > 0 {
        if entry.p_offset % PAGE_SIZE != entry.p_vaddr % PAGE_SIZE {
            return Err(ElfError::SegmentAlignment);
        }
        let file_end = entry.p_offset.checked_add(entry.p_filesz).ok_or(ElfError::TruncatedSegment)?;
        if file_end > file_size {
            return Err(ElfError::TruncatedSegment);
        }
    }
    Ok(Segment {
        vaddr: entry.p_vaddr,
        offset: entry.p_offset,
        file_size: entry.p_filesz,
        mem_size: entry.p_memsz,
        rights: Rights {
            read: entry.p_flags & PF_R != 0,
            write: entry.p_flags & PF_W != 0,
            execute: entry.p_flags & PF_X != 0,
        },
        alignment: entry.p_align,
    })
}

fn read_interpreter(table: &[ProgramHeader], read_at: &mut ReadAt<'_>) -> Result<Option<Vec<u8>>, ElfError> {
    let Some(entry) = table.iter().find(|entry| entry.p_type == PT_INTERP) else {
        return Ok(None);
    };
    if entry.p_filesz < 2 || entry.p_filesz > INTERPRETER_PATH_MAX {
        return Err(ElfError::BadInterpreter);
    }
    let len = usize::try_from(entry.p_filesz).map_err(|_| ElfError::BadInterpreter)?;
    let mut path = vec![0u8; len];
    if read_full(read_at, entry.p_offset, &mut path)? < len {
        return Err(ElfError::TruncatedInterpreter);
    }
    if path.last() != Some(&0) {
        return Err(ElfError::BadInterpreter);
    }
    let end = path.iter().position(|byte| *byte == 0).unwrap_or(len);
    path.truncate(end);
    Ok(Some(path))
}

fn stack_rights(table: &[ProgramHeader]) -> StackRights {
    match table.iter().rfind(|entry| entry.p_type == PT_GNU_STACK) {
        None => StackRights::Default,
        Some(entry) if entry.p_flags & PF_X != 0 => StackRights::Executable,
        Some(_) => StackRights::NotExecutable,
    }
}

/// The address at which a segment carries the program header table. The last segment that does so counts.
fn program_headers_vaddr(table: &[ProgramHeader], offset: u64) -> u64 {
    let holds = |entry: &&ProgramHeader| {
        entry.p_type == PT_LOAD && offset.checked_sub(entry.p_offset).is_some_and(|inside| inside < entry.p_filesz)
    };
    table.iter().rfind(holds).map_or(0, |entry| entry.p_vaddr + (offset - entry.p_offset))
}

/// Reads until the buffer is full or the file ends.
fn read_full(read_at: &mut ReadAt<'_>, offset: u64, buffer: &mut [u8]) -> Result<usize, ElfError> {
    let mut done = 0;
    while done < buffer.len() {
        let Some(position) = offset.checked_add(done as u64) else { break };
        let rest = &mut buffer[done..];
        let len = read_at(position, rest).map_err(ElfError::Read)?.min(rest.len());
        if len == 0 {
            break;
        }
        done += len;
    }
    Ok(done)
}

/// Rounds up an address of a checked segment: at most [`USER_END`], which is page aligned.
const fn page_ceil_in_user(address: u64) -> u64 {
    match page_ceil(address) {
        Some(page) => page,
        None => USER_END,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
        bytes[at..at + value.len()].copy_from_slice(value);
    }

    /// Type, flags, offset, vaddr, file size, memory size, alignment.
    type HeaderFields = (u32, u32, u64, u64, u64, u64, u64);

    /// An executable with the given program headers.
    fn executable(headers: &[HeaderFields]) -> Vec<u8> {
        let mut bytes = vec![0; 0x4000];
        put(&mut bytes, 0, b"\x7fELF\x02\x01\x01");
        put(&mut bytes, 16, &[2, 0, 62, 0, 1, 0, 0, 0]);
        put(&mut bytes, 24, &0x40_1000u64.to_le_bytes());
        put(&mut bytes, 32, &64u64.to_le_bytes());
        put(&mut bytes, 52, &[64, 0, 56, 0, u8::try_from(headers.len()).unwrap(), 0]);
        for (index, header) in headers.iter().enumerate() {
            let at = 64 + index * 56;
            put(&mut bytes, at, &header.0.to_le_bytes());
            put(&mut bytes, at + 4, &header.1.to_le_bytes());
            let words = [header.2, header.3, header.3, header.4, header.5, header.6];
            for (field, word) in words.iter().enumerate() {
                put(&mut bytes, at + 8 + field * 8, &word.to_le_bytes());
            }
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<LoadPlan, ElfError> {
        LoadPlan::parse(bytes, bytes.len() as u64)
    }

    const TEXT: HeaderFields = (PT_LOAD, PF_R | PF_X, 0, 0x40_0000, 0x1800, 0x1800, 0x1000);
    const DATA: HeaderFields = (PT_LOAD, PF_R | PF_W, 0x1800, 0x40_2800, 0x900, 0x3000, 0x1000);

    #[test]
    fn segments_split_into_file_and_zero_pages() {
        let plan = parse(&executable(&[TEXT, DATA])).unwrap();
        let [text, data] = &plan.segments[..] else { panic!("two segments") };
        assert_eq!(text.file_pages(), Some((VirtualRange { start: 0x40_0000, end: 0x40_2000 }, 0)));
        assert_eq!((text.zero_tail(), text.zero_pages()), (None, None));
        assert_eq!(data.file_pages(), Some((VirtualRange { start: 0x40_2000, end: 0x40_4000 }, 0x1000)));
        assert_eq!(data.zero_tail(), Some(VirtualRange { start: 0x40_3100, end: 0x40_4000 }));
        assert_eq!(data.zero_pages(), Some(VirtualRange { start: 0x40_4000, end: 0x40_6000 }));
        assert_eq!(plan.pages(), VirtualRange { start: 0x40_0000, end: 0x40_6000 });
        assert_eq!(plan.memory_size(), 0x6000);
        assert_eq!(plan.program_headers.vaddr, 0x40_0040);
        assert_eq!(plan.code(), VirtualRange { start: 0x40_0000, end: 0x40_1800 });
        assert_eq!(plan.data(), VirtualRange { start: 0x40_2800, end: 0x40_3100 });
    }

    #[test]
    fn a_segment_of_zeros_needs_no_file() {
        let plan = parse(&executable(&[TEXT, (PT_LOAD, PF_R | PF_W, 0x123, 0x50_0800, 0, 0x1000, 0x1000)])).unwrap();
        assert_eq!(plan.segments[1].file_pages(), None);
        assert_eq!(plan.segments[1].zero_pages(), Some(VirtualRange { start: 0x50_0000, end: 0x50_2000 }));
    }

    #[test]
    fn broken_segments_are_refused() {
        let with = |change: &dyn Fn(&mut HeaderFields)| {
            let mut data = DATA;
            change(&mut data);
            parse(&executable(&[TEXT, data])).err()
        };
        assert_eq!(with(&|_| ()), None);
        assert_eq!(with(&|data| data.4 = 0x3001), Some(ElfError::SegmentSizes));
        assert_eq!(with(&|data| data.2 += 1), Some(ElfError::SegmentAlignment));
        assert_eq!(with(&|data| data.2 = 0x3800), Some(ElfError::TruncatedSegment));
        assert_eq!(with(&|data| data.2 = u64::MAX - 0x7ff), Some(ElfError::TruncatedSegment));
        assert_eq!(with(&|data| data.5 = u64::MAX), Some(ElfError::SegmentAddress));
        assert_eq!(with(&|data| data.5 = USER_END), Some(ElfError::SegmentAddress));
        assert_eq!(with(&|data| data.3 = 0xffff_8000_0000_0800), Some(ElfError::SegmentAddress));
        assert_eq!(with(&|data| data.3 = 0x800), Some(ElfError::SegmentTooLow));
        assert_eq!(with(&|data| data.3 = 0x3f_f800), Some(ElfError::SegmentsOverlap));
        assert_eq!(with(&|data| data.0 = PT_INTERP), None);
        assert_eq!(parse(&executable(&[(PT_TLS, 4, 0, 0, 0, 0, 0)])).err(), Some(ElfError::NoSegments));
        assert_eq!(parse(&executable(&[])).err(), Some(ElfError::HeaderCount(0)));
    }

    #[test]
    fn segments_may_share_a_page_but_no_byte() {
        let plan = parse(&executable(&[TEXT, (PT_LOAD, PF_R | PF_W, 0x1800, 0x40_1800, 0x10, 0x10, 0x1000)])).unwrap();
        assert_eq!(plan.segments[1].pages().start, 0x40_1000);
    }

    #[test]
    fn foreign_files_are_told_apart() {
        let good = executable(&[TEXT]);
        let with = |at: usize, value: &[u8]| {
            let mut bytes = good.clone();
            put(&mut bytes, at, value);
            parse(&bytes).err()
        };
        assert_eq!(with(0, b"#!/b"), Some(ElfError::NotElf));
        assert_eq!(with(4, &[1]), Some(ElfError::WrongClass));
        assert_eq!(with(5, &[2]), Some(ElfError::WrongByteOrder));
        assert_eq!(with(16, &[1]), Some(ElfError::WrongType(1)));
        assert_eq!(with(18, &[183]), Some(ElfError::WrongMachine(183)));
        assert_eq!(with(54, &[32]), Some(ElfError::HeaderSize(32)));
        assert_eq!(with(56, &[74]), Some(ElfError::HeaderCount(74)));
        assert_eq!(with(32, &0x3ff0u64.to_le_bytes()), Some(ElfError::TruncatedHeaders));
        assert_eq!(with(32, &u64::MAX.to_le_bytes()), Some(ElfError::TruncatedHeaders));
        assert_eq!(with(24, &u64::MAX.to_le_bytes()), Some(ElfError::EntryAddress));
        assert_eq!(parse(b"").err(), Some(ElfError::NotElf));
        assert_eq!(parse(b"\x7fELF").err(), Some(ElfError::TruncatedHeaders));
    }

    #[test]
    fn interpreters_are_checked() {
        let with = |len: u64, path: &[u8]| {
            let mut bytes = executable(&[TEXT, (PT_INTERP, 4, 0x2000, 0, len, len, 1)]);
            put(&mut bytes, 0x2000, path);
            parse(&bytes).map(|plan| plan.interpreter)
        };
        assert_eq!(with(7, b"/ld.so\0"), Ok(Some(b"/ld.so".to_vec())));
        assert_eq!(with(6, b"/ld.so\0"), Err(ElfError::BadInterpreter));
        assert_eq!(with(1, b"\0"), Err(ElfError::BadInterpreter));
        assert_eq!(with(4097, b"/"), Err(ElfError::BadInterpreter));
        let beyond = executable(&[TEXT, (PT_INTERP, 4, 0x3fff, 0, 7, 7, 1)]);
        assert_eq!(parse(&beyond).err(), Some(ElfError::TruncatedInterpreter));
    }

    #[test]
    fn a_failing_read_is_passed_on() {
        let failing = LoadPlan::read(4096, &mut |_, _| Err(Errno::EIO));
        assert_eq!(failing.err(), Some(ElfError::Read(Errno::EIO)));
        // One byte at a time is as good as all at once.
        let bytes = executable(&[TEXT, DATA]);
        let slow = LoadPlan::read(bytes.len() as u64, &mut |offset, buffer| {
            buffer[0] = bytes[usize::try_from(offset).unwrap()];
            Ok(1)
        });
        assert_eq!(slow, parse(&bytes));
    }
}
