//! Segments from and to bytes, by smoltcp's `wire`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use smoltcp::wire::{TcpOption, TcpPacket, TcpSeqNumber};

use super::engine::{Cookie, OutgoingSegment, SACK_BLOCKS_MAX, SegmentFlags, SegmentHeader, Span};
use crate::TransmitFrame;
use crate::channel::Packet;
use crate::checksum::Sum;
use crate::flow_key::{FlowKey, address_of_bits, protocol};
use crate::frame::{ChecksumState, HEADROOM, Piece, ReceivedFrame, Segmentation, SegmentationKind, ecn};

/// Bytes of a header without options.
pub(super) const HEADER_LEN: usize = 20;
/// Bytes of all options at most.
const OPTIONS_LEN_MAX: usize = 40;
/// Option kinds, and the length of one (RFC 9293, 3.1; RFC 7323, 3.2).
const NOP: u8 = 1;
const TIMESTAMPS: u8 = 8;
/// The cookie of TCP Fast Open (RFC 7413, 4.1.1).
const FAST_OPEN: u8 = 34;
const TIMESTAMPS_LEN: u8 = 10;
/// What timestamps take with their padding.
const TIMESTAMPS_ROOM: usize = 12;
/// Bytes of a header with timestamps alone.
const USUAL_LEN: usize = HEADER_LEN + TIMESTAMPS_ROOM;
/// Payload up to this is copied behind its header: one piece of memory is quicker to send than two, and what was written can go on in
/// memory that no device has. With all headers it is as much as the kernel's heap gives without a page of its own.
const COPY_LEN_MAX: usize = 1200;

/// Parses a segment that the classifier let through, into a header that says nothing yet. What is left of its frame is the payload. False:
/// its checksum is wrong.
#[must_use]
pub(super) fn parse(packet: &mut Packet, header: &mut SegmentHeader) -> bool {
    let Packet { frame, layout, key, .. } = packet;
    let end = layout.end as usize;
    if frame.len() > end {
        frame.truncate(end);
    }
    let traffic_class = traffic_class(frame.head(), usize::from(layout.network));
    frame.trim_front(usize::from(layout.transport));
    if frame.checksum == ChecksumState::Unknown && !has_right_checksum(frame, key) {
        return false;
    }
    let head = frame.head();
    let Some((fixed, _)) = head.split_first_chunk::<HEADER_LEN>() else { return false };
    let header_len = usize::from(fixed[12] >> 4) * 4;
    let Some(options) = head.get(HEADER_LEN..header_len) else { return false };
    let [_, _, _, _, s0, s1, s2, s3, a0, a1, a2, a3, _, flags, w0, w1, _, _, u0, u1] = *fixed;
    header.sequence = u32::from_be_bytes([s0, s1, s2, s3]);
    header.acknowledgement = u32::from_be_bytes([a0, a1, a2, a3]);
    header.flags = SegmentFlags::from_bits_retain(flags);
    header.window = u16::from_be_bytes([w0, w1]);
    header.urgent_pointer = u16::from_be_bytes([u0, u1]);
    header.is_ecn_capable = traffic_class & ecn::MASK != 0;
    header.is_congestion_marked = traffic_class & ecn::MASK == ecn::CONGESTION_EXPERIENCED;
    read_options(options, header);
    frame.trim_front(header_len);
    true
}

/// The traffic class of an IP header, as far as ECN needs it.
fn traffic_class(head: &[u8], network: usize) -> u8 {
    match head.get(network..) {
        Some([version, class, ..]) if version >> 4 == 4 => *class,
        Some([high, low, ..]) => high << 4 | low >> 4,
        _ => 0,
    }
}

fn has_right_checksum(frame: &ReceivedFrame, key: &FlowKey) -> bool {
    let (remote, local) = (address_of_bits(key.remote), address_of_bits(key.local));
    let mut sum = Sum::pseudo_header(remote, local, protocol::TCP, frame.len());
    frame.pieces().for_each(|piece| sum.add(piece));
    sum.finish() == 0
}

/// Reads options up to the first that is not right, as Linux does.
fn read_options(options: &[u8], header: &mut SegmentHeader) {
    // Nearly always: timestamps alone, aligned as RFC 7323 recommends (appendix A).
    if let [NOP, NOP, TIMESTAMPS, TIMESTAMPS_LEN, numbers @ ..] = options
        && let ([value, echo], []) = numbers.as_chunks()
    {
        header.timestamps = Some((u32::from_be_bytes(*value), u32::from_be_bytes(*echo)));
    } else if !options.is_empty() {
        read_each_option(options, header);
    }
}

#[inline(never)]
fn read_each_option(mut options: &[u8], header: &mut SegmentHeader) {
    while !options.is_empty() {
        let Ok((rest, option)) = TcpOption::parse(options) else { return };
        match option {
            TcpOption::EndOfList => return,
            TcpOption::MaxSegmentSize(mss) => header.mss = Some(mss),
            TcpOption::WindowScale(scale) => header.window_scale = Some(scale),
            TcpOption::SackPermitted => header.is_sack_permitted = true,
            TcpOption::SackRange(ranges) => {
                for (block, range) in header.sack.iter_mut().zip(ranges.into_iter().flatten()) {
                    *block = range;
                    header.sack_count += 1;
                }
            }
            TcpOption::TimeStamp { tsval, tsecr } => header.timestamps = Some((tsval, tsecr)),
            TcpOption::Unknown { kind: FAST_OPEN, data } if header.flags.contains(SegmentFlags::SYN) => {
                header.fast_open = Cookie::from_bytes(data);
            }
            _ => {}
        }
        options = rest;
    }
}

/// Builds a segment from its transport header on, with the checksum left to the layers below.
pub(super) fn build(key: &FlowKey, segment: &OutgoingSegment<'_>) -> TransmitFrame {
    let is_copied = segment.len <= COPY_LEN_MAX;
    let copied_len = if is_copied { segment.len } else { 0 };
    let mut head = match usual_front(key, &segment.header) {
        Some(front) => head_with(&front, copied_len),
        None => head_with_options(key, &segment.header, copied_len),
    };
    let pieces = if is_copied {
        segment.payload.for_each(|piece, part| piece.append_to(part, &mut head));
        Box::default()
    } else {
        pieces_of(&segment.payload)
    };
    let segmentation = (segment.len > segment.mss).then(|| Segmentation {
        kind: if key.remote >> 32 == 0xffff { SegmentationKind::Tcp4 } else { SegmentationKind::Tcp6 },
        segment_len: u16::try_from(segment.mss).unwrap_or(u16::MAX),
    });
    let ecn = if segment.header.is_ecn_capable { ecn::CAPABLE } else { 0 };
    TransmitFrame::of_parts(head, pieces, segmentation, ecn)
}

/// The pieces of a payload that stays where it lies.
#[inline(never)]
fn pieces_of(payload: &Span<'_>) -> Box<[Piece]> {
    let mut pieces = Vec::with_capacity(payload.count());
    payload.for_each(|piece, part| pieces.push(piece.part(part)));
    pieces.into_boxed_slice()
}

/// A head that begins with `front`, with memory for so many bytes behind it.
#[inline]
fn head_with(front: &[u8], room: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(front.len() + room);
    head.extend_from_slice(front);
    head
}

#[inline(never)]
fn head_with_options(key: &FlowKey, header: &SegmentHeader, room: usize) -> Vec<u8> {
    let mut bytes = [0; HEADER_LEN + OPTIONS_LEN_MAX];
    let header = write_header(key, header, &mut bytes);
    let mut head = head_with(&[0; HEADROOM], header.len() + room);
    head.extend_from_slice(header);
    head
}

/// The header of nearly every segment, behind the room for others: it has timestamps and no other option, aligned as RFC 7323
/// recommends (appendix A).
#[inline]
fn usual_front(key: &FlowKey, header: &SegmentHeader) -> Option<[u8; HEADROOM + USUAL_LEN]> {
    let has_others = header.sack_count > 0
        || header.mss.is_some()
        || header.window_scale.is_some()
        || header.is_sack_permitted
        || header.flags.contains(SegmentFlags::SYN)
        || !header.flags.contains(SegmentFlags::ACK);
    let (value, echo) = header.timestamps.filter(|_| !has_others)?;
    let mut front = [0; HEADROOM + USUAL_LEN];
    let (fixed, options) = front[HEADROOM..].split_at_mut(HEADER_LEN);
    write_fixed(key, header, USUAL_LEN, fixed);
    options[..4].copy_from_slice(&[NOP, NOP, TIMESTAMPS, TIMESTAMPS_LEN]);
    options[4..8].copy_from_slice(&value.to_be_bytes());
    options[8..12].copy_from_slice(&echo.to_be_bytes());
    Some(front)
}

/// Writes the part that every header of `len` bytes has.
#[inline]
fn write_fixed(key: &FlowKey, header: &SegmentHeader, len: usize, to: &mut [u8]) {
    let mut packet = TcpPacket::new_unchecked(&mut *to);
    packet.set_src_port(key.local_port);
    packet.set_dst_port(key.remote_port);
    packet.set_seq_number(TcpSeqNumber(header.sequence.cast_signed()));
    packet.set_ack_number(TcpSeqNumber(header.acknowledgement.cast_signed()));
    packet.set_header_len(u8::try_from(len).unwrap_or(0));
    packet.set_window_len(header.window);
    packet.set_urgent_at(header.urgent_pointer);
    to[13] = header.flags.bits();
}

/// Writes a header with its options, and answers as much as it takes.
fn write_header<'a>(key: &FlowKey, header: &SegmentHeader, to: &'a mut [u8; HEADER_LEN + OPTIONS_LEN_MAX]) -> &'a [u8] {
    let (fixed, options) = to.split_at_mut(HEADER_LEN);
    let len = HEADER_LEN + write_options(header, options);
    write_fixed(key, header, len, fixed);
    &to[..len]
}

/// Writes the options of a header, padded to words, and answers their length. `to` has room for as many as there may
/// be.
fn write_options(header: &SegmentHeader, to: &mut [u8]) -> usize {
    to.fill(NOP);
    let mut at = 0;
    if let Some((value, echo)) = header.timestamps
        && header.flags.contains(SegmentFlags::ACK)
        && !header.flags.contains(SegmentFlags::SYN)
    {
        // Aligned as in the usual header.
        to[2..4].copy_from_slice(&[TIMESTAMPS, TIMESTAMPS_LEN]);
        to[4..8].copy_from_slice(&value.to_be_bytes());
        to[8..12].copy_from_slice(&echo.to_be_bytes());
        at = 12;
    } else if let Some((value, echo)) = header.timestamps {
        emit(TcpOption::TimeStamp { tsval: value, tsecr: echo }, to, &mut at);
    }
    if let Some(mss) = header.mss {
        emit(TcpOption::MaxSegmentSize(mss), to, &mut at);
    }
    if let Some(scale) = header.window_scale {
        emit(TcpOption::WindowScale(scale), to, &mut at);
    }
    if header.is_sack_permitted {
        emit(TcpOption::SackPermitted, to, &mut at);
    }
    if let Some(cookie) = &header.fast_open {
        emit(TcpOption::Unknown { kind: FAST_OPEN, data: cookie.bytes() }, to, &mut at);
    }
    at = at.next_multiple_of(4);
    let count = usize::from(header.sack_count).min(SACK_BLOCKS_MAX);
    if count > 0 {
        write_sack(&header.sack[..count], to, &mut at);
    }
    at
}

fn emit(option: TcpOption<'_>, to: &mut [u8], at: &mut usize) {
    let len = option.buffer_len();
    if let Some(room) = to.get_mut(*at..*at + len) {
        option.emit(room);
        *at += len;
    }
}

/// As many blocks as there is room for (RFC 2018, 3); smoltcp's option has three at most.
fn write_sack(blocks: &[(u32, u32)], to: &mut [u8], at: &mut usize) {
    const KIND: u8 = 5;
    let count = blocks.len().min((OPTIONS_LEN_MAX - *at).saturating_sub(4) / 8);
    let Ok(len) = u8::try_from(2 + count * 8) else { return };
    if count == 0 {
        return;
    }
    // Two NOPs align the numbers.
    to[*at + 2] = KIND;
    to[*at + 3] = len;
    *at += 4;
    for (left, right) in &blocks[..count] {
        to[*at..*at + 4].copy_from_slice(&left.to_be_bytes());
        to[*at + 4..*at + 8].copy_from_slice(&right.to_be_bytes());
        *at += 8;
    }
}

/// The answer to a segment that meets nobody (RFC 9293, 3.5.2). None to a reset.
pub(super) fn reset_for(header: &SegmentHeader, payload_len: usize) -> Option<SegmentHeader> {
    if header.flags.contains(SegmentFlags::RST) {
        return None;
    }
    if header.flags.contains(SegmentFlags::ACK) {
        let flags = SegmentFlags::RST;
        return Some(SegmentHeader { sequence: header.acknowledgement, flags, ..SegmentHeader::default() });
    }
    let ends = header.flags.contains(SegmentFlags::SYN) as u32 + header.flags.contains(SegmentFlags::FIN) as u32;
    let len = u32::try_from(payload_len).unwrap_or(0).wrapping_add(ends);
    let flags = SegmentFlags::RST | SegmentFlags::ACK;
    let acknowledgement = header.sequence.wrapping_add(len);
    Some(SegmentHeader { acknowledgement, flags, ..SegmentHeader::default() })
}

/// A segment without payload.
pub(super) fn bare(header: SegmentHeader) -> OutgoingSegment<'static> {
    OutgoingSegment { header, payload: Span::empty(), len: 0, mss: usize::MAX }
}

/// Frames that an engine has emitted, on their way to the device.
pub(super) struct Frames<'a> {
    pub(super) key: &'a FlowKey,
    pub(super) frames: &'a mut Vec<TransmitFrame>,
}

impl super::engine::Output for Frames<'_> {
    #[inline]
    fn emit(&mut self, segment: OutgoingSegment<'_>) {
        self.frames.push(build(self.key, &segment));
    }
}

#[cfg(test)]
mod tests {
    use testkit as _;

    use super::*;
    use crate::classify::Layout;
    use crate::frame::Payload;

    fn of_options(options: &[u8]) -> SegmentHeader {
        let mut header = SegmentHeader::default();
        read_options(options, &mut header);
        header
    }

    #[test]
    fn timestamps_are_read_wherever_they_stand() {
        let numbers = [0, 0, 1, 2, 0xff, 0, 0, 9];
        let there = Some((0x102, 0xff00_0009));
        let usual = [&[NOP, NOP, TIMESTAMPS, TIMESTAMPS_LEN][..], &numbers].concat();
        assert_eq!(of_options(&usual).timestamps, there);
        assert_eq!(of_options(&[&usual[2..], &[NOP, NOP]].concat()).timestamps, there);
        let more = of_options(&[&usual[..], &[2, 4, 5, 0xb4]].concat());
        assert_eq!((more.timestamps, more.mss), (there, Some(1460)));
        assert_eq!(of_options(&usual[..11]).timestamps, None, "cut short");
        assert_eq!(
            of_options(&[NOP, NOP, TIMESTAMPS, 9, 0, 0, 0, 0, 0, 0, 0, 0]).timestamps,
            None,
            "of a wrong length"
        );
    }

    #[test]
    fn headers_are_read_as_smoltcp_reads_them() {
        let mut random = testkit::Random::new(5);
        let mut read = 0;
        for _ in 0..2000 {
            let mut bytes = alloc::vec![0; random.below(80)];
            random.fill(&mut bytes);
            if let Some(offset) = bytes.get_mut(12) {
                *offset = *offset & 15 | u8::try_from(random.below(9) + 4).unwrap() << 4;
            }
            let layout = Layout { network: 0, transport: 0, end: u32::try_from(bytes.len()).unwrap() };
            let mut frame = ReceivedFrame::new(Payload::from(bytes.clone()));
            frame.checksum = ChecksumState::Verified;
            let key = FlowKey { local: 0, remote: 0, local_port: 0, remote_port: 0, protocol: protocol::TCP };
            let mut packet = Packet::new(frame, layout, key, 1, 0);
            let mut header = SegmentHeader::default();
            let is_read = parse(&mut packet, &mut header);
            let Ok(theirs) = TcpPacket::new_checked(&bytes[..]) else {
                assert!(!is_read);
                continue;
            };
            assert!(is_read);
            read += 1;
            assert_eq!(header.sequence, theirs.seq_number().0.cast_unsigned());
            assert_eq!(header.acknowledgement, theirs.ack_number().0.cast_unsigned());
            assert_eq!((header.window, header.urgent_pointer), (theirs.window_len(), theirs.urgent_at()));
            assert_eq!(header.flags.contains(SegmentFlags::FIN), theirs.fin());
            assert_eq!(header.flags.bits(), bytes[13]);
            assert_eq!(header.timestamps, of_options(theirs.options()).timestamps);
            assert_eq!(packet.frame.head(), theirs.payload());
        }
        assert!(read > 500);
    }

    #[test]
    fn what_is_written_is_read() {
        let key = FlowKey::new(protocol::TCP, ([10, 0, 0, 1], 80).into(), ([10, 0, 0, 2], 5000).into());
        let with = |change: fn(&mut SegmentHeader)| {
            let mut header = SegmentHeader { flags: SegmentFlags::ACK, ..SegmentHeader::default() };
            change(&mut header);
            let mut bytes = [0; HEADER_LEN + OPTIONS_LEN_MAX];
            let written = write_header(&key, &header, &mut bytes);
            let packet = TcpPacket::new_checked(written).unwrap();
            let read = of_options(packet.options());
            assert_eq!(
                (read.timestamps, read.mss, read.window_scale),
                (header.timestamps, header.mss, header.window_scale)
            );
            assert_eq!((read.sack, read.sack_count), (header.sack, header.sack_count));
            assert_eq!(written[13], header.flags.bits());
            assert_eq!(packet.seq_number().0.cast_unsigned(), header.sequence);
            if let Some(front) = usual_front(&key, &header) {
                assert_eq!(&front[HEADROOM..], written);
            }
            written.len()
        };
        assert_eq!(with(|_| ()), 20);
        assert_eq!(with(|header| header.timestamps = Some((7, u32::MAX))), 32);
        assert_eq!(with(|header| (header.timestamps, header.sequence) = (Some((1, 2)), u32::MAX)), 32);
        assert_eq!(with(|header| (header.flags, header.mss) = (SegmentFlags::SYN, Some(9000))), 24);
        assert_eq!(with(|header| (header.sack[0], header.sack_count) = ((5, 9), 1)), 32);
    }
}
