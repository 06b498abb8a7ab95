//! Names in a directory with an index.
//!
//! # Theory
//!
//! 1. A name is in the block where its hash leads, or in one behind it as long as these go on with the same hash.
//! 2. When a block of names is full, the half with the larger hashes, by bytes, moves to a new block, and the index gets an entry. When
//!    that has no room, first a block of the index is split in the same way, the uppermost full one whose parent has room; and when all
//!    are full the root's entries move to a block below it. Then the way is looked for again.
//! 3. The new block is taken before anything is changed, so a disk without room leaves the directory as it was, or with an index that
//!    has more room than before.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use abi::Errno;
use block::Buffer;

use super::block::{area_len, change_leaf, get_leaf};
use super::hash::NameHasher;
use super::index::{Index, LEVELS_MAX, levels_max};
use super::linear::insert_in;
use super::path::{Path, Step};
use super::records::{self, NewRecord, Room, record_len};
use super::{Nonsense, Place};
use crate::{Change, DirectoryBlocks};

/// How often the way may be looked for until a name is in: each level may be split, and one added.
const ATTEMPTS_MAX: usize = 2 * LEVELS_MAX + 1;

/// Finds a name.
pub(super) fn find<B: DirectoryBlocks + ?Sized>(blocks: &B, name: &[u8]) -> Result<Option<Place>, Errno> {
    let mut path = Path::new(blocks)?;
    let hash = path.hasher().hash(name).major;
    path.go_to(hash)?;
    loop {
        let number = path.number()?;
        let buffer = get_leaf(blocks, number)?;
        if let Some(place) = Place::find(blocks, number, buffer, name)? {
            return Ok(Some(place));
        }
        if !path.advance_within(hash)? {
            return Ok(None);
        }
    }
}

/// Adds a name.
pub(super) fn insert<B: DirectoryBlocks + ?Sized>(
    blocks: &B,
    change: &Change<'_>,
    new: &NewRecord<'_>,
) -> Result<(), Errno> {
    for _ in 0..ATTEMPTS_MAX {
        let mut path = Path::new(blocks)?;
        let hasher = path.hasher();
        path.go_to(hasher.hash(new.name).major)?;
        let number = path.number()?;
        let leaf = get_leaf(blocks, number)?;
        if insert_in(blocks, change, number, &leaf, new)? {
            return Ok(());
        }
        if path.steps().last().is_some_and(|step| !step.index.is_full()) {
            let halves = leaf.read(|bytes| Halves::of(bytes, area_len(blocks.format()), &hasher, new));
            let halves = halves.map_err(|nonsense| nonsense.report(blocks, number))?;
            return split_leaf(blocks, change, path.steps(), &leaf, &halves);
        }
        make_room(blocks, change, path.steps())?;
    }
    Err(Nonsense("the index takes no entry").report(blocks, 0))
}

/// Two blocks that take the place of a full one.
struct Halves {
    low: Vec<u8>,
    high: Vec<u8>,
    /// The hash at which the second begins, as the index has it.
    bound: u32,
}

impl Halves {
    /// Parts the names of a block, and puts a new one to those of its hash.
    fn of(bytes: &[u8], area_len: usize, hasher: &NameHasher, new: &NewRecord<'_>) -> Result<Self, Nonsense> {
        let used = records::used(bytes, area_len)?;
        let mut sorted: Vec<_> = used.iter().map(|record| (hasher.hash(record.name).major, *record)).collect();
        block::sort_by_key(&mut sorted, |(hash, _)| *hash);
        let split = split_at(&sorted, area_len);
        let (low, high) = sorted.split_at(split);
        let (Some((last, _)), Some((first, _))) = (low.last(), high.first()) else {
            return Err(Nonsense("a full block has fewer than two names"));
        };
        let bound = first | u32::from(first == last);
        let mut halves =
            Self { low: block_of(low, bytes.len(), area_len), high: block_of(high, bytes.len(), area_len), bound };
        let half = if hasher.hash(new.name).major >= *first { &mut halves.high } else { &mut halves.low };
        match records::find_room(half, area_len, new.name)? {
            Room::At(offset) => records::insert(half, area_len, offset, new)?,
            Room::None | Room::Taken => return Err(Nonsense("half a block has no room")),
        }
        Ok(halves)
    }
}

/// How many of the sorted records stay: the others fill at most half of the area; half of them, if all fill less.
fn split_at(sorted: &[(u32, NewRecord<'_>)], area_len: usize) -> usize {
    let mut moved_len = 0;
    for (place, (_, record)) in sorted.iter().enumerate().rev() {
        let len = record_len(record.name.len());
        // Where the middle of the area is inside the record, it moves if the middle of it does.
        if moved_len + len / 2 > area_len / 2 {
            return place + 1;
        }
        moved_len += len;
    }
    sorted.len() / 2
}

fn block_of(records: &[(u32, NewRecord<'_>)], block_len: usize, area_len: usize) -> Vec<u8> {
    let mut bytes = vec![0; block_len];
    records::fill(&mut bytes, area_len, records.iter().map(|(_, record)| *record));
    bytes
}

fn split_leaf<B: DirectoryBlocks + ?Sized>(
    blocks: &B,
    change: &Change<'_>,
    steps: &mut [Step],
    leaf: &Arc<Buffer>,
    halves: &Halves,
) -> Result<(), Errno> {
    let Some(parent) = steps.last_mut() else { return Ok(()) };
    let (number, buffer) = blocks.append(change)?;
    change_leaf(blocks, change, &buffer, |bytes, _| bytes.copy_from_slice(&halves.high))?;
    change_leaf(blocks, change, leaf, |bytes, _| bytes.copy_from_slice(&halves.low))?;
    add_entry(blocks, change, parent, halves.bound, number)
}

/// Adds an entry behind the one that the way takes.
fn add_entry<B: DirectoryBlocks + ?Sized>(
    blocks: &B,
    change: &Change<'_>,
    step: &mut Step,
    hash: u32,
    block: u32,
) -> Result<(), Errno> {
    let entry = step.entry + 1;
    change_index(blocks, change, step, |index, bytes| index.insert(bytes, entry, hash, block))
}

/// Changes a block of the index, and its checksum with it.
fn change_index<B: DirectoryBlocks + ?Sized>(
    blocks: &B,
    change: &Change<'_>,
    step: &mut Step,
    act: impl FnOnce(&mut Index, &mut [u8]),
) -> Result<(), Errno> {
    let index = &mut step.index;
    change.write(&step.buffer, |bytes| {
        act(index, bytes);
        index.seal(bytes, blocks.format().checksum_seed);
    })
}

/// Makes room in the index, one block of it nearer to the entry that is to be added.
fn make_room<B: DirectoryBlocks + ?Sized>(blocks: &B, change: &Change<'_>, steps: &mut [Step]) -> Result<(), Errno> {
    let with_room = steps.iter().rposition(|step| !step.index.is_full());
    let Some(level) = with_room else { return deepen(blocks, change, steps) };
    let (upper, lower) = steps.split_at_mut(level + 1);
    let (Some(parent), Some(full)) = (upper.last_mut(), lower.first_mut()) else { return Ok(()) };
    let middle = full.index.count() / 2;
    let (hash, entries) =
        full.buffer.read(|bytes| (full.index.hash(bytes, middle), full.index.entries_from(bytes, middle).to_vec()));
    let number = append_node(blocks, change, &entries)?;
    change_index(blocks, change, full, |index, bytes| index.cut(bytes, middle))?;
    add_entry(blocks, change, parent, hash, number)
}

/// Moves the entries of the root to a new block below it.
fn deepen<B: DirectoryBlocks + ?Sized>(blocks: &B, change: &Change<'_>, steps: &mut [Step]) -> Result<(), Errno> {
    if steps.len() >= levels_max(blocks.format()) {
        log::warn!("ext: directory {}: the index is full", blocks.number());
        return Err(Errno::ENOSPC);
    }
    let Some(root) = steps.first_mut() else { return Ok(()) };
    let entries = root.buffer.read(|bytes| root.index.entries_from(bytes, 0).to_vec());
    let number = append_node(blocks, change, &entries)?;
    change_index(blocks, change, root, |index, bytes| index.deepen(bytes, number))
}

/// Adds a block of the index with these entries.
fn append_node<B: DirectoryBlocks + ?Sized>(blocks: &B, change: &Change<'_>, entries: &[u8]) -> Result<u32, Errno> {
    let format = blocks.format();
    let (number, buffer) = blocks.append(change)?;
    change.write(&buffer, |bytes| Index::fill_node(bytes, format, entries).seal(bytes, format.checksum_seed))?;
    buffer.mark_checked();
    Ok(number)
}
