//! munmap, and pages that objects take away.

use abi::Errno;

use super::AddressSpace;
use super::state::State;
use crate::area::{Area, Origin};
use crate::object::{Mappings, PageSet, leaving};
use crate::page_table::{PageCounts, PageKind};
use crate::range::{PageRange, is_page_aligned, page_up};
use crate::reclaim::Effort;
use crate::{PAGE_SIZE, USER_END};

impl AddressSpace {
    /// munmap. Holes in the range are no error.
    pub fn unmap(&self, address: usize, length: usize) -> Result<(), Errno> {
        if !is_page_aligned(address) || address > USER_END || length > USER_END - address || length == 0 {
            return Err(Errno::EINVAL);
        }
        let end = page_up(address + length).ok_or(Errno::EINVAL)?;
        let mut state = self.state();
        let range = PageRange::new(address, end);
        state.check_sealed(range)?;
        let removed = state.remove(range)?;
        drop(state);
        drop(removed);
        leaving::settle();
        Ok(())
    }

    /// Drops the pages that show the pages `first..end` of the object these mappings belong to, and private
    /// copies of them unless `keeps_copies`.
    pub(crate) fn unmap_object_pages(&self, mappings: &Mappings, first: u64, end: u64, keeps_copies: bool) {
        let mut state = self.state();
        state.invalidations += 1;
        let mut at = 0;
        while let Some(area) = state.areas.find_ending_after(at) {
            at = area.range.end();
            let Some(lost) = part_showing(area, mappings, first, end) else { continue };
            if keeps_copies {
                state.drop_object_pages(lost);
            } else {
                state.drop_pages(lost);
            }
        }
    }

    /// Takes away pages that the program has not used lately, of the object these mappings belong to ([`Mappings::take_unused`]).
    pub(crate) fn take_unused_pages(&self, mappings: &Mappings, pages: &PageSet, effort: Effort) {
        let state = if effort.may_wait { Some(self.state()) } else { self.state.try_lock() };
        let Some(mut state) = state else { return };
        let State { areas, page_table, .. } = &mut *state;
        let mut taken = PageCounts::default();
        for area in areas.iter().filter(|area| !area.is_locked()) {
            let Some(part) = part_showing(area, mappings, pages.first(), pages.end()) else { continue };
            let is_wanted = |address| area.object_page(address).is_some_and(|(_, index)| pages.contains(index));
            if !part.is_empty() {
                let of_area = page_table.take_unused(part, effort.takes_used, &is_wanted);
                taken.file += of_area.file;
            }
        }
        state.count_removed(taken);
    }
}

/// The part of an area that shows the pages `first..end` of the object with these mappings. None: the area is not of that object.
fn part_showing(area: &Area, mappings: &Mappings, first: u64, end: u64) -> Option<PageRange> {
    let Origin::Object { object, first_page } = &area.origin else { return None };
    if !object.mappings().is_some_and(|its| core::ptr::eq(its, mappings)) {
        return None;
    }
    let range = area.range;
    let address_of = |page: u64| {
        let pages = page.saturating_sub(*first_page).min(range.pages() as u64);
        usize::try_from(pages).map_or(range.end(), |pages| range.start() + pages * PAGE_SIZE)
    };
    Some(PageRange::new(address_of(first), address_of(end).max(address_of(first))))
}

impl State {
    /// Drops the pages of `range` that are an object's.
    fn drop_object_pages(&mut self, range: PageRange) {
        let mut rest = range;
        while let Some((page, entry)) = self.page_table.next_present(rest) {
            rest = PageRange::new(page + PAGE_SIZE, range.end());
            if entry.kind != PageKind::Anonymous && self.page_table.unmap(page).is_some() {
                self.count_unmapped(entry.kind);
            }
        }
    }
}
