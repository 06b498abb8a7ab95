//! [`CountingAllocator`]: the system's memory, counted. A test or benchmark that wants it declares it as its global allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::LocalKey;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are allocated now, in the whole program; 0 in programs without the allocator.
#[must_use]
pub fn allocated_len() -> usize {
    ALLOCATED.load(Relaxed)
}

/// How often the calling thread has allocated; 0 in programs without the allocator.
#[must_use]
pub fn allocation_count() -> usize {
    COUNT.get()
}

/// Buffers of bytes from this size on are those that [`fail_buffers`] speaks of.
const BUFFER_LEN_MIN: usize = 2048;
/// What is larger than a page needs frames in a row, which there may not be: [`fail_large`].
const PAGE_LEN: usize = 4096;

thread_local! {
    /// How often this thread has allocated.
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// How many more buffers this thread gets before one is refused.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
    /// And how many allocations of more than a page.
    static LARGE_LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Runs `action`, refuses its allocation of more than a page that comes behind so many others, and answers whether that happened, too. Who asks for
/// so much without being ready to get nothing ends the program.
pub fn fail_large<R>(behind: usize, action: impl FnOnce() -> R) -> (R, bool) {
    LARGE_LEFT.set(behind);
    let result = action();
    (result, LARGE_LEFT.replace(usize::MAX) > behind)
}

/// Runs what the test itself does, which is refused nothing.
pub fn unhindered<R>(action: impl FnOnce() -> R) -> R {
    let left = LARGE_LEFT.replace(usize::MAX);
    let result = action();
    LARGE_LEFT.set(left);
    result
}

/// Runs `action` with memory for so many large buffers of bytes: the one behind them is refused, and then there is memory again. Answers whether that
/// happened, too. Other allocations, which cannot fail, are left alone.
pub fn fail_buffers<R>(behind: usize, action: impl FnOnce() -> R) -> (R, bool) {
    LEFT.set(behind);
    let result = action();
    (result, LEFT.replace(usize::MAX) > behind)
}

/// Whether an allocation is to fail.
fn is_refused(layout: Layout) -> bool {
    layout.size() > PAGE_LEN && is_last(&LARGE_LEFT)
        || layout.align() == 1 && layout.size() >= BUFFER_LEN_MIN && is_last(&LEFT)
}

/// Counts one more. True: it is the one to be refused.
fn is_last(count: &'static LocalKey<Cell<usize>>) -> bool {
    // A thread that ends has no count any more.
    count
        .try_with(|left| match left.get() {
            usize::MAX => false,
            0 => {
                left.set(usize::MAX);
                true
            }
            count => {
                left.set(count - 1);
                false
            }
        })
        .unwrap_or(false)
}

/// The system's allocator with a count of bytes, as they were asked for.
#[derive(Debug)]
pub struct CountingAllocator;

// SAFETY: All is done by the system's allocator with what the caller gave, so its guarantees hold; counting allocates nothing.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_refused(layout) {
            return null_mut();
        }
        // A thread that ends has no count any more.
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
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
