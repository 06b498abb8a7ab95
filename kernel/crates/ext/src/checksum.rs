//! The checksums: CRC-32C for metadata (`metadata_csum`), CRC-16 for group descriptors (`uninit_bg`).
//!
//! Both are continued from a value and end without a final complement, unlike their common forms: the kernel's `crc32c(seed, ..)`
//! and `crc16(seed, ..)`. Most seeds are made of the file system's identity, so that a block that went astray from another file
//! system, or from another file, does not pass.

use crc::{Algorithm, CRC_16_ARC, CRC_32_ISCSI, Crc};

const CRC32C: Algorithm<u32> = Algorithm { init: 0, xorout: 0, ..CRC_32_ISCSI };
/// Byte by byte, and small: nearly all processors have the instruction.
static CRC32C_TABLE: Crc<u32> = Crc::<u32>::new(&CRC32C);
static CRC16_TABLE: Crc<u16> = Crc::<u16>::new(&CRC_16_ARC);

/// What a checksum that continues nothing begins with.
pub const CRC32C_START: u32 = u32::MAX;

/// CRC-32C of `bytes`, continued from `seed`.
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    sync::machine::crc32c(seed, bytes).unwrap_or_else(|| crc32c_by_table(seed, bytes))
}

/// The same for processors that have no instruction for it.
fn crc32c_by_table(seed: u32, bytes: &[u8]) -> u32 {
    let mut digest = CRC32C_TABLE.digest_with_initial(seed.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// What the checksum of bytes becomes when `difference`, which is followed by `behind` bytes, is added to them by
/// exclusive or. None where that is not found quickly.
///
/// A checksum is linear: that of a sum is the sum of both, and zeroes before a message that starts from zero do not
/// count. Each zero behind it multiplies the checksum by x⁸ modulo the polynomial. (W. Peterson, D. Brown, "Cyclic
/// Codes for Error Detection", 1961.)
pub(crate) fn crc32c_patch(sum: u32, difference: &[u8], behind: usize) -> Option<u32> {
    let (low, high) = (ZEROES.0.get(behind % STEP)?, ZEROES.1.get(behind / STEP)?);
    Some(sum ^ multiply(multiply(*low, *high), crc32c(0, difference)))
}

/// The most zeroes of which the product is in the first table.
const STEP: usize = 64;
/// What 0 to 63 zeroes multiply by, and what 0 to 63 times 64 of them do.
static ZEROES: ([u32; STEP], [u32; STEP]) = (powers(ONE >> 8), powers(power_of_step()));
/// The polynomial 1: the highest power is in the lowest bit.
const ONE: u32 = 1 << 31;
/// CRC-32C's polynomial in that order, without its highest power.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const fn power_of_step() -> u32 {
    let before = powers(ONE >> 8)[STEP - 1];
    multiply(before, ONE >> 8)
}

const fn powers(factor: u32) -> [u32; STEP] {
    let mut powers = [ONE; STEP];
    let mut at = 1;
    while at < STEP {
        powers[at] = multiply(powers[at - 1], factor);
        at += 1;
    }
    powers
}

/// The product of two polynomials modulo the polynomial.
const fn multiply(one: u32, other: u32) -> u32 {
    let (mut left, mut shifted, mut product) = (one, other, 0);
    while left != 0 {
        if left & ONE != 0 {
            product ^= shifted;
        }
        left <<= 1;
        shifted = shifted >> 1 ^ if shifted & 1 != 0 { POLYNOMIAL } else { 0 };
    }
    product
}

/// CRC-16 of `bytes`, continued from `seed`.
pub fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    let mut digest = CRC16_TABLE.digest_with_initial(seed.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// The seed of everything that belongs to one inode: of its record, the blocks of its directory, its extents.
pub fn inode_seed(file_system_seed: u32, inode: u32, generation: u32) -> u32 {
    crc32c(crc32c(file_system_seed, &inode.to_le_bytes()), &generation.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(!crc32c(CRC32C_START, b"123456789"), 0xe306_9283);
        assert_eq!(crc16(0, b"123456789"), 0xbb3d);
        assert_eq!(crc16(u16::MAX, b"123456789"), 0x4b37);
    }

    #[test]
    fn tables_and_processors_agree() {
        let mut bytes = [0; 100];
        testkit::Random::new(1).fill(&mut bytes);
        for len in 0..bytes.len() {
            let part = &bytes[len / 2..len];
            assert_eq!(crc32c(7, part), crc32c_by_table(7, part));
        }
    }

    #[test]
    fn a_checksum_can_be_patched() {
        let mut random = testkit::Random::new(2);
        let mut bytes = [0; 4096];
        random.fill(&mut bytes);
        for _ in 0..100 {
            let before = crc32c(7, &bytes);
            let first = random.below(4096);
            let len = 1 + random.below(20.min(4096 - first));
            let mut difference = vec![0; len];
            random.fill(&mut difference);
            for (byte, change) in bytes[first..].iter_mut().zip(&difference) {
                *byte ^= change;
            }
            assert_eq!(crc32c_patch(before, &difference, 4096 - first - len), Some(crc32c(7, &bytes)));
        }
        assert_eq!(crc32c_patch(0, &[1], 4096), None);
    }

    #[test]
    fn a_checksum_can_be_continued() {
        let whole = crc32c(7, b"123456789");
        assert_eq!(crc32c(crc32c(7, b"1234"), b"56789"), whole);
        assert_eq!(crc16(crc16(7, b"1234"), b"56789"), crc16(7, b"123456789"));
    }
}
