//! Where the records of inodes are on the disk, and changing them.

use alloc::sync::Arc;

use abi::Errno;
use block::Buffer;

use crate::{Change, FileSystem, corrupt, record};

/// The block a record is in, and where in it.
pub(crate) fn record_place(file_system: &FileSystem, number: u32) -> Result<(Arc<Buffer>, usize), Errno> {
    let superblock = &file_system.superblock;
    let there_is_none = || corrupt(format_args!("there is no inode {number}"));
    let (group, index) = superblock.group_of_inode(number).ok_or_else(there_is_none)?;
    let table = file_system.groups.lock(group)?.inode_table;
    let per_block = superblock.inodes_per_block();
    let buffer = file_system.cache.get(table + u64::from(index / per_block))?;
    Ok((buffer, (index % per_block) as usize * superblock.inode_len))
}

/// Changes bytes of a record, which gets its checksum when it is written.
pub(crate) fn change_record<R>(
    file_system: &FileSystem,
    change: &Change<'_>,
    number: u32,
    apply: impl FnOnce(&mut [u8]) -> R,
) -> Result<R, Errno> {
    let superblock = &file_system.superblock;
    let (buffer, start) = record_place(file_system, number)?;
    let act = |bytes: &mut [u8]| apply(bytes.get_mut(start..start + superblock.inode_len).unwrap_or_default());
    if !superblock.has_checksums() {
        return change.write(&buffer, act);
    }
    let index = u32::try_from(start / superblock.inode_len).unwrap_or(0);
    change.write_unsealed(&buffer, record::seal_in(superblock, number.wrapping_sub(index), index), act)
}
