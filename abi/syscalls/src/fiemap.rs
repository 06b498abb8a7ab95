//! `FS_IOC_FIEMAP`: where the contents of a file are.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use crate::layout::abi_struct;

abi_struct! {
    /// `struct fiemap` without its extents, which follow.
    pub struct Fiemap: 32 {
        pub fm_start: u64,
        pub fm_length: u64,
        pub fm_flags: u32,
        pub fm_mapped_extents: u32,
        pub fm_extent_count: u32,
        pub fm_reserved: u32,
    }

    /// `struct fiemap_extent`.
    pub struct FiemapExtent: 56 {
        pub fe_logical: u64,
        pub fe_physical: u64,
        pub fe_length: u64,
        pub fe_reserved64: [u64; 2],
        pub fe_flags: u32,
        pub fe_reserved: [u32; 3],
    }
}

/// Write what is dirty first.
pub const FIEMAP_FLAG_SYNC: u32 = 0x1;
/// Read all of the map: it is only a hint.
pub const FIEMAP_FLAG_CACHE: u32 = 0x4;

/// Nothing is behind it, of what was asked for.
pub const FIEMAP_EXTENT_LAST: u32 = 0x1;
/// Where it is was not decided.
pub const FIEMAP_EXTENT_UNKNOWN: u32 = 0x2;
/// It waits to be written.
pub const FIEMAP_EXTENT_DELALLOC: u32 = 0x4;
/// There is room, and no data.
pub const FIEMAP_EXTENT_UNWRITTEN: u32 = 0x800;
