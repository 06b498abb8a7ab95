//! The list of orphans: inodes that must be dealt with after a crash.
//!
//! An inode that lost its last name while it is open, or that is about to be cut, stands in a list: the superblock names the first, and
//! each one's record, in the field of the time of deletion, the next. At the next mount those without names are deleted, and the
//! others cut to their length. The list is only kept where there is a journal, as in Linux: without one a check finds everything.
//!
//! Linux may keep them in a file instead (`orphan_file`), which is only read here.
//!
//! In memory the list is kept as it is on the disk, behind a lock (rank `ORPHANS`).

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;

use crate::bytes::{get_u32, put_u32};
use crate::inode::Inode;
use crate::record::DELETED_OFFSET;
use crate::record_place::change_record;
use crate::superblock::Compatible;
use crate::{Change, FileSystem, corrupt};

/// Where in the superblock the first is.
const FIRST_OFFSET: usize = 232;
/// What adding or removing one changes: the superblock, two records.
pub const ORPHAN_CREDITS: u32 = 3;

impl FileSystem {
    /// Whether there is a list.
    fn has_orphans(&self) -> bool {
        self.superblock.compatible.contains(Compatible::HAS_JOURNAL)
    }

    /// Adds an inode to the list, unless it is there.
    pub fn add_orphan(&self, change: &Change<'_>, inode: &Inode) -> Result<(), Errno> {
        if !self.has_orphans() {
            return Ok(());
        }
        let mut orphans = self.orphans.lock();
        if orphans.contains(&inode.number()) {
            return Ok(());
        }
        let next = orphans.first().copied().unwrap_or(0);
        inode.change_record(change, |bytes| put_u32(bytes, DELETED_OFFSET, next))?;
        self.change_superblock(change, |bytes| put_u32(bytes, FIRST_OFFSET, inode.number()))?;
        orphans.insert(0, inode.number());
        Ok(())
    }

    /// Removes an inode from the list, if it is there.
    pub fn remove_orphan(&self, change: &Change<'_>, inode: &Inode) -> Result<(), Errno> {
        let mut orphans = self.orphans.lock();
        let Some(position) = orphans.iter().position(|number| *number == inode.number()) else { return Ok(()) };
        let next = orphans.get(position + 1).copied().unwrap_or(0);
        match position.checked_sub(1).and_then(|before| orphans.get(before)) {
            None => self.change_superblock(change, |bytes| put_u32(bytes, FIRST_OFFSET, next))?,
            Some(before) => change_record(self, change, *before, |bytes| put_u32(bytes, DELETED_OFFSET, next))?,
        }
        inode.change_record(change, |bytes| put_u32(bytes, DELETED_OFFSET, 0))?;
        orphans.remove(position);
        Ok(())
    }

    /// Deals with what a crash left, at the time of mounting; how many there were. What is wrong with the list ends it.
    pub fn process_orphans(self: &Arc<Self>) -> Result<usize, Errno> {
        if !self.has_orphans() || self.is_read_only() {
            return Ok(0);
        }
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        let mut number = self.read_superblock(|bytes| get_u32(bytes, FIRST_OFFSET))?;
        while number != 0 {
            let is_possible = self.superblock.inodes_have(number);
            if !is_possible || !seen.insert(number) || !self.is_inode_in_use(number)? {
                return Err(corrupt(format_args!("the list of orphans is wrong at inode {number}")));
            }
            let (inode, record) = Inode::read(self, number)?;
            number = inode.read_record(|bytes| get_u32(bytes, DELETED_OFFSET))?;
            found.push((inode, record));
        }
        *self.orphans.lock() = found.iter().map(|(inode, _)| inode.number()).collect();
        self.take_over_orphans(&mut seen, &mut found)?;
        let count = found.len();
        for (inode, record) in found {
            if record.links == 0 {
                inode.delete()?;
            } else {
                inode.cut(record.size)?;
            }
        }
        Ok(count)
    }
}
