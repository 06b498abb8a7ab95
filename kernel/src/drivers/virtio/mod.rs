//! Virtio devices: finding them, and one type for both ways of reaching them.
//!
//! Devices are found in the command line and in ACPI (memory-mapped, as on QEMU's microvm) and among the functions of PCI.
//! [`Found::connect`] gives a device its interrupt. Queues are those of the `virtio-drivers` crate.

mod pci_transport;
mod queue;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;

use firmware::command_line::{self, VirtioMmioDevice};
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::acpi::Facts;
use super::{ioapic, pci};
use crate::arch::interrupts::{self, Handler};
use crate::memory::mmio;
use pci_transport::PciTransport;
pub(super) use queue::{QUEUE_LEN, Queue};

/// Devices that are looked at.
const DEVICES_MAX: usize = 64;
/// The feature that says that a device follows version 1 of the specification.
pub(super) const FEATURE_VERSION_1: u64 = 1 << 32;

/// A device nobody drives yet.
pub(super) struct Found {
    transport: AnyTransport,
    interrupt: Interrupt,
}

enum Interrupt {
    /// A line of the I/O APIC.
    Line(u32),
    /// A message.
    Message(pci::Device),
}

impl Found {
    /// What kind of device it is.
    pub(super) fn kind(&self) -> DeviceType {
        self.transport.device_type()
    }

    /// Gives the transport to a driver that needs no interrupt.
    pub(super) fn into_transport(self) -> AnyTransport {
        self.transport
    }

    /// Gives the device its interrupt, and the transport to its driver. Without an interrupt the driver must poll.
    pub(super) fn connect(self, handler: Handler) -> (AnyTransport, bool) {
        let Found { mut transport, interrupt } = self;
        let Some(vector) = interrupts::allocate_vector() else { return (transport, false) };
        interrupts::set_handler(vector, handler);
        let is_connected = match (interrupt, &mut transport) {
            // Lines are shared by no one on microvm, but stay active until the device is acknowledged.
            (Interrupt::Line(line), _) => ioapic::route(line, vector, true, false),
            (Interrupt::Message(device), AnyTransport::Pci(transport)) => {
                let has_message = device.set_message(transport.bars(), vector);
                transport.use_message(has_message);
                has_message
            }
            (Interrupt::Message(_), AnyTransport::Mmio(_)) => false,
        };
        if !is_connected {
            log::warn!("a virtio device has no interrupt");
        }
        (transport, is_connected)
    }
}

/// Finds all devices.
#[inline(never)]
pub(super) fn find(facts: &Facts, line: &[u8], functions: Vec<pci::Device>) -> Vec<Found> {
    let told = command_line::virtio_mmio_devices(line).chain(facts.virtio_devices.iter().copied());
    let mut found: Vec<Found> = told.take(DEVICES_MAX).filter_map(at_address).collect();
    for function in functions.into_iter().take(DEVICES_MAX) {
        if let Some(transport) = PciTransport::new(&function) {
            found.push(Found {
                transport: AnyTransport::Pci(Box::new(transport)),
                interrupt: Interrupt::Message(function),
            });
        }
    }
    for device in &found {
        log::debug!("virtio: {:?}", device.kind());
    }
    found
}

/// The device at an announced address; microvm announces places without a device as well.
#[inline(never)]
fn at_address(told: VirtioMmioDevice) -> Option<Found> {
    let len = usize::try_from(told.len_bytes).ok()?;
    let header = NonNull::new(mmio::map(told.address, len)? as *mut VirtIOHeader)?;
    // SAFETY: the loader or ACPI says that a virtio device's registers are there; they are mapped for ever, and only this
    // transport uses them.
    let transport = unsafe { MmioTransport::new(header, len) }.ok()?;
    Some(Found { transport: AnyTransport::Mmio(transport), interrupt: Interrupt::Line(told.interrupt) })
}

/// A device, however it is reached.
pub(super) enum AnyTransport {
    Mmio(MmioTransport<'static>),
    Pci(Box<PciTransport>),
}

/// Calls the same method of whichever transport it is.
macro_rules! delegate {
    ($self:ident, $transport:ident => $call:expr) => {
        match $self {
            AnyTransport::Mmio($transport) => $call,
            AnyTransport::Pci($transport) => $call,
        }
    };
}

impl Transport for AnyTransport {
    fn device_type(&self) -> DeviceType {
        delegate!(self, transport => transport.device_type())
    }

    fn read_device_features(&mut self) -> u64 {
        delegate!(self, transport => transport.read_device_features())
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        delegate!(self, transport => transport.write_driver_features(driver_features));
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        delegate!(self, transport => transport.max_queue_size(queue))
    }

    fn notify(&mut self, queue: u16) {
        delegate!(self, transport => transport.notify(queue));
    }

    fn get_status(&self) -> DeviceStatus {
        delegate!(self, transport => transport.get_status())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        delegate!(self, transport => transport.set_status(status));
    }

    fn set_guest_page_size(&mut self, guest_page_size: u32) {
        delegate!(self, transport => transport.set_guest_page_size(guest_page_size));
    }

    fn requires_legacy_layout(&self) -> bool {
        delegate!(self, transport => transport.requires_legacy_layout())
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        delegate!(self, transport => transport.queue_set(queue, size, descriptors, driver_area, device_area));
    }

    fn queue_unset(&mut self, queue: u16) {
        delegate!(self, transport => transport.queue_unset(queue));
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        delegate!(self, transport => transport.queue_used(queue))
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        delegate!(self, transport => transport.ack_interrupt())
    }

    fn read_config_generation(&self) -> u32 {
        delegate!(self, transport => transport.read_config_generation())
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        delegate!(self, transport => transport.read_config_space(offset))
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Result<()> {
        delegate!(self, transport => transport.write_config_space(offset, value))
    }
}
