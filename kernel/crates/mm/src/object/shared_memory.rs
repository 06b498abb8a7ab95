//! [`SharedMemory`]: the object behind MAP_SHARED | MAP_ANONYMOUS.
//!
//! Its pages appear when they are first touched and live until the last mapping of the object is gone or
//! MADV_REMOVE drops them. Lock rank: [`sync::rank::FILE_PAGES`].

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use abi::Errno;
use sync::{Mutex, rank};

use super::{MappedObject, Mappings, new_identity};
use crate::frame::Frame;

/// Anonymous memory that several mappings show.
pub(crate) struct SharedMemory {
    /// Size in pages; beyond it there is nothing.
    pages: u64,
    frames: Mutex<BTreeMap<u64, Frame>>,
    mappings: Mappings,
    identity: (u64, u64),
}

impl SharedMemory {
    pub(crate) fn new(pages: u64) -> Self {
        let frames = Mutex::new(rank::FILE_PAGES, BTreeMap::new());
        Self { pages, frames, mappings: Mappings::new(), identity: new_identity() }
    }
}

impl MappedObject for SharedMemory {
    fn page(&self, index: u64) -> Result<Frame, Errno> {
        if index >= self.pages {
            return Err(Errno::EFAULT);
        }
        let mut frames = self.frames.lock();
        if let Some(frame) = frames.get(&index) {
            return Ok(frame.clone());
        }
        let frame = Frame::allocate_zeroed()?;
        frames.insert(index, frame.clone());
        Ok(frame)
    }

    fn is_resident(&self, index: u64) -> bool {
        self.frames.lock().contains_key(&index)
    }

    fn remove_pages(&self, first: u64, end: u64) -> Result<(), Errno> {
        let removed = {
            let mut frames = self.frames.lock();
            let mut removed = frames.split_off(&first);
            frames.append(&mut removed.split_off(&end));
            removed
        };
        self.mappings.invalidate(first, end);
        drop(removed);
        Ok(())
    }

    fn mappings(&self) -> Option<&Mappings> {
        Some(&self.mappings)
    }

    fn is_shared_memory(&self) -> bool {
        true
    }

    fn name(&self) -> Vec<u8> {
        b"/dev/zero (deleted)".to_vec()
    }

    fn device_and_inode(&self) -> (u64, u64) {
        (1, 1)
    }

    fn identity(&self) -> (u64, u64) {
        self.identity
    }
}
