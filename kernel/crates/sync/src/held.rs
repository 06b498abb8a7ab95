//! The record of the locks that one context of execution holds: what debug builds check the order against.
//!
//! The machine keeps one [`HeldRanks`] for each thread (and for each CPU before it has threads) and returns the
//! current one from `nacre_held_ranks`. An interrupt handler uses the record of the thread it interrupted, and leaves
//! it as it found it. Release builds never call this.
//!
//! Invariant: entries at or above `length` are empty. An interrupt between the two steps of an update therefore sees an
//! empty entry and ignores it.

use core::sync::atomic::{AtomicU16, AtomicUsize, Ordering::Relaxed};

use crate::rank::{self, Rank};

/// The most locks one context may hold at once.
const HELD_MAX: usize = 24;

const EMPTY: u16 = 0;
/// Set in the entry of a spinlock.
const SPINNING: u16 = 0x100;

/// The locks held by one context. It is only ever used by its own context, so its atomics are plain cells that happen
/// to be `Sync`; loom need not see them.
pub struct HeldRanks {
    length: AtomicUsize,
    entries: [AtomicU16; HELD_MAX],
}

impl Default for HeldRanks {
    fn default() -> Self {
        Self::new()
    }
}

impl HeldRanks {
    /// A record that holds nothing.
    pub const fn new() -> Self {
        Self { length: AtomicUsize::new(0), entries: [const { AtomicU16::new(EMPTY) }; HELD_MAX] }
    }

    /// The number of spinlocks held.
    pub fn spinlocks(&self) -> usize {
        self.iter().filter(|entry| entry & SPINNING != 0).count()
    }

    /// True if no lock is held: what must hold when a thread ends or returns to its program.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Checks that a lock of `rank` may be taken now. `nested` permits others of the same rank.
    pub(crate) fn check(&self, rank: Rank, nested: bool) {
        for held in self.iter().map(rank_of) {
            assert!(
                held < rank || (nested && held == rank),
                "lock order: {} is taken while {} is held",
                rank.name(),
                held.name()
            );
        }
    }

    /// Checks that the context may sleep: it holds no spinlock.
    pub(crate) fn check_sleep(&self) {
        if let Some(entry) = self.iter().find(|entry| entry & SPINNING != 0) {
            panic!("sleeping while the spinlock {} is held", rank_of(entry).name());
        }
    }

    /// Checks that the context may take a page fault on user memory.
    pub(crate) fn check_user_access(&self) {
        if let Some(held) = self.iter().map(rank_of).find(|held| *held >= rank::ADDRESS_SPACE) {
            panic!("user memory is accessed while {} is held: use the nofault copy", held.name());
        }
    }

    pub(crate) fn push(&self, rank: Rank, is_spinlock: bool) {
        let index = self.length.load(Relaxed);
        assert!(index < HELD_MAX, "a context holds more than {HELD_MAX} locks");
        self.length.store(index + 1, Relaxed);
        self.entries[index].store(u16::from(rank.0) | if is_spinlock { SPINNING } else { 0 }, Relaxed);
    }

    /// Forgets the most recent lock of this rank and kind. Locks may be released in any order.
    pub(crate) fn pop(&self, rank: Rank, is_spinlock: bool) {
        let wanted = u16::from(rank.0) | if is_spinlock { SPINNING } else { 0 };
        let length = self.length.load(Relaxed);
        match self.entries[..length].iter().rposition(|entry| entry.load(Relaxed) == wanted) {
            Some(index) => self.entries[index].store(EMPTY, Relaxed),
            None => panic!("{} is released by a context that does not hold it", rank.name()),
        }
        let still_held = self.entries[..length].iter().rposition(|entry| entry.load(Relaxed) != EMPTY);
        self.length.store(still_held.map_or(0, |index| index + 1), Relaxed);
    }

    fn iter(&self) -> impl Iterator<Item = u16> {
        self.entries.iter().take(self.length.load(Relaxed)).map(|entry| entry.load(Relaxed)).filter(|e| *e != EMPTY)
    }
}

fn rank_of(entry: u16) -> Rank {
    Rank(entry.to_le_bytes()[0])
}
