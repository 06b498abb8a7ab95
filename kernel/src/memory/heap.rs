//! The kernel heap: slabs of one page for small objects, whole blocks of frames for large ones.
//!
//! 1. Sizes up to 1,344 bytes are rounded up to a class. A slab is one page: a header, then objects of one class; free
//!    objects form a list through their first word. Slabs with room are in a doubly linked list of their class. An object
//!    knows its slab by its address, so freeing needs no search, and an empty slab goes back to the frames, but for the
//!    last one of its class.
//! 2. Each CPU keeps some free objects of each class for itself ([`Magazine`]), taken from the slabs and given back to them
//!    many at a time. So the common case takes no lock: interrupts are off for a few instructions. An object in a magazine
//!    is in use, as far as its slab knows.
//! 3. Larger sizes, and alignments above a class's, get a block of 2^n frames.
//! 4. Before there are frames, a small static area under the buddy_system_allocator serves; its objects are told apart
//!    by address.
//! 5. The frames keep a reserve for the heap. When the heap is half through it, the current thread is told. Before its program
//!    runs on it has caches given back, and if that is not enough the program is killed. Magazines keep nothing while memory is
//!    that low. Who asks whether there is memory (`try_reserve`) is told when there is none, as there may be of large blocks at
//!    any time; who does not ask has the program end there (`crate::panic`).
//! 6. For who asks how much memory there is, slabs without an object in use count as free (`frames::statistics`). What magazines hold
//!    counts as used: it is little, and emptying those of other CPUs would need an interrupt for each.
//!
//! Lock: HEAP, taken with interrupts off; the frames' lock is taken under it.
#![expect(clippy::cast_possible_truncation, reason = "there are 15 classes")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use buddy_system_allocator::Heap as EarlyHeap;
use linux::HeapClass;
use sync::{IrqSpinLock, rank};

use super::layout::{direct, physical_of_direct};
use super::{PAGE_BYTES, frames};
use crate::arch::interrupts;
use crate::arch::percpu::PerCpu;
use crate::arch::smp::CPUS_MAX;

const CLASSES: [u16; 15] = [16, 32, 48, 64, 80, 96, 128, 192, 256, 336, 448, 576, 800, 1008, 1344];
const SMALL_MAX: usize = 1344;
const HEADER_BYTES: usize = 64;
const EARLY_BYTES: usize = 16 << 10;
/// A magazine holds so many bytes of a class, if that is a number of objects between these.
const MAGAZINE_BYTES: usize = 4096;
const MAGAZINE_MIN: usize = 4;
const MAGAZINE_MAX: usize = 32;

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
    /// Slabs without an object in use, the last ones of their classes.
    empty: u64,
    /// Slabs of each class, and objects of theirs that are in use.
    slabs: [u64; CLASSES.len()],
    used: [u64; CLASSES.len()],
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
    if is_usual(layout) {
        return Some(class_of_len(layout.size()));
    }
    // A power of two in size and alignment up to 64 fits its own class, as slabs begin at a multiple of 64.
    let is_aligned_class = layout.align() == 64 && layout.size() <= 64;
    is_aligned_class.then(|| usize::from(CLASS_OF[4]))
}

/// Whether any object of a class that is large enough will do: nearly always.
#[inline(always)]
fn is_usual(layout: Layout) -> bool {
    layout.size() <= SMALL_MAX && layout.align() <= 16
}

#[inline(always)]
fn class_of_len(len: usize) -> usize {
    usize::from(CLASS_OF[len.div_ceil(16)])
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
            slab = self.new_slab(class);
            if slab.is_null() {
                return null_mut();
            }
            self.partial[class] = slab;
        }
        // SAFETY: `slab` is a live slab page with at least one free object, as it is in the list.
        unsafe {
            let object = (*slab).free;
            (*slab).free = (*object).next;
            if (*slab).used == 0 {
                self.empty -= 1;
            }
            (*slab).used += 1;
            self.used[class] += 1;
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
            self.used[class] -= 1;
            if was_full {
                self.link(slab, class);
            }
            if (*slab).used == 0 {
                if (*slab).next.is_null() && (*slab).previous.is_null() {
                    self.empty += 1;
                } else {
                    self.unlink(slab, class);
                    frames::free_page(physical_of_direct(slab as usize));
                    self.slabs[class] -= 1;
                }
            }
        }
    }

    /// A new slab, all free, in no list; counted as empty. Null when memory is out.
    fn new_slab(&mut self, class: usize) -> *mut Slab {
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
        self.empty += 1;
        self.slabs[class] += 1;
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

/// Free objects of one class that a CPU keeps.
#[derive(Clone, Copy)]
struct Magazine {
    first: *mut FreeObject,
    count: u32,
    /// How many there may be.
    limit: u32,
}

/// The magazines of one CPU, by class. Invariant: only that CPU touches them, with interrupts off.
pub(crate) struct Magazines(UnsafeCell<[Magazine; MAGAZINES_LEN]>);

// SAFETY: see the invariant.
unsafe impl Sync for Magazines {}

/// A power of two, for an index that needs no check.
const MAGAZINES_LEN: usize = 16;
const _: () = assert!(CLASSES.len() <= MAGAZINES_LEN);

/// How many objects of a class a magazine holds.
const fn limit_of(class: usize) -> usize {
    let count = MAGAZINE_BYTES / CLASSES[class] as usize;
    if count < MAGAZINE_MIN {
        MAGAZINE_MIN
    } else if count > MAGAZINE_MAX {
        MAGAZINE_MAX
    } else {
        count
    }
}

impl Magazines {
    /// Empty ones.
    pub(crate) const fn new() -> Self {
        let mut magazines = [Magazine { first: null_mut(), count: 0, limit: 0 }; MAGAZINES_LEN];
        let mut class = 0;
        while class < CLASSES.len() {
            magazines[class].limit = limit_of(class) as u32;
            class += 1;
        }
        Self(UnsafeCell::new(magazines))
    }
}

static FIRST_MAGAZINES: Magazines = Magazines::new();
static MAGAZINES: [AtomicPtr<Magazines>; CPUS_MAX] = {
    let mut all = [const { AtomicPtr::new(null_mut()) }; CPUS_MAX];
    all[0] = AtomicPtr::new((&raw const FIRST_MAGAZINES).cast_mut());
    all
};

/// Gives a CPU that is about to start magazines, which live for ever.
pub(crate) fn add_cpu(cpu: u32, magazines: &'static Magazines) {
    if let Some(slot) = MAGAZINES.get(cpu as usize) {
        slot.store(core::ptr::from_ref(magazines).cast_mut(), Ordering::Release);
    }
}

/// The magazine of this CPU for `class`. Interrupts are off.
///
/// # Safety
/// The caller keeps interrupts off while it uses it, and uses one at a time.
#[inline(always)]
unsafe fn magazine(class: usize) -> Option<&'static mut Magazine> {
    let magazines = MAGAZINES[PerCpu::number() as usize % CPUS_MAX].load(Ordering::Relaxed);
    // SAFETY: null or magazines that live for ever; per the contract nobody else uses this one now.
    unsafe { magazines.as_ref().map(|magazines| &mut (&mut *magazines.0.get())[class % MAGAZINES_LEN]) }
}

impl Magazine {
    #[inline(always)]
    fn pop(&mut self) -> *mut FreeObject {
        let object = self.first;
        if !object.is_null() {
            // SAFETY: objects in the magazine are free, and their first words lead to the next one.
            self.first = unsafe { (*object).next };
            self.count -= 1;
        }
        object
    }

    /// # Safety
    /// The object is free, of the magazine's class, and nobody else's.
    #[inline(always)]
    unsafe fn push(&mut self, object: *mut FreeObject) {
        // SAFETY: per the contract.
        unsafe { object.write(FreeObject { next: self.first }) };
        self.first = object;
        self.count += 1;
    }

    /// Takes an object from the slabs, and some more to keep.
    #[cold]
    #[inline(never)]
    fn refill(&mut self, class: usize) -> *mut u8 {
        let mut slabs = SLABS.lock();
        let object = slabs.allocate(class);
        if !object.is_null() && !IS_LOW.load(Ordering::Relaxed) {
            for _ in 0..self.limit / 2 {
                // Only what is there: keeping is no reason for a new slab.
                if slabs.partial[class].is_null() {
                    break;
                }
                // SAFETY: a free object of the class, ours from now on.
                unsafe { self.push(slabs.allocate(class).cast()) };
            }
        }
        object
    }

    /// Gives objects back to the slabs until `left` are left.
    #[cold]
    #[inline(never)]
    fn drain(&mut self, class: usize, left: u32) {
        let mut slabs = SLABS.lock();
        while self.count > left {
            // SAFETY: objects in the magazine came from slabs of the class.
            unsafe { slabs.free(self.pop().cast(), class) };
        }
    }
}

/// Empties the magazines of this CPU.
fn drain_here() {
    interrupts::without(|| {
        for class in 0..CLASSES.len() {
            // SAFETY: interrupts are off; the reference ends before the next one.
            if let Some(magazine) = unsafe { magazine(class) } {
                magazine.drain(class, 0);
            }
        }
    });
}

/// What there is of each class. What CPUs keep for themselves is in use.
pub(crate) fn classes() -> impl Iterator<Item = HeapClass> {
    let (slabs, used) = {
        let heap = SLABS.lock();
        (heap.slabs, heap.used)
    };
    CLASSES.into_iter().zip(slabs).zip(used).map(|((size, slabs), used)| {
        let objects_per_slab = ((PAGE_BYTES - HEADER_BYTES) / usize::from(size)) as u64;
        HeapClass { object_bytes: u64::from(size), objects_per_slab, slabs, used }
    })
}

/// Frames of slabs in which nothing is in use.
pub(super) fn empty_slabs() -> u64 {
    SLABS.lock().empty
}

#[repr(align(4096))]
struct EarlyArea(#[expect(dead_code, reason = "used by address only")] [u8; EARLY_BYTES]);
static mut EARLY_AREA: EarlyArea = EarlyArea([0; EARLY_BYTES]);

static EARLY: IrqSpinLock<EarlyHeap<16>> = IrqSpinLock::new(rank::HEAP, EarlyHeap::new());
static SLABS: IrqSpinLock<Slabs> = IrqSpinLock::new(
    rank::HEAP,
    Slabs { partial: [null_mut(); CLASSES.len()], empty: 0, slabs: [0; CLASSES.len()], used: [0; CLASSES.len()] },
);
static HAS_FRAMES: AtomicBool = AtomicBool::new(false);
/// The reserve was low when it was looked at last.
static IS_LOW: AtomicBool = AtomicBool::new(false);

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

/// Tells the thread that runs, if memory is low, to see to it before its program goes on.
fn look_at_reserve() {
    let is_low = frames::is_reserve_low();
    if is_low != IS_LOW.load(Ordering::Relaxed) {
        IS_LOW.store(is_low, Ordering::Relaxed);
    }
    if is_low && let Some(thread) = PerCpu::thread() {
        thread.note_out_of_memory();
    }
}

struct KernelHeap;

#[global_allocator]
static HEAP: KernelHeap = KernelHeap;

/// An object of a class, by way of the slabs. Null when memory is out.
fn allocate_small(class: usize) -> *mut u8 {
    // SAFETY: interrupts are off until the reference has ended.
    interrupts::without(|| match unsafe { magazine(class) } {
        Some(magazine) => {
            let object = magazine.pop();
            if object.is_null() { magazine.refill(class) } else { object.cast() }
        }
        None => SLABS.lock().allocate(class),
    })
}

/// Takes an object back whose magazine is full.
///
/// # Safety
/// It is a free object of the class.
#[cold]
#[inline(never)]
unsafe fn free_slowly(pointer: *mut u8, class: usize) {
    interrupts::without(|| {
        // SAFETY: interrupts are off until the reference has ended; the object is free.
        unsafe {
            if let Some(magazine) = magazine(class) {
                let left = if IS_LOW.load(Ordering::Relaxed) { 0 } else { magazine.limit / 2 };
                magazine.drain(class, left);
            }
            SLABS.lock().free(pointer, class);
        }
    });
}

/// What there is before the frames, large blocks, and the end of memory.
#[cold]
#[inline(never)]
fn allocate_otherwise(layout: Layout) -> *mut u8 {
    if !HAS_FRAMES.load(Ordering::Acquire) {
        return EARLY.lock().alloc(layout).map_or(null_mut(), NonNull::as_ptr);
    }
    let allocate = || match class_of(layout) {
        Some(class) => allocate_small(class),
        None => frames::allocate_block(order_of(layout)).map_or(null_mut(), |physical| {
            look_at_reserve();
            direct(physical) as *mut u8
        }),
    };
    let pointer = allocate();
    if !pointer.is_null() {
        return pointer;
    }
    drain_here();
    allocate()
}

/// Takes back what did not come from a slab.
///
/// # Safety
/// It came from the heap for the same layout, and nobody uses it any more.
#[cold]
#[inline(never)]
unsafe fn free_otherwise(pointer: *mut u8, layout: Layout) {
    match (NonNull::new(pointer).filter(|_| is_early(pointer)), class_of(layout)) {
        // SAFETY: the pointer lies in the early area, so the early heap gave it.
        (Some(pointer), _) => unsafe { EARLY.lock().dealloc(pointer, layout) },
        // SAFETY: it came from a slab of the class of its layout.
        (None, Some(class)) => unsafe { free_slowly(pointer, class) },
        (None, None) => frames::free_block(physical_of_direct(pointer as usize), order_of(layout)),
    }
}

/// Whether an object was made before there were frames.
#[inline(always)]
fn is_early(pointer: *mut u8) -> bool {
    (pointer as usize).wrapping_sub(&raw const EARLY_AREA as usize) < EARLY_BYTES
}

// SAFETY: blocks are disjoint (a slab's objects, the buddy's blocks), sized and aligned for their layout, and freed to
// where they came from: by address for the early area, by size class otherwise.
unsafe impl GlobalAlloc for KernelHeap {
    // The common case calls nothing, so that it needs no registers saved.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_usual(layout) {
            return allocate_otherwise(layout);
        }
        let class = class_of_len(layout.size());
        let were_enabled = interrupts::disable_save();
        // SAFETY: interrupts are off until the reference has ended.
        let object = unsafe { magazine(class) }.map_or(null_mut(), Magazine::pop);
        interrupts::restore(were_enabled);
        if object.is_null() { allocate_otherwise(layout) } else { object.cast() }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if is_early(pointer) || !is_usual(layout) {
            // SAFETY: the caller's contract.
            return unsafe { free_otherwise(pointer, layout) };
        }
        let class = class_of_len(layout.size());
        let were_enabled = interrupts::disable_save();
        // SAFETY: interrupts are off until the reference has ended.
        let magazine = unsafe { magazine(class) }.filter(|magazine| magazine.count < magazine.limit);
        let is_kept = magazine.is_some();
        if let Some(magazine) = magazine {
            // SAFETY: the caller frees what `alloc` gave for the same layout, hence the same class.
            unsafe { magazine.push(pointer.cast()) };
        }
        interrupts::restore(were_enabled);
        if !is_kept {
            // SAFETY: as above.
            unsafe { free_slowly(pointer, class) };
        }
    }
}
