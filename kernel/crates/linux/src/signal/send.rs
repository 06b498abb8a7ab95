//! How signals reach a process or a thread.
//!
//! Nothing here asks whether the sender may: system calls check that first.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use abi::{
    Errno, PollEvents, Siginfo, Signal, Sigset,
    signal::{SI_KERNEL, SI_QUEUE, SI_USER},
};

use crate::SyscallError;
use crate::platform::Outcome;
use crate::process::Process;
use crate::signal::{PendingSignals, ProcessSignals};
use crate::thread::{Attention, Thread};

/// Sends a signal to whichever thread of the process takes it first. `EAGAIN` when a queued signal finds no room.
pub fn send_to_process(process: &Process, info: Siginfo) -> Result<(), Errno> {
    let signal = info.signal().ok_or(Errno::EINVAL)?;
    let mut spare = VecDeque::new();
    loop {
        let mut signals = process.signals.lock();
        if !prepare(&mut signals, signal) {
            return Ok(());
        }
        let is_ignored = signals.threads().first().is_none_or(|first| is_thrown_away(first, signal));
        if is_ignored || signals.pending.is_merged(signal) {
            return Ok(());
        }
        signals.pending.grow_into(&mut spare);
        match admit(process, &mut signals.pending, signal, &info)? {
            Admission::Added => {
                signals.publish();
                signals.tell_one(signal);
                wake_readers(process);
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
        // Only job control concerns the other threads.
        let mut shared = JOB_CONTROL.contains(signal).then(|| process.signals.lock());
        if shared.as_mut().is_some_and(|signals| !prepare(signals, signal)) || is_thrown_away(thread, signal) {
            return Ok(());
        }
        let mut own = thread.signals.lock();
        if own.is_merged(signal) {
            return Ok(());
        }
        own.grow_into(&mut spare);
        match admit(process, &mut own, signal, &info)? {
            Admission::Added => {
                own.publish();
                tell(thread, signal);
                wake_readers(process);
                return Ok(());
            }
            Admission::NeedsRoom(count) => {
                drop(own);
                drop(shared);
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
    if !prepare(&mut signals, signal) {
        return true;
    }
    let target_or_first = target.or_else(|| signals.threads().first().map(|first| &**first));
    if target_or_first.is_none_or(|thread| is_thrown_away(thread, signal)) {
        return false;
    }
    match target {
        Some(thread) => {
            let mut own = thread.signals.lock();
            own.add_from_timer(signal, &info);
            own.publish();
            tell(thread, signal);
        }
        None => {
            signals.pending.add_from_timer(signal, &info);
            signals.publish();
            signals.tell_one(signal);
        }
    }
    wake_readers(process);
    true
}

/// Who gets a signal that is sent from an interrupt.
#[derive(Clone, Copy)]
pub(crate) enum Recipient {
    Process,
    /// The thread with this number, if the process has it.
    Thread(u32),
}

/// Sends a signal from any context, without allocating. False: the queue has no room for it, and nothing was sent.
pub(crate) fn send_from_interrupt(process: &Process, recipient: Recipient, info: Siginfo) -> bool {
    let Some(signal) = info.signal() else { return true };
    let mut signals = process.signals.lock();
    if !prepare(&mut signals, signal) {
        return true;
    }
    let target = match recipient {
        Recipient::Process => None,
        Recipient::Thread(tid) => match signals.threads().iter().find(|thread| thread.tid() == tid) {
            Some(thread) => Some(Arc::clone(thread)),
            None => return true,
        },
    };
    let first = target.as_ref().or_else(|| signals.threads().first());
    if first.is_none_or(|thread| is_thrown_away(thread, signal)) {
        return true;
    }
    let is_added = match &target {
        Some(thread) => {
            let mut own = thread.signals.lock();
            let is_added = own.add_if_room(signal, &info);
            own.publish();
            tell(thread, signal);
            is_added
        }
        None => {
            let is_added = signals.pending.add_if_room(signal, &info);
            signals.publish();
            signals.tell_one(signal);
            is_added
        }
    };
    wake_readers(process);
    is_added
}

/// Tells a thread of a signal of its own that was just added and published.
fn tell(thread: &Thread, signal: Signal) {
    if thread.signals.wants(signal) {
        thread.call_attention(Attention::SIGNAL);
    }
}

/// Wakes the readers of `signalfd`s.
fn wake_readers(process: &Process) {
    process.signal_arrivals.wake(PollEvents::READABLE.bits());
}

/// Keeps a place for the signals of a timer in the queue of a thread, or of the process.
pub(crate) fn keep_place(process: &Process, target: Option<&Thread>) {
    let mut spare = VecDeque::new();
    loop {
        let wanted = match target {
            Some(thread) => thread.signals.lock().keep_place_or_want(&mut spare),
            None => process.signals.lock().pending.keep_place_or_want(&mut spare),
        };
        let Some(wanted) = wanted else { return };
        spare = VecDeque::with_capacity(wanted);
    }
}

/// Gives the place of a timer up.
pub(crate) fn give_up_place(process: &Process, target: Option<&Thread>) {
    match target {
        Some(thread) => thread.signals.lock().give_up_place(),
        None => process.signals.lock().pending.give_up_place(),
    }
}

/// Raises a signal the calling thread cannot evade, as faults do: if it is blocked or ignored, it is put back to its
/// default and unblocked.
pub fn force(thread: &Thread, info: Siginfo) {
    let Some(signal) = info.signal() else { return };
    let actions = thread.process().actions();
    let blocked = thread.signals.blocked();
    if blocked.contains(signal) {
        thread.signals.replace_blocked(blocked.without(signal));
    }
    if blocked.contains(signal) || actions.get(signal).handler == abi::Sigaction::SIG_IGN {
        actions.reset(signal);
    }
    // The limit of queued signals does not bind the kernel, and a standard signal that already waits is enough.
    let _ = send_to_thread(thread, info);
    thread.note(Attention::SIGNAL);
}

/// The information that says which process sent a signal.
#[inline]
pub(crate) fn from_caller(thread: &Thread, signal: Signal, code: i32) -> Siginfo {
    let pid = thread.process().pid().cast_signed();
    Siginfo::sent(signal, code, pid, thread.real_user())
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

/// Signals that do something to all threads when they are sent, not when they are delivered.
const JOB_CONTROL: Sigset = Sigset::STOP.with(Signal::SIGCONT).with(Signal::SIGKILL);

/// The interplay of stopping, continuing and killing. False: nothing is left to be sent.
fn prepare(signals: &mut ProcessSignals, signal: Signal) -> bool {
    if signals.is_ending() {
        return false;
    }
    if Sigset::STOP.contains(signal) {
        signals.discard_everywhere(Sigset::of(&[Signal::SIGCONT]));
    } else if signal == Signal::SIGCONT {
        signals.discard_everywhere(Sigset::STOP);
        signals.resume();
    } else if signal == Signal::SIGKILL {
        signals.resume();
        signals.begin_exit(Outcome::Killed(Signal::SIGKILL));
        return false;
    }
    true
}

/// Whether a signal need not even become pending: it is ignored, and the thread which does not block it will not change its
/// mind. For a signal of the process, its first thread is asked.
fn is_thrown_away(thread: &Thread, signal: Signal) -> bool {
    let is_kept = thread.signals.blocked().union(thread.signals.awaited()).contains(signal);
    !is_kept && thread.process().actions().ignores(signal)
}

enum Admission {
    Added,
    NeedsRoom(usize),
}

/// Adds a signal to a queue if the limit of the user allows it.
#[inline]
fn admit(process: &Process, pending: &mut PendingSignals, signal: Signal, info: &Siginfo) -> Result<Admission, Errno> {
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
