//! What both boot protocols give: the command line, the memory map and where the ACPI tables begin.

use crate::{MemoryMap, PhysicalMemory};

/// Bytes of the kernel command line that are looked at, with its final zero.
pub const COMMAND_LINE_MAX: usize = 4096;

/// Who started the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The PVH boot protocol of Xen (QEMU `-kernel`, Cloud Hypervisor, Firecracker).
    Pvh,
    /// The 64-bit Linux boot protocol.
    Linux,
}

/// Why the boot information cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The structure, or something that it points to, is not in readable memory.
    Unreadable,
    /// The structure does not carry its magic number.
    BadMagic,
    /// There is no memory map.
    NoMemoryMap,
}

/// The answer of either protocol.
#[derive(Clone, Debug)]
pub struct BootInformation {
    /// Who started the kernel.
    pub protocol: Protocol,
    /// Physical address of the zero-terminated command line.
    pub command_line: Option<u64>,
    /// Physical address of ACPI's root pointer, if the loader told it.
    pub rsdp: Option<u64>,
    /// Physical addresses `[start, end)` of an initial ramdisk (the first module of PVH).
    pub ramdisk: Option<(u64, u64)>,
    /// The memory map, normalised.
    pub memory_map: MemoryMap,
}

/// Reads the zero-terminated command line at `address` into `buffer` (cut to fit) and returns it.
pub fn read_command_line<'a>(memory: &impl PhysicalMemory, address: u64, buffer: &'a mut [u8]) -> &'a [u8] {
    // Byte by byte: the line may end right before memory that cannot be read.
    let mut len = 0;
    for (slot, at) in buffer.iter_mut().zip(address..) {
        let mut byte = [0];
        if !memory.read(at, &mut byte) || byte == [0] {
            break;
        }
        *slot = byte[0];
        len += 1;
    }
    buffer.get(..len).unwrap_or_default()
}
