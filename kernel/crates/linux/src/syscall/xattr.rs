//! Extended attributes of files: `getxattr` and its family.
//!
//! As in Linux the name, and for a change the value, are copied before the path is walked. A name that is empty or longer than 255 bytes
//! is `ERANGE`, a value or list that the buffer is too small for as well. With a size of 0 only the length is asked for.

use alloc::vec::Vec;

use abi::xattr::{XATTR_CREATE, XATTR_LIST_MAX, XATTR_NAME_MAX, XATTR_REPLACE, XATTR_SIZE_MAX, XattrArgs};
use abi::{AtFlags, Errno, Fd, PAGE_SIZE, UserPtr};
use mm::user::{UserReader, UserWriter, read_user_cstr, read_user_struct};
use vfs::{PathRef, XattrChange};

use super::open::check_rest_is_zero;
use crate::SyscallResult;
use crate::lookup::{UserPath, View, at_flags, locate, locate_with};
use crate::thread::Thread;

/// What a call works on.
#[derive(Clone, Copy)]
enum Target {
    /// What a path leads to; false: a link at its end is not followed.
    Path(UserPtr, bool),
    /// An open file.
    Open(Fd),
    /// A path from a directory, with checked flags.
    At(Fd, UserPtr, AtFlags),
}

impl Target {
    fn at(directory: Fd, path: UserPtr, flags: u32) -> Result<Self, Errno> {
        let flags = at_flags(flags, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
        let means_open = flags.contains(AtFlags::EMPTY_PATH) && !directory.is_cwd();
        // As with `fgetxattr`, `O_PATH` does not do.
        if means_open && (path.is_null() || UserPath::read(path)?.is_empty()) {
            return Ok(Self::Open(directory));
        }
        Ok(Self::At(directory, path, flags))
    }

    fn place(self, thread: &Thread, view: &View) -> Result<PathRef, Errno> {
        match self {
            Self::Path(path, follows) => locate(thread, view, Fd::AT_FDCWD, path, follows),
            Self::Open(fd) => Ok(vfs::path_of(&*thread.fds().get(fd.raw())?)),
            Self::At(directory, path, flags) => locate_with(thread, view, directory, path, flags),
        }
    }
}

/// A name, with its name space.
fn read_name(name: UserPtr) -> Result<Vec<u8>, Errno> {
    match read_user_cstr(name.address(), XATTR_NAME_MAX + 1) {
        Ok(name) if name.is_empty() => Err(Errno::ERANGE),
        Err(Errno::ENAMETOOLONG) => Err(Errno::ERANGE),
        result => result,
    }
}

/// Gives `bytes` to the program, if they are not only asked for their length.
fn answer(bytes: &[u8], to: UserPtr, size: usize) -> SyscallResult {
    if size == 0 {
        return Ok(bytes.len());
    }
    if bytes.len() > size {
        return Err(Errno::ERANGE.into());
    }
    UserWriter::new(to.address(), bytes.len())?.write_all(bytes)?;
    Ok(bytes.len())
}

fn get(thread: &Thread, target: Target, name: UserPtr, value: UserPtr, size: usize) -> SyscallResult {
    let name = read_name(name)?;
    let view = View::of(thread);
    let place = target.place(thread, &view)?;
    answer(&vfs::get_xattr(&view.credentials, &place, &name)?, value, size)
}

fn set(thread: &Thread, target: Target, name: UserPtr, value: UserPtr, size: usize, flags: u32) -> SyscallResult {
    if flags & !(XATTR_CREATE | XATTR_REPLACE) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = read_name(name)?;
    if size > XATTR_SIZE_MAX {
        return Err(Errno::E2BIG.into());
    }
    let mut bytes = alloc::vec![0; size];
    UserReader::new(value.address(), size)?.read_exact(&mut bytes)?;
    let view = View::of(thread);
    let place = target.place(thread, &view)?;
    let change = match flags {
        0 => XattrChange::Set(&bytes),
        XATTR_CREATE => XattrChange::Create(&bytes),
        XATTR_REPLACE => XattrChange::Replace(&bytes),
        // What must be new and must be there fails either way.
        _ if vfs::get_xattr(&view.credentials, &place, &name).is_ok() => XattrChange::Create(&bytes),
        _ => XattrChange::Replace(&bytes),
    };
    vfs::change_xattr(&view.credentials, &place, &name, change)?;
    Ok(0)
}

fn list(thread: &Thread, target: Target, names: UserPtr, size: usize) -> SyscallResult {
    let view = View::of(thread);
    let place = target.place(thread, &view)?;
    let list = vfs::list_xattrs(&view.credentials, &place)?;
    match size {
        0 => Ok(list.length()),
        1..XATTR_LIST_MAX if list.length() > size => Err(Errno::ERANGE.into()),
        _ => answer(&list.into_bytes()?, names, size),
    }
}

fn remove(thread: &Thread, target: Target, name: UserPtr) -> SyscallResult {
    let name = read_name(name)?;
    let view = View::of(thread);
    let place = target.place(thread, &view)?;
    vfs::change_xattr(&view.credentials, &place, &name, XattrChange::Remove)?;
    Ok(0)
}

// ---- The calls ------------------------------------------------------------------------------------------------------

pub(crate) fn setxattr(
    thread: &Thread,
    path: UserPtr,
    name: UserPtr,
    value: UserPtr,
    size: usize,
    flags: i32,
) -> SyscallResult {
    set(thread, Target::Path(path, true), name, value, size, flags.cast_unsigned())
}

pub(crate) fn lsetxattr(
    thread: &Thread,
    path: UserPtr,
    name: UserPtr,
    value: UserPtr,
    size: usize,
    flags: i32,
) -> SyscallResult {
    set(thread, Target::Path(path, false), name, value, size, flags.cast_unsigned())
}

pub(crate) fn fsetxattr(
    thread: &Thread,
    fd: Fd,
    name: UserPtr,
    value: UserPtr,
    size: usize,
    flags: i32,
) -> SyscallResult {
    set(thread, Target::Open(fd), name, value, size, flags.cast_unsigned())
}

pub(crate) fn getxattr(thread: &Thread, path: UserPtr, name: UserPtr, value: UserPtr, size: usize) -> SyscallResult {
    get(thread, Target::Path(path, true), name, value, size)
}

pub(crate) fn lgetxattr(thread: &Thread, path: UserPtr, name: UserPtr, value: UserPtr, size: usize) -> SyscallResult {
    get(thread, Target::Path(path, false), name, value, size)
}

pub(crate) fn fgetxattr(thread: &Thread, fd: Fd, name: UserPtr, value: UserPtr, size: usize) -> SyscallResult {
    get(thread, Target::Open(fd), name, value, size)
}

pub(crate) fn listxattr(thread: &Thread, path: UserPtr, names: UserPtr, size: usize) -> SyscallResult {
    list(thread, Target::Path(path, true), names, size)
}

pub(crate) fn llistxattr(thread: &Thread, path: UserPtr, names: UserPtr, size: usize) -> SyscallResult {
    list(thread, Target::Path(path, false), names, size)
}

pub(crate) fn flistxattr(thread: &Thread, fd: Fd, names: UserPtr, size: usize) -> SyscallResult {
    list(thread, Target::Open(fd), names, size)
}

pub(crate) fn removexattr(thread: &Thread, path: UserPtr, name: UserPtr) -> SyscallResult {
    remove(thread, Target::Path(path, true), name)
}

pub(crate) fn lremovexattr(thread: &Thread, path: UserPtr, name: UserPtr) -> SyscallResult {
    remove(thread, Target::Path(path, false), name)
}

pub(crate) fn fremovexattr(thread: &Thread, fd: Fd, name: UserPtr) -> SyscallResult {
    remove(thread, Target::Open(fd), name)
}

/// The value and flags of `setxattrat` and `getxattrat`.
fn read_arguments(arguments: UserPtr, size: usize) -> Result<XattrArgs, Errno> {
    if size < size_of::<XattrArgs>() {
        return Err(Errno::EINVAL);
    }
    if size > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    let read = read_user_struct(arguments.address())?;
    check_rest_is_zero(arguments, size_of::<XattrArgs>(), size)?;
    Ok(read)
}

/// The program's buffer that a structure tells of.
fn buffer(arguments: &XattrArgs) -> Result<(UserPtr, usize), Errno> {
    let address = usize::try_from(arguments.value).map_err(|_| Errno::EFAULT)?;
    Ok((UserPtr(address), usize::try_from(arguments.size).unwrap_or(usize::MAX)))
}

pub(crate) fn setxattrat(
    thread: &Thread,
    directory: Fd,
    path: UserPtr,
    at: u32,
    name: UserPtr,
    arguments: UserPtr,
    size: usize,
) -> SyscallResult {
    let arguments = read_arguments(arguments, size)?;
    let (value, len) = buffer(&arguments)?;
    set(thread, Target::at(directory, path, at)?, name, value, len, arguments.flags)
}

pub(crate) fn getxattrat(
    thread: &Thread,
    directory: Fd,
    path: UserPtr,
    at: u32,
    name: UserPtr,
    arguments: UserPtr,
    size: usize,
) -> SyscallResult {
    let arguments = read_arguments(arguments, size)?;
    if arguments.flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (value, len) = buffer(&arguments)?;
    get(thread, Target::at(directory, path, at)?, name, value, len)
}

pub(crate) fn listxattrat(
    thread: &Thread,
    directory: Fd,
    path: UserPtr,
    at: u32,
    names: UserPtr,
    size: usize,
) -> SyscallResult {
    list(thread, Target::at(directory, path, at)?, names, size)
}

pub(crate) fn removexattrat(thread: &Thread, directory: Fd, path: UserPtr, at: u32, name: UserPtr) -> SyscallResult {
    remove(thread, Target::at(directory, path, at)?, name)
}
