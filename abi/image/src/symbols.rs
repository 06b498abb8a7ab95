//! The names of the kernel's functions, for backtraces. Looked up in a panic: no allocation, no panic.
//!
//! # How they are stored
//!
//! 1. A function is a record: where it begins, and the number of its name. Functions of one name share it.
//! 2. Names are in order, and each says only how many bytes it shares with the one before it and which follow (front
//!    coding: Witten, Moffat and Bell, "Managing Gigabytes", 4.1). Paths of modules are most of a name, so that takes a
//!    sixth of the room.
//! 3. A byte of what follows is a character of ASCII, or from [`FIRST_PAIR`] on the number of a pair: two bytes that stand
//!    together often, characters or pairs with a smaller number (byte pair encoding: Gage, "A new algorithm for data
//!    compression", 1994). The pairs come before the names. That halves what is left.
//! 4. A name is found by reading all before it. A backtrace asks for a few dozen.

use core::fmt;

use zerocopy::FromBytes;

use crate::ImageError;
use crate::layout::{NAMELESS, SymbolRecord};

/// The number of the first pair; what is smaller is a character.
pub(crate) const FIRST_PAIR: u8 = 0x80;
/// How many pairs there are.
pub(crate) const PAIR_COUNT: usize = 0x100 - FIRST_PAIR as usize;
/// The longest name kept; the rest of a longer one is cut off.
pub const SYMBOL_NAME_LEN_MAX: usize = u8::MAX as usize;

/// The kernel's functions, sorted by their distance from its link base.
#[derive(Clone, Copy)]
pub struct Symbols<'a> {
    records: &'a [SymbolRecord],
    pairs: &'a Pairs,
    names: &'a [u8],
}

/// What each number from [`FIRST_PAIR`] on stands for.
pub(crate) type Pairs = [[u8; 2]; PAIR_COUNT];

impl<'a> Symbols<'a> {
    pub(crate) fn parse(records: &'a [u8], names: &'a [u8]) -> Result<Self, ImageError> {
        let records = <[SymbolRecord]>::ref_from_bytes(records).map_err(|_| ImageError::BadTable)?;
        // Names are checked when they are asked for: that is once, in a panic.
        if !records.is_sorted_by_key(|record| record.offset.get()) {
            return Err(ImageError::BadSymbol);
        }
        let (pairs, names) = Pairs::ref_from_prefix(names).map_err(|_| ImageError::BadTable)?;
        Ok(Self { records, pairs, names })
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
            rest = name.follow(rest, self.pairs)?;
        }
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
    fn follow<'a>(&mut self, coded: &'a [u8], pairs: &Pairs) -> Option<&'a [u8]> {
        let (&[shared_len, own_len], coded) = coded.split_first_chunk::<2>()?;
        let (own, coded) = coded.split_at_checked(usize::from(own_len))?;
        let shared_len = usize::from(shared_len);
        if shared_len > self.len {
            return None;
        }
        self.len = shared_len;
        for &code in own {
            self.spell(code, pairs)?;
        }
        Some(coded)
    }

    /// Adds the characters that `code` stands for.
    fn spell(&mut self, code: u8, pairs: &Pairs) -> Option<()> {
        // The second halves of the pairs on the way down, which are fewer than pairs as numbers only become smaller.
        let mut pending = [0; PAIR_COUNT];
        let mut pending_count = 0_usize;
        let mut code = code;
        loop {
            while let Some(number) = code.checked_sub(FIRST_PAIR) {
                let [first, second] = *pairs.get(usize::from(number))?;
                if first >= code || second >= code {
                    return None;
                }
                *pending.get_mut(pending_count)? = second;
                pending_count += 1;
                code = first;
            }
            *self.bytes.get_mut(self.len)? = code;
            self.len += 1;
            let Some(left) = pending_count.checked_sub(1) else { return Some(()) };
            pending_count = left;
            code = *pending.get(left)?;
        }
    }

    fn text(&self) -> &str {
        self.bytes.get(..self.len).and_then(|text| core::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl fmt::Display for SymbolName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl fmt::Debug for SymbolName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text(), formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(code: u8, pairs: &Pairs) -> Option<String> {
        let mut name = SymbolName::EMPTY;
        name.spell(code, pairs)?;
        Some(name.to_string())
    }

    #[test]
    fn pairs_may_hold_pairs_with_smaller_numbers() {
        let mut pairs = [[b'a', b'b']; PAIR_COUNT];
        pairs[1] = [FIRST_PAIR, b'c'];
        pairs[2] = [FIRST_PAIR + 1, FIRST_PAIR];
        assert_eq!(spelled(b'x', &pairs).as_deref(), Some("x"));
        assert_eq!(spelled(FIRST_PAIR + 2, &pairs).as_deref(), Some("abcab"));
        // As deep as pairs can be.
        for (pair, number) in pairs.iter_mut().zip(FIRST_PAIR..=u8::MAX).skip(1) {
            *pair = [number - 1, b'.'];
        }
        assert_eq!(spelled(0xff, &pairs), Some(format!("ab{}", ".".repeat(PAIR_COUNT - 1))));
    }

    #[test]
    fn pairs_that_hold_themselves_and_names_too_long_are_none() {
        let mut pairs = [[b'a', b'b']; PAIR_COUNT];
        pairs[3] = [b'a', FIRST_PAIR + 3];
        assert_eq!(spelled(FIRST_PAIR + 3, &pairs), None);
        for (pair, number) in pairs.iter_mut().zip(FIRST_PAIR..=u8::MAX).skip(1) {
            *pair = [number - 1; 2];
        }
        assert_eq!(spelled(0xff, &pairs), None);
    }
}
