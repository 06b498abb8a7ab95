//! `linux::Platform` on this machine.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::arch::x86_64::CpuidResult;
use core::ops::Range;
use core::sync::atomic::Ordering;

use abi::Errno;
use linux::{
    CpuCounters, CpuInfo, ExceptionCounters, FlushCounters, HeapClass, InvalidVectorState, Outcome, Platform, Thread,
    ThreadStart, VdsoFrames,
};
use mm::{AddressSpace, PageTable};
use sched::{CpuSet, Policy};
use x86_64::VirtAddr;
use x86_64::registers::model_specific::FsBase;

use super::{end, observe, profile, vdso};
use crate::arch::cpu::{self, Features};
use crate::arch::percpu::{self, PerCpu};
use crate::arch::{clock, smp, vector_state};
use crate::memory::page_table::UserPageTable;
use crate::memory::{self, heap, paging, tlb};
use crate::threads::{self, control, schedule, timer};

/// The only machine there is.
pub(crate) struct MachinePlatform;

impl Platform for MachinePlatform {
    fn cpu_info(&self) -> CpuInfo {
        let has_xsave = cpu::features().contains(Features::XSAVE);
        CpuInfo {
            count: smp::count(),
            capabilities: u64::from(cpu::cpuid(1, 0).edx),
            // HWCAP2_FSGSBASE; HWCAP2_RING3MWAIT is not ours to give.
            capabilities2: if cpu::features().contains(Features::FSGSBASE) { 1 << 1 } else { 0 },
            vector_state_size: vector_state::size_bytes(),
            vector_features: has_xsave.then(vector_state::enabled),
        }
    }

    fn current_cpu(&self) -> u32 {
        PerCpu::number()
    }

    fn set_fs_base(&self, address: u64) {
        FsBase::write(VirtAddr::new_truncate(address));
    }

    fn fs_base(&self) -> u64 {
        FsBase::read().as_u64()
    }

    fn set_gs_base(&self, address: u64) -> Result<(), Errno> {
        control::set_gs(address);
        Ok(())
    }

    fn gs_base(&self) -> u64 {
        percpu::program_gs()
    }

    fn save_vector_state(&self, state: &mut [u8]) {
        vector_state::save(state);
    }

    fn restore_vector_state(&self, state: &[u8], features: u64) -> Result<(), InvalidVectorState> {
        vector_state::restore(state, features)
    }

    fn save_vector_state_to_user(&self, address: usize) -> Result<(), Errno> {
        if vector_state::save_to_user(address) { Ok(()) } else { Err(Errno::EFAULT) }
    }

    fn restore_vector_state_from_user(&self, address: usize, features: Option<u64>) -> Result<(), InvalidVectorState> {
        vector_state::restore_from_user(address, features)
    }

    fn reset_vector_state(&self) {
        vector_state::reset();
    }

    fn new_page_table(&self) -> Result<Box<dyn PageTable>, Errno> {
        let table = UserPageTable::new().ok_or(Errno::ENOMEM)?;
        Ok(Box::new(table))
    }

    fn activate(&self, space: &AddressSpace) {
        let root = space.root();
        control::set_root(root);
        // SAFETY: the root is a top table made by `UserPageTable::new`, with the kernel's upper half; the caller keeps the
        // address space alive while it is current. A thread that is moved in between finds it in its context.
        unsafe { paging::set_root(root) };
    }

    fn kick(&self, thread: &Thread) {
        control::kick(thread);
    }

    fn note_timer(&self) {
        if let Some(thread) = PerCpu::thread() {
            thread.note_timer();
        }
    }

    fn yield_now(&self) {
        control::yield_now();
    }

    fn reschedule(&self) {
        schedule::reschedule_on_exit();
    }

    fn create_context(&self, thread: &Arc<Thread>, start: ThreadStart) -> Result<(), Errno> {
        control::create(thread, start)
    }

    fn launch(&self, thread: &Thread) {
        control::launch(thread);
    }

    fn abandon(&self, thread: &Thread) {
        control::abandon(thread);
    }

    fn exit_thread(&self, thread: &Thread, farewell: &mut dyn FnMut()) -> ! {
        // Its number may stay for long, as a first thread's does; its context serves another thread soon.
        thread.context().store(linux::NO_CONTEXT, Ordering::Release);
        control::exit(farewell)
    }

    fn policy(&self, thread: &Thread) -> Policy {
        control::policy(thread)
    }

    fn set_policy(&self, thread: &Thread, policy: Policy) {
        control::set_policy(thread, policy);
    }

    fn affinity(&self, thread: &Thread) -> CpuSet {
        control::affinity(thread)
    }

    fn set_affinity(&self, thread: &Thread, cpus: CpuSet) {
        control::set_affinity(thread, cpus);
    }

    fn runtime_ns(&self, thread: &Thread) -> u64 {
        control::runtime_ns(thread)
    }

    fn cpu_of(&self, thread: &Thread) -> u32 {
        control::cpu_of(thread)
    }

    fn is_runnable(&self, thread: &Thread) -> bool {
        control::is_runnable(thread)
    }

    fn cpu_counters(&self, cpu: u32) -> CpuCounters {
        threads::cpu::counters(cpu)
    }

    fn exception_counters(&self, cpu: u32) -> ExceptionCounters {
        threads::cpu::exceptions(cpu)
    }

    fn heap_classes(&self) -> Vec<HeapClass> {
        heap::classes().collect()
    }

    fn flush_counters(&self) -> FlushCounters {
        tlb::counters()
    }

    fn barrier(&self, space: Option<&AddressSpace>) {
        tlb::barrier(space.map(AddressSpace::root));
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let CpuidResult { eax, ebx, ecx, edx } = cpu::cpuid(leaf, subleaf);
        [eax, ebx, ecx, edx]
    }

    fn tsc_khz(&self) -> u64 {
        clock::frequency_hz() / 1000
    }

    fn set_realtime_ns(&self, now_ns: u64) {
        clock::set_realtime(now_ns);
    }

    fn vdso(&self) -> Option<VdsoFrames> {
        Some(vdso::frames())
    }

    fn set_time_zone(&self, minutes_west: i32, dst_time: i32) {
        vdso::PAGE.zone.set(minutes_west, dst_time);
    }

    fn call_by_syscall(&self) -> Option<Range<u64>> {
        Some(percpu::call_code())
    }

    fn set_timer(&self, deadline_ns: u64) {
        timer::set_service(deadline_ns);
    }

    fn observe(&self, line: &[u8]) {
        observe::write(line);
    }

    fn is_memory_exhausted(&self) -> bool {
        memory::frames::is_reserve_low()
    }

    fn note_end_of_memory(&self) {
        profile::drain();
    }

    fn end(&self, outcome: Outcome) -> ! {
        // Of the machine, not of a process: tests have many of these beside each other.
        vfs::shut_down();
        end::program_ended(outcome)
    }
}
