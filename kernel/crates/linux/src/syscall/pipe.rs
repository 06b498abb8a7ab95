//! Making pipes and event counters.

use abi::io::{EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE};
use abi::{Errno, OpenFlags, UserPtr};
use file::eventfd::EventFd;
use file::{OpenFile, pipe as pipes};
use mm::user::write_user_struct;

use super::open::number;
use crate::SyscallResult;
use crate::thread::Thread;

pub(crate) fn pipe(thread: &Thread, descriptors: UserPtr) -> SyscallResult {
    pipe2(thread, descriptors, 0)
}

pub(crate) fn pipe2(thread: &Thread, descriptors: UserPtr, flags: u32) -> SyscallResult {
    const KNOWN: OpenFlags = OpenFlags::CLOEXEC.union(OpenFlags::NONBLOCK).union(OpenFlags::DIRECT);
    let flags = OpenFlags::from_bits(flags).filter(|flags| KNOWN.contains(*flags)).ok_or(Errno::EINVAL)?;
    let fds = thread.fds();
    let close_on_exec = flags.contains(OpenFlags::CLOEXEC);
    let reading = fds.reserve(close_on_exec)?;
    let writing = fds.reserve(close_on_exec)?;
    write_user_struct(descriptors.address(), &[reading.number(), writing.number()])?;
    let owner = thread.file_credentials();
    let (reader, writer) = pipes::pipe_owned_by(owner.uid, owner.gid);
    reading.install(OpenFile::new(reader, flags & OpenFlags::NONBLOCK));
    writing.install(OpenFile::new(writer, flags & (OpenFlags::NONBLOCK | OpenFlags::DIRECT) | OpenFlags::WRONLY));
    Ok(0)
}

pub(crate) fn eventfd(thread: &Thread, initial: u32) -> SyscallResult {
    eventfd2(thread, initial, 0)
}

pub(crate) fn eventfd2(thread: &Thread, initial: u32, flags: u32) -> SyscallResult {
    if flags & !(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let status = OpenFlags::RDWR | OpenFlags::from_bits_truncate(flags & EFD_NONBLOCK);
    let open = OpenFile::new(EventFd::new(initial, flags & EFD_SEMAPHORE != 0), status);
    Ok(number(thread.fds().install(open, flags & EFD_CLOEXEC != 0)?))
}
