//! The contents of a regular file in memory.
//!
//! A page is a frame of the map, or, where the map has none, a page of the layer below as far as that is visible, or a hole. The
//! layer below is visible up to a length that only shrinks, when the file is cut. A page of it is taken over when it is first
//! written, one page at a time, so that changing a byte of a large file costs one page.
//!
//! # Copies and locks
//!
//! Data is copied to and from a frame that the copier holds a reference to, with the map unlocked: a page fault on the
//! program's buffer may need the map, when the buffer is a mapping of the same file. A page that is to be written whole is
//! filled before it is put in the map, so it need not be cleared first.
//!
//! Readers take no lock but the map's, a page at a time: as in Linux, a read beside a write may see part of it. Writers and
//! changes of size hold the inode's lock. A shorter size is set before the pages behind it are taken out, and a fault looks at
//! the size under the map's lock, so that no page is added behind the end.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, FallocateFlags};
use mm::object::{CodeSite, Mappings};
use mm::user::{UserReader, UserWriter};
use mm::{Frame, FramePiece, PAGE_SIZE};
use sync::{Mutex, rank};

use crate::Inode;

use super::{MemoryInode, Shared};
use crate::page_copy::{PAGE, copy_between, copy_in, min_len, offset_in_page, page_of};
use crate::sparse_map::SparseMap;

/// The largest size of a file.
const SIZE_MAX: u64 = i64::MAX.unsigned_abs();

/// The contents of a regular file.
pub(super) struct FileData {
    pages: Mutex<Pages>,
    lower: Option<Arc<dyn Inode>>,
    mappings: Mappings,
}

/// What the lock protects.
struct Pages {
    map: SparseMap<Frame>,
    /// How many bytes of the layer below are visible.
    lower_len: u64,
}

/// Where a page comes from.
enum Source {
    Frame(Frame),
    /// The layer below.
    Lower,
    Hole,
}

impl Pages {
    /// Pages of the layer below that are visible.
    fn lower_pages(&self) -> u64 {
        self.lower_len.div_ceil(PAGE)
    }

    #[inline]
    fn source(&self, index: u64) -> Source {
        match self.map.get(index) {
            Some(frame) => Source::Frame(frame.clone()),
            None if index < self.lower_pages() => Source::Lower,
            None => Source::Hole,
        }
    }

    /// Pages to show as taken. Where the layer below is visible the two overlap, and the size bounds their sum.
    fn blocks(&self, size: u64) -> u64 {
        match self.lower_pages() {
            0 => self.map.len(),
            lower => (self.map.len() + lower).min(size.div_ceil(PAGE)),
        }
    }
}

impl FileData {
    pub(super) fn empty() -> Self {
        let pages = Pages { map: SparseMap::new(), lower_len: 0 };
        Self { pages: Mutex::new(rank::FILE_PAGES, pages), lower: None, mappings: Mappings::new() }
    }

    pub(super) fn over(lower: Arc<dyn Inode>) -> Self {
        let pages = Pages { map: SparseMap::new(), lower_len: lower.metadata().size() };
        Self { pages: Mutex::new(rank::FILE_PAGES, pages), lower: Some(lower), mappings: Mappings::new() }
    }

    pub(super) fn mappings(&self) -> &Mappings {
        &self.mappings
    }

    pub(super) fn read(&self, owner: &MemoryInode, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        if let Some(lower) = self.untouched_lower(owner) {
            return lower.read_at(position, to);
        }
        let mut done = 0;
        let mut position = position;
        while !to.is_full() {
            let left = owner.metadata.size().saturating_sub(position);
            if left == 0 {
                break;
            }
            let offset = offset_in_page(position);
            let len = min_len((PAGE_SIZE - offset).min(to.remaining()), left);
            match self.read_page(page_of(position), offset, to, len) {
                Ok(copied) => {
                    done += copied;
                    position += copied as u64;
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// The layer below, when the file is nothing else.
    fn untouched_lower(&self, owner: &MemoryInode) -> Option<&Arc<dyn Inode>> {
        let lower = self.lower.as_ref()?;
        let size = lower.metadata().size();
        let pages = self.pages.lock();
        (pages.map.len() == 0 && pages.lower_len == size && owner.metadata.size() == size).then_some(lower)
    }

    #[inline]
    fn read_page(&self, index: u64, offset: usize, to: &mut UserWriter<'_>, len: usize) -> Result<usize, Errno> {
        let source = self.pages.lock().source(index);
        let frame = match source {
            Source::Frame(frame) => frame,
            Source::Lower => self.lower_page(index)?,
            Source::Hole => return to.fill_zero(len),
        };
        loop {
            match frame.read_to(offset, to, len) {
                Ok(copied) => return Ok(copied),
                Err(fault) => fault.resolve()?,
            }
        }
    }

    fn lower_page(&self, index: u64) -> Result<Frame, Errno> {
        self.lower.as_ref().ok_or(Errno::EIO)?.page(index)
    }

    /// Writes at `position`, under the inode's lock.
    pub(super) fn write(&self, owner: &MemoryInode, position: u64, from: &mut UserReader<'_>) -> Result<usize, Errno> {
        let mut done = 0;
        let mut position = position;
        if position >= SIZE_MAX && !from.is_empty() {
            return Err(Errno::EFBIG);
        }
        while !from.is_empty() && position < SIZE_MAX {
            let offset = offset_in_page(position);
            let len = min_len((PAGE_SIZE - offset).min(from.remaining()), SIZE_MAX - position);
            let end = position + len as u64;
            let is_sealed = owner.seals.check_write(owner.metadata.size(), end);
            match is_sealed.and_then(|()| self.write_page(owner, page_of(position), offset, from, len)) {
                Ok(copied) => {
                    done += copied;
                    position += copied as u64;
                    if position > owner.metadata.size() {
                        owner.metadata.set_size(position);
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn show_blocks(&self, owner: &MemoryInode) {
        let blocks = self.pages.lock().blocks(owner.metadata.size());
        owner.update_blocks(blocks);
    }

    fn write_page(
        &self,
        owner: &MemoryInode,
        index: u64,
        offset: usize,
        from: &mut UserReader<'_>,
        len: usize,
    ) -> Result<usize, Errno> {
        let source = self.pages.lock().source(index);
        let is_lower = matches!(source, Source::Lower);
        let frame = match source {
            Source::Frame(frame) => return copy_in(&frame, offset, from, len),
            Source::Lower => self.lower_page(index)?.duplicate()?,
            Source::Hole => Frame::allocate()?,
        };
        let copied = copy_in(&frame, offset, from, len)?;
        if !is_lower {
            frame.zero_range(0, offset);
            frame.zero_range(offset + copied, PAGE_SIZE - offset - copied);
        }
        self.add_page(owner, index, &frame, offset, copied)?;
        Ok(copied)
    }

    /// Puts a new page in the map. If a page fault has put one there meanwhile, only the bytes written are copied to it.
    fn add_page(&self, owner: &MemoryInode, index: u64, frame: &Frame, offset: usize, len: usize) -> Result<(), Errno> {
        owner.shared.pages.take(1)?;
        let mut pages = self.pages.lock();
        if let Some(other) = pages.map.get(index).cloned() {
            drop(pages);
            owner.shared.pages.give_back(1);
            copy_between(frame, &other, offset, len);
            return Ok(());
        }
        let covers_lower = index < pages.lower_pages();
        pages.map.insert(index, frame.clone());
        owner.update_blocks(pages.blocks(owner.metadata.size().max(index * PAGE + 1)));
        drop(pages);
        if covers_lower {
            self.mappings.invalidate(index, index + 1);
        }
        Ok(())
    }

    /// Sets the length, under the inode's lock.
    pub(super) fn set_len(&self, owner: &MemoryInode, len: u64) -> Result<(), Errno> {
        let old_len = owner.metadata.size();
        if len < old_len {
            self.cut(owner, len)?;
        }
        owner.metadata.set_size(len);
        self.show_blocks(owner);
        Ok(())
    }

    /// Takes away what is behind `len`.
    fn cut(&self, owner: &MemoryInode, len: u64) -> Result<(), Errno> {
        let offset = offset_in_page(len);
        if offset != 0 {
            // What is behind the new end in its page must read as zeros if the file grows again.
            self.zero_in_page(owner, page_of(len), offset, PAGE_SIZE - offset)?;
        }
        owner.metadata.set_size(len);
        let first_gone = len.div_ceil(PAGE);
        let removed = {
            let mut pages = self.pages.lock();
            pages.lower_len = pages.lower_len.min(len);
            pages.map.remove_range(first_gone, u64::MAX)
        };
        self.mappings.truncate(first_gone, u64::MAX);
        owner.shared.pages.give_back(removed.count());
        drop(removed);
        Ok(())
    }

    /// Zeroes part of a page; a hole stays one.
    fn zero_in_page(&self, owner: &MemoryInode, index: u64, offset: usize, len: usize) -> Result<(), Errno> {
        let source = self.pages.lock().source(index);
        match source {
            Source::Frame(frame) => frame.zero_range(offset, len),
            Source::Lower => {
                self.take_over(owner, index)?.zero_range(offset, len);
            }
            Source::Hole => {}
        }
        Ok(())
    }

    /// Takes a page of the layer below over into the map and gives it.
    fn take_over(&self, owner: &MemoryInode, index: u64) -> Result<Frame, Errno> {
        let frame = self.lower_page(index)?.duplicate()?;
        self.add_page(owner, index, &frame, 0, 0)?;
        self.pages.lock().map.get(index).cloned().ok_or(Errno::EIO)
    }

    /// `fallocate`, under the inode's lock.
    pub(super) fn allocate(
        &self,
        owner: &MemoryInode,
        mode: FallocateFlags,
        offset: u64,
        len: u64,
    ) -> Result<(), Errno> {
        let end = offset.checked_add(len).filter(|end| *end <= SIZE_MAX).ok_or(Errno::EFBIG)?;
        let keeps_size = mode.contains(FallocateFlags::KEEP_SIZE);
        let action = mode.difference(FallocateFlags::KEEP_SIZE);
        // The others are for disks, whose blocks they spare.
        if !action.is_empty() && action != FallocateFlags::PUNCH_HOLE {
            return Err(Errno::EOPNOTSUPP);
        }
        if action.is_empty() {
            owner.seals.check_len(end.min(owner.metadata.size()), end)?;
        } else {
            owner.seals.check_write(owner.metadata.size(), end.min(owner.metadata.size()))?;
        }
        if action.is_empty() {
            self.fill(owner, offset, end)?;
            owner.metadata.touch_changed();
        } else {
            self.zero_range(owner, offset, end)?;
            owner.metadata.touch_modified();
        }
        let grows = action.is_empty() && !keeps_size && end > owner.metadata.size();
        if grows {
            owner.metadata.set_size(end);
        }
        self.show_blocks(owner);
        Ok(())
    }

    /// Makes bytes read as zeros, and whole pages holes where nothing below would show.
    fn zero_range(&self, owner: &MemoryInode, offset: u64, end: u64) -> Result<(), Errno> {
        let (first_whole, end_whole) = (offset.div_ceil(PAGE), page_of(end));
        if first_whole > end_whole {
            // All within one page.
            #[expect(clippy::cast_possible_truncation, reason = "less than a page")]
            return self.zero_in_page(owner, page_of(offset), offset_in_page(offset), (end - offset) as usize);
        }
        if offset_in_page(offset) != 0 {
            let start = offset_in_page(offset);
            self.zero_in_page(owner, page_of(offset), start, PAGE_SIZE - start)?;
        }
        if offset_in_page(end) != 0 {
            self.zero_in_page(owner, end_whole, 0, offset_in_page(end))?;
        }
        let removed = {
            let mut pages = self.pages.lock();
            // A hole that reaches the end of what is visible below hides it without a page.
            if pages.lower_pages() <= end_whole {
                pages.lower_len = pages.lower_len.min(first_whole * PAGE);
            }
            pages.map.remove_range(first_whole, end_whole)
        };
        self.mappings.invalidate(first_whole, end_whole);
        owner.shared.pages.give_back(removed.count());
        drop(removed);
        let lower_pages = self.pages.lock().lower_pages();
        for index in first_whole..end_whole.min(lower_pages) {
            let zeros = Frame::allocate_zeroed()?;
            self.add_page(owner, index, &zeros, 0, PAGE_SIZE)?;
        }
        Ok(())
    }

    /// Gives every page of a range a frame, or none of them.
    fn fill(&self, owner: &MemoryInode, offset: u64, end: u64) -> Result<(), Errno> {
        let (first, last) = (page_of(offset), end.div_ceil(PAGE));
        let budget = &owner.shared.pages;
        let mut added: Vec<u64> = Vec::new();
        // Refuses at once what can never fit.
        let free = budget.free();
        if last - first > free.saturating_add(self.pages.lock().map.len()) {
            return Err(Errno::ENOSPC);
        }
        let mut index = first;
        let result = loop {
            index = self.pages.lock().map.next_absent(index);
            if index >= last {
                break Ok(());
            }
            match self.fill_page(owner, index) {
                Ok(()) => added.push(index),
                Err(errno) => break Err(errno),
            }
        };
        if result.is_err() {
            for index in added {
                let removed = self.pages.lock().map.remove_range(index, index + 1);
                budget.give_back(removed.count());
            }
        }
        result
    }

    fn fill_page(&self, owner: &MemoryInode, index: u64) -> Result<(), Errno> {
        let is_lower = index < self.pages.lock().lower_pages();
        if is_lower {
            return self.take_over(owner, index).map(drop);
        }
        owner.shared.pages.take(1)?;
        let frame = Frame::allocate_zeroed().inspect_err(|_| owner.shared.pages.give_back(1))?;
        let old = {
            let mut pages = self.pages.lock();
            match pages.map.get(index) {
                // A page fault was faster.
                Some(_) => Some(frame),
                None => pages.map.insert(index, frame),
            }
        };
        if old.is_some() {
            owner.shared.pages.give_back(1);
        }
        Ok(())
    }

    /// The next data, or hole, from `offset` on.
    pub(super) fn seek_data(&self, owner: &MemoryInode, offset: u64, wants_hole: bool) -> Result<u64, Errno> {
        let size = owner.metadata.size();
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        let pages = self.pages.lock();
        let mut index = page_of(offset);
        if wants_hole {
            let hole = pages.map.next_absent(index.max(pages.lower_pages()));
            return Ok(hole.saturating_mul(PAGE).max(offset).min(size));
        }
        if index >= pages.lower_pages() {
            index = pages.map.next_present(index).ok_or(Errno::ENXIO)?;
        }
        let position = index.saturating_mul(PAGE).max(offset);
        if position >= size { Err(Errno::ENXIO) } else { Ok(position) }
    }

    /// A page for a mapping. A hole gets a frame, so that all mappings and later writes share it.
    pub(super) fn page(&self, owner: &MemoryInode, index: u64) -> Result<Frame, Errno> {
        let mut pages = self.pages.lock();
        if index >= owner.metadata.size().div_ceil(PAGE) {
            return Err(Errno::EFAULT);
        }
        match pages.source(index) {
            Source::Frame(frame) => Ok(frame),
            Source::Lower => {
                drop(pages);
                self.lower_page(index)
            }
            Source::Hole => {
                owner.shared.pages.take(1)?;
                let frame = Frame::allocate_zeroed().inspect_err(|_| owner.shared.pages.give_back(1))?;
                pages.map.insert(index, frame.clone());
                let blocks = pages.blocks(owner.metadata.size());
                owner.update_blocks(blocks);
                Ok(frame)
            }
        }
    }

    /// A part of a page that is only read: a hole stays one.
    pub(super) fn piece_for_read(&self, owner: &MemoryInode, position: u64, len: usize) -> Result<FramePiece, Errno> {
        let index = page_of(position);
        let source = {
            let pages = self.pages.lock();
            if index >= owner.metadata.size().div_ceil(PAGE) {
                return Err(Errno::EFAULT);
            }
            pages.source(index)
        };
        let frame = match source {
            Source::Frame(frame) => frame,
            Source::Lower => return self.lower.as_ref().ok_or(Errno::EIO)?.piece_for_read(position, len),
            Source::Hole => Frame::zero_page(),
        };
        Ok(FramePiece::new(frame, offset_in_page(position), len))
    }

    /// A page for a shared mapping that is about to write.
    pub(super) fn page_for_write(&self, owner: &MemoryInode, index: u64) -> Result<Frame, Errno> {
        let frame = self.page(owner, index)?;
        let is_lower = matches!(self.pages.lock().source(index), Source::Lower);
        if !is_lower {
            // The page itself, which may have been taken over since.
            return self.page(owner, index);
        }
        drop(frame);
        owner.pin();
        owner.metadata.touch_modified();
        self.take_over(owner, index)
    }

    /// Instructions of a page that must not run as they are: those of the layer below, while the page is still its own.
    pub(super) fn code_sites(&self, index: u64) -> Option<Vec<CodeSite>> {
        let lower = self.lower.as_ref()?;
        let is_lower = matches!(self.pages.lock().source(index), Source::Lower);
        if is_lower { lower.code_sites(index) } else { None }
    }

    /// Whether a page is in memory.
    pub(super) fn is_resident(&self, index: u64) -> bool {
        !matches!(self.pages.lock().source(index), Source::Hole)
    }

    /// How many of the pages `first..end` have a frame of this file.
    pub(super) fn count_pages(&self, first: u64, end: u64) -> u64 {
        let pages = self.pages.lock();
        let mut count = 0;
        let mut next = pages.map.next_present(first);
        while let Some(index) = next.filter(|index| *index < end) {
            count += 1;
            next = index.checked_add(1).and_then(|index| pages.map.next_present(index));
        }
        count
    }

    /// Gives the pages of a node that is going back to the limit.
    pub(super) fn give_back(&mut self, shared: &Shared) {
        shared.pages.give_back(self.pages.get_mut().map.len());
    }
}
