//! The records of a block of names: read, found, written and removed in its bytes.
//!
//! # Theory
//!
//! 1. The area of a block (all of it, or what is before its checksum) is covered by records without a gap. A record has an inode number, its
//!    own length, the length of the name, a kind of file, and the name. What the length leaves behind the name is free; a record with inode
//!    number 0 is free altogether.
//! 2. A name is put where enough is free: a free record is overwritten, a used one gives its rest away. So a name never moves while it
//!    stays in its block, and a place in the block is a position to go on from.
//! 3. A record that goes becomes free space of the one before it; the first of a block becomes a free record instead.
//!
//! Every step of a walk is checked: a length is a multiple of four, covers the name and stays in the area. So a walk ends, whatever the
//! bytes are. What cannot be is [`Nonsense`].

use alloc::vec::Vec;

use super::Nonsense;
use crate::bytes::{get_u64, put_u8, put_u16, put_u32, split, split_u32};

/// Bytes before the name.
const HEAD_LEN: usize = 8;
/// Places in the head.
const AT_LEN: usize = 4;
const AT_NAME_LEN: usize = 6;
const AT_KIND: usize = 7;
/// Lengths are multiples of this.
const ALIGN: usize = 4;
/// The shortest record there is.
pub(super) const RECORD_LEN_MIN: usize = 12;
/// The block length whose whole does not fit a record's length as it is.
const HUGE_BLOCK_LEN: usize = 1 << 16;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Where in the block it is.
    pub(super) offset: usize,
    /// Bytes it covers.
    pub(super) len: usize,
    /// What it names; 0 for a free record.
    pub(super) inode: u32,
    /// The kind of file, as the disk has it.
    pub(super) kind: u8,
    /// The name.
    pub(super) name: &'a [u8],
}

impl Record<'_> {
    /// One past its end.
    pub(super) fn end(&self) -> usize {
        self.offset + self.len
    }

    pub(super) fn is_free(&self) -> bool {
        self.inode == 0
    }

    /// Bytes that it needs.
    fn used(&self) -> usize {
        if self.is_free() { 0 } else { record_len(self.name.len()) }
    }

    /// Whether it stands for this name. Names of one directory often begin alike, so the end is compared first.
    #[inline]
    fn is_called(&self, name: &[u8]) -> bool {
        self.name.len() == name.len() && self.name.last() == name.last() && self.name == name && !self.is_free()
    }

    pub(super) fn is_dots(&self) -> bool {
        matches!(self.name, b"." | b"..")
    }
}

/// Something to be written into a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewRecord<'a> {
    pub(super) inode: u32,
    /// As the disk has it; 0 where it has none.
    pub(super) kind: u8,
    /// 1 to 255 bytes.
    pub(super) name: &'a [u8],
}

/// Bytes that a record with a name needs.
pub(super) fn record_len(name_len: usize) -> usize {
    (HEAD_LEN + name_len).next_multiple_of(ALIGN)
}

/// A record's length, from its field. Lengths of 64 KiB blocks have two bits more than the field, in the two that are always zero.
fn decode_len(raw: u16, block_len: usize) -> usize {
    let raw = usize::from(raw);
    match block_len {
        ..HUGE_BLOCK_LEN => raw,
        _ if raw == 0 || raw == usize::from(u16::MAX) => block_len,
        _ => raw & !3 | (raw & 3) << 16,
    }
}

/// The field of a record's length.
fn encode_len(len: usize, block_len: usize) -> u16 {
    if len == block_len && block_len >= HUGE_BLOCK_LEN {
        return if block_len == HUGE_BLOCK_LEN { u16::MAX } else { 0 };
    }
    u16::try_from(len & 0xfffc | len >> 16 & 3).unwrap_or(u16::MAX)
}

/// The records of a block. After one that cannot be, there are no more.
pub(super) struct Records<'a> {
    block: &'a [u8],
    area_len: usize,
    offset: usize,
}

impl<'a> Records<'a> {
    /// Those of the first `area_len` bytes.
    pub(super) fn new(block: &'a [u8], area_len: usize) -> Self {
        Self { block, area_len: area_len.min(block.len()), offset: 0 }
    }

    #[inline]
    fn parse(&self) -> Result<Record<'a>, Nonsense> {
        let offset = self.offset;
        // Most of what is done with directories is this: one look for the whole head.
        let (inode, head) = split(get_u64(self.block, offset));
        let (raw_len, name) = split_u32(head);
        let [name_len, kind] = name.to_le_bytes();
        let (len, name_len) = (decode_len(raw_len, self.block.len()), usize::from(name_len));
        if len < RECORD_LEN_MIN || !len.is_multiple_of(ALIGN) {
            return Err(Nonsense("a record has an impossible length"));
        }
        if len < record_len(name_len) {
            return Err(Nonsense("a record is too short for its name"));
        }
        let rest = self.area_len.saturating_sub(offset);
        if len > rest || (rest - len != 0 && rest - len < RECORD_LEN_MIN) {
            return Err(Nonsense("a record reaches over the end"));
        }
        let name = self.block.get(offset + HEAD_LEN..offset + HEAD_LEN + name_len).unwrap_or_default();
        Ok(Record { offset, len, inode, kind, name })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Nonsense>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.area_len {
            return None;
        }
        let record = self.parse();
        self.offset = record.as_ref().map_or(self.area_len, Record::end);
        Some(record)
    }
}

/// Finds a name.
pub(super) fn find<'a>(block: &'a [u8], area_len: usize, name: &[u8]) -> Result<Option<Record<'a>>, Nonsense> {
    for record in Records::new(block, area_len) {
        let record = record?;
        if record.is_called(name) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// Whether a block can take a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Behind or over the record at this offset.
    At(usize),
    /// It is full.
    None,
    /// The name is there.
    Taken,
}

/// Looks for room for a name, and whether it is there.
pub(super) fn find_room(block: &[u8], area_len: usize, name: &[u8]) -> Result<Room, Nonsense> {
    let needed = record_len(name.len());
    let mut room = Room::None;
    for record in Records::new(block, area_len) {
        let record = record?;
        if record.is_called(name) {
            return Ok(Room::Taken);
        }
        if room == Room::None && record.len - record.used() >= needed {
            room = Room::At(record.offset);
        }
    }
    Ok(room)
}

/// Writes a record of `len` bytes; all behind its name is zero.
fn write(block: &mut [u8], offset: usize, len: usize, new: &NewRecord<'_>) {
    let raw_len = encode_len(len, block.len());
    let Some(record) = block.get_mut(offset..offset + len) else { return };
    record.fill(0);
    put_u32(record, 0, new.inode);
    put_u16(record, AT_LEN, raw_len);
    put_u8(record, AT_NAME_LEN, u8::try_from(new.name.len()).unwrap_or(u8::MAX));
    put_u8(record, AT_KIND, new.kind);
    if let Some(name) = record.get_mut(HEAD_LEN..HEAD_LEN + new.name.len()) {
        name.copy_from_slice(new.name);
    }
}

/// The record at an offset that a walk gave.
fn at(block: &[u8], area_len: usize, offset: usize) -> Result<Record<'_>, Nonsense> {
    Records { block, area_len: area_len.min(block.len()), offset }.parse()
}

/// Puts a record in the room that was found at `offset`.
pub(super) fn insert(block: &mut [u8], area_len: usize, offset: usize, new: &NewRecord<'_>) -> Result<(), Nonsense> {
    let record = at(block, area_len, offset)?;
    let (used, len) = (record.used(), record.len);
    if len - used < record_len(new.name.len()) {
        return Err(Nonsense("a free record went away"));
    }
    if used != 0 {
        put_u16(block, offset + AT_LEN, encode_len(used, block.len()));
    }
    write(block, offset + used, len - used, new);
    Ok(())
}

/// Takes away the record at `offset`; its bytes are cleared.
pub(super) fn remove(block: &mut [u8], area_len: usize, offset: usize) -> Result<(), Nonsense> {
    let mut before = None;
    for record in Records::new(block, area_len) {
        let record = record?;
        if record.offset == offset {
            let (begin, len) = before.unwrap_or((offset, 0));
            let whole = len + record.len;
            let cleared = record.offset..record.end();
            block.get_mut(cleared).unwrap_or_default().fill(0);
            put_u16(block, begin + AT_LEN, encode_len(whole, block.len()));
            return Ok(());
        }
        before = Some((record.offset, record.len));
    }
    Err(Nonsense("a record went away"))
}

/// Lets the record at `offset` name something else.
pub(super) fn set(block: &mut [u8], offset: usize, inode: u32, kind: u8) {
    put_u32(block, offset, inode);
    put_u8(block, offset + AT_KIND, kind);
}

/// Lets the record at `offset` cover all from there to the end of the block.
pub(super) fn stretch(block: &mut [u8], offset: usize) {
    let len = encode_len(block.len().saturating_sub(offset), block.len());
    put_u16(block, offset + AT_LEN, len);
}

/// Fills the area with these records, one behind the other; the last covers the rest. Without any, it is one free record. They fit.
pub(super) fn fill<'a>(block: &mut [u8], area_len: usize, records: impl IntoIterator<Item = NewRecord<'a>>) {
    let mut last = (0, NewRecord { inode: 0, kind: 0, name: &[] });
    let mut next = 0;
    for record in records {
        if next != 0 {
            write(block, last.0, next - last.0, &last.1);
        }
        last = (next, record);
        next += record_len(record.name.len());
    }
    debug_assert!(next <= area_len, "records that do not fit");
    write(block, last.0, area_len.saturating_sub(last.0), &last.1);
}

/// The records in use, to be put elsewhere.
pub(super) fn used<'a>(block: &'a [u8], area_len: usize) -> Result<Vec<NewRecord<'a>>, Nonsense> {
    let mut used = Vec::new();
    for record in Records::new(block, area_len) {
        let record = record?;
        if !record.is_free() {
            used.push(NewRecord { inode: record.inode, kind: record.kind, name: record.name });
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn new(inode: u32, name: &[u8]) -> NewRecord<'_> {
        NewRecord { inode, kind: 1, name }
    }

    fn put(block: &mut [u8], inode: u32, name: &[u8]) -> bool {
        let len = block.len();
        match find_room(block, len, name) {
            Ok(Room::At(offset)) => insert(block, len, offset, &new(inode, name)).is_ok(),
            _ => false,
        }
    }

    fn take(block: &mut [u8], name: &[u8]) {
        let len = block.len();
        let offset = find(block, len, name).expect("sane").expect("there").offset;
        remove(block, len, offset).expect("removed");
    }

    fn listed(block: &[u8]) -> Vec<(usize, usize, u32, Vec<u8>)> {
        let records = Records::new(block, block.len()).map(|record| record.expect("sane"));
        records.map(|record| (record.offset, record.len, record.inode, record.name.to_vec())).collect()
    }

    #[test]
    fn records_split_and_merge() {
        let mut block = vec![0; 64];
        fill(&mut block, 64, []);
        assert_eq!(listed(&block), [(0, 64, 0, vec![])]);
        assert!(put(&mut block, 11, b"a"));
        assert!(put(&mut block, 12, b"bcdef"));
        assert!(put(&mut block, 13, b"gh"));
        assert_eq!(find_room(&block, 64, b"gh"), Ok(Room::Taken));
        assert_eq!(find_room(&block, 64, b"0123456789abcdefg"), Ok(Room::None));
        assert_eq!(
            listed(&block),
            [(0, 12, 11, b"a".to_vec()), (12, 16, 12, b"bcdef".to_vec()), (28, 36, 13, b"gh".to_vec())]
        );
        take(&mut block, b"bcdef");
        assert_eq!(listed(&block), [(0, 28, 11, b"a".to_vec()), (28, 36, 13, b"gh".to_vec())]);
        take(&mut block, b"a");
        assert_eq!(listed(&block), [(0, 28, 0, vec![]), (28, 36, 13, b"gh".to_vec())]);
        assert!(put(&mut block, 14, b"0123456789abcdefghij"));
        take(&mut block, b"gh");
        take(&mut block, b"0123456789abcdefghij");
        assert_eq!(listed(&block), [(0, 64, 0, vec![])]);
        // Nothing of the names is left behind.
        assert!(block.iter().filter(|byte| **byte != 0).count() == 1);
    }

    #[test]
    fn nonsense_is_told() {
        let sane = {
            let mut block = vec![0; 64];
            fill(&mut block, 64, [new(11, b"abcd"), new(12, b"e")]);
            block
        };
        for (at, value, what) in [
            (AT_LEN, 0, "a record has an impossible length"),
            (AT_LEN, 8, "a record has an impossible length"),
            (AT_LEN, 14, "a record has an impossible length"),
            (AT_NAME_LEN, 5, "a record is too short for its name"),
            (AT_LEN, 68, "a record reaches over the end"),
            (AT_LEN, 56, "a record reaches over the end"),
            (12 + AT_LEN, 56, "a record reaches over the end"),
        ] {
            let mut block = sane.clone();
            block[at] = value;
            assert_eq!(find(&block, 64, b"x"), Err(Nonsense(what)), "{at} {value}");
            assert_eq!(Records::new(&block, 64).filter(Result::is_err).count(), 1);
        }
    }

    #[test]
    fn lengths_of_huge_blocks() {
        for block_len in [1 << 10, 1 << 12, 1 << 15, 1 << 16] {
            for len in [12, 16, 264, block_len - 12, block_len] {
                assert_eq!(decode_len(encode_len(len, block_len), block_len), len);
            }
        }
        assert_eq!(encode_len(1 << 16, 1 << 16), u16::MAX);
        assert_eq!(encode_len(12, 1 << 16), 12);
        assert_eq!(decode_len(0, 1 << 16), 1 << 16);
        assert_eq!(decode_len(0, 1 << 12), 0);
    }

    #[test]
    fn a_block_is_filled_to_the_end() {
        let mut block = vec![0xff; 48];
        fill(&mut block, 36, [new(1, b"a"), new(2, b"b"), new(3, b"c")]);
        assert_eq!(Records::new(&block, 36).count(), 3);
        assert_eq!(block[36..], [0xff; 12]);
        let used = used(&block, 36).expect("sane");
        assert_eq!(used.iter().map(|record| record.inode).collect::<Vec<_>>(), [1, 2, 3]);
    }
}
