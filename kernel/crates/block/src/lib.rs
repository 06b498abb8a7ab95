//! Block devices, above the driver and below the file systems.
//!
//! - [`Device`]: the seam that a driver implements: takes a [`Request`], completes it later.
//! - [`Request`], [`Transfer`], [`Segment`]: what is moved. A transfer is what a file system asks for; a request is one or several
//!   transfers that lie side by side on the disk, merged.
//! - [`Disk`]: a device with a name and figures. Hands requests on, waits for room and for results, gives up a device that is
//!   silent.
//! - [`Plug`]: gathers transfers, then sorts, merges and submits them at once.
//! - [`partition`]: finds the partitions of a disk (GPT, MBR).
//! - [`Volume`]: a disk or a partition, as a file system sees it; nothing outside its bounds is ever read or written.
//! - [`sort_by_key`]: sorting on a small stack.
//! - [`BufferCache`]: the blocks of a volume that hold no file contents, in memory.
//!
//! # 1. Where data lies
//!
//! Everything moved lies in frames of physical memory ([`mm::Frame`]), referenced by the request until it is completed. So a
//! device can reach it without a copy, and nothing that a dead device may still write to is used again before the device is reset.
//!
//! # 2. Order, and what is stable
//!
//! Requests are completed in any order. Who needs an order waits. A completed write is in the device's cache, if the device has one;
//! it is stable when a [`Operation::Flush`] that was submitted after the completion has itself been completed, or at once when it
//! was a forced write.
//!
//! # 3. Sleeping, locks and failures
//!
//! Submitting sleeps while the device is full, and waits are not interruptible, as in Linux. No lock is held over either. A device
//! that answers nothing for [`TIMEOUT_NS`] is reset and is dead from then on: everything under way and everything later fails
//! with [`BlockError::Dead`], and no frame is handed back before the reset.
//!
//! # What it does not do
//!
//! It schedules nothing: order and merging are decided where transfers are gathered, by [`Plug`]. It does not retry: a device
//! has done so before it reports an error.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod buffer;
mod completion;
mod device;
mod disk;
mod error;
pub mod partition;
mod plug;
mod request;
mod segment;
mod sort;
mod statistics;
mod volume;

pub use buffer::{Buffer, BufferCache, Seal, buffered_bytes};
pub use completion::Completion;
pub use device::{Device, Features, Limits};
pub use disk::Disk;
pub use error::BlockError;
pub use plug::Plug;
pub use request::{Done, Operation, Request, Transfer};
pub use segment::Segment;
pub use sort::sort_by_key;
pub use statistics::{DiskStatistics, OperationFigures};
pub use volume::Volume;

/// Bytes in a sector, the unit of places on a disk, whatever the device's own blocks are.
pub const SECTOR_LEN: usize = 512;
/// How long a device may take for one request before it is given up, as Linux's default.
pub const TIMEOUT_NS: u64 = 30_000_000_000;
