//! Threads of the host, which sleep by `std::thread::park`.

use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::atomic::{AtomicU32, Ordering};
use crate::held::HeldRanks;
use crate::machine::{NEVER, PARKED, ThreadHandle};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static THREADS: Mutex<Vec<Thread>> = Mutex::new(Vec::new());

thread_local! {
    static HELD: &'static HeldRanks = Box::leak(Box::new(HeldRanks::new()));
    static INTERRUPTS_ENABLED: Cell<bool> = const { Cell::new(true) };
    static HANDLE: ThreadHandle = {
        let mut threads = THREADS.lock().expect("no test panics with the lock");
        threads.push(thread::current());
        ThreadHandle(threads.len() as u64 - 1)
    };
}

/// The fake interrupt flag of the calling thread.
pub(crate) fn are_interrupts_enabled() -> bool {
    INTERRUPTS_ENABLED.get()
}

#[unsafe(no_mangle)]
fn nacre_now_ns() -> u64 {
    u64::try_from(START.elapsed().as_nanos()).expect("tests take less than 584 years")
}

#[unsafe(no_mangle)]
fn nacre_current_thread() -> ThreadHandle {
    HANDLE.with(|handle| *handle)
}

#[unsafe(no_mangle)]
fn nacre_wait_for_wake(state: &AtomicU32, deadline_ns: u64) {
    while state.load(Ordering::Acquire) == PARKED {
        if deadline_ns == NEVER {
            thread::park();
            continue;
        }
        match deadline_ns.checked_sub(nacre_now_ns()) {
            None | Some(0) => return,
            Some(left) => thread::park_timeout(Duration::from_nanos(left)),
        }
    }
}

#[unsafe(no_mangle)]
fn nacre_wake_waiter(thread: ThreadHandle) {
    let index = usize::try_from(thread.0).expect("handles are indices");
    THREADS.lock().expect("no test panics with the lock")[index].unpark();
}

#[unsafe(no_mangle)]
fn nacre_interrupts_disable_save() -> bool {
    INTERRUPTS_ENABLED.replace(false)
}

#[unsafe(no_mangle)]
fn nacre_interrupts_restore(were_enabled: bool) {
    INTERRUPTS_ENABLED.set(were_enabled);
}

/// Threads of tests are the host's, which preempts them as it likes.
#[unsafe(no_mangle)]
fn nacre_preemption_disable() {}

#[unsafe(no_mangle)]
fn nacre_preemption_enable() {}

#[unsafe(no_mangle)]
fn nacre_current_cpu() -> u32 {
    0
}

#[unsafe(no_mangle)]
fn nacre_held_ranks() -> &'static HeldRanks {
    HELD.with(|held| *held)
}
