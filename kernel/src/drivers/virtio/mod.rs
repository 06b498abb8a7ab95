//! Virtio devices: finding them, and one type for both ways of reaching them.
//!
//! Devices are found in the command line and in ACPI (memory-mapped, as on QEMU's microvm) and among the functions of PCI.
//! [`Found::connect`] gives a device its interrupt. The queues of slow devices are those of the `virtio-drivers` crate ([`Queue`]), those of
//! fast ones our own ([`RingMemory`], [`BufferQueue`], [`SlotQueue`]).

mod pci_transport;
mod queue;
mod ring;
mod slots;
mod targets;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;

use firmware::command_line::{self, VirtioMmioDevice};
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::acpi::Facts;
use super::io::Registers;
use super::{ioapic, pci};
use crate::arch::interrupts::{self, Handler};
pub(super) use pci::MessageTarget;
use pci_transport::PciTransport;
pub(super) use queue::{QUEUE_LEN, Queue};
pub(super) use ring::{BUFFER_BYTES, BufferQueue, RingMemory, new_buffer, physical_of};
pub(super) use slots::{QueueFeatures, Refused, SlotQueue, entries_max};
pub(super) use targets::Targets;

/// The register that tells a device in memory of work (4.2.2).
const MMIO_QUEUE_NOTIFY: usize = 0x50;
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

    /// The transport, for a look at the device before it is connected.
    pub(super) fn transport(&mut self) -> &mut AnyTransport {
        &mut self.transport
    }

    /// How many messages the device can send; `None`: it has a line.
    pub(super) fn messages_max(&self) -> Option<u16> {
        match &self.interrupt {
            Interrupt::Line(_) => None,
            Interrupt::Message(device) => Some(device.messages_max()),
        }
    }

    /// Gives the device its interrupt, and the transport to its driver. Without an interrupt the driver must poll.
    pub(super) fn connect(self, handler: Handler) -> (AnyTransport, bool) {
        let Some(vector) = interrupts::allocate_vector() else { return (self.transport, false) };
        self.connect_at(vector, handler)
    }

    /// Gives the device several messages: entry `n` of its table goes to the target `n`.
    pub(super) fn connect_messages(self, targets: &[MessageTarget]) -> (AnyTransport, bool) {
        let Found { transport, interrupt } = self;
        let is_connected = match (interrupt, &transport) {
            (Interrupt::Message(device), AnyTransport::Pci(pci)) => device.set_messages(pci.bars(), targets),
            _ => false,
        };
        (transport, is_connected)
    }

    /// As [`Found::connect`], with a vector that the caller knows.
    pub(super) fn connect_at(self, vector: u8, handler: Handler) -> (AnyTransport, bool) {
        let Found { mut transport, interrupt } = self;
        interrupts::set_handler(vector, handler);
        let is_connected = match (interrupt, &mut transport) {
            // Lines are shared by no one on microvm, but stay active until the device is acknowledged.
            (Interrupt::Line(line), _) => ioapic::route(line, vector, true, false),
            (Interrupt::Message(device), AnyTransport::Pci(transport)) => {
                let has_message = device.set_messages(transport.bars(), &[MessageTarget::here(vector)]);
                transport.use_message(has_message.then_some(0));
                has_message
            }
            (Interrupt::Message(_), AnyTransport::Mmio(..)) => false,
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
    // SAFETY: the loader or ACPI says that a virtio device's registers are there, and only its driver uses them.
    let registers = unsafe { Registers::map(told.address, len)? };
    let header = NonNull::new(registers.address::<u32>(0) as *mut VirtIOHeader)?;
    // SAFETY: as above; they are mapped for ever. `registers` is used only to notify queues, which the transport does by one write as well.
    let transport = unsafe { MmioTransport::new(header, len) }.ok()?;
    Some(Found { transport: AnyTransport::Mmio(transport, registers), interrupt: Interrupt::Line(told.interrupt) })
}

/// A device, however it is reached.
pub(super) enum AnyTransport {
    Mmio(MmioTransport<'static>, Registers),
    Pci(Box<PciTransport>),
}

/// Calls the same method of whichever transport it is.
macro_rules! delegate {
    ($self:ident, $transport:ident => $call:expr) => {
        match $self {
            AnyTransport::Mmio($transport, _) => $call,
            AnyTransport::Pci($transport) => $call,
        }
    };
}

/// How a queue's device is told of work. From anywhere, without a lock.
#[derive(Clone, Copy)]
pub(super) struct Notifier {
    register: Registers,
    queue: u16,
    is_wide: bool,
}

impl Notifier {
    /// Tells the device.
    pub(super) fn notify(&self) {
        if self.is_wide {
            self.register.write(0, u32::from(self.queue));
        } else {
            self.register.write(0, self.queue);
        }
    }
}

impl AnyTransport {
    /// What tells the device of work in `queue`, which has been set up.
    pub(super) fn notifier(&self, queue: u16) -> Option<Notifier> {
        match self {
            Self::Mmio(_, registers) => {
                Some(Notifier { register: registers.part(MMIO_QUEUE_NOTIFY, 4)?, queue, is_wide: true })
            }
            Self::Pci(transport) => {
                Some(Notifier { register: transport.notify_register(queue)?, queue, is_wide: false })
            }
        }
    }

    /// Says which message the queues have that are set up from now on. A device with a line has that for all.
    pub(super) fn use_message(&mut self, message: Option<u16>) {
        if let Self::Pci(transport) = self {
            transport.use_message(message);
        }
    }

    /// Says which message tells of changes of the device itself.
    pub(super) fn use_config_message(&mut self, message: Option<u16>) {
        if let Self::Pci(transport) = self {
            transport.use_config_message(message);
        }
    }
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
