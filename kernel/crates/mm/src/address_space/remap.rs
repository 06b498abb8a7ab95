//! mremap.

use alloc::vec::Vec;

use abi::{Errno, MremapFlags};

use super::AREA_COUNT_MAX;
use super::AddressSpace;
use super::request::MapOptions;
use super::state::State;
use crate::area::map::Taken;
use crate::area::{Area, AreaFlags, Origin};
use crate::object::leaving;
use crate::range::{PageRange, is_page_aligned, page_up};
use crate::{PAGE_SHIFT, PAGE_SIZE, USER_END};

/// Areas that a move may add; Linux keeps the same distance.
const MOVE_AREAS: usize = 3;

/// The arguments of mremap, checked, with lengths in whole pages.
#[derive(Clone, Copy)]
struct Remap {
    old_address: usize,
    old_len: usize,
    new_len: usize,
    flags: MremapFlags,
    new_address: usize,
}

/// What an mremap did.
#[derive(Default)]
struct Remapped {
    address: usize,
    /// New pages of a locked area, to page in.
    locked: Option<PageRange>,
    /// Areas removed, to be dropped after the mutex.
    removed: Vec<Taken>,
}

impl AddressSpace {
    /// mremap. Returns the new address.
    pub fn remap(
        &self,
        old_address: usize,
        old_length: usize,
        new_length: usize,
        flags: MremapFlags,
        new_address: usize,
    ) -> Result<usize, Errno> {
        let may_move = flags.contains(MremapFlags::MAYMOVE);
        let keeps_old = flags.contains(MremapFlags::DONTUNMAP);
        if !MremapFlags::all().contains(flags)
            || (flags.contains(MremapFlags::FIXED) && !may_move)
            || (keeps_old && !may_move)
            || !is_page_aligned(old_address)
        {
            return Err(Errno::EINVAL);
        }
        let old_len = page_up(old_length).ok_or(Errno::EINVAL)?;
        let new_len = page_up(new_length).filter(|len| *len > 0 && *len <= USER_END).ok_or(Errno::EINVAL)?;
        if keeps_old && old_len != new_len {
            return Err(Errno::EINVAL);
        }
        let remap = Remap { old_address, old_len, new_len, flags, new_address };

        let mut done = Remapped::default();
        let mut state = self.state();
        let result = state.remap(remap, &mut done);
        drop(state);
        let Remapped { address, locked, removed } = done;
        drop(removed);
        leaving::settle();
        result?;
        if let Some(range) = locked {
            let _ = self.populate(range);
        }
        Ok(address)
    }
}

impl Remap {
    /// EINVAL for a new place that can never be used.
    fn check_target(&self) -> Result<(), Errno> {
        let Self { new_address, new_len, .. } = *self;
        if !is_page_aligned(new_address) || new_address > USER_END - new_len {
            return Err(Errno::EINVAL);
        }
        let old_end = self.old_address.checked_add(self.old_len).ok_or(Errno::EINVAL)?;
        let overlaps = old_end > new_address && new_address + new_len > self.old_address;
        if overlaps { Err(Errno::EINVAL) } else { Ok(()) }
    }
}

impl State {
    fn remap(&mut self, remap: Remap, done: &mut Remapped) -> Result<(), Errno> {
        let Remap { old_address, old_len, new_len, flags, .. } = remap;
        self.check_sealed(PageRange::new(old_address, old_address.saturating_add(old_len)))?;
        let is_placed = flags.intersects(MremapFlags::FIXED | MremapFlags::DONTUNMAP);
        if is_placed {
            remap.check_target()?;
        }
        let area_end = self.areas.find(old_address).ok_or(Errno::EFAULT)?.range.end();
        if is_placed {
            return self.remap_to(remap, done);
        }
        done.address = old_address;
        if old_len >= new_len {
            return self.remove_tail(old_address, new_len, old_len, done);
        }
        self.check_resize(remap)?;
        if area_end - old_address == old_len && self.extend(remap, done)? {
            return Ok(());
        }
        if !flags.contains(MremapFlags::MAYMOVE) {
            return Err(Errno::ENOMEM);
        }
        let new = self.place(0, new_len, MapOptions::empty())?;
        self.move_area(remap, new, done)
    }

    /// Unmaps what is beyond `new_len` bytes of `old_len`.
    fn remove_tail(&mut self, start: usize, new_len: usize, old_len: usize, done: &mut Remapped) -> Result<(), Errno> {
        if old_len > new_len {
            if old_len > USER_END - start {
                return Err(Errno::EINVAL);
            }
            done.removed.push(self.remove(PageRange::new(start + new_len, start + old_len))?);
        }
        Ok(())
    }

    /// Moves to a given address, or with MREMAP_DONTUNMAP to any.
    fn remap_to(&mut self, remap: Remap, done: &mut Remapped) -> Result<(), Errno> {
        let Remap { old_address, new_address, new_len, flags, .. } = remap;
        if self.areas.len() + 2 >= AREA_COUNT_MAX - MOVE_AREAS {
            return Err(Errno::ENOMEM);
        }
        // What is beyond the new length is unmapped, not moved: it may have holes.
        let kept = Remap { old_len: remap.old_len.min(new_len), ..remap };
        let area = self.check_resize(kept)?;
        let (rights, area_flags) = (area.rights, area.flags);
        let is_fixed = flags.contains(MremapFlags::FIXED);
        let options = if is_fixed { MapOptions::FIXED } else { MapOptions::empty() };
        if is_fixed {
            let target = self.place(new_address, new_len, options)?;
            self.check_sealed(target)?;
            done.removed.push(self.remove(target)?);
        }
        self.remove_tail(old_address, new_len, remap.old_len, done)?;
        if flags.contains(MremapFlags::DONTUNMAP) && !self.may_grow(rights, area_flags, new_len / PAGE_SIZE) {
            return Err(Errno::ENOMEM);
        }
        let new = self.place(new_address, new_len, options)?;
        self.move_area(kept, new, done)
    }

    /// The checks on a mapping that changes its size (Linux's `vma_to_resize`). Returns its area.
    fn check_resize(&self, remap: Remap) -> Result<&Area, Errno> {
        let Remap { old_address, old_len, new_len, .. } = remap;
        let area = self.areas.find(old_address).ok_or(Errno::EFAULT)?;
        if old_len == 0 && !area.is_shared() {
            return Err(Errno::EINVAL);
        }
        if old_len > area.range.end() - old_address {
            return Err(Errno::EFAULT);
        }
        if new_len == old_len {
            return Ok(area);
        }
        if let Some((_, first)) = area.object_page(old_address) {
            let end = first.checked_add((new_len / PAGE_SIZE) as u64);
            end.filter(|end| *end <= u64::MAX >> PAGE_SHIFT).ok_or(Errno::EINVAL)?;
        }
        let more = (new_len - old_len) / PAGE_SIZE;
        if area.is_locked() && !self.may_lock(more) {
            return Err(Errno::EAGAIN);
        }
        if !self.may_grow(area.rights, area.flags, more) {
            return Err(Errno::ENOMEM);
        }
        Ok(area)
    }

    /// Grows the area in place, if there is room. The old range ends where the area ends.
    fn extend(&mut self, remap: Remap, done: &mut Remapped) -> Result<bool, Errno> {
        let old_end = remap.old_address + remap.old_len;
        let Some(new_end) = remap.old_address.checked_add(remap.new_len).filter(|end| *end <= USER_END) else {
            return Ok(false);
        };
        let range = PageRange::new(old_end, new_end);
        if !self.areas.is_free(range) {
            return Ok(false);
        }
        let area = self.areas.find(remap.old_address).ok_or(Errno::EFAULT)?;
        self.check_overcommit(area.rights, area.flags, range.pages())?;
        if area.is_locked() {
            done.locked = Some(range);
        }
        let mut more = area.clone();
        // Moves the origin along; what comes out begins where the area ends.
        more.move_end(new_end);
        more.move_start(old_end);
        self.insert_area(more);
        Ok(true)
    }

    /// Moves the pages of the old range, and the area around them, to `new`.
    fn move_area(&mut self, remap: Remap, new: PageRange, done: &mut Remapped) -> Result<(), Errno> {
        if self.areas.len() >= AREA_COUNT_MAX - MOVE_AREAS {
            return Err(Errno::ENOMEM);
        }
        let old = PageRange::new(remap.old_address, remap.old_address + remap.old_len);
        let mut area = self.areas.find(old.start()).ok_or(Errno::EFAULT)?.clone();
        self.check_overcommit(area.rights, area.flags, new.pages())?;
        if !old.is_empty() {
            self.restore_calls(old)?;
            self.page_table.move_range(old, new.start())?;
        }
        if remap.flags.contains(MremapFlags::DONTUNMAP) {
            let locked = AreaFlags::LOCKED | AreaFlags::LOCK_ON_FAULT;
            self.change_flags(area.range, locked, AreaFlags::empty())?;
        } else if !old.is_empty() {
            done.removed.push(self.take_areas(old));
        }
        if area.is_locked() && new.len() > old.len() {
            done.locked = Some(PageRange::new(new.start() + old.len(), new.end()));
        }
        if let Origin::Object { first_page, .. } = &mut area.origin {
            *first_page += ((old.start() - area.range.start()) / PAGE_SIZE) as u64;
        }
        area.range = new;
        self.insert_area(area);
        done.address = new.start();
        Ok(())
    }
}
