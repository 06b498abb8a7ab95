//! Room for the contents of files: blocks claimed for pages that wait, and room without data. See section 1 of the
//! parent.

use alloc::vec::Vec;

use abi::Errno;

use crate::allocate::RUN_CREDITS;
use crate::inode::Inode;
use crate::map::{INSERT_CREDITS, Map, Place, Run};

/// Blocks claimed for a map in which anything will be changed.
const EXTRA_MIN: u64 = 3;
/// Blocks of a file for whose places two blocks are claimed: fewer than a block of pointers or extents has.
const REGION_BLOCKS: u64 = 64;
/// Set in the number of blocks claimed for a page that was claimed for again.
pub(super) const CLAIMED_AGAIN: u32 = 1 << 31;

impl Map {
    /// All blocks that are claimed.
    pub(super) fn claims(&self) -> u64 {
        let of_pages: u64 = self.waiting.values().map(|claimed| u64::from(claimed & !CLAIMED_AGAIN)).sum();
        of_pages + self.claimed_extra
    }
}

impl Inode {
    /// Claims blocks for the pages `first..end`, so that they can be written back. `ENOSPC` when there is no room for
    /// all of them.
    pub fn claim_pages(&self, first: u64, end: u64, is_privileged: bool) -> Result<(), Errno> {
        for index in first..end {
            let mut map = self.map.lock();
            if let Some(claimed) = map.waiting.get_mut(&index) {
                *claimed |= CLAIMED_AGAIN;
                continue;
            }
            let (holes, _) = self.count_holes(&mut map, index)?;
            if holes == 0 {
                continue;
            }
            let extra = self.extra_for(&map, index);
            self.file_system().claim(u64::from(holes) + extra, is_privileged)?;
            map.claimed_extra += extra;
            map.waiting.insert(index, holes);
        }
        Ok(())
    }

    /// Blocks to be claimed for the map when one more page waits.
    fn extra_for(&self, map: &Map, index: u64) -> u64 {
        let pages = (REGION_BLOCKS / self.per_page()).max(1);
        let region = index / pages * pages;
        let is_known = map.waiting.range(region..region + pages).next().is_some();
        let first = if map.waiting.is_empty() { EXTRA_MIN } else { 0 };
        first + if is_known { 0 } else { 2 }
    }

    /// Gives back what is claimed for the map when no page waits any more.
    pub(super) fn settle_extra(&self, map: &mut Map) {
        if map.waiting.is_empty() {
            self.file_system().give_back(core::mem::take(&mut map.claimed_extra));
        }
    }

    /// Pages from this one on do not wait any more.
    pub fn forget_waiting(&self, first: u64) {
        self.forget_waiting_in(first, u64::MAX);
    }

    pub(super) fn forget_waiting_in(&self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        let mut map = self.map.lock();
        let pages: Vec<u64> = map.waiting.range(first..end).map(|(page, _)| *page).collect();
        for page in pages {
            let claimed = map.waiting.remove(&page).unwrap_or(0);
            self.file_system().give_back((claimed & !CLAIMED_AGAIN).into());
        }
        self.settle_extra(&mut map);
    }

    /// Blocks of a page that waits were taken away: those are claimed, too.
    pub(super) fn renew_claims(&self, index: u64) -> Result<(), Errno> {
        let mut map = self.map.lock();
        let Some(claimed) = map.waiting.get(&index).map(|claimed| claimed & !CLAIMED_AGAIN) else { return Ok(()) };
        let holes = self.count_holes(&mut map, index)?.0;
        let more = holes.saturating_sub(claimed);
        if self.file_system().claim(more.into(), true).is_ok()
            && let Some(claimed) = map.waiting.get_mut(&index)
        {
            *claimed += more;
        }
        Ok(())
    }

    /// Finds room for a range of bytes, without data. `EOPNOTSUPP` for files that cannot say that a block has none.
    pub fn make_room(&self, offset: u64, end: u64, is_privileged: bool) -> Result<(), Errno> {
        let _layout = self.lock_layout();
        let block_len = self.block_len() as u64;
        let (mut at, end) = (offset / block_len, end.div_ceil(block_len));
        {
            let map = self.map.lock();
            if !map.has_extents() {
                return Err(Errno::EOPNOTSUPP);
            }
            if end > self.blocks_max(&map) {
                return Err(Errno::EFBIG);
            }
        }
        let file_system = self.file_system();
        while at < end {
            let run = self.run_to(at, end)?;
            at = run.end();
            if run.place != Place::Hole {
                continue;
            }
            let wanted = run.count.min(32_767);
            file_system.claim(wanted.into(), is_privileged)?;
            let (block, count) = match self.goal(run.logical).and_then(|goal| file_system.promise(goal, wanted)) {
                Ok(found) => found,
                Err(errno) => {
                    file_system.give_back(wanted.into());
                    return Err(errno);
                }
            };
            file_system.give_back((wanted - count).into());
            let change = file_system.begin(RUN_CREDITS + INSERT_CREDITS)?;
            file_system.keep(&change, block, count)?;
            let place = Place::Unwritten(block);
            if let Err(errno) = self.insert(&change, &mut self.map.lock(), Run { count, place, ..run }) {
                file_system.free_blocks(&change, block, count, false)?;
                return Err(errno);
            }
            at = u64::from(run.logical) + u64::from(count);
        }
        Ok(())
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        // Without a lock: it may be dropped where none may be taken.
        let (blocks, file_system) = (self.map.get_mut().claims(), self.file_system());
        file_system.give_back(blocks);
    }
}
