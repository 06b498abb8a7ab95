//! [`VsockSocket`]: a socket of `AF_VSOCK`, as Linux has it.
//!
//! Linux keeps two states of such a socket, and so does this: where its calls are ([`Standing`]), and how its
//! connection is ([`Connection`]). A connection that the peer has ended is still one that `connect` calls connected.
//!
//! Lock: [`rank::VSOCK_SOCKETS`]. Program memory is copied under it.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::interface::{SIOCINQ, SIOCOUTQ};
use abi::socket::{AF_VSOCK, SOCK_SEQPACKET, SOCK_STREAM};
use abi::{Errno, PollEvents};
use file::{IoResult, Progress};
use mm::user::write_user_struct;
use sync::machine::{self, NEVER};
use sync::{Mutex, MutexGuard, WaitQueue, rank};

use super::connection::{Connection, SHUTDOWN_BOTH};
use super::options::Settings;
use super::packet::{self, Header, Operation, Packet, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use super::table::{ANY, Key};
use super::waiting::Cause;
use super::{Route, Vsock, moving};
use crate::Stack;
use crate::channel::{Delivery, Flow, FlowState, QueuedPacket};
use crate::socket::address::VsockAddress;
use crate::socket::options::SocketOptions;
use crate::socket::{Accepted, Address, Caller, Half, Kind, ReceiveRequest, Received, SendRequest, Socket};

/// How long a closed socket waits for the peer to end the connection.
const CLOSE_WAIT_NS: u64 = 8_000_000_000;
/// What a connection takes that nobody has accepted.
pub(super) const RECORD_LEN: usize = size_of::<VsockSocket>();
/// No address yet.
const NO_ADDRESS: VsockAddress = VsockAddress { cid: ANY, port: ANY };

/// Where a socket's calls are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Unconnected,
    Listening,
    Connecting,
    Connected,
    /// The program has shut a half.
    Disconnecting,
}

impl Standing {
    /// Whether it was connected before its connection ended.
    pub(super) fn was_connected(self) -> bool {
        matches!(self, Self::Connected | Self::Disconnecting)
    }
}

/// What the lock of a socket protects.
pub(super) struct Inner {
    pub(super) standing: Standing,
    pub(super) own: VsockAddress,
    pub(super) peer: VsockAddress,
    pub(super) is_bound: bool,
    pub(super) route: Route,
    pub(super) connection: Option<Connection>,
    pub(super) error: Option<Errno>,
    pub(super) settings: Settings,
    /// When an attempt has taken too long, or the wait for the peer to end it.
    pub(super) deadline_ns: u64,
    /// Connections that nobody has accepted, and how many there may be.
    pub(super) pending: VecDeque<Arc<VsockSocket>>,
    pub(super) backlog: usize,
    pub(super) is_closed: bool,
}

impl Inner {
    /// Which packets are of its connection.
    pub(super) fn key(&self) -> Key {
        Key::new(self.route, self.own.port, self.peer)
    }
}

/// A socket.
pub struct VsockSocket {
    pub(super) stack: Arc<Stack>,
    me: Weak<Self>,
    pub(super) kind: packet::Kind,
    pub(super) options: SocketOptions,
    pub(super) inner: Mutex<Inner>,
    wait_queue: WaitQueue,
    flow_state: FlowState,
}

impl VsockSocket {
    /// A socket that is neither bound nor connected.
    pub(super) fn new(stack: &Arc<Stack>, kind: packet::Kind) -> Arc<Self> {
        let inner = Inner {
            standing: Standing::Unconnected,
            own: NO_ADDRESS,
            peer: NO_ADDRESS,
            is_bound: false,
            route: Route::Local,
            connection: None,
            error: None,
            settings: Settings::default(),
            deadline_ns: NEVER,
            pending: VecDeque::new(),
            backlog: 0,
            is_closed: false,
        };
        Self::with(stack, kind, inner)
    }

    pub(super) fn with(stack: &Arc<Stack>, kind: packet::Kind, inner: Inner) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            stack: Arc::clone(stack),
            me: Weak::clone(me),
            kind,
            options: SocketOptions::default(),
            inner: Mutex::new(rank::VSOCK_SOCKETS, inner),
            wait_queue: WaitQueue::new(),
            flow_state: FlowState::default(),
        })
    }

    pub(super) fn vsock(&self) -> &Vsock {
        self.stack.vsock()
    }

    #[inline(never)]
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    fn arc(&self) -> Arc<Self> {
        self.me.upgrade().expect("a socket that is called is referred to")
    }

    pub(super) fn wake(&self, events: PollEvents) {
        self.wait_queue.wake(events.bits());
    }

    /// Lets go of the lock and sends what was posted under it.
    pub(super) fn finish(&self, inner: MutexGuard<'_, Inner>) {
        let route = inner.route;
        drop(inner);
        self.vsock().finish(&self.stack, route);
    }

    /// A packet of the connection, with what it tells of room.
    pub(super) fn packet(
        &self,
        inner: &mut Inner,
        operation: Operation,
        flags: u32,
        payload: Vec<u8>,
    ) -> Option<Packet> {
        let (buffer_len, taken) = inner.connection.as_mut()?.credit.tell();
        let source = VsockAddress { cid: self.vsock().source_cid(inner.route), port: inner.own.port };
        let operation = Some(operation);
        let header =
            Header { source, destination: inner.peer, kind: self.kind as u16, operation, flags, buffer_len, taken };
        Some(Packet { header, payload })
    }

    /// Posts a packet without bytes of the connection.
    pub(super) fn post(&self, inner: &mut Inner, operation: Operation, flags: u32, cause: Cause) {
        if let Some(packet) = self.packet(inner, operation, flags, Vec::new()) {
            self.vsock().post(packet, inner.route, cause);
        }
    }

    /// Tells the peer of room that it should hear of, unless many packets wait already. True: something was posted.
    pub(super) fn tell_room(&self, inner: &mut Inner) -> bool {
        let is_wanted = inner.connection.as_ref().is_some_and(Connection::wants_update);
        let tells = is_wanted && self.vsock().has_room(inner.route);
        if tells {
            self.post(inner, Operation::CreditUpdate, 0, Cause::Call);
        }
        tells
    }

    /// There is room again on the way to the host.
    pub(super) fn go_on(&self) {
        self.tell_room(&mut self.lock());
        self.wake(PollEvents::WRITABLE);
    }

    /// No packets are of its connection any more.
    pub(super) fn forget_connection(&self, inner: &Inner) {
        self.vsock().table().disconnect(inner.key(), self);
    }

    // ---- Calls ------------------------------------------------------------------------------------------------------

    /// Gives it an address, unless it has one.
    fn bind_at(&self, inner: &mut Inner, address: VsockAddress, may_have_any: bool) -> Result<(), Errno> {
        inner.own = self.vsock().bind(&self.arc(), address, may_have_any)?;
        inner.is_bound = true;
        Ok(())
    }

    pub(super) fn forget_port(&self, inner: &mut Inner) {
        if core::mem::take(&mut inner.is_bound) {
            self.vsock().table().unbind(self, inner.own.port);
        }
    }

    /// A timer holds on to its socket, for as long as the program has said that an attempt may take.
    pub(super) fn forget_timer(&self) {
        self.stack.cancel_timer(&(self.arc() as Arc<dyn Flow>));
    }

    /// Begins a connection to `peer`.
    fn begin(&self, inner: &mut Inner, peer: VsockAddress) -> Result<(), Errno> {
        let route = self.vsock().route(peer.cid)?;
        if self.kind == packet::Kind::Seqpacket && !self.vsock().has_messages(route) {
            return Err(Errno::ESOCKTNOSUPPORT);
        }
        if !inner.is_bound {
            self.bind_at(inner, NO_ADDRESS, true)?;
        }
        (inner.route, inner.peer) = (route, peer);
        inner.connection = Some(Connection::requested(self.kind, inner.settings.buffer()));
        let connected = self.vsock().table().connect(inner.key(), &self.arc());
        if connected.is_err() {
            inner.connection = None;
            return connected;
        }
        (inner.error, inner.standing) = (None, Standing::Connecting);
        self.post(inner, Operation::Request, 0, Cause::Call);
        // On the way to itself the answer is there before anybody waits.
        if route == Route::Device {
            inner.deadline_ns = machine::now_ns().saturating_add(inner.settings.connect_timeout_ns);
            self.stack.set_timer(&(self.arc() as Arc<dyn Flow>), inner.deadline_ns);
        }
        Ok(())
    }

    /// What `poll` says of a connection.
    fn connection_readiness(&self, connection: &Connection, route: Route) -> PollEvents {
        let mut events = PollEvents::empty();
        let is_ended = connection.has_shut(SHUTDOWN_RECEIVE) || connection.is_shut_by_peer(SHUTDOWN_SEND);
        let is_mute = connection.has_shut(SHUTDOWN_SEND);
        let is_hung_up = connection.has_shut_both() || (is_mute && connection.is_shut_by_peer(SHUTDOWN_SEND));
        events.set(PollEvents::HUP, is_hung_up);
        events.set(PollEvents::RDHUP, is_ended);
        let low_water = moving::low_water(&self.options, connection);
        let has_data = !connection.has_shut(SHUTDOWN_RECEIVE) && connection.inbox.is_readable(low_water);
        events.set(PollEvents::READABLE, is_ended || has_data);
        let may_send = connection.is_established() && connection.credit.room() > 0;
        let has_room = connection.is_over() || (may_send && self.vsock().has_room(route));
        events.set(PollEvents::WRITABLE, !is_mute && has_room);
        events
    }
}

impl Socket for VsockSocket {
    fn kind(&self) -> Kind {
        let kind = if self.kind == packet::Kind::Stream { SOCK_STREAM } else { SOCK_SEQPACKET };
        Kind { domain: i32::from(AF_VSOCK), kind, protocol: 0 }
    }

    fn bind(&self, address: &Address, caller: &Caller) -> Result<(), Errno> {
        let Address::Vsock(address) = address else { return Err(Errno::EINVAL) };
        let mut inner = self.lock();
        if inner.own.port != ANY {
            return Err(Errno::EINVAL);
        }
        self.bind_at(&mut inner, *address, caller.may_bind_low_ports)
    }

    fn connect(&self, address: &Address, _caller: &Caller) -> IoResult {
        let mut inner = self.lock();
        match inner.standing {
            Standing::Connected => return Err(Errno::EISCONN),
            Standing::Disconnecting | Standing::Listening => return Err(Errno::EINVAL),
            Standing::Connecting => return Err(Errno::EALREADY),
            Standing::Unconnected => {}
        }
        let Address::Vsock(peer) = address else { return Err(Errno::EINVAL) };
        self.begin(&mut inner, *peer)?;
        self.finish(inner);
        Ok(Progress::WouldBlock)
    }

    fn finish_connect(&self) -> IoResult {
        let mut inner = self.lock();
        match inner.standing {
            Standing::Connecting => {}
            Standing::Connected => return Ok(Progress::Done(0)),
            // It was too late. Who waited for it is told here and by nothing else.
            _ => return Err(inner.error.take().unwrap_or(Errno::EINVAL)),
        }
        match inner.error {
            // It stays for `SO_ERROR`.
            Some(errno) => {
                inner.standing = Standing::Unconnected;
                Err(errno)
            }
            None => Ok(Progress::WouldBlock),
        }
    }

    fn listen(&self, backlog: i32, _caller: &Caller) -> Result<(), Errno> {
        let mut inner = self.lock();
        let can_listen = matches!(inner.standing, Standing::Unconnected | Standing::Listening);
        if !can_listen || !inner.is_bound {
            return Err(Errno::EINVAL);
        }
        inner.standing = Standing::Listening;
        inner.backlog = usize::try_from(backlog).unwrap_or(usize::MAX);
        Ok(())
    }

    fn accept(&self) -> Result<Option<Accepted>, Errno> {
        let mut inner = self.lock();
        if inner.standing != Standing::Listening {
            return Err(Errno::EINVAL);
        }
        let Some(socket) = inner.pending.pop_front() else { return Ok(None) };
        drop(inner);
        self.vsock().account(RECORD_LEN, 0);
        let peer = Address::Vsock(socket.lock().peer);
        Ok(Some(Accepted { socket, peer }))
    }

    fn local_address(&self) -> Result<Address, Errno> {
        Ok(Address::Vsock(self.lock().own))
    }

    fn peer_address(&self) -> Result<Address, Errno> {
        let inner = self.lock();
        if inner.standing == Standing::Connected { Ok(Address::Vsock(inner.peer)) } else { Err(Errno::ENOTCONN) }
    }

    fn send(&self, request: &mut SendRequest<'_, '_>) -> IoResult {
        moving::send(self, request)
    }

    fn receive(&self, request: &mut ReceiveRequest<'_, '_>) -> Result<Option<Received>, Errno> {
        moving::receive(self, request)
    }

    fn shutdown(&self, half: Half) -> Result<(), Errno> {
        let halves = match half {
            Half::Read => SHUTDOWN_RECEIVE,
            Half::Write => SHUTDOWN_SEND,
            Half::Both => SHUTDOWN_BOTH,
        };
        let mut inner = self.lock();
        if matches!(inner.standing, Standing::Unconnected | Standing::Listening) {
            return Err(Errno::ENOTCONN);
        }
        inner.standing = Standing::Disconnecting;
        if let Some(connection) = &mut inner.connection {
            let is_over = connection.is_over();
            connection.shut(halves);
            if !is_over {
                self.post(&mut inner, Operation::Shutdown, halves, Cause::Call);
            }
        }
        self.finish(inner);
        self.wake(PollEvents::all());
        Ok(())
    }

    fn set_option(&self, level: i32, option: i32, value: &[u8], _caller: &Caller) -> Result<(), Errno> {
        self.set_vsock_option(level, option, value)
    }

    fn option(&self, level: i32, option: i32, wanted: usize, _argument: &[u8]) -> Result<Vec<u8>, Errno> {
        self.lock().settings.option(level, option, wanted)
    }

    fn options(&self) -> &SocketOptions {
        &self.options
    }

    fn is_listening(&self) -> bool {
        self.lock().standing == Standing::Listening
    }

    fn take_error(&self) -> Option<Errno> {
        self.lock().error.take()
    }

    fn set_error(&self, errno: Errno) {
        self.lock().error = Some(errno);
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, Errno> {
        let inner = self.lock();
        let count = match (&inner.connection, command) {
            (_, SIOCINQ | SIOCOUTQ) if inner.standing == Standing::Listening => return Err(Errno::EOPNOTSUPP),
            (None, SIOCINQ | SIOCOUTQ) => return Err(Errno::EOPNOTSUPP),
            (Some(connection), SIOCINQ) => connection.inbox.len(),
            // What the device has, or has still to get, is not told apart by connections.
            _ => return Err(Errno::ENOTTY),
        };
        drop(inner);
        write_user_struct(argument, &i32::try_from(count).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn readiness(&self) -> PollEvents {
        let inner = self.lock();
        let mut events = match &inner.connection {
            _ if inner.standing == Standing::Listening => PollEvents::empty(),
            Some(connection) => self.connection_readiness(connection, inner.route),
            None => PollEvents::WRITABLE,
        };
        events.set(PollEvents::ERR, inner.error.is_some());
        if !inner.pending.is_empty() {
            events |= PollEvents::READABLE;
        }
        events
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.wait_queue
    }

    fn wakes_one(&self, events: PollEvents) -> bool {
        events.contains(PollEvents::IN) && !events.contains(PollEvents::OUT) && self.is_listening()
    }

    fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        if inner.standing == Standing::Listening {
            inner.standing = Standing::Unconnected;
        }
        let pending = core::mem::take(&mut inner.pending);
        let route = inner.route;
        let mut waits = false;
        if let Some(connection) = &mut inner.connection {
            let before = connection.inbox.memory();
            let (farewell, is_awaited) = connection.close();
            self.vsock().account(before, connection.inbox.memory());
            if let Some(operation) = farewell {
                let flags = if operation == Operation::Shutdown { SHUTDOWN_BOTH } else { 0 };
                self.post(&mut inner, operation, flags, Cause::Call);
            }
            waits = is_awaited && route == Route::Device;
            if is_awaited && !waits {
                // What was sent has arrived, so there is nothing to wait for. It can be read after this as well.
                self.post(&mut inner, Operation::Reset, 0, Cause::Call);
            }
        }
        if waits {
            inner.deadline_ns = machine::now_ns().saturating_add(CLOSE_WAIT_NS);
            self.stack.set_timer(&(self.arc() as Arc<dyn Flow>), inner.deadline_ns);
        } else {
            inner.deadline_ns = NEVER;
            self.forget_connection(&inner);
            self.forget_port(&mut inner);
            self.forget_timer();
        }
        self.finish(inner);
        for connection in pending {
            self.vsock().account(RECORD_LEN, 0);
            connection.close();
        }
    }
}

/// A socket is a flow for its timer alone: packets come in another way.
impl Flow for VsockSocket {
    fn push(&self, packet: QueuedPacket) -> Delivery {
        drop(packet);
        Delivery::Dropped
    }

    fn wake(&self) {}

    fn work(self: Arc<Self>, _stack: &Arc<Stack>, now_ns: u64) -> u64 {
        self.expire(now_ns)
    }

    fn has_packets(&self) -> bool {
        false
    }

    fn state(&self) -> &FlowState {
        &self.flow_state
    }
}
