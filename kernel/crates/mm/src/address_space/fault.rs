//! Page faults.
//!
//! 1. Anonymous memory. A load of a missing page maps the zero page, a store a new frame. One look at the
//!    areas, one at the page table, one new entry: the common case, and nothing is allocated but
//!    the frame and, rarely, a table page. Stores to one page after the other get some ahead (`ahead.rs`).
//! 2. Objects. Asking for a page may sleep, so [`State::fault`] only says that there is something to [`Fetch`];
//!    [`AddressSpace::fault`] fetches it without the mutex, locks again and installs the page if area, object and
//!    page still belong together and the object took no page away since. Otherwise it starts over.
//! 3. Present entries. A store to one that is not writable copies the frame, unless the entry
//!    is the frame's only owner. An access the entry allows is no fault any more: another
//!    thread was faster.
//! 4. Stacks grow here, when the address lies below one.
//! 5. Memory. A fault holds no lock when it fails for want of a frame, or of a page of the tables, so it may wait for memory
//!    ([`crate::reclaim`]) and starts over. It gives up when there is nothing left to be given back.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;

use super::AddressSpace;
use super::code;
use super::request::{Access, FaultError, FaultKind};
use super::state::State;
use crate::area::{Area, STACK_GUARD_GAP, is_same_object};
use crate::frame::{self, Frame};
use crate::object::{CodeSite, MappedObject, leaving};
use crate::page_table::{PageEntry, PageKind, Rights};
use crate::range::page_down;
use crate::reclaim;
use crate::{PAGE_SIZE, USER_START};

/// What is left to do for a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing.
    Done,
    /// Nothing; the page is new, for a store.
    Stored,
    /// The page of an object must be fetched, without the mutex.
    Fetch,
}

/// A page that a fault needs from an object.
pub(super) struct Fetch {
    object: Arc<dyn MappedObject>,
    index: u64,
    /// Where the page is to be mapped.
    address: usize,
    access: Access,
    is_shared: bool,
    is_executable: bool,
    /// It is for somebody from outside, for whom the area's rights do not count.
    is_forced: bool,
    /// [`State::invalidations`] before the fetch.
    invalidations: u64,
    /// The area has the object still, and cannot lose it before this is dropped.
    is_kept: bool,
}

/// What came of it.
struct Fetched {
    frame: Frame,
    kind: PageKind,
    /// What is to be changed in `frame`, which is the mapping's own, before it is mapped.
    sites: Vec<CodeSite>,
}

impl AddressSpace {
    /// Makes one access at `address` work, or says why it cannot. Called without locks from
    /// [`sync::rank::ADDRESS_SPACE`] on; may sleep.
    pub fn fault(&self, address: usize, access: Access) -> Result<FaultKind, FaultError> {
        loop {
            match self.try_fault(address, access) {
                Err(FaultError::OutOfMemory) if reclaim::wait_for() => {}
                result => return result,
            }
        }
    }

    /// The same, with the memory that there is.
    fn try_fault(&self, address: usize, access: Access) -> Result<FaultKind, FaultError> {
        let mut kind = FaultKind::Minor;
        loop {
            let mut state = self.state();
            match state.fault(address, access)? {
                Outcome::Done => return Ok(kind),
                Outcome::Stored => {
                    state.note_store(page_down(address));
                    return Ok(kind);
                }
                Outcome::Fetch => {}
            }
            let fetch = state.fetch(page_down(address), access)?;
            drop(state);
            let (is_done, took) = self.complete(fetch)?;
            kind = kind.max(took);
            if is_done {
                return Ok(kind);
            }
        }
    }

    /// Fetches the page, which takes what is answered, and installs it. False: things have changed, the fault starts over.
    pub(super) fn complete(&self, mut fetch: Fetch) -> Result<(bool, FaultKind), FaultError> {
        let (fetched, took) = match fetch.run() {
            Ok(fetched) => fetched,
            Err(error) => {
                self.let_go(fetch);
                return Err(error);
            }
        };
        let mut state = self.state();
        let is_done = state.install(&mut fetch, fetched);
        state.let_go(fetch);
        Ok((is_done?, took))
    }

    /// Drops what was fetched.
    pub(super) fn let_go(&self, fetch: Fetch) {
        self.state().let_go(fetch);
    }
}

impl State {
    /// Does the part of a fault that needs no object.
    pub(super) fn fault(&mut self, address: usize, access: Access) -> Result<Outcome, FaultError> {
        let Some(area) = self.areas.find(address) else {
            self.grow_stack(address)?;
            return self.fault(address, access);
        };
        let rights = area.page_rights();
        if !allows(rights, access) {
            return Err(FaultError::Rights);
        }
        let page = page_down(address);
        match (self.page_table.lookup(page), area.is_anonymous()) {
            (None, true) => self.map_anonymous(page, rights, access),
            (None, false) => Ok(Outcome::Fetch),
            (Some(entry), _) => self.fault_present(page, access, entry),
        }
    }

    /// Maps a new page of anonymous memory.
    fn map_anonymous(&mut self, page: usize, rights: Rights, access: Access) -> Result<Outcome, FaultError> {
        if access != Access::Write {
            let map = self.page_table.map(page, Frame::zero_page(), rights - Rights::WRITE, PageKind::Zero);
            return map.map(|()| Outcome::Done).map_err(out_of_memory);
        }
        self.map_zeroed(page, rights)?;
        Ok(Outcome::Stored)
    }

    /// Maps a new frame where nothing is.
    #[inline(always)]
    pub(super) fn map_zeroed(&mut self, page: usize, rights: Rights) -> Result<(), FaultError> {
        let frame = Frame::allocate_zeroed().map_err(out_of_memory)?;
        self.page_table.map(page, frame, rights, PageKind::Anonymous).map_err(out_of_memory)?;
        self.count_mapped(PageKind::Anonymous);
        Ok(())
    }

    /// Maps a copy in the place of what is there.
    pub(super) fn replace_by_copy(&mut self, page: usize, old: PageEntry, rights: Rights) -> Result<(), FaultError> {
        let copy = match old.kind {
            PageKind::Zero => Frame::allocate_zeroed(),
            PageKind::Anonymous | PageKind::File | PageKind::Shared => Frame::copy_of(old.frame),
        };
        self.page_table.replace(page, copy.map_err(out_of_memory)?, rights, PageKind::Anonymous);
        self.count_unmapped(old.kind);
        self.count_mapped(PageKind::Anonymous);
        Ok(())
    }

    /// What to fetch for `page`, which lies in an area with an object.
    pub(super) fn fetch(&self, page: usize, access: Access) -> Result<Fetch, FaultError> {
        let area = self.areas.find(page).ok_or(FaultError::Unmapped)?;
        let (object, index) = area.object_page(page).ok_or(FaultError::Unmapped)?;
        Ok(Fetch {
            object: object.clone(),
            index,
            address: page,
            access,
            is_shared: area.is_shared(),
            is_executable: area.rights.contains(Rights::EXECUTE),
            is_forced: false,
            invalidations: self.invalidations,
            is_kept: false,
        })
    }

    /// Drops what was fetched while the mutex is held, so that an area that has the object cannot lose it before.
    fn let_go(&self, mut fetch: Fetch) {
        fetch.is_kept |= self.areas.find(fetch.address).is_some_and(|area| fetch.is_of(area));
    }

    /// A fault on a page that has an entry.
    fn fault_present(&mut self, page: usize, access: Access, entry: PageEntry) -> Result<Outcome, FaultError> {
        let area = self.areas.find(page).ok_or(FaultError::Unmapped)?;
        let rights = area.page_rights();
        if allows(entry.rights, access) {
            return Ok(Outcome::Done);
        }
        if access != Access::Write {
            self.page_table.protect(page, (rights - Rights::WRITE) | (entry.rights & Rights::WRITE));
            return Ok(Outcome::Done);
        }
        if area.is_shared() {
            if entry.kind != PageKind::Shared {
                return Ok(Outcome::Fetch);
            }
            self.page_table.protect(page, rights);
            return Ok(Outcome::Done);
        }
        if entry.kind == PageKind::Anonymous && frame::is_exclusive(entry.frame) {
            self.page_table.protect(page, rights);
            return Ok(Outcome::Done);
        }
        self.replace_by_copy(page, entry, rights)?;
        Ok(Outcome::Done)
    }

    /// Installs a fetched page. False: things have changed.
    fn install(&mut self, fetch: &mut Fetch, fetched: Fetched) -> Result<bool, FaultError> {
        let Fetched { frame, kind, sites } = fetched;
        let page = fetch.address;
        let Some(area) = self.areas.find(page).filter(|area| fetch.fits(area)) else { return Ok(false) };
        fetch.is_kept = true;
        if self.invalidations != fetch.invalidations {
            return Ok(false);
        }
        let may_store = match kind {
            PageKind::Anonymous => true,
            PageKind::Shared => fetch.is_shared,
            PageKind::File => fetch.is_shared && fetch.access == Access::Write,
            PageKind::Zero => false,
        };
        let rights = if may_store { area.page_rights() } else { area.page_rights() - Rights::WRITE };
        let Some(entry) = self.page_table.lookup(page) else {
            self.rewrite_calls(page, &frame, &sites);
            self.page_table.map(page, frame, rights, kind).map_err(out_of_memory)?;
            self.count_mapped(kind);
            return Ok(true);
        };
        if allows(entry.rights, fetch.access) {
            return Ok(true);
        }
        if !fetch.is_shared {
            return Ok(false);
        }
        // The object was told of the store; it may have put another frame in the page's place.
        if entry.frame == frame.number() {
            self.page_table.protect(page, rights);
        } else {
            self.page_table.replace(page, frame, rights, kind);
            self.count_unmapped(entry.kind);
            self.count_mapped(kind);
        }
        Ok(true)
    }

    /// Makes the stack above `address` reach down to it, if there is one and it may.
    fn grow_stack(&mut self, address: usize) -> Result<(), FaultError> {
        let page = page_down(address);
        let stack = self.areas.find_ending_after(address).filter(|area| area.is_stack()).ok_or(FaultError::Unmapped)?;
        let start = stack.range.start();
        let gap_end = self.areas.find_starting_before(start).map_or(USER_START, |below| {
            let keeps_gap = !below.is_stack() && !below.rights.is_empty();
            below.range.end() + if keeps_gap { STACK_GUARD_GAP } else { 0 }
        });
        let pages = (start - page) / PAGE_SIZE;
        let is_allowed = page >= gap_end.max(USER_START)
            && (stack.range.end() - page) as u64 <= self.limits.stack
            && self.may_grow(stack.rights, stack.flags, pages)
            && (!stack.is_locked() || self.may_lock(pages));
        if !is_allowed {
            return Err(FaultError::Unmapped);
        }
        self.usage.count(stack, pages, usize::wrapping_add);
        self.areas.modify(start, |area| area.move_start(page));
        Ok(())
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        // Unmapped meanwhile, as far as is known, and perhaps nobody else has it: its end may take locks that stand before those
        // of who faults.
        if !self.is_kept {
            leaving::leave(Arc::clone(&self.object));
        }
    }
}

impl Fetch {
    /// The same for somebody from outside.
    pub(super) fn forced(mut self) -> Self {
        self.is_forced = true;
        self
    }

    /// The object's page, which is not to be mapped. Without any lock.
    pub(super) fn page(&self) -> Result<Frame, FaultError> {
        self.object.page(self.index).map_err(FaultError::from_object)
    }

    /// The object's page for this access, and whether it had to be read from somewhere.
    fn ask(&self) -> Result<(Frame, FaultKind), Errno> {
        let stores = self.is_shared && self.access == Access::Write;
        let is_memory = self.object.is_shared_memory();
        let at_hand = if is_memory { None } else { self.object.page_at_hand(self.index) };
        let took = if is_memory || at_hand.is_some() { FaultKind::Minor } else { FaultKind::Major };
        let page = match at_hand {
            _ if stores => self.object.page_for_write(self.index)?,
            Some(page) => page,
            None => self.object.page(self.index)?,
        };
        Ok((page, took))
    }

    /// Fetches the page, without any lock. What comes back is ready to be mapped.
    fn run(&self) -> Result<(Fetched, FaultKind), FaultError> {
        let (page, took) = self.ask().map_err(FaultError::from_object)?;
        if !self.is_shared {
            let sites = if self.is_executable { code::sites_of(&self.object, self.index) } else { Vec::new() };
            if self.access == Access::Write || !sites.is_empty() {
                let copy = page.duplicate().map_err(out_of_memory)?;
                code::disarm(&copy, &sites);
                // What somebody from outside changes has its own calls.
                let sites = if self.is_forced { Vec::new() } else { sites };
                return Ok((Fetched { frame: copy, kind: PageKind::Anonymous, sites }, took));
            }
        }
        let kind = if self.object.is_shared_memory() { PageKind::Shared } else { PageKind::File };
        Ok((Fetched { frame: page, kind, sites: Vec::new() }, took))
    }

    /// True when the page still belongs at its address in this way.
    fn fits(&self, area: &Area) -> bool {
        area.is_shared() == self.is_shared
            && area.rights.contains(Rights::EXECUTE) == self.is_executable
            && (self.is_forced || allows(area.page_rights(), self.access))
            && self.is_of(area)
    }

    /// True when the area still has the object, and shows this page of it there.
    fn is_of(&self, area: &Area) -> bool {
        let page = area.object_page(self.address);
        page.is_some_and(|(object, index)| index == self.index && is_same_object(object, &self.object))
    }
}

/// Whether these rights of pages allow the access.
pub(super) fn allows(rights: Rights, access: Access) -> bool {
    rights.contains(match access {
        Access::Read => Rights::READ,
        Access::Write => Rights::WRITE,
        Access::Execute => Rights::EXECUTE,
    })
}

pub(super) fn out_of_memory(_: Errno) -> FaultError {
    FaultError::OutOfMemory
}
