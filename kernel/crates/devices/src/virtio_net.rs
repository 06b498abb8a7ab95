//! What a virtio network device says and is told (Virtual I/O Device specification 1.2, 5.1): features, the header of each
//! frame, how frames lie in several buffers, and the one command that is given.

bitflags::bitflags! {
    /// What the device offers and the driver takes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u64 {
        /// It finishes checksums of what is sent.
        const CHECKSUM = 1 << 0;
        /// It may give frames whose checksum is not finished, and says which are right.
        const GUEST_CHECKSUM = 1 << 1;
        /// It tells the largest packet.
        const MTU = 1 << 3;
        /// It has an address.
        const MAC = 1 << 5;
        /// It may give TCP segments over IPv4 that it joined.
        const GUEST_TSO4 = 1 << 7;
        /// The same over IPv6.
        const GUEST_TSO6 = 1 << 8;
        /// It cuts TCP over IPv4.
        const HOST_TSO4 = 1 << 11;
        /// It cuts TCP over IPv6.
        const HOST_TSO6 = 1 << 12;
        /// A frame may take several buffers.
        const MERGEABLE_BUFFERS = 1 << 15;
        /// It says whether the link is up.
        const STATUS = 1 << 16;
        /// It takes commands.
        const CONTROL_QUEUE = 1 << 17;
        /// It has several pairs of queues.
        const MULTIQUEUE = 1 << 22;
        /// Both sides say which entry they want to hear of.
        const EVENT_INDEX = 1 << 29;
        /// It follows version 1 of the specification.
        const VERSION_1 = 1 << 32;
    }
}

impl Features {
    /// What a driver takes of what there is: features without those that they need are left out (5.1.3.1).
    #[must_use]
    pub fn usable(self) -> Self {
        let mut taken = self;
        if !taken.contains(Self::CHECKSUM) {
            taken -= Self::HOST_TSO4 | Self::HOST_TSO6;
        }
        // Without mergeable buffers every buffer would have to be as long as the longest frame.
        if !taken.contains(Self::GUEST_CHECKSUM | Self::MERGEABLE_BUFFERS) {
            taken -= Self::GUEST_TSO4 | Self::GUEST_TSO6;
        }
        if !taken.contains(Self::CONTROL_QUEUE) {
            taken -= Self::MULTIQUEUE;
        }
        taken
    }
}

/// Offsets in the configuration (5.1.4).
pub mod config {
    /// Six bytes.
    pub const MAC: usize = 0;
    /// Two bytes; [`LINK_IS_UP`].
    pub const STATUS: usize = 6;
    /// Two bytes.
    pub const QUEUE_PAIRS_MAX: usize = 8;
    /// Two bytes.
    pub const MTU: usize = 10;
    /// The bit of the status.
    pub const LINK_IS_UP: u16 = 1;
}

/// The command that says how many pairs of queues are used (5.1.6.5.5): class and command, then two bytes.
pub const COMMAND_QUEUE_PAIRS: [u8; 2] = [4, 0];
/// What the device answers to a command that it has done.
pub const COMMAND_IS_DONE: u8 = 0;

/// The numbers of the queues of a pair: receiving, sending.
#[must_use]
pub fn queues_of_pair(pair: u16) -> Option<(u16, u16)> {
    let receive = pair.checked_mul(2)?;
    Some((receive, receive.checked_add(1)?))
}

/// Bytes of the header in front of each frame (5.1.6).
pub const HEADER_LEN: usize = 12;
/// Buffers that a frame may take: 64 KiB and headers in pages, and some that the device did not fill.
pub const BUFFERS_OF_FRAME_MAX: u16 = 20;

const FLAG_NEEDS_CHECKSUM: u8 = 1;
const FLAG_DATA_IS_VALID: u8 = 2;
const SEGMENTS_NONE: u8 = 0;
const SEGMENTS_TCP4: u8 = 1;
const SEGMENTS_TCP6: u8 = 4;

/// The header of a frame that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveHeader {
    /// The device vouches for the transport checksum; it may be unfinished in the frame.
    pub is_checksum_verified: bool,
    /// Payload of each of the segments that were joined; 0 for a frame that is one.
    pub segment_len: u16,
    /// Buffers that the frame takes.
    pub buffers: u16,
}

impl ReceiveHeader {
    /// Reads the header at the front of a buffer; `None` if that is too short.
    #[must_use]
    pub fn parse(bytes: &[u8], is_mergeable: bool) -> Option<Self> {
        let [flags, segments, _, _, segment_low, segment_high, _, _, _, _, buffers_low, buffers_high] =
            *bytes.first_chunk::<HEADER_LEN>()?;
        let segment_len = u16::from_le_bytes([segment_low, segment_high]);
        let buffers = u16::from_le_bytes([buffers_low, buffers_high]);
        Some(Self {
            is_checksum_verified: flags & (FLAG_NEEDS_CHECKSUM | FLAG_DATA_IS_VALID) != 0,
            segment_len: if segments == SEGMENTS_NONE { 0 } else { segment_len },
            buffers: if is_mergeable { buffers } else { 1 },
        })
    }
}

/// What the device is to do to a frame before it sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TransmitHeader {
    /// Where summing starts, from the front of the frame, and where the sum goes, from there.
    pub checksum: Option<(u16, u16)>,
    /// Whether it is IPv6 that is cut, the length of all headers, and the payload of each segment.
    pub segmentation: Option<(bool, u16, u16)>,
}

impl TransmitHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let (start, offset) = self.checksum.unwrap_or_default();
        let (is_v6, header_len, segment_len) = self.segmentation.unwrap_or_default();
        let segments = match (self.segmentation.is_some(), is_v6) {
            (false, _) => SEGMENTS_NONE,
            (true, false) => SEGMENTS_TCP4,
            (true, true) => SEGMENTS_TCP6,
        };
        let flags = if self.checksum.is_some() { FLAG_NEEDS_CHECKSUM } else { 0 };
        let ([a, b], [c, d]) = (header_len.to_le_bytes(), segment_len.to_le_bytes());
        let ([e, f], [g, h]) = (start.to_le_bytes(), offset.to_le_bytes());
        [flags, segments, a, b, c, d, e, f, g, h, 0, 0]
    }
}

/// What a buffer is to the frame that is being put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It begins a frame, and is all of it if `is_last`.
    First {
        /// Its header.
        header: ReceiveHeader,
        /// There are no more.
        is_last: bool,
    },
    /// It goes on.
    Further {
        /// There are no more.
        is_last: bool,
    },
    /// It is of no use; a frame that was begun is of none either.
    Waste,
}

/// Which buffers belong together. What cannot be a frame is dropped whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Assembly {
    /// Buffers to come.
    left: u16,
    is_wasted: bool,
}

impl Assembly {
    /// Takes the bytes that the device wrote to the next buffer.
    pub fn next(&mut self, written: &[u8], is_mergeable: bool) -> Part {
        if self.left > 0 {
            self.left -= 1;
            let is_last = self.left == 0;
            return if self.is_wasted || written.is_empty() {
                self.is_wasted = true;
                Part::Waste
            } else {
                Part::Further { is_last }
            };
        }
        self.is_wasted = false;
        let Some(header) = ReceiveHeader::parse(written, is_mergeable) else { return Part::Waste };
        if header.buffers == 0 || written.len() == HEADER_LEN {
            return Part::Waste;
        }
        self.left = header.buffers - 1;
        if header.buffers > BUFFERS_OF_FRAME_MAX {
            self.is_wasted = true;
            return Part::Waste;
        }
        Part::First { header, is_last: self.left == 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_need_others() {
        let all = Features::all();
        assert_eq!(all.usable(), all);
        let plain = all - Features::CHECKSUM - Features::CONTROL_QUEUE - Features::MERGEABLE_BUFFERS;
        let left = plain.usable();
        let gone = Features::HOST_TSO4
            | Features::HOST_TSO6
            | Features::MULTIQUEUE
            | Features::GUEST_TSO4
            | Features::GUEST_TSO6;
        assert_eq!(left, plain - gone);
    }

    #[test]
    fn the_header_of_a_frame_to_send() {
        let header = TransmitHeader { checksum: Some((34, 16)), segmentation: Some((false, 54, 1460)) };
        assert_eq!(header.encode(), [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0]);
        let header = TransmitHeader { checksum: Some((54, 16)), segmentation: Some((true, 74, 1440)) };
        assert_eq!(header.encode()[..2], [1, 4]);
        assert_eq!(TransmitHeader::default().encode(), [0; HEADER_LEN]);
    }

    #[test]
    fn the_header_of_a_frame_that_came() {
        let bytes = [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 3, 0, 99];
        let header = ReceiveHeader { is_checksum_verified: true, segment_len: 1460, buffers: 3 };
        assert_eq!(ReceiveHeader::parse(&bytes, true), Some(header));
        assert_eq!(ReceiveHeader::parse(&bytes, false), Some(ReceiveHeader { buffers: 1, ..header }));
        assert_eq!(ReceiveHeader::parse(&bytes[..11], true), None);
        let valid = ReceiveHeader::parse(&[2, 0, 0, 0, 9, 9, 0, 0, 0, 0, 1, 0], true).unwrap();
        assert_eq!((valid.is_checksum_verified, valid.segment_len), (true, 0));
        assert!(!ReceiveHeader::parse(&[0; 12], true).unwrap().is_checksum_verified);
    }

    fn first(buffers: u16) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[10..12].copy_from_slice(&buffers.to_le_bytes());
        bytes
    }

    #[test]
    fn buffers_belong_together() {
        let mut assembly = Assembly::default();
        assert!(matches!(assembly.next(&first(1), true), Part::First { is_last: true, .. }));
        assert!(matches!(assembly.next(&first(3), true), Part::First { is_last: false, .. }));
        assert_eq!(assembly.next(&[7], true), Part::Further { is_last: false });
        assert_eq!(assembly.next(&[7], true), Part::Further { is_last: true });
        assert!(matches!(assembly.next(&first(9), false), Part::First { is_last: true, .. }));
    }

    #[test]
    fn what_is_no_frame_is_dropped_whole() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.next(&first(1)[..12], true), Part::Waste, "a header alone");
        assert_eq!(assembly.next(&first(1)[..5], true), Part::Waste);
        assert_eq!(assembly.next(&first(0), true), Part::Waste);
        let long = BUFFERS_OF_FRAME_MAX + 1;
        assert_eq!(assembly.next(&first(long), true), Part::Waste);
        for _ in 1..long {
            assert_eq!(assembly.next(&first(1), true), Part::Waste, "part of what is too long");
        }
        assert!(matches!(assembly.next(&first(3), true), Part::First { is_last: false, .. }));
        assert_eq!(assembly.next(&[], true), Part::Waste, "an empty buffer");
        assert_eq!(assembly.next(&[7], true), Part::Waste, "and what follows it");
        assert!(matches!(assembly.next(&first(1), true), Part::First { is_last: true, .. }));
    }

    #[test]
    fn queues_are_numbered_in_pairs() {
        assert_eq!(queues_of_pair(3), Some((6, 7)));
        assert_eq!(queues_of_pair(u16::MAX), None);
    }
}
