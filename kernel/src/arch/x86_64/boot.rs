//! The assembly entries and the symbols of the linker script.
//!
//! Addresses of linker symbols are taken, their contents never read through them.

use core::arch::global_asm;

global_asm!(include_str!("boot.s"));

unsafe extern "C" {
    static __image_start: u8;
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __data_end: u8;
    static __payload_start: u8;
    static __early_start: u8;
    static __early_end: u8;
}

/// Link address of physical address zero; the running image is `slide` above it.
pub(crate) const VIRTUAL_BASE: usize = 0xffff_ffff_8000_0000;

/// Which loader started the kernel, from boot.s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BootProtocol {
    /// Xen PVH: the pointer is a `hvm_start_info`.
    Pvh,
    /// Linux x86 64-bit: the pointer is a `boot_params`.
    Linux,
}

/// Virtual addresses of the parts of the running image, each page aligned.
#[derive(Clone, Copy)]
pub(crate) struct ImageLayout {
    pub(crate) text_start: usize,
    pub(crate) text_end: usize,
    pub(crate) rodata_end: usize,
    pub(crate) data_end: usize,
    pub(crate) payload: usize,
    /// Page tables and stack of the first instructions, of no use after start-up.
    pub(crate) early: (usize, usize),
}

/// The parts of the running image.
pub(crate) fn image_layout() -> ImageLayout {
    ImageLayout {
        text_start: &raw const __image_start as usize,
        text_end: &raw const __text_end as usize,
        rodata_end: &raw const __rodata_end as usize,
        data_end: &raw const __data_end as usize,
        payload: &raw const __payload_start as usize,
        early: (&raw const __early_start as usize, &raw const __early_end as usize),
    }
}

/// Where the image lies in memory (kernel.ld).
const LOAD_BASE: u64 = 0x10_0000;

/// The physical address of something in the image.
pub(crate) fn physical_in_image(address: usize) -> u64 {
    address.wrapping_sub(&raw const __image_start as usize) as u64 + LOAD_BASE
}

/// True when `address` is code of the kernel.
pub(crate) fn is_kernel_text(address: usize) -> bool {
    let start = &raw const __text_start as usize;
    let end = &raw const __text_end as usize;
    (start..end).contains(&address)
}
