//! Spinlocks: mutual exclusion for a few instructions.
//!
//! [`SpinLock`] is for thread context. [`IrqSpinLock`] is for data that an interrupt handler touches too: it disables
//! interrupts on this CPU while it is held, and its rank stands in the last band of [`crate::rank`].
//!
//! A holder is not preempted: a [`SpinLock`] disables preemption, an [`IrqSpinLock`] interrupts. So it runs until it releases.
//!
//! A critical section must not allocate, sleep, touch user memory or do I/O. Debug builds check the order of ranks, and
//! that nothing sleeps under a spinlock, and tell who holds a lock that is not released. Guards are released in the reverse order of their taking; for [`IrqSpinLock`]
//! this is a duty, because each restores the interrupt flag that it found.
//!
//! The lock is one byte, test-and-test-and-set: with critical sections this short, and with virtual CPUs that the
//! hypervisor may stop at any moment, queueing would make every waiter wait for the one that is not running.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
#[cfg(debug_assertions)]
use core::panic::Location;

use crate::atomic::{AtomicBool, Ordering};
use crate::cell::UnsafeCell;
use crate::machine;
use crate::order;
use crate::rank::Rank;
use crate::turnstile::{Turn, Turnstile};

/// The lock word and its rank.
struct Flag {
    locked: AtomicBool,
    rank: Rank,
    /// Where the lock was taken last. Written by the holder; not loom's, as it decides nothing.
    #[cfg(debug_assertions)]
    place: core::sync::atomic::AtomicPtr<Location<'static>>,
}

impl Flag {
    const_fn! {
        const fn new(rank: Rank) -> Self {
            Self {
                locked: AtomicBool::new(false),
                rank,
                #[cfg(debug_assertions)]
                place: core::sync::atomic::AtomicPtr::new(core::ptr::null_mut()),
            }
        }
    }

    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    fn lock(&self, is_nested: bool) {
        self.check_order(is_nested);
        if !self.try_acquire() {
            self.spin();
        }
        self.record();
    }

    /// Takes the lock that was found taken.
    #[cold]
    #[cfg_attr(debug_assertions, track_caller)]
    fn spin(&self) {
        order::note_contention(self.rank);
        let mut patience = Patience::new();
        loop {
            while self.locked.load(Ordering::Relaxed) {
                machine::spin_hint();
                patience.check(self);
            }
            if self.try_acquire() {
                return;
            }
        }
    }

    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    fn try_lock(&self) -> bool {
        let is_acquired = !self.locked.load(Ordering::Relaxed) && self.try_acquire();
        if is_acquired {
            self.record();
        }
        is_acquired
    }

    #[inline]
    fn try_acquire(&self) -> bool {
        self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline]
    fn unlock(&self) {
        self.locked.store(false, Ordering::Release);
        self.forget();
    }

    /// What the record of held locks knows the lock by.
    #[cfg(debug_assertions)]
    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    #[cfg(debug_assertions)]
    #[track_caller]
    fn check_order(&self, is_nested: bool) {
        if let Some(held) = machine::held_ranks() {
            held.check(self.rank, self.address(), is_nested, Location::caller());
        }
    }

    #[cfg(debug_assertions)]
    #[track_caller]
    fn record(&self) {
        let here = Location::caller();
        self.place.store(core::ptr::from_ref(here).cast_mut(), core::sync::atomic::Ordering::Relaxed);
        if let Some(held) = machine::held_ranks() {
            held.push(self.rank, self.address(), true, here);
        }
    }

    #[cfg(debug_assertions)]
    fn forget(&self) {
        if let Some(held) = machine::held_ranks() {
            held.pop(self.rank, self.address(), true);
        }
    }

    #[cfg(not(debug_assertions))]
    #[inline(always)]
    fn check_order(&self, _is_nested: bool) {}

    #[cfg(not(debug_assertions))]
    #[inline(always)]
    fn record(&self) {}

    #[cfg(not(debug_assertions))]
    #[inline(always)]
    fn forget(&self) {}
}

/// How long debug builds spin for a lock before they give up and tell who holds it.
#[cfg(all(debug_assertions, not(loom)))]
const SPIN_NS_MAX: u64 = if cfg!(test) { 1_000_000_000 } else { 20_000_000_000 };

/// Counts the turns of a busy loop for a lock.
#[cfg(all(debug_assertions, not(loom)))]
struct Patience {
    turns: u32,
    start_ns: Option<u64>,
}

#[cfg(all(debug_assertions, not(loom)))]
impl Patience {
    /// Turns between two looks at the clock.
    const TURNS: u32 = 1 << 12;

    fn new() -> Self {
        Self { turns: 0, start_ns: None }
    }

    #[track_caller]
    fn check(&mut self, flag: &Flag) {
        self.turns = self.turns.wrapping_add(1);
        if !self.turns.is_multiple_of(Self::TURNS) {
            return;
        }
        let now = machine::now_ns();
        let spun_ns = now.saturating_sub(*self.start_ns.get_or_insert(now));
        if spun_ns > SPIN_NS_MAX {
            Self::give_up(flag, spun_ns, Location::caller());
        }
    }

    #[cold]
    fn give_up(flag: &Flag, spun_ns: u64, here: &Location<'_>) -> ! {
        let name = flag.rank.name();
        let ms = spun_ns / 1_000_000;
        match order::place(&flag.place) {
            Some(place) => {
                panic!("the spinlock {name} is not released for {ms} ms\n  wanted at {here}\n  taken at {place}")
            }
            None => panic!("the spinlock {name} is not released for {ms} ms\n  wanted at {here}"),
        }
    }
}

/// Nothing.
#[cfg(not(all(debug_assertions, not(loom))))]
struct Patience;

#[cfg(not(all(debug_assertions, not(loom))))]
impl Patience {
    fn new() -> Self {
        Self
    }

    #[inline(always)]
    fn check(&mut self, _flag: &Flag) {}
}

/// A spinlock for data that only threads touch.
pub struct SpinLock<T: ?Sized> {
    flag: Flag,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives one context at a time access to the value, so sharing the lock only moves the value.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}
// SAFETY: the lock owns its value.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}

impl<T> SpinLock<T> {
    const_fn! {
        /// A free lock around `value`.
        pub const fn new(rank: Rank, value: T) -> Self {
            Self { flag: Flag::new(rank), value: UnsafeCell::new(value) }
        }
    }

    /// Unwraps the value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Takes the lock, spinning while another CPU holds it.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        machine::preemption_disable();
        self.flag.lock(false);
        SpinLockGuard { lock: self, not_send: PhantomData }
    }

    /// As [`lock`](Self::lock), while locks of the same rank are held. The caller takes such locks in one fixed order.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock_nested(&self) -> SpinLockGuard<'_, T> {
        machine::preemption_disable();
        self.flag.lock(true);
        SpinLockGuard { lock: self, not_send: PhantomData }
    }

    /// Takes the lock if it is free.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T>> {
        machine::preemption_disable();
        if self.flag.try_lock() {
            return Some(SpinLockGuard { lock: self, not_send: PhantomData });
        }
        machine::preemption_enable();
        None
    }

    /// Access without locking, for a sole owner.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: `&mut self` proves that no guard exists.
        self.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: ?Sized> fmt::Debug for SpinLock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SpinLock { .. }")
    }
}

/// Access to the value of a [`SpinLock`]; releases it when dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct SpinLockGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
    /// A guard is released by the context that took it.
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives only shared access to the value.
unsafe impl<T: ?Sized + Sync> Sync for SpinLockGuard<'_, T> {}

impl<T: ?Sized> Deref for SpinLockGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while this context holds the lock, and `&self` forbids `deref_mut`.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T: ?Sized> DerefMut for SpinLockGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists only while this context holds the lock, and `&mut self` makes the access exclusive.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: ?Sized> Drop for SpinLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.flag.unlock();
        machine::preemption_enable();
    }
}

/// A spinlock for data that interrupt handlers touch too: interrupts are disabled while it is held.
pub struct IrqSpinLock<T: ?Sized> {
    turnstile: Turnstile,
    flag: Flag,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives one context at a time access to the value, so sharing the lock only moves the value.
unsafe impl<T: ?Sized + Send> Sync for IrqSpinLock<T> {}
// SAFETY: the lock owns its value.
unsafe impl<T: ?Sized + Send> Send for IrqSpinLock<T> {}

impl<T> IrqSpinLock<T> {
    const_fn! {
        /// A free lock around `value`.
        pub const fn new(rank: Rank, value: T) -> Self {
            Self { turnstile: Turnstile::new(), flag: Flag::new(rank), value: UnsafeCell::new(value) }
        }
    }

    /// Unwraps the value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> IrqSpinLock<T> {
    /// Disables interrupts, then takes the lock, spinning while another CPU holds it.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) -> IrqSpinLockGuard<'_, T> {
        let were_enabled = machine::interrupts_disable_save();
        let turn = self.turnstile.pass();
        self.flag.lock(false);
        IrqSpinLockGuard { lock: self, were_enabled, turn, not_send: PhantomData }
    }

    /// As [`lock`](Self::lock), while locks of the same rank are held. The caller takes such locks in one fixed order.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock_nested(&self) -> IrqSpinLockGuard<'_, T> {
        let were_enabled = machine::interrupts_disable_save();
        let turn = self.turnstile.pass();
        self.flag.lock(true);
        IrqSpinLockGuard { lock: self, were_enabled, turn, not_send: PhantomData }
    }

    /// Takes the lock if it is free.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn try_lock(&self) -> Option<IrqSpinLockGuard<'_, T>> {
        let were_enabled = machine::interrupts_disable_save();
        if let Some(turn) = self.turnstile.try_pass()
            && self.flag.try_lock()
        {
            return Some(IrqSpinLockGuard { lock: self, were_enabled, turn, not_send: PhantomData });
        }
        machine::interrupts_restore(were_enabled);
        None
    }

    /// Access without locking, for a sole owner.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: `&mut self` proves that no guard exists.
        self.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: ?Sized> fmt::Debug for IrqSpinLock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("IrqSpinLock { .. }")
    }
}

/// Access to the value of an [`IrqSpinLock`]; releases it and restores the interrupt flag when dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct IrqSpinLockGuard<'a, T: ?Sized> {
    lock: &'a IrqSpinLock<T>,
    were_enabled: bool,
    #[expect(dead_code, reason = "held until dropped")]
    turn: Turn<'a>,
    /// A guard is released by the context that took it.
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives only shared access to the value.
unsafe impl<T: ?Sized + Sync> Sync for IrqSpinLockGuard<'_, T> {}

impl<T: ?Sized> Deref for IrqSpinLockGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while this context holds the lock, and `&self` forbids `deref_mut`.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T: ?Sized> DerefMut for IrqSpinLockGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists only while this context holds the lock, and `&mut self` makes the access exclusive.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: ?Sized> Drop for IrqSpinLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.flag.unlock();
        machine::interrupts_restore(self.were_enabled);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::rank;
    use crate::test_machine::are_interrupts_enabled;

    #[test]
    fn threads_exclude_each_other() {
        const ROUNDS: usize = 20_000;
        let lock = Arc::new(SpinLock::new(rank::FILE_TABLES, 0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let lock = Arc::clone(&lock);
                thread::spawn(move || (0..ROUNDS).for_each(|_| *lock.lock() += 1))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*lock.lock(), 4 * ROUNDS);
    }

    #[test]
    fn a_try_of_a_held_lock_fails_and_leaves_interrupts_alone() {
        let lock = Arc::new(IrqSpinLock::new(rank::DRIVER, ()));
        let guard = lock.lock();
        let other = Arc::clone(&lock);
        thread::spawn(move || {
            assert!(other.try_lock().is_none());
            assert!(are_interrupts_enabled());
        })
        .join()
        .unwrap();
        drop(guard);
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn interrupts_come_back_with_the_outermost_lock() {
        let outer = IrqSpinLock::new(rank::DRIVER, ());
        let inner = IrqSpinLock::new(rank::CONSOLE, ());
        assert!(are_interrupts_enabled());
        {
            let _outer = outer.lock();
            assert!(!are_interrupts_enabled());
            drop(inner.lock());
            assert!(!are_interrupts_enabled());
        }
        assert!(are_interrupts_enabled());
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "lock order: DRIVER is taken while CONSOLE is held")]
    fn the_order_is_checked() {
        let console = IrqSpinLock::new(rank::CONSOLE, ());
        let driver = IrqSpinLock::new(rank::DRIVER, ());
        let _console = console.lock();
        let _driver = driver.lock();
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "sleeping while the spinlock FILE_TABLES is held")]
    fn parking_under_a_spinlock_is_told() {
        let lock = SpinLock::new(rank::FILE_TABLES, ());
        let _guard = lock.lock();
        crate::Parker::new().park();
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "use the nofault copy")]
    fn user_memory_under_a_spinlock_is_told() {
        let lock = SpinLock::new(rank::FILE_TABLES, ());
        let _guard = lock.lock();
        machine::copy_to_user(0x1000, &[0]);
    }

    /// The message of the panic that `act` ends in.
    #[cfg(debug_assertions)]
    fn report(act: impl FnOnce() + Send + 'static) -> std::string::String {
        let panic = thread::spawn(act).join().expect_err("it panics");
        panic.downcast_ref::<std::string::String>().expect("the message is a formatted one").clone()
    }

    /// The places in this file that a report names, in its order.
    #[cfg(debug_assertions)]
    fn lines_named(report: &str) -> std::vec::Vec<u32> {
        let number = |rest: &str| rest.split(':').next().and_then(|number| number.parse().ok());
        report.split("spinlock.rs:").skip(1).filter_map(number).collect()
    }

    #[cfg(debug_assertions)]
    #[test]
    fn a_report_names_both_places() {
        let first = line!() + 4;
        let text = report(|| {
            let console = IrqSpinLock::new(rank::CONSOLE, ());
            let driver = IrqSpinLock::new(rank::DRIVER, ());
            let _console = console.lock();
            let _driver = driver.lock();
        });
        assert_eq!(lines_named(&text)[..2], [first + 1, first], "{text}");
    }

    #[cfg(debug_assertions)]
    #[test]
    fn taking_a_lock_again_is_told_even_nested() {
        let text = report(|| {
            let lock = SpinLock::new(rank::FILE_TABLES, ());
            let _first = lock.lock();
            let _second = lock.lock_nested();
        });
        assert!(text.starts_with("self-deadlock: FILE_TABLES is taken by the context that holds it"), "{text}");
        let lines = lines_named(&text);
        assert_eq!(lines.first().map(|line| line - 1), lines.get(1).copied(), "{text}");
    }

    #[cfg(debug_assertions)]
    #[test]
    fn a_lock_that_is_not_released_is_told_with_its_holder() {
        let lock = Arc::new(SpinLock::new(rank::KERNEL_RANGES, ()));
        let (held_at, _guard) = (line!(), lock.lock());
        let before = order::contentions(rank::KERNEL_RANGES);
        let other = Arc::clone(&lock);
        let text = report(move || drop(other.lock()));
        assert!(text.starts_with("the spinlock KERNEL_RANGES is not released for "), "{text}");
        assert_eq!(lines_named(&text).get(1), Some(&held_at), "{text}");
        assert!(order::contentions(rank::KERNEL_RANGES) > before);
        let mut seen = std::vec::Vec::new();
        order::for_each_contended(|rank, _| seen.push(rank));
        assert!(seen.contains(&rank::KERNEL_RANGES));
    }

    #[cfg(debug_assertions)]
    #[test]
    fn places_of_locks_nested_in_one_rank_are_kept() {
        let (first, second) = (SpinLock::new(rank::PAGE_TABLE, ()), SpinLock::new(rank::PAGE_TABLE, ()));
        let (_first, _second) = (first.lock(), second.lock_nested());
        let (outer, inner) = order::nesting(rank::PAGE_TABLE, rank::PAGE_TABLE).expect("just seen");
        assert_eq!((outer.line(), inner.line()), (line!() - 2, line!() - 2));
    }
}
