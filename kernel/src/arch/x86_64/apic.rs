//! The local APIC, by MMIO (xAPIC) or MSRs (x2APIC), and silence for the 8259s.
//!
//! The timer runs one-shot, by TSC deadline where the CPU has that. Facts from SDM volume 3, chapter 11.
//!
//! What is static here is the same on every CPU: all are in the same mode, and their timers count alike. The registers are
//! each CPU's own, at the same address.
#![expect(clippy::cast_possible_truncation, reason = "an APIC id is the low half of its MSR")]

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::{ApicBase, ApicBaseFlags, Msr};

use super::clock;
use super::cpu::{self, Features};
use super::interrupts::{SPURIOUS_VECTOR, TIMER_VECTOR};
use crate::memory::mmio;

/// Registers by xAPIC offset; x2APIC has them at MSR 0x800 + offset / 16.
const REGISTER_ID: u32 = 0x20;
const REGISTER_TASK_PRIORITY: u32 = 0x80;
const REGISTER_EOI: u32 = 0xb0;
const REGISTER_SPURIOUS: u32 = 0xf0;
const REGISTER_COMMAND: u32 = 0x300;
const REGISTER_COMMAND_HIGH: u32 = 0x310;
const REGISTER_TIMER: u32 = 0x320;
const REGISTER_LINT0: u32 = 0x350;
const REGISTER_LINT1: u32 = 0x360;
const REGISTER_ERROR: u32 = 0x370;
const REGISTER_TIMER_INITIAL: u32 = 0x380;
const REGISTER_TIMER_CURRENT: u32 = 0x390;
const REGISTER_TIMER_DIVIDE: u32 = 0x3e0;

const MASKED: u32 = 1 << 16;
const DELIVER_NMI: u32 = 0b100 << 8;
const DELIVER_INIT: u32 = 0b101 << 8;
const DELIVER_STARTUP: u32 = 0b110 << 8;
const LEVEL_ASSERT: u32 = 1 << 14;
/// An interrupt command that has not been sent yet, in xAPIC mode.
const COMMAND_PENDING: u32 = 1 << 12;
/// How often is looked whether a command was sent.
const COMMAND_LOOKS_MAX: u32 = 100_000;
/// The highest id that xAPIC mode can send to; the one above means everybody.
const XAPIC_ID_MAX: u32 = 254;
const TIMER_TSC_DEADLINE: u32 = 2 << 17;
const DIVIDE_BY_1: u32 = 0b1011;
const SOFTWARE_ENABLE: u32 = 1 << 8;
const MSR_TSC_DEADLINE: u32 = 0x6e0;
const MSR_X2APIC_BASE: u32 = 0x800;

static MMIO_BASE: AtomicUsize = AtomicUsize::new(0);
static USES_X2APIC: AtomicBool = AtomicBool::new(false);
/// Timer ticks per 2^32 ns; zero until calibrated.
static TICKS_PER_2_32_NS: AtomicU64 = AtomicU64::new(0);

fn read(register: u32) -> u32 {
    if USES_X2APIC.load(Ordering::Relaxed) {
        // SAFETY: the register exists in x2APIC mode, which is on; reading has no side effect that anybody counts on.
        unsafe { Msr::new(MSR_X2APIC_BASE + (register >> 4)).read() as u32 }
    } else {
        let base = MMIO_BASE.load(Ordering::Relaxed);
        // SAFETY: `init` mapped the APIC's page here, uncached, for ever; the offset is inside and aligned.
        unsafe { core::ptr::read_volatile((base + register as usize) as *const u32) }
    }
}

fn write(register: u32, value: u32) {
    if USES_X2APIC.load(Ordering::Relaxed) {
        // SAFETY: as in `read`; the values written are those the manual defines.
        unsafe { Msr::new(MSR_X2APIC_BASE + (register >> 4)).write(u64::from(value)) };
    } else {
        let base = MMIO_BASE.load(Ordering::Relaxed);
        // SAFETY: as in `read`.
        unsafe { core::ptr::write_volatile((base + register as usize) as *mut u32, value) };
    }
}

/// Masks both 8259s after moving their vectors out of the way of exceptions: even masked they can send a spurious one.
pub(crate) fn silence_8259() {
    const PORTS: [(u16, u8); 10] = [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, 0x20),
        (0xa1, 0x28),
        (0x21, 4),
        (0xa1, 2),
        (0x21, 1),
        (0xa1, 1),
        (0x21, 0xff),
        (0xa1, 0xff),
    ];
    for (port, value) in PORTS {
        // SAFETY: these ports are the 8259s' or nobody's; the sequence is their documented initialisation.
        unsafe { Port::<u8>::new(port).write(value) };
    }
}

/// Switches the local APIC of this CPU on. False: the APIC page cannot be mapped.
pub(crate) fn init() -> bool {
    let (base, flags) = ApicBase::read();
    if cpu::features().contains(Features::X2APIC) {
        // SAFETY: the feature is there; going from xAPIC to x2APIC mode is allowed.
        unsafe {
            ApicBase::write(base, flags | ApicBaseFlags::LAPIC_ENABLE | ApicBaseFlags::X2APIC_ENABLE);
        }
        USES_X2APIC.store(true, Ordering::Relaxed);
    } else {
        // SAFETY: enabling keeps the base where firmware put it.
        unsafe { ApicBase::write(base, flags | ApicBaseFlags::LAPIC_ENABLE) };
        if MMIO_BASE.load(Ordering::Relaxed) == 0 {
            let Some(mapped) = mmio::map(base.start_address().as_u64(), 4096) else { return false };
            MMIO_BASE.store(mapped, Ordering::Relaxed);
        }
    }
    write(REGISTER_TASK_PRIORITY, 0);
    write(REGISTER_LINT0, MASKED);
    // Where PCs wire the non-maskable interrupt.
    write(REGISTER_LINT1, DELIVER_NMI);
    write(REGISTER_ERROR, MASKED);
    write(REGISTER_TIMER, MASKED);
    write(REGISTER_SPURIOUS, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
    write(REGISTER_TIMER_DIVIDE, DIVIDE_BY_1);
    true
}

/// This CPU's APIC id.
pub(crate) fn id() -> u32 {
    let raw = read(REGISTER_ID);
    if USES_X2APIC.load(Ordering::Relaxed) { raw } else { raw >> 24 }
}

/// Whether interrupts can be sent to the CPU with this id.
pub(crate) fn can_reach(id: u32) -> bool {
    USES_X2APIC.load(Ordering::Relaxed) || id <= XAPIC_ID_MAX
}

/// Sends the interrupt `vector` to a CPU. From any context; needs no lock.
pub(crate) fn send(id: u32, vector: u8) {
    command(id, LEVEL_ASSERT | u32::from(vector));
}

/// Sends a non-maskable interrupt to a CPU.
pub(crate) fn send_nmi(id: u32) {
    command(id, LEVEL_ASSERT | DELIVER_NMI);
}

/// Resets a CPU, which then waits for `send_startup`.
pub(crate) fn send_init(id: u32) {
    command(id, LEVEL_ASSERT | DELIVER_INIT);
}

/// Lets a CPU that was reset begin at `page`, an address below 1 MiB.
pub(crate) fn send_startup(id: u32, page: u64) {
    command(id, LEVEL_ASSERT | DELIVER_STARTUP | (page >> 12) as u32 & 0xff);
}

/// Writes the interrupt command register. What this CPU wrote to memory before is seen by whoever is interrupted.
fn command(id: u32, what: u32) {
    if USES_X2APIC.load(Ordering::Relaxed) {
        // SAFETY: the fences order earlier stores before the write of the register, which does not serialise by itself (SDM
        // volume 3, 11.12.3); the register exists, and the command is one the manual defines.
        unsafe {
            core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags));
            Msr::new(MSR_X2APIC_BASE + (REGISTER_COMMAND >> 4)).write(u64::from(id) << 32 | u64::from(what));
        }
        return;
    }
    // One command is two writes: no interrupt of this CPU may send another one between them.
    super::interrupts::without(|| {
        let is_pending = || read(REGISTER_COMMAND) & COMMAND_PENDING != 0;
        if !(0..COMMAND_LOOKS_MAX).any(|_| !is_pending()) {
            log::debug!("the local APIC does not send");
        }
        write(REGISTER_COMMAND_HIGH, id << 24);
        write(REGISTER_COMMAND, what);
    });
}

/// Tells the APIC that the interrupt in service is done.
pub(crate) fn acknowledge() {
    write(REGISTER_EOI, 0);
}

/// Starts the timer at its highest count without an interrupt, for calibration.
pub(crate) fn start_counting() {
    write(REGISTER_TIMER, MASKED);
    write(REGISTER_TIMER_INITIAL, u32::MAX);
}

/// Ticks since `start_counting`.
pub(crate) fn ticks_counted() -> u32 {
    u32::MAX - read(REGISTER_TIMER_CURRENT)
}

/// Takes the result of calibration: `ticks` timer ticks in `interval_ns`. Makes the timer of this CPU usable.
pub(crate) fn set_frequency(ticks: u32, interval_ns: u64) {
    let ratio = (u128::from(ticks) << 32) / u128::from(interval_ns.max(1));
    TICKS_PER_2_32_NS.store(u64::try_from(ratio).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    enable_timer();
}

/// Makes the timer of this CPU usable; the frequency has been set.
pub(crate) fn enable_timer() {
    write(REGISTER_TIMER_INITIAL, 0);
    let mode = if uses_deadline() { TIMER_TSC_DEADLINE } else { 0 };
    write(REGISTER_TIMER, mode | u32::from(TIMER_VECTOR));
    // A deadline written before the mode takes effect would be lost (SDM volume 3, 11.5.4.1).
    core::sync::atomic::fence(Ordering::SeqCst);
}

fn uses_deadline() -> bool {
    cpu::features().contains(Features::TSC_DEADLINE)
}

/// Makes the timer fire once at `deadline_ns` of the monotonic clock; at once when that has passed. A deadline further away
/// than the timer can count fires early: whoever waits looks at the clock.
pub(crate) fn set_timer(deadline_ns: u64) {
    if uses_deadline() {
        // SAFETY: the CPU has the MSR. A value of the past fires at once.
        unsafe { Msr::new(MSR_TSC_DEADLINE).write(clock::tsc_at(deadline_ns).max(1)) };
        return;
    }
    let delta_ns = deadline_ns.saturating_sub(clock::now_ns());
    let ticks = (u128::from(delta_ns) * u128::from(TICKS_PER_2_32_NS.load(Ordering::Relaxed))) >> 32;
    write(REGISTER_TIMER_INITIAL, u32::try_from(ticks).unwrap_or(u32::MAX).max(1));
}
