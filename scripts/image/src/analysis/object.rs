//! The parts of an ELF file that the analysis needs: segments, functions, starting points, relocations.
//!
//! Only the program headers are believed to be there; symbols, sections and call frame information are used if they can be
//! read.

use std::ops::Range;

use gimli::{BaseAddresses, CieOrFde, EhFrame, EhFrameHdr, LittleEndian, Pointer, UnwindSection};
use goblin::elf::Elf;
use goblin::elf::dynamic::{
    DT_FINI, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, DT_INIT, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, DT_PREINIT_ARRAY,
    DT_PREINIT_ARRAYSZ, DT_RELA, DT_RELASZ,
};
use goblin::elf::header::ET_EXEC;
use goblin::elf::program_header::{PT_GNU_EH_FRAME, PT_LOAD};
use goblin::elf::reloc::{R_X86_64_IRELATIVE, R_X86_64_RELATIVE};
use goblin::elf::section_header::SectionHeader;
use goblin::elf::sym::{STT_FUNC, STT_GNU_IFUNC};

use super::exception_table;

/// The size of an address in the file.
const WORD: usize = 8;
/// Programs lie below this address.
const USER_END: u64 = 1 << 47;
/// The size of a relocation with addend.
const RELA_SIZE: usize = 24;

/// A loaded part of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) address: u64,
    pub(super) bytes: &'a [u8],
    file_offset: u64,
    memory_size: u64,
    pub(super) is_executable: bool,
}

impl Segment<'_> {
    /// The addresses that have bytes in the file.
    pub(super) fn file_range(&self) -> Range<u64> {
        self.address..self.address + wide(self.bytes.len())
    }
}

/// An ELF file.
pub(super) struct Object<'a> {
    segments: Vec<Segment<'a>>,
    elf: Elf<'a>,
    frames: Vec<Frame>,
}

/// What call frame information says about a function.
struct Frame {
    address: u64,
    size: u64,
    /// Where its exception table lies, if it has one.
    exception_table: Option<Pointer>,
}

impl<'a> Object<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        // A file whose symbols are damaged still has program headers.
        let elf = Elf::parse(bytes).ok().or_else(|| headers_only(bytes))?;
        let mut segments = Vec::new();
        for header in elf.program_headers.iter().filter(|header| header.p_type == PT_LOAD) {
            let start = usize::try_from(header.p_offset).ok()?;
            let end = start.checked_add(usize::try_from(header.p_filesz).ok()?)?;
            let bytes = bytes.get(start..end)?;
            // Nothing is loaded outside the program's half, so no address near the end of all addresses can occur.
            header.p_vaddr.checked_add(header.p_memsz.max(header.p_filesz)).filter(|&end| end <= USER_END)?;
            segments.push(Segment {
                address: header.p_vaddr,
                bytes,
                file_offset: header.p_offset,
                memory_size: header.p_memsz.max(header.p_filesz),
                is_executable: header.is_executable(),
            });
        }
        segments.sort_by_key(|segment| segment.address);
        let mut object = Self { segments, elf, frames: Vec::new() };
        object.frames = object.frame_section().map(|(address, bytes)| parse_frames(address, bytes)).unwrap_or_default();
        Some(object)
    }

    /// Whether the file is loaded where it says.
    pub(super) fn has_fixed_address(&self) -> bool {
        self.elf.header.e_type == ET_EXEC
    }

    /// Whether an address may lie in code. An executable segment may hold data as well; sections tell the two apart, where there
    /// are any.
    pub(super) fn may_be_code(&self, address: u64) -> bool {
        let holds =
            |section: &&SectionHeader| section.vm_range().contains(&usize::try_from(address).unwrap_or(usize::MAX));
        let mut code = self.elf.section_headers.iter().filter(|section| section.is_executable()).peekable();
        code.peek().is_none() || code.any(|section| holds(&section))
    }

    /// All loaded segments by address.
    pub(super) fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// Where the byte at an address lies in the file.
    pub(super) fn file_offset(&self, address: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| segment.file_range().contains(&address))?;
        segment.file_offset.checked_add(address - segment.address)
    }

    /// Whether an address is mapped at all.
    pub(super) fn is_mapped(&self, address: u64) -> bool {
        // One byte behind the end is where pointers past the end of an array point.
        self.segments.iter().any(|segment| (segment.address..=segment.address + segment.memory_size).contains(&address))
    }

    /// Whether an address lies in code.
    pub(super) fn is_executable(&self, address: u64) -> bool {
        self.segments.iter().any(|segment| segment.is_executable && segment.file_range().contains(&address))
    }

    /// `size` bytes of the file at an address.
    pub(super) fn read(&self, address: u64, size: u64) -> Option<&'a [u8]> {
        let segment = self.segments.iter().find(|segment| segment.file_range().contains(&address))?;
        let start = usize::try_from(address - segment.address).ok()?;
        segment.bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)
    }

    /// Everything from an address to the end of its segment in the file.
    fn rest(&self, address: u64) -> Option<&'a [u8]> {
        let segment = self.segments.iter().find(|segment| segment.file_range().contains(&address))?;
        segment.bytes.get(usize::try_from(address - segment.address).ok()?..)
    }

    /// The functions whose start and end are known, by address, the longest of those that start together first.
    pub(super) fn function_ranges(&self) -> Vec<Range<u64>> {
        let symbols = self.functions().filter(|(_, size)| *size > 0);
        let mut ranges: Vec<_> = symbols
            .chain(self.frames.iter().map(|frame| (frame.address, frame.size)))
            .filter_map(|(start, size)| self.code(start, size))
            .collect();
        ranges.sort_unstable_by(|left, right| (left.start, right.end).cmp(&(right.start, left.end)));
        ranges.dedup();
        ranges
    }

    /// Where execution can start: entry point, initialisers, finalisers, functions of unknown size.
    pub(super) fn roots(&self) -> Vec<u64> {
        let mut roots = vec![self.elf.entry];
        roots.extend(self.functions().filter(|(_, size)| *size == 0).map(|(address, _)| address));
        for name in [".init", ".fini"] {
            roots.extend(self.section(name).map(|range| range.start));
        }
        for name in [".preinit_array", ".init_array", ".fini_array"] {
            roots.extend(self.section(name).into_iter().flat_map(|range| self.words(range)));
        }
        roots.extend([DT_INIT, DT_FINI].into_iter().filter_map(|tag| self.dynamic(tag)));
        for (array, size) in
            [(DT_PREINIT_ARRAY, DT_PREINIT_ARRAYSZ), (DT_INIT_ARRAY, DT_INIT_ARRAYSZ), (DT_FINI_ARRAY, DT_FINI_ARRAYSZ)]
        {
            if let (Some(start), Some(size)) = (self.dynamic(array), self.dynamic(size)) {
                roots.extend(self.words(start..start.saturating_add(size)));
            }
        }
        // The resolvers of indirect functions.
        roots.extend(self.relocations().filter(|(kind, _)| *kind == R_X86_64_IRELATIVE).map(|(_, addend)| addend));
        roots.retain(|&root| self.is_executable(root));
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// Every address that a symbol, a function's extent or a relocation against a symbol names.
    pub(super) fn labels(&self) -> impl Iterator<Item = u64> {
        let symbols = self.elf.syms.iter().chain(self.elf.dynsyms.iter()).map(|symbol| symbol.st_value);
        let extents = self.function_ranges().into_iter().flat_map(|range| [range.start, range.end]);
        let relocated = self.elf.dynrelas.iter().chain(self.elf.dynrels.iter()).chain(self.elf.pltrelocs.iter());
        let relocated = relocated.filter_map(|relocation| {
            let symbol = self.elf.dynsyms.get(relocation.r_sym)?;
            Some(symbol.st_value.wrapping_add_signed(relocation.r_addend.unwrap_or(0)))
        });
        symbols.chain(extents).chain(relocated).chain(self.roots())
    }

    /// Where the exception tables of some functions let the unwinder go on. If such a table cannot be read, that may be
    /// anywhere in its function.
    pub(super) fn landing_pads(&self, is_asked_for: impl Fn(&Range<u64>) -> bool) -> Vec<u64> {
        let mut pads = Vec::new();
        for frame in &self.frames {
            let function = frame.address..frame.address.saturating_add(frame.size);
            let Some(table) = frame.exception_table.filter(|_| is_asked_for(&function)) else { continue };
            let bytes = match table {
                Pointer::Direct(address) => self.rest(address).map(|bytes| (address, bytes)),
                Pointer::Indirect(_) => None,
            };
            match bytes.and_then(|(address, bytes)| exception_table::landing_pads(bytes, address, function.start)) {
                Some(found) => pads.extend(found),
                None => pads.extend(function),
            }
        }
        pads
    }

    /// The addresses at which certain bytes lie in code.
    pub(super) fn code_with(&self, pattern: [u8; 2]) -> Vec<u64> {
        let code = self.segments.iter().filter(|segment| segment.is_executable);
        let places = code.flat_map(|segment| (segment.address..).zip(segment.bytes.windows(2)));
        places.filter(|(_, bytes)| *bytes == pattern).map(|(address, _)| address).collect()
    }

    /// The addresses of code that data mentions.
    pub(super) fn code_pointers(&self) -> Vec<u64> {
        let data = self.segments.iter().filter(|segment| !segment.is_executable);
        let words = data.flat_map(|segment| self.words(segment.file_range()));
        let addends = self.relocations().filter(|(kind, _)| *kind == R_X86_64_RELATIVE).map(|(_, addend)| addend);
        let mut pointers: Vec<_> = words.chain(addends).filter(|&address| self.is_executable(address)).collect();
        pointers.sort_unstable();
        pointers.dedup();
        pointers
    }

    /// The aligned words in a range of addresses.
    fn words(&self, range: Range<u64>) -> impl Iterator<Item = u64> {
        let start = range.start.checked_next_multiple_of(wide(WORD));
        let bytes = start.and_then(|start| self.read(start, range.end.saturating_sub(start))).unwrap_or_default();
        bytes.chunks_exact(WORD).filter_map(|word| word.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)))
    }

    /// Functions in the symbol tables, with their sizes.
    fn functions(&self) -> impl Iterator<Item = (u64, u64)> {
        let is_function = |kind| kind == STT_FUNC || kind == STT_GNU_IFUNC;
        let all = self.elf.syms.iter().chain(self.elf.dynsyms.iter());
        all.filter(move |symbol| is_function(symbol.st_type()) && self.is_executable(symbol.st_value))
            .map(|symbol| (symbol.st_value, symbol.st_size))
    }

    /// Kind and addend of every relocation without a symbol.
    fn relocations(&self) -> impl Iterator<Item = (u32, u64)> {
        let table = self.dynamic(DT_RELA).zip(self.dynamic(DT_RELASZ));
        let from_dynamic = table.and_then(|(start, size)| self.read(start, size)).unwrap_or_default();
        let fields = |entry: &[u8]| {
            let kind = entry.get(8..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))?;
            Some((kind, entry.get(16..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?))
        };
        // A program at a fixed address has its indirect functions here, and nothing else.
        let fixed = self.section(".rela.plt").or_else(|| self.section(".rela.iplt"));
        let from_section = fixed.and_then(|range| self.read(range.start, range.end - range.start)).unwrap_or_default();
        from_dynamic.chunks_exact(RELA_SIZE).chain(from_section.chunks_exact(RELA_SIZE)).filter_map(fields)
    }

    fn dynamic(&self, tag: u64) -> Option<u64> {
        let entries = &self.elf.dynamic.as_ref()?.dyns;
        entries.iter().find(|entry| entry.d_tag == tag).map(|entry| entry.d_val)
    }

    /// The addresses of a loaded section.
    fn section(&self, name: &str) -> Option<Range<u64>> {
        let mut headers = self.elf.section_headers.iter();
        let header = headers.find(|header| self.elf.shdr_strtab.get_at(header.sh_name) == Some(name))?;
        let end = header.sh_addr.checked_add(header.sh_size)?;
        (header.sh_addr != 0).then_some(header.sh_addr..end)
    }

    fn code(&self, start: u64, size: u64) -> Option<Range<u64>> {
        let range = start..start.checked_add(size)?;
        let fits = |segment: &Segment<'_>| {
            segment.is_executable && segment.address <= range.start && range.end <= segment.file_range().end
        };
        self.segments.iter().any(fits).then_some(range)
    }

    /// The call frame information, through its section or through the program header of its index.
    fn frame_section(&self) -> Option<(u64, &'a [u8])> {
        if let Some(range) = self.section(".eh_frame") {
            return Some((range.start, self.read(range.start, range.end - range.start)?));
        }
        let header = self.elf.program_headers.iter().find(|header| header.p_type == PT_GNU_EH_FRAME)?;
        let index = EhFrameHdr::new(self.read(header.p_vaddr, header.p_filesz)?, LittleEndian);
        let bases = BaseAddresses::default().set_eh_frame_hdr(header.p_vaddr);
        let Pointer::Direct(address) = index.parse(&bases, 8).ok()?.eh_frame_ptr() else { return None };
        // It closes itself; the end of the segment is only a bound.
        let segment = self.segments.iter().find(|segment| segment.file_range().contains(&address))?;
        Some((address, self.read(address, segment.file_range().end - address)?))
    }
}

fn parse_frames(address: u64, bytes: &[u8]) -> Vec<Frame> {
    let section = EhFrame::new(bytes, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(address);
    let mut entries = section.entries(&bases);
    let mut frames = Vec::new();
    while let Ok(Some(entry)) = entries.next() {
        if let CieOrFde::Fde(partial) = entry
            && let Ok(frame) = partial.parse(EhFrame::cie_from_offset)
        {
            frames.push(Frame { address: frame.initial_address(), size: frame.len(), exception_table: frame.lsda() });
        }
    }
    frames
}

/// The file without anything but its program headers.
fn headers_only(bytes: &[u8]) -> Option<Elf<'_>> {
    let header = Elf::parse_header(bytes).ok()?;
    let program_headers = crate::program::program_headers(bytes, &header).ok()?;
    let mut elf = Elf::lazy_parse(header).ok()?;
    elf.program_headers = program_headers;
    elf.entry = elf.header.e_entry;
    Some(elf)
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
