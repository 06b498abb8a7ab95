//! [`HyStart`]: RFC 9406, when to leave slow start before something is lost.
//!
//! # Theory
//!
//! 1. A round lasts from one number sent to its acknowledgement. Its shortest round trip is compared with that of the round before; when it is
//!    longer by an eighth (4 to 16 ms), and eight samples say so, a queue is building up (4.2).
//! 2. Then the window grows at a quarter of the pace for five rounds, "conservative slow start". If the round trip falls below that at which
//!    this began, it was noise and slow start goes on; if not, it ends.

use super::super::SequenceNumber;
use super::super::sequence::is_before;

const SAMPLES_MIN: u32 = 8;
const RISE_MIN_NS: u64 = 4_000_000;
const RISE_MAX_NS: u64 = 16_000_000;
const CONSERVATIVE_ROUNDS: u32 = 5;

/// What slow start does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// Doubles.
    #[default]
    SlowStart,
    /// Grows slower, to find out.
    Conservative,
    /// The path is full.
    Finished,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HyStart {
    phase: Phase,
    round_end: Option<SequenceNumber>,
    minimum_ns: Option<u64>,
    last_minimum_ns: Option<u64>,
    baseline_ns: u64,
    samples: u32,
    rounds: u32,
}

impl HyStart {
    /// Takes an acknowledgement, and answers what slow start is to do.
    pub(super) fn acknowledge(
        &mut self,
        sample_ns: Option<u64>,
        acknowledged: SequenceNumber,
        next: SequenceNumber,
    ) -> Phase {
        if self.phase == Phase::Finished {
            // Slow start up to a known threshold, after a timeout or a pause.
            return Phase::SlowStart;
        }
        if self.round_end.is_none_or(|end| !is_before(acknowledged, end)) {
            self.begin_round(next);
        }
        if let Some(sample_ns) = sample_ns {
            self.minimum_ns = Some(self.minimum_ns.map_or(sample_ns, |minimum_ns| minimum_ns.min(sample_ns)));
            self.samples += 1;
            self.judge();
        }
        self.phase
    }

    /// Something was lost: the threshold is known from now on.
    pub(super) fn finish(&mut self) {
        self.phase = Phase::Finished;
    }

    fn begin_round(&mut self, next: SequenceNumber) {
        self.round_end = Some(next);
        self.last_minimum_ns = self.minimum_ns.take();
        self.samples = 0;
        if self.phase == Phase::Conservative {
            self.rounds += 1;
            if self.rounds >= CONSERVATIVE_ROUNDS {
                self.phase = Phase::Finished;
            }
        }
    }

    fn judge(&mut self) {
        let (Some(minimum_ns), true) = (self.minimum_ns, self.samples >= SAMPLES_MIN) else { return };
        match (self.phase, self.last_minimum_ns) {
            (Phase::SlowStart, Some(last_ns))
                if minimum_ns >= last_ns + (last_ns / 8).clamp(RISE_MIN_NS, RISE_MAX_NS) =>
            {
                self.phase = Phase::Conservative;
                self.baseline_ns = minimum_ns;
                self.rounds = 0;
            }
            (Phase::Conservative, _) if minimum_ns < self.baseline_ns => self.phase = Phase::SlowStart,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round of ten acknowledgements.
    fn round(hystart: &mut HyStart, number: u32, sample_ms: u64) -> Phase {
        let mut phase = Phase::SlowStart;
        for _ in 0..10 {
            phase = hystart.acknowledge(Some(sample_ms * 1_000_000), number * 100, number * 100 + 100);
        }
        phase
    }

    #[test]
    fn a_rising_round_trip_ends_slow_start_after_five_rounds() {
        let mut hystart = HyStart::default();
        assert_eq!(round(&mut hystart, 1, 50), Phase::SlowStart);
        assert_eq!(round(&mut hystart, 2, 51), Phase::SlowStart);
        for number in 3..8 {
            assert_eq!(round(&mut hystart, number, 60), Phase::Conservative);
        }
        assert_eq!(hystart.acknowledge(None, 900, 1000), Phase::Finished);
        assert_eq!(round(&mut hystart, 10, 60), Phase::SlowStart);
    }

    #[test]
    fn a_rise_that_was_noise_is_forgotten() {
        let mut hystart = HyStart::default();
        round(&mut hystart, 1, 50);
        assert_eq!(round(&mut hystart, 2, 60), Phase::Conservative);
        assert_eq!(round(&mut hystart, 3, 50), Phase::SlowStart);
    }
}
