//! The windows through which PCI Express configuration space is accessed (PCI firmware specification 3.0, 4.1.2).

use alloc::vec::Vec;

use super::{HEADER_LEN_BYTES, Table};
use crate::PhysicalMemory;
use crate::bytes::{read_array, u8_at, u16_at, u64_at};

/// Windows that are listed.
const WINDOWS_MAX: usize = 8;

const ENTRY_LEN_BYTES: usize = 16;

/// The configuration window of a range of buses: one MiB a bus, 4 KiB a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigWindow {
    /// Physical address of bus 0, even if the window begins at a later one.
    pub address: u64,
    /// PCI segment group.
    pub segment: u16,
    /// First bus in the window.
    pub first_bus: u8,
    /// Last bus in the window.
    pub last_bus: u8,
}

/// The parsed table.
#[derive(Clone, Debug)]
pub struct Mcfg {
    windows: Vec<ConfigWindow>,
}

impl Mcfg {
    /// Reads the table.
    pub fn read(memory: &impl PhysicalMemory, table: Table) -> Option<Self> {
        // Eight reserved bytes follow the header.
        let first = HEADER_LEN_BYTES + 8;
        let count = (table.len_bytes as usize).saturating_sub(first) / ENTRY_LEN_BYTES;
        let mut windows = Vec::new();
        for index in 0..count.min(WINDOWS_MAX) {
            let address = table.address.checked_add((first + index * ENTRY_LEN_BYTES) as u64)?;
            let entry: [u8; ENTRY_LEN_BYTES] = read_array(memory, address)?;
            let window = ConfigWindow {
                address: u64_at(&entry, 0)?,
                segment: u16_at(&entry, 8)?,
                first_bus: u8_at(&entry, 10)?,
                last_bus: u8_at(&entry, 11)?,
            };
            windows.extend(Some(window).filter(|window| window.first_bus <= window.last_bus));
        }
        Some(Self { windows })
    }

    /// The windows.
    pub fn windows(&self) -> impl Iterator<Item = ConfigWindow> + '_ {
        self.windows.iter().copied()
    }
}
