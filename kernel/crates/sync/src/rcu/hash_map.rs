//! [`HashMap`]: values found by a key under RCU, without a lock and without writing anything.
//!
//! The map is an array of chains. A reader loads the array, and follows the chain of its bucket. Who changes the map does so alone, under the
//! map's own lock: it links a node whose contents are in place by one store, or unlinks one by another, and gives the node up after a grace period.
//!
//! A map that has more values than buckets grows: all nodes are made again in an array twice as large, which takes the place of the
//! old one by one store. Readers see the one or the other, both whole. While there is no memory for that, chains are longer.
//!
//! The caller hashes, with a secret where keys come from outside.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ptr;

use super::{Deferred, ReadGuard};
use crate::atomic::{AtomicPtr, AtomicUsize, Ordering};
use crate::mutex::Mutex;
use crate::rank::Rank;

/// Buckets of a map at first.
const BUCKETS_MIN: usize = 16;
/// No map has more buckets.
const BUCKETS_MAX: usize = 1 << 20;

struct Node<K, V> {
    hash: u64,
    key: K,
    value: V,
    next: AtomicPtr<Node<K, V>>,
}

/// The chains, whose nodes the array owns.
struct Buckets<K, V>(Box<[AtomicPtr<Node<K, V>>]>);

impl<K, V> Buckets<K, V> {
    fn new(count: usize) -> Option<Self> {
        let mut chains = Vec::new();
        chains.try_reserve_exact(count).ok()?;
        chains.extend((0..count).map(|_| AtomicPtr::new(ptr::null_mut())));
        Some(Self(chains.into_boxed_slice()))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits choose a bucket")]
    fn of(&self, hash: u64) -> &AtomicPtr<Node<K, V>> {
        &self.0[hash as usize & (self.0.len() - 1)]
    }
}

impl<K, V> Drop for Buckets<K, V> {
    fn drop(&mut self) {
        for bucket in &self.0 {
            let mut node = bucket.load(Ordering::Relaxed);
            while !node.is_null() {
                // SAFETY: nodes of an array that ends are reached by nobody else, and came from boxes.
                let owned = unsafe { Box::from_raw(node) };
                node = owned.next.load(Ordering::Relaxed);
            }
        }
    }
}

/// A map from keys to values, which readers look at under RCU.
pub struct HashMap<K, V> {
    buckets: AtomicPtr<Buckets<K, V>>,
    count: AtomicUsize,
    changes: Mutex<()>,
}

// SAFETY: readers share values; values are made and dropped by any thread.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for HashMap<K, V> {}
// SAFETY: as above.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for HashMap<K, V> {}

impl<K: Copy + Eq + Send + Sync + 'static, V: Clone + Send + Sync + 'static> HashMap<K, V> {
    /// An empty map whose changes take a lock of this rank.
    pub fn new(rank: Rank) -> Self {
        let buckets = Buckets::new(BUCKETS_MIN).expect("for so few there is memory");
        let buckets = Box::into_raw(Box::new(buckets));
        Self { buckets: AtomicPtr::new(buckets), count: AtomicUsize::new(0), changes: Mutex::new(rank, ()) }
    }

    /// The value of a key, for the length of a read section.
    #[inline]
    pub fn get<'a>(&'a self, hash: u64, key: &K, _section: &'a ReadGuard) -> Option<&'a V> {
        // SAFETY: arrays and nodes that were replaced are freed after a grace period, which the section holds up.
        unsafe {
            let mut node = (*self.buckets.load(Ordering::Acquire)).of(hash).load(Ordering::Acquire);
            while !node.is_null() {
                if (*node).hash == hash && (*node).key == *key {
                    return Some(&(*node).value);
                }
                node = (*node).next.load(Ordering::Acquire);
            }
        }
        None
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values, as they were when each was looked at. Those that come meanwhile may be missing.
    pub fn values(&self) -> Vec<V> {
        let _changes = self.changes.lock();
        let mut values = Vec::with_capacity(self.len());
        // SAFETY: with the lock held nothing is replaced.
        for bucket in unsafe { &(*self.buckets.load(Ordering::Relaxed)).0 } {
            let mut node = bucket.load(Ordering::Relaxed);
            while !node.is_null() {
                // SAFETY: as above: linked nodes live.
                unsafe {
                    values.push((*node).value.clone());
                    node = (*node).next.load(Ordering::Relaxed);
                }
            }
        }
        values
    }

    /// Enters a value. False: the key has one, and keeps it.
    #[cfg(not(loom))]
    pub fn insert(&self, hash: u64, key: K, value: V) -> bool {
        let (is_new, old) = self.insert_unguarded(hash, key, value);
        if let Some(old) = old {
            super::defer(old);
        }
        is_new
    }

    /// Takes a value out, if `is_wanted` says so. The value itself ends after a grace period.
    #[cfg(not(loom))]
    pub fn remove_if(&self, hash: u64, key: &K, is_wanted: impl FnOnce(&V) -> bool) -> bool {
        let removed = self.remove_unguarded(hash, key, is_wanted);
        removed.map(super::defer).is_some()
    }

    /// As `insert`; what was replaced is the caller's to defer.
    pub(crate) fn insert_unguarded(&self, hash: u64, key: K, value: V) -> (bool, Option<Deferred>) {
        let _changes = self.changes.lock();
        // SAFETY: with the lock held the array is not replaced.
        let buckets = unsafe { &*self.buckets.load(Ordering::Relaxed) };
        let bucket = buckets.of(hash);
        let first = bucket.load(Ordering::Relaxed);
        let mut node = first;
        while !node.is_null() {
            // SAFETY: linked nodes live while the lock is held.
            unsafe {
                if (*node).hash == hash && (*node).key == key {
                    return (false, None);
                }
                node = (*node).next.load(Ordering::Relaxed);
            }
        }
        let node = Box::new(Node { hash, key, value, next: AtomicPtr::new(first) });
        // Release: a reader that sees the node sees what is in it.
        bucket.store(Box::into_raw(node), Ordering::Release);
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let is_crowded = count > buckets.0.len() && buckets.0.len() < BUCKETS_MAX;
        (true, if is_crowded { self.grow(buckets) } else { None })
    }

    /// Makes the array twice as large and answers the old one, if there is memory for it. The lock is held.
    fn grow(&self, old: &Buckets<K, V>) -> Option<Deferred> {
        let new = Buckets::new(old.0.len() * 2)?;
        for bucket in &old.0 {
            let mut node = bucket.load(Ordering::Relaxed);
            while !node.is_null() {
                // SAFETY: linked nodes live while the lock is held.
                let from = unsafe { &*node };
                let to = new.of(from.hash);
                let next = AtomicPtr::new(to.load(Ordering::Relaxed));
                let copy = Node { hash: from.hash, key: from.key, value: from.value.clone(), next };
                to.store(Box::into_raw(Box::new(copy)), Ordering::Relaxed);
                node = from.next.load(Ordering::Relaxed);
            }
        }
        // Release: who sees the new array sees all of it.
        let old = self.buckets.swap(Box::into_raw(Box::new(new)), Ordering::AcqRel);
        // SAFETY: the old array came from a box, and is no reader's after a grace period.
        Some(Deferred::from_box(unsafe { Box::from_raw(old) }))
    }

    /// As `remove_if`; the node is the caller's to defer.
    pub(crate) fn remove_unguarded(&self, hash: u64, key: &K, is_wanted: impl FnOnce(&V) -> bool) -> Option<Deferred> {
        let _changes = self.changes.lock();
        // SAFETY: with the lock held neither the array nor a node is freed.
        unsafe {
            let mut link = (*self.buckets.load(Ordering::Relaxed)).of(hash);
            loop {
                let node = link.load(Ordering::Relaxed);
                if node.is_null() {
                    return None;
                }
                if (*node).hash == hash && (*node).key == *key {
                    if !is_wanted(&(*node).value) {
                        return None;
                    }
                    link.store((*node).next.load(Ordering::Relaxed), Ordering::Release);
                    self.count.fetch_sub(1, Ordering::Relaxed);
                    return Some(Deferred::from_box(Box::from_raw(node)));
                }
                link = &(*node).next;
            }
        }
    }
}

impl<K, V> Drop for HashMap<K, V> {
    fn drop(&mut self) {
        // SAFETY: nobody borrows the map any more; the array came from a box.
        drop(unsafe { Box::from_raw(self.buckets.load(Ordering::Relaxed)) });
    }
}

impl<K, V> fmt::Debug for HashMap<K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HashMap({} values)", self.count.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use alloc::sync::Arc;
    use core::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;
    use crate::rank;
    use crate::rcu;

    type Map = HashMap<u32, Arc<u32>>;

    fn find(map: &Map, key: u32) -> Option<u32> {
        let section = rcu::read();
        map.get(u64::from(key % 7), &key, &section).map(|value| **value)
    }

    #[test]
    fn values_are_found_until_they_are_removed_however_it_grows() {
        let map = Map::new(rank::PROCESS);
        for key in 0..500 {
            assert!(map.insert(u64::from(key % 7), key, Arc::new(key * 2)));
            assert!(!map.insert(u64::from(key % 7), key, Arc::new(0)));
        }
        assert_eq!((map.len(), map.values().len()), (500, 500));
        for key in 0..500 {
            assert_eq!(find(&map, key), Some(key * 2));
        }
        assert!(!map.remove_if(3, &3, |value| **value == 7));
        for key in (0..500).step_by(2) {
            assert!(map.remove_if(u64::from(key % 7), &key, |_| true));
            assert!(!map.remove_if(u64::from(key % 7), &key, |_| true));
        }
        assert_eq!((find(&map, 3), find(&map, 4), map.len()), (Some(6), None, 250));
    }

    #[test]
    fn values_end_after_the_grace_period() {
        let value = Arc::new(1);
        let map = Map::new(rank::PROCESS);
        map.insert(1, 1, Arc::clone(&value));
        map.remove_if(1, &1, |_| true);
        rcu::flush();
        assert_eq!(Arc::strong_count(&value), 1);
        map.insert(1, 1, Arc::clone(&value));
        drop(map);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn readers_always_find_what_stays() {
        let map = Arc::new(Map::new(rank::PROCESS));
        let is_over = Arc::new(AtomicBool::new(false));
        map.insert(1, 1000, Arc::new(42));
        let reading = {
            let (map, is_over) = (Arc::clone(&map), Arc::clone(&is_over));
            thread::spawn(move || {
                while !is_over.load(core::sync::atomic::Ordering::Relaxed) {
                    let section = rcu::read();
                    assert_eq!(map.get(1, &1000, &section).map(|value| **value), Some(42));
                }
            })
        };
        for round in 0..20 {
            for key in 0..100 {
                assert!(map.insert(1, round * 100 + key, Arc::new(key)) || round == 10);
            }
            for key in 0..100 {
                map.remove_if(1, &(round * 100 + key), |value| **value != 42);
            }
        }
        is_over.store(true, core::sync::atomic::Ordering::Relaxed);
        reading.join().unwrap();
        rcu::flush();
    }
}
