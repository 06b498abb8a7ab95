//! [`Names`]: the names in a directory that the cache knows, found without a lock.
//!
//! What walks see of a name ([`Seen`]) never changes and ends after a grace period; it does not keep the dentry, which
//! goes when nobody needs it, and its inode with it. The table itself has the counted reference that keeps a dentry in
//! the cache. `sync::rcu::EntryTable` has the theory of the table, the module `dentry` that of the cache, the module
//! `cached_walk` that of the walk.
//!
//! A miss of [`Names::find`] means nothing; under [`Names::lock`] it means that the cache does not know the name.
//! Lock rank: `DENTRIES`. Names are changed under the lock of the directory's inode; dropping what nobody uses needs
//! only the table's.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

use sync::rank;
use sync::rcu::{Changes, EntryTable, ReadGuard};

use crate::name::{HashedName, Name};
use crate::{Dentry, FileKind};

/// The most names known to be absent that one directory remembers.
const ABSENT_MAX: usize = 1024;

/// Dentries in all tables.
static CACHED: AtomicUsize = AtomicUsize::new(0);

/// The number of dentries in the cache.
pub(crate) fn cached() -> usize {
    CACHED.load(Relaxed)
}

/// What a walk sees of a name.
pub(crate) struct Seen {
    name: Name,
    /// None: the name is known to be absent.
    child: Option<Child>,
}

/// What a name stands for.
pub(crate) struct Child {
    /// Fails to be counted when it has left the cache.
    pub(crate) dentry: Weak<Dentry>,
    pub(crate) kind: FileKind,
    /// What is in it, if it is a directory that keeps names.
    pub(crate) names: Option<Arc<Names>>,
}

impl Seen {
    /// What the name stands for; None if it is known to be absent.
    #[inline(always)]
    pub(crate) fn child(&self) -> Option<&Child> {
        self.child.as_ref()
    }
}

/// What the cache knows of a name.
pub(crate) enum Cached {
    Present(Arc<Dentry>),
    Absent,
    Unknown,
}

/// The names in a directory, and what a walk needs to know of the directory itself.
pub(crate) struct Names {
    table: EntryTable<Seen, Option<Arc<Dentry>>>,
    /// How many names are absent. Changed under the table's lock.
    absent: AtomicUsize,
    /// How many mounts cover the directory.
    mounts: AtomicU32,
    /// Whether everybody may search it, kept up to date by the inode's metadata.
    is_open: Arc<AtomicBool>,
}

impl Names {
    /// No names yet, in a directory that everybody may search as long as `is_open`.
    pub(crate) fn new(is_open: Arc<AtomicBool>) -> Arc<Self> {
        let (absent, mounts) = (AtomicUsize::new(0), AtomicU32::new(0));
        Arc::new(Self { table: EntryTable::new(rank::DENTRIES), absent, mounts, is_open })
    }

    /// Whether everybody may search the directory.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Relaxed)
    }

    /// Whether something is mounted on the directory, in any namespace.
    #[inline(always)]
    pub(crate) fn is_mount_point(&self) -> bool {
        self.mounts.load(Relaxed) != 0
    }

    /// Counts a mount that covers the directory.
    pub(crate) fn add_mount(&self) {
        self.mounts.fetch_add(1, Relaxed);
    }

    /// Ends what [`Names::add_mount`] began.
    pub(crate) fn remove_mount(&self) {
        self.mounts.fetch_sub(1, Relaxed);
    }

    /// What walks see of a name; None if it is not known to the cache, or just now on its way.
    #[inline(always)]
    pub(crate) fn find<'a>(&'a self, name: HashedName<'_>, section: &'a ReadGuard) -> Option<&'a Seen> {
        self.table.find(name.hash(), |seen| seen.name.is(name), section)
    }

    /// Locks the names.
    pub(crate) fn lock(&self) -> LockedNames<'_> {
        LockedNames { names: self, table: self.table.lock() }
    }
}

/// The names in a directory, locked.
pub(crate) struct LockedNames<'a> {
    names: &'a Names,
    table: Changes<'a, Seen, Option<Arc<Dentry>>>,
}

impl LockedNames<'_> {
    /// What the cache knows of a name.
    pub(crate) fn get(&self, name: HashedName<'_>) -> Cached {
        match self.table.get(name.hash(), |seen| seen.name.is(name)) {
            Some((_, Some(dentry))) => Cached::Present(dentry.clone()),
            Some((_, None)) => Cached::Absent,
            None => Cached::Unknown,
        }
    }

    /// Lets a name stand for a dentry, and answers the one it stood for.
    pub(crate) fn put(&mut self, name: HashedName<'_>, dentry: Arc<Dentry>) -> Option<Arc<Dentry>> {
        let child = Child { dentry: Arc::downgrade(&dentry), kind: dentry.kind(), names: dentry.names().cloned() };
        CACHED.fetch_add(1, Relaxed);
        self.put_seen(name, Some(child), Some(dentry))
    }

    /// Remembers that a name is absent.
    pub(crate) fn put_absent(&mut self, name: HashedName<'_>) {
        if self.names.absent.load(Relaxed) >= ABSENT_MAX {
            self.table.retain(|_, held| held.is_some());
            self.names.absent.store(0, Relaxed);
        }
        self.names.absent.fetch_add(1, Relaxed);
        let old = self.put_seen(name, None, None);
        debug_assert!(old.is_none(), "a name that is absent has a dentry");
    }

    fn put_seen(
        &mut self,
        name: HashedName<'_>,
        child: Option<Child>,
        held: Option<Arc<Dentry>>,
    ) -> Option<Arc<Dentry>> {
        let seen = Seen { name: Name::from(name), child };
        let old = self.table.put(name.hash(), |seen| seen.name.is(name), seen, held);
        self.count_out(old)
    }

    /// Takes a name out and answers what it stood for.
    pub(crate) fn take(&mut self, name: HashedName<'_>) -> Option<Arc<Dentry>> {
        let old = self.table.take(name.hash(), |seen| seen.name.is(name));
        self.count_out(old)
    }

    /// Counts what left the table.
    fn count_out(&self, old: Option<Option<Arc<Dentry>>>) -> Option<Arc<Dentry>> {
        match &old {
            Some(Some(_)) => drop(CACHED.fetch_sub(1, Relaxed)),
            Some(None) => drop(self.names.absent.fetch_sub(1, Relaxed)),
            None => {}
        }
        old.flatten()
    }

    /// The dentries.
    pub(crate) fn dentries(&self) -> impl Iterator<Item = &Arc<Dentry>> {
        self.table.iter().filter_map(|(_, held)| held.as_ref())
    }

    /// How many names are known to be absent.
    pub(crate) fn absent(&self) -> usize {
        self.names.absent.load(Relaxed)
    }

    /// Forgets all names, which are absent.
    pub(crate) fn clear(&mut self) {
        self.table.retain(|_, held| {
            debug_assert!(held.is_none(), "a removed directory has children");
            false
        });
        self.names.absent.store(0, Relaxed);
    }

    /// Takes out the names that are absent and those whose dentries nobody uses, which are to be dropped without the
    /// lock. A walk that finds such a name meanwhile does not get its dentry.
    pub(crate) fn take_unused(&mut self) -> Vec<Dentry> {
        let mut unused = Vec::new();
        self.table.retain(|_, held| match held.take().map(Arc::try_unwrap) {
            Some(Ok(dentry)) => {
                unused.push(dentry);
                false
            }
            Some(Err(used)) => {
                *held = Some(used);
                true
            }
            None => false,
        });
        CACHED.fetch_sub(unused.len(), Relaxed);
        self.names.absent.store(0, Relaxed);
        unused
    }
}
