//! `splice`, `tee` and `vmsplice`: data between pipes and everything else.
//!
//! Between two pipes pages move, and a file gives a pipe its own. What is read from elsewhere is read into pages of the
//! pipe; what goes to a file or socket is copied there, but for a socket that takes pages.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::io::{SPLICE_F_ALL, SPLICE_F_NONBLOCK};
use abi::socket::{AF_UNIX, SOCK_STREAM};
use abi::{Errno, Fd, OpenFlags, PAGE_SIZE, PollEvents, UserPtr};
use file::pipe::{PipeEnd, PipePage};
use file::{OpenFile, Progress};
use mm::FramePiece;
use mm::user::{IovecBuffer, UserReader, UserWriter, read_user_struct, write_user_struct};
use net::socket::{Kind, SocketFile};

use super::read_write::{read_from, write_to};
use super::transfer::{PAGES_MAX, Side, pipe_of, put, share_pages};
use crate::error::SyscallError;
use crate::lookup::file_as;
use crate::signal::broken_pipe;
use crate::thread::Thread;
use crate::{SyscallResult, wait};

fn check_flags(flags: u32) -> Result<(), Errno> {
    if flags & !SPLICE_F_ALL == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}

/// A position in program memory, if there is one. A pipe has none.
fn read_position(pointer: UserPtr, open: &OpenFile) -> Result<Option<u64>, Errno> {
    let Some(pointer) = pointer.non_null() else { return Ok(None) };
    if pipe_of(open).is_some() {
        return Err(Errno::ESPIPE);
    }
    let offset: i64 = read_user_struct(pointer.address())?;
    u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
}

fn write_position(pointer: UserPtr, side: &Side<'_>) -> Result<(), Errno> {
    match (pointer.non_null(), side.position) {
        (Some(pointer), Some(position)) => write_user_struct(pointer.address(), &position),
        _ => Ok(()),
    }
}

pub(crate) fn splice(
    thread: &Thread,
    input: Fd,
    input_offset: UserPtr,
    output: Fd,
    output_offset: UserPtr,
    length: usize,
    flags: u32,
) -> SyscallResult {
    check_flags(flags)?;
    if length == 0 {
        return Ok(0);
    }
    let fds = thread.fds();
    let (source, target) = (fds.get(input.raw())?, fds.get(output.raw())?);
    let input_position = read_position(input_offset, &source)?;
    let output_position = read_position(output_offset, &target)?;
    if !source.is_readable() || !target.is_writable() {
        return Err(Errno::EBADF.into());
    }
    let mut input = Side { open: source, position: input_position };
    let mut output = Side { open: target, position: output_position };
    let len = length.min(abi::io::RW_COUNT_MAX);
    let is_nonblocking = flags & SPLICE_F_NONBLOCK != 0;
    let done = match (input.pipe().is_some(), output.pipe().is_some()) {
        (true, true) => between_pipes(thread, &input, &output, len, is_nonblocking)?,
        (true, false) => from_pipe(thread, &input, &mut output, len, is_nonblocking)?,
        (false, true) => file_to_pipe(thread, &mut input, &output, len, is_nonblocking)?,
        (false, false) => return Err(Errno::EINVAL.into()),
    };
    write_position(input_offset, &input)?;
    write_position(output_offset, &output)?;
    Ok(done)
}

/// Waits until `attempt` has an answer, unless the transfer does not wait.
fn wait_for<T>(
    thread: &Thread,
    open: &OpenFile,
    events: PollEvents,
    is_nonblocking: bool,
    mut attempt: impl FnMut() -> Result<Option<T>, Errno>,
) -> Result<T, SyscallError> {
    if let Some(answer) = attempt()? {
        return Ok(answer);
    }
    if is_nonblocking {
        return Err(Errno::EAGAIN.into());
    }
    let mut answer = None;
    wait::until_done(thread, open, events, || {
        answer = attempt()?;
        Ok(if answer.is_some() { Progress::Done(0) } else { Progress::WouldBlock })
    })?;
    answer.ok_or(SyscallError::Errno(Errno::EAGAIN))
}

/// Whether two ends belong to the same pipe.
fn is_same_pipe(one: &PipeEnd, other: &PipeEnd) -> bool {
    Arc::ptr_eq(one.pipe(), other.pipe())
}

/// The end of a pipe without readers raises `SIGPIPE`.
fn put_error(thread: &Thread, error: SyscallError) -> SyscallError {
    if error == SyscallError::Errno(Errno::EPIPE) { broken_pipe(thread) } else { error }
}

fn between_pipes(
    thread: &Thread,
    input: &Side<'_>,
    output: &Side<'_>,
    len: usize,
    is_nonblocking: bool,
) -> SyscallResult {
    let (Some(from), Some(to)) = (input.pipe(), output.pipe()) else { return Err(Errno::EINVAL.into()) };
    if is_same_pipe(from, to) {
        return Err(Errno::EINVAL.into());
    }
    let is_nonblocking = is_nonblocking || input.open.is_nonblocking() || output.open.is_nonblocking();
    move_pages(thread, input, output, is_nonblocking, || Ok(from.take_pages(len)), |pages| from.put_back(pages))
}

/// Moves what `take` gives to the pipe of `output`; `put_back` gets what finds no room.
fn move_pages(
    thread: &Thread,
    input: &Side<'_>,
    output: &Side<'_>,
    is_nonblocking: bool,
    take: impl FnMut() -> Result<Option<Vec<PipePage>>, Errno>,
    put_back: impl FnOnce(Vec<PipePage>),
) -> SyscallResult {
    let Some(to) = output.pipe() else { return Err(Errno::EINVAL.into()) };
    let mut pages = wait_for(thread, &input.open, PollEvents::READABLE, is_nonblocking, take)?;
    if pages.is_empty() {
        return Ok(0);
    }
    let moved = wait_for(thread, &output.open, PollEvents::WRITABLE, is_nonblocking, || {
        Ok(Some(to.put_pages(&mut pages)?).filter(|moved| *moved > 0))
    });
    put_back(pages);
    moved.map_err(|error| put_error(thread, error))
}

fn from_pipe(
    thread: &Thread,
    input: &Side<'_>,
    output: &mut Side<'_>,
    len: usize,
    is_nonblocking: bool,
) -> SyscallResult {
    let Some(pipe) = input.pipe() else { return Err(Errno::EINVAL.into()) };
    if output.position.is_some() && !output.open.file().has_positions() {
        return Err(Errno::EINVAL.into());
    }
    if output.open.is_append() && output.open.file().has_positions() {
        return Err(Errno::EINVAL.into());
    }
    let mut done = 0;
    while done < len {
        let part = (len - done).min(PAGES_MAX * PAGE_SIZE);
        let is_nonblocking = is_nonblocking || input.open.is_nonblocking() || done > 0;
        let pages = wait_for(thread, &input.open, PollEvents::READABLE, is_nonblocking, || Ok(pipe.take_pages(part)));
        let mut pages = match pages {
            Ok(pages) => pages,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        let pieces: Vec<FramePiece> = pages.iter().map(|page| page.piece().clone()).collect();
        let taken = pieces.iter().map(FramePiece::len).sum();
        if taken == 0 {
            break;
        }
        let written = put(thread, output, &pieces, done + taken < len);
        let moved = *written.as_ref().unwrap_or(&0);
        output.advance(moved);
        done += moved;
        if moved < taken {
            drop(pieces);
            give_back(pipe, &mut pages, moved);
            return if done > 0 { Ok(done) } else { written };
        }
    }
    Ok(done)
}

/// Puts back what was not used of pages, of which the first `used` bytes were.
fn give_back(pipe: &PipeEnd, pages: &mut Vec<PipePage>, used: usize) {
    let mut left = used;
    for page in pages.iter_mut() {
        let part = left.min(page.piece().len());
        page.trim_front(part);
        left -= part;
    }
    pipe.put_back(core::mem::take(pages));
}

/// Moves up to `len` bytes to a pipe, as many as there is room for at once.
pub(super) fn file_to_pipe(
    thread: &Thread,
    input: &mut Side<'_>,
    output: &Side<'_>,
    len: usize,
    is_nonblocking: bool,
) -> SyscallResult {
    let Some(pipe) = output.pipe() else { return Err(Errno::EINVAL.into()) };
    if input.position.is_some() && !input.open.file().has_positions() {
        return Err(Errno::EINVAL.into());
    }
    let is_output_nonblocking = is_nonblocking || output.open.is_nonblocking();
    let room = wait_for(thread, &output.open, PollEvents::WRITABLE, is_output_nonblocking, || {
        Ok(if pipe.has_room() || !pipe.pipe().is_read() { Some(pipe.room()) } else { None })
    })?;
    if !pipe.pipe().is_read() {
        return Err(broken_pipe(thread));
    }
    let (pieces, is_shared) = match share_pages(thread, input, len, room) {
        Some(pieces) => (pieces?, true),
        None => (read_pages(thread, input, len.min(room * PAGE_SIZE), is_nonblocking)?, false),
    };
    let mut pages: Vec<PipePage> = pieces.into_iter().map(PipePage::from).collect();
    // Others may have filled the room meanwhile: what was read must go in.
    let mut done = 0;
    while !pages.is_empty() {
        done += wait_for(thread, &output.open, PollEvents::WRITABLE, false, || {
            Ok(Some(pipe.put_pages(&mut pages)?).filter(|moved| *moved > 0))
        })
        .map_err(|error| put_error(thread, error))?;
    }
    if is_shared {
        input.skip(done);
    } else {
        input.advance(done);
    }
    Ok(done)
}

/// Whether `SPLICE_F_NONBLOCK` keeps reading a file from waiting. Of sockets it does that for streams of the Unix domain alone: the others go by their
/// own `O_NONBLOCK`, on Linux as well.
fn goes_by_flag(input: &OpenFile) -> bool {
    let kind = file_as::<SocketFile>(input).map(|file| file.socket().kind());
    let is_local_stream = |kind: Kind| kind.domain == i32::from(AF_UNIX) && kind.kind == SOCK_STREAM;
    !input.file().has_positions() && kind.is_none_or(is_local_stream)
}

/// Reads up to `len` bytes into new pages.
fn read_pages(
    thread: &Thread,
    input: &Side<'_>,
    len: usize,
    is_nonblocking: bool,
) -> Result<Vec<FramePiece>, SyscallError> {
    let len = len.min(PAGES_MAX * PAGE_SIZE);
    let pieces = (0..len).step_by(PAGE_SIZE).map(|at| FramePiece::allocate((len - at).min(PAGE_SIZE)));
    let mut pieces = pieces.collect::<Result<Vec<_>, _>>()?;
    let mut to = UserWriter::to_pieces(&pieces);
    let read = if is_nonblocking && goes_by_flag(&input.open) {
        match input.open.file().read(&input.open, &mut to, None)? {
            Progress::Done(count) => count,
            Progress::WouldBlock => return Err(Errno::EAGAIN.into()),
        }
    } else {
        read_from(thread, &input.open, &mut to, input.position)?
    };
    pieces.truncate(read.div_ceil(PAGE_SIZE));
    if let Some(last) = pieces.last_mut() {
        last.truncate(read - (read - 1) / PAGE_SIZE * PAGE_SIZE);
    }
    Ok(pieces)
}

pub(crate) fn tee(thread: &Thread, input: Fd, output: Fd, length: usize, flags: u32) -> SyscallResult {
    check_flags(flags)?;
    if length == 0 {
        return Ok(0);
    }
    let fds = thread.fds();
    let input = Side { open: fds.get(input.raw())?, position: None };
    let output = Side { open: fds.get(output.raw())?, position: None };
    if !input.open.is_readable() || !output.open.is_writable() {
        return Err(Errno::EBADF.into());
    }
    let (Some(from), Some(to)) = (input.pipe(), output.pipe()) else { return Err(Errno::EINVAL.into()) };
    if is_same_pipe(from, to) {
        return Err(Errno::EINVAL.into());
    }
    let is_nonblocking = flags & SPLICE_F_NONBLOCK != 0 || input.open.is_nonblocking() || output.open.is_nonblocking();
    move_pages(thread, &input, &output, is_nonblocking, || Ok(from.peek_pages(length)), drop)
}

pub(crate) fn vmsplice(thread: &Thread, fd: Fd, vector: UserPtr, vector_length: u64, flags: u32) -> SyscallResult {
    check_flags(flags)?;
    let open = thread.fds().get(fd.raw())?;
    if pipe_of(&open).is_none() {
        return Err(Errno::EBADF.into());
    }
    let count = usize::try_from(vector_length).map_err(|_| Errno::EINVAL)?;
    let mut iovecs = IovecBuffer::new();
    let iovecs = iovecs.read(vector.address(), count)?;
    let nonblocking = (flags & SPLICE_F_NONBLOCK != 0).then(|| open.with_flags(open.flags() | OpenFlags::NONBLOCK));
    let open = nonblocking.as_deref().unwrap_or(&open);
    if open.is_writable() {
        write_to(thread, open, &mut UserReader::from_iovecs(iovecs)?, None)
    } else {
        read_from(thread, open, &mut UserWriter::from_iovecs(iovecs)?, None)
    }
}
