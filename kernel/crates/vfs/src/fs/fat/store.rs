//! The contents of a file: between its pages and its clusters.

use alloc::vec::Vec;

use abi::Errno;
use block::{Completion, Operation, Plug, SECTOR_LEN, Segment};
use mm::{Frame, PAGE_SIZE};

use crate::PageStore;

use super::chain::Chain;
use super::inode::FatInode;

const PAGE: u64 = PAGE_SIZE as u64;

/// Pages, or parts of them, that lie side by side on the volume.
struct Part {
    sector: u64,
    segments: Vec<Segment>,
}

impl FatInode {
    /// The sectors behind a range of bytes of the file: for each run of clusters the first sector, and how many bytes.
    fn sectors(&self, chain: &mut Chain, from: u64, to: u64) -> Result<Vec<(u64, u64)>, Errno> {
        let geometry = &self.volume.geometry;
        let cluster_len = geometry.cluster_len();
        chain.load(&self.volume, geometry.clusters_for(to))?;
        let mut runs = Vec::new();
        let mut at = from;
        while at < to {
            let Some((cluster, count)) = chain.run_at(at / cluster_len) else {
                return Err(self.volume.damaged("a file is longer than its clusters"));
            };
            let offset = at % cluster_len;
            let len = (count * cluster_len - offset).min(to - at);
            let sector = geometry.block_of(cluster) * geometry.block_sectors() + offset / SECTOR_LEN as u64;
            runs.push((sector, len));
            at += len;
        }
        Ok(runs)
    }

    /// What of some pages lies before the end of the file, up to whole blocks.
    fn parts(&self, chain: &mut Chain, first: u64, frames: &[Frame]) -> Result<Vec<Part>, Errno> {
        let from = first * PAGE;
        let end = self.metadata.size().next_multiple_of(self.volume.geometry.block_len as u64);
        let to = end.min(from + frames.len() as u64 * PAGE).max(from);
        let mut at = from;
        let mut parts = Vec::new();
        for (sector, len) in self.sectors(chain, from, to)? {
            let mut segments = Vec::new();
            let run_end = at + len;
            while at < run_end {
                let offset = usize::try_from(at % PAGE).unwrap_or(0);
                let len = (PAGE - at % PAGE).min(run_end - at);
                let index = usize::try_from(at / PAGE - first).unwrap_or(usize::MAX);
                let frame = frames.get(index).ok_or(Errno::EIO)?;
                let segment = Segment::new(frame.clone(), offset, usize::try_from(len).unwrap_or(0));
                segments.push(segment.ok_or(Errno::EIO)?);
                at += len;
            }
            parts.push(Part { sector, segments });
        }
        Ok(parts)
    }

    fn transfer(&self, operation: Operation, parts: Vec<Part>) -> Result<(), Errno> {
        let disk = self.volume.buffers.volume();
        let completion = Completion::new();
        let mut plug = Plug::new(disk.disk());
        let mut begun = Ok(());
        for part in parts {
            begun = disk.start(&mut plug, operation, part.sector, part.segments, || completion.add());
            if begun.is_err() {
                break;
            }
        }
        drop(plug);
        self.volume.watched(disk.disk().wait(&completion).and(begun))
    }

    /// Makes zero on the disk what lies between two places of the file, in whole blocks, where there are clusters.
    pub(super) fn clear_on_disk(&self, from: u64, to: u64) -> Result<(), Errno> {
        if from >= to {
            return Ok(());
        }
        let mut chain = self.chain().lock();
        let to = to.next_multiple_of(self.volume.geometry.block_len as u64);
        for (sector, len) in self.sectors(&mut chain, from, to)? {
            let disk = self.volume.buffers.volume();
            self.volume.watched(disk.write_zeroes(sector, len / SECTOR_LEN as u64))?;
        }
        self.volume.note_written();
        Ok(())
    }
}

impl PageStore for FatInode {
    fn size(&self) -> u64 {
        self.metadata.size()
    }

    fn read_pages(&self, first: u64, frames: &[Frame]) -> Result<(), Errno> {
        let parts = self.parts(&mut self.chain().lock(), first, frames)?;
        self.transfer(Operation::Read, parts)?;
        // Behind the end the disk may hold anything.
        let size = self.metadata.size();
        for (index, frame) in (first..).zip(frames) {
            let kept = usize::try_from(size.saturating_sub(index * PAGE).min(PAGE)).unwrap_or(0);
            frame.zero_range(kept, PAGE_SIZE - kept);
        }
        Ok(())
    }

    fn reserve(&self, _first: u64, _end: u64) -> Result<(), Errno> {
        // Whatever makes the file longer has made room before.
        Ok(())
    }

    fn is_hole(&self, _index: u64) -> Result<bool, Errno> {
        Ok(false)
    }

    fn write_pages(&self, first: u64, frames: &[Frame]) -> Result<(), Errno> {
        self.volume.check_writable()?;
        let mut chain = self.chain().lock();
        let parts = self.parts(&mut chain, first, frames)?;
        self.transfer(Operation::Write { is_forced: false }, parts)?;
        self.volume.note_written();
        Ok(())
    }

    fn note_dirty(&self) {
        self.note_changed(&mut self.volume.lock());
    }
}
