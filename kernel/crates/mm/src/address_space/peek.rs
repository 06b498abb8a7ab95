//! Memory as somebody from outside sees it: `/proc/PID/mem` and `pagemap`.
//!
//! The rules are those of Linux's `FOLL_FORCE`, by which a debugger reaches what the program itself may not:
//!
//! 1. What is mapped can be read, whatever its rights.
//! 2. What can be written is written as by a store. A private page that cannot becomes a copy with the rights it had:
//!    the file, and whoever else maps it, keep theirs. So no page is ever writable and executable for it.
//! 3. A shared page that cannot be written stays as it is, and so does what can never be writable: the stubs of
//!    rewritten calls, `[vvar]`.
//!
//! Bytes are copied under the mutex, so that a page of a file cannot be written back, and become clean, between the
//! look at its entry and the copy.

use super::AddressSpace;
use super::fault::{Fetch, allows};
use super::request::{Access, FaultError};
use super::state::State;
use crate::PAGE_SIZE;
use crate::frame::{self, Frame};
use crate::page_table::{PageKind, Rights};
use crate::range::{PageRange, page_down};

/// A page in memory, as `pagemap` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentPage {
    /// The frame's number.
    pub frame: u64,
    /// It belongs to a file, or to memory that is shared.
    pub is_of_object: bool,
    /// It is mapped once, as far as is known: nobody else has it, but the object it belongs to.
    pub is_exclusive: bool,
}

/// What a look under the mutex found.
enum Look {
    /// The bytes are copied.
    Done,
    /// The page has to be there first, as for the program's own access.
    PageIn(Access),
    /// The page has to be fetched from its object: for a copy of the mapping's own, or only to be read.
    Fetch(Fetch),
}

impl AddressSpace {
    /// Copies bytes out, which lie in one page. May sleep.
    pub fn peek(&self, address: usize, to: &mut [u8]) -> Result<(), FaultError> {
        loop {
            let look = self.state().peek(address, to)?;
            match look {
                Look::Done => return Ok(()),
                Look::PageIn(access) => _ = self.fault(address, access)?,
                Look::Fetch(fetch) => {
                    let page = fetch.page();
                    self.let_go(fetch);
                    page?.read(address % PAGE_SIZE, to);
                    return Ok(());
                }
            }
        }
    }

    /// Copies bytes in, which lie in one page. May sleep.
    pub fn poke(&self, address: usize, from: &[u8]) -> Result<(), FaultError> {
        loop {
            let look = self.state().poke(address, from)?;
            match look {
                Look::Done => return Ok(()),
                Look::PageIn(access) => _ = self.fault(address, access)?,
                // Things may have changed, and the page is there now if they have not.
                Look::Fetch(fetch) => _ = self.complete(fetch)?,
            }
        }
    }

    /// The pages of a range that are in memory, in order.
    pub fn each_present(&self, range: PageRange, mut each: impl FnMut(usize, PresentPage)) {
        let state = self.state();
        let mut rest = range;
        while let Some((address, entry)) = state.page_table.next_present(rest) {
            let is_of_object = matches!(entry.kind, PageKind::File | PageKind::Shared);
            let owners = if is_of_object { 2 } else { 1 };
            let is_exclusive = entry.kind != PageKind::Zero && frame::reference_count(entry.frame) == owners;
            each(address, PresentPage { frame: u64::from(entry.frame.index()), is_of_object, is_exclusive });
            rest = PageRange::new(address + PAGE_SIZE, range.end());
        }
    }
}

impl State {
    fn peek(&mut self, address: usize, to: &mut [u8]) -> Result<Look, FaultError> {
        let page = page_down(address);
        let area = self.areas.find(address).ok_or(FaultError::Unmapped)?;
        if let Some(entry) = self.page_table.lookup(page) {
            Frame::share(entry.frame).read(address % PAGE_SIZE, to);
            return Ok(Look::Done);
        }
        if area.page_rights().contains(Rights::READ) {
            return Ok(Look::PageIn(Access::Read));
        }
        if area.is_anonymous() {
            to.fill(0);
            return Ok(Look::Done);
        }
        self.fetch(page, Access::Read).map(Look::Fetch)
    }

    fn poke(&mut self, address: usize, from: &[u8]) -> Result<Look, FaultError> {
        let page = page_down(address);
        let area = self.areas.find(address).ok_or(FaultError::Unmapped)?;
        let (rights, is_anonymous) = (area.page_rights(), area.is_anonymous());
        let entry = self.page_table.lookup(page);
        if rights.contains(Rights::WRITE) {
            let Some(entry) = entry.filter(|entry| allows(entry.rights, Access::Write)) else {
                return Ok(Look::PageIn(Access::Write));
            };
            Frame::share(entry.frame).write(address % PAGE_SIZE, from);
            return Ok(Look::Done);
        }
        if area.is_shared() || !area.rights_max.contains(Rights::WRITE) {
            return Err(FaultError::Rights);
        }
        match entry {
            Some(entry) if entry.kind == PageKind::Anonymous && frame::is_exclusive(entry.frame) => {}
            Some(entry) => self.replace_by_copy(page, entry, rights)?,
            None if is_anonymous => self.map_zeroed(page, rights)?,
            None => return self.fetch(page, Access::Write).map(|fetch| Look::Fetch(fetch.forced())),
        }
        let own = self.page_table.lookup(page).ok_or(FaultError::Unmapped)?;
        Frame::share(own.frame).write(address % PAGE_SIZE, from);
        Ok(Look::Done)
    }
}
