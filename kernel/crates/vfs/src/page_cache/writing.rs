//! Writing dirty pages back.

use alloc::vec::Vec;
use core::ops::Range;

use abi::Errno;
use mm::{Frame, PAGE_SIZE};
use sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use sync::{MutexGuard, WaitQueue};

use super::pages::{Page, Pages};
use super::{DIRTY, ErrorMark, PageCache, PageStore, Slot, offset_in_page, page_of};

/// The most pages on their way to the disk at once, in one file.
const WRITTEN_MAX: usize = 256;

/// Pages of all files that are on their way to the disk.
static ON_THE_WAY: AtomicUsize = AtomicUsize::new(0);
/// Pages of all files that were written since the start.
static WRITTEN: AtomicU64 = AtomicU64::new(0);
/// Woken when pages are not on their way any more.
static LANDED: WaitQueue = WaitQueue::new();

/// Pages of all files that are on their way to the disk, for `/proc/meminfo`.
pub fn pages_on_the_way() -> usize {
    ON_THE_WAY.load(Relaxed)
}

/// Pages of all files that were written to their disks since the start, for `/proc/vmstat`.
pub fn written_pages() -> u64 {
    WRITTEN.load(Relaxed)
}

/// Waits until pages are written that were not when there were `before`, or none are on their way; whether there are. Holds no
/// lock that writing back needs.
pub(crate) fn wait_for_written(before: u64) -> bool {
    LANDED.block_until(u32::MAX, || {
        // In this order: what is written before it is off its way is seen.
        let is_over = ON_THE_WAY.load(Acquire) == 0;
        let is_more = written_pages() != before;
        (is_more || is_over).then_some(is_more)
    })
}

/// Pages are on their way.
fn depart(count: usize) {
    ON_THE_WAY.fetch_add(count, Relaxed);
}

/// Pages are written, or dirty again.
fn land(runs: &[Run], is_written: bool) {
    let count = runs.iter().map(|run| run.frames.len()).sum();
    if is_written {
        WRITTEN.fetch_add(count as u64, Relaxed);
    }
    ON_THE_WAY.fetch_sub(count, Release);
    LANDED.wake_all();
}

/// Pages side by side that are about to be written.
pub struct Run {
    /// The first page.
    pub first: u64,
    /// Their frames.
    pub frames: Vec<Frame>,
    /// Whether a mapping may store in one of them.
    is_mapped: bool,
}

impl Run {
    fn end(&self) -> u64 {
        self.first.saturating_add(self.frames.len() as u64)
    }
}

/// Dirty pages of a file that are on their way to the disk together with those of other files. Until it is finished
/// nobody else writes pages of this file.
pub(crate) struct Begun<'a> {
    cache: &'a PageCache,
    _writer: MutexGuard<'a, ()>,
    pub(crate) runs: Vec<Run>,
}

impl Begun<'_> {
    /// Without success the pages are as dirty as before. The error is for who tries again.
    pub(crate) fn finish(self, store: &dyn PageStore, is_written: bool) {
        if !is_written {
            self.cache.keep_dirty(store, &self.runs);
        }
        land(&self.runs, is_written);
    }
}

impl PageCache {
    /// Writes the dirty pages of `first..end` and waits for them. They are not stable before the disk is flushed.
    pub fn write_back(&self, store: &dyn PageStore, first: u64, end: u64) -> Result<(), Errno> {
        let _writer = self.writer.lock();
        let mut at = first;
        let mut result = Ok(());
        loop {
            let runs = self.take_runs(store, at, end);
            let Some(last) = runs.last() else { return result };
            at = last.end();
            let written = store.write_runs(&runs);
            if let Err(errno) = written {
                self.keep_dirty(store, &runs);
                self.errors.note(errno);
                result = Err(errno);
            }
            land(&runs, written.is_ok());
        }
    }

    /// Lets `change` move the pages from `first` on to other places of the file, under the inode's lock. What is in
    /// memory of them is written before and dropped, and nobody reads or writes any meanwhile.
    pub(crate) fn rearrange(
        &self,
        store: &dyn PageStore,
        first: u64,
        change: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        self.write_back(store, first, u64::MAX)?;
        let _writer = self.writer.lock();
        self.rearranged.fetch_add(1, SeqCst);
        let mut late = Vec::new();
        {
            let mut pages = self.pages.lock();
            pages.frozen_from = first;
            // What mappings stored in since then.
            while let Some(run) = take_dirty(&mut pages, first, u64::MAX, WRITTEN_MAX) {
                late.push(run);
            }
        }
        let removed = self.take_range(first, u64::MAX);
        // Whoever stored in one before this has done so before it is written.
        self.mappings.invalidate(first, u64::MAX);
        drop(removed);
        for run in &late {
            let pages = self.pages.lock();
            zero_tail(store.size(), &pages.appended, run);
        }
        let changed = self.write_late(store, &late).and_then(|()| change());
        self.pages.lock().frozen_from = u64::MAX;
        self.rearranged.fetch_add(1, SeqCst);
        self.filled.wake_all();
        changed
    }

    /// Writes pages that are in no map, as many at once as otherwise. What cannot be written is put back.
    fn write_late(&self, store: &dyn PageStore, runs: &[Run]) -> Result<(), Errno> {
        let mut rest = runs;
        while !rest.is_empty() {
            let sums = rest.iter().scan(0, |pages, run| {
                *pages += run.frames.len();
                Some(*pages)
            });
            let count = sums.take_while(|pages| *pages <= WRITTEN_MAX).count().max(1);
            let (part, behind) = rest.split_at(count);
            if let Err(errno) = store.write_runs(part) {
                self.put_back(store, rest);
                land(rest, false);
                return Err(errno);
            }
            land(part, true);
            rest = behind;
        }
        Ok(())
    }

    /// Puts pages back that were dirty and could not be written.
    fn put_back(&self, store: &dyn PageStore, runs: &[Run]) {
        for run in runs {
            let mut pages = self.pages.lock();
            for (index, frame) in (run.first..).zip(&run.frames) {
                let old = pages.map.insert(index, Slot::Page(Page::clean(frame.clone())));
                debug_assert!(old.is_none(), "a page was read that is frozen");
            }
        }
        self.keep_dirty(store, runs);
    }

    /// Takes dirty pages to be written together with those of other files. None when there are none, or when another
    /// thread writes some: whoever has begun with a file does not wait for another one.
    pub(crate) fn begin_write_back(&self, store: &dyn PageStore) -> Option<Begun<'_>> {
        let writer = self.writer.try_lock()?;
        let runs = self.take_runs(store, 0, u64::MAX);
        (!runs.is_empty()).then_some(Begun { cache: self, _writer: writer, runs })
    }

    /// Takes the next dirty pages, as many as are written at once.
    fn take_runs(&self, store: &dyn PageStore, first: u64, end: u64) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let (mut at, mut left) = (first, WRITTEN_MAX);
        while let Some(run) = self.take_run(at, end, left) {
            at = run.end();
            left -= run.frames.len();
            if run.is_mapped {
                // From here on a store faults, and makes its page dirty again.
                self.mappings.invalidate(run.first, at);
                // Under the lock, so that no write begins to append meanwhile.
                let pages = self.pages.lock();
                zero_tail(store.size(), &pages.appended, &run);
            }
            runs.push(run);
        }
        runs
    }

    /// Gives up what is dirty, as it cannot be written any more: it stays in memory as long as there is room. The error
    /// is told as one of writing back.
    pub fn abandon(&self, errno: Errno) {
        let count = self.pages.lock().clean_all();
        if count > 0 {
            DIRTY.fetch_sub(count, Relaxed);
            self.errors.note(errno);
        }
    }

    /// What who opens the file now knows of errors of writing it back.
    pub fn error_mark(&self) -> ErrorMark {
        self.errors.mark()
    }

    /// Tells of an error of writing back since `mark`, once.
    pub fn tell_error(&self, mark: &ErrorMark) -> Result<(), Errno> {
        self.errors.tell(mark)
    }

    /// Drops what is clean, after somebody else changed the file: it is read again. What is dirty will replace what he wrote.
    pub(crate) fn invalidate(&self) {
        // Pages on their way to the disk are clean already, and what would be read instead is older.
        let _writer = self.writer.lock();
        {
            let mut pages = self.pages.lock();
            let mut next = pages.map.next_present(0);
            while let Some(index) = next {
                let is_dirty = matches!(pages.map.get(index), Some(Slot::Page(page)) if page.is_dirty);
                if !is_dirty {
                    drop(pages.map.remove_range(index, index + 1));
                }
                next = index.checked_add(1).and_then(|index| pages.map.next_present(index));
            }
        }
        self.filled.wake_all();
        self.mappings.invalidate(0, u64::MAX);
    }

    /// Whether there is something to write.
    pub fn is_dirty(&self) -> bool {
        self.pages.lock().dirty != 0
    }

    /// Takes the mark of being dirty from the next pages from `at` on that have it, side by side and at most `count`.
    fn take_run(&self, at: u64, end: u64, count: usize) -> Option<Run> {
        take_dirty(&mut self.pages.lock(), at, end, count)
    }

    /// Makes pages dirty again that could not be written.
    fn keep_dirty(&self, store: &dyn PageStore, runs: &[Run]) {
        for run in runs {
            for (index, frame) in (run.first..).zip(&run.frames) {
                self.mark_dirty(store, index, frame, false);
            }
        }
    }
}

/// Takes the mark of being dirty from the next pages from `at` on that have it, side by side and at most `count`.
fn take_dirty(pages: &mut Pages, at: u64, end: u64, count: usize) -> Option<Run> {
    if pages.dirty == 0 || count == 0 {
        return None;
    }
    let mut run = Run { first: at, frames: Vec::new(), is_mapped: false };
    let mut next = pages.map.next_present(at);
    while let Some(index) = next.filter(|index| *index < end) {
        let is_next = run.frames.is_empty() || index == run.end();
        if run.frames.len() >= count || !is_next {
            break;
        }
        match pages.map.get_mut(index) {
            Some(Slot::Page(page)) if page.is_dirty => {
                if run.frames.is_empty() {
                    run.first = index;
                }
                page.is_dirty = false;
                run.is_mapped |= core::mem::take(&mut page.is_mapped_for_stores);
                run.frames.push(page.frame.clone());
            }
            _ if !run.frames.is_empty() => break,
            _ => {}
        }
        next = index.checked_add(1).and_then(|index| pages.map.next_present(index));
    }
    let count = run.frames.len();
    pages.dirty = pages.dirty.saturating_sub(count as u64);
    depart(count);
    DIRTY.fetch_sub(count, Relaxed);
    (count > 0).then_some(run)
}

/// What a mapping stored behind the end of the file does not go to the disk: it would show when the file grows. What is being
/// appended there stays.
fn zero_tail(size: u64, appended: &Range<u64>, run: &Run) {
    let offset = offset_in_page(size);
    let last = page_of(size).checked_sub(run.first).and_then(|number| usize::try_from(number).ok());
    if offset != 0
        && let Some(frame) = last.and_then(|number| run.frames.get(number))
    {
        let in_page = |at: u64| usize::try_from(at.saturating_sub(size)).unwrap_or(PAGE_SIZE).min(PAGE_SIZE - offset);
        let (start, end) = (in_page(appended.start), in_page(appended.end));
        frame.zero_range(offset, start);
        frame.zero_range(offset + end, PAGE_SIZE - offset - end);
    }
}
