//! `FS_IOC_FIEMAP`: where the contents of a file are on its disk.
//!
//! As on Linux the last extent that is told of is marked as such, if nothing of what was asked for is behind it; with
//! room for none they are only counted. Extended attributes are not told of (`EBADR`).

use abi::Errno;
use abi::fiemap::{FIEMAP_EXTENT_LAST, FIEMAP_FLAG_CACHE, FIEMAP_FLAG_SYNC, Fiemap, FiemapExtent};
use mm::user::{read_user_struct, write_user_struct};
use vfs::{FileExtent, VnodeFile};

use crate::SyscallResult;

/// The most extents that can be asked for: with what is in front of them they have a number of bytes of 32 bits
/// (`FIEMAP_MAX_EXTENTS`).
const EXTENTS_MAX: u32 = u32::MAX / 56;

/// The extents of one call, on their way to the program.
struct Told {
    /// Where the next one goes.
    address: usize,
    room: u32,
    count: u32,
    /// Known to be there; whether it is the last is not.
    held: Option<FileExtent>,
}

impl Told {
    /// Whether there is room for more.
    fn tell(&mut self, extent: FileExtent, flags: u32) -> Result<bool, Errno> {
        if self.room > 0 {
            if self.count >= self.room {
                return Ok(false);
            }
            let entry = FiemapExtent {
                fe_logical: extent.start,
                fe_physical: extent.on_disk,
                fe_length: extent.len,
                fe_flags: extent.flags | flags,
                ..FiemapExtent::default()
            };
            write_user_struct(self.address, &entry)?;
            self.address = self.address.checked_add(size_of::<FiemapExtent>()).ok_or(Errno::EFAULT)?;
        }
        self.count = self.count.saturating_add(1);
        Ok(self.room == 0 || self.count < self.room)
    }

    /// Tells of the one before.
    fn next(&mut self, extent: FileExtent) -> Result<bool, Errno> {
        match self.held.replace(extent) {
            Some(before) => self.tell(before, 0),
            None => Ok(true),
        }
    }
}

pub(super) fn fiemap(file: &VnodeFile, address: usize) -> SyscallResult {
    // Where nothing can be told at all that is said first.
    file.path().inode().extents(0, 0, &mut |_| true)?;
    let mut request: Fiemap = read_user_struct(address)?;
    if request.fm_extent_count > EXTENTS_MAX {
        return Err(Errno::EINVAL.into());
    }
    let first = address.checked_add(size_of::<Fiemap>()).ok_or(Errno::EFAULT)?;
    let mut told = Told { address: first, room: request.fm_extent_count, count: 0, held: None };
    let result = tell_all(file, &mut request, &mut told);
    request.fm_mapped_extents = told.count;
    write_user_struct(address, &request)?;
    result?;
    Ok(0)
}

fn tell_all(file: &VnodeFile, request: &mut Fiemap, told: &mut Told) -> Result<(), Errno> {
    let inode = file.path().inode();
    if request.fm_length == 0 {
        return Err(Errno::EINVAL);
    }
    request.fm_flags &= !FIEMAP_FLAG_CACHE;
    let unknown = request.fm_flags & !FIEMAP_FLAG_SYNC;
    if unknown != 0 {
        inode.extents(request.fm_start, request.fm_start, &mut |_| true)?;
        request.fm_flags = unknown;
        return Err(Errno::EBADR);
    }
    if request.fm_flags & FIEMAP_FLAG_SYNC != 0
        && let Some((cache, store)) = inode.page_cache()
    {
        cache.write_back(store, 0, u64::MAX)?;
    }
    let end = request.fm_start.saturating_add(request.fm_length);
    let mut outcome = Ok(true);
    inode.extents(request.fm_start, end, &mut |extent| {
        outcome = told.next(extent);
        matches!(outcome, Ok(true))
    })?;
    match (outcome?, told.held) {
        (true, Some(last)) => told.tell(last, FIEMAP_EXTENT_LAST).map(drop),
        _ => Ok(()),
    }
}
