//! The registers of the MC146818 real time clock, turned into seconds of the Unix epoch.
//!
//! The driver reads the registers twice until two readings agree; here is only arithmetic. The clock is taken to keep
//! UTC, as virtual machines' clocks do.

const STATUS_B_24_HOURS: u8 = 1 << 1;
const STATUS_B_BINARY: u8 = 1 << 2;
const HOURS_AFTERNOON: u8 = 1 << 7;

/// One reading of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Register 0.
    pub seconds: u8,
    /// Register 2.
    pub minutes: u8,
    /// Register 4.
    pub hours: u8,
    /// Register 7.
    pub day: u8,
    /// Register 8.
    pub month: u8,
    /// Register 9.
    pub year: u8,
    /// The register that the FADT names, if any.
    pub century: Option<u8>,
    /// Status register B, which tells the format.
    pub status_b: u8,
}

/// Seconds of the Unix epoch; none if the registers hold no date.
pub fn unix_seconds(registers: &Registers) -> Option<i64> {
    let decode = |value| if registers.status_b & STATUS_B_BINARY != 0 { Some(value) } else { decimal(value) };
    let year = i64::from(decode(registers.year).filter(|year| *year < 100)?);
    let year = match registers.century.and_then(decode) {
        Some(century @ 19..=99) => i64::from(century) * 100 + year,
        // No century: the window that Linux uses.
        _ if year < 70 => 2000 + year,
        _ => 1900 + year,
    };
    let month = i64::from(decode(registers.month).filter(|month| (1..=12).contains(month))?);
    let day = i64::from(decode(registers.day).filter(|day| (1..=31).contains(day))?);
    let hours = i64::from(hours(registers, decode)?);
    let minutes = i64::from(decode(registers.minutes).filter(|minutes| *minutes < 60)?);
    let seconds = i64::from(decode(registers.seconds).filter(|seconds| *seconds < 60)?);
    Some(((days_since_1970(year, month, day) * 24 + hours) * 60 + minutes) * 60 + seconds)
}

fn hours(registers: &Registers, decode: impl Fn(u8) -> Option<u8>) -> Option<u8> {
    if registers.status_b & STATUS_B_24_HOURS != 0 {
        return decode(registers.hours).filter(|hours| *hours < 24);
    }
    let hours = decode(registers.hours & !HOURS_AFTERNOON).filter(|hours| (1..=12).contains(hours))?;
    let is_afternoon = registers.hours & HOURS_AFTERNOON != 0;
    Some(hours % 12 + if is_afternoon { 12 } else { 0 })
}

/// Two decimal digits in one byte.
fn decimal(value: u8) -> Option<u8> {
    let (tens, ones) = (value >> 4, value & 0x0f);
    (tens < 10 && ones < 10).then_some(tens * 10 + ones)
}

/// Days from the first of January 1970 to a date of the Gregorian calendar: years begin in March, so that the leap day
/// is the last one, and come in eras of 400 (146,097 days).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Registers = Registers {
        seconds: 0x56,
        minutes: 0x34,
        hours: 0x12,
        day: 0x29,
        month: 0x02,
        year: 0x24,
        century: Some(0x20),
        status_b: STATUS_B_24_HOURS,
    };

    #[test]
    fn decimal_and_binary() {
        assert_eq!(unix_seconds(&NOON), Some(1_709_210_096));
        let binary = Registers {
            seconds: 56,
            minutes: 34,
            hours: 12,
            day: 29,
            month: 2,
            year: 24,
            century: None,
            status_b: STATUS_B_24_HOURS | STATUS_B_BINARY,
        };
        assert_eq!(unix_seconds(&binary), Some(1_709_210_096));
    }

    #[test]
    fn twelve_hours() {
        let at = |hours| unix_seconds(&Registers { hours, status_b: 0, ..NOON }).unwrap() - 1_709_210_096;
        assert_eq!(at(0x12), -12 * 3600);
        assert_eq!(at(0x92), 0);
        assert_eq!(at(0x81), 3600);
        assert_eq!(at(0x11), -3600);
    }

    #[test]
    fn the_epoch_and_the_window_of_years() {
        let epoch = Registers {
            seconds: 0,
            minutes: 0,
            hours: 0,
            day: 1,
            month: 1,
            year: 0x70,
            century: None,
            status_b: STATUS_B_24_HOURS,
        };
        assert_eq!(unix_seconds(&epoch), Some(0));
        assert_eq!(unix_seconds(&Registers { year: 0x69, ..epoch }), Some(3_124_224_000));
        assert_eq!(unix_seconds(&Registers { year: 0x00, century: Some(0x21), ..epoch }), Some(4_102_444_800));
    }

    #[test]
    fn what_is_no_date() {
        let bad = [
            Registers { seconds: 0x60, ..NOON },
            Registers { seconds: 0x0a, ..NOON },
            Registers { month: 0, ..NOON },
            Registers { month: 0x13, ..NOON },
            Registers { day: 0, ..NOON },
            Registers { hours: 0x24, ..NOON },
            Registers { hours: 0x00, status_b: 0, ..NOON },
            Registers { seconds: 0xff, minutes: 0xff, hours: 0xff, day: 0xff, month: 0xff, year: 0xff, ..NOON },
        ];
        for registers in bad {
            assert_eq!(unix_seconds(&registers), None, "{registers:?}");
        }
    }
}
