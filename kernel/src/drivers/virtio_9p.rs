//! The virtio 9P device: carries messages to a server of files, which is the host's, and back.
//!
//! One queue ([`SlotQueue`]). An exchange is one chain: what the device reads, then where it writes.
//!
//! The device is not trusted: what it returns is checked (`devices::split_queue`); one that breaks its queue gives nothing back, and is given up by
//! `ninep` when its time is over.
//!
//! Lock: `DRIVER` around the queue, and around the transport. Nothing is allocated, and nobody is told, under it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use devices::split_queue::Buffer;
use devices::virtio_9p::{Features, TAG_LEN_MAX, config};
use mm::FramePiece;
use ninep::{Exchange, Transport as ServerTransport};
use sync::{IrqSpinLock, WaitQueue, rank};
use virtio_drivers::transport::{DeviceStatus, Transport};

use super::hal::DmaBuffer;
use super::virtio::{AnyTransport, Found, QueueFeatures, Refused, RingMemory, SlotQueue, Targets, entries_max};
use crate::arch::interrupts;

const QUEUE: u16 = 0;
/// Descriptors of the queue.
const QUEUE_LEN_MAX: u16 = 256;
/// Shorter queues would hold no page beside request and reply.
const QUEUE_LEN_MIN: u16 = 8;

/// Whom an interrupt is for, by vector.
static TARGETS: Targets<Arc<Shared>> = Targets::new();

/// A way to a server, with the name that the host gave it.
pub(crate) struct Virtio9p {
    shared: Arc<Shared>,
    tag: Vec<u8>,
}

struct Shared {
    transport: IrqSpinLock<AnyTransport>,
    queue: SlotQueue<Exchange>,
    pieces_max: usize,
    room: WaitQueue,
}

impl Virtio9p {
    /// Takes a device. `None`, and a word in the log, if it cannot be used.
    #[inline(never)]
    pub(super) fn new(mut found: Found) -> Option<Self> {
        let transport = found.transport();
        let wanted = Features::from_bits_truncate(transport.read_device_features());
        if !wanted.contains(Features::VERSION_1 | Features::TAG) {
            log::warn!("a 9P device speaks only the old interface of virtio, or has no name");
            return None;
        }
        let features = transport.begin_init(wanted);
        if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
            log::warn!("a 9P device does not take {features:?}");
            return None;
        }
        let vector = interrupts::allocate_vector()?;
        let (mut transport, is_connected) = found.connect_at(vector, on_interrupt);
        if !is_connected {
            return None;
        }
        let tag = read_tag(&transport);
        let made = make_queue(&mut transport, features);
        let Some((queue, descriptors)) = made else {
            // Before the memory of the queue is used for something else.
            transport.set_status(DeviceStatus::empty());
            log::warn!("a 9P device cannot be used: no queue, or not enough memory");
            return None;
        };
        transport.finish_init();
        // A chain is never longer than the queue, wherever its descriptors lie (Virtual I/O Device specification 1.2, 2.7.5.3.1).
        let pieces_max = usize::from(descriptors).min(entries_max(0));
        let shared = Arc::new(Shared {
            transport: IrqSpinLock::new(rank::DRIVER, transport),
            queue,
            pieces_max,
            room: WaitQueue::new(),
        });
        TARGETS.add(vector, shared.clone());
        shared.complete();
        Some(Self { shared, tag })
    }

    /// The name that the host gave it.
    pub(crate) fn tag(&self) -> &[u8] {
        &self.tag
    }

    /// The way to the server.
    pub(crate) fn transport(&self) -> Arc<dyn ServerTransport> {
        self.shared.clone()
    }
}

fn read_tag(transport: &AnyTransport) -> Vec<u8> {
    let byte = |offset: usize| transport.read_config_space::<u8>(offset).unwrap_or(0);
    let len = usize::from(u16::from_le_bytes([0, 1].map(|half| byte(config::TAG_LEN + half))));
    (0..len.min(TAG_LEN_MAX)).map(|at| byte(config::TAG + at)).collect()
}

/// The queue, and its descriptors.
#[inline(never)]
fn make_queue(transport: &mut AnyTransport, features: Features) -> Option<(SlotQueue<Exchange>, u16)> {
    let memory = RingMemory::set_up(transport, QUEUE, QUEUE_LEN_MAX)?;
    let descriptors = memory.len();
    if descriptors < QUEUE_LEN_MIN {
        return None;
    }
    let agreed = QueueFeatures {
        has_event_index: features.contains(Features::EVENT_INDEX),
        has_indirect: features.contains(Features::INDIRECT),
    };
    Some((SlotQueue::new(memory, transport.notifier(QUEUE)?, agreed)?, descriptors))
}

impl Shared {
    /// Completes what the device is done with, and asks for an interrupt for what comes next.
    fn complete(&self) {
        let written = |_slot: &DmaBuffer, written: u32| written;
        if self.queue.complete(written, |exchange, written| exchange.complete(Some(written))) {
            self.room.wake(u32::MAX);
        }
    }
}

fn fail(exchange: Exchange) {
    exchange.complete(None);
}

impl ServerTransport for Shared {
    fn pieces_max(&self) -> usize {
        self.pieces_max
    }

    fn submit(&self, exchange: Exchange) -> Result<(), Exchange> {
        match self.queue.submit(exchange, 0, buffers_of) {
            Err(Refused::Full(exchange)) => return Err(exchange),
            Err(Refused::Stopped(exchange)) => fail(exchange),
            Ok(()) => self.queue.kick(),
        }
        Ok(())
    }

    fn room(&self) -> &WaitQueue {
        &self.room
    }

    fn poll(&self) {
        self.complete();
    }

    fn stop(&self) {
        self.transport.lock().set_status(DeviceStatus::empty());
        self.queue.stop(fail);
        self.room.wake_all();
    }
}

/// The buffers of an exchange, in order.
fn buffers_of(_slot: &DmaBuffer, exchange: &Exchange) -> Vec<Buffer> {
    let buffer = |piece: &FramePiece, is_writable: bool| Buffer {
        address: piece.frame().number().physical_address() + piece.offset() as u64,
        len: u32::try_from(piece.len()).unwrap_or(0),
        is_writable,
    };
    let outgoing = exchange.outgoing().iter().map(|piece| buffer(piece, false));
    outgoing.chain(exchange.incoming().iter().map(|piece| buffer(piece, true))).collect()
}

/// The handler of all interrupts of devices of this kind.
fn on_interrupt(vector: u8) {
    if let Some(shared) = TARGETS.get(vector) {
        // A line stays active until the device is asked why.
        shared.transport.lock().ack_interrupt();
        shared.complete();
    }
}
