//! The disks of this machine: their partitions are found and all of them get names, `vda`, `vda1`, `vdb`, in the order of the devices.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;

use abi::stat::make_device;
use block::{Disk, Volume, partition};
use vfs::FileKind;
use vfs::fs::disk;
use vfs::fs::tmpfs::Tmpfs;

use crate::drivers;

/// The major number of virtio disks, one of those that Linux gives out at run time.
const MAJOR: u32 = 254;
/// Minor numbers of one disk: itself and its partitions.
const MINORS: u32 = 16;
/// The most disks: as many as there are letters.
const DISKS_MAX: u32 = 26;
/// Permission bits of the nodes.
const NODE_MODE: u32 = 0o660;

/// Finds the disks and makes their nodes in `dev`. Interrupts come by now.
pub(super) fn start(dev: &Tmpfs) {
    for (index, device) in (0..DISKS_MAX).zip(drivers::take_disks()) {
        let letter = char::from_u32(u32::from(b'a') + index).unwrap_or('?');
        let name = format!("vd{letter}");
        let disk = Disk::new(name.clone(), make_device(MAJOR, index * MINORS), Box::new(device));
        add(dev, &name, &Volume::whole(&disk));
        add_partitions(dev, &disk, index);
    }
}

/// The device number of the disk with this name, `vda` and so on.
pub(super) fn number_of(name: &[u8]) -> Option<u64> {
    let [b'v', b'd', letter @ b'a'..=b'z'] = name else { return None };
    Some(make_device(MAJOR, u32::from(letter - b'a') * MINORS))
}

fn add_partitions(dev: &Tmpfs, disk: &Arc<Disk>, index: u32) {
    let whole = Volume::whole(disk);
    let found = match partition::find(&whole) {
        Ok(found) => found,
        Err(error) => {
            log::warn!("{}: the partitions cannot be read: {error}", disk.name());
            return;
        }
    };
    for part in found.into_iter().filter(|part| part.number < MINORS) {
        let number = make_device(MAJOR, index * MINORS + part.number);
        if let Some(volume) = whole.part(part.first, part.sectors, number) {
            add(dev, &format!("{}{}", disk.name(), part.number), &volume);
        }
    }
}

fn add(dev: &Tmpfs, name: &str, volume: &Volume) {
    let mode = FileKind::BlockDevice.mode_bits() | NODE_MODE;
    let made = disk::register(volume).and_then(|()| dev.populate(name.as_bytes(), mode, volume.number(), b""));
    match made {
        Ok(()) => log::info!("{name}: {} sectors", volume.sectors()),
        Err(errno) => log::error!("{name} has no node: {errno}"),
    }
}
