//! Parking and waking: how a thread gives its CPU up until somebody wants it.
//!
//! A sleeper makes itself wakeable (its state becomes [`BLOCKED`]) and then looks at the word that the waker changes first; a waker changes
//! the word and then looks at the state. Both orders are sequentially consistent, so one of the two sees the other: either
//! the sleeper does not sleep, or the waker wakes it.

use core::sync::atomic::{AtomicU32, Ordering};

use sched::{Arrival, Leave, ThreadId};
use sync::machine::{NEVER, PARKED, ThreadHandle};
use x86_64::instructions::interrupts as cpu_interrupts;

use super::context::{BLOCKED, Context, RUNNABLE, TABLE};
use super::cpu::Counts;
use super::{schedule, timer};
use crate::arch::clock;
use crate::arch::percpu::{self, PerCpu};
use crate::drivers;
use crate::platform::deferred;

/// The handle of a caller that has no context: start-up, the idle loop.
const NOBODY: u64 = u64::MAX;

/// The calling thread.
#[inline]
pub(crate) fn current() -> ThreadHandle {
    ThreadHandle(PerCpu::context().map_or(NOBODY, |context| u64::from(context.id().0)))
}

/// Sleeps while `*word` is [`PARKED`], until `deadline_ns` at most.
pub(crate) fn wait_for_wake(word: &AtomicU32, deadline_ns: u64) {
    let Some(context) = PerCpu::context() else { return wait_without_thread(word, deadline_ns) };
    if deadline_ns != NEVER {
        if clock::now_ns() >= deadline_ns {
            return;
        }
        if !timer::start_sleep(context, deadline_ns) {
            // No memory for a timer: let others run and look again.
            schedule::yield_now();
            return;
        }
    }
    cpu_interrupts::disable();
    context.state.store(BLOCKED, Ordering::SeqCst);
    let is_over = word.load(Ordering::SeqCst) != PARKED || (deadline_ns != NEVER && clock::now_ns() >= deadline_ns);
    if !(is_over && take(context)) {
        // If it was over but a waker has the thread already, it comes back by that.
        schedule::reschedule(Leave::Blocks);
    }
    cpu_interrupts::enable();
    if deadline_ns != NEVER {
        timer::end_sleep(context);
    }
}

/// Makes a blocked thread the caller's to wake; one caller wins.
fn take(context: &Context) -> bool {
    context.state.compare_exchange(BLOCKED, RUNNABLE, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}

/// Wakes a thread if it sleeps. From anywhere, under any lock before the queue's.
pub(crate) fn wake(handle: ThreadHandle) {
    if let Some(context) = TABLE.of_word(handle.0) {
        wake_as(context, Arrival::Woken);
    }
}

/// The same for a caller that goes on with something else.
pub(crate) fn release(handle: ThreadHandle) {
    if let Some(context) = TABLE.of_word(handle.0) {
        wake_as(context, Arrival::Released);
    }
}

pub(super) fn wake_id(id: ThreadId) {
    wake_as(TABLE.get(id), Arrival::Woken);
}

#[inline]
fn wake_as(context: &'static Context, arrival: Arrival) {
    // If it preempts the caller, it does so here and not on the way back to the program, which is longer.
    let _guard = percpu::SwitchGuard::new();
    // Whoever has taken a thread keeps the CPU until it is in a queue: it is in none meanwhile.
    crate::arch::interrupts::without(|| {
        if take(context) {
            if let Some(cpu) = PerCpu::scheduler() {
                Counts::add_own(&cpu.counts.wakes);
            }
            context.set_arrival(arrival);
            schedule::send(context);
        }
    });
}

/// Before there are threads: halts while `word` says so. Interrupts are off between the look and the halt.
fn wait_without_thread(word: &AtomicU32, deadline_ns: u64) {
    loop {
        cpu_interrupts::disable();
        drivers::poll();
        deferred::run();
        if word.load(Ordering::SeqCst) != PARKED || clock::now_ns() >= deadline_ns {
            break;
        }
        timer::set_without_thread(deadline_ns);
        cpu_interrupts::enable_and_hlt();
    }
    cpu_interrupts::enable();
}
