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

use alloc::alloc::{alloc_zeroed, dealloc, handle_alloc_error};
use alloc::sync::{Arc, Weak};
use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, offset_of};
use core::ptr::{self, NonNull};

use super::Deferred;
use crate::atomic::{AtomicPtr, Ordering};

/// Slots of references to `T`, each empty or not.
pub struct ArcTable<T> {
    slots: AtomicPtr<Slots<T>>,
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

/// What a change took out of a table. Dropped without locks, it gives the memory up after a grace period; it may sleep then.
#[must_use = "it is dropped where no lock is held"]
pub struct Removed<T: Send + Sync + 'static> {
    value: Option<Arc<T>>,
    memory: ManuallyDrop<Weak<T>>,
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
        // SAFETY: a drop happens once.
        let memory = unsafe { ManuallyDrop::take(&mut self.memory) };
        drop(self.value.take());
        #[cfg(not(loom))]
        super::defer(Deferred::from_weak(memory));
        #[cfg(loom)]
        drop(memory);
    }
}

impl<T: Send + Sync + 'static> ArcTable<T> {
    /// A table of `length` empty slots.
    pub fn new(length: usize) -> Self {
        Self { slots: AtomicPtr::new(Slots::allocate(length).as_ptr()), owns: PhantomData }
    }

    /// What is in slot `index`, if anything.
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
        // SAFETY: the pointer was stored with these two counts, which pass to the result.
        Some(unsafe { Self::removed(old) })
    }

    /// # Safety
    /// `value` was in a slot and is in none any more.
    unsafe fn removed(value: NonNull<T>) -> Removed<T> {
        let value = value.as_ptr().cast_const();
        // SAFETY: the caller's promise: the two counts of the table are ours.
        let (value, memory) = unsafe { (Arc::from_raw(value), Weak::from_raw(value)) };
        Removed { value: Some(value), memory: ManuallyDrop::new(memory) }
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
    fn lookups_meet_changes() {
        const ROUNDS: usize = 5_000;
        let table = Arc::new(ArcTable::new(1));
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
