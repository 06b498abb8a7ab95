//! The kinds of file systems that `mount` knows: a table of names, and how each is opened.
//!
//! [`Kind::open`] makes a [`Superblock`] of a [`Source`]. A file system on a disk is opened once: mounted a second time it is the
//! same. Whoever has a tree of its own to offer (`/proc`, `/sys`, `/dev`) registers it here, and everybody gets the same.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use block::{Segment, Volume};
use mm::{Frame, PAGE_SIZE};
use sync::{Mutex, rank};

use crate::{FileKind, FileSystem, MountFlags, PathRef, Superblock, SuperblockFlags};

use super::ext::{ExtFileSystem, ExtOptions};
use super::tmpfs::{Tmpfs, TmpfsOptions};
use super::{disk, fat, ninep};

/// What ext is called; all can read what any of them has written.
const EXT_NAMES: [&str; 3] = ["ext2", "ext3", "ext4"];
/// Where the magic number of ext is, and what it is.
const EXT_MAGIC: (usize, [u8; 2]) = (1024 + 56, [0x53, 0xef]);
/// The most kinds.
const KINDS_MAX: usize = 64;

/// What a file system is opened from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// What is mounted, by its name.
    pub name: &'a [u8],
    /// The disk or partition, for kinds that need one.
    pub volume: Option<&'a Volume>,
    /// How it is going to be used.
    pub flags: SuperblockFlags,
    /// The options of its kind, separated by commas.
    pub options: &'a [u8],
}

/// Opens a file system.
pub type Opener = Arc<dyn Fn(&Source<'_>) -> Result<Arc<dyn FileSystem>, Errno> + Send + Sync>;

/// A kind of file systems.
#[derive(Clone)]
pub struct Kind {
    name: &'static str,
    needs_device: bool,
    opener: Opener,
}

static KINDS: Mutex<Vec<Kind>> = Mutex::new(rank::DENTRIES, Vec::new());

/// Adds a kind, in the place of another of the same name.
fn register(kind: Kind) -> Result<(), Errno> {
    let mut kinds = KINDS.lock();
    if let Some(known) = kinds.iter_mut().find(|known| known.name == kind.name) {
        let replaced = core::mem::replace(known, kind);
        drop(kinds);
        // It may hold the last reference to a file system, which takes locks of the same rank when it ends.
        drop(replaced);
        return Ok(());
    }
    if kinds.len() >= KINDS_MAX {
        return Err(Errno::ENOSPC);
    }
    kinds.push(kind);
    Ok(())
}

/// Adds a kind of which there is one, which everybody gets.
pub fn register_single(name: &'static str, file_system: Arc<dyn FileSystem>) -> Result<(), Errno> {
    let opener = Arc::new(
        move |source: &Source<'_>| {
            if source.options.is_empty() { Ok(file_system.clone()) } else { Err(Errno::EINVAL) }
        },
    );
    register(Kind { name, needs_device: false, opener })
}

/// Adds the kinds that are part of this crate.
pub fn register_own() -> Result<(), Errno> {
    for name in EXT_NAMES {
        let opener = Arc::new(move |source: &Source<'_>| open_ext(name, source));
        register(Kind { name, needs_device: true, opener })?;
    }
    register(Kind { name: fat::TYPE_NAME, needs_device: true, opener: Arc::new(fat::open) })?;
    register(Kind { name: "9p", needs_device: false, opener: Arc::new(open_ninep) })?;
    register(Kind { name: "tmpfs", needs_device: false, opener: Arc::new(open_tmpfs) })
}

/// The kind with this name.
pub fn find(name: &[u8]) -> Option<Kind> {
    KINDS.lock().iter().find(|kind| kind.name.as_bytes() == name).cloned()
}

/// All kinds.
pub fn all() -> Vec<Kind> {
    KINDS.lock().clone()
}

impl Kind {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it lives on a disk.
    pub fn needs_device(&self) -> bool {
        self.needs_device
    }

    /// Opens a file system of this kind.
    pub fn open(&self, source: &Source<'_>) -> Result<Arc<Superblock>, Errno> {
        let open = || (self.opener)(source);
        match source.volume {
            Some(volume) if self.needs_device => {
                if volume.is_read_only() && !source.flags.is_read_only {
                    return Err(Errno::EACCES);
                }
                Superblock::on_volume(volume, self.name, source.flags, open)
            }
            None if self.needs_device => Err(Errno::EINVAL),
            _ => Superblock::with_flags(&open()?, source.flags),
        }
    }
}

/// The volume that a device node stands for. `ENOTBLK` for what is no block device, `EACCES` where devices cannot be
/// opened, `ENXIO` for a device that is not there.
pub fn volume_at(node: &PathRef) -> Result<Volume, Errno> {
    if node.dentry.kind() != FileKind::BlockDevice {
        return Err(Errno::ENOTBLK);
    }
    if node.mount.flags().contains(MountFlags::NO_DEVICES) {
        return Err(Errno::EACCES);
    }
    disk::volume_of(node.inode().metadata().represents()).ok_or(Errno::ENXIO)
}

fn open_tmpfs(source: &Source<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
    Ok(Tmpfs::new(TmpfsOptions::parse(source.options)?))
}

fn open_ext(name: &'static str, source: &Source<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
    let volume = source.volume.ok_or(Errno::EINVAL)?;
    let options = ExtOptions::parse(source.flags.is_read_only, source.options)?;
    ExtFileSystem::open(volume.clone(), name, options).map(|ext| ext as Arc<dyn FileSystem>)
}

fn open_ninep(source: &Source<'_>) -> Result<Arc<dyn FileSystem>, Errno> {
    if source.options.split(|byte| *byte == b',').all(is_ninep_option) {
        ninep::open(source.name)
    } else {
        Err(Errno::EINVAL)
    }
}

/// Whether an option of 9p asks for what is so anyway.
fn is_ninep_option(option: &[u8]) -> bool {
    option.is_empty() || matches!(option, b"trans=virtio" | b"version=9p2000.L" | b"access=client" | b"cache=none")
}

/// The kind that a volume holds, by what is at its beginning; None for one that is not known.
pub fn detect(volume: &Volume) -> Result<Option<Kind>, Errno> {
    let frame = Frame::allocate()?;
    let len = usize::try_from(volume.len_bytes().min(PAGE_SIZE as u64)).map_err(|_| Errno::EINVAL)?;
    volume.read(0, alloc::vec![Segment::new(frame.clone(), 0, len).ok_or(Errno::EINVAL)?])?;
    let mut bytes = alloc::vec![0; PAGE_SIZE];
    frame.read(0, &mut bytes);
    let has_ext_magic = bytes.get(EXT_MAGIC.0..).is_some_and(|rest| rest.starts_with(&EXT_MAGIC.1));
    let name = if has_ext_magic {
        "ext4"
    } else if fat::is_here(&bytes, volume.len_bytes()) {
        fat::TYPE_NAME
    } else {
        return Ok(None);
    };
    Ok(find(name.as_bytes()))
}
