//! The functions that `sync::machine` declares, on this machine: one CPU for now, one thread that waits at a time.

use core::sync::atomic::{AtomicU32, Ordering};

use sync::HeldRanks;
use sync::machine::{NEVER, PARKED, ThreadHandle};
use x86_64::instructions::interrupts as cpu_interrupts;

use super::timer;
use crate::arch::percpu::PerCpu;
use crate::arch::{clock, user_copy};
use crate::{drivers, entropy};

/// How often devices without an interrupt are looked at.
const POLL_NS: u64 = 500_000;

static HELD: HeldRanks = HeldRanks::new();

#[unsafe(no_mangle)]
fn nacre_now_ns() -> u64 {
    clock::now_ns()
}

#[unsafe(no_mangle)]
fn nacre_realtime_ns() -> u64 {
    clock::realtime_ns()
}

#[unsafe(no_mangle)]
fn nacre_current_thread() -> ThreadHandle {
    ThreadHandle(0)
}

/// Halts while `state` says so. Interrupts are off between the look and the halt, and `sti; hlt` lets none in between.
#[unsafe(no_mangle)]
fn nacre_wait_for_wake(state: &AtomicU32, deadline_ns: u64) {
    loop {
        cpu_interrupts::disable();
        drivers::poll();
        super::deferred::run();
        if state.load(Ordering::SeqCst) != PARKED {
            break;
        }
        let now = clock::now_ns();
        if now >= deadline_ns {
            break;
        }
        let poll_ns = if drivers::needs_polling() { now.saturating_add(POLL_NS) } else { NEVER };
        timer::set_for_wait(deadline_ns.min(poll_ns));
        cpu_interrupts::enable_and_hlt();
    }
    timer::resume();
    cpu_interrupts::enable();
}

#[unsafe(no_mangle)]
fn nacre_wake_waiter(_thread: ThreadHandle) {
    // The only thread there is looks at its state after any interrupt.
}

#[unsafe(no_mangle)]
fn nacre_interrupts_disable_save() -> bool {
    let were_enabled = cpu_interrupts::are_enabled();
    if were_enabled {
        cpu_interrupts::disable();
    }
    were_enabled
}

#[unsafe(no_mangle)]
fn nacre_interrupts_restore(were_enabled: bool) {
    if were_enabled {
        cpu_interrupts::enable();
    }
}

#[unsafe(no_mangle)]
fn nacre_preemption_disable() {}

#[unsafe(no_mangle)]
fn nacre_preemption_enable() {}

#[unsafe(no_mangle)]
fn nacre_current_cpu() -> u32 {
    PerCpu::current().index()
}

#[unsafe(no_mangle)]
fn nacre_held_ranks() -> &'static HeldRanks {
    &HELD
}

#[unsafe(no_mangle)]
fn nacre_copy_from_user(destination: &mut [u8], source: usize) -> usize {
    user_copy::from_user(destination, source)
}

#[unsafe(no_mangle)]
fn nacre_copy_to_user(destination: usize, source: &[u8]) -> usize {
    user_copy::to_user(destination, source)
}

#[unsafe(no_mangle)]
fn nacre_copy_from_user_nofault(destination: &mut [u8], source: usize) -> usize {
    user_copy::from_user_nofault(destination, source)
}

#[unsafe(no_mangle)]
fn nacre_copy_to_user_nofault(destination: usize, source: &[u8]) -> usize {
    user_copy::to_user_nofault(destination, source)
}

#[unsafe(no_mangle)]
fn nacre_page_in_user(address: usize, is_store: bool) -> bool {
    /// The bit of a page fault's error code that says "a store".
    const STORE_SHIFT: u32 = 1;
    let error_code = u64::from(is_store) << STORE_SHIFT;
    PerCpu::current().thread().is_some_and(|thread| linux::page_in(thread, address, error_code))
}

#[unsafe(no_mangle)]
fn nacre_load_user_u32(address: usize) -> Option<u32> {
    user_copy::load_u32(address)
}

#[unsafe(no_mangle)]
fn nacre_compare_exchange_user_u32(address: usize, old: u32, new: u32) -> Option<Result<u32, u32>> {
    user_copy::compare_exchange_u32(address, old, new)
}

#[unsafe(no_mangle)]
fn nacre_fill_entropy(destination: &mut [u8]) {
    entropy::fill(destination);
}
