//! Signals about files: `O_ASYNC`, urgent data of sockets, leases that are broken, and what happens in directories
//! (`F_NOTIFY`).
//!
//! A file wakes its wait queue under the queue's lock, where no signal can be sent. So what listens there for `O_ASYNC`
//! only notes what has happened. The signal is sent when the call that caused it returns, before its program goes on;
//! or, when an interrupt caused it or the call goes to sleep, by the timer's interrupt, which is made to come at once.
//! Events that come before that are one signal.
//!
//! As on Linux the signal is `SIGIO` without information, or the one of `F_SETSIG` with the descriptor and what
//! happened. When the queue of signals has no room left for one of those, `SIGIO` is sent in its place. Of urgent data
//! the owner of a socket is told by `SIGURG`, with `O_ASYNC` or without.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use abi::signal::{POLL_IN, POLL_MSG, POLL_OUT, POLL_PRI, SI_KERNEL, SI_SIGIO};
use abi::{Errno, OpenFlags, PollEvents, Siginfo, Signal};
use file::{File, FileOwner, Listening, OpenFile, Owner, OwnerKind, OwnerListener, OwnerUsers, lease};
use net::socket::{Socket, SocketFile};
use sched::TimerId;
use sync::{WaitNode, Wake};
use vfs::notify::DirectoryListener;

use crate::lookup::file_as;
use crate::process::Process;
use crate::signal::send::{Recipient, send_from_interrupt};
use crate::thread::Thread;
use crate::timer::{Expire, Place};

/// The users for whom a thread sets an owner.
pub(crate) fn users(thread: &Thread) -> OwnerUsers {
    let user = thread.credentials().user;
    OwnerUsers { real: user.real, effective: user.effective }
}

/// Who gets the signals of a file.
fn recipient(process: &Process, owner: &FileOwner) -> Option<Recipient> {
    let Owner { kind, id } = owner.get()?;
    match kind {
        OwnerKind::Process if id == process.pid() => Some(Recipient::Process),
        OwnerKind::Group if id == process.group() => Some(Recipient::Process),
        OwnerKind::Thread => Some(Recipient::Thread(id)),
        _ => None,
    }
}

/// Sends the signal of a file. From any context.
fn tell(process: &Process, owner: &FileOwner, fd: i32, code: i32) {
    let Some(recipient) = recipient(process, owner) else { return };
    let plain = Siginfo::new(Signal::SIGIO, SI_KERNEL);
    let is_sent = Signal::new(u8::try_from(owner.signal()).unwrap_or(0))
        .is_some_and(|signal| send_from_interrupt(process, recipient, information(signal, code, fd)));
    if !is_sent {
        send_from_interrupt(process, recipient, plain);
    }
}

/// What a signal says about a file.
fn information(signal: Signal, code: i32, fd: i32) -> Siginfo {
    // A file's code would be taken for one of the signal's own.
    let shown = if signal.last_own_code().is_some() { SI_SIGIO } else { code };
    Siginfo::polled(signal, shown, band(code), fd)
}

/// What `si_band` says with a code.
fn band(code: i32) -> u32 {
    let events = match code {
        POLL_IN => PollEvents::IN | PollEvents::RDNORM,
        POLL_OUT => PollEvents::OUT | PollEvents::WRNORM | PollEvents::WRBAND,
        POLL_PRI => PollEvents::PRI | PollEvents::RDBAND,
        _ => PollEvents::IN | PollEvents::RDNORM | PollEvents::MSG,
    };
    events.bits()
}

/// What happened and was not told yet, and what an owner is told of.
const HAS_INPUT: u32 = 1;
const HAS_ROOM: u32 = 2;
const HAS_URGENT: u32 = 4;
/// What `O_ASYNC` is about.
const ASYNC: u32 = HAS_INPUT | HAS_ROOM;

/// What a wake leaves behind for the interrupt that tells of it.
struct Notice {
    this: Weak<Self>,
    place: Place,
    owner: Arc<FileOwner>,
    process: Weak<Process>,
    /// Asked for urgent data. Whoever drops the notice last may be an interrupt, which must not close a socket.
    socket: Option<Weak<dyn Socket>>,
    pending: AtomicU32,
}

impl Notice {
    /// Whether urgent data was announced since the last call.
    fn has_urgent_news(&self) -> bool {
        // As long as the node is queued its listener refers to the file, so the socket does not end here, under the
        // lock of its queue.
        self.socket.as_ref().and_then(Weak::upgrade).is_some_and(|socket| socket.take_urgent_news())
    }
}

impl Wake for Notice {
    /// A signal leads to a look at the file if the program likes, which is not for the file to rely on.
    fn wake(&self, events: u32) -> bool {
        let events = PollEvents::from_bits_truncate(events);
        let is_end = events.intersects(PollEvents::HUP | PollEvents::ERR);
        let mut happened = 0;
        if events.intersects(PollEvents::READABLE) || is_end {
            happened |= HAS_INPUT;
        }
        if events.intersects(PollEvents::WRITABLE) || is_end {
            happened |= HAS_ROOM;
        }
        if events.contains(PollEvents::PRI) && self.has_urgent_news() {
            happened |= HAS_URGENT;
        }
        happened &= self.owner.wanted();
        if happened != 0
            && self.pending.fetch_or(happened, SeqCst) == 0
            && let Some(this) = self.this.upgrade()
        {
            self.place.start_now(this);
        }
        false
    }
}

impl Expire for Notice {
    fn expire(self: Arc<Self>, _id: TimerId) {
        let happened = self.pending.swap(0, SeqCst);
        let Some(process) = self.process.upgrade() else { return };
        let fd = self.owner.descriptor();
        if happened & HAS_URGENT != 0 {
            if let Some(recipient) = recipient(&process, &self.owner) {
                send_from_interrupt(&process, recipient, Siginfo::new(Signal::SIGURG, SI_KERNEL));
            }
            // Who asked for a signal of its own gets that as well.
            if self.owner.wanted() & ASYNC != 0 && self.owner.signal() != 0 {
                tell(&process, &self.owner, fd, POLL_PRI);
            }
        }
        for (bit, code) in [(HAS_INPUT, POLL_IN), (HAS_ROOM, POLL_OUT)] {
            if happened & bit != 0 {
                tell(&process, &self.owner, fd, code);
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

impl OwnerListener for Listener {
    fn listen_for(&self, wanted: u32) {
        let Some(queue) = self.file.signal_queue() else { return };
        if wanted == 0 {
            queue.remove(&self.node);
        } else {
            self.node.set_events(events_of(wanted).bits());
            queue.add(&self.node);
        }
    }
}

/// The events that may mean what an owner is told of.
fn events_of(wanted: u32) -> PollEvents {
    let mut events = PollEvents::empty();
    if wanted & HAS_INPUT != 0 {
        events |= PollEvents::READABLE | PollEvents::HUP | PollEvents::ERR;
    }
    if wanted & HAS_ROOM != 0 {
        events |= PollEvents::WRITABLE | PollEvents::HUP | PollEvents::ERR;
    }
    if wanted & HAS_URGENT != 0 {
        events |= PollEvents::PRI;
    }
    events
}

/// Sets or clears `O_ASYNC`. A file that sends no signals never has it.
pub(crate) fn set_async(thread: &Thread, open: &OpenFile, fd: i32, is_on: bool) -> Result<(), Errno> {
    let is_so = || open.flags().contains(OpenFlags::ASYNC) == is_on;
    if is_so() || open.file().signal_queue().is_none() {
        return Ok(());
    }
    let owner = open.owner();
    let mut listening = owner.listening();
    if is_so() {
        return Ok(());
    }
    let mut wanted = 0;
    if is_on {
        owner.set_descriptor(fd);
        wanted |= if open.is_readable() { HAS_INPUT } else { 0 };
        wanted |= if open.is_writable() { HAS_ROOM } else { 0 };
    }
    listen_for(thread, open, &mut listening, ASYNC, wanted)?;
    open.change_flags(OpenFlags::ASYNC, if is_on { OpenFlags::ASYNC } else { OpenFlags::empty() });
    Ok(())
}

/// An open file has an owner now, or none. Of a socket's urgent data it is told whether it asks for that or not.
pub(crate) fn owner_changed(thread: &Thread, open: &OpenFile) -> Result<(), Errno> {
    let Some(file) = file_as::<SocketFile>(open) else { return Ok(()) };
    let Some(owner) = open.known_owner() else { return Ok(()) };
    let mut listening = owner.listening();
    let has_owner = owner.get().is_some();
    if has_owner {
        // What came before there was an owner is nobody's.
        file.socket().take_urgent_news();
    }
    listen_for(thread, open, &mut listening, HAS_URGENT, if has_owner { HAS_URGENT } else { 0 })
}

/// Has the owner told of `bits` among those of `mask`.
fn listen_for(
    thread: &Thread,
    open: &OpenFile,
    listening: &mut Listening<'_>,
    mask: u32,
    bits: u32,
) -> Result<(), Errno> {
    listening.want(mask, bits, || {
        let process = thread.process();
        let place = Place::take(process.system())?;
        let notice = Arc::new_cyclic(|this| Notice {
            this: this.clone(),
            place,
            owner: Arc::clone(open.owner()),
            process: Arc::downgrade(process),
            socket: file_as::<SocketFile>(open).map(|file| Arc::downgrade(file.socket())),
            pending: AtomicU32::new(0),
        });
        Ok(Arc::new(Listener { file: Arc::clone(open.file()), node: WaitNode::new(notice) }) as Arc<dyn OwnerListener>)
    })
}

/// Who is told of what is no event of the file's queue.
pub(crate) struct Told {
    owner: Arc<FileOwner>,
    process: Weak<Process>,
    fd: i32,
}

impl Told {
    /// The open file behind a descriptor; its process is told unless somebody else is to be.
    pub(crate) fn new(thread: &Thread, open: &OpenFile, fd: i32) -> Arc<Self> {
        let process = thread.process();
        open.owner().set_if_none(Owner { kind: OwnerKind::Process, id: process.pid() }, users(thread));
        Arc::new(Self { owner: Arc::clone(open.owner()), process: Arc::downgrade(process), fd })
    }
}

impl lease::Holder for Told {
    fn is_broken(&self) {
        if let Some(process) = self.process.upgrade() {
            tell(&process, &self.owner, self.fd, POLL_MSG);
        }
    }

    /// As on Linux a lease takes with it who was to be told, and how.
    fn is_over(&self) {
        self.owner.clear(OwnerKind::Process);
        self.owner.set_signal(0);
    }
}

impl DirectoryListener for Told {
    fn tell(&self) {
        lease::Holder::is_broken(self);
    }
}
