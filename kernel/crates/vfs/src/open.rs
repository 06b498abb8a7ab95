//! Opening files, with all the flags `open` has.

use alloc::sync::Arc;

use abi::inotify::InotifyMask;
use abi::{AccessMode, Errno, OpenFlags, ResolveFlags};
use file::lock::FileId;
use file::{OpenFile, lease};

use crate::cached_walk::Until;
use crate::create::{FILE_MODE_MASK, Wanted, check_may_create, create_locked, create_unnamed};
use crate::metadata::FileKind;
use crate::used::Used;
use crate::vnode_file::takes_direct;
use crate::walk::{Last, LastKind, Walk};
use crate::{
    Credentials, Dentry, FsContext, Lookup, Metadata, MountFlags, Opened, PathRef, Permissions, VnodeFile, device,
    notify, protection,
};

/// What `open` or `openat2` asks for.
#[derive(Clone, Copy, Debug)]
pub struct OpenRequest {
    /// Access mode and flags.
    pub flags: OpenFlags,
    /// Permission bits of a new file, before the umask.
    pub mode: u32,
    /// Restrictions of the walk.
    pub resolve: ResolveFlags,
}

/// Opens the file a path leads to, or makes it.
///
/// The caller waits for [`file::File::opening`] afterwards, unless `O_NONBLOCK` is given.
pub fn open(
    context: &FsContext,
    credentials: &Credentials,
    start: Option<&PathRef>,
    path: &[u8],
    request: &OpenRequest,
) -> Result<Arc<OpenFile>, Errno> {
    let flags = request.flags;
    let mut lookup = if request.resolve.is_empty() { Lookup::empty() } else { Lookup::from(request.resolve) };
    lookup.set(Lookup::DIRECTORY, flags.contains(OpenFlags::DIRECTORY));
    let is_exclusive = flags.contains(OpenFlags::CREAT | OpenFlags::EXCL);
    lookup.set(Lookup::FOLLOW, !flags.contains(OpenFlags::NOFOLLOW) && !is_exclusive);

    if flags.contains(OpenFlags::PATH) {
        let kept = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC;
        let place = crate::resolve(context, credentials, start, path, lookup)?;
        return Ok(OpenFile::new(Arc::new(VnodeFile::path_only(place, credentials)), flags & kept));
    }
    if flags.contains(OpenFlags::TMPFILE_ONLY) {
        lookup.set(Lookup::FOLLOW, !flags.contains(OpenFlags::NOFOLLOW));
        let directory = crate::resolve(context, credentials, start, path, lookup)?;
        return open_unnamed(context, credentials, &directory, request);
    }
    if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
        return Err(Errno::EINVAL);
    }

    let until = if flags.contains(OpenFlags::CREAT) { Until::Present } else { Until::End };
    let (mut walk, is_end) = Walk::begin(context, credentials, start, path, lookup, until)?;
    let mut is_new = false;
    if !is_end {
        walk_to_file(&mut walk, context, credentials, request, &mut is_new)?;
    }
    let place = walk.finish()?;
    if flags.contains(OpenFlags::CREAT) && !is_new {
        if is_exclusive {
            return Err(Errno::EEXIST);
        }
        if place.dentry.kind() == FileKind::Directory {
            return Err(Errno::EISDIR);
        }
        if let Some(directory) = place.dentry.parent() {
            let (directory, file) = (directory.inode().metadata(), place.inode().metadata());
            protection::check_create_existing(credentials, directory, file)?;
        }
    }
    open_place(credentials, place, flags, is_new)
}

/// Walks the rest of the way to the file, and makes it when that is wanted.
fn walk_to_file<'a>(
    walk: &mut Walk<'a>,
    context: &FsContext,
    credentials: &Credentials,
    request: &OpenRequest,
    is_new: &mut bool,
) -> Result<(), Errno> {
    let creates = request.flags.contains(OpenFlags::CREAT);
    loop {
        let last = walk.walk_to_last()?;
        let is_there = if creates {
            enter_or_create(walk, context, credentials, &last, request, is_new)?
        } else {
            walk.enter(&last, !request.flags.contains(OpenFlags::NOFOLLOW))?
        };
        if is_there {
            return Ok(());
        }
    }
}

/// Whether [`open`] does what [`find_cached`](crate::find_cached), with what this answers, and [`open_path`] do.
pub fn lookup_of_existing(request: &OpenRequest) -> Option<Lookup> {
    let others = OpenFlags::PATH | OpenFlags::TMPFILE_ONLY | OpenFlags::CREAT;
    if request.flags.intersects(others) || !request.resolve.is_empty() {
        return None;
    }
    Some(if request.flags.contains(OpenFlags::DIRECTORY) { Lookup::DIRECTORY } else { Lookup::empty() })
}

/// Opens a place that was found before, `/proc/self/exe` for one, with the checks of `open`. `O_CREAT` and its like have no effect.
pub fn open_path(credentials: &Credentials, place: PathRef, flags: OpenFlags) -> Result<Arc<OpenFile>, Errno> {
    if flags.contains(OpenFlags::DIRECTORY) && place.dentry.kind() != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    open_place(credentials, place, flags, false)
}

/// Goes to the last component, and makes it when it is not there. False: it was a link that is followed.
fn enter_or_create<'a>(
    walk: &mut Walk<'a>,
    context: &FsContext,
    credentials: &Credentials,
    last: &Last<'a>,
    request: &OpenRequest,
    is_new: &mut bool,
) -> Result<bool, Errno> {
    if last.kind != LastKind::Name {
        // A link without a path may have led to a file.
        if last.kind == LastKind::Nothing {
            return Ok(true);
        }
        // It is there, and a directory: which of the two is said depends on what was asked for.
        let is_exclusive = request.flags.contains(OpenFlags::EXCL);
        return Err(if is_exclusive { Errno::EEXIST } else { Errno::EISDIR });
    }
    if last.has_slash {
        return Err(Errno::EISDIR);
    }
    let child = match walk.child(last.name())? {
        Some(child) => child,
        None => {
            let child = create(&walk.at, context, credentials, last, request.mode, is_new)?;
            if *is_new {
                walk.at.dentry = child;
                return Ok(true);
            }
            child
        }
    };
    if request.flags.contains(OpenFlags::EXCL) {
        return Err(Errno::EEXIST);
    }
    walk.enter_child(child, !request.flags.contains(OpenFlags::NOFOLLOW))
}

/// Makes a regular file, unless someone else just did.
fn create(
    directory: &PathRef,
    context: &FsContext,
    credentials: &Credentials,
    last: &Last<'_>,
    mode: u32,
    is_new: &mut bool,
) -> Result<Arc<Dentry>, Errno> {
    let _lock = directory.dentry.lock_names();
    if let Some(child) = directory.dentry.child_locked(last.name(), credentials)? {
        return Ok(child);
    }
    directory.mount.check_writable()?;
    check_may_create(directory, credentials)?;
    match create_locked(directory, credentials, last.name(), &new_file(context, mode)) {
        // A directory that keeps no names has no lock: somebody else was quicker.
        Err(Errno::EEXIST) if !directory.dentry.keeps_children() => {
            directory.dentry.child_locked(last.name(), credentials)?.ok_or(Errno::ENOENT)
        }
        made => {
            *is_new = true;
            made
        }
    }
}

/// A regular file that is to be made with this mode.
fn new_file(context: &FsContext, mode: u32) -> Wanted<'static> {
    let mode = FileKind::Regular.mode_bits() | mode & FILE_MODE_MASK;
    Wanted { mode, umask: context.umask, represents: 0, target: &[] }
}

/// `O_TMPFILE`.
fn open_unnamed(
    context: &FsContext,
    credentials: &Credentials,
    directory: &PathRef,
    request: &OpenRequest,
) -> Result<Arc<OpenFile>, Errno> {
    if request.flags.access_mode() == AccessMode::ReadOnly {
        return Err(Errno::EINVAL);
    }
    directory.mount.check_writable()?;
    check_may_create(directory, credentials)?;
    let inode = create_unnamed(directory, credentials, &new_file(context, request.mode))?;
    if !request.flags.contains(OpenFlags::EXCL) {
        inode.metadata().make_linkable();
    }
    let dentry = directory.dentry.unnamed_child(inode);
    open_place(credentials, PathRef { mount: directory.mount.clone(), dentry }, request.flags, true)
}

/// What the access mode, and `O_TRUNC`, ask of the file.
fn wanted(flags: OpenFlags) -> Permissions {
    let mut wanted = match flags.access_mode() {
        AccessMode::ReadOnly => Permissions::READ,
        AccessMode::WriteOnly => Permissions::WRITE,
        AccessMode::ReadWrite | AccessMode::None => Permissions::READ | Permissions::WRITE,
    };
    wanted.set(Permissions::WRITE, wanted.contains(Permissions::WRITE) || flags.contains(OpenFlags::TRUNC));
    wanted
}

/// Linux's `may_open` and `do_dentry_open`.
fn open_place(
    credentials: &Credentials,
    place: PathRef,
    flags: OpenFlags,
    is_new: bool,
) -> Result<Arc<OpenFile>, Errno> {
    let metadata = place.inode().metadata();
    let kind = place.dentry.kind();
    let wanted = wanted(flags);
    if !is_new {
        check_may_open(credentials, &place, kind, wanted)?;
    }
    // One whose every writer appends, and nobody cuts.
    if flags.access_mode().can_write() && !flags.contains(OpenFlags::APPEND) || flags.contains(OpenFlags::TRUNC) {
        metadata.check_may_cut()?;
    }
    if flags.contains(OpenFlags::NOATIME) && !credentials.owns(metadata.uid()) {
        return Err(Errno::EPERM);
    }
    let is_writer = flags.access_mode().can_write() && kind == FileKind::Regular;
    let is_reader = !is_writer && flags.may_read() && kind == FileKind::Regular;
    let place = if is_writer {
        Used::writer(place)?
    } else if is_reader {
        Used::reader(place)
    } else {
        Used::uncounted(place)
    };
    let mut file = VnodeFile::new(place, credentials);
    if lease::is_any() {
        break_leases(file.path().inode().metadata(), wanted.contains(Permissions::WRITE))?;
    }
    if is_new && flags.contains(OpenFlags::CREAT) {
        file.note_made();
    }
    if is_writer && file.path().inode().may_use_reserve(credentials) {
        file.allow_reserve();
    }
    if kind == FileKind::Socket {
        return Err(Errno::ENXIO);
    }
    if flags.contains(OpenFlags::DIRECT) && !takes_direct(&**file.path().inode()) {
        return Err(Errno::EINVAL);
    }
    let opened = match kind {
        FileKind::CharacterDevice | FileKind::BlockDevice => Opened::Through(device::open(file.path(), flags)?),
        _ => file.path().inode().open(file.path(), flags, credentials)?,
    };
    match opened {
        Opened::Inode => {}
        Opened::Through(served_by) => file.serve_through(served_by),
        Opened::Replaced(other) => return Ok(OpenFile::new(other, flags)),
    }
    notify::at(&file.path().dentry, InotifyMask::OPEN);
    if kind == FileKind::Regular && flags.contains(OpenFlags::TRUNC) && !is_new {
        file.truncate_at_open()?;
    }
    Ok(OpenFile::new(Arc::new(file), flags))
}

/// Has those told who have leases that go against this use of a file; `EAGAIN` until they have given them up.
#[cold]
pub(crate) fn break_leases(metadata: &Metadata, wants_write: bool) -> Result<(), Errno> {
    lease::break_for(FileId::new(metadata.device(), metadata.number()), wants_write)
}

/// Whether an existing file may be opened so.
fn check_may_open(
    credentials: &Credentials,
    place: &PathRef,
    kind: FileKind,
    wanted: Permissions,
) -> Result<(), Errno> {
    match kind {
        FileKind::Symlink => return Err(Errno::ELOOP),
        FileKind::Directory if wanted.contains(Permissions::WRITE) => return Err(Errno::EISDIR),
        FileKind::CharacterDevice | FileKind::BlockDevice if place.mount.flags().contains(MountFlags::NO_DEVICES) => {
            return Err(Errno::EACCES);
        }
        FileKind::Regular if wanted.contains(Permissions::WRITE) => place.mount.check_writable()?,
        _ => {}
    }
    place.inode().check_permission(credentials, wanted)
}
