//! [`MemoryInode`]: a node of a file system in memory.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use abi::{Errno, FallocateFlags, OpenFlags};
use file::DirectorySink;
use file::pipe::Pipe;
use mm::object::{CodeSite, Mappings};
use mm::user::{UserReader, UserWriter};
use mm::{Frame, FramePiece};

use crate::file_flags::{NO_ACCESS_TIME, NOT_DUMPED, Protection};
use crate::inode::Renaming;
use crate::metadata::FileKind;
use crate::{
    CacheCounts, Credentials, FileTime, HashedName, Inode, LinkTarget, Metadata, NewInode, NewMetadata, Opened,
    PathRef, SealFlags, Seals, XattrChange,
};

use super::data::FileData;
use super::directory::Directory;
use super::xattr::Xattrs;
use super::{INODE_SPACE, Shared};

/// What Linux says a directory entry takes.
pub(super) const ENTRY_SIZE: u64 = 20;
/// The flags that there are: for who asks, and those that `statx` speaks of.
const FLAGS_PROTECTING: u32 = Protection::all().bits() as u32;
const FLAGS: u32 = FLAGS_PROTECTING | NOT_DUMPED | NO_ACCESS_TIME;
const FLAGS_TOLD: u32 = FLAGS_PROTECTING | NOT_DUMPED;
/// Those that a directory hands on to what is made in it.
const FLAGS_INHERITED: u32 = NOT_DUMPED | NO_ACCESS_TIME;
/// Blocks of 512 bytes in a page.
const BLOCKS_OF_PAGE: u64 = 8;

/// A node of a file system in memory.
pub struct MemoryInode {
    pub(super) metadata: Metadata,
    pub(super) shared: Arc<Shared>,
    pub(super) seals: Seals,
    contents: Contents,
    xattrs: Xattrs,
    /// Some of [`FLAGS`], as `chattr` sets them.
    flags: AtomicU32,
    /// It lies over a node of the layer below.
    has_lower: bool,
    /// It is known to be pinned.
    is_pinned: AtomicBool,
}

enum Contents {
    Regular(FileData),
    Directory(Directory),
    Symlink(Arc<[u8]>),
    Fifo(Arc<Pipe>),
    /// A device or a socket: only its number counts.
    Special,
}

impl MemoryInode {
    /// The root directory of an empty file system.
    pub(super) fn root(shared: &Arc<Shared>, mode: u32, uid: u32, gid: u32) -> Arc<Self> {
        // A limit is at least one, and the root is the first.
        debug_assert_eq!(shared.inode_space.used(), 0);
        let _ = shared.inode_space.take(INODE_SPACE);
        Self::new(shared, &NewInode { mode, uid, gid, ..NewInode::default() })
    }

    fn new(shared: &Arc<Shared>, new: &NewInode<'_>) -> Arc<Self> {
        let kind = FileKind::of_mode(new.mode).unwrap_or(FileKind::Regular);
        let contents = match kind {
            FileKind::Regular => Contents::Regular(FileData::empty()),
            FileKind::Directory => Contents::Directory(Directory::empty()),
            FileKind::Symlink => Contents::Symlink(Arc::from(new.target)),
            FileKind::Fifo => Contents::Fifo(Pipe::new()),
            FileKind::CharacterDevice | FileKind::BlockDevice | FileKind::Socket => Contents::Special,
        };
        let (links, size) = match kind {
            FileKind::Directory => (2, 2 * ENTRY_SIZE),
            FileKind::Symlink => (1, new.target.len() as u64),
            _ => (1, 0),
        };
        let metadata = Metadata::new(NewMetadata {
            number: shared.next_number(),
            device: shared.device,
            mode: new.mode,
            uid: new.uid,
            gid: new.gid,
            links,
            represents: new.represents,
            size,
            time: FileTime::now(),
        });
        Self::with(shared, metadata, contents, false)
    }

    fn with(shared: &Arc<Shared>, metadata: Metadata, contents: Contents, has_lower: bool) -> Arc<Self> {
        Arc::new(Self {
            metadata,
            shared: shared.clone(),
            seals: Seals::new(SealFlags::SEAL),
            contents,
            xattrs: Xattrs::new(),
            flags: AtomicU32::new(0),
            has_lower,
            is_pinned: AtomicBool::new(false),
        })
    }

    /// A node over a node of the layer below.
    pub(super) fn over(shared: &Arc<Shared>, lower: &Arc<dyn Inode>) -> Arc<Self> {
        let below = lower.metadata();
        let contents = match below.kind() {
            FileKind::Regular => Contents::Regular(FileData::over(lower.clone())),
            FileKind::Directory => Contents::Directory(Directory::over(lower.clone())),
            FileKind::Symlink => match lower.link_target(&Credentials::root()) {
                Ok(LinkTarget::Path(target)) => Contents::Symlink(target),
                _ => Contents::Symlink(Arc::from([])),
            },
            FileKind::Fifo => Contents::Fifo(Pipe::new()),
            FileKind::CharacterDevice | FileKind::BlockDevice | FileKind::Socket => Contents::Special,
        };
        let metadata = Metadata::over(below, shared.device);
        Self::with(shared, metadata, contents, true)
    }

    /// A new node with the given attributes, counted against the limit.
    pub(super) fn make(&self, new: &NewInode<'_>) -> Result<Arc<Self>, Errno> {
        self.shared.inode_space.take(INODE_SPACE)?;
        let node = Self::new(&self.shared, new);
        node.keep_flags(self.flags.load(Relaxed) & FLAGS_INHERITED);
        for (name, value) in new.acls.iter() {
            node.xattrs.change(&self.shared.inode_space, name, XattrChange::Set(value))?;
        }
        Ok(node)
    }

    fn keep_flags(&self, flags: u32) {
        self.flags.store(flags, Relaxed);
        self.metadata.go_by(flags);
    }

    /// The node behind an inode of this file system.
    pub(super) fn of(inode: &Arc<dyn Inode>) -> Result<Arc<Self>, Errno> {
        let any: Arc<dyn Any + Send + Sync> = inode.clone();
        any.downcast().map_err(|_| Errno::EXDEV)
    }

    /// Keeps the node from being forgotten with its changes.
    #[inline(always)]
    pub(super) fn pin(&self) {
        if self.has_lower && !self.is_pinned.load(Relaxed) {
            self.pin_lower();
        }
    }

    #[cold]
    fn pin_lower(&self) {
        if let Some(lower) = &self.shared.lower {
            lower.pin(self.metadata.number());
        }
        self.is_pinned.store(true, Relaxed);
    }

    /// Takes a name away; the last one of a node lets it go when it is closed.
    pub(super) fn drop_links(&self, count: u32) {
        if self.metadata.drop_links(count) == 0
            && self.has_lower
            && let Some(lower) = &self.shared.lower
        {
            lower.unpin(self.metadata.number());
        }
    }

    pub(super) fn directory(&self) -> Result<&Directory, Errno> {
        match &self.contents {
            Contents::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn data(&self) -> Result<&FileData, Errno> {
        match &self.contents {
            Contents::Regular(data) => Ok(data),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Shows the pages held as blocks.
    pub(super) fn update_blocks(&self, pages: u64) {
        self.metadata.set_blocks(pages * BLOCKS_OF_PAGE);
    }
}

impl Inode for MemoryInode {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn prepare_change(&self) -> Result<(), Errno> {
        self.pin();
        Ok(())
    }

    fn lookup(&self, name: HashedName<'_>, credentials: &Credentials) -> Result<Arc<dyn Inode>, Errno> {
        self.directory()?.lookup(self, name, credentials).map(|node| node as Arc<dyn Inode>)
    }

    fn create(&self, name: HashedName<'_>, new: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        self.directory()?.create(self, name, new).map(|node| node as Arc<dyn Inode>)
    }

    fn create_unnamed(&self, new: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        let node = self.make(new)?;
        node.metadata.drop_links(1);
        Ok(node)
    }

    fn link(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.directory()?.link(self, name, Self::of(inode)?)
    }

    fn unlink(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.directory()?.unlink(self, name, &*Self::of(inode)?);
        Ok(())
    }

    fn rmdir(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.directory()?.rmdir(self, name, &*Self::of(inode)?)
    }

    fn rename(&self, renaming: &Renaming<'_>) -> Result<(), Errno> {
        self.directory()?.rename(self, renaming)
    }

    fn makes_whiteouts(&self) -> bool {
        true
    }

    fn read_directory(&self, position: u64, sink: &mut dyn DirectorySink) -> Result<(), Errno> {
        self.directory()?.read(position, sink)
    }

    fn link_target(&self, _credentials: &Credentials) -> Result<LinkTarget, Errno> {
        match &self.contents {
            Contents::Symlink(target) => Ok(LinkTarget::Path(target.clone())),
            _ => Err(Errno::EINVAL),
        }
    }

    fn open(&self, _path: &PathRef, flags: OpenFlags, _credentials: &Credentials) -> Result<Opened, Errno> {
        match &self.contents {
            Contents::Fifo(pipe) => Ok(Opened::Through(pipe.open(flags)?)),
            _ => Ok(Opened::Inode),
        }
    }

    fn read_at(&self, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        self.data()?.read(self, position, to)
    }

    fn write_at(&self, position: u64, from: &mut UserReader<'_>) -> Result<usize, Errno> {
        self.data()?.write(self, position, from)
    }

    fn set_len(&self, len: u64) -> Result<(), Errno> {
        self.seals.check_len(self.metadata.size(), len)?;
        self.data()?.set_len(self, len)
    }

    fn allocate(&self, mode: FallocateFlags, offset: u64, len: u64) -> Result<(), Errno> {
        self.data()?.allocate(self, mode, offset, len)
    }

    fn seek_data(&self, offset: u64, wants_hole: bool) -> Result<u64, Errno> {
        self.data()?.seek_data(self, offset, wants_hole)
    }

    fn page(&self, index: u64) -> Result<Frame, Errno> {
        self.data().map_err(|_| Errno::ENODEV)?.page(self, index)
    }

    fn piece_for_read(&self, position: u64, len: usize) -> Result<FramePiece, Errno> {
        self.data().map_err(|_| Errno::ENODEV)?.piece_for_read(self, position, len)
    }

    fn page_for_write(&self, index: u64) -> Result<Frame, Errno> {
        self.data().map_err(|_| Errno::ENODEV)?.page_for_write(self, index)
    }

    fn code_sites(&self, index: u64) -> Option<Vec<CodeSite>> {
        self.data().ok()?.code_sites(index)
    }

    fn mappings(&self) -> Option<&Mappings> {
        self.data().ok().map(FileData::mappings)
    }

    fn is_memory(&self) -> bool {
        !self.has_lower
    }

    fn is_resident(&self, index: u64) -> bool {
        self.data().is_ok_and(|data| data.is_resident(index))
    }

    fn count_cached(&self, first: u64, end: u64) -> CacheCounts {
        let cached = self.data().map_or(0, |data| data.count_pages(first, end));
        CacheCounts { cached, dirty: 0 }
    }

    fn is_mappable(&self) -> bool {
        matches!(self.contents, Contents::Regular(_))
    }

    fn takes_direct(&self) -> bool {
        matches!(self.contents, Contents::Regular(_))
    }

    fn seals(&self) -> Option<&Seals> {
        matches!(self.contents, Contents::Regular(_)).then_some(&self.seals)
    }

    fn flags(&self) -> Result<u32, Errno> {
        match self.contents {
            Contents::Regular(_) | Contents::Directory(_) => Ok(self.flags.load(Relaxed)),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn flags_told(&self) -> (u32, u32) {
        (FLAGS_TOLD, self.flags.load(Relaxed) & FLAGS_TOLD)
    }

    fn set_flags(&self, flags: u32) -> Result<(), Errno> {
        if flags & !FLAGS != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        self.pin();
        self.keep_flags(flags);
        Ok(())
    }

    fn takes_acls(&self) -> bool {
        true
    }

    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.xattrs.get(name)
    }

    fn change_xattr(&self, name: &[u8], change: XattrChange<'_>) -> Result<(), Errno> {
        self.xattrs.change(&self.shared.inode_space, name, change)
    }

    fn list_xattrs(&self, sink: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
        self.xattrs.list(sink);
        Ok(())
    }
}

impl Drop for MemoryInode {
    fn drop(&mut self) {
        if self.has_lower {
            if let Some(lower) = &self.shared.lower {
                lower.forget(self.metadata.number());
            }
        } else {
            self.shared.inode_space.give_back(INODE_SPACE);
        }
        self.xattrs.give_back(&self.shared.inode_space);
        match &mut self.contents {
            Contents::Regular(data) => data.give_back(&self.shared),
            Contents::Directory(directory) => directory.drop_tree(),
            Contents::Symlink(_) | Contents::Fifo(_) | Contents::Special => {}
        }
    }
}
