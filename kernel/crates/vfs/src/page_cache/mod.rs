//! [`PageCache`]: the contents of a file on a disk, in memory. One for every regular file of every file system with a disk.
//!
//! # 1. Pages
//!
//! A page is a frame that holds what the disk holds, or will hold. Reads, writes and mappings of the file all use the one frame, so
//! they agree. A page that is being read has a mark in its place, with a number of its own: who needs it waits, and if the file is
//! cut meanwhile the mark is gone and what was read is thrown away.
//!
//! # 2. The file system's part
//!
//! A [`PageStore`] knows where on the disk pages are. Before a page becomes dirty the store is asked to find room for it, so that a
//! full disk is an error of `write`, not of something later that nobody sees.
//!
//! # 3. Dirty pages
//!
//! A page is dirty from the moment something is stored in it until it is on its way to the disk. Stores by mappings are seen when
//! they begin ([`PageCache::page_for_write`]): a page is taken away from all mappings before it is written back, so the next store
//! faults and makes it dirty again. Nothing is copied for writing back; a page that changes on its way is dirty again and is
//! written once more. What could not be written stays dirty and is tried again, and the error is told by the next
//! `fsync` of everybody who has the file open ([`errors`]).
//!
//! All dirty pages of the system are counted. Who writes, or stores to a page of a shared mapping that is clean, and finds more
//! than a fifth of memory dirty writes his own file back before he goes on; if that fails, and there is still too much, he is told.
//!
//! # 4. Reading ahead
//!
//! Misses that follow each other double a window, up to [`AHEAD_MAX`] pages; any other miss closes it.
//!
//! # 5. Going
//!
//! Clean pages go when memory is short ([`reclaim`]), and mappings read them again. Whoever is given a page holds a reference to
//! its frame until he has marked it dirty, mapped it, or is done with it: it stays the file's page as long.
//!
//! # 6. Rearranging
//!
//! When everything from a page on moves to other places of the file, all these pages are written and dropped first, and
//! until it is done nobody reads one again: who wants to waits ([`PageCache::rearrange`]). A direct read, which has no page to wait
//! for, begins again under the inode's lock when it met one.
//!
//! # 7. Locks
//!
//! The map of pages is locked (rank `FILE_PAGES`) for looks and changes of it, never over a transfer or while program memory is
//! touched. Writers and changes of size hold the inode's lock, page faults do not. One thread writes a file back at a time (rank
//! `WRITE_BACK`), or else an older copy of a page could overtake a newer one.

pub(crate) mod direct;
pub(crate) mod errors;
mod pages;
mod reclaim;
mod writing;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Deref;

use abi::Errno;
use mm::object::Mappings;
use mm::user::{UserReader, UserWriter};
use mm::{Frame, PAGE_SIZE};
use sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use sync::{Mutex, WaitQueue, rank};

use crate::page_copy::{PAGE, copy_between, copy_in, copy_out, min_len, offset_in_page, page_of};
use crate::sparse_map::Removed;
use crate::write_back;

pub(crate) use errors::ErrorMark;
use errors::WriteErrors;
use pages::{Page, Pages, Slot};
pub(crate) use reclaim::drop_some;
pub(crate) use writing::{Begun, Run, wait_for_written};
pub use writing::{pages_on_the_way, written_pages};

/// The most pages read ahead.
const AHEAD_MAX: u64 = 32;
/// Pages of the first window, at the beginning of a file.
const AHEAD_FIRST: u64 = 4;
/// The share of memory that may be dirty before writers wait is one part in this.
const DIRTY_SHARE: u64 = 5;

/// Dirty pages of all files.
static DIRTY: AtomicUsize = AtomicUsize::new(0);
/// How often a page of a file became dirty since the start.
static DIRTIED: AtomicU64 = AtomicU64::new(0);

/// Pages of all files that are in memory.
static CACHED: AtomicUsize = AtomicUsize::new(0);

/// Dirty pages of all files, for `/proc/meminfo`.
pub fn dirty_pages() -> usize {
    DIRTY.load(Relaxed)
}

/// How often a page of a file became dirty since the start, for `/proc/vmstat`.
pub fn dirtied_pages() -> u64 {
    DIRTIED.load(Relaxed)
}

/// Pages of all files of disks that are in memory, for `/proc/meminfo`.
pub fn cached_pages() -> usize {
    CACHED.load(Relaxed)
}

/// At how many dirty pages writers wait.
fn dirty_max() -> usize {
    usize::try_from(mm::frame::total() / DIRTY_SHARE).unwrap_or(usize::MAX)
}

/// Counts a page among those in memory for as long as it lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        CACHED.fetch_add(1, Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        CACHED.fetch_sub(1, Relaxed);
    }
}

/// Where on a disk the pages of a file are: implemented by the inodes of file systems.
pub trait PageStore {
    /// Length of the file in bytes.
    fn size(&self) -> u64;

    /// Fills the frames of the pages from `first` on. What no block holds is zero. Waits.
    fn read_pages(&self, first: u64, frames: &[Frame]) -> Result<(), Errno>;

    /// Finds room on the disk for the pages `first..end`; `ENOSPC` when there is none.
    fn reserve(&self, first: u64, end: u64) -> Result<(), Errno>;

    /// Whether no block holds anything of the page.
    fn is_hole(&self, index: u64) -> Result<bool, Errno>;

    /// Writes the pages from `first` on, all of which have room. Waits.
    fn write_pages(&self, first: u64, frames: &[Frame]) -> Result<(), Errno>;

    /// Writes pages in several places, the same way. Waits for all of them.
    fn write_runs(&self, runs: &[Run]) -> Result<(), Errno> {
        runs.iter().map(|run| self.write_pages(run.first, &run.frames)).fold(Ok(()), Result::and)
    }

    /// The file has got its first dirty page since it was last written back.
    fn note_dirty(&self) {}
}

/// How many pages of a range are in memory, and in what state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Pages in memory.
    pub cached: u64,
    /// Those of them that must be written to the disk.
    pub dirty: u64,
}

/// The contents of a file. Counted, as the hand that drops pages may be on it when its user goes.
pub struct PageCache(Arc<FileCache>);

/// What a [`PageCache`] refers to.
pub struct FileCache {
    pages: Mutex<Pages>,
    mappings: Mappings,
    /// Who waits for a page that another thread reads.
    filled: WaitQueue,
    next_filling: AtomicU64,
    /// The page after the last window that was read, and the size of that window.
    ahead_at: AtomicU64,
    ahead: AtomicU64,
    writer: Mutex<()>,
    errors: WriteErrors,
    /// It is in the list of those that have pages.
    is_listed: AtomicBool,
    /// Counts the beginnings and ends of rearrangements: it is odd while one is under way.
    rearranged: AtomicU64,
}

impl Deref for PageCache {
    type Target = FileCache;

    #[inline]
    fn deref(&self) -> &FileCache {
        &self.0
    }
}

impl Default for PageCache {
    fn default() -> Self {
        Self::new()
    }
}

impl PageCache {
    /// An empty one.
    pub fn new() -> Self {
        Self(Arc::new(FileCache {
            pages: Mutex::new(rank::FILE_PAGES, Pages::default()),
            mappings: Mappings::new(),
            filled: WaitQueue::new(),
            next_filling: AtomicU64::new(0),
            ahead_at: AtomicU64::new(0),
            ahead: AtomicU64::new(0),
            writer: Mutex::new(rank::WRITE_BACK, ()),
            errors: WriteErrors::default(),
            is_listed: AtomicBool::new(false),
            rearranged: AtomicU64::new(0),
        }))
    }

    /// Who maps the file.
    pub fn mappings(&self) -> &Mappings {
        &self.mappings
    }

    /// Reads from `position` on; 0 at the end.
    pub fn read(&self, store: &dyn PageStore, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        self.read_by(store, position, to, |index| self.frame(store, index))
    }

    /// As [`PageCache::read`], as far as pages are in memory: `EAGAIN` when the first is not.
    pub fn read_at_hand(&self, store: &dyn PageStore, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        self.read_by(store, position, to, |index| self.present(index).ok_or(Errno::EAGAIN))
    }

    #[inline(always)]
    fn read_by(
        &self,
        store: &dyn PageStore,
        position: u64,
        to: &mut UserWriter<'_>,
        frame: impl Fn(u64) -> Result<Frame, Errno>,
    ) -> Result<usize, Errno> {
        let mut done = 0;
        let mut position = position;
        while !to.is_full() {
            let left = store.size().saturating_sub(position);
            if left == 0 {
                break;
            }
            let offset = offset_in_page(position);
            let len = min_len((PAGE_SIZE - offset).min(to.remaining()), left);
            let copied = frame(page_of(position)).and_then(|frame| copy_out(&frame, offset, to, len));
            match copied {
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

    /// Writes at `position`, under the inode's lock, up to `end_max`, the largest size there can be. `grow` is told the new end when
    /// the file becomes longer.
    pub fn write(
        &self,
        store: &dyn PageStore,
        position: u64,
        end_max: u64,
        from: &mut UserReader<'_>,
        grow: impl Fn(u64),
    ) -> Result<usize, Errno> {
        let end = position.saturating_add(min_len(from.remaining(), end_max.saturating_sub(position)) as u64);
        let appends = end > store.size();
        if appends {
            self.pages.lock().appended = position..end;
        }
        let result = self.write_pages(store, position, end, from, &grow);
        if appends {
            self.pages.lock().appended = 0..0;
        }
        result
    }

    /// Writes at `position` up to `end`, page by page.
    #[inline(never)]
    fn write_pages(
        &self,
        store: &dyn PageStore,
        position: u64,
        end: u64,
        from: &mut UserReader<'_>,
        grow: &dyn Fn(u64),
    ) -> Result<usize, Errno> {
        let mut done = 0;
        let mut position = position;
        while position < end {
            let (index, offset) = (page_of(position), offset_in_page(position));
            let len = min_len(PAGE_SIZE - offset, end - position);
            let written = self.throttle(store).and_then(|()| self.write_page(store, index, offset, from, len));
            let written = written.and_then(|(copied, frame)| {
                let end = position + copied as u64;
                if end > store.size() {
                    grow(end);
                }
                // Not earlier: of what is behind the end nothing is written back.
                self.keep_written(store, index, frame, (offset, copied)).map(|()| copied)
            });
            match written {
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

    /// Marks a page dirty after bytes were written in this frame. If the page was dropped meanwhile, as somebody else changed the
    /// file, the bytes are put in the one that is there.
    fn keep_written(
        &self,
        store: &dyn PageStore,
        index: u64,
        frame: Frame,
        (offset, len): (usize, usize),
    ) -> Result<(), Errno> {
        let mut frame = frame;
        while !self.mark_dirty(store, index, &frame, false) {
            let found = self.frame(store, index)?;
            copy_between(&frame, &found, offset, len);
            frame = found;
        }
        Ok(())
    }

    /// Writes to a page, which the caller then marks dirty; how much.
    fn write_page(
        &self,
        store: &dyn PageStore,
        index: u64,
        offset: usize,
        from: &mut UserReader<'_>,
        len: usize,
    ) -> Result<(usize, Frame), Errno> {
        store.reserve(index, index + 1)?;
        let is_new = index >= store.size().div_ceil(PAGE);
        let frame = match self.present(index) {
            Some(frame) => frame,
            None if is_new || len == PAGE_SIZE => return self.write_new_page(store, index, offset, from, len),
            None => self.frame(store, index)?,
        };
        let copied = copy_in(&frame, offset, from, len)?;
        Ok((copied, frame))
    }

    /// Writes to a page that is not in memory and whose old contents do not matter.
    fn write_new_page(
        &self,
        store: &dyn PageStore,
        index: u64,
        offset: usize,
        from: &mut UserReader<'_>,
        len: usize,
    ) -> Result<(usize, Frame), Errno> {
        let frame = new_frame()?;
        let copied = copy_in(&frame, offset, from, len)?;
        let is_whole = copied == PAGE_SIZE;
        if !is_whole && index < store.size().div_ceil(PAGE) {
            // The program's memory ended early: what the file had is needed after all.
            let old = self.frame(store, index)?;
            copy_between(&frame, &old, offset, copied);
            return Ok((copied, old));
        }
        frame.zero_range(0, offset);
        frame.zero_range(offset + copied, PAGE_SIZE - offset - copied);
        self.enlist();
        let other = {
            let mut pages = self.pages.lock();
            match pages.map.get(index) {
                Some(Slot::Page(page)) => Some(page.frame.clone()),
                // A page that is being read: its mark goes, and with it what is read.
                Some(Slot::Filling(_)) | None => {
                    let page = Page::clean(frame.clone());
                    pages.map.insert(index, Slot::Page(page));
                    None
                }
            }
        };
        self.filled.wake_all();
        if let Some(other) = &other {
            copy_between(&frame, other, offset, copied);
        }
        Ok((copied, other.unwrap_or(frame)))
    }

    /// Marks a page dirty for a store in this frame. False: it is not the page's any more, as the page was dropped.
    fn mark_dirty(&self, store: &dyn PageStore, index: u64, frame: &Frame, is_mapped: bool) -> bool {
        let is_first = {
            let mut pages = self.pages.lock();
            let Pages { map, dirty, .. } = &mut *pages;
            let Some(Slot::Page(page)) = map.get_mut(index) else { return false };
            if page.frame.number() != frame.number() {
                return false;
            }
            page.is_mapped_for_stores |= is_mapped;
            if page.is_dirty {
                return true;
            }
            page.is_dirty = true;
            *dirty += 1;
            *dirty == 1
        };
        DIRTY.fetch_add(1, Relaxed);
        DIRTIED.fetch_add(1, Relaxed);
        if is_first {
            store.note_dirty();
        }
        true
    }

    /// Lets a writer wait while too much of memory is dirty. The error of writing its file back is the writer's if that
    /// did not help.
    #[inline]
    fn throttle(&self, store: &dyn PageStore) -> Result<(), Errno> {
        if dirty_pages() > dirty_max() { self.write_enough(store) } else { Ok(()) }
    }

    #[cold]
    fn write_enough(&self, store: &dyn PageStore) -> Result<(), Errno> {
        let written = self.write_back(store, 0, u64::MAX);
        // Somewhat less, or a writer of many small files would write each by itself, and never those before.
        let is_too_much = || dirty_pages() > dirty_max() - dirty_max() / 8;
        if is_too_much() {
            write_back::write_all(is_too_much);
        }
        if dirty_pages() > dirty_max() { written } else { Ok(()) }
    }

    /// A page that is in memory.
    fn present(&self, index: u64) -> Option<Frame> {
        match self.pages.lock().map.get(index) {
            Some(Slot::Page(page)) => Some(page.frame.clone()),
            _ => None,
        }
    }

    /// A page, read from the disk if it is not in memory.
    fn frame(&self, store: &dyn PageStore, index: u64) -> Result<Frame, Errno> {
        if let Some(frame) = self.present(index) {
            return Ok(frame);
        }
        loop {
            match self.begin_filling(store, index) {
                Filling::Present(frame) => return Ok(frame),
                Filling::Ours { filling, count } => return self.fill(store, filling, index, count),
                Filling::Others => self.filled.block_until(u32::MAX, || {
                    let pages = self.pages.lock();
                    let is_filling = matches!(pages.map.get(index), Some(Slot::Filling(_)));
                    (!is_filling && index < pages.frozen_from).then_some(())
                }),
            }
        }
    }

    /// Puts marks in the place of a missing page and those to be read ahead with it.
    fn begin_filling(&self, store: &dyn PageStore, index: u64) -> Filling {
        let window = self.next_window(index);
        let end = (index + window).min(store.size().div_ceil(PAGE)).max(index + 1);
        let filling = self.next_filling.fetch_add(1, Relaxed);
        self.enlist();
        let mut pages = self.pages.lock();
        match pages.map.get(index) {
            Some(Slot::Page(page)) => return Filling::Present(page.frame.clone()),
            Some(Slot::Filling(_)) => return Filling::Others,
            None if index >= pages.frozen_from => return Filling::Others,
            None => {}
        }
        let end = end.min(pages.frozen_from);
        let end = pages.map.next_present(index).map_or(end, |present| end.min(present));
        for at in index..end {
            pages.map.insert(at, Slot::Filling(filling));
        }
        self.ahead_at.store(end, Relaxed);
        Filling::Ours { filling, count: end - index }
    }

    /// How many pages to read from a missing one on.
    fn next_window(&self, index: u64) -> u64 {
        let window = if index == 0 {
            AHEAD_FIRST
        } else if index == self.ahead_at.load(Relaxed) {
            (self.ahead.load(Relaxed) * 2).clamp(AHEAD_FIRST, AHEAD_MAX)
        } else {
            1
        };
        self.ahead.store(window, Relaxed);
        window
    }

    /// Reads the pages that have our mark, and answers the first.
    fn fill(&self, store: &dyn PageStore, filling: u64, index: u64, count: u64) -> Result<Frame, Errno> {
        let result = (|| {
            let first = new_frame()?;
            // Those ahead are welcome, not necessary.
            let ahead = (1..count).map_while(|_| Frame::allocate().ok());
            let frames: Vec<Frame> = core::iter::once(first).chain(ahead).collect();
            store.read_pages(index, &frames).map(|()| frames)
        })();
        let frames = result.as_deref().unwrap_or_default();
        {
            let mut pages = self.pages.lock();
            for (number, at) in (index..index + count).enumerate() {
                let Some(slot) = pages.map.get_mut(at) else { continue };
                if !matches!(slot, Slot::Filling(other) if *other == filling) {
                    continue;
                }
                match frames.get(number) {
                    Some(frame) => {
                        let page = Page::clean(frame.clone());
                        *slot = Slot::Page(page);
                    }
                    None => drop(pages.map.remove_range(at, at + 1)),
                }
            }
        }
        self.filled.wake_all();
        let frame = result?.into_iter().next().ok_or(Errno::EIO)?;
        // Somebody may have written a new page in its place.
        Ok(self.present(index).unwrap_or(frame))
    }

    /// A page for a mapping; `EFAULT` behind the end.
    pub fn page(&self, store: &dyn PageStore, index: u64) -> Result<Frame, Errno> {
        if index >= store.size().div_ceil(PAGE) {
            return Err(Errno::EFAULT);
        }
        self.frame(store, index)
    }

    /// As [`PageCache::page`], if it is in memory.
    pub fn page_at_hand(&self, store: &dyn PageStore, index: u64) -> Option<Frame> {
        self.present(index).filter(|_| index < store.size().div_ceil(PAGE))
    }

    /// A page for a shared mapping that is about to store.
    pub fn page_for_write(&self, store: &dyn PageStore, index: u64) -> Result<Frame, Errno> {
        self.throttle(store)?;
        loop {
            let frame = self.page(store, index)?;
            store.reserve(index, index + 1)?;
            // If the page was dropped meanwhile a store in this frame would be lost: mappings may be told of it before they have it.
            if self.mark_dirty(store, index, &frame, true) {
                return Ok(frame);
            }
        }
    }

    /// Whether a page is in memory.
    pub fn is_resident(&self, index: u64) -> bool {
        matches!(self.pages.lock().map.get(index), Some(Slot::Page(_)))
    }

    /// What of the pages `first..end` is in memory.
    pub fn count(&self, first: u64, end: u64) -> CacheCounts {
        let pages = self.pages.lock();
        let mut counts = CacheCounts::default();
        let mut next = pages.map.next_present(first);
        while let Some(index) = next.filter(|index| *index < end) {
            if let Some(Slot::Page(page)) = pages.map.get(index) {
                counts.cached += 1;
                counts.dirty += u64::from(page.is_dirty);
            }
            next = index.checked_add(1).and_then(|index| pages.map.next_present(index));
        }
        counts
    }

    /// Cuts the file, under the inode's lock, after the shorter size was set: pages behind the end go, and what is behind it in the
    /// last page becomes zero.
    pub fn cut(&self, store: &dyn PageStore, len: u64) -> Result<(), Errno> {
        let first_gone = len.div_ceil(PAGE);
        let removed = self.take_range(first_gone, u64::MAX);
        self.mappings.truncate(first_gone, u64::MAX);
        drop(removed);
        let offset = offset_in_page(len);
        if offset == 0 { Ok(()) } else { self.zero(store, page_of(len), offset, PAGE_SIZE - offset) }
    }

    /// Drops whole pages whose blocks were taken away or zeroed on the disk, under the inode's lock.
    pub fn punch(&self, first: u64, end: u64) {
        let removed = self.take_range(first, end);
        self.mappings.invalidate(first, end);
        drop(removed);
    }

    /// Makes part of a page zero, under the inode's lock.
    pub fn zero(&self, store: &dyn PageStore, index: u64, offset: usize, len: usize) -> Result<(), Errno> {
        let is_hole = store.is_hole(index)?;
        let frame = match self.present(index) {
            None if is_hole => return Ok(()),
            None => self.frame(store, index)?,
            Some(frame) => frame,
        };
        frame.zero_range(offset, len);
        if is_hole { Ok(()) } else { self.keep_written(store, index, frame, (offset, len)) }
    }

    fn take_range(&self, first: u64, end: u64) -> Removed<Slot> {
        let (removed, clean) = {
            let mut pages = self.pages.lock();
            let before = pages.dirty;
            let left = pages.count_dirty_outside(first, end);
            pages.dirty = left;
            (pages.map.remove_range(first, end), before - left)
        };
        DIRTY.fetch_sub(usize::try_from(clean).unwrap_or(0), Relaxed);
        self.filled.wake_all();
        removed
    }

    /// Drops every page that is clean, that no mapping has, and that nobody uses; how many.
    pub fn shrink(&self) -> u64 {
        self.pages.lock().drop_clean_in(0, u64::MAX, u64::MAX)
    }
}

/// A frame for a page. Nobody who asks for pages holds a lock that writing back needs, so it may be waited for.
fn new_frame() -> Result<Frame, Errno> {
    loop {
        match Frame::allocate() {
            Err(_) if mm::reclaim::wait_for() => {}
            result => return result,
        }
    }
}

/// How filling a page begins.
enum Filling {
    /// It is there.
    Present(Frame),
    /// We have marked it and some behind it.
    Ours { filling: u64, count: u64 },
    /// Somebody else reads it.
    Others,
}

#[cfg(test)]
pub(crate) mod tests;
