//! Processors and priorities.

use abi::resource::{SCHED_BATCH, SCHED_DEADLINE, SCHED_EXT, SCHED_FIFO, SCHED_IDLE, SCHED_OTHER, SCHED_RR};
use abi::{Errno, UserPtr};
use mm::user::{UserWriter, write_user_struct};

use crate::SyscallResult;
use crate::syscall::process::process_by_task;
use crate::thread::Thread;

/// Priorities of the real-time policies, the highest and the lowest.
const REALTIME_PRIORITY_MAX: usize = 99;
const REALTIME_PRIORITY_MIN: usize = 1;

pub(crate) fn sched_yield(thread: &Thread) -> SyscallResult {
    thread.platform().yield_now();
    Ok(0)
}

pub(crate) fn getcpu(thread: &Thread, cpu: UserPtr, node: UserPtr, _unused: UserPtr) -> SyscallResult {
    if let Some(cpu) = cpu.non_null() {
        write_user_struct(cpu.address(), &thread.platform().current_cpu())?;
    }
    if let Some(node) = node.non_null() {
        write_user_struct(node.address(), &0_u32)?;
    }
    Ok(0)
}

pub(crate) fn sched_getaffinity(thread: &Thread, pid: i32, length: u32, mask: UserPtr) -> SyscallResult {
    const WORD: usize = size_of::<u64>();
    let count = thread.platform().cpu_info().count as usize;
    let length = length as usize;
    if length * 8 < count || !length.is_multiple_of(WORD) {
        return Err(Errno::EINVAL.into());
    }
    process_by_task(thread, pid)?;
    let length = length.min(count.div_ceil(64) * WORD);
    let mut writer = UserWriter::new(mask.address(), length)?;
    for word in 0..length / WORD {
        let cpus = count.saturating_sub(word * 64).min(64);
        let bits = if cpus == 64 { u64::MAX } else { (1 << cpus) - 1 };
        writer.write_struct::<u64>(&bits)?;
    }
    Ok(length)
}

pub(crate) fn sched_get_priority_max(_thread: &Thread, policy: i32) -> SyscallResult {
    priority_bound(policy, REALTIME_PRIORITY_MAX)
}

pub(crate) fn sched_get_priority_min(_thread: &Thread, policy: i32) -> SyscallResult {
    priority_bound(policy, REALTIME_PRIORITY_MIN)
}

/// Only the real-time policies have priorities.
fn priority_bound(policy: i32, realtime: usize) -> SyscallResult {
    match policy {
        SCHED_FIFO | SCHED_RR => Ok(realtime),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE | SCHED_EXT => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}
