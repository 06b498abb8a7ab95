//! What programs and /proc ask: mincore, the list of areas, sizes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;

use super::AddressSpace;
use super::request::{AreaSnapshot, Usage};
use super::state::State;
use crate::area::{Area, AreaFlags, Origin};
use crate::object::MappedObject;
use crate::range::{PageRange, is_page_aligned, page_up};
use crate::{PAGE_SHIFT, USER_END};

impl AddressSpace {
    /// mincore for at most one batch: 1 for each page of the range that is in memory, else 0. The caller copies
    /// it out in batches, so that a long range needs no long answer.
    pub fn residency(&self, address: usize, length: usize) -> Result<Vec<u8>, Errno> {
        if !is_page_aligned(address) {
            return Err(Errno::EINVAL);
        }
        if address > USER_END || length > USER_END - address {
            return Err(Errno::ENOMEM);
        }
        let len = page_up(length).ok_or(Errno::ENOMEM)?;
        let range = PageRange::new(address, address + len);
        let state = self.state();
        let mut residency = Vec::with_capacity(range.pages());
        for page in range.page_addresses() {
            let area = state.areas.find(page).ok_or(Errno::ENOMEM)?;
            residency.push(u8::from(state.is_resident(area, page)));
        }
        Ok(residency)
    }

    /// The areas in address order.
    #[must_use]
    pub fn areas(&self) -> Vec<AreaSnapshot> {
        let mut objects: Vec<Option<Arc<dyn MappedObject>>> = Vec::new();
        let mut snapshots = Vec::new();
        {
            let state = self.state();
            snapshots.reserve(state.areas.len());
            objects.reserve(state.areas.len());
            for area in state.areas.iter() {
                snapshots.push(state.snapshot(area));
                objects.push(area.object_page(area.range.start()).map(|(object, _)| object.clone()));
            }
        }
        // Names are the objects' business, which may need their locks.
        for (snapshot, object) in snapshots.iter_mut().zip(objects) {
            if let Some(object) = object {
                snapshot.name = object.name();
                (snapshot.device, snapshot.inode) = object.device_and_inode();
            }
        }
        snapshots
    }

    /// What is mapped by the area that has exactly these addresses, if anything is.
    pub fn object_of(&self, range: PageRange) -> Option<Arc<dyn MappedObject>> {
        let state = self.state();
        let area = state.areas.find(range.start()).filter(|area| area.range == range)?;
        area.object_page(range.start()).map(|(object, _)| object.clone())
    }

    /// Counts the most that is ever resident anew from now on.
    pub fn forget_resident_max(&self) {
        self.state().usage.resident_max = 0;
    }

    /// Sizes.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = self.state().usage;
        usage.mapped_max = usage.mapped_max.max(usage.mapped);
        usage.resident_max = usage.resident_max.max(usage.resident());
        usage
    }
}

impl State {
    /// Whether an access to `page` of `area` would find the contents in memory.
    fn is_resident(&self, area: &Area, page: usize) -> bool {
        self.page_table.lookup(page).is_some()
            || area.object_page(page).is_some_and(|(object, index)| object.is_resident(index))
    }

    /// The area as it is shown, but for what its object says.
    fn snapshot(&self, area: &Area) -> AreaSnapshot {
        let range = area.range;
        let is_heap = range.start() < self.heap.end && range.end() > self.heap.start;
        let is_stack = range.start() <= self.stack_start && self.stack_start <= range.end();
        let name: &[u8] = match area.origin {
            Origin::Object { .. } => b"",
            Origin::Anonymous if area.is_stubs() => b"[stubs]",
            Origin::Anonymous if is_heap => b"[heap]",
            Origin::Anonymous if is_stack => b"[stack]",
            Origin::Anonymous => b"",
        };
        let offset = match area.origin {
            Origin::Anonymous => 0,
            Origin::Object { first_page, .. } => first_page << PAGE_SHIFT,
        };
        AreaSnapshot {
            range,
            rights: area.rights,
            rights_max: area.rights_max,
            is_shared: area.is_shared(),
            offset,
            device: 0,
            inode: 0,
            is_dumped: !area.flags.contains(AreaFlags::DONT_DUMP),
            name: name.to_vec(),
        }
    }
}
