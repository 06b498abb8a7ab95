//! [`Mappings`]: the address spaces that map an object.
//!
//! An address space notes itself when it maps the object and is forgotten when it is gone; in
//! between a note may be stale (unmapped since), which costs a search and nothing else. One note an
//! address space, however often it maps the object.
//!
//! Who goes over the address spaces may hold locks, any but spinlocks where memory is short ([`crate::reclaim`]), and may end up with
//! the last reference to one. That is an address space which was cleared: who gives one up does that first, as letting go of
//! what is mapped may sleep ([`AddressSpace::clear`]).
//!
//! Lock rank: [`sync::rank::FILE_PAGES`], taken with the address space locked. It is dropped before
//! address spaces are entered.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use sync::{Mutex, MutexGuard, rank};

use super::PageSet;
use crate::address_space::AddressSpace;
use crate::reclaim::Effort;

/// Notes of the address spaces that map an object. Embedded in the object.
pub struct Mappings(Mutex<Vec<Weak<AddressSpace>>>);

impl Default for Mappings {
    fn default() -> Self {
        Self::new()
    }
}

impl Mappings {
    /// No notes.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(rank::FILE_PAGES, Vec::new()))
    }

    /// Takes the pages `first..end` of the object away from every program that maps it, after the file
    /// was cut short. Private copies go too: there is no file behind them any more. The next access asks
    /// [`super::MappedObject::page`] again.
    ///
    /// Called after the object gave the pages up, with no lock held from [`sync::rank::ADDRESS_SPACE`] on.
    pub fn truncate(&self, first: u64, end: u64) {
        self.for_each(|space| space.unmap_object_pages(self, first, end, false));
    }

    /// The same after the contents of the pages were replaced (a hole was punched): private copies stay.
    pub fn invalidate(&self, first: u64, end: u64) {
        self.for_each(|space| space.unmap_object_pages(self, first, end, true));
    }

    /// Takes pages away from every program that maps them, if it has not used them since this was called for them before. Pages
    /// in locked areas stay. Nothing changed in the object, so private copies stay, and faults under way go on.
    pub fn take_unused(&self, pages: &PageSet, effort: Effort) {
        let noted = if effort.may_wait { Some(self.0.lock()) } else { self.0.try_lock() };
        let Some(noted) = noted else { return };
        Self::call(noted, |space| space.take_unused_pages(self, pages, effort));
    }

    /// Calls `act` for every address space.
    fn for_each(&self, act: impl Fn(&AddressSpace)) {
        Self::call(self.0.lock(), act);
    }

    /// Calls `act` for every address space, without the lock.
    fn call(noted: MutexGuard<'_, Vec<Weak<AddressSpace>>>, act: impl Fn(&AddressSpace)) {
        let spaces: Vec<Arc<AddressSpace>> = noted.iter().filter_map(Weak::upgrade).collect();
        drop(noted);
        for space in spaces {
            act(&space);
            if let Some(mut last) = Arc::into_inner(space) {
                debug_assert!(last.is_cleared(), "an address space was given up with something in it");
            }
        }
    }

    /// Notes an address space.
    pub(crate) fn add(&self, space: &Weak<AddressSpace>) {
        let mut spaces = self.0.lock();
        if spaces.iter().any(|noted| noted.ptr_eq(space)) {
            return;
        }
        spaces.retain(|noted| noted.strong_count() > 0);
        spaces.push(space.clone());
    }
}
