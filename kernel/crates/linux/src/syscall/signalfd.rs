//! Signals read from a descriptor.

use abi::signal::{SFD_CLOEXEC, SFD_NONBLOCK};
use abi::{Errno, Fd, OpenFlags, Sigset, UserPtr};
use file::OpenFile;
use mm::user::read_user_struct;

use super::open::number;
use crate::SyscallResult;
use crate::lookup::file_as;
use crate::signalfd::SignalFd;
use crate::thread::Thread;

/// The descriptor that asks for a new one.
const NEW: i32 = -1;

pub(crate) fn signalfd(thread: &Thread, fd: Fd, mask: UserPtr, set_size: usize) -> SyscallResult {
    signalfd4(thread, fd, mask, set_size, 0)
}

pub(crate) fn signalfd4(thread: &Thread, fd: Fd, mask: UserPtr, set_size: usize, flags: u32) -> SyscallResult {
    if set_size != size_of::<Sigset>() {
        return Err(Errno::EINVAL.into());
    }
    let set: Sigset = read_user_struct(mask.address())?;
    if flags & !(SFD_CLOEXEC | SFD_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if fd.raw() != NEW {
        let open = thread.fds().get(fd.raw())?;
        file_as::<SignalFd>(&open).ok_or(Errno::EINVAL)?.set(set);
        return Ok(number(fd.raw()));
    }
    let status = OpenFlags::RDWR | OpenFlags::from_bits_truncate(flags & SFD_NONBLOCK);
    let open = OpenFile::new(SignalFd::new(thread.process(), set), status);
    Ok(number(thread.fds().install(open, flags & SFD_CLOEXEC != 0)?))
}
