//! [`RoundTrip`]: how long an answer takes, and how long one is waited for.
//!
//! # Theory
//!
//! 1. RFC 6298: smoothed round trip and variation by exponential averages with gains of 1/8 and 1/4; the timeout is their sum with the
//!    variation four times. Segments sent twice give no sample (Karn), unless timestamps tell the emissions apart.
//! 2. As on Linux the variation's part of the timeout is at least 200 ms, so that a peer's delayed acknowledgement never causes one, and it
//!    falls slowly: the largest deviation of a round trip counts for that round trip.
//! 3. A timeout doubles with each expiry up to two minutes (RFC 6298, 5.5), until something new is acknowledged.
//! 4. The minimum is that of a sliding window of five minutes, kept as two halves: the older half's minimum is dropped when it ends.

/// The first timeout (RFC 6298, 2.1).
pub(super) const TIMEOUT_INITIAL_NS: u64 = 1_000_000_000;
/// Linux's `TCP_RTO_MIN`.
pub(super) const TIMEOUT_MIN_NS: u64 = 200_000_000;
/// Linux's `TCP_RTO_MAX`.
pub(super) const TIMEOUT_MAX_NS: u64 = 120_000_000_000;
/// Half of the window of the minimum.
const MINIMUM_HALF_NS: u64 = 150_000_000_000;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundTrip {
    smoothed_ns: u64,
    /// Mean deviation, and the largest of this round trip.
    deviation_ns: u64,
    deviation_max_ns: u64,
    /// What the timeout uses.
    variation_ns: u64,
    /// When this round trip's largest deviation takes effect.
    round_end_ns: u64,
    minimum_ns: [u64; 2],
    minimum_since_ns: u64,
    backoff: u32,
}

impl RoundTrip {
    /// Nothing is known.
    pub(super) const fn new() -> Self {
        Self {
            smoothed_ns: 0,
            deviation_ns: 0,
            deviation_max_ns: 0,
            variation_ns: 0,
            round_end_ns: 0,
            minimum_ns: [u64::MAX; 2],
            minimum_since_ns: 0,
            backoff: 0,
        }
    }

    /// Takes a sample.
    pub(super) fn sample(&mut self, sample_ns: u64, now_ns: u64) {
        let sample_ns = sample_ns.clamp(1000, TIMEOUT_MAX_NS);
        if self.smoothed_ns == 0 {
            self.smoothed_ns = sample_ns;
            self.deviation_ns = sample_ns / 2;
            self.deviation_max_ns = self.deviation_ns.max(TIMEOUT_MIN_NS / 4);
            self.variation_ns = self.deviation_max_ns;
            self.round_end_ns = now_ns + sample_ns;
        } else {
            let error_ns = sample_ns.abs_diff(self.smoothed_ns);
            // A sample far below the average is no reason to wait longer: it counts little.
            let gain = if sample_ns < self.smoothed_ns && error_ns > self.deviation_ns { 32 } else { 4 };
            self.deviation_ns = self.deviation_ns - self.deviation_ns / gain + error_ns / gain;
            self.smoothed_ns = (self.smoothed_ns - self.smoothed_ns / 8 + sample_ns / 8).max(1);
            if self.deviation_ns > self.deviation_max_ns {
                self.deviation_max_ns = self.deviation_ns;
                self.variation_ns = self.variation_ns.max(self.deviation_max_ns);
            }
            if now_ns >= self.round_end_ns {
                if self.deviation_max_ns < self.variation_ns {
                    self.variation_ns -= (self.variation_ns - self.deviation_max_ns) / 4;
                }
                self.round_end_ns = now_ns + self.smoothed_ns;
                self.deviation_max_ns = TIMEOUT_MIN_NS / 4;
            }
        }
        self.note_minimum(sample_ns, now_ns);
    }

    /// The smoothed round trip; 0 when nothing is known.
    pub(super) const fn smoothed_ns(&self) -> u64 {
        self.smoothed_ns
    }

    /// The mean deviation.
    pub(super) const fn deviation_ns(&self) -> u64 {
        self.deviation_ns
    }

    /// The shortest of the last minutes; `u64::MAX` when nothing is known.
    pub(super) fn minimum_ns(&self) -> u64 {
        let [one, other] = self.minimum_ns;
        one.min(other)
    }

    /// The timeout without backoff.
    pub(super) fn timeout_base_ns(&self) -> u64 {
        if self.smoothed_ns == 0 {
            return TIMEOUT_INITIAL_NS;
        }
        (self.smoothed_ns + (4 * self.variation_ns).max(TIMEOUT_MIN_NS)).min(TIMEOUT_MAX_NS)
    }

    /// The timeout.
    pub(super) fn timeout_ns(&self) -> u64 {
        doubled(self.timeout_base_ns(), self.backoff)
    }

    /// How often it was doubled.
    pub(super) const fn backoff(&self) -> u32 {
        self.backoff
    }

    /// Doubles the timeout.
    pub(super) fn back_off(&mut self) {
        self.backoff = (self.backoff + 1).min(20);
    }

    /// Something new was acknowledged.
    pub(super) fn reset_backoff(&mut self) {
        self.backoff = 0;
    }

    fn note_minimum(&mut self, sample_ns: u64, now_ns: u64) {
        if now_ns.saturating_sub(self.minimum_since_ns) > MINIMUM_HALF_NS {
            self.minimum_ns = [self.minimum_ns[1], u64::MAX];
            self.minimum_since_ns = now_ns;
        }
        self.minimum_ns[1] = self.minimum_ns[1].min(sample_ns);
    }
}

/// A timeout doubled `times`, within the limit.
pub(super) fn doubled(timeout_ns: u64, times: u32) -> u64 {
    timeout_ns.saturating_mul(1 << times.min(30)).min(TIMEOUT_MAX_NS)
}

/// How long `retries` timeouts last that begin at [`TIMEOUT_MIN_NS`]: what Linux makes of `tcp_retries2`.
pub(super) fn retries_ns(retries: u32) -> u64 {
    (0..=retries).map(|times| doubled(TIMEOUT_MIN_NS, times)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_steady_path_gives_the_floor() {
        let mut round_trip = RoundTrip::new();
        assert_eq!(round_trip.timeout_ns(), TIMEOUT_INITIAL_NS);
        for at in 0..100 {
            round_trip.sample(100 * MS, at * 100 * MS);
        }
        assert_eq!(round_trip.smoothed_ns(), 100 * MS);
        assert_eq!(round_trip.timeout_ns(), 300 * MS);
        assert_eq!(round_trip.minimum_ns(), 100 * MS);
    }

    #[test]
    fn a_jump_raises_the_timeout_and_backoff_doubles_it() {
        let mut round_trip = RoundTrip::new();
        round_trip.sample(10 * MS, 0);
        round_trip.sample(500 * MS, 500 * MS);
        let base = round_trip.timeout_base_ns();
        assert!(base > 500 * MS);
        round_trip.back_off();
        assert_eq!(round_trip.timeout_ns(), 2 * base);
        for _ in 0..30 {
            round_trip.back_off();
        }
        assert_eq!(round_trip.timeout_ns(), TIMEOUT_MAX_NS);
        round_trip.reset_backoff();
        assert_eq!(round_trip.timeout_ns(), base);
    }

    #[test]
    fn fifteen_retries_last_as_long_as_on_linux() {
        assert_eq!(retries_ns(15) / MS, 924_600);
    }
}
