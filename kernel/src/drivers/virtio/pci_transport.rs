//! Virtio over PCI (Virtual I/O Device specification 1.2, 4.1), with MSI-X messages.
//!
//! The `virtio-drivers` crate has such a transport, but it gives queues no message; this one does. Only the modern
//! interface is spoken, which transitional devices have as well.

use devices::pci::{self as config, BARS_MAX, CAPABILITY_VENDOR, ConfigSpace, MemoryBar};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::pci::Device;
use crate::drivers::io::Registers;

const VENDOR: u16 = 0x1af4;
/// Modern devices are numbered by kind from here, transitional ones by a list of their own.
const FIRST_MODERN_ID: u16 = 0x1040;
const FIRST_TRANSITIONAL_ID: u16 = 0x1000;

/// Kinds of structures (4.1.4).
const COMMON: u8 = 1;
const NOTIFICATION: u8 = 2;
const STATUS: u8 = 3;
const DEVICE: u8 = 4;

/// Offsets in the common configuration (4.1.4.3).
const DEVICE_FEATURE_SELECT: usize = 0x00;
const DEVICE_FEATURE: usize = 0x04;
const DRIVER_FEATURE_SELECT: usize = 0x08;
const DRIVER_FEATURE: usize = 0x0c;
const CONFIG_VECTOR: usize = 0x10;
const DEVICE_STATUS: usize = 0x14;
const CONFIG_GENERATION: usize = 0x15;
const QUEUE_SELECT: usize = 0x16;
const QUEUE_SIZE: usize = 0x18;
const QUEUE_VECTOR: usize = 0x1a;
const QUEUE_ENABLE: usize = 0x1c;
const QUEUE_NOTIFY_OFFSET: usize = 0x1e;
const QUEUE_DESCRIPTORS: usize = 0x20;
const QUEUE_DRIVER: usize = 0x28;
const QUEUE_DEVICE: usize = 0x30;
const COMMON_LEN_BYTES: usize = 0x38;

/// The message that means none.
const NO_VECTOR: u16 = 0xffff;

/// Queues whose place of notification is remembered.
const QUEUES_MAX: usize = 64;
/// How often a reset is waited for.
const RESET_LOOKS_MAX: usize = 1_000_000;

/// A virtio device on PCI.
pub(in crate::drivers) struct PciTransport {
    kind: DeviceType,
    bars: [Option<MemoryBar>; BARS_MAX],
    common: Registers,
    notification: Registers,
    notify_multiplier: usize,
    /// Where each queue is notified; none until it is set.
    notify_places: [Option<u32>; QUEUES_MAX],
    status: Registers,
    device: Option<Registers>,
    /// The message of queues that are set from now on, and the one for changes of the device itself.
    message: Option<u16>,
    config_message: Option<u16>,
}

impl PciTransport {
    /// The transport of a function, if it is a virtio device of the modern interface. Enables the function.
    #[inline(never)]
    pub(super) fn new(function: &Device) -> Option<Self> {
        let identity = function.identity;
        if identity.vendor != VENDOR {
            return None;
        }
        let kind = kind(identity.device)?;
        let bars = function.bars();
        function.enable();
        let mut structures = [None; 5];
        let mut notify_multiplier = 0;
        let space = function.config();
        for capability in config::capabilities(space, identity.at).filter(|found| found.id == CAPABILITY_VENDOR) {
            let [_, _, len, structure] = space.read(identity.at, capability.offset).to_le_bytes();
            let [bar, ..] = space.read(identity.at, capability.offset + 4).to_le_bytes();
            let offset = space.read(identity.at, capability.offset + 8);
            let size = space.read(identity.at, capability.offset + 12);
            // The first structure of each kind counts (4.1.4).
            let Some(slot) = structures.get_mut(usize::from(structure)).filter(|slot| slot.is_none()) else { continue };
            *slot = map_structure(&bars, bar, offset, size);
            if structure == NOTIFICATION && len >= 20 {
                notify_multiplier = space.read(identity.at, capability.offset + 16) as usize;
            }
        }
        let take = |structure: u8| structures.get(usize::from(structure)).copied().flatten();
        Some(Self {
            kind,
            bars,
            common: take(COMMON).filter(|registers| registers.len() >= COMMON_LEN_BYTES)?,
            notification: take(NOTIFICATION)?,
            notify_multiplier,
            notify_places: [None; QUEUES_MAX],
            status: take(STATUS)?,
            device: take(DEVICE),
            message: None,
            config_message: None,
        })
    }

    /// Where the function's memory ranges are.
    pub(super) fn bars(&self) -> &[Option<MemoryBar>] {
        &self.bars
    }

    /// Says which message queues have that are set from now on.
    pub(super) fn use_message(&mut self, message: Option<u16>) {
        self.message = message;
    }

    /// Says which message tells of changes of the device itself; set with the next queue.
    pub(super) fn use_config_message(&mut self, message: Option<u16>) {
        self.config_message = message;
    }

    /// Where queue `queue` is notified, once it is set.
    pub(super) fn notify_register(&self, queue: u16) -> Option<Registers> {
        let place = (*self.notify_places.get(usize::from(queue))?)?;
        self.notification.part(place as usize, 2)
    }

    fn write_address(&self, offset: usize, address: PhysAddr) {
        let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
        self.common.write(offset, u32::from_le_bytes([a, b, c, d]));
        self.common.write(offset + 4, u32::from_le_bytes([e, f, g, h]));
    }

    fn select(&self, queue: u16) {
        self.common.write(QUEUE_SELECT, queue);
    }
}

/// The kind of device that a PCI device number stands for (4.1.2.1, and 5 for transitional devices).
fn kind(device: u16) -> Option<DeviceType> {
    if device >= FIRST_MODERN_ID {
        return DeviceType::try_from(device - FIRST_MODERN_ID).ok();
    }
    Some(match device.checked_sub(FIRST_TRANSITIONAL_ID)? {
        0 => DeviceType::Network,
        1 => DeviceType::Block,
        2 => DeviceType::MemoryBalloon,
        3 => DeviceType::Console,
        4 => DeviceType::ScsiHost,
        5 => DeviceType::EntropySource,
        9 => DeviceType::_9P,
        _ => return None,
    })
}

fn map_structure(bars: &[Option<MemoryBar>], bar: u8, offset: u32, size: u32) -> Option<Registers> {
    let bar = (*bars.get(usize::from(bar))?)?;
    let end = u64::from(offset) + u64::from(size);
    if size == 0 || end > bar.len_bytes || bar.address == 0 {
        return None;
    }
    // SAFETY: the device says that this part of its own memory is the structure; only the transport uses it.
    unsafe { Registers::map(bar.address + u64::from(offset), size as usize) }
}

impl Transport for PciTransport {
    fn device_type(&self) -> DeviceType {
        self.kind
    }

    fn read_device_features(&mut self) -> u64 {
        self.common.write(DEVICE_FEATURE_SELECT, 0u32);
        let low: u32 = self.common.read(DEVICE_FEATURE);
        self.common.write(DEVICE_FEATURE_SELECT, 1u32);
        let high: u32 = self.common.read(DEVICE_FEATURE);
        u64::from(low) | u64::from(high) << 32
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        let [a, b, c, d, e, f, g, h] = driver_features.to_le_bytes();
        self.common.write(DRIVER_FEATURE_SELECT, 0u32);
        self.common.write(DRIVER_FEATURE, u32::from_le_bytes([a, b, c, d]));
        self.common.write(DRIVER_FEATURE_SELECT, 1u32);
        self.common.write(DRIVER_FEATURE, u32::from_le_bytes([e, f, g, h]));
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select(queue);
        u32::from(self.common.read::<u16>(QUEUE_SIZE))
    }

    fn notify(&mut self, queue: u16) {
        if let Some(Some(place)) = self.notify_places.get(usize::from(queue)) {
            self.notification.write(*place as usize, queue);
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_truncate(u32::from(self.common.read::<u8>(DEVICE_STATUS)))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let [status, ..] = status.bits().to_le_bytes();
        self.common.write(DEVICE_STATUS, status);
        if status == 0 {
            // The device is reset when the status reads as zero (4.1.4.3.2).
            let _ = (0..RESET_LOOKS_MAX).any(|_| self.common.read::<u8>(DEVICE_STATUS) == 0);
        }
    }

    fn set_guest_page_size(&mut self, _guest_page_size: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.common.write(CONFIG_VECTOR, self.config_message.unwrap_or(NO_VECTOR));
        self.select(queue);
        self.common.write(QUEUE_SIZE, u16::try_from(size).unwrap_or(u16::MAX));
        self.write_address(QUEUE_DESCRIPTORS, descriptors);
        self.write_address(QUEUE_DRIVER, driver_area);
        self.write_address(QUEUE_DEVICE, device_area);
        self.common.write(QUEUE_VECTOR, self.message.unwrap_or(NO_VECTOR));
        self.common.write(QUEUE_ENABLE, 1u16);
        let place = usize::from(self.common.read::<u16>(QUEUE_NOTIFY_OFFSET)).saturating_mul(self.notify_multiplier);
        let is_inside = place.checked_add(2).is_some_and(|end| end <= self.notification.len());
        if let Some(slot) = self.notify_places.get_mut(usize::from(queue)) {
            *slot = u32::try_from(place).ok().filter(|_| is_inside);
        }
    }

    fn queue_unset(&mut self, queue: u16) {
        // The interface has no way to disable one queue; a reset of the device does.
        self.select(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.common.read::<u16>(QUEUE_ENABLE) == 1
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // A message needs no acknowledgement, and with messages the register does not tell what happened.
        if self.message.is_some() {
            return InterruptStatus::QUEUE_INTERRUPT;
        }
        InterruptStatus::from_bits_truncate(u32::from(self.status.read::<u8>(0)))
    }

    fn read_config_generation(&self) -> u32 {
        u32::from(self.common.read::<u8>(CONFIG_GENERATION))
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        let device = self.device.as_ref().ok_or(Error::ConfigSpaceMissing)?;
        let part = device.part(offset, size_of::<T>()).ok_or(Error::ConfigSpaceTooSmall)?;
        let mut value = T::new_zeroed();
        for (index, byte) in value.as_mut_bytes().iter_mut().enumerate() {
            *byte = part.read(index);
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Result<()> {
        let device = self.device.as_ref().ok_or(Error::ConfigSpaceMissing)?;
        let part = device.part(offset, size_of::<T>()).ok_or(Error::ConfigSpaceTooSmall)?;
        for (index, byte) in value.as_bytes().iter().enumerate() {
            part.write(index, *byte);
        }
        Ok(())
    }
}
