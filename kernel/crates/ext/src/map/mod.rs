//! Which block of the disk holds which block of a file.
//!
//! There are two forms, of which an inode has one: pointers in blocks of pointers ([`indirect`], ext2 and ext3), and a tree of
//! extents ([`extent`], ext4). Both answer with a [`Run`], and both are changed in steps that fit a [`Change`]: [`Inode::insert`]
//! adds a run of blocks where there is a hole, [`Inode::remove`] takes some away and says where it stopped.
//!
//! The map is behind a lock of its own (rank `BLOCK_MAPS`), with the runs that were found last.

pub(crate) mod extent;
pub(crate) mod indirect;
pub(crate) mod shift;

use alloc::collections::BTreeMap;

use abi::Errno;

use crate::Change;
use crate::inode::Inode;
use crate::record::{MAP_LEN, flag};
use shift::Plan;

/// Runs that are remembered.
const RECENT_MAX: usize = 4;
/// The most runs that one change takes away.
pub(crate) const REMOVED_MAX: u32 = 16;
/// What [`Inode::insert`] changes at most: the blocks of a path and as many new ones, with their bitmaps and descriptors, and the
/// record.
pub(crate) const INSERT_CREDITS: u32 = 24;
/// What [`Inode::remove`] changes at most.
pub(crate) const REMOVE_CREDITS: u32 = REMOVED_MAX * crate::allocate::RUN_CREDITS + INSERT_CREDITS;

/// Where the blocks of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere: they read as zeroes.
    Hole,
    /// On the disk from this block on.
    Data(u64),
    /// There is room for them from this block on, and they read as zeroes.
    Unwritten(u64),
}

/// Blocks of a file that are side by side, in the file and on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first, in the file.
    pub(crate) logical: u32,
    /// How many; never 0.
    pub(crate) count: u32,
    /// Where they are.
    pub(crate) place: Place,
}

impl Run {
    /// One past the last, in the file.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.logical) + u64::from(self.count)
    }

    /// The rest from a block of it on; None when that is not in it.
    pub(crate) fn from(&self, logical: u32) -> Option<Self> {
        let skipped = logical.checked_sub(self.logical).filter(|skipped| *skipped < self.count)?;
        let behind = |block: u64| block + u64::from(skipped);
        let place = match self.place {
            Place::Hole => Place::Hole,
            Place::Data(block) => Place::Data(behind(block)),
            Place::Unwritten(block) => Place::Unwritten(behind(block)),
        };
        Some(Self { logical, count: self.count - skipped, place })
    }

    /// The hole from a block up to another.
    fn hole(logical: u32, end: u64) -> Self {
        let count = end.saturating_sub(logical.into()).clamp(1, u32::MAX.into());
        Self { logical, count: u32::try_from(count).unwrap_or(u32::MAX), place: Place::Hole }
    }
}

/// The map of one inode, with what else its record says of its blocks.
pub(crate) struct Map {
    /// The record's flags.
    pub(crate) flags: u32,
    /// The record's part of the map.
    pub(crate) root: [u8; MAP_LEN],
    /// The space taken, in units of 512 bytes.
    pub(crate) sectors: u64,
    /// The length on the disk: what is behind it may be missing.
    pub(crate) size: u64,
    /// Pages that wait to be written and have not all of their blocks, with the blocks that are claimed for each.
    pub(crate) waiting: BTreeMap<u64, u32>,
    /// Blocks claimed for the map itself, while pages wait.
    pub(crate) claimed_extra: u64,
    recent: [Option<Run>; RECENT_MAX],
    next_recent: usize,
}

impl Map {
    pub(crate) fn new(flags: u32, root: [u8; MAP_LEN], sectors: u64, size: u64) -> Self {
        let waiting = BTreeMap::new();
        Self { flags, root, sectors, size, waiting, claimed_extra: 0, recent: [None; RECENT_MAX], next_recent: 0 }
    }

    pub(crate) fn has_extents(&self) -> bool {
        self.flags & flag::EXTENTS != 0
    }

    fn remember(&mut self, run: Run) {
        if let Some(slot) = self.recent.get_mut(self.next_recent) {
            *slot = Some(run);
        }
        self.next_recent = (self.next_recent + 1) % RECENT_MAX;
    }

    /// What was found may be wrong now.
    fn forget(&mut self) {
        self.recent = [None; RECENT_MAX];
    }

    fn count_blocks(&mut self, inode: &Inode, count: i64) {
        let unit = i64::try_from(inode.block_len() / 512).unwrap_or(1);
        self.sectors = self.sectors.saturating_add_signed(count.saturating_mul(unit));
    }
}

impl Inode {
    /// The run from a block of the file on.
    pub(crate) fn find(&self, map: &mut Map, logical: u32) -> Result<Run, Errno> {
        if let Some(run) = map.recent.iter().flatten().find_map(|run| run.from(logical)) {
            return Ok(run);
        }
        let run =
            if map.has_extents() { extent::find(self, map, logical)? } else { indirect::find(self, map, logical)? };
        map.remember(run);
        run.from(logical).ok_or(Errno::EUCLEAN)
    }

    /// Puts a run, whose blocks are kept, in the place of a hole.
    pub(crate) fn insert(&self, change: &Change<'_>, map: &mut Map, run: Run) -> Result<(), Errno> {
        map.forget();
        if map.has_extents() {
            extent::insert(self, change, map, run)?;
        } else {
            indirect::insert(self, change, map, run)?;
        }
        map.count_blocks(self, run.count.into());
        self.store_map(change, map)
    }

    /// The blocks `first..end` of the file have been written: those that had only room have data now. The first of those that are
    /// for another change; None when all is done.
    pub(crate) fn set_written(
        &self,
        change: &Change<'_>,
        map: &mut Map,
        first: u32,
        end: u64,
    ) -> Result<Option<u32>, Errno> {
        map.forget();
        if !map.has_extents() {
            return Ok(None);
        }
        let next = extent::set_written(self, change, map, first, end)?;
        self.store_map(change, map)?;
        Ok(next)
    }

    /// Takes some of the blocks `first..end` away and frees them. The first of those that are for another change; None when none is
    /// left.
    pub(crate) fn remove(
        &self,
        change: &Change<'_>,
        map: &mut Map,
        first: u32,
        end: u64,
    ) -> Result<Option<u32>, Errno> {
        map.forget();
        let next = if map.has_extents() {
            extent::remove(self, change, map, first, end)?
        } else {
            indirect::remove(self, change, map, first, end)?
        };
        self.store_map(change, map)?;
        Ok(next)
    }

    /// Takes a block for the map itself.
    fn allocate_for_map(&self, change: &Change<'_>, map: &mut Map, goal: u64) -> Result<u64, Errno> {
        let file_system = self.file_system();
        let block = if map.claimed_extra > 0 {
            let block = file_system.allocate_claimed_block(change, goal)?;
            map.claimed_extra -= 1;
            block
        } else {
            file_system.allocate_block(change, goal)?
        };
        map.count_blocks(self, 1);
        Ok(block)
    }

    /// Frees blocks that were data, or the map's own.
    fn free_of_map(
        &self,
        change: &Change<'_>,
        map: &mut Map,
        (first, count): (u64, u32),
        is_metadata: bool,
    ) -> Result<(), Errno> {
        // Blocks of directories and the like are metadata, too.
        let is_metadata = is_metadata || self.has_metadata();
        self.file_system().free_blocks(change, first, count, is_metadata)?;
        map.count_blocks(self, -i64::from(count));
        Ok(())
    }

    /// Has an extent begin at a block of the file, if there is one at that block. `ENOSPC` when there is no block for a
    /// node that this takes.
    pub(crate) fn cut_extent(&self, at: u32) -> Result<(), Errno> {
        let change = self.file_system().begin(INSERT_CREDITS)?;
        let mut map = self.map.lock();
        map.forget();
        extent::cut(self, &change, &mut map, at)?;
        self.store_map(&change, &mut map)
    }

    /// Plans to move everything from a block of the file on by so many blocks. What a file has too many extents for is
    /// refused here (`ENOSPC`), and leaves it as it is. The layout is locked, here and until that is done.
    pub(crate) fn plan_shift(&self, first: u32, distance: i64) -> Result<Plan, Errno> {
        Plan::make(self, &self.map.lock(), first, distance)
    }

    /// Moves everything as planned, into a hole that is as long or away from the place, and sets the length. In one
    /// change. No extent reaches over the block.
    pub(crate) fn shift(&self, mut plan: Plan, size: u64) -> Result<(), Errno> {
        plan.renew(self, &self.map.lock())?;
        let change = self.file_system().begin(plan.credits())?;
        let mut map = self.map.lock();
        map.forget();
        plan.carry_out(self, &change, &mut map)?;
        map.size = size;
        self.store_map(&change, &mut map)
    }

    /// How many blocks a file may have.
    pub(crate) fn blocks_max(&self, map: &Map) -> u64 {
        if map.has_extents() { u32::MAX.into() } else { indirect::blocks_max(self.block_len()) }
    }
}
