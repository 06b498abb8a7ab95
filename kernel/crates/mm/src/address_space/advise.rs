//! madvise.
//!
//! What the advice does here:
//! - DONTNEED, DONTNEED_LOCKED: pages go at once; the next access finds zeroes or the file's contents.
//! - FREE: the same. Linux waits for memory pressure; a program may not rely on either.
//! - REMOVE: the object punches a hole.
//! - DONTFORK, DOFORK, WIPEONFORK, KEEPONFORK, DONTDUMP, DODUMP: noted in the area.
//! - RANDOM: noted in the area, which gets no pages ahead of use (`ahead.rs`); NORMAL, SEQUENTIAL: no longer.
//! - POPULATE_READ, POPULATE_WRITE: pages are paged in.
//! - WILLNEED, MERGEABLE, UNMERGEABLE, HUGEPAGE, NOHUGEPAGE, COLD, PAGEOUT: hints. Checked as Linux checks them, then
//!   without effect.
//! - All others are EINVAL.

use abi::{Errno, mman};

use super::AddressSpace;
use super::populate::Touch;
use super::state::State;
use crate::area::{Area, AreaFlags};
use crate::page_table::Rights;
use crate::range::{PageRange, is_page_aligned, page_up};

/// What to do with each part of an area.
#[derive(Clone, Copy)]
enum Action {
    /// Nothing.
    Hint,
    /// Nothing, but not where memory is locked.
    ReclaimHint,
    /// Drop the pages.
    Drop { even_locked: bool, only_anonymous: bool },
    /// Set these flags to this.
    Flags { mask: AreaFlags, flags: AreaFlags },
    /// As `Flags`, but only for private anonymous memory.
    WipeOnFork,
    /// Punch a hole in the object.
    Remove,
    /// Page in.
    Populate(Touch),
}

impl AddressSpace {
    /// madvise. The parts that are mapped are treated even if there are holes (ENOMEM).
    pub fn advise(&self, address: usize, length: usize, advice: u32) -> Result<(), Errno> {
        let action = action(advice).ok_or(Errno::EINVAL)?;
        if !is_page_aligned(address) {
            return Err(Errno::EINVAL);
        }
        let len = page_up(length).ok_or(Errno::EINVAL)?;
        let range = PageRange::from_length(address, len).ok_or(Errno::EINVAL)?;
        match action {
            Action::Populate(touch) => self.advise_populate(range, touch),
            Action::Remove => self.advise_remove(range),
            action => self.state().advise(range, action),
        }
    }

    /// MADV_REMOVE: the object punches the hole, which takes the pages away from every mapping.
    fn advise_remove(&self, range: PageRange) -> Result<(), Errno> {
        let mut at = range.start();
        let mut result = Ok(());
        while at < range.end() {
            let state = self.state();
            let area = state.areas.find_ending_after(at).filter(|area| area.range.start() < range.end());
            let Some(area) = area else { return Err(Errno::ENOMEM) };
            if area.range.start() > at {
                result = Err(Errno::ENOMEM);
            }
            let part = area.range.intersection(PageRange::new(at, range.end()));
            let (object, first) = area.object_page(part.start()).filter(|_| !area.is_locked()).ok_or(Errno::EINVAL)?;
            if !area.is_shared() || !area.rights_max.contains(Rights::WRITE) {
                return Err(Errno::EACCES);
            }
            let object = object.clone();
            drop(state);
            object.remove_pages(first, first + part.pages() as u64)?;
            at = part.end();
        }
        result
    }
}

impl State {
    /// Does `action` with every area of `range`.
    fn advise(&mut self, range: PageRange, action: Action) -> Result<(), Errno> {
        let mut at = range.start();
        let mut result = Ok(());
        while at < range.end() {
            let area = self.areas.find_ending_after(at).filter(|area| area.range.start() < range.end());
            let Some(area) = area else { return Err(Errno::ENOMEM) };
            if area.range.start() > at {
                result = Err(Errno::ENOMEM);
            }
            let part = area.range.intersection(PageRange::new(at, range.end()));
            if area.is_stubs() && !matches!(action, Action::Hint | Action::Populate(_)) {
                return Err(Errno::EPERM);
            }
            check(area, action)?;
            match action {
                Action::Drop { .. } => self.drop_pages(part),
                Action::Flags { mask, flags } => self.change_flags(part, mask, flags)?,
                Action::WipeOnFork => self.change_flags(part, AreaFlags::WIPE_ON_FORK, AreaFlags::WIPE_ON_FORK)?,
                Action::Hint | Action::ReclaimHint | Action::Remove | Action::Populate(_) => {}
            }
            at = part.end();
        }
        result
    }
}

/// EINVAL when the area is not of the kind that the action is for.
fn check(area: &Area, action: Action) -> Result<(), Errno> {
    let is_right_kind = match action {
        Action::Drop { even_locked, only_anonymous } => {
            (even_locked || !area.is_locked()) && (!only_anonymous || area.is_anonymous())
        }
        Action::ReclaimHint => !area.is_locked(),
        Action::WipeOnFork => area.is_anonymous(),
        // Memory that may vanish stays what it is.
        Action::Flags { mask, flags } => {
            let essential = AreaFlags::WIPE_ON_FORK | AreaFlags::DONT_DUMP;
            !area.flags.contains(AreaFlags::DROPPABLE) || !mask.intersects(essential) || mask == flags
        }
        Action::Hint | Action::Remove | Action::Populate(_) => true,
    };
    if is_right_kind { Ok(()) } else { Err(Errno::EINVAL) }
}

/// What the advice asks for. None: unknown.
fn action(advice: u32) -> Option<Action> {
    let set = |flag| Action::Flags { mask: flag, flags: flag };
    let clear = |flag| Action::Flags { mask: flag, flags: AreaFlags::empty() };
    Some(match advice {
        mman::MADV_NORMAL | mman::MADV_SEQUENTIAL => clear(AreaFlags::RANDOM),
        mman::MADV_RANDOM => set(AreaFlags::RANDOM),
        mman::MADV_WILLNEED
        | mman::MADV_MERGEABLE
        | mman::MADV_UNMERGEABLE
        | mman::MADV_HUGEPAGE
        | mman::MADV_NOHUGEPAGE => Action::Hint,
        mman::MADV_COLD | mman::MADV_PAGEOUT => Action::ReclaimHint,
        mman::MADV_DONTNEED => Action::Drop { even_locked: false, only_anonymous: false },
        mman::MADV_DONTNEED_LOCKED => Action::Drop { even_locked: true, only_anonymous: false },
        mman::MADV_FREE => Action::Drop { even_locked: false, only_anonymous: true },
        mman::MADV_REMOVE => Action::Remove,
        mman::MADV_DONTFORK => set(AreaFlags::DONT_FORK),
        mman::MADV_DOFORK => clear(AreaFlags::DONT_FORK),
        mman::MADV_WIPEONFORK => Action::WipeOnFork,
        mman::MADV_KEEPONFORK => clear(AreaFlags::WIPE_ON_FORK),
        mman::MADV_DONTDUMP => set(AreaFlags::DONT_DUMP),
        mman::MADV_DODUMP => clear(AreaFlags::DONT_DUMP),
        mman::MADV_POPULATE_READ => Action::Populate(Touch::Read),
        mman::MADV_POPULATE_WRITE => Action::Populate(Touch::Write),
        _ => return None,
    })
}
