//! Leases: an open file is told before another one is opened that conflicts with it (`F_SETLEASE`).
//!
//! 1. A shared lease conflicts with opening for writing and with `truncate`, an exclusive one with any opening. Who
//!    opens so *breaks* the lease: the holder is told by a signal, and has some time ([`break_time_seconds`]) to give
//!    it up, or to weaken an exclusive lease to a shared one where that suffices.
//! 2. Who breaks waits until then, or answers `EAGAIN`. Nothing here sleeps: [`break_for`] says that there is something
//!    to wait for, and [`generation`] changes, and [`changes`] is woken, whenever looking again is worth while. When
//!    the time is up the lease is weakened by force ([`expire`]).
//! 3. A new lease needs a file that nobody else uses in a way that would break it; who sets it looks. A holder may set
//!    his lease again while it is being broken: of the same kind changes nothing, and a shared one is still to be given
//!    up if that was asked for.
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

/// `fs.lease-break-time`, in seconds; 0 for no end.
pub static BREAK_TIME_SECONDS: AtomicU32 = AtomicU32::new(45);
/// `fs.leases-enable`.
pub static ARE_ENABLED: AtomicU32 = AtomicU32::new(1);

/// Who has a lease.
pub trait Holder: Send + Sync {
    /// Somebody waits for it to be given up. Called once for each breaking, without locks.
    fn is_broken(&self);

    /// It is given up, or taken. Called without locks.
    fn is_over(&self) {}
}

struct Lease {
    id: OpenId,
    kind: LockKind,
    breaking: Breaking,
    holder: Arc<dyn Holder>,
}

/// What is to become of a lease, and when it becomes so by force.
#[derive(Clone, Copy, Default)]
struct Breaking {
    /// It is to be shared.
    weaken_by_ns: Option<u64>,
    /// It is to be given up.
    end_by_ns: Option<u64>,
}

impl Breaking {
    fn is_any(&self) -> bool {
        self.weaken_by_ns.is_some() || self.end_by_ns.is_some()
    }
}

impl Lease {
    /// What it will be.
    fn target(&self) -> Option<LockKind> {
        match self.breaking {
            Breaking { end_by_ns: Some(_), .. } => None,
            Breaking { weaken_by_ns: Some(_), .. } => Some(LockKind::Shared),
            _ => Some(self.kind),
        }
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

/// Sets the lease of an open file, which has the caller see to it that nobody uses the file otherwise. `EAGAIN` when
/// others have leases that do not go with it, `EINVAL` for a new one when there are to be none.
pub fn set(
    file: FileId,
    open: &OpenFile,
    kind: LockKind,
    holder: impl FnOnce() -> Arc<dyn Holder>,
) -> Result<(), Errno> {
    let id = OpenId::of(open);
    let holder = holder();
    let mut table = TABLE.lock();
    let leases = table.entry(file).or_default();
    let others_allow =
        leases.iter().all(|lease| lease.id == id || kind == LockKind::Shared && lease.breaking.end_by_ns.is_none());
    let is_full = leases.len() >= LEASES_MAX;
    let own = leases.iter_mut().find(|lease| lease.id == id);
    let result = match own {
        _ if !others_allow => Err(Errno::EAGAIN),
        Some(own) => {
            own.kind = kind;
            if kind == LockKind::Shared {
                own.breaking.weaken_by_ns = None;
            }
            // By the number that it was set by last.
            own.holder = holder;
            Ok(())
        }
        None if ARE_ENABLED.load(Relaxed) == 0 => Err(Errno::EINVAL),
        None if is_full => Err(Errno::ENOLCK),
        None => {
            open.note_locks();
            leases.push(Lease { id, kind, breaking: Breaking::default(), holder });
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
    gone.holder.is_over();
    changed();
    Some(())
}

/// What lease an open file has, or is to have when it is being broken.
pub fn get(file: FileId, open: &OpenFile) -> Option<LockKind> {
    expire();
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
    expire();
    let deadline_ns = match BREAK_TIME_SECONDS.load(Relaxed) {
        0 => machine::NEVER,
        seconds => machine::now_ns().saturating_add(u64::from(seconds) * 1_000_000_000),
    };
    let mut told = Vec::new();
    let mut is_in_the_way = false;
    {
        let mut table = TABLE.lock();
        let Some(leases) = table.get_mut(&file) else { return Ok(()) };
        for lease in leases.iter_mut().filter(|lease| wants_write || lease.kind == LockKind::Exclusive) {
            is_in_the_way = true;
            if lease.breaking.end_by_ns.is_some() || !wants_write && lease.breaking.is_any() {
                continue;
            }
            let by_ns = if wants_write { &mut lease.breaking.end_by_ns } else { &mut lease.breaking.weaken_by_ns };
            *by_ns = Some(deadline_ns);
            told.push(Arc::clone(&lease.holder));
        }
    }
    told.iter().for_each(|holder| holder.is_broken());
    if is_in_the_way { Err(Errno::EAGAIN) } else { Ok(()) }
}

/// When the first lease that is being broken will be broken by force; none is being broken without.
pub fn next_deadline_ns() -> Option<u64> {
    let table = TABLE.lock();
    let deadlines = |lease: &Lease| [lease.breaking.weaken_by_ns, lease.breaking.end_by_ns];
    table.values().flatten().flat_map(deadlines).flatten().min()
}

/// Weakens the leases whose time is up.
pub fn expire() {
    let now_ns = machine::now_ns();
    let is_past = |deadline_ns: Option<u64>| deadline_ns.is_some_and(|deadline_ns| deadline_ns <= now_ns);
    let mut gone = Vec::new();
    let mut has_changed = false;
    let mut table = TABLE.lock();
    for leases in table.values_mut() {
        for lease in leases.iter_mut().filter(|lease| is_past(lease.breaking.weaken_by_ns)) {
            (lease.kind, lease.breaking.weaken_by_ns) = (LockKind::Shared, None);
            has_changed = true;
        }
        gone.extend(leases.extract_if(.., |lease| is_past(lease.breaking.end_by_ns)));
    }
    table.retain(|_, leases| !leases.is_empty());
    COUNT.fetch_sub(gone.len(), SeqCst);
    drop(table);
    has_changed |= !gone.is_empty();
    gone.iter().for_each(|lease| lease.holder.is_over());
    if has_changed {
        changed();
    }
}
