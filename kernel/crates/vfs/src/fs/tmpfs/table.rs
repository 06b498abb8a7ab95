//! [`Table`]: the names of one directory, in the order of their making.
//!
//! Each name gets the next cookie, a number that only grows, and the slots stand in the order of their cookies. A reader that
//! goes on behind a cookie therefore meets every name that stays exactly once, whatever is made or removed meanwhile. A removed
//! name leaves an empty slot; when most slots are empty they are squeezed out, which moves slots and changes no cookie.
//!
//! A hash table leads from a name to its cookie, and from the cookie one finds the slot by its distance from the first one, or
//! by bisection once slots were squeezed out.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::Inode;
use crate::inode::ListedEntry;
use crate::name::{HashedName, Name};

use super::MemoryInode;

/// Empty slots that are not worth squeezing out.
const EMPTY_SLOTS_MAX: usize = 16;

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Meaning {
    /// A node.
    Node(Arc<MemoryInode>),
    /// Nothing, and what the directory below has of that name is hidden.
    Hidden,
}

struct Slot {
    cookie: u64,
    name: Name,
    /// None: removed.
    meaning: Option<Meaning>,
}

/// The place of a name.
struct Index {
    hash: u64,
    cookie: u64,
}

/// The names of one directory.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    index: HashTable<Index>,
    last_cookie: u64,
    nodes: usize,
}

impl Table {
    /// How many names stand for nodes.
    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    fn position(&self, cookie: u64) -> Option<usize> {
        let guess = usize::try_from(cookie - self.slots.first()?.cookie.min(cookie)).ok()?;
        if self.slots.get(guess).is_some_and(|slot| slot.cookie == cookie) {
            return Some(guess);
        }
        self.slots.binary_search_by_key(&cookie, |slot| slot.cookie).ok()
    }

    /// The position of a name's slot.
    fn find(&self, name: HashedName<'_>) -> Option<usize> {
        let is_it = |index: &Index| {
            index.hash == name.hash()
                && self
                    .position(index.cookie)
                    .and_then(|position| self.slots.get(position))
                    .is_some_and(|slot| slot.name.is(name))
        };
        let cookie = self.index.find(name.hash(), is_it)?.cookie;
        self.position(cookie)
    }

    /// What a name stands for; none when it is not in the table.
    pub(super) fn get(&self, name: HashedName<'_>) -> Option<&Meaning> {
        self.slots.get(self.find(name)?)?.meaning.as_ref()
    }

    /// Gives a name a meaning, and answers the one it had.
    pub(super) fn put(&mut self, name: HashedName<'_>, meaning: Meaning) -> Option<Meaning> {
        self.nodes += usize::from(matches!(meaning, Meaning::Node(_)));
        if let Some(slot) = self.find(name).and_then(|position| self.slots.get_mut(position)) {
            let old = slot.meaning.replace(meaning);
            self.nodes -= usize::from(matches!(old, Some(Meaning::Node(_))));
            return old;
        }
        self.last_cookie += 1;
        let cookie = self.last_cookie;
        self.slots.push(Slot { cookie, name: Name::from(name), meaning: Some(meaning) });
        self.index.insert_unique(name.hash(), Index { hash: name.hash(), cookie }, |index| index.hash);
        None
    }

    /// Takes a name out and answers what it stood for.
    pub(super) fn remove(&mut self, name: HashedName<'_>) -> Option<Meaning> {
        let position = self.find(name)?;
        let slot = self.slots.get_mut(position)?;
        let cookie = slot.cookie;
        let meaning = slot.meaning.take();
        self.nodes -= usize::from(matches!(meaning, Some(Meaning::Node(_))));
        let entry = self.index.find_entry(name.hash(), |index| index.cookie == cookie);
        if let Ok(entry) = entry {
            entry.remove();
        }
        self.squeeze();
        meaning
    }

    /// Squeezes out empty slots when they are the most.
    fn squeeze(&mut self) {
        let empty = self.slots.len() - self.index.len();
        if empty > EMPTY_SLOTS_MAX && empty > self.index.len() {
            self.slots.retain(|slot| slot.meaning.is_some());
            self.slots.shrink_to(self.index.len() * 2);
            self.index.shrink_to(self.index.len() * 2, |index| index.hash);
        }
    }

    /// Copies up to `count` entries behind `cookie` to `entries`, numbered from `base`.
    pub(super) fn list(&self, cookie: u64, base: u64, count: usize, entries: &mut Vec<ListedEntry>) {
        let start = self.slots.partition_point(|slot| slot.cookie <= cookie);
        let listed = self.slots.iter().skip(start).filter_map(|slot| match &slot.meaning {
            Some(Meaning::Node(node)) => Some(ListedEntry {
                name: slot.name.clone(),
                inode: node.metadata().number(),
                kind: node.metadata().kind().entry_kind(),
                next: base + slot.cookie,
            }),
            _ => None,
        });
        entries.extend(listed.take(count));
    }

    /// Takes all nodes out.
    pub(super) fn take_nodes(&mut self) -> impl Iterator<Item = Arc<MemoryInode>> + use<> {
        let slots = core::mem::take(self).slots;
        slots.into_iter().filter_map(|slot| match slot.meaning {
            Some(Meaning::Node(node)) => Some(node),
            _ => None,
        })
    }
}
