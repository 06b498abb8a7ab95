//! [`Lookout`]: when somebody looks at what others leave in a place that they mostly clear themselves.
//!
//! 1. Whoever leaves something says so ([`Lookout::note`]) and is told if the looker has to hear of it: if it has no
//!    time to look yet.
//! 2. The looker looks when its time has come ([`Lookout::begin`]). As long as something was left since the last look,
//!    it says at once when it looks next, so that those who leave things need not wake it each time. Then it stops.
//! 3. *Why nothing is overlooked.* The one leaves a thing and then reads the time, the other sets the time and then
//!    looks for things, each with a sequentially consistent fence between the two accesses (J. Dekker's exclusion). So
//!    either the looker finds the thing, or who left it finds that there is no look to come, and wakes the looker.
//!
//! `model/lookout.rs` checks this with loom.

use crate::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::machine::NEVER;

/// See the module.
pub struct Lookout {
    /// When the looker looks; [`NEVER`] while it does not.
    at_ns: AtomicU64,
    /// Something was left since it last looked.
    was_used: AtomicBool,
}

impl Lookout {
    const_fn! {
        /// Nothing was left.
        pub const fn new() -> Self {
            Self { at_ns: AtomicU64::new(NEVER), was_used: AtomicBool::new(false) }
        }
    }

    /// When the looker is to look; [`NEVER`] if it need not.
    #[inline]
    #[must_use]
    pub fn at_ns(&self) -> u64 {
        self.at_ns.load(Ordering::Relaxed)
    }

    /// Something was left, before this call. True: the looker is to be woken, so that it hears of the time, `at_ns()`.
    #[inline]
    #[must_use]
    pub fn note(&self, at_ns: impl FnOnce() -> u64) -> bool {
        self.was_used.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let has_none = self.at_ns() == NEVER;
        if has_none {
            self.at_ns.store(at_ns(), Ordering::Relaxed);
        }
        has_none
    }

    /// The looker begins to look, if it is time; the next look is `period_ns` later, if there is one. By one looker.
    #[must_use]
    pub fn begin(&self, now_ns: u64, period_ns: u64) -> bool {
        if now_ns < self.at_ns() {
            return false;
        }
        let goes_on = self.was_used.swap(false, Ordering::Relaxed);
        self.at_ns.store(if goes_on { now_ns.saturating_add(period_ns) } else { NEVER }, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        true
    }
}

impl Default for Lookout {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_go_on_while_there_is_use_and_one_longer() {
        let lookout = Lookout::new();
        assert!(!lookout.begin(1_000, 10));
        assert!(lookout.note(|| 50) && !lookout.note(|| unreachable!("there is a time")));
        assert!(!lookout.begin(49, 10) && lookout.begin(50, 10));
        assert_eq!(lookout.at_ns(), 60);
        assert!(!lookout.note(|| unreachable!("there is a time")));
        assert!(lookout.begin(60, 10) && lookout.begin(70, 10));
        assert_eq!(lookout.at_ns(), NEVER);
        assert!(lookout.note(|| 90));
    }
}
