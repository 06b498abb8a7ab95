//! [`Group`]: a stretch of blocks with its bitmaps and its part of the inodes.
//!
//! The state of a group is kept in memory, as its descriptor says, and behind a lock of its own (rank `BLOCK_GROUPS`). Every
//! change of it goes to the descriptor's buffer in the same [`Change`].
//!
//! # Bitmaps that were never written
//!
//! A descriptor may say that a bitmap was never written ([`Flags`]): then what it would hold follows from the geometry, and it is
//! made when the first bit of it is to be changed. The blocks of its inode table may hold anything then.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use bitflags::bitflags;
use block::{Buffer, BufferCache};
use sync::{Mutex, MutexGuard, rank};

use crate::bytes::{get_u16, get_u32, join, put_u16, split_u32};
use crate::checksum::{crc16, crc32c};
use crate::superblock::Superblock;
use crate::{Change, bitmap, corrupt};

/// Where in a descriptor its checksum is.
const CHECKSUM_OFFSET: usize = 30;
/// The length of a descriptor whose fields have their high halves.
const LEN_WIDE: usize = 64;

bitflags! {
    /// What was never written.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Flags: u16 {
        /// The bitmap of inodes, and all of their table.
        const INODES_UNWRITTEN = 0x1;
        /// The bitmap of blocks.
        const BLOCKS_UNWRITTEN = 0x2;
        const _ = !0;
    }
}

/// The state of one group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) number: u32,
    pub(crate) block_bitmap: u64,
    pub(crate) inode_bitmap: u64,
    pub(crate) inode_table: u64,
    pub(crate) free_blocks: u32,
    pub(crate) free_inodes: u32,
    pub(crate) directories: u32,
    /// Inodes at the end of the table that were never used.
    pub(crate) unused_inodes: u32,
    pub(crate) flags: Flags,
    /// Blocks that are promised to data on its way to the disk, and free as far as the disk knows: first and count.
    pub(crate) promised: Vec<(u32, u32)>,
    /// Blocks that a transaction frees which is not on the disk yet: until then nobody may write to them.
    pub(crate) freed: Vec<(u32, (u32, u32))>,
}

/// All groups of a file system.
pub(crate) struct Groups {
    groups: Vec<Mutex<Group>>,
}

impl Groups {
    /// Reads all descriptors.
    pub(crate) fn read(cache: &BufferCache, superblock: &Superblock) -> Result<Self, Errno> {
        let mut groups = Vec::new();
        let per_block = superblock.descriptors_per_block();
        for index in 0..superblock.descriptor_blocks() {
            let buffer = cache.get(superblock.descriptor_block(index))?;
            buffer.read(|bytes| {
                for (number, descriptor) in (index * per_block..).zip(bytes.chunks_exact(superblock.descriptor_len)) {
                    if number < superblock.groups {
                        let group = Group::parse(superblock, number, descriptor)?;
                        groups.push(Mutex::new(rank::BLOCK_GROUPS, group));
                    }
                }
                Ok::<(), Errno>(())
            })?;
        }
        Ok(Self { groups })
    }

    /// One group, locked.
    pub(crate) fn lock(&self, number: u32) -> Result<MutexGuard<'_, Group>, Errno> {
        let group = self.groups.get(number as usize);
        Ok(group.ok_or_else(|| corrupt(format_args!("there is no group {number}")))?.lock())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.groups.len()).unwrap_or(u32::MAX)
    }

    /// Free blocks, free inodes and directories of all groups.
    pub(crate) fn sums(&self) -> (u64, u64, u64) {
        self.groups.iter().fold((0, 0, 0), |(blocks, inodes, directories), group| {
            let group = group.lock();
            let add = |sum: u64, count: u32| sum + u64::from(count);
            (add(blocks, group.free_blocks), add(inodes, group.free_inodes), add(directories, group.directories))
        })
    }
}

impl Group {
    fn parse(superblock: &Superblock, number: u32, bytes: &[u8]) -> Result<Self, Errno> {
        let is_wide = superblock.descriptor_len >= LEN_WIDE;
        let block = |low: usize, high: usize| join(get_u32(bytes, low), if is_wide { get_u32(bytes, high) } else { 0 });
        let count = |low: usize, high: usize| {
            u32::from(get_u16(bytes, low)) | if is_wide { u32::from(get_u16(bytes, high)) << 16 } else { 0 }
        };
        let has_checksum = superblock.has_descriptor_checksums();
        if has_checksum && checksum(superblock, number, bytes) != get_u16(bytes, CHECKSUM_OFFSET) {
            return Err(corrupt(format_args!("the checksum of the descriptor of group {number} is wrong")));
        }
        let group = Self {
            number,
            block_bitmap: block(0, 32),
            inode_bitmap: block(4, 36),
            inode_table: block(8, 40),
            free_blocks: count(12, 44),
            free_inodes: count(14, 46),
            directories: count(16, 48),
            unused_inodes: if has_checksum { count(28, 50) } else { 0 },
            flags: if has_checksum { Flags::from_bits_retain(get_u16(bytes, 18)) } else { Flags::empty() },
            promised: Vec::new(),
            freed: Vec::new(),
        };
        let table = u64::from(superblock.inode_table_blocks());
        let is_inside = superblock.has_blocks(group.block_bitmap, 1)
            && superblock.has_blocks(group.inode_bitmap, 1)
            && superblock.has_blocks(group.inode_table, table);
        let is_sane = group.free_blocks <= superblock.group_blocks(number)
            && group.free_inodes <= superblock.inodes_per_group
            && group.unused_inodes <= superblock.inodes_per_group;
        if !is_inside || !is_sane {
            return Err(corrupt(format_args!("the descriptor of group {number} is wrong")));
        }
        Ok(group)
    }

    /// Writes counters, flags and the checksum of a bitmap, if that is given, to the descriptor.
    pub(crate) fn store(
        &self,
        superblock: &Superblock,
        change: &Change<'_>,
        bitmaps: &[(BitmapKind, u32)],
    ) -> Result<(), Errno> {
        let per_block = superblock.descriptors_per_block();
        let buffer = change.cache().get(superblock.descriptor_block(self.number / per_block))?;
        let start = (self.number % per_block) as usize * superblock.descriptor_len;
        change.write(&buffer, |bytes| {
            let Some(bytes) = bytes.get_mut(start..start + superblock.descriptor_len) else { return };
            let is_wide = superblock.descriptor_len >= LEN_WIDE;
            let mut put = |number: u32, low: usize, high: usize| {
                let (low_half, high_half) = split_u32(number);
                put_u16(bytes, low, low_half);
                if is_wide {
                    put_u16(bytes, high, high_half);
                }
            };
            put(self.free_blocks, 12, 44);
            put(self.free_inodes, 14, 46);
            put(self.directories, 16, 48);
            if superblock.has_checksums() {
                for (kind, sum) in bitmaps {
                    match kind {
                        BitmapKind::Blocks => put(*sum, 24, 56),
                        BitmapKind::Inodes => put(*sum, 26, 58),
                    }
                }
            }
            if superblock.has_descriptor_checksums() {
                put(self.unused_inodes, 28, 50);
                put_u16(bytes, 18, self.flags.bits());
                let sum = checksum(superblock, self.number, bytes);
                put_u16(bytes, CHECKSUM_OFFSET, sum);
            }
        })
    }

    /// The bitmap of blocks or inodes, made or checked.
    pub(crate) fn bitmap(
        &self,
        superblock: &Superblock,
        cache: &BufferCache,
        kind: BitmapKind,
    ) -> Result<Bitmap, Errno> {
        let (block, unwritten) = match kind {
            BitmapKind::Blocks => (self.block_bitmap, Flags::BLOCKS_UNWRITTEN),
            BitmapKind::Inodes => (self.inode_bitmap, Flags::INODES_UNWRITTEN),
        };
        if self.flags.contains(unwritten) {
            let mut bits = alloc::vec![0; superblock.block_len];
            match kind {
                BitmapKind::Blocks => self.fill_block_bitmap(superblock, &mut bits),
                BitmapKind::Inodes => fill_end(superblock, &mut bits, superblock.inodes_per_group),
            }
            return Ok(Bitmap { kind, block, bits, buffer: None });
        }
        let buffer = cache.get(block)?;
        let bits = buffer.read(<[u8]>::to_vec);
        if superblock.has_checksums() && !buffer.is_checked() {
            self.check_bitmap(superblock, cache, kind, &bits)?;
        }
        buffer.mark_checked();
        Ok(Bitmap { kind, block, bits, buffer: Some(buffer) })
    }

    fn check_bitmap(
        &self,
        superblock: &Superblock,
        cache: &BufferCache,
        kind: BitmapKind,
        bits: &[u8],
    ) -> Result<(), Errno> {
        let per_block = superblock.descriptors_per_block();
        let buffer = cache.get(superblock.descriptor_block(self.number / per_block))?;
        let start = (self.number % per_block) as usize * superblock.descriptor_len;
        let low = if kind == BitmapKind::Blocks { 24 } else { 26 };
        let (stored, mask) = buffer.read(|bytes| {
            let low_half = u32::from(get_u16(bytes, start + low));
            if superblock.descriptor_len >= LEN_WIDE {
                (low_half | u32::from(get_u16(bytes, start + low + 32)) << 16, u32::MAX)
            } else {
                (low_half, 0xffff)
            }
        });
        if bitmap_checksum(superblock, kind, bits) & mask != stored {
            return Err(corrupt(format_args!("the checksum of a bitmap ({kind:?}) of group {} is wrong", self.number)));
        }
        Ok(())
    }

    /// What the bitmap of a group holds in which no block was ever given to a file.
    fn fill_block_bitmap(&self, superblock: &Superblock, bits: &mut [u8]) {
        let mut take = |first: u64, count: u32| {
            for block in first..first.saturating_add(u64::from(count)) {
                if let Some((group, index)) = superblock.group_of(block)
                    && group == self.number
                {
                    bitmap::set(bits, index, 1);
                }
            }
        };
        take(superblock.group_start(self.number), superblock.base_blocks(self.number));
        take(self.block_bitmap, 1);
        take(self.inode_bitmap, 1);
        take(self.inode_table, superblock.inode_table_blocks());
        fill_end(superblock, bits, superblock.group_blocks(self.number));
    }
}

/// Sets the bits behind the last that stands for something.
fn fill_end(superblock: &Superblock, bits: &mut [u8], len: u32) {
    let all = u32::try_from(superblock.block_len * 8).unwrap_or(len);
    bitmap::set(bits, len, all.saturating_sub(len));
}

/// What a bitmap is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BitmapKind {
    /// Blocks of the group.
    Blocks,
    /// Inodes of the group.
    Inodes,
}

/// A copy of a bitmap, to be looked at and changed.
pub(crate) struct Bitmap {
    kind: BitmapKind,
    block: u64,
    pub(crate) bits: Vec<u8>,
    /// None when it was never written.
    buffer: Option<Arc<Buffer>>,
}

impl Bitmap {
    /// Writes it back and the group's descriptor with it.
    pub(crate) fn store(self, superblock: &Superblock, change: &Change<'_>, group: &mut Group) -> Result<(), Errno> {
        let buffer = match self.buffer {
            Some(buffer) => buffer,
            None => change.create(self.block)?,
        };
        group.flags.remove(match self.kind {
            BitmapKind::Blocks => Flags::BLOCKS_UNWRITTEN,
            BitmapKind::Inodes => Flags::INODES_UNWRITTEN,
        });
        change.write(&buffer, |bytes| bytes.copy_from_slice(&self.bits))?;
        buffer.mark_checked();
        let sum = bitmap_checksum(superblock, self.kind, &self.bits);
        group.store(superblock, change, &[(self.kind, sum)])
    }
}

fn bitmap_checksum(superblock: &Superblock, kind: BitmapKind, bits: &[u8]) -> u32 {
    let len = match kind {
        BitmapKind::Blocks => superblock.blocks_per_group,
        BitmapKind::Inodes => superblock.inodes_per_group,
    };
    crc32c(superblock.checksum_seed, bits.get(..len as usize / 8).unwrap_or(bits))
}

/// The checksum of a descriptor, in whichever form the file system has it.
fn checksum(superblock: &Superblock, number: u32, bytes: &[u8]) -> u16 {
    let before = bytes.get(..CHECKSUM_OFFSET).unwrap_or_default();
    let behind = bytes.get(CHECKSUM_OFFSET + 2..).unwrap_or_default();
    if superblock.has_checksums() {
        let sum = crc32c(superblock.checksum_seed, &number.to_le_bytes());
        let sum = crc32c(crc32c(crc32c(sum, before), &[0, 0]), behind);
        return split_u32(sum).0;
    }
    crc16(crc16(crc16(crc16(u16::MAX, &superblock.uuid), &number.to_le_bytes()), before), behind)
}
