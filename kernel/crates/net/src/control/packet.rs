//! [`IpPacket`]: an IP packet in one piece, with extension headers taken off.

use alloc::vec::Vec;
use core::net::IpAddr;

use smoltcp::wire::{Ipv4Packet, Ipv6Packet};

use crate::channel::Packet;
use crate::room;

/// Extension headers that are looked behind.
const EXTENSIONS_MAX: usize = 8;
const IPV6_LEN: usize = 40;

/// Numbers of extension headers (RFC 8200).
pub(super) mod extension {
    pub(in crate::control) const HOP_BY_HOP: u8 = 0;
    pub(in crate::control) const ROUTING: u8 = 43;
    pub(in crate::control) const FRAGMENT: u8 = 44;
    pub(in crate::control) const NONE: u8 = 59;
    pub(in crate::control) const DESTINATION: u8 = 60;
}

/// An IP packet in one piece.
#[derive(Clone, Debug)]
pub(super) struct IpPacket {
    /// From the IP header to the end.
    pub(super) bytes: Vec<u8>,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// What the payload is: behind extension headers, or a fragment header.
    pub(super) protocol: u8,
    /// Where the protocol's header begins.
    pub(super) payload: usize,
    /// Where the number of the protocol stands: in the IP header or the last extension header.
    pub(super) protocol_place: usize,
    pub(super) hop_limit: u8,
    /// It was sent to a group or all on its link.
    pub(super) is_link_group: bool,
}

impl IpPacket {
    /// The packet of a frame whose IP header is sound, if there is memory for it.
    pub(super) fn of(packet: &Packet) -> Option<Self> {
        let (network, end) = (usize::from(packet.layout.network), packet.layout.end as usize);
        let mut bytes = room::room_for(end.saturating_sub(network)).ok()?;
        let mut at = 0;
        for piece in packet.frame.pieces() {
            let (from, until) = (network.saturating_sub(at).min(piece.len()), end.saturating_sub(at).min(piece.len()));
            bytes.extend_from_slice(piece.get(from..until).unwrap_or_default());
            at += piece.len();
        }
        let is_link_group = packet.frame.head().first().is_some_and(|byte| byte & 1 != 0);
        Self::parse(bytes, is_link_group)
    }

    /// Finds the payload.
    pub(super) fn parse(bytes: Vec<u8>, is_link_group: bool) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => {
                let ip = Ipv4Packet::new_checked(&bytes[..]).ok()?;
                let (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
                let (protocol, payload) = (u8::from(ip.next_header()), usize::from(ip.header_len()));
                let hop_limit = ip.hop_limit();
                Some(Self {
                    bytes,
                    source,
                    destination,
                    protocol,
                    payload,
                    protocol_place: 9,
                    hop_limit,
                    is_link_group,
                })
            }
            6 => Self::parse6(bytes, is_link_group),
            _ => None,
        }
    }

    fn parse6(bytes: Vec<u8>, is_link_group: bool) -> Option<Self> {
        if bytes.len() < IPV6_LEN {
            return None;
        }
        let ip = Ipv6Packet::new_unchecked(&bytes[..]);
        let (source, destination, hop_limit) = (ip.src_addr().into(), ip.dst_addr().into(), ip.hop_limit());
        let (mut protocol, mut payload, mut protocol_place) = (u8::from(ip.next_header()), IPV6_LEN, 6);
        for _ in 0..EXTENSIONS_MAX {
            match protocol {
                extension::HOP_BY_HOP | extension::ROUTING | extension::DESTINATION => {
                    let header: &[u8; 8] = bytes.get(payload..)?.first_chunk()?;
                    // Nothing here forwards: a route that goes on is nothing to follow (RFC 8200, section 4.4).
                    if protocol == extension::ROUTING && header[3] != 0 {
                        return None;
                    }
                    (protocol_place, protocol) = (payload, header[0]);
                    payload += 8 + 8 * usize::from(header[1]);
                }
                _ => {
                    bytes.get(payload..)?;
                    return Some(Self {
                        bytes,
                        source,
                        destination,
                        protocol,
                        payload,
                        protocol_place,
                        hop_limit,
                        is_link_group,
                    });
                }
            }
        }
        None
    }

    /// An IPv6 packet without its extension headers, if there is memory for it.
    pub(super) fn without_extensions(&self) -> Option<Vec<u8>> {
        let header = self.bytes.get(..IPV6_LEN).unwrap_or_default();
        let mut bytes = room::copy_of([header, self.body()], header.len() + self.body().len()).ok()?;
        let len = u16::try_from(self.body().len()).unwrap_or(u16::MAX);
        if bytes.len() >= IPV6_LEN {
            let mut ip = Ipv6Packet::new_unchecked(&mut bytes[..]);
            ip.set_next_header(self.protocol.into());
            ip.set_payload_len(len);
        }
        Some(bytes)
    }

    /// From the protocol's header on.
    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(self.payload..).unwrap_or_default()
    }
}
