//! Removing names.

use abi::Errno;
use abi::inotify::InotifyMask;

use crate::metadata::STICKY;
use crate::walk::{LastKind, Lookup, Walk};
use crate::{Credentials, Dentry, FsContext, PathRef, Permissions, notify};

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
    let inode = victim.inode().clone();
    notify::of(&*inode, InotifyMask::ATTRIB);
    // Those who watch the file hear of its end before those who watch the directory.
    drop(victim);
    notify::in_directory(&**directory.inode(), InotifyMask::DELETE, name.bytes(), &*inode);
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
    let inode = victim.inode().clone();
    {
        let _victim_lock = inode.metadata().lock_nested();
        directory.inode().rmdir(name, &inode)?;
        inode.metadata().mark_removed();
        directory.dentry.remove_child(name, &victim);
    }
    drop(victim);
    notify::in_directory(&**directory.inode(), InotifyMask::DELETE, name.bytes(), &*inode);
    Ok(())
}

/// Whether a name may be taken out of a directory: `EACCES` for the directory, `EPERM` for its sticky bit, and for what nobody
/// may remove.
pub(crate) fn check_may_remove(directory: &PathRef, credentials: &Credentials, victim: &Dentry) -> Result<(), Errno> {
    let metadata = directory.inode().metadata();
    directory.inode().check_permission(credentials, Permissions::WRITE | Permissions::EXECUTE)?;
    metadata.check_may_cut()?;
    let is_protected = metadata.mode() & STICKY != 0
        && credentials.uid != metadata.uid()
        && !credentials.owns(victim.inode().metadata().uid());
    if is_protected { Err(Errno::EPERM) } else { victim.inode().metadata().check_unprotected() }
}
