//! [`Mutex`]: a sleeping lock, fair, without a spinlock inside.
//!
//! # 1. The idea
//!
//! The algorithm is the responsibility hand-off of A. Gidenstam and M. Papatriantafilou, "LFthreads: A lock-free thread
//! library" (OPODIS 2007). `count` is the number of contexts that hold the lock or want it. Whoever raises it from 0
//! has the lock; whoever lowers it to 0 has released it. In between, one context is *responsible* for the lock: its
//! holder, or a releaser looking for the next holder. Only the responsible context pops the queue of waiters.
//!
//! # 2. Release
//!
//! A releaser that finds `count` above 1 stays responsible. If it pops a waiter, it grants the lock to it and is done. If
//! the queue is empty, some thread has raised `count` but not queued itself yet. Rather than spin for it, the releaser
//! offers responsibility: it sets `is_offered` and looks at the queue once more. Still empty: the late thread will see the
//! offer. Not empty: it tries to take the offer back; if that fails, another has accepted it.
//!
//! # 3. Acquire
//!
//! A thread that found the lock taken queues itself, then looks for an offer. If it can accept one, it is responsible, and
//! grants the lock to the head of the queue, which may be itself. Then it sleeps until granted.
//!
//! # 4. Why this is right
//!
//! No waiter is lost: the releaser writes `is_offered` and then reads the queue; the waiter writes the queue and then reads
//! `is_offered`; with a sequentially consistent fence between the two accesses on both sides, at least one sees the other.
//!
//! Who accepts finds a waiter: offers are made only when the responsible context has found the queue empty, and nobody pops
//! while an offer stands. So a thread that accepts after it queued itself has not been popped: if it had been, it would
//! hold the lock, and could not be here. For the same reason it does not matter which offer it accepts, its first or a later
//! one, and a flag is enough where LFthreads has a counter. A releaser that takes back an offer, its own or that of a
//! later releaser, is responsible either way, and starts again.
//!
//! `model/mutex.rs` checks this with loom.
//!
//! # 5. What it costs
//!
//! A free lock is taken and released by one atomic addition each. A lock that is waited for passes from thread to thread in
//! the order of arrival, and is nobody's between the grant and the moment the granted thread runs: threads that take one
//! lock all the time march in step. Short sections behind such a lock belong in a [`crate::SpinLock`] or under RCU.
//! The holder may be preempted, and a thread of low priority holds up an urgent one: nothing is inherited here. What programs
//! lock by priority are futexes, which do.
//!
//! # 6. Rules
//!
//! Lock rank: given at creation, in the first band of [`crate::rank`]. Not recursive. No poisoning: a panic ends the
//! kernel. A thread waits uninterruptibly; waits that a signal may end are waits on a [`crate::WaitQueue`].

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
#[cfg(debug_assertions)]
use core::panic::Location;

use crate::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use crate::cell::UnsafeCell;
use crate::machine;
use crate::order;
use crate::rank::Rank;
use crate::waiters::{Waiter, Waiters};

/// The lock without its value.
struct RawMutex {
    count: AtomicUsize,
    is_offered: AtomicBool,
    waiters: Waiters,
}

impl RawMutex {
    const_fn! {
        const fn new() -> Self {
            Self { count: AtomicUsize::new(0), is_offered: AtomicBool::new(false), waiters: Waiters::new() }
        }
    }

    #[inline]
    fn lock(&self, rank: Rank) {
        if self.count.fetch_add(1, Ordering::AcqRel) != 0 {
            order::note_contention(rank);
            self.lock_contended();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.count.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    #[inline]
    fn unlock(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) != 1 {
            self.pass_on();
        }
    }

    /// Section 3. Returns with the lock held.
    #[cold]
    fn lock_contended(&self) {
        let waiter = Waiter::new();
        // SAFETY: this function does not return before `wait` does, which is after the grant.
        unsafe { self.waiters.push(&waiter) };
        fence(Ordering::SeqCst);
        if self.is_offered.load(Ordering::Relaxed) && self.accept() {
            let is_granted = self.grant_next();
            debug_assert!(is_granted, "who accepts an offer is queued");
        }
        waiter.wait();
    }

    /// Section 2. The caller is responsible, and no longer counted.
    #[cold]
    fn pass_on(&self) {
        loop {
            if self.grant_next() {
                return;
            }
            // Release: whoever accepts sees what the lock protects, and the queue as it was left.
            self.is_offered.store(true, Ordering::Release);
            fence(Ordering::SeqCst);
            if self.waiters.is_empty() || !self.accept() {
                return;
            }
        }
    }

    fn accept(&self) -> bool {
        self.is_offered.compare_exchange(true, false, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Grants the lock to the longest waiter. The caller is responsible. False if nobody has queued yet.
    fn grant_next(&self) -> bool {
        match self.waiters.pop() {
            Some(waiter) => {
                // SAFETY: just popped, so not granted before.
                unsafe { Waiter::grant(waiter) };
                true
            }
            None => false,
        }
    }
}

/// A lock whose waiters sleep, served in the order in which they came.
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    rank: Rank,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives one context at a time access to the value, so sharing the lock only moves the value.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: the lock owns its value. Waiters in the queue borrow the lock, so it cannot move under them.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

impl<T> Mutex<T> {
    const_fn! {
        /// A free lock around `value`.
        pub const fn new(rank: Rank, value: T) -> Self {
            Self { raw: RawMutex::new(), rank, value: UnsafeCell::new(value) }
        }
    }

    /// Unwraps the value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock, sleeping while another thread holds it.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.check(false);
        self.raw.lock(self.rank);
        self.guard()
    }

    /// As [`lock`](Self::lock), while locks of the same rank are held. The caller takes such locks in one fixed order,
    /// such as that of their addresses, or parent before child.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock_nested(&self) -> MutexGuard<'_, T> {
        self.check(true);
        self.raw.lock(self.rank);
        self.guard()
    }

    /// Takes the lock if it is free. Does not sleep, but is for thread context all the same: a release may have to run.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        if self.raw.try_lock() { Some(self.guard()) } else { None }
    }

    /// Access without locking, for a sole owner.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: `&mut self` proves that no guard exists.
        self.value.with_mut(|value| unsafe { &mut *value })
    }

    /// Makes the guard of a lock just taken.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    fn guard(&self) -> MutexGuard<'_, T> {
        #[cfg(debug_assertions)]
        if let Some(held) = machine::held_ranks() {
            held.push(self.rank, self.address(), false, Location::caller());
        }
        MutexGuard { mutex: self, not_send: PhantomData }
    }

    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    fn check(&self, is_nested: bool) {
        machine::assert_may_sleep();
        #[cfg(debug_assertions)]
        if let Some(held) = machine::held_ranks() {
            held.check(self.rank, self.address(), is_nested, Location::caller());
        }
        #[cfg(not(debug_assertions))]
        let _ = is_nested;
    }

    /// What the record of held locks knows the lock by.
    #[cfg(debug_assertions)]
    fn address(&self) -> usize {
        core::ptr::from_ref(&self.raw).addr()
    }
}

impl<T: ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Mutex { .. }")
    }
}

/// Access to the value of a [`Mutex`]; releases it when dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// A guard is released by the thread that took it.
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives only shared access to the value.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while this thread holds the lock, and `&self` forbids `deref_mut`.
        self.mutex.value.with(|value| unsafe { &*value })
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists only while this thread holds the lock, and `&mut self` makes the access exclusive.
        self.mutex.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.raw.unlock();
        #[cfg(debug_assertions)]
        if let Some(held) = machine::held_ranks() {
            held.pop(self.mutex.rank, self.mutex.address(), false);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::rank;

    #[test]
    fn threads_exclude_each_other() {
        const ROUNDS: usize = 5_000;
        let mutex = Arc::new(Mutex::new(rank::PIPE, 0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let mutex = Arc::clone(&mutex);
                thread::spawn(move || (0..ROUNDS).for_each(|_| *mutex.lock() += 1))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*mutex.lock(), 4 * ROUNDS);
    }

    #[test]
    fn waiters_are_served_in_the_order_of_arrival() {
        let mutex = Arc::new(Mutex::new(rank::PIPE, Vec::new()));
        let guard = mutex.lock();
        let mut threads = Vec::new();
        for index in 0..4 {
            let other = Arc::clone(&mutex);
            threads.push(thread::spawn(move || other.lock().push(index)));
            while mutex.raw.count.load(Ordering::Relaxed) < index + 2 {
                thread::yield_now();
            }
            // Counted; give it the time to queue.
            thread::sleep(Duration::from_millis(20));
        }
        drop(guard);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*mutex.lock(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_try_of_a_held_lock_fails() {
        let mutex = Mutex::new(rank::PIPE, 1);
        let guard = mutex.lock();
        assert!(mutex.try_lock().is_none());
        drop(guard);
        assert_eq!(mutex.try_lock().map(|value| *value), Some(1));
    }

    #[test]
    fn the_value_comes_out() {
        let mut mutex = Mutex::new(rank::PIPE, 1);
        *mutex.get_mut() += 1;
        assert_eq!(mutex.into_inner(), 2);
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "lock order: PIPE is taken while PIPE is held")]
    fn a_second_lock_of_the_rank_is_told() {
        let (first, second) = (Mutex::new(rank::PIPE, ()), Mutex::new(rank::PIPE, ()));
        let _first = first.lock();
        let _second = second.lock();
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "sleeping while the spinlock FILE_TABLES is held")]
    fn a_mutex_under_a_spinlock_is_told_even_when_free() {
        let spinlock = crate::SpinLock::new(rank::FILE_TABLES, ());
        let mutex = Mutex::new(rank::PIPE, ());
        let _spinning = spinlock.lock();
        let _sleeping = mutex.lock();
    }
}
