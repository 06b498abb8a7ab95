//! The directories that the host shares: their servers become known by their tags, and what the command line asks for is mounted.

use alloc::sync::Arc;

use abi::Errno;
use firmware::command_line;
use vfs::fs::ninep;
use vfs::{Credentials, MountFlags, Namespace};

use super::mounts;
use crate::drivers;

/// Finds the servers, and mounts what the command line says. Interrupts come by now. A share that cannot be mounted is told of in the log, and
/// left out.
pub(super) fn start(namespace: &Arc<Namespace>, line: &[u8]) {
    for server in drivers::take_servers() {
        let tag = server.tag().escape_ascii();
        match ninep::register(server.tag(), server.transport()) {
            Ok(()) => log::info!("share {tag}"),
            Err(errno) => log::error!("share {tag} cannot be used: {errno}"),
        }
    }
    for share in command_line::shares(line) {
        if let Err(errno) = mount(namespace, share.tag, share.place, share.is_read_only) {
            let (tag, place) = (share.tag.escape_ascii(), share.place.escape_ascii());
            log::error!("share {tag} cannot be mounted on {place}: {errno}");
        }
    }
}

/// Mounts a share on a directory, which is made with those above it if it is not there.
fn mount(namespace: &Arc<Namespace>, tag: &[u8], place: &[u8], is_read_only: bool) -> Result<(), Errno> {
    let point = mounts::directory(namespace, place)?;
    let mut flags = MountFlags::NO_SET_ID | MountFlags::NO_DEVICES;
    flags.set(MountFlags::READ_ONLY, is_read_only);
    namespace.mount(&Credentials::root(), &point, ninep::open(tag)?, tag, flags).map(drop)
}
