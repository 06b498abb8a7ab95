//! The Unix domain: sockets between processes of this machine.
//!
//! - [`UnixSocket`]: what a descriptor stands for: an endpoint, and who it is connected to.
//! - `endpoint`: what others reach. A socket holds its peer's endpoint, never its socket, so no two sockets keep each other open.
//! - `stream`, `datagram`: moving data.
//! - [`Names`]: who is bound to what.
//! - `in_flight`: `SCM_RIGHTS`, its limits, and the collection of cycles.
//!
//! - `urgent`: out-of-band bytes of streams.
//!
//! A name that is a file is an inode here: `linux` makes and resolves paths.

mod datagram;
mod endpoint;
mod in_flight;
mod names;
mod ring;
mod stream;
#[cfg(test)]
mod tests;
mod urgent;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::interface::{SIOCATMARK, SIOCINQ, SIOCOUTQ};
use abi::socket::{AF_UNIX, SO_PEERCRED, SO_PEERGROUPS, SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET};
use abi::socket::{SOCK_DGRAM, Ucred};
use abi::{Errno, PollEvents};
use file::{IoResult, Progress};
use mm::user::write_user_struct;
use sync::{Once, SpinLock, WaitQueue, rank};
use zerocopy::IntoBytes;

use self::endpoint::{Endpoint, Known, RECEIVE_SHUT, SEND_SHUT, State, wake_blocked};
use self::urgent::Urgent;
use super::listing::UnixRow;
use super::options::{Rare, SocketOptions};
use super::{
    Accepted, Address, Caller, Half, Kind, ReceiveRequest, Received, SendRequest, Socket, SocketCredentials, UnixName,
};
use crate::{Stack, room};

pub use names::Names;

/// A socket of the Unix domain.
pub struct UnixSocket {
    stack: Arc<Stack>,
    endpoint: Arc<Endpoint>,
    /// The other end of a connection, which never changes.
    link: Once<Arc<Endpoint>>,
    /// To whom a datagram socket sends.
    peer: SpinLock<Option<Arc<Endpoint>>>,
}

/// Makes a socket of `SOCK_` kind `kind`, which is one of the three there are.
#[must_use]
pub fn create(stack: &Arc<Stack>, kind: i32) -> Arc<UnixSocket> {
    debug_assert!(matches!(kind, SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET));
    Arc::new(UnixSocket {
        stack: Arc::clone(stack),
        endpoint: Endpoint::new(kind),
        link: Once::new(),
        peer: SpinLock::new(rank::FILE_TABLES, None),
    })
}

/// Makes two sockets that are connected.
#[must_use]
pub fn pair(
    stack: &Arc<Stack>,
    kind: i32,
    caller: &Caller,
    groups: Option<&Arc<[u32]>>,
) -> (Arc<UnixSocket>, Arc<UnixSocket>) {
    let (first, second) = (create(stack, kind), create(stack, kind));
    for (one, other) in [(&first, &second), (&second, &first)] {
        one.endpoint.know(Some(Known { credentials: caller.credentials, groups: groups.cloned() }));
        if kind == SOCK_DGRAM {
            one.set_peer(Some(Arc::clone(&other.endpoint)));
        } else {
            one.link.call_once(|| Arc::clone(&other.endpoint));
            // Nobody else knows it yet.
            let changed = one.endpoint.change_state(State::Idle, State::Connected);
            debug_assert!(changed.is_ok(), "a new socket is idle");
        }
    }
    (first, second)
}

impl UnixSocket {
    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    fn names(&self) -> &Names {
        self.stack.unix_names()
    }

    /// Who is at the other end, or listens.
    fn peer_known(&self) -> Option<Known> {
        let is_connected = self.endpoint.state() != State::Idle || self.endpoint.is_datagram();
        self.endpoint.known.lock().clone().filter(|_| is_connected)
    }

    /// The other end of a connection.
    fn link(&self) -> Option<&Arc<Endpoint>> {
        self.link.get()
    }

    /// Whom it sends to.
    #[inline]
    fn peer(&self) -> Option<Arc<Endpoint>> {
        match self.link.get() {
            Some(link) => Some(Arc::clone(link)),
            None => self.peer.lock().clone(),
        }
    }

    /// Sets whom a datagram socket sends to, and answers whom it did.
    fn set_peer(&self, peer: Option<Arc<Endpoint>>) -> Option<Arc<Endpoint>> {
        let address = peer.as_ref().map_or(0, |peer| Arc::as_ptr(peer) as usize);
        self.endpoint.connected_to.store(address, Ordering::Release);
        core::mem::replace(&mut *self.peer.lock(), peer)
    }

    /// What lists show of it.
    pub(super) fn row(&self) -> UnixRow {
        let state = self.endpoint.state();
        UnixRow {
            kind: self.endpoint.kind,
            is_listening: state == State::Listening,
            is_connected: state == State::Connected || self.endpoint.connected_to.load(Ordering::Acquire) != 0,
            is_embryo: false,
            inode: 0,
            name: (*self.endpoint.name()).clone(),
        }
    }

    /// The same of the connections that nobody has accepted.
    pub(super) fn pending_rows(&self) -> Vec<UnixRow> {
        let pending: Vec<_> = self.endpoint.queue().pending.iter().cloned().collect();
        pending.iter().map(|connection| UnixRow { is_embryo: true, ..connection.row() }).collect()
    }

    /// The name of a sender, if it has one.
    fn address_of(&self, sender: &Endpoint) -> Option<Address> {
        let _ = self;
        sender.has_name().then(|| Address::Unix((*sender.name()).clone()))
    }

    /// The socket that an address names.
    fn find_target(&self, address: &Address) -> Result<Arc<Endpoint>, Errno> {
        let Address::Unix(name) = address else { return Err(Errno::EINVAL) };
        let found = self.names().find(name, self.endpoint.kind).ok_or(Errno::ECONNREFUSED)?;
        if found.kind == self.endpoint.kind { Ok(found) } else { Err(Errno::EPROTOTYPE) }
    }

    /// The peer is gone: a datagram socket sends to nobody, and what the peer has sent is lost.
    fn forget_peer(&self, peer: &Arc<Endpoint>) {
        let mut current = self.peer.lock();
        let was_peer = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, peer));
        let old = if was_peer { current.take() } else { None };
        drop(current);
        if let Some(old) = old {
            self.endpoint.connected_to.store(0, Ordering::Release);
            self.disconnected(&old);
        }
    }

    /// Linux's `unix_dgram_disconnected`: what is in the queue came from the old peer, which is told that it was lost.
    fn disconnected(&self, old: &Arc<Endpoint>) {
        if !self.drop_messages() {
            return;
        }
        let is_alive = !old.queue().is_closed;
        if is_alive && old.is_connected_to(&self.endpoint) {
            old.set_error(Errno::ECONNRESET);
            old.wake(PollEvents::ERR);
        }
    }

    /// Empties the queue of datagrams. False: there were none.
    fn drop_messages(&self) -> bool {
        let mut queue = self.endpoint.queue();
        let rights = in_flight::take_rights(&mut queue);
        let messages = core::mem::take(&mut queue.messages);
        let blocked = queue.take_blocked();
        self.endpoint.publish(&queue);
        drop(queue);
        for message in &messages {
            message.from.uncharge(endpoint::Message::charge(message.bytes.len()));
        }
        wake_blocked(blocked);
        in_flight::drop_later(rights);
        !messages.is_empty()
    }

    /// Takes all rights out of the queue, and those of connections that nobody has accepted: nobody will receive them.
    fn take_all_rights(&self, rights: &mut Vec<in_flight::Rights>) {
        let mut queue = self.endpoint.queue();
        rights.extend(in_flight::take_rights(&mut queue));
        let pending: Vec<_> = queue.pending.iter().cloned().collect();
        drop(queue);
        for connection in pending {
            connection.take_all_rights(rights);
        }
    }

    fn connect_datagram(&self, address: &Address, caller: &Caller) -> IoResult {
        let _ = caller;
        let new = match address {
            Address::Unspecified => None,
            _ => {
                if self.endpoint.options.pass_credentials.load(Ordering::Relaxed) && !self.endpoint.has_name() {
                    self.names().bind_automatically(&self.endpoint)?;
                }
                let target = self.find_target(address)?;
                let connected_to = target.connected_to.load(Ordering::Acquire);
                if connected_to != 0 && !target.is_connected_to(&self.endpoint) {
                    return Err(Errno::EPERM);
                }
                Some(target)
            }
        };
        let is_same = |old: &Arc<Endpoint>| new.as_ref().is_some_and(|new| Arc::ptr_eq(old, new));
        let is_kept = self.peer.lock().as_ref().is_some_and(is_same);
        if !is_kept && let Some(old) = self.set_peer(new) {
            self.disconnected(&old);
        }
        Ok(Progress::Done(0))
    }

    fn connect_stream(&self, address: &Address, caller: &Caller) -> IoResult {
        if self.endpoint.options.pass_credentials.load(Ordering::Relaxed) && !self.endpoint.has_name() {
            self.names().bind_automatically(&self.endpoint)?;
        }
        let listener = self.find_target(address)?;
        if listener.state() != State::Listening || listener.shut() & RECEIVE_SHUT != 0 {
            return Err(Errno::ECONNREFUSED);
        }
        let server = create(&self.stack, self.endpoint.kind);
        let mut queue = listener.queue();
        if queue.is_closed {
            return Err(Errno::ECONNREFUSED);
        }
        if queue.pending.len() > queue.backlog {
            queue.note_blocked(&self.endpoint);
            return Ok(Progress::WouldBlock);
        }
        queue.pending.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        if let Err(state) = self.endpoint.change_state(State::Idle, State::Connected) {
            let is_connected = state == State::Connected;
            return Err(if is_connected { Errno::EISCONN } else { Errno::EINVAL });
        }
        server.endpoint.share_name_if_any(&listener);
        let passes = listener.options.pass_credentials.load(Ordering::Relaxed);
        server.endpoint.options.pass_credentials.store(passes, Ordering::Relaxed);
        server.endpoint.know(Some(self.endpoint.known(caller)));
        let listens = listener.known.lock().clone();
        self.endpoint.know(listens);
        server.link.call_once(|| Arc::clone(&self.endpoint));
        self.link.call_once(|| Arc::clone(&server.endpoint));
        let changed = server.endpoint.change_state(State::Idle, State::Connected);
        debug_assert!(changed.is_ok(), "a new socket is idle");
        queue.pending.push_back(server);
        listener.publish(&queue);
        drop(queue);
        listener.wake(PollEvents::READABLE);
        self.endpoint.wake(PollEvents::WRITABLE);
        Ok(Progress::Done(0))
    }

    /// Bytes that can be read: of all messages, or of the first one of a datagram socket.
    fn readable_len(&self) -> usize {
        let queue = self.endpoint.queue();
        match self.endpoint.kind {
            SOCK_STREAM => queue.readable_len(),
            SOCK_DGRAM => queue.messages.front().map_or(0, |message| message.bytes.len()),
            _ => queue.messages.iter().map(|message| message.bytes.len()).sum(),
        }
    }

    /// What it has sent and nobody has received, as its buffer counts it.
    fn unsent_len(&self) -> usize {
        match self.link() {
            Some(link) if self.endpoint.is_stream() => link.level(),
            _ => self.endpoint.outstanding.load(Ordering::Acquire),
        }
    }

    /// Ends what is to come: connections nobody has accepted are reset.
    fn close_queue(&self) -> bool {
        let mut queue = self.endpoint.queue();
        queue.is_closed = true;
        let had_unread = queue.readable_len() > 0 || !queue.messages.is_empty();
        let rights = in_flight::take_rights(&mut queue);
        let messages = core::mem::take(&mut queue.messages);
        let pending = core::mem::take(&mut queue.pending);
        let bytes = core::mem::take(&mut queue.bytes);
        let blocked = queue.take_blocked();
        queue.marks.clear();
        queue.urgent = Urgent::default();
        self.endpoint.publish(&queue);
        drop(queue);
        drop(bytes);
        for message in &messages {
            message.from.uncharge(endpoint::Message::charge(message.bytes.len()));
        }
        wake_blocked(blocked);
        for connection in &pending {
            connection.reset();
        }
        drop((messages, pending));
        in_flight::drop_later(rights);
        had_unread
    }

    /// Closes a connection that nobody has accepted.
    fn reset(&self) {
        if let Some(link) = self.link() {
            link.set_error(Errno::ECONNRESET);
        }
        self.close_connection();
    }

    fn close_connection(&self) {
        let had_unread = self.close_queue();
        self.endpoint.close_halves(RECEIVE_SHUT | SEND_SHUT);
        if let Some(link) = self.link() {
            if had_unread {
                link.set_error(Errno::ECONNRESET);
            }
            link.close_halves(RECEIVE_SHUT | SEND_SHUT);
        }
        // Those who are connected to it hear of it when they send; those who wait for room in its queue were woken.
        drop(self.set_peer(None));
    }
}

impl Endpoint {
    /// Takes over the name of a listener.
    fn share_name_if_any(&self, listener: &Endpoint) {
        if listener.has_name() {
            self.share_name(listener.name());
        }
    }
}

impl Socket for UnixSocket {
    fn kind(&self) -> Kind {
        Kind { domain: i32::from(AF_UNIX), kind: self.endpoint.kind, protocol: 0 }
    }

    fn bind(&self, address: &Address, caller: &Caller) -> Result<(), Errno> {
        let _ = caller;
        match address {
            Address::Unix(UnixName::Unnamed) => self.names().bind_automatically(&self.endpoint),
            Address::Unix(name) => self.names().bind(&self.endpoint, name.clone()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn connect(&self, address: &Address, caller: &Caller) -> IoResult {
        if self.endpoint.is_datagram() {
            self.connect_datagram(address, caller)
        } else {
            self.connect_stream(address, caller)
        }
    }

    fn is_connect_at_once(&self) -> bool {
        true
    }

    fn note_groups(&self, groups: &Arc<[u32]>) {
        self.endpoint.note_groups(groups);
    }

    fn listen(&self, backlog: i32, caller: &Caller) -> Result<(), Errno> {
        if self.endpoint.is_datagram() {
            return Err(Errno::EOPNOTSUPP);
        }
        if !self.endpoint.has_name() {
            return Err(Errno::EINVAL);
        }
        if let Err(State::Connected) = self.endpoint.change_state(State::Idle, State::Listening) {
            return Err(Errno::EINVAL);
        }
        self.endpoint.know(Some(self.endpoint.known(caller)));
        let mut queue = self.endpoint.queue();
        queue.backlog = usize::try_from(backlog).unwrap_or(usize::MAX);
        let blocked = queue.take_blocked();
        drop(queue);
        wake_blocked(blocked);
        Ok(())
    }

    fn accept(&self) -> Result<Option<Accepted>, Errno> {
        if self.endpoint.is_datagram() {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.endpoint.state() != State::Listening {
            return Err(Errno::EINVAL);
        }
        let is_shut = self.endpoint.shut() & RECEIVE_SHUT != 0;
        let mut queue = self.endpoint.queue();
        let Some(socket) = queue.pending.pop_front() else {
            drop(queue);
            return if is_shut { Err(Errno::EINVAL) } else { Ok(None) };
        };
        self.endpoint.publish(&queue);
        let blocked = queue.take_blocked();
        drop(queue);
        wake_blocked(blocked);
        let peer = socket.peer_address()?;
        Ok(Some(Accepted { socket, peer }))
    }

    fn local_address(&self) -> Result<Address, Errno> {
        Ok(Address::Unix((*self.endpoint.name()).clone()))
    }

    fn peer_address(&self) -> Result<Address, Errno> {
        let peer = self.peer().ok_or(Errno::ENOTCONN)?;
        Ok(Address::Unix((*peer.name()).clone()))
    }

    fn send(&self, request: &mut SendRequest<'_, '_>) -> IoResult {
        if self.endpoint.is_stream() { stream::send(self, request) } else { datagram::send(self, request) }
    }

    fn receive(&self, request: &mut ReceiveRequest<'_, '_>) -> Result<Option<Received>, Errno> {
        if self.endpoint.is_stream() { stream::receive(self, request) } else { datagram::receive(self, request) }
    }

    fn shutdown(&self, half: Half) -> Result<(), Errno> {
        let (own, other) = match half {
            Half::Read => (RECEIVE_SHUT, SEND_SHUT),
            Half::Write => (SEND_SHUT, RECEIVE_SHUT),
            Half::Both => (RECEIVE_SHUT | SEND_SHUT, RECEIVE_SHUT | SEND_SHUT),
        };
        self.endpoint.close_halves(own);
        if let Some(link) = self.link() {
            link.close_halves(other);
        }
        if self.endpoint.state() == State::Listening {
            // Who waits to be let in is refused when it looks again.
            let blocked = self.endpoint.queue().take_blocked();
            wake_blocked(blocked);
        }
        Ok(())
    }

    fn option(&self, level: i32, option: i32, wanted: usize, argument: &[u8]) -> Result<Vec<u8>, Errno> {
        let _ = (wanted, argument);
        match (level, option) {
            (SOL_SOCKET, SO_PEERCRED) => {
                let nobody = SocketCredentials { pid: 0, uid: u32::MAX, gid: u32::MAX };
                let known = self.peer_known().map_or(nobody, |known| known.credentials);
                Ok(Ucred { pid: known.pid, uid: known.uid, gid: known.gid }.as_bytes().to_vec())
            }
            (SOL_SOCKET, SO_PEERGROUPS) => {
                let groups = self.peer_known().ok_or(Errno::ENODATA)?.groups;
                let groups = groups.as_deref().unwrap_or_default().as_bytes();
                room::copy_of([groups], groups.len())
            }
            (SOL_SOCKET, _) => Err(Errno::ENOPROTOOPT),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn set_option(&self, level: i32, option: i32, value: &[u8], caller: &Caller) -> Result<(), Errno> {
        let _ = (option, value, caller);
        Err(if level == SOL_SOCKET { Errno::ENOPROTOOPT } else { Errno::EOPNOTSUPP })
    }

    fn options(&self) -> &SocketOptions {
        &self.endpoint.options
    }

    fn is_listening(&self) -> bool {
        self.endpoint.state() == State::Listening
    }

    fn take_error(&self) -> Option<Errno> {
        self.endpoint.take_error()
    }

    fn set_error(&self, errno: Errno) {
        self.endpoint.set_error(errno);
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, Errno> {
        let count = match command {
            SIOCINQ if self.endpoint.state() == State::Listening => return Err(Errno::EINVAL),
            SIOCINQ => self.readable_len(),
            SIOCOUTQ => self.unsent_len(),
            SIOCATMARK if !self.endpoint.is_stream() => return Err(Errno::EOPNOTSUPP),
            SIOCATMARK => usize::from(self.endpoint.is_at_mark()),
            _ => return Err(Errno::ENOTTY),
        };
        write_user_struct(argument, &i32::try_from(count).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn readiness(&self) -> PollEvents {
        let me = &self.endpoint;
        let mut events = PollEvents::empty();
        let (shut, state) = (me.shut(), me.state());
        events.set(PollEvents::ERR, me.has_error());
        let shows_errors = me.has_error() && me.is_datagram() && me.options.has(Rare::SELECT_ERR_QUEUE);
        events.set(PollEvents::HUP, shut == RECEIVE_SHUT | SEND_SHUT || (!me.is_datagram() && state == State::Idle));
        events.set(PollEvents::PRI, me.has_urgent() || shows_errors);
        events.set(PollEvents::RDHUP, shut & RECEIVE_SHUT != 0);
        if shut & RECEIVE_SHUT != 0 || me.level() > 0 {
            events |= PollEvents::READABLE;
        }
        let is_writable = match self.link() {
            _ if state == State::Listening => false,
            Some(link) if me.is_stream() => me.is_writable_with(link.level()),
            Some(_) => me.is_writable_with(me.outstanding.load(Ordering::Acquire)),
            None => {
                me.is_writable_with(me.outstanding.load(Ordering::Acquire))
                    && self.peer().is_none_or(|peer| datagram::has_room(me, &peer))
            }
        };
        if is_writable {
            events |= PollEvents::WRITABLE | PollEvents::WRBAND;
        }
        events
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.endpoint.waiters
    }

    fn wakes_one(&self, events: PollEvents) -> bool {
        // As in Linux: who accepts or receives a datagram takes turns, who reads a stream does not.
        let is_stream = self.endpoint.is_stream() && self.endpoint.state() != State::Listening;
        !is_stream && events.contains(PollEvents::IN) && !events.contains(PollEvents::OUT)
    }

    fn descriptor_closed(&self, open: &::file::OpenFile) {
        in_flight::descriptor_closed(open);
    }

    fn take_urgent_news(&self) -> bool {
        self.endpoint.has_urgent_news.swap(false, Ordering::Relaxed)
    }

    fn close(&self) {
        self.names().remove(&self.endpoint);
        self.close_connection();
        in_flight::socket_closed();
    }
}
