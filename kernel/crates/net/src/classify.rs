//! Whose a frame is, from its headers alone.

use crate::FlowKey;

/// Where the headers of a frame are, in bytes from its front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Layout {
    /// The IP header.
    pub network: u16,
    /// The transport header.
    pub transport: u16,
    /// The byte behind the packet; the rest of the frame is padding.
    pub end: u32,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A TCP segment or UDP datagram, whole. Its lengths were checked, its transport checksum was not.
    Flow(FlowKey, Layout),
    /// Something for the control worker: ARP, ICMP, fragments, unknown protocols with their IP header intact.
    Control(Layout),
    /// Nobody's: it is counted and dropped.
    Malformed(Defect),
}

/// Why a frame is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Ends inside of a header.
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
    let _ = (head, len);
    Class::Malformed(Defect::Unknown)
}
