//! The generator: a key, erased by every use.
//!
//! 1. Fast key erasure (D. J. Bernstein, "Fast-key-erasure random-number generators", 2017): a request runs ChaCha20
//!    from the key; the first 32 bytes of the stream become the next key at once, only what follows is handed out. Whoever
//!    learns the key later learns nothing about bytes handed out before.
//! 2. Mixing: a seed is absorbed in pieces of 32 bytes. Each piece is XORed into the key, which a block then replaces, so
//!    that a piece known to an attacker takes nothing from what was mixed in before, and no two pieces cancel out.
//! 3. A request of more than [`REQUEST_LEN_BYTES_MAX`] bytes is served in parts, each with its own key.
//! 4. Small requests, ports and identifiers, are served from a [`Pool`] of bytes made at once: a block for four of them
//!    would cost a thousand instructions. Bytes are erased as they are handed out, and the pool by every seed that is
//!    mixed in, so what is said in 1 and 2 holds: who sees the state later learns only what has not been handed out
//!    yet.
//!
//! The caller serialises access; there is no lock here.

use crate::chacha20::{BLOCK_LEN_BYTES, KEY_LEN_BYTES, NONCE_LEN_BYTES, block};

/// Bytes of seed after which the generator counts as seeded.
pub const SEED_LEN_BYTES: usize = KEY_LEN_BYTES;
/// Bytes that are handed out from one key, far below the 256 GiB of its counter.
const REQUEST_LEN_BYTES_MAX: usize = 1 << 20;

/// Requests up to this are served from the pool.
const SMALL_LEN_BYTES_MAX: usize = 32;
/// Four blocks, less the key that is replaced.
const POOL_LEN_BYTES: usize = 4 * BLOCK_LEN_BYTES - KEY_LEN_BYTES;

/// Streams that never meet: one for bytes, one for mixing.
const NONCE_OUTPUT: [u8; NONCE_LEN_BYTES] = [0; NONCE_LEN_BYTES];
const NONCE_MIX: [u8; NONCE_LEN_BYTES] = [1; NONCE_LEN_BYTES];

/// The state of the generator.
pub struct Generator {
    key: [u8; KEY_LEN_BYTES],
    pool: Pool,
    seeded_bytes: usize,
}

/// Bytes for small requests. Those before `taken` are zero.
struct Pool {
    bytes: [u8; POOL_LEN_BYTES],
    taken: usize,
}

impl Pool {
    const EMPTY: Self = Self { bytes: [0; POOL_LEN_BYTES], taken: POOL_LEN_BYTES };

    /// Moves bytes to `out`, if there are as many.
    fn take(&mut self, out: &mut [u8]) -> bool {
        let Some(rest) = self.bytes.get_mut(self.taken..self.taken + out.len()) else { return false };
        out.copy_from_slice(rest);
        rest.fill(0);
        self.taken += out.len();
        true
    }
}

impl Default for Generator {
    fn default() -> Self {
        Self::new()
    }
}

impl Generator {
    /// A generator that knows nothing random yet.
    pub const fn new() -> Self {
        Self { key: [0; KEY_LEN_BYTES], pool: Pool::EMPTY, seeded_bytes: 0 }
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
        self.pool = Pool::EMPTY;
        self.seeded_bytes = self.seeded_bytes.saturating_add(credit_bytes.min(seed.len()));
    }

    /// Whether enough random bytes were mixed in.
    pub fn is_seeded(&self) -> bool {
        self.seeded_bytes >= SEED_LEN_BYTES
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        if out.len() <= SMALL_LEN_BYTES_MAX {
            return self.fill_small(out);
        }
        for part in out.chunks_mut(REQUEST_LEN_BYTES_MAX) {
            self.fill_part(part);
        }
    }

    fn fill_small(&mut self, out: &mut [u8]) {
        if self.pool.take(out) {
            return;
        }
        // What is left is dropped: a request is not split over two keys.
        self.pool = Pool::EMPTY;
        let mut bytes = [0; POOL_LEN_BYTES];
        self.fill_part(&mut bytes);
        self.pool = Pool { bytes, taken: 0 };
        let _has_room = self.pool.take(out);
    }

    fn fill_part(&mut self, out: &mut [u8]) {
        let key = self.key;
        let first = block(&key, 0, &NONCE_OUTPUT);
        self.replace_key(&first);
        let (head, tail) = out.split_at_mut(out.len().min(BLOCK_LEN_BYTES - KEY_LEN_BYTES));
        copy_start(head, first.split_at(KEY_LEN_BYTES).1);
        for (part, counter) in tail.chunks_mut(BLOCK_LEN_BYTES).zip(1u32..) {
            copy_start(part, &block(&key, counter, &NONCE_OUTPUT));
        }
    }

    fn replace_key(&mut self, stream: &[u8; BLOCK_LEN_BYTES]) {
        copy_start(&mut self.key, stream);
    }
}

/// Fills `out` from the start of a stream that is at least as long.
fn copy_start(out: &mut [u8], stream: &[u8]) {
    if let Some(start) = stream.get(..out.len()) {
        out.copy_from_slice(start);
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
    fn small_requests_never_meet_and_leave_nothing_behind() {
        let mut generator = seeded(&[9; 32]);
        let mut seen = std::collections::BTreeSet::new();
        for len in (8..=SMALL_LEN_BYTES_MAX).cycle().take(1_000) {
            let out = bytes(&mut generator, len);
            assert!(!generator.pool.bytes.windows(8).any(|window| window == &out[..8]));
            assert!(seen.insert(out[..8].to_vec()));
        }
    }

    #[test]
    fn a_seed_replaces_what_was_made_before_it() {
        let (mut with, mut without) = (seeded(b"seed"), seeded(b"seed"));
        assert_eq!(bytes(&mut with, 8), bytes(&mut without, 8));
        with.mix(&[1], 0);
        assert_ne!(bytes(&mut with, 8), bytes(&mut without, 8));
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
