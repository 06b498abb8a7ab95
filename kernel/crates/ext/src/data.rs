//! Contents of files: pages to and from the disk, room for them, cutting and holes.
//!
//! # 1. Room
//!
//! While a program writes, blocks are claimed for pages that have none ([`Inode::claim_pages`]), and a few for the map that will name
//! them, so that a full disk is told to the program. Which blocks it will be is decided when the pages are written back, in long
//! runs.
//!
//! # 2. Writing
//!
//! [`Inode::begin_writing`] finds or promises the blocks and starts to write the data; when that is there, [`Writing::finish`] changes the
//! map and the length on the disk (see `allocate`). Data of several files may be on its way together ([`Transfers`]). The length there never goes beyond what was written, so after a crash nothing of another file is seen.
//!
//! A page may be stored in again, and blocks be claimed for it, while it is on its way: the claims of a page that was claimed for
//! again are kept when it is done, if it has blocks left to be found.
//!
//! # 3. Cutting
//!
//! The new length is set first, in one change with an entry in the list of orphans; then blocks go, in as many changes as that takes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use block::{BlockError, Completion, Operation, Plug, Segment};
use mm::{Frame, PAGE_SIZE};
use sync::MutexGuard;

use crate::allocate::RUN_CREDITS;
use crate::inode::Inode;
use crate::map::{INSERT_CREDITS, Map, Place, Run};
use crate::orphan::ORPHAN_CREDITS;
use crate::{Change, FileSystem};

/// Blocks claimed for a map in which anything will be changed.
const EXTRA_MIN: u64 = 3;
/// Blocks of a file for whose places two blocks are claimed: fewer than a block of pointers or extents has.
const REGION_BLOCKS: u64 = 64;
/// Set in the number of blocks claimed for a page that was claimed for again.
const CLAIMED_AGAIN: u32 = 1 << 31;

/// Transfers of one thread, of one file or several, which it waits for together.
pub struct Transfers<'a> {
    file_system: &'a FileSystem,
    plug: Plug,
    completion: Arc<Completion>,
    operation: Operation,
}

impl<'a> Transfers<'a> {
    /// Writes.
    pub fn writes(file_system: &'a FileSystem) -> Self {
        Self::new(file_system, Operation::Write { is_forced: false })
    }

    fn new(file_system: &'a FileSystem, operation: Operation) -> Self {
        let plug = Plug::new(file_system.cache().volume().disk());
        Self { file_system, plug, completion: Completion::new(), operation }
    }

    fn start(&mut self, block: u64, segments: Vec<Segment>) -> Result<(), BlockError> {
        let cache = self.file_system.cache();
        let (sector, completion) = (cache.sector_of(block)?, &self.completion);
        cache.volume().start(&mut self.plug, self.operation, sector, segments, || completion.add())
    }

    /// Waits for all; the first error of any.
    pub fn finish(self) -> Result<(), Errno> {
        let Self { file_system, plug, completion, .. } = self;
        drop(plug);
        Ok(file_system.cache().volume().disk().wait(&completion)?)
    }
}

/// Pages in memory, and where in the file they are.
#[derive(Clone, Copy)]
struct Pages<'a> {
    first: u64,
    frames: &'a [Frame],
    per_page: u64,
    block_len: usize,
}

impl Pages<'_> {
    /// The first block of the first page.
    fn start(&self) -> u64 {
        self.first.saturating_mul(self.per_page)
    }

    fn end(&self) -> u64 {
        self.first.saturating_add(self.frames.len() as u64).saturating_mul(self.per_page)
    }

    /// The frame of a block of the file and the place in it.
    fn place(&self, logical: u64) -> Result<(&Frame, usize), Errno> {
        let page = usize::try_from(logical / self.per_page - self.first).unwrap_or(usize::MAX);
        let offset = usize::try_from(logical % self.per_page).unwrap_or(0) * self.block_len;
        Ok((self.frames.get(page).ok_or(Errno::EIO)?, offset))
    }

    /// The memory of blocks of the file, page by page.
    fn segments(&self, logical: u64, end: u64) -> Result<Vec<Segment>, Errno> {
        let mut segments = Vec::new();
        let mut at = logical;
        while at < end {
            let in_page = (self.per_page - at % self.per_page).min(end - at);
            let (frame, offset) = self.place(at)?;
            let len = usize::try_from(in_page).unwrap_or(0) * self.block_len;
            segments.push(Segment::new(frame.clone(), offset, len).ok_or(Errno::EIO)?);
            at += in_page;
        }
        Ok(segments)
    }

    fn zero(&self, logical: u64, end: u64) -> Result<(), Errno> {
        for at in logical..end {
            let (frame, offset) = self.place(at)?;
            frame.zero_range(offset, self.block_len);
        }
        Ok(())
    }
}

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

impl Map {
    /// All blocks that are claimed.
    fn claims(&self) -> u64 {
        let of_pages: u64 = self.waiting.values().map(|claimed| u64::from(claimed & !CLAIMED_AGAIN)).sum();
        of_pages + self.claimed_extra
    }
}

impl Inode {
    /// Blocks that are claimed for pages that wait to be written, in units of 512 bytes: `stat` counts them.
    pub fn sectors_claimed(&self) -> u64 {
        let map = self.map.lock();
        (map.claims() - map.claimed_extra) * (self.block_len() as u64 / 512)
    }

    fn per_page(&self) -> u64 {
        (PAGE_SIZE / self.block_len()) as u64
    }

    fn pages<'a>(&self, first: u64, frames: &'a [Frame]) -> Pages<'a> {
        Pages { first, frames, per_page: self.per_page(), block_len: self.block_len() }
    }

    /// The number of a block of the file; `EFBIG` for one that no map reaches.
    fn logical(block: u64) -> Result<u32, Errno> {
        u32::try_from(block).map_err(|_| Errno::EFBIG)
    }

    /// The run from a block of the file on, up to `end`.
    fn run_to(&self, at: u64, end: u64) -> Result<Run, Errno> {
        let run = self.find_run(Self::logical(at)?)?;
        let left = u32::try_from(end.saturating_sub(at)).unwrap_or(u32::MAX).max(1);
        Ok(Run { count: run.count.min(left), ..run })
    }

    // ---- Reading ----------------------------------------------------------------------------------------------------

    /// Fills the frames of the pages from `first` on.
    pub fn read_pages(&self, first: u64, frames: &[Frame]) -> Result<(), Errno> {
        let pages = self.pages(first, frames);
        let mut transfers = Transfers::new(self.file_system(), Operation::Read);
        let begun = self.start_reading(pages, &mut transfers);
        let done = transfers.finish();
        begun.and(done)
    }

    fn start_reading(&self, pages: Pages<'_>, transfers: &mut Transfers<'_>) -> Result<(), Errno> {
        let reachable = self.blocks_max(&self.map.lock());
        let mut at = pages.start();
        while at < pages.end() {
            let end = pages.end().min(reachable.max(at));
            if end == at {
                return pages.zero(at, pages.end());
            }
            let run = self.run_to(at, end)?;
            match run.place {
                Place::Data(block) => transfers.start(block, pages.segments(at, run.end())?)?,
                Place::Hole | Place::Unwritten(_) => pages.zero(at, run.end())?,
            }
            at = run.end();
        }
        Ok(())
    }

    /// Whether no block holds anything of a page, and none will.
    pub fn is_hole(&self, index: u64) -> Result<bool, Errno> {
        let mut map = self.map.lock();
        if map.waiting.contains_key(&index) {
            return Ok(false);
        }
        Ok(self.count_holes(&mut map, index)?.1 == 0)
    }

    /// How many blocks of a page are holes, and how many are not.
    fn count_holes(&self, map: &mut Map, index: u64) -> Result<(u32, u32), Errno> {
        let (mut holes, mut others) = (0, 0);
        let start = index.checked_mul(self.per_page()).ok_or(Errno::EFBIG)?;
        for block in start..start + self.per_page() {
            match self.find(map, Self::logical(block)?)?.place {
                Place::Hole => holes += 1,
                Place::Data(_) | Place::Unwritten(_) => others += 1,
            }
        }
        Ok((holes, others))
    }

    /// The next byte from `offset` on that is data, or in a hole; the end of the file counts as one. `is_cached` says whether a page
    /// that has only room may hold data in memory. `ENXIO` behind the last data, and behind the end.
    pub fn seek(
        &self,
        offset: u64,
        wants_hole: bool,
        size: u64,
        is_cached: &dyn Fn(u64) -> bool,
    ) -> Result<u64, Errno> {
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        let block_len = self.block_len() as u64;
        let end = size.div_ceil(block_len);
        let mut at = offset / block_len;
        let mut map = self.map.lock();
        while at < end {
            let page = at / self.per_page();
            let run = self.find(&mut map, Self::logical(at)?)?;
            let (is_data, next) = match run.place {
                Place::Data(_) => (true, run.end()),
                // Page by page, where pages may wait to be written.
                Place::Hole if map.waiting.is_empty() => (false, run.end()),
                Place::Hole => {
                    let next_waiting = map.waiting.range(page..).next().map_or(u64::MAX, |(page, _)| *page);
                    if next_waiting == page {
                        (true, run.end().min((page + 1) * self.per_page()))
                    } else {
                        (false, run.end().min(next_waiting.saturating_mul(self.per_page())))
                    }
                }
                Place::Unwritten(_) => (is_cached(page), run.end().min((page + 1) * self.per_page())),
            };
            if is_data != wants_hole {
                return Ok(offset.max(at * block_len));
            }
            at = next;
        }
        if wants_hole { Ok(size) } else { Err(Errno::ENXIO) }
    }

    // ---- Room -------------------------------------------------------------------------------------------------------

    /// Claims blocks for the pages `first..end`, so that they can be written back. `ENOSPC` when there is no room for all of them.
    pub fn claim_pages(&self, first: u64, end: u64, is_privileged: bool) -> Result<(), Errno> {
        for index in first..end {
            let mut map = self.map.lock();
            if let Some(claimed) = map.waiting.get_mut(&index) {
                *claimed |= CLAIMED_AGAIN;
                continue;
            }
            let (holes, _) = self.count_holes(&mut map, index)?;
            if holes == 0 {
                continue;
            }
            let extra = self.extra_for(&map, index);
            self.file_system().claim(u64::from(holes) + extra, is_privileged)?;
            map.claimed_extra += extra;
            map.waiting.insert(index, holes);
        }
        Ok(())
    }

    /// Blocks to be claimed for the map when one more page waits.
    fn extra_for(&self, map: &Map, index: u64) -> u64 {
        let pages = (REGION_BLOCKS / self.per_page()).max(1);
        let region = index / pages * pages;
        let is_known = map.waiting.range(region..region + pages).next().is_some();
        let first = if map.waiting.is_empty() { EXTRA_MIN } else { 0 };
        first + if is_known { 0 } else { 2 }
    }

    /// Gives back what is claimed for the map when no page waits any more.
    fn settle_extra(&self, map: &mut Map) {
        if map.waiting.is_empty() {
            self.file_system().give_back(core::mem::take(&mut map.claimed_extra));
        }
    }

    /// Pages from this one on do not wait any more.
    pub fn forget_waiting(&self, first: u64) {
        self.forget_waiting_in(first, u64::MAX);
    }

    fn forget_waiting_in(&self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        let mut map = self.map.lock();
        let pages: Vec<u64> = map.waiting.range(first..end).map(|(page, _)| *page).collect();
        for page in pages {
            let claimed = map.waiting.remove(&page).unwrap_or(0);
            self.file_system().give_back((claimed & !CLAIMED_AGAIN).into());
        }
        self.settle_extra(&mut map);
    }

    /// Blocks of a page that waits were taken away: those are claimed, too.
    fn renew_claims(&self, index: u64) -> Result<(), Errno> {
        let mut map = self.map.lock();
        let Some(claimed) = map.waiting.get(&index).map(|claimed| claimed & !CLAIMED_AGAIN) else { return Ok(()) };
        let holes = self.count_holes(&mut map, index)?.0;
        let more = holes.saturating_sub(claimed);
        if self.file_system().claim(more.into(), true).is_ok()
            && let Some(claimed) = map.waiting.get_mut(&index)
        {
            *claimed += more;
        }
        Ok(())
    }

    // ---- Writing ----------------------------------------------------------------------------------------------------

    /// Begins to write pages, for which there is room, as far as the file goes. What begins here must be finished, after the transfers.
    /// With `may_wait` false, None when blocks of the file are being taken away: whoever has begun with a file does not wait for another.
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

    /// The length on the disk when everything before a block of the file is there, and whether that is more than what it is now.
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

    // ---- Length and holes -------------------------------------------------------------------------------------------

    /// Sets the length on the disk, and takes away what is behind it. The pages behind it are gone already.
    pub fn cut(&self, len: u64) -> Result<(), Errno> {
        let _layout = self.lock_layout();
        let first = len.div_ceil(self.block_len() as u64);
        let has_more = {
            let map = self.map.lock();
            first < self.blocks_max(&map) && map.sectors > 0
        };
        {
            let change = self.file_system().begin(1 + ORPHAN_CREDITS)?;
            if has_more {
                self.file_system().add_orphan(&change, self)?;
            }
            let mut map = self.map.lock();
            map.size = len;
            self.store_map(&change, &mut map)?;
        }
        self.forget_waiting(len.div_ceil(PAGE_SIZE as u64));
        if has_more {
            self.remove_in_changes(Self::logical(first)?, 1 << 32)?;
            let change = self.file_system().begin(ORPHAN_CREDITS)?;
            self.file_system().remove_orphan(&change, self)?;
        }
        self.renew_claims(len / PAGE_SIZE as u64)
    }

    /// Sets a greater length on the disk.
    pub fn set_size_on_disk(&self, len: u64) -> Result<(), Errno> {
        let change = self.file_system().begin(1)?;
        let mut map = self.map.lock();
        map.size = len;
        self.store_map(&change, &mut map)
    }

    /// Takes the blocks away that lie in a range of bytes with all their bytes. Pages with nothing else are gone already.
    pub fn punch(&self, offset: u64, end: u64) -> Result<(), Errno> {
        let _layout = self.lock_layout();
        let block_len = self.block_len() as u64;
        let reachable = self.blocks_max(&self.map.lock());
        let (first, end_block) = (offset.div_ceil(block_len), (end / block_len).min(reachable));
        self.forget_waiting_in(offset.div_ceil(PAGE_SIZE as u64), end / PAGE_SIZE as u64);
        if first < end_block {
            self.remove_in_changes(Self::logical(first)?, end_block)?;
        }
        self.renew_claims(offset / PAGE_SIZE as u64)?;
        self.renew_claims(end / PAGE_SIZE as u64)
    }

    /// Finds room for a range of bytes, without data. `EOPNOTSUPP` for files that cannot say that a block has none.
    pub fn make_room(&self, offset: u64, end: u64, is_privileged: bool) -> Result<(), Errno> {
        let _layout = self.lock_layout();
        let block_len = self.block_len() as u64;
        let (mut at, end) = (offset / block_len, end.div_ceil(block_len));
        {
            let map = self.map.lock();
            if !map.has_extents() {
                return Err(Errno::EOPNOTSUPP);
            }
            if end > self.blocks_max(&map) {
                return Err(Errno::EFBIG);
            }
        }
        let file_system = self.file_system();
        while at < end {
            let run = self.run_to(at, end)?;
            at = run.end();
            if run.place != Place::Hole {
                continue;
            }
            let wanted = run.count.min(32_767);
            file_system.claim(wanted.into(), is_privileged)?;
            let (block, count) = match self.goal(run.logical).and_then(|goal| file_system.promise(goal, wanted)) {
                Ok(found) => found,
                Err(errno) => {
                    file_system.give_back(wanted.into());
                    return Err(errno);
                }
            };
            file_system.give_back((wanted - count).into());
            let change = file_system.begin(RUN_CREDITS + INSERT_CREDITS)?;
            file_system.keep(&change, block, count)?;
            let place = Place::Unwritten(block);
            if let Err(errno) = self.insert(&change, &mut self.map.lock(), Run { count, place, ..run }) {
                file_system.free_blocks(&change, block, count, false)?;
                return Err(errno);
            }
            at = u64::from(run.logical) + u64::from(count);
        }
        Ok(())
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        // Without a lock: it may be dropped where none may be taken.
        let (blocks, file_system) = (self.map.get_mut().claims(), self.file_system());
        file_system.give_back(blocks);
    }
}
