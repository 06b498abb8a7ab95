//! [`Nodes`]: the inodes in use, by what the server calls their files.

use alloc::sync::{Arc, Weak};

use abi::Errno;
use hashbrown::HashTable;
use ninep::Fid;
use sync::{Mutex, rank};

use crate::{FileKind, HashedName};

use super::Shared;
use super::inode::ServedInode;

struct Entry {
    path: u64,
    node: Weak<ServedInode>,
}

/// The inodes in use.
pub(super) struct Nodes(Mutex<HashTable<Entry>>);

fn hash(path: u64) -> u64 {
    HashedName::new(&path.to_le_bytes()).hash()
}

impl Nodes {
    pub(super) fn new() -> Self {
        Self(Mutex::new(rank::DIRECTORY_ENTRIES, HashTable::new()))
    }

    /// The inode of a file that was found under this fid: the one in use, or a new one.
    pub(super) fn node(&self, shared: &Arc<Shared>, fid: Fid) -> Result<Arc<ServedInode>, Errno> {
        let attributes = fid.attributes()?;
        let kind = FileKind::of_mode(attributes.mode).filter(|_| attributes.mode >> 12 != 0).ok_or(Errno::EIO)?;
        let fid = Arc::new(fid);
        let path = attributes.qid.path;
        if let Some(known) = self.find(path).filter(|known| known.is_still(kind)) {
            known.found_again(fid)?;
            return Ok(known);
        }
        let made = ServedInode::new(shared, fid.clone(), &attributes);
        match self.insert(path, kind, &made) {
            Some(known) => {
                known.found_again(fid)?;
                Ok(known)
            }
            None => Ok(made),
        }
    }

    /// Adds an inode, unless another thread was quicker: then that one's is answered.
    fn insert(&self, path: u64, kind: FileKind, made: &Arc<ServedInode>) -> Option<Arc<ServedInode>> {
        let hash = hash(path);
        let mut table = self.0.lock();
        let Some(entry) = table.find_mut(hash, |entry| entry.path == path) else {
            let entry = Entry { path, node: Arc::downgrade(made) };
            table.insert_unique(hash, entry, |entry| self::hash(entry.path));
            return None;
        };
        let known = entry.node.upgrade();
        let is_same = known.as_ref().is_some_and(|known| known.is_still(kind));
        if !is_same {
            entry.node = Arc::downgrade(made);
        }
        // If this was the last of another file with the same number, it goes without the lock.
        drop(table);
        known.filter(|_| is_same)
    }

    fn find(&self, path: u64) -> Option<Arc<ServedInode>> {
        self.0.lock().find(hash(path), |entry| entry.path == path)?.node.upgrade()
    }

    /// Forgets an inode that is being dropped.
    pub(super) fn forget(&self, path: u64) {
        let mut table = self.0.lock();
        let is_dead = |entry: &Entry| entry.path == path && entry.node.strong_count() == 0;
        if let Ok(entry) = table.find_entry(hash(path), is_dead) {
            // The last weak reference frees memory, which may happen under this lock.
            entry.remove();
        }
    }
}
