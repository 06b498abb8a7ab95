//! Numbers in blocks. Journals are big-endian throughout. What would be outside of a block reads as 0 and is not written.

pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    array_at(bytes, offset).map_or(0, u16::from_be_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    array_at(bytes, offset).map_or(0, u32::from_be_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    array_at(bytes, offset).map_or(0, u64::from_be_bytes)
}

fn array_at<const LEN: usize>(bytes: &[u8], offset: usize) -> Option<[u8; LEN]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// Puts some bytes into a block.
pub(crate) fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..).and_then(|rest| rest.get_mut(..value.len())) {
        place.copy_from_slice(value);
    } else {
        debug_assert!(false, "a value is put outside of its block");
    }
}
