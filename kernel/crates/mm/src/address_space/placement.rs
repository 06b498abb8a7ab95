//! Where a mapping goes (Linux's `get_unmapped_area`, top-down layout).

use abi::Errno;

use super::request::MapOptions;
use super::state::State;
use crate::range::{PageRange, is_page_aligned, page_down};
use crate::{USER_END, USER_START};

/// Areas by which one search makes the packed part longer.
const STEPS_MAX: usize = 4;
/// Where MAP_32BIT looks.
const LOW_FLOOR: usize = 0x4000_0000;
const LOW_CEILING: usize = 0x8000_0000;

impl State {
    /// The range for a mapping of `len` bytes (whole pages) that is wanted at `address`.
    pub(super) fn place(&mut self, address: usize, len: usize, options: MapOptions) -> Result<PageRange, Errno> {
        if len > USER_END {
            return Err(Errno::ENOMEM);
        }
        if options.intersects(MapOptions::FIXED | MapOptions::FIXED_NOREPLACE) {
            return place_fixed(address, len);
        }
        if let Some(range) = self.place_at_hint(address, len) {
            return Ok(range);
        }
        let room = if options.contains(MapOptions::LOW) {
            self.areas.find_room(len, LOW_FLOOR, LOW_CEILING)
        } else {
            // A full lower part overflows into what lies above the base.
            self.find_room(len).or_else(|| self.areas.find_room(len, USER_START, USER_END))
        };
        let start = room.ok_or(Errno::ENOMEM)?;
        Ok(PageRange::new(start, start + len))
    }

    /// The start of the highest room below the base.
    fn find_room(&mut self, len: usize) -> Option<usize> {
        let (mut below, mut above) = self.areas.around(self.packed_from);
        for _ in 0..STEPS_MAX {
            let Some(area) = below.filter(|area| area.range.end() == self.packed_from && !area.is_stack()) else {
                break;
            };
            self.packed_from = area.range.start();
            (below, above) = self.areas.around(self.packed_from);
        }
        let ceiling = self.packed_from;
        let floor = below.map_or(USER_START, |area| area.range.end());
        // Above the ceiling nothing is free, so if the gap that ends there will do, it is the highest.
        let is_guarded = above.is_some_and(|area| area.guarded_start() < ceiling);
        if !is_guarded && ceiling.saturating_sub(floor) >= len {
            return Some(ceiling - len);
        }
        self.areas.find_room(len, USER_START, ceiling)
    }

    /// The range at the hint, when that is free.
    fn place_at_hint(&self, hint: usize, len: usize) -> Option<PageRange> {
        let start = match page_down(hint) {
            0 => return None,
            page => page.max(USER_START),
        };
        let range = PageRange::from_length(start, len).filter(|range| range.end() <= USER_END)?;
        let above = self.areas.find_ending_after(start);
        above.is_none_or(|area| range.end() <= area.guarded_start()).then_some(range)
    }
}

/// The range at exactly `address`.
fn place_fixed(address: usize, len: usize) -> Result<PageRange, Errno> {
    if address > USER_END - len {
        return Err(Errno::ENOMEM);
    }
    if !is_page_aligned(address) {
        return Err(Errno::EINVAL);
    }
    if address < USER_START {
        return Err(Errno::EPERM);
    }
    Ok(PageRange::new(address, address + len))
}
