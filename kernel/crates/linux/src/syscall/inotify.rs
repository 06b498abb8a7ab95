//! What happens to files, read from a descriptor (`inotify`) or told by a signal (`F_NOTIFY`). The work is done by
//! [`vfs::notify`].

use core::sync::atomic::Ordering::Relaxed;

use abi::inotify::{INOTIFY_INIT_FLAGS, InotifyMask};
use abi::open::DirectoryEvents;
use abi::{AccessRights, Errno, Fd, OpenFlags, UserPtr};
use file::OpenFile;
use vfs::notify::{self, Inotify};
use vfs::{Lookup, VnodeFile};

use super::open::number;
use crate::SyscallResult;
use crate::file_signal::Told;
use crate::lookup::{View, file_as, read_path};
use crate::thread::Thread;

pub(crate) fn inotify_init(thread: &Thread) -> SyscallResult {
    inotify_init1(thread, 0)
}

pub(crate) fn inotify_init1(thread: &Thread, flags: u32) -> SyscallResult {
    if flags & !INOTIFY_INIT_FLAGS != 0 {
        return Err(Errno::EINVAL.into());
    }
    let flags = OpenFlags::from_bits_truncate(flags);
    let inotify = Inotify::new(thread.file_credentials().uid)?;
    let close_on_exec = flags.contains(OpenFlags::CLOEXEC);
    Ok(number(thread.fds().install(OpenFile::new(inotify, flags & OpenFlags::NONBLOCK), close_on_exec)?))
}

pub(crate) fn inotify_add_watch(thread: &Thread, fd: Fd, path: UserPtr, mask: u32) -> SyscallResult {
    let mask = InotifyMask::from_bits(mask).filter(|mask| !mask.is_empty()).ok_or(Errno::EINVAL)?;
    let open = thread.fds().get(fd.raw())?;
    if mask.contains(InotifyMask::MASK_ADD | InotifyMask::MASK_CREATE) {
        return Err(Errno::EINVAL.into());
    }
    let inotify: &Inotify = file_as(&open).ok_or(Errno::EINVAL)?;
    let view = View::of(thread);
    let mut flags = Lookup::empty();
    flags.set(Lookup::FOLLOW, !mask.contains(InotifyMask::DONT_FOLLOW));
    flags.set(Lookup::DIRECTORY, mask.contains(InotifyMask::ONLYDIR));
    let place = vfs::resolve(&view.context, &view.credentials, None, &read_path(path)?, flags)?;
    vfs::access(&view.credentials, &place, AccessRights::R_OK)?;
    Ok(number(inotify.watch(&place, mask)?))
}

pub(crate) fn inotify_rm_watch(thread: &Thread, fd: Fd, watch: i32) -> SyscallResult {
    let open = thread.fds().get(fd.raw())?;
    file_as::<Inotify>(&open).ok_or(Errno::EINVAL)?.end_watch(watch)?;
    Ok(0)
}

/// `F_NOTIFY`. Without events it ends what was asked for by the same descriptors.
pub(super) fn notify_directory(thread: &Thread, open: &OpenFile, fd: Fd, asked: u64) -> SyscallResult {
    if notify::ARE_DIRECTORIES_TOLD.load(Relaxed) == 0 {
        return Err(Errno::EINVAL.into());
    }
    let bits = u32::try_from(asked & u64::from(u32::MAX)).unwrap_or_default();
    let fds = thread.fds();
    let file = file_as::<VnodeFile>(open);
    if bits & !DirectoryEvents::MULTISHOT.bits() == 0 {
        if let Some(file) = file {
            notify::forget_directory(open, file, fds.lock_owner());
        }
        return Ok(0);
    }
    let file = file.ok_or(Errno::ENOTDIR)?;
    let asked = DirectoryEvents::from_bits_truncate(bits);
    notify::watch_directory(open, file, fds.lock_owner(), asked, || Told::new(thread, open, fd.raw()))?;
    // Another thread may have closed the descriptor meanwhile, which ends it.
    if !fds.get_counted(fd.raw()).is_ok_and(|now| core::ptr::eq::<OpenFile>(&*now, open)) {
        notify::forget_directory(open, file, fds.lock_owner());
    }
    Ok(0)
}
