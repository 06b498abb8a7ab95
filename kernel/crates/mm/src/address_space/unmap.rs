//! munmap, and pages that objects take away.

use abi::Errno;

use super::AddressSpace;
use super::state::State;
use crate::area::Origin;
use crate::object::Mappings;
use crate::page_table::PageKind;
use crate::range::{PageRange, is_page_aligned, page_up};
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
        Ok(())
    }

    /// Drops the pages that show the pages `first..end` of the object these mappings belong to, and private
    /// copies of them unless `keeps_copies`.
    pub(crate) fn unmap_object_pages(&self, mappings: &Mappings, first: u64, end: u64, keeps_copies: bool) {
        let mut state = self.state();
        state.invalidations += 1;
        let mut at = 0;
        while let Some(area) = state.areas.find_ending_after(at) {
            let range = area.range;
            at = range.end();
            let Origin::Object { object, first_page } = &area.origin else { continue };
            if !object.mappings().is_some_and(|its| core::ptr::eq(its, mappings)) {
                continue;
            }
            let address_of = |page: u64| {
                let pages = page.saturating_sub(*first_page).min(range.pages() as u64);
                usize::try_from(pages).map_or(range.end(), |pages| range.start() + pages * PAGE_SIZE)
            };
            let lost = PageRange::new(address_of(first), address_of(end).max(address_of(first)));
            if keeps_copies {
                state.drop_object_pages(lost);
            } else {
                state.drop_pages(lost);
            }
        }
    }
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
