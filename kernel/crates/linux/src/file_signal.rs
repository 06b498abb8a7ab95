//! Signals about files: `O_ASYNC`, and leases that are broken.
//!
//! A file wakes its wait queue under the queue's lock, where no signal can be sent. So what listens there for `O_ASYNC`
//! only notes what has happened. The signal is sent when the call that caused it returns, before its program goes on; or, when
//! an interrupt caused it or the call goes to sleep, by the timer's interrupt, which is made to come at once. Events that
//! come before that are one signal.
//!
//! As on Linux the signal is `SIGIO` without information, or the one of `F_SETSIG` with the descriptor and what
//! happened. When the queue of signals has no room left for one of those, `SIGIO` is sent in its place.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use abi::signal::{POLL_IN, POLL_MSG, POLL_OUT, SI_KERNEL};
use abi::{Errno, OpenFlags, PollEvents, Siginfo, Signal};
use file::{File, FileOwner, OpenFile, Owner, OwnerKind, ReleaseWatcher, lease};
use sched::TimerId;
use sync::{WaitNode, Wake};

use crate::process::Process;
use crate::signal::send::{Recipient, send_from_interrupt};
use crate::thread::Thread;
use crate::timer::{Expire, Place};

/// Sends the signal of a file. From any context.
fn tell(process: &Process, owner: &FileOwner, fd: i32, code: i32) {
    let Some(Owner { kind, id }) = owner.get() else { return };
    let recipient = match kind {
        OwnerKind::Process if id == process.pid() => Recipient::Process,
        OwnerKind::Group if id == process.group() => Recipient::Process,
        OwnerKind::Thread => Recipient::Thread(id),
        _ => return,
    };
    let plain = Siginfo::new(Signal::SIGIO, SI_KERNEL);
    let is_sent = Signal::new(u8::try_from(owner.signal()).unwrap_or(0))
        .is_some_and(|signal| send_from_interrupt(process, recipient, Siginfo::polled(signal, code, band(code), fd)));
    if !is_sent {
        send_from_interrupt(process, recipient, plain);
    }
}

/// What `si_band` says with a code.
fn band(code: i32) -> u32 {
    let events = match code {
        POLL_IN => PollEvents::IN | PollEvents::RDNORM,
        POLL_OUT => PollEvents::OUT | PollEvents::WRNORM | PollEvents::WRBAND,
        _ => PollEvents::IN | PollEvents::RDNORM | PollEvents::MSG,
    };
    events.bits()
}

/// What happened and was not told yet.
const HAS_INPUT: u32 = 1;
const HAS_ROOM: u32 = 2;

/// What a wake leaves behind for the interrupt that tells of it.
struct Notice {
    this: Weak<Self>,
    place: Place,
    owner: Arc<FileOwner>,
    process: Weak<Process>,
    fd: i32,
    /// Of [`HAS_INPUT`] and [`HAS_ROOM`], what the open file can use.
    wanted: u32,
    pending: AtomicU32,
}

impl Wake for Notice {
    fn wake(&self, events: u32) {
        let events = PollEvents::from_bits_truncate(events);
        let is_end = events.intersects(PollEvents::HUP | PollEvents::ERR);
        let mut happened = 0;
        if events.intersects(PollEvents::READABLE) || is_end {
            happened |= HAS_INPUT;
        }
        if events.intersects(PollEvents::WRITABLE) || is_end {
            happened |= HAS_ROOM;
        }
        happened &= self.wanted;
        if happened != 0
            && self.pending.fetch_or(happened, SeqCst) == 0
            && let Some(this) = self.this.upgrade()
        {
            self.place.start_now(this);
        }
    }
}

impl Expire for Notice {
    fn expire(self: Arc<Self>, _id: TimerId) {
        let happened = self.pending.swap(0, SeqCst);
        let Some(process) = self.process.upgrade() else { return };
        for (bit, code) in [(HAS_INPUT, POLL_IN), (HAS_ROOM, POLL_OUT)] {
            if happened & bit != 0 {
                tell(&process, &self.owner, self.fd, code);
            }
        }
    }

    fn clock_was_set(self: Arc<Self>) {}
}

/// A notice in the wait queue of a file.
struct Listener {
    file: Arc<dyn File>,
    node: Arc<WaitNode>,
}

impl ReleaseWatcher for Listener {
    fn open_file_released(&self) {
        if let Some(queue) = self.file.signal_queue() {
            queue.remove(&self.node);
        }
    }
}

/// Sets or clears `O_ASYNC`. A file that sends no signals never has it.
pub(crate) fn set_async(thread: &Thread, open: &OpenFile, fd: i32, is_on: bool) -> Result<(), Errno> {
    if open.file().signal_queue().is_none() || open.flags().contains(OpenFlags::ASYNC) == is_on {
        return Ok(());
    }
    if is_on {
        let listener = listen(thread, open, fd)?;
        open.owner().replace_listener(Some(listener));
    } else if let Some(owner) = open.known_owner() {
        owner.replace_listener(None);
    }
    open.change_flags(OpenFlags::ASYNC, if is_on { OpenFlags::ASYNC } else { OpenFlags::empty() });
    Ok(())
}

fn listen(thread: &Thread, open: &OpenFile, fd: i32) -> Result<Arc<dyn ReleaseWatcher>, Errno> {
    let process = thread.process();
    let place = Place::take(process.system())?;
    let mut wanted = 0;
    wanted |= if open.is_readable() { HAS_INPUT } else { 0 };
    wanted |= if open.is_writable() { HAS_ROOM } else { 0 };
    let notice = Arc::new_cyclic(|this| Notice {
        this: this.clone(),
        place,
        owner: Arc::clone(open.owner()),
        process: Arc::downgrade(process),
        fd,
        wanted,
        pending: AtomicU32::new(0),
    });
    let listener = Arc::new(Listener { file: Arc::clone(open.file()), node: WaitNode::new(notice) });
    if let Some(queue) = listener.file.signal_queue() {
        queue.add(&listener.node);
    }
    Ok(listener)
}

/// Who has a lease.
pub(crate) struct LeaseHolder {
    owner: Arc<FileOwner>,
    process: Weak<Process>,
    fd: i32,
}

impl LeaseHolder {
    /// The open file behind a descriptor; its process is told unless somebody else is to be.
    pub(crate) fn new(thread: &Thread, open: &OpenFile, fd: i32) -> Arc<Self> {
        let process = thread.process();
        open.owner().set_if_none(Owner { kind: OwnerKind::Process, id: process.pid() });
        Arc::new(Self { owner: Arc::clone(open.owner()), process: Arc::downgrade(process), fd })
    }
}

impl lease::Holder for LeaseHolder {
    fn is_broken(&self) {
        if let Some(process) = self.process.upgrade() {
            tell(&process, &self.owner, self.fd, POLL_MSG);
        }
    }
}
