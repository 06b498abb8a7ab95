//! One queue of requests.
//!
//! 1. A request has a *slot*, a page with its header, its status and the table of its descriptors. Slots are made as they are needed, up
//!    to [`SLOTS_MAX`], and kept. One is made with the queue, so a machine without memory still gets on, one request at a time.
//! 2. With indirect descriptors a request takes one entry of the queue, however long it is; without, one for each buffer.
//! 3. Request and slot are the chain's token: the frames stay until the device is done with them, or was reset.
//!
//! Lock: `DRIVER`. Nothing is allocated, and nobody is told, under it.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use block::{BlockError, Operation, Request};
use devices::split_queue::{Buffer, SplitQueue, table_entries};
use devices::virtio_blk::{HEADER_LEN, NO_STATUS, RANGE_LEN, RequestKind, Status, header, range};
use sync::{IrqSpinLock, rank};

use super::super::hal::DmaBuffer;
use super::super::virtio::{Notifier, RingMemory};
use crate::memory::PAGE_BYTES;

/// The most requests that a queue has under way.
const SLOTS_MAX: usize = 64;
/// What lies where in a slot.
const HEADER_AT: usize = 0;
const RANGE_AT: usize = HEADER_AT + HEADER_LEN;
const STATUS_AT: usize = RANGE_AT + RANGE_LEN;
const TABLE_AT: usize = 64;
/// Bytes of an entry of the table.
const ENTRY_LEN: usize = 16;
/// Header and status.
pub(super) const OWN_BUFFERS: usize = 2;
/// The most segments of a request whose table fits a slot.
pub(super) const SEGMENTS_MAX: usize = (PAGE_BYTES - TABLE_AT) / ENTRY_LEN - OWN_BUFFERS;

/// A queue of requests.
pub(super) struct RequestQueue {
    side: IrqSpinLock<Side>,
    notifier: Notifier,
    has_indirect: bool,
    /// The device is told of everything, as what it wishes cannot be read reliably.
    is_always_told: bool,
    /// The device was not told of something yet.
    has_news: AtomicBool,
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
    request: Request,
    slot: DmaBuffer,
}

impl RequestQueue {
    /// A queue in memory that the device has.
    pub(super) fn new(
        memory: RingMemory,
        notifier: Notifier,
        has_event_index: bool,
        has_indirect: bool,
        is_always_told: bool,
    ) -> Option<Self> {
        let queue = SplitQueue::new(memory.len(), has_event_index)?;
        let mut free_slots = Vec::with_capacity(SLOTS_MAX);
        free_slots.push(DmaBuffer::new(PAGE_BYTES)?);
        let side = Side { queue, memory, free_slots, slots: 1, is_stopped: false };
        Some(Self {
            side: IrqSpinLock::new(rank::DRIVER, side),
            notifier,
            has_indirect,
            is_always_told,
            has_news: AtomicBool::new(false),
        })
    }

    /// Gives the device a request, of which [`RequestQueue::kick`] tells it. The request comes back where there is no room.
    pub(super) fn submit(&self, request: Request) -> Result<(), Request> {
        let Some(slot) = self.take_slot() else { return Err(request) };
        let buffers = prepare(&slot, &request);
        let mut side = self.side.lock();
        if side.is_stopped {
            drop(side);
            request.complete(Err(BlockError::Dead));
            return Ok(());
        }
        let Side { queue, memory, .. } = &mut *side;
        let token = UnderWay { request, slot };
        let added = if self.has_indirect {
            let table = token.slot.physical() + TABLE_AT as u64;
            let count = u16::try_from(buffers.len()).unwrap_or(0);
            let writable = buffers.iter().filter(|buffer| buffer.is_writable).map(|buffer| buffer.len);
            let writable_len = writable.fold(0, u32::saturating_add);
            queue.add_table(memory, table, count, writable_len, token)
        } else {
            queue.add(memory, buffers.into_iter(), token)
        };
        match added {
            Ok(()) => {
                self.has_news.store(true, Relaxed);
                Ok(())
            }
            Err(UnderWay { request, slot }) => {
                side.free_slots.push(slot);
                Err(request)
            }
        }
    }

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

    /// Tells the device of what was submitted, if it wants to be told.
    pub(super) fn kick(&self) {
        if !self.has_news.swap(false, Relaxed) {
            return;
        }
        let is_wanted = {
            let mut side = self.side.lock();
            let Side { queue, memory, .. } = &mut *side;
            queue.publish(memory)
        };
        if is_wanted || self.is_always_told {
            self.notifier.notify();
        }
    }

    /// Completes what the device is done with, and asks for an interrupt for what comes next. True: there was something.
    pub(super) fn complete(&self) -> bool {
        let mut was_any = false;
        loop {
            while let Some((request, result)) = self.take() {
                was_any = true;
                request.complete(result);
            }
            let mut side = self.side.lock();
            let Side { queue, memory, .. } = &mut *side;
            if !queue.enable_interrupts(memory) {
                return was_any;
            }
        }
    }

    fn take(&self) -> Option<(Request, Result<(), BlockError>)> {
        let mut side = self.side.lock();
        let Side { queue, memory, free_slots, .. } = &mut *side;
        let (UnderWay { request, slot }, _) = queue.take_used(memory)?;
        let mut status = [NO_STATUS];
        slot.read(STATUS_AT, &mut status);
        // There is room for all slots.
        free_slots.push(slot);
        let result = match Status::from_byte(status[0]) {
            Status::Done => Ok(()),
            Status::Failed => Err(BlockError::Io),
            Status::NotSupported => Err(BlockError::NotSupported),
        };
        Some((request, result))
    }

    /// Fails everything, after the device was reset.
    pub(super) fn stop(&self) {
        self.side.lock().is_stopped = true;
        while let Some(UnderWay { request, .. }) = self.take_any() {
            request.complete(Err(BlockError::Dead));
        }
    }

    fn take_any(&self) -> Option<UnderWay> {
        self.side.lock().queue.take_all().next()
    }
}

/// Writes header and table of a request into its slot; answers the buffers, in order.
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
    for (number, entry) in table_entries(buffers.iter().copied()).enumerate() {
        let at = TABLE_AT + number * ENTRY_LEN;
        if at + ENTRY_LEN <= PAGE_BYTES {
            slot.write(at, &entry);
        }
    }
    buffers
}
