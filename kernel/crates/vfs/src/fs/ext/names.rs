//! Names: looking up, making, linking, removing, renaming, listing. Each change is one [`ext::Change`].
//!
//! # Loops
//!
//! On a damaged disk a directory may be named in several places, even below itself. A directory that is found must say by its `..`
//! that it is in the one it was found in, and there it may have one name, so what can be reached from the root is a tree, and locks of
//! directories have an order.

use alloc::sync::Arc;

use abi::Errno;
use ext::directory::{self, APPENDS_MAX, BLOCKS_MAX, Entries, Target};
use ext::{CREATE_CREDITS, Change, ORPHAN_CREDITS, attribute};
use file::DirectorySink;

use crate::inode::Renaming;
use crate::{FileKind, FileTime, HashedName, NewInode};

use super::ExtInode;

/// The most names of a file.
const LINKS_MAX: u32 = 65_000;
/// What adding a name changes.
const INSERT_CREDITS: u32 = BLOCKS_MAX + APPENDS_MAX * CREATE_CREDITS;
/// What writing the attributes of a few inodes changes.
const SAVE_CREDITS: u32 = 4;
/// What adding one and removing one changes, with all that goes with it, and a whiteout in its place.
const RENAME_CREDITS: u32 = INSERT_CREDITS + 2 * BLOCKS_MAX + 2 + SAVE_CREDITS + ORPHAN_CREDITS + CREATE_CREDITS;

/// What storing the access control lists of something new changes.
fn list_credits(new: &NewInode<'_>) -> u32 {
    new.acls.iter().map(|_| attribute::CREDITS).sum()
}

impl ExtInode {
    /// What an entry for it says.
    fn target(&self) -> Target {
        Target { inode: self.number(), kind: self.metadata.kind().entry_kind() }
    }

    /// Finds a name.
    pub(super) fn find(&self, name: HashedName<'_>) -> Result<Arc<Self>, Errno> {
        self.check_directory()?;
        let target = directory::find(&self.core, name.bytes())?.ok_or(Errno::ENOENT)?;
        let inode = self.shared.inode(target.inode)?;
        if inode.metadata.is_directory() {
            let is_root = inode.number() == ext::ROOT_INODE;
            let belongs_here = !is_root
                && inode.number() != self.number()
                && directory::parent(&inode.core)? == self.number()
                && inode.is_called(name);
            if !belongs_here {
                let (number, found_in) = (inode.number(), self.number());
                return Err(ext::corrupt(format_args!(
                    "directory {number} does not belong to {found_in}, which names it"
                )));
            }
        }
        Ok(inode)
    }

    /// Makes a node with a name.
    pub(super) fn make(&self, name: HashedName<'_>, new: &NewInode<'_>) -> Result<Arc<Self>, Errno> {
        self.check_directory()?;
        self.shared.delete_unused();
        self.shared.limit_dirty();
        let is_directory = FileKind::of_mode(new.mode) == Some(FileKind::Directory);
        if is_directory {
            self.check_may_have_subdirectory()?;
        }
        let credits = 2 * CREATE_CREDITS + INSERT_CREDITS + SAVE_CREDITS + list_credits(new);
        let change = self.shared.file_system.begin(credits)?;
        let inode = self.make_core(&change, new, if is_directory { 2 } else { 1 })?;
        let mut named = Ok(());
        if is_directory {
            named = directory::create(&inode.core, &change, self.number());
            inode.metadata.set_size(inode.core.size_on_disk());
        }
        named = named.and_then(|()| directory::insert(&self.core, &change, name.bytes(), inode.target()));
        if let Err(errno) = named {
            inode.core.discard(&change)?;
            return Err(errno);
        }
        if is_directory {
            inode.set_name(name);
            self.count_subdirectory(true);
        }
        self.names_changed(&change)?;
        self.shared.add(&inode);
        Ok(inode)
    }

    /// Makes a regular file without a name.
    pub(super) fn make_unnamed(&self, new: &NewInode<'_>) -> Result<Arc<Self>, Errno> {
        self.check_directory()?;
        self.shared.delete_unused();
        let change = self.shared.file_system.begin(CREATE_CREDITS + ORPHAN_CREDITS + list_credits(new))?;
        let inode = self.make_core(&change, new, 0)?;
        self.shared.file_system.add_orphan(&change, &inode.core)?;
        self.shared.add(&inode);
        self.shared.add_orphan(inode.clone());
        Ok(inode)
    }

    fn make_core(&self, change: &Change<'_>, new: &NewInode<'_>, links: u16) -> Result<Arc<Self>, Errno> {
        let now = FileTime::now().into();
        let record = ext::Record {
            mode: u16::try_from(new.mode).map_err(|_| Errno::EINVAL)?,
            uid: new.uid,
            gid: new.gid,
            links,
            size: new.target.len() as u64,
            accessed: now,
            changed: now,
            modified: now,
            created: Some(now),
        };
        let NewInode { represents, target, acls, .. } = *new;
        let core = ext::Inode::create(change, &self.core, &ext::NewInode { record, represents, target })?;
        for (name, list) in acls.iter() {
            if let Err(errno) = attribute::set(&core, change, name, Some(list)) {
                core.discard(change)?;
                return Err(errno);
            }
        }
        Ok(Self::new(&self.shared, core, &record))
    }

    /// A directory's names were changed: its length and times are written.
    fn names_changed(&self, change: &Change<'_>) -> Result<(), Errno> {
        self.metadata.set_size(self.core.size_on_disk());
        self.metadata.touch_modified();
        self.save(change)
    }

    /// Adds a name for a file.
    pub(super) fn add_name(&self, name: HashedName<'_>, inode: &Self) -> Result<(), Errno> {
        self.check_directory()?;
        self.shared.delete_unused();
        if inode.metadata.links() >= LINKS_MAX {
            return Err(Errno::EMLINK);
        }
        inode.metadata.add_link()?;
        let linked = (|| {
            let change = self.shared.file_system.begin(INSERT_CREDITS + SAVE_CREDITS + ORPHAN_CREDITS)?;
            directory::insert(&self.core, &change, name.bytes(), inode.target())?;
            inode.metadata.touch_changed();
            self.shared.file_system.remove_orphan(&change, &inode.core)?;
            inode.save(&change)?;
            self.names_changed(&change)
        })();
        linked.inspect_err(|_| {
            inode.metadata.drop_links(1);
        })
    }

    /// Removes a name of a file.
    pub(super) fn remove_name(&self, name: HashedName<'_>, inode: &Arc<Self>) -> Result<(), Errno> {
        self.shared.delete_unused();
        let change = self.shared.file_system.begin(BLOCKS_MAX + SAVE_CREDITS + ORPHAN_CREDITS)?;
        self.take_out(&change, name, inode)?;
        self.names_changed(&change)?;
        inode.lose_links(&change, 1)
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&self, name: HashedName<'_>, inode: &Arc<Self>) -> Result<(), Errno> {
        self.shared.delete_unused();
        inode.check_replaceable()?;
        let change = self.shared.file_system.begin(BLOCKS_MAX + SAVE_CREDITS + ORPHAN_CREDITS)?;
        self.take_out(&change, name, inode)?;
        self.count_subdirectory(false);
        self.names_changed(&change)?;
        inode.lose_links(&change, u32::MAX)
    }

    /// Removes an entry that must be one of this inode.
    fn take_out(&self, change: &Change<'_>, name: HashedName<'_>, inode: &Self) -> Result<(), Errno> {
        let target = directory::remove(&self.core, change, name.bytes())?;
        if target.inode != inode.number() {
            return Err(ext::corrupt(format_args!("a name in directory {} has changed", self.number())));
        }
        Ok(())
    }

    /// Takes names away; without any it is an orphan.
    fn lose_links(self: &Arc<Self>, change: &Change<'_>, count: u32) -> Result<(), Errno> {
        self.metadata.touch_changed();
        if self.metadata.drop_links(count) == 0 {
            self.shared.file_system.add_orphan(change, &self.core)?;
            self.shared.add_orphan(self.clone());
        }
        self.save(change)
    }

    /// Whether a rename may replace it, and `rmdir` remove it: a directory must be empty.
    fn check_replaceable(&self) -> Result<(), Errno> {
        if self.metadata.is_directory() && !directory::is_empty(&self.core)? { Err(Errno::ENOTEMPTY) } else { Ok(()) }
    }

    /// Whether the number of links allows for a subdirectory more.
    fn check_may_have_subdirectory(&self) -> Result<(), Errno> {
        let may_be_uncounted = self.shared.file_system.superblock().has_many_subdirectories();
        if self.metadata.links() >= LINKS_MAX && !may_be_uncounted { Err(Errno::EMLINK) } else { Ok(()) }
    }

    /// Counts a subdirectory more or less. A directory that had too many has one link, and stays so.
    fn count_subdirectory(&self, is_more: bool) {
        let links = self.metadata.links();
        if links < 2 {
            return;
        }
        if is_more && links + 1 > LINKS_MAX {
            self.metadata.drop_links(links - 1);
        } else if is_more {
            // It has links, and far from too many.
            let counted = self.metadata.add_link();
            debug_assert!(counted.is_ok());
        } else if links > 2 {
            self.metadata.drop_links(1);
        }
    }

    /// Renames, in one change.
    pub(super) fn carry_out(&self, renaming: &Renaming<'_>) -> Result<(), Errno> {
        self.shared.delete_unused();
        let new_directory = Self::of(renaming.new_directory)?;
        let inode = Self::of(renaming.inode)?;
        let replaced = renaming.replaced.map(Self::of).transpose()?;
        let is_move = !core::ptr::eq(self, &*new_directory);
        if let Some(replaced) = replaced.as_ref().filter(|_| !renaming.is_exchange) {
            replaced.check_replaceable()?;
            inode.write_replacement();
        }
        let comes = is_move
            && inode.metadata.is_directory()
            && replaced.as_ref().is_none_or(|other| !other.metadata.is_directory());
        if comes {
            new_directory.check_may_have_subdirectory()?;
        }
        let change = self.shared.file_system.begin(RENAME_CREDITS)?;
        let whiteout = renaming.whiteout.map(|new| self.make_core(&change, new, 1)).transpose()?;
        let placed = match &replaced {
            Some(other) => self.put_in_place(&change, &new_directory, renaming.new_name, &inode, other),
            None => directory::insert(&new_directory.core, &change, renaming.new_name.bytes(), inode.target()),
        };
        if let Err(errno) = placed {
            if let Some(whiteout) = whiteout {
                whiteout.core.discard(&change)?;
            }
            return Err(errno);
        }
        match (&replaced, &whiteout) {
            (Some(other), _) if renaming.is_exchange => {
                self.put_in_place(&change, self, renaming.old_name, other, &inode)?;
                other.note_move(&change, &new_directory, self)?;
                other.set_name(renaming.old_name);
            }
            (_, Some(whiteout)) => {
                self.put_in_place(&change, self, renaming.old_name, whiteout, &inode)?;
                self.shared.add(whiteout);
            }
            _ => self.take_out(&change, renaming.old_name, &inode)?,
        }
        inode.note_move(&change, self, &new_directory)?;
        inode.set_name(renaming.new_name);
        if let Some(replaced) = replaced.filter(|_| !renaming.is_exchange) {
            if replaced.metadata.is_directory() {
                new_directory.count_subdirectory(false);
                replaced.lose_links(&change, u32::MAX)?;
            } else {
                replaced.lose_links(&change, 1)?;
            }
        }
        self.names_changed(&change)?;
        if is_move { new_directory.names_changed(&change) } else { Ok(()) }
    }

    /// Lets a name stand for `inode` that stood for `other`.
    fn put_in_place(
        &self,
        change: &Change<'_>,
        directory: &Self,
        name: HashedName<'_>,
        inode: &Self,
        other: &Self,
    ) -> Result<(), Errno> {
        let old = directory::replace(&directory.core, change, name.bytes(), inode.target())?;
        if old.inode != other.number() {
            return Err(ext::corrupt(format_args!("a name in directory {} has changed", directory.number())));
        }
        Ok(())
    }

    /// Notes that it moved from one directory to another, or within one.
    fn note_move(&self, change: &Change<'_>, from: &Self, to: &Self) -> Result<(), Errno> {
        self.metadata.touch_changed();
        if !core::ptr::eq(from, to) && self.metadata.is_directory() {
            directory::set_parent(&self.core, change, to.number())?;
            from.count_subdirectory(false);
            to.count_subdirectory(true);
        }
        self.save(change)
    }

    /// Gives the names from a position on.
    pub(super) fn list_names(&self, position: u64, sink: &mut dyn DirectorySink) -> Result<(), Errno> {
        self.check_directory()?;
        let mut position = position;
        let mut entries = Entries::default();
        loop {
            {
                let _lock = self.metadata.lock();
                directory::list(&self.core, position, &mut entries)?;
            }
            if entries.is_empty() {
                return Ok(());
            }
            for (name, entry) in entries.iter() {
                if !sink.entry(name, entry.target.inode.into(), entry.target.kind, entry.next) {
                    return Ok(());
                }
                position = entry.next;
            }
        }
    }
}
