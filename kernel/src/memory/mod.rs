//! Physical memory, the kernel's half of the page tables, and the heap.
//!
//! Start-up order: the loader's map, early pages, the final tables, frames, heap, stacks. Afterwards everything comes from
//! the frame allocator.

mod early;
pub(crate) mod frames;
pub(crate) mod heap;
pub(crate) mod layout;
pub(crate) mod mmio;
pub(crate) mod page_table;
pub(crate) mod paging;
pub(crate) mod stacks;
pub(crate) mod tlb;

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};

use firmware::{MemoryMap, RegionKind};

use crate::arch::boot::{ImageLayout, VIRTUAL_BASE};
use crate::arch::smp::TRAMPOLINE_PAGES;
use early::EarlyPages;
use paging::DirectRegion;

/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Frames nobody is given: the first, so that physical address 0 stays special.
const KEPT_LOW: u64 = 0x1000;
/// Where the memory of a PC ends that real mode can name.
const LOW_END: u64 = 0xa_0000;

/// Physical address of the pages kept for the start of other CPUs; zero when there are none.
static TRAMPOLINE: AtomicU64 = AtomicU64::new(0);

/// Why memory could not be set up.
#[derive(Debug)]
pub(crate) enum MemoryError {
    /// No region for the first tables.
    NoRegion,
    /// Too little memory for the tables.
    TooSmall,
    /// The image does not lie in memory as a whole: it is larger than that.
    ImageCut,
}

/// Takes memory into use. `payload_end` is the physical end of the image with its payload.
///
/// # Safety
/// Runs once, on the first CPU, on the early page tables. The map is true.
pub(crate) unsafe fn init(
    map: &MemoryMap,
    image: &ImageLayout,
    slide: usize,
    payload_end: u64,
) -> Result<(), MemoryError> {
    let physical = |address: usize| (address - VIRTUAL_BASE - slide) as u64;
    let (image_start, payload_start) = (physical(image.text_start), physical(image.payload));
    if !map.usable().any(|region| region.start <= image_start && payload_end <= region.end) {
        return Err(MemoryError::ImageCut);
    }
    let mut usable = map.clone();
    usable.reserve(0, KEPT_LOW);
    usable.reserve(image_start, payload_end.next_multiple_of(PAGE_BYTES as u64));
    if let Some(start) = find_low_pages(&usable) {
        usable.reserve(start, start + TRAMPOLINE_BYTES);
        TRAMPOLINE.store(start, Ordering::Relaxed);
    }

    let mut pages = EarlyPages::new(&usable).ok_or(MemoryError::NoRegion)?;
    let regions = direct_regions(map, image_start, physical(image.rodata_end), payload_start, payload_end);
    // SAFETY: the caller runs on the early tables, which map the image at its slide and the first GiB one to one; `pages`
    // stays below that.
    unsafe { paging::init(&mut pages, image, slide, regions) }.ok_or(MemoryError::TooSmall)?;
    pages.use_direct_map();
    // Of all memory, the image's too: its first pages are given back, and it may be the last thing there is.
    // SAFETY: the direct map is current.
    unsafe { frames::init(&mut pages, map.usable_end()) }.ok_or(MemoryError::TooSmall)?;
    let (taken_start, taken_end) = pages.taken();
    usable.reserve(taken_start, taken_end);
    for region in usable.usable() {
        // SAFETY: usable, in the direct map, and everything in use was reserved.
        unsafe { frames::give(region.start, region.end) };
    }
    frames::share(1);
    heap::use_frames();
    mm::frame::install(&frames::MachineFrames);
    Ok(())
}

const TRAMPOLINE_BYTES: u64 = TRAMPOLINE_PAGES * PAGE_BYTES as u64;

/// The highest usable pages below `LOW_END` that can take the trampoline.
fn find_low_pages(usable: &MemoryMap) -> Option<u64> {
    let page = PAGE_BYTES as u64;
    let clipped =
        usable.usable().map(|region| (region.start.next_multiple_of(page), region.end.min(LOW_END) & !(page - 1)));
    let fitting = clipped.filter(|(start, end)| end.saturating_sub(*start) >= TRAMPOLINE_BYTES);
    fitting.map(|(_, end)| end - TRAMPOLINE_BYTES).max()
}

/// Physical address of the pages for the start of other CPUs, if there are any.
pub(crate) fn trampoline_pages() -> Option<u64> {
    Some(TRAMPOLINE.load(Ordering::Relaxed)).filter(|start| *start != 0)
}

/// Gives the pages for the start of other CPUs back.
///
/// # Safety
/// No CPU runs in them, now or later.
pub(crate) unsafe fn release_trampoline() {
    let start = TRAMPOLINE.swap(0, Ordering::Relaxed);
    if start != 0 {
        // SAFETY: per the contract; the range was usable, and kept by `init`.
        unsafe { frames::give(start, start + TRAMPOLINE_BYTES) };
    }
}

/// Memory that a CPU keeps for itself.
struct Kept {
    objects: heap::Magazines,
    frames: frames::Magazine,
}

/// Lets a CPU that is about to start keep memory for itself.
pub(crate) fn add_cpu(cpu: u32) {
    let kept: &'static Kept =
        Box::leak(Box::new(Kept { objects: heap::Magazines::new(), frames: frames::Magazine::new() }));
    heap::add_cpu(cpu, &kept.objects);
    frames::add_cpu(cpu, &kept.frames);
}

/// Gives the pages of the first instructions back.
///
/// # Safety
/// The early stack and tables are not used any more, by any CPU.
pub(crate) unsafe fn release_early(image: &ImageLayout, slide: usize) {
    let (start, end) = image.early;
    // SAFETY: per the contract. The pages are data of the image in usable memory; nothing names them but boot.s.
    unsafe { frames::give((start - VIRTUAL_BASE - slide) as u64, (end - VIRTUAL_BASE - slide) as u64) };
}

/// What the direct map shows: usable memory and ACPI's, cut where the image's read-only parts begin and end.
fn direct_regions(
    map: &MemoryMap,
    image_start: u64,
    rodata_end: u64,
    payload_start: u64,
    payload_end: u64,
) -> impl Iterator<Item = DirectRegion> + '_ {
    let page = PAGE_BYTES as u64;
    let is_shown =
        |kind: RegionKind| matches!(kind, RegionKind::Usable | RegionKind::AcpiReclaimable | RegionKind::AcpiNvs);
    let cuts = [0, image_start, rodata_end, payload_start, payload_end.next_multiple_of(page), u64::MAX];
    let read_only =
        move |start: u64| (image_start..rodata_end).contains(&start) || (payload_start..payload_end).contains(&start);
    map.regions().iter().filter(move |region| is_shown(region.kind)).flat_map(move |region| {
        let start = region.start & !(page - 1);
        let end = region.end.checked_next_multiple_of(page).unwrap_or(region.end & !(page - 1));
        cuts.into_iter().zip(cuts.into_iter().skip(1)).filter_map(move |(from, to)| {
            let (start, end) = (start.max(from), end.min(to).min(layout::DIRECT_MAP_BYTES_MAX));
            (start < end).then(|| DirectRegion { start, end, is_writable: !read_only(start) })
        })
    })
}
