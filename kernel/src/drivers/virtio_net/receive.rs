//! The receiving queue of a pair: from the buffers that the device filled to frames.
//!
//! 1. The device has a page for each descriptor. What it gives back is handed on without a copy, and another page takes its place; short frames
//!    are copied to as much memory as they need, so that a queue of them does not hold a page each, and their page goes back at once.
//! 2. A page that has no successor, because memory is out, goes back to the device, and the frame is dropped: the queue never runs dry.
//! 3. One at a time consumes: who takes [`Consumer`] out. It puts it back when it has asked for interrupts and found nothing more, or
//!    leaves the rest to the worker and asks for none.
//!
//! Lock: `DRIVER` for the queue, held while buffers are taken and posted, not while frames are handed on.

use alloc::boxed::Box;
use alloc::vec::{Drain, Vec};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use devices::virtio_net::{Assembly, HEADER_LEN, Part};
use net::ReceivedFrame;
use net::frame::{ChecksumState, Payload};
use net::stack::BATCH_MAX;
use sync::{IrqSpinLock, rank};

use super::super::virtio::{BufferQueue, Notifier, new_buffer};
use crate::memory::frames::{self, Incoming};

/// Frames as long as this, with the device's header, are copied.
const COPY_LEN_MAX: usize = 256;

/// A segment of TCP over IPv6 with timestamps and no bytes, with the device's header.
const NEWS_LEN_MAX: usize = HEADER_LEN + 14 + 40 + 32;

/// Takes what comes.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&mut dyn Iterator<Item = ReceivedFrame>);

pub(super) struct Receive {
    side: IrqSpinLock<Side>,
    notifier: Notifier,
    is_mergeable: bool,
    counts: Counts,
}

struct Side {
    queue: BufferQueue,
    /// Out while somebody consumes.
    consumer: Option<Box<Consumer>>,
    is_told_broken: bool,
    /// Frames that had come at the last look.
    frames_before: u64,
}

impl Side {
    fn ask_for_interrupts(&mut self) -> bool {
        self.consumer.is_some() && self.queue.enable_interrupts()
    }
}

/// What only who consumes has.
struct Consumer {
    taken: Vec<(Box<[u8]>, usize)>,
    /// Buffers to post.
    fresh: Vec<Box<[u8]>>,
    assembly: Assembly,
    current: Option<ReceivedFrame>,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) frames: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) drops: AtomicU64,
    pub(super) kicks: AtomicU64,
}

impl Receive {
    /// A queue full of buffers, at most `buffers_max`, which the device is not told of yet. `None`: memory is out.
    #[inline(never)]
    pub(super) fn new(
        mut queue: BufferQueue,
        notifier: Notifier,
        is_mergeable: bool,
        buffers_max: usize,
    ) -> Option<Self> {
        queue.disable_interrupts();
        let mut posted = 0;
        while queue.has_room() && posted < buffers_max {
            queue.post(new_buffer()?);
            posted += 1;
        }
        let consumer = Consumer {
            taken: Vec::with_capacity(BATCH_MAX),
            fresh: Vec::with_capacity(BATCH_MAX),
            assembly: Assembly::default(),
            current: None,
        };
        let side = Side { queue, consumer: Some(Box::new(consumer)), is_told_broken: false, frames_before: 0 };
        Some(Self { side: IrqSpinLock::new(rank::DRIVER, side), notifier, is_mergeable, counts: Counts::default() })
    }

    /// Lets the device begin, and interrupt.
    pub(super) fn start(&self) {
        let mut side = self.side.lock();
        side.queue.publish();
        side.queue.enable_interrupts();
        drop(side);
        self.notifier.notify();
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Hands up to `budget` buffers' worth of frames to `sink`. True: there may be more, and the device does not interrupt: call again.
    pub(super) fn take(&self, budget: usize, sink: Sink<'_>) -> bool {
        let Some(mut consumer) = self.side.lock().consumer.take() else { return false };
        let mut left = budget;
        loop {
            let count = self.fill(&mut consumer, left);
            left -= count;
            if count > 0 {
                self.hand_on(&mut consumer, sink);
            }
            let mut side = self.side.lock();
            for buffer in consumer.fresh.drain(..) {
                side.queue.post(buffer);
            }
            let is_wanted = side.queue.publish();
            let has_more = left == 0 || side.queue.enable_interrupts();
            if left == 0 || !has_more {
                if has_more {
                    side.queue.disable_interrupts();
                }
                side.consumer = Some(consumer);
                drop(side);
                self.notify(is_wanted);
                return has_more;
            }
            drop(side);
            self.notify(is_wanted);
        }
    }

    /// Whether frames have come since the last look, and whether there are some that nobody was told of.
    pub(super) fn look(&self) -> (bool, bool) {
        let frames = self.counts.frames.load(Relaxed);
        let mut side = self.side.lock();
        let is_busy = core::mem::replace(&mut side.frames_before, frames) != frames;
        let has_untold = side.ask_for_interrupts();
        (is_busy, has_untold)
    }

    /// Asks for no interrupts, until [`Self::take`] or [`Self::ask_for_interrupts`] ask for them again.
    pub(super) fn decline_interrupts(&self) {
        let mut side = self.side.lock();
        if side.consumer.is_some() {
            side.queue.disable_interrupts();
        }
    }

    /// Asks for interrupts, unless who consumes does that in the end. True: there is something already, for which none may come.
    pub(super) fn ask_for_interrupts(&self) -> bool {
        self.side.lock().ask_for_interrupts()
    }

    /// Whether there is something to take.
    pub(super) fn has_used(&self) -> bool {
        self.side.lock().queue.has_used()
    }

    fn notify(&self, is_wanted: bool) {
        if is_wanted {
            self.counts.kicks.fetch_add(1, Relaxed);
            self.notifier.notify();
        }
    }

    /// Takes up to `count_max` buffers from the device, and answers how many.
    fn fill(&self, consumer: &mut Consumer, count_max: usize) -> usize {
        let mut side = self.side.lock();
        let room = count_max.min(BATCH_MAX);
        while consumer.taken.len() < room
            && let Some(taken) = side.queue.take()
        {
            consumer.taken.push(taken);
        }
        if side.queue.is_broken() && !core::mem::replace(&mut side.is_told_broken, true) {
            log::error!("a network device returned what it was not given: it gives no more frames");
        }
        consumer.taken.len()
    }

    fn hand_on(&self, consumer: &mut Consumer, sink: Sink<'_>) {
        let Consumer { taken, fresh, assembly, current } = consumer;
        let mut frames = Frames {
            taken: taken.drain(..),
            fresh,
            assembly,
            current,
            is_mergeable: self.is_mergeable,
            frames: 0,
            bytes: 0,
            drops: 0,
        };
        sink(&mut frames);
        // What the sink has not asked for is still taken.
        frames.by_ref().for_each(drop);
        self.counts.frames.fetch_add(frames.frames, Relaxed);
        self.counts.bytes.fetch_add(frames.bytes, Relaxed);
        if frames.drops > 0 {
            self.counts.drops.fetch_add(frames.drops, Relaxed);
        }
    }
}

/// The frames of a batch of buffers.
struct Frames<'a> {
    taken: Drain<'a, (Box<[u8]>, usize)>,
    fresh: &'a mut Vec<Box<[u8]>>,
    assembly: &'a mut Assembly,
    current: &'a mut Option<ReceivedFrame>,
    is_mergeable: bool,
    frames: u64,
    bytes: u64,
    drops: u64,
}

impl Frames<'_> {
    /// The bytes `start..end` of a buffer, in memory that is not the device's any more. `None`: the buffer had to go back as it is.
    fn keep(&mut self, buffer: Box<[u8]>, start: usize, end: usize) -> Option<Payload> {
        // The reserve is for what the kernel cannot do without.
        let is_short = end <= COPY_LEN_MAX;
        let what = match end {
            ..=NEWS_LEN_MAX => Incoming::News,
            _ if is_short => Incoming::Short,
            _ => Incoming::Long,
        };
        if !frames::may_keep(what) {
            self.fresh.push(buffer);
            return None;
        }
        if is_short {
            let copy: Box<[u8]> = buffer.get(..end).unwrap_or_default().into();
            self.fresh.push(buffer);
            return Some(Payload::new(copy, start..end));
        }
        match new_buffer() {
            Some(successor) => {
                self.fresh.push(successor);
                Some(Payload::new(buffer, start..end))
            }
            None => {
                self.fresh.push(buffer);
                None
            }
        }
    }

    /// Takes a buffer; answers the frame that it completes.
    fn take(&mut self, buffer: Box<[u8]>, written: usize) -> Option<ReceivedFrame> {
        match self.assembly.next(buffer.get(..written).unwrap_or_default(), self.is_mergeable) {
            Part::First { header, is_last } => {
                *self.current = None;
                let Some(payload) = self.keep(buffer, HEADER_LEN, written) else {
                    self.drops += 1;
                    return None;
                };
                let mut frame = ReceivedFrame::new(payload);
                if header.is_checksum_verified {
                    frame.checksum = ChecksumState::Verified;
                }
                frame.segment_len = header.segment_len;
                if is_last {
                    return Some(frame);
                }
                *self.current = Some(frame);
                None
            }
            Part::Further { is_last } => {
                // Without its beginning it is the rest of a frame that was dropped.
                let Some(mut frame) = self.current.take() else {
                    self.fresh.push(buffer);
                    return None;
                };
                let Some(piece) = self.keep(buffer, 0, written) else {
                    self.drops += 1;
                    return None;
                };
                frame.push(piece);
                if is_last {
                    return Some(frame);
                }
                *self.current = Some(frame);
                None
            }
            Part::Waste => {
                self.fresh.push(buffer);
                *self.current = None;
                self.drops += 1;
                None
            }
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = ReceivedFrame;

    fn next(&mut self) -> Option<ReceivedFrame> {
        loop {
            let (buffer, written) = self.taken.next()?;
            if let Some(frame) = self.take(buffer, written) {
                self.frames += 1;
                self.bytes += frame.len() as u64;
                return Some(frame);
            }
        }
    }
}
