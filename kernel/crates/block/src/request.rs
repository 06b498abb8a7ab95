//! [`Transfer`]: what a file system wants moved; [`Request`]: what a device is asked for at once.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::{BlockError, DiskStatistics, Limits, Segment};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// From the disk to memory.
    Read,
    /// From memory to the disk.
    Write {
        /// Whether it is stable when it is completed, whatever cache the device has (forced unit access).
        is_forced: bool,
    },
    /// Everything written and completed before becomes stable.
    Flush,
    /// The contents are not needed any more, and undefined afterwards.
    Discard,
    /// The contents become zero.
    WriteZeroes {
        /// Whether the device may take the room away.
        may_unmap: bool,
    },
}

impl Operation {
    /// Whether it changes the disk.
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Read | Self::Flush)
    }

    /// Whether it moves data to or from memory.
    pub fn has_data(self) -> bool {
        matches!(self, Self::Read | Self::Write { .. })
    }
}

/// Is told when a transfer is over.
pub trait Done: Send + Sync {
    /// Called once, from any context, interrupts included: must not sleep. The transfer's frames are the caller's again.
    fn done(&self, result: Result<(), BlockError>);
}

/// One thing to move, from one place of the disk on.
pub struct Transfer {
    /// What is done.
    pub operation: Operation,
    /// The first sector; 0 for a flush.
    pub sector: u64,
    /// How many sectors; 0 for a flush.
    pub sectors: u64,
    /// Where the data lies; empty for operations without data.
    pub segments: Vec<Segment>,
    /// Who is told.
    pub done: Arc<dyn Done>,
    /// The figures of the partition it is for.
    pub(crate) part: Option<Arc<DiskStatistics>>,
}

impl Transfer {
    /// A read into, or a write from, these segments.
    pub fn data(operation: Operation, sector: u64, segments: Vec<Segment>, done: Arc<dyn Done>) -> Self {
        let sectors = segments.iter().map(Segment::sectors).sum();
        Self { operation, sector, sectors, segments, done, part: None }
    }

    /// The same, counted for a partition as well.
    #[must_use]
    pub(crate) fn counted_for(mut self, part: &Option<Arc<DiskStatistics>>) -> Self {
        self.part.clone_from(part);
        self
    }

    /// One past the last sector.
    pub fn end(&self) -> u64 {
        self.sector.saturating_add(self.sectors)
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} {}+{}", self.operation, self.sector, self.sectors)
    }
}

/// What a device does in one go: transfers of one kind, side by side on the disk, in ascending order.
///
/// A request that is dropped without having been completed fails its transfers: nobody waits for ever.
#[derive(Debug)]
pub struct Request {
    transfers: Vec<Transfer>,
    segments: usize,
    account: Option<Account>,
}

/// Where the figures of a request go.
#[derive(Debug)]
struct Account {
    statistics: Arc<DiskStatistics>,
    /// Those of the partition.
    part: Option<Arc<DiskStatistics>>,
    started_ns: u64,
}

impl Account {
    fn each(&self) -> impl Iterator<Item = &DiskStatistics> {
        core::iter::once(&*self.statistics).chain(self.part.as_deref())
    }
}

impl Request {
    /// A request of one transfer.
    pub fn new(transfer: Transfer) -> Self {
        let segments = transfer.segments.len();
        Self { transfers: vec![transfer], segments, account: None }
    }

    /// Adds a transfer that follows on the disk, or gives it back when it does not, or when the request would be too large.
    pub(crate) fn append(&mut self, transfer: Transfer, limits: &Limits) -> Result<(), Transfer> {
        let segments = self.segments + transfer.segments.len();
        let fits = transfer.operation == self.operation()
            && transfer.operation != Operation::Flush
            && transfer.sector == self.end()
            && segments <= limits.segments_max
            && self.sectors().saturating_add(transfer.sectors) <= limits.sectors_max(transfer.operation);
        if !fits {
            return Err(transfer);
        }
        self.segments = segments;
        self.transfers.push(transfer);
        Ok(())
    }

    fn first(&self) -> Option<&Transfer> {
        self.transfers.first()
    }

    /// What is done.
    pub fn operation(&self) -> Operation {
        self.first().map_or(Operation::Flush, |first| first.operation)
    }

    /// The first sector; 0 for a flush.
    pub fn sector(&self) -> u64 {
        self.first().map_or(0, |first| first.sector)
    }

    /// One past the last sector.
    pub fn end(&self) -> u64 {
        self.transfers.last().map_or(0, Transfer::end)
    }

    /// How many sectors.
    pub fn sectors(&self) -> u64 {
        self.end().saturating_sub(self.sector())
    }

    /// Where the data lies, in the order of the disk.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.transfers.iter().flat_map(|transfer| &transfer.segments)
    }

    /// Begins to count what it costs.
    pub(crate) fn begin(&mut self, statistics: &Arc<DiskStatistics>) {
        let started_ns = sync::machine::now_ns();
        // Who gathers transfers does so for one partition.
        let part = self.first().and_then(|first| first.part.clone());
        let account = Account { statistics: statistics.clone(), part, started_ns };
        account.each().for_each(|statistics| statistics.begin(started_ns));
        self.account = Some(account);
    }

    /// How many transfers were merged into it.
    pub(crate) fn merges(&self) -> u64 {
        self.transfers.len().saturating_sub(1) as u64
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments
    }

    /// Tells everybody how it went. The device must have stopped using the frames.
    pub fn complete(mut self, result: Result<(), BlockError>) {
        self.finish(result);
    }

    fn finish(&mut self, result: Result<(), BlockError>) {
        if let Some(account) = self.account.take() {
            let now_ns = sync::machine::now_ns();
            account.each().for_each(|statistics| statistics.end(self, account.started_ns, now_ns));
        }
        for transfer in self.transfers.drain(..) {
            let Transfer { segments, done, .. } = transfer;
            // Whoever is told may look whether it owns its frames alone.
            drop(segments);
            done.done(result);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.finish(Err(BlockError::Dead));
    }
}
