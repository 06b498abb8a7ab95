//! What UDP, raw and ping sockets have in common: [`Datagrams`], a bounded queue of packets with its options, errors and groups.
//!
//! 1. Packets are appended in interrupts, without a lock: the queue is bounded by `SO_RCVBUF`, counted in the memory that packets hold on to.
//! 2. Readers take them under the socket's lock, rank `SOCKETS`, which verifies checksums first: what is wrong never makes a socket readable for long.
//! 3. Which packets a socket takes is its [`Filter`], read under RCU.
//! 4. Errors from the network set the pending error, and with `IP_RECVERR` join a bounded queue.

pub(crate) mod multicast;
mod receive;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::sync::atomic::{AtomicU32, Ordering};

use abi::{Errno, PollEvents};
use sync::batch_queue::Pushed;
use sync::rcu::{self, RcuCell};
use sync::{BatchQueue, Mutex, WaitQueue, machine, rank};

use super::inet_options::{Change, Holder, InetFlags, InetOptions};
use super::options::{Rare, SocketOptions};
use super::{Address, Caller, Half};
use crate::Stack;
use crate::channel::{Delivery, ErrorReport, Packet, QueuedPacket};
use crate::frame::{Payload, ReceivedFrame};
use crate::interface::{Interface, Route, RouteRequest, is_same_family};
use crate::loan::Account;
use crate::room;
use multicast::{Consequence, Membership, MembershipChange};

/// Packets that wait at most, however small.
const PACKETS_MAX: usize = 1 << 16;
/// Errors that wait at most.
const ERRORS_MAX: usize = 64;
/// Bytes of what an error quotes that are kept: the least MTU of IPv6, which no honest error exceeds. Others decide what theirs quote.
const QUOTED_LEN_MAX: usize = 1280;
/// Packets up to this many bytes are copied out of buffers that are much larger.
const COPY_LEN_MAX: usize = 512;

/// An error that waits for a reader.
struct ErrorRecord {
    errno: Errno,
    origin: u8,
    kind: u8,
    code: u8,
    mtu: u32,
    offender: Option<SocketAddr>,
    destination: SocketAddr,
    payload: Vec<u8>,
}

/// Which packets a socket takes.
#[derive(Clone, Default)]
pub(super) struct Filter {
    /// The address it is bound to; none for any.
    pub(super) local: Option<IpAddr>,
    /// The only end it hears.
    pub(super) remote: Option<SocketAddr>,
    pub(super) memberships: Vec<Membership>,
}

/// What the lock of a socket protects.
#[derive(Default)]
pub(super) struct State {
    received: VecDeque<QueuedPacket>,
    errors: VecDeque<ErrorRecord>,
    pending_error: Option<Errno>,
    pub(super) local: Option<SocketAddr>,
    pub(super) remote: Option<SocketAddr>,
    /// The program chose the local address.
    pub(super) is_address_bound: bool,
    /// The program chose the port.
    pub(super) is_port_bound: bool,
    pub(super) is_read_shut: bool,
    pub(super) is_write_shut: bool,
    pub(super) is_closed: bool,
    route: Option<Arc<Route>>,
}

/// How the packets of a socket are read.
pub(super) struct Reading {
    /// Where the program's bytes begin and end in a frame.
    pub(super) payload: fn(&Packet, bool) -> (usize, usize),
    /// Whether the packet is sound; asked once, by the reader.
    pub(super) is_sound: fn(&Datagrams, &Packet) -> bool,
}

/// A queue of packets with its options, errors and groups.
pub(super) struct Datagrams {
    pub(super) stack: Arc<Stack>,
    pub(super) is_v6: bool,
    pub(super) options: SocketOptions,
    pub(super) inet: InetOptions,
    reading: Reading,
    channel: BatchQueue<Packet>,
    /// What waits to be read, and what is lent.
    queued_bytes: Account,
    /// Packets for which there was no room.
    drops: AtomicU32,
    filter: RcuCell<Filter>,
    pub(super) waiters: WaitQueue,
    pub(super) state: Mutex<State>,
}

impl Datagrams {
    pub(super) fn new(stack: &Arc<Stack>, is_v6: bool, reading: Reading) -> Self {
        Self {
            stack: Arc::clone(stack),
            is_v6,
            options: SocketOptions::default(),
            inet: InetOptions::new(is_v6),
            reading,
            channel: BatchQueue::new(PACKETS_MAX),
            queued_bytes: Account::default(),
            drops: AtomicU32::new(0),
            filter: RcuCell::new(Arc::new(Filter::default())),
            waiters: WaitQueue::new(),
            state: Mutex::new(rank::SOCKETS, State::default()),
        }
    }

    /// Queues a packet. In interrupts.
    pub(super) fn push(&self, mut packet: QueuedPacket) -> Delivery {
        shrink(&mut packet);
        let len = packet.frame.footprint();
        let limit = self.options.receive_buffer_len();
        // As Linux has it: one packet may go beyond the limit, so that any packet can be received.
        if self.queued_bytes.word().fetch_add(len, Ordering::Relaxed) > limit {
            self.queued_bytes.word().fetch_sub(len, Ordering::Relaxed);
            self.drops.fetch_add(1, Ordering::Relaxed);
            return Delivery::Dropped;
        }
        packet.realtime_ns = match self.options.timestamp.load(Ordering::Relaxed) {
            0 => 0,
            _ => machine::realtime_ns(),
        };
        packet.lost_before = if self.options.has(Rare::RXQ_OVFL) { self.drops() } else { 0 };
        match self.channel.push_entry(packet) {
            Pushed::First => Delivery::Wake,
            // Who was woken for the first takes this one as well, unless there are several.
            Pushed::Behind => Delivery::Wake,
            Pushed::Full => {
                self.queued_bytes.word().fetch_sub(len, Ordering::Relaxed);
                self.drops.fetch_add(1, Ordering::Relaxed);
                Delivery::Dropped
            }
        }
    }

    /// Bytes that wait, with the memory that keeps them.
    pub(super) fn queued_len(&self) -> usize {
        self.queued_bytes.lent()
    }

    /// Packets for which there was no room.
    pub(super) fn drops(&self) -> u32 {
        self.drops.load(Ordering::Relaxed)
    }

    /// Looks at what the socket takes, in a read section.
    pub(super) fn with_filter<R>(&self, look: impl FnOnce(&Filter) -> R) -> R {
        look(self.filter.get(&rcu::read()))
    }

    /// Changes what the socket takes. Under the socket's lock.
    pub(super) fn change_filter(&self, change: impl FnOnce(&mut Filter)) {
        let mut filter = Filter::clone(&self.filter.load());
        change(&mut filter);
        self.filter.replace(Arc::new(filter));
    }

    /// Whether the socket serves a family of addresses.
    pub(super) fn serves(&self, address: IpAddr) -> bool {
        match (self.is_v6, address) {
            (false, address) => address.is_ipv4(),
            (true, IpAddr::V4(_)) => !self.inet.has(InetFlags::V6ONLY),
            (true, IpAddr::V6(_)) => true,
        }
    }

    /// Whether packets to a group from `source` pass.
    pub(super) fn passes_group(&self, filter: &Filter, group: IpAddr, source: IpAddr, interface: u32) -> bool {
        let all = if group.is_ipv4() { InetFlags::MULTICAST_ALL } else { InetFlags::MULTICAST_ALL6 };
        multicast::passes(&filter.memberships, group, source, interface, self.inet.has(all))
    }

    /// An address as programs of this socket see it.
    pub(super) fn show(&self, address: SocketAddr, interface: u32) -> Address {
        Address::Inet(match address {
            SocketAddr::V4(address) if self.is_v6 => {
                SocketAddrV6::new(address.ip().to_ipv6_mapped(), address.port(), 0, 0).into()
            }
            SocketAddr::V6(address) if address.ip().is_unicast_link_local() && address.scope_id() == 0 => {
                SocketAddrV6::new(*address.ip(), address.port(), 0, interface).into()
            }
            address => address,
        })
    }

    /// The address of nobody, in the socket's family.
    pub(super) fn show_none(&self, port: u16) -> Address {
        let address = if self.is_v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::from([0; 4]) };
        Address::Inet(SocketAddr::new(address, port))
    }

    /// The interface that the socket is kept to.
    pub(super) fn bound_interface(&self) -> u32 {
        self.options.bound_interface.load(Ordering::Relaxed)
    }

    /// The way to a destination, the last one if it is still right.
    pub(super) fn route(&self, state: &mut State, request: &RouteRequest) -> Result<Arc<Route>, Errno> {
        let interfaces = self.stack.interfaces();
        if let Some(route) = &state.route
            && route.request() == request
            && route.is_current(interfaces)
        {
            return Ok(Arc::clone(route));
        }
        let route = Arc::new(interfaces.route(request)?);
        state.route = Some(Arc::clone(&route));
        Ok(route)
    }

    /// What the options say of packets to a destination.
    pub(super) fn route_request(&self, protocol: u8, destination: SocketAddr, source: Option<IpAddr>) -> RouteRequest {
        let address = destination.ip();
        let (chosen, chosen_source) = self.inet.interface(address);
        let scope = match destination {
            SocketAddr::V6(address) => address.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        let interface = [self.bound_interface(), scope, chosen].into_iter().find(|index| *index != 0).unwrap_or(0);
        let (may_fragment, dont_fragment) = self.inet.fragmentation(address);
        RouteRequest {
            destination: address,
            source: source.filter(|source| is_same_family(*source, address)).or(chosen_source),
            interface,
            protocol,
            hop_limit: self.inet.hop_limit(address),
            traffic_class: self.inet.traffic_class(address),
            may_fragment,
            dont_fragment,
            loops: self.inet.loops(address),
            leaves_checksum: false,
        }
    }

    /// Whether errors wait with what they were about.
    fn wants_errors(&self) -> bool {
        self.inet.has(InetFlags::RECVERR) || (self.is_v6 && self.inet.has(InetFlags::RECVERR6))
    }

    /// The network says that a packet did not arrive.
    pub(super) fn report(&self, report: &ErrorReport<'_>) {
        let mut state = self.state.lock();
        let wants_queue = self.wants_errors();
        if !wants_queue && (!report.is_hard || state.remote.is_none()) {
            return;
        }
        let quoted = &report.payload[..report.payload.len().min(QUOTED_LEN_MAX)];
        if wants_queue
            && state.errors.len() < ERRORS_MAX
            && state.errors.try_reserve(1).is_ok()
            && let Ok(payload) = room::copy_of([quoted], quoted.len())
        {
            state.errors.push_back(ErrorRecord {
                errno: report.errno,
                origin: report.origin,
                kind: report.kind,
                code: report.code,
                mtu: report.mtu.map_or(0, u32::from),
                offender: report.offender.map(|address| SocketAddr::new(address, 0)),
                destination: report.key.remote_end(),
                payload,
            });
        }
        state.pending_error = Some(report.errno);
        drop(state);
        self.waiters.wake((PollEvents::ERR | PollEvents::IN | PollEvents::OUT).bits());
    }

    pub(super) fn take_error(&self) -> Option<Errno> {
        self.state.lock().pending_error.take()
    }

    /// What would not block. Sending never does.
    pub(super) fn readiness(&self) -> PollEvents {
        let mut state = self.state.lock();
        self.drain(&mut state);
        let mut events = PollEvents::OUT | PollEvents::WRNORM | PollEvents::WRBAND;
        if !state.received.is_empty() || state.is_read_shut {
            events |= PollEvents::IN | PollEvents::RDNORM;
        }
        if state.pending_error.is_some() || !state.errors.is_empty() {
            events |= PollEvents::ERR;
            events.set(PollEvents::PRI, self.options.has(Rare::SELECT_ERR_QUEUE));
        }
        if state.is_read_shut {
            events |= PollEvents::RDHUP;
            if state.is_write_shut {
                events |= PollEvents::HUP;
            }
        }
        events
    }

    /// Closes halves. Linux does so even where it says `ENOTCONN`.
    pub(super) fn shutdown(&self, half: Half) -> Result<(), Errno> {
        let mut state = self.state.lock();
        state.is_read_shut |= half != Half::Write;
        state.is_write_shut |= half != Half::Read;
        let result = if state.remote.is_some() { Ok(()) } else { Err(Errno::ENOTCONN) };
        drop(state);
        self.waiters.wake(u32::MAX);
        result
    }

    /// Bytes of the next packet (`FIONREAD`).
    pub(super) fn next_len(&self) -> usize {
        let mut state = self.state.lock();
        self.drain(&mut state);
        state.received.front().map_or(0, |packet| self.len_of(packet))
    }

    /// Sets an option of the Internet levels.
    pub(super) fn set_inet_option(
        &self,
        level: i32,
        option: i32,
        value: &[u8],
        holder: Holder,
        caller: &Caller,
    ) -> Result<(), Errno> {
        let is_known = |index: u32| self.stack.interfaces().with(|snapshot| snapshot.interface(index).is_some());
        match self.inet.set(level, option, value, holder, caller)? {
            Change::Done => {
                // Who wants to hear of errors no more has none waiting.
                if !self.wants_errors() {
                    self.state.lock().errors.clear();
                }
                Ok(())
            }
            Change::UnicastInterface(index, is_v6) => {
                if index != 0 && !is_known(index) {
                    return Err(Errno::EADDRNOTAVAIL);
                }
                self.inet.set_unicast_interface(index, is_v6);
                Ok(())
            }
            Change::MulticastInterface6(index) => {
                if index != 0 && !is_known(index) {
                    return Err(Errno::ENODEV);
                }
                self.inet.set_multicast_interface6(index);
                Ok(())
            }
            Change::Membership(change) => self.change_membership(change),
            Change::MulticastInterface(address, index) => {
                let snapshot = self.stack.interfaces().snapshot();
                let index = match (index, address) {
                    (0, None) => 0,
                    (0, Some(address)) => {
                        let own = snapshot.addresses().iter().find(|own| own.address == IpAddr::V4(address));
                        own.ok_or(Errno::EADDRNOTAVAIL)?.interface
                    }
                    (index, _) => snapshot.interface(index).ok_or(Errno::EADDRNOTAVAIL)?.index(),
                };
                self.inet.set_multicast_interface(index, address);
                Ok(())
            }
        }
    }

    fn change_membership(&self, mut change: MembershipChange) -> Result<(), Errno> {
        change.interface = self.group_interface(&change)?.index();
        let state = self.state.lock();
        let mut memberships = self.with_filter(|filter| filter.memberships.clone());
        let consequence = multicast::apply(&mut memberships, &change)?;
        self.change_filter(|filter| filter.memberships = memberships);
        drop(state);
        match consequence {
            Consequence::None => {}
            Consequence::Join => self.stack.join_group(change.interface, change.group),
            Consequence::Leave => self.stack.leave_group(change.interface, change.group),
        }
        Ok(())
    }

    /// The interface that a change of groups is about: that of the number, of the address, or the one on the way to the group.
    fn group_interface(&self, change: &MembershipChange) -> Result<Arc<Interface>, Errno> {
        let interfaces = self.stack.interfaces();
        let snapshot = interfaces.snapshot();
        if change.interface != 0 {
            return snapshot.interface(change.interface).cloned().ok_or(Errno::ENODEV);
        }
        if let Some(address) = change.address {
            let own = snapshot.addresses().iter().find(|own| own.address == IpAddr::V4(address));
            return own.and_then(|own| snapshot.interface(own.interface)).cloned().ok_or(Errno::ENODEV);
        }
        let request = RouteRequest::new(crate::flow_key::protocol::UDP, change.group);
        interfaces.route(&request).map(|route| Arc::clone(route.interface())).map_err(|_| Errno::ENODEV)
    }

    /// Leaves all groups and drops what waits. The socket is in no table any more.
    pub(super) fn close(&self) {
        let memberships = {
            let mut state = self.state.lock();
            state.is_closed = true;
            state.received.clear();
            state.errors.clear();
            state.route = None;
            let memberships = self.with_filter(|filter| filter.memberships.clone());
            self.change_filter(|filter| filter.memberships.clear());
            memberships
        };
        for membership in memberships {
            self.stack.leave_group(membership.interface, membership.group);
        }
        drop(self.channel.take());
        self.waiters.wake(u32::MAX);
    }
}

/// Copies a small packet out of a large buffer, which goes back to where buffers come from.
fn shrink(packet: &mut Packet) {
    let len = packet.frame.len();
    if len > COPY_LEN_MAX || packet.frame.footprint() <= 4 * COPY_LEN_MAX {
        return;
    }
    let mut bytes = Vec::with_capacity(len);
    packet.frame.pieces().for_each(|piece| bytes.extend_from_slice(piece));
    let mut frame = ReceivedFrame::new(Payload::from(bytes));
    (frame.checksum, frame.segment_len) = (packet.frame.checksum, packet.frame.segment_len);
    packet.frame = frame;
}

/// Whether an address means nothing without an interface, and names none.
pub(crate) fn lacks_scope(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(address) if address.ip().is_unicast_link_local() && address.scope_id() == 0)
}

/// An address of the program, with IPv4 as itself. `EAFNOSUPPORT`: of another family than the socket.
pub(super) fn canonical(address: &Address, is_v6: bool) -> Result<SocketAddr, Errno> {
    match address {
        Address::Inet(SocketAddr::V6(_)) if !is_v6 => Err(Errno::EAFNOSUPPORT),
        Address::Inet(SocketAddr::V6(address)) => Ok(match address.ip().to_canonical() {
            IpAddr::V4(v4) => SocketAddr::new(v4.into(), address.port()),
            IpAddr::V6(_) => SocketAddr::V6(*address),
        }),
        Address::Inet(address) => Ok(*address),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}
