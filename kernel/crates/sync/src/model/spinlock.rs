//! Spinlocks exclude, and publish what they protect.

use alloc::sync::Arc;

use loom::thread;

use super::explore;
use crate::rank;
use crate::spinlock::SpinLock;

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
