//! Names of files: links, symbolic links, special files, removal, renaming.

use abi::stat::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK};
use abi::{AccessRights, AtFlags, Errno, Fd, RenameFlags, UserPtr};
use mm::user::UserWriter;
use vfs::{Capabilities, VnodeFile};

use super::directory::remove_directory;
use crate::SyscallResult;
use crate::lookup::{UserPath, View, at_flags, file_as, locate_read, read_path, start};
use crate::thread::Thread;

pub(crate) fn link(thread: &Thread, old_path: UserPtr, new_path: UserPtr) -> SyscallResult {
    linkat(thread, Fd::AT_FDCWD, old_path, Fd::AT_FDCWD, new_path, 0)
}

pub(crate) fn linkat(
    thread: &Thread,
    old_directory: Fd,
    old_path: UserPtr,
    new_directory: Fd,
    new_path: UserPtr,
    flags: u32,
) -> SyscallResult {
    let flags = at_flags(flags, AtFlags::SYMLINK_FOLLOW | AtFlags::EMPTY_PATH)?;
    let view = View::of(thread);
    let takes_empty = flags.contains(AtFlags::EMPTY_PATH);
    let old_path = if takes_empty { UserPath::read(old_path)? } else { read_path(old_path)? };
    if takes_empty && !view.credentials.has(Capabilities::DAC_READ_SEARCH) {
        check_opener(thread, &view, old_directory, &old_path)?;
    }
    // Unlike other calls this one does not follow a link unless asked to.
    let follows = flags.contains(AtFlags::SYMLINK_FOLLOW);
    let source = locate_read(thread, &view, old_directory, &old_path, follows)?;
    let path = read_path(new_path)?;
    let start = start(thread, new_directory, &path)?;
    vfs::link(&view.context, &view.credentials, &source, start.as_ref(), &path)?;
    Ok(0)
}

/// `ENOENT` unless the descriptor where a path begins was opened by who the caller is still: what others have handed
/// over gets no name by those who could not reach it.
fn check_opener(thread: &Thread, view: &View, directory: Fd, path: &UserPath) -> Result<(), Errno> {
    if directory == Fd::AT_FDCWD || path.starts_with(b"/") {
        return Ok(());
    }
    let open = thread.fds().get_any(directory.raw())?;
    let is_own = file_as::<VnodeFile>(&open).is_none_or(|file| file.was_opened_by(&view.credentials));
    if is_own { Ok(()) } else { Err(Errno::ENOENT) }
}

pub(crate) fn unlink(thread: &Thread, path: UserPtr) -> SyscallResult {
    unlinkat(thread, Fd::AT_FDCWD, path, 0)
}

pub(crate) fn unlinkat(thread: &Thread, directory: Fd, path: UserPtr, flags: u32) -> SyscallResult {
    let flags = at_flags(flags, AtFlags::REMOVEDIR)?;
    if flags.contains(AtFlags::REMOVEDIR) {
        return remove_directory(thread, directory, path);
    }
    let path = read_path(path)?;
    let start = start(thread, directory, &path)?;
    let view = View::of(thread);
    vfs::unlink(&view.context, &view.credentials, start.as_ref(), &path)?;
    Ok(0)
}

pub(crate) fn symlink(thread: &Thread, target: UserPtr, path: UserPtr) -> SyscallResult {
    symlinkat(thread, target, Fd::AT_FDCWD, path)
}

pub(crate) fn symlinkat(thread: &Thread, target: UserPtr, directory: Fd, path: UserPtr) -> SyscallResult {
    let target = read_path(target)?;
    let path = read_path(path)?;
    let start = start(thread, directory, &path)?;
    let view = View::of(thread);
    vfs::symlink(&view.context, &view.credentials, &target, start.as_ref(), &path)?;
    Ok(0)
}

pub(crate) fn readlink(thread: &Thread, path: UserPtr, buffer: UserPtr, size: i32) -> SyscallResult {
    readlinkat(thread, Fd::AT_FDCWD, path, buffer, size)
}

pub(crate) fn readlinkat(thread: &Thread, directory: Fd, path: UserPtr, buffer: UserPtr, size: i32) -> SyscallResult {
    let size = usize::try_from(size).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let view = View::of(thread);
    let path = UserPath::read(path)?;
    let place = locate_read(thread, &view, directory, &path, false)?;
    let text = match vfs::readlink(&view.credentials, &place) {
        // An empty path stands for a link opened with `O_PATH`, and for nothing else.
        Err(Errno::EINVAL) if path.is_empty() => return Err(Errno::ENOENT.into()),
        text => text?,
    };
    let len = text.len().min(size);
    UserWriter::new(buffer.address(), len)?.write_all(&text[..len])?;
    Ok(len)
}

pub(crate) fn rename(thread: &Thread, old_path: UserPtr, new_path: UserPtr) -> SyscallResult {
    renameat2(thread, Fd::AT_FDCWD, old_path, Fd::AT_FDCWD, new_path, 0)
}

pub(crate) fn renameat(
    thread: &Thread,
    old_directory: Fd,
    old_path: UserPtr,
    new_directory: Fd,
    new_path: UserPtr,
) -> SyscallResult {
    renameat2(thread, old_directory, old_path, new_directory, new_path, 0)
}

pub(crate) fn renameat2(
    thread: &Thread,
    old_directory: Fd,
    old_path: UserPtr,
    new_directory: Fd,
    new_path: UserPtr,
    flags: u32,
) -> SyscallResult {
    let flags = RenameFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    if flags.contains(RenameFlags::EXCHANGE) && flags != RenameFlags::EXCHANGE {
        return Err(Errno::EINVAL.into());
    }
    let old_path = read_path(old_path)?;
    let old_start = start(thread, old_directory, &old_path)?;
    let view = View::of(thread);
    let new = read_path(new_path).and_then(|path| start(thread, new_directory, &path).map(|start| (path, start)));
    let (new_path, new_start) = match new {
        Ok(new) => new,
        // Linux walks to the old name before it looks at the new one.
        Err(errno) => {
            let directory = view.resolve(old_start.as_ref(), directory_of(&old_path), true)?;
            vfs::access(&view.credentials, &directory, AccessRights::X_OK)?;
            return Err(errno.into());
        }
    };
    let old = (old_start.as_ref(), &*old_path);
    let new = (new_start.as_ref(), &*new_path);
    vfs::rename(&view.context, &view.credentials, old, new, flags)?;
    Ok(0)
}

/// The path without its last component.
fn directory_of(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    match path[..end].iter().rposition(|byte| *byte == b'/') {
        Some(slash) => &path[..slash + 1],
        None if end == 0 => path,
        None => b".",
    }
}

pub(crate) fn mknod(thread: &Thread, path: UserPtr, mode: u32, device: u32) -> SyscallResult {
    mknodat(thread, Fd::AT_FDCWD, path, mode, device)
}

pub(crate) fn mknodat(thread: &Thread, directory: Fd, path: UserPtr, mode: u32, device: u32) -> SyscallResult {
    // The type is an unsigned short in Linux.
    let mode = mode & 0xffff;
    match mode & S_IFMT {
        0 | S_IFREG | S_IFCHR | S_IFBLK | S_IFIFO | S_IFSOCK => {}
        S_IFDIR => return Err(Errno::EPERM.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    let path = read_path(path)?;
    let start = start(thread, directory, &path)?;
    let view = View::of(thread);
    vfs::mknod(&view.context, &view.credentials, start.as_ref(), &path, mode, u64::from(device))?;
    Ok(0)
}
