//! Read-copy-update: readers that write nothing, and memory that is freed when no reader can see it any more.
//!
//! # 1. The idea
//!
//! A reader disables preemption ([`read`]), follows a pointer, and enables preemption again. Who changes the data publishes
//! a new version by a single store and must not free the old one while a reader may still look at it. A reader cannot be
//! switched out, so a CPU that has switched threads, idled, or run its program since the change has no such reader any more:
//! it has *passed*. When every CPU has passed, a *grace period* is over, and what was replaced before it can be freed. (P.
//! McKenney and J. Slingwine, "Read-Copy Update: Using Execution History to Solve Concurrency Problems", PDCS 1998.)
//!
//! # 2. Passing
//!
//! Each CPU has a count, which only this CPU writes. [`quiescent`] adds 2. The count is odd while the CPU idles
//! ([`idle_enter`], [`idle_exit`]): it reads nothing then and need not be waited for, nor woken for the purpose. The machine
//! calls [`quiescent`] at each switch of threads, and in an interrupt that came while preemption was enabled.
//!
//! # 3. A grace period
//!
//! After the change one notes the count of every CPU that is online. A CPU has passed when its count was odd then, or differs
//! from what was noted. This takes no lock, and any number of CPUs wait for grace periods of their own at once.
//!
//! # 4. Why this is right
//!
//! Let a reader's section lie on CPU `c`, and let `n` be the count of `c` that was noted.
//!
//! 1. *The section began before `c` left `n`, and is over when it does.* Its loads come before the store of the next count,
//!    which releases; who waits loads that count, or a later one, and acquires. So the loads happened before the memory is
//!    freed.
//! 2. *The section began after `c` left `n`, or while `c` was not online.* `c` stored its new count, passed a sequentially
//!    consistent fence, and loaded the pointer. The other side stored the pointer, passed a fence, and loaded the count. If
//!    the reader's fence were the first of the two, the new count would have been noted. So it is the second, and the reader
//!    sees the new pointer: it never had the old one.
//! 3. *`n` is odd.* The section before it is over, as in 1; the next one begins behind the fence of [`idle_exit`], as in 2.
//!
//! `model/rcu.rs` checks this with loom: each fence is needed by one of its tests.
//!
//! # 5. Deferring
//!
//! [`defer`] keeps what is to be freed in a list of its CPU. When there are enough, or [`reclaim`] is called, the list gets a
//! grace period; [`reclaim`] frees it when that is over. The list is bounded ([`BATCH_MAX`]): who fills it up waits. What is
//! deferred is dropped in the context of any thread, without locks; its drop must be short and not sleep.
//!
//! # 6. Rules
//!
//! In a read section nothing sleeps and no user memory is touched; debug builds check it. Interrupt handlers may read, but
//! those that interrupt an idle CPU only between [`idle_exit`] and [`idle_enter`]. [`synchronize`] and [`defer`] may sleep.

mod cell;
mod deferred;
mod domain;
mod entry_table;
mod hash_map;
mod table;

use core::marker::PhantomData;

use crate::machine;

pub use cell::RcuCell;
pub use deferred::Deferred;
#[cfg(loom)]
pub(crate) use domain::Domain;
#[cfg(not(loom))]
use domain::Domain;
pub use domain::{BATCH_MAX, CPUS_MAX};
pub use entry_table::{Changes, EntryTable};
pub use hash_map::HashMap;
pub use table::{ArcTable, Removed, Room, TableRef};

/// The kernel's one set of CPUs and their lists.
#[cfg(not(loom))]
static KERNEL: Domain = Domain::new();

/// A read section: as long as it lives, nothing that it can see is freed.
#[must_use = "the section ends when the guard is dropped"]
pub struct ReadGuard {
    /// It ends on the CPU on which it began.
    not_send: PhantomData<*const ()>,
}

/// Begins a read section. Sections nest.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub fn read() -> ReadGuard {
    machine::preemption_disable();
    #[cfg(all(debug_assertions, not(loom)))]
    {
        debug_assert!(KERNEL.is_watched(machine::current_cpu()), "an RCU read section on a CPU that counts as idle");
        machine::note_read_section();
    }
    ReadGuard { not_send: PhantomData }
}

impl Drop for ReadGuard {
    #[inline]
    fn drop(&mut self) {
        #[cfg(all(debug_assertions, not(loom)))]
        machine::forget_read_section();
        machine::preemption_enable();
    }
}

/// The CPU `cpu`, which runs this, is in no read section: a thread switch, or an interrupt that came while preemption was
/// enabled. A store and a fence. The caller cannot move to another CPU meanwhile.
#[cfg(not(loom))]
#[inline]
pub fn quiescent(cpu: u32) {
    KERNEL.quiescent(cpu);
}

/// The CPU `cpu`, which runs this, begins to idle: it reads nothing until [`idle_exit`]. Idling twice is idling once.
#[cfg(not(loom))]
#[inline]
pub fn idle_enter(cpu: u32) {
    KERNEL.idle_enter(cpu);
}

/// The CPU `cpu`, which runs this, idles no longer, or has just started. The CPU that boots need not say so.
#[cfg(not(loom))]
#[inline]
pub fn idle_exit(cpu: u32) {
    KERNEL.idle_exit(cpu);
}

/// Whether the CPU `cpu`, which runs this, counts as idle: between [`idle_enter`] and [`idle_exit`], and before it has started.
#[cfg(not(loom))]
#[inline]
#[must_use]
pub fn is_idle(cpu: u32) -> bool {
    !KERNEL.is_watched(cpu)
}

/// Gives a function that makes a CPU take an interrupt soon, in which the machine calls [`quiescent`] if it may. Used by
/// [`synchronize`] for CPUs that stay in their program for long.
#[cfg(not(loom))]
pub fn install_kick(kick: fn(cpu: u32)) {
    KERNEL.install_kick(kick);
}

/// Sleeps until every read section that is under way now is over.
#[cfg(not(loom))]
pub fn synchronize() {
    KERNEL.synchronize();
}

/// Drops `value` after a grace period. May sleep, when too much is deferred on this CPU.
#[cfg(not(loom))]
pub fn defer(value: Deferred) {
    KERNEL.defer(value);
}

/// Frees what is ripe of this CPU's list and sets the rest on its way. Call it where nothing is read and no spinlock held: the
/// idle loop before it halts, a thread that leaves the kernel. True if something is left to come back for.
#[cfg(not(loom))]
pub fn reclaim() -> bool {
    KERNEL.reclaim()
}

/// Whether [`reclaim`] has something to do for `cpu`; cheap, exact on this CPU.
#[cfg(not(loom))]
#[inline]
pub fn has_deferred(cpu: u32) -> bool {
    KERNEL.has_deferred(cpu)
}

/// Frees everything that was deferred before this call, on all CPUs. Sleeps.
#[cfg(not(loom))]
pub fn flush() {
    KERNEL.flush();
}
