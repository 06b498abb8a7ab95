//! What the command line asks to be mounted before the program starts.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use abi::Errno;
use firmware::command_line::{self, Mount};
use vfs::fs::kinds::{self, Source};
use vfs::{Credentials, FsContext, Lookup, MountFlags, MountOptions, Namespace, PathRef};

/// Mounts everything. What cannot be mounted is an error that a person can read.
pub(super) fn start(namespace: &Arc<Namespace>, line: &[u8]) -> Result<(), String> {
    for mount in command_line::mounts(line) {
        if let Err(reason) = start_one(namespace, &mount) {
            let (source, place) = (mount.source.escape_ascii(), mount.place.escape_ascii());
            return Err(format!("cannot mount {source} on {place}: {reason}"));
        }
    }
    Ok(())
}

fn start_one(namespace: &Arc<Namespace>, mount: &Mount<'_>) -> Result<(), String> {
    let said = |errno: Errno| format!("{errno}");
    let context = FsContext::new(namespace.clone());
    let root = Credentials::root();
    let volume_at = || {
        let node = vfs::resolve(&context, &root, None, mount.source, Lookup::FOLLOW)?;
        kinds::volume_at(&node)
    };
    let kind = match mount.kind {
        Some(name) => kinds::find(name).ok_or_else(|| format!("no type {}", name.escape_ascii()))?,
        None => {
            let found = volume_at().and_then(|volume| kinds::detect(&volume)).map_err(said)?;
            found.ok_or_else(|| String::from("it holds no file system that is known"))?
        }
    };
    let volume = if kind.needs_device() { Some(volume_at().map_err(said)?) } else { None };
    let mut options = MountOptions::parse(mount.options);
    if volume.as_ref().is_some_and(|volume| volume.is_read_only()) {
        // As mount(8): what cannot be written to is read.
        options.superblock.is_read_only = true;
        options.mount |= MountFlags::READ_ONLY;
    }
    let source =
        Source { name: mount.source, volume: volume.as_ref(), flags: options.superblock, options: &options.rest };
    let superblock = kind.open(&source).map_err(said)?;
    let point = directory(namespace, mount.place).map_err(said)?;
    namespace.mount_superblock(&root, &point, superblock, mount.source, options.mount).map(drop).map_err(said)
}

/// A directory to mount on, which is made with those above it if it is not there.
pub(super) fn directory(namespace: &Arc<Namespace>, place: &[u8]) -> Result<PathRef, Errno> {
    let context = FsContext::new(namespace.clone());
    let root = Credentials::root();
    let ends = place.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for end in ends.chain([place.len()]) {
        match vfs::mkdir(&context, &root, None, &place[..end], 0o755) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    vfs::resolve(&context, &root, None, place, Lookup::FOLLOW | Lookup::DIRECTORY)
}
