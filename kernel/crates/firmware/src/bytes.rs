//! Little-endian fields of byte slices, and fixed-size reads of physical memory; an absent byte is `None`.

use crate::PhysicalMemory;

/// `N` bytes at `offset`.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

/// The byte at `offset`.
pub(crate) fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

/// The 16-bit word at `offset`.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

/// The 32-bit word at `offset`.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

/// The 64-bit word at `offset`.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}

/// `N` bytes of physical memory.
pub(crate) fn read_array<const N: usize>(memory: &impl PhysicalMemory, address: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    address.checked_add(N as u64)?;
    memory.read(address, &mut bytes).then_some(bytes)
}
