//! What a virtio 9P device says (Virtual I/O Device specification 1.3, 5.21): features, and the tag that the host gave it.

bitflags::bitflags! {
    /// What the device offers and the driver takes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u64 {
        /// It has a tag.
        const TAG = 1 << 0;
        /// The descriptors of a request may lie in a table of their own.
        const INDIRECT = 1 << 28;
        /// Both sides say which entry they want to hear of.
        const EVENT_INDEX = 1 << 29;
        /// It follows version 1 of the specification.
        const VERSION_1 = 1 << 32;
    }
}

/// More of a tag is not read.
pub const TAG_LEN_MAX: usize = 255;

/// Offsets in the configuration.
pub mod config {
    /// Two bytes.
    pub const TAG_LEN: usize = 0;
    /// So many bytes, without a zero behind them.
    pub const TAG: usize = 2;
}
