//! Many calls by one.
//!
//! Each call is served by its own handler, with a frame of its own for the arguments. Two kinds cannot be in a batch: those
//! that work on the registers of the caller, for these say where the batch is, and native ones. A call that a signal
//! interrupts ends the batch. It has answered EINTR then, also where alone it would have been made again: what was done before
//! it is not to be done twice.

use core::mem::offset_of;

use abi::native::{BATCH_CALLS_MAX, BATCH_STOP_ON_ERROR, BatchCall, NATIVE_FIRST};
use abi::{Errno, UserPtr};
use mm::user::{read_user_struct, write_user_struct};

use crate::SyscallResult;
use crate::dispatch;
use crate::registers::Registers;
use crate::thread::Thread;

/// Answers how many calls were made. EFAULT for one that cannot be read, or whose answer cannot be written, if it is the first.
pub(super) fn batch(thread: &Thread, registers: &Registers, calls: UserPtr, count: usize, flags: u64) -> SyscallResult {
    if flags & !BATCH_STOP_ON_ERROR != 0 || count > BATCH_CALLS_MAX {
        return Err(Errno::EINVAL.into());
    }
    // Of the caller's registers a call changes none but those of its number and its arguments.
    let mut frame = *registers;
    for index in 0..count {
        let Some(address) = calls.address().checked_add(index * size_of::<BatchCall>()) else {
            return done(index, Errno::EFAULT);
        };
        let call: BatchCall = match read_user_struct(address) {
            Ok(call) => call,
            Err(errno) => return done(index, errno),
        };
        let answer = make(thread, &mut frame, &call);
        let is_interrupted = answer.is_none();
        let answer = answer.unwrap_or(Err(Errno::EINTR));
        let word = answer.unwrap_or_else(|errno| errno.as_negative() as i64);
        if let Err(errno) = write_user_struct(address + offset_of!(BatchCall, answer), &word) {
            return done(index, errno);
        }
        let stops = answer.is_err() && flags & BATCH_STOP_ON_ERROR != 0;
        if stops || is_interrupted || thread.is_interrupted() {
            return Ok(index + 1);
        }
    }
    Ok(count)
}

/// The batch ends before a call; it fails if nothing was done.
fn done(count: usize, errno: Errno) -> SyscallResult {
    if count > 0 { Ok(count) } else { Err(errno.into()) }
}

/// Makes one call. `None`: it was interrupted.
#[inline]
fn make(thread: &Thread, frame: &mut Registers, call: &BatchCall) -> Option<Result<i64, Errno>> {
    if call.number >= u64::from(NATIVE_FIRST) {
        return Some(Err(if call.number > u64::from(u32::MAX) { Errno::ENOSYS } else { Errno::EOPNOTSUPP }));
    }
    let [rdi, rsi, rdx, r10, r8, r9] = call.arguments;
    (frame.original_rax, frame.rdi, frame.rsi, frame.rdx) = (call.number, rdi, rsi, rdx);
    (frame.r10, frame.r8, frame.r9) = (r10, r8, r9);
    let answer = dispatch::serve(thread, frame);
    if thread.has_deferred()
        && let Some(deferred) = thread.take_deferred()
    {
        // It has done nothing yet but to look at its arguments.
        drop(deferred);
        return Some(Err(Errno::EOPNOTSUPP));
    }
    if answer.is_none() {
        drop(thread.take_continuation());
    }
    answer
}
