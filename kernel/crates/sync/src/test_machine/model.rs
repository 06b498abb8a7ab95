//! Threads of loom. They all run on one thread of the host, so plain cells hold what the machine knows.

use std::cell::RefCell;

use loom::thread::{self, Thread};

use crate::atomic::{AtomicU32, Ordering};
use crate::held::HeldRanks;
use crate::machine::{PARKED, ThreadHandle};

/// A thread, and whether it is in `nacre_wait_for_wake`. Others are not unparked: loom takes it amiss in a join.
struct Slot {
    thread: Thread,
    is_waiting: bool,
    flag: Option<&'static InterruptFlag>,
    disabled: Option<loom::sync::MutexGuard<'static, ()>>,
}

thread_local! {
    static THREADS: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
}

/// Forgets the threads of the last execution. Call it first in each.
pub(crate) fn reset() {
    THREADS.with_borrow_mut(Vec::clear);
}

/// The clock stands still: a deadline of 0 has passed, every other one never comes.
#[unsafe(no_mangle)]
fn nacre_crc32c(_: u32, _: &[u8]) -> Option<u32> {
    None
}

#[unsafe(no_mangle)]
fn nacre_now_ns() -> u64 {
    0
}

#[unsafe(no_mangle)]
fn nacre_current_thread() -> ThreadHandle {
    let current = thread::current();
    THREADS.with_borrow_mut(|threads| {
        let index = threads.iter().position(|slot| slot.thread.id() == current.id()).unwrap_or_else(|| {
            threads.push(Slot { thread: current, is_waiting: false, flag: None, disabled: None });
            threads.len() - 1
        });
        ThreadHandle(index as u64)
    })
}

#[unsafe(no_mangle)]
fn nacre_wait_for_wake(state: &AtomicU32, deadline_ns: u64) {
    if deadline_ns == 0 {
        return;
    }
    let index = index_of(nacre_current_thread());
    // Wakeable first, then the look, which reads the latest value: what every machine owes.
    THREADS.with_borrow_mut(|threads| threads[index].is_waiting = true);
    while state.fetch_or(0, Ordering::AcqRel) == PARKED {
        thread::park();
    }
    THREADS.with_borrow_mut(|threads| threads[index].is_waiting = false);
}

#[unsafe(no_mangle)]
fn nacre_release_waiter(thread: ThreadHandle) {
    nacre_wake_waiter(thread);
}

#[unsafe(no_mangle)]
fn nacre_wake_waiter(thread: ThreadHandle) {
    let index = index_of(thread);
    let sleeper = THREADS.with_borrow(|threads| threads[index].is_waiting.then(|| threads[index].thread.clone()));
    if let Some(sleeper) = sleeper {
        sleeper.unpark();
    }
}

fn index_of(thread: ThreadHandle) -> usize {
    usize::try_from(thread.0).expect("handles are indices")
}

/// The interrupt flag of a CPU whose interrupts a model explores. Who disables interrupts holds it, and a handler holds it
/// while it runs. (The thread it interrupts may go on where it could not on a CPU: more is explored than can happen.)
pub(crate) struct InterruptFlag(loom::sync::Mutex<()>);

impl InterruptFlag {
    /// The flag of one CPU, enabled.
    pub(crate) fn new() -> &'static Self {
        Box::leak(Box::new(Self(loom::sync::Mutex::new(()))))
    }

    /// Runs a handler on the CPU, when its interrupts are enabled. It finds them disabled.
    pub(crate) fn interrupt(&'static self, handler: impl FnOnce()) {
        let _running = self.0.lock().expect("no handler panics");
        handler();
    }

    /// From now on the calling thread disables the interrupts of this CPU.
    pub(crate) fn belongs_to_caller(&'static self) {
        let index = index_of(nacre_current_thread());
        THREADS.with_borrow_mut(|threads| threads[index].flag = Some(self));
    }
}

#[unsafe(no_mangle)]
fn nacre_interrupts_disable_save() -> bool {
    let index = index_of(nacre_current_thread());
    let (flag, are_disabled) = THREADS.with_borrow(|threads| (threads[index].flag, threads[index].disabled.is_some()));
    let Some(flag) = flag else { return true };
    if are_disabled {
        return false;
    }
    let disabled = flag.0.lock().expect("no handler panics");
    THREADS.with_borrow_mut(|threads| threads[index].disabled = Some(disabled));
    true
}

#[unsafe(no_mangle)]
fn nacre_interrupts_restore(were_enabled: bool) {
    if were_enabled {
        let index = index_of(nacre_current_thread());
        let disabled = THREADS.with_borrow_mut(|threads| threads[index].disabled.take());
        drop(disabled);
    }
}

/// Each thread of a model has a CPU of its own, so that nobody preempts it.
#[unsafe(no_mangle)]
fn nacre_preemption_disable() {}

#[unsafe(no_mangle)]
fn nacre_preemption_enable() {}

#[unsafe(no_mangle)]
fn nacre_current_cpu() -> u32 {
    u32::try_from(index_of(nacre_current_thread())).expect("models have few threads")
}

#[unsafe(no_mangle)]
fn nacre_held_ranks() -> &'static HeldRanks {
    static HELD: HeldRanks = HeldRanks::new();
    &HELD
}
