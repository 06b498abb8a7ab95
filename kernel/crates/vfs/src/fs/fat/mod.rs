//! FAT with 12, 16 or 32 bits and long names, as Linux's `vfat`: [`FatFs`].
//!
//! - `geometry`: where on the volume things are.
//! - `volume`: the FAT, and free clusters; `commit`: the order of writes. Its documentation says what a crash leaves.
//! - `chain`: the clusters of a file.
//! - `entry`, `name`, `date`: what is in a directory, name by name.
//! - `count`: how many clusters are free.
//! - `directory`: the entries of one directory; `index`: where its names are, when it is large; `naming`: making,
//!   removing and renaming files.
//! - `cached`: writing back, and giving memory back.
//! - `inode`, `size`, `store`: files and directories for the layer above, their sizes and contents.
//!
//! # Why not a crate
//!
//! The maintained crates read and write well-formed volumes through one `RefCell`. They cannot say where a page of a file lies, so
//! there could be no page cache below; they decide themselves when what is written, a renamed file has no name for a moment, and a file
//! cannot be replaced; a damaged volume ends in a panic or a circle. A file system that keeps its promises over a crash is
//! mostly the order of its writes, which is what would have had to be replaced.
//!
//! # What FAT cannot hold
//!
//! Owners and most permissions (the options of the mount say them), links of any kind and special files (`EPERM`), holes, times other
//! than of `date`, files over 4 GiB, and whether the times are local: they are taken for UTC. A directory's count of links is 1.
//!
//! A rename within one block of a directory is atomic on the disk, and so is an exchange; an exchange elsewhere is three renames, and a
//! crash between them leaves one of the files the name `EXCHANGE.000`. Any other puts the new name on the disk first; after a crash between
//! the two the file has both names, and `fsck.fat` leaves its contents to the one it meets first.
//!
//! # Locks
//!
//! Names and directories change under the inode's lock, and with the FAT under one lock for the volume (`FAT_VOLUMES`), which is held while
//! they are written to the disk. Contents are read and written without it, but for new clusters.

mod cached;
mod chain;
mod commit;
mod count;
mod date;
mod directory;
mod entry;
mod geometry;
mod index;
mod inode;
mod name;
mod naming;
mod options;
mod size;
mod store;
mod trim;
mod volume;

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use block::Volume as Disk;
use sync::{Mutex, rank};

use crate::fs::kinds::Source;
use crate::{Dentry, FileSystem, FileSystemStatistics, NAME_LEN_MAX, RootDentry, TrimRange};

use inode::FatInode;
use options::Options;
use volume::Volume;

/// What `statfs` says it is (`MSDOS_SUPER_MAGIC`).
const MAGIC: u64 = 0x4d44;
/// The name of the type.
pub(super) const TYPE_NAME: &str = "vfat";

/// A FAT volume that is mounted.
pub struct FatFs {
    volume: Arc<Volume>,
    root: RootDentry,
    rename_lock: Mutex<()>,
}

impl FatFs {
    /// Opens what is on a volume. `EINVAL` when that is not FAT, or for wrong options.
    pub fn open(disk: &Disk, is_read_only: bool, options: &[u8]) -> Result<Arc<Self>, Errno> {
        let options = Options::parse(options)?;
        let volume = Arc::new(Volume::open(disk, options, is_read_only)?);
        let root = RootDentry::new(FatInode::root(&volume));
        cached::register(&volume);
        Ok(Arc::new(Self { volume, root, rename_lock: Mutex::new(rank::RENAME, ()) }))
    }

    /// Writes back what was dirty when this was called before.
    pub fn write_back(&self) -> Result<(), Errno> {
        self.volume.write_old()
    }
}

/// For the table of kinds.
pub(super) fn open(source: &Source<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
    let disk = source.volume.ok_or(Errno::EINVAL)?;
    FatFs::open(disk, source.flags.is_read_only, source.options).map(|fat| fat as Arc<dyn FileSystem>)
}

/// Whether a volume that begins so is one of FAT.
pub(super) fn is_here(boot: &[u8], volume_len: u64) -> bool {
    geometry::is_fat(boot, volume_len)
}

impl FileSystem for FatFs {
    fn type_name(&self) -> &'static str {
        TYPE_NAME
    }

    fn root(&self) -> &Arc<Dentry> {
        self.root.get()
    }

    fn device(&self) -> u64 {
        self.volume.device
    }

    fn rename_lock(&self) -> &Mutex<()> {
        &self.rename_lock
    }

    fn statistics(&self) -> FileSystemStatistics {
        let geometry = &self.volume.geometry;
        let free = u64::from(self.volume.free_clusters());
        FileSystemStatistics {
            magic: MAGIC,
            block_size: geometry.cluster_len(),
            blocks: u64::from(geometry.clusters()),
            blocks_free: free,
            blocks_available: free,
            name_len_max: NAME_LEN_MAX as u64,
            id: u64::from(geometry.serial),
            ..FileSystemStatistics::default()
        }
    }

    fn is_read_only(&self) -> bool {
        self.volume.is_stopped()
    }

    fn options(&self) -> Vec<u8> {
        self.volume.options.show()
    }

    fn sync(&self) -> Result<(), Errno> {
        self.volume.synchronize()
    }

    fn trimmed_volume(&self) -> Option<&Disk> {
        Some(self.volume.buffers.volume())
    }

    fn trim(&self, range: &mut TrimRange) -> Result<(), Errno> {
        self.volume.trim(range)
    }

    fn reconfigure(&self, is_read_only: bool, options: &[u8]) -> Result<(), Errno> {
        if !options.is_empty() && Options::parse(options)? != self.volume.options {
            return Err(Errno::EINVAL);
        }
        match (is_read_only, self.volume.is_read_only()) {
            (true, false) => {
                if self.volume.has_nameless()? {
                    return Err(Errno::EBUSY);
                }
                self.sync()?;
                self.volume.end_writing()
            }
            (false, true) => {
                if self.volume.is_stopped() {
                    return Err(Errno::EROFS);
                }
                if self.volume.buffers.volume().is_read_only() {
                    return Err(Errno::EACCES);
                }
                self.volume.begin_writing()
            }
            _ => Ok(()),
        }
    }

    fn shut_down(&self) -> Result<(), Errno> {
        let result = self.volume.let_room_go().and_then(|()| self.sync());
        if result.is_ok() {
            return self.volume.end_writing();
        }
        // What is missing makes it incomplete. There is no second time.
        self.volume.stop_writing();
        self.volume.abandon();
        result
    }
}
