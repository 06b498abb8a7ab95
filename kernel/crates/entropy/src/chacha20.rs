//! The ChaCha20 block function (RFC 8439, 2.3).

/// Bytes of a key.
pub const KEY_LEN_BYTES: usize = 32;
/// Bytes of a nonce.
pub const NONCE_LEN_BYTES: usize = 12;
/// Bytes of a block of the key stream.
pub const BLOCK_LEN_BYTES: usize = 64;

const DOUBLE_ROUNDS: usize = 10;
/// "expand 32-byte k".
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// Block `counter` of the key stream.
pub fn block(key: &[u8; KEY_LEN_BYTES], counter: u32, nonce: &[u8; NONCE_LEN_BYTES]) -> [u8; BLOCK_LEN_BYTES] {
    let mut input = [0u32; 16];
    input[..4].copy_from_slice(&CONSTANTS);
    for (slot, word) in input[4..12].iter_mut().zip(key.as_chunks().0) {
        *slot = u32::from_le_bytes(*word);
    }
    input[12] = counter;
    for (slot, word) in input[13..].iter_mut().zip(nonce.as_chunks().0) {
        *slot = u32::from_le_bytes(*word);
    }
    let mut state = input;
    for _ in 0..DOUBLE_ROUNDS {
        double_round(&mut state);
    }
    let mut output = [0; BLOCK_LEN_BYTES];
    for ((out, word), first) in output.as_chunks_mut::<4>().0.iter_mut().zip(&state).zip(&input) {
        *out = word.wrapping_add(*first).to_le_bytes();
    }
    output
}

/// One round on the columns, one on the diagonals.
fn double_round(state: &mut [u32; 16]) {
    quarter_round(state, [0, 4, 8, 12]);
    quarter_round(state, [1, 5, 9, 13]);
    quarter_round(state, [2, 6, 10, 14]);
    quarter_round(state, [3, 7, 11, 15]);
    quarter_round(state, [0, 5, 10, 15]);
    quarter_round(state, [1, 6, 11, 12]);
    quarter_round(state, [2, 7, 8, 13]);
    quarter_round(state, [3, 4, 9, 14]);
}

#[inline(always)]
fn quarter_round(state: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(16);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(12);
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(8);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(7);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, 2.1.1.
    #[test]
    fn quarter_round_of_the_rfc() {
        let mut state = [0; 16];
        (state[0], state[1], state[2], state[3]) = (0x1111_1111, 0x0102_0304, 0x9b8d_6f43, 0x0123_4567);
        quarter_round(&mut state, [0, 1, 2, 3]);
        assert_eq!(state[..4], [0xea2a_92f4, 0xcb1c_f8ce, 0x4581_472e, 0x5881_c4bb]);
    }

    /// RFC 8439, 2.3.2.
    #[test]
    fn block_of_the_rfc() {
        let key: [u8; 32] = core::array::from_fn(|index| u8::try_from(index).unwrap());
        let nonce = [0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0];
        let expected = [
            0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3, 0x20, 0x71, 0xc4, 0xc7, 0xd1,
            0xf4, 0xc7, 0x33, 0xc0, 0x68, 0x03, 0x04, 0x22, 0xaa, 0x9a, 0xc3, 0xd4, 0x6c, 0x4e, 0xd2, 0x82, 0x64, 0x46,
            0x07, 0x9f, 0xaa, 0x09, 0x14, 0xc2, 0xd7, 0x05, 0xd9, 0x8b, 0x02, 0xa2, 0xb5, 0x12, 0x9c, 0xd1, 0xde, 0x16,
            0x4e, 0xb9, 0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e,
        ];
        assert_eq!(block(&key, 1, &nonce), expected);
    }

    /// RFC 8439, A.1, test vectors 1 and 2.
    #[test]
    fn blocks_of_the_zero_key() {
        let first = block(&[0; 32], 0, &[0; 12]);
        assert_eq!(first[..8], [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
        let second = block(&[0; 32], 1, &[0; 12]);
        assert_eq!(second[..8], [0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a]);
    }
}
