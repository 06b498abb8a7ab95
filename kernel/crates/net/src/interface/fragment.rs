//! Cutting packets that are longer than their path takes: RFC 791, section 3.2, and RFC 8200, section 4.5.

use alloc::vec::Vec;

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6FragmentHeader, Ipv6FragmentRepr, Ipv6Packet};

use super::route::{IPV4_LEN, IPV6_LEN};
use crate::TransmitFrame;

/// Bytes of an IPv6 fragment header: next header and its length, then what smoltcp calls the header.
const FRAGMENT_HEADER_LEN: usize = 8;

/// IP packets that together carry `payload`, with a copy of `header`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "packets are at most 65,535 bytes long, the identification has 16 bits"
)]
pub(super) fn fragment4(header: &[u8], payload: &[u8], mtu: usize, identification: u32) -> Vec<TransmitFrame> {
    let part_len = part_len(mtu, IPV4_LEN);
    let parts = payload.chunks(part_len).enumerate();
    parts
        .map(|(place, part)| {
            let mut frame = TransmitFrame::new(header.len() + part.len());
            frame.append(header);
            frame.append(part);
            let mut packet = Ipv4Packet::new_unchecked(frame.head_mut());
            packet.set_total_len((header.len() + part.len()) as u16);
            packet.set_ident(identification as u16);
            packet.set_dont_frag(false);
            packet.set_more_frags((place + 1) * part_len < payload.len());
            packet.set_frag_offset((place * part_len) as u16);
            packet.fill_checksum();
            frame
        })
        .collect()
}

/// As [`fragment4`].
#[expect(clippy::cast_possible_truncation, reason = "packets are at most 65,535 bytes long")]
pub(super) fn fragment6(header: &[u8], payload: &[u8], mtu: usize, identification: u32) -> Vec<TransmitFrame> {
    let part_len = part_len(mtu, IPV6_LEN + FRAGMENT_HEADER_LEN);
    let parts = payload.chunks(part_len).enumerate();
    parts
        .map(|(place, part)| {
            let mut frame = TransmitFrame::new(header.len() + FRAGMENT_HEADER_LEN + part.len());
            frame.append(header);
            let mut packet = Ipv6Packet::new_unchecked(frame.head_mut());
            let protocol = packet.next_header();
            packet.set_next_header(IpProtocol::Ipv6Frag);
            packet.set_payload_len((FRAGMENT_HEADER_LEN + part.len()) as u16);
            let fragment = Ipv6FragmentRepr {
                frag_offset: (place * part_len / 8) as u16,
                more_frags: (place + 1) * part_len < payload.len(),
                ident: identification,
            };
            frame.append(&[u8::from(protocol), 0]);
            let room = frame.extend(fragment.buffer_len());
            fragment.emit(&mut Ipv6FragmentHeader::new_unchecked(room));
            frame.append(part);
            frame
        })
        .collect()
}

/// What one fragment carries: a multiple of eight bytes.
fn part_len(mtu: usize, headers: usize) -> usize {
    (mtu.saturating_sub(headers) & !7).max(8)
}
