//! [`List`]: the extended attributes of one place, a record or a block, as entries; read from its bytes and written to them.
//!
//! # Theory
//!
//! 1. Entries stand one behind the other from the beginning of the area, and values, each a multiple of four bytes long, from its end
//!    towards them. Four zero bytes end the entries. Offsets of values count from the first entry in a record, and from the beginning
//!    in a block, where the first entry is behind a header (Linux, `fs/ext4/xattr.h`).
//! 2. An entry says with one byte what its name begins with: names are stored without their name space.
//! 3. In a block entries are sorted by name space, length of the name, and name; in a record they are in no order.
//! 4. An entry in a block has a hash of its name and value, and the header one of those. They were made to find blocks that could be
//!    shared; e2fsck compares them. An entry in a record may have 0 instead.
//!
//! To change an attribute the area is written anew: it is small, and there is nothing to go wrong half way.

use alloc::vec::Vec;

use super::Nonsense;
use crate::bytes::{get_u8, get_u16, get_u32, put_u8, put_u16, put_u32};

/// Bytes of an entry in front of its name.
const ENTRY_LEN: usize = 16;
const AT_INDEX: usize = 1;
const AT_VALUE_OFFSET: usize = 2;
const AT_VALUE_INODE: usize = 4;
const AT_VALUE_LEN: usize = 8;
const AT_HASH: usize = 12;
/// What ends the entries.
const END_LEN: usize = 4;
/// Names and values are filled up to a multiple of this.
const ALIGN: usize = 4;

/// The name of an attribute: its name space as the disk numbers it, and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StoredName<'a> {
    pub(super) index: u8,
    pub(super) rest: &'a [u8],
}

impl StoredName<'_> {
    /// What blocks are sorted by.
    fn key(&self) -> (u8, usize, &[u8]) {
        (self.index, self.rest.len(), self.rest)
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    pub(super) name: StoredName<'a>,
    pub(super) value: &'a [u8],
    hash: u32,
}

impl Attribute<'_> {
    fn entry_len(&self) -> usize {
        entry_len(self.name.rest.len())
    }

    fn len(&self) -> usize {
        self.entry_len() + padded(self.value.len())
    }
}

fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

fn entry_len(name_len: usize) -> usize {
    padded(ENTRY_LEN + name_len)
}

/// The attributes of one place.
#[derive(Clone, Debug, Default)]
pub(super) struct List<'a> {
    attributes: Vec<Attribute<'a>>,
}

impl<'a> List<'a> {
    /// Reads an area whose first entry is at `first`.
    pub(super) fn parse(area: &'a [u8], first: usize) -> Result<Self, Nonsense> {
        let mut attributes = Vec::new();
        let mut at = first;
        loop {
            if at + END_LEN > area.len() {
                return Err(Nonsense("the attributes have no end"));
            }
            if get_u32(area, at) == 0 {
                break;
            }
            let name_len = usize::from(get_u8(area, at));
            let next = at + entry_len(name_len);
            if next + END_LEN > area.len() {
                return Err(Nonsense("an attribute reaches over the end"));
            }
            attributes.push(Self::attribute(area, at, name_len)?);
            at = next;
        }
        // Only now is it known where values may begin.
        let values_begin = at + END_LEN;
        for (attribute, at) in attributes.iter().zip(entries_of(area, first)) {
            let offset = usize::from(get_u16(area, at + AT_VALUE_OFFSET));
            if !attribute.value.is_empty() && offset < values_begin {
                return Err(Nonsense("a value of an attribute lies over its name"));
            }
        }
        Ok(Self { attributes })
    }

    fn attribute(area: &'a [u8], at: usize, name_len: usize) -> Result<Attribute<'a>, Nonsense> {
        let rest = area.get(at + ENTRY_LEN..at + ENTRY_LEN + name_len).unwrap_or_default();
        let index = get_u8(area, at + AT_INDEX);
        // Without both it could be taken for the end.
        if rest.contains(&0) || (rest.is_empty() && index == 0) {
            return Err(Nonsense("a name of an attribute that cannot be"));
        }
        if get_u32(area, at + AT_VALUE_INODE) != 0 {
            return Err(Nonsense("an attribute has an inode for its value"));
        }
        let len = usize::try_from(get_u32(area, at + AT_VALUE_LEN)).unwrap_or(usize::MAX);
        let offset = usize::from(get_u16(area, at + AT_VALUE_OFFSET));
        let value = if len == 0 {
            Some(&[][..])
        } else {
            let end = len.checked_next_multiple_of(ALIGN).and_then(|len| len.checked_add(offset));
            end.filter(|end| *end <= area.len()).and_then(|_| area.get(offset..offset + len))
        };
        let value = value.ok_or(Nonsense("a value of an attribute reaches over the end"))?;
        let name = StoredName { index, rest };
        Ok(Attribute { name, value, hash: get_u32(area, at + AT_HASH) })
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Attribute<'a>> {
        self.attributes.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// The value of one.
    pub(super) fn get(&self, name: StoredName<'_>) -> Option<&'a [u8]> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.value)
    }

    /// Takes one out; whether it was there.
    pub(super) fn remove(&mut self, name: StoredName<'_>) -> bool {
        let before = self.attributes.len();
        self.attributes.retain(|attribute| attribute.name != name);
        self.attributes.len() < before
    }

    /// Sets one, of a record: in its old place, or behind the others.
    pub(super) fn set(&mut self, name: StoredName<'a>, value: &'a [u8]) {
        let new = Attribute { name, value, hash: 0 };
        match self.attributes.iter_mut().find(|attribute| attribute.name == name) {
            Some(old) => *old = new,
            None => self.attributes.push(new),
        }
    }

    /// Sets one, of a block: with its hash, in the order of the block.
    pub(super) fn set_sorted(&mut self, name: StoredName<'a>, value: &'a [u8]) {
        self.remove(name);
        let place = self.attributes.iter().position(|attribute| attribute.name.key() > name.key());
        let new = Attribute { name, value, hash: entry_hash(name.rest, value) };
        self.attributes.insert(place.unwrap_or(self.attributes.len()), new);
    }

    /// The hash of the whole for the header of a block; 0 when a part has none.
    pub(super) fn hash(&self) -> u32 {
        if self.attributes.iter().any(|attribute| attribute.hash == 0) {
            return 0;
        }
        self.attributes.iter().fold(0, |hash: u32, attribute| hash.rotate_left(16) ^ attribute.hash)
    }

    /// Writes them as an area of this length, what is in front of `first` left zero; None when they do not fit.
    pub(super) fn to_area(&self, len: usize, first: usize) -> Option<Vec<u8>> {
        let needed: usize = self.attributes.iter().map(Attribute::len).sum();
        if first + needed + END_LEN > len {
            return None;
        }
        let mut area = alloc::vec![0; len];
        let (mut at, mut end) = (first, len);
        for attribute in &self.attributes {
            let value = attribute.value;
            put_u8(&mut area, at, u8::try_from(attribute.name.rest.len()).ok()?);
            put_u8(&mut area, at + AT_INDEX, attribute.name.index);
            put_u32(&mut area, at + AT_VALUE_LEN, u32::try_from(value.len()).ok()?);
            put_u32(&mut area, at + AT_HASH, attribute.hash);
            let name = at + ENTRY_LEN;
            area.get_mut(name..name + attribute.name.rest.len())?.copy_from_slice(attribute.name.rest);
            if !value.is_empty() {
                end -= padded(value.len());
                put_u16(&mut area, at + AT_VALUE_OFFSET, u16::try_from(end).ok()?);
                area.get_mut(end..end + value.len())?.copy_from_slice(value);
            }
            at += attribute.entry_len();
        }
        Some(area)
    }
}

/// Where the entries of a checked area are.
fn entries_of(area: &[u8], first: usize) -> impl Iterator<Item = usize> {
    let has_entry = |at: usize| (get_u32(area, at) != 0).then_some(at);
    core::iter::successors(has_entry(first), move |at| has_entry(at + entry_len(usize::from(get_u8(area, *at)))))
}

/// The hash of an attribute: the bytes of the name, then the words of the value with zeroes behind its end.
fn entry_hash(name: &[u8], value: &[u8]) -> u32 {
    let hash = name.iter().fold(0, |hash: u32, byte| hash.rotate_left(5) ^ u32::from(*byte));
    value.chunks(4).fold(hash, |hash, bytes| {
        let mut word = [0; 4];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        hash.rotate_left(16) ^ u32::from_le_bytes(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: StoredName<'_> = StoredName { index: 1, rest: b"a" };
    const LONG: StoredName<'_> = StoredName { index: 1, rest: b"longer" };
    const OTHER: StoredName<'_> = StoredName { index: 6, rest: b"b" };

    fn sorted() -> List<'static> {
        let mut list = List::default();
        list.set_sorted(OTHER, b"12345");
        list.set_sorted(LONG, b"");
        list.set_sorted(A, b"1234");
        list
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let list = sorted();
        let names: Vec<_> = list.iter().map(|attribute| attribute.name).collect();
        assert_eq!(names, [A, LONG, OTHER]);
        // Three entries of 20, 24 and 20 bytes, values of 4 and 8, and the end.
        assert!(list.to_area(8 + 80 - 1, 8).is_none());
        let area = list.to_area(8 + 80, 8).expect("it fits");
        let again = List::parse(&area, 8).expect("sane");
        assert_eq!(again.attributes, list.attributes);
        assert_eq!((again.get(OTHER), again.get(LONG)), (Some(&b"12345"[..]), Some(&b""[..])));
        assert_eq!(again.hash(), list.hash());
    }

    #[test]
    fn attributes_are_replaced_and_removed() {
        let mut list = sorted();
        list.set_sorted(A, b"new");
        list.set(OTHER, b"other");
        assert_eq!((list.get(A), list.get(OTHER)), (Some(&b"new"[..]), Some(&b"other"[..])));
        assert_eq!(list.hash(), 0, "one has no hash");
        assert!(list.remove(LONG) && !list.remove(LONG) && !list.is_empty());
        assert_eq!(list.iter().count(), 2);
    }

    /// Computed by debugfs for a block with the attribute `user.a` of value `1234`.
    #[test]
    fn hashes_are_those_of_linux() {
        assert_eq!(entry_hash(b"a", b"1234"), 0x3452_3231);
        assert_eq!(entry_hash(b"a", b"12345"), 0x3452_3231_u32.rotate_left(16) ^ 0x35);
    }

    #[test]
    fn nonsense_is_told() {
        let area = sorted().to_area(128, 0).expect("it fits");
        for (at, value, what) in [
            (0, 200, "an attribute reaches over the end"),
            (ENTRY_LEN, 0, "a name of an attribute that cannot be"),
            (AT_VALUE_INODE, 1, "an attribute has an inode for its value"),
            (AT_VALUE_LEN, 5, "a value of an attribute reaches over the end"),
            (AT_VALUE_LEN + 3, 255, "a value of an attribute reaches over the end"),
            (AT_VALUE_OFFSET, 64, "a value of an attribute lies over its name"),
        ] {
            let mut area = area.clone();
            area[at] = value;
            assert_eq!(List::parse(&area, 0).err(), Some(Nonsense(what)), "{at} {value}");
        }
        assert!(List::parse(&[1; 3], 0).is_err() && List::parse(&[], 0).is_err());
    }

    #[test]
    fn damaged_areas_are_told_or_read() {
        let seed = 5;
        println!("seed {seed}");
        let mut random = testkit::Random::new(seed);
        let sane = sorted().to_area(160, 32).expect("it fits");
        let mut read = 0;
        for _ in 0..20_000 {
            let mut area = sane.clone();
            for _ in 0..1 + random.below(3) {
                let at = 32 + random.below(128);
                area[at] = *random.pick(&[0, 1, 4, 16, 100, 0xff, area[at] ^ 1, area[at].wrapping_add(4)]);
            }
            area.truncate(area.len() - random.below(2) * random.below(160));
            let Ok(list) = List::parse(&area, 32) else { continue };
            read += 1;
            // What was read can be written: in as much room, unless values lay over each other.
            let len: usize = list.iter().map(Attribute::len).sum();
            let again = list.to_area(32 + len + END_LEN, 32).expect("it fits");
            let again = List::parse(&again, 32).expect("sane");
            assert_eq!(again.attributes, list.attributes);
        }
        assert!((1000..19_000).contains(&read), "{read}");
    }
}
