//! Changes by `NETLINK_ROUTE`: `ip address`, `ip link set` and `ip route`, with Linux's errors.
//!
//! Not there, and `EOPNOTSUPP`: links that are made, renamed or removed, routes of other kinds than to somebody, tables
//! other than the main one, several ways in one route, rules. An interface has an address once, whatever
//! its prefix is.

use alloc::sync::Arc;
use core::net::IpAddr;

use abi::Errno;
use abi::interface::IFF_UP;
use abi::netlink::*;
use abi::socket::{AF_INET, AF_INET6};
use sync::machine::{self, NEVER};
use zerocopy::FromBytes;

use super::change_neighbour;
use super::message::{attributes, find_attribute};
use crate::Stack;
use crate::interface::{InterfaceAddress, Origin, RouteEntry, RouteInsertion, network_of, unspecified};

const NS_PER_SECOND: u64 = 1_000_000_000;
/// The metric of IPv6 routes that name none, as on Linux.
const METRIC_DEFAULT6: u32 = 1024;

/// Serves a request to change something; the caller may.
pub(super) fn serve(stack: &Arc<Stack>, request: &Nlmsghdr, body: &[u8]) -> Result<(), Errno> {
    let flags = request.nlmsg_flags;
    match request.nlmsg_type {
        RTM_NEWLINK | RTM_SETLINK => set_link(stack, request, body),
        RTM_NEWADDR => add_address(stack, flags, &AddressChange::parse(body)?),
        RTM_DELADDR => remove_address(stack, &AddressChange::parse(body)?),
        RTM_NEWROUTE => add_route(stack, flags, &RouteChange::parse(body)?),
        RTM_DELROUTE => remove_route(stack, &RouteChange::parse(body)?),
        RTM_NEWNEIGH => change_neighbour::add(stack, flags, body),
        RTM_DELNEIGH => change_neighbour::remove(stack, body),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// A number in an attribute.
fn number(value: &[u8]) -> Result<u32, Errno> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(Errno::EINVAL)
}

fn number_of(rest: &[u8], kind: u16) -> Result<Option<u32>, Errno> {
    find_attribute(rest, kind).map(number).transpose()
}

/// An address in an attribute.
pub(super) fn address_of(rest: &[u8], kind: u16, family: u8) -> Result<Option<IpAddr>, Errno> {
    let Some(value) = find_attribute(rest, kind) else { return Ok(None) };
    let address = match u16::from(family) {
        AF_INET => value.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        _ => value.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
    };
    address.map(Some).ok_or(Errno::EINVAL)
}

/// The longest prefix of a family; `EOPNOTSUPP` for one that is not there.
pub(super) fn prefix_len_max(family: u8) -> Result<u8, Errno> {
    match u16::from(family) {
        AF_INET => Ok(32),
        AF_INET6 => Ok(128),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

// ---- Links ----------------------------------------------------------------------------------------------------------

/// Switches a link on or off, and sets its MTU.
fn set_link(stack: &Stack, request: &Nlmsghdr, body: &[u8]) -> Result<(), Errno> {
    let (header, rest) = Ifinfomsg::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
    let snapshot = stack.interfaces().snapshot();
    let name = find_attribute(rest, IFLA_IFNAME).and_then(|name| name.split(|byte| *byte == 0).next());
    let found = match (header.ifi_index, name) {
        (1.., _) => snapshot.interfaces().iter().find(|one| one.index().cast_signed() == header.ifi_index),
        (0, Some(name)) => snapshot.interfaces().iter().find(|one| one.name().as_bytes() == name),
        _ => return Err(Errno::EINVAL),
    };
    let is_new = request.nlmsg_type == RTM_NEWLINK;
    let Some(interface) = found else {
        let would_make = is_new && request.nlmsg_flags & NLM_F_CREATE != 0;
        return Err(if would_make { Errno::EOPNOTSUPP } else { Errno::ENODEV });
    };
    if is_new && request.nlmsg_flags & NLM_F_EXCL != 0 {
        return Err(Errno::EEXIST);
    }
    let is_known = |(kind, value): (u16, &[u8])| match kind {
        IFLA_IFNAME => value.split(|byte| *byte == 0).next() == Some(interface.name().as_bytes()),
        kind => matches!(kind, IFLA_MTU | IFLA_EXT_MASK),
    };
    // What cannot be done is refused before anything is.
    if !attributes(rest).all(is_known) {
        return Err(Errno::EOPNOTSUPP);
    }
    if let Some(mtu) = number_of(rest, IFLA_MTU)? {
        stack.interfaces().set_mtu(interface.index(), mtu)?;
    }
    // Without a mask all flags are meant, as by programs of old.
    let changed = if header.ifi_change == 0 { header.ifi_flags } else { header.ifi_change };
    if changed & IFF_UP != 0 {
        stack.interfaces().set_up(interface.index(), header.ifi_flags & IFF_UP != 0)?;
    }
    Ok(())
}

// ---- Addresses ------------------------------------------------------------------------------------------------------

/// What a request says of an address.
struct AddressChange {
    address: InterfaceAddress,
    /// Nobody is asked whether the address is in use.
    skips_detection: bool,
    /// The whole of it was named, not the address alone.
    has_prefix: bool,
}

impl AddressChange {
    fn parse(body: &[u8]) -> Result<Self, Errno> {
        let (header, rest) = Ifaddrmsg::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
        let len_max = prefix_len_max(header.ifa_family)?;
        let local = address_of(rest, IFA_LOCAL, header.ifa_family)?;
        let address = address_of(rest, IFA_ADDRESS, header.ifa_family)?;
        // In IPv4 the other one is that of the other end.
        let own = local.or(if len_max == 32 { None } else { address });
        let is_named = own.or(address).filter(|_| header.ifa_prefixlen <= len_max).ok_or(Errno::EINVAL)?;
        let flags = number_of(rest, IFA_FLAGS)?.unwrap_or(u32::from(header.ifa_flags));
        let mut entry = InterfaceAddress::permanent(header.ifa_index, is_named, header.ifa_prefixlen, Origin::Static);
        if let Some(value) = find_attribute(rest, IFA_CACHEINFO) {
            let (times, _) = IfaCacheinfo::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
            if times.ifa_valid == 0 || times.ifa_prefered > times.ifa_valid {
                return Err(Errno::EINVAL);
            }
            entry.valid_until_ns = after(times.ifa_valid);
            entry.preferred_until_ns = after(times.ifa_prefered);
        }
        let has_prefix = address.is_some();
        Ok(Self { address: entry, skips_detection: flags & IFA_F_NODAD != 0, has_prefix })
    }
}

/// The time in so many seconds; the largest number means never.
fn after(seconds: u32) -> u64 {
    match seconds {
        u32::MAX => NEVER,
        seconds => machine::now_ns().saturating_add(u64::from(seconds) * NS_PER_SECOND),
    }
}

fn add_address(stack: &Arc<Stack>, flags: u16, change: &AddressChange) -> Result<(), Errno> {
    let entry = change.address;
    if entry.address.is_unspecified() || entry.address.is_multicast() {
        return Err(Errno::EINVAL);
    }
    let interfaces = stack.interfaces();
    let added = stack.add_address(entry, !change.skips_detection);
    if added != Err(Errno::EEXIST) || flags & NLM_F_EXCL != 0 || flags & NLM_F_REPLACE == 0 {
        return added;
    }
    interfaces.change_addresses(entry.interface, |own| {
        if own.address == entry.address {
            (own.preferred_until_ns, own.valid_until_ns) = (entry.preferred_until_ns, entry.valid_until_ns);
        }
    });
    Ok(())
}

fn remove_address(stack: &Stack, change: &AddressChange) -> Result<(), Errno> {
    let entry = change.address;
    let is_there = stack.interfaces().with(|snapshot| {
        snapshot.interface(entry.interface).ok_or(Errno::ENODEV)?;
        let is_it = |own: &InterfaceAddress| {
            own.address == entry.address && (!change.has_prefix || own.prefix_len == entry.prefix_len)
        };
        Ok::<bool, Errno>(snapshot.addresses_of(entry.interface).any(is_it))
    })?;
    if !is_there {
        return Err(Errno::EADDRNOTAVAIL);
    }
    stack.interfaces().remove_address(entry.interface, entry.address)
}

// ---- Routes ---------------------------------------------------------------------------------------------------------

/// What a request says of a route.
struct RouteChange {
    route: RouteEntry,
    /// The router is on the link.
    is_on_link: bool,
    /// The metric was named, as was the interface if its number is not 0.
    has_metric: bool,
}

impl RouteChange {
    fn parse(body: &[u8]) -> Result<Self, Errno> {
        let (header, rest) = Rtmsg::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
        let family = header.rtm_family;
        let len_max = prefix_len_max(family)?;
        if header.rtm_dst_len > len_max || header.rtm_type > RTN_MAX {
            return Err(Errno::EINVAL);
        }
        let table = number_of(rest, RTA_TABLE)?.unwrap_or(u32::from(header.rtm_table));
        let is_main = table == u32::from(RT_TABLE_UNSPEC) || table == u32::from(RT_TABLE_MAIN);
        let is_plain = matches!(header.rtm_type, 0 | RTN_UNICAST) && header.rtm_src_len == 0 && header.rtm_tos == 0;
        if !is_main
            || !is_plain
            || [RTA_MULTIPATH, RTA_METRICS].iter().any(|kind| find_attribute(rest, *kind).is_some())
        {
            return Err(Errno::EOPNOTSUPP);
        }
        let nobody = if len_max == 32 { IpAddr::from([0_u8; 4]) } else { IpAddr::from([0_u8; 16]) };
        let named = address_of(rest, RTA_DST, family)?.unwrap_or(nobody);
        let destination = network_of(named, header.rtm_dst_len);
        // IPv6 takes what is behind the prefix away.
        if named.is_ipv4() && named != destination {
            return Err(Errno::EINVAL);
        }
        let metric = number_of(rest, RTA_PRIORITY)?;
        let metric_default = if named.is_ipv4() { 0 } else { METRIC_DEFAULT6 };
        let route = RouteEntry {
            destination,
            prefix_len: header.rtm_dst_len,
            gateway: address_of(rest, RTA_GATEWAY, family)?.filter(|gateway| !gateway.is_unspecified()),
            interface: number_of(rest, RTA_OIF)?.unwrap_or(0),
            metric: metric.filter(|metric| named.is_ipv4() || *metric != 0).unwrap_or(metric_default),
            source: address_of(rest, RTA_PREFSRC, family)?,
            ..RouteEntry::default_via(unspecified(named), 0, 0, Origin::Static)
        };
        let has_metric = metric.is_some_and(|metric| metric != 0);
        Ok(Self { route, is_on_link: header.rtm_flags & RTNH_F_ONLINK != 0, has_metric })
    }
}

fn add_route(stack: &Stack, flags: u16, change: &RouteChange) -> Result<(), Errno> {
    let how = RouteInsertion {
        creates: flags & NLM_F_CREATE != 0,
        is_exclusive: flags & NLM_F_EXCL != 0,
        replaces: flags & NLM_F_REPLACE != 0,
        is_on_link: change.is_on_link,
    };
    stack.interfaces().insert_route(change.route, how)
}

/// Takes away the first route that is what the request names; what it leaves open may be anything.
fn remove_route(stack: &Stack, change: &RouteChange) -> Result<(), Errno> {
    let wanted = change.route;
    let is_it = |known: &RouteEntry| {
        (known.destination, known.prefix_len) == (wanted.destination, wanted.prefix_len)
            && (wanted.interface == 0 || known.interface == wanted.interface)
            && (wanted.gateway.is_none() || known.gateway == wanted.gateway)
            && (!change.has_metric || known.metric == wanted.metric)
            && (wanted.source.is_none() || known.source == wanted.source)
    };
    let mut is_found = false;
    stack.interfaces().retain_routes(|known| {
        let is_gone = !is_found && is_it(known);
        is_found |= is_gone;
        !is_gone
    });
    if is_found { Ok(()) } else { Err(Errno::ESRCH) }
}
