//! Pages that a program is likely to store to next.
//!
//! Who fills fresh memory from one end to the other faults on each page, and the way into the kernel and back costs as
//! much as the page. So after [`RUN_MIN`] stores to missing pages in a row a fault maps [`AHEAD_FIRST`] pages more, and
//! every further one [`AHEAD_MAX`]:
//!
//! 1. Only behind a page that was stored to, in the same area, up to the first page that is there already. So what is
//!    mapped without being used is never more than [`AHEAD_MAX`] pages at the end of a run, which was longer than that.
//! 2. Only of memory that is free: nothing is reclaimed for it, and nobody fails because of it.
//! 3. Not where the program said that it goes about at random (MADV_RANDOM), nor where pages come by use only
//!    (MLOCK_ONFAULT).
//!
//! Two threads that fill memory at the same time break each other's runs and take a fault for each page, as all did
//! before. Linux does the same for the pages of files ("fault-around") and, in other sizes, for anonymous memory.

use super::state::State;
use crate::PAGE_SIZE;
use crate::area::{Area, AreaFlags};
use crate::frame::Frame;
use crate::page_table::{PageKind, Rights};
use crate::range::PageRange;

/// So many stores to missing pages in a row make a run.
const RUN_MIN: u32 = 16;
/// Pages mapped ahead by the first fault that does so, and by those that follow, when the run is longer.
const AHEAD_FIRST: usize = 16;
const AHEAD_MAX: usize = 32;
const _: () = assert!(RUN_MIN as usize >= AHEAD_FIRST && RUN_MIN as usize + AHEAD_FIRST >= AHEAD_MAX);

/// The run of stores that is going on.
#[derive(Default)]
pub(super) struct Run {
    /// The page that would continue it.
    next: usize,
    /// Faults that were part of it.
    faults: u32,
}

impl State {
    /// Notes that a store got `page`, which was missing, a new frame; maps what is likely to follow.
    #[inline]
    pub(super) fn note_store(&mut self, page: usize) {
        self.run.faults = if page == self.run.next { self.run.faults.saturating_add(1) } else { 1 };
        self.run.next = page + PAGE_SIZE;
        if self.run.faults >= RUN_MIN {
            let pages = if self.run.faults == RUN_MIN { AHEAD_FIRST } else { AHEAD_MAX };
            self.run.next = self.map_ahead(self.run.next, pages);
        }
    }

    /// Maps up to `pages` pages from `page` on; answers the first that it leaves out.
    #[inline(never)]
    fn map_ahead(&mut self, page: usize, pages: usize) -> usize {
        let Some(area) = self.areas.find(page).filter(|area| is_filled_in_order(area)) else { return page };
        let rights = area.page_rights();
        let end = area.range.end().min(page + pages * PAGE_SIZE);
        let end = self.page_table.next_present(PageRange::new(page, end)).map_or(end, |(present, _)| present);
        for at in PageRange::new(page, end).page_addresses() {
            let Some(frame) = Frame::allocate_spare_zeroed() else { return at };
            if self.page_table.map(at, frame, rights, PageKind::Anonymous).is_err() {
                return at;
            }
            self.count_mapped(PageKind::Anonymous);
        }
        end
    }
}

/// Whether pages of the area may be there before they are used.
fn is_filled_in_order(area: &Area) -> bool {
    area.is_anonymous()
        && area.rights.contains(Rights::WRITE)
        && !area.flags.intersects(AreaFlags::RANDOM | AreaFlags::LOCK_ON_FAULT)
}
