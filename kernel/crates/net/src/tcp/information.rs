//! `TCP_INFO`.
//!
//! A connection of the machine with itself has bytes and states; what Linux would count in segments is here what these bytes
//! would fill, and times are too short to show.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::sync::atomic::Ordering::Relaxed;

use abi::inet::TcpInfo;
use sync::machine;
use zerocopy::IntoBytes;

use super::engine::{Engine, Information, Settings, State, window_scale};
use super::local::LocalEnd;
use super::socket::{Phase, TcpSocket};

/// What Linux shows where nothing is known yet: the first timeout and its spread (RFC 6298), the MSS of RFC 9293, a window of RFC 6928.
const FIRST_TIMEOUT_US: u32 = 1_000_000;
const FIRST_VARIANCE_US: u32 = 250_000;
const MSS_DEFAULT: u32 = 536;
const FIRST_WINDOW: u32 = 10;
const REORDERING: u32 = 3;
const NO_THRESHOLD: u32 = 0x7fff_ffff;
/// `TCPI_OPT_TIMESTAMPS`, `TCPI_OPT_SACK`, `TCPI_OPT_WSCALE`.
const LOCAL_OPTIONS: u8 = 7;
/// The largest packets of Linux's loopback, and what headers and timestamps take of them.
const LOCAL_MTU4: u32 = 65_535;
const LOCAL_MTU6: u32 = 65_536;
const LOCAL_HEADERS4: u32 = 52;
const LOCAL_HEADERS6: u32 = 72;
/// What Linux shows for loopback: its least timeout, and its delay of acknowledgements.
const LOCAL_TIMEOUT_US: u32 = 200_000;
const LOCAL_DELAY_US: u32 = 40_000;

impl TcpSocket {
    /// The bytes of `struct tcp_info`.
    pub(super) fn information(&self) -> Vec<u8> {
        let mut inner = self.lock_drained();
        let shown = match &mut inner.phase {
            Phase::Wire(wire) => {
                let information = wire.engine.information(machine::now_ns());
                TcpInfo { tcpi_pmtu: wire.path_mtu(), ..convert(&information) }
            }
            Phase::Local(end) => local(end),
            Phase::Listening(listener) => {
                // Linux has the queue of a listener in these fields.
                let (backlog, waiting) = listener.backlog();
                let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
                TcpInfo {
                    tcpi_state: State::Listen as u8,
                    tcpi_unacked: waiting,
                    tcpi_sacked: backlog,
                    tcpi_snd_cwnd: FIRST_WINDOW,
                    tcpi_reordering: REORDERING,
                    tcpi_pacing_rate: u64::MAX,
                    ..zerocopy::FromZeros::new_zeroed()
                }
            }
            Phase::Waiting { .. } => fresh(State::SynSent),
            Phase::Idle => fresh(State::Closed),
        };
        drop(inner);
        let rate_max = self.options.pacing_rate_max.load(Relaxed);
        let rate = shown.tcpi_pacing_rate.min(rate_max);
        TcpInfo { tcpi_pacing_rate: rate, tcpi_max_pacing_rate: rate_max, ..shown }.as_bytes().to_vec()
    }
}

/// What is shown of a socket that nothing is known of.
fn fresh(state: State) -> TcpInfo {
    TcpInfo {
        tcpi_state: state as u8,
        tcpi_rto: FIRST_TIMEOUT_US,
        tcpi_snd_mss: MSS_DEFAULT,
        tcpi_rttvar: FIRST_VARIANCE_US,
        tcpi_snd_ssthresh: NO_THRESHOLD,
        tcpi_snd_cwnd: FIRST_WINDOW,
        tcpi_reordering: REORDERING,
        tcpi_min_rtt: u32::MAX,
        tcpi_pacing_rate: u64::MAX,
        ..zerocopy::FromZeros::new_zeroed()
    }
}

fn local(end: &LocalEnd) -> TcpInfo {
    let (mtu, headers) = match end.local {
        SocketAddr::V4(_) => (LOCAL_MTU4, LOCAL_HEADERS4),
        SocketAddr::V6(_) => (LOCAL_MTU6, LOCAL_HEADERS6),
    };
    let mss = mtu - headers;
    let traffic = end.traffic();
    let segments = |bytes: u64| u32::try_from(bytes.div_ceil(u64::from(mss))).unwrap_or(u32::MAX);
    let (data_out, data_in) = (segments(traffic.sent), segments(traffic.received));
    let scale = window_scale(&Settings::default());
    // The end takes a number as a byte does, and so does the beginning for who began it.
    let ends = |is_finished: bool| u64::from(is_finished);
    TcpInfo {
        tcpi_options: LOCAL_OPTIONS,
        tcpi_wscale: scale | scale << 4,
        tcpi_rto: LOCAL_TIMEOUT_US,
        tcpi_ato: if traffic.received > 0 { LOCAL_DELAY_US } else { 0 },
        tcpi_snd_mss: mss,
        tcpi_rcv_mss: MSS_DEFAULT,
        tcpi_pmtu: mtu,
        tcpi_rcv_ssthresh: mss,
        tcpi_rtt: 1,
        tcpi_rttvar: 1,
        tcpi_min_rtt: 1,
        tcpi_pacing_rate: rate(FIRST_WINDOW, mss, 1, NO_THRESHOLD),
        tcpi_advmss: mss,
        tcpi_rcv_space: mss,
        tcpi_bytes_acked: traffic.sent + ends(traffic.has_sent_end) + ends(traffic.has_begun),
        tcpi_bytes_sent: traffic.sent,
        tcpi_bytes_received: traffic.received + ends(traffic.has_received_end),
        tcpi_data_segs_out: data_out,
        tcpi_data_segs_in: data_in,
        tcpi_segs_out: data_out.saturating_add(data_in).saturating_add(1),
        tcpi_segs_in: data_out.saturating_add(data_in).saturating_add(1),
        tcpi_delivered: data_out.saturating_add(1),
        tcpi_snd_wnd: u32::try_from(traffic.send_room).unwrap_or(u32::MAX),
        tcpi_rcv_wnd: u32::try_from(traffic.receive_room).unwrap_or(u32::MAX),
        ..fresh(end.state())
    }
}

/// The rate that Linux would send at: what is in flight in a round trip, and more while that grows.
fn rate(window: u32, mss: u32, round_trip_us: u32, threshold: u32) -> u64 {
    let bytes = u64::from(window) * u64::from(mss);
    let percent = if window < threshold / 2 { 200 } else { 120 };
    bytes * 10_000 * percent / u64::from(round_trip_us.max(1))
}

fn convert(from: &Information) -> TcpInfo {
    TcpInfo {
        tcpi_state: from.state,
        tcpi_ca_state: from.congestion_state,
        tcpi_retransmits: from.retransmits,
        tcpi_probes: from.probes,
        tcpi_backoff: from.backoff,
        tcpi_options: from.options,
        tcpi_limits: from.fast_open_failure << 1,
        tcpi_wscale: from.send_window_scale | from.receive_window_scale << 4,
        tcpi_rto: from.retransmit_timeout_us,
        tcpi_ato: from.acknowledge_timeout_us,
        tcpi_snd_mss: from.send_mss,
        tcpi_rcv_mss: from.receive_mss,
        tcpi_unacked: from.unacknowledged,
        tcpi_sacked: from.sacked,
        tcpi_lost: from.lost,
        tcpi_retrans: from.retransmitted,
        tcpi_last_data_sent: from.last_data_sent_ms,
        tcpi_last_data_recv: from.last_data_received_ms,
        tcpi_last_ack_recv: from.last_ack_received_ms,
        tcpi_rcv_ssthresh: from.receive_slow_start_threshold,
        tcpi_rtt: from.round_trip_us,
        tcpi_rttvar: from.round_trip_variance_us,
        tcpi_snd_ssthresh: from.slow_start_threshold,
        tcpi_snd_cwnd: from.congestion_window,
        tcpi_advmss: from.advertised_mss,
        tcpi_reordering: from.reordering,
        tcpi_rcv_space: from.receive_space,
        tcpi_pacing_rate: rate(from.congestion_window, from.send_mss, from.round_trip_us, from.slow_start_threshold),
        tcpi_total_retrans: from.total_retransmits,
        tcpi_bytes_acked: from.bytes_acknowledged,
        tcpi_bytes_received: from.bytes_received,
        tcpi_segs_out: from.segments_out,
        tcpi_segs_in: from.segments_in,
        tcpi_notsent_bytes: from.unsent_bytes,
        tcpi_min_rtt: from.round_trip_min_us,
        tcpi_data_segs_in: from.data_segments_in,
        tcpi_data_segs_out: from.data_segments_out,
        tcpi_delivered: from.delivered,
        tcpi_delivery_rate: from.delivery_rate,
        tcpi_bytes_sent: from.bytes_sent,
        tcpi_bytes_retrans: from.bytes_retransmitted,
        tcpi_snd_wnd: from.send_window,
        tcpi_rcv_wnd: from.receive_window,
        ..zerocopy::FromZeros::new_zeroed()
    }
}
