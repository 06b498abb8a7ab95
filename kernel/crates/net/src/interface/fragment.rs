//! Cutting packets that are longer than their path takes: RFC 791, section 3.2, and RFC 8200, section 4.5.

use abi::Errno;
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6FragmentHeader, Ipv6FragmentRepr, Ipv6Packet};

use super::route::{IPV4_LEN, IPV6_LEN};
use crate::TransmitFrame;

/// Bytes of an IPv6 fragment header: next header and its length, then what smoltcp calls the header.
const FRAGMENT_HEADER_LEN: usize = 8;

/// What one fragment carries.
pub(super) struct Part<'a> {
    /// The whole payload.
    pub(super) payload: &'a [u8],
    /// Where the part begins: a multiple of eight.
    pub(super) offset: usize,
    /// Its length.
    pub(super) len: usize,
}

/// An IP packet with a copy of `header` that carries a part. `ENOBUFS`.
pub(super) fn build(header: &[u8], part: &Part<'_>, identification: u32) -> Result<TransmitFrame, Errno> {
    let bytes = part.payload.get(part.offset..part.offset + part.len).unwrap_or_default();
    let mut frame = TransmitFrame::with_room(header.len() + FRAGMENT_HEADER_LEN + bytes.len())?;
    frame.append(header);
    if header.len() == IPV4_LEN {
        frame.append(bytes);
        write4(&mut frame, part, identification);
    } else {
        write6(&mut frame, part, identification);
        frame.append(bytes);
    }
    Ok(frame)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "packets are at most 65,535 bytes long, the identification has 16 bits"
)]
fn write4(frame: &mut TransmitFrame, part: &Part<'_>, identification: u32) {
    let total_len = frame.len() as u16;
    let mut packet = Ipv4Packet::new_unchecked(frame.head_mut());
    packet.set_total_len(total_len);
    packet.set_ident(identification as u16);
    packet.set_dont_frag(false);
    packet.set_more_frags(part.has_more());
    packet.set_frag_offset(part.offset as u16);
    packet.fill_checksum();
}

#[expect(clippy::cast_possible_truncation, reason = "packets are at most 65,535 bytes long")]
fn write6(frame: &mut TransmitFrame, part: &Part<'_>, identification: u32) {
    let mut packet = Ipv6Packet::new_unchecked(frame.head_mut());
    let protocol = packet.next_header();
    packet.set_next_header(IpProtocol::Ipv6Frag);
    packet.set_payload_len((FRAGMENT_HEADER_LEN + part.len) as u16);
    let fragment =
        Ipv6FragmentRepr { frag_offset: (part.offset / 8) as u16, more_frags: part.has_more(), ident: identification };
    frame.append(&[u8::from(protocol), 0]);
    let room = frame.extend(fragment.buffer_len());
    fragment.emit(&mut Ipv6FragmentHeader::new_unchecked(room));
}

impl Part<'_> {
    fn has_more(&self) -> bool {
        self.offset + self.len < self.payload.len()
    }
}

/// What one fragment carries at most: a multiple of eight bytes.
pub(super) fn part_len(mtu: usize, is_ipv4: bool) -> usize {
    let headers = if is_ipv4 { IPV4_LEN } else { IPV6_LEN + FRAGMENT_HEADER_LEN };
    (mtu.saturating_sub(headers) & !7).max(8)
}
