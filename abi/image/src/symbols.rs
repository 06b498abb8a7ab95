//! The names of the kernel's functions, for backtraces. Looked up in a panic: no allocation, no panic.
//!
//! # How they are stored
//!
//! 1. A function is a record: where it begins, and the number of its name. Functions of one name share it.
//! 2. Names are in order, and each says only how many bytes it shares with the one before it and which follow (front
//!    coding: Witten, Moffat and Bell, "Managing Gigabytes", 4.1). Paths of modules are most of a name, so that takes a
//!    sixth of the room.
//! 3. A name is found by reading all before it. A backtrace asks for a few dozen.

use core::fmt;
use core::str::Utf8Error;

use zerocopy::FromBytes;

use crate::ImageError;
use crate::layout::{NAMELESS, SymbolRecord};

/// The longest name kept; the rest of a longer one is cut off.
pub const SYMBOL_NAME_LEN_MAX: usize = u8::MAX as usize;

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

    /// The function that holds the byte at `offset` from the kernel's link base, and how far into it the byte is.
    pub fn lookup(&self, offset: u64) -> Option<(SymbolName, u64)> {
        let following = self.records.partition_point(|record| u64::from(record.offset.get()) <= offset);
        let record = self.records.get(following.checked_sub(1)?)?;
        let distance = offset.checked_sub(u64::from(record.offset.get()))?;
        Some((self.name(record.name.get())?, distance))
    }

    /// How many functions there are.
    pub fn count(&self) -> usize {
        self.records.len().saturating_sub(1)
    }

    fn name(&self, number: u16) -> Option<SymbolName> {
        if number == NAMELESS {
            return None;
        }
        let mut name = SymbolName::EMPTY;
        let mut rest = self.names;
        for _ in 0..=number {
            rest = name.follow(rest)?;
        }
        name.text().ok()?;
        Some(name)
    }
}

impl fmt::Debug for Symbols<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Symbols").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// The name of a function, as it is written in source code.
#[derive(Clone, Copy)]
pub struct SymbolName {
    bytes: [u8; SYMBOL_NAME_LEN_MAX],
    len: usize,
}

impl SymbolName {
    const EMPTY: Self = Self { bytes: [0; SYMBOL_NAME_LEN_MAX], len: 0 };

    /// Becomes the name that is next in `coded`; what follows it there.
    fn follow<'a>(&mut self, coded: &'a [u8]) -> Option<&'a [u8]> {
        let (&[shared_len, own_len], coded) = coded.split_first_chunk::<2>()?;
        let (own, coded) = coded.split_at_checked(usize::from(own_len))?;
        let shared_len = usize::from(shared_len);
        if shared_len > self.len {
            return None;
        }
        self.bytes.get_mut(shared_len..shared_len + own.len())?.copy_from_slice(own);
        self.len = shared_len + own.len();
        Some(coded)
    }

    fn text(&self) -> Result<&str, Utf8Error> {
        core::str::from_utf8(self.bytes.get(..self.len).unwrap_or_default())
    }
}

impl fmt::Display for SymbolName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text().unwrap_or_default())
    }
}

impl fmt::Debug for SymbolName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text().unwrap_or_default(), formatter)
    }
}
