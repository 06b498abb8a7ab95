//! What a connection emits: data, acknowledgements, probes, resets.
//!
//! # Theory
//!
//! 1. What is lost goes first, then new data, as far as the congestion window has room (RFC 6675's pipe) and the peer's window allows.
//! 2. New data goes out in bursts of whole segments. A last, partial segment waits while an earlier partial one is not acknowledged (Nagle's rule as
//!    changed by Minshall: a large write is not held up by its own tail), or while it is corked; 200 ms at most.
//! 3. A segment cut short by the peer's window goes out only if it is full, or half of the largest window (RFC 9293, 3.8.6.2.1).
//! 4. Where the device cuts, small bursts cost as much as large ones: with a third of the window in flight or more, what the window holds is
//!    sent when there is room for a burst, or a third of the window, or all that waits.
//! 5. Every segment acknowledges; so data carries what is owed. SACK blocks go in segments without data only, which leave at once when there
//!    is something to tell: so a segment's room for data is always the same.

use super::connection::{Connection, TIMESTAMPS_LEN};
use super::delayed::Owed;
use super::ecn;
use super::handshake::{advertised_mss, timestamp};
use super::recovery::Phase;
use super::round_trip::TIMEOUT_MIN_NS;
use super::scoreboard::Record;
use super::sequence::{distance, earlier, is_after, is_before, later, length};
use super::timers::Timer;
use super::{OutgoingSegment, Output, SACK_BLOCKS_MAX, SegmentFlags, SegmentHeader, SequenceNumber, Span, State};

/// How long corked bytes wait (tcp(7)).
const CORK_NS: u64 = 200_000_000;
/// Linux's `net.ipv4.tcp_invalid_ratelimit`.
const CHALLENGE_INTERVAL_NS: u64 = 500_000_000;
/// Bursts in one call: beyond what any window holds.
const BURSTS_MAX: usize = 4096;

impl Connection {
    /// Emits what may go: losses again, then new data and FIN.
    pub(super) fn transmit(&mut self, now_ns: u64, output: &mut dyn Output) {
        if !self.may_send() {
            return;
        }
        if self.recovery.take_trial_send() {
            let before = self.send.next;
            self.transmit_new(now_ns, output);
            if self.send.next != before {
                return;
            }
            self.recovery.end_trial();
        }
        if self.send.board.lost() > 0 {
            self.transmit_lost(now_ns, output);
        }
        if self.has_unsent() && self.send.board.lost() == 0 && !self.is_held_back() {
            self.transmit_new(now_ns, output);
        }
    }

    /// Bytes that were never sent.
    pub(super) fn unsent_len(&self) -> usize {
        (distance(self.send.next, self.send.buffer.end()) as usize).min(self.send.buffer.len())
    }

    /// Whether something was never sent.
    pub(super) fn has_unsent(&self) -> bool {
        is_before(self.send.next, self.send.buffer.end()) || (self.send.is_finished && !self.send.is_fin_sent)
    }

    /// Whether what was never sent waits for more of it, as it did before.
    fn is_held_back(&self) -> bool {
        let send = &self.send;
        if !self.settings.is_corked || !self.timers.is_set(Timer::Cork) || send.is_pushed || send.is_finished {
            return false;
        }
        let unsent = distance(send.next, send.buffer.end());
        // A window that cuts it short is another matter.
        unsent < send.mss && unsent <= distance(send.next, send.una.wrapping_add(send.window)) && send.urgent.is_none()
    }

    fn transmit_lost(&mut self, now_ns: u64, output: &mut dyn Output) {
        for _ in 0..BURSTS_MAX {
            let in_flight = self.send.board.in_flight();
            let room = self.congestion.window().saturating_sub(in_flight);
            let mss = self.send.mss;
            if (room < mss && in_flight > 0) || !self.is_in_pace(now_ns) {
                break;
            }
            let limit = (room.max(mss)).min(self.burst_len()) / mss * mss;
            let Some(record) = self.send.board.take_lost(limit) else { break };
            let Some(record) = self.fit_to_pieces(record) else { break };
            self.emit_again(&record, now_ns, output);
        }
    }

    /// Cuts a lost record to what fits the pieces of a segment. None: nothing of it is there, which is a bug.
    fn fit_to_pieces(&mut self, record: Record) -> Option<Record> {
        let data_end = earlier(record.end, self.send.buffer.end());
        let len = distance(record.start, data_end);
        let there = self.fitting(record.start, len);
        if there == len {
            return Some(record);
        }
        let there = if there > self.send.mss { there / self.send.mss * self.send.mss } else { there };
        debug_assert!(there > 0, "what was sent is kept until it is acknowledged");
        self.send.board.take_lost(there)
    }

    /// How many of `len` bytes from `start` on one emission takes: fewer where they lie in too many pieces.
    fn fitting(&self, start: SequenceNumber, len: u32) -> u32 {
        if self.send.buffer.is_in_few_pieces() { len } else { length(self.send.buffer.span(start, len as usize).len()) }
    }

    /// Emits the last segment again.
    pub(super) fn emit_last_again(&mut self, now_ns: u64, output: &mut dyn Output) -> bool {
        let Some(record) = self.send.board.take_last() else { return false };
        let data_end = earlier(record.end, self.send.buffer.end());
        let len = distance(record.start, data_end);
        if self.fitting(record.start, len) < len {
            // A segment in more pieces than a device takes: the timeout cuts it.
            return false;
        }
        self.emit_again(&record, now_ns, output);
        true
    }

    /// Emits a record again, which fits one emission.
    fn emit_again(&mut self, record: &Record, now_ns: u64, output: &mut dyn Output) {
        let len = self.emit_range(record.start, record.end, now_ns, output);
        self.send.board.note_repeated(record.start, now_ns);
        let segments = len.div_ceil(self.send.mss).max(1);
        self.counters.retransmits = self.counters.retransmits.saturating_add(segments);
        self.counters.bytes_retransmitted += u64::from(len);
        self.recovery.note_sent(len, Some((segments, timestamp(now_ns, self.timestamp_offset))));
    }

    fn transmit_new(&mut self, now_ns: u64, output: &mut dyn Output) {
        if self.send.board.is_empty() {
            let pause_ns = now_ns.saturating_sub(self.send.last_ns);
            if pause_ns < TIMEOUT_MIN_NS {
                self.congestion.skip_time(pause_ns);
            } else {
                self.congestion.restart(pause_ns, self.round_trip.timeout_ns());
            }
        }
        let (was_idle, before) = (self.send.board.is_empty(), self.send.next);
        for _ in 0..BURSTS_MAX {
            if !self.is_in_pace(now_ns) || !self.send.board.reserve() {
                break;
            }
            let Some((end, is_fin)) = self.next_burst(now_ns) else { break };
            let start = self.send.next;
            let end = self.emit_new(start, end, is_fin, now_ns, output);
            self.send.board.push(start, end, u16::try_from(self.send.mss).unwrap_or(u16::MAX), now_ns);
            self.note_flight();
            if self.recovery.is_reducing() {
                self.recovery.note_sent(end.wrapping_sub(start), None);
            }
            if !self.has_unsent() {
                break;
            }
        }
        if self.send.next != before {
            self.arm_after_send(was_idle, now_ns);
        }
    }

    /// Sends what fits the peer's window, however little: it has been too small for too long.
    pub(super) fn transmit_forced(&mut self, now_ns: u64, output: &mut dyn Output) {
        let start = self.send.next;
        let window_left = distance(start, self.send.una.wrapping_add(self.send.window));
        let len = distance(start, self.send.buffer.end()).min(window_left).min(self.send.mss);
        let is_fin = len == 0 && window_left > 0 && self.send.is_finished && !self.send.is_fin_sent;
        if len > 0 || is_fin {
            let end = self.emit_new(start, start.wrapping_add(len), is_fin, now_ns, output);
            self.send.board.push(start, end, u16::try_from(self.send.mss).unwrap_or(u16::MAX), now_ns);
            self.arm_retransmit(now_ns);
        }
    }

    /// Emits new data up to `end`, and FIN; answers the number behind it, which is less where the data lies in many pieces.
    fn emit_new(
        &mut self,
        start: SequenceNumber,
        end: SequenceNumber,
        is_fin: bool,
        now_ns: u64,
        output: &mut dyn Output,
    ) -> SequenceNumber {
        let len = end.wrapping_sub(start);
        let there = self.fitting(start, len);
        let mss = self.send.mss;
        let (data_end, is_fin) = if there == len {
            (end, is_fin)
        } else {
            let whole = if there > mss { there / mss * mss } else { there };
            (start.wrapping_add(whole), false)
        };
        let end = if is_fin { data_end.wrapping_add(1) } else { data_end };
        if is_fin {
            self.send.is_fin_sent = true;
        }
        let sent = self.emit_range(start, end, now_ns, output);
        self.send.next = end;
        if end == self.send.buffer.end() || is_fin {
            self.send.is_pushed = false;
            self.timers.stop(Timer::Cork);
        }
        if sent > 0 {
            self.send.last_ns = now_ns;
            // Nearly always it is one segment: a division takes longer than all around it.
            if sent < mss || !sent.is_multiple_of(mss) {
                self.send.small_end = data_end;
            }
            self.acknowledging.note_answer(now_ns);
            self.counters.bytes_sent += u64::from(sent);
        }
        end
    }

    /// The number behind the data of the next burst, and whether FIN goes with it. None: nothing may go now.
    fn next_burst(&mut self, now_ns: u64) -> Option<(SequenceNumber, bool)> {
        let send = &self.send;
        let mss = send.mss;
        let unsent = distance(send.next, send.buffer.end());
        let in_flight = send.board.in_flight();
        let window_left = distance(send.next, send.una.wrapping_add(send.window));
        let congestion_left = self.congestion.window().saturating_sub(in_flight);
        let is_fin_due = send.is_finished && !send.is_fin_sent;
        if unsent == 0 {
            // FIN alone takes a number, but hardly room in the network.
            return (is_fin_due && window_left > 0).then_some((send.next, true));
        }
        if congestion_left < mss && in_flight > 0 {
            self.send.is_congestion_limited = true;
            return None;
        }
        let room = window_left.min(congestion_left.max(mss));
        // A burst is a segment at least.
        let limit = if unsent <= mss { room } else { room.min(self.burst_len()) };
        let len = if unsent <= limit { unsent } else { limit / mss * mss };
        let is_partial = len < mss || (unsent <= limit && !unsent.is_multiple_of(mss));
        if unsent > limit && len < mss {
            // The peer's window cuts a segment short.
            let is_worth_it = window_left > 0 && window_left >= send.window_max / 2 && window_left < mss;
            return is_worth_it.then(|| (send.next.wrapping_add(window_left.min(unsent)), false));
        }
        if unsent > limit && self.is_better_deferred(room, in_flight) {
            self.send.is_congestion_limited |= congestion_left <= window_left;
            return None;
        }
        let whole = len / mss * mss;
        if is_partial && !is_fin_due && !self.may_send_partial(now_ns) {
            return (whole > 0).then(|| (self.send.next.wrapping_add(whole), false));
        }
        let end = self.send.next.wrapping_add(len);
        Some((end, is_fin_due && len == unsent && window_left > len))
    }

    /// The rule of Nagle and Minshall, and corking.
    fn may_send_partial(&mut self, now_ns: u64) -> bool {
        if self.send.is_pushed || self.send.urgent.is_some() {
            return true;
        }
        if self.settings.is_corked {
            if !self.timers.is_set(Timer::Cork) {
                self.timers.set(Timer::Cork, now_ns.saturating_add(CORK_NS));
            }
            return false;
        }
        self.settings.is_nodelay || !is_after(self.send.small_end, self.send.una)
    }

    /// Whether a larger burst will be possible soon.
    fn is_better_deferred(&self, room: u32, in_flight: u32) -> bool {
        let burst_len = self.burst_len();
        if burst_len <= 2 * self.send.mss || in_flight == 0 || self.recovery.phase() != Phase::Open {
            return false;
        }
        let window = self.congestion.window().min(self.send.window);
        room < burst_len && room < window / 3
    }

    /// The most payload of one emission: whole segments.
    fn burst_len(&self) -> u32 {
        let mss = self.send.mss;
        if self.options.has_ecn && self.ecn.is_reduction_untold() {
            return mss;
        }
        self.fitting_burst((length(self.settings.burst_len_max) / mss).max(1) * mss)
    }

    fn note_flight(&mut self) {
        let in_flight = self.send.board.in_flight();
        if in_flight > self.send.flight_max.0 {
            self.send.flight_max.0 = in_flight;
        }
    }

    /// Emits the numbers from `start` to `end`: payload, which fits one emission, and FIN. Answers the bytes of payload.
    fn emit_range(&mut self, start: SequenceNumber, end: SequenceNumber, now_ns: u64, output: &mut dyn Output) -> u32 {
        let data_end = earlier(end, self.send.buffer.end());
        let len = distance(start, data_end);
        let mut flags = SegmentFlags::ACK;
        flags.set(SegmentFlags::FIN, end != data_end);
        flags.set(SegmentFlags::PSH, len > 0 && data_end == self.send.buffer.end());
        let mss = self.send.mss as usize;
        let header = self.header(start, flags, now_ns);
        let mut segment = OutgoingSegment { header, payload: Span::empty(), len: len as usize, mss };
        if let Some(urgent) = self.send.urgent
            && is_after(urgent, start)
        {
            segment.header.flags |= SegmentFlags::URG;
            segment.header.urgent_pointer = u16::try_from(urgent.wrapping_sub(start)).unwrap_or(u16::MAX);
        }
        if self.options.has_ecn && len > 0 && start == self.send.next {
            segment.header.is_ecn_capable = true;
            segment.header.flags.set(SegmentFlags::CWR, self.ecn.take_reduction());
        }
        if len > 0 {
            segment.payload = self.send.buffer.span(start, len as usize);
        }
        debug_assert!(segment.payload.len() == len as usize, "it fits one emission");
        output.emit(segment);
        self.note_emitted(len, mss);
        if len > 0 {
            self.note_pace(len, now_ns);
        }
        len
    }

    /// An acknowledgement alone, with what has come out of order.
    pub(super) fn emit_acknowledgement(&mut self, now_ns: u64, output: &mut dyn Output) {
        let mut header = self.header(self.send.next, SegmentFlags::ACK, now_ns);
        if self.options.has_sack && self.receive.assembly.blocks_count() > 0 {
            let blocks_max = if self.options.has_timestamps { SACK_BLOCKS_MAX - 1 } else { SACK_BLOCKS_MAX };
            (header.sack, header.sack_count) = self.receive.assembly.take_blocks(blocks_max);
        }
        self.emit_bare(header, output);
    }

    /// A segment of a number that the peer has had, which it answers: a probe of its window or of itself.
    pub(super) fn emit_probe(&mut self, now_ns: u64, output: &mut dyn Output) {
        let header = self.header(self.send.una.wrapping_sub(1), SegmentFlags::ACK, now_ns);
        self.emit_bare(header, output);
    }

    /// Our SYN, with all that we offer; with an acknowledgement if the peer's has come.
    pub(super) fn emit_syn(&mut self, now_ns: u64, output: &mut dyn Output) {
        let is_answer = self.state == State::SynReceived;
        let mut flags = SegmentFlags::SYN;
        flags.set(SegmentFlags::ACK, is_answer);
        if self.options.has_ecn && is_answer {
            flags |= SegmentFlags::ECE;
        } else if self.options.has_ecn && self.retries == 0 {
            flags |= ecn::ASKS;
        }
        let left = u16::try_from(self.receive.window.left(self.receive.next)).unwrap_or(u16::MAX);
        let window = super::handshake::initial_window(&self.settings);
        let header = SegmentHeader {
            sequence: self.send.initial,
            acknowledgement: if is_answer { self.receive.next } else { 0 },
            flags,
            // Data that came with the peer's SYN has taken some of it.
            window: if is_answer { window.min(left) } else { window },
            mss: Some(advertised_mss(&self.settings)),
            window_scale: self.options.window_scales.map(|(_, ours)| ours),
            is_sack_permitted: self.options.has_sack,
            timestamps: self.options.has_timestamps.then(|| self.timestamps(now_ns)),
            ..SegmentHeader::default()
        };
        if is_answer {
            return self.emit_bare(SegmentHeader { fast_open: self.given_cookie(), ..header }, output);
        }
        let (fast_open, payload, len) = self.syn_content();
        let mss = self.send.mss as usize;
        output.emit(OutgoingSegment { header: SegmentHeader { fast_open, ..header }, payload, len: len as usize, mss });
        self.note_emitted(len, mss);
    }

    /// RST, which ends the connection for the peer.
    pub(super) fn emit_reset(&mut self, output: &mut dyn Output) {
        let header = SegmentHeader {
            sequence: self.send.next,
            acknowledgement: self.receive.next,
            flags: SegmentFlags::RST | SegmentFlags::ACK,
            ..SegmentHeader::default()
        };
        self.emit_bare(header, output);
    }

    /// RST for a segment that belongs to no connection that we know (RFC 9293, 3.10.7.1).
    pub(super) fn emit_refusal(&mut self, of: &SegmentHeader, len: u32, output: &mut dyn Output) {
        let header = if of.flags.contains(SegmentFlags::ACK) {
            SegmentHeader { sequence: of.acknowledgement, flags: SegmentFlags::RST, ..SegmentHeader::default() }
        } else {
            SegmentHeader {
                acknowledgement: of.sequence.wrapping_add(len),
                flags: SegmentFlags::RST | SegmentFlags::ACK,
                ..SegmentHeader::default()
            }
        };
        self.emit_bare(header, output);
    }

    /// Acknowledges something invalid, so that an honest peer learns where we are (RFC 5961), but seldom.
    pub(super) fn challenge(&mut self, now_ns: u64, output: &mut dyn Output) {
        if self.challenge_ns.is_none_or(|last_ns| now_ns.saturating_sub(last_ns) >= CHALLENGE_INTERVAL_NS) {
            self.challenge_ns = Some(now_ns);
            self.emit_acknowledgement(now_ns, output);
        }
    }

    fn emit_bare(&mut self, header: SegmentHeader, output: &mut dyn Output) {
        output.emit(OutgoingSegment { header, payload: Span::empty(), len: 0, mss: self.send.mss as usize });
        self.note_emitted(0, 1);
    }

    #[inline]
    fn note_emitted(&mut self, len: u32, mss: usize) {
        let segments = if len as usize <= mss { 1 } else { length((len as usize).div_ceil(mss)) };
        self.counters.segments_out = self.counters.segments_out.wrapping_add(segments);
        if len > 0 {
            self.counters.data_segments_out = self.counters.data_segments_out.wrapping_add(segments);
        }
    }

    fn timestamps(&self, now_ns: u64) -> (u32, u32) {
        (timestamp(now_ns, self.timestamp_offset), self.receive.timestamp)
    }

    /// A header that acknowledges all that has come; notes that it does.
    fn header(&mut self, sequence: SequenceNumber, flags: SegmentFlags, now_ns: u64) -> SegmentHeader {
        let available = self.available_window();
        let next = self.receive.next;
        let window = self.receive.window.offer(next, available);
        let flags = if self.ecn.is_reporting() { flags | SegmentFlags::ECE } else { flags };
        let header = SegmentHeader {
            sequence,
            acknowledgement: next,
            flags,
            window,
            timestamps: self.options.has_timestamps.then(|| self.timestamps(now_ns)),
            ..SegmentHeader::default()
        };
        self.receive.last_acknowledgement = next;
        if self.acknowledging.owed() != Owed::Nothing {
            self.acknowledging.note_sent();
            self.timers.stop(Timer::Acknowledge);
        }
        header
    }

    /// The window there is.
    #[inline]
    pub(super) fn available_window(&self) -> u32 {
        let segment_len = self.acknowledging.segment_len().max(1);
        self.receive.window.available(&self.settings, self.receive_buffer(), self.kept_len(), segment_len)
    }

    /// The highest number that was ever sent.
    pub(super) fn sent_end(&self) -> SequenceNumber {
        later(self.send.next, self.send.una)
    }
}

const _: () = assert!(TIMESTAMPS_LEN + 4 + 8 * (SACK_BLOCKS_MAX - 1) <= 40, "TCP has 40 bytes of options");
