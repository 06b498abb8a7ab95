//! Contents: the inode as the store of its page cache, writing, lengths and holes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, FallocateFlags};
use ext::{Transfers, Writing};
use mm::user::UserReader;
use mm::{Frame, PAGE_SIZE};
use sync::atomic::Ordering::Relaxed;

use crate::page_cache::{Begun, PageStore, Run};
use crate::page_copy::{PAGE, offset_in_page, page_of};

use super::ExtInode;

impl PageStore for ExtInode {
    fn size(&self) -> u64 {
        self.metadata.size()
    }

    fn read_pages(&self, first: u64, frames: &[Frame]) -> Result<(), Errno> {
        self.core.read_pages(first, frames)
    }

    fn reserve(&self, first: u64, end: u64) -> Result<(), Errno> {
        match self.core.claim_pages(first, end, self.is_privileged()) {
            Err(Errno::ENOSPC) => {
                // Less is needed for what was written than is claimed for what will be. An error is told to who syncs.
                let _ = self.shared.write_dirty();
                self.core.claim_pages(first, end, self.is_privileged())
            }
            result => result,
        }
    }

    fn is_hole(&self, index: u64) -> Result<bool, Errno> {
        self.core.is_hole(index)
    }

    fn write_pages(&self, first: u64, frames: &[Frame]) -> Result<(), Errno> {
        self.write_in_places(core::iter::once((first, frames)))
    }

    fn write_runs(&self, runs: &[Run]) -> Result<(), Errno> {
        self.write_in_places(frames_of(runs))
    }

    fn note_dirty(&self) {
        self.list();
    }
}

/// The pages of runs.
fn frames_of(runs: &[Run]) -> impl Iterator<Item = (u64, &[Frame])> {
    runs.iter().map(|run| (run.first, &*run.frames))
}

/// Writes pages of several files that are dirty, with one wait for all. What cannot be had at once, or fails, stays
/// dirty: who comes next writes it file by file, and finds out whose the error is.
pub(super) fn write_together(file_system: &ext::FileSystem, inodes: &[Arc<ExtInode>]) {
    let mut begun: Vec<(&ExtInode, Begun<'_>)> = Vec::with_capacity(inodes.len());
    for inode in inodes {
        if let Ok(cache) = inode.cache() {
            begun.extend(cache.begin_write_back(&**inode).map(|pages| (&**inode, pages)));
        }
    }
    let mut transfers = Transfers::writes(file_system);
    let mut writings = Vec::with_capacity(begun.len());
    for (inode, pages) in &begun {
        let size = || inode.metadata.size();
        writings.push(inode.core.begin_writing(frames_of(&pages.runs), &size, &mut transfers, false));
    }
    let transferred = transfers.finish();
    let finish = |writing: Option<Writing<'_>>| writing.is_some_and(|writing| writing.finish(transferred).is_ok());
    let are_written: Vec<bool> = writings.into_iter().map(finish).collect();
    for ((inode, pages), is_written) in begun.into_iter().zip(are_written) {
        pages.finish(inode, is_written);
    }
}

impl ExtInode {
    fn write_in_places<'a>(&'a self, runs: impl Iterator<Item = (u64, &'a [Frame])>) -> Result<(), Errno> {
        let mut transfers = Transfers::writes(&self.shared.file_system);
        let writing = self.core.begin_writing(runs, &|| self.metadata.size(), &mut transfers, true);
        let transferred = transfers.finish();
        writing.map_or(Ok(()), |writing| writing.finish(transferred))
    }

    /// Whether the blocks that are reserved may be taken.
    fn is_privileged(&self) -> bool {
        self.privileged.load(Relaxed) != 0
    }

    /// Writes at a position.
    pub(super) fn write(&self, position: u64, from: &mut UserReader<'_>) -> Result<usize, Errno> {
        self.check_writable()?;
        let size_max = self.core.size_max();
        if position >= size_max {
            return Err(Errno::EFBIG);
        }
        let done = self.cache()?.write(self, position, size_max, from, |size| self.metadata.set_size(size));
        self.mark_dirty();
        done
    }

    /// Sets the length.
    pub(super) fn set_length(&self, len: u64) -> Result<(), Errno> {
        let cache = self.cache()?;
        let size = self.metadata.size();
        if len > self.core.size_max() {
            return Err(Errno::EFBIG);
        }
        if len < size {
            self.metadata.set_size(len);
            cache.cut(self, len)?;
            self.core.cut(len)?;
        } else if len > size {
            self.lengthen(len)?;
        }
        self.mark_dirty();
        Ok(())
    }

    /// Sets a greater length. What is behind the old end in its page must be zero on the disk first.
    fn lengthen(&self, len: u64) -> Result<(), Errno> {
        let size = self.metadata.size();
        if len <= size {
            return Ok(());
        }
        if offset_in_page(size) != 0 {
            let page = page_of(size);
            self.cache()?.write_back(self, page, page + 1)?;
        }
        self.metadata.set_size(len);
        self.core.set_size_on_disk(len)
    }

    /// `fallocate`.
    pub(super) fn allocate_range(&self, mode: FallocateFlags, offset: u64, len: u64) -> Result<(), Errno> {
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        let keeps_size = mode.contains(FallocateFlags::KEEP_SIZE);
        let kind = mode.difference(FallocateFlags::KEEP_SIZE);
        if kind != FallocateFlags::PUNCH_HOLE && end > self.core.size_max() {
            return Err(Errno::EFBIG);
        }
        if matches!(kind, FallocateFlags::COLLAPSE_RANGE | FallocateFlags::INSERT_RANGE) {
            self.shift(offset, end, kind == FallocateFlags::INSERT_RANGE)?;
            self.metadata.touch_modified();
            self.mark_dirty();
            return Ok(());
        }
        if kind == FallocateFlags::PUNCH_HOLE {
            self.punch(offset, end)?;
        } else if kind == FallocateFlags::ZERO_RANGE {
            // Room first: there may be none, and then nothing is lost.
            self.core.make_room(offset, end, self.is_privileged())?;
            self.punch(offset, end)?;
            self.core.make_room(offset, end, self.is_privileged())?;
        } else if kind.is_empty() {
            self.core.make_room(offset, end, self.is_privileged())?;
        } else {
            return Err(Errno::EOPNOTSUPP);
        }
        if !keeps_size {
            self.lengthen(end)?;
        }
        self.metadata.touch_modified();
        self.mark_dirty();
        Ok(())
    }

    /// Takes a range out of the file, or puts a hole in: what is behind it moves.
    fn shift(&self, offset: u64, end: u64, is_insert: bool) -> Result<(), Errno> {
        if !self.core.takes_shifts() {
            return Err(Errno::EOPNOTSUPP);
        }
        let (size, len) = (self.metadata.size(), end - offset);
        let block_len = self.shared.file_system.superblock().block_len as u64;
        let reaches_end = if is_insert { offset >= size } else { end >= size };
        if !offset.is_multiple_of(block_len) || !len.is_multiple_of(block_len) || reaches_end {
            return Err(Errno::EINVAL);
        }
        let new_size = if is_insert { size.checked_add(len) } else { size.checked_sub(len) };
        let new_size = new_size.filter(|size| *size <= self.core.size_max()).ok_or(Errno::EFBIG)?;
        self.cache()?.rearrange(self, page_of(offset), || {
            self.settle_size(self.cache()?)?;
            if is_insert {
                self.core.put_in(offset, end, new_size)?;
            } else {
                self.core.take_out(offset, end, new_size)?;
            }
            self.metadata.set_size(new_size);
            Ok(())
        })
    }

    /// Makes a range zero and frees its blocks.
    fn punch(&self, offset: u64, end: u64) -> Result<(), Errno> {
        let cache = self.cache()?;
        // What is behind the end of the file has blocks at most.
        let in_file = end.min(self.metadata.size().div_ceil(PAGE).saturating_mul(PAGE));
        let mut at = offset;
        while at < in_file {
            let in_page = offset_in_page(at);
            let left = usize::try_from(in_file - at).unwrap_or(PAGE_SIZE);
            if in_page == 0 && left >= PAGE_SIZE {
                let end_page = in_file / PAGE;
                cache.punch(page_of(at), end_page);
                at = end_page * PAGE;
            } else {
                let part = left.min(PAGE_SIZE - in_page);
                cache.zero(self, page_of(at), in_page, part)?;
                at += part as u64;
            }
        }
        self.core.punch(offset, end)?;
        // Whoever read meanwhile may have found what was there before.
        cache.punch(offset.div_ceil(PAGE), in_file / PAGE);
        Ok(())
    }
}
