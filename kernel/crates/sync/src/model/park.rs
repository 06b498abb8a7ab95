//! The parker: a token is never lost, and carries what came before it.

use alloc::sync::Arc;

use loom::thread;

use super::explore;
use crate::atomic::{AtomicU32, Ordering};
use crate::cell::UnsafeCell;
use crate::machine::NEVER;
use crate::park::Parker;

#[test]
fn a_token_is_not_lost() {
    explore(|| {
        let parker = Arc::new(Parker::new());
        let waker = {
            let parker = Arc::clone(&parker);
            thread::spawn(move || parker.unpark())
        };
        parker.park();
        waker.join().unwrap();
        assert!(!parker.take_token());
    });
}

/// Plain data handed from the waker to the sleeper.
struct Parcel(UnsafeCell<u32>);

// SAFETY: the tests write it before the token and read it after; loom checks that this suffices.
unsafe impl Sync for Parcel {}
// SAFETY: as above.
unsafe impl Send for Parcel {}

#[test]
fn a_token_publishes_what_came_before() {
    explore(|| {
        let shared = Arc::new((Parker::new(), Parcel(UnsafeCell::new(0))));
        let waker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                // SAFETY: the sleeper reads only after the token.
                shared.1.0.with_mut(|value| unsafe { *value = 7 });
                shared.0.unpark();
            })
        };
        shared.0.park();
        // SAFETY: the waker wrote before the token, and writes no more.
        assert_eq!(shared.1.0.with(|value| unsafe { *value }), 7);
        waker.join().unwrap();
    });
}

#[test]
fn two_wakers_leave_one_or_two_wakes() {
    explore(|| {
        let shared = Arc::new((Parker::new(), AtomicU32::new(0)));
        let wakers: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.fetch_add(1, Ordering::Relaxed);
                    shared.0.unpark();
                })
            })
            .collect();
        while shared.1.load(Ordering::Relaxed) < 2 {
            shared.0.park();
        }
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

#[test]
fn a_timeout_that_races_with_a_token_keeps_one_of_them() {
    explore(|| {
        let parker = Arc::new(Parker::new());
        let waker = {
            let parker = Arc::clone(&parker);
            thread::spawn(move || parker.unpark())
        };
        let is_timed_out = parker.park_until(0);
        waker.join().unwrap();
        assert_eq!(parker.take_token(), is_timed_out);
    });
}

#[test]
fn a_late_deadline_changes_nothing() {
    explore(|| {
        let parker = Arc::new(Parker::new());
        let waker = {
            let parker = Arc::clone(&parker);
            thread::spawn(move || parker.unpark())
        };
        assert!(!parker.park_until(NEVER - 1));
        waker.join().unwrap();
    });
}
