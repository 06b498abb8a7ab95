//! Integers and strings of messages: [`Encoder`] writes them, [`Decoder`] reads them. All integers are little-endian; a string is its
//! length in two bytes and its bytes, without a zero.

use alloc::vec::Vec;

use abi::Errno;

/// Bytes in front of every message: its size, its type, its tag.
pub const HEADER_LEN: usize = 7;

/// A message that is being written.
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// A message of this type.
    #[must_use]
    pub fn new(kind: u8) -> Self {
        Self(Vec::from([0, 0, 0, 0, kind, 0, 0]))
    }

    /// Appends one byte.
    #[must_use]
    pub fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    /// Appends two bytes.
    #[must_use]
    pub fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends four bytes.
    #[must_use]
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends eight bytes.
    #[must_use]
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a string; `ENAMETOOLONG` for one whose length does not fit.
    pub fn string(mut self, text: &[u8]) -> Result<Self, Errno> {
        let len = u16::try_from(text.len()).map_err(|_| Errno::ENAMETOOLONG)?;
        self = self.u16(len);
        self.0.extend_from_slice(text);
        Ok(self)
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was written; never, as a message begins with its header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The type of the message.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.0.get(4).copied().unwrap_or(0)
    }

    /// The message, with its tag, and a size that counts `more` bytes behind it.
    pub fn finish(mut self, tag: u16, more: usize) -> Result<Vec<u8>, Errno> {
        let size = self.0.len().checked_add(more).and_then(|size| u32::try_from(size).ok()).ok_or(Errno::EINVAL)?;
        self.0[..4].copy_from_slice(&size.to_le_bytes());
        self.0[5..HEADER_LEN].copy_from_slice(&tag.to_le_bytes());
        Ok(self.0)
    }
}

/// Reads bytes from the other side. Every method answers `None` where they end too early.
#[derive(Clone, Copy, Debug)]
pub struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Reads these.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Takes so many bytes.
    pub fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        self.bytes(LEN)?.try_into().ok()
    }

    /// Takes one byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    /// Takes two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a string.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_the_manual_has_them() {
        let message = Encoder::new(100).u32(8192).string(b"9P2000").unwrap().finish(0xffff, 0).unwrap();
        assert_eq!(message, b"\x13\0\0\0\x64\xff\xff\0\x20\0\0\x06\x009P2000");
        let message = Encoder::new(1).u8(1).u16(2).u64(3).finish(0x0102, 0x100).unwrap();
        assert_eq!(message, [0x12, 1, 0, 0, 1, 2, 1, 1, 2, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert!(Encoder::new(1).string(&[b'x'; 65_536]).is_err());
    }

    #[test]
    fn reading_ends_where_the_bytes_do() {
        let mut decoder = Decoder::new(b"\x01\x02\x00\x03\x00\x00\x00\x02\x00hi\x05\x00abc");
        assert_eq!((decoder.u8(), decoder.u16(), decoder.u32()), (Some(1), Some(2), Some(3)));
        assert_eq!(decoder.string(), Some(&b"hi"[..]));
        assert_eq!(decoder.clone().u64(), None);
        assert_eq!(decoder.string(), None);
    }
}
