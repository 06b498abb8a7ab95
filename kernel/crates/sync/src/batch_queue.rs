//! [`BatchQueue`]: many contexts append, one takes all there is at once.
//!
//! The queue is a stack whose top is an atomic pointer. A producer links its entry on top by compare-exchange; the consumer swaps the
//! whole stack for an empty one and reverses it, so entries come out in the order of their arrival. Nobody pops single entries
//! of the shared stack, so the compare-exchange cannot mistake an old top for a new one (the ABA problem).
//!
//! Compared with [`crate::ring`] it has no slots: an empty queue is three words, for those of which there are ten thousand. Producers
//! may be interrupts: pushing allocates one small object, and neither blocks nor spins for others.
//!
//! The length is bounded by a count that producers raise before they push, and the consumer lowers when it has taken.

use alloc::boxed::Box;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr;

use crate::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// A value with the place that a queue needs for it. Who has one in a box pushes and takes it without moving the value.
pub struct Entry<T> {
    /// The value.
    pub value: T,
    /// Of a queue that has it; means nothing otherwise.
    next: *mut Entry<T>,
}

// SAFETY: `next` is not followed but by the queue that the entry is in, which owns what it leads to.
unsafe impl<T: Send> Send for Entry<T> {}
// SAFETY: as above; a shared entry is in no queue.
unsafe impl<T: Sync> Sync for Entry<T> {}

impl<T> Entry<T> {
    /// An entry in no queue.
    #[inline]
    pub fn new(value: T) -> Box<Self> {
        Box::new(Self { value, next: ptr::null_mut() })
    }
}

impl<T> Deref for Entry<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Entry<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Entry<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(out)
    }
}

/// What became of a value that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in, and was the first: the consumer may have to be told.
    First,
    /// It is in, behind others that the consumer has not taken.
    Behind,
    /// The queue is full; the value was dropped.
    Full,
}

/// A bounded queue that is emptied as a whole.
pub struct BatchQueue<T> {
    top: AtomicPtr<Entry<T>>,
    count: AtomicUsize,
    count_max: usize,
}

// SAFETY: entries are owned by the queue until one context takes them; values only move between contexts.
unsafe impl<T: Send> Sync for BatchQueue<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for BatchQueue<T> {}

impl<T> BatchQueue<T> {
    const_fn! {
        /// An empty queue that holds at most `count_max` values.
        pub const fn new(count_max: usize) -> Self {
            Self { top: AtomicPtr::new(ptr::null_mut()), count: AtomicUsize::new(0), count_max }
        }
    }

    /// Appends a value.
    pub fn push(&self, value: T) -> Pushed {
        if self.take_room() { self.link(Entry::new(value)) } else { Pushed::Full }
    }

    /// Appends an entry where it lies.
    #[inline]
    pub fn push_entry(&self, entry: Box<Entry<T>>) -> Pushed {
        if self.take_room() { self.link(entry) } else { Pushed::Full }
    }

    /// Counts one more value, if there may be.
    #[inline]
    fn take_room(&self) -> bool {
        let has_room = self.count.fetch_add(1, Ordering::Relaxed) < self.count_max;
        if !has_room {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        has_room
    }

    #[inline]
    fn link(&self, entry: Box<Entry<T>>) -> Pushed {
        let entry = Box::into_raw(entry);
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            // SAFETY: the entry is ours until it is linked.
            unsafe { (*entry).next = top };
            // AcqRel: the consumer sees the entry whole, and the ones below it through this one.
            match self.top.compare_exchange_weak(top, entry, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if top.is_null() => return Pushed::First,
                Ok(_) => return Pushed::Behind,
                Err(current) => top = current,
            }
        }
    }

    /// Takes everything that is there, in the order of arrival.
    pub fn take(&self) -> Batch<T> {
        if self.is_empty() {
            return Batch { first: ptr::null_mut() };
        }
        let mut top = self.top.swap(ptr::null_mut(), Ordering::AcqRel);
        let (mut first, mut taken) = (ptr::null_mut(), 0);
        while !top.is_null() {
            // SAFETY: the swap made the chain ours alone.
            let next = unsafe { (*top).next };
            // SAFETY: as above.
            unsafe { (*top).next = first };
            (first, top) = (top, next);
            taken += 1;
        }
        self.count.fetch_sub(taken, Ordering::Relaxed);
        Batch { first }
    }

    /// Whether there was nothing to take a moment ago.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.top.load(Ordering::Acquire).is_null()
    }

    /// How many values are there, roughly; those being pushed count.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl<T> Drop for BatchQueue<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T> fmt::Debug for BatchQueue<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "BatchQueue({} of {})", self.len(), self.count_max)
    }
}

/// What was taken from a queue. Values that are not asked for are dropped with it.
pub struct Batch<T> {
    first: *mut Entry<T>,
}

// SAFETY: the batch owns its entries.
unsafe impl<T: Send> Send for Batch<T> {}

impl<T> Batch<T> {
    /// The next value, where it lies.
    #[inline]
    pub fn next_entry(&mut self) -> Option<Box<Entry<T>>> {
        if self.first.is_null() {
            return None;
        }
        // SAFETY: entries came from `Box::into_raw`, and the batch alone has them.
        let entry = unsafe { Box::from_raw(self.first) };
        self.first = entry.next;
        Some(entry)
    }
}

impl<T> Iterator for Batch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.next_entry().map(|entry| entry.value)
    }
}

impl<T> Drop for Batch<T> {
    fn drop(&mut self) {
        while let Some(entry) = self.next_entry() {
            drop(entry);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use alloc::sync::Arc;
    use std::thread;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn values_come_out_in_order_and_a_full_queue_refuses() {
        let queue = BatchQueue::new(3);
        assert!(queue.is_empty());
        let pushed: Vec<_> = (0..4).map(|value| queue.push(value)).collect();
        assert_eq!(pushed, [Pushed::First, Pushed::Behind, Pushed::Behind, Pushed::Full]);
        assert_eq!((queue.len(), queue.take().collect::<Vec<_>>()), (3, alloc::vec![0, 1, 2]));
        assert_eq!((queue.push(7), queue.len()), (Pushed::First, 1));
    }

    #[test]
    fn what_is_not_taken_is_dropped_once() {
        let value = Arc::new(());
        let queue = BatchQueue::new(2);
        for _ in 0..3 {
            queue.push(Arc::clone(&value));
        }
        assert_eq!(Arc::strong_count(&value), 3);
        let mut batch = queue.take();
        drop(batch.next());
        drop(batch);
        assert_eq!(Arc::strong_count(&value), 1);
        queue.push(Arc::clone(&value));
        drop(queue);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn an_entry_goes_from_queue_to_queue_where_it_lies() {
        let (queue, other) = (BatchQueue::new(1), BatchQueue::new(1));
        let entry = Entry::new(7);
        let place = &raw const *entry;
        assert_eq!(queue.push_entry(entry), Pushed::First);
        assert_eq!(queue.push_entry(Entry::new(8)), Pushed::Full);
        let entry = queue.take().next_entry().expect("it is in");
        assert_eq!((**entry, &raw const *entry), (7, place));
        other.push_entry(entry);
        assert_eq!((queue.len(), other.take().collect::<Vec<_>>()), (0, alloc::vec![7]));
    }

    #[test]
    fn many_producers_lose_nothing_and_keep_their_own_order() {
        const COUNT: usize = 10_000;
        let queue = Arc::new(BatchQueue::new(usize::MAX));
        let pushing: Vec<_> = (0..3)
            .map(|number| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    (0..COUNT).for_each(|value| assert_ne!(queue.push((number, value)), Pushed::Full))
                })
            })
            .collect();
        let (mut next, mut taken) = ([0; 3], 0);
        while taken < 3 * COUNT {
            for (number, value) in queue.take() {
                let number: usize = number;
                assert_eq!(value, next[number]);
                next[number] += 1;
                taken += 1;
            }
            thread::yield_now();
        }
        pushing.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((queue.len(), queue.take().count()), (0, 0));
    }
}
