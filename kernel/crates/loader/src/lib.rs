//! The program loader's arithmetic: what an ELF file asks for, and what Linux hands a new program.
//!
//! Everything here is pure: bytes and numbers go in, a plan comes out. Mapping pages, reading files and drawing
//! random numbers are the caller's work.
//!
//! - [`LoadPlan`]: the checked meaning of an ELF executable (segments, entry, interpreter, TLS, stack rights).
//! - [`aslr::Layout`]: where the pieces of an address space go, given random numbers.
//! - [`auxv::AuxiliaryVector`]: the entries of the auxiliary vector, in Linux's order.
//! - [`stack::build`]: the bytes of the initial stack.
//!
//! Invariants: no input, however malformed, makes anything here panic, and no accepted plan asks for memory
//! outside the program's half of the address space or for file bytes beyond the end of the file.
//!
//! It does not apply relocations: a static position-independent program relocates itself.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod aslr;
pub mod auxv;
mod error;
mod plan;
pub mod stack;

pub use error::ElfError;
pub use plan::{Kind, LoadPlan, ProgramHeaders, ReadAt, Rights, Segment, StackRights, ThreadStorage, VirtualRange};

/// Size of a page in bytes.
pub const PAGE_SIZE: u64 = 4096;

/// First address a program may occupy: Linux's default `vm.mmap_min_addr`.
pub const USER_START: u64 = 0x1_0000;

/// First address above the program's half of the address space (`TASK_SIZE` of Linux).
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// Rounds down to the start of the page.
pub(crate) const fn page_floor(address: u64) -> u64 {
    address & !(PAGE_SIZE - 1)
}

/// Rounds up to the next page boundary; `None` when there is none.
pub(crate) const fn page_ceil(address: u64) -> Option<u64> {
    match address.checked_add(PAGE_SIZE - 1) {
        Some(sum) => Some(page_floor(sum)),
        None => None,
    }
}
