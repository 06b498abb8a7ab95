//! Three facts of the definition block (DSDT), found by their patterns.
//!
//! The block is a program for an interpreter this kernel does not have. What it says about sleeping and about a few
//! devices is plain data in every machine we boot on: `Name (_S5, Package ...)` and `Device` bodies whose `_CRS` is a
//! constant buffer. So the bytes are searched: [`sleep_type`], [`virtio_mmio_devices`], [`generic_event_device`]. A
//! pattern that computes its values is not recognised, which is an absence. Encodings: ACPI 6.5, chapters 20.2
//! and 6.4.

use crate::bytes::{array_at, u8_at, u16_at, u32_at};
use crate::command_line::VirtioMmioDevice;

/// Devices that are looked at.
const DEVICES_MAX: usize = 4096;

const ZERO_OP: u8 = 0x00;
const ONE_OP: u8 = 0x01;
const NAME_OP: u8 = 0x08;
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DWORD_PREFIX: u8 = 0x0c;
const STRING_PREFIX: u8 = 0x0d;
const BUFFER_OP: u8 = 0x11;
const PACKAGE_OP: u8 = 0x12;
const EXTENDED_PREFIX: u8 = 0x5b;
const REGION_OP: u8 = 0x80;
const DEVICE_OP: u8 = 0x82;
const SYSTEM_MEMORY: u8 = 0;

const VIRTIO_MMIO_ID: &[u8] = b"LNRO0005";
const GENERIC_EVENT_DEVICE_ID: &[u8] = b"ACPI0013";

/// The device that reports events on a machine without fixed hardware (5.6.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenericEventDevice {
    /// Its global system interrupt.
    pub interrupt: u32,
    /// Physical address of the register that tells, and clears when read, what happened.
    pub selector: u64,
}

/// The values for the `SLP_TYPa` and `SLP_TYPb` fields that the object `name` (such as `_S5_`) gives (7.4.2).
pub fn sleep_type(block: &[u8], name: [u8; 4]) -> Option<(u8, u8)> {
    named_objects(block, name).find_map(|object| {
        let (&PACKAGE_OP, rest) = object.split_first()? else { return None };
        let (package, _) = split_package(rest)?;
        // The first byte counts the elements.
        let (first, rest) = integer(package.get(1..)?)?;
        let second = integer(rest).map_or(first, |(second, _)| second);
        Some((u8::try_from(first).ok()?, u8::try_from(second).ok()?))
    })
}

/// The virtio devices with their resources, in the order of the block.
pub fn virtio_mmio_devices(block: &[u8]) -> impl Iterator<Item = VirtioMmioDevice> + '_ {
    devices_by_id(block, VIRTIO_MMIO_ID).filter_map(|body| {
        let resources = Resources::of_device(body);
        let (address, len_bytes) = resources.memory?;
        Some(VirtioMmioDevice { address, len_bytes, interrupt: resources.interrupt? })
    })
}

/// The generic event device.
pub fn generic_event_device(block: &[u8]) -> Option<GenericEventDevice> {
    devices_by_id(block, GENERIC_EVENT_DEVICE_ID).find_map(|body| {
        Some(GenericEventDevice { interrupt: Resources::of_device(body).interrupt?, selector: memory_region(body)? })
    })
}

/// What a constant `_CRS` says.
#[derive(Default)]
struct Resources {
    memory: Option<(u64, u64)>,
    interrupt: Option<u32>,
}

impl Resources {
    /// The first memory range and the first interrupt among the device's current resources.
    fn of_device(body: &[u8]) -> Self {
        named_objects(body, *b"_CRS").next().and_then(Self::parse).unwrap_or_default()
    }

    fn parse(object: &[u8]) -> Option<Self> {
        let (&BUFFER_OP, rest) = object.split_first()? else { return None };
        let (buffer, _) = split_package(rest)?;
        let (_len, mut descriptors) = integer(buffer)?;
        let mut resources = Self::default();
        // Every descriptor has one byte at least, so the loop ends within the buffer.
        while let Some(head) = descriptors.first().copied() {
            let is_large = head & 0x80 != 0;
            let header_len = if is_large { 3 } else { 1 };
            let len = if is_large { usize::from(u16_at(descriptors, 1)?) } else { usize::from(head & 7) };
            let data = descriptors.get(header_len..header_len + len)?;
            resources.add(head, data);
            descriptors = descriptors.get(header_len + len..)?;
        }
        Some(resources)
    }

    fn add(&mut self, head: u8, data: &[u8]) {
        match head {
            // Fixed 32-bit memory range (6.4.3.4).
            0x86 if self.memory.is_none() => {
                let range = u32_at(data, 1).zip(u32_at(data, 5));
                self.memory = range.map(|(base, len)| (u64::from(base), u64::from(len))).filter(|(_, len)| *len > 0);
            }
            // Extended interrupt (6.4.3.6): flags, count, numbers.
            0x89 if self.interrupt.is_none() && u8_at(data, 1) != Some(0) => self.interrupt = u32_at(data, 2),
            _ => {}
        }
    }
}

/// The base of the first memory region declared in a device's body: `OperationRegion (name, SystemMemory, base, ...)`.
fn memory_region(body: &[u8]) -> Option<u64> {
    positions(body, &[EXTENDED_PREFIX, REGION_OP]).find_map(|at| {
        let [_, _, _, _, space] = array_at::<5>(body, at + 2)?;
        let (base, _) = integer(body.get(at + 7..)?)?;
        (space == SYSTEM_MEMORY).then_some(base)
    })
}

/// The bodies of devices whose first `_HID` is the string `id`.
fn devices_by_id<'a>(block: &'a [u8], id: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    positions(block, &[EXTENDED_PREFIX, DEVICE_OP]).take(DEVICES_MAX).filter_map(move |at| {
        let (body, _) = split_package(block.get(at + 2..)?)?;
        let hid = named_objects(body, *b"_HID").next()?;
        let (&STRING_PREFIX, text) = hid.split_first()? else { return None };
        (text.strip_prefix(id)?.first() == Some(&0)).then_some(body)
    })
}

/// What follows each `Name (name, ...)`.
fn named_objects(block: &[u8], name: [u8; 4]) -> impl Iterator<Item = &[u8]> {
    let [a, b, c, d] = name;
    positions(block, &[NAME_OP, a, b, c, d]).filter_map(|at| block.get(at + 5..))
}

/// The positions at which `pattern` begins.
fn positions<'a, const N: usize>(block: &'a [u8], pattern: &[u8; N]) -> impl Iterator<Item = usize> + use<'a, N> {
    let pattern = *pattern;
    block.windows(N.max(1)).enumerate().filter(move |(_, window)| *window == pattern).map(|(at, _)| at)
}

/// The bytes that a package length covers (without the length itself), and those behind (20.2.4).
fn split_package(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let lead = u8_at(bytes, 0)?;
    let extra = usize::from(lead >> 6);
    let mut len = usize::from(if extra == 0 { lead & 0x3f } else { lead & 0x0f });
    for index in 0..extra {
        len |= usize::from(u8_at(bytes, 1 + index)?) << (4 + 8 * index);
    }
    Some((bytes.get(1 + extra..len)?, bytes.get(len..)?))
}

/// A constant integer, and the bytes behind it (20.2.3).
fn integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (value, len) = match u8_at(bytes, 0)? {
        ZERO_OP => (0, 1),
        ONE_OP => (1, 1),
        BYTE_PREFIX => (u64::from(u8_at(bytes, 1)?), 2),
        WORD_PREFIX => (u64::from(u16_at(bytes, 1)?), 3),
        DWORD_PREFIX => (u64::from(u32_at(bytes, 1)?), 5),
        _ => return None,
    };
    Some((value, bytes.get(len..)?))
}
