//! [`Group`]: a stretch of blocks with its bitmaps and its part of the inodes.
//!
//! The state of a group is kept in memory, as its descriptor says, and behind a lock of its own (rank `BLOCK_GROUPS`). Every
//! change of it goes to the descriptor's buffer in the same [`Change`].
//!
//! # Bitmaps
//!
//! They are looked at and changed where they are, in their buffers, under the group's lock. The checksum of one, which
//! is in the descriptor, follows from what it was and what was changed
//! ([`crc32c_patch`](crate::checksum::crc32c_patch)).
//!
//! A descriptor may say that a bitmap was never written ([`Flags`]): then what it would hold follows from the geometry, and it is
//! made when the first bit of it is to be changed. The blocks of its inode table may hold anything then.
//!
//! # Blocks that are free and not to be had
//!
//! Those that are promised to data on its way to the disk, and those that a transaction frees which is not on the disk
//! yet ([`Held`]).

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use bitflags::bitflags;
use block::{Buffer, BufferCache};
use sync::{Mutex, MutexGuard, rank};

use crate::bytes::{get_u16, get_u32, join, put_u16, split_u32};
use crate::checksum::{crc16, crc32c, crc32c_patch};
use crate::superblock::Superblock;
use crate::{Change, bitmap, corrupt};

/// Where in a descriptor its checksum is.
const CHECKSUM_OFFSET: usize = 30;
/// The most bytes of a bitmap that are changed without looking at all of it for the checksum.
const PATCH_MAX: usize = 256;
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
    pub(crate) held: Held,
    /// The whole checksums of the bitmaps of blocks and of inodes, once they are known.
    sums: [Option<u32>; 2],
}

/// Blocks of one group that the bitmap says are free, and that nobody gets.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// A bit for each. Empty when there is none.
    bits: Vec<u8>,
    count: u32,
    /// Which of them belong to what a transaction freed, in the order of transactions: runs of blocks.
    freed: Vec<(u32, Vec<(u32, u32)>)>,
}

impl Held {
    /// Holds blocks that nobody held.
    pub(crate) fn add(&mut self, superblock: &Superblock, (first, count): (u32, u32)) {
        if self.bits.is_empty() {
            self.bits = alloc::vec![0; superblock.blocks_per_group.div_ceil(8) as usize];
        }
        debug_assert!(bitmap::is_all(&self.bits, first, count, false), "blocks are held twice");
        bitmap::set(&mut self.bits, first, count);
        self.count += count;
    }

    /// Ends [`Held::add`].
    pub(crate) fn remove(&mut self, (first, count): (u32, u32)) {
        debug_assert!(bitmap::is_all(&self.bits, first, count, true), "blocks are let go that nobody held");
        bitmap::clear(&mut self.bits, first, count);
        self.count = self.count.saturating_sub(count);
        if self.count == 0 {
            self.bits = Vec::new();
        }
    }

    /// Holds blocks that a transaction freed.
    pub(crate) fn add_freed(&mut self, superblock: &Superblock, transaction: u32, run: (u32, u32)) {
        self.add(superblock, run);
        match self.freed.last_mut() {
            Some((last, runs)) if *last == transaction => match runs.last_mut() {
                Some((first, count)) if *first + *count == run.0 => *count += run.1,
                _ => runs.push(run),
            },
            _ => self.freed.push((transaction, [run].into())),
        }
    }

    /// Lets go of what was freed by transactions that are on the disk.
    pub(crate) fn remove_freed(&mut self, is_stable: impl Fn(u32) -> bool) {
        let stable = self.freed.iter().take_while(|(transaction, _)| is_stable(*transaction)).count();
        let rest = self.freed.split_off(stable);
        for (_, runs) in core::mem::replace(&mut self.freed, rest) {
            runs.into_iter().for_each(|run| self.remove(run));
        }
    }

    /// Whether anything waits for a transaction.
    pub(crate) fn has_freed(&self) -> bool {
        !self.freed.is_empty()
    }

    /// The bits, as far as there are any.
    pub(crate) fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }
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
            held: Held::default(),
            sums: [None; 2],
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

    /// Writes counters and flags to the descriptor, and the checksum of a bitmap that was changed.
    fn store(
        &self,
        superblock: &Superblock,
        change: &Change<'_>,
        (kind, bitmap_sum): (BitmapKind, Option<u32>),
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
            if let Some(sum) = bitmap_sum {
                put(sum, kind.sum_offset(), kind.sum_offset() + 32);
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
        &mut self,
        superblock: &Superblock,
        cache: &BufferCache,
        kind: BitmapKind,
    ) -> Result<Bitmap, Errno> {
        if self.flags.contains(kind.unwritten()) {
            let mut bits = alloc::vec![0; superblock.block_len];
            match kind {
                BitmapKind::Blocks => self.fill_block_bitmap(superblock, &mut bits),
                BitmapKind::Inodes => fill_end(superblock, &mut bits, superblock.inodes_per_group),
            }
            return Ok(Bitmap::Made(bits));
        }
        let buffer = cache.get(self.bitmap_block(kind))?;
        let is_known = buffer.is_checked() && self.sums.get(kind as usize).is_some_and(Option::is_some);
        if superblock.has_checksums() && !is_known {
            let sum = buffer.read(|bits| bitmap_checksum(superblock, kind, bits));
            if !buffer.is_checked() {
                self.check_bitmap(superblock, cache, kind, sum)?;
            }
            self.note_sum(kind, sum);
        }
        buffer.mark_checked();
        Ok(Bitmap::Stored(buffer))
    }

    fn bitmap_block(&self, kind: BitmapKind) -> u64 {
        match kind {
            BitmapKind::Blocks => self.block_bitmap,
            BitmapKind::Inodes => self.inode_bitmap,
        }
    }

    fn note_sum(&mut self, kind: BitmapKind, sum: u32) {
        if let Some(known) = self.sums.get_mut(kind as usize) {
            *known = Some(sum);
        }
    }

    /// Changes bits of a bitmap, all of which have the other value, and writes the descriptor.
    pub(crate) fn change_bits(
        &mut self,
        superblock: &Superblock,
        change: &Change<'_>,
        (kind, bitmap): (BitmapKind, Bitmap),
        (first, count): (u32, u32),
        value: bool,
    ) -> Result<(), Errno> {
        let apply = |bits: &mut [u8]| {
            if value { bitmap::set(bits, first, count) } else { bitmap::clear(bits, first, count) }
        };
        let sum = match bitmap {
            Bitmap::Stored(buffer) => {
                let known = self.sums.get(kind as usize).copied().flatten();
                change.write(&buffer, |bits| {
                    apply(bits);
                    patched_checksum(superblock, kind, known, (first, count))
                        .unwrap_or_else(|| bitmap_checksum(superblock, kind, bits))
                })?
            }
            Bitmap::Made(mut bits) => {
                apply(&mut bits);
                self.write_made(superblock, change, kind, &bits)?
            }
        };
        self.finish_change(superblock, change, kind, sum)
    }

    /// Writes a bitmap that was never written.
    pub(crate) fn make_bitmap(
        &mut self,
        superblock: &Superblock,
        change: &Change<'_>,
        kind: BitmapKind,
    ) -> Result<(), Errno> {
        if !self.flags.contains(kind.unwritten()) {
            return Ok(());
        }
        let Bitmap::Made(bits) = self.bitmap(superblock, change.cache(), kind)? else { return Ok(()) };
        let sum = self.write_made(superblock, change, kind, &bits)?;
        self.finish_change(superblock, change, kind, sum)
    }

    fn write_made(
        &mut self,
        superblock: &Superblock,
        change: &Change<'_>,
        kind: BitmapKind,
        bits: &[u8],
    ) -> Result<u32, Errno> {
        let buffer = change.create(self.bitmap_block(kind))?;
        change.write(&buffer, |bytes| bytes.copy_from_slice(bits))?;
        buffer.mark_checked();
        self.flags.remove(kind.unwritten());
        Ok(bitmap_checksum(superblock, kind, bits))
    }

    fn finish_change(
        &mut self,
        superblock: &Superblock,
        change: &Change<'_>,
        kind: BitmapKind,
        sum: u32,
    ) -> Result<(), Errno> {
        self.note_sum(kind, sum);
        self.store(superblock, change, (kind, superblock.has_checksums().then_some(sum)))
    }

    /// Compares the checksum of a bitmap with the one in the descriptor.
    fn check_bitmap(
        &self,
        superblock: &Superblock,
        cache: &BufferCache,
        kind: BitmapKind,
        sum: u32,
    ) -> Result<(), Errno> {
        let per_block = superblock.descriptors_per_block();
        let buffer = cache.get(superblock.descriptor_block(self.number / per_block))?;
        let place = (self.number % per_block) as usize * superblock.descriptor_len + kind.sum_offset();
        let (stored, mask) = buffer.read(|bytes| {
            let low_half = u32::from(get_u16(bytes, place));
            if superblock.descriptor_len >= LEN_WIDE {
                (low_half | u32::from(get_u16(bytes, place + 32)) << 16, u32::MAX)
            } else {
                (low_half, 0xffff)
            }
        });
        if sum & mask != stored {
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

impl BitmapKind {
    /// What a descriptor says of one that was never written.
    fn unwritten(self) -> Flags {
        match self {
            Self::Blocks => Flags::BLOCKS_UNWRITTEN,
            Self::Inodes => Flags::INODES_UNWRITTEN,
        }
    }

    /// Where in a descriptor its checksum is; the high half, if there is one, is 32 bytes behind it.
    fn sum_offset(self) -> usize {
        match self {
            Self::Blocks => 24,
            Self::Inodes => 26,
        }
    }
}

/// A bitmap as it is.
pub(crate) enum Bitmap {
    /// On the disk.
    Stored(Arc<Buffer>),
    /// It was never written.
    Made(Vec<u8>),
}

impl Bitmap {
    /// Looks at the bits.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Stored(buffer) => buffer.read(look),
            Self::Made(bits) => look(bits),
        }
    }
}

/// The checksum of a bitmap that had the checksum `known` before all of these bits were changed. None where that is not
/// found quickly.
fn patched_checksum(
    superblock: &Superblock,
    kind: BitmapKind,
    known: Option<u32>,
    (first, count): (u32, u32),
) -> Option<u32> {
    let len = bitmap_len(superblock, kind);
    let (first_byte, end_byte) = (first as usize / 8, (first + count).div_ceil(8) as usize);
    let mut changed = [0; PATCH_MAX];
    let changed = changed.get_mut(..end_byte.checked_sub(first_byte)?)?;
    bitmap::set(changed, first % 8, count);
    crc32c_patch(known?, changed, len.checked_sub(end_byte)?)
}

/// Bytes of a bitmap that its checksum covers.
fn bitmap_len(superblock: &Superblock, kind: BitmapKind) -> usize {
    let bits = match kind {
        BitmapKind::Blocks => superblock.blocks_per_group,
        BitmapKind::Inodes => superblock.inodes_per_group,
    };
    bits as usize / 8
}

fn bitmap_checksum(superblock: &Superblock, kind: BitmapKind, bits: &[u8]) -> u32 {
    crc32c(superblock.checksum_seed, bits.get(..bitmap_len(superblock, kind)).unwrap_or(bits))
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
