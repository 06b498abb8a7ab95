//! ARP: RFC 826, with the checks of RFC 5227.

use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr};

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetProtocol};
use sync::machine;

use super::{dhcp, send_link};
use crate::channel::Packet;
use crate::interface::{Evidence, Interface, InterfaceAddress, Mac};
use crate::{Stack, TransmitFrame};

/// The link address of all.
const EVERYBODY: Mac = [0xff; 6];

/// Takes an ARP packet.
pub(super) fn handle(stack: &Arc<Stack>, interface: &Arc<Interface>, packet: &Packet) {
    let network = usize::from(packet.layout.network);
    let Ok(arp) = ArpPacket::new_checked(packet.frame.head().get(network..).unwrap_or_default()) else { return };
    let Ok(ArpRepr::EthernetIpv4 {
        operation, source_hardware_addr, source_protocol_addr, target_protocol_addr, ..
    }) = ArpRepr::parse(&arp)
    else {
        return;
    };
    let (mac, sender, target) = (source_hardware_addr, source_protocol_addr, target_protocol_addr);
    if interface.nic().is_none() || !mac.is_unicast() || mac.0 == [0; 6] || mac.0 == interface.mac() {
        return;
    }
    if sender.is_broadcast() || sender.is_multicast() || sender.is_loopback() {
        return;
    }
    let is_own = |address: Ipv4Addr| stack.interfaces().is_local(address.into());
    if is_own(sender) {
        if dhcp::conflict(stack, interface, sender) {
            return;
        }
        log::warn!("net: {sender} of {} is used by {mac} as well", interface.name());
        return;
    }
    let is_for_us = is_own(target);
    let evidence = match operation {
        ArpOperation::Reply if is_for_us => Evidence::Answer,
        _ => Evidence::Claim,
    };
    if !sender.is_unspecified() {
        // Who asks for us will be answered, and wants more: it is entered. Others are updated if they are known.
        let may_create = is_for_us && operation == ArpOperation::Request;
        learn(interface, sender.into(), mac.0, evidence, may_create);
    }
    if is_for_us && operation == ArpOperation::Request {
        send(interface, ArpOperation::Reply, target, mac.0, sender);
    }
}

/// Says that an address is in use here, and finds out whether it is elsewhere: a probe, then an announcement (RFC 5227).
pub(super) fn announce(interface: &Interface, address: Ipv4Addr) {
    for source in [Ipv4Addr::UNSPECIFIED, address] {
        let frame = packet(interface, ArpOperation::Request, source, [0; 6], address);
        send_link(interface, EthernetProtocol::Arp, EVERYBODY, frame);
    }
}

/// Notes a link address and sends what has waited for it.
pub(super) fn learn(interface: &Interface, address: IpAddr, mac: Mac, evidence: Evidence, may_create: bool) {
    let mut waiting = interface.neighbours().learn(address, mac, evidence, may_create, machine::now_ns());
    if let Some(nic) = interface.nic()
        && !waiting.is_empty()
    {
        nic.transmit(&mut waiting);
    }
}

/// Asks who has an address: its last known owner, or everybody.
pub(super) fn solicit(
    stack: &Stack,
    interface: &Interface,
    address: Ipv4Addr,
    mac: Option<Mac>,
    source: Option<IpAddr>,
) {
    let source = match source {
        Some(IpAddr::V4(source)) if !source.is_unspecified() && stack.interfaces().is_local(source.into()) => source,
        _ => stack.interfaces().with(|snapshot| {
            let own = |own: &&InterfaceAddress| own.address.is_ipv4() && own.is_assigned();
            let mut candidates = snapshot.addresses_of(interface.index()).filter(own);
            let first = candidates.clone().find(|own| own.covers(address.into())).or_else(|| candidates.next());
            match first.map(|own| own.address) {
                Some(IpAddr::V4(source)) => source,
                _ => Ipv4Addr::UNSPECIFIED,
            }
        }),
    };
    let target = mac.unwrap_or([0; 6]);
    let frame = packet(interface, ArpOperation::Request, source, target, address);
    send_link(interface, EthernetProtocol::Arp, mac.unwrap_or(EVERYBODY), frame);
}

fn send(interface: &Interface, operation: ArpOperation, source: Ipv4Addr, mac: Mac, target: Ipv4Addr) {
    let frame = packet(interface, operation, source, mac, target);
    send_link(interface, EthernetProtocol::Arp, mac, frame);
}

fn packet(
    interface: &Interface,
    operation: ArpOperation,
    source: Ipv4Addr,
    mac: Mac,
    target: Ipv4Addr,
) -> TransmitFrame {
    let arp = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(interface.mac()),
        source_protocol_addr: source,
        target_hardware_addr: EthernetAddress(mac),
        target_protocol_addr: target,
    };
    let mut frame = TransmitFrame::new(arp.buffer_len());
    let room = frame.extend(arp.buffer_len());
    arp.emit(&mut ArpPacket::new_unchecked(room));
    frame
}
