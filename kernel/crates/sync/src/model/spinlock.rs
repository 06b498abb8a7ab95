//! Spinlocks exclude, and publish what they protect.

use alloc::sync::Arc;

use loom::thread;

use super::{explore, explore_bounded};
use crate::rank;
use crate::spinlock::{IrqSpinLock, SpinLock};
use crate::test_machine::InterruptFlag;

#[test]
fn additions_are_not_lost() {
    explore(|| {
        let lock = Arc::new(SpinLock::new(rank::FILE_TABLES, 0));
        let other = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || *lock.lock() += 1)
        };
        *lock.lock() += 1;
        other.join().unwrap();
        assert_eq!(*lock.lock(), 2);
    });
}

#[test]
fn a_try_excludes_too() {
    explore(|| {
        let lock = Arc::new(SpinLock::new(rank::FILE_TABLES, 0));
        let other = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || lock.try_lock().map(|mut value| *value += 1).is_some())
        };
        *lock.lock() += 1;
        let has_added = other.join().unwrap();
        assert_eq!(*lock.lock(), 1 + u32::from(has_added));
    });
}

/// A thread and the handler that interrupts it, and a thread on another CPU: were the lock taken before interrupts are
/// disabled, or released after they are enabled, the handler would wait for the thread it interrupted.
#[test]
fn a_handler_never_waits_for_what_it_interrupted() {
    explore_bounded(Some(3), || {
        let lock = Arc::new(IrqSpinLock::new(rank::DRIVER, 0));
        let flag = InterruptFlag::new();
        let interrupted = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                flag.belongs_to_caller();
                *lock.lock() += 1;
            })
        };
        let handler = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || flag.interrupt(|| *lock.lock() += 1))
        };
        *lock.lock() += 1;
        interrupted.join().unwrap();
        handler.join().unwrap();
        assert_eq!(*lock.lock(), 3);
    });
}

#[test]
fn interrupts_stay_disabled_until_the_outermost_lock_is_released() {
    explore_bounded(Some(3), || {
        let locks = Arc::new((IrqSpinLock::new(rank::DRIVER, 0), IrqSpinLock::new(rank::CONSOLE, 0)));
        let flag = InterruptFlag::new();
        let handler = {
            let locks = Arc::clone(&locks);
            thread::spawn(move || {
                flag.interrupt(|| {
                    let (first, second) = (*locks.0.lock(), *locks.1.lock());
                    assert_eq!(first, second);
                });
            })
        };
        flag.belongs_to_caller();
        {
            let mut first = locks.0.lock();
            *first += 1;
            *locks.1.lock() += 1;
        }
        handler.join().unwrap();
    });
}
