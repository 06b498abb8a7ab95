//! Directories in memory, alone or over a directory of the layer below.
//!
//! The table decides; a name it does not have is looked for below. A name that is removed and is there below stays in the
//! table as hidden. A directory made in the place of a hidden name has nothing below it, so it shows nothing of what was
//! there: it is opaque.
//!
//! Reading gives the names of the layer below first, in its order, those hidden or replaced left out, then those of the
//! table. The positions of the two parts do not overlap.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use file::DirectorySink;
use sync::{Mutex, rank};

use crate::inode::Renaming;
use crate::{Credentials, HashedName, Inode, NewInode};

use super::MemoryInode;
use super::inode::ENTRY_SIZE;
use super::table::{Meaning, Table};

/// Positions of the table's entries begin here when there is a layer below.
const TABLE_BASE: u64 = 1 << 40;
/// Entries copied out of the table at once.
const BATCH_COUNT: usize = 32;

/// The names of a directory.
pub(super) struct Directory {
    table: Mutex<Table>,
    lower: Option<Arc<dyn Inode>>,
}

impl Directory {
    pub(super) fn empty() -> Self {
        Self { table: Mutex::new(rank::DIRECTORY_ENTRIES, Table::default()), lower: None }
    }

    pub(super) fn over(lower: Arc<dyn Inode>) -> Self {
        Self { lower: Some(lower), ..Self::empty() }
    }

    pub(super) fn lookup(
        &self,
        owner: &MemoryInode,
        name: HashedName<'_>,
        credentials: &Credentials,
    ) -> Result<Arc<MemoryInode>, Errno> {
        match self.table.lock().get(name) {
            Some(Meaning::Node(node)) => return Ok(node.clone()),
            Some(Meaning::Hidden) => return Err(Errno::ENOENT),
            None => {}
        }
        let below = self.lower.as_ref().ok_or(Errno::ENOENT)?.lookup(name, credentials)?;
        let nodes = owner.shared.lower.as_ref().ok_or(Errno::ENOENT)?;
        Ok(nodes.node(&owner.shared, &below))
    }

    pub(super) fn create(
        &self,
        owner: &MemoryInode,
        name: HashedName<'_>,
        new: &NewInode<'_>,
    ) -> Result<Arc<MemoryInode>, Errno> {
        let node = owner.make(new)?;
        self.add(owner, name, node.clone())?;
        Ok(node)
    }

    pub(super) fn link(&self, owner: &MemoryInode, name: HashedName<'_>, node: Arc<MemoryInode>) -> Result<(), Errno> {
        node.metadata.add_link()?;
        node.pin();
        node.metadata.touch_changed();
        self.add(owner, name, node)
    }

    pub(super) fn unlink(&self, owner: &MemoryInode, name: HashedName<'_>, node: &MemoryInode) {
        self.take(owner, name);
        node.pin();
        node.metadata.touch_changed();
        node.drop_links(1);
    }

    pub(super) fn rmdir(&self, owner: &MemoryInode, name: HashedName<'_>, node: &MemoryInode) -> Result<(), Errno> {
        node.directory()?.check_empty()?;
        self.take(owner, name);
        node.metadata.touch_changed();
        node.drop_links(u32::MAX);
        owner.drop_links(1);
        Ok(())
    }

    pub(super) fn rename(&self, owner: &MemoryInode, renaming: &Renaming<'_>) -> Result<(), Errno> {
        let node = MemoryInode::of(renaming.inode)?;
        let new_owner = MemoryInode::of(renaming.new_directory)?;
        let new = new_owner.directory()?;
        let replaced = renaming.replaced.map(MemoryInode::of).transpose()?;
        let is_move = !core::ptr::eq(owner, &*new_owner);
        match replaced {
            Some(other) if renaming.is_exchange => {
                let moves = [(&node, owner, &*new_owner), (&other, &*new_owner, owner)];
                for (moved, from, to) in moves {
                    moved.note_move(from, to, is_move);
                }
                self.set(renaming.old_name, Meaning::Node(other));
                new.set(renaming.new_name, Meaning::Node(node));
            }
            replaced => {
                if let Some(replaced) = &replaced {
                    replaced.check_replaceable()?;
                }
                let whiteout = renaming.whiteout.map(|new| owner.make(new)).transpose()?;
                self.take(owner, renaming.old_name);
                if let Some(whiteout) = whiteout {
                    self.add(owner, renaming.old_name, whiteout)?;
                }
                node.note_move(owner, &new_owner, is_move);
                new.set(renaming.new_name, Meaning::Node(node));
                match replaced {
                    Some(replaced) => replaced.note_replaced(&new_owner),
                    None => resize(&new_owner, 1),
                }
            }
        }
        for changed in [owner, &new_owner] {
            changed.pin();
            changed.metadata.touch_modified();
        }
        Ok(())
    }

    /// Gives a name a new meaning.
    fn set(&self, name: HashedName<'_>, meaning: Meaning) {
        // The old one is dropped outside the lock.
        let old = self.table.lock().put(name, meaning);
        drop(old);
    }

    /// Adds a name for a node.
    fn add(&self, owner: &MemoryInode, name: HashedName<'_>, node: Arc<MemoryInode>) -> Result<(), Errno> {
        owner.pin();
        if node.metadata.is_directory() {
            owner.metadata.add_link()?;
        }
        let old = self.table.lock().put(name, Meaning::Node(node));
        debug_assert!(!matches!(old, Some(Meaning::Node(_))), "a name is made twice");
        resize(owner, 1);
        owner.metadata.touch_modified();
        Ok(())
    }

    /// Takes a name out, or hides it when it is there below.
    fn take(&self, owner: &MemoryInode, name: HashedName<'_>) {
        owner.pin();
        let old = if self.is_below(name) {
            self.table.lock().put(name, Meaning::Hidden)
        } else {
            self.table.lock().remove(name)
        };
        drop(old);
        resize(owner, -1);
        owner.metadata.touch_modified();
    }

    /// Whether the layer below has a name.
    fn is_below(&self, name: HashedName<'_>) -> bool {
        self.lower.as_ref().is_some_and(|lower| lower.lookup(name, &Credentials::root()).is_ok())
    }

    fn check_empty(&self) -> Result<(), Errno> {
        if self.table.lock().nodes() > 0 {
            return Err(Errno::ENOTEMPTY);
        }
        let Some(lower) = &self.lower else { return Ok(()) };
        let mut seen = FirstVisible { table: &self.table, is_found: false };
        lower.read_directory(0, &mut seen)?;
        if seen.is_found { Err(Errno::ENOTEMPTY) } else { Ok(()) }
    }

    /// Gives the entries behind `position`.
    pub(super) fn read(&self, position: u64, sink: &mut dyn DirectorySink) -> Result<(), Errno> {
        let mut base = 0;
        let mut position = position;
        if let Some(lower) = &self.lower {
            base = TABLE_BASE;
            if position < TABLE_BASE {
                let mut visible = Visible { table: &self.table, sink, is_full: false };
                lower.read_directory(position, &mut visible)?;
                if visible.is_full {
                    return Ok(());
                }
                position = TABLE_BASE;
            }
        }
        let mut cookie = position - base;
        let mut batch = Vec::with_capacity(BATCH_COUNT);
        loop {
            self.table.lock().list(cookie, base, BATCH_COUNT, &mut batch);
            let is_last = batch.len() < BATCH_COUNT;
            for entry in batch.drain(..) {
                if !sink.entry(entry.name.as_bytes(), entry.inode, entry.kind, entry.next) {
                    return Ok(());
                }
                cookie = entry.next - base;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Drops what is below this directory one by one: the tree may be deeper than a stack is.
    pub(super) fn drop_tree(&mut self) {
        let mut nodes: Vec<Arc<MemoryInode>> = self.table.get_mut().take_nodes().collect();
        while let Some(node) = nodes.pop() {
            if let Some(node) = Arc::into_inner(node)
                && let Ok(directory) = node.directory()
            {
                nodes.extend(directory.table.lock().take_nodes());
            }
        }
    }
}

impl MemoryInode {
    /// Notes that the node moved from one directory to another.
    fn note_move(&self, from: &Self, to: &Self, is_move: bool) {
        self.pin();
        self.metadata.touch_changed();
        if is_move && self.metadata.is_directory() {
            from.drop_links(1);
            // A directory that is not removed has links, and memory ends before their number does.
            let counted = to.metadata.add_link();
            debug_assert!(counted.is_ok());
        }
    }

    /// Whether a rename may replace it: a directory must be empty.
    fn check_replaceable(&self) -> Result<(), Errno> {
        self.directory().map_or(Ok(()), Directory::check_empty)
    }

    /// Notes that a rename replaced it.
    fn note_replaced(&self, directory: &Self) {
        self.pin();
        self.metadata.touch_changed();
        if self.metadata.is_directory() {
            self.drop_links(u32::MAX);
            directory.drop_links(1);
        } else {
            self.drop_links(1);
        }
    }
}

/// Shows one entry more or less in the size of a directory.
fn resize(directory: &MemoryInode, change: i64) {
    let entry_size = change.saturating_mul(i64::try_from(ENTRY_SIZE).unwrap_or(0));
    directory.metadata.set_size(directory.metadata.size().saturating_add_signed(entry_size));
}

/// Whether the table hides or replaces a name of the layer below.
fn is_covered(table: &Mutex<Table>, name: &[u8]) -> bool {
    table.lock().get(HashedName::new(name)).is_some()
}

/// Passes on the entries of the layer below that are to be seen.
struct Visible<'a> {
    table: &'a Mutex<Table>,
    sink: &'a mut dyn DirectorySink,
    is_full: bool,
}

impl DirectorySink for Visible<'_> {
    fn entry(&mut self, name: &[u8], inode: u64, kind: u8, next: u64) -> bool {
        if is_covered(self.table, name) {
            return true;
        }
        self.is_full = !self.sink.entry(name, inode, kind, next);
        !self.is_full
    }
}

/// Stops at the first entry of the layer below that is to be seen.
struct FirstVisible<'a> {
    table: &'a Mutex<Table>,
    is_found: bool,
}

impl DirectorySink for FirstVisible<'_> {
    fn entry(&mut self, name: &[u8], _inode: u64, _kind: u8, _next: u64) -> bool {
        self.is_found = !is_covered(self.table, name);
        !self.is_found
    }
}
