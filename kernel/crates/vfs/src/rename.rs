//! Renaming.
//!
//! # Locks
//!
//! Two directories are locked in the order of the crate's documentation: under the rename lock of the file system, which keeps
//! the tree's shape fixed, the one that is above the other first, or in the order of their addresses when neither is. Every
//! other operation that locks two directories locks a child under its parent, so no cycle can form. A rename within one directory
//! needs no rename lock: it changes no path to any lock holder's directories. What is replaced is locked last when it is a
//! directory, so that nothing is made in it while it is found empty.
//!
//! # Races
//!
//! The names are looked up under the locks, so a rename sees either all or nothing of another operation on the same
//! directories. A walk takes no such locks: it may pass a directory just before it is moved and end up below its new place,
//! as if it had been there earlier, which Linux permits too. A directory cannot become its own ancestor, because that is
//! checked under the rename lock.

use alloc::sync::Arc;

use abi::{Errno, RenameFlags};
use sync::MutexGuard;

use crate::create::{check_may_create, inherited};
use crate::inode::Renaming;
use crate::notify::Move;
use crate::remove::check_may_remove;
use crate::walk::{Last, LastKind, Lookup, Walk};
use crate::{Credentials, Dentry, FsContext, NewInode, PathRef, Permissions, notify};

/// What layered file systems take for a name that is removed: a character device with the number 0, which nobody may use.
const WHITEOUT_MODE: u32 = 0o020_000;

/// Gives what `old_path` names the name `new_path`.
pub fn rename(
    context: &FsContext,
    credentials: &Credentials,
    (old_start, old_path): (Option<&PathRef>, &[u8]),
    (new_start, new_path): (Option<&PathRef>, &[u8]),
    flags: RenameFlags,
) -> Result<(), Errno> {
    let is_exchange = flags.contains(RenameFlags::EXCHANGE);
    let must_be_new = flags.contains(RenameFlags::NOREPLACE);
    let leaves_whiteout = flags.contains(RenameFlags::WHITEOUT);
    if is_exchange && (must_be_new || leaves_whiteout) {
        return Err(Errno::EINVAL);
    }
    let mut old_walk = Walk::new(context, credentials, old_start, old_path, Lookup::empty())?;
    let old_last = old_walk.walk_to_last()?;
    let mut new_walk = Walk::new(context, credentials, new_start, new_path, Lookup::empty())?;
    let new_last = new_walk.walk_to_last()?;
    let (old_directory, new_directory) = (&old_walk.at, &new_walk.at);
    if !Arc::ptr_eq(&old_directory.mount, &new_directory.mount) {
        return Err(Errno::EXDEV);
    }
    if old_last.kind != LastKind::Name {
        return Err(Errno::EBUSY);
    }
    if new_last.kind != LastKind::Name {
        return Err(if must_be_new { Errno::EEXIST } else { Errno::EBUSY });
    }
    old_directory.mount.check_writable()?;

    let _locks = lock_directories(old_directory, new_directory);
    let old = old_directory.dentry.child_locked(old_last.name(), credentials)?.ok_or(Errno::ENOENT)?;
    let new = new_directory.dentry.child_locked(new_last.name(), credentials)?;
    if must_be_new && new.is_some() {
        return Err(Errno::EEXIST);
    }
    if is_exchange && new.is_none() {
        return Err(Errno::ENOENT);
    }
    let (mode, gid) = inherited(&**old_directory.inode(), credentials, WHITEOUT_MODE);
    let whiteout = NewInode { mode, uid: credentials.uid, gid, ..NewInode::default() };
    let whiteout = leaves_whiteout.then_some(&whiteout);
    let pair = Pair { old_directory, new_directory, old: &old, new: new.as_ref(), is_exchange, whiteout };
    pair.check_slashes(&old_last, &new_last)?;
    pair.check_loops()?;
    if new.as_ref().is_some_and(|new| is_same_inode(&old, new)) {
        return Ok(());
    }
    if new.is_none() {
        new_directory.inode().check_takes_names()?;
    }
    pair.check_permissions(credentials)?;
    pair.carry_out(&old_last, &new_last)
}

fn is_same_inode(a: &Dentry, b: &Dentry) -> bool {
    core::ptr::addr_eq(Arc::as_ptr(a.inode()), Arc::as_ptr(b.inode()))
}

/// The locks of a rename, released in the order of the fields.
struct DirectoryLocks<'a> {
    _second: Option<MutexGuard<'a, ()>>,
    _first: Option<MutexGuard<'a, ()>>,
    _rename: Option<MutexGuard<'a, ()>>,
}

fn lock_directories<'a>(old: &'a PathRef, new: &'a PathRef) -> DirectoryLocks<'a> {
    if Arc::ptr_eq(&old.dentry, &new.dentry) {
        return DirectoryLocks { _second: None, _first: old.dentry.lock_names(), _rename: None };
    }
    if !old.dentry.keeps_children() || !new.dentry.keeps_children() {
        // Nothing is ever renamed there; see `Dentry::lock_names`.
        return DirectoryLocks { _second: None, _first: None, _rename: None };
    }
    let rename = old.mount.file_system().rename_lock().lock();
    let address = |path: &PathRef| core::ptr::from_ref(path.inode().metadata()).addr();
    let old_is_first = if old.dentry.contains(&new.dentry) {
        true
    } else {
        !new.dentry.contains(&old.dentry) && address(old) < address(new)
    };
    let (first, second) = if old_is_first { (old, new) } else { (new, old) };
    let first = first.inode().metadata().lock();
    let second = second.inode().metadata().lock_nested();
    DirectoryLocks { _second: Some(second), _first: Some(first), _rename: Some(rename) }
}

/// A rename whose names are looked up, under the locks of both directories.
struct Pair<'a> {
    old_directory: &'a PathRef,
    new_directory: &'a PathRef,
    old: &'a Arc<Dentry>,
    new: Option<&'a Arc<Dentry>>,
    is_exchange: bool,
    whiteout: Option<&'a NewInode<'a>>,
}

impl Pair<'_> {
    /// A slash behind a name wants a directory.
    fn check_slashes(&self, old_last: &Last<'_>, new_last: &Last<'_>) -> Result<(), Errno> {
        let is_directory = |dentry: &Arc<Dentry>| dentry.inode().metadata().is_directory();
        let new_is_directory =
            if self.is_exchange { self.new.is_some_and(is_directory) } else { is_directory(self.old) };
        let is_wrong = (old_last.has_slash && !is_directory(self.old)) || (new_last.has_slash && !new_is_directory);
        if is_wrong { Err(Errno::ENOTDIR) } else { Ok(()) }
    }

    /// A directory cannot go below itself, nor replace one above it.
    fn check_loops(&self) -> Result<(), Errno> {
        if self.old.contains(&self.new_directory.dentry) {
            return Err(Errno::EINVAL);
        }
        match self.new {
            Some(new) if new.contains(&self.old_directory.dentry) => {
                Err(if self.is_exchange { Errno::EINVAL } else { Errno::ENOTEMPTY })
            }
            _ => Ok(()),
        }
    }

    fn check_permissions(&self, credentials: &Credentials) -> Result<(), Errno> {
        check_may_remove(self.old_directory, credentials, self.old)?;
        let old_is_directory = self.old.inode().metadata().is_directory();
        match self.new {
            None => check_may_create(self.new_directory, credentials)?,
            Some(new) => {
                check_may_remove(self.new_directory, credentials, new)?;
                let new_is_directory = new.inode().metadata().is_directory();
                if !self.is_exchange && old_is_directory && !new_is_directory {
                    return Err(Errno::ENOTDIR);
                }
                if !self.is_exchange && !old_is_directory && new_is_directory {
                    return Err(Errno::EISDIR);
                }
            }
        }
        // A directory that changes its parent changes its `..`.
        if !Arc::ptr_eq(&self.old_directory.dentry, &self.new_directory.dentry) {
            let moved = [Some(self.old), self.new.filter(|_| self.is_exchange)];
            for dentry in moved.into_iter().flatten() {
                let inode = dentry.inode();
                if inode.metadata().is_directory() {
                    inode.check_permission(credentials, Permissions::WRITE)?;
                }
            }
        }
        if self.whiteout.is_some() && !self.old_directory.inode().makes_whiteouts() {
            return Err(Errno::EINVAL);
        }
        if self.old.is_mount_point() || self.new.is_some_and(|new| new.is_mount_point()) {
            return Err(Errno::EBUSY);
        }
        Ok(())
    }

    /// Tells those who watch the directories and what was in them.
    #[cold]
    fn tell(&self, old_name: &[u8], new_name: &[u8]) {
        let old = (&**self.old_directory.inode(), old_name);
        let new = (&**self.new_directory.inode(), new_name);
        let other = self.new.map(|new| &**new.inode());
        let replaced = other.filter(|_| !self.is_exchange);
        notify::moved(&Move { from: old, to: new, inode: &**self.old.inode(), replaced });
        if let Some(other) = other.filter(|_| self.is_exchange) {
            notify::moved(&Move { from: new, to: old, inode: other, replaced: None });
        }
    }

    fn carry_out(&self, old_last: &Last<'_>, new_last: &Last<'_>) -> Result<(), Errno> {
        let (old_name, new_name) = (old_last.name(), new_last.name());
        let replaced_directory = self.new.filter(|new| !self.is_exchange && new.inode().metadata().is_directory());
        let _replaced_lock = replaced_directory.map(|new| new.inode().metadata().lock_nested());
        self.old_directory.inode().rename(&Renaming {
            old_name,
            inode: self.old.inode(),
            new_directory: self.new_directory.inode(),
            new_name,
            replaced: self.new.map(|new| new.inode()),
            is_exchange: self.is_exchange,
            whiteout: self.whiteout,
        })?;
        if let Some(replaced) = replaced_directory {
            replaced.inode().metadata().mark_removed();
        }
        let (from, to) = (&self.old_directory.dentry, &self.new_directory.dentry);
        match self.new {
            Some(new) if self.is_exchange => from.exchange_children(old_name, self.old, to, new_name, new),
            replaced => from.move_child(old_name, self.old, to, new_name, replaced),
        }
        if notify::is_any() {
            self.tell(old_name.bytes(), new_name.bytes());
        }
        Ok(())
    }
}
