//! CPU features and the control registers that follow from them.
//!
//! Everything newer than the x86-64 baseline is optional.

use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
use core::sync::atomic::{AtomicU32, Ordering};

use x86_64::VirtAddr;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::{LStar, Msr};
use x86_64::registers::rflags::RFlags;

use super::percpu::PerCpu;

bitflags::bitflags! {
    /// Optional features that the kernel acts on.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Features: u32 {
        const XSAVE = 1 << 0;
        const XSAVEOPT = 1 << 1;
        const FSGSBASE = 1 << 2;
        const SMEP = 1 << 3;
        const GIB_PAGES = 1 << 4;
        const X2APIC = 1 << 5;
        const RDRAND = 1 << 6;
        const RDSEED = 1 << 7;
        const HYPERVISOR = 1 << 8;
        const PCID = 1 << 9;
        const TSC_DEADLINE = 1 << 10;
        const GLOBAL_PAGES = 1 << 11;
        const TSC_ADJUST = 1 << 12;
        const TSC_AUX = 1 << 13;
        const CRC32 = 1 << 14;
    }
}

static FEATURES: AtomicU32 = AtomicU32::new(0);

/// MSR numbers (SDM volume 4).
const MSR_STAR: u32 = 0xc000_0081;
const MSR_SFMASK: u32 = 0xc000_0084;
/// What RDTSCP and RDPID tell: the number of the CPU, as on Linux.
const MSR_TSC_AUX: u32 = 0xc000_0103;

/// What `syscall` clears: IF, TF, DF, AC, NT.
const SYSCALL_CLEARED: RFlags = RFlags::INTERRUPT_FLAG
    .union(RFlags::TRAP_FLAG)
    .union(RFlags::DIRECTION_FLAG)
    .union(RFlags::ALIGNMENT_CHECK)
    .union(RFlags::NESTED_TASK);

unsafe extern "C" {
    static syscall_entry: u8;
}

/// The features found by `detect`.
pub(crate) fn features() -> Features {
    Features::from_bits_retain(FEATURES.load(Ordering::Relaxed))
}

/// Whether instructions are translated by QEMU (TCG), as its signature says.
pub(crate) fn is_translated() -> bool {
    let signature = cpuid(0x4000_0000, 0);
    let words = [signature.ebx, signature.ecx, signature.edx];
    features().contains(Features::HYPERVISOR) && words.map(u32::to_le_bytes).as_flattened() == b"TCGTCGTCGTCG"
}

/// CPUID with the leaf checked against the highest one.
pub(crate) fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    let highest = __cpuid(leaf & 0xf000_0000).eax;
    let in_hypervisor_range = leaf & 0xf000_0000 == 0x4000_0000;
    if leaf > highest && !in_hypervisor_range {
        return CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    }
    __cpuid_count(leaf, subleaf)
}

/// Reads the features of this CPU. The first CPU speaks for all.
pub(crate) fn detect() {
    let one = cpuid(1, 0);
    let seven = cpuid(7, 0);
    let xsave = cpuid(0xd, 1);
    let extended = cpuid(0x8000_0001, 0);
    let mut found = Features::empty();
    for (feature, is_there) in [
        (Features::XSAVE, one.ecx & (1 << 26) != 0),
        (Features::XSAVEOPT, one.ecx & (1 << 26) != 0 && xsave.eax & 1 != 0),
        (Features::FSGSBASE, seven.ebx & 1 != 0),
        (Features::SMEP, seven.ebx & (1 << 7) != 0),
        (Features::GIB_PAGES, extended.edx & (1 << 26) != 0),
        (Features::CRC32, one.ecx & (1 << 20) != 0),
        (Features::X2APIC, one.ecx & (1 << 21) != 0),
        (Features::RDRAND, one.ecx & (1 << 30) != 0),
        (Features::RDSEED, seven.ebx & (1 << 18) != 0),
        (Features::HYPERVISOR, one.ecx & (1 << 31) != 0),
        (Features::PCID, one.ecx & (1 << 17) != 0),
        (Features::TSC_DEADLINE, one.ecx & (1 << 24) != 0),
        (Features::TSC_ADJUST, seven.ebx & (1 << 1) != 0),
        (Features::TSC_AUX, extended.edx & (1 << 27) != 0 || seven.ecx & (1 << 22) != 0),
        (Features::GLOBAL_PAGES, one.edx & (1 << 13) != 0),
    ] {
        found.set(feature, is_there);
    }
    FEATURES.store(found.bits(), Ordering::Relaxed);
}

/// Makes the no-execute bit of page tables mean something; before, it is reserved.
pub(crate) fn enable_no_execute() {
    // SAFETY: part of the x86-64 baseline; no table has the bit set yet.
    unsafe { Efer::update(|efer| efer.insert(EferFlags::NO_EXECUTE_ENABLE)) };
}

/// Sets the control registers of this CPU: NX, write protection in ring 0, SSE and XSAVE for the program, `syscall`.
///
/// # Safety
/// The page tables mark no page in use as not executable that is executed. `detect` has run.
pub(crate) unsafe fn configure() {
    let features = features();
    // SAFETY: each bit is set only where CPUID announces it or the x86-64 baseline has it; write protection binds only
    // writes to read-only pages, of which the kernel does none; SMEP concerns pages marked user, of which there are none.
    unsafe {
        Efer::update(|efer| efer.insert(EferFlags::NO_EXECUTE_ENABLE | EferFlags::SYSTEM_CALL_EXTENSIONS));
        Cr0::update(|cr0| {
            cr0.insert(Cr0Flags::WRITE_PROTECT | Cr0Flags::MONITOR_COPROCESSOR | Cr0Flags::NUMERIC_ERROR);
            cr0.remove(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED | Cr0Flags::ALIGNMENT_MASK);
        });
        Cr4::update(|cr4| {
            cr4.insert(Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE);
            cr4.set(Cr4Flags::OSXSAVE, features.contains(Features::XSAVE));
            cr4.set(Cr4Flags::FSGSBASE, features.contains(Features::FSGSBASE));
            cr4.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features.contains(Features::SMEP));
            cr4.set(Cr4Flags::PAGE_GLOBAL, features.contains(Features::GLOBAL_PAGES));
        });
        // Bits 47:32 are the CS of `syscall`; SS is the next selector.
        Msr::new(MSR_STAR).write(0x08 << 32);
        Msr::new(MSR_SFMASK).write(SYSCALL_CLEARED.bits());
        if features.contains(Features::TSC_AUX) {
            Msr::new(MSR_TSC_AUX).write(PerCpu::number().into());
        }
    }
    LStar::write(VirtAddr::new(&raw const syscall_entry as u64));
}

/// Stops this CPU for ever.
pub(crate) fn halt_forever() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
