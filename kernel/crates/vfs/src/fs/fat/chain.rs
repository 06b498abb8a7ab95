//! [`Chain`]: the clusters of a file, in order, as runs of clusters that lie side by side. They are read from the FAT as they are needed.
//!
//! A chain that is longer than the volume has clusters is a circle.

use alloc::vec::Vec;

use abi::Errno;

use super::volume::{Next, Volume};

/// Clusters side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The number of the first in the file.
    pub(super) index: u64,
    /// The number of the first on the volume.
    pub(super) cluster: u32,
    /// How many.
    pub(super) count: u32,
}

impl Run {
    fn end(&self) -> u64 {
        self.index + u64::from(self.count)
    }
}

/// The clusters of a file.
pub(super) struct Chain {
    first: u32,
    runs: Vec<Run>,
    /// Whether all of it is known.
    is_whole: bool,
}

impl Chain {
    /// One that begins at a cluster; 0: there is none.
    pub(super) fn new(first: u32) -> Self {
        Self { first, runs: Vec::new(), is_whole: first == 0 }
    }

    /// The first cluster; 0 without one.
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// How many clusters are known: all, after all were loaded.
    pub(super) fn clusters(&self) -> u64 {
        self.runs.last().map_or(0, Run::end)
    }

    /// The last known cluster.
    pub(super) fn last(&self) -> Option<u32> {
        self.runs.last().map(|run| run.cluster + (run.count - 1))
    }

    /// Reads the FAT until `count` clusters are known, or all.
    pub(super) fn load(&mut self, volume: &Volume, count: u64) -> Result<(), Errno> {
        let max = u64::from(volume.geometry.clusters());
        while !self.is_whole && self.clusters() < count {
            let next = match self.last() {
                None => Next::Cluster(self.first),
                Some(last) => volume.next_of(last)?,
            };
            match next {
                Next::End => self.is_whole = true,
                Next::Free => return Err(volume.damaged("a file has free clusters")),
                Next::Cluster(cluster) if !volume.geometry.is_cluster(cluster) => {
                    return Err(volume.damaged("a file begins outside the volume"));
                }
                Next::Cluster(cluster) => self.add(cluster),
            }
            if self.clusters() > max {
                return Err(volume.damaged("the clusters of a file go round in a circle"));
            }
        }
        Ok(())
    }

    fn add(&mut self, cluster: u32) {
        match self.runs.last_mut() {
            Some(run) if run.cluster + run.count == cluster => run.count += 1,
            _ => self.runs.push(Run { index: self.clusters(), cluster, count: 1 }),
        }
    }

    /// Adds a cluster at the end of a chain that is known.
    pub(super) fn push(&mut self, cluster: u32) {
        debug_assert!(self.is_whole, "the end is not known");
        if self.first == 0 {
            self.first = cluster;
        }
        self.add(cluster);
    }

    /// The known clusters from one of the file on, that lie side by side.
    pub(super) fn run_at(&self, index: u64) -> Option<(u32, u64)> {
        let at = self.runs.partition_point(|run| run.end() <= index);
        let run = self.runs.get(at)?;
        let skipped = u32::try_from(index.checked_sub(run.index)?).ok()?;
        Some((run.cluster + skipped, u64::from(run.count - skipped)))
    }

    /// Cuts a chain that is known to `count` clusters, and gives what goes.
    pub(super) fn cut(&mut self, count: u64) -> Vec<Run> {
        debug_assert!(self.is_whole, "the end is not known");
        let kept = self.runs.partition_point(|run| run.end() <= count);
        let mut gone = self.runs.split_off(kept);
        if let Some(run) = gone.first_mut()
            && run.index < count
        {
            let left = u32::try_from(count - run.index).unwrap_or(run.count);
            self.runs.push(Run { count: left, ..*run });
            *run = Run { index: count, cluster: run.cluster + left, count: run.count - left };
        }
        if self.runs.is_empty() {
            self.first = 0;
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_and_cut() {
        let mut chain = Chain::new(0);
        for cluster in [5, 6, 7, 20, 9, 10] {
            chain.push(cluster);
        }
        assert_eq!((chain.first(), chain.clusters(), chain.last()), (5, 6, Some(10)));
        assert_eq!(chain.run_at(1), Some((6, 2)));
        assert_eq!(chain.run_at(3), Some((20, 1)));
        assert_eq!(chain.run_at(6), None);
        let gone = chain.cut(2);
        assert_eq!(gone.iter().map(|run| (run.cluster, run.count)).collect::<Vec<_>>(), [(7, 1), (20, 1), (9, 2)]);
        assert_eq!((chain.clusters(), chain.last()), (2, Some(6)));
        assert_eq!(chain.cut(2), []);
        assert_eq!(chain.cut(0).len(), 1);
        assert_eq!((chain.first(), chain.last()), (0, None));
    }
}
