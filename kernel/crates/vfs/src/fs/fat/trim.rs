//! Telling the disk which clusters hold nothing (`FITRIM`).
//!
//! The volume is locked while a run is discarded, so nobody takes a cluster of it meanwhile. A cluster that is free in
//! memory may go: nothing on the disk leads to it any more (`commit`, 4).

use abi::Errno;
use block::SECTOR_LEN;

use crate::TrimRange;

use super::volume::Volume;

/// So many clusters in use are looked at before others may have the volume.
const USED_MAX: u32 = 1 << 14;

impl Volume {
    /// Discards the free clusters of a part of the volume. As on Linux the part is given as if the clusters began with
    /// the volume, by their numbers.
    pub(super) fn trim(&self, range: &mut TrimRange) -> Result<(), Errno> {
        let cluster_len = self.geometry.cluster_len();
        range.len_min = range.len_min.max(self.buffers.volume().disk().limits().logical_block_len as u64);
        let first = (range.start / cluster_len).max(2);
        let (count, least) = (range.len / cluster_len, range.len_min / cluster_len);
        let cluster_end = u64::from(self.geometry.cluster_end);
        if first >= cluster_end || count == 0 {
            return Err(Errno::EINVAL);
        }
        let end = first.saturating_add(count).min(cluster_end);
        let number = |cluster: u64| u32::try_from(cluster).unwrap_or(u32::MAX);
        let (mut at, end) = (number(first), number(end));
        let mut trimmed = 0;
        while at < end {
            let (next, count) = self.trim_run(at, end, least)?;
            trimmed += count * cluster_len;
            at = next;
        }
        range.len = trimmed;
        Ok(())
    }

    /// Discards the first run of free clusters in `first..end` if it is long enough and not far. Where to go on, and how
    /// many clusters that were.
    fn trim_run(&self, first: u32, end: u32, least: u64) -> Result<(u32, u64), Errno> {
        let _state = self.lock_for_change()?;
        let used_end = end.min(first.saturating_add(USED_MAX));
        let mut start = first;
        while start < used_end && self.entry(start)? != 0 {
            start += 1;
        }
        if start == used_end {
            return Ok((start, 0));
        }
        let mut next = start;
        while next < end && self.entry(next)? == 0 {
            next += 1;
        }
        let count = u64::from(next - start);
        if count == 0 || count < least {
            return Ok((next, 0));
        }
        let sector = self.geometry.block_of(start) * self.geometry.block_sectors();
        let sectors = count * self.geometry.cluster_len() / SECTOR_LEN as u64;
        self.watched(self.buffers.volume().discard(sector, sectors))?;
        Ok((next, count))
    }
}
