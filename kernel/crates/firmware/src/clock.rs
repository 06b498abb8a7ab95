//! From counter ticks to time: frequencies, their calibration, and a scale that never overflows.
//!
//! 1. A [`Scale`] turns ticks into nanoseconds by a multiplication of 64 by 64 bits and a shift of the 128-bit product.
//!    With 48 fraction bits the multiplier fits 64 bits for every frequency from [`FREQUENCY_MIN_HZ`] up, and its
//!    rounding is below 1 part in 10^13 at 10 GHz.
//! 2. Calibration compares two counters over an interval: [`frequency`] from one interval, [`median`] over several,
//!    because an emulator or a busy host can stop the guest between two readings.
//! 3. Counters of two CPUs are compared by asking and answering: an answer was read between the question and its
//!    arrival, which bounds the difference ([`CounterOffset`]).

/// The lowest frequency a scale is made for.
pub const FREQUENCY_MIN_HZ: u64 = 100_000;
/// The highest.
pub const FREQUENCY_MAX_HZ: u64 = 1_000_000_000_000;
/// The frequency of the 8254 timer.
pub const PIT_HZ: u64 = 1_193_182;
/// The frequency of ACPI's power management timer.
pub const PM_TIMER_HZ: u64 = 3_579_545;

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;
const FRACTION_BITS: u32 = 48;

/// The conversion between a counter's ticks and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    frequency_hz: u64,
    /// Nanoseconds a tick in fixed point.
    multiplier: u64,
}

impl Scale {
    /// The scale of a counter; none for a frequency no counter has.
    pub const fn new(frequency_hz: u64) -> Option<Self> {
        if frequency_hz < FREQUENCY_MIN_HZ || frequency_hz > FREQUENCY_MAX_HZ {
            return None;
        }
        let dividend = (NANOSECONDS_PER_SECOND as u128) << FRACTION_BITS;
        let multiplier = (dividend + frequency_hz as u128 / 2) / frequency_hz as u128;
        // 10^9 * 2^48 / 10^5 is below 2^62.
        #[expect(clippy::cast_possible_truncation, reason = "bounded by FREQUENCY_MIN_HZ")]
        let multiplier = multiplier as u64;
        Some(Self { frequency_hz, multiplier })
    }

    /// The counter's frequency.
    pub const fn frequency_hz(&self) -> u64 {
        self.frequency_hz
    }

    /// Nanoseconds a tick with [`Self::shift`] fraction bits, for code that scales by itself.
    pub const fn multiplier(&self) -> u64 {
        self.multiplier
    }

    /// The fraction bits of [`Self::multiplier`].
    pub const fn shift(&self) -> u32 {
        FRACTION_BITS
    }

    /// How long `ticks` take; saturates after 584 years.
    pub const fn nanoseconds(&self, ticks: u64) -> u64 {
        saturate((ticks as u128 * self.multiplier as u128) >> FRACTION_BITS)
    }

    /// How many ticks pass in `nanoseconds`, rounded up so that a timer is never early.
    pub const fn ticks(&self, nanoseconds: u64) -> u64 {
        let product = nanoseconds as u128 * self.frequency_hz as u128;
        saturate(product.div_ceil(NANOSECONDS_PER_SECOND as u128))
    }
}

/// The frequency of a counter that advanced by `ticks` while one of `reference_hz` advanced by `reference_ticks`.
pub fn frequency(ticks: u64, reference_ticks: u64, reference_hz: u64) -> Option<u64> {
    let product = u128::from(ticks) * u128::from(reference_hz);
    let rounded = product.checked_add(u128::from(reference_ticks / 2))?;
    let hz = u64::try_from(rounded.checked_div(u128::from(reference_ticks))?).ok()?;
    (FREQUENCY_MIN_HZ..=FREQUENCY_MAX_HZ).contains(&hz).then_some(hz)
}

/// How far another CPU's counter is ahead of this one's, as bounds that every exchange narrows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterOffset {
    least: i64,
    most: i64,
}

impl Default for CounterOffset {
    fn default() -> Self {
        Self::new()
    }
}

impl CounterOffset {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self { least: i64::MIN, most: i64::MAX }
    }

    /// Takes an exchange: the question left at `before`, the other counter showed `other`, the answer arrived at `after`.
    pub fn add(&mut self, before: u64, other: u64, after: u64) {
        self.least = self.least.max(other.wrapping_sub(after).cast_signed());
        self.most = self.most.min(other.wrapping_sub(before).cast_signed());
    }

    /// The offset: zero if that is possible, else the middle of what is.
    pub fn value(&self) -> i64 {
        if self.least <= 0 && self.most >= 0 { 0 } else { self.least.midpoint(self.most) }
    }
}

/// The middle one of the measured frequencies.
pub fn median(frequencies_hz: &mut [u64]) -> Option<u64> {
    frequencies_hz.sort_unstable();
    frequencies_hz.get(frequencies_hz.len() / 2).copied()
}

/// How far the power management timer went from `start` to `end`, across at most one wrap.
pub fn pm_timer_elapsed(start: u32, end: u32, is_32_bit: bool) -> u32 {
    let mask = if is_32_bit { u32::MAX } else { 0x00ff_ffff };
    end.wrapping_sub(start) & mask
}

/// The time stamp counter's frequency by the processor's word: CPUID leaf 0x15 as `(eax, ebx, ecx)`, and 0x16's `eax`
/// (base frequency in MHz) where the former does not name the crystal (SDM volume 2, CPUID).
pub fn tsc_frequency_by_cpuid(leaf_15: (u32, u32, u32), leaf_16_eax: u32) -> Option<u64> {
    let (denominator, numerator, crystal_hz) = leaf_15;
    if denominator != 0 && numerator != 0 && crystal_hz != 0 {
        let hz = u128::from(crystal_hz) * u128::from(numerator) / u128::from(denominator);
        return u64::try_from(hz).ok().filter(|hz| (FREQUENCY_MIN_HZ..=FREQUENCY_MAX_HZ).contains(hz));
    }
    let base_hz = u64::from(leaf_16_eax & 0xffff) * 1_000_000;
    (denominator != 0 && numerator != 0 && base_hz != 0).then_some(base_hz)
}

#[expect(clippy::cast_possible_truncation, reason = "the comparison keeps it below 2^64")]
const fn saturate(value: u128) -> u64 {
    if value > u64::MAX as u128 { u64::MAX } else { value as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_agree_have_no_offset() {
        let mut offset = CounterOffset::new();
        assert_eq!(offset.value(), 0);
        offset.add(100, 150, 900);
        offset.add(1000, 1001, 1002);
        assert_eq!(offset.value(), 0);
    }

    #[test]
    fn the_best_exchange_bounds_the_offset() {
        let mut offset = CounterOffset::new();
        for (before, delay) in [(100, 5000), (9000, 10), (20_000, 700)] {
            offset.add(before, before + 1_000_000 + delay / 2, before + delay);
        }
        assert!((999_990..=1_000_010).contains(&offset.value()), "{offset:?}");
        let mut behind = CounterOffset::new();
        behind.add(5_000_000, 4_000_010, 5_000_020);
        assert!((-1_000_010..=-999_990).contains(&behind.value()), "{behind:?}");
    }

    #[test]
    fn a_second_is_a_second_at_every_frequency() {
        for hz in [FREQUENCY_MIN_HZ, 1_000_000, 62_500_000, 999_999_999, 1_000_000_000, 2_599_999_137, 12_345_678_901] {
            let scale = Scale::new(hz).unwrap();
            let second = scale.nanoseconds(hz);
            assert!(second.abs_diff(1_000_000_000) <= 1, "{hz}: {second}");
            assert!(scale.nanoseconds(hz * 86_400 * 365).abs_diff(86_400 * 365 * 1_000_000_000) < 10_000, "{hz}");
            assert_eq!(scale.ticks(1_000_000_000), hz);
        }
    }

    #[test]
    fn extremes_saturate() {
        let slow = Scale::new(FREQUENCY_MIN_HZ).unwrap();
        assert_eq!(slow.nanoseconds(u64::MAX), u64::MAX);
        let fast = Scale::new(FREQUENCY_MAX_HZ).unwrap();
        assert_eq!(fast.ticks(u64::MAX), u64::MAX);
        assert!(Scale::new(0).is_none());
        assert!(Scale::new(u64::MAX).is_none());
    }

    #[test]
    fn timers_are_never_early() {
        let scale = Scale::new(2_600_000_000).unwrap();
        assert_eq!(scale.ticks(1), 3);
        assert_eq!(scale.ticks(0), 0);
    }

    #[test]
    fn calibration() {
        // 10 ms of the 8254 against counters of 1 GHz (an emulator that counts instructions) and 10.2 GHz.
        assert_eq!(frequency(10_000_000, 11_932, PIT_HZ), Some(999_984_915));
        assert!(frequency(102_000_000, 11_932, PIT_HZ).unwrap().abs_diff(10_200_000_000) < 20_000_000);
        assert_eq!(frequency(1, 0, PIT_HZ), None);
        assert_eq!(frequency(u64::MAX, 1, u64::MAX), None);
        assert_eq!(frequency(0, 1000, PIT_HZ), None);
        assert_eq!(median(&mut [5, 900, 4]), Some(5));
        assert_eq!(median(&mut []), None);
    }

    #[test]
    fn the_timer_wraps() {
        assert_eq!(pm_timer_elapsed(0x00ff_fff0, 0x10, false), 0x20);
        assert_eq!(pm_timer_elapsed(0xffff_fff0, 0x10, true), 0x20);
    }

    #[test]
    fn cpuid() {
        assert_eq!(tsc_frequency_by_cpuid((2, 216, 24_000_000), 0), Some(2_592_000_000));
        assert_eq!(tsc_frequency_by_cpuid((2, 216, 0), 2600), Some(2_600_000_000));
        assert_eq!(tsc_frequency_by_cpuid((0, 0, 0), 0), None);
        assert_eq!(tsc_frequency_by_cpuid((1, u32::MAX, u32::MAX), 0), None);
    }
}
