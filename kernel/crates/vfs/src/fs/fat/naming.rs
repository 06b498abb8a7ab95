//! Making, removing and renaming: what changes the names of directories.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use sync::MutexGuard;
use sync::atomic::Ordering::Relaxed;

use crate::inode::Renaming;
use crate::{FileKind, FileTime, HashedName, Inode, NewInode};

use super::chain::Chain;
use super::date::Stamp;
use super::entry::{self, Entry};
use super::inode::{FatInode, NO_PLACE, WRITE_BITS};
use super::volume::State;

impl FatInode {
    pub(super) fn make_node(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<Self>, Errno> {
        let is_directory = match FileKind::of_mode(new.mode) {
            Some(FileKind::Regular) => false,
            Some(FileKind::Directory) => true,
            _ => return Err(Errno::EPERM),
        };
        self.volume.check_writable()?;
        let now = Stamp::of(FileTime::now());
        let mut attributes = if is_directory { entry::DIRECTORY } else { entry::ARCHIVE };
        if new.mode & WRITE_BITS == 0 && !is_directory {
            attributes |= entry::READ_ONLY;
        }
        let mut chain = Chain::new(0);
        let file = Entry::new(b"           ", attributes, 0, now);
        let mut set = self.make_set(name, file, &[])?;
        if is_directory {
            self.volume.extend(&mut chain, 1, true)?;
            let result = self.write_dots(chain.first(), now);
            if let Some(own) = set.last_mut() {
                own.set_cluster(chain.first());
            }
            result?;
        }
        let place = match self.insert(&set) {
            Ok(place) => place,
            Err(errno) => {
                let mut state = self.volume.lock_for_change()?;
                self.volume.shorten(&mut state, &mut chain, 0)?;
                return Err(errno);
            }
        };
        let own = set.last().copied().ok_or(Errno::EIO)?;
        let inode = Self::load(&self.volume, place, &own)?;
        inode.is_moved.store(true, Relaxed);
        self.is_moved.store(true, Relaxed);
        self.note_names_changed();
        self.throttle()?;
        Ok(inode)
    }

    /// The cluster that `..` of a directory in this one names.
    fn cluster_for_children(&self) -> u32 {
        if self.is_root() { 0 } else { self.chain().lock().first() }
    }

    /// Writes `.` and `..` of a new directory in this one.
    fn write_dots(&self, cluster: u32, now: Stamp) -> Result<(), Errno> {
        let above = self.cluster_for_children();
        let mut state = self.volume.lock_for_change()?;
        let block = self.volume.geometry.block_of(cluster);
        self.volume.change_block(&mut state, block, |bytes| {
            let dots = [(b".          ", cluster), (b"..         ", above)];
            let (slots, _) = bytes.as_chunks_mut();
            for (slot, (name, cluster)) in slots.iter_mut().zip(dots) {
                *slot = Entry::new(name, entry::DIRECTORY, cluster, now).0;
            }
        })
    }

    /// Notes that an inode has no entry any more.
    fn forget_name(&self, state: &mut State, inode: &Arc<Self>) {
        let is_directory = inode.metadata.is_directory();
        if is_directory {
            let cluster = state.directories.iter().find(|(_, known)| known.as_ptr() == Arc::as_ptr(inode));
            let cluster = cluster.map(|(cluster, _)| *cluster);
            cluster.map(|cluster| state.directories.remove(&cluster));
        }
        state.inodes.remove(&inode.place.swap(NO_PLACE, Relaxed));
        state.moved.insert(inode.metadata.number(), Arc::downgrade(inode));
        state.changed.remove(&inode.metadata.number());
        inode.metadata.drop_links(1);
        inode.metadata.touch_changed();
        self.volume.add_nameless(state, inode, is_directory);
    }

    pub(super) fn move_name(&self, renaming: &Renaming<'_>) -> Result<(), Errno> {
        self.move_name_by(renaming, true)
    }

    /// With `is_ordered` the disk has the new name before it loses the old one. Whatever fails, the old name stands.
    fn move_name_by(&self, renaming: &Renaming<'_>, is_ordered: bool) -> Result<(), Errno> {
        let target = Self::of(renaming.new_directory)?;
        let inode = Self::of(renaming.inode)?;
        let replaced = renaming.replaced.map(Self::of).transpose()?;
        if let Some(replaced) = replaced.as_ref().filter(|replaced| replaced.metadata.is_directory())
            && !replaced.is_empty_directory()?
        {
            return Err(Errno::ENOTEMPTY);
        }
        let old = self.find_file(renaming.old_name.bytes(), inode.place())?;
        let old_places = self.places_of(&old)?;
        let replaced_file = match &replaced {
            Some(replaced) => Some(target.find_file(renaming.new_name.bytes(), replaced.place())?),
            None => None,
        };
        let replaced_places = match &replaced_file {
            Some(found) => target.places_of(found)?,
            None => Vec::new(),
        };
        let is_here = core::ptr::eq(self, &*target);
        let mut but: Vec<u64> = replaced_places.last().copied().into_iter().collect();
        but.extend(is_here.then_some(old.place));
        let set = target.make_set(renaming.new_name.bytes(), old.entry, &but)?;
        let fits = is_here && set.len() <= old_places.len() && self.are_in_block_of(&old_places, old.place);
        if fits {
            let mut state = self.volume.lock_for_change()?;
            self.replace_within_block(&mut state, &old, &old_places, &set)?;
        } else {
            let place = target.insert(&set)?;
            let needs_commit = is_ordered && !self.are_in_block_of(&old_places, place);
            let mut state = match self.hand_over(&target, &inode, [old.place, place], needs_commit) {
                Ok(state) => state,
                Err(errno) => {
                    target.withdraw(renaming.new_name.bytes(), place)?;
                    if inode.metadata.is_directory() && !is_here {
                        self.point_up(&inode)?;
                    }
                    return Err(errno);
                }
            };
            self.remove(&mut state, &old, &old_places)?;
            state.inodes.remove(&old.place);
            state.inodes.insert(place, Arc::downgrade(&inode));
            state.moved.insert(inode.metadata.number(), Arc::downgrade(&inode));
            inode.place.store(place, Relaxed);
        }
        if let (Some(replaced), Some(found)) = (&replaced, &replaced_file) {
            let mut state = self.volume.lock_for_change()?;
            if !self.are_in_block_of(&replaced_places, inode.place()) {
                // What could not be written is tried again, and its error told, by who syncs. The name has its new
                // meaning.
                let _ = self.volume.commit(&mut state);
            }
            target.remove(&mut state, found, &replaced_places)?;
            target.forget_name(&mut state, replaced);
        }
        inode.metadata.touch_changed();
        inode.is_moved.store(true, Relaxed);
        self.note_names_changed();
        if !is_here {
            target.note_names_changed();
        }
        Ok(())
    }

    /// Gives a file that has an entry at the first place its other entry, at the second. The volume stays locked until
    /// the file is known to be there: what was written into the first entry meanwhile would go with it.
    fn hand_over(
        &self,
        target: &Self,
        inode: &Self,
        [from, to]: [u64; 2],
        needs_commit: bool,
    ) -> Result<MutexGuard<'_, State>, Errno> {
        if inode.metadata.is_directory() && !core::ptr::eq(self, target) {
            target.point_up(inode)?;
        }
        let mut state = self.volume.lock_for_change()?;
        self.copy_fields(&mut state, from, to)?;
        if needs_commit {
            self.volume.commit(&mut state)?;
        }
        Ok(state)
    }

    /// Takes the entries of a name away that was given and is not to stand.
    fn withdraw(&self, name: &[u8], place: u64) -> Result<(), Errno> {
        let found = self.find_file(name, place)?;
        let places = self.places_of(&found)?;
        self.remove(&mut *self.volume.lock_for_change()?, &found, &places)
    }

    /// Exchanges what two names mean. Where both are in one block, the disk has it before or after. Otherwise the other
    /// file goes by a name of its own, in three renames, so that none is without a name at any moment. When one fails
    /// those before it are undone, in memory: what a failing disk has of them is repaired by what is written next.
    pub(super) fn exchange(&self, renaming: &Renaming<'_>) -> Result<(), Errno> {
        let target = Self::of(renaming.new_directory)?;
        let inode = Self::of(renaming.inode)?;
        let other_inode = renaming.replaced.ok_or(Errno::ENOENT)?;
        let other = Self::of(other_inode)?;
        let is_here = core::ptr::eq(self, &*target);
        if is_here && self.are_in_block_of(&[inode.place()], other.place()) {
            let mut state = self.volume.lock_for_change()?;
            let places = [inode.place(), other.place()];
            self.exchange_within_block(&mut state, places)?;
            for (moved, place) in [(&inode, places[1]), (&other, places[0])] {
                state.inodes.insert(place, Arc::downgrade(moved));
                state.moved.insert(moved.metadata.number(), Arc::downgrade(moved));
                moved.place.store(place, Relaxed);
                moved.metadata.touch_changed();
                moved.is_moved.store(true, Relaxed);
            }
            drop(state);
            self.note_names_changed();
            return Ok(());
        }
        let name = self.find_file(renaming.old_name.bytes(), inode.place())?.name;
        let other_name = target.find_file(renaming.new_name.bytes(), other.place())?.name;
        let between = target.unused_name()?;
        let [name, other_name, between] = [&name, &other_name, &between].map(|name| HashedName::new(name));
        let own: Arc<dyn Inode> = self.this()?;
        let (here, there) = (&own, renaming.new_directory);
        let step = |inode, old_name, new_directory, new_name| Renaming {
            old_name,
            inode,
            new_directory,
            new_name,
            replaced: None,
            is_exchange: false,
            whiteout: None,
        };
        target.move_name(&step(other_inode, other_name, there, between))?;
        let moved = self.move_name(&step(renaming.inode, name, there, other_name));
        let exchanged = moved.and_then(|()| {
            let exchanged = target.move_name(&step(other_inode, between, here, name));
            exchanged.or_else(|errno| {
                target.move_name_by(&step(renaming.inode, other_name, here, name), false)?;
                Err(errno)
            })
        });
        exchanged.or_else(|errno| {
            target.move_name_by(&step(other_inode, between, there, other_name), false)?;
            Err(errno)
        })
    }

    /// A name that no file of this directory has.
    fn unused_name(&self) -> Result<Vec<u8>, Errno> {
        /// More files of this name are not expected: one is left by a crash.
        const TRIES_MAX: u32 = 1000;
        for number in 0..TRIES_MAX {
            let name = alloc::format!("EXCHANGE.{number:03}").into_bytes();
            if self.find(&name)?.is_none() {
                return Ok(name);
            }
        }
        Err(Errno::ENOSPC)
    }

    /// Has `..` of a directory name this one.
    fn point_up(&self, directory: &Self) -> Result<(), Errno> {
        let above = self.cluster_for_children();
        let block = self.volume.geometry.block_of(directory.chain().lock().first());
        let mut state = self.volume.lock_for_change()?;
        self.volume.change_block(&mut state, block, |bytes| {
            if let Some(slot) = bytes.as_chunks_mut().0.get_mut(1) {
                let mut entry = Entry(*slot);
                if entry.short().starts_with(b"..") {
                    entry.set_cluster(above);
                }
                *slot = entry.0;
            }
        })
    }

    /// Removes the entries of a file, or of an empty directory, in this directory.
    pub(super) fn unlink_found(&self, name: &[u8], inode: &Arc<Self>) -> Result<(), Errno> {
        let found = self.find_file(name, inode.place())?;
        let places = self.places_of(&found)?;
        {
            let mut state = self.volume.lock_for_change()?;
            self.remove(&mut state, &found, &places)?;
            self.forget_name(&mut state, inode);
        }
        self.is_moved.store(true, Relaxed);
        self.note_names_changed();
        Ok(())
    }
}
