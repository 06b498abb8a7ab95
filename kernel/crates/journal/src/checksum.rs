//! The two checksums of journals: CRC32C, and the big-endian CRC-32 of the oldest kind.
//!
//! Both are used without the inversions at begin and end that their standards have: a checksum over several pieces is made by
//! giving the sum of one as the seed of the next.

use crc::{Algorithm, CRC_32_ISCSI, CRC_32_MPEG_2, Crc};

const CRC32C: Crc<u32> = Crc::<u32>::new(&Algorithm { init: 0, xorout: 0, ..CRC_32_ISCSI });
const CRC32_BIG_ENDIAN: Crc<u32> = Crc::<u32>::new(&CRC_32_MPEG_2);

/// What a sum begins with, where nothing else is said.
pub(crate) const BEGIN: u32 = !0;

/// The CRC32C of some bytes, behind those that `seed` is the sum of.
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    if let Some(sum) = sync::machine::crc32c(seed, bytes) {
        return sum;
    }
    // The state of this checksum is kept mirrored.
    let mut digest = CRC32C.digest_with_initial(seed.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// The sum of the first kind of checksums, over descriptors and all that they describe.
pub(crate) fn crc32_big_endian(seed: u32, bytes: &[u8]) -> u32 {
    let mut digest = CRC32_BIG_ENDIAN.digest_with_initial(seed);
    digest.update(bytes);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sums() {
        // RFC 3720, B.4; the inversion at the end is not ours.
        assert_eq!(!crc32c(BEGIN, &[0; 32]), 0x8a91_36aa);
        assert_eq!(!crc32c(BEGIN, b"123456789"), 0xe306_9283);
        assert_eq!(crc32_big_endian(BEGIN, b"123456789"), 0x0376_e6e7);
    }

    #[test]
    fn a_sum_goes_on_where_another_ended() {
        for sum in [crc32c, crc32_big_endian] {
            assert_eq!(sum(sum(BEGIN, b"1234"), b"56789"), sum(BEGIN, b"123456789"));
        }
    }
}
