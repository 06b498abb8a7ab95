//! [`Settings`]: what a program sets of a connection, with Linux's defaults.

use super::ecn::EcnMode;
use super::pacing::UNLIMITED as PACING_UNLIMITED;

/// The most that a receive buffer grows to (the last of `net.ipv4.tcp_rmem`).
pub const RECEIVE_BUFFER_MAX: usize = 6 << 20;

/// What may wait for the program, in memory, where there is no more for all connections.
pub(super) const LIMITED_BUFFER: usize = 16 << 10;
const SECOND_NS: u64 = 1_000_000_000;

/// How the sender finds out how much the network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CongestionAlgorithm {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681.
    Reno,
}

/// What a program set, and what it is told, of one connection. Times are nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `TCP_NODELAY`.
    pub is_nodelay: bool,
    /// `TCP_CORK`, or `MSG_MORE` for the last write.
    pub is_corked: bool,
    /// `TCP_QUICKACK` before there is a connection.
    pub is_quickack: bool,
    /// `SO_KEEPALIVE`.
    pub is_keepalive: bool,
    /// `TCP_KEEPIDLE`.
    pub keepalive_idle_ns: u64,
    /// `TCP_KEEPINTVL`.
    pub keepalive_interval_ns: u64,
    /// `TCP_KEEPCNT`.
    pub keepalive_probes: u32,
    /// `TCP_USER_TIMEOUT`; 0 for the default.
    pub user_timeout_ns: u64,
    /// `TCP_SYNCNT`.
    pub syn_retries: u32,
    /// `TCP_LINGER2`: how long FIN-WAIT-2 may last without an owner.
    pub fin_wait_2_ns: u64,
    /// `TCP_MAXSEG`, and what the path allows; the smaller counts.
    pub mss_max: usize,
    /// Bytes that a send may leave in the buffer. Grown by the engine up to `send_buffer_max` unless `is_send_buffer_fixed`.
    pub send_buffer: usize,
    /// See `send_buffer`.
    pub send_buffer_max: usize,
    /// The program chose.
    pub is_send_buffer_fixed: bool,
    /// Bytes that may wait to be read. Grown by the engine up to `receive_buffer_max` unless `is_receive_buffer_fixed`.
    pub receive_buffer: usize,
    /// See `receive_buffer`.
    pub receive_buffer_max: usize,
    /// The program chose.
    pub is_receive_buffer_fixed: bool,
    /// `TCP_WINDOW_CLAMP`; 0 for none.
    pub window_clamp: usize,
    /// `TCP_NOTSENT_LOWAT`.
    pub unsent_low_water: usize,
    /// `SO_OOBINLINE`: urgent bytes stay in the stream.
    pub is_urgent_inline: bool,
    /// `TCP_CONGESTION`.
    pub congestion: CongestionAlgorithm,
    /// `SO_MAX_PACING_RATE` in bytes each second.
    pub pacing_rate_max: u64,
    /// `net.ipv4.tcp_ecn`, when the connection began.
    pub ecn: EcnMode,
    /// The most payload of one emitted segment: 64 KiB less headers where the device cuts, else one MSS.
    pub burst_len_max: usize,
}

impl Default for Settings {
    /// Linux's defaults, on a path of Ethernet's MTU with IPv4 and a device that does not cut.
    fn default() -> Self {
        Self {
            is_nodelay: false,
            is_corked: false,
            is_quickack: true,
            is_keepalive: false,
            keepalive_idle_ns: 7200 * SECOND_NS,
            keepalive_interval_ns: 75 * SECOND_NS,
            keepalive_probes: 9,
            user_timeout_ns: 0,
            syn_retries: 6,
            fin_wait_2_ns: 60 * SECOND_NS,
            mss_max: 1460,
            send_buffer: 16 * 1024,
            send_buffer_max: 4 * 1024 * 1024,
            is_send_buffer_fixed: false,
            receive_buffer: 128 * 1024,
            receive_buffer_max: RECEIVE_BUFFER_MAX,
            is_receive_buffer_fixed: false,
            window_clamp: 0,
            unsent_low_water: usize::MAX,
            is_urgent_inline: false,
            congestion: CongestionAlgorithm::Cubic,
            pacing_rate_max: PACING_UNLIMITED,
            ecn: EcnMode::Agree,
            burst_len_max: 1460,
        }
    }
}
