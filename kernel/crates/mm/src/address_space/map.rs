//! mmap.

use alloc::sync::Arc;

use abi::Errno;
use sync::atomic::Ordering::Release;

use super::AddressSpace;
use super::request::{Backing, MapOptions, MapRequest, Sharing};
use super::state::State;
use crate::area::map::Taken;
use crate::area::{Area, AreaFlags, Origin};
use crate::object::{SharedMemory, leaving};
use crate::page_table::Rights;
use crate::range::{PageRange, page_up};
use crate::{PAGE_SHIFT, PAGE_SIZE};

/// The most pages of a file: its length is a positive `i64`.
const FILE_PAGES_MAX: u64 = i64::MAX as u64 >> PAGE_SHIFT;

impl AddressSpace {
    /// mmap. Returns the address.
    pub fn map(&self, request: MapRequest) -> Result<usize, Errno> {
        let first_page = request.check_offset()?;
        if request.length == 0 {
            return Err(Errno::EINVAL);
        }
        let len = page_up(request.length).ok_or(Errno::ENOMEM)?;
        let pages = len / PAGE_SIZE;

        let replaced;
        let mut state = self.state();
        state.check_area_count(0)?;
        let range = state.place(request.address, len, request.options)?;
        if request.options.contains(MapOptions::FIXED_NOREPLACE) && !state.areas.is_free(range) {
            return Err(Errno::EEXIST);
        }
        state.check_sealed(range)?;
        let mut flags = request.flags();
        if !flags.contains(AreaFlags::DROPPABLE) {
            flags |= state.lock_future.flags();
        }
        if flags.contains(AreaFlags::LOCKED) {
            state.check_map_locked(request.options.contains(MapOptions::LOCKED), pages)?;
        }
        first_page.checked_add(pages as u64).filter(|end| *end <= FILE_PAGES_MAX).ok_or(Errno::EOVERFLOW)?;
        let rights_max = request.rights_max()?;
        state.check_map_limits(&request, flags, range)?;
        let origin = self.origin(&state, &request, first_page, pages)?;
        if flags.contains(AreaFlags::SHARED) && rights_max.contains(Rights::WRITE) {
            self.has_shared.store(true, Release);
        }

        replaced = if request.options.contains(MapOptions::FIXED) { state.remove(range)? } else { Taken::default() };
        state.insert_area(Area { range, rights: request.rights, rights_max, flags, origin });
        drop(state);
        drop(replaced);
        leaving::settle();

        let populates = request.options.contains(MapOptions::POPULATE)
            || (flags.contains(AreaFlags::LOCKED) && !flags.contains(AreaFlags::LOCK_ON_FAULT));
        if populates {
            // As on Linux, the mapping stands even if not every page can be had.
            let _ = self.populate(range);
        }
        Ok(range.start())
    }

    /// Where the pages of the new area come from. Notes this address space with the object.
    fn origin(&self, state: &State, request: &MapRequest, first_page: u64, pages: usize) -> Result<Origin, Errno> {
        let (object, first_page) = match &request.backing {
            Backing::Anonymous if request.sharing == Sharing::Private => return Ok(Origin::Anonymous),
            Backing::Anonymous => {
                if !request.options.contains(MapOptions::NORESERVE) {
                    state.check_memory(pages)?;
                }
                (Arc::new(SharedMemory::new(pages as u64)) as Arc<_>, 0)
            }
            Backing::File { object, .. } => (object.clone(), first_page),
        };
        if let Some(mappings) = object.mappings() {
            mappings.add(&self.this);
        }
        Ok(Origin::Object { object, first_page })
    }
}

impl MapRequest {
    /// The index of the first page in the file.
    fn check_offset(&self) -> Result<u64, Errno> {
        match self.backing {
            Backing::Anonymous => Ok(0),
            Backing::File { offset, .. } if offset.is_multiple_of(PAGE_SIZE as u64) => Ok(offset >> PAGE_SHIFT),
            Backing::File { .. } => Err(Errno::EINVAL),
        }
    }

    fn flags(&self) -> AreaFlags {
        let mut flags = AreaFlags::empty();
        flags.set(AreaFlags::SHARED, self.sharing == Sharing::Shared);
        flags.set(AreaFlags::GROWS_DOWN, self.options.contains(MapOptions::GROWS_DOWN));
        flags.set(AreaFlags::NORESERVE, self.options.contains(MapOptions::NORESERVE));
        flags.set(AreaFlags::LOCKED, self.options.contains(MapOptions::LOCKED));
        if self.options.contains(MapOptions::DROPPABLE) {
            let kept_nowhere = AreaFlags::NORESERVE | AreaFlags::WIPE_ON_FORK | AreaFlags::DONT_DUMP;
            flags |= AreaFlags::DROPPABLE | kept_nowhere;
        }
        flags
    }

    /// What the program may ever be allowed to do with the mapping.
    fn rights_max(&self) -> Result<Rights, Errno> {
        let is_shared = self.sharing == Sharing::Shared;
        if self.options.contains(MapOptions::FINAL_RIGHTS) {
            return Ok(self.rights);
        }
        let Backing::File { access, .. } = self.backing else {
            let is_shared_stack = is_shared && self.options.contains(MapOptions::GROWS_DOWN);
            return if is_shared_stack { Err(Errno::EINVAL) } else { Ok(Rights::all()) };
        };
        if is_shared && self.rights.contains(Rights::WRITE) && !access.contains(Rights::WRITE) {
            return Err(Errno::EACCES);
        }
        if !access.contains(Rights::READ) {
            return Err(Errno::EACCES);
        }
        if self.rights.contains(Rights::EXECUTE) && !access.contains(Rights::EXECUTE) {
            return Err(Errno::EPERM);
        }
        if self.options.contains(MapOptions::GROWS_DOWN) {
            return Err(Errno::EINVAL);
        }
        Ok(if is_shared { access } else { access | Rights::WRITE })
    }
}

impl State {
    /// The limits on size and memory. What is replaced does not count.
    fn check_map_limits(&self, request: &MapRequest, flags: AreaFlags, range: PageRange) -> Result<(), Errno> {
        let pages = range.pages();
        if !self.may_grow(request.rights, flags, pages) {
            let replaced = self.mapped_pages_in(range);
            if !self.may_grow(request.rights, flags, pages - replaced) {
                return Err(Errno::ENOMEM);
            }
        }
        self.check_overcommit(request.rights, flags, pages)
    }
}
