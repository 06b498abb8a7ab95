//! ext2, ext3 and ext4: the crate `ext` as a file system of this one.
//!
//! [`ExtFileSystem`] is the file system, [`ExtInode`] one of its inodes. `table` has the inodes that are in memory, `names` the
//! operations on directories, `data` those on contents.
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
//! # Locks
//!
//! Those of the inodes of this crate come first, then the locks of the crate `ext`. `INODE_LOADS`: one of several locks under which
//! inodes are read, so that no two are made for one number. `INODE_TABLES`: the table; nothing is read or written under it.

mod data;
mod inode;
mod names;
mod table;

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::Errno;
use block::Volume;
use sync::{Mutex, rank};

use crate::write_back::{self, Cached};
use crate::{Dentry, FileSystem, FileSystemStatistics, NAME_LEN_MAX, RootDentry};

pub use inode::ExtInode;
use table::Shared;

/// How a file system is mounted.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtOptions {
    /// Nothing is changed.
    pub is_read_only: bool,
    /// The journal is not replayed (`noload`).
    pub ignores_journal: bool,
    /// What is done when it is found damaged, instead of what it says itself (`errors=`): 1 continue, 2 read only, 3 as
    /// on Linux to panic, which is read only here.
    pub on_error: Option<u16>,
}

impl ExtOptions {
    /// Reads options of `mount`, between commas. `EINVAL` for one that is not known.
    pub fn parse(is_read_only: bool, text: &[u8]) -> Result<Self, Errno> {
        let mut options = Self { is_read_only, ..Self::default() };
        for option in text.split(|byte| *byte == b',').filter(|option| !option.is_empty()) {
            match option {
                b"noload" | b"norecovery" => options.ignores_journal = true,
                b"errors=continue" => options.on_error = Some(1),
                b"errors=remount-ro" => options.on_error = Some(2),
                b"errors=panic" => options.on_error = Some(3),
                // What is always so here.
                b"user_xattr" | b"acl" | b"noacl" | b"delalloc" | b"barrier" | b"barrier=1" | b"data=ordered"
                | b"nodiscard" | b"grpid" | b"nogrpid" | b"block_validity" | b"noblock_validity" | b"noinit_itable" => {
                }
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }
}

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
        let ExtOptions { is_read_only, ignores_journal, on_error } = options;
        let file_system = ext::FileSystem::open(volume, ext::Options { is_read_only, ignores_journal, on_error })?;
        if !file_system.is_read_only() {
            file_system.begin_writing()?;
            process_orphans(&file_system)?;
        }
        let shared = Shared::new(file_system, device);
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
        if self.options.ignores_journal {
            text.extend_from_slice(b",norecovery");
        }
        text
    }

    fn sync(&self) -> Result<(), Errno> {
        self.shared.write_dirty().and(self.shared.file_system.sync())
    }

    fn reconfigure(&self, is_read_only: bool, options: &[u8]) -> Result<(), Errno> {
        let options = ExtOptions::parse(is_read_only, options)?;
        let file_system = &self.shared.file_system;
        // What is not named stays as it was.
        if let Some(on_error) = options.on_error {
            file_system.set_on_error(on_error);
        }
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
