//! Directory entries as `getdents64` packs them.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The fixed part of `struct linux_dirent64`; the name and its terminating zero follow, padded to 8 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub struct LinuxDirent64 {
    pub d_ino: u64,
    pub d_off: i64,
    pub d_reclen: u16,
    pub d_type: u8,
}

const _: () = assert!(size_of::<LinuxDirent64>() == 19, "the offset of d_name");

/// The fixed part of `struct linux_dirent`; the name, its zero, and at the very end the type byte follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub struct LinuxDirent {
    pub d_ino: u64,
    pub d_off: u64,
    pub d_reclen: u16,
}

const _: () = assert!(size_of::<LinuxDirent>() == 18, "the offset of d_name");

impl LinuxDirent64 {
    /// The bytes a whole record takes for a name of this length.
    pub const fn record_length(name_length: usize) -> usize {
        (size_of::<Self>() + name_length + 1).next_multiple_of(8)
    }
}

pub const DT_UNKNOWN: u8 = 0;
pub const DT_FIFO: u8 = 1;
pub const DT_CHR: u8 = 2;
pub const DT_DIR: u8 = 4;
pub const DT_BLK: u8 = 6;
pub const DT_REG: u8 = 8;
pub const DT_LNK: u8 = 10;
pub const DT_SOCK: u8 = 12;

/// The entry type for a file mode.
pub const fn type_of_mode(mode: u32) -> u8 {
    ((mode >> 12) & 15) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_modes() {
        assert_eq!(type_of_mode(crate::stat::S_IFDIR | 0o755), DT_DIR);
        assert_eq!(type_of_mode(crate::stat::S_IFSOCK), DT_SOCK);
        assert_eq!(LinuxDirent64::record_length(1), 24);
        assert_eq!(LinuxDirent64::record_length(5), 32);
    }
}
