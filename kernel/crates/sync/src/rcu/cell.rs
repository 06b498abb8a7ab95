//! [`RcuCell`]: a shared value that is replaced as a whole.

use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;

use super::ReadGuard;
#[cfg(not(loom))]
use super::{Deferred, defer};
use crate::atomic::{AtomicPtr, Ordering};

/// A counted reference that readers follow without counting, and writers replace.
pub struct RcuCell<T> {
    /// From `Arc::into_raw`; the cell owns one count.
    value: AtomicPtr<T>,
    owns: PhantomData<Arc<T>>,
}

// SAFETY: the cell hands out shared references and counted ones, to any thread.
unsafe impl<T: Send + Sync> Sync for RcuCell<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Send for RcuCell<T> {}

impl<T: Send + Sync + 'static> RcuCell<T> {
    /// A cell with this value.
    pub fn new(value: Arc<T>) -> Self {
        Self { value: AtomicPtr::new(Arc::into_raw(value).cast_mut()), owns: PhantomData }
    }

    /// The value, for the length of a read section.
    #[inline]
    pub fn get<'a>(&'a self, _section: &'a ReadGuard) -> &'a T {
        // SAFETY: the count that the cell owned when this was loaded is given up after a grace period, which this read section
        // holds up; and the cell itself is borrowed.
        unsafe { &*self.value.load(Ordering::Acquire) }
    }

    /// A counted reference to the value.
    pub fn load(&self) -> Arc<T> {
        let _section = super::read();
        let value = self.value.load(Ordering::Acquire);
        // SAFETY: as in `get`, the count of the cell stays until the section ends: the value is alive, and one may count on.
        unsafe {
            Arc::increment_strong_count(value);
            Arc::from_raw(value)
        }
    }

    /// Replaces the value. May sleep: what was there is deferred.
    #[cfg(not(loom))]
    pub fn replace(&self, value: Arc<T>) {
        defer(Deferred::from_arc(self.swap(value)));
    }

    /// Replaces the value and answers what was there. The caller keeps that reference for a grace period.
    fn swap(&self, value: Arc<T>) -> Arc<T> {
        let old = self.value.swap(Arc::into_raw(value).cast_mut(), Ordering::AcqRel);
        // SAFETY: the count of the cell passes to the caller.
        unsafe { Arc::from_raw(old) }
    }

    /// As [`RcuCell::replace`], with the duty in the name.
    #[cfg(loom)]
    pub(crate) fn replace_unguarded(&self, value: Arc<T>) -> Arc<T> {
        self.swap(value)
    }
}

impl<T> Drop for RcuCell<T> {
    fn drop(&mut self) {
        // SAFETY: nobody borrows the cell, so no section reads through it; its count ends here.
        drop(unsafe { Arc::from_raw(self.value.load(Ordering::Acquire)) });
    }
}

impl<T> fmt::Debug for RcuCell<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RcuCell { .. }")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::sync::atomic::{AtomicBool, AtomicUsize};
    use std::thread;

    use super::*;
    use crate::rcu;

    static LIVE: AtomicUsize = AtomicUsize::new(0);

    /// Two equal numbers, which are made unequal when it ends.
    struct Pair(usize, AtomicUsize);

    impl Pair {
        fn new(number: usize) -> Arc<Self> {
            LIVE.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
            Arc::new(Self(number, AtomicUsize::new(number)))
        }

        fn number(&self) -> usize {
            assert_eq!(self.1.load(core::sync::atomic::Ordering::Relaxed), self.0, "a reader sees what has ended");
            self.0
        }
    }

    impl Drop for Pair {
        fn drop(&mut self) {
            self.1.store(usize::MAX, core::sync::atomic::Ordering::Relaxed);
            LIVE.fetch_sub(1, core::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn readers_see_whole_values_while_one_replaces_them() {
        const ROUNDS: usize = 5_000;
        let cell = Arc::new(RcuCell::new(Pair::new(0)));
        let is_over = Arc::new(AtomicBool::new(false));
        let readers: std::vec::Vec<_> = (0..3)
            .map(|_| {
                let (cell, is_over) = (Arc::clone(&cell), Arc::clone(&is_over));
                thread::spawn(move || {
                    let mut last = 0;
                    while !is_over.load(core::sync::atomic::Ordering::Relaxed) {
                        let number = cell.get(&rcu::read()).number();
                        assert!(number >= last);
                        last = number.max(cell.load().number());
                    }
                })
            })
            .collect();
        for number in 1..=ROUNDS {
            cell.replace(Pair::new(number));
        }
        is_over.store(true, core::sync::atomic::Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        rcu::flush();
        // Other tests defer other things; of these only the last is left.
        assert_eq!(LIVE.load(core::sync::atomic::Ordering::Relaxed), 1);
        assert_eq!(cell.load().number(), ROUNDS);
        drop(cell);
        assert_eq!(LIVE.load(core::sync::atomic::Ordering::Relaxed), 0);
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "sleeping in an RCU read section")]
    fn nothing_waits_for_readers_in_a_read_section() {
        let _section = rcu::read();
        rcu::synchronize();
    }
}
