//! [`State`]: what the mutex of an address space protects, and the bookkeeping every operation
//! shares: counting areas in and out, limits, resident pages.

use alloc::boxed::Box;

use abi::Errno;

use super::ahead::Run;
use super::brk::Heap;
use super::lock::FutureLock;
use super::request::{Layout, Limits, Usage};
use super::{AREA_COUNT_MAX, AddressSpace};
use crate::area::map::{AreaMap, Taken};
use crate::area::{Area, AreaFlags};
use crate::object::leaving;
use crate::page_table::{PageCounts, PageKind, PageTable, Rights};
use crate::range::{PageRange, page_down};
use crate::rewrite::Table;
use crate::{PAGE_SHIFT, USER_END, frame};

/// Everything the mutex protects.
pub(super) struct State {
    pub(super) page_table: Box<dyn PageTable>,
    pub(super) areas: AreaMap,
    pub(super) layout: Layout,
    pub(super) limits: Limits,
    pub(super) heap: Heap,
    pub(super) stack_start: usize,
    pub(super) usage: Usage,
    /// What mlockall(MCL_FUTURE) asked for.
    pub(super) lock_future: FutureLock,
    /// From here to the base for mappings no page is free, and the area that begins here is no stack. Room for most
    /// mappings is right below ([`super::placement`]).
    pub(super) packed_from: usize,
    /// Frames of the machine, for the overcommit check.
    frames_total: u64,
    /// Counts the times an object took pages away, so that a fault which fetched one before
    /// notices ([`super::fault`]).
    pub(super) invalidations: u64,
    /// The call sites that are rewritten.
    pub(super) rewritten: Table,
    pub(super) run: Run,
}

impl State {
    pub(super) fn new(page_table: Box<dyn PageTable>, layout: Layout) -> Self {
        let layout = Layout { mmap_base: page_down(layout.mmap_base.min(USER_END)) };
        Self {
            page_table,
            areas: AreaMap::new(),
            layout,
            limits: Limits::default(),
            heap: Heap::default(),
            stack_start: 0,
            usage: Usage::default(),
            lock_future: FutureLock::None,
            packed_from: layout.mmap_base,
            frames_total: frame::total(),
            invalidations: 0,
            rewritten: Table::default(),
            run: Run::default(),
        }
    }

    /// Adds an area where there is none, and makes it one with its neighbours where they continue
    /// each other.
    pub(super) fn insert_area(&mut self, mut area: Area) {
        self.usage.count(&area, area.range.pages(), usize::wrapping_add);
        let range = area.range;
        if range.end() == self.packed_from && !area.is_stack() {
            self.packed_from = range.start();
        }
        let (below, above) = self.areas.around(range.start());
        let follows = below.is_some_and(|below| below.continues_with(&area));
        let above_end = above.filter(|above| area.continues_with(above)).map(|above| above.range.end());
        match (follows, above_end) {
            (false, None) => self.areas.insert(area),
            (true, None) => {
                self.areas.modify(range.start() - 1, |below| below.move_end(range.end()));
            }
            (false, Some(_)) => {
                self.areas.modify(range.end(), |above| above.move_start(range.start()));
            }
            (true, Some(end)) => {
                self.areas.take_one(range.end());
                area.move_end(end);
                self.areas.modify(range.start() - 1, |below| below.move_end(end));
            }
        }
    }

    /// Takes the areas of `range` out, cutting those that reach beyond. Pages stay where they are.
    pub(super) fn take_areas(&mut self, range: PageRange) -> Taken {
        self.unpack(range);
        let usage = &mut self.usage;
        self.areas.take(range, |area| usage.count(area, area.range.pages(), usize::wrapping_sub))
    }

    /// Unmaps `range`. The caller drops what is returned after the lock: objects may go with it. ENOMEM when that would
    /// leave too many areas.
    pub(super) fn remove(&mut self, range: PageRange) -> Result<Taken, Errno> {
        let first = self.areas.find_ending_after(range.start()).filter(|area| area.range.start() < range.end());
        let Some(first) = first else { return Ok(Taken::default()) };
        let old = first.range;
        let removed = if !old.contains_range(range) {
            self.take_areas(range)
        } else if old.start() < range.start() && range.end() < old.end() {
            self.check_area_count(1)?;
            self.take_areas(range)
        } else {
            self.usage.count(first, range.pages(), usize::wrapping_sub);
            self.unpack(range);
            self.shorten(old, range)
        };
        self.forget_calls(range);
        self.drop_pages(range);
        Ok(removed)
    }

    /// Takes `range` off one end, or both, of the area that has the range `old`.
    fn shorten(&mut self, old: PageRange, range: PageRange) -> Taken {
        if old == range {
            let mut taken = Taken::default();
            self.areas.take_one(range.start()).into_iter().for_each(|area| taken.push(area));
            return taken;
        }
        self.areas.modify(range.start(), |area| {
            if old.start() == range.start() {
                area.move_start(range.end());
            } else {
                area.move_end(range.start());
            }
        });
        Taken::default()
    }

    /// Changes the area of `part`, which lies in one area, by `change`; what is beyond `part` stays an area of the old kind.
    pub(super) fn change_area(&mut self, part: PageRange, change: impl Fn(&mut Area)) {
        let Some(area) = self.areas.find(part.start()) else { return };
        debug_assert!(area.range.contains_range(part), "the part lies in one area");
        let old = area.range;
        let mut changed = area.clone();
        changed.move_end(part.end());
        changed.move_start(part.start());
        change(&mut changed);
        self.usage.count(area, part.pages(), usize::wrapping_sub);
        if old == part && !self.merges(&changed) {
            self.usage.count(&changed, part.pages(), usize::wrapping_add);
            self.areas.modify(part.start(), change);
            return;
        }
        match (old.start() < part.start(), part.end() < old.end()) {
            (false, false) => drop(self.areas.take_one(part.start())),
            (true, false) => {
                self.areas.modify(part.start(), |area| area.move_end(part.start()));
            }
            (false, true) => {
                self.areas.modify(part.start(), |area| area.move_start(part.end()));
            }
            (true, true) => {
                let upper = self.areas.modify(part.start(), |area| {
                    let upper = area.split_off(part.end());
                    area.move_end(part.start());
                    upper
                });
                if let Some(upper) = upper {
                    self.areas.insert(upper);
                }
            }
        }
        // The part is free only for this moment.
        let packed_from = self.packed_from;
        self.insert_area(changed);
        self.packed_from = packed_from;
    }

    /// Whether the area that has the range of `area` is to become one with a neighbour when it has become `area`.
    fn merges(&self, area: &Area) -> bool {
        let (below, above) = self.areas.neighbours(area.range.start());
        below.is_some_and(|below| below.continues_with(area)) || above.is_some_and(|above| area.continues_with(above))
    }

    /// Notes that `range` may be free from now on.
    fn unpack(&mut self, range: PageRange) {
        if range.start() < self.layout.mmap_base {
            self.packed_from = self.packed_from.max(range.end().min(self.layout.mmap_base));
        }
    }

    /// Drops the pages of `range`, not its areas.
    pub(super) fn drop_pages(&mut self, range: PageRange) {
        let removed = self.page_table.unmap_range(range);
        self.count_removed(removed);
    }

    /// Counts a page in that has been mapped.
    pub(super) fn count_mapped(&mut self, kind: PageKind) {
        match kind {
            PageKind::Zero => {}
            PageKind::Anonymous => self.usage.resident_anonymous += 1,
            PageKind::File => self.usage.resident_file += 1,
            PageKind::Shared => self.usage.resident_shared += 1,
        }
    }

    /// Counts one page out.
    pub(super) fn count_unmapped(&mut self, kind: PageKind) {
        let mut counts = PageCounts::default();
        counts.add(kind);
        self.count_removed(counts);
    }

    /// Counts pages out that have been removed.
    pub(super) fn count_removed(&mut self, removed: PageCounts) {
        let usage = &mut self.usage;
        usage.resident_max = usage.resident_max.max(usage.resident());
        debug_assert!(removed.anonymous <= usage.resident_anonymous, "more pages removed than mapped");
        usage.resident_anonymous = usage.resident_anonymous.saturating_sub(removed.anonymous);
        usage.resident_file = usage.resident_file.saturating_sub(removed.file);
        usage.resident_shared = usage.resident_shared.saturating_sub(removed.shared);
    }

    /// True when `pages` more pages of this kind keep the limits (Linux's `may_expand_vm`).
    pub(super) fn may_grow(&self, rights: Rights, flags: AreaFlags, pages: usize) -> bool {
        let fits = |used: usize, limit: u64| used.saturating_add(pages) as u64 <= limit >> PAGE_SHIFT;
        let is_data = rights.contains(Rights::WRITE) && !flags.intersects(AreaFlags::SHARED | AreaFlags::GROWS_DOWN);
        fits(self.usage.mapped, self.limits.address_space) && (!is_data || fits(self.usage.data, self.limits.data))
    }

    /// ENOMEM for private writable memory that can never be had: more than there is (the heuristic of
    /// Linux's overcommit mode 0).
    pub(super) fn check_overcommit(&self, rights: Rights, flags: AreaFlags, pages: usize) -> Result<(), Errno> {
        let is_counted = rights.contains(Rights::WRITE) && !flags.intersects(AreaFlags::SHARED | AreaFlags::NORESERVE);
        if is_counted { self.check_memory(pages) } else { Ok(()) }
    }

    /// ENOMEM for more pages than there is memory.
    pub(super) fn check_memory(&self, pages: usize) -> Result<(), Errno> {
        if pages as u64 > self.frames_total { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// ENOMEM when `more` areas more would be too many.
    pub(super) fn check_area_count(&self, more: usize) -> Result<(), Errno> {
        if self.areas.len() + more > AREA_COUNT_MAX { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// The pages of `range` that are mapped.
    pub(super) fn mapped_pages_in(&self, range: PageRange) -> usize {
        self.areas.overlapping(range).map(|area| area.range.intersection(range).pages()).sum()
    }

    /// The pages of `range` that are locked.
    pub(super) fn locked_pages_in(&self, range: PageRange) -> usize {
        let locked = self.areas.overlapping(range).filter(|area| area.is_locked());
        locked.map(|area| area.range.intersection(range).pages()).sum()
    }
}

impl Usage {
    /// Counts `pages` pages of an area in or out.
    pub(super) fn count(&mut self, area: &Area, pages: usize, change: fn(usize, usize) -> usize) {
        if area.is_stubs() {
            return;
        }
        self.mapped_max = self.mapped_max.max(self.mapped);
        self.mapped = change(self.mapped, pages);
        if area.is_locked() {
            self.locked = change(self.locked, pages);
        }
        let is_writable = area.rights.contains(Rights::WRITE);
        if area.is_stack() {
            self.stack = change(self.stack, pages);
        } else if is_writable && !area.is_shared() {
            self.data = change(self.data, pages);
        } else if !is_writable && area.rights.contains(Rights::EXECUTE) {
            self.executable = change(self.executable, pages);
        }
    }
}

impl State {
    /// Removes everything. The caller drops what is returned after the lock.
    fn remove_everything(&mut self) -> Taken {
        let everything = PageRange::new(0, USER_END);
        let removed = self.take_areas(everything);
        self.drop_pages(everything);
        self.heap = Heap::default();
        self.rewritten.clear();
        removed
    }
}

impl Drop for AddressSpace {
    /// Without a lock, as nobody else has it; and without an end of a file, if it was cleared before.
    fn drop(&mut self) {
        let removed = self.state.get_mut().remove_everything();
        drop(removed);
    }
}

impl AddressSpace {
    /// Removes everything (exec, exit). Who gives an address space up does this before, while it may sleep: the last reference may
    /// be that of somebody who must not ([`Mappings`](crate::object::Mappings)).
    pub fn clear(&self) {
        let mut state = self.state();
        let removed = state.remove_everything();
        drop(state);
        // The objects' last references may go here, which may sleep.
        drop(removed);
        leaving::settle();
    }

    /// Whether nothing is mapped.
    pub(crate) fn is_cleared(&mut self) -> bool {
        self.state.get_mut().areas.len() == 0
    }
}
