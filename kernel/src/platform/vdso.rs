//! The vDSO on this machine: its image and its page of data, both part of the kernel's own image.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use linux::VdsoFrames;
use mm::{Frame, FrameNumber};
use vdso::{BY_SYSCALL_OFFSET, IMAGE, PAGE_BYTES, Page};

use crate::arch::boot::physical_in_image;
use crate::arch::percpu;

/// What programs read and the kernel writes.
pub(crate) static PAGE: Page = Page::new();

/// Tells programs where the kernel's functions for system calls are.
pub(super) fn publish_calls() {
    PAGE.calls.store(percpu::call_table() as u64, Ordering::Relaxed);
}

/// The frames of both.
pub(super) fn frames() -> VdsoFrames {
    let first = physical_in_image(IMAGE.bytes().as_ptr() as usize);
    let addresses = (first..).step_by(PAGE_BYTES).take(IMAGE.bytes().len() / PAGE_BYTES);
    VdsoFrames {
        data: frame_at(physical_in_image(&raw const PAGE as usize)),
        image: addresses.map(frame_at).collect::<Vec<_>>(),
        by_syscall: BY_SYSCALL_OFFSET,
    }
}

/// The frame at a page of the kernel's image, which lies far below 16 TiB. Such frames are pinned.
fn frame_at(physical: u64) -> Frame {
    debug_assert!(physical.is_multiple_of(PAGE_BYTES as u64), "static items of whole pages begin at pages");
    Frame::from_raw(FrameNumber::new(u32::try_from(physical / PAGE_BYTES as u64).unwrap_or(0)))
}
