//! Wait queues: no wake is lost between a waiter's look and its sleep, and exclusive wakes are not swallowed.
//!
//! The conditions are relaxed atomics on purpose: the queue's fences alone must order them.

use alloc::sync::Arc;

use loom::thread;

use super::{explore, explore_bounded};
use crate::atomic::{AtomicU32, Ordering};
use crate::park::Parker;
use crate::wait_queue::{Turn, WaitNode, WaitQueue};

const READY: u32 = 1;

struct Event {
    queue: WaitQueue,
    available: AtomicU32,
}

impl Event {
    fn new() -> Arc<Self> {
        Arc::new(Self { queue: WaitQueue::new(), available: AtomicU32::new(0) })
    }

    fn provide(&self, count: u32) {
        self.available.fetch_add(count, Ordering::Relaxed);
        self.queue.wake(READY);
    }

    fn take(&self) -> bool {
        self.available.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1)).is_ok()
    }

    /// Takes one of what is available, sleeping for it: the protocol of section 1 of the queue's documentation.
    fn wait(&self, is_exclusive: bool) {
        let parker = Arc::new(Parker::new());
        let node = WaitNode::with_events(parker.clone(), READY, is_exclusive);
        loop {
            self.queue.add(&node);
            if self.take() {
                self.queue.remove(&node);
                return;
            }
            parker.park();
        }
    }
}

impl Event {
    /// As `wait`, in turn with others: who leaves something behind wakes the next.
    fn wait_in_turn(&self) {
        let parker = Arc::new(Parker::new());
        let mut turn = Turn::new(&self.queue, WaitNode::with_events(parker.clone(), READY, true));
        while !self.take() {
            parker.park();
            if self.take() {
                break;
            }
            turn.arm();
        }
        turn.finish(|| self.available.load(Ordering::Relaxed) > 0);
    }
}

#[test]
fn one_wake_for_two_reaches_both() {
    explore_bounded(Some(3), || {
        let event = Event::new();
        let waiter = {
            let event = Arc::clone(&event);
            thread::spawn(move || event.wait_in_turn())
        };
        let provider = {
            let event = Arc::clone(&event);
            thread::spawn(move || event.provide(2))
        };
        event.wait_in_turn();
        waiter.join().unwrap();
        provider.join().unwrap();
        assert!(!event.queue.has_waiters());
    });
}

#[test]
fn wakes_that_skip_who_is_on_the_way_lose_nothing() {
    explore_bounded(Some(2), || {
        let event = Event::new();
        let providers = [(); 2].map(|()| {
            let event = Arc::clone(&event);
            thread::spawn(move || event.provide(1))
        });
        event.wait_in_turn();
        event.wait_in_turn();
        providers.into_iter().for_each(|provider| provider.join().unwrap());
        assert!(!event.queue.has_waiters());
    });
}

#[test]
fn a_wake_between_look_and_sleep_is_not_lost() {
    explore(|| {
        let event = Event::new();
        let provider = {
            let event = Arc::clone(&event);
            thread::spawn(move || event.provide(1))
        };
        event.wait(false);
        provider.join().unwrap();
        assert!(!event.queue.has_waiters());
    });
}

#[test]
fn a_plain_store_suffices_as_condition() {
    explore(|| {
        let event = Event::new();
        let provider = {
            let event = Arc::clone(&event);
            thread::spawn(move || {
                event.available.store(1, Ordering::Relaxed);
                event.queue.wake(READY);
            })
        };
        event.queue.block_until(READY, || (event.available.load(Ordering::Relaxed) != 0).then_some(()));
        provider.join().unwrap();
    });
}

#[test]
fn two_wakes_reach_two_exclusive_waiters() {
    explore_bounded(Some(2), || {
        let event = Event::new();
        let waiter = {
            let event = Arc::clone(&event);
            thread::spawn(move || event.wait(true))
        };
        let provider = {
            let event = Arc::clone(&event);
            thread::spawn(move || {
                event.provide(1);
                event.provide(1);
            })
        };
        event.wait(true);
        waiter.join().unwrap();
        provider.join().unwrap();
        assert!(!event.queue.has_waiters());
    });
}

#[test]
fn a_waiter_that_gives_up_passes_its_wake_on() {
    explore_bounded(Some(2), || {
        let event = Event::new();
        // First in line, has found nothing, and will be interrupted.
        let node = WaitNode::with_events(Arc::new(Parker::new()), READY, true);
        event.queue.add(&node);
        let quitter = {
            let event = Arc::clone(&event);
            thread::spawn(move || event.queue.leave(&node))
        };
        let provider = {
            let event = Arc::clone(&event);
            thread::spawn(move || event.provide(1))
        };
        event.wait(true);
        quitter.join().unwrap();
        provider.join().unwrap();
    });
}

#[test]
fn after_removal_a_node_is_free_for_another_queue() {
    explore_bounded(Some(3), || {
        let first = Arc::new(WaitQueue::new());
        let waker = {
            let first = Arc::clone(&first);
            thread::spawn(move || first.wake(READY))
        };
        let second = WaitQueue::new();
        let node = WaitNode::new(Arc::new(Parker::new()));
        first.add(&node);
        assert!(first.remove(&node));
        second.add(&node);
        assert!(!first.remove(&node));
        assert!(second.remove(&node));
        waker.join().unwrap();
        assert_eq!(Arc::strong_count(&node), 1);
    });
}
