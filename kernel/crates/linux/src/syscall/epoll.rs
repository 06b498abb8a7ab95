//! `epoll`: descriptors watched as a set.

use abi::io::{EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLEXCLUSIVE, EPOLLWAKEUP};
use abi::{EpollEvent, Errno, Fd, OpenFlags, PollEvents, UserPtr};
use file::OpenFile;
use mm::user::{UserWriter, read_user_struct};
use sync::{Mutex, rank};

use super::open::number;
use super::poll::{deadline, read_timeout, with_mask};
use crate::epoll::{Epoll, check_nesting};
use crate::error::{Interrupted, SyscallError};
use crate::lookup::file_as;
use crate::thread::Thread;
use crate::{SyscallResult, wait};

/// The most events one call can ask for.
const EVENTS_MAX: usize = i32::MAX as usize / size_of::<EpollEvent>();
const NS_PER_MS: u64 = 1_000_000;

/// What may come with `EPOLLEXCLUSIVE`.
const BESIDE_EXCLUSIVE: u32 =
    PollEvents::IN.union(PollEvents::OUT).union(PollEvents::ERR).union(PollEvents::HUP).bits()
        | EPOLLET
        | EPOLLWAKEUP
        | EPOLLEXCLUSIVE;

/// Held while an instance is added to another, so that two additions do not close a circle together.
static NESTING: Mutex<()> = Mutex::new(rank::EPOLL_NESTING, ());

pub(crate) fn epoll_create(thread: &Thread, size: i32) -> SyscallResult {
    // Once a hint; it must be positive still.
    if size <= 0 { Err(Errno::EINVAL.into()) } else { epoll_create1(thread, 0) }
}

pub(crate) fn epoll_create1(thread: &Thread, flags: u32) -> SyscallResult {
    if flags & !EPOLL_CLOEXEC != 0 {
        return Err(Errno::EINVAL.into());
    }
    let open = OpenFile::new(Epoll::new(), OpenFlags::RDWR);
    Ok(number(thread.fds().install(open, flags & EPOLL_CLOEXEC != 0)?))
}

pub(crate) fn epoll_ctl(thread: &Thread, epoll: Fd, operation: i32, fd: Fd, event: UserPtr) -> SyscallResult {
    let event = match operation {
        EPOLL_CTL_DEL => EpollEvent { events: 0, data: 0 },
        _ => read_user_struct(event.address())?,
    };
    let fds = thread.fds();
    let open = fds.get(epoll.raw())?;
    let target = fds.get(fd.raw())?;
    if !target.file().is_pollable() {
        return Err(Errno::EPERM.into());
    }
    let epoll = file_as::<Epoll>(&open)
        .filter(|_| !core::ptr::eq(&raw const *open, &raw const *target))
        .ok_or(Errno::EINVAL)?;
    let inner = file_as::<Epoll>(&target);
    if event.events & EPOLLEXCLUSIVE != 0 {
        let is_allowed = match operation {
            EPOLL_CTL_ADD => inner.is_none() && event.events & !BESIDE_EXCLUSIVE == 0,
            EPOLL_CTL_MOD => false,
            _ => true,
        };
        if !is_allowed {
            return Err(Errno::EINVAL.into());
        }
    }
    match operation {
        EPOLL_CTL_ADD => {
            let _nesting = match inner {
                Some(inner) => {
                    let nesting = NESTING.lock();
                    check_nesting(epoll, inner)?;
                    Some(nesting)
                }
                None => None,
            };
            epoll.add(fd.raw(), &target.to_arc(), event)?;
        }
        EPOLL_CTL_MOD => epoll.modify(fd.raw(), &target.to_arc(), event)?,
        EPOLL_CTL_DEL => epoll.remove(fd.raw(), &target.to_arc())?,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// The whole of a wait but for the time-out and the mask. Errors of the program come first, then how the wait ended.
fn wait_until(
    thread: &Thread,
    epoll: Fd,
    events: UserPtr,
    count: i32,
    deadline_ns: u64,
) -> Result<Result<usize, Interrupted>, Errno> {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    if count == 0 || count > EVENTS_MAX {
        return Err(Errno::EINVAL);
    }
    let mut writer = UserWriter::new(events.address(), count * size_of::<EpollEvent>())?;
    let open = thread.fds().get(epoll.raw())?;
    let epoll = file_as::<Epoll>(&open).ok_or(Errno::EINVAL)?;
    let mut attempt = || match epoll.take(count, |event| writer.write_struct(event)) {
        Ok(0) => None,
        result => Some(result),
    };
    if let Some(result) = attempt() {
        return result.map(Ok);
    }
    if deadline_ns == 0 {
        wait::send_held(thread);
        return Ok(Ok(0));
    }
    let source = wait::Source { queue: epoll.waiters(), events: PollEvents::READABLE };
    match wait::until_turn(thread, source, deadline_ns, attempt, || epoll.may_have_events()) {
        Ok(result) => result.unwrap_or(Ok(0)).map(Ok),
        Err(interrupted) => Ok(Err(interrupted)),
    }
}

/// A wait under the program's mask. Interrupted, it has failed, whatever the handler says.
fn wait_masked(
    thread: &Thread,
    mask: (UserPtr, usize),
    wait: impl FnOnce() -> Result<Result<usize, Interrupted>, Errno>,
) -> SyscallResult {
    let mut failure = None;
    let result = with_mask(thread, mask.0, mask.1, || {
        wait().unwrap_or_else(|errno| {
            failure = Some(errno);
            Ok(0)
        })
    })?;
    match failure {
        Some(errno) => Err(errno.into()),
        None => result.map_err(|Interrupted| SyscallError::Errno(Errno::EINTR)),
    }
}

fn deadline_of_ms(timeout_ms: i32) -> u64 {
    deadline(u64::try_from(timeout_ms).ok().map(|timeout_ms| timeout_ms * NS_PER_MS))
}

pub(crate) fn epoll_wait(thread: &Thread, epoll: Fd, events: UserPtr, count: i32, timeout_ms: i32) -> SyscallResult {
    let result = wait_until(thread, epoll, events, count, deadline_of_ms(timeout_ms))?;
    result.map_err(|Interrupted| Errno::EINTR.into())
}

pub(crate) fn epoll_pwait(
    thread: &Thread,
    epoll: Fd,
    events: UserPtr,
    count: i32,
    timeout_ms: i32,
    mask: UserPtr,
    set_size: usize,
) -> SyscallResult {
    let deadline_ns = deadline_of_ms(timeout_ms);
    wait_masked(thread, (mask, set_size), || wait_until(thread, epoll, events, count, deadline_ns))
}

pub(crate) fn epoll_pwait2(
    thread: &Thread,
    epoll: Fd,
    events: UserPtr,
    count: i32,
    timeout: UserPtr,
    mask: UserPtr,
    set_size: usize,
) -> SyscallResult {
    let deadline_ns = deadline(read_timeout(timeout)?);
    wait_masked(thread, (mask, set_size), || wait_until(thread, epoll, events, count, deadline_ns))
}
