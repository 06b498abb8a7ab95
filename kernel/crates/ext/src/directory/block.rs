//! The frame of a directory's blocks: what kind of block they are, and their checksums.
//!
//! # Theory
//!
//! 1. With `metadata_csum` each block of names ends in a record of twelve bytes that looks free and holds a CRC-32C over everything before it,
//!    continued from the seed of the directory's inode. So a block of another directory, or of an earlier life of this inode, does not pass.
//! 2. A block of the index has its checksum in the room of one more entry behind the last possible one. It covers the bytes before
//!    the first unused entry, and the last eight with zero in the place of the checksum.
//! 3. A block of names gets its checksum when it goes to the disk ([`Seal`]): mostly many names come and go before. A
//!    block of the index changes rarely and has it always.
//! 4. A checksum is compared once, when a block was read from the disk; the buffer remembers it. Whatever else is
//!    looked at in a block is checked each time, as nothing says that two directories do not share a block on a bad
//!    disk.

use alloc::sync::Arc;

use abi::Errno;
use block::{Buffer, Seal};

use super::Nonsense;
use super::records::RECORD_LEN_MIN;
use crate::bytes::{get_u8, get_u16, get_u32, put_u8, put_u16, put_u32};
use crate::checksum::crc32c;
use crate::{Change, DirectoryBlocks, DirectoryFormat};

/// Bytes of the record that holds a checksum.
const TAIL_LEN: usize = RECORD_LEN_MIN;
/// Its places: length, kind of file, checksum.
const AT_TAIL_LEN: usize = 4;
const AT_TAIL_KIND: usize = 7;
const AT_TAIL_CHECKSUM: usize = 8;
/// The kind of file that marks it.
const TAIL_KIND: u8 = 0xde;
/// Bytes behind the entries of an index that hold a checksum: four reserved, then the checksum.
pub(super) const INDEX_TAIL_LEN: usize = 8;

/// Bytes of a block of names that records cover.
pub(super) fn area_len(format: &DirectoryFormat) -> usize {
    format.block_len - if format.checksum_seed.is_some() { TAIL_LEN } else { 0 }
}

/// Reads a block of names; `EUCLEAN` when its checksum is not right.
pub(super) fn get_leaf<B: DirectoryBlocks + ?Sized>(blocks: &B, index: u32) -> Result<Arc<Buffer>, Errno> {
    let buffer = blocks.get(index)?;
    check_once(blocks, index, &buffer, check_leaf)?;
    Ok(buffer)
}

/// Compares the checksum of a block, by `check`, unless that was done since it was read.
pub(super) fn check_once<B: DirectoryBlocks + ?Sized>(
    blocks: &B,
    index: u32,
    buffer: &Buffer,
    check: impl FnOnce(&[u8], u32) -> Result<(), Nonsense>,
) -> Result<(), Errno> {
    let Some(seed) = blocks.format().checksum_seed else { return Ok(()) };
    if buffer.is_checked() {
        return Ok(());
    }
    buffer.read(|bytes| check(bytes, seed)).map_err(|nonsense| nonsense.report(blocks, index))?;
    buffer.mark_checked();
    Ok(())
}

fn check_leaf(bytes: &[u8], seed: u32) -> Result<(), Nonsense> {
    let (area, tail) = bytes.split_at(bytes.len().saturating_sub(TAIL_LEN));
    let is_tail = get_u32(tail, 0) == 0
        && usize::from(get_u16(tail, AT_TAIL_LEN)) == TAIL_LEN
        && get_u8(tail, AT_TAIL_LEN + 2) == 0
        && get_u8(tail, AT_TAIL_KIND) == TAIL_KIND;
    if !is_tail {
        return Err(Nonsense("there is no checksum"));
    }
    if get_u32(tail, AT_TAIL_CHECKSUM) != crc32c(seed, area) {
        return Err(Nonsense("the checksum is wrong"));
    }
    Ok(())
}

/// Changes a block of names, which gets its checksum when it is written.
pub(super) fn change_leaf<B: DirectoryBlocks + ?Sized, R>(
    blocks: &B,
    change: &Change<'_>,
    buffer: &Arc<Buffer>,
    act: impl FnOnce(&mut [u8], usize) -> R,
) -> Result<R, Errno> {
    let format = blocks.format();
    let act = |bytes: &mut [u8]| act(bytes, area_len(format));
    let result = match format.checksum_seed {
        None => change.write(buffer, act)?,
        Some(seed) => {
            let seal = Seal { apply: seal_leaf, context: [seed, 0, 0], parts: 1 };
            change.write_unsealed(buffer, seal, act)?
        }
    };
    buffer.mark_checked();
    Ok(result)
}

/// Writes the checksum of a block of names.
fn seal_leaf(bytes: &mut [u8], seal: &Seal) {
    let [seed, ..] = seal.context;
    let (area, tail) = bytes.split_at_mut(bytes.len().saturating_sub(TAIL_LEN));
    tail.fill(0);
    put_u16(tail, AT_TAIL_LEN, u16::try_from(TAIL_LEN).unwrap_or(0));
    put_u8(tail, AT_TAIL_KIND, TAIL_KIND);
    put_u32(tail, AT_TAIL_CHECKSUM, crc32c(seed, area));
}

/// The checksum of a block of the index: `used` bytes, and the reserved ones of the tail.
pub(super) fn index_checksum(bytes: &[u8], used: usize, tail: usize, seed: u32) -> u32 {
    let sum = crc32c(seed, bytes.get(..used).unwrap_or_default());
    let sum = crc32c(sum, bytes.get(tail..tail + 4).unwrap_or_default());
    crc32c(sum, &[0; 4])
}
