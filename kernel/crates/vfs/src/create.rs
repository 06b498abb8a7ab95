//! Making names: directories, nodes, links.

use alloc::sync::Arc;

use abi::Errno;
use abi::inotify::InotifyMask;

use crate::acl::Inherited;
use crate::metadata::{FileKind, KIND_MASK, SET_GID, STICKY};
use crate::name::HashedName;
use crate::walk::{Last, LastKind, Lookup, Walk};
use crate::{
    Capabilities, Credentials, FsContext, Inode, NewInode, PATH_LEN_MAX, PathRef, Permissions, notify, protection,
};

/// The permission bits `mkdir` takes.
const DIRECTORY_MODE_MASK: u32 = 0o777 | STICKY;
/// The permission bits `mknod` and `open` take.
pub(crate) const FILE_MODE_MASK: u32 = 0o7777;

/// Makes a directory.
pub fn mkdir(
    context: &FsContext,
    credentials: &Credentials,
    start: Option<&PathRef>,
    path: &[u8],
    mode: u32,
) -> Result<(), Errno> {
    let mode = FileKind::Directory.mode_bits() | mode & DIRECTORY_MODE_MASK;
    make(context, credentials, start, path, Wanted { mode, umask: context.umask, represents: 0, target: &[] })
}

/// Makes a node that is no directory and no link. A mode without a type makes a regular file.
pub fn mknod(
    context: &FsContext,
    credentials: &Credentials,
    start: Option<&PathRef>,
    path: &[u8],
    mode: u32,
    represents: u64,
) -> Result<(), Errno> {
    let kind = FileKind::of_mode(mode).ok_or(Errno::EINVAL)?;
    let represents = match kind {
        FileKind::Directory => return Err(Errno::EPERM),
        FileKind::Symlink => return Err(Errno::EINVAL),
        FileKind::CharacterDevice | FileKind::BlockDevice => represents,
        FileKind::Regular | FileKind::Fifo | FileKind::Socket => 0,
    };
    let mode = kind.mode_bits() | mode & FILE_MODE_MASK;
    make(context, credentials, start, path, Wanted { mode, umask: context.umask, represents, target: &[] })
}

/// Makes a symbolic link to `target`.
pub fn symlink(
    context: &FsContext,
    credentials: &Credentials,
    target: &[u8],
    start: Option<&PathRef>,
    path: &[u8],
) -> Result<(), Errno> {
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    if target.len() >= PATH_LEN_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let mode = FileKind::Symlink.mode_bits() | 0o777;
    make(context, credentials, start, path, Wanted { mode, umask: 0, represents: 0, target })
}

/// Adds a name for the file at `source`, which is no directory.
pub fn link(
    context: &FsContext,
    credentials: &Credentials,
    source: &PathRef,
    start: Option<&PathRef>,
    path: &[u8],
) -> Result<(), Errno> {
    let mut walk = Walk::new(context, credentials, start, path, Lookup::empty())?;
    let last = walk.walk_to_last()?;
    let directory = &walk.at;
    let _lock = lock_for_new(directory, credentials, &last, false)?;
    if !Arc::ptr_eq(&source.mount, &directory.mount) {
        return Err(Errno::EXDEV);
    }
    let inode = source.inode();
    protection::check_link(credentials, &**inode)?;
    check_may_create(directory, credentials)?;
    inode.metadata().check_unprotected()?;
    if inode.metadata().is_directory() {
        return Err(Errno::EPERM);
    }
    let _source_lock = inode.metadata().lock_nested();
    directory.inode().link(last.name(), inode)?;
    directory.dentry.insert(last.name(), inode.clone());
    notify::of(&**inode, InotifyMask::ATTRIB);
    notify::in_directory(&**directory.inode(), InotifyMask::CREATE, last.name().bytes(), &**inode);
    Ok(())
}

/// What a new node shall be.
pub(crate) struct Wanted<'a> {
    /// Type and permission bits.
    pub(crate) mode: u32,
    /// What is taken from the mode, unless the directory has a list for what is made in it.
    pub(crate) umask: u32,
    /// Device number of a device node.
    pub(crate) represents: u64,
    /// Target of a symbolic link.
    pub(crate) target: &'a [u8],
}

fn make(
    context: &FsContext,
    credentials: &Credentials,
    start: Option<&PathRef>,
    path: &[u8],
    wanted: Wanted<'_>,
) -> Result<(), Errno> {
    let mut walk = Walk::new(context, credentials, start, path, Lookup::empty())?;
    let last = walk.walk_to_last()?;
    let directory = &walk.at;
    let kind = FileKind::of_mode(wanted.mode);
    let _lock = lock_for_new(directory, credentials, &last, kind == Some(FileKind::Directory))?;
    check_may_create(directory, credentials)?;
    let is_device = matches!(kind, Some(FileKind::CharacterDevice | FileKind::BlockDevice));
    // The character device 0 is a whiteout, which anybody may make.
    let is_whiteout = kind == Some(FileKind::CharacterDevice) && wanted.represents == 0;
    if is_device && !is_whiteout && !credentials.has(Capabilities::MKNOD) {
        return Err(Errno::EPERM);
    }
    create_locked(directory, credentials, last.name(), &wanted).map(drop)
}

/// Locks the directory of a name that is to be made, if it is not there yet.
fn lock_for_new<'a>(
    directory: &'a PathRef,
    credentials: &Credentials,
    last: &Last<'_>,
    is_directory: bool,
) -> Result<Option<sync::MutexGuard<'a, ()>>, Errno> {
    if last.kind != LastKind::Name {
        return Err(Errno::EEXIST);
    }
    let lock = directory.dentry.lock_names();
    if directory.dentry.child_locked(last.name(), credentials)?.is_some() {
        return Err(Errno::EEXIST);
    }
    if last.has_slash && !is_directory {
        return Err(Errno::ENOENT);
    }
    directory.mount.check_writable()?;
    Ok(lock)
}

/// Whether a name may be made in a directory, under its lock.
pub(crate) fn check_may_create(directory: &PathRef, credentials: &Credentials) -> Result<(), Errno> {
    let metadata = directory.inode().metadata();
    if metadata.is_removed() {
        return Err(Errno::ENOENT);
    }
    directory.inode().check_takes_names()?;
    directory.inode().check_permission(credentials, Permissions::WRITE | Permissions::EXECUTE)
}

/// Makes a node in a directory under its lock, after all checks, and caches its name.
pub(crate) fn create_locked(
    directory: &PathRef,
    credentials: &Credentials,
    name: HashedName<'_>,
    wanted: &Wanted<'_>,
) -> Result<Arc<crate::Dentry>, Errno> {
    let inode = create_inode(directory, credentials, wanted, |new| directory.inode().create(name, new))?;
    let dentry = directory.dentry.insert_new(name, inode)?;
    notify::in_directory(&**directory.inode(), InotifyMask::CREATE, name.bytes(), &**dentry.inode());
    Ok(dentry)
}

/// Makes a file without a name in the file system of a directory.
pub(crate) fn create_unnamed(
    directory: &PathRef,
    credentials: &Credentials,
    wanted: &Wanted<'_>,
) -> Result<Arc<dyn Inode>, Errno> {
    create_inode(directory, credentials, wanted, |new| directory.inode().create_unnamed(new))
}

fn create_inode(
    directory: &PathRef,
    credentials: &Credentials,
    wanted: &Wanted<'_>,
    create: impl FnOnce(&NewInode<'_>) -> Result<Arc<dyn Inode>, Errno>,
) -> Result<Arc<dyn Inode>, Errno> {
    let (mut mode, gid) = inherited(&**directory.inode(), credentials, wanted.mode);
    let acls = Inherited::from(&**directory.inode(), &mut mode, wanted.umask)?;
    let Wanted { represents, target, .. } = *wanted;
    let inode = create(&NewInode { mode, uid: credentials.uid, gid, represents, target, acls: acls.stored() })?;
    acls.note(&*inode);
    Ok(inode)
}

/// Mode and group of a node made in a directory: one with the set-group-id bit hands on its group, and the bit to directories.
pub(crate) fn inherited(directory: &dyn Inode, credentials: &Credentials, mode: u32) -> (u32, u32) {
    let hands_on_group = directory.hands_on_group();
    let directory = directory.metadata();
    let gid = directory.gid();
    if directory.mode() & SET_GID == 0 {
        return (mode, if hands_on_group { gid } else { credentials.gid });
    }
    if mode & KIND_MASK == FileKind::Directory.mode_bits() {
        // Where the group is handed on without the bit, it need not be.
        return (if hands_on_group { mode } else { mode | SET_GID }, gid);
    }
    let claims_group = mode & (SET_GID | 0o010) == SET_GID | 0o010;
    if claims_group && !credentials.is_in_group(gid) && !credentials.has(Capabilities::FSETID) {
        return (mode & !SET_GID, gid);
    }
    (mode, gid)
}
