//! Kernel virtual ranges with guard pages: stacks, and windows onto device registers.
//!
//! Addresses come from a bump pointer; those of threads' stacks come back. Every range is followed and preceded by an
//! unmapped page.
//!
//! # Freed stacks
//!
//! A stack that is unmapped must go from the translations of every CPU, which means to interrupt them all. So freed stacks of
//! threads wait, mapped, for the next thread, and [`BATCH`] of them are unmapped at once, with one flush:
//! 1. Their entries lose the present bit, and keep the frames.
//! 2. Every CPU flushes.
//! 3. The frames are freed, and the addresses put in a list through the entries of the lowest pages, which hold the next
//!    address of the list in place of a frame.
//!
//! A single CPU flushes for itself, so there every stack is unmapped at once.
//!
//! Lock: `KERNEL_RANGES`; flushes and frames are done without it.

use core::sync::atomic::{AtomicUsize, Ordering};

use sync::{SpinLock, rank};

use super::layout::{RANGES, RANGES_BYTES};
use super::paging::{ENTRY_ADDRESS, Entry};
use super::{PAGE_BYTES, frames, paging, tlb};
use crate::arch::smp;

/// Pages of a thread's kernel stack. The deepest way down is a write that finds memory short, writes back what is
/// dirty, and so commits and empties a journal.
pub(crate) const THREAD_STACK_PAGES: usize = 4;
/// Pages of the stack on which the machine starts: much of that is one function after inlining. The first CPU waits on
/// it for work later.
pub(crate) const BOOT_STACK_PAGES: usize = 12;
/// Pages of an IST stack.
pub(crate) const INTERRUPT_STACK_PAGES: usize = 2;
/// Freed stacks that are unmapped together.
const BATCH: usize = 32;
/// The end of a list of stacks.
const NONE: usize = 0;

static NEXT: AtomicUsize = AtomicUsize::new(RANGES + PAGE_BYTES);
static FREED: SpinLock<Freed> = SpinLock::new(rank::KERNEL_RANGES, Freed { mapped: NONE, count: 0, unmapped: NONE });

/// What threads left behind.
struct Freed {
    /// Mapped stacks, in a list through their first words.
    mapped: usize,
    count: usize,
    /// Ranges for stacks, in a list through the entries of their lowest pages.
    unmapped: usize,
}

impl Freed {
    fn push(&mut self, bottom: usize) {
        // SAFETY: a mapped stack that nobody uses.
        unsafe { (bottom as *mut usize).write(self.mapped) };
        self.mapped = bottom;
        self.count += 1;
    }

    fn pop(&mut self) -> Option<usize> {
        let bottom = self.mapped;
        if bottom == NONE {
            return None;
        }
        // SAFETY: as in `push`, which left the word.
        self.mapped = unsafe { (bottom as *const usize).read() };
        self.count -= 1;
        Some(bottom)
    }

    fn push_range(&mut self, bottom: usize) {
        // SAFETY: the range is nobody's, and unmapped. An address of a page has no present bit.
        if unsafe { paging::swap_kernel_entry(bottom, self.unmapped as u64) }.is_some() {
            self.unmapped = bottom;
        }
    }

    fn pop_range(&mut self) -> Option<usize> {
        let bottom = self.unmapped;
        if bottom == NONE {
            return None;
        }
        // SAFETY: as in `push_range`, which left the entry.
        let next = unsafe { paging::swap_kernel_entry(bottom, 0) }.and_then(|next| usize::try_from(next).ok());
        self.unmapped = next.unwrap_or(NONE);
        Some(bottom)
    }
}

/// A mapped stack; unmapped some time, or used again, when dropped.
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
        if self.pages != THREAD_STACK_PAGES {
            unmap(&[self.bottom], self.pages);
            return;
        }
        let mut freed = FREED.lock();
        freed.push(self.bottom);
        let wanted = if smp::count() == 1 { 1 } else { BATCH };
        let mut batch = [NONE; BATCH];
        let mut len = 0;
        if freed.count >= wanted {
            while len < wanted
                && let Some(bottom) = freed.pop()
            {
                batch[len] = bottom;
                len += 1;
            }
        }
        drop(freed);
        give_back(&batch[..len]);
    }
}

/// Unmaps stacks of threads and keeps their addresses.
fn give_back(stacks: &[usize]) {
    if stacks.is_empty() {
        return;
    }
    unmap(stacks, THREAD_STACK_PAGES);
    for bottom in stacks {
        FREED.lock().push_range(*bottom);
    }
}

/// Unmaps stacks, or as much of them as is mapped, and frees their memory. Nobody uses them any more.
fn unmap(stacks: &[usize], pages: usize) {
    let all_pages = || stacks.iter().flat_map(|bottom| (0..pages).map(move |page| bottom + page * PAGE_BYTES));
    for address in all_pages() {
        // SAFETY: the stack is ours, and whoever drops it no longer runs on it.
        unsafe { paging::hide_kernel_page(address) };
    }
    tlb::flush_kernel();
    for address in all_pages() {
        // SAFETY: as above.
        match unsafe { paging::swap_kernel_entry(address, 0) } {
            Some(entry) if entry != 0 => {
                debug_assert!(entry & Entry::PRESENT.bits() == 0, "the page was hidden");
                frames::free_page(entry & ENTRY_ADDRESS);
            }
            _ => {}
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
    let is_for_thread = pages == THREAD_STACK_PAGES;
    if is_for_thread && let Some(bottom) = FREED.lock().pop() {
        return Some(KernelStack { bottom, pages });
    }
    let old_range = if is_for_thread { FREED.lock().pop_range() } else { None };
    let bottom = match old_range {
        Some(bottom) => bottom,
        None => reserve(pages)?,
    };
    for page in 0..pages {
        let is_mapped = frames::allocate_zeroed_page().is_some_and(|physical| {
            // SAFETY: the range was reserved for us; the frame is new.
            let mapped = unsafe { paging::map_kernel(bottom + page * PAGE_BYTES, physical, PAGE_BYTES, false) };
            if mapped.is_none() {
                frames::free_page(physical);
            }
            mapped.is_some()
        });
        if !is_mapped {
            unmap(&[bottom], page);
            if is_for_thread {
                FREED.lock().push_range(bottom);
            }
            return None;
        }
    }
    Some(KernelStack { bottom, pages })
}

/// Frames of stacks that wait for the next thread.
pub(super) fn waiting_frames() -> u64 {
    let freed = FREED.lock().count;
    (freed * THREAD_STACK_PAGES) as u64
}
