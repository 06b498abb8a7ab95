//! [`Device`]: the way to the host, and [`Service`], which has a worker look at it.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use sync::machine::NEVER;

use super::packet::Packet;
use crate::Stack;
use crate::channel::{Delivery, Flow, FlowState, QueuedPacket};

/// How long a device waits for memory before it is looked at again.
const MEMORY_WAIT_NS: u64 = 10_000_000;

/// What became of a look at what has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// There is nothing any more; an interrupt tells of what comes next.
    Nothing,
    /// There may be more.
    More,
    /// There may be, but no memory for it.
    Short,
}

impl Taking {
    pub(super) fn again_ns(self, now_ns: u64) -> u64 {
        match self {
            Self::Nothing => NEVER,
            // Whoever else is due comes first.
            Self::More => now_ns.saturating_add(1),
            Self::Short => now_ns.saturating_add(MEMORY_WAIT_NS),
        }
    }
}

/// A virtio socket device. Its driver calls [`super::Vsock::note_interrupt`].
///
/// All methods are called in threads, without spinlocks.
pub trait Device: Send + Sync {
    /// This machine's CID, which changes when the machine moves.
    fn cid(&self) -> u32;

    /// Whether it carries `SOCK_SEQPACKET`.
    fn has_messages(&self) -> bool;

    /// The most bytes of a packet that it sends.
    fn payload_len_max(&self) -> usize;

    /// Takes a packet to send it, of which [`Device::kick`] tells the device; gives it back if there is no room. An
    /// interrupt comes when there is some.
    fn send(&self, packet: Packet) -> Result<(), Packet>;

    /// Tells the device of packets.
    fn kick(&self);

    /// Gives a batch of packets that have come to `sink`, none of which came behind what [`Device::take_reset`] has still
    /// to tell.
    fn take(&self, sink: &mut dyn FnMut(&[u8])) -> Taking;

    /// Whether the device has said since the last call that all connections are lost.
    fn take_reset(&self) -> bool;
}

/// The worker's business with the device, in the form of a flow.
#[derive(Default)]
pub(super) struct Service {
    state: FlowState,
    /// A worker will look.
    is_poked: AtomicBool,
}

impl Service {
    /// Whether nobody has had a worker look yet.
    pub(super) fn is_to_be_poked(&self) -> bool {
        !self.is_poked.swap(true, Ordering::AcqRel)
    }
}

impl Flow for Service {
    fn push(&self, packet: QueuedPacket) -> Delivery {
        drop(packet);
        Delivery::Dropped
    }

    fn wake(&self) {}

    fn work(self: Arc<Self>, stack: &Arc<Stack>, now_ns: u64) -> u64 {
        self.is_poked.store(false, Ordering::SeqCst);
        stack.vsock().serve(stack, now_ns)
    }

    fn has_packets(&self) -> bool {
        false
    }

    fn state(&self) -> &FlowState {
        &self.state
    }
}
