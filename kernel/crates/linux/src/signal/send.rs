//! How signals reach a process or a thread.
//!
//! Nothing here asks whether the sender may: system calls check that first.

use alloc::collections::VecDeque;

use abi::{
    Errno, PollEvents, Siginfo, Signal, Sigset,
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
                process.signal_arrivals.wake(PollEvents::READABLE.bits());
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
                process.signal_arrivals.wake(PollEvents::READABLE.bits());
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

/// Sends the signal of a timer to a thread, or to the process. Nothing is allocated: the timer has a place in the queue.
/// False: the signal is ignored.
pub(crate) fn send_from_timer(process: &Process, target: Option<&Thread>, info: Siginfo) -> bool {
    let Some(signal) = info.signal() else { return false };
    let mut signals = process.signals.lock();
    prepare(&mut signals, signal);
    if is_thrown_away(process, &signals, target, signal) {
        return false;
    }
    match target {
        Some(thread) => {
            let mut own = thread.signals.lock_nested();
            own.pending.add_from_timer(signal, info);
            if own.wants(signal) {
                thread.call_attention(Attention::SIGNAL);
            }
        }
        None => {
            signals.pending.add_from_timer(signal, info);
            wake_one(&signals, signal);
        }
    }
    process.signal_arrivals.wake(PollEvents::READABLE.bits());
    true
}

/// Keeps a place for the signals of a timer in the queue of a thread, or of the process.
pub(crate) fn keep_place(process: &Process, target: Option<&Thread>) {
    let mut spare = VecDeque::new();
    loop {
        let mut signals = process.signals.lock();
        let mut own = target.map(|thread| thread.signals.lock_nested());
        let pending = own.as_mut().map_or(&mut signals.pending, |own| &mut own.pending);
        pending.grow_into(&mut spare);
        if pending.keep_place() {
            return;
        }
        let wanted = pending.room_wanted();
        drop(own);
        drop(signals);
        spare = VecDeque::with_capacity(wanted);
    }
}

/// Gives the place of a timer up.
pub(crate) fn give_up_place(process: &Process, target: Option<&Thread>) {
    let mut signals = process.signals.lock();
    match target {
        Some(thread) => thread.signals.lock_nested().pending.give_up_place(),
        None => signals.pending.give_up_place(),
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
