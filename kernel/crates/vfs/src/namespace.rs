//! [`Namespace`]: a tree of mounts, and the changes of it.
//!
//! Changes are made one at a time, under the namespace's lock (rank `MOUNTS`). Who walks meanwhile sees the tree before or after
//! a change, or, for a change of several mounts, something between.
//!
//! A mount at one place appears at others as [`propagation`] says.
//!
//! # Unmounting, and users
//!
//! A mount that somebody uses stays. Counting users and taking the mount out of the tree is one step for those who walk, because
//! both are done under the lock of the list through which walks come in; whoever already is in the mount is counted. The count
//! may include references that were replaced and wait for a grace period (a working directory left a moment ago), so a busy
//! mount is looked at again behind one.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use bitflags::bitflags;
use sync::{Mutex, MutexGuard, SpinLock, rank};

use crate::propagation::{self, Propagation};
use crate::{
    Capabilities, Credentials, Dentry, FileKind, FileSystem, Mount, MountFlags, PathRef, Superblock, SuperblockFlags,
};

/// The most mounts a namespace has (Linux's default `fs.mount-max`).
pub const MOUNTS_MAX: usize = 100_000;

bitflags! {
    /// How `umount2` goes about it, with Linux's values.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Unmount: u32 {
        /// Gives up what cannot be reached. No file system here waits for anybody, so this changes nothing.
        const FORCE = 0x1;
        /// Takes it and all below out of the tree at once, whoever uses it.
        const DETACH = 0x2;
        /// Only if nobody came by since the last time (`EAGAIN` the first time).
        const EXPIRE = 0x4;
    }
}

/// A change of restrictions (`mount_setattr`).
#[derive(Clone, Copy, Debug)]
pub struct FlagChange {
    /// What is added.
    pub set: MountFlags,
    /// What is taken away before.
    pub cleared: MountFlags,
    /// How it takes part in propagation afterwards; none leaves that.
    pub propagation: Option<Propagation>,
}

/// One line of `/proc/self/mountinfo`, parsed.
pub struct MountSnapshot {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The mount it is on; itself at the root.
    pub parent: Arc<Mount>,
}

/// A tree of mounts.
pub struct Namespace {
    /// Changed under the lock of the tree.
    root: SpinLock<Arc<Mount>>,
    tree: Mutex<Tree>,
}

struct Tree {
    /// All mounts in the order in which they were made.
    mounts: Vec<Arc<Mount>>,
}

impl Namespace {
    /// A namespace with this file system at its root.
    pub fn new(file_system: Arc<dyn FileSystem>, source: &[u8], flags: MountFlags) -> Arc<Self> {
        let root_dentry = file_system.root().clone();
        let root = Mount::new(Superblock::of(&file_system), root_dentry, source, flags);
        let tree = Tree { mounts: alloc::vec![root.clone()] };
        Arc::new(Self { root: SpinLock::new(rank::FILE_TABLES, root), tree: Mutex::new(rank::MOUNTS, tree) })
    }

    /// Its root.
    pub fn root(&self) -> PathRef {
        let mount = self.root_mount();
        PathRef { dentry: mount.root().clone(), mount }.into_topmost()
    }

    /// The mount at its root.
    pub(crate) fn root_mount(&self) -> Arc<Mount> {
        self.root.lock().clone()
    }

    /// The tree, for who may change it.
    fn change(&self, credentials: &Credentials) -> Result<MutexGuard<'_, Tree>, Errno> {
        if credentials.has(Capabilities::SYS_ADMIN) { Ok(self.tree.lock()) } else { Err(Errno::EPERM) }
    }

    /// Mounts a file system that is on no disk on a directory (`EPERM` without `CAP_SYS_ADMIN`, `ENOTDIR`, `ENOSPC` for too many mounts).
    pub fn mount(
        &self,
        credentials: &Credentials,
        at: &PathRef,
        file_system: Arc<dyn FileSystem>,
        source: &[u8],
        flags: MountFlags,
    ) -> Result<Arc<Mount>, Errno> {
        self.mount_superblock(credentials, at, Superblock::of(&file_system), source, flags)
    }

    /// Mounts a file system that was opened (`EBUSY` when the same is there already).
    pub fn mount_superblock(
        &self,
        credentials: &Credentials,
        at: &PathRef,
        superblock: Arc<Superblock>,
        source: &[u8],
        flags: MountFlags,
    ) -> Result<Arc<Mount>, Errno> {
        let mut tree = self.change(credentials)?;
        let at = at.clone().into_topmost();
        if at.is_mount_root() && Arc::ptr_eq(at.mount.superblock(), &superblock) {
            return Err(Errno::EBUSY);
        }
        let root = superblock.file_system().root().clone();
        let mount = Mount::new(superblock, root, source, flags);
        tree.attach(&mount, &at)?;
        tree.mounts.push(mount.clone());
        tree.send(&mount, &at)?;
        Ok(mount)
    }

    /// Shows a place at a second place, with the mounts below it or without. `EINVAL` for what is not in the tree or unbindable.
    pub fn bind(
        &self,
        credentials: &Credentials,
        at: &PathRef,
        what: &PathRef,
        is_recursive: bool,
    ) -> Result<Arc<Mount>, Errno> {
        let mut tree = self.change(credentials)?;
        let at = at.clone().into_topmost();
        if !tree.has(&what.mount) || what.mount.is_unbindable() || !what.dentry.is_cached() {
            return Err(Errno::EINVAL);
        }
        let mount = what.mount.copied(what.dentry.clone());
        let mut copies = alloc::vec![mount.clone()];
        if is_recursive {
            copy_below(&what.mount, &what.dentry, &mut copies, MOUNTS_MAX.saturating_sub(tree.mounts.len()))?;
        }
        match tree.attach_all(&mount, &at, copies.len()) {
            Ok(()) => tree.mounts.append(&mut copies),
            Err(errno) => {
                copies.iter().for_each(|copy| drop(copy.take()));
                return Err(errno);
            }
        }
        tree.send(&mount, &at)?;
        Ok(mount)
    }

    /// As [`Namespace::bind`], but the copy is nowhere yet.
    pub fn copy_tree(
        &self,
        credentials: &Credentials,
        what: &PathRef,
        is_recursive: bool,
    ) -> Result<Arc<Mount>, Errno> {
        let tree = self.change(credentials)?;
        if !tree.has(&what.mount) || what.mount.is_unbindable() || !what.dentry.is_cached() {
            return Err(Errno::EINVAL);
        }
        let mount = what.mount.copied(what.dentry.clone());
        if is_recursive {
            let mut copies = alloc::vec![mount.clone()];
            copy_below(&what.mount, &what.dentry, &mut copies, MOUNTS_MAX.saturating_sub(tree.mounts.len()))?;
        }
        Ok(mount)
    }

    /// Puts a tree that is nowhere, with its root at `what`, at a place.
    fn attach_tree(&self, tree: &mut Tree, at: &PathRef, what: &PathRef) -> Result<(), Errno> {
        let mount = &what.mount;
        let is_whole = what.is_mount_root() && mount.place().is_none() && !is_at_or_above(mount, &at.mount);
        if !is_whole || is_directory(&at.dentry) != is_directory(mount.root()) {
            return Err(Errno::EINVAL);
        }
        let mut added = subtree(mount);
        tree.attach_all(mount, at, added.len())?;
        tree.mounts.append(&mut added);
        // They were made before, and are shown where they would have been.
        block::sort_by_key(&mut tree.mounts, |mount| mount.id());
        tree.send(mount, at)
    }

    /// Takes a tree apart that is nowhere.
    pub(crate) fn dissolve(&self, mount: &Arc<Mount>) {
        let tree = self.tree.lock();
        if !tree.has(mount) && mount.place().is_none() {
            subtree(mount).iter().for_each(|mount| drop(mount.take()));
        }
    }

    /// Changes some restrictions of the mount that has its root here, and of those below when that is wanted: of all
    /// or, with the error, of none.
    pub fn change_flags(
        &self,
        credentials: &Credentials,
        at: &PathRef,
        change: &FlagChange,
        is_recursive: bool,
    ) -> Result<(), Errno> {
        let tree = self.change(credentials)?;
        let is_detached = !tree.has(&at.mount) && at.mount.place().is_none();
        if !at.is_mount_root() || !(tree.has(&at.mount) || is_detached) {
            return Err(Errno::EINVAL);
        }
        let mounts = if is_recursive { subtree(&at.mount) } else { alloc::vec![at.mount.clone()] };
        let mut replaced = Vec::with_capacity(mounts.len());
        for mount in &mounts {
            let old = mount.flags() | mount.access_time_flags();
            if let Err(errno) = mount.set_flags((old - change.cleared) | change.set) {
                for (mount, old) in mounts.iter().zip(replaced) {
                    // What it was before it can be again.
                    let _ = mount.set_flags(old);
                }
                return Err(errno);
            }
            replaced.push(old);
        }
        if let Some(kind) = change.propagation {
            mounts.iter().for_each(|mount| propagation::set(&tree.mounts, mount, kind));
        }
        Ok(())
    }

    /// Moves the mount that has its root at `what`, with all on it, to another place, or puts it there when it was
    /// nowhere. `ELOOP` when that is inside of it.
    pub fn move_mount(&self, credentials: &Credentials, at: &PathRef, what: &PathRef) -> Result<(), Errno> {
        let mut tree = self.change(credentials)?;
        let at = at.clone().into_topmost();
        let mount = &what.mount;
        if !tree.has(mount) {
            return self.attach_tree(&mut tree, &at, what);
        }
        let parent = mount.place().filter(|_| what.is_mount_root());
        let takes_unbindable = at.mount.group() != 0 && subtree(mount).iter().any(|mount| mount.is_unbindable());
        let is_movable = parent.is_some_and(|parent| parent.mount.group() == 0) && !takes_unbindable;
        if !is_movable || is_directory(&at.dentry) != is_directory(mount.root()) {
            return Err(Errno::EINVAL);
        }
        if is_at_or_above(mount, &at.mount) {
            return Err(Errno::ELOOP);
        }
        tree.check_place(&at)?;
        mark(&at)?;
        mount.take();
        mount.put(at.clone());
        tree.send(mount, &at)
    }

    /// Makes `new_root` the root of the namespace and puts the old one at `old_at`, which is below it. `root` is that of
    /// the process; who has it as his root or working directory has to go on from the new one.
    pub fn pivot_root(
        &self,
        credentials: &Credentials,
        root: &PathRef,
        new_root: &PathRef,
        old_at: &PathRef,
    ) -> Result<(), Errno> {
        let tree = self.change(credentials)?;
        let old_at = old_at.clone().into_topmost();
        if !tree.has(&root.mount) || !tree.has(&new_root.mount) {
            return Err(Errno::EINVAL);
        }
        if new_root.dentry.is_removed() {
            return Err(Errno::ENOENT);
        }
        if Arc::ptr_eq(&new_root.mount, &root.mount) || Arc::ptr_eq(&old_at.mount, &root.mount) {
            return Err(Errno::EBUSY);
        }
        let are_roots = root.is_mount_root() && new_root.is_mount_root() && new_root.mount.place().is_some();
        if !are_roots || !old_at.is_below(new_root) || !new_root.is_below(root) {
            return Err(Errno::EINVAL);
        }
        let is_shared = |mount: &Mount| mount.group() != 0;
        let parent_is_shared = |mount: &Mount| mount.place().is_some_and(|place| is_shared(&place.mount));
        if is_shared(&old_at.mount) || parent_is_shared(&new_root.mount) || parent_is_shared(&root.mount) {
            return Err(Errno::EINVAL);
        }
        tree.check_place(&old_at)?;
        mark(&old_at)?;
        new_root.mount.take();
        let above = root.mount.take();
        root.mount.put(old_at);
        match above {
            Some(above) => {
                above.dentry.add_mount();
                new_root.mount.put(above);
            }
            None => drop(core::mem::replace(&mut *self.root.lock(), new_root.mount.clone())),
        }
        Ok(())
    }

    /// Unmounts what has its root here. `EINVAL` when nothing has, or it is the root; `EBUSY` while something is mounted on it or
    /// somebody other than the caller, with his one reference, uses it. Errors of writing it back are in the log.
    pub fn unmount(&self, credentials: &Credentials, at: &PathRef, how: Unmount) -> Result<(), Errno> {
        let gone = match self.unmount_once(credentials, at, how) {
            Err(Errno::EBUSY) => {
                sync::rcu::flush();
                self.unmount_once(credentials, at, how)
            }
            result => result,
        }?;
        drop(gone);
        Ok(())
    }

    /// As [`Namespace::unmount`]; answers the mounts that are gone from the tree.
    fn unmount_once(&self, credentials: &Credentials, at: &PathRef, how: Unmount) -> Result<Vec<Arc<Mount>>, Errno> {
        let mut tree = self.change(credentials)?;
        let mount = &at.mount;
        if !at.is_mount_root() || !tree.has(mount) || Arc::ptr_eq(mount, &self.root_mount()) {
            return Err(Errno::EINVAL);
        }
        let gone = if how.contains(Unmount::DETACH) {
            let mut gone = subtree(mount);
            // From the ends on: what goes with a mount goes when nothing is on it.
            for mount in gone.clone().iter().rev() {
                let copies = propagation::copies_of(&tree.mounts, mount);
                copies.iter().for_each(propagation::take_copy);
                mount.take();
                gone.extend(copies);
            }
            gone
        } else {
            if mount.is_in_use() || mount.has_children() {
                return Err(Errno::EBUSY);
            }
            if how.contains(Unmount::EXPIRE) && !mount.mark_expiring() {
                return Err(Errno::EAGAIN);
            }
            let mut gone = propagation::copies_of(&tree.mounts, mount);
            let is_busy = |copy: &Arc<Mount>| !copy.has_children() && copy.is_in_use();
            if gone.iter().any(is_busy) || !mount.take_if_unused() {
                return Err(Errno::EBUSY);
            }
            gone.iter().for_each(propagation::take_copy);
            gone.push(mount.clone());
            gone
        };
        gone.iter().for_each(|mount| propagation::set(&tree.mounts, mount, Propagation::Private));
        tree.mounts.retain(|mount| !gone.iter().any(|gone| Arc::ptr_eq(gone, mount)));
        Ok(gone)
    }

    /// Changes the restrictions of the mount that has its root here (`EINVAL` when none has, `EBUSY` as [`Mount::set_flags`]).
    pub fn remount(&self, credentials: &Credentials, at: &PathRef, flags: MountFlags) -> Result<(), Errno> {
        let tree = self.change(credentials)?;
        if !at.is_mount_root() || !tree.has(&at.mount) {
            return Err(Errno::EINVAL);
        }
        at.mount.set_flags(flags)
    }

    /// Changes the file system that has its root here, for all its mounts, and the restrictions of this one.
    pub fn reconfigure(
        &self,
        credentials: &Credentials,
        at: &PathRef,
        superblock_flags: SuperblockFlags,
        flags: MountFlags,
        options: &[u8],
    ) -> Result<(), Errno> {
        let is_here = at.is_mount_root() && self.change(credentials)?.has(&at.mount);
        if !is_here {
            return Err(Errno::EINVAL);
        }
        // The file system may write a lot now: the tree is not locked.
        at.mount.superblock().reconfigure(superblock_flags, options)?;
        self.remount(credentials, at, flags)
    }

    /// Changes how the mount that has its root here takes part in propagation, and with it those below.
    pub fn set_propagation(
        &self,
        credentials: &Credentials,
        at: &PathRef,
        kind: Propagation,
        is_recursive: bool,
    ) -> Result<(), Errno> {
        let tree = self.change(credentials)?;
        if !at.is_mount_root() || !tree.has(&at.mount) {
            return Err(Errno::EINVAL);
        }
        let changed = if is_recursive { subtree(&at.mount) } else { alloc::vec![at.mount.clone()] };
        changed.iter().for_each(|mount| propagation::set(&tree.mounts, mount, kind));
        Ok(())
    }

    /// All mounts, in the order in which they were made.
    pub fn mounts(&self) -> Vec<MountSnapshot> {
        self.tree.lock().mounts.iter().map(MountSnapshot::of).collect()
    }

    /// How many mounts there are.
    pub fn mount_count(&self) -> usize {
        self.tree.lock().mounts.len()
    }

    /// The mount with this number that is never given again.
    pub fn find(&self, unique_id: u64) -> Option<MountSnapshot> {
        let tree = self.tree.lock();
        tree.mounts.iter().find(|mount| mount.unique_id() == unique_id).map(MountSnapshot::of)
    }

    /// The mounts whose roots are below a place, each behind what it is on. The place's own mount is among them if it
    /// has its root there.
    pub fn mounts_below(&self, top: &PathRef) -> Vec<Arc<Mount>> {
        let tree = self.tree.lock();
        if !tree.has(&top.mount) {
            return Vec::new();
        }
        if top.is_mount_root() {
            return subtree(&top.mount);
        }
        let children = top.mount.children().into_iter();
        children.filter(|(at, _)| top.dentry.contains(at)).flat_map(|(_, child)| subtree(&child)).collect()
    }
}

impl MountSnapshot {
    fn of(mount: &Arc<Mount>) -> Self {
        let parent = mount.place().map_or_else(|| mount.clone(), |place| place.mount);
        Self { mount: mount.clone(), parent }
    }
}

impl Tree {
    /// Whether a mount is in the tree.
    fn has(&self, mount: &Arc<Mount>) -> bool {
        self.mounts.iter().any(|known| Arc::ptr_eq(known, mount))
    }

    /// Whether something can be mounted at a place: `ENOENT` outside the tree.
    fn check_place(&self, at: &PathRef) -> Result<(), Errno> {
        if !self.has(&at.mount) {
            return Err(Errno::ENOENT);
        }
        if at.dentry.is_cached() { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Sends what was mounted at a place on to where it is to appear too; when there is no room for that, it is not
    /// mounted at all.
    fn send(&mut self, mount: &Arc<Mount>, at: &PathRef) -> Result<(), Errno> {
        match propagation::send(&self.mounts, mount, at, MOUNTS_MAX.saturating_sub(self.mounts.len())) {
            Ok(mut made) => {
                self.mounts.append(&mut made);
                Ok(())
            }
            Err(errno) => {
                let gone = subtree(mount);
                gone.iter().for_each(|mount| drop(mount.take()));
                self.mounts.retain(|mount| !gone.iter().any(|gone| Arc::ptr_eq(gone, mount)));
                Err(errno)
            }
        }
    }

    fn attach(&self, mount: &Arc<Mount>, at: &PathRef) -> Result<(), Errno> {
        self.attach_all(mount, at, 1)
    }

    /// Puts a mount, one of `count` that come with it, at a place.
    fn attach_all(&self, mount: &Arc<Mount>, at: &PathRef, count: usize) -> Result<(), Errno> {
        self.check_place(at)?;
        if self.mounts.len().saturating_add(count) > MOUNTS_MAX {
            return Err(Errno::ENOSPC);
        }
        if is_directory(&at.dentry) != is_directory(mount.root()) {
            return Err(Errno::ENOTDIR);
        }
        mark(at)?;
        mount.put(at.clone());
        Ok(())
    }
}

fn is_directory(dentry: &Dentry) -> bool {
    dentry.kind() == FileKind::Directory
}

/// Marks a dentry as a mount point; `ENOENT` when it was removed.
pub(crate) fn mark(at: &PathRef) -> Result<(), Errno> {
    // Under the lock it can be neither removed nor renamed away before it is marked.
    let _lock = at.inode().metadata().lock();
    if at.dentry.is_removed() {
        return Err(Errno::ENOENT);
    }
    at.dentry.add_mount();
    Ok(())
}

/// Copies the mounts below a dentry of a mount onto the last of `copies`, which shows that dentry. Unbindable ones are left out.
pub(crate) fn copy_below(
    mount: &Arc<Mount>,
    from: &Arc<Dentry>,
    copies: &mut Vec<Arc<Mount>>,
    max: usize,
) -> Result<(), Errno> {
    let Some(copy) = copies.last().cloned() else { return Ok(()) };
    let mut pairs = alloc::vec![(mount.clone(), copy)];
    while let Some((original, copy)) = pairs.pop() {
        for (mount_point, child) in original.children() {
            let is_shown = !Arc::ptr_eq(&original, mount) || from.contains(&mount_point);
            if !is_shown || child.is_unbindable() {
                continue;
            }
            if copies.len() >= max {
                copies.iter().for_each(|copy| drop(copy.take()));
                return Err(Errno::ENOSPC);
            }
            let child_copy = child.copied(child.root().clone());
            // The original marks it, under the lock of the tree: it is not removed.
            mount_point.add_mount();
            child_copy.put(PathRef { mount: copy.clone(), dentry: mount_point });
            copies.push(child_copy.clone());
            pairs.push((child, child_copy));
        }
    }
    Ok(())
}

/// A mount and all below it, each behind what it is on.
pub(crate) fn subtree(mount: &Arc<Mount>) -> Vec<Arc<Mount>> {
    let mut all = alloc::vec![mount.clone()];
    let mut next = 0;
    while let Some(at) = all.get(next).cloned() {
        all.extend(at.children().into_iter().map(|(_, child)| child));
        next += 1;
    }
    all
}

/// Whether `mount` is `below`, or something that it is on.
fn is_at_or_above(mount: &Arc<Mount>, below: &Arc<Mount>) -> bool {
    let mut at = below.clone();
    loop {
        if Arc::ptr_eq(&at, mount) {
            return true;
        }
        match at.place() {
            Some(place) => at = place.mount,
            None => return false,
        }
    }
}
