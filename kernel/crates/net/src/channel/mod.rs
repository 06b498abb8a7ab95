//! Channels: from the interrupt to whoever reads a flow.
//!
//! - [`Packet`]: a frame whose flow is known.
//! - [`Flow`]: what takes the packets of a key. Its queue is a `sync::BatchQueue`: any context appends, whoever holds the flow's lock takes
//!   all there is.
//! - [`FlowTable`]: flows by their keys.
//! - [`FlowState`]: what the stack keeps in each flow, so that nothing is allocated when packets come.

mod table;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use abi::Errno;
use sync::batch_queue::Entry;
use sync::machine::NEVER;

use crate::classify::Layout;
use crate::frame::{Payload, ReceivedFrame};
use crate::tcp::TcpSocket;
use crate::{FlowKey, Stack, room};

pub use table::FlowTable;

/// Packets that wait in the queue of one flow. More are dropped, and the sender slows down.
pub const FLOW_PACKETS_MAX: usize = 256;

/// A frame on its way to its flow.
#[derive(Debug)]
pub struct Packet {
    /// The frame, from its link header on.
    pub frame: ReceivedFrame,
    /// Where its headers are.
    pub layout: Layout,
    /// Both ends.
    pub key: FlowKey,
    /// The number of the interface where it came in.
    pub interface: u32,
    /// When it came: whoever takes it later measures from then.
    pub received_ns: u64,
    /// The same by the wall clock, if its socket wants to know; else 0.
    pub realtime_ns: u64,
    /// How many its socket had lost before it, if it wants to know.
    pub lost_before: u32,
}

impl Packet {
    /// A packet as it comes in.
    #[inline]
    pub(crate) fn new(frame: ReceivedFrame, layout: Layout, key: FlowKey, interface: u32, received_ns: u64) -> Self {
        Self { frame, layout, key, interface, received_ns, realtime_ns: 0, lost_before: 0 }
    }

    /// The same with bytes of its own. `ENOBUFS`.
    pub(crate) fn copy(&self) -> Result<Self, Errno> {
        let bytes = room::copy_of(self.frame.pieces(), self.frame.len())?;
        let mut frame = ReceivedFrame::new(Payload::from(bytes));
        frame.checksum = self.frame.checksum;
        let Self { layout, key, interface, received_ns, realtime_ns, lost_before, .. } = *self;
        Ok(Self { frame, layout, key, interface, received_ns, realtime_ns, lost_before })
    }
}

/// A packet with its place in queues: it is not moved from the interrupt to the reader.
pub type QueuedPacket = Box<Entry<Packet>>;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It waits, and [`Flow::wake`] is wanted.
    Wake,
    /// It waits for the next look at the flow: nobody can do anything with it now.
    Quiet,
    /// It was dropped.
    Dropped,
}

/// What the stack keeps of a flow.
#[derive(Debug)]
pub struct FlowState {
    /// In the list of flows to be woken at the end of a batch.
    pub(crate) is_in_batch: AtomicBool,
    /// A worker will look whether anybody has taken its packets.
    pub(crate) is_watched: AtomicBool,
    /// When a worker polls it; [`NEVER`] while none is to.
    pub(crate) timer_ns: AtomicU64,
    /// Whose worker has its timers; [`NO_CPU`] before the first.
    pub(crate) timer_cpu: AtomicU32,
}

/// No CPU has this number.
pub(crate) const NO_CPU: u32 = u32::MAX;

impl Default for FlowState {
    fn default() -> Self {
        Self {
            is_in_batch: AtomicBool::new(false),
            is_watched: AtomicBool::new(false),
            timer_ns: AtomicU64::new(NEVER),
            timer_cpu: AtomicU32::new(NO_CPU),
        }
    }
}

/// An error that the network reports for a packet that was sent.
#[derive(Clone, Copy, Debug)]
pub struct ErrorReport<'a> {
    /// What programs see of it.
    pub errno: Errno,
    /// It will not be better the next time.
    pub is_hard: bool,
    /// The largest packet that would arrive.
    pub mtu: Option<u16>,
    /// `SO_EE_ORIGIN_`: 1 this machine, 2 ICMP, 3 ICMP for IPv6.
    pub origin: u8,
    /// ICMP type.
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// Who reports it.
    pub offender: Option<core::net::IpAddr>,
    /// The flow of the packet.
    pub key: FlowKey,
    /// What is left of its payload.
    pub payload: &'a [u8],
}

/// What takes the packets of a key: a connection, a datagram socket.
pub trait Flow: Send + Sync {
    /// Queues a packet. In an interrupt: neither sleeps nor does more.
    fn push(&self, packet: QueuedPacket) -> Delivery;

    /// Wakes who waits for packets, once after a batch. In an interrupt.
    fn wake(&self);

    /// In a worker: takes what nobody has taken in time, or what a timer is for. Answers when it wants this again; [`NEVER`] for never.
    fn work(self: Arc<Self>, stack: &Arc<Stack>, now_ns: u64) -> u64;

    /// Sends what it holds back ([`crate::held`]), if it still does. It is in no list of such flows any more.
    fn release(&self) {}

    /// Whether packets wait.
    fn has_packets(&self) -> bool;

    /// The network reports that a packet of this flow did not arrive. In a worker. `is_hard`: it never will. `mtu`: the largest packet that would.
    fn network_error(&self, errno: Errno, is_hard: bool, mtu: Option<u16>) {
        let _ = (errno, is_hard, mtu);
    }

    /// As [`Flow::network_error`], with all that is known of the error.
    fn report(&self, report: &ErrorReport<'_>) {
        self.network_error(report.errno, report.is_hard, report.mtu);
    }

    /// The stack's part.
    fn state(&self) -> &FlowState;

    /// Itself, if it is a connection.
    fn connection(&self) -> Option<&TcpSocket> {
        None
    }
}
