//! Sending datagrams: destinations, ancillary data, corking, and cutting with `UDP_SEGMENT`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::Ordering::Relaxed;

use ::file::{IoResult, Progress};
use abi::Errno;
use smoltcp::wire::UdpPacket;

use super::{HEADER_LEN, UdpSocket};
use crate::counters::Counter;
use crate::flow_key::protocol;
use crate::interface::{AddressClass, Route, RouteRequest};
use crate::socket::datagram::canonical;
use crate::socket::{ControlMessage, MessageFlags, SendRequest};
use crate::{TransmitFrame, room};

/// Datagrams that one message is cut into (`UDP_MAX_SEGMENTS`).
const SEGMENTS_MAX: usize = 128;
/// The longest IP packet.
const PACKET_LEN_MAX: usize = 65_535;

/// A message that waits for more.
pub(super) struct Corked {
    request: RouteRequest,
    destination: SocketAddr,
    bytes: Vec<u8>,
}

impl UdpSocket {
    pub(super) fn send_message(&self, request: &mut SendRequest<'_, '_>) -> IoResult {
        if request.flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let len = request.from.remaining();
        if len > PACKET_LEN_MAX {
            return Err(Errno::EMSGSIZE);
        }
        let named = request.address.map(|address| self.destination(address)).transpose()?;
        self.bind_by_itself()?;
        let corks = self.is_corked.load(Relaxed) || request.flags.contains(MessageFlags::MORE);
        if corks || self.corked.lock().is_some() {
            return self.send_corked(request, named, corks);
        }
        let (route_request, destination, segment_len) = self.prepare(request, named)?;
        let route = self.way(&route_request)?;
        let header_len = route.header_len();
        // IPv6 counts its payload alone.
        let limit = PACKET_LEN_MAX - HEADER_LEN - if header_len == 20 { 20 } else { 0 };
        if len > limit {
            return Err(Errno::EMSGSIZE);
        }
        let segment_len = if segment_len == 0 || segment_len >= len { len } else { segment_len };
        if segment_len < len
            && (len.div_ceil(segment_len) > SEGMENTS_MAX || segment_len + HEADER_LEN + header_len > route.mtu())
        {
            return Err(Errno::EINVAL);
        }
        let mut frames = room::room_for(len.div_ceil(segment_len.max(1)).max(1))?;
        let port = self.local_port();
        let mut left = len;
        loop {
            let part = left.min(segment_len);
            let mut frame = frame(port, destination.port(), part)?;
            request.from.read_exact(&mut frame.head_mut()[HEADER_LEN..])?;
            frames.push(frame);
            left -= part;
            if left == 0 {
                break;
            }
        }
        self.transmit(&route, &mut frames)?;
        Ok(Progress::Done(len))
    }

    /// Where a message goes that names its destination.
    fn destination(&self, address: &crate::socket::Address) -> Result<SocketAddr, Errno> {
        let destination = canonical(address, self.datagrams.is_v6)?;
        if destination.port() == 0 {
            return Err(Errno::EINVAL);
        }
        if !self.datagrams.serves(destination.ip()) {
            return Err(Errno::ENETUNREACH);
        }
        Ok(destination)
    }

    fn local_port(&self) -> u16 {
        self.datagrams.state.lock().local.map_or(0, |local| local.port())
    }

    /// The way to a destination, if the socket may use it.
    fn way(&self, request: &RouteRequest) -> Result<Arc<Route>, Errno> {
        let mut state = self.datagrams.state.lock();
        if state.is_write_shut {
            return Err(Errno::EPIPE);
        }
        let route = match self.datagrams.route(&mut state, request) {
            Err(errno) => {
                let is_ipv4 = request.destination.is_ipv4();
                self.stack().mib().count(if is_ipv4 { Counter::IpOutNoRoutes } else { Counter::Ip6OutNoRoutes });
                return Err(errno);
            }
            Ok(route) => route,
        };
        drop(state);
        if route.class() == AddressClass::Broadcast && !self.datagrams.options.broadcast.load(Relaxed) {
            return Err(Errno::EACCES);
        }
        // What is pending is told before anything else is sent.
        match self.datagrams.take_error() {
            Some(errno) => Err(errno),
            None => Ok(route),
        }
    }

    /// The destination, with the options and ancillary data of a message; and the length of its parts.
    fn prepare(
        &self,
        request: &SendRequest<'_, '_>,
        named: Option<SocketAddr>,
    ) -> Result<(RouteRequest, SocketAddr, usize), Errno> {
        let (local, remote) = {
            let state = self.datagrams.state.lock();
            (state.local, state.remote)
        };
        let destination = named.or(remote).ok_or(Errno::EDESTADDRREQ)?;
        let source = local.map(|local| local.ip()).filter(|address| !address.is_unspecified());
        // A socket that is bound to a group sends from an address of the interface.
        let source = source.filter(|address| !address.is_multicast());
        let mut route = self.datagrams.route_request(protocol::UDP, destination, source);
        let mut segment_len = usize::from(self.segment_len.load(Relaxed));
        for message in request.control.iter() {
            match message {
                // IPv4's is nothing to a packet of IPv6.
                ControlMessage::PacketInfo { specified: IpAddr::V4(_), .. } if route.destination.is_ipv6() => {}
                ControlMessage::PacketInfo { interface, specified, .. } => {
                    if *interface != 0 {
                        route.interface = *interface;
                    }
                    let specified = match specified {
                        IpAddr::V6(v6) => v6.to_canonical(),
                        v4 => *v4,
                    };
                    if !specified.is_unspecified() {
                        if !self.stack().interfaces().is_local(specified) {
                            return Err(if specified.is_ipv4() { Errno::ENETUNREACH } else { Errno::EINVAL });
                        }
                        route.source = Some(specified);
                    }
                }
                ControlMessage::HopLimit(limit, is_v6) if *is_v6 == route.destination.is_ipv6() => {
                    route.hop_limit = *limit
                }
                ControlMessage::TrafficClass(class, is_v6) if *is_v6 == route.destination.is_ipv6() => {
                    route.traffic_class = *class;
                }
                ControlMessage::StaysWhole(stays) if route.destination.is_ipv6() => {
                    route.may_fragment = self.datagrams.inet.fragmentation_of(route.destination, *stays).0;
                }
                ControlMessage::SegmentLen(len) => segment_len = usize::from(*len),
                _ => {}
            }
        }
        Ok((route, destination, segment_len))
    }

    /// Appends to the message that waits, and sends it unless more is to come.
    fn send_corked(&self, request: &mut SendRequest<'_, '_>, named: Option<SocketAddr>, corks: bool) -> IoResult {
        let len = request.from.remaining();
        let mut bytes = room::zeroes(len)?;
        request.from.read_exact(&mut bytes)?;
        let (route_request, destination, _) = self.prepare(request, named)?;
        let mut corked = self.corked.lock();
        match &mut *corked {
            None => *corked = Some(Corked { request: route_request, destination, bytes }),
            Some(waiting) if waiting.bytes.len() + len > PACKET_LEN_MAX - HEADER_LEN - 20 => {
                *corked = None;
                return Err(Errno::EMSGSIZE);
            }
            Some(waiting) => {
                waiting.bytes.try_reserve(len).map_err(|_| Errno::ENOBUFS)?;
                waiting.bytes.append(&mut bytes);
            }
        }
        drop(corked);
        if !corks {
            self.flush()?;
        }
        Ok(Progress::Done(len))
    }

    /// Sends the message that waits for more.
    pub(super) fn flush(&self) -> Result<(), Errno> {
        let Some(corked) = self.corked.lock().take() else { return Ok(()) };
        let route = self.way(&corked.request)?;
        let mut frame = frame(self.local_port(), corked.destination.port(), corked.bytes.len())?;
        frame.head_mut()[HEADER_LEN..].copy_from_slice(&corked.bytes);
        self.transmit(&route, &mut alloc::vec![frame])
    }

    fn transmit(&self, route: &Route, frames: &mut Vec<TransmitFrame>) -> Result<(), Errno> {
        let counter = if route.source().is_ipv4() { Counter::UdpOutDatagrams } else { Counter::Udp6OutDatagrams };
        self.stack().mib().add(counter, frames.len() as u64);
        route.send_settled(self.stack(), frames)
    }
}

/// A datagram with its header, and room for its bytes. `ENOBUFS`.
fn frame(source: u16, destination: u16, len: usize) -> Result<TransmitFrame, Errno> {
    let mut frame = TransmitFrame::with_room(HEADER_LEN + len)?;
    let mut header = UdpPacket::new_unchecked(frame.extend(HEADER_LEN + len));
    header.set_src_port(source);
    header.set_dst_port(destination);
    header.set_len(u16::try_from(HEADER_LEN + len).unwrap_or(u16::MAX));
    Ok(frame)
}
