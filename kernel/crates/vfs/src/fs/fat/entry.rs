//! Entries of a directory: 32 bytes each, one for a file and, before it, those of its long name.

use alloc::vec::Vec;

use super::date::Stamp;
use super::geometry::ENTRY_LEN;
use super::name::{Short, checksum};

/// Bits of the attributes.
pub(super) const READ_ONLY: u8 = 0x01;
pub(super) const VOLUME_NAME: u8 = 0x08;
pub(super) const DIRECTORY: u8 = 0x10;
pub(super) const ARCHIVE: u8 = 0x20;
/// All of these together: an entry of a long name.
const LONG_NAME: u8 = 0x0f;
/// The first byte of an entry that is free; of one behind which all are free.
pub(super) const REMOVED: u8 = 0xe5;
pub(super) const END: u8 = 0;
/// Units of a long name in one entry, and where they stand.
const UNITS_OF_ENTRY: usize = 13;
const UNIT_OFFSETS: [usize; UNITS_OF_ENTRY] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// In the number of the entry with the end of a long name.
const LAST: u8 = 0x40;
/// The most entries of a long name.
pub(super) const PARTS_MAX: usize = 20;

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(pub(super) [u8; ENTRY_LEN]);

impl Entry {
    /// One for a file with these attributes, beginning at a cluster (0 for none).
    pub(super) fn new(short: &Short, attributes: u8, cluster: u32, created: Stamp) -> Self {
        let mut entry = Self([0; ENTRY_LEN]);
        entry.set_short(short);
        entry.0[11] = attributes;
        entry.0[13] = created.hundredths;
        entry.set_word(14, created.time);
        entry.set_word(16, created.date);
        entry.set_accessed(created);
        entry.set_modified(created);
        entry.set_cluster(cluster);
        entry
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn set_word(&mut self, at: usize, value: u16) {
        self.0[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    pub(super) fn first_byte(&self) -> u8 {
        self.0[0]
    }

    pub(super) fn attributes(&self) -> u8 {
        self.0[11]
    }

    pub(super) fn set_attributes(&mut self, attributes: u8) {
        self.0[11] = attributes;
    }

    /// Which parts of the short name are shown in small letters.
    pub(super) fn small(&self) -> u8 {
        self.0[12]
    }

    pub(super) fn is_long_name(&self) -> bool {
        self.attributes() & 0x3f == LONG_NAME
    }

    pub(super) fn is_directory(&self) -> bool {
        self.attributes() & DIRECTORY != 0
    }

    pub(super) fn short(&self) -> Short {
        let mut short = [0; 11];
        short.copy_from_slice(&self.0[..11]);
        short
    }

    pub(super) fn set_short(&mut self, short: &Short) {
        self.0[..11].copy_from_slice(short);
        // What is shown in small letters was another name.
        self.0[12] = 0;
    }

    /// Takes over everything but the name.
    pub(super) fn take_fields(&mut self, other: &Self) {
        self.0[11] = other.0[11];
        self.0[13..].copy_from_slice(&other.0[13..]);
    }

    pub(super) fn cluster(&self) -> u32 {
        u32::from(self.word(20)) << 16 | u32::from(self.word(26))
    }

    pub(super) fn set_cluster(&mut self, cluster: u32) {
        let bytes = cluster.to_le_bytes();
        self.0[26..28].copy_from_slice(&bytes[..2]);
        self.0[20..22].copy_from_slice(&bytes[2..]);
    }

    pub(super) fn size(&self) -> u32 {
        u32::from(self.word(30)) << 16 | u32::from(self.word(28))
    }

    pub(super) fn set_size(&mut self, size: u32) {
        self.0[28..32].copy_from_slice(&size.to_le_bytes());
    }

    pub(super) fn created(&self) -> Stamp {
        Stamp { date: self.word(16), time: self.word(14), hundredths: self.0[13].min(199) }
    }

    pub(super) fn modified(&self) -> Stamp {
        Stamp { date: self.word(24), time: self.word(22), hundredths: 0 }
    }

    pub(super) fn set_modified(&mut self, stamp: Stamp) {
        self.set_word(22, stamp.time);
        self.set_word(24, stamp.date);
    }

    pub(super) fn accessed(&self) -> Stamp {
        Stamp { date: self.word(18), ..Stamp::default() }
    }

    pub(super) fn set_accessed(&mut self, stamp: Stamp) {
        self.set_word(18, stamp.date);
    }

    /// One part of a long name, of `count`, the first of which is 0.
    fn part(units: &[u16], part: usize, count: usize, sum: u8) -> Self {
        let mut entry = Self([0; ENTRY_LEN]);
        let number = u8::try_from(part + 1).unwrap_or(u8::MAX);
        entry.0[0] = if part + 1 == count { number | LAST } else { number };
        entry.0[11] = LONG_NAME;
        entry.0[13] = sum;
        let from = part * UNITS_OF_ENTRY;
        for (index, at) in UNIT_OFFSETS.into_iter().enumerate() {
            // Behind the end there is one zero, then all ones.
            let unit = match units.get(from + index) {
                Some(unit) => *unit,
                None if from + index == units.len() => 0,
                None => u16::MAX,
            };
            entry.set_word(at, unit);
        }
        entry
    }
}

/// The entries of a name: those of the long one, which may be empty, and the file's own.
pub(super) fn set_of(units: &[u16], file: Entry) -> Vec<Entry> {
    let count = units.len().div_ceil(UNITS_OF_ENTRY);
    let sum = checksum(&file.short());
    let parts = (0..count).rev().map(|part| Entry::part(units, part, count, sum));
    parts.chain(core::iter::once(file)).collect()
}

/// Gathers a long name from the entries before a file's own.
#[derive(Default)]
pub(super) struct Gathered {
    units: Vec<u16>,
    /// The part that has to come next, counted down; the one before the file's own is 1.
    next: u8,
    sum: u8,
    /// How many entries it has.
    pub(super) count: usize,
}

impl Gathered {
    /// Takes an entry of a long name.
    pub(super) fn add(&mut self, entry: &Entry) {
        let number = entry.first_byte();
        let part = number & !LAST;
        if number & LAST != 0 && (1..=PARTS_MAX).contains(&usize::from(part)) {
            self.units.clear();
            self.units.resize(usize::from(part) * UNITS_OF_ENTRY, 0);
            (self.next, self.sum, self.count) = (part, entry.0[13], 0);
        } else if self.next < 2 || part != self.next - 1 || entry.0[13] != self.sum {
            self.clear();
            return;
        } else {
            self.next = part;
        }
        self.count += 1;
        let from = (usize::from(part) - 1) * UNITS_OF_ENTRY;
        for (index, at) in UNIT_OFFSETS.into_iter().enumerate() {
            if let Some(unit) = self.units.get_mut(from + index) {
                *unit = entry.word(at);
            }
        }
    }

    /// Forgets what was gathered.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The long name of a file with this short name, if all of it was there.
    pub(super) fn units(&self, short: &Short) -> Option<&[u16]> {
        let is_whole = self.next == 1 && self.sum == checksum(short);
        let end = self.units.iter().position(|unit| *unit == 0).unwrap_or(self.units.len());
        self.units.get(..end).filter(|_| is_whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_comes_back() {
        for len in [1, 12, 13, 14, 26, 255] {
            let units: Vec<u16> = (0..len).map(|index| 0x61 + index % 26).collect();
            let file = Entry::new(b"ABCDEF~1   ", ARCHIVE, 7, Stamp::default());
            let set = set_of(&units, file);
            let mut gathered = Gathered::default();
            let (own, parts) = set.split_last().expect("the file's own is there");
            parts.iter().for_each(|part| gathered.add(part));
            assert_eq!(gathered.units(&own.short()), Some(&units[..]));
            assert_eq!(gathered.count, parts.len());
            assert_eq!(gathered.units(b"OTHER      "), None);
            gathered.clear();
            parts.iter().skip(1).for_each(|part| gathered.add(part));
            assert_eq!(gathered.units(&own.short()), None, "out of order");
        }
    }

    #[test]
    fn fields_are_where_they_belong() {
        let mut entry = Entry::new(b"A          ", DIRECTORY, 0x1234_5678, Stamp { date: 33, time: 5, hundredths: 9 });
        entry.set_size(0x0102_0304);
        assert_eq!((entry.cluster(), entry.size()), (0x1234_5678, 0x0102_0304));
        assert_eq!(entry.created(), Stamp { date: 33, time: 5, hundredths: 9 });
        assert!(entry.is_directory() && !entry.is_long_name());
    }
}
