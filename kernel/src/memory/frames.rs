//! Physical memory: the buddy allocator under a lock, reference counts beside it, contents through the direct map.
//!
//! Counts need no lock (mm::buddy). Frames that are not the allocator's (the image, the zero page) are pinned.
//!
//! # Magazines
//!
//! Each CPU keeps some single frames for itself, taken from the allocator and given back to it many at a time, so that the
//! common case takes no lock. They were all taken above the reserve. When free memory comes near the reserve
//! ([`IS_SCARCE`]), magazines are neither used nor filled, and each CPU empties its own when it next allocates or frees: then
//! every frame is seen by the check. Frames in magazines count as free.
//!
//! Lock: FRAMES. A magazine belongs to its CPU, with interrupts off.
#![expect(clippy::cast_possible_truncation, reason = "frame numbers of the direct map fit 32 bits")]

use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use abi::native::{MEMORY_CRITICAL, MEMORY_LOW};
use mm::buddy::{Buddy, FrameInfo, ORDER_COUNT};
use mm::{FrameMachine, FrameNumber, FrameStatistics};
use sync::{IrqSpinLock, Once, rank};

use super::early::EarlyPages;
use super::layout::{DIRECT_MAP, direct, physical_of_direct};
use super::{PAGE_BYTES, heap, paging, stacks};
use crate::arch::percpu::PerCpu;
use crate::arch::smp::{self, CPUS_MAX};
use crate::arch::{interrupts, user_copy};

/// The reserve of the heap is this part of all frames, and so many at most.
const RESERVE_FRACTION: u64 = 32;
const RESERVE_FRAMES_MAX: u64 = 256;

/// Frames that a magazine has room for.
const MAGAZINE_MAX: usize = 64;
/// So many magazines' worth of frames above the reserve memory is scarce.
const SCARCE_MAGAZINES: u64 = 2;
/// All magazines together hold this part of the frames at most, if that is enough to be of use.
const MAGAZINES_FRACTION: u64 = 64;
const MAGAZINE_MIN: u64 = 4;

/// Memory is low when only this part of it is free above the reserve, and programs are told; critical, this part.
const LOW_FRACTION: u64 = 16;
const CRITICAL_FRACTION: u64 = 64;

static BUDDY: IrqSpinLock<Option<Buddy<'static>>> = IrqSpinLock::new(rank::FRAMES, None);
static INFO: Once<&'static [FrameInfo]> = Once::new();
static ZERO_PAGE: AtomicU64 = AtomicU64::new(0);

/// Makes the allocator's tables for frames below `end`; it owns nothing yet.
///
/// # Safety
/// Runs once, after the direct map is current; `pages` serves through it.
pub(super) unsafe fn init(pages: &mut EarlyPages, end: u64) -> Option<()> {
    let count = usize::try_from(end.div_ceil(PAGE_BYTES as u64)).ok()?;
    let bytes = count.checked_mul(size_of::<FrameInfo>())?;
    let physical = pages.take(bytes.div_ceil(PAGE_BYTES))?;
    // SAFETY: fresh zeroed memory of that size, page aligned, that nobody else has; zero bytes are valid values of the
    // type. It lives for ever.
    let info = unsafe { core::slice::from_raw_parts(direct(physical) as *const FrameInfo, count) };
    for frame in info {
        frame.pin();
    }
    let zero = pages.take(1)?;
    ZERO_PAGE.store(zero, Ordering::Relaxed);
    INFO.call_once(|| info);
    *BUDDY.lock() = Some(Buddy::new(info, FrameNumber::new(0)));
    Some(())
}

/// Gives the frames that lie wholly in `[start, end)` to the allocator.
///
/// # Safety
/// The range is usable memory in the direct map that nobody uses.
pub(super) unsafe fn give(start: u64, end: u64) {
    let page = PAGE_BYTES as u64;
    let (first, last) = (start.div_ceil(page), end / page);
    if first >= last {
        return;
    }
    for info in info().get(first as usize..last as usize).unwrap_or_default() {
        // Pinned so far: take the pin's reference back.
        info.unpin();
    }
    interrupts::without(|| {
        with_allocator(|buddy, _| buddy.add_range(FrameNumber::new(first as u32), FrameNumber::new(last as u32)))
    });
}

fn info() -> &'static [FrameInfo] {
    INFO.get().expect("memory::init ran first")
}

#[inline]
fn info_of(frame: FrameNumber) -> &'static FrameInfo {
    &info()[frame.index() as usize]
}

fn frame_at(physical: u64) -> FrameNumber {
    FrameNumber::new((physical / PAGE_BYTES as u64) as u32)
}

fn pointer(frame: FrameNumber) -> usize {
    direct(frame.physical_address())
}

/// Frames that are kept for the kernel heap, which cannot fail: programs run out of memory before the kernel does.
fn reserve(buddy: &Buddy<'_>) -> u64 {
    (buddy.total_frames() / RESERVE_FRACTION).min(RESERVE_FRAMES_MAX)
}

/// The frames that one CPU keeps.
pub(super) struct Magazine {
    /// How many there are; others may read it.
    len: AtomicU32,
    frames: UnsafeCell<[u32; MAGAZINE_MAX]>,
}

// SAFETY: the frames are touched by the CPU of the magazine alone, with interrupts off.
unsafe impl Sync for Magazine {}

impl Magazine {
    /// An empty one.
    pub(super) const fn new() -> Self {
        Self { len: AtomicU32::new(0), frames: UnsafeCell::new([0; MAGAZINE_MAX]) }
    }

    /// # Safety
    /// Called on the magazine's CPU, with interrupts off.
    #[inline(always)]
    unsafe fn pop(&self) -> Option<FrameNumber> {
        let len = self.len.load(Ordering::Relaxed).checked_sub(1)?;
        self.len.store(len, Ordering::Relaxed);
        // SAFETY: per the contract nobody else looks.
        Some(FrameNumber::new(unsafe { (&*self.frames.get())[len as usize % MAGAZINE_MAX] }))
    }

    /// # Safety
    /// As for `pop`; there is room.
    #[inline(always)]
    unsafe fn push(&self, frame: FrameNumber) {
        let len = self.len.load(Ordering::Relaxed);
        // SAFETY: per the contract.
        unsafe { (&mut *self.frames.get())[len as usize % MAGAZINE_MAX] = frame.index() };
        self.len.store(len + 1, Ordering::Relaxed);
    }

    /// Gives frames back until `left` are left.
    ///
    /// # Safety
    /// As for `pop`.
    unsafe fn drain(&self, buddy: &mut Buddy<'_>, left: u32) {
        while self.len.load(Ordering::Relaxed) > left {
            // SAFETY: per the contract.
            if let Some(frame) = unsafe { self.pop() } {
                buddy.free(frame, 0);
            }
        }
    }
}

static FIRST_MAGAZINE: Magazine = Magazine::new();
static MAGAZINES: [AtomicPtr<Magazine>; CPUS_MAX] = {
    let mut all = [const { AtomicPtr::new(null_mut()) }; CPUS_MAX];
    all[0] = AtomicPtr::new((&raw const FIRST_MAGAZINE).cast_mut());
    all
};
/// Frames that a magazine may hold now.
static CAPACITY: AtomicU32 = AtomicU32::new(MAGAZINE_MIN as u32);
/// Free memory is near the reserve.
static IS_SCARCE: AtomicBool = AtomicBool::new(false);

/// Programs may have been told that memory is short. Under the lock.
static IS_SHORT: AtomicBool = AtomicBool::new(false);

/// Gives a CPU that is about to start a magazine, which lives for ever.
pub(super) fn add_cpu(cpu: u32, magazine: &'static Magazine) {
    if let Some(slot) = MAGAZINES.get(cpu as usize) {
        slot.store(core::ptr::from_ref(magazine).cast_mut(), Ordering::Release);
    }
    share(u64::from(cpu) + 1);
}

/// Divides what magazines may hold among `cpus` CPUs.
pub(super) fn share(cpus: u64) {
    let total = BUDDY.lock().as_ref().map_or(0, Buddy::total_frames);
    let part = (total / MAGAZINES_FRACTION / cpus.max(1)).clamp(MAGAZINE_MIN, MAGAZINE_MAX as u64);
    CAPACITY.store(part as u32, Ordering::Relaxed);
}

/// The magazine of a CPU.
fn magazine_of(cpu: usize) -> Option<&'static Magazine> {
    let magazine = MAGAZINES[cpu % CPUS_MAX].load(Ordering::Relaxed);
    // SAFETY: null or a magazine that lives for ever.
    unsafe { magazine.as_ref() }
}

/// Runs `action` on the allocator, with the magazine of this CPU; notes whether memory is scarce. Interrupts are off.
fn with_allocator<R>(action: impl FnOnce(&mut Buddy<'static>, Option<&'static Magazine>) -> R) -> Option<R> {
    let mut buddy = BUDDY.lock();
    let buddy = buddy.as_mut()?;
    let magazine = magazine_of(PerCpu::number() as usize);
    let result = action(buddy, magazine);
    let margin = SCARCE_MAGAZINES * u64::from(CAPACITY.load(Ordering::Relaxed));
    let is_scarce = buddy.free_frames() <= reserve(buddy) + margin;
    if is_scarce != IS_SCARCE.load(Ordering::Relaxed) {
        IS_SCARCE.store(is_scarce, Ordering::Relaxed);
    }
    note_shortage(buddy);
    Some(result)
}

/// Says how short memory is, if that is worth telling.
fn note_shortage(buddy: &Buddy<'_>) {
    let (free, total) = (buddy.free_frames().saturating_sub(reserve(buddy)), buddy.total_frames());
    let low = total / LOW_FRACTION;
    let level = match free {
        free if free > low => 0,
        free if free > total / CRITICAL_FRACTION => MEMORY_LOW,
        _ => MEMORY_CRITICAL,
    };
    if level != 0 || IS_SHORT.load(Ordering::Relaxed) {
        IS_SHORT.store(level != 0, Ordering::Relaxed);
        // Somewhat more than brings it back to the mark, so that it is not reached again at once.
        mm::pressure::set(level, low + low / 2 - free.min(low));
    }
}

/// One frame, from the reserve if `may_use_reserve` and need be.
#[inline]
fn allocate_one(may_use_reserve: bool) -> Option<FrameNumber> {
    let were_enabled = interrupts::disable_save();
    let magazine = magazine_of(PerCpu::number() as usize);
    // SAFETY: this CPU's, and interrupts are off.
    let kept = magazine.filter(|_| !IS_SCARCE.load(Ordering::Relaxed)).and_then(|magazine| unsafe { magazine.pop() });
    let frame = kept.or_else(|| allocate_slowly(may_use_reserve));
    interrupts::restore(were_enabled);
    frame
}

#[cold]
#[inline(never)]
fn allocate_slowly(may_use_reserve: bool) -> Option<FrameNumber> {
    with_allocator(|buddy, magazine| {
        let is_scarce = IS_SCARCE.load(Ordering::Relaxed);
        if let Some(magazine) = magazine.filter(|_| is_scarce) {
            // SAFETY: this CPU's, and interrupts are off.
            unsafe { magazine.drain(buddy, 0) };
        }
        if !may_use_reserve && buddy.free_frames() <= reserve(buddy) {
            return None;
        }
        let frame = buddy.allocate(0)?;
        let capacity = CAPACITY.load(Ordering::Relaxed);
        let spare = buddy.free_frames().saturating_sub(reserve(buddy));
        if let Some(magazine) = magazine.filter(|_| !is_scarce && spare > u64::from(capacity)) {
            let mut wanted = capacity / 2;
            while let Some((first, count)) = buddy.allocate_run(wanted) {
                wanted -= count;
                // The first goes on top.
                for index in (first.index()..first.index() + count).rev() {
                    // SAFETY: as above; the magazine was empty.
                    unsafe { magazine.push(FrameNumber::new(index)) };
                }
            }
        }
        Some(frame)
    })?
}

/// Takes one frame back.
#[inline]
fn free_one(frame: FrameNumber) {
    let were_enabled = interrupts::disable_save();
    let magazine = magazine_of(PerCpu::number() as usize);
    let has_room = |magazine: &&Magazine| {
        magazine.len.load(Ordering::Relaxed) < CAPACITY.load(Ordering::Relaxed) && !IS_SCARCE.load(Ordering::Relaxed)
    };
    match magazine.filter(has_room) {
        // SAFETY: this CPU's, interrupts are off, and there is room.
        Some(magazine) => unsafe { magazine.push(frame) },
        None => free_slowly(frame),
    }
    interrupts::restore(were_enabled);
}

#[cold]
#[inline(never)]
fn free_slowly(frame: FrameNumber) {
    with_allocator(|buddy, magazine| {
        if let Some(magazine) = magazine {
            let left = if IS_SCARCE.load(Ordering::Relaxed) { 0 } else { CAPACITY.load(Ordering::Relaxed) / 2 };
            // SAFETY: this CPU's, and interrupts are off.
            unsafe { magazine.drain(buddy, left) };
        }
        buddy.free(frame, 0);
    });
}

/// Gives the frames of this CPU's magazine back.
fn drain_here() {
    interrupts::without(|| {
        with_allocator(|buddy, magazine| {
            if let Some(magazine) = magazine {
                // SAFETY: this CPU's, and interrupts are off.
                unsafe { magazine.drain(buddy, 0) };
            }
        })
    });
}

/// 2^`order` frames in a row, from the reserve if need be.
pub(crate) fn allocate_block(order: u32) -> Option<u64> {
    if order == 0 {
        return Some(allocate_one(true)?.physical_address());
    }
    let allocate = || interrupts::without(|| with_allocator(|buddy, _| buddy.allocate(order)))?;
    let block = allocate().or_else(|| {
        // What would make a block may be in the magazine.
        drain_here();
        allocate()
    });
    Some(block?.physical_address())
}

/// Whether the kernel heap has used so much of its reserve that the program must end.
pub(crate) fn is_reserve_low() -> bool {
    IS_SCARCE.load(Ordering::Relaxed)
        && BUDDY.lock().as_ref().is_some_and(|buddy| buddy.free_frames() < reserve(buddy) / 2)
}

/// What comes from outside, by what it may take of the reserve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// It carries little or nothing but news, such as the end of a connection, by which memory becomes free.
    News,
    Short,
    Long,
}

/// Whether memory may be kept for what comes from outside: of the reserve not more than an eighth, a quarter for what is short, and for
/// news as much as there is before the program has to end.
pub(crate) fn may_keep(what: Incoming) -> bool {
    if !IS_SCARCE.load(Ordering::Relaxed) {
        return true;
    }
    BUDDY.lock().as_ref().is_some_and(|buddy| {
        let reserve = reserve(buddy);
        let part = match what {
            Incoming::News => 2,
            Incoming::Short => 4,
            Incoming::Long => 8,
        };
        buddy.free_frames() > reserve - reserve / part
    })
}

/// Takes back what `allocate_block` gave.
#[inline]
pub(crate) fn free_block(physical: u64, order: u32) {
    if order == 0 {
        return free_one(frame_at(physical));
    }
    interrupts::without(|| with_allocator(|buddy, _| buddy.free(frame_at(physical), order)));
}

/// Physical address of a zeroed page. `None`: only the reserve of the heap is left.
pub(crate) fn allocate_zeroed_page() -> Option<u64> {
    let physical = allocate_one(false)?.physical_address();
    zero_page_at(direct(physical));
    Some(physical)
}

/// Takes a page back.
pub(crate) fn free_page(physical: u64) {
    free_block(physical, 0);
}

fn zero_page_at(address: usize) {
    // SAFETY: a whole frame in the direct map, which the caller owns.
    unsafe {
        core::arch::asm!("rep stosq", inout("rdi") address => _, inout("rcx") PAGE_BYTES / 8 => _, in("rax") 0,
            options(nostack, preserves_flags));
    }
}

/// A word for the owner of the table page at `physical`: how many entries it has.
#[inline]
pub(crate) fn table_entries(physical: u64) -> &'static AtomicU32 {
    info_of(frame_at(physical)).owner_word()
}

/// Drops a reference to a frame, as dropping an `mm::Frame` does; for many of them.
#[inline]
pub(super) fn release(frame: FrameNumber) {
    if info_of(frame).release() {
        free_one(frame);
    }
}

/// References to a frame; above 1 for pinned ones.
#[inline]
pub(crate) fn reference_count(frame: FrameNumber) -> u32 {
    info_of(frame).reference_count()
}

/// Frames in use and in all. Those that CPUs keep for themselves count as free; small objects that they keep do not.
pub(crate) fn statistics() -> FrameStatistics {
    let waiting = stacks::waiting_frames() + heap::empty_slabs();
    let kept = kept_frames();
    let buddy = BUDDY.lock();
    let (total, free) = buddy.as_ref().map_or((0, 0), |buddy| (buddy.total_frames(), buddy.free_frames()));
    FrameStatistics { total, free: free + waiting + kept, cached: 0 }
}

/// The frames that CPUs keep for themselves.
fn kept_frames() -> u64 {
    let magazines = (0..smp::count() as usize).filter_map(magazine_of);
    magazines.map(|kept| u64::from(kept.len.load(Ordering::Relaxed))).sum()
}

/// Free blocks by their order. What CPUs keep for themselves are single frames.
fn free_blocks() -> [u64; ORDER_COUNT] {
    let kept = kept_frames();
    let mut blocks = BUDDY.lock().as_ref().map_or([0; ORDER_COUNT], Buddy::free_blocks);
    blocks[0] += kept;
    blocks
}

/// Frames in all.
pub(crate) fn total() -> u64 {
    BUDDY.lock().as_ref().map_or(0, Buddy::total_frames)
}

/// The machine's frames for `mm`.
pub(crate) struct MachineFrames;

fn check(offset: usize, len: usize) {
    assert!(offset <= PAGE_BYTES && len <= PAGE_BYTES - offset, "access beyond a frame");
}

#[inline]
fn check_writable(frame: FrameNumber) {
    assert!(!info_of(frame).is_pinned(), "write to a pinned frame");
}

impl FrameMachine for MachineFrames {
    fn allocate(&self) -> Option<FrameNumber> {
        let frame = allocate_one(false)?;
        info_of(frame).set_first_reference();
        Some(frame)
    }

    fn allocate_reserved(&self) -> Option<FrameNumber> {
        // As much as what comes from outside may take: the rest is the heap's.
        let frame = may_keep(Incoming::Short).then(|| allocate_one(true))??;
        info_of(frame).set_first_reference();
        Some(frame)
    }

    fn acquire(&self, frame: FrameNumber) {
        info_of(frame).acquire();
    }

    fn release(&self, frame: FrameNumber) {
        release(frame);
    }

    fn reference_count(&self, frame: FrameNumber) -> u32 {
        reference_count(frame)
    }

    fn read(&self, frame: FrameNumber, offset: usize, destination: &mut [u8]) {
        check(offset, destination.len());
        // SAFETY: inside one frame of the direct map; copied by address, as the program may write it meanwhile.
        unsafe {
            core::ptr::copy_nonoverlapping(
                (pointer(frame) + offset) as *const u8,
                destination.as_mut_ptr(),
                destination.len(),
            );
        }
    }

    fn write(&self, frame: FrameNumber, offset: usize, source: &[u8]) {
        check(offset, source.len());
        check_writable(frame);
        // SAFETY: as in `read`; the frame is not part of the image.
        unsafe { core::ptr::copy_nonoverlapping(source.as_ptr(), (pointer(frame) + offset) as *mut u8, source.len()) };
    }

    #[inline]
    fn zero(&self, frame: FrameNumber) {
        check_writable(frame);
        zero_page_at(pointer(frame));
    }

    fn copy(&self, from: FrameNumber, to: FrameNumber) {
        check_writable(to);
        // SAFETY: two whole frames of the direct map.
        unsafe {
            core::ptr::copy_nonoverlapping(pointer(from) as *const u64, pointer(to) as *mut u64, PAGE_BYTES / 8);
        }
    }

    fn copy_part(&self, from: FrameNumber, from_offset: usize, to: FrameNumber, to_offset: usize, len: usize) {
        check(from_offset, len);
        check(to_offset, len);
        check_writable(to);
        // SAFETY: inside one frame of the direct map each; they may be the same, and overlap.
        unsafe {
            core::ptr::copy((pointer(from) + from_offset) as *const u8, (pointer(to) + to_offset) as *mut u8, len)
        };
    }

    fn copy_to_user(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        check(offset, len);
        // SAFETY: the kernel side is inside one frame of the direct map, to which no reference exists.
        unsafe { user_copy::raw_to_user(address, pointer(frame) + offset, len, true) }
    }

    fn copy_from_user(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        check(offset, len);
        check_writable(frame);
        // SAFETY: as in `copy_to_user`.
        unsafe { user_copy::raw_from_user(pointer(frame) + offset, address, len, true) }
    }

    fn copy_to_user_nofault(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        check(offset, len);
        // SAFETY: as in `copy_to_user`.
        unsafe { user_copy::raw_to_user(address, pointer(frame) + offset, len, false) }
    }

    fn copy_from_user_nofault(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        check(offset, len);
        check_writable(frame);
        // SAFETY: as in `copy_to_user`.
        unsafe { user_copy::raw_from_user(pointer(frame) + offset, address, len, false) }
    }

    fn of_static(&self, bytes: &'static [u8]) -> Option<FrameNumber> {
        let address = bytes.as_ptr() as usize;
        if address < DIRECT_MAP || !address.is_multiple_of(PAGE_BYTES) {
            return None;
        }
        let physical = physical_of_direct(address);
        let is_ours = paging::is_direct_mapped(physical, PAGE_BYTES as u64);
        is_ours.then(|| FrameNumber::new((physical / PAGE_BYTES as u64) as u32))
    }

    fn zero_frame(&self) -> FrameNumber {
        FrameNumber::new((ZERO_PAGE.load(Ordering::Relaxed) / PAGE_BYTES as u64) as u32)
    }

    fn statistics(&self) -> FrameStatistics {
        statistics()
    }

    fn free_blocks(&self) -> [u64; ORDER_COUNT] {
        free_blocks()
    }

    fn total(&self) -> u64 {
        total()
    }
}
