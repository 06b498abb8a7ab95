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

bitflags::bitflags! {
    /// `STATMOUNT_*`: what to tell of a mount, and what was told.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct StatmountMask: u64 {
        const SB_BASIC = 0x1;
        const MNT_BASIC = 0x2;
        const PROPAGATE_FROM = 0x4;
        const MNT_ROOT = 0x8;
        const MNT_POINT = 0x10;
        const FS_TYPE = 0x20;
        const MNT_NS_ID = 0x40;
        const MNT_OPTS = 0x80;
        const FS_SUBTYPE = 0x100;
        const SB_SOURCE = 0x200;
        const OPT_ARRAY = 0x400;
        const OPT_SEC_ARRAY = 0x800;
        const SUPPORTED_MASK = 0x1000;
        const MNT_UIDMAP = 0x2000;
        const MNT_GIDMAP = 0x4000;
    }
}

impl StatmountMask {
    /// What is told in texts behind the structure.
    pub const TEXTS: Self = Self::MNT_ROOT
        .union(Self::MNT_POINT)
        .union(Self::FS_TYPE)
        .union(Self::MNT_OPTS)
        .union(Self::FS_SUBTYPE)
        .union(Self::SB_SOURCE)
        .union(Self::OPT_ARRAY)
        .union(Self::OPT_SEC_ARRAY)
        .union(Self::MNT_UIDMAP)
        .union(Self::MNT_GIDMAP);
}

/// `MNT_NS_INFO_SIZE_VER0`: the length of what `NS_MNT_GET_INFO` tells.
pub const MNT_NS_INFO_SIZE_VER0: u32 = 16;

/// `MNT_ID_REQ_SIZE_VER0`: the shortest request of `statmount` and `listmount`.
pub const MNT_ID_REQ_SIZE_VER0: usize = 24;
/// `LSMT_ROOT`: the caller's root, for `listmount`.
pub const LSMT_ROOT: u64 = u64::MAX;
/// `LISTMOUNT_REVERSE`.
pub const LISTMOUNT_REVERSE: u32 = 1;

abi_struct! {
    /// `struct mnt_id_req`.
    pub struct MountIdRequest: 32 {
        pub size: u32,
        pub mnt_ns_fd: u32,
        pub mnt_id: u64,
        pub param: u64,
        pub mnt_ns_id: u64,
    }

    /// `struct mnt_ns_info`.
    pub struct MountNamespaceInfo: 16 {
        pub size: u32,
        pub nr_mounts: u32,
        pub mnt_ns_id: u64,
    }

    /// `struct statmount`. Texts follow; those fields say where in them one begins.
    pub struct Statmount: 512 {
        pub size: u32,
        pub mnt_opts: u32,
        pub mask: u64,
        pub sb_dev_major: u32,
        pub sb_dev_minor: u32,
        pub sb_magic: u64,
        pub sb_flags: u32,
        pub fs_type: u32,
        pub mnt_id: u64,
        pub mnt_parent_id: u64,
        pub mnt_id_old: u32,
        pub mnt_parent_id_old: u32,
        pub mnt_attr: u64,
        pub mnt_propagation: u64,
        pub mnt_peer_group: u64,
        pub mnt_master: u64,
        pub propagate_from: u64,
        pub mnt_root: u32,
        pub mnt_point: u32,
        pub mnt_ns_id: u64,
        pub fs_subtype: u32,
        pub sb_source: u32,
        pub opt_num: u32,
        pub opt_array: u32,
        pub opt_sec_num: u32,
        pub opt_sec_array: u32,
        pub supported_mask: u64,
        pub mnt_uidmap_num: u32,
        pub mnt_uidmap: u32,
        pub mnt_gidmap_num: u32,
        pub mnt_gidmap: u32,
        spare: [u64; 43],
    }

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
