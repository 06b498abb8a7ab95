//! [`VnodeFile`]: an open file that was found by name.
//!
//! Regular files and directories are served by their inode; devices and FIFOs by another file, under the name and attributes
//! of the inode. Writes and changes of size hold the inode's lock, so that `O_APPEND` is atomic and writers do not mix.

use alloc::sync::Arc;
use core::sync::atomic::AtomicU8;

use abi::inotify::InotifyMask;
use abi::open::{SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET};
use abi::{Errno, FallocateFlags, OpenFlags, PollEvents};
use file::{Attributes, CallFlags, DirectorySink, File, IoResult, LockOwner, OpenFile, Progress};
use mm::object::MappedObject;
use mm::user::{UserReader, UserWriter};
use sync::WaitQueue;

use crate::attributes::set_len;
use crate::file_mapping::FileMapping;
use crate::page_cache::ErrorMark;
use crate::page_cache::direct::check_aligned;
use crate::page_cache::errors::were_any;
use crate::used::Used;
use crate::{Capabilities, Credentials, FileKind, Inode, PageCache, PageStore, PathRef, SealFlags, notify};

/// The position of the first entry that a file system gives; `.` and `..` come before.
const FIRST_ENTRY: u64 = 2;
/// What `O_DIRECT` asks of positions, lengths and addresses in files on disks: a sector.
pub const DIRECT_ALIGNMENT: u32 = 512;
/// The `DT_` value of a directory.
const DIRECTORY: u8 = 4;

/// An open file that was found by name.
pub struct VnodeFile {
    path: Used,
    /// What serves it, when that is not the inode.
    served_by: Option<Arc<dyn File>>,
    /// Who opened it ([`crate::Credentials::identity`]).
    opener: u64,
    /// Whether opening it made the file.
    made_file: bool,
    /// Whether whoever opened it may write without losing set-id bits.
    keeps_set_id: bool,
    /// Whether whoever opened it may use what the file system keeps for some.
    may_use_reserve: bool,
    /// Which errors of writing back are known here.
    errors: ErrorMark,
}

impl VnodeFile {
    pub(crate) fn new(path: Used, credentials: &Credentials) -> Self {
        let keeps_set_id = credentials.has(Capabilities::FSETID);
        let errors = error_mark(&path);
        Self {
            path,
            served_by: None,
            opener: credentials.identity,
            made_file: false,
            keeps_set_id,
            may_use_reserve: false,
            errors,
        }
    }

    /// Notes that opening it made the file.
    pub(crate) fn note_made(&mut self) {
        self.made_file = true;
    }

    /// Whether opening it made the file (`F_CREATED_QUERY`).
    pub fn made_file(&self) -> bool {
        self.made_file
    }

    /// Lets it use what the file system keeps for some.
    pub(crate) fn allow_reserve(&mut self) {
        self.may_use_reserve = true;
    }

    /// A file that only names a place (`O_PATH`).
    pub(crate) fn path_only(path: PathRef, credentials: &Credentials) -> Self {
        Self::new(Used::uncounted(path), credentials)
    }

    /// Whether these credentials are the ones that it was opened with.
    pub fn was_opened_by(&self, credentials: &Credentials) -> bool {
        self.opener == credentials.identity
    }

    /// Has another file serve it.
    pub(crate) fn serve_through(&mut self, file: Arc<dyn File>) {
        self.served_by = Some(file);
    }

    /// `O_TRUNC`.
    pub(crate) fn truncate_at_open(&self) -> Result<(), Errno> {
        let is_writer = self.path.is_writer();
        let metadata = self.inode().metadata();
        if !is_writer {
            metadata.begin_writing()?;
        }
        let result = set_len(&**self.inode(), 0, self.keeps_set_id, true);
        if !is_writer {
            self.inode().end_writing();
        }
        result?;
        notify::at(&self.path.dentry, InotifyMask::MODIFY);
        Ok(())
    }

    /// Where it was found.
    pub fn path(&self) -> &PathRef {
        &self.path
    }

    /// What serves it, when that is not the inode: a device, the end of a FIFO.
    pub fn served_by(&self) -> Option<&Arc<dyn File>> {
        self.served_by.as_ref()
    }

    pub(crate) fn inode(&self) -> &Arc<dyn Inode> {
        self.path.inode()
    }

    /// What cannot be done to the file any more; `EINVAL` if it cannot be sealed.
    pub fn seals(&self) -> Result<SealFlags, Errno> {
        Ok(self.inode().seals().ok_or(Errno::EINVAL)?.get())
    }

    /// `F_ADD_SEALS`, by someone who may write.
    pub fn add_seals(&self, new: SealFlags) -> Result<(), Errno> {
        let inode = self.inode();
        let seals = inode.seals().ok_or(Errno::EINVAL)?;
        let _lock = inode.metadata().lock();
        seals.add(new, inode.metadata().mode())
    }

    /// The object behind a shared mapping that stores, or may be made to as long as nothing is said against it. None: it is to be mapped
    /// as any other. `EPERM` when the file is sealed against it; then what does not store yet is mapped and never will.
    pub fn mapping_for_stores(&self, open: &Arc<OpenFile>) -> Option<Result<Arc<dyn MappedObject>, Errno>> {
        let inode = self.inode();
        let seals = inode.seals().filter(|_| self.served_by.is_none())?;
        let _lock = inode.metadata().lock();
        if seals.deny_stores() {
            return Some(Err(Errno::EPERM));
        }
        seals.begin_mapping();
        Some(Ok(Arc::new(FileMapping::new(self, open, true))))
    }

    pub(crate) fn note_access(&self, open: &OpenFile) {
        if !open.flags().contains(OpenFlags::NOATIME) {
            self.path.mount.note_access(self.inode());
        }
    }

    fn write_locked(&self, open: &OpenFile, from: &mut UserReader<'_>, position: u64) -> Result<(usize, u64), Errno> {
        let inode = self.inode();
        let metadata = inode.metadata();
        let _lock = metadata.lock();
        let position = if open.is_append() { inode.length()? } else { position };
        let direct = if open.flags().contains(OpenFlags::DIRECT) { inode.page_cache() } else { None };
        if direct.is_some() {
            check_aligned(position, from.alignment_bits(), DIRECT_ALIGNMENT as usize)?;
        }
        inode.prepare_change()?;
        if self.may_use_reserve {
            inode.let_use_reserve();
        }
        let done = inode.write_at(position, from)?;
        if let Some((cache, store)) = direct {
            cache.finish_direct(store, position, done)?;
        }
        if !self.keeps_set_id {
            metadata.drop_set_id();
        }
        metadata.touch_modified();
        inode.attributes_changed();
        Ok((done, position.saturating_add(done as u64)))
    }

    /// Reads without keeping pages.
    #[cold]
    fn read_direct(&self, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        let Some((cache, store)) = self.inode().page_cache() else { return self.inode().read_at(position, to) };
        // What is asked for nothing, or of nothing, is aligned in any way.
        if to.is_full() || position >= store.size() {
            return Ok(0);
        }
        check_aligned(position, to.alignment_bits(), DIRECT_ALIGNMENT as usize)?;
        cache.read_direct(store, position, to, || self.inode().metadata().lock())
    }

    /// Brings what was written to the disk, if the file was opened so (`O_SYNC`, `O_DSYNC`) or is mounted so.
    #[inline]
    fn sync_written(&self, open: &OpenFile) -> Result<(), Errno> {
        let flags = open.flags();
        let is_synchronous = self.path.mount.superblock().is_synchronous();
        if !is_synchronous && !flags.contains(OpenFlags::DSYNC) {
            return Ok(());
        }
        sync_contents(&**self.inode(), !is_synchronous && !flags.contains(OpenFlags::SYNC), &self.errors)
    }

    /// The cache by which the contents are read and written, and where they are on the disk; none for what is only in memory.
    pub fn page_cache(&self) -> Option<(&PageCache, &dyn PageStore)> {
        if self.served_by.is_some() { None } else { self.inode().page_cache() }
    }

    /// Gives the directory's entries from `position` on, and moves it.
    fn list(&self, sink: &mut dyn DirectorySink, position: &mut u64) -> Result<(), Errno> {
        let inode = self.inode();
        let mut sink = Positioned { sink, position };
        if *sink.position == 0 && !sink.entry(b".", inode.metadata().number(), DIRECTORY, 1) {
            return Ok(());
        }
        if *sink.position == 1 && !sink.entry(b"..", parent_number(&self.path), DIRECTORY, FIRST_ENTRY) {
            return Ok(());
        }
        let from = *sink.position - FIRST_ENTRY;
        inode.read_directory(from, &mut sink)
    }

    /// A read of a file that this file system serves itself.
    #[inline(never)]
    fn read_contents(&self, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        let inode = self.inode();
        if inode.metadata().is_directory() {
            return Err(Errno::EISDIR);
        }
        let is_direct = open.flags().contains(OpenFlags::DIRECT);
        let done = match position {
            Some(position) if is_direct => self.read_direct(position, to)?,
            Some(position) => inode.read_at(position, to)?,
            None => {
                let mut position = open.position().lock();
                let done = if is_direct { self.read_direct(*position, to)? } else { inode.read_at(*position, to)? };
                *position = position.saturating_add(done as u64);
                done
            }
        };
        self.tell_read(open, done);
        Ok(Progress::Done(done))
    }

    /// As [`VnodeFile::read_contents`], of what is in memory.
    #[cold]
    fn read_contents_at_hand(&self, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        let Some((cache, store)) = self.inode().page_cache() else { return self.read_contents(open, to, position) };
        let mut own = None;
        let at = match position {
            Some(position) => position,
            None => **own.insert(open.position().lock()),
        };
        if open.flags().contains(OpenFlags::DIRECT) && at < store.size() {
            check_aligned(at, to.alignment_bits(), DIRECT_ALIGNMENT as usize)?;
        }
        let done = cache.read_at_hand(store, at, to)?;
        if let Some(mut position) = own {
            *position = at.saturating_add(done as u64);
        }
        self.tell_read(open, done);
        Ok(Progress::Done(done))
    }

    /// Notes that bytes were read.
    fn tell_read(&self, open: &OpenFile, done: usize) {
        self.note_access(open);
        if done > 0 {
            notify::at(&self.path.dentry, InotifyMask::ACCESS);
        }
    }

    /// A write to a file that this file system serves itself.
    #[inline(never)]
    fn write_contents(&self, open: &OpenFile, from: &mut UserReader<'_>, position: Option<u64>) -> IoResult {
        if from.is_empty() {
            return Ok(Progress::Done(0));
        }
        let done = match position {
            Some(position) => self.write_locked(open, from, position)?.0,
            None => {
                let mut position = open.position().lock();
                let (done, end) = self.write_locked(open, from, *position)?;
                *position = end;
                done
            }
        };
        if done > 0 {
            notify::at(&self.path.dentry, InotifyMask::MODIFY);
            self.sync_written(open)?;
        }
        Ok(Progress::Done(done))
    }

    fn new_position(&self, position: u64, offset: i64, whence: u32) -> Result<u64, Errno> {
        let metadata = self.inode().metadata();
        let is_directory = metadata.is_directory();
        let base = match whence {
            SEEK_SET => 0,
            SEEK_CUR => position,
            SEEK_END if !is_directory => self.inode().length()?,
            SEEK_DATA | SEEK_HOLE if !is_directory => {
                let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
                return self.inode().seek_data(offset, whence == SEEK_HOLE);
            }
            _ => return Err(Errno::EINVAL),
        };
        let target = base.checked_add_signed(offset).ok_or(Errno::EINVAL)?;
        i64::try_from(target).map_err(|_| Errno::EINVAL)?;
        Ok(target)
    }
}

impl File for VnodeFile {
    fn server(&self) -> Option<&dyn File> {
        self.served_by.as_deref()
    }

    fn read(&self, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        match &self.served_by {
            Some(file) => file.read(open, to, position),
            None => self.read_contents(open, to, position),
        }
    }

    fn read_at_hand(&self, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        match &self.served_by {
            Some(file) => file.read_at_hand(open, to, position),
            None => self.read_contents_at_hand(open, to, position),
        }
    }

    fn write(&self, open: &OpenFile, from: &mut UserReader<'_>, position: Option<u64>) -> IoResult {
        match &self.served_by {
            Some(file) => file.write(open, from, position),
            None => self.write_contents(open, from, position),
        }
    }

    fn seek(&self, open: &OpenFile, offset: i64, whence: u32) -> Result<u64, Errno> {
        if let Some(file) = &self.served_by {
            return file.seek(open, offset, whence);
        }
        let mut position = open.position().lock();
        *position = self.new_position(*position, offset, whence)?;
        Ok(*position)
    }

    fn has_positions(&self) -> bool {
        self.served_by.as_ref().is_none_or(|file| file.has_positions())
    }

    fn is_stream(&self) -> bool {
        self.served_by.as_ref().is_some_and(|file| file.is_stream())
    }

    fn call_flags(&self, open: &OpenFile, writes: bool) -> CallFlags {
        match &self.served_by {
            Some(file) => file.call_flags(open, writes),
            None if self.inode().metadata().is_directory() => CallFlags::None,
            None if self.inode().tells_at_hand() => CallFlags::of_contents(open, writes),
            // Contents may have to come from a disk.
            None => CallFlags::Waiting,
        }
    }

    fn readiness(&self) -> PollEvents {
        match &self.served_by {
            Some(file) => file.readiness(),
            None => PollEvents::IN | PollEvents::OUT | PollEvents::RDNORM | PollEvents::WRNORM,
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        self.served_by.as_ref()?.wait_queue()
    }

    fn wakes_one(&self, events: PollEvents) -> bool {
        self.served_by.as_ref().is_some_and(|file| file.wakes_one(events))
    }

    fn write_hint(&self) -> Option<&AtomicU8> {
        Some(self.inode().metadata().write_hint())
    }

    fn signal_queue(&self) -> Option<&WaitQueue> {
        self.served_by.as_ref()?.signal_queue()
    }

    fn opening(&self, open: &OpenFile) -> IoResult {
        self.served_by.as_ref().map_or(Ok(Progress::Done(0)), |file| file.opening(open))
    }

    fn waits_its_own_way(&self) -> bool {
        self.served_by.as_ref().is_some_and(|file| file.waits_its_own_way())
    }

    fn read_timeout_ns(&self) -> Option<u64> {
        self.served_by.as_ref()?.read_timeout_ns()
    }

    fn read_after_timeout(&self, open: &OpenFile, to: &mut UserWriter<'_>) -> IoResult {
        match &self.served_by {
            Some(file) => file.read_after_timeout(open, to),
            None => self.read(open, to, None),
        }
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(self.inode().attributes())
    }

    fn ioctl(&self, open: &OpenFile, command: u32, argument: usize) -> Result<usize, Errno> {
        if let Some(file) = &self.served_by {
            return file.ioctl(open, command, argument);
        }
        let metadata = self.inode().metadata();
        if command == abi::ioctl::FIONREAD && metadata.is_regular() {
            let position = *open.position().lock();
            let left = i64::try_from(i128::from(self.inode().length()?) - i128::from(position)).unwrap_or(i64::MAX);
            let left = i32::try_from(left.clamp(i64::from(i32::MIN), i64::from(i32::MAX))).unwrap_or(i32::MAX);
            mm::user::write_user_struct(argument, &left)?;
            return Ok(0);
        }
        Err(Errno::ENOTTY)
    }

    fn mapping(&self, open: &Arc<OpenFile>) -> Result<Arc<dyn MappedObject>, Errno> {
        if let Some(file) = &self.served_by {
            return file.mapping(open);
        }
        if !self.inode().is_mappable() {
            return Err(Errno::ENODEV);
        }
        Ok(Arc::new(FileMapping::new(self, open, false)))
    }

    fn truncate(&self, open: &OpenFile, length: u64) -> Result<(), Errno> {
        if let Some(file) = &self.served_by {
            return file.truncate(open, length);
        }
        if !self.inode().metadata().is_regular() {
            return Err(Errno::EINVAL);
        }
        self.inode().metadata().check_may_cut()?;
        set_len(&**self.inode(), length, self.keeps_set_id, true)?;
        notify::at(&self.path.dentry, InotifyMask::MODIFY);
        Ok(())
    }

    fn allocate(&self, open: &OpenFile, mode: u32, offset: u64, length: u64) -> Result<(), Errno> {
        if let Some(file) = &self.served_by {
            return file.allocate(open, mode, offset, length);
        }
        let inode = self.inode();
        match inode.metadata().kind() {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Errno::EISDIR),
            FileKind::Fifo => return Err(Errno::ESPIPE),
            _ => return Err(Errno::ENODEV),
        }
        let end = offset.checked_add(length).ok_or(Errno::EFBIG)?;
        i64::try_from(end).map_err(|_| Errno::EFBIG)?;
        let flags = FallocateFlags::from_bits(mode).ok_or(Errno::EOPNOTSUPP)?;
        let _lock = inode.metadata().lock();
        if !FallocateFlags::KEEP_SIZE.contains(flags) {
            inode.metadata().check_may_cut()?;
        }
        inode.metadata().check_mutable()?;
        inode.prepare_change()?;
        if self.may_use_reserve {
            inode.let_use_reserve();
        }
        inode.allocate(flags, offset, length)?;
        if !self.keeps_set_id {
            inode.metadata().drop_set_id();
        }
        inode.attributes_changed();
        notify::at(&self.path.dentry, InotifyMask::MODIFY);
        Ok(())
    }

    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        match &self.served_by {
            Some(file) => file.sync(data_only),
            None => sync_contents(&**self.inode(), data_only, &self.errors),
        }
    }

    fn read_directory(&self, open: &OpenFile, sink: &mut dyn DirectorySink) -> Result<(), Errno> {
        let inode = self.inode();
        if !inode.metadata().is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if inode.metadata().is_removed() {
            return Err(Errno::ENOENT);
        }
        if inode.caches_names() {
            self.list(sink, &mut open.position().lock())?;
        } else {
            // Making the entries may take any lock. Two readers at once may get the same entries.
            let mut position = *open.position().lock();
            let result = self.list(sink, &mut position);
            *open.position().lock() = position;
            result?;
        }
        self.note_access(open);
        notify::at(&self.path.dentry, InotifyMask::ACCESS);
        Ok(())
    }

    fn set_flags(&self, open: &OpenFile, flags: u32) -> Result<(), Errno> {
        let wanted = OpenFlags::from_bits_retain(flags);
        if wanted.contains(OpenFlags::APPEND) != open.is_append() {
            self.inode().metadata().check_may_cut()?;
        }
        let wants_direct = wanted.contains(OpenFlags::DIRECT);
        let kind = self.inode().metadata().kind();
        if wants_direct && kind != FileKind::Fifo && !takes_direct(&**self.inode()) {
            return Err(Errno::EINVAL);
        }
        self.served_by.as_ref().map_or(Ok(()), |file| file.set_flags(open, flags))
    }

    fn pipe_capacity(&self) -> Result<usize, Errno> {
        self.served_by.as_ref().ok_or(Errno::EBADF)?.pipe_capacity()
    }

    fn set_pipe_capacity(&self, capacity: usize) -> Result<usize, Errno> {
        self.served_by.as_ref().ok_or(Errno::EBADF)?.set_pipe_capacity(capacity)
    }

    fn descriptor_closed(&self, open: &OpenFile, owner: LockOwner) {
        if let Some(file) = &self.served_by {
            file.descriptor_closed(open, owner);
        }
        if notify::is_any() && self.path.inode().metadata().is_directory() {
            notify::forget_directory(open, self, owner);
        }
    }

    fn released(&self, open: &OpenFile) {
        if !open.is_path_only() {
            let was_writer = open.flags().access_mode().can_write();
            let event = if was_writer { InotifyMask::CLOSE_WRITE } else { InotifyMask::CLOSE_NOWRITE };
            notify::at(&self.path.dentry, event);
        }
        match &self.served_by {
            Some(file) => file.released(open),
            None if self.path.is_writer() => self.inode().writer_closed(),
            None => {}
        }
    }
}

/// Brings a file to the disk; also tells of an error of an earlier writing back, once.
pub(crate) fn sync_contents(inode: &dyn Inode, data_only: bool, errors: &ErrorMark) -> Result<(), Errno> {
    let done = inode.sync(data_only);
    match inode.page_cache() {
        Some((cache, _)) => done.and(cache.tell_error(errors)),
        None => done,
    }
}

/// What who opens a file now knows of errors of writing it back.
pub(crate) fn error_mark(path: &PathRef) -> ErrorMark {
    if !were_any() {
        return ErrorMark::default();
    }
    path.inode().page_cache().map(|(cache, _)| cache.error_mark()).unwrap_or_default()
}

/// Whether a file may be opened with `O_DIRECT`.
pub(crate) fn takes_direct(inode: &dyn Inode) -> bool {
    inode.metadata().kind() == FileKind::BlockDevice || inode.takes_direct()
}

/// The inode number of `..`, which at the root of a mount is outside of it.
fn parent_number(path: &PathRef) -> u64 {
    let mut at = path.clone();
    while at.is_mount_root() {
        match at.mount.place() {
            Some(place) => at = place,
            None => break,
        }
    }
    at.dentry.parent().unwrap_or(at.dentry).inode().metadata().number()
}

/// Moves the position along with what the sink takes; positions of the file system begin at [`FIRST_ENTRY`].
struct Positioned<'a> {
    sink: &'a mut dyn DirectorySink,
    position: &'a mut u64,
}

impl Positioned<'_> {
    fn take(&mut self, name: &[u8], inode: u64, kind: u8, next: u64) -> bool {
        let is_taken = self.sink.entry(name, inode, kind, next);
        if is_taken {
            *self.position = next;
        }
        is_taken
    }
}

impl DirectorySink for Positioned<'_> {
    fn entry(&mut self, name: &[u8], inode: u64, kind: u8, next: u64) -> bool {
        // The first two entries are ours and have their positions; those of the file system count from 0.
        let next = if *self.position < FIRST_ENTRY { next } else { next.saturating_add(FIRST_ENTRY) };
        self.take(name, inode, kind, next)
    }
}
