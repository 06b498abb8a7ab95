//! Paging ranges in ahead of use: MAP_POPULATE, mlock, MADV_POPULATE_READ and _WRITE.

use abi::Errno;

use super::AddressSpace;
use super::fault::{Fetch, Outcome};
use super::request::{Access, FaultError};
use crate::PAGE_SIZE;
use crate::page_table::Rights;
use crate::range::PageRange;
use crate::reclaim;

/// Pages handled between two looks of others at the mutex.
const BATCH_MAX: usize = 64;

/// How pages are paged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    /// As a store would where the area is private and writable, as a load would elsewhere.
    Natural,
    /// As a load would.
    Read,
    /// As a store would.
    Write,
}

impl AddressSpace {
    /// Pages a range in, up to the first page that cannot be had.
    pub fn populate(&self, range: PageRange) -> Result<(), FaultError> {
        self.touch_range(range, Touch::Natural)
    }

    /// Pages a range in.
    pub(super) fn touch_range(&self, range: PageRange, touch: Touch) -> Result<(), FaultError> {
        let mut at = range.start();
        while at < range.end() {
            match self.touch_some(PageRange::new(at, range.end()), touch) {
                Ok(next) => at = next,
                Err(FaultError::OutOfMemory) if reclaim::wait_for() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Pages in the beginning of a range. Returns where it stopped.
    fn touch_some(&self, range: PageRange, touch: Touch) -> Result<usize, FaultError> {
        let (next, fetch) = self.touch_batch(range, touch)?;
        let is_done = match fetch {
            Some(fetch) => self.complete(fetch)?.0,
            None => false,
        };
        Ok(if is_done { next + PAGE_SIZE } else { next })
    }

    /// Pages in what needs no object. Returns where it stopped, and what to fetch for that page.
    fn touch_batch(&self, range: PageRange, touch: Touch) -> Result<(usize, Option<Fetch>), FaultError> {
        let mut state = self.state();
        for page in range.page_addresses().take(BATCH_MAX) {
            let area = state.areas.find(page).ok_or(FaultError::Unmapped)?;
            let is_store = match touch {
                Touch::Natural => area.rights.contains(Rights::WRITE) && !area.is_shared(),
                Touch::Read if !area.rights.contains(Rights::READ) => return Err(FaultError::Rights),
                Touch::Read => false,
                Touch::Write => true,
            };
            let access = if is_store { Access::Write } else { Access::Read };
            if state.fault(page, access)? == Outcome::Fetch {
                return Ok((page, Some(state.fetch(page, access)?)));
            }
        }
        Ok((range.start() + range.pages().min(BATCH_MAX) * PAGE_SIZE, None))
    }

    /// MADV_POPULATE_READ and MADV_POPULATE_WRITE.
    pub(super) fn advise_populate(&self, range: PageRange, touch: Touch) -> Result<(), Errno> {
        self.touch_range(range, touch).map_err(|error| match error {
            FaultError::Unmapped | FaultError::OutOfMemory => Errno::ENOMEM,
            FaultError::Rights => Errno::EINVAL,
            FaultError::BeyondEnd => Errno::EFAULT,
        })
    }
}
