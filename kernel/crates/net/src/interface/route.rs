//! [`Route`]: the way to one destination, with its Ethernet and IP headers prepared.
//!
//! A flow keeps its route as long as [`Route::is_current`] says so, which costs one load. Sending copies the template in front of each
//! frame and fills in length, identification, checksum and the neighbour's link address, which is one word read without a lock.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::sync::atomic::{AtomicU32, Ordering};

use abi::Errno;
use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet};
use sync::machine;

use super::address::AddressClass;
use super::fragment::{self, Part};
use super::neighbour::{Mac, Neighbour};
use super::{Interface, Interfaces};
use crate::checksum::{self, ShortSum, Sum};
use crate::classify::ETHERNET_LEN;
use crate::counters::Counter;
use crate::flow_key::protocol;
use crate::frame::{ChecksumState, PartialChecksum, ReceivedFrame, ecn};
use crate::nic::NicFeatures;
use crate::{Stack, TransmitFrame, control};

/// Fragments that are sent together.
const FRAGMENTS_AT_ONCE: usize = 16;
/// Bytes of an IPv4 header without options.
pub(super) const IPV4_LEN: usize = 20;
/// Bytes of an IPv6 header.
pub(super) const IPV6_LEN: usize = 40;
/// The longest template.
const TEMPLATE_LEN_MAX: usize = ETHERNET_LEN + IPV6_LEN;
/// The longest IP packet.
const PACKET_LEN_MAX: usize = 65_535;

/// What a way is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRequest {
    /// Where to. Nobody's address means loopback.
    pub destination: IpAddr,
    /// The address to send from; chosen if there is none.
    pub source: Option<IpAddr>,
    /// The interface's number, or 0: `SO_BINDTODEVICE`, the scope of a link-local address, `IP_MULTICAST_IF`.
    pub interface: u32,
    /// The transport protocol's number.
    pub protocol: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// TOS or traffic class.
    pub traffic_class: u8,
    /// Packets that are too long are cut into fragments, not refused.
    pub may_fragment: bool,
    /// IPv4 routers are told not to cut packets that are sent whole.
    pub dont_fragment: bool,
    /// Multicast packets reach this machine's own sockets as well.
    pub loops: bool,
    /// The sender has filled in the checksum of the transport, or there is none.
    pub leaves_checksum: bool,
}

impl RouteRequest {
    /// The usual request: hop limit 64, no fragments.
    #[must_use]
    pub const fn new(protocol: u8, destination: IpAddr) -> Self {
        let (source, interface, hop_limit, traffic_class) = (None, 0, 64, 0);
        let (may_fragment, dont_fragment, loops) = (false, true, true);
        Self {
            destination,
            source,
            interface,
            protocol,
            hop_limit,
            traffic_class,
            may_fragment,
            dont_fragment,
            loops,
            leaves_checksum: false,
        }
    }
}

/// The way to a destination.
pub struct Route {
    generation: u64,
    interface: Arc<Interface>,
    /// None for what needs none: own addresses, broadcast, groups.
    neighbour: Option<Arc<Neighbour>>,
    request: RouteRequest,
    class: AddressClass,
    source: IpAddr,
    destination: IpAddr,
    next_hop: IpAddr,
    template: [u8; TEMPLATE_LEN_MAX],
    /// The sum over the IPv4 header with no length and no identification.
    header_sum: ShortSum,
    /// The sum over both addresses and the protocol.
    pseudo_sum: ShortSum,
    /// Where the protocol has its checksum, unless the sender fills it in.
    checksum_at: Option<u16>,
    mtu: u32,
    /// What a packet has room for behind the IP header.
    len_max: u32,
    features: NicFeatures,
    next_identification: AtomicU32,
}

impl Interfaces {
    /// Finds the way to a destination. May sleep.
    ///
    /// `ENETUNREACH`: there is none. `EADDRNOTAVAIL`: there is no address to send from. `ENODEV`: there is no such interface.
    pub fn route(&self, request: &RouteRequest) -> Result<Route, Errno> {
        let generation = self.generation();
        let snapshot = self.snapshot();
        let path = snapshot.path(request.destination, request.source, request.interface)?;
        let destination = match request.destination {
            IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            address => address,
        };
        let interface = path.interface;
        let is_remote = path.class == AddressClass::Remote && !interface.is_loopback();
        let neighbour = match is_remote {
            true => Some(interface.neighbours().get(path.next_hop, machine::now_ns()).ok_or(Errno::ENOBUFS)?),
            false => None,
        };
        let mtu = snapshot.path_mtu(destination).unwrap_or(u32::MAX).min(interface.mtu_to(destination));
        let mut pseudo_sum = Sum::pseudo_header(path.source, destination, request.protocol, 0);
        if request.protocol == protocol::ICMP {
            pseudo_sum = Sum::new();
        }
        // What stays on this machine needs no help.
        let features = match interface.nic() {
            Some(nic) if path.class != AddressClass::Local => nic.properties().features,
            _ => NicFeatures::all(),
        };
        let mut route = Route {
            generation,
            interface,
            neighbour,
            request: *request,
            class: path.class,
            source: path.source,
            destination,
            next_hop: path.next_hop,
            template: [0; TEMPLATE_LEN_MAX],
            header_sum: ShortSum::default(),
            pseudo_sum: pseudo_sum.into(),
            checksum_at: checksum_place(request),
            mtu,
            len_max: 0,
            features,
            next_identification: AtomicU32::new(self.identification(destination, 1)),
        };
        route.len_max = u32::try_from(route.mtu().saturating_sub(route.header_len())).unwrap_or(0);
        route.write_template();
        Ok(route)
    }
}

impl Route {
    /// Whether nothing has changed since it was found.
    #[must_use]
    #[inline]
    pub fn is_current(&self, interfaces: &Interfaces) -> bool {
        self.generation == interfaces.generation()
    }

    /// Where packets leave.
    #[must_use]
    pub fn interface(&self) -> &Arc<Interface> {
        &self.interface
    }

    /// The address they are sent from.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// The address they go to: that of the request, but for nobody's.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        self.destination
    }

    /// Who gets the frames on the link: the destination, or a router.
    #[must_use]
    pub fn next_hop(&self) -> IpAddr {
        self.next_hop
    }

    /// What the destination is to this machine.
    #[must_use]
    pub fn class(&self) -> AddressClass {
        self.class
    }

    /// What it was asked for.
    #[must_use]
    pub fn request(&self) -> &RouteRequest {
        &self.request
    }

    /// The largest IP packet that the path takes, as far as is known.
    #[must_use]
    pub fn mtu(&self) -> usize {
        (self.mtu as usize).min(PACKET_LEN_MAX)
    }

    /// Bytes of the IP header.
    #[must_use]
    #[inline]
    pub fn header_len(&self) -> usize {
        if self.source.is_ipv4() { IPV4_LEN } else { IPV6_LEN }
    }

    /// What the device does by itself; for own addresses everything.
    #[must_use]
    pub fn features(&self) -> NicFeatures {
        self.features
    }

    /// The peer has answered: its link address is right.
    pub fn confirm(&self) {
        if let Some(neighbour) = &self.neighbour {
            self.interface.neighbours().confirm(neighbour, machine::now_ns());
        }
    }

    /// Sends frames that begin with their transport header, and tells the device once. Their checksum field is filled in or left to the device:
    /// whatever it holds is overwritten, but that of protocols without one here. `frames` is empty afterwards.
    ///
    /// `EMSGSIZE`: at least one was longer than the path takes, and was dropped; `ENOBUFS`: there was no memory to cut one. May sleep; no spinlock is held.
    pub fn send(&self, stack: &Stack, frames: &mut Vec<TransmitFrame>) -> Result<(), Errno> {
        let len_max = self.len_max as usize;
        let is_too_long = |frame: &TransmitFrame| frame.len() > len_max && frame.segmentation.is_none();
        let mut result = Ok(());
        if frames.iter().any(is_too_long) {
            result = self.cut(stack, frames, is_too_long);
        }
        let counter = if self.source.is_ipv4() { Counter::IpOutRequests } else { Counter::Ip6OutRequests };
        stack.mib().add(counter, frames.len() as u64);
        let is_offloaded = self.features().contains(NicFeatures::TRANSMIT_CHECKSUM);
        for frame in frames.iter_mut() {
            let len = frame.len();
            self.write_checksum(frame, len, is_offloaded);
            self.write_headers(frame, len);
        }
        self.transmit(stack, frames);
        result
    }

    /// As [`Route::send`]; and what the machine does with packets to itself is done before it returns. Called without locks.
    pub(crate) fn send_settled(&self, stack: &Arc<Stack>, frames: &mut Vec<TransmitFrame>) -> Result<(), Errno> {
        self.settled(stack, || self.send(stack, frames))
    }

    /// As [`Route::send_with_header`], and settled.
    pub(crate) fn send_with_header_settled(&self, stack: &Arc<Stack>, frames: &mut Vec<TransmitFrame>) {
        self.settled(stack, || self.send_with_header(stack, frames));
    }

    /// Sends, and sees to what the machine has sent to itself by that. It may have moved to another CPU before it sent: that is where it is
    /// afterwards, where [`Stack::settle`] looks as well.
    fn settled<T>(&self, stack: &Arc<Stack>, send: impl FnOnce() -> T) -> T {
        let sent_on = machine::current_cpu();
        let result = send();
        if self.interface.is_loopback() {
            stack.settle(sent_on);
        }
        result
    }

    /// Sends IP packets whose headers are there. They fit.
    pub fn send_with_header(&self, stack: &Stack, frames: &mut Vec<TransmitFrame>) {
        for frame in frames.iter_mut() {
            frame.push_front(ETHERNET_LEN).copy_from_slice(&self.template[..ETHERNET_LEN]);
        }
        self.transmit(stack, frames);
    }

    /// Gives complete frames to whom they are for.
    fn transmit(&self, stack: &Stack, frames: &mut Vec<TransmitFrame>) {
        if frames.is_empty() {
            return;
        }
        if self.class == AddressClass::Local || self.interface.is_loopback() {
            let bytes = frames.iter().map(TransmitFrame::len).sum::<usize>() - frames.len() * ETHERNET_LEN;
            self.interface.count_traffic(frames.len(), bytes);
            stack.receive(&self.interface, &mut frames.drain(..).filter_map(into_received));
            return;
        }
        let is_looped = match self.class {
            AddressClass::Multicast => self.request.loops,
            class => class == AddressClass::Broadcast,
        };
        if is_looped {
            stack.receive(&self.interface, &mut frames.iter().filter_map(copy_received));
        }
        let Some(nic) = self.interface.nic() else { return };
        if let Some(neighbour) = &self.neighbour {
            let Some(mac) = self.resolve(stack, neighbour, frames) else { return };
            for frame in frames.iter_mut() {
                frame.head_mut()[..6].copy_from_slice(&mac);
            }
        }
        nic.transmit(frames);
    }

    /// The link address of the neighbour. None: it is being asked for, and the frames wait for it.
    #[inline]
    fn resolve(&self, stack: &Stack, neighbour: &Arc<Neighbour>, frames: &mut Vec<TransmitFrame>) -> Option<Mac> {
        match neighbour.fresh() {
            Some(mac) => Some(mac),
            None => self.resolve_slowly(stack, neighbour, frames),
        }
    }

    #[cold]
    fn resolve_slowly(
        &self,
        stack: &Stack,
        neighbour: &Arc<Neighbour>,
        frames: &mut Vec<TransmitFrame>,
    ) -> Option<Mac> {
        let now_ns = machine::now_ns();
        let found = self.interface.neighbours().use_or_queue(neighbour, frames, now_ns);
        // There is a timer now that was not there before.
        stack.control().request_poll(stack, now_ns);
        match found {
            Ok(mac) => Some(mac),
            Err(question) => {
                if let Some(question) = question {
                    control::solicit(stack, &self.interface, &question, Some(self.source));
                }
                None
            }
        }
    }

    /// Cuts what is too long, or drops it.
    #[cold]
    fn cut(
        &self,
        stack: &Stack,
        frames: &mut Vec<TransmitFrame>,
        is_too_long: impl Fn(&TransmitFrame) -> bool,
    ) -> Result<(), Errno> {
        let is_ipv4 = self.source.is_ipv4();
        let mut result = Ok(());
        frames.retain_mut(|frame| {
            if !is_too_long(frame) {
                return true;
            }
            let sent = if self.request.may_fragment && frame.len() <= self.payload_len_max() {
                self.send_fragments(stack, frame)
            } else {
                Err(Errno::EMSGSIZE)
            };
            match sent {
                Ok(()) => stack.mib().count(if is_ipv4 { Counter::IpFragOKs } else { Counter::Ip6FragOKs }),
                Err(errno) => {
                    stack.mib().count(if is_ipv4 { Counter::IpFragFails } else { Counter::Ip6FragFails });
                    result = Err(errno);
                }
            }
            false
        });
        result
    }

    /// What one packet carries at most, whole or in fragments: IPv6 counts its header apart.
    fn payload_len_max(&self) -> usize {
        if self.source.is_ipv4() { PACKET_LEN_MAX - IPV4_LEN } else { PACKET_LEN_MAX }
    }

    /// Sends a frame in pieces, a few at a time: there may be a thousand. `ENOBUFS`.
    fn send_fragments(&self, stack: &Stack, frame: &mut TransmitFrame) -> Result<(), Errno> {
        let len = frame.len();
        self.write_checksum(frame, len, false);
        let is_ipv4 = self.source.is_ipv4();
        let identification = stack.interfaces().identification(self.destination, 1);
        let header = &self.template[ETHERNET_LEN..ETHERNET_LEN + self.header_len()];
        let payload = frame.to_vec()?;
        let part_len = fragment::part_len(self.mtu(), is_ipv4);
        let mut pieces = Vec::with_capacity(FRAGMENTS_AT_ONCE);
        let mut offset = 0;
        while offset < payload.len() {
            while pieces.len() < FRAGMENTS_AT_ONCE && offset < payload.len() {
                let part = Part { payload: &payload, offset, len: part_len.min(payload.len() - offset) };
                pieces.push(fragment::build(header, &part, identification)?);
                offset += part_len;
            }
            let counter = if is_ipv4 { Counter::IpFragCreates } else { Counter::Ip6FragCreates };
            stack.mib().add(counter, pieces.len() as u64);
            self.send_with_header(stack, &mut pieces);
        }
        Ok(())
    }

    /// Prepares the checksum of the transport protocol, and finishes it unless somebody else does. The frame is `len` bytes long.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "packets are at most 65,535 bytes long")]
    pub(super) fn write_checksum(&self, frame: &mut TransmitFrame, len: usize, is_offloaded: bool) {
        let Some(offset) = self.checksum_at else { return };
        let Some(field) = frame.word_mut(offset.into()) else { return };
        *field = self.pseudo_sum.with_word(len as u16).folded().to_be_bytes();
        frame.checksum = Some(PartialChecksum { start: 0, offset });
        // Devices finish those of TCP and UDP alone, and raw sockets see what comes back.
        if !is_offloaded || self.request.protocol == protocol::ICMPV6 {
            checksum::finish(frame);
        }
    }

    /// Puts the template in front and fills in what differs. The frame is `payload_len` bytes long.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "packets are at most 65,535 bytes long, the identification has 16 bits"
    )]
    fn write_headers(&self, frame: &mut TransmitFrame, payload_len: usize) {
        let ecn = frame.ecn;
        let header_len = self.header_len();
        let room = frame.push_front(ETHERNET_LEN + header_len);
        if header_len == IPV4_LEN {
            copy_front::<{ ETHERNET_LEN + IPV4_LEN }>(&self.template, room);
            let identification = self.next_identification.fetch_add(1, Ordering::Relaxed) as u16;
            let total_len = (payload_len + IPV4_LEN) as u16;
            let mut sum = self.header_sum.with_word(total_len).with_word(identification);
            if ecn != 0 {
                debug_assert!(
                    room[ETHERNET_LEN + 1] & ecn::MASK == 0,
                    "who sets it in each frame has none in the route"
                );
                sum = sum.with_word(u16::from(ecn));
                room[ETHERNET_LEN + 1] |= ecn;
            }
            let mut packet = Ipv4Packet::new_unchecked(&mut room[ETHERNET_LEN..]);
            packet.set_total_len(total_len);
            packet.set_ident(identification);
            packet.set_checksum(sum.finish());
        } else {
            copy_front::<{ ETHERNET_LEN + IPV6_LEN }>(&self.template, room);
            room[ETHERNET_LEN + 1] |= ecn << 4;
            Ipv6Packet::new_unchecked(&mut room[ETHERNET_LEN..]).set_payload_len(payload_len as u16);
        }
    }

    fn write_template(&mut self) {
        let request = self.request;
        let mut ethernet = EthernetFrame::new_unchecked(&mut self.template[..]);
        ethernet.set_src_addr(EthernetAddress(self.interface.mac()));
        ethernet.set_dst_addr(EthernetAddress(group_mac(self.class, self.next_hop)));
        let (source, destination) = (self.source, self.destination);
        if let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) {
            ethernet.set_ethertype(EthernetProtocol::Ipv4);
            let mut packet = Ipv4Packet::new_unchecked(ethernet.payload_mut());
            packet.set_version(4);
            packet.set_header_len(20);
            packet.set_dscp(request.traffic_class >> 2);
            packet.set_ecn(request.traffic_class & 3);
            packet.set_dont_frag(request.dont_fragment);
            packet.set_hop_limit(request.hop_limit);
            packet.set_next_header(IpProtocol::from(request.protocol));
            packet.set_src_addr(source);
            packet.set_dst_addr(destination);
            let mut sum = Sum::new();
            sum.add(&self.template[ETHERNET_LEN..ETHERNET_LEN + IPV4_LEN]);
            self.header_sum = sum.into();
        } else if let (IpAddr::V6(source), IpAddr::V6(destination)) = (source, destination) {
            ethernet.set_ethertype(EthernetProtocol::Ipv6);
            let mut packet = Ipv6Packet::new_unchecked(ethernet.payload_mut());
            packet.set_version(6);
            packet.set_traffic_class(request.traffic_class);
            packet.set_hop_limit(request.hop_limit);
            packet.set_next_header(IpProtocol::from(request.protocol));
            packet.set_src_addr(source);
            packet.set_dst_addr(destination);
        }
    }
}

/// Where the protocol of a request has its checksum, unless the sender fills it in.
fn checksum_place(request: &RouteRequest) -> Option<u16> {
    match request.protocol {
        _ if request.leaves_checksum => None,
        protocol::TCP => Some(16),
        protocol::UDP => Some(6),
        protocol::ICMPV6 => Some(2),
        _ => None,
    }
}

/// Copies so many bytes, which both have.
#[inline]
fn copy_front<const LEN: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<LEN>(), to.first_chunk_mut()) {
        *to = *from;
    }
}

/// The link address of groups (RFC 1112, section 6.4; RFC 2464, section 7) and of all; zeroes for what is resolved or needs none.
fn group_mac(class: AddressClass, address: IpAddr) -> Mac {
    match (class, address) {
        (AddressClass::Broadcast, _) => [0xff; 6],
        (AddressClass::Multicast, IpAddr::V4(group)) => {
            let [_, b, c, d] = group.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        (AddressClass::Multicast, IpAddr::V6(group)) => {
            let [.., a, b, c, d] = group.octets();
            [0x33, 0x33, a, b, c, d]
        }
        _ => [0; 6],
    }
}

/// A frame that stays on this machine. None: there is no memory, and it is lost.
fn into_received(frame: TransmitFrame) -> Option<ReceivedFrame> {
    let segment_len = frame.segmentation.map_or(0, |segmentation| segmentation.segment_len);
    let mut received = ReceivedFrame::new(frame.into_payload().ok()?);
    received.checksum = ChecksumState::Verified;
    received.segment_len = segment_len;
    Some(received)
}

/// A copy for this machine of a frame that leaves.
fn copy_received(frame: &TransmitFrame) -> Option<ReceivedFrame> {
    let mut received = ReceivedFrame::new(frame.to_vec().ok()?.into());
    received.checksum = ChecksumState::Verified;
    Some(received)
}
