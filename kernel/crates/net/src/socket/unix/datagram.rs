//! Messages of datagram and sequenced-packet sockets.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use abi::{Errno, PollEvents};
use file::{IoResult, Progress};

use super::UnixSocket;
use super::endpoint::{Endpoint, MESSAGES_MAX, Message, RECEIVE_SHUT, SEND_SHUT, State, wake_blocked};
use super::stream::Cargo;
use crate::socket::{Address, ControlMessage, MessageFlags, ReceiveRequest, Received, SendRequest};

/// What Linux keeps back of the buffer for a message.
const MESSAGE_RESERVE: usize = 32;

/// Why a message was not queued.
enum Refusal {
    /// There is no room.
    Full,
    /// The receiver is closed.
    Gone,
    Error(Errno),
}

pub(super) fn send(socket: &UnixSocket, request: &mut SendRequest<'_, '_>) -> IoResult {
    let me = socket.endpoint();
    if !me.is_datagram() {
        if let Some(errno) = me.take_error() {
            return Err(errno);
        }
        if me.state() != State::Connected {
            return Err(Errno::ENOTCONN);
        }
    }
    if request.flags.contains(MessageFlags::OOB) {
        return Err(Errno::EOPNOTSUPP);
    }
    // Sequenced packets go to the peer, whatever the call says.
    let named = request.address.filter(|_| me.is_datagram());
    let connected = if named.is_none() { Some(socket.peer().ok_or(Errno::ENOTCONN)?) } else { None };
    if me.options.pass_credentials.load(Ordering::Relaxed) && !me.has_name() {
        socket.names().bind_automatically(me)?;
    }
    let len = request.from.remaining();
    let limit = me.options.send_buffer_len();
    if len > limit.saturating_sub(MESSAGE_RESERVE) {
        return Err(Errno::EMSGSIZE);
    }
    if let Some(errno) = me.take_error() {
        return Err(errno);
    }
    if me.shut() & SEND_SHUT != 0 {
        return Err(Errno::EPIPE);
    }
    if me.outstanding.load(Ordering::Acquire) >= limit {
        return Ok(Progress::WouldBlock);
    }
    let target = match (connected, named) {
        (Some(peer), _) => peer,
        (None, Some(address)) => socket.find_target(address)?,
        (None, None) => return Err(Errno::ENOTCONN),
    };
    match deliver(me, &target, request) {
        Ok(()) => Ok(Progress::Done(len)),
        Err(Refusal::Full) => Ok(Progress::WouldBlock),
        Err(Refusal::Gone) => {
            socket.forget_peer(&target);
            Err(Errno::ECONNREFUSED)
        }
        Err(Refusal::Error(errno)) => Err(errno),
    }
}

/// Whether `queue_len` messages are all that `to` takes from `from`.
fn is_full_for(from: &Arc<Endpoint>, to: &Arc<Endpoint>, queue_len: usize) -> bool {
    queue_len > MESSAGES_MAX && !Arc::ptr_eq(from, to) && !to.is_connected_to(from) && to.is_datagram()
}

/// Queues the message.
fn deliver(me: &Arc<Endpoint>, target: &Arc<Endpoint>, request: &mut SendRequest<'_, '_>) -> Result<(), Refusal> {
    check_target(me, target)?;
    // Without the lock: memory is allocated and read. A full queue is seen before that is done in vain.
    if is_full_for(me, target, target.level()) && wait_for_room(me, target)? {
        return Err(Refusal::Full);
    }
    let len = request.from.remaining();
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Refusal::Error(Errno::ENOBUFS))?;
    bytes.resize(len, 0);
    request.from.clone().read_exact(&mut bytes).map_err(Refusal::Error)?;
    let Cargo { rights, credentials } = Cargo::take(request).map_err(Refusal::Error)?;
    let charge = Message::charge(len);
    let message = Message { bytes, rights, credentials, from: Arc::clone(me) };
    let mut queue = target.queue();
    let is_full = is_full_for(me, target, queue.messages.len());
    if queue.is_closed || is_full {
        if is_full {
            queue.note_blocked(me);
        }
        let refusal = if queue.is_closed { Refusal::Gone } else { Refusal::Full };
        drop(queue);
        let Message { rights, credentials, .. } = message;
        Cargo { rights, credentials }.put_back(request);
        return Err(refusal);
    }
    me.outstanding.fetch_add(charge, Ordering::AcqRel);
    queue.messages.push_back(message);
    target.publish(&queue);
    drop(queue);
    request.from.skip(len);
    target.wake(PollEvents::READABLE);
    Ok(())
}

/// Whether `target` takes anything from `me`.
fn check_target(me: &Arc<Endpoint>, target: &Arc<Endpoint>) -> Result<(), Refusal> {
    if target.queue().is_closed {
        return Err(Refusal::Gone);
    }
    let connected_to = target.connected_to.load(Ordering::Acquire);
    if target.is_datagram() && connected_to != 0 && !target.is_connected_to(me) {
        return Err(Refusal::Error(Errno::EPERM));
    }
    if target.shut() & RECEIVE_SHUT != 0 { Err(Refusal::Error(Errno::EPIPE)) } else { Ok(()) }
}

/// Registers for room in the queue of `target`. False: there is some now.
fn wait_for_room(me: &Arc<Endpoint>, target: &Arc<Endpoint>) -> Result<bool, Refusal> {
    let mut queue = target.queue();
    if queue.is_closed {
        return Err(Refusal::Gone);
    }
    let is_full = is_full_for(me, target, queue.messages.len());
    if is_full {
        queue.note_blocked(me);
    }
    Ok(is_full)
}

/// Whether a datagram to `peer` finds room; registers to be told of it otherwise.
pub(super) fn has_room(me: &Arc<Endpoint>, peer: &Arc<Endpoint>) -> bool {
    !is_full_for(me, peer, peer.level()) || !wait_for_room(me, peer).unwrap_or(false)
}

pub(super) fn receive(socket: &UnixSocket, request: &mut ReceiveRequest<'_, '_>) -> Result<Option<Received>, Errno> {
    let me = socket.endpoint();
    if !me.is_datagram() && me.state() != State::Connected {
        return Err(Errno::ENOTCONN);
    }
    if request.flags.contains(MessageFlags::OOB) {
        return Err(Errno::EOPNOTSUPP);
    }
    if let Some(errno) = me.take_error() {
        return Err(errno);
    }
    let is_shut = me.shut() & RECEIVE_SHUT != 0;
    if request.flags.contains(MessageFlags::PEEK) {
        return peek(socket, request, is_shut);
    }
    let mut queue = me.queue();
    let was_full = queue.messages.len() > MESSAGES_MAX;
    let Some(mut message) = queue.messages.pop_front() else {
        drop(queue);
        return Ok(at_end(request, is_shut, me.is_datagram()));
    };
    me.publish(&queue);
    let blocked = if was_full { queue.take_blocked() } else { Vec::new() };
    drop(queue);
    wake_blocked(blocked);
    message.from.uncharge(Message::charge(message.bytes.len()));
    me.options.move_peek_offset(false, message.bytes.len());
    let rights = message.rights.take().map(|rights| ControlMessage::Rights(rights.take()));
    finish(socket, request, &message, 0, rights).map(Some)
}

/// The answer of an empty queue.
fn at_end(request: &ReceiveRequest<'_, '_>, is_shut: bool, is_datagram: bool) -> Option<Received> {
    // A datagram socket has no end that can be read without waiting for it.
    let shows_end = is_shut && !(is_datagram && request.flags.contains(MessageFlags::DONTWAIT));
    shows_end.then(Received::default)
}

fn peek(socket: &UnixSocket, request: &mut ReceiveRequest<'_, '_>, is_shut: bool) -> Result<Option<Received>, Errno> {
    let me = socket.endpoint();
    let queue = me.queue();
    let mut skipped = me.options.peek_start();
    let is_behind = |message: &&Message| {
        let is_passed = skipped > 0 && skipped >= message.bytes.len();
        skipped -= if is_passed { message.bytes.len() } else { 0 };
        !is_passed
    };
    let Some(front) = queue.messages.iter().find(is_behind) else {
        drop(queue);
        return Ok(at_end(request, is_shut, me.is_datagram()));
    };
    let copy = Message {
        bytes: front.bytes.clone(),
        rights: None,
        credentials: front.credentials,
        from: Arc::clone(&front.from),
    };
    let rights = front.rights.as_ref().map(|rights| ControlMessage::Rights(rights.peek()));
    drop(queue);
    let room = request.to.remaining();
    let received = finish(socket, request, &copy, skipped, rights)?;
    me.options.move_peek_offset(true, room.min(copy.bytes.len() - skipped));
    Ok(Some(received))
}

/// Hands a message over, from its byte `skipped` on.
fn finish(
    socket: &UnixSocket,
    request: &mut ReceiveRequest<'_, '_>,
    message: &Message,
    skipped: usize,
    rights: Option<ControlMessage>,
) -> Result<Received, Errno> {
    let bytes = &message.bytes[skipped..];
    let len = bytes.len();
    let copied = len.min(request.to.remaining());
    request.to.write_all(&bytes[..copied])?;
    let mut flags = MessageFlags::empty();
    flags.set(MessageFlags::TRUNC, copied < len);
    let mut control = Vec::new();
    if socket.endpoint().options.pass_credentials.load(Ordering::Relaxed) {
        control.push(ControlMessage::Credentials(message.credentials));
    }
    control.extend(rights);
    let address: Option<Address> = socket.address_of(&message.from);
    let answered = if request.flags.contains(MessageFlags::TRUNC) { len } else { copied };
    Ok(Received { len: answered, address, control, flags })
}
