//! `inotify`: what one can ask to be told of, and how it is told.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use crate::layout::abi_struct;

abi_struct! {
    /// `struct inotify_event`; a name may follow.
    pub struct InotifyEvent: 16 {
        pub wd: i32,
        pub mask: u32,
        pub cookie: u32,
        pub len: u32,
    }
}

bitflags::bitflags! {
    /// `IN_*`: events, and how to watch.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct InotifyMask: u32 {
        const ACCESS = 0x1;
        const MODIFY = 0x2;
        const ATTRIB = 0x4;
        const CLOSE_WRITE = 0x8;
        const CLOSE_NOWRITE = 0x10;
        const OPEN = 0x20;
        const MOVED_FROM = 0x40;
        const MOVED_TO = 0x80;
        const CREATE = 0x100;
        const DELETE = 0x200;
        const DELETE_SELF = 0x400;
        const MOVE_SELF = 0x800;
        const UNMOUNT = 0x2000;
        const Q_OVERFLOW = 0x4000;
        const IGNORED = 0x8000;
        const ONLYDIR = 0x0100_0000;
        const DONT_FOLLOW = 0x0200_0000;
        const EXCL_UNLINK = 0x0400_0000;
        const MASK_CREATE = 0x1000_0000;
        const MASK_ADD = 0x2000_0000;
        const ISDIR = 0x4000_0000;
        const ONESHOT = 0x8000_0000;
    }
}

impl InotifyMask {
    /// `IN_ALL_EVENTS`: what one can ask to be told of.
    pub const ALL_EVENTS: Self = Self::from_bits_truncate(0xfff);
}

/// `IN_NONBLOCK` and `IN_CLOEXEC` are the flags of `open`.
pub const INOTIFY_INIT_FLAGS: u32 = crate::OpenFlags::NONBLOCK.bits() | crate::OpenFlags::CLOEXEC.bits();
