//! Leases: an open file is told before another one is opened that conflicts with it (`F_SETLEASE`).
//!
//! 1. A shared lease conflicts with opening for writing and with `truncate`, an exclusive one with any opening. Who
//!    opens so *breaks* the lease: the holder is told by a signal, and has some time ([`break_time_seconds`]) to give
//!    it up, or to weaken an exclusive lease to a shared one where that suffices.
//! 2. Who breaks waits until then, or answers `EAGAIN`. Nothing here sleeps: [`break_for`] says that there is something
//!    to wait for, and [`generation`] changes, and [`changes`] is woken, whenever looking again is worth while. The
//!    generation changes under the lock: who no longer finds the lease that was in his way finds another generation.
//!    When the time is up the lease is weakened by force, by whoever looks at it next.
//! 3. A new lease needs a file that nobody else uses in a way that would break it. A holder may set his lease again
//!    while it is being broken: of the same kind changes nothing, and a shared one is still to be given up if that was
//!    asked for.
//! 4. As long as there are no leases, opening a file costs one load of their count. *Why a lease is not overlooked.*
//!    Who opens is counted as a user of the file and then reads the count of leases, who sets a lease counts it and
//!    then reads who uses the file, all of it sequentially consistent (J. Dekker's exclusion). So either the one finds
//!    a lease, and waits for the lock under which it is set, or the other finds a user, and there is no lease.
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

    /// It is given up, or taken. Called under the lock of all leases, so that it comes before the next lease is set.
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
    COUNT.load(SeqCst) != 0
}

/// Woken when a lease has become weaker.
pub fn changes() -> &'static WaitQueue {
    &CHANGES
}

/// Changes with each such event.
pub fn generation() -> u64 {
    GENERATION.load(SeqCst)
}

/// Sets the lease of an open file. `EAGAIN` when others have leases that do not go with it or `is_free` says that
/// somebody uses the file, `EINVAL` for a new one when there are to be none. `holder` is asked if it is set, under the
/// lock of all leases.
pub fn set(
    file: FileId,
    open: &OpenFile,
    kind: LockKind,
    is_free: impl Fn() -> bool,
    holder: impl FnOnce() -> Arc<dyn Holder>,
) -> Result<(), Errno> {
    among(file, |leases, has_changed| {
        set_among(leases, open, kind, is_free, holder).inspect(|()| note_change(has_changed))
    })
}

/// Does something with the leases of a file, those whose time is up weakened before, and tells those who wait when
/// there are changes to tell of.
fn among<R>(file: FileId, act: impl FnOnce(&mut Vec<Lease>, &mut bool) -> R) -> R {
    let mut table = TABLE.lock();
    let mut new = Vec::new();
    let leases = table.get_mut(&file).unwrap_or(&mut new);
    let mut has_changed = expire_among(leases);
    let result = act(leases, &mut has_changed);
    if leases.is_empty() {
        table.remove(&file);
    } else if !new.is_empty() {
        table.insert(file, new);
    }
    drop(table);
    if has_changed {
        CHANGES.wake_all();
    }
    result
}

/// Under the lock (section 2): the caller wakes those who wait when he has released it.
fn note_change(has_changed: &mut bool) {
    GENERATION.fetch_add(1, SeqCst);
    *has_changed = true;
}

/// As [`set`], among the leases of its file.
fn set_among(
    leases: &mut Vec<Lease>,
    open: &OpenFile,
    kind: LockKind,
    is_free: impl Fn() -> bool,
    holder: impl FnOnce() -> Arc<dyn Holder>,
) -> Result<(), Errno> {
    let id = OpenId::of(open);
    let is_allowed = |lease: &Lease| lease.id == id || kind == LockKind::Shared && lease.breaking.end_by_ns.is_none();
    if !leases.iter().all(is_allowed) || !is_free() {
        return Err(Errno::EAGAIN);
    }
    if let Some(own) = leases.iter_mut().find(|lease| lease.id == id) {
        own.kind = kind;
        if kind == LockKind::Shared {
            own.breaking.weaken_by_ns = None;
        }
        // By the number that it was set by last.
        own.holder = holder();
        return Ok(());
    }
    if ARE_ENABLED.load(Relaxed) == 0 {
        return Err(Errno::EINVAL);
    }
    if leases.len() >= LEASES_MAX {
        return Err(Errno::ENOLCK);
    }
    // Section 4: counted before the users are looked at once more.
    COUNT.fetch_add(1, SeqCst);
    if !is_free() {
        COUNT.fetch_sub(1, SeqCst);
        return Err(Errno::EAGAIN);
    }
    open.note_locks();
    leases.push(Lease { id, kind, breaking: Breaking::default(), holder: holder() });
    Ok(())
}

/// Gives up the lease of an open file; `EAGAIN` when it has none.
pub fn remove(file: FileId, open: &OpenFile) -> Result<(), Errno> {
    let id = OpenId::of(open);
    let own = among(file, |leases, has_changed| {
        let own = leases.extract_if(.., |lease| lease.id == id).next()?;
        note_change(has_changed);
        end(&own);
        Some(own)
    });
    own.map(drop).ok_or(Errno::EAGAIN)
}

/// What lease an open file has, or is to have when it is being broken.
pub fn get(file: FileId, open: &OpenFile) -> Option<LockKind> {
    let id = OpenId::of(open);
    among(file, |leases, _| leases.iter().find(|lease| lease.id == id)?.target())
}

/// The open file is gone.
pub(crate) fn release_open(open: &OpenFile) {
    if is_any()
        && let Ok(file) = FileId::of(open)
    {
        // It may have had none.
        let _ = remove(file, open);
    }
}

/// Breaks what is in the way of opening a file. `EAGAIN` when there is something: when it is gone the caller tries
/// again.
pub fn break_for(file: FileId, wants_write: bool) -> Result<(), Errno> {
    let deadline_ns = match BREAK_TIME_SECONDS.load(Relaxed) {
        0 => machine::NEVER,
        seconds => machine::now_ns().saturating_add(u64::from(seconds) * 1_000_000_000),
    };
    let mut told = Vec::new();
    let is_in_the_way = among(file, |leases, _| {
        let mut is_in_the_way = false;
        for lease in leases.iter_mut().filter(|lease| wants_write || lease.kind == LockKind::Exclusive) {
            is_in_the_way = true;
            if lease.breaking.end_by_ns.is_some() || !wants_write && lease.breaking.is_any() {
                continue;
            }
            let by_ns = if wants_write { &mut lease.breaking.end_by_ns } else { &mut lease.breaking.weaken_by_ns };
            *by_ns = Some(deadline_ns);
            told.push(Arc::clone(&lease.holder));
        }
        is_in_the_way
    });
    told.iter().for_each(|holder| holder.is_broken());
    if is_in_the_way { Err(Errno::EAGAIN) } else { Ok(()) }
}

/// When the first lease that is being broken will be broken by force; none is being broken without.
pub fn next_deadline_ns() -> Option<u64> {
    let table = TABLE.lock();
    let deadlines = |lease: &Lease| [lease.breaking.weaken_by_ns, lease.breaking.end_by_ns];
    table.values().flatten().flat_map(deadlines).flatten().min()
}

/// Weakens all leases whose time is up.
pub fn expire() {
    let mut has_changed = false;
    let mut table = TABLE.lock();
    table.retain(|_, leases| {
        has_changed |= expire_among(leases);
        !leases.is_empty()
    });
    drop(table);
    if has_changed {
        CHANGES.wake_all();
    }
}

/// True: there are changes to tell of.
fn expire_among(leases: &mut Vec<Lease>) -> bool {
    let now_ns = machine::now_ns();
    let is_past = |deadline_ns: Option<u64>| deadline_ns.is_some_and(|deadline_ns| deadline_ns <= now_ns);
    let mut has_changed = false;
    for lease in leases.iter_mut().filter(|lease| is_past(lease.breaking.weaken_by_ns)) {
        (lease.kind, lease.breaking.weaken_by_ns) = (LockKind::Shared, None);
        note_change(&mut has_changed);
    }
    for gone in leases.extract_if(.., |lease| is_past(lease.breaking.end_by_ns)) {
        note_change(&mut has_changed);
        end(&gone);
    }
    has_changed
}

fn end(gone: &Lease) {
    COUNT.fetch_sub(1, SeqCst);
    gone.holder.is_over();
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::thread;
    use std::time::Duration;

    use abi::OpenFlags;
    // Defines the functions of the machine.
    use testkit as _;

    use super::*;
    use crate::eventfd::EventFd;

    fn open() -> Arc<OpenFile> {
        OpenFile::new(EventFd::new(0, false), OpenFlags::empty())
    }

    #[derive(Default)]
    struct Silent;

    impl Holder for Silent {
        fn is_broken(&self) {}
    }

    fn silent() -> Arc<dyn Holder> {
        Arc::new(Silent)
    }

    #[test]
    fn whoever_opens_while_a_lease_is_set_is_seen() {
        let (file, open) = (FileId::new(7, 1), open());
        let looks = Cell::new(0);
        // Nobody there at first, and somebody at the second look.
        let is_free = || looks.replace(looks.get() + 1) == 0;
        assert_eq!(set(file, &open, LockKind::Exclusive, is_free, silent), Err(Errno::EAGAIN));
        assert_eq!(get(file, &open), None);
        assert_eq!(break_for(file, true), Ok(()));
        assert_eq!(set(file, &open, LockKind::Exclusive, || true, silent), Ok(()));
        assert_eq!(break_for(file, false), Err(Errno::EAGAIN));
        assert_eq!(get(file, &open), Some(LockKind::Shared));
        assert_eq!(remove(file, &open), Ok(()));
        assert_eq!(remove(file, &open), Err(Errno::EAGAIN));
    }

    /// Keeps the generation in which its lease was over.
    #[derive(Default)]
    struct Watching(AtomicU64);

    impl Holder for Watching {
        fn is_broken(&self) {}

        fn is_over(&self) {
            self.0.store(generation(), SeqCst);
        }
    }

    #[test]
    fn the_generation_has_changed_when_a_lease_is_gone() {
        let (file, open, holder) = (FileId::new(7, 3), open(), Arc::new(Watching::default()));
        set(file, &open, LockKind::Exclusive, || true, || Arc::clone(&holder) as Arc<dyn Holder>).unwrap();
        assert_eq!(break_for(file, true), Err(Errno::EAGAIN));
        let before = generation();
        remove(file, &open).unwrap();
        // As long as the lock is held: whoever takes it next finds no lease, and no deadline to wait for.
        assert!(holder.0.load(SeqCst) > before);
    }

    /// Takes its time to hear that its lease is over.
    struct Slow(Arc<Mutex<Vec<&'static str>>>);

    impl Holder for Slow {
        fn is_broken(&self) {}

        fn is_over(&self) {
            thread::sleep(Duration::from_millis(20));
            self.0.lock().push("over");
        }
    }

    #[test]
    fn a_lease_is_over_before_the_next_is_set() {
        let (file, open) = (FileId::new(7, 2), open());
        let log = Arc::new(Mutex::new(rank::FILE_POSITION, Vec::new()));
        set(file, &open, LockKind::Shared, || true, || Arc::new(Slow(Arc::clone(&log)))).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| remove(file, &open));
            // It is set again when it is gone.
            scope.spawn(|| {
                while get(file, &open).is_some() {
                    thread::yield_now();
                }
                let holder = || {
                    log.lock().push("set");
                    silent()
                };
                set(file, &open, LockKind::Shared, || true, holder)
            });
        });
        assert_eq!(*log.lock(), ["over", "set"]);
        remove(file, &open).unwrap();
    }
}
