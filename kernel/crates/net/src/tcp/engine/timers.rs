//! [`Timers`]: what is due when.

use sync::machine::NEVER;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Timer {
    /// Nothing was acknowledged in time, or a window stays closed: whichever of the two there can be.
    Retransmit,
    /// A tail loss probe (RFC 8985, 7).
    Probe,
    /// What RACK still waits for (RFC 8985, 6.2, step 5).
    Reorder,
    /// An acknowledgement that was held back.
    Acknowledge,
    /// The connection has been quiet.
    Keepalive,
    /// The end of FIN-WAIT-2 without an owner, or of TIME-WAIT.
    Linger,
    /// A segment that was corked, or held back for more.
    Cork,
    /// The next burst, at the rate that was set.
    Pace,
}

const COUNT: usize = 8;

/// A deadline each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    deadlines_ns: [u64; COUNT],
}

impl Timers {
    /// None is set.
    pub(super) const fn new() -> Self {
        Self { deadlines_ns: [NEVER; COUNT] }
    }

    /// Sets one.
    pub(super) fn set(&mut self, timer: Timer, at_ns: u64) {
        self.deadlines_ns[timer as usize] = at_ns;
    }

    /// Stops one.
    pub(super) fn stop(&mut self, timer: Timer) {
        self.deadlines_ns[timer as usize] = NEVER;
    }

    /// Stops all.
    pub(super) fn stop_all(&mut self) {
        self.deadlines_ns = [NEVER; COUNT];
    }

    /// When one is due.
    pub(super) const fn at(&self, timer: Timer) -> u64 {
        self.deadlines_ns[timer as usize]
    }

    /// Whether one is set.
    pub(super) const fn is_set(&self, timer: Timer) -> bool {
        self.at(timer) != NEVER
    }

    /// When the first is due.
    pub(super) fn first_ns(&self) -> u64 {
        self.deadlines_ns.iter().fold(NEVER, |first_ns, at_ns| first_ns.min(*at_ns))
    }

    /// Stops one that is due, and answers whether it was.
    pub(super) fn take_due(&mut self, timer: Timer, now_ns: u64) -> bool {
        let is_due = self.at(timer) <= now_ns;
        if is_due {
            self.stop(timer);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_once() {
        let mut timers = Timers::new();
        assert_eq!(timers.first_ns(), NEVER);
        timers.set(Timer::Cork, 20);
        timers.set(Timer::Acknowledge, 10);
        assert_eq!((timers.first_ns(), timers.is_set(Timer::Probe)), (10, false));
        assert!(!timers.take_due(Timer::Cork, 19) && timers.take_due(Timer::Acknowledge, 10));
        assert_eq!((timers.first_ns(), timers.take_due(Timer::Acknowledge, 10)), (20, false));
        timers.stop_all();
        assert_eq!(timers.first_ns(), NEVER);
    }
}
