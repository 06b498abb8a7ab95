//! Memory before there is a frame allocator: pages handed out upwards from the largest usable region, never returned.
#![expect(clippy::cast_possible_truncation, reason = "addresses have 64 bits on this machine")]

use firmware::MemoryMap;

use super::PAGE_BYTES;

/// What the early page tables reach.
const REACH: u64 = 1 << 30;

/// Hands out zeroed pages. They must be reserved before the frame allocator sees the memory map.
pub(crate) struct EarlyPages {
    start: u64,
    next: u64,
    end: u64,
    /// Added to a physical address to get one that is mapped now.
    offset: usize,
}

impl EarlyPages {
    /// Serves from the largest usable region below 1 GiB; `None` when there is none. In a small machine that is the
    /// memory below the image.
    pub(crate) fn new(map: &MemoryMap) -> Option<EarlyPages> {
        let page = PAGE_BYTES as u64;
        let clipped =
            map.usable().map(|region| (region.start.next_multiple_of(page), region.end.min(REACH) & !(page - 1)));
        let (start, end) = clipped.filter(|(start, end)| start < end).max_by_key(|(start, end)| end - start)?;
        Some(EarlyPages { start, next: start, end, offset: 0 })
    }

    /// From now on physical addresses are reached through the direct map.
    pub(crate) fn use_direct_map(&mut self) {
        self.offset = super::layout::DIRECT_MAP;
    }

    /// Physical address of `count` zeroed pages in a row.
    pub(crate) fn take(&mut self, count: usize) -> Option<u64> {
        let bytes = count.checked_mul(PAGE_BYTES)?;
        let physical = self.next;
        let next = physical.checked_add(bytes as u64)?;
        if next > self.end {
            return None;
        }
        self.next = next;
        // SAFETY: the range lies in usable memory that nobody else has been given, mapped at this offset.
        unsafe { core::ptr::write_bytes((physical as usize + self.offset) as *mut u8, 0, bytes) };
        Some(physical)
    }

    /// Where a page given out can be reached now.
    pub(crate) fn pointer(&self, physical: u64) -> usize {
        physical as usize + self.offset
    }

    /// The physical range given out so far.
    pub(crate) fn taken(&self) -> (u64, u64) {
        (self.start, self.next)
    }
}
