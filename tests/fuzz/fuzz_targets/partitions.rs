//! Arbitrary bytes as a disk with a partition table: what is found lies on the disk, and apart from all others.
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz partitions`.
//!
//! A table of GPT gets the checksums that fit, as nothing gets behind those by chance.
#![no_main]

use block::{Disk, SECTOR_LEN, Volume, partition};
use crc::{CRC_32_ISO_HDLC, Crc};
use libfuzzer_sys::fuzz_target;
use testkit::disk::{FakeDisk, Image};

/// Bytes of a disk.
const LEN_MAX: usize = 128 << 10;
/// Bytes of a header of GPT.
const HEADER_LEN: usize = 92;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Makes the second sector the header of a table with the entries that it says.
fn seal(disk: &mut [u8]) {
    let number = |bytes: &[u8], at: usize| bytes[at..at + 4].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    disk[450] = 0xee;
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let mut header: [u8; HEADER_LEN] = disk[SECTOR_LEN..][..HEADER_LEN].try_into().expect("there are two sectors");
    header[..8].copy_from_slice(b"EFI PART");
    header[12..16].copy_from_slice(&92_u32.to_le_bytes());
    header[24..32].copy_from_slice(&1_u64.to_le_bytes());
    let first = number(&header, 72).saturating_mul(SECTOR_LEN);
    let len = number(&header, 80).saturating_mul(number(&header, 84));
    let entries = disk.get(first..first.saturating_add(len)).unwrap_or_default();
    header[88..92].copy_from_slice(&CRC.checksum(entries).to_le_bytes());
    header[16..20].fill(0);
    let checksum = CRC.checksum(&header);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    disk[SECTOR_LEN..][..HEADER_LEN].copy_from_slice(&header);
}

fuzz_target!(|input: (bool, &[u8])| {
    testkit::frames::install();
    let (is_sealed, bytes) = input;
    let mut bytes = bytes[..bytes.len().min(LEN_MAX)].to_vec();
    if is_sealed && bytes.len() >= 2 * SECTOR_LEN {
        seal(&mut bytes);
    }
    let sectors = (bytes.len() / SECTOR_LEN) as u64;
    let disk = Disk::new("vda".to_owned(), 0xfe00, Box::new(FakeDisk::new(Image::from_bytes(&bytes), sectors)));
    let found = partition::find(&Volume::whole(&disk)).unwrap_or_default();
    for (number, partition) in found.iter().enumerate() {
        let end = partition.first.checked_add(partition.sectors).expect("its end is a sector");
        assert!(partition.sectors > 0 && end <= sectors);
        let is_apart = |other: &&partition::Partition| other.first >= end || other.first + other.sectors <= partition.first;
        assert!(found[..number].iter().all(|other| is_apart(&other)));
    }
});
