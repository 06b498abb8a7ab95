//! The read-only root file system of an image, read in place.

use core::fmt;

use zerocopy::FromBytes;

use crate::layout::{ELSEWHERE, EntryRecord, InodeRecord, SiteRecord};
use crate::{ALIGNED_SIZE_MIN, ImageError, PAGE_SIZE, Packed, Sites, range, run};

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

/// A read-only file system. Records are checked when they are used.
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
        match archive.inode(archive.root()) {
            Ok(root) if root.kind == Kind::Directory => Ok(archive),
            _ => Err(ImageError::NoRoot),
        }
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
    ///
    /// # Errors
    /// [`ImageError::BadInode`] when its record is malformed.
    pub fn inode(&self, index: InodeIndex) -> Result<Inode, ImageError> {
        let record = self.record(index).ok_or(ImageError::BadInode)?;
        let mode = record.mode.get();
        let kind = Kind::of_mode(mode).ok_or(ImageError::BadInode)?;
        if !self.is_sound(record, kind) {
            return Err(ImageError::BadInode);
        }
        Ok(Inode {
            kind,
            mode,
            uid: record.uid.get(),
            gid: record.gid.get(),
            links: record.links.get(),
            size: record.size.get(),
            modified_ns: record.modified_ns.get(),
            device: record.device.get(),
        })
    }

    /// Finds a name in a directory. It looks at as many entries as a bisection does.
    ///
    /// # Errors
    /// [`ImageError::BadEntry`] when the entry that has the name is malformed.
    pub fn lookup(&self, directory: InodeIndex, name: &[u8]) -> Result<Option<InodeIndex>, ImageError> {
        let entries = self.entry_records(directory);
        let Ok(position) = entries.binary_search_by(|entry| self.name(entry).cmp(name)) else { return Ok(None) };
        self.entry(directory, position).map(|entry| entry.map(|entry| entry.inode))
    }

    /// The entries of a directory, sorted by name, without `.` and `..`; none when the inode is no directory.
    pub fn entries(&self, directory: InodeIndex) -> Entries<'a> {
        Entries { archive: *self, directory, next: 0 }
    }

    /// The entry at a position of a directory.
    ///
    /// # Errors
    /// [`ImageError::BadEntry`] when it is malformed.
    pub fn entry(&self, directory: InodeIndex, position: usize) -> Result<Option<Entry<'a>>, ImageError> {
        let Some(record) = self.entry_records(directory).get(position) else { return Ok(None) };
        let name = self.name(record);
        let inode = InodeIndex(record.inode.get());
        let target = self.record(inode).ok_or(ImageError::BadEntry)?;
        let kind = Kind::of_mode(target.mode.get()).ok_or(ImageError::BadEntry)?;
        // A directory comes after the one that holds it, so that no walk can go round in a circle.
        let is_below = inode.0 > directory.0 || kind != Kind::Directory;
        if is_name(name) && is_below { Ok(Some(Entry { name, inode, kind })) } else { Err(ImageError::BadEntry) }
    }

    /// The contents of a regular file that lie as they are; empty for anything else.
    pub fn data(&self, file: InodeIndex) -> &'a [u8] {
        self.record_of_kind(file, Kind::File)
            .filter(|record| record.packed_size.get() == 0)
            .and_then(|record| range(self.payload, record.data.get(), record.data_size.get()))
            .unwrap_or_default()
    }

    /// The contents of a regular file that are packed; `None` for anything else.
    pub fn packed(&self, file: InodeIndex) -> Option<Packed<'a>> {
        let record = self.record_of_kind(file, Kind::File).filter(|record| record.packed_size.get() != 0)?;
        Packed::new(range(self.payload, record.data.get(), record.packed_size.get())?, record.data_size.get())
    }

    /// Whether it is a regular file whose contents are not here but on the disk that is the root.
    pub fn is_elsewhere(&self, file: InodeIndex) -> bool {
        self.record_of_kind(file, Kind::File).is_some_and(|record| record.packed_size.get() == ELSEWHERE)
    }

    /// One page of a file whose contents are page aligned, up to the end of the page, with zeros behind the end of the
    /// file. `None` behind the last page, for a file smaller than [`ALIGNED_SIZE_MIN`], and for one that is packed.
    pub fn page(&self, file: InodeIndex, page_index: u64) -> Option<&'a [u8]> {
        let record = self.record_of_kind(file, Kind::File)?;
        let offset = page_index.checked_mul(PAGE_SIZE)?;
        let is_aligned = record.data_size.get() >= ALIGNED_SIZE_MIN && record.packed_size.get() == 0;
        if !is_aligned || offset >= record.data_size.get() {
            return None;
        }
        range(self.payload, record.data.get().checked_add(offset)?, PAGE_SIZE)
    }

    /// The page of the payload that `len` bytes of a file from `offset` on lie in, and where in it they begin, whatever
    /// the file's alignment. `None` if they lie in two, are not all the file's, or are packed.
    pub fn page_around(&self, file: InodeIndex, offset: u64, len: u64) -> Option<(&'a [u8], usize)> {
        let record = self.record_of_kind(file, Kind::File).filter(|record| record.packed_size.get() == 0)?;
        let is_there = offset.checked_add(len)? <= record.data_size.get();
        let start = record.data.get().checked_add(offset)?;
        let in_page = start % PAGE_SIZE;
        if !is_there || in_page.checked_add(len)? > PAGE_SIZE {
            return None;
        }
        Some((range(self.payload, start - in_page, PAGE_SIZE)?, usize::try_from(in_page).ok()?))
    }

    /// The target of a symbolic link; empty for anything else.
    pub fn link_target(&self, link: InodeIndex) -> &'a [u8] {
        self.record_of_kind(link, Kind::Link)
            .and_then(|record| range(self.names, record.data.get(), record.data_size.get()))
            .unwrap_or_default()
    }

    /// The places of a file that are changed when it is mapped as code; `None` when there are none. All of them are looked at.
    ///
    /// # Errors
    /// [`ImageError::BadSite`] when one is malformed or out of order.
    pub fn sites(&self, file: InodeIndex) -> Result<Option<Sites<'a>>, ImageError> {
        let record = self.record(file).ok_or(ImageError::BadSite)?;
        let sites = run(self.sites, record.first_site.get(), record.site_count.get()).ok_or(ImageError::BadSite)?;
        let sites = Sites::new(sites);
        sites.check(record.data_size.get())?;
        Ok(Some(sites).filter(|sites| !sites.is_empty()))
    }

    /// As [`Self::sites`], of a file for which that has shown that they are sound: only those are looked at that are taken.
    pub fn sites_of_sound(&self, file: InodeIndex) -> Option<Sites<'a>> {
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

    fn is_sound(&self, inode: &InodeRecord, kind: Kind) -> bool {
        let (data, size, packed_size) = (inode.data.get(), inode.data_size.get(), inode.packed_size.get());
        match kind {
            Kind::File if packed_size == ELSEWHERE => inode.size.get() == size,
            Kind::File if packed_size != 0 => {
                let packed = range(self.payload, data, packed_size).and_then(|bytes| Packed::new(bytes, size));
                inode.size.get() == size && packed.is_some()
            }
            Kind::File => inode.size.get() == size && self.holds_file(data, size),
            Kind::Link => {
                inode.size.get() == size
                    && (1..=LINK_SIZE_MAX).contains(&size)
                    && range(self.names, data, size).is_some_and(|target| !target.contains(&0))
            }
            Kind::Directory => run(self.entries, data, size).is_some(),
            Kind::CharacterDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket => true,
        }
    }

    /// Whether the contents of a file lie in the payload, and its pages too if it must be aligned.
    fn holds_file(&self, offset: u64, size: u64) -> bool {
        if size < ALIGNED_SIZE_MIN {
            return range(self.payload, offset, size).is_some();
        }
        let pages = size.checked_next_multiple_of(PAGE_SIZE);
        offset.is_multiple_of(PAGE_SIZE) && pages.is_some_and(|size| range(self.payload, offset, size).is_some())
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

/// The entries of one directory; one that is malformed is an error in its place.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    archive: Archive<'a>,
    directory: InodeIndex,
    next: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, ImageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.archive.entry(self.directory, self.next).transpose()?;
        self.next += 1;
        Some(entry)
    }
}
