//! [`Sum`]: the Internet checksum (RFC 1071), over pieces of any length.
//!
//! One's complement sums do not depend on the order of bytes, so words of eight bytes are summed as the machine has them, without
//! looking at carries until the end, and the result is turned round once.

use core::net::IpAddr;

use crate::TransmitFrame;
use crate::frame::Piece;

/// The one's complement sum of 16-bit words in network order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// The sum of little-endian words, with room above for more carries than there can be.
    words: u64,
    /// An odd number of bytes was added: the next one is the second of its word.
    is_odd: bool,
}

impl Sum {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: 0, is_odd: false }
    }

    /// The sum of the pseudo-header of a transport protocol with so many bytes of header and payload.
    #[must_use]
    pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> Self {
        let mut sum = Self::new();
        for address in [source, destination] {
            match address {
                IpAddr::V4(address) => sum.add(&address.octets()),
                IpAddr::V6(address) => sum.add(&address.octets()),
            }
        }
        sum.add_word(u16::from(protocol));
        sum.add_len(len);
        sum
    }

    /// Appends bytes.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        let sum = fold(sum_little_endian(bytes));
        // A piece that begins inside of a word counts with its bytes swapped.
        let sum = if self.is_odd { sum.swap_bytes() } else { sum };
        self.words += u64::from(sum);
        self.is_odd ^= !bytes.len().is_multiple_of(2);
    }

    /// Adds a word, as if it stood at an even place.
    #[inline]
    pub fn add_word(&mut self, word: u16) {
        self.words += u64::from(word.swap_bytes());
    }

    /// Adds a length of up to 32 bits.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    pub fn add_len(&mut self, len: usize) {
        self.add_word(len as u16);
        self.add_word((len >> 16) as u16);
    }

    /// The sum, not inverted: what the field of an unfinished checksum holds.
    #[must_use]
    #[inline]
    pub fn folded(self) -> u16 {
        fold(u128::from(self.words)).swap_bytes()
    }

    /// The checksum. Over data that contains a right one, 0.
    #[must_use]
    #[inline]
    pub fn finish(self) -> u16 {
        !self.folded()
    }
}

/// A [`Sum`] to which few words come: what frames of one destination have in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShortSum(u32);

impl ShortSum {
    /// Adds a word.
    #[must_use]
    #[inline]
    pub fn with_word(self, word: u16) -> Self {
        Self(self.0 + u32::from(word.swap_bytes()))
    }

    /// As [`Sum::folded`].
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "each step keeps all bits of the sum")]
    pub fn folded(self) -> u16 {
        let sum = (self.0 >> 16) + (self.0 & 0xffff);
        ((sum >> 16) as u16 + sum as u16).swap_bytes()
    }

    /// As [`Sum::finish`].
    #[must_use]
    #[inline]
    pub fn finish(self) -> u16 {
        !self.folded()
    }
}

impl From<Sum> for ShortSum {
    fn from(sum: Sum) -> Self {
        Self(fold(u128::from(sum.words)).into())
    }
}

/// The sum of 64-bit words, with room above for every carry.
#[inline]
fn sum_little_endian(bytes: &[u8]) -> u128 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum: u128 = 0;
    for word in words {
        sum += u128::from(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    sum + u128::from(u64::from_le_bytes(last))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "each step keeps all bits of the sum")]
fn fold(sum: u128) -> u16 {
    // The carries above 64 bits are few: this cannot overflow for slices that fit into memory.
    let sum = (sum as u64 >> 32) + u64::from(sum as u32) + (sum >> 64) as u64;
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

/// The checksum of bytes in one piece.
#[must_use]
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = Sum::new();
    sum.add(bytes);
    sum.finish()
}

/// Finishes the checksum of a frame in software, if it is not finished. A result of 0 is written as its other form, which UDP needs and
/// nobody minds.
pub fn finish(frame: &mut TransmitFrame) {
    const PART_LEN: usize = 512;
    let Some(partial) = frame.checksum.take() else { return };
    let start = usize::from(partial.start);
    let mut sum = Sum::new();
    sum.add(frame.head().get(start..).unwrap_or_default());
    for piece in &frame.pieces {
        match piece {
            Piece::Shared(bytes, range) => sum.add(bytes.get(range.clone()).unwrap_or_default()),
            Piece::Frame(page, range) => {
                let mut at = range.start;
                while at < range.end {
                    let mut part = [0; PART_LEN];
                    let part = &mut part[..PART_LEN.min(range.end - at)];
                    page.read(at, part);
                    sum.add(part);
                    at += part.len();
                }
            }
        }
    }
    let value = match sum.finish() {
        0 => 0xffff,
        value => value,
    };
    let at = start + usize::from(partial.offset);
    if let Some(field) = frame.head_mut().get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    use testkit::Random;

    use super::*;

    #[test]
    fn a_short_sum_is_the_same() {
        for words in [[0xffff; 4], [1, 0xfffe, 0, 20], [0; 4], [0xffff, 0xffff, 2, 1]] {
            let mut sum = Sum::new();
            sum.add(&[0xff; 7]);
            let mut short = ShortSum::from(sum);
            for word in words {
                sum.add_word(word);
                short = short.with_word(word);
            }
            assert_eq!((short.folded(), short.finish()), (sum.folded(), sum.finish()));
        }
        assert_eq!((ShortSum::default().folded(), ShortSum::default().finish()), (0, 0xffff));
    }
    use crate::frame::PartialChecksum;

    fn plain(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(!checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn pieces_of_any_length_sum_as_the_whole() {
        let mut random = Random::new(5);
        for len in 0..200 {
            let bytes: Vec<u8> = (0..len)
                .map(|_| if random.below(3) == 0 { 0xff } else { random.next_u64().to_le_bytes()[0] })
                .collect();
            assert_eq!(checksum(&bytes), plain(&bytes), "{len}");
            let mut sum = Sum::new();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(1 + random.below(rest.len()));
                sum.add(now);
                rest = later;
            }
            assert_eq!(sum.finish(), plain(&bytes));
        }
        assert_eq!(checksum(&[0xff; 60_001]), plain(&[0xff; 60_001]));
    }

    #[test]
    fn a_frame_is_finished_over_head_and_pieces() {
        let (source, destination) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut frame = TransmitFrame::new(16);
        frame.append(&[1, 2, 3, 4, 0, 13, 0, 0, 9]);
        frame.pieces = alloc::boxed::Box::new([Piece::Shared(Arc::new(alloc::vec![7; 9]), 1..5)]);
        let sum = Sum::pseudo_header(source, destination, 17, frame.len());
        frame.head_mut()[6..8].copy_from_slice(&sum.folded().to_be_bytes());
        frame.checksum = Some(PartialChecksum { start: 0, offset: 6 });
        finish(&mut frame);
        let mut sum = Sum::pseudo_header(source, destination, 17, frame.len());
        sum.add(&frame.to_vec().unwrap());
        assert_eq!((sum.finish(), frame.checksum), (0, None));
    }
}
