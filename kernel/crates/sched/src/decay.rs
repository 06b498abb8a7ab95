//! Time that decays, in integers: the clock in which fair threads are charged.
//!
//! # 1. The measure
//!
//! A thread of weight `w` has used, at the time `t`, the decayed runtime `r(t) = (1024 / w) * sum of 2^((s - t) / H) ds` over
//! the moments `s` at which it ran: what it ran one half-life `H` ago counts half. Threads whose decayed runtimes are equal
//! share the CPU by their weights; whoever has the least runs next. An idle thread's lead, and a greedy one's debt, are
//! forgotten by halves, not kept for ever and not dropped at once. (OSv: A. Kivity et al., "OSv: Optimizing the Operating
//! System for Virtual Machines", USENIX ATC 2014, 3.4.)
//!
//! # 2. Nothing but the running thread changes
//!
//! Compared are the inflated `R = r(t) * 2^(t / H)`, which is the same factor for all, so that the order is the same. But `R`
//! is constant while a thread does not run, and a run from `a` to `b` adds `(1024 / w) * (F(b) - F(a))`, where `F`, here
//! [`growth`], is the integral of `2^(s / H)`, up to a constant factor `2^(t / H)` again. A queue thus keeps its order by
//! itself, one key is updated, and a run of any length is charged in closed form: no ticks are needed, and splitting a run
//! changes nothing but the rounding (6).
//!
//! # 3. F is exact
//!
//! `H` is 2^27 ns (134 ms). The epoch of a time is `t / H`; an epoch has 64 segments of 2^21 ns. `F` goes linearly between the
//! nodes `2^(k / 64)`, rounded to 2^-20. In units of 2^-41 it is an integer for every nanosecond: node `<< 21` plus
//! the difference to the next node times the nanoseconds into the segment. It is continuous (the last node is twice the
//! first), strictly increasing, and telescopes without error. This `F` defines the policy; that it is near an exponential
//! only matters for the name: the nodes are within 2^-21 relative, the chords within `(ln 2 / 64)^2 / 8 < 1.5 * 10^-5`. Its
//! slope, 11,418 to 22,590 units to the nanosecond, is the same for all threads of a moment, so it cannot be unfair.
//!
//! # 4. Range
//!
//! Keys are relative to a base epoch: `F < 2^42` in that epoch, and twice that for each epoch later. A queue moves its base at
//! least when it is [`EPOCHS_MAX`] behind, so `F < 2^(42 + 9)`. All that a thread ever ran costs less than `F(now) * 1024 / w`,
//! and `1024 / 3 < 2^8.5`, so keys stay below 2^60, where the few milliseconds that placing adds do not matter.
//!
//! # 5. Renormalisation
//!
//! Moving the base by `n` epochs shifts every key right by `n`. A shift is monotone: no two keys change their order, at worst they
//! become equal, so the heap stays a heap as it is. A key loses less than one unit, and later shifts halve that loss with the rest:
//! over all time it stays below `1 + 1/2 + 1/4 + ... = 2` units, a fifth of a picosecond of running time at nice 0.
//!
//! # 6. Charging
//!
//! [`Weight::cost`] multiplies by Linux's 32-bit inverse weights and rounds down: less than one unit to a charge, in the favour
//! of the thread, and a relative error of the inverse of at most `w * 2^-33`, 10^-5 for nice -20. One nanosecond at nice
//! -20 is 131 units, so even a charge for every nanosecond would be right within a percent.
//!
//! # 7. From decayed to plain shares
//!
//! If the decayed runtimes of two equal threads never differ by more than `c`, then their plain runtimes over an interval `T`
//! differ by at most `c * (2 + T * ln 2 / H)` (integrate by parts). With `c` two granules, 3 ms, and `T` one second that is
//! 21 ms; the difference changes its sign at each switch, so what is seen is far less. Only a thread whose turns are `L` apart is
//! favoured steadily: the others' later running counts for more than its own earlier one, by `L * ln 2 / (2 H)` of its part.
//! Queues keep `L` near 12 ms (3%) by smaller granules, down to a granule of nice 19.

use crate::policy::Weight;

/// The binary logarithm of the half-life in nanoseconds.
const HALF_LIFE_SHIFT: u32 = 27;

/// The half-life in nanoseconds.
pub(crate) const HALF_LIFE_NS: u64 = 1 << HALF_LIFE_SHIFT;

/// The farthest that a base may be behind the time, in epochs.
pub(crate) const EPOCHS_MAX: u64 = 8;

const SEGMENT_SHIFT: u32 = 21;
const SEGMENTS: usize = 1 << (HALF_LIFE_SHIFT - SEGMENT_SHIFT);
const SEGMENT_NS: u64 = 1 << SEGMENT_SHIFT;

/// `2^(k / 64)`, in units of 2^-20, to the nearest.
const NODES: [u64; SEGMENTS + 1] = [
    1_048_576, 1_059_994, 1_071_537, 1_083_205, 1_095_000, 1_106_924, 1_118_978, 1_131_163, // 0
    1_143_480, 1_155_932, 1_168_519, 1_181_244, 1_194_106, 1_207_109, 1_220_254, 1_233_542, // 8
    1_246_974, 1_260_553, 1_274_279, 1_288_155, 1_302_182, 1_316_362, 1_330_696, 1_345_187, // 16
    1_359_835, 1_374_642, 1_389_611, 1_404_743, 1_420_040, 1_435_503, 1_451_135, 1_466_937, // 24
    1_482_910, 1_499_058, 1_515_382, 1_531_883, 1_548_564, 1_565_427, 1_582_474, 1_599_706, // 32
    1_617_125, 1_634_735, 1_652_536, 1_670_531, 1_688_722, 1_707_110, 1_725_700, 1_744_491, // 40
    1_763_488, 1_782_691, 1_802_103, 1_821_727, 1_841_564, 1_861_617, 1_881_889, 1_902_381, // 48
    1_923_097, 1_944_038, 1_965_207, 1_986_607, 2_008_240, 2_030_108, 2_052_214, 2_074_562, // 56
    2_097_152,
];

/// The epoch of a time.
pub(crate) const fn epoch(at_ns: u64) -> u64 {
    at_ns >> HALF_LIFE_SHIFT
}

/// `F(at_ns)` relative to the base epoch, rounded down if the time is before that epoch.
#[inline]
pub(crate) fn growth(at_ns: u64, base: u64) -> u64 {
    let (low, rise) = segment(at_ns);
    rescale_from((low << SEGMENT_SHIFT) + rise * (at_ns & (SEGMENT_NS - 1)), epoch(at_ns), base)
}

/// What a nanosecond at `at_ns` adds to [`growth`], at least 1 unless the time is long before the base.
pub(crate) fn slope(at_ns: u64, base: u64) -> u64 {
    rescale_from(segment(at_ns).1, epoch(at_ns), base)
}

/// A segment, seen from a base that is not after it: what [`growth`] and [`slope`] need, ready for its 2 ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    start_ns: u64,
    end_ns: u64,
    /// [`growth`] at the start.
    growth: u64,
    slope: u64,
}

impl Segment {
    /// One that no time is in.
    pub(crate) const NONE: Self = Self { start_ns: 0, end_ns: 0, growth: 0, slope: 0 };

    /// The segment of a time.
    pub(crate) fn of(at_ns: u64, base: u64) -> Self {
        debug_assert!(epoch(at_ns) >= base, "a time before the base");
        let start_ns = at_ns & !(SEGMENT_NS - 1);
        let end_ns = start_ns.saturating_add(SEGMENT_NS);
        Self { start_ns, end_ns, growth: growth(start_ns, base), slope: slope(at_ns, base) }
    }

    /// True if a time is beyond the segment.
    pub(crate) const fn ends_by(&self, at_ns: u64) -> bool {
        at_ns >= self.end_ns
    }

    /// [`growth`] at a time of the segment.
    pub(crate) const fn growth(&self, at_ns: u64) -> u64 {
        self.growth + self.slope * (at_ns - self.start_ns)
    }

    /// The units of `duration_ns` of running now, for a thread of this weight.
    pub(crate) fn units(&self, duration_ns: u64, weight: Weight) -> u64 {
        weight.cost(duration_ns.saturating_mul(self.slope))
    }

    /// What [`growth`] adds from a time of the segment to a later one, or a bound of that if it is beyond the segment; none if it is
    /// far beyond.
    #[inline]
    pub(crate) fn growth_between(&self, from_ns: u64, to_ns: u64) -> Option<u64> {
        let duration_ns = to_ns.saturating_sub(from_ns);
        if to_ns <= self.end_ns {
            return Some(self.slope * duration_ns);
        }
        // The slope doubles in a half-life, so in a quarter of one it grows by less than a fifth.
        (duration_ns <= HALF_LIFE_NS / 4).then(|| self.slope * duration_ns / 4 * 5 + 4 * self.slope)
    }

    /// What a nanosecond adds.
    pub(crate) const fn slope(&self) -> u64 {
        self.slope
    }

    /// [`time_of`], from a time of the segment.
    pub(crate) fn time_of(&self, target: u64, from_ns: u64, base: u64) -> u64 {
        let missing = target.saturating_sub(self.growth(from_ns));
        let wait_ns = missing.div_ceil(self.slope.max(1));
        if wait_ns <= self.end_ns - from_ns { from_ns + wait_ns } else { time_of(target, from_ns, base) }
    }
}

/// Moves a value from one base to another: exact towards earlier bases (or the greatest value, if it has no room), rounded down
/// towards later ones.
pub(crate) fn rescale_from(value: u64, from: u64, to: u64) -> u64 {
    let shift = u32::try_from(from.abs_diff(to)).unwrap_or(u32::MAX);
    if from < to {
        value.checked_shr(shift).unwrap_or(0)
    } else if shift <= value.leading_zeros() {
        value.checked_shl(shift).unwrap_or(0)
    } else {
        u64::MAX
    }
}

/// The first time from `from_ns` on at which [`growth`] has come to `target`; one half-life later if that is still too early.
pub(crate) fn time_of(target: u64, from_ns: u64, base: u64) -> u64 {
    let mut at_ns = from_ns;
    for _ in 0..SEGMENTS {
        let missing = target.saturating_sub(growth(at_ns, base));
        let wait_ns = missing.div_ceil(slope(at_ns, base).max(1));
        let segment_left_ns = SEGMENT_NS - (at_ns & (SEGMENT_NS - 1));
        if wait_ns <= segment_left_ns {
            return at_ns + wait_ns;
        }
        at_ns += segment_left_ns;
    }
    at_ns
}

/// The node that begins the segment of a time, and the rise to the next.
fn segment(at_ns: u64) -> (u64, u64) {
    let index = ((at_ns >> SEGMENT_SHIFT) % SEGMENTS as u64) as usize;
    (NODES[index], NODES[index + 1] - NODES[index])
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use testkit::Random;

    use super::*;
    use crate::policy::Policy;

    const H_NS: u64 = HALF_LIFE_NS;

    #[test]
    fn the_nodes_are_powers_of_two() {
        for (index, node) in NODES.iter().enumerate() {
            // The only floating point of the crate is in this test.
            let exact = (index as f64 / 64.0).exp2() * f64::from(1 << 20);
            assert!((*node as f64 - exact).abs() <= 0.5, "node {index}");
        }
    }

    #[test]
    fn growth_is_continuous_and_doubles_in_a_half_life() {
        for at_ns in [0, 1, SEGMENT_NS - 1, SEGMENT_NS, H_NS - 1, H_NS, 5 * H_NS + 12_345] {
            let base = epoch(at_ns);
            assert_eq!(growth(at_ns + 1, base) - growth(at_ns, base), slope(at_ns, base), "at {at_ns}");
            assert_eq!(growth(at_ns + H_NS, base), 2 * growth(at_ns, base), "at {at_ns}");
        }
    }

    #[test]
    fn a_segment_says_what_the_functions_say() {
        const SEED: u64 = 0x5e6e;
        let mut random = Random::new(SEED);
        assert!(Segment::NONE.ends_by(0));
        for _ in 0..10_000 {
            let from_ns = random.next_u64() >> 12;
            let base = epoch(from_ns).saturating_sub(random.next_u64() % EPOCHS_MAX);
            let segment = Segment::of(from_ns, base);
            assert!(!segment.ends_by(from_ns), "seed {SEED:#x}");
            assert!(segment.ends_by((from_ns | (SEGMENT_NS - 1)) + 1), "seed {SEED:#x}");
            assert_eq!(segment.growth(from_ns), growth(from_ns, base), "seed {SEED:#x}");
            assert_eq!(segment.slope(), slope(from_ns, base), "seed {SEED:#x}");
            let duration_ns = random.next_u64() % (H_NS / 4);
            let target = growth(from_ns + duration_ns, base);
            let bound = segment.growth_between(from_ns, from_ns + duration_ns).unwrap();
            assert!(target - growth(from_ns, base) <= bound, "seed {SEED:#x}");
            let end_ns = (from_ns | (SEGMENT_NS - 1)) + 1;
            let exact = growth(end_ns, base) - growth(from_ns, base);
            assert_eq!(segment.growth_between(from_ns, end_ns), Some(exact), "seed {SEED:#x}");
            assert_eq!(segment.time_of(target, from_ns, base), time_of(target, from_ns, base), "seed {SEED:#x}");
        }
    }

    #[test]
    fn runs_telescope() {
        const SEED: u64 = 0xdeca;
        let mut random = Random::new(SEED);
        let start_ns = 77 * H_NS + 99;
        let mut at_ns = start_ns;
        let mut sum = 0;
        for _ in 0..10_000 {
            let next_ns = at_ns + random.next_u64() % 50_000;
            sum += growth(next_ns, 77) - growth(at_ns, 77);
            at_ns = next_ns;
        }
        assert_eq!(sum, growth(at_ns, 77) - growth(start_ns, 77), "seed {SEED:#x}");
    }

    #[test]
    fn time_of_is_the_inverse_of_growth() {
        const SEED: u64 = 0x1417;
        let mut random = Random::new(SEED);
        for _ in 0..10_000 {
            let from_ns = random.next_u64() >> 12;
            let base = epoch(from_ns).saturating_sub(random.next_u64() % EPOCHS_MAX);
            let at_ns = from_ns + random.next_u64() % (H_NS / 2);
            assert_eq!(time_of(growth(at_ns, base), from_ns, base), at_ns, "seed {SEED:#x}");
        }
        assert_eq!(time_of(0, 500, 0), 500);
        assert!(time_of(u64::MAX, 500, 0) <= 500 + H_NS);
    }

    #[test]
    fn shifting_keeps_the_order_and_loses_less_than_two_units() {
        const SEED: u64 = 0x5417;
        let mut random = Random::new(SEED);
        for _ in 0..10_000 {
            let (low, gap) = (random.next_u64() >> 5, random.next_u64() >> 40);
            let high = low + gap;
            let (mut stepwise, mut base) = (high, 0);
            while base < 30 {
                let step = 1 + random.next_u64() % EPOCHS_MAX;
                stepwise = rescale_from(stepwise, base, base + step);
                base += step;
                assert!(rescale_from(low, 0, base) <= rescale_from(high, 0, base), "seed {SEED:#x}");
                assert!((high >> base).abs_diff(stepwise) < 2, "seed {SEED:#x}");
            }
        }
        assert_eq!(rescale_from(u64::MAX, 0, u64::MAX), 0);
    }

    #[test]
    fn a_key_fits_after_any_length_of_running() {
        // The lightest thread, alone since the beginning, seen from the oldest base that is allowed.
        let now_ns = u64::MAX >> 1;
        let base = epoch(now_ns) - EPOCHS_MAX;
        let weight = Policy::Idle.weight();
        assert!(weight.cost(growth(now_ns, base)) < 1 << 60);
    }

    #[test]
    fn charging_in_pieces_costs_what_the_whole_costs() {
        let weight = Policy::Other { nice: -20 }.weight();
        let (start_ns, end_ns) = (3 * H_NS, 3 * H_NS + 10_000);
        let whole = weight.cost(growth(end_ns, 3) - growth(start_ns, 3));
        let pieces: u64 = (start_ns..end_ns).map(|t| weight.cost(growth(t + 1, 3) - growth(t, 3))).sum();
        assert!(pieces <= whole && whole - pieces <= whole / 100);
    }
}
