//! mlock and its family. Nothing is ever swapped out, so locking means counting against the limit and
//! paging in.

use abi::{Errno, MlockallFlags};

use super::AddressSpace;
use super::request::FaultError;
use super::state::State;
use crate::area::AreaFlags;
use crate::range::{PageRange, page_down};
use crate::{PAGE_SIZE, USER_END};

/// What mlockall asked for mappings to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FutureLock {
    /// Nothing.
    None,
    /// MCL_FUTURE.
    Populate,
    /// MCL_FUTURE | MCL_ONFAULT.
    OnFault,
}

impl FutureLock {
    /// The flags of a new area.
    pub(super) fn flags(self) -> AreaFlags {
        match self {
            Self::None => AreaFlags::empty(),
            Self::Populate => AreaFlags::LOCKED,
            Self::OnFault => AreaFlags::LOCKED | AreaFlags::LOCK_ON_FAULT,
        }
    }

    /// Whether new areas are paged in.
    pub(super) fn populates(self) -> bool {
        self == Self::Populate
    }
}

impl AddressSpace {
    /// mlock, and with `on_fault` mlock2(MLOCK_ONFAULT).
    pub fn lock(&self, address: usize, length: usize, on_fault: bool) -> Result<(), Errno> {
        let mut state = self.state();
        state.check_can_lock()?;
        let pages = locked_len(address, length) / PAGE_SIZE;
        let range = lock_range(address, length);
        if !state.may_lock(pages) {
            let locked_already = range.map_or(0, |range| state.locked_pages_in(range));
            if !state.may_lock(pages - locked_already) {
                return Err(Errno::ENOMEM);
            }
        }
        let range = range?;
        let lock = if on_fault { FutureLock::OnFault } else { FutureLock::Populate };
        state.change_lock(range, lock.flags())?;
        drop(state);
        if on_fault {
            return Ok(());
        }
        self.populate(range).map_err(|error| match error {
            FaultError::OutOfMemory => Errno::EAGAIN,
            FaultError::Unmapped | FaultError::Rights | FaultError::BeyondEnd => Errno::ENOMEM,
        })
    }

    /// munlock.
    pub fn unlock(&self, address: usize, length: usize) -> Result<(), Errno> {
        let range = lock_range(address, length)?;
        self.state().change_lock(range, AreaFlags::empty())
    }

    /// mlockall.
    pub fn lock_all(&self, flags: MlockallFlags) -> Result<(), Errno> {
        if flags.is_empty() || !MlockallFlags::all().contains(flags) || flags == MlockallFlags::ONFAULT {
            return Err(Errno::EINVAL);
        }
        let mut state = self.state();
        state.check_can_lock()?;
        let is_current = flags.contains(MlockallFlags::CURRENT);
        let total = state.usage.mapped;
        if is_current && !state.limits.may_lock_any && (total * PAGE_SIZE) as u64 > state.limits.locked {
            return Err(Errno::ENOMEM);
        }
        let lock = if flags.contains(MlockallFlags::ONFAULT) { FutureLock::OnFault } else { FutureLock::Populate };
        state.lock_future = if flags.contains(MlockallFlags::FUTURE) { lock } else { FutureLock::None };
        if !is_current {
            return Ok(());
        }
        state.change_lock_all(lock.flags());
        drop(state);
        if lock.populates() {
            // What cannot be had is no error here.
            self.populate_areas();
        }
        Ok(())
    }

    /// munlockall.
    pub fn unlock_all(&self) {
        let mut state = self.state();
        state.lock_future = FutureLock::None;
        state.change_lock_all(AreaFlags::empty());
    }

    /// Pages in all areas, one by one.
    fn populate_areas(&self) {
        let mut at = 0;
        loop {
            let area = self.state().areas.find_ending_after(at).map(|area| area.range);
            let Some(range) = area else { return };
            at = range.end();
            let _ = self.populate(range);
        }
    }
}

/// The length of the pages that the bytes of a lock call touch. One so large that rounding wraps is 0, as on Linux.
fn locked_len(address: usize, length: usize) -> usize {
    page_down(length.wrapping_add(address - page_down(address)).wrapping_add(PAGE_SIZE - 1))
}

/// The pages that the bytes of a lock call touch. EINVAL when they pass the end of the address space.
fn lock_range(address: usize, length: usize) -> Result<PageRange, Errno> {
    PageRange::from_length(page_down(address), locked_len(address, length)).ok_or(Errno::EINVAL)
}

impl State {
    /// EPERM for who may not lock at all.
    fn check_can_lock(&self) -> Result<(), Errno> {
        if self.limits.may_lock_any || self.limits.locked > 0 { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// True when `pages` more pages may be locked.
    pub(super) fn may_lock(&self, pages: usize) -> bool {
        let bytes = self.usage.locked.checked_add(pages).and_then(|sum| sum.checked_mul(PAGE_SIZE));
        self.limits.may_lock_any || bytes.is_some_and(|bytes| bytes as u64 <= self.limits.locked)
    }

    /// The checks of a mapping that will be locked. `is_explicit`: by MAP_LOCKED.
    pub(super) fn check_map_locked(&self, is_explicit: bool, pages: usize) -> Result<(), Errno> {
        if is_explicit {
            self.check_can_lock()?;
        }
        if self.may_lock(pages) { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// Gives the areas of `range` these lock flags, up to the first hole (ENOMEM).
    fn change_lock(&mut self, range: PageRange, lock: AreaFlags) -> Result<(), Errno> {
        let mut at = range.start();
        while at < range.end() {
            let area = self.areas.find(at).filter(|_| at < USER_END).ok_or(Errno::ENOMEM)?;
            let part = PageRange::new(at, area.range.end().min(range.end()));
            // As on Linux, who locks memory that may vanish is not told that it may.
            if !area.flags.intersects(AreaFlags::DROPPABLE | AreaFlags::STUBS) {
                self.change_flags(part, AreaFlags::LOCKED | AreaFlags::LOCK_ON_FAULT, lock)?;
            }
            at = part.end();
        }
        Ok(())
    }

    /// Gives all areas these lock flags.
    fn change_lock_all(&mut self, lock: AreaFlags) {
        let mut at = 0;
        while let Some(area) = self.areas.find_ending_after(at) {
            let range = area.range;
            if !area.flags.intersects(AreaFlags::DROPPABLE | AreaFlags::STUBS) {
                // Whole areas: no cut, so no failure.
                let _ = self.change_flags(range, AreaFlags::LOCKED | AreaFlags::LOCK_ON_FAULT, lock);
            }
            at = range.end();
        }
    }

    /// In `part`, which lies in one area, sets the flags of `mask` to `flags`.
    pub(super) fn change_flags(&mut self, part: PageRange, mask: AreaFlags, flags: AreaFlags) -> Result<(), Errno> {
        let area = self.areas.find(part.start()).ok_or(Errno::ENOMEM)?;
        if area.flags & mask == flags {
            return Ok(());
        }
        let cuts = usize::from(area.range.start() < part.start()) + usize::from(part.end() < area.range.end());
        if cuts > 0 {
            self.check_area_count(cuts)?;
        }
        self.change_area(part, |area| area.flags = (area.flags - mask) | flags);
        Ok(())
    }
}
