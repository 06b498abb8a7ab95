//! [`RawSocket`]: raw(7) sockets of both families, and the sockets of kind `SOCK_DGRAM` that may send echo requests alone.
//!
//! A raw socket gets a copy of every packet of its protocol, from the control worker. Packets of TCP and UDP go to their flows without passing there;
//! while there are raw sockets of these protocols they are copied for them. Connections of the machine with itself have no packets to hear.
//!
//! Locks: the socket's, rank `SOCKETS`; the table's, rank `PORT_TABLES`, which is not held while packets are given out.

mod table;

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

use ::file::{IoResult, Progress};
use abi::socket::{AF_INET, AF_INET6, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_RAW, IPPROTO_UDP, SOCK_DGRAM, SOCK_RAW};
use abi::{Errno, PollEvents};
use smoltcp::wire::{Icmpv4Packet, Ipv4Packet};
use sync::WaitQueue;

use super::datagram::{Datagrams, Reading, canonical};
use super::inet_options::{Holder, InetFlags, SOL_IPV6, int};
use super::options::SocketOptions;
use super::{Address, Caller, ControlMessage, Half, Kind, MessageFlags, ReceiveRequest, Received, SendRequest, Socket};
use crate::channel::{ErrorReport, Packet, QueuedPacket};
use crate::checksum::Sum;
use crate::flow_key::{address_of_bits, protocol};
use crate::frame::ChecksumState;
use crate::interface::{AddressClass, RouteRequest};
use crate::{Stack, TransmitFrame};

pub(crate) use table::{Heard, RawTable};

/// `FIONREAD`.
const FIONREAD: u32 = 0x541b;
/// `SIOCOUTQ`.
const SIOCOUTQ: u32 = 0x5411;
/// `SOL_RAW`.
const SOL_RAW: i32 = 255;
/// `IPV6_CHECKSUM`, and where it is in a message of ICMPv6.
const CHECKSUM: i32 = 7;
const ICMPV6_CHECKSUM: i32 = 2;
/// `ICMP_FILTER`, `ICMPV6_FILTER`.
const FILTER: i32 = 1;
/// Words of an `ICMPV6_FILTER`.
const FILTER_WORDS: usize = 8;
/// Bytes of an ICMP header.
const ICMP_LEN: usize = 8;
const IPV4_LEN: usize = 20;
/// The longest IP packet.
const PACKET_LEN_MAX: usize = 65_535;
/// Echo requests, and the answers to them.
const ECHO_REQUEST4: u8 = 8;
const ECHO_REPLY4: u8 = 0;
const ECHO_REQUEST6: u8 = 128;
const ECHO_REPLY6: u8 = 129;

/// A socket that sends and hears IP packets.
pub struct RawSocket {
    me: Weak<Self>,
    datagrams: Datagrams,
    protocol: u8,
    /// It sends echo requests alone, under an identifier that is its port.
    is_ping: bool,
    /// Types of messages that are kept away: a bit each.
    filter: [AtomicU32; FILTER_WORDS],
    /// Where the checksum of a packet of IPv6 is (`IPV6_CHECKSUM`), or -1.
    checksum_at: AtomicI32,
}

/// Programs see packets from the IP header on in IPv4, without it in IPv6.
fn payload_raw(packet: &Packet, is_v6: bool) -> (usize, usize) {
    let end = packet.layout.end as usize;
    let start = if is_v6 { packet.layout.transport } else { packet.layout.network };
    (usize::from(start).min(end), end)
}

fn payload_ping(packet: &Packet, _is_v6: bool) -> (usize, usize) {
    let end = packet.layout.end as usize;
    (usize::from(packet.layout.transport).min(end), end)
}

impl RawSocket {
    /// A socket that is bound to nothing. It hears at once, unless it is for echo requests.
    pub(super) fn new(stack: &Arc<Stack>, is_v6: bool, protocol: u8, is_ping: bool) -> Arc<Self> {
        let payload = if is_ping { payload_ping } else { payload_raw };
        let has_checksum = is_v6 && !is_ping && i32::from(protocol) == IPPROTO_ICMPV6;
        let checksum_at = if has_checksum { ICMPV6_CHECKSUM } else { -1 };
        let socket = Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            datagrams: Datagrams::new(stack, is_v6, Reading { payload, is_sound: |_, _| true }),
            protocol,
            is_ping,
            filter: Default::default(),
            checksum_at: AtomicI32::new(checksum_at),
        });
        socket.datagrams.inet.set_flag(InetFlags::HDRINCL, !is_v6 && i32::from(protocol) == IPPROTO_RAW);
        if !is_ping {
            // As Linux says; they share in any case.
            socket.datagrams.options.reuse_address.store(true, Relaxed);
            stack.raw().add(&socket);
        }
        socket
    }

    pub(super) fn datagrams(&self) -> &Datagrams {
        &self.datagrams
    }

    /// Whether it sends echo requests alone.
    pub(super) fn is_ping(&self) -> bool {
        self.is_ping
    }

    /// Whose options of the Internet levels they are.
    fn holder(&self) -> Holder {
        let (kind, number) = match self.is_ping {
            true => (SOCK_DGRAM, self.datagrams.state.lock().local.map_or(0, |local| local.port())),
            false => (SOCK_RAW, self.protocol.into()),
        };
        Holder { is_v6: self.datagrams.is_v6, kind, number }
    }

    /// The identifier of a socket for echo requests; it gets one if it has none.
    fn identifier(&self) -> Result<u16, Errno> {
        if let Some(local) = self.datagrams.state.lock().local.filter(|local| local.port() != 0) {
            return Ok(local.port());
        }
        self.bind_ping(None, 0)
    }

    fn bind_ping(&self, address: Option<IpAddr>, identifier: u16) -> Result<u16, Errno> {
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        let identifier = self.datagrams.stack.raw().add_ping(&me, identifier)?;
        let any = if self.datagrams.is_v6 { IpAddr::from([0_u8; 16]) } else { IpAddr::from([0_u8; 4]) };
        let mut state = self.datagrams.state.lock();
        let known = state.local.map(|local| local.ip());
        state.local = Some(SocketAddr::new(address.or(known).unwrap_or(any), identifier));
        Ok(identifier)
    }

    /// Whether the socket takes a packet.
    fn takes(&self, packet: &Packet) -> bool {
        let (local, remote) = (address_of_bits(packet.key.local), address_of_bits(packet.key.remote));
        let device = self.datagrams.bound_interface();
        let kind = packet.frame.head().get(usize::from(packet.layout.transport)).copied().unwrap_or(0);
        if local.is_ipv6() != self.datagrams.is_v6
            || packet.key.protocol != self.protocol
            || (device != 0 && device != packet.interface)
            || (!self.is_ping && self.filters(kind))
            || !self.has_right_checksum(packet)
        {
            return false;
        }
        self.datagrams.with_filter(|filter| {
            filter.local.is_none_or(|own| own == local)
                && filter.remote.is_none_or(|peer| peer.ip() == remote)
                && (!local.is_multicast() || self.datagrams.passes_group(filter, local, remote, packet.interface))
        })
    }

    fn filters(&self, kind: u8) -> bool {
        let is_icmp = matches!(i32::from(self.protocol), IPPROTO_ICMP | IPPROTO_ICMPV6);
        // ICMP_FILTER knows the first 32 types.
        if !is_icmp || (!self.datagrams.is_v6 && kind >= 32) {
            return false;
        }
        let word = self.filter[usize::from(kind) / 32].load(Relaxed);
        word >> (kind % 32) & 1 != 0
    }

    /// Gives it a packet that it takes.
    fn give(&self, packet: QueuedPacket) {
        if self.datagrams.push(packet) != crate::channel::Delivery::Dropped {
            self.datagrams.waiters.wake((PollEvents::IN | PollEvents::RDNORM).bits());
        }
    }

    /// The destination of a message, with what options and ancillary data say.
    fn prepare(&self, request: &SendRequest<'_, '_>) -> Result<RouteRequest, Errno> {
        let named = request.address.map(|address| canonical(address, self.datagrams.is_v6)).transpose()?;
        let (local, remote) = {
            let state = self.datagrams.state.lock();
            if state.is_write_shut {
                return Err(Errno::EPIPE);
            }
            (state.local, state.remote)
        };
        let destination = named.or(remote).ok_or(Errno::EDESTADDRREQ)?;
        if destination.is_ipv6() != self.datagrams.is_v6 {
            return Err(Errno::EINVAL);
        }
        let source =
            local.map(|local| local.ip()).filter(|address| !address.is_unspecified() && !address.is_multicast());
        let mut route = self.datagrams.route_request(self.protocol, destination, source);
        // What a raw socket of IPv6 has checked and filled in is its own business.
        route.leaves_checksum = !self.is_ping || !self.datagrams.is_v6;
        for message in request.control.iter() {
            match message {
                ControlMessage::PacketInfo { interface, specified, .. } => {
                    if *interface != 0 {
                        route.interface = *interface;
                    }
                    if !specified.is_unspecified() {
                        route.source = Some(*specified);
                    }
                }
                ControlMessage::StaysWhole(stays) if self.datagrams.is_v6 => {
                    route.may_fragment = self.datagrams.inet.fragmentation_of(route.destination, *stays).0;
                }
                ControlMessage::HopLimit(limit, is_v6) if *is_v6 == self.datagrams.is_v6 => route.hop_limit = *limit,
                ControlMessage::TrafficClass(class, is_v6) if *is_v6 == self.datagrams.is_v6 => {
                    route.traffic_class = *class;
                }
                _ => {}
            }
        }
        Ok(route)
    }

    fn send_message(&self, request: &mut SendRequest<'_, '_>) -> IoResult {
        if request.flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let len = request.from.remaining();
        if len > PACKET_LEN_MAX {
            return Err(Errno::EMSGSIZE);
        }
        let route_request = self.prepare(request)?;
        let has_header = !self.is_ping && self.datagrams.inet.has(InetFlags::HDRINCL);
        let mut frame = TransmitFrame::with_room(len)?;
        request.from.read_exact(frame.extend(len))?;
        if self.is_ping {
            self.complete_echo(&mut frame)?;
        }
        let route = {
            let mut state = self.datagrams.state.lock();
            self.datagrams.route(&mut state, &route_request)?
        };
        if route.class() == AddressClass::Broadcast && !self.datagrams.options.broadcast.load(Relaxed) {
            return Err(Errno::EACCES);
        }
        if let Some(errno) = self.datagrams.take_error() {
            return Err(errno);
        }
        let stack = &self.datagrams.stack;
        if has_header {
            if len > route.mtu() {
                return Err(Errno::EMSGSIZE);
            }
            let identification = stack.interfaces().identification(route.destination(), 1);
            complete_header(&mut frame, route.source(), identification)?;
            route.send_with_header_settled(stack, &mut alloc::vec![frame]);
        } else {
            if len + IPV4_LEN > PACKET_LEN_MAX && !self.datagrams.is_v6 {
                return Err(Errno::EMSGSIZE);
            }
            self.fill_checksum(&mut frame, route.source(), route.destination())?;
            route.send_settled(stack, &mut alloc::vec![frame])?;
        }
        Ok(Progress::Done(len))
    }

    /// Fills the checksum in, where the socket has said that there is one. `EINVAL`: the packet is too short for it.
    fn fill_checksum(&self, frame: &mut TransmitFrame, source: IpAddr, destination: IpAddr) -> Result<(), Errno> {
        let Ok(at) = usize::try_from(self.checksum_at.load(Relaxed)) else { return Ok(()) };
        let head = frame.head_mut();
        let len = head.len();
        head.get_mut(at..at + 2).ok_or(Errno::EINVAL)?.fill(0);
        let mut sum = Sum::pseudo_header(source, destination, self.protocol, len);
        sum.add(head);
        let checksum = match sum.finish() {
            // That would say that there is none.
            0 if i32::from(self.protocol) == IPPROTO_UDP => u16::MAX,
            checksum => checksum,
        };
        head.get_mut(at..at + 2).ok_or(Errno::EINVAL)?.copy_from_slice(&checksum.to_be_bytes());
        Ok(())
    }

    /// Whether a packet has the checksum that the socket has said there is. Those of ICMP were looked at before.
    fn has_right_checksum(&self, packet: &Packet) -> bool {
        let is_checked = self.checksum_at.load(Relaxed) >= 0 && i32::from(self.protocol) != IPPROTO_ICMPV6;
        // What devices check, and what needs no check within the machine.
        let is_transport = matches!(self.protocol, protocol::TCP | protocol::UDP);
        if !is_checked || is_transport && packet.frame.checksum != ChecksumState::Unknown {
            return true;
        }
        let (mut skip, end) = (usize::from(packet.layout.transport), packet.layout.end as usize);
        let (local, remote) = (address_of_bits(packet.key.local), address_of_bits(packet.key.remote));
        let mut left = end.saturating_sub(skip);
        let mut sum = Sum::pseudo_header(remote, local, self.protocol, left);
        for piece in packet.frame.pieces() {
            let from = skip.min(piece.len());
            let len = left.min(piece.len() - from);
            sum.add(&piece[from..from + len]);
            (skip, left) = (skip - from, left - len);
        }
        sum.finish() == 0
    }

    /// `IPV6_CHECKSUM`: where the checksum is, or that there is none.
    fn set_checksum(&self, level: i32, value: &[u8]) -> Result<(), Errno> {
        let at = int(value).ok_or(Errno::EINVAL)?;
        // RFC 3542, 3.1: of ICMP it is known, and of the level for raw sockets alone.
        let is_known = level != SOL_RAW && i32::from(self.protocol) == IPPROTO_ICMPV6;
        if is_known || at > 0 && at % 2 != 0 {
            return Err(Errno::EINVAL);
        }
        self.checksum_at.store(at.max(-1), Relaxed);
        Ok(())
    }

    /// Makes an echo request this socket's. `EINVAL`: it is none.
    fn complete_echo(&self, frame: &mut TransmitFrame) -> Result<(), Errno> {
        let identifier = self.identifier()?;
        let kind = if self.datagrams.is_v6 { ECHO_REQUEST6 } else { ECHO_REQUEST4 };
        let head = frame.head_mut();
        if head.len() < ICMP_LEN || head[0] != kind || head[1] != 0 {
            return Err(Errno::EINVAL);
        }
        head[4..6].copy_from_slice(&identifier.to_be_bytes());
        if !self.datagrams.is_v6 {
            Icmpv4Packet::new_unchecked(head).fill_checksum();
        }
        Ok(())
    }
}

/// Fills in what `IP_HDRINCL` leaves to the kernel: length and checksum always, source and identification if they are 0.
fn complete_header(frame: &mut TransmitFrame, source: IpAddr, identification: u32) -> Result<(), Errno> {
    let head = frame.head_mut();
    let len = u16::try_from(head.len()).map_err(|_| Errno::EMSGSIZE)?;
    let header_len = head.first().map_or(0, |byte| usize::from(byte & 0xf) * 4);
    if head.len() < IPV4_LEN || header_len < IPV4_LEN || header_len > head.len() {
        return Err(Errno::EINVAL);
    }
    let mut ip = Ipv4Packet::new_unchecked(head);
    ip.set_total_len(len);
    if ip.ident() == 0 {
        ip.set_ident(u16::try_from(identification & 0xffff).unwrap_or(0));
    }
    if ip.src_addr().is_unspecified()
        && let IpAddr::V4(source) = source
    {
        ip.set_src_addr(source);
    }
    ip.fill_checksum();
    Ok(())
}

impl Socket for RawSocket {
    fn kind(&self) -> Kind {
        let domain = if self.datagrams.is_v6 { AF_INET6 } else { AF_INET };
        let kind = if self.is_ping { SOCK_DGRAM } else { SOCK_RAW };
        Kind { domain: domain.into(), kind, protocol: self.protocol.into() }
    }

    fn bind(&self, address: &Address, _caller: &Caller) -> Result<(), Errno> {
        let address = canonical(address, self.datagrams.is_v6)?;
        let ip = address.ip();
        if ip.is_ipv6() != self.datagrams.is_v6 {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let is_foreign = !ip.is_unspecified() && self.datagrams.stack.interfaces().class_of(ip) == AddressClass::Remote;
        if is_foreign && !self.datagrams.inet.may_be_foreign() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let own = (!ip.is_unspecified()).then_some(ip);
        if self.is_ping {
            if self.datagrams.state.lock().local.is_some() {
                return Err(Errno::EINVAL);
            }
            self.bind_ping(Some(ip), address.port())?;
        }
        let mut state = self.datagrams.state.lock();
        if !self.is_ping {
            state.local = Some(SocketAddr::new(ip, self.protocol.into()));
        }
        state.is_address_bound = own.is_some();
        self.datagrams.change_filter(|filter| filter.local = own);
        Ok(())
    }

    fn connect(&self, address: &Address, _caller: &Caller) -> IoResult {
        if *address == Address::Unspecified {
            self.datagrams.state.lock().remote = None;
            self.datagrams.change_filter(|filter| filter.remote = None);
            return Ok(Progress::Done(0));
        }
        let remote = canonical(address, self.datagrams.is_v6)?;
        if remote.is_ipv6() != self.datagrams.is_v6 {
            return Err(Errno::EAFNOSUPPORT);
        }
        let port = if self.is_ping { self.identifier()? } else { self.protocol.into() };
        let mut state = self.datagrams.state.lock();
        let source = state.local.map(|local| local.ip()).filter(|address| !address.is_unspecified());
        let request = self.datagrams.route_request(self.protocol, remote, source);
        let route = self.datagrams.route(&mut state, &request)?;
        if route.class() == AddressClass::Broadcast && !self.datagrams.options.broadcast.load(Relaxed) {
            return Err(Errno::EACCES);
        }
        state.local = Some(SocketAddr::new(source.unwrap_or_else(|| route.source()), port));
        state.remote = Some(remote);
        self.datagrams.change_filter(|filter| filter.remote = Some(remote));
        Ok(Progress::Done(0))
    }

    fn is_connect_at_once(&self) -> bool {
        true
    }

    fn local_address(&self) -> Result<Address, Errno> {
        let local = self.datagrams.state.lock().local;
        let port = if self.is_ping { 0 } else { self.protocol.into() };
        Ok(local.map_or_else(|| self.datagrams.show_none(port), |local| self.datagrams.show(local, 0)))
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

    fn shutdown(&self, half: Half) -> Result<(), Errno> {
        self.datagrams.shutdown(half)
    }

    fn set_option(&self, level: i32, option: i32, value: &[u8], caller: &Caller) -> Result<(), Errno> {
        let is_v6 = self.datagrams.is_v6;
        match (level, option) {
            (SOL_RAW, FILTER) if !is_v6 && i32::from(self.protocol) == IPPROTO_ICMP && !self.is_ping => {
                // As many bytes as the program gives are replaced.
                let mut word = self.filter[0].load(Relaxed).to_ne_bytes();
                word.iter_mut().zip(value).for_each(|(byte, new)| *byte = *new);
                self.filter[0].store(u32::from_ne_bytes(word), Relaxed);
                Ok(())
            }
            (IPPROTO_ICMPV6, FILTER) if is_v6 && i32::from(self.protocol) == IPPROTO_ICMPV6 && !self.is_ping => {
                for (word, bytes) in self.filter.iter().zip(value.as_chunks::<4>().0) {
                    word.store(u32::from_ne_bytes(*bytes), Relaxed);
                }
                Ok(())
            }
            (SOL_RAW, FILTER) if !is_v6 && !self.is_ping => Err(Errno::EOPNOTSUPP),
            (IPPROTO_ICMPV6, _) if is_v6 && i32::from(self.protocol) != IPPROTO_ICMPV6 => Err(Errno::EOPNOTSUPP),
            (SOL_RAW | SOL_IPV6, CHECKSUM) if is_v6 && !self.is_ping => self.set_checksum(level, value),
            // A socket of IPv6 wants to see a number first.
            (SOL_RAW, _) if is_v6 && value.len() < size_of::<i32>() => Err(Errno::EINVAL),
            (SOL_RAW | IPPROTO_ICMPV6, _) => Err(Errno::ENOPROTOOPT),
            _ => self.datagrams.set_inet_option(level, option, value, self.holder(), caller),
        }
    }

    fn option(&self, level: i32, option: i32, wanted: usize, _argument: &[u8]) -> Result<Vec<u8>, Errno> {
        let is_v6 = self.datagrams.is_v6;
        let words =
            |count: usize| self.filter.iter().take(count).flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
        match (level, option) {
            (SOL_RAW, FILTER) if !is_v6 && i32::from(self.protocol) == IPPROTO_ICMP && !self.is_ping => Ok(words(1)),
            (IPPROTO_ICMPV6, FILTER) if is_v6 && i32::from(self.protocol) == IPPROTO_ICMPV6 && !self.is_ping => {
                Ok(words(FILTER_WORDS))
            }
            (SOL_RAW, FILTER) if !is_v6 && !self.is_ping => Err(Errno::EOPNOTSUPP),
            (IPPROTO_ICMPV6, _) if i32::from(self.protocol) != IPPROTO_ICMPV6 => Err(Errno::EOPNOTSUPP),
            (SOL_RAW | SOL_IPV6, CHECKSUM) if is_v6 && !self.is_ping => {
                Ok(self.checksum_at.load(Relaxed).to_ne_bytes().to_vec())
            }
            (SOL_RAW | IPPROTO_ICMPV6, _) => Err(Errno::ENOPROTOOPT),
            _ => self.datagrams.inet.get(level, option, wanted, self.holder(), || None),
        }
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
        if let Some(me) = self.me.upgrade() {
            self.datagrams.stack.raw().remove(&me);
        }
        self.datagrams.close();
    }
}

impl RawSocket {
    fn report(&self, report: &ErrorReport<'_>) {
        self.datagrams.report(report);
    }
}
