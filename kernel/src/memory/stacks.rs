//! Kernel virtual ranges with guard pages: stacks, and windows onto device registers.
//!
//! Addresses come from a bump pointer, and freed stacks of the same size from a list, so that threads come and go without
//! using the area up. Every range is followed and preceded by an unmapped page.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use sync::{SpinLock, rank};

use super::layout::{RANGES, RANGES_BYTES};
use super::{PAGE_BYTES, frames, paging};

/// Pages of a thread's kernel stack.
pub(crate) const THREAD_STACK_PAGES: usize = 4;
/// Pages of an IST stack.
pub(crate) const INTERRUPT_STACK_PAGES: usize = 2;
/// Freed stacks kept for the next thread.
const SPARE_MAX: usize = 64;

static NEXT: AtomicUsize = AtomicUsize::new(RANGES + PAGE_BYTES);
static SPARE: SpinLock<Vec<usize>> = SpinLock::new(rank::KERNEL_RANGES, Vec::new());

/// A mapped stack; unmapped, or kept for reuse, when dropped.
pub(crate) struct KernelStack {
    bottom: usize,
    pages: usize,
}

impl KernelStack {
    /// Lowest address.
    pub(crate) fn bottom(&self) -> usize {
        self.bottom
    }

    /// One past the highest address; a multiple of 16.
    pub(crate) fn top(&self) -> usize {
        self.bottom + self.pages * PAGE_BYTES
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        if self.pages == THREAD_STACK_PAGES {
            let mut spare = SPARE.lock();
            if spare.len() < spare.capacity().min(SPARE_MAX) {
                spare.push(self.bottom);
                return;
            }
        }
        for page in 0..self.pages {
            // SAFETY: the stack is ours, and whoever drops it no longer runs on it.
            if let Some(physical) = unsafe { paging::unmap_kernel_page(self.bottom + page * PAGE_BYTES) } {
                frames::free_page(physical);
            }
        }
    }
}

/// An unused range of `pages` pages between guard pages; not mapped. `None`: the area is used up.
pub(crate) fn reserve(pages: usize) -> Option<usize> {
    let bytes = pages.checked_add(1)?.checked_mul(PAGE_BYTES)?;
    let limit = RANGES + RANGES_BYTES;
    NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| next.checked_add(bytes).filter(|end| *end <= limit))
        .ok()
}

/// A stack of `pages` pages; `None` when memory is out.
pub(crate) fn allocate(pages: usize) -> Option<KernelStack> {
    if pages == THREAD_STACK_PAGES
        && let Some(bottom) = SPARE.lock().pop()
    {
        return Some(KernelStack { bottom, pages });
    }
    let bottom = reserve(pages)?;
    let mut stack = KernelStack { bottom, pages: 0 };
    for page in 0..pages {
        let physical = frames::allocate_zeroed_page()?;
        // SAFETY: the range was reserved for us; the frame is new.
        if unsafe { paging::map_kernel(bottom + page * PAGE_BYTES, physical, PAGE_BYTES, false) }.is_none() {
            frames::free_page(physical);
            return None;
        }
        stack.pages += 1;
    }
    Some(stack)
}

/// Makes room for the list of spare stacks, which never grows under its lock.
pub(crate) fn init() {
    let list = Vec::with_capacity(SPARE_MAX);
    *SPARE.lock() = list;
}
