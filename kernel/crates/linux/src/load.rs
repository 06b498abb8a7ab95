//! [`LoadAverages`]: how many threads wanted a CPU over the last minute, five and fifteen, as `/proc/loadavg` and `sysinfo` show it.
//!
//! # Theory
//!
//! 1. Every [`PERIOD_NS`] the number of runnable threads is a sample `n`, and each average `a` becomes `a e + n (1 - e)` with
//!    `e = exp(-period / window)`: an exponentially weighted mean. As programs know the figures, they are computed as Linux does
//!    (`kernel/sched/loadavg.c`): in fixed point with [`FRACTION_BITS`] bits, rounded up while the load grows, so that a steady load
//!    is reached.
//! 2. There is no timer for it. A CPU that runs a thread takes some interrupts a second, and the first of them after a sample was
//!    due takes it ([`LoadAverages::look`]). So a sample that was missed by more than one period fell into a time when all CPUs were
//!    idle, and `k` of them at once are `a e^k`, with `e^k` by repeated squaring.
//! 3. One CPU wins the right to take what is due by an exchange of the due time; readers may see averages of two times at once, no
//!    more apart than one sample.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Time between samples: Linux's five seconds and a tick, so that it does not keep step with what happens every second.
const PERIOD_NS: u64 = 5_001_000_000;
/// Bits behind the point of an average.
pub const FRACTION_BITS: u32 = 11;
const ONE: u64 = 1 << FRACTION_BITS;
/// `exp(-5 s / 1 min)`, `exp(-5 s / 5 min)`, `exp(-5 s / 15 min)`.
const DECAYS: [u64; 3] = [1884, 2014, 2037];

/// The three averages.
#[derive(Debug)]
pub struct LoadAverages {
    next_ns: AtomicU64,
    averages: [AtomicU64; 3],
}

impl LoadAverages {
    /// No load yet, at time 0.
    pub(crate) const fn new() -> Self {
        Self { next_ns: AtomicU64::new(PERIOD_NS), averages: [const { AtomicU64::new(0) }; 3] }
    }

    /// To be called now and then while a CPU is busy: takes the samples that are due. `count_runnable` is asked only then. Callable
    /// from interrupts.
    #[inline]
    pub fn look(&self, now_ns: u64, count_runnable: impl FnOnce() -> u64) {
        let due_ns = self.next_ns.load(Relaxed);
        if now_ns >= due_ns {
            self.take(due_ns, now_ns, count_runnable);
        }
    }

    #[cold]
    fn take(&self, due_ns: u64, now_ns: u64, count_runnable: impl FnOnce() -> u64) {
        let periods = now_ns.saturating_sub(due_ns) / PERIOD_NS + 1;
        let next_ns = due_ns.saturating_add(periods.saturating_mul(PERIOD_NS));
        if self.next_ns.compare_exchange(due_ns, next_ns, Relaxed, Relaxed).is_err() {
            return;
        }
        let runnable = count_runnable();
        for (average, decay) in self.averages.iter().zip(DECAYS) {
            let rested = scale(average.load(Relaxed), power(decay, periods - 1));
            average.store(step(rested, decay, runnable), Relaxed);
        }
    }

    /// The averages in units of `2^-FRACTION_BITS`.
    pub fn get(&self) -> [u64; 3] {
        self.averages.each_ref().map(|average| average.load(Relaxed))
    }
}

/// An average after one more sample.
fn step(average: u64, decay: u64, runnable: u64) -> u64 {
    let sample = runnable.saturating_mul(ONE);
    let rounding = if sample >= average { ONE - 1 } else { 0 };
    let weighted = average.saturating_mul(decay).saturating_add(sample.saturating_mul(ONE - decay));
    weighted.saturating_add(rounding) / ONE
}

fn scale(average: u64, factor: u64) -> u64 {
    average.saturating_mul(factor) / ONE
}

/// `base^exponent` of a fraction, rounded to nearest.
fn power(mut base: u64, mut exponent: u64) -> u64 {
    let mut result = ONE;
    while exponent > 0 && base > 0 {
        if exponent & 1 == 1 {
            result = (result * base + ONE / 2) / ONE;
        }
        base = (base * base + ONE / 2) / ONE;
        exponent >>= 1;
    }
    if base == 0 { 0 } else { result }
}

/// The whole part and the hundredths of an average, rounded as Linux rounds.
pub fn hundredths(average: u64) -> (u64, u64) {
    let rounded = average + ONE / 200;
    (rounded >> FRACTION_BITS, ((rounded & (ONE - 1)) * 100) >> FRACTION_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_load_is_reached() {
        let load = LoadAverages::new();
        let mut calls = 0;
        for sample in 1..=400 {
            load.look(sample * PERIOD_NS, || {
                calls += 1;
                2
            });
            load.look(sample * PERIOD_NS + 1, || unreachable!("no sample is due"));
        }
        assert_eq!(calls, 400);
        assert_eq!(load.get().map(hundredths)[0], (2, 0));
        assert_eq!(load.get().map(hundredths)[1].0, 2);
    }

    #[test]
    fn the_first_samples_are_linux_s() {
        let load = LoadAverages::new();
        load.look(PERIOD_NS, || 1);
        // 0.08, 0.02 (rounded up), 0.01.
        assert_eq!(load.get(), [164, 34, 11]);
        assert_eq!(load.get().map(hundredths), [(0, 8), (0, 2), (0, 1)]);
    }

    #[test]
    fn idle_time_decays_at_once() {
        let (slow, fast) = (LoadAverages::new(), LoadAverages::new());
        for load in [&slow, &fast] {
            for sample in 1..=100 {
                load.look(sample * PERIOD_NS, || 3);
            }
        }
        for sample in 101..=112 {
            slow.look(sample * PERIOD_NS, || 0);
        }
        fast.look(112 * PERIOD_NS, || 0);
        for (one, other) in slow.get().into_iter().zip(fast.get()) {
            assert!(one.abs_diff(other) <= 12, "{one} {other}");
        }
        // A minute of rest takes the first to about 3 / e.
        assert!(slow.get()[0].abs_diff(3 * 2048 * 1000 / 2718) < 60, "{:?}", slow.get());
        fast.look(u64::MAX, || 0);
        assert_eq!(fast.get(), [0; 3]);
    }
}
