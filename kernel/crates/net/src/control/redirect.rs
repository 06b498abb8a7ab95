//! Redirects: a router names a better next hop for one destination (RFC 1122, section 3.2.2.2; RFC 4861, section 8).
//!
//! They are followed by Linux's rules, unless `accept_redirects` says no:
//!
//! 1. Only from who is the next hop of that destination at the time, on the link where packets for it leave.
//! 2. Only if they quote a packet of a flow that exists, or an echo; in IPv6 they may quote nothing.
//! 3. In IPv4 the new router must be a machine, and its link address known: if it is not, it is asked for, and the next
//!    redirect counts. In IPv6 it is the link-local address of a router, with the link address in the message, or the
//!    destination itself, which then is on the link.
//!
//! What was learnt is forgotten after five minutes, or when the way that it replaces changes.

use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sync::machine;

use super::packet::IpPacket;
use super::{arp, icmp};
use crate::Stack;
use crate::flow_key::protocol;
use crate::interface::{AddressClass, Evidence, Interface, Mac};

/// Linux's `ip_rt_gc_timeout`.
const KEPT_NS: u64 = 300_000_000_000;
/// Bytes of an ICMP header.
const HEADER_LEN: usize = 8;
/// Codes: for a network or a host, with or without a class of service. Each counts for the host.
const CODES4: core::ops::RangeInclusive<u8> = 0..=3;

/// Takes a redirect of IPv4 whose checksum is right.
pub(super) fn handle4(stack: &Arc<Stack>, interface: &Arc<Interface>, packet: &IpPacket) {
    let body = packet.body();
    let (Some(code), Some(&[a, b, c, d])) = (body.get(1), body.get(4..HEADER_LEN)) else { return };
    let quoted = body.get(HEADER_LEN..).unwrap_or_default();
    let Some(destination) = quoted_destination(stack, quoted) else { return };
    let gateway = Ipv4Addr::new(a, b, c, d);
    let is_machine = stack.interfaces().class_of(gateway.into()) == AddressClass::Remote && a != 0;
    if !CODES4.contains(code) || !is_machine || !interface.accepts_redirects(true) {
        return;
    }
    let (gateway, now_ns) = (IpAddr::V4(gateway), machine::now_ns());
    if !is_from_next_hop(stack, interface, packet.source, destination) || packet.source == gateway {
        return;
    }
    let neighbours = interface.neighbours();
    let Some(neighbour) = neighbours.get(gateway, now_ns) else { return };
    match neighbours.use_or_queue(&neighbour, &mut alloc::vec::Vec::new(), now_ns) {
        Ok(_) => learn(stack, interface, destination, gateway, now_ns),
        Err(Some(question)) => {
            if let IpAddr::V4(address) = question.address {
                arp::solicit(stack, interface, address, question.mac, None);
                stack.control().request_poll(stack, now_ns);
            }
        }
        Err(None) => {}
    }
}

/// A redirect of IPv6: what its message says.
pub(super) struct Redirect6<'a> {
    /// The better next hop.
    pub(super) target: Ipv6Addr,
    /// For whom.
    pub(super) destination: Ipv6Addr,
    /// The link address of the next hop.
    pub(super) mac: Option<Mac>,
    /// The packet that caused it; empty if it says nothing of that.
    pub(super) quoted: &'a [u8],
}

/// Takes a redirect of IPv6 whose checksum, hop limit and options are right.
pub(super) fn handle6(stack: &Arc<Stack>, interface: &Arc<Interface>, packet: &IpPacket, redirect: &Redirect6<'_>) {
    let Redirect6 { target, destination, .. } = *redirect;
    let is_on_link = target == destination;
    let is_router = target.is_unicast_link_local();
    let is_quoting =
        redirect.quoted.is_empty() || quoted_destination(stack, redirect.quoted) == Some(destination.into());
    let is_from_link = matches!(packet.source, IpAddr::V6(source) if source.is_unicast_link_local());
    if destination.is_multicast() || !(is_on_link || is_router) || !is_from_link || !is_quoting {
        return;
    }
    let is_own = stack.interfaces().is_local(target.into());
    if is_own || !interface.accepts_redirects(false) {
        return;
    }
    if !is_from_next_hop(stack, interface, packet.source, destination.into()) || packet.source == IpAddr::V6(target) {
        return;
    }
    if let Some(mac) = redirect.mac {
        arp::learn(interface, target.into(), mac, Evidence::Claim, true);
    }
    learn(stack, interface, destination.into(), target.into(), machine::now_ns());
}

/// The destination of a packet of ours, if its flow exists.
fn quoted_destination(stack: &Stack, quoted: &[u8]) -> Option<IpAddr> {
    let (key, _) = icmp::quoted_flow(quoted)?;
    let is_echo = matches!(key.protocol, protocol::ICMP | protocol::ICMPV6);
    let is_known =
        if is_echo { stack.interfaces().is_local(key.local_end().ip()) } else { icmp::find(stack, &key).is_some() };
    is_known.then(|| key.remote_end().ip())
}

fn is_from_next_hop(stack: &Stack, interface: &Interface, source: IpAddr, destination: IpAddr) -> bool {
    stack.interfaces().with(|snapshot| snapshot.next_hop(destination)) == Some((interface.index(), source))
}

fn learn(stack: &Stack, interface: &Interface, destination: IpAddr, gateway: IpAddr, now_ns: u64) {
    let until_ns = now_ns.saturating_add(KEPT_NS);
    stack.interfaces().redirect(destination, interface.index(), gateway, until_ns);
    stack.control().request_poll(stack, until_ns);
}
