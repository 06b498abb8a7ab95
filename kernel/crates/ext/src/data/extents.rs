//! Where the contents of a file are, for whoever asks (`FIEMAP`).

use abi::Errno;
use mm::PAGE_SIZE;

use crate::inode::Inode;
use crate::map::Place;

/// Where an extent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtentPlace {
    /// Data, from this byte of the volume on.
    Data(u64),
    /// Room without data, from this byte of the volume on.
    Unwritten(u64),
    /// It waits to be written: its place is not decided.
    Waiting,
}

/// Bytes that are side by side in a file and on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins in the file.
    pub start: u64,
    /// Its length.
    pub len: u64,
    /// Where it is.
    pub place: ExtentPlace,
}

impl Inode {
    /// Gives the extents of the blocks that have anything of `start..end`, until `sink` wants no more. No lock is held
    /// while it is called.
    pub fn each_extent(&self, start: u64, end: u64, sink: &mut dyn FnMut(Extent) -> bool) -> Result<(), Errno> {
        let block_len = self.block_len() as u64;
        let end = end.div_ceil(block_len).min(self.blocks_max(&self.map.lock()));
        let mut at = start / block_len;
        while at < end {
            let (place, next) = self.extent_at(at, end)?;
            if let Some(place) = place
                && !sink(Extent { start: at * block_len, len: (next - at) * block_len, place })
            {
                return Ok(());
            }
            at = next;
        }
        Ok(())
    }

    /// What is at a block, and the first block of which that does not say anything. None: a hole.
    fn extent_at(&self, at: u64, end: u64) -> Result<(Option<ExtentPlace>, u64), Errno> {
        let block_len = self.block_len() as u64;
        let per_page = (PAGE_SIZE as u64 / block_len).max(1);
        let mut map = self.map.lock();
        let run = self.find(&mut map, u32::try_from(at).map_err(|_| Errno::EFBIG)?)?;
        let end = run.end().min(end);
        match run.place {
            Place::Data(block) => return Ok((Some(ExtentPlace::Data(block * block_len)), end)),
            Place::Unwritten(block) => return Ok((Some(ExtentPlace::Unwritten(block * block_len)), end)),
            Place::Hole => {}
        }
        let first = at / per_page;
        let waits_here = map.waiting.contains_key(&first);
        let next = if waits_here {
            let mut side_by_side = (first..).zip(map.waiting.range(first..));
            side_by_side.find(|(page, (waiting, _))| page != *waiting).map(|(page, _)| page)
        } else {
            map.waiting.range(first..).next().map(|(waiting, _)| *waiting)
        };
        // All that wait are side by side up to the last, when none is found that is not.
        let last = map.waiting.last_key_value().map_or(first, |(last, _)| last.saturating_add(1));
        let behind = if waits_here { Some(next.unwrap_or(last)) } else { next };
        let end = behind.map_or(end, |page| page.saturating_mul(per_page).min(end));
        Ok((waits_here.then_some(ExtentPlace::Waiting), end))
    }
}
