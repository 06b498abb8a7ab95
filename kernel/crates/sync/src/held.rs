//! The record of the locks that one context of execution holds: what debug builds check the order against.
//!
//! The machine keeps one [`HeldRanks`] for each thread (and for each CPU before it has threads) and returns the
//! current one from `nacre_held_ranks`. An interrupt handler uses the record of the thread it interrupted, and leaves
//! it as it found it. Release builds never call this.
//!
//! Each entry knows where its lock was taken, so that a report names both places: where the lock that is in the way was
//! taken, and where the code is that meets it. [`crate::order`] adds where the right order was seen first.
//!
//! Invariant: entries at or above `length` are empty. An update is made with interrupts off: an interrupt between its steps
//! would take the entry that is about to be filled for a free one, and cut it off when it forgets its own.

use core::fmt::Write;
use core::panic::Location;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU16, AtomicUsize, Ordering::Relaxed};

#[cfg(any(debug_assertions, test))]
use crate::machine;
use crate::order;
use crate::rank::{self, Rank};

/// The place of a call in the source.
pub(crate) type Place = &'static Location<'static>;

/// The most locks and read sections one context may hold at once. Nothing is kept where nothing is checked.
const HELD_MAX: usize = if cfg!(any(debug_assertions, test)) { 48 } else { 0 };

const EMPTY: u16 = 0;
/// Set in the entry of a spinlock.
const SPINNING: u16 = 0x100;
/// Set in the entry of an RCU read section, whose rank is none: it has no place in the order, but nothing sleeps in it.
const READING: u16 = 0x200;

/// One lock that is held. The order of the stores is that of the fields, backwards.
struct Entry {
    /// [`EMPTY`], or the rank and what kind it is.
    kind: AtomicU16,
    /// The address of the lock.
    #[cfg(any(debug_assertions, test))]
    lock: AtomicUsize,
    place: AtomicPtr<Location<'static>>,
}

impl Entry {
    const fn new() -> Self {
        Self {
            kind: AtomicU16::new(EMPTY),
            #[cfg(any(debug_assertions, test))]
            lock: AtomicUsize::new(0),
            place: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

/// An entry, read.
#[derive(Clone, Copy)]
struct Held {
    kind: u16,
    #[cfg(any(debug_assertions, test))]
    lock: usize,
    place: Option<Place>,
}

impl Held {
    fn rank(self) -> Rank {
        Rank(self.kind.to_le_bytes()[0])
    }

    fn is_spinlock(self) -> bool {
        self.kind & SPINNING != 0
    }

    fn is_section(self) -> bool {
        self.kind & READING != 0
    }

    fn name(self) -> &'static str {
        if self.is_section() { "an RCU read section" } else { self.rank().name() }
    }
}

/// The locks held by one context. It is only ever used by its own context, so its atomics are plain cells that happen
/// to be `Sync`; loom need not see them.
pub struct HeldRanks {
    length: AtomicUsize,
    entries: [Entry; HELD_MAX],
}

impl Default for HeldRanks {
    fn default() -> Self {
        Self::new()
    }
}

impl HeldRanks {
    /// A record that holds nothing.
    pub const fn new() -> Self {
        Self { length: AtomicUsize::new(0), entries: [const { Entry::new() }; HELD_MAX] }
    }

    /// The number of spinlocks held.
    pub fn spinlocks(&self) -> usize {
        self.iter().filter(|held| held.is_spinlock()).count()
    }

    /// True if no lock is held and no read section open: what must hold when a thread ends or returns to its program.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Writes a line for each lock that is held: its rank and where it was taken.
    pub fn describe(&self, out: &mut dyn Write) -> core::fmt::Result {
        self.iter().try_for_each(|held| write!(out, "\n  {} since {}", held.name(), Told(held.place)))
    }

    /// Checks that the lock `lock` of `rank` may be taken now, at `here`. `is_nested` permits others of the same rank.
    #[cfg(any(debug_assertions, test))]
    pub(crate) fn check(&self, rank: Rank, lock: usize, is_nested: bool, here: Place) {
        for held in self.iter().filter(|held| !held.is_section()) {
            if held.lock == lock {
                let name = rank.name();
                panic!(
                    "self-deadlock: {name} is taken by the context that holds it\n  taken at {here}{}",
                    Report(self)
                );
            }
            let other = held.rank();
            let is_right = other < rank || (is_nested && other == rank);
            if !is_right {
                let (name, other_name) = (rank.name(), other.name());
                let usual = order::first_seen(rank, other);
                panic!(
                    "lock order: {name} is taken while {other_name} is held\n  {name} taken at {here}{}{usual}",
                    Report(self)
                );
            }
            order::note(other, held.place, rank, here);
        }
    }

    /// Checks that the context may sleep at `here`: it holds no spinlock and reads nothing.
    pub(crate) fn check_sleep(&self, here: Place) {
        if let Some(held) = self.iter().find(|held| held.is_spinlock()) {
            panic!("sleeping while the spinlock {} is held\n  sleeping at {here}{}", held.name(), Report(self));
        }
        if self.iter().any(Held::is_section) {
            panic!("sleeping in an RCU read section\n  sleeping at {here}{}", Report(self));
        }
    }

    /// Checks that the context may take a page fault on user memory at `here`.
    pub(crate) fn check_user_access(&self, here: Place) {
        if let Some(held) = self.iter().find(|held| held.is_section() || held.rank() >= rank::CACHE_WRITERS) {
            panic!(
                "user memory is accessed while {} is held: use the nofault copy\n  accessed at {here}{}",
                held.name(),
                Report(self)
            );
        }
    }

    /// Notes a lock just taken at `here`.
    #[cfg(any(debug_assertions, test))]
    pub(crate) fn push(&self, rank: Rank, lock: usize, is_spinlock: bool, here: Place) {
        self.push_entry(kind_of(rank, is_spinlock), lock, here);
    }

    /// Notes a read section begun at `here`.
    #[cfg(any(debug_assertions, test))]
    pub(crate) fn push_section(&self, here: Place) {
        self.push_entry(READING, 0, here);
    }

    #[cfg(any(debug_assertions, test))]
    fn push_entry(&self, kind: u16, lock: usize, here: Place) {
        uninterrupted(|| {
            let index = self.length.load(Relaxed);
            assert!(index < HELD_MAX, "a context holds more than {HELD_MAX} locks{}", Report(self));
            self.length.store(index + 1, Relaxed);
            let entry = &self.entries[index];
            entry.place.store(ptr::from_ref(here).cast_mut(), Relaxed);
            entry.lock.store(lock, Relaxed);
            entry.kind.store(kind, Relaxed);
        });
    }

    /// Forgets a lock. Locks may be released in any order.
    #[cfg(any(debug_assertions, test))]
    pub(crate) fn pop(&self, rank: Rank, lock: usize, is_spinlock: bool) {
        if !self.pop_entry(kind_of(rank, is_spinlock), lock) {
            panic!("{} is released by a context that does not hold it{}", rank.name(), Report(self));
        }
    }

    /// Forgets the read section begun last.
    #[cfg(any(debug_assertions, test))]
    pub(crate) fn pop_section(&self) {
        let is_found = self.pop_entry(READING, 0);
        assert!(is_found, "an RCU read section ends in a context that did not begin it{}", Report(self));
    }

    #[cfg(any(debug_assertions, test))]
    fn pop_entry(&self, kind: u16, lock: usize) -> bool {
        uninterrupted(|| {
            let length = self.length.load(Relaxed);
            let entries = &self.entries[..length];
            let is_wanted = |entry: &Entry| entry.kind.load(Relaxed) == kind && entry.lock.load(Relaxed) == lock;
            let Some(index) = entries.iter().rposition(is_wanted) else { return false };
            entries[index].kind.store(EMPTY, Relaxed);
            let still_held = entries.iter().rposition(|entry| entry.kind.load(Relaxed) != EMPTY);
            self.length.store(still_held.map_or(0, |index| index + 1), Relaxed);
            true
        })
    }

    fn iter(&self) -> impl Iterator<Item = Held> {
        let read = |entry: &Entry| Held {
            kind: entry.kind.load(Relaxed),
            #[cfg(any(debug_assertions, test))]
            lock: entry.lock.load(Relaxed),
            place: order::place(&entry.place),
        };
        self.entries.iter().take(self.length.load(Relaxed)).map(read).filter(|held| held.kind != EMPTY)
    }
}

/// Makes an update with interrupts off. Models have none that take locks.
#[cfg(any(debug_assertions, test))]
fn uninterrupted<T>(update: impl FnOnce() -> T) -> T {
    if cfg!(loom) {
        return update();
    }
    let were_enabled = machine::interrupts_disable_save();
    let result = update();
    machine::interrupts_restore(were_enabled);
    result
}

#[cfg(any(debug_assertions, test))]
fn kind_of(rank: Rank, is_spinlock: bool) -> u16 {
    u16::from(rank.0) | if is_spinlock { SPINNING } else { 0 }
}

/// Shows what a context holds, a line each.
struct Report<'a>(&'a HeldRanks);

impl core::fmt::Display for Report<'_> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.describe(formatter)
    }
}

/// Shows a place, if there is one.
struct Told(Option<Place>);

impl core::fmt::Display for Told {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(place) => place.fmt(formatter),
            None => formatter.write_str("an unknown place"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::{ADDRESS_SPACE, CONSOLE, FILE_TABLES, INODES, WAIT_QUEUES};

    /// A lock of each rank, so to speak: its address is its rank.
    fn push(held: &HeldRanks, rank: Rank, is_spinlock: bool) {
        held.push(rank, usize::from(rank.0), is_spinlock, Location::caller());
    }

    fn check(held: &HeldRanks, rank: Rank, is_nested: bool) {
        held.check(rank, 0x1000, is_nested, Location::caller());
    }

    fn pop(held: &HeldRanks, rank: Rank, is_spinlock: bool) {
        held.pop(rank, usize::from(rank.0), is_spinlock);
    }

    #[test]
    fn later_ranks_may_follow() {
        let held = HeldRanks::new();
        push(&held, INODES, false);
        check(&held, ADDRESS_SPACE, false);
        push(&held, FILE_TABLES, true);
        check(&held, CONSOLE, false);
        assert_eq!(held.spinlocks(), 1);
    }

    #[test]
    #[should_panic(expected = "lock order: INODES is taken while ADDRESS_SPACE is held")]
    fn an_earlier_rank_may_not_follow() {
        let held = HeldRanks::new();
        push(&held, ADDRESS_SPACE, false);
        check(&held, INODES, false);
    }

    #[test]
    #[should_panic(expected = "lock order: INODES is taken while INODES is held")]
    fn the_same_rank_may_not_follow() {
        let held = HeldRanks::new();
        push(&held, INODES, false);
        check(&held, INODES, false);
    }

    #[test]
    fn the_same_rank_may_follow_nested() {
        let held = HeldRanks::new();
        push(&held, INODES, false);
        check(&held, INODES, true);
    }

    #[test]
    #[should_panic(expected = "self-deadlock: INODES is taken by the context that holds it")]
    fn the_same_lock_may_not_follow_nested() {
        let held = HeldRanks::new();
        held.push(INODES, 0x1000, false, Location::caller());
        check(&held, INODES, true);
    }

    #[test]
    fn every_held_lock_counts_not_only_the_last() {
        let held = HeldRanks::new();
        push(&held, INODES, false);
        push(&held, CONSOLE, true);
        pop(&held, CONSOLE, true);
        check(&held, ADDRESS_SPACE, false);
        assert!(!held.is_empty());
    }

    #[test]
    fn locks_are_released_in_any_order() {
        let held = HeldRanks::new();
        push(&held, INODES, false);
        push(&held, FILE_TABLES, true);
        push(&held, WAIT_QUEUES, true);
        pop(&held, FILE_TABLES, true);
        assert_eq!(held.spinlocks(), 1);
        pop(&held, INODES, false);
        pop(&held, WAIT_QUEUES, true);
        assert!(held.is_empty());
        assert_eq!(held.length.load(Relaxed), 0);
    }

    #[test]
    #[should_panic(expected = "does not hold it")]
    fn a_lock_that_is_not_held_is_not_released() {
        pop(&HeldRanks::new(), INODES, false);
    }

    #[test]
    #[should_panic(expected = "sleeping while the spinlock FILE_TABLES is held")]
    fn nothing_sleeps_under_a_spinlock() {
        let held = HeldRanks::new();
        push(&held, FILE_TABLES, true);
        held.check_sleep(Location::caller());
    }

    #[test]
    #[should_panic(expected = "sleeping in an RCU read section")]
    fn nothing_sleeps_in_a_read_section() {
        let held = HeldRanks::new();
        held.push_section(Location::caller());
        held.check_sleep(Location::caller());
    }

    #[test]
    fn read_sections_have_no_place_in_the_order() {
        let held = HeldRanks::new();
        push(&held, CONSOLE, true);
        held.push_section(Location::caller());
        held.push_section(Location::caller());
        pop(&held, CONSOLE, true);
        check(&held, INODES, false);
        held.pop_section();
        held.pop_section();
        assert!(held.is_empty());
        held.check_sleep(Location::caller());
    }

    #[test]
    fn user_memory_may_be_touched_before_the_address_space() {
        let held = HeldRanks::new();
        push(&held, INODES, false);
        held.check_sleep(Location::caller());
        held.check_user_access(Location::caller());
    }

    #[test]
    #[should_panic(expected = "use the nofault copy")]
    fn user_memory_may_not_be_touched_under_the_address_space() {
        let held = HeldRanks::new();
        push(&held, ADDRESS_SPACE, false);
        held.check_user_access(Location::caller());
    }

    /// The message of the panic that `act` ends in.
    fn report(act: impl FnOnce() + std::panic::UnwindSafe) -> std::string::String {
        let panic = std::panic::catch_unwind(act).expect_err("the check fails");
        panic.downcast_ref::<std::string::String>().expect("the message is a formatted one").clone()
    }

    #[test]
    fn a_report_names_all_places() {
        let text = report(|| {
            let held = HeldRanks::new();
            // The right order, for once.
            push(&held, rank::RENAME, false);
            check(&held, rank::MOUNTS.max(rank::DEVICE), false);
            push(&held, rank::DEVICE, false);
            check(&held, rank::RENAME.min(rank::MOUNTS), false);
        });
        let lines: std::vec::Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "lock order: MOUNTS is taken while RENAME is held");
        assert!(lines[1].starts_with("  MOUNTS taken at ") && lines[1].contains("held.rs:"), "{text}");
        assert!(lines[2].starts_with("  RENAME since ") && lines[2].contains("held.rs:"), "{text}");
        assert!(lines[3].starts_with("  DEVICE since ") && lines[3].contains("held.rs:"), "{text}");
    }

    #[test]
    fn a_report_names_where_the_right_order_was_seen() {
        let text = report(|| {
            let first = HeldRanks::new();
            push(&first, rank::TIMERS, true);
            check(&first, rank::FRAMES, false);
            let second = HeldRanks::new();
            push(&second, rank::FRAMES, true);
            check(&second, rank::TIMERS, false);
        });
        let usual = text.lines().last().expect("there are lines");
        assert!(usual.starts_with("  the order TIMERS, FRAMES was first seen at "), "{text}");
        assert_eq!(usual.matches("held.rs:").count(), 2, "{text}");
    }
}
