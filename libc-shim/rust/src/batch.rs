//! Many system calls by one.
//!
//! The kernel is entered once and does the calls in order; each leaves its answer in its place. A call that waits holds up those
//! behind it. On Linux the calls are made one by one: the same answers, without the gain.
//!
//! ```
//! use nacre::batch::{Call, OnError, run};
//!
//! const SYS_WRITE: usize = 1;
//! const SYS_CLOSE: usize = 3;
//! const EBADF: i64 = 9;
//! let text = "two calls, one entry\n";
//! let mut calls = [
//!     Call::new(SYS_WRITE, [1, text.as_ptr().addr(), text.len(), 0, 0, 0]),
//!     Call::new(SYS_CLOSE, [usize::MAX, 0, 0, 0, 0, 0]),
//!     Call::new(SYS_WRITE, [1, text.as_ptr().addr(), text.len(), 0, 0, 0]),
//! ];
//! // SAFETY: the text may be read.
//! let done = unsafe { run(&mut calls, OnError::Stop) };
//! // The second failed, the third was not made.
//! assert_eq!((done, calls[0].answer(), calls[1].answer()), (2, text.len() as i64, -EBADF));
//! ```

use crate::number;
use crate::system_call;

const ENOSYS: isize = 38;
const ERRORS: std::ops::Range<i64> = -4095..0;
/// As the kernel has it: calls of one batch.
const CALLS_MAX: usize = 1024;
const STOP_ON_ERROR: usize = 1;

/// A system call to make, and then its answer.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Call {
    number: u64,
    arguments: [u64; 6],
    answer: i64,
}

impl Call {
    /// The call of this number with these arguments. It is not made yet: its answer is zero.
    pub fn new(number: usize, arguments: [usize; 6]) -> Self {
        Self { number: number as u64, arguments: arguments.map(|argument| argument as u64), answer: 0 }
    }

    /// What the kernel answered; negative ones from -4095 on are errors.
    pub fn answer(&self) -> i64 {
        self.answer
    }
}

/// What an error of one call means for those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// They are made.
    Continue,
    /// They are not made.
    Stop,
}

/// Makes the calls, in order, and answers how many were made: fewer than there are when one failed and that stops, or when a
/// signal came while one waited (that one has answered `EINTR`, or what it had done).
///
/// On Nacre, a call that works on the caller's registers (`clone`, `execve`, `rt_sigreturn`) answers `EOPNOTSUPP` in a batch.
///
/// # Safety
/// As for [`crate::system_call`], for each of them.
pub unsafe fn run(calls: &mut [Call], on_error: OnError) -> usize {
    let flags = if on_error == OnError::Stop { STOP_ON_ERROR } else { 0 };
    let mut done = 0;
    for part in calls.chunks_mut(CALLS_MAX) {
        let arguments = [part.as_mut_ptr().expose_provenance(), part.len(), flags, 0, 0, 0];
        // SAFETY: the calls may be read and written; for what they do see the contract.
        let answer = unsafe { system_call(number::BATCH, arguments) };
        let count = match usize::try_from(answer) {
            Ok(count) => count,
            // SAFETY: per the contract.
            Err(_) if answer == -ENOSYS => unsafe { one_by_one(part, on_error) },
            Err(_) => 0,
        };
        done += count;
        if count < part.len() {
            break;
        }
    }
    done
}

/// # Safety
/// As for [`run`].
unsafe fn one_by_one(calls: &mut [Call], on_error: OnError) -> usize {
    let mut done = 0;
    for call in calls {
        let arguments = call.arguments.map(|argument| usize::try_from(argument).unwrap_or(usize::MAX));
        // SAFETY: per the contract.
        let answer = unsafe { system_call(usize::try_from(call.number).unwrap_or(usize::MAX), arguments) };
        call.answer = answer as i64;
        done += 1;
        if on_error == OnError::Stop && ERRORS.contains(&call.answer) {
            break;
        }
    }
    done
}
