//! The way back to the program, and the end of threads and processes.

use core::sync::atomic::Ordering::{AcqRel, Relaxed};

use abi::{
    Siginfo, Signal,
    signal::{SEGV_MAPERR, SI_KERNEL},
};
use mm::{USER_END, user::write_user_struct};
use sync::rcu;

use crate::error::Restart;
use crate::fault;
use crate::futex::{self, Taken};
use crate::members::{self, Remaining};
use crate::platform::Outcome;
use crate::process::Process;
use crate::registers::Registers;
use crate::rewrite;
use crate::rseq;
use crate::signal::{delivery, force, frame, mask};
use crate::thread::{Attention, FaultRecord, Thread};

/// The number of a page fault, and the error code a program in ring 3 gets for jumping into the kernel's half.
const PAGE_FAULT: u64 = 14;
const GENERAL_PROTECTION: u64 = 13;
const INSTRUCTION_FETCH_OF_KERNEL: u64 = 1 | 4 | 16;

/// To be called before an interrupt returns to program code, when [`Thread::needs_attention`].
pub fn interrupt_exit(thread: &Thread, registers: &mut Registers) {
    leave(thread, registers, None);
}

/// Does everything there is to do before the program continues: signals, stops, the end. `restart` says that a system
/// call was interrupted; its result register already says `EINTR`.
pub(crate) fn leave(thread: &Thread, registers: &mut Registers, mut restart: Option<Restart>) {
    // Who returns from a handler is about to get other registers.
    if !thread.returns_from_handler() {
        rewrite::show_original(thread, registers);
    }
    loop {
        let attention = thread.take_attention();
        if attention.contains(Attention::MEMORY) && !relieve_memory(thread) {
            fault::kill_for_memory(thread);
        }
        if attention.contains(Attention::RESCHEDULE) {
            thread.platform().reschedule();
        }
        if attention.contains(Attention::TIMER) {
            thread.process().system().timers().expire_early();
        }
        if attention.contains(Attention::EXIT) {
            end_thread(thread);
        }
        if attention.contains(Attention::DEFERRED)
            && let Some(deferred) = thread.take_deferred()
        {
            deferred.finish(thread, registers);
        }
        if attention.contains(Attention::SIGNAL_RETURN) && frame::restore(thread, registers).is_err() {
            rewrite::show_original(thread, registers);
            force(thread, Siginfo::new(Signal::SIGSEGV, SI_KERNEL));
        }
        if attention.contains(Attention::STOP) {
            delivery::wait_while_stopped(thread);
        }
        if attention.contains(Attention::SIGNAL) || restart.is_some() {
            delivery::deliver(thread, registers, &mut restart);
        }
        if attention.contains(Attention::RESTORE_MASK) {
            // A handler's frame has taken the mask over; if none ran, it comes back now.
            mask::restore(thread);
        }
        if attention.contains(Attention::RESTARTABLE_SEQUENCE) {
            rseq::resume(thread, registers);
        }
        if !thread.needs_attention() && continues_in_program(thread, registers) {
            return;
        }
    }
}

/// Has memory given back until the kernel has its own again. False: there is nothing left that could be given back.
#[cold]
fn relieve_memory(thread: &Thread) -> bool {
    while thread.platform().is_memory_exhausted() {
        if !mm::reclaim::wait_for() {
            return false;
        }
    }
    true
}

/// Checks that the program continues in its own half of the address space. The machine jumps wherever it is told, so a
/// handler or frame that leads elsewhere is caught here and raises what the jump raises on Linux.
fn continues_in_program(thread: &Thread, registers: &Registers) -> bool {
    let is_program = registers.rip < USER_END as u64;
    if !is_program {
        // Sign-extended from bit 47: what the CPU takes as an address at all.
        let is_canonical = (registers.rip.cast_signed() >> 47) == -1;
        let fault = thread.fault();
        if is_canonical {
            thread.set_fault(FaultRecord {
                trap_number: PAGE_FAULT,
                error_code: INSTRUCTION_FETCH_OF_KERNEL,
                fault_address: registers.rip,
            });
            force(thread, Siginfo::fault(Signal::SIGSEGV, SEGV_MAPERR, registers.rip));
        } else {
            thread.set_fault(FaultRecord { trap_number: GENERAL_PROTECTION, error_code: 0, ..fault });
            force(thread, Siginfo::new(Signal::SIGSEGV, SI_KERNEL));
        }
    }
    is_program
}

/// Makes every thread of a process end as soon as it can. The first outcome counts.
pub(crate) fn begin(process: &Process, outcome: Outcome) {
    process.signals.lock().begin_exit(outcome);
}

/// Ends the calling thread, and the process with its last one.
///
/// First it lets go of what it shares, and of its number, then it leaves its process, after which it touches the program's
/// memory no more, and at the very end it wakes who waits for its end, who then finds nothing left of it. A first thread that
/// is not the last keeps its number, as a zombie, until the process ends.
fn end_thread(thread: &Thread) -> ! {
    let process = thread.process();
    decide_outcome(thread);
    futex::thread_exits(thread);
    thread.note_end();
    // The last user closes what is open, which flushes what devices still hold.
    thread.fds().leave();
    let is_leader = thread.tid() == process.pid();
    if !is_leader {
        process.system().unregister(thread);
    }
    // With nobody left there is nobody to tell.
    let mut waiter = if process.staying.load(Relaxed) > 0 { clear_child_tid(thread) } else { None };
    let mut outcome = None;
    let remaining = members::leave(process, thread, |signals, remaining| {
        process.accounting().absorb(thread);
        if remaining == Remaining(0) {
            outcome = signals.outcome;
            return;
        }
        if is_leader {
            signals.members.note_ended_leader();
        }
        signals.retarget();
    });
    if remaining == Remaining(0) {
        debug_assert!(outcome.is_some(), "who was last to begin to end has decided");
        let_go(thread);
        thread.platform().end(outcome.unwrap_or(Outcome::Exited(0)))
    }
    process.thread_ends.wake_all();
    thread.platform().exit_thread(thread, &mut || drop(waiter.take()))
}

/// The process has no threads any more. What it was the last to use goes: files without a name, before their disks are unmounted.
fn let_go(thread: &Thread) {
    let process = thread.process();
    thread.platform().note_end_of_memory();
    // A first thread that ended before the others is still there, with directories that may be its own.
    if let Some(leader) = process.system().thread(process.pid()) {
        leader.fs().leave();
    }
    process.let_go(thread.fs().leave());
    rcu::flush();
}

/// If nothing has ended the process as a whole, it ends as its last thread does: the last to begin, since who waits for the
/// others to end must find that they have no say any more.
fn decide_outcome(thread: &Thread) {
    let process = thread.process();
    if process.staying.fetch_sub(1, AcqRel) == 1 {
        let own = Outcome::Exited(thread.exit_status.load(Relaxed));
        process.signals.lock().outcome.get_or_insert(own);
    }
}

/// Clears the word that tells others of the end of a thread. One that waits for it wakes when the answer is dropped.
fn clear_child_tid(thread: &Thread) -> Option<Taken> {
    let word = thread.clear_child_tid.swap(0, Relaxed);
    if word == 0 {
        return None;
    }
    // The program may have unmapped the word; that is its own affair.
    let _ = write_user_struct(word, &0_u32);
    Some(futex::take_waiter(thread.process(), word))
}
