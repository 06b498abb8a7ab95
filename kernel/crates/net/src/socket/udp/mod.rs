//! [`UdpSocket`]: RFC 768, as udp(7) has it.
//!
//! Locks: the socket's, rank `SOCKETS`, and before it that of the table of ports, rank `PORT_TABLES`. Sending takes the socket's lock for
//! the way to the destination only, and the network's none.

mod options;
mod send;
mod table;
#[cfg(test)]
mod tests;

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use ::file::{IoResult, Progress};
use abi::socket::{AF_INET, AF_INET6, IPPROTO_UDP, SOCK_DGRAM};
use abi::{Errno, PollEvents};
use sync::{WaitQueue, machine};

use super::datagram::{Datagrams, Reading, canonical, lacks_scope};
use super::inet_options::{Holder, InetFlags};
use super::options::SocketOptions;
use super::{Address, Caller, Half, Kind, ReceiveRequest, Received, SendRequest, Socket};
use crate::Stack;
use crate::channel::{Delivery, ErrorReport, Flow, FlowState, Packet, QueuedPacket};
use crate::checksum::Sum;
use crate::counters::Counter;
use crate::flow_key::{FlowKey, address_of_bits, protocol};
use crate::frame::{ChecksumState, Payload};
use crate::interface::AddressClass;
use crate::loan::{Account, Lender, Lent};

pub(crate) use table::UdpTable;

/// Bytes of a UDP header.
const HEADER_LEN: usize = 8;
/// `FIONREAD`.
const FIONREAD: u32 = 0x541b;
/// `SIOCOUTQ`.
const SIOCOUTQ: u32 = 0x5411;

/// A UDP socket.
pub struct UdpSocket {
    me: Weak<Self>,
    datagrams: Datagrams,
    flow: FlowState,
    /// A wake at the end of the batch is due.
    is_woken: AtomicBool,
    is_corked: AtomicBool,
    /// `UDP_SEGMENT`.
    segment_len: AtomicU16,
    /// `UDP_NO_CHECK6_TX` and `_RX`, kept to be shown; and `UDP_GRO`, which allows what never happens here.
    no_check_transmit: AtomicBool,
    no_check_receive: AtomicBool,
    joins: AtomicBool,
    /// The user, for `SO_REUSEPORT`.
    user: u32,
    corked: sync::Mutex<Option<send::Corked>>,
}

/// Where a datagram begins and ends in its frame.
fn payload(packet: &Packet, _is_v6: bool) -> (usize, usize) {
    let transport = usize::from(packet.layout.transport);
    let end = packet.layout.end as usize;
    let start = (transport + HEADER_LEN).min(end);
    let len = match packet.frame.head().get(transport + 4..transport + 6) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ => 0,
    };
    (start, (transport + len).clamp(start, end))
}

/// Whether the checksum is right: of IPv4 it may be absent.
fn is_sound(datagrams: &Datagrams, packet: &Packet) -> bool {
    if packet.frame.checksum == ChecksumState::Verified {
        return true;
    }
    let transport = usize::from(packet.layout.transport);
    let (_, end) = payload(packet, false);
    let (source, destination) = (address_of_bits(packet.key.remote), address_of_bits(packet.key.local));
    let is_absent = packet.frame.head().get(transport + 6..transport + 8) == Some(&[0, 0]);
    if is_absent && destination.is_ipv4() {
        return true;
    }
    let mut sum = Sum::pseudo_header(source, destination, protocol::UDP, end - transport);
    let mut at = 0;
    for piece in packet.frame.pieces() {
        let (from, until) = (transport.saturating_sub(at), end.saturating_sub(at));
        sum.add(piece.get(from.min(piece.len())..until.min(piece.len())).unwrap_or_default());
        at += piece.len();
    }
    let is_right = sum.finish() == 0 && !is_absent;
    if !is_right {
        let mib = datagrams.stack.mib();
        let is_ipv4 = destination.is_ipv4();
        mib.count(if is_ipv4 { Counter::UdpInCsumErrors } else { Counter::Udp6InCsumErrors });
        mib.count(if is_ipv4 { Counter::UdpInErrors } else { Counter::Udp6InErrors });
    }
    is_right
}

impl UdpSocket {
    /// A socket that is bound to nothing.
    pub(super) fn new(stack: &Arc<Stack>, is_v6: bool, caller: &Caller) -> Arc<Self> {
        let reading = Reading { payload, is_sound };
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            datagrams: Datagrams::new(stack, is_v6, reading),
            flow: FlowState::default(),
            is_woken: AtomicBool::new(false),
            is_corked: AtomicBool::new(false),
            segment_len: AtomicU16::new(0),
            no_check_transmit: AtomicBool::new(false),
            no_check_receive: AtomicBool::new(false),
            joins: AtomicBool::new(false),
            user: caller.credentials.uid,
            corked: sync::Mutex::new(sync::rank::SOCKETS, None),
        })
    }

    fn stack(&self) -> &Arc<Stack> {
        &self.datagrams.stack
    }

    pub(super) fn datagrams(&self) -> &Datagrams {
        &self.datagrams
    }

    fn table(&self) -> &UdpTable {
        self.stack().udp()
    }

    #[inline]
    fn has_port(&self) -> bool {
        self.datagrams.state.lock().local.is_some_and(|local| local.port() != 0)
    }

    /// Whose options of the Internet levels they are.
    fn holder(&self) -> Holder {
        let number = self.datagrams.state.lock().local.map_or(0, |local| local.port());
        Holder { is_v6: self.datagrams.is_v6, kind: SOCK_DGRAM, number }
    }

    /// Takes an ephemeral port if it has none.
    fn bind_by_itself(&self) -> Result<(), Errno> {
        if self.has_port() {
            return Ok(());
        }
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        let any = if self.datagrams.is_v6 { IpAddr::from([0_u8; 16]) } else { IpAddr::from([0_u8; 4]) };
        let address = self.datagrams.state.lock().local.map_or(any, |local| local.ip());
        match self.table().bind(&me, (!address.is_unspecified()).then_some(address), 0) {
            Ok(port) => {
                self.datagrams.state.lock().local = Some(SocketAddr::new(address, port));
                Ok(())
            }
            // As Linux names it where nothing was asked for by name.
            Err(_) => Err(Errno::EAGAIN),
        }
    }

    /// The key of a connected socket.
    fn connected_key(local: SocketAddr, remote: SocketAddr) -> FlowKey {
        FlowKey::new(protocol::UDP, local, remote)
    }

    fn disconnect(&self) {
        let mut state = self.datagrams.state.lock();
        let (local, remote) = (state.local, state.remote.take());
        if let (Some(local), Some(remote)) = (local, remote) {
            self.stack().flows().remove(&Self::connected_key(local, remote), self as &dyn Flow);
        }
        if !state.is_address_bound
            && let Some(local) = &mut state.local
        {
            local.set_ip(if self.datagrams.is_v6 { IpAddr::from([0_u8; 16]) } else { IpAddr::from([0_u8; 4]) });
        }
        let address = state.local.map(|local| local.ip()).filter(|address| !address.is_unspecified());
        self.datagrams.change_filter(|filter| (filter.local, filter.remote) = (address, None));
    }

    /// Counts a datagram that goes to a reader, or does not.
    fn count(&self, packet_is_ipv4: bool, delivery: Delivery) {
        let counter = match (delivery, packet_is_ipv4) {
            (Delivery::Dropped, true) => Counter::UdpRcvbufErrors,
            (Delivery::Dropped, false) => Counter::Udp6RcvbufErrors,
            (_, true) => Counter::UdpInDatagrams,
            (_, false) => Counter::Udp6InDatagrams,
        };
        self.stack().mib().count(counter);
    }
}

impl Flow for UdpSocket {
    fn push(&self, packet: QueuedPacket) -> Delivery {
        let is_ipv4 = address_of_bits(packet.key.local).is_ipv4();
        let bound = self.datagrams.bound_interface();
        if bound != 0 && bound != packet.interface {
            return Delivery::Dropped;
        }
        let delivery = self.datagrams.push(packet);
        self.count(is_ipv4, delivery);
        if delivery != Delivery::Dropped {
            self.is_woken.store(true, Ordering::Release);
        }
        delivery
    }

    fn wake(&self) {
        if self.is_woken.swap(false, Ordering::AcqRel) {
            self.datagrams.waiters.wake((PollEvents::IN | PollEvents::RDNORM).bits());
        }
    }

    fn work(self: Arc<Self>, _stack: &Arc<Stack>, _now_ns: u64) -> u64 {
        machine::NEVER
    }

    fn has_packets(&self) -> bool {
        // Nothing has to be done for packets that nobody reads.
        false
    }

    fn report(&self, report: &ErrorReport<'_>) {
        self.datagrams.report(report);
    }

    fn state(&self) -> &FlowState {
        &self.flow
    }
}

impl Lender for UdpSocket {
    fn take_back(&self, payload: Payload, account: &Account) {
        account.subtract(&payload);
    }
}

impl Socket for UdpSocket {
    fn kind(&self) -> Kind {
        let domain = if self.datagrams.is_v6 { AF_INET6 } else { AF_INET };
        Kind { domain: domain.into(), kind: SOCK_DGRAM, protocol: IPPROTO_UDP }
    }

    fn bind(&self, address: &Address, caller: &Caller) -> Result<(), Errno> {
        let shown = match address {
            Address::Inet(SocketAddr::V4(_)) if self.datagrams.is_v6 => return Err(Errno::EINVAL),
            address => canonical(address, self.datagrams.is_v6)?,
        };
        let ip = shown.ip();
        if !self.datagrams.serves(ip) {
            return Err(Errno::EINVAL);
        }
        let scope = match shown {
            SocketAddr::V6(address) if address.ip().is_unicast_link_local() => address.scope_id(),
            _ => 0,
        };
        if lacks_scope(shown) && self.datagrams.bound_interface() == 0 {
            return Err(Errno::EINVAL);
        }
        let is_foreign = !ip.is_unspecified() && self.stack().interfaces().class_of(ip) == AddressClass::Remote;
        if is_foreign && !self.datagrams.inet.may_be_foreign() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let is_low = (1..crate::settings::UNPRIVILEGED_FIRST.get()).contains(&u32::from(shown.port()));
        if is_low && !caller.may_bind_low_ports {
            return Err(Errno::EACCES);
        }
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        if self.has_port() {
            return Err(Errno::EINVAL);
        }
        if scope != 0 && self.datagrams.bound_interface() == 0 {
            self.datagrams.options.bound_interface.store(scope, Ordering::Relaxed);
        }
        let address = (!ip.is_unspecified()).then_some(ip);
        let port = if shown.port() == 0 && self.datagrams.inet.has(InetFlags::BIND_NO_PORT) {
            // Sending or connecting chooses one.
            self.datagrams.change_filter(|filter| filter.local = address);
            0
        } else {
            self.table().bind(&me, address, shown.port())?
        };
        let mut state = self.datagrams.state.lock();
        (state.is_address_bound, state.is_port_bound) = (address.is_some(), shown.port() != 0);
        state.local = Some(SocketAddr::new(ip, port));
        Ok(())
    }

    fn connect(&self, address: &Address, _caller: &Caller) -> IoResult {
        if *address == Address::Unspecified {
            self.disconnect();
            // A port that nobody chose goes with the connection.
            let keeps_port = self.datagrams.state.lock().is_port_bound;
            if let Some(me) = self.me.upgrade().filter(|_| !keeps_port) {
                self.table().unbind(&me);
                let mut state = self.datagrams.state.lock();
                state.local =
                    state.local.filter(|_| state.is_address_bound).map(|local| SocketAddr::new(local.ip(), 0));
            }
            return Ok(Progress::Done(0));
        }
        let remote = canonical(address, self.datagrams.is_v6)?;
        if !self.datagrams.serves(remote.ip()) {
            return Err(Errno::ENETUNREACH);
        }
        if lacks_scope(remote) && self.datagrams.bound_interface() == 0 {
            return Err(Errno::EINVAL);
        }
        self.bind_by_itself()?;
        self.disconnect();
        let mut state = self.datagrams.state.lock();
        let local = state.local.ok_or(Errno::EINVAL)?;
        let source = Some(local.ip()).filter(|address| !address.is_unspecified());
        let request = self.datagrams.route_request(protocol::UDP, remote, source);
        let route = self.datagrams.route(&mut state, &request)?;
        if route.class() == AddressClass::Broadcast && !self.datagrams.options.broadcast.load(Ordering::Relaxed) {
            return Err(Errno::EACCES);
        }
        let local = SocketAddr::new(source.unwrap_or_else(|| route.source()), local.port());
        let mut remote = remote;
        remote.set_ip(route.destination());
        (state.local, state.remote) = (Some(local), Some(remote));
        self.datagrams.change_filter(|filter| (filter.local, filter.remote) = (Some(local.ip()), Some(remote)));
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        // Where the key is taken, the table of ports finds the socket.
        self.stack().flows().insert(Self::connected_key(local, remote), me);
        Ok(Progress::Done(0))
    }

    fn is_connect_at_once(&self) -> bool {
        true
    }

    fn local_address(&self) -> Result<Address, Errno> {
        let local = self.datagrams.state.lock().local;
        Ok(match local {
            Some(local) if local.ip().is_unspecified() => self.datagrams.show_none(local.port()),
            Some(local) => self.datagrams.show(local, self.datagrams.bound_interface()),
            None => self.datagrams.show_none(0),
        })
    }

    fn peer_address(&self) -> Result<Address, Errno> {
        let remote = self.datagrams.state.lock().remote.ok_or(Errno::ENOTCONN)?;
        Ok(self.datagrams.show(remote, 0))
    }

    fn send(&self, request: &mut SendRequest<'_, '_>) -> IoResult {
        self.send_message(request)
    }

    fn receive(&self, request: &mut ReceiveRequest<'_, '_>) -> Result<Option<Received>, Errno> {
        self.datagrams.receive(request)
    }

    fn lend(&self, pieces_max: usize) -> Result<Option<Lent>, Errno> {
        let me: Weak<dyn Lender> = self.me.clone();
        self.datagrams.lend(pieces_max, &me)
    }

    fn shutdown(&self, half: Half) -> Result<(), Errno> {
        self.datagrams.shutdown(half)
    }

    fn set_option(&self, level: i32, option: i32, value: &[u8], caller: &Caller) -> Result<(), Errno> {
        if level == IPPROTO_UDP {
            return self.set_udp_option(option, value);
        }
        self.datagrams.set_inet_option(level, option, value, self.holder(), caller)
    }

    fn option(&self, level: i32, option: i32, wanted: usize, _argument: &[u8]) -> Result<Vec<u8>, Errno> {
        if level == IPPROTO_UDP {
            return self.udp_option(option);
        }
        self.datagrams.inet.get(level, option, wanted, self.holder(), || self.path_mtu())
    }

    fn options(&self) -> &SocketOptions {
        &self.datagrams.options
    }

    fn take_error(&self) -> Option<Errno> {
        self.datagrams.take_error()
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, Errno> {
        let len = match command {
            FIONREAD => self.datagrams.next_len(),
            // Nothing waits here to be sent.
            SIOCOUTQ => 0,
            _ => return Err(Errno::ENOTTY),
        };
        mm::user::write_user_struct(argument, &i32::try_from(len).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn readiness(&self) -> PollEvents {
        self.datagrams.readiness()
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.datagrams.waiters
    }

    fn close(&self) {
        self.disconnect();
        if let Some(me) = self.me.upgrade() {
            self.table().unbind(&me);
        }
        self.datagrams.close();
    }
}
