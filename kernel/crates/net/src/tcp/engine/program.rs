//! What the program does with a connection: [`Engine`] for [`Connection`].

use alloc::vec::Vec;

use abi::{Errno, PollEvents};
use mm::user::{UserFault, UserReader, UserWriter};

use super::connection::Connection;
use super::delayed::Owed;
use super::recovery::Phase;
use super::sequence::length;
use super::timers::Timer;
use super::{
    Engine, Information, Output, Reader, SegmentHeader, SegmentPayload, SequenceNumber, Settings, State, Step, TimeWait,
};
use crate::frame::{Payload, Piece};
use crate::loan::Account;

impl Engine for Connection {
    fn receive(&mut self, now_ns: u64, header: &SegmentHeader, payload: SegmentPayload, output: &mut dyn Output) {
        self.segment_arrives(now_ns, header, payload, output);
    }

    fn poll(&mut self, now_ns: u64, output: &mut dyn Output) {
        if self.timers.has_due(now_ns) {
            self.run_timers(now_ns, output);
        }
        if matches!(self.state, State::Closed | State::SynSent | State::SynReceived) {
            return;
        }
        if self.receive.has_read {
            self.after_read(now_ns);
        }
        let has_blocks = || self.options.has_sack && self.receive.assembly.blocks_count() > 0;
        if self.acknowledging.owed() == Owed::Now && has_blocks() {
            self.emit_acknowledgement(now_ns, output);
        }
        if self.has_unsent() || self.send.board.lost() > 0 {
            self.transmit(now_ns, output);
            self.arm_window_probe(now_ns);
        }
        match self.acknowledging.owed() {
            Owed::Nothing => {}
            Owed::Now => self.emit_acknowledgement(now_ns, output),
            Owed::Later => {
                if !self.timers.is_set(Timer::Acknowledge) {
                    let delay_ns = self.acknowledging.delay_ns(self.round_trip.smoothed_ns());
                    self.timers.set(Timer::Acknowledge, now_ns.saturating_add(delay_ns));
                }
            }
        }
    }

    fn poll_at(&self) -> u64 {
        self.timers.wake_ns()
    }

    fn send(&mut self, from: &mut UserReader<'_>) -> Result<Result<usize, UserFault>, Errno> {
        self.check_send()?;
        let room = self.send_room();
        if room == 0 {
            return Ok(Ok(0));
        }
        self.send.buffer.append(from, room).ok_or(Errno::ENOBUFS)
    }

    fn send_piece(&mut self, piece: &Piece) -> Result<bool, Errno> {
        self.check_send()?;
        if self.send_room() == 0 {
            return Ok(false);
        }
        if !piece.is_empty() {
            self.send.buffer.append_piece(piece);
        }
        Ok(true)
    }

    fn read(&mut self, to: &mut UserWriter<'_>, skip: usize, is_peek: bool) -> Result<usize, UserFault> {
        if is_peek {
            let (skip, len_max) = self.look_from(skip);
            return self.receive.queue.peek(to, skip, len_max);
        }
        if skip > 0 {
            self.receive.queue.discard(skip);
        }
        let len_max = self.read_max();
        let len = self.receive.queue.read(to, len_max)?;
        self.note_read(len);
        Ok(len)
    }

    #[inline]
    fn read_sole(&mut self, to: &mut UserWriter<'_>) -> Option<usize> {
        if !self.receive.urgent.is_empty() {
            return None;
        }
        let len = self.receive.queue.read_sole(to)?;
        self.receive.window.note_read(len);
        self.receive.has_read = true;
        Some(len)
    }

    fn end_read(&mut self, now_ns: u64) -> bool {
        if self.receive.has_read {
            self.after_read(now_ns);
        }
        self.acknowledging.owed() == Owed::Now
    }

    fn discard(&mut self, len: usize) -> usize {
        let len = self.receive.queue.discard(len.min(self.read_max()));
        self.note_read(len);
        len
    }

    fn lend(&mut self, pieces_max: usize) -> (Vec<Payload>, Account) {
        let len_max = self.read_max();
        let (pieces, account) = self.receive.queue.lend(pieces_max, len_max);
        self.note_read(pieces.iter().map(Payload::len).sum());
        (pieces, account)
    }

    fn note_given_back(&mut self) {
        self.receive.has_read = true;
    }

    fn receive_footprint(&self) -> usize {
        self.kept_len()
    }

    fn limit_receive(&mut self, is_limited: bool) {
        self.receive.is_limited = is_limited;
    }

    fn readable_len(&self) -> usize {
        // Nearly always there is nothing urgent, and then it is all.
        if self.receive.urgent.is_empty() {
            return self.receive.queue.len();
        }
        self.receive.urgent.readable_len(self.reader())
    }

    fn waiting_len(&self) -> usize {
        self.receive.urgent.waiting_len(self.reader())
    }

    fn is_read_finished(&self) -> bool {
        self.receive.queue.len() == 0
            && (self.receive.is_finished || self.receive.is_shut || self.state == State::Closed)
    }

    #[inline]
    fn writable_len(&self) -> usize {
        let room = self.settings.send_buffer.saturating_sub(self.send.buffer.len());
        let is_low = self.unsent_len() < self.settings.unsent_low_water;
        if is_low && room >= self.settings.send_buffer / 3 && self.is_open_for_sending() { room } else { 0 }
    }

    fn unacknowledged_len(&self) -> (usize, usize) {
        (self.send.buffer.len(), self.unsent_len())
    }

    fn take_urgent(&mut self, is_peek: bool) -> Result<Option<u8>, Errno> {
        match self.receive.urgent.take(is_peek, self.settings.is_urgent_inline) {
            Err(Errno::EAGAIN) if !self.may_receive() || self.receive.is_shut => Ok(None),
            byte => byte.map(Some),
        }
    }

    fn take_urgent_news(&mut self) -> bool {
        self.receive.urgent.take_news()
    }

    #[inline]
    fn pass_urgent(&mut self) {
        if !self.receive.urgent.is_empty() && self.receive.urgent.step(self.reader(), 0) == Step::Pass {
            self.drop_urgent();
        }
    }

    fn send_urgent(&mut self, byte: u8) -> Result<bool, Errno> {
        self.check_send()?;
        if self.send_room() == 0 {
            return Ok(false);
        }
        match self.send.buffer.append(&mut UserReader::from_kernel(&[byte]), 1) {
            Some(Ok(1)) => {
                self.send.urgent = Some(self.send.buffer.end());
                Ok(true)
            }
            _ => Err(Errno::ENOBUFS),
        }
    }

    fn is_at_mark(&self) -> bool {
        !self.receive.urgent.is_empty() && self.receive.urgent.is_at_mark(self.read_next())
    }

    fn shutdown_write(&mut self) {
        match self.state {
            // The end follows our SYN, which has to arrive first.
            State::SynReceived => {}
            State::Established => self.state = State::FinWait1,
            State::CloseWait => self.state = State::LastAck,
            _ => return,
        }
        self.send.is_finished = true;
    }

    fn shutdown_read(&mut self) {
        self.receive.is_shut = true;
    }

    fn close(&mut self, now_ns: u64, output: &mut dyn Output) -> bool {
        self.is_orphan = true;
        let has_unread = self.receive.queue.len() > 0;
        self.receive.queue.clear();
        self.receive.is_shut = true;
        match self.state {
            State::Closed | State::TimeWait | State::Listen => return false,
            State::SynSent => {
                self.finish(None);
                return false;
            }
            _ if has_unread => {
                self.abort(output);
                return true;
            }
            _ => {}
        }
        self.shutdown_write();
        if self.state == State::FinWait2 {
            self.timers.set(Timer::Linger, now_ns.saturating_add(self.settings.fin_wait_2_ns));
        }
        self.timers.stop(Timer::Keepalive);
        self.send.is_pushed = true;
        self.poll(now_ns, output);
        false
    }

    fn abort(&mut self, output: &mut dyn Output) {
        if !matches!(self.state, State::Closed | State::SynSent | State::TimeWait | State::Listen) {
            self.emit_reset(output);
        }
        self.finish(None);
    }

    fn network_error(&mut self, errno: Errno, is_hard: bool) {
        if is_hard && matches!(self.state, State::SynSent | State::SynReceived) {
            self.finish(Some(errno));
        } else if self.state != State::Closed {
            self.soft_error = Some(errno);
        }
    }

    fn reduce_mss(&mut self, mss: usize) {
        if mss >= self.settings.mss_max {
            return;
        }
        self.settings.mss_max = mss;
        self.update_mss();
        let mss = u16::try_from(self.send.mss).unwrap_or(u16::MAX);
        // What is sent again is cut anew. The network was not congested: the window stays (RFC 1191, 6.5).
        if self.send.board.mark_longer_lost(mss) && self.recovery.phase() != Phase::Loss {
            self.recovery.note_resegmented(self.send.una, self.send.next);
        }
    }

    fn state(&self) -> State {
        self.state
    }

    fn time_wait(&self) -> Option<TimeWait> {
        let available = self.available_window() >> self.receive.window.scale();
        (self.state == State::TimeWait).then(|| TimeWait {
            send_next: self.send.next,
            receive_next: self.receive.next,
            window: u16::try_from(available).unwrap_or(u16::MAX),
            timestamps: self.options.has_timestamps.then_some((self.receive.timestamp, self.timestamp_offset)),
        })
    }

    fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    fn is_quiet(&self) -> bool {
        self.is_plain() && self.receive.queue.len() == 0
    }

    fn readiness_of(&self, wanted: PollEvents) -> PollEvents {
        let mut events = PollEvents::empty();
        if self.readable_len() > 0 {
            events |= PollEvents::READABLE;
        }
        if wanted.intersects(PollEvents::WRITABLE) && self.writable_len() > 0 {
            events |= PollEvents::WRITABLE;
        }
        if self.is_plain() { events } else { self.with_rare_events(events) }
    }

    fn awaits_acknowledgement(&self) -> bool {
        self.has_unsent()
            || self.recovery.phase() != Phase::Open
            || !matches!(self.state, State::Established | State::CloseWait)
            || (!self.send.board.is_empty() && self.writable_len() == 0)
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn set_corked(&mut self, is_corked: bool) {
        if core::mem::replace(&mut self.settings.is_corked, is_corked) && !is_corked {
            self.send.is_pushed = true;
        }
    }

    fn change_settings(&mut self, settings: Settings) {
        self.set_corked(settings.is_corked);
        let before = core::mem::replace(&mut self.settings, settings);
        if !before.is_nodelay && settings.is_nodelay && !settings.is_corked {
            self.send.is_pushed = true;
        }
        if before.pacing_rate_max != settings.pacing_rate_max {
            self.restart_pacing();
        }
        if before.congestion != settings.congestion {
            self.congestion.choose(settings.congestion);
        }
        if before.mss_max != settings.mss_max {
            self.update_mss();
        }
        let keepalive = |settings: &Settings| (settings.is_keepalive, settings.keepalive_idle_ns);
        if keepalive(&before) != keepalive(&settings) {
            self.start_keepalive(self.receive.last_ns);
        }
    }

    fn is_quickack(&self) -> bool {
        !self.acknowledging.is_interactive()
    }

    fn set_quickack(&mut self, is_quickack: bool) {
        self.acknowledging.set_quick(is_quickack);
    }

    fn information(&self, now_ns: u64) -> Information {
        self.figures(now_ns)
    }
}

impl Connection {
    /// Open both ways, and nothing about it is rare.
    #[inline]
    fn is_plain(&self) -> bool {
        self.state == State::Established
            && !(self.send.is_finished | self.receive.is_finished | self.receive.is_shut)
            && self.receive.urgent.is_empty()
            && self.error.is_none()
    }

    /// What can be read and written, with what else there may be to a connection that is not just open.
    #[inline(never)]
    fn with_rare_events(&self, plain: PollEvents) -> PollEvents {
        if self.state == State::SynSent {
            return PollEvents::empty();
        }
        let mut events = plain;
        let is_send_shut = self.send.is_finished || self.state == State::Closed;
        let is_receive_shut = self.receive.is_finished || self.receive.is_shut || self.state == State::Closed;
        if is_receive_shut {
            events |= PollEvents::READABLE | PollEvents::RDHUP;
        }
        if is_send_shut {
            events |= PollEvents::WRITABLE;
        }
        if self.receive.urgent.has_byte() {
            events |= PollEvents::PRI;
        }
        if is_send_shut && is_receive_shut {
            events |= PollEvents::HUP;
        }
        if self.error.is_some() {
            events |= PollEvents::ERR;
        }
        events
    }

    /// Why nothing can be sent, if so.
    fn check_send(&mut self) -> Result<(), Errno> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.send.is_finished || self.state == State::Closed {
            return Err(Errno::EPIPE);
        }
        Ok(())
    }

    const fn is_open_for_sending(&self) -> bool {
        matches!(self.state, State::Established | State::CloseWait)
    }

    /// Bytes that a send may leave in the buffer.
    fn send_room(&self) -> usize {
        if self.is_open_for_sending() { self.settings.send_buffer.saturating_sub(self.send.buffer.len()) } else { 0 }
    }

    /// The number of the next byte to be read.
    fn read_next(&self) -> SequenceNumber {
        let fin = u32::from(self.receive.is_finished);
        self.receive.next.wrapping_sub(fin).wrapping_sub(length(self.receive.queue.len()))
    }

    /// Where reading stands.
    pub(super) fn reader(&self) -> Reader {
        let (len, is_inline) = (self.receive.queue.len(), self.settings.is_urgent_inline);
        Reader { next: self.read_next(), len, is_inline }
    }

    /// How many bytes a read may take that begins now.
    fn read_max(&self) -> usize {
        if self.receive.urgent.is_empty() {
            return self.receive.queue.len();
        }
        match self.receive.urgent.step(self.reader(), 0) {
            Step::Read(len) => len,
            Step::Pass | Step::Stop => 0,
        }
    }

    /// Where a look goes on that has seen so many bytes, and how many more it may see.
    fn look_from(&self, seen: usize) -> (usize, usize) {
        let reader = self.reader();
        if self.receive.urgent.step(reader, 0) == Step::Pass {
            return (seen + 1, usize::MAX);
        }
        let next = reader.next.wrapping_add(length(seen));
        let reader = Reader { next, len: reader.len.saturating_sub(seen), ..reader };
        match self.receive.urgent.step(reader, seen) {
            Step::Read(len) => (seen, len),
            Step::Pass | Step::Stop => (seen, 0),
        }
    }

    /// Drops the urgent byte, at which reading stands.
    pub(super) fn drop_urgent(&mut self) {
        let len = self.receive.queue.discard(1);
        self.note_read(len);
    }

    fn note_read(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        self.receive.window.note_read(len);
        self.receive.has_read = true;
        if !self.receive.urgent.is_empty() {
            self.receive.urgent.pass(self.read_next());
        }
    }

    /// The program has read: the buffer may grow, the peer may hear of a larger window.
    fn after_read(&mut self, now_ns: u64) {
        self.receive.has_read = false;
        let mss = length(self.settings.mss_max);
        if let Some(buffer) = self.receive.window.grown_buffer(&self.settings, mss, now_ns) {
            self.settings.receive_buffer = buffer;
        }
        if !self.may_receive() {
            return;
        }
        if self.receive.queue.len() == 0 {
            self.acknowledging.note_drained();
        }
        if !self.receive.window.may_be_worth_telling(self.receive.next, self.receive_buffer()) {
            return;
        }
        let segment_len = self.acknowledging.segment_len().max(1);
        if self.receive.window.is_worth_telling(self.receive.next, self.available_window(), segment_len) {
            self.acknowledging.owe(Owed::Now);
        }
    }

    /// Nothing is in flight and nothing may go: the peer's window is too small. Somebody must ask.
    fn arm_window_probe(&mut self, now_ns: u64) {
        let is_stuck = self.send.board.is_empty()
            && self.has_unsent()
            && !self.timers.is_set(Timer::Retransmit)
            && !self.timers.is_set(Timer::Cork)
            && !self.timers.is_set(Timer::Pace);
        if is_stuck && self.may_send() {
            let wait_ns = self.limited_by_user(self.round_trip.timeout_base_ns(), now_ns);
            self.timers.set(Timer::Retransmit, now_ns.saturating_add(wait_ns));
        }
    }
}
