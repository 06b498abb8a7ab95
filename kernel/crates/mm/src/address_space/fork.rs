//! fork: a second address space with the same contents, copied on write.
//!
//! 1. Areas are copied as they are, but those marked MADV_DONTFORK. Locks are not inherited.
//! 2. Of the pages only a private mapping's own are carried over: the child's entry shares the frame, so that
//!    the frame has two owners. Everything else (the zero page, pages of objects) the child faults in again
//!    from where it comes from, which keeps fork short.
//! 3. Then the parent's entries lose the right to store, by the rule of [`PageTable::protect_range`] that a shared
//!    frame is not writable. From here on the fault path does the rest: the first to store copies, the
//!    last one finds itself the only owner and goes on writing in place.
//!
//! The parent is locked throughout. Its threads on other CPUs may store until the flush in step 3; such a
//! store may or may not be seen by the child, as with any two threads without synchronisation, but never in
//! part of a word.

use alloc::boxed::Box;
use alloc::sync::Arc;

use abi::Errno;

use super::AddressSpace;
use super::lock::FutureLock;
use super::state::State;
use crate::PAGE_SIZE;
use crate::area::{Area, AreaFlags, Origin};
use crate::frame::Frame;
use crate::page_table::{PageKind, PageTable, Rights};
use crate::range::PageRange;

impl AddressSpace {
    /// A copy of this address space, on an empty page table. Limits are inherited.
    pub fn fork(&self, page_table: Box<dyn PageTable>) -> Result<Arc<Self>, Errno> {
        let root = page_table.root();
        let mut parent = self.state();
        let mut child = State::new(page_table, parent.layout);
        child.limits = parent.limits;
        child.heap = parent.heap;
        child.stack_start = parent.stack_start;
        child.rewritten = parent.rewritten.clone();
        let mut at = 0;
        while let Some(area) = parent.areas.find_ending_after(at) {
            let area = area.clone();
            at = area.range.end();
            if let Err(errno) = parent.copy_area(&mut child, &area) {
                // The child's pages go with it; the parent finds itself the only owner again.
                drop(parent);
                drop(Self::with_state(child, root));
                return Err(errno);
            }
        }
        drop(parent);
        let child = Self::with_state(child, root);
        child.note_objects();
        Ok(child)
    }

    /// Notes this address space with every object it maps.
    fn note_objects(&self) {
        let state = self.state();
        for area in state.areas.iter() {
            if let Origin::Object { object, .. } = &area.origin
                && let Some(mappings) = object.mappings()
            {
                mappings.add(&self.this);
            }
        }
    }
}

impl State {
    /// Gives the child its copy of an area.
    fn copy_area(&mut self, child: &mut Self, area: &Area) -> Result<(), Errno> {
        debug_assert_eq!(child.lock_future, FutureLock::None, "locks are not inherited");
        if area.flags.contains(AreaFlags::DONT_FORK) {
            return Ok(());
        }
        let mut copy = area.clone();
        copy.flags -= AreaFlags::LOCKED | AreaFlags::LOCK_ON_FAULT;
        child.insert_area(copy);
        if area.is_shared() || area.flags.contains(AreaFlags::WIPE_ON_FORK) {
            return Ok(());
        }
        let mut range = area.range;
        let mut has_pages = false;
        while let Some((page, entry)) = self.page_table.next_present(range) {
            range = PageRange::new(page + PAGE_SIZE, area.range.end());
            if entry.kind == PageKind::Anonymous {
                has_pages = true;
                let frame = Frame::share(entry.frame);
                child.page_table.map(page, frame, entry.rights - Rights::WRITE, entry.kind)?;
                child.count_mapped(entry.kind);
            }
        }
        if has_pages {
            self.page_table.protect_range(area.range, area.page_rights());
        }
        Ok(())
    }
}
