//! Removing names.

use abi::Errno;

use crate::metadata::STICKY;
use crate::walk::{LastKind, Lookup, Walk};
use crate::{Credentials, Dentry, FsContext, PathRef, Permissions};

/// Removes a name of something that is no directory.
pub fn unlink(
    context: &FsContext,
    credentials: &Credentials,
    start: Option<&PathRef>,
    path: &[u8],
) -> Result<(), Errno> {
    let mut walk = Walk::new(context, credentials, start, path, Lookup::empty())?;
    let last = walk.walk_to_last()?;
    if last.kind != LastKind::Name {
        return Err(Errno::EISDIR);
    }
    let directory = &walk.at;
    directory.mount.check_writable()?;
    let name = last.name();
    let _lock = directory.dentry.lock_names();
    let victim = directory.dentry.child_locked(name, credentials)?.ok_or(Errno::ENOENT)?;
    if last.has_slash {
        return Err(if victim.inode().metadata().is_directory() { Errno::EISDIR } else { Errno::ENOTDIR });
    }
    check_may_remove(directory, credentials, &victim)?;
    if victim.inode().metadata().is_directory() {
        return Err(Errno::EISDIR);
    }
    if victim.is_mount_point() {
        return Err(Errno::EBUSY);
    }
    directory.inode().unlink(name, victim.inode())?;
    directory.dentry.remove_child(name, &victim);
    Ok(())
}

/// Removes an empty directory.
pub fn rmdir(
    context: &FsContext,
    credentials: &Credentials,
    start: Option<&PathRef>,
    path: &[u8],
) -> Result<(), Errno> {
    let mut walk = Walk::new(context, credentials, start, path, Lookup::empty())?;
    let last = walk.walk_to_last()?;
    match last.kind {
        LastKind::Name => {}
        LastKind::Dot => return Err(Errno::EINVAL),
        LastKind::DotDot => return Err(Errno::ENOTEMPTY),
        LastKind::Nothing => return Err(Errno::EBUSY),
    }
    let directory = &walk.at;
    directory.mount.check_writable()?;
    let name = last.name();
    let _lock = directory.dentry.lock_names();
    let victim = directory.dentry.child_locked(name, credentials)?.ok_or(Errno::ENOENT)?;
    check_may_remove(directory, credentials, &victim)?;
    if !victim.inode().metadata().is_directory() {
        return Err(Errno::ENOTDIR);
    }
    if victim.is_mount_point() {
        return Err(Errno::EBUSY);
    }
    let _victim_lock = victim.inode().metadata().lock_nested();
    directory.inode().rmdir(name, victim.inode())?;
    victim.inode().metadata().mark_removed();
    directory.dentry.remove_child(name, &victim);
    Ok(())
}

/// Whether a name may be taken out of a directory: `EACCES` for the directory, `EPERM` for its sticky bit.
pub(crate) fn check_may_remove(directory: &PathRef, credentials: &Credentials, victim: &Dentry) -> Result<(), Errno> {
    let metadata = directory.inode().metadata();
    metadata.check_permission(credentials, Permissions::WRITE | Permissions::EXECUTE)?;
    let is_protected = metadata.mode() & STICKY != 0
        && credentials.uid != metadata.uid()
        && !credentials.owns(victim.inode().metadata().uid());
    if is_protected { Err(Errno::EPERM) } else { Ok(()) }
}
