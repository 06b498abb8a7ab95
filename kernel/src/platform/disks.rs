//! The disks of this machine: they get names, `vda`, `vdb`, in the order of the devices.

use alloc::boxed::Box;
use alloc::format;

use abi::stat::make_device;
use block::Disk;
use vfs::fs::partitions::{self, MINORS};
use vfs::fs::tmpfs::Tmpfs;

use crate::drivers;

/// The major number of virtio disks, one of those that Linux gives out at run time.
const MAJOR: u32 = 254;
/// The most disks: as many as there are letters.
const DISKS_MAX: u32 = 26;

/// Finds the disks and makes their nodes in `dev`. Interrupts come by now.
pub(super) fn start(dev: &Tmpfs) {
    for (index, device) in (0..DISKS_MAX).zip(drivers::take_disks()) {
        let letter = char::from_u32(u32::from(b'a') + index).unwrap_or('?');
        let name = format!("vd{letter}");
        let disk = Disk::new(name, make_device(MAJOR, index * MINORS), Box::new(device));
        partitions::add_disk(dev, &disk);
    }
}

/// The device number of the disk with this name, `vda` and so on.
pub(super) fn number_of(name: &[u8]) -> Option<u64> {
    let [b'v', b'd', letter @ b'a'..=b'z'] = name else { return None };
    Some(make_device(MAJOR, u32::from(letter - b'a') * MINORS))
}
