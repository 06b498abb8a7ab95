//! [`FileSystem`]: one file system on a volume, mounted.
//!
//! # State on the disk
//!
//! While it is mounted for writing, the superblock says that it was not unmounted, so that a check is due after a crash; with a
//! journal, whoever replays it says so instead. What is found damaged is noted there for good, until somebody checks the file
//! system, and then nothing more is written, unless the superblock asks for going on.
//!
//! # Counters
//!
//! Group descriptors are what counts; the sums in the superblock are set when it is written anyway. `available` is what can still
//! be promised: the free blocks without those claimed for data that waits in memory ([`FileSystem::claim`]).

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use block::{Buffer, BufferCache, Segment, Volume};
use journal::Journal;
use mm::Frame;
use sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use sync::{Mutex, Once, rank};

use crate::bytes::{get_u16, get_u32, put_u16, put_u32, split};
use crate::group::Groups;
use crate::superblock::{self, Compatible, Incompatible, Superblock};
use crate::{Change, DirectoryFormat};

/// Where the state is in the superblock, and its bits.
pub(crate) const STATE_OFFSET: usize = 58;
const STATE_CLEAN: u16 = 1;
pub(crate) const STATE_DAMAGED: u16 = 2;
/// Where the features are that who does not know them cannot read.
pub(crate) const INCOMPATIBLE_OFFSET: usize = 96;
/// The value of "go on" in what to do when it is found damaged.
const ON_ERROR_CONTINUE: u16 = 1;
/// Unused buffers are dropped when all of them take one part in this of memory, which they give back before when it is short.
const BUFFER_SHARE: u64 = 4;
/// At least so many.
const BUFFERS_MIN: usize = 64;

/// How a file system is mounted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Nothing is written, but what replaying the journal needs.
    pub is_read_only: bool,
    /// The journal is left alone, whatever it holds.
    pub ignores_journal: bool,
    /// What is done when it is found damaged, instead of what the superblock says: 1 continue, 2 read only.
    pub on_error: Option<u16>,
}

/// A mounted file system.
pub struct FileSystem {
    pub(crate) superblock: Superblock,
    pub(crate) cache: Arc<BufferCache>,
    pub(crate) groups: Groups,
    pub(crate) journal: Once<Journal>,
    directory_format: DirectoryFormat,
    /// Free blocks that nothing was promised of.
    available: AtomicU64,
    free_inodes: AtomicU64,
    /// The list of orphans as it is on the disk, from its head.
    pub(crate) orphans: Mutex<Vec<u32>>,
    is_read_only: AtomicBool,
    /// Damage, or the journal, made it read-only for good.
    is_stopped: AtomicBool,
    /// As [`Options::on_error`].
    on_error: AtomicU16,
    /// Whether the state was clean when it was mounted.
    was_clean: bool,
    next_generation: AtomicU64,
}

impl FileSystem {
    /// Reads what is on a volume, after its journal was replayed if that is due. `EINVAL` when that is no file system of this family,
    /// or one that is not understood.
    pub fn open(volume: Volume, options: Options) -> Result<Arc<Self>, Errno> {
        let bytes = read_superblock(&volume)?;
        let superblock = Superblock::parse_torn(&bytes, volume.len_bytes())?;
        if !options.is_read_only && !volume.is_read_only() {
            superblock.check_writable()?;
        }
        let has_journal = superblock.compatible.contains(Compatible::HAS_JOURNAL);
        // One that is torn was being written when the power went; the journal has it, too.
        let needs_recovery = superblock.needs_recovery() || has_journal && !superblock.is_sealed(&bytes);
        if needs_recovery && !options.ignores_journal {
            Self::read(volume.clone(), options, &bytes, superblock)?.replay()?;
        } else if needs_recovery && !options.is_read_only {
            log::error!("ext: its journal must be replayed; it can be left alone only by the options ro,noload");
            return Err(Errno::EROFS);
        }
        let bytes = read_superblock(&volume)?;
        let mut superblock = Superblock::parse(&bytes, volume.len_bytes())?;
        if !options.ignores_journal {
            // What the disk still says is done.
            superblock.incompatible.remove(Incompatible::NEEDS_RECOVERY);
        }
        let file_system = Self::read(volume, options, &bytes, superblock)?;
        if has_journal && !options.ignores_journal && !file_system.is_read_only() {
            file_system.open_journal()?;
        }
        Ok(file_system)
    }

    fn read(
        volume: Volume,
        options: Options,
        superblock_bytes: &[u8],
        superblock: Superblock,
    ) -> Result<Arc<Self>, Errno> {
        let is_read_only = options.is_read_only || volume.is_read_only() || superblock.is_read_only();
        let cache = BufferCache::new(volume, superblock.block_len).ok_or(Errno::EINVAL)?;
        let share = usize::try_from(mm::frame::total() / BUFFER_SHARE).unwrap_or(usize::MAX);
        cache.set_limit(share.saturating_mul(cache.buffers_per_page()).max(BUFFERS_MIN));
        let groups = Groups::read(&cache, &superblock)?;
        let (free_blocks, free_inodes, _) = groups.sums();
        let state = get_u16(superblock_bytes, STATE_OFFSET);
        Ok(Arc::new(Self {
            directory_format: directory_format(&superblock),
            groups,
            journal: Once::new(),
            available: AtomicU64::new(free_blocks),
            free_inodes: AtomicU64::new(free_inodes),
            orphans: Mutex::new(rank::ORPHANS, Vec::new()),
            is_read_only: AtomicBool::new(is_read_only),
            is_stopped: AtomicBool::new(false),
            on_error: AtomicU16::new(options.on_error.unwrap_or(superblock.on_error)),
            was_clean: state & (STATE_CLEAN | STATE_DAMAGED) == STATE_CLEAN,
            next_generation: AtomicU64::new(sync::machine::realtime_ns()),
            cache: Arc::new(cache),
            superblock,
        }))
    }

    /// Its description.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The buffers of its metadata.
    pub fn cache(&self) -> &BufferCache {
        &self.cache
    }

    /// Whether nothing may be changed (any more).
    pub fn is_read_only(&self) -> bool {
        self.is_read_only.load(Relaxed)
    }

    /// Whether damage, or a disk that failed, made it read-only for good: what was not written is lost.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Relaxed)
    }

    /// The journal, if changes go through one.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.get()
    }

    /// What is done when it is found damaged, as [`Options::on_error`] says it.
    pub fn on_error(&self) -> u16 {
        self.on_error.load(Relaxed)
    }

    /// Sets what is done when it is found damaged, from now on.
    pub fn set_on_error(&self, on_error: u16) {
        self.on_error.store(on_error, Relaxed);
    }

    /// Begins a change of at most `blocks` blocks. `EROFS` when nothing may be changed.
    pub fn begin(&self, blocks: u32) -> Result<Change<'_>, Errno> {
        if self.is_read_only() {
            return Err(Errno::EROFS);
        }
        if self.journal().is_none() && self.cache.is_overfull() {
            // Nothing else bounds what is dirty. What cannot be written stays so, and whoever syncs is told.
            let _ = self.cache.write_back();
        }
        self.watched(Change::begin(&self.cache, self.journal(), blocks))
    }

    /// The most blocks that one change may change.
    pub(crate) fn credits_max(&self) -> usize {
        self.journal().map_or(usize::MAX, |journal| journal.credits_max())
    }

    /// Hands a result on. Without its journal nothing is written any more.
    pub(crate) fn watched<T>(&self, result: Result<T, Errno>) -> Result<T, Errno> {
        if result.is_err() && self.journal().is_some_and(|journal| journal.failure().is_some()) {
            self.stop_writing();
        }
        result
    }

    /// What is to be done every now and then: commits what is old, and writes metadata to its places.
    pub fn tick(&self) -> Result<(), Errno> {
        match self.journal() {
            Some(journal) => self.watched(journal.tick()),
            None => Ok(self.cache.write_back()?),
        }
    }

    /// How directories are written, but for the seed of their checksums.
    pub fn directory_format(&self) -> &DirectoryFormat {
        &self.directory_format
    }

    /// A generation for a new inode, other than those of inodes that had its number.
    pub(crate) fn generation(&self) -> u32 {
        split(self.next_generation.fetch_add(1, Relaxed)).0
    }

    /// Free blocks without those that are promised.
    pub fn blocks_available(&self) -> u64 {
        self.available.load(Relaxed)
    }

    /// Free inodes.
    pub fn inodes_free(&self) -> u64 {
        self.free_inodes.load(Relaxed)
    }

    /// Takes blocks out of what can be promised; `ENOSPC` when there are not enough. Who is not privileged leaves alone what is
    /// reserved.
    pub fn claim(&self, blocks: u64, is_privileged: bool) -> Result<(), Errno> {
        let kept = if is_privileged { 0 } else { self.superblock.blocks_reserved };
        let take = |available: u64| available.checked_sub(blocks).filter(|left| blocks == 0 || *left >= kept);
        self.available.fetch_update(Relaxed, Relaxed, take).map(drop).map_err(|_| Errno::ENOSPC)
    }

    /// Gives back what was claimed and not used.
    pub fn give_back(&self, blocks: u64) {
        self.available.fetch_add(blocks, Relaxed);
    }

    /// Blocks that hold no file's contents, and never will: `statfs` leaves them out. The journal's are not counted.
    pub fn overhead(&self) -> u64 {
        let superblock = &self.superblock;
        let of_group =
            |group| u64::from(superblock.base_blocks(group)) + 2 + u64::from(superblock.inode_table_blocks());
        u64::from(superblock.first_block) + (0..superblock.groups).map(of_group).sum::<u64>()
    }

    pub(crate) fn count_inodes(&self, is_more: bool) {
        if is_more {
            self.free_inodes.fetch_add(1, Relaxed);
        } else {
            self.free_inodes.fetch_sub(1, Relaxed);
        }
    }

    /// Reads from the blocks from `block` on into the segments.
    pub fn read_blocks(&self, block: u64, segments: Vec<Segment>) -> Result<(), Errno> {
        Ok(self.cache.volume().read(self.cache.sector_of(block)?, segments)?)
    }

    /// The segments of blocks in a frame: `count` of them from the one at `offset` bytes on.
    pub fn segment(frame: &Frame, offset: usize, len: usize) -> Result<Segment, Errno> {
        Segment::new(frame.clone(), offset, len).ok_or(Errno::EIO)
    }

    // ---- The superblock on the disk -----------------------------------------------------------------------------

    fn superblock_buffer(&self) -> Result<(Arc<Buffer>, usize), Errno> {
        let block = superblock::OFFSET / self.superblock.block_len;
        Ok((self.cache.get(block as u64)?, superblock::OFFSET % self.superblock.block_len))
    }

    /// Looks at the superblock's bytes as they are now.
    pub(crate) fn read_superblock<R>(&self, look: impl FnOnce(&[u8]) -> R) -> Result<R, Errno> {
        let (buffer, offset) = self.superblock_buffer()?;
        Ok(buffer.read(|bytes| look(bytes.get(offset..offset + superblock::LEN).unwrap_or_default())))
    }

    /// Changes fields of the superblock, which gets its checksum when it is written.
    pub fn change_superblock(&self, change: &Change<'_>, apply: impl FnOnce(&mut [u8])) -> Result<(), Errno> {
        let (buffer, offset) = self.superblock_buffer()?;
        let act = |bytes: &mut [u8]| bytes.get_mut(offset..offset + superblock::LEN).map_or((), apply);
        if !self.superblock.has_checksums() {
            return change.write(&buffer, act);
        }
        change.write_unsealed(&buffer, superblock::seal_at(offset), act)
    }

    /// Says on the disk that the file system is in use.
    pub fn begin_writing(&self) -> Result<(), Errno> {
        if !self.was_clean {
            log::warn!("ext: the file system was not unmounted, or was found damaged: a check is recommended");
        }
        let now = now_seconds();
        self.change_superblock_alone(|bytes| {
            match self.journal() {
                None => put_u16(bytes, STATE_OFFSET, get_u16(bytes, STATE_OFFSET) & !STATE_CLEAN),
                Some(journal) => self.note_journal(journal, bytes),
            }
            put_u16(bytes, 52, get_u16(bytes, 52).saturating_add(1));
            put_u32(bytes, 44, now);
        })
    }

    /// Changes the superblock on the disk, by itself and at once: who looks for a journal looks here first, so what is said of it here
    /// must be there before the journal has anything, and as long as it has. Nothing is in the journal now.
    fn change_superblock_alone(&self, apply: impl FnOnce(&mut [u8])) -> Result<(), Errno> {
        self.change_superblock(&Change::direct(&self.cache), apply)?;
        self.cache.write([self.superblock_buffer()?.0].into())?;
        Ok(self.cache.volume().flush()?)
    }

    /// Says on the disk that nothing is missing, when nothing is; all else was written before. From then on nothing may be changed.
    pub fn end_writing(&self) -> Result<(), Errno> {
        if self.is_read_only() {
            return Ok(());
        }
        self.say_complete()?;
        self.is_read_only.store(true, Relaxed);
        Ok(())
    }

    /// Lets changes be made (again) to what was mounted or made read-only. `EROFS` when that cannot be: for the volume, for features, after
    /// damage, or with a journal that was ignored.
    pub fn resume_writing(self: &Arc<Self>) -> Result<(), Errno> {
        let has_journal = self.superblock.compatible.contains(Compatible::HAS_JOURNAL);
        let is_refused = self.is_stopped.load(Relaxed)
            || self.cache.volume().is_read_only()
            || self.superblock.needs_recovery()
            || self.superblock.is_read_only()
            || self.superblock.check_writable().is_err();
        if is_refused {
            return Err(Errno::EROFS);
        }
        if has_journal && self.journal().is_none() {
            self.open_journal()?;
        }
        self.is_read_only.store(false, Relaxed);
        self.begin_writing().inspect_err(|_| self.is_read_only.store(true, Relaxed))
    }

    fn say_complete(&self) -> Result<(), Errno> {
        match self.journal() {
            Some(journal) => journal.close()?,
            None => self.write_metadata()?,
        }
        let sums = self.groups.sums();
        self.change_superblock_alone(|bytes| {
            self.put_sums(bytes, sums);
            if self.was_clean {
                put_u16(bytes, STATE_OFFSET, get_u16(bytes, STATE_OFFSET) | STATE_CLEAN);
            }
            let incompatible = get_u32(bytes, INCOMPATIBLE_OFFSET);
            put_u32(bytes, INCOMPATIBLE_OFFSET, incompatible & !Incompatible::NEEDS_RECOVERY.bits());
        })
    }

    /// Brings all metadata to stable storage.
    pub fn sync(&self) -> Result<(), Errno> {
        if self.is_read_only() {
            return Ok(());
        }
        // With a journal, the sums are right when it is unmounted; until then those of the groups count.
        if self.journal().is_none() {
            let change = self.begin(1)?;
            let sums = self.groups.sums();
            self.change_superblock(&change, |bytes| self.put_sums(bytes, sums))?;
        }
        self.write_metadata()
    }

    /// Makes everything stable that was written or changed, without a look at the counters.
    pub fn write_metadata(&self) -> Result<(), Errno> {
        let is_flushed = match self.journal() {
            Some(journal) => self.watched(journal.force_all())?,
            None => {
                self.cache.write_back()?;
                false
            }
        };
        if !is_flushed {
            self.cache.volume().flush()?;
        }
        Ok(())
    }

    /// Puts the sums of all groups into the superblock: free blocks, free inodes.
    fn put_sums(&self, bytes: &mut [u8], (free_blocks, free_inodes, _): (u64, u64, u64)) {
        let (low, high) = split(free_blocks);
        put_u32(bytes, 12, low);
        if self.superblock.incompatible.contains(Incompatible::WIDE) {
            put_u32(bytes, 344, high);
        }
        put_u32(bytes, 16, split(free_inodes).0);
        put_u32(bytes, 48, now_seconds());
    }

    /// The file system was found damaged: that is noted, and unless it is to go on, nothing is changed any more.
    #[cold]
    pub fn note_damage(&self) {
        if self.is_read_only() {
            return;
        }
        if self.on_error() != ON_ERROR_CONTINUE
            && let Some(journal) = self.journal()
        {
            // What was being changed may be half done, and stays in memory; the journal remembers why, and the next mount notes it.
            journal.abort(Errno::EUCLEAN);
            return self.stop_writing();
        }
        let noted = self.begin(1).and_then(|change| {
            self.change_superblock(&change, |bytes| {
                put_u16(bytes, STATE_OFFSET, get_u16(bytes, STATE_OFFSET) & !STATE_CLEAN | STATE_DAMAGED);
                put_u32(bytes, 404, get_u32(bytes, 404).saturating_add(1));
                put_u32(bytes, 460, now_seconds());
            })
        });
        if noted.is_err() {
            log::error!("ext: the damage cannot be noted in the superblock");
        }
        if self.on_error() != ON_ERROR_CONTINUE {
            self.stop_writing();
        }
    }

    /// From now on nothing is changed.
    pub fn stop_writing(&self) {
        self.is_stopped.store(true, Relaxed);
        if !self.is_read_only.swap(true, Relaxed) {
            log::error!("ext: the file system is read-only from now on");
            // What is noted of the damage goes out, best as it can.
            let _ = self.superblock_buffer().and_then(|(buffer, _)| Ok(self.cache.write([buffer].into())?));
        }
    }
}

fn now_seconds() -> u32 {
    split(sync::machine::realtime_ns() / 1_000_000_000).0
}

/// The bytes of the superblock, before the size of blocks is known.
fn read_superblock(volume: &Volume) -> Result<Vec<u8>, Errno> {
    let frame = Frame::allocate()?;
    let sector = (superblock::OFFSET / block::SECTOR_LEN) as u64;
    let segment = Segment::new(frame.clone(), 0, superblock::LEN).ok_or(Errno::EIO)?;
    volume.read(sector, [segment].into()).map_err(|error| match error {
        block::BlockError::OutOfRange => Errno::EINVAL,
        error => error.into(),
    })?;
    let mut bytes = alloc::vec![0; superblock::LEN];
    frame.read(0, &mut bytes);
    Ok(bytes)
}

fn directory_format(superblock: &Superblock) -> DirectoryFormat {
    DirectoryFormat {
        block_len: superblock.block_len,
        checksum_seed: superblock.has_checksums().then_some(superblock.checksum_seed),
        has_file_types: superblock.incompatible.contains(Incompatible::FILE_TYPE),
        may_have_index: superblock.compatible.contains(Compatible::DIRECTORY_INDEX),
        is_large: superblock.incompatible.contains(Incompatible::LARGE_DIRECTORIES),
        hash_version: superblock.hash_version,
        hash_is_unsigned: superblock.hash_is_unsigned,
        hash_seed: superblock.hash_seed,
    }
}
