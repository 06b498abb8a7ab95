//! ext2, ext3 and ext4: the crate `ext` as a file system of this one.
//!
//! [`ExtFileSystem`] is the file system, [`ExtInode`] one of its inodes. `options` is how it is mounted, `table` has
//! the inodes that are in memory, `names` the operations on directories, `data` those on contents.
//!
//! # 1. Inodes in memory
//!
//! There is one [`ExtInode`] for an inode number at a time: the table finds it while anybody has it. One with something to be
//! written (attributes, pages) is held by the table's list of dirty ones until that is done; so an inode that goes has nothing
//! to lose. One without names is held by the list of orphans, and is deleted when nobody else holds it. Nobody is told when that
//! is, so it is looked for whenever names are made or removed, room is short, and by the write-back.
//!
//! # 2. Changes
//!
//! An operation on names is one [`ext::Change`]: directories, link counts, the list of orphans. Attributes that change without
//! names are written later, with the write-back or by `fsync`.
//!
//! # 3. Errors
//!
//! What is found damaged is noted in the superblock, and makes the file system read-only unless it is to go on
//! (`errors=`, which a remount can change).
//!
//! # 4. Reserved blocks
//!
//! Linux asks at each write who may take of them. Here it counts who opened the file, and for stores through a mapping
//! whose file it is: a write is carried out, or written back, where nobody knows who asks.
//!
//! # 5. What replaces other contents
//!
//! Contents are written some time after a program gave them, and until then a name may lead to a file that is empty on the
//! disk. Programs that replace a file without `fsync`, by a rename over it or by cutting it to nothing and writing it anew,
//! would lose the old contents and the new ones when the power goes. So what takes the place of other contents is written
//! first: before the change that carries the rename, and when a writer closes a file that was cut to nothing. Linux does so
//! too (`auto_da_alloc`). After a rename the name has all of the old contents or all of the new ones; a file that was cut
//! is empty on the disk until it is closed.
//!
//! # Locks
//!
//! Those of the inodes of this crate come first, then the locks of the crate `ext`. `INODE_LOADS`: one of several locks under which
//! inodes are read, so that no two are made for one number. `INODE_TABLES`: the table; nothing is read or written under it.

mod data;
mod inode;
mod names;
mod options;
mod table;

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::Errno;
use block::Volume;
use sync::{Mutex, rank};

use crate::write_back::{self, Cached};
use crate::{Dentry, FileSystem, FileSystemStatistics, NAME_LEN_MAX, RootDentry, TrimRange};

pub use inode::ExtInode;
pub use options::ExtOptions;
use options::Settings;
use table::Shared;

/// A file system of the family.
pub struct ExtFileSystem {
    type_name: &'static str,
    root: RootDentry,
    shared: Arc<Shared>,
    options: ExtOptions,
    rename_lock: Mutex<()>,
}

impl ExtFileSystem {
    /// Opens what is on a volume. `EINVAL` when that is nothing of the family, or something that is not understood.
    pub fn open(volume: Volume, type_name: &'static str, options: ExtOptions) -> Result<Arc<Self>, Errno> {
        let device = volume.number();
        let ExtOptions { is_read_only, ignores_journal, on_error, .. } = options;
        let file_system = ext::FileSystem::open(volume, ext::Options { is_read_only, ignores_journal, on_error })?;
        if !file_system.is_read_only() {
            file_system.begin_writing()?;
            process_orphans(&file_system)?;
        }
        let shared = Shared::new(file_system, device, Settings::new(&options));
        let root = shared.inode(ext::ROOT_INODE)?;
        if !crate::Inode::metadata(&*root).is_directory() {
            return Err(ext::corrupt(format_args!("the root is no directory")));
        }
        let cached: Weak<dyn Cached> = Arc::downgrade(&shared) as _;
        write_back::register(cached);
        let rename_lock = Mutex::new(rank::RENAME, ());
        Ok(Arc::new(Self { type_name, root: RootDentry::new(root), shared, options, rename_lock }))
    }

    /// Writes back what is dirty, and deletes what nobody uses any more.
    pub fn write_back(&self) -> Result<(), Errno> {
        self.shared.write_dirty().and(self.shared.file_system.tick())
    }

    /// Writes everything, and says on the disk that nothing is missing. Nothing may be changed afterwards.
    pub fn shut_down(&self) -> Result<(), Errno> {
        self.shared.write_dirty().and(self.shared.file_system.end_writing())
    }
}

/// Deletes what a crash left without names, and cuts what was being cut.
fn process_orphans(file_system: &Arc<ext::FileSystem>) -> Result<(), Errno> {
    let count = file_system.process_orphans()?;
    if count > 0 {
        log::info!("ext: {count} inodes that a crash left were dealt with");
    }
    Ok(())
}

impl FileSystem for ExtFileSystem {
    fn type_name(&self) -> &'static str {
        self.type_name
    }

    fn root(&self) -> &Arc<Dentry> {
        self.root.get()
    }

    fn drop_caches(&self) {
        self.shared.file_system.cache().shrink();
    }

    fn device(&self) -> u64 {
        self.shared.device
    }

    fn rename_lock(&self) -> &Mutex<()> {
        &self.rename_lock
    }

    fn statistics(&self) -> FileSystemStatistics {
        self.shared.delete_unused();
        let file_system = &self.shared.file_system;
        let superblock = file_system.superblock();
        let free = file_system.blocks_available();
        let id = superblock.uuid.chunks_exact(8).fold(0, |id, half| id ^ ext::bytes::get_u64(half, 0));
        FileSystemStatistics {
            magic: ext::MAGIC.into(),
            block_size: superblock.block_len as u64,
            blocks: superblock.blocks.saturating_sub(file_system.overhead()),
            blocks_free: free,
            blocks_available: free.saturating_sub(superblock.blocks_reserved),
            files: superblock.inodes.into(),
            files_free: file_system.inodes_free(),
            name_len_max: NAME_LEN_MAX as u64,
            id,
            flags: 0,
        }
    }

    fn is_read_only(&self) -> bool {
        self.shared.file_system.is_read_only()
    }

    /// As Linux since 6.0: what differs from what the disk says, and from what is always so.
    fn options(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let file_system = &self.shared.file_system;
        text.extend_from_slice(match file_system.on_error() {
            same if same == file_system.superblock().on_error => b"",
            1 => b",errors=continue",
            2 => b",errors=remount-ro",
            _ => b",errors=panic",
        });
        let settings = &self.shared.settings;
        if settings.hands_on_group() {
            text.extend_from_slice(b",grpid");
        }
        if !settings.writes_replacements() {
            text.extend_from_slice(b",noauto_da_alloc");
        }
        if !settings.takes_acls() {
            text.extend_from_slice(b",noacl");
        }
        if self.options.ignores_journal {
            text.extend_from_slice(b",norecovery");
        }
        text
    }

    fn sync(&self) -> Result<(), Errno> {
        self.shared.write_dirty().and(self.shared.file_system.sync())
    }

    fn trimmed_volume(&self) -> Option<&Volume> {
        Some(self.shared.file_system.cache().volume())
    }

    fn trim(&self, range: &mut TrimRange) -> Result<(), Errno> {
        let superblock = self.shared.file_system.superblock();
        let block_len = superblock.block_len as u64;
        let (first, count) = (range.start / block_len, range.len / block_len);
        let least = u32::try_from(range.len_min / block_len).unwrap_or(u32::MAX);
        if least > superblock.blocks_per_group || first >= superblock.blocks || count == 0 {
            return Err(Errno::EINVAL);
        }
        let trimmed = self.shared.file_system.trim(first, first.saturating_add(count), least.max(1))?;
        range.len = trimmed.saturating_mul(block_len);
        Ok(())
    }

    fn reconfigure(&self, is_read_only: bool, options: &[u8]) -> Result<(), Errno> {
        let options = ExtOptions::parse(is_read_only, options)?;
        let file_system = &self.shared.file_system;
        // What is not named stays as it was.
        if let Some(on_error) = options.on_error {
            file_system.set_on_error(on_error);
        }
        self.shared.settings.change(&options);
        if is_read_only {
            return Self::shut_down(self);
        }
        if file_system.is_read_only() {
            file_system.resume_writing()?;
            process_orphans(file_system)?;
        }
        Ok(())
    }

    fn shut_down(&self) -> Result<(), Errno> {
        Self::shut_down(self).inspect_err(|_| {
            // There is no second time.
            self.shared.file_system.stop_writing();
            self.shared.abandon();
        })
    }
}
