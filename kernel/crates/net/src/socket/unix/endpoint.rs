//! [`Endpoint`]: the part of a socket that others reach: its queue, its name, how it stands.
//!
//! The queue of an endpoint is what it receives. Others push to it under its lock and wake its wait queue; its owner takes out, and wakes
//! who sent. What `poll` asks is mirrored in atomics, written under the lock, so that readiness takes none.
//!
//! How full a buffer is counts against the sender: the bytes a stream has in the other's queue, or the messages a datagram socket has in
//! all queues. As in Linux a socket is writable while at most a quarter of its buffer is used, so that a sender that was stopped is woken
//! for a good piece of work.
//!
//! Lock: [`rank::UNIX_SOCKET`].

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicUsize, Ordering};

use abi::socket::{SOCK_DGRAM, SOCK_STREAM};
use abi::{Errno, PollEvents};
use sync::{Mutex, MutexGuard, SpinLock, WaitQueue, rank};

use super::UnixSocket;
use super::in_flight::Rights;
use super::ring::ByteRing;
use super::urgent::{MARK_CHARGE, Urgent};
use crate::socket::options::SocketOptions;
use crate::socket::{Caller, SocketCredentials, UnixName};

/// The datagrams that wait at most at a socket that is not connected to their sender, less one
/// (`net.unix.max_dgram_qlen`).
pub(super) const MESSAGES_MAX: usize = 10;
/// The senders that wait at most for room in one queue; further ones are told of it by later wakes alone.
const BLOCKED_MAX: usize = 4096;

/// It receives nothing any more.
pub(super) const RECEIVE_SHUT: u8 = 1;
/// It sends nothing any more.
pub(super) const SEND_SHUT: u8 = 2;

/// How an endpoint stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum State {
    Idle = 0,
    Listening = 1,
    Connected = 2,
}

/// Something that goes along with bytes of a stream.
pub(super) struct Mark {
    /// The first byte, and the one behind the last, counted from the beginning of the stream.
    pub start: u64,
    pub end: u64,
    pub rights: Option<Rights>,
    pub credentials: Option<SocketCredentials>,
}

/// A datagram.
pub(super) struct Message {
    pub bytes: Vec<u8>,
    pub rights: Option<Rights>,
    pub credentials: SocketCredentials,
    pub from: Arc<Endpoint>,
}

impl Message {
    /// What it counts against the buffer of its sender: its memory, and what Linux needs to keep it.
    pub(super) fn charge(len: usize) -> usize {
        const OVERHEAD: usize = 512;
        len.next_multiple_of(256).max(256) + OVERHEAD
    }
}

/// What an endpoint receives.
#[derive(Default)]
pub(super) struct Queue {
    /// A stream's bytes.
    pub bytes: ByteRing,
    /// Bytes of the stream that were taken out.
    pub taken: u64,
    pub marks: VecDeque<Mark>,
    /// Which of the bytes is urgent.
    pub urgent: Urgent,
    /// Datagrams.
    pub messages: VecDeque<Message>,
    /// Connections to be accepted.
    pub pending: VecDeque<Arc<UnixSocket>>,
    /// How many of them may wait, less one.
    pub backlog: usize,
    /// Who waits for room.
    blocked: Vec<Weak<Endpoint>>,
    /// Closed: takes nothing.
    pub is_closed: bool,
}

impl Queue {
    /// What the bytes of the stream take of their sender's buffer.
    #[inline]
    pub(super) fn used(&self) -> usize {
        self.bytes.len() + self.urgent.mark_count() * MARK_CHARGE
    }

    /// Bytes of the stream that can be read.
    pub(super) fn readable_len(&self) -> usize {
        self.bytes.len() - self.urgent.mark_count()
    }

    /// Remembers that `endpoint` is to be woken when there is room.
    pub(super) fn note_blocked(&mut self, endpoint: &Arc<Endpoint>) {
        let is_known = self.blocked.iter().any(|other| Weak::as_ptr(other) == Arc::as_ptr(endpoint));
        if !is_known && self.blocked.len() < BLOCKED_MAX {
            self.blocked.push(Arc::downgrade(endpoint));
        }
    }

    /// Who was to be woken.
    pub(super) fn take_blocked(&mut self) -> Vec<Weak<Endpoint>> {
        core::mem::take(&mut self.blocked)
    }
}

/// Wakes senders that waited for room.
pub(super) fn wake_blocked(blocked: Vec<Weak<Endpoint>>) {
    for endpoint in blocked.iter().filter_map(Weak::upgrade) {
        endpoint.wake(PollEvents::WRITABLE | PollEvents::WRBAND);
    }
}

/// Whom `SO_PEERCRED` and `SO_PEERGROUPS` tell of.
#[derive(Clone)]
pub(super) struct Known {
    pub credentials: SocketCredentials,
    /// Supplementary groups; none if nobody said.
    pub groups: Option<Arc<[u32]>>,
}

/// One end.
pub(super) struct Endpoint {
    /// `SOCK_`.
    pub kind: i32,
    pub options: SocketOptions,
    pub waiters: WaitQueue,
    queue: Mutex<Queue>,
    /// Bytes, messages or connections in the queue.
    level: AtomicUsize,
    /// There is an urgent byte to take.
    has_urgent: AtomicBool,
    /// One has come of which the owner was not told.
    pub has_urgent_news: AtomicBool,
    /// What it has in other queues: datagrams only.
    pub outstanding: AtomicUsize,
    state: AtomicU8,
    shut: AtomicU8,
    error: AtomicU16,
    name: SpinLock<Arc<UnixName>>,
    /// Who is at the other end; a listener's own.
    pub known: SpinLock<Option<Known>>,
    /// The groups of who was about to connect or to listen.
    own_groups: SpinLock<Option<Arc<[u32]>>>,
    /// The address of the endpoint a datagram socket is connected to, to compare with; 0 for none.
    pub connected_to: AtomicUsize,
    is_named: AtomicBool,
}

impl Endpoint {
    pub(super) fn new(kind: i32) -> Arc<Self> {
        Arc::new(Self {
            kind,
            options: SocketOptions::default(),
            waiters: WaitQueue::new(),
            queue: Mutex::new(rank::UNIX_SOCKET, Queue::default()),
            level: AtomicUsize::new(0),
            has_urgent: AtomicBool::new(false),
            has_urgent_news: AtomicBool::new(false),
            outstanding: AtomicUsize::new(0),
            state: AtomicU8::new(State::Idle as u8),
            shut: AtomicU8::new(0),
            error: AtomicU16::new(0),
            name: SpinLock::new(rank::FILE_TABLES, Arc::default()),
            known: SpinLock::new(rank::FILE_TABLES, None),
            own_groups: SpinLock::new(rank::FILE_TABLES, None),
            connected_to: AtomicUsize::new(0),
            is_named: AtomicBool::new(false),
        })
    }

    /// Notes who is at the other end, or listens.
    pub(super) fn know(&self, known: Option<Known>) {
        let old = core::mem::replace(&mut *self.known.lock(), known);
        drop(old);
    }

    /// Notes the groups of who is about to connect or to listen.
    pub(super) fn note_groups(&self, groups: &Arc<[u32]>) {
        let old = self.own_groups.lock().replace(Arc::clone(groups));
        drop(old);
    }

    /// Who `caller` is, with the groups that were noted.
    pub(super) fn known(&self, caller: &Caller) -> Known {
        Known { credentials: caller.credentials, groups: self.own_groups.lock().clone() }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Writes down how full the queue is, under its lock.
    pub(super) fn publish(&self, queue: &Queue) {
        let level = queue.used() + queue.messages.len() + queue.pending.len();
        self.level.store(level, Ordering::Release);
        self.has_urgent.store(queue.urgent.has_byte(), Ordering::Release);
    }

    pub(super) fn has_urgent(&self) -> bool {
        self.has_urgent.load(Ordering::Acquire)
    }

    /// Whether reading stands at an urgent byte, or where one was.
    pub(super) fn is_at_mark(&self) -> bool {
        let queue = self.queue();
        queue.urgent.is_at_mark(queue.taken)
    }

    pub(super) fn level(&self) -> usize {
        self.level.load(Ordering::Acquire)
    }

    pub(super) fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            1 => State::Listening,
            2 => State::Connected,
            _ => State::Idle,
        }
    }

    /// Goes from one state to another. The error holds the state it is in instead.
    pub(super) fn change_state(&self, from: State, to: State) -> Result<(), State> {
        match self.state.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.state()),
        }
    }

    pub(super) fn shut(&self) -> u8 {
        self.shut.load(Ordering::Acquire)
    }

    /// Closes halves, and wakes who waits for what cannot come any more.
    pub(super) fn close_halves(&self, halves: u8) {
        self.shut.fetch_or(halves, Ordering::AcqRel);
        let mut events = PollEvents::empty();
        if halves & RECEIVE_SHUT != 0 {
            events |= PollEvents::READABLE | PollEvents::RDHUP;
        }
        if halves & SEND_SHUT != 0 {
            events |= PollEvents::WRITABLE;
        }
        if halves == RECEIVE_SHUT | SEND_SHUT {
            events |= PollEvents::HUP;
        }
        self.wake(events);
    }

    pub(super) fn set_error(&self, errno: Errno) {
        self.error.store(errno.raw(), Ordering::Release);
    }

    pub(super) fn take_error(&self) -> Option<Errno> {
        if self.error.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Errno::from_raw(self.error.swap(0, Ordering::AcqRel))
    }

    pub(super) fn has_error(&self) -> bool {
        self.error.load(Ordering::Acquire) != 0
    }

    pub(super) fn name(&self) -> Arc<UnixName> {
        Arc::clone(&self.name.lock())
    }

    pub(super) fn has_name(&self) -> bool {
        self.is_named.load(Ordering::Acquire)
    }

    /// Gives it a name. False: it has one.
    pub(super) fn set_name(&self, name: UnixName) -> bool {
        self.share_name(Arc::new(name))
    }

    /// As [`Endpoint::set_name`], with the name of another.
    pub(super) fn share_name(&self, name: Arc<UnixName>) -> bool {
        if self.is_named.swap(true, Ordering::AcqRel) {
            return false;
        }
        let old = core::mem::replace(&mut *self.name.lock(), name);
        drop(old);
        true
    }

    #[inline]
    pub(super) fn wake(&self, events: PollEvents) {
        self.waiters.wake(events.bits());
    }

    /// What a number of bytes out of its send buffer means for writers.
    pub(super) fn is_writable_with(&self, used: usize) -> bool {
        used.saturating_mul(4) <= self.options.send_buffer_len()
    }

    /// A datagram of it has left a queue.
    pub(super) fn uncharge(&self, charge: usize) {
        let before = self.outstanding.fetch_sub(charge, Ordering::AcqRel);
        if self.is_writable_with(before.saturating_sub(charge)) {
            self.wake(PollEvents::WRITABLE | PollEvents::WRBAND);
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        self.kind == SOCK_STREAM
    }

    pub(super) fn is_datagram(&self) -> bool {
        self.kind == SOCK_DGRAM
    }

    /// Whether it is connected to `other`, as datagram sockets are.
    pub(super) fn is_connected_to(&self, other: &Arc<Endpoint>) -> bool {
        self.connected_to.load(Ordering::Acquire) == Arc::as_ptr(other) as usize
    }
}
