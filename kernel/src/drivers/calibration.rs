//! How fast the machine's counters run, and what time it is.
//!
//! The frequency of the time stamp counter comes from the best source there is: the hypervisor, the processor's own
//! word, or a measurement against ACPI's power management timer or the 8254. A machine with none of them still has the
//! local APIC's timer, which counts nanoseconds in QEMU and KVM. The local APIC's timer is measured against the time
//! stamp counter.

use firmware::acpi::{Fadt, Space};
use firmware::clock as arithmetic;
use firmware::command_line::Options;

use super::acpi::Facts;
use super::io::Ports;
use super::{kvm_clock, pit, rtc};
use crate::arch::{apic, clock, cpu};

/// How long the power management timer is watched: 4 ms against a reading error of about 1 us.
const PM_TIMER_TICKS: u32 = 14_318;
/// Readings of which the quickest one counts.
const READINGS: usize = 8;
/// How often the timer is looked at: one that stands still must not stop the kernel.
const LOOKS_MAX: usize = 10_000_000;
/// How long the local APIC's timer is watched.
const APIC_INTERVAL_NS: u64 = 1_000_000;
/// What the local APIC's timer of QEMU and KVM counts.
const APIC_HZ: u64 = 1_000_000_000;
const APIC_TICKS: u32 = 4_000_000;

/// Sets the clocks of `arch` going.
#[inline(never)]
pub(super) fn run(facts: &Facts, options: &Options) {
    let hypervisor = kvm_clock::read();
    let (frequency_hz, source) = match &hypervisor {
        Some(reading) => (reading.tsc_hz, "KVM"),
        None => tsc_frequency(facts.fadt.as_ref()),
    };
    clock::set_frequency(frequency_hz);
    log::debug!("time stamp counter: {frequency_hz} Hz by {source}");
    calibrate_apic();
    let century = facts.fadt.and_then(|fadt| fadt.century_register);
    let unix_ns = hypervisor.map(|reading| reading.unix_ns).or_else(|| {
        let seconds = rtc::read(century).or(options.clock_seconds)?;
        u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)
    });
    match unix_ns {
        Some(unix_ns) => clock::set_realtime(unix_ns),
        None => log::warn!("nobody tells the time of day"),
    }
}

fn tsc_frequency(fadt: Option<&Fadt>) -> (u64, &'static str) {
    let (leaf_15, leaf_16) = (cpu::cpuid(0x15, 0), cpu::cpuid(0x16, 0));
    let told = arithmetic::tsc_frequency_by_cpuid((leaf_15.eax, leaf_15.ebx, leaf_15.ecx), leaf_16.eax);
    let by_pm_timer = || fadt.and_then(measure_by_pm_timer).map(|hz| (hz, "the ACPI timer"));
    let by_pit = || pit::measure(pair).map(|hz| (hz, "the 8254"));
    let found = told.map(|hz| (hz, "CPUID")).or_else(by_pm_timer).or_else(by_pit);
    found.unwrap_or_else(|| (measure_by_apic(), "the local APIC"))
}

fn measure_by_pm_timer(fadt: &Fadt) -> Option<u64> {
    let (timer, is_32_bit) = fadt.timer?;
    let Space::Port(port) = timer.space else { return None };
    // SAFETY: the FADT says that the timer is there; reading it changes nothing.
    let timer = unsafe { Ports::new(port, 4) };
    let read = || timer.read::<u32>(0);
    let (start, start_cycles) = pair(read);
    let elapsed = |now| arithmetic::pm_timer_elapsed(start, now, is_32_bit);
    if !(0..LOOKS_MAX).any(|_| elapsed(read()) >= PM_TIMER_TICKS) {
        return None;
    }
    let (end, end_cycles) = pair(read);
    let cycles = end_cycles.saturating_sub(start_cycles);
    arithmetic::frequency(cycles, u64::from(elapsed(end)), arithmetic::PM_TIMER_HZ)
}

/// A reading of the timer and the cycle count in its middle, the quickest of several.
fn pair(read: impl Fn() -> u32) -> (u32, u64) {
    let attempt = |_| {
        let before = clock::cycles();
        let value = read();
        let after = clock::cycles();
        (after.saturating_sub(before), value, before + after.saturating_sub(before) / 2)
    };
    let best = (0..READINGS).map(attempt).min_by_key(|(duration, ..)| *duration);
    best.map_or((0, 0), |(_, value, cycles)| (value, cycles))
}

fn measure_by_apic() -> u64 {
    apic::start_counting();
    let (start, start_cycles) = pair(apic::ticks_counted);
    let has_ended = (0..LOOKS_MAX).any(|_| apic::ticks_counted().saturating_sub(start) >= APIC_TICKS);
    let (end, end_cycles) = pair(apic::ticks_counted);
    let ticks = u64::from(end.saturating_sub(start));
    let hz = arithmetic::frequency(end_cycles.saturating_sub(start_cycles), ticks, APIC_HZ).filter(|_| has_ended);
    hz.unwrap_or(APIC_HZ)
}

/// Tells the local APIC how fast its timer is.
fn calibrate_apic() {
    apic::start_counting();
    let (start, start_cycles) = pair(apic::ticks_counted);
    clock::delay(APIC_INTERVAL_NS);
    let (end, end_cycles) = pair(apic::ticks_counted);
    let scale = arithmetic::Scale::new(clock::frequency_hz());
    let interval_ns =
        scale.map_or(APIC_INTERVAL_NS, |scale| scale.nanoseconds(end_cycles.saturating_sub(start_cycles)));
    apic::set_frequency(end.saturating_sub(start), interval_ns);
}
