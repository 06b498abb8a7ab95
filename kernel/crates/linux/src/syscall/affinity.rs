//! Which CPUs a thread runs on.

use abi::{Errno, UserPtr};
use mm::user::{UserReader, UserWriter, write_user_struct};
use sched::{CPUS_MAX, CpuSet};

use super::scheduling::{is_same_owner, thread_by_number};
use crate::SyscallResult;
use crate::credentials::CAP_SYS_NICE;
use crate::thread::Thread;

/// The bytes of a set of CPUs: as many words as the CPUs need, which is one.
const SET_SIZE: usize = size_of::<u64>();
const _: () = assert!(CPUS_MAX <= 8 * SET_SIZE);

pub(crate) fn getcpu(thread: &Thread, cpu: UserPtr, node: UserPtr, _unused: UserPtr) -> SyscallResult {
    if let Some(cpu) = cpu.non_null() {
        write_user_struct(cpu.address(), &thread.platform().current_cpu())?;
    }
    if let Some(node) = node.non_null() {
        write_user_struct(node.address(), &0_u32)?;
    }
    Ok(0)
}

/// The CPUs there are.
fn present(thread: &Thread) -> CpuSet {
    let missing = CPUS_MAX.saturating_sub(thread.platform().cpu_info().count as usize);
    CpuSet(u32::try_from(missing).ok().and_then(|missing| u64::MAX.checked_shr(missing)).unwrap_or(0))
}

/// Where a thread may run, of the CPUs there are.
pub(crate) fn allowed(thread: &Thread) -> CpuSet {
    CpuSet(thread.platform().affinity(thread).0 & present(thread).0)
}

pub(crate) fn sched_setaffinity(thread: &Thread, pid: i32, length: u32, mask: UserPtr) -> SyscallResult {
    // A shorter set lacks the CPUs it does not name, and what a longer one has more is not looked at.
    let length = (length as usize).min(SET_SIZE);
    let mut bytes = [0; SET_SIZE];
    UserReader::new(mask.address(), length)?.read_exact(&mut bytes[..length])?;
    let target = thread_by_number(thread, pid)?;
    if !is_same_owner(thread, &target) {
        thread.credentials().require(CAP_SYS_NICE)?;
    }
    let cpus = CpuSet(u64::from_le_bytes(bytes) & present(thread).0);
    if cpus.0 == 0 {
        return Err(Errno::EINVAL.into());
    }
    thread.platform().set_affinity(&target, cpus);
    Ok(0)
}

pub(crate) fn sched_getaffinity(thread: &Thread, pid: i32, length: u32, mask: UserPtr) -> SyscallResult {
    let length = length as usize;
    if length * 8 < thread.platform().cpu_info().count as usize || !length.is_multiple_of(size_of::<u64>()) {
        return Err(Errno::EINVAL.into());
    }
    let target = thread_by_number(thread, pid)?;
    UserWriter::new(mask.address(), SET_SIZE)?.write_struct::<u64>(&allowed(&target).0)?;
    Ok(SET_SIZE)
}
