//! Names in a directory without an index: block after block is looked through.

use alloc::sync::Arc;

use abi::Errno;
use block::Buffer;

use super::block::{area_len, change_leaf, get_leaf};
use super::index::{Index, PARENT_RECORD};
use super::records::{self, NewRecord, Room};
use super::{Nonsense, Place, hashed, new_version};
use crate::{Change, DirectoryBlocks};

/// Finds a name.
pub(super) fn find<B: DirectoryBlocks + ?Sized>(blocks: &B, name: &[u8]) -> Result<Option<Place>, Errno> {
    for number in 0..blocks.count() {
        let buffer = get_leaf(blocks, number)?;
        if let Some(place) = Place::find(blocks, number, buffer, name)? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Adds a name. The directory becomes an indexed one when it outgrows its first block.
pub(super) fn insert<B: DirectoryBlocks + ?Sized>(
    blocks: &B,
    change: &Change<'_>,
    new: &NewRecord<'_>,
) -> Result<(), Errno> {
    let count = blocks.count();
    for number in 0..count {
        let buffer = get_leaf(blocks, number)?;
        if insert_in(blocks, change, number, &buffer, new)? {
            return Ok(());
        }
    }
    if count == 1 && blocks.format().may_have_index {
        make_index(blocks, change)?;
        return hashed::insert(blocks, change, new);
    }
    let (_, buffer) = blocks.append(change)?;
    change_leaf(blocks, change, &buffer, |bytes, area_len| records::fill(bytes, area_len, [*new]))
}

/// Adds a name to a block; whether there was room.
pub(super) fn insert_in<B: DirectoryBlocks + ?Sized>(
    blocks: &B,
    change: &Change<'_>,
    number: u32,
    buffer: &Arc<Buffer>,
    new: &NewRecord<'_>,
) -> Result<bool, Errno> {
    let len = area_len(blocks.format());
    let room = buffer.read(|bytes| records::find_room(bytes, len, new.name));
    match room.map_err(|nonsense| nonsense.report(blocks, number))? {
        Room::None => Ok(false),
        Room::Taken => Err(Errno::EEXIST),
        Room::At(offset) => {
            change_leaf(blocks, change, buffer, |bytes, area_len| records::insert(bytes, area_len, offset, new))?
                .map_err(|nonsense| nonsense.report(blocks, number))?;
            Ok(true)
        }
    }
}

/// Moves the names of the only block to a second one, and makes the first the root of an index with that one entry.
fn make_index<B: DirectoryBlocks + ?Sized>(blocks: &B, change: &Change<'_>) -> Result<(), Errno> {
    let format = blocks.format();
    let root = get_leaf(blocks, 0)?;
    let leaf = root.read(|bytes| moved(bytes, area_len(format))).map_err(|nonsense| nonsense.report(blocks, 0))?;
    let (number, buffer) = blocks.append(change)?;
    change_leaf(blocks, change, &buffer, |bytes, _| bytes.copy_from_slice(&leaf))?;
    change.write(&root, |bytes| {
        records::stretch(bytes, PARENT_RECORD);
        Index::fill_root(bytes, format, new_version(format), number).seal(bytes, format.checksum_seed);
    })?;
    root.mark_checked();
    blocks.set_has_index(change, true)
}

/// A block with the names of the first block of a directory, but for `.` and `..`.
fn moved(bytes: &[u8], area_len: usize) -> Result<alloc::vec::Vec<u8>, Nonsense> {
    super::check_dots(bytes, area_len)?;
    let used = records::used(bytes, area_len)?;
    let mut leaf = alloc::vec![0; bytes.len()];
    records::fill(&mut leaf, area_len, used.into_iter().skip(2));
    Ok(leaf)
}
