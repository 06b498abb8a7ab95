//! [`Change`]: a unit of change of metadata.
//!
//! # 1. The seam
//!
//! Every block of metadata is changed through a [`Change`]. With a [journal](journal) the change is part of a transaction: after a crash all
//! of it is on the disk, or nothing. Without one, as on ext2, the buffers are only marked dirty and reach the disk in any order.
//! What uses a change does not know which it is.
//!
//! # 2. Rules
//!
//! - A change is begun before any lock of this crate is taken: [`Journal::begin`](journal::Journal::begin) may wait until every open change has ended.
//!   Nothing in a change waits for another thread's beginning of one, and no lock of a `vfs` inode is taken in one.
//! - A change says at its beginning how many blocks it changes at most; long work is cut in several, each of which leaves the
//!   file system as it must be found after a crash (an inode that is being cut stands in the list of orphans meanwhile).
//! - It ends when it is dropped. What went wrong in the middle was undone by who met it, or the file system is marked as damaged.

use alloc::sync::Arc;

use abi::Errno;
use block::{Buffer, BufferCache, Seal};
use journal::{Handle, Journal};

/// A unit of change.
pub struct Change<'a> {
    cache: &'a BufferCache,
    handle: Option<Handle<'a>>,
}

impl<'a> Change<'a> {
    /// A change that is part of no transaction.
    pub fn direct(cache: &'a BufferCache) -> Self {
        Self { cache, handle: None }
    }

    /// A change of at most `blocks` blocks, in a journal if there is one.
    pub fn begin(cache: &'a BufferCache, journal: Option<&'a Journal>, blocks: u32) -> Result<Self, Errno> {
        let handle = journal.map(|journal| journal.begin(blocks as usize)).transpose()?;
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
        if let Some(handle) = &self.handle {
            return handle.change(buffer, change);
        }
        let result = buffer.change(change);
        buffer.mark_dirty();
        Ok(result)
    }

    /// As [`Change::write`], of a block that is sealed before it is written.
    pub fn write_unsealed<R>(
        &self,
        buffer: &Arc<Buffer>,
        seal: Seal,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R, Errno> {
        if let Some(handle) = &self.handle {
            return handle.change_unsealed(buffer, seal, change);
        }
        let result = buffer.change_unsealed(seal, change);
        buffer.mark_dirty();
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
        let mut blocks = block..block.saturating_add(count);
        match &self.handle {
            Some(handle) => blocks.try_for_each(|block| handle.free(block)),
            None => {
                blocks.for_each(|block| self.cache.forget(block));
                Ok(())
            }
        }
    }

    /// Whether `blocks` more blocks can be changed. If not, this change must come to an end, and another may go on.
    pub fn extend(&self, blocks: u32) -> bool {
        self.handle.as_ref().is_none_or(|handle| handle.extend(blocks as usize))
    }
}
