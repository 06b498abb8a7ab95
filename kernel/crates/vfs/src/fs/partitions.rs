//! Disks and their partitions by name: `vda`, `vda1`, in `/dev`. They are found when a disk is added, and again when a
//! program that has changed the table says so (`BLKRRPART`).
//!
//! All partitions of a disk go and come together, and none while somebody uses one of them.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use abi::inotify::InotifyMask;
use abi::stat::{device_major, device_minor, make_device};
use block::{BlockError, Disk, Volume, partition};
use sync::{Mutex, Once, rank};

use crate::{Credentials, Dentry, FileKind, HashedName, NewInode, notify};

use super::disk;
use super::tmpfs::Tmpfs;
use crate::FileSystem;

/// Minor numbers of one disk: itself and its partitions.
pub const MINORS: u32 = 16;
/// Permission bits of the nodes.
const NODE_MODE: u32 = 0o660;

/// The root of `/dev`.
static NODES: Once<Arc<Dentry>> = Once::new();
/// Held while the partitions of a disk change.
static TABLES: Mutex<()> = Mutex::new(rank::MOUNTS, ());

/// Makes a disk and its partitions known, with their nodes in `dev`.
pub fn add_disk(dev: &Tmpfs, disk: &Arc<Disk>) {
    NODES.call_once(|| dev.root().clone());
    let _tables = TABLES.lock();
    let whole = Volume::whole(disk);
    add(&whole);
    match find(&whole) {
        Ok(partitions) => partitions.iter().for_each(add),
        Err(error) => log::warn!("{}: the partitions cannot be read: {error}", disk.name()),
    }
}

/// Reads the table of a disk again. `EINVAL` for a partition, `EBUSY` when one is in use, or the disk is somebody
/// else's; what is there stays then.
pub(super) fn reread(whole: &Volume, is_own_claim: bool) -> Result<(), Errno> {
    let disk = whole.disk();
    if whole.number() != disk.number() {
        return Err(Errno::EINVAL);
    }
    let _tables = TABLES.lock();
    let found = find(whole)?;
    for number in disk::take_partitions(disk.number(), is_own_claim)? {
        if let Err(errno) = remove_node(&name(disk, number), number) {
            log::warn!("{}: a node stays: {errno}", disk.name());
        }
    }
    found.iter().for_each(add);
    Ok(())
}

fn find(whole: &Volume) -> Result<Vec<Volume>, BlockError> {
    let own = whole.number();
    let volume = |part: &partition::Partition| {
        let minor = device_minor(own).checked_add(part.number).filter(|_| part.number < MINORS)?;
        whole.part(part.first, part.sectors, make_device(device_major(own), minor))
    };
    Ok(partition::find(whole)?.iter().filter_map(volume).collect())
}

/// The name of a disk or partition below `/dev`.
fn name(disk: &Disk, number: u64) -> String {
    match device_minor(number).wrapping_sub(device_minor(disk.number())) {
        0 => disk.name().into(),
        part => format!("{}{part}", disk.name()),
    }
}

fn add(volume: &Volume) {
    let name = name(volume.disk(), volume.number());
    match disk::register(volume).and_then(|()| make_node(&name, volume.number())) {
        Ok(()) => log::info!("{name}: {} sectors", volume.sectors()),
        Err(errno) => log::error!("{name} has no node: {errno}"),
    }
}

/// Makes a node, unless something has its name.
fn make_node(name: &str, number: u64) -> Result<(), Errno> {
    let directory = NODES.get().ok_or(Errno::ENOENT)?;
    let name = HashedName::new(name.as_bytes());
    let _lock = directory.lock_names();
    if directory.child_locked(name, &Credentials::root())?.is_some() {
        return Ok(());
    }
    let mode = FileKind::BlockDevice.mode_bits() | NODE_MODE;
    let inode = directory.inode().create(name, &NewInode { mode, represents: number, ..NewInode::default() })?;
    let node = directory.insert_new(name, inode)?;
    notify::in_directory(&**directory.inode(), InotifyMask::CREATE, name.bytes(), &**node.inode());
    Ok(())
}

/// Removes a node, if it is the one that was made.
fn remove_node(name: &str, number: u64) -> Result<(), Errno> {
    let directory = NODES.get().ok_or(Errno::ENOENT)?;
    let name = HashedName::new(name.as_bytes());
    let _lock = directory.lock_names();
    let Some(node) = directory.child_locked(name, &Credentials::root())? else { return Ok(()) };
    let inode = node.inode().clone();
    if inode.metadata().kind() != FileKind::BlockDevice || inode.metadata().represents() != number {
        return Ok(());
    }
    directory.inode().unlink(name, &inode)?;
    directory.remove_child(name, &node);
    drop(node);
    notify::in_directory(&**directory.inode(), InotifyMask::DELETE, name.bytes(), &*inode);
    Ok(())
}
