//! Processes and threads: who they are, where their thread data lies, how they end.

use core::sync::atomic::Ordering::Relaxed;

use abi::process::{
    ARCH_GET_CPUID, ARCH_GET_FS, ARCH_GET_GS, ARCH_GET_XCOMP_PERM, ARCH_GET_XCOMP_SUPP, ARCH_SET_CPUID, ARCH_SET_FS,
    ARCH_SET_GS,
};
use abi::{Errno, UserPtr};
use alloc::sync::Arc;
use mm::USER_END;
use mm::user::write_user_struct;

use crate::SyscallResult;
use crate::platform::Outcome;
use crate::process::Process;
use crate::thread::{Attention, Thread};

/// The vector components of a CPU without XSAVE: x87 and SSE.
const LEGACY_FEATURES: u64 = 3;

pub(crate) fn getpid(thread: &Thread) -> SyscallResult {
    Ok(thread.process().pid() as usize)
}

pub(crate) fn gettid(thread: &Thread) -> SyscallResult {
    Ok(thread.tid() as usize)
}

pub(crate) fn getppid(thread: &Thread) -> SyscallResult {
    Ok(thread.process().parent_pid() as usize)
}

/// The process a number stands for; 0 is the caller's own. `ESRCH` when there is none.
pub(crate) fn process_by_number(thread: &Thread, pid: i32) -> Result<Arc<Process>, Errno> {
    let pid = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    if pid == 0 || pid == thread.process().pid() {
        return Ok(Arc::clone(thread.process()));
    }
    thread.process().system().process(pid).ok_or(Errno::ESRCH)
}

/// As [`process_by_number`], for calls to which the number of any thread names its process.
pub(crate) fn process_by_task(thread: &Thread, tid: i32) -> Result<Arc<Process>, Errno> {
    let tid = u32::try_from(tid).map_err(|_| Errno::ESRCH)?;
    if tid == 0 || tid == thread.tid() {
        return Ok(Arc::clone(thread.process()));
    }
    let task = thread.process().system().thread(tid).ok_or(Errno::ESRCH)?;
    Ok(Arc::clone(task.process()))
}

pub(crate) fn getpgid(thread: &Thread, pid: i32) -> SyscallResult {
    Ok(process_by_task(thread, pid)?.group() as usize)
}

pub(crate) fn getpgrp(thread: &Thread) -> SyscallResult {
    Ok(thread.process().group() as usize)
}

pub(crate) fn getsid(thread: &Thread, pid: i32) -> SyscallResult {
    Ok(process_by_task(thread, pid)?.session() as usize)
}

pub(crate) fn setpgid(thread: &Thread, pid: i32, group: i32) -> SyscallResult {
    // Without a group the process leads its own.
    let group = if group == 0 { pid } else { group };
    let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
    let own = thread.process();
    let target = process_by_number(thread, pid)?;
    let is_child = target.parent_pid() == own.pid();
    if target.pid() != own.pid() && !is_child {
        return Err(Errno::ESRCH.into());
    }
    own.system().regroup(|processes| {
        if (is_child && target.session() != own.session()) || target.session() == target.pid() {
            return Err(Errno::EPERM);
        }
        let group = if group == 0 { target.pid() } else { group };
        let is_in_session = |process: &Arc<Process>| process.group() == group && process.session() == own.session();
        if group != target.pid() && !processes.values().any(is_in_session) {
            return Err(Errno::EPERM);
        }
        target.set_group(group);
        Ok(())
    })?;
    Ok(0)
}

pub(crate) fn setsid(thread: &Thread) -> SyscallResult {
    let own = thread.process();
    own.system().regroup(|processes| {
        if processes.values().any(|process| process.group() == own.pid()) {
            return Err(Errno::EPERM);
        }
        own.lead_session();
        Ok(())
    })?;
    Ok(own.pid() as usize)
}

pub(crate) fn set_tid_address(thread: &Thread, address: UserPtr) -> SyscallResult {
    thread.clear_child_tid.store(address.address(), Relaxed);
    Ok(thread.tid() as usize)
}

pub(crate) fn arch_prctl(thread: &Thread, option: i32, address: u64) -> SyscallResult {
    let platform = thread.platform();
    let pointer = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
    match option {
        ARCH_SET_FS | ARCH_SET_GS if pointer >= USER_END => return Err(Errno::EPERM.into()),
        ARCH_SET_FS => platform.set_fs_base(address),
        ARCH_SET_GS => platform.set_gs_base(address)?,
        ARCH_GET_FS => write_user_struct(pointer, &platform.fs_base())?,
        ARCH_GET_GS => write_user_struct(pointer, &platform.gs_base())?,
        ARCH_GET_XCOMP_SUPP | ARCH_GET_XCOMP_PERM => {
            let features = platform.cpu_info().vector_features.unwrap_or(LEGACY_FEATURES);
            write_user_struct(pointer, &features)?;
        }
        // CPUID is not trapped, and cannot be.
        ARCH_GET_CPUID => return Ok(1),
        ARCH_SET_CPUID => return Err(Errno::ENODEV.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// The part of an exit status that survives.
fn status_byte(status: i32) -> u8 {
    let [low, ..] = status.to_le_bytes();
    low
}

pub(crate) fn exit(thread: &Thread, status: i32) -> SyscallResult {
    thread.exit_status.store(status_byte(status), Relaxed);
    thread.note(Attention::EXIT);
    Ok(0)
}

pub(crate) fn exit_group(thread: &Thread, status: i32) -> SyscallResult {
    thread.process().begin_exit(Outcome::Exited(status_byte(status)));
    Ok(0)
}
