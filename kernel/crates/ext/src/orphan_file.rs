//! The file of orphans (feature `orphan_file`), as Linux leaves it after a crash.
//!
//! # Theory
//!
//! 1. Its blocks are full of inode numbers, 0 where there is none. At the end of each are a magic number and, where metadata has
//!    checksums, one of the number of the block and of its entries, continued from the seed of the file's inode (Linux,
//!    `fs/ext4/orphan.c`).
//! 2. While there may be any the superblock says so by a feature (`orphan_present`). Linux sets it when it mounts.
//! 3. Nothing is written to the file here but zeros: inodes are taken over from it into the list, each in one change, and then
//!    dealt with as those of the list are. So a crash in the middle of that finds each in one of them. Linux looks at both, too, and
//!    uses the list when the file is full.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use block::Buffer;

use crate::bytes::{get_u32, put_u32};
use crate::checksum::crc32c;
use crate::inode::Inode;
use crate::map::Place;
use crate::orphan::ORPHAN_CREDITS;
use crate::record::Record;
use crate::superblock::ReadOnlyCompatible;
use crate::{Change, FileSystem, corrupt};

/// Where in the superblock the number of the file is, and where the features that say that there are orphans in it.
const AT_FILE: usize = 640;
const AT_FEATURES: usize = 100;
/// What the end of a block begins with.
const MAGIC: u32 = 0x0b10_ca04;
/// Bytes of that and of the checksum, and of an entry.
const TAIL_LEN: usize = 8;
const ENTRY_LEN: usize = 4;
/// The most blocks it can have.
const BLOCKS_MAX: u64 = 512;

fn wrong(what: &str) -> Errno {
    corrupt(format_args!("the file of orphans {what}"))
}

impl FileSystem {
    /// Takes what a crash left in the file over into the list. What was found is added to `found`, its numbers to
    /// `seen`, which has those of the list: what is named twice is dealt with once.
    pub(crate) fn take_over_orphans(
        self: &Arc<Self>,
        seen: &mut BTreeSet<u32>,
        found: &mut Vec<(Inode, Record)>,
    ) -> Result<(), Errno> {
        let present = ReadOnlyCompatible::ORPHANS_PRESENT.bits();
        let (number, features) =
            self.read_superblock(|bytes| (get_u32(bytes, AT_FILE), get_u32(bytes, AT_FEATURES)))?;
        if features & present == 0 {
            return Ok(());
        }
        if !self.superblock.inodes_have(number) {
            return Err(wrong("is no file"));
        }
        let (file, record) = Inode::read(self, number)?;
        let count = record.size / file.block_len() as u64;
        if file.has_metadata() || count > BLOCKS_MAX {
            return Err(wrong("is no file, or too long"));
        }
        for logical in 0..u32::try_from(count).unwrap_or(0) {
            self.take_over_block(&file, logical, seen, found)?;
        }
        let change = self.begin(1)?;
        self.change_superblock(&change, |bytes| put_u32(bytes, AT_FEATURES, features & !present))
    }

    fn take_over_block(
        self: &Arc<Self>,
        file: &Inode,
        logical: u32,
        seen: &mut BTreeSet<u32>,
        found: &mut Vec<(Inode, Record)>,
    ) -> Result<(), Errno> {
        let Place::Data(block) = file.find_run(logical)?.place else { return Err(wrong("has a hole")) };
        let buffer = self.cache().get(block)?;
        let numbers = buffer.read(|bytes| {
            let entries = bytes.get(..bytes.len() - TAIL_LEN).unwrap_or_default();
            let tail = bytes.len() - TAIL_LEN;
            let is_sealed = sum(file, &buffer, bytes).is_none_or(|sum| get_u32(bytes, tail + 4) == sum);
            if get_u32(bytes, tail) != MAGIC || !is_sealed {
                return Err(wrong("has a block that is none"));
            }
            let (entries, _) = entries.as_chunks::<ENTRY_LEN>();
            Ok(entries.iter().map(|entry| u32::from_le_bytes(*entry)).collect::<Vec<_>>())
        })?;
        for (index, number) in numbers.into_iter().enumerate().filter(|(_, number)| *number != 0) {
            if !self.superblock.inodes_have(number) || !self.is_inode_in_use(number)? {
                return Err(wrong("names an inode that is not in use"));
            }
            let (inode, record) = Inode::read(self, number)?;
            let change = self.begin(ORPHAN_CREDITS + 1)?;
            self.add_orphan(&change, &inode)?;
            clear_entry(file, &change, &buffer, index)?;
            if seen.insert(number) {
                found.push((inode, record));
            }
        }
        Ok(())
    }
}

fn clear_entry(file: &Inode, change: &Change<'_>, buffer: &Arc<Buffer>, index: usize) -> Result<(), Errno> {
    change.write(buffer, |bytes| {
        put_u32(bytes, index * ENTRY_LEN, 0);
        if let Some(sum) = sum(file, buffer, bytes) {
            let tail = bytes.len() - TAIL_LEN;
            put_u32(bytes, tail + 4, sum);
        }
    })
}

/// The checksum of a block, where there are any.
fn sum(file: &Inode, buffer: &Buffer, bytes: &[u8]) -> Option<u32> {
    let seed = crc32c(file.checksum_seed()?, &buffer.number().to_le_bytes());
    Some(crc32c(seed, bytes.get(..bytes.len().saturating_sub(TAIL_LEN))?))
}
