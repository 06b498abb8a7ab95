//! The interrupt controllers: the multiple APIC description table (5.2.12).

use alloc::vec::Vec;

use super::{HEADER_LEN_BYTES, Table};
use crate::PhysicalMemory;
use crate::bytes::{read_array, u8_at, u16_at, u32_at, u64_at};

/// Processors that are listed.
const PROCESSORS_MAX: usize = 1024;
/// I/O APICs that are listed.
const IO_APICS_MAX: usize = 16;
/// Overrides that are listed; the ISA bus has 16 interrupts.
const OVERRIDES_MAX: usize = 32;

const TYPE_LOCAL_APIC: u8 = 0;
const TYPE_IO_APIC: u8 = 1;
const TYPE_OVERRIDE: u8 = 2;
const TYPE_LOCAL_APIC_ADDRESS: u8 = 5;
const TYPE_LOCAL_X2APIC: u8 = 9;

/// A processor's local APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalApic {
    /// Its identifier, up to 32 bits with x2APIC.
    pub id: u32,
    /// Whether the processor can be used now.
    pub is_enabled: bool,
}

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its identifier.
    pub id: u8,
    /// Physical address of its registers.
    pub address: u64,
    /// Global system interrupt of its first pin.
    pub first_interrupt: u32,
}

/// When an interrupt line is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// As the bus says: high for ISA.
    Bus,
    /// When it is high.
    High,
    /// When it is low.
    Low,
}

/// What the interrupt controller looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerMode {
    /// As the bus says: edges for ISA.
    Bus,
    /// Edges.
    Edge,
    /// Levels.
    Level,
}

/// An ISA interrupt that is not wired to the pin of the same number, or not as ISA says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptOverride {
    /// The ISA interrupt.
    pub source: u8,
    /// The global system interrupt that it is.
    pub interrupt: u32,
    /// Its polarity.
    pub polarity: Polarity,
    /// Its trigger mode.
    pub trigger_mode: TriggerMode,
}

/// The parsed table.
#[derive(Clone, Debug)]
pub struct Madt {
    /// Physical address of the local APICs' registers.
    pub local_apic_address: u64,
    /// Whether there are two 8259 controllers that must be masked.
    pub has_8259: bool,
    processors: Vec<LocalApic>,
    io_apics: Vec<IoApic>,
    overrides: Vec<InterruptOverride>,
}

impl Madt {
    /// Reads the table.
    pub fn read(memory: &impl PhysicalMemory, table: Table) -> Option<Self> {
        let fixed: [u8; HEADER_LEN_BYTES + 8] = read_array(memory, table.address)?;
        let mut madt = Self {
            local_apic_address: u64::from(u32_at(&fixed, HEADER_LEN_BYTES)?),
            has_8259: u32_at(&fixed, HEADER_LEN_BYTES + 4)? & 1 != 0,
            processors: Vec::new(),
            io_apics: Vec::new(),
            overrides: Vec::new(),
        };
        let mut offset = HEADER_LEN_BYTES as u64 + 8;
        // Every entry has two bytes at least, so the loop ends within the length of the table.
        while let Some(head) = table.address.checked_add(offset).and_then(|at| read_array::<2>(memory, at)) {
            let [kind, len] = head;
            if len < 2 || offset + u64::from(len) > u64::from(table.len_bytes) {
                break;
            }
            let mut entry = [0; 16];
            let part = entry.get_mut(..usize::from(len.min(16)))?;
            if !memory.read(table.address + offset, part) {
                break;
            }
            madt.add(kind, part);
            offset += u64::from(len);
        }
        Some(madt)
    }

    /// The processors; the first one is not always the one that boots.
    pub fn processors(&self) -> impl Iterator<Item = LocalApic> + '_ {
        self.processors.iter().copied()
    }

    /// The I/O APICs.
    pub fn io_apics(&self) -> impl Iterator<Item = IoApic> + '_ {
        self.io_apics.iter().copied()
    }

    /// All overrides.
    pub fn overrides(&self) -> impl Iterator<Item = InterruptOverride> + '_ {
        self.overrides.iter().copied()
    }

    /// How the ISA interrupt `source` is wired.
    pub fn isa_interrupt(&self, source: u8) -> InterruptOverride {
        let found = self.overrides().find(|entry| entry.source == source);
        found.unwrap_or(InterruptOverride {
            source,
            interrupt: u32::from(source),
            polarity: Polarity::Bus,
            trigger_mode: TriggerMode::Bus,
        })
    }

    /// Adds one entry; one that is too short or unknown is ignored.
    fn add(&mut self, kind: u8, entry: &[u8]) {
        match kind {
            TYPE_LOCAL_APIC => push(&mut self.processors, parse_local_apic(entry), PROCESSORS_MAX),
            TYPE_LOCAL_X2APIC => push(&mut self.processors, parse_local_x2apic(entry), PROCESSORS_MAX),
            TYPE_IO_APIC => push(&mut self.io_apics, parse_io_apic(entry), IO_APICS_MAX),
            TYPE_OVERRIDE => push(&mut self.overrides, parse_override(entry), OVERRIDES_MAX),
            TYPE_LOCAL_APIC_ADDRESS => {
                self.local_apic_address = u64_at(entry, 4).unwrap_or(self.local_apic_address);
            }
            _ => {}
        }
    }
}

/// Adds an item unless the list is full.
fn push<T>(list: &mut Vec<T>, item: Option<T>, len_max: usize) {
    list.extend(item.filter(|_| list.len() < len_max));
}

fn parse_local_apic(entry: &[u8]) -> Option<LocalApic> {
    Some(LocalApic { id: u32::from(u8_at(entry, 3)?), is_enabled: u32_at(entry, 4)? & 1 != 0 })
}

fn parse_local_x2apic(entry: &[u8]) -> Option<LocalApic> {
    Some(LocalApic { id: u32_at(entry, 4)?, is_enabled: u32_at(entry, 8)? & 1 != 0 })
}

fn parse_io_apic(entry: &[u8]) -> Option<IoApic> {
    let address = u64::from(u32_at(entry, 4)?);
    Some(IoApic { id: u8_at(entry, 2)?, address, first_interrupt: u32_at(entry, 8)? })
}

fn parse_override(entry: &[u8]) -> Option<InterruptOverride> {
    let flags = u16_at(entry, 8)?;
    let polarity = match flags & 3 {
        1 => Polarity::High,
        3 => Polarity::Low,
        _ => Polarity::Bus,
    };
    let trigger_mode = match flags >> 2 & 3 {
        1 => TriggerMode::Edge,
        3 => TriggerMode::Level,
        _ => TriggerMode::Bus,
    };
    Some(InterruptOverride { source: u8_at(entry, 3)?, interrupt: u32_at(entry, 4)?, polarity, trigger_mode })
}
