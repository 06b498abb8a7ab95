//! [`Device`]: the seam to the drivers.

use sync::WaitQueue;

use crate::{Operation, Request, SECTOR_LEN};

/// What a device can do, besides reading and writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// It refuses writes.
    pub is_read_only: bool,
    /// It has a cache that loses data without power; without one, a completed write is stable and a flush does nothing.
    pub has_volatile_cache: bool,
    /// It knows writes that are stable when completed.
    pub can_force: bool,
    /// It knows [`Operation::Discard`].
    pub can_discard: bool,
    /// It knows [`Operation::WriteZeroes`].
    pub can_write_zeroes: bool,
}

/// The size of a device, and of what it takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Its size in sectors of [`SECTOR_LEN`] bytes.
    pub sectors: u64,
    /// Bytes of its smallest unit of writing: a power of two, at least [`SECTOR_LEN`] and at most a page.
    pub logical_block_len: usize,
    /// Bytes it writes best; at least `logical_block_len`.
    pub physical_block_len: usize,
    /// The most segments in a request; at least 1.
    pub segments_max: usize,
    /// The most sectors of data in a request; at least those of a page.
    pub data_sectors_max: u64,
    /// The most sectors that one discard, or one zeroing, names.
    pub range_sectors_max: u64,
}

impl Limits {
    /// The most sectors in a request for this operation.
    pub fn sectors_max(&self, operation: Operation) -> u64 {
        if operation.has_data() { self.data_sectors_max } else { self.range_sectors_max }
    }

    /// Sectors in a logical block.
    pub fn sectors_per_block(&self) -> u64 {
        (self.logical_block_len / SECTOR_LEN).max(1) as u64
    }
}

/// A block device, as its driver presents it.
pub trait Device: Send + Sync {
    /// Its size and limits. They do not change.
    fn limits(&self) -> &Limits;

    /// What it can do. That does not change either.
    fn features(&self) -> Features;

    /// What tells it from others, if it has a name of its own.
    fn serial(&self) -> &str {
        ""
    }

    /// Takes the request and begins with it, or gives it back when there is no room. Called from several CPUs at once, with no
    /// spinlock held. It completes the request from any context.
    ///
    /// When there is room again it wakes the queue of [`Device::room`].
    fn submit(&self, request: Request) -> Result<(), Request>;

    /// Who waits for room.
    fn room(&self) -> &WaitQueue;

    /// After [`Device::submit`] was called for a batch: tells the device, if telling it is dear.
    fn kick(&self) {}

    /// Looks whether something is done, without an interrupt. For tests of an interrupt that does not come.
    fn poll(&self) {}

    /// Stops the device for good: when this returns, it touches no memory, and every request is completed with
    /// [`crate::BlockError::Dead`], as is each one submitted later. Wakes who waits for room.
    fn stop(&self);
}
