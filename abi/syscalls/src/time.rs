//! Times and clocks.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use crate::layout::abi_struct;

pub const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;

abi_struct! {
    /// `struct timespec`, 64-bit times.
    pub struct Timespec: 16 {
        pub tv_sec: i64,
        pub tv_nsec: i64,
    }

    /// `struct timeval`.
    pub struct Timeval: 16 {
        pub tv_sec: i64,
        pub tv_usec: i64,
    }

    /// `struct timezone`.
    pub struct Timezone: 8 {
        pub tz_minuteswest: i32,
        pub tz_dsttime: i32,
    }

    /// `struct timex`, as `adjtimex` takes and answers it.
    pub struct Timex: 208 {
        pub modes: u32,
        pub _pad0: u32,
        pub offset: i64,
        pub freq: i64,
        pub maxerror: i64,
        pub esterror: i64,
        pub status: i32,
        pub _pad1: u32,
        pub constant: i64,
        pub precision: i64,
        pub tolerance: i64,
        pub time: Timeval,
        pub tick: i64,
        pub ppsfreq: i64,
        pub jitter: i64,
        pub shift: i32,
        pub _pad2: u32,
        pub stabil: i64,
        pub jitcnt: i64,
        pub calcnt: i64,
        pub errcnt: i64,
        pub stbcnt: i64,
        pub tai: i32,
        pub _pad3: [u32; 11],
    }

    /// `struct itimerval`.
    pub struct Itimerval: 32 {
        pub it_interval: Timeval,
        pub it_value: Timeval,
    }

    /// `struct itimerspec`.
    pub struct Itimerspec: 32 {
        pub it_interval: Timespec,
        pub it_value: Timespec,
    }

    /// `struct tms`, in clock ticks of 1/100 s.
    pub struct Tms: 32 {
        pub tms_utime: i64,
        pub tms_stime: i64,
        pub tms_cutime: i64,
        pub tms_cstime: i64,
    }
}

impl Timespec {
    /// `tv_nsec` that means "now" to `utimensat`.
    pub const UTIME_NOW: i64 = 0x3fff_ffff;
    /// `tv_nsec` that means "leave alone" to `utimensat`.
    pub const UTIME_OMIT: i64 = 0x3fff_fffe;

    /// The time `nanoseconds` after zero.
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self {
            tv_sec: nanoseconds.div_euclid(NANOSECONDS_PER_SECOND),
            tv_nsec: nanoseconds.rem_euclid(NANOSECONDS_PER_SECOND),
        }
    }

    /// Whether Linux takes it as a duration or a time: no negative part, nanoseconds below a second.
    pub const fn is_valid(&self) -> bool {
        self.tv_sec >= 0 && self.tv_nsec >= 0 && self.tv_nsec < NANOSECONDS_PER_SECOND
    }

    /// The nanoseconds since zero, saturated as Linux's `ktime_t` is; none when it is not valid.
    pub const fn to_nanoseconds(&self) -> Option<u64> {
        if !self.is_valid() {
            return None;
        }
        let nanoseconds = self.tv_sec.saturating_mul(NANOSECONDS_PER_SECOND).saturating_add(self.tv_nsec);
        Some(nanoseconds.unsigned_abs())
    }
}

impl Timeval {
    /// The time `nanoseconds` after zero, rounded down.
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self {
            tv_sec: nanoseconds.div_euclid(NANOSECONDS_PER_SECOND),
            tv_usec: nanoseconds.rem_euclid(NANOSECONDS_PER_SECOND) / 1000,
        }
    }

    /// The nanoseconds since zero, saturated; none when a part is negative or the microseconds reach a second.
    pub const fn to_nanoseconds(&self) -> Option<u64> {
        if self.tv_sec < 0 || self.tv_usec < 0 || self.tv_usec >= 1_000_000 {
            return None;
        }
        let nanoseconds = self.tv_sec.saturating_mul(NANOSECONDS_PER_SECOND).saturating_add(self.tv_usec * 1000);
        Some(nanoseconds.unsigned_abs())
    }
}

pub const CLOCK_REALTIME: i32 = 0;
pub const CLOCK_MONOTONIC: i32 = 1;
pub const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
pub const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
pub const CLOCK_MONOTONIC_RAW: i32 = 4;
pub const CLOCK_REALTIME_COARSE: i32 = 5;
pub const CLOCK_MONOTONIC_COARSE: i32 = 6;
pub const CLOCK_BOOTTIME: i32 = 7;
pub const CLOCK_REALTIME_ALARM: i32 = 8;
pub const CLOCK_BOOTTIME_ALARM: i32 = 9;
pub const CLOCK_TAI: i32 = 11;

/// The wake-up time given is a point on the clock, not a duration.
pub const TIMER_ABSTIME: i32 = 1;

/// Ticks in a second, as `times` and `/proc` count them.
pub const CLOCK_TICKS_PER_SECOND: u64 = 100;

pub const ITIMER_REAL: i32 = 0;
pub const ITIMER_VIRTUAL: i32 = 1;
pub const ITIMER_PROF: i32 = 2;

pub const TFD_CLOEXEC: u32 = 0o2_000_000;
pub const TFD_NONBLOCK: u32 = 0o4000;
pub const TFD_TIMER_ABSTIME: u32 = 1;
pub const TFD_TIMER_CANCEL_ON_SET: u32 = 1 << 1;
pub const TFD_IOC_SET_TICKS: u32 = 0x4008_5400;

pub const ADJ_OFFSET: u32 = 0x0001;
pub const ADJ_FREQUENCY: u32 = 0x0002;
pub const ADJ_MAXERROR: u32 = 0x0004;
pub const ADJ_ESTERROR: u32 = 0x0008;
pub const ADJ_STATUS: u32 = 0x0010;
pub const ADJ_TIMECONST: u32 = 0x0020;
pub const ADJ_TAI: u32 = 0x0080;
pub const ADJ_SETOFFSET: u32 = 0x0100;
pub const ADJ_MICRO: u32 = 0x1000;
pub const ADJ_NANO: u32 = 0x2000;
pub const ADJ_TICK: u32 = 0x4000;
pub const ADJ_OFFSET_SINGLESHOT: u32 = 0x8001;
pub const ADJ_OFFSET_SS_READ: u32 = 0xa001;
pub const STA_UNSYNC: i32 = 0x0040;
pub const STA_NANO: i32 = 0x2000;
/// The bits of the status that programs cannot set.
pub const STA_RONLY: i32 = 0xff00;
pub const TIME_OK: usize = 0;
pub const TIME_ERROR: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_convert() {
        assert_eq!(Timespec::from_nanoseconds(-1), Timespec { tv_sec: -1, tv_nsec: 999_999_999 });
        assert_eq!(Timespec { tv_sec: 1, tv_nsec: 5 }.to_nanoseconds(), Some(1_000_000_005));
        assert_eq!(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }.to_nanoseconds(), Some(i64::MAX.unsigned_abs()));
        assert_eq!(Timespec { tv_sec: 0, tv_nsec: NANOSECONDS_PER_SECOND }.to_nanoseconds(), None);
        assert_eq!(Timespec { tv_sec: -1, tv_nsec: 0 }.to_nanoseconds(), None);
        assert_eq!(Timeval { tv_sec: 1, tv_usec: 1_000_000 }.to_nanoseconds(), None);
        assert_eq!(Timeval::from_nanoseconds(1_500_000_000), Timeval { tv_sec: 1, tv_usec: 500_000 });
    }
}
