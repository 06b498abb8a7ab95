//! KVM's paravirtual clock, read once: the frequency of the time stamp counter and the time of day.
//!
//! The hypervisor writes both structures when their address is written to a register (Documentation/virt/kvm/x86/msr.rst).
//! Afterwards the counter is read directly, which is what the structure would have us do while the counter is stable.

use core::sync::atomic::{Ordering, compiler_fence};

use firmware::pvclock::{self, TIME_LEN_BYTES, WALL_CLOCK_LEN_BYTES};
use x86_64::registers::model_specific::Msr;

use super::hal::DmaBuffer;
use crate::arch::{clock, cpu};

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

/// What the hypervisor told.
pub(super) struct Reading {
    pub(super) tsc_hz: u64,
    pub(super) unix_ns: u64,
}

/// Asks the hypervisor; none if it is not KVM, or its counter is not stable.
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
    if !time.is_stable || pvclock::Time::parse(&again)?.version != time.version {
        return None;
    }
    let system_ns = time.nanoseconds(clock::cycles());
    let unix_ns = pvclock::parse_wall_clock(&wall)?.saturating_add(system_ns);
    Some(Reading { tsc_hz: time.frequency_hz()?, unix_ns })
}
