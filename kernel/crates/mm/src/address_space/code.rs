//! Code sites: instructions of a program that must not run in ring 0.
//!
//! The image says where they are. Wherever a page of a private file mapping is executable, the first byte of each is
//! one that is no instruction, so that running it traps and the trap finds the site again
//! ([`AddressSpace::code_site_at`]). Pages without sites are mapped in place. A site whose byte the
//! program has changed is left alone: it is not the instruction that was analysed.
//!
//! The copy that carries the changes is the mapping's own page (as if the program had stored to it), so a
//! program that reads its own code sees the changed bytes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;

use super::AddressSpace;
use super::state::State;
use crate::PAGE_SIZE;
use crate::area::Area;
use crate::frame::{self, Frame};
use crate::object::{CodeSite, MappedObject};
use crate::page_table::{PageEntry, PageKind, Rights};
use crate::range::{PageRange, page_down};
use crate::rewrite;

/// No instruction in 64-bit mode (it was `push es`).
const INVALID_OPCODE: u8 = 0x06;

/// Replaces the first byte of every site in a frame that is nobody else's.
pub(super) fn disarm(frame: &Frame, sites: &[CodeSite]) {
    for site in sites.iter().filter(|site| site.call.is_none()) {
        let offset = usize::from(site.offset_in_page);
        debug_assert!(offset < PAGE_SIZE, "a site lies in its page");
        let mut byte = [0];
        frame.read(offset, &mut byte);
        if byte[0] == site.original {
            frame.write(offset, &[INVALID_OPCODE]);
        }
    }
}

impl AddressSpace {
    /// The code site at `address`, when that lies in a private executable file mapping.
    #[must_use]
    pub fn code_site_at(&self, address: usize) -> Option<CodeSite> {
        let state = self.state();
        let area = state.areas.find(address)?;
        if !may_have_sites(area) || !area.rights.contains(Rights::EXECUTE) {
            return None;
        }
        let (object, index) = area.object_page(address)?;
        let offset = address - page_down(address);
        let mut sites = object.code_sites(index)?.into_iter().filter(|site| site.call.is_none());
        sites.find(|site| usize::from(site.offset_in_page) == offset)
    }
}

/// What is to be changed in a page of an object that is mapped as code.
pub(super) fn sites_of(object: &Arc<dyn MappedObject>, index: u64) -> Vec<CodeSite> {
    let mut sites = object.code_sites(index).unwrap_or_default();
    sites.retain(|site| site.call.is_none_or(|call| rewrite::entry(call.is_full).is_some()));
    sites
}

/// True for private file mappings.
pub(super) fn may_have_sites(area: &Area) -> bool {
    !area.is_shared() && !area.is_anonymous()
}

impl State {
    /// Makes the present pages of `range`, a part of `area`, ready to be executed.
    pub(super) fn disarm_present(&mut self, area: &Area, range: PageRange) -> Result<(), Errno> {
        let mut at = range.start();
        while let Some((page, entry)) = self.page_table.next_present(PageRange::new(at, range.end())) {
            at = page + PAGE_SIZE;
            let Some((object, index)) = area.object_page(page) else { break };
            let sites = sites_of(object, index);
            if sites.is_empty() {
                continue;
            }
            if entry.kind == PageKind::Anonymous {
                self.disarm_own(page, entry, &sites)?;
            } else if self.page_table.unmap(page).is_some() {
                // The next access maps a copy.
                self.count_unmapped(entry.kind);
            }
        }
        Ok(())
    }

    /// Does so for a page that is the mapping's own.
    fn disarm_own(&mut self, page: usize, entry: PageEntry, sites: &[CodeSite]) -> Result<(), Errno> {
        if frame::is_exclusive(entry.frame) {
            let own = Frame::share(entry.frame);
            disarm(&own, sites);
            self.rewrite_calls(page, &own, sites);
            return Ok(());
        }
        let copy = Frame::copy_of(entry.frame)?;
        disarm(&copy, sites);
        self.rewrite_calls(page, &copy, sites);
        self.page_table.replace(page, copy, entry.rights, PageKind::Anonymous);
        Ok(())
    }
}
