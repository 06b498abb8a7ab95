//! Connections of the machine with itself: two sockets and the bytes between them, without segments.
//!
//! A [`Pair`] has one [`Stream`] for each direction. What segments would do is kept true: a FIN is the mark that a stream is finished, a RST the
//! error in it; who writes to a closed socket is reset, as is who is closed with bytes unread (RFC 2525, 2.17). Windows
//! are the capacity of a stream. Nothing is ever lost, so there are no timers; and nothing strays, so there is no TIME-WAIT: an address can be
//! bound again at once that Linux keeps for a minute.
//!
//! Locks: a stream has [`rank::LOCAL_STREAMS`], below that of the socket that uses it; the two streams are not locked together. Wakes
//! happen after the lock.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::sync::atomic::Ordering::Relaxed;

use abi::{Errno, PollEvents};
use mm::user::{UserReader, UserWriter};
use sync::{Mutex, Once, rank};

use super::engine::{Reader, State, Step, Urgent};
use super::listener::Listener;
use super::socket::TcpSocket;
use crate::byte_queue::ByteQueue;
use crate::frame::Payload;
use crate::loan::Account;
use crate::ports::Claim;

/// Bytes on their way where neither end chose a size.
pub(super) const CAPACITY_DEFAULT: usize = 512 * 1024;

/// The bytes of one direction.
struct Stream {
    queue: ByteQueue,
    capacity: usize,
    /// Bytes that were read.
    read_total: u64,
    /// Bytes that were written.
    written_total: u64,
    /// The writer has sent its last byte.
    is_finished: bool,
    /// The reader's socket is closed.
    is_reader_gone: bool,
    /// The connection was reset, with this error for the reader.
    reset: Option<Errno>,
    urgent: Urgent,
    /// None as long as nothing was ever lent.
    lent: Option<Account>,
}

impl Stream {
    fn new(capacity: usize) -> Mutex<Self> {
        let stream = Self {
            queue: ByteQueue::new(),
            capacity,
            read_total: 0,
            written_total: 0,
            is_finished: false,
            is_reader_gone: false,
            reset: None,
            urgent: Urgent::default(),
            lent: None,
        };
        Mutex::new(rank::LOCAL_STREAMS, stream)
    }

    fn room(&self) -> usize {
        let lent = self.lent.as_ref().map_or(0, Account::lent);
        self.capacity.saturating_sub(self.queue.len()).saturating_sub(lent)
    }

    /// By the rule of `poll`: a third must be free.
    fn is_writable(&self) -> bool {
        self.room() >= self.capacity / 3
    }

    /// Where reading stands.
    fn reader(&self, is_inline: bool) -> Reader {
        Reader { next: place(self.read_total), len: self.queue.len(), is_inline }
    }

    /// How many bytes a read can get, and how many before these a look leaves out. A read leaves the urgent byte out
    /// for good.
    #[inline]
    fn readable(&mut self, is_inline: bool, is_peek: bool) -> (usize, usize) {
        if self.urgent.is_empty() {
            return (self.queue.len(), 0);
        }
        match self.urgent.step(self.reader(is_inline), 0) {
            Step::Read(len) => (len, 0),
            Step::Stop => (0, 0),
            Step::Pass if is_peek => (self.queue.len() - 1, 1),
            Step::Pass => {
                self.pass_byte();
                (self.queue.len(), 0)
            }
        }
    }

    /// Drops the byte at which reading stands.
    fn pass_byte(&mut self) {
        self.queue.discard(1);
        self.note_read(1);
    }

    fn note_read(&mut self, count: usize) {
        self.read_total += count as u64;
        self.urgent.pass(place(self.read_total));
    }
}

/// A place in a stream, as sequence numbers count.
fn place(total: u64) -> u32 {
    u32::try_from(total & u64::from(u32::MAX)).unwrap_or(0)
}

/// Both directions of a connection; the stream of a side is what it reads.
pub(super) struct Pair {
    streams: [Mutex<Stream>; 2],
    /// Nobody else has these ends until both are gone: the claim of a bound socket from the beginning, that of another when it is closed.
    claim: Once<Claim>,
}

/// What has gone through a connection, seen from one end.
pub(super) struct Traffic {
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) has_received_end: bool,
    pub(super) has_sent_end: bool,
    /// Bytes that may come and go before somebody reads.
    pub(super) receive_room: usize,
    pub(super) send_room: usize,
    /// It is the end that has connected.
    pub(super) has_begun: bool,
}

/// One end of a connection. Under the lock of its socket.
pub(super) struct LocalEnd {
    pair: Arc<Pair>,
    /// The stream that it reads.
    side: usize,
    /// The stream that it writes: the other one, but of a socket that is connected to itself.
    outgoing_side: usize,
    peer: Weak<TcpSocket>,
    /// Its own address.
    pub(super) local: SocketAddr,
    /// The other end's.
    pub(super) remote: SocketAddr,
    /// It was reset, and the program has been told.
    is_dead: bool,
    error: Option<Errno>,
    is_read_shut: bool,
    is_write_shut: bool,
    /// The listener that does not give this connection out before something comes on it (`TCP_DEFER_ACCEPT`).
    pub(super) deferred: Option<Weak<Listener>>,
}

impl LocalEnd {
    /// Both ends of a new connection between `addresses`; each is given the other's socket. `capacities` are those of what each reads.
    pub(super) fn pair(
        addresses: [SocketAddr; 2],
        claim: Option<Claim>,
        sockets: [Weak<TcpSocket>; 2],
        capacities: [usize; 2],
    ) -> [Self; 2] {
        let claim = claim.map_or_else(Once::new, Once::initialized);
        let pair = Arc::new(Pair { streams: capacities.map(Stream::new), claim });
        let [first, second] = sockets;
        let end = |side: usize, peer| Self {
            pair: Arc::clone(&pair),
            side,
            outgoing_side: 1 - side,
            peer,
            local: addresses[side],
            remote: addresses[1 - side],
            is_dead: false,
            error: None,
            is_read_shut: false,
            is_write_shut: false,
            deferred: None,
        };
        [end(0, second), end(1, first)]
    }

    /// The end of a socket that is connected to itself: it reads what it writes (RFC 9293, 3.5, simultaneous opening).
    pub(super) fn own_peer(
        address: SocketAddr,
        claim: Option<Claim>,
        socket: Weak<TcpSocket>,
        capacity: usize,
    ) -> Self {
        let [end, _] = Self::pair([address; 2], claim, [Weak::new(), socket], [capacity, 0]);
        Self { outgoing_side: end.side, ..end }
    }

    fn incoming(&self) -> &Mutex<Stream> {
        &self.pair.streams[self.side]
    }

    fn outgoing(&self) -> &Mutex<Stream> {
        &self.pair.streams[self.outgoing_side]
    }

    #[inline]
    fn wake_peer(&self, events: PollEvents) {
        if let Some(peer) = self.peer.upgrade() {
            peer.wake_for(events);
        }
    }

    /// Takes a reset over that the other end has left.
    #[inline]
    pub(super) fn notice_reset(&mut self) {
        if !self.is_dead {
            let reset = self.incoming().lock().reset;
            self.take_over(reset);
        }
    }

    #[inline]
    fn take_over(&mut self, reset: Option<Errno>) {
        if !self.is_dead {
            (self.is_dead, self.error) = (reset.is_some(), reset);
        }
    }

    /// Takes the pending error.
    pub(super) fn take_error(&mut self) -> Option<Errno> {
        self.notice_reset();
        self.error.take()
    }

    /// Whether a reset has ended it.
    #[inline]
    pub(super) fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// Writes; none if there is no room.
    pub(super) fn send(&mut self, from: &mut UserReader<'_>) -> Result<Option<usize>, Errno> {
        self.check_writable()?;
        let mut stream = self.outgoing().lock();
        if stream.is_reader_gone {
            let count = from.skip(from.remaining());
            drop(stream);
            // The bytes would be answered by RST, after the FIN that came before.
            self.is_dead = true;
            let has_seen_fin = self.incoming().lock().is_finished;
            self.error = Some(Self::reset_error(has_seen_fin));
            return Ok(Some(count));
        }
        let room = stream.room();
        if room == 0 {
            return Ok(None);
        }
        let count = stream.queue.write(from, room)?;
        stream.written_total += count as u64;
        drop(stream);
        self.wake_peer(PollEvents::READABLE);
        Ok(Some(count))
    }

    /// What a RST means to who has seen the other's FIN, or not (`tcp_reset`).
    fn reset_error(has_seen_fin: bool) -> Errno {
        if has_seen_fin { Errno::EPIPE } else { Errno::ECONNRESET }
    }

    fn check_writable(&mut self) -> Result<(), Errno> {
        if let Some(errno) = self.take_error() {
            return Err(errno);
        }
        if self.is_dead || self.is_write_shut { Err(Errno::EPIPE) } else { Ok(()) }
    }

    /// Sends one byte as urgent; none if there is no room.
    pub(super) fn send_urgent(&mut self, byte: u8) -> Result<Option<usize>, Errno> {
        self.check_writable()?;
        let mut stream = self.outgoing().lock();
        if stream.is_reader_gone {
            drop(stream);
            return self.send(&mut UserReader::from_kernel(&[byte]));
        }
        if stream.room() == 0 {
            return Ok(None);
        }
        let (peer, at) = (self.peer.upgrade(), place(stream.written_total));
        let reader = stream.reader(peer.as_ref().is_some_and(|peer| peer.options.oob_inline.load(Relaxed)));
        if stream.urgent.announce(at, reader) {
            stream.pass_byte();
        }
        let is_news = stream.urgent.take_news();
        stream.urgent.note_bytes(at, &[byte]);
        stream.queue.append(&[byte]);
        stream.written_total += 1;
        drop(stream);
        if let Some(peer) = peer {
            peer.note_urgent(is_news);
            peer.wake_for(PollEvents::READABLE | PollEvents::PRI);
        }
        Ok(Some(1))
    }

    /// Reads, or looks; none if nothing is there. `is_inline`: urgent data is read with the rest.
    #[inline(always)]
    pub(super) fn receive(
        &mut self,
        to: &mut UserWriter<'_>,
        seen: Option<usize>,
        is_truncating: bool,
        is_inline: bool,
    ) -> Result<Option<usize>, Errno> {
        let (is_peek, seen) = (seen.is_some(), seen.unwrap_or(0));
        let mut stream = self.incoming().lock();
        let was_writable = stream.is_writable();
        if to.is_full() && !stream.queue.is_empty() {
            return Ok(Some(0));
        }
        let (available, left_out) = stream.readable(is_inline, is_peek);
        let (available, left_out) = (available.saturating_sub(seen), left_out + seen);
        if available > 0 {
            let count = match (is_peek, is_truncating) {
                (true, false) => return stream.queue.peek(to, left_out, available).map(Some),
                (true, true) => return Ok(Some(available.min(to.remaining()))),
                (false, true) => stream.queue.discard(available.min(to.remaining())),
                (false, false) => stream.queue.read(to, available)?,
            };
            stream.note_read(count);
            let has_grown = !was_writable && stream.is_writable();
            drop(stream);
            if has_grown {
                self.wake_peer(PollEvents::WRITABLE);
            }
            return Ok(Some(count));
        }
        let (is_finished, reset) = (stream.is_finished, stream.reset);
        drop(stream);
        Ok(self.is_over(is_finished, reset)?.then_some(0))
    }

    /// Whether nothing can come where nothing is, or the error of that, as the stream says.
    fn is_over(&mut self, is_finished: bool, reset: Option<Errno>) -> Result<bool, Errno> {
        if is_finished || self.is_read_shut {
            return Ok(true);
        }
        self.take_over(reset);
        self.error.take().map_or(Ok(self.is_dead), Err)
    }

    /// Lends what can be read, in up to `pieces_max` buffers; none if nothing is there, no buffer at the end.
    pub(super) fn lend(
        &mut self,
        pieces_max: usize,
        is_inline: bool,
    ) -> Result<Option<(Vec<Payload>, Account)>, Errno> {
        let mut stream = self.incoming().lock();
        let was_writable = stream.is_writable();
        let (available, _) = stream.readable(is_inline, false);
        if available == 0 {
            let (is_finished, reset) = (stream.is_finished, stream.reset);
            drop(stream);
            return Ok(self.is_over(is_finished, reset)?.then(Default::default));
        }
        let pieces = stream.queue.lend(pieces_max, available);
        stream.note_read(pieces.iter().map(Payload::len).sum());
        let account = stream.lent.get_or_insert_default().clone();
        pieces.iter().for_each(|piece| account.add(piece));
        let has_grown = !was_writable && stream.is_writable();
        drop(stream);
        if has_grown {
            self.wake_peer(PollEvents::WRITABLE);
        }
        Ok(Some((pieces, account)))
    }

    /// Takes a buffer back that was lent.
    pub(super) fn take_back(&mut self, payload: Payload, account: &Account) {
        let mut stream = self.incoming().lock();
        let was_writable = stream.is_writable();
        account.subtract(&payload);
        stream.queue.take_back(payload.into_buffer());
        let has_grown = !was_writable && stream.is_writable();
        drop(stream);
        if has_grown {
            self.wake_peer(PollEvents::WRITABLE);
        }
    }

    /// The urgent byte (`MSG_OOB`), as Linux answers it.
    pub(super) fn receive_urgent(&mut self, is_peek: bool, is_inline: bool) -> Result<u8, Errno> {
        self.incoming().lock().urgent.take(is_peek, is_inline)
    }

    /// Whether reading stands at the urgent byte.
    pub(super) fn is_at_mark(&self) -> bool {
        let stream = self.incoming().lock();
        stream.urgent.is_at_mark(place(stream.read_total))
    }

    /// Sends the last byte.
    pub(super) fn shutdown_write(&mut self) {
        if core::mem::replace(&mut self.is_write_shut, true) || self.is_dead {
            return;
        }
        self.outgoing().lock().is_finished = true;
        self.wake_peer(PollEvents::READABLE | PollEvents::RDHUP | PollEvents::HUP);
    }

    /// Reads find the end from now on, when what is there has been read.
    pub(super) fn shutdown_read(&mut self) {
        self.is_read_shut = true;
    }

    /// Keeps the claim of a socket that is closed until the other end is gone, if it is for these ends.
    pub(super) fn keep(&self, claim: Claim) {
        if claim.is_within(self.remote) {
            self.pair.claim.call_once(|| claim);
        }
    }

    /// The socket is closed; with a reset if bytes were not read, or if `is_abortive`.
    pub(super) fn close(&mut self, is_abortive: bool) {
        let mut incoming = self.incoming().lock();
        incoming.is_reader_gone = true;
        let is_reset = is_abortive || !incoming.queue.is_empty();
        let was_writable = incoming.is_writable();
        incoming.queue.clear();
        drop(incoming);
        if is_reset && !self.is_dead {
            let mut outgoing = self.outgoing().lock();
            let errno = Self::reset_error(outgoing.is_finished);
            outgoing.reset.get_or_insert(errno);
            drop(outgoing);
            self.wake_peer(PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::HUP | PollEvents::ERR);
            return;
        }
        // An end that was told of before is no news.
        self.shutdown_write();
        if !was_writable {
            self.wake_peer(PollEvents::WRITABLE);
        }
    }

    /// Nobody has this end any more and the other is not told before it sends: a connection that was never given out.
    pub(super) fn vanish(&mut self) {
        self.incoming().lock().is_reader_gone = true;
    }

    /// Something has come to the other end: what has to hear of it, once.
    #[inline]
    pub(super) fn take_announcement(&mut self) -> Option<(Arc<Listener>, Arc<TcpSocket>)> {
        let listener = self.deferred.take()?;
        Some((listener.upgrade()?, self.peer.upgrade()?))
    }

    /// What applies now; `low_water` is how much makes it readable.
    pub(super) fn readiness(&mut self, low_water: usize, is_inline: bool) -> PollEvents {
        self.notice_reset();
        let incoming = self.incoming().lock();
        let is_finished = incoming.is_finished;
        let is_read_over = is_finished || self.is_read_shut || self.is_dead;
        let mut events = PollEvents::empty();
        if incoming.urgent.readable_len(incoming.reader(is_inline)) >= low_water.max(1) || is_read_over {
            events |= PollEvents::READABLE;
        }
        events.set(PollEvents::PRI, incoming.urgent.has_byte());
        drop(incoming);
        if is_read_over {
            events |= PollEvents::RDHUP;
        }
        if self.is_dead || self.is_write_shut || self.outgoing().lock().is_writable() {
            events |= PollEvents::WRITABLE;
        }
        if self.is_dead || (is_finished || self.is_read_shut) && self.is_write_shut {
            events |= PollEvents::HUP;
        }
        if self.error.is_some() {
            events |= PollEvents::ERR;
        }
        events
    }

    /// Bytes that can be read (`SIOCINQ`).
    pub(super) fn waiting_len(&self, is_inline: bool) -> usize {
        let stream = self.incoming().lock();
        stream.urgent.waiting_len(stream.reader(is_inline))
    }

    /// Whether the other end sends no more.
    pub(super) fn has_received_end(&self) -> bool {
        self.incoming().lock().is_finished
    }

    /// The state that TCP would be in.
    pub(super) fn state(&self) -> State {
        let has_received = self.incoming().lock().is_finished;
        match (self.is_write_shut, has_received) {
            // Linux's socket is closed then; what is left in TIME-WAIT is not the socket.
            _ if self.is_dead => State::Closed,
            (true, true) => State::Closed,
            (false, false) => State::Established,
            (false, true) => State::CloseWait,
            (true, false) => State::FinWait2,
        }
    }

    /// What has gone both ways so far.
    pub(super) fn traffic(&self) -> Traffic {
        let incoming = self.incoming().lock();
        let (received, has_received_end, receive_room) =
            (incoming.written_total, incoming.is_finished, incoming.room());
        drop(incoming);
        let outgoing = self.outgoing().lock();
        Traffic {
            received,
            has_received_end,
            receive_room,
            sent: outgoing.written_total,
            has_sent_end: outgoing.is_finished,
            send_room: outgoing.room(),
            has_begun: self.side == 0,
        }
    }
}
