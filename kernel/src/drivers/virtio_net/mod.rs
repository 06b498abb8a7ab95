//! The virtio network device: a pair of queues for each CPU, frames without copies.
//!
//! - [`receive`], [`transmit`]: the queues of a pair. [`control`]: the command that sets how many there are.
//! - *Interrupts.* On PCI each pair has a message, which goes to its CPU, and the device itself has one for changes of the link, which goes
//!   to the CPU that started it. A device in memory has one line for all, and one pair.
//! - *On an idle CPU* the pair is looked at for a while, and does not interrupt: [`idle`].
//! - *Under load* a full batch ends interrupts, and the worker of the CPU takes the rest ([`net::Nic::poll`]).
//!
//! The device is not trusted: what it returns is checked (`devices::split_queue`), and a queue it breaks stands still for ever.
//!
//! Locks: `DRIVER` around the receiving queues and the transport, `DEVICE` around the sending queues.

mod control;
pub(super) mod idle;
mod receive;
mod transmit;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use devices::virtio_net::{Features, config, queues_of_pair};
use net::interface::Interface;
use net::nic::{NicCounters, NicFeatures, NicProperties};
use net::stack::BATCH_MAX;
use net::{Nic, Stack, TransmitFrame};
use sync::{IrqSpinLock, Once, rank, rcu};
use virtio_drivers::transport::{DeviceStatus, InterruptStatus, Transport};

use super::virtio::{AnyTransport, BUFFER_BYTES, BufferQueue, Found, MessageTarget, RingMemory, Targets};
use crate::arch::percpu::PerCpu;
use crate::arch::{interrupts, smp};
use crate::memory::frames;
use control::ControlQueue;
use receive::Receive;
use transmit::{PIECES_MAX, Transmit};

/// Descriptors of a queue.
const QUEUE_LEN_MAX: u16 = 256;
/// Shorter queues would not hold the longest frames.
const QUEUE_LEN_MIN: u16 = 32;
/// One part in so many of the machine's memory may lie in the receiving queues of a device.
const MEMORY_SHARE: u64 = 32;
/// Pairs of queues of a device.
const PAIRS_MAX: u16 = 64;
/// Buffers that an interrupt takes before it leaves the rest to the worker.
const INTERRUPT_BUDGET: usize = BATCH_MAX;
/// The largest packet, where the device does not tell.
const MTU_DEFAULT: u16 = 1500;
/// The smallest that a network of either family may have (RFC 791).
const MTU_MIN: u16 = 68;
const LINK_HEADER_BYTES: usize = 14;

/// Whom an interrupt is for, by vector.
static TARGETS: Targets<Target> = Targets::new();

/// Whom an interrupt is for.
struct Target {
    nic: Arc<VirtioNet>,
    /// The pair; `None` for changes of the device itself, and, where there is a line, for all.
    pair: Option<u16>,
}

/// A network device.
pub(crate) struct VirtioNet {
    properties: NicProperties,
    has_status: bool,
    /// The interrupt is a line, which is active until the device is asked why.
    has_line: bool,
    transport: IrqSpinLock<AnyTransport>,
    pairs: Box<[Pair]>,
    is_link_up: AtomicBool,
    /// Whom frames go to.
    attachment: Once<(Arc<Stack>, Arc<Interface>)>,
    interrupts: AtomicU64,
    polls: AtomicU64,
}

struct Pair {
    /// Where its interrupts go.
    cpu: u32,
    receive: Receive,
    transmit: Transmit,
}

impl Pair {
    #[inline(never)]
    fn add_counters(&self, sum: &mut NicCounters) {
        let (received, sent) = (self.receive.counts(), self.transmit.counts());
        sum.received_frames += received.frames.load(Relaxed);
        sum.received_bytes += received.bytes.load(Relaxed);
        sum.receive_drops += received.drops.load(Relaxed);
        sum.sent_frames += sent.frames.load(Relaxed);
        sum.sent_bytes += sent.bytes.load(Relaxed);
        sum.transmit_drops += sent.drops.load(Relaxed);
        sum.kicks += received.kicks.load(Relaxed) + sent.kicks.load(Relaxed);
    }
}

impl VirtioNet {
    /// Takes a device, which does not begin yet. `None`, and a word in the log, if it cannot be used.
    #[inline(never)]
    pub(super) fn new(mut found: Found) -> Option<Arc<Self>> {
        let transport = found.transport();
        let wanted = Features::from_bits_truncate(transport.read_device_features()).usable();
        if !wanted.contains(Features::VERSION_1) {
            log::warn!("a network device speaks only the old interface of virtio");
            return None;
        }
        let features = transport.begin_init(wanted);
        if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
            log::warn!("a network device does not take {features:?}");
            return None;
        }
        let pairs_offered = pairs_offered(transport, features);
        let cpus = u16::try_from(smp::count()).unwrap_or(u16::MAX);
        let wanted = pairs_offered.min(cpus).min(PAIRS_MAX);
        let connected = connect(found, wanted)?;
        Self::start(connected, features, pairs_offered)
    }

    /// Makes the queues and lets the device start. Interrupts may come afterwards, but none has been asked for.
    #[inline(never)]
    fn start(connected: Connected, features: Features, pairs_offered: u16) -> Option<Arc<Self>> {
        let Connected { mut transport, has_line, vectors, config_vector } = connected;
        let made = make_queues(&mut transport, features, vectors.len(), pairs_offered);
        let Some((pairs, mut control)) = made else {
            // Before the memory of the queues made so far is used for something else.
            transport.set_status(DeviceStatus::empty());
            log::warn!("a network device cannot be used: no queues, or not enough memory");
            return None;
        };
        transport.finish_init();
        let count = u16::try_from(pairs.len()).unwrap_or(1);
        if let Some(control) = control.as_mut()
            && !control.use_queue_pairs(&transport, count)
        {
            log::warn!("a network device keeps to one pair of queues");
        }
        // The device may look at the queue as long as it runs.
        core::mem::forget(control);
        let properties = NicProperties {
            mac: transport.read_config_space(config::MAC).unwrap_or_default(),
            mtu: mtu(&transport, features),
            features: nic_features(features),
            queues: count,
            pieces_max: PIECES_MAX,
        };
        let nic = Arc::new(Self {
            properties,
            has_status: features.contains(Features::STATUS),
            has_line,
            transport: IrqSpinLock::new(rank::DRIVER, transport),
            pairs,
            is_link_up: AtomicBool::new(true),
            attachment: Once::new(),
            interrupts: AtomicU64::new(0),
            polls: AtomicU64::new(0),
        });
        nic.look_at_link();
        idle::watch(&nic);
        for (pair, vector) in (0..).zip(vectors) {
            set_target(vector, &nic, Some(pair).filter(|_| !has_line));
        }
        if let Some(vector) = config_vector {
            set_target(vector, &nic, None);
        }
        Some(nic)
    }

    /// From now on frames that come go to `interface` of `stack`. Its workers run.
    pub(crate) fn attach(&self, stack: &Arc<Stack>, interface: &Arc<Interface>) {
        self.attachment.call_once(|| (Arc::clone(stack), Arc::clone(interface)));
        for pair in &self.pairs {
            pair.receive.start();
        }
    }

    fn look_at_link(&self) {
        if self.has_status {
            let status = self.transport.lock().read_config_space::<u16>(config::STATUS);
            self.is_link_up.store(status.is_ok_and(|status| status & config::LINK_IS_UP != 0), Relaxed);
        }
    }

    /// The device itself has changed.
    fn on_change(&self) {
        let before = self.is_link_up.load(Relaxed);
        self.look_at_link();
        if let Some((stack, _)) = self.attachment.get()
            && before != self.is_link_up.load(Relaxed)
        {
            stack.note_link_change();
        }
    }

    /// A pair has something. In an interrupt that RCU watches.
    fn on_pair(&self, number: u16) {
        let (Some(pair), Some((stack, interface))) = (self.pairs.get(usize::from(number)), self.attachment.get())
        else {
            return;
        };
        let has_more = pair.receive.take(INTERRUPT_BUDGET, &mut |frames| stack.receive(interface, frames));
        if has_more || pair.transmit.is_waiting() {
            stack.request_poll(pair.cpu, interface, number);
        }
    }
}

impl Nic for VirtioNet {
    fn properties(&self) -> NicProperties {
        self.properties
    }

    fn is_link_up(&self) -> bool {
        self.is_link_up.load(Relaxed)
    }

    fn counters(&self) -> NicCounters {
        let mut sum = NicCounters {
            interrupts: self.interrupts.load(Relaxed),
            polls: self.polls.load(Relaxed),
            ..NicCounters::default()
        };
        for pair in &self.pairs {
            pair.add_counters(&mut sum);
        }
        sum
    }

    fn pair_counters(&self, pair: u16) -> NicCounters {
        let mut counters = NicCounters::default();
        if let Some(pair) = self.pairs.get(usize::from(pair)) {
            pair.add_counters(&mut counters);
        }
        counters
    }

    fn transmit(&self, frames: &mut Vec<TransmitFrame>) {
        let index = PerCpu::number() as usize % self.pairs.len();
        self.pairs[index].transmit.send(frames);
    }

    fn look_at_queues(&self) -> bool {
        let Ok(number) = u16::try_from(PerCpu::number() as usize % self.pairs.len()) else { return false };
        let pair = &self.pairs[usize::from(number)];
        let is_sending = pair.transmit.look();
        let (is_receiving, has_untold) = pair.receive.look();
        if let Some((stack, interface)) = self.attachment.get()
            && has_untold
        {
            stack.request_poll(pair.cpu, interface, number);
        }
        is_sending || is_receiving
    }

    fn poll(&self, queue: u16, budget: usize) -> bool {
        let (Some(pair), Some((stack, interface))) = (self.pairs.get(usize::from(queue)), self.attachment.get()) else {
            return false;
        };
        self.polls.fetch_add(1, Relaxed);
        if pair.transmit.is_waiting() {
            pair.transmit.flush();
        }
        pair.receive.take(budget, &mut |frames| stack.receive(interface, frames))
    }
}

/// A device with its interrupts.
struct Connected {
    transport: AnyTransport,
    has_line: bool,
    /// One for each pair, or one for all.
    vectors: Vec<u8>,
    config_vector: Option<u8>,
}

/// Gives the device its interrupts: for `pairs` pairs, or for fewer.
#[inline(never)]
fn connect(found: Found, pairs: u16) -> Option<Connected> {
    let Some(messages) = found.messages_max() else {
        let vector = interrupts::allocate_vector()?;
        let (transport, is_connected) = found.connect_at(vector, on_interrupt);
        return warn_without(
            is_connected,
            Connected { transport, has_line: true, vectors: alloc::vec![vector], config_vector: None },
        );
    };
    let pairs = pairs.min(messages.saturating_sub(1));
    let mut targets = Vec::new();
    for cpu in (0..u32::from(pairs)).chain([0]) {
        let (Some(apic_id), Some(vector)) = (smp::apic_id(cpu), interrupts::allocate_vector()) else { break };
        interrupts::set_handler(vector, on_interrupt);
        targets.push(MessageTarget { apic_id, vector });
    }
    let (mut transport, is_connected) = found.connect_messages(&targets);
    let config_vector = if targets.len() > 1 { targets.pop().map(|target| target.vector) } else { None };
    transport.use_config_message(config_vector.and(u16::try_from(targets.len()).ok()));
    let vectors: Vec<u8> = targets.iter().map(|target| target.vector).collect();
    warn_without(is_connected && !vectors.is_empty(), Connected { transport, has_line: false, vectors, config_vector })
}

fn warn_without(is_connected: bool, connected: Connected) -> Option<Connected> {
    if !is_connected {
        log::warn!("a network device has no interrupt, and is not used");
    }
    is_connected.then_some(connected)
}

/// Makes the queues of so many pairs, and the control queue if there is more than one.
#[inline(never)]
fn make_queues(
    transport: &mut AnyTransport,
    features: Features,
    pairs: usize,
    pairs_offered: u16,
) -> Option<(Box<[Pair]>, Option<ControlQueue>)> {
    let share = frames::total() / MEMORY_SHARE / pairs.max(1) as u64;
    let buffers_max = usize::try_from(share).unwrap_or(usize::MAX).max(usize::from(QUEUE_LEN_MIN));
    let has_event_index = features.contains(Features::EVENT_INDEX);
    let mut made = Vec::new();
    for number in 0..u16::try_from(pairs).ok()? {
        let (receive, send) = queues_of_pair(number)?;
        transport.use_message(Some(number));
        let mut memory =
            |queue| RingMemory::set_up(transport, queue, QUEUE_LEN_MAX).filter(|memory| memory.len() >= QUEUE_LEN_MIN);
        let (receive_memory, send_memory) = (memory(receive)?, memory(send)?);
        let buffers = BufferQueue::new(receive_memory, has_event_index)?;
        let is_mergeable = features.contains(Features::MERGEABLE_BUFFERS);
        made.push(Pair {
            cpu: u32::from(number),
            receive: Receive::new(buffers, transport.notifier(receive)?, is_mergeable, buffers_max)?,
            transmit: Transmit::new(send_memory, transport.notifier(send)?, features)?,
        });
    }
    let control = match pairs {
        0 | 1 => None,
        _ => Some(ControlQueue::new(transport, pairs_offered.checked_mul(2)?, has_event_index)?),
    };
    (!made.is_empty()).then(|| (made.into_boxed_slice(), control))
}

fn pairs_offered(transport: &AnyTransport, features: Features) -> u16 {
    if !features.contains(Features::MULTIQUEUE) {
        return 1;
    }
    transport.read_config_space(config::QUEUE_PAIRS_MAX).unwrap_or(1).max(1)
}

fn mtu(transport: &AnyTransport, features: Features) -> u16 {
    let told = features.contains(Features::MTU).then(|| transport.read_config_space(config::MTU).ok()).flatten();
    let mtu = told.unwrap_or(MTU_DEFAULT).max(MTU_MIN);
    if features.contains(Features::MERGEABLE_BUFFERS) {
        return mtu;
    }
    // A frame must fit one buffer.
    let room = BUFFER_BYTES - devices::virtio_net::HEADER_LEN - LINK_HEADER_BYTES;
    mtu.min(u16::try_from(room).unwrap_or(MTU_DEFAULT))
}

fn nic_features(features: Features) -> NicFeatures {
    let pairs = [
        (Features::CHECKSUM, NicFeatures::TRANSMIT_CHECKSUM),
        (Features::HOST_TSO4, NicFeatures::SEGMENT_TCP4),
        (Features::HOST_TSO6, NicFeatures::SEGMENT_TCP6),
        (Features::GUEST_CHECKSUM, NicFeatures::RECEIVE_CHECKSUM),
        (Features::GUEST_TSO4, NicFeatures::RECEIVE_LARGE),
    ];
    let has = |(feature, _): &(Features, NicFeatures)| features.contains(*feature);
    pairs.into_iter().filter(has).map(|(_, feature)| feature).collect()
}

fn set_target(vector: u8, nic: &Arc<VirtioNet>, pair: Option<u16>) {
    TARGETS.add(vector, Target { nic: Arc::clone(nic), pair });
}

/// The handler of all interrupts of devices of this kind.
fn on_interrupt(vector: u8) {
    let Some(Target { nic, pair }) = TARGETS.get(vector) else { return };
    nic.interrupts.fetch_add(1, Relaxed);
    watched_by_rcu(|| match pair {
        Some(number) => nic.on_pair(*number),
        None if nic.has_line => {
            let reason = nic.transport.lock().ack_interrupt();
            if reason.contains(InterruptStatus::DEVICE_CONFIGURATION_INTERRUPT) {
                nic.on_change();
            }
            nic.on_pair(0);
        }
        None => nic.on_change(),
    });
}

/// Runs what reads under RCU in an interrupt, which may have hit an idle CPU, for which nobody waits otherwise.
fn watched_by_rcu(action: impl FnOnce()) {
    // The first CPU is none while it boots, though it has no thread yet: it may have been interrupted where it reads.
    let idle = Some(PerCpu::number()).filter(|cpu| rcu::is_idle(*cpu));
    if let Some(cpu) = idle {
        rcu::idle_exit(cpu);
    }
    action();
    if let Some(cpu) = idle {
        rcu::idle_enter(cpu);
    }
}
