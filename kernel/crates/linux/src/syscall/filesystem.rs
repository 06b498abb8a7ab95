//! What is asked of a file system as a whole, and advice about the storage of a file.

use abi::open::{POSIX_FADV_DONTNEED, POSIX_FADV_NOREUSE, POSIX_FADV_NORMAL, POSIX_FADV_WILLNEED};
use abi::stat::{S_IFDIR, S_IFIFO, S_IFMT, S_IFREG};
use abi::{Cachestat, CachestatRange, Errno, FallocateFlags, Fd, UserPtr};
use file::OpenFile;
use mm::user::{read_user_struct, write_user_struct};
use vfs::VnodeFile;

use super::read_write::limit_size;
use crate::SyscallResult;
use crate::lookup::file_as;
use crate::thread::Thread;

pub(crate) fn fsync(thread: &Thread, fd: Fd) -> SyscallResult {
    let open = thread.fds().get(fd.raw())?;
    open.file().sync(false)?;
    Ok(0)
}

pub(crate) fn fdatasync(thread: &Thread, fd: Fd) -> SyscallResult {
    let open = thread.fds().get(fd.raw())?;
    open.file().sync(true)?;
    Ok(0)
}

pub(crate) fn sync(_thread: &Thread) -> SyscallResult {
    // There is no way to tell of an error.
    vfs::sync_all();
    Ok(0)
}

pub(crate) fn syncfs(thread: &Thread, fd: Fd) -> SyscallResult {
    let open = thread.fds().get(fd.raw())?;
    vfs::path_of(&open).mount.file_system().sync()?;
    Ok(0)
}

pub(crate) fn sync_file_range(thread: &Thread, fd: Fd, offset: i64, length: i64, flags: u32) -> SyscallResult {
    /// `SYNC_FILE_RANGE_WAIT_BEFORE`, `_WRITE` and `_WAIT_AFTER`.
    const KNOWN: u32 = 7;
    const WRITE: u32 = 2;
    let open = thread.fds().get(fd.raw())?;
    let is_range = offset >= 0 && length >= 0 && offset.checked_add(length).is_some();
    if flags & !KNOWN != 0 || !is_range {
        return Err(Errno::EINVAL.into());
    }
    if !matches!(open.file().attributes()?.mode & S_IFMT, S_IFREG | abi::stat::S_IFBLK | S_IFDIR | abi::stat::S_IFLNK) {
        return Err(Errno::ESPIPE.into());
    }
    match file_as::<VnodeFile>(&open).and_then(VnodeFile::page_cache) {
        Some((cache, store)) if flags & WRITE != 0 => {
            let (first, end) = page_range(offset, length);
            cache.write_back(store, first, end)?;
        }
        // What was written before is on the disk already: nothing is on its way when a call returns.
        Some(_) => {}
        None => open.file().sync(true)?,
    }
    Ok(0)
}

/// The pages of a range whose parts are not negative; a length of 0 means to the end.
fn page_range(offset: i64, length: i64) -> (u64, u64) {
    const PAGE: u64 = abi::PAGE_SIZE as u64;
    let end = if length == 0 { i64::MAX } else { offset.saturating_add(length) };
    (offset.unsigned_abs() / PAGE, end.unsigned_abs().div_ceil(PAGE))
}

pub(crate) fn fallocate(thread: &Thread, fd: Fd, mode: u32, offset: i64, length: i64) -> SyscallResult {
    let open = thread.fds().get(fd.raw())?;
    let (Ok(offset), Ok(length @ 1..)) = (u64::try_from(offset), u64::try_from(length)) else {
        return Err(Errno::EINVAL.into());
    };
    let flags = FallocateFlags::from_bits(mode).ok_or(Errno::EOPNOTSUPP)?;
    check_fallocate_mode(flags)?;
    if !open.is_writable() {
        return Err(Errno::EBADF.into());
    }
    match open.file().attributes()?.mode & S_IFMT {
        S_IFREG => {}
        S_IFIFO => return Err(Errno::ESPIPE.into()),
        S_IFDIR => return Err(Errno::EISDIR.into()),
        _ => return Err(Errno::ENODEV.into()),
    }
    let end = offset.checked_add(length).ok_or(Errno::EFBIG)?;
    i64::try_from(end).map_err(|_| Errno::EFBIG)?;
    if !flags.contains(FallocateFlags::KEEP_SIZE) {
        limit_size(thread, open.file().attributes()?.size, end)?;
    }
    open.file().allocate(&open, mode, offset, length)?;
    Ok(0)
}

/// The combinations Linux takes.
fn check_fallocate_mode(flags: FallocateFlags) -> Result<(), Errno> {
    let keeps_size = flags.contains(FallocateFlags::KEEP_SIZE);
    let operation = flags - FallocateFlags::KEEP_SIZE;
    let is_known = match operation {
        FallocateFlags::PUNCH_HOLE => keeps_size,
        FallocateFlags::COLLAPSE_RANGE | FallocateFlags::INSERT_RANGE => !keeps_size,
        FallocateFlags::ZERO_RANGE | FallocateFlags::UNSHARE_RANGE => true,
        other => other.is_empty(),
    };
    if is_known { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

pub(crate) fn fadvise64(thread: &Thread, fd: Fd, offset: i64, length: i64, advice: i32) -> SyscallResult {
    let open = thread.fds().get(fd.raw())?;
    if open.file().attributes()?.mode & S_IFMT == S_IFIFO {
        return Err(Errno::ESPIPE.into());
    }
    let is_known = u32::try_from(advice).is_ok_and(|advice| (POSIX_FADV_NORMAL..=POSIX_FADV_NOREUSE).contains(&advice));
    if length < 0 || !is_known {
        return Err(Errno::EINVAL.into());
    }
    let Some((cache, store)) = file_as::<VnodeFile>(&open).and_then(VnodeFile::page_cache) else { return Ok(0) };
    let (first, end) = page_range(offset.max(0), length);
    // Advice that cannot be taken is no error.
    match u32::try_from(advice) {
        Ok(POSIX_FADV_WILLNEED) => drop(cache.read_ahead(store, first, end)),
        Ok(POSIX_FADV_DONTNEED) => {
            let _ = cache.write_back(store, first, end);
            cache.drop_range(first, end);
        }
        _ => {}
    }
    Ok(0)
}

pub(crate) fn readahead(thread: &Thread, fd: Fd, offset: i64, count: usize) -> SyscallResult {
    let open = thread.fds().get(fd.raw())?;
    if !open.is_readable() {
        return Err(Errno::EBADF.into());
    }
    if open.file().attributes()?.mode & S_IFMT != S_IFREG || offset < 0 {
        return Err(Errno::EINVAL.into());
    }
    if let Some((cache, store)) = file_as::<VnodeFile>(&open).and_then(VnodeFile::page_cache)
        && count > 0
    {
        let (first, end) = page_range(offset, i64::try_from(count).unwrap_or(i64::MAX));
        // What cannot be read now will be found out by who reads it.
        let _ = cache.read_ahead(store, first, end);
    }
    Ok(0)
}

pub(crate) fn cachestat(thread: &Thread, fd: Fd, range: UserPtr, result: UserPtr, flags: u32) -> SyscallResult {
    let open = thread.fds().get(fd.raw())?;
    let range: CachestatRange = read_user_struct(range.address())?;
    let attributes = open.file().attributes()?;
    // Only who could find out by changing the file is told about it.
    let credentials = thread.file_credentials();
    let may_know = open.is_writable() || credentials.owns(attributes.uid) || may_write(&open, &credentials);
    if !may_know {
        return Err(Errno::EPERM.into());
    }
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let page = abi::PAGE_SIZE as u64;
    let end = match range.len {
        0 => u64::MAX,
        len => (range.off.wrapping_add(len - 1) / page).saturating_add(1),
    };
    let counts =
        file_as::<VnodeFile>(&open).map_or_else(Default::default, |file| file.count_cached(range.off / page, end));
    let answer = Cachestat { nr_cache: counts.cached, nr_dirty: counts.dirty, ..Cachestat::default() };
    write_user_struct(result.address(), &answer)?;
    Ok(0)
}

fn may_write(open: &OpenFile, credentials: &vfs::Credentials) -> bool {
    file_as::<VnodeFile>(open)
        .is_some_and(|file| vfs::access(credentials, file.path(), abi::AccessRights::W_OK).is_ok())
}
