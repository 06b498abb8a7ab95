//! Signals: sending, masks, actions, delivery, and the frame a handler runs on.
//!
//! - [`SignalTable`]: what a process does with each signal.
//! - [`pending`]: signals waiting to be delivered, with their information.
//! - [`send`]: how signals reach a process or a thread.
//! - [`delivery`]: which signal a thread takes next and what happens then.
//! - [`frame`]: Linux's `rt_sigframe`, written for a handler and read back by `rt_sigreturn`.
//! - [`stack`]: alternate stacks.
//! - [`mask`]: blocking and unblocking.
//!
//! Invariant: whenever a thread has a pending signal it does not block, its attention word says [`Attention::SIGNAL`], or
//! the thread is on its exit path and will look. Who adds a signal looks at the mask afterwards; who shrinks a mask looks
//! at the pending signals afterwards; both hold the process's lock and the thread's, in this order.
//!
//! [`Attention::SIGNAL`]: crate::thread::Attention::SIGNAL

mod actions;
pub(crate) mod delivery;
pub(crate) mod frame;
pub(crate) mod mask;
pub(crate) mod pending;
pub(crate) mod send;
pub(crate) mod stack;

use alloc::sync::Arc;

use abi::{Signal, Sigset};

use crate::members::Members;
use crate::platform::Outcome;
use crate::thread::{Attention, Thread};

pub use actions::{DefaultAction, SignalTable, default_action};
pub use frame::stack_size_min;
pub use mask::{restore_mask_unless, set_temporary_mask};
pub use pending::PendingSignals;
pub use send::{broken_pipe, force, send_to_process, send_to_thread};
pub use stack::AlternateStack;

/// What a process has of signals, under its lock.
pub(crate) struct ProcessSignals {
    /// Signals any thread may take.
    pub pending: PendingSignals,
    pub members: Members,
    /// Stopped by job control.
    pub is_stopped: bool,
    /// Set once, when the process begins to end.
    pub outcome: Option<Outcome>,
}

impl ProcessSignals {
    pub(crate) fn new() -> Self {
        Self { pending: PendingSignals::with_room(), members: Members::default(), is_stopped: false, outcome: None }
    }

    /// The threads of the process that have not ended, the first thread first while it lives.
    pub(crate) fn threads(&self) -> &[Arc<Thread>] {
        self.members.as_slice()
    }

    /// Whether the process ends: no thread can join it any more.
    pub(crate) fn is_ending(&self) -> bool {
        self.outcome.is_some()
    }

    /// Tells a thread that has just joined what its process was told before.
    pub(crate) fn welcome(&self, thread: &Thread) {
        if self.is_stopped {
            thread.note(Attention::STOP);
        }
        if !self.pending.set().is_empty() {
            thread.note(Attention::SIGNAL);
        }
    }

    /// Tells those that remain of the signals that the thread which has just left would have taken.
    pub(crate) fn retarget(&self) {
        let waiting = self.pending.set();
        if waiting.is_empty() {
            return;
        }
        for thread in self.threads() {
            if !waiting.difference(thread.signals.lock_nested().blocked).is_empty() {
                thread.call_attention(Attention::SIGNAL);
            }
        }
    }
}

/// What a thread has of signals, under its lock.
pub(crate) struct ThreadSignals {
    /// Signals sent to this thread alone.
    pub pending: PendingSignals,
    /// Signals it does not want now.
    pub blocked: Sigset,
    /// Signals the thread waits for with `rt_sigtimedwait`: not thrown away, and it is told of them, blocked or not.
    pub awaited: Sigset,
    /// The mask to return to after a call with a temporary one.
    pub saved: Option<Sigset>,
    /// Where handlers with `SA_ONSTACK` run.
    pub stack: AlternateStack,
}

impl ThreadSignals {
    /// Whether the thread is to be told when this signal is sent.
    pub(crate) fn wants(&self, signal: Signal) -> bool {
        !self.blocked.contains(signal) || self.awaited.contains(signal)
    }

    pub(crate) fn new() -> Self {
        Self {
            pending: PendingSignals::new(),
            blocked: Sigset::EMPTY,
            awaited: Sigset::EMPTY,
            saved: None,
            stack: AlternateStack::default(),
        }
    }
}
