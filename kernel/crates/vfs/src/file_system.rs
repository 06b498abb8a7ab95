//! [`FileSystem`]: a mounted or mountable tree.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use abi::Errno;
use block::Volume;
use sync::Mutex;

use crate::Dentry;

/// What `statfs` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSystemStatistics {
    /// The magic number of the type.
    pub magic: u64,
    /// Bytes in a block.
    pub block_size: u64,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks for those without privileges.
    pub blocks_available: u64,
    /// All inodes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// The longest name.
    pub name_len_max: u64,
    /// Identity of the file system.
    pub id: u64,
    /// `ST_` flags of the mount.
    pub flags: u64,
}

/// A part of a volume, in bytes, and how much must be free side by side to count (`struct fstrim_range`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimRange {
    /// Where it begins.
    pub start: u64,
    /// How long it is; afterwards, how much of it was discarded.
    pub len: u64,
    /// The shortest run that is discarded.
    pub len_min: u64,
}

/// A file system.
pub trait FileSystem: Any + Send + Sync {
    /// The name of its type, as in `/proc/filesystems`.
    fn type_name(&self) -> &'static str;

    /// The root of its dentries. The same for every mount of the file system.
    fn root(&self) -> &Arc<Dentry>;

    /// Device number, as in `st_dev`.
    fn device(&self) -> u64;

    /// The lock of renames between directories.
    fn rename_lock(&self) -> &Mutex<()>;

    /// What `statfs` shows, without the mount's flags.
    fn statistics(&self) -> FileSystemStatistics;

    /// Whether nothing in it can change, whatever its mounts say.
    fn is_read_only(&self) -> bool {
        false
    }

    /// The options `/proc/mounts` shows behind the mount's own, each with a comma in front.
    fn options(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Brings everything to stable storage.
    fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// The volume it is on, if it can tell that what holds nothing ([`FileSystem::trim`]).
    fn trimmed_volume(&self) -> Option<&Volume> {
        None
    }

    /// Discards what is free in a part of the volume (`FITRIM`).
    fn trim(&self, range: &mut TrimRange) -> Result<(), Errno> {
        let _ = range;
        Err(Errno::ENOTTY)
    }

    /// Drops what it keeps of its disk beside the pages of files, as far as it can be read again.
    fn drop_caches(&self) {}

    /// Takes other options (`MS_REMOUNT`). When nothing shall be changed any more, everything is stable and the volume is
    /// marked as complete on return; changes that come later are `EROFS`. Options that are unknown are `EINVAL`.
    fn reconfigure(&self, is_read_only: bool, options: &[u8]) -> Result<(), Errno> {
        if !options.is_empty() {
            return Err(Errno::EINVAL);
        }
        match (is_read_only, self.is_read_only()) {
            (true, false) => self.sync(),
            (false, true) => Err(Errno::EROFS),
            _ => Ok(()),
        }
    }

    /// The last that is asked of it, when nobody uses it or the machine ends: brings everything to stable storage and marks the
    /// volume as complete. Who still has a file then gets errors.
    fn shut_down(&self) -> Result<(), Errno> {
        self.sync()
    }
}

/// A device number for a file system without a device: major 0 and the next free minor.
pub(crate) fn anonymous_device() -> u64 {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let minor = NEXT.fetch_add(1, Relaxed);
    // The low eight bits of the minor stand below the major, the others above it.
    minor & 0xff | (minor & !0xff) << 12
}
