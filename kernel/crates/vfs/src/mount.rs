//! Mounts: [`Mount`] puts a file system at a place, a [`Namespace`] is a tree of them, a [`PathRef`] is a place in it.
//!
//! The walk goes down into a mount through the list of mounts that its parent mount keeps, which it looks at only where a
//! dentry is marked as a mount point, and up through the mount's own place. Changes of the tree are made one at a time, under
//! the namespace's lock (rank `MOUNTS`); the lists are spinlocks that are held for a few instructions.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::Errno;
use bitflags::bitflags;
use sync::{Mutex, rank};

use crate::{Capabilities, Credentials, Dentry, FileSystem, Inode};

/// The most mounts a namespace has (Linux's default `fs.mount-max`).
const MOUNTS_MAX: usize = 100_000;

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
        /// Every reading changes the time. Only asked for; it shows as the absence of the others.
        const STRICT_ACCESS_TIME = 1 << 24;
    }
}

impl MountFlags {
    /// The flags in force when these are asked for.
    fn in_force(self) -> Self {
        let decided = Self::NO_ACCESS_TIME | Self::STRICT_ACCESS_TIME;
        let default = if self.intersects(decided) { Self::empty() } else { Self::RELATIVE_ACCESS_TIME };
        self.difference(Self::STRICT_ACCESS_TIME) | default
    }
}

/// A file system at a place.
pub struct Mount {
    id: u32,
    file_system: Arc<dyn FileSystem>,
    root: Arc<Dentry>,
    flags: AtomicU32,
    source: Box<[u8]>,
    /// What it covers: None at the root of a namespace, and after unmounting.
    place: Mutex<Option<PathRef>>,
    /// What is mounted on it.
    children: Mutex<Vec<Child>>,
}

struct Child {
    mount_point: Arc<Dentry>,
    mount: Arc<Mount>,
}

impl Mount {
    fn new(file_system: Arc<dyn FileSystem>, root: Arc<Dentry>, source: &[u8], flags: MountFlags) -> Arc<Self> {
        static NEXT_ID: AtomicU32 = AtomicU32::new(1);
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            file_system,
            root,
            flags: AtomicU32::new(flags.in_force().bits()),
            source: Box::from(source),
            place: Mutex::new(rank::DENTRIES, None),
            children: Mutex::new(rank::DENTRIES, Vec::new()),
        })
    }

    /// A mount that is in no namespace, for places that no path leads to.
    pub(crate) fn detached(file_system: Arc<dyn FileSystem>) -> Arc<Self> {
        let root = file_system.root().clone();
        Self::new(file_system, root, b"none", MountFlags::empty())
    }

    /// The number in `/proc/self/mountinfo` and `statx`.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The file system.
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.file_system
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

    /// `EROFS` when nothing can be changed through this mount.
    pub fn check_writable(&self) -> Result<(), Errno> {
        if self.flags().contains(MountFlags::READ_ONLY) || self.file_system.is_read_only() {
            return Err(Errno::EROFS);
        }
        Ok(())
    }

    /// Notes that a file was read through this mount.
    #[inline]
    pub(crate) fn note_access(&self, inode: &Arc<dyn Inode>) {
        let flags = self.flags();
        let metadata = inode.metadata();
        let is_ignored = flags.intersects(MountFlags::NO_ACCESS_TIME | MountFlags::READ_ONLY)
            || (flags.contains(MountFlags::NO_DIRECTORY_ACCESS_TIME) && metadata.is_directory());
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

    /// What is mounted on a dentry seen through this mount.
    #[inline(always)]
    fn child_at(&self, mount_point: &Arc<Dentry>) -> Option<Arc<Self>> {
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
        write!(formatter, "Mount({} {})", self.id, self.file_system.type_name())
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

    /// Whether it is the root of its mount.
    pub(crate) fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.dentry, self.mount.root())
    }

    /// The topmost root mounted here, or the place itself.
    pub(crate) fn into_topmost(self) -> Self {
        if !self.dentry.is_mount_point() {
            return self;
        }
        match self.mount.mounted_on(&self.dentry) {
            Some(mount) => Self { dentry: mount.root.clone(), mount },
            None => self,
        }
    }
}

/// One line of `/proc/self/mountinfo`, parsed.
pub struct MountSnapshot {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The number of the mount it is on; its own at the root.
    pub parent_id: u32,
    /// What it covers; None at the root.
    pub place: Option<PathRef>,
    /// What was mounted (a device, or a word).
    pub source: Vec<u8>,
}

/// A tree of mounts.
pub struct Namespace {
    root: Arc<Mount>,
    /// All mounts in the order in which they were made.
    mounts: Mutex<Vec<Arc<Mount>>>,
}

impl Namespace {
    /// A namespace with this file system at its root.
    pub fn new(file_system: Arc<dyn FileSystem>, source: &[u8], flags: MountFlags) -> Arc<Self> {
        let root_dentry = file_system.root().clone();
        let root = Mount::new(file_system, root_dentry, source, flags);
        let mounts = Mutex::new(rank::MOUNTS, alloc::vec![root.clone()]);
        Arc::new(Self { root, mounts })
    }

    /// Its root.
    pub fn root(&self) -> PathRef {
        PathRef { dentry: self.root.root.clone(), mount: self.root.clone() }.into_topmost()
    }

    /// The mount at its root.
    pub(crate) fn root_mount(&self) -> &Arc<Mount> {
        &self.root
    }

    /// Mounts a file system on a directory (`EPERM` without `CAP_SYS_ADMIN`, `ENOTDIR`, `ENOSPC` for too many mounts).
    pub fn mount(
        &self,
        credentials: &Credentials,
        at: &PathRef,
        file_system: Arc<dyn FileSystem>,
        source: &[u8],
        flags: MountFlags,
    ) -> Result<Arc<Mount>, Errno> {
        let root = file_system.root().clone();
        self.attach(credentials, at, file_system, root, source, flags)
    }

    /// Shows a place at a second place, without the mounts on it.
    pub fn bind(&self, credentials: &Credentials, at: &PathRef, what: &PathRef) -> Result<Arc<Mount>, Errno> {
        let mount = &what.mount;
        self.attach(credentials, at, mount.file_system.clone(), what.dentry.clone(), &mount.source, mount.flags())
    }

    fn attach(
        &self,
        credentials: &Credentials,
        at: &PathRef,
        file_system: Arc<dyn FileSystem>,
        root: Arc<Dentry>,
        source: &[u8],
        flags: MountFlags,
    ) -> Result<Arc<Mount>, Errno> {
        if !credentials.has(Capabilities::SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        let mut mounts = self.mounts.lock();
        let at = at.clone().into_topmost();
        if !at.dentry.is_cached() {
            return Err(Errno::EINVAL);
        }
        if mounts.len() >= MOUNTS_MAX {
            return Err(Errno::ENOSPC);
        }
        if at.inode().metadata().is_directory() != root.inode().metadata().is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let mount = Mount::new(file_system, root, source, flags);
        {
            // Under the directory's lock it can be neither removed nor renamed away before it is marked.
            let _lock = at.inode().metadata().lock();
            if at.dentry.is_removed() {
                return Err(Errno::ENOENT);
            }
            at.dentry.add_mount();
        }
        *mount.place.lock() = Some(at.clone());
        at.mount.children.lock().push(Child { mount_point: at.dentry.clone(), mount: mount.clone() });
        mounts.push(mount.clone());
        Ok(mount)
    }

    /// Unmounts what has its root here (`EINVAL` when nothing has, `EBUSY` while something is mounted on it). Files that are open
    /// keep working, as with Linux's `MNT_DETACH`.
    pub fn unmount(&self, credentials: &Credentials, at: &PathRef) -> Result<(), Errno> {
        if !credentials.has(Capabilities::SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        let mut mounts = self.mounts.lock();
        if !at.is_mount_root() || Arc::ptr_eq(&at.mount, &self.root) {
            return Err(Errno::EINVAL);
        }
        if !at.mount.children.lock().is_empty() {
            return Err(Errno::EBUSY);
        }
        let place = at.mount.place.lock().take().ok_or(Errno::EINVAL)?;
        place.mount.children.lock().retain(|child| !Arc::ptr_eq(&child.mount, &at.mount));
        place.dentry.remove_mount();
        mounts.retain(|mount| !Arc::ptr_eq(mount, &at.mount));
        if !mounts.iter().any(|mount| Arc::ptr_eq(&mount.file_system, &at.mount.file_system)) {
            at.mount.file_system.root().drop_unused();
        }
        Ok(())
    }

    /// Changes the restrictions of the mount that has its root here.
    pub fn remount(&self, credentials: &Credentials, at: &PathRef, flags: MountFlags) -> Result<(), Errno> {
        if !credentials.has(Capabilities::SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        if !at.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        at.mount.flags.store(flags.in_force().bits(), Relaxed);
        Ok(())
    }

    /// All mounts, in the order in which they were made.
    pub fn mounts(&self) -> Vec<MountSnapshot> {
        let mounts = self.mounts.lock();
        let snapshot = |mount: &Arc<Mount>| {
            let place = mount.place();
            MountSnapshot {
                parent_id: place.as_ref().map_or(mount.id, |place| place.mount.id),
                place,
                source: mount.source.to_vec(),
                mount: mount.clone(),
            }
        };
        mounts.iter().map(snapshot).collect()
    }
}
