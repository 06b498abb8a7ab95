//! Attributes of files as programs see them: `stat`, `statx`, `access`, `statfs`.

use alloc::sync::Arc;

use abi::stat::{ANON_INODE_FS_MAGIC, PIPEFS_MAGIC, S_IFIFO, S_IFMT, device_major, device_minor};
use abi::{AccessRights, AtFlags, Errno, Fd, Stat, Statfs, Statx, StatxMask, StatxTimestamp, Timespec, UserPtr};
use file::Attributes;
use mm::user::write_user_struct;
use vfs::{CachedPlace, FileSystemStatistics, Lookup};

use crate::SyscallResult;
use crate::lookup::{PathBuffer, View, at_flags, find_cached, locate, locate_open, locate_with, start};
use crate::thread::Thread;

/// How fresh the attributes of a network file system are to be; there is only one answer here.
const STATX_SYNC_TYPE: AtFlags = AtFlags::STATX_FORCE_SYNC.union(AtFlags::STATX_DONT_SYNC);

/// A number as C's signed type of the same width.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn stat_of(attributes: &Attributes) -> Stat {
    Stat {
        st_dev: attributes.device,
        st_ino: attributes.inode,
        st_nlink: u64::from(attributes.links),
        st_mode: attributes.mode,
        st_uid: attributes.uid,
        st_gid: attributes.gid,
        st_rdev: attributes.represents,
        st_size: signed(attributes.size),
        st_blksize: i64::from(attributes.block_size),
        st_blocks: signed(attributes.blocks),
        st_atime: attributes.accessed.tv_sec,
        st_atime_nsec: attributes.accessed.tv_nsec,
        st_mtime: attributes.modified.tv_sec,
        st_mtime_nsec: attributes.modified.tv_nsec,
        st_ctime: attributes.changed.tv_sec,
        st_ctime_nsec: attributes.changed.tv_nsec,
        ..Stat::zeroed()
    }
}

#[inline]
fn write_stat(attributes: &Attributes, status: UserPtr) -> SyscallResult {
    write_user_struct(status.address(), &stat_of(attributes))?;
    Ok(0)
}

/// The `stat` of a path that is not empty.
#[inline(always)]
fn stat_path(thread: &Thread, directory: Fd, path: UserPtr, follows: bool, status: UserPtr) -> SyscallResult {
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let mut found = CachedPlace::default();
    if find_cached::<false>(thread, directory, path, Lookup::empty(), &mut found)?
        && let Some(attributes) = found.attributes()
    {
        return write_stat(&attributes, status);
    }
    stat_walked(thread, directory, path, follows, status)
}

/// As [`stat_path`] for what the cache does not know, and for links.
#[inline(never)]
fn stat_walked(thread: &Thread, directory: Fd, path: &[u8], follows: bool, status: UserPtr) -> SyscallResult {
    let start = start(thread, directory, path)?;
    let place = View::of(thread).resolve(start.as_ref(), path, follows)?;
    write_stat(&vfs::stat(&place), status)
}

pub(crate) fn stat(thread: &Thread, path: UserPtr, status: UserPtr) -> SyscallResult {
    stat_path(thread, Fd::AT_FDCWD, path, true, status)
}

pub(crate) fn lstat(thread: &Thread, path: UserPtr, status: UserPtr) -> SyscallResult {
    stat_path(thread, Fd::AT_FDCWD, path, false, status)
}

pub(crate) fn fstat(thread: &Thread, fd: Fd, status: UserPtr) -> SyscallResult {
    let open = thread.fds().get_any(fd.raw())?;
    write_stat(&open.file().attributes()?, status)
}

pub(crate) fn newfstatat(thread: &Thread, directory: Fd, path: UserPtr, status: UserPtr, flags: u32) -> SyscallResult {
    let known = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH | STATX_SYNC_TYPE;
    let flags = at_flags(flags, known)?;
    if !flags.contains(AtFlags::EMPTY_PATH) {
        return stat_path(thread, directory, path, !flags.contains(AtFlags::SYMLINK_NOFOLLOW), status);
    }
    let place = locate_or_open(thread, &View::of(thread), directory, path, flags)?;
    write_stat(&vfs::stat(&place), status)
}

/// As [`locate_with`], but with `AT_EMPTY_PATH` no path at all will do.
fn locate_or_open(
    thread: &Thread,
    view: &View,
    directory: Fd,
    path: UserPtr,
    flags: AtFlags,
) -> Result<vfs::PathRef, Errno> {
    if path.is_null() && flags.contains(AtFlags::EMPTY_PATH) {
        return locate_open(thread, view, directory);
    }
    locate_with(thread, view, directory, path, flags)
}

fn timestamp(time: Timespec) -> StatxTimestamp {
    StatxTimestamp { tv_sec: time.tv_sec, tv_nsec: u32::try_from(time.tv_nsec).unwrap_or_default(), _reserved: 0 }
}

/// Flags of files, which have the same numbers there.
const STATX_FLAGS: u64 = abi::stat::STATX_ATTR_COMPRESSED
    | abi::stat::STATX_ATTR_IMMUTABLE
    | abi::stat::STATX_ATTR_APPEND
    | abi::stat::STATX_ATTR_NODUMP
    | abi::stat::STATX_ATTR_ENCRYPTED
    | abi::stat::STATX_ATTR_VERITY;

pub(crate) fn statx(
    thread: &Thread,
    directory: Fd,
    path: UserPtr,
    flags: u32,
    mask: u32,
    status: UserPtr,
) -> SyscallResult {
    if mask & StatxMask::RESERVED.bits() != 0 {
        return Err(Errno::EINVAL.into());
    }
    let known = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH | STATX_SYNC_TYPE;
    let flags = at_flags(flags, known)?;
    if flags.contains(STATX_SYNC_TYPE) {
        return Err(Errno::EINVAL.into());
    }
    let place = locate_or_open(thread, &View::of(thread), directory, path, flags)?;
    let attributes = vfs::stat(&place);
    let tells_unique = mask & StatxMask::MNT_ID_UNIQUE.bits() != 0;
    let tells_birth = mask & StatxMask::BTIME.bits() != 0;
    let mut answered = StatxMask::BASIC_STATS;
    answered |= if tells_unique { StatxMask::MNT_ID_UNIQUE } else { StatxMask::MNT_ID };
    answered.set(StatxMask::BTIME, tells_birth && attributes.created.is_some());
    // Only told to who asks, and where the contents are on a disk.
    let is_on_disk = place.inode().page_cache().is_some();
    let tells_direct = mask & StatxMask::DIOALIGN.bits() != 0 && is_on_disk;
    answered.set(StatxMask::DIOALIGN, tells_direct);
    let alignment = if tells_direct { vfs::DIRECT_ALIGNMENT } else { 0 };
    let (told, file_flags) = place.inode().flags_told();
    let is_mount_root = Arc::ptr_eq(&place.dentry, place.mount.root());
    let answer = Statx {
        stx_mask: answered.bits(),
        stx_blksize: attributes.block_size,
        stx_attributes: u64::from(file_flags) & STATX_FLAGS
            | if is_mount_root { abi::stat::STATX_ATTR_MOUNT_ROOT } else { 0 },
        stx_attributes_mask: abi::stat::STATX_ATTR_MOUNT_ROOT
            | abi::stat::STATX_ATTR_AUTOMOUNT
            | abi::stat::STATX_ATTR_DAX
            | u64::from(told) & STATX_FLAGS,
        stx_nlink: attributes.links,
        stx_uid: attributes.uid,
        stx_gid: attributes.gid,
        stx_mode: u16::try_from(attributes.mode).unwrap_or_default(),
        stx_ino: attributes.inode,
        stx_size: attributes.size,
        stx_blocks: attributes.blocks,
        stx_atime: timestamp(attributes.accessed),
        stx_btime: attributes.created.filter(|_| tells_birth).map(timestamp).unwrap_or_default(),
        stx_ctime: timestamp(attributes.changed),
        stx_mtime: timestamp(attributes.modified),
        stx_rdev_major: device_major(attributes.represents),
        stx_rdev_minor: device_minor(attributes.represents),
        stx_dev_major: device_major(attributes.device),
        stx_dev_minor: device_minor(attributes.device),
        stx_mnt_id: if tells_unique { place.mount.unique_id() } else { u64::from(place.mount.id()) },
        stx_dio_mem_align: alignment,
        stx_dio_offset_align: alignment,
        ..Statx::zeroed()
    };
    write_user_struct(status.address(), &answer)?;
    Ok(0)
}

// ---- Permission -----------------------------------------------------------------------------------------------------

fn check_access(thread: &Thread, directory: Fd, path: UserPtr, mode: u32, flags: u32) -> SyscallResult {
    let rights = AccessRights::from_bits(mode).ok_or(Errno::EINVAL)?;
    let flags = at_flags(flags, AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
    let mut view = View::of(thread);
    if !flags.contains(AtFlags::EACCESS) {
        let real = thread.credentials();
        let credentials = Arc::make_mut(&mut view.credentials);
        credentials.uid = real.user.real;
        credentials.gid = real.group.real;
        let capabilities = if real.user.real == 0 { real.capabilities.permitted } else { 0 };
        credentials.capabilities = vfs::Capabilities::from_bits_retain(capabilities);
    }
    let place = locate_with(thread, &view, directory, path, flags)?;
    vfs::access(&view.credentials, &place, rights)?;
    Ok(0)
}

pub(crate) fn access(thread: &Thread, path: UserPtr, mode: u32) -> SyscallResult {
    check_access(thread, Fd::AT_FDCWD, path, mode, 0)
}

pub(crate) fn faccessat(thread: &Thread, directory: Fd, path: UserPtr, mode: u32) -> SyscallResult {
    check_access(thread, directory, path, mode, 0)
}

pub(crate) fn faccessat2(thread: &Thread, directory: Fd, path: UserPtr, mode: u32, flags: u32) -> SyscallResult {
    check_access(thread, directory, path, mode, flags)
}

// ---- File systems ---------------------------------------------------------------------------------------------------

fn write_statfs(statistics: &FileSystemStatistics, buffer: UserPtr) -> SyscallResult {
    let half = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default().cast_signed();
    let answer = Statfs {
        f_type: signed(statistics.magic),
        f_bsize: signed(statistics.block_size),
        f_blocks: statistics.blocks,
        f_bfree: statistics.blocks_free,
        f_bavail: statistics.blocks_available,
        f_files: statistics.files,
        f_ffree: statistics.files_free,
        f_fsid: [half(statistics.id), half(statistics.id >> 32)],
        f_namelen: signed(statistics.name_len_max),
        f_frsize: signed(statistics.block_size),
        f_flags: signed(statistics.flags),
        ..Statfs::zeroed()
    };
    write_user_struct(buffer.address(), &answer)?;
    Ok(0)
}

pub(crate) fn statfs(thread: &Thread, path: UserPtr, buffer: UserPtr) -> SyscallResult {
    let place = locate(thread, &View::of(thread), Fd::AT_FDCWD, path, true)?;
    write_statfs(&vfs::statfs(&place), buffer)
}

pub(crate) fn fstatfs(thread: &Thread, fd: Fd, buffer: UserPtr) -> SyscallResult {
    let open = thread.fds().get_any(fd.raw())?;
    let mut statistics = vfs::statfs(&vfs::path_of(&open));
    if statistics.magic == ANON_INODE_FS_MAGIC.unsigned_abs() && open.file().attributes()?.mode & S_IFMT == S_IFIFO {
        statistics.magic = PIPEFS_MAGIC.unsigned_abs();
    }
    write_statfs(&statistics, buffer)
}
