//! [`Client`]: a session with a server: sends requests, waits for replies, and checks them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use mm::{Frame, FramePiece, PAGE_SIZE};
use sync::atomic::{AtomicBool, Ordering};
use sync::{BatchQueue, Parker, WaitNode, WaitQueue, machine};

use crate::buffer::{Buffer, pieces_of};
use crate::codec::{Decoder, Encoder, HEADER_LEN};
use crate::exchange::{Answer, Session};
use crate::message::{ERROR, NO_TAG, NONE, Qid, VERSION, kind};
use crate::{Exchange, Fid, TIMEOUT_NS, TIMEOUTS_MAX, Transport};

/// The most bytes of a file in one message.
const PAYLOAD_MAX: usize = 512 << 10;
/// What the protocol counts for the header of a message that carries bytes of a file.
const PAYLOAD_HEADER_LEN: usize = 24;
/// Room for the reply to anything that answers no bytes or names. The longest is that of `getattr`.
pub(crate) const REPLY_LEN: usize = 192;
/// Pieces that request and reply take beside the bytes of a file.
const OWN_PIECES: usize = 2;
/// The most fids that wait to be let go, because nothing could be sent when they were.
const UNSENT_MAX: usize = 1 << 20;

/// Bytes of a file that travel with a request or with its reply: in the first `len` bytes of whole frames.
#[derive(Clone, Copy)]
pub(crate) enum Payload<'a> {
    /// None.
    Nothing,
    /// Behind the request.
    Out(&'a [Frame], usize),
    /// Behind the reply.
    In(&'a [Frame], usize),
}

/// A reply that is none but an error has been turned into one; this is another.
pub(crate) struct Reply<'a> {
    session: &'a Session,
    /// Its beginning, as far as it is no bytes of a file.
    head: Vec<u8>,
    /// Bytes of the whole.
    size: usize,
}

impl Reply<'_> {
    /// Its body.
    pub(crate) fn decoder(&self) -> Decoder<'_> {
        Decoder::new(self.head.get(HEADER_LEN..).unwrap_or_default())
    }

    /// What `decode` makes of its body.
    pub(crate) fn decode<T>(&self, decode: impl FnOnce(&mut Decoder<'_>) -> Option<T>) -> Result<T, Errno> {
        decode(&mut self.decoder()).ok_or_else(|| self.malformed())
    }

    /// Bytes behind the first `head_len`.
    pub(crate) fn len_behind(&self, head_len: usize) -> usize {
        self.size.saturating_sub(head_len)
    }

    /// What it is worth when it makes no sense.
    pub(crate) fn malformed(&self) -> Errno {
        self.session.malformed()
    }
}

/// A session with a server.
pub struct Client {
    transport: Arc<dyn Transport>,
    session: Arc<Session>,
    /// The most bytes of a file in one message: whole pages.
    payload_max: usize,
    is_dead: AtomicBool,
    /// Fids that are to be let go when there is an occasion.
    unsent: BatchQueue<u32>,
}

impl Client {
    /// Begins a session and attaches the tree `tree` as the user `user`; the root of it.
    pub fn connect(transport: Arc<dyn Transport>, tree: &[u8], user: &[u8]) -> Result<(Fid, Qid), Errno> {
        let pages = transport.pieces_max().saturating_sub(OWN_PIECES).max(1);
        let payload_max = PAYLOAD_MAX.min(pages * PAGE_SIZE);
        let mut client = Self {
            transport,
            session: Session::new(),
            payload_max,
            is_dead: AtomicBool::new(false),
            unsent: BatchQueue::new(UNSENT_MAX),
        };
        client.payload_max = client.negotiate()?;
        let client = Arc::new(client);
        let root = Fid::new(&client)?;
        let message = Encoder::new(kind::ATTACH).u32(root.number()).u32(NONE).string(user)?.string(tree)?.u32(NONE);
        let reply = client.call(message)?;
        let root = root.known();
        Ok((root, reply.decode(Qid::decode)?))
    }

    /// Agrees on a version and on the size of messages; answers the most bytes of a file in one.
    fn negotiate(&self) -> Result<usize, Errno> {
        let wanted = u32::try_from(self.payload_max + PAYLOAD_HEADER_LEN).map_err(|_| Errno::EINVAL)?;
        let message = Encoder::new(kind::VERSION).u32(wanted).string(VERSION)?;
        let reply = self.exchange(message, Payload::Nothing, REPLY_LEN, Some(NO_TAG))?;
        let (size, is_known) =
            reply.decode(|decoder| Some((decoder.u32()?.min(wanted), decoder.string()? == VERSION)))?;
        let payload = usize::try_from(size).unwrap_or(0).saturating_sub(PAYLOAD_HEADER_LEN) / PAGE_SIZE * PAGE_SIZE;
        if !is_known || payload == 0 {
            log::warn!("9p: the server speaks another protocol, or too short messages");
            return Err(Errno::EPROTONOSUPPORT);
        }
        Ok(payload)
    }

    /// The most bytes of a file that one message carries: whole pages.
    #[must_use]
    pub fn payload_max(&self) -> usize {
        self.payload_max
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Sends a request without bytes of files, and waits for its reply.
    pub(crate) fn call(&self, message: Encoder) -> Result<Reply<'_>, Errno> {
        self.exchange(message, Payload::Nothing, REPLY_LEN, None)
    }

    /// Sends a request, and waits for its reply, of which `reply_len` bytes at most are no bytes of files.
    pub(crate) fn exchange(
        &self,
        message: Encoder,
        payload: Payload<'_>,
        reply_len: usize,
        fixed_tag: Option<u16>,
    ) -> Result<Reply<'_>, Errno> {
        self.send_unsent();
        let tag = self.take_tag();
        let said_tag = fixed_tag.unwrap_or(u16::try_from(tag).unwrap_or(NO_TAG));
        let result = self.exchange_as(said_tag, message, payload, reply_len);
        self.session.give_tag(tag);
        result
    }

    fn exchange_as(
        &self,
        tag: u16,
        message: Encoder,
        payload: Payload<'_>,
        reply_len: usize,
    ) -> Result<Reply<'_>, Errno> {
        let wanted_kind = message.kind().wrapping_add(1);
        let (buffer, mut outgoing, mut incoming, reply_at) = prepare(message, tag, payload, reply_len)?;
        match payload {
            Payload::Nothing => {}
            Payload::Out(frames, len) => outgoing.extend(pieces_of(frames, 0, len)),
            Payload::In(frames, len) => incoming.extend(pieces_of(frames, 0, len)),
        }
        let answer = Answer::new();
        self.submit(Exchange::waited_for(&self.session, &answer, outgoing, incoming));
        let written = self.wait(&answer).ok_or(Errno::EIO)?;
        let written = usize::try_from(written).unwrap_or(usize::MAX);
        let head = buffer.read(reply_at, written.min(reply_len));
        self.check(head, written, wanted_kind, tag)
    }

    /// Checks the beginning of a reply, of which the device wrote `written` bytes.
    fn check(&self, head: Vec<u8>, written: usize, wanted_kind: u8, tag: u16) -> Result<Reply<'_>, Errno> {
        let malformed = || self.session.malformed();
        let mut decoder = Decoder::new(&head);
        let (Some(size), Some(kind), Some(said_tag)) = (decoder.u32(), decoder.u8(), decoder.u16()) else {
            return Err(malformed());
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > written || size < HEADER_LEN || said_tag != tag {
            return Err(malformed());
        }
        if kind == ERROR {
            let number = decoder.u32().ok_or_else(malformed)?;
            return Err(u16::try_from(number).ok().and_then(Errno::from_raw).unwrap_or(Errno::EIO));
        }
        if kind != wanted_kind {
            return Err(malformed());
        }
        let mut head = head;
        head.truncate(size);
        Ok(Reply { session: &self.session, head, size })
    }

    /// A tag, when there is one.
    fn take_tag(&self) -> u32 {
        self.session.try_tag().unwrap_or_else(|| self.wait_for_room(self.session.tag_room(), || self.session.try_tag()))
    }

    /// Hands an exchange to the device, and sleeps while it is full.
    fn submit(&self, exchange: Exchange) {
        if self.is_dead.load(Ordering::Relaxed) {
            return exchange.complete(None);
        }
        if let Err(exchange) = self.transport.submit(exchange) {
            self.submit_when_there_is_room(exchange);
        }
    }

    fn submit_when_there_is_room(&self, exchange: Exchange) {
        let mut waiting = Some(exchange);
        self.wait_for_room(self.transport.room(), || {
            waiting = waiting.take().and_then(|exchange| self.transport.submit(exchange).err());
            waiting.is_none().then_some(())
        });
    }

    /// Sleeps until `attempt` gives something, which it may when `room` is woken. A server that is given up makes room.
    #[cold]
    fn wait_for_room<T>(&self, room: &WaitQueue, mut attempt: impl FnMut() -> Option<T>) -> T {
        let parker = Arc::new(Parker::new());
        let node = WaitNode::with_events(parker.clone(), u32::MAX, true);
        loop {
            let woken = room.add(&node);
            if let Some(result) = attempt() {
                room.remove(&node);
                // One wake may have stood for more room than this one took.
                if woken != 0 {
                    room.wake(woken);
                }
                return result;
            }
            let answered = self.session.answered.load(Ordering::Relaxed);
            if parker.park_until(machine::now_ns().saturating_add(TIMEOUT_NS)) {
                self.suspect(answered);
            }
        }
    }

    fn wait(&self, answer: &Answer) -> Option<u32> {
        for _ in 0..TIMEOUTS_MAX {
            let answered = self.session.answered.load(Ordering::Relaxed);
            if let Some(written) = answer.wait_until(machine::now_ns().saturating_add(TIMEOUT_NS)) {
                return written;
            }
            self.suspect(answered);
        }
        // It answers others, but this one it has forgotten.
        self.stop();
        answer.wait_until(u64::MAX).flatten()
    }

    /// A wait took too long. If others were answered the server lives; else it is given up.
    #[cold]
    fn suspect(&self, answered: u64) {
        self.transport.poll();
        if self.session.answered.load(Ordering::Relaxed) == answered {
            self.stop();
        }
    }

    /// Gives the server up: everything under way and everything later is `EIO`.
    pub fn stop(&self) {
        if !self.is_dead.swap(true, Ordering::Relaxed) {
            log::error!("9p: the server does not answer; it is given up");
            self.transport.stop();
        }
    }

    /// Lets a fid go, now or at the next occasion. Never sleeps.
    pub(crate) fn clunk(&self, fid: u32) {
        if let Some(fid) = self.try_clunk(fid) {
            // A full queue leaks the fid, to the server as well: there are a million before it.
            self.unsent.push(fid);
        }
    }

    /// Lets a fid go; it comes back when that cannot be said now.
    fn try_clunk(&self, fid: u32) -> Option<u32> {
        if self.is_dead.load(Ordering::Relaxed) {
            self.session.fids.give_back(fid);
            return None;
        }
        let Some(tag) = self.session.try_tag() else { return Some(fid) };
        let message = Encoder::new(kind::CLUNK).u32(fid);
        let said_tag = u16::try_from(tag).unwrap_or(NO_TAG);
        let Ok((_, outgoing, incoming, _)) = prepare(message, said_tag, Payload::Nothing, REPLY_LEN) else {
            self.session.give_tag(tag);
            return Some(fid);
        };
        let exchange = Exchange::clunk(&self.session, tag, fid, outgoing, incoming);
        match self.transport.submit(exchange) {
            Ok(()) => None,
            Err(exchange) => {
                exchange.take_back();
                Some(fid)
            }
        }
    }

    fn send_unsent(&self) {
        if self.unsent.is_empty() {
            return;
        }
        for fid in self.unsent.take() {
            self.clunk(fid);
        }
    }
}

/// Writes a request; answers its memory, its pieces, those of its reply, and where that begins.
fn prepare(
    message: Encoder,
    tag: u16,
    payload: Payload<'_>,
    reply_len: usize,
) -> Result<(Buffer, Vec<FramePiece>, Vec<FramePiece>, usize), Errno> {
    let (more, is_write) = if let Payload::Out(_, len) = payload { (len, true) } else { (0, false) };
    let request = message.finish(tag, more)?;
    let reply_at = request.len().next_multiple_of(8);
    let len = reply_at + reply_len;
    let buffer = if is_write { Buffer::for_write(len) } else { Buffer::new(len) }?;
    buffer.write(0, &request);
    let outgoing = buffer.pieces(0, request.len()).collect();
    let incoming = buffer.pieces(reply_at, reply_len).collect();
    Ok((buffer, outgoing, incoming, reply_at))
}
