//! A descriptor that is readable when memory is short: how a program joins in when caches shrink.
//!
//! It is the idea of OSv's shrinkers with the form of an `eventfd`: a thread of the program waits, by `read`, `poll`,
//! `epoll` or `wait_many`, and frees what it can do without. So it never runs where it does not expect it, in the
//! middle of an allocation or under locks of its own. [`mm::pressure`] says when there is something to tell.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::native::{MEMORY_CRITICAL, MEMORY_LOW, MemoryEvent};
use abi::{Errno, OpenFlags, PollEvents};
use file::attributes::ANONYMOUS_INODE;
use file::{Attributes, File, IoResult, OpenFile, Progress};
use mm::pressure::{self, Listener};
use mm::{PAGE_SIZE, UserReader, UserWriter};
use sync::WaitQueue;

use crate::SyscallResult;
use crate::thread::Thread;

/// What a program is told by.
struct MemoryEvents {
    listener: Listener,
    /// Shortages that are not as bad are none of its business.
    level: u32,
    /// The event that was read last.
    seen: AtomicU64,
    attributes: Attributes,
}

/// Answers a new descriptor that tells of shortages of `level` and worse. `flags`: `O_CLOEXEC` and `O_NONBLOCK`.
pub(super) fn memory_events(thread: &Thread, level: u32, flags: u32) -> SyscallResult {
    let flags = OpenFlags::from_bits_retain(flags);
    if !matches!(level, MEMORY_LOW | MEMORY_CRITICAL) || !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let file = Arc::new(MemoryEvents {
        listener: Listener::new(),
        level,
        seen: AtomicU64::new(u64::MAX),
        attributes: Attributes::anonymous(ANONYMOUS_INODE, 0o600),
    });
    let open = OpenFile::new(file, flags & OpenFlags::NONBLOCK);
    let fd = thread.fds().install(open, flags.contains(OpenFlags::CLOEXEC))?;
    Ok(usize::try_from(fd).unwrap_or(usize::MAX))
}

impl File for MemoryEvents {
    fn read(&self, _open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        if to.remaining() < size_of::<MemoryEvent>() {
            return Err(Errno::EINVAL);
        }
        let shortage = pressure::current();
        if shortage.level < self.level || self.seen.swap(shortage.events, Relaxed) == shortage.events {
            return Ok(Progress::WouldBlock);
        }
        let wanted_bytes = shortage.wanted_frames.saturating_mul(PAGE_SIZE as u64);
        to.write_struct(&MemoryEvent { level: shortage.level, reserved: 0, wanted_bytes })?;
        Ok(Progress::Done(size_of::<MemoryEvent>()))
    }

    fn write(&self, _open: &OpenFile, _from: &mut UserReader<'_>, _position: Option<u64>) -> IoResult {
        Err(Errno::EINVAL)
    }

    fn readiness(&self) -> PollEvents {
        let shortage = pressure::current();
        let has_news = shortage.level >= self.level && self.seen.load(Relaxed) != shortage.events;
        if has_news { PollEvents::READABLE | PollEvents::PRI } else { PollEvents::empty() }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(self.listener.queue())
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(self.attributes)
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[memory-events]".to_vec())
    }
}
