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
use core::ptr;

use crate::atomic::{AtomicPtr, AtomicUsize, Ordering};

struct Entry<T> {
    value: T,
    next: *mut Entry<T>,
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
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.count_max {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Pushed::Full;
        }
        let entry = Box::into_raw(Box::new(Entry { value, next: ptr::null_mut() }));
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

impl<T> Iterator for Batch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.first.is_null() {
            return None;
        }
        // SAFETY: entries came from `Box::into_raw`, and the batch alone has them.
        let entry = unsafe { Box::from_raw(self.first) };
        self.first = entry.next;
        Some(entry.value)
    }
}

impl<T> Drop for Batch<T> {
    fn drop(&mut self) {
        self.for_each(drop);
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
