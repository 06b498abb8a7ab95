//! The writer of payloads: for the image builder, and for tests that need an archive.
//!
//! [`Tree`] collects the root file system, [`Payload`] adds the rest and writes it all in one pass. Contents of files may
//! stay on the host's disk until they are written. The same input gives the same bytes.

mod symbols;
mod tree;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};

use zerocopy::IntoBytes;
use zerocopy::little_endian::{I64, U16, U32, U64};

pub use symbols::SymbolSource;
pub use tree::{Content, Metadata, NodeId, SpecialKind, Tree, TreeError, View};

use crate::config::{ROOT_KIND_SIZE, read_root_kind};
use crate::layout::{ELSEWHERE, EntryRecord, Extent, HEADER_SIZE, Header, InodeRecord, SECTION_COUNT, SiteRecord};
use crate::{ALIGNED_SIZE_MIN, MAGIC, PAGE_SIZE, Site, VERSION, packed};
use tree::NodeKind;

/// Small files and tables begin at a multiple of this.
const ALIGNMENT: u64 = 8;

/// The start parameters of the program, to be written.
#[derive(Clone, Debug, Default)]
pub struct ConfigSource {
    /// The kind of the file system on the disk that is the root; empty where the archive is.
    pub root_kind: String,
    /// The absolute path of the program in the root file system.
    pub app_path: Vec<u8>,
    /// The arguments, the program's own name first.
    pub arguments: Vec<Vec<u8>>,
    /// The environment, as `NAME=value`.
    pub environment: Vec<Vec<u8>>,
    /// The working directory.
    pub cwd: Vec<u8>,
    /// The host name.
    pub hostname: Vec<u8>,
    /// How network interfaces are configured; empty for automatic.
    pub network: String,
    /// The memory the program needs at least, in bytes; 0 when unknown.
    pub required_memory: u64,
}

/// Everything a payload consists of.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    /// The start parameters.
    pub config: ConfigSource,
    /// The root file system.
    pub tree: Tree,
    /// The kernel's functions, in any order. The last one should be nameless and mark the end of the text.
    pub symbols: Vec<SymbolSource>,
    /// Whether files are packed where that saves something.
    pub is_packed: bool,
}

impl Payload {
    /// Writes the payload and returns its size, a multiple of the page size.
    ///
    /// # Errors
    /// Those of `output`, of the host's files, and `InvalidInput` for what the format cannot hold.
    pub fn write_to(&self, output: &mut impl Write) -> io::Result<u64> {
        let plan = Plan::new(self)?;
        let mut output = Counted { output, written: 0 };
        output.write_all(plan.header.as_bytes())?;
        for (section, extent) in plan.sections.iter().zip(&plan.header.sections) {
            output.pad_to(extent.offset.get())?;
            output.write_all(section)?;
        }
        for (content, offset) in &plan.contents {
            output.pad_to(*offset)?;
            match content {
                Placed::AsItIs(content) => write_content(content, &mut output)?,
                Placed::Packed(bytes) => output.write_all(bytes)?,
            }
        }
        output.pad_to(plan.header.total_size.get())?;
        Ok(output.written)
    }

    /// The payload in memory.
    ///
    /// # Errors
    /// As [`Self::write_to`].
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes)?;
        Ok(bytes)
    }
}

/// Where everything goes.
struct Plan<'a> {
    header: Header,
    /// The sections before the data, in order.
    sections: [Vec<u8>; SECTION_COUNT - 1],
    contents: Vec<(Placed<'a>, u64)>,
}

/// The contents of a file, as they go into the payload.
enum Placed<'a> {
    AsItIs(&'a Content),
    Packed(Vec<u8>),
}

impl Placed<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::AsItIs(Content::Elsewhere { .. }) => 0,
            Self::AsItIs(content) => content.size(),
            Self::Packed(bytes) => wide(bytes.len()),
        }
    }

    /// Whether its pages are to be mapped where they lie.
    fn is_aligned(&self) -> bool {
        matches!(self, Self::AsItIs(_) if self.size() >= ALIGNED_SIZE_MIN)
    }
}

impl<'a> Plan<'a> {
    fn new(payload: &'a Payload) -> io::Result<Self> {
        let mut tables = Tables::default();
        tables.add_tree(&payload.tree)?;
        let config = config_bytes(&payload.config)?;
        let (symbols, symbol_names) = symbols::tables(&payload.symbols)?;
        let metadata_sizes = [
            config.len(),
            tables.inodes.as_bytes().len(),
            tables.entries.as_bytes().len(),
            tables.names.len(),
            tables.sites.as_bytes().len(),
            symbols.as_bytes().len(),
            symbol_names.len(),
        ];
        let mut end = wide(HEADER_SIZE);
        let mut extents = [Extent::default(); SECTION_COUNT];
        for (extent, size) in extents.iter_mut().zip(metadata_sizes) {
            let offset = end.next_multiple_of(ALIGNMENT);
            *extent = Extent { offset: U64::new(offset), size: U64::new(wide(size)) };
            end = offset + wide(size);
        }
        let data_start = end.next_multiple_of(ALIGNMENT);
        let placed = pack_contents(&tables.contents, payload.is_packed)?;
        let (contents, data_end) = place_contents(placed, data_start, &mut tables.inodes);
        let total_size = data_end.next_multiple_of(PAGE_SIZE);
        if let Some(data) = extents.last_mut() {
            *data = Extent { offset: U64::new(data_start), size: U64::new(total_size - data_start) };
        }
        let header = Header {
            magic: MAGIC,
            version: U32::new(VERSION),
            reserved: U32::ZERO,
            total_size: U64::new(total_size),
            sections: extents,
        };
        let sections = [
            config,
            tables.inodes.as_bytes().to_vec(),
            tables.entries.as_bytes().to_vec(),
            tables.names,
            tables.sites.as_bytes().to_vec(),
            symbols.as_bytes().to_vec(),
            symbol_names,
        ];
        Ok(Self { header, sections, contents })
    }
}

/// Packs the files where that is wanted and saves something. Files that are not mapped where they lie are left: nothing is gained with them.
fn pack_contents<'a>(files: &[(usize, &'a Content)], is_packed: bool) -> io::Result<Vec<(usize, Placed<'a>)>> {
    let place = |&(inode, content): &(usize, &'a Content)| {
        let is_here = !matches!(content, Content::Elsewhere { .. });
        let packed =
            if is_packed && is_here && content.size() >= PAGE_SIZE { packed::pack(&bytes_of(content)?) } else { None };
        Ok((inode, packed.map_or(Placed::AsItIs(content), Placed::Packed)))
    };
    files.iter().map(place).collect()
}

/// Gives every file its place: those together first that are not mapped where they lie, then the page-aligned ones.
fn place_contents<'a>(
    files: Vec<(usize, Placed<'a>)>,
    start: u64,
    inodes: &mut [InodeRecord],
) -> (Vec<(Placed<'a>, u64)>, u64) {
    let mut end = start;
    let mut contents = Vec::with_capacity(files.len());
    let (aligned, close): (Vec<_>, Vec<_>) = files.into_iter().partition(|(_, placed)| placed.is_aligned());
    for (inode, placed) in close.into_iter().chain(aligned) {
        let mut offset = end.next_multiple_of(if placed.is_aligned() { PAGE_SIZE } else { ALIGNMENT });
        // A small file lies in one page, so that it can be sent from there.
        if placed.size() < ALIGNED_SIZE_MIN && offset % PAGE_SIZE + placed.size() > PAGE_SIZE {
            offset = offset.next_multiple_of(PAGE_SIZE);
        }
        end = offset + placed.size();
        if let Some(record) = inodes.get_mut(inode) {
            record.data = U64::new(offset);
            record.packed_size = U64::new(match placed {
                Placed::Packed(_) => placed.size(),
                Placed::AsItIs(Content::Elsewhere { .. }) => ELSEWHERE,
                Placed::AsItIs(_) => 0,
            });
        }
        contents.push((placed, offset));
    }
    (contents, end)
}

/// The tables of the archive.
#[derive(Default)]
struct Tables<'a> {
    inodes: Vec<InodeRecord>,
    entries: Vec<EntryRecord>,
    names: Vec<u8>,
    sites: Vec<SiteRecord>,
    contents: Vec<(usize, &'a Content)>,
    numbers: HashMap<NodeId, usize>,
}

impl<'a> Tables<'a> {
    /// Adds the inodes breadth first, which keeps the entries of a directory together and puts a directory's number
    /// behind its parent's.
    fn add_tree(&mut self, tree: &'a Tree) -> io::Result<()> {
        let mut queue = vec![tree.root()];
        self.add_inode(tree, tree.root())?;
        let mut next = 0;
        while let Some(&directory) = queue.get(next) {
            next += 1;
            let first = self.entries.len();
            for (name, child) in tree.children(directory) {
                let inode = match self.numbers.get(&child) {
                    Some(&number) => number,
                    None => self.add_inode(tree, child)?,
                };
                if tree.is_directory(child) {
                    queue.push(child);
                }
                let record = EntryRecord {
                    inode: U32::new(narrow(inode)?),
                    name_size: U16::new(narrow(name.len())?),
                    reserved: U16::ZERO,
                    name: U64::new(wide(self.names.len())),
                };
                self.names.extend_from_slice(name);
                self.entries.push(record);
            }
            let number = self.numbers.get(&directory).copied().unwrap_or_default();
            if let Some(record) = self.inodes.get_mut(number) {
                record.data = U64::new(wide(first));
                record.data_size = U64::new(wide(self.entries.len() - first));
            }
        }
        Ok(())
    }

    fn add_inode(&mut self, tree: &'a Tree, id: NodeId) -> io::Result<usize> {
        let number = self.inodes.len();
        let node = tree.node(id);
        let mut record = InodeRecord {
            mode: U32::new(node.mode()),
            uid: U32::new(node.metadata.uid),
            gid: U32::new(node.metadata.gid),
            links: U32::new(node.links),
            modified_ns: I64::new(node.metadata.modified_ns),
            ..InodeRecord::default()
        };
        match &node.kind {
            NodeKind::File { content, sites } => {
                record.size = U64::new(content.size());
                record.data_size = record.size;
                record.first_site = U64::new(wide(self.sites.len()));
                record.site_count = U64::new(wide(sites.len()));
                self.sites.extend(sites.iter().map(Site::record));
                self.contents.push((number, content));
            }
            NodeKind::Link(target) => {
                record.size = U64::new(wide(target.len()));
                record.data_size = record.size;
                record.data = U64::new(wide(self.names.len()));
                self.names.extend_from_slice(target);
            }
            NodeKind::Special { device, .. } => record.device = U64::new(*device),
            NodeKind::Directory(_) => record.size = U64::new(PAGE_SIZE),
        }
        self.inodes.push(record);
        self.numbers.insert(id, number);
        Ok(number)
    }
}

fn config_bytes(config: &ConfigSource) -> io::Result<Vec<u8>> {
    let mut bytes = config.required_memory.to_le_bytes().to_vec();
    let mut root_kind = [0; ROOT_KIND_SIZE];
    let name = config.root_kind.as_bytes();
    let place = root_kind.get_mut(..name.len()).ok_or_else(|| invalid("the name of the root's kind is too long"))?;
    place.copy_from_slice(name);
    read_root_kind(&root_kind).ok_or_else(|| invalid("the name of the root's kind has a zero in it"))?;
    bytes.extend_from_slice(&root_kind);
    for string in [&config.app_path, &config.cwd, &config.hostname] {
        push_string(&mut bytes, string)?;
    }
    for list in [&config.arguments, &config.environment] {
        bytes.extend_from_slice(&narrow::<u32>(list.len())?.to_le_bytes());
        for string in list {
            push_string(&mut bytes, string)?;
        }
    }
    push_string(&mut bytes, config.network.as_bytes())?;
    Ok(bytes)
}

fn push_string(bytes: &mut Vec<u8>, string: &[u8]) -> io::Result<()> {
    if string.contains(&0) {
        return Err(invalid("a start parameter contains a zero byte"));
    }
    bytes.extend_from_slice(&narrow::<u32>(string.len())?.to_le_bytes());
    bytes.extend_from_slice(string);
    Ok(())
}

/// The bytes of a file.
fn bytes_of(content: &Content) -> io::Result<Cow<'_, [u8]>> {
    if let Content::Bytes(bytes) = content {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut bytes = Vec::new();
    write_content(content, &mut bytes)?;
    Ok(Cow::Owned(bytes))
}

fn write_content(content: &Content, output: &mut impl Write) -> io::Result<()> {
    match content {
        Content::Bytes(bytes) => output.write_all(bytes),
        Content::Elsewhere { .. } => Ok(()),
        Content::HostFile { path, size } => {
            // One byte more is asked for, to notice a file that grew.
            let copied = io::copy(&mut File::open(path)?.take(size + 1), output)?;
            if copied == *size {
                return Ok(());
            }
            Err(io::Error::other(format!("{} changed while it was read", path.display())))
        }
    }
}

/// An output that knows its position.
struct Counted<'a, W> {
    output: &'a mut W,
    written: u64,
}

impl<W: Write> Counted<'_, W> {
    fn pad_to(&mut self, position: u64) -> io::Result<()> {
        let gap = position.checked_sub(self.written).ok_or_else(|| invalid("the parts of the payload overlap"))?;
        io::copy(&mut io::repeat(0).take(gap), self)?;
        Ok(())
    }
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.written += wide(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn narrow<T: TryFrom<usize>>(value: usize) -> io::Result<T> {
    T::try_from(value).map_err(|_| invalid("the payload is too large for its format"))
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
