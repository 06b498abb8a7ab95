//! [`Superblock`]: the first block of a journal, which says where its oldest transaction is.
//!
//! Its bytes are kept as they were read, so that what is not understood here stays. Everything of interest lies in its first 512
//! bytes, so a disk writes all of it or nothing.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::bytes::{put, u32_at};
use crate::checksum::{BEGIN, crc32c};
use crate::format::{Checksums, Format, MAGIC, kind};
use crate::{BLOCKS_MIN, JournalError};

/// Bytes of the superblock; its block may be larger.
const LEN: usize = 1024;

/// Where the fields are.
mod at {
    pub(super) const MAGIC: usize = 0x00;
    pub(super) const KIND: usize = 0x04;
    pub(super) const BLOCK_LEN: usize = 0x0c;
    pub(super) const BLOCKS: usize = 0x10;
    pub(super) const FIRST: usize = 0x14;
    pub(super) const SEQUENCE: usize = 0x18;
    pub(super) const START: usize = 0x1c;
    pub(super) const ERRNO: usize = 0x20;
    pub(super) const COMPATIBLE: usize = 0x24;
    pub(super) const INCOMPATIBLE: usize = 0x28;
    pub(super) const READ_ONLY: usize = 0x2c;
    pub(super) const UUID: usize = 0x30;
    pub(super) const CHECKSUM_TYPE: usize = 0x50;
    pub(super) const CHECKSUM: usize = 0xfc;
}

/// A compatible feature: the first kind of checksums.
const CHECKSUM: u32 = 1;
/// Incompatible features.
mod incompatible {
    pub(super) const REVOKE: u32 = 0x01;
    pub(super) const BITS_64: u32 = 0x02;
    pub(super) const ASYNC_COMMIT: u32 = 0x04;
    pub(super) const CHECKSUMS_2: u32 = 0x08;
    pub(super) const CHECKSUMS_3: u32 = 0x10;
    pub(super) const FAST_COMMIT: u32 = 0x20;
    pub(super) const KNOWN: u32 = REVOKE | BITS_64 | ASYNC_COMMIT | CHECKSUMS_2 | CHECKSUMS_3;
}
/// The only kind of checksum that there is, in the second and third layout.
const CRC32C: u8 = 4;

/// The superblock of a journal.
#[derive(Clone, Debug)]
pub(crate) struct Superblock {
    bytes: Box<[u8]>,
}

impl Superblock {
    /// Checks the first block of a journal, which lies in `blocks` blocks of the file system.
    pub(crate) fn parse(block: &[u8], blocks: u32) -> Result<Self, JournalError> {
        let superblock = Self { bytes: block.to_vec().into_boxed_slice() };
        let kind = superblock.get(at::KIND);
        if block.len() < LEN
            || superblock.get(at::MAGIC) != MAGIC
            || !matches!(kind, kind::SUPERBLOCK_1 | kind::SUPERBLOCK_2)
        {
            return Err(JournalError::NotAJournal);
        }
        superblock.check_features()?;
        superblock.check_shape(blocks)?;
        Ok(superblock)
    }

    fn check_features(&self) -> Result<(), JournalError> {
        let (incompatible, read_only) = (self.incompatible(), self.feature(at::READ_ONLY));
        if incompatible & incompatible::FAST_COMMIT != 0 {
            return Err(JournalError::FastCommit);
        }
        let unknown = incompatible & !incompatible::KNOWN;
        if unknown != 0 || read_only != 0 {
            return Err(JournalError::UnknownFeatures(unknown, read_only));
        }
        let kinds = [
            incompatible & incompatible::CHECKSUMS_2 != 0,
            incompatible & incompatible::CHECKSUMS_3 != 0,
            self.feature(at::COMPATIBLE) & CHECKSUM != 0,
        ];
        if kinds.into_iter().filter(|is_set| *is_set).count() > 1 {
            return Err(JournalError::BadSuperblock("it has several kinds of checksums"));
        }
        if !self.checksums().is_in_each_block() {
            return Ok(());
        }
        if self.bytes.get(at::CHECKSUM_TYPE) != Some(&CRC32C) {
            return Err(JournalError::BadSuperblock("its kind of checksum is unknown"));
        }
        if self.get(at::CHECKSUM) != self.checksum() {
            return Err(JournalError::BadChecksum("its superblock"));
        }
        Ok(())
    }

    fn check_shape(&self, blocks: u32) -> Result<(), JournalError> {
        if usize::try_from(self.get(at::BLOCK_LEN)) != Ok(self.bytes.len()) {
            return Err(JournalError::BadSuperblock("its blocks are not those of the file system"));
        }
        let (first, end) = (self.first(), self.end());
        if end > blocks {
            return Err(JournalError::BadSuperblock("it is longer than its place"));
        }
        if first == 0 || end.checked_sub(first).is_none_or(|len| len < BLOCKS_MIN) {
            return Err(JournalError::BadSuperblock("it is too short"));
        }
        let start = self.start();
        if start != 0 && !(first..end).contains(&start) {
            return Err(JournalError::BadSuperblock("its oldest transaction is outside of it"));
        }
        Ok(())
    }

    fn get(&self, offset: usize) -> u32 {
        u32_at(&self.bytes, offset)
    }

    fn set(&mut self, offset: usize, value: u32) {
        put(&mut self.bytes, offset, &value.to_be_bytes());
    }

    /// A word of features, which the first version does not have.
    fn feature(&self, offset: usize) -> u32 {
        if self.get(at::KIND) == kind::SUPERBLOCK_2 { self.get(offset) } else { 0 }
    }

    fn incompatible(&self) -> u32 {
        self.feature(at::INCOMPATIBLE)
    }

    fn checksums(&self) -> Checksums {
        let incompatible = self.incompatible();
        if incompatible & incompatible::CHECKSUMS_3 != 0 {
            Checksums::Third
        } else if incompatible & incompatible::CHECKSUMS_2 != 0 {
            Checksums::Second
        } else if self.feature(at::COMPATIBLE) & CHECKSUM != 0 {
            Checksums::First
        } else {
            Checksums::None
        }
    }

    /// How the rest of the journal is laid out.
    pub(crate) fn format(&self) -> Format {
        let incompatible = self.incompatible();
        let uuid: &[u8] = self.bytes.get(at::UUID..at::UUID + 16).unwrap_or_default();
        Format {
            block_len: self.bytes.len(),
            checksums: self.checksums(),
            seed: crc32c(BEGIN, uuid),
            uuid: uuid.try_into().unwrap_or_default(),
            is_64_bit: incompatible & incompatible::BITS_64 != 0,
            is_async: incompatible & incompatible::ASYNC_COMMIT != 0,
        }
    }

    /// The first block of the log.
    pub(crate) fn first(&self) -> u32 {
        self.get(at::FIRST)
    }

    /// One past the last block of the log.
    pub(crate) fn end(&self) -> u32 {
        self.get(at::BLOCKS)
    }

    /// The number of the transaction at [`Superblock::start`].
    pub(crate) fn sequence(&self) -> u32 {
        self.get(at::SEQUENCE)
    }

    /// The block at which the oldest transaction begins; 0 when nothing is to be replayed.
    pub(crate) fn start(&self) -> u32 {
        self.get(at::START)
    }

    /// The error for which the journal was given up, 0 for none.
    pub(crate) fn errno(&self) -> u32 {
        self.get(at::ERRNO)
    }

    /// Says where the log begins.
    pub(crate) fn set_tail(&mut self, sequence: u32, start: u32) {
        self.set(at::SEQUENCE, sequence);
        self.set(at::START, start);
    }

    /// Says for which error the journal was given up; Linux has it negative.
    pub(crate) fn set_errno(&mut self, errno: u32) {
        self.set(at::ERRNO, errno.wrapping_neg());
    }

    /// Turns on the features that are needed to write to the journal. It must be empty: they change its layout.
    pub(crate) fn upgrade(&mut self, has_checksums: bool, is_64_bit: bool) {
        debug_assert_eq!(self.start(), 0, "the layout of a journal changes under its transactions");
        if self.get(at::KIND) != kind::SUPERBLOCK_2 {
            self.set(at::KIND, kind::SUPERBLOCK_2);
            let rest = self.bytes.get_mut(at::COMPATIBLE..).unwrap_or_default();
            rest.fill(0);
        }
        let mut incompatible = self.incompatible() | incompatible::REVOKE;
        incompatible &= !(incompatible::ASYNC_COMMIT | incompatible::CHECKSUMS_2 | incompatible::CHECKSUMS_3);
        if is_64_bit {
            incompatible |= incompatible::BITS_64;
        }
        if has_checksums {
            incompatible |= incompatible::CHECKSUMS_3;
            put(&mut self.bytes, at::CHECKSUM_TYPE, &[CRC32C]);
        } else {
            put(&mut self.bytes, at::CHECKSUM_TYPE, &[0]);
            self.set(at::CHECKSUM, 0);
        }
        self.set(at::INCOMPATIBLE, incompatible);
        self.set(at::COMPATIBLE, self.feature(at::COMPATIBLE) & !CHECKSUM);
    }

    fn checksum(&self) -> u32 {
        let (before, after) = (self.bytes.get(..at::CHECKSUM), self.bytes.get(at::CHECKSUM + 4..LEN));
        let sum = crc32c(crc32c(BEGIN, before.unwrap_or_default()), &[0; 4]);
        crc32c(sum, after.unwrap_or_default())
    }

    /// The block as it is to be written.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut sealed = self.clone();
        if self.checksums().is_in_each_block() {
            sealed.set(at::CHECKSUM, self.checksum());
        }
        sealed.bytes.into_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(change: impl Fn(&mut Superblock)) -> Vec<u8> {
        let mut superblock = Superblock { bytes: alloc::vec![0; 1024].into_boxed_slice() };
        for (offset, value) in [
            (at::MAGIC, MAGIC),
            (at::KIND, 4),
            (at::BLOCK_LEN, 1024),
            (at::BLOCKS, 1024),
            (at::FIRST, 1),
            (at::SEQUENCE, 7),
        ] {
            superblock.set(offset, value);
        }
        change(&mut superblock);
        superblock.bytes.into_vec()
    }

    fn error(change: impl Fn(&mut Superblock)) -> JournalError {
        Superblock::parse(&block(change), 1024).unwrap_err()
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(Superblock::parse(&block(|_| ()), 1024).is_ok());
        assert_eq!(Superblock::parse(&block(|_| ())[..512], 1024).unwrap_err(), JournalError::NotAJournal);
        assert_eq!(error(|block| block.set(at::MAGIC, 1)), JournalError::NotAJournal);
        assert_eq!(error(|block| block.set(at::KIND, 2)), JournalError::NotAJournal);
        for (offset, value) in [
            (at::BLOCK_LEN, 4096),
            (at::BLOCKS, 1025),
            (at::BLOCKS, 3),
            (at::FIRST, 0),
            (at::FIRST, 5000),
            (at::START, 1024),
        ] {
            assert!(matches!(error(|block| block.set(offset, value)), JournalError::BadSuperblock(_)), "{offset:#x}");
        }
    }

    #[test]
    fn features_that_are_unknown_are_refused() {
        assert_eq!(error(|block| block.set(at::INCOMPATIBLE, 0x20)), JournalError::FastCommit);
        assert_eq!(error(|block| block.set(at::INCOMPATIBLE, 0x40)), JournalError::UnknownFeatures(0x40, 0));
        assert_eq!(error(|block| block.set(at::READ_ONLY, 1)), JournalError::UnknownFeatures(0, 1));
        assert!(matches!(error(|block| block.set(at::INCOMPATIBLE, 0x18)), JournalError::BadSuperblock(_)));
        assert!(matches!(error(|block| block.set(at::INCOMPATIBLE, 0x10)), JournalError::BadSuperblock(_)));
        let first_version = block(|block| {
            block.set(at::KIND, 3);
            block.set(at::INCOMPATIBLE, 0xffff);
        });
        assert!(Superblock::parse(&first_version, 1024).is_ok(), "the first version has no features");
    }

    #[test]
    fn an_upgraded_one_is_sealed_and_read_again() {
        let mut superblock = Superblock::parse(&block(|block| block.set(at::KIND, 3)), 1024).unwrap();
        superblock.upgrade(true, true);
        superblock.set_tail(9, 5);
        let mut bytes = superblock.encode();
        let read = Superblock::parse(&bytes, 1024).unwrap();
        assert_eq!((read.sequence(), read.start(), read.checksums()), (9, 5, Checksums::Third));
        bytes[at::SEQUENCE] ^= 1;
        assert!(matches!(Superblock::parse(&bytes, 1024), Err(JournalError::BadChecksum(_))));
    }
}
