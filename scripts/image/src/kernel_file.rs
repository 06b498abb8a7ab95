//! The kernel's ELF file, and how a payload gets into it.
//!
//! The kernel is linked with an almost empty last `PT_LOAD` segment that holds [`image_format::PLACEHOLDER`]. The image is
//! a copy of the loadable part of that file, without sections, symbols and debug information, in which this segment's
//! header points to the payload appended at the end.

use std::io::{self, Read, Seek, SeekFrom, Write};

use goblin::elf::Elf;
use goblin::elf::program_header::{PT_LOAD, ProgramHeader};
use goblin::elf::sym::{STB_LOCAL, STT_FUNC, STT_NOTYPE};
use image_format::write::{Payload, SymbolSource};
use image_format::{PAGE_SIZE, PLACEHOLDER};

use crate::symbol_name::shown;
use crate::{Failure, Result};

/// Where fields lie in the ELF header and in a program header.
mod field {
    pub(super) const E_SHOFF: usize = 40;
    pub(super) const E_SHENTSIZE: usize = 58;
    pub(super) const P_OFFSET: usize = 8;
    pub(super) const P_FILESZ: usize = 32;
    pub(super) const P_MEMSZ: usize = 40;
}

/// A kernel that can take a payload.
#[derive(Debug)]
pub struct KernelFile {
    /// Everything before the payload: headers and segments, padded to a page.
    bytes: Vec<u8>,
    /// Where the payload's program header lies.
    payload_header: usize,
    symbols: Vec<SymbolSource>,
}

impl KernelFile {
    /// Reads the kernel as the linker left it.
    ///
    /// # Errors
    /// When it is not such a kernel.
    pub fn parse(file: &[u8]) -> Result<Self> {
        let elf = Elf::parse(file).map_err(|error| Failure::new(format!("the kernel is no ELF file: {error}")))?;
        let loads = || elf.program_headers.iter().enumerate().filter(|(_, header)| header.p_type == PT_LOAD);
        let (index, payload) = loads().next_back().ok_or_else(|| Failure::new("the kernel has no segments"))?;
        if segment_bytes(file, payload).is_none_or(|bytes| !bytes.starts_with(&PLACEHOLDER)) {
            return Err(Failure::new("the kernel has no room for a payload: is this an image already?"));
        }
        if payload.p_vaddr % PAGE_SIZE != 0 {
            return Err(Failure::new("the kernel's payload segment is not page aligned"));
        }
        let kept = loads().filter(|(other, _)| *other != index);
        let end = kept.map(|(_, header)| header.p_offset.saturating_add(header.p_filesz)).max().unwrap_or_default();
        let end = usize::try_from(end).ok().filter(|&end| end <= file.len());
        let mut bytes = file[..end.ok_or_else(|| Failure::new("the kernel is truncated"))?].to_vec();
        forget_sections(&mut bytes).ok_or_else(|| Failure::new("the kernel is truncated"))?;
        bytes.resize(bytes.len().next_multiple_of(page_size()), 0);
        let table = usize::try_from(elf.header.e_phoff).unwrap_or(usize::MAX);
        let payload_header = table.saturating_add(index * usize::from(elf.header.e_phentsize));
        if payload_header.saturating_add(usize::from(elf.header.e_phentsize)) > bytes.len() {
            return Err(Failure::new("the kernel's program headers lie outside its segments"));
        }
        Ok(Self { bytes, payload_header, symbols: symbols(&elf) })
    }

    /// The kernel's functions, closed by a nameless one at the end of its text.
    pub fn symbols(&self) -> &[SymbolSource] {
        &self.symbols
    }

    /// The size of the kernel in the image.
    pub fn size(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    /// Writes the image and returns its size.
    ///
    /// # Errors
    /// Those of `output` and of the payload's files.
    pub fn write_image(&self, payload: &Payload, output: &mut (impl Write + Seek)) -> io::Result<u64> {
        output.write_all(&self.bytes)?;
        let size = payload.write_to(output)?;
        for (position, value) in [(field::P_OFFSET, self.size()), (field::P_FILESZ, size), (field::P_MEMSZ, size)] {
            let position = u64::try_from(self.payload_header + position).map_err(io::Error::other)?;
            output.seek(SeekFrom::Start(position))?;
            output.write_all(&value.to_le_bytes())?;
        }
        output.flush()?;
        Ok(self.size() + size)
    }
}

/// What an image needs to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageMemory {
    /// The memory that kernel and payload take, in bytes.
    pub loaded: u64,
    /// The physical address behind them: memory must reach as far.
    pub end: u64,
    /// The memory that the program needs at least, in bytes.
    pub program: u64,
    /// The kind of the file system on the disk that is its root; empty where the root is in it.
    pub root_kind: String,
}

/// Reads from an image what it needs to run, without reading its files.
///
/// # Errors
/// When it is no image.
pub fn read_memory(image: &mut (impl Read + Seek)) -> Result<ImageMemory> {
    let not_an_image = || Failure::new("not an image: make one with make image APP=program");
    let mut start = Vec::new();
    image.by_ref().take(PAGE_SIZE).read_to_end(&mut start).map_err(|_| not_an_image())?;
    let elf = Elf::parse_header(&start).ok();
    let headers = elf.and_then(|header| crate::program::program_headers(&start, &header).ok()).unwrap_or_default();
    let loads: Vec<_> = headers.iter().filter(|header| header.p_type == PT_LOAD).collect();
    let payload = *loads.last().ok_or_else(not_an_image)?;
    // The header and the start parameters come first; they are all that is needed.
    image.seek(SeekFrom::Start(payload.p_offset)).map_err(|_| not_an_image())?;
    let mut head = Vec::new();
    image.by_ref().take(PAGE_SIZE).read_to_end(&mut head).map_err(|_| not_an_image())?;
    if head.starts_with(&PLACEHOLDER) {
        return Err(Failure::new("a kernel without a program: make an image with make image APP=program"));
    }
    image_format::Image::total_size_of(&head).map_err(|_| not_an_image())?;
    let program = image_format::Image::required_memory_of(&head).unwrap_or_default();
    let end = loads.iter().map(|header| header.p_paddr.saturating_add(header.p_memsz)).max().unwrap_or_default();
    let base = loads.iter().map(|header| header.p_paddr).min().unwrap_or_default();
    let root_kind = image_format::Image::root_kind_of(&head).unwrap_or_default().to_owned();
    Ok(ImageMemory { loaded: end.saturating_sub(base), end, program, root_kind })
}

/// The payload of an image.
///
/// # Errors
/// When it is no image.
pub fn payload(image: &[u8]) -> Result<&[u8]> {
    let elf = Elf::parse(image).map_err(|error| Failure::new(format!("the image is no ELF file: {error}")))?;
    let header = elf.program_headers.iter().rfind(|header| header.p_type == PT_LOAD);
    header.and_then(|header| segment_bytes(image, header)).ok_or_else(|| Failure::new("the image has no payload"))
}

fn page_size() -> usize {
    usize::try_from(PAGE_SIZE).unwrap_or(usize::MAX)
}

fn segment_bytes<'a>(file: &'a [u8], header: &ProgramHeader) -> Option<&'a [u8]> {
    let start = usize::try_from(header.p_offset).ok()?;
    file.get(start..start.checked_add(usize::try_from(header.p_filesz).ok()?)?)
}

/// Makes the header say that there are no sections.
fn forget_sections(bytes: &mut [u8]) -> Option<()> {
    bytes.get_mut(field::E_SHOFF..field::E_SHOFF + 8)?.fill(0);
    // e_shentsize, e_shnum and e_shstrndx close the header.
    bytes.get_mut(field::E_SHENTSIZE..field::E_SHENTSIZE + 6)?.fill(0);
    Some(())
}

/// The functions in executable segments, by their distance from the link base.
fn symbols(elf: &Elf<'_>) -> Vec<SymbolSource> {
    let loads = || elf.program_headers.iter().filter(|header| header.p_type == PT_LOAD);
    let base = loads().map(|header| header.p_vaddr).min().unwrap_or_default();
    let is_code =
        |address| loads().any(|header| header.is_executable() && header.vm_range().contains(&to_index(address)));
    let mut found: Vec<(u64, bool, &str)> = elf
        .syms
        .iter()
        .filter(|symbol| is_code(symbol.st_value))
        .filter_map(|symbol| {
            let name = elf.strtab.get_at(symbol.st_name).filter(|name| !name.is_empty())?;
            // Assembly has names without a type; local ones are places within a function.
            let is_label = symbol.st_type() == STT_NOTYPE && symbol.st_bind() != STB_LOCAL;
            (symbol.st_type() == STT_FUNC || is_label).then_some((symbol.st_value, is_label, name))
        })
        .collect();
    // Of several names for one place a function's is kept.
    found.sort_unstable();
    found.dedup_by_key(|(address, ..)| *address);
    let text_end = loads().filter(|header| header.is_executable()).map(|header| header.p_vaddr + header.p_memsz).max();
    let mut symbols: Vec<SymbolSource> = found
        .into_iter()
        .map(|(address, _, name)| (address, shown(name)))
        .chain(text_end.map(|end| (end, String::new())))
        .filter_map(|(address, name)| Some(SymbolSource { offset: u32::try_from(address - base).ok()?, name }))
        .collect();
    symbols.dedup_by(|next, symbol| next.name == symbol.name);
    symbols
}

fn to_index(address: u64) -> usize {
    usize::try_from(address).unwrap_or(usize::MAX)
}
