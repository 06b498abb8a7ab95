//! Moving bytes from one open file to another without the program's memory: `sendfile`, `copy_file_range`.
//!
//! What a file has in pages goes by reference, and is copied once where it ends up. Everything else is read into a
//! buffer first.

use alloc::vec::Vec;

use abi::stat::{S_IFDIR, S_IFMT, S_IFREG};
use abi::{Errno, Fd, PollEvents, UserPtr};
use file::pipe::PipeEnd;
use file::{Attributes, FdRef, OpenFile};
use mm::user::{UserReader, UserWriter, read_user_struct, write_user_struct};
use mm::{FramePiece, PAGE_SIZE};
use vfs::VnodeFile;

use super::read_write::{read_from, write_to};
use super::splice::file_to_pipe;
use crate::SyscallResult;
use crate::error::SyscallError;
use crate::lookup::file_as;
use crate::signal::broken_pipe;
use crate::socket::pages;
use crate::thread::Thread;

/// Pages moved at a time.
pub(super) const PAGES_MAX: usize = 16;
/// Bytes moved at a time.
const CHUNK_LEN: usize = PAGES_MAX * PAGE_SIZE;
/// The most bytes one call moves.
const TRANSFER_LEN_MAX: usize = abi::io::RW_COUNT_MAX;

/// One side of a transfer.
pub(super) struct Side<'a> {
    pub(super) open: FdRef<'a>,
    /// Where to go on, or none for the open file's own position.
    pub(super) position: Option<u64>,
}

impl Side<'_> {
    /// The end of a pipe that it is.
    pub(super) fn pipe(&self) -> Option<&PipeEnd> {
        pipe_of(&self.open)
    }

    pub(super) fn advance(&mut self, count: usize) {
        if let Some(position) = &mut self.position {
            *position = position.saturating_add(count as u64);
        }
    }

    /// Where it goes on.
    pub(super) fn place(&self) -> u64 {
        self.position.unwrap_or_else(|| *self.open.position().lock())
    }

    /// Goes on behind bytes that were moved without the file knowing of it.
    pub(super) fn skip(&mut self, count: usize) {
        match &mut self.position {
            Some(position) => *position = position.saturating_add(count as u64),
            None => {
                let mut position = self.open.position().lock();
                *position = position.saturating_add(count as u64);
            }
        }
    }

    /// Takes back bytes that were read but could not be written.
    fn take_back(&self, count: usize) {
        if self.position.is_none() && self.open.file().has_positions() {
            let mut position = self.open.position().lock();
            *position = position.saturating_sub(count as u64);
        }
    }
}

/// The end of a pipe behind an open file, with a name or without.
pub(super) fn pipe_of(open: &OpenFile) -> Option<&PipeEnd> {
    (open.server() as &dyn core::any::Any).downcast_ref()
}

/// What is to be written next of a transfer.
enum Portion {
    /// Pages of a file, which goes on behind them only when they are written.
    Pages(Vec<FramePiece>),
    /// So many bytes of the buffer, which were read.
    Buffer(usize),
}

impl Portion {
    fn len(&self) -> usize {
        match self {
            Self::Pages(pages) => pages.iter().map(FramePiece::len).sum(),
            Self::Buffer(len) => *len,
        }
    }
}

/// Up to `len` bytes of a file by reference, in at most `pages_max` pages. None: it is to be read.
pub(super) fn share_pages(
    thread: &Thread,
    input: &Side<'_>,
    len: usize,
    pages_max: usize,
) -> Option<Result<Vec<FramePiece>, Errno>> {
    let pages = file_as::<VnodeFile>(&input.open)?.share_pages(&input.open, input.place(), len, pages_max)?;
    if let Ok(pages) = &pages {
        thread.accounting().count_read(pages.iter().map(FramePiece::len).sum());
    }
    Some(pages)
}

/// Moves up to `count` bytes. What was moved before an error counts.
fn transfer(thread: &Thread, input: &mut Side<'_>, output: &mut Side<'_>, count: usize) -> SyscallResult {
    let count = count.min(TRANSFER_LEN_MAX);
    let mut buffer = Vec::new();
    let mut done = 0;
    while done < count {
        let len = CHUNK_LEN.min(count - done);
        let portion = match next_portion(thread, input, len, &mut buffer) {
            Ok(portion) => portion,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        let read = portion.len();
        if read == 0 {
            break;
        }
        let written = match &portion {
            Portion::Pages(pages) => put(thread, output, pages, done + read < count),
            Portion::Buffer(_) => {
                let mut from = UserReader::from_kernel(&buffer[..read]);
                write_to(thread, &output.open, &mut from, output.position)
            }
        };
        let moved = *written.as_ref().unwrap_or(&0);
        match portion {
            Portion::Pages(_) => input.skip(moved),
            Portion::Buffer(_) => {
                input.take_back(read - moved);
                input.advance(moved);
            }
        }
        output.advance(moved);
        done += moved;
        match written {
            Ok(_) if moved < read => break,
            Ok(_) => {}
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
        if thread.is_interrupted() {
            break;
        }
    }
    Ok(done)
}

fn next_portion(thread: &Thread, input: &Side<'_>, len: usize, buffer: &mut Vec<u8>) -> Result<Portion, SyscallError> {
    if let Some(pages) = share_pages(thread, input, len, PAGES_MAX) {
        return Ok(Portion::Pages(pages?));
    }
    buffer.resize(len, 0);
    read_from(thread, &input.open, &mut UserWriter::to_kernel(buffer), input.position).map(Portion::Buffer)
}

/// Writes pages: a socket that can takes them as they are. `has_more`: others follow at once.
pub(super) fn put(thread: &Thread, output: &Side<'_>, pieces: &[FramePiece], has_more: bool) -> SyscallResult {
    if pieces.is_empty() {
        return Ok(0);
    }
    if pages::takes(&output.open) {
        return pages::send(thread, &output.open, pieces, has_more);
    }
    write_to(thread, &output.open, &mut UserReader::from_pieces(pieces), output.position)
}

/// A position in program memory, if there is one.
fn read_position(pointer: UserPtr) -> Result<Option<u64>, Errno> {
    let Some(pointer) = pointer.non_null() else { return Ok(None) };
    let offset: i64 = read_user_struct(pointer.address())?;
    u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
}

/// As [`read_position`], for those who check later that it is none below zero.
fn read_bits(pointer: UserPtr) -> Result<Option<u64>, Errno> {
    pointer.non_null().map(|pointer| read_user_struct(pointer.address())).transpose()
}

fn write_position(pointer: UserPtr, side: &Side<'_>) -> Result<(), Errno> {
    match (pointer.non_null(), side.position) {
        (Some(pointer), Some(position)) => write_user_struct(pointer.address(), &position),
        _ => Ok(()),
    }
}

pub(crate) fn sendfile(thread: &Thread, output: Fd, input: Fd, offset: UserPtr, count: usize) -> SyscallResult {
    let position = read_position(offset)?;
    let fds = thread.fds();
    let input = fds.get(input.raw())?;
    if !input.is_readable() {
        return Err(Errno::EBADF.into());
    }
    if position.is_some() && !input.file().has_positions() {
        return Err(Errno::ESPIPE.into());
    }
    let output = fds.get(output.raw())?;
    if !output.is_writable() {
        return Err(Errno::EBADF.into());
    }
    check_source(&input)?;
    if output.is_append() && output.file().has_positions() {
        return Err(Errno::EINVAL.into());
    }
    check_stream_room(thread, &output)?;
    let mut input = Side { open: input, position };
    let mut output = Side { open: output, position: None };
    let done = if output.pipe().is_some() {
        file_to_pipe(thread, &mut input, &output, count.min(TRANSFER_LEN_MAX), output.open.is_nonblocking())?
    } else {
        transfer(thread, &mut input, &mut output, count)?
    };
    write_position(offset, &input)?;
    Ok(done)
}

/// `EINVAL` for what `sendfile` cannot read: what has no positions, and directories.
fn check_source(input: &OpenFile) -> Result<(), Errno> {
    let is_source = input.file().has_positions() && input.file().attributes()?.mode & S_IFMT != S_IFDIR;
    if is_source { Ok(()) } else { Err(Errno::EINVAL) }
}

/// A pipe that takes nothing says so before the input is read.
fn check_stream_room(thread: &Thread, output: &OpenFile) -> Result<(), SyscallError> {
    if output.file().has_positions() || !output.file().is_stream() {
        return Ok(());
    }
    let events = output.file().readiness();
    if events.contains(PollEvents::ERR) {
        // What is the matter with a socket, writing to it says.
        return if pipe_of(output).is_some() { Err(broken_pipe(thread)) } else { Ok(()) };
    }
    if output.is_nonblocking() && !events.contains(PollEvents::OUT) { Err(Errno::EAGAIN.into()) } else { Ok(()) }
}

/// The attributes of two files `copy_file_range` works with.
fn regular(input: &OpenFile, output: &OpenFile) -> Result<(Attributes, Attributes), Errno> {
    let (source, target) = (input.file().attributes()?, output.file().attributes()?);
    let is_kind = |kind| (source.mode & S_IFMT == kind, target.mode & S_IFMT == kind);
    match (is_kind(S_IFDIR), is_kind(S_IFREG)) {
        ((false, false), (true, true)) => Ok((source, target)),
        ((false, false), _) => Err(Errno::EINVAL),
        _ => Err(Errno::EISDIR),
    }
}

pub(crate) fn copy_file_range(
    thread: &Thread,
    input: Fd,
    input_offset: UserPtr,
    output: Fd,
    output_offset: UserPtr,
    length: usize,
    flags: u32,
) -> SyscallResult {
    let fds = thread.fds();
    let (source, target) = (fds.get(input.raw())?, fds.get(output.raw())?);
    let mut input = Side { open: source, position: read_bits(input_offset)? };
    let mut output = Side { open: target, position: read_bits(output_offset)? };
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (source, target) = regular(&input.open, &output.open)?;
    if !input.open.is_readable() || !output.open.is_writable() || output.open.is_append() {
        return Err(Errno::EBADF.into());
    }
    if source.device != target.device {
        return Err(Errno::EXDEV.into());
    }
    let start = |side: &Side<'_>| side.position.unwrap_or_else(|| *side.open.position().lock());
    let (from, to) = (start(&input), start(&output));
    if from.checked_add(length as u64).is_none() || to.checked_add(length as u64).is_none() {
        return Err(Errno::EOVERFLOW.into());
    }
    if i64::try_from(from).is_err() || i64::try_from(to).is_err() {
        return Err(Errno::EINVAL.into());
    }
    // What is copied is there when it begins: a file that grows at its end is not followed.
    let length = length.min(usize::try_from(source.size.saturating_sub(from)).unwrap_or(usize::MAX));
    if source.inode == target.inode && overlaps(from, to, length as u64) {
        return Err(Errno::EINVAL.into());
    }
    let done = transfer(thread, &mut input, &mut output, length)?;
    write_position(input_offset, &input)?;
    write_position(output_offset, &output)?;
    Ok(done)
}

/// Whether two ranges of one length have bytes in common.
fn overlaps(from: u64, to: u64, length: u64) -> bool {
    length > 0 && from < to.saturating_add(length) && to < from.saturating_add(length)
}
