//! The redirection table of the I/O APIC (82093AA datasheet, 3.2).
//!
//! Registers are reached through an index and a data window; entry `n` is the pair of registers `0x10 + 2n`, low half
//! first. The table is written so that a half-written entry is masked.

/// Offset of the index register.
pub const INDEX: usize = 0x00;
/// Offset of the data window.
pub const WINDOW: usize = 0x10;
/// Bytes of registers.
pub const LEN_BYTES: usize = 0x20;
/// The version register, which tells the number of pins.
pub const REGISTER_VERSION: u32 = 1;

const REGISTER_FIRST_ENTRY: u32 = 0x10;
const ACTIVE_LOW: u32 = 1 << 13;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;

/// How one pin is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The vector at the processor.
    pub vector: u8,
    /// The local APIC's identifier; the I/O APIC has 8 bits for it.
    pub destination: u8,
    /// Whether the line is active when it is low.
    pub is_active_low: bool,
    /// Whether the interrupt is asserted as long as the line is active.
    pub is_level: bool,
}

impl Route {
    /// The halves of the redirection entry, low first.
    pub fn entry(&self) -> (u32, u32) {
        let polarity = if self.is_active_low { ACTIVE_LOW } else { 0 };
        let trigger = if self.is_level { LEVEL } else { 0 };
        (u32::from(self.vector) | polarity | trigger, u32::from(self.destination) << 24)
    }
}

/// The low half of an entry that delivers nothing.
pub const MASKED_ENTRY: u32 = MASKED;

/// The registers of the entry of `pin`, low half first.
pub fn entry_registers(pin: u8) -> (u32, u32) {
    let low = REGISTER_FIRST_ENTRY + 2 * u32::from(pin);
    (low, low + 1)
}

/// How many pins the version register tells; none if there is no I/O APIC.
pub fn pin_count(version: u32) -> Option<u32> {
    (version != 0 && version != u32::MAX).then_some((version >> 16 & 0xff) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let edge = Route { vector: 0x31, destination: 0, is_active_low: false, is_level: false };
        assert_eq!(edge.entry(), (0x31, 0));
        let level = Route { vector: 0x40, destination: 3, is_active_low: true, is_level: true };
        assert_eq!(level.entry(), (0xa040, 0x0300_0000));
        assert_eq!(entry_registers(23), (0x3e, 0x3f));
    }

    #[test]
    fn pins() {
        assert_eq!(pin_count(0x0017_0020), Some(24));
        assert_eq!(pin_count(u32::MAX), None);
        assert_eq!(pin_count(0), None);
    }
}
