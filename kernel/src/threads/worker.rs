//! Workers: threads of the machine itself, which run no program.
//!
//! A worker is a context without a `linux::Thread`. It has a kernel stack, parks, takes sleeping locks and is scheduled like others,
//! and differs in this:
//!
//! 1. It runs on whatever address space its CPU had, as the idle loop does, and leaves the program's registers in the CPU alone:
//!    the thread that ran before finds them in place. Who frees tables makes the CPUs on them leave, wherever they are.
//! 2. It belongs to one CPU and never ends.
//! 3. The program's clocks and limits do not know of it.

use core::sync::atomic::Ordering;

use sched::{CpuSet, Policy};

use super::context::TABLE;
use super::{schedule, switch};
use crate::arch::interrupts;
use crate::memory::paging;

/// What a worker does, for ever; it is given the number of its CPU.
pub(crate) type Work = fn(cpu: u32) -> !;

/// Starts a worker on a CPU. False: there is no memory, or there are too many threads.
pub(crate) fn start(cpu: u32, work: Work) -> bool {
    let Some(context) = TABLE.take() else { return false };
    context.set_worker(Policy::Other { nice: 0 }, CpuSet::of(cpu as usize));
    context.root.store(paging::kernel_root(), Ordering::Relaxed);
    switch::prepare_worker(context, work, cpu);
    interrupts::without(|| schedule::send(context));
    true
}
