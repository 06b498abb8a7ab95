//! Descriptors and the open files behind them: duplicating, flags, advisory locks.

use abi::open as command;
use abi::open::{F_RDLCK, F_UNLCK, F_WRLCK, FD_CLOEXEC, LOCK_EX, LOCK_MAND, LOCK_NB, LOCK_SH, LOCK_UN, OwnerEx};
use abi::open::{SEEK_CUR, SEEK_END, SEEK_SET};
use abi::{Errno, Fd, Flock, OpenFlags, UserPtr};
use file::lock::{self, FileId, LockKind, LockRange, LockWait, OpenId, RecordLock, RecordOwner};
use file::{OpenFile, Owner, OwnerKind};
use mm::user::{read_user_struct, write_user_struct};
use sync::machine::NEVER;
use vfs::VnodeFile;

use super::inotify::notify_directory;
use super::lease::{get_lease, set_lease};
use super::memfd::seal;
use super::open::number;
use crate::credentials::CAP_SYS_RESOURCE;
use crate::error::Restart;
use crate::file_signal;
use crate::lookup::file_as;
use crate::thread::Thread;
use crate::{SyscallResult, wait};

pub(crate) fn dup(thread: &Thread, fd: Fd) -> SyscallResult {
    let fds = thread.fds();
    Ok(number(fds.install(fds.get_counted(fd.raw())?, false)?))
}

pub(crate) fn dup2(thread: &Thread, old: Fd, new: Fd) -> SyscallResult {
    let fds = thread.fds();
    if old == new {
        fds.get_any(old.raw())?;
        return Ok(number(new.raw()));
    }
    Ok(number(fds.duplicate_to(old.raw(), new.raw(), false)?))
}

pub(crate) fn dup3(thread: &Thread, old: Fd, new: Fd, flags: u32) -> SyscallResult {
    let close_on_exec = flags == OpenFlags::CLOEXEC.bits();
    if (flags != 0 && !close_on_exec) || old == new {
        return Err(Errno::EINVAL.into());
    }
    Ok(number(thread.fds().duplicate_to(old.raw(), new.raw(), close_on_exec)?))
}

pub(crate) fn fcntl(thread: &Thread, fd: Fd, operation: u32, argument: u64) -> SyscallResult {
    let fds = thread.fds();
    let open = fds.get_any(fd.raw())?;
    // What an open file that is only a place answers, and everything else does as well.
    match operation {
        command::F_DUPFD | command::F_DUPFD_CLOEXEC => {
            let close_on_exec = operation == command::F_DUPFD_CLOEXEC;
            return Ok(number(fds.duplicate(fd.raw(), argument & u64::from(u32::MAX), close_on_exec)?));
        }
        command::F_GETFD => return Ok(if fds.is_close_on_exec(fd.raw())? { FD_CLOEXEC as usize } else { 0 }),
        command::F_SETFD => {
            fds.set_close_on_exec(fd.raw(), argument & u64::from(FD_CLOEXEC) != 0)?;
            return Ok(0);
        }
        command::F_DUPFD_QUERY => {
            let low = u32::try_from(argument & u64::from(u32::MAX)).unwrap_or_default();
            let other = fds.get_any(low.cast_signed())?;
            return Ok(usize::from(core::ptr::eq::<OpenFile>(&*open, &*other)));
        }
        command::F_CREATED_QUERY => return Ok(file_as::<VnodeFile>(&open).is_some_and(VnodeFile::made_file).into()),
        command::F_GETFL => return Ok(open.flags().bits() as usize),
        _ if open.is_path_only() => return Err(Errno::EBADF.into()),
        _ => {}
    }
    match operation {
        command::F_SETFL => set_status_flags(thread, &open, fd, argument),
        command::F_GETLK | command::F_OFD_GETLK => get_lock(thread, &open, operation, pointer(argument)),
        command::F_SETLK | command::F_SETLKW | command::F_OFD_SETLK | command::F_OFD_SETLKW => {
            set_lock(thread, &open, operation, pointer(argument))
        }
        command::F_ADD_SEALS | command::F_GET_SEALS => seal(&open, operation, argument),
        command::F_GETPIPE_SZ => Ok(open.file().pipe_capacity()?),
        command::F_SETPIPE_SZ => set_pipe_capacity(thread, &open, argument),
        command::F_GETLEASE => Ok(get_lease(&open)?),
        command::F_SETLEASE => set_lease(thread, &open, fd, argument),
        command::F_NOTIFY => notify_directory(thread, &open, fd, argument),
        command::F_GET_RW_HINT => {
            write_user_struct(pointer(argument).address(), &u64::from(open.write_hint()))?;
            Ok(0)
        }
        command::F_SET_RW_HINT => set_write_hint(thread, &open, pointer(argument)),
        _ => owner_control(thread, &open, operation, argument),
    }
}

/// `F_SET_RW_HINT`.
fn set_write_hint(thread: &Thread, open: &OpenFile, argument: UserPtr) -> SyscallResult {
    /// `RWH_WRITE_LIFE_EXTREME`.
    const HINT_MAX: u8 = 5;
    if !thread.file_credentials().owns(open.file().attributes()?.uid) {
        return Err(Errno::EPERM.into());
    }
    let hint: u64 = read_user_struct(argument.address())?;
    let hint = u8::try_from(hint).ok().filter(|hint| *hint <= HINT_MAX).ok_or(Errno::EINVAL)?;
    open.set_write_hint(hint);
    Ok(0)
}

/// An argument that is an address.
fn pointer(argument: u64) -> UserPtr {
    UserPtr(usize::try_from(argument).unwrap_or(usize::MAX))
}

/// `F_SETFL`.
fn set_status_flags(thread: &Thread, open: &OpenFile, fd: Fd, argument: u64) -> SyscallResult {
    let low = u32::try_from(argument & u64::from(u32::MAX)).unwrap_or_default();
    let flags = OpenFlags::from_bits_truncate(low) & OpenFlags::settable();
    let gains_noatime = flags.contains(OpenFlags::NOATIME) && !open.flags().contains(OpenFlags::NOATIME);
    if gains_noatime && !thread.file_credentials().owns(open.file().attributes()?.uid) {
        return Err(Errno::EPERM.into());
    }
    open.file().set_flags(open, flags.bits())?;
    file_signal::set_async(thread, open, fd.raw(), flags.contains(OpenFlags::ASYNC))?;
    open.change_flags(OpenFlags::settable() - OpenFlags::ASYNC, flags);
    Ok(0)
}

/// `F_SETPIPE_SZ`.
fn set_pipe_capacity(thread: &Thread, open: &OpenFile, argument: u64) -> SyscallResult {
    let file = open.file();
    file.pipe_capacity()?;
    let low = argument & u64::from(u32::MAX);
    let capacity = usize::try_from(low).unwrap_or(usize::MAX);
    if capacity > file::pipe::CAPACITY_MAX && !thread.credentials().has(CAP_SYS_RESOURCE) {
        return Err(Errno::EPERM.into());
    }
    Ok(file.set_pipe_capacity(capacity)?)
}

/// Who is told about a file, and by which signal.
fn owner_control(thread: &Thread, open: &OpenFile, operation: u32, argument: u64) -> SyscallResult {
    let low = u32::try_from(argument & u64::from(u32::MAX)).unwrap_or_default();
    let known = open.known_owner();
    match operation {
        command::F_GETOWN => {
            let owner = known.and_then(|owner| owner.get()).map_or(0, signed_owner);
            Ok(owner.cast_unsigned() as usize)
        }
        command::F_SETOWN => set_file_owner(thread, open, low.cast_signed()),
        command::F_GETOWN_EX => {
            let kind = match known.map_or(OwnerKind::Thread, |owner| owner.kind()) {
                OwnerKind::Thread => command::F_OWNER_TID,
                OwnerKind::Process => command::F_OWNER_PID,
                OwnerKind::Group => command::F_OWNER_PGRP,
            };
            let pid = known.and_then(|owner| owner.get()).map_or(0, |owner| owner.id.cast_signed());
            write_user_struct(pointer(argument).address(), &OwnerEx { kind, pid })?;
            Ok(0)
        }
        command::F_SETOWN_EX => {
            let OwnerEx { kind, pid } = read_user_struct(pointer(argument).address())?;
            let kind = match kind {
                command::F_OWNER_TID => OwnerKind::Thread,
                command::F_OWNER_PID => OwnerKind::Process,
                command::F_OWNER_PGRP => OwnerKind::Group,
                _ => return Err(Errno::EINVAL.into()),
            };
            change_owner(thread, open, kind, u32::try_from(pid).map_err(|_| Errno::ESRCH)?)
        }
        command::F_GETOWNER_UIDS => {
            let users = known.map(|owner| owner.users()).unwrap_or_default();
            write_user_struct(pointer(argument).address(), &[users.real, users.effective])?;
            Ok(0)
        }
        command::F_GETSIG => Ok(known.map_or(0, |owner| owner.signal()) as usize),
        command::F_SETSIG => {
            if low > u32::from(abi::Signal::MAX) {
                return Err(Errno::EINVAL.into());
            }
            open.owner().set_signal(low);
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// An owner as `F_GETOWN` says it.
pub(super) fn signed_owner(owner: Owner) -> i32 {
    let id = owner.id.cast_signed();
    if owner.kind == OwnerKind::Group { -id } else { id }
}

/// `F_SETOWN`: a process, or minus a group.
pub(super) fn set_file_owner(thread: &Thread, open: &OpenFile, owner: i32) -> SyscallResult {
    let kind = if owner < 0 { OwnerKind::Group } else { OwnerKind::Process };
    let id = u32::try_from(owner.checked_abs().ok_or(Errno::EINVAL)?).unwrap_or(0);
    change_owner(thread, open, kind, id)
}

/// Sets an owner that is there; 0 is nobody.
fn change_owner(thread: &Thread, open: &OpenFile, kind: OwnerKind, id: u32) -> SyscallResult {
    let process = thread.process();
    let is_there = id == 0
        || id == process.pid()
        || id == process.group()
        || process.threads().iter().any(|thread| thread.tid() == id);
    if !is_there {
        return Err(Errno::ESRCH.into());
    }
    match id {
        0 => open.owner().clear(kind),
        _ => open.owner().set(Owner { kind, id }, file_signal::users(thread)),
    }
    file_signal::owner_changed(thread, open)?;
    Ok(0)
}

// ---- Record locks ---------------------------------------------------------------------------------------------------

/// The bytes a `struct flock` means.
fn lock_range(open: &OpenFile, flock: &Flock) -> Result<LockRange, Errno> {
    let base = match u32::try_from(flock.l_whence) {
        Ok(SEEK_SET) => 0,
        Ok(SEEK_CUR) => {
            let position = *open.position().lock();
            i64::try_from(position).map_err(|_| Errno::EOVERFLOW)?
        }
        Ok(SEEK_END) => i64::try_from(open.file().attributes()?.size).map_err(|_| Errno::EOVERFLOW)?,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(flock.l_start).ok_or(Errno::EOVERFLOW)?;
    let (first, last) = match flock.l_len {
        0 => (start, i64::MAX),
        len @ 1.. => (start, start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?),
        len => (start.checked_add(len).ok_or(Errno::EINVAL)?, start - 1),
    };
    match (u64::try_from(first), u64::try_from(last)) {
        (Ok(first), Ok(last)) => Ok(LockRange { first, last }),
        _ => Err(Errno::EINVAL),
    }
}

/// Whose lock an `fcntl` command sets, and the `struct flock` it came with.
fn lock_request(
    thread: &Thread,
    open: &OpenFile,
    operation: u32,
    argument: UserPtr,
) -> Result<(Flock, LockRange, RecordOwner), Errno> {
    let flock: Flock = read_user_struct(argument.address())?;
    let is_open_file = matches!(operation, command::F_OFD_GETLK | command::F_OFD_SETLK | command::F_OFD_SETLKW);
    if is_open_file && flock.l_pid != 0 {
        return Err(Errno::EINVAL);
    }
    let range = lock_range(open, &flock)?;
    let owner = if is_open_file {
        RecordOwner::Open(OpenId::of(open))
    } else {
        RecordOwner::Table(thread.fds().lock_owner(), thread.process().pid().cast_signed())
    };
    Ok((flock, range, owner))
}

pub(super) fn lock_kind(kind: i16) -> Option<LockKind> {
    match kind {
        F_RDLCK => Some(LockKind::Shared),
        F_WRLCK => Some(LockKind::Exclusive),
        _ => None,
    }
}

fn get_lock(thread: &Thread, open: &OpenFile, operation: u32, argument: UserPtr) -> SyscallResult {
    let (mut flock, range, owner) = lock_request(thread, open, operation, argument)?;
    let file = FileId::of(open)?;
    let found = match lock_kind(flock.l_type) {
        Some(kind) => lock::conflict(file, &RecordLock { owner, kind, range }),
        // Asks an open file for its own locks.
        None if flock.l_type == F_UNLCK && operation == command::F_OFD_GETLK => lock::own_lock(file, &owner, range),
        None => return Err(Errno::EINVAL.into()),
    };
    match found {
        None => flock.l_type = F_UNLCK,
        Some(other) => {
            let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            let len = if other.range.last >= i64::MAX.unsigned_abs() {
                0
            } else {
                signed(other.range.last - other.range.first + 1)
            };
            flock = Flock {
                l_type: if other.kind == LockKind::Shared { F_RDLCK } else { F_WRLCK },
                l_whence: 0,
                l_start: signed(other.range.first),
                l_len: len,
                l_pid: match other.owner {
                    RecordOwner::Table(_, pid) => pid,
                    RecordOwner::Open(_) => -1,
                },
                ..flock
            };
        }
    }
    write_user_struct(argument.address(), &flock)?;
    Ok(0)
}

fn set_lock(thread: &Thread, open: &OpenFile, operation: u32, argument: UserPtr) -> SyscallResult {
    let (flock, range, owner) = lock_request(thread, open, operation, argument)?;
    let file = FileId::of(open)?;
    let Some(kind) = lock_kind(flock.l_type) else {
        if flock.l_type != F_UNLCK {
            return Err(Errno::EINVAL.into());
        }
        lock::unlock_records(file, &owner, range);
        return Ok(0);
    };
    let may_lock = if kind == LockKind::Shared { open.is_readable() } else { open.is_writable() };
    if !may_lock {
        return Err(Errno::EBADF.into());
    }
    match owner {
        RecordOwner::Table(..) => thread.fds().note_locks(),
        RecordOwner::Open(_) => open.note_locks(),
    }
    let wanted = RecordLock { owner, kind, range };
    if matches!(operation, command::F_SETLK | command::F_OFD_SETLK) {
        return if lock::lock_record(file, wanted)? { Ok(0) } else { Err(Errno::EAGAIN.into()) };
    }
    let mut wait = LockWait::default();
    take_lock(thread, true, || wait.attempt(file, wanted))
}

/// Tries to take a lock, again after each release when the caller waits.
fn take_lock(thread: &Thread, waits: bool, mut attempt: impl FnMut() -> Result<bool, Errno>) -> SyscallResult {
    if attempt()? {
        return Ok(0);
    }
    if !waits {
        return Err(Errno::EAGAIN.into());
    }
    let sources = [wait::Source { queue: lock::releases(), events: abi::PollEvents::all() }];
    let taken = wait::until(thread, &sources, NEVER, || match attempt() {
        Ok(false) => None,
        Ok(true) => Some(Ok(())),
        Err(errno) => Some(Err(errno)),
    })
    .map_err(|interrupted| interrupted.restart(Restart::IfAllowed))?;
    taken.unwrap_or(Err(Errno::EAGAIN))?;
    Ok(0)
}

pub(crate) fn flock(thread: &Thread, fd: Fd, operation: u32) -> SyscallResult {
    if operation & LOCK_MAND != 0 {
        // A kind that Linux has given up: it says so to nobody.
        return Ok(0);
    }
    let kind = match operation & !LOCK_NB {
        LOCK_SH => Some(LockKind::Shared),
        LOCK_EX => Some(LockKind::Exclusive),
        LOCK_UN => None,
        _ => return Err(Errno::EINVAL.into()),
    };
    let open = thread.fds().get(fd.raw())?;
    if kind.is_some() && !open.is_readable() && !open.is_writable() {
        return Err(Errno::EBADF.into());
    }
    let file = FileId::of(&open)?;
    let id = OpenId::of(&open);
    let Some(kind) = kind else {
        lock::unlock_whole(file, id);
        return Ok(0);
    };
    open.note_locks();
    let process = thread.process().pid().cast_signed();
    take_lock(thread, operation & LOCK_NB == 0, || Ok(lock::lock_whole(file, id, kind, process)))
}
