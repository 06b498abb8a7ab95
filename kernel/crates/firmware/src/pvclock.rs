//! The clocks that KVM keeps in the guest's memory (Documentation/virt/kvm/x86/msr.rst).
//!
//! The hypervisor updates them under a version that is odd meanwhile. The caller copies the bytes, parses the copy, and
//! tries again when the version is odd or differs from the one read after the copy.

use crate::bytes::{u8_at, u32_at, u64_at};

/// Bytes of the time structure.
pub const TIME_LEN_BYTES: usize = 32;
/// Bytes of the wall clock structure.
pub const WALL_CLOCK_LEN_BYTES: usize = 12;

const FLAG_TSC_STABLE: u8 = 1 << 0;

/// The system time at one reading of the time stamp counter, and how to go on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Even; a change means that the structure was updated.
    pub version: u32,
    /// The counter's value at which `system_time_ns` was true.
    pub tsc_timestamp: u64,
    /// Nanoseconds since the guest started.
    pub system_time_ns: u64,
    /// Nanoseconds a (shifted) tick, in 32.32 fixed point.
    pub multiplier: u32,
    /// The shift of the tick count before the multiplication; to the right if negative.
    pub shift: i8,
    /// Whether all processors read the same time, so that one structure is enough.
    pub is_stable: bool,
}

impl Time {
    /// Parses a copy; none while the hypervisor is writing, or for a shift that makes no sense.
    pub fn parse(bytes: &[u8; TIME_LEN_BYTES]) -> Option<Self> {
        let shift = i8::from_le_bytes([u8_at(bytes, 28)?]);
        let version = u32_at(bytes, 0).filter(|version| version % 2 == 0)?;
        if !(-63..=63).contains(&shift) {
            return None;
        }
        Some(Self {
            version,
            tsc_timestamp: u64_at(bytes, 8)?,
            system_time_ns: u64_at(bytes, 16)?,
            multiplier: u32_at(bytes, 24)?,
            shift,
            is_stable: u8_at(bytes, 29)? & FLAG_TSC_STABLE != 0,
        })
    }

    /// [`Self::parse`] of a copy in words, as the processor has them.
    pub fn of_words(words: [u32; TIME_LEN_BYTES / 4]) -> Option<Self> {
        let mut bytes = [0; TIME_LEN_BYTES];
        for (part, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *part = word.to_le_bytes();
        }
        Self::parse(&bytes)
    }

    /// The system time when the counter reads `tsc`. A reading before the timestamp counts as the timestamp.
    pub fn nanoseconds(&self, tsc: u64) -> u64 {
        let ticks = u128::from(tsc.saturating_sub(self.tsc_timestamp));
        let distance = u32::from(self.shift.unsigned_abs());
        // 64 bits shifted left by 63, times 32 bits, may pass 128: saturate, that time is 10^20 years away.
        let shifted = if self.shift < 0 { ticks >> distance } else { ticks << distance };
        let elapsed = shifted
            .checked_mul(u128::from(self.multiplier))
            .map_or(u64::MAX, |product| u64::try_from(product >> 32).unwrap_or(u64::MAX));
        self.system_time_ns.saturating_add(elapsed)
    }

    /// Nanoseconds a tick with 32 binary places, rounded down.
    pub fn nanoseconds_per_tick(&self) -> u64 {
        let (multiplier, distance) = (u64::from(self.multiplier), u32::from(self.shift.unsigned_abs()));
        if self.shift < 0 {
            multiplier >> distance
        } else {
            multiplier.checked_shl(distance).filter(|shifted| shifted >> distance == multiplier).unwrap_or(u64::MAX)
        }
    }

    /// The counter's frequency; none if the multiplier is zero.
    pub fn frequency_hz(&self) -> Option<u64> {
        let scaled = (1_000_000_000u128 << 32).checked_div(u128::from(self.multiplier))?;
        let distance = u32::from(self.shift.unsigned_abs());
        let hz = if self.shift < 0 { scaled << distance } else { scaled >> distance };
        u64::try_from(hz).ok()
    }
}

/// Parses a copy of the wall clock: nanoseconds of the Unix epoch at which the system time was zero.
pub fn parse_wall_clock(bytes: &[u8; WALL_CLOCK_LEN_BYTES]) -> Option<u64> {
    u32_at(bytes, 0).filter(|version| version % 2 == 0)?;
    let (seconds, nanoseconds) = (u32_at(bytes, 4)?, u32_at(bytes, 8)?);
    Some(u64::from(seconds) * 1_000_000_000 + u64::from(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(version: u32, timestamp: u64, time_ns: u64, multiplier: u32, shift: i8, flags: u8) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[0..4].copy_from_slice(&version.to_le_bytes());
        bytes[8..16].copy_from_slice(&timestamp.to_le_bytes());
        bytes[16..24].copy_from_slice(&time_ns.to_le_bytes());
        bytes[24..28].copy_from_slice(&multiplier.to_le_bytes());
        bytes[28] = shift.to_le_bytes()[0];
        bytes[29] = flags;
        bytes
    }

    /// The scale that KVM computes for 2,600,000 kHz: `kvm_get_time_scale(NSEC_PER_SEC, 2600000000)`.
    #[test]
    fn a_counter_of_2600_mhz() {
        let time = Time::parse(&bytes(6, 1_000_000, 77, 3_303_820_997, -1, 1)).unwrap();
        assert!(time.is_stable);
        assert_eq!(time.nanoseconds(1_000_000), 77);
        let second = time.nanoseconds(1_000_000 + 2_600_000_000) - 77;
        assert!((999_999_999..=1_000_000_000).contains(&second), "{second}");
        let hz = time.frequency_hz().unwrap();
        assert!(hz.abs_diff(2_600_000_000) < 10, "{hz}");
        assert_eq!(time.nanoseconds(0), 77);
    }

    /// What KVM wrote on a processor of 2596.122 MHz, with the counter's value right afterwards.
    #[test]
    fn a_recorded_reading() {
        let recorded = [
            0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xd7, 0x33, 0x18, 0x5c, 0x72, 0x0c, 0x00, 0x00, 0x14, 0x99,
            0x89, 0x00, 0x00, 0x00, 0x00, 0x00, 0xa5, 0x9c, 0x37, 0xc5, 0xff, 0x01, 0x00, 0x00,
        ];
        let time = Time::parse(&recorded).unwrap();
        assert_eq!((time.version, time.shift, time.is_stable), (2, -1, true));
        assert_eq!(time.frequency_hz(), Some(2_596_122_000));
        assert_eq!(time.nanoseconds(13_686_436_912_995), 442_748_365);
        let wall = [0x02, 0x00, 0x00, 0x00, 0x23, 0x49, 0x04, 0x6b, 0x59, 0xa3, 0x5a, 0x14];
        assert_eq!(parse_wall_clock(&wall), Some(1_795_442_979_341_484_377));
    }

    #[test]
    fn a_slow_counter_and_a_fast_one() {
        // 500 MHz: two nanoseconds a tick. 16 GHz: a sixteenth.
        let slow = Time::parse(&bytes(2, 0, 0, 1 << 31, 2, 0)).unwrap();
        assert_eq!(slow.nanoseconds(500_000_000), 1_000_000_000);
        assert_eq!(slow.frequency_hz(), Some(500_000_000));
        let fast = Time::parse(&bytes(2, 0, 0, 1 << 31, -3, 0)).unwrap();
        assert_eq!(fast.nanoseconds(16_000_000_000), 1_000_000_000);
        assert_eq!(fast.frequency_hz(), Some(16_000_000_000));
    }

    #[test]
    fn nothing_overflows() {
        let time = Time::parse(&bytes(0, 0, u64::MAX, u32::MAX, 63, 0)).unwrap();
        assert_eq!(time.nanoseconds(u64::MAX), u64::MAX);
        assert_eq!(Time::parse(&bytes(0, 0, 0, 0, 0, 0)).unwrap().frequency_hz(), None);
        assert!(Time::parse(&bytes(1, 0, 0, 1, 0, 0)).is_none());
        assert!(Time::parse(&bytes(0, 0, 0, 1, -64, 0)).is_none());
    }

    #[test]
    fn wall_clock() {
        let mut bytes = [0; 12];
        bytes[4..8].copy_from_slice(&1_700_000_000u32.to_le_bytes());
        bytes[8..12].copy_from_slice(&5u32.to_le_bytes());
        assert_eq!(parse_wall_clock(&bytes), Some(1_700_000_000_000_000_005));
        bytes[0] = 3;
        assert_eq!(parse_wall_clock(&bytes), None);
    }
}
