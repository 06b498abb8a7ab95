//! The control queue: the one command that is given, at start-up.

use devices::split_queue::{Buffer, SplitQueue};
use devices::virtio_net::{COMMAND_IS_DONE, COMMAND_QUEUE_PAIRS};

use super::super::hal::DmaBuffer;
use super::super::virtio::{AnyTransport, RingMemory};
use crate::arch::clock;

/// Descriptors of the queue.
const LEN_MAX: u16 = 4;
/// How long a device may think about a command.
const PATIENCE_NS: u64 = 1_000_000_000;
/// An answer that no device gives.
const NO_ANSWER: u8 = 0xaa;

/// The control queue, before its device has started.
pub(super) struct ControlQueue {
    index: u16,
    memory: RingMemory,
    queue: SplitQueue<()>,
    buffer: DmaBuffer,
}

impl ControlQueue {
    /// Sets queue `index` up. `None`: there is none, or memory is out.
    pub(super) fn new(transport: &mut AnyTransport, index: u16, has_event_index: bool) -> Option<Self> {
        transport.use_message(None);
        let memory = RingMemory::set_up(transport, index, LEN_MAX)?;
        let queue = SplitQueue::new(memory.len(), has_event_index)?;
        Some(Self { index, memory, queue, buffer: DmaBuffer::new(COMMAND_QUEUE_PAIRS.len() + 3)? })
    }

    /// Has the device use so many pairs of queues. False: it does not.
    pub(super) fn use_queue_pairs(&mut self, transport: &AnyTransport, pairs: u16) -> bool {
        let Some(notifier) = transport.notifier(self.index) else { return false };
        let ([class, command], [low, high]) = (COMMAND_QUEUE_PAIRS, pairs.to_le_bytes());
        self.buffer.write(0, &[class, command, low, high, NO_ANSWER]);
        let start = self.buffer.physical();
        let buffers = [
            Buffer { address: start, len: 4, is_writable: false },
            Buffer { address: start + 4, len: 1, is_writable: true },
        ];
        self.queue.disable_interrupts(&self.memory);
        if self.queue.add(&self.memory, buffers.into_iter(), ()).is_err() {
            return false;
        }
        self.queue.publish(&self.memory);
        notifier.notify();
        let end_ns = clock::now_ns().saturating_add(PATIENCE_NS);
        while self.queue.take_used(&self.memory).is_none() {
            if clock::now_ns() > end_ns {
                return false;
            }
            core::hint::spin_loop();
        }
        let mut answer = [NO_ANSWER];
        self.buffer.read(4, &mut answer);
        answer == [COMMAND_IS_DONE]
    }
}
