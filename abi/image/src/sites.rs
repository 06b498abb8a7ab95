//! The instructions of a file that must not run as they are.
//!
//! The image builder finds them by disassembly. When the kernel maps a page of the file as code, it copies the page and
//! puts a byte that no instruction begins with in the place of each site's first byte.

use crate::ImageError;
use crate::layout::SiteRecord;

/// Why an instruction is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SiteKind {
    /// It would fault in ring 3 but does something in ring 0.
    Privileged = 1,
    /// A `syscall` that can be rewritten.
    Syscall = 2,
}

impl SiteKind {
    fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Privileged),
            2 => Some(Self::Syscall),
            _ => None,
        }
    }
}

/// One listed instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where it begins in the file.
    pub file_offset: u64,
    /// Why it is listed.
    pub kind: SiteKind,
    /// Its first byte.
    pub original: u8,
}

/// The listed instructions of one file, or of a part of it, sorted by offset.
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
            let offset = record.file_offset.get();
            if offset < next_free || offset >= file_size || SiteKind::from_number(record.kind).is_none() {
                return Err(ImageError::BadSite);
            }
            next_free = offset.checked_add(1).ok_or(ImageError::BadSite)?;
        }
        Ok(())
    }
}

impl Iterator for Sites<'_> {
    type Item = Site;

    fn next(&mut self) -> Option<Site> {
        let (first, rest) = self.records.split_first()?;
        self.records = rest;
        let kind = SiteKind::from_number(first.kind).unwrap_or(SiteKind::Privileged);
        Some(Site { file_offset: first.file_offset.get(), kind, original: first.original })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.records.len(), Some(self.records.len()))
    }
}

impl ExactSizeIterator for Sites<'_> {}
