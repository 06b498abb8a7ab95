//! PCI: the machine's configuration space, its functions, and their interrupts by message.
//!
//! Configuration space is reached through the ports 0xcf8 and 0xcfc, on a machine without them through the window that the
//! MCFG tells: mapping that costs memory, and the 256 bytes a function that the ports show are enough. Memory ranges
//! without an address get one below the I/O APICs, where no machine we boot on has memory.
//!
//! Lock rank: `DRIVER` around the two ports, never held across anything else.

use alloc::vec::Vec;

use devices::pci::{self, ConfigSpace, Function, Identity, MemoryBar, Msix, Window};
use firmware::MemoryMap;
use firmware::acpi::ConfigWindow;
use sync::{IrqSpinLock, Once, rank};

use super::io::{Ports, Registers};
use crate::arch::apic;

const ADDRESS: u16 = 0;
const DATA: u16 = 4;
const ADDRESS_ENABLE: u32 = 1 << 31;
const BUS_LEN_BYTES: usize = 1 << 20;
/// Buses that are mapped.
const BUSES_MAX: usize = 16;

/// Addresses to assign from: above the memory of every PC, below the I/O APICs and firmware.
const WINDOW_START: u64 = 0xe000_0000;
const WINDOW_END: u64 = 0xfe00_0000;
/// Free ranges are looked for in steps of this.
const WINDOW_STEP: usize = 0x100_0000;

// SAFETY: the addresses of configuration mechanism 1, which only this file drives.
const PORTS: Ports = unsafe { Ports::new(0xcf8, 8) };

static PORTS_LOCK: IrqSpinLock<()> = IrqSpinLock::new(rank::DRIVER, ());
static ACCESS: Once<Access> = Once::new();

/// How configuration space is reached.
pub(super) enum Access {
    /// A memory window for buses from 0 (one MiB each).
    Memory { registers: Registers },
    /// Two ports.
    Ports,
}

impl ConfigSpace for Access {
    fn read(&self, at: Function, offset: u16) -> u32 {
        match self {
            Self::Memory { registers } => {
                let place = memory_offset(at, offset);
                if place + 4 > registers.len() { u32::MAX } else { registers.read(place) }
            }
            Self::Ports => {
                let _guard = PORTS_LOCK.lock();
                PORTS.write(ADDRESS, port_address(at, offset));
                PORTS.read(DATA)
            }
        }
    }

    fn write(&self, at: Function, offset: u16, value: u32) {
        match self {
            Self::Memory { registers } => {
                let place = memory_offset(at, offset);
                if place + 4 <= registers.len() {
                    registers.write(place, value);
                }
            }
            Self::Ports => {
                let _guard = PORTS_LOCK.lock();
                PORTS.write(ADDRESS, port_address(at, offset));
                PORTS.write(DATA, value);
            }
        }
    }
}

fn memory_offset(at: Function, offset: u16) -> usize {
    let number = usize::from(at.bus) << 8 | usize::from(at.device & 31) << 3 | usize::from(at.function & 7);
    number << 12 | usize::from(offset & 0xffc)
}

fn port_address(at: Function, offset: u16) -> u32 {
    let number = u32::from(at.bus) << 8 | u32::from(at.device & 31) << 3 | u32::from(at.function & 7);
    ADDRESS_ENABLE | number << 8 | u32::from(offset & 0xfc)
}

/// Finds the functions of the machine, each with addresses for its memory ranges.
#[inline(never)]
pub(super) fn init(window: Option<ConfigWindow>, map: &MemoryMap) -> Vec<Device> {
    let Some(access) = find_access(window) else { return Vec::new() };
    let access = ACCESS.call_once(|| access);
    let mut found = Vec::new();
    pci::enumerate(access, |identity| found.push(identity));
    let mut window = free_window(map);
    for identity in &found {
        let [class, subclass, _] = identity.class;
        log::debug!(
            "PCI {}: {:04x}:{:04x} class {class:02x}{subclass:02x}",
            identity.at,
            identity.vendor,
            identity.device
        );
    }
    found.into_iter().map(|identity| Device { access, identity }).inspect(|device| device.assign(&mut window)).collect()
}

/// The ports if there is a host bridge behind them, else the memory window.
fn find_access(window: Option<ConfigWindow>) -> Option<Access> {
    if has_host_bridge(&Access::Ports) {
        return Some(Access::Ports);
    }
    let window = window.filter(|window| window.first_bus == 0)?;
    let len = (usize::from(window.last_bus) + 1).min(BUSES_MAX) * BUS_LEN_BYTES;
    // SAFETY: the MCFG says that configuration space is there; only this file drives it.
    let registers = unsafe { Registers::map(window.address, len)? };
    Some(Access::Memory { registers }).filter(has_host_bridge)
}

fn has_host_bridge(access: &Access) -> bool {
    let id = access.read(Function { bus: 0, device: 0, function: 0 }, 0);
    id != u32::MAX && id != 0
}

/// The first part of the assignable addresses that nothing in the memory map touches.
fn free_window(map: &MemoryMap) -> Window {
    let mut starts = (WINDOW_START..WINDOW_END).step_by(WINDOW_STEP);
    let next = starts.find(|start| !map.overlaps_any(*start, WINDOW_END)).unwrap_or(WINDOW_END);
    Window { next, end: WINDOW_END }
}

/// Where a message goes.
#[derive(Clone, Copy)]
pub(super) struct MessageTarget {
    /// The processor's local APIC.
    pub(super) apic_id: u32,
    /// What it is interrupted with.
    pub(super) vector: u8,
}

impl MessageTarget {
    /// This processor.
    pub(super) fn here(vector: u8) -> Self {
        Self { apic_id: apic::id(), vector }
    }

    /// The entry of an MSI-X table.
    fn words(&self) -> [u32; 4] {
        let entry = |id| pci::msix_entry(id, self.vector);
        entry(self.apic_id).or_else(|| entry(apic::id())).unwrap_or(pci::MSIX_MASKED_ENTRY)
    }
}

/// A function that a driver can take.
pub(super) struct Device {
    access: &'static Access,
    pub(super) identity: Identity,
}

impl Device {
    fn assign(&self, window: &mut Window) {
        if !pci::assign_bars(self.access, self.identity.at, window) {
            log::warn!("PCI {}: no room for its memory", self.identity.at);
        }
    }

    /// Configuration space.
    pub(super) fn config(&self) -> &'static Access {
        self.access
    }

    /// Lets the function be used.
    pub(super) fn enable(&self) {
        pci::enable(self.access, self.identity.at);
    }

    /// Where its memory ranges are.
    pub(super) fn bars(&self) -> [Option<MemoryBar>; pci::BARS_MAX] {
        pci::memory_bars(self.access, self.identity.at)
    }

    /// How many messages the function can send.
    pub(super) fn messages_max(&self) -> u16 {
        Msix::find(self.access, self.identity.at).map_or(0, |msix| msix.entries)
    }

    /// Makes the first entries of the function's MSI-X table send to `targets`, masks the others, and turns them on. A processor that messages do not
    /// reach is replaced by this one. False: there are fewer entries.
    pub(super) fn set_messages(&self, bars: &[Option<MemoryBar>], targets: &[MessageTarget]) -> bool {
        let Some(msix) = Msix::find(self.access, self.identity.at) else { return false };
        if targets.len() > usize::from(msix.entries) {
            return false;
        }
        let Some(Some(bar)) = bars.get(usize::from(msix.bar)) else { return false };
        let len = msix.table_len_bytes();
        if u64::from(msix.offset) + len as u64 > bar.len_bytes {
            return false;
        }
        // SAFETY: the function says that its table is there; only its driver, who calls this, drives it.
        let Some(table) = (unsafe { Registers::map(bar.address + u64::from(msix.offset), len) }) else { return false };
        for entry in 0..usize::from(msix.entries) {
            let words = targets.get(entry).map_or(pci::MSIX_MASKED_ENTRY, MessageTarget::words);
            for (index, word) in words.into_iter().enumerate() {
                table.write(entry * pci::MSIX_ENTRY_LEN_BYTES + index * 4, word);
            }
        }
        msix.enable(self.access, self.identity.at);
        true
    }
}
