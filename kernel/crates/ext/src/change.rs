//! [`Change`]: a unit of change of metadata.
//!
//! # 1. The seam
//!
//! Every block of metadata is changed through a [`Change`]. With a [`Journal`] the change is part of a transaction: after a crash all
//! of it is on the disk, or nothing. Without one, as on ext2, the buffers are only marked dirty and reach the disk in any order.
//! What uses a change does not know which it is.
//!
//! # 2. Rules
//!
//! - A change is begun before any lock of this crate is taken: [`Journal::begin`] may wait until every open change has ended.
//!   Nothing in a change waits for another thread's beginning of one, and no lock of a `vfs` inode is taken in one.
//! - A change says at its beginning how many blocks it changes at most; long work is cut in several, each of which leaves the
//!   file system as it must be found after a crash (an inode that is being cut stands in the list of orphans meanwhile).
//! - It ends when it is dropped. What went wrong in the middle was undone by who met it, or the file system is marked as damaged.

use alloc::boxed::Box;
use alloc::sync::Arc;

use abi::Errno;
use block::{Buffer, BufferCache};

/// A journal: makes changes complete or absent.
pub trait Journal: Send + Sync {
    /// Begins a change of at most `blocks` blocks. Sleeps while there is no room for it.
    fn begin(&self, blocks: u32) -> Result<Box<dyn Handle + '_>, Errno>;

    /// The transaction that changes that begin now belong to. Numbers rise, and may wrap.
    fn current(&self) -> u32;

    /// Whether a transaction is on the disk, so that blocks it freed may be used again.
    fn is_committed(&self, transaction: u32) -> bool;

    /// Commits a transaction, if it is not yet, and waits until it is stable.
    fn commit(&self, transaction: u32) -> Result<(), Errno>;
}

/// A change that is part of a journal's transaction. Ends when it is dropped.
pub trait Handle {
    /// The number of its transaction.
    fn transaction(&self) -> u32;

    /// The buffer is about to be changed: an older transaction that is still on its way keeps a copy.
    fn prepare(&self, buffer: &Arc<Buffer>) -> Result<(), Errno>;

    /// The buffer was changed, and belongs to the transaction.
    fn changed(&self, buffer: &Arc<Buffer>) -> Result<(), Errno>;

    /// Blocks of metadata were freed: what older transactions say of them must not be replayed.
    fn freed(&self, block: u64, count: u64) -> Result<(), Errno>;

    /// Whether `blocks` more blocks can be changed; nothing has happened if not, and the change must end soon.
    fn extend(&self, blocks: u32) -> bool;
}

/// A unit of change.
pub struct Change<'a> {
    cache: &'a BufferCache,
    handle: Option<Box<dyn Handle + 'a>>,
}

impl<'a> Change<'a> {
    /// A change that is part of no transaction.
    pub fn direct(cache: &'a BufferCache) -> Self {
        Self { cache, handle: None }
    }

    /// A change of at most `blocks` blocks, in a journal if there is one.
    pub fn begin(cache: &'a BufferCache, journal: Option<&'a dyn Journal>, blocks: u32) -> Result<Self, Errno> {
        let handle = journal.map(|journal| journal.begin(blocks)).transpose()?;
        Ok(Self { cache, handle })
    }

    /// The buffers of the file system.
    pub fn cache(&self) -> &'a BufferCache {
        self.cache
    }

    /// The transaction it is part of; None without a journal.
    pub fn transaction(&self) -> Option<u32> {
        self.handle.as_ref().map(|handle| handle.transaction())
    }

    /// Changes a block. No other buffer is taken in `change`.
    pub fn write<R>(&self, buffer: &Arc<Buffer>, change: impl FnOnce(&mut [u8]) -> R) -> Result<R, Errno> {
        let Some(handle) = &self.handle else {
            let result = buffer.change(change);
            buffer.mark_dirty();
            return Ok(result);
        };
        handle.prepare(buffer)?;
        let result = buffer.change(change);
        handle.changed(buffer)?;
        Ok(result)
    }

    /// A block that was just allocated for metadata, as zeroes; then [`Change::write`] fills it.
    pub fn create(&self, block: u64) -> Result<Arc<Buffer>, Errno> {
        let buffer = self.cache.get_zeroed(block);
        self.write(&buffer, |bytes| bytes.fill(0))?;
        Ok(buffer)
    }

    /// Blocks of metadata were freed: what they hold is not written any more.
    pub fn freed(&self, block: u64, count: u64) -> Result<(), Errno> {
        match &self.handle {
            Some(handle) => handle.freed(block, count),
            None => {
                (block..block.saturating_add(count)).for_each(|block| self.cache.forget(block));
                Ok(())
            }
        }
    }

    /// Whether `blocks` more blocks can be changed. If not, this change must come to an end, and another may go on.
    pub fn extend(&self, blocks: u32) -> bool {
        self.handle.as_ref().is_none_or(|handle| handle.extend(blocks))
    }
}
