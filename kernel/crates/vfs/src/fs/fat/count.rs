//! How many clusters are free: counted when a volume is mounted, unless it says so itself and was unmounted properly.
//!
//! Volumes with 32 bits have a block with the count, which is written with everything else that `sync` writes and may be older than
//! the FAT after a crash.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use abi::Errno;
use block::{SECTOR_LEN, Segment};
use mm::{Frame, PAGE_SIZE};

use super::geometry::Width;
use super::volume::{State, Volume};

/// Where the count of free clusters is in its block, and the signatures around it.
const INFO_LEAD: (usize, u32) = (0, 0x4161_5252);
const INFO_SIGNATURE: (usize, u32) = (484, 0x6141_7272);
const INFO_FREE: usize = 488;
const INFO_NEXT: usize = 492;
/// Pages read at once when free clusters are counted.
const COUNTED_PAGES: u64 = 16;

impl Volume {
    /// Finds out how many clusters are free: from the volume's own note if it can be trusted, or by counting.
    pub(super) fn find_free_count(&self, was_in_use: bool) -> Result<(), Errno> {
        let noted = match self.geometry.info_block {
            Some(block) if !was_in_use => self.block(block)?.read(read_info),
            _ => None,
        };
        let noted = noted.filter(|(free, _)| *free <= self.geometry.clusters());
        let free = match noted {
            Some((free, _)) => free,
            None => self.count_free()?,
        };
        let mut state = self.lock();
        state.free = free;
        state.next = noted.map_or(2, |(_, next)| next);
        Ok(())
    }

    fn count_free(&self) -> Result<u32, Errno> {
        let geometry = &self.geometry;
        if geometry.width == Width::Bits12 {
            let mut free = 0;
            for cluster in 2..geometry.cluster_end {
                free += u32::from(self.entry(cluster)? == 0);
            }
            return Ok(free);
        }
        let entry_len = if geometry.width == Width::Bits32 { 4 } else { 2 };
        let first = geometry.first_fat_block + geometry.only_fat.unwrap_or(0) * geometry.fat_blocks;
        let bytes_end = u64::from(geometry.cluster_end) * entry_len as u64;
        let frames = (0..COUNTED_PAGES).map(|_| Frame::allocate()).collect::<Result<Vec<Frame>, Errno>>()?;
        let mut bytes = vec![0; PAGE_SIZE];
        let (mut at, mut cluster, mut free) = (0, 0_u64, 0);
        while at < bytes_end {
            let sector = first * geometry.block_sectors() + at / SECTOR_LEN as u64;
            let mut left = bytes_end.next_multiple_of(geometry.block_len as u64) - at;
            let mut segments = Vec::new();
            for frame in &frames {
                let len = left.min(PAGE_SIZE as u64);
                segments.extend(Segment::new(frame.clone(), 0, usize::try_from(len).unwrap_or(0)));
                left -= len;
            }
            let lens: Vec<usize> = segments.iter().map(Segment::len).collect();
            self.buffers.volume().read(sector, segments)?;
            for (frame, len) in frames.iter().zip(lens) {
                frame.read(0, &mut bytes);
                for entry in bytes[..len].chunks_exact(entry_len) {
                    let is_zero =
                        entry.iter().take(3).all(|byte| *byte == 0) && entry.get(3).is_none_or(|byte| byte & 0x0f == 0);
                    free += u32::from(is_zero && cluster >= 2 && cluster < u64::from(geometry.cluster_end));
                    cluster += 1;
                }
                at += len as u64;
            }
        }
        Ok(free)
    }

    /// Notes how many clusters are free.
    pub(super) fn write_info(&self, state: &mut State) -> Result<(), Errno> {
        let Some(number) = self.geometry.info_block else { return Ok(()) };
        let buffer = self.block(number)?;
        if buffer.read(read_info) == Some((state.free, state.next)) || !buffer.read(has_info) {
            return Ok(());
        }
        let (free, next) = (state.free, state.next);
        buffer.change(|block| {
            for (at, value) in [(INFO_FREE, free), (INFO_NEXT, next)] {
                if let Some(slot) = block.get_mut(at..at + 4) {
                    slot.copy_from_slice(&value.to_le_bytes());
                }
            }
        });
        buffer.mark_dirty();
        self.write_blocks(state, &BTreeSet::from([number]))
    }
}

fn long_at(block: &[u8], at: usize) -> Option<u32> {
    block.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// Whether a block is one with a count of free clusters.
fn has_info(block: &[u8]) -> bool {
    [INFO_LEAD, INFO_SIGNATURE].into_iter().all(|(at, signature)| long_at(block, at) == Some(signature))
}

/// The count of free clusters, and where to search.
fn read_info(block: &[u8]) -> Option<(u32, u32)> {
    if !has_info(block) {
        return None;
    }
    Some((long_at(block, INFO_FREE)?, long_at(block, INFO_NEXT)?))
}
