//! Physical memory: the buddy allocator under a lock, reference counts beside it, contents through the direct map.
//!
//! Counts need no lock (mm::buddy). Frames that are not the allocator's (the image, the zero page) are pinned.
#![expect(clippy::cast_possible_truncation, reason = "frame numbers of the direct map fit 32 bits")]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use mm::buddy::{Buddy, FrameInfo};
use mm::{FrameMachine, FrameNumber, FrameStatistics};
use sync::{IrqSpinLock, Once, rank};

use super::early::EarlyPages;
use super::layout::{DIRECT_MAP, direct, physical_of_direct};
use super::{PAGE_BYTES, paging, stacks};
use crate::arch::user_copy;

/// The reserve of the heap is this part of all frames, and so many at most.
const RESERVE_FRACTION: u64 = 32;
const RESERVE_FRAMES_MAX: u64 = 256;

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
    if let Some(buddy) = BUDDY.lock().as_mut() {
        buddy.add_range(FrameNumber::new(first as u32), FrameNumber::new(last as u32));
    }
}

fn info() -> &'static [FrameInfo] {
    INFO.get().expect("memory::init ran first")
}

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

/// A frame for what can do without.
fn allocate_above_reserve() -> Option<FrameNumber> {
    let mut buddy = BUDDY.lock();
    let buddy = buddy.as_mut()?;
    if buddy.free_frames() <= reserve(buddy) {
        return None;
    }
    buddy.allocate(0)
}

/// 2^`order` frames in a row, from the reserve if need be.
pub(crate) fn allocate_block(order: u32) -> Option<u64> {
    Some(BUDDY.lock().as_mut()?.allocate(order)?.physical_address())
}

/// Whether the kernel heap has used so much of its reserve that the program must end.
pub(crate) fn is_reserve_low() -> bool {
    BUDDY.lock().as_ref().is_some_and(|buddy| buddy.free_frames() < reserve(buddy) / 2)
}

/// Takes back what `allocate_block` gave.
pub(crate) fn free_block(physical: u64, order: u32) {
    if let Some(buddy) = BUDDY.lock().as_mut() {
        buddy.free(frame_at(physical), order);
    }
}

/// Physical address of a zeroed page. `None`: only the reserve of the heap is left.
pub(crate) fn allocate_zeroed_page() -> Option<u64> {
    let physical = allocate_above_reserve()?.physical_address();
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
pub(crate) fn table_entries(physical: u64) -> &'static AtomicU32 {
    info_of(frame_at(physical)).owner_word()
}

/// References to a frame; above 1 for pinned ones.
pub(crate) fn reference_count(frame: FrameNumber) -> u32 {
    info_of(frame).reference_count()
}

/// Frames in use and in all.
pub(crate) fn statistics() -> FrameStatistics {
    let waiting = stacks::waiting_frames();
    let buddy = BUDDY.lock();
    let (total, free) = buddy.as_ref().map_or((0, 0), |buddy| (buddy.total_frames(), buddy.free_frames()));
    FrameStatistics { total, free: free + waiting, cached: 0 }
}

/// The machine's frames for `mm`.
pub(crate) struct MachineFrames;

fn check(offset: usize, len: usize) {
    assert!(offset <= PAGE_BYTES && len <= PAGE_BYTES - offset, "access beyond a frame");
}

fn check_writable(frame: FrameNumber) {
    assert!(!info_of(frame).is_pinned(), "write to a pinned frame");
}

impl FrameMachine for MachineFrames {
    fn allocate(&self) -> Option<FrameNumber> {
        let frame = allocate_above_reserve()?;
        info_of(frame).set_first_reference();
        Some(frame)
    }

    fn acquire(&self, frame: FrameNumber) {
        info_of(frame).acquire();
    }

    fn release(&self, frame: FrameNumber) {
        if info_of(frame).release() {
            free_block(frame.physical_address(), 0);
        }
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
}
