//! msync.

use abi::{Errno, MsyncFlags};

use super::AddressSpace;
use crate::range::{PageRange, is_page_aligned, page_up};

impl AddressSpace {
    /// msync. MS_ASYNC and MS_INVALIDATE have nothing to do: there is one copy of every page.
    pub fn synchronize(&self, address: usize, length: usize, flags: MsyncFlags) -> Result<(), Errno> {
        if !MsyncFlags::all().contains(flags)
            || !is_page_aligned(address)
            || flags.contains(MsyncFlags::ASYNC | MsyncFlags::SYNC)
        {
            return Err(Errno::EINVAL);
        }
        // Linux's length wraps to 0 here, which is nothing to do.
        let len = page_up(length).unwrap_or(0);
        let range = PageRange::from_length(address, len).ok_or(Errno::ENOMEM)?;
        let mut at = range.start();
        let mut result = Ok(());
        while at < range.end() {
            let state = self.state();
            let area = state.areas.find_ending_after(at).filter(|area| area.range.start() < range.end());
            let Some(area) = area else { return Err(Errno::ENOMEM) };
            if area.range.start() > at {
                result = Err(Errno::ENOMEM);
            }
            if flags.contains(MsyncFlags::INVALIDATE) && area.is_locked() {
                return Err(Errno::EBUSY);
            }
            let part = area.range.intersection(PageRange::new(at, range.end()));
            at = part.end();
            let object = area
                .object_page(part.start())
                .filter(|_| flags.contains(MsyncFlags::SYNC) && area.is_shared())
                .map(|(object, first)| (object.clone(), first));
            drop(state);
            if let Some((object, first)) = object {
                object.synchronize(first, first + part.pages() as u64)?;
            }
        }
        result
    }
}
