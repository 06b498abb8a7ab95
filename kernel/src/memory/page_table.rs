//! The lower half of one address space: `mm::PageTable` on the hardware's four levels.
//!
//! An entry that holds a frame has the software bit `HELD`; without any right it is not PRESENT, which is how PROT_NONE
//! keeps its contents. Two more software bits say whose the contents are. Each table page counts its entries (in the count
//! of its frame), so that an empty one goes back at once; the top table lives as long as the address space.
//!
//! Frames are dropped only after their translations are gone: removals collect in a batch that is flushed first.
//!
//! Two shortcuts. The lowest table used last is remembered, so that neighbours are found without a walk. And an emptied
//! table is all zeroes again: a few are kept and serve as new ones, so that mapping and unmapping one page far from
//! all others costs no allocation and no clearing.
#![expect(clippy::cast_possible_truncation, reason = "frame numbers of the direct map fit 32 bits")]

use core::cell::Cell;
use core::sync::atomic::Ordering;

use abi::Errno;
use mm::page_table::{PageCounts, PageEntry, PageKind, PageTable, Rights};
use mm::range::PageRange;
use mm::{Frame, FrameNumber, USER_END};
use x86_64::VirtAddr;
use x86_64::instructions::tlb;

use super::layout::direct;
use super::paging::{self, ENTRIES, ENTRY_ADDRESS, Entry, index};
use super::{PAGE_BYTES, frames};

const HELD: u64 = 1 << 11;
const KIND_SHIFT: u32 = 9;
const KIND_MASK: u64 = 0b11 << KIND_SHIFT;
const TABLE_BITS: u64 = Entry::PRESENT.bits() | Entry::WRITE.bits() | Entry::ACCESSED.bits() | HELD;
const TOP_LEVEL: u32 = 4;
/// Frames that one flush covers.
const BATCH_MAX: usize = 16;
/// Emptied tables kept: as many as one page needs.
const SPARE_MAX: usize = TOP_LEVEL as usize - 1;
/// No lowest table is remembered.
const NO_REGION: usize = usize::MAX;

/// A top table whose upper half is the kernel's.
pub(crate) struct UserPageTable {
    root: u64,
    /// What the lowest table used last covers, and where it is.
    recent: Cell<(usize, u64)>,
    /// Emptied tables.
    spare: Cell<[u64; SPARE_MAX]>,
    spare_len: Cell<usize>,
}

fn span(level: u32) -> usize {
    PAGE_BYTES << (9 * (level - 1))
}

fn slot(table: u64, position: usize) -> *mut u64 {
    debug_assert!(position < ENTRIES, "table index is out of bounds");
    (direct(table) as *mut u64).wrapping_add(position)
}

/// Reads an entry of a table of ours.
fn get(table: u64, position: usize) -> u64 {
    // SAFETY: table pages are reached through the direct map and live while their parent's entry does; `&self` or `&mut self`
    // of the owner keeps everybody else out.
    unsafe { slot(table, position).read_volatile() }
}

fn set(table: u64, position: usize, entry: u64) {
    // SAFETY: as in `get`.
    unsafe { slot(table, position).write_volatile(entry) };
}

fn encode(frame: FrameNumber, rights: Rights, kind: PageKind) -> u64 {
    frame.physical_address() | HELD | (kind as u64) << KIND_SHIFT | encode_rights(rights)
}

fn encode_rights(rights: Rights) -> u64 {
    let mut entry = Entry::empty();
    entry.set(Entry::PRESENT, !rights.is_empty());
    entry.set(Entry::WRITE, rights.contains(Rights::WRITE));
    entry.set(Entry::NO_EXECUTE, !rights.contains(Rights::EXECUTE));
    entry.bits()
}

const RIGHTS_BITS: u64 = Entry::PRESENT.bits() | Entry::WRITE.bits() | Entry::NO_EXECUTE.bits();

fn decode(entry: u64) -> PageEntry {
    let flags = Entry::from_bits_truncate(entry);
    let mut rights = Rights::empty();
    if flags.contains(Entry::PRESENT) {
        rights |= Rights::READ;
        rights.set(Rights::WRITE, flags.contains(Entry::WRITE));
        rights.set(Rights::EXECUTE, !flags.contains(Entry::NO_EXECUTE));
    }
    PageEntry {
        frame: frame_of(entry),
        rights,
        kind: kind_of(entry),
        accessed: flags.contains(Entry::ACCESSED),
        dirty: flags.contains(Entry::DIRTY),
    }
}

fn frame_of(entry: u64) -> FrameNumber {
    FrameNumber::new(((entry & ENTRY_ADDRESS) / PAGE_BYTES as u64) as u32)
}

fn kind_of(entry: u64) -> PageKind {
    match (entry & KIND_MASK) >> KIND_SHIFT {
        0 => PageKind::Zero,
        1 => PageKind::Anonymous,
        2 => PageKind::File,
        _ => PageKind::Shared,
    }
}

fn flush_page(address: usize) {
    tlb::flush(VirtAddr::new_truncate(address as u64));
}

/// Removed pages whose translations still may be cached.
struct Batch {
    pages: [(usize, u64); BATCH_MAX],
    len: usize,
    counts: PageCounts,
}

impl Batch {
    fn new() -> Batch {
        Batch { pages: [(0, 0); BATCH_MAX], len: 0, counts: PageCounts::default() }
    }

    fn push(&mut self, address: usize, entry: u64) {
        self.counts.add(kind_of(entry));
        self.pages[self.len] = (address, entry);
        self.len += 1;
        if self.len == BATCH_MAX {
            self.drain();
        }
    }

    fn drain(&mut self) {
        let pages = &self.pages[..self.len];
        for (address, _) in pages {
            flush_page(*address);
        }
        for (_, entry) in pages {
            drop(Frame::from_raw(frame_of(*entry)));
        }
        self.len = 0;
    }
}

impl UserPageTable {
    /// Tables with an empty lower half. `None`: no memory.
    pub(crate) fn new() -> Option<UserPageTable> {
        let root = frames::allocate_zeroed_page()?;
        for position in ENTRIES / 2..ENTRIES {
            set(root, position, get(paging::kernel_root(), position));
        }
        Some(UserPageTable {
            root,
            recent: Cell::new((NO_REGION, 0)),
            spare: Cell::new([0; SPARE_MAX]),
            spare_len: Cell::new(0),
        })
    }

    /// The lowest table of `address`; missing ones are made when `create`.
    fn lowest(&self, address: usize, create: bool) -> Option<u64> {
        debug_assert!(address < USER_END, "not an address of the program");
        let (region, recent) = self.recent.get();
        if address / span(2) == region {
            return Some(recent);
        }
        let mut table = self.root;
        for level in (2..=TOP_LEVEL).rev() {
            let position = index(address, level);
            let entry = get(table, position);
            table = if entry & HELD != 0 {
                entry & ENTRY_ADDRESS
            } else if create {
                let child = self.new_table()?;
                set(table, position, child | TABLE_BITS);
                self.add_entries(table, 1);
                child
            } else {
                return None;
            };
        }
        self.recent.set((address / span(2), table));
        Some(table)
    }

    /// An empty table.
    fn new_table(&self) -> Option<u64> {
        if let Some(left) = self.spare_len.get().checked_sub(1) {
            self.spare_len.set(left);
            return Some(self.spare.get()[left]);
        }
        let table = frames::allocate_zeroed_page()?;
        frames::table_entries(table).store(0, Ordering::Relaxed);
        Some(table)
    }

    /// Keeps or frees a table that is empty, all zeroes, and linked nowhere.
    fn retire_table(&self, table: u64) {
        self.recent.set((NO_REGION, 0));
        let len = self.spare_len.get();
        if len == SPARE_MAX {
            return frames::free_page(table);
        }
        let mut spare = self.spare.get();
        spare[len] = table;
        self.spare.set(spare);
        self.spare_len.set(len + 1);
    }

    fn add_entries(&self, table: u64, change: u32) {
        if table != self.root {
            frames::table_entries(table).fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Takes `count` entries off; true when the table is empty and may go.
    fn remove_entries(&self, table: u64, count: u32) -> bool {
        table != self.root && frames::table_entries(table).fetch_sub(count, Ordering::Relaxed) == count
    }

    fn entry(&self, address: usize) -> u64 {
        self.lowest(address, false).map_or(0, |table| get(table, index(address, 1)))
    }

    /// Empties `[start, end)` below `table`; true when the table is left empty.
    fn clear(&self, table: u64, level: u32, start: usize, end: usize, batch: &mut Batch) -> bool {
        let mut removed = 0;
        let mut at = start;
        while at < end {
            let next = ((at & !(span(level) - 1)) + span(level)).min(end);
            let position = index(at, level);
            let entry = get(table, position);
            if entry & HELD != 0 {
                if level == 1 {
                    set(table, position, 0);
                    batch.push(at, entry);
                    removed += 1;
                } else if self.clear(entry & ENTRY_ADDRESS, level - 1, at, next, batch) {
                    set(table, position, 0);
                    // The CPU may cache the upper levels: they go with any flush of an address below them.
                    flush_page(at);
                    self.retire_table(entry & ENTRY_ADDRESS);
                    removed += 1;
                }
            }
            at = next;
        }
        self.remove_entries(table, removed)
    }

    /// Frees the tables above `address` that became empty, after one entry of the lowest went.
    fn prune(&mut self, address: usize) {
        let start = address & !(PAGE_BYTES - 1);
        if let Some(lowest) = self.lowest(address, false)
            && frames::table_entries(lowest).load(Ordering::Relaxed) > 1
        {
            self.remove_entries(lowest, 1);
            return;
        }
        let mut path = [0; TOP_LEVEL as usize + 1];
        path[TOP_LEVEL as usize] = self.root;
        for level in (2..=TOP_LEVEL).rev() {
            path[level as usize - 1] = get(path[level as usize], index(start, level)) & ENTRY_ADDRESS;
        }
        for level in 1..TOP_LEVEL {
            if !self.remove_entries(path[level as usize], 1) {
                return;
            }
            set(path[level as usize + 1], index(start, level + 1), 0);
            flush_page(start);
            self.retire_table(path[level as usize]);
        }
    }

    /// Empties one entry.
    fn unmap_one(&mut self, address: usize) -> PageCounts {
        let mut counts = PageCounts::default();
        let entry = self.entry(address);
        if entry & HELD != 0 {
            counts.add(kind_of(entry));
            drop(self.unmap(address));
        }
        counts
    }

    /// The first entry of `[start, end)` that holds a frame.
    fn find(&self, table: u64, level: u32, start: usize, end: usize) -> Option<(usize, u64)> {
        let mut at = start;
        while at < end {
            let next = ((at & !(span(level) - 1)) + span(level)).min(end);
            let entry = get(table, index(at, level));
            if entry & HELD != 0 {
                if level == 1 {
                    return Some((at, entry));
                }
                if let Some(found) = self.find(entry & ENTRY_ADDRESS, level - 1, at, next) {
                    return Some(found);
                }
            }
            at = next;
        }
        None
    }

    /// Calls `change` on every entry of the range that holds a frame and stores what it returns. Flushes what changed.
    fn update(&mut self, range: PageRange, mut change: impl FnMut(u64) -> u64) {
        let mut at = range.start();
        while let Some((address, entry)) = self.find(self.root, TOP_LEVEL, at, range.end()) {
            let changed = change(entry);
            if changed != entry
                && let Some(table) = self.lowest(address, false)
            {
                set(table, index(address, 1), changed);
                flush_page(address);
            }
            at = address + PAGE_BYTES;
        }
    }
}

impl Drop for UserPageTable {
    fn drop(&mut self) {
        debug_assert!(paging::current_root() != self.root, "address space dropped while in use");
        self.unmap_range(PageRange::new(0, USER_END));
        for table in &self.spare.get()[..self.spare_len.get()] {
            frames::free_page(*table);
        }
        frames::free_page(self.root);
    }
}

impl PageTable for UserPageTable {
    fn root(&self) -> u64 {
        self.root
    }

    fn map(&mut self, address: usize, frame: Frame, rights: Rights, kind: PageKind) -> Result<(), Errno> {
        let table = self.lowest(address, true).ok_or(Errno::ENOMEM)?;
        debug_assert!(get(table, index(address, 1)) == 0, "page is mapped already");
        set(table, index(address, 1), encode(frame.into_raw(), rights, kind));
        self.add_entries(table, 1);
        Ok(())
    }

    fn replace(&mut self, address: usize, frame: Frame, rights: Rights, kind: PageKind) {
        let table = self.lowest(address, false).expect("the page to replace is mapped");
        let old = get(table, index(address, 1));
        debug_assert!(old & HELD != 0, "the page to replace is mapped");
        set(table, index(address, 1), encode(frame.into_raw(), rights, kind));
        flush_page(address);
        drop(Frame::from_raw(frame_of(old)));
    }

    fn unmap(&mut self, address: usize) -> Option<Frame> {
        let table = self.lowest(address, false)?;
        let entry = get(table, index(address, 1));
        if entry & HELD == 0 {
            return None;
        }
        set(table, index(address, 1), 0);
        flush_page(address);
        self.prune(address);
        Some(Frame::from_raw(frame_of(entry)))
    }

    fn protect(&mut self, address: usize, rights: Rights) {
        let Some(table) = self.lowest(address, false) else { return };
        let entry = get(table, index(address, 1));
        if entry & HELD != 0 {
            set(table, index(address, 1), entry & !RIGHTS_BITS | encode_rights(rights));
            flush_page(address);
        }
    }

    fn lookup(&self, address: usize) -> Option<PageEntry> {
        let entry = self.entry(address);
        (entry & HELD != 0).then(|| decode(entry))
    }

    fn next_present(&self, range: PageRange) -> Option<(usize, PageEntry)> {
        let (address, entry) = self.find(self.root, TOP_LEVEL, range.start(), range.end())?;
        Some((address, decode(entry)))
    }

    fn unmap_range(&mut self, range: PageRange) -> PageCounts {
        if range.pages() == 1 {
            return self.unmap_one(range.start());
        }
        let mut batch = Batch::new();
        self.clear(self.root, TOP_LEVEL, range.start(), range.end(), &mut batch);
        batch.drain();
        batch.counts
    }

    fn protect_range(&mut self, range: PageRange, rights: Rights) {
        self.update(range, |entry| {
            let is_own = kind_of(entry) == PageKind::Anonymous && frames::reference_count(frame_of(entry)) == 1;
            let granted = if is_own { rights } else { rights - Rights::WRITE };
            entry & !RIGHTS_BITS | encode_rights(granted)
        });
    }

    fn move_range(&mut self, from: PageRange, to: usize) -> Result<(), Errno> {
        // First make every table of the destination, so that nothing can fail half-way.
        let mut at = from.start();
        while let Some((address, _)) = self.find(self.root, TOP_LEVEL, at, from.end()) {
            let target = to + (address - from.start());
            if self.lowest(target, true).is_none() {
                self.unmap_range(PageRange::new(to, to + from.len()));
                return Err(Errno::ENOMEM);
            }
            // One table covers 2 MiB of the destination: go on where that ends.
            let covered = span(2) - (target & (span(2) - 1));
            at = address + covered;
        }
        let mut at = from.start();
        while let Some((address, entry)) = self.find(self.root, TOP_LEVEL, at, from.end()) {
            let target = to + (address - from.start());
            let (Some(source), Some(destination)) = (self.lowest(address, false), self.lowest(target, true)) else {
                return Err(Errno::ENOMEM);
            };
            set(source, index(address, 1), 0);
            flush_page(address);
            set(destination, index(target, 1), entry);
            self.add_entries(destination, 1);
            self.prune(address);
            at = address + PAGE_BYTES;
        }
        Ok(())
    }
}
