//! Call sites in an address space: rewritten when their page becomes code, forgotten when it goes.
//!
//! [`crate::rewrite`] has the idea. Here are pages: the site's, a copy that belongs to the mapping and is not executed yet, and the
//! stub's, in an area of its own that is sealed.
//!
//! 1. A site keeps its stub for as long as its text is mapped, also when its page is dropped and fetched again: a thread may be
//!    in the stub. When the text is unmapped, nobody is who would not fault on Linux.
//! 2. Text that moves (mremap) gets its own bytes back first: the distances of the jumps would be wrong.
//! 3. Stub pages are shared with a forked child like all private pages, and copied before the kernel writes to them.

use alloc::vec::Vec;

use abi::Errno;

use super::AddressSpace;
use super::state::State;
use crate::area::{Area, AreaFlags, Origin};
use crate::frame::{self, Frame};
use crate::object::CodeSite;
use crate::page_table::{PageKind, Rights};
use crate::range::{PageRange, page_down};
use crate::rewrite::{self, CallPatch, Left, OriginalAddress, POOL_LENGTHS, STUB_LEN_MAX, Stub};
use crate::{PAGE_SIZE, USER_END, USER_START};

/// What a program can do in stubs.
const STUB_RIGHTS: Rights = Rights::READ.union(Rights::EXECUTE);
/// What fills a page of stubs: breakpoints.
const FILLER: u8 = 0xcc;
/// How far below the text a pool lies where there is room for it. All distances into it have a highest byte that
/// traps (0xea), if the text is not larger than a few megabytes: any combination of instructions can be served.
const POOL_DISTANCE: usize = 0x1580_0000;
/// The same for a pool above (0x61). The heap of a program that lies low begins up to 1 GiB behind it, and has half a
/// GiB at least until it meets the pool.
const POOL_DISTANCE_ABOVE: usize = 0x6140_0000;
/// A `jmp rel32` reaches this far; a bit less is taken.
const REACH: usize = (2 << 30) - (16 << 20);

impl AddressSpace {
    /// Where the program is in its own code when it is at `address` in a stub.
    #[must_use]
    pub fn original_address(&self, address: usize) -> Option<OriginalAddress> {
        let state = self.state();
        self.stubs.publish(&state.rewritten);
        state.rewritten.around(address).map(|stub| stub.original(address))
    }

    /// The same without waiting. None: it is to be asked for.
    #[inline]
    #[must_use]
    pub fn known_original_address(&self, address: usize) -> Option<Option<OriginalAddress>> {
        self.stubs.original(address)
    }

    /// Where the program goes on that has arrived at `address`, which a rewritten site covers.
    #[must_use]
    pub fn stand_in(&self, address: usize) -> Option<usize> {
        let state = self.state();
        let stub = state.rewritten.covering(address).filter(|stub| stub.site != address)?;
        // The program may have put other code there.
        state.is_written(stub).then(|| stub.stand_in(address)).flatten()
    }

    /// The same for a program that was stopped after the jump to the stub at `address`, which it does not know of.
    #[must_use]
    pub fn stand_in_after_jump(&self, address: usize) -> Option<usize> {
        let state = self.state();
        let stub = state.rewritten.around(address).filter(|stub| stub.at == address)?;
        stub.stand_in(stub.site)
    }
}

impl State {
    /// Rewrites the call sites of a page that is about to be mapped as code at `page`. `frame` is nobody else's.
    pub(super) fn rewrite_calls(&mut self, page: usize, frame: &Frame, sites: &[CodeSite]) {
        for site in sites {
            let Some(patch) = site.call else { continue };
            let Some(entry) = rewrite::entry(patch.is_full) else { return };
            rewrite::count(self.rewrite_call(page + usize::from(site.offset_in_page), frame, patch, entry));
        }
    }

    fn rewrite_call(&mut self, site: usize, frame: &Frame, patch: CallPatch, entry: u32) -> Result<(), Left> {
        let (offset, length) = (site % PAGE_SIZE, usize::from(patch.length));
        if !patch.is_sound() || offset + length > PAGE_SIZE {
            return Err(Left::Changed);
        }
        let mut covered = [0; CallPatch::LENGTH_MAX];
        let covered = &mut covered[..length];
        frame.read(offset, covered);
        if CallPatch::checksum_of(covered) != patch.checksum {
            return Err(Left::Changed);
        }
        let stub = match self.rewritten.covering(site) {
            Some(stub) if stub.site == site && stub.patch == patch => *stub,
            Some(_) => return Err(Left::Changed),
            None => self.take_stub(site, patch).ok_or(Left::NoPlace)?,
        };
        let (bytes, len) = stub.bytes(covered, entry).ok_or(Left::NoPlace)?;
        let site_bytes = stub.site_bytes().ok_or(Left::NoPlace)?;
        self.write_stub(stub.at, &bytes[..len]).map_err(|_| Left::NoMemory)?;
        frame.write(offset, &site_bytes[..length]);
        Ok(())
    }

    /// A place for a new stub, in a new pool if need be.
    fn take_stub(&mut self, site: usize, patch: CallPatch) -> Option<Stub> {
        if let Some(stub) = self.rewritten.take(site, patch) {
            return Some(stub);
        }
        let range = self.find_pool(site, &patch)?;
        self.check_area_count(1).ok()?;
        if !self.rewritten.add_pool(range) {
            return None;
        }
        let flags = AreaFlags::STUBS;
        self.insert_area(Area {
            range,
            rights: STUB_RIGHTS,
            rights_max: STUB_RIGHTS,
            flags,
            origin: Origin::Anonymous,
        });
        rewrite::note_stubs(range.start(), range.end());
        self.rewritten.take(site, patch)
    }

    /// Room for a pool near a site, with a place for its stub: at the best distance, below, above, or far above, where the
    /// distances have a highest byte that traps as well.
    fn find_pool(&self, site: usize, patch: &CallPatch) -> Option<PageRange> {
        let serves = |range: &PageRange| rewrite::has_place(*range, site, patch);
        let is_free = |range: &PageRange| range.end() <= USER_END && self.areas.is_free(*range) && serves(range);
        let at = |start| PageRange::from_length(start, POOL_LENGTHS[0]).filter(is_free);
        let room = |floor, ceiling| {
            POOL_LENGTHS.into_iter().find_map(|len| {
                let start = self.areas.find_room(len, floor, ceiling)?;
                Some(PageRange::new(start, start + len)).filter(serves)
            })
        };
        let page = page_down(site);
        let best = page.checked_sub(POOL_DISTANCE).filter(|start| *start >= USER_START);
        best.and_then(at)
            .or_else(|| room(page.saturating_sub(REACH).max(USER_START), page))
            .or_else(|| room(page, (page + REACH).min(USER_END)))
            .or_else(|| at(page + POOL_DISTANCE_ABOVE))
    }

    /// Writes a stub, which lies in one page, into its page.
    fn write_stub(&mut self, at: usize, bytes: &[u8]) -> Result<(), Errno> {
        let page = page_down(at);
        let entry = self.page_table.lookup(page).filter(|entry| entry.kind == PageKind::Anonymous);
        if let Some(entry) = entry.filter(|entry| frame::is_exclusive(entry.frame)) {
            Frame::share(entry.frame).write(at - page, bytes);
            return Ok(());
        }
        let fresh = match entry {
            Some(entry) => Frame::copy_of(entry.frame)?,
            None => {
                let fresh = Frame::allocate()?;
                fresh.write(0, &[FILLER; PAGE_SIZE]);
                fresh
            }
        };
        fresh.write(at - page, bytes);
        if self.page_table.lookup(page).is_some() {
            self.page_table.replace(page, fresh, STUB_RIGHTS, PageKind::Anonymous);
        } else {
            self.page_table.map(page, fresh, STUB_RIGHTS, PageKind::Anonymous)?;
        }
        if entry.is_none() {
            self.count_mapped(PageKind::Anonymous);
        }
        Ok(())
    }

    /// Whether the jump to the stub is still where it was written.
    fn is_written(&self, stub: &Stub) -> bool {
        let Some(expected) = stub.site_bytes() else { return false };
        let Some(entry) = self.page_table.lookup(page_down(stub.site)) else { return false };
        let mut found = [0; CallPatch::LENGTH_MAX];
        let found = &mut found[..usize::from(stub.patch.length)];
        Frame::share(entry.frame).read(stub.site % PAGE_SIZE, found);
        expected.starts_with(found)
    }

    /// Forgets the sites of text that goes, and pools that nothing is left in.
    #[inline]
    pub(super) fn forget_calls(&mut self, range: PageRange) {
        if !self.rewritten.is_empty() {
            self.forget_sites(range);
        }
    }

    fn forget_sites(&mut self, range: PageRange) {
        if !self.rewritten.forget(range) {
            return;
        }
        while let Some(pool) = self.rewritten.take_unused_pool() {
            drop(self.take_areas(pool));
            self.drop_pages(pool);
        }
    }

    /// Gives text back its own bytes, and forgets its sites.
    pub(super) fn restore_calls(&mut self, range: PageRange) -> Result<(), Errno> {
        let stubs: Vec<Stub> = self.rewritten.in_range(range).to_vec();
        for stub in stubs.iter().filter(|stub| self.is_written(stub)).copied().collect::<Vec<_>>() {
            let page = page_down(stub.site);
            let Some(entry) = self.page_table.lookup(page) else { continue };
            let Some(stub_entry) = self.page_table.lookup(page_down(stub.at)) else { continue };
            let mut bytes = [0; STUB_LEN_MAX];
            Frame::share(stub_entry.frame).read(stub.at % PAGE_SIZE, &mut bytes[..stub.patch.stub_len()]);
            let own = if frame::is_exclusive(entry.frame) {
                Frame::share(entry.frame)
            } else {
                let copy = Frame::copy_of(entry.frame)?;
                self.page_table.replace(page, copy.clone(), entry.rights, PageKind::Anonymous);
                copy
            };
            own.write(stub.site % PAGE_SIZE, &stub.covered(&bytes)[..usize::from(stub.patch.length)]);
        }
        self.forget_calls(range);
        Ok(())
    }

    /// EPERM when the program wants to change something about stubs, as for what `mseal` has sealed.
    pub(super) fn check_sealed(&self, range: PageRange) -> Result<(), Errno> {
        match self.rewritten.pool_in(range) {
            Some(_) => Err(Errno::EPERM),
            None => Ok(()),
        }
    }
}
