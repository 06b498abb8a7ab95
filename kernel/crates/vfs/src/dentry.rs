//! [`Dentry`]: a name in the tree of a file system, and the cache of names.
//!
//! A dentry always has an inode. Its children are a hash table of slots: a name with a dentry, or a name known to be absent. A
//! dentry is never changed from one inode to another: creating a name puts a new dentry in the slot, removing one takes it out,
//! and whoever still holds it (an open file, a working directory) sees that it is removed. Only its place, parent and name,
//! changes when it is renamed.
//!
//! # Invariants
//!
//! - The slots of a directory, its [`Names`], are changed under the lock of its inode; a lookup that hits takes none.
//! - A child holds its parent, so a dentry with cached children is held; one that only its slot holds can be dropped.
//! - Directories that do not keep names (`/proc`) have no slots: their dentries are made for each walk.
//!
//! # What keeps what
//!
//! A slot keeps its dentry, a dentry its inode and its parent. Those who look a name up without a lock keep nothing:
//! they see a part of the slot that outlives it by a grace period, and the counted reference they get from it in the
//! end fails once the dentry is gone. So a file ends when its last name and its last user go, not a grace period later:
//! its space is free, and who watches it is told.
//!
//! # Size
//!
//! The cache is bounded by [`limit`]. When an insertion passes it, every dentry of that file system that nobody uses is
//! dropped. Lock ranks: `DENTRIES` for the names, `FILE_TABLES` for the place.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

use abi::Errno;
use sync::{MutexGuard, Once, SpinLock, rank};

use crate::name::{HashedName, Name};
use crate::names::{Cached, Names, cached};
use crate::{Credentials, FileKind, Inode, NAME_LEN_MAX, notify};

/// The cache may hold at least so many dentries.
const CACHED_MIN: usize = 1024;
/// About the memory that a cached dentry keeps others from having: itself, and the inode of a file on a disk with its
/// pages' map.
const DENTRY_LEN: usize = 4096;
/// The share of memory the cache may take is one part in this.
const MEMORY_SHARE: usize = 8;

/// The number of them at which the next sweep begins, once one found too many in use; 0 before.
static SWEEP_AT: AtomicUsize = AtomicUsize::new(0);

/// The number of cached dentries at which unused ones are dropped.
fn limit() -> usize {
    static LIMIT: Once<usize> = Once::new();
    *LIMIT.call_once(|| {
        let frames = usize::try_from(mm::frame::total()).unwrap_or(usize::MAX);
        CACHED_MIN.max(frames / MEMORY_SHARE * (mm::PAGE_SIZE / DENTRY_LEN))
    })
}

/// A name in the tree of a file system.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    /// What the inode is, at hand for the walk.
    kind: FileKind,
    place: SpinLock<Place>,
    /// The names in it, if it is a directory that keeps them.
    names: Option<Arc<Names>>,
    /// How many mounts cover it.
    mounts: AtomicU32,
    is_removed: AtomicBool,
    /// Whether it is the root, or in a slot of one that is: only then it may have children in slots, because nobody finds those
    /// of others, and they would hold each other for ever.
    is_cached: bool,
}

/// The root of a file system's dentries, held by the file system. With it goes the cache: dentries hold their parents, so the
/// tree would hold itself.
pub struct RootDentry(Arc<Dentry>);

impl RootDentry {
    /// The root of a file system whose root directory this is.
    pub fn new(inode: Arc<dyn Inode>) -> Self {
        Self(Dentry::root(inode, b""))
    }

    /// The dentry.
    pub fn get(&self) -> &Arc<Dentry> {
        &self.0
    }
}

impl Drop for RootDentry {
    fn drop(&mut self) {
        self.0.drop_unused();
    }
}

/// Where a dentry is.
struct Place {
    /// None at the root, and for anonymous ones.
    parent: Option<Arc<Dentry>>,
    name: Name,
}

impl Dentry {
    /// The root of a file system, or an anonymous place when `name` is not empty.
    pub(crate) fn root(inode: Arc<dyn Inode>, name: &[u8]) -> Arc<Self> {
        Self::new(inode, None, Name::new(name), true)
    }

    fn new(inode: Arc<dyn Inode>, parent: Option<Arc<Self>>, name: Name, is_cached: bool) -> Arc<Self> {
        let kind = inode.metadata().kind();
        let keeps_names = is_cached && kind == FileKind::Directory && inode.caches_names();
        let names = inode.metadata().openness().filter(|_| keeps_names).map(|is_open| Names::new(is_open.clone()));
        Arc::new(Self {
            kind,
            inode,
            place: SpinLock::new(rank::FILE_TABLES, Place { parent, name }),
            names,
            mounts: AtomicU32::new(0),
            is_removed: AtomicBool::new(false),
            is_cached,
        })
    }

    /// A child that is not in the cache.
    fn uncached(self: &Arc<Self>, name: HashedName<'_>, inode: Arc<dyn Inode>) -> Arc<Self> {
        Self::new(inode, Some(self.clone()), Name::from(name), false)
    }

    /// Whether names in this directory are cached.
    #[inline]
    pub(crate) fn keeps_children(&self) -> bool {
        self.names.is_some()
    }

    /// The names in it, if it is a directory that keeps them.
    #[inline(always)]
    pub(crate) fn names(&self) -> Option<&Arc<Names>> {
        self.names.as_ref()
    }

    /// Locks the names in this directory for a change of them. None where they are generated whenever somebody looks: nothing
    /// can be made or removed there, and what generates them takes locks of the layers above.
    pub(crate) fn lock_names(&self) -> Option<MutexGuard<'_, ()>> {
        self.keeps_children().then(|| self.inode.metadata().lock())
    }

    /// The place of a file without a name that was made in this directory.
    pub(crate) fn unnamed_child(self: &Arc<Self>, inode: Arc<dyn Inode>) -> Arc<Self> {
        let name = alloc::format!("#{}", inode.metadata().number());
        let dentry = self.uncached(HashedName::new(name.as_bytes()), inode);
        dentry.is_removed.store(true, Relaxed);
        dentry
    }

    /// The inode.
    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// What the inode is.
    #[inline]
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// The directory it is in; none at the root of a file system.
    pub fn parent(&self) -> Option<Arc<Self>> {
        self.place.lock().parent.clone()
    }

    /// Its name.
    pub fn name(&self) -> Name {
        self.place.lock().name.clone()
    }

    /// Parent and name at one moment.
    pub(crate) fn place(&self) -> (Option<Arc<Self>>, Name) {
        let place = self.place.lock();
        (place.parent.clone(), place.name.clone())
    }

    /// Whether its last name was removed.
    pub fn is_removed(&self) -> bool {
        self.is_removed.load(Relaxed)
    }

    /// Whether walks find this very dentry again: one of a directory that keeps no names is made for each walk.
    pub(crate) fn is_cached(&self) -> bool {
        self.is_cached
    }

    /// Whether something is mounted on it, in any namespace.
    #[inline]
    pub(crate) fn is_mount_point(&self) -> bool {
        self.mounts.load(Relaxed) != 0
    }

    /// Counts a mount that covers it.
    pub(crate) fn add_mount(&self) {
        self.mounts.fetch_add(1, Relaxed);
        self.names.iter().for_each(|names| names.add_mount());
    }

    /// Ends what [`Dentry::add_mount`] began.
    pub(crate) fn remove_mount(&self) {
        self.names.iter().for_each(|names| names.remove_mount());
        self.mounts.fetch_sub(1, Relaxed);
    }

    /// Whether the directory `other` is this dentry's or below it. Where names are not kept, one directory has several dentries.
    pub(crate) fn contains(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut at = other.clone();
        loop {
            if core::ptr::addr_eq(Arc::as_ptr(&at.inode), Arc::as_ptr(&self.inode)) {
                return true;
            }
            match at.parent() {
                Some(parent) => at = parent,
                None => return false,
            }
        }
    }

    /// What the cache knows of a name.
    pub(crate) fn cached(&self, name: HashedName<'_>) -> Cached {
        self.names.as_ref().map_or(Cached::Unknown, |names| names.lock().get(name))
    }

    /// Finds a name in this directory; None when there is none.
    #[inline]
    pub(crate) fn child(
        self: &Arc<Self>,
        name: HashedName<'_>,
        credentials: &Credentials,
    ) -> Result<Option<Arc<Self>>, Errno> {
        match self.cached(name) {
            Cached::Present(dentry) => Ok(Some(dentry)),
            Cached::Absent => Ok(None),
            Cached::Unknown => self.find_child(name, credentials),
        }
    }

    fn find_child(
        self: &Arc<Self>,
        name: HashedName<'_>,
        credentials: &Credentials,
    ) -> Result<Option<Arc<Self>>, Errno> {
        if self.keeps_children() {
            let _lock = self.inode.metadata().lock();
            return self.child_locked(name, credentials);
        }
        if name.bytes().len() > NAME_LEN_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        match self.inode.lookup(name, credentials) {
            Ok(inode) => Ok(Some(self.uncached(name, inode))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// As [`Dentry::child`], under [`Dentry::lock_names`].
    pub(crate) fn child_locked(
        self: &Arc<Self>,
        name: HashedName<'_>,
        credentials: &Credentials,
    ) -> Result<Option<Arc<Self>>, Errno> {
        match self.cached(name) {
            Cached::Present(dentry) => return Ok(Some(dentry)),
            Cached::Absent => return Ok(None),
            Cached::Unknown => {}
        }
        if name.bytes().len() > NAME_LEN_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if self.inode.metadata().is_removed() {
            return Ok(None);
        }
        let keeps = self.keeps_children();
        if self.inode.folds_names() {
            return self.child_folded(name);
        }
        match self.inode.lookup(name, credentials) {
            Ok(inode) if keeps => Ok(Some(self.insert(name, inode))),
            Ok(inode) => Ok(Some(self.uncached(name, inode))),
            Err(Errno::ENOENT) => {
                if keeps {
                    self.insert_absent(name);
                }
                Ok(None)
            }
            Err(errno) => Err(errno),
        }
    }

    /// As [`Dentry::child_locked`], where names that differ may mean the same file: it is cached under the name that is stored, and what
    /// is absent is not remembered, as it may be made under another name.
    #[cold]
    fn child_folded(self: &Arc<Self>, name: HashedName<'_>) -> Result<Option<Arc<Self>>, Errno> {
        let (inode, stored) = match self.inode.lookup_folded(name) {
            Ok(found) => found,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let stored = HashedName::new(stored.as_bytes());
        Ok(Some(match self.cached(stored) {
            Cached::Present(dentry) => dentry,
            Cached::Absent | Cached::Unknown => self.insert(stored, inode),
        }))
    }

    /// The name under which a child is cached, when that is not the one it was found by.
    fn stored_name(&self, child: &Arc<Self>) -> Option<Name> {
        self.inode.folds_names().then(|| child.name())
    }

    /// Caches a name that was made, under the lock of the inode.
    pub(crate) fn insert_new(
        self: &Arc<Self>,
        name: HashedName<'_>,
        inode: Arc<dyn Inode>,
    ) -> Result<Arc<Self>, Errno> {
        if !self.inode.folds_names() {
            return Ok(self.insert(name, inode));
        }
        self.child_folded(name)?.ok_or(Errno::EIO)
    }

    /// Caches a name that is there, under the lock of the inode.
    pub(crate) fn insert(self: &Arc<Self>, name: HashedName<'_>, inode: Arc<dyn Inode>) -> Arc<Self> {
        if !self.keeps_children() {
            return self.uncached(name, inode);
        }
        let dentry = Self::new(inode, Some(self.clone()), Name::from(name), true);
        self.fill_slot(name, Some(dentry.clone()));
        self.sweep_if_full();
        dentry
    }

    /// Caches that a name is absent, under the lock of the inode.
    fn insert_absent(&self, name: HashedName<'_>) {
        self.names.iter().for_each(|names| names.lock().put_absent(name));
    }

    /// Forgets a child whose name was removed, under the lock of the inode. A directory loses its own cached names, all absent
    /// ones, with it.
    pub(crate) fn remove_child(&self, name: HashedName<'_>, child: &Arc<Self>) {
        child.is_removed.store(true, Relaxed);
        match self.stored_name(child) {
            Some(stored) => self.take_slot(HashedName::new(stored.as_bytes())),
            None => self.take_slot(name),
        };
        child.names.iter().for_each(|names| names.lock().clear());
    }

    /// Takes a name out of the cache.
    fn take_slot(&self, name: HashedName<'_>) -> Option<Arc<Self>> {
        self.names.as_ref().and_then(|names| names.lock().take(name))
    }

    /// Puts into the cache what a name stands for now; nothing when that is not cached.
    fn fill_slot(&self, name: HashedName<'_>, dentry: Option<Arc<Self>>) {
        let (Some(names), Some(dentry)) = (&self.names, dentry) else { return };
        let old = names.lock().put(name, dentry);
        debug_assert!(old.is_none(), "a name is cached twice");
    }

    /// Moves `child` from a name here to a name in `target`, in the place of `replaced`, under the locks of both inodes and, when
    /// they differ, the lock of renames.
    pub(crate) fn move_child(
        &self,
        old_name: HashedName<'_>,
        child: &Arc<Self>,
        target: &Arc<Self>,
        new_name: HashedName<'_>,
        replaced: Option<&Arc<Self>>,
    ) {
        if let Some(replaced) = replaced {
            target.remove_child(new_name, replaced);
        }
        let moved = match self.stored_name(child) {
            Some(stored) => self.take_slot(HashedName::new(stored.as_bytes())),
            None => self.take_slot(old_name),
        };
        let new_name = target.inode.stored_form(new_name);
        child.set_place(target, new_name);
        target.fill_slot(new_name, moved);
    }

    /// Exchanges two children, under the same locks as [`Dentry::move_child`].
    pub(crate) fn exchange_children(
        self: &Arc<Self>,
        name: HashedName<'_>,
        child: &Arc<Self>,
        other: &Arc<Self>,
        other_name: HashedName<'_>,
        other_child: &Arc<Self>,
    ) {
        let stored = (self.stored_name(child), other.stored_name(other_child));
        let name = stored.0.as_ref().map_or(name, |stored| HashedName::new(stored.as_bytes()));
        let other_name = stored.1.as_ref().map_or(other_name, |stored| HashedName::new(stored.as_bytes()));
        let first = self.take_slot(name);
        let second = other.take_slot(other_name);
        child.set_place(other, other_name);
        other_child.set_place(self, name);
        other.fill_slot(other_name, first);
        self.fill_slot(name, second);
    }

    fn set_place(&self, parent: &Arc<Self>, name: HashedName<'_>) {
        let mut place = Place { parent: Some(parent.clone()), name: Name::from(name) };
        core::mem::swap(&mut *self.place.lock(), &mut place);
        // The old place is dropped here, outside the lock.
    }

    /// Drops what nobody uses in the cache of this file system, when all caches together are too large.
    fn sweep_if_full(self: &Arc<Self>) {
        if cached() < limit().max(SWEEP_AT.load(Relaxed)) {
            return;
        }
        let mut root = self.clone();
        while let Some(parent) = root.parent() {
            root = parent;
        }
        root.drop_unused();
        // What is in use now will mostly be in use then: wait until there is as much again.
        SWEEP_AT.store(cached().saturating_mul(2), Relaxed);
    }

    /// Drops all cached dentries below this one that nobody uses: what a system short of memory does to the roots of its file
    /// systems.
    pub fn drop_unused(self: &Arc<Self>) {
        // Parents come before their children in the list, and so are looked at after them.
        let mut directories = alloc::vec![self.clone()];
        let mut next = 0;
        while let Some(directory) = directories.get(next).cloned() {
            if let Some(names) = &directory.names {
                let names = names.lock();
                directories.extend(names.dentries().filter(|dentry| dentry.names.is_some()).cloned());
            }
            next += 1;
        }
        while let Some(directory) = directories.pop() {
            let unused = directory.names.as_ref().map(|names| names.lock().take_unused());
            drop(unused);
        }
    }
}

/// What the cache of names has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DentryCounts {
    /// Names, absent ones with them.
    pub all: usize,
    /// Those that nobody uses, absent ones with them.
    pub unused: usize,
    /// Names that are known to be absent.
    pub absent: usize,
}

impl DentryCounts {
    /// Counts a root, and all that is cached below it.
    pub(crate) fn add_tree(&mut self, root: &Arc<Dentry>) -> Result<(), Errno> {
        let mut directories = Vec::new();
        directories.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        directories.push(root.clone());
        self.all += 1;
        while let Some(directory) = directories.pop() {
            let Some(names) = &directory.names else { continue };
            let names = names.lock();
            self.absent += names.absent();
            self.unused += names.absent();
            self.all += names.absent();
            for dentry in names.dentries() {
                self.all += 1;
                self.unused += usize::from(Arc::strong_count(dentry) == 1);
                if dentry.names.is_some() {
                    directories.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                    directories.push(dentry.clone());
                }
            }
        }
        Ok(())
    }
}

impl Drop for Dentry {
    /// Drops the chain of parents that only this dentry held one by one: it may be longer than a stack is deep.
    fn drop(&mut self) {
        notify::dentry_dropped(&*self.inode);
        let mut next = self.place.get_mut().parent.take();
        while let Some(mut dentry) = next.and_then(Arc::into_inner) {
            next = dentry.place.get_mut().parent.take();
        }
    }
}

impl fmt::Debug for Dentry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Dentry({:?})", self.name())
    }
}
