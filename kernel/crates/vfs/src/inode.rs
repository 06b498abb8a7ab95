//! [`Inode`]: what a file system implements for each of its files.
//!
//! A file system that can do nothing of a kind keeps the default, which answers what Linux answers when the operation is
//! missing. Checks of names, permissions and mounts are done before an inode is called.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use abi::xattr::{XATTR_NAME_POSIX_ACL_ACCESS, XATTR_NAME_POSIX_ACL_DEFAULT};
use abi::{Errno, FallocateFlags, OpenFlags};
use file::{Attributes, DirectorySink, File};
use mm::object::{CodeSite, Mappings};
use mm::user::{UserReader, UserWriter};
use mm::{Frame, FramePiece};

use crate::attributes::AttributeChange;
use crate::name::{HashedName, Name};
use crate::page_copy::{offset_in_page, page_of};
use crate::{CacheCounts, Credentials, Metadata, PageCache, PageStore, PathRef, Seals, XattrChange};

/// The access control lists of something new, in the form of extended attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewAcls<'a> {
    /// The one that decides.
    pub access: Option<&'a [u8]>,
    /// The one for what is made in it.
    pub default: Option<&'a [u8]>,
}

impl<'a> NewAcls<'a> {
    /// Names and values, in the order in which Linux sets them.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'static [u8], &'a [u8])> {
        let default = self.default.map(|value| (XATTR_NAME_POSIX_ACL_DEFAULT, value));
        default.into_iter().chain(self.access.map(|value| (XATTR_NAME_POSIX_ACL_ACCESS, value)))
    }
}

/// What is to be made in a directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewInode<'a> {
    /// Type and permission bits, after the umask.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub represents: u64,
    /// Target of a symbolic link; empty for everything else.
    pub target: &'a [u8],
    /// Only where [`Inode::takes_acls`].
    pub acls: NewAcls<'a>,
}

/// Where a symbolic link leads.
pub enum LinkTarget {
    /// To a path, to be walked from the link's directory.
    Path(Arc<[u8]>),
    /// To a place, whatever its path: `/proc/self/exe` and its like.
    Place(PathRef),
}

/// Bytes that are side by side in a file and on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileExtent {
    /// Where it begins in the file.
    pub start: u64,
    /// Its length.
    pub len: u64,
    /// Where it begins on the disk, if that was decided.
    pub on_disk: u64,
    /// `FIEMAP_EXTENT_*` flags.
    pub flags: u32,
}

/// How opening an inode goes on.
pub enum Opened {
    /// It is served by the inode's own data operations.
    Inode,
    /// It is served by another file, under the name and attributes of this inode: a device, a FIFO.
    Through(Arc<dyn File>),
    /// It is another file, name, attributes and all: `/proc/self/fd/N` of a pipe.
    Replaced(Arc<dyn File>),
}

/// What the source and target of a rename are.
pub struct Renaming<'a> {
    /// The name that goes.
    pub old_name: HashedName<'a>,
    /// What it named.
    pub inode: &'a Arc<dyn Inode>,
    /// The directory it goes to, of the same file system.
    pub new_directory: &'a Arc<dyn Inode>,
    /// The new name.
    pub new_name: HashedName<'a>,
    /// What the new name named, to be replaced or exchanged.
    pub replaced: Option<&'a Arc<dyn Inode>>,
    /// Whether the two are exchanged.
    pub is_exchange: bool,
    /// What is to be made under the old name: a whiteout. Only where [`Inode::makes_whiteouts`].
    pub whiteout: Option<&'a NewInode<'a>>,
}

/// A file, directory or other node of a file system.
///
/// Directory operations that change names run under the lock of the directory's [`Metadata`]; [`Inode::lookup`] does so too,
/// unless the directory [keeps no names](Inode::caches_names). Operations that change the size run under the lock of the file.
/// They keep sizes, link counts and times in [`Metadata`] up to date themselves.
pub trait Inode: Any + Send + Sync {
    /// Its attributes.
    fn metadata(&self) -> &Metadata;

    /// What `stat` shows.
    fn attributes(&self) -> Attributes {
        self.metadata().attributes()
    }

    /// Its length now, where that is not known without asking.
    fn length(&self) -> Result<u64, Errno> {
        Ok(self.metadata().size())
    }

    /// Called under the lock before attributes are changed: a layered file system takes the inode over into its own layer.
    fn prepare_change(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// Whether one with these credentials may use what a file system keeps for some.
    fn may_use_reserve(&self, _credentials: &Credentials) -> bool {
        false
    }

    /// Called under the lock when one who may use it is about to write or to find room, for that alone.
    fn let_use_reserve(&self) {}

    /// Asked under the lock, after all checks, before attributes are changed in its metadata: somebody else who keeps them takes
    /// the change over, or refuses it.
    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno> {
        let _ = change;
        Ok(())
    }

    /// Told after its mode, owner or times were changed in its metadata, under its lock; also after each write, and each change of its
    /// length.
    fn attributes_changed(&self) {}

    /// Told after the time of its last read was changed in its metadata, without a lock.
    fn accessed(&self) {}

    /// Whether names found (and not found) in this directory stay so until changed through it.
    fn caches_names(&self) -> bool {
        true
    }

    /// Finds a name in the directory; `ENOENT` when there is none.
    fn lookup(&self, name: HashedName<'_>, credentials: &Credentials) -> Result<Arc<dyn Inode>, Errno> {
        let _ = (name, credentials);
        Err(Errno::ENOTDIR)
    }

    /// Whether names that differ may mean the same file. Then [`Inode::lookup_folded`] is asked instead of [`Inode::lookup`], what is not
    /// there is not remembered, and a name is in the cache only as it is stored.
    fn folds_names(&self) -> bool {
        false
    }

    /// As [`Inode::lookup`], with the name as it is stored.
    fn lookup_folded(&self, name: HashedName<'_>) -> Result<(Arc<dyn Inode>, Name), Errno> {
        let _ = name;
        Err(Errno::ENOTDIR)
    }

    /// How a new name is stored, where names are folded.
    fn stored_form<'a>(&self, name: HashedName<'a>) -> HashedName<'a> {
        name
    }

    /// Makes a new node with a name that is not there.
    fn create(&self, name: HashedName<'_>, new: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        let _ = (name, new);
        Err(Errno::EACCES)
    }

    /// Makes a regular file without a name.
    fn create_unnamed(&self, new: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        let _ = new;
        Err(Errno::EOPNOTSUPP)
    }

    /// Adds a name for an inode that is no directory, under the locks of both, and counts it with [`Metadata::add_link`].
    fn link(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        let _ = (name, inode);
        Err(Errno::EPERM)
    }

    /// Whether what is made in the directory gets its group whatever its mode says.
    fn hands_on_group(&self) -> bool {
        false
    }

    /// Whether a name that is not there can be made here at all: what is said against it comes before any permission.
    fn check_takes_names(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// Removes a name of something that is no directory.
    fn unlink(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        let _ = (name, inode);
        Err(Errno::EPERM)
    }

    /// Removes an empty directory, under the locks of both; `ENOTEMPTY` when it is not.
    fn rmdir(&self, name: HashedName<'_>, inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        let _ = (name, inode);
        Err(Errno::EPERM)
    }

    /// Renames, under the locks of both directories and of the one replaced.
    fn rename(&self, renaming: &Renaming<'_>) -> Result<(), Errno> {
        let _ = renaming;
        Err(Errno::EPERM)
    }

    /// Whether [`Inode::rename`] can leave a whiteout.
    fn makes_whiteouts(&self) -> bool {
        false
    }

    /// Gives the entries behind `position` (0 at the start) with the exception of `.` and `..`, until the sink is full. No lock is
    /// held while the sink is called. An entry that stays while others come and go is given exactly once.
    fn read_directory(&self, position: u64, sink: &mut dyn DirectorySink) -> Result<(), Errno> {
        let _ = (position, sink);
        Err(Errno::ENOTDIR)
    }

    /// Where the symbolic link leads.
    fn link_target(&self, credentials: &Credentials) -> Result<LinkTarget, Errno> {
        let _ = credentials;
        Err(Errno::EINVAL)
    }

    /// What `readlink` says, when that is not the path of [`Inode::link_target`].
    fn link_text(&self, credentials: &Credentials) -> Result<Vec<u8>, Errno> {
        match self.link_target(credentials)? {
            LinkTarget::Path(path) => Ok(path.to_vec()),
            LinkTarget::Place(_) => Err(Errno::EINVAL),
        }
    }

    /// Called when the inode, found at `path`, is opened, after all checks.
    fn open(&self, path: &PathRef, flags: OpenFlags, credentials: &Credentials) -> Result<Opened, Errno> {
        let _ = (path, flags, credentials);
        Ok(Opened::Inode)
    }

    /// Reads from `position` on; 0 at the end.
    fn read_at(&self, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        let _ = (position, to);
        Err(Errno::EINVAL)
    }

    /// Writes at `position`, under the inode's lock.
    fn write_at(&self, position: u64, from: &mut UserReader<'_>) -> Result<usize, Errno> {
        let _ = (position, from);
        Err(Errno::EINVAL)
    }

    /// Sets the length, under the inode's lock.
    fn set_len(&self, len: u64) -> Result<(), Errno> {
        let _ = len;
        Err(Errno::EINVAL)
    }

    /// `fallocate`, under the inode's lock. Offset and length are checked.
    fn allocate(&self, mode: FallocateFlags, offset: u64, len: u64) -> Result<(), Errno> {
        let _ = (mode, offset, len);
        Err(Errno::EOPNOTSUPP)
    }

    /// The next offset from `offset` on that holds data, or a hole; the end of the file counts as a hole. `ENXIO` when there is none.
    fn seek_data(&self, offset: u64, wants_hole: bool) -> Result<u64, Errno> {
        let size = self.metadata().size();
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        Ok(if wants_hole { size } else { offset })
    }

    /// Gives where the contents of `start..end` are on the disk, in whole blocks, until the sink wants no more. `EFBIG`
    /// behind all that a file can have.
    fn extents(&self, start: u64, end: u64, sink: &mut dyn FnMut(FileExtent) -> bool) -> Result<(), Errno> {
        let _ = (start, end, sink);
        Err(Errno::EOPNOTSUPP)
    }

    /// A page of the file for mappings; `EFAULT` behind the end.
    fn page(&self, index: u64) -> Result<Frame, Errno> {
        let _ = index;
        Err(Errno::ENODEV)
    }

    /// As [`Inode::page`], if nothing has to be read from a disk or a server for it.
    fn page_at_hand(&self, index: u64) -> Option<Frame> {
        match self.page_cache() {
            Some((cache, store)) => cache.page_at_hand(store, index),
            None => self.page(index).ok(),
        }
    }

    /// What a read of `len` bytes at `position` gives of the page there: [`Inode::page`] to be read once and kept for
    /// nobody. What is a hole may stay one.
    fn piece_for_read(&self, position: u64, len: usize) -> Result<FramePiece, Errno> {
        Ok(FramePiece::new(self.page(page_of(position))?, offset_in_page(position), len))
    }

    /// As [`Inode::page`], for a shared mapping about to write.
    fn page_for_write(&self, index: u64) -> Result<Frame, Errno> {
        self.page(index)
    }

    /// Instructions of a page that must not run as they are.
    fn code_sites(&self, index: u64) -> Option<Vec<CodeSite>> {
        let _ = index;
        None
    }

    /// The programs that map the file, to take pages away from them.
    fn mappings(&self) -> Option<&Mappings> {
        None
    }

    /// Told when a mapping of it is gone, with no lock held.
    fn unmapped(&self) {}

    /// Whether the pages are all there is of the file, so that a store needs no notice once its page is mapped.
    fn is_memory(&self) -> bool {
        false
    }

    /// Whether the page is in memory.
    fn is_resident(&self, index: u64) -> bool {
        let _ = index;
        true
    }

    /// Whether the inode has pages, and so can be mapped.
    fn is_mappable(&self) -> bool {
        false
    }

    /// What cannot be done to the file any more; none if it cannot be sealed.
    fn seals(&self) -> Option<&Seals> {
        None
    }

    /// The flags of the file, as `FS_IOC_GETFLAGS` gives them.
    fn flags(&self) -> Result<u32, Errno> {
        Err(Errno::ENOTTY)
    }

    /// The flags that `statx` speaks of, and those of them that are set.
    fn flags_told(&self) -> (u32, u32) {
        (0, 0)
    }

    /// Sets the flags, under the inode's lock and after all checks of rights. `EOPNOTSUPP` for one that cannot be changed.
    fn set_flags(&self, flags: u32) -> Result<(), Errno> {
        let _ = flags;
        Err(Errno::ENOTTY)
    }

    /// Whether access control lists are kept as extended attributes, and decide.
    fn takes_acls(&self) -> bool {
        false
    }

    /// The value of an extended attribute, whose name is given with its name space: `ENODATA` when there is none, `EOPNOTSUPP` for name
    /// spaces that are not kept. Called without the inode's lock, beside a change.
    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let _ = name;
        Err(Errno::EOPNOTSUPP)
    }

    /// Sets or removes an extended attribute, under the inode's lock and after all checks but [`XattrChange::check_presence`]. Names are at
    /// most 255 bytes, values 64 KiB; `ENOSPC` or `ERANGE` for what does not fit.
    fn change_xattr(&self, name: &[u8], change: XattrChange<'_>) -> Result<(), Errno> {
        let _ = (name, change);
        Err(Errno::EOPNOTSUPP)
    }

    /// Gives the full names of all extended attributes. Called as [`Inode::xattr`] is.
    fn list_xattrs(&self, sink: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
        let _ = sink;
        Ok(())
    }

    /// The cache by which the contents are read and written, and where they are on the disk.
    fn page_cache(&self) -> Option<(&PageCache, &dyn PageStore)> {
        None
    }

    /// What of the pages `first..end` is in memory (`cachestat`).
    fn count_cached(&self, first: u64, end: u64) -> CacheCounts {
        self.page_cache().map_or(CacheCounts::default(), |(cache, _)| cache.count(first, end))
    }

    /// Whether `O_DIRECT` is taken.
    fn takes_direct(&self) -> bool {
        self.page_cache().is_some()
    }

    /// Told when an open file that could write it is closed.
    fn writer_closed(&self) {}

    /// Told when nobody has it open for writing any more, unless somebody has opened it again since. May block.
    fn last_writer_closed(&self) {}

    /// Whether one may ask for what of it is in memory, without waiting for the rest (`RWF_NOWAIT`).
    fn tells_at_hand(&self) -> bool {
        false
    }

    /// Brings the file to stable storage.
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        let _ = data_only;
        Ok(())
    }
}

impl dyn Inode {
    /// Somebody who was counted by [`Metadata::begin_writing`] does not write any more.
    pub(crate) fn end_writing(&self) {
        if self.metadata().end_writing() {
            self.last_writer_closed();
        }
    }
}

/// A directory entry taken out of a table, to be given to a sink without the table's lock.
pub(crate) struct ListedEntry {
    pub(crate) name: Name,
    pub(crate) inode: u64,
    pub(crate) kind: u8,
    pub(crate) next: u64,
}
