//! [`SocketOptions`]: the options of level `SOL_SOCKET` that all kinds of sockets keep alike.
//!
//! `linux` turns `getsockopt` and `setsockopt` into calls of these; what needs more than a number goes on to the socket.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};

use abi::socket::{SO_DEBUG, SO_NO_CHECK, SO_NOFCS, SO_PASSSEC, SO_RXQ_OVFL, SO_SELECT_ERR_QUEUE, SO_WIFI_STATUS};
use sync::machine::NEVER;

/// Linux's default for both buffers (`net.core.rmem_default`).
pub const BUFFER_DEFAULT: u32 = 212_992;
/// The most that `SO_SNDBUF` and `SO_RCVBUF` set without privilege, if [`crate::settings`] say nothing else.
pub const BUFFER_MAX: u32 = 212_992;

/// The bit above the seconds that says that they count.
const LINGERS: u64 = 1 << 32;

bitflags::bitflags! {
    /// Options that are on or off, and few sockets look at.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rare: u32 {
        /// `SO_DEBUG`: there is nothing to be told more of.
        const DEBUG = 1 << 0;
        /// `SO_NO_CHECK`: a checksum may be absent; here it never is.
        const NO_CHECK = 1 << 1;
        /// `SO_PASSSEC`: labels of a security module, of which there is none.
        const PASSSEC = 1 << 2;
        /// `SO_RXQ_OVFL`: packets tell how many before them were lost.
        const RXQ_OVFL = 1 << 3;
        /// `SO_WIFI_STATUS`: of drivers of which there is none.
        const WIFI_STATUS = 1 << 4;
        /// `SO_NOFCS`: of devices whose frames carry a checksum that programs make.
        const NOFCS = 1 << 5;
        /// `SO_SELECT_ERR_QUEUE`: errors that wait are `POLLPRI` as well.
        const SELECT_ERR_QUEUE = 1 << 6;
    }
}

impl Rare {
    /// The flag that an option of level `SOL_SOCKET` is.
    #[must_use]
    pub fn of(option: i32) -> Option<Self> {
        Some(match option {
            SO_DEBUG => Self::DEBUG,
            SO_NO_CHECK => Self::NO_CHECK,
            SO_PASSSEC => Self::PASSSEC,
            SO_RXQ_OVFL => Self::RXQ_OVFL,
            SO_WIFI_STATUS => Self::WIFI_STATUS,
            SO_NOFCS => Self::NOFCS,
            SO_SELECT_ERR_QUEUE => Self::SELECT_ERR_QUEUE,
            _ => return None,
        })
    }
}

/// What all sockets have.
#[derive(Debug)]
pub struct SocketOptions {
    /// See [`SocketOptions::has`].
    rare: AtomicU32,
    /// `SO_PEEK_OFF`: where the next look begins, or -1.
    pub peek_offset: AtomicI32,
    /// `SO_REUSEADDR`.
    pub reuse_address: AtomicBool,
    /// `SO_REUSEPORT`.
    pub reuse_port: AtomicBool,
    /// `SO_KEEPALIVE`.
    pub keepalive: AtomicBool,
    /// `SO_BROADCAST`.
    pub broadcast: AtomicBool,
    /// `SO_DONTROUTE`.
    pub dont_route: AtomicBool,
    /// `SO_OOBINLINE`.
    pub oob_inline: AtomicBool,
    /// `SO_PASSCRED`.
    pub pass_credentials: AtomicBool,
    /// `SO_TIMESTAMP`, `SO_TIMESTAMPNS`: 0 none, 1 microseconds, 2 nanoseconds.
    pub timestamp: AtomicU32,
    /// `SO_LINGER`: see [`SocketOptions::linger_seconds`].
    linger: AtomicU64,
    /// `SO_SNDBUF` as `getsockopt` shows it: doubled.
    pub send_buffer: AtomicU32,
    /// `SO_RCVBUF` as `getsockopt` shows it.
    pub receive_buffer: AtomicU32,
    /// The program has set `SO_SNDBUF`: it is not grown by itself.
    pub is_send_buffer_set: AtomicBool,
    /// The program has set `SO_RCVBUF`.
    pub is_receive_buffer_set: AtomicBool,
    /// `SO_RCVLOWAT`.
    pub receive_low_water: AtomicI32,
    /// `SO_RCVTIMEO` in nanoseconds; [`NEVER`] for none.
    pub receive_timeout_ns: AtomicU64,
    /// `SO_SNDTIMEO` in nanoseconds; [`NEVER`] for none.
    pub send_timeout_ns: AtomicU64,
    /// `SO_PRIORITY`.
    pub priority: AtomicU32,
    /// `SO_MARK`.
    pub mark: AtomicU32,
    /// `SO_BINDTODEVICE`: the interface's number, or 0.
    pub bound_interface: AtomicU32,
    /// `SO_BUSY_POLL` in microseconds.
    pub busy_poll_us: AtomicU32,
    /// `SO_INCOMING_CPU` as set, or -1.
    pub incoming_cpu: AtomicI32,
    /// `SO_MAX_PACING_RATE` in bytes each second; `u64::MAX` for none.
    pub pacing_rate_max: AtomicU64,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self::with_buffers(BUFFER_DEFAULT, BUFFER_DEFAULT)
    }
}

impl SocketOptions {
    /// Options at their defaults, with these sizes for the buffers.
    #[must_use]
    pub fn with_buffers(send: u32, receive: u32) -> Self {
        Self {
            rare: AtomicU32::new(0),
            peek_offset: AtomicI32::new(-1),
            reuse_address: AtomicBool::new(false),
            reuse_port: AtomicBool::new(false),
            keepalive: AtomicBool::new(false),
            broadcast: AtomicBool::new(false),
            dont_route: AtomicBool::new(false),
            oob_inline: AtomicBool::new(false),
            pass_credentials: AtomicBool::new(false),
            timestamp: AtomicU32::new(0),
            linger: AtomicU64::new(0),
            send_buffer: AtomicU32::new(send),
            receive_buffer: AtomicU32::new(receive),
            is_send_buffer_set: AtomicBool::new(false),
            is_receive_buffer_set: AtomicBool::new(false),
            receive_low_water: AtomicI32::new(1),
            receive_timeout_ns: AtomicU64::new(NEVER),
            send_timeout_ns: AtomicU64::new(NEVER),
            priority: AtomicU32::new(0),
            mark: AtomicU32::new(0),
            bound_interface: AtomicU32::new(0),
            busy_poll_us: AtomicU32::new(0),
            incoming_cpu: AtomicI32::new(-1),
            pacing_rate_max: AtomicU64::new(u64::MAX),
        }
    }

    /// Whether an option is on.
    #[must_use]
    pub fn has(&self, option: Rare) -> bool {
        self.rare.load(Relaxed) & option.bits() != 0
    }

    /// Turns an option on or off.
    pub fn set(&self, option: Rare, is_on: bool) {
        if is_on {
            self.rare.fetch_or(option.bits(), Relaxed);
        } else {
            self.rare.fetch_and(!option.bits(), Relaxed);
        }
    }

    /// Where the next look at what waits begins (`SO_PEEK_OFF`).
    #[must_use]
    pub fn peek_start(&self) -> usize {
        usize::try_from(self.peek_offset.load(Relaxed)).unwrap_or(0)
    }

    /// So many bytes were looked at, or taken: later looks begin behind the same byte as before. Off stays off.
    pub fn move_peek_offset(&self, is_peek: bool, len: usize) {
        if self.peek_offset.load(Relaxed) < 0 {
            return;
        }
        let len = i32::try_from(len).unwrap_or(i32::MAX);
        let moved = |offset: i32| match offset {
            ..0 => None,
            offset if is_peek => Some(offset.saturating_add(len)),
            offset => Some(offset.saturating_sub(len).max(0)),
        };
        // None: it is off.
        let _moved = self.peek_offset.fetch_update(Relaxed, Relaxed, moved);
    }

    /// Options with the same values, for a connection that a listener took.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let flag = |flag: &AtomicBool| AtomicBool::new(flag.load(Relaxed));
        let word = |word: &AtomicU32| AtomicU32::new(word.load(Relaxed));
        let number = |number: &AtomicI32| AtomicI32::new(number.load(Relaxed));
        let time = |time: &AtomicU64| AtomicU64::new(time.load(Relaxed));
        Self {
            rare: word(&self.rare),
            peek_offset: number(&self.peek_offset),
            reuse_address: flag(&self.reuse_address),
            reuse_port: flag(&self.reuse_port),
            keepalive: flag(&self.keepalive),
            broadcast: flag(&self.broadcast),
            dont_route: flag(&self.dont_route),
            oob_inline: flag(&self.oob_inline),
            pass_credentials: flag(&self.pass_credentials),
            timestamp: word(&self.timestamp),
            linger: time(&self.linger),
            send_buffer: word(&self.send_buffer),
            receive_buffer: word(&self.receive_buffer),
            is_send_buffer_set: flag(&self.is_send_buffer_set),
            is_receive_buffer_set: flag(&self.is_receive_buffer_set),
            receive_low_water: number(&self.receive_low_water),
            receive_timeout_ns: time(&self.receive_timeout_ns),
            send_timeout_ns: time(&self.send_timeout_ns),
            priority: word(&self.priority),
            mark: word(&self.mark),
            bound_interface: word(&self.bound_interface),
            busy_poll_us: word(&self.busy_poll_us),
            incoming_cpu: number(&self.incoming_cpu),
            pacing_rate_max: time(&self.pacing_rate_max),
        }
    }

    /// How long the last `close` waits for the other end (`SO_LINGER`); none while that is off. Not at all is a reset.
    #[must_use]
    pub fn linger_seconds(&self) -> Option<u32> {
        let linger = self.linger.load(Relaxed);
        (linger & LINGERS != 0).then_some(self.linger_time())
    }

    /// The time that was last set, whether it counts or not.
    #[must_use]
    pub fn linger_time(&self) -> u32 {
        u32::try_from(self.linger.load(Relaxed) & !LINGERS).unwrap_or(u32::MAX)
    }

    /// Sets `SO_LINGER`. Off keeps the time.
    pub fn set_linger(&self, seconds: Option<u32>) {
        let value = seconds.map_or_else(|| self.linger_time().into(), |seconds| LINGERS | u64::from(seconds));
        self.linger.store(value, Relaxed);
    }

    /// Bytes that may wait to be sent.
    #[must_use]
    pub fn send_buffer_len(&self) -> usize {
        self.send_buffer.load(Relaxed) as usize
    }

    /// Bytes, with what their memory takes beside them, that may wait to be received.
    #[must_use]
    pub fn receive_buffer_len(&self) -> usize {
        self.receive_buffer.load(Relaxed) as usize
    }
}
