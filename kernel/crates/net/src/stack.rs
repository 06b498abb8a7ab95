//! [`Stack`]: one machine's network.
//!
//! What comes in is sorted here ([`Stack::receive`]); what it becomes is the business of flows and of the control worker. The workers, one a CPU, are in
//! [`crate::worker`].

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use sync::batch_queue::Entry;
use sync::{Once, machine, rcu};

use crate::channel::{Delivery, Flow, FlowTable, Packet, QueuedPacket};
use crate::classify::{Class, Defect, classify};
use crate::control::Control;
use crate::counters::{Counter, MibCounters};
use crate::flow_key::{FlowKey, protocol};
use crate::frame::ReceivedFrame;
use crate::interface::{Interface, Interfaces};
use crate::socket::raw::RawTable;
use crate::socket::udp::UdpTable;
use crate::socket::unix::Names;
use crate::tcp::Tcp;
use crate::vsock::Vsock;
use crate::worker::Worker;

/// Frames that are taken before anybody is woken.
pub const BATCH_MAX: usize = 64;

/// What waits to be read in all TCP connections takes at most this part of memory.
const RECEIVE_MEMORY_PART: usize = 8;
/// What is left to be sent in connections that no program has any more, this one.
const ORPHAN_MEMORY_PART: usize = 16;
/// What waits to be read in all connections of `AF_VSOCK`, this one.
const VSOCK_MEMORY_PART: usize = 8;
/// And fragments that wait for others this one.
const FRAGMENT_MEMORY_PART: usize = 32;

/// What became of the frames that came in.
#[derive(Debug, Default)]
pub struct StackCounters {
    /// Packets that went to a flow.
    pub delivered: AtomicU64,
    /// Packets that went to a control worker.
    pub control: AtomicU64,
    /// Packets that found the queue of their flow full.
    pub flow_drops: AtomicU64,
    /// Packets that found the queue of the control worker full.
    pub control_drops: AtomicU64,
    /// Malformed frames, in the order of [`Defect`].
    pub malformed: [AtomicU64; 4],
}

/// One machine's network: interfaces, flows, ports. A kernel has one, tests have several.
pub struct Stack {
    interfaces: Interfaces,
    flows: FlowTable,
    unix_names: Names,
    tcp: Tcp,
    workers: Box<[Worker]>,
    counters: StackCounters,
    control: Control,
    mib: MibCounters,
    starter: Once<fn()>,
    is_in_use: AtomicBool,
    udp: UdpTable,
    raw: RawTable,
    vsock: Vsock,
}

impl Stack {
    /// A network with a loopback interface, for a machine with so many CPUs, each of which is to run [`Stack::work`].
    #[must_use]
    pub fn new(cpus: u32) -> Arc<Self> {
        Arc::new(Self {
            interfaces: Interfaces::new(cpus),
            flows: FlowTable::new(),
            unix_names: Names::default(),
            tcp: Tcp::new(),
            workers: (0..cpus.max(1)).map(|_| Worker::new()).collect(),
            counters: StackCounters::default(),
            control: Control::default(),
            mib: MibCounters::new(cpus),
            starter: Once::new(),
            is_in_use: AtomicBool::new(false),
            udp: UdpTable::default(),
            raw: RawTable::default(),
            vsock: Vsock::default(),
        })
    }

    /// Sets what starts the workers ([`Stack::work`]) when they are first needed: a machine without a device whose program makes no
    /// socket of the Internet families has none.
    pub fn set_starter(&self, start: fn()) {
        self.starter.call_once(|| start);
    }

    /// Says how much memory the machine has: what comes from outside may wait in a part of it. Before that, in as much as it likes.
    pub fn set_memory(&self, bytes: usize) {
        self.tcp.set_receive_memory(bytes / RECEIVE_MEMORY_PART);
        self.tcp.set_orphan_memory(bytes / ORPHAN_MEMORY_PART);
        self.vsock.set_memory(bytes / VSOCK_MEMORY_PART);
        self.control.limit_fragments(bytes / FRAGMENT_MEMORY_PART);
    }

    /// The network is going to be used. Starts its workers, once.
    pub fn note_use(&self) {
        if !self.is_in_use.load(Relaxed)
            && let Some(start) = self.starter.get()
            && !self.is_in_use.swap(true, Relaxed)
        {
            start();
        }
    }

    /// The interfaces.
    #[must_use]
    pub fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// The flows.
    #[must_use]
    pub fn flows(&self) -> &FlowTable {
        &self.flows
    }

    /// What TCP connections share.
    #[must_use]
    pub fn tcp(&self) -> &Tcp {
        &self.tcp
    }

    /// The sockets of `AF_VSOCK`.
    #[must_use]
    pub fn vsock(&self) -> &Vsock {
        &self.vsock
    }

    /// Counts of what came in.
    #[must_use]
    pub fn counters(&self) -> &StackCounters {
        &self.counters
    }

    /// The state of what belongs to no flow.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// What protocols count.
    #[must_use]
    pub fn mib(&self) -> &MibCounters {
        &self.mib
    }

    /// Who has which UDP port.
    pub(crate) fn udp(&self) -> &UdpTable {
        &self.udp
    }

    /// The raw sockets.
    pub(crate) fn raw(&self) -> &RawTable {
        &self.raw
    }

    /// Has the control worker answer a packet that nobody takes. Callable from interrupts.
    pub(crate) fn refuse(&self, packet: QueuedPacket) {
        let worker = self.own_worker();
        if worker.push_control(packet) {
            worker.wake();
        }
    }

    /// The worker of a CPU; of another one where there is no such CPU.
    pub(crate) fn worker(&self, cpu: u32) -> &Worker {
        &self.workers[cpu as usize % self.workers.len()]
    }

    /// The worker of the calling CPU, or of one that was it a moment ago.
    pub(crate) fn own_worker(&self) -> &Worker {
        self.worker(machine::current_cpu())
    }

    /// The names of sockets in the Unix domain.
    #[must_use]
    pub fn unix_names(&self) -> &Names {
        &self.unix_names
    }

    /// Takes a batch of frames of `interface`: finds whose they are and wakes each reader once. Callable from an interrupt that RCU
    /// watches, and from threads; does not sleep.
    pub fn receive(&self, interface: &Arc<Interface>, frames: &mut dyn Iterator<Item = ReceivedFrame>) {
        let received_ns = machine::now_ns();
        let section = rcu::read();
        let mut batch = Touched::new(self);
        let hears_transports = self.raw.hears_transports();
        for frame in frames {
            match classify(frame.head(), frame.len()) {
                Class::Flow(key, _) if key.is_within_machine() && !interface.is_loopback() => {
                    self.mib().count(Counter::IpInAddrErrors);
                }
                Class::Flow(key, layout) => {
                    let packet = Entry::new(Packet::new(frame, layout, key, interface.index(), received_ns));
                    if hears_transports && let Ok(copy) = packet.copy() {
                        batch.control(Entry::new(Packet { key: FOR_RAW_SOCKETS, ..copy }));
                    }
                    match self.flow_of(&key, &section) {
                        Some(flow) => batch.deliver(flow, packet),
                        None => batch.control(packet),
                    }
                }
                Class::Control(layout) => {
                    batch.control(Entry::new(Packet::new(frame, layout, NO_FLOW, interface.index(), received_ns)));
                }
                Class::Malformed(defect) => self.count_malformed(defect),
            }
        }
        batch.finish();
    }

    /// Gives a packet to its flow, outside of a batch.
    pub(crate) fn deliver(&self, flow: &Arc<dyn Flow>, packet: QueuedPacket) {
        match flow.push(packet) {
            Delivery::Dropped => drop(self.counters.flow_drops.fetch_add(1, Relaxed)),
            Delivery::Wake => flow.wake(),
            Delivery::Quiet => {}
        }
        self.watch(flow);
    }

    /// The flow for packets of a key: a connection's, or that of a datagram socket which serves the address or any.
    pub(crate) fn flow_of<'a>(&'a self, key: &FlowKey, section: &'a rcu::ReadGuard) -> Option<&'a Arc<dyn Flow>> {
        let found = self.flows.find(key, section);
        if found.is_some() || key.protocol != protocol::UDP {
            return found;
        }
        let own = FlowKey { remote: 0, remote_port: 0, ..*key };
        self.flows.find(&own, section).or_else(|| self.flows.find(&FlowKey { local: 0, ..own }, section))
    }

    fn count_malformed(&self, defect: Defect) {
        let place = match defect {
            Defect::Truncated => 0,
            Defect::Header => 1,
            Defect::Checksum => 2,
            Defect::Unknown => 3,
        };
        self.counters.malformed[place].fetch_add(1, Relaxed);
    }
}

/// The key of packets for the control worker.
const NO_FLOW: FlowKey = FlowKey { local: 0, remote: 0, local_port: 0, remote_port: 0, protocol: 0 };
/// The key of copies of packets that went to their flows, for raw sockets of TCP and UDP. No packet has this protocol.
pub(crate) const FOR_RAW_SOCKETS: FlowKey = FlowKey { protocol: u8::MAX, ..NO_FLOW };

/// The flows that a batch has touched so far.
struct Touched<'a> {
    stack: &'a Stack,
    flows: [Option<&'a Arc<dyn Flow>>; BATCH_MAX],
    count: usize,
    delivered: u64,
    controlled: u64,
}

impl<'a> Touched<'a> {
    fn new(stack: &'a Stack) -> Self {
        Self { stack, flows: [None; BATCH_MAX], count: 0, delivered: 0, controlled: 0 }
    }

    fn deliver(&mut self, flow: &'a Arc<dyn Flow>, packet: QueuedPacket) {
        let state = flow.state();
        match flow.push(packet) {
            Delivery::Dropped => {
                self.stack.counters.flow_drops.fetch_add(1, Relaxed);
                return;
            }
            Delivery::Wake if !state.is_in_batch.swap(true, Relaxed) => {
                if self.count == self.flows.len() {
                    self.wake();
                }
                self.flows[self.count] = Some(flow);
                self.count += 1;
            }
            Delivery::Wake | Delivery::Quiet => {}
        }
        self.delivered += 1;
        if !state.is_watched.load(Relaxed) {
            self.stack.watch(flow);
        }
    }

    fn control(&mut self, packet: QueuedPacket) {
        if self.stack.own_worker().push_control(packet) {
            self.controlled += 1;
        } else {
            self.stack.counters.control_drops.fetch_add(1, Relaxed);
        }
    }

    #[inline]
    fn wake(&mut self) {
        for flow in self.flows.iter_mut().take(self.count).filter_map(Option::take) {
            flow.state().is_in_batch.store(false, Relaxed);
            flow.wake();
        }
        self.count = 0;
    }

    fn finish(mut self) {
        self.wake();
        if self.delivered > 0 {
            self.stack.counters.delivered.fetch_add(self.delivered, Relaxed);
        }
        if self.controlled > 0 {
            self.stack.counters.control.fetch_add(self.controlled, Relaxed);
            self.stack.own_worker().wake();
        }
    }
}
