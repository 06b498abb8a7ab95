//! How fast the machine's counters run, and what time it is.
//!
//! The frequency of the time stamp counter comes from the best source there is: the hypervisor, the processor's own
//! word, or a measurement: against the local APIC's timer, which counts nanoseconds in QEMU and KVM, if we know that it is
//! QEMU's; ACPI's power management timer; the 8254; the local APIC's timer on the chance that it is one of the former. The
//! local APIC's timer is measured against the time stamp counter.

use firmware::acpi::{Fadt, Space};
use firmware::clock as arithmetic;
use firmware::command_line::Options;

use super::acpi::Facts;
use super::io::Ports;
use super::{kvm_clock, pit, rtc};
use crate::arch::cpu::{self, Features};
use crate::arch::{apic, clock};

/// How long the power management timer is watched: 4 ms against a reading error of about 1 us.
const PM_TIMER_TICKS: u32 = 14_318;
/// Readings of which the quickest one counts.
const READINGS: usize = 8;
/// How often the timer is looked at: one that stands still must not stop the kernel.
const LOOKS_MAX: usize = 10_000_000;
/// How long the local APIC's timer is watched at least.
const APIC_INTERVAL_NS: u64 = 1_000_000;
/// The leaf of CPUID that names the hypervisor, and the name of QEMU's emulator ("TCGTCGTCGTCG").
const LEAF_HYPERVISOR: u32 = 0x4000_0000;
const QEMU_SIGNATURE: [u32; 3] = [0x5447_4354, 0x4354_4743, 0x4743_5447];
/// What the local APIC's timer of QEMU and KVM counts, and how long it is watched: 2 ms against a reading error of 0.1 us.
const APIC_HZ: u64 = 1_000_000_000;
const APIC_TICKS: u32 = 2_000_000;

/// Sets the clocks of `arch` going.
#[inline(never)]
pub(super) fn run(facts: &Facts, options: &Options) {
    // The local APIC's timer counts meanwhile, so that its own measurement takes no time.
    apic::start_counting();
    let apic_start = pair(apic::ticks_counted);
    let hypervisor = kvm_clock::read();
    let (frequency_hz, source) = match &hypervisor {
        Some(reading) => (reading.tsc_hz, "KVM"),
        None => tsc_frequency(facts.fadt.as_ref()),
    };
    let is_kvm = hypervisor.is_some();
    clock::set_frequency(frequency_hz);
    log::debug!("time stamp counter: {frequency_hz} Hz by {source}");
    let century = facts.fadt.and_then(|fadt| fadt.century_register);
    let unix_ns = hypervisor.map(|reading| reading.unix_ns).or_else(|| {
        let seconds = rtc::read(century).or(options.clock_seconds)?;
        u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)
    });
    if is_kvm {
        kvm_clock::follow();
    }
    match unix_ns {
        Some(unix_ns) => clock::set_realtime(unix_ns),
        None => log::warn!("nobody tells the time of day"),
    }
    // It waits, and what was read of the time of day would be late by that.
    calibrate_apic(apic_start);
}

fn tsc_frequency(fadt: Option<&Fadt>) -> (u64, &'static str) {
    let (leaf_15, leaf_16) = (cpu::cpuid(0x15, 0), cpu::cpuid(0x16, 0));
    let told = arithmetic::tsc_frequency_by_cpuid((leaf_15.eax, leaf_15.ebx, leaf_15.ecx), leaf_16.eax);
    let by_pm_timer = || fadt.and_then(measure_by_pm_timer).map(|hz| (hz, "the ACPI timer"));
    let by_pit = || pit::measure(pair).map(|hz| (hz, "the 8254"));
    let by_apic = || (measure_by_apic(), "the local APIC");
    let by_known_apic = || is_apic_known().then(by_apic);
    let found = told.map(|hz| (hz, "CPUID")).or_else(by_known_apic).or_else(by_pm_timer).or_else(by_pit);
    found.unwrap_or_else(by_apic)
}

/// Whether the frequency of the local APIC's timer is certain: one read of it is more exact than those of the others.
fn is_apic_known() -> bool {
    let signature = cpu::cpuid(LEAF_HYPERVISOR, 0);
    cpu::features().contains(Features::HYPERVISOR) && [signature.ebx, signature.ecx, signature.edx] == QEMU_SIGNATURE
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
    let (start, start_cycles) = pair(apic::ticks_counted);
    let has_ended = (0..LOOKS_MAX).any(|_| apic::ticks_counted().saturating_sub(start) >= APIC_TICKS);
    let (end, end_cycles) = pair(apic::ticks_counted);
    let ticks = u64::from(end.saturating_sub(start));
    let hz = arithmetic::frequency(end_cycles.saturating_sub(start_cycles), ticks, APIC_HZ).filter(|_| has_ended);
    hz.unwrap_or(APIC_HZ)
}

/// Tells the local APIC how fast its timer is, from a reading of a while ago.
fn calibrate_apic((start, start_cycles): (u32, u64)) {
    let Some(scale) = arithmetic::Scale::new(clock::frequency_hz()) else { return };
    let interval_ns = |cycles: u64| scale.nanoseconds(cycles.saturating_sub(start_cycles));
    while interval_ns(clock::cycles()) < APIC_INTERVAL_NS {
        core::hint::spin_loop();
    }
    let (end, end_cycles) = pair(apic::ticks_counted);
    apic::set_frequency(end.saturating_sub(start), interval_ns(end_cycles));
}
