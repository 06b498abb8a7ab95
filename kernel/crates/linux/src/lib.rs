//! What makes it Linux: processes, threads, signals, system calls, faults and starting programs.
//!
//! The machine layer saves the program's registers and calls one of three entries, always on behalf of one [`Thread`]:
//!
//! - [`syscall_entry`]: a system call; [`dispatch`] types its arguments and calls a handler in [`syscall`]. When it says so,
//!   or the thread [needs attention](Thread::needs_attention), [`syscall_exit`] follows.
//! - [`fault_entry`]: the program's own instruction faulted; memory is paged in or a signal raised.
//! - [`interrupt_exit`]: an interrupt is about to return to the program and [`Thread::needs_attention`].
//!
//! Each returns with the registers the program continues with; signals have been delivered by then. [`page_in`] serves
//! faults of the kernel's own copies to and from program memory. [`boot`] makes the first process.
//!
//! Handlers never see registers and there is no "current thread": everything starts from the `&Thread` of the entry.
//! What a handler cannot do itself (return from a signal handler, end the thread, become another program) it asks for by
//! the thread's attention word, which the exit path honours.
//!
//! # Locks
//!
//! A timer ([`sync::rank::TIMER`]) before signal state. Signal state ([`sync::rank::SIGNALS`]): a process's before its
//! threads' (nested). Under them only wait queues are locked, to wake, and nothing is allocated. The rest are leaves that guard one assignment.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod accounting;
mod clone;
pub mod credentials;
pub mod dispatch;
mod epoll;
pub mod error;
pub mod exec;
pub mod exit;
pub mod fault;
mod file_signal;
mod fs;
mod futex;
mod held;
pub mod kernel_log;
pub mod limits;
pub mod load;
mod lookup;
mod members;
mod mount_context;
mod namespace;
mod native;
pub mod platform;
pub mod proc;
pub mod process;
pub mod registers;
mod rewrite;
mod rseq;
mod scheduling;
mod script;
pub mod settings;
pub mod signal;
mod signalfd;
mod socket;
pub mod syscall;
pub mod system;
pub mod thread;
pub mod timer;
mod timerfd;
pub mod trace;
mod transition;
mod vdso;
pub mod vsock;
pub mod wait;
mod watch;

pub use dispatch::{syscall_entry, syscall_exit};
pub use error::{Interrupted, Restart, SyscallError};
pub use exec::{BootError, BootRequest, boot};
pub use exit::interrupt_exit;
pub use fault::{Fault, fault_entry, page_in};
pub use platform::{
    CpuCounters, CpuInfo, EXCEPTION_COUNT, ExceptionCounters, FlushCounters, HeapClass, InvalidVectorState, Outcome,
    Platform, ThreadStart, VdsoFrames,
};
pub use process::Process;
pub use registers::Registers;
pub use system::System;
pub use thread::{NO_CONTEXT, Thread};

/// What a system call handler answers.
pub type SyscallResult = Result<usize, SyscallError>;
