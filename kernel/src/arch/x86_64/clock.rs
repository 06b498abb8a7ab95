//! Time from the cycle counter.
//!
//! `now_ns` is the monotonic clock: nanoseconds since the kernel was entered. Wall clock is an offset to it. What turns the
//! counter into a time is the page that programs share ([`vdso::page`]): their vDSO and the kernel read one clock.
//!
//! # Several CPUs
//!
//! The clock never goes back, not even for somebody who reads it on one CPU after he was told of a reading on another:
//! 1. The counters of all CPUs agree, as hypervisors and firmware have it. Each CPU's is compared with the first one's when
//!    it starts. One that differs is corrected, if it can be; else the difference is kept and added at every reading,
//!    and what the comparison left unknown is covered by the latest reading of all CPUs, below which no reading goes. Programs
//!    have to ask the kernel then.
//! 2. KVM may say that counters differ, or run at another rate than before, at any time: `drivers::kvm_clock` follows it.
//! 3. The counter is read after all that the program did before, by a fence: the CPU could run ahead otherwise.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use firmware::clock::CounterOffset;
use vdso::page::{MONOTONIC, Rate};
use x86_64::registers::model_specific::Msr;

use super::cpu::{self, Features};
use super::interrupts;
use super::percpu::PerCpu;
use super::smp::CPUS_MAX;
use crate::drivers::kvm_clock;
use crate::platform::vdso::PAGE;

/// Cycles per nanosecond, 32 binary places.
static CYCLES_PER_NS_2_32: AtomicU64 = AtomicU64::new(0);
static FREQUENCY_HZ: AtomicU64 = AtomicU64::new(0);
/// Whether the counters of some CPUs differ.
static IS_SKEWED: AtomicBool = AtomicBool::new(false);
/// What is to be added to the counter of each CPU.
static OFFSETS: [AtomicI64; CPUS_MAX] = [const { AtomicI64::new(0) }; CPUS_MAX];
/// The latest time that anybody was told, where counters differ.
static LATEST_NS: AtomicU64 = AtomicU64::new(0);

/// Added to the counter of a CPU (SDM volume 3, 18.17.3).
const MSR_TSC_ADJUST: u32 = 0x3b;
/// Exchanges of one comparison.
const EXCHANGES: u64 = 8;
/// What asks for no answer but says that the comparison is over.
const COMPARISON_IS_OVER: u64 = u64::MAX;
/// The number of the question that a starting CPU asks.
static QUESTION: AtomicU64 = AtomicU64::new(0);
/// The number of the question that was answered last, and the answer.
static ANSWERED: AtomicU64 = AtomicU64::new(0);
static ANSWER: AtomicU64 = AtomicU64::new(0);

const FREQUENCY_MIN_HZ: u64 = 1_000_000;
const NS_PER_SECOND: u64 = 1_000_000_000;

/// The cycle counter.
pub(crate) fn cycles() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction, and CR4.TSD is clear.
    unsafe { _rdtsc() }
}

/// Starts the monotonic clock: it is zero now. A hypervisor's counter may have run for days.
pub(crate) fn start() {
    change_rate(|rate| Rate { base_cycles: cycles(), ..rate });
}

/// Sets the counter's frequency.
pub(crate) fn set_frequency(frequency_hz: u64) {
    let frequency_hz = frequency_hz.max(FREQUENCY_MIN_HZ);
    let ns_per_cycle = (u128::from(NS_PER_SECOND) << 32) / u128::from(frequency_hz);
    let multiplier = u64::try_from(ns_per_cycle).unwrap_or(u64::MAX);
    note_frequency(frequency_hz);
    change_rate(|rate| Rate { multiplier, ..rate });
}

/// Notes what the counter's frequency is from now on; the rate is changed by who calls.
pub(crate) fn note_frequency(frequency_hz: u64) {
    let frequency_hz = frequency_hz.max(FREQUENCY_MIN_HZ);
    let cycles_per_ns = (u128::from(frequency_hz) << 32) / u128::from(NS_PER_SECOND);
    CYCLES_PER_NS_2_32.store(u64::try_from(cycles_per_ns).unwrap_or(u64::MAX), Ordering::Relaxed);
    FREQUENCY_HZ.store(frequency_hz, Ordering::Relaxed);
}

fn change_rate(change: impl FnOnce(Rate) -> Rate) {
    interrupts::without(|| PAGE.clock.change_rate(change));
}

/// The counter's frequency, zero until known.
pub(crate) fn frequency_hz() -> u64 {
    FREQUENCY_HZ.load(Ordering::Relaxed)
}

/// Nanoseconds since `start`; zero until the frequency is known.
#[inline]
pub(crate) fn now_ns() -> u64 {
    PAGE.clock.nanoseconds(MONOTONIC, ordered_cycles).unwrap_or_else(other_now_ns)
}

/// As `now_ns`, where the page alone does not tell.
#[cold]
fn other_now_ns() -> u64 {
    kvm_clock::now_ns().unwrap_or_else(skewed_now_ns)
}

/// The cycle counter, not read before what precedes in the program.
#[inline]
pub(crate) fn ordered_cycles() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: as in `cycles`; `lfence` waits for the instructions before it.
    unsafe {
        core::arch::asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Whether the counters of some CPUs differ.
pub(crate) fn is_skewed() -> bool {
    IS_SKEWED.load(Ordering::Relaxed)
}

/// As `now_ns`, where the counters of CPUs differ.
fn skewed_now_ns() -> u64 {
    let rate = PAGE.clock.rate();
    let now = interrupts::without(|| rate.nanoseconds(ordered_cycles().wrapping_add_signed(own_offset())));
    now.max(LATEST_NS.fetch_max(now, Ordering::AcqRel))
}

/// What is to be added to the counter of this CPU; interrupts are off.
fn own_offset() -> i64 {
    OFFSETS.get(PerCpu::current().index() as usize).map_or(0, |offset| offset.load(Ordering::Relaxed))
}

/// The value of this CPU's counter at a time of the monotonic clock; the caller cannot migrate.
pub(crate) fn tsc_at(time_ns: u64) -> u64 {
    if PAGE.clock.is_withdrawn() {
        return ordered_cycles().saturating_add(cycles_in(time_ns.saturating_sub(now_ns())));
    }
    let rate = PAGE.clock.rate();
    cycles_in(time_ns.saturating_sub(rate.base_ns)).saturating_add(rate.base_cycles)
}

/// How often the counter counts in a while.
fn cycles_in(interval_ns: u64) -> u64 {
    let cycles = (u128::from(interval_ns) * u128::from(CYCLES_PER_NS_2_32.load(Ordering::Relaxed))) >> 32;
    u64::try_from(cycles).unwrap_or(u64::MAX)
}

/// Begins a comparison, on the first CPU, before another one starts.
pub(crate) fn prepare_comparison() {
    QUESTION.store(0, Ordering::SeqCst);
    ANSWERED.store(0, Ordering::SeqCst);
}

/// Answers the starting CPU, on the first one. True: the comparison is over.
pub(crate) fn serve_comparison() -> bool {
    let question = QUESTION.load(Ordering::SeqCst);
    if question != ANSWERED.load(Ordering::SeqCst) {
        ANSWER.store(ordered_cycles(), Ordering::SeqCst);
        ANSWERED.store(question, Ordering::SeqCst);
    }
    question == COMPARISON_IS_OVER
}

/// Compares the counter of the starting CPU, which runs this, with that of the first one, which serves. Interrupts are off.
pub(crate) fn compare_with_first() {
    let mut question = 0;
    let mut offset = measure_offset(&mut question);
    if offset != 0 && cpu::features().contains(Features::TSC_ADJUST) {
        let mut adjust = Msr::new(MSR_TSC_ADJUST);
        // SAFETY: the CPU has the register; nothing on this CPU has used its counter yet.
        unsafe { adjust.write(adjust.read().wrapping_add_signed(offset)) };
        offset = measure_offset(&mut question);
    }
    if offset != 0 {
        let index = PerCpu::current().index();
        log::warn!("the cycle counter of CPU {index} differs by {offset}: reading the time takes longer");
        if let Some(kept) = OFFSETS.get(index as usize) {
            kept.store(offset, Ordering::SeqCst);
        }
        IS_SKEWED.store(true, Ordering::SeqCst);
        interrupts::without(|| PAGE.clock.withdraw());
    }
    QUESTION.store(COMPARISON_IS_OVER, Ordering::SeqCst);
}

/// How far the first CPU's counter is ahead.
fn measure_offset(question: &mut u64) -> i64 {
    let mut offset = CounterOffset::new();
    for _ in 0..EXCHANGES {
        *question += 1;
        let before = ordered_cycles();
        QUESTION.store(*question, Ordering::SeqCst);
        while ANSWERED.load(Ordering::SeqCst) != *question {
            core::hint::spin_loop();
        }
        offset.add(before, ANSWER.load(Ordering::SeqCst), ordered_cycles());
    }
    offset.value()
}

/// Sets the wall clock: it is `realtime_ns` since 1970 now.
pub(crate) fn set_realtime(realtime_ns: u64) {
    let offset = (realtime_ns as i64).wrapping_sub(now_ns() as i64);
    interrupts::without(|| PAGE.clock.set_realtime_offset(offset));
}

/// Wall clock, nanoseconds since 1970.
pub(crate) fn realtime_ns() -> u64 {
    now_ns().wrapping_add_signed(PAGE.clock.realtime_offset())
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
