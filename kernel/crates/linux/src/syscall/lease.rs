//! Leases: what `fcntl` does with them, and how who breaks one waits.

use abi::open::{F_RDLCK, F_UNLCK, F_WRLCK};
use abi::stat::{S_IFMT, S_IFREG};
use abi::{Errno, Fd, PollEvents};
use file::lock::{FileId, LockKind};
use file::{OpenFile, lease};
use vfs::VnodeFile;

use super::descriptor::lock_kind;
use crate::credentials::CAP_LEASE;
use crate::error::{Restart, SyscallError};
use crate::file_signal::Told;
use crate::lookup::file_as;
use crate::thread::Thread;
use crate::{SyscallResult, wait};

/// `F_GETLEASE`.
pub(super) fn get_lease(open: &OpenFile) -> Result<usize, Errno> {
    let kind = if lease::is_any() { lease::get(FileId::of(open)?, open) } else { None };
    Ok(usize::from(
        match kind {
            None => F_UNLCK,
            Some(LockKind::Shared) => F_RDLCK,
            Some(LockKind::Exclusive) => F_WRLCK,
        }
        .unsigned_abs(),
    ))
}

/// `F_SETLEASE`.
pub(super) fn set_lease(thread: &Thread, open: &OpenFile, fd: Fd, argument: u64) -> SyscallResult {
    let wanted = i32::try_from(argument & u64::from(u32::MAX)).ok().and_then(|kind| i16::try_from(kind).ok());
    let attributes = open.file().attributes()?;
    let kind = wanted.and_then(lock_kind);
    if kind.is_none() && wanted != Some(F_UNLCK) {
        return Err(Errno::EINVAL.into());
    }
    if !thread.credentials().has(CAP_LEASE) && thread.file_credentials().uid != attributes.uid {
        return Err(Errno::EACCES.into());
    }
    let file = file_as::<VnodeFile>(open).filter(|_| attributes.mode & S_IFMT == S_IFREG).ok_or(Errno::EINVAL)?;
    let id = FileId::of(open)?;
    let Some(kind) = kind else {
        lease::remove(id, open)?;
        return Ok(0);
    };
    let metadata = file.path().inode().metadata();
    let is_free = || match kind {
        LockKind::Shared => !metadata.has_writers(),
        LockKind::Exclusive => metadata.has_one_user(open.is_readable(), open.is_writable()),
    };
    lease::set(id, open, kind, is_free, || Told::new(thread, open, fd.raw()))?;
    Ok(0)
}

/// Repeats `open`, which opens or cuts a file, while leases of others are in its way. `waits`: unless it is not to
/// wait.
pub(super) fn break_leases<T>(
    thread: &Thread,
    waits: bool,
    mut open: impl FnMut() -> Result<T, Errno>,
) -> Result<T, SyscallError> {
    loop {
        let generation = lease::generation();
        let has_changed = || (lease::generation() != generation).then_some(());
        let result = open();
        if !waits || !matches!(result, Err(Errno::EAGAIN)) {
            return Ok(result?);
        }
        // The lease that was in the way may be gone by now. Without any, what is in the way is something else.
        let deadline_ns = match lease::next_deadline_ns() {
            Some(deadline_ns) => deadline_ns,
            None if has_changed().is_some() => continue,
            None => return Ok(result?),
        };
        let sources = [wait::Source { queue: lease::changes(), events: PollEvents::all() }];
        let changed = wait::until(thread, &sources, deadline_ns, has_changed)
            .map_err(|interrupted| interrupted.restart(Restart::IfAllowed))?;
        if changed.is_none() {
            lease::expire();
        }
    }
}
