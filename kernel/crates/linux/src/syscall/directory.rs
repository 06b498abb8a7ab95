//! Directories: reading them, making and removing them, the working directory and the root.

use alloc::vec::Vec;

use abi::open::PATH_MAX;
use abi::{Errno, Fd, LinuxDirent, LinuxDirent64, UserPtr};
use file::DirectorySink;
use mm::user::UserWriter;
use vfs::{Capabilities, PathRef};
use zerocopy::IntoBytes;

use crate::SyscallResult;
use crate::lookup::{View, locate, read_path, start};
use crate::thread::Thread;

/// Entries gathered in one call; a larger buffer of the program is filled no further.
const BATCH_LEN_MAX: usize = 64 * 1024;

/// The layout of the records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `struct linux_dirent`: the type stands in the last byte.
    Old,
    /// `struct linux_dirent64`.
    New,
}

/// Packs entries into records.
struct Records {
    bytes: Vec<u8>,
    len_max: usize,
    layout: Layout,
    /// An entry came for which there was no room.
    has_overflown: bool,
}

impl DirectorySink for Records {
    fn entry(&mut self, name: &[u8], inode: u64, kind: u8, next: u64) -> bool {
        let begin = self.bytes.len();
        let header = match self.layout {
            Layout::Old => size_of::<LinuxDirent>() + 1,
            Layout::New => size_of::<LinuxDirent64>(),
        };
        let len = (header + name.len() + 1).next_multiple_of(8);
        let record_len = u16::try_from(len);
        let (Ok(d_reclen), true) = (record_len, len <= self.len_max - begin) else {
            self.has_overflown = true;
            return false;
        };
        let d_off = i64::try_from(next).unwrap_or(i64::MAX);
        match self.layout {
            Layout::New => {
                let header = LinuxDirent64 { d_ino: inode, d_off, d_reclen, d_type: kind };
                self.bytes.extend_from_slice(header.as_bytes());
            }
            Layout::Old => {
                let header = LinuxDirent { d_ino: inode, d_off: next, d_reclen };
                self.bytes.extend_from_slice(header.as_bytes());
            }
        }
        self.bytes.extend_from_slice(name);
        self.bytes.resize(begin + len, 0);
        if self.layout == Layout::Old
            && let Some(last) = self.bytes.last_mut()
        {
            *last = kind;
        }
        true
    }
}

fn read_directory(thread: &Thread, fd: Fd, buffer: UserPtr, count: u32, layout: Layout) -> SyscallResult {
    let open = thread.fds().get(fd.raw())?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let len_max = count.min(BATCH_LEN_MAX);
    let begin = *open.position().lock();
    let mut records = Records { bytes: Vec::with_capacity(len_max), len_max, layout, has_overflown: false };
    open.file().read_directory(&open, &mut records)?;
    if records.bytes.is_empty() && records.has_overflown {
        return Err(Errno::EINVAL.into());
    }
    let mut writer = UserWriter::new(buffer.address(), records.bytes.len())?;
    if let Err(errno) = writer.write_all(&records.bytes) {
        // Nobody has seen these entries.
        *open.position().lock() = begin;
        return Err(errno.into());
    }
    Ok(records.bytes.len())
}

pub(crate) fn getdents64(thread: &Thread, fd: Fd, buffer: UserPtr, count: u32) -> SyscallResult {
    read_directory(thread, fd, buffer, count, Layout::New)
}

pub(crate) fn getdents(thread: &Thread, fd: Fd, buffer: UserPtr, count: u32) -> SyscallResult {
    read_directory(thread, fd, buffer, count, Layout::Old)
}

// ---- The working directory ------------------------------------------------------------------------------------------

pub(crate) fn getcwd(thread: &Thread, buffer: UserPtr, size: usize) -> SyscallResult {
    let context = thread.fs().get();
    if context.cwd.dentry.is_removed() {
        return Err(Errno::ENOENT.into());
    }
    let mut path = vfs::path_name(Some(&context), &context.cwd);
    path.push(0);
    if path.len() > PATH_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    if path.len() > size {
        return Err(Errno::ERANGE.into());
    }
    UserWriter::new(buffer.address(), path.len())?.write_all(&path)?;
    Ok(path.len())
}

/// A directory that may be searched.
fn check_searchable(view: &View, place: &PathRef) -> Result<(), Errno> {
    if !place.inode().metadata().is_directory() {
        return Err(Errno::ENOTDIR);
    }
    vfs::access(&view.credentials, place, abi::AccessRights::X_OK)
}

pub(crate) fn chdir(thread: &Thread, path: UserPtr) -> SyscallResult {
    let view = View::of(thread);
    let place = locate(thread, &view, Fd::AT_FDCWD, path, true)?;
    check_searchable(&view, &place)?;
    enter(thread, place)
}

pub(crate) fn fchdir(thread: &Thread, fd: Fd) -> SyscallResult {
    let open = thread.fds().get_any(fd.raw())?;
    let place = vfs::path_of(&open);
    check_searchable(&View::of(thread), &place)?;
    enter(thread, place)
}

fn enter(thread: &Thread, directory: PathRef) -> SyscallResult {
    thread.fs().change(|context| context.set_cwd(directory))?;
    vfs::settle();
    Ok(0)
}

pub(crate) fn chroot(thread: &Thread, path: UserPtr) -> SyscallResult {
    let view = View::of(thread);
    let place = locate(thread, &view, Fd::AT_FDCWD, path, true)?;
    check_searchable(&view, &place)?;
    if !view.credentials.has(Capabilities::SYS_CHROOT) {
        return Err(Errno::EPERM.into());
    }
    thread.fs().change(|context| context.set_root(place))?;
    Ok(0)
}

// ---- Making and removing --------------------------------------------------------------------------------------------

pub(crate) fn mkdir(thread: &Thread, path: UserPtr, mode: u32) -> SyscallResult {
    mkdirat(thread, Fd::AT_FDCWD, path, mode)
}

pub(crate) fn mkdirat(thread: &Thread, directory: Fd, path: UserPtr, mode: u32) -> SyscallResult {
    let path = read_path(path)?;
    let start = start(thread, directory, &path)?;
    let view = View::of(thread);
    vfs::mkdir(&view.context, &view.credentials, start.as_ref(), &path, mode)?;
    Ok(0)
}

pub(crate) fn rmdir(thread: &Thread, path: UserPtr) -> SyscallResult {
    remove_directory(thread, Fd::AT_FDCWD, path)
}

/// `rmdir`, and `unlinkat` with `AT_REMOVEDIR`.
pub(super) fn remove_directory(thread: &Thread, directory: Fd, path: UserPtr) -> SyscallResult {
    let path = read_path(path)?;
    let start = start(thread, directory, &path)?;
    let view = View::of(thread);
    vfs::rmdir(&view.context, &view.credentials, start.as_ref(), &path)?;
    Ok(0)
}
