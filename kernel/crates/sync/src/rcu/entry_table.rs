//! [`EntryTable`]: entries found by a hash under RCU, where a miss means nothing.
//!
//! 1. *What readers see.* An entry never changes: it is put into a slot by one store, and taken out by another. So what
//!    a reader finds was true at a moment of its search, whatever happens meanwhile.
//! 2. *What they miss.* Slots are an array with open addressing. Taking an entry out moves others back, and a table
//!    that grows moves them all, so a reader may pass an entry that is there. It must not take a miss for an answer,
//!    but look again under the lock. This is what makes the rest simple: no marks for what was taken out, no links that
//!    two generations of the array would share (compare J. Triplett, P. McKenney and J. Walpole, "Resizable, Scalable,
//!    Concurrent Hash Tables via Relativistic Programming", USENIX ATC 2011, where readers must not miss).
//! 3. *What they do not see.* Of each entry the table also holds something that readers get no reference to. Who takes
//!    the entry out gets that back at once; the rest, the part that readers may look at, ends after a grace period. So
//!    a cache can give up what it keeps alive when it wants to, while those who look things up count nothing.
//! 4. *Order.* A reader that finds an entry sees all that the one who put it there did before. Who changes two entries
//!    and is seen by the second change is seen by the first one too.
//!
//! Changes are made under the table's lock. `model/rcu.rs` explores readers beside them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::{fmt, mem, ptr};

use super::{Deferred, ReadGuard};
use crate::atomic::{AtomicPtr, Ordering};
use crate::cell::UnsafeCell;
use crate::mutex::{Mutex, MutexGuard};
use crate::rank::Rank;

/// Slots of the smallest table; a table without entries has none.
const SLOTS_MIN: usize = 4;

struct Entry<S, H> {
    hash: u64,
    seen: S,
    /// For who has the table's lock.
    held: UnsafeCell<H>,
}

/// The slots, which do not own what is in them: a power of two, of which at most three quarters are used.
struct Slots<S, H>(Box<[AtomicPtr<Entry<S, H>>]>);

impl<S, H> Slots<S, H> {
    fn new(length: usize) -> Self {
        Self((0..length).map(|_| AtomicPtr::new(ptr::null_mut())).collect())
    }

    #[inline]
    fn mask(&self) -> usize {
        self.0.len() - 1
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked")]
    fn home(&self, hash: u64) -> usize {
        hash as usize & self.mask()
    }

    /// Puts an entry at the first empty position from its home on.
    fn place(&self, entry: *mut Entry<S, H>, hash: u64) {
        let mut position = self.home(hash);
        while !self.0[position].load(Ordering::Relaxed).is_null() {
            position = (position + 1) & self.mask();
        }
        // Release: a reader that sees the entry sees what is in it.
        self.0[position].store(entry, Ordering::Release);
    }
}

/// Entries with a part `S` that readers see and a part `H` that is the table's alone.
pub struct EntryTable<S, H> {
    /// Null as long as there was no entry.
    slots: AtomicPtr<Slots<S, H>>,
    /// How many entries there are.
    changes: Mutex<usize>,
}

// SAFETY: readers share `S`; `H` is reached under the lock only, by whatever thread.
unsafe impl<S: Send + Sync, H: Send> Sync for EntryTable<S, H> {}
// SAFETY: as above.
unsafe impl<S: Send + Sync, H: Send> Send for EntryTable<S, H> {}

impl<S: Send + Sync + 'static, H: Default + Send + 'static> EntryTable<S, H> {
    /// An empty table whose changes take a lock of this rank.
    pub fn new(rank: Rank) -> Self {
        Self { slots: AtomicPtr::new(ptr::null_mut()), changes: Mutex::new(rank, 0) }
    }

    /// An entry, for the length of a read section. None means that the lock is to be taken.
    #[inline(always)]
    pub fn find<'a>(&'a self, hash: u64, is_wanted: impl Fn(&S) -> bool, _section: &'a ReadGuard) -> Option<&'a S> {
        // SAFETY: slots that were replaced and entries that were taken out are freed after a grace period, which the
        // section holds up; and the table is borrowed.
        unsafe {
            let slots = self.slots.load(Ordering::Acquire).as_ref()?;
            let mut position = slots.home(hash);
            // There is always an empty slot, but those who change the table may keep it ahead of this search.
            for _ in 0..slots.0.len() {
                let entry = slots.0.get(position)?.load(Ordering::Acquire).as_ref()?;
                if entry.hash == hash && is_wanted(&entry.seen) {
                    return Some(&entry.seen);
                }
                position = (position + 1) & slots.mask();
            }
        }
        None
    }

    /// Locks the table: what is found now is all there is.
    #[inline]
    pub fn lock(&self) -> Changes<'_, S, H> {
        Changes {
            len: self.changes.lock(),
            slots: &self.slots,
            #[cfg(loom)]
            given_up: Vec::new(),
        }
    }
}

/// A locked table.
pub struct Changes<'a, S, H> {
    len: MutexGuard<'a, usize>,
    slots: &'a AtomicPtr<Slots<S, H>>,
    /// What ends after a grace period.
    #[cfg(loom)]
    given_up: Vec<Deferred>,
}

impl<S: Send + Sync + 'static, H: Default + Send + 'static> Changes<'_, S, H> {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        *self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self.len == 0
    }

    /// The slots; none as long as there was no entry.
    fn slots(&self) -> Option<&Slots<S, H>> {
        // SAFETY: slots are only replaced under the lock.
        unsafe { self.slots.load(Ordering::Relaxed).as_ref() }
    }

    /// The position of an entry, and the entry.
    fn position(&self, hash: u64, is_wanted: impl Fn(&S) -> bool) -> Option<(usize, *mut Entry<S, H>)> {
        let slots = self.slots()?;
        let mut position = slots.home(hash);
        loop {
            let entry = slots.0[position].load(Ordering::Relaxed);
            // SAFETY: entries in slots live as long as the lock is held.
            let seen = unsafe { entry.as_ref()? };
            if seen.hash == hash && is_wanted(&seen.seen) {
                return Some((position, entry));
            }
            position = (position + 1) & slots.mask();
        }
    }

    /// An entry.
    pub fn get(&self, hash: u64, is_wanted: impl Fn(&S) -> bool) -> Option<(&S, &H)> {
        let (_, entry) = self.position(hash, is_wanted)?;
        // SAFETY: entries in slots live as long as the lock is held, and what they hold is changed by `&mut self` only.
        unsafe { Some((&(*entry).seen, (*entry).held.with(|held| &*held))) }
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&S, &H)> {
        let slots = self.slots().map_or(&[][..], |slots| &slots.0);
        // SAFETY: as in `get`.
        let entries = slots.iter().filter_map(|slot| unsafe { slot.load(Ordering::Relaxed).as_ref() });
        // SAFETY: as in `get`.
        entries.map(|entry| (&entry.seen, entry.held.with(|held| unsafe { &*held })))
    }

    /// Puts an entry in, in the place of the one that `is_same` finds, of which it answers what was held. A reader
    /// finds the one or the other.
    pub fn put(&mut self, hash: u64, is_same: impl Fn(&S) -> bool, seen: S, held: H) -> Option<H> {
        let entry = Box::into_raw(Box::new(Entry { hash, seen, held: UnsafeCell::new(held) }));
        if let Some((position, old)) = self.position(hash, is_same) {
            if let Some(slots) = self.slots() {
                // Release: as in `Slots::place`.
                slots.0[position].store(entry, Ordering::Release);
            }
            return Some(self.end(old));
        }
        let capacity = self.slots().map_or(0, |slots| slots.0.len());
        if (*self.len + 1) * 4 > capacity * 3 {
            self.resize((capacity * 2).max(SLOTS_MIN));
        }
        *self.len += 1;
        if let Some(slots) = self.slots() {
            slots.place(entry, hash);
        }
        None
    }

    /// Takes an entry out and answers what was held.
    pub fn take(&mut self, hash: u64, is_wanted: impl Fn(&S) -> bool) -> Option<H> {
        let (mut hole, taken) = self.position(hash, is_wanted)?;
        let slots = self.slots()?;
        // What follows without a gap moves back, unless it would move to before its home. It is put into its new place
        // before it leaves the old one.
        let mut next = (hole + 1) & slots.mask();
        loop {
            let entry = slots.0[next].load(Ordering::Relaxed);
            // SAFETY: entries in slots live as long as the lock is held.
            let Some(following) = (unsafe { entry.as_ref() }) else { break };
            let distance_from_home = next.wrapping_sub(slots.home(following.hash)) & slots.mask();
            let distance_from_hole = next.wrapping_sub(hole) & slots.mask();
            if distance_from_home >= distance_from_hole {
                slots.0[hole].store(entry, Ordering::Release);
                hole = next;
            }
            next = (next + 1) & slots.mask();
        }
        slots.0[hole].store(ptr::null_mut(), Ordering::Release);
        *self.len -= 1;
        Some(self.end(taken))
    }

    /// Takes out what `is_kept` does not keep, and uses no more slots than the rest needs.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&S, &mut H) -> bool) {
        let Some(slots) = self.slots() else { return };
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for slot in &slots.0 {
            let entry = slot.load(Ordering::Relaxed);
            if entry.is_null() {
                continue;
            }
            // SAFETY: entries in slots live as long as the lock is held, which is needed for what they hold.
            unsafe {
                let is_kept = (*entry).held.with_mut(|held| is_kept(&(*entry).seen, &mut *held));
                if is_kept { kept.push(entry) } else { gone.push(entry) }
            }
        }
        if gone.is_empty() {
            return;
        }
        *self.len = kept.len();
        let new = Slots::new((kept.len() * 2).next_power_of_two().max(SLOTS_MIN));
        for entry in kept {
            // SAFETY: as above.
            new.place(entry, unsafe { (*entry).hash });
        }
        self.replace(new);
        // SAFETY: these are in no slots any more, came from boxes, and are given up once.
        let gone: Vec<Box<Entry<S, H>>> = gone.into_iter().map(|entry| unsafe { Box::from_raw(entry) }).collect();
        self.give_up(Deferred::from_box(Box::new(gone)));
    }

    /// Changes the number of slots, a power of two that is large enough.
    fn resize(&mut self, length: usize) {
        let new = Slots::new(length);
        let old = self.slots().map_or(&[][..], |slots| &slots.0);
        for entry in old.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|entry| !entry.is_null()) {
            // SAFETY: entries in slots live as long as the lock is held.
            new.place(entry, unsafe { (*entry).hash });
        }
        self.replace(new);
    }

    fn replace(&mut self, new: Slots<S, H>) {
        // Release: who sees the new slots sees what is in them.
        let old = self.slots.swap(Box::into_raw(Box::new(new)), Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: it came from a box, and is replaced once.
            self.give_up(Deferred::from_box(unsafe { Box::from_raw(old) }));
        }
    }

    /// Answers what an entry holds that is in no slot any more, and gives the rest up.
    fn end(&mut self, entry: *mut Entry<S, H>) -> H {
        // SAFETY: it came from a box, and was taken out of its slot once. The lock is needed for what it holds.
        let (entry, held) = unsafe { (Box::from_raw(entry), (*entry).held.with_mut(|held| mem::take(&mut *held))) };
        self.give_up(Deferred::from_box(entry));
        held
    }

    #[cfg(not(loom))]
    fn give_up(&mut self, value: Deferred) {
        super::defer(value);
    }

    #[cfg(loom)]
    fn give_up(&mut self, value: Deferred) {
        self.given_up.push(value);
    }

    /// Unlocks the table and answers what was given up, to be kept for a grace period.
    #[cfg(loom)]
    pub(crate) fn into_given_up(mut self) -> Vec<Deferred> {
        mem::take(&mut self.given_up)
    }
}

impl<S, H> Drop for EntryTable<S, H> {
    fn drop(&mut self) {
        let slots = self.slots.load(Ordering::Acquire);
        if slots.is_null() {
            return;
        }
        // SAFETY: nobody borrows the table, so nobody reads it. The slots came from a box.
        let slots = unsafe { Box::from_raw(slots) };
        for slot in &slots.0 {
            let entry = slot.load(Ordering::Relaxed);
            if !entry.is_null() {
                // SAFETY: it came from a box, and is in one slot.
                drop(unsafe { Box::from_raw(entry) });
            }
        }
    }
}

impl<S, H> fmt::Debug for EntryTable<S, H> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("EntryTable { .. }")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use alloc::sync::{Arc, Weak};
    use core::sync::atomic::AtomicBool;
    use std::collections::HashMap;
    use std::thread;

    use super::*;
    use crate::{rank, rcu};

    type Table = EntryTable<(u64, u64), Option<Arc<u64>>>;

    /// Few hashes, so that entries meet.
    fn hash_of(key: u64) -> u64 {
        key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58
    }

    fn find(table: &Table, key: u64) -> Option<u64> {
        table.find(hash_of(key), |seen| seen.0 == key, &rcu::read()).map(|seen| seen.1)
    }

    fn put(table: &Table, key: u64, value: u64) -> Option<u64> {
        let old = table.lock().put(hash_of(key), |seen| seen.0 == key, (key, value), Some(Arc::new(value)));
        old.flatten().map(|old| *old)
    }

    fn take(table: &Table, key: u64) -> Option<u64> {
        table.lock().take(hash_of(key), |seen| seen.0 == key).flatten().map(|old| *old)
    }

    #[test]
    fn follows_a_plain_map() {
        let mut state = 0x5eed_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let (table, mut model) = (Table::new(rank::DENTRIES), HashMap::new());
        for step in 0..50_000 {
            let key = random(300);
            match random(5) {
                0 | 1 => assert_eq!(put(&table, key, step), model.insert(key, step)),
                2 | 3 => assert_eq!(take(&table, key), model.remove(&key)),
                _ if step % 997 == 0 => {
                    table.lock().retain(|seen, held| {
                        assert_eq!(held.as_deref(), Some(&seen.1));
                        seen.1 % 3 != 0
                    });
                    model.retain(|_, value| *value % 3 != 0);
                }
                _ => {}
            }
            assert_eq!(find(&table, key), model.get(&key).copied());
            assert_eq!(table.lock().len(), model.len());
        }
        let locked = table.lock();
        assert_eq!(locked.iter().map(|(seen, _)| *seen).collect::<HashMap<_, _>>(), model);
        assert!(model.iter().all(|(key, value)| {
            locked.get(hash_of(*key), |seen| seen.0 == *key).is_some_and(|(seen, _)| seen.1 == *value)
        }));
    }

    #[test]
    fn what_is_held_comes_back_at_once_and_what_is_seen_ends_later() {
        let seen = Arc::new(());
        let table = EntryTable::<(Arc<()>, Weak<u32>), Option<Arc<u32>>>::new(rank::DENTRIES);
        let held = Arc::new(7);
        let old = table.lock().put(1, |_| true, (seen.clone(), Arc::downgrade(&held)), Some(held));
        assert!(old.is_none());
        {
            let section = rcu::read();
            let (_, link) = table.find(1, |_| true, &section).unwrap();
            assert_eq!(link.upgrade().as_deref(), Some(&7));
        }
        let held = table.lock().take(1, |_| true).flatten();
        assert_eq!(held.and_then(Arc::into_inner), Some(7));
        rcu::flush();
        assert_eq!(Arc::strong_count(&seen), 1);
        drop(table.lock().put(1, |_| true, (seen.clone(), Weak::new()), None));
        drop(table);
        assert_eq!(Arc::strong_count(&seen), 1);
    }

    #[test]
    fn readers_never_find_what_is_not_true() {
        const KEYS: u64 = 40;
        const ROUNDS: u64 = 400;
        let table = Arc::new(Table::new(rank::DENTRIES));
        let is_over = Arc::new(AtomicBool::new(false));
        let readers: std::vec::Vec<_> = (0..2)
            .map(|_| {
                let (table, is_over) = (Arc::clone(&table), Arc::clone(&is_over));
                thread::spawn(move || {
                    let mut last = [0; 40];
                    while !is_over.load(core::sync::atomic::Ordering::Relaxed) {
                        for (key, last) in (0..KEYS).zip(&mut last) {
                            // Values of a key only grow, and belong to it.
                            let Some(value) = find(&table, key) else { continue };
                            assert!(value % KEYS == key && value >= *last);
                            *last = value;
                        }
                    }
                })
            })
            .collect();
        for round in 0..ROUNDS {
            for key in 0..KEYS {
                put(&table, key, round * KEYS + key);
                if (key + round) % 3 == 0 {
                    take(&table, (key * 7) % KEYS);
                }
            }
            if round % 50 == 0 {
                table.lock().retain(|seen, _| seen.0 % 2 == 0);
            }
        }
        is_over.store(true, core::sync::atomic::Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        rcu::flush();
    }
}
