//! [`TcpSocket`]: a TCP socket, from `socket` to the last segment of its connection.
//!
//! 1. One lock ([`rank::SOCKETS`]) protects all of it: what phase it is in, and the engine. Packets come without the lock, into a queue that
//!    whoever takes the lock next drains first. So the protocol runs in the thread that reads, writes or polls.
//! 2. [`Flow::push`] decides in the interrupt whether a packet is worth a wake: data and ends are; an acknowledgement is only when the engine waits for
//!    one. If nobody sleeps on the socket then, a worker drains it.
//! 3. When the program closes its socket the connection may have more to do. The table of flows and the timers keep it until it is over; then a
//!    record of TIME-WAIT may stay.
//! 4. A socket that is connected to this machine itself has no engine: see [`super::local`].
//!
//! Order of locks: a listener's, then a socket's; two sockets are never locked together.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use abi::{Errno, PollEvents};
use file::Progress;
use mm::user::UserReader;
use sync::machine::{self, NEVER};
use sync::{BatchQueue, Mutex, MutexGuard, WaitQueue, rank};

use super::engine::{Engine, SegmentHeader, Settings, State};
use super::fast_open::FastOpenOptions;
use super::listener::{Arrival, Listener};
use super::local::LocalEnd;
use super::wire::{self, Wire};
use crate::Stack;
use crate::channel::{FLOW_PACKETS_MAX, Flow, FlowState, Packet};
use crate::counters::Counter;
use crate::frame::ReceivedFrame;
use crate::interface::{AddressClass, Route};
use crate::ports::{Claim, Scope, Sharing};
use crate::settings;
use crate::socket::inet_options::{InetFlags, InetOptions};
use crate::socket::options::SocketOptions;
use crate::socket::{Accepted, Address, Caller};

/// `AF_INET6`.
pub(super) const AF_INET6: i32 = 10;
/// `AF_INET`.
pub(super) const AF_INET: i32 = 2;
/// Linux's default buffers of TCP as `SO_SNDBUF` and `SO_RCVBUF` show them (`net.ipv4.tcp_wmem`, `tcp_rmem`).
const SEND_BUFFER: u32 = 16_384;
const RECEIVE_BUFFER: u32 = 131_072;

/// A TCP socket.
pub struct TcpSocket {
    pub(super) stack: Arc<Stack>,
    pub(super) domain: i32,
    pub(super) me: Weak<TcpSocket>,
    pub(super) options: SocketOptions,
    /// Options of the Internet levels.
    pub(super) inet: InetOptions,
    pub(super) inner: Mutex<Inner>,
    pub(super) packets: BatchQueue<Packet>,
    pub(super) wait_queue: WaitQueue,
    pub(super) flow_state: FlowState,
    /// An acknowledgement would have something done.
    pub(super) awaits_acknowledgement: AtomicBool,
    /// What the packets since the last wake mean to who waits.
    pub(super) arrived: AtomicU32,
    /// The user who made it, for `SO_REUSEPORT`.
    user: AtomicU32,
    /// `TCP_INQ`: reads tell how much waits behind what they took.
    pub(super) tells_waiting: AtomicBool,
    /// Urgent data was announced, and its owner has not been told.
    pub(super) has_urgent_news: AtomicBool,
    /// The connection is open and has nothing for the program: no bytes, no end, no error. Set under the lock where this is found, and
    /// cleared there before anything is done that may change it, so that a look need not take the lock.
    pub(super) is_quiet: AtomicBool,
}

/// What the lock of a socket protects.
pub(super) struct Inner {
    pub(super) phase: Phase,
    /// The local address and its port, once bound.
    pub(super) bound: Option<Bound>,
    /// What the program set for TCP; the engine has a copy.
    pub(super) settings: Settings,
    /// `TCP_MAXSEG`.
    pub(super) mss_max: Option<u16>,
    /// `TCP_DEFER_ACCEPT` in seconds.
    pub(super) defer_accept_seconds: u32,
    /// What it wants of TCP Fast Open.
    pub(super) fast_open: FastOpenOptions,
    /// The ends of the local connection that it is to have.
    pub(super) pair_claim: Option<Claim>,
    /// An attempt to connect has failed, and `connect` has not said so: it does once, by the error or else by `ECONNABORTED`.
    pub(super) has_failed: bool,
    /// The error of a connection that is no more.
    pub(super) error: Option<Errno>,
    /// The program itself ended that connection.
    pub(super) was_disconnected: bool,
    /// The address that was bound without a port, which `connect` or `listen` chooses (`IP_BIND_ADDRESS_NO_PORT`).
    pub(super) address_without_port: Option<IpAddr>,
    /// The port of an attempt to connect that failed, which `getsockname` goes on to show.
    pub(super) port_before: u16,
    /// The program has let go of it.
    pub(super) is_orphan: bool,
    /// `connect` has said that it is connected.
    pub(super) has_told: bool,
}

/// A socket's own address.
pub(super) struct Bound {
    pub(super) claim: Claim,
    pub(super) address: IpAddr,
    /// By `bind`, and not by `connect`.
    pub(super) is_explicit: bool,
}

/// What a socket is at the moment.
pub(super) enum Phase {
    /// Neither connected nor listening.
    Idle,
    /// It takes connections.
    Listening(Arc<Listener>),
    /// It waits for room in the queue of a listener of this machine; or, deferred, for the first bytes to send, with
    /// which it is to connect (`TCP_FASTOPEN_CONNECT`).
    Waiting { remote: SocketAddr, is_deferred: bool },
    /// It is connected to a socket of this machine.
    Local(Box<LocalEnd>),
    /// It is connected over the network, or trying to be.
    Wire(Box<Wire>),
}

impl TcpSocket {
    /// A socket of domain `AF_INET` or `AF_INET6`.
    #[must_use]
    pub fn new(stack: &Arc<Stack>, domain: i32) -> Arc<Self> {
        let options = SocketOptions::with_buffers(SEND_BUFFER, RECEIVE_BUFFER);
        Self::with(stack, domain, (options, InetOptions::new(domain == AF_INET6)), Phase::Idle, None)
    }

    /// A socket of a connection that a listener took, with what it inherits.
    pub(super) fn accepted(
        listener: &TcpSocket,
        inherited: &Inherited,
        phase: Phase,
        claim: Option<Claim>,
        address: IpAddr,
    ) -> Arc<Self> {
        let options = listener.options.duplicate();
        let bound = claim.map(|claim| Bound { claim, address, is_explicit: true });
        let inet = listener.inet.duplicate();
        let socket = Self::with(&listener.stack, listener.domain, (options, inet), phase, bound);
        socket.set_user(listener.user.load(Ordering::Relaxed));
        let mut inner = socket.inner.lock();
        (inner.settings, inner.mss_max, inner.has_told) = (inherited.settings, inherited.mss_max, true);
        inner.fast_open.needs_no_cookie = inherited.needs_no_cookie;
        drop(inner);
        socket
    }

    fn with(
        stack: &Arc<Stack>,
        domain: i32,
        (options, inet): (SocketOptions, InetOptions),
        phase: Phase,
        bound: Option<Bound>,
    ) -> Arc<Self> {
        let inner = Inner {
            phase,
            bound,
            settings: Settings::default(),
            mss_max: None,
            defer_accept_seconds: 0,
            fast_open: FastOpenOptions::default(),
            pair_claim: None,
            has_failed: false,
            error: None,
            was_disconnected: false,
            address_without_port: None,
            port_before: 0,
            is_orphan: false,
            has_told: false,
        };
        Arc::new_cyclic(|me| Self {
            stack: Arc::clone(stack),
            domain,
            me: Weak::clone(me),
            options,
            inet,
            inner: Mutex::new(rank::SOCKETS, inner),
            packets: BatchQueue::new(FLOW_PACKETS_MAX),
            wait_queue: WaitQueue::new(),
            flow_state: FlowState::default(),
            awaits_acknowledgement: AtomicBool::new(true),
            arrived: AtomicU32::new(0),
            user: AtomicU32::new(0),
            tells_waiting: AtomicBool::new(false),
            has_urgent_news: AtomicBool::new(false),
            is_quiet: AtomicBool::new(false),
        })
    }

    /// Wakes who waits for `events`. True: somebody did.
    pub(super) fn wake_for(&self, events: PollEvents) -> bool {
        self.wait_queue.wake(events.bits())
    }

    /// Urgent data has come, which may be news for the owner of the socket.
    pub(super) fn note_urgent(&self, is_news: bool) {
        if is_news {
            self.has_urgent_news.store(true, Ordering::Relaxed);
        }
    }

    /// The socket as whoever counts references has it.
    pub(super) fn arc(&self) -> Arc<Self> {
        self.me.upgrade().expect("a socket that is called is referred to")
    }

    pub(super) fn flow(&self) -> Arc<dyn Flow> {
        self.arc()
    }

    /// An address as a program of this domain sees it.
    pub(super) fn shown(&self, address: SocketAddr) -> Address {
        Address::Inet(match address {
            SocketAddr::V4(v4) if self.domain == AF_INET6 => {
                SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
            }
            address => address,
        })
    }

    /// The unspecified address of the domain.
    pub(super) fn any(&self) -> IpAddr {
        if self.domain == AF_INET6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
    }

    /// An address that a program gives, checked for the domain; mapped ones are IPv4.
    pub(super) fn given(&self, address: &Address) -> Result<SocketAddr, Errno> {
        match address {
            Address::Inet(SocketAddr::V4(v4)) if self.domain == AF_INET => Ok(SocketAddr::V4(*v4)),
            Address::Inet(SocketAddr::V6(v6)) if self.domain == AF_INET6 => {
                let ip = v6.ip().to_canonical();
                Ok(if ip.is_ipv4() { SocketAddr::new(ip, v6.port()) } else { SocketAddr::V6(*v6) })
            }
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// Notes the user who made it.
    pub(crate) fn set_user(&self, user: u32) {
        self.user.store(user, Ordering::Relaxed);
    }

    fn sharing(&self) -> Sharing {
        let shares = self.options.reuse_port.load(Ordering::Relaxed);
        Sharing::Bound {
            reuse_address: self.options.reuse_address.load(Ordering::Relaxed),
            reuse_port: shares.then(|| self.user.load(Ordering::Relaxed)),
            is_listening: false,
        }
    }

    /// `SO_REUSEADDR` or `SO_REUSEPORT` was set: it counts for those who bind from now on.
    pub(super) fn renew_sharing(&self) {
        if let Some(bound) = &mut self.inner.lock().bound {
            bound.claim.renew(self.sharing());
        }
    }

    // ---- Names --------------------------------------------------------------------------------------------------

    pub(super) fn bind_to(&self, address: &Address, caller: &Caller) -> Result<(), Errno> {
        let address = self.given(address)?;
        let port = address.port();
        let class = self.stack.interfaces().class_of(address.ip());
        let is_foreign = !address.ip().is_unspecified() && class == AddressClass::Remote;
        if address.is_ipv6() && class == AddressClass::Multicast {
            return Err(Errno::EINVAL);
        }
        if let SocketAddr::V6(v6) = address
            && v6.ip().is_unicast_link_local()
        {
            if self.lacks_link(address) {
                return Err(Errno::EINVAL);
            }
            let index = v6.scope_id();
            if index != 0 && self.stack.interfaces().with(|snapshot| snapshot.interface(index).is_none()) {
                return Err(Errno::ENODEV);
            }
        }
        // Nobody reaches groups and all machines by a connection, but they can be bound.
        if is_foreign && !self.inet.may_be_foreign() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if port != 0 && u32::from(port) < settings::UNPRIVILEGED_FIRST.get() && !caller.may_bind_low_ports {
            return Err(Errno::EACCES);
        }
        let mut inner = self.inner.lock();
        if inner.bound.is_some() || !matches!(inner.phase, Phase::Idle) {
            return Err(Errno::EINVAL);
        }
        if port == 0 && self.inet.has(InetFlags::BIND_NO_PORT) {
            inner.address_without_port = Some(address.ip());
            return Ok(());
        }
        inner.address_without_port = None;
        let scope = Scope::of(address.ip(), self.inet.has(InetFlags::V6ONLY));
        let claim = self.stack.tcp().ports().claim(port, scope, self.sharing())?;
        inner.bound = Some(Bound { claim, address: address.ip(), is_explicit: true });
        Ok(())
    }

    pub(super) fn listen_with(&self, backlog: i32) -> Result<(), Errno> {
        // A negative backlog is a very large one, as on Linux.
        let backlog = u32::try_from(backlog).unwrap_or(u32::MAX).min(settings::BACKLOG_MAX.get());
        let mut inner = self.inner.lock();
        match &inner.phase {
            Phase::Listening(listener) => {
                listener.set_backlog(backlog);
                return Ok(());
            }
            Phase::Idle if !inner.has_failed => {}
            _ => return Err(Errno::EINVAL),
        }
        if inner.bound.is_none() {
            let address = inner.address_without_port.unwrap_or_else(|| self.any());
            let scope = Scope::of(address, self.inet.has(InetFlags::V6ONLY));
            let sharing = Sharing::Bound { reuse_address: false, reuse_port: None, is_listening: false };
            let claim = self.stack.tcp().ports().claim(0, scope, sharing)?;
            inner.bound = Some(Bound { claim, address, is_explicit: false });
        }
        let Some(bound) = &mut inner.bound else { return Err(Errno::EINVAL) };
        bound.claim.listen()?;
        let listener = Listener::new(Weak::clone(&self.me), bound.claim.port(), bound.claim.scope(), backlog);
        self.stack.tcp().add_listener(&listener);
        inner.phase = Phase::Listening(listener);
        inner.fast_open.listen(self.stack.tcp(), backlog);
        Ok(())
    }

    pub(super) fn local_end(&self) -> SocketAddr {
        let inner = self.inner.lock();
        match &inner.phase {
            Phase::Local(end) => end.local,
            Phase::Wire(wire) => wire.key.local_end(),
            _ => match &inner.bound {
                Some(bound) => SocketAddr::new(bound.address, bound.claim.port()),
                None => SocketAddr::new(inner.address_without_port.unwrap_or_else(|| self.any()), inner.port_before),
            },
        }
    }

    pub(super) fn remote_end(&self) -> Result<SocketAddr, Errno> {
        let mut inner = self.lock_drained();
        match &mut inner.phase {
            Phase::Local(end) => {
                end.notice_reset();
                if end.state() == State::Closed { Err(Errno::ENOTCONN) } else { Ok(end.remote) }
            }
            Phase::Wire(wire) if !matches!(wire.engine.state(), State::SynSent | State::Closed | State::TimeWait) => {
                Ok(wire.key.remote_end())
            }
            _ => Err(Errno::ENOTCONN),
        }
    }

    // ---- Accepting ----------------------------------------------------------------------------------------------

    pub(super) fn take_connection(&self) -> Result<Option<Accepted>, Errno> {
        let listener = match &self.inner.lock().phase {
            Phase::Listening(listener) => Arc::clone(listener),
            _ => return Err(Errno::EINVAL),
        };
        let (ready, next) = listener.take();
        if let Some(connector) = next
            && let Some(addresses) = connector.waiting_addresses()
            && matches!(self.stack.tcp().arrive_locally(&listener, &connector, addresses), Arrival::Refused)
        {
            connector.refuse();
        }
        let Some(socket) = ready else { return Ok(None) };
        let remote = match &socket.inner.lock().phase {
            Phase::Local(end) => end.remote,
            Phase::Wire(wire) => wire.key.remote_end(),
            _ => SocketAddr::new(self.any(), 0),
        };
        let peer = socket.shown(remote);
        Ok(Some(Accepted { socket, peer }))
    }

    /// What connections take over from this listener.
    #[inline]
    pub(super) fn inherited(&self) -> Inherited {
        let inner = self.inner.lock();
        Inherited {
            settings: inner.settings,
            mss_max: inner.mss_max,
            needs_no_cookie: inner.fast_open.needs_no_cookie,
            defer_accept_seconds: inner.defer_accept_seconds,
            claim: inner.bound.as_ref().map(|bound| bound.claim.share()),
        }
    }

    /// The settings of a connection that comes to this listener by `route`.
    pub(super) fn settings_for(&self, route: &Route) -> Settings {
        let inner = self.inner.lock();
        let mut settings = self.settings_of(&inner);
        wire::fit(&mut settings, inner.mss_max, route);
        settings
    }

    /// Whether connections wait for their first data before they are accepted.
    pub(super) fn defers_accept(&self) -> bool {
        self.inner.lock().defer_accept_seconds > 0
    }

    /// Sends what a new connection has to say, and sets its timer.
    pub(super) fn begin_fast(&self, now_ns: u64) {
        self.settle(&mut self.inner.lock(), now_ns);
    }

    /// Gives the engine its first segment, the third of the handshake.
    pub(super) fn take_segment(&self, header: &SegmentHeader, frame: ReceivedFrame, now_ns: u64) {
        let mut inner = self.inner.lock();
        if let Phase::Wire(wire) = &mut inner.phase {
            self.is_quiet.store(false, Ordering::Release);
            wire.receive_parsed(header, frame, now_ns);
            self.settle(&mut inner, now_ns);
        }
    }

    // ---- The engine ---------------------------------------------------------------------------------------------

    /// Takes the lock, with all packets that have come given to the engine.
    #[inline]
    pub(super) fn lock_drained(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock();
        self.is_quiet.store(false, Ordering::Release);
        if !self.packets.is_empty() {
            self.drain(&mut inner);
        }
        inner
    }

    /// As [`TcpSocket::lock_drained`] for who only sends: what is sent is not news for the program.
    #[inline]
    fn lock_to_send(&self) -> MutexGuard<'_, Inner> {
        if self.packets.is_empty() { self.inner.lock() } else { self.lock_drained() }
    }

    #[inline(never)]
    fn drain(&self, inner: &mut Inner) {
        let now_ns = machine::now_ns();
        if let Phase::Wire(wire) = &mut inner.phase {
            let is_new = !wire.was_established;
            let mut arrived = self.packets.take();
            while let Some(packet) = arrived.next_entry() {
                if !wire.receive(packet) {
                    self.stack.mib().count(Counter::TcpInErrs);
                    self.stack.mib().count(Counter::TcpInCsumErrors);
                }
            }
            if is_new && let Some(cookie) = wire.engine.take_cookie() {
                self.stack.tcp().cookies.note(wire.key.remote_end().ip(), cookie.ok());
            }
            if wire.engine.take_urgent_news() {
                self.note_urgent(true);
                self.wake_for(PollEvents::PRI);
            }
            self.settle(inner, now_ns);
        } else {
            // A connection that is no more: its packets meet nobody.
            drop(self.packets.take());
        }
    }

    /// After the engine was used: sends what is due, sets its timer, and lets go of a connection that is over.
    pub(super) fn settle(&self, inner: &mut Inner, now_ns: u64) {
        let Phase::Wire(wire) = &mut inner.phase else { return };
        wire.poll(&self.stack, now_ns);
        self.awaits_acknowledgement.store(wire.awaits_acknowledgement(), Ordering::Release);
        wire.leave_place(now_ns);
        let state = wire.engine.state();
        if matches!(state, State::Closed | State::TimeWait) {
            self.is_quiet.store(false, Ordering::Release);
            if state == State::TimeWait {
                wire.last_state = state;
            }
            self.detach(inner);
            return;
        }
        wire.last_state = state;
        let at_ns = wire.engine.poll_at();
        if at_ns < self.flow_state.timer_ns.load(Ordering::Relaxed) && at_ns != NEVER {
            self.stack.set_timer(&self.flow(), at_ns);
        }
    }

    /// Takes a connection that is over out of the tables. What was received stays until the program lets go.
    pub(super) fn detach(&self, inner: &mut Inner) {
        let Phase::Wire(wire) = &mut inner.phase else { return };
        if !wire.is_detached {
            wire.is_detached = true;
            self.count_end(wire);
            let flow = self.flow();
            self.stack.cancel_timer(&flow);
            self.stack.flows().remove(&wire.key, self);
            if let Some(record) = wire.engine.time_wait() {
                self.stack.mib().count(Counter::TcpExtTW);
                self.stack.tcp().enter_time_wait(&wire.key, &record);
            }
        }
        if inner.is_orphan {
            inner.phase = Phase::Idle;
            inner.bound = None;
        }
    }

    /// Adds what a connection has counted to what the stack has.
    fn count_end(&self, wire: &Wire) {
        let mib = self.stack.mib();
        let counts = wire.engine.information(machine::now_ns());
        mib.add(Counter::TcpInSegs, counts.segments_in.into());
        mib.add(Counter::TcpOutSegs, counts.segments_out.into());
        mib.add(Counter::TcpRetransSegs, counts.total_retransmits.into());
        if !wire.was_established {
            mib.count(Counter::TcpAttemptFails);
        } else if wire.engine.state() == State::Closed
            && matches!(wire.last_state, State::Established | State::CloseWait)
        {
            mib.count(Counter::TcpEstabResets);
        }
    }

    /// Sends on a connection of the machine with itself, or one `urgent` byte, and tells who has to hear of it. None: there is no room, or no such
    /// connection any more.
    #[inline]
    pub(super) fn send_within(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        from: &mut UserReader<'_>,
        urgent: Option<u8>,
    ) -> Result<Option<usize>, Errno> {
        let Phase::Local(end) = &mut inner.phase else { return Ok(None) };
        let sent = match urgent {
            None => end.send(from)?,
            Some(byte) => end.send_urgent(byte)?,
        };
        if end.deferred.is_some() {
            let announcement = end.take_announcement();
            drop(inner);
            admit(announcement);
        } else if end.is_dead() {
            // The answer to what was just sent is a reset.
            drop(inner);
            self.wake_for(PollEvents::all());
        }
        Ok(sent)
    }

    /// Writes once, in the phases that have a connection.
    pub(super) fn send_bytes(&self, from: &mut UserReader<'_>, has_more: bool) -> Result<Progress, Errno> {
        let mut done = 0;
        loop {
            let mut inner = self.lock_to_send();
            let Inner { phase, error, .. } = &mut *inner;
            match phase {
                Phase::Local(_) => {
                    let sent = self.send_within(inner, from, None)?;
                    return Ok(sent.map_or(Progress::WouldBlock, Progress::Done));
                }
                Phase::Wire(wire) => {
                    if wire.begin_write(from.remaining()) && (wire.is_listed || self.stack.hold(self.flow())) {
                        wire.is_listed = true;
                        wire.hold();
                    }
                    let sent = match wire.send(from, has_more) {
                        Ok(sent) => sent,
                        Err(errno) if done == 0 => return Err(errno),
                        Err(_) => return Ok(Progress::Done(done)),
                    };
                    let fault = match sent {
                        Ok(Some(count)) => {
                            done += count;
                            self.settle(&mut inner, machine::now_ns());
                            if from.is_empty() {
                                return Ok(Progress::Done(done));
                            }
                            continue;
                        }
                        Ok(None) if done == 0 => return Ok(Progress::WouldBlock),
                        Ok(None) => return Ok(Progress::Done(done)),
                        Err(fault) => fault,
                    };
                    drop(inner);
                    match fault.resolve() {
                        Err(errno) if done == 0 => return Err(errno),
                        Err(_) => return Ok(Progress::Done(done)),
                        Ok(()) => {}
                    }
                }
                Phase::Waiting { .. } => return Ok(Progress::WouldBlock),
                Phase::Idle | Phase::Listening(_) => return Err(error.take().unwrap_or(Errno::EPIPE)),
            }
        }
    }
}

/// Something has come on a connection that was not given out before.
pub(super) fn admit(announcement: Option<(Arc<Listener>, Arc<TcpSocket>)>) {
    if let Some((listener, socket)) = announcement {
        listener.admit(&socket);
    }
}

/// What a connection takes over from its listener.
pub(super) struct Inherited {
    pub(super) settings: Settings,
    pub(super) mss_max: Option<u16>,
    pub(super) needs_no_cookie: bool,
    /// How long it waits for something to come.
    pub(super) defer_accept_seconds: u32,
    pub(super) claim: Option<Claim>,
}
