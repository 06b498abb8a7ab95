//! [`FatInode`]: a file or directory of a volume.
//!
//! An inode is known by the place of its entry, so a file found twice is one inode as long as somebody uses it. It has a number of its
//! own, that of its place unless another file that is still in use has that.
//!
//! One with something to be written is held by the volume, or closing the file would lose it.
//!
//! Locks, after those of the crate's documentation: the chain of an inode (`FAT_CHAINS`), then the volume (`FAT_VOLUMES`). The chain is
//! locked while pages are written: clusters that a truncation lets go of are not written to any more.

use alloc::sync::{Arc, Weak};
use core::any::Any;
use sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use abi::{Errno, FallocateFlags};
use file::{Attributes, DirectorySink};
use mm::Frame;
use mm::object::Mappings;
use mm::user::{UserReader, UserWriter};
use sync::{Mutex, rank};

use crate::inode::Renaming;
use crate::{
    AttributeChange, Credentials, FileKind, FileTime, HashedName, Inode, Metadata, Name, NewInode, NewMetadata,
    PageCache, PageStore,
};

use super::chain::Chain;
use super::date::Stamp;
use super::entry::{self, Entry};
use super::index::IndexSlot;
use super::name;
use super::volume::{State, Volume};

/// The place of what has no entry: the root, and files without a name.
pub(super) const NO_PLACE: u64 = u64::MAX;
/// The number of the root directory.
pub(super) const ROOT_NUMBER: u64 = 1;
/// The longest file.
pub(super) const FILE_LEN_MAX: u64 = u32::MAX as u64;
/// Inodes that wait to be written before whoever adds one writes them all.
const CHANGED_MAX: usize = 1024;
/// Bits of a mode for writing, and for reading and executing.
pub(super) const WRITE_BITS: u32 = 0o222;
const OTHER_BITS: u32 = 0o555;

/// A file or directory.
pub(super) struct FatInode {
    pub(super) metadata: Metadata,
    pub(super) volume: Arc<Volume>,
    this: Weak<FatInode>,
    chain: Arc<Mutex<Chain>>,
    /// Where its entry is. Changed under the lock of the volume.
    pub(super) place: AtomicU64,
    /// The attributes of its entry.
    attributes: AtomicU8,
    pub(super) cache: PageCache,
    /// Of a directory: where its names are.
    pub(super) index: IndexSlot,
    /// Its entry must be written.
    is_changed: AtomicBool,
    /// Its entry, or the FAT, must be written for its contents to be found again.
    pub(super) is_moved: AtomicBool,
    /// Clusters that are kept whatever its length, as long as anybody may write it.
    pub(super) kept: AtomicU64,
}

impl FatInode {
    /// The root directory.
    pub(super) fn root(volume: &Arc<Volume>) -> Arc<Self> {
        let cluster = volume.root_cluster();
        let never = [FileTime::from_nanoseconds(0); 4];
        let root = Self::new(volume, ROOT_NUMBER, NO_PLACE, entry::DIRECTORY, cluster, 0, never);
        if cluster != 0 {
            volume.lock().directories.insert(cluster, Arc::downgrade(&root));
        }
        root
    }

    fn new(
        volume: &Arc<Volume>,
        number: u64,
        place: u64,
        attributes: u8,
        cluster: u32,
        size: u64,
        times: [FileTime; 4],
    ) -> Arc<Self> {
        let is_directory = attributes & entry::DIRECTORY != 0;
        let kind = if is_directory { FileKind::Directory } else { FileKind::Regular };
        let new = NewMetadata {
            number,
            device: volume.device,
            mode: kind.mode_bits() | permissions(volume, attributes),
            uid: volume.options.uid,
            gid: volume.options.gid,
            // Of a directory nobody counts what is in it.
            links: 1,
            represents: 0,
            size,
            time: times[3],
        };
        Arc::new_cyclic(|this| Self {
            metadata: Metadata::with_times(new, times),
            volume: volume.clone(),
            this: this.clone(),
            chain: Arc::new(Mutex::new(rank::FAT_CHAINS, Chain::new(cluster))),
            place: AtomicU64::new(place),
            attributes: AtomicU8::new(attributes),
            cache: PageCache::new(),
            index: IndexSlot::new(),
            is_changed: AtomicBool::new(false),
            is_moved: AtomicBool::new(false),
            kept: AtomicU64::new(0),
        })
    }

    /// The inode of an entry: the one in memory, or a new one.
    pub(super) fn load(volume: &Arc<Volume>, place: u64, found: &Entry) -> Result<Arc<Self>, Errno> {
        let mut state = volume.lock();
        if let Some(inode) = state.inodes.get(&place).and_then(Weak::upgrade) {
            return Ok(inode);
        }
        let cluster = found.cluster();
        let is_directory = found.is_directory();
        if cluster != 0 && !volume.geometry.is_cluster(cluster) || is_directory && cluster == 0 {
            return Err(volume.damaged("an entry begins outside the volume"));
        }
        if is_directory && state.directories.get(&cluster).is_some_and(|other| other.strong_count() > 0) {
            return Err(volume.damaged("a directory has two places"));
        }
        let is_taken = state.moved.get(&place).is_some_and(|other| other.strong_count() > 0);
        let number = if is_taken { state.next_number } else { place };
        state.next_number += u64::from(is_taken);
        let size = if is_directory { volume.geometry.cluster_len() } else { u64::from(found.size()) };
        let created = if found.created().date == 0 { found.modified() } else { found.created() };
        let modified = found.modified().time();
        let times = [found.accessed().time(), modified, modified, created.time()];
        let inode = Self::new(volume, number, place, found.attributes(), cluster, size, times);
        inode.show_blocks();
        state.inodes.insert(place, Arc::downgrade(&inode));
        if is_directory {
            state.directories.insert(cluster, Arc::downgrade(&inode));
        }
        state.sweep();
        Ok(inode)
    }

    /// The inode behind one of this file system.
    pub(super) fn of(inode: &Arc<dyn Inode>) -> Result<Arc<Self>, Errno> {
        let any: Arc<dyn Any + Send + Sync> = inode.clone();
        any.downcast().map_err(|_| Errno::EXDEV)
    }

    /// Itself, as others hold it.
    pub(super) fn this(&self) -> Result<Arc<Self>, Errno> {
        self.this.upgrade().ok_or(Errno::EIO)
    }

    pub(super) fn chain(&self) -> &Arc<Mutex<Chain>> {
        &self.chain
    }

    /// Where its entry is.
    pub(super) fn place(&self) -> u64 {
        self.place.load(Relaxed)
    }

    pub(super) fn is_root(&self) -> bool {
        self.metadata.number() == ROOT_NUMBER
    }

    pub(super) fn show_blocks(&self) {
        let geometry = &self.volume.geometry;
        let len = self.clusters_wanted() * geometry.cluster_len();
        self.metadata.set_blocks(len / 512);
    }

    // ---- What must be written ---------------------------------------------------------------------------------------

    /// Notes that the entry, or contents, must be written.
    pub(super) fn note_changed(&self, state: &mut State) {
        self.is_changed.store(true, Relaxed);
        if self.metadata.links() > 0
            && let Some(this) = self.this.upgrade()
        {
            state.add_changed(&self.volume, this);
        }
    }

    /// Notes a change of a directory's names.
    pub(super) fn note_names_changed(&self) {
        self.metadata.touch_modified();
        if !self.is_root() {
            self.note_changed(&mut self.volume.lock());
        }
    }

    /// Writes all inodes back when too many wait for it.
    pub(super) fn throttle(&self) -> Result<(), Errno> {
        let is_full = self.volume.lock().changed.len() > CHANGED_MAX;
        if is_full { self.volume.write_changed(true).map(drop) } else { Ok(()) }
    }

    /// Puts what is known of it into its entry.
    pub(super) fn update_entry(&self, state: &mut State, cluster: u32) -> Result<(), Errno> {
        self.is_changed.store(false, Relaxed);
        let place = self.place();
        if place == NO_PLACE {
            return Ok(());
        }
        let attributes = self.metadata.attributes();
        let size = u32::try_from(self.metadata.size()).unwrap_or(u32::MAX);
        let is_regular = self.metadata.is_regular();
        self.change_entry(state, place, |entry| {
            entry.set_attributes(self.attributes.load(Relaxed));
            entry.set_modified(Stamp::of(attributes.modified.into()));
            entry.set_accessed(Stamp::of(attributes.accessed.into()));
            if is_regular {
                entry.set_cluster(cluster);
                entry.set_size(size);
            }
        })
    }

    /// Writes contents, then the entry, to memory that [`Volume::commit`] writes.
    pub(super) fn write_back(&self) -> Result<(), Errno> {
        self.cache.write_back(self, 0, u64::MAX)?;
        if self.is_changed.load(Relaxed) {
            let chain = self.chain.lock();
            let mut state = self.volume.lock_for_change()?;
            self.update_entry(&mut state, chain.first())?;
        }
        Ok(())
    }

    /// Gives up what is dirty: nothing is written any more.
    pub(super) fn abandon(&self) {
        self.cache.abandon(Errno::EIO);
        self.is_changed.store(false, Relaxed);
    }
}

impl State {
    /// Forgets inodes that are gone, now and then.
    fn sweep(&mut self) {
        /// How many may be gone and not forgotten.
        const GONE_MAX: usize = 4096;
        if self.inodes.len() + self.moved.len() < self.swept_at.max(GONE_MAX) {
            return;
        }
        for map in [&mut self.inodes, &mut self.moved] {
            map.retain(|_, inode| inode.strong_count() > 0);
        }
        self.directories.retain(|_, inode| inode.strong_count() > 0);
        self.swept_at = 2 * (self.inodes.len() + self.moved.len());
    }
}

/// The permissions of what has these attributes.
fn permissions(volume: &Volume, attributes: u8) -> u32 {
    let is_directory = attributes & entry::DIRECTORY != 0;
    let mask = if is_directory { volume.options.directory_mask } else { volume.options.file_mask };
    let denied = if attributes & entry::READ_ONLY != 0 && !is_directory { WRITE_BITS } else { 0 };
    0o777 & !mask & !denied
}

impl Inode for FatInode {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn attributes(&self) -> Attributes {
        let mut attributes = self.metadata.attributes();
        // As it will be read again.
        attributes.modified = Stamp { hundredths: 0, ..Stamp::of(attributes.modified.into()) }.time().into();
        attributes.changed = Stamp { hundredths: 0, ..Stamp::of(attributes.changed.into()) }.time().into();
        attributes.accessed =
            Stamp { date: Stamp::of(attributes.accessed.into()).date, ..Stamp::default() }.time().into();
        attributes.created = attributes.created.map(|time| Stamp::of(time.into()).time().into());
        attributes.block_size = u32::try_from(self.volume.geometry.cluster_len()).unwrap_or(4096);
        attributes
    }

    fn prepare_change(&self) -> Result<(), Errno> {
        self.volume.check_writable()
    }

    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno> {
        let options = &self.volume.options;
        let keeps_owner = change.uid.is_none_or(|uid| uid == options.uid);
        let keeps_group = change.gid.is_none_or(|gid| gid == options.gid);
        if keeps_owner && keeps_group { Ok(()) } else { Err(Errno::EPERM) }
    }

    fn attributes_changed(&self) {
        let is_directory = self.metadata.is_directory();
        let all = permissions(&self.volume, if is_directory { entry::DIRECTORY } else { 0 });
        let wanted = self.metadata.mode() & all;
        // What a volume can hold is whether a file may be written. Anything else is ignored, as on Linux.
        if !is_directory && wanted & OTHER_BITS == all & OTHER_BITS {
            match wanted & WRITE_BITS {
                0 => drop(self.attributes.fetch_or(entry::READ_ONLY, Relaxed)),
                bits if bits == all & WRITE_BITS => drop(self.attributes.fetch_and(!entry::READ_ONLY, Relaxed)),
                _ => {}
            }
        }
        self.metadata.set_permission_bits(permissions(&self.volume, self.attributes.load(Relaxed)));
        self.note_changed(&mut self.volume.lock());
    }

    fn folds_names(&self) -> bool {
        true
    }

    fn lookup(&self, name: HashedName<'_>, _credentials: &Credentials) -> Result<Arc<dyn Inode>, Errno> {
        self.lookup_folded(name).map(|(inode, _)| inode)
    }

    fn lookup_folded(&self, name: HashedName<'_>) -> Result<(Arc<dyn Inode>, Name), Errno> {
        if !self.metadata.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let found = self.find(name.bytes())?.ok_or(Errno::ENOENT)?;
        Ok((Self::load(&self.volume, found.place, &found.entry)?, Name::new(&found.name)))
    }

    fn stored_form<'a>(&self, name: HashedName<'a>) -> HashedName<'a> {
        HashedName::new(name::trimmed(name.bytes()))
    }

    fn create(&self, name: HashedName<'_>, new: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        self.make_node(name.bytes(), new).map(|inode| inode as Arc<dyn Inode>)
    }

    fn unlink(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.unlink_found(name.bytes(), &Self::of(inode)?)
    }

    fn rmdir(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        let inode = Self::of(inode)?;
        if !inode.is_empty_directory()? {
            return Err(Errno::ENOTEMPTY);
        }
        self.unlink_found(name.bytes(), &inode)
    }

    fn rename(&self, renaming: &Renaming<'_>) -> Result<(), Errno> {
        if renaming.is_exchange { self.exchange(renaming) } else { self.move_name(renaming) }
    }

    fn read_directory(&self, position: u64, sink: &mut dyn DirectorySink) -> Result<(), Errno> {
        if !self.metadata.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        self.each_file(position, |found| {
            let kind = if found.entry.is_directory() { FileKind::Directory } else { FileKind::Regular };
            sink.entry(&found.name, self.number_at(found.place), kind.entry_kind(), found.own + 1)
        })
    }

    fn read_at(&self, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        self.cache.read(self, position, to)
    }

    fn write_at(&self, position: u64, from: &mut UserReader<'_>) -> Result<usize, Errno> {
        if position >= FILE_LEN_MAX {
            return Err(Errno::EFBIG);
        }
        self.volume.check_writable()?;
        let end = position.saturating_add(from.remaining() as u64).min(FILE_LEN_MAX);
        let result = self.make_room(end).and_then(|room| {
            if room <= position {
                return Err(Errno::ENOSPC);
            }
            self.clear_gap(position)?;
            self.cache.write(self, position, room, from, |end| self.metadata.set_size(end))
        });
        self.give_back_room()?;
        self.show_blocks();
        let done = result?;
        self.note_changed(&mut self.volume.lock());
        self.throttle()?;
        Ok(done)
    }

    fn set_len(&self, len: u64) -> Result<(), Errno> {
        if !self.metadata.is_regular() {
            return Err(Errno::EINVAL);
        }
        let size = self.metadata.size();
        match len.cmp(&size) {
            core::cmp::Ordering::Less => self.cut_to(len)?,
            core::cmp::Ordering::Equal => {}
            core::cmp::Ordering::Greater => self.grow_to(len)?,
        }
        self.show_blocks();
        self.note_changed(&mut self.volume.lock());
        Ok(())
    }

    fn allocate(&self, mode: FallocateFlags, offset: u64, len: u64) -> Result<(), Errno> {
        let end = offset.checked_add(len).filter(|end| *end <= FILE_LEN_MAX).ok_or(Errno::EFBIG)?;
        match mode {
            FallocateFlags::KEEP_SIZE => self.keep_room(end),
            _ if !mode.is_empty() => Err(Errno::EOPNOTSUPP),
            _ if end > self.metadata.size() => self.set_len(end),
            _ => Ok(()),
        }
    }

    fn last_writer_closed(&self) {
        if self.kept.load(Relaxed) == 0 {
            return;
        }
        let _lock = self.metadata.lock();
        // Who has opened it meanwhile may have room kept, and gives it back in turn.
        if !self.metadata.has_writers() {
            // What cannot be given back now is given back when the volume is unmounted.
            let _ = self.let_room_go();
        }
    }

    fn page_cache(&self) -> Option<(&PageCache, &dyn PageStore)> {
        self.metadata().is_regular().then_some((&self.cache, self))
    }

    fn page(&self, index: u64) -> Result<Frame, Errno> {
        self.cache.page(self, index)
    }

    fn page_for_write(&self, index: u64) -> Result<Frame, Errno> {
        self.volume.check_writable()?;
        self.cache.page_for_write(self, index)
    }

    fn mappings(&self) -> Option<&Mappings> {
        Some(self.cache.mappings())
    }

    fn is_resident(&self, index: u64) -> bool {
        self.cache.is_resident(index)
    }

    fn is_mappable(&self) -> bool {
        self.metadata.is_regular()
    }

    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        if self.volume.is_stopped() {
            self.abandon();
            return Err(Errno::EIO);
        }
        self.cache.write_back(self, 0, u64::MAX)?;
        if self.volume.is_read_only() {
            return Ok(());
        }
        if data_only && !self.is_moved.load(Relaxed) {
            return self.volume.flush(&mut self.volume.lock());
        }
        self.write_back()?;
        let held = {
            let mut state = self.volume.lock_for_change()?;
            self.is_moved.store(false, Relaxed);
            let result = self.volume.commit(&mut state).and_then(|()| self.volume.flush(&mut state));
            if result.is_err() {
                self.is_moved.store(true, Relaxed);
                return result;
            }
            state.changed.remove(&self.metadata.number())
        };
        // First taken out, then looked at: whoever changes it meanwhile puts it in again himself.
        if held.is_some() && (self.cache.is_dirty() || self.is_changed.load(Relaxed)) {
            self.note_changed(&mut self.volume.lock());
        }
        Ok(())
    }
}

impl FatInode {
    /// The number of the file whose entry is at a place.
    fn number_at(&self, place: u64) -> u64 {
        let known = self.volume.lock().inodes.get(&place).and_then(Weak::upgrade);
        known.map_or(place, |inode| inode.metadata.number())
    }
}
