//! The options of TCP sockets: `IPPROTO_TCP`, and of `IPPROTO_IP` and `IPPROTO_IPV6` what a connection has.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::sync::atomic::Ordering::Relaxed;

use abi::Errno;
use abi::inet::{
    IP_BIND_ADDRESS_NO_PORT, IP_FREEBIND, IP_MTU, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, IP_PMTUDISC_WANT, IP_RECVERR,
    IP_RECVTOS, IP_RECVTTL, IP_TOS, IP_TTL, IPV6_MTU, IPV6_MTU_DISCOVER, IPV6_RECVERR, IPV6_RECVHOPLIMIT,
    IPV6_RECVPKTINFO, IPV6_RECVTCLASS, IPV6_TCLASS, IPV6_UNICAST_HOPS, IPV6_V6ONLY, TCP_CONGESTION, TCP_CORK,
    TCP_DEFER_ACCEPT, TCP_FASTOPEN, TCP_INFO, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_LINGER2, TCP_MAXSEG,
    TCP_NODELAY, TCP_NOTSENT_LOWAT, TCP_QUICKACK, TCP_SYNCNT, TCP_USER_TIMEOUT, TCP_WINDOW_CLAMP,
};
use abi::socket::{
    IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SO_KEEPALIVE, SO_MAX_PACING_RATE, SO_OOBINLINE, SO_RCVBUF, SO_RCVBUFFORCE,
    SO_SNDBUF, SO_SNDBUFFORCE, SOL_SOCKET,
};

use super::engine::{CongestionAlgorithm, EcnMode, Engine, Settings};
use super::socket::{AF_INET6, Inner, Phase, TcpSocket};

const SECOND_NS: u64 = 1_000_000_000;
const MILLISECOND_NS: u64 = 1_000_000;
/// Linux's bounds (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`, `MAX_TCP_KEEPCNT`, `MAX_TCP_SYNCNT`).
const KEEPIDLE_MAX: i32 = 32_767;
const KEEPCNT_MAX: i32 = 127;
/// The longest that FIN-WAIT-2 may be made (`TCP_FIN_TIMEOUT_MAX`), in seconds.
const LINGER2_MAX: i32 = 120;
/// The segments that `TCP_MAXSEG` allows.
const MAXSEG: core::ops::RangeInclusive<i32> = 88..=32_767;
const MAXSEG_DEFAULT: i32 = 536;
/// Bits of `IP_TOS` that ECN has, which a program does not set for TCP.
const ECN_MASK: u8 = 3;
const HOP_LIMIT_DEFAULT: u8 = 64;
/// `TCP_CA_NAME_MAX`.
const CONGESTION_NAME_LEN: usize = 16;

/// What the headers of a connection carry, and related options that are remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpSettings {
    pub(super) traffic_class: u8,
    /// `IP_TTL`; none for the default.
    pub(super) ttl: Option<u8>,
    /// `IPV6_UNICAST_HOPS`.
    pub(super) hops: Option<u8>,
    /// `TCP_MAXSEG`.
    pub(super) mss_max: Option<u16>,
    pub(super) mtu_discover: i32,
    flags: u32,
}

impl Default for IpSettings {
    fn default() -> Self {
        Self { traffic_class: 0, ttl: None, hops: None, mss_max: None, mtu_discover: IP_PMTUDISC_WANT, flags: 0 }
    }
}

impl IpSettings {
    pub(super) fn hop_limit(&self, remote: IpAddr) -> u8 {
        let set = if remote.is_ipv4() { self.ttl } else { self.hops };
        set.unwrap_or(HOP_LIMIT_DEFAULT)
    }

    /// The bit of an option that is kept and has no effect on a stream.
    fn flag_of(level: i32, option: i32) -> Option<u32> {
        Some(match (level, option) {
            (IPPROTO_IP, IP_RECVERR) => 1,
            (IPPROTO_IP, IP_RECVTTL) => 1 << 1,
            (IPPROTO_IP, IP_RECVTOS) => 1 << 2,
            (IPPROTO_IP, IP_FREEBIND) => 1 << 3,
            (IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT) => 1 << 4,
            (IPPROTO_IPV6, IPV6_RECVERR) => 1 << 5,
            (IPPROTO_IPV6, IPV6_RECVPKTINFO) => 1 << 6,
            (IPPROTO_IPV6, IPV6_RECVHOPLIMIT) => 1 << 7,
            (IPPROTO_IPV6, IPV6_RECVTCLASS) => 1 << 8,
            _ => return None,
        })
    }
}

/// The `int` that a program gives; Linux takes the first four bytes of more.
fn int(value: &[u8]) -> Result<i32, Errno> {
    value.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)).ok_or(Errno::EINVAL)
}

/// As [`int`], from one byte where that is all there is (`IPPROTO_IP`'s options).
fn small_int(value: &[u8]) -> Result<i32, Errno> {
    match value {
        [] => Ok(0),
        [byte] | [byte, _] | [byte, _, _] => Ok(i32::from(*byte)),
        value => int(value),
    }
}

fn seconds(value: i32, max: i32) -> Result<u64, Errno> {
    if !(1..=max).contains(&value) {
        return Err(Errno::EINVAL);
    }
    Ok(u64::from(value.unsigned_abs()) * SECOND_NS)
}

impl TcpSocket {
    pub(super) fn set_any_option(&self, level: i32, option: i32, value: &[u8]) -> Result<(), Errno> {
        match level {
            SOL_SOCKET => self.take_common_option(option),
            IPPROTO_TCP => self.set_tcp_option(option, value),
            IPPROTO_IP => self.set_ip_option(option, value),
            IPPROTO_IPV6 if self.domain == AF_INET6 => self.set_ipv6_option(option, value),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    /// An option of all sockets was set, which a connection may have to know.
    fn take_common_option(&self, option: i32) -> Result<(), Errno> {
        let buffers = [SO_SNDBUF, SO_SNDBUFFORCE, SO_RCVBUF, SO_RCVBUFFORCE];
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
        let value = int(value)?;
        let mut inner = self.lock_drained();
        let mut settings = inner.settings;
        match option {
            TCP_NODELAY => settings.is_nodelay = value != 0,
            TCP_CORK => settings.is_corked = value != 0,
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
                inner.ip.mss_max = u16::try_from(value).ok().filter(|mss| *mss != 0);
            }
            TCP_KEEPIDLE => settings.keepalive_idle_ns = seconds(value, KEEPIDLE_MAX)?,
            TCP_KEEPINTVL => settings.keepalive_interval_ns = seconds(value, KEEPIDLE_MAX)?,
            TCP_KEEPCNT => settings.keepalive_probes = u32::try_from(bounded(value, 1, KEEPCNT_MAX)?).unwrap_or(1),
            TCP_SYNCNT => settings.syn_retries = u32::try_from(bounded(value, 1, KEEPCNT_MAX)?).unwrap_or(1),
            // A negative one forbids FIN-WAIT-2 for a socket without an owner.
            TCP_LINGER2 if value < 0 => settings.fin_wait_2_ns = 0,
            TCP_LINGER2 if value == 0 || value > LINGER2_MAX => {
                settings.fin_wait_2_ns = Settings::default().fin_wait_2_ns;
            }
            TCP_LINGER2 => settings.fin_wait_2_ns = u64::from(value.unsigned_abs()) * SECOND_NS,
            TCP_DEFER_ACCEPT => inner.defer_accept_seconds = u32::try_from(value).unwrap_or(0),
            TCP_WINDOW_CLAMP => settings.window_clamp = usize::try_from(value).map_err(|_| Errno::EINVAL)?,
            TCP_USER_TIMEOUT => {
                let value = u64::try_from(value).map_err(|_| Errno::EINVAL)?;
                settings.user_timeout_ns = value * MILLISECOND_NS;
            }
            // 0 stands for the default, which is no limit.
            TCP_NOTSENT_LOWAT if value == 0 => settings.unsent_low_water = usize::MAX,
            TCP_NOTSENT_LOWAT => settings.unsent_low_water = value.cast_unsigned() as usize,
            // No data travels with SYN here: a program that asks for it gets what it gets from a peer that cannot.
            _ => return Err(Errno::ENOPROTOOPT),
        }
        self.apply(&mut inner, settings);
        Ok(())
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

    fn set_ip_option(&self, option: i32, value: &[u8]) -> Result<(), Errno> {
        let value = small_int(value)?;
        let mut inner = self.lock_drained();
        match option {
            IP_TOS => {
                let kept = inner.ip.traffic_class & ECN_MASK;
                inner.ip.traffic_class = value.to_le_bytes()[0] & !ECN_MASK | kept;
            }
            IP_TTL => {
                inner.ip.ttl = match value {
                    -1 => None,
                    1..=255 => u8::try_from(value).ok(),
                    _ => return Err(Errno::EINVAL),
                }
            }
            IP_MTU_DISCOVER if (0..=IP_PMTUDISC_PROBE + 2).contains(&value) => inner.ip.mtu_discover = value,
            IP_MTU_DISCOVER => return Err(Errno::EINVAL),
            _ => return Self::keep(&mut inner, IPPROTO_IP, option, value),
        }
        self.renew_headers(&mut inner);
        Ok(())
    }

    fn set_ipv6_option(&self, option: i32, value: &[u8]) -> Result<(), Errno> {
        let value = int(value)?;
        let mut inner = self.lock_drained();
        match option {
            IPV6_V6ONLY => {
                if inner.bound.is_some() {
                    return Err(Errno::EINVAL);
                }
                inner.is_v6_only = value != 0;
                return Ok(());
            }
            IPV6_UNICAST_HOPS => {
                inner.ip.hops = match value {
                    -1 => None,
                    0..=255 => u8::try_from(value).ok(),
                    _ => return Err(Errno::EINVAL),
                }
            }
            IPV6_TCLASS => {
                let class = match value {
                    -1 => 0,
                    0..=255 => value.to_le_bytes()[0],
                    _ => return Err(Errno::EINVAL),
                };
                inner.ip.traffic_class = class & !ECN_MASK | inner.ip.traffic_class & ECN_MASK;
            }
            IPV6_MTU_DISCOVER if (0..=IP_PMTUDISC_PROBE + 2).contains(&value) => inner.ip.mtu_discover = value,
            IPV6_MTU_DISCOVER => return Err(Errno::EINVAL),
            _ => return Self::keep(&mut inner, IPPROTO_IPV6, option, value),
        }
        self.renew_headers(&mut inner);
        Ok(())
    }

    /// The headers of later segments carry what was set.
    fn renew_headers(&self, inner: &mut Inner) {
        let ip = inner.ip;
        if let Phase::Wire(wire) = &mut inner.phase {
            wire.change_headers(&self.stack, &ip);
        }
    }

    /// Remembers an option that means nothing to a stream.
    fn keep(inner: &mut Inner, level: i32, option: i32, value: i32) -> Result<(), Errno> {
        let flag = IpSettings::flag_of(level, option).ok_or(Errno::ENOPROTOOPT)?;
        inner.ip.flags = if value == 0 { inner.ip.flags & !flag } else { inner.ip.flags | flag };
        Ok(())
    }

    pub(super) fn any_option(&self, level: i32, option: i32, wanted: usize) -> Result<Vec<u8>, Errno> {
        match level {
            SOL_SOCKET => Err(Errno::ENOPROTOOPT),
            IPPROTO_TCP => self.tcp_option(option),
            IPPROTO_IP => {
                let mut value = self.ip_option(option)?;
                if (1..value.len()).contains(&wanted) && value[1..].iter().all(|byte| *byte == 0) {
                    // Who has no room for a number gets its only byte that counts.
                    value.truncate(1);
                }
                Ok(value)
            }
            IPPROTO_IPV6 if self.domain == AF_INET6 => self.ipv6_option(option),
            _ if self.domain == AF_INET6 => Err(Errno::ENOPROTOOPT),
            _ => Err(Errno::EOPNOTSUPP),
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
            TCP_NODELAY => i32::from(settings.is_nodelay),
            TCP_CORK => i32::from(settings.is_corked),
            TCP_QUICKACK => match &inner.phase {
                Phase::Wire(wire) => i32::from(wire.engine.is_quickack()),
                _ => i32::from(settings.is_quickack),
            },
            TCP_MAXSEG => match (&inner.phase, inner.ip.mss_max) {
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
            TCP_NOTSENT_LOWAT => number(settings.unsent_low_water),
            TCP_FASTOPEN => 0,
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(value.to_ne_bytes().to_vec())
    }

    fn ip_option(&self, option: i32) -> Result<Vec<u8>, Errno> {
        let inner = self.inner.lock();
        let value = match option {
            IP_TOS => i32::from(inner.ip.traffic_class),
            IP_TTL => i32::from(inner.ip.ttl.unwrap_or(HOP_LIMIT_DEFAULT)),
            IP_MTU_DISCOVER => inner.ip.mtu_discover,
            IP_MTU => Self::mtu(&inner)?,
            _ => Self::kept(&inner, IPPROTO_IP, option)?,
        };
        Ok(value.to_ne_bytes().to_vec())
    }

    fn ipv6_option(&self, option: i32) -> Result<Vec<u8>, Errno> {
        let inner = self.inner.lock();
        let value = match option {
            IPV6_V6ONLY => i32::from(inner.is_v6_only),
            IPV6_UNICAST_HOPS => i32::from(inner.ip.hops.unwrap_or(HOP_LIMIT_DEFAULT)),
            IPV6_TCLASS => i32::from(inner.ip.traffic_class),
            IPV6_MTU_DISCOVER => inner.ip.mtu_discover,
            IPV6_MTU => Self::mtu(&inner)?,
            _ => Self::kept(&inner, IPPROTO_IPV6, option)?,
        };
        Ok(value.to_ne_bytes().to_vec())
    }

    fn mtu(inner: &Inner) -> Result<i32, Errno> {
        /// Loopback's.
        const LOCAL_MTU: i32 = 65_536;
        match &inner.phase {
            Phase::Wire(wire) => Ok(i32::try_from(wire.route().mtu()).unwrap_or(i32::MAX)),
            Phase::Local(_) => Ok(LOCAL_MTU),
            _ => Err(Errno::ENOTCONN),
        }
    }

    fn kept(inner: &Inner, level: i32, option: i32) -> Result<i32, Errno> {
        let flag = IpSettings::flag_of(level, option).ok_or(Errno::ENOPROTOOPT)?;
        Ok(i32::from(inner.ip.flags & flag != 0))
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

fn bounded(value: i32, min: i32, max: i32) -> Result<i32, Errno> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(Errno::EINVAL) }
}
