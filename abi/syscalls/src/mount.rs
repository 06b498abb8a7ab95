//! Flags of mounting, from `linux/mount.h`.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use crate::layout::abi_struct;

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

bitflags::bitflags! {
    /// `MOUNT_ATTR_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MountAttributeFlags: u64 {
        const RDONLY = 0x1;
        const NOSUID = 0x2;
        const NODEV = 0x4;
        const NOEXEC = 0x8;
        const NOATIME = 0x10;
        const STRICTATIME = 0x20;
        /// The field that the two before are values of; 0 is `RELATIME`.
        const ATIME = 0x70;
        const NODIRATIME = 0x80;
        const IDMAP = 0x10_0000;
        const NOSYMFOLLOW = 0x20_0000;
    }

    /// `MOVE_MOUNT_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MoveMountFlags: u32 {
        const F_SYMLINKS = 0x1;
        const F_AUTOMOUNTS = 0x2;
        const F_EMPTY_PATH = 0x4;
        const T_SYMLINKS = 0x10;
        const T_AUTOMOUNTS = 0x20;
        const T_EMPTY_PATH = 0x40;
        const SET_GROUP = 0x100;
        const BENEATH = 0x200;
    }

    /// Flags of `open_tree`: its own, and those of other calls that it takes.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OpenTreeFlags: u32 {
        const CLONE = 0x1;
        const SYMLINK_NOFOLLOW = 0x100;
        const NO_AUTOMOUNT = 0x800;
        const EMPTY_PATH = 0x1000;
        const RECURSIVE = 0x8000;
        const CLOEXEC = 0o200_0000;
    }

    /// `FSPICK_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PickFlags: u32 {
        const CLOEXEC = 0x1;
        const SYMLINK_NOFOLLOW = 0x2;
        const NO_AUTOMOUNT = 0x4;
        const EMPTY_PATH = 0x8;
    }
}

/// `FSCONFIG_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigCommand {
    SetFlag,
    SetString,
    SetBinary,
    SetPath,
    SetPathEmpty,
    SetFd,
    Create,
    Reconfigure,
    CreateExclusive,
}

impl ConfigCommand {
    /// The command with this number.
    pub fn from_raw(number: u32) -> Option<Self> {
        const ALL: [ConfigCommand; 9] = [
            ConfigCommand::SetFlag,
            ConfigCommand::SetString,
            ConfigCommand::SetBinary,
            ConfigCommand::SetPath,
            ConfigCommand::SetPathEmpty,
            ConfigCommand::SetFd,
            ConfigCommand::Create,
            ConfigCommand::Reconfigure,
            ConfigCommand::CreateExclusive,
        ];
        ALL.get(usize::try_from(number).ok()?).copied()
    }
}

abi_struct! {
    /// `struct mount_attr`.
    pub struct MountAttributes: 32 {
        pub attr_set: u64,
        pub attr_clr: u64,
        pub propagation: u64,
        pub userns_fd: u64,
    }
}

/// In the upper half of the flags of old programs.
pub const MS_MGC_VAL: u64 = 0xc0ed_0000;
/// Where that stands.
pub const MS_MGC_MSK: u64 = 0xffff_0000;
