//! Futexes: what the calls say, put in the terms of [`crate::futex`].

use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use abi::process::{
    FUTEX_32, FUTEX_CLOCK_REALTIME, FUTEX_CMP_REQUEUE, FUTEX_CMP_REQUEUE_PI, FUTEX_LOCK_PI, FUTEX_LOCK_PI2,
    FUTEX_PRIVATE_FLAG, FUTEX_REQUEUE, FUTEX_TRYLOCK_PI, FUTEX_UNLOCK_PI, FUTEX_WAIT, FUTEX_WAIT_BITSET,
    FUTEX_WAIT_REQUEUE_PI, FUTEX_WAITV_MAX, FUTEX_WAKE, FUTEX_WAKE_BITSET, FUTEX_WAKE_OP, FUTEX2_SIZE_MASK,
};
use abi::time::{CLOCK_MONOTONIC, CLOCK_REALTIME, Timespec};
use abi::{Errno, FutexWaitv, RobustListHead, SyscallArgument, UserPtr};
use mm::user::{UserReader, read_user_struct, write_user_struct};

use crate::SyscallResult;
use crate::error::{Interrupted, SyscallError};
use crate::futex::{self, ALL_BITS, Both, Count, Deadline, Ending, Request, Sharing, Watched};
use crate::thread::Thread;

/// The two operations that locks are made of come first and pay for none of the others.
pub(crate) fn futex(
    thread: &Thread,
    word: UserPtr,
    operation: u32,
    value: u32,
    timeout: u64,
    second_word: UserPtr,
    third_value: u32,
) -> SyscallResult {
    let (sharing, address) = (sharing(operation), word.address());
    match operation & !FUTEX_PRIVATE_FLAG {
        FUTEX_WAKE => futex::wake(thread, sharing, address, count_of(value), ALL_BITS),
        FUTEX_WAIT => {
            let deadline = if timeout == 0 { Deadline::Never } else { deadline(operation, timeout)? };
            futex::wait(thread, Request { sharing, address, value, bits: ALL_BITS, deadline })
        }
        _ => other_operation(thread, address, operation, (value, timeout, third_value), second_word.address()),
    }
}

#[inline(never)]
fn other_operation(
    thread: &Thread,
    address: usize,
    operation: u32,
    (value, timeout, third_value): (u32, u64, u32),
    second_word: usize,
) -> SyscallResult {
    let command = operation & COMMAND_MASK;
    let sharing = sharing(operation);
    let deadline = if has_timeout(command) { deadline(operation, timeout)? } else { Deadline::Never };
    let may_be_realtime = matches!(command, FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI2);
    if operation & FUTEX_CLOCK_REALTIME != 0 && !may_be_realtime {
        return Err(Errno::ENOSYS.into());
    }
    // The fourth argument is a pointer to a time or, in calls without one, a number of waiters.
    let second_count = value_of(timeout);
    let both = Both { sharing, first: address, second: second_word };
    match command {
        FUTEX_WAIT_BITSET => futex::wait(thread, Request { sharing, address, value, bits: third_value, deadline }),
        FUTEX_WAKE_BITSET => futex::wake(thread, sharing, address, count_of(value), third_value),
        FUTEX_REQUEUE => futex::requeue(thread, both, value.cast_signed(), second_count, None),
        FUTEX_CMP_REQUEUE => futex::requeue(thread, both, value.cast_signed(), second_count, Some(third_value)),
        FUTEX_WAKE_OP => {
            let second = Count::from_argument(second_count);
            futex::wake_and_change(thread, both, count_of(value), second, third_value)
        }
        FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => futex::lock(thread, sharing, address, deadline, false),
        FUTEX_TRYLOCK_PI => futex::lock(thread, sharing, address, Deadline::Never, true),
        FUTEX_UNLOCK_PI => futex::unlock(thread, sharing, address),
        FUTEX_WAIT_REQUEUE_PI => futex::wait_for_requeue(thread, sharing, address, value, deadline, second_word),
        FUTEX_CMP_REQUEUE_PI => futex::requeue_to_lock(thread, both, value.cast_signed(), second_count, third_value),
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// What an operation says besides how.
const COMMAND_MASK: u32 = !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);

/// Whether the fourth argument is a time.
fn has_timeout(command: u32) -> bool {
    matches!(command, FUTEX_WAIT | FUTEX_WAIT_BITSET | FUTEX_LOCK_PI | FUTEX_LOCK_PI2 | FUTEX_WAIT_REQUEUE_PI)
}

fn sharing(flags: u32) -> Sharing {
    if flags & FUTEX_PRIVATE_FLAG != 0 { Sharing::Private } else { Sharing::Shared }
}

fn count_of(value: u32) -> Count {
    Count::from_argument(value.cast_signed())
}

/// The low half of a register, as a number with a sign.
#[expect(clippy::cast_possible_truncation, reason = "Linux takes the low half as well")]
fn value_of(register: u64) -> i32 {
    (register as u32).cast_signed()
}

/// When a call of the oldest interface gives up: a time from now for the plain wait, else a point in time.
#[inline(never)]
fn deadline(operation: u32, timeout: u64) -> Result<Deadline, Errno> {
    let Some(timeout) = UserPtr::from_register(timeout).non_null() else { return Ok(Deadline::Never) };
    let time_ns = nanoseconds(timeout)?;
    Ok(match operation & COMMAND_MASK {
        FUTEX_WAIT => Deadline::after(time_ns),
        FUTEX_LOCK_PI => Deadline::Realtime(time_ns),
        _ if operation & FUTEX_CLOCK_REALTIME != 0 => Deadline::Realtime(time_ns),
        _ => Deadline::Monotonic(time_ns),
    })
}

fn nanoseconds(time: UserPtr) -> Result<u64, Errno> {
    read_user_struct::<Timespec>(time.address())?.to_nanoseconds().ok_or(Errno::EINVAL)
}

/// When a call of the newer interface gives up.
fn deadline_on(clock: i32, timeout: UserPtr) -> Result<Deadline, Errno> {
    let Some(timeout) = timeout.non_null() else { return Ok(Deadline::Never) };
    match clock {
        CLOCK_REALTIME => nanoseconds(timeout).map(Deadline::Realtime),
        CLOCK_MONOTONIC => nanoseconds(timeout).map(Deadline::Monotonic),
        _ => Err(Errno::EINVAL),
    }
}

/// Which words a call of the newer interface is about: 32 bits wide, private or not.
fn sharing_of(flags: u32) -> Result<Sharing, Errno> {
    let is_known = flags & !(FUTEX2_SIZE_MASK | FUTEX_PRIVATE_FLAG) == 0 && flags & FUTEX2_SIZE_MASK == FUTEX_32;
    if is_known { Ok(sharing(flags)) } else { Err(Errno::EINVAL) }
}

/// A value or a mask for a word of 32 bits.
fn fitting(value: u64) -> Result<u32, Errno> {
    u32::try_from(value).map_err(|_| Errno::EINVAL)
}

fn read_watched(waiters: UserPtr, count: usize) -> Result<Vec<Watched>, Errno> {
    let mut reader = UserReader::new(waiters.address(), count * size_of::<FutexWaitv>())?;
    (0..count).map(|_| watched(&reader.read_struct::<FutexWaitv>()?)).collect()
}

/// A word as `futex_waitv` names it.
pub(crate) fn watched(waiter: &FutexWaitv) -> Result<Watched, Errno> {
    let sharing = sharing_of(waiter.flags)?;
    if waiter._reserved != 0 {
        return Err(Errno::EINVAL);
    }
    let address = usize::try_from(waiter.uaddr).map_err(|_| Errno::EFAULT)?;
    Ok(Watched { sharing, address, value: fitting(waiter.val)? })
}

pub(crate) fn futex_waitv(
    thread: &Thread,
    waiters: UserPtr,
    count: u32,
    flags: u32,
    timeout: UserPtr,
    clock: i32,
) -> SyscallResult {
    if flags != 0 || count == 0 || count > FUTEX_WAITV_MAX || waiters.is_null() {
        return Err(Errno::EINVAL.into());
    }
    let deadline = deadline_on(clock, timeout)?;
    futex::wait_for_any(thread, &read_watched(waiters, count as usize)?, deadline)
}

pub(crate) fn futex_wake(thread: &Thread, word: UserPtr, mask: u64, count: i32, flags: u32) -> SyscallResult {
    let sharing = sharing_of(flags)?;
    let mask = fitting(mask)?;
    if count == 0 && mask != 0 {
        // Not one, as in the older call.
        return futex::check(thread, sharing, word.address());
    }
    futex::wake(thread, sharing, word.address(), Count::from_argument(count), mask)
}

pub(crate) fn futex_wait(
    thread: &Thread,
    word: UserPtr,
    value: u64,
    mask: u64,
    flags: u32,
    timeout: UserPtr,
    clock: i32,
) -> SyscallResult {
    let sharing = sharing_of(flags)?;
    let (value, mask) = (fitting(value)?, fitting(mask)?);
    let deadline = deadline_on(clock, timeout)?;
    let request = Request { sharing, address: word.address(), value, bits: mask, deadline };
    match futex::wait_once(thread, &request)? {
        Ending::Woken => Ok(0),
        Ending::TimedOut => Err(Errno::ETIMEDOUT.into()),
        // The arguments are as good as before.
        Ending::Interrupted => Err(SyscallError::from(Interrupted)),
    }
}

pub(crate) fn futex_requeue(thread: &Thread, waiters: UserPtr, flags: u32, wake: i32, limit: i32) -> SyscallResult {
    if flags != 0 || waiters.is_null() {
        return Err(Errno::EINVAL.into());
    }
    let [first, second] = read_watched(waiters, 2)?[..] else { return Err(Errno::EINVAL.into()) };
    if first.sharing != second.sharing {
        return Err(Errno::EINVAL.into());
    }
    let both = Both { sharing: first.sharing, first: first.address, second: second.address };
    futex::requeue(thread, both, wake, limit, Some(first.value))
}

pub(crate) fn set_robust_list(thread: &Thread, head: UserPtr, length: usize) -> SyscallResult {
    if length != size_of::<RobustListHead>() {
        return Err(Errno::EINVAL.into());
    }
    thread.futex.robust_list.store(head.address(), Relaxed);
    Ok(0)
}

pub(crate) fn get_robust_list(thread: &Thread, pid: i32, head: UserPtr, length: UserPtr) -> SyscallResult {
    let tid = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    let list = if tid == 0 || tid == thread.tid() {
        thread.futex.robust_list.load(Relaxed)
    } else {
        thread.process().system().thread(tid).ok_or(Errno::ESRCH)?.futex.robust_list.load(Relaxed)
    };
    write_user_struct(length.address(), &size_of::<RobustListHead>())?;
    write_user_struct(head.address(), &list)?;
    Ok(0)
}
