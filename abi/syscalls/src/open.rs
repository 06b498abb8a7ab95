//! Opening, descriptors and directory operations: the flags of `open`, `*at`, `fcntl` and relatives.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use crate::layout::abi_struct;

bitflags::bitflags! {
    /// `O_*`. The two access mode bits are no flags: see [`OpenFlags::access_mode`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OpenFlags: u32 {
        const WRONLY = 0o1;
        const RDWR = 0o2;
        const CREAT = 0o100;
        const EXCL = 0o200;
        const NOCTTY = 0o400;
        const TRUNC = 0o1000;
        const APPEND = 0o2000;
        const NONBLOCK = 0o4000;
        const DSYNC = 0o10000;
        const ASYNC = 0o20000;
        const DIRECT = 0o40000;
        const LARGEFILE = 0o100_000;
        const DIRECTORY = 0o200_000;
        const NOFOLLOW = 0o400_000;
        const NOATIME = 0o1_000_000;
        const CLOEXEC = 0o2_000_000;
        /// The bit of `O_SYNC` besides `O_DSYNC`.
        const SYNC_ONLY = 0o4_000_000;
        const SYNC = 0o4_010_000;
        const PATH = 0o10_000_000;
        /// The bit of `O_TMPFILE` besides `O_DIRECTORY`.
        const TMPFILE_ONLY = 0o20_000_000;
        const TMPFILE = 0o20_200_000;
    }
}

/// What an open file may be used for: the low two bits of the open flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessMode {
    /// `O_RDONLY`.
    ReadOnly,
    /// `O_WRONLY`.
    WriteOnly,
    /// `O_RDWR`.
    ReadWrite,
    /// The value 3: neither read nor write, only `ioctl`.
    None,
}

impl AccessMode {
    pub const fn can_read(self) -> bool {
        matches!(self, Self::ReadOnly | Self::ReadWrite)
    }

    pub const fn can_write(self) -> bool {
        matches!(self, Self::WriteOnly | Self::ReadWrite)
    }
}

impl OpenFlags {
    /// The two bits of the access mode.
    pub const O_ACCMODE: u32 = 0o3;

    pub const fn access_mode(self) -> AccessMode {
        match self.bits() & Self::O_ACCMODE {
            0 => AccessMode::ReadOnly,
            1 => AccessMode::WriteOnly,
            2 => AccessMode::ReadWrite,
            _ => AccessMode::None,
        }
    }

    /// Whether reading is asked for, and not `O_PATH`: what [`Self::access_mode`] says, in one comparison.
    pub const fn may_read(self) -> bool {
        self.bits() & (Self::WRONLY.bits() | Self::PATH.bits()) == 0
    }

    /// Whether writing is asked for, and not `O_PATH`. Of the four access modes, the middle ones write.
    pub const fn may_write(self) -> bool {
        (self.bits() & Self::O_ACCMODE).wrapping_add(1) & Self::RDWR.bits() != 0 && !self.contains(Self::PATH)
    }

    /// The flags `F_SETFL` can change.
    pub const fn settable() -> Self {
        Self::APPEND.union(Self::NONBLOCK).union(Self::ASYNC).union(Self::DIRECT).union(Self::NOATIME)
    }
}

bitflags::bitflags! {
    /// `AT_*` flags of the `*at` calls.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct AtFlags: u32 {
        const SYMLINK_NOFOLLOW = 0x100;
        /// To `faccessat2`: check with the effective ids.
        const EACCESS = 0x200;
        /// To `unlinkat`: remove a directory. The same bit as `AT_EACCESS`.
        const REMOVEDIR = 0x200;
        const SYMLINK_FOLLOW = 0x400;
        const NO_AUTOMOUNT = 0x800;
        const EMPTY_PATH = 0x1000;
        const STATX_FORCE_SYNC = 0x2000;
        const STATX_DONT_SYNC = 0x4000;
        const RECURSIVE = 0x8000;
    }

    /// `RENAME_*` of `renameat2`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct RenameFlags: u32 {
        const NOREPLACE = 1;
        const EXCHANGE = 2;
        const WHITEOUT = 4;
    }

    /// `RESOLVE_*` of `openat2`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct ResolveFlags: u64 {
        const NO_XDEV = 0x1;
        const NO_MAGICLINKS = 0x2;
        const NO_SYMLINKS = 0x4;
        const BENEATH = 0x8;
        const IN_ROOT = 0x10;
        const CACHED = 0x20;
    }

    /// What `access` asks for.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct AccessRights: u32 {
        const X_OK = 1;
        const W_OK = 2;
        const R_OK = 4;
    }

    /// `FALLOC_FL_*` of `fallocate`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct FallocateFlags: u32 {
        const KEEP_SIZE = 0x1;
        const PUNCH_HOLE = 0x2;
        const COLLAPSE_RANGE = 0x8;
        const ZERO_RANGE = 0x10;
        const INSERT_RANGE = 0x20;
        const UNSHARE_RANGE = 0x40;
    }

    /// `RWF_*` of `preadv2` and `pwritev2`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct RwFlags: u32 {
        const HIPRI = 0x1;
        const DSYNC = 0x2;
        const SYNC = 0x4;
        const NOWAIT = 0x8;
        const APPEND = 0x10;
        const NOAPPEND = 0x20;
        const NOSIGNAL = 0x100;
    }

    /// `CLOSE_RANGE_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct CloseRangeFlags: u32 {
        const UNSHARE = 2;
        const CLOEXEC = 4;
    }

    /// Flags of `memfd_create`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MemfdFlags: u32 {
        const CLOEXEC = 0x1;
        const ALLOW_SEALING = 0x2;
        const HUGETLB = 0x4;
        const NOEXEC_SEAL = 0x8;
        const EXEC = 0x10;
    }
}

abi_struct! {
    /// `struct open_how`, version 0.
    pub struct OpenHow: 24 {
        pub flags: u64,
        pub mode: u64,
        pub resolve: u64,
    }

    /// `struct cachestat_range`.
    pub struct CachestatRange: 16 {
        pub off: u64,
        pub len: u64,
    }

    /// `struct cachestat`.
    pub struct Cachestat: 40 {
        pub nr_cache: u64,
        pub nr_dirty: u64,
        pub nr_writeback: u64,
        pub nr_evicted: u64,
        pub nr_recently_evicted: u64,
    }

    /// `struct flock`.
    pub struct Flock: 32 {
        pub l_type: i16,
        pub l_whence: i16,
        pub _pad0: i32,
        pub l_start: i64,
        pub l_len: i64,
        pub l_pid: i32,
        pub _pad1: i32,
    }

    /// `struct f_owner_ex`.
    pub struct OwnerEx: 8 {
        pub kind: i32,
        pub pid: i32,
    }

    /// `struct utimbuf`.
    pub struct Utimbuf: 16 {
        pub actime: i64,
        pub modtime: i64,
    }
}

/// `struct open_how` of version 0 has this size; a larger one must be zero beyond it.
pub const OPEN_HOW_SIZE_VER0: usize = 24;

pub const SEEK_SET: u32 = 0;
pub const SEEK_CUR: u32 = 1;
pub const SEEK_END: u32 = 2;
pub const SEEK_DATA: u32 = 3;
pub const SEEK_HOLE: u32 = 4;

pub const F_DUPFD: u32 = 0;
pub const F_GETFD: u32 = 1;
pub const F_SETFD: u32 = 2;
pub const F_GETFL: u32 = 3;
pub const F_SETFL: u32 = 4;
pub const F_GETLK: u32 = 5;
pub const F_SETLK: u32 = 6;
pub const F_SETLKW: u32 = 7;
pub const F_SETOWN: u32 = 8;
pub const F_GETOWN: u32 = 9;
pub const F_SETSIG: u32 = 10;
pub const F_GETSIG: u32 = 11;
pub const F_SETOWN_EX: u32 = 15;
pub const F_GETOWN_EX: u32 = 16;
pub const F_GETOWNER_UIDS: u32 = 17;
pub const F_OFD_GETLK: u32 = 36;
pub const F_OFD_SETLK: u32 = 37;
pub const F_OFD_SETLKW: u32 = 38;
/// Kinds of owners of `F_SETOWN_EX`.
pub const F_OWNER_TID: i32 = 0;
pub const F_OWNER_PID: i32 = 1;
pub const F_OWNER_PGRP: i32 = 2;
pub const F_SETLEASE: u32 = 1024;
pub const F_GETLEASE: u32 = 1025;
pub const F_NOTIFY: u32 = 1026;
pub const F_DUPFD_QUERY: u32 = 1027;
pub const F_CREATED_QUERY: u32 = 1028;
pub const F_DUPFD_CLOEXEC: u32 = 1030;
pub const F_SETPIPE_SZ: u32 = 1031;
pub const F_GETPIPE_SZ: u32 = 1032;
pub const F_ADD_SEALS: u32 = 1033;
pub const F_GET_SEALS: u32 = 1034;
pub const F_GET_RW_HINT: u32 = 1035;
pub const F_SET_RW_HINT: u32 = 1036;

bitflags::bitflags! {
    /// `DN_*`: what `F_NOTIFY` tells of.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct DirectoryEvents: u32 {
        const ACCESS = 0x1;
        const MODIFY = 0x2;
        const CREATE = 0x4;
        const DELETE = 0x8;
        const RENAME = 0x10;
        const ATTRIB = 0x20;
        /// Again and again.
        const MULTISHOT = 1 << 31;
    }
}

pub const FD_CLOEXEC: u32 = 1;

pub const F_SEAL_SEAL: u32 = 0x1;
pub const F_SEAL_SHRINK: u32 = 0x2;
pub const F_SEAL_GROW: u32 = 0x4;
pub const F_SEAL_WRITE: u32 = 0x8;
pub const F_SEAL_FUTURE_WRITE: u32 = 0x10;

pub const F_RDLCK: i16 = 0;
pub const F_WRLCK: i16 = 1;
pub const F_UNLCK: i16 = 2;

pub const LOCK_SH: u32 = 1;
pub const LOCK_EX: u32 = 2;
pub const LOCK_NB: u32 = 4;
pub const LOCK_UN: u32 = 8;
/// A mandatory lock, which there is no longer.
pub const LOCK_MAND: u32 = 32;

pub const POSIX_FADV_NORMAL: u32 = 0;
pub const POSIX_FADV_WILLNEED: u32 = 3;
pub const POSIX_FADV_DONTNEED: u32 = 4;
pub const POSIX_FADV_NOREUSE: u32 = 5;

/// The longest path, with its terminating zero.
pub const PATH_MAX: usize = 4096;
/// The longest name of a directory entry, without the terminating zero.
pub const NAME_MAX: usize = 255;
/// Symbolic links followed in one path walk.
pub const SYMLINKS_MAX: u32 = 40;
/// The bytes a pipe takes in one indivisible piece.
pub const PIPE_BUF: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_modes() {
        assert!(OpenFlags::RDWR.access_mode().can_read());
        assert!(OpenFlags::RDWR.access_mode().can_write());
        assert!(!OpenFlags::empty().access_mode().can_write());
        assert_eq!(OpenFlags::from_bits_retain(3).access_mode(), AccessMode::None);
        assert_eq!(OpenFlags::from_bits(1 << 27), None);
        for bits in (0..4).flat_map(|mode| [mode, mode | OpenFlags::PATH.bits()]) {
            let flags = OpenFlags::from_bits_retain(bits);
            let is_path = flags.contains(OpenFlags::PATH);
            assert_eq!(flags.may_read(), !is_path && flags.access_mode().can_read());
            assert_eq!(flags.may_write(), !is_path && flags.access_mode().can_write());
        }
    }
}
