//! What a virtio block device says and is told (Virtual I/O Device specification 1.2, 5.2): features, configuration, the header of
//! a request and the status that ends it.

bitflags::bitflags! {
    /// What the device offers and the driver takes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u64 {
        /// It tells the longest segment.
        const SEGMENT_LEN_MAX = 1 << 1;
        /// It tells the most segments of a request.
        const SEGMENTS_MAX = 1 << 2;
        /// It refuses writes.
        const READ_ONLY = 1 << 5;
        /// It tells the size of its blocks.
        const BLOCK_LEN = 1 << 6;
        /// It has a cache, and can empty it.
        const FLUSH = 1 << 9;
        /// It tells how its blocks lie on the medium.
        const TOPOLOGY = 1 << 10;
        /// It has several queues.
        const MULTIQUEUE = 1 << 12;
        /// It can be told that contents are not needed.
        const DISCARD = 1 << 13;
        /// It can write zeroes.
        const WRITE_ZEROES = 1 << 14;
        /// The descriptors of a request may lie in a table of their own.
        const INDIRECT = 1 << 28;
        /// Both sides say which entry they want to hear of.
        const EVENT_INDEX = 1 << 29;
        /// It follows version 1 of the specification.
        const VERSION_1 = 1 << 32;
    }
}

/// Offsets in the configuration (5.2.4).
pub mod config {
    /// Eight bytes: sectors of 512 bytes.
    pub const CAPACITY: usize = 0;
    /// Four bytes.
    pub const SEGMENT_LEN_MAX: usize = 8;
    /// Four bytes.
    pub const SEGMENTS_MAX: usize = 12;
    /// Four bytes.
    pub const BLOCK_LEN: usize = 20;
    /// One byte: log2 of logical blocks in a physical one.
    pub const PHYSICAL_BLOCK_EXPONENT: usize = 24;
    /// Two bytes.
    pub const QUEUES: usize = 34;
    /// Four bytes: the most sectors of a discard.
    pub const DISCARD_SECTORS_MAX: usize = 36;
    /// Four bytes: the most sectors of a writing of zeroes.
    pub const WRITE_ZEROES_SECTORS_MAX: usize = 48;
    /// One byte: whether writing zeroes may take the room away.
    pub const WRITE_ZEROES_MAY_UNMAP: usize = 56;
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RequestKind {
    /// From the device.
    Read = 0,
    /// To the device.
    Write = 1,
    /// Empty the cache.
    Flush = 4,
    /// Twenty bytes that name the device.
    Identify = 8,
    /// One [`range`] is not needed.
    Discard = 11,
    /// One [`range`] becomes zero.
    WriteZeroes = 13,
}

/// Bytes of the header.
pub const HEADER_LEN: usize = 16;
/// Bytes of a range.
pub const RANGE_LEN: usize = 16;
/// Bytes of the answer to [`RequestKind::Identify`].
pub const IDENTITY_LEN: usize = 20;

/// The header in front of a request.
#[must_use]
pub fn header(kind: RequestKind, sector: u64) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..4].copy_from_slice(&(kind as u32).to_le_bytes());
    bytes[8..].copy_from_slice(&sector.to_le_bytes());
    bytes
}

/// The sectors that a discard or a writing of zeroes is about.
#[must_use]
pub fn range(sector: u64, sectors: u32, may_unmap: bool) -> [u8; RANGE_LEN] {
    let mut bytes = [0; RANGE_LEN];
    bytes[..8].copy_from_slice(&sector.to_le_bytes());
    bytes[8..12].copy_from_slice(&sectors.to_le_bytes());
    bytes[12] = u8::from(may_unmap);
    bytes
}

/// A status that no device gives: it has not answered.
pub const NO_STATUS: u8 = 0xff;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is done.
    Done,
    /// The device could not.
    Failed,
    /// The device does not know it.
    NotSupported,
}

impl Status {
    /// What a status byte means; anything unknown is a failure.
    #[must_use]
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Done,
            2 => Self::NotSupported,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_as_the_specification_has_them() {
        let bytes = header(RequestKind::Write, 0x0102_0304_0506_0708);
        assert_eq!(bytes, [1, 0, 0, 0, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]);
        let bytes = range(0x10, 0x0203, true);
        assert_eq!(bytes, [0x10, 0, 0, 0, 0, 0, 0, 0, 3, 2, 0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn only_zero_is_success() {
        assert_eq!(Status::from_byte(0), Status::Done);
        assert_eq!(Status::from_byte(2), Status::NotSupported);
        assert!((3..=u8::MAX).chain([1]).all(|byte| Status::from_byte(byte) == Status::Failed));
    }
}
