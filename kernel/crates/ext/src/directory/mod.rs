//! Directories: the names in the blocks of one, found, added, removed and listed.
//!
//! - [`find`], [`insert`], [`remove`], [`replace`]: one name.
//! - [`list`]: many names, from a position on that stays good while names come and go.
//! - [`create`], [`parent`], [`set_parent`], [`is_empty`]: the directory as a whole.
//! - [`NameHasher`]: the hashes of an index.
//!
//! `records` knows the bytes of a block of names, `index` those of a block of the index, `block` the checksums of both: pure functions. `path`
//! walks an index; `linear` and `hashed` are the two kinds of directory; `position` has the order of listing.
//!
//! # Who checks what
//!
//! The caller holds the lock of the directory, alone for changes, and has begun a [`Change`] with room for [`BLOCKS_MAX`] blocks and what
//! [`DirectoryBlocks::append`] changes for [`APPENDS_MAX`] of them. Numbers of inodes are given as the disk has them: who reads the
//! inode compares them. What cannot be is `EUCLEAN`, with a line in the log; nothing is changed then, unless a block could not be
//! written, which marks the file system as damaged anyway.
//!
//! A directory never shrinks, as in Linux. Directories with inline data (`inline_data`) have no blocks and are not served here.

mod block;
mod hash;
mod hashed;
mod index;
mod linear;
mod list;
mod path;
mod position;
mod records;

use alloc::sync::Arc;

use abi::Errno;
use block::{area_len, change_leaf, get_leaf};
pub use hash::{HashVersion, NameHash, NameHasher};
use index::{Index, LEVELS_MAX};
pub use list::{Entries, Entry, list};
use records::{NewRecord, Record, Records};

use crate::bytes::put_u32;
use crate::{Change, DirectoryBlocks, DirectoryFormat, corrupt};

/// The most blocks that [`insert`] adds: one of names, and one on each level of the index.
pub const APPENDS_MAX: u32 = 4;
/// The most blocks that one call here changes, without those that it adds: one of names, and the index above it.
pub const BLOCKS_MAX: u32 = 4;
const _: () = assert!(APPENDS_MAX as usize == 1 + LEVELS_MAX && BLOCKS_MAX as usize == 1 + LEVELS_MAX);
/// The longest name.
pub const NAME_LEN_MAX: usize = 255;

/// The kinds of file on the disk, at the place of the `DT_` value that says the same: 1 FIFO, 2 character device, 4 directory, 6 block
/// device, 8 regular file, 10 symbolic link, 12 socket.
const DISK_KINDS: [u8; 16] = [0, 5, 3, 0, 2, 0, 4, 0, 1, 0, 7, 0, 6, 0, 0, 0];

/// Bytes of a directory that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nonsense(&'static str);

impl Nonsense {
    /// Says so in the log.
    fn report<B: DirectoryBlocks + ?Sized>(self, blocks: &B, block: u32) -> Errno {
        corrupt(format_args!("directory {}, block {block}: {}", blocks.number(), self.0))
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The number of the inode.
    pub inode: u32,
    /// The kind of file as a `DT_` value, which is the type in a mode shifted to the right by 12; 0 where the disk does not say.
    pub kind: u8,
}

impl Target {
    fn of(record: &Record<'_>, format: &DirectoryFormat) -> Self {
        let is_same = |kind: &u8| format.has_file_types && *kind == record.kind;
        let kind = DISK_KINDS.iter().position(is_same).and_then(|kind| u8::try_from(kind).ok()).unwrap_or(0);
        Self { inode: record.inode, kind }
    }

    fn disk_kind(self, format: &DirectoryFormat) -> u8 {
        let kind = DISK_KINDS.get(usize::from(self.kind)).copied().unwrap_or(0);
        if format.has_file_types { kind } else { 0 }
    }
}

/// Where a name is.
struct Place {
    number: u32,
    buffer: Arc<::block::Buffer>,
    offset: usize,
    target: Target,
}

impl Place {
    /// Finds a name in one block.
    fn find<B: DirectoryBlocks + ?Sized>(
        blocks: &B,
        number: u32,
        buffer: Arc<::block::Buffer>,
        name: &[u8],
    ) -> Result<Option<Self>, Errno> {
        let format = blocks.format();
        let found = buffer.read(|bytes| {
            let record = records::find(bytes, area_len(format), name)?;
            Ok(record.map(|record| (record.offset, Target::of(&record, format))))
        });
        let found = found.map_err(|nonsense: Nonsense| nonsense.report(blocks, number))?;
        Ok(found.map(|(offset, target)| Self { number, buffer, offset, target }))
    }
}

/// Whether names are found by the index.
fn is_indexed<B: DirectoryBlocks + ?Sized>(blocks: &B) -> bool {
    blocks.format().may_have_index && blocks.has_index()
}

fn hasher(format: &DirectoryFormat, version: HashVersion) -> NameHasher {
    NameHasher { version, is_unsigned: format.hash_is_unsigned, seed: format.hash_seed }
}

/// The hash function of an index that is made now.
fn new_version(format: &DirectoryFormat) -> HashVersion {
    HashVersion::from_raw(format.hash_version).unwrap_or(HashVersion::HalfMd4)
}

fn place_of<B: DirectoryBlocks + ?Sized>(blocks: &B, name: &[u8]) -> Result<Option<Place>, Errno> {
    if is_indexed(blocks) { hashed::find(blocks, name) } else { linear::find(blocks, name) }
}

/// Finds a name that is not `.` or `..`.
pub fn find<B: DirectoryBlocks + ?Sized>(blocks: &B, name: &[u8]) -> Result<Option<Target>, Errno> {
    Ok(place_of(blocks, name)?.map(|place| place.target))
}

/// Adds a name of 1 to [`NAME_LEN_MAX`] bytes; `EEXIST` when it was met, which is certain only where there is no index; `ENOSPC` also for an
/// index that has no more room.
pub fn insert<B: DirectoryBlocks + ?Sized>(
    blocks: &B,
    change: &Change<'_>,
    name: &[u8],
    target: Target,
) -> Result<(), Errno> {
    if name.is_empty() || name.len() > NAME_LEN_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let new = NewRecord { inode: target.inode, kind: target.disk_kind(blocks.format()), name };
    if is_indexed(blocks) {
        return hashed::insert(blocks, change, &new);
    }
    if blocks.has_index() {
        // What is written now the index would not know.
        blocks.set_has_index(change, false)?;
    }
    linear::insert(blocks, change, &new)
}

/// Removes a name; what it stood for. `ENOENT` when it is not there.
pub fn remove<B: DirectoryBlocks + ?Sized>(blocks: &B, change: &Change<'_>, name: &[u8]) -> Result<Target, Errno> {
    let place = place_of(blocks, name)?.ok_or(Errno::ENOENT)?;
    change_leaf(blocks, change, &place.buffer, |bytes, area_len| records::remove(bytes, area_len, place.offset))?
        .map_err(|nonsense| nonsense.report(blocks, place.number))?;
    Ok(place.target)
}

/// Lets a name stand for something else; what it stood for. `ENOENT` when it is not there.
pub fn replace<B: DirectoryBlocks + ?Sized>(
    blocks: &B,
    change: &Change<'_>,
    name: &[u8],
    target: Target,
) -> Result<Target, Errno> {
    let place = place_of(blocks, name)?.ok_or(Errno::ENOENT)?;
    let kind = target.disk_kind(blocks.format());
    change_leaf(blocks, change, &place.buffer, |bytes, _| records::set(bytes, place.offset, target.inode, kind))?;
    Ok(place.target)
}

/// Gives a directory without blocks its first, with `.` and `..`.
pub fn create<B: DirectoryBlocks + ?Sized>(blocks: &B, change: &Change<'_>, parent: u32) -> Result<(), Errno> {
    let kind = Target { inode: parent, kind: 4 }.disk_kind(blocks.format());
    let own = NewRecord { inode: blocks.number(), kind, name: b"." };
    let parent = NewRecord { inode: parent, kind, name: b".." };
    let (_, buffer) = blocks.append(change)?;
    change_leaf(blocks, change, &buffer, |bytes, area_len| records::fill(bytes, area_len, [own, parent]))
}

/// The first two records of a directory: where the second is, and what it names.
fn check_dots(bytes: &[u8], area_len: usize) -> Result<Record<'_>, Nonsense> {
    let mut records = Records::new(bytes, area_len);
    let (Some(own), Some(parent)) = (records.next().transpose()?, records.next().transpose()?) else {
        return Err(Nonsense("a directory without . and .."));
    };
    if own.name != b"." || own.is_free() || parent.name != b".." || parent.is_free() || own.len != index::PARENT_RECORD
    {
        return Err(Nonsense("a directory without . and .."));
    }
    Ok(parent)
}

/// The first block of a directory, its checksum compared, and bytes of it that are records.
fn first_block<B: DirectoryBlocks + ?Sized>(blocks: &B) -> Result<(Arc<::block::Buffer>, usize), Errno> {
    if !is_indexed(blocks) {
        return Ok((get_leaf(blocks, 0)?, area_len(blocks.format())));
    }
    path::Path::new(blocks)?;
    Ok((blocks.get(0)?, blocks.format().block_len))
}

/// What `..` stands for.
pub fn parent<B: DirectoryBlocks + ?Sized>(blocks: &B) -> Result<u32, Errno> {
    let (buffer, len) = first_block(blocks)?;
    let parent = buffer.read(|bytes| check_dots(bytes, len).map(|record| record.inode));
    parent.map_err(|nonsense| nonsense.report(blocks, 0))
}

/// Lets `..` stand for another directory.
pub fn set_parent<B: DirectoryBlocks + ?Sized>(blocks: &B, change: &Change<'_>, parent: u32) -> Result<(), Errno> {
    self::parent(blocks)?;
    let (buffer, _) = first_block(blocks)?;
    let format = blocks.format();
    if !is_indexed(blocks) {
        return change_leaf(blocks, change, &buffer, |bytes, _| put_u32(bytes, index::PARENT_RECORD, parent));
    }
    let sealed = change.write(&buffer, |bytes| {
        put_u32(bytes, index::PARENT_RECORD, parent);
        Index::root(bytes, format).map(|(index, _)| index.seal(bytes, format.checksum_seed))
    })?;
    sealed.map_err(|nonsense| nonsense.report(blocks, 0))
}

/// Whether a directory has no names but `.` and `..`.
pub fn is_empty<B: DirectoryBlocks + ?Sized>(blocks: &B) -> Result<bool, Errno> {
    let (buffer, len) = first_block(blocks)?;
    let dots = buffer.read(|bytes| check_dots(bytes, len).map(drop));
    dots.map_err(|nonsense| nonsense.report(blocks, 0))?;
    if !is_indexed(blocks) {
        for number in 0..blocks.count() {
            if has_names(blocks, number)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let mut path = path::Path::new(blocks)?;
    path.go_to(0)?;
    loop {
        if has_names(blocks, path.number()?)? {
            return Ok(false);
        }
        if !path.advance()? {
            return Ok(true);
        }
    }
}

/// Whether a block has names but `.` and `..`.
fn has_names<B: DirectoryBlocks + ?Sized>(blocks: &B, number: u32) -> Result<bool, Errno> {
    let buffer = get_leaf(blocks, number)?;
    let has_names = buffer.read(|bytes| {
        for record in Records::new(bytes, area_len(blocks.format())) {
            let record = record?;
            if !record.is_free() && !record.is_dots() {
                return Ok(true);
            }
        }
        Ok(false)
    });
    has_names.map_err(|nonsense: Nonsense| nonsense.report(blocks, number))
}
