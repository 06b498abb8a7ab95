//! [`Published`]: pending signals behind a lock, whose set can be looked at without it.
//!
//! The set is published while the lock is held, at the latest when it is released, in the one total order of sequentially
//! consistent accesses. Masks ([`super::ThreadSignals`]) are written in this order too. So of a sender, who adds a signal and
//! then looks at a mask, and a thread, which changes its mask and then looks at the set, at least one sees what the other did.

use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use abi::Sigset;
use sync::{IrqSpinLock, IrqSpinLockGuard, rank};

/// Something with a set of pending signals.
pub(crate) trait Waiting {
    /// The signals that wait.
    fn waiting(&self) -> Sigset;
}

/// Pending signals behind a lock.
pub(crate) struct Published<T> {
    set: AtomicU64,
    lock: IrqSpinLock<T>,
}

impl<T: Waiting> Published<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { set: AtomicU64::new(0), lock: IrqSpinLock::new(rank::SIGNALS, value) }
    }

    /// Which signals wait.
    #[inline]
    pub(crate) fn set(&self) -> Sigset {
        Sigset::from_bits(self.set.load(SeqCst))
    }

    /// Takes the lock.
    #[inline]
    pub(crate) fn lock(&self) -> PublishedGuard<'_, T> {
        PublishedGuard { set: &self.set, guard: self.lock.lock() }
    }

    /// Takes the lock of a thread while that of its process is held.
    #[inline]
    pub(crate) fn lock_nested(&self) -> PublishedGuard<'_, T> {
        PublishedGuard { set: &self.set, guard: self.lock.lock_nested() }
    }
}

/// Access to the value of a [`Published`].
pub(crate) struct PublishedGuard<'a, T: Waiting> {
    set: &'a AtomicU64,
    guard: IrqSpinLockGuard<'a, T>,
}

impl<T: Waiting> PublishedGuard<'_, T> {
    /// Lets everybody see which signals wait now, before the masks of threads are looked at.
    #[inline]
    pub(crate) fn publish(&self) {
        let bits = self.guard.waiting().bits();
        if self.set.load(Relaxed) != bits {
            self.set.store(bits, SeqCst);
        }
    }
}

impl<T: Waiting> Deref for PublishedGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: Waiting> DerefMut for PublishedGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: Waiting> Drop for PublishedGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.publish();
    }
}
