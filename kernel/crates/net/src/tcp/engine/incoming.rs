//! What a segment does to a connection: RFC 9293, 3.10.7.
//!
//! # Theory
//!
//! 1. Most segments are the next that is expected, with nothing but ACK and PSH: they skip the checks that they pass by being that.
//! 2. A segment is acceptable if any of it lies in the window (3.4). One that is not is answered with where we are, but seldom, and a reset is not
//!    answered at all (RFC 5961; Linux's rate limit of 500 ms).
//! 3. PAWS (RFC 7323, 5): a timestamp older than the last makes a segment an old duplicate, unless the last is itself 24 days old.
//! 4. A reset counts only at the very next number; elsewhere in the window it is challenged (RFC 5961, 3.2). So is SYN (4.2) and an acknowledgement of what was
//!    never sent, or long ago (5.2).
//! 5. Data is cut to the window, put in order, and acknowledged. Duplicates are reported by SACK (RFC 2883).
//! 6. FIN counts when its turn comes. Data for a program that has closed its socket resets the connection (RFC 2525, 2.17).

use abi::Errno;

use super::connection::Connection;
use super::delayed::Owed;
use super::handshake::{Negotiated, timestamp};
use super::sequence::{distance, earlier, is_after, is_before, length};
use super::timeouts::TIME_WAIT_NS;
use super::timers::Timer;
use super::{Output, SegmentFlags, SegmentHeader, SegmentPayload, SequenceNumber, State};
use crate::frame::{Joined, Payload};

/// How long a timestamp is good for comparisons (RFC 7323, 5.5).
const PAWS_NS: u64 = 24 * 24 * 3600 * 1_000_000_000;

impl Connection {
    /// See [`super::Engine::receive`].
    pub(super) fn segment_arrives(
        &mut self,
        now_ns: u64,
        header: &SegmentHeader,
        payload: SegmentPayload,
        output: &mut dyn Output,
    ) {
        self.counters.segments_in = self.counters.segments_in.wrapping_add(payload.segments);
        match self.state {
            State::Closed | State::Listen => {
                if !header.flags.contains(SegmentFlags::RST) {
                    self.emit_refusal(header, sequence_len(header, payload.len), output);
                }
                return;
            }
            State::SynSent => {
                self.answer_arrives(now_ns, header, output);
                return;
            }
            State::SynReceived if self.is_begun_again(header) => return self.emit_syn(now_ns, output),
            _ => {}
        }
        if !self.is_expected(header) && !self.is_acceptable(now_ns, header, &payload, output) {
            return;
        }
        self.receive.last_ns = now_ns;
        self.note_timestamp(now_ns, header, payload.len > 0);
        if !self.acknowledgement_arrives(now_ns, header, length(payload.len), output) {
            return;
        }
        if header.flags.contains(SegmentFlags::URG) && self.may_receive() {
            self.urgent_arrives(header);
        }
        if payload.len > 0 || header.flags.contains(SegmentFlags::FIN) {
            self.data_arrives(now_ns, header, payload, output);
        }
    }

    /// The next segment, and nothing special about it.
    fn is_expected(&self, header: &SegmentHeader) -> bool {
        header.sequence == self.receive.next
            && header.flags.difference(SegmentFlags::PSH) == SegmentFlags::ACK
            && self.is_synchronized()
            && self.is_timestamp_fresh(header)
            && self.receive.window.left(self.receive.next) > 0
    }

    fn is_timestamp_fresh(&self, header: &SegmentHeader) -> bool {
        match header.timestamps {
            Some((value, _)) if self.options.has_timestamps => !is_before(value, self.receive.timestamp),
            _ => true,
        }
    }

    /// The checks of RFC 9293, 3.10.7.4, first to fourth. False: the segment is done with.
    fn is_acceptable(
        &mut self,
        now_ns: u64,
        header: &SegmentHeader,
        payload: &SegmentPayload,
        output: &mut dyn Output,
    ) -> bool {
        let flags = header.flags;
        let len = sequence_len(header, payload.len);
        let is_reset = flags.contains(SegmentFlags::RST);
        let is_old = !self.is_timestamp_fresh(header) && now_ns.saturating_sub(self.receive.timestamp_ns) < PAWS_NS;
        if !is_reset && (is_old || !self.is_in_window(header.sequence, len)) {
            self.unacceptable_arrives(now_ns, header, len, output);
            return false;
        }
        if is_reset {
            if header.sequence == self.receive.next {
                self.reset_arrives();
            } else if self.is_in_window(header.sequence, len) {
                self.challenge(now_ns, output);
            }
            return false;
        }
        if flags.contains(SegmentFlags::SYN) {
            if self.state == State::SynReceived && header.sequence.wrapping_add(1) == self.receive.next {
                // The peer's SYN again, or with the acknowledgement of ours: a simultaneous open.
                return flags.contains(SegmentFlags::ACK);
            }
            self.challenge(now_ns, output);
            return false;
        }
        flags.contains(SegmentFlags::ACK)
    }

    fn is_in_window(&self, sequence: SequenceNumber, len: u32) -> bool {
        let next = self.receive.next;
        let left = self.receive.window.left(next);
        let edge = next.wrapping_add(left);
        if self.state == State::SynReceived && sequence.wrapping_add(1) == next {
            return true;
        }
        let last = sequence.wrapping_add(len.saturating_sub(1));
        let is_inside = |number| !is_before(number, next) && is_before(number, edge);
        match (len, left) {
            (0, 0) => sequence == next,
            (0, _) => is_inside(sequence),
            // All that a peer may send into a closed window is its first number, to ask.
            (_, 0) => false,
            _ => is_inside(sequence) || is_inside(last) || (is_before(sequence, next) && !is_before(last, edge)),
        }
    }

    /// Nothing of it is new, or it is too far ahead: the peer learns where we are.
    fn unacceptable_arrives(&mut self, now_ns: u64, header: &SegmentHeader, len: u32, output: &mut dyn Output) {
        self.receive.last_ns = now_ns;
        let end = header.sequence.wrapping_add(len);
        if self.state == State::TimeWait && header.flags.contains(SegmentFlags::FIN) {
            self.timers.set(Timer::Linger, now_ns.saturating_add(TIME_WAIT_NS));
        }
        if len > 0 && is_before(header.sequence, self.receive.next) {
            // Data that has come twice, or a probe: never held back, as the peer waits for this.
            // Only what has come before is a duplicate: an old timestamp may be on bytes that never came.
            let end = earlier(end, self.receive.next);
            self.receive.assembly.note_duplicate(header.sequence, end);
            self.acknowledging.note_disorder(self.receive.window.left(self.receive.next));
            self.emit_acknowledgement(now_ns, output);
        } else if len > 0 || header.sequence.wrapping_add(1) == self.receive.next {
            // Into a closed window, or a probe like ours.
            self.emit_acknowledgement(now_ns, output);
        } else {
            self.challenge(now_ns, output);
        }
        // Its acknowledgement is good all the same: of a peer whose window is closed, or that has moved on.
        let is_current =
            !is_after(header.acknowledgement, self.send.next) && !is_before(header.acknowledgement, self.send.una);
        if header.flags.contains(SegmentFlags::ACK)
            && self.is_synchronized()
            && is_current
            && self.is_timestamp_fresh(header)
        {
            let _ = self.acknowledgement_arrives(now_ns, header, len, output);
        }
    }

    /// In SYN-SENT: the answer, or a peer that opens at the same time. Data that it carries is sent again, as it was not acknowledged.
    fn answer_arrives(&mut self, now_ns: u64, header: &SegmentHeader, output: &mut dyn Output) {
        let flags = header.flags;
        let has_ack = flags.contains(SegmentFlags::ACK);
        if has_ack && !self.acknowledges_syn(header.acknowledgement) {
            if !flags.contains(SegmentFlags::RST) {
                self.emit_refusal(header, 0, output);
            }
            return;
        }
        if flags.contains(SegmentFlags::RST) {
            if has_ack {
                self.finish(Some(Errno::ECONNREFUSED));
            }
            return;
        }
        if !flags.contains(SegmentFlags::SYN) {
            return;
        }
        self.take_offer(now_ns, header);
        if has_ack {
            self.note_fast_answer(header);
            self.establish(now_ns, header);
            self.acknowledging.owe(Owed::Now);
        } else {
            self.state = State::SynReceived;
            self.emit_syn(now_ns, output);
        }
    }

    /// The peer's SYN: numbers and options.
    fn take_offer(&mut self, now_ns: u64, header: &SegmentHeader) {
        let offered = Negotiated::from_syn(header, &self.settings);
        self.options = offered;
        self.receive.next = header.sequence.wrapping_add(1);
        self.receive.last_acknowledgement = self.receive.next;
        self.receive.last_ns = now_ns;
        let scale = offered.window_scales.map_or(0, |(_, ours)| ours);
        let window = u32::from(super::handshake::initial_window(&self.settings));
        let mss = length(self.settings.mss_max);
        self.receive.window = super::window::ReceiveWindow::new(self.receive.next, window, scale, mss, now_ns);
        if let Some((value, _)) = header.timestamps {
            (self.receive.timestamp, self.receive.timestamp_ns) = (value, now_ns);
        }
        self.send.window = u32::from(header.window);
        self.send.window_max = self.send.window;
        self.send.window_update = (header.sequence, header.acknowledgement);
        self.update_mss();
    }

    /// Our SYN is acknowledged.
    #[inline(never)]
    fn establish(&mut self, now_ns: u64, header: &SegmentHeader) {
        // The program may have sent its last byte already.
        self.state = if self.send.is_finished { State::FinWait1 } else { State::Established };
        // Our SYN, as Linux counts it.
        self.counters.bytes_acknowledged += 1;
        self.send.una = header.acknowledgement;
        if self.retries == 0 {
            let round_trip_ns = now_ns.saturating_sub(self.send.last_ns);
            self.round_trip.sample(round_trip_ns, now_ns);
            self.receive.window.sample_round_trip(round_trip_ns.max(1));
        }
        self.send.last_ns = now_ns;
        self.retries = 0;
        self.stalled_since_ns = None;
        self.soft_error = None;
        self.round_trip.reset_backoff();
        self.timers.stop(Timer::Retransmit);
        self.grow_send_buffer();
        if !self.is_orphan {
            self.start_keepalive(now_ns);
        }
    }

    fn reset_arrives(&mut self) {
        let error = match self.state {
            State::SynReceived if !self.is_begun_by_peer() => Some(Errno::ECONNREFUSED),
            State::CloseWait => Some(Errno::EPIPE),
            State::TimeWait | State::LastAck | State::Closing => None,
            _ => Some(Errno::ECONNRESET),
        };
        self.finish(error);
    }

    fn note_timestamp(&mut self, now_ns: u64, header: &SegmentHeader, has_data: bool) {
        let Some((value, echo)) = header.timestamps.filter(|_| self.options.has_timestamps) else { return };
        if !is_after(header.sequence, self.receive.last_acknowledgement) && !is_before(value, self.receive.timestamp) {
            (self.receive.timestamp, self.receive.timestamp_ns) = (value, now_ns);
        }
        if has_data && echo != 0 {
            let elapsed_ms = timestamp(now_ns, self.timestamp_offset).wrapping_sub(echo);
            // Shorter ones are below the clock's resolution, longer ones no round trips.
            if (2..60_000).contains(&elapsed_ms) {
                self.receive.window.sample_round_trip(u64::from(elapsed_ms) * 1_000_000);
            }
        }
    }

    /// The fifth check. False: the segment is done with.
    fn acknowledgement_arrives(
        &mut self,
        now_ns: u64,
        header: &SegmentHeader,
        len: u32,
        output: &mut dyn Output,
    ) -> bool {
        let acknowledgement = header.acknowledgement;
        if self.state == State::SynReceived {
            if acknowledgement != self.send.initial.wrapping_add(1) {
                self.emit_refusal(header, 0, output);
                return false;
            }
            self.establish(now_ns, header);
            let scale = self.options.window_scales.map_or(0, |(theirs, _)| theirs);
            let is_syn = header.flags.contains(SegmentFlags::SYN);
            self.send.window = u32::from(header.window) << if is_syn { 0 } else { scale };
        }
        if is_after(acknowledgement, self.sent_end()) {
            self.challenge(now_ns, output);
            return false;
        }
        if is_before(acknowledgement, self.send.una) {
            if self.send.una.wrapping_sub(acknowledgement) > self.send.window_max.max(65_535) {
                self.challenge(now_ns, output);
                return false;
            }
            return true;
        }
        self.process_acknowledgement(header, len, now_ns);
        if self.send.is_fin_sent && self.send.una == self.send.next {
            self.fin_is_acknowledged(now_ns);
        }
        self.state != State::Closed
    }

    #[inline(never)]
    fn fin_is_acknowledged(&mut self, now_ns: u64) {
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                if self.is_orphan {
                    self.timers.set(Timer::Linger, now_ns.saturating_add(self.settings.fin_wait_2_ns));
                }
            }
            State::Closing => self.begin_time_wait(now_ns),
            State::LastAck => self.finish(None),
            _ => {}
        }
    }

    fn begin_time_wait(&mut self, now_ns: u64) {
        self.state = State::TimeWait;
        self.timers.stop_all();
        self.timers.set(Timer::Linger, now_ns.saturating_add(TIME_WAIT_NS));
    }

    #[inline(never)]
    fn urgent_arrives(&mut self, header: &SegmentHeader) {
        let before = u32::from(header.urgent_pointer.saturating_sub(1));
        let reader = self.reader();
        if self.receive.urgent.announce(header.sequence.wrapping_add(before), reader) {
            self.receive.queue.discard(1);
        }
    }

    /// The seventh and eighth checks: payload and FIN.
    pub(super) fn data_arrives(
        &mut self,
        now_ns: u64,
        header: &SegmentHeader,
        payload: SegmentPayload,
        output: &mut dyn Output,
    ) {
        if !self.may_receive() {
            // FIN has come before: nothing can follow it.
            self.acknowledging.owe(Owed::Now);
            return;
        }
        if self.is_orphan && payload.len > 0 {
            let end = header.sequence.wrapping_add(length(payload.len));
            if is_after(end, self.receive.next) {
                self.emit_reset(output);
                self.finish(None);
                return;
            }
        }
        if self.options.has_ecn && payload.len > 0 && self.ecn.note_data(header) {
            self.acknowledging.note_disorder(self.receive.window.left(self.receive.next));
        }
        if payload.len > 0 {
            self.counters.data_segments_in = self.counters.data_segments_in.wrapping_add(payload.segments);
        }
        let edge = self.receive.window.edge();
        let end = header.sequence.wrapping_add(length(payload.len));
        if header.flags.contains(SegmentFlags::FIN) && !is_after(end, edge) {
            self.receive.fin = Some(end);
        }
        let was_disordered = !self.receive.assembly.is_empty();
        let is_ahead = is_after(header.sequence, self.receive.next);
        self.place(now_ns, header.sequence, payload);
        if is_ahead {
            self.acknowledging.note_disorder(self.receive.window.left(self.receive.next));
            self.emit_acknowledgement(now_ns, output);
            return;
        }
        if was_disordered {
            self.drain_assembly();
            self.acknowledging.owe(Owed::Now);
        }
        if self.receive.fin == Some(self.receive.next) {
            self.fin_arrives(now_ns);
        }
    }

    /// Puts a payload where it belongs: in order, ahead, or nowhere where it has been before or is beyond the window.
    fn place(&mut self, now_ns: u64, sequence: SequenceNumber, payload: SegmentPayload) {
        let SegmentPayload { first, rest, len, segments } = payload;
        let (window, next) = (self.receive.window.left(self.receive.next), self.receive.next);
        let before = distance(sequence, next).min(length(len));
        if before > 0 {
            self.receive.assembly.note_duplicate(sequence, sequence.wrapping_add(before));
            self.acknowledging.owe(Owed::Now);
        }
        let mut at = sequence;
        self.place_piece(&mut at, first);
        if !rest.is_empty() {
            self.place_pieces(&mut at, rest);
        }
        let added = self.receive.next.wrapping_sub(next);
        if added > 0 {
            self.counters.bytes_received += u64::from(added);
            self.acknowledging.note_data(added, segments, window, || self.round_trip.timeout_base_ns(), now_ns);
        }
    }

    #[inline(never)]
    fn place_pieces(&mut self, at: &mut SequenceNumber, pieces: Joined) {
        for piece in pieces.into_vec() {
            self.place_piece(at, piece);
        }
    }

    fn place_piece(&mut self, at: &mut SequenceNumber, piece: Payload) {
        let mut piece = piece;
        let (mut start, next) = (*at, self.receive.next);
        *at = start.wrapping_add(length(piece.len()));
        if start != next {
            start = start.wrapping_add(length(piece.trim_front(distance(start, next) as usize)));
        }
        piece.truncate(distance(start, self.receive.window.edge()) as usize);
        if piece.is_empty() {
            return;
        }
        let has_room = || self.kept_len().saturating_add(piece.footprint()) <= self.receive_buffer();
        if start == next {
            // What was offered is kept to, but when there is no more for anybody. What fills a hole frees more than it takes.
            let is_wanted = !self.receive.is_limited || has_room() || !self.receive.assembly.is_empty();
            // What waits behind a hole comes along.
            if is_wanted && self.receive.queue.reserve(1 + self.receive.assembly.len()) {
                self.append(piece);
            }
        } else if has_room() {
            self.receive.assembly.insert(start, piece);
        }
    }

    /// Appends what is next.
    fn append(&mut self, piece: Payload) {
        let start = self.receive.next;
        let len = length(piece.len());
        self.receive.next = start.wrapping_add(len);
        if !self.receive.urgent.is_empty() {
            self.receive.urgent.note_bytes(start, piece.bytes());
        }
        if self.receive.is_shut {
            return;
        }
        self.receive.queue.push(piece);
    }

    fn drain_assembly(&mut self) {
        let before = self.receive.next;
        while let Some(piece) = self.receive.assembly.take_next(self.receive.next) {
            self.append(piece);
        }
        self.receive.assembly.advance(self.receive.next);
        self.counters.bytes_received += u64::from(self.receive.next.wrapping_sub(before));
    }

    fn fin_arrives(&mut self, now_ns: u64) {
        self.receive.next = self.receive.next.wrapping_add(1);
        self.counters.bytes_received += 1;
        self.receive.is_finished = true;
        self.receive.assembly.clear();
        self.acknowledging.owe(Owed::Now);
        match self.state {
            State::Established | State::SynReceived => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.begin_time_wait(now_ns),
            _ => {}
        }
    }
}

/// Numbers that a segment takes.
fn sequence_len(header: &SegmentHeader, payload_len: usize) -> u32 {
    let controls = SegmentFlags::SYN | SegmentFlags::FIN;
    length(payload_len).wrapping_add(header.flags.intersection(controls).bits().count_ones())
}
