//! RCU: nobody frees what a reader sees, by whatever way the CPU of the reader passes.
//!
//! The cell of a value is written when the value is freed, so a reader that still sees it shows as a concurrent access. The
//! value's own memory stays until the readers are gone, whatever goes wrong.

use alloc::boxed::Box;
use alloc::sync::Arc;

use loom::thread;

use super::{explore, explore_bounded};
use crate::atomic::{AtomicU32, Ordering};
use crate::cell::UnsafeCell;
use crate::machine;
use crate::rank;
use crate::rcu::{self, ArcTable, Deferred, Domain, EntryTable, HashMap, RcuCell};

/// What readers see.
struct Value(UnsafeCell<u32>);

// SAFETY: the tests write it when no reader is left; loom checks that this is so.
unsafe impl Sync for Value {}
// SAFETY: as above.
unsafe impl Send for Value {}

impl Value {
    fn new(value: u32) -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(value)))
    }

    fn read(&self) -> u32 {
        // SAFETY: see `Sync`.
        self.0.with(|value| unsafe { *value })
    }

    fn free(&self) {
        // SAFETY: see `Sync`.
        self.0.with_mut(|value| unsafe { *value = u32::MAX });
    }
}

struct Shared {
    domain: Domain,
    cell: RcuCell<Value>,
}

impl Shared {
    fn new() -> Arc<Self> {
        // The main thread is the first of the machine, and has CPU 0.
        assert_eq!(machine::current_cpu(), 0);
        Arc::new(Self { domain: Domain::new(), cell: RcuCell::new(Value::new(0)) })
    }

    /// One read section.
    fn read(&self) -> u32 {
        self.cell.get(&rcu::read()).read()
    }

    /// Replaces the value, and frees the old one when its readers are gone.
    fn update(&self, value: u32) -> Arc<Value> {
        let old = self.cell.replace_unguarded(Value::new(value));
        self.domain.synchronize();
        old.free();
        old
    }
}

/// A CPU that comes online, reads, and idles.
fn read_once(shared: &Shared) -> u32 {
    let cpu = machine::current_cpu();
    shared.domain.idle_exit(cpu);
    let value = shared.read();
    shared.domain.idle_enter(cpu);
    value
}

#[test]
fn a_cpu_that_comes_and_idles_sees_what_is_there() {
    explore(|| {
        let shared = Shared::new();
        let reader = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || read_once(&shared))
        };
        let _old = shared.update(1);
        assert!(reader.join().unwrap() < 2);
    });
}

#[test]
fn a_cpu_that_idles_in_between_sees_what_is_there() {
    explore_bounded(Some(3), || {
        let shared = Shared::new();
        let reader = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || (read_once(&shared), read_once(&shared)))
        };
        let _old = shared.update(1);
        let (first, second) = reader.join().unwrap();
        assert!(first <= second && second < 2);
    });
}

/// The reader's CPU is online from the start, and passes between two sections.
#[test]
fn a_cpu_that_passes_sees_what_is_there() {
    explore(|| {
        let shared = Shared::new();
        shared.domain.idle_exit(1);
        let updater = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.update(1))
        };
        // This is CPU 0, and the updater is CPU 1.
        let first = shared.read();
        shared.domain.quiescent(0);
        let second = shared.read();
        shared.domain.idle_enter(0);
        let _old = updater.join().unwrap();
        assert!(first <= second && second < 2);
    });
}

#[test]
fn two_updaters_and_a_reader() {
    explore_bounded(Some(2), || {
        let shared = Shared::new();
        let updater = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.domain.idle_exit(machine::current_cpu());
                let old = shared.update(1);
                shared.domain.idle_enter(machine::current_cpu());
                old
            })
        };
        let reader = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || read_once(&shared))
        };
        let _mine = shared.update(2);
        // The other may still wait for this CPU.
        shared.domain.idle_enter(0);
        let _other = updater.join().unwrap();
        assert!(reader.join().unwrap() < 3);
    });
}

/// Frees a value when it is dropped, and counts that.
struct Last(Arc<Value>, Arc<AtomicU32>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.free();
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn what_is_deferred_is_freed_once_and_after_its_readers() {
    explore_bounded(Some(3), || {
        let shared = Shared::new();
        let freed = Arc::new(AtomicU32::new(0));
        let reader = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || read_once(&shared))
        };
        let mut kept = alloc::vec::Vec::new();
        // More than a list holds.
        for value in 1..=3 {
            let old = shared.cell.replace_unguarded(Value::new(value));
            kept.push(Arc::clone(&old));
            shared.domain.defer(Deferred::from_box(Box::new(Last(old, Arc::clone(&freed)))));
            shared.domain.reclaim();
        }
        shared.domain.flush();
        assert_eq!(freed.load(Ordering::Relaxed), 3);
        assert!(reader.join().unwrap() < 4);
    });
}

/// A map whose value is written when its node is freed.
#[test]
fn what_a_map_gives_up_is_freed_after_its_readers() {
    explore_bounded(Some(3), || {
        assert_eq!(machine::current_cpu(), 0);
        let (domain, freed) = (Arc::new(Domain::new()), Arc::new(AtomicU32::new(0)));
        let map = Arc::new(HashMap::<u32, Arc<Last>>::new(rank::PROCESS));
        map.insert_unguarded(7, 1, Arc::new(Last(Value::new(1), Arc::clone(&freed))));
        map.insert_unguarded(7, 2, Arc::new(Last(Value::new(2), Arc::clone(&freed))));
        let reader = {
            let (domain, map) = (Arc::clone(&domain), Arc::clone(&map));
            thread::spawn(move || {
                let cpu = machine::current_cpu();
                domain.idle_exit(cpu);
                let section = rcu::read();
                let removed = map.get(7, &1, &section).map(|last| last.0.read());
                let kept = map.get(7, &2, &section).map(|last| last.0.read());
                drop(section);
                domain.idle_enter(cpu);
                (removed, kept)
            })
        };
        let removed = map.remove_unguarded(7, &1, |_| true);
        domain.synchronize();
        drop(removed);
        assert_eq!(freed.load(Ordering::Relaxed), 1);
        let (removed, kept) = reader.join().unwrap();
        assert!(removed.is_none_or(|value| value == 1) && kept == Some(2));
    });
}

/// What readers see of an entry: a key, and something that is written when the entry ends.
type Seen = (u32, Last);
/// One hash for all keys, so that entries lie side by side.
const HASH: u64 = 3;

/// A reader on a CPU of its own looks for `key` and answers what it sees.
fn look_up(domain: &Domain, table: &EntryTable<Seen, u32>, key: u32) -> Option<u32> {
    let cpu = machine::current_cpu();
    domain.idle_exit(cpu);
    let section = rcu::read();
    let found = table.find(HASH, |seen| seen.0 == key, &section).map(|seen| seen.1.0.read());
    drop(section);
    domain.idle_enter(cpu);
    found
}

/// Puts an entry in and waits until what it takes the place of, and slots that are too few, can end.
fn put_entry(
    domain: &Domain,
    table: &EntryTable<Seen, u32>,
    key: u32,
    value: u32,
    freed: &Arc<AtomicU32>,
) -> Option<u32> {
    let mut changes = table.lock();
    let seen = (key, Last(Value::new(value), Arc::clone(freed)));
    let old = changes.put(HASH, |seen| seen.0 == key, seen, value);
    let given_up = changes.into_given_up();
    if !given_up.is_empty() {
        domain.synchronize();
    }
    old
}

/// An entry beside the one that is looked for is taken out, so that it moves back: a reader finds it whole, or not.
#[test]
fn an_entry_that_moves_is_found_whole_or_missed() {
    explore_bounded(Some(3), || {
        assert_eq!(machine::current_cpu(), 0);
        let (domain, freed) = (Arc::new(Domain::new()), Arc::new(AtomicU32::new(0)));
        let table = Arc::new(EntryTable::<Seen, u32>::new(rank::DENTRIES));
        for key in 1..=2 {
            assert_eq!(put_entry(&domain, &table, key, key, &freed), None);
        }
        let reader = {
            let (domain, table) = (Arc::clone(&domain), Arc::clone(&table));
            thread::spawn(move || look_up(&domain, &table, 2))
        };
        let mut changes = table.lock();
        assert_eq!(changes.take(HASH, |seen| seen.0 == 1), Some(1));
        let given_up = changes.into_given_up();
        domain.synchronize();
        drop(given_up);
        assert_eq!(freed.load(Ordering::Relaxed), 1);
        assert!(reader.join().unwrap().is_none_or(|value| value == 2));
        assert_eq!(table.lock().get(HASH, |seen| seen.0 == 2).map(|(_, held)| *held), Some(2));
    });
}

/// An entry takes the place of another: a reader finds the one or the other, and never nothing.
#[test]
fn an_entry_in_the_place_of_another_is_found() {
    explore_bounded(Some(3), || {
        assert_eq!(machine::current_cpu(), 0);
        let (domain, freed) = (Arc::new(Domain::new()), Arc::new(AtomicU32::new(0)));
        let table = Arc::new(EntryTable::<Seen, u32>::new(rank::DENTRIES));
        put_entry(&domain, &table, 1, 1, &freed);
        let reader = {
            let (domain, table) = (Arc::clone(&domain), Arc::clone(&table));
            thread::spawn(move || look_up(&domain, &table, 1))
        };
        assert_eq!(put_entry(&domain, &table, 1, 2, &freed), Some(1));
        assert!(matches!(reader.join().unwrap(), Some(1 | 2)));
    });
}

/// The slots are replaced by more while a reader is in them.
#[test]
fn a_table_grows_beside_a_reader() {
    explore_bounded(Some(2), || {
        assert_eq!(machine::current_cpu(), 0);
        let (domain, freed) = (Arc::new(Domain::new()), Arc::new(AtomicU32::new(0)));
        let table = Arc::new(EntryTable::<Seen, u32>::new(rank::DENTRIES));
        for key in 1..=3 {
            put_entry(&domain, &table, key, key, &freed);
        }
        let reader = {
            let (domain, table) = (Arc::clone(&domain), Arc::clone(&table));
            thread::spawn(move || (look_up(&domain, &table, 3), look_up(&domain, &table, 4)))
        };
        put_entry(&domain, &table, 4, 4, &freed);
        let (old, new) = reader.join().unwrap();
        assert!(old == Some(3) && new.is_none_or(|value| value == 4));
    });
}

/// A user takes something out and leaves; the other, which may find itself alone, must not borrow what is gone.
#[test]
fn a_table_lends_nothing_that_a_user_took_out_before_it_left() {
    explore(|| {
        let freed = Arc::new(AtomicU32::new(0));
        let table = Arc::new(ArcTable::new(1));
        let value = Arc::new(Last(Value::new(1), Arc::clone(&freed)));
        // Stands for the grace period of the memory.
        let _memory = Arc::downgrade(&value);
        drop(table.set(0, Some(value)));
        table.add_user();
        let leaving = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                drop(table.set(0, None));
                assert!(!table.remove_user());
            })
        };
        // A counted reference is safe whatever happens, by counts that loom does not see.
        if table.has_one_user() {
            assert!(table.lend(0).is_none_or(|last| last.0.read() == 1));
        }
        leaving.join().unwrap();
        assert!(table.lend(0).is_none());
        assert_eq!(freed.load(Ordering::Relaxed), 1);
    });
}
