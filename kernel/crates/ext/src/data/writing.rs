//! Pages on their way to the disk, and what is done to the map when they are there. See section 2 of the parent.

use alloc::vec::Vec;

use abi::Errno;
use mm::Frame;
use sync::MutexGuard;

use super::room::CLAIMED_AGAIN;
use super::{Pages, Transfers};
use crate::Change;
use crate::allocate::RUN_CREDITS;
use crate::inode::Inode;
use crate::map::{INSERT_CREDITS, Map, Place, Run};

/// Pages of one file that are on their way. Until it is finished no block of the file is taken away.
#[must_use]
pub struct Writing<'a> {
    inode: &'a Inode,
    _layout: MutexGuard<'a, ()>,
    runs: Vec<Pages<'a>>,
    written: Written,
    /// The length of the file when it began.
    size: u64,
    /// Whether all of the transfers began.
    begun: Result<(), Errno>,
}

impl Writing<'_> {
    /// The transfers are over: when they were good the map says where the data is.
    pub fn finish(self, transferred: Result<(), Errno>) -> Result<(), Errno> {
        let Self { inode, runs, written, size, begun, .. } = self;
        if let Err(errno) = begun.and(transferred) {
            for (_, block, count) in written.promised {
                inode.file_system().withdraw(block, count);
            }
            return Err(errno);
        }
        inode.note_written(written, size)?;
        inode.settle_pages(&runs)
    }
}

/// What writing pages leaves to be done to the map.
#[derive(Default)]
struct Written {
    /// Promised blocks that have their data.
    promised: Vec<(u32, u64, u32)>,
    /// Blocks of the file that had only room.
    unwritten: Vec<(u32, u64)>,
    /// One past the last block of the file that was written.
    end: u64,
}

impl Inode {
    /// Begins to write pages, for which there is room, as far as the file goes. What begins here must be finished,
    /// after the transfers. With `may_wait` false, None when blocks of the file are being taken away: whoever has begun
    /// with a file does not wait for another.
    pub fn begin_writing<'a>(
        &'a self,
        runs: impl Iterator<Item = (u64, &'a [Frame])>,
        size: &dyn Fn() -> u64,
        transfers: &mut Transfers<'_>,
        may_wait: bool,
    ) -> Option<Writing<'a>> {
        let layout = if may_wait { self.lock_layout() } else { self.try_lock_layout()? };
        let size = size();
        let mut writing = Writing {
            inode: self,
            _layout: layout,
            runs: Vec::new(),
            written: Written::default(),
            size,
            begun: Ok(()),
        };
        for (first, frames) in runs {
            let pages = self.pages(first, frames);
            let end = pages.end().min(size.div_ceil(self.block_len() as u64));
            writing.begun = self.start_writing(pages, end, transfers, &mut writing.written);
            if writing.begun.is_err() {
                break;
            }
            writing.runs.push(pages);
        }
        Some(writing)
    }

    fn start_writing(
        &self,
        pages: Pages<'_>,
        end: u64,
        transfers: &mut Transfers<'_>,
        written: &mut Written,
    ) -> Result<(), Errno> {
        let mut at = pages.start();
        while at < end {
            let run = self.run_to(at, end)?;
            let (block, count) = match run.place {
                Place::Data(block) => (block, run.count),
                Place::Unwritten(block) => {
                    written.unwritten.push((run.logical, run.end()));
                    (block, run.count)
                }
                Place::Hole => {
                    let waiting = self.count_waiting(at, run.end());
                    if waiting == 0 {
                        // Nothing was written here since it was punched.
                        at = run.end().min((at / self.per_page() + 1) * self.per_page());
                        continue;
                    }
                    let goal = match written.promised.last() {
                        Some((logical, block, count)) if u64::from(*logical) + u64::from(*count) == at => {
                            block + u64::from(*count)
                        }
                        _ => self.goal(run.logical)?,
                    };
                    let (block, count) = self.file_system().promise(goal, waiting)?;
                    written.promised.push((run.logical, block, count));
                    (block, count)
                }
            };
            transfers.start(block, pages.segments(at, at + u64::from(count))?)?;
            at += u64::from(count);
            written.end = at;
        }
        Ok(())
    }

    /// How many of the blocks `at..end` of the file, the first ones, are in pages that wait.
    fn count_waiting(&self, at: u64, end: u64) -> u32 {
        let map = self.map.lock();
        let mut next = at;
        while next < end && map.waiting.contains_key(&(next / self.per_page())) {
            next = (next / self.per_page() + 1) * self.per_page();
        }
        u32::try_from(next.min(end) - at).unwrap_or(0)
    }

    /// The data is on the disk: now the map says where.
    fn note_written(&self, written: Written, size: u64) -> Result<(), Errno> {
        let file_system = self.file_system();
        let mut promised = written.promised.into_iter();
        let kept = promised.by_ref().try_for_each(|run| self.keep_run(run, size));
        if kept.is_err() {
            promised.for_each(|(_, block, count)| file_system.withdraw(block, count));
            return kept;
        }
        for (first, end) in written.unwritten {
            let mut next = Some(first);
            while let Some(first) = next {
                let change = file_system.begin(INSERT_CREDITS)?;
                next = self.set_written(&change, &mut self.map.lock(), first, end)?;
            }
        }
        if self.is_longer(&self.map.lock(), written.end, size) {
            let change = file_system.begin(1)?;
            self.lengthen(&change, &mut self.map.lock(), written.end, size)?;
        }
        Ok(())
    }

    /// Promised blocks with data become the file's.
    fn keep_run(&self, (logical, block, count): (u32, u64, u32), size: u64) -> Result<(), Errno> {
        let file_system = self.file_system();
        let change =
            file_system.begin(RUN_CREDITS + INSERT_CREDITS).inspect_err(|_| file_system.withdraw(block, count))?;
        file_system.keep(&change, block, count)?;
        let mut map = self.map.lock();
        let run = Run { logical, count, place: Place::Data(block) };
        if let Err(errno) = self.insert(&change, &mut map, run) {
            drop(map);
            file_system.free_blocks(&change, block, count, false)?;
            // It was claimed before, and the pages wait still.
            file_system.claim(count.into(), true)?;
            return Err(errno);
        }
        self.use_claims(&mut map, logical, count);
        self.lengthen(&change, &mut map, run.end(), size)
    }

    /// The length on the disk when everything before a block of the file is there, and whether that is more than what
    /// it is now.
    fn is_longer(&self, map: &Map, end: u64, size: u64) -> bool {
        size.min(end.saturating_mul(self.block_len() as u64)) > map.size
    }

    fn lengthen(&self, change: &Change<'_>, map: &mut Map, end: u64, size: u64) -> Result<(), Errno> {
        if !self.is_longer(map, end, size) {
            return Ok(());
        }
        map.size = size.min(end.saturating_mul(self.block_len() as u64));
        self.store_map(change, map)
    }

    /// Blocks that pages waited for have been taken.
    fn use_claims(&self, map: &mut Map, logical: u32, count: u32) {
        for block in u64::from(logical)..u64::from(logical) + u64::from(count) {
            match map.waiting.get_mut(&(block / self.per_page())) {
                Some(claimed) if *claimed & !CLAIMED_AGAIN > 0 => *claimed -= 1,
                // It was punched meanwhile, and there was no room to claim it again; now there is one less.
                _ => {
                    let _ = self.file_system().claim(1, true);
                }
            }
        }
    }

    /// Pages that were written do not wait any more, unless they were claimed for again and have blocks to be found.
    fn settle_pages(&self, runs: &[Pages<'_>]) -> Result<(), Errno> {
        let mut map = self.map.lock();
        for index in runs.iter().flat_map(|pages| pages.first..pages.first + pages.frames.len() as u64) {
            let Some(claimed) = map.waiting.get(&index).copied() else { continue };
            let left = claimed & !CLAIMED_AGAIN;
            let holes = self.count_holes(&mut map, index)?.0;
            if claimed & CLAIMED_AGAIN != 0 && holes > 0 {
                map.waiting.insert(index, left);
            } else {
                map.waiting.remove(&index);
                self.file_system().give_back(left.into());
            }
        }
        self.settle_extra(&mut map);
        Ok(())
    }
}
