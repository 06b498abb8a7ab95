//! [`CountingAllocator`]: the system's memory, counted. A test or benchmark that wants it declares it as its global allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are allocated now, in the whole program; 0 in programs without the allocator.
#[must_use]
pub fn allocated_len() -> usize {
    ALLOCATED.load(Relaxed)
}

/// The system's allocator with a count of bytes, as they were asked for.
#[derive(Debug)]
pub struct CountingAllocator;

// SAFETY: All is done by the system's allocator with what the caller gave, so its guarantees hold; counting allocates nothing.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: The caller's promise is the one that the system's allocator asks for.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            ALLOCATED.fetch_add(layout.size(), Relaxed);
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: The memory came from `alloc` of the system, with this layout.
        unsafe { System.dealloc(memory, layout) };
    }
}
