//! What differs from one instruction set to the next. There is one so far.

pub(crate) mod x86_64;

pub(crate) use x86_64::{
    apic, backtrace, boot, checksum, clock, cpu, descriptors, interrupts, ipi, percpu, smp, user_copy, vector_state,
};
