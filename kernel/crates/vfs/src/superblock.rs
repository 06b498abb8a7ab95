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
//! the list. Whoever may have been the last calls it: closing, `sync`, the end of the machine ([`shut_down`]). Mounting and
//! unmounting shut down what they are about and nothing else, and wait for it where another thread has taken it from the list
//! ([`settle_device`]).
//!
//! # One at a time, for each device
//!
//! While a file system is mounted or let go the number of its device is in a list ([`Known::busy`]), and who mounts the same disk,
//! or has unmounted it, waits until it is not. No lock is held meanwhile, so a slow disk keeps nobody from another.
//!
//! Locks: `SUPERBLOCKS` (rank `SUPERBLOCKS`), for looks and changes of the lists. Each superblock has one of the same rank for who
//! changes its flags, over what its file system does for that. Neither is taken under another lock of this crate, nor under the other.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};

use abi::Errno;
use sync::{Mutex, SpinLock, WaitQueue, rank};

use crate::fs::disk::{self, Claim};
use crate::{DentryCounts, FileSystem, notify, page_cache};

static SUPERBLOCKS: Mutex<Known> = Mutex::new(rank::SUPERBLOCKS, Known::new());
/// Woken when a device is not busy any more.
static SETTLED: WaitQueue = WaitQueue::new();
/// The parts of superblocks that nobody uses any more, to be shut down.
static LEAVING: SpinLock<Option<Box<Parts>>> = SpinLock::new(rank::FILE_TABLES, None);
/// Whether there are any.
static HAS_LEAVING: AtomicBool = AtomicBool::new(false);

/// What is known of file systems in use.
struct Known {
    /// They, as far as they are not unlisted.
    superblocks: Vec<Weak<Superblock>>,
    /// What somebody mounts or lets go of.
    busy: Vec<Busy>,
}

/// A file system that somebody is at work on.
struct Busy {
    /// The number of its device, which is that of its volume if it has one.
    device: u64,
    /// It is shut down.
    is_leaving: bool,
}

/// What becomes of a wish to mount a volume.
enum Start {
    /// Its file system is in use, and may be used so; or not.
    Known(Result<Arc<Superblock>, Errno>),
    /// It is busy in the caller's name now.
    Ours,
    /// It is leaving, and is to be shut down first.
    Settle,
}

impl Known {
    const fn new() -> Self {
        Self { superblocks: Vec::new(), busy: Vec::new() }
    }

    fn all(&self) -> impl Iterator<Item = Arc<Superblock>> {
        self.superblocks.iter().filter_map(Weak::upgrade)
    }

    /// Begins to mount a volume. None: others are busy with it.
    fn begin(&mut self, number: u64, type_name: &str, flags: SuperblockFlags) -> Option<Start> {
        if self.busy.iter().any(|busy| busy.device == number) {
            return None;
        }
        if let Some(superblock) = self.all().find(|superblock| superblock.volume_number() == Some(number)) {
            let is_same_kind = superblock.file_system.type_name() == type_name;
            let fits = is_same_kind && superblock.is_read_only.load(Relaxed) == flags.is_read_only;
            return Some(Start::Known(if fits { Ok(superblock) } else { Err(Errno::EBUSY) }));
        }
        // One that has just gone has its volume still.
        if HAS_LEAVING.load(SeqCst) && successors(&LEAVING.lock()).any(|parts| parts.device() == number) {
            return Some(Start::Settle);
        }
        self.busy.push(Busy { device: number, is_leaving: false });
        Some(Start::Ours)
    }

    fn end(&mut self, device: u64) {
        if let Some(place) = self.busy.iter().position(|busy| busy.device == device) {
            self.busy.swap_remove(place);
        }
    }
}

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
    /// Held by who changes the flags.
    change: Mutex<()>,
}

/// What is left to be done when it goes.
struct Parts {
    file_system: Arc<dyn FileSystem>,
    /// Keeps others from its disk.
    claim: Option<Claim>,
    /// The next on the list of those that leave.
    next: Option<Box<Parts>>,
}

impl Parts {
    fn device(&self) -> u64 {
        self.file_system.device()
    }
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
        if let Some(superblock) = known.all().find(is_same) {
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
        let number = volume.number();
        loop {
            mm::object::settle();
            shut_down_leaving(Some(number));
            match SETTLED.block_until(u32::MAX, || SUPERBLOCKS.lock().begin(number, type_name, flags)) {
                Start::Known(known) => return known,
                Start::Ours => break,
                Start::Settle => {}
            }
        }
        let opened = disk::claim(volume).and_then(|claim| Ok((open()?, claim)));
        let mut known = SUPERBLOCKS.lock();
        known.end(number);
        let result = opened.map(|(file_system, claim)| Self::add(&mut known, file_system, Some(claim), flags));
        drop(known);
        SETTLED.wake_all();
        result
    }

    fn add(
        known: &mut Known,
        file_system: Arc<dyn FileSystem>,
        claim: Option<Claim>,
        flags: SuperblockFlags,
    ) -> Arc<Self> {
        let superblock = Self::new(file_system, claim, flags);
        known.superblocks.retain(|superblock| superblock.strong_count() > 0);
        known.superblocks.push(Arc::downgrade(&superblock));
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
            change: Mutex::new(rank::SUPERBLOCKS, ()),
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
        let _one_at_a_time = self.change.lock();
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
        shut_down_leaving(None);
    }
}

/// As [`settle`], and waits for those that another thread has begun with, too.
pub fn settle_all() {
    settle();
    wait_for_leaving(None);
}

/// Shuts down the file system of this device if nobody uses it any more, or waits until another thread has done so: for
/// unmounting, after which nothing is missing on the disk. Has nothing to do with others, whose disks may be slow.
pub fn settle_device(device: u64) {
    mm::object::settle();
    shut_down_leaving(Some(device));
    wait_for_leaving(Some(device));
}

/// Waits for what others shut down; with a device, for that one alone.
#[inline(never)]
fn wait_for_leaving(device: Option<u64>) {
    SETTLED.block_until(u32::MAX, || {
        let known = SUPERBLOCKS.lock();
        let is_waited_for = |busy: &Busy| busy.is_leaving && device.is_none_or(|device| busy.device == device);
        let is_busy = known.busy.iter().any(is_waited_for);
        (!is_busy).then_some(())
    });
}

/// Shuts down what leaves; with a device, that one alone.
#[cold]
#[inline(never)]
fn shut_down_leaving(device: Option<u64>) {
    let mut next = {
        let mut known = SUPERBLOCKS.lock();
        let taken = take_leaving(device);
        let as_busy = |parts: &Parts| Busy { device: parts.device(), is_leaving: true };
        known.busy.extend(successors(&taken).map(as_busy));
        taken
    };
    while let Some(mut parts) = next {
        next = parts.next.take();
        finish(&*parts.file_system);
        let device = parts.device();
        // The volume is free before it is not busy.
        drop(parts);
        SUPERBLOCKS.lock().end(device);
        SETTLED.wake_all();
    }
}

/// Takes what leaves from the list, or the one of this device.
fn take_leaving(device: Option<u64>) -> Option<Box<Parts>> {
    let mut leaving = LEAVING.lock();
    let (mut taken, mut left) = (None, None);
    let mut next = leaving.take();
    while let Some(mut parts) = next {
        next = parts.next.take();
        let is_wanted = device.is_none_or(|device| parts.device() == device);
        let list = if is_wanted { &mut taken } else { &mut left };
        parts.next = list.take();
        *list = Some(parts);
    }
    HAS_LEAVING.store(left.is_some(), SeqCst);
    *leaving = left;
    taken
}

/// The parts of a list.
fn successors(first: &Option<Box<Parts>>) -> impl Iterator<Item = &Parts> {
    core::iter::successors(first.as_deref(), |parts| parts.next.as_deref())
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
    settle_all();
    let superblocks: Vec<Arc<Superblock>> = SUPERBLOCKS.lock().all().collect();
    for superblock in superblocks {
        superblock.is_read_only.store(true, SeqCst);
        finish(&**superblock.file_system());
    }
    disk::synchronize_all();
}

/// Drops what can be read again, as `drop_caches` does: pages of files that are clean and in nobody's hands, and what file systems
/// keep of their disks.
pub fn drop_caches() {
    page_cache::drop_some(u64::MAX, mm::Effort { may_wait: true, takes_used: false });
    let superblocks: Vec<Arc<Superblock>> = SUPERBLOCKS.lock().all().collect();
    superblocks.iter().for_each(|superblock| superblock.file_system().drop_caches());
}

/// What the caches of names of all file systems have.
pub fn dentry_counts() -> Result<DentryCounts, Errno> {
    let superblocks: Vec<Arc<Superblock>> = SUPERBLOCKS.lock().all().collect();
    let mut counts = DentryCounts::default();
    superblocks.iter().try_for_each(|superblock| counts.add_tree(superblock.file_system().root()))?;
    Ok(counts)
}

/// Brings every file system to stable storage, as `sync` does. Errors are not told: each file tells its own.
pub fn sync_all() {
    settle();
    let superblocks: Vec<Arc<Superblock>> = SUPERBLOCKS.lock().all().collect();
    for superblock in superblocks.iter().filter(|superblock| !superblock.is_read_only()) {
        let _ = superblock.file_system().sync();
    }
    disk::synchronize_all();
}
