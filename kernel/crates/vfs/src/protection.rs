//! Restrictions in directories that everybody may write to: `fs.protected_*`, as proc_sys_fs(5) has them.
//!
//! They keep one user from leading another, or a program with more rights, astray in `/tmp`: by links to files of
//! others, and by files that are there already when somebody means to make them.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::Errno;

use crate::metadata::{FileKind, Metadata, SET_GID, SET_UID, STICKY};
use crate::{Credentials, Inode, Permissions};

/// Others may write.
const WRITABLE_BY_ALL: u32 = 0o002;
/// The group may write.
const WRITABLE_BY_GROUP: u32 = 0o020;

/// The settings of `/proc/sys/fs/protected_*`.
pub struct Protection {
    /// FIFOs of others are not opened with `O_CREAT`: 1 where everybody may write, 2 where a group may.
    pub fifos: AtomicU32,
    /// Hard links are made only to what one owns, or may read and write.
    pub hard_links: AtomicU32,
    /// As `fifos`, for regular files.
    pub regular: AtomicU32,
    /// Symbolic links of others are not followed where everybody may write.
    pub symbolic_links: AtomicU32,
}

/// The settings in force.
pub static PROTECTION: Protection = Protection {
    fifos: AtomicU32::new(0),
    hard_links: AtomicU32::new(1),
    regular: AtomicU32::new(0),
    symbolic_links: AtomicU32::new(0),
};

/// Whether the last link of a path, which lies in `directory`, may be followed.
#[inline]
pub(crate) fn check_follow(credentials: &Credentials, directory: &Metadata, link: &Metadata) -> Result<(), Errno> {
    if PROTECTION.symbolic_links.load(Relaxed) == 0 || credentials.uid == link.uid() {
        return Ok(());
    }
    let is_open_to_all = directory.mode() & (STICKY | WRITABLE_BY_ALL) == STICKY | WRITABLE_BY_ALL;
    if is_open_to_all && directory.uid() != link.uid() { Err(Errno::EACCES) } else { Ok(()) }
}

/// Whether a name may be added for a file.
pub(crate) fn check_link(credentials: &Credentials, inode: &dyn Inode) -> Result<(), Errno> {
    let file = inode.metadata();
    if PROTECTION.hard_links.load(Relaxed) == 0 || credentials.owns(file.uid()) {
        return Ok(());
    }
    let mode = file.mode();
    let gives_rights = mode & SET_UID != 0 || mode & (SET_GID | 0o010) == SET_GID | 0o010;
    let may_use = || inode.check_permission(credentials, Permissions::READ | Permissions::WRITE).is_ok();
    if file.is_regular() && !gives_rights && may_use() { Ok(()) } else { Err(Errno::EPERM) }
}

/// Whether a file that is in `directory` already may be opened with `O_CREAT`.
pub(crate) fn check_create_existing(
    credentials: &Credentials,
    directory: &Metadata,
    file: &Metadata,
) -> Result<(), Errno> {
    let mode = directory.mode();
    let setting = match file.kind() {
        FileKind::Regular => PROTECTION.regular.load(Relaxed),
        FileKind::Fifo => PROTECTION.fifos.load(Relaxed),
        // As on Linux, other kinds are protected always where everybody may write.
        _ => 1,
    };
    let is_trusted = file.uid() == directory.uid() || file.uid() == credentials.uid;
    if mode & STICKY == 0 || setting == 0 || is_trusted {
        return Ok(());
    }
    let is_refused = mode & WRITABLE_BY_ALL != 0 || mode & WRITABLE_BY_GROUP != 0 && setting >= 2;
    if is_refused { Err(Errno::EACCES) } else { Ok(()) }
}
