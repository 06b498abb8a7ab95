//! Checkpoints: bringing what was committed to its place, so that its part of the log is free again.
//!
//! # 1. When a transaction may leave the log
//!
//! When each of its buffers has been written to its place since, or belongs to a later transaction in the log, and the volume was
//! flushed. The tail in the superblock is moved then, stable, and only after that the room is used again: a crash always finds
//! a tail behind which the log is whole.
//!
//! # 2. Buffers that a transaction holds
//!
//! The running transaction has changed some of them again, so they cannot be written: their contents are not committed. It is
//! committed then, and they are its own. There is room for that: a transaction runs only while the log has room for it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use block::{BlockError, Buffer};

use crate::journal::{Journal, LogWriter};

/// One checkpoint empties at least one part in this of the log, if there is as much.
const LOG_SHARE: usize = 4;
/// How often the buffers of the oldest transaction are written, and the running one is committed, to get rid of it. The second
/// time finds no buffer that is held.
const ROUNDS_MAX: usize = 8;

impl Journal {
    /// Takes some of the oldest transactions out of the log. False if there is none in it.
    pub(crate) fn checkpoint(&self, writer: &mut LogWriter) -> Result<bool, Errno> {
        let (count, mut buffers) = self.oldest();
        if count == 0 {
            return Ok(false);
        }
        for _ in 0..ROUNDS_MAX {
            match self.cache().write(buffers) {
                Ok(()) => {}
                // Nothing is lost: they are dirty still.
                Err(BlockError::OutOfMemory) => return Err(Errno::ENOMEM),
                Err(error) => return Err(self.fail(writer, error.into())),
            }
            let written = self.state.lock().drop_written(count);
            if written > 0 {
                self.drop_oldest(writer, written)?;
                return Ok(true);
            }
            self.commit_running(writer)?;
            buffers = self.oldest().1;
        }
        Err(self.fail(writer, Errno::EIO))
    }

    /// How many transactions a checkpoint is for, and their buffers.
    fn oldest(&self) -> (usize, Vec<Arc<Buffer>>) {
        let state = self.state.lock();
        let wanted = usize::try_from(self.end - self.first).unwrap_or(0) / LOG_SHARE;
        let (mut blocks, mut count, mut buffers) = (0, 0, Vec::new());
        for transaction in &state.unwritten {
            if blocks >= wanted {
                break;
            }
            blocks += usize::try_from(transaction.blocks).unwrap_or(0);
            count += 1;
            buffers.extend(transaction.buffers.values().cloned());
        }
        (count, buffers)
    }

    /// Moves the tail past the `count` oldest transactions, all of whose buffers have been written.
    fn drop_oldest(&self, writer: &mut LogWriter, count: usize) -> Result<(), Errno> {
        let (number, start) = {
            let state = self.state.lock();
            match state.unwritten.get(count) {
                Some(oldest) => (oldest.number, oldest.start),
                None => (state.next_to_commit(), state.head),
            }
        };
        writer.superblock.set_tail(number, start);
        let moved = self.cache().volume().flush();
        let moved = moved.and_then(|()| self.log.write_forced(0, &writer.frame, &writer.superblock.encode()));
        if let Err(error) = moved {
            return Err(self.fail(writer, error.into()));
        }
        let mut state = self.state.lock();
        let dropped: usize =
            state.unwritten.drain(..count).filter_map(|oldest| usize::try_from(oldest.blocks).ok()).sum();
        state.free += dropped;
        Ok(())
    }

    /// Says that there is nothing to replay, when nothing is in the log.
    pub(crate) fn mark_empty(&self, writer: &mut LogWriter) -> Result<(), Errno> {
        let next = {
            let state = self.state.lock();
            debug_assert!(state.unwritten.is_empty(), "a journal that is not empty is marked so");
            state.next_to_commit()
        };
        // Who opens it counts one up, as from a transaction that was interrupted.
        writer.superblock.set_tail(next.wrapping_sub(1), 0);
        let marked = self.cache().volume().flush();
        let marked = marked.and_then(|()| self.log.write_forced(0, &writer.frame, &writer.superblock.encode()));
        marked.map_err(|error| self.fail(writer, error.into()))
    }
}
