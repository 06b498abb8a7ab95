//! Neighbour discovery: RFC 4861.

use alloc::sync::Arc;
use core::net::{IpAddr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetProtocol, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, NdiscNeighborFlags, NdiscRepr,
    RawHardwareAddress,
};

use super::packet::IpPacket;
use super::redirect::{self, Redirect6};
use super::{arp, router, send_link};
use crate::flow_key::protocol;
use crate::interface::{AddressState, Evidence, Interface, InterfaceAddress, Mac, RouteRequest, Scope};
use crate::{Stack, TransmitFrame};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Bytes of an IPv6 header.
const IPV6_LEN: usize = 40;
/// The type of a redirect, and its bytes before options.
const REDIRECT: u8 = 137;
const REDIRECT_LEN: usize = 40;
/// Kinds of options.
const TARGET_LINK_ADDRESS: u8 = 2;
const REDIRECTED_PACKET: u8 = 4;
/// What shows that a packet has passed no router.
const HOP_LIMIT: u8 = 255;

/// Asks who has an address: its last known owner, or the group of all who may.
pub(super) fn solicit(
    stack: &Stack,
    interface: &Arc<Interface>,
    address: Ipv6Addr,
    mac: Option<Mac>,
    source: Option<IpAddr>,
) {
    let source = match source {
        Some(IpAddr::V6(source)) if stack.interfaces().is_local(source.into()) => source,
        _ => link_local(stack, interface).unwrap_or(Ipv6Addr::UNSPECIFIED),
    };
    let destination = if mac.is_some() { address } else { solicited_node(address) };
    let lladdr = (!source.is_unspecified()).then(|| RawHardwareAddress::from(EthernetAddress(interface.mac())));
    let message = NdiscRepr::NeighborSolicit { target_addr: address, lladdr };
    send(interface, source, destination, mac, message);
}

/// Takes a message of neighbour discovery whose checksum is right.
pub(super) fn handle(stack: &Arc<Stack>, interface: &Arc<Interface>, packet: &IpPacket) {
    if packet.hop_limit != HOP_LIMIT || interface.is_loopback() {
        return;
    }
    let body = packet.body();
    if let [REDIRECT, 0, ..] = body {
        return redirected(stack, interface, packet);
    }
    let Ok(icmp) = Icmpv6Packet::new_checked(body) else { return };
    // Code 0, and no option without a length (RFC 4861, sections 6.1 and 7.1).
    if icmp.msg_code() != 0 || !has_sound_options(icmp.payload()) {
        return;
    }
    let (IpAddr::V6(source), Ok(message)) = (packet.source, NdiscRepr::parse(&icmp)) else { return };
    match message {
        NdiscRepr::NeighborSolicit { target_addr, lladdr } => {
            solicited(stack, interface, packet, source, target_addr, lladdr.and_then(mac_of));
        }
        NdiscRepr::NeighborAdvert { flags, target_addr, lladdr } => {
            advertised(stack, interface, packet, target_addr, lladdr.and_then(mac_of), flags);
        }
        NdiscRepr::RouterAdvert { router_lifetime, lladdr, .. } if source.is_unicast_link_local() => {
            if let Some(mac) = lladdr.and_then(mac_of) {
                arp::learn(interface, source.into(), mac, Evidence::Claim, true);
            }
            router::advertised(stack, interface, source, router_lifetime.secs(), icmp.payload());
        }
        _ => {}
    }
}

/// Takes a redirect: target, destination, options (RFC 4861, section 4.5). It is taken apart here, as what it quotes is
/// cut short.
fn redirected(stack: &Arc<Stack>, interface: &Arc<Interface>, packet: &IpPacket) {
    let body = packet.body();
    let address = |at: usize| body.get(at..at + 16).and_then(<[u8]>::first_chunk).map(|octets| Ipv6Addr::from(*octets));
    let (Some(target), Some(destination)) = (address(8), address(24)) else { return };
    let options = body.get(REDIRECT_LEN..).unwrap_or_default();
    if !has_sound_options(options) {
        return;
    }
    let mac = option(options, TARGET_LINK_ADDRESS).and_then(<[u8]>::first_chunk);
    let mac = mac.copied().filter(|mac| EthernetAddress(*mac).is_unicast() && *mac != [0; 6]);
    let quoted = option(options, REDIRECTED_PACKET).and_then(|value| value.get(6..)).unwrap_or_default();
    redirect::handle6(stack, interface, packet, &Redirect6 { target, destination, mac, quoted });
}

/// What the first option of a kind holds, behind kind and length. The options are sound.
fn option(options: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = options;
    while let [kind, units, ..] = rest {
        let (this, next) = rest.split_at_checked(usize::from(*units) * 8)?;
        if *kind == wanted {
            return this.get(2..);
        }
        rest = next;
    }
    None
}

/// Whether each option has a length and lies in the message.
fn has_sound_options(options: &[u8]) -> bool {
    let mut rest = options;
    while let [_, units, ..] = rest {
        match rest.get(usize::from(*units) * 8..) {
            Some(next) if *units > 0 => rest = next,
            _ => return false,
        }
    }
    rest.is_empty()
}

fn mac_of(address: RawHardwareAddress) -> Option<Mac> {
    let mac: Mac = *address.as_bytes().first_chunk()?;
    (EthernetAddress(mac).is_unicast() && mac != [0; 6]).then_some(mac)
}

/// Somebody asks who has an address, or whether anybody does.
fn solicited(
    stack: &Arc<Stack>,
    interface: &Arc<Interface>,
    packet: &IpPacket,
    source: Ipv6Addr,
    target: Ipv6Addr,
    mac: Option<Mac>,
) {
    let own = stack.interfaces().with(|snapshot| {
        snapshot.addresses_of(interface.index()).find(|own| own.address == IpAddr::V6(target)).copied()
    });
    let Some(own) = own else { return };
    if !own.is_assigned() {
        // Another machine wants the address for which we ask ourselves.
        if source.is_unspecified()
            && own.state == AddressState::Tentative
            && packet.destination == solicited_node(target)
        {
            router::duplicate(stack, interface, target);
        }
        return;
    }
    let lladdr = Some(RawHardwareAddress::from(EthernetAddress(interface.mac())));
    if source.is_unspecified() {
        let flags = NdiscNeighborFlags::OVERRIDE;
        let message = NdiscRepr::NeighborAdvert { flags, target_addr: target, lladdr };
        return send(interface, target, ALL_NODES, None, message);
    }
    if let Some(mac) = mac {
        arp::learn(interface, source.into(), mac, Evidence::Claim, true);
    }
    let flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
    let message = NdiscRepr::NeighborAdvert { flags, target_addr: target, lladdr };
    match mac {
        Some(_) => send(interface, target, source, mac, message),
        // Who asks without saying where it is has to be found first.
        None => send_routed(stack, interface, target, source, message),
    }
}

/// Somebody says that it has an address.
fn advertised(
    stack: &Arc<Stack>,
    interface: &Arc<Interface>,
    packet: &IpPacket,
    target: Ipv6Addr,
    mac: Option<Mac>,
    flags: NdiscNeighborFlags,
) {
    let own = stack.interfaces().with(|snapshot| {
        snapshot.addresses_of(interface.index()).find(|own| own.address == IpAddr::V6(target)).copied()
    });
    if let Some(own) = own {
        if own.state == AddressState::Tentative {
            router::duplicate(stack, interface, target);
        } else {
            log::warn!("net: {target} of {} is used by another machine as well", interface.name());
        }
        return;
    }
    let is_solicited = flags.contains(NdiscNeighborFlags::SOLICITED);
    if target.is_multicast() || (is_solicited && packet.destination.is_multicast()) {
        return;
    }
    let known = interface.neighbours().known_mac(target.into());
    let Some(mac) = mac.or(known) else { return };
    let evidence = match (is_solicited, flags.contains(NdiscNeighborFlags::OVERRIDE)) {
        (_, false) if known.is_some_and(|known| known != mac) => Evidence::Hint,
        (true, _) => Evidence::Answer,
        (false, _) => Evidence::Claim,
    };
    arp::learn(interface, target.into(), mac, evidence, false);
}

/// Sends a message by way of the neighbour cache.
fn send_routed(stack: &Stack, interface: &Interface, source: Ipv6Addr, destination: Ipv6Addr, message: NdiscRepr<'_>) {
    let message = Icmpv6Repr::Ndisc(message);
    let mut frame = TransmitFrame::new(message.buffer_len());
    let room = frame.extend(message.buffer_len());
    message.emit(&source, &destination, &mut Icmpv6Packet::new_unchecked(room), &ChecksumCapabilities::default());
    let request = RouteRequest {
        source: Some(source.into()),
        interface: interface.index(),
        hop_limit: HOP_LIMIT,
        ..RouteRequest::new(protocol::ICMPV6, destination.into())
    };
    if let Ok(route) = stack.interfaces().route(&request) {
        // Who did not get the answer asks again.
        let _ = route.send(stack, &mut alloc::vec![frame]);
    }
}

/// Asks whether anybody has an address that we want (RFC 4862, section 5.4.2).
pub(super) fn probe(interface: &Interface, address: Ipv6Addr) {
    let message = NdiscRepr::NeighborSolicit { target_addr: address, lladdr: None };
    send(interface, Ipv6Addr::UNSPECIFIED, solicited_node(address), None, message);
}

/// Asks for routers.
pub(super) fn solicit_routers(stack: &Stack, interface: &Interface) {
    let source = link_local(stack, interface).unwrap_or(Ipv6Addr::UNSPECIFIED);
    let lladdr = (!source.is_unspecified()).then(|| RawHardwareAddress::from(EthernetAddress(interface.mac())));
    send(interface, source, ALL_ROUTERS, None, NdiscRepr::RouterSolicit { lladdr });
}

/// The group of all whose address ends alike (RFC 4291, section 2.7.1).
pub(crate) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).to_bits() | (address.to_bits() & 0xff_ffff))
}

/// The address of the interface that its link alone knows.
pub(super) fn link_local(stack: &Stack, interface: &Interface) -> Option<Ipv6Addr> {
    let is_it = |own: &&InterfaceAddress| own.scope() == Scope::Link && own.is_assigned();
    stack.interfaces().with(|snapshot| {
        snapshot.addresses_of(interface.index()).filter(is_it).find_map(|own| match own.address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        })
    })
}

/// Sends a message; without `mac` to the group's link address.
fn send(interface: &Interface, source: Ipv6Addr, destination: Ipv6Addr, mac: Option<Mac>, message: NdiscRepr<'_>) {
    let message = Icmpv6Repr::Ndisc(message);
    let mut frame = TransmitFrame::new(IPV6_LEN + message.buffer_len());
    let mut packet = Ipv6Packet::new_unchecked(frame.extend(IPV6_LEN + message.buffer_len()));
    packet.set_version(6);
    packet.set_payload_len(u16::try_from(message.buffer_len()).unwrap_or(0));
    packet.set_next_header(IpProtocol::Icmpv6);
    packet.set_hop_limit(HOP_LIMIT);
    packet.set_src_addr(source);
    packet.set_dst_addr(destination);
    let mut icmp = Icmpv6Packet::new_unchecked(packet.payload_mut());
    message.emit(&source, &destination, &mut icmp, &ChecksumCapabilities::default());
    let [.., a, b, c, d] = destination.octets();
    send_link(interface, EthernetProtocol::Ipv6, mac.unwrap_or([0x33, 0x33, a, b, c, d]), frame);
}
