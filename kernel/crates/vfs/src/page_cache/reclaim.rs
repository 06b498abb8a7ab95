//! Dropping clean pages of any files: the hand that goes round them ([`mm::reclaim`] has the rules).
//!
//! 1. *The files* that have pages, or had some, are in one list, in the order of their addresses. It keeps none of them alive. A
//!    file whose last user goes while the hand is on it ends here: pages and notes, which may be let go anywhere.
//! 2. *A look* goes over [`PageSet::SPAN`] pages. Clean ones that nobody has but the cache are dropped on the spot. Those that
//!    somebody has are noted, as only the frame's count is known, not who it is. Then, without the lock on the pages, they are
//!    taken out of page tables, and those that nobody has any more are dropped by a second look.
//! 3. *A round* begins where the last walk has stopped, in the list and in the file, so that what was passed over is not passed
//!    over again each time, and every page has a round's time to be used.
//!
//! Locks: the list has the last rank of all that sleep ([`sync::rank::CACHED_FILES`]): whoever holds it waits for nobody.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};

use mm::{Effort, PageSet};
use sync::atomic::{AtomicUsize, Ordering::Relaxed};
use sync::{Mutex, MutexGuard, rank};

use super::pages::Pages;
use super::{DIRTY, FileCache, PageCache};

/// All files that have pages, by their addresses.
static FILES: Mutex<BTreeMap<usize, Weak<FileCache>>> = Mutex::new(rank::CACHED_FILES, BTreeMap::new());
/// The file that the hand is on.
static HAND: AtomicUsize = AtomicUsize::new(0);

/// Drops up to `wanted` clean pages in one round at most; how many.
pub(crate) fn drop_some(wanted: u64, effort: Effort) -> u64 {
    let start = HAND.load(Relaxed);
    let mut dropped = 0;
    for (first, end) in [(start, usize::MAX), (0, start)] {
        let mut at = first;
        while let Some((place, file)) = next_file(at, end) {
            dropped += file.map_or(0, |file| file.drop_some(wanted - dropped, effort));
            if dropped >= wanted {
                HAND.store(place, Relaxed);
                return dropped;
            }
            at = place + 1;
        }
    }
    dropped
}

/// The first file of a part of the list; none if it is just going.
fn next_file(at: usize, end: usize) -> Option<(usize, Option<Arc<FileCache>>)> {
    let files = FILES.lock();
    let (place, file) = files.range(at..end).next()?;
    Some((*place, file.upgrade()))
}

impl PageCache {
    /// Puts the file in the list. To be called before it gets a page.
    #[inline]
    pub(super) fn enlist(&self) {
        if !self.is_listed.load(Relaxed) && !self.is_listed.swap(true, Relaxed) {
            FILES.lock().insert(Arc::as_ptr(&self.0).addr(), Arc::downgrade(&self.0));
        }
    }
}

impl FileCache {
    /// Drops up to `wanted` clean pages, in one round at most; how many.
    pub(super) fn drop_some(&self, wanted: u64, effort: Effort) -> u64 {
        let Some(start) = self.pages_for(effort).map(|pages| pages.hand) else { return 0 };
        let mut dropped = 0;
        for (first, end) in [(start, u64::MAX), (0, start)] {
            let mut next = Some(first);
            while let Some(at) = next.filter(|at| *at < end && dropped < wanted) {
                let Some(mut pages) = self.pages_for(effort) else { return dropped };
                let look = pages.look(at, end, wanted - dropped);
                pages.hand = look.next.unwrap_or(0);
                drop(pages);
                next = look.next;
                dropped += look.dropped;
                if dropped < wanted && !look.used.is_empty() {
                    dropped += self.drop_used(&look.used, wanted - dropped, effort);
                }
            }
        }
        dropped
    }

    /// Drops up to `wanted` of these pages that only mappings have; how many.
    fn drop_used(&self, used: &PageSet, wanted: u64, effort: Effort) -> u64 {
        self.mappings.take_unused(used, effort);
        self.pages_for(effort).map_or(0, |mut pages| pages.drop_clean_in(used.first(), used.end(), wanted))
    }

    fn pages_for(&self, effort: Effort) -> Option<MutexGuard<'_, Pages>> {
        if effort.may_wait { Some(self.pages.lock()) } else { self.pages.try_lock() }
    }
}

impl Drop for FileCache {
    fn drop(&mut self) {
        let dirty = self.pages.get_mut().dirty;
        DIRTY.fetch_sub(usize::try_from(dirty).unwrap_or(0), Relaxed);
        if self.is_listed.load(Relaxed) {
            let _gone = FILES.lock().remove(&core::ptr::from_ref(self).addr());
        }
    }
}

#[cfg(test)]
mod tests;
