//! [`Transaction`]: changes that reach the disk together, while they are gathered and written; [`Unwritten`]: what is left of one
//! that was committed.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use block::Buffer;

use crate::format::Format;

/// A buffer in a transaction, which holds it.
pub(crate) struct Entry {
    pub(crate) buffer: Arc<Buffer>,
    /// The block was freed: nothing of it is written any more, neither to the log nor to its place.
    pub(crate) is_freed: bool,
    /// Its contents at the end of the transaction, if a later one has changed them since.
    pub(crate) frozen: Option<Box<[u8]>>,
    /// The log has its contents.
    pub(crate) is_logged: bool,
}

/// A transaction that is not committed.
pub(crate) struct Transaction {
    pub(crate) number: u32,
    pub(crate) started_ns: u64,
    /// How many handles are open.
    pub(crate) handles: usize,
    /// How many blocks these may still change.
    pub(crate) credits: usize,
    /// It takes no more handles.
    pub(crate) is_closing: bool,
    /// Its blocks are being made stable: what is written from now on is so only with the next.
    pub(crate) is_flushing: bool,
    pub(crate) buffers: BTreeMap<u64, Entry>,
    /// How many of the buffers go to the log.
    pub(crate) changed: usize,
    pub(crate) revoked: BTreeSet<u64>,
}

impl Transaction {
    pub(crate) fn new(number: u32, now_ns: u64) -> Self {
        Self {
            number,
            started_ns: now_ns,
            handles: 0,
            credits: 0,
            is_closing: false,
            is_flushing: false,
            buffers: BTreeMap::new(),
            changed: 0,
            revoked: BTreeSet::new(),
        }
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffers.is_empty() && self.revoked.is_empty()
    }

    /// The most blocks of log it takes if handles may change `credits` blocks more. A credit pays for a change or for a revoke.
    pub(crate) fn blocks_with(&self, format: &Format, credits: usize) -> usize {
        let credits = self.credits + credits;
        format.blocks_for(self.changed + credits, self.revoked.len() + credits)
    }

    /// Notes a buffer that is about to be changed. True if it is new here.
    pub(crate) fn take(&mut self, buffer: &Arc<Buffer>) -> bool {
        let number = buffer.number();
        match self.buffers.get_mut(&number) {
            Some(entry) if !entry.is_freed => return false,
            Some(entry) => entry.is_freed = false,
            None => {
                buffer.hold();
                let entry = Entry { buffer: buffer.clone(), is_freed: false, frozen: None, is_logged: false };
                self.buffers.insert(number, entry);
            }
        }
        self.changed += 1;
        // It was freed and is used again: what older transactions say of it is replayed, and then what this one says.
        self.revoked.remove(&number);
        true
    }

    /// Notes a block that was freed, with its buffer if that is in memory. True if it was not noted before.
    pub(crate) fn free(&mut self, number: u64, buffer: Option<Arc<Buffer>>) -> bool {
        if let Some(entry) = self.buffers.get_mut(&number) {
            self.changed -= usize::from(!entry.is_freed);
            entry.is_freed = true;
        } else if let Some(buffer) = buffer {
            // An older transaction may count on it being written; so it stays until this one is committed.
            buffer.hold();
            self.buffers.insert(number, Entry { buffer, is_freed: true, frozen: None, is_logged: false });
        }
        self.revoked.insert(number)
    }

    /// A later transaction is about to change this buffer: keeps what this one has of it.
    pub(crate) fn freeze(&mut self, buffer: &Buffer) {
        if let Some(entry) = self.buffers.get_mut(&buffer.number())
            && !entry.is_freed
            && !entry.is_logged
            && entry.frozen.is_none()
        {
            entry.frozen = Some(buffer.read_sealed(|bytes| Box::from(bytes)));
        }
    }

    /// The blocks whose contents go to the log.
    pub(crate) fn changed_blocks(&self) -> Vec<u64> {
        self.buffers.iter().filter(|(_, entry)| !entry.is_freed).map(|(number, _)| *number).collect()
    }

    /// Copies the contents of a block as they were at the end of the transaction.
    pub(crate) fn copy_for_log(&mut self, number: u64, to: &mut [u8]) {
        if let Some(entry) = self.buffers.get_mut(&number) {
            entry.is_logged = true;
            match entry.frozen.take() {
                Some(frozen) => to.copy_from_slice(&frozen),
                None => entry.buffer.read_sealed(|bytes| to.copy_from_slice(bytes)),
            }
        }
    }
}

/// A committed transaction in the log, some buffers of which have not reached their places.
pub(crate) struct Unwritten {
    pub(crate) number: u32,
    /// Its first block in the log.
    pub(crate) start: u32,
    /// How many blocks of log it has.
    pub(crate) blocks: u32,
    pub(crate) buffers: BTreeMap<u64, Arc<Buffer>>,
}
