//! Advisory locks on files: POSIX record locks, open file description locks and `flock`.
//!
//! Locks belong to files, identified by device and inode number, and to owners: a descriptor table (POSIX locks, gone when the
//! table closes any descriptor of the file) or an open file (`flock` and OFD locks, gone with it). One table holds all of
//! them; a file without locks has no entry. Whoever cannot have a lock waits on one queue for any to be released, and tries
//! again.
//!
//! Lock: [`rank::FD_TABLE`] around the table. Deadlocks between processes are not looked for.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use abi::Errno;
use sync::{Mutex, WaitQueue, rank};

use crate::{LockOwner, OpenFile};

/// The most locks in the system.
const LOCKS_MAX: usize = 1 << 16;

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
    /// The file behind an open file.
    pub fn of(open: &OpenFile) -> Result<Self, Errno> {
        let attributes = open.file().attributes()?;
        Ok(Self { device: attributes.device, inode: attributes.inode })
    }
}

/// The locks of one file.
#[derive(Default)]
struct Locks {
    records: Vec<RecordLock>,
    /// Locks on the whole file by `flock`; they do not see record locks.
    whole: Vec<(OpenId, LockKind)>,
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

    /// Takes `range` away from the locks of `owner`; a lock may fall into two.
    fn cut(&mut self, owner: &RecordOwner, range: LockRange) {
        let mut rest = Vec::new();
        self.records.retain(|lock| {
            if !lock.owner.is_same(owner) || !lock.range.overlaps(&range) {
                return true;
            }
            if lock.range.first < range.first {
                let range = LockRange { first: lock.range.first, last: range.first - 1 };
                rest.push(RecordLock { range, ..*lock });
            }
            if lock.range.last > range.last {
                let range = LockRange { first: range.last + 1, last: lock.range.last };
                rest.push(RecordLock { range, ..*lock });
            }
            false
        });
        self.records.append(&mut rest);
    }

    /// Adds a lock and makes it one with those of the same owner and kind that it touches.
    fn add(&mut self, mut lock: RecordLock) {
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
        let place = self.records.partition_point(|other| other.range.first < lock.range.first);
        self.records.insert(place, lock);
    }
}

static LOCKS: Mutex<BTreeMap<FileId, Locks>> = Mutex::new(rank::FD_TABLE, BTreeMap::new());
static RELEASES: WaitQueue = WaitQueue::new();

/// Woken whenever a lock is released.
pub fn releases() -> &'static WaitQueue {
    &RELEASES
}

/// Changes the locks of a file, and forgets the file when it has none left.
fn change<R>(file: FileId, change: impl FnOnce(&mut Locks) -> R) -> R {
    let mut table = LOCKS.lock();
    let locks = table.entry(file).or_default();
    let result = change(locks);
    if locks.is_empty() {
        table.remove(&file);
    }
    result
}

/// Wakes those who wait for a lock.
fn released() {
    RELEASES.wake_all();
}

/// The lock that stands in the way of `wanted`, if one does.
pub fn conflict(file: FileId, wanted: &RecordLock) -> Option<RecordLock> {
    LOCKS.lock().get(&file)?.conflict(wanted)
}

/// The first lock that `owner` itself has in a range.
pub fn own_lock(file: FileId, owner: &RecordOwner, range: LockRange) -> Option<RecordLock> {
    let table = LOCKS.lock();
    table.get(&file)?.records.iter().find(|lock| lock.owner.is_same(owner) && lock.range.overlaps(&range)).copied()
}

/// Takes a record lock; false when another stands in the way. `ENOLCK` when there are too many.
pub fn lock_record(file: FileId, lock: RecordLock) -> Result<bool, Errno> {
    change(file, |locks| {
        if locks.conflict(&lock).is_some() {
            return Ok(false);
        }
        if locks.records.len() >= LOCKS_MAX {
            return Err(Errno::ENOLCK);
        }
        locks.add(lock);
        Ok(true)
    })
}

/// Gives up the record locks of an owner in a range.
pub fn unlock_records(file: FileId, owner: &RecordOwner, range: LockRange) {
    change(file, |locks| locks.cut(owner, range));
    released();
}

/// Every byte of a file.
pub const WHOLE_FILE: LockRange = LockRange { first: 0, last: u64::MAX >> 1 };

/// `flock`: takes the lock on the whole file, instead of the one the open file had, which is lost even if the new one cannot
/// be had (false).
pub fn lock_whole(file: FileId, id: OpenId, kind: LockKind) -> bool {
    let (is_locked, had_other) = change(file, |locks| {
        if locks.whole.contains(&(id, kind)) {
            return (true, false);
        }
        let before = locks.whole.len();
        locks.whole.retain(|(other, _)| *other != id);
        let had_other = locks.whole.len() < before;
        let is_shared = |other: &(OpenId, LockKind)| other.1 == LockKind::Shared && kind == LockKind::Shared;
        let is_free = locks.whole.iter().all(is_shared);
        if is_free {
            locks.whole.push((id, kind));
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
    change(file, |locks| locks.whole.retain(|(other, _)| *other != id));
    released();
}

/// Gives up everything an open file had locked.
pub(crate) fn release_open(open: &OpenFile) {
    let Ok(file) = FileId::of(open) else { return };
    let id = OpenId::of(open);
    change(file, |locks| {
        locks.whole.retain(|(other, _)| *other != id);
        locks.records.retain(|lock| lock.owner != RecordOwner::Open(id));
    });
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
