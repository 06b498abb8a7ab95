//! [`list`]: the names of a directory from a position on, as many as are at hand.

use alloc::vec::Vec;

use abi::Errno;

use super::block::{area_len, get_leaf};
use super::hash::NameHasher;
use super::path::Path;
use super::position::{END, Position};
use super::records::{Record, Records};
use super::{Nonsense, Target, hasher, is_indexed, new_version};
use crate::{DirectoryBlocks, DirectoryFormat};

/// The most names gathered at once: more than what agrees in a hash, and more than what a block has in all but the worst case.
const ENTRIES_MAX: usize = 512;

/// A name that was listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    begin: usize,
    end: usize,
    /// What it stands for.
    pub target: Target,
    /// The position from which on listing goes on behind it.
    pub next: u64,
}

/// Names that were listed, without `.` and `..`.
#[derive(Debug, Default)]
pub struct Entries {
    names: Vec<u8>,
    entries: Vec<Entry>,
}

impl Entries {
    /// The names, in the order of their positions.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        self.entries.iter().map(|entry| (self.name(entry), entry))
    }

    /// Whether there are none: behind the end.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn clear(&mut self) {
        self.names.clear();
        self.entries.clear();
    }

    fn name(&self, entry: &Entry) -> &[u8] {
        self.names.get(entry.begin..entry.end).unwrap_or_default()
    }

    fn push(&mut self, name: &[u8], target: Target, next: u64) {
        let begin = self.names.len();
        self.names.extend_from_slice(name);
        self.entries.push(Entry { begin, end: self.names.len(), target, next });
    }
}

/// Gathers names from `position` on, 0 at the beginning; none when there are no more. Who goes on does so at the `next` of the last
/// that it could use.
pub fn list<B: DirectoryBlocks + ?Sized>(blocks: &B, position: u64, entries: &mut Entries) -> Result<(), Errno> {
    entries.clear();
    if is_indexed(blocks) {
        list_indexed(blocks, position, entries)
    } else if blocks.format().may_have_index && blocks.count() == 1 {
        list_single(blocks, position, entries)
    } else {
        list_linear(blocks, position, entries)
    }
}

/// The records of a block that list a name.
fn names<'a>(bytes: &'a [u8], format: &DirectoryFormat) -> impl Iterator<Item = Result<Record<'a>, Nonsense>> {
    let records = Records::new(bytes, area_len(format));
    let named = records.filter(|record| record.as_ref().map_or(true, |record| !record.is_free() && !record.is_dots()));
    named.map(|record| {
        let record = record?;
        if record.name.is_empty() || record.name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(Nonsense("a name that cannot be"));
        }
        Ok(record)
    })
}

/// In the order of the blocks; a position is a place in them. A record that is there stays where it is, so the rest is what begins there
/// or behind it.
fn list_linear<B: DirectoryBlocks + ?Sized>(blocks: &B, position: u64, entries: &mut Entries) -> Result<(), Errno> {
    let format = blocks.format();
    let block_len = format.block_len as u64;
    let Ok(first) = u32::try_from(position / block_len) else { return Ok(()) };
    for number in first..blocks.count() {
        let base = u64::from(number) * block_len;
        let buffer = get_leaf(blocks, number)?;
        let result = buffer.read(|bytes| {
            for record in names(bytes, format) {
                let record = record?;
                if base + record.offset as u64 >= position {
                    entries.push(record.name, Target::of(&record, format), base + record.end() as u64);
                }
            }
            Ok(())
        });
        result.map_err(|nonsense: Nonsense| nonsense.report(blocks, number))?;
        if !entries.is_empty() {
            break;
        }
    }
    Ok(())
}

/// In the order of hashes, from the only block.
fn list_single<B: DirectoryBlocks + ?Sized>(blocks: &B, position: u64, entries: &mut Entries) -> Result<(), Errno> {
    let format = blocks.format();
    let hasher = hasher(format, new_version(format));
    let mut selection = Selection::new(position, hasher);
    let buffer = get_leaf(blocks, 0)?;
    let result = buffer.read(|bytes| {
        selection.add(bytes, format, Span { begin: 0, end: None })?;
        selection.finish(None, entries)
    });
    result.map_err(|nonsense| nonsense.report(blocks, 0))
}

/// In the order of hashes, by the index: the names of a block and of those that go on with its last hash, as in these any order may
/// be. Blocks without a name behind the position are passed over.
fn list_indexed<B: DirectoryBlocks + ?Sized>(blocks: &B, position: u64, entries: &mut Entries) -> Result<(), Errno> {
    if position >= END {
        return Ok(());
    }
    let mut path = Path::new(blocks)?;
    let mut selection = Selection::new(position, path.hasher());
    path.go_to(selection.from.major())?;
    loop {
        let (number, end) = (path.number()?, path.end());
        let span = Span { begin: path.begin() & !1, end };
        let buffer = get_leaf(blocks, number)?;
        let result = buffer.read(|bytes| {
            selection.add(bytes, blocks.format(), span)?;
            if end.is_none_or(|end| end & 1 == 0) {
                selection.finish(end, entries)?;
            }
            Ok(())
        });
        result.map_err(|nonsense: Nonsense| nonsense.report(blocks, number))?;
        if !entries.is_empty() || !path.advance()? {
            return Ok(());
        }
    }
}

/// The hashes that the names of a block may have.
#[derive(Clone, Copy)]
struct Span {
    begin: u32,
    /// The first that it may not have; odd when the last that it may have goes on behind. None for no bound.
    end: Option<u32>,
}

impl Span {
    fn has(&self, major: u32) -> bool {
        major >= self.begin && self.end.is_none_or(|end| major < end)
    }
}

/// The names with the lowest positions, of those that were shown to it.
struct Selection {
    from: Position,
    hasher: NameHasher,
    names: Vec<u8>,
    found: Vec<Found>,
    /// Whether names were left out behind the last.
    is_cut: bool,
}

struct Found {
    position: Position,
    begin: usize,
    end: usize,
    target: Target,
}

impl Selection {
    fn new(from: u64, hasher: NameHasher) -> Self {
        Self { from: Position::from_raw(from), hasher, names: Vec::new(), found: Vec::new(), is_cut: false }
    }

    fn name(&self, found: &Found) -> &[u8] {
        self.names.get(found.begin..found.end).unwrap_or_default()
    }

    /// Takes the names of a block from the first equal of the position on.
    fn add(&mut self, bytes: &[u8], format: &DirectoryFormat, span: Span) -> Result<(), Nonsense> {
        let from = self.from.first();
        for record in names(bytes, format) {
            let record = record?;
            let hash = self.hasher.hash(record.name);
            if !span.has(hash.major) {
                return Err(Nonsense("a name where its hash does not lead"));
            }
            let position = Position::of(hash);
            if position >= from {
                let begin = self.names.len();
                self.names.extend_from_slice(record.name);
                let target = Target::of(&record, format);
                self.found.push(Found { position, begin, end: self.names.len(), target });
            }
        }
        if self.found.len() > ENTRIES_MAX {
            self.cut();
        }
        Ok(())
    }

    fn sort(&mut self) {
        let names = &self.names;
        let name = |found: &Found| names.get(found.begin..found.end).unwrap_or_default();
        self.found
            .sort_unstable_by(|one, other| one.position.cmp(&other.position).then_with(|| name(one).cmp(name(other))));
    }

    /// Keeps the lowest only.
    fn cut(&mut self) {
        self.sort();
        self.found.truncate(ENTRIES_MAX);
        self.is_cut = true;
        let mut names = Vec::new();
        for found in &mut self.found {
            let begin = names.len();
            names.extend_from_slice(self.names.get(found.begin..found.end).unwrap_or_default());
            (found.begin, found.end) = (begin, names.len());
        }
        self.names = names;
    }

    /// Gives them in order, from the position on, and keeps none. `end` is the hash at which the next block begins, none at the end of
    /// all.
    fn finish(&mut self, end: Option<u32>, entries: &mut Entries) -> Result<(), Nonsense> {
        self.sort();
        let mut before = None;
        let mut rank = 0;
        for found in &self.found {
            rank = if before == Some(found.position) { rank + 1 } else { 0 };
            before = Some(found.position);
            let position = found.position.with_rank(rank)?;
            if position >= self.from {
                entries.push(self.name(found), found.target, position.next().raw());
            }
        }
        if let Some(last) = entries.entries.last_mut()
            && !self.is_cut
        {
            // Nothing is between it and the next block.
            last.next = end.map_or(END, |end| Position::of_block(end).raw());
        }
        self.found.clear();
        self.names.clear();
        Ok(())
    }
}
