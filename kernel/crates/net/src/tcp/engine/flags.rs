//! [`SegmentFlags`].
#![expect(missing_docs, reason = "the flags are named as in RFC 9293")]

bitflags::bitflags! {
    /// The control bits of a segment, as in its header.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct SegmentFlags: u8 {
        const FIN = 0x01;
        const SYN = 0x02;
        const RST = 0x04;
        const PSH = 0x08;
        const ACK = 0x10;
        const URG = 0x20;
        const ECE = 0x40;
        const CWR = 0x80;
    }
}
