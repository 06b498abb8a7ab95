//! One port of the console: its buffers in both directions, and who has it open.
//!
//! Receiving: while nobody has unread bytes the device may interrupt; from then on the reader looks by itself, and asks for
//! interrupts again when it finds nothing. Buffers go back to the device in batches, at the latest when there is nothing
//! to read. Sending: bytes go into a ring that the device empties without interrupting, until somebody waits for room.

use alloc::sync::Arc;

use abi::PollEvents;
use devices::console::{self, NAME_LEN_BYTES_MAX};
use devices::receive_ring::ReceiveRing;
use devices::transmit_ring::TransmitRing;

use crate::drivers::hal::DmaBuffer;
use crate::drivers::virtio::{AnyTransport, QUEUE_LEN, Queue};

/// Bytes of one receive buffer: QEMU fills one at a time with at most as much.
const INPUT_LEN: usize = 4096;
/// Receive buffers of a port that carries a stream.
const INPUT_COUNT: usize = 16;
/// Returned buffers of which the device is told.
const INPUT_BATCH: usize = INPUT_COUNT / 2;
/// Bytes that can be on their way, for a port that little was written to so far.
const OUTPUT_LEN_SMALL: usize = 4096;
/// The same for a port that big pieces are written to.
const OUTPUT_LEN_LARGE: usize = 128 << 10;

const _: () = assert!(INPUT_COUNT <= QUEUE_LEN && INPUT_COUNT <= devices::receive_ring::BUFFERS_MAX);
const _: () = assert!(devices::transmit_ring::EXTENTS_MAX <= QUEUE_LEN);

/// The state of a port; under the console's lock.
pub(super) struct PortState {
    receive: Queue,
    transmit: Queue,
    input: Option<Arc<DmaBuffer>>,
    filled: ReceiveRing,
    /// Buffers given back of which the device was not told yet.
    returned: usize,
    output: Arc<DmaBuffer>,
    sending: TransmitRing,
    /// Somebody waits for room.
    wants_room: bool,
    name: [u8; NAME_LEN_BYTES_MAX],
    name_len: usize,
    /// The device has added it, and was told that it is ready.
    pub(super) is_added: bool,
    pub(super) is_guest_open: bool,
    is_host_open: bool,
    was_host_open: bool,
}

impl PortState {
    /// Sets up the queues of port `number`. None: the device has no such queues, or memory is out.
    #[inline(never)]
    pub(super) fn new(transport: &mut AnyTransport, number: u16) -> Option<Self> {
        let mut transmit = Queue::new(transport, console::transmit_queue(number))?;
        transmit.set_interrupts(false);
        Some(Self {
            receive: Queue::new(transport, console::receive_queue(number))?,
            transmit,
            input: None,
            filled: ReceiveRing::new(),
            returned: 0,
            output: Arc::new(DmaBuffer::new(OUTPUT_LEN_SMALL)?),
            sending: TransmitRing::new(OUTPUT_LEN_SMALL),
            wants_room: false,
            name: [0; NAME_LEN_BYTES_MAX],
            name_len: 0,
            is_added: false,
            is_guest_open: false,
            is_host_open: false,
            was_host_open: false,
        })
    }

    /// The name that the device told; empty until then.
    pub(super) fn name(&self) -> &[u8] {
        self.name.get(..self.name_len).unwrap_or_default()
    }

    pub(super) fn set_name(&mut self, name: &[u8]) {
        self.name_len = name.len().min(NAME_LEN_BYTES_MAX);
        for (slot, byte) in self.name.iter_mut().zip(name) {
            *slot = *byte;
        }
    }

    /// The host's end has opened or closed.
    pub(super) fn set_host_open(&mut self, is_open: bool) {
        self.is_host_open = is_open;
        self.was_host_open |= is_open;
    }

    /// The device has told which ports are open. Of a named port that is not, the host's end has closed already.
    pub(super) fn end_introduction(&mut self) {
        self.was_host_open |= self.name_len > 0;
    }

    /// Whether the host's end is open.
    pub(super) fn is_host_open(&self) -> bool {
        self.is_host_open
    }

    /// Whether the host's end was open and is not any more.
    pub(super) fn is_host_gone(&self) -> bool {
        self.was_host_open && !self.is_host_open
    }

    /// Whether the device was told that the port is open, and has buffers to fill.
    pub(super) fn is_open(&self) -> bool {
        self.is_guest_open && self.input.is_some()
    }

    /// How big the receive buffers together may be, best first. What comes on a line of requests is short.
    pub(super) fn input_lens(is_line: bool) -> &'static [usize] {
        if is_line { &[INPUT_LEN] } else { &[INPUT_LEN * INPUT_COUNT, INPUT_LEN] }
    }

    /// Gives the port its receive buffers and the device all of them.
    pub(super) fn start_input(&mut self, transport: &mut AnyTransport, buffer: Arc<DmaBuffer>, len: usize) {
        if self.input.is_some() {
            return;
        }
        for index in 0..(len / INPUT_LEN).min(INPUT_COUNT) {
            self.receive.give_input(&buffer, index * INPUT_LEN, INPUT_LEN);
        }
        self.input = Some(buffer);
        self.receive.notify(transport);
    }

    /// The size of a better ring for a transfer of `len` bytes; none if this one will do, or is in use.
    pub(super) fn wants_output(&self, len: usize) -> Option<usize> {
        let is_small = self.sending.capacity_bytes() < OUTPUT_LEN_LARGE;
        (is_small && len > OUTPUT_LEN_SMALL / 2).then_some(OUTPUT_LEN_LARGE)
    }

    /// Replaces the ring; it has no effect while bytes are on their way.
    pub(super) fn replace_output(&mut self, buffer: Arc<DmaBuffer>, len: usize) {
        self.reclaim();
        if self.sending.is_empty() {
            self.output = buffer;
            self.sending = TransmitRing::new(len);
        }
    }

    /// Takes the buffers that the device filled.
    fn take_filled(&mut self, transport: &mut AnyTransport) {
        while let Some(used) = self.receive.take_used() {
            let index = u16::try_from(used.offset / INPUT_LEN).unwrap_or(u16::MAX);
            if !self.filled.push(index, used.len) {
                self.give_back(transport, index);
            }
        }
    }

    fn give_back(&mut self, transport: &mut AnyTransport, index: u16) {
        if let Some(buffer) = &self.input {
            self.receive.give_input(buffer, usize::from(index) * INPUT_LEN, INPUT_LEN);
        }
        self.returned += 1;
        if self.returned >= INPUT_BATCH {
            self.tell_returned(transport);
        }
    }

    fn tell_returned(&mut self, transport: &mut AnyTransport) {
        if self.returned > 0 {
            self.returned = 0;
            self.receive.notify(transport);
        }
    }

    /// Whether there are unread bytes; if not, the device will interrupt when there are.
    pub(super) fn has_input(&mut self, transport: &mut AnyTransport) -> bool {
        self.take_filled(transport);
        if !self.filled.is_empty() {
            return true;
        }
        self.tell_returned(transport);
        self.receive.set_interrupts(true);
        self.take_filled(transport);
        !self.filled.is_empty()
    }

    /// Copies unread bytes out.
    pub(super) fn receive(&mut self, transport: &mut AnyTransport, out: &mut [u8]) -> usize {
        let mut done = 0;
        while done < out.len() && self.has_input(transport) {
            let (Some(part), Some(buffer)) = (self.filled.front(), &self.input) else { break };
            let len = part.len_bytes.min(out.len() - done);
            buffer.read(usize::from(part.buffer) * INPUT_LEN + part.offset, &mut out[done..done + len]);
            done += len;
            if let Some(index) = self.filled.consume(len) {
                self.give_back(transport, index);
            }
        }
        done
    }

    /// Whether everything was received and nothing will follow.
    pub(super) fn is_at_end(&mut self, transport: &mut AnyTransport) -> bool {
        // What came before the end is in the queue when the end is known.
        self.is_host_gone() && !self.has_input(transport)
    }

    /// Frees what the device has sent.
    fn reclaim(&mut self) {
        while let Some(used) = self.transmit.take_used() {
            self.sending.complete(used.token);
        }
    }

    /// Copies bytes into the ring and gives them to the device; answers how many.
    pub(super) fn transmit(&mut self, transport: &mut AnyTransport, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() && self.has_room() {
            let Some(place) = self.sending.reserve(bytes.len() - done) else { break };
            self.output.write(place.offset, &bytes[done..done + place.len_bytes]);
            let Some(token) = self.transmit.give_output(&self.output, place.offset, place.len_bytes) else { break };
            self.sending.commit(place, token);
            done += place.len_bytes;
        }
        if done > 0 {
            self.transmit.notify(transport);
        }
        done
    }

    /// Whether something can be sent; if not, the device will interrupt when it can.
    pub(super) fn has_room(&mut self) -> bool {
        self.reclaim();
        if !self.sending.has_room() {
            self.wants_room = true;
            self.transmit.set_interrupts(true);
            self.reclaim();
        }
        self.sending.has_room()
    }

    /// Whether the device has sent everything; if not, it will interrupt.
    pub(super) fn is_drained(&mut self) -> bool {
        self.reclaim();
        if !self.sending.is_empty() {
            self.wants_room = true;
            self.transmit.set_interrupts(true);
            self.reclaim();
        }
        self.sending.is_empty()
    }

    /// What has happened, after an interrupt.
    pub(super) fn take_events(&mut self, transport: &mut AnyTransport) -> PollEvents {
        let mut events = PollEvents::empty();
        if self.input.is_some() {
            let had_used = self.receive.has_used();
            self.take_filled(transport);
            if had_used && !self.filled.is_empty() {
                // The reader looks by itself from now on.
                self.receive.set_interrupts(false);
                events |= PollEvents::READABLE;
            }
        }
        if self.wants_room && self.transmit.has_used() {
            self.reclaim();
            self.wants_room = false;
            self.transmit.set_interrupts(false);
            events |= PollEvents::WRITABLE;
        }
        events
    }
}
