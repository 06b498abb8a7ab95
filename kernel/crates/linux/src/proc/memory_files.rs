//! `/proc/PID/mem` and `pagemap`: a process's memory as a file, and where its pages are.
//!
//! An open file holds on to nothing: when the address space it was opened for is gone (its process has ended, or runs
//! another program) it is empty, as on Linux.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};

use abi::Errno;
use file::{Attributes, CallFlags, File, IoResult, OpenFile};
use mm::range::PageRange;
use mm::user::{UserReader, UserWriter};
use mm::{AddressSpace, FaultError, PAGE_SIZE, PresentPage, USER_END};
use vfs::{Capabilities, Credentials, FileKind};

use super::process::Task;

/// Bytes of `pagemap` for one page.
const ENTRY_LEN: usize = 8;
/// Entries of `pagemap` made at a time.
const ENTRIES_MAX: usize = PAGE_SIZE / ENTRY_LEN;
/// Bits of an entry: a page is in memory, is of a file or shared, is nobody else's.
const IS_PRESENT: u64 = 1 << 63;
const IS_OF_OBJECT: u64 = 1 << 61;
const IS_EXCLUSIVE: u64 = 1 << 56;

/// What serves `mem`.
pub(super) fn memory(task: &Task, _opener: &Credentials) -> Result<Arc<dyn File>, Errno> {
    open_of(task, Shows::Memory)
}

/// What serves `pagemap`. Where in memory pages are is told if who opened it has `CAP_SYS_ADMIN`.
pub(super) fn page_map(task: &Task, opener: &Credentials) -> Result<Arc<dyn File>, Errno> {
    let shows_frames = opener.has(Capabilities::SYS_ADMIN);
    open_of(task, Shows::PageMap { shows_frames })
}

fn open_of(task: &Task, shows: Shows) -> Result<Arc<dyn File>, Errno> {
    let space = match task.living_thread(Errno::ESRCH) {
        Ok(thread) => Arc::downgrade(&thread.address_space()),
        Err(_) => Weak::new(),
    };
    Ok(Arc::new(MemoryFile { space, shows }))
}

#[derive(Clone, Copy)]
enum Shows {
    Memory,
    PageMap { shows_frames: bool },
}

/// An open file that shows something of an address space.
struct MemoryFile {
    space: Weak<AddressSpace>,
    shows: Shows,
}

impl MemoryFile {
    fn read_at(&self, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        let Some(space) = self.space.upgrade() else { return Ok(0) };
        match self.shows {
            Shows::Memory => read_memory(&space, position, to),
            Shows::PageMap { shows_frames } => read_page_map(&space, position, to, shows_frames),
        }
    }

    fn write_at(&self, position: u64, from: &mut UserReader<'_>) -> Result<usize, Errno> {
        if !matches!(self.shows, Shows::Memory) {
            return Err(Errno::EINVAL);
        }
        let Some(space) = self.space.upgrade() else { return Ok(0) };
        write_memory(&space, position, from)
    }
}

/// What a step of a transfer stopped at: an error if nothing was done before.
fn stopped(done: usize, errno: Errno) -> Result<usize, Errno> {
    if done == 0 { Err(errno) } else { Ok(done) }
}

/// The address at a position, and the bytes up to the end of its page.
fn place(position: u64, done: usize) -> Option<(usize, usize)> {
    let address = usize::try_from(position).ok()?.checked_add(done).filter(|address| *address < USER_END)?;
    Some((address, PAGE_SIZE - address % PAGE_SIZE))
}

fn errno_of(_error: FaultError) -> Errno {
    Errno::EIO
}

fn read_memory(space: &AddressSpace, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
    let mut page = Box::new([0; PAGE_SIZE]);
    let mut done = 0;
    while !to.is_full() {
        let Some((address, left)) = place(position, done) else { return stopped(done, Errno::EIO) };
        let bytes = &mut page[..left.min(to.remaining())];
        let step = space.peek(address, bytes).map_err(errno_of).and_then(|()| to.write(bytes));
        match step {
            Ok(copied) => done += copied,
            Err(errno) => return stopped(done, errno),
        }
    }
    Ok(done)
}

fn write_memory(space: &AddressSpace, position: u64, from: &mut UserReader<'_>) -> Result<usize, Errno> {
    let mut page = Box::new([0; PAGE_SIZE]);
    let mut done = 0;
    while !from.is_empty() {
        let Some((address, left)) = place(position, done) else { return stopped(done, Errno::EIO) };
        let room = &mut page[..left.min(from.remaining())];
        let step =
            from.read(room).and_then(|taken| space.poke(address, &room[..taken]).map_err(errno_of).map(|()| taken));
        match step {
            Ok(taken) => done += taken,
            Err(errno) => return stopped(done, errno),
        }
    }
    Ok(done)
}

fn read_page_map(
    space: &AddressSpace,
    position: u64,
    to: &mut UserWriter<'_>,
    shows_frames: bool,
) -> Result<usize, Errno> {
    if !position.is_multiple_of(ENTRY_LEN as u64) || !to.remaining().is_multiple_of(ENTRY_LEN) {
        return Err(Errno::EINVAL);
    }
    let mut page = Box::new([0; PAGE_SIZE]);
    let mut done = 0;
    while !to.is_full() {
        let number = position / ENTRY_LEN as u64 + (done / ENTRY_LEN) as u64;
        let start = usize::try_from(number).ok().and_then(|number| number.checked_mul(PAGE_SIZE));
        let Some(start) = start.filter(|start| *start < USER_END) else { break };
        let count = (to.remaining() / ENTRY_LEN).min(ENTRIES_MAX).min((USER_END - start).div_ceil(PAGE_SIZE));
        let bytes = &mut page[..count * ENTRY_LEN];
        bytes.fill(0);
        space.each_present(PageRange::new(start, start + count * PAGE_SIZE), |address, present| {
            let at = (address - start) / PAGE_SIZE * ENTRY_LEN;
            bytes[at..at + ENTRY_LEN].copy_from_slice(&entry(present, shows_frames).to_le_bytes());
        });
        match to.write(bytes) {
            Ok(copied) => done += copied,
            Err(errno) => return stopped(done, errno),
        }
    }
    Ok(done)
}

fn entry(present: PresentPage, shows_frames: bool) -> u64 {
    let bit = |is_set: bool, bit: u64| if is_set { bit } else { 0 };
    IS_PRESENT
        | bit(present.is_of_object, IS_OF_OBJECT)
        | bit(present.is_exclusive, IS_EXCLUSIVE)
        | if shows_frames { present.frame } else { 0 }
}

impl File for MemoryFile {
    fn call_flags(&self, _open: &OpenFile, _writes: bool) -> CallFlags {
        CallFlags::None
    }

    fn read(&self, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        open.transfer_at(position, |at| self.read_at(at, to))
    }

    fn write(&self, open: &OpenFile, from: &mut UserReader<'_>, position: Option<u64>) -> IoResult {
        open.transfer_at(position, |at| self.write_at(at, from))
    }

    fn seek(&self, open: &OpenFile, offset: i64, whence: u32) -> Result<u64, Errno> {
        open.seek_up_to(u64::MAX, offset, whence)
    }

    fn has_positions(&self) -> bool {
        true
    }

    fn allocate(&self, _open: &OpenFile, _mode: u32, _offset: u64, _length: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn truncate(&self, _open: &OpenFile, _length: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        let permissions = if matches!(self.shows, Shows::Memory) { 0o600 } else { 0o400 };
        Ok(Attributes::anonymous(0, FileKind::Regular.mode_bits() | permissions))
    }
}
