//! [`Credit`]: how much each side of a connection may send (Virtual I/O Device specification 1.3, 5.10.6.3).
//!
//! # Theory
//!
//! 1. Each packet tells the room of its sender's buffer and how many bytes its program has taken out, counted from the
//!    beginning modulo 2^32. So the other side may have sent at most the sum of both.
//! 2. That sum is a promise: who shrinks its buffer must still take what it has promised before. So the *limit* is kept
//!    that was ever promised, and it never goes back. A peer that sends beyond it breaks the protocol.
//! 3. What a peer says of bytes that it was never sent is not believed, and its promise counts only as far as our own
//!    buffer is large: a peer that promises 4 GiB cannot make this side keep that much for a device that takes nothing.
//! 4. The peer is told of room when there is more than it knows of and it knows of little, and when it has asked and
//!    something is taken after that. What it knows goes by what it was told last, not by the limit, which a buffer that
//!    shrank leaves behind; and as in (3) a peer may send no more than its own buffer is large. That is looked at when
//!    bytes are taken and when some come: so a peer that knows of less than a large packet's room, or half a buffer's,
//!    knows of all there is, and no peer need ask.
//! 5. A sender that waits for more than it knows of asks, once, until it hears something.

/// The peer hears of new room when it knows of less than this: one large packet's worth.
const UPDATE_BELOW: u32 = 64 * 1024;

/// The counts of one side.
#[derive(Debug)]
pub(super) struct Credit {
    /// The room of its own buffer.
    buffer: u32,
    /// The same as the peer has heard it.
    buffer_told: u32,
    /// Bytes its program has taken out.
    taken: u32,
    /// The same as the peer has heard it.
    told: u32,
    /// Bytes it has received.
    received: u32,
    /// Where what the peer may send ends.
    limit: u32,
    /// Bytes it has sent.
    sent: u32,
    /// Bytes that the peer's program has taken.
    peer_taken: u32,
    /// The peer's room.
    peer_buffer: u32,
    /// It has asked the peer for news, and heard none.
    has_asked: bool,
    /// The peer has asked, and heard nothing new.
    is_asked: bool,
}

impl Credit {
    /// Of a side with so much room, of which nobody has heard yet.
    pub(super) fn new(buffer: u32) -> Self {
        Self {
            buffer,
            buffer_told: 0,
            taken: 0,
            told: 0,
            received: 0,
            limit: 0,
            sent: 0,
            peer_taken: 0,
            peer_buffer: 0,
            has_asked: false,
            is_asked: false,
        }
    }

    /// What a packet that goes out now tells: the room, and what was taken.
    pub(super) fn tell(&mut self) -> (u32, u32) {
        self.is_asked &= self.taken == self.told;
        (self.told, self.buffer_told) = (self.taken, self.buffer);
        let limit = self.taken.wrapping_add(self.buffer);
        if limit.wrapping_sub(self.received) > self.limit.wrapping_sub(self.received)
            && limit.wrapping_sub(self.taken) >= self.received.wrapping_sub(self.taken)
        {
            self.limit = limit;
        }
        (self.buffer, self.taken)
    }

    /// What a packet that came in tells. True: more may be sent than before.
    pub(super) fn hear(&mut self, buffer: u32, taken: u32) -> bool {
        let before = self.room();
        if taken.wrapping_sub(self.peer_taken) <= self.sent.wrapping_sub(self.peer_taken) {
            self.peer_taken = taken;
        }
        self.peer_buffer = buffer;
        self.has_asked = false;
        self.room() > before
    }

    /// The most that may ever be under way.
    pub(super) fn window(&self) -> usize {
        self.peer_buffer.min(self.buffer) as usize
    }

    /// How many bytes may be sent now.
    pub(super) fn room(&self) -> usize {
        let under_way = self.sent.wrapping_sub(self.peer_taken);
        self.window().saturating_sub(under_way as usize)
    }

    /// So many bytes are sent, for which there is room.
    pub(super) fn note_sent(&mut self, len: usize) {
        debug_assert!(len <= self.room(), "more is sent than there is room for");
        self.sent = self.sent.wrapping_add(u32::try_from(len).unwrap_or(0));
    }

    /// Whether the peer is to be asked for room.
    pub(super) fn ask(&mut self) -> bool {
        !core::mem::replace(&mut self.has_asked, true)
    }

    /// The peer asks how much room there is.
    pub(super) fn note_question(&mut self) {
        self.is_asked = true;
    }

    /// So many bytes have come. False: the peer may not have sent them.
    pub(super) fn note_received(&mut self, len: usize) -> bool {
        let allowed = self.limit.wrapping_sub(self.received);
        match u32::try_from(len) {
            Ok(len) if len <= allowed => {
                self.received = self.received.wrapping_add(len);
                true
            }
            _ => false,
        }
    }

    /// The program has taken so many bytes.
    pub(super) fn note_taken(&mut self, len: usize) {
        self.taken = self.taken.wrapping_add(u32::try_from(len).unwrap_or(0));
    }

    /// Whether the peer should hear that there is room.
    pub(super) fn wants_update(&self) -> bool {
        // One that says to have no buffer does not keep to it.
        let own = if self.peer_buffer == 0 { u32::MAX } else { self.peer_buffer };
        let window = self.buffer_told.min(own);
        let known = window.saturating_sub(self.received.wrapping_sub(self.told));
        let is_little = known < UPDATE_BELOW.min(window.div_ceil(2)).max(1);
        let has_grown = self.buffer > self.buffer_told;
        (self.taken != self.told && (self.is_asked || is_little)) || (has_grown && is_little)
    }

    /// The room of its own buffer.
    pub(super) fn buffer(&self) -> usize {
        self.buffer as usize
    }

    /// Changes the room. True: the peer should hear of it.
    pub(super) fn set_buffer(&mut self, buffer: u32) -> bool {
        core::mem::replace(&mut self.buffer, buffer) != buffer
    }
}

#[cfg(test)]
mod tests {
    use testkit::Random;

    use super::*;

    #[test]
    fn nobody_sends_more_than_there_is_room_for_and_nobody_is_stuck() {
        let seed = 7;
        let mut random = Random::new(seed);
        // So many bytes that the counts wrap.
        let (mut left, mut queued) = (9_u64 << 30, 0_usize);
        let (mut sender, mut receiver) = (Credit::new(1 << 30), Credit::new(1 << 20));
        let (room, taken) = receiver.tell();
        sender.hear(room, taken);
        while left > 0 {
            let len = sender.room().min(1 + random.below(1 << 19)).min(usize::try_from(left).unwrap_or(usize::MAX));
            if len > 0 {
                sender.note_sent(len);
                assert!(receiver.note_received(len), "seed {seed}");
                (left, queued) = (left - len as u64, queued + len);
            }
            assert!(queued <= 3 << 20, "seed {seed}");
            let read = if len == 0 { queued } else { random.below(queued + 1) };
            queued -= read;
            receiver.note_taken(read);
            if random.one_in(1000) {
                receiver.set_buffer(u32::try_from(1 + random.below(3 << 20)).unwrap());
            }
            if receiver.wants_update() || (sender.room() == 0 && sender.ask()) {
                let (room, taken) = receiver.tell();
                sender.hear(room, taken);
            }
            assert!(queued > 0 || sender.room() > 0 || receiver.wants_update() || sender.ask(), "seed {seed}: stuck");
        }
    }

    /// A sender that never asks, and one that counts its own buffer too, as Linux's does.
    #[test]
    fn nobody_needs_to_ask() {
        let seed = 11;
        let mut random = Random::new(seed);
        for round in 0..400 {
            let sizes = [1, 128, 5000, 70_000, 1 << 18, 1 << 20];
            let (own, peer) = (*random.pick(&sizes), *random.pick(&[0, 128, 5000, 1 << 18]));
            let (mut receiver, mut sent, mut queued) = (Credit::new(own), 0_u32, 0_u32);
            receiver.hear(peer, 0);
            let mut shown = receiver.tell();
            for _ in 0..200 {
                if random.one_in(8) {
                    // Nothing says so to the peer but news of room, nor does anything say that bytes were taken.
                    receiver.set_buffer(*random.pick(&sizes));
                }
                let is_bound = peer > 0 && random.one_in(2);
                let window = if is_bound { shown.0.min(peer) } else { shown.0 };
                let room = window.saturating_sub(sent.wrapping_sub(shown.1));
                let (is_whole, part) = (random.one_in(2), random.below(room as usize + 1));
                let len = if is_whole { room } else { u32::try_from(part).unwrap() };
                assert!(room > 0 || queued > 0, "seed {seed}, {round}: stuck");
                assert!(receiver.note_received(len as usize), "seed {seed}, {round}");
                (sent, queued) = (sent + len, queued + len);
                if receiver.wants_update() {
                    shown = receiver.tell();
                }
                let read = if random.one_in(2) { queued as usize } else { random.below(queued as usize + 1) };
                queued -= u32::try_from(read).unwrap();
                receiver.note_taken(read);
                if receiver.wants_update() {
                    shown = receiver.tell();
                }
            }
        }
    }

    #[test]
    fn a_peer_with_little_room_left_knows_of_all() {
        let mut credit = Credit::new(1 << 18);
        credit.hear(1 << 18, 0);
        credit.tell();
        assert!(credit.note_received(150_000));
        credit.note_taken(150_000);
        assert!(!credit.wants_update(), "it knows of much");
        // A reader that waits for more than the peer may send would wait for ever.
        assert!(credit.note_received(100_000) && credit.wants_update());
        credit.tell();
        assert!(!credit.wants_update());
    }

    #[test]
    fn a_promise_holds_when_the_buffer_shrinks() {
        let mut credit = Credit::new(1000);
        assert!(!credit.note_received(1), "nothing was promised yet");
        credit.tell();
        assert!(credit.set_buffer(10) && !credit.set_buffer(10));
        credit.tell();
        assert!(credit.note_received(1000) && !credit.note_received(1));
        credit.note_taken(995);
        assert_eq!(credit.tell(), (10, 995));
        assert!(credit.note_received(5) && !credit.note_received(1));
    }

    #[test]
    fn who_asks_is_told_when_there_is_more() {
        let mut credit = Credit::new(1 << 20);
        credit.tell();
        assert!(credit.note_received(1000));
        credit.note_question();
        credit.tell();
        assert!(!credit.wants_update());
        credit.note_taken(1);
        assert!(credit.wants_update());
        credit.tell();
        credit.note_taken(1);
        assert!(!credit.wants_update(), "it has heard of more, and may ask again");
    }

    #[test]
    fn lies_give_no_room() {
        let mut credit = Credit::new(100);
        credit.hear(u32::MAX, 5);
        assert_eq!(credit.room(), 100, "it has not sent what was taken, and keeps no more than it would take");
        credit.note_sent(100);
        assert!(!credit.hear(u32::MAX, 101) && credit.room() == 0);
        assert!(credit.ask() && !credit.ask());
        assert!(credit.hear(u32::MAX, 60) && credit.room() == 60);
        assert!(credit.ask(), "it has heard something since");
        assert!(!credit.hear(10, 60) && credit.room() == 0);
        assert!(credit.hear(u32::MAX, 59) && credit.room() == 60, "what was taken stays taken");
    }
}
