//! [`NameTable`]: a hash table from names to values, for the dentry cache.
//!
//! Open addressing with linear probing: a lookup is one or two neighbouring slots, compared by the whole hash before the name is
//! looked at. Removing shifts back what follows, so there are no graves and a table that shrinks again is as fast as a new one.
//! At most three quarters of the slots are used.

use alloc::vec::Vec;

use crate::name::{HashedName, Name};

/// Slots of the smallest table.
const SLOTS_MIN: usize = 4;

struct Slot<V> {
    hash: u64,
    name: Name,
    value: V,
}

/// A table from names to values.
pub(crate) struct NameTable<V> {
    /// A power of two of slots, or none.
    slots: Vec<Option<Slot<V>>>,
    len: usize,
}

impl<V> NameTable<V> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }

    /// How many names there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "masked")]
    fn home(&self, hash: u64) -> usize {
        hash as usize & self.slots.len().wrapping_sub(1)
    }

    /// The position of a name.
    #[inline(always)]
    fn find(&self, name: HashedName<'_>) -> Option<usize> {
        let mut position = self.home(name.hash());
        loop {
            // There is always an empty slot, or there are no slots.
            let slot = self.slots.get(position)?.as_ref()?;
            if slot.hash == name.hash() && slot.name.is(name) {
                return Some(position);
            }
            position = (position + 1) & (self.slots.len() - 1);
        }
    }

    /// The value of a name.
    #[inline(always)]
    pub(crate) fn get(&self, name: HashedName<'_>) -> Option<&V> {
        let mut position = self.home(name.hash());
        loop {
            let slot = self.slots.get(position)?.as_ref()?;
            if slot.hash == name.hash() && slot.name.is(name) {
                return Some(&slot.value);
            }
            position = (position + 1) & (self.slots.len() - 1);
        }
    }

    /// Sets the value of a name and gives the one it had.
    pub(crate) fn put(&mut self, name: HashedName<'_>, value: V) -> Option<V> {
        if let Some(Some(slot)) = self.find(name).and_then(|position| self.slots.get_mut(position)) {
            return Some(core::mem::replace(&mut slot.value, value));
        }
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.slots.len() * 2).max(SLOTS_MIN));
        }
        self.len += 1;
        self.place(Slot { hash: name.hash(), name: Name::from(name), value });
        None
    }

    /// Puts a slot at the first empty position from its home on.
    fn place(&mut self, slot: Slot<V>) {
        let mut position = self.home(slot.hash);
        while self.slots.get(position).is_some_and(Option::is_some) {
            position = (position + 1) & (self.slots.len() - 1);
        }
        if let Some(empty) = self.slots.get_mut(position) {
            *empty = Some(slot);
        }
    }

    /// Changes the number of slots, a power of two that is large enough.
    fn resize(&mut self, slots: usize) {
        let mut new = Vec::new();
        new.resize_with(slots, || None);
        for slot in core::mem::replace(&mut self.slots, new).into_iter().flatten() {
            self.place(slot);
        }
    }

    /// Takes a name out and gives its value.
    pub(crate) fn take(&mut self, name: HashedName<'_>) -> Option<V> {
        let mut hole = self.find(name)?;
        let taken = self.slots.get_mut(hole)?.take()?;
        self.len -= 1;
        // What follows without a gap moves back, unless it would move to before its home.
        let mask = self.slots.len() - 1;
        let mut next = (hole + 1) & mask;
        while let Some(Some(slot)) = self.slots.get(next) {
            let home = self.home(slot.hash);
            let distance_from_home = next.wrapping_sub(home) & mask;
            let distance_from_hole = next.wrapping_sub(hole) & mask;
            if distance_from_home >= distance_from_hole {
                self.slots.swap(hole, next);
                hole = next;
            }
            next = (next + 1) & mask;
        }
        Some(taken.value)
    }

    /// The values, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.slots.iter().flatten().map(|slot| &slot.value)
    }

    /// Takes out the values that `is_taken` says.
    pub(crate) fn take_if(&mut self, is_taken: impl Fn(&V) -> bool) -> Vec<V> {
        let (taken, kept): (Vec<_>, Vec<_>) =
            core::mem::take(&mut self.slots).into_iter().flatten().partition(|slot| is_taken(&slot.value));
        self.len = kept.len();
        if !kept.is_empty() {
            self.resize((kept.len() * 2).next_power_of_two().max(SLOTS_MIN));
        }
        kept.into_iter().for_each(|slot| self.place(slot));
        taken.into_iter().map(|slot| slot.value).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn follows_a_plain_map() {
        let mut state = 0x5eed_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut table = NameTable::new();
        let mut model: HashMap<String, u64> = HashMap::new();
        for step in 0..100_000 {
            let name = format!("a name of some length {}", random(400));
            let hashed = HashedName::new(name.as_bytes());
            match random(4) {
                0 | 1 => assert_eq!(table.put(hashed, step), model.insert(name.clone(), step)),
                2 => assert_eq!(table.take(hashed), model.remove(&name)),
                _ if step % 997 == 0 => {
                    let taken = table.take_if(|value| value % 3 == 0);
                    let before = model.len();
                    model.retain(|_, value| *value % 3 != 0);
                    assert_eq!(taken.len(), before - model.len());
                }
                _ => {}
            }
            assert_eq!(table.get(hashed), model.get(&name));
            assert_eq!(table.len(), model.len());
        }
        assert!(model.iter().all(|(name, value)| table.get(HashedName::new(name.as_bytes())) == Some(value)));
    }
}
