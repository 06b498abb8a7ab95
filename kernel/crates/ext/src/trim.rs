//! Telling the disk which blocks hold nothing (`FITRIM`).
//!
//! 1. The group is locked while a run of its blocks is discarded: nobody takes one of them meanwhile, and who needs
//!    others of the group waits for that one run.
//! 2. What is held is left alone. Of promised blocks the data may be on its way, and blocks that a transaction freed
//!    still belong to their file if that transaction is lost (`allocate`, section 2).

use abi::Errno;

use crate::bitmap::Union;
use crate::group::BitmapKind;
use crate::{FileSystem, corrupt};

impl FileSystem {
    /// Discards what is free of the blocks `first..end`, in runs of at least `least` blocks; how many blocks that were.
    /// `EROFS` where nothing is written: what is free there may be known only to a journal that was not replayed.
    pub fn trim(&self, first: u64, end: u64, least: u32) -> Result<u64, Errno> {
        if self.is_read_only() {
            return Err(Errno::EROFS);
        }
        let end = end.min(self.superblock.blocks);
        let mut at = first.max(self.superblock.first_block.into());
        let mut trimmed = 0;
        while at < end {
            let (number, index) = self.superblock.group_of(at).ok_or(Errno::EUCLEAN)?;
            let start = self.superblock.group_start(number);
            let group_end = start + u64::from(self.superblock.group_blocks(number));
            let index_end = u32::try_from(end.min(group_end) - start).unwrap_or(u32::MAX);
            at = match self.trim_run(number, index, index_end, least)? {
                Some((first, count)) => {
                    trimmed += u64::from(count);
                    start + u64::from(first) + u64::from(count)
                }
                None => group_end,
            };
        }
        Ok(trimmed)
    }

    /// Discards the first run in a part of a group.
    fn trim_run(&self, number: u32, first: u32, end: u32, least: u32) -> Result<Option<(u32, u32)>, Errno> {
        let mut group = self.groups.lock(number)?;
        self.let_go_committed(&mut group);
        if group.free_blocks.saturating_sub(group.held.count()) < least {
            return Ok(None);
        }
        let bitmap = group.bitmap(&self.superblock, &self.cache, BitmapKind::Blocks)?;
        let run = bitmap.read(|bits| Union { bits, more: group.held.bits() }.find_long_run(first, end, least));
        let Some((index, count)) = run else { return Ok(None) };
        if self.is_metadata(&group, index, count) {
            return Err(corrupt(format_args!("blocks of group {number} count as free that are its own")));
        }
        let block_sectors = self.cache.sector_of(1)?;
        let sector = self.cache.sector_of(self.superblock.group_start(number) + u64::from(index))?;
        self.cache.volume().discard(sector, u64::from(count) * block_sectors)?;
        Ok(Some((index, count)))
    }
}
