//! Memory of programs: user access, physical frames, address spaces.
//!
//! The crate is pure. It decides which frame belongs at which address of a program and leaves the
//! work on real memory to three seams that the machine implements and tests fake:
//! [`FrameMachine`] (physical frames), [`PageTable`] (one lower half) and `sync::machine` (copies
//! to and from program memory).
//!
//! - [`user`]: [`UserReader`] and [`UserWriter`], the only way to program memory.
//! - [`frame`]: [`Frame`], a counted reference to a physical frame.
//! - [`buddy`]: the frame allocator the machine builds on.
//! - [`object`]: [`MappedObject`], what a file mapping maps.
//! - [`page_table`]: the seam to the hardware's tables.
//! - [`flush`]: what a flush of cached translations covers.
//! - [`reclaim`]: memory that caches give back.
//! - [`rewrite`]: `syscall` instructions that became jumps.
//! - [`address_space`]: [`AddressSpace`]: mmap and its family, and page faults.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod address_space;
mod area;
pub mod buddy;
pub mod flush;
pub mod frame;
pub mod object;
pub mod page_table;
mod pieces;
pub mod pressure;
pub mod range;
pub mod reclaim;
pub mod rewrite;
pub mod user;

pub use address_space::{
    Access, AddressSpace, AreaSnapshot, Backing, FaultError, FaultKind, Layout, Limits, MapOptions, MapRequest,
    PresentPage, Sharing, Usage, WordOwner,
};
pub use frame::{Frame, FrameMachine, FrameNumber, FrameStatistics};
pub use object::{CodeSite, MappedObject, Mappings, PageSet};
pub use page_table::{PageCounts, PageEntry, PageKind, PageTable, Rights};
pub use pieces::FramePiece;
pub use range::PageRange;
pub use reclaim::Effort;
pub use rewrite::{CallPatch, OriginalAddress};
pub use user::{UserFault, UserReader, UserWriter};

/// Bytes in a page and in a frame.
pub const PAGE_SIZE: usize = 4096;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// One past the last address a program may map (Linux's `TASK_SIZE_MAX`).
pub const USER_END: usize = 0x7fff_ffff_f000;
/// The lowest address a program may map (Linux's default `vm.mmap_min_addr`). Page 0 is never mapped.
pub const USER_START: usize = 0x1_0000;
