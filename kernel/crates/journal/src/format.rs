//! [`Format`]: how the blocks of a log are laid out.
//!
//! # 1. Blocks
//!
//! A transaction is a row of blocks in the log, which is a ring. Revoke blocks list blocks of the file system; descriptors list
//! blocks too, and the new contents of each follow behind the descriptor; a commit block ends the transaction. All but the contents
//! begin with the same twelve bytes: a magic number, a kind, and the number of the transaction. So that contents are never
//! mistaken for one of those, contents that begin with the magic number are *escaped*: the number is taken out, and their tag says
//! so.
//!
//! # 2. Tags
//!
//! A descriptor's entries are tags. Their layout depends on features: 8 bytes, 4 more with 64-bit block numbers, 2 more with
//! checksums of the second kind, and 16 in a layout of their own with those of the third. Behind the first stands the UUID of the
//! journal.
//!
//! # 3. Checksums
//!
//! The first kind is one sum over a transaction's descriptors and contents, in its commit block. The second and third have a sum in
//! each tag, over the number of the transaction and the contents (of which the second keeps 16 bits), and one in each other block.
//!
//! Source: `include/linux/jbd2.h` of Linux, and "The Journal (jbd2)" in its documentation of ext4.

use core::iter;

use block::SECTOR_LEN;

use crate::JournalError;
use crate::bytes::{put, u16_at, u32_at, u64_at};
use crate::checksum::{BEGIN, crc32c};

/// What the blocks of a journal that are not contents begin with.
pub(crate) const MAGIC: u32 = 0xc03b_3998;

/// Kinds of blocks.
pub(crate) mod kind {
    pub(crate) const DESCRIPTOR: u32 = 1;
    pub(crate) const COMMIT: u32 = 2;
    pub(crate) const SUPERBLOCK_1: u32 = 3;
    pub(crate) const SUPERBLOCK_2: u32 = 4;
    pub(crate) const REVOKE: u32 = 5;
}

/// Bytes of what blocks begin with.
const HEADER_LEN: usize = 12;
/// Bytes before the entries of a revoke block.
const REVOKE_HEADER_LEN: usize = 16;
/// Bytes of the checksum at the end of descriptors and revoke blocks.
const TAIL_LEN: usize = 4;
/// Bytes of a UUID.
const UUID_LEN: usize = 16;

/// Where the fields of a commit block are.
mod commit {
    pub(super) const CHECKSUM_TYPE: usize = 12;
    pub(super) const CHECKSUM_LEN: usize = 13;
    pub(super) const CHECKSUM: usize = 16;
    pub(super) const SECONDS: usize = 48;
    pub(super) const NANOSECONDS: usize = 56;
}

/// Flags of a tag.
mod flag {
    pub(super) const ESCAPED: u16 = 1;
    pub(super) const SAME_UUID: u16 = 2;
    pub(super) const LAST: u16 = 8;
}

/// The three kinds of checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksums {
    None,
    First,
    Second,
    Third,
}

impl Checksums {
    /// Whether each block has one.
    pub(crate) fn is_in_each_block(self) -> bool {
        matches!(self, Self::Second | Self::Third)
    }
}

/// The layout of a journal.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) block_len: usize,
    pub(crate) checksums: Checksums,
    /// The sum of the journal's UUID.
    pub(crate) seed: u32,
    pub(crate) uuid: [u8; UUID_LEN],
    pub(crate) is_64_bit: bool,
    /// Commit blocks may have reached the disk before what they commit.
    pub(crate) is_async: bool,
}

/// What the blocks that are not contents begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: u32,
    pub(crate) sequence: u32,
}

impl Header {
    /// That of a block; None if it does not have one.
    pub(crate) fn of(block: &[u8]) -> Option<Self> {
        (u32_at(block, 0) == MAGIC).then(|| Self { kind: u32_at(block, 4), sequence: u32_at(block, 8) })
    }

    fn put(self, block: &mut [u8]) {
        put(block, 0, &MAGIC.to_be_bytes());
        put(block, 4, &self.kind.to_be_bytes());
        put(block, 8, &self.sequence.to_be_bytes());
    }
}

/// An entry of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// The block of the file system whose contents follow.
    pub(crate) block: u64,
    /// Whether the magic number was taken out of them.
    pub(crate) is_escaped: bool,
    /// Their sum; for the second kind of checksums, its lower 16 bits.
    checksum: u32,
}

impl Format {
    fn tag_len(&self) -> usize {
        match self.checksums {
            Checksums::Third => 16,
            Checksums::Second => 10 + if self.is_64_bit { 4 } else { 0 },
            Checksums::None | Checksums::First => 8 + if self.is_64_bit { 4 } else { 0 },
        }
    }

    fn record_len(&self) -> usize {
        if self.is_64_bit { 8 } else { 4 }
    }

    /// Where the entries of descriptors and revoke blocks end at the latest.
    fn entries_end(&self) -> usize {
        self.block_len - if self.checksums.is_in_each_block() { TAIL_LEN } else { 0 }
    }

    /// The most blocks that one descriptor describes.
    pub(crate) fn tags_max(&self) -> usize {
        (self.entries_end() - HEADER_LEN - UUID_LEN) / self.tag_len()
    }

    /// The most blocks that one revoke block revokes.
    pub(crate) fn revokes_max(&self) -> usize {
        (self.entries_end() - REVOKE_HEADER_LEN) / self.record_len()
    }

    /// How many blocks of log a transaction takes, with its commit block.
    pub(crate) fn blocks_for(&self, contents: usize, revokes: usize) -> usize {
        contents + contents.div_ceil(self.tags_max()) + revokes.div_ceil(self.revokes_max()) + 1
    }

    /// The tags of a descriptor.
    pub(crate) fn tags<'a>(&self, block: &'a [u8]) -> impl Iterator<Item = Tag> + use<'a> {
        let (len, end) = (self.tag_len(), self.entries_end());
        let (checksums, is_64_bit) = (self.checksums, self.is_64_bit);
        let mut next = Some(HEADER_LEN);
        iter::from_fn(move || {
            let offset = next.take().filter(|offset| offset + len <= end)?;
            // In all layouts, the lower half of the flags is here.
            let flags = u16_at(block, offset + 6);
            let low = u64::from(u32_at(block, offset));
            let high = if is_64_bit { u64::from(u32_at(block, offset + 8)) } else { 0 };
            let checksum = match checksums {
                Checksums::Third => u32_at(block, offset + 12),
                _ => u32::from(u16_at(block, offset + 4)),
            };
            if flags & flag::LAST == 0 {
                next = Some(offset + len + if flags & flag::SAME_UUID == 0 { UUID_LEN } else { 0 });
            }
            Some(Tag { block: high << 32 | low, is_escaped: flags & flag::ESCAPED != 0, checksum })
        })
    }

    /// A tag for these contents, from which the magic number has been taken out already.
    pub(crate) fn tag_for(&self, sequence: u32, block: u64, contents: &[u8], is_escaped: bool) -> Tag {
        Tag { block, is_escaped, checksum: self.contents_sum(sequence, contents) }
    }

    fn contents_sum(&self, sequence: u32, contents: &[u8]) -> u32 {
        if !self.checksums.is_in_each_block() {
            return 0;
        }
        let sum = crc32c(crc32c(self.seed, &sequence.to_be_bytes()), contents);
        if self.checksums == Checksums::Third { sum } else { sum & 0xffff }
    }

    /// Whether a tag belongs to these contents.
    pub(crate) fn is_tag_right(&self, tag: Tag, sequence: u32, contents: &[u8]) -> bool {
        !self.checksums.is_in_each_block() || tag.checksum == self.contents_sum(sequence, contents)
    }

    /// Makes a descriptor of at most [`Format::tags_max`] tags in a block that is zero.
    pub(crate) fn put_descriptor(&self, block: &mut [u8], sequence: u32, tags: &[Tag]) {
        debug_assert!(tags.len() <= self.tags_max(), "a descriptor of too many tags");
        Header { kind: kind::DESCRIPTOR, sequence }.put(block);
        let mut offset = HEADER_LEN;
        for (number, tag) in tags.iter().enumerate() {
            let mut flags = if tag.is_escaped { flag::ESCAPED } else { 0 };
            if number + 1 == tags.len() {
                flags |= flag::LAST;
            }
            if number > 0 {
                flags |= flag::SAME_UUID;
            }
            self.put_tag(block, offset, *tag, flags);
            offset += self.tag_len();
            if number == 0 {
                put(block, offset, &self.uuid);
                offset += UUID_LEN;
            }
        }
        self.seal(block);
    }

    fn put_tag(&self, block: &mut [u8], offset: usize, tag: Tag, flags: u16) {
        let [_, _, _, _, low @ ..] = tag.block.to_be_bytes();
        let [high @ .., _, _, _, _] = tag.block.to_be_bytes();
        put(block, offset, &low);
        if self.checksums == Checksums::Third {
            put(block, offset + 4, &u32::from(flags).to_be_bytes());
            put(block, offset + 12, &tag.checksum.to_be_bytes());
        } else {
            let [.., first, second] = tag.checksum.to_be_bytes();
            put(block, offset + 4, &[first, second]);
            put(block, offset + 6, &flags.to_be_bytes());
        }
        if self.is_64_bit {
            put(block, offset + 8, &high);
        } else {
            debug_assert_eq!(high, [0; 4], "a block number does not fit in a tag");
        }
    }

    /// The blocks that a revoke block revokes.
    pub(crate) fn revoked<'a>(&self, block: &'a [u8]) -> Result<impl Iterator<Item = u64> + use<'a>, JournalError> {
        let end = usize::try_from(u32_at(block, HEADER_LEN)).unwrap_or(usize::MAX);
        if end > self.entries_end() {
            return Err(JournalError::Corrupt("a revoke block is longer than a block"));
        }
        let len = self.record_len();
        let offsets = (REVOKE_HEADER_LEN..).step_by(len).take_while(move |offset| offset + len <= end);
        Ok(offsets.map(move |offset| if len == 8 { u64_at(block, offset) } else { u32_at(block, offset).into() }))
    }

    /// Makes a revoke block of at most [`Format::revokes_max`] blocks in a block that is zero.
    pub(crate) fn put_revoked(&self, block: &mut [u8], sequence: u32, revoked: &[u64]) {
        debug_assert!(revoked.len() <= self.revokes_max(), "a revoke block of too many blocks");
        Header { kind: kind::REVOKE, sequence }.put(block);
        let len = self.record_len();
        let end = REVOKE_HEADER_LEN + revoked.len() * len;
        // It is below the length of a block.
        put(block, HEADER_LEN, &u32::try_from(end).unwrap_or(0).to_be_bytes());
        for (number, revoked) in revoked.iter().enumerate() {
            let bytes = revoked.to_be_bytes();
            put(block, REVOKE_HEADER_LEN + number * len, bytes.get(8 - len..).unwrap_or_default());
        }
        self.seal(block);
    }

    /// Puts the checksum at the end of a descriptor or revoke block.
    fn seal(&self, block: &mut [u8]) {
        if self.checksums.is_in_each_block() {
            let sum = self.sum_without(block, self.entries_end());
            put(block, self.entries_end(), &sum.to_be_bytes());
        }
    }

    /// Whether the checksum at the end of a descriptor or revoke block is right.
    pub(crate) fn is_sealed(&self, block: &[u8]) -> bool {
        let end = self.entries_end();
        !self.checksums.is_in_each_block() || u32_at(block, end) == self.sum_without(block, end)
    }

    /// The sum of a block in which the four bytes at `offset` are zero.
    fn sum_without(&self, block: &[u8], offset: usize) -> u32 {
        let (before, after) = (block.get(..offset), block.get(offset + 4..));
        let sum = crc32c(crc32c(self.seed, before.unwrap_or_default()), &[0; 4]);
        crc32c(sum, after.unwrap_or_default())
    }

    /// Makes a commit block in a block that is zero.
    pub(crate) fn put_commit(&self, block: &mut [u8], sequence: u32, realtime_ns: u64) {
        Header { kind: kind::COMMIT, sequence }.put(block);
        put(block, commit::SECONDS, &(realtime_ns / 1_000_000_000).to_be_bytes());
        let nanoseconds = u32::try_from(realtime_ns % 1_000_000_000).unwrap_or(0);
        put(block, commit::NANOSECONDS, &nanoseconds.to_be_bytes());
        if self.checksums.is_in_each_block() {
            let sum = self.sum_without(block, commit::CHECKSUM);
            put(block, commit::CHECKSUM, &sum.to_be_bytes());
        }
    }

    /// Whether the checksum of a commit block is right; `sum` is that of the transaction, for checksums of the first kind.
    pub(crate) fn is_commit_right(&self, block: &[u8], sum: u32) -> bool {
        let found = u32_at(block, commit::CHECKSUM);
        match self.checksums {
            Checksums::None => true,
            Checksums::First => {
                // CRC-32 is kind 1 of length 4; a transaction may also have none.
                let [kind, len] = [commit::CHECKSUM_TYPE, commit::CHECKSUM_LEN].map(|at| block.get(at).copied());
                matches!((kind, len), (Some(1), Some(4))) && found == sum
                    || matches!((kind, len), (Some(0), Some(0))) && found == 0
            }
            Checksums::Second | Checksums::Third => {
                found == self.sum_without(block, commit::CHECKSUM) || found == self.sum_of_torn_commit(block)
            }
        }
    }

    /// The checksum of a commit block of which the disk has written the first sector only. All that it says is there, and what it
    /// commits was stable before: so it counts. The rest, which was zero, is left over from an earlier use of the place.
    fn sum_of_torn_commit(&self, block: &[u8]) -> u32 {
        let mut whole = block.to_vec();
        whole.iter_mut().skip(SECTOR_LEN).for_each(|byte| *byte = 0);
        self.sum_without(&whole, commit::CHECKSUM)
    }
}

/// When a transaction was committed, in seconds, as its commit block says.
pub(crate) fn commit_seconds(block: &[u8]) -> u64 {
    u64_at(block, commit::SECONDS)
}

/// Takes the magic number out of contents that begin with it; whether they did.
pub(crate) fn escape(contents: &mut [u8]) -> bool {
    let must_escape = u32_at(contents, 0) == MAGIC;
    if must_escape {
        put(contents, 0, &[0; 4]);
    }
    must_escape
}

/// Undoes [`escape`].
pub(crate) fn unescape(contents: &mut [u8]) {
    put(contents, 0, &MAGIC.to_be_bytes());
}

/// What the sum of a transaction begins with, for checksums of the first kind.
pub(crate) const SUM_BEGIN: u32 = BEGIN;

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    fn formats() -> Vec<Format> {
        use Checksums::{First, None, Second, Third};
        let mut formats = Vec::new();
        for checksums in [None, First, Second, Third] {
            for is_64_bit in [false, true] {
                let uuid = *b"0123456789abcdef";
                let seed = crc32c(BEGIN, &uuid);
                formats.push(Format { block_len: 1024, checksums, seed, uuid, is_64_bit, is_async: false });
            }
        }
        formats
    }

    #[test]
    fn descriptors_are_read_as_written() {
        for format in formats() {
            for count in [1, 2, format.tags_max()] {
                let high = if format.is_64_bit { 1 << 40 } else { 0 };
                let tags: Vec<Tag> = (0..count as u64)
                    .map(|number| format.tag_for(3, high | (number * 7), &[1, 2, 3], number % 3 == 1))
                    .collect();
                let mut block = vec![0; 1024];
                format.put_descriptor(&mut block, 3, &tags);
                assert_eq!(Header::of(&block), Some(Header { kind: kind::DESCRIPTOR, sequence: 3 }));
                assert_eq!(format.tags(&block).collect::<Vec<_>>(), tags, "{format:?}");
                assert!(format.is_sealed(&block));
                assert!(tags.iter().all(|tag| format.is_tag_right(*tag, 3, &[1, 2, 3])));
                block[1000] ^= 1;
                assert_eq!(format.is_sealed(&block), !format.checksums.is_in_each_block());
                assert_eq!(format.is_tag_right(tags[0], 4, &[1, 2, 3]), !format.checksums.is_in_each_block());
            }
        }
    }

    #[test]
    fn revoke_blocks_are_read_as_written() {
        for format in formats() {
            let revoked: Vec<u64> = (0..format.revokes_max() as u64).map(|number| number * 3).collect();
            let mut block = vec![0; 1024];
            format.put_revoked(&mut block, 9, &revoked);
            assert_eq!(format.revoked(&block).unwrap().collect::<Vec<_>>(), revoked);
            assert!(format.is_sealed(&block));
            put(&mut block, 12, &1025_u32.to_be_bytes());
            assert!(format.revoked(&block).is_err());
            put(&mut block, 12, &3_u32.to_be_bytes());
            assert_eq!(format.revoked(&block).unwrap().count(), 0);
        }
    }

    #[test]
    fn commit_blocks_have_a_sum() {
        for format in formats() {
            let mut block = vec![0; 1024];
            format.put_commit(&mut block, 5, 1_234_000_000_567);
            assert_eq!(commit_seconds(&block), 1234);
            assert!(format.is_commit_right(&block, 0));
            block[600] ^= 1;
            assert!(format.is_commit_right(&block, 0), "its first sector is whole");
            block[50] ^= 1;
            assert_eq!(format.is_commit_right(&block, 0), !format.checksums.is_in_each_block());
        }
    }

    #[test]
    fn tags_of_noise_end() {
        for format in formats() {
            for byte in 0..=255 {
                let block = vec![byte; 1024];
                assert!(format.tags(&block).count() <= 1024 / 8);
                let _ = format.revoked(&block).map(Iterator::count);
            }
        }
    }

    #[test]
    fn the_magic_number_is_escaped() {
        let mut contents = MAGIC.to_be_bytes().to_vec();
        assert!(escape(&mut contents));
        assert_eq!(contents, [0; 4]);
        assert!(!escape(&mut contents));
        unescape(&mut contents);
        assert_eq!(contents, MAGIC.to_be_bytes());
    }
}
