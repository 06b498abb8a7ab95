//! [`Congestion`]: how much may be in the network.
//!
//! The window and the threshold of slow start are here, in bytes, with what all algorithms share; how the window grows when congestion is to
//! be avoided, and what a loss makes of it, is an [`Avoidance`]'s.
//!
//! # Theory
//!
//! 1. Slow start (RFC 5681, 3.1) doubles the window each round trip until the threshold, by the bytes acknowledged and not by acknowledgements,
//!    as those may stand for many segments. HyStart++ (`hystart`) leaves it before the queue of the path overflows.
//! 2. The first window is ten segments (RFC 6928).
//! 3. The window grows only while it is what limits the sender (RFC 7661): a window that was not used says nothing.
//! 4. After a pause of a timeout or more the window is halved for each that has passed, down to the first window (RFC 2861, and Linux's
//!    `tcp_slow_start_after_idle`).
//! 5. While losses are repaired the window belongs to proportional rate reduction (`recovery`), which reads and sets it.

mod cubic;
mod hystart;
mod reno;

use cubic::Cubic;
use hystart::{HyStart, Phase};
use reno::Reno;

use super::{CongestionAlgorithm, SequenceNumber};

/// The first window in segments.
pub(super) const INITIAL_WINDOW_SEGMENTS: u32 = 10;
/// The largest window: that of the largest scaled one.
const WINDOW_MAX: u32 = 1 << 30;

/// What algorithms differ in.
trait Avoidance {
    /// The threshold, and window, after a loss at this window.
    fn reduce(&mut self, window: u32, mss: u32) -> u32;

    /// By how much the window grows for `bytes` acknowledged.
    fn grow(&mut self, window: u32, mss: u32, bytes: u32, round_trip_ns: u64, now_ns: u64) -> u32;

    /// The sender was idle, or limited by itself, for this long: time that does not count.
    fn skip_time(&mut self, pause_ns: u64);

    /// The loss was none: as before [`Avoidance::reduce`].
    fn undo(&mut self);
}

enum Algorithm {
    Cubic(Cubic),
    Reno(Reno),
}

impl Algorithm {
    fn get(&mut self) -> &mut dyn Avoidance {
        match self {
            Self::Cubic(cubic) => cubic,
            Self::Reno(reno) => reno,
        }
    }
}

/// See the module.
pub(super) struct Congestion {
    window: u32,
    threshold: u32,
    mss: u32,
    hystart: HyStart,
    algorithm: Algorithm,
    kind: CongestionAlgorithm,
    /// Window and threshold before the last reduction, for [`Congestion::undo`].
    before: (u32, u32),
}

impl Congestion {
    /// At the first window.
    pub(super) fn new(kind: CongestionAlgorithm, mss: u32) -> Self {
        let mut congestion = Self {
            window: INITIAL_WINDOW_SEGMENTS * mss,
            threshold: u32::MAX,
            mss,
            hystart: HyStart::default(),
            algorithm: Algorithm::Reno(Reno::default()),
            kind: CongestionAlgorithm::Reno,
            before: (0, 0),
        };
        congestion.choose(kind);
        congestion
    }

    /// Changes the algorithm.
    pub(super) fn choose(&mut self, kind: CongestionAlgorithm) {
        if kind != self.kind {
            self.kind = kind;
            self.algorithm = match kind {
                CongestionAlgorithm::Cubic => Algorithm::Cubic(Cubic::default()),
                CongestionAlgorithm::Reno => Algorithm::Reno(Reno::default()),
            };
        }
    }

    /// Bytes that may be in the network.
    pub(super) const fn window(&self) -> u32 {
        self.window
    }

    /// Where slow start ends; `u32::MAX` when that is not known.
    pub(super) const fn threshold(&self) -> u32 {
        self.threshold
    }

    /// Whether the window doubles.
    pub(super) const fn is_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// Segments have another length from now on. The window keeps its segments while nothing was sent.
    pub(super) fn change_mss(&mut self, mss: u32, has_sent: bool) {
        if !has_sent {
            self.window = self.window / self.mss.max(1) * mss;
        }
        self.mss = mss;
        self.window = self.window.max(mss);
    }

    /// One segment, as after a handshake that lost something (RFC 5681, 3.1).
    pub(super) fn restrict_to_one(&mut self) {
        self.window = self.mss;
    }

    /// Bytes were acknowledged, and nothing is amiss. `acknowledged` is the number up to which all has arrived, `next` the next to be sent.
    pub(super) fn acknowledge(
        &mut self,
        bytes: u32,
        (acknowledged, next): (SequenceNumber, SequenceNumber),
        (sample_ns, smoothed_ns): (Option<u64>, u64),
        now_ns: u64,
    ) {
        let mut bytes = bytes;
        if self.is_slow_start() {
            let divisor = match self.hystart.acknowledge(sample_ns, acknowledged, next) {
                Phase::SlowStart => 1,
                Phase::Conservative => 4,
                Phase::Finished => {
                    self.threshold = self.window;
                    1
                }
            };
            if self.is_slow_start() {
                let growth = (bytes / divisor).min(self.threshold - self.window);
                self.window = (self.window + growth).min(WINDOW_MAX);
                bytes -= (growth * divisor).min(bytes);
                if self.is_slow_start() || bytes == 0 {
                    return;
                }
            }
        }
        let growth = self.algorithm.get().grow(self.window, self.mss, bytes, smoothed_ns, now_ns);
        self.window = self.window.saturating_add(growth).min(WINDOW_MAX);
    }

    /// The network has dropped something: answers the threshold that the window is to come down to.
    pub(super) fn reduce(&mut self) -> u32 {
        self.before = (self.window, self.threshold);
        self.threshold = self.algorithm.get().reduce(self.window, self.mss).max(2 * self.mss);
        self.hystart.finish();
        self.threshold
    }

    /// A timeout: one segment may be in the network (RFC 5681, 3.1).
    pub(super) fn collapse(&mut self) {
        self.window = self.mss;
    }

    /// Sets the window while losses are repaired.
    pub(super) fn set_window(&mut self, window: u32) {
        self.window = window.clamp(self.mss, WINDOW_MAX);
    }

    /// Nothing was lost after all: as before the last reduction.
    pub(super) fn undo(&mut self) {
        self.window = self.window.max(self.before.0);
        self.threshold = self.threshold.max(self.before.1);
        self.algorithm.get().undo();
    }

    /// The sender begins again after a pause.
    pub(super) fn restart(&mut self, pause_ns: u64, timeout_ns: u64) {
        let first = INITIAL_WINDOW_SEGMENTS * self.mss;
        let halvings = u32::try_from(pause_ns / timeout_ns.max(1)).unwrap_or(u32::MAX).min(31);
        if halvings > 0 && self.window > first {
            self.threshold = self.threshold.max(self.window / 4 * 3);
            self.window = (self.window >> halvings).max(first);
        }
        self.skip_time(pause_ns);
    }

    /// Time in which the window did not limit the sender.
    pub(super) fn skip_time(&mut self, pause_ns: u64) {
        self.algorithm.get().skip_time(pause_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_start_doubles_by_bytes_and_stops_at_the_threshold() {
        let mut congestion = Congestion::new(CongestionAlgorithm::Reno, 1000);
        assert_eq!(congestion.window(), 10_000);
        congestion.acknowledge(10_000, (10_000, 30_000), (None, 1), 1);
        assert_eq!(congestion.window(), 20_000);
        assert_eq!(congestion.reduce(), 10_000);
        congestion.collapse();
        congestion.acknowledge(1000, (11_000, 30_000), (None, 1), 1);
        assert_eq!((congestion.window(), congestion.is_slow_start()), (2000, true));
        congestion.acknowledge(9000, (20_000, 30_000), (None, 1), 1);
        assert!(!congestion.is_slow_start());
        congestion.undo();
        assert_eq!((congestion.window(), congestion.threshold()), (20_000, u32::MAX));
    }

    #[test]
    fn a_pause_brings_the_first_window_back_step_by_step() {
        let mut congestion = Congestion::new(CongestionAlgorithm::Cubic, 1000);
        congestion.set_window(100_000);
        congestion.restart(100, 1000);
        assert_eq!(congestion.window(), 100_000);
        congestion.restart(2000, 1000);
        assert_eq!(congestion.window(), 25_000);
        congestion.restart(100_000, 1000);
        assert_eq!(congestion.window(), 10_000);
    }
}
