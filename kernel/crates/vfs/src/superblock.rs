//! [`Superblock`]: a file system in use, shared by all mounts of it.
//!
//! It keeps what is true of all its mounts at once: whether anything may be changed, how many files are open for writing, and which
//! disk it has to itself.
//!
//! # The end
//!
//! With the last mount, and the last file open below one that was detached, the superblock goes, and the file system must write what
//! it holds and let go of its disk. The last reference may be dropped anywhere, under locks that no transfer may happen under. So a
//! superblock that goes is put on a list, which takes no allocation and no sleep, and [`settle`] shuts down what is on
//! the list. Whoever may have been the last calls it: closing, mounting, `sync`, the end of the machine
//! ([`shut_down`]). Unmounting waits as well for what another thread has taken from the list ([`settle_all`]).
//!
//! Locks: `SUPERBLOCKS` (rank `SUPERBLOCKS`) is held while a disk is mounted or let go, so who mounts a disk again waits
//! until it is free. It is never taken under another lock of this crate.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};

use abi::Errno;
use sync::{Mutex, MutexGuard, SpinLock, rank};

use crate::fs::disk::{self, Claim};
use crate::{FileSystem, notify};

/// The file systems in use.
static SUPERBLOCKS: Mutex<Vec<Weak<Superblock>>> = Mutex::new(rank::SUPERBLOCKS, Vec::new());
/// The parts of superblocks that nobody uses any more, to be shut down.
static LEAVING: SpinLock<Option<Box<Parts>>> = SpinLock::new(rank::FILE_TABLES, None);
/// Whether there are any.
static HAS_LEAVING: AtomicBool = AtomicBool::new(false);

/// A file system in use.
///
/// Its parts are in a box, so that nothing needs to be allocated when it goes.
pub struct Superblock {
    /// None only while it is dropped.
    parts: Option<Box<Parts>>,
    file_system: Arc<dyn FileSystem>,
    is_read_only: AtomicBool,
    is_synchronous: AtomicBool,
    /// Files open for writing.
    writers: AtomicU32,
}

/// What is left to be done when it goes.
struct Parts {
    file_system: Arc<dyn FileSystem>,
    /// Keeps others from its disk.
    claim: Option<Claim>,
    /// The next on the list of those that leave.
    next: Option<Box<Parts>>,
}

/// How a file system may be used, as `mount` says it of all its mounts at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SuperblockFlags {
    /// Nothing can be changed.
    pub is_read_only: bool,
    /// Everything written is stable before the call returns (`sync`).
    pub is_synchronous: bool,
}

impl Superblock {
    /// That of a file system without a disk: the one it has, or a new one.
    pub fn of(file_system: &Arc<dyn FileSystem>) -> Arc<Self> {
        Self::find_or_add(file_system, SuperblockFlags::default())
    }

    /// As [`Superblock::of`], to be used so; `EBUSY` when it is used otherwise already.
    pub(crate) fn with_flags(file_system: &Arc<dyn FileSystem>, flags: SuperblockFlags) -> Result<Arc<Self>, Errno> {
        let superblock = Self::find_or_add(file_system, flags);
        let fits = superblock.is_read_only.load(Relaxed) == flags.is_read_only;
        if fits { Ok(superblock) } else { Err(Errno::EBUSY) }
    }

    fn find_or_add(file_system: &Arc<dyn FileSystem>, flags: SuperblockFlags) -> Arc<Self> {
        let mut known = SUPERBLOCKS.lock();
        let is_same =
            |superblock: &Arc<Self>| core::ptr::addr_eq(Arc::as_ptr(&superblock.file_system), Arc::as_ptr(file_system));
        if let Some(superblock) = known.iter().filter_map(Weak::upgrade).find(is_same) {
            return superblock;
        }
        Self::add(&mut known, file_system.clone(), None, flags)
    }

    /// That of a file system that is mounted nowhere: its files have no paths. Nothing asks for it a second time.
    pub(crate) fn unlisted(file_system: Arc<dyn FileSystem>) -> Arc<Self> {
        Self::new(file_system, None, SuperblockFlags::default())
    }

    /// That of the file system on a volume: the one it has, when `is_kind` says that its type is the wanted one, or else what
    /// `open` makes. `EBUSY` when the volume is in use in another way.
    pub(crate) fn on_volume(
        volume: &block::Volume,
        type_name: &'static str,
        flags: SuperblockFlags,
        open: impl FnOnce() -> Result<Arc<dyn FileSystem>, Errno>,
    ) -> Result<Arc<Self>, Errno> {
        let mut known = SUPERBLOCKS.lock();
        settle_locked(&mut known);
        let is_here = |superblock: &Arc<Self>| superblock.volume_number() == Some(volume.number());
        if let Some(superblock) = known.iter().filter_map(Weak::upgrade).find(is_here) {
            let is_same_kind = superblock.file_system.type_name() == type_name;
            let fits = is_same_kind && superblock.is_read_only.load(Relaxed) == flags.is_read_only;
            return if fits { Ok(superblock) } else { Err(Errno::EBUSY) };
        }
        let claim = disk::claim(volume)?;
        let file_system = open()?;
        Ok(Self::add(&mut known, file_system, Some(claim), flags))
    }

    fn add(
        known: &mut Vec<Weak<Self>>,
        file_system: Arc<dyn FileSystem>,
        claim: Option<Claim>,
        flags: SuperblockFlags,
    ) -> Arc<Self> {
        let superblock = Self::new(file_system, claim, flags);
        known.retain(|superblock| superblock.strong_count() > 0);
        known.push(Arc::downgrade(&superblock));
        superblock
    }

    fn new(file_system: Arc<dyn FileSystem>, claim: Option<Claim>, flags: SuperblockFlags) -> Arc<Self> {
        let parts = Box::new(Parts { file_system: file_system.clone(), claim, next: None });
        Arc::new(Self {
            parts: Some(parts),
            file_system,
            is_read_only: AtomicBool::new(flags.is_read_only),
            is_synchronous: AtomicBool::new(flags.is_synchronous),
            writers: AtomicU32::new(0),
        })
    }

    /// The file system.
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.file_system
    }

    /// The number of the volume it is on.
    fn volume_number(&self) -> Option<u64> {
        self.parts.as_ref()?.claim.as_ref().map(Claim::number)
    }

    /// How it may be used.
    pub fn flags(&self) -> SuperblockFlags {
        SuperblockFlags { is_read_only: self.is_read_only(), is_synchronous: self.is_synchronous() }
    }

    /// Whether nothing can be changed.
    #[inline]
    pub fn is_read_only(&self) -> bool {
        self.is_read_only.load(SeqCst) || self.file_system.is_read_only()
    }

    /// Whether what is written must be stable before the call returns.
    #[inline]
    pub fn is_synchronous(&self) -> bool {
        self.is_synchronous.load(Relaxed)
    }

    /// Counts a file open for writing. Ask [`Superblock::is_read_only`] afterwards.
    pub(crate) fn begin_writing(&self) {
        self.writers.fetch_add(1, SeqCst);
    }

    /// Ends what [`Superblock::begin_writing`] began.
    pub(crate) fn end_writing(&self) {
        self.writers.fetch_sub(1, SeqCst);
    }

    /// Changes flags and options. `EBUSY` when nothing shall be changed any more while files are open for writing.
    pub(crate) fn reconfigure(&self, flags: SuperblockFlags, options: &[u8]) -> Result<(), Errno> {
        let _one_at_a_time = SUPERBLOCKS.lock();
        let was_read_only = self.is_read_only.swap(flags.is_read_only, SeqCst);
        let result = if flags.is_read_only && !was_read_only && self.writers.load(SeqCst) > 0 {
            Err(Errno::EBUSY)
        } else {
            self.file_system.reconfigure(flags.is_read_only, options)
        };
        match result {
            Ok(()) => self.is_synchronous.store(flags.is_synchronous, Relaxed),
            Err(_) => self.is_read_only.store(was_read_only, SeqCst),
        }
        result
    }
}

impl Drop for Superblock {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else { return };
        let mut leaving = LEAVING.lock();
        parts.next = leaving.take();
        *leaving = Some(parts);
        HAS_LEAVING.store(true, SeqCst);
    }
}

/// Shuts down the file systems that nobody uses any more, but for those that another thread has begun with. Holds no
/// lock of its caller's.
#[inline]
pub fn settle() {
    mm::object::settle();
    if HAS_LEAVING.load(Relaxed) {
        settle_locked(&mut SUPERBLOCKS.lock());
    }
}

/// As [`settle`], and waits for those that another thread has begun with, too: for unmounting, after which nothing is
/// missing on the disk.
pub fn settle_all() {
    settle_locked(&mut SUPERBLOCKS.lock());
}

/// As [`settle`]; the lock shows that nobody mounts meanwhile.
#[cold]
fn settle_locked(_known: &mut MutexGuard<'_, Vec<Weak<Superblock>>>) {
    HAS_LEAVING.store(false, SeqCst);
    let mut next = LEAVING.lock().take();
    while let Some(mut parts) = next {
        next = parts.next.take();
        finish(&*parts.file_system);
    }
}

/// Shuts one down. There is nobody to tell of an error but the log.
fn finish(file_system: &dyn FileSystem) {
    notify::unmounted(file_system.device());
    file_system.root().drop_unused();
    if let Err(errno) = file_system.shut_down() {
        log::error!("{}: unmounting failed: {errno}", file_system.type_name());
    }
}

/// Shuts down every file system, in use or not, and writes what was written to disks themselves: the machine ends.
pub fn shut_down() {
    let mut known = SUPERBLOCKS.lock();
    settle_locked(&mut known);
    for superblock in known.iter().filter_map(Weak::upgrade) {
        superblock.is_read_only.store(true, SeqCst);
        finish(&**superblock.file_system());
    }
    drop(known);
    disk::synchronize_all();
}

/// Brings every file system to stable storage, as `sync` does. Errors are not told: each file tells its own.
pub fn sync_all() {
    settle();
    let superblocks: Vec<Arc<Superblock>> = SUPERBLOCKS.lock().iter().filter_map(Weak::upgrade).collect();
    for superblock in superblocks.iter().filter(|superblock| !superblock.is_read_only()) {
        let _ = superblock.file_system().sync();
    }
    disk::synchronize_all();
}
