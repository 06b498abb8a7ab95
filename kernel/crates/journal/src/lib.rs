//! The journal of ext3 and ext4, in the format of Linux's jbd2.
//!
//! - [`Log`]: where the journal lies.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), expect(dead_code, reason = "what writes transactions is not here yet"))]

extern crate alloc;

mod bytes;
mod checksum;
mod error;
mod format;
mod journal;
mod log;
mod recovery;
mod superblock;

pub use checksum::crc32c;
pub use error::JournalError;
pub use journal::{Journal, Needs};
pub use log::Log;
pub use recovery::Recovered;

/// The fewest blocks of a log.
pub const BLOCKS_MIN: u32 = 64;

/// Whether the transaction with the number `one` comes after `other`. Numbers wrap around.
pub(crate) fn is_after(one: u32, other: u32) -> bool {
    let distance = one.wrapping_sub(other);
    distance != 0 && distance < 1 << 31
}
