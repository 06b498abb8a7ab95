//! PCI configuration: finding functions, their memory, their capabilities, and MSI-X.
//!
//! Everything goes through [`ConfigSpace`], which the machine implements by ports or by a memory window. Firmware that
//! boots fast (qboot) leaves base addresses unassigned; [`assign_bars`] does that from a [`Window`]. References: PCI Local
//! Bus 3.0, chapters 6.1, 6.2.5, 6.7 and 6.8.2.
//!
//! A bridge whose buses firmware did not number is not entered.

/// Functions that an enumeration visits.
pub const FUNCTIONS_MAX: usize = 1024;
/// Capabilities in one function's list: 48 bytes of header and at least 4 a capability.
const CAPABILITIES_MAX: usize = 48;
/// Base address registers of an ordinary function.
pub const BARS_MAX: usize = 6;

const DEVICES_PER_BUS: u8 = 32;
const FUNCTIONS_PER_DEVICE: u8 = 8;

const REGISTER_ID: u16 = 0x00;
const REGISTER_COMMAND: u16 = 0x04;
const REGISTER_CLASS: u16 = 0x08;
const REGISTER_HEADER: u16 = 0x0c;
const REGISTER_BAR_0: u16 = 0x10;
const REGISTER_BUSES: u16 = 0x18;
const REGISTER_CAPABILITIES: u16 = 0x34;

const COMMAND_PORTS: u32 = 1 << 0;
const COMMAND_MEMORY: u32 = 1 << 1;
const COMMAND_MASTER: u32 = 1 << 2;
const COMMAND_NO_INTX: u32 = 1 << 10;
const STATUS_HAS_CAPABILITIES: u32 = 1 << 20;

const HEADER_BRIDGE: u8 = 1;
const HEADER_MANY_FUNCTIONS: u32 = 1 << 23;

const CAPABILITY_MSIX: u8 = 0x11;
/// The identifier of capabilities that the vendor defines.
pub const CAPABILITY_VENDOR: u8 = 0x09;
const MSIX_ENABLE: u32 = 1 << 31;
const MSIX_MASK_ALL: u32 = 1 << 30;

/// Bytes of one entry of an MSI-X table.
pub const MSIX_ENTRY_LEN_BYTES: usize = 16;

/// The address of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Bus.
    pub bus: u8,
    /// Device on the bus, below 32.
    pub device: u8,
    /// Function of the device, below 8.
    pub function: u8,
}

impl core::fmt::Display for Function {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{:02x}:{:02x}.{}", self.bus, self.device, self.function)
    }
}

/// Access to configuration space, 32 bits at a time; a function that is not there reads as all ones.
pub trait ConfigSpace {
    /// Reads the register at `offset`, a multiple of four.
    fn read(&self, function: Function, offset: u16) -> u32;
    /// Writes it.
    fn write(&self, function: Function, offset: u16, value: u32);
}

/// What identifies a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Where it is.
    pub at: Function,
    /// Who made it.
    pub vendor: u16,
    /// What it is to its maker.
    pub device: u16,
    /// What it is to everybody: class, subclass, interface.
    pub class: [u8; 3],
}

/// Calls `visit` for every ordinary function, bus by bus from bus 0.
pub fn enumerate(config: &impl ConfigSpace, mut visit: impl FnMut(Identity)) {
    // A bridge leads to a bus of a higher number, so each bus is entered at most once.
    let mut is_known = [false; 256];
    is_known[0] = true;
    let mut seen = 0;
    for bus in 0..=u8::MAX {
        if is_known.get(usize::from(bus)) != Some(&true) {
            continue;
        }
        for device in 0..DEVICES_PER_BUS {
            for function in 0..FUNCTIONS_PER_DEVICE {
                let at = Function { bus, device, function };
                let id = config.read(at, REGISTER_ID);
                let is_present = low_half(id) != 0xffff && low_half(id) != 0;
                let header = if is_present { config.read(at, REGISTER_HEADER) } else { 0 };
                if is_present && seen < FUNCTIONS_MAX {
                    seen += 1;
                    if header_type(header) == HEADER_BRIDGE {
                        let [_, secondary, ..] = config.read(at, REGISTER_BUSES).to_le_bytes();
                        if secondary > bus {
                            is_known[usize::from(secondary)] = true;
                        }
                    } else {
                        let [_, interface, subclass, class] = config.read(at, REGISTER_CLASS).to_le_bytes();
                        let class = [class, subclass, interface];
                        visit(Identity { at, vendor: low_half(id), device: high_half(id), class });
                    }
                }
                if function == 0 && (!is_present || header & HEADER_MANY_FUNCTIONS == 0) {
                    break;
                }
            }
        }
    }
}

/// Lets a function be reached through its memory, write to ours, and interrupt by messages only.
pub fn enable(config: &impl ConfigSpace, at: Function) {
    let command = config.read(at, REGISTER_COMMAND) & 0xffff;
    config.write(at, REGISTER_COMMAND, command | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_INTX);
}

/// A memory range that a function decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBar {
    /// Physical address; zero if it was never assigned.
    pub address: u64,
    /// Bytes, a power of two.
    pub len_bytes: u64,
    /// Whether the register is a pair.
    pub is_wide: bool,
}

/// The memory ranges of a function; ports are left out. Decoding is off meanwhile.
pub fn memory_bars(config: &impl ConfigSpace, at: Function) -> [Option<MemoryBar>; BARS_MAX] {
    let mut bars = [None; BARS_MAX];
    let command = config.read(at, REGISTER_COMMAND) & 0xffff;
    config.write(at, REGISTER_COMMAND, command & !(COMMAND_PORTS | COMMAND_MEMORY));
    let mut index = 0;
    while index < BARS_MAX {
        let bar = size_bar(config, at, index);
        if let Some(slot) = bars.get_mut(index) {
            *slot = bar;
        }
        index += if bar.is_some_and(|bar| bar.is_wide) { 2 } else { 1 };
    }
    config.write(at, REGISTER_COMMAND, command);
    bars
}

/// Finds out what register `index` decodes by writing ones: those that stick are the address.
fn size_bar(config: &impl ConfigSpace, at: Function, index: usize) -> Option<MemoryBar> {
    let low = probe(config, at, bar_register(index)?);
    if low.original & 1 != 0 {
        return None;
    }
    let is_wide = low.original >> 1 & 3 == 2;
    let high = if is_wide { Some(probe(config, at, bar_register(index + 1)?)) } else { None };
    let high_mask = high.map_or(u32::MAX, |high| high.mask);
    let mask = u64::from(low.mask & !0xf) | u64::from(high_mask) << 32;
    let address = u64::from(low.original & !0xf) | u64::from(high.map_or(0, |high| high.original)) << 32;
    // The lowest address bit that sticks is the size.
    let len_bytes = mask & mask.wrapping_neg();
    let is_implemented = low.mask & !0xf != 0 || (is_wide && high_mask != 0);
    is_implemented.then_some(MemoryBar { address, len_bytes, is_wide })
}

#[derive(Clone, Copy)]
struct Probe {
    original: u32,
    mask: u32,
}

fn probe(config: &impl ConfigSpace, at: Function, register: u16) -> Probe {
    let original = config.read(at, register);
    config.write(at, register, u32::MAX);
    let mask = config.read(at, register);
    config.write(at, register, original);
    Probe { original, mask }
}

fn bar_register(index: usize) -> Option<u16> {
    let index = u16::try_from(index).ok().filter(|index| usize::from(*index) < BARS_MAX)?;
    Some(REGISTER_BAR_0 + 4 * index)
}

/// A range of physical addresses to assign from.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// First free address.
    pub next: u64,
    /// First address behind the window.
    pub end: u64,
}

impl Window {
    /// Takes `len_bytes`, a power of two, aligned to themselves.
    fn take(&mut self, len_bytes: u64) -> Option<u64> {
        let start = self.next.checked_next_multiple_of(len_bytes)?;
        let next = start.checked_add(len_bytes).filter(|next| *next <= self.end)?;
        self.next = next;
        Some(start)
    }
}

/// Gives an address to every memory range of the function that has none. False if the window has not enough room.
pub fn assign_bars(config: &impl ConfigSpace, at: Function, window: &mut Window) -> bool {
    for (index, bar) in memory_bars(config, at).into_iter().enumerate() {
        let Some(bar) = bar.filter(|bar| bar.address == 0) else { continue };
        let (Some(register), Some(address)) = (bar_register(index), window.take(bar.len_bytes)) else { return false };
        let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
        config.write(at, register, u32::from_le_bytes([a, b, c, d]));
        if bar.is_wide {
            config.write(at, register + 4, u32::from_le_bytes([e, f, g, h]));
        }
    }
    true
}

/// An entry of the list of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its identifier.
    pub id: u8,
    /// Its offset in configuration space.
    pub offset: u16,
}

/// The capabilities of a function, in the order of its list.
pub fn capabilities<C: ConfigSpace>(config: &C, at: Function) -> impl Iterator<Item = Capability> + use<'_, C> {
    let has_list = config.read(at, REGISTER_COMMAND) & STATUS_HAS_CAPABILITIES != 0;
    let [first, ..] = config.read(at, REGISTER_CAPABILITIES).to_le_bytes();
    let mut next = if has_list { first & !3 } else { 0 };
    core::iter::from_fn(move || {
        if next < 0x40 {
            return None;
        }
        let offset = u16::from(next);
        let [id, following, ..] = config.read(at, offset).to_le_bytes();
        next = following & !3;
        Some(Capability { id, offset })
    })
    .take(CAPABILITIES_MAX)
}

/// Where a function's MSI-X table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msix {
    capability: u16,
    /// Entries in the table.
    pub entries: u16,
    /// The base address register behind which it lies.
    pub bar: u8,
    /// Its offset there.
    pub offset: u32,
}

impl Msix {
    /// Finds the capability.
    pub fn find(config: &impl ConfigSpace, at: Function) -> Option<Self> {
        let found = capabilities(config, at).find(|capability| capability.id == CAPABILITY_MSIX)?;
        let entries = (high_half(config.read(at, found.offset)) & 0x7ff) + 1;
        let place = config.read(at, found.offset.checked_add(4)?);
        let [bar, ..] = (place & 7).to_le_bytes();
        Some(Self { capability: found.offset, entries, bar, offset: place & !7 })
    }

    /// Turns message interrupts on; every entry must have been written or masked.
    pub fn enable(&self, config: &impl ConfigSpace, at: Function) {
        let control = config.read(at, self.capability);
        config.write(at, self.capability, (control | MSIX_ENABLE) & !MSIX_MASK_ALL);
    }

    /// Bytes of the table.
    pub fn table_len_bytes(&self) -> usize {
        usize::from(self.entries) * MSIX_ENTRY_LEN_BYTES
    }
}

/// The four words of a table entry that sends `vector`, on a rising edge, to the local APIC `destination` (SDM volume 3,
/// 11.11). None if the identifier does not fit without interrupt remapping.
pub fn msix_entry(destination: u32, vector: u8) -> Option<[u32; 4]> {
    let destination = u8::try_from(destination).ok()?;
    Some([0xfee0_0000 | u32::from(destination) << 12, 0, u32::from(vector), 0])
}

/// The words of a masked table entry.
pub const MSIX_MASKED_ENTRY: [u32; 4] = [0, 0, 0, 1];

fn header_type(header: u32) -> u8 {
    let [_, _, kind, _] = header.to_le_bytes();
    kind & 0x7f
}

fn low_half(word: u32) -> u16 {
    let [a, b, ..] = word.to_le_bytes();
    u16::from_le_bytes([a, b])
}

fn high_half(word: u32) -> u16 {
    let [.., c, d] = word.to_le_bytes();
    u16::from_le_bytes([c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::HashMap;

    /// Functions with their registers; writable bits by register, all others keep their value.
    #[derive(Default)]
    struct Fake {
        registers: RefCell<HashMap<(u8, u8, u8, u16), u32>>,
        masks: HashMap<(u8, u8, u8, u16), u32>,
    }

    impl Fake {
        fn set(&mut self, at: Function, offset: u16, value: u32, mask: u32) {
            let key = (at.bus, at.device, at.function, offset);
            self.registers.borrow_mut().insert(key, value);
            self.masks.insert(key, mask);
        }
    }

    impl ConfigSpace for Fake {
        fn read(&self, at: Function, offset: u16) -> u32 {
            let registers = self.registers.borrow();
            if !registers.contains_key(&(at.bus, at.device, at.function, 0)) {
                return u32::MAX;
            }
            registers.get(&(at.bus, at.device, at.function, offset)).copied().unwrap_or(0)
        }

        fn write(&self, at: Function, offset: u16, value: u32) {
            let key = (at.bus, at.device, at.function, offset);
            let mask = self.masks.get(&key).copied().unwrap_or(0);
            let old = self.read(at, offset);
            self.registers.borrow_mut().insert(key, old & !mask | value & mask);
        }
    }

    const CONSOLE: Function = Function { bus: 0, device: 2, function: 0 };

    /// QEMU's virtio-serial-pci as qboot leaves it.
    fn console() -> Fake {
        let mut fake = Fake::default();
        fake.set(CONSOLE, 0x00, 0x1003_1af4, 0);
        fake.set(CONSOLE, 0x04, 0x0010_0000, 0x0000_ffff);
        fake.set(CONSOLE, 0x08, 0x0780_0000, 0);
        fake.set(CONSOLE, 0x10, 0x0000_0001, 0xffff_ffc0);
        fake.set(CONSOLE, 0x14, 0, 0xffff_f000);
        fake.set(CONSOLE, 0x20, 0x0000_000c, 0xffff_c000);
        fake.set(CONSOLE, 0x24, 0, 0xffff_ffff);
        fake.set(CONSOLE, 0x34, 0x98, 0);
        fake.set(CONSOLE, 0x98, 0x0001_8411, 0xc000_0000);
        fake.set(CONSOLE, 0x9c, 0x0000_0001, 0);
        fake.set(CONSOLE, 0x84, 0x0014_7009, 0);
        fake.set(CONSOLE, 0x70, 0x0010_0009, 0);
        fake
    }

    #[test]
    fn sizes_and_assigns() {
        let fake = console();
        let bars = memory_bars(&fake, CONSOLE);
        assert_eq!(bars[0], None);
        assert_eq!(bars[1], Some(MemoryBar { address: 0, len_bytes: 0x1000, is_wide: false }));
        assert_eq!(bars[4], Some(MemoryBar { address: 0, len_bytes: 0x4000, is_wide: true }));
        assert_eq!((bars[2], bars[3], bars[5]), (None, None, None));
        let mut window = Window { next: 0xe000_0800, end: 0xe001_0000 };
        assert!(assign_bars(&fake, CONSOLE, &mut window));
        let bars = memory_bars(&fake, CONSOLE);
        assert_eq!(bars[1].unwrap().address, 0xe000_1000);
        assert_eq!(bars[4].unwrap().address, 0xe000_4000);
        // What has an address keeps it.
        assert!(assign_bars(&fake, CONSOLE, &mut window));
        assert_eq!(window.next, 0xe000_8000);
        assert_eq!(fake.read(CONSOLE, 0x04) & 0xffff, 0);
        enable(&fake, CONSOLE);
        assert_eq!(fake.read(CONSOLE, 0x04) & 0xffff, 0x406);
    }

    #[test]
    fn a_full_window_is_told() {
        let mut window = Window { next: u64::MAX - 5, end: u64::MAX };
        assert!(!assign_bars(&console(), CONSOLE, &mut window));
    }

    #[test]
    fn finds_capabilities() {
        let fake = console();
        let ids: Vec<_> = capabilities(&fake, CONSOLE).map(|capability| capability.id).collect();
        assert_eq!(ids, [0x11, 0x09, 0x09]);
        let msix = Msix::find(&fake, CONSOLE).unwrap();
        assert_eq!((msix.entries, msix.bar, msix.offset), (2, 1, 0));
        msix.enable(&fake, CONSOLE);
        assert_eq!(fake.read(CONSOLE, 0x98), 0x8001_8411);
        assert_eq!(msix_entry(1, 0x31), Some([0xfee0_1000, 0, 0x31, 0]));
        assert_eq!(msix_entry(256, 0x31), None);
    }

    #[test]
    fn a_circular_list_ends() {
        let mut fake = console();
        fake.set(CONSOLE, 0x70, 0x0010_9809, 0);
        assert_eq!(capabilities(&fake, CONSOLE).count(), CAPABILITIES_MAX);
    }

    #[test]
    fn enumerates_behind_bridges() {
        let mut fake = console();
        let bridge = Function { bus: 0, device: 1, function: 0 };
        let inner = Function { bus: 3, device: 0, function: 5 };
        fake.set(bridge, 0x00, 0x000c_1b36, 0);
        fake.set(bridge, 0x0c, 0x0001_0000, 0);
        fake.set(bridge, 0x18, 0x0003_0300, 0);
        // The functions of a device are looked at only if function 0 says that there are more.
        fake.set(Function { function: 0, ..inner }, 0x00, 0x1234_5678, 0);
        fake.set(Function { function: 0, ..inner }, 0x0c, 0x0080_0000, 0);
        fake.set(inner, 0x00, 0x1044_1af4, 0);
        fake.set(Function { function: 3, ..CONSOLE }, 0x00, 0x0001_0001, 0);
        let mut found = Vec::new();
        enumerate(&fake, |identity| found.push((identity.at, identity.device)));
        assert_eq!(found, [(CONSOLE, 0x1003), (Function { function: 0, ..inner }, 0x1234), (inner, 0x1044)]);
    }
}
