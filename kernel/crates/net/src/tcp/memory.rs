//! [`Budget`]: how much connections may take of the machine, all together: for what waits to be read (Linux's `tcp_mem`), and for what is still to
//! be sent when the program has let go (`tcp_max_orphans`).
//!
//! 1. The buffer of a connection bounds what one peer can make us keep; many peers, or one with many connections, are bounded here. When the limit is
//!    reached, each connection keeps as little as its engine may ([`super::engine::Engine::limit_receive`]) and offers windows to match, until readers have made room.
//! 2. No word is shared on the way of data that is read soon: a connection counts in units of [`UNIT`], and not at all up to [`FREE_LEN`].
//!
//! 3. A connection that is closed with bytes to be sent may last for minutes, whatever the program does. It needs a [`Reservation`]; where there is none
//!    it ends with a reset.
//!
//! What packets hold that wait in the queues of flows is not counted; drivers take no more of those when memory is short.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// In these steps a connection counts.
const UNIT: usize = 16 << 10;
/// Up to this a connection counts for nothing.
const FREE_LEN: usize = 4 << 10;
/// What a connection takes beside its bytes.
const CONNECTION_LEN: usize = 2 << 10;

/// What all connections of a stack keep, and may.
pub(super) struct Budget {
    used: AtomicUsize,
    limit: AtomicUsize,
}

impl Budget {
    /// Nothing is kept, and no limit set.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit: AtomicUsize::new(usize::MAX) })
    }

    /// Sets the limit in bytes.
    pub(super) fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Relaxed);
    }
}

/// The part of one connection.
pub(super) struct Share {
    memory: Arc<Budget>,
    counted: usize,
}

impl Share {
    /// The share of a connection that keeps nothing yet.
    pub(super) fn new(memory: &Arc<Budget>) -> Self {
        Self { memory: Arc::clone(memory), counted: 0 }
    }

    /// Notes what the connection keeps now.
    #[inline]
    pub(super) fn note(&mut self, len: usize) {
        // A step back is taken two units late, so that who reads what comes does not count up and down.
        if len > self.counted.max(FREE_LEN) || len.saturating_add(2 * UNIT) <= self.counted || len == 0 {
            self.count(if len <= FREE_LEN { 0 } else { len.next_multiple_of(UNIT) });
        }
    }

    /// Whether there is no more for all.
    pub(super) fn is_limited(&self) -> bool {
        self.memory.used.load(Relaxed) >= self.memory.limit.load(Relaxed)
    }

    fn count(&mut self, counted: usize) {
        if counted > self.counted {
            self.memory.used.fetch_add(counted - self.counted, Relaxed);
        } else if counted < self.counted {
            self.memory.used.fetch_sub(self.counted - counted, Relaxed);
        }
        self.counted = counted;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.count(0);
    }
}

/// The part of a connection without an owner.
pub(super) struct Reservation {
    budget: Arc<Budget>,
    len: usize,
}

impl Reservation {
    /// Takes a part for a connection with `len` bytes to be sent; none if there is no room.
    pub(super) fn take(budget: &Arc<Budget>, len: usize) -> Option<Self> {
        let reservation = Self { budget: Arc::clone(budget), len: len.saturating_add(CONNECTION_LEN) };
        let before = budget.used.fetch_add(reservation.len, Relaxed);
        // Dropped otherwise, which gives it back.
        (before.saturating_add(reservation.len) <= budget.limit.load(Relaxed)).then_some(reservation)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.len, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use testkit as _;

    use super::*;

    #[test]
    fn shares_add_up_and_go_back() {
        let memory = Budget::new();
        memory.set_limit(3 * UNIT);
        let (mut one, mut other) = (Share::new(&memory), Share::new(&memory));
        one.note(FREE_LEN);
        assert_eq!(memory.used.load(Relaxed), 0);
        one.note(UNIT + 1);
        other.note(FREE_LEN + 1);
        assert!(one.is_limited() && other.is_limited());
        one.note(UNIT);
        assert!(one.is_limited(), "it may come back at once");
        one.note(0);
        assert!(!one.is_limited());
        drop(other);
        assert_eq!(memory.used.load(Relaxed), 0);
    }

    #[test]
    fn reservations_are_bounded_and_given_back() {
        let budget = Budget::new();
        budget.set_limit(2 * CONNECTION_LEN + 100);
        let first = Reservation::take(&budget, 100);
        let second = Reservation::take(&budget, 0);
        assert!(first.is_some() && second.is_some() && Reservation::take(&budget, 0).is_none());
        drop(first);
        assert!(Reservation::take(&budget, 100).is_some());
        drop(second);
        assert_eq!(budget.used.load(Relaxed), 0);
    }
}
