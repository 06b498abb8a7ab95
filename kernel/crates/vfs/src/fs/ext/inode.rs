//! [`ExtInode`]: one inode.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use abi::fiemap::{FIEMAP_EXTENT_DELALLOC, FIEMAP_EXTENT_UNKNOWN, FIEMAP_EXTENT_UNWRITTEN};
use abi::{Errno, FallocateFlags, OpenFlags, Timespec};
use ext::attribute;
use file::pipe::Pipe;
use file::{Attributes, DirectorySink};
use mm::Frame;
use mm::object::Mappings;
use mm::user::{UserReader, UserWriter};
use sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use sync::{SpinLock, rank};

use crate::file_flags::NO_ACCESS_TIME;
use crate::inode::Renaming;
use crate::page_cache::{PageCache, PageStore};
use crate::{
    Capabilities, Credentials, FileExtent, FileKind, FileTime, HashedName, Inode, LinkTarget, Metadata, Name, NewInode,
    NewMetadata, Opened, PathRef, XattrChange,
};

use super::table::Shared;

/// One who writes under the lock and may use the blocks that are reserved, and what those count who store by mappings.
const WRITER: u32 = 1;
const STORER: u32 = 2;
/// What saving attributes changes.
const SAVE_CREDITS: u32 = 2;

/// Flags that programs see (`EXT4_FL_USER_VISIBLE`).
const FLAGS_VISIBLE: u32 = 0x725b_dfff;
/// Flags that may be asked for with any value: the others are as they are (`EXT4_FL_USER_MODIFIABLE`).
const FLAGS_MODIFIABLE: u32 = 0x604b_c0ff;
/// Those of them that only directories have.
const FLAGS_OF_DIRECTORIES: u32 = 0x6003_0000;
/// Flags that can be changed: that it is immutable, may only grow, is left out by `dump`, is not marked when it is read; and those that nobody goes
/// by, Linux neither: to be overwritten, kept, or compressed, its end not to be shared, its directories to be spread.
/// What the others ask for is not done here.
const FLAGS_SETTABLE: u32 = 0x10 | 0x20 | 0x40 | NO_ACCESS_TIME | 0x1 | 0x2 | 0x4 | 0x8000 | 0x2_0000;

/// An inode of a file system of the family.
pub struct ExtInode {
    pub(super) metadata: Metadata,
    pub(super) core: ext::Inode,
    pub(super) shared: Arc<Shared>,
    /// None where the record has no room for it.
    created: Option<Timespec>,
    this: Weak<Self>,
    contents: Contents,
    /// Whether the attributes must be written.
    is_dirty: AtomicBool,
    /// Whether it is among the dirty ones of the table.
    is_listed: AtomicBool,
    /// Who changes it now and may use the blocks that are reserved: [`WRITER`] under the lock, and those who store by
    /// mappings.
    pub(super) privileged: AtomicU32,
    /// Whether it was cut to nothing since a writer closed it: what is written then replaces what was there.
    is_rewritten: AtomicBool,
}

enum Contents {
    Regular(PageCache),
    /// The name it was found by, the only one it may have.
    Directory(SpinLock<Option<Name>>),
    Symlink,
    Fifo(Arc<Pipe>),
    /// A device or a socket.
    Special,
}

impl ExtInode {
    /// The inode of a record.
    pub(super) fn new(shared: &Arc<Shared>, core: ext::Inode, record: &ext::Record) -> Arc<Self> {
        let mode = u32::from(record.mode);
        let kind = FileKind::of_mode(mode).unwrap_or(FileKind::Regular);
        let (contents, represents) = match kind {
            FileKind::Regular => (Contents::Regular(PageCache::new()), 0),
            FileKind::Directory => (Contents::Directory(SpinLock::new(rank::FILE_TABLES, None)), 0),
            FileKind::Symlink => (Contents::Symlink, 0),
            FileKind::Fifo => (Contents::Fifo(Pipe::new()), 0),
            FileKind::CharacterDevice | FileKind::BlockDevice => (Contents::Special, core.represents()),
            FileKind::Socket => (Contents::Special, 0),
        };
        let changed = FileTime::from(record.changed);
        let created = record.created.map_or(changed, FileTime::from);
        let times = [record.accessed.into(), record.modified.into(), changed, created];
        let new = NewMetadata {
            number: ext::DirectoryBlocks::number(&core).into(),
            device: shared.device,
            mode,
            uid: record.uid,
            gid: record.gid,
            links: record.links.into(),
            represents,
            size: record.size,
            time: created,
        };
        let metadata = Metadata::with_times(new, times);
        metadata.go_by(core.flags());
        if core.had_attributes() {
            metadata.set_access_unknown(metadata.mode());
        }
        Arc::new_cyclic(|this| Self {
            metadata,
            core,
            shared: shared.clone(),
            created: record.created,
            this: this.clone(),
            contents,
            is_dirty: AtomicBool::new(false),
            is_listed: AtomicBool::new(false),
            privileged: AtomicU32::new(0),
            is_rewritten: AtomicBool::new(false),
        })
    }

    /// One of ours; `EXDEV` for one of another file system.
    pub(super) fn of(inode: &Arc<dyn Inode>) -> Result<Arc<Self>, Errno> {
        let any: Arc<dyn Any + Send + Sync> = inode.clone();
        any.downcast().map_err(|_| Errno::EXDEV)
    }

    pub(super) fn number(&self) -> u32 {
        ext::DirectoryBlocks::number(&self.core)
    }

    pub(super) fn has_links(&self) -> bool {
        self.metadata.links() > 0
    }

    /// The page cache of a regular file.
    pub(super) fn cache(&self) -> Result<&PageCache, Errno> {
        match &self.contents {
            Contents::Regular(cache) => Ok(cache),
            Contents::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn check_directory(&self) -> Result<(), Errno> {
        if matches!(self.contents, Contents::Directory(_)) { Ok(()) } else { Err(Errno::ENOTDIR) }
    }

    /// Whether a directory has this name: the one it was found by before, or was given.
    pub(super) fn is_called(&self, name: HashedName<'_>) -> bool {
        let Contents::Directory(known) = &self.contents else { return true };
        let new = Name::from(name);
        let mut known = known.lock();
        match &*known {
            Some(known) => known.is(name),
            None => {
                *known = Some(new);
                true
            }
        }
    }

    /// A directory was given this name.
    pub(super) fn set_name(&self, name: HashedName<'_>) {
        if let Contents::Directory(known) = &self.contents {
            let new = Some(Name::from(name));
            let old = core::mem::replace(&mut *known.lock(), new);
            drop(old);
        }
    }

    // ---- What must be written ---------------------------------------------------------------------------------------

    /// The attributes as the record has them.
    pub(super) fn record(&self) -> ext::Record {
        let attributes = self.metadata.attributes();
        ext::Record {
            mode: u16::try_from(attributes.mode).unwrap_or(0),
            uid: attributes.uid,
            gid: attributes.gid,
            links: u16::try_from(attributes.links).unwrap_or(u16::MAX),
            size: attributes.size,
            accessed: attributes.accessed,
            changed: attributes.changed,
            modified: attributes.modified,
            created: self.created,
        }
    }

    /// Its attributes must be written some time.
    pub(super) fn mark_dirty(&self) {
        self.is_dirty.store(true, SeqCst);
        self.list();
    }

    /// Adds it to the dirty ones.
    pub(super) fn list(&self) {
        if !self.set_listed(true)
            && let Some(this) = self.this.upgrade()
        {
            self.shared.add_dirty(this);
        }
    }

    /// Says whether it is among the dirty ones; whether it was.
    pub(super) fn set_listed(&self, is_listed: bool) -> bool {
        self.is_listed.swap(is_listed, SeqCst)
    }

    /// Whether anything of it must be written.
    pub(super) fn is_dirty(&self) -> bool {
        self.is_dirty.load(SeqCst) || matches!(&self.contents, Contents::Regular(cache) if cache.is_dirty())
    }

    /// Writes its attributes as part of a change.
    pub(super) fn save(&self, change: &ext::Change<'_>) -> Result<(), Errno> {
        self.is_dirty.store(false, SeqCst);
        self.core.save(change, &self.record()).inspect_err(|_| self.is_dirty.store(true, SeqCst))
    }

    fn save_if_dirty(&self) -> Result<(), Errno> {
        if !self.is_dirty.load(SeqCst) {
            return Ok(());
        }
        let change = self.shared.file_system.begin(SAVE_CREDITS)?;
        self.save(&change)
    }

    /// Gives up what is dirty: nothing is written any more.
    pub(super) fn abandon(&self) {
        if let Contents::Regular(cache) = &self.contents {
            cache.abandon(Errno::EIO);
            self.core.forget_waiting(0);
        }
        self.is_dirty.store(false, SeqCst);
    }

    /// Writes pages and attributes; they are stable after a flush.
    pub(super) fn write_back(&self) -> Result<(), Errno> {
        if self.shared.file_system.is_stopped() {
            self.abandon();
            return Err(Errno::EIO);
        }
        let pages = match &self.contents {
            Contents::Regular(cache) => cache.write_back(self, 0, u64::MAX).and_then(|()| self.settle_size(cache)),
            _ => Ok(()),
        };
        let saved = self.save_if_dirty();
        self.shared.checked(pages.and(saved))
    }

    /// Writes the pages that are dirty, before a change that lets them stand for what was there: whatever commits that
    /// change, they are on the disk. An error stays for who syncs.
    pub(super) fn write_replacement(&self) {
        if let Contents::Regular(cache) = &self.contents
            && cache.is_dirty()
            && self.shared.settings.writes_replacements()
        {
            let written = cache.write_back(self, 0, u64::MAX).and_then(|()| self.settle_size(cache));
            // The pages stay dirty.
            let _ = self.shared.checked(written);
        }
    }

    /// Pages behind those that were written may have been punched: when none is left to be written, the length on the disk is the file's.
    pub(super) fn settle_size(&self, cache: &PageCache) -> Result<(), Errno> {
        let size = self.metadata.size();
        if cache.is_dirty() || self.core.size_on_disk() >= size {
            return Ok(());
        }
        self.core.set_size_on_disk(size)
    }

    /// What was open for writing may not be written any more.
    pub(super) fn check_writable(&self) -> Result<(), Errno> {
        if self.shared.file_system.is_read_only() { Err(Errno::EROFS) } else { Ok(()) }
    }

    fn change_attribute(&self, name: &[u8], wanted: XattrChange<'_>) -> Result<(), Errno> {
        let is_there = match attribute::get(&self.core, name) {
            Err(Errno::ENODATA) => false,
            value => value.map(|_| true)?,
        };
        wanted.check_presence(is_there)?;
        let change = self.shared.file_system.begin(attribute::CREDITS + SAVE_CREDITS)?;
        attribute::set(&self.core, &change, name, wanted.value())?;
        // A list and the mode that goes with it are complete or absent together.
        self.save(&change)
    }

    /// Deletes it. It has no names, and nobody uses it.
    pub(super) fn delete(&self) -> Result<(), Errno> {
        if let Contents::Regular(cache) = &self.contents {
            cache.punch(0, u64::MAX);
        }
        self.core.delete()
    }
}

impl Inode for ExtInode {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn attributes(&self) -> Attributes {
        Attributes {
            blocks: self.core.sectors() + self.core.sectors_claimed(),
            created: self.created,
            ..self.metadata.attributes()
        }
    }

    fn prepare_change(&self) -> Result<(), Errno> {
        self.metadata.check_mutable()
    }

    fn flags(&self) -> Result<u32, Errno> {
        match self.contents {
            Contents::Regular(_) | Contents::Directory(_) => Ok(self.core.flags() & FLAGS_VISIBLE),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn flags_told(&self) -> (u32, u32) {
        self.flags().map_or((0, 0), |flags| (FLAGS_VISIBLE, flags))
    }

    fn set_flags(&self, flags: u32) -> Result<(), Errno> {
        let fixed = self.flags()? & !FLAGS_MODIFIABLE;
        let wanted = flags & FLAGS_MODIFIABLE;
        let is_foreign = wanted & FLAGS_OF_DIRECTORIES != 0 && !self.metadata.is_directory();
        if flags & !FLAGS_VISIBLE != 0 || is_foreign {
            return Err(Errno::EOPNOTSUPP);
        }
        let flags = fixed | wanted;
        if (self.flags()? ^ flags) & !FLAGS_SETTABLE != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        self.shared.checked((|| {
            let change = self.shared.file_system.begin(SAVE_CREDITS)?;
            self.core.set_flags(&change, FLAGS_SETTABLE, flags)?;
            self.metadata.go_by(flags);
            Ok(())
        })())
    }

    fn may_use_reserve(&self, credentials: &Credentials) -> bool {
        let superblock = self.shared.file_system.superblock();
        let gid = superblock.reserved_gid;
        credentials.uid == superblock.reserved_uid
            || gid != 0 && credentials.is_in_group(gid)
            || credentials.has(Capabilities::SYS_RESOURCE)
    }

    fn let_use_reserve(&self) {
        self.privileged.fetch_or(WRITER, Relaxed);
    }

    fn attributes_changed(&self) {
        self.mark_dirty();
    }

    fn accessed(&self) {
        if !self.shared.file_system.is_read_only() {
            self.mark_dirty();
        }
    }

    fn lookup(&self, name: HashedName<'_>, _credentials: &Credentials) -> Result<Arc<dyn Inode>, Errno> {
        self.shared.checked(self.find(name)).map(|inode| inode as Arc<dyn Inode>)
    }

    fn hands_on_group(&self) -> bool {
        self.shared.settings.hands_on_group()
    }

    fn create(&self, name: HashedName<'_>, new: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        self.shared.checked(self.make(name, new)).map(|inode| inode as Arc<dyn Inode>)
    }

    fn create_unnamed(&self, new: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        self.shared.checked(self.make_unnamed(new)).map(|inode| inode as Arc<dyn Inode>)
    }

    fn link(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.shared.checked(self.add_name(name, &*Self::of(inode)?))
    }

    fn unlink(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.shared.checked(self.remove_name(name, &Self::of(inode)?))
    }

    fn rmdir(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.shared.checked(self.remove_directory(name, &Self::of(inode)?))
    }

    fn rename(&self, renaming: &Renaming<'_>) -> Result<(), Errno> {
        self.shared.checked(self.carry_out(renaming))
    }

    fn makes_whiteouts(&self) -> bool {
        true
    }

    fn read_directory(&self, position: u64, sink: &mut dyn DirectorySink) -> Result<(), Errno> {
        self.shared.checked(self.list_names(position, sink))
    }

    fn link_target(&self, _credentials: &Credentials) -> Result<LinkTarget, Errno> {
        if !matches!(self.contents, Contents::Symlink) {
            return Err(Errno::EINVAL);
        }
        let target = self.shared.checked(self.core.link_target(self.metadata.size()))?;
        // A zero would end it, as in Linux.
        let end = target.iter().position(|byte| *byte == 0).unwrap_or(target.len());
        Ok(LinkTarget::Path(Arc::from(target.get(..end).unwrap_or_default())))
    }

    fn open(&self, _path: &PathRef, flags: OpenFlags, _credentials: &Credentials) -> Result<Opened, Errno> {
        if self.core.is_encrypted() && !matches!(self.contents, Contents::Directory(_)) {
            // As without the key.
            return Err(Errno::EOPNOTSUPP);
        }
        match &self.contents {
            Contents::Fifo(pipe) => Ok(Opened::Through(pipe.open(flags)?)),
            _ => Ok(Opened::Inode),
        }
    }

    fn read_at(&self, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        self.shared.checked(self.cache()?.read(self, position, to))
    }

    fn write_at(&self, position: u64, from: &mut UserReader<'_>) -> Result<usize, Errno> {
        let done = self.shared.checked(self.write(position, from));
        self.privileged.fetch_and(!WRITER, Relaxed);
        done
    }

    fn set_len(&self, len: u64) -> Result<(), Errno> {
        self.shared.checked(self.set_length(len))?;
        if len == 0 {
            self.is_rewritten.store(true, Relaxed);
        }
        Ok(())
    }

    fn writer_closed(&self) {
        if self.is_rewritten.swap(false, Relaxed) {
            self.write_replacement();
        }
    }

    fn allocate(&self, mode: FallocateFlags, offset: u64, len: u64) -> Result<(), Errno> {
        let done = self.shared.checked(self.allocate_range(mode, offset, len));
        self.privileged.fetch_and(!WRITER, Relaxed);
        done
    }

    fn seek_data(&self, offset: u64, wants_hole: bool) -> Result<u64, Errno> {
        let cache = self.cache()?;
        let found = self.core.seek(offset, wants_hole, self.metadata.size(), &|page| cache.is_resident(page));
        self.shared.checked(found)
    }

    fn extents(&self, start: u64, end: u64, sink: &mut dyn FnMut(FileExtent) -> bool) -> Result<(), Errno> {
        let size_max = self.core.size_max();
        match self.contents {
            Contents::Regular(_) | Contents::Directory(_) => {}
            _ => return Err(Errno::EOPNOTSUPP),
        }
        if start >= size_max {
            return Err(Errno::EFBIG);
        }
        self.shared.checked(self.core.each_extent(start, end.min(size_max), &mut |extent| {
            let (on_disk, flags) = match extent.place {
                ext::ExtentPlace::Data(place) => (place, 0),
                ext::ExtentPlace::Unwritten(place) => (place, FIEMAP_EXTENT_UNWRITTEN),
                ext::ExtentPlace::Waiting => (0, FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNKNOWN),
            };
            sink(FileExtent { start: extent.start, len: extent.len, on_disk, flags })
        }))
    }

    fn page(&self, index: u64) -> Result<Frame, Errno> {
        self.shared.checked(self.cache()?.page(self, index))
    }

    fn page_for_write(&self, index: u64) -> Result<Frame, Errno> {
        self.check_writable()?;
        // Who stores is not known here; files of the one they are reserved for are mostly written by him.
        let one = if self.metadata.uid() == self.shared.file_system.superblock().reserved_uid { STORER } else { 0 };
        self.privileged.fetch_add(one, Relaxed);
        let page = self.cache().and_then(|cache| cache.page_for_write(self, index));
        self.privileged.fetch_sub(one, Relaxed);
        let frame = self.shared.checked(page)?;
        self.metadata.touch_modified();
        self.mark_dirty();
        Ok(frame)
    }

    fn page_cache(&self) -> Option<(&PageCache, &dyn PageStore)> {
        Some((self.cache().ok()?, self))
    }

    fn tells_at_hand(&self) -> bool {
        true
    }

    fn mappings(&self) -> Option<&Mappings> {
        self.cache().ok().map(PageCache::mappings)
    }

    fn is_resident(&self, index: u64) -> bool {
        self.cache().is_ok_and(|cache| cache.is_resident(index))
    }

    fn is_mappable(&self) -> bool {
        matches!(self.contents, Contents::Regular(_))
    }

    fn takes_acls(&self) -> bool {
        self.shared.settings.takes_acls()
    }

    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.shared.checked(attribute::get(&self.core, name))
    }

    fn change_xattr(&self, name: &[u8], change: XattrChange<'_>) -> Result<(), Errno> {
        self.shared.checked(self.change_attribute(name, change))
    }

    fn list_xattrs(&self, sink: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
        self.shared.checked(attribute::names(&self.core, sink))
    }

    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        if self.shared.file_system.is_stopped() {
            self.abandon();
            return Err(Errno::EIO);
        }
        let mut needs_attributes = true;
        if let Contents::Regular(cache) = &self.contents {
            self.shared.checked(cache.write_back(self, 0, u64::MAX).and_then(|()| self.settle_size(cache)))?;
            needs_attributes = !data_only;
        }
        if self.shared.file_system.is_read_only() {
            return Ok(());
        }
        if needs_attributes {
            self.shared.checked(self.save_if_dirty())?;
        }
        self.core.make_stable(!needs_attributes)
    }
}
