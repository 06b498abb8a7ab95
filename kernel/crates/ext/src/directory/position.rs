//! [`Position`]: where in the order of listing a name is.
//!
//! # Theory
//!
//! 1. A position is a number that a program may keep for long, while names come and go. Places in blocks will not do for it where
//!    blocks are split: names move. The hash of a name stays, and it is the order of the index, so that is what positions are made of.
//! 2. From the top: 31 bits of the major hash, 24 of the minor one, and 8 that number the names, sorted, that agree in all these 55. The sum
//!    stays positive as a `lseek` offset.
//! 3. A name that stays is given exactly once, unless another one comes or goes meanwhile that agrees with it in 55 bits of a
//!    keyed hash. Linux keeps such names together and tells them apart only while the directory is open.
//! 4. A directory of one block may get an index at any time, so it is listed in this order from the beginning, when the file system
//!    allows indexes. Any other stays as it is: there names do not move, and a position is a place in the directory.

use super::Nonsense;
use super::hash::NameHash;

/// Bits of the number among equals.
const RANK_BITS: u32 = 8;
/// The part of the minor hash that is used.
const MINOR_MASK: u32 = !0 << RANK_BITS;
/// Behind all: no name has this hash.
pub(super) const END: u64 = 0x7fff_ffff << 32;

/// A position in the order of hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position(u64);

impl Position {
    pub(super) fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(super) fn raw(self) -> u64 {
        self.0
    }

    /// Of the first name with a hash.
    pub(super) fn of(hash: NameHash) -> Self {
        Self(u64::from(hash.major >> 1) << 32 | u64::from(hash.minor & MINOR_MASK))
    }

    /// Of the first name in a block that begins with a hash; the lowest bit does not count.
    pub(super) fn of_block(begin: u32) -> Self {
        Self(u64::from(begin >> 1) << 32)
    }

    /// Of the first of its equals.
    pub(super) fn first(self) -> Self {
        Self(self.0 & !0 << RANK_BITS)
    }

    /// Of the equal with a number.
    pub(super) fn with_rank(self, rank: usize) -> Result<Self, Nonsense> {
        let rank = u8::try_from(rank).map_err(|_| Nonsense("too many names have one hash"))?;
        Ok(Self(self.0 | u64::from(rank)))
    }

    /// The next there could be.
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The major hash.
    pub(super) fn major(self) -> u32 {
        u32::try_from(self.0 >> 32 << 1).unwrap_or(u32::MAX) & !1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_in_the_order_of_hashes() {
        let low = Position::of(NameHash { major: 6, minor: u32::MAX });
        let high = Position::of(NameHash { major: 8, minor: 0 });
        assert!(low < high && low.with_rank(255).is_ok_and(|last| last < high && last.next() <= high));
        assert!(low.with_rank(256).is_err());
        assert_eq!((low.major(), high.major(), high.first()), (6, 8, high));
        assert_eq!(low.with_rank(7).map(Position::first), Ok(low));
        assert!(Position::of_block(7) <= low && Position::of_block(8) == high);
        let last = Position::of(NameHash { major: 0xffff_fffc, minor: u32::MAX });
        assert!(last.next().raw() < END && i64::try_from(END + 2).is_ok());
        assert_eq!(Position::from_raw(END).major(), 0xffff_fffe);
    }
}
