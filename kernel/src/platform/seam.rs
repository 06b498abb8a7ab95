//! The functions that `sync::machine` declares, on this machine.

use core::sync::atomic::AtomicU32;

use sync::HeldRanks;
use sync::machine::ThreadHandle;
use x86_64::instructions::interrupts as cpu_interrupts;

use crate::arch::percpu::{self, PerCpu};
use crate::arch::{checksum, clock, user_copy};
use crate::entropy;
use crate::threads::{schedule, wait};

/// The locks held before the scheduler has started.
static HELD_AT_START: HeldRanks = HeldRanks::new();

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
    wait::current()
}

#[unsafe(no_mangle)]
fn nacre_wait_for_wake(state: &AtomicU32, deadline_ns: u64) {
    wait::wait_for_wake(state, deadline_ns);
}

#[unsafe(no_mangle)]
fn nacre_wake_waiter(thread: ThreadHandle) {
    wait::wake(thread);
}

#[unsafe(no_mangle)]
fn nacre_release_waiter(thread: ThreadHandle) {
    wait::release(thread);
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
fn nacre_preemption_disable() {
    percpu::forbid_switch();
}

#[unsafe(no_mangle)]
fn nacre_preemption_enable() {
    if percpu::permit_switch() {
        schedule::preempt_now();
    }
}

#[unsafe(no_mangle)]
fn nacre_current_cpu() -> u32 {
    PerCpu::number()
}

#[unsafe(no_mangle)]
fn nacre_held_ranks() -> &'static HeldRanks {
    #[cfg(debug_assertions)]
    if let Some(context) = PerCpu::context() {
        return context.held();
    }
    PerCpu::scheduler().map_or(&HELD_AT_START, |cpu| &cpu.held)
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
fn nacre_read_user_u64(address: usize) -> Option<u64> {
    user_copy::read_u64(address)
}

#[unsafe(no_mangle)]
fn nacre_read_user_u32(address: usize) -> Option<u32> {
    user_copy::read_u32(address)
}

#[unsafe(no_mangle)]
fn nacre_write_user_u64(address: usize, value: u64) -> bool {
    user_copy::write_u64(address, value)
}

#[unsafe(no_mangle)]
fn nacre_write_user_u32(address: usize, value: u32) -> bool {
    user_copy::write_u32(address, value)
}

#[unsafe(no_mangle)]
fn nacre_copy_string_from_user(destination: &mut [u8], source: usize) -> Option<usize> {
    user_copy::string_from_user(destination, source)
}

#[unsafe(no_mangle)]
fn nacre_page_in_user(address: usize, is_store: bool) -> bool {
    /// The bit of a page fault's error code that says "a store".
    const STORE_SHIFT: u32 = 1;
    let error_code = u64::from(is_store) << STORE_SHIFT;
    PerCpu::thread().is_some_and(|thread| linux::page_in(thread, address, error_code))
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

#[unsafe(no_mangle)]
fn nacre_crc32c(sum: u32, bytes: &[u8]) -> Option<u32> {
    checksum::crc32c(sum, bytes)
}
