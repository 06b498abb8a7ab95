//! What the acknowledgement of a segment means to the sender.
//!
//! # Theory
//!
//! 1. Order of work: the peer's window; selective blocks, then the cumulative number, both into the scoreboard; the round trip; what is lost
//!    by RACK or by duplicates; whether a reduction was wrong; the phase; the window; the timers. Each step needs what came before.
//! 2. A duplicate is reported by a first block at or below the acknowledged number, or inside the second (RFC 2883, 5).
//! 3. The round trip of repeated segments is taken from the echoed timestamp only (Karn; RFC 7323, 4.1).
//! 4. A report of congestion is as a loss to the window, once in a window of data (see `ecn`), and forbids to take a
//!    reduction back.
//! 5. Where one emission was in flight, all of it has arrived and nothing was amiss, most of this has nothing to do: such
//!    acknowledgements, those of requests and answers, go a short way ([`Connection::take_sole`]).
//! 6. The congestion window grows only if it is what limited us: in slow start when more than half of it was in use.

use super::connection::Connection;
use super::handshake::timestamp;
use super::recovery::{DUPLICATES_MAX, Phase};
use super::scoreboard::Delivery;
use super::sequence::{distance, earlier, is_after, is_before};
use super::timers::Timer;
use super::{SackBlock, SegmentFlags, SegmentHeader, SequenceNumber};

/// Linux's `TCP_RTO_MIN`, which a probe adds when one segment is in flight: its acknowledgement may be delayed.
const PROBE_DELAY_NS: u64 = super::round_trip::TIMEOUT_MIN_NS;
/// The shortest wait for a probe or for what comes out of order: timers are not finer.
const WAIT_MIN_NS: u64 = 2_000_000;
/// A probe when no round trip is known (RFC 8985, 7.2).
const PROBE_INITIAL_NS: u64 = 1_000_000_000;
/// The oldest echo that is believed.
const ECHO_MAX_MS: u32 = 1 << 30;

impl Connection {
    /// Processes the acknowledgement of an acceptable segment with `len` bytes of payload. Its number is between `una` and `next`.
    pub(super) fn process_acknowledgement(&mut self, header: &SegmentHeader, len: u32, now_ns: u64) {
        let has_window_changed = self.update_window(header);
        self.probes = 0;
        let prior_una = self.send.una;
        let is_advance = is_after(header.acknowledgement, prior_una);
        let is_congested = self.options.has_ecn && header.flags.contains(SegmentFlags::ECE);
        if self.send.board.is_empty() && !is_advance {
            self.after_probe_answer();
            return;
        }
        if !is_congested && self.take_sole(header, now_ns) {
            return;
        }
        let mut delivery = Delivery::default();
        let has_duplicate = header.sack_count > 0 && self.take_blocks(header, now_ns, &mut delivery);
        if is_advance {
            self.send.board.acknowledge(header.acknowledgement, now_ns, &mut delivery);
            self.advance(header.acknowledgement);
        }
        if delivery.is_reordered {
            self.recovery.note_reordering();
        }
        self.sample_round_trip(header, &mut delivery, has_duplicate, now_ns);
        let is_repeat = !is_advance && len == 0 && !has_window_changed && !header.flags.contains(SegmentFlags::FIN);
        self.count_duplicates(is_repeat, is_advance);
        let has_new_loss = self.detect_losses(now_ns);
        if delivery.rate.is_some() {
            self.counters.delivery = delivery.rate;
        }
        if self.recovery.end_probe(header.acknowledgement, has_duplicate) && !self.recovery.is_reducing() {
            let threshold = self.reduce();
            self.congestion.set_window(threshold);
        }
        if is_congested {
            self.recovery.forbid_undo();
            if !self.recovery.is_reducing() && self.send.board.lost() == 0 {
                self.begin_reduction();
            }
        }
        let tells_of_gap = is_repeat || delivery.sacked_bytes > 0;
        let numbers = (self.send.una, self.send.next);
        if self.recovery.is_timeout_wrong(delivery.original_end, is_advance, tells_of_gap, numbers) {
            self.undo();
        }
        if !self.recovery.is_reducing() && self.send.board.lost() == 0 {
            // Nearly always.
            self.go_on_open(&delivery, is_advance, now_ns);
        } else {
            self.change_phase(header, &delivery, is_advance, has_duplicate, has_new_loss, now_ns);
        }
        if is_advance || has_new_loss || delivery.sacked_bytes > 0 {
            self.arm_retransmit(now_ns);
        }
    }

    /// The short way (section 5). False: it is not for this acknowledgement, of which nothing was taken yet.
    #[inline]
    fn take_sole(&mut self, header: &SegmentHeader, now_ns: u64) -> bool {
        let to = header.acknowledgement;
        let is_usual = to == self.send.next
            && header.sack_count == 0
            && self.recovery.phase() == Phase::Open
            && !self.recovery.has_probe()
            && self.recovery.duplicates == 0;
        if !is_usual {
            return false;
        }
        let Some(delivery) = self.send.board.acknowledge_sole(to, now_ns) else { return false };
        self.advance(to);
        self.round_trip.sample(delivery.round_trip_ns, now_ns);
        if delivery.rate.is_some() {
            self.counters.delivery = delivery.rate;
        }
        self.grow_window(delivery.bytes, Some(delivery.round_trip_ns), now_ns);
        for timer in [Timer::Probe, Timer::Retransmit, Timer::Reorder] {
            self.timers.stop(timer);
        }
        true
    }

    /// Takes the window of a segment, if it is newer than what is known (RFC 9293, 3.10.7.4). Answers whether it is another.
    fn update_window(&mut self, header: &SegmentHeader) -> bool {
        let (sequence, acknowledgement) = self.send.window_update;
        let scale = self.options.window_scales.map_or(0, |(theirs, _)| theirs);
        let window = u32::from(header.window) << scale;
        let is_newer = is_after(header.acknowledgement, self.send.una)
            || is_after(header.sequence, sequence)
            || (header.sequence == sequence
                && (is_after(header.acknowledgement, acknowledgement)
                    || (header.acknowledgement == acknowledgement && window > self.send.window)));
        if !is_newer {
            return false;
        }
        self.send.window_update = (header.sequence, header.acknowledgement);
        let has_changed = window != self.send.window;
        self.send.window = window;
        self.send.window_max = self.send.window_max.max(window);
        has_changed
    }

    /// Nothing was in flight: the answer to a probe of a closed window, or of the connection.
    fn after_probe_answer(&mut self) {
        self.stalled_since_ns = None;
        if self.send.window > 0 && self.timers.is_set(Timer::Retransmit) {
            // The window has opened: what waits is sent now, and if it cannot be, the wait begins anew.
            self.timers.stop(Timer::Retransmit);
            self.round_trip.reset_backoff();
        }
    }

    /// Takes the selective blocks. Answers whether a duplicate is reported.
    #[inline(never)]
    fn take_blocks(&mut self, header: &SegmentHeader, now_ns: u64, delivery: &mut Delivery) -> bool {
        let count = usize::from(header.sack_count).min(header.sack.len());
        let blocks = header.sack.get(..count).unwrap_or_default();
        let has_duplicate = self.options.has_sack && reports_duplicate(blocks, header.acknowledgement);
        if has_duplicate && let Some((start, end)) = blocks.first() {
            let segments = distance(*start, *end).div_ceil(self.send.mss).max(1);
            self.recovery.note_duplicate(*start, segments, header.acknowledgement, self.send.next);
        }
        if self.options.has_sack {
            for block in blocks.iter().skip(usize::from(has_duplicate)) {
                self.send.board.sack(*block, now_ns, delivery);
            }
        }
        has_duplicate
    }

    /// The acknowledged number goes on to `to`, of which the board was told.
    #[inline]
    fn advance(&mut self, to: SequenceNumber) {
        let data_end = earlier(to, self.send.buffer.end());
        // Our FIN counts, as on Linux.
        self.counters.bytes_acknowledged += u64::from(distance(self.send.una, to));
        if is_after(data_end, self.send.una) {
            self.send.buffer.acknowledge(data_end);
        }
        self.send.una = to;
        if is_before(self.send.small_end, to) {
            self.send.small_end = to;
        }
        if self.send.urgent.is_some_and(|urgent| !is_after(urgent, to)) {
            self.send.urgent = None;
        }
        self.stalled_since_ns = None;
        self.retries = 0;
        self.round_trip.reset_backoff();
    }

    /// Takes the round trip, if the acknowledgement tells it. One that reports a duplicate does not: its segment had come before, and the
    /// acknowledgement of that was lost. Nor does one whose blocks are told of only because a timeout has passed.
    fn sample_round_trip(&mut self, header: &SegmentHeader, delivery: &mut Delivery, has_duplicate: bool, now_ns: u64) {
        if has_duplicate || delivery.was_repeated || self.recovery.phase() == Phase::Loss {
            delivery.latest_round_trip_ns = None;
        }
        let sample_ns = match (delivery.was_repeated, header.timestamps) {
            _ if has_duplicate => None,
            (false, _) => delivery.round_trip_ns.or(delivery.latest_round_trip_ns),
            (true, Some((_, echo))) if echo != 0 => {
                let elapsed_ms = timestamp(now_ns, self.timestamp_offset).wrapping_sub(echo);
                (elapsed_ms < ECHO_MAX_MS).then(|| u64::from(elapsed_ms.max(1)) * 1_000_000)
            }
            _ => None,
        };
        if let Some(sample_ns) = sample_ns {
            self.round_trip.sample(sample_ns, now_ns);
        }
    }

    /// Duplicate acknowledgements, where there is no SACK.
    fn count_duplicates(&mut self, is_repeat: bool, is_advance: bool) {
        if self.options.has_sack {
            return;
        }
        if is_repeat {
            self.recovery.duplicates = self.recovery.duplicates.saturating_add(1);
        } else if is_advance && !self.recovery.is_repairing() {
            self.recovery.duplicates = 0;
        }
    }

    /// Finds out what is lost; answers whether there is something new.
    pub(super) fn detect_losses(&mut self, now_ns: u64) -> bool {
        if !self.options.has_sack {
            let is_first = self.recovery.duplicates >= DUPLICATES_MAX && !self.recovery.is_repairing();
            if is_first {
                self.send.board.mark_first_lost();
            }
            return is_first;
        }
        if self.send.board.has_nothing_to_judge() {
            self.timers.stop(Timer::Reorder);
            return false;
        }
        let is_beyond_gap = self.send.board.is_sacked_beyond(DUPLICATES_MAX, self.send.mss);
        let reorder_ns =
            self.recovery.reorder_window_ns(self.round_trip.minimum_ns(), self.round_trip.smoothed_ns(), is_beyond_gap);
        let patience_ns = self.send.board.newest().round_trip_ns.saturating_add(reorder_ns);
        let (has_lost, next_ns) = self.send.board.detect_lost(patience_ns, now_ns);
        if next_ns == 0 {
            self.timers.stop(Timer::Reorder);
        } else {
            self.timers.set(Timer::Reorder, next_ns.max(now_ns + WAIT_MIN_NS));
        }
        has_lost
    }

    /// Nothing is lost, and the window is not on its way down.
    fn go_on_open(&mut self, delivery: &Delivery, is_advance: bool, now_ns: u64) {
        let is_disordered = self.send.board.sacked() > 0 || self.recovery.duplicates > 0;
        self.recovery.set_disorder(is_disordered);
        if is_advance || (self.recovery.has_seen_reordering() && delivery.bytes > 0) {
            self.grow_window(delivery.bytes, delivery.latest_round_trip_ns, now_ns);
        }
    }

    #[inline(never)]
    fn change_phase(
        &mut self,
        header: &SegmentHeader,
        delivery: &Delivery,
        is_advance: bool,
        has_duplicate: bool,
        has_new_loss: bool,
        now_ns: u64,
    ) {
        if self.recovery.is_repairing() && (is_advance || has_duplicate) {
            let echo = header.timestamps.map(|(_, echo)| echo);
            if self.recovery.is_undone(echo.filter(|_| is_advance), has_duplicate) {
                self.undo();
            }
        }
        let (una, end) = (self.send.una, self.recovery.end());
        // A reduction lasts until the peer has heard of it, or its reports would be taken for news.
        let is_through = is_after(una, end) || (una == end && self.recovery.phase() != Phase::Reduction);
        if self.recovery.is_reducing() && is_through {
            match self.recovery.phase() {
                Phase::Recovery => self.congestion.set_window(
                    self.congestion
                        .threshold()
                        .min(self.congestion.window().max(self.send.board.in_flight().saturating_add(self.send.mss))),
                ),
                Phase::Reduction => self.congestion.set_window(self.congestion.threshold()),
                _ => {}
            }
            self.recovery.finish();
        }
        match self.recovery.phase() {
            Phase::Recovery => {
                if is_advance && !self.options.has_sack {
                    // A partial acknowledgement: the next segment is lost as well (RFC 6582, 3.2).
                    self.send.board.mark_first_lost();
                }
                self.reduce_in_proportion(delivery, is_advance, has_new_loss);
            }
            Phase::Open | Phase::Disorder | Phase::Reduction if self.send.board.lost() > 0 => {
                self.begin_recovery(delivery);
            }
            Phase::Reduction => self.reduce_in_proportion(delivery, is_advance, false),
            Phase::Open | Phase::Disorder => self.go_on_open(delivery, is_advance, now_ns),
            Phase::Loss => {
                if is_advance && !self.options.has_sack && self.send.board.lost() == 0 {
                    self.send.board.mark_first_lost();
                }
                self.grow_window(delivery.bytes, delivery.latest_round_trip_ns, now_ns);
            }
        }
    }

    /// Losses were found.
    pub(super) fn begin_recovery(&mut self, delivery: &Delivery) {
        if self.recovery.phase() == Phase::Reduction {
            // The window is on its way down already.
            self.recovery.go_on_as_recovery(self.send.next);
        } else {
            let flight = distance(self.send.una, self.send.next);
            self.reduce();
            self.recovery.begin(Phase::Recovery, self.send.una, self.send.next, flight);
        }
        self.reduce_in_proportion(delivery, true, true);
    }

    /// The network has told of congestion.
    #[cold]
    fn begin_reduction(&mut self) {
        let flight = distance(self.send.una, self.send.next);
        self.reduce();
        self.recovery.begin(Phase::Reduction, self.send.una, self.send.next, flight);
        self.recovery.forbid_undo();
    }

    /// Answers the threshold that the window is to come down to; the peer is told of it.
    pub(super) fn reduce(&mut self) -> u32 {
        self.ecn.note_reduction();
        self.congestion.reduce()
    }

    fn reduce_in_proportion(&mut self, delivery: &Delivery, is_advance: bool, has_new_loss: bool) {
        // Without SACK each duplicate says that one segment has left the network.
        let delivered = if self.options.has_sack || is_advance { delivery.bytes } else { self.send.mss };
        let in_flight = self.send.board.in_flight();
        let goes_on = is_advance && !has_new_loss;
        let (threshold, mss) = (self.congestion.threshold(), self.send.mss);
        let in_network = if self.options.has_sack {
            in_flight
        } else {
            in_flight.saturating_sub(self.recovery.duplicates.saturating_mul(mss))
        };
        let window = self.recovery.window(delivered, in_network, threshold, mss, goes_on);
        self.congestion.set_window(window.saturating_add(in_flight - in_network));
    }

    fn grow_window(&mut self, bytes: u32, round_trip_ns: Option<u64>, now_ns: u64) {
        let (una, next) = (self.send.una, self.send.next);
        let (flight_max, round_end) = self.send.flight_max;
        let is_used = if self.congestion.is_slow_start() {
            self.congestion.window() < flight_max.saturating_mul(2)
        } else {
            self.send.is_congestion_limited
        };
        if is_used {
            let samples = (round_trip_ns, self.round_trip.smoothed_ns());
            self.congestion.acknowledge(bytes, (una, next), samples, now_ns);
            self.grow_send_buffer();
        }
        if !is_before(una, round_end) {
            self.send.flight_max = (self.send.board.in_flight(), next);
            self.send.is_congestion_limited = false;
        }
    }

    /// Nothing was lost: the window is as it was.
    #[cold]
    fn undo(&mut self) {
        if self.recovery.may_undo() {
            self.congestion.undo();
            self.ecn.withdraw_reduction();
        }
        self.send.board.unmark_lost();
        self.recovery.finish();
        self.round_trip.reset_backoff();
    }

    /// Twice the window, so that the program can write while a window is in flight (Linux's `tcp_sndbuf_expand`).
    pub(super) fn grow_send_buffer(&mut self) {
        if self.settings.is_send_buffer_fixed {
            return;
        }
        let wanted = (self.congestion.window() as usize).saturating_mul(2).min(self.settings.send_buffer_max);
        if wanted > self.settings.send_buffer {
            self.settings.send_buffer = wanted;
        }
    }

    /// Sets the timer for what is in flight: a tail loss probe where nothing is amiss, else the timeout.
    pub(super) fn arm_retransmit(&mut self, now_ns: u64) {
        self.timers.stop(Timer::Probe);
        let Some(first) = self.send.board.first() else {
            self.timers.stop(Timer::Retransmit);
            self.timers.stop(Timer::Reorder);
            return;
        };
        let timeout_ns = self.round_trip.timeout_ns();
        if let Some(wait_ns) = self.probe_wait_ns(timeout_ns) {
            // No later than the timeout of the first, however often this is called.
            let last_ns = first.sent_ns.saturating_add(timeout_ns).max(now_ns + WAIT_MIN_NS);
            self.timers.stop(Timer::Retransmit);
            self.timers.set(Timer::Probe, now_ns.saturating_add(wait_ns).min(last_ns));
            return;
        }
        self.timers.set(Timer::Retransmit, now_ns.saturating_add(self.limited_by_user(timeout_ns, now_ns)));
    }

    /// New data was sent: the timer is set, and a probe waits for the last of it.
    pub(super) fn arm_after_send(&mut self, was_idle: bool, now_ns: u64) {
        let may_probe = || self.probe_wait_ns(self.round_trip.timeout_ns()).is_some();
        if was_idle || may_probe() || !self.timers.is_set(Timer::Retransmit) {
            self.arm_retransmit(now_ns);
        }
    }

    /// How long a tail loss probe waits (RFC 8985, 7.2); none where the timeout comes first, or something is amiss.
    #[inline]
    fn probe_wait_ns(&self, timeout_ns: u64) -> Option<u64> {
        let may_probe = self.options.has_sack
            && matches!(self.recovery.phase(), Phase::Open | Phase::Reduction)
            && self.send.board.sacked() == 0
            && !self.recovery.has_probe()
            && self.retries == 0;
        if !may_probe {
            return None;
        }
        let smoothed_ns = self.round_trip.smoothed_ns();
        if smoothed_ns == 0 {
            return (PROBE_INITIAL_NS < timeout_ns).then_some(PROBE_INITIAL_NS);
        }
        let is_one_segment = self.send.board.in_flight() <= self.send.mss;
        let wait_ns = 2 * smoothed_ns + if is_one_segment { PROBE_DELAY_NS } else { WAIT_MIN_NS };
        (wait_ns < timeout_ns).then_some(wait_ns)
    }
}

/// Whether the first block reports a duplicate.
fn reports_duplicate(blocks: &[SackBlock], acknowledged: u32) -> bool {
    let Some(first) = blocks.first() else { return false };
    if !is_after(first.1, acknowledged) {
        return true;
    }
    blocks.get(1).is_some_and(|second| !is_before(first.0, second.0) && !is_after(first.1, second.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_below_the_acknowledgement_or_inside_the_next_block() {
        assert!(reports_duplicate(&[(10, 20)], 20));
        assert!(!reports_duplicate(&[(10, 20)], 15));
        assert!(reports_duplicate(&[(30, 40), (30, 60)], 10));
        assert!(!reports_duplicate(&[(30, 40), (50, 60)], 10));
        assert!(!reports_duplicate(&[], 10));
    }
}
