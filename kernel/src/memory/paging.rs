//! The kernel's own half of the page tables: direct map, image, stacks and device registers.
//!
//! Entries of the top table for the upper half are made once, at start-up, and copied into every address space; below
//! them the tables are shared, so a later change shows everywhere. Rights: text executes and cannot be written, constants
//! can be neither, everything else never executes. The direct map shows the image's read-only parts read-only as well.
#![expect(clippy::cast_possible_truncation, reason = "addresses have 64 bits on this machine")]

use core::sync::atomic::{AtomicU64, Ordering};

use bitflags::bitflags;
use sync::{SpinLock, rank};
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;

use super::early::EarlyPages;
use super::layout::{DIRECT_MAP, RANGES, direct};
use super::{PAGE_BYTES, frames, tlb};
use crate::arch::boot::{ImageLayout, VIRTUAL_BASE};
use crate::arch::cpu::{self, Features};

bitflags! {
    /// Bits of a page-table entry (SDM volume 3, 5.5), with our names for those the hardware ignores.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Entry: u64 {
        const PRESENT = 1;
        const WRITE = 1 << 1;
        const WRITE_THROUGH = 1 << 3;
        const CACHE_DISABLE = 1 << 4;
        const ACCESSED = 1 << 5;
        const DIRTY = 1 << 6;
        const LARGE = 1 << 7;
        const GLOBAL = 1 << 8;
        const NO_EXECUTE = 1 << 63;
    }
}

/// The frame part of an entry.
pub(crate) const ENTRY_ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Entries of one table.
pub(crate) const ENTRIES: usize = 512;

const DATA: Entry = Entry::PRESENT
    .union(Entry::WRITE)
    .union(Entry::ACCESSED)
    .union(Entry::DIRTY)
    .union(Entry::GLOBAL)
    .union(Entry::NO_EXECUTE);
const CONSTANT: Entry = DATA.difference(Entry::WRITE);
const TEXT: Entry = CONSTANT.difference(Entry::NO_EXECUTE);
const DEVICE: Entry = DATA.union(Entry::CACHE_DISABLE).union(Entry::WRITE_THROUGH);
const TABLE: Entry = Entry::PRESENT.union(Entry::WRITE).union(Entry::ACCESSED);

/// Held while tables of the `RANGES` area are made: neighbours share them.
static TABLES: SpinLock<()> = SpinLock::new(rank::PAGE_TABLE, ());
static KERNEL_ROOT: AtomicU64 = AtomicU64::new(0);

/// Index of `address` in the table of `level` (1 is the lowest).
pub(crate) fn index(address: usize, level: u32) -> usize {
    (address >> (12 + 9 * (level - 1))) & (ENTRIES - 1)
}

/// What can give a zeroed page for a table, and say where a table can be reached.
trait TablePages {
    fn take(&mut self) -> Option<u64>;
    fn pointer(&self, physical: u64) -> *mut u64;
}

impl TablePages for EarlyPages {
    fn take(&mut self) -> Option<u64> {
        EarlyPages::take(self, 1)
    }

    fn pointer(&self, physical: u64) -> *mut u64 {
        EarlyPages::pointer(self, physical) as *mut u64
    }
}

/// Tables from the frame allocator, for changes after start-up.
struct FramePages;

impl TablePages for FramePages {
    fn take(&mut self) -> Option<u64> {
        frames::allocate_zeroed_page()
    }

    fn pointer(&self, physical: u64) -> *mut u64 {
        direct(physical) as *mut u64
    }
}

/// Maps `[address, address + len)` to `physical` with the largest pages that fit. `None`: no page for a table.
///
/// # Safety
/// The tables below `root` are reachable through `pages` and nobody else changes this range. Mapping with `rights` breaks
/// nobody's use of the memory.
unsafe fn map_range(
    pages: &mut impl TablePages,
    root: u64,
    address: usize,
    physical: u64,
    len: usize,
    rights: Entry,
) -> Option<()> {
    let has_gib_pages = cpu::features().contains(Features::GIB_PAGES);
    let mut done = 0;
    while done < len {
        let (at, to, left) = (address + done, physical + done as u64, len - done);
        let fits = |size: usize| left >= size && at.is_multiple_of(size) && to.is_multiple_of(size as u64);
        let (leaf_level, size) = match () {
            () if has_gib_pages && fits(1 << 30) => (3, 1 << 30),
            () if fits(1 << 21) => (2, 1 << 21),
            () => (1, PAGE_BYTES),
        };
        let mut table = root;
        for level in (leaf_level + 1..=4).rev() {
            let slot = pages.pointer(table).wrapping_add(index(at, level));
            // SAFETY: the slot is inside a table that the caller lets us change.
            unsafe {
                if slot.read() & Entry::PRESENT.bits() == 0 {
                    slot.write(pages.take()? | TABLE.bits());
                }
                debug_assert!(slot.read() & Entry::LARGE.bits() == 0, "range is mapped by a larger page");
                table = slot.read() & ENTRY_ADDRESS;
            }
        }
        let large = if leaf_level > 1 { Entry::LARGE } else { Entry::empty() };
        // SAFETY: as above.
        unsafe { pages.pointer(table).wrapping_add(index(at, leaf_level)).write(to | (rights | large).bits()) };
        done += size;
    }
    Some(())
}

/// A part of physical memory and how the direct map shows it.
pub(crate) struct DirectRegion {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) is_writable: bool,
}

/// Builds the kernel's tables and makes them current. `None`: not enough memory.
///
/// # Safety
/// Runs once, on the first CPU, on tables that map the image where it runs and `pages` where it says. `image` is true.
/// The regions are memory.
pub(crate) unsafe fn init(
    pages: &mut EarlyPages,
    image: &ImageLayout,
    slide: usize,
    regions: impl Iterator<Item = DirectRegion>,
) -> Option<()> {
    let root = TablePages::take(pages)?;
    for region in regions {
        let rights = if region.is_writable { DATA } else { CONSTANT };
        let (start, len) = (region.start, (region.end - region.start) as usize);
        // SAFETY: the tables are new and only ours.
        unsafe { map_range(pages, root, DIRECT_MAP + start as usize, start, len, rights)? };
    }
    for (start, end, rights) in [
        (image.text_start, image.text_end, TEXT),
        (image.text_end, image.rodata_end, CONSTANT),
        (image.rodata_end, image.data_end, DATA),
    ] {
        let physical = (start - VIRTUAL_BASE - slide) as u64;
        // SAFETY: as above; the parts are page aligned and have the rights that their sections need.
        unsafe { map_range(pages, root, start, physical, end - start, rights)? };
    }
    let ranges = TablePages::take(pages)?;
    // SAFETY: the slot is inside the new root.
    unsafe { TablePages::pointer(pages, root).wrapping_add(index(RANGES, 4)).write(ranges | TABLE.bits()) };
    KERNEL_ROOT.store(root, Ordering::Relaxed);
    // SAFETY: the new tables map the running image and, through the direct map, all memory. The early stack is in the
    // image's data.
    unsafe { load_root(root) };
    Some(())
}

/// Physical address of the kernel's own top table; its lower half is empty.
pub(crate) fn kernel_root() -> u64 {
    KERNEL_ROOT.load(Ordering::Relaxed)
}

/// Makes the tables at `root` current on this CPU, and lets other CPUs know whom they must tell of changes.
///
/// # Safety
/// `root` is a top table with the kernel's upper half, and stays one while it is current. The CPU's area is installed.
pub(crate) unsafe fn set_root(root: u64) {
    tlb::switching_root(|| {
        // SAFETY: per the contract.
        unsafe { load_root(root) };
        root
    });
}

/// As [`set_root`], for the tables that `source` names once other CPUs know that this one is about to switch: who replaces
/// what `source` names before it frees those tables and makes all CPUs leave them is never too late.
///
/// # Safety
/// As `set_root`, for what `source` names.
pub(crate) unsafe fn set_root_of(source: &AtomicU64) {
    tlb::switching_root(|| {
        let root = source.load(Ordering::SeqCst);
        // SAFETY: per the contract.
        unsafe { load_root(root) };
        root
    });
}

/// Loads the register.
///
/// # Safety
/// As `set_root`, but for the area.
unsafe fn load_root(root: u64) {
    // SAFETY: per the contract.
    unsafe { Cr3::write(PhysFrame::containing_address(PhysAddr::new(root)), Cr3Flags::empty()) };
}

/// An entry of a table in the direct map.
pub(crate) fn entry(table: u64, position: usize) -> u64 {
    debug_assert!(position < ENTRIES, "table index is out of bounds");
    // SAFETY: tables are in the direct map, and the position is inside.
    unsafe { (direct(table) as *const u64).wrapping_add(position).read_volatile() }
}

/// A word of the program's memory on the current tables, if its page is there and readable as it is; nothing is paged in. For
/// interrupt handlers: with interrupts off, what is found stays, as freeing it waits for this CPU to flush.
pub(crate) fn read_program_word(address: usize) -> Option<u64> {
    if !address.is_multiple_of(size_of::<u64>()) || address >= mm::USER_END {
        return None;
    }
    let mut table = current_root();
    for level in (1..=4).rev() {
        let entry = entry(table, index(address, level));
        if entry & Entry::PRESENT.bits() == 0 {
            return None;
        }
        let physical = entry & ENTRY_ADDRESS;
        if level == 1 || entry & Entry::LARGE.bits() != 0 {
            let offset_mask = (PAGE_BYTES as u64) << (9 * (level - 1));
            let at = (physical & !(offset_mask - 1)) + (address as u64 & (offset_mask - 1));
            if at >= super::layout::DIRECT_MAP_BYTES_MAX {
                return None;
            }
            // SAFETY: the program's pages are memory, all of which the direct map shows; the word is aligned, and what the program
            // makes of it meanwhile is no more than a number here.
            return Some(unsafe { (direct(at) as *const u64).read_volatile() });
        }
        table = physical;
    }
    None
}

/// Writes an entry of a table.
///
/// # Safety
/// The table is a page of the caller's own, which no CPU uses yet.
pub(crate) unsafe fn set_entry(table: u64, position: usize, entry: u64) {
    debug_assert!(position < ENTRIES, "table index is out of bounds");
    // SAFETY: as in `entry`; the page is the caller's.
    unsafe { (direct(table) as *mut u64).wrapping_add(position).write_volatile(entry) };
}

/// Physical address of the current top table.
pub(crate) fn current_root() -> u64 {
    Cr3::read().0.start_address().as_u64()
}

/// Maps pages of the `RANGES` area. `None`: no memory for a table.
///
/// # Safety
/// The range is the caller's alone and not mapped; `physical` is memory or device registers the caller may use.
pub(crate) unsafe fn map_kernel(address: usize, physical: u64, len: usize, is_device: bool) -> Option<()> {
    let _tables = TABLES.lock();
    let rights = if is_device { DEVICE } else { DATA };
    // SAFETY: the area's tables are reached through the direct map; the range is the caller's alone.
    unsafe { map_range(&mut FramePages, kernel_root(), address, physical, len, rights) }
}

/// Makes one page of the `RANGES` area not present; the entry keeps its frame. CPUs may use it until they are made to flush.
///
/// # Safety
/// The page is the caller's alone and nobody uses it any more.
pub(super) unsafe fn hide_kernel_page(address: usize) {
    if let Some(slot) = kernel_slot(address) {
        slot.fetch_and(!Entry::PRESENT.bits(), Ordering::AcqRel);
    }
}

/// Writes the entry of one page of the `RANGES` area and returns what it was. `None`: there is no table for it yet.
///
/// # Safety
/// The page is the caller's alone and nobody uses it.
pub(super) unsafe fn swap_kernel_entry(address: usize, value: u64) -> Option<u64> {
    kernel_slot(address).map(|slot| slot.swap(value, Ordering::AcqRel))
}

/// The entry for one page of the `RANGES` area, if there is a table for it.
fn kernel_slot(address: usize) -> Option<&'static AtomicU64> {
    let mut table = kernel_root();
    for level in (2..=4).rev() {
        let entry = entry(table, index(address, level));
        if entry & Entry::PRESENT.bits() == 0 || entry & Entry::LARGE.bits() != 0 {
            return None;
        }
        table = entry & ENTRY_ADDRESS;
    }
    let slot = (direct(table) as *mut u64).wrapping_add(index(address, 1));
    // SAFETY: as in `entry`; tables of the kernel's half are never freed.
    Some(unsafe { AtomicU64::from_ptr(slot) })
}

/// True when the direct map shows `[physical, physical + len)`.
pub(crate) fn is_direct_mapped(physical: u64, len: u64) -> bool {
    let Some(end) = physical.checked_add(len) else { return false };
    if end > super::layout::DIRECT_MAP_BYTES_MAX {
        return false;
    }
    let mut at = physical & !(PAGE_BYTES as u64 - 1);
    while at < end {
        match leaf_size(direct(at)) {
            Some(size) => at = (at & !(size as u64 - 1)).saturating_add(size as u64),
            None => return false,
        }
    }
    true
}

/// Bytes of the page that maps `address` in the kernel's half, if any.
fn leaf_size(address: usize) -> Option<usize> {
    let mut table = kernel_root();
    for level in (1..=4).rev() {
        let entry = entry(table, index(address, level));
        if entry & Entry::PRESENT.bits() == 0 {
            return None;
        }
        if level == 1 || entry & Entry::LARGE.bits() != 0 {
            return Some(PAGE_BYTES << (9 * (level - 1)));
        }
        table = entry & ENTRY_ADDRESS;
    }
    None
}
