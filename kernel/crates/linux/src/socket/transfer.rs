//! Sending and receiving with waiting: what `send` and `recv` do, and `write` and `read` when their first attempt was not all.

use core::sync::atomic::Ordering::Relaxed;

use abi::socket::SOCK_STREAM;
use abi::{Errno, PollEvents};
use file::{IoResult, OpenFile, Progress};
use mm::user::{UserReader, UserWriter};
use net::socket::{
    Caller, ControlMessage, MessageFlags, Opening, ReceiveRequest, Received, SendRequest, Socket, SocketFile,
};

use alloc::vec::Vec;

use super::Patience;
use crate::SyscallResult;
use crate::error::SyscallError;
use crate::signal::broken_pipe;
use crate::thread::Thread;

/// Whether a socket moves a stream of bytes.
fn is_stream(socket: &dyn Socket) -> bool {
    socket.kind().kind == SOCK_STREAM
}

/// How long a call that receives may wait.
pub(crate) fn receive_patience(open: &OpenFile, socket: &dyn Socket, flags: MessageFlags) -> Patience {
    let is_nonblocking = open.is_nonblocking() || flags.contains(MessageFlags::DONTWAIT);
    Patience::new(is_nonblocking, socket.options().receive_timeout_ns.load(Relaxed))
}

/// How long a call that sends may wait.
pub(crate) fn send_patience(open: &OpenFile, socket: &dyn Socket, flags: MessageFlags) -> Patience {
    let is_nonblocking = open.is_nonblocking() || flags.contains(MessageFlags::DONTWAIT);
    Patience::new(is_nonblocking, socket.options().send_timeout_ns.load(Relaxed))
}

// ---- Sending --------------------------------------------------------------------------------------------------------

/// Sends a message. A stream in blocking mode takes everything before the call returns, unless a signal comes.
#[inline]
pub(crate) fn send(
    thread: &Thread,
    open: &OpenFile,
    socket: &dyn Socket,
    request: &mut SendRequest<'_, '_>,
) -> SyscallResult {
    let first = socket.send(request);
    if let Ok(Progress::Done(count)) = first
        && (request.from.is_empty() || !is_stream(socket))
    {
        return Ok(count);
    }
    send_rest(thread, open, socket, request, first)
}

/// The rest of a send whose first attempt, which answered `first`, was not all.
fn send_rest(
    thread: &Thread,
    open: &OpenFile,
    socket: &dyn Socket,
    request: &mut SendRequest<'_, '_>,
    first: IoResult,
) -> SyscallResult {
    let mut patience = send_patience(open, socket, request.flags);
    let mut attempt = first;
    let mut done = 0;
    if matches!(first, Ok(Progress::WouldBlock)) {
        match open_by_send(thread, open, socket, &mut patience, request) {
            Ok(Begun::Nothing) => {}
            Ok(Begun::UnderWay(taken)) => return Ok(taken),
            Ok(Begun::Connected(taken)) if request.from.is_empty() => return Ok(taken),
            Ok(Begun::Connected(taken)) => {
                done = taken;
                attempt = socket.send(request);
            }
            Err(error) => return Err(send_error(thread, socket, request.flags, error)),
        }
    }
    loop {
        let result = match attempt {
            Ok(Progress::Done(count)) => Ok(count),
            Ok(Progress::WouldBlock) => {
                patience.wait(thread, open, PollEvents::WRITABLE, || match socket.send(request)? {
                    Progress::Done(count) => Ok(Some(count)),
                    Progress::WouldBlock => Ok(None),
                })
            }
            Err(errno) => Err(errno.into()),
        };
        match result {
            Ok(count) => done += count,
            Err(_) if done > 0 => return Ok(done),
            Err(error) => return Err(send_error(thread, socket, request.flags, error)),
        }
        if request.from.is_empty() || !is_stream(socket) || result == Ok(0) {
            return Ok(done);
        }
        attempt = socket.send(request);
    }
}

/// What a send has begun that connects.
enum Begun {
    /// It does not connect.
    Nothing,
    /// So many bytes went with a connection, which is there.
    Connected(usize),
    /// So many bytes went with a connection for which the call does not wait.
    UnderWay(usize),
}

/// Connects, where it is the send that has to (`MSG_FASTOPEN`, `TCP_FASTOPEN_CONNECT`).
fn open_by_send(
    thread: &Thread,
    open: &OpenFile,
    socket: &dyn Socket,
    patience: &mut Patience,
    request: &mut SendRequest<'_, '_>,
) -> Result<Begun, SyscallError> {
    let opening = socket.open_by_send(request);
    request.flags.remove(MessageFlags::FASTOPEN);
    let (taken, under_way) = match opening {
        Ok(Opening::No) => return Ok(Begun::Nothing),
        Ok(Opening::Open) => return Ok(Begun::Connected(0)),
        Ok(Opening::UnderWay(taken)) => (taken, Errno::EINPROGRESS),
        // It was under way before: who may wait waits for its end.
        Err(Errno::EALREADY) => (0, Errno::EALREADY),
        Err(errno) => return Err(errno.into()),
    };
    let is_connected = || Ok(matches!(socket.finish_connect()?, Progress::Done(_)).then_some(()));
    match patience.wait(thread, open, PollEvents::WRITABLE, is_connected) {
        Ok(()) => Ok(Begun::Connected(taken)),
        Err(SyscallError::Errno(Errno::EAGAIN)) if taken > 0 => Ok(Begun::UnderWay(taken)),
        Err(SyscallError::Errno(Errno::EAGAIN)) => Err(under_way.into()),
        Err(error) => Err(error),
    }
}

/// The error of a send; the end of a stream raises `SIGPIPE`.
fn send_error(thread: &Thread, socket: &dyn Socket, flags: MessageFlags, error: SyscallError) -> SyscallError {
    let is_broken = error == SyscallError::Errno(Errno::EPIPE);
    if is_broken && is_stream(socket) && !flags.contains(MessageFlags::NOSIGNAL) {
        return broken_pipe(thread);
    }
    error
}

/// The rest of a `write` to a socket whose first attempt answered `first`.
pub(crate) fn write_rest(
    thread: &Thread,
    open: &OpenFile,
    file: &SocketFile,
    from: &mut UserReader<'_>,
    first: IoResult,
    flags: MessageFlags,
) -> SyscallResult {
    let caller: Caller = super::caller(thread);
    let mut control = Vec::new();
    let mut request = SendRequest { from, address: None, control: &mut control, flags, caller: &caller };
    send_rest(thread, open, &**file.socket(), &mut request, first)
}

// ---- Receiving ------------------------------------------------------------------------------------------------------

/// Receives a message, or bytes of a stream: as many as `MSG_WAITALL` or `SO_RCVLOWAT` ask for, unless something ends it before.
pub(crate) fn receive(
    thread: &Thread,
    open: &OpenFile,
    socket: &dyn Socket,
    to: &mut UserWriter<'_>,
    flags: MessageFlags,
    wants_control: bool,
) -> Result<Received, SyscallError> {
    let mut patience = receive_patience(open, socket, flags);
    let mut passed = flags;
    passed.set(MessageFlags::DONTWAIT, patience.is_none());
    let target = if is_stream(socket) { target_len(socket, to, flags) } else { 0 };
    let mut all: Option<Received> = None;
    loop {
        let mut attempt = || socket.receive(&mut ReceiveRequest { to, flags: passed, wants_control });
        let result = match attempt() {
            Ok(Some(received)) => Ok(received),
            Ok(None) => patience.wait(thread, open, PollEvents::READABLE, attempt),
            Err(errno) => Err(errno.into()),
        };
        let (received, all_len) = match (result, &all) {
            (Ok(received), all) => (received, all.as_ref().map_or(0, |all| all.len)),
            (Err(_), Some(_)) => break,
            (Err(error), None) => return Err(error),
        };
        let len = received.len + all_len;
        let has_rights = received.control.iter().any(|message| matches!(message, ControlMessage::Rights(_)));
        let is_end = received.len == 0;
        match &mut all {
            None => all = Some(received),
            Some(all) => {
                all.len = len;
                all.flags |= received.flags;
                // What goes with the last bytes stands for all.
                if !received.control.is_empty() {
                    all.control = received.control;
                }
            }
        }
        if len >= target || is_end || has_rights || flags.contains(MessageFlags::PEEK) {
            break;
        }
    }
    Ok(all.unwrap_or_default())
}

/// The bytes after which a read of a stream is done.
fn target_len(socket: &dyn Socket, to: &UserWriter<'_>, flags: MessageFlags) -> usize {
    if flags.contains(MessageFlags::WAITALL) {
        return to.remaining();
    }
    let low_water = socket.options().receive_low_water.load(Relaxed);
    usize::try_from(low_water).unwrap_or(1).min(to.remaining())
}

/// The rest of a `read` from a socket that found nothing at first.
pub(crate) fn read_later(
    thread: &Thread,
    open: &OpenFile,
    file: &SocketFile,
    to: &mut UserWriter<'_>,
) -> SyscallResult {
    receive(thread, open, &**file.socket(), to, MessageFlags::empty(), false).map(|received| received.len)
}
