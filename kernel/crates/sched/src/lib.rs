//! Decisions about time: which timer is due, which thread runs, and where.
//!
//! The crate is pure. It takes the time as an argument and returns what to do; it reads no clock, programs no interrupt,
//! holds no lock and allocates nothing (but the room of timers). Whoever owns a value of this crate puts it behind the lock of
//! its CPU.
//!
//! - [`TimerQueue`]: the timers of one CPU, behind `sync::rank::TIMERS`.
//! - [`RunQueue`]: the runnable threads of one CPU and the choice between them, behind `sync::rank::RUN_QUEUE`. Its sections
//!   say how threads are placed and how long one waits at most.
//! - [`Node`]: what the scheduler keeps of a thread, in a table that all CPUs share.
//! - [`Policy`]: the classes of sched(7), with Linux's weights.
//! - [`Inbox`]: how a CPU gets threads from others, without a lock.
//! - [`balance`]: where a thread goes, and when it moves.
//! - `decay`: the arithmetic of fairness, in integers, with its proof.
//!
//! # How the machine uses it
//!
//! 1. **Each CPU has** an `IrqSpinLock<RunQueue>`, an [`Inbox`], and two atomics in which it publishes [`RunQueue::load`] after each
//!    change. No path takes the locks of two queues at once. Nodes live in a table of chunks that never move; a thread gets
//!    its index when it is created, and gives it back when it has ended and no longer runs on its stack.
//! 2. **Blocking.** The thread's change of state from runnable to blocked is what makes it [`Leave::Blocks`]. No lock is held over a
//!    switch: each thread carries a flag "is on a CPU", cleared with release order as the last step of a switch by the *next*
//!    thread, on its own stack. A CPU that gets a thread from its inbox or from another queue spins on the flag with acquire order before
//!    it enters the thread, as Linux's `on_cpu`; so nobody runs it while its registers are still being saved.
//! 3. **Waking.** Only who wins the exchange from blocked to runnable wakes. A thread that is still on a CPU goes to the inbox of that CPU.
//!    Else [`balance::place`] chooses the CPU from published loads. If it is this CPU: lock, [`RunQueue::enqueue`] as [`Arrival::Woken`],
//!    and note "reschedule" if it says so. Else [`Inbox::push`], and an interrupt if that says the owner halts, or if none is on
//!    its way yet; an idle owner that still polls its inbox needs none.
//! 4. **The reschedule point** (the way out of interrupts and system calls, and wherever preemption is enabled again): lock, enqueue
//!    what [`Inbox::take`] gives, [`RunQueue::schedule`], publish the load, program the timer for the earlier of
//!    [`RunQueue::next_event`] and [`TimerQueue::next_deadline`], switch if the thread is another one. If it is the same, nothing is
//!    saved or loaded.
//! 5. **The timer interrupt** expires timers, then asks [`RunQueue::tick`], and programs the timer again. A late timer is harmless:
//!    whoever ran for longer has paid for it. [`RunQueue::next_event`] changes with each enqueue, so the timer is programmed after each.
//! 6. **Idle.** [`RunQueue::schedule`] gave none: take from the CPUs of [`balance::sources`], each under its own lock, by
//!    [`RunQueue::take_for`]; then poll [`Inbox::is_empty`] for as long as recent idle times were short (at most what an interrupt
//!    and a halt cost twice); then, interrupts off, [`Inbox::prepare_halt`], and `sti; hlt` if it permits.
//! 7. **Balancing.** A CPU with work does the same from its timer, each [`balance::BALANCE_PERIOD_NS`], but only while another CPU has
//!    more than one thread; a CPU that runs one thread and sees no such CPU stays without a timer. A thread that waits where no idle CPU
//!    looks is found by the CPU that becomes idle next.
//! 8. **Affinity.** `sched_setaffinity` stores it ([`Node::set_affinity`]) and then takes the lock of [`Node::cpu`] (read, lock, read again). A
//!    thread that waits there ([`RunQueue::place`]) is removed and
//!    handed to an allowed CPU as [`Arrival::Moved`]; a running one is made to reschedule with [`Leave::Moves`], and the next thread, once
//!    off its stack, pushes it to the other CPU's inbox. The arrival travels with the thread, in its own structure. Who enters a thread in a
//!    queue looks at its affinity afterwards, under the same lock, and removes it again if it may not be there: section 3 of [`Node`]'s
//!    module says why none is missed.
//! 9. **Policy.** [`Node::set_policy`], then [`RunQueue::follow_policy`] under the same lock, found in the same way. Priority inheritance sets
//!    the policy of the owner for the time being; what the program asked for is kept by the layer above.
//! 10. **Clocks.** [`Node::runtime_ns`] plus the time since the last charge is CLOCK_THREAD_CPUTIME_ID. All CPUs must have one
//!     clock to within far less than a granule; a queue never lets its own go back.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod balance;
mod decay;
mod heap;
mod inbox;
mod node;
mod policy;
mod realtime;
mod run_queue;
mod timer_queue;

pub use inbox::Inbox;
pub use node::{CPUS_MAX, CpuSet, Node, Nodes, Place, ThreadId};
pub use policy::{PRIORITY_MAX, Policy, Urgency, WEIGHT_UNIT, Weight};
pub use run_queue::{
    Arrival, CREDIT_NS, DEBT_MAX_NS, GRANULE_MIN_NS, GRANULE_NS, Leave, ROUND_NS, ROUND_ROBIN_NS, RunQueue, SEARCH_MAX,
    WAKE_MARGIN_NS, granule_ns,
};
pub use timer_queue::{TIMERS_MAX, TimerId, TimerQueue, TimerStorage};
