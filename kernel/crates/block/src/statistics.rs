//! [`DiskStatistics`]: the figures of a disk, as `/proc/diskstats` shows them.

use sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{Operation, Request};

/// Figures of one kind of operation.
#[derive(Debug, Default)]
struct Figures {
    requests: AtomicU64,
    merges: AtomicU64,
    sectors: AtomicU64,
    time_ns: AtomicU64,
}

/// Figures of one kind of operation, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationFigures {
    /// Requests completed.
    pub requests: u64,
    /// Transfers that became part of another's request.
    pub merges: u64,
    /// Sectors moved.
    pub sectors: u64,
    /// Time from submission to completion, summed over all requests.
    pub time_ns: u64,
}

/// The figures of one disk.
#[derive(Debug, Default)]
pub struct DiskStatistics {
    reads: Figures,
    writes: Figures,
    discards: Figures,
    flushes: Figures,
    under_way: AtomicU64,
    /// Since when there is something under way.
    busy_since_ns: AtomicU64,
    /// How long there was, up to the last time there was nothing.
    busy_ns: AtomicU64,
}

impl Figures {
    fn now(&self) -> OperationFigures {
        OperationFigures {
            requests: self.requests.load(Relaxed),
            merges: self.merges.load(Relaxed),
            sectors: self.sectors.load(Relaxed),
            time_ns: self.time_ns.load(Relaxed),
        }
    }
}

impl DiskStatistics {
    fn of(&self, operation: Operation) -> &Figures {
        match operation {
            Operation::Read => &self.reads,
            Operation::Write { .. } | Operation::WriteZeroes { .. } => &self.writes,
            Operation::Discard => &self.discards,
            Operation::Flush => &self.flushes,
        }
    }

    pub(crate) fn begin(&self, now_ns: u64) {
        if self.under_way.fetch_add(1, Relaxed) == 0 {
            self.busy_since_ns.store(now_ns, Relaxed);
        }
    }

    pub(crate) fn end(&self, request: &Request, started_ns: u64, now_ns: u64) {
        let time_ns = now_ns.saturating_sub(started_ns);
        let figures = self.of(request.operation());
        figures.requests.fetch_add(1, Relaxed);
        figures.merges.fetch_add(request.merges(), Relaxed);
        figures.sectors.fetch_add(request.sectors(), Relaxed);
        figures.time_ns.fetch_add(time_ns, Relaxed);
        if self.under_way.fetch_sub(1, Relaxed) == 1 {
            // Two CPUs that begin and end at once may lose the time between them, no more.
            self.busy_ns.fetch_add(now_ns.saturating_sub(self.busy_since_ns.load(Relaxed)), Relaxed);
        }
    }

    /// Reads.
    pub fn reads(&self) -> OperationFigures {
        self.reads.now()
    }

    /// Writes, of zeroes too.
    pub fn writes(&self) -> OperationFigures {
        self.writes.now()
    }

    /// Discards.
    pub fn discards(&self) -> OperationFigures {
        self.discards.now()
    }

    /// Flushes.
    pub fn flushes(&self) -> OperationFigures {
        self.flushes.now()
    }

    /// How long there was something under way, up to now.
    pub fn busy_ns(&self, now_ns: u64) -> u64 {
        let since_ns = if self.under_way() == 0 { now_ns } else { self.busy_since_ns.load(Relaxed) };
        self.busy_ns.load(Relaxed).saturating_add(now_ns.saturating_sub(since_ns))
    }

    /// Requests under way.
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Relaxed)
    }
}
