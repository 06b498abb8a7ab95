//! The partitions of a disk.
//!
//! A table is believed only as far as it is consistent: entries that begin outside of the disk, that are empty or that overlap one
//! before them are left out, with a line in the log; one that ends outside is cut, as on Linux. The bytes come from outside, so nothing here indexes without a check.

mod gpt;
mod mbr;

use alloc::vec;
use alloc::vec::Vec;

use mm::{Frame, PAGE_SIZE};

use crate::{BlockError, SECTOR_LEN, Segment, Volume};

/// The most partitions of a disk.
pub const PARTITIONS_MAX: usize = 128;

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1 on, as Linux counts: the place in the table, and from 5 on the logical ones of an MBR.
    pub number: u32,
    /// The first sector.
    pub first: u64,
    /// How many sectors.
    pub sectors: u64,
}

/// Reads of single sectors, for the parsers.
trait Sectors {
    /// The size of the disk in sectors.
    fn count(&self) -> u64;

    /// Reads one sector.
    fn read(&self, sector: u64) -> Result<[u8; SECTOR_LEN], BlockError>;
}

impl Sectors for Volume {
    fn count(&self) -> u64 {
        self.sectors()
    }

    fn read(&self, sector: u64) -> Result<[u8; SECTOR_LEN], BlockError> {
        let per_block = self.disk().limits().sectors_per_block();
        let frame = Frame::allocate().map_err(|_| BlockError::OutOfMemory)?;
        let block_len = usize::try_from(per_block).unwrap_or(1) * SECTOR_LEN;
        let segment = Segment::new(frame.clone(), 0, block_len).ok_or(BlockError::OutOfRange)?;
        Volume::read(self, sector - sector % per_block, vec![segment])?;
        let mut bytes = [0; SECTOR_LEN];
        let offset = usize::try_from(sector % per_block).unwrap_or(0) * SECTOR_LEN;
        debug_assert!(offset < PAGE_SIZE);
        frame.read(offset, &mut bytes);
        Ok(bytes)
    }
}

/// Finds the partitions of a disk; none when it has no table.
pub fn find(disk: &Volume) -> Result<Vec<Partition>, BlockError> {
    let block_sectors = disk.disk().limits().sectors_per_block();
    let found = find_in(disk, block_sectors)?;
    Ok(believable(found, disk.sectors(), disk.disk().name()))
}

fn find_in(disk: &dyn Sectors, block_sectors: u64) -> Result<Vec<Partition>, BlockError> {
    if disk.count() == 0 {
        return Ok(Vec::new());
    }
    let Some(table) = mbr::Table::parse(&disk.read(0)?) else { return Ok(Vec::new()) };
    if table.is_protective()
        && let Some(partitions) = gpt::find(disk, block_sectors)?
    {
        return Ok(partitions);
    }
    mbr::find(disk, &table)
}

/// Those that are not empty and apart from those before them, as far as they are inside of the disk.
fn believable(found: Vec<Partition>, sectors: u64, name: &str) -> Vec<Partition> {
    let mut kept: Vec<Partition> = Vec::new();
    for partition in found {
        let first = partition.first;
        let end = first.saturating_add(partition.sectors).min(sectors);
        let is_apart = kept.iter().all(|other| end <= other.first || other.first + other.sectors <= first);
        if first < end && is_apart && kept.len() < PARTITIONS_MAX {
            kept.push(Partition { sectors: end - first, ..partition });
        } else {
            log::warn!("{name}: partition {} is outside of the disk or overlaps another; left out", partition.number);
        }
    }
    kept
}

/// The little-endian number of 4 bytes at `offset`; 0 behind the end.
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let field = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_le_bytes(*field))
}

/// The little-endian number of 8 bytes at `offset`; 0 behind the end.
fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let field = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u64::from_le_bytes(*field))
}

#[cfg(test)]
mod tests;
