//! What firmware, boot loaders and the hypervisor tell a kernel, parsed from bytes.
//!
//! - [`pvh`] and [`linux_boot`]: the two boot protocols; both give a [`BootInformation`].
//! - [`command_line`]: the kernel's own options and the devices that QEMU announces there.
//! - [`network`]: how network interfaces are to be configured.
//! - [`acpi`]: the tables a small kernel needs (MADT, FADT, MCFG, and three facts of the DSDT).
//! - [`rtc`], [`pvclock`], [`following`], [`clock`]: wall clock and time stamp counter arithmetic.
//!
//! Physical memory is read through [`PhysicalMemory`] only, and nothing that is read is trusted: lengths are checked,
//! loops are bounded by constants named `_MAX`, arithmetic is checked or saturating, and a malformed structure is an
//! error or an absence, never a panic. All but [`acpi`] and [`network`] works before there is a heap.
//!
//! It touches no hardware: ports and device memory belong to the machine's drivers.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod acpi;
mod boot;
mod bytes;
pub mod clock;
pub mod command_line;
pub mod following;
pub mod linux_boot;
pub mod memory_map;
pub mod network;
pub mod pvclock;
pub mod pvh;
pub mod rtc;

pub use boot::{BootError, BootInformation, COMMAND_LINE_MAX, Protocol, read_command_line};
pub use memory_map::{MemoryMap, Region, RegionKind};

/// Physical memory as the parsers see it.
pub trait PhysicalMemory {
    /// Copies `out.len()` bytes from physical `address`; false when any of them cannot be read (`out` is then undefined).
    fn read(&self, address: u64, out: &mut [u8]) -> bool;
}

impl<T: PhysicalMemory + ?Sized> PhysicalMemory for &T {
    fn read(&self, address: u64, out: &mut [u8]) -> bool {
        (**self).read(address, out)
    }
}
