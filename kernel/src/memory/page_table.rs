//! The lower half of one address space: `mm::PageTable` on the hardware's four levels.
//!
//! An entry that holds a frame has the software bit `HELD`; without any right it is not PRESENT, which is how PROT_NONE
//! keeps its contents. Two more software bits say whose the contents are. Each table page counts its entries (in the count
//! of its frame), so that an empty one goes back at once; the top table lives as long as the address space.
//!
//! Three shortcuts. The lowest table used last is remembered, so that neighbours are found without a walk. The lowest
//! table that lost its last page last stays where it is, *vacant*, until another one does: one page that comes and goes
//! far from all others changes nothing but its own entry. And an emptied table is all zeroes again: a few are kept and
//! serve as new ones.
//!
//! # Other CPUs
//!
//! They walk the tables at any time and set accessed and dirty bits, so entries change by atomic operations. What an operation
//! takes away is gathered and flushed at once, on every CPU that runs these tables (`tlb`):
//! 1. Frames are dropped, and tables used for something else, only after that flush. A table that is unlinked waits in a
//!    chain ([`Unlinked`]); when the range covers all of it, it takes its entries along, which are dropped with it.
//! 2. The hardware caches no translation whose accessed bit is clear. An entry taken away with the bit clear needs no flush.
//! 3. Rights that are only gained need no other CPU: one that faults for want of them walks again, and the fault path finds
//!    everything in order.
#![expect(clippy::cast_possible_truncation, reason = "frame numbers of the direct map fit 32 bits")]

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::Errno;
use mm::flush::FlushPlan;
use mm::page_table::{PageCounts, PageEntry, PageKind, PageTable, Rights};
use mm::range::PageRange;
use mm::{Frame, FrameNumber, USER_END};

use super::layout::direct;
use super::paging::{self, ENTRIES, ENTRY_ADDRESS, Entry, index};
use super::tlb::{self, Reach};
use super::{PAGE_BYTES, frames};
use crate::threads::context::TABLE;

const HELD: u64 = 1 << 11;
const KIND_SHIFT: u32 = 9;
const KIND_MASK: u64 = 0b11 << KIND_SHIFT;
const TABLE_BITS: u64 = Entry::PRESENT.bits() | Entry::WRITE.bits() | Entry::ACCESSED.bits() | HELD;
const TOP_LEVEL: u32 = 4;
/// Frames that one flush covers, beside those of whole tables.
const BATCH_MAX: usize = 32;
/// Emptied tables kept: as many as one page needs.
const SPARE_MAX: usize = TOP_LEVEL as usize - 1;
/// The end of a chain of tables: the first frame is never given out.
const NO_TABLE: u32 = 0;
/// No lowest table is remembered.
const NO_REGION: usize = usize::MAX;

/// A top table whose upper half is the kernel's.
pub(crate) struct UserPageTable {
    root: u64,
    /// What the lowest table used last covers, and where it is.
    recent: Cell<(usize, u64)>,
    /// What the lowest table covers that one page left empty, if nothing has come or gone there since.
    vacant: Cell<usize>,
    /// Emptied tables.
    spare: Cell<[u64; SPARE_MAX]>,
    spare_len: Cell<usize>,
}

fn span(level: u32) -> usize {
    PAGE_BYTES << (9 * (level - 1))
}

fn slot(table: u64, position: usize) -> &'static AtomicU64 {
    debug_assert!(position < ENTRIES, "table index is out of bounds");
    // SAFETY: table pages are reached through the direct map and live while their parent's entry does; `&self` or `&mut self`
    // of the owner keeps everybody out but the hardware, which accesses entries atomically.
    unsafe { AtomicU64::from_ptr((direct(table) as *mut u64).wrapping_add(position)) }
}

/// All entries of a table.
fn slots(table: u64) -> &'static [AtomicU64; ENTRIES] {
    // SAFETY: as for `slot`; a table has so many.
    unsafe { &*(direct(table) as *const [AtomicU64; ENTRIES]) }
}

/// How many entries there are before the first that holds a frame or a table.
fn empty_run(slots: &[AtomicU64]) -> usize {
    let is_empty =
        |slots: &[AtomicU64]| slots.iter().fold(0, |all, slot| all | slot.load(Ordering::Relaxed)) & HELD == 0;
    let (fours, _) = slots.as_chunks::<4>();
    let skipped = 4 * fours.iter().take_while(|four| is_empty(*four)).count();
    let rest = slots.get(skipped..).unwrap_or_default();
    skipped + rest.iter().take_while(|slot| slot.load(Ordering::Relaxed) & HELD == 0).count()
}

/// Reads an entry of a table of ours.
fn get(table: u64, position: usize) -> u64 {
    slot(table, position).load(Ordering::Relaxed)
}

/// Writes an entry that is not present. What it leads to was written before.
fn set(table: u64, position: usize, entry: u64) {
    slot(table, position).store(entry, Ordering::Release);
}

/// Writes an entry that the hardware may be using, and returns what it was at that moment.
fn exchange(table: u64, position: usize, entry: u64) -> u64 {
    slot(table, position).swap(entry, Ordering::AcqRel)
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

/// Whether some CPU may have the translation cached.
fn is_cached(entry: u64) -> bool {
    const CACHED: u64 = Entry::PRESENT.bits() | Entry::ACCESSED.bits();
    entry & CACHED == CACHED
}

/// Whether `new` forbids something that `old` permits.
fn takes_away(old: u64, new: u64) -> bool {
    let (old, new) = (Entry::from_bits_truncate(old), Entry::from_bits_truncate(new));
    let loses = |flag| old.contains(flag) && !new.contains(flag);
    loses(Entry::PRESENT) || loses(Entry::WRITE) || !old.contains(Entry::NO_EXECUTE) && new.contains(Entry::NO_EXECUTE)
}

/// A zeroed page for a table. Not under a spinlock.
fn table_page() -> Option<u64> {
    frames::allocate_zeroed_page().or_else(|| {
        mm::reclaim::at_once();
        frames::allocate_zeroed_page()
    })
}

/// What was taken away and not flushed yet.
struct Unlinked {
    plan: FlushPlan,
    /// Empty tables, chained through the words of their frames.
    empty: u32,
    /// Tables whose entries still hold frames, chained likewise.
    filled: u32,
}

impl Unlinked {
    fn new() -> Unlinked {
        Unlinked { plan: FlushPlan::new(), empty: NO_TABLE, filled: NO_TABLE }
    }

    /// Notes the entry of a page that was taken away or lost rights.
    #[inline]
    fn add_page(&mut self, address: usize, old: u64) {
        if is_cached(old) {
            self.plan.add(address, 1);
        }
    }

    /// Takes an empty table that no entry leads to any more.
    fn add_empty(&mut self, table: u64) {
        chain(&mut self.empty, table);
        self.plan.add_tables();
    }

    /// Takes a lowest table with its entries that no entry leads to any more.
    fn add_filled(&mut self, table: u64) {
        chain(&mut self.filled, table);
        self.plan.add_tables();
    }
}

/// Puts a table in front of a chain.
fn chain(first: &mut u32, table: u64) {
    frames::table_entries(table).store(*first, Ordering::Relaxed);
    *first = (table / PAGE_BYTES as u64) as u32;
}

/// Takes the first table of a chain.
#[inline]
fn unchain(first: &mut u32) -> Option<u64> {
    if *first == NO_TABLE {
        return None;
    }
    let table = u64::from(*first) * PAGE_BYTES as u64;
    *first = frames::table_entries(table).load(Ordering::Relaxed);
    Some(table)
}

/// Removed pages whose frames are still to be dropped.
struct Batch {
    unlinked: Unlinked,
    entries: [u64; BATCH_MAX],
    len: usize,
    counts: PageCounts,
}

impl Batch {
    fn new() -> Batch {
        Batch { unlinked: Unlinked::new(), entries: [0; BATCH_MAX], len: 0, counts: PageCounts::default() }
    }

    /// Takes the entry of a page. False: there is no room until `UserPageTable::drain`.
    fn push(&mut self, address: usize, entry: u64) -> bool {
        self.unlinked.add_page(address, entry);
        self.counts.add(kind_of(entry));
        self.entries[self.len] = entry;
        self.len += 1;
        self.len < BATCH_MAX
    }
}

impl UserPageTable {
    /// Tables with an empty lower half. `None`: no memory.
    pub(crate) fn new() -> Option<UserPageTable> {
        let root = table_page()?;
        for position in ENTRIES / 2..ENTRIES {
            set(root, position, get(paging::kernel_root(), position));
        }
        Some(UserPageTable {
            root,
            recent: Cell::new((NO_REGION, 0)),
            vacant: Cell::new(NO_REGION),
            spare: Cell::new([0; SPARE_MAX]),
            spare_len: Cell::new(0),
        })
    }

    /// The lowest table of `address`; missing ones are made when `create`.
    #[inline]
    fn lowest(&self, address: usize, create: bool) -> Option<u64> {
        debug_assert!(address < USER_END, "not an address of the program");
        let (region, recent) = self.recent.get();
        if address / span(2) == region {
            return Some(recent);
        }
        self.walk(address, create)
    }

    /// [`Self::lowest`] where it is not the one that was used last.
    fn walk(&self, address: usize, create: bool) -> Option<u64> {
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
            let table = self.spare.get()[left];
            frames::table_entries(table).store(0, Ordering::Relaxed);
            return Some(table);
        }
        let table = table_page()?;
        frames::table_entries(table).store(0, Ordering::Relaxed);
        Some(table)
    }

    /// Keeps or frees a table that is empty, all zeroes, and linked nowhere.
    fn retire_table(&self, table: u64) {
        let len = self.spare_len.get();
        if len == SPARE_MAX {
            return frames::free_page(table);
        }
        let mut spare = self.spare.get();
        spare[len] = table;
        self.spare.set(spare);
        self.spare_len.set(len + 1);
    }

    #[inline]
    fn add_entries(&self, table: u64, change: u32) {
        if table != self.root {
            frames::table_entries(table).fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Takes `count` entries off; true when the table is empty and may go.
    #[inline]
    fn remove_entries(&self, table: u64, count: u32) -> bool {
        table != self.root && frames::table_entries(table).fetch_sub(count, Ordering::Relaxed) == count
    }

    #[inline]
    fn entry(&self, address: usize) -> u64 {
        self.lowest(address, false).map_or(0, |table| get(table, index(address, 1)))
    }

    /// Takes an empty table out that its parent's entry does not lead to any more.
    fn unlink_table(&self, table: u64, unlinked: &mut Unlinked) {
        self.recent.set((NO_REGION, 0));
        unlinked.add_empty(table);
    }

    /// Flushes what was taken away; the tables among it may be used again.
    fn flush(&self, unlinked: &mut Unlinked) {
        tlb::flush(self.root, &unlinked.plan, Reach::Everywhere);
        unlinked.plan = FlushPlan::new();
        while let Some(table) = unchain(&mut unlinked.empty) {
            self.retire_table(table);
        }
    }

    /// Flushes what the batch took away and drops its frames, those in whole tables included.
    fn drain(&self, batch: &mut Batch) {
        tlb::flush(self.root, &batch.unlinked.plan, Reach::Everywhere);
        batch.unlinked.plan = FlushPlan::new();
        for entry in &batch.entries[..batch.len] {
            frames::release(frame_of(*entry));
        }
        batch.len = 0;
        while let Some(table) = unchain(&mut batch.unlinked.empty) {
            self.retire_table(table);
        }
        while let Some(table) = unchain(&mut batch.unlinked.filled) {
            for position in 0..ENTRIES {
                let entry = get(table, position);
                if entry & HELD != 0 {
                    set(table, position, 0);
                    batch.counts.add(kind_of(entry));
                    frames::release(frame_of(entry));
                }
            }
            self.retire_table(table);
        }
    }

    /// Empties the pages of `[start, end)` in a lowest table; answers how many there were.
    fn clear_lowest(&self, table: u64, start: usize, end: usize, batch: &mut Batch) -> u32 {
        debug_assert!(start.is_multiple_of(PAGE_BYTES) && start < end, "whole pages are removed");
        let first = index(start, 1);
        let pages = (end - start) / PAGE_BYTES;
        let mut removed = 0;
        let mut page = 0;
        let slots = &slots(table)[first..first + pages];
        while let Some(slot) = slots.get(page) {
            if slot.load(Ordering::Relaxed) & HELD == 0 {
                // Most of what is unmapped was never touched.
                page += empty_run(&slots[page..]);
                continue;
            }
            let entry = slot.swap(0, Ordering::AcqRel);
            removed += 1;
            if !batch.push(start + page * PAGE_BYTES, entry) {
                self.drain(batch);
            }
            page += 1;
        }
        removed
    }

    /// Empties `[start, end)` below `table`; true when the table is left empty.
    fn clear(&self, table: u64, level: u32, start: usize, end: usize, batch: &mut Batch) -> bool {
        if level == 1 {
            let removed = self.clear_lowest(table, start, end, batch);
            return self.remove_entries(table, removed);
        }
        let mut removed = 0;
        let mut at = start;
        while at < end {
            let next = ((at & !(span(level) - 1)) + span(level)).min(end);
            let position = index(at, level);
            let entry = get(table, position);
            if entry & HELD != 0 {
                if level == 2 && next - at == span(2) {
                    // All of a lowest table: it goes with its entries.
                    exchange(table, position, 0);
                    batch.unlinked.plan.add(at, ENTRIES);
                    self.recent.set((NO_REGION, 0));
                    batch.unlinked.add_filled(entry & ENTRY_ADDRESS);
                    removed += 1;
                } else if self.clear(entry & ENTRY_ADDRESS, level - 1, at, next, batch) {
                    exchange(table, position, 0);
                    self.unlink_table(entry & ENTRY_ADDRESS, &mut batch.unlinked);
                    removed += 1;
                }
            }
            at = next;
        }
        self.remove_entries(table, removed)
    }

    /// Counts `count` entries out that went, at and behind `address` in the lowest table `table`. If that leaves it
    /// empty, it stays as the vacant one.
    fn count_out(&self, table: u64, address: usize, count: u32, unlinked: &mut Unlinked) {
        if self.remove_entries(table, count) {
            let region = address / span(2);
            let old = self.vacant.replace(region);
            if old != region && old != NO_REGION {
                self.unlink_vacant(old, unlinked);
            }
        }
    }

    /// Unlinks the vacant table, if there is one.
    fn give_vacant_up(&self) {
        let vacant = self.vacant.replace(NO_REGION);
        if vacant != NO_REGION {
            let mut unlinked = Unlinked::new();
            self.unlink_vacant(vacant, &mut unlinked);
            self.flush(&mut unlinked);
        }
    }

    /// Unlinks the lowest table of a region if it is still empty, and those above that are then.
    #[cold]
    #[inline(never)]
    fn unlink_vacant(&self, region: usize, unlinked: &mut Unlinked) {
        let start = region * span(2);
        let mut path = [0; TOP_LEVEL as usize + 1];
        path[TOP_LEVEL as usize] = self.root;
        for level in (2..=TOP_LEVEL).rev() {
            let entry = get(path[level as usize], index(start, level));
            if entry & HELD == 0 {
                return;
            }
            path[level as usize - 1] = entry & ENTRY_ADDRESS;
        }
        if frames::table_entries(path[1]).load(Ordering::Relaxed) != 0 {
            return;
        }
        for level in 1..TOP_LEVEL as usize {
            exchange(path[level + 1], index(start, level as u32 + 1), 0);
            self.unlink_table(path[level], unlinked);
            if !self.remove_entries(path[level + 1], 1) {
                return;
            }
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
    #[inline]
    fn find_held(&self, mut start: usize, end: usize) -> Option<(usize, u64)> {
        let (region, recent) = self.recent.get();
        if start / span(2) == region {
            let next = ((region + 1) * span(2)).min(end);
            if let Some(found) = self.find_in_lowest(recent, start, next) {
                return Some(found);
            }
            start = next;
        }
        self.find(self.root, TOP_LEVEL, start, end)
    }

    /// The same in the lowest table `table`, which covers all of it.
    fn find_in_lowest(&self, table: u64, start: usize, end: usize) -> Option<(usize, u64)> {
        let first = index(start, 1);
        let pages = end.saturating_sub(start) / PAGE_BYTES;
        let slots = &slots(table)[first..first + pages];
        let page = empty_run(slots);
        Some((start + page * PAGE_BYTES, slots.get(page)?.load(Ordering::Relaxed)))
    }

    /// The same below `table`.
    fn find(&self, table: u64, level: u32, start: usize, end: usize) -> Option<(usize, u64)> {
        if level == 1 {
            return self.find_in_lowest(table, start, end);
        }
        let mut at = start;
        while at < end {
            let next = ((at & !(span(level) - 1)) + span(level)).min(end);
            let entry = get(table, index(at, level));
            if entry & HELD != 0
                && let Some(found) = self.find(entry & ENTRY_ADDRESS, level - 1, at, next)
            {
                return Some(found);
            }
            at = next;
        }
        None
    }

    /// Gives the entry at `address`, which holds a frame, other rights, and notes what is to be flushed, and where.
    fn change_rights(&self, address: usize, rights: u64, plan: &mut FlushPlan, reach: &mut Reach) {
        let Some(table) = self.lowest(address, false) else { return };
        let changed = |entry: u64| Some(entry & !RIGHTS_BITS | rights).filter(|changed| *changed != entry);
        let order = Ordering::Relaxed;
        if let Ok(old) = slot(table, index(address, 1)).fetch_update(order, order, changed)
            && is_cached(old)
        {
            plan.add(address, 1);
            if takes_away(old, rights) {
                *reach = Reach::Everywhere;
            }
        }
    }
}

impl Drop for UserPageTable {
    fn drop(&mut self) {
        // Threads that end and idle CPUs may still be on the tables.
        TABLE.forget_root(self.root);
        tlb::leave(self.root);
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
        let old = exchange(table, index(address, 1), encode(frame.into_raw(), rights, kind));
        debug_assert!(old & HELD != 0, "the page to replace is mapped");
        if is_cached(old) {
            tlb::flush(self.root, &FlushPlan::page(address), Reach::Everywhere);
        }
        drop(Frame::from_raw(frame_of(old)));
    }

    fn unmap(&mut self, address: usize) -> Option<Frame> {
        let table = self.lowest(address, false)?;
        if get(table, index(address, 1)) & HELD == 0 {
            return None;
        }
        let entry = exchange(table, index(address, 1), 0);
        let mut unlinked = Unlinked::new();
        unlinked.add_page(address, entry);
        self.count_out(table, address, 1, &mut unlinked);
        self.flush(&mut unlinked);
        Some(Frame::from_raw(frame_of(entry)))
    }

    fn protect(&mut self, address: usize, rights: Rights) {
        if self.entry(address) & HELD != 0 {
            let (mut plan, mut reach) = (FlushPlan::new(), Reach::Here);
            self.change_rights(address, encode_rights(rights), &mut plan, &mut reach);
            tlb::flush(self.root, &plan, reach);
        }
    }

    fn lookup(&self, address: usize) -> Option<PageEntry> {
        let entry = self.entry(address);
        (entry & HELD != 0).then(|| decode(entry))
    }

    fn next_present(&self, range: PageRange) -> Option<(usize, PageEntry)> {
        let (address, entry) = self.find_held(range.start(), range.end())?;
        Some((address, decode(entry)))
    }

    fn unmap_range(&mut self, range: PageRange) -> PageCounts {
        if range.pages() <= 1 {
            return if range.is_empty() { PageCounts::default() } else { self.unmap_one(range.start()) };
        }
        let mut batch = Batch::new();
        let is_in_one_table = range.start() / span(2) == (range.end() - 1) / span(2);
        if is_in_one_table && range.len() < span(2) {
            let Some(table) = self.lowest(range.start(), false) else { return batch.counts };
            let removed = self.clear_lowest(table, range.start(), range.end(), &mut batch);
            self.count_out(table, range.start(), removed, &mut batch.unlinked);
        } else {
            self.clear(self.root, TOP_LEVEL, range.start(), range.end(), &mut batch);
        }
        self.drain(&mut batch);
        batch.counts
    }

    fn take_unused(&mut self, range: PageRange, takes_used: bool, is_wanted: &dyn Fn(usize) -> bool) -> PageCounts {
        const ACCESSED: u64 = Entry::ACCESSED.bits();
        let mut batch = Batch::new();
        let mut at = range.start();
        while let Some((address, entry)) = self.find_held(at, range.end()) {
            at = address + PAGE_BYTES;
            let table = self.lowest(address, false).filter(|_| kind_of(entry) == PageKind::File && is_wanted(address));
            let Some(table) = table else { continue };
            if entry & ACCESSED != 0 && !takes_used {
                // Flushed with the rest, or else a CPU would go on using it without setting the bit.
                slot(table, index(address, 1)).fetch_and(!ACCESSED, Ordering::Relaxed);
                batch.unlinked.plan.add(address, 1);
                continue;
            }
            let taken = exchange(table, index(address, 1), 0);
            self.count_out(table, address, 1, &mut batch.unlinked);
            if !batch.push(address, taken) {
                self.drain(&mut batch);
            }
        }
        self.drain(&mut batch);
        batch.counts
    }

    fn protect_range(&mut self, range: PageRange, rights: Rights) {
        let (mut plan, mut reach) = (FlushPlan::new(), Reach::Here);
        let mut at = range.start();
        while let Some((address, entry)) = self.find_held(at, range.end()) {
            let is_own = kind_of(entry) == PageKind::Anonymous && frames::reference_count(frame_of(entry)) == 1;
            let granted = if is_own { rights } else { rights - Rights::WRITE };
            self.change_rights(address, encode_rights(granted), &mut plan, &mut reach);
            at = address + PAGE_BYTES;
        }
        tlb::flush(self.root, &plan, reach);
    }

    fn move_range(&mut self, from: PageRange, to: usize) -> Result<(), Errno> {
        // First make every table of the destination, so that nothing can fail half-way. None of them is the vacant one,
        // which could go meanwhile.
        self.give_vacant_up();
        let mut at = from.start();
        while let Some((address, _)) = self.find_held(at, from.end()) {
            let target = to + (address - from.start());
            if self.lowest(target, true).is_none() {
                self.unmap_range(PageRange::new(to, to + from.len()));
                return Err(Errno::ENOMEM);
            }
            // One table covers 2 MiB of the destination: go on where that ends.
            let covered = span(2) - (target & (span(2) - 1));
            at = address + covered;
        }
        let mut unlinked = Unlinked::new();
        let mut at = from.start();
        while let Some((address, _)) = self.find_held(at, from.end()) {
            let target = to + (address - from.start());
            let (Some(source), Some(destination)) = (self.lowest(address, false), self.lowest(target, true)) else {
                unreachable!("the tables of both places are there");
            };
            let entry = exchange(source, index(address, 1), 0);
            unlinked.add_page(address, entry);
            set(destination, index(target, 1), entry);
            self.add_entries(destination, 1);
            self.count_out(source, address, 1, &mut unlinked);
            at = address + PAGE_BYTES;
        }
        self.flush(&mut unlinked);
        Ok(())
    }
}
