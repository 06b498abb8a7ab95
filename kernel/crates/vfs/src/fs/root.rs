//! The read-only archive of the image, read where it lies.
//!
//! Nothing is unpacked before it is used: a lookup is a bisection in the archive, and a page of a file is a frame of the image itself. The inode
//! numbers are those of the archive plus 1. Nodes are made when they are met and hold little but attributes;
//! two nodes of one number are the same file.
//!
//! Of a file that is packed a chunk is unpacked when one of its pages is wanted. The pages stay with the node, until it goes or memory
//! is out.
//!
//! Where the root is on a disk, the archive has the sites of its files alone ([`know_sites`]).
//!
//! A record that is malformed is `EIO` for whoever wants it, and a line in the log.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, Timespec};
use file::DirectorySink;
use image_format::packed::CHUNK_SIZE;
use image_format::{Archive, ImageError, Inode as Record, InodeIndex, Packed, SiteKind};
use mm::object::CodeSite;
use mm::user::UserWriter;
use mm::{CallPatch, Frame, FramePiece, PAGE_SIZE};
use sync::{Mutex, Once, rank};

use crate::file_system::anonymous_device;
use crate::page_copy::{copy_out, offset_in_page, page_of};
use crate::sparse_map::SparseMap;
use crate::{
    Credentials, Dentry, FileSystem, FileSystemStatistics, FileTime, FsContext, HashedName, Inode, LinkTarget, Lookup,
    Metadata, NAME_LEN_MAX, NewMetadata, RootDentry,
};

/// The inode number of the root directory; 0 means no inode to programs.
const FIRST_NUMBER: u64 = 1;
/// Blocks of 512 bytes in a page.
const BLOCKS_OF_PAGE: u64 = 8;
/// What `statfs` says it is (`ROMFS_MAGIC`).
const MAGIC: u64 = 0x7275;

/// The archive as a file system.
pub struct RootFs {
    archive: Archive<'static>,
    device: u64,
    root: RootDentry,
    rename_lock: Mutex<()>,
}

impl RootFs {
    /// The file system of an archive.
    pub fn new(archive: Archive<'static>) -> Result<Arc<Self>, Errno> {
        let device = anonymous_device();
        let root = RootDentry::new(ArchiveInode::new(archive, device, archive.root())?);
        Ok(Arc::new(Self { archive, device, root, rename_lock: Mutex::new(rank::RENAME, ()) }))
    }
}

impl FileSystem for RootFs {
    fn type_name(&self) -> &'static str {
        "archive"
    }

    fn root(&self) -> &Arc<Dentry> {
        self.root.get()
    }

    fn device(&self) -> u64 {
        self.device
    }

    fn rename_lock(&self) -> &Mutex<()> {
        &self.rename_lock
    }

    fn statistics(&self) -> FileSystemStatistics {
        FileSystemStatistics {
            magic: MAGIC,
            block_size: PAGE_SIZE as u64,
            files: self.archive.inode_count() as u64,
            name_len_max: NAME_LEN_MAX as u64,
            id: self.device,
            ..FileSystemStatistics::default()
        }
    }

    fn is_read_only(&self) -> bool {
        true
    }
}

/// What a malformed archive is to programs.
fn damaged(error: ImageError) -> Errno {
    log::error!("the image's files are damaged: {error}");
    Errno::EIO
}

/// The pages of a packed file that were unpacked.
struct Unpacked {
    packed: Packed<'static>,
    pages: Mutex<SparseMap<Frame>>,
}

impl Unpacked {
    /// A page. Its chunk is unpacked without a lock, so two threads may do so at once; the first one's pages stay.
    fn page(&self, index: u64) -> Result<Frame, Errno> {
        if let Some(frame) = self.pages.lock().get(index) {
            return Ok(frame.clone());
        }
        const CHUNK_PAGES: u64 = (CHUNK_SIZE / PAGE_SIZE) as u64;
        let chunk = usize::try_from(index / CHUNK_PAGES).map_err(|_| Errno::EFAULT)?;
        if chunk >= self.packed.chunk_count() {
            return Err(Errno::EFAULT);
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(CHUNK_SIZE).map_err(|_| Errno::ENOMEM)?;
        bytes.resize(CHUNK_SIZE, 0);
        let len = self.packed.unpack(chunk, &mut bytes).map_err(damaged)?;
        let wanted = usize::try_from(index % CHUNK_PAGES).unwrap_or(0);
        let fill = |number: usize| {
            let page = bytes.get(number * PAGE_SIZE..len.min((number + 1) * PAGE_SIZE)).filter(|page| !page.is_empty());
            let page = page.ok_or(Errno::EFAULT)?;
            let frame = Frame::allocate()?;
            frame.write(0, page);
            frame.zero_range(page.len(), PAGE_SIZE - page.len());
            Ok(frame)
        };
        let frame = match fill(wanted) {
            Err(Errno::ENOMEM) => {
                self.drop_unused();
                fill(wanted)?
            }
            filled => filled?,
        };
        self.keep(index, &frame);
        // The others are welcome, not necessary.
        for number in (0..len.div_ceil(PAGE_SIZE)).filter(|number| *number != wanted) {
            match fill(number) {
                Ok(frame) => self.keep(index - wanted as u64 + number as u64, &frame),
                Err(_) => break,
            }
        }
        let kept = self.pages.lock().get(index).cloned();
        Ok(kept.unwrap_or(frame))
    }

    fn keep(&self, index: u64, frame: &Frame) {
        let mut pages = self.pages.lock();
        if pages.get(index).is_none() {
            pages.insert(index, frame.clone());
        }
    }

    /// Drops the pages that nobody else has.
    fn drop_unused(&self) {
        let mut pages = self.pages.lock();
        let mut next = pages.next_present(0);
        while let Some(index) = next {
            if pages.get(index).is_some_and(Frame::is_exclusive) {
                drop(pages.remove_range(index, index + 1));
            }
            next = index.checked_add(1).and_then(|index| pages.next_present(index));
        }
    }
}

/// A node of the archive.
struct ArchiveInode {
    archive: Archive<'static>,
    index: InodeIndex,
    metadata: Metadata,
    /// Of a packed file.
    unpacked: Option<Box<Unpacked>>,
    /// Whether the sites of the file are sound, once somebody wanted a page of it.
    has_sound_sites: Once<bool>,
}

impl ArchiveInode {
    fn new(archive: Archive<'static>, device: u64, index: InodeIndex) -> Result<Arc<Self>, Errno> {
        archive.inode(index).map_err(damaged).map(|record| Self::of_record(archive, device, index, &record))
    }

    fn of_record(archive: Archive<'static>, device: u64, index: InodeIndex, inode: &Record) -> Arc<Self> {
        let metadata = Metadata::new(NewMetadata {
            number: FIRST_NUMBER + u64::from(index.number()),
            device,
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            links: inode.links,
            represents: inode.device,
            size: inode.size,
            time: FileTime::from_nanoseconds(inode.modified_ns),
        });
        if metadata.is_regular() {
            metadata.set_blocks(inode.size.div_ceil(PAGE_SIZE as u64) * BLOCKS_OF_PAGE);
        }
        let unpacked = archive
            .packed(index)
            .map(|packed| Box::new(Unpacked { packed, pages: Mutex::new(rank::FILE_PAGES, SparseMap::new()) }));
        Arc::new(Self { archive, index, metadata, unpacked, has_sound_sites: Once::new() })
    }

    /// The whole page in place, a page that was unpacked, or a copy of a page of a file too small to be aligned.
    fn frame(&self, index: u64) -> Result<Frame, Errno> {
        let is_sound = || self.archive.sites(self.index).map_err(damaged).is_ok();
        if !self.has_sound_sites.call_once(is_sound) {
            // Its code would run with instructions that must not.
            return Err(Errno::EIO);
        }
        if let Some(unpacked) = &self.unpacked {
            return unpacked.page(index);
        }
        if let Some(frame) = self.archive.page(self.index, index).and_then(Frame::of_static) {
            return Ok(frame);
        }
        let start = usize::try_from(index).ok().and_then(|index| index.checked_mul(PAGE_SIZE));
        let data = start.and_then(|start| self.archive.data(self.index).get(start..)).unwrap_or_default();
        if data.is_empty() {
            return Err(Errno::EFAULT);
        }
        let frame = Frame::allocate()?;
        let len = data.len().min(PAGE_SIZE);
        frame.write(0, &data[..len]);
        frame.zero_range(len, PAGE_SIZE - len);
        Ok(frame)
    }
}

impl ArchiveInode {
    /// A read of a packed file.
    fn read_unpacked(&self, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        let size = self.metadata.size();
        let (mut at, mut done) = (position, 0);
        while !to.is_full() && at < size {
            let offset = offset_in_page(at);
            let len = usize::try_from(size - at).map_or(PAGE_SIZE, |left| left.min(PAGE_SIZE - offset));
            match self.frame(page_of(at)).and_then(|frame| copy_out(&frame, offset, to, len)) {
                Ok(copied) => {
                    done += copied;
                    at += copied as u64;
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

impl Inode for ArchiveInode {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn prepare_change(&self) -> Result<(), Errno> {
        Err(Errno::EROFS)
    }

    fn lookup(&self, name: HashedName<'_>, _credentials: &Credentials) -> Result<Arc<dyn Inode>, Errno> {
        if !self.metadata.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let found = self.archive.lookup(self.index, name.bytes()).map_err(damaged)?;
        let inode = Self::new(self.archive, self.metadata.device(), found.ok_or(Errno::ENOENT)?)?;
        Ok(inode)
    }

    fn read_directory(&self, position: u64, sink: &mut dyn DirectorySink) -> Result<(), Errno> {
        let mut next = usize::try_from(position).map_err(|_| Errno::EINVAL)?;
        while let Some(entry) = self.archive.entry(self.index, next).map_err(damaged)? {
            next += 1;
            let number = FIRST_NUMBER + u64::from(entry.inode.number());
            if !sink.entry(entry.name, number, entry_kind(entry.kind), next as u64) {
                break;
            }
        }
        Ok(())
    }

    fn link_target(&self, _credentials: &Credentials) -> Result<LinkTarget, Errno> {
        if !self.metadata.is_symlink() {
            return Err(Errno::EINVAL);
        }
        Ok(LinkTarget::Path(Arc::from(self.archive.link_target(self.index))))
    }

    fn read_at(&self, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        if self.unpacked.is_some() {
            return self.read_unpacked(position, to);
        }
        let start = usize::try_from(position).ok();
        match start.and_then(|start| self.archive.data(self.index).get(start..)) {
            Some(data) if !data.is_empty() => to.write(data),
            _ => Ok(0),
        }
    }

    fn write_at(&self, _position: u64, _from: &mut mm::user::UserReader<'_>) -> Result<usize, Errno> {
        Err(Errno::EROFS)
    }

    fn page(&self, index: u64) -> Result<Frame, Errno> {
        self.frame(index)
    }

    fn piece_for_read(&self, position: u64, len: usize) -> Result<FramePiece, Errno> {
        let offset = offset_in_page(position);
        let whole = len.min(PAGE_SIZE - offset);
        // A small file lies somewhere in a page of the image, between others.
        if let Some((page, start)) = self.archive.page_around(self.index, position, whole as u64)
            && let Some(frame) = Frame::of_static(page)
        {
            return Ok(FramePiece::new(frame, start, whole));
        }
        Ok(FramePiece::new(self.frame(page_of(position))?, offset, whole))
    }

    fn page_for_write(&self, _index: u64) -> Result<Frame, Errno> {
        Err(Errno::EROFS)
    }

    fn code_sites(&self, index: u64) -> Option<Vec<CodeSite>> {
        page_sites(self.archive, self.index, index)
    }

    fn is_mappable(&self) -> bool {
        self.metadata.is_regular()
    }
}

/// The sites in a page of a file whose sites are sound.
fn page_sites(archive: Archive<'static>, file: InodeIndex, index: u64) -> Option<Vec<CodeSite>> {
    let page = PAGE_SIZE as u64;
    let start = index.checked_mul(page)?;
    let sites = archive.sites_of_sound(file)?.in_range(start, start.checked_add(page)?);
    let code_site = |site: image_format::Site| {
        let offset_in_page = u16::try_from(site.file_offset - start).ok()?;
        let call = match site.kind {
            SiteKind::Privileged => None,
            SiteKind::Syscall(patch) => Some(call_patch(&patch)),
        };
        Some(CodeSite { offset_in_page, original: site.original, call })
    };
    Some(sites.filter_map(code_site).collect())
}

/// A file on the disk that is the root, of which the archive has the sites.
struct Analysed {
    device: u64,
    number: u64,
    /// Sites are those of the contents of this time.
    modified: Timespec,
    archive: Archive<'static>,
    index: InodeIndex,
}

static ANALYSED: Once<Box<[Analysed]>> = Once::new();

/// Makes the sites known of files that are on the disk that is the root. A file that is not as it was when it was analysed has none. To
/// be called once, before a program runs.
pub fn know_sites(archive: Archive<'static>, context: &FsContext) {
    let mut known = Vec::new();
    let mut directories = alloc::vec![(archive.root(), Vec::new())];
    // No directory is met twice: each comes after the one that holds it.
    while let Some((directory, path)) = directories.pop() {
        for entry in archive.entries(directory).filter_map(|entry| entry.map_err(damaged).ok()) {
            let path = [&path[..], b"/", entry.name].concat();
            if entry.kind == image_format::Kind::Directory {
                directories.push((entry.inode, path));
            } else if archive.is_elsewhere(entry.inode) {
                known.extend(find_analysed(archive, entry.inode, context, &path));
            }
        }
    }
    ANALYSED.call_once(|| known.into_boxed_slice());
}

fn find_analysed(archive: Archive<'static>, index: InodeIndex, context: &FsContext, path: &[u8]) -> Option<Analysed> {
    archive.sites(index).map_err(damaged).ok()??;
    let record = archive.inode(index).map_err(damaged).ok()?;
    let place = crate::resolve(context, &Credentials::root(), None, path, Lookup::empty()).ok()?;
    let found = crate::stat(&place);
    // The disk keeps seconds.
    let is_same = found.size == record.size
        && place.inode().metadata().is_regular()
        && found.modified.tv_sec == FileTime::from_nanoseconds(record.modified_ns).seconds();
    let (device, number, modified) = (found.device, found.inode, found.modified);
    is_same.then_some(Analysed { device, number, modified, archive, index })
}

/// The sites of a file on the disk that is the root, as long as it is what was analysed. Takes no lock.
pub(crate) fn known_sites(metadata: &Metadata, index: u64) -> Option<Vec<CodeSite>> {
    let is_it = |file: &&Analysed| file.number == metadata.number() && file.device == metadata.device();
    let file = ANALYSED.get()?.iter().find(is_it)?;
    (metadata.attributes().modified == file.modified).then(|| page_sites(file.archive, file.index, index))?
}

/// The `DT_` value of a kind.
fn entry_kind(kind: image_format::Kind) -> u8 {
    use crate::FileKind;
    use image_format::Kind;
    match kind {
        Kind::File => FileKind::Regular,
        Kind::Directory => FileKind::Directory,
        Kind::Link => FileKind::Symlink,
        Kind::CharacterDevice => FileKind::CharacterDevice,
        Kind::BlockDevice => FileKind::BlockDevice,
        Kind::Fifo => FileKind::Fifo,
        Kind::Socket => FileKind::Socket,
    }
    .entry_kind()
}

/// How a call is rewritten, for those who map files.
fn call_patch(patch: &image_format::Patch) -> CallPatch {
    let image_format::Patch { length, syscall_at, starts, checksum, .. } = *patch;
    let is_full = !(patch.is_r11_dead && patch.are_flags_dead);
    CallPatch { length, syscall_at, starts, is_full, checksum }
}
