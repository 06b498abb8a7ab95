//! Moving bytes and messages between programs and connections.

use core::sync::atomic::Ordering::Relaxed;

use abi::Errno;
use file::{IoResult, Progress};
use mm::user::UserReader;

use super::connection::Connection;
use super::packet::{END_OF_MESSAGE, END_OF_RECORD, Kind, Operation, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use super::socket::{Inner, VsockSocket};
use super::waiting::Cause;
use crate::room;
use crate::socket::options::SocketOptions;
use crate::socket::{MessageFlags, ReceiveRequest, Received, SendRequest};

/// Bytes of a stream that are posted at a time, however large buffers are.
const STREAM_LEN_MAX: usize = 256 * 1024;

/// How many bytes a reader of a stream waits for: not more than there can be, if the buffer has shrunk since.
pub(super) fn low_water(options: &SocketOptions, connection: &Connection) -> usize {
    let wanted = usize::try_from(options.receive_low_water.load(Relaxed)).unwrap_or(1);
    wanted.min(connection.credit.buffer())
}

/// The connection, if bytes may be sent on it.
fn sendable<'a>(inner: &'a mut Inner, request: &SendRequest<'_, '_>) -> Result<&'a mut Connection, Errno> {
    if request.flags.contains(MessageFlags::OOB) {
        return Err(Errno::EOPNOTSUPP);
    }
    let is_established = inner.connection.as_ref().is_some_and(Connection::is_established);
    if request.address.is_some() {
        return Err(if is_established { Errno::EISCONN } else { Errno::EOPNOTSUPP });
    }
    let connection = inner.connection.as_mut().ok_or(Errno::ENOTCONN)?;
    if connection.has_shut(SHUTDOWN_SEND) || connection.is_shut_by_peer(SHUTDOWN_RECEIVE) {
        return Err(Errno::EPIPE);
    }
    if is_established { Ok(connection) } else { Err(Errno::ENOTCONN) }
}

/// Sends: a stream as much as the peer has room for, a message in full or not at all.
pub(super) fn send(socket: &VsockSocket, request: &mut SendRequest<'_, '_>) -> IoResult {
    let is_message = socket.kind == Kind::Seqpacket;
    let mut may_ask = true;
    loop {
        let mut inner = socket.lock();
        let route = inner.route;
        let connection = sendable(&mut inner, request)?;
        let (wanted, room) = (request.from.remaining(), connection.credit.room());
        if wanted == 0 {
            return Ok(Progress::Done(0));
        }
        if is_message && wanted > connection.credit.window() {
            return Err(Errno::EMSGSIZE);
        }
        if !socket.vsock().has_room(route) {
            return Ok(Progress::WouldBlock);
        }
        if room > 0 && (room >= wanted || !is_message) {
            let end = if request.flags.contains(MessageFlags::EOR) { END_OF_RECORD } else { 0 } | END_OF_MESSAGE;
            let end = is_message.then_some(end);
            let len = if is_message { wanted } else { wanted.min(room).min(STREAM_LEN_MAX) };
            let posted = post_bytes(socket, &mut inner, request.from, len, end);
            socket.finish(inner);
            return posted.map(Progress::Done);
        }
        if !may_ask || !connection.credit.ask() {
            return Ok(Progress::WouldBlock);
        }
        // Where the peer is on this machine the answer is there at once.
        may_ask = false;
        socket.post(&mut inner, Operation::CreditRequest, 0, Cause::Call);
        socket.finish(inner);
    }
}

/// Posts `len` bytes in packets; the last has the flags `end`, if it ends something. Answers how many were posted: of a
/// message all or none.
fn post_bytes(
    socket: &VsockSocket,
    inner: &mut Inner,
    from: &mut UserReader<'_>,
    len: usize,
    end: Option<u32>,
) -> Result<usize, Errno> {
    let part_max = socket.vsock().payload_len_max(inner.route);
    let mut pieces = room::room_for(len.div_ceil(part_max))?;
    let mut done = 0;
    while done < len {
        let part = (len - done).min(part_max);
        let copied = room::zeroes(part).and_then(|mut payload| {
            let copied = from.read(&mut payload)?;
            payload.truncate(copied);
            Ok(payload)
        });
        let payload = match copied {
            Ok(payload) => payload,
            Err(_) if done > 0 && end.is_none() => break,
            Err(errno) => return Err(errno),
        };
        let is_short = payload.len() < part;
        done += payload.len();
        pieces.push(payload);
        if is_short && end.is_some() {
            return Err(Errno::EFAULT);
        }
        if is_short {
            break;
        }
    }
    let (count, route) = (pieces.len(), inner.route);
    let mut packets = (1..).zip(pieces).filter_map(|(number, payload)| {
        inner.connection.as_mut()?.credit.note_sent(payload.len());
        let flags = if number == count { end.unwrap_or(0) } else { 0 };
        socket.packet(inner, Operation::Data, flags, payload)
    });
    socket.vsock().post_all(&mut packets, count, route)?;
    Ok(done)
}

/// Receives bytes or a message; none if there is nothing now.
pub(super) fn receive(socket: &VsockSocket, request: &mut ReceiveRequest<'_, '_>) -> Result<Option<Received>, Errno> {
    if request.flags.contains(MessageFlags::ERRQUEUE) {
        return Err(Errno::EAGAIN);
    }
    let mut inner = socket.lock();
    let nothing = Ok(Some(Received::default()));
    let was_connected = inner.standing.was_connected();
    let Inner { connection, error, .. } = &mut *inner;
    let connection = match connection {
        Some(connection) if connection.is_established() => connection,
        Some(connection) if connection.is_done() => return nothing,
        // What has ended it is told once to who reads.
        Some(connection) if connection.is_over() && was_connected => {
            return Err(error.take().unwrap_or(Errno::ENOTCONN));
        }
        _ => return Err(Errno::ENOTCONN),
    };
    if request.flags.contains(MessageFlags::OOB) {
        return Err(Errno::EOPNOTSUPP);
    }
    if connection.has_shut(SHUTDOWN_RECEIVE) || request.to.is_full() {
        return nothing;
    }
    let is_look = request.flags.contains(MessageFlags::PEEK);
    let (before, memory_before) = (connection.inbox.len(), connection.inbox.memory());
    let Some(taken) = connection.inbox.read(request.to, is_look)? else {
        return if connection.is_shut_by_peer(SHUTDOWN_SEND) { nothing } else { Ok(None) };
    };
    connection.credit.note_taken(before - connection.inbox.len());
    socket.vsock().account(memory_before, connection.inbox.memory());
    if socket.tell_room(&mut inner) {
        socket.finish(inner);
    }
    let mut flags = MessageFlags::empty();
    let mut len = taken.copied;
    if socket.kind == Kind::Seqpacket {
        flags.set(MessageFlags::TRUNC, taken.copied < taken.len);
        flags.set(MessageFlags::EOR, taken.is_record_end);
        if request.flags.contains(MessageFlags::TRUNC) {
            len = taken.len;
        }
    }
    Ok(Some(Received { len, flags, ..Received::default() }))
}
