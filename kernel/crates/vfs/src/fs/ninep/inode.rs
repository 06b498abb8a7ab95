//! [`ServedInode`]: a file, directory or other node of a server.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use abi::stat::{device_major, device_minor};
use abi::{Errno, OpenFlags, Timespec};
use file::pipe::Pipe;
use file::{Attributes, DirectorySink};
use mm::Frame;
use mm::object::Mappings;
use mm::user::{UserReader, UserWriter};
use ninep::{Fid, Listed, NewTime, OpenFid, SetAttributes};
use sync::atomic::{AtomicU64, Ordering::Relaxed};
use sync::{SpinLock, machine, rank};

use crate::attributes::{AttributeChange, SetTime};
use crate::metadata::{FileKind, KIND_MASK, Told};
use crate::{
    Credentials, FileTime, HashedName, Inode, LinkTarget, Metadata, NewInode, NewMetadata, Opened, PathRef, Renaming,
    XattrChange,
};

use super::Shared;
use super::data::{Asked, FileData};

/// Flags of `open`, for a file that is made: for reading and writing, and only if it is not there.
const MAKE_FLAGS: u32 = 0o2 | 0o100 | 0o200;
/// An answer so young is not asked for again: `stat` follows a walk that has just asked. Nobody tells this machine of a change in less.
const FRESH_NS: u64 = 10_000;
/// Replies in a row that a directory may be without a file: one that goes round in a circle would be read for ever.
const BARREN_MAX: u32 = 64;
/// The bits of a mode that are no type.
const PERMISSION_BITS: u32 = 0o7777;

/// A node of a server.
pub(super) struct ServedInode {
    shared: Arc<Shared>,
    this: Weak<Self>,
    metadata: Metadata,
    /// The server's number of the file.
    path: u64,
    /// The fid of the latest walk that led here.
    fid: SpinLock<Arc<Fid>>,
    /// When it was last asked for, on the clock of the machine.
    asked_ns: AtomicU64,
    /// How the file was then.
    stamp: SpinLock<Stamp>,
    contents: Contents,
}

enum Contents {
    Regular(Box<FileData>),
    /// With the fid it is listed through.
    Directory(SpinLock<Option<Arc<OpenFid>>>),
    Fifo(Arc<Pipe>),
    Other,
}

/// What changes with the contents of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: ninep::message::Time,
    changed: ninep::message::Time,
    size: u64,
}

impl Stamp {
    fn of(attributes: &ninep::message::Attributes) -> Self {
        Self { modified: attributes.modified, changed: attributes.changed, size: attributes.size }
    }
}

fn file_time(time: ninep::message::Time) -> FileTime {
    let nanoseconds = i64::try_from(time.nanoseconds).unwrap_or(0).clamp(0, 999_999_999);
    Timespec { tv_sec: time.seconds.cast_signed(), tv_nsec: nanoseconds }.into()
}

fn told(attributes: &ninep::message::Attributes) -> Told {
    Told {
        mode: attributes.mode,
        uid: attributes.uid,
        gid: attributes.gid,
        links: u32::try_from(attributes.links).unwrap_or(u32::MAX),
        blocks: attributes.blocks,
        accessed: file_time(attributes.accessed),
        modified: file_time(attributes.modified),
        changed: file_time(attributes.changed),
    }
}

impl ServedInode {
    /// The inode of a file that nobody uses yet.
    pub(super) fn new(shared: &Arc<Shared>, fid: Arc<Fid>, attributes: &ninep::message::Attributes) -> Arc<Self> {
        let metadata = Metadata::new(NewMetadata {
            // 0 means no inode to programs.
            number: attributes.qid.path.max(1),
            device: shared.device,
            mode: attributes.mode,
            represents: attributes.represents,
            size: attributes.size,
            ..NewMetadata::default()
        });
        metadata.take_over(&told(attributes));
        let contents = match metadata.kind() {
            FileKind::Regular => Contents::Regular(Box::new(FileData::new())),
            FileKind::Directory => Contents::Directory(SpinLock::new(rank::FILE_TABLES, None)),
            FileKind::Fifo => Contents::Fifo(Pipe::new()),
            _ => Contents::Other,
        };
        Arc::new_cyclic(|this| Self {
            shared: shared.clone(),
            this: this.clone(),
            metadata,
            path: attributes.qid.path,
            fid: SpinLock::new(rank::FILE_TABLES, fid),
            asked_ns: AtomicU64::new(machine::now_ns()),
            stamp: SpinLock::new(rank::FILE_TABLES, Stamp::of(attributes)),
            contents,
        })
    }

    /// The inode of this kind behind an inode of this file system.
    fn of(inode: &Arc<dyn Inode>) -> Result<Arc<Self>, Errno> {
        let any: Arc<dyn Any + Send + Sync> = inode.clone();
        any.downcast().map_err(|_| Errno::EXDEV)
    }

    /// The fid by which the server knows it.
    pub(super) fn fid(&self) -> Arc<Fid> {
        self.fid.lock().clone()
    }

    pub(super) fn is_directory(&self) -> bool {
        self.metadata.is_directory()
    }

    pub(super) fn data(&self) -> Result<&FileData, Errno> {
        match &self.contents {
            Contents::Regular(data) => Ok(data),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Whether this can be the file that the server now calls so: numbers are used again.
    pub(super) fn is_still(&self, kind: FileKind) -> bool {
        self.metadata.kind() == kind && !self.metadata.is_removed()
    }

    /// A walk has led here again.
    pub(super) fn found_again(&self, fid: Arc<Fid>) -> Result<(), Errno> {
        let old = core::mem::replace(&mut *self.fid.lock(), fid);
        drop(old);
        self.refresh()
    }

    /// Asks for the attributes.
    fn refresh(&self) -> Result<(), Errno> {
        self.ask(true)
    }

    /// Asks for the size, where pages may be locked: what is cached stays.
    pub(super) fn refresh_size(&self) -> Result<(), Errno> {
        match self.ask(false) {
            // A file without a name stays as it is known.
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn ask(&self, may_invalidate: bool) -> Result<(), Errno> {
        let asked = self.data().ok().map(|data| data.size.ask());
        let attributes = match (self.fid().attributes(), self.data().ok().and_then(FileData::any_open)) {
            // An open file may have lost its name.
            (Err(Errno::ENOENT), Some(open)) => open.fid().attributes()?,
            (answer, _) => answer?,
        };
        let is_this =
            attributes.qid.path == self.path && FileKind::of_mode(attributes.mode) == Some(self.metadata.kind());
        if !is_this {
            // The host has put another file in its place.
            return Err(Errno::ENOENT);
        }
        self.take_over(&attributes, asked, may_invalidate);
        Ok(())
    }

    fn take_over(&self, attributes: &ninep::message::Attributes, asked: Option<Asked>, may_invalidate: bool) {
        self.metadata.take_over(&told(attributes));
        self.asked_ns.store(machine::now_ns(), Relaxed);
        let stamp = Stamp::of(attributes);
        let is_changed = may_invalidate && core::mem::replace(&mut *self.stamp.lock(), stamp) != stamp;
        match (&self.contents, asked) {
            (Contents::Regular(data), Some(asked)) => data.told(self, asked, attributes.size, is_changed),
            _ => self.metadata.set_size(attributes.size),
        }
    }

    /// The inode of a name in this directory.
    fn find(&self, name: &[u8]) -> Result<Arc<Self>, Errno> {
        let (fid, _) = self.fid().walk(name)?;
        self.shared.nodes.node(&self.shared, fid)
    }

    /// A name of it was removed. It may have others.
    fn name_lost(&self) {
        if self.refresh().is_err() {
            self.metadata.drop_links(1);
        }
    }

    /// Keeps it while it has pages that the server does not have.
    pub(super) fn keep(&self) {
        if let Some(this) = self.this.upgrade() {
            self.shared.keep(this);
        }
    }

    /// Writes what mappings stored.
    pub(super) fn write_back(&self) -> Result<(), Errno> {
        self.data()?.write_back(self)
    }

    /// The server has what mappings stored.
    pub(super) fn is_written_back(&self) {
        if let Contents::Regular(data) = &self.contents
            && !data.cache().is_dirty()
        {
            self.shared.let_go(self);
        }
    }

    fn listing(&self) -> Result<Arc<OpenFid>, Errno> {
        let Contents::Directory(slot) = &self.contents else { return Err(Errno::ENOTDIR) };
        let known = slot.lock().clone();
        if let Some(open) = known {
            return Ok(open);
        }
        let open = Arc::new(self.fid().another()?.open(OpenFlags::DIRECTORY.bits())?);
        let old = slot.lock().replace(open.clone());
        drop(old);
        Ok(open)
    }
}

impl Inode for ServedInode {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn attributes(&self) -> Attributes {
        if machine::now_ns().saturating_sub(self.asked_ns.load(Relaxed)) > FRESH_NS {
            // One without a name, or whose server is gone, is shown as it was.
            let _ = self.refresh();
        }
        Attributes { created: None, ..self.metadata.attributes() }
    }

    fn length(&self) -> Result<u64, Errno> {
        self.refresh_size()?;
        Ok(self.metadata.size())
    }

    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno> {
        let time = |time: SetTime| match time {
            SetTime::Omit => None,
            SetTime::Now => Some(NewTime::Now),
            SetTime::To(time) => Some(NewTime::To(ninep::message::Time {
                seconds: time.tv_sec.cast_unsigned(),
                nanoseconds: time.tv_nsec.cast_unsigned(),
            })),
        };
        self.fid().set_attributes(&SetAttributes {
            mode: change.mode.map(|mode| mode & PERMISSION_BITS),
            uid: change.uid,
            gid: change.gid,
            size: None,
            accessed: time(change.accessed),
            modified: time(change.modified),
        })
    }

    fn caches_names(&self) -> bool {
        false
    }

    fn lookup(&self, name: HashedName<'_>, _credentials: &Credentials) -> Result<Arc<dyn Inode>, Errno> {
        if !self.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        self.find(name.bytes()).map(|inode| inode as Arc<dyn Inode>)
    }

    fn create(&self, name: HashedName<'_>, new: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        let (directory, name, mode) = (self.fid(), name.bytes(), new.mode & PERMISSION_BITS);
        let mut made = None;
        match FileKind::of_mode(new.mode).ok_or(Errno::EINVAL)? {
            FileKind::Regular => {
                made = Some(directory.another()?.create(name, MAKE_FLAGS, mode, new.gid)?.0);
            }
            FileKind::Directory => drop(directory.mkdir(name, mode, new.gid)?),
            FileKind::Symlink => drop(directory.symlink(name, new.target, new.gid)?),
            _ => {
                let device = (device_major(new.represents), device_minor(new.represents));
                directory.mknod(name, new.mode & KIND_MASK | mode, device, new.gid)?;
            }
        }
        let inode = self.find(name)?;
        if let (Some(open), Contents::Regular(data)) = (made, &inode.contents) {
            data.adopt(open);
        }
        Ok(inode)
    }

    fn link(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        let inode = Self::of(inode)?;
        self.fid().link(&inode.fid(), name.bytes())?;
        // It was there a moment ago; what became of it since is for the next to see.
        let _ = inode.refresh();
        Ok(())
    }

    fn unlink(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.fid().unlink(name.bytes(), false)?;
        Self::of(inode)?.name_lost();
        Ok(())
    }

    fn rmdir(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.fid().unlink(name.bytes(), true)?;
        Self::of(inode)?.metadata.drop_links(u32::MAX);
        Ok(())
    }

    fn rename(&self, renaming: &Renaming<'_>) -> Result<(), Errno> {
        if renaming.is_exchange {
            return Err(Errno::EINVAL);
        }
        let directory = Self::of(renaming.new_directory)?;
        self.fid().rename(renaming.old_name.bytes(), &directory.fid(), renaming.new_name.bytes())?;
        if let Some(replaced) = renaming.replaced {
            Self::of(replaced)?.name_lost();
        }
        Ok(())
    }

    fn read_directory(&self, position: u64, sink: &mut dyn DirectorySink) -> Result<(), Errno> {
        let open = self.listing()?;
        let mut at = position;
        let mut left = BARREN_MAX;
        loop {
            left = left.checked_sub(1).ok_or(Errno::EIO)?;
            let listed = open.read_directory(at, |entry| {
                let is_own = matches!(entry.name, b"." | b"..");
                if !is_own {
                    left = BARREN_MAX;
                }
                is_own || sink.entry(entry.name, entry.qid.path.max(1), entry.kind, entry.next)
            })?;
            match listed {
                // A server that stands still would be asked for ever.
                Listed::More(next) if next != at => at = next,
                _ => return Ok(()),
            }
        }
    }

    fn link_target(&self, _credentials: &Credentials) -> Result<LinkTarget, Errno> {
        if !self.metadata.is_symlink() {
            return Err(Errno::EINVAL);
        }
        Ok(LinkTarget::Path(Arc::from(self.fid().readlink()?)))
    }

    fn open(&self, _path: &PathRef, flags: OpenFlags, _credentials: &Credentials) -> Result<Opened, Errno> {
        match &self.contents {
            Contents::Regular(data) => data.open(self, flags)?,
            Contents::Directory(_) => drop(self.listing()?),
            Contents::Fifo(pipe) => return Ok(Opened::Through(pipe.open(flags)?)),
            Contents::Other => {}
        }
        Ok(Opened::Inode)
    }

    fn read_at(&self, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        self.data()?.read(self, position, to)
    }

    fn write_at(&self, position: u64, from: &mut UserReader<'_>) -> Result<usize, Errno> {
        self.data()?.write(self, position, from)
    }

    fn set_len(&self, len: u64) -> Result<(), Errno> {
        self.data()?.set_len(self, len)
    }

    fn seek_data(&self, offset: u64, wants_hole: bool) -> Result<u64, Errno> {
        let size = self.length()?;
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        Ok(if wants_hole { size } else { offset })
    }

    fn page(&self, index: u64) -> Result<Frame, Errno> {
        self.data().map_err(|_| Errno::ENODEV)?.page(self, index, false)
    }

    fn page_at_hand(&self, index: u64) -> Option<Frame> {
        self.data().ok()?.page_at_hand(self, index)
    }

    fn page_for_write(&self, index: u64) -> Result<Frame, Errno> {
        self.data().map_err(|_| Errno::ENODEV)?.page(self, index, true)
    }

    fn unmapped(&self) {
        if let Contents::Regular(data) = &self.contents
            && data.cache().is_dirty()
        {
            // The pages stay dirty, and the error is kept for `fsync`.
            let _ = data.write_back(self);
        }
    }

    fn mappings(&self) -> Option<&Mappings> {
        self.data().ok().map(|data| data.cache().mappings())
    }

    fn is_resident(&self, index: u64) -> bool {
        self.data().is_ok_and(|data| data.cache().is_resident(index))
    }

    fn is_mappable(&self) -> bool {
        matches!(self.contents, Contents::Regular(_))
    }

    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.fid().attribute(name)
    }

    fn change_xattr(&self, name: &[u8], change: XattrChange<'_>) -> Result<(), Errno> {
        /// `XATTR_CREATE` and `XATTR_REPLACE`.
        const CREATE: u32 = 1;
        const REPLACE: u32 = 2;
        let fid = self.fid();
        match change {
            // An empty value would take the attribute away.
            XattrChange::Set([]) | XattrChange::Create([]) | XattrChange::Replace([]) => Err(Errno::EOPNOTSUPP),
            XattrChange::Set(value) => fid.set_attribute(name, value, 0),
            XattrChange::Create(value) => fid.set_attribute(name, value, CREATE),
            XattrChange::Replace(value) => fid.set_attribute(name, value, REPLACE),
            XattrChange::Remove => fid.set_attribute(name, &[], Fid::REMOVES_ATTRIBUTE),
        }
    }

    fn list_xattrs(&self, sink: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
        let names = self.fid().attribute(b"")?;
        names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).for_each(sink);
        Ok(())
    }

    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        match &self.contents {
            Contents::Regular(data) => data.sync(self, data_only),
            Contents::Directory(_) => self.listing()?.sync(data_only),
            Contents::Fifo(_) | Contents::Other => Ok(()),
        }
    }
}

impl Drop for ServedInode {
    fn drop(&mut self) {
        self.shared.nodes.forget(self.path);
    }
}
