//! The seam of this crate's own tests. (The fakes of `tests/testkit` would bring a second copy of this crate.)

#[cfg(not(loom))]
mod host;
#[cfg(loom)]
mod model;

#[cfg(not(loom))]
pub(crate) use host::are_interrupts_enabled;
#[cfg(loom)]
pub(crate) use model::{InterruptFlag, reset};

#[unsafe(no_mangle)]
fn nacre_realtime_ns() -> u64 {
    0
}

#[unsafe(no_mangle)]
fn nacre_copy_from_user(destination: &mut [u8], _source: usize) -> usize {
    destination.len()
}

#[unsafe(no_mangle)]
fn nacre_copy_to_user(_destination: usize, source: &[u8]) -> usize {
    source.len()
}

#[unsafe(no_mangle)]
fn nacre_copy_from_user_nofault(destination: &mut [u8], _source: usize) -> usize {
    destination.len()
}

#[unsafe(no_mangle)]
fn nacre_copy_to_user_nofault(_destination: usize, source: &[u8]) -> usize {
    source.len()
}

#[unsafe(no_mangle)]
fn nacre_read_user_u64(_address: usize) -> Option<u64> {
    None
}

#[unsafe(no_mangle)]
fn nacre_read_user_u32(_address: usize) -> Option<u32> {
    None
}

#[unsafe(no_mangle)]
fn nacre_write_user_u64(_address: usize, _value: u64) -> bool {
    false
}

#[unsafe(no_mangle)]
fn nacre_write_user_u32(_address: usize, _value: u32) -> bool {
    false
}

#[unsafe(no_mangle)]
fn nacre_copy_string_from_user(_destination: &mut [u8], _source: usize) -> Option<usize> {
    None
}

#[unsafe(no_mangle)]
fn nacre_page_in_user(_address: usize, _is_store: bool) -> bool {
    false
}

#[unsafe(no_mangle)]
fn nacre_load_user_u32(_address: usize) -> Option<u32> {
    None
}

#[unsafe(no_mangle)]
fn nacre_compare_exchange_user_u32(_address: usize, _old: u32, _new: u32) -> Option<Result<u32, u32>> {
    None
}

#[unsafe(no_mangle)]
fn nacre_fill_entropy(destination: &mut [u8]) {
    destination.fill(0);
}
