//! The physical memory map: a bounded list of regions with their kinds.
//!
//! [`MemoryMap::normalise`] sorts it and resolves overlaps so that no address is usable unless every region that covers
//! it says so. The list never allocates; a map with more than [`REGIONS_MAX`] regions is cut off (and says so), which can
//! only lose memory that would have been usable, never invent any, because the usable regions are cut first.

/// How many regions a map holds; firmware gives a dozen.
pub const REGIONS_MAX: usize = 128;

/// What a region of physical memory is for (the numbers are those of the E820 call, PVH uses the same).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// Free for the kernel.
    Usable,
    /// Not to be touched.
    Reserved,
    /// ACPI tables, free once they have been read.
    AcpiReclaimable,
    /// ACPI's own storage, to be kept.
    AcpiNvs,
    /// Defective memory.
    Unusable,
    /// Any other number; treated as reserved.
    Other(u32),
}

impl RegionKind {
    /// The kind that the E820 type `number` stands for.
    pub fn from_e820(number: u32) -> Self {
        match number {
            1 => Self::Usable,
            2 => Self::Reserved,
            3 => Self::AcpiReclaimable,
            4 => Self::AcpiNvs,
            5 => Self::Unusable,
            other => Self::Other(other),
        }
    }
}

/// A region `[start, end)` of physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub start: u64,
    /// First address behind the region.
    pub end: u64,
    /// What it is for.
    pub kind: RegionKind,
}

impl Region {
    const EMPTY: Region = Region { start: 0, end: 0, kind: RegionKind::Reserved };

    /// How many bytes it has.
    pub fn len_bytes(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    fn overlaps(&self, start: u64, end: u64) -> bool {
        self.start < end && start < self.end
    }
}

/// The list of regions.
#[derive(Clone, Debug)]
pub struct MemoryMap {
    regions: [Region; REGIONS_MAX],
    count: usize,
    is_truncated: bool,
}

impl Default for MemoryMap {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryMap {
    /// An empty map.
    pub const fn new() -> Self {
        Self { regions: [Region::EMPTY; REGIONS_MAX], count: 0, is_truncated: false }
    }

    /// Adds a region; an empty one is ignored, one that wraps is cut at the top of the address space. When the map is
    /// full, a usable region is dropped for a region of another kind, else the new one is dropped.
    pub fn push(&mut self, start: u64, len_bytes: u64, kind: RegionKind) {
        if len_bytes == 0 {
            return;
        }
        let region = Region { start, end: start.saturating_add(len_bytes), kind };
        if let Some(slot) = self.regions.get_mut(self.count) {
            *slot = region;
            self.count += 1;
            return;
        }
        self.is_truncated = true;
        if kind != RegionKind::Usable
            && let Some(slot) = self.regions.iter_mut().rev().find(|region| region.kind == RegionKind::Usable)
        {
            *slot = region;
        }
    }

    /// The regions in the order of the firmware, or sorted after [`Self::normalise`].
    pub fn regions(&self) -> &[Region] {
        self.regions.get(..self.count).unwrap_or_default()
    }

    /// Whether regions were dropped for want of room.
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// The usable regions.
    pub fn usable(&self) -> impl Iterator<Item = Region> + '_ {
        self.regions().iter().copied().filter(|region| region.kind == RegionKind::Usable)
    }

    /// Bytes in usable regions.
    pub fn usable_bytes(&self) -> u64 {
        self.usable().fold(0u64, |sum, region| sum.saturating_add(region.len_bytes()))
    }

    /// First address behind the highest usable region.
    pub fn usable_end(&self) -> u64 {
        self.usable().map(|region| region.end).max().unwrap_or(0)
    }

    /// Whether any region, of any kind, touches `[start, end)`.
    pub fn overlaps_any(&self, start: u64, end: u64) -> bool {
        self.regions().iter().any(|region| region.overlaps(start, end))
    }

    /// Sorts the map and makes the usable regions disjoint from all others and from each other.
    pub fn normalise(&mut self) {
        let mut result = MemoryMap { is_truncated: self.is_truncated, ..MemoryMap::new() };
        for region in self.regions().iter().filter(|region| region.kind != RegionKind::Usable) {
            result.push(region.start, region.len_bytes(), region.kind);
        }
        for region in self.usable() {
            result.push_uncovered(region);
        }
        let count = result.count;
        if let Some(regions) = result.regions.get_mut(..count) {
            regions.sort_unstable_by_key(|region| (region.start, region.end));
        }
        *self = result;
    }

    /// Takes `[start, end)` out of the usable regions (memory that boot code has already given away).
    pub fn reserve(&mut self, start: u64, end: u64) {
        if start < end {
            self.push(start, end - start, RegionKind::Reserved);
            self.normalise();
        }
    }

    /// Adds the parts of a usable region that nothing in the map covers yet.
    fn push_uncovered(&mut self, region: Region) {
        let mut start = region.start;
        while start < region.end {
            let covered_until = self.regions().iter().filter(|other| other.start <= start && start < other.end);
            if let Some(end) = covered_until.map(|other| other.end).max() {
                start = end;
                continue;
            }
            let starts = self.regions().iter().map(|other| other.start).filter(|other| *other > start);
            let end = starts.min().unwrap_or(region.end).min(region.end);
            self.push(start, end - start, RegionKind::Usable);
            start = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable(map: &MemoryMap) -> Vec<(u64, u64)> {
        map.usable().map(|region| (region.start, region.end)).collect()
    }

    #[test]
    fn reserved_regions_win_over_usable_ones() {
        let mut map = MemoryMap::new();
        map.push(0x10_0000, 0xf0_0000, RegionKind::Usable);
        map.push(0x20_0000, 0x1000, RegionKind::Reserved);
        map.push(0, 0x9_fc00, RegionKind::Usable);
        map.push(0x9_f000, 0x1000, RegionKind::AcpiNvs);
        map.push(0, 0, RegionKind::Usable);
        map.normalise();
        assert_eq!(usable(&map), [(0, 0x9_f000), (0x10_0000, 0x20_0000), (0x20_1000, 0x100_0000)]);
        assert_eq!(map.usable_end(), 0x100_0000);
    }

    #[test]
    fn overlapping_usable_regions_are_counted_once() {
        let mut map = MemoryMap::new();
        map.push(0x1000, 0x4000, RegionKind::Usable);
        map.push(0x2000, 0x1000, RegionKind::Usable);
        map.push(0x3000, 0x5000, RegionKind::Usable);
        map.normalise();
        assert_eq!(map.usable_bytes(), 0x7000);
    }

    #[test]
    fn reserving_splits() {
        let mut map = MemoryMap::new();
        map.push(0x1000, 0x9000, RegionKind::Usable);
        map.reserve(0x3000, 0x4000);
        map.reserve(0x9000, 0x20000);
        map.reserve(5, 5);
        assert_eq!(usable(&map), [(0x1000, 0x3000), (0x4000, 0x9000)]);
        assert!(map.overlaps_any(0x1f000, 0x20000));
        assert!(!map.overlaps_any(0x20000, 0x30000));
    }

    #[test]
    fn a_wrapping_region_is_cut() {
        let mut map = MemoryMap::new();
        map.push(u64::MAX - 10, 100, RegionKind::Usable);
        map.normalise();
        assert_eq!(map.usable_end(), u64::MAX);
    }

    #[test]
    fn a_full_map_keeps_what_is_reserved() {
        let mut map = MemoryMap::new();
        for index in 0..REGIONS_MAX as u64 {
            map.push(index * 0x2000, 0x1000, RegionKind::Usable);
        }
        map.push(0, 0x1000, RegionKind::Reserved);
        assert!(map.is_truncated());
        map.normalise();
        assert!(map.usable().all(|region| region.start >= 0x1000));
    }
}
