//! The layer below: nodes that lie over nodes of a file system that never changes.
//!
//! [`LowerNodes`] makes one [`MemoryInode`] for each node below that is met, and finds it again as long as someone holds it.
//! When a node is changed it is pinned: the change would be lost with it. It is unpinned when its last name goes. So the nodes of
//! a large image cost memory only while they are used, and the identity of a node does not depend on the names that
//! lead to it.

use alloc::sync::{Arc, Weak};

use hashbrown::HashTable;
use sync::{Mutex, rank};

use crate::{HashedName, Inode};

use super::{MemoryInode, Shared};

/// Tables, so that lookups in different directories seldom meet.
const SHARDS: usize = 16;

struct Entry {
    number: u64,
    node: Weak<MemoryInode>,
    /// Set when the node was changed.
    pinned: Option<Arc<MemoryInode>>,
}

/// The nodes made for those of the layer below, by number.
pub(super) struct LowerNodes {
    shards: [Mutex<HashTable<Entry>>; SHARDS],
}

fn hash(number: u64) -> u64 {
    HashedName::new(&number.to_le_bytes()).hash()
}

impl LowerNodes {
    pub(super) fn new() -> Self {
        Self { shards: [const { Mutex::new(rank::OVERLAY_INODES, HashTable::new()) }; SHARDS] }
    }

    fn shard(&self, hash: u64) -> &Mutex<HashTable<Entry>> {
        // The table takes its bits from both ends of the hash, so the middle chooses the shard.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    /// The node over `lower`.
    pub(super) fn node(&self, shared: &Arc<Shared>, lower: &Arc<dyn Inode>) -> Arc<MemoryInode> {
        let number = lower.metadata().number();
        let hash = hash(number);
        let mut shard = self.shard(hash).lock();
        let known = shard.find_mut(hash, |entry| entry.number == number);
        if let Some(entry) = known {
            if let Some(node) = entry.node.upgrade() {
                return node;
            }
            // The last reference has just gone; whoever dropped it finds the new one and leaves it.
            let node = MemoryInode::over(shared, lower);
            entry.node = Arc::downgrade(&node);
            return node;
        }
        let node = MemoryInode::over(shared, lower);
        let entry = Entry { number, node: Arc::downgrade(&node), pinned: None };
        shard.insert_unique(hash, entry, |entry| self::hash(entry.number));
        node
    }

    /// Keeps the node of this number, which is about to be changed.
    pub(super) fn pin(&self, number: u64) {
        let hash = hash(number);
        let mut shard = self.shard(hash).lock();
        if let Some(entry) = shard.find_mut(hash, |entry| entry.number == number)
            && entry.pinned.is_none()
        {
            entry.pinned = entry.node.upgrade();
        }
    }

    /// Lets a node go that has lost its last name.
    pub(super) fn unpin(&self, number: u64) {
        let hash = hash(number);
        let pinned = {
            let mut shard = self.shard(hash).lock();
            shard.find_mut(hash, |entry| entry.number == number).and_then(|entry| entry.pinned.take())
        };
        drop(pinned);
    }

    /// Forgets a node that is being dropped.
    pub(super) fn forget(&self, number: u64) {
        let hash = hash(number);
        let mut shard = self.shard(hash).lock();
        let is_dead = |entry: &Entry| entry.number == number && entry.node.strong_count() == 0;
        let dead = shard.find_entry(hash, is_dead).map(|entry| entry.remove().0);
        drop(dead);
    }
}
