//! The 8254 timer: an interval of known length, for calibration only.
//!
//! Channel 2 counts down once (mode 0) while its gate is open, and its output can be read without an interrupt. A machine
//! without the timer answers all ones; then the output seems to rise at once.

use super::io::Ports;

const CHANNEL_2: u16 = 2;
const COMMAND: u16 = 3;
/// Channel 2, both bytes, mode 0, binary.
const COUNT_ONCE: u8 = 0b1011_0000;

const GATE: u8 = 1 << 0;
const SPEAKER: u8 = 1 << 1;
const OUTPUT: u8 = 1 << 5;

/// How often the output is looked at: an absent timer must not stop the kernel.
const LOOKS_MAX: usize = 10_000_000;

// SAFETY: the addresses of the 8254 in every PC, which only this file drives.
const TIMER: Ports = unsafe { Ports::new(0x40, 4) };
// SAFETY: port B of the PC, whose low bits are the gate and the speaker, which only this file drives.
const PORT_B: Ports = unsafe { Ports::new(0x61, 1) };

/// How far `counter` advances while the timer counts `ticks` (of 1,193,182 Hz). None if there is no timer.
pub(super) fn measure(ticks: u16, counter: impl Fn() -> u64) -> Option<u64> {
    let port_b: u8 = PORT_B.read(0);
    PORT_B.write(0, port_b & !(SPEAKER | GATE));
    TIMER.write(COMMAND, COUNT_ONCE);
    let [low, high] = ticks.to_le_bytes();
    TIMER.write(CHANNEL_2, low);
    TIMER.write(CHANNEL_2, high);
    PORT_B.write(0, port_b & !SPEAKER | GATE);
    let start = counter();
    // An output that is high already, or for ever low, is no timer.
    let is_counting = PORT_B.read::<u8>(0) & OUTPUT == 0;
    let has_ended = is_counting && (0..LOOKS_MAX).any(|_| PORT_B.read::<u8>(0) & OUTPUT != 0);
    let end = counter();
    PORT_B.write(0, port_b);
    has_ended.then(|| end.saturating_sub(start))
}
