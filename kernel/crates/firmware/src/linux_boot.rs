//! The "zero page" of the Linux boot protocol (`struct boot_params`, Documentation/arch/x86/boot.rst and zero-page.rst).
//!
//! The kernel is entered in 64-bit mode with its physical address in `rsi`.

use crate::bytes::{array_at, read_array, u8_at, u32_at, u64_at};
use crate::{BootError, BootInformation, MemoryMap, PhysicalMemory, Protocol, RegionKind};

const PAGE_LEN_BYTES: usize = 4096;
/// Entries that fit the page, behind which the structure ends.
const ENTRIES_MAX: usize = 128;
const ENTRY_LEN_BYTES: usize = 20;

const ACPI_RSDP: usize = 0x070;
const EXT_RAMDISK_IMAGE: usize = 0x0c0;
const EXT_RAMDISK_SIZE: usize = 0x0c4;
const EXT_COMMAND_LINE: usize = 0x0c8;
const E820_ENTRY_COUNT: usize = 0x1e8;
const HEADER_MAGIC: usize = 0x202;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const COMMAND_LINE: usize = 0x228;
const E820_TABLE: usize = 0x2d0;

/// Reads the boot parameters at `address`.
pub fn read(memory: &impl PhysicalMemory, address: u64) -> Result<BootInformation, BootError> {
    let page: [u8; PAGE_LEN_BYTES] = read_array(memory, address).ok_or(BootError::Unreadable)?;
    if array_at::<4>(&page, HEADER_MAGIC) != Some(*b"HdrS") {
        return Err(BootError::BadMagic);
    }
    let wide = |low, high| {
        let (low, high) = (u32_at(&page, low).unwrap_or(0), u32_at(&page, high).unwrap_or(0));
        u64::from(low) | u64::from(high) << 32
    };
    let ramdisk_start = wide(RAMDISK_IMAGE, EXT_RAMDISK_IMAGE);
    let ramdisk_end = ramdisk_start.saturating_add(wide(RAMDISK_SIZE, EXT_RAMDISK_SIZE));
    Ok(BootInformation {
        protocol: Protocol::Linux,
        command_line: Some(wide(COMMAND_LINE, EXT_COMMAND_LINE)).filter(|address| *address != 0),
        rsdp: u64_at(&page, ACPI_RSDP).filter(|address| *address != 0),
        ramdisk: (ramdisk_start < ramdisk_end).then_some((ramdisk_start, ramdisk_end)),
        memory_map: read_memory_map(&page)?,
    })
}

fn read_memory_map(page: &[u8]) -> Result<MemoryMap, BootError> {
    let mut map = MemoryMap::new();
    let count = usize::from(u8_at(page, E820_ENTRY_COUNT).unwrap_or(0)).min(ENTRIES_MAX);
    for index in 0..count {
        let at = E820_TABLE + index * ENTRY_LEN_BYTES;
        let (Some(start), Some(len), Some(kind)) = (u64_at(page, at), u64_at(page, at + 8), u32_at(page, at + 16))
        else {
            return Err(BootError::Unreadable);
        };
        map.push(start, len, RegionKind::from_e820(kind));
    }
    map.normalise();
    if map.usable_bytes() == 0 { Err(BootError::NoMemoryMap) } else { Ok(map) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Page(Vec<u8>);
    impl PhysicalMemory for Page {
        fn read(&self, address: u64, out: &mut [u8]) -> bool {
            let Ok(start) = usize::try_from(address) else { return false };
            match self.0.get(start..start.saturating_add(out.len())) {
                Some(bytes) => out.copy_from_slice(bytes),
                None => return false,
            }
            true
        }
    }

    fn page() -> Vec<u8> {
        let mut page = vec![0; PAGE_LEN_BYTES];
        page[HEADER_MAGIC..HEADER_MAGIC + 4].copy_from_slice(b"HdrS");
        page[COMMAND_LINE..COMMAND_LINE + 4].copy_from_slice(&0x2_0000u32.to_le_bytes());
        page[ACPI_RSDP..ACPI_RSDP + 8].copy_from_slice(&0xe_0000u64.to_le_bytes());
        page[RAMDISK_IMAGE..RAMDISK_IMAGE + 4].copy_from_slice(&0x100_0000u32.to_le_bytes());
        page[RAMDISK_SIZE..RAMDISK_SIZE + 4].copy_from_slice(&0x1234u32.to_le_bytes());
        page[E820_ENTRY_COUNT] = 2;
        for (index, (start, len, kind)) in [(0u64, 0x9_fc00u64, 1u32), (0x10_0000, 0x700_0000, 1)].iter().enumerate() {
            let at = E820_TABLE + index * ENTRY_LEN_BYTES;
            page[at..at + 8].copy_from_slice(&start.to_le_bytes());
            page[at + 8..at + 16].copy_from_slice(&len.to_le_bytes());
            page[at + 16..at + 20].copy_from_slice(&kind.to_le_bytes());
        }
        page
    }

    #[test]
    fn reads_every_field() {
        let information = read(&Page(page()), 0).unwrap();
        assert_eq!(information.protocol, Protocol::Linux);
        assert_eq!(information.command_line, Some(0x2_0000));
        assert_eq!(information.rsdp, Some(0xe_0000));
        assert_eq!(information.ramdisk, Some((0x100_0000, 0x100_1234)));
        assert_eq!(information.memory_map.usable_bytes(), 0x9_fc00 + 0x700_0000);
    }

    #[test]
    fn refuses_what_is_not_a_zero_page() {
        assert_eq!(read(&Page(vec![0; PAGE_LEN_BYTES]), 0).unwrap_err(), BootError::BadMagic);
        assert_eq!(read(&Page(page()), 1).unwrap_err(), BootError::Unreadable);
        let mut empty = page();
        empty[E820_ENTRY_COUNT] = 0;
        assert_eq!(read(&Page(empty), 0).unwrap_err(), BootError::NoMemoryMap);
        let mut full = page();
        full[E820_ENTRY_COUNT] = 255;
        assert!(read(&Page(full), 0).is_ok());
    }
}
