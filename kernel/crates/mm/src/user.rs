//! Program memory: [`UserReader`] and [`UserWriter`], the only way to it.
//!
//! Both are cursors over a byte range (or several: an iovec) of the program, or over a kernel
//! buffer, so that kernel code which reads and writes files uses the same calls. Every byte is
//! fetched or stored once. No reference to program memory is ever formed: all access goes through
//! `sync::machine`, whose copies recover from faults and report how far they came.
//!
//! Two families of calls. The plain ones page memory in: they may sleep and no lock may be held
//! that a page fault needs. Those that return [`UserFault`] stop at the first page that is not
//! there; after dropping its locks the caller pages it in with [`UserFault::resolve`] and retries.
//!
//! Ranges are checked against [`USER_END`] when a cursor is made; whether something is mapped shows
//! only in the copy.

mod arrays;
mod reader;
mod segments;
mod writer;

use abi::{Errno, io};
use sync::machine;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::range::page_down;
use crate::{PAGE_SIZE, USER_END};

pub use arrays::{IovecBuffer, read_user_cstr, read_user_cstr_array};
pub use reader::UserReader;
pub use writer::UserWriter;

/// The most bytes one transfer moves (Linux's `MAX_RW_COUNT`); longer ones are cut short.
pub const TRANSFER_LEN_MAX: usize = io::RW_COUNT_MAX;
/// The most segments of one iovec (Linux's `UIO_MAXIOV`).
pub const IOVEC_COUNT_MAX: usize = io::IOV_MAX;

/// A page of program memory that a non-faulting copy did not find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "drop the locks, resolve the fault, retry"]
pub struct UserFault {
    address: usize,
    is_store: bool,
}

impl UserFault {
    /// The first byte that could not be copied.
    #[must_use]
    pub const fn address(self) -> usize {
        self.address
    }

    /// Pages the byte in, as a load or store of the program would. EFAULT when it cannot be.
    /// May sleep: hold no lock.
    pub fn resolve(self) -> Result<(), Errno> {
        fault_in(self.address, 1, self.is_store)
    }
}

/// Pages `len` bytes at `address` in, for loads or for stores, without touching them. EFAULT when the program could
/// not access them. May sleep: hold no lock.
pub fn fault_in(address: usize, len: usize, is_store: bool) -> Result<(), Errno> {
    check_range(address, len)?;
    let end = address + len;
    let mut at = address;
    while at < end {
        if !machine::page_in_user(at, is_store) {
            return Err(Errno::EFAULT);
        }
        at = page_down(at) + PAGE_SIZE;
    }
    Ok(())
}

/// EFAULT unless the range lies in the program's half.
#[inline]
pub fn check_range(address: usize, len: usize) -> Result<(), Errno> {
    match address.checked_add(len) {
        Some(end) if end <= USER_END => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// Reads a structure of the program.
#[inline]
pub fn read_user_struct<T: FromBytes + IntoBytes>(address: usize) -> Result<T, Errno> {
    let mut value = T::new_zeroed();
    read_user_into(address, &mut value)?;
    Ok(value)
}

/// Reads a structure of the program into one that is there already, for large ones.
#[inline]
pub fn read_user_into<T: FromBytes + IntoBytes>(address: usize, into: &mut T) -> Result<(), Errno> {
    check_range(address, size_of::<T>())?;
    if machine::read_user_struct(into.as_mut_bytes(), address) { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Writes a structure to the program.
#[inline]
pub fn write_user_struct<T: IntoBytes + Immutable>(address: usize, value: &T) -> Result<(), Errno> {
    check_range(address, size_of::<T>())?;
    if machine::write_user_struct(address, value.as_bytes()) { Ok(()) } else { Err(Errno::EFAULT) }
}
