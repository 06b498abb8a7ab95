//! [`Handle`]: a part of a transaction, from which it takes the changes of one operation.

use alloc::sync::Arc;
use core::cell::Cell;

use abi::Errno;
use block::{Buffer, Seal};

use crate::journal::Journal;
use crate::transaction::Transaction;

/// Changes that belong together. Ends when it is dropped.
///
/// While it is open its transaction is not committed, so it is short, begins no other handle, waits for none, and forces nothing.
pub struct Handle<'a> {
    journal: &'a Journal,
    number: u32,
    /// How many more blocks it may change.
    credits: Cell<usize>,
}

impl<'a> Handle<'a> {
    pub(crate) fn new(journal: &'a Journal, number: u32, credits: usize) -> Self {
        Self { journal, number, credits: Cell::new(credits) }
    }

    /// The number of its transaction, to force it by.
    pub fn transaction(&self) -> u32 {
        self.number
    }

    /// Changes a block. Takes no other buffer in `change`.
    pub fn change<R>(&self, buffer: &Arc<Buffer>, change: impl FnOnce(&mut [u8]) -> R) -> Result<R, Errno> {
        self.take(buffer)?;
        Ok(buffer.change(change))
    }

    /// As [`Handle::change`], of a block that is sealed before it is written.
    pub fn change_unsealed<R>(
        &self,
        buffer: &Arc<Buffer>,
        seal: Seal,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R, Errno> {
        self.take(buffer)?;
        Ok(buffer.change_unsealed(seal, change))
    }

    /// Makes a buffer, which was read or made, part of the transaction: after this, and before the handle ends, it may be changed.
    pub fn take(&self, buffer: &Arc<Buffer>) -> Result<(), Errno> {
        self.with(|running, committing| {
            let is_new = running.take(buffer);
            if is_new && let Some(committing) = committing {
                committing.freeze(buffer);
            }
            is_new
        })
    }

    /// A block of metadata was freed. Its contents do not reach the disk any more, neither now nor by a replay. It is used again, for
    /// whatever, only after the transaction was committed.
    pub fn free(&self, block: u64) -> Result<(), Errno> {
        let buffer = self.journal.cache().find(block);
        self.with(|running, _| running.free(block, buffer))
    }

    /// Gets `credits` more, if the transaction has room. If not, this handle must come to an end, and another may go on.
    pub fn extend(&self, credits: usize) -> bool {
        let is_extended = self.journal.extend(credits);
        if is_extended {
            self.credits.set(self.credits.get() + credits);
        }
        is_extended
    }

    /// Changes the transaction, and the one that is being committed. `act` says whether that costs a credit.
    fn with(&self, act: impl FnOnce(&mut Transaction, Option<&mut Transaction>) -> bool) -> Result<(), Errno> {
        let has_credit = self.credits.get() > 0;
        if self.journal.act(has_credit, act)? {
            self.credits.set(self.credits.get().saturating_sub(1));
        }
        Ok(())
    }
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        self.journal.end(self.credits.get());
    }
}
