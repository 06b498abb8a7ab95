//! Pipes and FIFOs: a bounded queue of page-sized pieces between readers and writers.
//!
//! A [`Pipe`] is the queue, a [`PipeEnd`] an open end of it (or both, as a FIFO opened `O_RDWR` is). The queue has as many
//! slots as its capacity has pages, and a write appends to the last piece or takes new slots exactly when Linux does: at most
//! [`PIPE_BUF`](abi::open::PIPE_BUF) bytes are one indivisible piece, and "full" means the same to `poll`, to `O_NONBLOCK` and
//! to a waiting writer.
//!
//! Data lies in [`Frame`]s. They are filled and emptied under the pipe's lock by copies that do not fault; when a page of the
//! program is missing the lock is dropped, the page brought in, and the piece tried again. A piece becomes visible to readers
//! only when it is whole.
//!
//! Lock: [`rank::PIPE`]. What `poll` asks is mirrored in atomics, written under the lock, so readiness takes none.

mod pages;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use abi::stat::S_IFIFO;
use abi::{AccessMode, Errno, OpenFlags, PollEvents, ioctl};
use mm::user::{UserFault, UserReader, UserWriter, write_user_struct};
use mm::{Frame, PAGE_SIZE};
use sync::{Mutex, SpinLock, WaitQueue, rank};

use crate::{Attributes, File, IoResult, OpenFile, Progress};

pub use pages::PipePage;

/// Capacity of a new pipe.
pub const CAPACITY_DEFAULT: usize = 16 * PAGE_SIZE;
/// The largest capacity a program without privileges can ask for (`fs.pipe-max-size`).
pub const CAPACITY_MAX: usize = 1 << 20;
/// Emptied frames kept for the next writes.
const SPARE_FRAMES_MAX: usize = 2;

/// One slot of the queue: bytes of a frame, at least one.
struct Piece {
    frame: Frame,
    offset: usize,
    len: usize,
    /// Written in packet mode: a read takes one packet, and what it has no room for is lost.
    is_packet: bool,
}

impl Piece {
    fn end(&self) -> usize {
        self.offset + self.len
    }

    /// Whether `len` bytes may be appended. A page that others see too stays as it is.
    fn takes(&self, len: usize) -> bool {
        !self.is_packet && self.end() + len <= PAGE_SIZE && self.frame.is_exclusive()
    }
}

/// What the lock protects.
struct Queue {
    pieces: VecDeque<Piece>,
    spare: Vec<Frame>,
    slots_max: usize,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.pieces.len() >= self.slots_max
    }

    fn take_frame(&mut self) -> Result<Frame, Errno> {
        match self.spare.pop() {
            Some(frame) => Ok(frame),
            None => Frame::allocate(),
        }
    }

    #[inline]
    fn keep_frame(&mut self, frame: Frame) {
        if self.spare.len() < SPARE_FRAMES_MAX && frame.is_exclusive() {
            self.spare.push(frame);
        }
    }
}

/// Why a transfer under the lock stopped before its end.
enum Stop {
    /// A page of the program is missing.
    Fault(UserFault),
    Error(Errno),
}

/// The queue of bytes behind the ends.
pub struct Pipe {
    queue: Mutex<Queue>,
    waiters: WaitQueue,
    /// Who sends signals (`O_ASYNC`): told of each read and each write.
    listeners: WaitQueue,
    attributes: SpinLock<Attributes>,
    write_hint: AtomicU8,
    /// The inode number that `fstat` shows.
    inode: u64,
    /// Pieces in the queue, and slots there are; written under the lock.
    used: AtomicU32,
    slots_max: AtomicU32,
    readers: AtomicU32,
    writers: AtomicU32,
    /// How often an end for reading, or writing, was opened: an `open` that waits for its peer sees that one came even when it
    /// is gone again.
    reader_openings: AtomicU64,
    writer_openings: AtomicU64,
}

/// Numbers the pipes, as the inode numbers that `fstat` shows.
static NEXT_INODE: AtomicU64 = AtomicU64::new(1);

impl Pipe {
    /// A pipe without ends. A named FIFO keeps one and opens ends with [`Pipe::open`].
    pub fn new() -> Arc<Self> {
        Self::owned_by(0, 0)
    }

    /// A pipe that belongs to a user and a group.
    pub fn owned_by(uid: u32, gid: u32) -> Arc<Self> {
        let slots_max = CAPACITY_DEFAULT / PAGE_SIZE;
        let queue = Queue { pieces: VecDeque::new(), spare: Vec::with_capacity(SPARE_FRAMES_MAX), slots_max };
        let inode = NEXT_INODE.fetch_add(1, Ordering::Relaxed);
        let attributes = Attributes { uid, gid, ..Attributes::anonymous(inode, S_IFIFO | 0o600) };
        Arc::new(Self {
            queue: Mutex::new(rank::PIPE, queue),
            waiters: WaitQueue::new(),
            listeners: WaitQueue::new(),
            attributes: SpinLock::new(rank::FILE_TABLES, attributes),
            write_hint: AtomicU8::new(0),
            inode,
            used: AtomicU32::new(0),
            slots_max: AtomicU32::new(slots_in_u32(slots_max)),
            readers: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            reader_openings: AtomicU64::new(0),
            writer_openings: AtomicU64::new(0),
        })
    }

    /// Opens an end. `ENXIO` for a writer that does not want to wait when there is no reader. The caller waits for
    /// [`File::opening`] before it shows the descriptor to the program.
    pub fn open(self: &Arc<Self>, flags: OpenFlags) -> Result<Arc<PipeEnd>, Errno> {
        let access = flags.access_mode();
        let is_nonblocking = flags.contains(OpenFlags::NONBLOCK);
        if access == AccessMode::WriteOnly && is_nonblocking && self.readers.load(Ordering::Acquire) == 0 {
            return Err(Errno::ENXIO);
        }
        let (has_peer, openings) = match access {
            AccessMode::ReadOnly => (self.has_writers(), &self.writer_openings),
            _ => (self.has_readers(), &self.reader_openings),
        };
        // A peer that is there has come, even if it leaves before the opener looks.
        let peer_openings = if has_peer { PEER_WAS_THERE } else { openings.load(Ordering::Acquire) };
        let end = self.end(access, peer_openings);
        // Whoever waits for this end in its own `open`.
        self.waiters.wake_all();
        Ok(end)
    }

    /// Counts and makes an end.
    fn end(self: &Arc<Self>, access: AccessMode, peer_openings: u64) -> Arc<PipeEnd> {
        if access.can_read() {
            self.readers.fetch_add(1, Ordering::AcqRel);
            self.reader_openings.fetch_add(1, Ordering::AcqRel);
        }
        if access.can_write() {
            self.writers.fetch_add(1, Ordering::AcqRel);
            self.writer_openings.fetch_add(1, Ordering::AcqRel);
        }
        Arc::new(PipeEnd { pipe: Arc::clone(self), access, peer_openings })
    }

    fn publish(&self, queue: &Queue) {
        self.used.store(slots_in_u32(queue.pieces.len()), Ordering::Release);
    }

    /// Bytes in the queue.
    fn len_bytes(&self) -> usize {
        self.queue.lock().pieces.iter().map(|piece| piece.len).sum()
    }

    fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }

    /// Whether somebody can read what is written.
    pub fn is_read(&self) -> bool {
        self.has_readers()
    }

    fn has_readers(&self) -> bool {
        self.readers.load(Ordering::Acquire) > 0
    }

    /// Moves what is there to `to`, without faulting. Answers the bytes moved and why it stopped early, if it did.
    fn drain(&self, queue: &mut Queue, to: &mut UserWriter<'_>) -> (usize, Option<Stop>) {
        let mut done = 0;
        while !to.is_full() {
            let Some(piece) = queue.pieces.front_mut() else { break };
            let wanted = piece.len.min(to.remaining());
            let copied = match piece.frame.read_to(piece.offset, to, wanted) {
                Ok(copied) => copied,
                Err(fault) => return (done, Some(Stop::Fault(fault))),
            };
            done += copied;
            piece.offset += copied;
            piece.len -= copied;
            let is_packet_over = piece.is_packet && copied == wanted;
            if (piece.len == 0 || is_packet_over)
                && let Some(piece) = queue.pieces.pop_front()
            {
                queue.keep_frame(piece.frame);
            }
            if is_packet_over {
                break;
            }
        }
        (done, None)
    }

    /// Moves bytes of `from` to the queue, as far as there are slots, without faulting.
    fn fill(&self, queue: &mut Queue, from: &mut UserReader<'_>, is_packet: bool) -> (usize, Option<Stop>) {
        let mut done = match self.merge(queue, from, is_packet) {
            Ok(merged) => merged,
            Err(stop) => return (0, Some(stop)),
        };
        while !from.is_empty() && !queue.is_full() {
            let frame = match queue.take_frame() {
                Ok(frame) => frame,
                Err(errno) => return (done, Some(Stop::Error(errno))),
            };
            let len = from.remaining().min(PAGE_SIZE);
            match frame.write_all_from(0, from, len) {
                Ok(()) => queue.pieces.push_back(Piece { frame, offset: 0, len, is_packet }),
                Err(fault) => {
                    queue.keep_frame(frame);
                    return (done, Some(Stop::Fault(fault)));
                }
            }
            done += len;
        }
        (done, None)
    }

    /// Appends what does not fill a page of its own to the last piece, if it fits there.
    fn merge(&self, queue: &mut Queue, from: &mut UserReader<'_>, is_packet: bool) -> Result<usize, Stop> {
        let tail = from.remaining() % PAGE_SIZE;
        match queue.pieces.back_mut() {
            Some(last) if tail > 0 && !is_packet && last.takes(tail) => {
                last.frame.write_all_from(last.end(), from, tail).map_err(Stop::Fault)?;
                last.len += tail;
                Ok(tail)
            }
            _ => Ok(0),
        }
    }
}

fn slots_in_u32(slots: usize) -> u32 {
    u32::try_from(slots).unwrap_or(u32::MAX)
}

/// Makes a pipe: its end for reading and its end for writing.
pub fn pipe() -> (Arc<PipeEnd>, Arc<PipeEnd>) {
    pipe_owned_by(0, 0)
}

/// Makes a pipe that belongs to a user and a group.
pub fn pipe_owned_by(uid: u32, gid: u32) -> (Arc<PipeEnd>, Arc<PipeEnd>) {
    let pipe = Pipe::owned_by(uid, gid);
    let reader = pipe.end(AccessMode::ReadOnly, NO_OPENINGS);
    let writer = pipe.end(AccessMode::WriteOnly, NO_OPENINGS);
    (reader, writer)
}

/// The count of openings before any peer: the peer of a new pipe's end has come.
const NO_OPENINGS: u64 = 0;

/// The count of openings of an end whose peer was there before it.
const PEER_WAS_THERE: u64 = u64::MAX;

/// An open end of a pipe.
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    access: AccessMode,
    /// How often the other end had been opened when this one was.
    peer_openings: u64,
}

impl PipeEnd {
    /// The pipe, to open further ends of it (`/proc/self/fd/N`) or to compare.
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }

    fn wake(&self, events: PollEvents) {
        self.pipe.waiters.wake(events.bits());
    }

    /// Has signals sent to the owners of other ends after a call, whether it moved something or not, unless it is to
    /// wait.
    #[inline]
    fn signal_after(&self, open: &OpenFile, result: &IoResult, events: PollEvents) {
        // Whoever has changed what is ready has woken those who wait for it.
        if self.pipe.listeners.has_waiters_after_fence()
            && (open.is_nonblocking() || !matches!(result, Ok(Progress::WouldBlock)))
        {
            self.signal(events);
        }
    }

    fn signal(&self, events: PollEvents) {
        self.pipe.listeners.wake(events.bits());
    }

    /// Moves what is there to `to`.
    #[inline]
    fn take_bytes(&self, to: &mut UserWriter<'_>) -> IoResult {
        // Looked at before the queue: bytes written before the last writer left are seen.
        let has_writers = self.pipe.has_writers();
        let nothing = Ok(if has_writers { Progress::WouldBlock } else { Progress::Done(0) });
        // Whoever adds bytes says so before it wakes.
        if self.pipe.used.load(Ordering::Acquire) == 0 {
            return nothing;
        }
        let mut was_full = false;
        let result = self.transfer(|queue| {
            was_full |= queue.is_full();
            self.pipe.drain(queue, to)
        });
        if was_full && result != Ok(0) {
            self.wake(PollEvents::WRITABLE);
        }
        match result? {
            0 => nothing,
            done => Ok(Progress::Done(done)),
        }
    }

    /// Moves what there is room for from `from`.
    #[inline]
    fn put_bytes(&self, from: &mut UserReader<'_>, is_packet: bool) -> IoResult {
        if !self.pipe.has_readers() {
            return Err(Errno::EPIPE);
        }
        let done = self.transfer(|queue| self.pipe.fill(queue, from, is_packet))?;
        if done == 0 {
            return Ok(Progress::WouldBlock);
        }
        self.wake(PollEvents::READABLE);
        Ok(Progress::Done(done))
    }

    /// Runs `transfer` under the lock, pages in what it misses, and goes on until it stops for another reason. Answers the
    /// bytes moved, or the error when there were none.
    fn transfer(&self, mut transfer: impl FnMut(&mut Queue) -> (usize, Option<Stop>)) -> Result<usize, Errno> {
        let mut done = 0;
        loop {
            let mut queue = self.pipe.queue.lock();
            let (moved, stop) = transfer(&mut queue);
            self.pipe.publish(&queue);
            drop(queue);
            done += moved;
            let failure = match stop {
                None => return Ok(done),
                Some(Stop::Fault(fault)) => fault.resolve(),
                Some(Stop::Error(errno)) => Err(errno),
            };
            match failure {
                Ok(()) => {}
                Err(_) if done > 0 => return Ok(done),
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl File for PipeEnd {
    fn read(&self, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        if to.is_full() {
            return Ok(Progress::Done(0));
        }
        let result = self.take_bytes(to);
        self.signal_after(open, &result, PollEvents::WRITABLE);
        result
    }

    fn write(&self, open: &OpenFile, from: &mut UserReader<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        if from.is_empty() {
            return Ok(Progress::Done(0));
        }
        let result = self.put_bytes(from, open.flags().contains(OpenFlags::DIRECT));
        self.signal_after(open, &result, PollEvents::READABLE);
        result
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn readiness(&self) -> PollEvents {
        let mut events = PollEvents::empty();
        let used = self.pipe.used.load(Ordering::Acquire);
        if self.access.can_read() {
            if used > 0 {
                events |= PollEvents::READABLE;
            }
            // A FIFO opened before any writer came is not hung up yet.
            let had_writer = self.pipe.writer_openings.load(Ordering::Acquire) != self.peer_openings;
            if !self.pipe.has_writers() && (had_writer || self.access != AccessMode::ReadOnly) {
                events |= PollEvents::HUP;
            }
        }
        if self.access.can_write() {
            if used < self.pipe.slots_max.load(Ordering::Acquire) {
                events |= PollEvents::WRITABLE;
            }
            if !self.pipe.has_readers() {
                events |= PollEvents::ERR;
            }
        }
        events
    }

    fn write_hint(&self) -> Option<&AtomicU8> {
        Some(&self.pipe.write_hint)
    }

    fn signal_queue(&self) -> Option<&WaitQueue> {
        Some(&self.pipe.listeners)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.pipe.waiters)
    }

    /// Readers and writers take turns; those who wait for a peer to open do not.
    fn wakes_one(&self, events: PollEvents) -> bool {
        !events.contains(PollEvents::READABLE | PollEvents::WRITABLE)
    }

    fn opening(&self, open: &OpenFile) -> IoResult {
        let (has_peer, openings) = match self.access {
            AccessMode::ReadOnly => (self.pipe.has_writers(), &self.pipe.writer_openings),
            AccessMode::WriteOnly => (self.pipe.has_readers(), &self.pipe.reader_openings),
            AccessMode::ReadWrite | AccessMode::None => return Ok(Progress::Done(0)),
        };
        let has_come = has_peer || openings.load(Ordering::Acquire) != self.peer_openings;
        if has_come || open.is_nonblocking() { Ok(Progress::Done(0)) } else { Ok(Progress::WouldBlock) }
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(*self.pipe.attributes.lock())
    }

    fn set_ownership(&self, new: Option<&Attributes>) -> Result<(), Errno> {
        if let Some(new) = new {
            let mut attributes = self.pipe.attributes.lock();
            (attributes.mode, attributes.uid, attributes.gid) = (new.mode, new.uid, new.gid);
            attributes.changed = new.changed;
        }
        Ok(())
    }

    fn ioctl(&self, _open: &OpenFile, command: u32, argument: usize) -> Result<usize, Errno> {
        match command {
            ioctl::FIONREAD => {
                let len = i32::try_from(self.pipe.len_bytes()).unwrap_or(i32::MAX);
                write_user_struct(argument, &len)?;
                Ok(0)
            }
            // Linux's pipes answer every other command so, and the caller turns it into ENOTTY.
            _ => Err(Errno::ENOTTY),
        }
    }

    fn allocate(&self, _open: &OpenFile, _mode: u32, _offset: u64, _length: u64) -> Result<(), Errno> {
        Err(Errno::ESPIPE)
    }

    fn pipe_capacity(&self) -> Result<usize, Errno> {
        Ok(self.pipe.queue.lock().slots_max * PAGE_SIZE)
    }

    fn set_pipe_capacity(&self, capacity: usize) -> Result<usize, Errno> {
        /// Linux's bound, which no privilege passes.
        const CAPACITY_LIMIT: usize = 1 << 31;
        if capacity > CAPACITY_LIMIT {
            return Err(Errno::EINVAL);
        }
        let slots_max = capacity.max(PAGE_SIZE).next_power_of_two() / PAGE_SIZE;
        let mut queue = self.pipe.queue.lock();
        if slots_max < queue.pieces.len() {
            return Err(Errno::EBUSY);
        }
        let has_grown = slots_max > queue.slots_max;
        queue.slots_max = slots_max;
        self.pipe.slots_max.store(slots_in_u32(slots_max), Ordering::Release);
        drop(queue);
        if has_grown {
            self.wake(PollEvents::WRITABLE);
        }
        Ok(slots_max * PAGE_SIZE)
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(format!("pipe:[{}]", self.pipe.inode).into_bytes())
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let last_reader = self.access.can_read() && self.pipe.readers.fetch_sub(1, Ordering::AcqRel) == 1;
        let last_writer = self.access.can_write() && self.pipe.writers.fetch_sub(1, Ordering::AcqRel) == 1;
        if last_reader || last_writer {
            if !self.pipe.has_readers() && !self.pipe.has_writers() {
                // A FIFO forgets what nobody read; the frames go outside the lock.
                let mut queue = self.pipe.queue.lock();
                let pieces = core::mem::take(&mut queue.pieces);
                queue.spare.clear();
                self.pipe.publish(&queue);
                drop(queue);
                drop(pieces);
            }
            self.pipe.waiters.wake_all();
            self.signal(PollEvents::READABLE | PollEvents::WRITABLE);
        }
    }
}
