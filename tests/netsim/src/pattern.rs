//! [`Pattern`]: bytes that depend on their place, so that lost, doubled and exchanged ones are seen.

use testkit::Random;

/// Bytes of one block, which are random numbers of its own.
const BLOCK_LEN: usize = 64;

/// An endless row of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Pattern(u64);

impl Pattern {
    /// The bytes of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The bytes from `place` on.
    pub fn fill(self, place: u64, to: &mut [u8]) {
        let (mut place, mut to) = (place, to);
        while !to.is_empty() {
            let mut block = [0; BLOCK_LEN];
            let len = BLOCK_LEN as u64;
            Random::new(self.0 ^ (place / len).wrapping_mul(0xd1b5_4a32_d192_ed03)).fill(&mut block);
            let from = &block[usize::try_from(place % len).unwrap_or(0)..];
            let len = from.len().min(to.len());
            let (now, later) = to.split_at_mut(len);
            now.copy_from_slice(&from[..len]);
            place += len as u64;
            to = later;
        }
    }

    /// Where `bytes`, which are those from `place` on, begin to be wrong; none if all are right.
    #[must_use]
    pub fn find_difference(self, place: u64, bytes: &[u8]) -> Option<u64> {
        let mut expected = vec![0; bytes.len()];
        self.fill(place, &mut expected);
        let different = bytes.iter().zip(&expected).position(|(byte, expected)| byte != expected)?;
        Some(place + different as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_parts_of_the_whole() {
        let pattern = Pattern::new(3);
        let mut whole = vec![0; 1000];
        pattern.fill(0, &mut whole);
        for (place, len) in [(0, 1), (1, 63), (63, 2), (64, 64), (100, 900), (999, 1)] {
            assert_eq!(pattern.find_difference(place as u64, &whole[place..][..len]), None);
        }
        whole[500] ^= 1;
        assert_eq!(pattern.find_difference(400, &whole[400..]), Some(500));
    }
}
