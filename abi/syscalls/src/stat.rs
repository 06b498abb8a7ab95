//! What `stat` and its relatives answer: file attributes, file system figures, file modes.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use crate::layout::abi_struct;

abi_struct! {
    /// `struct stat`.
    pub struct Stat: 144 {
        pub st_dev: u64,
        pub st_ino: u64,
        pub st_nlink: u64,
        pub st_mode: u32,
        pub st_uid: u32,
        pub st_gid: u32,
        pub _pad0: u32,
        pub st_rdev: u64,
        pub st_size: i64,
        pub st_blksize: i64,
        pub st_blocks: i64,
        pub st_atime: i64,
        pub st_atime_nsec: i64,
        pub st_mtime: i64,
        pub st_mtime_nsec: i64,
        pub st_ctime: i64,
        pub st_ctime_nsec: i64,
        pub _unused: [i64; 3],
    }

    /// `struct statx_timestamp`.
    pub struct StatxTimestamp: 16 {
        pub tv_sec: i64,
        pub tv_nsec: u32,
        pub _reserved: i32,
    }

    /// `struct statx`.
    pub struct Statx: 256 {
        pub stx_mask: u32,
        pub stx_blksize: u32,
        pub stx_attributes: u64,
        pub stx_nlink: u32,
        pub stx_uid: u32,
        pub stx_gid: u32,
        pub stx_mode: u16,
        pub _spare0: u16,
        pub stx_ino: u64,
        pub stx_size: u64,
        pub stx_blocks: u64,
        pub stx_attributes_mask: u64,
        pub stx_atime: StatxTimestamp,
        pub stx_btime: StatxTimestamp,
        pub stx_ctime: StatxTimestamp,
        pub stx_mtime: StatxTimestamp,
        pub stx_rdev_major: u32,
        pub stx_rdev_minor: u32,
        pub stx_dev_major: u32,
        pub stx_dev_minor: u32,
        pub stx_mnt_id: u64,
        pub stx_dio_mem_align: u32,
        pub stx_dio_offset_align: u32,
        pub _spare3: [u64; 12],
    }

    /// `struct statfs`.
    pub struct Statfs: 120 {
        pub f_type: i64,
        pub f_bsize: i64,
        pub f_blocks: u64,
        pub f_bfree: u64,
        pub f_bavail: u64,
        pub f_files: u64,
        pub f_ffree: u64,
        pub f_fsid: [i32; 2],
        pub f_namelen: i64,
        pub f_frsize: i64,
        pub f_flags: i64,
        pub _spare: [i64; 4],
    }
}

bitflags::bitflags! {
    /// What a caller of `statx` wants, and what it got.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct StatxMask: u32 {
        const TYPE = 0x1;
        const MODE = 0x2;
        const NLINK = 0x4;
        const UID = 0x8;
        const GID = 0x10;
        const ATIME = 0x20;
        const MTIME = 0x40;
        const CTIME = 0x80;
        const INO = 0x100;
        const SIZE = 0x200;
        const BLOCKS = 0x400;
        const BASIC_STATS = 0x7ff;
        const BTIME = 0x800;
        const MNT_ID = 0x1000;
        const DIOALIGN = 0x2000;
        const MNT_ID_UNIQUE = 0x4000;
        /// Refused with EINVAL.
        const RESERVED = 0x8000_0000;
    }
}

pub const STATX_ATTR_COMPRESSED: u64 = 0x4;
pub const STATX_ATTR_IMMUTABLE: u64 = 0x10;
pub const STATX_ATTR_APPEND: u64 = 0x20;
pub const STATX_ATTR_NODUMP: u64 = 0x40;
pub const STATX_ATTR_ENCRYPTED: u64 = 0x800;
pub const STATX_ATTR_AUTOMOUNT: u64 = 0x1000;
pub const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;
pub const STATX_ATTR_VERITY: u64 = 0x10_0000;
pub const STATX_ATTR_DAX: u64 = 0x20_0000;

pub const S_IFMT: u32 = 0o170_000;
pub const S_IFSOCK: u32 = 0o140_000;
pub const S_IFLNK: u32 = 0o120_000;
pub const S_IFREG: u32 = 0o100_000;
pub const S_IFBLK: u32 = 0o060_000;
pub const S_IFDIR: u32 = 0o040_000;
pub const S_IFCHR: u32 = 0o020_000;
pub const S_IFIFO: u32 = 0o010_000;
pub const S_ISUID: u32 = 0o4000;
pub const S_ISGID: u32 = 0o2000;
pub const S_ISVTX: u32 = 0o1000;
pub const S_IRWXU: u32 = 0o700;
pub const S_IRUSR: u32 = 0o400;
pub const S_IWUSR: u32 = 0o200;
pub const S_IXUSR: u32 = 0o100;
pub const S_IRWXG: u32 = 0o070;
pub const S_IRGRP: u32 = 0o040;
pub const S_IWGRP: u32 = 0o020;
pub const S_IXGRP: u32 = 0o010;
pub const S_IRWXO: u32 = 0o007;
pub const S_IROTH: u32 = 0o004;
pub const S_IWOTH: u32 = 0o002;
pub const S_IXOTH: u32 = 0o001;
/// The bits `chmod` can set.
pub const S_IALLUGO: u32 = 0o7777;

pub const ST_RDONLY: i64 = 0x1;
pub const ST_NOSUID: i64 = 0x2;
pub const ST_NODEV: i64 = 0x4;
pub const ST_NOEXEC: i64 = 0x8;
pub const ST_SYNCHRONOUS: i64 = 0x10;
/// Set in every answer of Linux's `statfs`.
pub const ST_VALID: i64 = 0x20;
pub const ST_NOATIME: i64 = 0x400;
pub const ST_RELATIME: i64 = 0x1000;

pub const TMPFS_MAGIC: i64 = 0x0102_1994;
pub const PROC_SUPER_MAGIC: i64 = 0x9fa0;
pub const SYSFS_MAGIC: i64 = 0x6265_6572;
/// `statfs` type of control groups, version 2.
pub const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
pub const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;
pub const PIPEFS_MAGIC: i64 = 0x5049_5045;
pub const ANON_INODE_FS_MAGIC: i64 = 0x0904_1934;
pub const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// The encoded device number of `st_rdev` and `mknod`, as glibc's `makedev`.
pub const fn make_device(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    ((major & 0xffff_f000) << 32) | ((major & 0xfff) << 8) | ((minor & 0xffff_ff00) << 12) | (minor & 0xff)
}

/// The major number of an encoded device.
#[expect(clippy::cast_possible_truncation, reason = "masked to 32 bits")]
pub const fn device_major(device: u64) -> u32 {
    (((device >> 32) & 0xffff_f000) | ((device >> 8) & 0xfff)) as u32
}

/// The minor number of an encoded device.
#[expect(clippy::cast_possible_truncation, reason = "masked to 32 bits")]
pub const fn device_minor(device: u64) -> u32 {
    (((device >> 12) & 0xffff_ff00) | (device & 0xff)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_round_trip() {
        assert_eq!(make_device(1, 3), 0x103);
        for (major, minor) in [(1, 3), (5, 0), (136, 300), (4095, 1_048_575)] {
            let device = make_device(major, minor);
            assert_eq!((device_major(device), device_minor(device)), (major, minor));
        }
    }
}
