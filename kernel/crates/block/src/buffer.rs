//! [`BufferCache`]: the blocks of a volume that describe it, in memory: superblocks, bitmaps, tables, directories, trees.
//!
//! Contents of files are not here; they are in the page caches of the files.
//!
//! # 1. A buffer
//!
//! A [`Buffer`] is one block. There is at most one for a block, so who changes it and who reads it agree. Its bytes are behind a lock
//! of its own, which is held while the block is read from the disk, and never while another buffer's is taken.
//!
//! # 2. From change to disk
//!
//! A buffer that was changed is marked dirty, and reaches the disk with the next [`BufferCache::write_back`]. A journal holds
//! buffers back ([`Buffer::hold`]) until their change is in the journal: what is held is neither written nor dropped. Writing takes
//! a copy first, so a change while it is written is not lost, and makes it dirty again.
//!
//! # 3. Seals
//!
//! A block that has a checksum of itself need not have the right one before it is written. Who changes such a block
//! says how it is sealed ([`Buffer::change_unsealed`]), and that is done once for all changes, by whoever takes the
//! bytes to the disk ([`Buffer::read_sealed`]). Others do not look at the checksum of a buffer that is marked as
//! checked.
//!
//! # 4. Memory
//!
//! The cache is bounded by [`BufferCache::set_limit`]. When it is passed, buffers that are clean, that nobody uses, and that were not
//! asked for since the last time, are dropped. That is a look at all of them. Where most must stay, the next one is taken when
//! there is a part more of them ([`SWEEP_SHARE`]): so a buffer that comes pays for a look at a few others. When a look leaves far
//! more than the limit, [`BufferCache::is_overfull`] says so to who may write. A journal has bounds of its own for what it holds.
//!
//! Reading and writing takes a frame for the length of a transfer. Without memory that is one of the kernel's reserve, and buffers are
//! written one by one: so memory that is full of what must be written can be emptied.
//!
//! Lock ranks: `BUFFER_WRITERS`, then `BUFFER_TABLES`, then `BUFFERS`. The table is not locked over a transfer.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use abi::Errno;
use mm::{Frame, PAGE_SIZE};
use sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use sync::{Mutex, rank};

use crate::{BlockError, Completion, Operation, Plug, SECTOR_LEN, Segment, Volume, sort_by_key};

/// It must be written.
const DIRTY: u32 = 1;
/// It was asked for since the last look for what can be dropped.
const USED: u32 = 2;
/// Its checksum was compared.
const CHECKED: u32 = 4;
/// What one holder counts, above the flags.
const HELD_ONE: u32 = 8;

/// The number of buffers at which unused ones are dropped, unless set otherwise: one part in [`MEMORY_SHARE`] of
/// memory, but not more and not less than this.
const LIMIT_MAX: usize = 1 << 15;
const LIMIT_MIN: usize = 128;
const MEMORY_SHARE: usize = 16;
/// After a look that left more buffers than the limit, the next one comes when there is one part in this more.
const SWEEP_SHARE: usize = 4;
/// A look that left this many times the limit left too many.
const OVERFULL: usize = 2;
/// The most buffers written at once: each has a copy meanwhile.
const WRITTEN_MAX: usize = 256;

/// How a block is made fit to be written, such as by putting the checksum of its contents into it.
#[derive(Clone, Copy)]
pub struct Seal {
    /// What is done with the bytes.
    pub apply: fn(&mut [u8], &Seal),
    /// What it has to know.
    pub context: [u32; 3],
    /// A bit for each part of the block that was changed, where the parts are sealed by themselves.
    pub parts: u32,
}

impl Seal {
    /// The same, after a change with another seal.
    fn after(self, earlier: Option<Self>) -> Self {
        let parts = earlier.filter(|seal| seal.context == self.context).map_or(0, |seal| seal.parts);
        Self { parts: self.parts | parts, ..self }
    }
}

/// What a buffer holds.
#[derive(Default)]
struct Contents {
    /// None before it was read.
    bytes: Option<Box<[u8]>>,
    /// What is to be done before it is written.
    seal: Option<Seal>,
}

/// One block of a volume in memory.
pub struct Buffer {
    number: u64,
    flags: AtomicU32,
    contents: Mutex<Contents>,
    /// What it counts for in [`buffered_bytes`].
    block_len: usize,
}

/// Bytes of all buffers.
static BUFFERED: AtomicUsize = AtomicUsize::new(0);

/// Bytes of all buffers of all volumes, for `/proc/meminfo`.
pub fn buffered_bytes() -> usize {
    BUFFERED.load(Ordering::Relaxed)
}

impl Drop for Buffer {
    fn drop(&mut self) {
        BUFFERED.fetch_sub(self.block_len, Ordering::Relaxed);
    }
}

impl Buffer {
    fn new(number: u64, block_len: usize) -> Self {
        BUFFERED.fetch_add(block_len, Ordering::Relaxed);
        let contents = Mutex::new(rank::BUFFERS, Contents::default());
        Self { number, flags: AtomicU32::new(USED), contents, block_len }
    }

    /// Which block it is.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Looks at the bytes. Takes no other buffer. They may not be sealed.
    pub fn read<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        let contents = self.contents.lock();
        look(contents.bytes.as_deref().unwrap_or_default())
    }

    /// Looks at the bytes as they go to the disk. Takes no other buffer.
    pub fn read_sealed<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        look(self.contents.lock().sealed().unwrap_or_default())
    }

    /// Changes the bytes to what is to be written, sealed if they have to be. Takes no other buffer. Whether, and when,
    /// they are written is for the caller to say.
    pub fn change<R>(&self, change: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut contents = self.contents.lock();
        contents.seal = None;
        change(contents.bytes.as_deref_mut().unwrap_or_default())
    }

    /// As [`Buffer::change`], of bytes that are to be sealed before they are written.
    pub fn change_unsealed<R>(&self, seal: Seal, change: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut contents = self.contents.lock();
        contents.seal = Some(seal.after(contents.seal));
        change(contents.bytes.as_deref_mut().unwrap_or_default())
    }

    /// Says that it must be written.
    pub fn mark_dirty(&self) {
        self.flags.fetch_or(DIRTY, Ordering::Relaxed);
    }

    /// Whether it must be written.
    pub fn is_dirty(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & DIRTY != 0
    }

    /// Says that the checksum in it was found right, or written, so that nobody need compare it as long as the block is in memory.
    pub fn mark_checked(&self) {
        self.flags.fetch_or(CHECKED, Ordering::Relaxed);
    }

    /// Whether its checksum was compared since it was read.
    pub fn is_checked(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & CHECKED != 0
    }

    /// Keeps it from being written until [`Buffer::let_go`] was called as often.
    pub fn hold(&self) {
        self.flags.fetch_add(HELD_ONE, Ordering::Relaxed);
    }

    /// Ends one [`Buffer::hold`].
    pub fn let_go(&self) {
        let before = self.flags.fetch_sub(HELD_ONE, Ordering::Relaxed);
        debug_assert!(before >= HELD_ONE, "a buffer is let go that nobody held");
    }

    /// Whether somebody holds it.
    pub fn is_held(&self) -> bool {
        self.flags.load(Ordering::Relaxed) >= HELD_ONE
    }

    /// Takes the mark away for a copy that is going to be written. None when it is not dirty, or held.
    fn take_for_writing(&self, allocate: impl FnOnce() -> Result<Frame, Errno>) -> Option<Result<Frame, BlockError>> {
        let mut contents = self.contents.lock();
        if !self.is_dirty() || self.is_held() {
            return None;
        }
        let bytes = contents.sealed()?;
        let Ok(frame) = allocate() else { return Some(Err(BlockError::OutOfMemory)) };
        frame.write(0, bytes);
        self.flags.fetch_and(!DIRTY, Ordering::Relaxed);
        Some(Ok(frame))
    }
}

impl Contents {
    /// The bytes, sealed if they have to be.
    fn sealed(&mut self) -> Option<&[u8]> {
        let bytes = self.bytes.as_deref_mut()?;
        if let Some(seal) = self.seal.take() {
            (seal.apply)(bytes, &seal);
        }
        Some(bytes)
    }
}

struct Table {
    buffers: BTreeMap<u64, Arc<Buffer>>,
    /// How many there are when those that can be dropped are looked for next.
    sweep_at: usize,
}

/// The buffers of one volume.
pub struct BufferCache {
    volume: Volume,
    block_len: usize,
    table: Mutex<Table>,
    limit: AtomicUsize,
    is_overfull: AtomicBool,
    /// One writes at a time: two copies of a block on their way could overtake each other.
    writer: Mutex<()>,
}

impl BufferCache {
    /// The cache of a volume with blocks of this size; None unless the size is a power of two from a sector to a page.
    pub fn new(volume: Volume, block_len: usize) -> Option<Self> {
        let is_sane = block_len.is_power_of_two() && (SECTOR_LEN..=PAGE_SIZE).contains(&block_len);
        let limit = limit();
        let table = Table { buffers: BTreeMap::new(), sweep_at: limit };
        is_sane.then(|| Self {
            volume,
            block_len,
            table: Mutex::new(rank::BUFFER_TABLES, table),
            limit: AtomicUsize::new(limit),
            is_overfull: AtomicBool::new(false),
            writer: Mutex::new(rank::BUFFER_WRITERS, ()),
        })
    }

    /// The volume.
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Bytes in a block.
    pub fn block_len(&self) -> usize {
        self.block_len
    }

    /// How many buffers a page of memory has room for: of small ones one less than it has bytes for, as it says whose they are.
    pub fn buffers_per_page(&self) -> usize {
        (PAGE_SIZE / (self.block_len + 1)).max(1)
    }

    /// Sets the number of buffers at which unused ones are dropped.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.table.lock().sweep_at = limit;
    }

    /// How many buffers there are.
    pub fn count(&self) -> usize {
        self.table.lock().buffers.len()
    }

    /// The first sector of a block.
    pub fn sector_of(&self, number: u64) -> Result<u64, BlockError> {
        number.checked_mul((self.block_len / SECTOR_LEN) as u64).ok_or(BlockError::OutOfRange)
    }

    /// A block, read from the disk if it is not in memory.
    pub fn get(&self, number: u64) -> Result<Arc<Buffer>, BlockError> {
        let buffer = self.entry(number);
        let mut contents = buffer.contents.lock();
        if contents.bytes.is_none() {
            match self.load(number) {
                Ok(loaded) => contents.bytes = Some(loaded),
                Err(error) => {
                    drop(contents);
                    self.drop_unread(&buffer);
                    return Err(error);
                }
            }
        }
        drop(contents);
        Ok(buffer)
    }

    /// A block whose contents do not matter, as zeroes, without reading it.
    pub fn get_zeroed(&self, number: u64) -> Arc<Buffer> {
        let buffer = self.entry(number);
        let mut contents = buffer.contents.lock();
        buffer.flags.fetch_and(!CHECKED, Ordering::Relaxed);
        contents.seal = None;
        match contents.bytes.as_deref_mut() {
            Some(bytes) => bytes.fill(0),
            None => contents.bytes = Some(vec![0; self.block_len].into_boxed_slice()),
        }
        drop(contents);
        buffer
    }

    /// A block that is in memory.
    pub fn find(&self, number: u64) -> Option<Arc<Buffer>> {
        self.table.lock().buffers.get(&number).cloned()
    }

    /// A block has been freed: what it holds is not written any more. One that is held stays until it is let go.
    pub fn forget(&self, number: u64) {
        let Some(buffer) = self.find(number) else { return };
        buffer.flags.fetch_and(!(DIRTY | CHECKED), Ordering::Relaxed);
        if !buffer.is_held() {
            self.table.lock().buffers.remove(&number);
        }
    }

    fn entry(&self, number: u64) -> Arc<Buffer> {
        let mut table = self.table.lock();
        if let Some(buffer) = table.buffers.get(&number) {
            buffer.flags.fetch_or(USED, Ordering::Relaxed);
            return buffer.clone();
        }
        let is_due = table.buffers.len() >= table.sweep_at;
        let dropped = if is_due { self.sweep(&mut table) } else { Vec::new() };
        let buffer = Arc::new(Buffer::new(number, self.block_len));
        table.buffers.insert(number, buffer.clone());
        drop(table);
        drop(dropped);
        buffer
    }

    fn load(&self, number: u64) -> Result<Box<[u8]>, BlockError> {
        // What is written back needs to know where to.
        let frame = Frame::allocate_reserved().map_err(|_| BlockError::OutOfMemory)?;
        self.volume.read(self.sector_of(number)?, vec![self.segment(&frame)?])?;
        let mut bytes = vec![0; self.block_len].into_boxed_slice();
        frame.read(0, &mut bytes);
        Ok(bytes)
    }

    fn segment(&self, frame: &Frame) -> Result<Segment, BlockError> {
        Segment::new(frame.clone(), 0, self.block_len).ok_or(BlockError::OutOfRange)
    }

    /// Takes a buffer that could not be read out again, unless somebody waits to try it himself.
    fn drop_unread(&self, buffer: &Arc<Buffer>) {
        let mut table = self.table.lock();
        // The table's and the caller's.
        if Arc::strong_count(buffer) <= 2 {
            table.buffers.remove(&buffer.number);
        }
    }

    /// Writes every dirty buffer that nobody holds, and waits. What could not be written is dirty still. It is not stable before
    /// the volume is flushed.
    pub fn write_back(&self) -> Result<(), BlockError> {
        self.is_overfull.store(false, Ordering::Relaxed);
        let dirty = {
            let table = self.table.lock();
            table.buffers.values().filter(|buffer| buffer.is_dirty() && !buffer.is_held()).cloned().collect()
        };
        self.write(dirty)
    }

    /// Writes those of the buffers that are dirty and not held, in the order of the disk, and waits.
    pub fn write(&self, mut buffers: Vec<Arc<Buffer>>) -> Result<(), BlockError> {
        let _writer = self.writer.lock();
        sort_by_key(&mut buffers, |buffer| buffer.number);
        let mut result = Ok(());
        for part in buffers.chunks(WRITTEN_MAX) {
            if let Err(error) = self.write_part(part) {
                part.iter().for_each(|buffer| buffer.mark_dirty());
                result = Err(error);
            }
        }
        result
    }

    fn write_part(&self, buffers: &[Arc<Buffer>]) -> Result<(), BlockError> {
        let mut copies = Copies { plug: Plug::new(self.volume.disk()), completion: Completion::new() };
        let mut result = Ok(());
        for buffer in buffers {
            result = self.write_one(buffer, &mut copies);
            if result.is_err() {
                break;
            }
        }
        self.wait_for(&mut copies).and(result)
    }

    /// Begins to write a buffer; where there is no memory for another copy, writes it when the others are written.
    fn write_one(&self, buffer: &Buffer, copies: &mut Copies) -> Result<(), BlockError> {
        match buffer.take_for_writing(Frame::allocate) {
            None => Ok(()),
            Some(Err(BlockError::OutOfMemory)) => {
                self.wait_for(copies)?;
                if let Some(frame) = buffer.take_for_writing(Frame::allocate_reserved) {
                    self.start(buffer, frame?, copies)?;
                }
                self.wait_for(copies)
            }
            Some(frame) => self.start(buffer, frame?, copies),
        }
    }

    fn start(&self, buffer: &Buffer, copy: Frame, copies: &mut Copies) -> Result<(), BlockError> {
        let segment = self.segment(&copy)?;
        let write = Operation::Write { is_forced: false };
        let completion = &copies.completion;
        self.volume.start(&mut copies.plug, write, self.sector_of(buffer.number)?, vec![segment], || completion.add())
    }

    /// Waits for all copies under way.
    fn wait_for(&self, copies: &mut Copies) -> Result<(), BlockError> {
        copies.plug.submit();
        let completion = core::mem::replace(&mut copies.completion, Completion::new());
        self.volume.disk().wait(&completion)
    }

    fn sweep(&self, table: &mut Table) -> Vec<Arc<Buffer>> {
        let limit = self.limit.load(Ordering::Relaxed);
        let dropped = table.sweep(limit);
        self.is_overfull.store(table.buffers.len() >= limit.saturating_mul(OVERFULL), Ordering::Relaxed);
        dropped
    }

    /// Whether there are far more buffers than there should be, as they are dirty. Not any more from the next write-back on, until
    /// as many are left once more.
    pub fn is_overfull(&self) -> bool {
        self.is_overfull.load(Ordering::Relaxed)
    }

    /// Drops buffers that are clean, that nobody uses, and that were not asked for since the last look; how many.
    pub fn drop_unused(&self) -> usize {
        let dropped = self.sweep(&mut self.table.lock());
        dropped.len()
    }

    /// Drops every buffer that is clean and that nobody uses; how many.
    pub fn shrink(&self) -> usize {
        let mut table = self.table.lock();
        table.buffers.values().for_each(|buffer| {
            buffer.flags.fetch_and(!USED, Ordering::Relaxed);
        });
        let dropped = self.sweep(&mut table);
        drop(table);
        dropped.len()
    }
}

/// Copies of buffers on their way to the disk.
struct Copies {
    plug: Plug,
    completion: Arc<Completion>,
}

fn limit() -> usize {
    let frames = usize::try_from(mm::frame::total()).unwrap_or(usize::MAX);
    (frames / MEMORY_SHARE).clamp(LIMIT_MIN, LIMIT_MAX)
}

impl Table {
    /// Takes out what is clean, unused, and not asked for since the last sweep. Dropped by the caller, without the lock.
    fn sweep(&mut self, limit: usize) -> Vec<Arc<Buffer>> {
        let mut dropped = Vec::new();
        self.buffers.retain(|_, buffer| {
            let flags = buffer.flags.fetch_and(!USED, Ordering::Relaxed);
            let is_kept = flags & !CHECKED != 0 || Arc::strong_count(buffer) > 1;
            if !is_kept {
                dropped.push(buffer.clone());
            }
            is_kept
        });
        let left = self.buffers.len();
        self.sweep_at = limit.max(left + left / SWEEP_SHARE);
        dropped
    }
}
