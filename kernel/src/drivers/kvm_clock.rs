//! KVM's paravirtual clock: the frequency of the time stamp counter and the time of day, and from then on whatever it says anew.
//!
//! The hypervisor writes its structures when their address is written to a register (Documentation/virt/kvm/x86/msr.rst), and again
//! when something has changed. Each CPU has one for its time. That of the first CPU is in the page that programs see: its
//! version tells them, and the kernel, that there is something to follow ([`firmware::following`] has the rules). The others' are looked
//! at while the counter is not stable.

use core::sync::atomic::{AtomicU32, Ordering, compiler_fence, fence};

use firmware::following::{Counter, Follower};
use firmware::pvclock::{self, TIME_LEN_BYTES, WALL_CLOCK_LEN_BYTES};
use sync::Once;
use vdso::page::{HYPERVISOR_OFFSET, HYPERVISOR_WORDS};
use x86_64::registers::model_specific::Msr;

use super::hal::DmaBuffer;
use crate::arch::boot::physical_in_image;
use crate::arch::percpu::PerCpu;
use crate::arch::smp::CPUS_MAX;
use crate::arch::{clock, cpu, interrupts};
use crate::platform::vdso::PAGE;

const LEAF_SIGNATURE: u32 = 0x4000_0000;
const LEAF_FEATURES: u32 = 0x4000_0001;
/// "KVMKVMKVM" in ebx, ecx, edx.
const SIGNATURE: [u32; 3] = [0x4b4d_564b, 0x564b_4d56, 0x0000_004d];
const FEATURE_CLOCK: u32 = 1 << 3;

const MSR_WALL_CLOCK: u32 = 0x4b56_4d00;
const MSR_SYSTEM_TIME: u32 = 0x4b56_4d01;
const ENABLE: u64 = 1;

/// Tries until the hypervisor was not writing.
const TRIES_MAX: usize = 1000;

/// What is known of the clock, where there is one.
static FOLLOWER: Once<Follower> = Once::new();
/// Where the hypervisor tells each CPU of its time; the first one's is in the page.
static AREAS: [Area; CPUS_MAX] = [const { Area([const { AtomicU32::new(0) }; HYPERVISOR_WORDS]) }; CPUS_MAX];

/// A structure of the hypervisor's, in one page.
#[repr(align(32))]
struct Area([AtomicU32; HYPERVISOR_WORDS]);

impl Area {
    /// What it says; none while the hypervisor writes.
    fn words(&self) -> Option<[u32; HYPERVISOR_WORDS]> {
        let Self(parts) = self;
        let words = parts.each_ref().map(|part| part.load(Ordering::Acquire));
        fence(Ordering::Acquire);
        let [before, ..] = words;
        let [version, ..] = parts;
        (before.is_multiple_of(2) && version.load(Ordering::Relaxed) == before).then_some(words)
    }
}

/// The counter of the CPU that runs. Interrupts are off.
struct OwnCounter;

impl Counter for OwnCounter {
    fn cycles(&self) -> u64 {
        clock::ordered_cycles()
    }

    fn own_words(&self) -> Option<[u32; HYPERVISOR_WORDS]> {
        match AREAS.get(PerCpu::current().index() as usize) {
            Some(area) if PerCpu::current().index() > 0 => area.words(),
            _ => PAGE.clock.hypervisor_time(),
        }
    }

    fn is_skewed(&self) -> bool {
        // As measured when the CPUs started. The hypervisor may hold them for stable all the same, and tells the offset of each.
        clock::is_skewed()
    }

    fn note_frequency(&self, frequency_hz: u64) {
        clock::note_frequency(frequency_hz);
    }
}

/// The time where the page tells none, if the hypervisor tells it.
pub(crate) fn now_ns() -> Option<u64> {
    let follower = FOLLOWER.get()?;
    Some(interrupts::without(|| follower.now_ns(&PAGE.clock, &OwnCounter)))
}

/// Begins to follow the hypervisor's clock, which [`read`] has found. The other CPUs do not run yet.
pub(super) fn follow() {
    interrupts::without(|| {
        let physical = physical_in_image(&raw const PAGE as usize) + HYPERVISOR_OFFSET as u64;
        // SAFETY: KVM has the register, since its clock was read. It writes into the part of the page that is for it.
        unsafe { Msr::new(MSR_SYSTEM_TIME).write(physical | ENABLE) };
        FOLLOWER.call_once(|| Follower::start(&PAGE.clock, &OwnCounter));
    });
}

/// Has the hypervisor tell this CPU, which is starting, of its time.
pub(crate) fn start_cpu() {
    let index = PerCpu::current().index() as usize;
    let Some(area) = AREAS.get(index).filter(|_| FOLLOWER.get().is_some()) else { return };
    // SAFETY: as in `follow`; the area is for this CPU's structure and nothing else.
    unsafe { Msr::new(MSR_SYSTEM_TIME).write(physical_in_image(&raw const *area as usize) | ENABLE) };
}

/// What the hypervisor told.
pub(super) struct Reading {
    pub(super) tsc_hz: u64,
    pub(super) unix_ns: u64,
}

/// Asks the hypervisor; none if it is not KVM.
pub(super) fn read() -> Option<Reading> {
    let signature = cpu::cpuid(LEAF_SIGNATURE, 0);
    let is_kvm = [signature.ebx, signature.ecx, signature.edx] == SIGNATURE;
    if !is_kvm || cpu::cpuid(LEAF_FEATURES, 0).eax & FEATURE_CLOCK == 0 {
        return None;
    }
    let page = DmaBuffer::new(TIME_LEN_BYTES + WALL_CLOCK_LEN_BYTES)?;
    let wall_clock_at = page.physical() + TIME_LEN_BYTES as u64;
    // SAFETY: KVM has these registers (FEATURE_CLOCK). It writes into the page, which is ours and big enough.
    unsafe {
        Msr::new(MSR_SYSTEM_TIME).write(page.physical() | ENABLE);
        Msr::new(MSR_WALL_CLOCK).write(wall_clock_at);
    }
    let reading = (0..TRIES_MAX).find_map(|_| read_page(&page));
    // SAFETY: as above; zero makes KVM forget the page, which may be freed then.
    unsafe { Msr::new(MSR_SYSTEM_TIME).write(0) };
    reading
}

fn read_page(page: &DmaBuffer) -> Option<Reading> {
    let (mut time, mut again, mut wall) = ([0; TIME_LEN_BYTES], [0; TIME_LEN_BYTES], [0; WALL_CLOCK_LEN_BYTES]);
    page.read(0, &mut time);
    compiler_fence(Ordering::SeqCst);
    page.read(TIME_LEN_BYTES, &mut wall);
    compiler_fence(Ordering::SeqCst);
    page.read(0, &mut again);
    let time = pvclock::Time::parse(&time)?;
    if pvclock::Time::parse(&again)?.version != time.version {
        return None;
    }
    let system_ns = time.nanoseconds(clock::cycles());
    let unix_ns = pvclock::parse_wall_clock(&wall)?.saturating_add(system_ns);
    Some(Reading { tsc_hz: time.frequency_hz()?, unix_ns })
}
