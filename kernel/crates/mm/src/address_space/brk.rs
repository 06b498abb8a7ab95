//! brk: the heap.

use super::AddressSpace;
use super::state::State;
use crate::area::map::Taken;
use crate::area::{Area, AreaFlags, Origin};
use crate::page_table::Rights;
use crate::range::{PageRange, page_up};
use crate::{PAGE_SIZE, USER_END};

const HEAP_RIGHTS: Rights = Rights::READ.union(Rights::WRITE);

/// Where the heap is. Neither end need be page aligned; no heap begins at 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heap {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Heap {
    /// An empty heap.
    pub(super) fn at(start: usize) -> Self {
        Self { start, end: start }
    }
}

impl AddressSpace {
    /// brk: the new break, or the old one when `new_break` cannot be had.
    pub fn brk(&self, new_break: usize) -> usize {
        let mut state = self.state();
        let (removed, grown) = state.brk(new_break).unwrap_or_default();
        let result = state.heap.end;
        let is_locked = state.lock_future.populates();
        drop(state);
        drop(removed);
        if let Some(grown) = grown.filter(|_| is_locked) {
            let _ = self.populate(grown);
        }
        result
    }

    /// Where the heap begins and ends (the program's break).
    #[must_use]
    pub fn heap(&self) -> (usize, usize) {
        let heap = self.state().heap;
        (heap.start, heap.end)
    }
}

impl State {
    /// Moves the break. None: it stays. Returns what was removed, and the new part of the heap.
    fn brk(&mut self, new_break: usize) -> Option<(Taken, Option<PageRange>)> {
        let Heap { start, end } = self.heap;
        if start == 0 || new_break < start || (new_break - start) as u64 > self.limits.data {
            return None;
        }
        let old_page = page_up(end)?;
        let new_page = page_up(new_break).filter(|page| *page <= USER_END)?;
        let mut removed = Taken::default();
        let mut grown = None;
        if new_page < old_page {
            removed = self.remove(PageRange::new(new_page, old_page)).ok()?;
        } else if new_page > old_page {
            let range = PageRange::new(old_page, new_page);
            self.grow_heap(range)?;
            grown = Some(range);
        }
        self.heap.end = new_break;
        Some((removed, grown))
    }

    /// Maps the next part of the heap. As on Linux a page stays free above it.
    fn grow_heap(&mut self, range: PageRange) -> Option<()> {
        let flags = self.lock_future.flags();
        let above = self.areas.find_ending_after(range.start());
        let is_free = above.is_none_or(|area| range.end() + PAGE_SIZE <= area.guarded_start());
        let is_allowed = is_free
            && self.may_grow(HEAP_RIGHTS, flags, range.pages())
            && (!flags.contains(AreaFlags::LOCKED) || self.may_lock(range.pages()));
        if !is_allowed {
            return None;
        }
        self.check_area_count(0).ok()?;
        self.check_overcommit(HEAP_RIGHTS, flags, range.pages()).ok()?;
        let origin = Origin::Anonymous;
        self.insert_area(Area { range, rights: HEAP_RIGHTS, rights_max: Rights::all(), flags, origin });
        Some(())
    }
}
