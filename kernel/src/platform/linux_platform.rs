//! `linux::Platform` on this machine.

use alloc::boxed::Box;
use core::arch::x86_64::CpuidResult;

use abi::Errno;
use linux::{CpuInfo, InvalidVectorState, Outcome, Platform, Thread};
use mm::{AddressSpace, PageTable};
use x86_64::VirtAddr;
use x86_64::registers::model_specific::FsBase;

use super::end;
use crate::arch::cpu::{self, Features};
use crate::arch::percpu::{self, PerCpu};
use crate::arch::{clock, vector_state};
use crate::memory::page_table::UserPageTable;
use crate::memory::paging;

/// The only machine there is.
pub(crate) struct MachinePlatform;

impl Platform for MachinePlatform {
    fn cpu_info(&self) -> CpuInfo {
        let has_xsave = cpu::features().contains(Features::XSAVE);
        CpuInfo {
            count: 1,
            capabilities: u64::from(cpu::cpuid(1, 0).edx),
            // HWCAP2_FSGSBASE; HWCAP2_RING3MWAIT is not ours to give.
            capabilities2: if cpu::features().contains(Features::FSGSBASE) { 1 << 1 } else { 0 },
            vector_state_size: vector_state::size_bytes(),
            vector_features: has_xsave.then(vector_state::enabled),
        }
    }

    fn current_cpu(&self) -> u32 {
        PerCpu::current().index()
    }

    fn set_fs_base(&self, address: u64) {
        FsBase::write(VirtAddr::new_truncate(address));
    }

    fn fs_base(&self) -> u64 {
        FsBase::read().as_u64()
    }

    fn set_gs_base(&self, address: u64) -> Result<(), Errno> {
        percpu::set_program_gs(address);
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

    fn reset_vector_state(&self) {
        vector_state::reset();
    }

    fn new_page_table(&self) -> Result<Box<dyn PageTable>, Errno> {
        let table = UserPageTable::new().ok_or(Errno::ENOMEM)?;
        Ok(Box::new(table))
    }

    fn activate(&self, space: &AddressSpace) {
        // SAFETY: the root is a top table made by `UserPageTable::new`, with the kernel's upper half; the caller keeps the
        // address space alive while it is current.
        unsafe { paging::set_root(space.root()) };
    }

    fn kick(&self, _thread: &Thread) {
        // One CPU: whoever calls this has interrupted the thread, which looks at its attention word on its way back.
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let CpuidResult { eax, ebx, ecx, edx } = cpu::cpuid(leaf, subleaf);
        [eax, ebx, ecx, edx]
    }

    fn tsc_khz(&self) -> u64 {
        clock::frequency_hz() / 1000
    }

    fn set_timer(&self, deadline_ns: u64) {
        super::timer::set_service(deadline_ns);
    }

    fn end(&self, outcome: Outcome) -> ! {
        end::program_ended(outcome)
    }
}
