//! Bytes of stream sockets.

use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use abi::{Errno, PollEvents};
use file::{IoResult, Progress};

use super::UnixSocket;
use super::endpoint::{Endpoint, Mark, Queue, RECEIVE_SHUT, SEND_SHUT, State};
use super::in_flight::{self, Rights};
use super::urgent::{Manner, Step};
use crate::socket::{ControlMessage, MessageFlags, ReceiveRequest, Received, SendRequest, SocketCredentials};

/// Who has sent bytes with which no credentials were kept.
const NOBODY: SocketCredentials = SocketCredentials { pid: 0, uid: 65534, gid: 65534 };

/// What a message carries beside its bytes.
pub(super) struct Cargo {
    pub rights: Option<Rights>,
    pub credentials: SocketCredentials,
}

impl Cargo {
    /// Takes the cargo out of a request.
    pub(super) fn take(request: &mut SendRequest<'_, '_>) -> Result<Self, Errno> {
        let mut cargo = Self { rights: None, credentials: request.caller.credentials };
        if request.control.is_empty() {
            return Ok(cargo);
        }
        let mut files = Vec::new();
        for message in request.control.drain(..) {
            match message {
                ControlMessage::Rights(more) => files.extend(more),
                ControlMessage::Credentials(credentials) => cargo.credentials = credentials,
                _ => return Err(Errno::EINVAL),
            }
        }
        if !files.is_empty() {
            match Rights::new(files, request.caller) {
                Ok(rights) => cargo.rights = Some(rights),
                Err((errno, files)) => {
                    drop(files);
                    return Err(errno);
                }
            }
        }
        Ok(cargo)
    }

    /// Gives it back to the request, for the next attempt.
    pub(super) fn put_back(self, request: &mut SendRequest<'_, '_>) {
        if let Some(rights) = self.rights {
            request.control.push(ControlMessage::Rights(rights.take()));
        }
        if self.credentials != request.caller.credentials {
            request.control.push(ControlMessage::Credentials(self.credentials));
        }
    }
}

pub(super) fn send(socket: &UnixSocket, request: &mut SendRequest<'_, '_>) -> IoResult {
    let me = socket.endpoint();
    let is_urgent = request.flags.contains(MessageFlags::OOB);
    if is_urgent && request.from.is_empty() {
        return Err(Errno::EOPNOTSUPP);
    }
    let Some(peer) = socket.link() else {
        return Err(if request.address.is_some() { Errno::EOPNOTSUPP } else { Errno::ENOTCONN });
    };
    if request.address.is_some() {
        return Err(Errno::EISCONN);
    }
    if me.shut() & SEND_SHUT != 0 {
        return Err(Errno::EPIPE);
    }
    let mut cargo = Cargo::take(request)?;
    let result = if is_urgent {
        push_urgent(me, peer, request, &mut cargo)
    } else {
        push(me, peer, request, &mut cargo, usize::MAX, false)
    };
    if !matches!(result, Ok(Progress::Done(_))) {
        cargo.put_back(request);
    }
    result
}

/// Moves bytes, of which the last is urgent and goes when all others have gone.
#[cold]
fn push_urgent(me: &Endpoint, peer: &Endpoint, request: &mut SendRequest<'_, '_>, cargo: &mut Cargo) -> IoResult {
    let before = request.from.remaining() - 1;
    let mut done = 0;
    if before > 0 {
        match push(me, peer, request, cargo, before, false)? {
            Progress::Done(moved) if moved == before => done = moved,
            stopped => return Ok(stopped),
        }
    }
    match push(me, peer, request, cargo, 1, true) {
        Ok(Progress::Done(moved)) => Ok(Progress::Done(done + moved)),
        _ if done > 0 => Ok(Progress::Done(done)),
        result => result,
    }
}

/// Moves up to `len` bytes to the queue of the peer, as far as there is room; `is_urgent` one, and it is urgent.
#[inline]
fn push(
    me: &Endpoint,
    peer: &Endpoint,
    request: &mut SendRequest<'_, '_>,
    cargo: &mut Cargo,
    len: usize,
    is_urgent: bool,
) -> IoResult {
    if request.from.is_empty() {
        return Ok(Progress::Done(0));
    }
    let limit = me.options.send_buffer_len();
    let keeps_credentials = me.options.pass_credentials.load(Relaxed) || peer.options.pass_credentials.load(Relaxed);
    let mut done = 0;
    loop {
        let mut queue = peer.queue();
        if queue.is_closed || peer.shut() & RECEIVE_SHUT != 0 {
            drop(queue);
            return if done > 0 { Ok(Progress::Done(done)) } else { Err(Errno::EPIPE) };
        }
        let room = limit.saturating_sub(queue.used()).min(len - done);
        if room == 0 {
            break;
        }
        let start = queue.taken + queue.bytes.len() as u64;
        let (moved, fault) = match queue.bytes.fill(request.from, room) {
            Ok(moved) => moved,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        };
        if moved > 0 && (keeps_credentials || cargo.rights.is_some()) {
            mark(&mut queue, start, start + moved as u64, cargo, keeps_credentials);
        }
        if is_urgent && moved > 0 {
            queue.urgent.note(start);
        }
        peer.publish(&queue);
        drop(queue);
        done += moved;
        match fault.map(mm::user::UserFault::resolve) {
            None => break,
            Some(Ok(())) => {}
            Some(Err(_)) if done > 0 => break,
            Some(Err(errno)) => return Err(errno),
        }
    }
    if done == 0 {
        return Ok(Progress::WouldBlock);
    }
    let mut events = PollEvents::READABLE;
    if is_urgent {
        peer.has_urgent_news.store(true, Relaxed);
        events |= PollEvents::PRI;
    }
    peer.wake(events);
    Ok(Progress::Done(done))
}

/// Notes what goes along with the bytes from `start` to `end`.
fn mark(queue: &mut Queue, start: u64, end: u64, cargo: &mut Cargo, keeps_credentials: bool) {
    let credentials = keeps_credentials.then_some(cargo.credentials);
    if cargo.rights.is_none()
        && let Some(last) = queue.marks.back_mut()
        && last.rights.is_none()
        && last.end == start
        && last.credentials == credentials
    {
        last.end = end;
        return;
    }
    queue.marks.push_back(Mark { start, end, rights: cargo.rights.take(), credentials });
}

/// How far a receive has come.
#[derive(Default)]
struct Gathered {
    done: usize,
    rights: Option<Rights>,
    /// Rights that were looked at.
    peeked: Option<ControlMessage>,
    credentials: Option<SocketCredentials>,
    is_over: bool,
    /// How far behind the front a look has come; 0 for a read.
    offset: usize,
    /// Rights that nobody receives: of urgent bytes that were left out.
    lost: Vec<Rights>,
}

pub(super) fn receive(socket: &UnixSocket, request: &mut ReceiveRequest<'_, '_>) -> Result<Option<Received>, Errno> {
    let me = socket.endpoint();
    let (State::Connected, Some(peer)) = (me.state(), socket.link()) else { return Err(Errno::EINVAL) };
    let is_inline = me.options.oob_inline.load(Relaxed);
    if request.flags.contains(MessageFlags::OOB) {
        return receive_urgent(me, request, is_inline).map(Some);
    }
    // Looked at before the queue: bytes sent before the end are seen.
    let is_shut = me.shut() & RECEIVE_SHUT != 0;
    if me.level() == 0 {
        return nothing(me, is_shut);
    }
    let is_peek = request.flags.contains(MessageFlags::PEEK);
    let passes_credentials = me.options.pass_credentials.load(Relaxed);
    let writable_below = peer.options.send_buffer_len();
    let manner = Manner { is_peek, is_inline };
    let mut gathered = Gathered::default();
    let wants_none = request.to.is_full();
    let mut has_started = false;
    loop {
        let mut queue = me.queue();
        if is_peek && !core::mem::replace(&mut has_started, true) {
            gathered.offset = queue.urgent.offset_behind(queue.taken, me.options.peek_start(), is_inline);
        }
        let before = queue.used();
        let is_empty = queue.bytes.len() <= gathered.offset;
        let fault = gather(&mut queue, request, manner, passes_credentials, &mut gathered);
        let after = queue.used();
        me.publish(&queue);
        drop(queue);
        if !gathered.lost.is_empty() {
            in_flight::drop_later(core::mem::take(&mut gathered.lost));
        }
        if before.saturating_mul(4) > writable_below && after.saturating_mul(4) <= writable_below {
            peer.wake(PollEvents::WRITABLE | PollEvents::WRBAND);
        }
        match fault.map(mm::user::UserFault::resolve) {
            Some(Ok(())) if !gathered.is_over => continue,
            Some(Err(errno)) if gathered.done == 0 => return Err(errno),
            _ if gathered.done > 0 || (wants_none && !is_empty) => break,
            _ => {}
        }
        return nothing(me, is_shut);
    }
    debug_assert!(gathered.done > 0 || wants_none);
    me.options.move_peek_offset(is_peek, gathered.done);
    let mut control = Vec::new();
    if passes_credentials {
        control.push(ControlMessage::Credentials(gathered.credentials.unwrap_or(NOBODY)));
    }
    control.extend(gathered.rights.map(|rights| ControlMessage::Rights(rights.take())));
    control.extend(gathered.peeked);
    let address = socket.address_of(peer);
    Ok(Some(Received { len: gathered.done, address, control, flags: MessageFlags::empty() }))
}

/// What there is to receive where there are no bytes.
fn nothing(me: &Endpoint, is_shut: bool) -> Result<Option<Received>, Errno> {
    match me.take_error() {
        Some(errno) => Err(errno),
        None if is_shut => Ok(Some(Received::default())),
        None => Ok(None),
    }
}

/// Takes the urgent byte, or looks at it. As on Linux it counts even where there is no room for it.
fn receive_urgent(me: &Endpoint, request: &mut ReceiveRequest<'_, '_>, is_inline: bool) -> Result<Received, Errno> {
    let mut queue = me.queue();
    if is_inline {
        return Err(Errno::EINVAL);
    }
    let is_peek = request.flags.contains(MessageFlags::PEEK);
    let place = queue.urgent.take(is_peek).ok_or(Errno::EINVAL)?;
    let offset = usize::try_from(place - queue.taken).unwrap_or(usize::MAX);
    let byte = queue.bytes.byte(offset).expect("the urgent byte is in the queue until reading has passed it");
    me.publish(&queue);
    drop(queue);
    if !request.to.is_full() {
        request.to.write_all(&[byte])?;
    }
    Ok(Received { len: 1, flags: MessageFlags::OOB, ..Received::default() })
}

/// Moves bytes out of the queue under its lock, up to where something else goes along with them.
fn gather(
    queue: &mut Queue,
    request: &mut ReceiveRequest<'_, '_>,
    manner: Manner,
    passes_credentials: bool,
    gathered: &mut Gathered,
) -> Option<mm::user::UserFault> {
    let mut index = 0;
    loop {
        let at = queue.taken + gathered.offset as u64;
        let left = queue.bytes.len().saturating_sub(gathered.offset);
        let Some(limit) = ordinary_until(queue, at, left, manner, gathered) else {
            gathered.is_over = true;
            return None;
        };
        if limit == at {
            continue;
        }
        // What was passed by a look that goes on after a fault.
        while queue.marks.get(index).is_some_and(|mark| mark.end <= at) {
            index += 1;
        }
        let mark = queue.marks.get(index);
        let (is_marked, until) = match mark {
            Some(mark) if mark.start <= at => (true, mark.end),
            Some(mark) => (false, mark.start),
            None => (false, at + left as u64),
        };
        let credentials = mark.filter(|_| is_marked).and_then(|mark| mark.credentials);
        if passes_credentials && gathered.done > 0 && gathered.credentials != credentials {
            gathered.is_over = true;
            return None;
        }
        gathered.credentials = credentials;
        let wanted = usize::try_from(until.min(limit) - at).unwrap_or(usize::MAX).min(left);
        let (moved, fault) = queue.bytes.copy_to(gathered.offset, wanted, request.to);
        gathered.done += moved;
        let has_rights = is_marked && take_rights_of(queue, index, manner.is_peek, gathered);
        advance(queue, moved, manner.is_peek, gathered);
        if fault.is_some() {
            return fault;
        }
        let is_through = at + moved as u64 >= until;
        if is_marked && is_through && !manner.is_peek {
            queue.marks.remove(index);
        }
        if request.to.is_full() || (has_rights && (is_through || manner.is_peek)) {
            gathered.is_over = true;
            return None;
        }
    }
}

/// Goes on by bytes that were copied, or left out.
#[inline]
fn advance(queue: &mut Queue, len: usize, is_peek: bool, gathered: &mut Gathered) {
    if is_peek {
        gathered.offset += len;
    } else {
        queue.bytes.consume(len);
        queue.taken += len as u64;
    }
}

/// Up to where bytes are ordinary ones; `at` when the one there was left out. None: the read is over.
#[inline]
fn ordinary_until(queue: &mut Queue, at: u64, left: usize, manner: Manner, gathered: &mut Gathered) -> Option<u64> {
    if left == 0 {
        return None;
    }
    if queue.urgent.is_empty() {
        return Some(at + left as u64);
    }
    match queue.urgent.step(at, gathered.done > 0, manner) {
        Step::Until(limit) => Some(limit),
        Step::Stop => None,
        Step::Pass => {
            advance(queue, 1, manner.is_peek, gathered);
            while !manner.is_peek && queue.marks.front().is_some_and(|mark| mark.end <= queue.taken) {
                gathered.lost.extend(queue.marks.pop_front().and_then(|mark| mark.rights));
            }
            Some(at)
        }
    }
}

/// Takes the rights of the mark at `index`, or looks at them. True: rights go along with what was gathered.
fn take_rights_of(queue: &mut Queue, index: usize, is_peek: bool, gathered: &mut Gathered) -> bool {
    if let Some(mark) = queue.marks.get_mut(index) {
        if is_peek {
            gathered.peeked = mark.rights.as_ref().map(|rights| ControlMessage::Rights(rights.peek()));
        } else if let Some(rights) = mark.rights.take() {
            gathered.rights = Some(rights);
        }
    }
    gathered.rights.is_some() || gathered.peeked.is_some()
}
