//! Segments from and to bytes, by smoltcp's `wire`.

use alloc::vec::Vec;

use smoltcp::wire::{TcpOption, TcpPacket, TcpSeqNumber};

use super::engine::{OutgoingSegment, SACK_BLOCKS_MAX, SegmentFlags, SegmentHeader};
use crate::TransmitFrame;
use crate::channel::Packet;
use crate::checksum::Sum;
use crate::flow_key::{FlowKey, address_of_bits, protocol};
use crate::frame::{ChecksumState, ReceivedFrame, Segmentation, SegmentationKind};

/// Bytes of a header without options.
pub(super) const HEADER_LEN: usize = 20;
/// Bytes of all options at most.
const OPTIONS_LEN_MAX: usize = 40;
/// Payload up to this is copied behind its header: one piece of memory is quicker to send than two.
const COPY_LEN_MAX: usize = 512;

/// Parses a segment that the classifier let through. What is left of the frame is its payload. None: its checksum is wrong.
pub(super) fn parse(packet: Packet) -> Option<(SegmentHeader, ReceivedFrame)> {
    let Packet { mut frame, layout, key, .. } = packet;
    frame.truncate(layout.end as usize);
    let traffic_class = traffic_class(frame.head(), usize::from(layout.network));
    frame.trim_front(usize::from(layout.transport));
    if frame.checksum == ChecksumState::Unknown && !has_right_checksum(&frame, &key) {
        return None;
    }
    let segment = TcpPacket::new_checked(frame.head()).ok()?;
    let mut header = SegmentHeader {
        sequence: number(segment.seq_number()),
        acknowledgement: number(segment.ack_number()),
        flags: flags_of(frame.head()),
        window: segment.window_len(),
        urgent_pointer: segment.urgent_at(),
        // Congestion experienced (RFC 3168).
        is_congestion_marked: traffic_class & 3 == 3,
        ..SegmentHeader::default()
    };
    read_options(segment.options(), &mut header);
    let header_len = usize::from(segment.header_len());
    frame.trim_front(header_len);
    Some((header, frame))
}

/// The traffic class of an IP header, as far as ECN needs it.
fn traffic_class(head: &[u8], network: usize) -> u8 {
    match head.get(network..) {
        Some([version, class, ..]) if version >> 4 == 4 => *class,
        Some([high, low, ..]) => high << 4 | low >> 4,
        _ => 0,
    }
}

fn flags_of(segment: &[u8]) -> SegmentFlags {
    SegmentFlags::from_bits_retain(segment.get(13).copied().unwrap_or(0))
}

fn number(number: TcpSeqNumber) -> u32 {
    number.0.cast_unsigned()
}

fn has_right_checksum(frame: &ReceivedFrame, key: &FlowKey) -> bool {
    let (remote, local) = (address_of_bits(key.remote), address_of_bits(key.local));
    let mut sum = Sum::pseudo_header(remote, local, protocol::TCP, frame.len());
    frame.pieces().for_each(|piece| sum.add(piece));
    sum.finish() == 0
}

/// Reads options up to the first that is not right, as Linux does.
fn read_options(mut options: &[u8], header: &mut SegmentHeader) {
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
            _ => {}
        }
        options = rest;
    }
}

/// Builds a segment from its transport header on, with the checksum left to the layers below.
pub(super) fn build(key: &FlowKey, segment: &OutgoingSegment<'_>) -> TransmitFrame {
    let header = &segment.header;
    let mut options = [0; OPTIONS_LEN_MAX];
    let options_len = write_options(header, &mut options);
    let is_copied = segment.len <= COPY_LEN_MAX;
    let head_len = HEADER_LEN + options_len;
    let mut frame = TransmitFrame::new(head_len + if is_copied { segment.len } else { 0 });
    let bytes = frame.extend(head_len);
    bytes[HEADER_LEN..].copy_from_slice(&options[..options_len]);
    let mut packet = TcpPacket::new_unchecked(&mut *bytes);
    packet.set_src_port(key.local_port);
    packet.set_dst_port(key.remote_port);
    packet.set_seq_number(TcpSeqNumber(header.sequence.cast_signed()));
    packet.set_ack_number(TcpSeqNumber(header.acknowledgement.cast_signed()));
    packet.set_header_len(u8::try_from(head_len).unwrap_or(0));
    packet.set_window_len(header.window);
    packet.set_urgent_at(header.urgent_pointer);
    bytes[13] = header.flags.bits();
    if is_copied {
        for piece in segment.pieces {
            let room = frame.extend(piece.len());
            piece.copy_to(room);
        }
    } else {
        frame.pieces.extend_from_slice(segment.pieces);
    }
    if segment.len > segment.mss {
        let kind = if key.remote >> 32 == 0xffff { SegmentationKind::Tcp4 } else { SegmentationKind::Tcp6 };
        let segment_len = u16::try_from(segment.mss).unwrap_or(u16::MAX);
        frame.segmentation = Some(Segmentation { kind, segment_len });
    }
    frame
}

/// Writes the options of a header, padded to words, and answers their length.
fn write_options(header: &SegmentHeader, to: &mut [u8; OPTIONS_LEN_MAX]) -> usize {
    // NOP.
    to.fill(1);
    let mut at = 0;
    if let Some((value, echo)) = header.timestamps
        && header.flags.contains(SegmentFlags::ACK)
        && !header.flags.contains(SegmentFlags::SYN)
    {
        // The usual case, aligned as RFC 7323 recommends (appendix A).
        TcpOption::TimeStamp { tsval: value, tsecr: echo }.emit(&mut to[2..]);
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
    at = at.next_multiple_of(4);
    let count = usize::from(header.sack_count).min(SACK_BLOCKS_MAX);
    if count > 0 {
        write_sack(&header.sack[..count], to, &mut at);
    }
    at
}

fn emit(option: TcpOption<'_>, to: &mut [u8; OPTIONS_LEN_MAX], at: &mut usize) {
    let len = option.buffer_len();
    if let Some(room) = to.get_mut(*at..*at + len) {
        option.emit(room);
        *at += len;
    }
}

/// As many blocks as there is room for (RFC 2018, 3); smoltcp's option has three at most.
fn write_sack(blocks: &[(u32, u32)], to: &mut [u8; OPTIONS_LEN_MAX], at: &mut usize) {
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
    OutgoingSegment { header, pieces: &[], len: 0, mss: usize::MAX }
}

/// Frames that an engine has emitted, on their way to the device.
pub(super) struct Frames<'a> {
    pub(super) key: &'a FlowKey,
    pub(super) frames: &'a mut Vec<TransmitFrame>,
}

impl super::engine::Output for Frames<'_> {
    fn emit(&mut self, segment: OutgoingSegment<'_>) {
        self.frames.push(build(self.key, &segment));
    }
}
