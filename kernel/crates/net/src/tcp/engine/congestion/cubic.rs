//! [`Cubic`]: RFC 9438 in integers.
//!
//! # Theory
//!
//! 1. Since the last loss, at window W_max, the window follows W(t) = C (t - K)^3 + W_max with C = 0.4 segments per cubic second; K =
//!    cbrt((W_max - W_0) / C) is when it is back at W_max, W_0 the window that it starts from (4.2).
//! 2. A loss multiplies the window by 0.7 (4.6). Fast convergence: a loss below the last W_max makes the next one smaller still, (1 + 0.7) / 2 of the
//!    window, to leave room for newcomers (4.7).
//! 3. Where Reno would be faster, it is followed: its estimate grows by alpha = 3 (1 - 0.7) / (1 + 0.7) = 9/17 segments per window, and by
//!    a whole one once it is at the window of the last loss (4.3).
//! 4. Time is in 1/1024 s and a window in bytes: t fits 2^21 (half an hour), so that C (t - K)^3 MSS fits 2^63 * 2^16 in 128 bits. K comes from an
//!    integer cube root.
//! 5. The target is W(t + RTT), at most 1.5 windows: the window grows by (target - window) / window for each byte acknowledged.
//!    Fractions are carried.

use super::Avoidance;

/// Units of time in a second.
const TICKS: u64 = 1024;
/// The longest time that is followed.
const TICKS_MAX: u64 = 1 << 21;
/// The longest K.
const K_MAX: u64 = 1 << 20;

/// See the module.
#[derive(Clone, Copy, Default)]
pub(super) struct Cubic {
    /// W_max of the RFC, in bytes; 0 before the first loss.
    window_max: u32,
    /// Reno's estimate.
    estimate: u32,
    /// The window of the last loss: where the estimate grows faster.
    window_prior: u32,
    /// K in ticks.
    k_ticks: u64,
    /// When the curve began; 0 for not yet.
    epoch_ns: u64,
    /// Bytes times window of growth not given yet.
    carry: u64,
    estimate_carry: u64,
    before: (u32, u32),
}

impl Cubic {
    fn begin_epoch(&mut self, window: u32, mss: u32, now_ns: u64) {
        self.epoch_ns = now_ns.max(1);
        self.estimate = window;
        (self.carry, self.estimate_carry) = (0, 0);
        if self.window_max <= window {
            self.window_max = window;
            self.k_ticks = 0;
        } else {
            // (W_max - W_0) / mss / 0.4 in cubic ticks.
            let gap = u128::from(self.window_max - window) * 5 * u128::from(TICKS * TICKS * TICKS);
            self.k_ticks = cube_root(gap / (2 * u128::from(mss.max(1)))).min(K_MAX);
        }
    }

    /// W(t).
    fn target(&self, ticks: u64, mss: u32) -> u64 {
        let ticks = ticks.min(TICKS_MAX);
        let offset = u128::from(ticks.abs_diff(self.k_ticks));
        let cube = offset * offset * offset * u128::from(mss) * 2 / 5;
        let change = u64::try_from(cube / u128::from(TICKS * TICKS * TICKS)).unwrap_or(u64::MAX);
        let middle = u64::from(self.window_max);
        if ticks < self.k_ticks { middle.saturating_sub(change) } else { middle.saturating_add(change) }
    }

    fn grow_estimate(&mut self, window: u32, mss: u32, bytes: u32) {
        let (numerator, denominator) = if self.estimate < self.window_prior { (9, 17) } else { (1, 1) };
        let scale = u64::from(window.max(1)) * denominator;
        self.estimate_carry += u64::from(bytes) * u64::from(mss) * numerator;
        let growth = self.estimate_carry / scale;
        self.estimate_carry %= scale;
        self.estimate = self.estimate.saturating_add(u32::try_from(growth).unwrap_or(u32::MAX));
    }
}

impl Avoidance for Cubic {
    fn reduce(&mut self, window: u32, _mss: u32) -> u32 {
        self.before = (self.window_max, self.window_prior);
        self.epoch_ns = 0;
        self.window_max = if window < self.window_max { scaled(window, 17, 20) } else { window };
        self.window_prior = window;
        scaled(window, 7, 10)
    }

    fn grow(&mut self, window: u32, mss: u32, bytes: u32, round_trip_ns: u64, now_ns: u64) -> u32 {
        if self.epoch_ns == 0 {
            self.begin_epoch(window, mss, now_ns);
        }
        self.grow_estimate(window, mss, bytes);
        let since_ns = now_ns.saturating_sub(self.epoch_ns);
        let ticks = |ns: u64| ns / (1_000_000_000 / TICKS);
        let window_now = u64::from(window.max(1));
        if self.target(ticks(since_ns), mss) < u64::from(self.estimate) {
            return self.estimate.saturating_sub(window);
        }
        let target = self.target(ticks(since_ns + round_trip_ns), mss).clamp(window_now, window_now * 3 / 2);
        self.carry += (target - window_now) * u64::from(bytes);
        let growth = self.carry / window_now;
        self.carry %= window_now;
        u32::try_from(growth).unwrap_or(u32::MAX)
    }

    fn skip_time(&mut self, pause_ns: u64) {
        if self.epoch_ns != 0 {
            self.epoch_ns += pause_ns;
        }
    }

    fn undo(&mut self) {
        (self.window_max, self.window_prior) = self.before;
        self.epoch_ns = 0;
    }
}

fn scaled(value: u32, numerator: u64, denominator: u64) -> u32 {
    u32::try_from(u64::from(value) * numerator / denominator).unwrap_or(u32::MAX)
}

/// The largest number whose cube is not above `value`, by bisection of bits.
fn cube_root(value: u128) -> u64 {
    let mut root: u128 = 0;
    let mut bit: u128 = 1 << 41;
    while bit != 0 {
        let next = root | bit;
        if next * next * next <= value {
            root = next;
        }
        bit >>= 1;
    }
    u64::try_from(root).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    /// Acknowledges whole windows, one each round trip, and answers the window at the end.
    fn run(cubic: &mut Cubic, window: u32, round_trip_ms: u64, rounds: u64) -> u32 {
        let mut window = window;
        for round in 1..=rounds {
            for _ in 0..window / MSS {
                window += cubic.grow(window, MSS, MSS, round_trip_ms * 1_000_000, round * round_trip_ms * 1_000_000);
            }
        }
        window
    }

    #[test]
    fn roots_are_exact() {
        for (value, root) in [(0, 0), (1, 1), (7, 1), (8, 2), (26, 2), (27, 3), (1_000_000_000_000, 10_000)] {
            assert_eq!(cube_root(value), root);
        }
    }

    #[test]
    fn a_loss_takes_three_tenths_and_k_brings_it_back() {
        let mut cubic = Cubic::default();
        let window_max = 1000 * MSS;
        assert_eq!(cubic.reduce(window_max, MSS), 700 * MSS);
        // K = cbrt(300 / 0.4) = 9.09 s, that is 91 round trips of 100 ms.
        let at_half = run(&mut cubic, 700 * MSS, 100, 45);
        assert!((950 * MSS..1000 * MSS).contains(&at_half), "{at_half}");
        let mut cubic = Cubic::default();
        cubic.reduce(window_max, MSS);
        let at_k = run(&mut cubic, 700 * MSS, 100, 91);
        assert!((990 * MSS..1010 * MSS).contains(&at_k), "{at_k}");
    }

    #[test]
    fn short_paths_are_like_renos() {
        let mut cubic = Cubic::default();
        cubic.reduce(20 * MSS, MSS);
        // Ten milliseconds of the cube are nothing; Reno's estimate has 9/17 segments each round trip.
        let window = run(&mut cubic, 14 * MSS, 1, 10);
        assert!((18 * MSS..=20 * MSS).contains(&window), "{window}");
    }

    #[test]
    fn a_second_loss_below_the_first_makes_room() {
        let mut cubic = Cubic::default();
        cubic.reduce(1000 * MSS, MSS);
        cubic.reduce(800 * MSS, MSS);
        assert_eq!(cubic.window_max, 680 * MSS);
        cubic.undo();
        assert_eq!(cubic.window_max, 1000 * MSS);
    }
}
