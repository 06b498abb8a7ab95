//! The 8254 timer: a counter of known frequency, for calibration only.
//!
//! Channel 0 counts down from its highest value once (mode 0) and is read by the latch command. Its interrupt is masked at
//! both interrupt controllers. Channel 2 would need the gate in port 0x61, which not every machine with the timer has. A
//! machine without the timer answers all ones, which never change.

use firmware::clock as arithmetic;

use super::io::Ports;

const CHANNEL_0: u16 = 0;
const COMMAND: u16 = 3;
/// Channel 0, both bytes, mode 0, binary.
const COUNT_ONCE: u8 = 0b0011_0000;
/// Channel 0, keep the count for reading.
const LATCH: u8 = 0;

/// How long it is watched.
const TICKS: u16 = 4773;
/// How often the count is looked at: a timer that stands still must not stop the kernel.
const LOOKS_MAX: usize = 100_000;
/// Looks in which a working timer must have moved.
const LOOKS_TO_MOVE: usize = 1000;

// SAFETY: the addresses of the 8254 in every PC, which only this file drives.
const TIMER: Ports = unsafe { Ports::new(0x40, 4) };

/// The frequency of the counter that `sample` reads together with the timer. None if there is no timer.
pub(super) fn measure(sample: impl Fn(fn() -> u32) -> (u32, u64)) -> Option<u64> {
    TIMER.write(COMMAND, COUNT_ONCE);
    TIMER.write(CHANNEL_0, 0xffu8);
    TIMER.write(CHANNEL_0, 0xffu8);
    let first = elapsed();
    if !(0..LOOKS_TO_MOVE).any(|_| elapsed() != first) {
        return None;
    }
    let (start, start_cycles) = sample(elapsed);
    let has_passed = |_| elapsed().saturating_sub(start) >= u32::from(TICKS);
    if !(0..LOOKS_MAX).any(has_passed) {
        return None;
    }
    let (end, end_cycles) = sample(elapsed);
    let ticks = end.checked_sub(start)?;
    arithmetic::frequency(end_cycles.saturating_sub(start_cycles), u64::from(ticks), arithmetic::PIT_HZ)
}

/// How far the timer has counted.
fn elapsed() -> u32 {
    TIMER.write(COMMAND, LATCH);
    let (low, high): (u8, u8) = (TIMER.read(CHANNEL_0), TIMER.read(CHANNEL_0));
    u32::from(u16::MAX - u16::from_le_bytes([low, high]))
}
