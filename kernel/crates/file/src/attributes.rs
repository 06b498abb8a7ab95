//! What `stat` shows of a file, in a form no system call dictates.

use abi::Timespec;
use sync::machine;

/// The attributes of a file, from which `stat` and `statx` answers are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes {
    /// Device number of the file system, in Linux's `new_encode_dev` form.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// File type and permission bits (`S_IFREG | 0o644`).
    pub mode: u32,
    /// Hard links.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number the node stands for, when it is a device node.
    pub represents: u64,
    /// Length in bytes.
    pub size: u64,
    /// Preferred unit of I/O.
    pub block_size: u32,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// Last read.
    pub accessed: Timespec,
    /// Last change of the contents.
    pub modified: Timespec,
    /// Last change of the attributes.
    pub changed: Timespec,
    /// Creation, where the file system knows it.
    pub created: Option<Timespec>,
}

/// The device number of files that live in no file system: pipes, counters, ports.
pub const ANONYMOUS_DEVICE: u64 = 0xf;

/// The inode number that all files of anonymous inodes share.
pub const ANONYMOUS_INODE: u64 = 1038;

impl Attributes {
    /// Those of a file that lives in no file system, made now by the superuser.
    #[must_use]
    pub fn anonymous(inode: u64, mode: u32) -> Self {
        let now = now();
        Self {
            device: ANONYMOUS_DEVICE,
            inode,
            mode,
            links: 1,
            block_size: 4096,
            accessed: now,
            modified: now,
            changed: now,
            ..Self::default()
        }
    }
}

/// The wall clock as file times show it.
#[must_use]
pub fn now() -> Timespec {
    Timespec::from_nanoseconds(i64::try_from(machine::realtime_ns()).unwrap_or(i64::MAX))
}
