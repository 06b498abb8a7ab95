//! Flags of mounting, from `linux/mount.h`.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

bitflags::bitflags! {
    /// Flags of `mount` (`MS_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MountCallFlags: u64 {
        const RDONLY = 1;
        const NOSUID = 1 << 1;
        const NODEV = 1 << 2;
        const NOEXEC = 1 << 3;
        const SYNCHRONOUS = 1 << 4;
        const REMOUNT = 1 << 5;
        const MANDLOCK = 1 << 6;
        const DIRSYNC = 1 << 7;
        const NOSYMFOLLOW = 1 << 8;
        const NOATIME = 1 << 10;
        const NODIRATIME = 1 << 11;
        const BIND = 1 << 12;
        const MOVE = 1 << 13;
        const REC = 1 << 14;
        const SILENT = 1 << 15;
        const POSIXACL = 1 << 16;
        const UNBINDABLE = 1 << 17;
        const PRIVATE = 1 << 18;
        const SLAVE = 1 << 19;
        const SHARED = 1 << 20;
        const RELATIME = 1 << 21;
        const KERNMOUNT = 1 << 22;
        const I_VERSION = 1 << 23;
        const STRICTATIME = 1 << 24;
        const LAZYTIME = 1 << 25;
        /// Only the kernel may ask for it.
        const NOUSER = 1 << 31;
        // Linux ignores the bits it does not know.
        const _ = !0;
    }

    /// Flags of `umount2`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct UmountFlags: u32 {
        const FORCE = 1;
        const DETACH = 2;
        const EXPIRE = 4;
        const NOFOLLOW = 8;
    }
}

/// In the upper half of the flags of old programs.
pub const MS_MGC_VAL: u64 = 0xc0ed_0000;
/// Where that stands.
pub const MS_MGC_MSK: u64 = 0xffff_0000;
