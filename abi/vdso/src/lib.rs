//! The vDSO: code of the kernel that programs call without entering it, and the page of data it reads.
//!
//! - [`IMAGE`] is an ELF shared object, made by this crate's build script from `image/`. It is mapped into every program,
//!   right behind the page of data; the C libraries find its functions by name and version, as they do on Linux.
//! - [`Page`] is that page. The kernel writes it, programs may only read it.
//!
//! Both sides turn a count of cycles into a time by the same function, [`Clock::nanoseconds`], so a time read through the
//! vDSO and one read by a system call belong to one clock, to the nanosecond.
//!
//! The image is no part of this library: it is compiled on its own, from `image/image.rs` and `page.rs`, and its linker
//! script holds what must be true of it. `tests/image.rs` looks at it as a program's libc would, and runs it.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod page;

pub use page::{Clock, Page, Random, Rate};

/// Bytes of a page of memory.
pub const PAGE_BYTES: usize = 4096;

/// The bytes of [`IMAGE`], a multiple of the page size.
const IMAGE_LEN: usize = include_bytes!(concat!(env!("OUT_DIR"), "/vdso.so")).len();

/// Where the image has `__nacre_by_syscall`: `mov r10, rcx`, `syscall`, `ret`.
pub const BY_SYSCALL_OFFSET: usize = 0xf0;

/// Bytes that begin at a page boundary.
#[repr(C, align(4096))]
pub struct Image([u8; IMAGE_LEN]);

impl Image {
    /// The bytes: whole pages.
    pub const fn bytes(&self) -> &[u8; IMAGE_LEN] {
        &self.0
    }
}

/// The shared object. It must be mapped right behind the [`Page`].
pub static IMAGE: Image = Image(*include_bytes!(concat!(env!("OUT_DIR"), "/vdso.so")));
