//! [`Listener`]: the queues of a socket that takes connections.
//!
//! Connections that are complete wait in `ready` until they are accepted, as many as the backlog says and one (Linux's rule). When it is full, local
//! connections wait in `waiting`, as their first segment would be dropped and sent again; those of the network have their half-open
//! records in `half_open`, and cookies when these are too many.
//!
//! Lock: [`rank::LISTENERS`], before those of sockets. How many connections are ready can be asked without it, under the lock of a socket.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::sync::atomic::{
    AtomicU32, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use abi::PollEvents;
use sync::{Mutex, rank};

use super::passive_fast_open::FastOpenQueue;
use super::socket::TcpSocket;
use crate::ports::Scope;

/// Local connections that wait for room.
const WAITING_MAX: usize = 4096;

/// What waits to be accepted.
#[derive(Default)]
struct Queues {
    ready: VecDeque<Arc<TcpSocket>>,
    waiting: VecDeque<Arc<TcpSocket>>,
    /// Local connections that are not given out before something comes on them.
    deferred: Vec<Arc<TcpSocket>>,
    is_closed: bool,
}

/// The queues of a listening socket.
pub(crate) struct Listener {
    queues: Mutex<Queues>,
    backlog: AtomicU32,
    /// The length of `Queues::ready`, written under the lock.
    ready_len: AtomicUsize,
    /// Half-open connections for it.
    pub(super) half_open_len: AtomicUsize,
    /// Those of the network that came with data and are not complete.
    pub(super) fast_open: Arc<FastOpenQueue>,
    owner: Weak<TcpSocket>,
    /// The port.
    pub(crate) port: u16,
    /// The addresses.
    pub(crate) scope: Scope,
}

/// What became of a connection that came.
pub(super) enum Arrival {
    /// It waits to be accepted.
    Ready,
    /// There is no room now; it is kept until there is.
    Waits,
    /// Nobody listens any more, or too many wait.
    Refused,
}

impl Listener {
    pub(super) fn new(owner: Weak<TcpSocket>, port: u16, scope: Scope, backlog: u32) -> Arc<Self> {
        let queues = Mutex::new(rank::LISTENERS, Queues::default());
        let (backlog, ready_len, half_open_len) = (AtomicU32::new(backlog), AtomicUsize::new(0), AtomicUsize::new(0));
        let fast_open = FastOpenQueue::new();
        Arc::new(Self { queues, backlog, ready_len, half_open_len, fast_open, owner, port, scope })
    }

    /// The socket that listens, unless it is closed.
    pub(super) fn owner(&self) -> Option<Arc<TcpSocket>> {
        self.owner.upgrade()
    }

    pub(super) fn set_backlog(&self, backlog: u32) {
        self.backlog.store(backlog, Relaxed);
    }

    /// Connections that may wait, and how many do.
    pub(super) fn backlog(&self) -> (u32, usize) {
        (self.backlog.load(Relaxed), self.ready_len.load(Acquire))
    }

    /// Whether one more may come; then there is memory for it, in either queue.
    fn has_room(&self, queues: &mut Queues) -> bool {
        let Queues { ready, deferred, .. } = queues;
        let len = ready.len() + deferred.len();
        len <= self.backlog.load(Relaxed) as usize
            && ready.try_reserve(deferred.len() + 1).is_ok()
            && deferred.try_reserve(1).is_ok()
    }

    /// Whether a connection that is complete now would find room.
    pub(super) fn can_take(&self) -> bool {
        let mut queues = self.queues.lock();
        !queues.is_closed && self.has_room(&mut queues)
    }

    /// A local connection comes, from `connector`. `make` makes the socket of this side when there is room; deferred, it waits for
    /// [`Listener::admit`].
    pub(super) fn arrive_locally(
        &self,
        connector: &Arc<TcpSocket>,
        is_deferred: bool,
        make: impl FnOnce() -> Arc<TcpSocket>,
    ) -> Arrival {
        let mut queues = self.queues.lock();
        if queues.is_closed {
            return Arrival::Refused;
        }
        if self.has_room(&mut queues) {
            let socket = make();
            if is_deferred {
                queues.deferred.push(socket);
                return Arrival::Ready;
            }
            queues.ready.push_back(socket);
            self.ready_len.store(queues.ready.len(), Release);
            drop(queues);
            self.wake();
            return Arrival::Ready;
        }
        if queues.waiting.len() >= WAITING_MAX || queues.waiting.try_reserve(1).is_err() {
            return Arrival::Refused;
        }
        queues.waiting.push_back(Arc::clone(connector));
        Arrival::Waits
    }

    /// Something has come on a local connection that was deferred, or enough time has passed: it can be accepted.
    pub(super) fn admit(&self, socket: &Arc<TcpSocket>) {
        let mut queues = self.queues.lock();
        let Some(index) = queues.deferred.iter().position(|other| Arc::ptr_eq(other, socket)) else { return };
        let socket = queues.deferred.swap_remove(index);
        // The timer would keep it until it is due, however soon it is closed.
        socket.stack.cancel_timer(&socket.flow());
        queues.ready.push_back(socket);
        self.ready_len.store(queues.ready.len(), Release);
        drop(queues);
        self.wake();
    }

    /// A connection of the network is complete. False: there is no room for it.
    pub(super) fn push(&self, socket: Arc<TcpSocket>) -> bool {
        let mut queues = self.queues.lock();
        if queues.is_closed || !self.has_room(&mut queues) {
            return false;
        }
        queues.ready.push_back(socket);
        self.ready_len.store(queues.ready.len(), Release);
        drop(queues);
        self.wake();
        true
    }

    /// Takes the connection that has waited longest; and a local one that may come in now.
    pub(super) fn take(&self) -> (Option<Arc<TcpSocket>>, Option<Arc<TcpSocket>>) {
        let mut queues = self.queues.lock();
        let ready = queues.ready.pop_front();
        self.ready_len.store(queues.ready.len(), Release);
        let next = if self.has_room(&mut queues) { queues.waiting.pop_front() } else { None };
        (ready, next)
    }

    /// The connections that wait to be accepted.
    pub(super) fn ready(&self) -> Vec<Arc<TcpSocket>> {
        self.queues.lock().ready.iter().cloned().collect()
    }

    /// The address it serves: that of nobody for any.
    pub(super) fn address(&self) -> SocketAddr {
        let address = match self.scope {
            Scope::Exact(address) => address,
            Scope::AnyV4 => Ipv4Addr::UNSPECIFIED.into(),
            Scope::AnyV6 | Scope::AnyDual => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(address, self.port)
    }

    /// Whether there is something to accept.
    pub(super) fn has_ready(&self) -> bool {
        self.ready_len.load(Acquire) > 0
    }

    /// Ends it, and answers what waited: connections, those of which the other end does not know better, and those who wanted to be one.
    pub(super) fn close(&self) -> [VecDeque<Arc<TcpSocket>>; 3] {
        let mut queues = self.queues.lock();
        queues.is_closed = true;
        self.ready_len.store(0, Release);
        let Queues { ready, waiting, deferred, .. } = core::mem::take(&mut *queues);
        queues.is_closed = true;
        [ready, deferred.into(), waiting]
    }

    fn wake(&self) {
        if let Some(owner) = self.owner() {
            owner.wake_for(PollEvents::READABLE);
        }
    }

    /// Whether it takes connections to `address`.
    pub(super) fn serves(&self, address: SocketAddr) -> bool {
        self.port == address.port() && self.scope.covers(address.ip())
    }
}
