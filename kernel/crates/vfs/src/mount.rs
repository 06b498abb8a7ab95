//! [`Mount`] puts a file system at a place, a [`PathRef`] is a place seen through one.
//!
//! The walk goes down into a mount through the list of mounts that its parent mount keeps, which it looks at only where a
//! dentry is marked as a mount point, and up through the mount's own place. Changes of the tree are made by
//! [`Namespace`](crate::Namespace), one at a time; the lists have locks that are held for a few instructions.
//!
//! # Users
//!
//! Whoever uses a mount has a [`PathRef`] with a counted reference to it: open files, mappings, working and root directories,
//! running programs, a walk that passes. So the count of references tells whether it is busy, as `mnt_count` does on Linux: the tree has
//! [`TREE_REFERENCES`] of them, everything else is a user.
//!
//! # Walks without locks
//!
//! They see a [`MountView`], which ends after a grace period and keeps nothing. What is mounted on a mount is a second
//! list there, of views, replaced as a whole behind each change of the first. Who unmounts takes the view out of it,
//! says so in [`TAKEN`], and then looks for users; who comes in asks [`TAKEN`] after he has become one.
//! `sync::ChangeCount` has the proof.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};

use abi::Errno;
use bitflags::bitflags;
use sync::rcu::{RcuCell, ReadGuard};
use sync::{ChangeCount, Mutex, rank};

use crate::names::Names;
use crate::{Dentry, FileSystem, Inode, Superblock};

/// The references that the tree itself has to a mount that is on another: the list of the namespace, and that of the other mount.
const TREE_REFERENCES: usize = 2;

/// Numbers of mounts that are never given again are above this.
pub const UNIQUE_ID_BASE: u64 = 1 << 31;

/// Counts the views that were taken out of lists to end a mount that nobody uses.
static TAKEN: ChangeCount = ChangeCount::new();

bitflags! {
    /// How a mount restricts its file system. The bits of `ST_` in `statfs`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MountFlags: u32 {
        /// Nothing can be changed through it.
        const READ_ONLY = 0x1;
        /// Set-id bits have no effect.
        const NO_SET_ID = 0x2;
        /// Device nodes cannot be opened.
        const NO_DEVICES = 0x4;
        /// Nothing can be executed.
        const NO_EXECUTE = 0x8;
        /// Reading does not change times.
        const NO_ACCESS_TIME = 0x400;
        /// Reading a directory does not change times.
        const NO_DIRECTORY_ACCESS_TIME = 0x800;
        /// The time of reading is renewed when it is older than a change, or than a day. The default.
        const RELATIVE_ACCESS_TIME = 0x1000;
        /// Symbolic links are not followed.
        const NO_LINKS = 0x2000;
        /// Every reading changes the time. Only asked for; it shows as the absence of the others.
        const STRICT_ACCESS_TIME = 1 << 24;
    }
}

impl MountFlags {
    /// The flags in force when these are asked for.
    fn in_force(self) -> Self {
        let none = Self::NO_ACCESS_TIME | Self::RELATIVE_ACCESS_TIME;
        if self.contains(Self::STRICT_ACCESS_TIME) {
            return self.difference(none | Self::STRICT_ACCESS_TIME);
        }
        if self.contains(Self::NO_ACCESS_TIME) {
            self - Self::RELATIVE_ACCESS_TIME
        } else {
            self | Self::RELATIVE_ACCESS_TIME
        }
    }

    /// Those that say when reading changes times.
    pub fn of_access_times() -> Self {
        Self::NO_ACCESS_TIME | Self::NO_DIRECTORY_ACCESS_TIME | Self::RELATIVE_ACCESS_TIME | Self::STRICT_ACCESS_TIME
    }
}

/// A file system at a place.
pub struct Mount {
    id: u32,
    superblock: Arc<Superblock>,
    root: Arc<Dentry>,
    flags: AtomicU32,
    source: Box<[u8]>,
    /// Files open for writing through it.
    writers: AtomicU32,
    /// It cannot be bound elsewhere.
    is_unbindable: AtomicBool,
    /// The group of its peers; 0 for none. See `propagation`.
    group: AtomicU32,
    /// The group it receives from; 0 for none.
    master: AtomicU32,
    /// What it covers: None at the root of a namespace, and after unmounting.
    place: Mutex<Option<PathRef>>,
    /// What is mounted on it.
    children: Mutex<Vec<Child>>,
    view: Arc<MountView>,
}

/// A mount on another, by where it is.
struct Child {
    mount_point: Arc<Dentry>,
    mount: Arc<Mount>,
}

/// What a walk without locks sees of a mount.
pub(crate) struct MountView {
    /// Fails to be counted when the mount is gone.
    pub(crate) mount: Weak<Mount>,
    /// The dentry at its root.
    pub(crate) root: Weak<Dentry>,
    /// The names there, if it is a directory that keeps them.
    pub(crate) names: Option<Arc<Names>>,
    /// What is mounted on directories that keep names.
    children: RcuCell<Vec<ChildView>>,
    /// No walk has come here since `umount` with `MNT_EXPIRE` did.
    is_expiring: AtomicBool,
}

/// A mount on a directory with these names.
struct ChildView {
    mount_point: Arc<Names>,
    view: Arc<MountView>,
}

impl MountView {
    /// What a walk begins with that may meet mounts; see [`MountView::is_still`].
    #[inline]
    pub(crate) fn before() -> usize {
        TAKEN.now()
    }

    /// Whether no mount was given up for being unused since; the caller has counted references to those he met. If one
    /// was, the references are to be given back.
    #[inline]
    pub(crate) fn is_still(before: usize) -> bool {
        TAKEN.is_still(before)
    }

    /// The topmost mount on a directory seen through this mount; None if nothing is there, or it cannot be said without
    /// the lock.
    #[inline]
    pub(crate) fn mounted_on<'a>(&'a self, mount_point: &Names, section: &'a ReadGuard) -> Option<&'a Self> {
        let mut top = self.child_at(mount_point, section)?;
        while let Some(names) = top.names.as_ref().filter(|names| names.is_mount_point()) {
            match top.child_at(names, section) {
                Some(above) => top = above,
                None => break,
            }
        }
        Some(top)
    }

    #[inline]
    fn child_at<'a>(&'a self, mount_point: &Names, section: &'a ReadGuard) -> Option<&'a Self> {
        let children = self.children.get(section);
        let child = children.iter().find(|child| core::ptr::eq(&*child.mount_point, mount_point))?;
        Some(&child.view)
    }

    /// Notes that a walk has come here.
    #[inline(always)]
    pub(crate) fn note_use(&self) {
        if self.is_expiring.load(Relaxed) {
            self.is_expiring.store(false, Relaxed);
        }
    }

    /// Shows these children, but for `hidden`.
    fn show(&self, children: &[Child], hidden: Option<&Arc<Mount>>) {
        let shown = children.iter().filter(|child| hidden.is_none_or(|hidden| !Arc::ptr_eq(hidden, &child.mount)));
        let view_of = |child: &Child| {
            let mount_point = child.mount_point.names()?.clone();
            Some(ChildView { mount_point, view: child.mount.view.clone() })
        };
        self.children.replace(Arc::new(shown.filter_map(view_of).collect()));
    }
}

impl Mount {
    /// A mount that is nowhere yet.
    pub(crate) fn new(superblock: Arc<Superblock>, root: Arc<Dentry>, source: &[u8], flags: MountFlags) -> Arc<Self> {
        static NEXT_ID: AtomicU32 = AtomicU32::new(1);
        Arc::new_cyclic(|this| Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            superblock,
            view: Arc::new(MountView {
                mount: this.clone(),
                root: Arc::downgrade(&root),
                names: root.names().cloned(),
                children: RcuCell::new(Arc::new(Vec::new())),
                is_expiring: AtomicBool::new(false),
            }),
            root,
            flags: AtomicU32::new(flags.in_force().bits()),
            source: Box::from(source),
            writers: AtomicU32::new(0),
            is_unbindable: AtomicBool::new(false),
            group: AtomicU32::new(0),
            master: AtomicU32::new(0),
            place: Mutex::new(rank::DENTRIES, None),
            children: Mutex::new(rank::DENTRIES, Vec::new()),
        })
    }

    /// A mount that is in no namespace, for places that no path leads to.
    pub(crate) fn detached(file_system: Arc<dyn FileSystem>) -> Arc<Self> {
        let root = file_system.root().clone();
        Self::new(Superblock::unlisted(file_system), root, b"none", MountFlags::empty())
    }

    /// A second mount of what this one shows from `root` on, in the same groups.
    pub(crate) fn copied(&self, root: Arc<Dentry>) -> Arc<Self> {
        let copy = Self::new(self.superblock.clone(), root, &self.source, self.exact_flags());
        copy.set_group(self.group());
        copy.set_master(self.master());
        copy
    }

    /// The number in `/proc/self/mountinfo` and `statx`.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The number in `statx` and `statmount` that is never given again. They begin where no number of the other kind
    /// ends.
    pub fn unique_id(&self) -> u64 {
        UNIQUE_ID_BASE + u64::from(self.id)
    }

    /// The file system.
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        self.superblock.file_system()
    }

    /// What all mounts of the file system share.
    pub fn superblock(&self) -> &Arc<Superblock> {
        &self.superblock
    }

    /// What was mounted: a device, or a word.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// The dentry that is seen at the mount's place.
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }

    /// Its restrictions.
    #[inline]
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_truncate(self.flags.load(Relaxed))
    }

    /// Its restrictions, so that the same are in force when they are set again.
    fn exact_flags(&self) -> MountFlags {
        self.flags() | self.access_time_flags()
    }

    /// When reading changes times, so that it stays so when these flags are set.
    pub fn access_time_flags(&self) -> MountFlags {
        let flags = self.flags() & MountFlags::of_access_times();
        let is_strict = !flags.intersects(MountFlags::RELATIVE_ACCESS_TIME | MountFlags::NO_ACCESS_TIME);
        if is_strict { flags | MountFlags::STRICT_ACCESS_TIME } else { flags }
    }

    /// Sets its restrictions. `EBUSY` when nothing shall be changed any more while files are open for writing.
    pub(crate) fn set_flags(&self, flags: MountFlags) -> Result<(), Errno> {
        let old = self.flags.swap(flags.in_force().bits(), SeqCst);
        let becomes_read_only = flags.contains(MountFlags::READ_ONLY) && old & MountFlags::READ_ONLY.bits() == 0;
        if becomes_read_only && self.writers.load(SeqCst) > 0 {
            self.flags.store(old, SeqCst);
            return Err(Errno::EBUSY);
        }
        Ok(())
    }

    /// `EROFS` when nothing can be changed through this mount.
    pub fn check_writable(&self) -> Result<(), Errno> {
        if self.flags().contains(MountFlags::READ_ONLY) || self.superblock.is_read_only() {
            return Err(Errno::EROFS);
        }
        Ok(())
    }

    /// Counts a file open for writing; `EROFS` when there can be none. As long as it is open, nobody takes writing away.
    pub(crate) fn begin_writing(&self) -> Result<(), Errno> {
        // First counted, then asked: whoever takes writing away first says so, then counts.
        self.writers.fetch_add(1, SeqCst);
        self.superblock.begin_writing();
        let is_read_only = self.flags.load(SeqCst) & MountFlags::READ_ONLY.bits() != 0;
        if is_read_only || self.superblock.is_read_only() {
            self.end_writing();
            return Err(Errno::EROFS);
        }
        Ok(())
    }

    /// Ends what [`Mount::begin_writing`] began.
    pub(crate) fn end_writing(&self) {
        self.superblock.end_writing();
        self.writers.fetch_sub(1, SeqCst);
    }

    /// Whether it cannot be bound elsewhere.
    pub fn is_unbindable(&self) -> bool {
        self.is_unbindable.load(Relaxed)
    }

    /// Sets whether it cannot be bound elsewhere.
    pub(crate) fn set_unbindable(&self, is_unbindable: bool) {
        self.is_unbindable.store(is_unbindable, Relaxed);
    }

    /// The number of the group that it shares mounts with; 0 for none.
    pub fn group(&self) -> u32 {
        self.group.load(Relaxed)
    }

    /// The number of the group that it receives mounts from; 0 for none.
    pub fn master(&self) -> u32 {
        self.master.load(Relaxed)
    }

    pub(crate) fn set_group(&self, group: u32) {
        self.group.store(group, Relaxed);
    }

    pub(crate) fn set_master(&self, master: u32) {
        self.master.store(master, Relaxed);
    }

    /// Marks it as not used since now; whether it was marked.
    pub(crate) fn mark_expiring(&self) -> bool {
        self.view.is_expiring.swap(true, Relaxed)
    }

    /// What a walk without locks sees of it.
    #[inline(always)]
    pub(crate) fn view(&self) -> &MountView {
        &self.view
    }

    /// Notes that a walk has come here.
    #[inline(always)]
    pub(crate) fn note_use(&self) {
        self.view.note_use();
    }

    /// Whether somebody but the tree, and the one reference of the caller, uses it.
    pub(crate) fn is_in_use(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > TREE_REFERENCES + 1
    }

    /// Notes that a file was read through this mount.
    #[inline]
    pub(crate) fn note_access(&self, inode: &Arc<dyn Inode>) {
        let flags = self.flags();
        let metadata = inode.metadata();
        let is_ignored = flags.intersects(MountFlags::NO_ACCESS_TIME | MountFlags::READ_ONLY)
            || (flags.contains(MountFlags::NO_DIRECTORY_ACCESS_TIME) && metadata.is_directory())
            || metadata.keeps_access_time();
        if !is_ignored {
            let is_noted = metadata.touch_accessed(flags.contains(MountFlags::RELATIVE_ACCESS_TIME));
            if is_noted {
                inode.accessed();
            }
        }
    }

    /// What it covers.
    pub(crate) fn place(&self) -> Option<PathRef> {
        self.place.lock().clone()
    }

    /// Puts it at a place, whose dentry is marked already.
    pub(crate) fn put(self: &Arc<Self>, at: PathRef) {
        *self.place.lock() = Some(at.clone());
        let mut children = at.mount.children.lock();
        children.push(Child { mount_point: at.dentry, mount: self.clone() });
        at.mount.view.show(&children, None);
    }

    /// Takes it from its place, and answers that; the dentry there is marked no longer.
    pub(crate) fn take(self: &Arc<Self>) -> Option<PathRef> {
        let place = self.place.lock().take()?;
        // What the list held is dropped outside its lock.
        let taken = {
            let mut children = place.mount.children.lock();
            place.mount.view.show(&children, Some(self));
            let index = children.iter().position(|child| Arc::ptr_eq(&child.mount, self));
            index.map(|index| children.remove(index))
        };
        debug_assert!(taken.is_some(), "a mount has a place but is not there");
        place.dentry.remove_mount();
        Some(place)
    }

    /// As [`Mount::take`], if nobody but the tree and the caller, with one reference, uses it. The caller keeps others from
    /// changing the tree.
    pub(crate) fn take_if_unused(self: &Arc<Self>) -> bool {
        let Some(place) = self.place() else { return false };
        let taken = {
            let mut children = place.mount.children.lock();
            place.mount.view.show(&children, Some(self));
            TAKEN.note();
            if self.is_in_use() {
                place.mount.view.show(&children, None);
                return false;
            }
            // Walks come in by these lists only: nobody can any more.
            let index = children.iter().position(|child| Arc::ptr_eq(&child.mount, self));
            index.map(|index| children.remove(index))
        };
        place.dentry.remove_mount();
        *self.place.lock() = None;
        taken.is_some()
    }

    /// What is mounted on it, in the order in which it was.
    pub(crate) fn children(&self) -> Vec<(Arc<Dentry>, Arc<Self>)> {
        self.children.lock().iter().map(|child| (child.mount_point.clone(), child.mount.clone())).collect()
    }

    /// Whether something is mounted on it.
    pub(crate) fn has_children(&self) -> bool {
        !self.children.lock().is_empty()
    }

    /// What is mounted on a dentry seen through this mount.
    #[inline(always)]
    pub(crate) fn child_at(&self, mount_point: &Arc<Dentry>) -> Option<Arc<Self>> {
        let children = self.children.lock();
        children.iter().find(|child| Arc::ptr_eq(&child.mount_point, mount_point)).map(|child| child.mount.clone())
    }

    /// The topmost mount on a dentry seen through this mount.
    #[inline(always)]
    pub(crate) fn mounted_on(&self, mount_point: &Arc<Dentry>) -> Option<Arc<Self>> {
        let mount = self.child_at(mount_point)?;
        Some(if mount.root.is_mount_point() { mount.topmost() } else { mount })
    }

    /// The topmost mount on the root of this one.
    #[cold]
    fn topmost(self: Arc<Self>) -> Arc<Self> {
        let mut top = self;
        while let Some(above) = top.child_at(&top.root) {
            top = above;
        }
        top
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Mount({} {})", self.id, self.file_system().type_name())
    }
}

/// A place: a dentry seen through a mount.
#[derive(Clone, Debug)]
pub struct PathRef {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The dentry.
    pub dentry: Arc<Dentry>,
}

impl PathRef {
    /// The inode.
    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.dentry.inode()
    }

    /// Whether both are the same dentry seen through the same mount.
    #[inline]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.dentry, &other.dentry) && Arc::ptr_eq(&self.mount, &other.mount)
    }

    /// Whether a way up from here leads through `top`.
    pub fn is_below(&self, top: &Self) -> bool {
        let mut at = self.clone();
        while !Arc::ptr_eq(&at.mount, &top.mount) {
            match at.mount.place() {
                Some(place) => at = place,
                None => return false,
            }
        }
        top.dentry.contains(&at.dentry)
    }

    /// Whether it is the root of its mount.
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.dentry, self.mount.root())
    }

    /// The topmost root mounted here, or the place itself.
    pub fn into_topmost(self) -> Self {
        if !self.dentry.is_mount_point() {
            return self;
        }
        match self.mount.mounted_on(&self.dentry) {
            Some(mount) => Self { dentry: mount.root.clone(), mount },
            None => self,
        }
    }
}
