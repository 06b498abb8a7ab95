//! [`SlotQueue`]: a queue of requests, each of which has a page of its own while the device has it.
//!
//! 1. That page is the request's *slot*. The table of its descriptors lies there, and what else driver and device tell
//!    each other. Slots are made as they are needed, up to [`SLOTS_MAX`], and kept. One is made with the queue, so a
//!    machine without memory still gets on, one request at a time.
//! 2. With indirect descriptors a request takes one entry of the queue, however long it is; without, one for each
//!    buffer.
//! 3. Request and slot are the chain's token: the frames stay until the device is done with them, or was reset.
//!
//! The device is not trusted: what it returns is checked (`devices::split_queue`).
//!
//! Lock: `DRIVER`. Nothing is allocated, and nobody is told, under it.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use devices::split_queue::{Buffer, SplitQueue, table_entries};
use sync::{IrqSpinLock, rank};

use super::{Notifier, RingMemory};
use crate::arch::cpu;
use crate::drivers::hal::DmaBuffer;
use crate::memory::PAGE_BYTES;

/// The most requests that a queue has under way.
const SLOTS_MAX: usize = 64;
/// Bytes of an entry of a table.
const ENTRY_LEN: usize = 16;

/// What a device and its driver have agreed on.
#[derive(Clone, Copy)]
pub(in crate::drivers) struct QueueFeatures {
    pub(in crate::drivers) has_event_index: bool,
    pub(in crate::drivers) has_indirect: bool,
}

/// A queue of requests of type `T`.
pub(in crate::drivers) struct SlotQueue<T> {
    side: IrqSpinLock<Side<T>>,
    notifier: Notifier,
    has_indirect: bool,
    /// The device is told of everything, as what it wishes cannot be read reliably.
    is_always_told: bool,
    /// The device was not told of something yet.
    has_news: AtomicBool,
}

struct Side<T> {
    queue: SplitQueue<UnderWay<T>>,
    memory: RingMemory,
    free_slots: Vec<DmaBuffer>,
    slots: usize,
    is_stopped: bool,
}

/// What the device has.
struct UnderWay<T> {
    request: T,
    slot: DmaBuffer,
}

/// Why a request was not given to the device.
pub(in crate::drivers) enum Refused<T> {
    /// There is no room.
    Full(T),
    /// The queue was stopped.
    Stopped(T),
}

/// How many entries a table has room for that begins at this offset of a slot.
pub(in crate::drivers) const fn entries_max(table_at: usize) -> usize {
    (PAGE_BYTES - table_at) / ENTRY_LEN
}

impl<T> SlotQueue<T> {
    /// A queue in memory that the device has.
    pub(in crate::drivers) fn new(memory: RingMemory, notifier: Notifier, features: QueueFeatures) -> Option<Self> {
        let queue = SplitQueue::new(memory.len(), features.has_event_index)?;
        let mut free_slots = Vec::with_capacity(SLOTS_MAX);
        free_slots.push(DmaBuffer::new(PAGE_BYTES)?);
        let side = Side { queue, memory, free_slots, slots: 1, is_stopped: false };
        Some(Self {
            side: IrqSpinLock::new(rank::DRIVER, side),
            notifier,
            has_indirect: features.has_indirect,
            is_always_told: cpu::is_translated(),
            has_news: AtomicBool::new(false),
        })
    }

    /// Gives the device a request, of which [`SlotQueue::kick`] tells it. `prepare` writes what it likes into the slot,
    /// below `table_at`, where the table begins, and answers the buffers in order: not more than the table has room for
    /// ([`entries_max`]).
    pub(in crate::drivers) fn submit(
        &self,
        request: T,
        table_at: usize,
        prepare: impl FnOnce(&DmaBuffer, &T) -> Vec<Buffer>,
    ) -> Result<(), Refused<T>> {
        let Some(slot) = self.take_slot() else { return Err(Refused::Full(request)) };
        let buffers = prepare(&slot, &request);
        assert!(buffers.len() <= entries_max(table_at), "a request has too many buffers");
        write_table(&slot, table_at, &buffers);
        let mut side = self.side.lock();
        let Side { queue, memory, free_slots, is_stopped, .. } = &mut *side;
        if *is_stopped {
            // The slot is freed with the lock released.
            drop(side);
            return Err(Refused::Stopped(request));
        }
        let token = UnderWay { request, slot };
        let added = if self.has_indirect {
            let table = token.slot.physical() + table_at as u64;
            let count = u16::try_from(buffers.len()).unwrap_or(0);
            let writable = buffers.iter().filter(|buffer| buffer.is_writable).map(|buffer| buffer.len);
            let writable_len = writable.fold(0, u32::saturating_add);
            queue.add_table(memory, table, count, writable_len, token)
        } else {
            queue.add(memory, buffers.iter().copied(), token)
        };
        if let Err(UnderWay { request, slot }) = added {
            free_slots.push(slot);
            return Err(Refused::Full(request));
        }
        self.has_news.store(true, Relaxed);
        Ok(())
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
    pub(in crate::drivers) fn kick(&self) {
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

    /// Completes what the device is done with, and asks for an interrupt for what comes next. `result` reads the slot
    /// and how much the device wrote, under the lock; `complete` is told without it. True: there was something.
    pub(in crate::drivers) fn complete<R>(&self, result: fn(&DmaBuffer, u32) -> R, complete: fn(T, R)) -> bool {
        let mut was_any = false;
        loop {
            while let Some((request, result)) = self.take(result) {
                was_any = true;
                complete(request, result);
            }
            let mut side = self.side.lock();
            let Side { queue, memory, .. } = &mut *side;
            if !queue.enable_interrupts(memory) {
                return was_any;
            }
        }
    }

    fn take<R>(&self, result: fn(&DmaBuffer, u32) -> R) -> Option<(T, R)> {
        let mut side = self.side.lock();
        let Side { queue, memory, free_slots, .. } = &mut *side;
        let (UnderWay { request, slot }, written) = queue.take_used(memory)?;
        let result = result(&slot, written);
        // There is room for all slots.
        free_slots.push(slot);
        Some((request, result))
    }

    /// Takes everything back, one by one, after the device was reset.
    pub(in crate::drivers) fn stop(&self, fail: fn(T)) {
        self.side.lock().is_stopped = true;
        while let Some(UnderWay { request, .. }) = self.take_any() {
            fail(request);
        }
    }

    fn take_any(&self) -> Option<UnderWay<T>> {
        self.side.lock().queue.take_all().next()
    }
}

fn write_table(slot: &DmaBuffer, table_at: usize, buffers: &[Buffer]) {
    for (number, entry) in table_entries(buffers.iter().copied()).enumerate() {
        slot.write(table_at + number * ENTRY_LEN, &entry);
    }
}
