//! The virtio socket device: carries packets of `AF_VSOCK` to the host and back.
//!
//! Three queues with a page for each entry: what comes in, what goes out, and events. Packets are copied to and from
//! these pages, so a page is with the device, or free. One interrupt serves all: it notes what was sent and events;
//! packets are taken by the network's worker.
//!
//! The device is not trusted: what it returns is checked ([`Queue`]), what it wrote is parsed by `net`. While only the
//! kernel's reserve of memory is left, what has come stays with the device.
//!
//! Lock: `DRIVER` around everything. Nothing is allocated, and nobody is told, under it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use devices::virtio_vsock::{Event, Features, config, queue};
use net::Stack;
use net::vsock::packet::{HEADER_LEN, Packet};
use net::vsock::{Device, Taking};
use sync::{IrqSpinLock, Once, rank};
use virtio_drivers::transport::{DeviceStatus, Transport};

use super::hal::DmaBuffer;
use super::virtio::{AnyTransport, Found, QUEUE_LEN, Queue};
use crate::memory::PAGE_BYTES;
use crate::memory::frames::{self, Incoming};

/// Bytes behind a header that fit a page.
const PAYLOAD_LEN_MAX: usize = PAGE_BYTES - HEADER_LEN;
/// Packets that are taken at a time.
const BATCH_MAX: usize = QUEUE_LEN;
/// Bytes of an event.
const EVENT_LEN: usize = 4;

/// The device, and whom its packets go to.
static DEVICE: Once<(Arc<VirtioVsock>, Arc<Stack>)> = Once::new();

/// The queues of a device, and their pages.
type Parts = ([Queue; 3], [Arc<DmaBuffer>; 3]);

/// A socket device.
pub(crate) struct VirtioVsock {
    has_messages: bool,
    side: IrqSpinLock<Side>,
}

struct Side {
    transport: AnyTransport,
    receive: Queue,
    transmit: Queue,
    events: Queue,
    incoming: Arc<DmaBuffer>,
    outgoing: Arc<DmaBuffer>,
    told: Arc<DmaBuffer>,
    /// Where pages begin that nothing is sent from.
    free: Vec<usize>,
    /// An event said that connections are lost.
    has_reset: bool,
}

impl VirtioVsock {
    /// Takes a device, which has no pages to write yet. `None`, and a word in the log, if it cannot be used.
    #[inline(never)]
    pub(super) fn new(mut found: Found) -> Option<Arc<Self>> {
        let transport = found.transport();
        let wanted = Features::from_bits_truncate(transport.read_device_features());
        let features = transport.begin_init(wanted);
        let is_taken = transport.get_status().contains(DeviceStatus::FEATURES_OK);
        if !is_taken || !wanted.contains(Features::VERSION_1) {
            log::warn!("a socket device does not take {features:?}");
            return None;
        }
        let (mut transport, is_connected) = found.connect(on_interrupt);
        if !is_connected {
            return None;
        }
        let Some((queues, pages)) = make_queues(&mut transport) else {
            // Before the memory of the queues is used for something else.
            transport.set_status(DeviceStatus::empty());
            log::warn!("a socket device cannot be used: no queues, or not enough memory");
            return None;
        };
        let [receive, transmit, events] = queues;
        let [incoming, outgoing, told] = pages;
        transport.finish_init();
        let free = (0..QUEUE_LEN).map(|page| page * PAGE_BYTES).collect();
        let side = Side { transport, receive, transmit, events, incoming, outgoing, told, free, has_reset: false };
        let has_messages = features.contains(Features::SEQPACKET);
        Some(Arc::new(Self { has_messages, side: IrqSpinLock::new(rank::DRIVER, side) }))
    }

    /// From now on packets that come go to the sockets of `stack`. Of several devices the first is used.
    pub(crate) fn attach(self: &Arc<Self>, stack: &Arc<Stack>) {
        DEVICE.call_once(|| (Arc::clone(self), Arc::clone(stack)));
        stack.vsock().attach(self.clone());
        self.side.lock().start();
        self.look(stack);
    }

    /// Sees to everything that the device has done.
    fn look(&self, stack: &Stack) {
        let mut side = self.side.lock();
        // A line stays active until the device is asked why.
        side.transport.ack_interrupt();
        side.take_sent();
        side.take_events();
        let has_news = side.has_any() || side.has_reset;
        drop(side);
        stack.vsock().note_interrupt(stack, has_news);
    }
}

impl Side {
    /// Gives the device what it may write.
    fn start(&mut self) {
        for page in 0..QUEUE_LEN {
            self.receive.give_input(&self.incoming, page * PAGE_BYTES, PAGE_BYTES);
        }
        self.events.give_input(&self.told, 0, EVENT_LEN);
        self.receive.notify(&mut self.transport);
        self.events.notify(&mut self.transport);
    }

    /// Takes the pages back of which everything was sent.
    fn take_sent(&mut self) {
        while let Some(used) = self.transmit.take_used() {
            self.free.push(used.offset);
        }
    }

    fn take_events(&mut self) {
        while let Some(used) = self.events.take_used() {
            let mut bytes = [u8::MAX; EVENT_LEN];
            self.told.read(used.offset, &mut bytes[..used.len]);
            self.has_reset |= Event::parse(&bytes) == Some(Event::TransportReset);
            self.events.give_input(&self.told, 0, EVENT_LEN);
            self.events.notify(&mut self.transport);
        }
    }

    /// Whether something has come, of which the device interrupts no more. If not, it does.
    fn has_any(&mut self) -> bool {
        self.receive.set_interrupts(true);
        let has_any = self.receive.has_used();
        if has_any {
            self.receive.set_interrupts(false);
        }
        has_any
    }

    /// Copies a packet that has come, and gives its page back. None that came behind an event which nobody has taken: when
    /// the packet is seen, so is the event.
    fn take(&mut self, to: &mut [u8]) -> Option<usize> {
        if !self.receive.has_used() {
            return None;
        }
        self.take_events();
        if self.has_reset {
            return None;
        }
        let used = self.receive.take_used()?;
        let part = to.get_mut(..used.len)?;
        self.incoming.read(used.offset, part);
        self.receive.give_input(&self.incoming, used.offset, PAGE_BYTES);
        Some(used.len)
    }
}

impl Device for VirtioVsock {
    fn cid(&self) -> u32 {
        self.side.lock().transport.read_config_space(config::CID).unwrap_or_default()
    }

    fn has_messages(&self) -> bool {
        self.has_messages
    }

    fn payload_len_max(&self) -> usize {
        PAYLOAD_LEN_MAX
    }

    fn send(&self, packet: Packet) -> Result<(), Packet> {
        let mut side = self.side.lock();
        side.take_sent();
        let Some(page) = side.free.pop() else {
            drop(side);
            return Err(packet);
        };
        let len = HEADER_LEN + packet.payload.len();
        side.outgoing.write(page, &packet.header_bytes());
        side.outgoing.write(page + HEADER_LEN, &packet.payload);
        let Side { transmit, outgoing, .. } = &mut *side;
        // There is an entry for each page, if the device has not broken the queue: then nothing is sent any more.
        transmit.give_output(outgoing, page, len);
        drop(side);
        drop(packet);
        Ok(())
    }

    fn kick(&self) {
        let mut side = self.side.lock();
        let Side { transmit, transport, .. } = &mut *side;
        transmit.notify(transport);
    }

    fn take(&self, sink: &mut dyn FnMut(&[u8])) -> Taking {
        if !self.side.lock().has_any() {
            return Taking::Nothing;
        }
        if !frames::may_keep(Incoming::Long) {
            return Taking::Short;
        }
        let mut bytes = alloc::vec![0; PAGE_BYTES];
        for _ in 0..BATCH_MAX {
            let taken = self.side.lock().take(&mut bytes);
            let Some(len) = taken else { break };
            sink(bytes.get(..len).unwrap_or_default());
        }
        let mut side = self.side.lock();
        let Side { receive, transport, .. } = &mut *side;
        receive.notify(transport);
        if side.has_any() { Taking::More } else { Taking::Nothing }
    }

    fn take_reset(&self) -> bool {
        let mut side = self.side.lock();
        side.take_events();
        core::mem::take(&mut side.has_reset)
    }
}

/// The queues in the order of their numbers, and their pages.
#[inline(never)]
fn make_queues(transport: &mut AnyTransport) -> Option<Parts> {
    let pages = |count: usize| DmaBuffer::new(count * PAGE_BYTES).map(Arc::new);
    let queues = [
        Queue::new(transport, queue::RECEIVE)?,
        Queue::new(transport, queue::TRANSMIT)?,
        Queue::new(transport, queue::EVENT)?,
    ];
    Some((queues, [pages(QUEUE_LEN)?, pages(QUEUE_LEN)?, pages(1)?]))
}

/// The handler of the device's interrupts.
fn on_interrupt(_vector: u8) {
    if let Some((device, stack)) = DEVICE.get() {
        device.look(stack);
    }
}
