//! Device nodes: who opens the device that a number stands for.
//!
//! A node is only a name and a number, wherever it lies; the drivers of this kernel register here what the number means.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, OpenFlags};
use file::File;
use sync::{Mutex, rank};

use crate::{FileKind, PathRef};

/// The most devices that can be registered.
const DEVICES_MAX: usize = 4096;

/// Opens a device; answers the file that serves it.
pub type Opener = Arc<dyn Fn(&PathRef, OpenFlags) -> Result<Arc<dyn File>, Errno> + Send + Sync>;

struct Device {
    kind: FileKind,
    number: u64,
    opener: Opener,
}

/// All devices.
static DEVICES: Mutex<Vec<Device>> = Mutex::new(rank::DENTRIES, Vec::new());

/// Says how the device `number` (as in `st_rdev`) is opened, in the place of what was said before.
pub fn register(kind: FileKind, number: u64, opener: Opener) -> Result<(), Errno> {
    let mut devices = DEVICES.lock();
    if let Some(device) = devices.iter_mut().find(|device| device.kind == kind && device.number == number) {
        device.opener = opener;
        return Ok(());
    }
    if devices.len() >= DEVICES_MAX {
        return Err(Errno::ENOSPC);
    }
    devices.push(Device { kind, number, opener });
    Ok(())
}

/// Takes back what was said: there is no such device any more.
pub(crate) fn unregister(kind: FileKind, number: u64) {
    let mut devices = DEVICES.lock();
    let position = devices.iter().position(|device| device.kind == kind && device.number == number);
    let gone = position.map(|position| devices.swap_remove(position));
    drop(devices);
    drop(gone);
}

/// Opens the device a node stands for; `ENXIO` when there is none.
pub(crate) fn open(path: &PathRef, flags: OpenFlags) -> Result<Arc<dyn File>, Errno> {
    let metadata = path.inode().metadata();
    let (kind, number) = (metadata.kind(), metadata.represents());
    let opener = {
        let devices = DEVICES.lock();
        let device = devices.iter().find(|device| device.kind == kind && device.number == number);
        device.ok_or(Errno::ENXIO)?.opener.clone()
    };
    opener(path, flags)
}
