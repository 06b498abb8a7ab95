//! `TCP_INFO`.

use alloc::vec::Vec;

use abi::inet::TcpInfo;
use sync::machine;
use zerocopy::IntoBytes;

use super::engine::{Engine, Information, State};
use super::socket::{Phase, TcpSocket};

/// What Linux shows of a connection through loopback that has just begun.
const LOCAL_MSS: u32 = 65_483;
const LOCAL_WINDOW: u32 = 10;

impl TcpSocket {
    /// The bytes of `struct tcp_info`.
    pub(super) fn information(&self) -> Vec<u8> {
        let mut inner = self.lock_drained();
        let shown = match &mut inner.phase {
            Phase::Wire(wire) => convert(&wire.engine.information(machine::now_ns())),
            Phase::Local(end) => {
                let (received, sent) = end.totals();
                TcpInfo {
                    tcpi_state: end.state() as u8,
                    tcpi_snd_mss: LOCAL_MSS,
                    tcpi_rcv_mss: LOCAL_MSS,
                    tcpi_advmss: LOCAL_MSS,
                    tcpi_snd_cwnd: LOCAL_WINDOW,
                    tcpi_bytes_acked: sent,
                    tcpi_bytes_sent: sent,
                    tcpi_bytes_received: received,
                    ..zeroed()
                }
            }
            Phase::Listening(listener) => {
                // Linux has the queue of a listener in these fields.
                let (backlog, waiting) = listener.backlog();
                let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
                TcpInfo { tcpi_state: State::Listen as u8, tcpi_unacked: waiting, tcpi_sacked: backlog, ..zeroed() }
            }
            Phase::Waiting { .. } => TcpInfo { tcpi_state: State::SynSent as u8, ..zeroed() },
            Phase::Idle => TcpInfo { tcpi_state: State::Closed as u8, ..zeroed() },
        };
        shown.as_bytes().to_vec()
    }
}

fn zeroed() -> TcpInfo {
    zerocopy::FromZeros::new_zeroed()
}

fn convert(from: &Information) -> TcpInfo {
    TcpInfo {
        tcpi_state: from.state,
        tcpi_ca_state: from.congestion_state,
        tcpi_retransmits: from.retransmits,
        tcpi_probes: from.probes,
        tcpi_backoff: from.backoff,
        tcpi_options: from.options,
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
        tcpi_pmtu: from.path_mtu,
        tcpi_rcv_ssthresh: from.receive_slow_start_threshold,
        tcpi_rtt: from.round_trip_us,
        tcpi_rttvar: from.round_trip_variance_us,
        tcpi_snd_ssthresh: from.slow_start_threshold,
        tcpi_snd_cwnd: from.congestion_window,
        tcpi_advmss: from.advertised_mss,
        tcpi_reordering: from.reordering,
        tcpi_rcv_space: from.receive_space,
        tcpi_total_retrans: from.total_retransmits,
        tcpi_bytes_acked: from.bytes_acknowledged,
        tcpi_bytes_received: from.bytes_received,
        tcpi_segs_out: from.segments_out,
        tcpi_segs_in: from.segments_in,
        tcpi_notsent_bytes: from.unsent_bytes,
        tcpi_min_rtt: from.round_trip_min_us,
        tcpi_data_segs_in: from.data_segments_in,
        tcpi_data_segs_out: from.data_segments_out,
        tcpi_delivery_rate: from.delivery_rate,
        tcpi_bytes_sent: from.bytes_sent,
        tcpi_bytes_retrans: from.bytes_retransmitted,
        tcpi_snd_wnd: from.send_window,
        tcpi_rcv_wnd: from.receive_window,
        ..zeroed()
    }
}
