//! Time from the cycle counter.
//!
//! `now_ns` is the monotonic clock: nanoseconds since the kernel was entered. The conversion is a 64 by 64 bit multiply
//! with a 128-bit product, so no frequency between 1 MHz and 1 THz overflows it. Wall clock is an offset to it.
#![expect(clippy::cast_possible_truncation, reason = "nanoseconds since boot fit for centuries")]

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Nanoseconds per cycle, 32 binary places.
static NS_PER_CYCLE_2_32: AtomicU64 = AtomicU64::new(0);
/// Cycles per nanosecond, 32 binary places.
static CYCLES_PER_NS_2_32: AtomicU64 = AtomicU64::new(0);
static BASE_CYCLES: AtomicU64 = AtomicU64::new(0);
static FREQUENCY_HZ: AtomicU64 = AtomicU64::new(0);
static REALTIME_OFFSET_NS: AtomicI64 = AtomicI64::new(0);

const NS_PER_SECOND: u64 = 1_000_000_000;

/// The cycle counter.
pub(crate) fn cycles() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction, and CR4.TSD is clear.
    unsafe { _rdtsc() }
}

/// Starts the monotonic clock: it is zero now. A hypervisor's counter may have run for days.
pub(crate) fn start() {
    BASE_CYCLES.store(cycles(), Ordering::Relaxed);
}

/// Sets the counter's frequency.
pub(crate) fn set_frequency(frequency_hz: u64) {
    let frequency_hz = frequency_hz.max(1_000_000);
    let ns_per_cycle = (u128::from(NS_PER_SECOND) << 32) / u128::from(frequency_hz);
    let cycles_per_ns = (u128::from(frequency_hz) << 32) / u128::from(NS_PER_SECOND);
    NS_PER_CYCLE_2_32.store(u64::try_from(ns_per_cycle).unwrap_or(u64::MAX), Ordering::Relaxed);
    CYCLES_PER_NS_2_32.store(u64::try_from(cycles_per_ns).unwrap_or(u64::MAX), Ordering::Relaxed);
    FREQUENCY_HZ.store(frequency_hz, Ordering::Relaxed);
}

/// The counter's frequency, zero until known.
pub(crate) fn frequency_hz() -> u64 {
    FREQUENCY_HZ.load(Ordering::Relaxed)
}

/// Nanoseconds since `start`; zero until the frequency is known.
pub(crate) fn now_ns() -> u64 {
    let elapsed = cycles().wrapping_sub(BASE_CYCLES.load(Ordering::Relaxed));
    ((u128::from(elapsed) * u128::from(NS_PER_CYCLE_2_32.load(Ordering::Relaxed))) >> 32) as u64
}

/// The counter's value at a time of the monotonic clock.
pub(crate) fn tsc_at(time_ns: u64) -> u64 {
    let elapsed = (u128::from(time_ns) * u128::from(CYCLES_PER_NS_2_32.load(Ordering::Relaxed))) >> 32;
    u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(BASE_CYCLES.load(Ordering::Relaxed))
}

/// Sets the wall clock: it is `realtime_ns` since 1970 now.
pub(crate) fn set_realtime(realtime_ns: u64) {
    let offset = (realtime_ns as i64).wrapping_sub(now_ns() as i64);
    REALTIME_OFFSET_NS.store(offset, Ordering::Relaxed);
}

/// Wall clock, nanoseconds since 1970.
pub(crate) fn realtime_ns() -> u64 {
    now_ns().wrapping_add(REALTIME_OFFSET_NS.load(Ordering::Relaxed) as u64)
}

/// Turns of the busy loop that stands for a delay while the frequency is unknown.
const BLIND_SPINS: u32 = 1_000_000;

/// Spins for `interval_ns`; only for start-up and for dying.
pub(crate) fn delay(interval_ns: u64) {
    if frequency_hz() == 0 {
        for _ in 0..BLIND_SPINS {
            core::hint::spin_loop();
        }
        return;
    }
    let end = now_ns().saturating_add(interval_ns);
    while now_ns() < end {
        core::hint::spin_loop();
    }
}
