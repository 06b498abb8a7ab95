//! Interrupts that one CPU sends another.
//!
//! - [`reschedule`]: look at what you should run. The handler is the scheduler's.
//! - [`flush`]: look into your inbox of flushes (`memory::tlb`, which has the protocol).
//! - [`park_others`]: the machine is being switched off, stand still. Taken only with interrupts on, so with no lock held
//!   that interrupts care about.
//! - [`stop_others`]: the kernel is dying, stand still. A non-maskable interrupt, so that a CPU that spins with interrupts off
//!   stops as well; [`stop_if_asked`] tells it from a real one.
//!
//! Sending takes no lock, and is allowed anywhere, in interrupts and under every lock. Several requests of one kind before the
//! first is served may arrive as one: every receiver looks at memory for what is wanted, which the sender wrote before.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use linux::Registers;

use super::interrupts::{self, FLUSH_VECTOR, PARK_VECTOR, RESCHEDULE_VECTOR};
use super::percpu::PerCpu;
use super::smp::CPUS_MAX;
use super::{apic, clock, cpu, smp};
use crate::memory::tlb;

/// How long is waited for the others to stand still. A host with few processors may let them run one after another.
const STOP_NS_MAX: u64 = 50_000_000;

static IS_STOPPING: AtomicBool = AtomicBool::new(false);
static STOPPED: AtomicU32 = AtomicU32::new(0);
static PARKED: AtomicU32 = AtomicU32::new(0);
/// Where a CPU was when it was stopped; zero: it was not.
struct Place {
    rip: AtomicU64,
    frame_pointer: AtomicU64,
}

static PLACES: [Place; CPUS_MAX] =
    [const { Place { rip: AtomicU64::new(0), frame_pointer: AtomicU64::new(0) } }; CPUS_MAX];

/// Makes the handlers known; once, on the first CPU.
pub(crate) fn init() {
    interrupts::set_handler(FLUSH_VECTOR, |_| tlb::serve());
    interrupts::set_handler(PARK_VECTOR, park);
}

/// Makes all other CPUs stand still for ever, each where it takes interrupts, and waits a little until they do.
pub(crate) fn park_others() {
    let count = smp::count();
    if count == 1 {
        return;
    }
    let own = apic::id();
    for id in (0..count).filter_map(smp::apic_id).filter(|id| *id != own) {
        apic::send(id, PARK_VECTOR);
    }
    let end = clock::now_ns().saturating_add(STOP_NS_MAX);
    while PARKED.load(Ordering::SeqCst) + 1 < count && clock::now_ns() < end {
        // One that waits for us to flush is not in its interrupt yet.
        tlb::serve();
        core::hint::spin_loop();
    }
}

fn park(_vector: u8) {
    PARKED.fetch_add(1, Ordering::SeqCst);
    cpu::halt_forever();
}

/// Makes `cpu` run the scheduler's handler (`interrupts::set_handler` of `RESCHEDULE_VECTOR`).
pub(crate) fn reschedule(cpu: u32) {
    send(cpu, RESCHEDULE_VECTOR);
}

/// Makes `cpu` serve its flushes.
pub(crate) fn flush(cpu: u32) {
    send(cpu, FLUSH_VECTOR);
}

fn send(cpu: u32, vector: u8) {
    debug_assert!(cpu < smp::count(), "interrupt for a CPU that is not there");
    if let Some(id) = smp::apic_id(cpu) {
        apic::send(id, vector);
    }
}

/// Makes all other CPUs stand still for ever, and waits a little until they do. For a kernel that is dying, once.
pub(crate) fn stop_others() {
    let count = smp::count();
    if count == 1 || IS_STOPPING.swap(true, Ordering::SeqCst) {
        return;
    }
    let own = apic::id();
    for id in (0..count).filter_map(smp::apic_id).filter(|id| *id != own) {
        apic::send_nmi(id);
    }
    let end = clock::now_ns().saturating_add(STOP_NS_MAX);
    while STOPPED.load(Ordering::SeqCst) + 1 < count && clock::now_ns() < end {
        core::hint::spin_loop();
    }
}

/// In a non-maskable interrupt: stands still if another CPU asked for it, and leaves word of where this one was.
pub(crate) fn stop_if_asked(registers: &Registers) {
    if IS_STOPPING.load(Ordering::SeqCst) {
        if let Some(place) = PLACES.get(PerCpu::number() as usize) {
            place.frame_pointer.store(registers.rbp, Ordering::Relaxed);
            place.rip.store(registers.rip, Ordering::Release);
        }
        STOPPED.fetch_add(1, Ordering::SeqCst);
        cpu::halt_forever();
    }
}

/// Where the CPUs were that `stop_others` stopped: number, instruction, frame pointer.
pub(crate) fn stopped_places() -> impl Iterator<Item = (usize, u64, u64)> {
    let places = PLACES.iter().enumerate();
    let places = places
        .map(|(cpu, place)| (cpu, place.rip.load(Ordering::Acquire), place.frame_pointer.load(Ordering::Relaxed)));
    places.filter(|(_, rip, _)| *rip != 0)
}
