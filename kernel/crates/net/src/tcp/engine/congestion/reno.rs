//! [`Reno`]: RFC 5681. One segment more each round trip, half after a loss.

use super::Avoidance;

/// See the module.
#[derive(Default)]
pub(super) struct Reno {
    /// Bytes acknowledged since the window grew last.
    credit: u32,
}

impl Avoidance for Reno {
    fn reduce(&mut self, window: u32, _mss: u32) -> u32 {
        self.credit = 0;
        window / 2
    }

    fn grow(&mut self, window: u32, mss: u32, bytes: u32, _round_trip_ns: u64, _now_ns: u64) -> u32 {
        self.credit = self.credit.saturating_add(bytes);
        if self.credit < window {
            return 0;
        }
        self.credit -= window;
        self.credit = self.credit.min(window);
        mss
    }

    fn skip_time(&mut self, _pause_ns: u64) {}

    fn undo(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_acknowledged_is_a_segment_more() {
        let mut reno = Reno::default();
        assert_eq!(reno.grow(10_000, 1000, 9999, 0, 0), 0);
        assert_eq!(reno.grow(10_000, 1000, 1, 0, 0), 1000);
        assert_eq!(reno.reduce(10_000, 1000), 5000);
    }
}
