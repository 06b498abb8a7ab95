//! [`FileData`]: the contents of a file of a server: reads, writes, mapped pages.
//!
//! # The size
//!
//! Replies to questions for attributes may be overtaken by a write that makes the file longer. A size that is told is
//! taken over only if no change of it by this machine was begun or done since the question was asked ([`Size`]); or else the end of a page
//! that is written back could be cut off.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, OpenFlags};
use mm::user::{UserReader, UserWriter};
use mm::{Frame, PAGE_SIZE};
use ninep::{OpenFid, SetAttributes};
use sync::atomic::{AtomicBool, Ordering};
use sync::{SpinLock, rank};

use crate::Inode;
use crate::page_cache::{PageCache, PageStore};
use crate::page_copy::{PAGE, copy_in, copy_out, min_len, page_of};

use super::inode::ServedInode;

/// The longest file there can be.
const LEN_MAX: u64 = i64::MAX as u64;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read = 0,
    Write = 1,
    ReadWrite = 2,
}

/// Counts changes of a size by this machine: it is odd while one is under way.
pub(super) struct Size(SpinLock<u64>);

/// The count when a question was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked(u64);

impl Size {
    fn new() -> Self {
        Self(SpinLock::new(rank::FILE_TABLES, 0))
    }

    /// To be called before the size is asked for.
    pub(super) fn ask(&self) -> Asked {
        Asked(*self.0.lock())
    }

    /// Takes over what was told.
    fn take_over(&self, asked: Asked, inode: &ServedInode, size: u64) {
        let count = self.0.lock();
        if *count == asked.0 && count.is_multiple_of(2) {
            inode.metadata().set_size(size);
        }
    }

    /// A change begins or ends, under the lock of the inode.
    fn change(&self) {
        *self.0.lock() += 1;
    }
}

/// The contents of a file.
pub(super) struct FileData {
    cache: PageCache,
    /// Fids that are open for reading, and for writing; perhaps the same.
    reader: SpinLock<Option<Arc<OpenFid>>>,
    writer: SpinLock<Option<Arc<OpenFid>>>,
    pub(super) size: Size,
    /// Whether a page was ever asked for by a mapping.
    was_mapped: AtomicBool,
}

impl FileData {
    pub(super) fn new() -> Self {
        Self {
            cache: PageCache::new(),
            reader: SpinLock::new(rank::FILE_TABLES, None),
            writer: SpinLock::new(rank::FILE_TABLES, None),
            size: Size::new(),
            was_mapped: AtomicBool::new(false),
        }
    }

    pub(super) fn cache(&self) -> &PageCache {
        &self.cache
    }

    /// Takes over a size that was told; and if the file was changed by somebody else, what is cached is not believed.
    pub(super) fn told(&self, inode: &ServedInode, asked: Asked, size: u64, is_changed: bool) {
        self.size.take_over(asked, inode, size);
        if is_changed && self.is_mapped() {
            self.cache.invalidate();
        }
    }

    fn is_mapped(&self) -> bool {
        self.was_mapped.load(Ordering::SeqCst)
    }

    /// Opens the file as a program does that opens it.
    pub(super) fn open(&self, inode: &ServedInode, flags: OpenFlags) -> Result<(), Errno> {
        let mode = flags.access_mode();
        match (mode.can_read(), mode.can_write()) {
            (true, true) => self.opened(inode, Access::ReadWrite).map(drop),
            (_, true) => self.opened(inode, Access::Write).map(drop),
            _ => self.opened(inode, Access::Read).map(drop),
        }
    }

    /// Keeps a fid that is open for both.
    pub(super) fn adopt(&self, open: OpenFid) {
        self.keep(Arc::new(open), Access::ReadWrite);
    }

    /// A fid that is open in any way.
    pub(super) fn any_open(&self) -> Option<Arc<OpenFid>> {
        self.known(Access::Write).or_else(|| self.known(Access::Read))
    }

    fn known(&self, access: Access) -> Option<Arc<OpenFid>> {
        let slot = if access == Access::Read { &self.reader } else { &self.writer };
        slot.lock().clone()
    }

    /// Keeps a fid where there is none.
    fn keep(&self, open: Arc<OpenFid>, access: Access) {
        let slots =
            [(access != Access::Write).then_some(&self.reader), (access != Access::Read).then_some(&self.writer)];
        for slot in slots.into_iter().flatten() {
            // A fid that loses is let go without the lock.
            let mine = open.clone();
            let mut slot = slot.lock();
            if slot.is_none() {
                *slot = Some(mine);
            } else {
                drop(slot);
                drop(mine);
            }
        }
    }

    /// A fid that is open so.
    fn opened(&self, inode: &ServedInode, access: Access) -> Result<Arc<OpenFid>, Errno> {
        let is_enough = access != Access::ReadWrite || self.known(Access::Read).is_some();
        if is_enough && let Some(open) = self.known(access) {
            return Ok(open);
        }
        let open = Arc::new(inode.fid().another()?.open(access as u32)?);
        self.keep(open.clone(), access);
        Ok(open)
    }

    /// Reads from the server.
    pub(super) fn read(&self, inode: &ServedInode, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        if self.cache.is_dirty() {
            self.write_back(inode)?;
        }
        let open = self.opened(inode, Access::Read)?;
        let frames = frames_for(open.unit().min(to.remaining()))?;
        let mut done = 0;
        while !to.is_full() {
            let wanted = to.remaining().min(open.unit()).min(frames.len() * PAGE_SIZE);
            let Some(at) = position.checked_add(done as u64).filter(|at| *at < LEN_MAX) else { break };
            let step = open
                .read(at, &frames, wanted)
                .and_then(|read| copy_all_out(&frames, read, to).map(|copied| (read, copied)));
            match step {
                Ok((read, copied)) => {
                    done += copied;
                    if read < wanted || copied < read {
                        break;
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Writes to the server, under the inode's lock.
    pub(super) fn write(&self, inode: &ServedInode, position: u64, from: &mut UserReader<'_>) -> Result<usize, Errno> {
        if position >= LEN_MAX {
            return Err(Errno::EFBIG);
        }
        if self.is_mapped() {
            // What the server has behind the end that is known here is not to be taken for nothing.
            inode.refresh_size()?;
            return self.change_size(|| self.write_cached(inode, position, from));
        }
        let result = self.change_size(|| self.write_through(inode, position, from));
        if self.is_mapped() {
            // A page that was touched for the first time meanwhile may be older than what was written.
            self.cache.invalidate();
        }
        result
    }

    fn change_size<T>(&self, change: impl FnOnce() -> T) -> T {
        self.size.change();
        let result = change();
        self.size.change();
        result
    }

    fn write_cached(&self, inode: &ServedInode, position: u64, from: &mut UserReader<'_>) -> Result<usize, Errno> {
        let grow = |end: u64| inode.metadata().set_size(end);
        let done = self.cache.write(inode, position, LEN_MAX, from, grow)?;
        let end = position.saturating_add(done as u64);
        self.cache.write_back(inode, page_of(position), end.div_ceil(PAGE))?;
        Ok(done)
    }

    fn write_through(&self, inode: &ServedInode, position: u64, from: &mut UserReader<'_>) -> Result<usize, Errno> {
        let open = self.opened(inode, Access::Write)?;
        let frames = frames_for(open.unit().min(from.remaining()))?;
        let mut done = 0;
        while !from.is_empty() {
            let Some(at) = position.checked_add(done as u64).filter(|at| *at < LEN_MAX) else { break };
            let room = min_len(open.unit(), LEN_MAX - at);
            let step = copy_all_in(&frames, room, from)
                .and_then(|len| open.write(at, &frames, len).map(|written| (len, written)));
            match step {
                Ok((len, written)) => {
                    done += written;
                    let end = at.saturating_add(written as u64);
                    if end > inode.metadata().size() {
                        inode.metadata().set_size(end);
                    }
                    if written < len {
                        break;
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Sets the length, under the inode's lock.
    pub(super) fn set_len(&self, inode: &ServedInode, len: u64) -> Result<(), Errno> {
        if self.cache.is_dirty() {
            self.write_back(inode)?;
        }
        self.change_size(|| {
            let set = SetAttributes { size: Some(len), ..SetAttributes::default() };
            // An open file may have lost its name.
            match self.known(Access::Write) {
                Some(open) => open.fid().set_attributes(&set)?,
                None => inode.fid().set_attributes(&set)?,
            }
            inode.metadata().set_size(len);
            self.cache.cut(inode, len)
        })
    }

    /// A page for a mapping.
    pub(super) fn page(&self, inode: &ServedInode, index: u64, is_store: bool) -> Result<Frame, Errno> {
        self.was_mapped.store(true, Ordering::SeqCst);
        if index >= inode.metadata().size().div_ceil(PAGE) {
            inode.refresh_size()?;
        }
        if is_store { self.cache.page_for_write(inode, index) } else { self.cache.page(inode, index) }
    }

    /// As [`FileData::page`], if the server need not be asked.
    pub(super) fn page_at_hand(&self, inode: &ServedInode, index: u64) -> Option<Frame> {
        self.was_mapped.store(true, Ordering::SeqCst);
        self.cache.page_at_hand(inode, index)
    }

    /// Writes what mappings stored.
    pub(super) fn write_back(&self, inode: &ServedInode) -> Result<(), Errno> {
        self.cache.write_back(inode, 0, u64::MAX)?;
        inode.is_written_back();
        Ok(())
    }

    /// Brings the file to stable storage.
    pub(super) fn sync(&self, inode: &ServedInode, data_only: bool) -> Result<(), Errno> {
        self.cache.write_back(inode, 0, u64::MAX)?;
        inode.is_written_back();
        match self.any_open() {
            Some(open) => open.sync(data_only),
            None => Ok(()),
        }
    }

    fn read_pages(&self, inode: &ServedInode, first: u64, frames: &[Frame]) -> Result<(), Errno> {
        let open = self.opened(inode, Access::Read)?;
        let mut index = first;
        for chunk in frames.chunks(open.unit() / PAGE_SIZE) {
            let offset = index.checked_mul(PAGE).ok_or(Errno::EFBIG)?;
            let read = open.read(offset, chunk, chunk.len() * PAGE_SIZE)?;
            // Behind the end of the file there is nothing, however long it was thought to be.
            for (number, frame) in chunk.iter().enumerate() {
                let valid = read.saturating_sub(number * PAGE_SIZE).min(PAGE_SIZE);
                frame.zero_range(valid, PAGE_SIZE - valid);
            }
            index += chunk.len() as u64;
        }
        Ok(())
    }

    fn write_pages(&self, inode: &ServedInode, first: u64, frames: &[Frame]) -> Result<(), Errno> {
        let open = self.opened(inode, Access::Write)?;
        let mut index = first;
        for chunk in frames.chunks(open.unit() / PAGE_SIZE) {
            let offset = index.checked_mul(PAGE).ok_or(Errno::EFBIG)?;
            let left = inode.metadata().size().saturating_sub(offset);
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len() * PAGE_SIZE);
            if len > 0 && open.write(offset, chunk, len)? != len {
                return Err(Errno::ENOSPC);
            }
            index += chunk.len() as u64;
        }
        Ok(())
    }
}

impl PageStore for ServedInode {
    fn size(&self) -> u64 {
        self.metadata().size()
    }

    fn read_pages(&self, first: u64, frames: &[Frame]) -> Result<(), Errno> {
        self.data()?.read_pages(self, first, frames)
    }

    /// The server finds room when the page is written, and says so then.
    fn reserve(&self, _first: u64, _end: u64) -> Result<(), Errno> {
        Ok(())
    }

    /// The server zeroes what is cut off itself: there is nothing to be written for it.
    fn is_hole(&self, _index: u64) -> Result<bool, Errno> {
        Ok(true)
    }

    fn write_pages(&self, first: u64, frames: &[Frame]) -> Result<(), Errno> {
        self.data()?.write_pages(self, first, frames)
    }

    fn note_dirty(&self) {
        self.keep();
    }
}

/// Frames for so many bytes; fewer where memory is short, but one.
fn frames_for(len: usize) -> Result<Vec<Frame>, Errno> {
    let first = Frame::allocate()?;
    let more = (1..len.div_ceil(PAGE_SIZE)).map_while(|_| Frame::allocate().ok());
    Ok(core::iter::once(first).chain(more).collect())
}

/// Copies the first `len` bytes of the frames to the program; fewer where its memory ends.
fn copy_all_out(frames: &[Frame], len: usize, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
    let mut done = 0;
    while done < len {
        let (Some(frame), offset) = (frames.get(done / PAGE_SIZE), done % PAGE_SIZE) else { break };
        match copy_out(frame, offset, to, (PAGE_SIZE - offset).min(len - done)) {
            Ok(copied) => done += copied,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Fills the frames with what the program has, at most `len_max` bytes; how many.
fn copy_all_in(frames: &[Frame], len_max: usize, from: &mut UserReader<'_>) -> Result<usize, Errno> {
    let len = from.remaining().min(len_max).min(frames.len() * PAGE_SIZE);
    let mut done = 0;
    while done < len {
        let (Some(frame), offset) = (frames.get(done / PAGE_SIZE), done % PAGE_SIZE) else { break };
        match copy_in(frame, offset, from, (PAGE_SIZE - offset).min(len - done)) {
            Ok(copied) => done += copied,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}
