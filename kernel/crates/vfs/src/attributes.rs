//! Operations on a place that was found: attributes, permissions, size.

use alloc::vec::Vec;

use abi::inotify::InotifyMask;
use abi::stat::{ST_SYNCHRONOUS, ST_VALID};
use abi::{AccessRights, Errno, Timespec};
use file::Attributes;

use crate::file_flags::Protection;
use crate::metadata::{FileKind, SET_GID, SET_UID};
use crate::open::break_leases;
use crate::{
    Capabilities, Credentials, FileSystemStatistics, FileTime, Inode, MountFlags, PathRef, Permissions, acl, notify,
};

/// What `utimensat` does to one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// Leaves it.
    Omit,
    /// Sets it to now.
    Now,
    /// Sets it to this.
    To(Timespec),
}

/// A change of attributes; what is `None`, or omitted, stays.
#[derive(Clone, Copy, Debug)]
pub struct AttributeChange {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// The time of the last read.
    pub accessed: SetTime,
    /// The time of the last change of the contents.
    pub modified: SetTime,
}

impl AttributeChange {
    /// None.
    const NOTHING: Self = Self { mode: None, uid: None, gid: None, accessed: SetTime::Omit, modified: SetTime::Omit };
}

/// What `stat` shows.
#[inline]
pub fn stat(path: &PathRef) -> Attributes {
    path.inode().attributes()
}

/// The text of a symbolic link; `EINVAL` for everything else.
pub fn readlink(credentials: &Credentials, path: &PathRef) -> Result<Vec<u8>, Errno> {
    let inode = path.inode();
    if !inode.metadata().is_symlink() {
        return Err(Errno::EINVAL);
    }
    path.mount.note_access(inode);
    inode.link_text(credentials)
}

/// Whether the file can be used so; no rights at all only ask whether it is there.
pub fn access(credentials: &Credentials, path: &PathRef, rights: AccessRights) -> Result<(), Errno> {
    let metadata = path.inode().metadata();
    let kind = metadata.kind();
    let wanted = Permissions::from_bits_truncate(rights.bits());
    if wanted.is_empty() {
        return Ok(());
    }
    let may_execute = !path.mount.flags().contains(MountFlags::NO_EXECUTE);
    if wanted.contains(Permissions::EXECUTE) && kind == FileKind::Regular && !may_execute {
        return Err(Errno::EACCES);
    }
    path.inode().check_permission(credentials, wanted)?;
    // As Linux: a read-only file system forbids writing to its own contents, not to the devices it names.
    if wanted.contains(Permissions::WRITE)
        && matches!(kind, FileKind::Regular | FileKind::Directory | FileKind::Symlink)
    {
        path.mount.check_writable()?;
    }
    Ok(())
}

/// Sets the permission bits.
pub fn chmod(credentials: &Credentials, path: &PathRef, mode: u32) -> Result<(), Errno> {
    change(path, InotifyMask::ATTRIB, |inode| {
        let metadata = inode.metadata();
        metadata.check_unprotected()?;
        if metadata.is_symlink() {
            return Err(Errno::EOPNOTSUPP);
        }
        if !credentials.owns(metadata.uid()) {
            return Err(Errno::EPERM);
        }
        if let Some(seals) = inode.seals() {
            seals.check_mode(metadata.mode(), mode)?;
        }
        let keeps_group = credentials.is_in_group(metadata.gid()) || credentials.has(Capabilities::FSETID);
        inode.prepare_change()?;
        let bits = if keeps_group { mode & 0o7777 } else { mode & 0o7777 & !SET_GID };
        inode.set_attributes(&AttributeChange { mode: Some(bits), ..AttributeChange::NOTHING })?;
        acl::set_mode(inode, bits)
    })
}

/// Sets owner and group; None leaves them. Set-id bits of what is no directory go away.
pub fn chown(credentials: &Credentials, path: &PathRef, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    let event = if uid.is_some() || gid.is_some() { InotifyMask::ATTRIB } else { InotifyMask::empty() };
    change(path, event, |inode| {
        let metadata = inode.metadata();
        if uid.is_some() || gid.is_some() {
            metadata.check_unprotected()?;
        }
        let is_owner = credentials.uid == metadata.uid();
        let may_give = credentials.has(Capabilities::CHOWN);
        if uid.is_some_and(|uid| !(may_give || is_owner && uid == metadata.uid())) {
            return Err(Errno::EPERM);
        }
        let may_take = |gid| is_owner && (gid == metadata.gid() || credentials.is_in_group(gid));
        if gid.is_some_and(|gid| !may_give && !may_take(gid)) {
            return Err(Errno::EPERM);
        }
        inode.prepare_change()?;
        inode.set_attributes(&AttributeChange { uid, gid, ..AttributeChange::NOTHING })?;
        if !metadata.is_directory() {
            let mode = metadata.mode();
            let executable_by_group = mode & 0o010 != 0;
            let dropped = if executable_by_group { SET_UID | SET_GID } else { SET_UID };
            metadata.set_permission_bits(mode & !dropped);
        }
        metadata.set_owner(uid.unwrap_or(metadata.uid()), gid.unwrap_or(metadata.gid()));
        metadata.touch_changed();
        Ok(())
    })
}

/// Sets the times of the last read and the last change of the contents.
pub fn utimens(credentials: &Credentials, path: &PathRef, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
    if accessed == SetTime::Omit && modified == SetTime::Omit {
        return Ok(());
    }
    let event = match (accessed, modified) {
        (_, SetTime::Omit) => InotifyMask::ACCESS,
        (SetTime::Omit, _) => InotifyMask::MODIFY,
        _ => InotifyMask::ATTRIB,
    };
    change(path, event, |inode| {
        let metadata = inode.metadata();
        let is_touch = accessed == SetTime::Now && modified == SetTime::Now;
        if is_touch {
            metadata.check_mutable()?
        } else {
            metadata.check_unprotected()?
        }
        if is_touch && !credentials.owns(metadata.uid()) {
            inode.check_permission(credentials, Permissions::WRITE)?;
        } else if !is_touch && !credentials.owns(metadata.uid()) {
            return Err(Errno::EPERM);
        }
        inode.prepare_change()?;
        inode.set_attributes(&AttributeChange { accessed, modified, ..AttributeChange::NOTHING })?;
        let now = FileTime::now();
        let new = |time| match time {
            SetTime::Omit => None,
            SetTime::Now => Some(now),
            SetTime::To(time) => Some(time.into()),
        };
        metadata.set_times(new(accessed), new(modified));
        Ok(())
    })
}

/// Sets the length of a file by name.
pub fn truncate(credentials: &Credentials, path: &PathRef, len: u64) -> Result<(), Errno> {
    let inode = path.inode();
    let metadata = inode.metadata();
    match metadata.kind() {
        FileKind::Regular => {}
        FileKind::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::EINVAL),
    }
    path.mount.check_writable()?;
    inode.check_permission(credentials, Permissions::WRITE)?;
    metadata.check_may_cut()?;
    metadata.begin_writing()?;
    let is_broken = if file::lease::is_any() { break_leases(metadata, true) } else { Ok(()) };
    let result = is_broken.and_then(|()| set_len(&**inode, len, credentials.has(Capabilities::FSETID), false));
    metadata.end_writing();
    result?;
    notify::at(&path.dentry, InotifyMask::MODIFY);
    Ok(())
}

/// Sets the length of a regular file. `notes_always` notes the change even when the length stays, as `ftruncate` does.
pub(crate) fn set_len(inode: &dyn Inode, len: u64, keeps_set_id: bool, notes_always: bool) -> Result<(), Errno> {
    if i64::try_from(len).is_err() {
        return Err(Errno::EFBIG);
    }
    let metadata = inode.metadata();
    let _lock = metadata.lock();
    inode.prepare_change()?;
    let is_change = len != metadata.size();
    inode.set_len(len)?;
    if !keeps_set_id {
        metadata.drop_set_id();
    }
    if is_change || notes_always {
        metadata.touch_modified();
    }
    inode.attributes_changed();
    Ok(())
}

/// The flags of a file or directory, as `chattr` knows them; `ENOTTY` where there are none.
pub fn inode_flags(path: &PathRef) -> Result<u32, Errno> {
    path.inode().flags()
}

/// Sets the flags.
pub fn set_inode_flags(credentials: &Credentials, path: &PathRef, flags: u32) -> Result<(), Errno> {
    change(path, InotifyMask::empty(), |inode| {
        let metadata = inode.metadata();
        let changed = inode.flags()? ^ flags;
        let protects = changed & u32::from(Protection::all().bits()) != 0;
        if !credentials.owns(metadata.uid()) || protects && !credentials.has(Capabilities::LINUX_IMMUTABLE) {
            return Err(Errno::EPERM);
        }
        inode.set_flags(flags)?;
        metadata.touch_changed();
        Ok(())
    })
}

/// Figures of the file system, with the mount's restrictions.
pub fn statfs(path: &PathRef) -> FileSystemStatistics {
    let mut statistics = path.mount.file_system().statistics();
    if path.mount.check_writable().is_err() {
        statistics.flags |= u64::from(MountFlags::READ_ONLY.bits());
    }
    if path.mount.superblock().is_synchronous() {
        statistics.flags |= ST_SYNCHRONOUS.unsigned_abs();
    }
    statistics.flags |= u64::from(path.mount.flags().bits()) | ST_VALID.unsigned_abs();
    statistics
}

/// Changes attributes under the inode's lock, and tells of it as `event`.
pub(crate) fn change(
    path: &PathRef,
    event: InotifyMask,
    change: impl FnOnce(&dyn Inode) -> Result<(), Errno>,
) -> Result<(), Errno> {
    path.mount.check_writable()?;
    let inode = &**path.inode();
    let _lock = inode.metadata().lock();
    change(inode)?;
    inode.attributes_changed();
    notify::at(&path.dentry, event);
    Ok(())
}
