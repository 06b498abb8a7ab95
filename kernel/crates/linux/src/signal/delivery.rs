//! Which signal a thread takes next, and what happens then.

use abi::{Errno, Sigaction, SigactionFlags, Siginfo, Signal, Sigset};
use sync::machine::NEVER;

use crate::error::Restart;
use crate::platform::Outcome;
use crate::registers::Registers;
use crate::rseq;
use crate::signal::{DefaultAction, default_action, frame, mask, send};
use crate::thread::{Attention, Thread};
use crate::wait;

/// The number of `restart_syscall`.
const RESTART_SYSCALL: u64 = 219;

/// A signal for which a handler is to run.
struct Delivery {
    signal: Signal,
    action: Sigaction,
}

/// Delivers one signal if there is one to deliver, and settles how an interrupted call goes on. `restart` is taken when
/// that is settled.
pub(crate) fn deliver(thread: &Thread, registers: &mut Registers, restart: &mut Option<Restart>) {
    let mut info = Siginfo::zeroed();
    match next(thread, &mut info) {
        Some(delivery) => {
            if let Some(restart) = restart.take() {
                restart_with_handler(registers, restart, delivery.action.flags());
            }
            run_handler(thread, registers, &delivery, &info);
        }
        None => {
            if let Some(restart) = restart.take() {
                restart_without_handler(registers, restart);
            }
        }
    }
}

/// Settles an interrupted call when no handler runs.
fn restart_without_handler(registers: &mut Registers, restart: Restart) {
    match restart {
        Restart::IfAllowed | Restart::Always | Restart::IfNoHandler => {
            registers.rewind_to_syscall(registers.original_rax);
        }
        Restart::Continue => registers.rewind_to_syscall(RESTART_SYSCALL),
    }
}

/// Settles an interrupted call when a handler runs: it is issued again after it, or has failed with `EINTR`.
fn restart_with_handler(registers: &mut Registers, restart: Restart, flags: SigactionFlags) {
    let is_restarted = match restart {
        Restart::Always => true,
        Restart::IfAllowed => flags.contains(SigactionFlags::RESTART),
        Restart::IfNoHandler | Restart::Continue => false,
    };
    if is_restarted {
        registers.rewind_to_syscall(registers.original_rax);
    } else {
        registers.rax = Errno::EINTR.as_negative().cast_unsigned() as u64;
    }
}

/// Takes signals until one has a handler; the others have their default effect or none.
fn next(thread: &Thread, info: &mut Siginfo) -> Option<Delivery> {
    loop {
        let Taken { signal, resumptions } = take(thread, info)?;
        crate::timer::delivered(thread.process(), info);
        let action = thread.process().actions().take_for_delivery(signal);
        match action.handler {
            Sigaction::SIG_IGN => {}
            Sigaction::SIG_DFL => match default_action(signal) {
                DefaultAction::Ignore => {}
                DefaultAction::Stop => stop(thread, signal, resumptions),
                DefaultAction::Terminate => {
                    thread.process().begin_exit(Outcome::Killed(signal));
                    return None;
                }
            },
            _ => return Some(Delivery { signal, action }),
        }
    }
}

/// A signal taken from a queue.
struct Taken {
    signal: Signal,
    /// How often stops had been taken back then, if it is one that stops.
    resumptions: u32,
}

/// Takes the next signal: what a fault raised, then what was sent to the thread, then to the process.
fn take(thread: &Thread, info: &mut Siginfo) -> Option<Taken> {
    let shared = &thread.process().signals;
    let blocked = thread.signals.blocked();
    let wanted = thread.signals.pending().difference(blocked);
    if !wanted.is_empty()
        && wanted.intersection(Sigset::STOP).is_empty()
        && let Some(signal) = take_own(thread, blocked, info)
    {
        return Some(Taken { signal, resumptions: 0 });
    }
    if wanted.union(shared.set().difference(blocked)).is_empty() {
        return None;
    }
    let mut signals = shared.lock();
    if signals.is_ending() {
        return None;
    }
    let signal = take_own(thread, blocked, info).or_else(|| signals.pending.take_next(blocked, info))?;
    Some(Taken { signal, resumptions: signals.resumptions })
}

fn take_own(thread: &Thread, blocked: Sigset, info: &mut Siginfo) -> Option<Signal> {
    let mut own = thread.signals.lock();
    own.take_synchronous(blocked, info).or_else(|| own.take_next(blocked, info))
}

/// Stops the process, unless the signal came from a terminal and nobody could continue it, or it was continued since the
/// signal was taken.
fn stop(thread: &Thread, signal: Signal, resumptions: u32) {
    let process = thread.process();
    // The group of a process whose parent is in no other group of the session is orphaned: keyboard stops are ignored.
    let is_orphaned = process.parent_pid() == 0;
    if signal != Signal::SIGSTOP && is_orphaned {
        return;
    }
    let mut signals = process.signals.lock();
    if signals.is_ending() || signals.resumptions != resumptions {
        return;
    }
    signals.is_stopped = true;
    for other in signals.threads() {
        other.call_attention(Attention::STOP);
    }
}

/// Waits, on the exit path, until a stopped process is continued or killed.
pub(crate) fn wait_while_stopped(thread: &Thread) {
    let is_stopped = || {
        let signals = thread.process().signals.lock();
        signals.is_stopped && !signals.is_ending()
    };
    while is_stopped() {
        wait::park(thread, NEVER);
    }
    mask::refresh(thread);
}

/// Makes the program continue in the handler.
fn run_handler(thread: &Thread, registers: &mut Registers, delivery: &Delivery, info: &Siginfo) {
    let &Delivery { signal, ref action } = delivery;
    if rseq::before_handler(thread, registers).is_err() {
        send::force_bad_frame(thread, signal);
    }
    if frame::build(thread, registers, signal, info, action).is_err() {
        send::force_bad_frame(thread, signal);
        return;
    }
    thread.signals.set_saved(None);
    let mut blocked = thread.signals.blocked().union(action.mask);
    if !action.flags().contains(SigactionFlags::NODEFER) {
        blocked = blocked.with(signal);
    }
    mask::set(thread, blocked);
}
