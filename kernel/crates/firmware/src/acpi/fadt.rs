//! The fixed hardware: the fixed ACPI description table (5.2.9).
//!
//! It says how the machine sleeps, resets, and reports its power button. Two kinds of machines exist: fixed hardware
//! (PM1 registers and a system control interrupt), and the hardware-reduced model (a sleep control register, events by a
//! generic event device, see [`super::aml`]).

use super::Table;
use crate::PhysicalMemory;
use crate::bytes::{u8_at, u16_at, u32_at, u64_at};

/// Bytes of the table of ACPI 6, the longest that is known.
const LEN_BYTES_MAX: usize = 276;

const FLAG_POWER_BUTTON_IS_DEVICE: u32 = 1 << 4;
const FLAG_TIMER_IS_32_BIT: u32 = 1 << 8;
const FLAG_HAS_RESET: u32 = 1 << 10;
const FLAG_HARDWARE_REDUCED: u32 = 1 << 20;

/// Where a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Physical memory.
    Memory(u64),
    /// An I/O port.
    Port(u16),
}

/// A register of a given width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenericAddress {
    /// Where it is.
    pub space: Space,
    /// How many bits it has (0 where the table does not say).
    pub width_bits: u8,
}

impl GenericAddress {
    /// Parses the structure of 12 bytes at `offset` (5.2.3.2); an address of zero or an unknown space is none.
    fn at(bytes: &[u8], offset: usize) -> Option<Self> {
        let address = u64_at(bytes, offset.checked_add(4)?).filter(|address| *address != 0)?;
        let space = match u8_at(bytes, offset)? {
            0 => Space::Memory(address),
            1 => Space::Port(u16::try_from(address).ok()?),
            _ => return None,
        };
        Some(Self { space, width_bits: u8_at(bytes, offset + 1)? })
    }

    /// A port of `len_bytes` from the 32-bit field at `offset`.
    fn legacy_port(bytes: &[u8], offset: usize, len_bytes: u8) -> Option<Self> {
        let port = u16::try_from(u32_at(bytes, offset)?).ok().filter(|port| *port != 0)?;
        Some(Self { space: Space::Port(port), width_bits: len_bytes.saturating_mul(8) })
    }
}

/// The events of fixed hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedEvents {
    /// Port of the status half of the PM1a event block.
    pub status: u16,
    /// Port of the enable half.
    pub enable: u16,
    /// The system control interrupt.
    pub interrupt: u16,
}

/// The parsed table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fadt {
    /// Physical address of the definition block.
    pub dsdt: Option<u64>,
    /// Whether there is no fixed hardware.
    pub is_hardware_reduced: bool,
    /// The PM1a control register, whose bits 10 to 13 sleep.
    pub pm1a_control: Option<GenericAddress>,
    /// The PM1b control register.
    pub pm1b_control: Option<GenericAddress>,
    /// The sleep control register of the hardware-reduced model.
    pub sleep_control: Option<GenericAddress>,
    /// Where to write what to reset the machine.
    pub reset: Option<(GenericAddress, u8)>,
    /// The port, and the value to write to it, that turn ACPI mode on.
    pub enable_command: Option<(u16, u8)>,
    /// The event registers of fixed hardware.
    pub events: Option<FixedEvents>,
    /// Whether the power button is among the fixed events.
    pub has_fixed_power_button: bool,
    /// The power management timer (3.579545 MHz), and whether it counts 32 bits, not 24.
    pub timer: Option<(GenericAddress, bool)>,
    /// Index of the century in the real time clock's memory.
    pub century_register: Option<u8>,
}

impl Fadt {
    /// Reads the table; what a short table does not have is absent.
    pub fn read(memory: &impl PhysicalMemory, table: Table) -> Option<Self> {
        let mut buffer = [0; LEN_BYTES_MAX];
        let bytes = table.read(memory, &mut buffer)?;
        let flags = u32_at(bytes, 112)?;
        let is_hardware_reduced = flags & FLAG_HARDWARE_REDUCED != 0;
        let control_len_bytes = u8_at(bytes, 89)?;
        let pm1a_control = GenericAddress::at(bytes, 172);
        let pm1b_control = GenericAddress::at(bytes, 184);
        let timer = GenericAddress::at(bytes, 208).or_else(|| GenericAddress::legacy_port(bytes, 76, 4));
        let reset = GenericAddress::at(bytes, 116).zip(u8_at(bytes, 128));
        let dsdt = u64_at(bytes, 140).filter(|address| *address != 0);
        Some(Self {
            dsdt: dsdt.or_else(|| u32_at(bytes, 40).map(u64::from)).filter(|address| *address != 0),
            is_hardware_reduced,
            pm1a_control: pm1a_control.or_else(|| GenericAddress::legacy_port(bytes, 64, control_len_bytes)),
            pm1b_control: pm1b_control.or_else(|| GenericAddress::legacy_port(bytes, 68, control_len_bytes)),
            sleep_control: GenericAddress::at(bytes, 244).filter(|_| is_hardware_reduced),
            reset: reset.filter(|_| flags & FLAG_HAS_RESET != 0),
            enable_command: enable_command(bytes),
            events: if is_hardware_reduced { None } else { fixed_events(bytes) },
            has_fixed_power_button: !is_hardware_reduced && flags & FLAG_POWER_BUTTON_IS_DEVICE == 0,
            timer: timer.map(|timer| (timer, flags & FLAG_TIMER_IS_32_BIT != 0)).filter(|_| !is_hardware_reduced),
            century_register: u8_at(bytes, 108).filter(|index| (1..128).contains(index)),
        })
    }
}

fn enable_command(bytes: &[u8]) -> Option<(u16, u8)> {
    let port = u16::try_from(u32_at(bytes, 48)?).ok().filter(|port| *port != 0)?;
    Some((port, u8_at(bytes, 52).filter(|value| *value != 0)?))
}

fn fixed_events(bytes: &[u8]) -> Option<FixedEvents> {
    let status = u16::try_from(u32_at(bytes, 56)?).ok().filter(|port| *port != 0)?;
    // The block's first half is the status, its second the enable register (4.8.3.1).
    let half = u16::from(u8_at(bytes, 88)?) / 2;
    Some(FixedEvents { status, enable: status.checked_add(half)?, interrupt: u16_at(bytes, 46)? })
}
