//! The auxiliary vector: what the kernel tells a new program about itself and the machine.
//!
//! The entries and their order are Linux's. Entries that announce something the kernel may not have (a vDSO,
//! restartable sequences) appear only when the caller says it is there.

use alloc::vec::Vec;

use abi::auxv::{
    AT_BASE, AT_CLKTCK, AT_EGID, AT_ENTRY, AT_EUID, AT_EXECFN, AT_FLAGS, AT_GID, AT_HWCAP, AT_HWCAP2, AT_MINSIGSTKSZ,
    AT_NULL, AT_PAGESZ, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PLATFORM, AT_RANDOM, AT_RSEQ_ALIGN, AT_RSEQ_FEATURE_SIZE,
    AT_SECURE, AT_SYSINFO_EHDR, AT_UID,
};

use crate::{LoadPlan, PAGE_SIZE};

/// Bit of [`Facts::hardware_capabilities_2`]: the program may use `rdfsbase` and its siblings.
pub const HWCAP2_FSGSBASE: u64 = 1 << 1;

/// The unit of `times()` per second.
const CLOCK_TICKS_PER_SECOND: u64 = 100;

/// What the caller knows about the machine, the process and the placed program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Address of the vDSO, when there is one.
    pub vdso: Option<u64>,
    /// Bytes a signal frame needs at least (`AT_MINSIGSTKSZ`).
    pub signal_stack_min: u64,
    /// EDX of CPUID leaf 1.
    pub hardware_capabilities: u64,
    /// Linux's own capability bits, such as [`HWCAP2_FSGSBASE`].
    pub hardware_capabilities_2: u64,
    /// Address of the program header table, after the load bias.
    pub program_headers: u64,
    /// Number of program headers.
    pub program_headers_count: u64,
    /// Where the interpreter is mapped; 0 without one.
    pub interpreter_base: u64,
    /// The program's entry point (never the interpreter's), after the load bias.
    pub entry: u64,
    /// Real user.
    pub uid: u64,
    /// Effective user.
    pub euid: u64,
    /// Real group.
    pub gid: u64,
    /// Effective group.
    pub egid: u64,
    /// Whether the program gained rights by being executed.
    pub is_secure: bool,
    /// Size and alignment of a restartable sequence's area, when `rseq` works.
    pub restartable_sequences: Option<(u64, u64)>,
}

impl Facts {
    /// Fills in what a plan and its load bias say about the program.
    #[must_use]
    pub fn with_program(mut self, plan: &LoadPlan, load_bias: u64) -> Self {
        self.program_headers = plan.program_headers.vaddr.wrapping_add(load_bias);
        self.program_headers_count = u64::from(plan.program_headers.count);
        self.entry = plan.entry.wrapping_add(load_bias);
        self
    }

    /// The entries in Linux's order, `AT_NULL` last.
    #[must_use]
    pub fn entries(&self, strings: &StringAddresses) -> Vec<(u64, u64)> {
        let mut entries = Vec::with_capacity(24);
        entries.extend(self.vdso.map(|address| (AT_SYSINFO_EHDR, address)));
        entries.extend([
            (AT_MINSIGSTKSZ, self.signal_stack_min),
            (AT_HWCAP, self.hardware_capabilities),
            (AT_PAGESZ, PAGE_SIZE),
            (AT_CLKTCK, CLOCK_TICKS_PER_SECOND),
            (AT_PHDR, self.program_headers),
            (AT_PHENT, 56),
            (AT_PHNUM, self.program_headers_count),
            (AT_BASE, self.interpreter_base),
            (AT_FLAGS, 0),
            (AT_ENTRY, self.entry),
            (AT_UID, self.uid),
            (AT_EUID, self.euid),
            (AT_GID, self.gid),
            (AT_EGID, self.egid),
            (AT_SECURE, u64::from(self.is_secure)),
            (AT_RANDOM, strings.random),
            (AT_HWCAP2, self.hardware_capabilities_2),
            (AT_EXECFN, strings.executable_name),
            (AT_PLATFORM, strings.platform),
        ]);
        if let Some((size, alignment)) = self.restartable_sequences {
            entries.extend([(AT_RSEQ_FEATURE_SIZE, size), (AT_RSEQ_ALIGN, alignment)]);
        }
        entries.push((AT_NULL, 0));
        entries
    }
}

/// Addresses of what the vector points to, all on the initial stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StringAddresses {
    /// The 16 random bytes.
    pub random: u64,
    /// The file name given to `execve`.
    pub executable_name: u64,
    /// The platform's name, `x86_64`.
    pub platform: u64,
}
