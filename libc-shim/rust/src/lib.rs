//! What a program can have of Nacre beyond Linux: system calls by function call, and calls that Linux does not have.
//!
//! - [`system_call`]: any call, by the kernel's C entry where there is one, else by the instruction.
//! - [`batch`]: many system calls by one.
//! - [`wait`]: descriptors, futex words and threads waited for by one call.
//! - [`receive`]: bytes of the network, read where they lie.
//! - [`memory`]: being told that memory is short.
//! - [`cpu`]: which processor this is, in two instructions, and data of its own.
//!
//! Everything runs on Linux too: the same binary serves both. [`is_native`] says where it is; what only Nacre can do is done
//! there in the way Linux has, and its documentation says how.
//!
//! ```
//! // getppid, which no C library need know of.
//! const SYS_GETPPID: usize = 110;
//! // SAFETY: the call touches no memory.
//! let parent = unsafe { nacre::system_call(SYS_GETPPID, [0; 6]) };
//! assert!(parent >= 0);
//! ```

pub mod batch;
pub mod cpu;
mod entry;
pub mod memory;
pub mod receive;
mod vdso;
pub mod wait;

use std::io;

pub use entry::{is_native, system_call};

/// The examples of the README are tests as well.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The numbers of the native calls, far beyond Linux's.
mod number {
    pub(crate) const BATCH: usize = 0x4e_0000;
    pub(crate) const WAIT_MANY: usize = 0x4e_0001;
    pub(crate) const RECEIVE_IN_PLACE: usize = 0x4e_0002;
    pub(crate) const GIVE_BACK: usize = 0x4e_0003;
    pub(crate) const MEMORY_EVENTS: usize = 0x4e_0004;
}

/// The answer of a call, or its error.
fn checked(answer: isize) -> io::Result<usize> {
    let error = || io::Error::from_raw_os_error(i32::try_from(-answer).unwrap_or(i32::MAX));
    usize::try_from(answer).map_err(|_| error())
}

/// Whether the kernel does not have the call.
fn is_absent(error: &io::Error) -> bool {
    const ENOSYS: i32 = 38;
    error.raw_os_error() == Some(ENOSYS)
}
