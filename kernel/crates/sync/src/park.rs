//! [`Parker`]: a thread's place to sleep, and its token to be woken by.
//!
//! A token that arrives while the thread runs is remembered, so a thread which registers for an event, looks, finds
//! nothing and parks cannot miss the event between the look and the park. Tokens do not add up: a woken thread looks
//! again at everything it waits for.
//!
//! `state` goes EMPTY -> PARKED -> NOTIFIED -> EMPTY, or EMPTY -> NOTIFIED -> EMPTY. Takes no lock.

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::machine::{self, NEVER, PARKED, ThreadHandle};
use crate::wait_queue::Wake;

/// No token, and nobody sleeps.
const EMPTY: u32 = 0;
/// A token is there.
const NOTIFIED: u32 = 1;

/// Lets one thread sleep until another context wakes it. Owned by the thread, shared with its wakers.
#[derive(Debug)]
pub struct Parker {
    state: AtomicU32,
    /// The thread that parks here; valid while `state` is or has been PARKED.
    thread: AtomicU64,
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}

impl Parker {
    const_fn! {
        /// A parker without a token.
        pub const fn new() -> Self {
            Self { state: AtomicU32::new(EMPTY), thread: AtomicU64::new(0) }
        }
    }

    /// Sleeps until there is a token, and takes it. Only one thread, the owner, may call this.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn park(&self) {
        let is_timed_out = self.park_until(NEVER);
        debug_assert!(!is_timed_out);
    }

    /// Sleeps until there is a token, and takes it, or until `deadline_ns` on the clock of [`machine::now_ns`]. Returns
    /// true if the time ran out. A token that is there is taken even if the deadline has passed.
    #[must_use = "says whether the time ran out"]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn park_until(&self, deadline_ns: u64) -> bool {
        machine::assert_may_sleep();
        if self.take_token() {
            return false;
        }
        self.thread.store(machine::current_thread().0, Ordering::Relaxed);
        // Release: a waker that sees PARKED also sees the thread.
        if self.state.compare_exchange(EMPTY, PARKED, Ordering::AcqRel, Ordering::Acquire).is_err() {
            let has_token = self.take_token();
            debug_assert!(has_token, "two threads park on one parker");
            return false;
        }
        loop {
            machine::wait_for_wake(&self.state, deadline_ns);
            if self.take_token() {
                return false;
            }
            if deadline_ns != NEVER && machine::now_ns() >= deadline_ns {
                // A token that arrived since is taken, and counts.
                return self.state.swap(EMPTY, Ordering::AcqRel) != NOTIFIED;
            }
        }
    }

    /// Leaves a token, and wakes the thread if it sleeps. Callable from anywhere, interrupts included.
    pub fn unpark(&self) {
        // AcqRel: what happened before this call is visible to the thread when it takes the token.
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED {
            machine::wake_waiter(ThreadHandle(self.thread.load(Ordering::Relaxed)));
        }
    }

    /// As [`unpark`](Self::unpark), for a caller that goes on with something else: see [`machine::release_waiter`].
    pub fn release(&self) {
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED {
            machine::release_waiter(ThreadHandle(self.thread.load(Ordering::Relaxed)));
        }
    }

    /// Takes the token if there is one, without sleeping.
    pub fn take_token(&self) -> bool {
        self.state.compare_exchange(NOTIFIED, EMPTY, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

impl Wake for Parker {
    #[inline]
    fn wake(&self, _events: u32) -> bool {
        self.unpark();
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_token_is_remembered_once() {
        let parker = Parker::new();
        parker.unpark();
        parker.unpark();
        parker.park();
        assert!(parker.park_until(machine::now_ns() + 1_000_000));
    }

    #[test]
    fn a_token_counts_after_the_deadline() {
        let parker = Parker::new();
        parker.unpark();
        assert!(!parker.park_until(0));
        assert!(parker.park_until(0));
    }

    #[test]
    fn a_sleeper_is_woken() {
        let parker = Arc::new(Parker::new());
        let other = Arc::clone(&parker);
        let waker = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            other.unpark();
        });
        parker.park();
        waker.join().unwrap();
    }
}
