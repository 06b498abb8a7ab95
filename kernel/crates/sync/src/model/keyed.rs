//! Queues by key: no wake is lost, none is counted twice, and a waiter that gives up knows whether it was woken.
//!
//! The word is a relaxed atomic on purpose: the fences and locks of the queues alone must order it.

use alloc::sync::Arc;

use loom::thread;

use super::{explore, explore_bounded};
use crate::atomic::{AtomicU32, Ordering};
use crate::keyed::{Entry, Key, KeyedQueues, Step, Waiter, Woken};
use crate::park::Parker;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Number(usize);

impl Key for Number {
    fn hash(&self) -> usize {
        self.0
    }
}

const HERE: Number = Number(0);
const THERE: Number = Number(1);

struct Futex {
    queues: KeyedQueues<Number, u32, 2>,
    word: AtomicU32,
}

impl Futex {
    fn new() -> Arc<Self> {
        Arc::new(Self { queues: KeyedQueues::new(), word: AtomicU32::new(0) })
    }

    /// Enqueues if the word is `expected`.
    fn enqueue(&self, waiter: &Arc<Waiter<Number, u32>>, expected: u32) -> bool {
        let arrival = self.queues.arrive(&HERE);
        let is_expected = self.word.load(Ordering::Relaxed) == expected;
        if is_expected {
            arrival.enqueue(waiter, Entry { key: HERE, bits: 1, priority: 0, role: 0 });
        }
        is_expected
    }

    /// Wakes one waiter of a key, by the way that takes no lock if there is none.
    fn wake(&self, key: Number) -> u32 {
        let mut count = 0;
        let mut woken = Woken::new();
        if let Some(mut queue) = self.queues.lock_waited(&key) {
            queue.walk(&key, &mut woken, |_| {
                count += 1;
                Step::WakeAndStop
            });
        }
        count
    }

    /// Moves all waiters.
    fn requeue(&self) -> u32 {
        let mut count = 0;
        let mut woken = Woken::new();
        self.queues.lock_two(&HERE, &THERE).walk_first(&HERE, &mut woken, |_| {
            count += 1;
            Step::Move(THERE)
        });
        count
    }
}

fn waiter() -> (Arc<Parker>, Arc<Waiter<Number, u32>>) {
    let parker = Arc::new(Parker::new());
    (Arc::clone(&parker), Waiter::new(parker))
}

fn sleep(parker: &Parker, waiter: &Waiter<Number, u32>) {
    while !waiter.is_free() {
        parker.park();
    }
}

#[test]
fn a_wake_between_look_and_sleep_is_not_lost() {
    explore(|| {
        let futex = Futex::new();
        let waker = {
            let futex = Arc::clone(&futex);
            thread::spawn(move || {
                futex.word.store(1, Ordering::Relaxed);
                futex.wake(HERE)
            })
        };
        let (parker, waiter) = waiter();
        let has_slept = futex.enqueue(&waiter, 0);
        if has_slept {
            sleep(&parker, &waiter);
        }
        assert_eq!(waker.join().unwrap(), u32::from(has_slept));
        assert!(!futex.queues.has_waiters(&HERE));
    });
}

#[test]
fn who_gives_up_knows_whether_it_was_woken() {
    explore(|| {
        let futex = Futex::new();
        let (_parker, waiter) = waiter();
        assert!(futex.enqueue(&waiter, 0));
        let waker = {
            let futex = Arc::clone(&futex);
            thread::spawn(move || futex.wake(HERE))
        };
        let has_given_up = futex.queues.cancel(&waiter);
        assert_eq!(waker.join().unwrap(), u32::from(!has_given_up));
        assert!(!futex.queues.has_waiters(&HERE));
    });
}

#[test]
fn who_gives_up_is_found_wherever_it_was_moved() {
    explore_bounded(Some(3), || {
        let futex = Futex::new();
        let (_parker, waiter) = waiter();
        assert!(futex.enqueue(&waiter, 0));
        let mover = {
            let futex = Arc::clone(&futex);
            thread::spawn(move || {
                let moved = futex.requeue();
                (moved, futex.wake(THERE))
            })
        };
        let has_given_up = futex.queues.cancel(&waiter);
        let (moved, woken) = mover.join().unwrap();
        assert!(moved >= woken && woken == u32::from(!has_given_up));
        assert!(!futex.queues.has_waiters(&HERE) && !futex.queues.has_waiters(&THERE));
    });
}

#[test]
fn a_waiter_that_is_moved_can_be_woken_there() {
    explore_bounded(Some(3), || {
        let futex = Futex::new();
        let (parker, waiter) = waiter();
        assert!(futex.enqueue(&waiter, 0));
        let mover = {
            let futex = Arc::clone(&futex);
            thread::spawn(move || futex.requeue())
        };
        let waker = {
            let futex = Arc::clone(&futex);
            thread::spawn(move || futex.wake(THERE) + futex.wake(HERE))
        };
        let moved = mover.join().unwrap();
        let woken = waker.join().unwrap();
        assert!(moved + woken >= 1);
        if woken == 0 {
            assert_eq!(futex.wake(THERE), 1);
        }
        sleep(&parker, &waiter);
    });
}

#[test]
fn a_waiter_is_used_again_while_its_waker_lets_go() {
    explore_bounded(Some(3), || {
        let futex = Futex::new();
        let waker = {
            let futex = Arc::clone(&futex);
            thread::spawn(move || {
                for value in 1..=2 {
                    futex.word.store(value, Ordering::Relaxed);
                    futex.wake(HERE);
                }
            })
        };
        let (parker, waiter) = waiter();
        for expected in 0..2 {
            if futex.enqueue(&waiter, expected) {
                sleep(&parker, &waiter);
            }
        }
        waker.join().unwrap();
        assert!(!futex.queues.has_waiters(&HERE));
    });
}

#[test]
fn two_waiters_get_two_wakes() {
    explore_bounded(Some(2), || {
        let futex = Futex::new();
        let waker = {
            let futex = Arc::clone(&futex);
            thread::spawn(move || {
                futex.word.store(1, Ordering::Relaxed);
                futex.wake(HERE) + futex.wake(HERE)
            })
        };
        let other = {
            let futex = Arc::clone(&futex);
            thread::spawn(move || {
                let (parker, waiter) = waiter();
                let has_slept = futex.enqueue(&waiter, 0);
                if has_slept {
                    sleep(&parker, &waiter);
                }
                u32::from(has_slept)
            })
        };
        let (parker, waiter) = waiter();
        let has_slept = futex.enqueue(&waiter, 0);
        if has_slept {
            sleep(&parker, &waiter);
        }
        let slept = u32::from(has_slept) + other.join().unwrap();
        assert_eq!(waker.join().unwrap(), slept);
    });
}
