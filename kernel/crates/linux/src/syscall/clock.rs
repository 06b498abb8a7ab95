//! Setting the wall clock.

use abi::time as clock;
use abi::time::{
    ADJ_ESTERROR, ADJ_FREQUENCY, ADJ_MAXERROR, ADJ_MICRO, ADJ_NANO, ADJ_OFFSET, ADJ_OFFSET_SINGLESHOT,
    ADJ_OFFSET_SS_READ, ADJ_SETOFFSET, ADJ_STATUS, ADJ_TAI, ADJ_TICK, ADJ_TIMECONST, CLOCK_REALTIME, STA_NANO,
    STA_UNSYNC, TIME_ERROR, TIME_OK,
};
use abi::{Errno, Timespec, Timeval, Timex, Timezone, UserPtr};
use mm::user::{read_user_struct, write_user_struct};
use sync::machine;

use super::time::NamedClock;
use crate::SyscallResult;
use crate::credentials::CAP_SYS_TIME;
use crate::thread::Thread;

const NS_PER_SECOND: i64 = 1_000_000_000;
const NS_PER_MICROSECOND: i64 = 1000;
/// The farthest a zone may be from Greenwich, in minutes.
const ZONE_MAX_MINUTES: i32 = 15 * 60;
/// The ticks Linux takes, in microseconds.
const TICKS_US: core::ops::RangeInclusive<i64> = 9_000..=11_000;
/// What would slew the clock, or put another one beside it.
const SLEWING: u32 = ADJ_OFFSET | ADJ_FREQUENCY | ADJ_TICK | ADJ_TAI;
/// Longest time constant.
const TIME_CONSTANT_MAX: i64 = 10;

/// Sets the wall clock. `EINVAL` for a time before the machine could have started.
fn set_time(thread: &Thread, time_ns: u64) -> Result<(), Errno> {
    if time_ns < machine::now_ns() || i64::try_from(time_ns).is_err() {
        return Err(Errno::EINVAL);
    }
    thread.process().system().timers().set_time_of_day(time_ns);
    Ok(())
}

pub(crate) fn clock_settime(thread: &Thread, id: i32, time: UserPtr) -> SyscallResult {
    if id != CLOCK_REALTIME && id >= 0 {
        return Err(Errno::EINVAL.into());
    }
    let time: Timespec = read_user_struct(time.address())?;
    if id != CLOCK_REALTIME {
        // CPU clocks are there, but nobody may set them.
        NamedClock::from_id(id)?;
        return Err(Errno::EPERM.into());
    }
    let time_ns = time.to_nanoseconds().ok_or(Errno::EINVAL)?;
    thread.credentials().require(CAP_SYS_TIME)?;
    set_time(thread, time_ns)?;
    Ok(0)
}

pub(crate) fn settimeofday(thread: &Thread, time: UserPtr, zone: UserPtr) -> SyscallResult {
    let time = match time.non_null() {
        Some(time) => {
            let time: Timeval = read_user_struct(time.address())?;
            Some(time.to_nanoseconds().ok_or(Errno::EINVAL)?)
        }
        None => None,
    };
    let zone: Option<Timezone> = zone.non_null().map(|zone| read_user_struct(zone.address())).transpose()?;
    thread.credentials().require(CAP_SYS_TIME)?;
    if let Some(zone) = zone {
        if !(-ZONE_MAX_MINUTES..=ZONE_MAX_MINUTES).contains(&zone.tz_minuteswest) {
            return Err(Errno::EINVAL.into());
        }
        thread.process().system().timers().time_of_day().change(|settings| settings.zone = zone);
        thread.platform().set_time_zone(zone.tz_minuteswest, zone.tz_dsttime);
    }
    if let Some(time_ns) = time {
        set_time(thread, time_ns)?;
    }
    Ok(0)
}

pub(crate) fn adjtimex(thread: &Thread, buffer: UserPtr) -> SyscallResult {
    let request: Timex = read_user_struct(buffer.address())?;
    let (answer, state) = adjust(thread, &request)?;
    write_user_struct(buffer.address(), &answer)?;
    Ok(state)
}

pub(crate) fn clock_adjtime(thread: &Thread, id: i32, buffer: UserPtr) -> SyscallResult {
    let request: Timex = read_user_struct(buffer.address())?;
    if id != clock::CLOCK_REALTIME {
        NamedClock::from_id(id)?;
        return Err(Errno::EOPNOTSUPP.into());
    }
    let (answer, state) = adjust(thread, &request)?;
    write_user_struct(buffer.address(), &answer)?;
    Ok(state)
}

/// What a structure asks for; answers how things are then, and whether the clock is in step.
fn adjust(thread: &Thread, request: &Timex) -> Result<(Timex, usize), Errno> {
    check(thread, request)?;
    let modes = request.modes;
    let time_of_day = thread.process().system().timers().time_of_day();
    if modes & ADJ_SETOFFSET != 0 {
        let unit_ns = if modes & ADJ_NANO != 0 { 1 } else { NS_PER_MICROSECOND };
        let offset_ns = i128::from(request.time.tv_sec) * i128::from(NS_PER_SECOND)
            + i128::from(request.time.tv_usec) * i128::from(unit_ns);
        let time_ns = i128::from(machine::realtime_ns()) + offset_ns;
        set_time(thread, u64::try_from(time_ns).map_err(|_| Errno::EINVAL)?)?;
    }
    let is_query = modes == ADJ_OFFSET_SS_READ;
    let settings = time_of_day.change(|settings| {
        if is_query {
            return;
        }
        if modes & ADJ_STATUS != 0 {
            settings.set_status(request.status);
        }
        if modes & (ADJ_NANO | ADJ_MICRO) != 0 {
            settings.set_nanoseconds(modes & ADJ_NANO != 0);
        }
        if modes & ADJ_MAXERROR != 0 {
            settings.max_error_us = request.maxerror;
        }
        if modes & ADJ_ESTERROR != 0 {
            settings.estimated_error_us = request.esterror;
        }
        if modes & ADJ_TIMECONST != 0 {
            settings.time_constant = request.constant.clamp(0, TIME_CONSTANT_MAX);
        }
    });
    let now_ns = i64::try_from(machine::realtime_ns()).unwrap_or(i64::MAX);
    let unit_ns = if settings.status & STA_NANO != 0 { 1 } else { NS_PER_MICROSECOND };
    let time = Timeval { tv_sec: now_ns / NS_PER_SECOND, tv_usec: now_ns % NS_PER_SECOND / unit_ns };
    let state = if settings.status & STA_UNSYNC != 0 { TIME_ERROR } else { TIME_OK };
    Ok((Timex { modes, time, ..settings.describe() }, state))
}

/// Linux's checks, and those for what this clock cannot do.
fn check(thread: &Thread, request: &Timex) -> Result<(), Errno> {
    const ADJTIME: u32 = ADJ_OFFSET_SINGLESHOT & !ADJ_OFFSET;
    let modes = request.modes;
    if modes & ADJTIME != 0 {
        if modes & ADJ_OFFSET == 0 {
            return Err(Errno::EINVAL);
        }
        if modes != ADJ_OFFSET_SS_READ {
            thread.credentials().require(CAP_SYS_TIME)?;
            return Err(Errno::EOPNOTSUPP);
        }
        return Ok(());
    }
    if modes != 0 {
        thread.credentials().require(CAP_SYS_TIME)?;
    }
    if modes & ADJ_TICK != 0 && !TICKS_US.contains(&request.tick) {
        return Err(Errno::EINVAL);
    }
    if modes & ADJ_SETOFFSET != 0 {
        let limit = if modes & ADJ_NANO != 0 { NS_PER_SECOND } else { NS_PER_SECOND / NS_PER_MICROSECOND };
        if !(0..limit).contains(&request.time.tv_usec) {
            return Err(Errno::EINVAL);
        }
    }
    if modes & SLEWING != 0 { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
}
