//! Changing attributes of files: permissions, owners, times, length.

use abi::{AtFlags, Errno, Fd, Timespec, Timeval, UserPtr, Utimbuf};
use mm::user::read_user_struct;
use vfs::SetTime;

use super::lease::break_leases;
use super::read_write::limit_size;
use crate::SyscallResult;
use crate::lookup::{View, at_flags, locate, locate_with};
use crate::thread::Thread;

// ---- Permissions ----------------------------------------------------------------------------------------------------

pub(crate) fn umask(thread: &Thread, mask: u32) -> SyscallResult {
    let old = thread.fs().change(|context| Ok::<_, Errno>(core::mem::replace(&mut context.umask, mask & 0o777)))?;
    Ok(usize::try_from(old).unwrap_or_default())
}

pub(crate) fn chmod(thread: &Thread, path: UserPtr, mode: u32) -> SyscallResult {
    fchmodat2(thread, Fd::AT_FDCWD, path, mode, 0)
}

pub(crate) fn fchmodat(thread: &Thread, directory: Fd, path: UserPtr, mode: u32) -> SyscallResult {
    fchmodat2(thread, directory, path, mode, 0)
}

pub(crate) fn fchmodat2(thread: &Thread, directory: Fd, path: UserPtr, mode: u32, flags: u32) -> SyscallResult {
    let flags = at_flags(flags, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
    let view = View::of(thread);
    let place = locate_with(thread, &view, directory, path, flags)?;
    vfs::chmod(&view.credentials, &place, mode)?;
    Ok(0)
}

pub(crate) fn fchmod(thread: &Thread, fd: Fd, mode: u32) -> SyscallResult {
    let open = thread.fds().get(fd.raw())?;
    vfs::chmod(&thread.file_credentials(), &vfs::path_of(&open), mode)?;
    Ok(0)
}

// ---- Owners ---------------------------------------------------------------------------------------------------------

/// A new owner or group; -1 leaves the old one.
fn new_id(id: u32) -> Option<u32> {
    if id == u32::MAX { None } else { Some(id) }
}

pub(crate) fn chown(thread: &Thread, path: UserPtr, user: u32, group: u32) -> SyscallResult {
    fchownat(thread, Fd::AT_FDCWD, path, user, group, 0)
}

pub(crate) fn lchown(thread: &Thread, path: UserPtr, user: u32, group: u32) -> SyscallResult {
    fchownat(thread, Fd::AT_FDCWD, path, user, group, AtFlags::SYMLINK_NOFOLLOW.bits())
}

pub(crate) fn fchownat(
    thread: &Thread,
    directory: Fd,
    path: UserPtr,
    user: u32,
    group: u32,
    flags: u32,
) -> SyscallResult {
    let flags = at_flags(flags, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
    let view = View::of(thread);
    let place = locate_with(thread, &view, directory, path, flags)?;
    vfs::chown(&view.credentials, &place, new_id(user), new_id(group))?;
    Ok(0)
}

pub(crate) fn fchown(thread: &Thread, fd: Fd, user: u32, group: u32) -> SyscallResult {
    let open = thread.fds().get(fd.raw())?;
    vfs::chown(&thread.file_credentials(), &vfs::path_of(&open), new_id(user), new_id(group))?;
    Ok(0)
}

// ---- Times ----------------------------------------------------------------------------------------------------------

/// The times of the last read and of the last change.
type Times = (SetTime, SetTime);

const NOW: Times = (SetTime::Now, SetTime::Now);

fn set_time(time: Timespec) -> Result<SetTime, Errno> {
    match time.tv_nsec {
        Timespec::UTIME_NOW => Ok(SetTime::Now),
        Timespec::UTIME_OMIT => Ok(SetTime::Omit),
        0..abi::time::NANOSECONDS_PER_SECOND => Ok(SetTime::To(time)),
        _ => Err(Errno::EINVAL),
    }
}

fn set_both(accessed: Timespec, modified: Timespec) -> Result<Times, Errno> {
    Ok((set_time(accessed)?, set_time(modified)?))
}

fn set_time_from_microseconds(time: Timeval) -> Result<SetTime, Errno> {
    match time.tv_usec {
        0..1_000_000 => Ok(SetTime::To(Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_usec * 1000 })),
        _ => Err(Errno::EINVAL),
    }
}

/// Times in microseconds, or now when there are none.
fn read_microseconds(times: UserPtr) -> Result<Times, Errno> {
    if times.is_null() {
        return Ok(NOW);
    }
    let [accessed, modified]: [Timeval; 2] = read_user_struct(times.address())?;
    Ok((set_time_from_microseconds(accessed)?, set_time_from_microseconds(modified)?))
}

/// Sets the times of what a path, or a descriptor without one, leads to. Times that there are not are refused when it
/// was found.
fn set_times(
    thread: &Thread,
    directory: Fd,
    path: UserPtr,
    times: Result<Times, Errno>,
    flags: AtFlags,
) -> SyscallResult {
    let view = View::of(thread);
    let place = if path.is_null() && !directory.is_cwd() {
        if !flags.is_empty() {
            return Err(Errno::EINVAL.into());
        }
        let open = thread.fds().get(directory.raw())?;
        vfs::path_of(&open)
    } else {
        locate_with(thread, &view, directory, path, flags)?
    };
    let (accessed, modified) = times?;
    vfs::utimens(&view.credentials, &place, accessed, modified)?;
    Ok(0)
}

pub(crate) fn utimensat(thread: &Thread, directory: Fd, path: UserPtr, times: UserPtr, flags: u32) -> SyscallResult {
    let times = if times.is_null() {
        Ok(NOW)
    } else {
        let [accessed, modified]: [Timespec; 2] = read_user_struct(times.address())?;
        let omits = |time: Timespec| time.tv_nsec == Timespec::UTIME_OMIT;
        if omits(accessed) && omits(modified) {
            // Nothing to do: Linux does not even look at the path.
            return Ok(0);
        }
        set_both(accessed, modified)
    };
    let flags = at_flags(flags, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
    set_times(thread, directory, path, times, flags)
}

pub(crate) fn utimes(thread: &Thread, path: UserPtr, times: UserPtr) -> SyscallResult {
    set_times(thread, Fd::AT_FDCWD, path, Ok(read_microseconds(times)?), AtFlags::empty())
}

pub(crate) fn futimesat(thread: &Thread, directory: Fd, path: UserPtr, times: UserPtr) -> SyscallResult {
    set_times(thread, directory, path, Ok(read_microseconds(times)?), AtFlags::empty())
}

pub(crate) fn utime(thread: &Thread, path: UserPtr, times: UserPtr) -> SyscallResult {
    let times = if times.is_null() {
        NOW
    } else {
        let Utimbuf { actime, modtime } = read_user_struct(times.address())?;
        let to = |tv_sec| SetTime::To(Timespec { tv_sec, tv_nsec: 0 });
        (to(actime), to(modtime))
    };
    set_times(thread, Fd::AT_FDCWD, path, Ok(times), AtFlags::empty())
}

// ---- Length ---------------------------------------------------------------------------------------------------------

fn new_length(length: i64) -> Result<u64, Errno> {
    u64::try_from(length).map_err(|_| Errno::EINVAL)
}

pub(crate) fn truncate(thread: &Thread, path: UserPtr, length: i64) -> SyscallResult {
    let length = new_length(length)?;
    let view = View::of(thread);
    let place = locate(thread, &view, Fd::AT_FDCWD, path, true)?;
    limit_size(thread, place.inode().metadata().size(), length)?;
    break_leases(thread, true, || vfs::truncate(&view.credentials, &place, length))?;
    Ok(0)
}

pub(crate) fn ftruncate(thread: &Thread, fd: Fd, length: i64) -> SyscallResult {
    let length = new_length(length)?;
    let open = thread.fds().get(fd.raw())?;
    if !open.is_writable() {
        return Err(Errno::EINVAL.into());
    }
    limit_size(thread, open.file().attributes()?.size, length)?;
    open.file().truncate(&open, length)?;
    Ok(0)
}
