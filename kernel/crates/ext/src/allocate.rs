//! Which blocks and inodes are given to whom.
//!
//! # 1. Blocks of data: data first
//!
//! Room for data is *claimed* while a program writes, which is a counter; *promised* when the data is written back, which is a note in
//! memory that keeps others away; and *kept* when the data is on the disk: only then bitmap, descriptor and block map are changed,
//! in one [`Change`]. So nothing on the disk ever refers to a block whose data is not there, with and without extents, with and
//! without a journal, and a commit never waits for data. A crash loses promises, and with them nothing.
//!
//! # 2. Blocks that were freed
//!
//! A block that a transaction frees still belongs to its file if that transaction is lost. So nobody gets it before the transaction
//! is on the disk.
//!
//! # 3. Where
//!
//! The goal is the block behind the file's last one, else the group of its inode; the search takes the first long run from there on,
//! group after group. An inode goes to the group of its directory or one that follows; a directory below the root to a group
//! that is emptier than most, so that trees spread, and other directories stay near their parents. (A simple form of
//! G. Orlov's allocator, as in BSD and ext3.)

use abi::Errno;

use crate::bitmap::{self, Union};
use crate::group::{Bitmap, BitmapKind, Group};
use crate::{Change, FileSystem, ROOT_INODE, corrupt};

/// A run that is as long as this is long enough, in the first look.
const RUN_GOOD: u32 = 16;
/// What keeping or freeing one run changes: the bitmaps and descriptors of two groups.
pub(crate) const RUN_CREDITS: u32 = 4;
/// What allocating an inode changes: bitmap, descriptor, record.
pub(crate) const INODE_CREDITS: u32 = 3;

impl FileSystem {
    /// Promises up to `wanted` blocks near `goal`, which were claimed: the first, and how many.
    pub(crate) fn promise(&self, goal: u64, wanted: u32) -> Result<(u64, u32), Errno> {
        let promise = |group: &mut Group, _, run| {
            group.held.add(&self.superblock, run);
            Ok(())
        };
        if let Some(found) = self.search(goal, wanted, promise)? {
            return Ok(found);
        }
        // There are blocks, but all of them are freed by transactions that are not on the disk.
        let journal = self.journal().ok_or(Errno::ENOSPC)?;
        journal.force_all()?;
        self.search(goal, wanted, promise)?.ok_or(Errno::ENOSPC)
    }

    /// Looks for free blocks, and lets `take` have them while their group is locked.
    fn search(
        &self,
        goal: u64,
        wanted: u32,
        mut take: impl FnMut(&mut Group, Bitmap, (u32, u32)) -> Result<(), Errno>,
    ) -> Result<Option<(u64, u32)>, Errno> {
        let groups = self.groups.count();
        let (goal_group, goal_index) = self.superblock.group_of(goal).unwrap_or((0, 0));
        for least in [wanted.min(RUN_GOOD), 1] {
            for step in 0..groups {
                let number = (goal_group + step) % groups;
                let mut group = self.groups.lock(number)?;
                self.let_go_committed(&mut group);
                if group.free_blocks.saturating_sub(group.held.count()) < least {
                    continue;
                }
                let bitmap = group.bitmap(&self.superblock, &self.cache, BitmapKind::Blocks)?;
                let goal = if step == 0 { goal_index } else { 0 };
                let len = self.superblock.group_blocks(number);
                let run = bitmap.read(|bits| Union { bits, more: group.held.bits() }.find_run(goal, len, wanted));
                if let Some(run) = run.filter(|run| run.1 >= least) {
                    take(&mut group, bitmap, run)?;
                    return Ok(Some((self.superblock.group_start(number) + u64::from(run.0), run.1)));
                }
            }
        }
        Ok(None)
    }

    /// Blocks whose freeing is on the disk may be used again.
    pub(crate) fn let_go_committed(&self, group: &mut Group) {
        if group.held.has_freed()
            && let Some(journal) = self.journal()
        {
            group.held.remove_freed(|transaction| journal.is_stable(transaction));
        }
    }

    /// Makes promised blocks taken, on the disk as well.
    pub(crate) fn keep(&self, change: &Change<'_>, first: u64, count: u32) -> Result<(), Errno> {
        self.in_groups(first, count, |group, index, count| {
            group.held.remove((index, count));
            let bitmap = group.bitmap(&self.superblock, &self.cache, BitmapKind::Blocks)?;
            self.take_bits(change, group, bitmap, (index, count))
        })
    }

    fn take_bits(
        &self,
        change: &Change<'_>,
        group: &mut Group,
        bitmap: Bitmap,
        (index, count): (u32, u32),
    ) -> Result<(), Errno> {
        if !bitmap.read(|bits| bitmap::is_all(bits, index, count, false)) {
            return Err(corrupt(format_args!("blocks of group {} are taken twice", group.number)));
        }
        group.free_blocks = group.free_blocks.saturating_sub(count);
        group.change_bits(&self.superblock, change, (BitmapKind::Blocks, bitmap), (index, count), true)
    }

    /// Takes a promise back. What was claimed stays claimed.
    pub(crate) fn withdraw(&self, first: u64, count: u32) {
        let withdrawn = self.in_groups(first, count, |group, index, count| {
            group.held.remove((index, count));
            Ok(())
        });
        debug_assert!(withdrawn.is_ok(), "a promise was inside");
    }

    /// Takes one block for metadata, near `goal`.
    pub(crate) fn allocate_block(&self, change: &Change<'_>, goal: u64) -> Result<u64, Errno> {
        self.claim(1, true)?;
        self.allocate_claimed_block(change, goal).inspect_err(|_| self.give_back(1))
    }

    /// As [`FileSystem::allocate_block`], of a block that was claimed.
    pub(crate) fn allocate_claimed_block(&self, change: &Change<'_>, goal: u64) -> Result<u64, Errno> {
        let found = self.search(goal, 1, |group, bitmap, run| self.take_bits(change, group, bitmap, run))?;
        found.map(|(block, _)| block).ok_or(Errno::ENOSPC)
    }

    /// Frees blocks. `EUCLEAN` when one of them is free, or is none that could belong to a file.
    pub(crate) fn free_blocks(
        &self,
        change: &Change<'_>,
        first: u64,
        count: u32,
        is_metadata: bool,
    ) -> Result<(), Errno> {
        if !self.superblock.has_blocks(first, count.into()) {
            return Err(corrupt(format_args!("block {first} cannot belong to a file")));
        }
        self.in_groups(first, count, |group, index, count| {
            let bitmap = group.bitmap(&self.superblock, &self.cache, BitmapKind::Blocks)?;
            let are_taken = bitmap.read(|bits| bitmap::is_all(bits, index, count, true));
            if !are_taken || self.is_metadata(group, index, count) {
                return Err(corrupt(format_args!("blocks of group {} are freed that are no file's", group.number)));
            }
            group.free_blocks = group.free_blocks.saturating_add(count);
            group.change_bits(&self.superblock, change, (BitmapKind::Blocks, bitmap), (index, count), false)?;
            if let Some(transaction) = change.transaction() {
                group.held.add_freed(&self.superblock, transaction, (index, count));
            }
            Ok(())
        })?;
        self.give_back(count.into());
        if is_metadata { change.freed(first, count.into()) } else { Ok(()) }
    }

    /// Whether one of the blocks holds the group's own bitmaps or inodes.
    pub(crate) fn is_metadata(&self, group: &Group, index: u32, count: u32) -> bool {
        let first = self.superblock.group_start(group.number) + u64::from(index);
        let end = first + u64::from(count);
        let table_end = group.inode_table + u64::from(self.superblock.inode_table_blocks());
        let parts = [
            (group.block_bitmap, group.block_bitmap + 1),
            (group.inode_bitmap, group.inode_bitmap + 1),
            (group.inode_table, table_end),
        ];
        parts.into_iter().any(|(from, to)| first < to && from < end)
    }

    /// Calls `act` for each part of a range of blocks that lies in one group.
    fn in_groups(
        &self,
        first: u64,
        count: u32,
        mut act: impl FnMut(&mut Group, u32, u32) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut at = first;
        let mut left = count;
        while left > 0 {
            let (number, index) = self.superblock.group_of(at).ok_or(Errno::EUCLEAN)?;
            let part = left.min(self.superblock.group_blocks(number).saturating_sub(index)).max(1);
            act(&mut *self.groups.lock(number)?, index, part)?;
            at += u64::from(part);
            left -= part;
        }
        Ok(())
    }

    /// Takes an inode for a new node in the directory `parent`.
    pub(crate) fn allocate_inode(&self, change: &Change<'_>, parent: u32, is_directory: bool) -> Result<u32, Errno> {
        let (parent_group, _) = self.superblock.group_of_inode(parent).unwrap_or((0, 0));
        let start = if is_directory && parent == ROOT_INODE { self.emptiest_group()? } else { parent_group };
        let groups = self.groups.count();
        for step in 0..groups {
            let number = (start + step) % groups;
            let mut group = self.groups.lock(number)?;
            if group.free_inodes == 0 {
                continue;
            }
            let bitmap = group.bitmap(&self.superblock, &self.cache, BitmapKind::Inodes)?;
            let reserved = if number == 0 { self.superblock.first_inode - 1 } else { 0 };
            let per_group = self.superblock.inodes_per_group;
            let Some(index) = bitmap.read(|bits| bitmap::find(bits, reserved, per_group, false)) else {
                return Err(corrupt(format_args!("group {number} has no free inode, and says that it has")));
            };
            self.make_records(change, &group, &bitmap, index)?;
            group.free_inodes -= 1;
            group.directories += u32::from(is_directory);
            group.unused_inodes = group.unused_inodes.min(per_group - index - 1);
            group.change_bits(&self.superblock, change, (BitmapKind::Inodes, bitmap), (index, 1), true)?;
            // A group in use has its bitmap of blocks on the disk: e2fsck wants it so.
            group.make_bitmap(&self.superblock, change, BitmapKind::Blocks)?;
            self.count_inodes(false);
            return Ok(number * per_group + index + 1);
        }
        Err(Errno::ENOSPC)
    }

    /// Makes the block with the record of an inode that is about to be taken, if it has no other record in use: then nothing on the
    /// disk is worth to be read.
    fn make_records(&self, change: &Change<'_>, group: &Group, bitmap: &Bitmap, index: u32) -> Result<(), Errno> {
        let per_block = self.superblock.inodes_per_block();
        let first = index - index % per_block;
        let count = per_block.min(self.superblock.inodes_per_group.saturating_sub(first));
        let block = group.inode_table + u64::from(index / per_block);
        let is_alone = bitmap.read(|bits| bitmap::is_all(bits, first, count, false));
        // What is in memory may be part of a transaction.
        if is_alone && self.cache.find(block).is_none() {
            change.create(block)?;
        }
        Ok(())
    }

    /// The group for a directory below the root: with free inodes and blocks not below the average, the one with the fewest
    /// directories.
    fn emptiest_group(&self) -> Result<u32, Errno> {
        let (blocks, inodes, _) = self.groups.sums();
        let groups = u64::from(self.groups.count()).max(1);
        let mut best = (0, u32::MAX);
        for number in 0..self.groups.count() {
            let group = self.groups.lock(number)?;
            let is_good = u64::from(group.free_blocks) >= blocks / groups
                && u64::from(group.free_inodes) >= inodes / groups
                && group.free_inodes > 0;
            if is_good && group.directories < best.1 {
                best = (number, group.directories);
            }
        }
        Ok(best.0)
    }

    /// Frees an inode whose record was cleared.
    pub(crate) fn free_inode(&self, change: &Change<'_>, inode: u32, is_directory: bool) -> Result<(), Errno> {
        let (number, index) = self.superblock.group_of_inode(inode).ok_or(Errno::EUCLEAN)?;
        let mut group = self.groups.lock(number)?;
        let bitmap = group.bitmap(&self.superblock, &self.cache, BitmapKind::Inodes)?;
        if !bitmap.read(|bits| bitmap::is_set(bits, index)) || inode < self.superblock.first_inode {
            return Err(corrupt(format_args!("inode {inode} is freed twice")));
        }
        group.free_inodes += 1;
        group.directories = group.directories.saturating_sub(u32::from(is_directory));
        group.change_bits(&self.superblock, change, (BitmapKind::Inodes, bitmap), (index, 1), false)?;
        self.count_inodes(true);
        Ok(())
    }

    /// Whether the bitmap says that an inode is in use.
    pub(crate) fn is_inode_in_use(&self, inode: u32) -> Result<bool, Errno> {
        let (number, index) = self.superblock.group_of_inode(inode).ok_or(Errno::EUCLEAN)?;
        let mut group = self.groups.lock(number)?;
        let bitmap = group.bitmap(&self.superblock, &self.cache, BitmapKind::Inodes)?;
        Ok(bitmap.read(|bits| bitmap::is_set(bits, index)))
    }
}
