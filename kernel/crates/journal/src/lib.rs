//! The journal of ext3 and ext4, in the format of Linux's jbd2: after a crash, the changes of an operation are all on the disk, or none.
//!
//! - [`Log`]: where the journal lies on its volume.
//! - [`replay`]: brings to its place what a crash left in it.
//! - [`Journal`]: begins handles; makes transactions stable.
//! - [`Handle`]: the changes of one operation, while they are made.
//!
//! # 1. Transactions
//!
//! Many operations share a transaction, which is *running* while it takes handles. To commit it is closed: no handle begins, those
//! there are end. Then it is *committing*: it is written to the log while the next one runs. When its commit block is stable it is
//! *stable*: a crash from then on replays it. It stays in the log until all of its buffers have been written to their places, or
//! belong to a later transaction in the log. Numbers of transactions follow each other without a gap.
//!
//! # 2. The states of a buffer
//!
//! ```text
//!             take               commit              write-back
//!   clean ───────────▶ held ─────────────────▶ dirty ─────────▶ clean
//!                       ▲ │ free                 │ take
//!                       │ ▼                      ▼
//!                     freed ───▶ forgotten     held, and dirty from before
//!                         commit
//! ```
//!
//! - *Held*: a transaction that is not committed has changed it ([`block::Buffer::hold`]), so it is not written to its place. A
//!   buffer may be held twice, by the committing and the running one. When the latter changes it first, the former has a copy made
//!   of what it committed, unless the log has that already (*frozen*).
//! - *Dirty*: its contents are in the log. Anybody may write it to its place, at any time.
//! - *Freed*: its block was freed in a transaction that is not committed. It is not written at all; but if it was dirty before, the
//!   older transaction stays in the log until this one is committed, as the crash that comes first must find the old contents. Then it
//!   is forgotten, and the block may be used again ([`Journal::is_stable`]): whatever is written there then is safe from
//!   replays, as the transaction has *revoked* the block.
//!
//! # 3. Who does the work
//!
//! There is no thread of its own. Whoever forces a transaction, finds no room for a handle, or calls [`Journal::tick`], takes the
//! right to write the log and commits or makes a checkpoint; who comes meanwhile waits, and mostly finds it done. So threads
//! that force together share a commit.
//!
//! # 4. Room
//!
//! A handle says how many blocks it changes or frees at most. It begins only if the running transaction, with the most that all its
//! handles may do, fits in the free part of the log. So a commit always has room, and so has a checkpoint, which may need a commit. A
//! transaction takes at most a quarter of the log and a sixteenth of memory.
//!
//! # 5. Locks
//!
//! The right to write the log (rank `JOURNAL_LOGS`) is held over transfers, by the thread that commits. The state of all transactions (rank `JOURNALS`) is locked for looks and copies of single blocks, never over a transfer.
//! An open handle is like a lock that many hold, which the committing thread waits for. Hence:
//!
//! - What is locked within handles is not held where a handle begins, a transaction is forced or [`Journal::tick`] is called; and
//!   what is held there is not locked within handles.
//! - With an open handle nobody begins another, forces, or waits for who does.
//!
//! # 6. Failure
//!
//! An error while the log or a place is written ends it all: nothing that is not committed reaches the disk, handles are refused
//! (`EROFS`), who waits is told (`EIO`), and the superblock of the journal remembers for whoever opens it next. Without memory commits
//! go on with one block at a time.
//!
//! # 7. Data of files
//!
//! It does not go through the log. Where it is written to blocks that no transaction has given to the file yet, and a handle gives
//! them afterwards, no crash shows what the blocks held before (what Linux calls ordered): the flush before the commit block is
//! for the data as well. So a commit waits for no data.
//!
//! # What it does not do
//!
//! Journals on other volumes, fast commits and commit blocks without a
//! flush before them are not made; of these, recovery knows only the last.
//!
//! # References
//!
//! "The Journal (jbd2)" in Linux's documentation of ext4 for the format; S. Tweedie, "Journaling the Linux ext2fs Filesystem"
//! (LinuxExpo 1998), for the design; C. Mohan et al., "ARIES" (ACM TODS 17.1, 1992), for writing ahead.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
// The machine that unit tests run on.
#[cfg(test)]
extern crate testkit;

mod bytes;
mod checkpoint;
mod checksum;
mod commit;
mod error;
mod format;
mod handle;
mod journal;
mod log;
mod recovery;
mod state;
mod superblock;
mod transaction;

pub use checksum::crc32c;
pub use error::JournalError;
pub use handle::Handle;
pub use journal::{Journal, Needs};
pub use log::Log;
pub use recovery::{Recovered, replay};

/// The fewest blocks of a log.
pub const BLOCKS_MIN: u32 = 64;

/// Whether the transaction with the number `one` comes after `other`. Numbers wrap around.
pub(crate) fn is_after(one: u32, other: u32) -> bool {
    let distance = one.wrapping_sub(other);
    distance != 0 && distance < 1 << 31
}
