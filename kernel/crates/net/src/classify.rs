//! Whose a frame is, from its headers alone.
//!
//! 1. Nothing here is trusted: every length comes from a slice, and what does not add up makes the frame [`Class::Malformed`].
//! 2. Only what every packet of a flow has is looked at: Ethernet with at most two tags (802.1Q), IPv4 or IPv6 without extension headers,
//!    TCP or UDP. Anything rarer that may be right goes to the control worker, which has the time.
//! 3. The checksum of an IPv4 header is verified here, for it covers what is decided by. Those of transports are left to who reads.
//! 4. Headers must lie in the frame's first buffer; devices see to that.

use crate::FlowKey;
use crate::flow_key::protocol;

/// Bytes of an Ethernet header.
pub const ETHERNET_LEN: usize = 14;
/// Bytes of one tag.
const TAG_LEN: usize = 4;
/// Tags that are looked behind.
const TAGS_MAX: usize = 2;
const IPV4_LEN_MIN: usize = 20;
const IPV6_LEN: usize = 40;
const TCP_LEN_MIN: usize = 20;
const UDP_LEN: usize = 8;
/// Set where more fragments follow, or this is not the first.
const FRAGMENT_MASK: u16 = 0x3fff;
/// What precedes an IPv4 address in keys.
const MAPPED: u128 = 0xffff_0000_0000;

mod ethernet_type {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const ARP: u16 = 0x0806;
    pub(super) const TAG: u16 = 0x8100;
    pub(super) const SERVICE_TAG: u16 = 0x88a8;
    pub(super) const IPV6: u16 = 0x86dd;
}

/// Where the headers of a frame are, in bytes from its front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Layout {
    /// The IP header, or the ARP packet.
    pub network: u16,
    /// The transport header; 0 where none was looked for.
    pub transport: u16,
    /// The byte behind the packet; the rest of the frame is padding.
    pub end: u32,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A TCP segment or UDP datagram, whole. Its lengths were checked, its transport checksum was not.
    Flow(FlowKey, Layout),
    /// Something for the control worker: ARP, ICMP, fragments, extension headers, unknown protocols in a sound IP header.
    Control(Layout),
    /// Nobody's: it is counted and dropped.
    Malformed(Defect),
}

/// Why a frame is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Ends inside of a header, or before the length that a header tells.
    Truncated,
    /// A field has a value that no sender gives it.
    Header,
    /// The IP header's checksum is wrong.
    Checksum,
    /// An Ethernet type that nobody here speaks.
    Unknown,
}

/// Classifies an Ethernet frame whose first buffer begins with `head` and which is `len` bytes long in all.
#[must_use]
pub fn classify(head: &[u8], len: usize) -> Class {
    match classify_usual(head, len) {
        Some((key, layout)) => Class::Flow(key, layout),
        None => classify_parts(head, len).unwrap_or_else(Class::Malformed),
    }
}

/// What most frames are: a TCP segment in IPv4, with neither tag nor IP options. Their headers are in known places. None: the frame is
/// something else, or not right.
#[inline]
fn classify_usual(head: &[u8], len: usize) -> Option<(FlowKey, Layout)> {
    const TRANSPORT: usize = ETHERNET_LEN + IPV4_LEN_MIN;
    const VERSION_AND_LEN: u8 = 0x45;
    let headers: &[u8; TRANSPORT + TCP_LEN_MIN] = head.first_chunk()?;
    let (_, packet) = headers.split_first_chunk::<{ ETHERNET_LEN - 2 }>()?;
    let ([t0, t1, first, _, l0, l1, _, _, f0, f1, _, protocol], _) = packet.split_first_chunk()?;
    let is_usual = u16::from_be_bytes([*t0, *t1]) == ethernet_type::IPV4
        && *first == VERSION_AND_LEN
        && *protocol == protocol::TCP
        && u16::from_be_bytes([*f0, *f1]) & FRAGMENT_MASK == 0;
    let end = ETHERNET_LEN + usize::from(u16::from_be_bytes([*l0, *l1]));
    let header_len = usize::from(headers[TRANSPORT + 12] >> 4) * 4;
    let options_end = TRANSPORT + header_len;
    let is_whole = header_len >= TCP_LEN_MIN && options_end <= end && options_end <= head.len() && end <= len;
    if !is_usual || !is_whole || sum_words(&headers[ETHERNET_LEN..TRANSPORT]) != 0xffff {
        return None;
    }
    let address = |at: usize| MAPPED | u128::from(u32::from_be_bytes(array(headers, at)));
    let port = |at: usize| u16::from_be_bytes(array(headers, at));
    let key = FlowKey {
        local: address(ETHERNET_LEN + 16),
        remote: address(ETHERNET_LEN + 12),
        local_port: port(TRANSPORT + 2),
        remote_port: port(TRANSPORT),
        protocol: protocol::TCP,
    };
    Some((key, layout(ETHERNET_LEN, TRANSPORT, end).ok()?))
}

fn classify_parts(head: &[u8], len: usize) -> Result<Class, Defect> {
    let mut network = ETHERNET_LEN;
    for _ in 0..=TAGS_MAX {
        let header = match u16_at(head, network - 2)? {
            ethernet_type::IPV4 => ipv4(head, len, network)?,
            ethernet_type::IPV6 => ipv6(head, len, network)?,
            ethernet_type::ARP => return control(network, 0, len),
            ethernet_type::TAG | ethernet_type::SERVICE_TAG => {
                network += TAG_LEN;
                continue;
            }
            _ => return Err(Defect::Unknown),
        };
        if header.is_fragment {
            return control(network, header.transport, header.end);
        }
        return ip(head, network, &header);
    }
    Err(Defect::Unknown)
}

/// What the header of an IP packet says.
struct IpHeader {
    protocol: u8,
    is_fragment: bool,
    /// The address of this machine, and that of the sender.
    local: u128,
    remote: u128,
    /// Where the transport header should be, and where the packet ends.
    transport: usize,
    end: usize,
}

fn ipv4(head: &[u8], len: usize, network: usize) -> Result<IpHeader, Defect> {
    let header: &[u8; IPV4_LEN_MIN] = array_at(head, network)?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    if header[0] >> 4 != 4 || header_len < IPV4_LEN_MIN {
        return Err(Defect::Header);
    }
    // Nearly always there are no options.
    let sum = match header_len {
        IPV4_LEN_MIN => sum_words(header),
        _ => sum_words(head.get(network..network + header_len).ok_or(Defect::Truncated)?),
    };
    if sum != 0xffff {
        return Err(Defect::Checksum);
    }
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let (transport, end) = (network + header_len, network + total_len);
    if total_len < header_len {
        return Err(Defect::Header);
    }
    if end > len {
        return Err(Defect::Truncated);
    }
    let address = |at: usize| MAPPED | u128::from(u32::from_be_bytes(array(header, at)));
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let is_fragment = fragment & FRAGMENT_MASK != 0;
    Ok(IpHeader { protocol: header[9], is_fragment, local: address(16), remote: address(12), transport, end })
}

fn ipv6(head: &[u8], len: usize, network: usize) -> Result<IpHeader, Defect> {
    let header: &[u8; IPV6_LEN] = array_at(head, network)?;
    if header[0] >> 4 != 6 {
        return Err(Defect::Header);
    }
    let transport = network + IPV6_LEN;
    let end = transport + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if end > len {
        return Err(Defect::Truncated);
    }
    let address = |at: usize| u128::from_be_bytes(array(header, at));
    let (local, remote) = (address(24), address(8));
    // IPv4 addresses in IPv6 headers are a forgery (draft-itojun-v6ops-v4mapped-harmful): keys would mix the two.
    if local >> 32 == 0xffff || remote >> 32 == 0xffff {
        return Err(Defect::Header);
    }
    Ok(IpHeader { protocol: header[6], is_fragment: false, local, remote, transport, end })
}

/// The class of a whole IP packet.
fn ip(head: &[u8], network: usize, header: &IpHeader) -> Result<Class, Defect> {
    let IpHeader { protocol, local, remote, transport, end, .. } = *header;
    let room = end - transport;
    match protocol {
        protocol::TCP => {
            let header: &[u8; TCP_LEN_MIN] = array_at(head, transport)?;
            let header_len = usize::from(header[12] >> 4) * 4;
            if header_len < TCP_LEN_MIN {
                return Err(Defect::Header);
            }
            // The options are read in the first buffer.
            if header_len > room || transport + header_len > head.len() {
                return Err(Defect::Truncated);
            }
        }
        protocol::UDP => {
            let header: &[u8; UDP_LEN] = array_at(head, transport)?;
            let datagram_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
            if datagram_len < UDP_LEN {
                return Err(Defect::Header);
            }
            if datagram_len > room {
                return Err(Defect::Truncated);
            }
        }
        _ => return control(network, transport, end),
    }
    let (remote_port, local_port) = (u16_at(head, transport)?, u16_at(head, transport + 2)?);
    let key = FlowKey { local, remote, local_port, remote_port, protocol };
    Ok(Class::Flow(key, layout(network, transport, end)?))
}

fn control(network: usize, transport: usize, end: usize) -> Result<Class, Defect> {
    Ok(Class::Control(layout(network, transport, end)?))
}

fn layout(network: usize, transport: usize, end: usize) -> Result<Layout, Defect> {
    let short = |place: usize| u16::try_from(place).map_err(|_| Defect::Header);
    let end = u32::try_from(end).map_err(|_| Defect::Header)?;
    Ok(Layout { network: short(network)?, transport: short(transport)?, end })
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<&[u8; N], Defect> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(Defect::Truncated)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Defect> {
    array_at(bytes, at).map(|bytes| u16::from_be_bytes(*bytes))
}

/// A part of a header that has it.
fn array<const N: usize, const M: usize>(header: &[u8; M], at: usize) -> [u8; N] {
    core::array::from_fn(|index| header[at + index])
}

/// The sum of 16-bit words in ones' complement, of a whole number of words of 32 bits; in either byte order, as all of
/// its bits are (RFC 1071, 2).
fn sum_words(bytes: &[u8]) -> u16 {
    let (words, _) = bytes.as_chunks();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let half = (sum & 0xffff_ffff) + (sum >> 32);
    let quarter = (half & 0xffff) + (half >> 16 & 0xffff) + (half >> 32);
    // Headers are short: a second fold leaves no carry.
    u16::try_from((quarter & 0xffff) + (quarter >> 16)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

    use smoltcp::wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
    };
    use testkit::Random;

    use super::*;

    const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

    fn ethernet(kind: EthernetProtocol, payload: &[u8]) -> alloc::vec::Vec<u8> {
        let mut bytes = alloc::vec![0; ETHERNET_LEN + payload.len()];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        frame.set_dst_addr(MAC);
        frame.set_src_addr(MAC);
        frame.set_ethertype(kind);
        frame.payload_mut().copy_from_slice(payload);
        bytes
    }

    fn ip4(
        protocol: IpProtocol,
        payload: &[u8],
        change: impl FnOnce(&mut Ipv4Packet<&mut [u8]>),
    ) -> alloc::vec::Vec<u8> {
        let mut bytes = alloc::vec![0; 20 + payload.len()];
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
        packet.set_version(4);
        packet.set_header_len(20);
        packet.set_total_len(u16::try_from(20 + payload.len()).unwrap());
        packet.set_hop_limit(64);
        packet.set_next_header(protocol);
        packet.set_src_addr(Ipv4Addr::new(10, 0, 0, 1));
        packet.set_dst_addr(Ipv4Addr::new(10, 0, 0, 2));
        packet.payload_mut().copy_from_slice(payload);
        change(&mut packet);
        packet.fill_checksum();
        ethernet(EthernetProtocol::Ipv4, &bytes)
    }

    fn tcp(payload: &[u8]) -> alloc::vec::Vec<u8> {
        let mut bytes = alloc::vec![0; 20 + payload.len()];
        let mut packet = TcpPacket::new_unchecked(&mut bytes[..]);
        packet.set_src_port(1234);
        packet.set_dst_port(80);
        packet.set_header_len(20);
        packet.payload_mut().copy_from_slice(payload);
        bytes
    }

    fn udp(payload: &[u8]) -> alloc::vec::Vec<u8> {
        let mut bytes = alloc::vec![0; 8 + payload.len()];
        let mut packet = UdpPacket::new_unchecked(&mut bytes[..]);
        packet.set_src_port(53);
        packet.set_dst_port(5353);
        packet.set_len(u16::try_from(8 + payload.len()).unwrap());
        packet.payload_mut().copy_from_slice(payload);
        bytes
    }

    fn whole(bytes: &[u8]) -> Class {
        classify(bytes, bytes.len())
    }

    #[test]
    fn segments_and_datagrams_have_keys() {
        let mut frame = ip4(IpProtocol::Tcp, &tcp(b"hello"), |_| ());
        let local = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 2), 80));
        let remote = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 1234));
        let key = FlowKey::new(protocol::TCP, local, remote);
        let expected = Class::Flow(key, Layout { network: 14, transport: 34, end: 59 });
        assert_eq!(whole(&frame), expected);
        assert_eq!((key.local_end(), key.remote_end()), (local, remote));
        // Padding of short frames is behind the end.
        frame.extend([0; 6]);
        assert_eq!(whole(&frame), expected);
        let Class::Flow(key, _) = whole(&ip4(IpProtocol::Udp, &udp(b""), |_| ())) else { panic!("a datagram") };
        assert_eq!((key.protocol, key.local_port, key.remote_port), (protocol::UDP, 5353, 53));
    }

    #[test]
    fn ipv6_and_tags_are_looked_through() {
        let segment = tcp(b"x");
        let mut bytes = alloc::vec![0; 40 + segment.len()];
        let mut packet = Ipv6Packet::new_unchecked(&mut bytes[..]);
        packet.set_version(6);
        packet.set_payload_len(u16::try_from(segment.len()).unwrap());
        packet.set_next_header(IpProtocol::Tcp);
        packet.set_src_addr(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
        packet.set_dst_addr(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));
        packet.payload_mut().copy_from_slice(&segment);
        let mut tagged = alloc::vec![0x00, 0x05, 0x86, 0xdd];
        tagged.extend(&bytes);
        let Class::Flow(key, place) = whole(&ethernet(EthernetProtocol::Unknown(0x8100), &tagged)) else {
            panic!("a segment")
        };
        assert_eq!((place.network, place.transport), (18, 58));
        assert_eq!(key.remote_end(), SocketAddr::from((Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), 1234)));
        packet = Ipv6Packet::new_unchecked(&mut bytes[..]);
        packet.set_src_addr(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        assert_eq!(whole(&ethernet(EthernetProtocol::Ipv6, &bytes)), Class::Malformed(Defect::Header));
    }

    #[test]
    fn the_rest_is_for_the_control_worker() {
        let control = |frame: &[u8]| matches!(whole(frame), Class::Control(_));
        assert!(control(&ethernet(EthernetProtocol::Arp, &[0; 28])));
        assert!(control(&ip4(IpProtocol::Icmp, &[8, 0, 0, 0], |_| ())));
        assert!(control(&ip4(IpProtocol::Tcp, &tcp(b""), |packet| packet.set_more_frags(true))));
        assert!(control(&ip4(IpProtocol::Udp, b"behind", |packet| packet.set_frag_offset(64))));
    }

    #[test]
    fn what_does_not_add_up_is_malformed() {
        let defect = |frame: &[u8]| match whole(frame) {
            Class::Malformed(defect) => Some(defect),
            _ => None,
        };
        let good = ip4(IpProtocol::Tcp, &tcp(b"data"), |_| ());
        assert_eq!(defect(&good[..13]), Some(Defect::Truncated));
        for len in 14..good.len() {
            assert_eq!(defect(&good[..len]), Some(Defect::Truncated), "{len} bytes");
        }
        let mut bad = good.clone();
        bad[24] ^= 1;
        assert_eq!(defect(&bad), Some(Defect::Checksum));
        assert_eq!(defect(&ip4(IpProtocol::Tcp, &tcp(b""), |packet| packet.set_total_len(10))), Some(Defect::Header));
        assert_eq!(defect(&ip4(IpProtocol::Tcp, &tcp(b""), |packet| packet.set_version(5))), Some(Defect::Header));
        let mut short = tcp(b"");
        short[12] = 0x40;
        assert_eq!(defect(&ip4(IpProtocol::Tcp, &short, |_| ())), Some(Defect::Header));
        short[12] = 0xf0;
        assert_eq!(defect(&ip4(IpProtocol::Tcp, &short, |_| ())), Some(Defect::Truncated));
        let mut long = udp(b"abc");
        long[5] += 1;
        assert_eq!(defect(&ip4(IpProtocol::Udp, &long, |_| ())), Some(Defect::Truncated));
        assert_eq!(defect(&ethernet(EthernetProtocol::Unknown(0x1234), &[0; 60])), Some(Defect::Unknown));
        assert_eq!(
            defect(&ethernet(EthernetProtocol::Unknown(0x8100), &[0x81, 0, 0x81, 0, 0, 0, 0x81, 0])),
            Some(Defect::Unknown)
        );
    }

    #[test]
    fn the_usual_are_classified_as_all() {
        let mut random = Random::new(11);
        let good = ip4(IpProtocol::Tcp, &tcp(b"data"), |_| ());
        let mut usual_count = 0;
        for _ in 0..100_000 {
            let mut frame = good.clone();
            for _ in 0..random.below(3) {
                let at = random.below(frame.len());
                frame[at] = random.next_u64().to_le_bytes()[0];
            }
            if random.one_in(2) {
                // What is looked at behind the sum should be seen, too.
                let (low, high) = (sum_words(&frame[14..24]), sum_words(&frame[26..34]));
                let sum = u32::from(low) + u32::from(high);
                let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
                frame[24..26].copy_from_slice(&sum.to_ne_bytes());
            }
            let len = frame.len() + random.below(3);
            frame.truncate(frame.len() - if random.one_in(4) { random.below(20) } else { 0 });
            let all = classify_parts(&frame, len);
            match classify_usual(&frame, len) {
                Some((key, layout)) => {
                    assert_eq!(all, Ok(Class::Flow(key, layout)));
                    usual_count += 1;
                }
                None => assert!(
                    !matches!(
                        all,
                        Ok(Class::Flow(FlowKey { protocol: protocol::TCP, .. }, Layout { transport: 34, .. }))
                    ),
                    "{frame:x?}"
                ),
            }
        }
        assert!((10_000..90_000).contains(&usual_count));
    }

    #[test]
    fn no_frame_makes_it_read_beyond_the_end() {
        let seed = 7;
        let mut random = Random::new(seed);
        let good = [ip4(IpProtocol::Tcp, &tcp(b"data"), |_| ()), ip4(IpProtocol::Udp, &udp(b"data"), |_| ())];
        for _ in 0..100_000 {
            let mut frame = good[usize::from(random.next_u64() & 1 == 1)].clone();
            for _ in 0..random.next_u64() % 4 {
                let at = usize::try_from(random.next_u64()).unwrap() % frame.len();
                frame[at] = random.next_u64().to_le_bytes()[0];
            }
            frame.truncate(usize::try_from(random.next_u64()).unwrap() % (frame.len() + 1));
            if let Class::Flow(_, place) | Class::Control(place) = whole(&frame) {
                assert!(usize::try_from(place.end).unwrap() <= frame.len(), "seed {seed}");
                assert!(usize::from(place.transport) <= frame.len(), "seed {seed}");
            }
        }
    }
}
