//! `eventfd`: a 64-bit counter to wait for.
//!
//! A read takes the whole counter, or 1 of it in semaphore mode, and would block at 0; a write adds, and would block where the
//! sum passed [`COUNT_MAX`]. The counter is one atomic word; there is no lock.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::{Errno, PollEvents};
use mm::user::{UserReader, UserWriter};
use sync::WaitQueue;

use crate::attributes::ANONYMOUS_INODE;
use crate::{Attributes, CallFlags, File, IoResult, OpenFile, Progress};

/// The largest count a write can reach.
const COUNT_MAX: u64 = u64::MAX - 1;
/// Bytes of a transfer.
const WORD_LEN: usize = 8;

static NEXT_ID: AtomicU32 = AtomicU32::new(0);

/// An event counter.
pub struct EventFd {
    count: AtomicU64,
    is_semaphore: bool,
    /// Tells counters apart in `/proc/self/fdinfo`.
    id: u32,
    queue: WaitQueue,
    attributes: Attributes,
}

impl EventFd {
    /// A counter that starts at `initial`.
    pub fn new(initial: u32, is_semaphore: bool) -> Arc<Self> {
        Arc::new(Self {
            count: AtomicU64::new(u64::from(initial)),
            is_semaphore,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            queue: WaitQueue::new(),
            attributes: Attributes::anonymous(ANONYMOUS_INODE, 0o600),
        })
    }

    /// Adds to the count as far as it goes and wakes readers: what the kernel does to signal a completion.
    pub fn signal(&self, amount: u64) {
        let add = |count: u64| Some(count.saturating_add(amount));
        // The closure never declines.
        let _ = self.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add);
        self.wake(PollEvents::READABLE);
    }

    fn wake(&self, events: PollEvents) {
        self.queue.wake(events.bits());
    }
}

impl File for EventFd {
    fn read(&self, _open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        if to.remaining() < WORD_LEN {
            return Err(Errno::EINVAL);
        }
        let take = |count: u64| match (count, self.is_semaphore) {
            (0, _) => None,
            (count, true) => Some(count - 1),
            (_, false) => Some(0),
        };
        let Ok(before) = self.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, take) else {
            return Ok(Progress::WouldBlock);
        };
        self.wake(PollEvents::WRITABLE);
        let taken = if self.is_semaphore { 1 } else { before };
        to.write_struct(&taken)?;
        Ok(Progress::Done(WORD_LEN))
    }

    fn write(&self, _open: &OpenFile, from: &mut UserReader<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        if from.remaining() != WORD_LEN {
            return Err(Errno::EINVAL);
        }
        // A caller that waits asks again with the same reader: the word is consumed only when it is counted.
        let amount: u64 = from.peek_struct()?;
        if amount == u64::MAX {
            return Err(Errno::EINVAL);
        }
        let add = |count: u64| count.checked_add(amount).filter(|sum| *sum <= COUNT_MAX);
        if self.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add).is_err() {
            return Ok(Progress::WouldBlock);
        }
        from.skip(WORD_LEN);
        self.wake(PollEvents::READABLE);
        Ok(Progress::Done(WORD_LEN))
    }

    fn call_flags(&self, _open: &OpenFile, writes: bool) -> CallFlags {
        if writes { CallFlags::None } else { CallFlags::All }
    }

    fn readiness(&self) -> PollEvents {
        let count = self.count.load(Ordering::Acquire);
        let mut events = PollEvents::empty();
        if count > 0 {
            events |= PollEvents::IN;
        }
        if count == u64::MAX {
            events |= PollEvents::ERR;
        }
        if count < COUNT_MAX {
            events |= PollEvents::OUT;
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn wakes_one(&self, _events: PollEvents) -> bool {
        true
    }

    fn seek(&self, _open: &OpenFile, _offset: i64, _whence: u32) -> Result<u64, Errno> {
        Ok(0)
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(self.attributes)
    }

    fn describe(&self, out: &mut Vec<u8>) {
        let count = self.count.load(Ordering::Acquire);
        let semaphore = u8::from(self.is_semaphore);
        let text = format!("eventfd-count: {count:16x}\neventfd-id: {}\neventfd-semaphore: {semaphore}\n", self.id);
        out.extend_from_slice(text.as_bytes());
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[eventfd]".to_vec())
    }
}
