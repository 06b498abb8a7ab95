//! Opening and closing descriptors.

use alloc::sync::Arc;

use abi::open::OPEN_HOW_SIZE_VER0;
use abi::stat::S_IALLUGO;
use abi::{AccessMode, CloseRangeFlags, Errno, Fd, OpenFlags, OpenHow, PAGE_SIZE, PollEvents, ResolveFlags, UserPtr};
use file::OpenFile;
use mm::user::{UserReader, read_user_struct};
use vfs::{CachedPlace, OpenRequest};

use super::lease::break_leases;
use crate::lookup::{PathBuffer, View, find_cached, start};
use crate::socket::linger::Lingering;
use crate::thread::Thread;
use crate::{SyscallError, SyscallResult, wait};

/// The flags that mean something with `O_PATH`.
const PATH_FLAGS: OpenFlags =
    OpenFlags::DIRECTORY.union(OpenFlags::NOFOLLOW).union(OpenFlags::PATH).union(OpenFlags::CLOEXEC);

/// What `open` and its relatives take: flags Linux does not know are ignored, as `open` always did.
fn lenient_request(flags: u32, mode: u32) -> Result<OpenRequest, Errno> {
    let mut flags = OpenFlags::from_bits_truncate(flags | OpenFlags::LARGEFILE.bits());
    let makes_file = flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE_ONLY);
    if flags.contains(OpenFlags::PATH) {
        flags &= PATH_FLAGS;
    }
    checked_request(OpenRequest {
        flags,
        mode: if makes_file { mode & S_IALLUGO } else { 0 },
        resolve: ResolveFlags::empty(),
    })
}

/// The combinations that no call takes.
fn checked_request(request: OpenRequest) -> Result<OpenRequest, Errno> {
    let flags = request.flags;
    if flags.contains(OpenFlags::TMPFILE_ONLY) {
        // The value 3 asks for both, and opens for neither.
        let is_writer = flags.access_mode() != AccessMode::ReadOnly;
        if !flags.contains(OpenFlags::DIRECTORY) || flags.contains(OpenFlags::CREAT) || !is_writer {
            return Err(Errno::EINVAL);
        }
    } else if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
        return Err(Errno::EINVAL);
    }
    Ok(request)
}

fn open_request(thread: &Thread, directory: Fd, path: UserPtr, request: &OpenRequest) -> SyscallResult {
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let fds = thread.fds();
    // First of all a number: without one, nothing is made.
    let reservation = fds.reserve(request.flags.contains(OpenFlags::CLOEXEC))?;
    let open = match open_cached(thread, directory, path, request)? {
        Some(open) => open,
        None => open_walked(thread, directory, path, request)?,
    };
    if open.is_path_only() {
        return Ok(number(reservation.install(open)));
    }
    // A FIFO waits for its other end, which may be long in coming.
    wait::until_ready(thread, &open, PollEvents::all(), || open.file().opening(&open))?;
    Ok(number(reservation.install(open)))
}

/// Opens what is there and known to the cache; none for anything else.
#[inline]
fn open_cached(
    thread: &Thread,
    directory: Fd,
    path: &[u8],
    request: &OpenRequest,
) -> Result<Option<Arc<OpenFile>>, Errno> {
    let Some(lookup) = vfs::lookup_of_existing(request) else { return Ok(None) };
    let mut found = CachedPlace::default();
    if !find_cached::<true>(thread, directory, path, lookup, &mut found)? {
        return Ok(None);
    }
    let Some(place) = found.into_path() else { return Ok(None) };
    match vfs::open_path(&thread.file_credentials(), place, request.flags) {
        // The long way waits for leases.
        Err(Errno::EAGAIN) => Ok(None),
        opened => opened.map(Some),
    }
}

#[inline(never)]
fn open_walked(
    thread: &Thread,
    directory: Fd,
    path: &[u8],
    request: &OpenRequest,
) -> Result<Arc<OpenFile>, SyscallError> {
    let view = View::of(thread);
    let start = start(thread, directory, path)?;
    let attempt = || vfs::open(&view.context, &view.credentials, start.as_ref(), path, request);
    let is_hurried = request.resolve.contains(ResolveFlags::CACHED) || request.flags.contains(OpenFlags::NONBLOCK);
    break_leases(thread, !is_hurried, attempt)
}

/// A descriptor as the result of a call.
pub(crate) fn number(fd: i32) -> usize {
    usize::try_from(fd).unwrap_or_default()
}

pub(crate) fn open(thread: &Thread, path: UserPtr, flags: u32, mode: u32) -> SyscallResult {
    open_request(thread, Fd::AT_FDCWD, path, &lenient_request(flags, mode)?)
}

pub(crate) fn openat(thread: &Thread, directory: Fd, path: UserPtr, flags: u32, mode: u32) -> SyscallResult {
    open_request(thread, directory, path, &lenient_request(flags, mode)?)
}

pub(crate) fn creat(thread: &Thread, path: UserPtr, mode: u32) -> SyscallResult {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    open_request(thread, Fd::AT_FDCWD, path, &lenient_request(flags.bits(), mode)?)
}

pub(crate) fn openat2(thread: &Thread, directory: Fd, path: UserPtr, how: UserPtr, size: usize) -> SyscallResult {
    if size < OPEN_HOW_SIZE_VER0 {
        return Err(Errno::EINVAL.into());
    }
    if size > PAGE_SIZE {
        return Err(Errno::E2BIG.into());
    }
    let arguments: OpenHow = read_user_struct(how.address())?;
    check_rest_is_zero(how, OPEN_HOW_SIZE_VER0, size)?;
    open_request(thread, directory, path, &strict_request(&arguments)?)
}

/// `E2BIG` when a structure longer than ours has anything in the part we do not know.
pub(super) fn check_rest_is_zero(structure: UserPtr, known: usize, size: usize) -> Result<(), Errno> {
    let rest = structure.checked_add(known).ok_or(Errno::EFAULT)?;
    let mut reader = UserReader::new(rest.address(), size - known)?;
    let mut bytes = [0; 64];
    while !reader.is_empty() {
        let len = bytes.len().min(reader.remaining());
        reader.read_exact(&mut bytes[..len])?;
        if bytes[..len].iter().any(|byte| *byte != 0) {
            return Err(Errno::E2BIG);
        }
    }
    Ok(())
}

/// What `openat2` takes: everything must make sense.
fn strict_request(how: &OpenHow) -> Result<OpenRequest, Errno> {
    let flags = u32::try_from(how.flags).ok().and_then(OpenFlags::from_bits).ok_or(Errno::EINVAL)?;
    let resolve = ResolveFlags::from_bits(how.resolve).ok_or(Errno::EINVAL)?;
    if resolve.contains(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
        return Err(Errno::EINVAL);
    }
    let makes_file = flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE_ONLY);
    let mode_mask = if makes_file { S_IALLUGO } else { 0 };
    let mode = u32::try_from(how.mode).ok().filter(|mode| mode & !mode_mask == 0).ok_or(Errno::EINVAL)?;
    if flags.contains(OpenFlags::PATH) && !PATH_FLAGS.contains(flags) {
        return Err(Errno::EINVAL);
    }
    let changes = OpenFlags::TRUNC | OpenFlags::CREAT | OpenFlags::TMPFILE_ONLY;
    if resolve.contains(ResolveFlags::CACHED) && flags.intersects(changes) {
        return Err(Errno::EAGAIN);
    }
    checked_request(OpenRequest { flags, mode, resolve })
}

pub(crate) fn close(thread: &Thread, fd: Fd) -> SyscallResult {
    let open = thread.fds().remove(fd.raw())?;
    match Lingering::of(&open) {
        None => drop(open),
        Some(lingering) => lingering.close(thread, open),
    }
    vfs::settle();
    Ok(0)
}

pub(crate) fn close_range(thread: &Thread, first: u32, last: u32, flags: u32) -> SyscallResult {
    let flags = CloseRangeFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    if first > last {
        return Err(Errno::EINVAL.into());
    }
    if flags.contains(CloseRangeFlags::UNSHARE) {
        thread.unshare_fds()?;
    }
    let fds = thread.fds();
    if flags.contains(CloseRangeFlags::CLOEXEC) {
        fds.mark_range_close_on_exec(first, last);
    } else {
        fds.close_range(first, last);
    }
    Ok(0)
}
