//! [`Connection`]: one end of a connection, as packets change it (Virtual I/O Device specification 1.3, 5.10.6.4 to
//! 5.10.6.6).
//!
//! # Theory
//!
//! 1. A connection begins with REQUEST, which RESPONSE grants and RST refuses. After that both ends send bytes and tell
//!    of room ([`Credit`]).
//! 2. SHUTDOWN says which halves its sender is done with; it cannot be taken back. When a side has said both, it waits
//!    for RST, which the other sends when it has nothing left to read.
//! 3. RST ends a connection in order. As on Linux, what was received before it can still be read, and the end of the
//!    stream is behind that.
//! 4. Who breaks these rules is reset: sends what there was no room for, or answers a REQUEST with something else.
//!
//! Nothing here knows locks, addresses or time. What is to be done is answered ([`Reaction`]).

use abi::{Errno, PollEvents};

use super::credit::Credit;
use super::inbox::Inbox;
use super::packet::{Header, Kind, Operation, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};

/// Both halves.
pub(super) const SHUTDOWN_BOTH: u32 = SHUTDOWN_RECEIVE | SHUTDOWN_SEND;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It was asked for.
    Requested,
    Established,
    /// Nothing goes either way any more.
    Over,
}

/// What a packet leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reaction {
    /// To be sent.
    pub(super) reply: Option<Operation>,
    /// What is possible now, or known.
    pub(super) events: PollEvents,
    /// Why it has failed.
    pub(super) error: Option<Errno>,
    /// No packets are of this connection any more.
    pub(super) is_gone: bool,
}

/// One end of a connection.
pub(super) struct Connection {
    pub(super) credit: Credit,
    pub(super) inbox: Inbox,
    stage: Stage,
    /// The halves that this side has shut (`SHUTDOWN_`).
    own: u32,
    /// And the peer.
    peer: u32,
    /// The peer has ended it in order.
    is_done: bool,
}

impl Connection {
    /// One that is asked for.
    pub(super) fn requested(kind: Kind, buffer: u32) -> Self {
        Self {
            credit: Credit::new(buffer),
            inbox: Inbox::new(kind),
            stage: Stage::Requested,
            own: 0,
            peer: 0,
            is_done: false,
        }
    }

    /// One that a listener grants, by the request.
    pub(super) fn granted(kind: Kind, buffer: u32, request: &Header) -> Self {
        let mut connection = Self { stage: Stage::Established, ..Self::requested(kind, buffer) };
        connection.credit.hear(request.buffer_len, request.taken);
        connection
    }

    pub(super) fn is_established(&self) -> bool {
        self.stage == Stage::Established
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// The peer has ended it, so that reads find the end of the stream and not that there is no connection.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether this side has shut one of these halves.
    pub(super) fn has_shut(&self, halves: u32) -> bool {
        self.own & halves != 0
    }

    /// Whether this side has shut both.
    pub(super) fn has_shut_both(&self) -> bool {
        self.own == SHUTDOWN_BOTH
    }

    /// Whether the peer has shut one of these halves.
    pub(super) fn is_shut_by_peer(&self, halves: u32) -> bool {
        self.peer & halves != 0
    }

    pub(super) fn is_shut_by_peer_in_full(&self) -> bool {
        self.peer == SHUTDOWN_BOTH
    }

    /// Takes a packet of this connection.
    pub(super) fn receive(&mut self, header: &Header, payload: &[u8]) -> Reaction {
        let has_room = self.credit.hear(header.buffer_len, header.taken);
        let mut reaction = match self.stage {
            Stage::Requested => self.answer(header.operation),
            Stage::Established => self.go_on(header, payload),
            Stage::Over => Reaction::default(),
        };
        reaction.events.set(PollEvents::WRITABLE, has_room || reaction.events.contains(PollEvents::OUT));
        if reaction.reply.is_none() && self.wants_update() {
            reaction.reply = Some(Operation::CreditUpdate);
        }
        reaction
    }

    /// Whether the peer should hear that there is room for bytes of it.
    pub(super) fn wants_update(&self) -> bool {
        let is_mute = self.is_shut_by_peer(SHUTDOWN_SEND) || self.has_shut(SHUTDOWN_RECEIVE);
        self.is_established() && !is_mute && self.credit.wants_update()
    }

    /// The answer to the request.
    fn answer(&mut self, operation: Option<Operation>) -> Reaction {
        match operation {
            Some(Operation::Response) => {
                self.stage = Stage::Established;
                Reaction { events: PollEvents::WRITABLE, ..Reaction::default() }
            }
            Some(Operation::Reset) => self.fail(Errno::ECONNRESET, None),
            // As Linux has it, an operation without a meaning is passed over only here.
            None => Reaction::default(),
            Some(_) => self.fail(Errno::EPROTO, Some(Operation::Reset)),
        }
    }

    /// What comes between the answer and the end.
    fn go_on(&mut self, header: &Header, payload: &[u8]) -> Reaction {
        match header.operation {
            Some(Operation::Data) => self.take_data(header.flags, payload),
            Some(Operation::CreditRequest) => {
                self.credit.note_question();
                Reaction { reply: Some(Operation::CreditUpdate), ..Reaction::default() }
            }
            Some(Operation::Shutdown) => self.take_shutdown(header.flags),
            Some(Operation::Reset) => {
                self.finish();
                Reaction { events: PollEvents::all(), is_gone: true, ..Reaction::default() }
            }
            Some(Operation::Request | Operation::Response | Operation::CreditUpdate) | None => Reaction::default(),
        }
    }

    fn take_data(&mut self, flags: u32, payload: &[u8]) -> Reaction {
        if !self.credit.note_received(payload.len()) {
            return self.fail(Errno::ECONNRESET, Some(Operation::Reset));
        }
        if self.has_shut(SHUTDOWN_RECEIVE) {
            // Nobody will read it. It was under way when the peer was told.
            self.credit.note_taken(payload.len());
            return Reaction::default();
        }
        if !self.inbox.push(payload, flags) {
            return self.fail(Errno::ECONNRESET, Some(Operation::Reset));
        }
        Reaction { events: PollEvents::READABLE, ..Reaction::default() }
    }

    fn take_shutdown(&mut self, halves: u32) -> Reaction {
        self.peer |= halves & SHUTDOWN_BOTH;
        let mut reaction = Reaction { events: PollEvents::all(), ..Reaction::default() };
        if self.is_shut_by_peer_in_full() {
            // What is left to be read is answered by RST when the socket is closed. The peer's port is free for another
            // connection.
            reaction.is_gone = true;
            if self.inbox.len() == 0 && !self.is_done {
                reaction.reply = Some(Operation::Reset);
                self.finish();
            }
        }
        reaction
    }

    /// The peer has ended it.
    fn finish(&mut self) {
        (self.is_done, self.peer) = (true, SHUTDOWN_BOTH);
        if self.inbox.len() == 0 {
            self.stage = Stage::Over;
        }
    }

    /// It has failed, and nothing of it is read any more.
    pub(super) fn fail(&mut self, errno: Errno, reply: Option<Operation>) -> Reaction {
        self.stage = Stage::Over;
        self.inbox.clear();
        Reaction { reply, events: PollEvents::all(), error: Some(errno), is_gone: true }
    }

    /// This side shuts halves, of which the peer is to be told.
    pub(super) fn shut(&mut self, halves: u32) {
        self.own |= halves;
        self.is_done = false;
    }

    /// The program is gone: nothing is read any more. Answers what the peer is to be told, and whether it is waited
    /// for.
    pub(super) fn close(&mut self) -> (Option<Operation>, bool) {
        self.inbox.clear();
        let was_shut = self.has_shut_both();
        self.own = SHUTDOWN_BOTH;
        match self.stage {
            // Who has ended it, or was told so, may have given the ports to another connection.
            Stage::Over | Stage::Requested => (None, false),
            Stage::Established if self.is_shut_by_peer_in_full() => (Some(Operation::Reset), false),
            Stage::Established => ((!was_shut).then_some(Operation::Shutdown), true),
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::Random;

    use super::super::packet::END_OF_MESSAGE;
    use super::*;
    use crate::socket::address::VsockAddress;

    fn header(operation: Operation, flags: u32) -> Header {
        let address = VsockAddress { cid: 2, port: 1 };
        Header {
            source: address,
            destination: address,
            kind: Kind::Stream as u16,
            operation: Some(operation),
            flags,
            buffer_len: 1000,
            taken: 0,
        }
    }

    fn established() -> Connection {
        let mut connection = Connection::requested(Kind::Stream, 1000);
        connection.credit.tell();
        connection.receive(&header(Operation::Response, 0), b"");
        assert!(connection.is_established());
        connection
    }

    #[test]
    fn a_request_is_granted_refused_or_answered_by_nonsense() {
        let answer = |operation| Connection::requested(Kind::Stream, 10).receive(&header(operation, 0), b"");
        assert_eq!(answer(Operation::Response).events, PollEvents::WRITABLE);
        let refused = answer(Operation::Reset);
        assert_eq!((refused.error, refused.reply, refused.is_gone), (Some(Errno::ECONNRESET), None, true));
        for operation in [Operation::Request, Operation::Data, Operation::Shutdown, Operation::CreditUpdate] {
            let broken = answer(operation);
            assert_eq!((broken.error, broken.reply), (Some(Errno::EPROTO), Some(Operation::Reset)));
        }
        let mut connection = Connection::requested(Kind::Stream, 10);
        connection.receive(&Header { operation: None, ..header(Operation::Reset, 0) }, b"");
        assert!(!connection.is_over());
    }

    #[test]
    fn a_reset_leaves_what_came_before_it() {
        let mut connection = established();
        connection.receive(&header(Operation::Data, 0), b"last words");
        let reaction = connection.receive(&header(Operation::Reset, 0), b"");
        assert!(reaction.is_gone && connection.is_done() && connection.is_established());
        assert!(connection.is_shut_by_peer_in_full() && connection.inbox.len() == 10);
        assert_eq!(connection.close(), (Some(Operation::Reset), false));
        let mut empty = established();
        empty.receive(&header(Operation::Reset, 0), b"");
        assert!(empty.is_over() && empty.is_done());
        assert_eq!(empty.close(), (None, false), "nobody answers a reset");
    }

    #[test]
    fn both_halves_shut_are_answered_by_a_reset_when_nothing_is_left() {
        let mut connection = established();
        let first = connection.receive(&header(Operation::Shutdown, SHUTDOWN_SEND), b"");
        assert_eq!((first.reply, first.is_gone, connection.is_over()), (None, false, false));
        let second = connection.receive(&header(Operation::Shutdown, SHUTDOWN_RECEIVE), b"");
        assert_eq!((second.reply, second.is_gone, connection.is_over()), (Some(Operation::Reset), true, true));
        assert_eq!(connection.close(), (None, false), "it was reset");

        let mut unread = established();
        unread.receive(&header(Operation::Data, 0), b"x");
        assert_eq!(unread.receive(&header(Operation::Shutdown, u32::MAX), b"").reply, None);
        assert!(unread.is_established());
    }

    #[test]
    fn a_peer_hears_of_room_when_bytes_come_as_well() {
        let mut connection = established();
        connection.receive(&header(Operation::Data, 0), &[0; 400]);
        connection.credit.note_taken(400);
        assert!(!connection.wants_update());
        let reaction = connection.receive(&header(Operation::Data, 0), &[0; 200]);
        assert_eq!(reaction.reply, Some(Operation::CreditUpdate));
        connection.shut(SHUTDOWN_RECEIVE);
        assert_eq!(connection.receive(&header(Operation::Data, 0), &[0; 100]).reply, None, "it is to send nothing");
    }

    #[test]
    fn a_close_tells_the_peer_once_and_waits_for_it() {
        let mut connection = established();
        connection.receive(&header(Operation::Data, 0), b"unread");
        assert_eq!(connection.close(), (Some(Operation::Shutdown), true));
        assert_eq!(connection.inbox.len(), 0);
        // What was under way is not kept.
        assert_eq!(connection.receive(&header(Operation::Data, 0), b"more"), Reaction::default());
        assert_eq!(connection.inbox.len(), 0);
        let mut shut = established();
        shut.shut(SHUTDOWN_BOTH);
        assert_eq!(shut.close(), (None, true));
        assert!(shut.receive(&header(Operation::Reset, 0), b"").is_gone);
        assert_eq!(Connection::requested(Kind::Stream, 1).close(), (None, false));
    }

    #[test]
    fn more_than_was_promised_is_reset() {
        let mut connection = established();
        assert_eq!(connection.receive(&header(Operation::Data, 0), &[0; 1000]).error, None);
        let reaction = connection.receive(&header(Operation::Data, 0), &[0]);
        assert_eq!((reaction.error, reaction.reply), (Some(Errno::ECONNRESET), Some(Operation::Reset)));
        assert!(connection.is_over() && !connection.is_done());
    }

    #[test]
    fn a_hostile_peer_never_makes_it_keep_more_than_it_promised() {
        let seed = 1234;
        let mut random = Random::new(seed);
        let operations = [
            Operation::Request,
            Operation::Response,
            Operation::Data,
            Operation::Data,
            Operation::Data,
            Operation::CreditUpdate,
            Operation::CreditRequest,
            Operation::Shutdown,
        ];
        for round in 0..3_000 {
            let kind = *random.pick(&[Kind::Stream, Kind::Seqpacket]);
            let mut connection = Connection::requested(kind, 500);
            connection.credit.tell();
            if !random.one_in(4) {
                connection.receive(&header(Operation::Response, 0), b"");
            }
            for _ in 0..random.below(100) {
                let flags = u32::try_from(random.below(4)).unwrap();
                let mut header = header(*random.pick(&operations), flags);
                header.buffer_len = *random.pick(&[0, 500, u32::MAX]);
                header.taken = *random.pick(&[0, 1, 499, u32::MAX, 1 << 31]);
                let payload = alloc::vec![1; random.below(300)];
                let reaction = connection.receive(&header, &payload);
                assert!(connection.inbox.len() <= 500 && connection.credit.room() <= 500, "seed {seed}, {round}");
                assert!(reaction.error.is_none() || connection.is_over(), "seed {seed}, {round}");
                if connection.inbox.is_readable(1) && random.one_in(3) {
                    let mut bytes = [0; 64];
                    let mut to = mm::user::UserWriter::to_kernel(&mut bytes);
                    let taken = connection.inbox.read(&mut to, false).unwrap().unwrap();
                    connection.credit.note_taken(taken.len);
                    connection.credit.tell();
                }
                connection.credit.note_sent(random.below(connection.credit.room() + 1));
            }
            let before = connection.is_over();
            let (_, waits) = connection.close();
            assert!(!(before && waits), "seed {seed}, {round}");
            let end = connection.receive(&header(Operation::Data, END_OF_MESSAGE), b"late");
            assert!(end.error.is_none() || end.is_gone, "seed {seed}, {round}");
            assert_eq!(connection.inbox.len(), 0, "seed {seed}, {round}");
        }
    }
}
