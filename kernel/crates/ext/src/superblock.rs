//! [`Superblock`]: the description of a file system.
//!
//! It is read and checked once. What changes while the file system is mounted (counters, state, times) lies in the block's buffer,
//! and is changed there by `state`.
//!
//! Features come in three sets. Of those in `Incompatible` all must be known, or nothing is understood; with an unknown one in
//! `ReadOnlyCompatible` the file system can only be read; those in `Compatible` may be ignored.

use abi::Errno;
use block::Seal;

use crate::bytes::{get_u8, get_u16, get_u32, join, put_u32};
use crate::checksum::{CRC32C_START, crc32c};
use crate::features::Names;
pub use crate::features::{Compatible, Incompatible, ReadOnlyCompatible};
use crate::{MAGIC, corrupt};

/// Where the superblock is in the volume, in bytes.
pub const OFFSET: usize = 1024;
/// Its length in bytes.
pub const LEN: usize = 1024;
/// Where its checksum is.
pub(crate) const CHECKSUM_OFFSET: usize = 1020;
/// The largest block: a page.
const BLOCK_LEN_MAX: usize = 4096;
/// The most groups. Their table in memory is in proportion to them; it is enough for 64 TiB in blocks of 4096 bytes.
const GROUPS_MAX: u64 = 1 << 19;
/// The first inode that is not reserved, in the first revision.
const FIRST_INODE_OLD: u32 = 11;
/// Bytes in an inode record, in the first revision.
const INODE_LEN_OLD: usize = 128;
/// Bytes in a group descriptor without 64-bit numbers.
const DESCRIPTOR_LEN_OLD: usize = 32;

/// What a superblock says of what never changes while the file system is mounted. Offsets of numbers are those of
/// `struct ext4_super_block`.
#[derive(Clone, Debug)]
pub struct Superblock {
    /// Bytes in a block.
    pub block_len: usize,
    /// Blocks there are.
    pub blocks: u64,
    /// Inodes there are.
    pub inodes: u32,
    /// Blocks that only root may take.
    pub blocks_reserved: u64,
    /// Who else may take them.
    pub reserved_uid: u32,
    /// The group that may take them.
    pub reserved_gid: u32,
    /// The block of the first group's superblock.
    pub first_block: u32,
    /// Blocks in a group.
    pub blocks_per_group: u32,
    /// Inodes in a group.
    pub inodes_per_group: u32,
    /// Groups there are.
    pub groups: u32,
    /// Groups whose metadata is together, for the choice of places.
    pub groups_per_flex: u32,
    /// Bytes in an inode record.
    pub inode_len: usize,
    /// The bytes behind the first 128 that new inodes use.
    pub extra_len_wanted: u16,
    /// The first inode that is not reserved.
    pub first_inode: u32,
    /// Bytes in a group descriptor.
    pub descriptor_len: usize,
    /// Blocks of descriptors, counted from 0, that stand in the groups they describe begin here.
    pub first_meta_group: u32,
    /// Blocks behind the descriptors that are kept for more of them.
    pub descriptor_blocks_reserved: u16,
    /// The groups with backups (`sparse_super2`).
    pub backup_groups: [u32; 2],
    /// Features.
    pub compatible: Compatible,
    /// Features.
    pub incompatible: Incompatible,
    /// Features.
    pub read_only_compatible: ReadOnlyCompatible,
    /// The identity of the file system.
    pub uuid: [u8; 16],
    /// The seed of all checksums of metadata.
    pub checksum_seed: u32,
    /// The inode of the journal.
    pub journal_inode: u32,
    /// The seed of the hash of names.
    pub hash_seed: [u32; 4],
    /// The hash of names in new indexes.
    pub hash_version: u8,
    /// Whether the hash takes bytes as unsigned.
    pub hash_is_unsigned: bool,
    /// What is done when the file system is found damaged: 1 continue, 2 read only, 3 panic.
    pub on_error: u16,
    /// Whether extended attributes, user ones, are on by default.
    pub default_options: u32,
}

impl Superblock {
    /// Reads the [`LEN`] bytes of a superblock of a volume of this size. `EINVAL` when it is none, or of a kind that is not known.
    pub fn parse(bytes: &[u8], volume_len: u64) -> Result<Self, Errno> {
        let superblock = Self::parse_torn(bytes, volume_len)?;
        if superblock.is_sealed(bytes) {
            return Ok(superblock);
        }
        Err(corrupt(format_args!("the superblock's checksum is wrong")))
    }

    /// As [`Superblock::parse`], of one whose checksum may be wrong.
    pub(crate) fn parse_torn(bytes: &[u8], volume_len: u64) -> Result<Self, Errno> {
        if bytes.len() < LEN || get_u16(bytes, 56) != MAGIC {
            return Err(Errno::EINVAL);
        }
        let is_new = get_u32(bytes, 76) >= 1;
        let mut superblock = Self::fields(bytes, is_new)?;
        if is_new {
            superblock.check_features()?;
        }
        superblock.check_geometry(volume_len)?;
        Ok(superblock)
    }

    fn fields(bytes: &[u8], is_new: bool) -> Result<Self, Errno> {
        let new = |offset: usize| if is_new { get_u32(bytes, offset) } else { 0 };
        let incompatible = Incompatible::from_bits_retain(new(96));
        let is_wide = incompatible.contains(Incompatible::WIDE);
        let high = |offset: usize| if is_wide { get_u32(bytes, offset) } else { 0 };
        let block_len = 1024_usize.checked_shl(get_u32(bytes, 24)).filter(|len| *len <= BLOCK_LEN_MAX && *len > 0);
        let Some(block_len) = block_len else {
            log::error!("ext: blocks of 2^{} KiB are not supported", get_u32(bytes, 24));
            return Err(Errno::EINVAL);
        };
        let mut uuid = [0; 16];
        uuid.copy_from_slice(bytes.get(104..120).unwrap_or(&[0; 16]));
        let checksum_seed = if incompatible.contains(Incompatible::CHECKSUM_SEED) {
            get_u32(bytes, 624)
        } else {
            crc32c(CRC32C_START, &uuid)
        };
        Ok(Self {
            block_len,
            blocks: join(get_u32(bytes, 4), high(336)),
            inodes: get_u32(bytes, 0),
            blocks_reserved: join(get_u32(bytes, 8), high(340)),
            reserved_uid: get_u16(bytes, 80).into(),
            reserved_gid: get_u16(bytes, 82).into(),
            first_block: get_u32(bytes, 20),
            blocks_per_group: get_u32(bytes, 32),
            inodes_per_group: get_u32(bytes, 40),
            groups: 0,
            groups_per_flex: 1_u32.checked_shl(u32::from(get_u8(bytes, 372))).unwrap_or(1),
            inode_len: if is_new { get_u16(bytes, 88).into() } else { INODE_LEN_OLD },
            extra_len_wanted: get_u16(bytes, 350),
            first_inode: if is_new { get_u32(bytes, 84) } else { FIRST_INODE_OLD },
            descriptor_len: if is_wide { get_u16(bytes, 254).into() } else { DESCRIPTOR_LEN_OLD },
            first_meta_group: get_u32(bytes, 260),
            descriptor_blocks_reserved: get_u16(bytes, 206),
            backup_groups: [get_u32(bytes, 588), get_u32(bytes, 592)],
            compatible: Compatible::from_bits_retain(new(92)),
            incompatible,
            read_only_compatible: ReadOnlyCompatible::from_bits_retain(new(100)),
            uuid,
            checksum_seed,
            journal_inode: new(224),
            hash_seed: [236, 240, 244, 248].map(|offset| get_u32(bytes, offset)),
            hash_version: get_u8(bytes, 252),
            hash_is_unsigned: get_u32(bytes, 352) & 2 != 0,
            on_error: get_u16(bytes, 60),
            default_options: get_u32(bytes, 256),
        })
    }

    fn check_features(&self) -> Result<(), Errno> {
        let unknown = self.incompatible.difference(Incompatible::READABLE);
        if !unknown.is_empty() {
            let names = Names(unknown, ReadOnlyCompatible::empty());
            log::error!("ext: it has features that are not known ({names}), and cannot be read");
            return Err(Errno::EINVAL);
        }
        if self.read_only_compatible.contains(ReadOnlyCompatible::CLUSTERS) {
            log::error!("ext: clusters (bigalloc) are not supported");
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Whether the checksum is right.
    pub(crate) fn is_sealed(&self, bytes: &[u8]) -> bool {
        let sum = crc32c(CRC32C_START, bytes.get(..CHECKSUM_OFFSET).unwrap_or_default());
        !self.has_checksums() || get_u8(bytes, 373) == 1 && sum == get_u32(bytes, CHECKSUM_OFFSET)
    }

    /// Everything that later arithmetic relies on; fills in the number of groups.
    fn check_geometry(&mut self, volume_len: u64) -> Result<(), Errno> {
        let wrong = |what: &str| Err(corrupt(format_args!("the superblock is wrong: {what}")));
        let bits = u32::try_from(self.block_len * 8).unwrap_or(0);
        if self.first_block != u32::from(self.block_len == 1024) {
            return wrong("first block");
        }
        if self.blocks_per_group == 0 || self.blocks_per_group > bits || !self.blocks_per_group.is_multiple_of(8) {
            return wrong("blocks in a group");
        }
        if !self.inode_len.is_power_of_two() || self.inode_len < INODE_LEN_OLD || self.inode_len > self.block_len {
            return wrong("length of an inode");
        }
        let inodes_per_block = self.inodes_per_block();
        if self.inodes_per_group < inodes_per_block || self.inodes_per_group > bits {
            return wrong("inodes in a group");
        }
        let is_wide = self.incompatible.contains(Incompatible::WIDE);
        let is_sane = self.descriptor_len.is_power_of_two() && self.descriptor_len <= self.block_len;
        if is_wide && !(is_sane && self.descriptor_len >= 64) {
            return wrong("length of a descriptor");
        }
        let first_block = u64::from(self.first_block);
        let is_inside = self.blocks.checked_mul(self.block_len as u64).is_some_and(|len| len <= volume_len);
        if self.blocks <= first_block || !is_inside {
            return wrong("it is larger than the volume");
        }
        let groups = (self.blocks - first_block).div_ceil(u64::from(self.blocks_per_group));
        let inodes = groups.checked_mul(u64::from(self.inodes_per_group));
        if groups > GROUPS_MAX || inodes != Some(u64::from(self.inodes)) {
            return wrong("number of groups or inodes");
        }
        self.groups = u32::try_from(groups).unwrap_or(0);
        if self.first_inode < FIRST_INODE_OLD || self.first_inode > self.inodes {
            return wrong("first inode");
        }
        if self.has_meta_groups() && self.first_meta_group > self.descriptor_blocks() {
            return wrong("first meta group");
        }
        if self.blocks_reserved > self.blocks {
            return wrong("reserved blocks");
        }
        Ok(())
    }

    /// Whether nothing but features that are not known is against writing it. `EINVAL` if they are, as from Linux.
    pub(crate) fn check_writable(&self) -> Result<(), Errno> {
        let incompatible = self.incompatible & Incompatible::NOT_WRITABLE;
        let known = ReadOnlyCompatible::WRITABLE | ReadOnlyCompatible::READ_ONLY;
        // It goes when the orphans do, which needs a journal.
        let has_journal = self.compatible.contains(Compatible::HAS_JOURNAL);
        let known = if has_journal { known } else { known - ReadOnlyCompatible::ORPHANS_PRESENT };
        let names = Names(incompatible, self.read_only_compatible.difference(known));
        if names.0.is_empty() && names.1.is_empty() {
            return Ok(());
        }
        log::error!("ext: the features {names} are only supported for reading: it can be mounted with the option ro");
        Err(Errno::EINVAL)
    }

    /// Whether the file system itself says that it is only to be read.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only_compatible.contains(ReadOnlyCompatible::READ_ONLY)
    }

    /// Whether a file may have this number.
    pub(crate) fn inodes_have(&self, number: u32) -> bool {
        (self.first_inode..=self.inodes).contains(&number)
    }

    /// Whether all metadata has checksums.
    pub fn has_checksums(&self) -> bool {
        self.read_only_compatible.contains(ReadOnlyCompatible::METADATA_CHECKSUMS)
    }

    /// Whether the journal holds something that must be replayed before anything is read.
    pub fn needs_recovery(&self) -> bool {
        self.incompatible.contains(Incompatible::NEEDS_RECOVERY)
    }

    /// Whether group descriptors have a checksum of one kind or the other, and may say that a group was never used.
    pub fn has_descriptor_checksums(&self) -> bool {
        let any = ReadOnlyCompatible::METADATA_CHECKSUMS.union(ReadOnlyCompatible::DESCRIPTOR_CHECKSUMS);
        self.read_only_compatible.intersects(any)
    }

    /// Whether descriptors stand in the groups they describe.
    pub fn has_meta_groups(&self) -> bool {
        self.incompatible.contains(Incompatible::META_GROUPS)
    }

    /// Whether new files get extents.
    pub fn has_extents(&self) -> bool {
        self.incompatible.contains(Incompatible::EXTENTS)
    }

    /// Whether a directory may have more subdirectories than can be counted.
    pub fn has_many_subdirectories(&self) -> bool {
        self.read_only_compatible.contains(ReadOnlyCompatible::MANY_SUBDIRECTORIES)
    }

    /// Inode records in a block.
    pub fn inodes_per_block(&self) -> u32 {
        u32::try_from(self.block_len / self.inode_len.max(1)).unwrap_or(0).max(1)
    }

    /// Descriptors in a block.
    pub fn descriptors_per_block(&self) -> u32 {
        u32::try_from(self.block_len / self.descriptor_len.max(1)).unwrap_or(0).max(1)
    }

    /// Blocks that all descriptors take.
    pub fn descriptor_blocks(&self) -> u32 {
        self.groups.div_ceil(self.descriptors_per_block())
    }

    /// Blocks that the inode table of a group takes.
    pub fn inode_table_blocks(&self) -> u32 {
        self.inodes_per_group.div_ceil(self.inodes_per_block())
    }

    /// The first block of a group.
    pub fn group_start(&self, group: u32) -> u64 {
        u64::from(self.first_block) + u64::from(group) * u64::from(self.blocks_per_group)
    }

    /// How many blocks a group has: the last may be shorter.
    pub fn group_blocks(&self, group: u32) -> u32 {
        let left = self.blocks.saturating_sub(self.group_start(group));
        u32::try_from(left).unwrap_or(u32::MAX).min(self.blocks_per_group)
    }

    /// The group of a block, and the block's number in it; None for a block that is not there, or stands before all groups.
    pub fn group_of(&self, block: u64) -> Option<(u32, u32)> {
        let at = block.checked_sub(u64::from(self.first_block)).filter(|_| block < self.blocks)?;
        let per_group = u64::from(self.blocks_per_group);
        Some((u32::try_from(at / per_group).ok()?, u32::try_from(at % per_group).ok()?))
    }

    /// Whether all of a range of blocks is inside, behind the superblock.
    pub fn has_blocks(&self, first: u64, count: u64) -> bool {
        first > u64::from(self.first_block) && first.checked_add(count).is_some_and(|end| end <= self.blocks)
    }

    /// The group of an inode, and its number in it; None for one that is not there.
    pub fn group_of_inode(&self, inode: u32) -> Option<(u32, u32)> {
        let at = inode.checked_sub(1).filter(|_| inode <= self.inodes)?;
        Some((at / self.inodes_per_group, at % self.inodes_per_group))
    }

    /// Whether a group has a copy of the superblock, or the superblock itself.
    pub fn has_backup(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.compatible.contains(Compatible::SPARSE_SUPER2) {
            return self.backup_groups.contains(&group);
        }
        if group == 1 || !self.read_only_compatible.contains(ReadOnlyCompatible::SPARSE_SUPER) {
            return true;
        }
        [3, 5, 7].into_iter().any(|base| is_power_of(group, base))
    }

    /// The block of the descriptors number `index` of all blocks of descriptors.
    pub fn descriptor_block(&self, index: u32) -> u64 {
        if !self.has_meta_groups() || index < self.first_meta_group {
            return u64::from(self.first_block) + 1 + u64::from(index);
        }
        let group = index.saturating_mul(self.descriptors_per_block());
        self.group_start(group) + u64::from(self.has_backup(group))
    }

    /// The blocks at the beginning of a group that hold the superblock or a copy, descriptors, and room for more of those.
    pub fn base_blocks(&self, group: u32) -> u32 {
        let superblock = u32::from(self.has_backup(group));
        let meta_group = group / self.descriptors_per_block();
        if !self.has_meta_groups() || meta_group < self.first_meta_group {
            let reserved = u32::from(self.descriptor_blocks_reserved);
            let all = if self.has_meta_groups() { self.first_meta_group } else { self.descriptor_blocks() };
            return if superblock == 0 { 0 } else { 1 + all + reserved };
        }
        let in_meta_group = group % self.descriptors_per_block();
        let has_descriptors = in_meta_group < 2 || in_meta_group == self.descriptors_per_block() - 1;
        superblock + u32::from(has_descriptors)
    }
}

fn is_power_of(number: u32, base: u32) -> bool {
    let mut left = number;
    while left > 1 && left.is_multiple_of(base) {
        left /= base;
    }
    left == 1
}

/// How a block is sealed in which the superblock is at `offset` bytes.
pub(crate) fn seal_at(offset: usize) -> Seal {
    let apply = |block: &mut [u8], seal: &Seal| {
        let [offset, ..] = seal.context;
        let bytes = block.get_mut(offset as usize..).unwrap_or_default();
        let sum = crc32c(CRC32C_START, bytes.get(..CHECKSUM_OFFSET).unwrap_or_default());
        put_u32(bytes, CHECKSUM_OFFSET, sum);
    };
    Seal { apply, context: [u32::try_from(offset).unwrap_or(0), 0, 0], parts: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{put_u16, put_u32};

    /// A superblock of the second revision of 8192 blocks of 1024 bytes.
    fn simple() -> [u8; LEN] {
        let mut bytes = [0; LEN];
        for (offset, number) in [(0, 2048), (4, 8193), (20, 1), (32, 8192), (40, 2048), (76, 1), (84, 11)] {
            put_u32(&mut bytes, offset, number);
        }
        put_u16(&mut bytes, 56, MAGIC);
        put_u16(&mut bytes, 88, 128);
        bytes
    }

    #[test]
    fn geometry() {
        let superblock = Superblock::parse(&simple(), 8193 * 1024).unwrap();
        assert_eq!(superblock.groups, 1);
        assert_eq!(superblock.group_of(0), None);
        assert_eq!(superblock.group_of(8192), Some((0, 8191)));
        assert_eq!(superblock.group_of(8193), None);
        assert_eq!(superblock.group_of_inode(0), None);
        assert_eq!(superblock.group_of_inode(2048), Some((0, 2047)));
        assert_eq!(superblock.descriptor_block(0), 2);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let cases = [(24, 8), (24, 2), (32, 0), (32, 8193), (40, 3), (0, 99), (4, 0), (4, 9000), (84, 0), (8, 9999)];
        for (offset, number) in cases {
            let mut bytes = simple();
            put_u32(&mut bytes, offset, number);
            assert!(Superblock::parse(&bytes, 8193 * 1024).is_err(), "{offset} {number}");
        }
        let mut bytes = simple();
        put_u32(&mut bytes, 96, 0x8_0000);
        assert_eq!(Superblock::parse(&bytes, 8193 * 1024).unwrap_err(), Errno::EINVAL);
        assert_eq!(Superblock::parse(&[0; LEN], 1 << 20).unwrap_err(), Errno::EINVAL);
    }

    #[test]
    fn backups_are_in_powers() {
        let mut bytes = simple();
        put_u32(&mut bytes, 100, ReadOnlyCompatible::SPARSE_SUPER.bits());
        let superblock = Superblock::parse(&bytes, 8193 * 1024).unwrap();
        let groups: Vec<u32> = (0..130).filter(|group| superblock.has_backup(*group)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }
}
