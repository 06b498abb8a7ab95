//! The functions that `sync::machine` declares.

use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};
use std::sync::atomic::AtomicU32;

use sync::HeldRanks;
use sync::machine::ThreadHandle;

use crate::{clock, entropy, machine, threads, user};

#[unsafe(no_mangle)]
fn nacre_now_ns() -> u64 {
    clock::now()
}

#[unsafe(no_mangle)]
fn nacre_realtime_ns() -> u64 {
    machine::current().clock.realtime_ns()
}

#[unsafe(no_mangle)]
fn nacre_current_thread() -> ThreadHandle {
    threads::current()
}

#[unsafe(no_mangle)]
fn nacre_wait_for_wake(state: &AtomicU32, deadline_ns: u64) {
    threads::wait_for_wake(state, deadline_ns);
}

#[unsafe(no_mangle)]
fn nacre_release_waiter(thread: ThreadHandle) {
    nacre_wake_waiter(thread);
}

#[unsafe(no_mangle)]
fn nacre_wake_waiter(thread: ThreadHandle) {
    threads::wake(thread);
}

#[unsafe(no_mangle)]
fn nacre_interrupts_disable_save() -> bool {
    threads::disable_interrupts()
}

#[unsafe(no_mangle)]
fn nacre_interrupts_restore(were_enabled: bool) {
    threads::restore_interrupts(were_enabled);
}

/// Threads of tests are the host's, which preempts them as it likes, but meanwhile no other has their CPU.
#[unsafe(no_mangle)]
fn nacre_preemption_disable() {
    threads::pin();
}

#[unsafe(no_mangle)]
fn nacre_preemption_enable() {
    threads::unpin();
}

#[unsafe(no_mangle)]
fn nacre_current_cpu() -> u32 {
    threads::current_cpu()
}

#[unsafe(no_mangle)]
fn nacre_held_ranks() -> &'static HeldRanks {
    threads::held_ranks()
}

#[unsafe(no_mangle)]
fn nacre_copy_from_user(destination: &mut [u8], source: usize) -> usize {
    user::copy_from(destination, source, true)
}

#[unsafe(no_mangle)]
fn nacre_copy_to_user(destination: usize, source: &[u8]) -> usize {
    user::copy_to(destination, source, true)
}

#[unsafe(no_mangle)]
fn nacre_copy_from_user_nofault(destination: &mut [u8], source: usize) -> usize {
    user::copy_from(destination, source, false)
}

#[unsafe(no_mangle)]
fn nacre_copy_to_user_nofault(destination: usize, source: &[u8]) -> usize {
    user::copy_to(destination, source, false)
}

#[unsafe(no_mangle)]
fn nacre_read_user_u64(address: usize) -> Option<u64> {
    user::read_word(address).map(u64::from_ne_bytes)
}

#[unsafe(no_mangle)]
fn nacre_read_user_u32(address: usize) -> Option<u32> {
    user::read_word(address).map(u32::from_ne_bytes)
}

#[unsafe(no_mangle)]
fn nacre_write_user_u64(address: usize, value: u64) -> bool {
    user::write_word(address, value.to_ne_bytes())
}

#[unsafe(no_mangle)]
fn nacre_write_user_u32(address: usize, value: u32) -> bool {
    user::write_word(address, value.to_ne_bytes())
}

#[unsafe(no_mangle)]
fn nacre_copy_string_from_user(destination: &mut [u8], source: usize) -> Option<usize> {
    user::copy_string(destination, source)
}

#[unsafe(no_mangle)]
fn nacre_page_in_user(address: usize, is_store: bool) -> bool {
    user::page_in(address, is_store)
}

#[unsafe(no_mangle)]
fn nacre_load_user_u32(address: usize) -> Option<u32> {
    user::load_u32(address)
}

#[unsafe(no_mangle)]
fn nacre_compare_exchange_user_u32(address: usize, old: u32, new: u32) -> Option<Result<u32, u32>> {
    user::compare_exchange_u32(address, old, new)
}

#[unsafe(no_mangle)]
fn nacre_fill_entropy(destination: &mut [u8]) {
    entropy::fill(destination);
}

#[unsafe(no_mangle)]
fn nacre_crc32c(sum: u32, bytes: &[u8]) -> Option<u32> {
    // SAFETY: the processor has the instruction.
    is_x86_feature_detected!("sse4.2").then(|| unsafe { crc32c(sum, bytes) })
}

#[target_feature(enable = "sse4.2")]
fn crc32c(sum: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks();
    let sum = words.iter().fold(u64::from(sum), |sum, word| _mm_crc32_u64(sum, u64::from_le_bytes(*word)));
    let sum = u32::try_from(sum).expect("the upper half is zero after each step");
    rest.iter().fold(sum, |sum, byte| _mm_crc32_u8(sum, *byte))
}
