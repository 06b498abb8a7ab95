//! `prctl`: odds and ends of a process and its threads.

use core::sync::atomic::Ordering::Relaxed;

use abi::process as op;
use abi::process::TASK_COMM_LEN;
use abi::{Errno, Signal};
use mm::user::{read_user_struct, write_user_struct};

use crate::SyscallResult;
use crate::credentials::{CAP_SETPCAP, Credentials};
use crate::thread::{TIMER_SLACK_DEFAULT_NS, Thread};

/// `PR_TSC_ENABLE`: reading the time-stamp counter is allowed.
const TSC_ENABLE: i32 = 1;
/// `PR_MCE_KILL_DEFAULT`.
const MACHINE_CHECK_DEFAULT: usize = 2;
/// Operations of `PR_CAP_AMBIENT`.
const AMBIENT_IS_SET: u64 = 1;
const AMBIENT_RAISE: u64 = 2;
const AMBIENT_LOWER: u64 = 3;
const AMBIENT_CLEAR_ALL: u64 = 4;

pub(crate) fn prctl(thread: &Thread, option: i32, second: u64, third: u64, fourth: u64, fifth: u64) -> SyscallResult {
    let process = thread.process();
    let pointer = usize::try_from(second).map_err(|_| Errno::EFAULT)?;
    let is_only_second = third == 0 && fourth == 0 && fifth == 0;
    match option {
        op::PR_SET_NAME => set_name(thread, pointer),
        op::PR_GET_NAME => done(write_user_struct(pointer, &thread.name())),
        op::PR_SET_PDEATHSIG => set_parent_death_signal(thread, second),
        op::PR_GET_PDEATHSIG => done(write_user_struct(pointer, &thread.parent_death_signal.load(Relaxed))),
        op::PR_GET_DUMPABLE => Ok(process.dumpable.load(Relaxed) as usize),
        op::PR_SET_DUMPABLE => {
            process.dumpable.store(u32::from(flag(second)?), Relaxed);
            Ok(0)
        }
        op::PR_GET_KEEPCAPS => Ok(usize::from(thread.credentials().keeps_capabilities)),
        op::PR_SET_KEEPCAPS => {
            let keeps = flag(second)?;
            change(thread, |credentials| credentials.keeps_capabilities = keeps)
        }
        op::PR_GET_TIMING | op::PR_GET_SECCOMP | op::PR_GET_SECUREBITS => Ok(0),
        op::PR_SET_TIMING if second == 0 => Ok(0),
        op::PR_CAPBSET_READ => Ok(usize::from(thread.credentials().capabilities.bounding & capability(second)? != 0)),
        op::PR_CAPBSET_DROP => drop_from_bounding_set(thread, second),
        op::PR_GET_TSC => done(write_user_struct(pointer, &TSC_ENABLE)),
        op::PR_SET_TSC if i32::try_from(second) == Ok(TSC_ENABLE) => Ok(0),
        op::PR_GET_TIMERSLACK => Ok(usize::try_from(thread.timer_slack_ns.load(Relaxed)).unwrap_or(usize::MAX)),
        op::PR_SET_TIMERSLACK => {
            let slack_ns = if second.cast_signed() <= 0 { TIMER_SLACK_DEFAULT_NS } else { second };
            thread.timer_slack_ns.store(slack_ns, Relaxed);
            Ok(0)
        }
        op::PR_MCE_KILL_GET if second == 0 && is_only_second => Ok(MACHINE_CHECK_DEFAULT),
        op::PR_SET_CHILD_SUBREAPER => {
            process.is_child_subreaper.store(second != 0, Relaxed);
            Ok(0)
        }
        op::PR_GET_CHILD_SUBREAPER => {
            done(write_user_struct(pointer, &i32::from(process.is_child_subreaper.load(Relaxed))))
        }
        op::PR_SET_NO_NEW_PRIVS if second == 1 && is_only_second => {
            change(thread, |credentials| credentials.no_new_privileges = true)
        }
        op::PR_GET_NO_NEW_PRIVS if second == 0 && is_only_second => {
            Ok(usize::from(thread.credentials().no_new_privileges))
        }
        op::PR_GET_TID_ADDRESS => done(write_user_struct(pointer, &thread.clear_child_tid.load(Relaxed))),
        op::PR_SET_THP_DISABLE if is_only_second => {
            process.forgoes_huge_pages.store(second != 0, Relaxed);
            Ok(0)
        }
        op::PR_GET_THP_DISABLE if second == 0 && is_only_second => {
            Ok(usize::from(process.forgoes_huge_pages.load(Relaxed)))
        }
        op::PR_CAP_AMBIENT if fourth == 0 && fifth == 0 => ambient(thread, second, third),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn done(result: Result<(), Errno>) -> SyscallResult {
    result?;
    Ok(0)
}

/// A number that must be 0 or 1.
fn flag(value: u64) -> Result<bool, Errno> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Errno::EINVAL),
    }
}

/// The bit of a capability.
fn capability(number: u64) -> Result<u64, Errno> {
    if number <= u64::from(op::CAP_LAST_CAP) { Ok(1 << number) } else { Err(Errno::EINVAL) }
}

fn change(thread: &Thread, change: impl FnOnce(&mut Credentials)) -> SyscallResult {
    let mut credentials = Credentials::clone(&thread.credentials());
    change(&mut credentials);
    thread.set_credentials(credentials);
    Ok(0)
}

/// Reads a name of at most 15 bytes; what is beyond its end need not be there.
fn set_name(thread: &Thread, address: usize) -> SyscallResult {
    let mut name = [0; TASK_COMM_LEN - 1];
    let mut length = 0;
    for (offset, place) in name.iter_mut().enumerate() {
        let byte: u8 = read_user_struct(address.checked_add(offset).ok_or(Errno::EFAULT)?)?;
        if byte == 0 {
            break;
        }
        *place = byte;
        length = offset + 1;
    }
    thread.set_name(&name[..length]);
    Ok(0)
}

fn set_parent_death_signal(thread: &Thread, number: u64) -> SyscallResult {
    let number = i32::try_from(number).map_err(|_| Errno::EINVAL)?;
    if number != 0 && Signal::from_raw(number).is_none() {
        return Err(Errno::EINVAL.into());
    }
    thread.parent_death_signal.store(number, Relaxed);
    Ok(0)
}

fn drop_from_bounding_set(thread: &Thread, number: u64) -> SyscallResult {
    thread.credentials().require(CAP_SETPCAP)?;
    let bit = capability(number)?;
    change(thread, |credentials| credentials.capabilities.bounding &= !bit)
}

fn ambient(thread: &Thread, operation: u64, number: u64) -> SyscallResult {
    if operation == AMBIENT_CLEAR_ALL {
        if number != 0 {
            return Err(Errno::EINVAL.into());
        }
        return change(thread, |credentials| credentials.capabilities.ambient = 0);
    }
    let bit = capability(number)?;
    let sets = thread.credentials().capabilities;
    match operation {
        AMBIENT_IS_SET => Ok(usize::from(sets.ambient & bit != 0)),
        AMBIENT_RAISE if sets.permitted & sets.inheritable & bit == 0 => Err(Errno::EPERM.into()),
        AMBIENT_RAISE => change(thread, |credentials| credentials.capabilities.ambient |= bit),
        AMBIENT_LOWER => change(thread, |credentials| credentials.capabilities.ambient &= !bit),
        _ => Err(Errno::EINVAL.into()),
    }
}
