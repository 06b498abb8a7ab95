//! The ACPI tables: finding them, and the few that a small kernel reads.
//!
//! [`Tables::find`] starts at the root pointer that the loader told, or searches for it where the specification says,
//! and lists the tables whose checksums are right. The list is bounded by [`TABLES_MAX`], a table by
//! [`TABLE_LEN_BYTES_MAX`]. Chapter numbers are those of ACPI 6.5.
//!
//! There is no AML interpreter: [`aml`] recognises three patterns in the definition block.

pub mod aml;
mod fadt;
mod madt;
mod mcfg;

pub use fadt::{Fadt, FixedEvents, GenericAddress, Space};
pub use madt::{InterruptOverride, IoApic, LocalApic, Madt, Polarity, TriggerMode};
pub use mcfg::{ConfigWindow, Mcfg};

use alloc::vec::Vec;

use crate::PhysicalMemory;
use crate::bytes::{array_at, read_array, u8_at, u16_at, u32_at, u64_at};

/// Tables that are listed; QEMU has eight.
pub const TABLES_MAX: usize = 64;
/// Bytes of the largest table that is believed.
pub const TABLE_LEN_BYTES_MAX: u32 = 1 << 20;
/// Bytes of the header that every table begins with.
pub const HEADER_LEN_BYTES: usize = 36;

/// Why there are no tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcpiError {
    /// There is no valid root pointer.
    NoRootPointer,
    /// The root table is not readable or not valid.
    BadRootTable,
}

/// Where a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its four letters.
    pub signature: [u8; 4],
    /// Physical address of its header.
    pub address: u64,
    /// Bytes, with the header.
    pub len_bytes: u32,
}

impl Table {
    /// Reads the header at `address` and checks the table's checksum.
    pub fn at(memory: &impl PhysicalMemory, address: u64) -> Option<Self> {
        let header: [u8; 8] = read_array(memory, address)?;
        let len_bytes = u32_at(&header, 4)?;
        if (len_bytes as usize) < HEADER_LEN_BYTES || len_bytes > TABLE_LEN_BYTES_MAX {
            return None;
        }
        let is_sound = checksum(memory, address, u64::from(len_bytes))? == 0;
        is_sound.then_some(Self { signature: array_at(&header, 0)?, address, len_bytes })
    }

    /// Reads the part of the table that fits `buffer`.
    pub fn read<'a>(&self, memory: &impl PhysicalMemory, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let len = buffer.len().min(self.len_bytes as usize);
        let part = buffer.get_mut(..len)?;
        memory.read(self.address, part).then_some(part)
    }
}

/// The valid tables of the machine.
#[derive(Clone, Debug)]
pub struct Tables {
    tables: Vec<Table>,
}

impl Tables {
    /// Finds the tables, from the root pointer at `rsdp` or from a search in the memory of the BIOS.
    pub fn find(memory: &impl PhysicalMemory, rsdp: Option<u64>) -> Result<Self, AcpiError> {
        let told = rsdp.and_then(|address| RootPointer::at(memory, address));
        let root = told.or_else(|| RootPointer::search(memory)).ok_or(AcpiError::NoRootPointer)?;
        let extended = root.xsdt.and_then(|address| Self::list(memory, address, *b"XSDT", 8));
        let tables = extended.or_else(|| Self::list(memory, root.rsdt, *b"RSDT", 4));
        tables.ok_or(AcpiError::BadRootTable)
    }

    /// The first table with `signature`.
    pub fn get(&self, signature: [u8; 4]) -> Option<Table> {
        self.iter().find(|table| table.signature == signature)
    }

    /// All tables in the order of the root table.
    pub fn iter(&self) -> impl Iterator<Item = Table> + '_ {
        self.tables.iter().copied()
    }

    /// The interrupt controllers.
    pub fn madt(&self, memory: &impl PhysicalMemory) -> Option<Madt> {
        Madt::read(memory, self.get(*b"APIC")?)
    }

    /// The fixed hardware.
    pub fn fadt(&self, memory: &impl PhysicalMemory) -> Option<Fadt> {
        Fadt::read(memory, self.get(*b"FACP")?)
    }

    /// The PCI Express configuration windows.
    pub fn mcfg(&self, memory: &impl PhysicalMemory) -> Option<Mcfg> {
        Mcfg::read(memory, self.get(*b"MCFG")?)
    }

    fn list(memory: &impl PhysicalMemory, root: u64, signature: [u8; 4], entry_len_bytes: usize) -> Option<Self> {
        let root = Table::at(memory, root).filter(|table| table.signature == signature)?;
        let count = (root.len_bytes as usize - HEADER_LEN_BYTES) / entry_len_bytes;
        let mut tables = Vec::new();
        for index in 0..count.min(TABLES_MAX) {
            let mut entry = [0; 8];
            let address = root.address.checked_add((HEADER_LEN_BYTES + index * entry_len_bytes) as u64)?;
            if !memory.read(address, entry.get_mut(..entry_len_bytes)?) {
                break;
            }
            tables.extend(Some(u64::from_le_bytes(entry)).filter(|at| *at != 0).and_then(|at| Table::at(memory, at)));
        }
        Some(Self { tables })
    }
}

/// The root system description pointer (5.2.5).
struct RootPointer {
    rsdt: u64,
    xsdt: Option<u64>,
}

impl RootPointer {
    /// The valid root pointer at `address`.
    fn at(memory: &impl PhysicalMemory, address: u64) -> Option<Self> {
        let first: [u8; 20] = read_array(memory, address)?;
        if array_at(&first, 0) != Some(*b"RSD PTR ") || sum(&first) != 0 {
            return None;
        }
        let rsdt = u64::from(u32_at(&first, 16)?);
        let has_extension = u8_at(&first, 15)? >= 2;
        let extended: Option<[u8; 36]> = if has_extension { read_array(memory, address) } else { None };
        let xsdt = extended.filter(|bytes| sum(bytes) == 0).and_then(|bytes| u64_at(&bytes, 24));
        Some(Self { rsdt, xsdt: xsdt.filter(|address| *address != 0) })
    }

    /// Searches the first kilobyte of the extended BIOS data area, then the BIOS (5.2.5.1).
    fn search(memory: &impl PhysicalMemory) -> Option<Self> {
        let segment: Option<[u8; 2]> = read_array(memory, 0x40e);
        let extended_area = u64::from(segment.and_then(|bytes| u16_at(&bytes, 0)).unwrap_or(0)) << 4;
        let areas = [(extended_area, extended_area + 1024), (0xe_0000, 0x10_0000)];
        let in_area = |(start, end): (u64, u64)| (start..end).step_by(16).find_map(|at| Self::at(memory, at));
        areas.into_iter().filter(|(start, _)| *start != 0).find_map(in_area)
    }
}

/// The sum of all bytes, zero for a sound structure.
fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

/// The sum of `len_bytes` bytes of memory.
fn checksum(memory: &impl PhysicalMemory, address: u64, len_bytes: u64) -> Option<u8> {
    let end = address.checked_add(len_bytes)?;
    let mut total = 0u8;
    let mut at = address;
    while at < end {
        let mut block = [0; 256];
        let part = block.get_mut(..(end - at).min(256) as usize)?;
        if !memory.read(at, part) {
            return None;
        }
        total = total.wrapping_add(sum(part));
        at += 256;
    }
    Some(total)
}
