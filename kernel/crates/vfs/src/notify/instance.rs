//! [`Inotify`]: an instance as a file. Its reader gets whole events.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};

use abi::inotify::{InotifyEvent, InotifyMask};
use abi::{Errno, PollEvents, ioctl};
use file::attributes::ANONYMOUS_INODE;
use file::{Attributes, CallFlags, File, IoResult, OpenFile, Progress};
use mm::user::{UserWriter, write_user_struct};
use sync::{Mutex, WaitQueue, rank};

use super::queue::{Queue, QueuedEvent};
use super::watches::{self, InstanceId, LIMITS};
use crate::PathRef;

/// The events of an instance, shared by its watches.
pub(super) struct EventQueue {
    id: InstanceId,
    /// Whose instances and watches they count as.
    uid: u32,
    events: Mutex<Queue>,
    waiters: WaitQueue,
    last_descriptor: AtomicI32,
}

impl EventQueue {
    pub(super) fn id(&self) -> InstanceId {
        self.id
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// The number of the next watch. Numbers are not used again.
    pub(super) fn next_descriptor(&self) -> i32 {
        self.last_descriptor.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn push(&self, descriptor: i32, mask: InotifyMask, cookie: u32, name: &[u8]) {
        if self.events.lock().push(descriptor, mask, cookie, name) {
            self.waiters.wake(PollEvents::READABLE.bits());
        }
    }
}

/// An instance of inotify.
pub struct Inotify {
    queue: Arc<EventQueue>,
    attributes: Attributes,
}

impl Inotify {
    /// A new instance of this user; `EMFILE` when the user has too many.
    pub fn new(uid: u32) -> Result<Arc<Self>, Errno> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        watches::add_instance(uid)?;
        let events_max = LIMITS.queued_events_max.load(Relaxed) as usize;
        let queue = EventQueue {
            id: NEXT_ID.fetch_add(1, Relaxed),
            uid,
            events: Mutex::new(rank::WATCH_EVENTS, Queue::new(events_max)),
            waiters: WaitQueue::new(),
            last_descriptor: AtomicI32::new(0),
        };
        Ok(Arc::new(Self { queue: Arc::new(queue), attributes: Attributes::anonymous(ANONYMOUS_INODE, 0o600) }))
    }

    /// Watches what is at a place, or changes the watch on it. Answers the watch's number.
    pub fn watch(&self, path: &PathRef, mask: InotifyMask) -> Result<i32, Errno> {
        watches::add(&self.queue, path.inode(), mask)
    }

    /// Ends a watch.
    pub fn end_watch(&self, descriptor: i32) -> Result<(), Errno> {
        watches::remove(self.queue.id, descriptor)
    }

    /// The next event that fits. `EINVAL` when not even the first of a read does.
    fn take(&self, room: usize, is_first: bool) -> Result<Option<QueuedEvent>, Errno> {
        let mut events = self.queue.events.lock();
        match events.next_len() {
            Some(len) if len > room => {
                if is_first {
                    Err(Errno::EINVAL)
                } else {
                    Ok(None)
                }
            }
            _ => Ok(events.take()),
        }
    }
}

fn write_event(event: &QueuedEvent, to: &mut UserWriter<'_>) -> Result<(), Errno> {
    let name_len = event.name_len();
    to.write_struct(&InotifyEvent {
        wd: event.descriptor,
        mask: event.mask.bits(),
        cookie: event.cookie,
        len: u32::try_from(name_len).map_err(|_| Errno::EINVAL)?,
    })?;
    to.write_all(&event.name)?;
    let filled = to.fill_zero(name_len - event.name.len())?;
    if filled == name_len - event.name.len() { Ok(()) } else { Err(Errno::EFAULT) }
}

impl File for Inotify {
    fn read(&self, _open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        let mut done = 0;
        while let Some(event) = self.take(to.remaining(), done == 0)? {
            // As on Linux the event is lost with memory that cannot be written.
            write_event(&event, to)?;
            done += event.len_bytes();
        }
        if done == 0 { Ok(Progress::WouldBlock) } else { Ok(Progress::Done(done)) }
    }

    fn call_flags(&self, _open: &OpenFile, _writes: bool) -> CallFlags {
        CallFlags::None
    }

    fn readiness(&self) -> PollEvents {
        let is_empty = self.queue.events.lock().next_len().is_none();
        if is_empty { PollEvents::empty() } else { PollEvents::READABLE }
    }

    fn signal_queue(&self) -> Option<&WaitQueue> {
        self.wait_queue()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue.waiters)
    }

    fn seek(&self, _open: &OpenFile, _offset: i64, _whence: u32) -> Result<u64, Errno> {
        Ok(0)
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(self.attributes)
    }

    fn ioctl(&self, _open: &OpenFile, command: u32, argument: usize) -> Result<usize, Errno> {
        if command != ioctl::FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let len = self.queue.events.lock().len_bytes();
        write_user_struct(argument, &i32::try_from(len).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:inotify".to_vec())
    }

    fn describe(&self, out: &mut Vec<u8>) {
        watches::describe(self.queue.id, |descriptor, inode, device, mask| {
            let line = alloc::format!(
                "inotify wd:{descriptor:x} ino:{inode:x} sdev:{device:x} mask:{:x} ignored_mask:0 \n",
                mask.bits()
            );
            out.extend_from_slice(line.as_bytes());
        });
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        watches::remove_instance(self.queue.id, self.queue.uid);
    }
}
