//! [`Pages`]: the pages of a file that are in memory, and which of them are dirty.

use core::ops::Range;

use mm::{Frame, PageSet};

use super::Counted;
use crate::sparse_map::SparseMap;

/// What the map has for a page.
pub(super) enum Slot {
    Page(Page),
    /// It is being read, by the reading with this number.
    Filling(u64),
}

pub(super) struct Page {
    pub(super) frame: Frame,
    pub(super) is_dirty: bool,
    /// A mapping may store in it without a fault.
    pub(super) is_mapped_for_stores: bool,
    _counted: Counted,
}

impl Page {
    pub(super) fn clean(frame: Frame) -> Self {
        Self { frame, is_dirty: false, is_mapped_for_stores: false, _counted: Counted::new() }
    }
}

pub(super) struct Pages {
    pub(super) map: SparseMap<Slot>,
    pub(super) dirty: u64,
    /// Where the next look for pages to drop begins.
    pub(super) hand: u64,
    /// The bytes that a write is about to put in the file, some of them behind its end; empty without one.
    pub(super) appended: Range<u64>,
    /// From here on no page may be read into memory: the file is being rearranged.
    pub(super) frozen_from: u64,
}

/// What a look for pages to drop has found.
pub(super) struct Look {
    pub(super) dropped: u64,
    /// Clean pages that somebody has.
    pub(super) used: PageSet,
    /// The first page behind it.
    pub(super) next: Option<u64>,
}

impl Default for Pages {
    fn default() -> Self {
        Self { map: SparseMap::new(), dirty: 0, hand: 0, appended: 0..0, frozen_from: u64::MAX }
    }
}

impl Pages {
    /// Goes over as many pages from `first` on as a set reaches, and drops those that are clean and that nobody uses, up
    /// to `wanted`.
    pub(super) fn look(&mut self, first: u64, end: u64, wanted: u64) -> Look {
        let mut next = self.map.next_present(first);
        let mut look = Look { dropped: 0, used: PageSet::new(next.unwrap_or(first)), next: None };
        let end = look.used.end().min(end);
        while let Some(index) = next.filter(|index| *index < end && look.dropped < wanted) {
            match self.map.get(index) {
                Some(Slot::Page(page)) if page.is_dirty => {}
                Some(Slot::Page(page)) if !page.frame.is_exclusive() => look.used.add(index),
                Some(Slot::Page(_)) => {
                    drop(self.map.remove_range(index, index + 1));
                    look.dropped += 1;
                }
                Some(Slot::Filling(_)) | None => {}
            }
            next = self.map.next_present(index + 1);
        }
        look.next = next;
        look
    }

    /// Drops up to `wanted` pages of `first..end` that are clean and that nobody uses; how many.
    pub(super) fn drop_clean_in(&mut self, first: u64, end: u64, wanted: u64) -> u64 {
        let pages = self;
        let mut dropped = 0;
        let mut next = pages.map.next_present(first);
        while let Some(index) = next.filter(|index| dropped < wanted && *index < end) {
            let is_unused = match pages.map.get(index) {
                Some(Slot::Page(page)) => !page.is_dirty && page.frame.is_exclusive(),
                _ => false,
            };
            if is_unused {
                drop(pages.map.remove_range(index, index + 1));
                dropped += 1;
            }
            next = index.checked_add(1).and_then(|index| pages.map.next_present(index));
        }
        dropped
    }

    /// Takes the mark of being dirty from all pages; how many had it.
    pub(super) fn clean_all(&mut self) -> usize {
        let mut count = 0;
        let mut next = if self.dirty == 0 { None } else { self.map.next_present(0) };
        while let Some(index) = next {
            if let Some(Slot::Page(page)) = self.map.get_mut(index) {
                count += usize::from(core::mem::take(&mut page.is_dirty));
            }
            next = index.checked_add(1).and_then(|index| self.map.next_present(index));
        }
        self.dirty = 0;
        count
    }

    /// Dirty pages that are not in `first..end`.
    pub(super) fn count_dirty_outside(&self, first: u64, end: u64) -> u64 {
        let mut inside = 0;
        let mut next = if self.dirty == 0 { None } else { self.map.next_present(first) };
        while let Some(index) = next.filter(|index| *index < end) {
            inside += u64::from(matches!(self.map.get(index), Some(Slot::Page(page)) if page.is_dirty));
            next = index.checked_add(1).and_then(|index| self.map.next_present(index));
        }
        self.dirty.saturating_sub(inside)
    }
}
