//! [`Metadata`]: the attributes every inode has, and the check of permissions that the mode gives.
//!
//! All fields are atomics, so that a walk checks permissions and `stat` reads without a lock. Changes happen under the inode's
//! lock ([`Metadata::lock`]); a reader may see mode and owner of two states at once, as in Linux.

use alloc::sync::Arc;
use core::sync::atomic::Ordering::{AcqRel, Relaxed, SeqCst};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64};

use abi::Errno;
use bitflags::bitflags;
use file::Attributes;
use sync::{Mutex, MutexGuard, rank};

use crate::acl::{Acl, CachedAcl};
use crate::file_flags::{NO_ACCESS_TIME, Protection};
use crate::file_time::AtomicFileTime;
use crate::inode_count::Counted;
use crate::{Capabilities, Credentials, FileTime};

/// Mask of the file type in a mode.
pub(crate) const KIND_MASK: u32 = 0o170_000;
/// Mask of the bits that `chmod` changes.
const PERMISSION_MASK: u32 = 0o7777;
/// The type of a directory.
const DIRECTORY: u32 = 0o040_000;
/// The permissions of everybody to execute, or to search.
const EXECUTE_BITS: u32 = 0o111;
/// Set-user-id bit.
pub(crate) const SET_UID: u32 = 0o4000;
/// Set-group-id bit.
pub(crate) const SET_GID: u32 = 0o2000;
/// Sticky bit.
pub(crate) const STICKY: u32 = 0o1000;
/// After this time the time of the last read is renewed even with `relatime`.
const RELATIVE_TIME_MAX_SECONDS: i64 = 24 * 60 * 60;
/// The unit of `st_blksize`.
const BLOCK_SIZE: u32 = 4096;

bitflags! {
    /// What one may want to do with a file, with the values of a mode's lowest three bits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Permissions: u32 {
        /// Read, or list a directory.
        const READ = 4;
        /// Write, or change a directory.
        const WRITE = 2;
        /// Execute, or search a directory.
        const EXECUTE = 1;
    }
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
}

impl FileKind {
    /// The kind in the type bits of a mode. No bits mean a regular file, as `mknod` has it.
    pub fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & KIND_MASK {
            0o100_000 | 0 => Self::Regular,
            DIRECTORY => Self::Directory,
            0o120_000 => Self::Symlink,
            0o020_000 => Self::CharacterDevice,
            0o060_000 => Self::BlockDevice,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// The type bits of a mode.
    pub fn mode_bits(self) -> u32 {
        match self {
            Self::Regular => 0o100_000,
            Self::Directory => DIRECTORY,
            Self::Symlink => 0o120_000,
            Self::CharacterDevice => 0o020_000,
            Self::BlockDevice => 0o060_000,
            Self::Fifo => 0o010_000,
            Self::Socket => 0o140_000,
        }
    }

    /// The `DT_` value of directory entries: the type bits without their zeros.
    pub fn entry_kind(self) -> u8 {
        match self {
            Self::Fifo => 1,
            Self::CharacterDevice => 2,
            Self::Directory => 4,
            Self::BlockDevice => 6,
            Self::Regular => 8,
            Self::Symlink => 10,
            Self::Socket => 12,
        }
    }
}

/// What [`Metadata`] begins with.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewMetadata {
    /// Inode number.
    pub number: u64,
    /// Device number of the file system.
    pub device: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links.
    pub links: u32,
    /// Device number of a device node.
    pub represents: u64,
    /// Length in bytes.
    pub size: u64,
    /// All times.
    pub time: FileTime,
}

/// The attributes of an inode.
pub struct Metadata {
    number: u64,
    device: u64,
    represents: u64,
    created: FileTime,
    /// Type and permission bits, and [`LIST_DECIDES`].
    mode: AtomicU32,
    /// For directories, whether everybody may search it: for walks that do not look at the inode.
    is_open: Option<Arc<AtomicBool>>,
    uid: AtomicU32,
    gid: AtomicU32,
    links: AtomicU32,
    size: AtomicU64,
    /// Space taken, in units of 512 bytes.
    blocks: AtomicU64,
    accessed: AtomicFileTime,
    modified: AtomicFileTime,
    changed: AtomicFileTime,
    /// Open files that may write; negative: programs being executed, which deny writing.
    writers: AtomicI32,
    /// Open files that may read and not write.
    readers: AtomicU32,
    /// A directory that was removed takes no new names.
    is_removed: AtomicBool,
    /// A file made without a name may be given one.
    is_linkable: AtomicBool,
    /// Nobody is above its permission bits.
    is_strict: bool,
    /// A [`Protection`].
    protection: AtomicU8,
    /// Reading it does not count as an access.
    keeps_access_time: AtomicBool,
    /// How long programs say that what they write will stay.
    write_hint: AtomicU8,
    /// What happens to it that somebody wants to know of: bits of `InotifyMask`.
    watched: AtomicU32,
    acl: CachedAcl,
    lock: Mutex<()>,
    _counted: Counted,
}

/// What somebody else says of a file that he may change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u32,
    pub(crate) blocks: u64,
    pub(crate) accessed: FileTime,
    pub(crate) modified: FileTime,
    pub(crate) changed: FileTime,
}

/// Beside the mode, in one word with it: there is, or may be, a list that decides about who is not the owner. What the
/// mode says of the group is the list's mask then.
const LIST_DECIDES: u32 = 1 << 31;

/// Whether everybody may search a directory of this mode.
fn is_open(mode: u32) -> bool {
    mode & EXECUTE_BITS == EXECUTE_BITS
}

impl Metadata {
    /// The attributes of a new inode.
    pub fn new(new: NewMetadata) -> Self {
        Self {
            number: new.number,
            device: new.device,
            represents: new.represents,
            created: new.time,
            mode: AtomicU32::new(new.mode),
            is_open: (new.mode & KIND_MASK == DIRECTORY).then(|| Arc::new(AtomicBool::new(is_open(new.mode)))),
            uid: AtomicU32::new(new.uid),
            gid: AtomicU32::new(new.gid),
            links: AtomicU32::new(new.links),
            size: AtomicU64::new(new.size),
            blocks: AtomicU64::new(0),
            accessed: AtomicFileTime::new(new.time),
            modified: AtomicFileTime::new(new.time),
            changed: AtomicFileTime::new(new.time),
            writers: AtomicI32::new(0),
            readers: AtomicU32::new(0),
            is_removed: AtomicBool::new(false),
            is_linkable: AtomicBool::new(false),
            is_strict: false,
            protection: AtomicU8::new(0),
            keeps_access_time: AtomicBool::new(false),
            write_hint: AtomicU8::new(0),
            watched: AtomicU32::new(0),
            acl: CachedAcl::none(),
            lock: Mutex::new(rank::INODES, ()),
            _counted: Counted::new(),
        }
    }

    /// The attributes of an inode that was read from a disk, with the times of the last read, change of contents, change of attributes,
    /// and of making.
    pub(crate) fn with_times(new: NewMetadata, [accessed, modified, changed, created]: [FileTime; 4]) -> Self {
        let metadata = Self::new(NewMetadata { time: created, ..new });
        metadata.accessed.set(accessed);
        metadata.modified.set(modified);
        metadata.changed.set(changed);
        metadata
    }

    /// The attributes of a node that lies over `below` in a file system of this device number.
    pub(crate) fn over(below: &Self, device: u64) -> Self {
        let new = Self::new(NewMetadata {
            number: below.number,
            device,
            mode: below.mode(),
            uid: below.uid(),
            gid: below.gid(),
            links: below.links(),
            represents: below.represents,
            size: below.size(),
            time: below.created,
        });
        let copies =
            [(&new.accessed, &below.accessed), (&new.modified, &below.modified), (&new.changed, &below.changed)];
        copies.into_iter().for_each(|(to, from)| to.set(from.get()));
        new.set_blocks(below.blocks.load(Relaxed));
        new
    }

    /// What nobody may do to it.
    #[inline]
    pub(crate) fn protection(&self) -> Protection {
        Protection::from_bits_retain(self.protection.load(Relaxed))
    }

    /// Whether reading it does not count as an access.
    #[inline]
    pub(crate) fn keeps_access_time(&self) -> bool {
        self.keeps_access_time.load(Relaxed)
    }

    /// Lets its flags have their effect, which are those that `chattr` sets.
    pub(crate) fn go_by(&self, flags: u32) {
        let protection = Protection::from_bits_truncate(flags.to_le_bytes()[0]);
        self.protection.store(protection.bits(), Relaxed);
        self.keeps_access_time.store(flags & NO_ACCESS_TIME != 0, Relaxed);
    }

    /// `EPERM` if something may not be done to it.
    pub(crate) fn check_unprotected(&self) -> Result<(), Errno> {
        if self.protection().is_empty() { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// `EPERM` if it is not changed at all.
    pub(crate) fn check_mutable(&self) -> Result<(), Errno> {
        if self.protection().contains(Protection::IMMUTABLE) { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// `EPERM` if it may not be written but at its end.
    pub fn check_may_cut(&self) -> Result<(), Errno> {
        if self.protection().contains(Protection::APPEND_ONLY) { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Takes the inode's lock. See the crate's documentation for its order.
    pub fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock()
    }

    /// As [`Metadata::lock`], while the locks of other inodes that stand before this one are held.
    pub(crate) fn lock_nested(&self) -> MutexGuard<'_, ()> {
        self.lock.lock_nested()
    }

    /// Inode number.
    #[inline]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Device number of the file system.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Device number of a device node.
    pub fn represents(&self) -> u64 {
        self.represents
    }

    /// Type and permission bits.
    #[inline]
    pub fn mode(&self) -> u32 {
        self.mode.load(Relaxed) & !LIST_DECIDES
    }

    /// The mode, and whether there is, or may be, a list that decides about who is not the owner.
    #[inline]
    pub(crate) fn mode_and_whether_list(&self) -> (u32, bool) {
        let word = self.mode.load(Relaxed);
        (word & !LIST_DECIDES, word & LIST_DECIDES != 0)
    }

    /// Whether there is, or may be, a list that decides.
    pub(crate) fn may_have_list(&self) -> bool {
        self.mode_and_whether_list().1
    }

    /// The mode, and the list of the same moment; None when the file system has to be asked for that.
    pub(crate) fn mode_and_list(&self) -> (u32, Option<Option<Arc<Acl>>>) {
        self.acl.known(|| self.mode())
    }

    /// Replaces the bits of `mask` in the word of the mode.
    fn change_mode(&self, mask: u32, bits: u32) {
        // The closure never declines.
        let _ = self.mode.fetch_update(Relaxed, Relaxed, |word| Some(word & !mask | bits & mask));
    }

    /// What it is.
    #[inline]
    pub fn kind(&self) -> FileKind {
        FileKind::of_mode(self.mode()).unwrap_or(FileKind::Regular)
    }

    /// Whether it is a directory.
    #[inline]
    pub fn is_directory(&self) -> bool {
        self.mode() & KIND_MASK == DIRECTORY
    }

    /// Whether it is a symbolic link.
    #[inline]
    pub fn is_symlink(&self) -> bool {
        self.mode() & KIND_MASK == 0o120_000
    }

    /// Whether it is a regular file.
    #[inline]
    pub fn is_regular(&self) -> bool {
        self.mode() & KIND_MASK == 0o100_000
    }

    /// Owner.
    pub fn uid(&self) -> u32 {
        self.uid.load(Relaxed)
    }

    /// Group.
    pub fn gid(&self) -> u32 {
        self.gid.load(Relaxed)
    }

    /// Hard links.
    pub fn links(&self) -> u32 {
        self.links.load(Relaxed)
    }

    /// Length in bytes.
    #[inline]
    pub fn size(&self) -> u64 {
        self.size.load(Relaxed)
    }

    /// Sets the length.
    pub fn set_size(&self, size: u64) {
        self.size.store(size, Relaxed);
    }

    /// Sets the space taken, in units of 512 bytes.
    pub fn set_blocks(&self, blocks: u64) {
        self.blocks.store(blocks, Relaxed);
    }

    /// Counts a hard link more. `ENOENT` for a file that has lost its last one and is only held open, `EMLINK` for too many.
    pub fn add_link(&self) -> Result<(), Errno> {
        let may_begin = self.is_linkable();
        let add = |links: u32| if links == 0 && !may_begin { None } else { links.checked_add(1) };
        self.links.fetch_update(Relaxed, Relaxed, add).map_err(|links| match links {
            0 => Errno::ENOENT,
            _ => Errno::EMLINK,
        })?;
        if may_begin {
            // Once only: when it has lost its names it is like any other file.
            self.is_linkable.store(false, Relaxed);
        }
        Ok(())
    }

    /// Counts hard links less, and answers how many are left. Files lose names in several directories at once, so this is atomic.
    pub fn drop_links(&self, count: u32) -> u32 {
        let subtract = |links: u32| Some(links.saturating_sub(count));
        // The closure never declines, so both arms give the old number.
        let old = self.links.fetch_update(Relaxed, Relaxed, subtract).unwrap_or_else(|links| links);
        old.saturating_sub(count)
    }

    /// Replaces the permission bits and keeps the type. For directories that keep names under the inode's lock.
    pub(crate) fn set_permission_bits(&self, mode: u32) {
        self.change_mode(PERMISSION_MASK, mode);
        self.renew_openness();
    }

    /// Says to those who walk whether everybody may search the directory. What it follows from may change beside this:
    /// who comes last sees all of it.
    fn renew_openness(&self) {
        if let Some(open) = &self.is_open {
            self.acl.held(|| {
                let (mode, may_have_list) = self.mode_and_whether_list();
                open.store(is_open(mode) && !may_have_list, Relaxed);
            });
        }
    }

    /// What is known of its access control lists.
    #[inline]
    pub(crate) fn acl(&self) -> &CachedAcl {
        &self.acl
    }

    /// Sets the list that decides, or that there is none, and the permission bits that go with it: whoever is checked
    /// goes by both or by neither. Under the inode's lock.
    pub(crate) fn set_access(&self, list: Option<Arc<Acl>>, mode: u32) {
        let bit = if list.is_some() { LIST_DECIDES } else { 0 };
        self.acl.set(list, || self.change_mode(PERMISSION_MASK | LIST_DECIDES, mode & PERMISSION_MASK | bit));
        self.renew_openness();
    }

    /// Takes what the file system answered that was asked for the list, unless it has been set since.
    pub(crate) fn acl_was_read(&self, list: Option<Arc<Acl>>) {
        let bit = if list.is_some() { LIST_DECIDES } else { 0 };
        self.acl.take_read(list, || self.change_mode(LIST_DECIDES, bit));
        self.renew_openness();
    }

    /// It may have lists, for which the file system has to be asked, beside these permission bits.
    pub(crate) fn set_access_unknown(&self, mode: u32) {
        let word = mode & PERMISSION_MASK | LIST_DECIDES;
        self.acl.set_unknown(|| self.change_mode(PERMISSION_MASK | LIST_DECIDES, word));
        self.renew_openness();
    }

    /// For directories, whether everybody may search it, now and later.
    pub(crate) fn openness(&self) -> Option<&Arc<AtomicBool>> {
        self.is_open.as_ref()
    }

    /// Sets owner and group.
    pub(crate) fn set_owner(&self, uid: u32, gid: u32) {
        self.uid.store(uid, Relaxed);
        self.gid.store(gid, Relaxed);
    }

    /// Takes over what was told of the file. Its type stays.
    pub(crate) fn take_over(&self, told: &Told) {
        self.set_permission_bits(told.mode);
        self.set_owner(told.uid, told.gid);
        self.links.store(told.links, Relaxed);
        self.set_blocks(told.blocks);
        self.accessed.set(told.accessed);
        self.modified.set(told.modified);
        self.changed.set(told.changed);
    }

    /// Notes a read, unless the mount's rule for it says that there is nothing to note; whether there was.
    #[inline]
    pub(crate) fn touch_accessed(&self, is_relative: bool) -> bool {
        let now = FileTime::now();
        let accessed = self.accessed.get();
        if is_relative
            && accessed > self.modified.get()
            && accessed > self.changed.get()
            && now.seconds() - accessed.seconds() < RELATIVE_TIME_MAX_SECONDS
        {
            return false;
        }
        self.accessed.set(now);
        true
    }

    /// Notes a change of the contents.
    #[inline]
    pub fn touch_modified(&self) {
        let now = FileTime::now();
        self.modified.set(now);
        self.changed.set(now);
    }

    /// Notes a change of the attributes.
    pub fn touch_changed(&self) {
        self.changed.set(FileTime::now());
    }

    /// Sets the times that are given, and notes the change.
    pub(crate) fn set_times(&self, accessed: Option<FileTime>, modified: Option<FileTime>) {
        if let Some(time) = accessed {
            self.accessed.set(time);
        }
        if let Some(time) = modified {
            self.modified.set(time);
        }
        self.touch_changed();
    }

    /// Whether the directory was removed. Stable while the inode's lock is held.
    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed.load(Relaxed)
    }

    /// Marks a directory as removed, under its lock.
    pub(crate) fn mark_removed(&self) {
        self.is_removed.store(true, Relaxed);
    }

    /// Whether a file without links may be given one: it was made with `O_TMPFILE` and without `O_EXCL`.
    pub(crate) fn is_linkable(&self) -> bool {
        self.is_linkable.load(Relaxed)
    }

    /// The same, but that nobody is above its permission bits, whatever he is capable of.
    #[must_use]
    pub(crate) fn strict(mut self) -> Self {
        self.is_strict = true;
        self
    }

    /// Lets a file without links be given one.
    pub(crate) fn make_linkable(&self) {
        self.is_linkable.store(true, Relaxed);
    }

    /// How long programs say that what they write will stay (`F_SET_RW_HINT`); nothing here goes by it.
    pub(crate) fn write_hint(&self) -> &AtomicU8 {
        &self.write_hint
    }

    /// What happens to it that somebody wants to know of.
    #[inline]
    pub(crate) fn watched(&self) -> u32 {
        self.watched.load(Relaxed)
    }

    /// Sets what somebody wants to know of.
    pub(crate) fn set_watched(&self, events: u32) {
        self.watched.store(events, Relaxed);
    }

    /// What `stat` shows.
    #[inline]
    pub fn attributes(&self) -> Attributes {
        Attributes {
            device: self.device,
            inode: self.number,
            mode: self.mode(),
            links: self.links(),
            uid: self.uid(),
            gid: self.gid(),
            represents: self.represents,
            size: self.size(),
            block_size: BLOCK_SIZE,
            blocks: self.blocks.load(Relaxed),
            accessed: self.accessed.get().into(),
            modified: self.modified.get().into(),
            changed: self.changed.get().into(),
            created: Some(self.created.into()),
        }
    }

    /// Whether this mode, or a capability, lets `credentials` do all of `wanted`; `EACCES` otherwise. What else there is
    /// to be checked does `<dyn Inode>::check_permission`.
    #[inline]
    pub(crate) fn check_mode(&self, mode: u32, credentials: &Credentials, wanted: Permissions) -> Result<(), Errno> {
        let class = if credentials.uid == self.uid() {
            mode >> 6
        } else if credentials.is_in_group(self.gid()) {
            mode >> 3
        } else {
            mode
        };
        if Permissions::from_bits_truncate(class).contains(wanted) {
            return Ok(());
        }
        self.check_capabilities(credentials, wanted)
    }

    /// Whether a capability lets `credentials` do what the mode does not.
    pub(crate) fn check_capabilities(&self, credentials: &Credentials, wanted: Permissions) -> Result<(), Errno> {
        let may_search_all = credentials.has(Capabilities::DAC_READ_SEARCH)
            && if self.is_directory() { !wanted.contains(Permissions::WRITE) } else { wanted == Permissions::READ };
        let may_do_all = credentials.has(Capabilities::DAC_OVERRIDE)
            && (self.is_directory() || !wanted.contains(Permissions::EXECUTE) || self.mode() & EXECUTE_BITS != 0);
        if (may_search_all || may_do_all) && !self.is_strict { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Takes the set-id bits away that do not survive a change by someone without `CAP_FSETID`.
    pub(crate) fn drop_set_id(&self) {
        let mode = self.mode();
        let mut dropped = mode & SET_UID;
        if mode & (SET_GID | 0o010) == SET_GID | 0o010 {
            dropped |= SET_GID;
        }
        if dropped != 0 && self.is_regular() {
            self.change_mode(dropped, 0);
        }
    }

    /// Whether nobody executes it or has it open but one open file that reads or writes as is said.
    pub fn has_one_user(&self, reads: bool, writes: bool) -> bool {
        let (readers, writers) = (self.readers.load(SeqCst), self.writers.load(SeqCst));
        (readers, writers) == (u32::from(reads && !writes), i32::from(writes))
    }

    /// Counts an open file that reads and does not write. Ordered, as the others that count, for leases (`file::lease`).
    #[inline]
    pub(crate) fn begin_reading(&self) {
        self.readers.fetch_add(1, SeqCst);
    }

    /// Ends that.
    #[inline]
    pub(crate) fn end_reading(&self) {
        self.readers.fetch_sub(1, Relaxed);
    }

    /// Whether it is open for writing.
    pub fn has_writers(&self) -> bool {
        self.writers.load(SeqCst) > 0
    }

    /// Counts an open file that may write; `ETXTBSY` while the file is executed.
    pub(crate) fn begin_writing(&self) -> Result<(), Errno> {
        let count = |writers: i32| (writers >= 0).then(|| writers.saturating_add(1));
        self.writers.fetch_update(SeqCst, Relaxed, count).map(drop).map_err(|_| Errno::ETXTBSY)
    }

    /// Ends what [`Metadata::begin_writing`] began. Whether that was the last: of writers that end at once, one's was.
    pub(crate) fn end_writing(&self) -> bool {
        self.writers.fetch_sub(1, AcqRel) == 1
    }

    /// Denies writing while a program is executed from the file; `ETXTBSY` when someone writes.
    pub fn deny_writing(&self) -> Result<(), Errno> {
        let count = |writers: i32| (writers <= 0).then(|| writers.saturating_sub(1));
        self.writers.fetch_update(Relaxed, Relaxed, count).map(drop).map_err(|_| Errno::ETXTBSY)
    }

    /// Ends what [`Metadata::deny_writing`] began.
    pub fn allow_writing(&self) {
        self.writers.fetch_add(1, Relaxed);
    }
}
