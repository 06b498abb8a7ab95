//! Frames: [`ReceivedFrame`] from a device, [`TransmitFrame`] to one, without copying what lies in them.
//!
//! All memory is the kernel heap's: physically contiguous and always mapped, so that a driver can hand its address to a device, and
//! code here reads it as slices. A buffer belongs to exactly one side at any time: the driver takes it apart before the device
//! gets it, and nobody has it until the device gives it back.
//!
//! - A received frame is one [`Payload`] or, where the device joined segments, several. Headers are always whole in the first.
//! - A frame to transmit has a head, with room in front for the headers of the layers below, and pieces of payload that lie
//!   elsewhere and stay there until the device has sent them.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use abi::Errno;
use mm::Frame;

use crate::room;

/// Room in front of the transport header: the device's own header (at most 20 bytes), a link header with a tag (18), IPv6 (40),
/// rounded up so that the transport header is aligned.
pub const HEADROOM: usize = HEADROOM_LEN as usize;
const HEADROOM_LEN: u32 = 80;

/// Bytes of one buffer of a device, and a range of them that matters.
pub struct Payload {
    buffer: Box<[u8]>,
    start: u32,
    end: u32,
}

impl Payload {
    /// The bytes `range` of `buffer`. A range outside of the buffer is cut to it.
    #[must_use]
    pub fn new(buffer: Box<[u8]>, range: Range<usize>) -> Self {
        let limit = |place: usize| u32::try_from(place.min(buffer.len())).unwrap_or(u32::MAX);
        let (start, end) = (limit(range.start), limit(range.end));
        Self { start: start.min(end), end, buffer }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// The bytes, to be changed in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// How many bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Memory that it holds on to, used or not: what buffer limits count.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.buffer.len() + size_of::<Self>()
    }

    /// The buffer alone.
    #[must_use]
    pub fn into_buffer(self) -> Box<[u8]> {
        self.buffer
    }

    /// Drops up to `len` bytes at the front, and answers how many.
    pub fn trim_front(&mut self, len: usize) -> usize {
        let len = len.min(self.len());
        self.start += u32::try_from(len).unwrap_or(0);
        len
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.end = self.start + u32::try_from(len).unwrap_or(0);
        }
    }

    /// Appends as much of `bytes` as fits behind the range, and answers how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let room = self.buffer.get_mut(self.end as usize..).unwrap_or_default();
        let len = room.len().min(bytes.len());
        room[..len].copy_from_slice(&bytes[..len]);
        self.end += u32::try_from(len).unwrap_or(0);
        len
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self::new(bytes.into_boxed_slice(), 0..len)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Payload({} bytes)", self.len())
    }
}

/// What is known of the transport checksum of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ChecksumState {
    /// Nothing: the receiver computes it.
    #[default]
    Unknown,
    /// The device found it right, or the frame never left this machine.
    Verified,
}

/// Buffers that a device joined to a first one; usually none, and then this is a word.
#[derive(Debug, Default)]
pub struct Joined(Option<Box<Buffers>>);

#[derive(Debug, Default)]
struct Buffers {
    list: Vec<Payload>,
}

impl Joined {
    /// Appends a buffer.
    pub fn push(&mut self, piece: Payload) {
        self.0.get_or_insert_default().list.push(piece);
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The buffers.
    pub fn iter(&self) -> impl Iterator<Item = &Payload> {
        self.0.iter().flat_map(|buffers| &buffers.list)
    }

    /// The buffers as a list.
    #[must_use]
    pub fn into_vec(self) -> Vec<Payload> {
        self.0.map(|buffers| buffers.list).unwrap_or_default()
    }

    /// Keeps the first `len` bytes of all together.
    fn truncate(&mut self, len: usize) {
        let Some(buffers) = &mut self.0 else { return };
        let mut left = len;
        for piece in &mut buffers.list {
            piece.truncate(left);
            left -= piece.len();
        }
        buffers.list.retain(|piece| !piece.is_empty());
        if buffers.list.is_empty() {
            self.0 = None;
        }
    }
}

/// A frame from a device.
#[derive(Debug)]
pub struct ReceivedFrame {
    first: Payload,
    rest: Joined,
    /// Bytes of all.
    len: u32,
    /// The payload of each of the segments that the device joined (its `gso_size`); 0 for a frame that is one.
    pub segment_len: u16,
    /// The transport checksum.
    pub checksum: ChecksumState,
}

impl ReceivedFrame {
    /// A frame in one buffer.
    #[must_use]
    pub fn new(first: Payload) -> Self {
        let len = first.end - first.start;
        Self { first, rest: Joined::default(), len, segment_len: 0, checksum: ChecksumState::Unknown }
    }

    /// Appends a further buffer.
    pub fn push(&mut self, piece: Payload) {
        self.len += piece.end - piece.start;
        self.rest.push(piece);
    }

    /// The first buffer's bytes, which contain all headers.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.first.bytes()
    }

    /// As [`ReceivedFrame::head`], to be changed.
    pub fn head_mut(&mut self) -> &mut [u8] {
        self.first.bytes_mut()
    }

    /// Bytes in all buffers.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops `len` bytes at the front: headers, which lie in the first buffer. More than that is cut to it.
    pub fn trim_front(&mut self, len: usize) {
        let before = self.first.start;
        self.first.trim_front(len);
        self.len -= self.first.start - before;
    }

    /// Keeps the first `len` bytes: drops what the link padded.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len() {
            return;
        }
        self.first.truncate(len);
        self.rest.truncate(len - self.first.len());
        self.len = u32::try_from(len).unwrap_or(self.len);
    }

    /// The first piece and the rest, any of them perhaps empty.
    #[must_use]
    pub fn into_parts(self) -> (Payload, Joined) {
        (self.first, self.rest)
    }

    /// The pieces in order, none of them empty.
    pub fn into_pieces(self) -> impl Iterator<Item = Payload> {
        core::iter::once(self.first).chain(self.rest.into_vec()).filter(|piece| !piece.is_empty())
    }

    /// The pieces in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        core::iter::once(&self.first).chain(self.rest.iter()).map(Payload::bytes)
    }

    /// Memory that it holds on to.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.first.footprint() + self.rest.iter().map(Payload::footprint).sum::<usize>()
    }
}

/// Bytes to transmit that lie outside of the head.
#[derive(Clone)]
pub enum Piece {
    /// A range of bytes that do not change while anybody else has them.
    Shared(Arc<Vec<u8>>, Range<usize>),
    /// A range of a page of memory, such as one of a file.
    Frame(Frame, Range<usize>),
}

impl Piece {
    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Shared(_, range) | Self::Frame(_, range) => range.len(),
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A part of it.
    #[must_use]
    pub fn part(&self, part: Range<usize>) -> Self {
        match self {
            Self::Shared(bytes, range) => Self::Shared(bytes.clone(), range.start + part.start..range.start + part.end),
            Self::Frame(frame, range) => Self::Frame(frame.clone(), range.start + part.start..range.start + part.end),
        }
    }

    /// Appends a copy of a part of it to `to`.
    pub fn append_to(&self, part: Range<usize>, to: &mut Vec<u8>) {
        match self {
            Self::Shared(bytes, range) => {
                to.extend_from_slice(&bytes[range.start + part.start..range.start + part.end])
            }
            Self::Frame(frame, range) => {
                let end = to.len();
                to.resize(end + part.len(), 0);
                frame.read(range.start + part.start, &mut to[end..]);
            }
        }
    }

    /// Copies it to `to`, which is as long.
    pub fn copy_to(&self, to: &mut [u8]) {
        match self {
            Self::Shared(bytes, range) => to.copy_from_slice(&bytes[range.clone()]),
            Self::Frame(frame, range) => frame.read(range.start, to),
        }
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Piece({} bytes)", self.len())
    }
}

/// A transport checksum that the device is to finish: the field holds the sum of the pseudo-header, folded and not inverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Where summing starts, from the front of the head.
    pub start: u16,
    /// Where the checksum goes, from `start`.
    pub offset: u16,
}

/// How the device is to cut a frame into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// What is cut.
    pub kind: SegmentationKind,
    /// Bytes of payload in each segment (the last may have fewer).
    pub segment_len: u16,
}

/// What a device cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentationKind {
    /// TCP in IPv4.
    Tcp4,
    /// TCP in IPv6.
    Tcp6,
}

/// A frame to transmit. Built from the transport header outwards.
#[derive(Debug, Default)]
pub struct TransmitFrame {
    /// With [`HEADROOM`] at first.
    head: Vec<u8>,
    /// Payload that follows the head; nearly always none, and then no memory.
    pub pieces: Box<[Piece]>,
    start: u32,
    /// A checksum that is not finished. Without the device's help the lowest layer finishes it.
    pub checksum: Option<PartialChecksum>,
    /// Only for devices that can cut.
    pub segmentation: Option<Segmentation>,
    /// What is added to the traffic class of the route: bits of [`ecn`].
    pub ecn: u8,
}

/// The two bits of a traffic class that are about congestion (RFC 3168, 5).
pub mod ecn {
    /// Both.
    pub const MASK: u8 = 3;
    /// The network may mark the packet instead of dropping it: ECT(0).
    pub const CAPABLE: u8 = 2;
    /// It has done so.
    pub const CONGESTION_EXPERIENCED: u8 = 3;
}

impl TransmitFrame {
    /// An empty frame, with memory for `capacity` bytes behind the headroom.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let mut head = Vec::with_capacity(HEADROOM + capacity);
        head.extend_from_slice(&[0; HEADROOM]);
        Self::of_parts(head, Box::default(), None, 0)
    }

    /// A frame whose head begins behind the first [`HEADROOM`] bytes of `head`.
    #[must_use]
    #[inline]
    pub fn of_parts(head: Vec<u8>, pieces: Box<[Piece]>, segmentation: Option<Segmentation>, ecn: u8) -> Self {
        debug_assert!(head.len() >= HEADROOM, "room for all headers comes first");
        Self { head, pieces, start: HEADROOM_LEN, checksum: None, segmentation, ecn }
    }

    /// As [`TransmitFrame::new`], for more than headers. `ENOBUFS`: there is no memory.
    pub fn with_room(capacity: usize) -> Result<Self, Errno> {
        let mut head = room::room_for(HEADROOM + capacity)?;
        head.extend_from_slice(&[0; HEADROOM]);
        Ok(Self::of_parts(head, Box::default(), None, 0))
    }

    #[inline]
    fn start(&self) -> usize {
        self.start as usize
    }

    /// The head's bytes: headers, and payload that was copied.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.head.get(self.start()..).unwrap_or_default()
    }

    /// As [`TransmitFrame::head`], to be changed.
    pub fn head_mut(&mut self) -> &mut [u8] {
        let start = self.start();
        self.head.get_mut(start..).unwrap_or_default()
    }

    /// A word of the head, from its front.
    #[inline]
    pub fn word_mut(&mut self, at: usize) -> Option<&mut [u8; 2]> {
        let at = self.start() + at;
        self.head.get_mut(at..)?.first_chunk_mut()
    }

    /// Makes `len` bytes of room in front and answers them, zeroed or not; [`PartialChecksum::start`] moves along.
    ///
    /// # Panics
    /// When the headroom is used up: a bug, as [`HEADROOM`] is the sum of all headers.
    #[inline]
    pub fn push_front(&mut self, len: usize) -> &mut [u8] {
        let start = self.start().checked_sub(len).expect("headers are not longer than the headroom");
        self.start = u32::try_from(start).unwrap_or(0);
        if let Some(checksum) = &mut self.checksum {
            checksum.start += u16::try_from(len).unwrap_or(0);
        }
        &mut self.head[start..start + len]
    }

    /// Takes the first `len` bytes off again.
    pub fn trim_front(&mut self, len: usize) {
        let len = len.min(self.head.len() - self.start());
        self.start += u32::try_from(len).unwrap_or(0);
        if let Some(checksum) = &mut self.checksum {
            checksum.start = checksum.start.saturating_sub(u16::try_from(len).unwrap_or(u16::MAX));
        }
    }

    /// Appends zeroed room to the head and answers it.
    pub fn extend(&mut self, len: usize) -> &mut [u8] {
        let end = self.head.len();
        self.head.resize(end + len, 0);
        &mut self.head[end..]
    }

    /// Appends bytes to the head.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        self.head.extend_from_slice(bytes);
    }

    /// Bytes of the frame.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        let head_len = self.head.len() - self.start();
        if self.pieces.is_empty() { head_len } else { head_len + self.pieces_len() }
    }

    #[inline(never)]
    fn pieces_len(&self) -> usize {
        self.pieces.iter().map(Piece::len).sum()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes in one piece of memory, which is the head's where all of them are there: for what stays on this machine. `ENOBUFS`.
    pub fn into_payload(self) -> Result<Payload, Errno> {
        if self.pieces.iter().all(Piece::is_empty) {
            let (start, end) = (self.start(), self.head.len());
            return Ok(Payload::new(self.head.into_boxed_slice(), start..end));
        }
        self.to_vec().map(Payload::from)
    }

    /// Moves all payload to the head: for devices that take fewer pieces. `ENOBUFS`: it is as it was.
    pub fn linearize(&mut self) -> Result<(), Errno> {
        let len = self.pieces_len();
        self.head.try_reserve_exact(len).map_err(|_| Errno::ENOBUFS)?;
        for piece in core::mem::take(&mut self.pieces) {
            piece.append_to(0..piece.len(), &mut self.head);
        }
        Ok(())
    }

    /// All bytes in one piece of memory: for tests, loopback and captures. `ENOBUFS`.
    pub fn to_vec(&self) -> Result<Vec<u8>, Errno> {
        let mut bytes = room::room_for(self.len())?;
        bytes.extend_from_slice(self.head());
        for piece in &self.pieces {
            let at = bytes.len();
            bytes.resize(at + piece.len(), 0);
            piece.copy_to(&mut bytes[at..]);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use testkit as _;

    use super::*;

    #[test]
    fn a_received_frame_loses_headers_and_padding() {
        let mut frame = ReceivedFrame::new(Payload::new(alloc::vec![1, 2, 3, 4, 5, 6].into_boxed_slice(), 1..6));
        frame.push(Payload::from(alloc::vec![7, 8, 9]));
        frame.trim_front(2);
        assert_eq!((frame.head(), frame.len()), (&[4, 5, 6][..], 6));
        frame.truncate(4);
        assert_eq!(frame.pieces().collect::<Vec<_>>(), [&[4, 5, 6][..], &[7]]);
        frame.truncate(3);
        assert_eq!(frame.into_pieces().map(|piece| piece.len()).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_range_outside_of_its_buffer_is_cut() {
        let payload = Payload::new(alloc::vec![1, 2].into_boxed_slice(), 5..9);
        assert!(payload.is_empty());
        let mut payload = Payload::new(alloc::vec![1, 2, 3].into_boxed_slice(), 0..1);
        assert_eq!((payload.append(&[8, 9, 10]), payload.bytes()), (2, &[1, 8, 9][..]));
        assert_eq!((payload.trim_front(7), payload.len()), (3, 0));
    }

    #[test]
    fn headers_are_put_in_front_and_the_checksum_moves_along() {
        let mut frame = TransmitFrame::new(16);
        frame.append(b"tcp");
        frame.checksum = Some(PartialChecksum { start: 0, offset: 2 });
        frame.push_front(2).copy_from_slice(b"ip");
        frame.pieces = Box::new([Piece::Shared(Arc::new(b"payload".to_vec()), 0..3)]);
        assert_eq!(frame.checksum, Some(PartialChecksum { start: 2, offset: 2 }));
        assert_eq!((frame.to_vec(), frame.len()), (Ok(b"iptcppay".to_vec()), 8));
        let mut whole = TransmitFrame::new(3);
        whole.append(b"udp");
        assert_eq!(whole.into_payload().unwrap().bytes(), b"udp");
        frame.trim_front(2);
        assert_eq!((frame.head(), frame.checksum.map(|checksum| checksum.start)), (&b"tcp"[..], Some(0)));
    }

    #[test]
    fn pieces_move_to_the_head() {
        let mut frame = TransmitFrame::new(8);
        frame.append(b"head");
        let piece = |bytes: &[u8], range| Piece::Shared(Arc::new(bytes.to_vec()), range);
        frame.pieces = Box::new([piece(b"one, two", 0..3), piece(b"xyz", 1..3)]);
        frame.linearize().unwrap();
        assert_eq!((frame.head(), frame.pieces.len()), (&b"headoneyz"[..], 0));
    }
}
