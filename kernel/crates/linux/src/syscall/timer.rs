//! Timers: `alarm`, interval timers, POSIX timers, timers behind descriptors.

use alloc::sync::Arc;

use abi::signal::{SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, SIGEV_THREAD_ID};
use abi::time as clock;
use abi::time::{ITIMER_REAL, TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET, TIMER_ABSTIME};
use abi::{Errno, Fd, Itimerspec, Itimerval, OpenFlags, Sigevent, Signal, Timeval, UserPtr};
use file::OpenFile;
use mm::user::{read_user_struct, write_user_struct};

use super::open::number;
use super::time::{Clock, NamedClock, Part, timespec};
use crate::SyscallResult;
use crate::credentials::CAP_WAKE_ALARM;
use crate::lookup;
use crate::thread::Thread;
use crate::timer::{Event, Expiry, Notification, Setting, Timer, TimerClock, interval_timer};
use crate::timerfd::TimerFd;

const NS_PER_SECOND: u64 = 1_000_000_000;
/// `alarm` rounds to seconds, halves up.
const HALF_SECOND_NS: u64 = NS_PER_SECOND / 2;

// ---- Interval timers ------------------------------------------------------------------------------------------------

/// Sets an interval timer, or stops it if the value is 0.
fn set_interval(thread: &Thread, which: i32, setting: Setting) -> Result<Setting, Errno> {
    let timer = interval_timer(thread.process(), which)?;
    let expiry = (setting.value_ns > 0).then(|| Expiry::At(timer.clock().now_ns().saturating_add(setting.value_ns)));
    let is_stopped = which == ITIMER_REAL && expiry.is_none();
    Ok(timer.set(expiry, if is_stopped { 0 } else { setting.interval_ns }))
}

pub(crate) fn alarm(thread: &Thread, seconds: u32) -> SyscallResult {
    let value_ns = u64::from(seconds) * NS_PER_SECOND;
    let old_ns = set_interval(thread, ITIMER_REAL, Setting { value_ns, interval_ns: 0 })?.value_ns;
    let (seconds, rest_ns) = (old_ns / NS_PER_SECOND, old_ns % NS_PER_SECOND);
    // What is left of the last second counts as one, so that 0 means none.
    let rounds_up = rest_ns >= HALF_SECOND_NS || (seconds == 0 && rest_ns > 0);
    Ok(usize::try_from(seconds + u64::from(rounds_up)).unwrap_or(usize::MAX))
}

fn itimerval(setting: Setting) -> Itimerval {
    let timeval = |time_ns: u64| Timeval::from_nanoseconds(i64::try_from(time_ns).unwrap_or(i64::MAX));
    Itimerval { it_interval: timeval(setting.interval_ns), it_value: timeval(setting.value_ns) }
}

pub(crate) fn getitimer(thread: &Thread, which: i32, value: UserPtr) -> SyscallResult {
    let timer = thread.process().timers.interval(which)?;
    let setting = timer.map(Timer::get).unwrap_or_default();
    write_user_struct(value.address(), &itimerval(setting))?;
    Ok(0)
}

pub(crate) fn setitimer(thread: &Thread, which: i32, value: UserPtr, old_value: UserPtr) -> SyscallResult {
    // Without a value Linux stops the timer.
    let new = match value.non_null() {
        None => Setting::default(),
        Some(value) => {
            let value: Itimerval = read_user_struct(value.address())?;
            let nanoseconds = |time: Timeval| time.to_nanoseconds().ok_or(Errno::EINVAL);
            Setting { value_ns: nanoseconds(value.it_value)?, interval_ns: nanoseconds(value.it_interval)? }
        }
    };
    let old = set_interval(thread, which, new)?;
    if let Some(old_value) = old_value.non_null() {
        write_user_struct(old_value.address(), &itimerval(old))?;
    }
    Ok(0)
}

// ---- POSIX timers ---------------------------------------------------------------------------------------------------

fn itimerspec(setting: Setting) -> Itimerspec {
    Itimerspec { it_interval: timespec(setting.interval_ns), it_value: timespec(setting.value_ns) }
}

fn read_itimerspec(value: UserPtr) -> Result<Setting, Errno> {
    let value: Itimerspec = read_user_struct(value.address())?;
    let value_ns = value.it_value.to_nanoseconds().ok_or(Errno::EINVAL)?;
    let interval_ns = value.it_interval.to_nanoseconds().ok_or(Errno::EINVAL)?;
    Ok(Setting { value_ns, interval_ns })
}

/// When a setting expires; none if it stops the timer.
fn expiry(timer_clock: &TimerClock, is_realtime: bool, is_absolute: bool, value_ns: u64) -> Option<Expiry> {
    match value_ns {
        0 => None,
        // Durations do not depend on what happens to the time of day.
        value_ns if !is_absolute => Some(Expiry::At(timer_clock.now_ns().saturating_add(value_ns))),
        value_ns if is_realtime => Some(Expiry::OfDay(value_ns)),
        value_ns => Some(Expiry::At(value_ns)),
    }
}

/// Whether a clock shows the time of day.
fn is_time_of_day(clock: i32) -> bool {
    matches!(clock, clock::CLOCK_REALTIME | clock::CLOCK_REALTIME_ALARM | clock::CLOCK_TAI)
}

/// The clock of a POSIX timer.
fn timer_clock(thread: &Thread, id: i32) -> Result<TimerClock, Errno> {
    let process = || Arc::downgrade(thread.process());
    match id {
        clock::CLOCK_REALTIME | clock::CLOCK_TAI | clock::CLOCK_MONOTONIC | clock::CLOCK_BOOTTIME => {
            return Ok(TimerClock::Monotonic);
        }
        clock::CLOCK_PROCESS_CPUTIME_ID => return Ok(TimerClock::ProcessCpu(process())),
        clock::CLOCK_THREAD_CPUTIME_ID => {}
        // Clocks without timers; those that wake the machine need a clock chip that can.
        clock::CLOCK_MONOTONIC_RAW | clock::CLOCK_REALTIME_COARSE | clock::CLOCK_MONOTONIC_COARSE => {
            return Err(Errno::EOPNOTSUPP);
        }
        clock::CLOCK_REALTIME_ALARM | clock::CLOCK_BOOTTIME_ALARM => return Err(Errno::EOPNOTSUPP),
        _ => {}
    }
    let system = thread.process().system();
    match NamedClock::from_id(id)?.clock {
        Clock::ProcessCpu(pid, part) => {
            let process = match pid {
                0 => process(),
                pid => Arc::downgrade(&system.process(pid).ok_or(Errno::EINVAL)?),
            };
            Ok(if part == Part::User { TimerClock::ProcessUser(process) } else { TimerClock::ProcessCpu(process) })
        }
        Clock::ThreadCpu(tid, part) => {
            let other = system.thread(if tid == 0 { thread.tid() } else { tid }).ok_or(Errno::EINVAL)?;
            if other.process().pid() != thread.process().pid() {
                return Err(Errno::EINVAL);
            }
            let other = Arc::downgrade(&other);
            Ok(if part == Part::User { TimerClock::ThreadUser(other) } else { TimerClock::ThreadCpu(other) })
        }
        Clock::Realtime | Clock::Monotonic => Err(Errno::EINVAL),
    }
}

/// What a `struct sigevent` asks for; the timer has no number yet.
fn notification(thread: &Thread, event: Option<&Sigevent>) -> Result<Notification, Errno> {
    let mut made = Notification {
        process: Arc::downgrade(thread.process()),
        thread: None,
        signal: Some(Signal::SIGALRM),
        asked: (SIGEV_SIGNAL, i32::from(Signal::SIGALRM.number())),
        id: 0,
        value: 0,
    };
    let Some(event) = event else { return Ok(made) };
    made.value = event.sigev_value;
    made.asked = (event.sigev_notify, event.sigev_signo);
    made.signal = match event.sigev_notify {
        SIGEV_NONE => None,
        SIGEV_SIGNAL | SIGEV_THREAD => Some(Signal::from_raw(event.sigev_signo).ok_or(Errno::EINVAL)?),
        SIGEV_THREAD_ID => {
            let tid = u32::try_from(event.sigev_tid).map_err(|_| Errno::EINVAL)?;
            let target = thread.process().system().thread(tid).ok_or(Errno::EINVAL)?;
            if target.process().pid() != thread.process().pid() {
                return Err(Errno::EINVAL);
            }
            made.thread = Some(Arc::downgrade(&target));
            Some(Signal::from_raw(event.sigev_signo).ok_or(Errno::EINVAL)?)
        }
        _ => return Err(Errno::EINVAL),
    };
    Ok(made)
}

pub(crate) fn timer_create(thread: &Thread, clock: i32, event: UserPtr, id: UserPtr) -> SyscallResult {
    let event: Option<Sigevent> = event.non_null().map(|event| read_user_struct(event.address())).transpose()?;
    let timers = &thread.process().timers;
    let timer_clock = timer_clock(thread, clock)?;
    let mut notification = notification(thread, event.as_ref())?;
    let number = timers.add_posix(clock, |number| {
        notification.id = number;
        if event.is_none() {
            // Without an event, the number is also the value.
            notification.value = u64::from(number.unsigned_abs());
        }
        Timer::new(thread.process().system(), timer_clock, Event::Posix(notification))
    })?;
    if let Err(errno) = write_user_struct(id.address(), &number) {
        timers.delete_posix(number)?;
        return Err(errno.into());
    }
    Ok(0)
}

pub(crate) fn timer_settime(thread: &Thread, id: i32, flags: i32, value: UserPtr, old_value: UserPtr) -> SyscallResult {
    let new = read_itimerspec(value.non_null().ok_or(Errno::EINVAL)?)?;
    let (timer, clock) = thread.process().timers.posix(id)?;
    let expiry = expiry(timer.clock(), is_time_of_day(clock), flags & TIMER_ABSTIME != 0, new.value_ns);
    let old = timer.set(expiry, if expiry.is_some() { new.interval_ns } else { 0 });
    if let Some(old_value) = old_value.non_null() {
        write_user_struct(old_value.address(), &itimerspec(old))?;
    }
    Ok(0)
}

pub(crate) fn timer_gettime(thread: &Thread, id: i32, value: UserPtr) -> SyscallResult {
    let setting = thread.process().timers.posix(id)?.0.get();
    write_user_struct(value.address(), &itimerspec(setting))?;
    Ok(0)
}

pub(crate) fn timer_getoverrun(thread: &Thread, id: i32) -> SyscallResult {
    let overrun = thread.process().timers.posix(id)?.0.overrun();
    Ok(usize::try_from(overrun).unwrap_or(0))
}

pub(crate) fn timer_delete(thread: &Thread, id: i32) -> SyscallResult {
    thread.process().timers.delete_posix(id)?;
    Ok(0)
}

// ---- Timers behind descriptors --------------------------------------------------------------------------------------

pub(crate) fn timerfd_create(thread: &Thread, clock: i32, flags: u32) -> SyscallResult {
    if flags & !(TFD_CLOEXEC | TFD_NONBLOCK) != 0 {
        return Err(Errno::EINVAL.into());
    }
    match clock {
        clock::CLOCK_REALTIME | clock::CLOCK_MONOTONIC | clock::CLOCK_BOOTTIME => {}
        clock::CLOCK_REALTIME_ALARM | clock::CLOCK_BOOTTIME_ALARM if thread.credentials().has(CAP_WAKE_ALARM) => {}
        clock::CLOCK_REALTIME_ALARM | clock::CLOCK_BOOTTIME_ALARM => return Err(Errno::EPERM.into()),
        _ => return Err(Errno::EINVAL.into()),
    }
    let status = OpenFlags::RDWR | OpenFlags::from_bits_truncate(flags & TFD_NONBLOCK);
    let open = OpenFile::new(TimerFd::new(thread.process().system(), clock)?, status);
    Ok(number(thread.fds().install(open, flags & TFD_CLOEXEC != 0)?))
}

/// Calls `action` with the timer behind a descriptor; `EINVAL` if that is something else.
fn with_timer_fd<R>(thread: &Thread, fd: Fd, action: impl FnOnce(&TimerFd) -> R) -> Result<R, Errno> {
    let open = thread.fds().get(fd.raw())?;
    lookup::file_as::<TimerFd>(&open).map(action).ok_or(Errno::EINVAL)
}

pub(crate) fn timerfd_settime(
    thread: &Thread,
    fd: Fd,
    flags: u32,
    value: UserPtr,
    old_value: UserPtr,
) -> SyscallResult {
    let new = read_itimerspec(value)?;
    if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let old = with_timer_fd(thread, fd, |timer| {
        let is_absolute = flags & TFD_TIMER_ABSTIME != 0;
        let expiry = expiry(&TimerClock::Monotonic, is_time_of_day(timer.clock()), is_absolute, new.value_ns);
        timer.set(expiry, new.interval_ns, flags)
    })?;
    if let Some(old_value) = old_value.non_null() {
        write_user_struct(old_value.address(), &itimerspec(old))?;
    }
    Ok(0)
}

pub(crate) fn timerfd_gettime(thread: &Thread, fd: Fd, value: UserPtr) -> SyscallResult {
    let setting = with_timer_fd(thread, fd, TimerFd::get)?;
    write_user_struct(value.address(), &itimerspec(setting))?;
    Ok(0)
}
