//! What a program can have of Nacre beyond Linux: system calls by function call, and calls that Linux does not have.
//!
//! - [`system_call`]: any call, by the kernel's C entry where there is one, else by the instruction.
//! - [`batch`]: many system calls by one.
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
mod vdso;

pub use entry::{is_native, system_call};

/// The examples of the README are tests as well.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The numbers of the native calls, far beyond Linux's.
mod number {
    pub(crate) const BATCH: usize = 0x4e_0000;
}
