//! How signals reach a process or a thread.
//!
//! Nothing here asks whether the sender may: system calls check that first.

use alloc::collections::VecDeque;

use abi::{
    Errno, Siginfo, Signal, Sigset,
    signal::{SI_KERNEL, SI_QUEUE, SI_USER},
};

use crate::SyscallError;
use crate::process::Process;
use crate::signal::{DefaultAction, PendingSignals, ProcessSignals, default_action};
use crate::thread::{Attention, Thread};

/// Sends a signal to whichever thread of the process takes it first. `EAGAIN` when a queued signal finds no room.
pub fn send_to_process(process: &Process, info: Siginfo) -> Result<(), Errno> {
    let signal = info.signal().ok_or(Errno::EINVAL)?;
    let mut spare = VecDeque::new();
    loop {
        let mut signals = process.signals.lock();
        prepare(&mut signals, signal);
        if is_thrown_away(process, &signals, None, signal) || signals.pending.is_merged(signal) {
            return Ok(());
        }
        signals.pending.grow_into(&mut spare);
        match admit(process, &mut signals.pending, signal, info)? {
            Admission::Added => {
                wake_one(&signals, signal);
                return Ok(());
            }
            Admission::NeedsRoom(count) => {
                drop(signals);
                spare = VecDeque::with_capacity(count);
            }
        }
    }
}

/// Sends a signal to one thread. `EAGAIN` when a queued signal finds no room.
pub fn send_to_thread(thread: &Thread, info: Siginfo) -> Result<(), Errno> {
    let signal = info.signal().ok_or(Errno::EINVAL)?;
    let process = thread.process();
    let mut spare = VecDeque::new();
    loop {
        let mut signals = process.signals.lock();
        prepare(&mut signals, signal);
        if is_thrown_away(process, &signals, Some(thread), signal) {
            return Ok(());
        }
        let mut own = thread.signals.lock_nested();
        if own.pending.is_merged(signal) {
            return Ok(());
        }
        own.pending.grow_into(&mut spare);
        match admit(process, &mut own.pending, signal, info)? {
            Admission::Added => {
                if own.wants(signal) {
                    thread.call_attention(Attention::SIGNAL);
                }
                return Ok(());
            }
            Admission::NeedsRoom(count) => {
                drop(own);
                drop(signals);
                spare = VecDeque::with_capacity(count);
            }
        }
    }
}

/// Raises a signal the calling thread cannot evade, as faults do: if it is blocked or ignored, it is put back to its
/// default and unblocked.
pub fn force(thread: &Thread, info: Siginfo) {
    let Some(signal) = info.signal() else { return };
    let actions = thread.process().actions();
    let mut own = thread.signals.lock();
    let is_blocked = own.blocked.contains(signal);
    own.blocked = own.blocked.without(signal);
    drop(own);
    if is_blocked || actions.get(signal).handler == abi::Sigaction::SIG_IGN {
        actions.reset(signal);
    }
    // The limit of queued signals does not bind the kernel, and a standard signal that already waits is enough.
    let _ = send_to_thread(thread, info);
    thread.note(Attention::SIGNAL);
}

/// The information that says which process sent a signal.
pub(crate) fn from_caller(thread: &Thread, signal: Signal, code: i32) -> Siginfo {
    let pid = thread.process().pid().cast_signed();
    Siginfo::sent(signal, code, pid, thread.credentials().user.real)
}

/// Raises `SIGPIPE` at the calling thread, as a write does that nobody can read any more; answers the write's error.
pub fn broken_pipe(thread: &Thread) -> SyscallError {
    // The signal merges with one that already waits.
    let _ = send_to_thread(thread, from_caller(thread, Signal::SIGPIPE, SI_USER));
    Errno::EPIPE.into()
}

/// Raises `SIGSEGV` because the frame of `signal` could not be written. If it was `SIGSEGV`'s own frame, the
/// handler is no use.
pub(crate) fn force_bad_frame(thread: &Thread, signal: Signal) {
    if signal == Signal::SIGSEGV {
        thread.process().actions().reset(Signal::SIGSEGV);
    }
    force(thread, Siginfo::new(Signal::SIGSEGV, SI_KERNEL));
}

/// The interplay of stopping and continuing, which happens when signals are sent, not when they are delivered.
fn prepare(signals: &mut ProcessSignals, signal: Signal) {
    if Sigset::STOP.contains(signal) {
        discard_everywhere(signals, Sigset::of(&[Signal::SIGCONT]));
    } else if signal == Signal::SIGCONT {
        discard_everywhere(signals, Sigset::STOP);
        resume(signals);
    } else if signal == Signal::SIGKILL {
        resume(signals);
    }
}

fn discard_everywhere(signals: &mut ProcessSignals, discarded: Sigset) {
    signals.pending.discard(discarded);
    for thread in signals.threads() {
        thread.signals.lock_nested().pending.discard(discarded);
    }
}

/// Ends a stop by job control.
fn resume(signals: &mut ProcessSignals) {
    if core::mem::take(&mut signals.is_stopped) {
        for thread in signals.threads() {
            thread.parker().unpark();
        }
    }
}

/// Whether a signal need not even become pending: it is ignored, and nobody who blocks it may change his mind.
fn is_thrown_away(process: &Process, signals: &ProcessSignals, target: Option<&Thread>, signal: Signal) -> bool {
    let target = target.or_else(|| signals.threads().first().map(|thread| &**thread));
    let is_blocked = target.is_some_and(|thread| {
        let own = thread.signals.lock_nested();
        own.blocked.union(own.awaited).contains(signal)
    });
    !is_blocked && process.actions().ignores(signal)
}

enum Admission {
    Added,
    NeedsRoom(usize),
}

/// Adds a signal to a queue if the limit of the user allows it.
fn admit(process: &Process, pending: &mut PendingSignals, signal: Signal, info: Siginfo) -> Result<Admission, Errno> {
    let limit = process.pending_signals_max();
    // A kernel signal and a plain kill always get through; what was meant to be queued must be.
    if pending.queued() >= limit && info.si_code <= SI_USER {
        if signal.is_realtime() && info.si_code <= SI_QUEUE {
            return Err(Errno::EAGAIN);
        }
        pending.add_bare(signal);
        return Ok(Admission::Added);
    }
    if !pending.has_room() {
        return Ok(Admission::NeedsRoom(pending.room_wanted()));
    }
    pending.add(signal, info);
    Ok(Admission::Added)
}

/// Tells one thread that takes the signal; all when it ends or stops the process anyway.
fn wake_one(signals: &ProcessSignals, signal: Signal) {
    let wants = |thread: &&alloc::sync::Arc<Thread>| thread.signals.lock_nested().wants(signal);
    if signal == Signal::SIGKILL || default_action(signal) == DefaultAction::Stop {
        signals.threads().iter().for_each(|thread| thread.call_attention(Attention::SIGNAL));
    } else if let Some(thread) = signals.threads().iter().find(wants) {
        thread.call_attention(Attention::SIGNAL);
    }
}
