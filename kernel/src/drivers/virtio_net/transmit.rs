//! The sending queue of a pair.
//!
//! 1. A frame is one chain: its head, with the device's header in front, and its pieces, where they lie. It is the chain's token itself, so
//!    all of its memory stays until the device is done. Frames that were sent are let go when the next ones are sent or the worker looks, without an interrupt.
//! 2. Frames that find no room wait in order, up to [`WAITING_MAX`], and only then the device is asked for an interrupt, once it is
//!    done with half of what it has. That has the worker send them ([`Transmit::flush`]).
//! 3. The device is told once for all frames of a call, if it wants to be told.
//!
//! Lock: `DEVICE`, a sleeping one, as frames are freed under it. Who has it is not preempted: whoever came meanwhile would wait, the lock would
//! pass from one waiter to the next, and everybody after them would find it taken as long as there is traffic. What takes long is done
//! before: checksums that the device does not compute, and copies of frames in too many pieces.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use devices::split_queue::{Buffer, SplitQueue};
use devices::virtio_net::{Features, HEADER_LEN, TransmitHeader};
use net::TransmitFrame;
use net::frame::{Piece, Segmentation, SegmentationKind};
use sync::{Mutex, machine, rank};

use super::super::virtio::{Notifier, RingMemory, physical_of};

/// Descriptors that a frame takes at most, its head included: 64 KiB in pages that need not be aligned.
pub(super) const PIECES_MAX: usize = 18;
/// Frames that wait for room; more are dropped.
const WAITING_MAX: usize = 1024;
/// The length of TCP's header is in the upper half of this byte, in words.
const TCP_HEADER_LEN_PLACE: usize = 12;

pub(super) struct Transmit {
    side: Mutex<Side>,
    notifier: Notifier,
    features: Features,
    /// Frames wait, and the device was asked for an interrupt.
    is_waiting: AtomicBool,
    counts: Counts,
}

struct Side {
    queue: SplitQueue<TransmitFrame>,
    memory: RingMemory,
    waiting: VecDeque<TransmitFrame>,
    /// Frames that the device has sent, now and at the last look.
    sent: u64,
    sent_before: u64,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) frames: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) drops: AtomicU64,
    pub(super) kicks: AtomicU64,
}

impl Counts {
    /// Counts the frames of a call. With the lock: nobody else changes any of these.
    #[inline]
    fn note(&self, frames: usize, sent: usize, bytes: usize) {
        let add = |counter: &AtomicU64, more: usize| counter.store(counter.load(Relaxed) + more as u64, Relaxed);
        add(&self.frames, sent);
        add(&self.bytes, bytes);
        if sent < frames {
            add(&self.drops, frames - sent);
        }
    }
}

impl Transmit {
    /// A queue in memory that the device has.
    #[inline(never)]
    pub(super) fn new(memory: RingMemory, notifier: Notifier, features: Features) -> Option<Self> {
        let mut queue = SplitQueue::new(memory.len(), features.contains(Features::EVENT_INDEX))?;
        queue.disable_interrupts(&memory);
        let side = Side { queue, memory, waiting: VecDeque::new(), sent: 0, sent_before: u64::MAX };
        Some(Self {
            side: Mutex::new(rank::DEVICE, side),
            notifier,
            features,
            is_waiting: AtomicBool::new(false),
            counts: Counts::default(),
        })
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether frames wait for the device. Callable from interrupts.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting.load(SeqCst)
    }

    /// Sends frames, or has them wait.
    pub(super) fn send(&self, frames: &mut Vec<TransmitFrame>) {
        let count = frames.len();
        for frame in frames.iter_mut() {
            if !self.prepare(frame) {
                *frame = TransmitFrame::default();
            }
        }
        let is_wanted = self.undisturbed(|side| {
            side.reclaim();
            let (mut sent, mut bytes) = (0, 0);
            for frame in frames.drain(..) {
                let len = frame.len();
                if len > HEADER_LEN && side.add_or_keep(frame) {
                    sent += 1;
                    bytes += len - HEADER_LEN;
                }
            }
            self.counts.note(count, sent, bytes);
            self.publish(side)
        });
        self.tell(is_wanted);
    }

    /// Sends what waits; lets go of what was sent.
    pub(super) fn flush(&self) {
        let is_wanted = self.undisturbed(|side| {
            side.reclaim();
            self.publish(side)
        });
        self.tell(is_wanted);
    }

    /// Lets go of what was sent, and tells a device again that has sent nothing since the last look. True: frames are on their way.
    ///
    /// QEMU 7.2 forgets to ask to be told when it takes frames while it completes one that had to wait for its backend.
    pub(super) fn look(&self) -> bool {
        let (is_sending, stands_still) = self.undisturbed(|side| {
            side.reclaim();
            let is_sending = side.queue.in_flight() > 0 && !side.queue.is_broken();
            (is_sending, core::mem::replace(&mut side.sent_before, side.sent) == side.sent)
        });
        self.tell(is_sending && stands_still);
        is_sending
    }

    /// Runs `action` with the lock, and lets nobody have this CPU before that is free again.
    #[inline]
    fn undisturbed<R>(&self, action: impl FnOnce(&mut Side) -> R) -> R {
        let mut side = self.side.lock();
        machine::preemption_disable();
        let result = action(&mut side);
        drop(side);
        machine::preemption_enable();
        result
    }

    /// Tells the device, if that is wanted.
    #[inline]
    fn tell(&self, is_wanted: bool) {
        if is_wanted {
            self.counts.kicks.fetch_add(1, Relaxed);
            self.notifier.notify();
        }
    }

    /// Lets the device see what there is, and asks it for an interrupt if frames wait. True: it wants to be told.
    #[inline]
    fn publish(&self, side: &mut Side) -> bool {
        let Side { queue, memory, waiting, .. } = side;
        if waiting.is_empty() && !self.is_waiting.load(Relaxed) {
            let is_wanted = queue.publish(memory);
            queue.quieten(memory);
            return is_wanted;
        }
        self.publish_with_waiting(side)
    }

    #[inline(never)]
    fn publish_with_waiting(&self, side: &mut Side) -> bool {
        let mut is_wanted = false;
        loop {
            side.add_waiting();
            let Side { queue, memory, waiting, .. } = side;
            is_wanted |= queue.publish(memory);
            let has_waiting = !waiting.is_empty() && !queue.is_broken();
            if has_waiting != self.is_waiting.load(Relaxed) {
                self.is_waiting.store(has_waiting, SeqCst);
            }
            if !has_waiting {
                break;
            }
            let half = queue.in_flight() / 2;
            if !queue.enable_interrupts_after(memory, half) {
                break;
            }
            side.reclaim();
        }
        if !self.is_waiting.load(Relaxed) {
            let Side { queue, memory, .. } = side;
            queue.quieten(memory);
        }
        is_wanted
    }

    /// Puts the device's header in front. False: nobody can send such a frame, or there is no memory for it.
    fn prepare(&self, frame: &mut TransmitFrame) -> bool {
        if !self.features.contains(Features::CHECKSUM) {
            net::checksum::finish(frame);
        }
        if frame.pieces.len() >= PIECES_MAX && frame.linearize().is_err() {
            return false;
        }
        if let Some(wanted) = frame.segmentation {
            return self.prepare_cut(frame, wanted);
        }
        put_header(frame, None);
        true
    }

    #[inline(never)]
    fn prepare_cut(&self, frame: &mut TransmitFrame, wanted: Segmentation) -> bool {
        let segmentation = self.segmentation(frame, wanted);
        if segmentation.is_some() {
            put_header(frame, segmentation);
        }
        segmentation.is_some()
    }

    /// How the device is to cut a frame, as its header says it. `None`: it cannot.
    fn segmentation(&self, frame: &TransmitFrame, wanted: Segmentation) -> Option<(bool, u16, u16)> {
        let (is_v6, needed) = match wanted.kind {
            SegmentationKind::Tcp4 => (false, Features::HOST_TSO4),
            SegmentationKind::Tcp6 => (true, Features::HOST_TSO6),
        };
        let start = frame.checksum.filter(|_| self.features.contains(needed))?.start;
        let words = frame.head().get(usize::from(start) + TCP_HEADER_LEN_PLACE)? >> 4;
        Some((is_v6, start.checked_add(u16::from(words) * 4)?, wanted.segment_len))
    }
}

impl Side {
    /// Lets go of frames that were sent.
    fn reclaim(&mut self) {
        while let Some((frame, _)) = self.queue.take_used(&self.memory) {
            self.sent += 1;
            drop(frame);
        }
    }

    /// Gives the device a frame, behind those that wait, or has it wait. False: it cannot, and the frame is lost.
    #[inline]
    fn add_or_keep(&mut self, frame: TransmitFrame) -> bool {
        let refused = if self.waiting.is_empty() { self.add(frame) } else { Err(frame) };
        match refused {
            Ok(()) => true,
            Err(frame) => self.keep(frame),
        }
    }

    /// Has a frame wait. False: too many do, nothing will be sent any more, or there is no memory for the list.
    #[cold]
    fn keep(&mut self, frame: TransmitFrame) -> bool {
        let has_room =
            self.waiting.len() < WAITING_MAX && !self.queue.is_broken() && self.waiting.try_reserve(1).is_ok();
        if has_room {
            self.waiting.push_back(frame);
        }
        has_room
    }

    /// Gives the device what waits, as far as there is room.
    fn add_waiting(&mut self) {
        while let Some(frame) = self.waiting.pop_front() {
            if let Err(frame) = self.add(frame) {
                self.waiting.push_front(frame);
                return;
            }
        }
    }

    /// Gives the device a frame, which comes back if there is no room.
    #[inline]
    fn add(&mut self, frame: TransmitFrame) -> Result<(), TransmitFrame> {
        // Nearly always all of it is the head.
        if frame.pieces.is_empty()
            && let Some(head) = head_of(&frame)
        {
            return self.queue.add_one(&self.memory, head, frame);
        }
        self.add_pieces(frame)
    }

    #[inline(never)]
    fn add_pieces(&mut self, frame: TransmitFrame) -> Result<(), TransmitFrame> {
        let mut buffers = [Buffer { address: 0, len: 0, is_writable: false }; PIECES_MAX];
        let Some(count) = describe(&frame, &mut buffers) else {
            debug_assert!(false, "a frame lies outside of the kernel's memory");
            return Ok(());
        };
        self.queue.add(&self.memory, buffers.iter().take(count).copied(), frame)
    }
}

#[inline]
fn put_header(frame: &mut TransmitFrame, segmentation: Option<(bool, u16, u16)>) {
    let checksum = frame.checksum.map(|checksum| (checksum.start, checksum.offset));
    let header = TransmitHeader { checksum, segmentation };
    frame.push_front(HEADER_LEN).copy_from_slice(&header.encode());
}

/// Where a frame lies, and in how many buffers. `None` if a device cannot reach it.
fn describe(frame: &TransmitFrame, buffers: &mut [Buffer; PIECES_MAX]) -> Option<usize> {
    let mut places = buffers.iter_mut();
    let mut count = 1;
    *places.next()? = head_of(frame)?;
    for piece in frame.pieces.iter().filter(|piece| !piece.is_empty()) {
        let address = match piece {
            Piece::Shared(bytes, range) => physical_of(bytes.get(range.clone())?)?,
            Piece::Frame(frame, range) => frame.number().physical_address() + range.start as u64,
        };
        *places.next()? = buffer(address, piece.len())?;
        count += 1;
    }
    Some(count)
}

#[inline]
fn head_of(frame: &TransmitFrame) -> Option<Buffer> {
    buffer(physical_of(frame.head())?, frame.head().len())
}

fn buffer(address: u64, len: usize) -> Option<Buffer> {
    Some(Buffer { address, len: u32::try_from(len).ok()?, is_writable: false })
}
