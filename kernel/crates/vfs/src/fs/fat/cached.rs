//! What of a volume is in memory, for the thread that writes back and for a system short of memory.

use alloc::sync::{Arc, Weak};

use abi::Errno;

use crate::write_back::Cached;

use super::inode::{self, FatInode};
use super::volume::Volume;

/// Files whose pages are dropped in one go.
const SHRUNK_MAX: usize = 16;

impl Volume {
    /// Brings everything to the disk, stable.
    pub(super) fn synchronize(&self) -> Result<(), Errno> {
        if self.is_read_only() {
            return Ok(());
        }
        let written = inode::write_back(self);
        let mut state = self.lock_for_change()?;
        self.commit(&mut state)?;
        self.write_info(&mut state)?;
        self.flush(&mut state)?;
        written
    }
}

impl Cached for Volume {
    fn write_back(&self) -> Result<(), Errno> {
        self.synchronize()
    }

    fn write_all(&self) -> Result<(), Errno> {
        self.synchronize()
    }

    fn shrink(&self, wanted: u64) -> u64 {
        let mut inodes: [Option<Arc<FatInode>>; SHRUNK_MAX] = Default::default();
        {
            let Some(mut state) = self.try_lock() else { return 0 };
            let from = state.shrink_next;
            let in_turn = state.inodes.range(from..).chain(state.inodes.range(..from));
            let mut last = from;
            let mut slots = inodes.iter_mut();
            for (place, inode) in in_turn {
                last = *place;
                let Some(inode) = inode.upgrade() else { continue };
                match slots.next() {
                    Some(slot) => *slot = Some(inode),
                    None => break,
                }
            }
            state.shrink_next = last;
        }
        let mut dropped = 0;
        for inode in inodes.iter().flatten() {
            if dropped < wanted {
                dropped += inode.cache.try_shrink(wanted - dropped);
            }
        }
        dropped
    }
}

/// Has a volume written back from time to time, as long as it is mounted.
pub(super) fn register(volume: &Arc<Volume>) {
    let cached: Weak<dyn Cached> = Arc::downgrade(volume) as _;
    crate::write_back::register(cached);
}
