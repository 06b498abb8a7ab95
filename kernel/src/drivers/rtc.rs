//! The real time clock of the PC (MC146818): what time it is when the machine starts.

use firmware::rtc::{self, Registers};

use super::io::Ports;

const INDEX: u16 = 0;
const DATA: u16 = 1;

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const UPDATE_IN_PROGRESS: u8 = 1 << 7;
/// Keeps non-maskable interrupts off while the index is ours, as firmware leaves them.
const NMI_OFF: u8 = 1 << 7;

/// Readings until two agree; an update takes 2 ms of each second.
const READINGS_MAX: usize = 1000;

// SAFETY: the addresses of the clock in every PC, which only this file drives; a machine without it reads as ones.
const CLOCK: Ports = unsafe { Ports::new(0x70, 2) };

/// Seconds of the Unix epoch; none if there is no clock. `century` is the register that the FADT names.
pub(super) fn read(century: Option<u8>) -> Option<i64> {
    let mut last = None;
    for _ in 0..READINGS_MAX {
        if register(STATUS_A) == 0xff && register(STATUS_B) == 0xff {
            return None;
        }
        if register(STATUS_A) & UPDATE_IN_PROGRESS != 0 {
            continue;
        }
        let now = reading(century);
        if last == Some(now) {
            return rtc::unix_seconds(&now);
        }
        last = Some(now);
    }
    None
}

fn reading(century: Option<u8>) -> Registers {
    Registers {
        seconds: register(SECONDS),
        minutes: register(MINUTES),
        hours: register(HOURS),
        day: register(DAY),
        month: register(MONTH),
        year: register(YEAR),
        century: century.map(register),
        status_b: register(STATUS_B),
    }
}

fn register(index: u8) -> u8 {
    CLOCK.write(INDEX, index | NMI_OFF);
    CLOCK.read(DATA)
}
