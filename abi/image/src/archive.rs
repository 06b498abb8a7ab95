//! The read-only root file system of an image, read in place.

use core::cmp::Ordering;
use core::fmt;

use zerocopy::FromBytes;

use crate::layout::{EntryRecord, InodeRecord, SiteRecord};
use crate::{ALIGNED_SIZE_MIN, ImageError, PAGE_SIZE, Sites, range, run};

/// The longest name in a directory.
pub const NAME_SIZE_MAX: u16 = 255;
/// The longest target of a symbolic link (`PATH_MAX` less the closing zero).
pub const LINK_SIZE_MAX: u64 = 4095;

/// The bits of a mode that hold the file type.
const MODE_KIND_MASK: u32 = 0o170_000;

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
}

impl Kind {
    /// The kind in the type bits of a mode.
    pub fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & MODE_KIND_MASK {
            0o100_000 => Self::File,
            0o040_000 => Self::Directory,
            0o120_000 => Self::Link,
            0o020_000 => Self::CharacterDevice,
            0o060_000 => Self::BlockDevice,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }
}

/// The number of an inode of an archive; the root directory is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeIndex(u32);

impl InodeIndex {
    /// The number, for use as part of an inode number.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// The attributes of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// What it is.
    pub kind: Kind,
    /// File type and permissions, as in `st_mode`.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The number of hard links.
    pub links: u32,
    /// The size as in `st_size`.
    pub size: u64,
    /// The time of the last change of the contents, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// The device number of a special file, as in `st_rdev`.
    pub device: u64,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name, without slash or zero.
    pub name: &'a [u8],
    /// What is meant.
    pub inode: InodeIndex,
    /// What kind it is.
    pub kind: Kind,
}

/// The sections an archive is read from.
pub(crate) struct Parts<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) inodes: &'a [u8],
    pub(crate) entries: &'a [u8],
    pub(crate) names: &'a [u8],
    pub(crate) sites: &'a [u8],
}

/// A read-only file system, checked.
#[derive(Clone, Copy)]
pub struct Archive<'a> {
    payload: &'a [u8],
    inodes: &'a [InodeRecord],
    entries: &'a [EntryRecord],
    names: &'a [u8],
    sites: &'a [SiteRecord],
}

impl<'a> Archive<'a> {
    pub(crate) fn parse(parts: &Parts<'a>) -> Result<Self, ImageError> {
        let archive = Self {
            payload: parts.payload,
            inodes: <[InodeRecord]>::ref_from_bytes(parts.inodes).map_err(|_| ImageError::BadTable)?,
            entries: <[EntryRecord]>::ref_from_bytes(parts.entries).map_err(|_| ImageError::BadTable)?,
            names: parts.names,
            sites: <[SiteRecord]>::ref_from_bytes(parts.sites).map_err(|_| ImageError::BadTable)?,
        };
        u32::try_from(archive.inodes.len()).map_err(|_| ImageError::BadTable)?;
        match archive.inodes.first() {
            Some(root) if Kind::of_mode(root.mode.get()) == Some(Kind::Directory) => {}
            _ => return Err(ImageError::NoRoot),
        }
        for (index, inode) in (0..).zip(archive.inodes) {
            archive.check(index, inode)?;
        }
        Ok(archive)
    }

    /// The root directory.
    pub fn root(&self) -> InodeIndex {
        InodeIndex(0)
    }

    /// How many inodes there are.
    pub fn inode_count(&self) -> usize {
        self.inodes.len()
    }

    /// The inode of this number.
    pub fn index(&self, number: u32) -> Option<InodeIndex> {
        let index = InodeIndex(number);
        self.record(index).map(|_| index)
    }

    /// The attributes of an inode of this archive.
    pub fn inode(&self, index: InodeIndex) -> Inode {
        let record = self.record(index).copied().unwrap_or_default();
        let mode = record.mode.get();
        Inode {
            kind: Kind::of_mode(mode).unwrap_or(Kind::File),
            mode,
            uid: record.uid.get(),
            gid: record.gid.get(),
            links: record.links.get(),
            size: record.size.get(),
            modified_ns: record.modified_ns.get(),
            device: record.device.get(),
        }
    }

    /// Finds a name in a directory.
    pub fn lookup(&self, directory: InodeIndex, name: &[u8]) -> Option<InodeIndex> {
        let entries = self.entry_records(directory);
        let position = entries.binary_search_by(|entry| self.name(entry).cmp(name)).ok()?;
        entries.get(position).map(|entry| InodeIndex(entry.inode.get()))
    }

    /// The entries of a directory, sorted by name, without `.` and `..`; empty when the inode is no directory.
    pub fn entries(&self, directory: InodeIndex) -> Entries<'a> {
        Entries { archive: *self, records: self.entry_records(directory) }
    }

    /// The entry at a position of a directory.
    pub fn entry(&self, directory: InodeIndex, position: usize) -> Option<Entry<'a>> {
        self.entry_records(directory).get(position).map(|record| self.entry_of(record))
    }

    /// The contents of a regular file; empty for anything else.
    pub fn data(&self, file: InodeIndex) -> &'a [u8] {
        self.record_of_kind(file, Kind::File)
            .and_then(|record| range(self.payload, record.data.get(), record.data_size.get()))
            .unwrap_or_default()
    }

    /// One page of a file whose contents are page aligned, up to the end of the page, with zeros behind the end of the
    /// file. `None` behind the last page and for a file smaller than [`ALIGNED_SIZE_MIN`].
    pub fn page(&self, file: InodeIndex, page_index: u64) -> Option<&'a [u8]> {
        let record = self.record_of_kind(file, Kind::File)?;
        let offset = page_index.checked_mul(PAGE_SIZE)?;
        if record.data_size.get() < ALIGNED_SIZE_MIN || offset >= record.data_size.get() {
            return None;
        }
        range(self.payload, record.data.get().checked_add(offset)?, PAGE_SIZE)
    }

    /// The target of a symbolic link; empty for anything else.
    pub fn link_target(&self, link: InodeIndex) -> &'a [u8] {
        self.record_of_kind(link, Kind::Link)
            .and_then(|record| range(self.names, record.data.get(), record.data_size.get()))
            .unwrap_or_default()
    }

    /// The places of a file that are changed when it is mapped as code; `None` when there are none.
    pub fn sites(&self, file: InodeIndex) -> Option<Sites<'a>> {
        let record = self.record(file)?;
        run(self.sites, record.first_site.get(), record.site_count.get()).filter(|run| !run.is_empty()).map(Sites::new)
    }

    fn record(&self, index: InodeIndex) -> Option<&'a InodeRecord> {
        self.inodes.get(usize::try_from(index.0).ok()?)
    }

    fn record_of_kind(&self, index: InodeIndex, kind: Kind) -> Option<&'a InodeRecord> {
        self.record(index).filter(|record| Kind::of_mode(record.mode.get()) == Some(kind))
    }

    fn entry_records(&self, directory: InodeIndex) -> &'a [EntryRecord] {
        self.record_of_kind(directory, Kind::Directory)
            .and_then(|record| run(self.entries, record.data.get(), record.data_size.get()))
            .unwrap_or_default()
    }

    fn name(&self, entry: &EntryRecord) -> &'a [u8] {
        range(self.names, entry.name.get(), u64::from(entry.name_size.get())).unwrap_or_default()
    }

    fn entry_of(&self, record: &EntryRecord) -> Entry<'a> {
        let inode = InodeIndex(record.inode.get());
        Entry { name: self.name(record), inode, kind: self.inode(inode).kind }
    }

    fn check(&self, index: u32, inode: &InodeRecord) -> Result<(), ImageError> {
        let (data, size) = (inode.data.get(), inode.data_size.get());
        let kind = Kind::of_mode(inode.mode.get()).ok_or(ImageError::BadInode)?;
        let sound = match kind {
            Kind::File => inode.size.get() == size && self.holds_file(data, size),
            Kind::Link => {
                inode.size.get() == size
                    && (1..=LINK_SIZE_MAX).contains(&size)
                    && range(self.names, data, size).is_some_and(|target| !target.contains(&0))
            }
            Kind::Directory => {
                return self.check_entries(index, run(self.entries, data, size).ok_or(ImageError::BadInode)?);
            }
            Kind::CharacterDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket => true,
        };
        if !sound {
            return Err(ImageError::BadInode);
        }
        let sites = run(self.sites, inode.first_site.get(), inode.site_count.get()).ok_or(ImageError::BadSite)?;
        Sites::new(sites).check(size)
    }

    /// Whether the contents of a file lie in the payload, and its pages too if it must be aligned.
    fn holds_file(&self, offset: u64, size: u64) -> bool {
        if size < ALIGNED_SIZE_MIN {
            return range(self.payload, offset, size).is_some();
        }
        let pages = size.checked_next_multiple_of(PAGE_SIZE);
        offset.is_multiple_of(PAGE_SIZE) && pages.is_some_and(|size| range(self.payload, offset, size).is_some())
    }

    fn check_entries(&self, directory: u32, entries: &[EntryRecord]) -> Result<(), ImageError> {
        let mut previous: Option<&[u8]> = None;
        for entry in entries {
            let name = range(self.names, entry.name.get(), u64::from(entry.name_size.get()));
            let name = name.filter(|name| is_name(name)).ok_or(ImageError::BadEntry)?;
            let in_order = previous.is_none_or(|previous| previous.cmp(name) == Ordering::Less);
            let inode = InodeIndex(entry.inode.get());
            let target = self.record(inode).ok_or(ImageError::BadEntry)?;
            // A directory comes after the one that holds it, so that no walk can go round in a circle.
            let is_below = inode.0 > directory || Kind::of_mode(target.mode.get()) != Some(Kind::Directory);
            if !in_order || !is_below {
                return Err(ImageError::BadEntry);
            }
            previous = Some(name);
        }
        Ok(())
    }
}

impl fmt::Debug for Archive<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Archive").field("inodes", &self.inodes.len()).finish_non_exhaustive()
    }
}

fn is_name(name: &[u8]) -> bool {
    let plain = !name.is_empty() && name.len() <= usize::from(NAME_SIZE_MAX) && name != b"." && name != b"..";
    plain && !name.iter().any(|&byte| byte == 0 || byte == b'/')
}

/// The entries of one directory.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    archive: Archive<'a>,
    records: &'a [EntryRecord],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (first, rest) = self.records.split_first()?;
        self.records = rest;
        Some(self.archive.entry_of(first))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.records.len(), Some(self.records.len()))
    }
}

impl ExactSizeIterator for Entries<'_> {}
