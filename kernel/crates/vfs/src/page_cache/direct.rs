//! Reads and writes that leave no pages behind (`O_DIRECT`), and advice about pages.
//!
//! A direct read takes pages that are in memory from there, so it sees what was written, and others from the disk without
//! keeping them. A direct write goes through pages as any other, is written to the disk before it returns, and its pages are dropped:
//! so it agrees with mappings, and with reads at the same time.

use alloc::vec::Vec;

use abi::Errno;
use mm::user::UserWriter;
use mm::{Frame, PAGE_SIZE};
use sync::atomic::Ordering::SeqCst;

use super::{PageCache, PageStore};
use crate::page_copy::{PAGE, copy_out, min_len, offset_in_page, page_of};

/// The most pages a direct read has in memory at once.
const DIRECT_PAGES_MAX: u64 = 32;
/// The most pages that one piece of advice reads.
const ADVISED_PAGES_MAX: u64 = 512;

impl PageCache {
    /// As [`PageCache::read`], but keeps no page that was not there. `lock` takes the inode's lock: under it nobody rearranges the
    /// file, of which all that is read shows one state.
    pub fn read_direct<L>(
        &self,
        store: &dyn PageStore,
        position: u64,
        to: &mut UserWriter<'_>,
        lock: impl FnOnce() -> L,
    ) -> Result<usize, Errno> {
        let before = self.rearranged.load(SeqCst);
        if before.is_multiple_of(2) {
            let result = self.read_past_cache(store, position, &mut to.again());
            if self.rearranged.load(SeqCst) == before {
                return result.inspect(|done| to.skip(*done));
            }
        }
        let _lock = lock();
        self.read_past_cache(store, position, to)
    }

    fn read_past_cache(&self, store: &dyn PageStore, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        let mut done = 0;
        let mut frames: Vec<Frame> = Vec::new();
        let mut first_of_frames = 0;
        while !to.is_full() {
            let at = position.saturating_add(done as u64);
            let left = store.size().saturating_sub(at);
            if left == 0 {
                break;
            }
            let (index, offset) = (page_of(at), offset_in_page(at));
            let len = min_len((PAGE_SIZE - offset).min(to.remaining()), left);
            let copied = match self.present(index) {
                Some(frame) => copy_out(&frame, offset, to, len),
                None => {
                    let has = index.checked_sub(first_of_frames).and_then(|number| usize::try_from(number).ok());
                    match has.and_then(|number| frames.get(number)) {
                        Some(frame) => copy_out(frame, offset, to, len),
                        None => {
                            let wanted =
                                page_of(at.saturating_add(min_len(to.remaining(), left) as u64 - 1)) + 1 - index;
                            frames = self.read_absent(store, index, wanted)?;
                            first_of_frames = index;
                            continue;
                        }
                    }
                }
            };
            match copied {
                Ok(copied) => done += copied,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Reads up to `wanted` pages that are not in memory from the disk.
    fn read_absent(&self, store: &dyn PageStore, first: u64, wanted: u64) -> Result<Vec<Frame>, Errno> {
        let wanted = wanted.clamp(1, DIRECT_PAGES_MAX);
        let absent = (first..first + wanted).take_while(|index| !self.is_resident(*index)).count().max(1);
        let mut frames = Vec::with_capacity(absent);
        for number in 0..absent {
            match Frame::allocate() {
                Ok(frame) => frames.push(frame),
                Err(errno) if number == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        store.read_pages(first, &frames)?;
        Ok(frames)
    }

    /// Writes the pages of what was just written to the disk, and drops them.
    pub fn finish_direct(&self, store: &dyn PageStore, position: u64, len: usize) -> Result<(), Errno> {
        let (first, end) = (page_of(position), position.saturating_add(len as u64).div_ceil(PAGE));
        self.write_back(store, first, end)?;
        self.drop_range(first, end);
        Ok(())
    }

    /// Drops the pages of a range that are clean and that nobody uses.
    pub fn drop_range(&self, first: u64, end: u64) {
        let mut pages = self.pages.lock();
        let _ = pages.drop_clean_in(first, end, u64::MAX);
    }

    /// Reads pages that will be needed, as far as that is reasonable at once.
    pub fn read_ahead(&self, store: &dyn PageStore, first: u64, end: u64) -> Result<(), Errno> {
        let end = end.min(store.size().div_ceil(PAGE)).min(first.saturating_add(ADVISED_PAGES_MAX));
        for index in first..end {
            self.frame(store, index)?;
        }
        Ok(())
    }
}

/// Whether a transfer has the alignment that `O_DIRECT` asks for.
pub(crate) fn check_aligned(position: u64, memory: usize, alignment: usize) -> Result<(), Errno> {
    let is_aligned = position.is_multiple_of(alignment as u64) && memory.is_multiple_of(alignment);
    if is_aligned { Ok(()) } else { Err(Errno::EINVAL) }
}
