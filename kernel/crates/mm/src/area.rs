//! [`Area`]: a run of pages of one address space that have the same rights and the same origin
//! (Linux's `vm_area_struct`), and in [`map`] the ordered set of them.
//!
//! An area is plain data; what its pages hold is the page table's business.

pub(crate) mod map;

use alloc::sync::Arc;

use bitflags::bitflags;

use crate::PAGE_SIZE;
use crate::object::MappedObject;
use crate::page_table::Rights;
use crate::range::PageRange;

/// Bytes kept free below a stack (Linux's default `stack_guard_gap`, 256 pages).
pub(crate) const STACK_GUARD_GAP: usize = 256 * PAGE_SIZE;

bitflags! {
    /// What an area is, besides its rights.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct AreaFlags: u16 {
        /// Changes are changes of the object.
        const SHARED = 1;
        /// A stack: grows towards lower addresses when touched below its start.
        const GROWS_DOWN = 1 << 1;
        /// Not counted against memory (MAP_NORESERVE).
        const NORESERVE = 1 << 2;
        /// Locked in memory.
        const LOCKED = 1 << 3;
        /// Locked, but paged in by use only (MLOCK_ONFAULT). Implies LOCKED.
        const LOCK_ON_FAULT = 1 << 4;
        /// Not inherited by fork (MADV_DONTFORK).
        const DONT_FORK = 1 << 5;
        /// Inherited by fork as zeroes (MADV_WIPEONFORK).
        const WIPE_ON_FORK = 1 << 6;
        /// Left out of core dumps (MADV_DONTDUMP).
        const DONT_DUMP = 1 << 7;
        /// The kernel may empty it at any time (MAP_DROPPABLE). Never locked.
        const DROPPABLE = 1 << 8;
        /// Used in no order (MADV_RANDOM).
        const RANDOM = 1 << 9;
        /// Stubs of rewritten call sites: the kernel's, sealed, counted nowhere.
        const STUBS = 1 << 15;
    }
}

/// Where the contents of an area come from.
#[derive(Clone)]
pub(crate) enum Origin {
    /// Zeroes.
    Anonymous,
    /// An object, from its page `first_page` on.
    Object { object: Arc<dyn MappedObject>, first_page: u64 },
}

/// A run of pages. Never empty.
#[derive(Clone)]
pub(crate) struct Area {
    pub(crate) range: PageRange,
    /// What the program may do.
    pub(crate) rights: Rights,
    /// What mprotect may allow it.
    pub(crate) rights_max: Rights,
    pub(crate) flags: AreaFlags,
    pub(crate) origin: Origin,
}

impl Area {
    /// The rights of the area's pages: on x86, what may be accessed at all may be read.
    pub(crate) fn page_rights(&self) -> Rights {
        page_rights(self.rights)
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.flags.contains(AreaFlags::SHARED)
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        matches!(self.origin, Origin::Anonymous)
    }

    pub(crate) fn is_stack(&self) -> bool {
        self.flags.contains(AreaFlags::GROWS_DOWN)
    }

    pub(crate) fn is_stubs(&self) -> bool {
        self.flags.contains(AreaFlags::STUBS)
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.flags.contains(AreaFlags::LOCKED)
    }

    /// The object and the index of its page that belongs at `address`.
    pub(crate) fn object_page(&self, address: usize) -> Option<(&Arc<dyn MappedObject>, u64)> {
        debug_assert!(self.range.contains(address), "the address is the area's");
        match &self.origin {
            Origin::Anonymous => None,
            Origin::Object { object, first_page } => Some((object, first_page + self.pages_before(address))),
        }
    }

    fn pages_before(&self, address: usize) -> u64 {
        ((address - self.range.start()) / PAGE_SIZE) as u64
    }

    /// Where the area begins for those who look for room: a stack keeps a gap below it.
    pub(crate) fn guarded_start(&self) -> usize {
        let start = self.range.start();
        if self.is_stack() { start.saturating_sub(STACK_GUARD_GAP) } else { start }
    }

    /// Cuts the area at `address`, strictly inside it, and returns the upper part.
    pub(crate) fn split_off(&mut self, address: usize) -> Self {
        debug_assert!(self.range.start() < address && address < self.range.end(), "both parts have pages");
        let mut upper = self.clone();
        upper.move_start(address);
        self.range = PageRange::new(self.range.start(), address);
        upper
    }

    /// Drops the pages below `address`, or adds pages down to it. What stays keeps its contents.
    pub(crate) fn move_start(&mut self, address: usize) {
        let start = self.range.start();
        if let Origin::Object { first_page, .. } = &mut self.origin {
            if address >= start {
                *first_page += ((address - start) / PAGE_SIZE) as u64;
            } else {
                *first_page -= ((start - address) / PAGE_SIZE) as u64;
            }
        }
        self.range = PageRange::new(address, self.range.end());
    }

    /// Moves the end. What stays keeps its contents.
    pub(crate) fn move_end(&mut self, address: usize) {
        self.range = PageRange::new(self.range.start(), address);
    }

    /// True when `upper`, which begins where `self` ends, differs from it in nothing else.
    #[inline]
    pub(crate) fn continues_with(&self, upper: &Self) -> bool {
        if self.range.end() != upper.range.start()
            || self.rights != upper.rights
            || self.rights_max != upper.rights_max
            || self.flags != upper.flags
        {
            return false;
        }
        match (&self.origin, &upper.origin) {
            (Origin::Anonymous, Origin::Anonymous) => true,
            (Origin::Object { object, first_page }, Origin::Object { object: other, first_page: next_page }) => {
                is_same_object(object, other) && first_page + self.range.pages() as u64 == *next_page
            }
            _ => false,
        }
    }
}

/// True when both are the same object.
pub(crate) fn is_same_object(one: &Arc<dyn MappedObject>, other: &Arc<dyn MappedObject>) -> bool {
    core::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

/// The rights of pages in an area with these rights ([`Area::page_rights`]).
pub(crate) fn page_rights(rights: Rights) -> Rights {
    if rights.is_empty() { rights } else { rights | Rights::READ }
}
