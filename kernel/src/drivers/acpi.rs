//! What ACPI told at start-up, kept for the drivers.
//!
//! Tables lie in usable or in reserved memory; what the direct map does not show is mapped page by page.

use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use firmware::PhysicalMemory;
use firmware::acpi::{ConfigWindow, Fadt, Madt, Table, Tables, aml};
use firmware::command_line::VirtioMmioDevice;

use crate::memory::layout::direct;
use crate::memory::{PAGE_BYTES, mmio, paging};

/// Pages mapped for tables; all tables together have a few dozen.
const PAGES_MAX: usize = 1024;

/// The facts that drivers use.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) madt: Option<Madt>,
    pub(super) fadt: Option<Fadt>,
    pub(super) pci_window: Option<ConfigWindow>,
    /// What to write to sleep for good.
    pub(super) off_type: Option<(u8, u8)>,
    pub(super) event_device: Option<aml::GenericEventDevice>,
    pub(super) virtio_devices: Vec<VirtioMmioDevice>,
}

/// Reads the tables; a machine without ACPI has no facts.
#[inline(never)]
pub(super) fn read(rsdp: Option<u64>) -> Facts {
    let memory = Memory::default();
    let tables = match Tables::find(&memory, rsdp) {
        Ok(tables) => tables,
        Err(error) => {
            log::debug!("no ACPI: {error:?}");
            return Facts::default();
        }
    };
    let fadt = tables.fadt(&memory);
    let block = fadt.and_then(|fadt| fadt.dsdt).and_then(|address| read_table(&memory, address)).unwrap_or_default();
    Facts {
        madt: tables.madt(&memory),
        fadt,
        pci_window: tables.mcfg(&memory).and_then(|mcfg| mcfg.windows().find(|window| window.segment == 0)),
        off_type: aml::sleep_type(&block, *b"_S5_"),
        event_device: aml::generic_event_device(&block),
        virtio_devices: aml::virtio_mmio_devices(&block).collect(),
    }
}

fn read_table(memory: &Memory, address: u64) -> Option<Vec<u8>> {
    let table = Table::at(memory, address)?;
    let mut bytes = vec![0; usize::try_from(table.len_bytes).ok()?];
    table.read(memory, &mut bytes)?;
    Some(bytes)
}

/// Physical memory for reading tables.
#[derive(Default)]
struct Memory {
    /// Pages mapped so far: physical and virtual addresses.
    pages: RefCell<Vec<(u64, usize)>>,
}

impl Memory {
    /// Where `physical`, the address of a page, can be read.
    fn page(&self, physical: u64) -> Option<usize> {
        if paging::is_direct_mapped(physical, PAGE_BYTES as u64) {
            return Some(direct(physical));
        }
        let mut pages = self.pages.borrow_mut();
        if let Some((_, address)) = pages.iter().find(|(page, _)| *page == physical) {
            return Some(*address);
        }
        if pages.len() == PAGES_MAX {
            return None;
        }
        let address = mmio::map(physical, PAGE_BYTES)?;
        pages.push((physical, address));
        Some(address)
    }
}

impl PhysicalMemory for Memory {
    fn read(&self, address: u64, out: &mut [u8]) -> bool {
        let mut at = address;
        let mut rest = out;
        while !rest.is_empty() {
            let Ok(offset) = usize::try_from(at % PAGE_BYTES as u64) else { return false };
            let Some(page) = self.page(at - offset as u64) else { return false };
            let (part, tail) = rest.split_at_mut(rest.len().min(PAGE_BYTES - offset));
            // SAFETY: the page is mapped, and the part does not pass its end. Reading tables changes nothing.
            unsafe { core::ptr::copy_nonoverlapping((page + offset) as *const u8, part.as_mut_ptr(), part.len()) };
            let Some(next) = at.checked_add(part.len() as u64) else { return false };
            at = next;
            rest = tail;
        }
        true
    }
}
