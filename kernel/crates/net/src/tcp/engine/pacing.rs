//! How long bursts are, and [`Pacing`]: segments that keep a distance, for who has set a rate (`SO_MAX_PACING_RATE`).
//!
//! # Theory
//!
//! 1. As on Linux a connection without a rate is not paced: acknowledgements clock it. With one it sends at that rate,
//!    or slower where the window does not carry it: twice the window each round trip in slow start, else six fifths of
//!    it (`tcp_update_pacing_rate`).
//! 2. What was sent takes the time that its bytes take at the rate; nothing goes before that has passed. Half of the
//!    time that a sender was late is credited, since timers are not exact.
//!    The first ten segments of a connection go as they are.
//! 3. A burst is what the window carries in a millisecond, or the rate, and at least two segments. On a path whose
//!    round trip is short the whole burst of the device is added, and halved for each 512 microseconds of it
//!    (`tcp_tso_autosize`): long bursts save CPU time where they are read at once, and fill the queues of routers
//!    elsewhere. docs/TCP.md has what that makes.

use super::connection::Connection;
use super::sequence::length;
use super::timers::Timer;

/// The rate of who has set none.
pub const UNLIMITED: u64 = u64::MAX;
/// Segments that are sent before pacing begins.
const FIRST_SEGMENTS: u32 = 10;
const SECOND_NS: u64 = 1_000_000_000;
/// Round trips for each of which the longest burst is halved once.
const SHORT_PATH_NS: u64 = 512_000;
/// Parts of a second that a burst takes.
const BURSTS_EACH_SECOND: u64 = 1000;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pacing {
    /// When the next may go.
    next_ns: u64,
}

impl Connection {
    /// Bytes each second; none where nothing is paced.
    fn pacing_rate(&self) -> Option<u64> {
        if self.settings.pacing_rate_max == UNLIMITED {
            return None;
        }
        Some(self.carried_rate().min(self.settings.pacing_rate_max).max(1))
    }

    /// The program has chosen another rate.
    pub(super) fn restart_pacing(&mut self) {
        self.pacing = Pacing::default();
        self.timers.stop(Timer::Pace);
    }

    /// Whether something may be sent. If not, the timer is set for when it may.
    pub(super) fn is_in_pace(&mut self, now_ns: u64) -> bool {
        let may_go = self.pacing.next_ns <= now_ns;
        if !may_go {
            self.timers.set(Timer::Pace, self.pacing.next_ns);
        }
        may_go
    }

    /// `len` bytes were sent.
    pub(super) fn note_pace(&mut self, len: u32, now_ns: u64) {
        let Some(rate) = self.pacing_rate() else {
            self.pacing.next_ns = 0;
            return;
        };
        if self.counters.data_segments_out < FIRST_SEGMENTS {
            return;
        }
        let takes_ns = u64::from(len).saturating_mul(SECOND_NS) / rate;
        let late_ns = if self.pacing.next_ns == 0 { 0 } else { now_ns.saturating_sub(self.pacing.next_ns) };
        self.pacing.next_ns = now_ns.saturating_add(takes_ns - (takes_ns / 2).min(late_ns));
    }

    /// The most of one burst, of `burst_len` that the device takes: whole segments.
    #[inline]
    pub(super) fn fitting_burst(&self, burst_len: u32) -> u32 {
        if burst_len <= 2 * self.send.mss {
            return burst_len;
        }
        let halvings = self.round_trip.minimum_ns() / SHORT_PATH_NS;
        if halvings == 0 && self.settings.pacing_rate_max == UNLIMITED {
            return burst_len;
        }
        let extra = burst_len.checked_shr(u32::try_from(halvings).unwrap_or(u32::MAX)).unwrap_or(0);
        let len = self.carried_rate().min(self.settings.pacing_rate_max) / BURSTS_EACH_SECOND;
        let mss = self.send.mss;
        let whole = length(usize::try_from(len).unwrap_or(usize::MAX)).saturating_add(extra) / mss * mss;
        burst_len.min(whole.max(2 * mss))
    }

    /// Bytes each second that the window carries, and a part more.
    fn carried_rate(&self) -> u64 {
        let factor = if self.congestion.is_slow_start() { 200 } else { 120 };
        let each_ms = u64::from(self.congestion.window()) * factor * 10_000 / self.round_trip.smoothed_ns().max(1);
        each_ms.saturating_mul(1000)
    }
}
