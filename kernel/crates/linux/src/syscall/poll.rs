//! Waiting for descriptors in an array: `poll` and `ppoll`.
//!
//! Most polls find something, so a look without any preparation for waiting comes first. The array is copied, each byte
//! once; up to [`SOME`] descriptors it fits on the stack.

use alloc::boxed::Box;
use core::cell::Cell;
use core::mem::offset_of;

use abi::resource::RLIMIT_NOFILE;
use abi::{Errno, PollEvents, Pollfd, Sigset, Timespec, UserPtr};
use mm::user::{UserReader, read_user_struct, write_user_struct};
use sync::machine::{self, NEVER};
use zerocopy::IntoBytes;

use crate::SyscallResult;
use crate::error::{Interrupted, Restart};
use crate::lookup::readiness;
use crate::signal::{restore_mask_unless, set_temporary_mask};
use crate::thread::Thread;
use crate::watch::{FEW, WatchList, Watched, note_idleness};

const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;

/// Descriptors whose array needs no memory of the heap.
const SOME: usize = 64;

const NOTHING: Pollfd = Pollfd { fd: 0, events: 0, revents: 0 };

/// What is found whether it is asked for or not.
const ALWAYS: PollEvents = PollEvents::ERR.union(PollEvents::HUP);

/// The time on the clock of [`machine::now_ns`] at which a wait ends: 0 for at once, [`NEVER`] for no limit.
pub(crate) fn deadline(timeout_ns: Option<u64>) -> u64 {
    match timeout_ns {
        None => NEVER,
        Some(0) => 0,
        Some(timeout_ns) => machine::now_ns().saturating_add(timeout_ns),
    }
}

/// What is left until a deadline.
pub(super) fn remaining_ns(deadline_ns: u64) -> i64 {
    i64::try_from(deadline_ns.saturating_sub(machine::now_ns())).unwrap_or(i64::MAX)
}

/// A time-out in a `struct timespec`, if there is one.
pub(crate) fn read_timeout(timeout: UserPtr) -> Result<Option<u64>, Errno> {
    let Some(timeout) = timeout.non_null() else { return Ok(None) };
    let timeout: Timespec = read_user_struct(timeout.address())?;
    timeout.to_nanoseconds().map(Some).ok_or(Errno::EINVAL)
}

/// Runs `wait` under the signal mask that the program passed, if it passed one.
pub(super) fn with_mask<R>(
    thread: &Thread,
    mask: UserPtr,
    set_size: usize,
    wait: impl FnOnce() -> Result<R, Interrupted>,
) -> Result<Result<R, Interrupted>, Errno> {
    let Some(mask) = mask.non_null() else { return Ok(wait()) };
    if set_size != size_of::<Sigset>() {
        return Err(Errno::EINVAL);
    }
    set_temporary_mask(thread, read_user_struct(mask.address())?);
    let result = wait();
    restore_mask_unless(thread, result.is_err());
    Ok(result)
}

/// Writes what is left of a time-out back, as Linux does. A program that keeps it in read-only memory does not get to know,
/// and its call cannot be restarted.
pub(super) fn finish(
    result: Result<usize, Interrupted>,
    write_back: impl FnOnce() -> Result<(), Errno>,
) -> SyscallResult {
    let is_written = write_back().is_ok();
    match result {
        Ok(count) => Ok(count),
        Err(interrupted) if is_written => Err(interrupted.restart(Restart::IfNoHandler)),
        Err(_) => Err(Errno::EINTR.into()),
    }
}

/// Writes the rest of a `struct timespec` time-out back.
pub(super) fn write_rest(timeout: UserPtr, deadline_ns: u64) -> Result<(), Errno> {
    match timeout.non_null() {
        Some(timeout) if deadline_ns != NEVER => {
            write_user_struct(timeout.address(), &Timespec::from_nanoseconds(remaining_ns(deadline_ns)))
        }
        _ => Ok(()),
    }
}

// ---- The array ------------------------------------------------------------------------------------------------------

/// The whole of a poll but for the time-out. Errors of the program come first, then how the wait ended.
fn poll_until(
    thread: &Thread,
    descriptors: UserPtr,
    count: u32,
    deadline_ns: u64,
) -> Result<Result<usize, Interrupted>, Errno> {
    if u64::from(count) > thread.process().soft_limit(RLIMIT_NOFILE) {
        return Err(Errno::EINVAL);
    }
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let mut few = [NOTHING; FEW];
    match few.get_mut(..count) {
        Some(few) => poll_copied(thread, descriptors, few, deadline_ns),
        None if count <= SOME => poll_some(thread, descriptors, count, deadline_ns),
        None => poll_copied(thread, descriptors, &mut alloc::vec![NOTHING; count], deadline_ns),
    }
}

/// Apart, for the sake of the stack of those who wait for few.
#[inline(never)]
fn poll_some(
    thread: &Thread,
    descriptors: UserPtr,
    count: usize,
    deadline_ns: u64,
) -> Result<Result<usize, Interrupted>, Errno> {
    let mut some = [NOTHING; SOME];
    poll_copied(thread, descriptors, some.get_mut(..count).unwrap_or_default(), deadline_ns)
}

/// The rest, with room for a copy of the array.
fn poll_copied(
    thread: &Thread,
    descriptors: UserPtr,
    copy: &mut [Pollfd],
    deadline_ns: u64,
) -> Result<Result<usize, Interrupted>, Errno> {
    UserReader::new(descriptors.address(), size_of_val(copy))?.read_exact(copy.as_mut_bytes())?;
    let ready = look_at_all(thread, copy);
    if ready > 0 || deadline_ns == 0 {
        note_idleness(thread, ready);
        return write_found(descriptors, copy).map(|()| Ok(ready));
    }
    let result = wait_for_all(thread, copy, deadline_ns);
    write_found(descriptors, copy)?;
    Ok(result.map(|()| copy.iter().filter(|descriptor| descriptor.revents != 0).count()))
}

/// Looks at descriptors. Answers how many have found something.
#[inline]
fn look_at_all(thread: &Thread, descriptors: &mut [Pollfd]) -> usize {
    let fds = thread.fds();
    let mut ready = 0;
    for descriptor in descriptors {
        let found = match fds.get(descriptor.fd) {
            Ok(open) => readiness(thread, &open) & wanted(descriptor),
            Err(_) if descriptor.fd >= 0 => PollEvents::NVAL,
            Err(_) => PollEvents::empty(),
        };
        descriptor.revents = revents(found);
        ready += usize::from(!found.is_empty());
    }
    ready
}

/// Waits until one of them has found something, or the time is up.
#[inline(never)]
fn wait_for_all(thread: &Thread, descriptors: &mut [Pollfd], deadline_ns: u64) -> Result<(), Interrupted> {
    let fds = thread.fds();
    let mut watched = WatchList::with_room_for(descriptors.len());
    for descriptor in descriptors.iter() {
        let open = fds.get(descriptor.fd).ok();
        let is_closed = open.is_none() && descriptor.fd >= 0;
        let found = Cell::new(if is_closed { PollEvents::NVAL } else { PollEvents::empty() });
        let (fd, events) = (descriptor.fd, wanted(descriptor));
        watched.push(Watched { open, fd, when_closed: PollEvents::NVAL, events, found });
    }
    let result = watched.wait(thread, deadline_ns);
    for (descriptor, one) in descriptors.iter_mut().zip(watched.all()) {
        descriptor.revents = revents(one.found.get());
    }
    result
}

fn wanted(descriptor: &Pollfd) -> PollEvents {
    PollEvents::from_bits_truncate(u32::from(descriptor.events)) | ALWAYS
}

fn revents(found: PollEvents) -> u16 {
    u16::try_from(found.bits()).unwrap_or_default()
}

/// Stores what was found in the array of a poll, and nothing else.
#[inline]
fn write_found(descriptors: UserPtr, copy: &[Pollfd]) -> Result<(), Errno> {
    let mut at = descriptors.address() + offset_of!(Pollfd, revents);
    for descriptor in copy {
        write_user_struct(at, &descriptor.revents)?;
        at += size_of::<Pollfd>();
    }
    Ok(())
}

// ---- The calls ------------------------------------------------------------------------------------------------------

fn poll_restartable(thread: &Thread, descriptors: UserPtr, count: u32, deadline_ns: u64) -> SyscallResult {
    match poll_until(thread, descriptors, count, deadline_ns)? {
        Ok(ready) => Ok(ready),
        Err(interrupted) => {
            let again = move |thread: &Thread| poll_restartable(thread, descriptors, count, deadline_ns);
            thread.set_continuation(Box::new(again));
            Err(interrupted.restart(Restart::Continue))
        }
    }
}

pub(crate) fn poll(thread: &Thread, descriptors: UserPtr, count: u32, timeout_ms: i32) -> SyscallResult {
    let timeout_ns = u64::try_from(timeout_ms).ok().map(|timeout_ms| timeout_ms * NANOSECONDS_PER_MILLISECOND);
    poll_restartable(thread, descriptors, count, deadline(timeout_ns))
}

pub(crate) fn ppoll(
    thread: &Thread,
    descriptors: UserPtr,
    count: u32,
    timeout: UserPtr,
    mask: UserPtr,
    set_size: usize,
) -> SyscallResult {
    let deadline_ns = deadline(read_timeout(timeout)?);
    let mut failure = None;
    let result = with_mask(thread, mask, set_size, || match poll_until(thread, descriptors, count, deadline_ns) {
        Ok(result) => result,
        Err(errno) => {
            failure = Some(errno);
            Ok(0)
        }
    })?;
    if let Some(errno) = failure {
        return Err(errno.into());
    }
    finish(result, || write_rest(timeout, deadline_ns))
}
