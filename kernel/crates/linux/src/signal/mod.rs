//! Signals: sending, masks, actions, delivery, and the frame a handler runs on.
//!
//! - [`SignalTable`]: what a process does with each signal.
//! - [`pending`]: signals waiting to be delivered, with their information.
//! - [`send`]: how signals reach a process or a thread.
//! - [`delivery`]: which signal a thread takes next and what happens then.
//! - [`frame`]: Linux's `rt_sigframe`, written for a handler and read back by `rt_sigreturn`.
//! - [`stack`]: alternate stacks.
//! - [`mask`]: blocking and unblocking.
//! - [`published`], [`own`]: what senders see of a process and a thread without a lock.
//!
//! # Who takes a signal of the process
//!
//! As on Linux, one thread is told: the first thread if it wants the signal and is not told of another already, else the next
//! one round robin that does. A thread that was told and then blocks the signal, or ends, hands it on ([`ProcessSignals::retarget`]).
//!
//! # Invariant
//!
//! Whenever a thread has a signal of its own that it does not block, its attention word says [`Attention::SIGNAL`], or it is on
//! its exit path and will look; whenever the process has a signal that some thread does not block, this is true of one of
//! these. Who adds a signal publishes the set and looks at masks afterwards; who changes a mask looks at the sets afterwards.
//! See [`published`] for why one of them sees the other. Locks are taken in this order: the process's, a thread's, the actions'.
//!
//! [`Attention::SIGNAL`]: crate::thread::Attention::SIGNAL

mod actions;
pub(crate) mod delivery;
pub(crate) mod frame;
pub(crate) mod mask;
mod own;
pub(crate) mod pending;
mod published;
pub(crate) mod send;
pub(crate) mod stack;

use alloc::sync::Arc;

use abi::{Signal, Sigset};

use crate::members::Members;
use crate::platform::Outcome;
use crate::thread::{Attention, Thread};

pub use actions::{DefaultAction, SignalTable, default_action};
pub(crate) use frame::FrameLayout;
pub use frame::stack_size_min;
pub use mask::{restore_mask_unless, set_temporary_mask};
pub(crate) use own::ThreadSignals;
pub use pending::PendingSignals;
pub(crate) use published::{Published, Waiting};
pub use send::{broken_pipe, force, send_to_process, send_to_thread};
pub use stack::AlternateStack;

/// What a process has of signals, under its lock.
pub(crate) struct ProcessSignals {
    /// Signals any thread may take.
    pub pending: PendingSignals,
    pub members: Members,
    /// Stopped by job control.
    pub is_stopped: bool,
    /// How often a stop was taken back. A thread that has taken a stop signal stops only if nothing did that since.
    pub resumptions: u32,
    /// Set once, when the process begins to end.
    pub outcome: Option<Outcome>,
    /// Where the search for a thread that takes a signal goes on.
    next_target: usize,
}

impl Waiting for ProcessSignals {
    fn waiting(&self) -> Sigset {
        self.pending.set()
    }
}

impl ProcessSignals {
    pub(crate) fn new() -> Self {
        Self {
            pending: PendingSignals::with_room(),
            members: Members::default(),
            is_stopped: false,
            resumptions: 0,
            outcome: None,
            next_target: 0,
        }
    }

    /// The threads of the process that have not ended, the first thread first while it lives.
    pub(crate) fn threads(&self) -> &[Arc<Thread>] {
        self.members.as_slice()
    }

    /// Whether the process ends: no thread can join it any more.
    pub(crate) fn is_ending(&self) -> bool {
        self.outcome.is_some() || self.members.is_closed()
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
        self.retarget_set(self.pending.set(), None);
    }

    /// Tells threads other than `except` of signals of the process, as many as it takes to have each signal told to one.
    pub(crate) fn retarget_set(&self, mut signals: Sigset, except: Option<&Thread>) {
        for thread in self.threads() {
            if signals.is_empty() {
                return;
            }
            let unwanted = thread.signals.blocked().difference(thread.signals.awaited());
            let is_other = except.is_none_or(|except| !core::ptr::eq(&raw const **thread, except));
            if is_other && !signals.difference(unwanted).is_empty() {
                signals = signals.intersection(unwanted);
                thread.call_attention(Attention::SIGNAL);
            }
        }
    }

    /// Tells one thread of a signal of the process that was just added and published. None wants it: whoever comes to want
    /// it looks.
    pub(crate) fn tell_one(&mut self, signal: Signal) {
        // Who has been told of another signal looks for this one as well, but somebody idle may be faster.
        let wants = |thread: &Thread| thread.signals.wants(signal) && !thread.is_told_of_signal();
        let threads = self.members.as_slice();
        let Some(first) = threads.first() else { return };
        if wants(first) {
            first.call_attention(Attention::SIGNAL);
            return;
        }
        let count = threads.len();
        let start = self.next_target;
        let found = (1..=count).map(|step| (start + step) % count).find(|index| wants(&threads[*index]));
        if let Some(index) = found {
            self.next_target = index;
            threads[index].call_attention(Attention::SIGNAL);
        }
    }

    /// Throws signals away, wherever they wait.
    pub(crate) fn discard_everywhere(&mut self, discarded: Sigset) {
        if !self.pending.set().intersection(discarded).is_empty() {
            self.pending.discard(discarded);
        }
        for thread in self.threads() {
            if !thread.signals.pending().intersection(discarded).is_empty() {
                thread.signals.lock().discard(discarded);
            }
        }
    }

    /// Ends a stop by job control, also one that a thread is about to begin.
    pub(crate) fn resume(&mut self) {
        self.resumptions = self.resumptions.wrapping_add(1);
        if core::mem::take(&mut self.is_stopped) {
            for thread in self.threads() {
                thread.parker().unpark();
            }
        }
    }

    /// Makes every thread end as soon as it can. The first outcome counts.
    pub(crate) fn begin_exit(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
        for thread in self.threads() {
            thread.call_attention(Attention::EXIT);
        }
    }
}
