//! Nice values and the priority of I/O.
//!
//! Both belong to single threads, as on Linux. The I/O priority is only remembered: no device here serves several requests
//! by urgency.

use abi::Errno;
use abi::resource::{
    IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE, IOPRIO_CLASS_NONE, IOPRIO_CLASS_RT, IOPRIO_CLASS_SHIFT, IOPRIO_NR_LEVELS,
    IOPRIO_WHO_PGRP, IOPRIO_WHO_PROCESS, IOPRIO_WHO_USER, NICE_MAX, NICE_MIN, PRIO_PGRP, PRIO_PROCESS, PRIO_USER,
    RLIMIT_NICE,
};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::scheduling::{is_same_owner, nice_level, thread_by_number};
use crate::SyscallResult;
use crate::credentials::{CAP_SYS_ADMIN, CAP_SYS_NICE};
use crate::process::Process;
use crate::scheduling;
use crate::thread::Thread;

/// Whose priority is meant.
#[derive(Clone, Copy)]
enum Who {
    Thread,
    Group,
    User,
}

/// The threads that `who` stands for; 0 is the caller, its group, its user. None of them is no error here.
fn threads(caller: &Thread, which: Who, who: i32) -> Vec<Arc<Thread>> {
    let own = caller.process();
    let number = if who == 0 { None } else { Some(who.cast_unsigned()) };
    let of_all = |is_meant: &dyn Fn(&Process) -> bool| -> Vec<Arc<Thread>> {
        let processes = own.system().processes();
        processes.iter().filter(|process| is_meant(process)).flat_map(|process| process.threads()).collect()
    };
    match which {
        Who::Thread => thread_by_number(caller, who).into_iter().collect(),
        Who::Group => {
            let group = number.unwrap_or_else(|| own.group());
            of_all(&|process| process.group() == group)
        }
        Who::User => {
            let user = number.unwrap_or_else(|| caller.credentials().user.real);
            let mut threads = of_all(&|_| true);
            threads.retain(|thread| thread.credentials().user.real == user);
            threads
        }
    }
}

fn who_by_nice(which: i32) -> Result<Who, Errno> {
    Ok(match which {
        PRIO_PROCESS => Who::Thread,
        PRIO_PGRP => Who::Group,
        PRIO_USER => Who::User,
        _ => return Err(Errno::EINVAL),
    })
}

fn who_by_io(which: i32) -> Result<Who, Errno> {
    Ok(match which {
        IOPRIO_WHO_PROCESS => Who::Thread,
        IOPRIO_WHO_PGRP => Who::Group,
        IOPRIO_WHO_USER => Who::User,
        _ => return Err(Errno::EINVAL),
    })
}

pub(crate) fn getpriority(thread: &Thread, which: i32, who: i32) -> SyscallResult {
    let threads = threads(thread, who_by_nice(which)?, who);
    let levels = threads.iter().map(|thread| nice_level(thread.scheduling().parameters().nice));
    let highest = levels.max().ok_or(Errno::ESRCH)?;
    Ok(usize::try_from(highest).unwrap_or(0))
}

pub(crate) fn setpriority(thread: &Thread, which: i32, who: i32, nice: i32) -> SyscallResult {
    let threads = threads(thread, who_by_nice(which)?, who);
    let nice = i8::try_from(nice.clamp(NICE_MIN, NICE_MAX)).unwrap_or(0);
    // One that may be changed and comes after one that may not does not make the call a success, but the other way round.
    let mut answer = Err(Errno::ESRCH);
    for target in &threads {
        match set_nice(thread, target, nice) {
            Ok(()) if answer == Err(Errno::ESRCH) => answer = Ok(0),
            Ok(()) => {}
            Err(errno) => answer = Err(errno),
        }
    }
    Ok(answer?)
}

fn set_nice(caller: &Thread, target: &Thread, nice: i8) -> Result<(), Errno> {
    let own = caller.credentials();
    let is_privileged = own.has(CAP_SYS_NICE);
    if !is_privileged && !is_same_owner(caller, target) {
        return Err(Errno::EPERM);
    }
    let limit = target.process().soft_limit(RLIMIT_NICE);
    scheduling::change(target, |parameters| {
        if nice < parameters.nice && nice_level(nice) > limit && !is_privileged {
            return Err(Errno::EACCES);
        }
        parameters.nice = nice;
        Ok(())
    })
}

pub(crate) fn ioprio_get(thread: &Thread, which: i32, who: i32) -> SyscallResult {
    let which = who_by_io(which)?;
    let threads = threads(thread, which, who);
    let priority = match which {
        // Of a single thread Linux tells what was set.
        Who::Thread => threads.first().map(|thread| thread.scheduling().io_priority()),
        Who::Group | Who::User => threads.iter().map(|thread| thread.scheduling().effective_io_priority()).min(),
    };
    Ok(usize::from(priority.ok_or(Errno::ESRCH)?))
}

pub(crate) fn ioprio_set(thread: &Thread, which: i32, who: i32, priority: i32) -> SyscallResult {
    let own = thread.credentials();
    // Linux keeps the low half.
    let [low, high, ..] = priority.to_le_bytes();
    let priority = u16::from_le_bytes([low, high]);
    let level = priority % IOPRIO_NR_LEVELS;
    match priority >> IOPRIO_CLASS_SHIFT {
        IOPRIO_CLASS_RT if !own.has(CAP_SYS_ADMIN) && !own.has(CAP_SYS_NICE) => return Err(Errno::EPERM.into()),
        IOPRIO_CLASS_RT | IOPRIO_CLASS_BE | IOPRIO_CLASS_IDLE => {}
        IOPRIO_CLASS_NONE if level == 0 => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    let threads = threads(thread, who_by_io(which)?, who);
    if threads.is_empty() {
        return Err(Errno::ESRCH.into());
    }
    for target in &threads {
        let user = target.credentials().user.real;
        if user != own.user.effective && user != own.user.real && !own.has(CAP_SYS_NICE) {
            return Err(Errno::EPERM.into());
        }
        target.scheduling().set_io_priority(priority);
    }
    Ok(0)
}
