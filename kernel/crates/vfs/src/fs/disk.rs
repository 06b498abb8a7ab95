//! Disks and partitions as files: `/dev/vda`, `/dev/vda1`.
//!
//! A [`DiskFile`] has the contents of a volume in a [`PageCache`], one for all who open it. Writes reach the disk with `fsync`,
//! after some time, and when too much of memory is dirty. The file system on a mounted volume has caches of its own: writing to the volume beneath it
//! breaks it, as on Linux, and what is read here may be older than what the file system has.
//!
//! The volume's number finds it again: [`volume_of`]. Which partitions there are is decided by [`super::partitions`].

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Deref;

use abi::{Errno, OpenFlags};
use block::{SECTOR_LEN, Segment, Volume};
use file::{Attributes, CallFlags, File, IoResult, OpenFile, Progress};
use mm::object::{MappedObject, Mappings};
use mm::user::{UserReader, UserWriter, read_user_struct, write_user_struct};
use mm::{Frame, PAGE_SIZE};
use sync::atomic::{AtomicU32, Ordering};
use sync::{Mutex, rank};

use crate::page_cache::direct::check_aligned;
use crate::page_cache::{ErrorMark, PageCache, PageStore};
use crate::write_back::{self, Cached};
use crate::{FileKind, PathRef, device, path_name};

use super::partitions;

/// The most volumes.
const VOLUMES_MAX: usize = 1024;
/// How often a volume is used that is none any more.
const GONE: u32 = u32::MAX;
/// Sectors in a page.
const PAGE_SECTORS: u64 = (PAGE_SIZE / SECTOR_LEN) as u64;

/// `ioctl` commands of block devices (`linux/fs.h`).
mod command {
    pub(super) const IS_READ_ONLY: u32 = 0x125e;
    pub(super) const REREAD_TABLE: u32 = 0x125f;
    pub(super) const SECTORS: u32 = 0x1260;
    pub(super) const FLUSH_BUFFERS: u32 = 0x1261;
    pub(super) const SECTORS_MAX: u32 = 0x1267;
    pub(super) const LOGICAL_BLOCK_LEN: u32 = 0x1268;
    pub(super) const DISCARD: u32 = 0x1277;
    pub(super) const TRANSFER_LEN_MIN: u32 = 0x1278;
    pub(super) const TRANSFER_LEN_BEST: u32 = 0x1279;
    pub(super) const ALIGNMENT_OFFSET: u32 = 0x127a;
    pub(super) const PHYSICAL_BLOCK_LEN: u32 = 0x127b;
    pub(super) const DISCARD_ZEROES: u32 = 0x127c;
    pub(super) const IS_ROTATIONAL: u32 = 0x127e;
    pub(super) const ZERO_OUT: u32 = 0x127f;
    pub(super) const CACHED_BLOCK_LEN: u32 = 0x8008_1270;
    pub(super) const LEN_BYTES: u32 = 0x8008_1272;
}

static VOLUMES: Mutex<Vec<Arc<Contents>>> = Mutex::new(rank::DENTRIES, Vec::new());
/// The volumes that somebody has to himself.
static CLAIMS: Mutex<Vec<Claimed>> = Mutex::new(rank::DENTRIES, Vec::new());

/// A volume that somebody has to himself.
struct Claimed {
    volume: u64,
    disk: u64,
}

/// A volume for one alone, as long as this lives: a mounted file system, or an open file with `O_EXCL`.
pub(crate) struct Claim {
    contents: InUse,
}

impl Claim {
    /// The number of the volume.
    pub(crate) fn number(&self) -> u64 {
        self.contents.volume.number()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let number = self.number();
        // Whatever the cache has is older than what was written meanwhile.
        self.contents.cache.punch(0, u64::MAX);
        CLAIMS.lock().retain(|claimed| claimed.volume != number);
    }
}

/// Takes a volume for one alone; `EBUSY` when somebody has it, the disk it is part of, or a part of it. What was written to
/// it as a file is on the disk then.
pub(crate) fn claim(volume: &Volume) -> Result<Claim, Errno> {
    let contents = contents_of(volume.number()).ok_or(Errno::ENXIO)?.begin_use()?;
    if !contents.volume.is_same_place(volume) {
        return Err(Errno::ENXIO);
    }
    let (number, disk) = (volume.number(), volume.disk().number());
    {
        let mut claims = CLAIMS.lock();
        let is_taken = |claimed: &Claimed| {
            claimed.volume == number || claimed.disk == disk && (claimed.volume == disk || number == disk)
        };
        if claims.iter().any(is_taken) {
            return Err(Errno::EBUSY);
        }
        claims.push(Claimed { volume: number, disk });
    }
    let claim = Claim { contents };
    claim.contents.cache.write_back(&*claim.contents, 0, u64::MAX)?;
    Ok(claim)
}

/// Makes a volume known: it can be opened and mounted by its number.
pub fn register(volume: &Volume) -> Result<(), Errno> {
    let contents = Arc::new(Contents {
        volume: volume.clone(),
        cache: PageCache::new(),
        writers: Mutex::new(rank::INODES, ()),
        uses: AtomicU32::new(0),
    });
    {
        let mut volumes = VOLUMES.lock();
        if volumes.len() >= VOLUMES_MAX {
            return Err(Errno::ENOSPC);
        }
        // Behind the others of its disk.
        let before = volumes.iter().rposition(|other| other.volume.disk().number() == volume.disk().number());
        let end = volumes.len();
        volumes.insert(before.map_or(end, |before| before + 1), contents.clone());
    }
    let cached: Weak<dyn Cached> = Arc::downgrade(&contents) as _;
    write_back::register(cached);
    let open = move |path: &PathRef, flags: OpenFlags| {
        if flags.access_mode().can_write() && contents.volume.is_read_only() {
            return Err(Errno::EACCES);
        }
        let claim = if flags.contains(OpenFlags::EXCL) { Some(claim(&contents.volume)?) } else { None };
        let errors = contents.cache.error_mark();
        let file = DiskFile { contents: contents.begin_use()?, path: path.clone(), claim, errors };
        Ok(Arc::new(file) as Arc<dyn File>)
    };
    device::register(FileKind::BlockDevice, volume.number(), Arc::new(open))
}

/// The volume with this device number.
pub fn volume_of(number: u64) -> Option<Volume> {
    contents_of(number).map(|contents| contents.volume.clone())
}

/// Takes the partitions of a disk away if none is in use, and what was written to them is on the disk then; their
/// numbers. `EBUSY` otherwise, or when somebody has the whole disk to himself.
pub(super) fn take_partitions(disk: u64, is_own_claim: bool) -> Result<Vec<u64>, Errno> {
    if !is_own_claim && CLAIMS.lock().iter().any(|claimed| claimed.volume == disk) {
        return Err(Errno::EBUSY);
    }
    let gone = {
        let mut volumes = VOLUMES.lock();
        let is_part = |contents: &Contents| contents.volume.disk().number() == disk && contents.volume.number() != disk;
        let parts = || volumes.iter().filter(|contents| is_part(contents));
        if let Some(busy) = parts().position(|part| !part.try_end()) {
            parts().take(busy).for_each(|part| part.uses.store(0, Ordering::Release));
            return Err(Errno::EBUSY);
        }
        let gone: Vec<_> = parts().cloned().collect();
        volumes.retain(|contents| !is_part(contents));
        gone
    };
    for part in &gone {
        device::unregister(FileKind::BlockDevice, part.volume.number());
        if let Err(errno) = part.synchronize() {
            log::error!("{}: writing failed: {errno}", part.volume.disk().name());
        }
    }
    Ok(gone.iter().map(|part| part.volume.number()).collect())
}

fn contents_of(number: u64) -> Option<Arc<Contents>> {
    VOLUMES.lock().iter().find(|contents| contents.volume.number() == number).cloned()
}

/// All volumes, in the order in which they were found.
pub fn volumes() -> Vec<Volume> {
    VOLUMES.lock().iter().map(|contents| contents.volume.clone()).collect()
}

/// Brings to the disks what was written to them as files.
pub(crate) fn synchronize_all() {
    let all = VOLUMES.lock().clone();
    for contents in all.iter().filter(|contents| contents.cache.is_dirty()) {
        if let Err(errno) = contents.synchronize() {
            log::error!("{}: writing failed: {errno}", contents.volume.disk().name());
        }
    }
}

/// What all who have a volume open share.
struct Contents {
    volume: Volume,
    cache: PageCache,
    /// Held by writers.
    writers: Mutex<()>,
    /// Open files and claims; [`GONE`] for a partition that is none any more.
    uses: AtomicU32,
}

/// A volume that somebody uses: as long as this lives its partition stays.
struct InUse(Arc<Contents>);

impl Deref for InUse {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.uses.fetch_sub(1, Ordering::Release);
    }
}

impl Contents {
    /// `ENXIO` when the partition is gone.
    fn begin_use(self: &Arc<Self>) -> Result<InUse, Errno> {
        let one_more = |uses: u32| if uses == GONE { None } else { uses.checked_add(1) };
        let begun = self.uses.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more);
        begun.map(|_| InUse(self.clone())).map_err(|_| Errno::ENXIO)
    }

    /// Lets nobody use it any more, unless somebody does.
    fn try_end(&self) -> bool {
        self.uses.compare_exchange(0, GONE, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// The sectors of a run of pages, the last of which the volume may end in.
    fn segments(&self, first: u64, frames: &[Frame]) -> Result<(u64, Vec<Segment>), Errno> {
        let sector = first.checked_mul(PAGE_SECTORS).ok_or(Errno::EIO)?;
        let mut left = self.volume.sectors().saturating_sub(sector);
        let mut segments = Vec::with_capacity(frames.len());
        for frame in frames {
            let len = usize::try_from(left.min(PAGE_SECTORS)).unwrap_or(0) * SECTOR_LEN;
            if let Some(segment) = Segment::new(frame.clone(), 0, len) {
                segments.push(segment);
            }
            left = left.saturating_sub(PAGE_SECTORS);
        }
        Ok((sector, segments))
    }

    fn synchronize(&self) -> Result<(), Errno> {
        self.cache.write_back(self, 0, u64::MAX)?;
        Ok(self.volume.flush()?)
    }

    /// The whole sectors of a range given in bytes, as `BLKDISCARD` has it; nothing of it stays in the cache.
    fn take_range(&self, argument: usize) -> Result<(u64, u64), Errno> {
        let [start, len]: [u64; 2] = read_user_struct(argument)?;
        let block_len = self.volume.disk().limits().logical_block_len as u64;
        let end = start.checked_add(len).ok_or(Errno::EINVAL)?;
        if start % block_len != 0 || len % block_len != 0 || end > self.size() {
            return Err(Errno::EINVAL);
        }
        let page = PAGE_SIZE as u64;
        self.cache.write_back(self, start / page, end.div_ceil(page))?;
        self.cache.punch(start / page, end.div_ceil(page));
        Ok((start / SECTOR_LEN as u64, len / SECTOR_LEN as u64))
    }
}

impl Cached for Contents {
    fn write_back(&self) -> Result<(), Errno> {
        self.cache.write_back(self, 0, u64::MAX)
    }

    fn write_all(&self) -> Result<(), Errno> {
        self.cache.write_back(self, 0, u64::MAX)
    }
}

impl PageStore for Contents {
    fn size(&self) -> u64 {
        self.volume.len_bytes()
    }

    fn read_pages(&self, first: u64, frames: &[Frame]) -> Result<(), Errno> {
        let (sector, segments) = self.segments(first, frames)?;
        if let Some((last, segment)) = frames.last().zip(segments.last()) {
            last.zero_range(segment.len(), PAGE_SIZE - segment.len());
        }
        Ok(self.volume.read(sector, segments)?)
    }

    fn reserve(&self, _first: u64, _end: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn is_hole(&self, _index: u64) -> Result<bool, Errno> {
        Ok(false)
    }

    fn write_pages(&self, first: u64, frames: &[Frame]) -> Result<(), Errno> {
        let (sector, segments) = self.segments(first, frames)?;
        Ok(self.volume.write(sector, segments)?)
    }
}

/// An open disk or partition.
struct DiskFile {
    contents: InUse,
    path: PathRef,
    /// It was opened with `O_EXCL`.
    claim: Option<Claim>,
    /// Which errors of writing back are known here.
    errors: ErrorMark,
}

impl DiskFile {
    fn read_from(&self, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>, is_at_hand: bool) -> IoResult {
        let contents = &*self.contents;
        let is_direct = open.flags().contains(OpenFlags::DIRECT);
        let alignment = contents.volume.disk().limits().logical_block_len;
        let read = |position, to: &mut UserWriter<'_>| {
            if is_direct {
                check_aligned(position, to.alignment_bits(), alignment)?;
            }
            match (is_at_hand, is_direct) {
                (true, _) => contents.cache.read_at_hand(contents, position, to),
                (false, true) => contents.cache.read_direct(contents, position, to, || ()),
                (false, false) => contents.cache.read(contents, position, to),
            }
        };
        let done = match position {
            Some(position) => read(position, to)?,
            None => {
                let mut position = open.position().lock();
                let done = read(*position, to)?;
                *position = position.saturating_add(done as u64);
                done
            }
        };
        Ok(Progress::Done(done))
    }
}

impl File for DiskFile {
    fn read(&self, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        self.read_from(open, to, position, false)
    }

    fn read_at_hand(&self, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        self.read_from(open, to, position, true)
    }

    fn call_flags(&self, open: &OpenFile, writes: bool) -> CallFlags {
        CallFlags::of_contents(open, writes)
    }

    fn write(&self, open: &OpenFile, from: &mut UserReader<'_>, position: Option<u64>) -> IoResult {
        let mut own = None;
        let at = match position {
            Some(position) => position,
            None => **own.insert(open.position().lock()),
        };
        let contents = &*self.contents;
        if from.is_empty() {
            return Ok(Progress::Done(0));
        }
        if at >= contents.size() {
            return Err(Errno::ENOSPC);
        }
        let flags = open.flags();
        let is_direct = flags.contains(OpenFlags::DIRECT);
        if is_direct {
            check_aligned(at, from.alignment_bits(), contents.volume.disk().limits().logical_block_len)?;
        }
        let done = {
            let _writers = contents.writers.lock();
            let done = contents.cache.write(contents, at, contents.size(), from, |_| {})?;
            if is_direct {
                contents.cache.finish_direct(contents, at, done)?;
            }
            done
        };
        if let Some(mut position) = own {
            *position = at.saturating_add(done as u64);
        }
        if flags.contains(OpenFlags::DSYNC) {
            contents.synchronize()?;
        }
        Ok(Progress::Done(done))
    }

    fn seek(&self, open: &OpenFile, offset: i64, whence: u32) -> Result<u64, Errno> {
        use abi::open::{SEEK_CUR, SEEK_END, SEEK_SET};
        let mut position = open.position().lock();
        let base = match whence {
            SEEK_SET => 0,
            SEEK_CUR => *position,
            SEEK_END => self.contents.size(),
            _ => return Err(Errno::EINVAL),
        };
        let target = base.checked_add_signed(offset).ok_or(Errno::EINVAL)?;
        if target > self.contents.size() {
            return Err(Errno::EINVAL);
        }
        *position = target;
        Ok(target)
    }

    fn has_positions(&self) -> bool {
        true
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(self.path.inode().attributes())
    }

    fn ioctl(&self, open: &OpenFile, command: u32, argument: usize) -> Result<usize, Errno> {
        let volume = &self.contents.volume;
        let limits = volume.disk().limits();
        let as_u32 = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let as_int = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        match command {
            command::LEN_BYTES => write_user_struct(argument, &volume.len_bytes())?,
            command::SECTORS => write_user_struct(argument, &volume.sectors())?,
            command::LOGICAL_BLOCK_LEN => write_user_struct(argument, &as_int(limits.logical_block_len))?,
            command::PHYSICAL_BLOCK_LEN => write_user_struct(argument, &as_u32(limits.physical_block_len))?,
            // As `/sys/block/*/queue` says.
            command::TRANSFER_LEN_MIN => write_user_struct(argument, &as_u32(limits.physical_block_len))?,
            command::TRANSFER_LEN_BEST | command::ALIGNMENT_OFFSET | command::DISCARD_ZEROES => {
                write_user_struct(argument, &0u32)?;
            }
            command::IS_ROTATIONAL => write_user_struct(argument, &0u16)?,
            command::SECTORS_MAX => {
                let most = u16::try_from(limits.data_sectors_max).unwrap_or(u16::MAX);
                write_user_struct(argument, &most)?;
            }
            command::CACHED_BLOCK_LEN => {
                // As Linux: the largest of which the volume is a multiple, up to a page.
                let len = 1usize.checked_shl(volume.len_bytes().trailing_zeros()).unwrap_or(PAGE_SIZE);
                write_user_struct(argument, &as_int(len.clamp(limits.logical_block_len, PAGE_SIZE)))?;
            }
            command::IS_READ_ONLY => write_user_struct(argument, &i32::from(volume.is_read_only()))?,
            command::FLUSH_BUFFERS => {
                self.contents.synchronize()?;
                self.contents.cache.shrink();
            }
            command::REREAD_TABLE => {
                self.contents.synchronize()?;
                partitions::reread(volume, self.claim.is_some())?;
            }
            command::DISCARD | command::ZERO_OUT => {
                if !open.is_writable() {
                    return Err(Errno::EBADF);
                }
                let _writers = self.contents.writers.lock();
                let (sector, sectors) = self.contents.take_range(argument)?;
                match command {
                    command::DISCARD => volume.discard(sector, sectors)?,
                    _ => volume.write_zeroes(sector, sectors)?,
                }
            }
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    fn mapping(&self, open: &Arc<OpenFile>) -> Result<Arc<dyn MappedObject>, Errno> {
        let _open = Arc::clone(open);
        Ok(Arc::new(DiskMapping { contents: Arc::clone(&self.contents.0), path: self.path.clone(), _open }))
    }

    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        self.contents.synchronize().and(self.contents.cache.tell_error(&self.errors))
    }
}

/// A volume as mappings see it.
struct DiskMapping {
    contents: Arc<Contents>,
    path: PathRef,
    /// Lasts as long as the mapping.
    _open: Arc<OpenFile>,
}

impl MappedObject for DiskMapping {
    fn page(&self, index: u64) -> Result<Frame, Errno> {
        self.contents.cache.page(&*self.contents, index)
    }

    fn page_at_hand(&self, index: u64) -> Option<Frame> {
        self.contents.cache.page_at_hand(&*self.contents, index)
    }

    fn page_for_write(&self, index: u64) -> Result<Frame, Errno> {
        self.contents.cache.page_for_write(&*self.contents, index)
    }

    fn is_resident(&self, index: u64) -> bool {
        self.contents.cache.is_resident(index)
    }

    fn synchronize(&self, _first: u64, _end: u64) -> Result<(), Errno> {
        self.contents.synchronize()
    }

    fn mappings(&self) -> Option<&Mappings> {
        Some(self.contents.cache.mappings())
    }

    fn name(&self) -> Vec<u8> {
        path_name(None, &self.path)
    }

    fn device_and_inode(&self) -> (u64, u64) {
        let metadata = self.path.inode().metadata();
        (metadata.device(), metadata.number())
    }

    fn identity(&self) -> (u64, u64) {
        // Whatever node it was opened by.
        (u64::MAX - 1, self.contents.volume.number())
    }
}
