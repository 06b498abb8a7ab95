//! The virtio 9P device: carries messages to a server of files, which is the host's, and back.
//!
//! One queue. An exchange is one chain: what the device reads, then where it writes. Its descriptors lie in a table of the *slot* it has, a page; slots
//! are made as they are needed, up to [`SLOTS_MAX`], and kept. Where the device knows no tables they lie in the queue itself. Exchange and slot are the
//! chain's token, so the frames stay until the device is done with them, or was reset.
//!
//! The device is not trusted: what it returns is checked (`devices::split_queue`); one that breaks its queue gives nothing back, and is given up by
//! `ninep` when its time is over.
//!
//! Lock: `DRIVER` around the queue, and around the transport. Nothing is allocated, and nobody is told, under it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use devices::split_queue::{Buffer, SplitQueue, table_entries};
use devices::virtio_9p::{Features, TAG_LEN_MAX, config};
use mm::FramePiece;
use ninep::{Exchange, Transport as ServerTransport};
use sync::{IrqSpinLock, Once, WaitQueue, rank};
use virtio_drivers::transport::{DeviceStatus, Transport};

use super::hal::DmaBuffer;
use super::virtio::{AnyTransport, Found, Notifier, RingMemory};
use crate::arch::{cpu, interrupts};
use crate::memory::PAGE_BYTES;

const QUEUE: u16 = 0;
/// Descriptors of the queue.
const QUEUE_LEN_MAX: u16 = 256;
/// Shorter queues would hold no page beside request and reply.
const QUEUE_LEN_MIN: u16 = 8;
/// The most exchanges that the device has at once.
const SLOTS_MAX: usize = 64;
/// Bytes of an entry of a table.
const ENTRY_LEN: usize = 16;
/// There are so many vectors.
const TARGETS_MAX: usize = 256;

/// Whom an interrupt is for, by vector. Made for the first device.
static TARGETS: Once<Box<[Once<Arc<Shared>>]>> = Once::new();

/// A way to a server, with the name that the host gave it.
pub(crate) struct Virtio9p {
    shared: Arc<Shared>,
    tag: Vec<u8>,
}

struct Shared {
    transport: IrqSpinLock<AnyTransport>,
    side: IrqSpinLock<Side>,
    notifier: Notifier,
    has_indirect: bool,
    /// The device is told of everything, as what it wishes cannot be read reliably.
    is_always_told: bool,
    pieces_max: usize,
    room: WaitQueue,
}

struct Side {
    queue: SplitQueue<UnderWay>,
    memory: RingMemory,
    free_slots: Vec<DmaBuffer>,
    slots: usize,
    is_stopped: bool,
}

/// What the device has.
struct UnderWay {
    exchange: Exchange,
    slot: DmaBuffer,
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
        let Some((side, notifier)) = made else {
            // Before the memory of the queue is used for something else.
            transport.set_status(DeviceStatus::empty());
            log::warn!("a 9P device cannot be used: no queue, or not enough memory");
            return None;
        };
        transport.finish_init();
        // A chain is never longer than the queue, wherever its descriptors lie (Virtual I/O Device specification 1.2, 2.7.5.3.1).
        let pieces_max = usize::from(side.memory.len()).min(PAGE_BYTES / ENTRY_LEN);
        let shared = Arc::new(Shared {
            transport: IrqSpinLock::new(rank::DRIVER, transport),
            side: IrqSpinLock::new(rank::DRIVER, side),
            notifier,
            has_indirect: features.contains(Features::INDIRECT),
            is_always_told: cpu::is_translated(),
            pieces_max,
            room: WaitQueue::new(),
        });
        let targets = TARGETS.call_once(|| core::iter::repeat_with(Once::new).take(TARGETS_MAX).collect());
        if let Some(target) = targets.get(usize::from(vector)) {
            target.call_once(|| shared.clone());
        }
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

#[inline(never)]
fn make_queue(transport: &mut AnyTransport, features: Features) -> Option<(Side, Notifier)> {
    let memory = RingMemory::set_up(transport, QUEUE, QUEUE_LEN_MAX)?;
    if memory.len() < QUEUE_LEN_MIN {
        return None;
    }
    let queue = SplitQueue::new(memory.len(), features.contains(Features::EVENT_INDEX))?;
    let mut free_slots = Vec::with_capacity(SLOTS_MAX);
    free_slots.push(DmaBuffer::new(PAGE_BYTES)?);
    let notifier = transport.notifier(QUEUE)?;
    Some((Side { queue, memory, free_slots, slots: 1, is_stopped: false }, notifier))
}

impl Shared {
    fn take_slot(&self) -> Option<DmaBuffer> {
        {
            let mut side = self.side.lock();
            if let Some(slot) = side.free_slots.pop() {
                return Some(slot);
            }
            if side.slots >= SLOTS_MAX {
                return None;
            }
            side.slots += 1;
        }
        let made = DmaBuffer::new(PAGE_BYTES);
        if made.is_none() {
            self.side.lock().slots -= 1;
        }
        made
    }

    /// Gives the device an exchange; it comes back where there is no room. True: the device wants to be told.
    fn add(&self, exchange: Exchange, slot: DmaBuffer) -> Result<bool, Exchange> {
        let buffers = prepare(&slot, &exchange);
        let mut side = self.side.lock();
        if side.is_stopped {
            drop(side);
            exchange.complete(None);
            return Ok(false);
        }
        let Side { queue, memory, free_slots, .. } = &mut *side;
        let token = UnderWay { exchange, slot };
        let added = if self.has_indirect {
            let count = u16::try_from(buffers.len()).unwrap_or(0);
            let writable = buffers.iter().filter(|buffer| buffer.is_writable).map(|buffer| buffer.len);
            let writable_len = writable.fold(0, u32::saturating_add);
            queue.add_table(memory, token.slot.physical(), count, writable_len, token)
        } else {
            queue.add(memory, buffers.iter().copied(), token)
        };
        if let Err(UnderWay { exchange, slot }) = added {
            free_slots.push(slot);
            return Err(exchange);
        }
        Ok(queue.publish(memory))
    }

    /// Completes what the device is done with, and asks for an interrupt for what comes next.
    fn complete(&self) {
        let mut was_any = false;
        loop {
            while let Some((exchange, written)) = self.take() {
                was_any = true;
                exchange.complete(Some(written));
            }
            let mut side = self.side.lock();
            let Side { queue, memory, .. } = &mut *side;
            if !queue.enable_interrupts(memory) {
                break;
            }
        }
        if was_any {
            self.room.wake(u32::MAX);
        }
    }

    fn take(&self) -> Option<(Exchange, u32)> {
        let mut side = self.side.lock();
        let Side { queue, memory, free_slots, .. } = &mut *side;
        let (UnderWay { exchange, slot }, written) = queue.take_used(memory)?;
        // There is room for all slots.
        free_slots.push(slot);
        Some((exchange, written))
    }

    fn take_any(&self) -> Option<UnderWay> {
        self.side.lock().queue.take_all().next()
    }
}

impl ServerTransport for Shared {
    fn pieces_max(&self) -> usize {
        self.pieces_max
    }

    fn submit(&self, exchange: Exchange) -> Result<(), Exchange> {
        let Some(slot) = self.take_slot() else { return Err(exchange) };
        let is_wanted = self.add(exchange, slot)?;
        if is_wanted || self.is_always_told {
            self.notifier.notify();
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
        self.side.lock().is_stopped = true;
        while let Some(UnderWay { exchange, .. }) = self.take_any() {
            exchange.complete(None);
        }
        self.room.wake_all();
    }
}

/// Writes the table of an exchange into its slot; answers the buffers, in order.
fn prepare(slot: &DmaBuffer, exchange: &Exchange) -> Vec<Buffer> {
    let buffer = |piece: &FramePiece, is_writable: bool| Buffer {
        address: piece.frame().number().physical_address() + piece.offset() as u64,
        len: u32::try_from(piece.len()).unwrap_or(0),
        is_writable,
    };
    let outgoing = exchange.outgoing().iter().map(|piece| buffer(piece, false));
    let buffers: Vec<Buffer> = outgoing.chain(exchange.incoming().iter().map(|piece| buffer(piece, true))).collect();
    for (number, entry) in table_entries(buffers.iter().copied()).enumerate() {
        let at = number * ENTRY_LEN;
        if at + ENTRY_LEN <= PAGE_BYTES {
            slot.write(at, &entry);
        }
    }
    buffers
}

/// The handler of all interrupts of devices of this kind.
fn on_interrupt(vector: u8) {
    let target = TARGETS.get().and_then(|targets| targets.get(usize::from(vector))?.get());
    if let Some(shared) = target {
        // A line stays active until the device is asked why.
        shared.transport.lock().ack_interrupt();
        shared.complete();
    }
}
