//! DHCP for IPv4: RFC 2131 and 2132.
//!
//! - [`Client`]: the states.
//! - Here: its messages as packets, and its leases as addresses, routes and name servers.

mod client;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use smoltcp::wire::{
    DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress, UdpPacket,
};
use sync::machine;

use crate::channel::Packet;
use crate::checksum::Sum;
use crate::flow_key::{address_of_bits, protocol};
use crate::frame::ChecksumState;
use crate::interface::{AddressState, Interface, InterfaceAddress, Origin, RouteEntry, RouteRequest};
use crate::{Stack, TransmitFrame};

pub(crate) use client::{Action, Client, Lease, Message, Reply};

use super::{arp, state::State};

/// Where clients listen.
pub(super) const CLIENT_PORT: u16 = DHCP_CLIENT_PORT;
const UDP_LEN: usize = 8;
/// The longest message that the client takes.
const MESSAGE_LEN_MAX: u16 = 1472;
/// Messages are padded to this, as old relays want (RFC 1542, section 2.1).
const MESSAGE_LEN_MIN: usize = 300;
/// The longest host or domain name.
const NAME_LEN_MAX: usize = 255;
/// The metric of routes through the router of a lease.
const ROUTE_METRIC: u32 = 100;
/// MTUs below are not believed.
const MTU_MIN: u16 = 576;

/// Numbers of options that smoltcp does not name.
mod option {
    pub(super) const SUBNET_MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const NAME_SERVER: u8 = 6;
    pub(super) const HOST_NAME: u8 = 12;
    pub(super) const DOMAIN_NAME: u8 = 15;
    pub(super) const MTU: u8 = 26;
    pub(super) const LEASE_TIME: u8 = 51;
    pub(super) const SERVER: u8 = 54;
    pub(super) const RENEW_TIME: u8 = 58;
    pub(super) const REBIND_TIME: u8 = 59;
}

/// What the client asks for.
const PARAMETERS: [u8; 9] = [
    option::SUBNET_MASK,
    option::ROUTER,
    option::NAME_SERVER,
    option::DOMAIN_NAME,
    option::MTU,
    option::LEASE_TIME,
    option::SERVER,
    option::RENEW_TIME,
    option::REBIND_TIME,
];

/// Does what is due for the client of an interface. Answers when the next is.
pub(super) fn poll(stack: &Arc<Stack>, interface: &Arc<Interface>, now_ns: u64) -> u64 {
    let polled = stack.control().with_client(interface.index(), |client, _| {
        let actions = client.poll(now_ns);
        (actions, client.due_ns())
    });
    let Some((actions, due_ns)) = polled else { return machine::NEVER };
    run(stack, interface, actions);
    due_ns
}

/// Takes a datagram to the port of clients.
pub(super) fn handle(stack: &Arc<Stack>, interface: &Arc<Interface>, packet: &Packet) {
    if packet.key.remote_port != DHCP_SERVER_PORT {
        return;
    }
    let bytes: Vec<u8> = packet.frame.pieces().flatten().copied().collect();
    let datagram = bytes.get(usize::from(packet.layout.transport)..packet.layout.end as usize).unwrap_or_default();
    let Ok(udp) = UdpPacket::new_checked(datagram) else { return };
    let (source, destination) = (address_of_bits(packet.key.remote), address_of_bits(packet.key.local));
    if packet.frame.checksum == ChecksumState::Unknown && udp.checksum() != 0 {
        let mut sum = Sum::pseudo_header(source, destination, protocol::UDP, usize::from(udp.len()));
        sum.add(datagram.get(..usize::from(udp.len())).unwrap_or_default());
        if sum.finish() != 0 {
            return;
        }
    }
    let Some(reply) = parse(udp.payload(), interface.mac()) else { return };
    let now_ns = machine::now_ns();
    let actions = stack.control().with_client(interface.index(), |client, _| client.receive(reply, now_ns));
    run(stack, interface, actions.unwrap_or_default());
    stack.control().request_poll(stack, now_ns);
}

/// Somebody else has said that it has `address`. True: the client deals with it.
pub(super) fn conflict(stack: &Arc<Stack>, interface: &Arc<Interface>, address: Ipv4Addr) -> bool {
    let now_ns = machine::now_ns();
    let actions = stack.control().with_client(interface.index(), |client, _| client.conflict(address, now_ns));
    let actions = actions.unwrap_or_default();
    let is_handled = !actions.is_empty();
    run(stack, interface, actions);
    stack.control().request_poll(stack, now_ns);
    is_handled
}

fn run(stack: &Arc<Stack>, interface: &Arc<Interface>, actions: Vec<Action>) {
    for action in actions {
        match action {
            Action::Send(message) => send(stack, interface, &message),
            Action::Configure(lease, until_ns) => configure(stack, interface, &lease, until_ns),
            Action::Release => release(stack, interface),
            Action::Announce(address) => arp::announce(interface, address),
        }
    }
}

fn parse(bytes: &[u8], mac: [u8; 6]) -> Option<Reply> {
    let packet = DhcpPacket::new_checked(bytes).ok()?;
    let repr = DhcpRepr::parse(&packet).ok()?;
    if repr.client_hardware_address != EthernetAddress(mac) {
        return None;
    }
    let (mut router, mut mtu, mut domain) = (None, None, None);
    for option in packet.options() {
        match (option.kind, option.data) {
            (option::ROUTER, [a, b, c, d, ..]) => router = Some(Ipv4Addr::new(*a, *b, *c, *d)),
            (option::MTU, [high, low]) => mtu = Some(u16::from_be_bytes([*high, *low])).filter(|mtu| *mtu >= MTU_MIN),
            (option::DOMAIN_NAME, name) => domain = name_of(name),
            _ => {}
        }
    }
    let mask = repr.subnet_mask.map_or(0xffff_ff00, Ipv4Addr::to_bits);
    let lease = Lease {
        address: repr.your_ip,
        prefix_len: u8::try_from(mask.leading_ones()).unwrap_or(32),
        router: router.filter(|router| !router.is_unspecified()),
        name_servers: repr.dns_servers.iter().flatten().copied().take(client::NAME_SERVERS_MAX).collect(),
        domain,
        mtu,
        server: repr.server_identifier.unwrap_or(Ipv4Addr::UNSPECIFIED),
        duration_seconds: repr.lease_duration.unwrap_or(0),
        renew_seconds: repr.renew_duration,
        rebind_seconds: repr.rebind_duration,
    };
    Some(Reply { kind: repr.message_type, transaction: repr.transaction_id, lease })
}

/// A name that may go into a configuration file: nothing but letters, digits, dots, hyphens and underscores.
fn name_of(bytes: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    (is_plain && !text.is_empty() && text.len() <= NAME_LEN_MAX).then(|| text.into())
}

fn send(stack: &Arc<Stack>, interface: &Arc<Interface>, message: &Message) {
    let hostname = stack.control().hostname();
    let host_option = [DhcpOption { kind: option::HOST_NAME, data: hostname.as_bytes() }];
    let is_question = matches!(message.kind, DhcpMessageType::Discover | DhcpMessageType::Request);
    let has_name = is_question && (1..=NAME_LEN_MAX).contains(&hostname.len());
    let repr = DhcpRepr {
        message_type: message.kind,
        transaction_id: message.transaction,
        secs: message.seconds,
        client_hardware_address: EthernetAddress(interface.mac()),
        client_ip: message.client.unwrap_or(Ipv4Addr::UNSPECIFIED),
        your_ip: Ipv4Addr::UNSPECIFIED,
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: None,
        subnet_mask: None,
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        requested_ip: message.requested,
        client_identifier: Some(EthernetAddress(interface.mac())),
        server_identifier: message.server,
        parameter_request_list: is_question.then_some(&PARAMETERS[..]),
        dns_servers: None,
        max_size: is_question.then_some(MESSAGE_LEN_MAX),
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: if has_name { &host_option } else { &[] },
    };
    let len = UDP_LEN + repr.buffer_len().max(MESSAGE_LEN_MIN);
    let mut frame = TransmitFrame::new(len);
    let mut udp = UdpPacket::new_unchecked(frame.extend(len));
    udp.set_src_port(DHCP_CLIENT_PORT);
    udp.set_dst_port(DHCP_SERVER_PORT);
    udp.set_len(u16::try_from(len).unwrap_or(u16::MAX));
    if repr.emit(&mut DhcpPacket::new_unchecked(udp.payload_mut())).is_err() {
        return;
    }
    let destination = message.unicast.unwrap_or(Ipv4Addr::BROADCAST);
    let source = message.client.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let request = RouteRequest {
        source: Some(source.into()),
        interface: interface.index(),
        ..RouteRequest::new(protocol::UDP, destination.into())
    };
    if let Ok(route) = stack.interfaces().route(&request) {
        // What is lost is sent again by the client's own timers.
        let _ = route.send(stack, &mut alloc::vec![frame]);
    }
}

fn configure(stack: &Arc<Stack>, interface: &Arc<Interface>, lease: &Lease, until_ns: u64) {
    let index = interface.index();
    let address = InterfaceAddress {
        interface: index,
        address: lease.address.into(),
        prefix_len: lease.prefix_len,
        origin: Origin::Dhcp,
        state: AddressState::Preferred,
        preferred_until_ns: until_ns,
        valid_until_ns: until_ns,
    };
    let interfaces = stack.interfaces();
    let known = interfaces.snapshot().addresses_of(index).find(|own| own.origin == Origin::Dhcp).copied();
    let is_same = known.is_some_and(|known| (known.address, known.prefix_len) == (address.address, address.prefix_len));
    if !is_same {
        release(stack, interface);
        if interfaces.add_address(address).is_err() {
            return;
        }
        log::info!("net: {} has {}/{}", interface.name(), lease.address, lease.prefix_len);
    } else {
        interfaces.change_addresses(index, |own| {
            if own.address == address.address {
                *own = address;
            }
        });
    }
    if let Some(mtu) = lease.mtu {
        // A device that takes less keeps what it has.
        let _ = interfaces.set_mtu(index, mtu.into());
    }
    interfaces.retain_routes(|route| (route.interface, route.origin) != (index, Origin::Dhcp));
    if let Some(router) = lease.router {
        let route = RouteEntry::default_via(router.into(), index, ROUTE_METRIC, Origin::Dhcp);
        let source = Some(IpAddr::from(lease.address));
        // Full tables keep what is there.
        let _ = interfaces.add_route(RouteEntry { source, valid_until_ns: until_ns, ..route });
    }
    let servers = lease.name_servers.iter().map(|server| IpAddr::from(*server)).collect();
    stack.control().set_name_servers(index, Origin::Dhcp, servers, lease.domain.clone());
}

fn release(stack: &Arc<Stack>, interface: &Arc<Interface>) {
    let index = interface.index();
    let interfaces = stack.interfaces();
    let old: Vec<IpAddr> = interfaces
        .snapshot()
        .addresses_of(index)
        .filter(|own| own.origin == Origin::Dhcp)
        .map(|own| own.address)
        .collect();
    for address in old {
        log::info!("net: {} has lost {address}", interface.name());
        // It was there a moment ago; whoever took it since is welcome.
        let _ = interfaces.remove_address(index, address);
    }
    interfaces.retain_routes(|route| (route.interface, route.origin) != (index, Origin::Dhcp));
    stack.control().set_name_servers(index, Origin::Dhcp, Vec::new(), None);
}

/// Begins to look for a lease.
pub(super) fn start(state: &mut State, index: u32, now_ns: u64) {
    state.clients.insert(index, Client::new(now_ns));
}
