//! The upper half of every address space.
#![expect(clippy::cast_possible_truncation, reason = "addresses have 64 bits on this machine")]

/// All usable physical memory, at a fixed distance.
pub(crate) const DIRECT_MAP: usize = 0xffff_8000_0000_0000;
/// Highest physical address that the direct map reaches.
pub(crate) const DIRECT_MAP_BYTES_MAX: u64 = 64 << 40;
/// Kernel stacks with their guard pages, and device registers.
pub(crate) const RANGES: usize = 0xffff_c000_0000_0000;
/// Bytes of that area: what one entry of the top table covers.
pub(crate) const RANGES_BYTES: usize = 1 << 39;

/// Where the direct map shows physical address `physical`.
pub(crate) fn direct(physical: u64) -> usize {
    debug_assert!(physical < DIRECT_MAP_BYTES_MAX, "physical address outside of the direct map");
    DIRECT_MAP + physical as usize
}

/// The physical address behind an address of the direct map.
pub(crate) fn physical_of_direct(address: usize) -> u64 {
    debug_assert!(address >= DIRECT_MAP, "not in the direct map");
    (address - DIRECT_MAP) as u64
}
