//! Files in memory: tmpfs, and the upper layer of [`overlay`](super::overlay).
//!
//! [`Tmpfs`] is the file system, [`MemoryInode`] a node of it. A regular file is a sparse map of frames
//! (`data`), a directory a table of names (`table`). Directories own their nodes, so a node lives while it has a name or someone
//! has it open.
//!
//! A node may lie over a node of a layer below (`lower`) that never changes: it shows what that one holds until it is changed.
//!
//! # Limits
//!
//! Pages and inodes are counted against limits, half of memory each when nothing else is said, as on Linux. `ENOSPC` at the
//! limit, `ENOMEM` when memory itself runs out. Extended attributes count as inodes, of [`INODE_SPACE`] bytes each.
//!
//! # Locks
//!
//! Changes run under the inode's lock. The page map has a lock of its own (rank `FILE_PAGES`), which page faults take as well; it
//! is never held while program memory is touched. The table of a directory has one too (`DIRECTORY_ENTRIES`); sinks of
//! directory entries are called without it.

mod data;
mod directory;
mod inode;
mod lower;
mod options;
mod table;
mod xattr;

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use abi::Errno;
use abi::stat::{OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC};
use mm::PAGE_SIZE;
use sync::{Mutex, rank};

use crate::file_system::anonymous_device;
use crate::{
    Credentials, Dentry, FileKind, FileSystem, FileSystemStatistics, Inode, NAME_LEN_MAX, NewInode, RootDentry,
};

pub use inode::MemoryInode;
use lower::LowerNodes;

/// Numbers of nodes that lie over nothing begin here when there is a layer below, whose own numbers lie under it.
const FIRST_NUMBER_ABOVE: u64 = 1 << 32;
/// What an inode takes of the limit on inodes, which is kept in bytes: extended attributes take their share of it (Linux's
/// `BOGO_INODE_SIZE`).
const INODE_SPACE: u64 = 1024;

/// What a tmpfs is made with.
#[derive(Clone, Copy, Debug)]
pub struct TmpfsOptions {
    /// Name of the type: `tmpfs`, `devtmpfs`.
    pub type_name: &'static str,
    /// The most bytes its files may take; none means half of memory.
    pub size_max: Option<u64>,
    /// The most inodes; none means one for every two pages of memory.
    pub inodes_max: Option<u64>,
    /// Permission bits of the root directory.
    pub mode: u32,
    /// Owner of the root directory.
    pub uid: u32,
    /// Group of the root directory.
    pub gid: u32,
}

impl Default for TmpfsOptions {
    fn default() -> Self {
        Self { type_name: "tmpfs", size_max: None, inodes_max: None, mode: 0o1777, uid: 0, gid: 0 }
    }
}

/// Pages of all file systems in memory.
static MEMORY_PAGES: AtomicU64 = AtomicU64::new(0);

/// Pages of all file systems in memory, for `/proc/meminfo`.
pub fn memory_pages() -> u64 {
    MEMORY_PAGES.load(Relaxed)
}

/// A count with a limit, which is part of a count of all.
struct Budget {
    used: AtomicU64,
    max: AtomicU64,
    /// Whether somebody has asked for this limit.
    is_set: AtomicBool,
    all: Option<&'static AtomicU64>,
}

impl Budget {
    /// A limit of 0 is none, as in mount options.
    fn new(max: Option<u64>, default: u64, all: Option<&'static AtomicU64>) -> Self {
        let limit = max.unwrap_or(default);
        Self {
            used: AtomicU64::new(0),
            max: AtomicU64::new(if limit == 0 { u64::MAX } else { limit }),
            is_set: AtomicBool::new(max.is_some()),
            all,
        }
    }

    fn max(&self) -> u64 {
        self.max.load(Relaxed)
    }

    /// Sets another limit; `EINVAL` when more is used, or when there is none to be changed.
    fn set_max(&self, max: u64) -> Result<(), Errno> {
        let is_limit = max != 0 && max != u64::MAX;
        if is_limit && (self.max() == u64::MAX || self.used() > max) {
            return Err(Errno::EINVAL);
        }
        self.max.store(if is_limit { max } else { u64::MAX }, Relaxed);
        self.is_set.store(true, Relaxed);
        Ok(())
    }

    /// The limit, if somebody has asked for it.
    fn asked(&self) -> Option<u64> {
        self.is_set.load(Relaxed).then(|| if self.max() == u64::MAX { 0 } else { self.max() })
    }

    fn free(&self) -> u64 {
        self.max().saturating_sub(self.used())
    }

    /// The limit and what is left of it, as `statfs` has them: without a limit nothing is known.
    fn figures(&self) -> (u64, u64) {
        if self.max() == u64::MAX { (0, 0) } else { (self.max(), self.free()) }
    }

    /// Takes `count`, or `ENOSPC`.
    fn take(&self, count: u64) -> Result<(), Errno> {
        let max = self.max();
        let add = |used: u64| used.checked_add(count).filter(|used| *used <= max);
        self.used.fetch_update(Relaxed, Relaxed, add).map_err(|_| Errno::ENOSPC)?;
        if let Some(all) = self.all {
            all.fetch_add(count, Relaxed);
        }
        Ok(())
    }

    fn give_back(&self, count: u64) {
        self.used.fetch_sub(count, Relaxed);
        if let Some(all) = self.all {
            all.fetch_sub(count, Relaxed);
        }
    }

    fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }
}

/// What so many inodes take.
fn inode_space(count: u64) -> u64 {
    count.saturating_mul(INODE_SPACE)
}

/// What the nodes of one file system share.
struct Shared {
    device: u64,
    next_number: AtomicU64,
    pages: Budget,
    /// Bytes for inodes and extended attributes.
    inode_space: Budget,
    /// The nodes made for those of the layer below.
    lower: Option<LowerNodes>,
}

impl Shared {
    fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Relaxed)
    }
}

/// A file system in memory.
pub struct Tmpfs {
    type_name: &'static str,
    root: RootDentry,
    root_inode: Arc<MemoryInode>,
    shared: Arc<Shared>,
    rename_lock: Mutex<()>,
    options: TmpfsOptions,
}

impl Tmpfs {
    /// An empty file system.
    pub fn new(options: TmpfsOptions) -> Arc<Self> {
        let shared = Self::shared(&options, None, 1);
        let mode = FileKind::Directory.mode_bits() | options.mode & 0o7777;
        let root = MemoryInode::root(&shared, mode, options.uid, options.gid);
        Self::with_root(options, shared, root)
    }

    /// A file system over the tree of `lower`, which must never change and number its nodes below 2^32.
    pub(crate) fn over(lower: &Arc<dyn Inode>) -> Arc<Self> {
        let options = TmpfsOptions { type_name: "overlay", ..TmpfsOptions::default() };
        let shared = Self::shared(&options, Some(LowerNodes::new()), FIRST_NUMBER_ABOVE);
        let root = MemoryInode::over(&shared, lower);
        Self::with_root(options, shared, root)
    }

    fn shared(options: &TmpfsOptions, lower: Option<LowerNodes>, first_number: u64) -> Arc<Shared> {
        let half_of_memory = mm::frame::total() / 2;
        let page = PAGE_SIZE as u64;
        Arc::new(Shared {
            device: anonymous_device(),
            next_number: AtomicU64::new(first_number),
            pages: Budget::new(options.size_max.map(|size| size.div_ceil(page)), half_of_memory, Some(&MEMORY_PAGES)),
            inode_space: Budget::new(options.inodes_max.map(inode_space), inode_space(half_of_memory), None),
            lower,
        })
    }

    fn with_root(options: TmpfsOptions, shared: Arc<Shared>, root_inode: Arc<MemoryInode>) -> Arc<Self> {
        let root = RootDentry::new(root_inode.clone());
        let rename_lock = Mutex::new(rank::RENAME, ());
        Arc::new(Self { type_name: options.type_name, root, root_inode, shared, rename_lock, options })
    }

    /// Makes a node below the root while the file system is set up, before any program sees it. `path` has no leading slash and
    /// its directories are there. `target` is for symbolic links.
    pub fn populate(&self, path: &[u8], mode: u32, represents: u64, target: &[u8]) -> Result<(), Errno> {
        let mut directory: Arc<dyn Inode> = self.root_inode.clone();
        let mut parts = path.split(|byte| *byte == b'/').peekable();
        while let Some(part) = parts.next() {
            let name = crate::HashedName::new(part);
            if parts.peek().is_some() {
                directory = directory.lookup(name, &crate::Credentials::root())?;
                continue;
            }
            directory.create(name, &NewInode { mode, represents, target, ..NewInode::default() })?;
        }
        Ok(())
    }

    /// A file without a name.
    pub(crate) fn unnamed_file(&self, owner: &Credentials, mode: u32) -> Result<Arc<dyn Inode>, Errno> {
        let mode = FileKind::Regular.mode_bits() | mode;
        let new = NewInode { mode, uid: owner.uid, gid: owner.gid, ..NewInode::default() };
        self.root_inode.create_unnamed(&new)
    }
}

impl FileSystem for Tmpfs {
    fn type_name(&self) -> &'static str {
        self.type_name
    }

    fn root(&self) -> &Arc<Dentry> {
        self.root.get()
    }

    fn device(&self) -> u64 {
        self.shared.device
    }

    fn rename_lock(&self) -> &Mutex<()> {
        &self.rename_lock
    }

    fn statistics(&self) -> FileSystemStatistics {
        let (blocks, blocks_free) = self.shared.pages.figures();
        let (inode_space, inode_space_free) = self.shared.inode_space.figures();
        let magic = if self.shared.lower.is_some() { OVERLAYFS_SUPER_MAGIC } else { TMPFS_MAGIC };
        FileSystemStatistics {
            magic: magic.unsigned_abs(),
            block_size: PAGE_SIZE as u64,
            blocks,
            blocks_free,
            blocks_available: blocks_free,
            files: inode_space / INODE_SPACE,
            files_free: inode_space_free / INODE_SPACE,
            name_len_max: NAME_LEN_MAX as u64,
            id: self.shared.device,
            flags: 0,
        }
    }

    fn options(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if self.shared.lower.is_some() {
            return text;
        }
        if let Some(pages) = self.shared.pages.asked() {
            text.extend(format!(",size={}k", pages * (PAGE_SIZE as u64 / 1024)).into_bytes());
        }
        if let Some(space) = self.shared.inode_space.asked() {
            text.extend(format!(",nr_inodes={}", space / INODE_SPACE).into_bytes());
        }
        if self.options.mode != TmpfsOptions::default().mode {
            text.extend(format!(",mode={:o}", self.options.mode).into_bytes());
        }
        for (name, id) in [("uid", self.options.uid), ("gid", self.options.gid)] {
            if id != 0 {
                text.extend(format!(",{name}={id}").into_bytes());
            }
        }
        text
    }

    fn reconfigure(&self, _is_read_only: bool, options: &[u8]) -> Result<(), Errno> {
        let new = TmpfsOptions { size_max: None, inodes_max: None, ..self.options }.with(options)?;
        if let Some(size) = new.size_max {
            self.shared.pages.set_max(size.div_ceil(PAGE_SIZE as u64))?;
        }
        new.inodes_max.map_or(Ok(()), |count| self.shared.inode_space.set_max(inode_space(count)))
    }
}
