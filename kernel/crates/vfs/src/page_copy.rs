//! Positions in files as pages, and copies to and from the frames that hold them.
//!
//! Nothing is locked while program memory is touched: a copy that stops at a missing page pages it in and goes on.

use abi::Errno;
use mm::user::{UserReader, UserWriter};
use mm::{Frame, PAGE_SHIFT, PAGE_SIZE};

/// Bytes in a page.
pub(crate) const PAGE: u64 = PAGE_SIZE as u64;

/// The page a byte is in.
pub(crate) fn page_of(position: u64) -> u64 {
    position >> PAGE_SHIFT
}

/// Where in its page a byte is.
pub(crate) fn offset_in_page(position: u64) -> usize {
    (position % PAGE) as usize
}

/// The lesser of a length in memory and one in a file.
pub(crate) fn min_len(len: usize, bound: u64) -> usize {
    usize::try_from(bound).map_or(len, |bound| len.min(bound))
}

/// Copies from a frame to program memory, paging the program's memory in. At least one byte, or the error.
pub(crate) fn copy_out(frame: &Frame, offset: usize, to: &mut UserWriter<'_>, len: usize) -> Result<usize, Errno> {
    loop {
        match frame.read_to(offset, to, len) {
            Ok(copied) => return Ok(copied),
            Err(fault) => fault.resolve()?,
        }
    }
}

/// Copies from program memory to a frame, paging the program's memory in. At least one byte, or the error.
#[inline]
pub(crate) fn copy_in(frame: &Frame, offset: usize, from: &mut UserReader<'_>, len: usize) -> Result<usize, Errno> {
    loop {
        match frame.write_from(offset, from, len) {
            Ok(copied) => return Ok(copied),
            Err(fault) => fault.resolve()?,
        }
    }
}

/// Copies a part of a frame to the same place of another.
pub(crate) fn copy_between(from: &Frame, to: &Frame, offset: usize, len: usize) {
    to.copy_from(offset, from, offset, len);
}
