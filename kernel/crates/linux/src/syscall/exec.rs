//! `execve` and `execveat`.

use abi::open::PATH_MAX;
use abi::{AtFlags, Errno, Fd, UserPtr};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;
use mm::user::read_user_cstr_array;
use vfs::{FileKind, PathRef};

use crate::SyscallResult;
use crate::exec::{self, Program, Starter};
use crate::lookup::{self, UserPath, View};
use crate::thread::Thread;
use crate::transition::become_program;

/// The most bytes of arguments and environment that are read; what fits the new stack is known later.
const STRINGS_LEN_MAX: usize = 6 << 20;

pub(crate) fn execve(thread: &Thread, path: UserPtr, arguments: UserPtr, environment: UserPtr) -> SyscallResult {
    execveat(thread, Fd::AT_FDCWD, path, arguments, environment, 0)
}

pub(crate) fn execveat(
    thread: &Thread,
    directory: Fd,
    path: UserPtr,
    arguments: UserPtr,
    environment: UserPtr,
    flags: u32,
) -> SyscallResult {
    let flags = lookup::at_flags(flags, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)?;
    let view = View::of(thread);
    let path = UserPath::read(path)?;
    if path.is_empty() && !flags.contains(AtFlags::EMPTY_PATH) {
        return Err(Errno::ENOENT.into());
    }
    let place = locate(thread, &view, directory, &path, flags)?;
    let name = name(directory, &path);
    let limits = thread.process().limits();
    let credentials = thread.credentials().at_execution();
    let starter = Starter {
        platform: thread.platform(),
        fs: &view.context,
        credentials: &credentials,
        file_credentials: &view.credentials,
        limits: &limits,
        address_randomness: thread.process().system().settings().address_randomness.load(Relaxed),
    };
    // A script is opened by its name, again, and after an execution that closes its descriptor it has none.
    let is_reachable = name.len() == path.len() || !thread.fds().is_close_on_exec(directory.raw()).unwrap_or(false);
    let found = exec::find(&starter, place, &name, is_reachable).map_err(|error| error.errno())?;

    let mut arguments = read_user_cstr_array(arguments.address(), STRINGS_LEN_MAX)?;
    let environment = read_user_cstr_array(environment.address(), STRINGS_LEN_MAX)?;
    if arguments.is_empty() {
        // Programs rely on having a name.
        arguments.push(Vec::new());
    }
    let program = Program { path: &name, arguments: &arguments, environment: &environment };
    let prepared = exec::prepare(&starter, &program, found).map_err(|error| error.errno())?;
    become_program(thread, prepared, credentials, &name)?;
    Ok(0)
}

/// What is to be executed.
fn locate(thread: &Thread, view: &View, directory: Fd, path: &[u8], flags: AtFlags) -> Result<PathRef, Errno> {
    if path.is_empty() {
        return lookup::locate_open(thread, view, directory);
    }
    let start = lookup::start(thread, directory, path)?;
    let place = view.resolve(start.as_ref(), path, !flags.contains(AtFlags::SYMLINK_NOFOLLOW))?;
    if place.inode().metadata().kind() == FileKind::Symlink {
        return Err(Errno::ELOOP);
    }
    Ok(place)
}

/// What the program is told it was started as.
fn name(directory: Fd, path: &[u8]) -> Vec<u8> {
    if directory.is_cwd() || path.first() == Some(&b'/') {
        return path.to_vec();
    }
    let mut name = format!("/dev/fd/{}", directory.raw()).into_bytes();
    if !path.is_empty() {
        name.push(b'/');
        name.extend_from_slice(path);
    }
    name.truncate(PATH_MAX);
    name
}
