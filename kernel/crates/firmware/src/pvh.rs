//! The PVH start information (`struct hvm_start_info`, Xen's public/arch-x86/hvm/start_info.h).
//!
//! The kernel is entered in 32-bit mode with its physical address in `ebx`.

use crate::bytes::{read_array, u32_at, u64_at};
use crate::{BootError, BootInformation, MemoryMap, PhysicalMemory, Protocol, RegionKind};

/// The magic number, "xEn3" with bit 7 of the "E" set.
pub const MAGIC: u32 = 0x336e_c578;

/// Entries of the memory map that are looked at.
const ENTRIES_MAX: u32 = 1024;
const ENTRY_LEN_BYTES: u64 = 24;

/// Reads the start information at `address`.
pub fn read(memory: &impl PhysicalMemory, address: u64) -> Result<BootInformation, BootError> {
    // Version 0 ends before the memory map, at 40 bytes; version 1 has 56.
    let head: [u8; 40] = read_array(memory, address).ok_or(BootError::Unreadable)?;
    if u32_at(&head, 0) != Some(MAGIC) {
        return Err(BootError::BadMagic);
    }
    let version = u32_at(&head, 4).unwrap_or(0);
    let module_count = u32_at(&head, 12).unwrap_or(0);
    let modules = u64_at(&head, 16).unwrap_or(0);
    let non_zero = |offset| u64_at(&head, offset).filter(|value| *value != 0);
    if version < 1 {
        return Err(BootError::NoMemoryMap);
    }
    let tail: [u8; 16] = read_array(memory, address.saturating_add(40)).ok_or(BootError::Unreadable)?;
    let map_address = u64_at(&tail, 0).unwrap_or(0);
    let map_count = u32_at(&tail, 8).unwrap_or(0);
    Ok(BootInformation {
        protocol: Protocol::Pvh,
        command_line: non_zero(24),
        rsdp: non_zero(32),
        ramdisk: if module_count > 0 { read_module(memory, modules) } else { None },
        memory_map: read_memory_map(memory, map_address, map_count)?,
    })
}

/// The extent of the module whose list entry is at `address`.
fn read_module(memory: &impl PhysicalMemory, address: u64) -> Option<(u64, u64)> {
    let entry: [u8; 16] = read_array(memory, address)?;
    let start = u64_at(&entry, 0)?;
    let end = start.checked_add(u64_at(&entry, 8)?)?;
    (start < end).then_some((start, end))
}

fn read_memory_map(memory: &impl PhysicalMemory, address: u64, count: u32) -> Result<MemoryMap, BootError> {
    let mut map = MemoryMap::new();
    for index in 0..u64::from(count.min(ENTRIES_MAX)) {
        let entry = read_array(memory, address.saturating_add(index * ENTRY_LEN_BYTES));
        let entry: [u8; 24] = entry.ok_or(BootError::Unreadable)?;
        let (Some(start), Some(len), Some(kind)) = (u64_at(&entry, 0), u64_at(&entry, 8), u32_at(&entry, 16)) else {
            return Err(BootError::Unreadable);
        };
        map.push(start, len, RegionKind::from_e820(kind));
    }
    map.normalise();
    if map.usable_bytes() == 0 { Err(BootError::NoMemoryMap) } else { Ok(map) }
}
