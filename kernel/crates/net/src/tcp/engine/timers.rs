//! [`Timers`]: what is due when.
//!
//! Timers are set and stopped with each segment, and fire seldom. So the first one is not kept: [`Timers::wake_ns`] is
//! no later than it, and is found anew when it has come.

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
    wake_ns: u64,
}

impl Timers {
    /// None is set.
    pub(super) const fn new() -> Self {
        Self { deadlines_ns: [NEVER; COUNT], wake_ns: NEVER }
    }

    /// Sets one.
    pub(super) fn set(&mut self, timer: Timer, at_ns: u64) {
        self.deadlines_ns[timer as usize] = at_ns;
        self.wake_ns = self.wake_ns.min(at_ns);
    }

    /// Stops one.
    pub(super) fn stop(&mut self, timer: Timer) {
        self.deadlines_ns[timer as usize] = NEVER;
    }

    /// Stops all.
    pub(super) fn stop_all(&mut self) {
        *self = Self::new();
    }

    /// None is due before this.
    pub(super) const fn wake_ns(&self) -> u64 {
        self.wake_ns
    }

    /// Whether one is due.
    #[inline]
    pub(super) fn has_due(&mut self, now_ns: u64) -> bool {
        self.wake_ns <= now_ns && self.find_due(now_ns)
    }

    #[cold]
    fn find_due(&mut self, now_ns: u64) -> bool {
        self.note_run();
        self.wake_ns <= now_ns
    }

    /// Those that were due were run: the next is another.
    pub(super) fn note_run(&mut self) {
        self.wake_ns = self.deadlines_ns.iter().fold(NEVER, |first_ns, at_ns| first_ns.min(*at_ns));
    }

    /// When one is due.
    pub(super) const fn at(&self, timer: Timer) -> u64 {
        self.deadlines_ns[timer as usize]
    }

    /// Whether one is set.
    pub(super) const fn is_set(&self, timer: Timer) -> bool {
        self.at(timer) != NEVER
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
        assert_eq!(timers.wake_ns(), NEVER);
        timers.set(Timer::Cork, 20);
        timers.set(Timer::Acknowledge, 10);
        assert_eq!((timers.wake_ns(), timers.is_set(Timer::Probe), timers.has_due(9)), (10, false, false));
        assert!(timers.has_due(10) && !timers.take_due(Timer::Cork, 19) && timers.take_due(Timer::Acknowledge, 10));
        assert_eq!((timers.has_due(19), timers.wake_ns(), timers.take_due(Timer::Acknowledge, 19)), (false, 20, false));
        timers.stop_all();
        assert_eq!((timers.wake_ns(), timers.has_due(NEVER - 1)), (NEVER, false));
    }

    #[test]
    fn a_stopped_timer_costs_a_look() {
        let mut timers = Timers::new();
        timers.set(Timer::Probe, 10);
        timers.set(Timer::Retransmit, 30);
        timers.stop(Timer::Probe);
        assert_eq!((timers.wake_ns(), timers.has_due(12), timers.wake_ns()), (10, false, 30));
        timers.stop(Timer::Retransmit);
        timers.set(Timer::Retransmit, 50);
        assert_eq!((timers.has_due(30), timers.wake_ns(), timers.has_due(50)), (false, 50, true));
    }
}
