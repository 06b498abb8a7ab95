//! [`RequestQueue`]: one queue of requests, and what a request looks like to the device.
//!
//! In front of the table in its slot a request has its header, the range of an operation without data, and the status,
//! which the device writes.

use alloc::vec::Vec;

use block::{BlockError, Operation, Request};
use devices::split_queue::Buffer;
use devices::virtio_blk::{HEADER_LEN, NO_STATUS, RANGE_LEN, RequestKind, Status, header, range};

use super::super::hal::DmaBuffer;
use super::super::virtio::{Notifier, QueueFeatures, Refused, RingMemory, SlotQueue, entries_max};

/// What lies where in a slot.
const HEADER_AT: usize = 0;
const RANGE_AT: usize = HEADER_AT + HEADER_LEN;
const STATUS_AT: usize = RANGE_AT + RANGE_LEN;
const TABLE_AT: usize = 64;
/// Header and status.
pub(super) const OWN_BUFFERS: usize = 2;
/// The most segments of a request whose table fits a slot.
pub(super) const SEGMENTS_MAX: usize = entries_max(TABLE_AT) - OWN_BUFFERS;

/// A queue of requests.
pub(super) struct RequestQueue(SlotQueue<Request>);

impl RequestQueue {
    /// A queue in memory that the device has.
    pub(super) fn new(memory: RingMemory, notifier: Notifier, features: QueueFeatures) -> Option<Self> {
        SlotQueue::new(memory, notifier, features).map(Self)
    }

    /// Gives the device a request, of which [`RequestQueue::kick`] tells it. The request comes back where there is no room.
    pub(super) fn submit(&self, request: Request) -> Result<(), Request> {
        match self.0.submit(request, TABLE_AT, prepare) {
            Err(Refused::Full(request)) => Err(request),
            Err(Refused::Stopped(request)) => {
                fail(request);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Tells the device of what was submitted, if it wants to be told.
    pub(super) fn kick(&self) {
        self.0.kick();
    }

    /// Completes what the device is done with, and asks for an interrupt for what comes next. True: there was something.
    pub(super) fn complete(&self) -> bool {
        self.0.complete(result, Request::complete)
    }

    /// Fails everything, after the device was reset.
    pub(super) fn stop(&self) {
        self.0.stop(fail);
    }
}

fn fail(request: Request) {
    request.complete(Err(BlockError::Dead));
}

/// What the device says in a slot. How much it wrote is of no interest.
fn result(slot: &DmaBuffer, _written: u32) -> Result<(), BlockError> {
    let mut status = [NO_STATUS];
    slot.read(STATUS_AT, &mut status);
    match Status::from_byte(status[0]) {
        Status::Done => Ok(()),
        Status::Failed => Err(BlockError::Io),
        Status::NotSupported => Err(BlockError::NotSupported),
    }
}

/// Writes the header of a request into its slot; answers the buffers, in order.
fn prepare(slot: &DmaBuffer, request: &Request) -> Vec<Buffer> {
    let (kind, may_unmap) = match request.operation() {
        Operation::Read => (RequestKind::Read, false),
        Operation::Write { .. } => (RequestKind::Write, false),
        Operation::Flush => (RequestKind::Flush, false),
        Operation::Discard => (RequestKind::Discard, false),
        Operation::WriteZeroes { may_unmap } => (RequestKind::WriteZeroes, may_unmap),
    };
    let part = |offset: usize, len: usize, is_writable: bool| Buffer {
        address: slot.physical() + offset as u64,
        len: u32::try_from(len).unwrap_or(0),
        is_writable,
    };
    let mut buffers = Vec::with_capacity(request.segment_count() + OWN_BUFFERS + 1);
    let has_range = matches!(kind, RequestKind::Discard | RequestKind::WriteZeroes);
    slot.write(HEADER_AT, &header(kind, if has_range { 0 } else { request.sector() }));
    buffers.push(part(HEADER_AT, HEADER_LEN, false));
    if has_range {
        let sectors = u32::try_from(request.sectors()).unwrap_or(u32::MAX);
        slot.write(RANGE_AT, &range(request.sector(), sectors, may_unmap));
        buffers.push(part(RANGE_AT, RANGE_LEN, false));
    }
    let is_read = request.operation() == Operation::Read;
    buffers.extend(request.segments().map(|segment| Buffer {
        address: segment.frame().number().physical_address() + segment.offset() as u64,
        len: u32::try_from(segment.len()).unwrap_or(0),
        is_writable: is_read,
    }));
    slot.write(STATUS_AT, &[NO_STATUS]);
    buffers.push(part(STATUS_AT, 1, true));
    buffers
}
