//! `NETLINK_ROUTE`: interfaces, addresses, routes and neighbours, as `getifaddrs`, `ip` and language libraries list them.
//!
//! Filters other than the family are not applied to lists, as in Linux without `NETLINK_GET_STRICT_CHK`. [`changes`] is
//! what the members of groups are told. Requests to change something are for `change`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use abi::Errno;
use abi::interface::{ARPHRD_ETHER, ARPHRD_LOOPBACK};
use abi::netlink::*;
use abi::socket::{AF_INET, AF_INET6, AF_UNSPEC};
use sync::machine::{self, NEVER};
use zerocopy::{FromBytes, IntoBytes};

use super::change;
use super::change_neighbour::NamedNeighbour;
use super::message::{MessageWriter, attribute, find_attribute, text_attribute};
use crate::Stack;
use crate::flow_key::protocol;
use crate::interface::{
    AddressClass, Interface, InterfaceAddress, Mac, NeighbourState, Origin, RouteEntry, RouteRequest, Scope, Snapshot,
};
use crate::socket::Caller;

/// The queue of a link, as Linux's default is.
const TRANSMIT_QUEUE_LEN: u32 = 1000;
/// The bits of a message type that say what is asked for.
const KIND_MASK: u16 = 3;
/// The kind that asks for something.
const KIND_GET: u16 = 2;
const NS_PER_SECOND: u64 = 1_000_000_000;
/// Lifetimes that do not end.
const FOREVER: u32 = u32::MAX;

/// Whether a request asks for something.
pub(super) fn is_get(request: &Nlmsghdr) -> bool {
    request.nlmsg_type & KIND_MASK == KIND_GET
}

/// Serves one request, whose header is `request` and whose body is `body`.
pub(super) fn serve(
    stack: &Arc<Stack>,
    request: &Nlmsghdr,
    body: &[u8],
    caller: &Caller,
    out: &mut MessageWriter,
) -> Result<(), Errno> {
    if request.nlmsg_type > RTM_MAX {
        return Err(Errno::EOPNOTSUPP);
    }
    // All messages begin with a family.
    let Some(family) = body.first() else { return Ok(()) };
    if !is_get(request) {
        return if caller.is_network_admin { change::serve(stack, request, body) } else { Err(Errno::EPERM) };
    }
    let is_dump = request.nlmsg_flags & NLM_F_DUMP == NLM_F_DUMP
        || (request.nlmsg_flags & NLM_F_DUMP != 0 && request.nlmsg_type != RTM_GETROUTE);
    match (request.nlmsg_type, is_dump) {
        (RTM_GETLINK, true) => links(stack, out),
        (RTM_GETLINK, false) => return one_link(stack, body, out),
        (RTM_GETADDR, true) => addresses(stack, *family, out),
        (RTM_GETROUTE, true) => routes(stack, *family, out),
        (RTM_GETROUTE, false) => return one_route(stack, body, out),
        (RTM_GETNEIGH, true) => neighbours(stack, *family, out)?,
        (RTM_GETNEIGH, false) => return one_neighbour(stack, body, out),
        _ => return Err(Errno::EOPNOTSUPP),
    }
    out.done();
    Ok(())
}

/// The number of an address's family.
fn family_of(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    u8::try_from(family).unwrap_or(0)
}

/// Whether a list for `wanted` shows `address`.
fn is_wanted(wanted: u8, address: IpAddr) -> bool {
    u16::from(wanted) == AF_UNSPEC || wanted == family_of(address)
}

fn address_attribute(bytes: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => attribute(bytes, kind, &address.octets()),
        IpAddr::V6(address) => attribute(bytes, kind, &address.octets()),
    }
}

// ---- Links ----------------------------------------------------------------------------------------------------------

fn links(stack: &Stack, out: &mut MessageWriter) {
    for interface in stack.interfaces().snapshot().interfaces() {
        link(interface, Form::Dump, out);
    }
}

/// What a message is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A list.
    Dump,
    /// The answer to a question for one thing.
    One,
    /// News of something that is there now, or is gone.
    News { is_gone: bool },
}

impl Form {
    fn is_dump(self) -> bool {
        self == Self::Dump
    }

    /// The type of a message: that of news of something gone is the next number.
    fn kind(self, new: u16) -> u16 {
        if self == (Self::News { is_gone: true }) { new + 1 } else { new }
    }
}

/// The link that is named by its number or its name.
fn one_link(stack: &Stack, body: &[u8], out: &mut MessageWriter) -> Result<(), Errno> {
    let (header, attributes) = Ifinfomsg::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
    let snapshot = stack.interfaces().snapshot();
    let name = find_attribute(attributes, IFLA_IFNAME);
    let name = name.and_then(|name| name.split(|byte| *byte == 0).next());
    let found: Option<&Arc<Interface>> = match (header.ifi_index, name) {
        (0, None) => return Err(Errno::EINVAL),
        (0, Some(name)) => snapshot.interfaces().iter().find(|one| one.name().as_bytes() == name),
        (index, _) => snapshot.interfaces().iter().find(|one| one.index().cast_signed() == index),
    };
    link(found.ok_or(Errno::ENODEV)?, Form::One, out);
    Ok(())
}

fn link(interface: &Interface, form: Form, out: &mut MessageWriter) {
    let flags = interface.flags();
    let header = Ifinfomsg {
        ifi_family: 0,
        ifi_padding: 0,
        ifi_type: if interface.is_loopback() { ARPHRD_LOOPBACK } else { ARPHRD_ETHER },
        ifi_index: interface.index().cast_signed(),
        ifi_flags: flags.bits(),
        ifi_change: 0,
    };
    let is_running = flags.bits() & abi::interface::IFF_RUNNING != 0;
    let state = match (interface.is_loopback(), is_running) {
        (true, _) => IF_OPER_UNKNOWN,
        (false, true) => IF_OPER_UP,
        (false, false) => IF_OPER_DOWN,
    };
    out.message(form.kind(RTM_NEWLINK), form.is_dump(), &header, |bytes| {
        text_attribute(bytes, IFLA_IFNAME, interface.name());
        attribute(bytes, IFLA_TXQLEN, &TRANSMIT_QUEUE_LEN.to_ne_bytes());
        attribute(bytes, IFLA_OPERSTATE, &[state]);
        attribute(bytes, IFLA_LINKMODE, &[0]);
        attribute(bytes, IFLA_MTU, &interface.mtu().to_ne_bytes());
        attribute(bytes, IFLA_CARRIER, &[u8::from(is_running)]);
        attribute(bytes, IFLA_ADDRESS, &interface.mac());
        let broadcast = if interface.is_loopback() { [0; 6] } else { [0xff; 6] };
        attribute(bytes, IFLA_BROADCAST, &broadcast);
        attribute(bytes, IFLA_STATS64, statistics(interface).as_bytes());
        attribute(bytes, IFLA_STATS, short_statistics(&statistics(interface)).as_bytes());
    });
}

/// The counters in the order of `struct rtnl_link_stats64`.
fn statistics(interface: &Interface) -> RtnlLinkStats64 {
    let counts = interface.counters();
    let mut counters = [0; 25];
    let known = [
        counts.received_frames,
        counts.sent_frames,
        counts.received_bytes,
        counts.sent_bytes,
        0,
        0,
        counts.receive_drops,
        counts.transmit_drops,
    ];
    counters[..known.len()].copy_from_slice(&known);
    RtnlLinkStats64 { counters }
}

/// The same in 32 bits: `struct rtnl_link_stats`, which has one counter less.
fn short_statistics(long: &RtnlLinkStats64) -> [u32; 24] {
    #[expect(clippy::cast_possible_truncation, reason = "the old counters wrap around")]
    core::array::from_fn(|index| long.counters[index] as u32)
}

// ---- Addresses ------------------------------------------------------------------------------------------------------

fn addresses(stack: &Stack, family: u8, out: &mut MessageWriter) {
    let snapshot = stack.interfaces().snapshot();
    // One family after the other.
    let wanted = || snapshot.addresses().iter().filter(|one| is_wanted(family, one.address));
    let (v4, v6) = (wanted().filter(|one| one.address.is_ipv4()), wanted().filter(|one| one.address.is_ipv6()));
    for one in v4.chain(v6) {
        address(&snapshot, one, Form::Dump, out);
    }
}

fn scope(scope: Scope) -> u8 {
    match scope {
        Scope::Host => RT_SCOPE_HOST,
        Scope::Link => RT_SCOPE_LINK,
        _ => RT_SCOPE_UNIVERSE,
    }
}

/// Seconds until a time.
fn seconds_until(time_ns: u64) -> u32 {
    if time_ns == NEVER {
        return FOREVER;
    }
    u32::try_from(time_ns.saturating_sub(machine::now_ns()) / NS_PER_SECOND).unwrap_or(FOREVER - 1)
}

fn address(snapshot: &Snapshot, one: &InterfaceAddress, form: Form, out: &mut MessageWriter) {
    let Some(interface) = snapshot.interface(one.interface) else { return };
    let flags = if one.valid_until_ns == NEVER { IFA_F_PERMANENT } else { 0 };
    let header = Ifaddrmsg {
        ifa_family: family_of(one.address),
        ifa_prefixlen: one.prefix_len,
        ifa_flags: u8::try_from(flags).unwrap_or(0),
        ifa_scope: scope(one.scope()),
        ifa_index: one.interface,
    };
    out.message(form.kind(RTM_NEWADDR), form.is_dump(), &header, |bytes| {
        address_attribute(bytes, IFA_ADDRESS, one.address);
        if one.address.is_ipv4() {
            address_attribute(bytes, IFA_LOCAL, one.address);
            if let Some(broadcast) = one.broadcast().filter(|_| !interface.is_loopback()) {
                address_attribute(bytes, IFA_BROADCAST, broadcast.into());
            }
            text_attribute(bytes, IFA_LABEL, interface.name());
        }
        attribute(bytes, IFA_FLAGS, &flags.to_ne_bytes());
        let lifetimes = IfaCacheinfo {
            ifa_prefered: seconds_until(one.preferred_until_ns),
            ifa_valid: seconds_until(one.valid_until_ns),
            cstamp: 0,
            tstamp: 0,
        };
        attribute(bytes, IFA_CACHEINFO, lifetimes.as_bytes());
    });
}

// ---- Routes and neighbours ------------------------------------------------------------------------------------------

fn routes(stack: &Stack, family: u8, out: &mut MessageWriter) {
    let snapshot = stack.interfaces().snapshot();
    let mut routes: Vec<&RouteEntry> =
        snapshot.routes().iter().filter(|one| is_wanted(family, one.destination)).collect();
    // As Linux lists them, not as they are tried.
    routes.sort_by_key(|one| (one.destination.is_ipv6(), one.destination, one.prefix_len));
    routes.into_iter().for_each(|one| route(one, Form::Dump, out));
}

/// What a destination comes to.
fn one_route(stack: &Stack, body: &[u8], out: &mut MessageWriter) -> Result<(), Errno> {
    let (header, attributes) = Rtmsg::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
    let address = |kind| {
        let value = find_attribute(attributes, kind)?;
        match u16::from(header.rtm_family) {
            AF_INET => value.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
            AF_INET6 => value.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
            _ => None,
        }
    };
    let nobody = match u16::from(header.rtm_family) {
        AF_INET => IpAddr::from([0_u8; 4]),
        AF_INET6 => IpAddr::from([0_u8; 16]),
        _ => return Err(Errno::EOPNOTSUPP),
    };
    let destination = address(RTA_DST).unwrap_or(nobody);
    let wanted = find_attribute(attributes, RTA_OIF).and_then(|value| value.first_chunk());
    let request = RouteRequest {
        source: address(RTA_SRC),
        interface: wanted.map_or(0, |bytes| u32::from_ne_bytes(*bytes)),
        ..RouteRequest::new(protocol::UDP, destination)
    };
    let found = stack.interfaces().route(&request)?;
    let kind = match found.class() {
        AddressClass::Local => RTN_LOCAL,
        AddressClass::Broadcast => RTN_BROADCAST,
        AddressClass::Multicast => RTN_MULTICAST,
        AddressClass::Remote => RTN_UNICAST,
    };
    // What Linux says of either family.
    let (table, flags) = match destination {
        IpAddr::V4(_) => (RT_TABLE_MAIN, RTM_F_CLONED),
        IpAddr::V6(_) if kind == RTN_LOCAL => (RT_TABLE_LOCAL, 0),
        IpAddr::V6(_) => (RT_TABLE_MAIN, 0),
    };
    let header = Rtmsg {
        rtm_family: header.rtm_family,
        rtm_dst_len: if destination.is_ipv4() { 32 } else { 128 },
        rtm_src_len: 0,
        rtm_tos: 0,
        rtm_table: table,
        rtm_protocol: 0,
        rtm_scope: RT_SCOPE_UNIVERSE,
        rtm_type: kind,
        rtm_flags: flags,
    };
    out.message(RTM_NEWROUTE, false, &header, |bytes| {
        attribute(bytes, RTA_TABLE, &u32::from(table).to_ne_bytes());
        address_attribute(bytes, RTA_DST, destination);
        attribute(bytes, RTA_OIF, &found.interface().index().to_ne_bytes());
        address_attribute(bytes, RTA_PREFSRC, found.source());
        if found.class() == AddressClass::Remote && found.next_hop() != found.destination() {
            address_attribute(bytes, RTA_GATEWAY, found.next_hop());
        }
    });
    Ok(())
}

fn route(one: &RouteEntry, form: Form, out: &mut MessageWriter) {
    let header = Rtmsg {
        rtm_family: family_of(one.destination),
        rtm_dst_len: one.prefix_len,
        rtm_src_len: 0,
        rtm_tos: 0,
        rtm_table: RT_TABLE_MAIN,
        rtm_protocol: match one.origin {
            Origin::Kernel => RTPROT_KERNEL,
            Origin::Static => RTPROT_BOOT,
            Origin::Dhcp => RTPROT_DHCP,
            Origin::Router => RTPROT_RA,
        },
        rtm_scope: match one.gateway {
            None if one.destination.is_ipv4() => RT_SCOPE_LINK,
            _ => RT_SCOPE_UNIVERSE,
        },
        rtm_type: RTN_UNICAST,
        rtm_flags: 0,
    };
    out.message(form.kind(RTM_NEWROUTE), form.is_dump(), &header, |bytes| {
        attribute(bytes, RTA_TABLE, &u32::from(RT_TABLE_MAIN).to_ne_bytes());
        if one.prefix_len > 0 {
            address_attribute(bytes, RTA_DST, one.destination);
        }
        if one.metric > 0 {
            attribute(bytes, RTA_PRIORITY, &one.metric.to_ne_bytes());
        }
        if let Some(source) = one.source {
            address_attribute(bytes, RTA_PREFSRC, source);
        }
        if let Some(gateway) = one.gateway {
            address_attribute(bytes, RTA_GATEWAY, gateway);
        }
        attribute(bytes, RTA_OIF, &one.interface.to_ne_bytes());
    });
}

// ---- Neighbours -----------------------------------------------------------------------------------------------------

fn neighbours(stack: &Stack, family: u8, out: &mut MessageWriter) -> Result<(), Errno> {
    for interface in stack.interfaces().snapshot().interfaces() {
        for (address, mac, state) in interface.neighbours().list()? {
            if is_wanted(family, address) {
                neighbour(interface, (address, mac, state), Form::Dump, out);
            }
        }
    }
    Ok(())
}

/// The neighbour that is named by its interface and its address.
fn one_neighbour(stack: &Stack, body: &[u8], out: &mut MessageWriter) -> Result<(), Errno> {
    let (header, _) = Ndmsg::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
    if header.ndm_padding != [0; 3] || header.ndm_state != 0 || header.ndm_type != 0 || header.ndm_flags != 0 {
        return Err(Errno::EINVAL);
    }
    let named = NamedNeighbour::parse(stack, body)?;
    let (mac, state) = named.interface.neighbours().find(named.address).ok_or(Errno::ENOENT)?;
    neighbour(&named.interface, (named.address, mac, state), Form::One, out);
    Ok(())
}

fn neighbour(
    interface: &Interface,
    (address, mac, state): (IpAddr, Option<Mac>, NeighbourState),
    form: Form,
    out: &mut MessageWriter,
) {
    let header = Ndmsg {
        ndm_family: family_of(address),
        ndm_padding: [0; 3],
        ndm_ifindex: interface.index().cast_signed(),
        ndm_state: state as u16,
        ndm_flags: 0,
        ndm_type: if interface.is_loopback() { RTN_LOCAL } else { RTN_UNICAST },
    };
    out.message(RTM_NEWNEIGH, form.is_dump(), &header, |bytes| {
        address_attribute(bytes, NDA_DST, address);
        if let Some(mac) = mac {
            attribute(bytes, NDA_LLADDR, &mac);
        }
    });
}

// ---- News -----------------------------------------------------------------------------------------------------------

/// A message for the members of a group.
pub(super) struct News {
    pub(super) group: u32,
    pub(super) message: Vec<u8>,
}

/// Appends the message that `write` makes. `ENOBUFS`.
fn tell(news: &mut Vec<News>, group: u32, write: impl FnOnce(&mut MessageWriter)) -> Result<(), Errno> {
    let mut out = MessageWriter::for_news();
    write(&mut out);
    let (datagrams, result) = out.into_datagrams();
    news.try_reserve(datagrams.len()).map_err(|_| Errno::ENOBUFS)?;
    news.extend(datagrams.into_iter().map(|message| News { group, message }));
    result
}

/// What is different in `new`: addresses and routes that came or went. A change of times is none. `ENOBUFS`.
pub(super) fn changes(old: &Snapshot, new: &Snapshot) -> Result<Vec<News>, Errno> {
    let mut news = Vec::new();
    let has_address = |snapshot: &Snapshot, one: &InterfaceAddress| {
        snapshot.addresses_of(one.interface).any(|other| {
            (other.address, other.prefix_len, other.is_assigned()) == (one.address, one.prefix_len, one.is_assigned())
        })
    };
    let has_route =
        |snapshot: &Snapshot, one: &RouteEntry| snapshot.routes().iter().any(|other| other.is_same_way(one));
    for (from, to, is_gone) in [(old, new, true), (new, old, false)] {
        let form = Form::News { is_gone };
        // One that is tried out is no news yet, and when that is over it has not gone.
        for one in from.addresses().iter().filter(|one| one.is_assigned() && !has_address(to, one)) {
            let group = if one.address.is_ipv4() { RTNLGRP_IPV4_IFADDR } else { RTNLGRP_IPV6_IFADDR };
            tell(&mut news, group, |out| address(from, one, form, out))?;
        }
        for one in from.routes().iter().filter(|one| !has_route(to, one)) {
            let group = if one.destination.is_ipv4() { RTNLGRP_IPV4_ROUTE } else { RTNLGRP_IPV6_ROUTE };
            tell(&mut news, group, |out| route(one, form, out))?;
        }
    }
    Ok(news)
}

/// The state of a link has changed.
pub(super) fn link_change(interface: &Interface) -> Result<Vec<News>, Errno> {
    let mut news = Vec::new();
    tell(&mut news, RTNLGRP_LINK, |out| link(interface, Form::News { is_gone: false }, out))?;
    Ok(news)
}
