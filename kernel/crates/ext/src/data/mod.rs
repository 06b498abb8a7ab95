//! Contents of files: pages to and from the disk, room for them, cutting and holes.
//!
//! # 1. Room
//!
//! While a program writes, blocks are claimed for pages that have none ([`Inode::claim_pages`]), and a few for the map
//! that will name them, so that a full disk is told to the program. Which blocks it will be is decided when the pages
//! are written back, in long runs.
//!
//! # 2. Writing
//!
//! [`Inode::begin_writing`] finds or promises the blocks and starts to write the data; when that is there,
//! [`Writing::finish`] changes the map and the length on the disk (see `allocate`). Data of several files may be on its
//! way together ([`Transfers`]). The length there never goes beyond what was written, so after a crash nothing of
//! another file is seen.
//!
//! A page may be stored in again, and blocks be claimed for it, while it is on its way: the claims of a page that was
//! claimed for again are kept when it is done, if it has blocks left to be found.
//!
//! # 3. Cutting
//!
//! The new length is set first, in one change with an entry in the list of orphans; then blocks go, in as many changes
//! as that takes.

mod extents;
mod room;
mod writing;

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use block::{BlockError, Completion, Operation, Plug, Segment};
use mm::{Frame, PAGE_SIZE};

use crate::FileSystem;
use crate::inode::Inode;
use crate::map::{Map, Place, Run};
use crate::orphan::ORPHAN_CREDITS;

pub use extents::{Extent, ExtentPlace};
pub use writing::Writing;

/// What a file has at a block.
enum Contents {
    Data,
    Hole,
    /// Room that counts as zeros, unless the page is in memory.
    Room {
        page: u64,
    },
}

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

    /// The next byte from `offset` on that is data, or in a hole; the end of the file counts as one. `is_cached` says
    /// whether a page that has only room may hold data in memory. `ENXIO` behind the last data, and behind the end.
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
        while at < end {
            let (contents, next) = self.contents_at(at)?;
            // Asked without the map: who looks after pages asks for the map.
            let is_data = match contents {
                Contents::Data => true,
                Contents::Hole => false,
                Contents::Room { page } => is_cached(page),
            };
            if is_data != wants_hole {
                return Ok(offset.max(at * block_len));
            }
            at = next;
        }
        if wants_hole { Ok(size) } else { Err(Errno::ENXIO) }
    }

    /// What there is at a block, and the first block of which that does not say anything.
    fn contents_at(&self, block: u64) -> Result<(Contents, u64), Errno> {
        let page = block / self.per_page();
        let page_end = (page + 1) * self.per_page();
        let mut map = self.map.lock();
        let run = self.find(&mut map, Self::logical(block)?)?;
        Ok(match run.place {
            Place::Data(_) => (Contents::Data, run.end()),
            // Page by page, where pages may wait to be written.
            Place::Unwritten(_) => (Contents::Room { page }, run.end().min(page_end)),
            Place::Hole => match map.waiting.range(page..).next() {
                Some((waiting, _)) if *waiting == page => (Contents::Data, run.end().min(page_end)),
                Some((waiting, _)) => (Contents::Hole, run.end().min(waiting.saturating_mul(self.per_page()))),
                None => (Contents::Hole, run.end()),
            },
        })
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

    /// Whether ranges can be taken out of it and put into it.
    pub fn takes_shifts(&self) -> bool {
        self.map.lock().has_extents()
    }

    /// Takes a range of whole blocks out, so that what is behind it follows what is before it, and sets the length. All
    /// data is on the disk, and from the page of `offset` on no page is in memory. A crash may leave the range zero and
    /// all else as it was; when it is refused, for want of room, nothing has changed.
    pub fn take_out(&self, offset: u64, end: u64, size: u64) -> Result<(), Errno> {
        let _layout = self.lock_layout();
        let (first, end) = self.whole_blocks(offset, end)?;
        self.forget_waiting(offset / PAGE_SIZE as u64);
        let plan = self.plan_shift(end, i64::from(first) - i64::from(end))?;
        self.remove_in_changes(first, end.into())?;
        self.shift(plan, size)
    }

    /// Puts a hole of whole blocks in, and sets the length. As [`Inode::take_out`], but that a crash leaves all as it
    /// was.
    pub fn put_in(&self, offset: u64, end: u64, size: u64) -> Result<(), Errno> {
        let _layout = self.lock_layout();
        let (first, end) = self.whole_blocks(offset, end)?;
        self.forget_waiting(offset / PAGE_SIZE as u64);
        self.cut_extent(first)?;
        let plan = self.plan_shift(first, i64::from(end) - i64::from(first))?;
        self.shift(plan, size)
    }

    fn whole_blocks(&self, offset: u64, end: u64) -> Result<(u32, u32), Errno> {
        let block_len = self.block_len() as u64;
        Ok((Self::logical(offset / block_len)?, Self::logical(end / block_len)?))
    }

    /// Takes the blocks away that lie in a range of bytes with all their bytes. Pages with nothing else are gone
    /// already.
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
}
