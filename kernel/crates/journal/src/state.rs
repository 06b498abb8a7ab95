//! [`State`]: the transactions of a journal, and the room in its log.

use alloc::collections::{BTreeMap, VecDeque};

use abi::Errno;
use block::BufferCache;

use crate::format::Format;
use crate::transaction::{Transaction, Unwritten};

/// The largest that things may grow, from the sizes of the log and of memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Blocks of log of a transaction.
    pub(crate) transaction_max: usize,
    /// Buffers that were committed and not written to their places.
    pub(crate) unwritten_max: usize,
}

/// Whether a handle may begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// In the transaction with this number.
    Begun(u32),
    /// When the running transaction has been closed.
    Closing,
    /// The running transaction must be committed first.
    TransactionFull,
    /// The log must be emptied first.
    LogFull,
}

/// The transactions of a journal.
pub(crate) struct State {
    /// Takes changes.
    pub(crate) running: Option<Transaction>,
    /// Is being written to the log.
    pub(crate) committing: Option<Transaction>,
    /// Are in the log, the oldest first.
    pub(crate) unwritten: VecDeque<Unwritten>,
    /// Which of those has a block.
    pub(crate) owners: BTreeMap<u64, u32>,
    /// The number of the next transaction.
    pub(crate) next: u32,
    /// Where in the log it begins.
    pub(crate) head: u32,
    /// Blocks of log that are free; at least what the running transaction may take.
    pub(crate) free: usize,
    /// Why the journal was given up.
    pub(crate) failure: Option<Errno>,
}

impl State {
    /// Begins a handle of so many credits, if there is room.
    pub(crate) fn begin(&mut self, format: &Format, limits: Limits, credits: usize, now_ns: u64) -> Room {
        let next = &mut self.next;
        let running = self.running.get_or_insert_with(|| {
            let number = *next;
            *next = number.wrapping_add(1);
            Transaction::new(number, now_ns)
        });
        if running.is_closing {
            return Room::Closing;
        }
        let blocks = running.blocks_with(format, credits);
        if blocks > limits.transaction_max {
            return Room::TransactionFull;
        }
        if blocks > self.free || self.owners.len() > limits.unwritten_max {
            return Room::LogFull;
        }
        running.handles += 1;
        running.credits += credits;
        Room::Begun(running.number)
    }

    /// The running transaction's successor in the log: what the log is empty before.
    pub(crate) fn next_to_commit(&self) -> u32 {
        self.running.as_ref().map_or(self.next, |running| running.number)
    }

    /// The transaction has been committed. It had `reserved` blocks of log and used `used` of them, from the head on.
    pub(crate) fn committed(&mut self, cache: &BufferCache, reserved: usize, used: u32, new_head: u32) {
        let Some(transaction) = self.committing.take() else { return };
        let number = transaction.number;
        let start = self.head;
        let mut unwritten = Unwritten { number, start, blocks: used, buffers: BTreeMap::new() };
        for (block, entry) in transaction.buffers {
            // What an older one has of the block does not count any more.
            self.disown(block);
            if entry.is_freed {
                entry.buffer.let_go();
                // If it is held, it has a new use already.
                if !entry.buffer.is_held() {
                    cache.forget(block);
                }
            } else {
                entry.buffer.mark_dirty();
                entry.buffer.let_go();
                unwritten.buffers.insert(block, entry.buffer);
                self.owners.insert(block, number);
            }
        }
        self.unwritten.push_back(unwritten);
        self.free += reserved.saturating_sub(usize::try_from(used).unwrap_or(0));
        self.head = new_head;
    }

    fn disown(&mut self, block: u64) {
        let Some(owner) = self.owners.remove(&block) else { return };
        let first = self.unwritten.front().map_or(owner, |oldest| oldest.number);
        // Numbers follow each other.
        let place = usize::try_from(owner.wrapping_sub(first)).ok();
        if let Some(unwritten) = place.and_then(|place| self.unwritten.get_mut(place)) {
            debug_assert_eq!(unwritten.number, owner, "transactions in the log have a gap");
            unwritten.buffers.remove(&block);
        }
    }

    /// Takes the buffers that have been written off the lists of the oldest `count` transactions; how many of the oldest have none left.
    pub(crate) fn drop_written(&mut self, count: usize) -> usize {
        let Self { unwritten, owners, .. } = self;
        for transaction in unwritten.iter_mut().take(count) {
            transaction.buffers.retain(|block, buffer| {
                let is_kept = buffer.is_dirty();
                if !is_kept {
                    owners.remove(block);
                }
                is_kept
            });
        }
        unwritten.iter().take_while(|transaction| transaction.buffers.is_empty()).count()
    }
}
