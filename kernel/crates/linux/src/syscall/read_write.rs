//! Moving bytes between files and memory: `read`, `write` and their families, `lseek`.
//!
//! Linux's order of checks: the descriptor, its access mode, whether the file has positions, the buffer.

use abi::open::SEEK_HOLE;
use abi::resource::RLIMIT_FSIZE;
use abi::signal::SI_USER;
use abi::stat::{S_IFMT, S_IFREG};
use abi::{Errno, Fd, OpenFlags, PollEvents, Rlimit, RwFlags, Signal, UserPtr};
use file::{CallFlags, FdRef, IoResult, OpenFile, Progress};
use mm::user::{IovecBuffer, UserReader, UserWriter};
use net::socket::{MessageFlags, SocketFile};
use sync::machine::{self, NEVER};
use vfs::VnodeFile;

use crate::error::SyscallError;
use crate::lookup::file_as;
use crate::signal::broken_pipe;
use crate::signal::send::from_caller;
use crate::signalfd::SignalFd;
use crate::thread::Thread;
use crate::{SyscallResult, socket, wait};

/// The open file behind `fd`, which must have been opened for reading.
#[inline(always)]
fn readable(thread: &Thread, fd: Fd) -> Result<FdRef<'_>, Errno> {
    let open = thread.fds().get_any(fd.raw())?;
    if open.is_readable() { Ok(open) } else { Err(Errno::EBADF) }
}

/// The open file behind `fd`, which must have been opened for writing.
#[inline(always)]
fn writable(thread: &Thread, fd: Fd) -> Result<FdRef<'_>, Errno> {
    let open = thread.fds().get_any(fd.raw())?;
    if open.is_writable() { Ok(open) } else { Err(Errno::EBADF) }
}

/// A position a program passes: `EINVAL` when it is negative, which is found before the descriptor is looked at.
fn position(offset: i64) -> Result<u64, Errno> {
    u64::try_from(offset).map_err(|_| Errno::EINVAL)
}

/// `EINVAL` when the end of a transfer lies beyond the largest position.
#[inline]
fn check_end(position: Option<u64>, len: usize) -> Result<(), Errno> {
    let end = position.unwrap_or(0).checked_add(len as u64);
    if end.is_some_and(|end| i64::try_from(end).is_ok()) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// `ESPIPE` for a file without positions. Told before the access mode is checked, as Linux does.
#[inline(always)]
fn check_positions(thread: &Thread, fd: Fd) -> Result<(), Errno> {
    let open = thread.fds().get(fd.raw())?;
    if open.server().has_positions() { Ok(()) } else { Err(Errno::ESPIPE) }
}

// ---- Reading --------------------------------------------------------------------------------------------------------

/// Reads from an open file, waiting when it is in blocking mode.
#[inline(always)]
pub(crate) fn read_from(
    thread: &Thread,
    open: &OpenFile,
    to: &mut UserWriter<'_>,
    position: Option<u64>,
) -> SyscallResult {
    match open.server().read(open, to, position)? {
        Progress::Done(count) => {
            thread.accounting().count_read(count);
            Ok(count)
        }
        Progress::WouldBlock => {
            let result = read_later(thread, open, to, position);
            thread.accounting().count_read(result.unwrap_or(0));
            result
        }
    }
}

/// The rest of a read that found nothing. Most reads do not come here, and are short without it.
#[cold]
#[inline(never)]
fn read_later(thread: &Thread, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> SyscallResult {
    if open.file().waits_its_own_way() {
        return read_its_own_way(thread, open, to, position);
    }
    wait_to_read(thread, open, to, position)
}

fn wait_to_read(thread: &Thread, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> SyscallResult {
    if open.is_nonblocking() {
        return Err(Errno::EAGAIN.into());
    }
    wait::until_done(thread, open, PollEvents::READABLE, || open.file().read(open, to, position))
}

/// The rest of a read for [`file::File::waits_its_own_way`].
#[inline(never)]
fn read_its_own_way(thread: &Thread, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> SyscallResult {
    if let Some(signals) = file_as::<SignalFd>(open) {
        // What there is to read depends on the reader.
        return signals.read_by(thread, open, to);
    }
    if open.is_nonblocking() {
        return Err(Errno::EAGAIN.into());
    }
    if let Some(file) = file_as::<SocketFile>(open) {
        return socket::transfer::read_later(thread, open, file, to);
    }
    if open.file().read_timeout_ns().is_some() {
        return read_timed(thread, open, to);
    }
    wait_to_read(thread, open, to, position)
}

/// How one turn of a timed read ended.
enum Turn {
    Done(Result<usize, Errno>),
    /// Something came, but not enough: the time counts anew.
    Again,
}

/// Reads from a terminal with `VTIME`: each byte that comes starts the time anew, and when it is up what is there is all.
fn read_timed(thread: &Thread, open: &OpenFile, to: &mut UserWriter<'_>) -> SyscallResult {
    let file = open.file();
    let Some(queue) = file.wait_queue() else { return Err(Errno::EAGAIN.into()) };
    let sources = [wait::Source { queue, events: PollEvents::READABLE }];
    loop {
        let timeout_ns = file.read_timeout_ns().unwrap_or(NEVER);
        let deadline_ns = machine::now_ns().saturating_add(timeout_ns);
        let mut is_first = true;
        let turn = wait::until(thread, &sources, deadline_ns, || match file.read(open, to, None) {
            Ok(Progress::Done(count)) => Some(Turn::Done(Ok(count))),
            Err(errno) => Some(Turn::Done(Err(errno))),
            Ok(Progress::WouldBlock) if core::mem::take(&mut is_first) => None,
            Ok(Progress::WouldBlock) => Some(Turn::Again),
        })?;
        match turn {
            Some(Turn::Done(result)) => return Ok(result?),
            Some(Turn::Again) if machine::now_ns() < deadline_ns => {}
            _ => {
                return match file.read_after_timeout(open, to)? {
                    Progress::Done(count) => Ok(count),
                    Progress::WouldBlock => Ok(0),
                };
            }
        }
    }
}

pub(crate) fn read(thread: &Thread, fd: Fd, buffer: UserPtr, count: usize) -> SyscallResult {
    let open = readable(thread, fd)?;
    read_from(thread, &open, &mut UserWriter::new(buffer.address(), count)?, None)
}

pub(crate) fn pread64(thread: &Thread, fd: Fd, buffer: UserPtr, count: usize, offset: i64) -> SyscallResult {
    let position = position(offset)?;
    check_positions(thread, fd)?;
    let open = readable(thread, fd)?;
    let mut to = UserWriter::new(buffer.address(), count)?;
    check_end(Some(position), count)?;
    read_from(thread, &open, &mut to, Some(position))
}

fn read_vector(thread: &Thread, fd: Fd, vector: UserPtr, count: u64, position: Option<u64>) -> SyscallResult {
    let open = readable(thread, fd)?;
    let mut iovecs = IovecBuffer::new();
    let mut to = UserWriter::from_iovecs(iovecs.read(vector.address(), vector_len(count)?)?)?;
    if to.is_full() {
        return Ok(0);
    }
    check_end(position, to.remaining())?;
    read_from(thread, &open, &mut to, position)
}

/// The number of buffers of a vector.
fn vector_len(count: u64) -> Result<usize, Errno> {
    usize::try_from(count).map_err(|_| Errno::EINVAL)
}

pub(crate) fn readv(thread: &Thread, fd: Fd, vector: UserPtr, vector_length: u64) -> SyscallResult {
    read_vector(thread, fd, vector, vector_length, None)
}

pub(crate) fn preadv(
    thread: &Thread,
    fd: Fd,
    vector: UserPtr,
    vector_length: u64,
    offset_low: u64,
    _offset_high: u64,
) -> SyscallResult {
    let position = position(offset_low.cast_signed())?;
    check_positions(thread, fd)?;
    read_vector(thread, fd, vector, vector_length, Some(position))
}

pub(crate) fn preadv2(
    thread: &Thread,
    fd: Fd,
    vector: UserPtr,
    vector_length: u64,
    offset_low: u64,
    _offset_high: u64,
    flags: u32,
) -> SyscallResult {
    let position = own_or(offset_low)?;
    if position.is_some() {
        check_positions(thread, fd)?;
    }
    let open = readable(thread, fd)?;
    let mut iovecs = IovecBuffer::new();
    let mut to = UserWriter::from_iovecs(iovecs.read(vector.address(), vector_len(vector_length)?)?)?;
    if to.remaining() == 0 {
        return Ok(0);
    }
    let flags = rw_flags(&open, flags, false)?;
    check_end(position, to.remaining())?;
    if !flags.contains(RwFlags::NOWAIT) {
        return read_from(thread, &open, &mut to, position);
    }
    let count = match open.file().read_at_hand(&open, &mut to, position)? {
        Progress::Done(count) => count,
        // What there is to read depends on the reader.
        Progress::WouldBlock => match file_as::<SignalFd>(&open) {
            Some(signals) => signals.read_at_hand_by(thread, &mut to)?,
            None => return Err(Errno::EAGAIN.into()),
        },
    };
    thread.accounting().count_read(count);
    Ok(count)
}

/// The flags of one call, known ones only: the file is looked at first.
fn rw_flags(open: &OpenFile, flags: u32, writes: bool) -> Result<RwFlags, Errno> {
    let flags = RwFlags::from_bits(flags).ok_or(Errno::EOPNOTSUPP)?;
    let refused = match open.file().call_flags(open, writes) {
        CallFlags::All => RwFlags::empty(),
        CallFlags::Waiting => RwFlags::NOWAIT,
        CallFlags::None => !RwFlags::HIPRI,
    };
    if flags.intersects(refused) {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags.contains(RwFlags::APPEND | RwFlags::NOAPPEND) { Err(Errno::EINVAL) } else { Ok(flags) }
}

/// The position of `preadv2` and `pwritev2`, where -1 stands for the file's own.
fn own_or(offset: u64) -> Result<Option<u64>, Errno> {
    match offset.cast_signed() {
        -1 => Ok(None),
        offset => position(offset).map(Some),
    }
}

// ---- Writing --------------------------------------------------------------------------------------------------------

/// Writes to an open file. In blocking mode a stream takes everything before the call returns, unless a signal comes. The
/// end of a broken pipe raises `SIGPIPE`.
#[inline(always)]
pub(crate) fn write_to(
    thread: &Thread,
    open: &OpenFile,
    from: &mut UserReader<'_>,
    position: Option<u64>,
) -> SyscallResult {
    write_signalling(thread, open, from, position, true)
}

/// As [`write_to`]. `signals`: whether a broken pipe raises `SIGPIPE`.
#[inline(always)]
fn write_signalling(
    thread: &Thread,
    open: &OpenFile,
    from: &mut UserReader<'_>,
    position: Option<u64>,
    signals: bool,
) -> SyscallResult {
    match open.server().write(open, from, position) {
        Ok(Progress::Done(count)) if from.is_empty() => {
            thread.accounting().count_write(count);
            Ok(count)
        }
        first => {
            let result = write_rest(thread, open, from, position, first, signals);
            thread.accounting().count_write(result.unwrap_or(0));
            result
        }
    }
}

/// The rest of a write whose first attempt, which answered `first`, did not take everything. Most writes do not come here.
#[cold]
#[inline(never)]
fn write_rest(
    thread: &Thread,
    open: &OpenFile,
    from: &mut UserReader<'_>,
    position: Option<u64>,
    first: IoResult,
    signals: bool,
) -> SyscallResult {
    if let Some(file) = file_as::<SocketFile>(open) {
        let flags = if signals { MessageFlags::empty() } else { MessageFlags::NOSIGNAL };
        return socket::transfer::write_rest(thread, open, file, from, first, flags);
    }
    let file = open.file();
    let mut attempt = first;
    let mut done = 0;
    loop {
        let result = match attempt {
            Ok(Progress::Done(count)) => Ok(count),
            Ok(Progress::WouldBlock) if open.is_nonblocking() => Err(Errno::EAGAIN.into()),
            Ok(Progress::WouldBlock) => {
                wait::until_done(thread, open, PollEvents::WRITABLE, || file.write(open, from, position))
            }
            Err(errno) => Err(errno.into()),
        };
        match result {
            Ok(count) => done += count,
            Err(SyscallError::Errno(Errno::EPIPE)) if signals => {
                let error = broken_pipe(thread);
                return if done > 0 { Ok(done) } else { Err(error) };
            }
            Err(_) if done > 0 => return Ok(done),
            Err(error) => return Err(error),
        }
        if from.is_empty() || !file.is_stream() || result == Ok(0) {
            return Ok(done);
        }
        attempt = file.write(open, from, position);
    }
}

/// Applies the limit on the size of files (`RLIMIT_FSIZE`) to a write at `position`: answers how much of it may be done, or
/// raises `SIGXFSZ` when not one byte fits.
#[inline(always)]
fn limit_write(thread: &Thread, open: &OpenFile, position: Option<u64>, len: usize) -> Result<usize, Errno> {
    match thread.process().soft_limit(RLIMIT_FSIZE) {
        Rlimit::INFINITY => Ok(len),
        limit => limit_file_write(thread, open, position, len, limit),
    }
}

#[cold]
fn limit_file_write(
    thread: &Thread,
    open: &OpenFile,
    position: Option<u64>,
    len: usize,
    limit: u64,
) -> Result<usize, Errno> {
    if len == 0 || !open.file().has_positions() {
        return Ok(len);
    }
    let attributes = open.file().attributes()?;
    if attributes.mode & S_IFMT != S_IFREG {
        return Ok(len);
    }
    let start = match position {
        _ if open.is_append() => attributes.size,
        Some(position) => position,
        None => *open.position().lock(),
    };
    if start >= limit {
        return Err(file_too_large(thread));
    }
    Ok(usize::try_from(limit - start).unwrap_or(usize::MAX).min(len))
}

/// Applies the same limit to a file of `size` bytes that is to have `new_size`.
pub(super) fn limit_size(thread: &Thread, size: u64, new_size: u64) -> Result<(), Errno> {
    let is_over = new_size > size && new_size > thread.process().soft_limit(RLIMIT_FSIZE);
    if is_over { Err(file_too_large(thread)) } else { Ok(()) }
}

/// Raises `SIGXFSZ` and answers the error of the call.
fn file_too_large(thread: &Thread) -> Errno {
    // A full queue loses the information, never the signal.
    let _ = crate::signal::send_to_thread(thread, from_caller(thread, Signal::SIGXFSZ, SI_USER));
    Errno::EFBIG
}

#[inline(always)]
fn write_buffer(
    thread: &Thread,
    open: &OpenFile,
    buffer: UserPtr,
    count: usize,
    position: Option<u64>,
) -> SyscallResult {
    // The whole range is checked before the limit shortens it.
    let mut from = UserReader::new(buffer.address(), count)?;
    check_end(position, count)?;
    let allowed = limit_write(thread, open, position, count)?;
    if allowed < count {
        from.truncate(allowed);
    }
    write_to(thread, open, &mut from, position)
}

pub(crate) fn write(thread: &Thread, fd: Fd, buffer: UserPtr, count: usize) -> SyscallResult {
    let open = writable(thread, fd)?;
    write_buffer(thread, &open, buffer, count, None)
}

pub(crate) fn pwrite64(thread: &Thread, fd: Fd, buffer: UserPtr, count: usize, offset: i64) -> SyscallResult {
    let position = position(offset)?;
    check_positions(thread, fd)?;
    let open = writable(thread, fd)?;
    write_buffer(thread, &open, buffer, count, Some(position))
}

fn write_vector(thread: &Thread, open: &OpenFile, vector: UserPtr, count: u64, position: Option<u64>) -> SyscallResult {
    let mut iovecs = IovecBuffer::new();
    let mut from = UserReader::from_iovecs(iovecs.read(vector.address(), vector_len(count)?)?)?;
    if from.is_empty() {
        // Nobody is asked, and no datagram is sent.
        return Ok(0);
    }
    limit(thread, open, &mut from, position)?;
    write_to(thread, open, &mut from, position)
}

/// Leaves as much of what is to be written at `position` as may be.
#[inline(always)]
fn limit(thread: &Thread, open: &OpenFile, from: &mut UserReader<'_>, position: Option<u64>) -> Result<(), Errno> {
    let len = from.remaining();
    check_end(position, len)?;
    from.truncate(limit_write(thread, open, position, len)?);
    Ok(())
}

pub(crate) fn writev(thread: &Thread, fd: Fd, vector: UserPtr, vector_length: u64) -> SyscallResult {
    let open = writable(thread, fd)?;
    write_vector(thread, &open, vector, vector_length, None)
}

pub(crate) fn pwritev(
    thread: &Thread,
    fd: Fd,
    vector: UserPtr,
    vector_length: u64,
    offset_low: u64,
    _offset_high: u64,
) -> SyscallResult {
    let position = position(offset_low.cast_signed())?;
    check_positions(thread, fd)?;
    let open = writable(thread, fd)?;
    write_vector(thread, &open, vector, vector_length, Some(position))
}

pub(crate) fn pwritev2(
    thread: &Thread,
    fd: Fd,
    vector: UserPtr,
    vector_length: u64,
    offset_low: u64,
    _offset_high: u64,
    flags: u32,
) -> SyscallResult {
    let position = own_or(offset_low)?;
    if position.is_some() {
        check_positions(thread, fd)?;
    }
    let open = writable(thread, fd)?;
    let mut iovecs = IovecBuffer::new();
    let mut from = UserReader::from_iovecs(iovecs.read(vector.address(), vector_len(vector_length)?)?)?;
    if from.is_empty() {
        return Ok(0);
    }
    let flags = rw_flags(&open, flags, true)?;
    let written = if flags.intersects(RwFlags::APPEND | RwFlags::NOAPPEND | RwFlags::NOWAIT | RwFlags::NOSIGNAL) {
        write_as(thread, &open, &mut from, position, flags)?
    } else {
        limit(thread, &open, &mut from, position)?;
        write_to(thread, &open, &mut from, position)?
    };
    if flags.intersects(RwFlags::DSYNC | RwFlags::SYNC) && open.file().has_positions() {
        match open.file().sync(!flags.contains(RwFlags::SYNC)) {
            // A device that keeps nothing.
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(written)
}

/// Writes as if the file had been opened with `O_APPEND`, without it, or with `O_NONBLOCK`, or without `SIGPIPE`.
fn write_as(
    thread: &Thread,
    open: &OpenFile,
    from: &mut UserReader<'_>,
    position: Option<u64>,
    flags: RwFlags,
) -> SyscallResult {
    let mut as_flags = open.flags();
    if flags.contains(RwFlags::NOWAIT) && as_flags.contains(OpenFlags::DIRECT) && open.file().has_positions() {
        // What is on the disk when the call returns was waited for.
        return Err(Errno::EAGAIN.into());
    }
    if flags.contains(RwFlags::NOAPPEND)
        && open.is_append()
        && let Some(file) = file_as::<VnodeFile>(open)
    {
        file.path().inode().metadata().check_may_cut()?;
    }
    let appends = (open.is_append() || flags.contains(RwFlags::APPEND)) && !flags.contains(RwFlags::NOAPPEND);
    as_flags.set(OpenFlags::APPEND, appends);
    as_flags.set(OpenFlags::NONBLOCK, open.is_nonblocking() || flags.contains(RwFlags::NOWAIT));
    let other = open.with_flags(as_flags);
    limit(thread, &other, from, position)?;
    let written = write_signalling(thread, &other, from, position, !flags.contains(RwFlags::NOSIGNAL))?;
    if position.is_none() && open.file().has_positions() {
        let end = *other.position().lock();
        *open.position().lock() = end;
    }
    Ok(written)
}

// ---- The position ---------------------------------------------------------------------------------------------------

pub(crate) fn lseek(thread: &Thread, fd: Fd, offset: i64, whence: u32) -> SyscallResult {
    let open = thread.fds().get(fd.raw())?;
    if whence > SEEK_HOLE {
        return Err(Errno::EINVAL.into());
    }
    let position = open.file().seek(&open, offset, whence)?;
    // A position fits a positive `off_t`.
    usize::try_from(position).map_err(|_| Errno::EOVERFLOW.into())
}
