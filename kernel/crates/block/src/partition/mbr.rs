//! The partition table of the master boot record, with logical partitions.
//!
//! The first sector has four entries of 16 bytes at 446 and the signature 55 aa at 510. An entry of an extended type covers a chain
//! of further records of the same form: the first entry of each is a logical partition, relative to that record, and the second
//! leads to the next record, relative to the whole extended partition. The chain is followed [`LOGICAL_MAX`] times at most.

use alloc::vec::Vec;

use crate::{BlockError, SECTOR_LEN};

use super::{Partition, Sectors, u32_at};

/// Where the entries begin.
const ENTRIES: usize = 446;
/// Bytes in an entry.
const ENTRY_LEN: usize = 16;
/// Entries in a record.
const ENTRY_COUNT: usize = 4;
/// The most logical partitions.
const LOGICAL_MAX: u32 = 60;
/// The number of the first logical partition.
const LOGICAL_FIRST: u32 = 5;
/// The type of an entry that protects a GPT.
const PROTECTIVE: u8 = 0xee;
/// Types of extended partitions: with old addresses, with linear ones, of Linux.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];

/// One entry.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    kind: u8,
    first: u64,
    sectors: u64,
}

/// The four entries of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table([Entry; ENTRY_COUNT]);

impl Table {
    /// None when the sector is no such record: no signature, or the boot sector of a FAT file system.
    pub(super) fn parse(sector: &[u8; SECTOR_LEN]) -> Option<Self> {
        if sector[510..] != [0x55, 0xaa] {
            return None;
        }
        let mut entries = [Entry::default(); ENTRY_COUNT];
        for (entry, bytes) in entries.iter_mut().zip(sector[ENTRIES..].chunks_exact(ENTRY_LEN)) {
            // The flag says whether it is booted from. Other values are code or text of a boot sector without a table.
            if bytes[0] & 0x7f != 0 {
                return None;
            }
            *entry = Entry { kind: bytes[4], first: u32_at(bytes, 8).into(), sectors: u32_at(bytes, 12).into() };
        }
        Some(Self(entries))
    }

    /// Whether it only protects a GPT.
    pub(super) fn is_protective(&self) -> bool {
        self.0.iter().any(|entry| entry.kind == PROTECTIVE)
    }
}

/// The partitions of the table and its extended partitions.
pub(super) fn find(disk: &dyn Sectors, table: &Table) -> Result<Vec<Partition>, BlockError> {
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(table.0) {
        if entry.kind != 0 && !EXTENDED.contains(&entry.kind) {
            found.push(Partition { number, first: entry.first, sectors: entry.sectors });
        }
    }
    let mut number = LOGICAL_FIRST;
    for entry in table.0.iter().filter(|entry| EXTENDED.contains(&entry.kind)) {
        follow(disk, entry, &mut number, &mut found)?;
    }
    Ok(found)
}

/// Follows the chain of records of an extended partition.
fn follow(
    disk: &dyn Sectors,
    extended: &Entry,
    number: &mut u32,
    found: &mut Vec<Partition>,
) -> Result<(), BlockError> {
    let mut at = extended.first;
    for _ in 0..LOGICAL_MAX {
        if at >= disk.count() {
            return Ok(());
        }
        let Some(Table([logical, next, ..])) = Table::parse(&disk.read(at)?) else { return Ok(()) };
        if logical.kind != 0 {
            found.push(Partition {
                number: *number,
                first: at.saturating_add(logical.first),
                sectors: logical.sectors,
            });
            *number += 1;
        }
        if !EXTENDED.contains(&next.kind) {
            return Ok(());
        }
        at = extended.first.saturating_add(next.first);
    }
    Ok(())
}
