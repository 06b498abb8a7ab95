//! [`Index`]: one block of the index of a directory, in its bytes.
//!
//! # Theory
//!
//! 1. The index is a tree of bounded depth inside the directory's own blocks (D. Phillips, "A Directory Index for Ext2", Ottawa Linux
//!    Symposium 2002). Block 0 is its root. To who knows no index the root is a block with `.` and `..`, of which the second covers all
//!    the rest, and a node is one free record: so it can be read, and even be written, without one.
//! 2. A block of the index has entries of a hash and a block number, sorted by hash. The names of an entry's block have hashes from its own to
//!    that of the next. The first entry has no hash, as it begins where the block above says; its place holds the number of entries, and
//!    how many fit.
//! 3. Names of one hash may fill more than a block. The entry of each further block has the lowest bit of its hash set, which no
//!    name's hash has, so that who looks for the hash finds the first of them and knows that the next goes on.

use super::Nonsense;
use super::block::{INDEX_TAIL_LEN, index_checksum};
use super::hash::HashVersion;
use super::records::RECORD_LEN_MIN;
use crate::DirectoryFormat;
use crate::bytes::{get_u8, get_u16, get_u32, put_u8, put_u16, put_u32};

/// Bytes of an entry.
const ENTRY_LEN: usize = 8;
/// Where the entries of a node begin: behind the head of a free record.
const NODE_ENTRIES: usize = 8;
/// Where the root says what it is: behind `.` and `..`.
const AT_INFO: usize = 24;
const AT_VERSION: usize = AT_INFO + 4;
const AT_INFO_LEN: usize = AT_INFO + 5;
const AT_LEVELS: usize = AT_INFO + 6;
const AT_FLAGS: usize = AT_INFO + 7;
/// Bytes of that.
const INFO_LEN: u8 = 8;
/// Where the entries of the root begin.
const ROOT_ENTRIES: usize = AT_INFO + 8;
/// The bits of an entry that are the block's number.
const BLOCK_MASK: u32 = 0x0fff_ffff;
/// The most blocks from the root to the last block of the index, in a directory of any kind.
pub(super) const LEVELS_MAX: usize = 3;
/// The same, where the file system does not allow large directories.
const LEVELS_MAX_USUAL: usize = 2;

/// How many levels an index may have.
pub(super) fn levels_max(format: &DirectoryFormat) -> usize {
    if format.is_large { LEVELS_MAX } else { LEVELS_MAX_USUAL }
}

/// What the root says of the whole index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RootInfo {
    pub(super) version: HashVersion,
    /// Blocks from the root to the last of the index: 1 when the root's entries are blocks of names.
    pub(super) levels: usize,
}

/// Where the entries of a block are, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Index {
    begin: usize,
    limit: usize,
    count: usize,
}

/// How many entries fit in a block in which they begin there.
fn limit_of(format: &DirectoryFormat, begin: usize) -> usize {
    let tail_len = if format.checksum_seed.is_some() { INDEX_TAIL_LEN } else { 0 };
    format.block_len.saturating_sub(begin + tail_len) / ENTRY_LEN
}

fn narrow(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

impl Index {
    /// The root.
    pub(super) fn root(bytes: &[u8], format: &DirectoryFormat) -> Result<(Self, RootInfo), Nonsense> {
        if get_u32(bytes, AT_INFO) != 0 || get_u8(bytes, AT_INFO_LEN) != INFO_LEN || get_u8(bytes, AT_FLAGS) & 1 != 0 {
            return Err(Nonsense("the root of the index is none"));
        }
        let version = HashVersion::from_raw(get_u8(bytes, AT_VERSION)).ok_or(Nonsense("the hash is unknown"))?;
        let levels = usize::from(get_u8(bytes, AT_LEVELS)) + 1;
        if levels > levels_max(format) {
            return Err(Nonsense("the index has too many levels"));
        }
        Ok((Self::parse(bytes, format, ROOT_ENTRIES)?, RootInfo { version, levels }))
    }

    /// Another block.
    pub(super) fn node(bytes: &[u8], format: &DirectoryFormat) -> Result<Self, Nonsense> {
        Self::parse(bytes, format, NODE_ENTRIES)
    }

    fn parse(bytes: &[u8], format: &DirectoryFormat, begin: usize) -> Result<Self, Nonsense> {
        let limit = usize::from(get_u16(bytes, begin));
        let count = usize::from(get_u16(bytes, begin + 2));
        if limit != limit_of(format, begin) {
            return Err(Nonsense("a block of the index has a wrong limit"));
        }
        if count == 0 || count > limit {
            return Err(Nonsense("a block of the index has an impossible count"));
        }
        Ok(Self { begin, limit, count })
    }

    /// Compares the checksum of the block.
    pub(super) fn check(&self, bytes: &[u8], seed: u32) -> Result<(), Nonsense> {
        if get_u32(bytes, self.tail() + 4) != self.checksum(bytes, seed) {
            return Err(Nonsense("the checksum is wrong"));
        }
        Ok(())
    }

    fn checksum(&self, bytes: &[u8], seed: u32) -> u32 {
        index_checksum(bytes, self.at(self.count), self.tail(), seed)
    }

    /// Writes the checksum of the block.
    pub(super) fn seal(&self, bytes: &mut [u8], seed: Option<u32>) {
        if let Some(seed) = seed {
            let sum = self.checksum(bytes, seed);
            put_u32(bytes, self.tail() + 4, sum);
        }
    }

    fn at(&self, entry: usize) -> usize {
        self.begin + entry * ENTRY_LEN
    }

    fn tail(&self) -> usize {
        self.at(self.limit)
    }

    /// How many entries there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether no entry can be added.
    pub(super) fn is_full(&self) -> bool {
        self.count >= self.limit
    }

    /// The hash at which an entry begins; that of the first is 0.
    pub(super) fn hash(&self, bytes: &[u8], entry: usize) -> u32 {
        if entry == 0 { 0 } else { get_u32(bytes, self.at(entry)) }
    }

    /// The block of an entry.
    pub(super) fn block(&self, bytes: &[u8], entry: usize) -> u32 {
        get_u32(bytes, self.at(entry) + 4) & BLOCK_MASK
    }

    /// The last entry that begins at a hash or before it.
    pub(super) fn search(&self, bytes: &[u8], hash: u32) -> usize {
        let (mut low, mut high) = (1, self.count);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.hash(bytes, middle) > hash {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low - 1
    }

    fn set_count(&mut self, bytes: &mut [u8], count: usize) {
        self.count = count;
        put_u16(bytes, self.begin, narrow(self.limit));
        put_u16(bytes, self.begin + 2, narrow(count));
    }

    /// Adds an entry as number `entry`, which is not 0. There is room.
    pub(super) fn insert(&mut self, bytes: &mut [u8], entry: usize, hash: u32, block: u32) {
        debug_assert!(entry > 0 && entry <= self.count && !self.is_full(), "an entry where none can be");
        let (at, end) = (self.at(entry), self.at(self.count));
        if end + ENTRY_LEN <= bytes.len() && at <= end {
            bytes.copy_within(at..end, at + ENTRY_LEN);
        }
        put_u32(bytes, at, hash);
        put_u32(bytes, at + 4, block);
        self.set_count(bytes, self.count + 1);
    }

    /// The bytes of the entries from one on: what [`Index::fill_node`] takes.
    pub(super) fn entries_from<'a>(&self, bytes: &'a [u8], entry: usize) -> &'a [u8] {
        bytes.get(self.at(entry)..self.at(self.count)).unwrap_or_default()
    }

    /// Forgets the entries from one on, which is not 0.
    pub(super) fn cut(&mut self, bytes: &mut [u8], entry: usize) {
        self.set_count(bytes, entry);
    }

    /// Makes a block of zeroes a node with these entries.
    pub(super) fn fill_node(bytes: &mut [u8], format: &DirectoryFormat, entries: &[u8]) -> Self {
        let mut index = Self { begin: NODE_ENTRIES, limit: limit_of(format, NODE_ENTRIES), count: 0 };
        super::records::fill(bytes, format.block_len, []);
        if let Some(place) = bytes.get_mut(NODE_ENTRIES..NODE_ENTRIES + entries.len()) {
            place.copy_from_slice(entries);
        }
        index.set_count(bytes, entries.len() / ENTRY_LEN);
        index
    }

    /// Makes a block with `.` and `..`, of which the second covers the rest, a root with one entry.
    pub(super) fn fill_root(bytes: &mut [u8], format: &DirectoryFormat, version: HashVersion, block: u32) -> Self {
        bytes.get_mut(AT_INFO..).unwrap_or_default().fill(0);
        put_u8(bytes, AT_VERSION, version.raw());
        put_u8(bytes, AT_INFO_LEN, INFO_LEN);
        let mut index = Self { begin: ROOT_ENTRIES, limit: limit_of(format, ROOT_ENTRIES), count: 0 };
        put_u32(bytes, index.at(0) + 4, block);
        index.set_count(bytes, 1);
        index
    }

    /// Puts a level between the root and what is below: all its entries are in `block` now.
    pub(super) fn deepen(&mut self, bytes: &mut [u8], block: u32) {
        let levels = get_u8(bytes, AT_LEVELS).saturating_add(1);
        put_u8(bytes, AT_LEVELS, levels);
        put_u32(bytes, self.at(0) + 4, block);
        self.set_count(bytes, 1);
    }
}

/// Where the second record of a root begins, and its length in it.
pub(super) const PARENT_RECORD: usize = RECORD_LEN_MIN;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn format(checksum_seed: Option<u32>) -> DirectoryFormat {
        DirectoryFormat {
            block_len: 1024,
            checksum_seed,
            has_file_types: true,
            may_have_index: true,
            is_large: false,
            hash_version: 1,
            hash_is_unsigned: false,
            hash_seed: [0; 4],
        }
    }

    #[test]
    fn limits_are_those_of_the_format() {
        // (1024 - 32) / 8 and (1024 - 8) / 8, and one less each with a checksum.
        assert_eq!(limit_of(&format(None), ROOT_ENTRIES), 124);
        assert_eq!(limit_of(&format(None), NODE_ENTRIES), 127);
        assert_eq!(limit_of(&format(Some(1)), ROOT_ENTRIES), 123);
        assert_eq!(limit_of(&format(Some(1)), NODE_ENTRIES), 126);
    }

    #[test]
    fn entries_are_found_and_added() {
        let format = format(Some(9));
        let mut bytes = vec![0; 1024];
        let mut root = Index::fill_root(&mut bytes, &format, HashVersion::Tea, 1);
        for (place, hash) in [(1, 100), (1, 50), (3, 200), (3, 101)] {
            root.insert(&mut bytes, place, hash, hash + 1);
        }
        root.seal(&mut bytes, Some(9));
        let (again, info) = Index::root(&bytes, &format).expect("sane");
        assert_eq!((again, info), (root, RootInfo { version: HashVersion::Tea, levels: 1 }));
        assert_eq!(again.check(&bytes, 9), Ok(()));
        assert!(again.check(&bytes, 8).is_err());
        let hashes: Vec<_> = (0..5).map(|entry| again.hash(&bytes, entry)).collect();
        assert_eq!(hashes, [0, 50, 100, 101, 200]);
        // 101 is a block that goes on with 100: who looks for 100 finds the first.
        let found = [0, 49, 50, 98, 100, 102, 200, u32::MAX].map(|hash| again.search(&bytes, hash));
        assert_eq!(found, [0, 0, 1, 1, 2, 3, 4, 4]);
    }

    #[test]
    fn a_node_takes_a_half() {
        let format = format(None);
        let mut bytes = vec![0; 1024];
        let mut root = Index::fill_root(&mut bytes, &format, HashVersion::Legacy, 1);
        (1..124).for_each(|entry: u32| root.insert(&mut bytes, entry as usize, entry * 2, entry + 1));
        assert!(root.is_full());
        let mut node_bytes = vec![0; 1024];
        let node = Index::fill_node(&mut node_bytes, &format, root.entries_from(&bytes, 62));
        root.cut(&mut bytes, 62);
        assert_eq!((root.count(), node.count()), (62, 62));
        assert_eq!((node.block(&node_bytes, 0), node.hash(&node_bytes, 1)), (63, 126));
        assert_eq!(Index::node(&node_bytes, &format), Ok(node));
        root.deepen(&mut bytes, 200);
        let (again, info) = Index::root(&bytes, &format).expect("sane");
        assert_eq!((again.count(), info.levels, again.block(&bytes, 0)), (1, 2, 200));
    }

    #[test]
    fn nonsense_is_told() {
        let format = format(None);
        let mut sane = vec![0; 1024];
        Index::fill_root(&mut sane, &format, HashVersion::HalfMd4, 1);
        for (at, value) in [
            (AT_INFO, 1),
            (AT_INFO_LEN, 16),
            (AT_FLAGS, 1),
            (AT_VERSION, 6),
            (AT_LEVELS, 2),
            (ROOT_ENTRIES, 125),
            (ROOT_ENTRIES + 2, 0),
            (ROOT_ENTRIES + 2, 125),
        ] {
            let mut bytes = sane.clone();
            bytes[at] = value;
            assert!(Index::root(&bytes, &format).is_err(), "{at} {value}");
        }
    }
}
