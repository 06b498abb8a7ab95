//! [`Volume`]: the FAT itself, and which clusters are free.
//!
//! # Damage, and a disk that is gone
//!
//! A chain that leads out of the volume, into a free cluster or into a circle is damage: `EUCLEAN`, a line in the log, and nothing
//! is written to the volume any more, as with Linux's `errors=remount-ro`. So it is when the disk was removed or given
//! up. What was not written by then is lost, and not kept: each file tells its own loss ([`Volume::abandon`]).
//!
//! Lock: the state has rank `FAT_VOLUMES`. Whoever holds it reads and writes blocks, but calls no page cache.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::{Arc, Weak};
use alloc::vec;
use alloc::vec::Vec;
use sync::atomic::{AtomicBool, Ordering::Relaxed};

use abi::Errno;
use block::{BlockError, Buffer, BufferCache, SECTOR_LEN, Segment, Volume as Disk};
use mm::Frame;
use sync::{Mutex, MutexGuard, rank};

use super::cached::Changed;
use super::chain::{Chain, Run};
use super::geometry::{Geometry, Root, Width};
use super::index::Names;
use super::inode::FatInode;
use super::options::Options;

/// Blocks kept in memory that nobody uses.
const BUFFERS_MAX: usize = 2048;
/// What an entry of the FAT says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Free,
    Cluster(u32),
    End,
}

/// Clusters that nothing on the disk leads to after the next commit.
pub(super) struct LetGo {
    pub(super) runs: Vec<Run>,
    pub(super) is_directory: bool,
}

/// A file without a name that may still be open.
pub(super) struct Nameless {
    inode: Weak<FatInode>,
    chain: Arc<Mutex<Chain>>,
    is_directory: bool,
}

/// What changes.
pub(super) struct State {
    /// Where the search for a free cluster begins.
    pub(super) next: u32,
    /// How many clusters are free.
    pub(super) free: u32,
    pub(super) dirty_fat: BTreeSet<u64>,
    pub(super) dirty: BTreeSet<u64>,
    pub(super) fresh: BTreeSet<u64>,
    pub(super) let_go: Vec<LetGo>,
    pub(super) let_go_count: u32,
    pub(super) nameless: Vec<Nameless>,
    /// The inodes in memory, by the place of their entry.
    pub(super) inodes: BTreeMap<u64, Weak<FatInode>>,
    /// Those whose number is not that of their place, or whose place is gone.
    pub(super) moved: BTreeMap<u64, Weak<FatInode>>,
    /// The directories in memory, by their first cluster.
    pub(super) directories: BTreeMap<u32, Weak<FatInode>>,
    /// Those with something to be written.
    pub(super) changed: BTreeMap<u64, Changed>,
    /// Whether what is to be committed was so at the last look.
    pub(super) is_old: bool,
    /// The next number of an inode whose place's number is taken.
    pub(super) next_number: u64,
    /// How many inodes the tables may have before those that are gone are looked for.
    pub(super) swept_at: usize,
    /// Something was written that is not known to be stable.
    pub(super) needs_flush: bool,
}

/// A volume that is mounted.
pub(super) struct Volume {
    pub(super) geometry: Geometry,
    pub(super) options: Options,
    pub(super) buffers: BufferCache,
    pub(super) device: u64,
    /// How many names the indexes of its directories have.
    pub(super) indexed: Names,
    state: Mutex<State>,
    /// Nothing is written any more, for damage or because the disk is gone.
    pub(super) is_stopped: AtomicBool,
    /// Nothing may be written: mounted so, or shut down.
    pub(super) is_read_only: AtomicBool,
}

impl Volume {
    /// Looks at a volume's boot sector and FAT.
    pub(super) fn open(disk: &Disk, options: Options, is_read_only: bool) -> Result<Self, Errno> {
        let frame = Frame::allocate()?;
        let segment = Segment::new(frame.clone(), 0, SECTOR_LEN).ok_or(Errno::EINVAL)?;
        disk.read(0, vec![segment])?;
        let mut boot = [0; SECTOR_LEN];
        frame.read(0, &mut boot);
        let geometry = Geometry::parse(&boot, disk.len_bytes())?;
        if geometry.block_len < disk.disk().limits().logical_block_len {
            return Err(Errno::EINVAL);
        }
        let buffers = BufferCache::new(disk.clone(), geometry.block_len).ok_or(Errno::EINVAL)?;
        buffers.set_limit(BUFFERS_MAX);
        let state = State {
            next: 2,
            free: 0,
            dirty_fat: BTreeSet::new(),
            dirty: BTreeSet::new(),
            fresh: BTreeSet::new(),
            let_go: Vec::new(),
            let_go_count: 0,
            nameless: Vec::new(),
            inodes: BTreeMap::new(),
            moved: BTreeMap::new(),
            directories: BTreeMap::new(),
            changed: BTreeMap::new(),
            is_old: false,
            next_number: 1 << 48,
            swept_at: 0,
            needs_flush: false,
        };
        let volume = Self {
            geometry,
            options,
            buffers,
            device: disk.number(),
            indexed: Names::default(),
            state: Mutex::new(rank::FAT_VOLUMES, state),
            is_stopped: AtomicBool::new(false),
            is_read_only: AtomicBool::new(true),
        };
        let was_in_use = boot.get(geometry.state_offset()).is_some_and(|state| state & 1 != 0);
        if was_in_use {
            log::warn!("vfat: the volume was not unmounted; fsck.fat may find something to repair");
        }
        volume.find_free_count(was_in_use)?;
        if !is_read_only {
            volume.begin_writing()?;
        }
        Ok(volume)
    }

    /// The state.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The state, for who changes something on the disk; `EROFS` when nothing may be written.
    pub(super) fn lock_for_change(&self) -> Result<MutexGuard<'_, State>, Errno> {
        let state = self.state.lock();
        self.check_writable()?;
        Ok(state)
    }

    /// `EROFS` when nothing may be written.
    pub(super) fn check_writable(&self) -> Result<(), Errno> {
        if self.is_read_only() { Err(Errno::EROFS) } else { Ok(()) }
    }

    /// Whether nothing may be written.
    pub(super) fn is_read_only(&self) -> bool {
        self.is_read_only.load(Relaxed) || self.is_stopped()
    }

    /// Whether nothing is written any more, for good.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Relaxed)
    }

    /// Hands on what the disk said. Without its disk nothing is written any more.
    pub(super) fn watched<T>(&self, result: Result<T, BlockError>) -> Result<T, Errno> {
        if matches!(result, Err(BlockError::Dead)) && !self.is_stopped.swap(true, Relaxed) {
            log::error!("vfat: the disk is gone; what was not written is lost");
        }
        Ok(result?)
    }

    /// Notes damage, and that nothing is written any more.
    #[cold]
    pub(super) fn damaged(&self, what: &str) -> Errno {
        if !self.is_stopped.swap(true, Relaxed) {
            log::error!("vfat: the volume is damaged: {what}; nothing is written to it any more");
        }
        Errno::EUCLEAN
    }

    // ---- Blocks -----------------------------------------------------------------------------------------------------

    /// A block of the volume.
    pub(super) fn block(&self, number: u64) -> Result<Arc<Buffer>, Errno> {
        self.watched(self.buffers.get(number))
    }

    /// Changes a block of a directory.
    pub(super) fn change_block(
        &self,
        state: &mut State,
        number: u64,
        change: impl FnOnce(&mut [u8]),
    ) -> Result<(), Errno> {
        let buffer = self.block(number)?;
        buffer.change(change);
        buffer.mark_dirty();
        if !state.fresh.contains(&number) {
            state.dirty.insert(number);
        }
        Ok(())
    }

    /// Makes the blocks of a new cluster of a directory zero.
    fn clear_cluster(&self, state: &mut State, cluster: u32) {
        let first = self.geometry.block_of(cluster);
        for number in first..first + self.geometry.cluster_blocks {
            self.buffers.get_zeroed(number).mark_dirty();
            state.fresh.insert(number);
        }
    }

    /// Where in the FAT the entry of a cluster begins: the block from its start on, and the byte.
    fn entry_place(&self, cluster: u32) -> (u64, usize) {
        let cluster = u64::from(cluster);
        let byte = match self.geometry.width {
            Width::Bits12 => cluster + cluster / 2,
            Width::Bits16 => cluster * 2,
            Width::Bits32 => cluster * 4,
        };
        let block_len = self.geometry.block_len as u64;
        (byte / block_len, usize::try_from(byte % block_len).unwrap_or(0))
    }

    /// The bytes of an entry of the FAT. With 12 bits it may lie in two blocks.
    fn entry_bytes(&self, cluster: u32) -> Result<[u8; 4], Errno> {
        let (block, offset) = self.entry_place(cluster);
        let first = self.geometry.first_fat_block + self.geometry.only_fat.unwrap_or(0) * self.geometry.fat_blocks;
        let mut bytes = [0; 4];
        let len = if self.geometry.width == Width::Bits32 { 4 } else { 2 };
        let taken = self.block(first + block)?.read(|block| {
            let from = block.get(offset..).unwrap_or_default();
            let taken = from.len().min(len);
            bytes[..taken].copy_from_slice(&from[..taken]);
            taken
        });
        if taken < len {
            bytes[taken] = self.block(first + block + 1)?.read(|block| block.first().copied().unwrap_or(0));
        }
        Ok(bytes)
    }

    /// The number in the entry of a cluster.
    pub(super) fn entry(&self, cluster: u32) -> Result<u32, Errno> {
        let number = u32::from_le_bytes(self.entry_bytes(cluster)?);
        Ok(match self.geometry.width {
            Width::Bits12 if !cluster.is_multiple_of(2) => number >> 4 & 0xfff,
            Width::Bits12 => number & 0xfff,
            Width::Bits16 => number,
            Width::Bits32 => number & 0x0fff_ffff,
        })
    }

    /// What follows a cluster.
    pub(super) fn next_of(&self, cluster: u32) -> Result<Next, Errno> {
        match self.entry(cluster)? {
            0 => Ok(Next::Free),
            number if number >= self.geometry.width.end_mark() => Ok(Next::End),
            number if self.geometry.is_cluster(number) => Ok(Next::Cluster(number)),
            number => Err(self.damaged(&alloc::format!("cluster {cluster} leads to {number}"))),
        }
    }

    /// Sets what follows a cluster, in every FAT.
    pub(super) fn set_next(&self, state: &mut State, cluster: u32, next: Next) -> Result<(), Errno> {
        let number = match next {
            Next::Free => 0,
            Next::Cluster(number) => number,
            Next::End => self.geometry.width.end_mark() | 7,
        };
        let bytes = u32::from_le_bytes(self.entry_bytes(cluster)?);
        let (value, len) = match self.geometry.width {
            Width::Bits12 if !cluster.is_multiple_of(2) => (bytes & 0xf | number << 4, 2),
            Width::Bits12 => (bytes & 0xf000 | number, 2),
            Width::Bits16 => (number, 2),
            Width::Bits32 => (bytes & 0xf000_0000 | number, 4),
        };
        let value = value.to_le_bytes();
        let (block, offset) = self.entry_place(cluster);
        let fats = match self.geometry.only_fat {
            Some(number) => number..number + 1,
            None => 0..self.geometry.fats,
        };
        for fat in fats {
            let number = self.geometry.first_fat_block + fat * self.geometry.fat_blocks + block;
            let in_first = len.min(self.geometry.block_len - offset);
            self.change_fat_block(state, number, offset, &value[..in_first])?;
            if in_first < len {
                self.change_fat_block(state, number + 1, 0, &value[in_first..len])?;
            }
        }
        Ok(())
    }

    fn change_fat_block(&self, state: &mut State, number: u64, offset: usize, bytes: &[u8]) -> Result<(), Errno> {
        let buffer = self.block(number)?;
        buffer.change(|block| {
            if let Some(slot) = block.get_mut(offset..offset + bytes.len()) {
                slot.copy_from_slice(bytes);
            }
        });
        buffer.mark_dirty();
        state.dirty_fat.insert(number);
        Ok(())
    }

    // ---- Clusters ---------------------------------------------------------------------------------------------------

    /// Free clusters, with those that will be free soon.
    pub(super) fn free_clusters(&self) -> u32 {
        let mut state = self.lock();
        // What cannot be read is not free.
        let _ = self.reap(&mut state);
        state.free.saturating_add(state.let_go_count)
    }

    /// Makes a chain up to `count` clusters long, or as long as it gets: `ENOSPC` when that is no longer than it is.
    /// The new clusters of a directory are zero.
    pub(super) fn extend(&self, chain: &mut Chain, count: u64, is_directory: bool) -> Result<(), Errno> {
        chain.load(self, u64::MAX)?;
        let mut state = self.lock_for_change()?;
        let have = chain.clusters();
        if count > have && u64::from(state.free) < count - have {
            // What was let go of can be taken once nothing on the disk leads to it.
            self.reap(&mut state)?;
            if state.let_go_count > 0 {
                self.commit(&mut state)?;
            }
        }
        while chain.clusters() < count {
            let Some(cluster) = self.take_free(&mut state)? else { break };
            self.set_next(&mut state, cluster, Next::End)?;
            if is_directory {
                self.clear_cluster(&mut state, cluster);
            }
            if let Some(last) = chain.last() {
                self.set_next(&mut state, last, Next::Cluster(cluster))?;
            }
            chain.push(cluster);
        }
        if chain.clusters() < count && chain.clusters() == have { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    /// Takes a free cluster, at best the one after the last that was taken.
    fn take_free(&self, state: &mut State) -> Result<Option<u32>, Errno> {
        if state.free == 0 {
            return Ok(None);
        }
        let end = self.geometry.cluster_end;
        let from = if self.geometry.is_cluster(state.next) { state.next } else { 2 };
        for cluster in (from..end).chain(2..from) {
            if self.entry(cluster)? == 0 {
                state.next = cluster + 1;
                state.free -= 1;
                return Ok(Some(cluster));
            }
        }
        // The count was wrong.
        state.free = 0;
        Ok(None)
    }

    /// Makes a chain `count` clusters long. What goes is free after the next commit; the caller changes the entry before that.
    pub(super) fn shorten(&self, state: &mut State, chain: &mut Chain, count: u64) -> Result<(), Errno> {
        chain.load(self, u64::MAX)?;
        let runs = chain.cut(count);
        if runs.is_empty() {
            return Ok(());
        }
        if let Some(last) = chain.last() {
            self.set_next(state, last, Next::End)?;
        }
        self.let_go(state, runs, false);
        Ok(())
    }

    fn let_go(&self, state: &mut State, runs: Vec<Run>, is_directory: bool) {
        let count = runs.iter().map(|run| run.count).sum::<u32>();
        state.let_go_count = state.let_go_count.saturating_add(count);
        state.let_go.push(LetGo { runs, is_directory });
    }

    /// Remembers the clusters of a file that has lost its name, until nobody uses it.
    pub(super) fn add_nameless(&self, state: &mut State, inode: &Arc<FatInode>, is_directory: bool) {
        let nameless = Nameless { inode: Arc::downgrade(inode), chain: inode.chain().clone(), is_directory };
        state.nameless.push(nameless);
    }

    /// Whether files without a name are still open.
    pub(super) fn has_nameless(&self) -> Result<bool, Errno> {
        let mut state = self.lock();
        self.reap(&mut state)?;
        Ok(!state.nameless.is_empty())
    }

    /// Lets go of the clusters of files without a name that nobody has open any more.
    pub(super) fn reap(&self, state: &mut State) -> Result<(), Errno> {
        if state.nameless.is_empty() || self.is_stopped() {
            return Ok(());
        }
        for mut file in core::mem::take(&mut state.nameless) {
            // One whose inode is just being dropped is looked at again the next time.
            match Arc::get_mut(&mut file.chain).filter(|_| file.inode.strong_count() == 0) {
                None => state.nameless.push(file),
                Some(chain) => {
                    let chain = chain.get_mut();
                    chain.load(self, u64::MAX)?;
                    let runs = chain.cut(0);
                    self.let_go(state, runs, file.is_directory);
                }
            }
        }
        Ok(())
    }

    /// Where the root directory is, as the first cluster of a chain; 0 for one that has none.
    pub(super) fn root_cluster(&self) -> u32 {
        match self.geometry.root {
            Root::Cluster(cluster) => cluster,
            Root::Fixed { .. } => 0,
        }
    }
}
