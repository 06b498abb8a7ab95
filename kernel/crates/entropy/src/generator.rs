//! The generator: a key, erased by every use.
//!
//! 1. Fast key erasure (D. J. Bernstein, "Fast-key-erasure random-number generators", 2017): a request runs ChaCha20
//!    from the key; the first 32 bytes of the stream become the next key at once, only what follows is handed out. Whoever
//!    learns the key later learns nothing about bytes handed out before.
//! 2. Mixing: a seed is absorbed in pieces of 32 bytes. Each piece is XORed into the key, which a block then replaces, so
//!    that a piece known to an attacker takes nothing from what was mixed in before, and no two pieces cancel out.
//! 3. A request of more than [`REQUEST_LEN_BYTES_MAX`] bytes is served in parts, each with its own key.
//!
//! The caller serialises access; there is no lock here.

use crate::chacha20::{BLOCK_LEN_BYTES, KEY_LEN_BYTES, NONCE_LEN_BYTES, block};

/// Bytes of seed after which the generator counts as seeded.
pub const SEED_LEN_BYTES: usize = KEY_LEN_BYTES;
/// Bytes that are handed out from one key, far below the 256 GiB of its counter.
const REQUEST_LEN_BYTES_MAX: usize = 1 << 20;

/// Streams that never meet: one for bytes, one for mixing.
const NONCE_OUTPUT: [u8; NONCE_LEN_BYTES] = [0; NONCE_LEN_BYTES];
const NONCE_MIX: [u8; NONCE_LEN_BYTES] = [1; NONCE_LEN_BYTES];

/// The state of the generator.
pub struct Generator {
    key: [u8; KEY_LEN_BYTES],
    seeded_bytes: usize,
}

impl Default for Generator {
    fn default() -> Self {
        Self::new()
    }
}

impl Generator {
    /// A generator that knows nothing random yet.
    pub const fn new() -> Self {
        Self { key: [0; KEY_LEN_BYTES], seeded_bytes: 0 }
    }

    /// Mixes `seed` in. `credit_bytes` of it are believed to be random.
    pub fn mix(&mut self, seed: &[u8], credit_bytes: usize) {
        for piece in seed.chunks(KEY_LEN_BYTES) {
            for (byte, mixed) in self.key.iter_mut().zip(piece) {
                *byte ^= mixed;
            }
            // The length makes a short piece differ from one filled up with zeros.
            let counter = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            self.replace_key(&block(&self.key, counter, &NONCE_MIX));
        }
        self.seeded_bytes = self.seeded_bytes.saturating_add(credit_bytes.min(seed.len()));
    }

    /// Whether enough random bytes were mixed in.
    pub fn is_seeded(&self) -> bool {
        self.seeded_bytes >= SEED_LEN_BYTES
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        for part in out.chunks_mut(REQUEST_LEN_BYTES_MAX) {
            self.fill_part(part);
        }
    }

    fn fill_part(&mut self, out: &mut [u8]) {
        let key = self.key;
        let first = block(&key, 0, &NONCE_OUTPUT);
        self.replace_key(&first);
        let (head, tail) = out.split_at_mut(out.len().min(BLOCK_LEN_BYTES - KEY_LEN_BYTES));
        for (byte, random) in head.iter_mut().zip(first.iter().skip(KEY_LEN_BYTES)) {
            *byte = *random;
        }
        for (part, counter) in tail.chunks_mut(BLOCK_LEN_BYTES).zip(1u32..) {
            let random = block(&key, counter, &NONCE_OUTPUT);
            for (byte, random) in part.iter_mut().zip(random) {
                *byte = random;
            }
        }
    }

    fn replace_key(&mut self, stream: &[u8; BLOCK_LEN_BYTES]) {
        for (byte, next) in self.key.iter_mut().zip(stream) {
            *byte = *next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(generator: &mut Generator, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        generator.fill(&mut out);
        out
    }

    fn seeded(seed: &[u8]) -> Generator {
        let mut generator = Generator::new();
        generator.mix(seed, seed.len());
        generator
    }

    #[test]
    fn is_seeded_by_what_is_believed() {
        let mut generator = Generator::new();
        generator.mix(&[1; 100], 0);
        assert!(!generator.is_seeded());
        generator.mix(&[2; 16], 100);
        assert!(!generator.is_seeded());
        generator.mix(&[3; 16], 16);
        assert!(generator.is_seeded());
    }

    #[test]
    fn the_key_is_erased() {
        let mut generator = seeded(&[7; 32]);
        let before = generator.key;
        let first = bytes(&mut generator, 200);
        assert_ne!(generator.key, before);
        assert!(!first.windows(32).any(|window| window == before || window == generator.key));
        assert_ne!(bytes(&mut generator, 200), first);
    }

    #[test]
    fn equal_seeds_give_equal_bytes_and_others_do_not() {
        assert_eq!(bytes(&mut seeded(b"seed"), 64), bytes(&mut seeded(b"seed"), 64));
        assert_ne!(bytes(&mut seeded(b"seed"), 64), bytes(&mut seeded(b"seed\0"), 64));
        assert_ne!(bytes(&mut seeded(&[5; 64]), 64), bytes(&mut Generator::new(), 64));
    }

    #[test]
    fn every_length_is_filled() {
        let whole = bytes(&mut seeded(b"x"), 300);
        for len in 0..300 {
            assert_eq!(bytes(&mut seeded(b"x"), len), whole[..len]);
        }
        let long = bytes(&mut seeded(b"x"), REQUEST_LEN_BYTES_MAX + 100);
        assert_ne!(long[REQUEST_LEN_BYTES_MAX..], long[..100]);
    }

    #[test]
    fn bits_are_balanced() {
        let ones: u32 = bytes(&mut seeded(b"balance"), 100_000).iter().map(|byte| byte.count_ones()).sum();
        assert!(ones.abs_diff(400_000) < 3_000, "{ones}");
    }
}
