//! The options of TCP sockets: `IPPROTO_TCP`, and of `IPPROTO_IP` and `IPPROTO_IPV6` what a connection has.

use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use abi::Errno;
use abi::inet::{
    TCP_CONGESTION, TCP_CORK, TCP_DEFER_ACCEPT, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_KEY,
    TCP_FASTOPEN_NO_COOKIE, TCP_INFO, TCP_INQ, TCP_IS_MPTCP, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_LINGER2,
    TCP_MAXSEG, TCP_NODELAY, TCP_NOTSENT_LOWAT, TCP_QUICKACK, TCP_SYNCNT, TCP_USER_TIMEOUT, TCP_WINDOW_CLAMP,
};
use abi::socket::{
    IPPROTO_TCP, SO_BUF_LOCK, SO_KEEPALIVE, SO_MAX_PACING_RATE, SO_OOBINLINE, SO_RCVBUF, SO_RCVBUFFORCE, SO_SNDBUF,
    SO_SNDBUFFORCE, SOCK_STREAM, SOL_SOCKET,
};

use super::engine::{CongestionAlgorithm, EcnMode, Engine, Settings};
use super::fast_open::{self, CookieKeys};
use super::socket::{AF_INET6, Inner, Phase, TcpSocket};
use crate::socket::Caller;
use crate::socket::inet_options::{Change, Holder};

const SECOND_NS: u64 = 1_000_000_000;
const MILLISECOND_NS: u64 = 1_000_000;
/// Linux's bounds (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`, `MAX_TCP_KEEPCNT`, `MAX_TCP_SYNCNT`).
const KEEPIDLE_MAX: i32 = 32_767;
const KEEPCNT_MAX: i32 = 127;
/// The longest that FIN-WAIT-2 may be made (`TCP_FIN_TIMEOUT_MAX`), in seconds.
const LINGER2_MAX: i32 = 120;
/// The least that `TCP_WINDOW_CLAMP` keeps: half of the least receive buffer (`SOCK_MIN_RCVBUF`).
const WINDOW_CLAMP_MIN: usize = 1152;
/// The segments that `TCP_MAXSEG` allows.
const MAXSEG: core::ops::RangeInclusive<i32> = 88..=32_767;
const MAXSEG_DEFAULT: i32 = 536;
/// `TCP_CA_NAME_MAX`.
const CONGESTION_NAME_LEN: usize = 16;

/// The `int` that a program gives; Linux takes the first four bytes of more.
fn int(value: &[u8]) -> Result<i32, Errno> {
    value.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)).ok_or(Errno::EINVAL)
}

fn seconds(value: i32, max: i32) -> Result<u64, Errno> {
    if !(1..=max).contains(&value) {
        return Err(Errno::EINVAL);
    }
    Ok(u64::from(value.unsigned_abs()) * SECOND_NS)
}

impl TcpSocket {
    pub(super) fn set_any_option(&self, level: i32, option: i32, value: &[u8], caller: &Caller) -> Result<(), Errno> {
        match level {
            SOL_SOCKET => self.take_common_option(option),
            IPPROTO_TCP => self.set_tcp_option(option, value),
            _ => self.set_inet_option(level, option, value, caller),
        }
    }

    /// An option of all sockets was set, which a connection may have to know.
    fn take_common_option(&self, option: i32) -> Result<(), Errno> {
        let buffers = [SO_SNDBUF, SO_SNDBUFFORCE, SO_RCVBUF, SO_RCVBUFFORCE, SO_BUF_LOCK];
        if !matches!(option, SO_KEEPALIVE | SO_OOBINLINE | SO_MAX_PACING_RATE) && !buffers.contains(&option) {
            return Err(Errno::ENOPROTOOPT);
        }
        let mut inner = self.lock_drained();
        let settings = inner.settings;
        self.apply(&mut inner, settings);
        Ok(())
    }

    fn set_tcp_option(&self, option: i32, value: &[u8]) -> Result<(), Errno> {
        if option == TCP_CONGESTION {
            return self.set_congestion(value);
        }
        if option == TCP_FASTOPEN_KEY {
            return self.inner.lock().fast_open.set_keys(value);
        }
        let value = int(value)?;
        let mut inner = self.lock_drained();
        if option == TCP_CORK {
            self.cork(&mut inner, value != 0);
            return Ok(());
        }
        let mut settings = inner.settings;
        match option {
            TCP_NODELAY => settings.is_nodelay = value != 0,
            TCP_QUICKACK => {
                settings.is_quickack = value != 0;
                if let Phase::Wire(wire) = &mut inner.phase {
                    wire.engine.set_quickack(value != 0);
                }
            }
            TCP_MAXSEG => {
                if value != 0 && !MAXSEG.contains(&value) {
                    return Err(Errno::EINVAL);
                }
                inner.mss_max = u16::try_from(value).ok().filter(|mss| *mss != 0);
            }
            TCP_KEEPIDLE => settings.keepalive_idle_ns = seconds(value, KEEPIDLE_MAX)?,
            TCP_KEEPINTVL => settings.keepalive_interval_ns = seconds(value, KEEPIDLE_MAX)?,
            TCP_KEEPCNT => settings.keepalive_probes = u32::try_from(bounded(value, 1, KEEPCNT_MAX)?).unwrap_or(1),
            TCP_SYNCNT => settings.syn_retries = u32::try_from(bounded(value, 1, KEEPCNT_MAX)?).unwrap_or(1),
            // A negative one forbids FIN-WAIT-2 for a socket without an owner.
            TCP_LINGER2 if value < 0 => settings.fin_wait_2_ns = 0,
            TCP_LINGER2 if value == 0 => settings.fin_wait_2_ns = Settings::default().fin_wait_2_ns,
            TCP_LINGER2 => settings.fin_wait_2_ns = u64::from(value.min(LINGER2_MAX).unsigned_abs()) * SECOND_NS,
            TCP_DEFER_ACCEPT => inner.defer_accept_seconds = deferral_seconds(value),
            TCP_WINDOW_CLAMP if value == 0 && !matches!(inner.phase, Phase::Idle) => return Err(Errno::EINVAL),
            TCP_WINDOW_CLAMP if value == 0 => settings.window_clamp = 0,
            TCP_WINDOW_CLAMP => settings.window_clamp = usize::try_from(value).unwrap_or(0).max(WINDOW_CLAMP_MIN),
            TCP_USER_TIMEOUT => {
                let value = u64::try_from(value).map_err(|_| Errno::EINVAL)?;
                settings.user_timeout_ns = value * MILLISECOND_NS;
            }
            // 0 stands for the default, which is no limit.
            TCP_NOTSENT_LOWAT if value == 0 => settings.unsent_low_water = usize::MAX,
            TCP_NOTSENT_LOWAT => settings.unsent_low_water = value.cast_unsigned() as usize,
            TCP_INQ => self.tells_waiting.store(bounded(value, 0, 1)? != 0, Relaxed),
            TCP_FASTOPEN | TCP_FASTOPEN_CONNECT | TCP_FASTOPEN_NO_COOKIE => {
                return fast_open::set_option(self.stack.tcp(), &mut inner, option, value);
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        self.apply(&mut inner, settings);
        Ok(())
    }

    /// `TCP_CORK`, which servers set and take away with each answer.
    fn cork(&self, inner: &mut Inner, is_corked: bool) {
        inner.settings.is_corked = is_corked;
        if let Phase::Wire(wire) = &mut inner.phase {
            wire.cork(is_corked);
            if !is_corked {
                self.settle(inner, sync::machine::now_ns());
            }
        }
    }

    /// Makes `settings` those of the socket and of its engine.
    pub(super) fn apply(&self, inner: &mut Inner, settings: Settings) {
        inner.settings = settings;
        let settings = self.settings_of(inner);
        if let Phase::Wire(wire) = &mut inner.phase {
            wire.change_settings(settings);
            self.settle(inner, sync::machine::now_ns());
        }
    }

    fn set_congestion(&self, value: &[u8]) -> Result<(), Errno> {
        if value.is_empty() {
            return Err(Errno::EINVAL);
        }
        let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
        let algorithm = match name {
            b"cubic" => CongestionAlgorithm::Cubic,
            b"reno" => CongestionAlgorithm::Reno,
            _ => return Err(Errno::ENOENT),
        };
        let mut inner = self.lock_drained();
        let settings = Settings { congestion: algorithm, ..inner.settings };
        self.apply(&mut inner, settings);
        Ok(())
    }

    /// Sets an option of the Internet levels; later segments carry it.
    fn set_inet_option(&self, level: i32, option: i32, value: &[u8], caller: &Caller) -> Result<(), Errno> {
        let holder = self.holder();
        match self.inet.set(level, option, value, holder, caller)? {
            Change::UnicastInterface(index, is_v6) => {
                let is_known = self.stack.interfaces().with(|snapshot| snapshot.interface(index).is_some());
                if index != 0 && !is_known {
                    return Err(Errno::EADDRNOTAVAIL);
                }
                self.inet.set_unicast_interface(index, is_v6);
            }
            Change::Done => {}
            // Not of streams.
            _ => return Err(Errno::ENOPROTOOPT),
        }
        if let Phase::Wire(wire) = &mut self.lock_drained().phase {
            wire.change_headers(&self.stack, &self.inet);
        }
        Ok(())
    }

    /// Whose options of the Internet levels they are.
    fn holder(&self) -> Holder {
        let number = self.inner.lock().bound.as_ref().map_or(0, |bound| bound.claim.port());
        Holder { is_v6: self.domain == AF_INET6, kind: SOCK_STREAM, number }
    }

    pub(super) fn any_option(&self, level: i32, option: i32, wanted: usize) -> Result<Vec<u8>, Errno> {
        match level {
            SOL_SOCKET => Err(Errno::ENOPROTOOPT),
            IPPROTO_TCP => self.tcp_option(option),
            _ => self.inet.get(level, option, wanted, self.holder(), || self.mtu()),
        }
    }

    fn tcp_option(&self, option: i32) -> Result<Vec<u8>, Errno> {
        let inner = self.lock_drained();
        let settings = &inner.settings;
        let in_seconds = |time_ns: u64| i32::try_from(time_ns / SECOND_NS).unwrap_or(i32::MAX);
        let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let value = match option {
            TCP_INFO => {
                drop(inner);
                return Ok(self.information());
            }
            TCP_CONGESTION => {
                let name: &[u8] = match settings.congestion {
                    CongestionAlgorithm::Cubic => b"cubic",
                    CongestionAlgorithm::Reno => b"reno",
                };
                let mut bytes = name.to_vec();
                bytes.resize(CONGESTION_NAME_LEN, 0);
                return Ok(bytes);
            }
            TCP_FASTOPEN_KEY => {
                // Its own: nothing is said of the machine's.
                return Ok(inner.fast_open.keys.iter().flat_map(CookieKeys::iter).flatten().copied().collect());
            }
            TCP_NODELAY => i32::from(settings.is_nodelay),
            TCP_CORK => i32::from(settings.is_corked),
            TCP_QUICKACK => match &inner.phase {
                Phase::Wire(wire) => i32::from(wire.engine.is_quickack()),
                _ => i32::from(settings.is_quickack),
            },
            TCP_MAXSEG => match (&inner.phase, inner.mss_max) {
                (Phase::Wire(wire), _) => number(wire.engine.settings().mss_max),
                (Phase::Local(_), _) => i32::from(u16::MAX) - 40,
                (_, Some(mss)) => i32::from(mss),
                (_, None) => MAXSEG_DEFAULT,
            },
            TCP_KEEPIDLE => in_seconds(settings.keepalive_idle_ns),
            TCP_KEEPINTVL => in_seconds(settings.keepalive_interval_ns),
            TCP_KEEPCNT => settings.keepalive_probes.cast_signed(),
            TCP_SYNCNT => settings.syn_retries.cast_signed(),
            TCP_LINGER2 if settings.fin_wait_2_ns == 0 => -1,
            TCP_LINGER2 => in_seconds(settings.fin_wait_2_ns),
            TCP_DEFER_ACCEPT => i32::try_from(inner.defer_accept_seconds).unwrap_or(i32::MAX),
            TCP_WINDOW_CLAMP => number(settings.window_clamp),
            TCP_USER_TIMEOUT => i32::try_from(settings.user_timeout_ns / MILLISECOND_NS).unwrap_or(i32::MAX),
            TCP_NOTSENT_LOWAT if settings.unsent_low_water == usize::MAX => 0,
            // As an `unsigned int`, which it is.
            TCP_NOTSENT_LOWAT => u32::try_from(settings.unsent_low_water).unwrap_or(u32::MAX).cast_signed(),
            TCP_FASTOPEN => inner.fast_open.queue_max.cast_signed(),
            TCP_FASTOPEN_CONNECT => i32::from(inner.fast_open.is_deferring),
            TCP_FASTOPEN_NO_COOKIE => i32::from(inner.fast_open.needs_no_cookie),
            TCP_IS_MPTCP => 0,
            TCP_INQ => i32::from(self.tells_waiting.load(Relaxed)),
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(value.to_ne_bytes().to_vec())
    }

    /// What the path to the other end takes.
    fn mtu(&self) -> Option<usize> {
        /// Loopback's.
        const LOCAL_MTU: usize = 65_536;
        match &self.inner.lock().phase {
            Phase::Wire(wire) => Some(wire.route().mtu()),
            Phase::Local(_) => Some(LOCAL_MTU),
            _ => None,
        }
    }

    /// The settings of a connection: what the program set for TCP and for all sockets.
    pub(super) fn settings_of(&self, inner: &Inner) -> Settings {
        let options = &self.options;
        let mut settings = inner.settings;
        settings.is_keepalive = options.keepalive.load(Relaxed);
        settings.is_urgent_inline = options.oob_inline.load(Relaxed);
        settings.pacing_rate_max = options.pacing_rate_max.load(Relaxed);
        settings.ecn = EcnMode::of(crate::settings::TCP_ECN.get());
        if options.is_send_buffer_set.load(Relaxed) {
            (settings.send_buffer, settings.is_send_buffer_fixed) = (options.send_buffer_len(), true);
        }
        if options.is_receive_buffer_set.load(Relaxed) {
            (settings.receive_buffer, settings.is_receive_buffer_fixed) = (options.receive_buffer_len(), true);
        }
        settings
    }
}

/// As Linux keeps `TCP_DEFER_ACCEPT`: the time after which as many SYN-ACKs were sent again as fit into `seconds`, each
/// after twice the time.
fn deferral_seconds(seconds: i32) -> u32 {
    /// Linux's first and longest time (`TCP_TIMEOUT_INIT`, `TCP_RTO_MAX`).
    const FIRST_SECONDS: u32 = 1;
    const LONGEST_SECONDS: u32 = 120;
    /// Retransmissions that Linux has room to count.
    const COUNT_MAX: u32 = 255;
    let seconds = u32::try_from(seconds).unwrap_or(0);
    if seconds == 0 {
        return 0;
    }
    let (mut period, mut timeout, mut count) = (FIRST_SECONDS, FIRST_SECONDS, 1);
    while seconds > period && count < COUNT_MAX {
        timeout = (timeout * 2).min(LONGEST_SECONDS);
        period += timeout;
        count += 1;
    }
    period
}

fn bounded(value: i32, min: i32, max: i32) -> Result<i32, Errno> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(Errno::EINVAL) }
}
