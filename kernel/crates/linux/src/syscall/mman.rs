//! Memory of the program.

use alloc::sync::Arc;

use abi::mman::MLOCK_ONFAULT;
use abi::{Errno, Fd, MapFlags, MlockallFlags, MremapFlags, MsyncFlags, OpenFlags, PAGE_SIZE, ProtFlags, UserPtr};
use file::OpenFile;
use mm::user::UserWriter;
use mm::{Backing, MapOptions, MapRequest, Rights, Sharing};
use vfs::{MountFlags, VnodeFile};

use crate::SyscallResult;
use crate::lookup::file_as;
use crate::thread::Thread;

/// Pages `mincore` answers for at a time.
const MINCORE_BATCH: usize = 4096;

/// The protection bits mmap looks at; it ignores the others.
fn map_rights(protection: u64) -> Rights {
    let low = u32::try_from(protection & u64::from(u32::MAX)).unwrap_or_default();
    Rights::from_protection(ProtFlags::from_bits_truncate(low))
}

pub(crate) fn mmap(
    thread: &Thread,
    address: usize,
    length: usize,
    protection: u64,
    flags: u64,
    fd: Fd,
    offset: u64,
) -> SyscallResult {
    if !offset.is_multiple_of(PAGE_SIZE as u64) {
        return Err(Errno::EINVAL.into());
    }
    let low = u32::try_from(flags & u64::from(u32::MAX)).unwrap_or_default();
    let flags = MapFlags::from_bits_retain(low);
    let is_anonymous = flags.contains(MapFlags::ANONYMOUS);
    let open = if is_anonymous { None } else { Some(thread.fds().get(fd.raw())?.to_arc()) };
    let (sharing, options) = MapOptions::from_flags(flags, is_anonymous)?;
    let backing = match &open {
        None => Backing::Anonymous,
        Some(open) => file_backing(open, offset, map_rights(protection), sharing)?,
    };
    let request = MapRequest { address, length, rights: map_rights(protection), sharing, options, backing };
    Ok(thread.address_space().map(request)?)
}

/// The pages of an open file, and what may be done with them.
fn file_backing(open: &Arc<OpenFile>, offset: u64, rights: Rights, sharing: Sharing) -> Result<Backing, Errno> {
    let mut access = Rights::empty();
    access.set(Rights::READ, open.is_readable());
    access.set(Rights::WRITE, open.is_writable());
    let place = vfs::path_of(open);
    access.set(Rights::EXECUTE, !place.mount.flags().contains(MountFlags::NO_EXECUTE));
    if !open.is_readable() && !open.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EACCES);
    }
    if sharing == Sharing::Shared && access.contains(Rights::WRITE) {
        // What is only written at its end.
        place.inode().metadata().check_may_cut().map_err(|_| Errno::EACCES)?;
    }
    if sharing == Sharing::Shared
        && access.contains(Rights::WRITE)
        && let Some(object) = file_as::<VnodeFile>(open).and_then(|file| file.mapping_for_stores(open))
    {
        match object {
            Ok(object) => return Ok(Backing::File { object, offset, access }),
            Err(errno) if rights.contains(Rights::WRITE) => return Err(errno),
            Err(_) => access.remove(Rights::WRITE),
        }
    }
    Ok(Backing::File { object: open.file().mapping(open)?, offset, access })
}

pub(crate) fn munmap(thread: &Thread, address: usize, length: usize) -> SyscallResult {
    thread.address_space().unmap(address, length)?;
    Ok(0)
}

pub(crate) fn mprotect(thread: &Thread, address: usize, length: usize, protection: u64) -> SyscallResult {
    let protection = u32::try_from(protection).ok().and_then(ProtFlags::from_bits).ok_or(Errno::EINVAL)?;
    thread.address_space().protect(address, length, protection)?;
    Ok(0)
}

pub(crate) fn mremap(
    thread: &Thread,
    address: usize,
    old_length: usize,
    new_length: usize,
    flags: u64,
    new_address: usize,
) -> SyscallResult {
    let flags = u32::try_from(flags).ok().and_then(MremapFlags::from_bits).ok_or(Errno::EINVAL)?;
    Ok(thread.address_space().remap(address, old_length, new_length, flags, new_address)?)
}

pub(crate) fn brk(thread: &Thread, address: usize) -> SyscallResult {
    Ok(thread.address_space().brk(address))
}

pub(crate) fn madvise(thread: &Thread, address: usize, length: usize, advice: u32) -> SyscallResult {
    thread.address_space().advise(address, length, advice)?;
    Ok(0)
}

pub(crate) fn msync(thread: &Thread, address: usize, length: usize, flags: u32) -> SyscallResult {
    let flags = MsyncFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    thread.address_space().synchronize(address, length, flags)?;
    Ok(0)
}

pub(crate) fn mincore(thread: &Thread, address: usize, length: usize, vector: UserPtr) -> SyscallResult {
    let space = thread.address_space();
    if !address.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    let pages = length.div_ceil(PAGE_SIZE);
    if address.checked_add(length).is_none_or(|end| end > mm::USER_END) {
        return Err(Errno::ENOMEM.into());
    }
    let mut answer = UserWriter::new(vector.address(), pages)?;
    let mut done = 0;
    while done < pages {
        let batch = MINCORE_BATCH.min(pages - done);
        let residency = space.residency(address + done * PAGE_SIZE, batch * PAGE_SIZE)?;
        answer.write_all(&residency)?;
        done += batch;
    }
    Ok(0)
}

pub(crate) fn mlock(thread: &Thread, address: usize, length: usize) -> SyscallResult {
    thread.address_space().lock(address, length, false)?;
    Ok(0)
}

pub(crate) fn mlock2(thread: &Thread, address: usize, length: usize, flags: u32) -> SyscallResult {
    if flags & !MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL.into());
    }
    thread.address_space().lock(address, length, flags & MLOCK_ONFAULT != 0)?;
    Ok(0)
}

pub(crate) fn munlock(thread: &Thread, address: usize, length: usize) -> SyscallResult {
    thread.address_space().unlock(address, length)?;
    Ok(0)
}

pub(crate) fn mlockall(thread: &Thread, flags: u32) -> SyscallResult {
    let flags = MlockallFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    thread.address_space().lock_all(flags)?;
    Ok(0)
}

pub(crate) fn munlockall(thread: &Thread) -> SyscallResult {
    thread.address_space().unlock_all();
    Ok(0)
}
