//! The queue of threads that wait for a [`crate::Mutex`]: many producers, one consumer, intrusive, lock-free.
//!
//! A waiting thread keeps its [`Waiter`] on its own stack until the lock is granted to it. Producers push on `incoming`, a
//! stack; the consumer, who is the one context responsible for the mutex, takes the whole stack at once, reverses it into
//! `ordered`, and pops from there, so waiters leave in the order in which they came. Taking the whole stack makes the
//! push free of the ABA problem.

use core::ptr;

use crate::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::machine::{self, NEVER, PARKED, ThreadHandle};

/// The lock is not granted yet, and the thread does not sleep.
const WAITING: u32 = 0;
/// The lock is granted; the record may vanish at any moment.
const GRANTED: u32 = 1;

/// One waiting thread, on its stack.
pub(crate) struct Waiter {
    state: AtomicU32,
    thread: ThreadHandle,
    next: AtomicPtr<Waiter>,
}

impl Waiter {
    /// A record for the calling thread.
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU32::new(WAITING),
            thread: machine::current_thread(),
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Sleeps until the lock is granted.
    pub(crate) fn wait(&self) {
        if self.state.compare_exchange(WAITING, PARKED, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        while self.state.load(Ordering::Acquire) != GRANTED {
            machine::wait_for_wake(&self.state, NEVER);
        }
    }

    /// Gives the lock to the thread of this record.
    ///
    /// # Safety
    /// `waiter` has been popped from its queue by the caller and has not been granted yet.
    pub(crate) unsafe fn grant(waiter: *const Waiter) {
        // SAFETY: the thread keeps the record until it sees GRANTED, which is not stored yet.
        let thread = unsafe { (*waiter).thread };
        // SAFETY: as above; the swap is the last access to the record.
        let previous = unsafe { (*waiter).state.swap(GRANTED, Ordering::AcqRel) };
        if previous == PARKED {
            machine::release_waiter(thread);
        }
    }
}

/// The queue. `pop` is for the context that is responsible for the mutex, the rest for everybody.
pub(crate) struct Waiters {
    incoming: AtomicPtr<Waiter>,
    /// Changed by the responsible context only; responsibility passes with release and acquire.
    ordered: AtomicPtr<Waiter>,
}

impl Waiters {
    const_fn! {
        pub(crate) const fn new() -> Self {
            Self { incoming: AtomicPtr::new(ptr::null_mut()), ordered: AtomicPtr::new(ptr::null_mut()) }
        }
    }

    /// Appends a waiter.
    ///
    /// # Safety
    /// The record stays in place until [`Waiter::grant`] was called on it.
    pub(crate) unsafe fn push(&self, waiter: &Waiter) {
        let mut first = self.incoming.load(Ordering::Relaxed);
        loop {
            waiter.next.store(first, Ordering::Relaxed);
            let record = ptr::from_ref(waiter).cast_mut();
            match self.incoming.compare_exchange_weak(first, record, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(current) => first = current,
            }
        }
    }

    /// Takes the longest waiter. For the responsible context only.
    pub(crate) fn pop(&self) -> Option<*const Waiter> {
        let mut first = self.ordered.load(Ordering::Relaxed);
        if first.is_null() {
            first = reverse(self.incoming.swap(ptr::null_mut(), Ordering::AcqRel));
        }
        if first.is_null() {
            return None;
        }
        // SAFETY: queued records are valid, and only the responsible context, this one, unlinks them.
        let next = unsafe { (*first).next.load(Ordering::Relaxed) };
        self.ordered.store(next, Ordering::Relaxed);
        Some(first)
    }

    /// True if nobody was seen waiting. Exact for the responsible context; to others it may look empty for the moment in
    /// which the responsible one moves the records.
    pub(crate) fn is_empty(&self) -> bool {
        self.ordered.load(Ordering::Relaxed).is_null() && self.incoming.load(Ordering::Relaxed).is_null()
    }
}

/// Reverses a chain of records that only the caller can reach.
fn reverse(mut chain: *mut Waiter) -> *mut Waiter {
    let mut reversed = ptr::null_mut();
    while !chain.is_null() {
        // SAFETY: records of the chain are valid until granted, and the caller alone can grant them.
        let next = unsafe { (*chain).next.load(Ordering::Relaxed) };
        // SAFETY: as above.
        unsafe { (*chain).next.store(reversed, Ordering::Relaxed) };
        reversed = chain;
        chain = next;
    }
    reversed
}
