//! [`ArcTable`]: numbered counted references, looked up without a lock.
//!
//! A lookup reads the place of the slots, the slot, and raises the count of what it refers to, unless that is 0. Two things
//! must not vanish meanwhile: the slots, which a growing table replaces, and the memory of the count. Both are given up after a
//! grace period: of what is taken out of the table, the *memory* stays for so long (by a weak reference), while the value itself
//! ends with its last reference, at once.
//!
//! A lookup that finds a count of 0 has met a value that was just taken out, and looks again; it finds what came in its place.
//!
//! Changes are made by one context at a time: the caller's lock sees to it.
//!
//! # Lending
//!
//! A table knows how many threads *use* it: change it, or look things up for the length of a call ([`ArcTable::lend`]). If that is
//! one thread, nothing leaves the table while this thread is busy with a call, and no count is needed: the table lends what it
//! has, and only keeps in mind how much is lent ([`TableRef`]). Nobody then looks into it without a lock but this thread, so the
//! memory of what is taken out need not wait for anybody. Everybody else looks while the caller's lock keeps changes away
//! ([`ArcTable::get_locked`]).
//!
//! What the caller promises is checked where it costs nothing: taking something out, or a second user, while something is
//! lent is a panic. A loan cannot leave its thread, which gives it back before it changes the table or makes another user.

use alloc::alloc::{alloc_zeroed, dealloc, handle_alloc_error};
use alloc::sync::{Arc, Weak};
use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, offset_of};
use core::ops::Deref;
use core::ptr::{self, NonNull};

use super::Deferred;
use crate::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Slots of references to `T`, each empty or not.
pub struct ArcTable<T> {
    slots: AtomicPtr<Slots<T>>,
    /// The threads that use it.
    users: AtomicUsize,
    /// What is lent; written by the only user.
    lent: AtomicUsize,
    owns: PhantomData<Arc<T>>,
}

// SAFETY: the table hands out counted references, to any thread.
unsafe impl<T: Send + Sync> Sync for ArcTable<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Send for ArcTable<T> {}

/// The slots with their number, in one piece of memory.
#[repr(C)]
struct Slots<T> {
    length: usize,
    /// The first of `length` pointers, null or from `Arc::into_raw`. The table owns a strong and a weak count of each.
    first: [AtomicPtr<T>; 0],
}

impl<T> Slots<T> {
    fn layout(length: usize) -> Layout {
        let slots = Layout::array::<AtomicPtr<T>>(length).expect("tables are smaller than memory");
        let (layout, offset) = Layout::new::<Self>().extend(slots).expect("tables are smaller than memory");
        debug_assert_eq!(offset, offset_of!(Self, first));
        layout
    }

    /// Empty slots.
    fn allocate(length: usize) -> NonNull<Self> {
        let layout = Self::layout(length);
        // SAFETY: the layout is not empty: it has the length.
        let memory = unsafe { alloc_zeroed(layout) }.cast::<Self>();
        let Some(slots) = NonNull::new(memory) else { handle_alloc_error(layout) };
        // SAFETY: the memory is new and large enough. Zeroes are empty slots.
        unsafe { (&raw mut (*slots.as_ptr()).length).write(length) };
        #[cfg(loom)]
        for index in 0..length {
            // SAFETY: as above; loom's pointers are made one by one.
            unsafe {
                (&raw mut (*slots.as_ptr()).first)
                    .cast::<AtomicPtr<T>>()
                    .add(index)
                    .write(AtomicPtr::new(ptr::null_mut()))
            };
        }
        slots
    }

    /// # Safety
    /// `slots` came from `allocate` and nobody uses it any more. What the slots refer to is left alone.
    unsafe fn free(slots: NonNull<()>) {
        let slots = slots.cast::<Self>().as_ptr();
        // SAFETY: the caller's promise; the length is what it was allocated with.
        unsafe { dealloc(slots.cast(), Self::layout((*slots).length)) };
    }

    /// The slot `index`.
    ///
    /// # Safety
    /// `slots` is alive and stays so while the result is used.
    #[inline]
    unsafe fn at<'a>(slots: *const Self, index: usize) -> Option<&'a AtomicPtr<T>> {
        // SAFETY: the slots are alive. There are `length` pointers from `first` on.
        unsafe {
            if index >= (*slots).length {
                return None;
            }
            Some(&*(&raw const (*slots).first).cast::<AtomicPtr<T>>().add(index))
        }
    }
}

/// What a slot refers to, for the length of a call.
pub struct TableRef<'a, T: Send + Sync + 'static> {
    value: NonNull<T>,
    /// The table that has lent it; none if this is a counted reference.
    lender: Option<&'a ArcTable<T>>,
}

impl<T: Send + Sync + 'static> TableRef<'_, T> {
    fn counted(value: Arc<T>) -> Self {
        let value = NonNull::new(Arc::into_raw(value).cast_mut()).expect("references are not null");
        Self { value, lender: None }
    }

    /// A counted reference to it, to be kept.
    pub fn to_arc(&self) -> Arc<T> {
        let value = self.value.as_ptr().cast_const();
        // SAFETY: the pointer is from `Arc::into_raw`, and the table's count or our own keeps it alive.
        unsafe {
            Arc::increment_strong_count(value);
            Arc::from_raw(value)
        }
    }
}

impl<T: Send + Sync + 'static> Deref for TableRef<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the count of the table, which nothing leaves while it has lent this, or our own keeps the value alive.
        unsafe { self.value.as_ref() }
    }
}

impl<T: Send + Sync + 'static> Drop for TableRef<'_, T> {
    #[inline]
    fn drop(&mut self) {
        match self.lender {
            Some(table) => table.lent.store(table.lent.load(Ordering::Relaxed) - 1, Ordering::Relaxed),
            // SAFETY: this is the end of a counted reference.
            None => unsafe { release(self.value) },
        }
    }
}

/// Gives a count up. Beside lent references this is rare.
///
/// # Safety
/// The caller has a count of the value, from `Arc::into_raw`, and gives it up.
#[inline(never)]
unsafe fn release<T>(value: NonNull<T>) {
    // SAFETY: the caller's promise.
    drop(unsafe { Arc::from_raw(value.as_ptr().cast_const()) });
}

/// What a change took out of a table. Dropped without locks, it gives the memory up after a grace period; it may sleep then.
#[must_use = "it is dropped where no lock is held"]
pub struct Removed<T: Send + Sync + 'static> {
    value: Option<Arc<T>>,
    /// Its memory, where readers may look at the count.
    memory: Option<Weak<T>>,
}

impl<T: Send + Sync + 'static> Removed<T> {
    /// The value that was taken out.
    pub fn value(&self) -> &Arc<T> {
        self.value.as_ref().expect("it is taken by the end only")
    }

    /// The value that was taken out; its memory is given up later.
    pub fn into_value(mut self) -> Arc<T> {
        self.value.take().expect("it is taken by the end only")
    }
}

impl<T: Send + Sync + 'static> Drop for Removed<T> {
    fn drop(&mut self) {
        drop(self.value.take());
        #[cfg(not(loom))]
        if let Some(memory) = self.memory.take() {
            super::defer(Deferred::from_weak(memory));
        }
    }
}

impl<T: Send + Sync + 'static> ArcTable<T> {
    /// A table of `length` empty slots and one user.
    pub fn new(length: usize) -> Self {
        let slots = AtomicPtr::new(Slots::allocate(length).as_ptr());
        Self { slots, users: AtomicUsize::new(1), lent: AtomicUsize::new(0), owns: PhantomData }
    }

    /// A user makes another.
    pub fn add_user(&self) {
        assert_eq!(self.lent.load(Ordering::Relaxed), 0, "a table gets a user while something of it is lent");
        self.users.fetch_add(1, Ordering::Relaxed);
    }

    /// A user uses it no longer. True: it was the last.
    pub fn remove_user(&self) -> bool {
        // Release: what it did with the table is seen by the one that finds itself alone.
        self.users.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether one thread alone uses it.
    #[inline]
    pub fn has_one_user(&self) -> bool {
        self.users.load(Ordering::Acquire) == 1
    }

    /// What is in slot `index`, if anything, for the length of a call of a thread that uses the table.
    #[inline(always)]
    pub fn lend(&self, index: usize) -> Option<TableRef<'_, T>> {
        if !self.has_one_user() {
            return self.get_for_call(index);
        }
        // SAFETY: slots are only replaced by a change, and the only one who makes changes is here.
        let slot = unsafe { Slots::at(self.slots.load(Ordering::Relaxed), index)? };
        let value = NonNull::new(slot.load(Ordering::Relaxed))?;
        self.lent.store(self.lent.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        Some(TableRef { value, lender: Some(self) })
    }

    /// What is in slot `index`, if anything. For who has changes locked out, and for nobody else.
    pub fn get_locked(&self, index: usize) -> Option<Arc<T>> {
        // SAFETY: slots are only replaced by a change, and there is none now.
        let slot = unsafe { Slots::at(self.slots.load(Ordering::Acquire), index)? };
        let value = NonNull::new(slot.load(Ordering::Acquire))?.as_ptr().cast_const();
        // SAFETY: the count of the table stays until the next change.
        unsafe {
            Arc::increment_strong_count(value);
            Some(Arc::from_raw(value))
        }
    }

    /// What is in slot `index`, if anything. For one of several users.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Arc<T>> {
        let section = super::read();
        loop {
            // SAFETY: slots that were replaced are freed after a grace period, which this section holds up.
            let slot = unsafe { Slots::at(self.slots.load(Ordering::Acquire), index)? };
            let value = NonNull::new(slot.load(Ordering::Acquire))?;
            // SAFETY: the weak count that the table had when this was loaded is given up after a grace period.
            let value = ManuallyDrop::new(unsafe { Weak::from_raw(value.as_ptr().cast_const()) });
            if let Some(value) = value.upgrade() {
                drop(section);
                return Some(value);
            }
        }
    }

    /// [`ArcTable::lend`] for one of several users.
    #[inline(never)]
    fn get_for_call(&self, index: usize) -> Option<TableRef<'_, T>> {
        self.get(index).map(TableRef::counted)
    }

    /// Whether slot `index` is filled.
    pub fn is_filled(&self, index: usize) -> bool {
        let _section = super::read();
        // SAFETY: as in `get`.
        unsafe { Slots::at(self.slots.load(Ordering::Acquire), index) }
            .is_some_and(|slot| !slot.load(Ordering::Relaxed).is_null())
    }

    /// The number of slots.
    pub fn len(&self) -> usize {
        let _section = super::read();
        // SAFETY: as in `get`.
        unsafe { (*self.slots.load(Ordering::Acquire)).length }
    }

    /// Whether it has no slots at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills or empties slot `index`, which exists, and answers what was there. One change at a time.
    pub fn set(&self, index: usize, value: Option<Arc<T>>) -> Option<Removed<T>> {
        let new = value.map_or(ptr::null_mut(), |value| {
            // The table's two counts; the weak one is found again from the pointer.
            let _ = Weak::into_raw(Arc::downgrade(&value));
            Arc::into_raw(value).cast_mut()
        });
        // SAFETY: slots are only replaced by a change, which is this one.
        let slot = unsafe { Slots::at(self.slots.load(Ordering::Acquire), index) };
        let slot = slot.expect("the caller knows how many slots there are");
        let old = NonNull::new(slot.swap(new, Ordering::AcqRel))?;
        assert_eq!(self.lent.load(Ordering::Relaxed), 0, "something leaves a table while something of it is lent");
        let old = old.as_ptr().cast_const();
        // SAFETY: the pointer was stored with these two counts, which pass to the result.
        let (value, memory) = unsafe { (Arc::from_raw(old), Weak::from_raw(old)) };
        // The only user is here, and reads nothing.
        let memory = if self.has_one_user() { None } else { Some(memory) };
        Some(Removed { value: Some(value), memory })
    }

    /// Room for `length` slots, to be given to [`ArcTable::grow`].
    pub fn room(length: usize) -> Room<T> {
        Room { slots: Slots::allocate(length), owns: PhantomData }
    }

    /// Moves everything to larger slots and answers the old ones, to be dropped without locks. Nothing happens if `room` is
    /// not larger. One change at a time.
    pub fn grow(&self, room: Room<T>) -> Room<T> {
        let old = self.slots.load(Ordering::Acquire);
        // SAFETY: slots are only replaced by a change, which is this one; the room is ours.
        unsafe {
            let length = (*old).length;
            if room.slots.as_ref().length <= length {
                return room;
            }
            for index in 0..length {
                if let (Some(from), Some(to)) = (Slots::at(old, index), Slots::at(room.slots.as_ptr(), index)) {
                    to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            }
        }
        // Release: who sees the new slots sees what is in them.
        let old = self.slots.swap(room.slots.as_ptr(), Ordering::AcqRel);
        core::mem::forget(room);
        Room { slots: NonNull::new(old).expect("a table has slots"), owns: PhantomData }
    }
}

/// Memory for the slots of a table, which refers to nothing. Dropped, it is given up after a grace period; that may sleep.
#[must_use = "it is dropped where no lock is held"]
pub struct Room<T: Send + Sync + 'static> {
    slots: NonNull<Slots<T>>,
    owns: PhantomData<Arc<T>>,
}

impl<T: Send + Sync + 'static> Drop for Room<T> {
    fn drop(&mut self) {
        // SAFETY: the slots are this room's alone, but for readers, which are gone after a grace period.
        let slots = unsafe { Deferred::from_raw(self.slots.cast(), Slots::<T>::free) };
        #[cfg(not(loom))]
        super::defer(slots);
        #[cfg(loom)]
        drop(slots);
    }
}

impl<T> Drop for ArcTable<T> {
    fn drop(&mut self) {
        let slots = self.slots.load(Ordering::Acquire);
        // SAFETY: nobody borrows the table, so nobody reads it: the slots and their counts end here.
        unsafe {
            for index in 0..(*slots).length {
                let value = Slots::at(slots, index).map_or(ptr::null_mut(), |slot| slot.load(Ordering::Relaxed));
                if !value.is_null() {
                    drop(Weak::from_raw(value.cast_const()));
                    drop(Arc::from_raw(value.cast_const()));
                }
            }
            Slots::<T>::free(NonNull::new(slots).expect("a table has slots").cast());
        }
    }
}

impl<T> fmt::Debug for ArcTable<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ArcTable { .. }")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;
    use crate::rcu;

    #[test]
    fn what_is_put_in_is_found_until_it_is_taken_out() {
        let table = ArcTable::new(2);
        assert!(table.get(0).is_none() && table.get(2).is_none());
        table.add_user();
        let value = Arc::new(5);
        assert!(table.set(1, Some(Arc::clone(&value))).is_none());
        assert_eq!(table.get(1).as_deref(), Some(&5));
        assert!(table.is_filled(1) && !table.is_filled(0));
        let removed = table.set(1, Some(Arc::new(6))).unwrap().into_value();
        assert!(Arc::ptr_eq(&removed, &value));
        assert_eq!(Arc::strong_count(&value), 2);
        rcu::flush();
        assert_eq!(Arc::weak_count(&value), 0);
        assert_eq!(table.get(1).as_deref(), Some(&6));
    }

    #[test]
    fn values_end_at_once_when_they_are_taken_out() {
        let table = ArcTable::new(1);
        let value = Arc::new(());
        let watch = Arc::downgrade(&value);
        drop(table.set(0, Some(value)));
        drop(table.set(0, None));
        assert_eq!(watch.strong_count(), 0);
    }

    #[test]
    fn a_table_grows_and_lets_go_of_everything() {
        let table = ArcTable::new(1);
        let value = Arc::new(());
        drop(table.set(0, Some(Arc::clone(&value))));
        drop(table.grow(ArcTable::room(1)));
        assert_eq!(table.len(), 1);
        drop(table.grow(ArcTable::room(3)));
        assert_eq!(table.len(), 3);
        drop(table.set(2, Some(Arc::clone(&value))));
        assert!(table.get(0).is_some() && table.get(1).is_none() && table.get(2).is_some());
        drop(table);
        assert_eq!((Arc::strong_count(&value), Arc::weak_count(&value)), (1, 0));
    }

    #[test]
    fn a_table_lends_to_its_only_user() {
        let table = ArcTable::new(1);
        let value = Arc::new(7);
        drop(table.set(0, Some(Arc::clone(&value))));
        let lent = table.lend(0).unwrap();
        assert_eq!((*lent, Arc::strong_count(&value)), (7, 2));
        let kept = lent.to_arc();
        assert_eq!(Arc::strong_count(&value), 3);
        assert!(table.lend(1).is_none());
        drop((lent, kept));
        // Nothing of what the only user takes out waits for readers.
        let removed = table.set(0, Some(Arc::clone(&value))).unwrap().into_value();
        assert_eq!((Arc::strong_count(&removed), Arc::weak_count(&removed)), (3, 1));
        drop(removed);
        assert!(Arc::ptr_eq(&table.get_locked(0).unwrap(), &value) && table.get_locked(1).is_none());
        table.add_user();
        let counted = table.lend(0).unwrap();
        assert_eq!(Arc::strong_count(&value), 3);
        // Of a table with other users something may go at any time.
        drop(table.set(0, None));
        assert_eq!((*counted, Arc::strong_count(&value)), (7, 2));
        drop(counted);
        assert!(!table.remove_user() && table.has_one_user() && table.remove_user() && !table.has_one_user());
    }

    #[test]
    #[should_panic(expected = "something of it is lent")]
    fn nothing_leaves_a_table_that_has_lent() {
        let table = ArcTable::new(1);
        drop(table.set(0, Some(Arc::new(7))));
        let _lent = table.lend(0);
        drop(table.set(0, None));
    }

    #[test]
    fn lookups_meet_changes() {
        const ROUNDS: usize = 5_000;
        let table = Arc::new(ArcTable::new(1));
        table.add_user();
        drop(table.set(0, Some(Arc::new(0))));
        let is_over = Arc::new(AtomicBool::new(false));
        let readers: std::vec::Vec<_> = (0..3)
            .map(|_| {
                let (table, is_over) = (Arc::clone(&table), Arc::clone(&is_over));
                thread::spawn(move || {
                    let mut last = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        // Replaced, never empty.
                        let number = *table.get(0).expect("there is always something");
                        assert!(number >= last);
                        last = number;
                    }
                })
            })
            .collect();
        for number in 1..=ROUNDS {
            drop(table.set(0, Some(Arc::new(number))));
            if number.is_power_of_two() {
                drop(table.grow(ArcTable::room(number)));
            }
        }
        is_over.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    }
}
