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

    #[cfg(any(debug_assertions, test))]
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

    /// Notes a lock just taken.
    #[cfg(any(debug_assertions, test))]
    pub(crate) fn push(&self, rank: Rank, is_spinlock: bool) {
        let index = self.length.load(Relaxed);
        assert!(index < HELD_MAX, "a context holds more than {HELD_MAX} locks");
        self.length.store(index + 1, Relaxed);
        self.entries[index].store(u16::from(rank.0) | if is_spinlock { SPINNING } else { 0 }, Relaxed);
    }

    #[cfg(any(debug_assertions, test))]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::{ADDRESS_SPACE, CONSOLE, FILE_TABLES, INODES, WAIT_QUEUES};

    #[test]
    fn later_ranks_may_follow() {
        let held = HeldRanks::new();
        held.push(INODES, false);
        held.check(ADDRESS_SPACE, false);
        held.push(FILE_TABLES, true);
        held.check(CONSOLE, false);
        assert_eq!(held.spinlocks(), 1);
    }

    #[test]
    #[should_panic(expected = "lock order: INODES is taken while ADDRESS_SPACE is held")]
    fn an_earlier_rank_may_not_follow() {
        let held = HeldRanks::new();
        held.push(ADDRESS_SPACE, false);
        held.check(INODES, false);
    }

    #[test]
    #[should_panic(expected = "lock order: INODES is taken while INODES is held")]
    fn the_same_rank_may_not_follow() {
        let held = HeldRanks::new();
        held.push(INODES, false);
        held.check(INODES, false);
    }

    #[test]
    fn the_same_rank_may_follow_nested() {
        let held = HeldRanks::new();
        held.push(INODES, false);
        held.check(INODES, true);
    }

    #[test]
    fn every_held_lock_counts_not_only_the_last() {
        let held = HeldRanks::new();
        held.push(INODES, false);
        held.push(CONSOLE, true);
        held.pop(CONSOLE, true);
        held.check(ADDRESS_SPACE, false);
        assert!(!held.is_empty());
    }

    #[test]
    fn locks_are_released_in_any_order() {
        let held = HeldRanks::new();
        held.push(INODES, false);
        held.push(FILE_TABLES, true);
        held.push(WAIT_QUEUES, true);
        held.pop(FILE_TABLES, true);
        assert_eq!(held.spinlocks(), 1);
        held.pop(INODES, false);
        held.pop(WAIT_QUEUES, true);
        assert!(held.is_empty());
        assert_eq!(held.length.load(Relaxed), 0);
    }

    #[test]
    #[should_panic(expected = "does not hold it")]
    fn a_lock_that_is_not_held_is_not_released() {
        HeldRanks::new().pop(INODES, false);
    }

    #[test]
    #[should_panic(expected = "sleeping while the spinlock FILE_TABLES is held")]
    fn nothing_sleeps_under_a_spinlock() {
        let held = HeldRanks::new();
        held.push(FILE_TABLES, true);
        held.check_sleep();
    }

    #[test]
    fn user_memory_may_be_touched_before_the_address_space() {
        let held = HeldRanks::new();
        held.push(INODES, false);
        held.check_sleep();
        held.check_user_access();
    }

    #[test]
    #[should_panic(expected = "use the nofault copy")]
    fn user_memory_may_not_be_touched_under_the_address_space() {
        let held = HeldRanks::new();
        held.push(ADDRESS_SPACE, false);
        held.check_user_access();
    }
}
