use alloc::vec;

use super::*;

/// A disk that is a vector.
struct Image(Vec<u8>);

impl Sectors for Image {
    fn count(&self) -> u64 {
        (self.0.len() / SECTOR_LEN) as u64
    }

    fn read(&self, sector: u64) -> Result<[u8; SECTOR_LEN], BlockError> {
        let at = usize::try_from(sector).unwrap() * SECTOR_LEN;
        Ok(self.0[at..at + SECTOR_LEN].try_into().unwrap())
    }
}

fn sign(image: &mut [u8], sector: usize) {
    image[sector * SECTOR_LEN + 510..][..2].copy_from_slice(&[0x55, 0xaa]);
}

fn entry(image: &mut [u8], sector: usize, index: usize, kind: u8, first: u32, sectors: u32) {
    let entry = &mut image[sector * SECTOR_LEN + 446 + index * 16..][..16];
    entry[4] = kind;
    entry[8..12].copy_from_slice(&first.to_le_bytes());
    entry[12..16].copy_from_slice(&sectors.to_le_bytes());
    sign(image, sector);
}

fn find_believable(image: Vec<u8>) -> Vec<(u32, u64, u64)> {
    let image = Image(image);
    let found = believable(find_in(&image, 1).unwrap(), image.count(), "test");
    found.iter().map(|partition| (partition.number, partition.first, partition.sectors)).collect()
}

#[test]
fn an_empty_disk_has_none() {
    assert_eq!(find_believable(Vec::new()), []);
    assert_eq!(find_believable(vec![0; 64 * SECTOR_LEN]), []);
}

#[test]
fn primary_and_logical_partitions_are_found() {
    let mut image = vec![0; 1000 * SECTOR_LEN];
    entry(&mut image, 0, 0, 0x83, 10, 90);
    entry(&mut image, 0, 2, 0x05, 200, 300);
    entry(&mut image, 200, 0, 0x83, 1, 99);
    entry(&mut image, 200, 1, 0x05, 100, 200);
    entry(&mut image, 300, 0, 0x83, 2, 98);
    assert_eq!(find_believable(image), [(1, 10, 90), (5, 201, 99), (6, 302, 98)]);
}

#[test]
fn a_chain_that_turns_back_ends() {
    let mut image = vec![0; 1000 * SECTOR_LEN];
    entry(&mut image, 0, 0, 0x0f, 100, 300);
    entry(&mut image, 100, 0, 0x83, 1, 9);
    entry(&mut image, 100, 1, 0x0f, 0, 300);
    assert_eq!(find_believable(image), [(5, 101, 9)]);
}

#[test]
fn entries_outside_or_over_others_are_left_out_or_cut() {
    let mut image = vec![0; 100 * SECTOR_LEN];
    entry(&mut image, 0, 0, 0x83, 10, 50);
    entry(&mut image, 0, 1, 0x83, 59, 10);
    entry(&mut image, 0, 2, 0x83, 90, 11);
    entry(&mut image, 0, 3, 0x83, u32::MAX, u32::MAX);
    assert_eq!(find_believable(image), [(1, 10, 50), (3, 90, 10)]);
}

#[test]
fn a_boot_sector_is_no_table() {
    let mut image = vec![0; 100 * SECTOR_LEN];
    entry(&mut image, 0, 0, 0x83, 10, 50);
    image[446] = b'N';
    assert_eq!(find_believable(image), []);
}

/// A table of two partitions, with its copy at the end.
fn with_gpt() -> Vec<u8> {
    let sectors = 200;
    let mut image = vec![0; sectors * SECTOR_LEN];
    entry(&mut image, 0, 0, 0xee, 1, 199);
    let mut entries = vec![0; 128 * 128];
    for (index, first, last) in [(0_usize, 40_u64, 79_u64), (3, 80, 120)] {
        let entry = &mut entries[index * 128..][..128];
        entry[..16].fill(7);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
    }
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    for (block, at) in [(1_usize, 2_usize), (sectors - 1, sectors - 33)] {
        image[at * SECTOR_LEN..][..entries.len()].copy_from_slice(&entries);
        let header = &mut image[block * SECTOR_LEN..][..92];
        header[..8].copy_from_slice(b"EFI PART");
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        header[24..32].copy_from_slice(&(block as u64).to_le_bytes());
        header[72..80].copy_from_slice(&(at as u64).to_le_bytes());
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc.checksum(&entries).to_le_bytes());
        let checksum = crc.checksum(header);
        header[16..20].copy_from_slice(&checksum.to_le_bytes());
    }
    image
}

#[test]
fn a_gpt_is_found_and_its_copy_stands_in() {
    let whole = [(1, 40, 40), (4, 80, 41)];
    assert_eq!(find_believable(with_gpt()), whole);
    for damaged in [SECTOR_LEN + 75, 2 * SECTOR_LEN + 40] {
        let mut image = with_gpt();
        image[damaged] ^= 1;
        assert_eq!(find_believable(image.clone()), whole, "{damaged}");
        // Without the copy only what protects it is left.
        let last = image.len() - SECTOR_LEN;
        image[last] ^= 1;
        assert_eq!(find_believable(image), [(1, 1, 199)]);
    }
}

#[test]
fn no_damage_makes_it_fail() {
    let mut random = testkit::Random::new(11);
    for image in [with_gpt(), {
        let mut image = vec![0; 400 * SECTOR_LEN];
        entry(&mut image, 0, 0, 0x05, 100, 300);
        entry(&mut image, 100, 1, 0x05, 100, 200);
        image
    }] {
        for _ in 0..2000 {
            let mut image = image.clone();
            for _ in 0..4 {
                let at = random.below(34 * SECTOR_LEN);
                random.fill(&mut image[at..at + 1]);
            }
            let sectors = (image.len() / SECTOR_LEN) as u64;
            for (_, first, count) in find_believable(image) {
                assert!(first + count <= sectors);
            }
        }
    }
}
