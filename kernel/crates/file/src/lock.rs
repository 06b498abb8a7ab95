//! Advisory locks on files: POSIX record locks, open file description locks and `flock`.
//!
//! Locks belong to files, identified by device and inode number, and to owners: a descriptor table (POSIX locks, gone when the
//! table closes any descriptor of the file) or an open file (`flock` and OFD locks, gone with it). One table holds all of
//! them; a file without locks has no entry. Whoever cannot have a lock waits on one queue for any to be released, and tries
//! again.
//!
//! # Deadlocks
//!
//! Who waits for a POSIX lock is noted with the owner of the lock that is in the way. Before a wait begins the chain of those owners is
//! followed, and when it leads back to who wants to wait the answer is `EDEADLK`. An owner is a descriptor table, and several threads
//! that share one may wait for different things: as Linux does, a chain that leads back through any of them counts. Open file
//! description locks are left out, as on Linux, and so are `flock` locks.
//!
//! Lock: [`rank::FD_TABLE`] around the table.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use abi::Errno;
use sync::{Mutex, WaitQueue, rank};

use crate::{LockOwner, OpenFile};

/// The most locks on a file.
const LOCKS_MAX: usize = 1 << 16;
/// The most owners that are looked at for a deadlock.
const CHAIN_MAX: usize = 64;

/// Whether a lock tolerates others of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Others may share it (`F_RDLCK`, `LOCK_SH`).
    Shared,
    /// Nobody else has one (`F_WRLCK`, `LOCK_EX`).
    Exclusive,
}

/// Bytes of a file, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRange {
    /// The first byte.
    pub first: u64,
    /// The last byte; `i64::MAX` reaches to the end, wherever that will be.
    pub last: u64,
}

impl LockRange {
    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether they overlap or follow each other without a gap.
    fn touches(&self, other: &Self) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }
}

/// Whose a record lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOwner {
    /// A descriptor table's, set by this process.
    Table(LockOwner, i32),
    /// An open file's.
    Open(OpenId),
}

impl RecordOwner {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Table(owner, _), Self::Table(other, _)) => owner == other,
            (Self::Open(id), Self::Open(other)) => id == other,
            _ => false,
        }
    }
}

/// Identifies an open file while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenId(usize);

impl OpenId {
    /// The identity of an open file.
    pub fn of(open: &OpenFile) -> Self {
        Self(core::ptr::from_ref(open).addr())
    }
}

/// A lock on some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLock {
    /// Whose.
    pub owner: RecordOwner,
    /// How.
    pub kind: LockKind,
    /// Which bytes.
    pub range: LockRange,
}

/// A file, by device and inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file with these numbers.
    pub fn new(device: u64, inode: u64) -> Self {
        Self { device, inode }
    }

    /// The file behind an open file.
    pub fn of(open: &OpenFile) -> Result<Self, Errno> {
        let attributes = open.file().attributes()?;
        Ok(Self { device: attributes.device, inode: attributes.inode })
    }
}

/// A lock by `flock`, and the process that took it.
struct WholeLock {
    id: OpenId,
    kind: LockKind,
    process: i32,
}

/// The locks of one file.
#[derive(Default)]
struct Locks {
    /// In groups by owner, whoever came first first; each group by position.
    records: Vec<RecordLock>,
    /// Locks on the whole file by `flock`; they do not see record locks.
    whole: Vec<WholeLock>,
}

impl Locks {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.whole.is_empty()
    }

    fn conflict(&self, wanted: &RecordLock) -> Option<RecordLock> {
        let conflicts = |lock: &&RecordLock| {
            !lock.owner.is_same(&wanted.owner)
                && lock.range.overlaps(&wanted.range)
                && (lock.kind == LockKind::Exclusive || wanted.kind == LockKind::Exclusive)
        };
        self.records.iter().find(conflicts).copied()
    }

    fn has_exclusive(&self, owner: &RecordOwner, range: LockRange) -> bool {
        let is_it = |lock: &RecordLock| {
            lock.owner.is_same(owner) && lock.kind == LockKind::Exclusive && lock.range.overlaps(&range)
        };
        self.records.iter().any(is_it)
    }

    /// Takes `range` away from the locks of `owner`. What overlaps at both ends falls into two, and is the only one
    /// then.
    fn cut(&mut self, owner: &RecordOwner, range: LockRange) {
        let mut place = 0;
        let mut split = None;
        self.records.retain_mut(|lock| {
            let LockRange { first, last } = lock.range;
            if lock.owner.is_same(owner) && lock.range.overlaps(&range) {
                let tail = LockRange { first: range.last.saturating_add(1), last };
                match (first < range.first, range.last < last) {
                    (false, false) => return false,
                    (false, true) => lock.range = tail,
                    (true, has_tail) => {
                        lock.range.last = range.first - 1;
                        split = has_tail.then_some((place + 1, RecordLock { range: tail, ..*lock }));
                    }
                }
            }
            place += 1;
            true
        });
        if let Some((place, tail)) = split {
            self.records.insert(place, tail);
        }
    }

    /// Adds a lock and makes it one with those of the same owner and kind that it touches.
    fn add(&mut self, mut lock: RecordLock) {
        let own = |other: &RecordLock| other.owner.is_same(&lock.owner);
        let group = self.records.iter().position(own).unwrap_or(self.records.len());
        self.cut(&lock.owner, lock.range);
        self.records.retain(|other| {
            let is_joined =
                other.owner.is_same(&lock.owner) && other.kind == lock.kind && other.range.touches(&lock.range);
            if is_joined {
                lock.range.first = lock.range.first.min(other.range.first);
                lock.range.last = lock.range.last.max(other.range.last);
            }
            !is_joined
        });
        let is_before = |other: &RecordLock| other.owner.is_same(&lock.owner) && other.range.first < lock.range.first;
        let place = self.records.iter().skip(group).take_while(|other| is_before(other)).count() + group;
        self.records.insert(place.min(self.records.len()), lock);
    }
}

/// Somebody waits for a POSIX lock.
struct Wait {
    number: u64,
    wanted: RecordLock,
    file: FileId,
    /// The first lock that is in the way.
    blocker: RecordLock,
}

/// How an attempt to take a record lock ends.
enum Taking {
    Taken,
    /// It took the place of an exclusive one of the same owner: others may go on.
    Weakened,
    /// By this one.
    Blocked(RecordLock),
}

/// All locks, and who waits for POSIX locks.
struct Table {
    files: BTreeMap<FileId, Locks>,
    waits: Vec<Wait>,
    last_wait: u64,
}

static TABLE: Mutex<Table> =
    Mutex::new(rank::FD_TABLE, Table { files: BTreeMap::new(), waits: Vec::new(), last_wait: 0 });
static RELEASES: WaitQueue = WaitQueue::new();

impl Table {
    /// Changes the locks of a file, and forgets the file when it has none left.
    fn change<R>(&mut self, file: FileId, change: impl FnOnce(&mut Locks) -> R) -> R {
        let locks = self.files.entry(file).or_default();
        let result = change(locks);
        if locks.is_empty() {
            self.files.remove(&file);
        }
        result
    }

    /// What an owner gave up is in nobody's way. Who waited will see what is, when it looks again.
    fn forget_blocker(&mut self, file: FileId, owner: &RecordOwner) {
        self.waits.retain(|wait| wait.file != file || !wait.blocker.owner.is_same(owner));
    }

    /// Whether `owner` would wait for itself if it waited for `blocker`.
    fn is_deadlock(&self, owner: &RecordOwner, blocker: &RecordOwner) -> bool {
        let mut chain = alloc::vec![*blocker];
        let mut next = 0;
        while let Some(at) = chain.get(next).copied() {
            if at.is_same(owner) {
                return true;
            }
            let is_link =
                |wait: &&Wait| matches!(wait.wanted.owner, RecordOwner::Table(..)) && wait.wanted.owner.is_same(&at);
            for wait in self.waits.iter().filter(is_link) {
                let owner = wait.blocker.owner;
                if chain.len() < CHAIN_MAX && !chain.iter().any(|other| other.is_same(&owner)) {
                    chain.push(owner);
                }
            }
            next += 1;
        }
        false
    }

    /// Takes a record lock, or answers the one that stands in its way.
    fn lock(&mut self, file: FileId, lock: RecordLock) -> Result<Taking, Errno> {
        let taking = self.change(file, |locks| {
            if let Some(other) = locks.conflict(&lock) {
                return Ok(Taking::Blocked(other));
            }
            if locks.records.len() >= LOCKS_MAX {
                return Err(Errno::ENOLCK);
            }
            let is_weaker = lock.kind == LockKind::Shared && locks.has_exclusive(&lock.owner, lock.range);
            locks.add(lock);
            Ok(if is_weaker { Taking::Weakened } else { Taking::Taken })
        })?;
        if matches!(taking, Taking::Weakened) {
            self.forget_blocker(file, &lock.owner);
        }
        Ok(taking)
    }
}

/// Woken whenever a lock is released.
pub fn releases() -> &'static WaitQueue {
    &RELEASES
}

/// Wakes those who wait for a lock.
fn released() {
    RELEASES.wake_all();
}

/// The lock that stands in the way of `wanted`, if one does.
pub fn conflict(file: FileId, wanted: &RecordLock) -> Option<RecordLock> {
    TABLE.lock().files.get(&file)?.conflict(wanted)
}

/// The first lock that `owner` itself has in a range.
pub fn own_lock(file: FileId, owner: &RecordOwner, range: LockRange) -> Option<RecordLock> {
    let table = TABLE.lock();
    let locks = table.files.get(&file)?;
    locks.records.iter().find(|lock| lock.owner.is_same(owner) && lock.range.overlaps(&range)).copied()
}

/// Takes a record lock; false when another stands in the way. `ENOLCK` when there are too many.
pub fn lock_record(file: FileId, lock: RecordLock) -> Result<bool, Errno> {
    let taking = TABLE.lock().lock(file, lock)?;
    Ok(finish(&taking))
}

/// Whether a lock was taken. Without the table's lock: who can go on is woken.
fn finish(taking: &Taking) -> bool {
    if matches!(taking, Taking::Weakened) {
        released();
    }
    !matches!(taking, Taking::Blocked(_))
}

/// A wait for a record lock, from the first attempt to the last.
#[derive(Default)]
pub struct LockWait {
    number: Option<u64>,
}

impl LockWait {
    /// As [`lock_record`] for someone who is going to wait and try again: `EDEADLK` when that would be for ever.
    pub fn attempt(&mut self, file: FileId, wanted: RecordLock) -> Result<bool, Errno> {
        let mut table = TABLE.lock();
        self.leave(&mut table);
        let taking = table.lock(file, wanted)?;
        let Taking::Blocked(other) = taking else {
            drop(table);
            return Ok(finish(&taking));
        };
        if let (RecordOwner::Table(..), RecordOwner::Table(..)) = (wanted.owner, other.owner)
            && table.is_deadlock(&wanted.owner, &other.owner)
        {
            return Err(Errno::EDEADLK);
        }
        table.last_wait += 1;
        let number = table.last_wait;
        table.waits.push(Wait { number, wanted, file, blocker: other });
        self.number = Some(number);
        Ok(false)
    }

    fn leave(&mut self, table: &mut Table) {
        if let Some(number) = self.number.take() {
            table.waits.retain(|wait| wait.number != number);
        }
    }
}

impl Drop for LockWait {
    fn drop(&mut self) {
        if self.number.is_some() {
            self.leave(&mut TABLE.lock());
        }
    }
}

/// Gives up the record locks of an owner in a range.
pub fn unlock_records(file: FileId, owner: &RecordOwner, range: LockRange) {
    let mut table = TABLE.lock();
    table.change(file, |locks| locks.cut(owner, range));
    table.forget_blocker(file, owner);
    drop(table);
    released();
}

/// Every byte of a file.
pub const WHOLE_FILE: LockRange = LockRange { first: 0, last: u64::MAX >> 1 };

/// `flock` by a process: takes the lock on the whole file, instead of the one the open file had, which is lost even if the new one cannot
/// be had (false).
pub fn lock_whole(file: FileId, id: OpenId, kind: LockKind, process: i32) -> bool {
    let (is_locked, had_other) = TABLE.lock().change(file, |locks| {
        if locks.whole.iter().any(|lock| lock.id == id && lock.kind == kind) {
            return (true, false);
        }
        let before = locks.whole.len();
        locks.whole.retain(|lock| lock.id != id);
        let had_other = locks.whole.len() < before;
        let is_shared = |lock: &WholeLock| lock.kind == LockKind::Shared && kind == LockKind::Shared;
        let is_free = locks.whole.iter().all(is_shared);
        if is_free {
            locks.whole.push(WholeLock { id, kind, process });
        }
        (is_free, had_other)
    });
    if had_other {
        released();
    }
    is_locked
}

/// `flock` with `LOCK_UN`.
pub fn unlock_whole(file: FileId, id: OpenId) {
    TABLE.lock().change(file, |locks| locks.whole.retain(|lock| lock.id != id));
    released();
}

/// A lock as `/proc/locks` shows it.
pub struct ShownLock {
    /// The number of the lock, which those who wait for it have as well.
    pub number: usize,
    /// It is waited for.
    pub is_waiting: bool,
    /// By which call it was taken: `FLOCK`, `POSIX`, `OFDLCK`.
    pub call: &'static str,
    /// How.
    pub kind: LockKind,
    /// Which process took it; -1 for one that belongs to an open file.
    pub process: i32,
    /// Device number of the file system.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Which bytes.
    pub range: LockRange,
}

/// All locks and those who wait for POSIX locks.
pub fn all() -> Vec<ShownLock> {
    let table = TABLE.lock();
    let mut shown = Vec::new();
    let mut number = 0;
    let record = |number, file: &FileId, lock: &RecordLock, is_waiting| {
        let (call, process) = match lock.owner {
            RecordOwner::Table(_, process) => ("POSIX", process),
            RecordOwner::Open(_) => ("OFDLCK", -1),
        };
        let RecordLock { kind, range, .. } = *lock;
        ShownLock { number, is_waiting, call, kind, process, device: file.device, inode: file.inode, range }
    };
    for (file, locks) in &table.files {
        for &WholeLock { kind, process, .. } in &locks.whole {
            number += 1;
            let FileId { device, inode } = *file;
            let (call, range) = ("FLOCK", WHOLE_FILE);
            shown.push(ShownLock { number, is_waiting: false, call, kind, process, device, inode, range });
        }
        for lock in &locks.records {
            number += 1;
            shown.push(record(number, file, lock, false));
            let waits_for_it = |wait: &&Wait| {
                let is_first = wait.blocker.range.first == lock.range.first;
                wait.file == *file && wait.blocker.owner.is_same(&lock.owner) && is_first
            };
            let waits = table.waits.iter().filter(waits_for_it);
            shown.extend(waits.map(|wait| record(number, file, &wait.wanted, true)));
        }
    }
    shown
}

/// Gives up everything an open file had locked.
pub(crate) fn release_open(open: &OpenFile) {
    let Ok(file) = FileId::of(open) else { return };
    let id = OpenId::of(open);
    let owner = RecordOwner::Open(id);
    let mut table = TABLE.lock();
    table.change(file, |locks| {
        locks.whole.retain(|lock| lock.id != id);
        locks.records.retain(|lock| lock.owner != owner);
    });
    table.forget_blocker(file, &owner);
    drop(table);
    released();
}

/// Gives up the POSIX locks a descriptor table had on a file.
pub(crate) fn release_table(open: &OpenFile, owner: LockOwner) {
    let Ok(file) = FileId::of(open) else { return };
    unlock_records(file, &RecordOwner::Table(owner, 0), WHOLE_FILE);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: RecordOwner = RecordOwner::Table(LockOwner(1), 10);
    const BOB: RecordOwner = RecordOwner::Table(LockOwner(2), 20);

    fn lock(owner: RecordOwner, kind: LockKind, first: u64, last: u64) -> RecordLock {
        RecordLock { owner, kind, range: LockRange { first, last } }
    }

    fn shown(locks: &Locks) -> Vec<(LockKind, u64, u64)> {
        let mut all: Vec<_> = locks.records.iter().map(|lock| (lock.kind, lock.range.first, lock.range.last)).collect();
        all.sort_by_key(|lock| lock.1);
        all
    }

    #[test]
    fn locks_join_split_and_convert() {
        use LockKind::{Exclusive, Shared};
        let mut locks = Locks::default();
        locks.add(lock(ALICE, Shared, 0, 9));
        locks.add(lock(ALICE, Shared, 10, 19));
        assert_eq!(shown(&locks), [(Shared, 0, 19)]);
        locks.add(lock(ALICE, Exclusive, 5, 6));
        assert_eq!(shown(&locks), [(Shared, 0, 4), (Exclusive, 5, 6), (Shared, 7, 19)]);
        locks.cut(&ALICE, LockRange { first: 2, last: 7 });
        assert_eq!(shown(&locks), [(Shared, 0, 1), (Shared, 8, 19)]);
        locks.cut(&BOB, WHOLE_FILE);
        assert_eq!(locks.records.len(), 2);
        locks.add(lock(ALICE, Shared, 0, WHOLE_FILE.last));
        assert_eq!(shown(&locks), [(Shared, 0, WHOLE_FILE.last)]);
    }

    #[test]
    fn a_chain_that_leads_back_is_a_deadlock() {
        use LockKind::Exclusive;
        const CAROL: RecordOwner = RecordOwner::Table(LockOwner(3), 30);
        let file = FileId { device: 1, inode: 1 };
        let mut table = Table { files: BTreeMap::new(), waits: Vec::new(), last_wait: 0 };
        let mut wait = |owner, blocker| {
            let [wanted, blocker] = [owner, blocker].map(|owner| lock(owner, Exclusive, 0, 0));
            table.waits.push(Wait { number: 0, wanted, file, blocker });
        };
        wait(ALICE, BOB);
        wait(ALICE, CAROL);
        wait(BOB, CAROL);
        assert!(table.is_deadlock(&CAROL, &ALICE));
        assert!(table.is_deadlock(&CAROL, &BOB));
        assert!(!table.is_deadlock(&ALICE, &CAROL));
        table.forget_blocker(file, &CAROL);
        assert!(!table.is_deadlock(&CAROL, &BOB));
        assert!(table.is_deadlock(&BOB, &ALICE));
    }

    #[test]
    fn only_others_conflict() {
        use LockKind::{Exclusive, Shared};
        let mut locks = Locks::default();
        locks.add(lock(ALICE, Shared, 0, 9));
        assert_eq!(locks.conflict(&lock(BOB, Shared, 5, 5)), None);
        assert_eq!(locks.conflict(&lock(BOB, Exclusive, 9, 20)), Some(lock(ALICE, Shared, 0, 9)));
        assert_eq!(locks.conflict(&lock(BOB, Exclusive, 10, 20)), None);
        assert_eq!(locks.conflict(&lock(ALICE, Exclusive, 0, 20)), None);
    }
}
