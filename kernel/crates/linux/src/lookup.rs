//! From what a program passes (a descriptor, a pointer to a path, flags) to a place in the file tree.
//!
//! Every call that takes a path begins the same way, and the order of its errors is Linux's: the path is copied first
//! (`EFAULT`, `ENAMETOOLONG`, `ENOENT` when it is empty), then the directory descriptor is looked up (`EBADF`,
//! `ENOTDIR`), which an absolute path ignores, then the path is walked.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::ops::Deref;

use abi::open::PATH_MAX;
use abi::{AtFlags, Errno, Fd, PollEvents, UserPtr};
use file::{File, OpenFile};
use mm::user::read_user_cstr;
use sync::{machine, rcu};
use vfs::{CachedPlace, Credentials, FsContext, Lookup, PathRef};

use crate::signalfd::SignalFd;
use crate::thread::Thread;

/// How a thread sees the file tree, for the length of a call.
pub(crate) struct View {
    pub context: Arc<FsContext>,
    pub credentials: Arc<Credentials>,
}

impl View {
    /// The thread's own.
    #[inline]
    pub(crate) fn of(thread: &Thread) -> Self {
        Self { context: thread.fs().get(), credentials: thread.file_credentials() }
    }

    /// Walks a path.
    pub(crate) fn resolve(&self, start: Option<&PathRef>, path: &[u8], follows: bool) -> Result<PathRef, Errno> {
        let mut flags = Lookup::empty();
        flags.set(Lookup::FOLLOW, follows);
        vfs::resolve(&self.context, &self.credentials, start, path, flags)
    }
}

/// A path that needs no allocation is shorter than this.
const SHORT_LEN_END: usize = 64;

/// A path of the program. Most are short and stay on the stack.
pub(crate) enum UserPath {
    /// The first so many bytes.
    Short([u8; SHORT_LEN_END], usize),
    /// A longer one.
    Long(Vec<u8>),
}

impl Deref for UserPath {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(bytes, len) => &bytes[..*len],
            Self::Long(bytes) => bytes,
        }
    }
}

impl UserPath {
    /// Copies a path, which may be empty.
    #[inline]
    pub(crate) fn read(path: UserPtr) -> Result<Self, Errno> {
        let mut bytes = [0; SHORT_LEN_END];
        match machine::copy_string_from_user(&mut bytes, path.address()) {
            Some(SHORT_LEN_END) => read_user_cstr(path.address(), PATH_MAX).map(Self::Long),
            Some(len) => Ok(Self::Short(bytes, len)),
            None => Err(Errno::EFAULT),
        }
    }
}

/// Where a path of the program is put without being moved afterwards.
pub(crate) struct PathBuffer {
    short: [u8; SHORT_LEN_END],
    long: Vec<u8>,
}

impl PathBuffer {
    pub(crate) fn new() -> Self {
        Self { short: [0; SHORT_LEN_END], long: Vec::new() }
    }

    /// Copies a path, which is not empty.
    #[inline]
    pub(crate) fn read(&mut self, path: UserPtr) -> Result<&[u8], Errno> {
        match machine::copy_string_from_user(&mut self.short, path.address()) {
            Some(0) => Err(Errno::ENOENT),
            Some(SHORT_LEN_END) => {
                self.long = read_user_cstr(path.address(), PATH_MAX)?;
                Ok(&self.long)
            }
            Some(len) => Ok(&self.short[..len]),
            None => Err(Errno::EFAULT),
        }
    }
}

/// Finds a place without a lock and without counting what is asked with, if the path begins at the root or the working
/// directory and the cache knows it. False: the long way says what is to be said. See [`vfs::find_cached`].
#[inline]
pub(crate) fn find_cached<const COUNTS_MOUNT: bool>(
    thread: &Thread,
    directory: Fd,
    path: &[u8],
    flags: Lookup,
    found: &mut CachedPlace,
) -> Result<bool, Errno> {
    if !directory.is_cwd() && path.first() != Some(&b'/') {
        return Ok(false);
    }
    let section = rcu::read();
    let context = thread.fs().look(&section);
    let credentials = thread.look_at_file_credentials(&section);
    vfs::find_cached::<COUNTS_MOUNT>(context, credentials, path, flags, &section, found)
}

/// The file behind an open file, if it is of this kind.
pub(crate) fn file_as<T: File>(open: &OpenFile) -> Option<&T> {
    (&**open.file() as &dyn Any).downcast_ref()
}

/// The events of an open file as a thread sees them.
#[inline]
pub(crate) fn readiness(thread: &Thread, open: &OpenFile) -> PollEvents {
    file_as::<SignalFd>(open).map_or_else(|| open.file().readiness(), |signals| signals.readiness_for(thread))
}

/// A path of the program, which is not empty.
#[inline]
pub(crate) fn read_path(path: UserPtr) -> Result<UserPath, Errno> {
    let path = UserPath::read(path)?;
    if path.is_empty() { Err(Errno::ENOENT) } else { Ok(path) }
}

/// Where a relative path begins: none for the working directory.
pub(crate) fn start(thread: &Thread, directory: Fd, path: &[u8]) -> Result<Option<PathRef>, Errno> {
    if directory.is_cwd() || path.first() == Some(&b'/') {
        return Ok(None);
    }
    let place = vfs::path_of(&*thread.fds().get_any(directory.raw())?);
    if place.inode().metadata().is_directory() { Ok(Some(place)) } else { Err(Errno::ENOTDIR) }
}

/// The place that `path`, seen from `directory`, leads to.
pub(crate) fn locate(
    thread: &Thread,
    view: &View,
    directory: Fd,
    path: UserPtr,
    follows: bool,
) -> Result<PathRef, Errno> {
    let path = read_path(path)?;
    let start = start(thread, directory, &path)?;
    view.resolve(start.as_ref(), &path, follows)
}

/// As [`locate`] for a call with `AT_` flags: a link is followed unless `AT_SYMLINK_NOFOLLOW` is given, and with
/// `AT_EMPTY_PATH` an empty path stands for what the descriptor itself refers to.
pub(crate) fn locate_with(
    thread: &Thread,
    view: &View,
    directory: Fd,
    path: UserPtr,
    flags: AtFlags,
) -> Result<PathRef, Errno> {
    let follows = !flags.contains(AtFlags::SYMLINK_NOFOLLOW);
    if !flags.contains(AtFlags::EMPTY_PATH) {
        return locate(thread, view, directory, path, follows);
    }
    locate_read(thread, view, directory, &UserPath::read(path)?, follows)
}

/// As [`locate_with`] with `AT_EMPTY_PATH`, for a path that was read.
pub(crate) fn locate_read(
    thread: &Thread,
    view: &View,
    directory: Fd,
    path: &UserPath,
    follows: bool,
) -> Result<PathRef, Errno> {
    if path.is_empty() {
        return locate_open(thread, view, directory);
    }
    let start = start(thread, directory, path)?;
    view.resolve(start.as_ref(), path, follows)
}

/// The place a descriptor itself refers to.
pub(crate) fn locate_open(thread: &Thread, view: &View, directory: Fd) -> Result<PathRef, Errno> {
    if directory.is_cwd() {
        return Ok(view.context.cwd.clone());
    }
    Ok(vfs::path_of(&*thread.fds().get_any(directory.raw())?))
}

/// `AT_` flags, of which only some are known to a call (`EINVAL` for others).
pub(crate) fn at_flags(flags: u32, known: AtFlags) -> Result<AtFlags, Errno> {
    let flags = AtFlags::from_bits_retain(flags);
    if known.contains(flags) { Ok(flags) } else { Err(Errno::EINVAL) }
}
