//! What time does to a connection.
//!
//! # Theory
//!
//! 1. After a timeout all in flight counts as lost, one segment goes out, and the timeout doubles (RFC 6298, 5). As long as what is repeated is
//!    the same, the threshold is reduced once (RFC 5681, 3.1).
//! 2. The connection is given up when that has gone on for as long as Linux's `tcp_retries2` of 15 timeouts last (924.6 s), 8 if nobody owns it
//!    any more, or for `TCP_USER_TIMEOUT`; then the error is what the network has said last, else ETIMEDOUT.
//! 3. With nothing in flight the same timer probes a closed window, at intervals that double; it gives up by the same rules, but never while the
//!    peer answers (RFC 9293, 3.8.6.1).
//! 4. SYN is repeated `syn_retries` times, its answer (in a simultaneous open) five times.

use abi::Errno;

use super::connection::Connection;
use super::recovery::Phase;
use super::round_trip::{TIMEOUT_MIN_NS, doubled, retries_ns};
use super::sequence::{distance, is_before};
use super::timers::Timer;
use super::{Output, State};

/// Linux's `tcp_retries2`.
const RETRIES: u32 = 15;
/// Linux's `tcp_orphan_retries`.
const ORPHAN_RETRIES: u32 = 8;
/// Linux's `tcp_synack_retries`.
const SYN_ANSWER_RETRIES: u32 = 5;
/// Linux's `TCP_TIMEWAIT_LEN`.
pub(super) const TIME_WAIT_NS: u64 = 60_000_000_000;

impl Connection {
    /// Does what is due.
    pub(super) fn run_timers(&mut self, now_ns: u64, output: &mut dyn Output) {
        if self.timers.take_due(Timer::Reorder, now_ns) && self.detect_losses(now_ns) && !self.recovery.is_repairing() {
            self.begin_recovery(&super::scoreboard::Delivery::default());
            self.arm_retransmit(now_ns);
        }
        if self.timers.take_due(Timer::Probe, now_ns) {
            self.probe_tail(now_ns, output);
        }
        if self.timers.take_due(Timer::Retransmit, now_ns) {
            self.retransmit_timeout(now_ns, output);
        }
        if self.timers.take_due(Timer::Acknowledge, now_ns) {
            self.acknowledging.expire(self.round_trip.timeout_base_ns());
        }
        // What may go is looked for in any case.
        self.timers.take_due(Timer::Pace, now_ns);
        if self.timers.take_due(Timer::Cork, now_ns) {
            self.send.is_pushed = true;
        }
        if self.timers.take_due(Timer::Keepalive, now_ns) {
            self.keep_alive(now_ns, output);
        }
        if self.timers.take_due(Timer::Linger, now_ns) {
            self.finish(None);
        }
        self.timers.note_run();
    }

    /// RFC 8985, 7.3.
    fn probe_tail(&mut self, now_ns: u64, output: &mut dyn Output) {
        if self.send.board.is_empty() {
            return;
        }
        let before = self.send.next;
        let has_room = distance(self.send.next, self.send.una.wrapping_add(self.send.window)) >= self.send.mss;
        if is_before(self.send.next, self.send.buffer.end()) && has_room {
            let window = self.congestion.window();
            self.congestion.set_window(self.send.board.in_flight().saturating_add(self.send.mss));
            self.transmit(now_ns, output);
            self.congestion.set_window(window);
        }
        if self.send.next != before {
            self.recovery.begin_probe(self.send.next, false);
        } else if self.emit_last_again(now_ns, output) {
            self.recovery.begin_probe(self.send.next, true);
        }
        let timeout_ns = self.limited_by_user(self.round_trip.timeout_ns(), now_ns);
        self.timers.stop(Timer::Probe);
        self.timers.set(Timer::Retransmit, now_ns.saturating_add(timeout_ns));
    }

    fn retransmit_timeout(&mut self, now_ns: u64, output: &mut dyn Output) {
        match self.state {
            State::SynSent | State::SynReceived => self.repeat_syn(now_ns, output),
            _ if self.send.board.is_empty() => self.probe_window(now_ns, output),
            _ => self.repeat_data(now_ns, output),
        }
    }

    fn repeat_syn(&mut self, now_ns: u64, output: &mut dyn Output) {
        let retries_max = if self.state == State::SynSent { self.settings.syn_retries } else { SYN_ANSWER_RETRIES };
        let since_ns = *self.stalled_since_ns.get_or_insert(self.send.last_ns);
        let is_overdue =
            self.settings.user_timeout_ns != 0 && now_ns.saturating_sub(since_ns) >= self.settings.user_timeout_ns;
        if self.retries >= retries_max || is_overdue {
            self.give_up(output);
            return;
        }
        self.retries += 1;
        self.round_trip.back_off();
        self.counters.retransmits += 1;
        self.congestion.restrict_to_one();
        self.emit_syn(now_ns, output);
        let timeout_ns = self.limited_by_user(self.round_trip.timeout_ns(), now_ns);
        self.timers.set(Timer::Retransmit, now_ns.saturating_add(timeout_ns));
    }

    fn repeat_data(&mut self, now_ns: u64, output: &mut dyn Output) {
        let first_sent_ns = self.send.board.first().map_or(now_ns, |record| record.sent_ns);
        if self.is_given_up(first_sent_ns, now_ns) {
            self.give_up(output);
            return;
        }
        let is_new = self.recovery.phase() != Phase::Loss || !is_before(self.send.una, self.recovery.end());
        if is_new {
            self.reduce();
            let flight = distance(self.send.una, self.send.next);
            self.recovery.begin(Phase::Loss, self.send.una, self.send.next, flight);
        } else {
            self.recovery.move_end(self.send.next);
        }
        if is_new || self.retries > 0 {
            self.recovery.begin_trial();
        }
        self.retries = self.retries.saturating_add(1);
        self.recovery.duplicates = 0;
        self.round_trip.back_off();
        self.send.board.mark_all_lost();
        self.congestion.collapse();
        self.timers.stop(Timer::Reorder);
        self.timers.stop(Timer::Probe);
        self.transmit(now_ns, output);
        let timeout_ns = self.limited_by_user(self.round_trip.timeout_ns(), now_ns);
        self.timers.set(Timer::Retransmit, now_ns.saturating_add(timeout_ns));
    }

    /// Asks the peer for its window, or sends what little fits.
    fn probe_window(&mut self, now_ns: u64, output: &mut dyn Output) {
        if !self.has_unsent() {
            return;
        }
        if self.is_given_up(now_ns, now_ns) {
            self.give_up(output);
            return;
        }
        let before = self.send.next;
        self.probes = self.probes.saturating_add(1);
        if self.send.window > 0 {
            self.transmit_forced(now_ns, output);
        }
        if self.send.next == before {
            self.emit_probe(now_ns, output);
            let wait_ns = doubled(self.round_trip.timeout_base_ns().max(TIMEOUT_MIN_NS), self.probes);
            let wait_ns = self.limited_by_user(wait_ns, now_ns);
            self.timers.set(Timer::Retransmit, now_ns.saturating_add(wait_ns));
        }
    }

    /// Whether it has gone on for too long; `since_ns` is when it began if it begins now.
    fn is_given_up(&mut self, since_ns: u64, now_ns: u64) -> bool {
        let since_ns = *self.stalled_since_ns.get_or_insert(since_ns);
        let retries = if self.is_orphan { ORPHAN_RETRIES } else { RETRIES };
        let limit_ns = match self.settings.user_timeout_ns {
            0 => retries_ns(retries),
            user_ns => user_ns,
        };
        now_ns.saturating_sub(since_ns) >= limit_ns
    }

    fn give_up(&mut self, output: &mut dyn Output) {
        if self.is_synchronized() {
            self.emit_reset(output);
        }
        let error = self.soft_error.take().unwrap_or(Errno::ETIMEDOUT);
        self.finish(Some(error));
    }

    /// A wait, no longer than until `TCP_USER_TIMEOUT` ends.
    pub(super) fn limited_by_user(&self, wait_ns: u64, now_ns: u64) -> u64 {
        match (self.settings.user_timeout_ns, self.stalled_since_ns) {
            (0, _) | (_, None) => wait_ns,
            (user_ns, Some(since_ns)) => {
                wait_ns.min(since_ns.saturating_add(user_ns).saturating_sub(now_ns).max(1_000_000))
            }
        }
    }

    /// Starts or stops the keepalive timer, by what the program has set.
    pub(super) fn start_keepalive(&mut self, now_ns: u64) {
        if self.settings.is_keepalive && self.is_synchronized() && self.state != State::TimeWait {
            self.timers.set(Timer::Keepalive, now_ns.saturating_add(self.settings.keepalive_idle_ns));
        } else {
            self.timers.stop(Timer::Keepalive);
        }
    }

    fn keep_alive(&mut self, now_ns: u64, output: &mut dyn Output) {
        let idle_ns = self.settings.keepalive_idle_ns;
        let quiet_ns = now_ns.saturating_sub(self.receive.last_ns);
        if !self.send.board.is_empty() || self.has_unsent() {
            // What is under way finds out by itself.
            self.timers.set(Timer::Keepalive, now_ns.saturating_add(idle_ns));
            return;
        }
        if quiet_ns < idle_ns {
            self.timers.set(Timer::Keepalive, self.receive.last_ns.saturating_add(idle_ns));
            return;
        }
        let is_gone = match self.settings.user_timeout_ns {
            0 => self.probes >= self.settings.keepalive_probes,
            user_ns => quiet_ns >= user_ns && self.probes > 0,
        };
        if is_gone {
            self.give_up(output);
            return;
        }
        self.probes += 1;
        self.emit_probe(now_ns, output);
        self.timers.set(Timer::Keepalive, now_ns.saturating_add(self.settings.keepalive_interval_ns));
    }
}
