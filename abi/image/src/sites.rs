//! The places of a file that the kernel changes when it maps them as code.
//!
//! The image builder finds them by disassembly; the kernel has no decoder. It changes a copy of the page, and only where
//! the page still holds the bytes that were analysed.
//!
//! # 1. Privileged instructions
//!
//! A byte that no instruction begins with takes the place of the first byte.
//!
//! # 2. System calls
//!
//! A [`Patch`] covers `length` bytes, whole instructions. A `jmp rel32` to a stub takes the place of the first five, `int3`
//! that of the others. The stub runs the covered instructions, with the `syscall` replaced by a jump to the kernel's second
//! entry. All bytes of a patch lie in one page, and patches do not overlap.
//!
//! 1. `syscall_at == length`: the covered instructions come before the `syscall`, which stays where it is and is reached
//!    by whoever jumps to it. The stub goes on behind it.
//! 2. `syscall_at + 2 <= length`: the `syscall` is covered as well, and perhaps instructions behind it. The stub runs these
//!    after the call and goes on at the end of the patch.
//!
//! The builder has proven that control reaches no covered byte but the first one and the `syscall` of case 1, that the
//! covered instructions do the same at any address, and that none of them is a branch.

use zerocopy::little_endian::{U32, U64};

use crate::layout::{SITE_FLAGS_DEAD, SITE_R11_DEAD, SiteRecord};
use crate::{ImageError, PAGE_SIZE};

/// The size of a `syscall` instruction.
const SYSCALL_SIZE: u8 = 2;
/// The size of a `jmp rel32`.
const JUMP_SIZE: u8 = 5;
/// The numbers of the kinds.
const PRIVILEGED: u8 = 1;
const SYSCALL: u8 = 2;

/// Why a place is listed, and what to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SiteKind {
    /// An instruction that would fault in ring 3 but does something in ring 0.
    Privileged,
    /// A `syscall` that can be rewritten.
    Syscall(Patch),
}

/// How a `syscall` is rewritten; offsets count from the first covered byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Patch {
    /// How many bytes are covered.
    pub length: u8,
    /// Where the `syscall` is.
    pub syscall_at: u8,
    /// Bit `n` says that an instruction begins at byte `n`.
    pub starts: u32,
    /// Nothing reads r11 as the system call leaves it.
    pub is_r11_dead: bool,
    /// Nothing reads the status flags as the system call leaves them.
    pub are_flags_dead: bool,
    /// [`Patch::checksum_of`] the covered bytes.
    pub checksum: u32,
}

impl Patch {
    /// The most bytes that a patch covers.
    pub const LENGTH_MAX: u8 = 32;

    /// The checksum of the covered bytes.
    #[must_use]
    pub fn checksum_of(covered: &[u8]) -> u32 {
        // FNV-1a. A change of one byte always changes it.
        covered.iter().fold(0x811c_9dc5, |sum, &byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }

    /// The end of everything that belongs to the patch: of the covered bytes, and of the `syscall`.
    #[must_use]
    pub fn end(&self) -> u8 {
        self.length.max(self.resume_at())
    }

    /// What follows the `syscall`: the return address of the system call.
    #[must_use]
    pub fn resume_at(&self) -> u8 {
        self.syscall_at.saturating_add(SYSCALL_SIZE)
    }

    /// Whether an instruction begins at a covered byte.
    #[must_use]
    pub fn is_start(&self, offset: u8) -> bool {
        self.starts.checked_shr(u32::from(offset)).is_some_and(|starts| starts & 1 != 0)
    }

    fn check(&self, file_offset: u64, file_size: u64) -> Result<(), ImageError> {
        let has_room = (JUMP_SIZE..=Self::LENGTH_MAX).contains(&self.length);
        let is_behind = self.syscall_at == self.length;
        // After the syscall comes an instruction, or the end of the patch; nothing begins inside it.
        let is_within = self.resume_at() <= self.length
            && self.is_start(self.syscall_at)
            && !self.is_start(self.syscall_at.saturating_add(1))
            && (self.resume_at() == self.length || self.is_start(self.resume_at()));
        let is_closed = self.starts.checked_shr(u32::from(self.length)).unwrap_or(0) == 0;
        if !(has_room && (is_behind || is_within) && is_closed && self.is_start(0)) {
            return Err(ImageError::BadSite);
        }
        let end = file_offset.checked_add(u64::from(self.end())).ok_or(ImageError::BadSite)?;
        let is_in_page = file_offset / PAGE_SIZE == (end - 1) / PAGE_SIZE;
        if is_in_page && end <= file_size { Ok(()) } else { Err(ImageError::BadSite) }
    }
}

/// One listed place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where its first byte lies in the file.
    pub file_offset: u64,
    /// Why it is listed.
    pub kind: SiteKind,
    /// Its first byte.
    pub original: u8,
}

impl Site {
    /// The record that says this.
    #[must_use]
    pub fn record(&self) -> SiteRecord {
        let mut record =
            SiteRecord { file_offset: U64::new(self.file_offset), original: self.original, ..SiteRecord::default() };
        match &self.kind {
            SiteKind::Privileged => record.kind = PRIVILEGED,
            SiteKind::Syscall(patch) => {
                record.kind = SYSCALL;
                record.length = patch.length;
                record.syscall_at = patch.syscall_at;
                record.flags |= if patch.is_r11_dead { SITE_R11_DEAD } else { 0 };
                record.flags |= if patch.are_flags_dead { SITE_FLAGS_DEAD } else { 0 };
                record.starts = U32::new(patch.starts);
                record.checksum = U32::new(patch.checksum);
            }
        }
        record
    }

    /// What a record says, if it is one of this version and lies in a file of this size.
    ///
    /// # Errors
    /// [`ImageError::BadSite`].
    pub fn from_record(record: &SiteRecord, file_size: u64) -> Result<Self, ImageError> {
        let site = Self::decode(record).ok_or(ImageError::BadSite)?;
        match &site.kind {
            SiteKind::Privileged if site.file_offset < file_size => Ok(site),
            SiteKind::Privileged => Err(ImageError::BadSite),
            SiteKind::Syscall(patch) => patch.check(site.file_offset, file_size).map(|()| site),
        }
    }

    fn decode(record: &SiteRecord) -> Option<Self> {
        let kind = match record.kind {
            PRIVILEGED => SiteKind::Privileged,
            SYSCALL => SiteKind::Syscall(Patch {
                length: record.length,
                syscall_at: record.syscall_at,
                starts: record.starts.get(),
                is_r11_dead: record.flags & SITE_R11_DEAD != 0,
                are_flags_dead: record.flags & SITE_FLAGS_DEAD != 0,
                checksum: record.checksum.get(),
            }),
            _ => return None,
        };
        let site = Self { file_offset: record.file_offset.get(), kind, original: record.original };
        // Whatever the record says beyond this is unknown here.
        let is_exact = zerocopy::IntoBytes::as_bytes(&site.record()) == zerocopy::IntoBytes::as_bytes(record);
        is_exact.then_some(site)
    }

    /// The end of the bytes that belong to this site alone.
    #[must_use]
    pub fn end(&self) -> u64 {
        let size = match &self.kind {
            SiteKind::Privileged => 1,
            SiteKind::Syscall(patch) => patch.end(),
        };
        self.file_offset.saturating_add(u64::from(size))
    }
}

/// The listed places of one file, or of a part of it, sorted by offset.
#[derive(Clone, Copy, Debug)]
pub struct Sites<'a> {
    records: &'a [SiteRecord],
}

impl<'a> Sites<'a> {
    pub(crate) fn new(records: &'a [SiteRecord]) -> Self {
        Self { records }
    }

    /// The sites that begin in `start..end`, offsets in the file.
    #[must_use]
    pub fn in_range(&self, start: u64, end: u64) -> Self {
        let first = self.records.partition_point(|site| site.file_offset.get() < start);
        let last = self.records.partition_point(|site| site.file_offset.get() < end);
        Self { records: self.records.get(first..last).unwrap_or_default() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn check(&self, file_size: u64) -> Result<(), ImageError> {
        let mut next_free = 0;
        for record in self.records {
            let site = Site::from_record(record, file_size)?;
            if site.file_offset < next_free {
                return Err(ImageError::BadSite);
            }
            next_free = site.end();
        }
        Ok(())
    }
}

impl Iterator for Sites<'_> {
    type Item = Site;

    fn next(&mut self) -> Option<Site> {
        loop {
            let (first, rest) = self.records.split_first()?;
            self.records = rest;
            // The records were checked when the image was parsed, so this is the first one.
            if let Some(site) = Site::decode(first) {
                return Some(site);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.records.len(), Some(self.records.len()))
    }
}

impl ExactSizeIterator for Sites<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_SIZE: u64 = 0x2000;

    fn patch(length: u8, syscall_at: u8, starts: u32) -> Patch {
        Patch { length, syscall_at, starts, is_r11_dead: true, are_flags_dead: false, checksum: 0x1234_5678 }
    }

    fn read(file_offset: u64, patch: Patch) -> Result<Site, ImageError> {
        let site = Site { file_offset, kind: SiteKind::Syscall(patch), original: 0xb8 };
        let read = Site::from_record(&site.record(), FILE_SIZE);
        assert!(read.is_err() || read == Ok(site));
        read
    }

    #[test]
    fn patches_of_each_form_come_back() {
        // mov eax, imm32; syscall.
        assert!(read(0x1ff9, patch(5, 5, 0b1)).is_ok());
        // The same a byte further, where the syscall leaves the page, and the file.
        assert!(read(0xffa, patch(5, 5, 0b1)).is_err() && read(0x1ffa, patch(5, 5, 0b1)).is_err());
        // syscall; cmp rax, imm8, and with an instruction in front.
        assert!(read(0, patch(6, 0, 0b101)).is_ok() && read(0, patch(8, 2, 0b10101)).is_ok());
    }

    #[test]
    fn patches_without_sense_are_refused() {
        let bad = [
            patch(4, 4, 1),         // No room for the jump.
            patch(33, 33, 1),       // Too long.
            patch(5, 5, 0),         // Nothing begins at the start.
            patch(5, 5, 0b10_0001), // Something begins behind the end.
            patch(6, 5, 0b10_0001), // The syscall is half covered.
            patch(6, 4, 0b1),       // Nothing begins at the syscall.
            patch(6, 4, 0b11_0001), // Something begins inside it.
            patch(7, 4, 0b1_0001),  // Nothing begins behind it.
            patch(5, 255, 1),       // It lies elsewhere.
            patch(2, 0, 1),         // The syscall alone.
        ];
        for patch in bad {
            assert_eq!(read(0x100, patch), Err(ImageError::BadSite), "{patch:?}");
        }
        assert_eq!(read(u64::MAX - 2, patch(5, 5, 1)), Err(ImageError::BadSite));
        let good = Site { file_offset: 7, kind: SiteKind::Syscall(patch(5, 5, 1)), original: 0xb8 }.record();
        for bad in [
            SiteRecord { flags: 4, ..good },
            SiteRecord { reserved: [1, 0, 0], ..good },
            SiteRecord { reserved: [0, 0, 1], ..good },
            SiteRecord { kind: 3, ..good },
            SiteRecord { kind: PRIVILEGED, ..good },
        ] {
            assert_eq!(Site::from_record(&bad, FILE_SIZE), Err(ImageError::BadSite));
        }
    }

    #[test]
    fn patches_do_not_overlap() {
        let site = |file_offset| Site { file_offset, kind: SiteKind::Syscall(patch(5, 5, 1)), original: 0xb8 };
        let check = |sites: [Site; 2]| Sites::new(&sites.map(|site| site.record())).check(FILE_SIZE);
        assert!(check([site(0x10), site(0x17)]).is_ok());
        assert!(check([site(0x10), site(0x16)]).is_err() && check([site(0x17), site(0x10)]).is_err());
    }

    #[test]
    fn checksum_sees_every_byte() {
        let sum = Patch::checksum_of(&[0xb8, 1, 0, 0, 0]);
        assert_ne!(sum, Patch::checksum_of(&[0xb9, 1, 0, 0, 0]));
        assert_ne!(sum, Patch::checksum_of(&[0xb8, 1, 0, 0, 1]));
        assert_eq!(Patch::checksum_of(b"foobar"), 0xbf9c_f968);
    }
}
