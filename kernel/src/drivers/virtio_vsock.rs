//! The virtio socket device: carries packets of `AF_VSOCK` to the host and back.
//!
//! Three queues: what comes in is written to pages, which go back to the device as soon as `net` has looked at them;
//! what goes out lies where it was made until the device is done ([`SlotQueue`], the header in the slot); and few
//! buffers are for events. One interrupt serves all. It frees what was sent and notes events; packets are taken by the
//! network's worker.
//!
//! The device is not trusted: what it returns is checked (`devices::split_queue`), what it wrote is parsed by `net`.
//! While only the kernel's reserve of memory is left, what has come stays with the device.
//!
//! Lock: `DRIVER` around each queue, and around the transport. Nothing is allocated, and nobody is told, under it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use devices::split_queue::Buffer;
use devices::virtio_vsock::{Event, Features, config, queue};
use net::Stack;
use net::vsock::packet::{HEADER_LEN, Packet};
use net::vsock::{Device, Taking};
use sync::{IrqSpinLock, Once, rank};
use virtio_drivers::transport::{DeviceStatus, Transport};

use super::hal::DmaBuffer;
use super::virtio::{
    AnyTransport, BufferQueue, Found, Notifier, QueueFeatures, Refused, RingMemory, SlotQueue, Targets, new_buffer,
    physical_of,
};
use crate::arch::interrupts;
use crate::memory::frames::{self, Incoming};

/// Descriptors of a queue of packets, and pages that wait for them.
const QUEUE_LEN_MAX: u16 = 128;
const RECEIVE_PAGES_MAX: usize = 64;
/// One part in so many of the machine's memory may lie in these.
const MEMORY_SHARE: u64 = 64;
/// Events that may be told of at once. There is one kind.
const EVENTS_MAX: u16 = 4;
/// Packets that are taken at a time.
const BATCH_MAX: usize = 32;
/// Where the table of descriptors begins in a slot, behind the header.
const TABLE_AT: usize = HEADER_LEN.next_multiple_of(16);

/// Whom an interrupt is for, by vector.
static TARGETS: Targets<Arc<VirtioVsock>> = Targets::new();

/// A socket device.
pub(crate) struct VirtioVsock {
    transport: IrqSpinLock<AnyTransport>,
    has_messages: bool,
    receive: Incomings,
    transmit: SlotQueue<Packet>,
    events: Incomings,
    /// An event said that connections are lost.
    has_reset: AtomicBool,
    /// Whom packets go to.
    stack: Once<Arc<Stack>>,
}

/// A queue of pages for the device to write.
struct Incomings {
    queue: IrqSpinLock<BufferQueue>,
    notifier: Notifier,
}

/// The queues of a device.
struct Queues {
    receive: Incomings,
    transmit: SlotQueue<Packet>,
    events: Incomings,
}

impl VirtioVsock {
    /// Takes a device, which has no pages to write yet. `None`, and a word in the log, if it cannot be used.
    #[inline(never)]
    pub(super) fn new(mut found: Found) -> Option<Arc<Self>> {
        let transport = found.transport();
        let wanted = Features::from_bits_truncate(transport.read_device_features());
        if !wanted.contains(Features::VERSION_1) {
            log::warn!("a socket device speaks only the old interface of virtio");
            return None;
        }
        let features = transport.begin_init(wanted);
        if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
            log::warn!("a socket device does not take {features:?}");
            return None;
        }
        let vector = interrupts::allocate_vector()?;
        let (mut transport, is_connected) = found.connect_at(vector, on_interrupt);
        if !is_connected {
            return None;
        }
        let Some(Queues { receive, transmit, events }) = make_queues(&mut transport, features) else {
            // Before the memory of the queues is used for something else.
            transport.set_status(DeviceStatus::empty());
            log::warn!("a socket device cannot be used: no queues, or not enough memory");
            return None;
        };
        transport.finish_init();
        let device = Arc::new(Self {
            transport: IrqSpinLock::new(rank::DRIVER, transport),
            has_messages: features.contains(Features::SEQPACKET),
            receive,
            transmit,
            events,
            has_reset: AtomicBool::new(false),
            stack: Once::new(),
        });
        TARGETS.add(vector, device.clone());
        Some(device)
    }

    /// From now on packets that come go to the sockets of `stack`.
    pub(crate) fn attach(self: &Arc<Self>, stack: &Arc<Stack>) {
        self.stack.call_once(|| Arc::clone(stack));
        stack.vsock().attach(self.clone());
        self.receive.start();
        self.events.start();
        self.look();
    }

    /// Sees to everything that the device has done.
    fn look(&self) {
        self.transmit.complete(|_slot, _written| (), |packet, ()| drop(packet));
        self.take_events();
        let has_arrived = self.receive.has_any();
        if let Some(stack) = self.stack.get() {
            stack.vsock().note_interrupt(stack, has_arrived || self.has_reset.load(Ordering::Relaxed));
        }
    }

    fn take_events(&self) {
        let mut queue = self.events.queue.lock();
        while let Some((buffer, written)) = queue.take() {
            if Event::parse(buffer.get(..written).unwrap_or_default()) == Some(Event::TransportReset) {
                self.has_reset.store(true, Ordering::Relaxed);
            }
            queue.post(buffer);
        }
        let is_wanted = queue.publish();
        queue.enable_interrupts();
        drop(queue);
        if is_wanted {
            self.events.notifier.notify();
        }
    }
}

impl Incomings {
    /// A queue with so many pages, of which the device is not told yet.
    fn new(memory: RingMemory, notifier: Notifier, pages: usize, has_event_index: bool) -> Option<Self> {
        let mut queue = BufferQueue::new(memory, has_event_index)?;
        for _ in 0..pages {
            if queue.has_room() {
                queue.post(new_buffer()?);
            }
        }
        Some(Self { queue: IrqSpinLock::new(rank::DRIVER, queue), notifier })
    }

    fn start(&self) {
        self.queue.lock().publish();
        self.notifier.notify();
    }

    /// Whether something has come, of which the device interrupts no more. If not, it does.
    fn has_any(&self) -> bool {
        let mut queue = self.queue.lock();
        let has_any = queue.enable_interrupts();
        if has_any {
            queue.disable_interrupts();
        }
        has_any
    }

    /// Gives the pages back.
    fn give_back(&self, pages: impl Iterator<Item = Box<[u8]>>) {
        let mut queue = self.queue.lock();
        pages.for_each(|page| queue.post(page));
        let is_wanted = queue.publish();
        drop(queue);
        if is_wanted {
            self.notifier.notify();
        }
    }
}

impl Device for VirtioVsock {
    fn cid(&self) -> u32 {
        self.transport.lock().read_config_space(config::CID).unwrap_or_default()
    }

    fn has_messages(&self) -> bool {
        self.has_messages
    }

    fn send(&self, packet: Packet) -> Result<(), Packet> {
        match self.transmit.submit(packet, TABLE_AT, buffers_of) {
            Ok(()) => Ok(()),
            Err(Refused::Full(packet) | Refused::Stopped(packet)) => Err(packet),
        }
    }

    fn kick(&self) {
        self.transmit.kick();
    }

    fn take(&self, sink: &mut dyn FnMut(&[u8])) -> Taking {
        if !self.receive.has_any() {
            return Taking::Nothing;
        }
        if !frames::may_keep(Incoming::Long) {
            return Taking::Short;
        }
        let mut taken: Vec<(Box<[u8]>, usize)> = Vec::with_capacity(BATCH_MAX);
        {
            let mut queue = self.receive.queue.lock();
            while taken.len() < BATCH_MAX
                && let Some(page) = queue.take()
            {
                taken.push(page);
            }
            if queue.is_broken() {
                drop(queue);
                log::error!("a socket device returned what it was not given: it gives no more packets");
            }
        }
        for (page, written) in &taken {
            sink(page.get(..*written).unwrap_or_default());
        }
        let was_any = !taken.is_empty();
        self.receive.give_back(taken.into_iter().map(|(page, _)| page));
        if was_any { Taking::More } else { Taking::Nothing }
    }

    fn take_reset(&self) -> bool {
        self.has_reset.swap(false, Ordering::Relaxed)
    }
}

/// Makes the queues, with pages for the device to write.
#[inline(never)]
fn make_queues(transport: &mut AnyTransport, features: Features) -> Option<Queues> {
    let has_event_index = features.contains(Features::EVENT_INDEX);
    let share = usize::try_from(frames::total() / MEMORY_SHARE).unwrap_or(usize::MAX);
    let receive = RingMemory::set_up(transport, queue::RECEIVE, QUEUE_LEN_MAX)?;
    let receive_notifier = transport.notifier(queue::RECEIVE)?;
    let pages = share.clamp(2, RECEIVE_PAGES_MAX);
    let transmit = RingMemory::set_up(transport, queue::TRANSMIT, QUEUE_LEN_MAX)?;
    let agreed = QueueFeatures { has_event_index, has_indirect: features.contains(Features::INDIRECT) };
    let transmit = SlotQueue::new(transmit, transport.notifier(queue::TRANSMIT)?, agreed)?;
    let events = RingMemory::set_up(transport, queue::EVENT, EVENTS_MAX)?;
    let event_notifier = transport.notifier(queue::EVENT)?;
    Some(Queues {
        receive: Incomings::new(receive, receive_notifier, pages, has_event_index)?,
        transmit,
        events: Incomings::new(events, event_notifier, usize::from(EVENTS_MAX), has_event_index)?,
    })
}

/// The buffers of a packet: the header, which is written to the slot, and the payload where it lies.
fn buffers_of(slot: &DmaBuffer, packet: &Packet) -> Vec<Buffer> {
    slot.write(0, &packet.header_bytes());
    let buffer = |address, len: usize| Buffer { address, len: u32::try_from(len).unwrap_or(0), is_writable: false };
    let mut buffers = Vec::with_capacity(2);
    buffers.push(buffer(slot.physical(), HEADER_LEN));
    if !packet.payload.is_empty() {
        let address = physical_of(&packet.payload).expect("the heap lies in the direct map");
        buffers.push(buffer(address, packet.payload.len()));
    }
    buffers
}

/// The handler of all interrupts of devices of this kind.
fn on_interrupt(vector: u8) {
    if let Some(device) = TARGETS.get(vector) {
        // A line stays active until the device is asked why.
        device.transport.lock().ack_interrupt();
        device.look();
    }
}
