//! Clocks and sleeping.

use abi::time as clock;
use abi::time::{TIMER_ABSTIME, Timespec};
use abi::{Errno, PollEvents, Timeval, UserPtr};
use mm::user::{read_user_struct, write_user_struct};
use sync::machine;

use crate::error::Restart;
use crate::process::Process;
use crate::thread::Thread;
use crate::{Interrupted, SyscallResult, wait};

/// The resolution of the precise clocks, and of the coarse ones (the period of Linux's tick).
const RESOLUTION_NS: i64 = 1;
const RESOLUTION_COARSE_NS: i64 = 4_000_000;

/// What a clock measures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// The time of day.
    Realtime,
    /// The time since boot.
    Monotonic,
    /// CPU time of a process; 0 is the caller's.
    ProcessCpu(u32, Part),
    /// CPU time of a thread; 0 is the caller.
    ThreadCpu(u32, Part),
}

/// Which part of the CPU time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// All of it, exactly.
    All,
    /// All of it, as far as Linux's tick sees it.
    Ticks,
    /// In the program.
    User,
}

/// A clock as programs name it.
pub(super) struct NamedClock {
    pub(super) clock: Clock,
    is_coarse: bool,
    can_sleep: bool,
}

impl NamedClock {
    fn new(clock: Clock, is_coarse: bool, can_sleep: bool) -> Self {
        Self { clock, is_coarse, can_sleep }
    }

    #[inline]
    pub(super) fn from_id(id: i32) -> Result<Self, Errno> {
        Ok(match id {
            clock::CLOCK_REALTIME | clock::CLOCK_TAI => Self::new(Clock::Realtime, false, true),
            clock::CLOCK_MONOTONIC | clock::CLOCK_BOOTTIME => Self::new(Clock::Monotonic, false, true),
            clock::CLOCK_MONOTONIC_RAW => Self::new(Clock::Monotonic, false, false),
            clock::CLOCK_REALTIME_COARSE => Self::new(Clock::Realtime, true, false),
            clock::CLOCK_MONOTONIC_COARSE => Self::new(Clock::Monotonic, true, false),
            clock::CLOCK_PROCESS_CPUTIME_ID => Self::new(Clock::ProcessCpu(0, Part::All), false, true),
            clock::CLOCK_THREAD_CPUTIME_ID => Self::new(Clock::ThreadCpu(0, Part::All), false, false),
            id if id < 0 => Self::of_task(id)?,
            _ => return Err(Errno::EINVAL),
        })
    }

    /// The CPU clock of another process or thread: its number inverted, above three bits that say which.
    pub(super) fn of_task(id: i32) -> Result<Self, Errno> {
        const KIND: i32 = 3;
        const OF_A_THREAD: i32 = 4;
        let part = match id & KIND {
            0 => Part::Ticks,
            1 => Part::User,
            2 => Part::All,
            // Stands for a clock behind a descriptor.
            _ => return Err(Errno::EINVAL),
        };
        let task = (!(id >> 3)).cast_unsigned();
        let clock = if id & OF_A_THREAD != 0 { Clock::ThreadCpu(task, part) } else { Clock::ProcessCpu(task, part) };
        Ok(Self::new(clock, part != Part::All, true))
    }
}

impl Clock {
    fn now_ns(self, thread: &Thread) -> Result<u64, Errno> {
        let system = thread.process().system();
        match self {
            Self::Realtime => Ok(machine::realtime_ns()),
            Self::Monotonic => Ok(machine::now_ns()),
            // To ask for its process's time a thread may use its own number.
            Self::ProcessCpu(pid, part) if pid == 0 || pid == thread.tid() => Ok(part.of_process(thread.process())),
            Self::ProcessCpu(pid, part) => {
                system.process(pid).map(|process| part.of_process(&process)).ok_or(Errno::EINVAL)
            }
            Self::ThreadCpu(0, part) => Ok(part.of_thread(thread)),
            // Other processes' threads are none of the caller's business.
            Self::ThreadCpu(tid, part) => system
                .thread(tid)
                .filter(|other| other.process().pid() == thread.process().pid())
                .map(|other| part.of_thread(&other))
                .ok_or(Errno::EINVAL),
        }
    }

    /// `EINVAL` if nobody has this clock. Its owner's number is asked for more strictly than by those who want the time.
    fn check(self, thread: &Thread) -> Result<(), Errno> {
        match self {
            Self::ProcessCpu(pid, _) if pid != 0 => {
                thread.process().system().process(pid).map(drop).ok_or(Errno::EINVAL)
            }
            clock => clock.now_ns(thread).map(drop),
        }
    }
}

impl Part {
    fn of_thread(self, thread: &Thread) -> u64 {
        match self {
            Self::All | Self::Ticks => thread.runtime_ns(),
            Self::User => thread.cpu_time().user_ns,
        }
    }

    fn of_process(self, process: &Process) -> u64 {
        match self {
            Self::All | Self::Ticks => process.runtime_ns(),
            Self::User => process.cpu_time().user_ns,
        }
    }
}

pub(super) fn timespec(time_ns: u64) -> Timespec {
    Timespec::from_nanoseconds(i64::try_from(time_ns).unwrap_or(i64::MAX))
}

pub(crate) fn clock_gettime(thread: &Thread, clock: i32, time: UserPtr) -> SyscallResult {
    let now_ns = NamedClock::from_id(clock)?.clock.now_ns(thread)?;
    write_user_struct(time.address(), &timespec(now_ns))?;
    Ok(0)
}

pub(crate) fn clock_getres(thread: &Thread, clock: i32, resolution: UserPtr) -> SyscallResult {
    let named = NamedClock::from_id(clock)?;
    named.clock.check(thread)?;
    if let Some(resolution) = resolution.non_null() {
        let resolution_ns = if named.is_coarse { RESOLUTION_COARSE_NS } else { RESOLUTION_NS };
        write_user_struct(resolution.address(), &Timespec::from_nanoseconds(resolution_ns))?;
    }
    Ok(0)
}

pub(crate) fn gettimeofday(thread: &Thread, time: UserPtr, zone: UserPtr) -> SyscallResult {
    if let Some(time) = time.non_null() {
        let now_ns = i64::try_from(machine::realtime_ns()).unwrap_or(i64::MAX);
        write_user_struct(time.address(), &Timeval::from_nanoseconds(now_ns))?;
    }
    if let Some(zone) = zone.non_null() {
        write_user_struct(zone.address(), &thread.process().system().timers().time_of_day().settings().zone)?;
    }
    Ok(0)
}

pub(crate) fn time(_thread: &Thread, result: UserPtr) -> SyscallResult {
    let seconds = timespec(machine::realtime_ns()).tv_sec;
    if let Some(result) = result.non_null() {
        write_user_struct(result.address(), &seconds)?;
    }
    Ok(usize::try_from(seconds).unwrap_or(0))
}

pub(crate) fn nanosleep(thread: &Thread, request: UserPtr, remaining: UserPtr) -> SyscallResult {
    sleep_for(thread, duration_ns(request)?, remaining)
}

pub(crate) fn clock_nanosleep(
    thread: &Thread,
    clock: i32,
    flags: i32,
    request: UserPtr,
    remaining: UserPtr,
) -> SyscallResult {
    let named = NamedClock::from_id(clock)?;
    if !named.can_sleep {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let time_ns = duration_ns(request)?;
    let is_absolute = flags & TIMER_ABSTIME != 0;
    match named.clock {
        Clock::ProcessCpu(..) => sleep_on_cpu_clock(thread, named.clock, time_ns, is_absolute, remaining),
        // A thread that sleeps uses no CPU: it would wait for ever.
        Clock::ThreadCpu(0, _) => Err(Errno::EINVAL.into()),
        Clock::ThreadCpu(tid, _) if tid == thread.tid() => Err(Errno::EINVAL.into()),
        Clock::ThreadCpu(..) => sleep_on_cpu_clock(thread, named.clock, time_ns, is_absolute, remaining),
        _ if !is_absolute => sleep_for(thread, time_ns, remaining),
        Clock::Realtime => sleep_until_time_of_day(thread, time_ns),
        Clock::Monotonic => {
            wait::sleep_until(thread, time_ns).map_err(|interrupted| interrupted.restart(Restart::IfNoHandler))?;
            Ok(0)
        }
    }
}

/// Sleeps until a time of the day, also if the clock is set in the meantime.
fn sleep_until_time_of_day(thread: &Thread, time_ns: u64) -> SyscallResult {
    let was_set = &thread.process().system().timers().time_of_day().was_set;
    let sources = [wait::Source { queue: was_set, events: PollEvents::all() }];
    loop {
        let now_ns = machine::realtime_ns();
        if now_ns >= time_ns {
            return Ok(0);
        }
        let deadline_ns = machine::now_ns().saturating_add(time_ns - now_ns);
        // A clock that goes back makes the deadline too early, one that goes forward wakes.
        let is_over = || (machine::realtime_ns() >= time_ns).then_some(());
        wait::until(thread, &sources, deadline_ns, is_over)
            .map_err(|interrupted| interrupted.restart(Restart::IfNoHandler))?;
    }
}

#[inline]
fn duration_ns(request: UserPtr) -> Result<u64, Errno> {
    read_user_struct::<Timespec>(request.address())?.to_nanoseconds().ok_or(Errno::EINVAL)
}

/// Sleeps for a time. Interrupted, it tells what is left, and goes on until the same end if no handler ran.
fn sleep_for(thread: &Thread, duration_ns: u64, remaining: UserPtr) -> SyscallResult {
    sleep_until(thread, machine::now_ns().saturating_add(duration_ns), remaining)
}

fn sleep_until(thread: &Thread, deadline_ns: u64, remaining: UserPtr) -> SyscallResult {
    let Err(interrupted) = wait::sleep_until(thread, deadline_ns) else { return Ok(0) };
    let left_ns = deadline_ns.saturating_sub(machine::now_ns());
    if left_ns == 0 {
        return Ok(0);
    }
    if let Some(remaining) = remaining.non_null() {
        write_user_struct(remaining.address(), &timespec(left_ns))?;
    }
    thread.set_continuation(alloc::boxed::Box::new(move |thread| sleep_until(thread, deadline_ns, remaining)));
    Err(interrupted.restart(Restart::Continue))
}

/// Sleeps until a CPU clock, which only others can advance, has come far enough.
fn sleep_on_cpu_clock(
    thread: &Thread,
    clock: Clock,
    time_ns: u64,
    is_absolute: bool,
    remaining: UserPtr,
) -> SyscallResult {
    if is_absolute {
        let slept = sleep_until_cpu_time(thread, clock, time_ns)?;
        return slept.map(|()| 0).map_err(|interrupted| interrupted.restart(Restart::IfNoHandler));
    }
    let target_ns = clock.now_ns(thread)?.saturating_add(time_ns);
    sleep_on_for(thread, clock, target_ns, remaining)
}

/// As [`sleep_until`], on a CPU clock.
fn sleep_on_for(thread: &Thread, clock: Clock, target_ns: u64, remaining: UserPtr) -> SyscallResult {
    let Err(interrupted) = sleep_until_cpu_time(thread, clock, target_ns)? else { return Ok(0) };
    let left_ns = target_ns.saturating_sub(clock.now_ns(thread)?);
    if left_ns == 0 {
        return Ok(0);
    }
    if let Some(remaining) = remaining.non_null() {
        write_user_struct(remaining.address(), &timespec(left_ns))?;
    }
    thread.set_continuation(alloc::boxed::Box::new(move |thread| sleep_on_for(thread, clock, target_ns, remaining)));
    Err(interrupted.restart(Restart::Continue))
}

fn sleep_until_cpu_time(thread: &Thread, clock: Clock, target_ns: u64) -> Result<Result<(), Interrupted>, Errno> {
    /// How often a clock that is about to reach its time is looked at.
    const PERIOD_NS: u64 = 1_000_000;
    let cpus = u64::from(thread.platform().cpu_info().count.max(1));
    loop {
        let left_ns = target_ns.saturating_sub(clock.now_ns(thread)?);
        if left_ns == 0 {
            return Ok(Ok(()));
        }
        // The clock advances as fast as all CPUs together, at most.
        let deadline_ns = machine::now_ns().saturating_add((left_ns / cpus).max(PERIOD_NS));
        if let Err(interrupted) = wait::sleep_until(thread, deadline_ns) {
            return Ok(Err(interrupted));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_tasks_are_decoded() {
        let id = |task: i32, kind: i32| !task << 3 | kind;
        let clock = |kind| NamedClock::from_id(id(7, kind)).map(|named| (named.clock, named.is_coarse)).ok();
        assert!(clock(2) == Some((Clock::ProcessCpu(7, Part::All), false)));
        assert!(clock(1) == Some((Clock::ProcessCpu(7, Part::User), true)));
        assert!(clock(4) == Some((Clock::ThreadCpu(7, Part::Ticks), true)));
        assert!(clock(6) == Some((Clock::ThreadCpu(7, Part::All), false)));
        assert!(NamedClock::from_id(id(7, 3)).is_err());
        assert!(NamedClock::from_id(8).is_err());
        assert!(NamedClock::from_id(10).is_err());
    }
}
