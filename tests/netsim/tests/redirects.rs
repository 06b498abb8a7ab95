//! Routers that name a better next hop, and routers of old that ask for members of groups.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use net::checksum::Sum;
use net::interface::{Evidence, Interface, Mac, Origin, RouteEntry};
use net::settings::ACCEPT_REDIRECTS4;
use net::socket::{Address, Socket};
use netsim::machine::{CALLER, Machine, send};

const ROUTER: u8 = 254;
const BETTER: u8 = 253;
const FAR4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
const ETHERNET_LEN: usize = 14;

/// The link-local address of a machine.
const fn link_local(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number as u16)
}

struct Host {
    machine: Machine,
    interface: Arc<Interface>,
    socket: Arc<dyn Socket>,
}

impl Host {
    /// A machine with a way through the router, whose link address it knows, and a socket that sends far away.
    fn new(is_v6: bool) -> Self {
        let machine = Machine::new(1);
        let interfaces = machine.stack().interfaces();
        let interface = interfaces.snapshot().interfaces().iter().find(|one| !one.is_loopback()).cloned().expect("one");
        let router = if is_v6 { IpAddr::V6(link_local(ROUTER)) } else { Machine::address4(ROUTER) };
        let far = if is_v6 { IpAddr::V6(FAR6) } else { IpAddr::V4(FAR4) };
        interfaces
            .add_route(RouteEntry::default_via(router, interface.index(), 100, Origin::Static))
            .expect("the first");
        interface.neighbours().learn(router, Machine::mac(ROUTER), Evidence::Answer, true, 1);
        let socket = machine.socket(if is_v6 { 10 } else { 2 }, 2, 0).expect("a socket");
        socket.connect(&Address::Inet(SocketAddr::new(far, 53)), &CALLER).expect("a way");
        let host = Self { machine, interface, socket };
        let _ = host.machine.take_sent();
        host
    }

    /// Sends a datagram, and answers its frame.
    fn send(&self) -> Vec<u8> {
        let _ = self.machine.take_sent();
        send(&*self.socket, b"question").expect("a way");
        self.machine.take_sent().pop().expect("a frame")
    }

    /// Who gets the next datagram on the link.
    fn next_hop(&self) -> Mac {
        *self.send().first_chunk().expect("a header")
    }

    /// A message comes from a machine on the link.
    fn receive(&self, from: u8, source: IpAddr, message: &[u8]) {
        let IpAddr::V4(source) = source else { return self.receive6(from, source, message, 255) };
        let len = u16::try_from(20 + message.len()).expect("short").to_be_bytes();
        let mut header = [0x45, 0, len[0], len[1], 0, 0, 0, 0, 64, ICMP, 0, 0, 0, 0, 0, 0, 10, 97, 0, 1];
        header[12..16].copy_from_slice(&source.octets());
        let sum = sum_of(Sum::new(), &header);
        header[10..12].copy_from_slice(&sum);
        self.give(from, [0x08, 0x00], &[&header[..], message].concat());
    }

    fn receive6(&self, from: u8, source: IpAddr, message: &[u8], hop_limit: u8) {
        let (IpAddr::V6(source), IpAddr::V6(own)) = (source, Machine::address6(1)) else { return };
        let len = u16::try_from(message.len()).expect("short").to_be_bytes();
        let header = [0x60, 0, 0, 0, len[0], len[1], ICMP6, hop_limit];
        let mut message = message.to_vec();
        let sum = sum_of(Sum::pseudo_header(source.into(), own.into(), ICMP6, message.len()), &message);
        message[2..4].copy_from_slice(&sum);
        self.give(from, [0x86, 0xdd], &[&header[..], &source.octets(), &own.octets(), &message].concat());
    }

    fn give(&self, from: u8, kind: [u8; 2], packet: &[u8]) {
        self.machine.receive([&Machine::mac(1)[..], &Machine::mac(from), &kind, packet].concat());
        self.machine.stack().work(0);
    }
}

fn sum_of(mut sum: Sum, bytes: &[u8]) -> [u8; 2] {
    sum.add(bytes);
    sum.finish().to_be_bytes()
}

fn redirect4(gateway: IpAddr, frame: &[u8]) -> Vec<u8> {
    let IpAddr::V4(gateway) = gateway else { unreachable!() };
    let mut message = [&[5, 1, 0, 0][..], &gateway.octets(), &frame[ETHERNET_LEN..ETHERNET_LEN + 28]].concat();
    let sum = sum_of(Sum::new(), &message);
    message[2..4].copy_from_slice(&sum);
    message
}

#[test]
fn the_router_in_use_may_name_a_better_one() {
    let host = Host::new(false);
    let (router, better) = (Machine::address4(ROUTER), Machine::address4(BETTER));
    let frame = host.send();
    assert_eq!(frame[..6], Machine::mac(ROUTER));
    host.receive(ROUTER, router, &redirect4(better, &frame));
    let asked = host.machine.take_sent();
    assert!(asked.iter().any(|frame| frame[12..14] == [0x08, 0x06]), "its link address is asked for");
    assert_eq!(host.next_hop(), Machine::mac(ROUTER));
    host.interface.neighbours().learn(better, Machine::mac(BETTER), Evidence::Answer, true, 1);
    host.receive(9, Machine::address4(9), &redirect4(better, &frame));
    assert_eq!(host.next_hop(), Machine::mac(ROUTER), "not from the router in use");
    let mut stranger = frame.clone();
    stranger[ETHERNET_LEN + 21] ^= 1;
    host.receive(ROUTER, router, &redirect4(better, &stranger));
    assert_eq!(host.next_hop(), Machine::mac(ROUTER), "no packet of ours");
    for wrong in [Machine::address4(1), Ipv4Addr::BROADCAST.into(), Ipv4Addr::new(224, 0, 0, 1).into(), router] {
        host.receive(ROUTER, router, &redirect4(wrong, &frame));
        assert_eq!(host.next_hop(), Machine::mac(ROUTER), "{wrong} is no router");
    }
    assert!(ACCEPT_REDIRECTS4.set(0));
    host.interface.accept_redirects[0].store(false, Relaxed);
    host.receive(ROUTER, router, &redirect4(better, &frame));
    assert_eq!(host.next_hop(), Machine::mac(ROUTER), "not wanted");
    host.interface.accept_redirects[0].store(true, Relaxed);
    host.receive(ROUTER, router, &redirect4(better, &frame));
    assert_eq!(host.next_hop(), Machine::mac(BETTER));
    assert!(ACCEPT_REDIRECTS4.set(1));
    // The better one is the router in use now; the old one has nothing to say.
    host.receive(ROUTER, router, &redirect4(Machine::address4(252), &frame));
    host.interface.neighbours().learn(Machine::address4(252), Machine::mac(252), Evidence::Answer, true, 1);
    host.receive(ROUTER, router, &redirect4(Machine::address4(252), &frame));
    assert_eq!(host.next_hop(), Machine::mac(BETTER));
}

fn redirect6(target: Ipv6Addr, frame: Option<&[u8]>) -> Vec<u8> {
    let mut message = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), &FAR6.octets()].concat();
    message.extend([2, 1].iter().chain(&Machine::mac(BETTER)));
    if let Some(frame) = frame {
        let quoted = &frame[ETHERNET_LEN..];
        let units = (8 + quoted.len()).div_ceil(8);
        let end = message.len() + units * 8;
        message.extend([4, u8::try_from(units).expect("short"), 0, 0, 0, 0, 0, 0]);
        message.extend(quoted);
        message.resize(end, 0);
    }
    message
}

#[test]
fn redirects_of_ipv6_carry_link_addresses() {
    let router = IpAddr::V6(link_local(ROUTER));
    for target in [link_local(BETTER), FAR6] {
        let host = Host::new(true);
        let frame = host.send();
        let good = redirect6(target, Some(&frame));
        assert_eq!(frame[..6], Machine::mac(ROUTER));
        host.receive6(ROUTER, router, &good, 64);
        assert_eq!(host.next_hop(), Machine::mac(ROUTER), "it has passed a router");
        host.receive(9, link_local(9).into(), &good);
        assert_eq!(host.next_hop(), Machine::mac(ROUTER), "not from the router in use");
        host.receive(ROUTER, router, &redirect6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 1), Some(&frame)));
        assert_eq!(host.next_hop(), Machine::mac(ROUTER), "no router's address");
        host.receive(ROUTER, router, &good[..39]);
        assert_eq!(host.next_hop(), Machine::mac(ROUTER), "cut short");
        host.interface.accept_redirects[1].store(false, Relaxed);
        host.receive(ROUTER, router, &good);
        assert_eq!(host.next_hop(), Machine::mac(ROUTER), "not wanted");
        host.interface.accept_redirects[1].store(true, Relaxed);
        host.receive(ROUTER, router, &redirect6(target, None));
        assert_eq!(host.next_hop(), Machine::mac(BETTER));
    }
}

#[test]
fn routers_of_old_are_told_in_their_own_words() {
    let host = Host::new(true);
    let group = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0x99);
    let [join, leave] = [20, 21];
    let mut membership = [group.octets().to_vec(), host.interface.index().to_ne_bytes().to_vec()].concat();
    membership.truncate(20);
    host.socket.set_option(41, join, &membership, &CALLER).expect("a group");
    let types = |frames: Vec<Vec<u8>>| -> Vec<(u8, Vec<u8>)> {
        // Behind the options that make routers look.
        frames
            .iter()
            .map(|frame| (frame[ETHERNET_LEN + 48], frame[ETHERNET_LEN + 24..ETHERNET_LEN + 40].to_vec()))
            .collect()
    };
    assert_eq!(types(host.machine.take_sent())[0].0, 143, "MLDv2");
    let mut query = [0; 24];
    (query[0], query[5]) = (130, 1);
    host.receive6(ROUTER, link_local(ROUTER).into(), &query, 1);
    let mut told = Vec::new();
    while told.is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(2));
        host.machine.stack().work(0);
        told = types(host.machine.take_sent());
    }
    assert!(told.contains(&(131, group.octets().to_vec())), "{told:?}");
    host.socket.set_option(41, leave, &membership, &CALLER).expect("a member");
    let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2).octets().to_vec();
    assert_eq!(types(host.machine.take_sent()), [(132, all_routers)]);
}
