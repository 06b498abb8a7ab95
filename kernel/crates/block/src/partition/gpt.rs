//! The GUID partition table, UEFI specification chapter 5.
//!
//! A header stands in the second block of the disk and a copy in the last one; each says where its entries are. Header and entries
//! have checksums: where those of the first do not agree, the copy is taken.

use alloc::vec::Vec;

use crc::{CRC_32_ISO_HDLC, Crc};

use crate::{BlockError, SECTOR_LEN};

use super::{PARTITIONS_MAX, Partition, Sectors, u32_at, u64_at};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Bytes of the header that are defined.
const HEADER_LEN: usize = 92;
/// Where the checksum of the header is in it.
const HEADER_CHECKSUM: usize = 16;
/// The least size of an entry.
const ENTRY_LEN: usize = 128;
/// The largest size of an entry that is understood.
const ENTRY_LEN_MAX: usize = 4096;

/// What is needed of a header.
#[derive(Debug)]
struct Header {
    entries_block: u64,
    entry_count: usize,
    entry_len: usize,
    entries_checksum: u32,
}

impl Header {
    fn parse(sector: &[u8; SECTOR_LEN], own_block: u64) -> Option<Self> {
        let len = usize::try_from(u32_at(sector, 12)).ok()?;
        if sector[..8] != *b"EFI PART" || len < HEADER_LEN || u64_at(sector, 24) != own_block {
            return None;
        }
        let mut header = sector.get(..len)?.to_vec();
        header.get_mut(HEADER_CHECKSUM..HEADER_CHECKSUM + 4)?.fill(0);
        if CRC.checksum(&header) != u32_at(sector, HEADER_CHECKSUM) {
            return None;
        }
        let entry_count = usize::try_from(u32_at(sector, 80)).ok()?;
        let entry_len = usize::try_from(u32_at(sector, 84)).ok()?;
        let is_sane = entry_count <= PARTITIONS_MAX && (ENTRY_LEN..=ENTRY_LEN_MAX).contains(&entry_len);
        is_sane.then_some(Self {
            entries_block: u64_at(sector, 72),
            entry_count,
            entry_len,
            entries_checksum: u32_at(sector, 88),
        })
    }

    /// The bytes of all entries; None when their checksum is wrong or they are outside of the disk.
    fn entries(&self, disk: &dyn Sectors, block_sectors: u64) -> Result<Option<Vec<u8>>, BlockError> {
        let len = self.entry_count * self.entry_len;
        let Some(first) = self.entries_block.checked_mul(block_sectors) else { return Ok(None) };
        let mut bytes = Vec::new();
        for index in 0..len.div_ceil(SECTOR_LEN) as u64 {
            match first.checked_add(index) {
                Some(sector) if sector < disk.count() => bytes.extend_from_slice(&disk.read(sector)?),
                _ => return Ok(None),
            }
        }
        bytes.truncate(len);
        Ok((CRC.checksum(&bytes) == self.entries_checksum).then_some(bytes))
    }
}

/// The partitions; None when neither table is whole.
pub(super) fn find(disk: &dyn Sectors, block_sectors: u64) -> Result<Option<Vec<Partition>>, BlockError> {
    let last_block = (disk.count() / block_sectors).saturating_sub(1);
    for block in [1, last_block] {
        let Some(sector) = block.checked_mul(block_sectors).filter(|sector| *sector < disk.count()) else { continue };
        let Some(header) = Header::parse(&disk.read(sector)?, block) else { continue };
        if let Some(entries) = header.entries(disk, block_sectors)? {
            return Ok(Some(parse_entries(&entries, header.entry_len, block_sectors)));
        }
    }
    Ok(None)
}

fn parse_entries(entries: &[u8], entry_len: usize, block_sectors: u64) -> Vec<Partition> {
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(entries.chunks_exact(entry_len)) {
        if entry[..16] == [0; 16] {
            continue;
        }
        let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
        let blocks = last.checked_sub(first).and_then(|blocks| blocks.checked_add(1)).unwrap_or(0);
        found.push(Partition {
            number,
            first: first.saturating_mul(block_sectors),
            sectors: blocks.saturating_mul(block_sectors),
        });
    }
    found
}
