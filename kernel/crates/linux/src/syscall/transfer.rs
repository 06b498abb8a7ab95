//! Moving bytes from one open file to another without the program's memory: `sendfile`, `copy_file_range`.

use abi::stat::{S_IFDIR, S_IFMT, S_IFREG};
use abi::{Errno, Fd, PollEvents, UserPtr};
use file::{Attributes, FdRef, OpenFile};
use mm::user::{UserReader, UserWriter, read_user_struct, write_user_struct};

use super::read_write::{read_from, write_to};
use crate::SyscallResult;
use crate::error::SyscallError;
use crate::signal::broken_pipe;
use crate::socket::pages;
use crate::thread::Thread;

/// Bytes moved at a time.
const CHUNK_LEN: usize = 64 * 1024;
/// The most bytes one call moves.
const TRANSFER_LEN_MAX: usize = abi::io::RW_COUNT_MAX;

/// One side of a transfer.
struct Side<'a> {
    open: FdRef<'a>,
    /// Where to go on, or none for the open file's own position.
    position: Option<u64>,
}

impl Side<'_> {
    fn advance(&mut self, count: usize) {
        if let Some(position) = &mut self.position {
            *position = position.saturating_add(count as u64);
        }
    }

    /// Where it goes on.
    fn place(&self) -> u64 {
        self.position.unwrap_or_else(|| *self.open.position().lock())
    }

    /// Goes on behind bytes that were moved without the file knowing of it.
    fn skip(&mut self, count: usize) {
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

/// Moves up to `count` bytes. What was moved before an error counts.
fn transfer(thread: &Thread, input: &mut Side<'_>, output: &mut Side<'_>, count: usize) -> SyscallResult {
    let count = count.min(TRANSFER_LEN_MAX);
    let mut buffer = alloc::vec![0; CHUNK_LEN.min(count)];
    let mut done = 0;
    while done < count {
        let len = buffer.len().min(count - done);
        let read = read_from(thread, &input.open, &mut UserWriter::to_kernel(&mut buffer[..len]), input.position);
        let read = match read {
            Ok(0) => break,
            Ok(read) => read,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        let mut from = UserReader::from_kernel(&buffer[..read]);
        let written = write_to(thread, &output.open, &mut from, output.position);
        let moved = *written.as_ref().unwrap_or(&0);
        input.take_back(read - moved);
        input.advance(moved);
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

/// A position in program memory, if there is one.
fn read_position(pointer: UserPtr) -> Result<Option<u64>, Errno> {
    let Some(pointer) = pointer.non_null() else { return Ok(None) };
    let offset: i64 = read_user_struct(pointer.address())?;
    u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
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
    let done = match pages::send(thread, &input.open, input.place(), &output.open, count) {
        Some(done) => {
            let done = done?;
            input.skip(done);
            done
        }
        None => transfer(thread, &mut input, &mut output, count)?,
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
        return Err(broken_pipe(thread));
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
    let mut input = Side { open: source, position: read_position(input_offset)? };
    let mut output = Side { open: target, position: read_position(output_offset)? };
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (source, target) = regular(&input.open, &output.open)?;
    if !input.open.is_readable() || !output.open.is_writable() || output.open.is_append() {
        return Err(Errno::EBADF.into());
    }
    if (source.device, source.inode) == (target.device, target.inode) {
        check_overlap(&input, &output, source.size, length)?;
    }
    let done = transfer(thread, &mut input, &mut output, length)?;
    write_position(input_offset, &input)?;
    write_position(output_offset, &output)?;
    Ok(done)
}

/// `EINVAL` when a file would be copied onto the same bytes of itself.
fn check_overlap(input: &Side<'_>, output: &Side<'_>, size: u64, length: usize) -> Result<(), SyscallError> {
    let start = |side: &Side<'_>| side.position.unwrap_or_else(|| *side.open.position().lock());
    let (from, to) = (start(input), start(output));
    let length = (length as u64).min(size.saturating_sub(from));
    let overlaps = from < to.saturating_add(length) && to < from.saturating_add(length);
    if overlaps && length > 0 { Err(Errno::EINVAL.into()) } else { Ok(()) }
}
