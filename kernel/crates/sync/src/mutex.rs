//! [`Mutex`]: a lock whose waiters sleep.
//!
//! The word says free or held. A waiter enters the queue of waiters, looks once more, and parks; the holder frees the word
//! and wakes the first waiter, which competes for it again. User memory may be touched under locks that stand before
//! [`crate::rank::ADDRESS_SPACE`].

use alloc::sync::Arc;
use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::atomic::{AtomicBool, Ordering};
use crate::cell::UnsafeCell;
use crate::machine;
use crate::park::Parker;
use crate::rank::Rank;
use crate::wait_queue::{WaitNode, WaitQueue};

/// A sleeping lock around a value.
pub struct Mutex<T: ?Sized> {
    is_locked: AtomicBool,
    waiters: WaitQueue,
    #[cfg(debug_assertions)]
    rank: Rank,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives one context at a time access to the value, so sharing the lock only moves the value.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: the lock owns its value.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

impl<T> Mutex<T> {
    const_fn! {
        /// A free lock around `value`.
        pub const fn new(rank: Rank, value: T) -> Self {
            #[cfg(not(debug_assertions))]
            let _ = rank;
            Self {
                is_locked: AtomicBool::new(false),
                waiters: WaitQueue::new(),
                #[cfg(debug_assertions)]
                rank,
                value: UnsafeCell::new(value),
            }
        }
    }

    /// The value, of a lock nobody else has.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock, sleeping while another thread has it.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.check(false);
        if !self.try_acquire() {
            self.lock_slowly();
        }
        self.record();
        MutexGuard { mutex: self }
    }

    /// Takes a second lock of the same rank; the caller states the order between the two.
    pub fn lock_nested(&self) -> MutexGuard<'_, T> {
        self.check(true);
        if !self.try_acquire() {
            self.lock_slowly();
        }
        self.record();
        MutexGuard { mutex: self }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.try_acquire().then(|| {
            self.record();
            MutexGuard { mutex: self }
        })
    }

    /// The value, through the only reference to the lock.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: `&mut self` says that nobody else has the lock.
        self.value.with_mut(|value| unsafe { &mut *value })
    }

    fn try_acquire(&self) -> bool {
        self.is_locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn lock_slowly(&self) {
        machine::assert_may_sleep();
        let parker = Arc::new(Parker::new());
        let node = WaitNode::with_events(parker.clone(), u32::MAX, true);
        self.waiters.add(&node);
        while !self.try_acquire() {
            parker.park();
        }
        self.waiters.remove(&node);
    }

    fn unlock(&self) {
        self.forget();
        self.is_locked.store(false, Ordering::SeqCst);
        self.waiters.wake(u32::MAX);
    }

    #[cfg(debug_assertions)]
    fn check(&self, nested: bool) {
        machine::assert_may_sleep();
        if let Some(held) = machine::held_ranks() {
            held.check(self.rank, nested);
        }
    }

    #[cfg(debug_assertions)]
    fn record(&self) {
        if let Some(held) = machine::held_ranks() {
            held.push(self.rank, false);
        }
    }

    #[cfg(debug_assertions)]
    fn forget(&self) {
        if let Some(held) = machine::held_ranks() {
            held.pop(self.rank, false);
        }
    }

    #[cfg(not(debug_assertions))]
    #[inline(always)]
    fn check(&self, _nested: bool) {}

    #[cfg(not(debug_assertions))]
    #[inline(always)]
    fn record(&self) {}

    #[cfg(not(debug_assertions))]
    #[inline(always)]
    fn forget(&self) {}
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(value) => formatter.debug_tuple("Mutex").field(&&*value).finish(),
            None => formatter.write_str("Mutex(held)"),
        }
    }
}

/// The right to the value; dropping it frees the lock.
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
}

// SAFETY: a shared guard gives `&T` alone.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is ours while the guard lives.
        self.mutex.value.with(|value| unsafe { &*value })
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is ours while the guard lives.
        self.mutex.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.unlock();
    }
}
