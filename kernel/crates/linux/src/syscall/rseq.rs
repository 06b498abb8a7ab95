//! Registering restartable sequences.

use abi::sequence::RSEQ_FLAG_UNREGISTER;
use abi::{Errno, UserPtr};

use crate::SyscallResult;
use crate::rseq::{register, unregister};
use crate::thread::Thread;

pub(crate) fn rseq(thread: &Thread, area: UserPtr, length: u32, flags: u32, signature: u32) -> SyscallResult {
    match flags {
        0 => register(thread, area.address(), length, signature)?,
        RSEQ_FLAG_UNREGISTER => unregister(thread, area.address(), length, signature)?,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}
