//! [`TimeOfDay`]: the setting of the wall clock, and who has to know of it.
//!
//! The clock can be set, not slewed: what `adjtimex` says of its errors is kept for those who ask, as on a machine whose clock
//! nobody keeps in step.

use abi::time::{STA_NANO, STA_RONLY, STA_UNSYNC};
use abi::{Timex, Timezone};
use sync::{SpinLock, WaitQueue, rank};

/// The largest error that is told, in microseconds.
const ERROR_MAX_US: i64 = 16_000_000;
/// What an unslewed clock advances by each tick of 10 ms, in microseconds.
const TICK_US: i64 = 10_000;
/// By how much Linux can slew, in its fixed point of 16 bits: 500 parts in a million.
const TOLERANCE: i64 = 500 << 16;
const TIME_CONSTANT: i64 = 2;

/// The setting of the wall clock.
pub(crate) struct TimeOfDay {
    /// Woken when it was set: those who sleep until a point in it.
    pub(crate) was_set: WaitQueue,
    settings: SpinLock<Settings>,
}

/// What programs have said of the clock.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) zone: Timezone,
    pub(crate) status: i32,
    pub(crate) max_error_us: i64,
    pub(crate) estimated_error_us: i64,
    pub(crate) time_constant: i64,
}

impl Settings {
    const UNSYNCHRONISED: Self = Self {
        zone: Timezone { tz_minuteswest: 0, tz_dsttime: 0 },
        status: STA_UNSYNC,
        max_error_us: ERROR_MAX_US,
        estimated_error_us: ERROR_MAX_US,
        time_constant: TIME_CONSTANT,
    };

    /// As it is when somebody has set the clock.
    pub(crate) fn forget_errors(&mut self) {
        *self = Self { zone: self.zone, time_constant: self.time_constant, ..Self::UNSYNCHRONISED };
    }

    /// Changes the bits of the status that programs may change.
    pub(crate) fn set_status(&mut self, status: i32) {
        self.status = self.status & STA_RONLY | status & !STA_RONLY;
    }

    /// Says whether fractions of seconds count nanoseconds.
    pub(crate) fn set_nanoseconds(&mut self, are_nanoseconds: bool) {
        self.status = if are_nanoseconds { self.status | STA_NANO } else { self.status & !STA_NANO };
    }

    /// What `adjtimex` answers, but for the time.
    pub(crate) fn describe(&self) -> Timex {
        Timex {
            maxerror: self.max_error_us,
            esterror: self.estimated_error_us,
            status: self.status,
            constant: self.time_constant,
            precision: 1,
            tolerance: TOLERANCE,
            tick: TICK_US,
            ..Timex::zeroed()
        }
    }
}

impl TimeOfDay {
    pub(crate) fn new() -> Self {
        Self { was_set: WaitQueue::new(), settings: SpinLock::new(rank::PROCESS_TABLES, Settings::UNSYNCHRONISED) }
    }

    /// What programs have said of the clock.
    pub(crate) fn settings(&self) -> Settings {
        *self.settings.lock()
    }

    /// Changes what programs have said, and answers it.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = self.settings.lock();
        change(&mut settings);
        *settings
    }
}
