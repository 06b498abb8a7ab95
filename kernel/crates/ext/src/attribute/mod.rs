//! Extended attributes: in the record of an inode behind its fields, and in one block more.
//!
//! - [`get`], [`names`], [`set`]: what a file system does with them.
//! - [`release`]: gives the block back with the inode.
//!
//! `list` knows the bytes of both places, `acl` those of access control lists: pure functions.
//!
//! # Theory
//!
//! 1. An attribute is put in the record if it fits there, else in the block; never in both. When it does not fit in either it is `ENOSPC`,
//!    and all is as before.
//! 2. A block may belong to several inodes, and counts them: Linux shares blocks with the same contents. Who changes such a block takes a
//!    new one and leaves the old to the others. Nothing here makes a block shared.
//! 3. The block has a checksum continued from its own number, the record that of the inode.
//! 4. Access control lists have numbers of their own in the place of name space and name, and another form than
//!    programs know.
//!
//! # What it does not do
//!
//! Values in inodes of their own (`ea_inode`) are refused. What is stored under other numbers stays as it is.
//!
//! # Locks
//!
//! `ATTRIBUTES`, one for each inode: taken in a change by who changes, and over reading of both places, so that nothing is missed
//! that moves from one to the other.

mod acl;
mod list;

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use abi::xattr::{XATTR_NAME_POSIX_ACL_ACCESS, XATTR_NAME_POSIX_ACL_DEFAULT};
use block::Buffer;
use list::{List, StoredName};

use crate::allocate::RUN_CREDITS;
use crate::bytes::{get_u16, get_u32, join, put_u16, put_u32, split, split_u32};
use crate::checksum::crc32c;
use crate::record::{LEN_OLD, extra_len};
use crate::superblock::{Compatible, Superblock};
use crate::{Change, Inode, corrupt};

/// What [`set`] changes at most: the superblock, the record, and two blocks that are taken or given back.
pub const CREDITS: u32 = 2 + 2 + 2 * RUN_CREDITS;

/// The magic number of both places.
const MAGIC: u32 = 0xea02_0000;
/// Bytes in front of the entries in a record: the magic number.
const RECORD_HEAD_LEN: usize = 4;
/// Bytes in front of the entries in a block, and places there.
const BLOCK_HEAD_LEN: usize = 32;
const AT_REFERENCES: usize = 4;
const AT_BLOCKS: usize = 8;
const AT_HASH: usize = 12;
const AT_CHECKSUM: usize = 16;
/// Where the record says where the block is.
const AT_BLOCK_LOW: usize = 104;
const AT_BLOCK_HIGH: usize = 118;
/// Where the superblock says that there are attributes.
const AT_FEATURES: usize = 92;

/// The name spaces that are kept, with their numbers on the disk.
const NAME_SPACES: [(u8, &[u8]); 3] = [(1, b"user."), (4, b"trusted."), (6, b"security.")];

/// Names that are numbers on the disk: those of access control lists.
const LISTS: [(u8, &[u8]); 2] = [(2, XATTR_NAME_POSIX_ACL_ACCESS), (3, XATTR_NAME_POSIX_ACL_DEFAULT)];

/// Bytes of attributes that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nonsense(&'static str);

impl Nonsense {
    fn report(self, inode: &Inode) -> Errno {
        corrupt(format_args!("inode {}: {}", inode.number(), self.0))
    }
}

/// A full name, as the disk has it; `EOPNOTSUPP` for name spaces that are not kept.
fn stored(name: &[u8]) -> Result<StoredName<'_>, Errno> {
    if let Some((index, _)) = LISTS.iter().find(|(_, full)| *full == name) {
        return Ok(StoredName { index: *index, rest: &[] });
    }
    let found = NAME_SPACES.iter().find_map(|(index, prefix)| {
        name.strip_prefix(*prefix).filter(|rest| !rest.is_empty()).map(|rest| StoredName { index: *index, rest })
    });
    found.ok_or(Errno::EOPNOTSUPP)
}

/// The full name of what the disk has; None for what is not kept.
fn full(name: StoredName<'_>) -> Option<Vec<u8>> {
    if name.rest.is_empty() {
        return LISTS.iter().find(|(index, _)| *index == name.index).map(|(_, full)| full.to_vec());
    }
    let space = NAME_SPACES.iter().find(|(index, _)| *index == name.index);
    space.map(|(_, prefix)| [prefix, name.rest].concat())
}

fn is_list(name: StoredName<'_>) -> bool {
    LISTS.iter().any(|(index, _)| *index == name.index)
}

/// Whether an inode with this record has attributes.
pub(crate) fn are_there(record: &[u8]) -> bool {
    let start = LEN_OLD + extra_len(record);
    let is_in_record = start > LEN_OLD && record.len() >= start + RECORD_HEAD_LEN && get_u32(record, start) == MAGIC;
    is_in_record || block_number(record) != 0
}

/// The value of an attribute with this full name: `ENODATA` when there is none, `EOPNOTSUPP` for name spaces that are not kept.
pub fn get(inode: &Inode, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let name = stored(name)?;
    let _attributes = inode.lock_attributes();
    let (record, block) = both(inode)?;
    let value = match record.list(inode)?.get(name) {
        Some(value) => Some(value.to_vec()),
        None => block.list(inode)?.get(name).map(<[u8]>::to_vec),
    };
    let value = value.ok_or(Errno::ENODATA)?;
    if is_list(name) { acl::from_disk(&value).map_err(|nonsense| nonsense.report(inode)) } else { Ok(value) }
}

/// Gives the full names of all attributes.
pub fn names(inode: &Inode, sink: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
    let (record, block) = {
        let _attributes = inode.lock_attributes();
        both(inode)?
    };
    let (record, block) = (record.list(inode)?, block.list(inode)?);
    for attribute in record.iter().chain(block.iter()) {
        if let Some(name) = full(attribute.name) {
            sink(&name);
        }
    }
    Ok(())
}

/// Gives the attribute with this full name a value, or removes it: `ENODATA` when it is not there to be removed, `ENOSPC` when there is
/// no room for it.
pub fn set(inode: &Inode, change: &Change<'_>, name: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
    let name = stored(name)?;
    let list = match value.filter(|_| is_list(name)) {
        Some(value) => Some(acl::to_disk(value).ok_or(Errno::EINVAL)?),
        None => None,
    };
    let value = list.as_deref().or(value);
    let _attributes = inode.lock_attributes();
    let (record, block) = both(inode)?;
    let (mut in_record, mut in_block) = (record.list(inode)?, block.list(inode)?);
    let Some(value) = value else {
        return match (in_record.remove(name), in_block.remove(name)) {
            (true, _) => record.store(inode, change, &in_record),
            (false, true) => block.store(inode, change, &in_block),
            (false, false) => Err(Errno::ENODATA),
        };
    };
    let was_in_block = in_block.remove(name);
    let was_in_record = in_record.get(name).is_some();
    let mut wanted = in_record.clone();
    wanted.set(name, value);
    // The block first: that may need another one, for which there is no room.
    if record.fits(&wanted) {
        if was_in_block {
            block.store(inode, change, &in_block)?;
        }
        record.store(inode, change, &wanted)?;
    } else {
        in_block.set_sorted(name, value);
        block.store(inode, change, &in_block)?;
        if was_in_record {
            in_record.remove(name);
            record.store(inode, change, &in_record)?;
        }
    }
    note_feature(inode, change)
}

/// Gives the block back, of an inode that goes. A block that cannot be one of attributes is left alone.
pub fn release(inode: &Inode, change: &Change<'_>) -> Result<(), Errno> {
    let _attributes = inode.lock_attributes();
    let number = inode.read_record(block_number)?;
    if number == 0 {
        return Ok(());
    }
    let buffer = match get_block(inode, number) {
        Err(Errno::EUCLEAN) => None,
        buffer => Some(buffer?),
    };
    set_block_number(inode, change, 0)?;
    buffer.map_or(Ok(()), |buffer| leave(inode, change, &buffer))
}

/// Both places, as they are now.
fn both(inode: &Inode) -> Result<(InRecord, InBlock), Errno> {
    let (in_record, number) = inode.read_record(|record| (InRecord::read(record), block_number(record)))?;
    let buffer = if number == 0 { None } else { Some(get_block(inode, number)?) };
    let bytes = buffer.as_ref().map(|buffer| buffer.read(<[u8]>::to_vec));
    Ok((in_record, InBlock { buffer, bytes: bytes.unwrap_or_default() }))
}

fn block_number(record: &[u8]) -> u64 {
    join(get_u32(record, AT_BLOCK_LOW), get_u16(record, AT_BLOCK_HIGH).into())
}

fn set_block_number(inode: &Inode, change: &Change<'_>, number: u64) -> Result<(), Errno> {
    let (low, high) = split(number);
    inode.change_record(change, |record| {
        put_u32(record, AT_BLOCK_LOW, low);
        put_u16(record, AT_BLOCK_HIGH, split_u32(high).0);
    })
}

/// The attributes in a record: the bytes from the first entry on.
struct InRecord {
    /// Where in the record the magic number is; None when there is no room.
    start: Option<usize>,
    area: Vec<u8>,
    is_used: bool,
}

impl InRecord {
    fn read(record: &[u8]) -> Self {
        let extra_len = extra_len(record);
        let start = LEN_OLD + extra_len;
        let has_room = extra_len != 0 && start + RECORD_HEAD_LEN + 4 <= record.len();
        let start = has_room.then_some(start);
        let area = start.and_then(|start| record.get(start + RECORD_HEAD_LEN..)).unwrap_or_default().to_vec();
        Self { start, area, is_used: start.is_some_and(|start| get_u32(record, start) == MAGIC) }
    }

    fn list(&self, inode: &Inode) -> Result<List<'_>, Errno> {
        if !self.is_used {
            return Ok(List::default());
        }
        List::parse(&self.area, 0).map_err(|nonsense| nonsense.report(inode))
    }

    fn fits(&self, list: &List<'_>) -> bool {
        self.start.is_some() && list.to_area(self.area.len(), 0).is_some()
    }

    fn store(&self, inode: &Inode, change: &Change<'_>, list: &List<'_>) -> Result<(), Errno> {
        let area = list.to_area(self.area.len(), 0).ok_or(Errno::ENOSPC)?;
        let start = self.start.ok_or(Errno::ENOSPC)?;
        inode.change_record(change, |record| {
            put_u32(record, start, if list.is_empty() { 0 } else { MAGIC });
            if let Some(place) = record.get_mut(start + RECORD_HEAD_LEN..) {
                place.copy_from_slice(&area);
            }
        })
    }
}

/// The attributes in a block, if there is one.
struct InBlock {
    buffer: Option<Arc<Buffer>>,
    bytes: Vec<u8>,
}

impl InBlock {
    fn list(&self, inode: &Inode) -> Result<List<'_>, Errno> {
        if self.buffer.is_none() {
            return Ok(List::default());
        }
        List::parse(&self.bytes, BLOCK_HEAD_LEN).map_err(|nonsense| nonsense.report(inode))
    }

    /// Lets the block hold these attributes: a new one where there is none or where it is shared, none when there are none.
    fn store(&self, inode: &Inode, change: &Change<'_>, list: &List<'_>) -> Result<(), Errno> {
        let superblock = inode.file_system().superblock();
        let area = list.to_area(superblock.block_len, BLOCK_HEAD_LEN).ok_or(Errno::ENOSPC)?;
        if list.is_empty() {
            let Some(buffer) = &self.buffer else { return Ok(()) };
            set_block_number(inode, change, 0)?;
            return leave(inode, change, buffer);
        }
        let old = match &self.buffer {
            Some(buffer) if get_u32(&self.bytes, AT_REFERENCES) <= 1 => {
                return write_block(superblock, change, buffer, &area, list.hash());
            }
            old => old,
        };
        let number = inode.allocate_attribute_block(change)?;
        let buffer = change.create(number)?;
        write_block(superblock, change, &buffer, &area, list.hash())?;
        set_block_number(inode, change, number)?;
        old.as_ref().map_or(Ok(()), |old| leave(inode, change, old))
    }
}

/// Reads a block of attributes.
fn get_block(inode: &Inode, number: u64) -> Result<Arc<Buffer>, Errno> {
    let file_system = inode.file_system();
    let superblock = file_system.superblock();
    if !superblock.has_blocks(number, 1) {
        return Err(Nonsense("its attributes are outside of the file system").report(inode));
    }
    let buffer = file_system.cache().get(number)?;
    let sane = buffer.read(|bytes| {
        if get_u32(bytes, 0) != MAGIC || get_u32(bytes, AT_BLOCKS) != 1 || get_u32(bytes, AT_REFERENCES) == 0 {
            return Err(Nonsense("its block of attributes is none"));
        }
        let is_checked = buffer.is_checked() || !superblock.has_checksums();
        if !is_checked && get_u32(bytes, AT_CHECKSUM) != checksum(superblock, number, bytes) {
            return Err(Nonsense("the checksum of its attributes is wrong"));
        }
        Ok(())
    });
    sane.map_err(|nonsense| nonsense.report(inode))?;
    buffer.mark_checked();
    Ok(buffer)
}

fn checksum(superblock: &Superblock, number: u64, bytes: &[u8]) -> u32 {
    let sum = crc32c(superblock.checksum_seed, &number.to_le_bytes());
    let sum = crc32c(sum, bytes.get(..AT_CHECKSUM).unwrap_or_default());
    let sum = crc32c(sum, &[0; 4]);
    crc32c(sum, bytes.get(AT_CHECKSUM + 4..).unwrap_or_default())
}

fn seal(superblock: &Superblock, number: u64, bytes: &mut [u8]) {
    if superblock.has_checksums() {
        let sum = checksum(superblock, number, bytes);
        put_u32(bytes, AT_CHECKSUM, sum);
    }
}

fn write_block(
    superblock: &Superblock,
    change: &Change<'_>,
    buffer: &Arc<Buffer>,
    area: &[u8],
    hash: u32,
) -> Result<(), Errno> {
    change.write(buffer, |bytes| {
        bytes.copy_from_slice(area);
        put_u32(bytes, 0, MAGIC);
        put_u32(bytes, AT_REFERENCES, 1);
        put_u32(bytes, AT_BLOCKS, 1);
        put_u32(bytes, AT_HASH, hash);
        seal(superblock, buffer.number(), bytes);
    })?;
    buffer.mark_checked();
    Ok(())
}

/// The inode has nothing more to do with a block: it is left to the others that have it, or freed.
fn leave(inode: &Inode, change: &Change<'_>, buffer: &Arc<Buffer>) -> Result<(), Errno> {
    let file_system = inode.file_system();
    let is_shared = change.write(buffer, |bytes| {
        // Another of them may have left since it was looked at.
        let references = get_u32(bytes, AT_REFERENCES);
        if references > 1 {
            put_u32(bytes, AT_REFERENCES, references - 1);
            seal(file_system.superblock(), buffer.number(), bytes);
        }
        references > 1
    })?;
    inode.count_blocks(change, -1)?;
    if is_shared { Ok(()) } else { file_system.free_blocks(change, buffer.number(), 1, true) }
}

/// Says in the superblock that there are attributes.
fn note_feature(inode: &Inode, change: &Change<'_>) -> Result<(), Errno> {
    let file_system = inode.file_system();
    let bit = Compatible::ATTRIBUTES.bits();
    if file_system.read_superblock(|bytes| get_u32(bytes, AT_FEATURES) & bit != 0)? {
        return Ok(());
    }
    file_system.change_superblock(change, |bytes| {
        let features = get_u32(bytes, AT_FEATURES);
        put_u32(bytes, AT_FEATURES, features | bit);
    })
}
