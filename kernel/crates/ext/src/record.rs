//! [`Record`]: what an inode's record on the disk says of a file, but for where its blocks are.
//!
//! A record has 128 bytes, or more: what is behind them counts as far as the field `extra_isize` says, and then extended attributes
//! follow. Offsets are those of `struct ext4_inode`. Bytes that are not fields of ours are kept.
//!
//! # Times
//!
//! A time is seconds in 32 bits with sign. Behind the first 128 bytes each may have a word more: two bits that count times 2^32
//! seconds, and the nanoseconds above them. Without those words times are clamped to what they can say.

use abi::{Errno, Timespec};
use block::Seal;

use crate::bytes::{get_u16, get_u32, join, put_u16, put_u32, split, split_u32};
use crate::checksum::{crc32c, inode_seed};
use crate::{Superblock, corrupt};

/// Bytes of the part that all records have.
pub(crate) const LEN_OLD: usize = 128;
/// Where the map of blocks is, and its length.
pub(crate) const MAP_OFFSET: usize = 40;
pub(crate) const MAP_LEN: usize = 60;
const EXTRA_LEN_OFFSET: usize = 128;
const CHECKSUM_LOW: usize = 124;
const CHECKSUM_HIGH: usize = 130;
/// Where the deletion time is, which is the next orphan of one that is in their list.
pub(crate) const DELETED_OFFSET: usize = 20;

/// Where the generation is.
pub(crate) const GENERATION_OFFSET: usize = 100;

const KIND_MASK: u16 = 0o170_000;
pub(crate) const KIND_REGULAR: u16 = 0o100_000;
pub(crate) const KIND_DIRECTORY: u16 = 0o040_000;
pub(crate) const KIND_SYMLINK: u16 = 0o120_000;
const KIND_CHARACTER: u16 = 0o020_000;
const KIND_BLOCK: u16 = 0o060_000;
const KIND_FIFO: u16 = 0o010_000;
const KIND_SOCKET: u16 = 0o140_000;

/// Flags of inodes.
pub(crate) mod flag {
    /// It is encrypted.
    pub(crate) const ENCRYPTED: u32 = 0x800;
    /// The directory has an index.
    pub(crate) const INDEX: u32 = 0x1000;
    /// The space taken counts in blocks.
    pub(crate) const HUGE: u32 = 0x4_0000;
    /// The map has extents.
    pub(crate) const EXTENTS: u32 = 0x8_0000;
    /// What a new file takes from its directory (`EXT4_FL_INHERITED`), of what is supported.
    pub(crate) const INHERITED: u32 = 0x4 | 0x8 | 0x40 | 0x80 | 0x400 | 0x8000 | 0x1_0000;
}

/// The attributes of an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Kind and permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names; 1 for a directory with more subdirectories than can be counted.
    pub links: u16,
    /// Length in bytes.
    pub size: u64,
    /// When it was last read.
    pub accessed: Timespec,
    /// When its attributes were last changed.
    pub changed: Timespec,
    /// When its contents were last changed.
    pub modified: Timespec,
    /// When it was made; None where records have no room for it.
    pub created: Option<Timespec>,
}

/// The kind bits of a mode.
pub(crate) fn kind_of(mode: u16) -> u16 {
    mode & KIND_MASK
}

fn is_known_kind(mode: u16) -> bool {
    let kinds = [KIND_REGULAR, KIND_DIRECTORY, KIND_SYMLINK, KIND_CHARACTER, KIND_BLOCK, KIND_FIFO, KIND_SOCKET];
    kinds.contains(&kind_of(mode))
}

/// How many bytes behind the first 128 of a record are used.
pub(crate) fn extra_len(bytes: &[u8]) -> usize {
    if bytes.len() > LEN_OLD { get_u16(bytes, EXTRA_LEN_OFFSET).into() } else { 0 }
}

/// Whether a field behind the first 128 bytes is used.
fn has_field(bytes: &[u8], offset: usize, len: usize) -> bool {
    offset + len <= LEN_OLD + extra_len(bytes) && offset + len <= bytes.len()
}

impl Record {
    /// Reads the record of an inode. `EUCLEAN` for one that cannot be.
    pub(crate) fn parse(number: u32, bytes: &[u8], has_long_size: bool) -> Result<Self, Errno> {
        let extra = extra_len(bytes);
        let mode = get_u16(bytes, 0);
        let has_high = kind_of(mode) == KIND_REGULAR || has_long_size;
        let size = join(get_u32(bytes, 4), if has_high { get_u32(bytes, 108) } else { 0 });
        let is_sane = extra.is_multiple_of(4) && LEN_OLD + extra <= bytes.len().max(LEN_OLD);
        if !is_known_kind(mode) || !is_sane || i64::try_from(size).is_err() {
            return Err(corrupt(format_args!("inode {number} is wrong")));
        }
        Ok(Self {
            mode,
            uid: u32::from(get_u16(bytes, 2)) | u32::from(get_u16(bytes, 120)) << 16,
            gid: u32::from(get_u16(bytes, 24)) | u32::from(get_u16(bytes, 122)) << 16,
            links: get_u16(bytes, 26),
            size,
            accessed: get_time(bytes, 8, 140),
            changed: get_time(bytes, 12, 132),
            modified: get_time(bytes, 16, 136),
            created: has_field(bytes, 144, 4).then(|| get_time(bytes, 144, 148)),
        })
    }

    /// Writes all but the length.
    pub(crate) fn put(&self, bytes: &mut [u8]) {
        put_u16(bytes, 0, self.mode);
        let ((uid, uid_high), (gid, gid_high)) = (split_u32(self.uid), split_u32(self.gid));
        put_u16(bytes, 2, uid);
        put_u16(bytes, 120, uid_high);
        put_u16(bytes, 24, gid);
        put_u16(bytes, 122, gid_high);
        put_u16(bytes, 26, self.links);
        put_time(bytes, self.accessed, 8, 140);
        put_time(bytes, self.changed, 12, 132);
        put_time(bytes, self.modified, 16, 136);
        if let Some(created) = self.created.filter(|_| has_field(bytes, 144, 4)) {
            put_time(bytes, created, 144, 148);
        }
    }
}

/// Writes a length. All kinds have room for the high half; only some have it read.
pub(crate) fn put_size(bytes: &mut [u8], size: u64) {
    let (low, high) = split(size);
    put_u32(bytes, 4, low);
    put_u32(bytes, 108, high);
}

fn get_time(bytes: &[u8], offset: usize, extra_offset: usize) -> Timespec {
    let seconds = i64::from(get_u32(bytes, offset).cast_signed());
    if !has_field(bytes, extra_offset, 4) {
        return Timespec { tv_sec: seconds, tv_nsec: 0 };
    }
    let extra = get_u32(bytes, extra_offset);
    let nanoseconds = i64::from(extra >> 2).min(999_999_999);
    Timespec { tv_sec: seconds + (i64::from(extra & 3) << 32), tv_nsec: nanoseconds }
}

fn put_time(bytes: &mut [u8], time: Timespec, offset: usize, extra_offset: usize) {
    let (least, most) = (i64::from(i32::MIN), i64::from(i32::MAX));
    if !has_field(bytes, extra_offset, 4) {
        let seconds = i32::try_from(time.tv_sec.clamp(least, most)).unwrap_or(0);
        return put_u32(bytes, offset, seconds.cast_unsigned());
    }
    let time_seconds = time.tv_sec.clamp(least, most + (3 << 32));
    let (low, _) = split(time_seconds.cast_unsigned());
    // What the low 32 bits say as a number with sign is completed by multiples of 2^32.
    let epoch = (time_seconds - i64::from(low.cast_signed())) >> 32;
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    put_u32(bytes, offset, low);
    put_u32(bytes, extra_offset, nanoseconds << 2 | u32::try_from(epoch & 3).unwrap_or(0));
}

/// The checksum of a record, and whether its high half is stored.
fn checksum(seed: u32, bytes: &[u8]) -> (u32, bool) {
    let part = |from: usize, to: usize| bytes.get(from..to.min(bytes.len())).unwrap_or_default();
    let mut sum = crc32c(seed, part(0, CHECKSUM_LOW));
    sum = crc32c(crc32c(sum, &[0, 0]), part(CHECKSUM_LOW + 2, LEN_OLD));
    let has_high = has_field(bytes, CHECKSUM_HIGH, 2);
    if bytes.len() > LEN_OLD {
        sum = crc32c(sum, part(LEN_OLD, CHECKSUM_HIGH));
        let rest = if has_high {
            sum = crc32c(sum, &[0, 0]);
            CHECKSUM_HIGH + 2
        } else {
            CHECKSUM_HIGH
        };
        sum = crc32c(sum, part(rest, bytes.len()));
    }
    (sum, has_high)
}

/// How a block of records is sealed of which the one at `index` was changed. The first belongs to the inode `first`.
pub(crate) fn seal_in(superblock: &Superblock, first: u32, index: u32) -> Seal {
    let apply = |block: &mut [u8], seal: &Seal| {
        let [checksum_seed, first, len] = seal.context;
        for (index, bytes) in (0..u32::BITS).zip(block.chunks_exact_mut(len.max(1) as usize)) {
            if seal.parts & 1 << index != 0 {
                let generation = get_u32(bytes, GENERATION_OFFSET);
                self::seal(inode_seed(checksum_seed, first.wrapping_add(index), generation), bytes);
            }
        }
    };
    // There are at most 32 records in a block.
    let parts = 1u32.checked_shl(index).unwrap_or(0);
    let len = u32::try_from(superblock.inode_len).unwrap_or(u32::MAX);
    Seal { apply, context: [superblock.checksum_seed, first, len], parts }
}

/// Sets the checksum of a record.
fn seal(seed: u32, bytes: &mut [u8]) {
    let (sum, has_high) = checksum(seed, bytes);
    let (low, high) = split_u32(sum);
    put_u16(bytes, CHECKSUM_LOW, low);
    if has_high {
        put_u16(bytes, CHECKSUM_HIGH, high);
    }
}

/// Whether the checksum of a record is right.
pub(crate) fn is_sealed(seed: u32, bytes: &[u8]) -> bool {
    let (sum, has_high) = checksum(seed, bytes);
    let (low, high) = split_u32(sum);
    get_u16(bytes, CHECKSUM_LOW) == low && (!has_high || get_u16(bytes, CHECKSUM_HIGH) == high)
}

/// The space taken as a record says it, in units of 512 bytes.
pub(crate) fn get_blocks(bytes: &[u8], has_huge: bool, block_len: usize) -> u64 {
    if !has_huge {
        return get_u32(bytes, 28).into();
    }
    let count = join(get_u32(bytes, 28), get_u16(bytes, 116).into());
    let is_huge = get_u32(bytes, 32) & flag::HUGE != 0;
    if is_huge { count.saturating_mul(block_len as u64 / 512) } else { count }
}

/// Sets the space taken, in units of 512 bytes; the flags say afterwards in which units the record has it.
pub(crate) fn put_blocks(bytes: &mut [u8], blocks: u64, has_huge: bool, block_len: usize, flags: &mut u32) {
    let is_huge = has_huge && blocks >> 48 != 0;
    let count = if is_huge { blocks / (block_len as u64 / 512) } else { blocks };
    *flags = if is_huge { *flags | flag::HUGE } else { *flags & !flag::HUGE };
    let (low, high) = split(count);
    put_u32(bytes, 28, low);
    if has_huge {
        put_u16(bytes, 116, split_u32(high).0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive() {
        let mut bytes = [0; 256];
        put_u16(&mut bytes, 128, 32);
        for seconds in
            [i64::from(i32::MIN), -1, 0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_8000_0000, 0x3_7fff_ffff]
        {
            let time = Timespec { tv_sec: seconds, tv_nsec: 999_999_999 };
            put_time(&mut bytes, time, 8, 140);
            let back = get_time(&bytes, 8, 140);
            assert_eq!((back.tv_sec, back.tv_nsec), (seconds, 999_999_999));
        }
        let mut old = [0; 128];
        put_time(&mut old, Timespec { tv_sec: 1 << 40, tv_nsec: 5 }, 8, 140);
        assert_eq!(get_time(&old, 8, 140).tv_sec, i64::from(i32::MAX));
    }

    #[test]
    fn a_record_survives_and_is_sealed() {
        for len in [128, 256] {
            let mut bytes = std::vec![0; len];
            put_u16(&mut bytes, 128, 32);
            let time = |tv_sec| Timespec { tv_sec, tv_nsec: 0 };
            let record = Record {
                mode: KIND_REGULAR | 0o644,
                uid: 0x1_0002,
                gid: 0x3_0004,
                links: 3,
                size: 0x5_0000_0006,
                accessed: time(1),
                changed: time(2),
                modified: time(3),
                created: (len > 128).then(|| time(4)),
            };
            record.put(&mut bytes);
            put_size(&mut bytes, record.size);
            let back = Record::parse(12, &bytes, false).unwrap();
            assert_eq!(format!("{back:?}"), format!("{record:?}"));
            seal(9, &mut bytes);
            assert!(is_sealed(9, &bytes) && !is_sealed(8, &bytes));
            bytes[len - 1] ^= 1;
            assert!(!is_sealed(9, &bytes));
        }
    }

    #[test]
    fn huge_counts() {
        let mut bytes = [0; 128];
        for blocks in [0, 8, u64::from(u32::MAX) + 8, 1 << 50] {
            let mut flags = 0;
            put_blocks(&mut bytes, blocks, true, 4096, &mut flags);
            put_u32(&mut bytes, 32, flags);
            assert_eq!(get_blocks(&bytes, true, 4096), blocks);
        }
    }
}
