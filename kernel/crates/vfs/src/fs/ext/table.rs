//! The inodes of one file system that are in memory: all, those that must be written, and those without names.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::Errno;
use sync::{Mutex, rank};

use crate::write_back::Cached;

use super::ExtInode;
use super::data::write_together;
use super::options::Settings;

/// Locks for reading inodes: two inodes are rarely read under the same.
const LOADS: usize = 16;
/// As many inodes may be dirty as memory has pages, divided by this, but not less than the second number.
const DIRTY_SHARE: usize = 32;
const DIRTY_MIN: usize = 64;
/// The most files whose pages are written together: two locks are held for each.
const TOGETHER_MAX: usize = 16;
/// Inodes known at which those that are gone are looked for first.
const SWEEP_MIN: usize = 64;

/// What the inodes of one file system share.
pub(super) struct Shared {
    pub(super) file_system: Arc<ext::FileSystem>,
    pub(super) device: u64,
    pub(super) settings: Settings,
    table: Mutex<Table>,
    loads: [Mutex<()>; LOADS],
}

struct Table {
    known: BTreeMap<u32, Weak<ExtInode>>,
    /// The number of known ones at which those that are gone are looked for.
    sweep_at: usize,
    dirty: BTreeMap<u32, Dirty>,
    /// Those without names.
    orphans: Vec<Arc<ExtInode>>,
}

struct Dirty {
    inode: Arc<ExtInode>,
    /// Whether it was here at the last look.
    is_old: bool,
}

impl Shared {
    pub(super) fn new(file_system: Arc<ext::FileSystem>, device: u64, settings: Settings) -> Arc<Self> {
        let table = Table { known: BTreeMap::new(), sweep_at: SWEEP_MIN, dirty: BTreeMap::new(), orphans: Vec::new() };
        Arc::new(Self {
            file_system,
            device,
            settings,
            table: Mutex::new(rank::INODE_TABLES, table),
            loads: [const { Mutex::new(rank::INODE_LOADS, ()) }; LOADS],
        })
    }

    /// Notes damage; hands the result on.
    pub(super) fn checked<T>(&self, result: Result<T, Errno>) -> Result<T, Errno> {
        if matches!(result, Err(Errno::EUCLEAN)) {
            self.file_system.note_damage();
        }
        result
    }

    fn known(&self, number: u32) -> Option<Arc<ExtInode>> {
        self.table.lock().known.get(&number).and_then(Weak::upgrade)
    }

    /// The inode with this number, read if it is not in memory.
    pub(super) fn inode(self: &Arc<Self>, number: u32) -> Result<Arc<ExtInode>, Errno> {
        if let Some(inode) = self.known(number) {
            return Ok(inode);
        }
        self.limit_dirty();
        let load = self.loads.get(number as usize % LOADS).ok_or(Errno::EIO)?;
        let _load = load.lock();
        if let Some(inode) = self.known(number) {
            return Ok(inode);
        }
        let (core, record) = self.checked(ext::Inode::open(&self.file_system, number))?;
        let inode = ExtInode::new(self, core, &record);
        self.add(&inode);
        Ok(inode)
    }

    /// Makes an inode known.
    pub(super) fn add(&self, inode: &Arc<ExtInode>) {
        let mut table = self.table.lock();
        if table.known.len() >= table.sweep_at {
            table.known.retain(|_, inode| inode.strong_count() > 0);
            table.sweep_at = (table.known.len() * 2).max(SWEEP_MIN);
        }
        table.known.insert(inode.number(), Arc::downgrade(inode));
    }

    /// Holds an inode until it was written.
    pub(super) fn add_dirty(&self, inode: Arc<ExtInode>) {
        let old = self.table.lock().dirty.insert(inode.number(), Dirty { inode, is_old: false });
        drop(old);
    }

    /// Holds an inode that lost its last name until nobody uses it.
    pub(super) fn add_orphan(&self, inode: Arc<ExtInode>) {
        self.table.lock().orphans.push(inode);
    }

    /// Deletes inodes without names that nobody uses.
    pub(super) fn delete_unused(&self) {
        for inode in self.take_unused() {
            // Whatever goes wrong is noted on the disk: the inode stays in the list of orphans.
            let _ = self.checked(inode.delete());
        }
    }

    fn take_unused(&self) -> Vec<Arc<ExtInode>> {
        let mut unused = Vec::new();
        let mut named = Vec::new();
        let mut table = self.table.lock();
        let Table { known, dirty, orphans, .. } = &mut *table;
        orphans.retain(|inode| {
            if inode.has_links() {
                named.push(inode.clone());
                return false;
            }
            let is_dirty = dirty.get(&inode.number()).is_some_and(|other| Arc::ptr_eq(inode, &other.inode));
            let is_used = Arc::strong_count(inode) > 1 + usize::from(is_dirty);
            if !is_used {
                dirty.remove(&inode.number());
                known.remove(&inode.number());
                unused.push(inode.clone());
            }
            is_used
        });
        drop(table);
        unused
    }

    /// Writes back everything that is dirty, and lets go of it; the first error of any.
    pub(super) fn write_dirty(&self) -> Result<(), Errno> {
        self.delete_unused();
        let dirty = self.table.lock().dirty.values().map(|dirty| dirty.inode.clone()).collect();
        self.write(dirty)
    }

    /// Writes back everything if so many inodes are dirty that they take too much of memory. To be called before
    /// another comes.
    pub(super) fn limit_dirty(&self) {
        let limit = usize::try_from(mm::frame::total()).unwrap_or(usize::MAX) / DIRTY_SHARE;
        if self.table.lock().dirty.len() > limit.max(DIRTY_MIN) {
            // An error is told to who syncs.
            let _ = self.write_dirty();
        }
    }

    /// Writes back what was dirty at the last call.
    fn write_old(&self) -> Result<(), Errno> {
        self.delete_unused();
        let mut old = Vec::new();
        for dirty in self.table.lock().dirty.values_mut() {
            if core::mem::replace(&mut dirty.is_old, true) {
                old.push(dirty.inode.clone());
            }
        }
        self.write(old)
    }

    fn write(&self, dirty: Vec<Arc<ExtInode>>) -> Result<(), Errno> {
        let mut result = Ok(());
        for part in dirty.chunks(TOGETHER_MAX) {
            write_together(&self.file_system, part);
            for inode in part {
                result = result.and(inode.write_back());
                self.let_go_if_clean(inode);
            }
        }
        drop(dirty);
        self.delete_unused();
        result
    }

    /// Gives up everything that is dirty, and lets go of all inodes: nothing is written any more.
    pub(super) fn abandon(&self) {
        let (dirty, orphans) = {
            let mut table = self.table.lock();
            (core::mem::take(&mut table.dirty), core::mem::take(&mut table.orphans))
        };
        for Dirty { inode, .. } in dirty.into_values() {
            inode.abandon();
            inode.set_listed(false);
        }
        drop(orphans);
    }

    /// Takes an inode from the dirty ones, if it is not.
    fn let_go_if_clean(&self, inode: &Arc<ExtInode>) {
        let mut table = self.table.lock();
        inode.set_listed(false);
        // Who makes it dirty now finds that it is in no list, and adds it when the table is free.
        let must_stay = inode.is_dirty() && !inode.set_listed(true);
        if !must_stay {
            let is_same = table.dirty.get(&inode.number()).is_some_and(|other| Arc::ptr_eq(inode, &other.inode));
            let gone = if is_same { table.dirty.remove(&inode.number()) } else { None };
            drop(table);
            drop(gone);
        }
    }
}

impl Cached for Shared {
    fn write_back(&self) -> Result<(), Errno> {
        if self.file_system.is_stopped() {
            self.abandon();
        }
        if self.file_system.is_read_only() {
            return Ok(());
        }
        // What is committed names no data that is not there.
        self.write_old().and(self.file_system.tick())
    }

    fn write_all(&self) -> Result<(), Errno> {
        self.write_dirty()
    }

    fn drop_some(&self, takes_used: bool) -> bool {
        let cache = self.file_system.cache();
        cache.drop_unused() > 0 || takes_used && cache.drop_unused() > 0
    }
}
