//! The file systems ext2, ext3 and ext4, on a volume: what is where on the disk, and how it changes.
//!
//! This crate knows blocks, inode numbers and bytes of records. Names, open files, page caches and programs are above it, in
//! `vfs`; the order in which changes reach the disk is below it, behind [`Change`].
//!
//! - [`Superblock`]: the description of the file system, and which features are understood.
//! - [`Change`]: a unit of change of metadata, complete on the disk or absent from it after a crash.
//! - [`DirectoryBlocks`]: the blocks of a directory, as the code for names sees them; [`directory`] is that code.
//! - [`attribute`]: extended attributes.
//! - [`bytes`], [`checksum`]: reading and writing of fields, and the two checksums there are.
//!
//! # 1. What is trusted
//!
//! Nothing that comes from the disk. Fields are read by [`bytes`], which cannot miss its buffer; numbers of blocks and inodes are
//! compared with the size of the file system before use; every walk has a bound. What cannot be is `EUCLEAN`, with a line in the log.
//!
//! # 2. Locks
//!
//! There is none for the whole file system. A thread begins a [`Change`] before it takes any lock of this crate, because beginning
//! one may wait for the end of all others; it may hold locks of inodes of the layer above then, which nobody takes inside a change.
//!
//! # Why not a crate
//!
//! `ext4-view` reads and does not write. `rsext4` (0.9) does both, and every call of it, the search for a name too, has the whole file
//! system and the disk as `&mut`: one lock for all of it, held over transfers, which is what this kernel does without.
//!
//! # References
//!
//! The format is described by Linux's `Documentation/filesystems/ext4`, and by the programs of e2fsprogs, which the tests use as
//! second opinion.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
// The machine that unit tests run on.
#[cfg(test)]
extern crate testkit;

mod allocate;
pub mod attribute;
mod bitmap;
pub mod bytes;
mod change;
pub mod checksum;
mod data;
pub mod directory;
mod directory_blocks;
mod features;
mod file_system;
mod group;
mod inode;
mod journalled;
mod map;
mod orphan;
mod orphan_file;
mod record;
mod record_place;
pub mod superblock;
mod trim;

pub use change::Change;
pub use data::{Extent, ExtentPlace, Transfers, Writing};
pub use directory_blocks::{DirectoryBlocks, DirectoryFormat};
pub use file_system::{FileSystem, Options};
pub use inode::{CREATE_CREDITS, Inode, NewInode};
pub use orphan::ORPHAN_CREDITS;
pub use record::Record;
pub use superblock::{Compatible, Incompatible, ReadOnlyCompatible, Superblock};

use abi::Errno;

/// The superblock's magic number, and that of `statfs`.
pub const MAGIC: u16 = 0xef53;
/// The inode of the root directory.
pub const ROOT_INODE: u32 = 2;

/// Says in the log what is wrong on a disk. The answer is the error of whatever met it.
#[cold]
pub fn corrupt(what: core::fmt::Arguments<'_>) -> Errno {
    log::error!("ext: {what}");
    Errno::EUCLEAN
}
