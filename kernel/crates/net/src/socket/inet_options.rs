//! [`InetOptions`]: the options of levels `SOL_IP` and `SOL_IPV6`, ip(7) and ipv6(7), of streams, datagrams and raw sockets.
//!
//! Those that are on or off are bits; what may be said of each is a row of a table. Which of them have an effect is the sockets' business: on a
//! stream most have none, here as on Linux. What is not here is answered by `ENOPROTOOPT`.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::sync::atomic::{AtomicI16, AtomicU8, AtomicU32, Ordering::Relaxed};

use abi::Errno;
use abi::socket::{SOCK_RAW, SOCK_STREAM};

use super::Caller;
use super::datagram::multicast::MembershipChange;

/// `SOL_IP`.
pub(crate) const SOL_IP: i32 = 0;
/// `SOL_IPV6`.
pub(crate) const SOL_IPV6: i32 = 41;

/// Bits of `IP_TOS` and `IPV6_TCLASS` that ECN has, which a program does not set for a stream.
const ECN_MASK: u8 = 3;
/// TTL and hop limit if the program does not say.
const HOP_LIMIT_DEFAULT: u8 = 64;

mod ip {
    pub(super) const TOS: i32 = 1;
    pub(super) const TTL: i32 = 2;
    pub(super) const HDRINCL: i32 = 3;
    pub(super) const OPTIONS: i32 = 4;
    pub(super) const PKTINFO: i32 = 8;
    pub(super) const MTU_DISCOVER: i32 = 10;
    pub(super) const RECVERR: i32 = 11;
    pub(super) const RECVTTL: i32 = 12;
    pub(super) const RECVTOS: i32 = 13;
    pub(super) const MTU: i32 = 14;
    pub(super) const FREEBIND: i32 = 15;
    pub(super) const PASSSEC: i32 = 18;
    pub(super) const TRANSPARENT: i32 = 19;
    pub(super) const RECVORIGDSTADDR: i32 = 20;
    pub(super) const NODEFRAG: i32 = 22;
    pub(super) const BIND_ADDRESS_NO_PORT: i32 = 24;
    pub(super) const MULTICAST_IF: i32 = 32;
    pub(super) const MULTICAST_TTL: i32 = 33;
    pub(super) const MULTICAST_LOOP: i32 = 34;
    pub(super) const MULTICAST_ALL: i32 = 49;
    pub(super) const UNICAST_IF: i32 = 50;
    pub(super) const PROTOCOL: i32 = 52;
}

mod ipv6 {
    pub(super) const OLD_PKTINFO: i32 = 2;
    pub(super) const OLD_HOPLIMIT: i32 = 8;
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
    pub(super) const RECVORIGDSTADDR: i32 = 74;
    pub(super) const TRANSPARENT: i32 = 75;
    pub(super) const UNICAST_IF: i32 = 76;
    pub(super) const FREEBIND: i32 = 78;
}

bitflags::bitflags! {
    /// What is on or off.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct InetFlags: u32 {
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
        /// Labels of a security module, of which there is none: nothing is ever passed.
        const PASSSEC = 1 << 19;
        const RECVORIGDSTADDR = 1 << 20;
        const RECVORIGDSTADDR6 = 1 << 21;
        /// Fragments as they come: with no filter in the way nobody puts them together for a raw socket anyhow.
        const NODEFRAG = 1 << 22;
        /// The forms of RFC 2292 (`IPV6_2292PKTINFO`, `IPV6_2292HOPLIMIT`).
        const OLD_PKTINFO6 = 1 << 23;
        const OLD_HOPLIMIT6 = 1 << 24;
    }
}

/// What may be said of an option that is on or off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Any number; of level `SOL_IP` also none, which is 0, of level `SOL_IPV6` an `int`.
    Any,
    /// Any number, also none.
    AnyOrNone,
    /// There has to be a number.
    Said,
    /// 0 or 1.
    ZeroOrOne,
    /// As [`Rule::Any`], of raw sockets alone.
    Raw,
    /// As [`Rule::Said`], with `CAP_NET_RAW` or `CAP_NET_ADMIN` to set it.
    Privileged,
    /// As [`Rule::Any`], before the socket is bound.
    Unbound,
}

/// The flag that an option is, and what may be said of it.
fn flag_of(level: i32, option: i32) -> Option<(InetFlags, Rule)> {
    /// All of them.
    const FLAGS: [(i32, i32, InetFlags, Rule); 27] = [
        (SOL_IP, ip::PKTINFO, InetFlags::PKTINFO, Rule::Any),
        (SOL_IP, ip::RECVTTL, InetFlags::RECVTTL, Rule::Any),
        (SOL_IP, ip::RECVTOS, InetFlags::RECVTOS, Rule::Any),
        (SOL_IP, ip::RECVERR, InetFlags::RECVERR, Rule::Any),
        (SOL_IP, ip::PASSSEC, InetFlags::PASSSEC, Rule::Any),
        (SOL_IP, ip::RECVORIGDSTADDR, InetFlags::RECVORIGDSTADDR, Rule::Any),
        (SOL_IP, ip::FREEBIND, InetFlags::FREEBIND, Rule::Said),
        (SOL_IP, ip::TRANSPARENT, InetFlags::TRANSPARENT, Rule::Privileged),
        (SOL_IP, ip::HDRINCL, InetFlags::HDRINCL, Rule::Raw),
        (SOL_IP, ip::NODEFRAG, InetFlags::NODEFRAG, Rule::Raw),
        (SOL_IP, ip::BIND_ADDRESS_NO_PORT, InetFlags::BIND_NO_PORT, Rule::Any),
        (SOL_IP, ip::MULTICAST_ALL, InetFlags::MULTICAST_ALL, Rule::ZeroOrOne),
        (SOL_IP, ip::MULTICAST_LOOP, InetFlags::MULTICAST_LOOP, Rule::Said),
        (SOL_IPV6, ipv6::FREEBIND, InetFlags::FREEBIND, Rule::Any),
        (SOL_IPV6, ipv6::TRANSPARENT, InetFlags::TRANSPARENT, Rule::Privileged),
        (SOL_IPV6, ipv6::V6ONLY, InetFlags::V6ONLY, Rule::Unbound),
        (SOL_IPV6, ipv6::OLD_PKTINFO, InetFlags::OLD_PKTINFO6, Rule::Any),
        (SOL_IPV6, ipv6::OLD_HOPLIMIT, InetFlags::OLD_HOPLIMIT6, Rule::Any),
        (SOL_IPV6, ipv6::RECVPKTINFO, InetFlags::RECVPKTINFO6, Rule::Any),
        (SOL_IPV6, ipv6::RECVHOPLIMIT, InetFlags::RECVHOPLIMIT, Rule::Any),
        (SOL_IPV6, ipv6::RECVTCLASS, InetFlags::RECVTCLASS, Rule::Any),
        (SOL_IPV6, ipv6::RECVERR, InetFlags::RECVERR6, Rule::Any),
        (SOL_IPV6, ipv6::RECVORIGDSTADDR, InetFlags::RECVORIGDSTADDR6, Rule::Any),
        (SOL_IPV6, ipv6::MULTICAST_ALL, InetFlags::MULTICAST_ALL6, Rule::Any),
        (SOL_IPV6, ipv6::MULTICAST_LOOP, InetFlags::MULTICAST_LOOP6, Rule::ZeroOrOne),
        (SOL_IPV6, ipv6::DONTFRAG, InetFlags::DONTFRAG6, Rule::AnyOrNone),
        (SOL_IPV6, ipv6::AUTOFLOWLABEL, InetFlags::AUTOFLOWLABEL, Rule::AnyOrNone),
    ];
    FLAGS.iter().find(|row| (row.0, row.1) == (level, option)).map(|row| (row.2, row.3))
}

/// Whose options they are, as far as it matters.
#[derive(Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) is_v6: bool,
    /// `SOCK_`.
    pub(crate) kind: i32,
    /// The protocol of a raw socket; of others the port, or 0.
    pub(crate) number: u16,
}

impl Holder {
    /// Whether it has options of a level. Raw sockets of IPv6 know nothing of IPv4.
    fn has(&self, level: i32) -> bool {
        match level {
            SOL_IP => !self.is_v6 || self.kind != SOCK_RAW,
            SOL_IPV6 => self.is_v6,
            _ => false,
        }
    }
}

/// Options of the Internet levels. Numbers that are -1 stand for the default.
pub(crate) struct InetOptions {
    flags: AtomicU32,
    ttl: AtomicI16,
    hops: AtomicI16,
    traffic_class: AtomicI16,
    multicast_ttl: AtomicI16,
    multicast_hops: AtomicI16,
    tos: AtomicU8,
    mtu_discover: AtomicU8,
    mtu_discover6: AtomicU8,
    multicast_interface: AtomicU32,
    /// The address given with `IP_MULTICAST_IF`, as bits.
    multicast_source: AtomicU32,
    multicast_interface6: AtomicU32,
    unicast_interface: AtomicU32,
    unicast_interface6: AtomicU32,
}

/// What is to be done for an option beyond noting a number.
pub(crate) enum Change {
    /// Nothing.
    Done,
    /// Groups are joined or left.
    Membership(MembershipChange),
    /// `IP_MULTICAST_IF` with an address or a number: see [`InetOptions::set_multicast_interface`].
    MulticastInterface(Option<Ipv4Addr>, u32),
    /// `IPV6_MULTICAST_IF`.
    MulticastInterface6(u32),
    /// `IP_UNICAST_IF` or `IPV6_UNICAST_IF` (true): see [`InetOptions::set_unicast_interface`].
    UnicastInterface(u32, bool),
}

impl InetOptions {
    /// The options of a new socket.
    pub(crate) fn new(is_v6: bool) -> Self {
        let mut flags = InetFlags::MULTICAST_ALL6
            | InetFlags::MULTICAST_LOOP
            | InetFlags::MULTICAST_LOOP6
            | InetFlags::AUTOFLOWLABEL;
        // As Linux has it: an IPv6 socket does not take IPv4's groups of others.
        flags.set(InetFlags::MULTICAST_ALL, !is_v6);
        Self {
            flags: AtomicU32::new(flags.bits()),
            ttl: AtomicI16::new(-1),
            hops: AtomicI16::new(-1),
            traffic_class: AtomicI16::new(-1),
            multicast_ttl: AtomicI16::new(1),
            multicast_hops: AtomicI16::new(-1),
            tos: AtomicU8::new(0),
            mtu_discover: AtomicU8::new(1),
            mtu_discover6: AtomicU8::new(1),
            multicast_interface: AtomicU32::new(0),
            multicast_source: AtomicU32::new(0),
            multicast_interface6: AtomicU32::new(0),
            unicast_interface: AtomicU32::new(0),
            unicast_interface6: AtomicU32::new(0),
        }
    }

    /// Options with the same values, for a connection that a listener took.
    pub(crate) fn duplicate(&self) -> Self {
        let word = |word: &AtomicU32| AtomicU32::new(word.load(Relaxed));
        let half = |half: &AtomicI16| AtomicI16::new(half.load(Relaxed));
        let byte = |byte: &AtomicU8| AtomicU8::new(byte.load(Relaxed));
        Self {
            flags: word(&self.flags),
            ttl: half(&self.ttl),
            hops: half(&self.hops),
            traffic_class: half(&self.traffic_class),
            multicast_ttl: half(&self.multicast_ttl),
            multicast_hops: half(&self.multicast_hops),
            tos: byte(&self.tos),
            mtu_discover: byte(&self.mtu_discover),
            mtu_discover6: byte(&self.mtu_discover6),
            multicast_interface: word(&self.multicast_interface),
            multicast_source: word(&self.multicast_source),
            multicast_interface6: word(&self.multicast_interface6),
            unicast_interface: word(&self.unicast_interface),
            unicast_interface6: word(&self.unicast_interface6),
        }
    }

    /// Whether the socket may have an address that is not the machine's.
    pub(crate) fn may_be_foreign(&self) -> bool {
        self.has(InetFlags::FREEBIND) || self.has(InetFlags::TRANSPARENT)
    }

    /// Whether anything is to be told of packets that are received.
    pub(crate) fn describes(&self) -> bool {
        const TELLING: u32 = InetFlags::PKTINFO
            .union(InetFlags::RECVTTL)
            .union(InetFlags::RECVTOS)
            .union(InetFlags::RECVPKTINFO6)
            .union(InetFlags::RECVHOPLIMIT)
            .union(InetFlags::RECVTCLASS)
            .union(InetFlags::RECVORIGDSTADDR)
            .union(InetFlags::RECVORIGDSTADDR6)
            .union(InetFlags::OLD_PKTINFO6)
            .union(InetFlags::OLD_HOPLIMIT6)
            .bits();
        self.flags.load(Relaxed) & TELLING != 0
    }

    /// Whether an option is on.
    pub(crate) fn has(&self, flag: InetFlags) -> bool {
        self.flags.load(Relaxed) & flag.bits() != 0
    }

    pub(crate) fn set_flag(&self, flag: InetFlags, is_on: bool) {
        if is_on {
            self.flags.fetch_or(flag.bits(), Relaxed);
        } else {
            self.flags.fetch_and(!flag.bits(), Relaxed);
        }
    }

    /// TTL or hop limit for a destination.
    pub(crate) fn hop_limit(&self, destination: IpAddr) -> u8 {
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
    pub(crate) fn traffic_class(&self, destination: IpAddr) -> u8 {
        match destination {
            IpAddr::V4(_) => self.tos.load(Relaxed),
            IpAddr::V6(_) => u8::try_from(self.traffic_class.load(Relaxed)).unwrap_or(0),
        }
    }

    /// The interface for a destination if nothing else says, and the source that goes with it.
    pub(crate) fn interface(&self, destination: IpAddr) -> (u32, Option<IpAddr>) {
        match destination {
            IpAddr::V4(group) if group.is_multicast() => {
                let source = Ipv4Addr::from_bits(self.multicast_source.load(Relaxed));
                (self.multicast_interface.load(Relaxed), (!source.is_unspecified()).then_some(source.into()))
            }
            IpAddr::V6(group) if group.is_multicast() => (self.multicast_interface6.load(Relaxed), None),
            IpAddr::V4(_) => (self.unicast_interface.load(Relaxed), None),
            IpAddr::V6(_) => (self.unicast_interface6.load(Relaxed), None),
        }
    }

    /// Whether the copy of a packet to a group comes back.
    pub(crate) fn loops(&self, destination: IpAddr) -> bool {
        self.has(if destination.is_ipv4() { InetFlags::MULTICAST_LOOP } else { InetFlags::MULTICAST_LOOP6 })
    }

    /// Whether packets may be cut, and whether routers are told not to.
    pub(crate) fn fragmentation(&self, destination: IpAddr) -> (bool, bool) {
        self.fragmentation_of(destination, self.has(InetFlags::DONTFRAG6))
    }

    /// The same of a message that says itself whether packets of IPv6 may be cut.
    pub(crate) fn fragmentation_of(&self, destination: IpAddr, stays_whole6: bool) -> (bool, bool) {
        let mode = if destination.is_ipv4() { &self.mtu_discover } else { &self.mtu_discover6 };
        match mode.load(Relaxed) {
            // DONT, INTERFACE, OMIT.
            0 | 4 | 5 => (true, false),
            // WANT.
            1 => (!(destination.is_ipv6() && stays_whole6), true),
            // DO, PROBE.
            _ => (false, true),
        }
    }

    /// Notes the interface and source of packets to groups.
    pub(crate) fn set_multicast_interface(&self, interface: u32, source: Option<Ipv4Addr>) {
        self.multicast_interface.store(interface, Relaxed);
        self.multicast_source.store(source.map_or(0, Ipv4Addr::to_bits), Relaxed);
    }

    /// As [`InetOptions::set_multicast_interface`], for IPv6.
    pub(crate) fn set_multicast_interface6(&self, interface: u32) {
        self.multicast_interface6.store(interface, Relaxed);
    }

    /// Notes the interface of packets to single machines.
    pub(crate) fn set_unicast_interface(&self, interface: u32, is_v6: bool) {
        let chosen = if is_v6 { &self.unicast_interface6 } else { &self.unicast_interface };
        chosen.store(interface, Relaxed);
    }

    /// Sets an option. `ENOPROTOOPT`: there is none of this number.
    pub(crate) fn set(
        &self,
        level: i32,
        option: i32,
        value: &[u8],
        holder: Holder,
        caller: &Caller,
    ) -> Result<Change, Errno> {
        if !holder.has(level) {
            return Err(Errno::ENOPROTOOPT);
        }
        let is_stream = holder.kind == SOCK_STREAM;
        if let Some(change) = MembershipChange::parse(level, option, value, is_stream)? {
            return Ok(Change::Membership(change));
        }
        if is_stream && matches!((level, option), (SOL_IP, ip::MULTICAST_IF | ip::MULTICAST_TTL)) {
            return Err(Errno::EINVAL);
        }
        match (level, option) {
            (SOL_IP, ip::MULTICAST_IF) => return multicast_interface(value),
            // Packets are sent without options.
            (SOL_IP, ip::OPTIONS) if value.is_empty() => return Ok(Change::Done),
            _ => {}
        }
        let given = if level == SOL_IP { ip_number(value) } else { int(value) };
        if let Some((flag, rule)) = flag_of(level, option) {
            return self.set_ruled(flag, rule, given, level == SOL_IP, (holder, caller)).map(|()| Change::Done);
        }
        let ranged =
            |range: core::ops::RangeInclusive<i32>| given.filter(|number| range.contains(number)).ok_or(Errno::EINVAL);
        // What is in such a range fits.
        let half = |min: i32, max: i32| ranged(min..=max).map(|number| i16::try_from(number).unwrap_or(-1));
        let byte = |min: i32, max: i32| ranged(min..=max).map(|number| u8::try_from(number).unwrap_or(0));
        let or_zero = given.unwrap_or(0);
        match (level, option) {
            (SOL_IP, ip::TOS) => {
                let mask = if is_stream { ECN_MASK } else { 0 };
                let kept = self.tos.load(Relaxed) & mask;
                self.tos.store(or_zero.to_le_bytes()[0] & !mask | kept, Relaxed);
            }
            (SOL_IP, ip::TTL) if given == Some(0) => return Err(Errno::EINVAL),
            (SOL_IP, ip::TTL) => self.ttl.store(half(-1, 255)?, Relaxed),
            (SOL_IP, ip::MTU_DISCOVER) if value.is_empty() => self.mtu_discover.store(0, Relaxed),
            (SOL_IP, ip::MTU_DISCOVER) => self.mtu_discover.store(byte(0, 5)?, Relaxed),
            (SOL_IP, ip::MULTICAST_TTL) => {
                self.multicast_ttl.store(if given == Some(-1) { 1 } else { half(0, 255)? }, Relaxed);
            }
            (SOL_IP, ip::UNICAST_IF) | (SOL_IPV6, ipv6::UNICAST_IF) => {
                let network_order: [u8; 4] = value.try_into().map_err(|_| Errno::EINVAL)?;
                return Ok(Change::UnicastInterface(u32::from_be_bytes(network_order), level == SOL_IPV6));
            }
            (SOL_IPV6, ipv6::UNICAST_HOPS) => self.hops.store(half(-1, 255)?, Relaxed),
            (SOL_IPV6, ipv6::MULTICAST_HOPS) if !is_stream => self.multicast_hops.store(half(-1, 255)?, Relaxed),
            (SOL_IPV6, ipv6::TCLASS) => {
                let class = half(-1, 255)?;
                let kept = self.traffic_class.load(Relaxed).max(0) & i16::from(ECN_MASK);
                let class = if is_stream { class.max(0) & !i16::from(ECN_MASK) | kept } else { class };
                self.traffic_class.store(class, Relaxed);
            }
            (SOL_IPV6, ipv6::MTU_DISCOVER) => self.mtu_discover6.store(byte(0, 5)?, Relaxed),
            (SOL_IPV6, ipv6::MULTICAST_IF) if !is_stream => {
                let number = given.ok_or(Errno::EINVAL)?;
                return Ok(Change::MulticastInterface6(u32::try_from(number).map_err(|_| Errno::ENODEV)?));
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(Change::Done)
    }

    /// Sets a flag, if its rule allows it.
    fn set_ruled(
        &self,
        flag: InetFlags,
        rule: Rule,
        given: Option<i32>,
        is_ipv4: bool,
        (holder, caller): (Holder, &Caller),
    ) -> Result<(), Errno> {
        let may_be_none = rule == Rule::AnyOrNone || (is_ipv4 && matches!(rule, Rule::Any | Rule::Raw));
        if rule == Rule::Raw && holder.kind != SOCK_RAW {
            return Err(Errno::ENOPROTOOPT);
        }
        if given.is_none() && !may_be_none || (rule == Rule::Unbound && holder.number != 0) {
            return Err(Errno::EINVAL);
        }
        let number = given.unwrap_or(0);
        if rule == Rule::ZeroOrOne && !matches!(number, 0 | 1) {
            return Err(Errno::EINVAL);
        }
        let is_allowed = number == 0 || caller.may_use_raw || caller.is_network_admin;
        if rule == Rule::Privileged && !is_allowed {
            return Err(Errno::EPERM);
        }
        self.set_flag(flag, number != 0);
        Ok(())
    }

    /// The value of an option. `mtu`: of the path to the peer, if there is one.
    pub(crate) fn get(
        &self,
        level: i32,
        option: i32,
        wanted: usize,
        holder: Holder,
        mtu: impl FnOnce() -> Option<usize>,
    ) -> Result<Vec<u8>, Errno> {
        if !holder.has(level) {
            // Linux has another error here than for setting.
            let is_strange = !matches!(level, SOL_IP | abi::socket::SOL_SOCKET) && !holder.is_v6;
            return Err(if is_strange { Errno::EOPNOTSUPP } else { Errno::ENOPROTOOPT });
        }
        if let Some((flag, _)) = flag_of(level, option) {
            return Ok(number_bytes(i32::from(self.has(flag)), level, wanted));
        }
        let or_default = |value: &AtomicI16, default: u8| {
            let value = value.load(Relaxed);
            i32::from(if value < 0 { i16::from(default) } else { value })
        };
        let network_order = |interface: &AtomicU32| i32::from_ne_bytes(interface.load(Relaxed).to_be_bytes());
        let number = match (level, option) {
            (SOL_IP, ip::OPTIONS) => return Ok(Vec::new()),
            (SOL_IP, ip::TOS) => i32::from(self.tos.load(Relaxed)),
            (SOL_IP, ip::TTL) => or_default(&self.ttl, HOP_LIMIT_DEFAULT),
            (SOL_IP, ip::MTU_DISCOVER) => i32::from(self.mtu_discover.load(Relaxed)),
            (SOL_IP, ip::MULTICAST_TTL) => i32::from(self.multicast_ttl.load(Relaxed)),
            (SOL_IP, ip::MULTICAST_IF) => {
                return Ok(Ipv4Addr::from_bits(self.multicast_source.load(Relaxed)).octets().to_vec());
            }
            (SOL_IP, ip::MTU) | (SOL_IPV6, ipv6::MTU) => {
                i32::try_from(mtu().ok_or(Errno::ENOTCONN)?).unwrap_or(i32::MAX)
            }
            (SOL_IP, ip::UNICAST_IF) => network_order(&self.unicast_interface),
            (SOL_IP, ip::PROTOCOL) => holder.number.into(),
            (SOL_IPV6, ipv6::UNICAST_IF) => network_order(&self.unicast_interface6),
            (SOL_IPV6, ipv6::UNICAST_HOPS) => or_default(&self.hops, HOP_LIMIT_DEFAULT),
            (SOL_IPV6, ipv6::MULTICAST_HOPS) => or_default(&self.multicast_hops, 1),
            (SOL_IPV6, ipv6::TCLASS) => or_default(&self.traffic_class, 0),
            (SOL_IPV6, ipv6::MTU_DISCOVER) => i32::from(self.mtu_discover6.load(Relaxed)),
            (SOL_IPV6, ipv6::MULTICAST_IF) => i32::try_from(self.multicast_interface6.load(Relaxed)).unwrap_or(0),
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(number_bytes(number, level, wanted))
    }
}

/// An `int` of the program.
pub(crate) fn int(value: &[u8]) -> Option<i32> {
    value.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

/// The options of level `SOL_IP` take a single byte as well.
fn ip_number(value: &[u8]) -> Option<i32> {
    int(value).or_else(|| value.first().map(|byte| i32::from(*byte)))
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
