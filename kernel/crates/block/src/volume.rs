//! [`Volume`]: the part of a disk that a file system lives on.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use mm::{Frame, PAGE_SIZE};

use crate::{BlockError, Completion, Disk, DiskStatistics, Done, Operation, Plug, SECTOR_LEN, Segment, Transfer};

/// Sectors in a page.
const PAGE_SECTORS: u64 = (PAGE_SIZE / SECTOR_LEN) as u64;

/// A whole disk, or one of its partitions. Sectors count from its own beginning.
#[derive(Clone)]
pub struct Volume {
    disk: Arc<Disk>,
    first: u64,
    sectors: u64,
    number: u64,
    is_read_only: bool,
    /// The figures of a partition; those of a whole disk are the disk's.
    statistics: Option<Arc<DiskStatistics>>,
}

impl Volume {
    /// A whole disk.
    pub fn whole(disk: &Arc<Disk>) -> Self {
        Self {
            first: 0,
            sectors: disk.limits().sectors,
            number: disk.number(),
            is_read_only: disk.features().is_read_only,
            statistics: None,
            disk: disk.clone(),
        }
    }

    /// A part of it, with a device number of its own; None when it is not inside.
    pub fn part(&self, first: u64, sectors: u64, number: u64) -> Option<Self> {
        let is_inside = first.checked_add(sectors).is_some_and(|end| end <= self.sectors);
        let statistics = Some(Arc::default());
        is_inside.then(|| Self { first: self.first + first, sectors, number, statistics, ..self.clone() })
    }

    /// The same, without writes.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.is_read_only = true;
        self
    }

    /// Where it begins on its disk.
    pub fn first_sector(&self) -> u64 {
        self.first
    }

    /// The disk it is on.
    pub fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// Whether it is the same part of the same disk.
    pub fn is_same_place(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.disk, &other.disk) && (self.first, self.sectors) == (other.first, other.sectors)
    }

    /// Its figures: of the requests for it alone, if it is a partition.
    pub fn statistics(&self) -> &DiskStatistics {
        self.statistics.as_deref().unwrap_or(self.disk.statistics())
    }

    /// Its device number, as in `st_rdev`.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its size in sectors.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Its size in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.sectors.saturating_mul(SECTOR_LEN as u64)
    }

    /// Whether nothing may be written.
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Begins to read or write. `done` hands out who is told of each of the transfers it takes; all of the data is behind `sector`
    /// in order. Nothing begins when it is refused.
    pub fn start(
        &self,
        plug: &mut Plug,
        operation: Operation,
        sector: u64,
        segments: Vec<Segment>,
        mut done: impl FnMut() -> Arc<dyn Done>,
    ) -> Result<(), BlockError> {
        let sectors = segments.iter().map(Segment::sectors).sum();
        let mut at = self.place(operation, sector, sectors)?;
        let limits = self.disk.limits();
        let mut segments = segments;
        while !segments.is_empty() {
            let (count, taken) = fitting(&segments, limits.segments_max, limits.data_sectors_max);
            let rest = segments.split_off(count);
            plug.add(Transfer::data(operation, at, segments, done()).counted_for(&self.statistics));
            at += taken;
            segments = rest;
        }
        Ok(())
    }

    /// Reads into the segments.
    pub fn read(&self, sector: u64, segments: Vec<Segment>) -> Result<(), BlockError> {
        self.move_data(Operation::Read, sector, segments)
    }

    /// Writes from the segments.
    pub fn write(&self, sector: u64, segments: Vec<Segment>) -> Result<(), BlockError> {
        self.move_data(Operation::Write { is_forced: false }, sector, segments)
    }

    /// Writes from the segments; the data is stable afterwards, and nothing is said of earlier writes.
    pub fn write_forced(&self, sector: u64, segments: Vec<Segment>) -> Result<(), BlockError> {
        let features = self.disk.features();
        if features.can_force || !features.has_volatile_cache {
            let is_forced = features.has_volatile_cache;
            return self.move_data(Operation::Write { is_forced }, sector, segments);
        }
        self.write(sector, segments)?;
        self.flush()
    }

    fn move_data(&self, operation: Operation, sector: u64, segments: Vec<Segment>) -> Result<(), BlockError> {
        let completion = Completion::new();
        let mut plug = Plug::new(&self.disk);
        self.start(&mut plug, operation, sector, segments, || completion.add())?;
        drop(plug);
        self.disk.wait(&completion)
    }

    /// Makes everything stable that was written and completed before.
    pub fn flush(&self) -> Result<(), BlockError> {
        if !self.disk.features().has_volatile_cache {
            return if self.disk.is_dead() { Err(BlockError::Dead) } else { Ok(()) };
        }
        self.without_data(Operation::Flush, 0, 0)
    }

    /// Says that the contents of a range are not needed any more.
    pub fn discard(&self, sector: u64, sectors: u64) -> Result<(), BlockError> {
        if !self.disk.features().can_discard {
            return Err(BlockError::NotSupported);
        }
        self.over_range(Operation::Discard, sector, sectors)
    }

    /// Makes a range zero.
    pub fn write_zeroes(&self, sector: u64, sectors: u64) -> Result<(), BlockError> {
        if self.disk.features().can_write_zeroes {
            return self.over_range(Operation::WriteZeroes { may_unmap: true }, sector, sectors);
        }
        self.place(Operation::WriteZeroes { may_unmap: false }, sector, sectors)?;
        let zeroes = Frame::zero_page();
        let completion = Completion::new();
        let mut plug = Plug::new(&self.disk);
        let mut done = 0;
        while done < sectors {
            let part = PAGE_SECTORS.min(sectors - done);
            let len = usize::try_from(part).unwrap_or(0) * SECTOR_LEN;
            let segment = Segment::new(zeroes.clone(), 0, len).ok_or(BlockError::OutOfRange)?;
            let write = Operation::Write { is_forced: false };
            self.start(&mut plug, write, sector + done, vec![segment], || completion.add())?;
            done += part;
        }
        drop(plug);
        self.disk.wait(&completion)
    }

    /// One operation without data on a range, in as many requests as the device wants.
    fn over_range(&self, operation: Operation, sector: u64, sectors: u64) -> Result<(), BlockError> {
        let at = self.place(operation, sector, sectors)?;
        let most = self.disk.limits().range_sectors_max.max(1);
        let mut done = 0;
        while done < sectors {
            let part = most.min(sectors - done);
            self.without_data(operation, at + done, part)?;
            done += part;
        }
        Ok(())
    }

    fn without_data(&self, operation: Operation, sector: u64, sectors: u64) -> Result<(), BlockError> {
        let completion = Completion::new();
        let mut plug = Plug::new(&self.disk);
        let part = self.statistics.clone();
        plug.add(Transfer { operation, sector, sectors, segments: Vec::new(), done: completion.add(), part });
        drop(plug);
        self.disk.wait(&completion)
    }

    /// Where on the disk a range of the volume is.
    fn place(&self, operation: Operation, sector: u64, sectors: u64) -> Result<u64, BlockError> {
        if operation.is_write() && self.is_read_only {
            return Err(BlockError::ReadOnly);
        }
        let at = self.first.checked_add(sector).ok_or(BlockError::OutOfRange)?;
        let per_block = self.disk.limits().sectors_per_block();
        let is_inside = sector.checked_add(sectors).is_some_and(|end| end <= self.sectors);
        let is_whole = at.is_multiple_of(per_block) && sectors.is_multiple_of(per_block);
        if is_inside && is_whole { Ok(at) } else { Err(BlockError::OutOfRange) }
    }
}

/// How many of the segments one request takes, and their sectors.
fn fitting(segments: &[Segment], segments_max: usize, sectors_max: u64) -> (usize, u64) {
    let mut sectors = 0;
    for (count, segment) in segments.iter().enumerate() {
        let next = sectors + segment.sectors();
        if count > 0 && (count >= segments_max || next > sectors_max) {
            return (count, sectors);
        }
        sectors = next;
    }
    (segments.len(), sectors)
}
