//! Memory for packets, which may be refused.
//!
//! 1. What is at most a page comes from the kernel's heap, which has a reserve: programs get no frames of it, devices no packets
//!    (`kernel/src/memory/heap.rs`). It is not asked whether there is some, as there always is.
//! 2. What may be larger, a datagram of 64 KiB for one, needs frames in a row, of which none may be left long before the reserve is touched. It is
//!    asked for here, or by `try_reserve` at its own place, and who is refused drops a packet, answers `ENOBUFS` or does with a page. So
//!    nothing that comes from outside, or that a program asks for, can end the kernel; `tests/netsim/tests/memory.rs` lets each such request of its
//!    lives fail.

use alloc::vec::Vec;

use abi::Errno;

/// What there is always.
const PAGE_LEN: usize = 4096;

/// An empty vector with room for so many values. `ENOBUFS`.
pub(crate) fn room_for<T>(count: usize) -> Result<Vec<T>, Errno> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(count).map_err(|_| Errno::ENOBUFS)?;
    Ok(vector)
}

/// So many zero bytes. `ENOBUFS`.
pub(crate) fn zeroes(len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = room_for(len)?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// A copy of pieces of memory that are `len` bytes together. `ENOBUFS`.
pub(crate) fn copy_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = room_for(len)?;
    pieces.into_iter().for_each(|piece| bytes.extend_from_slice(piece));
    Ok(bytes)
}

/// A copy of bytes; of those in front that fill a page, where there is no more memory.
pub(crate) fn copy_of_front(bytes: &[u8]) -> Vec<u8> {
    copy_of([bytes], bytes.len()).unwrap_or_else(|_| bytes[..bytes.len().min(PAGE_LEN)].to_vec())
}
