//! [`InetOptions`]: the options of levels `SOL_IP` and `SOL_IPV6` that datagram sockets have, ip(7) and ipv6(7).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

use abi::Errno;

use super::multicast::MembershipChange;

/// `SOL_IP`.
pub(in crate::socket) const SOL_IP: i32 = 0;
/// `SOL_IPV6`.
pub(in crate::socket) const SOL_IPV6: i32 = 41;

/// TTL and hop limit if the program does not say.
const HOP_LIMIT_DEFAULT: u8 = 64;

mod ip {
    pub(super) const TOS: i32 = 1;
    pub(super) const TTL: i32 = 2;
    pub(super) const HDRINCL: i32 = 3;
    pub(super) const PKTINFO: i32 = 8;
    pub(super) const MTU_DISCOVER: i32 = 10;
    pub(super) const RECVERR: i32 = 11;
    pub(super) const RECVTTL: i32 = 12;
    pub(super) const RECVTOS: i32 = 13;
    pub(super) const MTU: i32 = 14;
    pub(super) const FREEBIND: i32 = 15;
    pub(super) const TRANSPARENT: i32 = 19;
    pub(super) const BIND_ADDRESS_NO_PORT: i32 = 24;
    pub(super) const MULTICAST_IF: i32 = 32;
    pub(super) const MULTICAST_TTL: i32 = 33;
    pub(super) const MULTICAST_LOOP: i32 = 34;
    pub(super) const MULTICAST_ALL: i32 = 49;
    pub(super) const UNICAST_IF: i32 = 50;
}

mod ipv6 {
    pub(super) const UNICAST_HOPS: i32 = 16;
    pub(super) const MULTICAST_IF: i32 = 17;
    pub(super) const MULTICAST_HOPS: i32 = 18;
    pub(super) const MULTICAST_LOOP: i32 = 19;
    pub(super) const MTU_DISCOVER: i32 = 23;
    pub(super) const MTU: i32 = 24;
    pub(super) const RECVERR: i32 = 25;
    pub(super) const V6ONLY: i32 = 26;
    pub(super) const MULTICAST_ALL: i32 = 29;
    pub(super) const RECVPKTINFO: i32 = 49;
    pub(super) const RECVHOPLIMIT: i32 = 51;
    pub(super) const DONTFRAG: i32 = 62;
    pub(super) const RECVTCLASS: i32 = 66;
    pub(super) const TCLASS: i32 = 67;
    pub(super) const AUTOFLOWLABEL: i32 = 70;
    pub(super) const UNICAST_IF: i32 = 76;
    pub(super) const FREEBIND: i32 = 78;
}

bitflags::bitflags! {
    /// What is on or off.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::socket) struct InetFlags: u32 {
        const PKTINFO = 1 << 0;
        const RECVTTL = 1 << 1;
        const RECVTOS = 1 << 2;
        const RECVERR = 1 << 3;
        const FREEBIND = 1 << 4;
        const HDRINCL = 1 << 5;
        const BIND_NO_PORT = 1 << 6;
        const MULTICAST_ALL = 1 << 7;
        const MULTICAST_LOOP = 1 << 8;
        const V6ONLY = 1 << 9;
        const RECVPKTINFO6 = 1 << 10;
        const RECVHOPLIMIT = 1 << 11;
        const RECVTCLASS = 1 << 12;
        const RECVERR6 = 1 << 13;
        const MULTICAST_ALL6 = 1 << 14;
        const MULTICAST_LOOP6 = 1 << 15;
        const DONTFRAG6 = 1 << 16;
        const AUTOFLOWLABEL = 1 << 17;
        const TRANSPARENT = 1 << 18;
    }
}

/// The flag that an option is.
const fn flag_of(level: i32, option: i32) -> Option<InetFlags> {
    Some(match (level, option) {
        (SOL_IP, ip::PKTINFO) => InetFlags::PKTINFO,
        (SOL_IP, ip::RECVTTL) => InetFlags::RECVTTL,
        (SOL_IP, ip::RECVTOS) => InetFlags::RECVTOS,
        (SOL_IP, ip::RECVERR) => InetFlags::RECVERR,
        (SOL_IP, ip::FREEBIND) | (SOL_IPV6, ipv6::FREEBIND) => InetFlags::FREEBIND,
        (SOL_IP, ip::TRANSPARENT) => InetFlags::TRANSPARENT,
        (SOL_IP, ip::HDRINCL) => InetFlags::HDRINCL,
        (SOL_IP, ip::BIND_ADDRESS_NO_PORT) => InetFlags::BIND_NO_PORT,
        (SOL_IP, ip::MULTICAST_ALL) => InetFlags::MULTICAST_ALL,
        (SOL_IP, ip::MULTICAST_LOOP) => InetFlags::MULTICAST_LOOP,
        (SOL_IPV6, ipv6::V6ONLY) => InetFlags::V6ONLY,
        (SOL_IPV6, ipv6::RECVPKTINFO) => InetFlags::RECVPKTINFO6,
        (SOL_IPV6, ipv6::RECVHOPLIMIT) => InetFlags::RECVHOPLIMIT,
        (SOL_IPV6, ipv6::RECVTCLASS) => InetFlags::RECVTCLASS,
        (SOL_IPV6, ipv6::RECVERR) => InetFlags::RECVERR6,
        (SOL_IPV6, ipv6::MULTICAST_ALL) => InetFlags::MULTICAST_ALL6,
        (SOL_IPV6, ipv6::MULTICAST_LOOP) => InetFlags::MULTICAST_LOOP6,
        (SOL_IPV6, ipv6::DONTFRAG) => InetFlags::DONTFRAG6,
        (SOL_IPV6, ipv6::AUTOFLOWLABEL) => InetFlags::AUTOFLOWLABEL,
        _ => return None,
    })
}

/// Options of the Internet levels. Numbers that are -1 stand for the default.
pub(in crate::socket) struct InetOptions {
    flags: AtomicU32,
    ttl: AtomicI32,
    tos: AtomicI32,
    hops: AtomicI32,
    traffic_class: AtomicI32,
    multicast_ttl: AtomicI32,
    multicast_hops: AtomicI32,
    mtu_discover: AtomicI32,
    mtu_discover6: AtomicI32,
    multicast_interface: AtomicU32,
    /// The address given with `IP_MULTICAST_IF`, as bits.
    multicast_source: AtomicU32,
    multicast_interface6: AtomicU32,
    unicast_interface: AtomicU32,
}

impl Default for InetOptions {
    fn default() -> Self {
        let flags = InetFlags::MULTICAST_ALL
            | InetFlags::MULTICAST_ALL6
            | InetFlags::MULTICAST_LOOP
            | InetFlags::MULTICAST_LOOP6
            | InetFlags::AUTOFLOWLABEL;
        Self {
            flags: AtomicU32::new(flags.bits()),
            ttl: AtomicI32::new(-1),
            tos: AtomicI32::new(0),
            hops: AtomicI32::new(-1),
            traffic_class: AtomicI32::new(-1),
            multicast_ttl: AtomicI32::new(1),
            multicast_hops: AtomicI32::new(-1),
            mtu_discover: AtomicI32::new(1),
            mtu_discover6: AtomicI32::new(1),
            multicast_interface: AtomicU32::new(0),
            multicast_source: AtomicU32::new(0),
            multicast_interface6: AtomicU32::new(0),
            unicast_interface: AtomicU32::new(0),
        }
    }
}

/// What is to be done for an option beyond noting a number.
pub(in crate::socket) enum Change {
    /// Nothing.
    Done,
    /// Groups are joined or left.
    Membership(MembershipChange),
    /// `IP_MULTICAST_IF` with an address or a number: see [`InetOptions::set_multicast_interface`].
    MulticastInterface(Option<Ipv4Addr>, u32),
    /// `IPV6_MULTICAST_IF`.
    MulticastInterface6(u32),
}

impl InetOptions {
    /// Whether an option is on.
    pub(in crate::socket) fn has(&self, flag: InetFlags) -> bool {
        self.flags.load(Relaxed) & flag.bits() != 0
    }

    pub(in crate::socket) fn set_flag(&self, flag: InetFlags, is_on: bool) {
        if is_on {
            self.flags.fetch_or(flag.bits(), Relaxed);
        } else {
            self.flags.fetch_and(!flag.bits(), Relaxed);
        }
    }

    /// TTL or hop limit for a destination.
    pub(in crate::socket) fn hop_limit(&self, destination: IpAddr) -> u8 {
        let chosen = match destination {
            IpAddr::V4(group) if group.is_multicast() => &self.multicast_ttl,
            IpAddr::V4(_) => &self.ttl,
            IpAddr::V6(group) if group.is_multicast() => {
                return u8::try_from(self.multicast_hops.load(Relaxed)).unwrap_or(1);
            }
            IpAddr::V6(_) => &self.hops,
        };
        u8::try_from(chosen.load(Relaxed)).unwrap_or(HOP_LIMIT_DEFAULT)
    }

    /// TOS or traffic class for a destination.
    pub(in crate::socket) fn traffic_class(&self, destination: IpAddr) -> u8 {
        let chosen = if destination.is_ipv4() { &self.tos } else { &self.traffic_class };
        u8::try_from(chosen.load(Relaxed)).unwrap_or(0)
    }

    /// The interface for a destination if nothing else says, and the source that goes with it.
    pub(in crate::socket) fn interface(&self, destination: IpAddr) -> (u32, Option<IpAddr>) {
        match destination {
            IpAddr::V4(group) if group.is_multicast() => {
                let source = Ipv4Addr::from_bits(self.multicast_source.load(Relaxed));
                (self.multicast_interface.load(Relaxed), (!source.is_unspecified()).then_some(source.into()))
            }
            IpAddr::V6(group) if group.is_multicast() => (self.multicast_interface6.load(Relaxed), None),
            _ => (self.unicast_interface.load(Relaxed), None),
        }
    }

    /// Whether the copy of a packet to a group comes back.
    pub(in crate::socket) fn loops(&self, destination: IpAddr) -> bool {
        self.has(if destination.is_ipv4() { InetFlags::MULTICAST_LOOP } else { InetFlags::MULTICAST_LOOP6 })
    }

    /// Whether packets may be cut, and whether routers are told not to.
    pub(in crate::socket) fn fragmentation(&self, destination: IpAddr) -> (bool, bool) {
        let mode = if destination.is_ipv4() { &self.mtu_discover } else { &self.mtu_discover6 };
        match mode.load(Relaxed) {
            // DONT, INTERFACE, OMIT.
            0 | 4 | 5 => (true, false),
            // WANT.
            1 => (!(destination.is_ipv6() && self.has(InetFlags::DONTFRAG6)), true),
            // DO, PROBE.
            _ => (false, true),
        }
    }

    /// Notes the interface and source of packets to groups.
    pub(in crate::socket) fn set_multicast_interface(&self, interface: u32, source: Option<Ipv4Addr>) {
        self.multicast_interface.store(interface, Relaxed);
        self.multicast_source.store(source.map_or(0, Ipv4Addr::to_bits), Relaxed);
    }

    /// As [`InetOptions::set_multicast_interface`], for IPv6.
    pub(in crate::socket) fn set_multicast_interface6(&self, interface: u32) {
        self.multicast_interface6.store(interface, Relaxed);
    }

    /// Sets an option. `ENOPROTOOPT`: there is none of this number.
    pub(in crate::socket) fn set(&self, level: i32, option: i32, value: &[u8], is_v6: bool) -> Result<Change, Errno> {
        if level != SOL_IP && (level != SOL_IPV6 || !is_v6) {
            return Err(Errno::ENOPROTOOPT);
        }
        if let Some(change) = MembershipChange::parse(level, option, value)? {
            return Ok(Change::Membership(change));
        }
        if (level, option) == (SOL_IP, ip::MULTICAST_IF) {
            return multicast_interface(value);
        }
        let number = if level == SOL_IP { ip_number(value)? } else { int(value).ok_or(Errno::EINVAL)? };
        if let Some(flag) = flag_of(level, option) {
            self.set_flag(flag, number != 0);
            return Ok(Change::Done);
        }
        let ranged = |range: core::ops::RangeInclusive<i32>| {
            if range.contains(&number) { Ok(number) } else { Err(Errno::EINVAL) }
        };
        match (level, option) {
            (SOL_IP, ip::TOS) => self.tos.store(number & 0xff, Relaxed),
            (SOL_IP, ip::TTL) if number == -1 => self.ttl.store(-1, Relaxed),
            (SOL_IP, ip::TTL) => self.ttl.store(ranged(1..=255)?, Relaxed),
            (SOL_IP, ip::MTU_DISCOVER) => self.mtu_discover.store(ranged(0..=5)?, Relaxed),
            (SOL_IP, ip::MULTICAST_TTL) => {
                self.multicast_ttl.store(if number == -1 { 1 } else { ranged(0..=255)? }, Relaxed)
            }
            (SOL_IP, ip::UNICAST_IF) | (SOL_IPV6, ipv6::UNICAST_IF) => {
                // In network order.
                self.unicast_interface.store(u32::from_be_bytes(number.to_ne_bytes()), Relaxed);
            }
            (SOL_IPV6, ipv6::UNICAST_HOPS) => self.hops.store(ranged(-1..=255)?, Relaxed),
            (SOL_IPV6, ipv6::MULTICAST_HOPS) => self.multicast_hops.store(ranged(-1..=255)?, Relaxed),
            (SOL_IPV6, ipv6::TCLASS) => self.traffic_class.store(ranged(-1..=255)?, Relaxed),
            (SOL_IPV6, ipv6::MTU_DISCOVER) => self.mtu_discover6.store(ranged(0..=5)?, Relaxed),
            (SOL_IPV6, ipv6::MULTICAST_IF) => {
                return Ok(Change::MulticastInterface6(u32::try_from(number).map_err(|_| Errno::ENODEV)?));
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(Change::Done)
    }

    /// The value of an option. `mtu`: of the path to the peer, if there is one.
    pub(in crate::socket) fn get(
        &self,
        level: i32,
        option: i32,
        wanted: usize,
        is_v6: bool,
        mtu: Option<usize>,
    ) -> Result<Vec<u8>, Errno> {
        if !matches!(level, SOL_IP | SOL_IPV6) && (is_v6 || level == abi::socket::SOL_SOCKET) {
            return Err(Errno::ENOPROTOOPT);
        }
        // Linux has another error here than for setting.
        if level != SOL_IP && !is_v6 {
            return Err(Errno::EOPNOTSUPP);
        }
        if let Some(flag) = flag_of(level, option) {
            return Ok(number_bytes(i32::from(self.has(flag)), level, wanted));
        }
        let or_default = |value: i32, default: i32| if value < 0 { default } else { value };
        let number = match (level, option) {
            (SOL_IP, ip::TOS) => self.tos.load(Relaxed),
            (SOL_IP, ip::TTL) => or_default(self.ttl.load(Relaxed), HOP_LIMIT_DEFAULT.into()),
            (SOL_IP, ip::MTU_DISCOVER) => self.mtu_discover.load(Relaxed),
            (SOL_IP, ip::MULTICAST_TTL) => self.multicast_ttl.load(Relaxed),
            (SOL_IP, ip::MULTICAST_IF) => {
                return Ok(Ipv4Addr::from_bits(self.multicast_source.load(Relaxed)).octets().to_vec());
            }
            (SOL_IP, ip::MTU) | (SOL_IPV6, ipv6::MTU) => i32::try_from(mtu.ok_or(Errno::ENOTCONN)?).unwrap_or(i32::MAX),
            (SOL_IP, ip::UNICAST_IF) | (SOL_IPV6, ipv6::UNICAST_IF) => {
                i32::from_ne_bytes(self.unicast_interface.load(Relaxed).to_be_bytes())
            }
            (SOL_IPV6, ipv6::UNICAST_HOPS) => or_default(self.hops.load(Relaxed), HOP_LIMIT_DEFAULT.into()),
            (SOL_IPV6, ipv6::MULTICAST_HOPS) => or_default(self.multicast_hops.load(Relaxed), 1),
            (SOL_IPV6, ipv6::TCLASS) => or_default(self.traffic_class.load(Relaxed), 0),
            (SOL_IPV6, ipv6::MTU_DISCOVER) => self.mtu_discover6.load(Relaxed),
            (SOL_IPV6, ipv6::MULTICAST_IF) => i32::try_from(self.multicast_interface6.load(Relaxed)).unwrap_or(0),
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(number_bytes(number, level, wanted))
    }
}

/// An `int` of the program.
pub(in crate::socket) fn int(value: &[u8]) -> Option<i32> {
    value.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

/// The options of level `SOL_IP` take a single byte as well.
fn ip_number(value: &[u8]) -> Result<i32, Errno> {
    match (int(value), value) {
        (Some(number), _) => Ok(number),
        (None, [byte, ..]) => Ok(i32::from(*byte)),
        // Linux reads no value as 0.
        (None, []) => Ok(0),
    }
}

/// They answer one if there is room for no more and it says all.
fn number_bytes(number: i32, level: i32, wanted: usize) -> Vec<u8> {
    match u8::try_from(number) {
        Ok(byte) if level == SOL_IP && (1..size_of::<i32>()).contains(&wanted) => alloc::vec![byte],
        _ => number.to_ne_bytes().to_vec(),
    }
}

/// `struct in_addr`, `ip_mreq` or `ip_mreqn`.
fn multicast_interface(value: &[u8]) -> Result<Change, Errno> {
    let word = |at: usize| value.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied();
    let address = if value.len() >= 8 { word(4) } else { word(0) }.ok_or(Errno::EINVAL)?;
    let index = word(8).map_or(0, u32::from_ne_bytes);
    let address = Ipv4Addr::from(address);
    Ok(Change::MulticastInterface((!address.is_unspecified()).then_some(address), index))
}
