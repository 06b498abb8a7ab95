//! The figures of `TCP_INFO`.

use sync::machine::NEVER;

use super::connection::Connection;
use super::handshake::advertised_mss;
use super::sequence::{distance, length};
use super::timers::Timer;
use super::{Information, State};

/// `TCPI_OPT_TIMESTAMPS`.
const OPTION_TIMESTAMPS: u8 = 1;
/// `TCPI_OPT_SACK`.
const OPTION_SACK: u8 = 2;
/// `TCPI_OPT_ECN`.
const OPTION_ECN: u8 = 8;
/// `TCPI_OPT_ECN_SEEN`.
const OPTION_ECN_SEEN: u8 = 16;
/// `TCPI_OPT_WSCALE`.
const OPTION_WINDOW_SCALE: u8 = 4;
/// `TCPI_OPT_SYN_DATA`.
const OPTION_SYN_DATA: u8 = 32;

impl Connection {
    /// See [`super::Engine::information`].
    pub(super) fn figures(&self, now_ns: u64) -> Information {
        let mss = self.send.mss.max(1);
        let segments = |bytes: u32| bytes.div_ceil(mss);
        let (send_scale, receive_scale) = self.options.window_scales.unwrap_or((0, 0));
        let counters = &self.counters;
        let phase = self.recovery.phase();
        let (timer, timer_at_ns) = self.shown_timer();
        Information {
            state: self.state as u8,
            congestion_state: phase as u8,
            retransmits: clamp(self.retries),
            probes: clamp(self.probes),
            backoff: clamp(self.round_trip.backoff()),
            options: self.option_bits(),
            send_window_scale: send_scale,
            receive_window_scale: receive_scale,
            retransmit_timeout_us: microseconds(self.round_trip.timeout_ns()),
            acknowledge_timeout_us: microseconds(self.acknowledging.delay_ns(self.round_trip.smoothed_ns())),
            send_mss: self.send.mss,
            receive_mss: self.acknowledging.segment_len(),
            unacknowledged: segments(distance(self.send.una, self.send.next)),
            sacked: segments(self.send.board.sacked()),
            lost: segments(self.send.board.lost()),
            retransmitted: segments(self.send.board.repeated_len()),
            last_data_sent_ms: milliseconds(now_ns, self.send.last_ns),
            last_data_received_ms: milliseconds(now_ns, self.acknowledging.last_data_ns()),
            last_ack_received_ms: milliseconds(now_ns, self.receive.last_ns),
            receive_slow_start_threshold: length(self.settings.receive_buffer / 2),
            round_trip_us: microseconds(self.round_trip.smoothed_ns()),
            round_trip_variance_us: microseconds(self.round_trip.deviation_ns()),
            slow_start_threshold: match self.congestion.threshold() {
                u32::MAX => 0x7fff_ffff,
                threshold => segments(threshold),
            },
            congestion_window: self.congestion.window() / mss,
            advertised_mss: u32::from(advertised_mss(&self.settings)),
            reordering: if self.recovery.has_seen_reordering() { 4 } else { 3 },
            receive_round_trip_us: microseconds(self.receive.window.round_trip_ns()),
            receive_space: u32::try_from(self.receive.window.space()).unwrap_or(u32::MAX),
            total_retransmits: counters.retransmits,
            bytes_acknowledged: counters.bytes_acknowledged,
            bytes_received: counters.bytes_received,
            delivered: self.delivered_segments(),
            segments_out: counters.segments_out,
            segments_in: counters.segments_in,
            unsent_bytes: length(self.unsent_len()),
            round_trip_min_us: match self.round_trip.minimum_ns() {
                u64::MAX => u32::MAX,
                minimum_ns => microseconds(minimum_ns),
            },
            data_segments_in: counters.data_segments_in,
            data_segments_out: counters.data_segments_out,
            delivery_rate: rate(counters.delivery),
            bytes_sent: counters.bytes_sent + counters.bytes_retransmitted,
            bytes_retransmitted: counters.bytes_retransmitted,
            send_window: self.send.window,
            receive_window: self.receive.window.left(self.receive.next),
            fast_open_failure: self.fast_open_outcome().1 as u8,
            timer,
            timer_left_ns: timer_at_ns.saturating_sub(now_ns),
        }
    }

    /// Segments that have arrived, SYN included.
    fn delivered_segments(&self) -> u32 {
        let in_flight =
            self.send.board.in_flight().saturating_add(self.send.board.lost()).div_ceil(self.send.mss.max(1));
        let sent = self.counters.data_segments_out.saturating_sub(self.counters.retransmits);
        let has_begun = u32::from(!matches!(self.state, State::SynSent | State::SynReceived));
        sent.saturating_sub(in_flight).saturating_add(has_begun)
    }

    /// The timer that is shown, in Linux's number, and when it is due.
    fn shown_timer(&self) -> (u8, u64) {
        let due = |timers: &[Timer]| timers.iter().map(|timer| self.timers.at(*timer)).min().unwrap_or(NEVER);
        let repeats_ns = due(&[Timer::Retransmit, Timer::Probe, Timer::Reorder]);
        let idle_ns = due(&[Timer::Keepalive, Timer::Linger]);
        match (repeats_ns, idle_ns) {
            (NEVER, NEVER) => (0, 0),
            (NEVER, idle_ns) => (2, idle_ns),
            (repeats_ns, _) if self.send.board.is_empty() && self.state != State::SynSent => (4, repeats_ns),
            (repeats_ns, _) => (1, repeats_ns),
        }
    }

    fn option_bits(&self) -> u8 {
        let mut bits = 0;
        if self.options.has_timestamps {
            bits |= OPTION_TIMESTAMPS;
        }
        if self.options.has_sack {
            bits |= OPTION_SACK;
        }
        if self.options.window_scales.is_some() {
            bits |= OPTION_WINDOW_SCALE;
        }
        if self.options.has_ecn {
            bits |= OPTION_ECN;
        }
        if self.ecn.has_seen_capable() {
            bits |= OPTION_ECN_SEEN;
        }
        if self.fast_open_outcome().0 {
            bits |= OPTION_SYN_DATA;
        }
        bits
    }
}

/// Bytes each second.
fn rate(delivery: Option<(u64, u64)>) -> u64 {
    let Some((bytes, interval_ns)) = delivery else { return 0 };
    let rate = u128::from(bytes) * 1_000_000_000 / u128::from(interval_ns.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn clamp(count: u32) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

fn microseconds(ns: u64) -> u32 {
    u32::try_from(ns / 1000).unwrap_or(u32::MAX)
}

fn milliseconds(now_ns: u64, since_ns: u64) -> u32 {
    u32::try_from(now_ns.saturating_sub(since_ns) / 1_000_000).unwrap_or(u32::MAX)
}
