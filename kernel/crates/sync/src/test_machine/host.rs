//! Threads of the host, which sleep by `std::thread::park`.

use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::held::HeldRanks;
use crate::machine::{NEVER, PARKED, ThreadHandle};
use crate::rcu;

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
fn nacre_crc32c(_: u32, _: &[u8]) -> Option<u32> {
    None
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
fn nacre_release_waiter(thread: ThreadHandle) {
    nacre_wake_waiter(thread);
}

#[unsafe(no_mangle)]
fn nacre_wake_waiter(thread: ThreadHandle) {
    let index = usize::try_from(thread.0).expect("handles are indices");
    THREADS.lock().expect("no test panics with the lock")[index].unpark();
}

#[unsafe(no_mangle)]
fn nacre_interrupts_disable_save() -> bool {
    let were_enabled = INTERRUPTS_ENABLED.replace(false);
    if were_enabled {
        pin();
    }
    were_enabled
}

#[unsafe(no_mangle)]
fn nacre_interrupts_restore(were_enabled: bool) {
    INTERRUPTS_ENABLED.set(were_enabled);
    if were_enabled {
        unpin();
    }
}

#[unsafe(no_mangle)]
fn nacre_preemption_disable() {
    pin();
}

#[unsafe(no_mangle)]
fn nacre_preemption_enable() {
    unpin();
}

#[unsafe(no_mangle)]
fn nacre_current_cpu() -> u32 {
    PIN.with(|pin| pin.cpu.get())
}

/// The CPUs of the fake machine that no thread has, by bits.
static FREE_CPUS: AtomicU64 = AtomicU64::new(u64::MAX);

/// A thread's claim to a CPU. It has one for itself while it must not be preempted, and the CPU idles otherwise.
struct Pin {
    depth: Cell<u32>,
    cpu: Cell<u32>,
}

impl Drop for Pin {
    /// A test that panics in the middle gives its CPU back.
    fn drop(&mut self) {
        if self.depth.get() > 0 {
            self.leave();
        }
    }
}

impl Pin {
    fn enter(&self) {
        let take_lowest = |free: u64| free.checked_sub(1).map(|below| free & below);
        loop {
            match FREE_CPUS.fetch_update(Ordering::Acquire, Ordering::Relaxed, take_lowest) {
                Ok(free) => {
                    self.cpu.set(free.trailing_zeros());
                    return rcu::idle_exit(self.cpu.get());
                }
                Err(_) => thread::yield_now(),
            }
        }
    }

    fn leave(&self) {
        rcu::idle_enter(self.cpu.get());
        FREE_CPUS.fetch_or(1 << self.cpu.get(), Ordering::Release);
    }
}

thread_local! {
    static PIN: Pin = const { Pin { depth: Cell::new(0), cpu: Cell::new(0) } };
}

fn pin() {
    PIN.with(|pin| {
        if pin.depth.replace(pin.depth.get() + 1) == 0 {
            pin.enter();
        }
    });
}

fn unpin() {
    PIN.with(|pin| {
        pin.depth.set(pin.depth.get() - 1);
        if pin.depth.get() == 0 {
            pin.leave();
        }
    });
}

#[unsafe(no_mangle)]
fn nacre_held_ranks() -> &'static HeldRanks {
    HELD.with(|held| *held)
}
