//! The checksums: CRC-32C for metadata (`metadata_csum`), CRC-16 for group descriptors (`uninit_bg`).
//!
//! Both are continued from a value and end without a final complement, unlike their common forms: the kernel's `crc32c(seed, ..)`
//! and `crc16(seed, ..)`. Most seeds are made of the file system's identity, so that a block that went astray from another file
//! system, or from another file, does not pass.

use crc::{Algorithm, CRC_16_ARC, CRC_32_ISCSI, Crc, Table};

const CRC32C: Algorithm<u32> = Algorithm { init: 0, xorout: 0, ..CRC_32_ISCSI };
/// Sixteen bytes a step: a new name or block costs the checksums of several whole blocks.
static CRC32C_TABLE: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC32C);
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
    fn a_checksum_can_be_continued() {
        let whole = crc32c(7, b"123456789");
        assert_eq!(crc32c(crc32c(7, b"1234"), b"56789"), whole);
        assert_eq!(crc16(crc16(7, b"1234"), b"56789"), crc16(7, b"123456789"));
    }
}
