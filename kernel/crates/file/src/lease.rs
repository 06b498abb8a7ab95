//! Leases: an open file is told before another one is opened that conflicts with it (`F_SETLEASE`).
//!
//! 1. A shared lease conflicts with opening for writing and with `truncate`, an exclusive one with any opening. Who
//!    opens so *breaks* the lease: the holder is told by a signal, and has some time ([`break_time_seconds`]) to give
//!    it up, or to weaken an exclusive lease to a shared one where that suffices.
//! 2. Who breaks waits until then, or answers `EAGAIN`. Nothing here sleeps: [`break_for`] says that there is something
//!    to wait for, and [`generation`] changes, and [`changes`] is woken, whenever looking again is worth while. When
//!    the time is up the lease is weakened by force ([`expire`]).
//! 3. A new lease needs a file that nobody else uses in a way that would break it; who sets it looks.
//!
//! As long as there are no leases, opening a file costs one load of a count.
//!
//! Lock: [`rank::FD_TABLE`] around the table.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

use abi::Errno;
use sync::{Mutex, WaitQueue, machine, rank};

use crate::OpenFile;
use crate::lock::{FileId, LockKind, OpenId};

/// The most leases of a file.
const LEASES_MAX: usize = 1 << 12;

/// `fs.lease-break-time`, in seconds.
pub static BREAK_TIME_SECONDS: AtomicU32 = AtomicU32::new(45);
/// `fs.leases-enable`.
pub static ARE_ENABLED: AtomicU32 = AtomicU32::new(1);

/// Who has a lease.
pub trait Holder: Send + Sync {
    /// Somebody waits for it to be given up. Called once for each breaking, without locks.
    fn is_broken(&self);
}

struct Lease {
    id: OpenId,
    kind: LockKind,
    breaking: Option<Breaking>,
    holder: Arc<dyn Holder>,
}

/// A lease that is to become weaker.
#[derive(Clone, Copy)]
struct Breaking {
    /// What may be left of it.
    target: Option<LockKind>,
    /// When it becomes so by force.
    deadline_ns: u64,
}

impl Lease {
    /// What it will be.
    fn target(&self) -> Option<LockKind> {
        self.breaking.map_or(Some(self.kind), |breaking| breaking.target)
    }
}

static TABLE: Mutex<BTreeMap<FileId, Vec<Lease>>> = Mutex::new(rank::FD_TABLE, BTreeMap::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);
static GENERATION: AtomicU64 = AtomicU64::new(0);
static CHANGES: WaitQueue = WaitQueue::new();

/// Whether there are any.
#[inline(always)]
pub fn is_any() -> bool {
    COUNT.load(Relaxed) != 0
}

/// Woken when a lease has become weaker.
pub fn changes() -> &'static WaitQueue {
    &CHANGES
}

/// Changes with each such event.
pub fn generation() -> u64 {
    GENERATION.load(SeqCst)
}

fn changed() {
    GENERATION.fetch_add(1, SeqCst);
    CHANGES.wake_all();
}

/// Sets the lease of an open file, which has the caller see to it that nobody uses the file otherwise. `EAGAIN` while
/// it is being broken or others have leases that do not go with it.
pub fn set(file: FileId, open: &OpenFile, kind: LockKind, holder: Arc<dyn Holder>) -> Result<(), Errno> {
    let id = OpenId::of(open);
    let mut table = TABLE.lock();
    let leases = table.entry(file).or_default();
    let others_allow = leases.iter().all(|lease| {
        lease.id == id || kind == LockKind::Shared && lease.kind == LockKind::Shared && lease.breaking.is_none()
    });
    let is_full = leases.len() >= LEASES_MAX;
    let own = leases.iter_mut().find(|lease| lease.id == id);
    let result = match own {
        _ if !others_allow => Err(Errno::EAGAIN),
        Some(own) if own.breaking.is_some_and(|breaking| breaking.target != Some(kind)) => Err(Errno::EAGAIN),
        Some(own) => {
            own.kind = kind;
            own.breaking = None;
            Ok(())
        }
        None if is_full => Err(Errno::ENOLCK),
        None => {
            open.note_locks();
            leases.push(Lease { id, kind, breaking: None, holder });
            COUNT.fetch_add(1, SeqCst);
            Ok(())
        }
    };
    forget_if_empty(&mut table, file);
    drop(table);
    changed();
    result
}

fn forget_if_empty(table: &mut BTreeMap<FileId, Vec<Lease>>, file: FileId) {
    if table.get(&file).is_some_and(Vec::is_empty) {
        table.remove(&file);
    }
}

/// Gives up the lease of an open file; `EAGAIN` when it has none.
pub fn remove(file: FileId, open: &OpenFile) -> Result<(), Errno> {
    take(file, OpenId::of(open)).ok_or(Errno::EAGAIN)
}

fn take(file: FileId, id: OpenId) -> Option<()> {
    let mut table = TABLE.lock();
    let leases = table.get_mut(&file)?;
    let at = leases.iter().position(|lease| lease.id == id)?;
    let gone = leases.remove(at);
    forget_if_empty(&mut table, file);
    COUNT.fetch_sub(1, SeqCst);
    drop(table);
    drop(gone);
    changed();
    Some(())
}

/// What lease an open file has, or is to have when it is being broken.
pub fn get(file: FileId, open: &OpenFile) -> Option<LockKind> {
    let id = OpenId::of(open);
    TABLE.lock().get(&file)?.iter().find(|lease| lease.id == id)?.target()
}

/// The open file is gone.
pub(crate) fn release_open(open: &OpenFile) {
    if is_any()
        && let Ok(file) = FileId::of(open)
    {
        let _ = take(file, OpenId::of(open));
    }
}

/// Breaks what is in the way of opening a file. `EAGAIN` when there is something: when it is gone the caller tries
/// again.
pub fn break_for(file: FileId, wants_write: bool) -> Result<(), Errno> {
    let target = if wants_write { None } else { Some(LockKind::Shared) };
    let deadline_ns = machine::now_ns().saturating_add(u64::from(BREAK_TIME_SECONDS.load(Relaxed)) * 1_000_000_000);
    let mut told = Vec::new();
    let mut is_in_the_way = false;
    {
        let mut table = TABLE.lock();
        let Some(leases) = table.get_mut(&file) else { return Ok(()) };
        for lease in leases.iter_mut().filter(|lease| wants_write || lease.kind == LockKind::Exclusive) {
            is_in_the_way = true;
            match &mut lease.breaking {
                // One that is to become weaker still.
                Some(breaking) if breaking.target.is_some() && target.is_none() => breaking.target = None,
                Some(_) => continue,
                none => *none = Some(Breaking { target, deadline_ns }),
            }
            told.push(Arc::clone(&lease.holder));
        }
    }
    told.iter().for_each(|holder| holder.is_broken());
    if is_in_the_way { Err(Errno::EAGAIN) } else { Ok(()) }
}

/// When the first lease that is being broken will be broken by force; none is being broken without.
pub fn next_deadline_ns() -> Option<u64> {
    let table = TABLE.lock();
    table.values().flatten().filter_map(|lease| lease.breaking).map(|breaking| breaking.deadline_ns).min()
}

/// Weakens the leases whose time is up.
pub fn expire() {
    let now_ns = machine::now_ns();
    let mut gone = Vec::new();
    let mut table = TABLE.lock();
    for leases in table.values_mut() {
        let mut at = 0;
        while let Some(lease) = leases.get_mut(at) {
            match lease.breaking.filter(|breaking| breaking.deadline_ns <= now_ns).map(|breaking| breaking.target) {
                Some(Some(kind)) => (lease.kind, lease.breaking) = (kind, None),
                Some(None) => {
                    gone.push(leases.remove(at));
                    continue;
                }
                None => {}
            }
            at += 1;
        }
    }
    table.retain(|_, leases| !leases.is_empty());
    COUNT.fetch_sub(gone.len(), SeqCst);
    drop(table);
    drop(gone);
    changed();
}
