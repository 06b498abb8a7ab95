//! The CPU: how it starts, traps, counts time and keeps vector state. All of it is x86-64.

pub(crate) mod apic;
pub(crate) mod backtrace;
pub(crate) mod boot;
pub(crate) mod checksum;
pub(crate) mod clock;
pub(crate) mod cpu;
pub(crate) mod descriptors;
pub(crate) mod interrupts;
pub(crate) mod ipi;
pub(crate) mod percpu;
pub(crate) mod smp;
pub(crate) mod trap;
pub(crate) mod user_copy;
pub(crate) mod vector_state;
