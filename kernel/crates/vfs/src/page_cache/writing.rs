//! Writing dirty pages back.

use alloc::vec::Vec;

use abi::Errno;
use mm::{Frame, PAGE_SIZE};
use sync::atomic::Ordering::Relaxed;

use super::{DIRTY, PageCache, PageStore, Slot, offset_in_page, page_of};

/// The most pages on their way to the disk at once, in one file.
const RUN_MAX: usize = 256;

/// Pages side by side that are about to be written.
struct Run {
    first: u64,
    frames: Vec<Frame>,
    /// Whether a mapping may store in one of them.
    is_mapped: bool,
}

impl PageCache {
    /// Writes the dirty pages of `first..end` and waits for them. They are not stable before the disk is flushed.
    pub fn write_back(&self, store: &dyn PageStore, first: u64, end: u64) -> Result<(), Errno> {
        let _writer = self.writer.lock();
        let mut at = first;
        let mut result = Ok(());
        while let Some(run) = self.take_run(at, end) {
            at = run.first + run.frames.len() as u64;
            if run.is_mapped {
                // From here on a store faults, and makes its page dirty again.
                self.mappings.invalidate(run.first, at);
            }
            zero_tail(store.size(), &run);
            if let Err(errno) = store.write_pages(run.first, &run.frames) {
                self.keep_dirty(store, &run);
                self.error.store(errno as u32, Relaxed);
                result = Err(errno);
            }
        }
        result
    }

    /// As [`PageCache::write_back`] of the whole file; also tells of an error of an earlier writing back, once.
    pub fn synchronize(&self, store: &dyn PageStore) -> Result<(), Errno> {
        self.write_back(store, 0, u64::MAX)?;
        match self.error.swap(0, Relaxed) {
            0 => Ok(()),
            number => Err(u16::try_from(number).ok().and_then(Errno::from_raw).unwrap_or(Errno::EIO)),
        }
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

    /// Takes the mark of being dirty from the next pages from `at` on that have it, side by side.
    fn take_run(&self, at: u64, end: u64) -> Option<Run> {
        let mut pages = self.pages.lock();
        if pages.dirty == 0 {
            return None;
        }
        let mut run = Run { first: at, frames: Vec::new(), is_mapped: false };
        let mut next = pages.map.next_present(at);
        while let Some(index) = next.filter(|index| *index < end) {
            let is_next = run.frames.is_empty() || index == run.first + run.frames.len() as u64;
            if run.frames.len() >= RUN_MAX || !is_next {
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
        drop(pages);
        DIRTY.fetch_sub(count, Relaxed);
        (count > 0).then_some(run)
    }

    /// Makes pages dirty again that could not be written.
    fn keep_dirty(&self, store: &dyn PageStore, run: &Run) {
        for (index, frame) in (run.first..).zip(&run.frames) {
            self.mark_dirty(store, index, frame, false);
        }
    }
}

/// What a mapping stored behind the end of the file does not go to the disk: it would show when the file grows.
fn zero_tail(size: u64, run: &Run) {
    let offset = offset_in_page(size);
    let last = page_of(size).checked_sub(run.first).and_then(|number| usize::try_from(number).ok());
    if offset != 0
        && let Some(frame) = last.and_then(|number| run.frames.get(number))
    {
        frame.zero_range(offset, PAGE_SIZE - offset);
    }
}
