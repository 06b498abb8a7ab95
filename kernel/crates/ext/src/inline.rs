//! Contents that stand in the record (`inline_data`), for reading.
//!
//! The first 60 bytes are where other files have their map. What is longer goes on in the extended attribute `system.data`, which
//! stands in the record too, behind its fields.

use alloc::vec::Vec;

use abi::Errno;

use crate::bytes::{get_u8, get_u16, get_u32};
use crate::corrupt;
use crate::inode::Inode;
use crate::record::{LEN_OLD, MAP_LEN, MAP_OFFSET};

/// The magic number in front of the attributes in a record.
const MAGIC: u32 = 0xea02_0000;
/// The namespace `system`.
const NAMESPACE: u8 = 7;
const NAME: &[u8] = b"data";
/// Bytes of an attribute's entry in front of its name.
const ENTRY_LEN: usize = 16;

/// The contents of a file or directory that has them in its record.
pub(crate) fn contents(inode: &Inode) -> Result<Vec<u8>, Errno> {
    let size = usize::try_from(inode.size_on_disk()).unwrap_or(usize::MAX);
    let mut bytes = inode.read_record(|record| {
        let mut bytes = record.get(MAP_OFFSET..MAP_OFFSET + MAP_LEN).unwrap_or_default().to_vec();
        bytes.extend_from_slice(find_attribute(record).unwrap_or_default());
        bytes
    })?;
    if bytes.len() < size {
        return Err(corrupt(format_args!("the contents of inode {} are not all there", inode.number())));
    }
    bytes.truncate(size);
    Ok(bytes)
}

fn find_attribute(record: &[u8]) -> Option<&[u8]> {
    let start = LEN_OLD + usize::from(get_u16(record, LEN_OLD));
    let area = record.get(start + 4..).filter(|_| get_u32(record, start) == MAGIC)?;
    let mut at = 0;
    while get_u32(area, at) != 0 {
        let name_len = usize::from(get_u8(area, at));
        let name = area.get(at + ENTRY_LEN..at + ENTRY_LEN + name_len)?;
        if get_u8(area, at + 1) == NAMESPACE && name == NAME {
            let offset = usize::from(get_u16(area, at + 2));
            let len = usize::try_from(get_u32(area, at + 8)).ok()?;
            return area.get(offset..offset.checked_add(len)?);
        }
        at += ENTRY_LEN + name_len.next_multiple_of(4);
    }
    None
}
