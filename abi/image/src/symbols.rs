//! The names of the kernel's functions, for backtraces. Looked up in a panic: no allocation, no panic.

use core::fmt;

use zerocopy::FromBytes;

use crate::ImageError;
use crate::layout::SymbolRecord;

/// The kernel's functions, sorted by their distance from its link base.
#[derive(Clone, Copy)]
pub struct Symbols<'a> {
    records: &'a [SymbolRecord],
    names: &'a [u8],
}

impl<'a> Symbols<'a> {
    pub(crate) fn parse(records: &'a [u8], names: &'a [u8]) -> Result<Self, ImageError> {
        let records = <[SymbolRecord]>::ref_from_bytes(records).map_err(|_| ImageError::BadTable)?;
        // Names are checked when they are asked for: that is once, in a panic.
        if !records.is_sorted_by_key(|record| record.offset.get()) {
            return Err(ImageError::BadSymbol);
        }
        Ok(Self { records, names })
    }

    /// The function that holds the byte at `offset` from the kernel's link base: its mangled name, and how far into it
    /// the byte is.
    pub fn lookup(&self, offset: u64) -> Option<(&'a str, u64)> {
        let following = self.records.partition_point(|record| u64::from(record.offset.get()) <= offset);
        let record = self.records.get(following.checked_sub(1)?)?;
        let name = self.name(record).filter(|name| !name.is_empty())?;
        Some((name, offset.checked_sub(u64::from(record.offset.get()))?))
    }

    /// How many functions there are.
    pub fn count(&self) -> usize {
        self.records.len().saturating_sub(1)
    }

    fn name(&self, record: &SymbolRecord) -> Option<&'a str> {
        let bytes = self.names.get(usize::try_from(record.name.get()).ok()?..)?;
        let (size, bytes) = bytes.split_first_chunk::<2>()?;
        core::str::from_utf8(bytes.get(..usize::from(u16::from_le_bytes(*size)))?).ok()
    }
}

impl fmt::Debug for Symbols<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Symbols").field("count", &self.count()).finish_non_exhaustive()
    }
}
