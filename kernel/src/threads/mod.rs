//! Threads on CPUs: what a thread runs on, how CPUs switch between threads, and how threads wait.
//!
//! The decisions are `sched`'s; here are the locks, the interrupts and the stacks around them.
//!
//! - [`context`]: what the machine keeps of a thread, in a table that never moves.
//! - [`cpu`]: what the scheduler keeps of a CPU.
//! - [`switch`]: from one thread's registers and stack to another's.
//! - [`schedule`]: the reschedule point and preemption.
//! - [`idle`]: the idle loop.
//! - [`wait`]: parking and waking, the seam of `sync`.
//! - [`timer`]: the timer of each CPU, and sleeps.
//! - [`control`]: the life of threads, their policy and affinity, the seam of `linux`.
//! - [`worker`]: threads that run no program.
//!
//! # Who may touch a thread
//!
//! 1. A thread is *on a CPU* from the moment the CPU decides for it until the CPU has left its stack. While it is, only that CPU
//!    touches its saved registers. `Context::is_on_cpu` says so to others; it is cleared, with release order, by the thread that comes next, on
//!    its own stack.
//! 2. No lock is held over a switch. A CPU that gets a thread from another (from its inbox, or by taking it from a loaded queue) waits until
//!    it is off its last CPU before it enters it in its own queue. This cannot be a circle: a CPU waits only before it chooses, while its
//!    own thread is still its own, and who is waited for is past its waiting and only has to finish a switch.
//! 3. A thread that blocks may be woken while its CPU is still switching away from it. Then it is put in the inbox of that CPU, which
//!    looks there again: at the interrupt that comes with it, or before it halts.
//! 4. Of all who want to wake a thread, one wins: who changes its state from [`context::BLOCKED`].
//!
//! # Preemption
//!
//! `PerCpu::preemption` counts what forbids a switch (spinlocks, RCU readers); its highest bit is clear when a switch is wanted. So the word
//! is zero exactly when a switch should happen now. It is looked at where the count goes down, and at the end of an interrupt in kernel code. On
//! the way back to the program the thread's attention word is looked at, which carries the same wish.

pub(crate) mod context;
pub(crate) mod control;
pub(crate) mod cpu;
pub(crate) mod idle;
pub(crate) mod schedule;
mod switch;
pub(crate) mod timer;
pub(crate) mod wait;
pub(crate) mod worker;

pub(crate) use cpu::start_cpu;
pub(crate) use idle::run_idle;
