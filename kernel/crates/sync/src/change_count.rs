//! [`ChangeCount`]: whether something was taken away while somebody took a reference to it without a lock.
//!
//! 1. Things are found in a list under RCU, and counted when they are taken. Who ends a thing wants to be sure that
//!    nobody takes it any more, and to leave it alone when somebody has.
//! 2. Who takes one reads the count of changes before he searches, counts himself as a user, and asks whether the count
//!    is still the same. If not he gives up what he has, and takes it under the lock.
//! 3. Who ends one takes it out of the list first, then counts a change, then looks for users.
//! 4. *Why this is right.* A search that began after the change was counted does not find the thing: it was out of the
//!    list by then. One that began before is told of the change, unless it asked before the change was counted. Then it
//!    was a user before it asked, and with a sequentially consistent fence between the two accesses on both sides (J.
//!    Dekker's exclusion) the other side sees that user.
//!
//! `model/change_count.rs` checks this with loom.

use crate::atomic::{AtomicUsize, Ordering, fence};

/// Counts changes that take things away.
pub struct ChangeCount(AtomicUsize);

impl ChangeCount {
    const_fn! {
        /// No changes.
        pub const fn new() -> Self {
            Self(AtomicUsize::new(0))
        }
    }

    /// What to compare with, read before the search.
    #[inline]
    pub fn now(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Whether nothing was taken away since. The caller has counted himself as a user.
    #[inline]
    #[must_use]
    pub fn is_still(&self, before: usize) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) == before
    }

    /// Counts a change. The caller has taken something out of what is searched, and looks for its users next.
    pub fn note(&self) {
        // Release: a search that begins with the new count does not find what was taken out.
        self.0.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }
}

impl Default for ChangeCount {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told() {
        let changes = ChangeCount::default();
        let before = changes.now();
        assert!(changes.is_still(before));
        changes.note();
        assert!(!changes.is_still(before) && changes.is_still(changes.now()));
    }
}
