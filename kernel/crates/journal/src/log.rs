//! [`Log`]: where the blocks of a journal lie on the volume, and how they are read and written.
//!
//! Blocks of the log never go through the cache of buffers: they are written once and read only after a crash. Their place is asked
//! for once, when the journal is opened, and kept as runs; so writing to the log needs nothing of the file system.
//!
//! Takes no lock.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use abi::Errno;
use block::{BlockError, Completion, Operation, Plug, SECTOR_LEN, Segment, Volume};
use mm::Frame;

use crate::JournalError;

/// The most blocks in a log.
const BLOCKS_MAX: u32 = 1 << 24;
/// The most pieces that a log may lie in.
const RUNS_MAX: usize = 1 << 16;
/// The most blocks read at once.
const READ_MAX: u32 = 64;

/// A part of the log that lies in one piece.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u32,
    count: u32,
    block: u64,
}

/// The blocks of a journal.
#[derive(Clone)]
pub struct Log {
    volume: Volume,
    block_len: usize,
    blocks: u32,
    runs: Arc<[Run]>,
}

impl Log {
    /// A journal of so many blocks on a volume. `place` says, for a block of the journal, which block of the volume it is, and how many
    /// lie there side by side from it on.
    pub fn new(
        volume: Volume,
        block_len: usize,
        blocks: u32,
        mut place: impl FnMut(u32) -> Result<(u64, u32), Errno>,
    ) -> Result<Self, JournalError> {
        if blocks > BLOCKS_MAX {
            return Err(JournalError::Corrupt("it is too long"));
        }
        let volume_blocks = volume.len_bytes() / block_len as u64;
        let mut runs: Vec<Run> = Vec::new();
        let mut first = 0;
        while first < blocks {
            let (block, count) = place(first).map_err(JournalError::Place)?;
            let count = count.min(blocks - first);
            let is_inside = block.checked_add(count.into()).is_some_and(|end| end <= volume_blocks);
            if count == 0 || block == 0 || !is_inside {
                return Err(JournalError::Corrupt("its place is outside of the volume"));
            }
            match runs.last_mut() {
                Some(last) if last.block + u64::from(last.count) == block => last.count += count,
                _ => runs.push(Run { first, count, block }),
            }
            if runs.len() > RUNS_MAX {
                return Err(JournalError::Corrupt("it lies in too many pieces"));
            }
            first += count;
        }
        Ok(Self { volume, block_len, blocks, runs: runs.into() })
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Whether a block of the volume is part of the journal.
    pub(crate) fn contains(&self, block: u64) -> bool {
        self.runs.iter().any(|run| (run.block..run.block + u64::from(run.count)).contains(&block))
    }

    /// The first sector of a block, and how many blocks lie side by side from it on.
    fn place(&self, at: u32) -> Result<(u64, u32), BlockError> {
        let number = self.runs.partition_point(|run| run.first <= at);
        let run = number.checked_sub(1).and_then(|number| self.runs.get(number)).ok_or(BlockError::OutOfRange)?;
        let offset = at - run.first;
        let left = run.count.checked_sub(offset).filter(|left| *left > 0).ok_or(BlockError::OutOfRange)?;
        // Inside of the volume, as was checked.
        let block = run.block + u64::from(offset);
        Ok((block * (self.block_len / SECTOR_LEN) as u64, left))
    }

    fn segment(&self, frame: Frame) -> Result<Segment, BlockError> {
        Segment::new(frame, 0, self.block_len).ok_or(BlockError::OutOfRange)
    }

    fn segments(&self, count: u32) -> Result<(Vec<Frame>, Vec<Segment>), BlockError> {
        let frames: Result<Vec<Frame>, _> = (0..count).map(|_| Frame::allocate()).collect();
        let frames = frames.map_err(|_| BlockError::OutOfMemory)?;
        let segments: Result<Vec<Segment>, _> = frames.iter().map(|frame| self.segment(frame.clone())).collect();
        Ok((frames, segments?))
    }

    /// Reads blocks from `at` on, at least one and at most `count`, as far as they lie side by side; their bytes, one behind the other.
    pub(crate) fn read(&self, at: u32, count: u32) -> Result<Vec<u8>, BlockError> {
        let (sector, left) = self.place(at)?;
        let (frames, segments) = self.segments(count.clamp(1, READ_MAX).min(left))?;
        self.volume.read(sector, segments)?;
        let mut bytes = vec![0; frames.len() * self.block_len];
        for (frame, part) in frames.iter().zip(bytes.chunks_mut(self.block_len)) {
            frame.read(0, part);
        }
        Ok(bytes)
    }

    /// Begins to write one block.
    pub(crate) fn start_write(
        &self,
        plug: &mut Plug,
        at: u32,
        frame: Frame,
        completion: &Arc<Completion>,
    ) -> Result<(), BlockError> {
        let (sector, _) = self.place(at)?;
        let write = Operation::Write { is_forced: false };
        self.volume.start(plug, write, sector, vec![self.segment(frame)?], || completion.add())
    }

    /// Writes one block by way of a frame; it is stable afterwards.
    pub(crate) fn write_forced(&self, at: u32, frame: &Frame, bytes: &[u8]) -> Result<(), BlockError> {
        let (sector, _) = self.place(at)?;
        frame.write(0, bytes);
        self.volume.write_forced(sector, vec![self.segment(frame.clone())?])
    }
}

/// Reads blocks of a log one by one, some of them ahead.
pub(crate) struct Reader<'a> {
    log: &'a Log,
    /// One past the last block of the log.
    end: u32,
    ahead: u32,
    first: u32,
    bytes: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// A reader that reads `ahead` blocks at once.
    pub(crate) fn new(log: &'a Log, end: u32, ahead: u32) -> Self {
        Self { log, end, ahead, first: 0, bytes: Vec::new() }
    }

    /// A block.
    pub(crate) fn block(&mut self, at: u32) -> Result<&[u8], BlockError> {
        let len = self.log.block_len;
        let range_of = |at: u32, first: u32| {
            let offset = usize::try_from(at.checked_sub(first)?).ok()?.checked_mul(len)?;
            Some(offset..offset.checked_add(len)?)
        };
        let is_there = range_of(at, self.first).is_some_and(|range| range.end <= self.bytes.len());
        if !is_there {
            self.bytes = self.log.read(at, self.ahead.min(self.end.saturating_sub(at)))?;
            self.first = at;
        }
        range_of(at, self.first).and_then(|range| self.bytes.get(range)).ok_or(BlockError::OutOfRange)
    }
}
