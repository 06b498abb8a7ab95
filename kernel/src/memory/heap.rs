//! The kernel heap: slabs of one page for small objects, whole blocks of frames for large ones.
//!
//! 1. Sizes up to 1,008 bytes are rounded up to a class. A slab is one page: a header, then objects of one class; free
//!    objects form a list through their first word. Slabs with room are in a doubly linked list of their class. An object
//!    knows its slab by its address, so freeing needs no search, and an empty slab goes back to the frames, but for the
//!    last one of its class.
//! 2. Larger sizes, and alignments above a class's, get a block of 2^n frames.
//! 3. Before there are frames, a small static area under the buddy_system_allocator serves; its objects are told apart
//!    by address.
//!
//! 4. The frames keep a reserve for the heap. When the heap is half through it, the current thread is told, and its program
//!    is killed before it runs on; when there is nothing left, the program is killed at once.
//!
//! Lock: HEAP, taken with interrupts off; the frames' lock is taken under it. Running out gives a null pointer before there
//! is a program.
#![expect(clippy::cast_possible_truncation, reason = "there are 14 classes")]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, Ordering};

use buddy_system_allocator::Heap as EarlyHeap;
use sync::{IrqSpinLock, rank};

use super::layout::{direct, physical_of_direct};
use super::{PAGE_BYTES, frames};
use crate::arch::percpu::PerCpu;
use crate::platform::end;

const CLASSES: [u16; 14] = [16, 32, 48, 64, 80, 96, 128, 192, 256, 336, 448, 576, 800, 1008];
const SMALL_MAX: usize = 1008;
const HEADER_BYTES: usize = 64;
const EARLY_BYTES: usize = 16 << 10;

/// The head of a slab page.
#[repr(C)]
struct Slab {
    free: *mut FreeObject,
    next: *mut Slab,
    previous: *mut Slab,
    used: u32,
    class: u32,
}

#[repr(C)]
struct FreeObject {
    next: *mut FreeObject,
}

const _: () = assert!(size_of::<Slab>() <= HEADER_BYTES);

/// The class lists: slabs with at least one free object.
struct Slabs {
    partial: [*mut Slab; CLASSES.len()],
}

// SAFETY: the pointers lead to slab pages, which are owned by the heap and touched under its lock only.
unsafe impl Send for Slabs {}

/// Class by size in units of 16 bytes, rounded up.
const CLASS_OF: [u8; SMALL_MAX / 16 + 1] = {
    let mut table = [0; SMALL_MAX / 16 + 1];
    let mut units = 0;
    while units < table.len() {
        let mut class = 0;
        while (CLASSES[class] as usize) < units * 16 {
            class += 1;
        }
        table[units] = class as u8;
        units += 1;
    }
    table
};

/// The class for a layout, if it is a small one.
fn class_of(layout: Layout) -> Option<usize> {
    let size = layout.size();
    if size > SMALL_MAX || layout.align() > 16 {
        // A power of two in size and alignment up to 64 fits its own class, as slabs begin at a multiple of 64.
        let is_aligned_class = layout.align() == 64 && size <= 64;
        return is_aligned_class.then(|| usize::from(CLASS_OF[4]));
    }
    Some(usize::from(CLASS_OF[size.div_ceil(16)]))
}

fn order_of(layout: Layout) -> u32 {
    let pages = layout.size().max(layout.align()).div_ceil(PAGE_BYTES).max(1);
    pages.next_power_of_two().trailing_zeros()
}

impl Slabs {
    /// Takes one object of `class`.
    fn allocate(&mut self, class: usize) -> *mut u8 {
        let mut slab = self.partial[class];
        if slab.is_null() {
            slab = Self::new_slab(class);
            if slab.is_null() {
                return null_mut();
            }
            self.partial[class] = slab;
        }
        // SAFETY: `slab` is a live slab page with at least one free object, as it is in the list.
        unsafe {
            let object = (*slab).free;
            (*slab).free = (*object).next;
            (*slab).used += 1;
            if (*slab).free.is_null() {
                self.unlink(slab, class);
            }
            object.cast()
        }
    }

    /// Gives one object back.
    ///
    /// # Safety
    /// `object` came from `allocate(class)` and is not used any more.
    unsafe fn free(&mut self, object: *mut u8, class: usize) {
        let slab = (object as usize & !(PAGE_BYTES - 1)) as *mut Slab;
        // SAFETY: objects lie in their slab's page, whose head is a live `Slab`.
        unsafe {
            debug_assert_eq!((*slab).class as usize, class, "object freed with another size");
            let was_full = (*slab).free.is_null();
            let object = object.cast::<FreeObject>();
            (*object).next = (*slab).free;
            (*slab).free = object;
            (*slab).used -= 1;
            if was_full {
                self.link(slab, class);
            } else if (*slab).used == 0 && !((*slab).next.is_null() && (*slab).previous.is_null()) {
                self.unlink(slab, class);
                frames::free_page(physical_of_direct(slab as usize));
            }
        }
    }

    /// A new slab, all free, in no list. Null when memory is out.
    fn new_slab(class: usize) -> *mut Slab {
        let Some(physical) = frames::allocate_block(0) else { return null_mut() };
        look_at_reserve();
        let slab = direct(physical) as *mut Slab;
        let size = usize::from(CLASSES[class]);
        let count = (PAGE_BYTES - HEADER_BYTES) / size;
        let mut free: *mut FreeObject = null_mut();
        for position in (0..count).rev() {
            let object = (slab as usize + HEADER_BYTES + position * size) as *mut FreeObject;
            // SAFETY: inside the new page, aligned to 16.
            unsafe { object.write(FreeObject { next: free }) };
            free = object;
        }
        // SAFETY: the page is ours.
        unsafe { slab.write(Slab { free, next: null_mut(), previous: null_mut(), used: 0, class: class as u32 }) };
        slab
    }

    /// Puts a slab at the head of its list.
    ///
    /// # Safety
    /// `slab` is live and in no list.
    unsafe fn link(&mut self, slab: *mut Slab, class: usize) {
        let head = self.partial[class];
        // SAFETY: per the contract; `head` is null or live.
        unsafe {
            (*slab).next = head;
            (*slab).previous = null_mut();
            if !head.is_null() {
                (*head).previous = slab;
            }
        }
        self.partial[class] = slab;
    }

    /// Takes a slab out of its list.
    ///
    /// # Safety
    /// `slab` is live and in the list of `class`.
    unsafe fn unlink(&mut self, slab: *mut Slab, class: usize) {
        // SAFETY: per the contract; neighbours are null or live.
        unsafe {
            let (next, previous) = ((*slab).next, (*slab).previous);
            if previous.is_null() {
                self.partial[class] = next;
            } else {
                (*previous).next = next;
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
            (*slab).next = null_mut();
            (*slab).previous = null_mut();
        }
    }
}

#[repr(align(4096))]
struct EarlyArea(#[expect(dead_code, reason = "used by address only")] [u8; EARLY_BYTES]);
static mut EARLY_AREA: EarlyArea = EarlyArea([0; EARLY_BYTES]);

static EARLY: IrqSpinLock<EarlyHeap<16>> = IrqSpinLock::new(rank::HEAP, EarlyHeap::new());
static SLABS: IrqSpinLock<Slabs> = IrqSpinLock::new(rank::HEAP, Slabs { partial: [null_mut(); CLASSES.len()] });
static HAS_FRAMES: AtomicBool = AtomicBool::new(false);

fn early_range() -> core::ops::Range<usize> {
    let start = &raw const EARLY_AREA as usize;
    start..start + EARLY_BYTES
}

/// Makes the static area usable.
///
/// # Safety
/// Runs once, before the first allocation.
pub(crate) unsafe fn init_early() {
    let range = early_range();
    // SAFETY: the area is used by nothing else; it lives for ever.
    unsafe { EARLY.lock().add_to_heap(range.start, range.end) };
}

/// From now on memory comes from the frames.
pub(super) fn use_frames() {
    HAS_FRAMES.store(true, Ordering::Release);
}

/// Tells the thread that runs, if memory is low, that it has to end.
fn look_at_reserve() {
    if frames::is_reserve_low()
        && let Some(thread) = PerCpu::thread()
    {
        thread.note_out_of_memory();
    }
}

/// Nothing is left, not even of the reserve: the program that asked for too much ends here.
#[cold]
fn run_out(size: usize) {
    if PerCpu::thread().is_some() {
        log::error!("out of memory: no {size} bytes are left for the kernel");
        end::program_ended(linux::Outcome::Killed(abi::Signal::SIGKILL));
    }
}

struct KernelHeap;

#[global_allocator]
static HEAP: KernelHeap = KernelHeap;

// SAFETY: blocks are disjoint (a slab's objects, the buddy's blocks), sized and aligned for their layout, and freed to
// where they came from: by address for the early area, by size class otherwise.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !HAS_FRAMES.load(Ordering::Acquire) {
            return EARLY.lock().alloc(layout).map_or(null_mut(), NonNull::as_ptr);
        }
        let pointer = match class_of(layout) {
            Some(class) => SLABS.lock().allocate(class),
            None => frames::allocate_block(order_of(layout)).map_or(null_mut(), |physical| {
                look_at_reserve();
                direct(physical) as *mut u8
            }),
        };
        if pointer.is_null() {
            run_out(layout.size());
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if early_range().contains(&(pointer as usize)) {
            if let Some(pointer) = NonNull::new(pointer) {
                // SAFETY: the pointer lies in the early area, so the early heap gave it.
                unsafe { EARLY.lock().dealloc(pointer, layout) };
            }
            return;
        }
        match class_of(layout) {
            // SAFETY: the caller frees what `alloc` gave for the same layout, hence the same class.
            Some(class) => unsafe { SLABS.lock().free(pointer, class) },
            None => frames::free_block(physical_of_direct(pointer as usize), order_of(layout)),
        }
    }
}
