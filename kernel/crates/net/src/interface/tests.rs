//! Tests of routes and sending.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Ipv4Packet,
    Ipv6Packet, UdpPacket,
};
use testkit::clock;

use super::neighbour::Evidence;
use super::*;
use crate::frame::{PartialChecksum, TransmitFrame};
use crate::nic::NicFeatures;
use crate::test_support::{FakeNic, MAC, PEER_MAC, receive, stack_with_nic};
use crate::{FlowKey, Stack, flow_key::protocol};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn datagram(len: usize) -> TransmitFrame {
    let mut frame = TransmitFrame::new(8 + len);
    let mut udp = UdpPacket::new_unchecked(frame.extend(8 + len));
    udp.set_src_port(1000);
    udp.set_dst_port(2000);
    udp.set_len(u16::try_from(8 + len).unwrap());
    udp.payload_mut().iter_mut().zip(0_u16..).for_each(|(byte, number)| *byte = number.to_le_bytes()[0]);
    frame
}

fn arp_reply(address: Ipv4Addr) -> Vec<u8> {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress(PEER_MAC),
        source_protocol_addr: address,
        target_hardware_addr: EthernetAddress(MAC),
        target_protocol_addr: Ipv4Addr::new(10, 0, 0, 1),
    };
    ethernet(EthernetProtocol::Arp, arp.buffer_len(), |room| arp.emit(&mut ArpPacket::new_unchecked(room)))
}

fn ethernet(ethertype: EthernetProtocol, len: usize, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = alloc::vec![0; 14 + len];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    let (src_addr, dst_addr) = (EthernetAddress(PEER_MAC), EthernetAddress(MAC));
    EthernetRepr { src_addr, dst_addr, ethertype }.emit(&mut frame);
    fill(frame.payload_mut());
    bytes
}

fn route(stack: &Stack, destination: &str, may_fragment: bool) -> Result<Route, Errno> {
    let request = RouteRequest { may_fragment, ..RouteRequest::new(protocol::UDP, ip(destination)) };
    stack.interfaces().route(&request)
}

/// A route to a neighbour whose link address is known.
fn resolved(stack: &Arc<Stack>, nic: &FakeNic, interface: &Arc<Interface>, may_fragment: bool) -> Route {
    receive(stack, interface, &arp_reply(Ipv4Addr::new(10, 0, 0, 2)));
    let route = route(stack, "10.0.0.2", may_fragment).unwrap();
    route.send(stack, &mut alloc::vec![datagram(1)]).unwrap();
    receive(stack, interface, &arp_reply(Ipv4Addr::new(10, 0, 0, 2)));
    nic.take();
    route
}

#[test]
fn a_datagram_waits_for_arp_and_leaves_with_right_sums() {
    let (stack, nic, interface) = stack_with_nic(NicFeatures::empty());
    let route = route(&stack, "192.0.2.1", false).unwrap();
    assert_eq!((route.source(), route.mtu(), route.class()), (ip("10.0.0.1"), 1500, AddressClass::Remote));
    route.send(&stack, &mut alloc::vec![datagram(3), datagram(5)]).unwrap();
    let asked = nic.take();
    let question = ArpRepr::parse(&ArpPacket::new_checked(&asked[0][14..]).unwrap()).unwrap();
    let ArpRepr::EthernetIpv4 { operation, source_protocol_addr, target_protocol_addr, .. } = question else {
        panic!()
    };
    // The router is asked for, not the destination.
    assert_eq!((asked.len(), operation), (1, ArpOperation::Request));
    assert_eq!((source_protocol_addr, target_protocol_addr), (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)));
    receive(&stack, &interface, &arp_reply(Ipv4Addr::new(10, 0, 0, 2)));
    let sent = nic.take();
    assert_eq!(sent.len(), 2);
    let frame = EthernetFrame::new_checked(&sent[1]).unwrap();
    assert_eq!((frame.dst_addr(), frame.src_addr()), (EthernetAddress(PEER_MAC), EthernetAddress(MAC)));
    let packet = Ipv4Packet::new_checked(frame.payload()).unwrap();
    assert!(packet.verify_checksum() && packet.dont_frag());
    let udp = UdpPacket::new_checked(packet.payload()).unwrap();
    assert!(udp.verify_checksum(&ip("10.0.0.1").into(), &ip("192.0.2.1").into()));
    assert_eq!(udp.payload(), [0, 1, 2, 3, 4]);
}

#[test]
fn frames_go_where_a_neighbour_is_now() {
    let (stack, nic, interface) = stack_with_nic(NicFeatures::empty());
    let route = resolved(&stack, &nic, &interface, false);
    for mac in [[2, 0, 0, 0, 0, 7], [2, 0, 0, 0, 0, 8]] {
        interface.neighbours().learn(ip("10.0.0.2"), mac, Evidence::Answer, false, sync::machine::now_ns());
        assert!(route.is_current(stack.interfaces()));
        route.send(&stack, &mut alloc::vec![datagram(1)]).unwrap();
        assert_eq!(EthernetFrame::new_checked(&nic.take()[0]).unwrap().dst_addr(), EthernetAddress(mac));
    }
}

#[test]
fn a_device_that_finishes_sums_gets_that_of_the_pseudo_header() {
    let (stack, nic, interface) = stack_with_nic(NicFeatures::TRANSMIT_CHECKSUM);
    let route = resolved(&stack, &nic, &interface, false);
    let mut frames = alloc::vec![datagram(4)];
    let len = frames[0].len();
    route.write_checksum(&mut frames[0], len, true);
    assert_eq!(frames[0].checksum, Some(PartialChecksum { start: 0, offset: 6 }));
    let mut sum = crate::checksum::Sum::pseudo_header(ip("10.0.0.1"), ip("10.0.0.2"), 17, 12);
    assert_eq!(frames[0].head()[6..8], sum.folded().to_be_bytes());
    crate::checksum::finish(&mut frames[0]);
    sum.add(frames[0].head());
    assert_eq!(sum.finish(), 0);
}

#[test]
fn what_is_too_long_is_cut_or_refused() {
    let (stack, nic, interface) = stack_with_nic(NicFeatures::empty());
    let strict = resolved(&stack, &nic, &interface, false);
    assert_eq!(strict.send(&stack, &mut alloc::vec![datagram(1473), datagram(1472)]), Err(Errno::EMSGSIZE));
    assert_eq!(nic.take().len(), 1);
    let lax = resolved(&stack, &nic, &interface, true);
    lax.send(&stack, &mut alloc::vec![datagram(4000)]).unwrap();
    let sent = nic.take();
    assert_eq!(sent.len(), 3);
    let mut whole = alloc::vec![0; 4008];
    for (place, bytes) in sent.iter().enumerate() {
        let packet = Ipv4Packet::new_checked(&bytes[14..]).unwrap();
        assert!(packet.verify_checksum() && packet.more_frags() == (place < 2));
        let at = usize::from(packet.frag_offset());
        whole[at..at + packet.payload().len()].copy_from_slice(packet.payload());
    }
    let udp = UdpPacket::new_checked(&whole[..]).unwrap();
    assert!(udp.verify_checksum(&ip("10.0.0.1").into(), &ip("10.0.0.2").into()));
}

#[test]
fn ipv6_has_its_own_fragments() {
    let (stack, nic, interface) = stack_with_nic(NicFeatures::empty());
    let far = route(&stack, "2001:db8::1", true).unwrap();
    assert_eq!(far.source(), ip("fd00::1"));
    interface.neighbours().learn(ip("fd00::2"), PEER_MAC, Evidence::Answer, true, sync::machine::now_ns());
    far.send(&stack, &mut alloc::vec![datagram(2000)]).unwrap();
    let sent = nic.take();
    assert_eq!(sent.len(), 2);
    let packet = Ipv6Packet::new_checked(&sent[0][14..]).unwrap();
    assert_eq!((u8::from(packet.next_header()), packet.payload_len(), packet.payload()[0]), (44, 1456, 17));
}

#[test]
fn own_addresses_lead_back() {
    let (stack, nic, _) = stack_with_nic(NicFeatures::empty());
    for (destination, source) in [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1.2.3", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("::", "::1"),
    ] {
        let route = route(&stack, destination, false).unwrap();
        assert!(route.interface().is_loopback());
        assert_eq!((route.source(), route.class()), (ip(source), AddressClass::Local), "{destination}");
        route.send(&stack, &mut alloc::vec![datagram(9)]).unwrap();
    }
    assert!(nic.take().is_empty());
    let lo = stack.interfaces().snapshot().interfaces()[0].clone();
    assert_eq!(lo.counters().sent_frames, 5);
    // Nobody has the port: the packets went to the control worker, sound.
    assert_eq!(stack.counters().control.load(core::sync::atomic::Ordering::Relaxed), 5);
    let key = FlowKey::new(protocol::UDP, (ip("127.0.0.1"), 1).into(), (ip("127.0.0.1"), 2).into());
    assert!(!stack.flows().contains(&key));
}

#[test]
fn changes_make_routes_old_and_expiry_takes_them() {
    clock::stop_at(1_000);
    let (stack, _, interface) = stack_with_nic(NicFeatures::empty());
    let old = route(&stack, "192.0.2.1", false).unwrap();
    assert!(old.is_current(stack.interfaces()));
    stack.interfaces().set_path_mtu(ip("192.0.2.1"), 1400, 5_000);
    assert!(!old.is_current(stack.interfaces()));
    assert_eq!(route(&stack, "192.0.2.1", false).unwrap().mtu(), 1400);
    assert_eq!(stack.interfaces().update(|snapshot| snapshot.expire(5_000)), sync::machine::NEVER);
    assert_eq!(route(&stack, "192.0.2.1", false).unwrap().mtu(), 1500);
    stack.interfaces().remove_address(interface.index(), ip("10.0.0.1")).unwrap();
    assert_eq!(stack.interfaces().snapshot().addresses().len(), 3);
    stack.interfaces().retain_routes(|route| route.gateway.is_none());
    assert_eq!(route(&stack, "192.0.2.1", false).err(), Some(Errno::ENETUNREACH));
    stack.interfaces().set_up(interface.index(), false).unwrap();
    assert_eq!(route(&stack, "fd00::9", false).err(), Some(Errno::ENETUNREACH));
}

#[test]
fn the_longest_prefix_and_the_least_metric_win() {
    let (stack, _, interface) = stack_with_nic(NicFeatures::empty());
    let interfaces = stack.interfaces();
    let entry = |text: &str, prefix_len, gateway: &str, metric| RouteEntry {
        destination: ip(text),
        prefix_len,
        metric,
        ..RouteEntry::default_via(ip(gateway), interface.index(), metric, Origin::Static)
    };
    interfaces.add_route(entry("198.51.0.0", 16, "10.0.0.3", 5)).unwrap();
    interfaces.add_route(entry("198.51.100.0", 24, "10.0.0.4", 9)).unwrap();
    interfaces.add_route(entry("198.51.100.0", 24, "10.0.0.5", 1)).unwrap();
    let hop = |text: &str| interfaces.snapshot().path(ip(text), None, 0).ok().map(|path| path.next_hop);
    assert_eq!(hop("198.51.100.7"), Some(ip("10.0.0.5")));
    assert_eq!(hop("198.51.1.7"), Some(ip("10.0.0.3")));
    assert_eq!(hop("203.0.113.1"), Some(ip("10.0.0.2")));
    assert_eq!(hop("10.0.0.77"), Some(ip("10.0.0.77")));
    assert_eq!(hop("10.0.0.255"), Some(ip("10.0.0.255")));
}

#[test]
fn sources_are_chosen_by_the_rules() {
    let (stack, _, interface) = stack_with_nic(NicFeatures::empty());
    let index = interface.index();
    let add = |text: &str, prefix_len, state| {
        let address = InterfaceAddress::permanent(index, ip(text), prefix_len, Origin::Static);
        stack.interfaces().add_address(InterfaceAddress { state, ..address }).unwrap();
    };
    add("fe80::1", 64, AddressState::Preferred);
    add("2001:db8::1", 64, AddressState::Preferred);
    add("2001:db8::2", 64, AddressState::Deprecated);
    add("2001:db8::3", 64, AddressState::Tentative);
    let source = |text: &str| route(&stack, text, false).map(|route| route.source());
    assert_eq!(source("2001:db8::99"), Ok(ip("2001:db8::1")));
    assert_eq!(source("2001:db8::3"), Ok(ip("2001:db8::1")));
    assert_eq!(source("fe80::99"), Ok(ip("fe80::1")));
    assert_eq!(source("ff02::1"), Ok(ip("fe80::1")));
    assert_eq!(source("fd00::7"), Ok(ip("fd00::1")));
    add("172.16.0.1", 16, AddressState::Preferred);
    assert_eq!(source("172.16.9.9"), Ok(ip("172.16.0.1")));
    assert_eq!(source("224.0.0.251"), Ok(ip("10.0.0.1")));
}

#[test]
fn a_route_is_taken_if_it_can_be_and_as_it_is_asked_for() {
    let (stack, _nic, interface) = stack_with_nic(NicFeatures::empty());
    let interfaces = stack.interfaces();
    let new = RouteInsertion { creates: true, is_exclusive: true, ..RouteInsertion::default() };
    let other = RouteInsertion { creates: true, replaces: true, ..RouteInsertion::default() };
    let route = |gateway: Option<&str>, interface| RouteEntry {
        destination: ip("10.9.0.0"),
        prefix_len: 16,
        gateway: gateway.map(ip),
        ..RouteEntry::default_via(ip("10.0.0.2"), interface, 5, Origin::Static)
    };
    let index = interface.index();
    for (gateway, interface, error) in [
        (None, 0, Errno::ENODEV),
        (None, 99, Errno::ENODEV),
        (Some("192.0.2.1"), index, Errno::ENETUNREACH),
        (Some("192.0.2.1"), 0, Errno::ENETUNREACH),
        (Some("10.0.0.3"), LOOPBACK_INDEX, Errno::ENETUNREACH),
        (Some("224.0.0.1"), index, Errno::EINVAL),
    ] {
        assert_eq!(interfaces.insert_route(route(gateway, interface), new), Err(error), "{gateway:?} {interface}");
    }
    let on_link = RouteInsertion { is_on_link: true, ..new };
    assert_eq!(interfaces.insert_route(route(Some("192.0.2.1"), index), on_link), Ok(()));
    assert_eq!(interfaces.insert_route(route(Some("10.0.0.3"), 0), new), Err(Errno::EEXIST));
    assert_eq!(interfaces.insert_route(route(Some("10.0.0.3"), 0), other), Ok(()));
    let found = interfaces.snapshot().path(ip("10.9.1.1"), None, 0).map(|path| path.next_hop);
    assert_eq!(found, Ok(ip("10.0.0.3")));
    assert_eq!(interfaces.retain_routes(|known| known.metric != 5), 1);
    let replaced = RouteInsertion { creates: false, ..other };
    assert_eq!(interfaces.insert_route(route(None, index), replaced), Err(Errno::ENOENT));
    interfaces.set_up(index, false).unwrap();
    assert_eq!(interfaces.insert_route(route(None, index), new), Err(Errno::ENETDOWN));
}
