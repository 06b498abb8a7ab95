//! The virtio block device: a queue of requests for each CPU.
//!
//! - [`queue`]: what a request looks like to the device.
//! - *Interrupts.* On PCI each queue has a message, which goes to its CPU: completions run where the request came from. A device in
//!   memory has one line, and one queue.
//!
//! The device is not trusted: what it returns is checked (`devices::split_queue`); a queue it breaks gives nothing back, and the disk is
//! given up when its time is over.
//!
//! Lock: `DRIVER` around each queue, and around the transport.

mod queue;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use block::{Device, Limits, Request, SECTOR_LEN};
use devices::virtio_blk::{Features, config};
use sync::{IrqSpinLock, WaitQueue, rank};
use virtio_drivers::transport::{DeviceStatus, Transport};
use zerocopy::{FromBytes, IntoBytes};

use super::virtio::{AnyTransport, Found, MessageTarget, QueueFeatures, RingMemory, Targets};
use crate::arch::percpu::PerCpu;
use crate::arch::{interrupts, smp};
use crate::memory::PAGE_BYTES;
use queue::{OWN_BUFFERS, RequestQueue, SEGMENTS_MAX};

/// Descriptors of a queue.
const QUEUE_LEN_MAX: u16 = 256;
/// Shorter queues would not hold a page.
const QUEUE_LEN_MIN: u16 = 4;
/// Queues of a device.
const QUEUES_MAX: u16 = 64;
/// The most sectors of data in a request, 1 MiB; a request should not keep a device busy for long.
const DATA_SECTORS_MAX: u64 = 2048;

/// Whom an interrupt is for, by vector.
static TARGETS: Targets<Target> = Targets::new();

struct Target {
    disk: Arc<Shared>,
    /// None where there is a line, for all.
    queue: Option<usize>,
}

/// A block device.
pub(crate) struct VirtioBlk(Arc<Shared>);

struct Shared {
    limits: Limits,
    features: block::Features,
    transport: IrqSpinLock<AnyTransport>,
    queues: Box<[RequestQueue]>,
    room: WaitQueue,
}

impl Shared {
    /// Completes what the device is done with. True: there was something.
    fn complete_all(&self) -> bool {
        let mut was_any = false;
        for queue in &self.queues {
            was_any |= queue.complete();
        }
        was_any
    }
}

impl VirtioBlk {
    /// Takes a device. `None`, and a word in the log, if it cannot be used.
    #[inline(never)]
    pub(super) fn new(mut found: Found) -> Option<Self> {
        let transport = found.transport();
        let wanted = Features::from_bits_truncate(transport.read_device_features());
        if !wanted.contains(Features::VERSION_1) {
            log::warn!("a block device speaks only the old interface of virtio");
            return None;
        }
        let features = transport.begin_init(wanted);
        if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
            log::warn!("a block device does not take {features:?}");
            return None;
        }
        let cpus = u16::try_from(smp::count()).unwrap_or(u16::MAX);
        let offered = if features.contains(Features::MULTIQUEUE) { read::<u16>(transport, config::QUEUES) } else { 1 };
        let connected = connect(found, offered.min(cpus).clamp(1, QUEUES_MAX))?;
        Self::start(connected, features)
    }

    #[inline(never)]
    fn start(connected: Connected, features: Features) -> Option<Self> {
        let Connected { mut transport, has_line, vectors } = connected;
        let limits = limits(&transport, features);
        let Some((queues, segments_max)) = make_queues(&mut transport, features, vectors.len()) else {
            // Before the memory of the queues made so far is used for something else.
            transport.set_status(DeviceStatus::empty());
            log::warn!("a block device cannot be used: no queues, or not enough memory");
            return None;
        };
        transport.finish_init();
        let segments_max = limits.segments_max.min(segments_max);
        let shared = Arc::new(Shared {
            limits: Limits { segments_max, ..limits },
            features: block_features(features),
            transport: IrqSpinLock::new(rank::DRIVER, transport),
            queues,
            room: WaitQueue::new(),
        });
        for (number, vector) in vectors.into_iter().enumerate() {
            TARGETS.add(vector, Target { disk: shared.clone(), queue: Some(number).filter(|_| !has_line) });
        }
        for queue in &shared.queues {
            queue.complete();
        }
        Some(Self(shared))
    }
}

impl Device for VirtioBlk {
    fn limits(&self) -> &Limits {
        &self.0.limits
    }

    fn features(&self) -> block::Features {
        self.0.features
    }

    fn submit(&self, request: Request) -> Result<(), Request> {
        let queues = &self.0.queues;
        queues[PerCpu::number() as usize % queues.len()].submit(request)
    }

    fn kick(&self) {
        // The thread may be on another CPU than when it submitted.
        self.0.queues.iter().for_each(RequestQueue::kick);
    }

    fn poll(&self) {
        if self.0.complete_all() {
            self.0.room.wake(u32::MAX);
        }
    }

    fn room(&self) -> &WaitQueue {
        &self.0.room
    }

    fn stop(&self) {
        self.0.transport.lock().set_status(DeviceStatus::empty());
        self.0.queues.iter().for_each(RequestQueue::stop);
        self.0.room.wake_all();
    }
}

/// A device with its interrupts.
struct Connected {
    transport: AnyTransport,
    has_line: bool,
    /// One for each queue, or one for all.
    vectors: Vec<u8>,
}

/// Gives the device its interrupts: for `queues` queues, or for fewer.
#[inline(never)]
fn connect(found: Found, queues: u16) -> Option<Connected> {
    let Some(messages) = found.messages_max() else {
        let vector = interrupts::allocate_vector()?;
        let (transport, is_connected) = found.connect_at(vector, on_interrupt);
        return is_connected.then(|| Connected { transport, has_line: true, vectors: alloc::vec![vector] });
    };
    let mut targets = Vec::new();
    for cpu in 0..u32::from(queues.min(messages)) {
        let (Some(apic_id), Some(vector)) = (smp::apic_id(cpu), interrupts::allocate_vector()) else { break };
        interrupts::set_handler(vector, on_interrupt);
        targets.push(MessageTarget { apic_id, vector });
    }
    let (mut transport, is_connected) = found.connect_messages(&targets);
    transport.use_config_message(None);
    if targets.is_empty() || !is_connected {
        log::warn!("a block device has no interrupt, and is not used");
        return None;
    }
    let vectors = targets.iter().map(|target| target.vector).collect();
    Some(Connected { transport, has_line: false, vectors })
}

/// Makes the queues; answers how many segments a request may have with them.
#[inline(never)]
fn make_queues(transport: &mut AnyTransport, features: Features, count: usize) -> Option<(Box<[RequestQueue]>, usize)> {
    let has_indirect = features.contains(Features::INDIRECT);
    let agreed = QueueFeatures { has_event_index: features.contains(Features::EVENT_INDEX), has_indirect };
    let mut segments_max = SEGMENTS_MAX;
    let mut queues = Vec::new();
    for number in 0..u16::try_from(count).ok()? {
        transport.use_message(Some(number));
        let memory = RingMemory::set_up(transport, number, QUEUE_LEN_MAX)?;
        if memory.len() < QUEUE_LEN_MIN {
            return None;
        }
        if !has_indirect {
            segments_max = segments_max.min(usize::from(memory.len()) - OWN_BUFFERS);
        }
        let notifier = transport.notifier(number)?;
        queues.push(RequestQueue::new(memory, notifier, agreed)?);
    }
    (!queues.is_empty()).then(|| (queues.into_boxed_slice(), segments_max))
}

/// A field of the configuration; zeroes where the device has none.
fn read<T: FromBytes + IntoBytes>(transport: &AnyTransport, offset: usize) -> T {
    transport.read_config_space(offset).unwrap_or_else(|_| T::new_zeroed())
}

/// What the device takes, by what it says; what it says is not believed beyond reason.
fn limits(transport: &AnyTransport, features: Features) -> Limits {
    let told = |feature: Features, offset: usize| features.contains(feature).then(|| read::<u32>(transport, offset));
    let block_len = told(Features::BLOCK_LEN, config::BLOCK_LEN).and_then(|len| usize::try_from(len).ok());
    let is_sane = |len: &usize| len.is_power_of_two() && (SECTOR_LEN..=PAGE_BYTES).contains(len);
    let logical_block_len = block_len.filter(is_sane).unwrap_or(SECTOR_LEN);
    let exponent = if features.contains(Features::TOPOLOGY) {
        u32::from(read::<u8>(transport, config::PHYSICAL_BLOCK_EXPONENT)).min(12)
    } else {
        0
    };
    let segments = told(Features::SEGMENTS_MAX, config::SEGMENTS_MAX).and_then(|count| usize::try_from(count).ok());
    let discard = told(Features::DISCARD, config::DISCARD_SECTORS_MAX);
    let zeroes = told(Features::WRITE_ZEROES, config::WRITE_ZEROES_SECTORS_MAX);
    let range = [discard, zeroes].into_iter().flatten().min().unwrap_or(0);
    Limits {
        sectors: capacity(transport),
        logical_block_len,
        physical_block_len: logical_block_len << exponent,
        segments_max: segments.unwrap_or(1).max(1),
        data_sectors_max: DATA_SECTORS_MAX,
        range_sectors_max: u64::from(range).max((logical_block_len / SECTOR_LEN) as u64),
    }
}

/// The size, which is read in two halves: the device does not change it here.
fn capacity(transport: &AnyTransport) -> u64 {
    let [low, high] = [0, 4].map(|half| u64::from(read::<u32>(transport, config::CAPACITY + half)));
    low | high << 32
}

fn block_features(features: Features) -> block::Features {
    block::Features {
        is_read_only: features.contains(Features::READ_ONLY),
        has_volatile_cache: features.contains(Features::FLUSH),
        // Virtio has no such writes.
        can_force: false,
        can_discard: features.contains(Features::DISCARD),
        can_write_zeroes: features.contains(Features::WRITE_ZEROES),
    }
}

/// The handler of all interrupts of devices of this kind.
fn on_interrupt(vector: u8) {
    let Some(Target { disk, queue }) = TARGETS.get(vector) else { return };
    let was_any = match queue {
        Some(number) => disk.queues.get(*number).is_some_and(RequestQueue::complete),
        None => {
            // A line stays active until the device is asked why.
            disk.transport.lock().ack_interrupt();
            disk.complete_all()
        }
    };
    if was_any {
        disk.room.wake(u32::MAX);
    }
}
