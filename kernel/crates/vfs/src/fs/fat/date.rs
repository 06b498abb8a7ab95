//! Times as FAT has them: local time, here UTC, from 1980 to 2107, in steps of two seconds, of 10 milliseconds for the creation,
//! and of a day for the last access.
//!
//! Days are counted by the rule of the Gregorian calendar without its exceptions: 2000 is a leap year, 2100 is not.

use crate::FileTime;

/// Seconds from 1970 to 1980.
const EPOCH: i64 = 315_532_800;
/// Days from 1980 to the end of 2107.
const DAYS_END: i64 = 46_751;
const DAY_SECONDS: i64 = 86_400;

/// Date, time of the day in steps of two seconds, and what is more in steps of 10 milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) date: u16,
    pub(super) time: u16,
    pub(super) hundredths: u8,
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && year != 2100
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A small number that is not negative.
fn small(value: i64) -> u16 {
    u16::try_from(value).unwrap_or(0)
}

impl Stamp {
    /// The nearest time that can be written, not after the one given.
    pub(super) fn of(time: FileTime) -> Self {
        let since = time.seconds().saturating_sub(EPOCH);
        if since < 0 {
            return Self { date: 1 << 5 | 1, ..Self::default() };
        }
        let days = since / DAY_SECONDS;
        if days >= DAYS_END {
            return Self { date: 127 << 9 | 12 << 5 | 31, time: 23 << 11 | 59 << 5 | 29, hundredths: 199 };
        }
        let (mut year, mut day) = (1980, days);
        while day >= 365 + i64::from(is_leap(year)) {
            day -= 365 + i64::from(is_leap(year));
            year += 1;
        }
        let mut month = 1;
        while day >= month_days(year, month) {
            day -= month_days(year, month);
            month += 1;
        }
        let second = since % DAY_SECONDS;
        let hundredths = second % 2 * 100 + time.nanoseconds() / 10_000_000;
        Self {
            date: small(year - 1980) << 9 | small(month) << 5 | small(day + 1),
            time: small(second / 3600) << 11 | small(second / 60 % 60) << 5 | small(second % 60 / 2),
            hundredths: u8::try_from(hundredths).unwrap_or(0),
        }
    }

    /// The time. What no calendar has is taken as near as it gets.
    pub(super) fn time(self) -> FileTime {
        let field = |value: u16, shift: u32, bits: u32| i64::from(value >> shift) & ((1 << bits) - 1);
        let year = 1980 + field(self.date, 9, 7);
        let month = field(self.date, 5, 4).clamp(1, 12);
        let day = field(self.date, 0, 5).max(1);
        let years: i64 = (1980..year).map(|year| 365 + i64::from(is_leap(year))).sum();
        let months: i64 = (1..month).map(|month| month_days(year, month)).sum();
        let second = field(self.time, 11, 5) * 3600 + field(self.time, 5, 6) * 60 + field(self.time, 0, 5) * 2;
        let hundredths = i64::from(self.hundredths);
        let seconds = EPOCH + (years + months + day - 1) * DAY_SECONDS + second + hundredths / 100;
        FileTime::from_nanoseconds(seconds * 1_000_000_000 + hundredths % 100 * 10_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> FileTime {
        FileTime::from_nanoseconds(seconds * 1_000_000_000)
    }

    #[test]
    fn known_times() {
        // 2024-02-29 12:34:56.
        let stamp = Stamp::of(at(1_709_210_096));
        assert_eq!(stamp, Stamp { date: 44 << 9 | 2 << 5 | 29, time: 12 << 11 | 34 << 5 | 28, hundredths: 0 });
        assert_eq!(stamp.time(), at(1_709_210_096));
        assert_eq!(Stamp::of(at(0)).time(), at(EPOCH));
        assert_eq!(Stamp::of(at(i64::MAX / 2_000_000_000)).time().seconds(), 4_354_819_199);
    }

    #[test]
    fn every_day_comes_back() {
        for day in 0..DAYS_END {
            let time = at(EPOCH + day * DAY_SECONDS + day % DAY_SECONDS);
            assert_eq!(Stamp::of(time).time(), time, "day {day}");
        }
    }
}
