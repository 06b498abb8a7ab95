//! Resource limits and usage.

use alloc::sync::Arc;

use abi::resource::{RLIMIT_CPU, RUSAGE_CHILDREN, RUSAGE_SELF, RUSAGE_THREAD};
use abi::time::CLOCK_TICKS_PER_SECOND;
use abi::{Errno, Rlimit, Rusage, Timeval, Tms, UserPtr};
use mm::PAGE_SIZE;
use mm::user::{read_user_struct, write_user_struct};
use sync::machine;

use crate::SyscallResult;
use crate::accounting::{CpuTime, Usage};
use crate::credentials::{CAP_SYS_RESOURCE, Credentials};
use crate::process::Process;
use crate::syscall::process::process_by_task;
use crate::thread::Thread;
use crate::timer::limit_cpu;

const NANOSECONDS_PER_TICK: u64 = 1_000_000_000 / CLOCK_TICKS_PER_SECOND;

pub(crate) fn getrlimit(thread: &Thread, resource: u32, limit: UserPtr) -> SyscallResult {
    let value = thread.process().limits().get(resource)?;
    write_user_struct(limit.address(), &value)?;
    Ok(0)
}

pub(crate) fn setrlimit(thread: &Thread, resource: u32, limit: UserPtr) -> SyscallResult {
    let new: Rlimit = read_user_struct(limit.address())?;
    set(thread, thread.process(), resource, new)?;
    Ok(0)
}

pub(crate) fn prlimit64(
    thread: &Thread,
    pid: i32,
    resource: u32,
    new_limit: UserPtr,
    old_limit: UserPtr,
) -> SyscallResult {
    let new: Option<Rlimit> = match new_limit.non_null() {
        Some(pointer) => Some(read_user_struct(pointer.address())?),
        None => None,
    };
    let process = process_by_task(thread, pid)?;
    check_may_change(thread, &process)?;
    let old = process.limits().get(resource)?;
    if let Some(new) = new {
        set(thread, &process, resource, new)?;
    }
    if let Some(pointer) = old_limit.non_null() {
        write_user_struct(pointer.address(), &old)?;
    }
    Ok(0)
}

fn set(thread: &Thread, process: &Arc<Process>, resource: u32, new: Rlimit) -> Result<(), Errno> {
    let may_raise = thread.credentials().has(CAP_SYS_RESOURCE);
    process.change_limits(|limits| limits.set(resource, new, may_raise))?;
    if usize::try_from(resource) == Ok(RLIMIT_CPU) { limit_cpu(process, new) } else { Ok(()) }
}

/// Another process's limits are for those with the same identity.
fn check_may_change(thread: &Thread, process: &Process) -> Result<(), Errno> {
    if process.pid() == thread.process().pid() {
        return Ok(());
    }
    let own = thread.credentials();
    let is_same = |other: &Credentials| {
        let (user, group) = (other.user, other.group);
        [user.real, user.effective, user.saved].iter().all(|id| *id == own.user.real)
            && [group.real, group.effective, group.saved].iter().all(|id| *id == own.group.real)
    };
    if process.threads().iter().all(|other| is_same(&other.credentials())) {
        return Ok(());
    }
    own.require(CAP_SYS_RESOURCE)
}

pub(crate) fn getrusage(thread: &Thread, who: i32, usage: UserPtr) -> SyscallResult {
    let mut answer = Rusage::zeroed();
    match who {
        RUSAGE_SELF => {
            let process = thread.process();
            set_counts(&mut answer, &process.usage());
            set_times(&mut answer, process.cpu_time());
        }
        RUSAGE_THREAD => {
            set_counts(&mut answer, &thread.usage());
            set_times(&mut answer, thread.cpu_time());
        }
        // No process has had children yet.
        RUSAGE_CHILDREN => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    if who != RUSAGE_CHILDREN {
        let resident = thread.address_space().usage().resident_max * (PAGE_SIZE / 1024);
        answer.ru_maxrss = i64::try_from(resident).unwrap_or(i64::MAX);
    }
    write_user_struct(usage.address(), &answer)?;
    Ok(0)
}

fn set_counts(answer: &mut Rusage, usage: &Usage) {
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    answer.ru_minflt = signed(usage.minor_faults);
    answer.ru_majflt = signed(usage.major_faults);
    answer.ru_nvcsw = signed(usage.voluntary_switches);
    answer.ru_nivcsw = signed(usage.involuntary_switches);
}

fn set_times(usage: &mut Rusage, time: CpuTime) {
    let timeval = |time_ns: u64| Timeval::from_nanoseconds(i64::try_from(time_ns).unwrap_or(i64::MAX));
    usage.ru_utime = timeval(time.user_ns);
    usage.ru_stime = timeval(time.system_ns);
}

pub(crate) fn times(thread: &Thread, buffer: UserPtr) -> SyscallResult {
    let ticks = |time_ns: u64| i64::try_from(time_ns / NANOSECONDS_PER_TICK).unwrap_or(i64::MAX);
    if let Some(buffer) = buffer.non_null() {
        let time = thread.process().cpu_time();
        let answer = Tms { tms_utime: ticks(time.user_ns), tms_stime: ticks(time.system_ns), ..Tms::zeroed() };
        write_user_struct(buffer.address(), &answer)?;
    }
    Ok(usize::try_from(ticks(machine::now_ns())).unwrap_or(0))
}
