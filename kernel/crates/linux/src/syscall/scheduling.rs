//! Scheduling policies, see sched(7).
//!
//! There is no deadline scheduling: a sound request for it is refused with `EPERM`, which is what Linux answers callers without
//! privileges, and all callers where no bandwidth is left to the class.

use abi::resource::{
    NICE_MAX, NICE_MIN, RLIMIT_NICE, RLIMIT_RTPRIO, SCHED_ATTR_SIZE_VER0, SCHED_BATCH, SCHED_DEADLINE, SCHED_EXT,
    SCHED_FIFO, SCHED_FLAG_ALL, SCHED_FLAG_KEEP_PARAMS, SCHED_FLAG_KEEP_POLICY, SCHED_FLAG_RESET_ON_FORK,
    SCHED_FLAG_UTIL_CLAMP, SCHED_IDLE, SCHED_OTHER, SCHED_RESET_ON_FORK, SCHED_RR,
};
use abi::{Errno, PAGE_SIZE, SchedAttr, SchedParam, UserPtr};
use alloc::sync::Arc;
use mm::user::{UserReader, UserWriter, read_user_struct, write_user_struct};
use sched::{PRIORITY_MAX, ROUND_ROBIN_NS, granule_ns};
use zerocopy::{FromBytes, IntoBytes};

use crate::SyscallResult;
use crate::credentials::CAP_SYS_NICE;
use crate::scheduling::{self, Class, Parameters};
use crate::syscall::time::timespec;
use crate::thread::Thread;

/// Priorities of the real-time policies, the highest and the lowest.
const REALTIME_PRIORITY_MAX: usize = PRIORITY_MAX as usize;
const REALTIME_PRIORITY_MIN: usize = 1;
/// What a nice value must not exceed, seen from 20 down: the unit of `RLIMIT_NICE` and of `getpriority`.
const NICE_LIMIT_BASE: i32 = NICE_MAX + 1;
const SCHED_ATTR_SIZE: usize = size_of::<SchedAttr>();
/// The parameters of a deadline: none below this, and none with the highest bit.
const DEADLINE_NS_MIN: u64 = 1024;
/// The longest and the shortest period of a deadline that Linux takes by default.
const DEADLINE_PERIODS_NS: core::ops::RangeInclusive<u64> = 100_000..=(1 << 22) * 1000;

/// The thread of a number; 0 is the caller. `ESRCH` when there is none.
pub(super) fn thread_by_number(caller: &Thread, number: i32) -> Result<Arc<Thread>, Errno> {
    let number = if number == 0 { caller.tid() } else { u32::try_from(number).map_err(|_| Errno::ESRCH)? };
    caller.process().system().thread(number).ok_or(Errno::ESRCH)
}

pub(crate) fn sched_yield(thread: &Thread) -> SyscallResult {
    thread.platform().yield_now();
    Ok(0)
}

/// What is asked of a policy.
#[derive(Clone, Copy)]
struct Request {
    /// None: the one the thread has.
    policy: Option<i32>,
    resets_on_fork: bool,
    /// None: as they are.
    values: Option<Values>,
}

/// The parameters of a policy.
#[derive(Clone, Copy)]
struct Values {
    /// None: the nice value stays.
    nice: Option<i32>,
    priority: u32,
}

pub(crate) fn sched_setscheduler(thread: &Thread, pid: i32, policy: i32, parameters: UserPtr) -> SyscallResult {
    if policy < 0 {
        return Err(Errno::EINVAL.into());
    }
    let request = |priority| Request {
        policy: Some(policy & !SCHED_RESET_ON_FORK),
        resets_on_fork: policy & SCHED_RESET_ON_FORK != 0,
        values: Some(Values { nice: None, priority }),
    };
    set_with_parameters(thread, pid, parameters, request)
}

pub(crate) fn sched_setparam(thread: &Thread, pid: i32, parameters: UserPtr) -> SyscallResult {
    let request =
        |priority| Request { policy: None, resets_on_fork: false, values: Some(Values { nice: None, priority }) };
    set_with_parameters(thread, pid, parameters, request)
}

fn set_with_parameters(
    thread: &Thread,
    pid: i32,
    parameters: UserPtr,
    request: impl FnOnce(u32) -> Request,
) -> SyscallResult {
    if parameters.is_null() || pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let SchedParam { sched_priority } = read_user_struct(parameters.address())?;
    let target = thread_by_number(thread, pid)?;
    // A negative priority is above all others as a number without sign, and refused as such.
    set(thread, &target, request(sched_priority.cast_unsigned()))?;
    Ok(0)
}

/// Changes the policy of a thread as far as the caller may.
fn set(caller: &Thread, target: &Thread, request: Request) -> Result<(), Errno> {
    let is_privileged = caller.credentials().has(CAP_SYS_NICE);
    let limits = target.process().limits();
    let limits = (limits.soft(RLIMIT_NICE), limits.soft(RLIMIT_RTPRIO));
    let is_owner = is_same_owner(caller, target);
    scheduling::change(target, |parameters| {
        let new = requested(*parameters, &request)?;
        let may = is_privileged || (is_owner && is_within(*parameters, new, limits));
        if !may {
            return Err(Errno::EPERM);
        }
        // On Linux the policy counts as one of the parameters to keep.
        let keeps = Parameters { resets_on_fork: new.resets_on_fork, ..*parameters };
        *parameters = if request.values.is_some() { new } else { keeps };
        Ok(())
    })
}

/// What a request asks for, given the parameters a thread has. `EINVAL` if that makes no sense.
fn requested(old: Parameters, request: &Request) -> Result<Parameters, Errno> {
    let (class, resets_on_fork) = match request.policy {
        None => (old.class, old.resets_on_fork),
        Some(number) => (Class::from_number(number).ok_or(Errno::EINVAL)?, request.resets_on_fork),
    };
    let Some(values) = request.values else {
        // What is kept must suit the policy.
        let is_sound = class.is_realtime() == old.class.is_realtime();
        return if is_sound { Ok(Parameters { class, resets_on_fork, ..old }) } else { Err(Errno::EINVAL) };
    };
    let priority = u8::try_from(values.priority).ok().filter(|priority| *priority <= PRIORITY_MAX);
    let priority = priority.ok_or(Errno::EINVAL)?;
    if class.is_realtime() != (priority != 0) {
        return Err(Errno::EINVAL);
    }
    let nice = values.nice.filter(|_| class.is_nice()).and_then(|nice| i8::try_from(nice).ok()).unwrap_or(old.nice);
    Ok(Parameters { class, nice, priority, resets_on_fork })
}

/// Whether a thread may make this change to itself, given its limits `RLIMIT_NICE` and `RLIMIT_RTPRIO`.
fn is_within(old: Parameters, new: Parameters, (nice_limit, priority_limit): (u64, u64)) -> bool {
    let may_be_as_nice = |nice: i8| nice_level(nice) <= nice_limit;
    let raises_share = new.class.is_nice() && new.nice < old.nice;
    if raises_share && !may_be_as_nice(new.nice) {
        return false;
    }
    if new.class.is_realtime() {
        if new.class != old.class && priority_limit == 0 {
            return false;
        }
        if new.priority > old.priority && u64::from(new.priority) > priority_limit {
            return false;
        }
    }
    // The idle class is beyond the last nice value.
    let leaves_idle = old.class == Class::Idle && new.class != Class::Idle;
    if leaves_idle && !may_be_as_nice(old.nice) {
        return false;
    }
    new.resets_on_fork || !old.resets_on_fork
}

/// A nice value as `RLIMIT_NICE` and `getpriority` have it: 1 to 40, the greatest share.
pub(super) fn nice_level(nice: i8) -> u64 {
    u64::try_from(NICE_LIMIT_BASE - i32::from(nice)).unwrap_or(0)
}

/// Whether the caller's user is one of the target's, so that it may change how that is scheduled.
pub(super) fn is_same_owner(caller: &Thread, target: &Thread) -> bool {
    let (own, other) = (caller.credentials(), target.credentials());
    [other.user.effective, other.user.real].contains(&own.user.effective)
}

pub(crate) fn sched_getscheduler(thread: &Thread, pid: i32) -> SyscallResult {
    if pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let Parameters { class, resets_on_fork, .. } = thread_by_number(thread, pid)?.scheduling().parameters();
    let flag = if resets_on_fork { SCHED_RESET_ON_FORK } else { 0 };
    Ok(usize::try_from(class.number() | flag).unwrap_or(0))
}

pub(crate) fn sched_getparam(thread: &Thread, pid: i32, parameters: UserPtr) -> SyscallResult {
    if parameters.is_null() || pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let own = thread_by_number(thread, pid)?.scheduling().parameters();
    write_user_struct(parameters.address(), &SchedParam { sched_priority: i32::from(own.priority) })?;
    Ok(0)
}

pub(crate) fn sched_setattr(thread: &Thread, pid: i32, attributes: UserPtr, flags: u32) -> SyscallResult {
    if attributes.is_null() || pid < 0 || flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let attr = read_attributes(attributes)?;
    let policy = i32::try_from(attr.sched_policy).map_err(|_| Errno::EINVAL)?;
    let target = thread_by_number(thread, pid)?;
    if attr.sched_flags & !SCHED_FLAG_ALL != 0 {
        return Err(Errno::EINVAL.into());
    }
    let keeps_policy = attr.sched_flags & SCHED_FLAG_KEEP_POLICY != 0;
    if policy == SCHED_DEADLINE && !keeps_policy {
        return Err(refuse_deadline(&attr).into());
    }
    if attr.sched_flags & SCHED_FLAG_UTIL_CLAMP != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let values = Values { nice: Some(attr.sched_nice), priority: attr.sched_priority };
    let request = Request {
        policy: (!keeps_policy).then_some(policy),
        resets_on_fork: attr.sched_flags & SCHED_FLAG_RESET_ON_FORK != 0,
        values: (attr.sched_flags & SCHED_FLAG_KEEP_PARAMS == 0).then_some(values),
    };
    set(thread, &target, request)?;
    Ok(0)
}

/// Reads a `struct sched_attr` of any version; of one larger than ours the rest must be zero (`E2BIG`, and our size is
/// told).
fn read_attributes(pointer: UserPtr) -> Result<SchedAttr, Errno> {
    let address = pointer.address();
    let size = match read_user_struct::<u32>(address)? as usize {
        0 => SCHED_ATTR_SIZE_VER0,
        size => size,
    };
    let too_big = || {
        // Whether the size can be told or not, the answer is the same.
        let _ = write_user_struct(address, &u32::try_from(SCHED_ATTR_SIZE).unwrap_or(0));
        Errno::E2BIG
    };
    if !(SCHED_ATTR_SIZE_VER0..=PAGE_SIZE).contains(&size) {
        return Err(too_big());
    }
    let mut reader = UserReader::new(address, size)?;
    let mut known = [0; SCHED_ATTR_SIZE];
    let len = size.min(SCHED_ATTR_SIZE);
    let mut rest = size - len;
    // The unknown part is looked at first.
    let mut unknown = UserReader::new(address + len, rest)?;
    while rest > 0 {
        let mut piece = [0; SCHED_ATTR_SIZE];
        let piece = &mut piece[..rest.min(SCHED_ATTR_SIZE)];
        unknown.read_exact(piece)?;
        if piece.iter().any(|byte| *byte != 0) {
            return Err(too_big());
        }
        rest -= piece.len();
    }
    reader.read_exact(&mut known[..len])?;
    let mut attr = SchedAttr::read_from_bytes(&known).map_err(|_| Errno::EINVAL)?;
    if attr.sched_flags & SCHED_FLAG_UTIL_CLAMP != 0 && size < SCHED_ATTR_SIZE {
        return Err(Errno::EINVAL);
    }
    attr.sched_nice = attr.sched_nice.clamp(NICE_MIN, NICE_MAX);
    Ok(attr)
}

/// Why a request for deadline scheduling is refused.
fn refuse_deadline(attr: &SchedAttr) -> Errno {
    let SchedAttr { sched_runtime: runtime, sched_deadline: deadline, sched_period, .. } = *attr;
    let period = if sched_period == 0 { deadline } else { sched_period };
    let is_sound = deadline != 0
        && runtime >= DEADLINE_NS_MIN
        && i64::try_from(deadline).is_ok()
        && i64::try_from(period).is_ok()
        && period >= deadline
        && deadline >= runtime
        && DEADLINE_PERIODS_NS.contains(&period)
        && attr.sched_priority == 0;
    if is_sound { Errno::EPERM } else { Errno::EINVAL }
}

pub(crate) fn sched_getattr(thread: &Thread, pid: i32, attributes: UserPtr, size: u32, flags: u32) -> SyscallResult {
    let size = size as usize;
    let is_sound = !attributes.is_null() && pid >= 0 && flags == 0;
    if !is_sound || !(SCHED_ATTR_SIZE_VER0..=PAGE_SIZE).contains(&size) {
        return Err(Errno::EINVAL.into());
    }
    let own = thread_by_number(thread, pid)?.scheduling().parameters();
    let len = size.min(SCHED_ATTR_SIZE);
    let is_realtime = own.class.is_realtime();
    let attr = SchedAttr {
        size: u32::try_from(len).unwrap_or(0),
        sched_policy: own.class.number().cast_unsigned(),
        sched_flags: if own.resets_on_fork { SCHED_FLAG_RESET_ON_FORK } else { 0 },
        sched_nice: if is_realtime { 0 } else { own.nice.into() },
        sched_priority: own.priority.into(),
        // The slice of a fair thread, as Linux has it since 6.12.
        sched_runtime: if is_realtime { 0 } else { granule_ns(own.policy().weight()) },
        ..SchedAttr::zeroed()
    };
    let mut writer = UserWriter::new(attributes.address(), size)?;
    writer.write_all(&attr.as_bytes()[..len])?;
    writer.fill_zero(size - len)?;
    Ok(0)
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

pub(crate) fn sched_rr_get_interval(thread: &Thread, pid: i32, interval: UserPtr) -> SyscallResult {
    if pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let own = thread_by_number(thread, pid)?.scheduling().parameters();
    let turn_ns = match own.class {
        Class::Fifo => 0,
        Class::RoundRobin => ROUND_ROBIN_NS,
        Class::Other | Class::Batch | Class::Idle => granule_ns(own.policy().weight()),
    };
    write_user_struct(interval.address(), &timespec(turn_ns))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(class: Class, nice: i8, priority: u8) -> Parameters {
        Parameters { class, nice, priority, resets_on_fork: false }
    }

    fn request(policy: i32, nice: Option<i32>, priority: u32) -> Request {
        Request { policy: Some(policy), resets_on_fork: false, values: Some(Values { nice, priority }) }
    }

    #[test]
    fn priorities_suit_policies() {
        let old = parameters(Class::Other, 3, 0);
        assert_eq!(requested(old, &request(SCHED_FIFO, None, 5)), Ok(parameters(Class::Fifo, 3, 5)));
        assert_eq!(requested(old, &request(SCHED_BATCH, Some(-2), 0)), Ok(parameters(Class::Batch, -2, 0)));
        assert_eq!(requested(old, &request(SCHED_IDLE, Some(-2), 0)), Ok(parameters(Class::Idle, 3, 0)));
        for (policy, priority) in [(SCHED_FIFO, 0), (SCHED_RR, 100), (SCHED_OTHER, 1), (SCHED_IDLE, 1), (4, 0), (7, 0)]
        {
            assert_eq!(requested(old, &request(policy, None, priority)), Err(Errno::EINVAL), "{policy} {priority}");
        }
        assert_eq!(requested(old, &request(SCHED_FIFO, None, u32::MAX)), Err(Errno::EINVAL));
    }

    #[test]
    fn kept_parameters_suit_the_policy() {
        let keep = |policy| Request { policy, resets_on_fork: false, values: None };
        let fifo = parameters(Class::Fifo, 0, 7);
        assert_eq!(requested(fifo, &keep(Some(SCHED_RR))), Ok(parameters(Class::RoundRobin, 0, 7)));
        assert_eq!(requested(fifo, &keep(Some(SCHED_OTHER))), Err(Errno::EINVAL));
        assert_eq!(requested(fifo, &keep(None)), Ok(fifo));
    }

    #[test]
    fn limits_bind_the_unprivileged() {
        let plain = parameters(Class::Other, 0, 0);
        let nicer = parameters(Class::Other, 5, 0);
        assert!(is_within(plain, nicer, (0, 0)));
        assert!(!is_within(nicer, plain, (19, 0)) && is_within(nicer, plain, (20, 0)));
        let fifo = |priority| parameters(Class::Fifo, 0, priority);
        assert!(!is_within(plain, fifo(1), (40, 0)) && is_within(plain, fifo(1), (40, 1)));
        assert!(!is_within(plain, fifo(2), (40, 1)) && is_within(fifo(9), fifo(5), (0, 0)));
        let idle = parameters(Class::Idle, 0, 0);
        assert!(is_within(plain, idle, (0, 0)) && !is_within(idle, plain, (0, 0)) && is_within(idle, plain, (20, 0)));
        let resets = Parameters { resets_on_fork: true, ..plain };
        assert!(is_within(plain, resets, (0, 0)) && !is_within(resets, plain, (40, 99)));
    }

    #[test]
    fn deadlines_are_refused_for_a_reason() {
        let attr = |runtime, deadline, period| SchedAttr {
            sched_runtime: runtime,
            sched_deadline: deadline,
            sched_period: period,
            ..SchedAttr::zeroed()
        };
        assert_eq!(refuse_deadline(&attr(1_000_000, 10_000_000, 10_000_000)), Errno::EPERM);
        assert_eq!(refuse_deadline(&attr(1_000_000, 10_000_000, 0)), Errno::EPERM);
        for (runtime, deadline, period) in [(0, 0, 0), (1023, 10_000_000, 0), (9, 8, 7), (2_000_000, 1_000_000, 0)] {
            assert_eq!(refuse_deadline(&attr(runtime, deadline, period)), Errno::EINVAL);
        }
    }
}
