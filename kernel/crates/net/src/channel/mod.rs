//! Channels: from the interrupt to whoever reads a flow.

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::classify::Layout;
use crate::frame::ReceivedFrame;
use crate::interface::Interface;
use crate::{FlowKey, Stack};

/// A frame on its way to its flow.
pub struct Packet {
    /// The frame, from its link header on.
    pub frame: ReceivedFrame,
    /// Where its headers are.
    pub layout: Layout,
    /// Both ends.
    pub key: FlowKey,
    /// Where it came in.
    pub interface: Arc<Interface>,
}

/// What takes the packets of a key: a connection, a listener, a datagram socket.
pub trait Flow: Send + Sync {
    /// Queues a packet; `Err` gives it back when the queue is full. In an interrupt: neither sleeps nor frees much.
    fn push(&self, packet: Box<Packet>) -> Result<(), Box<Packet>>;

    /// Wakes who waits for packets, once after a batch.
    fn wake(&self);

    /// In the worker: takes what nobody has taken in time, or what a timer is for. Answers when it wants to be polled again.
    fn poll(self: Arc<Self>, stack: &Stack, now_ns: u64) -> u64;
}

/// All flows by their keys, found under RCU.
#[derive(Default)]
pub struct FlowTable {}

impl FlowTable {
    /// No flows.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }

    /// Enters a flow. False: the key is taken.
    pub fn insert(&self, key: FlowKey, flow: &Arc<dyn Flow>) -> bool {
        let _ = (key, flow);
        false
    }

    /// Takes a flow out. May sleep.
    pub fn remove(&self, key: &FlowKey) {
        let _ = key;
    }

    /// The flow of a key.
    #[must_use]
    pub fn get(&self, key: &FlowKey) -> Option<Arc<dyn Flow>> {
        let _ = key;
        None
    }
}
