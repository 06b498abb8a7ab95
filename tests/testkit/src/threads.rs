//! Threads that park, and how they start.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use sync::machine::{NEVER, PARKED, ThreadHandle};
use sync::{HeldRanks, rcu};

use crate::clock::Wait;
use crate::machine::{self, lock};
use crate::user;

/// Every thread that ever asked for its handle, which is its index: handles never go stale.
static THREADS: Mutex<Vec<Thread>> = Mutex::new(Vec::new());

thread_local! {
    static HANDLE: ThreadHandle = {
        let mut threads = lock(&THREADS);
        threads.push(thread::current());
        ThreadHandle(threads.len() as u64 - 1)
    };
    static HELD: &'static HeldRanks = Box::leak(Box::default());
    static INTERRUPTS_ENABLED: Cell<bool> = const { Cell::new(true) };
    static PIN: Pin = const { Pin { depth: Cell::new(0), cpu: Cell::new(0) } };
}

/// Starts a thread on the machine of this one, with the same program memory.
pub fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let machine = machine::current();
    let memory = user::memory();
    thread::spawn(move || {
        machine::set_current(machine);
        user::set_memory(memory);
        body()
    })
}

/// Whether this thread would be interrupted: false inside of an `IrqSpinLock`.
#[must_use]
pub fn are_interrupts_enabled() -> bool {
    INTERRUPTS_ENABLED.get()
}

/// The locks this thread holds.
#[must_use]
pub fn held_ranks() -> &'static HeldRanks {
    HELD.with(|held| *held)
}

pub(crate) fn current() -> ThreadHandle {
    HANDLE.with(|handle| *handle)
}

pub(crate) fn wait_for_wake(state: &AtomicU32, deadline_ns: u64) {
    assert!(are_interrupts_enabled(), "a thread sleeps with interrupts disabled");
    while state.load(Ordering::Acquire) == PARKED {
        if deadline_ns == NEVER {
            thread::park();
            continue;
        }
        match machine::current().clock.wait_for(deadline_ns) {
            Wait::Over => return,
            Wait::Nanoseconds(left_ns) => thread::park_timeout(Duration::from_nanos(left_ns)),
            Wait::UntilUnparked => thread::park(),
        }
    }
}

pub(crate) fn wake(thread: ThreadHandle) {
    let index = usize::try_from(thread.0).expect("handles are indices");
    let thread = lock(&THREADS).get(index).cloned();
    thread.expect("a thread that never was is woken").unpark();
}

pub(crate) fn disable_interrupts() -> bool {
    let were_enabled = INTERRUPTS_ENABLED.replace(false);
    if were_enabled {
        pin();
    }
    were_enabled
}

pub(crate) fn restore_interrupts(were_enabled: bool) {
    INTERRUPTS_ENABLED.set(were_enabled);
    if were_enabled {
        unpin();
    }
}

/// The CPUs that no thread has, by bits.
static FREE_CPUS: AtomicU64 = AtomicU64::new(u64::MAX);

/// A thread's claim to a CPU. It has one for itself while it must not be preempted, and the CPU idles otherwise: so what
/// holds for threads of the kernel, that of a CPU one at a time is not preemptible, holds for threads of the host.
struct Pin {
    depth: Cell<u32>,
    cpu: Cell<u32>,
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

impl Drop for Pin {
    /// A thread that panicked in the middle gives its CPU back.
    fn drop(&mut self) {
        if self.depth.get() > 0 {
            self.leave();
        }
    }
}

/// Keeps the thread on a CPU of its own until as many calls of [`unpin`].
pub(crate) fn pin() {
    // A thread whose locals are gone runs alone.
    let _ = PIN.try_with(|pin| {
        if pin.depth.replace(pin.depth.get() + 1) == 0 {
            pin.enter();
        }
    });
}

/// Undoes one [`pin`].
pub(crate) fn unpin() {
    let _ = PIN.try_with(|pin| {
        pin.depth.set(pin.depth.get() - 1);
        if pin.depth.get() == 0 {
            pin.leave();
        }
    });
}

/// The CPU that the thread has, or had last.
pub(crate) fn current_cpu() -> u32 {
    PIN.try_with(|pin| pin.cpu.get()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sync::{IrqSpinLock, Mutex, Parker, rank};

    use super::*;

    #[test]
    fn a_parked_thread_is_woken() {
        let parker = Arc::new(Parker::new());
        let sleeper = {
            let parker = Arc::clone(&parker);
            spawn(move || parker.park())
        };
        thread::sleep(Duration::from_millis(10));
        parker.unpark();
        sleeper.join().unwrap();
    }

    #[test]
    fn a_mutex_is_handed_over() {
        let mutex = Arc::new(Mutex::new(rank::PIPE, 0));
        let others: Vec<_> = (0..3)
            .map(|_| {
                let mutex = Arc::clone(&mutex);
                spawn(move || (0..1000).for_each(|_| *mutex.lock() += 1))
            })
            .collect();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(*mutex.lock(), 3000);
        assert!(held_ranks().is_empty());
    }

    #[test]
    fn interrupts_are_disabled_in_an_irq_lock() {
        let lock = IrqSpinLock::new(rank::DRIVER, ());
        let guard = lock.lock();
        assert!(!are_interrupts_enabled());
        drop(guard);
        assert!(are_interrupts_enabled());
    }
}
