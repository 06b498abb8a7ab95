//! Tests of control traffic: two machines on a link, a scripted DHCP server and router, and hostile packets.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ::file::Progress;
use abi::Errno;
use abi::socket::{AF_INET, AF_INET6, IPPROTO_ICMP, IPPROTO_ICMPV6, SOCK_DGRAM, SOCK_RAW};
use mm::user::{UserReader, UserWriter};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::Duration;
use smoltcp::wire::{
    DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv6Packet,
    Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv6Packet, NdiscPrefixInfoFlags, NdiscPrefixInformation, NdiscRepr,
    NdiscRouterFlags, RawHardwareAddress, UdpPacket,
};
use testkit::{Random, clock};

use super::*;
use crate::interface::{AddressState, Evidence, Interface, InterfaceAddress, Origin};
use crate::nic::NicFeatures;
use crate::socket::{
    Address, Caller, ControlMessage, MessageFlags, ReceiveRequest, Received, SendRequest, Socket, SocketCredentials,
    create,
};
use crate::test_support::{FakeNic, MAC, PEER_MAC, receive, stack_with_nic};

const SECOND: u64 = 1_000_000_000;
const CALLER: Caller = Caller {
    credentials: SocketCredentials { pid: 1, uid: 0, gid: 0 },
    may_bind_low_ports: true,
    may_use_raw: true,
    is_network_admin: true,
    in_flight_max: 1,
};

struct Machine {
    stack: Arc<Stack>,
    nic: Arc<FakeNic>,
    interface: Arc<Interface>,
}

impl Machine {
    fn new(mac: [u8; 6], addresses: &[&str]) -> Self {
        let stack = Stack::new(1);
        let nic = FakeNic::with_mac(mac, NicFeatures::empty());
        let interface = stack.interfaces().add(Arc::clone(&nic) as Arc<dyn crate::Nic>).unwrap();
        for address in addresses {
            let address: IpAddr = address.parse().unwrap();
            let prefix_len = if address.is_ipv4() { 24 } else { 64 };
            let entry = InterfaceAddress::permanent(interface.index(), address, prefix_len, Origin::Static);
            stack.interfaces().add_address(entry).unwrap();
        }
        Self { stack, nic, interface }
    }

    fn socket(&self, domain: u16, kind: i32, protocol: i32) -> Arc<dyn Socket> {
        create(&self.stack, domain.into(), kind, protocol, &CALLER).unwrap()
    }
}

fn machines() -> (Machine, Machine) {
    (Machine::new(MAC, &["10.0.0.1", "fd00::1"]), Machine::new(PEER_MAC, &["10.0.0.2", "fd00::2"]))
}

/// Carries frames to and fro until the link is quiet.
fn exchange(one: &Machine, two: &Machine) {
    const ROUNDS_MAX: usize = 100;
    for _ in 0..ROUNDS_MAX {
        // What a machine sends to itself comes in at its next round.
        for _ in 0..4 {
            one.stack.work(0);
            two.stack.work(0);
        }
        let (forth, back) = (one.nic.take(), two.nic.take());
        if forth.is_empty() && back.is_empty() {
            return;
        }
        forth.iter().for_each(|frame| receive(&two.stack, &two.interface, frame));
        back.iter().for_each(|frame| receive(&one.stack, &one.interface, frame));
    }
    panic!("the link does not become quiet");
}

fn send(socket: &Arc<dyn Socket>, bytes: &[u8], to: &str) -> Result<usize, Errno> {
    let address = (!to.is_empty()).then(|| Address::Inet(to.parse::<SocketAddr>().unwrap()));
    let (mut control, mut from) = (Vec::new(), UserReader::from_kernel(bytes));
    let flags = MessageFlags::empty();
    let mut request =
        SendRequest { from: &mut from, address: address.as_ref(), control: &mut control, flags, caller: &CALLER };
    socket.send(&mut request).map(|progress| match progress {
        Progress::Done(len) => len,
        other => panic!("{other:?}"),
    })
}

fn receive_from(socket: &Arc<dyn Socket>, flags: MessageFlags) -> Result<Option<(Vec<u8>, Received)>, Errno> {
    let mut buffer = alloc::vec![0; 70_000];
    let mut to = UserWriter::to_kernel(&mut buffer);
    let received = socket.receive(&mut ReceiveRequest { to: &mut to, flags, wants_control: true })?;
    let len = 70_000 - to.remaining();
    buffer.truncate(len);
    Ok(received.map(|received| (buffer, received)))
}

fn text(socket: &Arc<dyn Socket>) -> Option<Vec<u8>> {
    receive_from(socket, MessageFlags::empty()).unwrap().map(|(bytes, _)| bytes)
}

#[test]
fn datagrams_of_any_length_cross_the_link_in_both_families() {
    let (one, two) = machines();
    for (domain, any, to) in [(AF_INET, "0.0.0.0:7", "10.0.0.2:7"), (AF_INET6, "[::]:7", "[fd00::2]:7")] {
        let server = two.socket(domain, SOCK_DGRAM, 0);
        server.options().receive_buffer.store(1 << 20, core::sync::atomic::Ordering::Relaxed);
        server.bind(&Address::Inet(any.parse().unwrap()), &CALLER).unwrap();
        let client = one.socket(domain, SOCK_DGRAM, 0);
        let longest = if domain == AF_INET { 65_507 } else { 65_527 };
        for len in [0, 1, 1400, 1473, 5000, longest] {
            let bytes: Vec<u8> = (0..len).map(|number: usize| number.to_le_bytes()[0] ^ 7).collect();
            send(&client, &bytes, to).unwrap();
            exchange(&one, &two);
            assert_eq!(text(&server), Some(bytes), "{to} {len}");
        }
        server.close();
    }
    assert!(two.stack.mib().get(Counter::IpReasmOKs) == 3 && two.stack.mib().get(Counter::Ip6ReasmOKs) == 3);
}

#[test]
fn a_port_that_nobody_has_is_refused() {
    let (one, two) = machines();
    for (domain, to) in
        [(AF_INET, "10.0.0.2:9"), (AF_INET6, "[fd00::2]:9"), (AF_INET, "127.0.0.1:9"), (AF_INET6, "[::1]:9")]
    {
        let client = one.socket(domain, SOCK_DGRAM, 0);
        // Who is not connected is not told.
        send(&client, b"x", to).unwrap();
        exchange(&one, &two);
        assert!(receive_from(&client, MessageFlags::empty()).unwrap().is_none());
        client.connect(&Address::Inet(to.parse().unwrap()), &CALLER).unwrap();
        send(&client, b"x", "").unwrap();
        exchange(&one, &two);
        assert!(client.readiness().contains(abi::PollEvents::ERR), "{to}");
        assert_eq!(receive_from(&client, MessageFlags::empty()).err(), Some(Errno::ECONNREFUSED));
        assert!(receive_from(&client, MessageFlags::empty()).unwrap().is_none());
        let (level, option) = if domain == AF_INET { (0, 11) } else { (41, 25) };
        client.set_option(level, option, &1_i32.to_ne_bytes(), &CALLER).unwrap();
        send(&client, b"quoted", "").unwrap();
        exchange(&one, &two);
        let (bytes, received) = receive_from(&client, MessageFlags::ERRQUEUE).unwrap().unwrap();
        assert_eq!((&bytes[..], received.address), (&b"quoted"[..], Some(Address::Inet(to.parse().unwrap()))));
        let [ControlMessage::ExtendedError { errno: 111, origin, .. }] = received.control[..] else { panic!() };
        assert_eq!(origin, if domain == AF_INET { 2 } else { 3 });
        client.close();
    }
}

#[test]
fn echo_requests_are_answered_up_to_a_rate() {
    let (one, two) = machines();
    for (domain, protocol, to, kind) in
        [(AF_INET, IPPROTO_ICMP, "10.0.0.2:0", 8_u8), (AF_INET6, IPPROTO_ICMPV6, "[fd00::2]:0", 128)]
    {
        let ping = one.socket(domain, SOCK_DGRAM, protocol);
        assert_eq!(send(&ping, &[0, 0, 0, 0, 0, 0, 0, 0], to), Err(Errno::EINVAL));
        let request = [kind, 0, 0, 0, 0xde, 0xad, 0, 1, b'h', b'i'];
        send(&ping, &request, to).unwrap();
        exchange(&one, &two);
        let (reply, received) = receive_from(&ping, MessageFlags::empty()).unwrap().unwrap();
        assert_eq!((reply[0], &reply[6..]), (if kind == 8 { 0 } else { 129 }, &request[6..]));
        assert_eq!(received.address, Some(Address::Inet(to.parse().unwrap())));
        // A big one goes in pieces, both ways.
        let mut big = request.to_vec();
        big.resize(4000, 9);
        send(&ping, &big, to).unwrap();
        exchange(&one, &two);
        assert_eq!(text(&ping).map(|reply| reply.len()), Some(4000));
        clock::stop_at(sync::machine::now_ns());
        for _ in 0..200 {
            send(&ping, &request, to).unwrap();
        }
        exchange(&one, &two);
        let answers = core::iter::from_fn(|| text(&ping)).count();
        assert!((1..=50).contains(&answers), "{answers}");
        clock::run();
        ping.close();
    }
}

#[test]
fn raw_sockets_hear_and_speak() {
    let (one, two) = machines();
    let listener = two.socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    let other = two.socket(AF_INET, SOCK_RAW, 200);
    let sender = one.socket(AF_INET, SOCK_RAW, 200);
    send(&sender, b"payload", "10.0.0.2:0").unwrap();
    exchange(&one, &two);
    let packet = text(&other).unwrap();
    let ip = Ipv4Packet::new_checked(&packet[..]).unwrap();
    assert_eq!((ip.payload(), u8::from(ip.next_header())), (&b"payload"[..], 200));
    assert_eq!(text(&listener), None);
    sender.set_option(0, 3, &1_i32.to_ne_bytes(), &CALLER).unwrap();
    let mut whole = packet.clone();
    whole[12..16].copy_from_slice(&[0; 4]);
    send(&sender, &whole, "10.0.0.2:0").unwrap();
    assert_eq!(send(&sender, &[0x45; 10], "10.0.0.2:0"), Err(Errno::EINVAL));
    exchange(&one, &two);
    assert_eq!(text(&other).map(|again| again[12..].to_vec()), Some(packet[12..].to_vec()));
    // Nobody speaks this protocol any more.
    other.close();
    send(&sender, &whole, "10.0.0.2:0").unwrap();
    let hears_errors = one.socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    exchange(&one, &two);
    let error = text(&hears_errors).unwrap();
    assert_eq!((error[20], error[21]), (3, 2));
    hears_errors.set_option(255, 1, &(1_i32 << 3).to_ne_bytes(), &CALLER).unwrap();
    send(&sender, &whole, "10.0.0.2:0").unwrap();
    exchange(&one, &two);
    assert_eq!(text(&hears_errors), None);
}

#[test]
fn a_neighbour_that_does_not_answer_is_unreachable() {
    clock::stop_at(100 * SECOND);
    let (one, _) = machines();
    let client = one.socket(AF_INET, SOCK_DGRAM, 0);
    client.set_option(0, 11, &1_i32.to_ne_bytes(), &CALLER).unwrap();
    send(&client, b"lost", "10.0.0.77:9").unwrap();
    for _ in 0..4 {
        one.stack.work(0);
        clock::advance(SECOND);
    }
    one.stack.work(0);
    assert_eq!(one.nic.take().len(), 3);
    assert_eq!(receive_from(&client, MessageFlags::empty()).err(), Some(Errno::EHOSTUNREACH));
}

#[test]
fn a_path_that_takes_less_is_remembered() {
    let (stack, nic, interface) = stack_with_nic(NicFeatures::empty());
    interface.neighbours().learn("10.0.0.2".parse().unwrap(), PEER_MAC, Evidence::Answer, true, machine::now_ns());
    let client = create(&stack, AF_INET.into(), SOCK_DGRAM, 0, &CALLER).unwrap();
    client.connect(&Address::Inet("192.0.2.1:9".parse().unwrap()), &CALLER).unwrap();
    client.set_option(0, 10, &2_i32.to_ne_bytes(), &CALLER).unwrap();
    send(&client, &[1; 1400], "").unwrap();
    let sent = nic.take().remove(0);
    // The error comes from the router and quotes the beginning of the packet.
    let mut icmp = alloc::vec![3, 4, 0, 0, 0, 0, 0x04, 0xb0];
    icmp.extend(&sent[14..14 + 28]);
    let sum = crate::checksum::checksum(&icmp).to_be_bytes();
    icmp[2..4].copy_from_slice(&sum);
    receive(&stack, &interface, &frame4(IpProtocol::Icmp, [10, 0, 0, 2], [10, 0, 0, 1], &icmp));
    assert_eq!(stack.interfaces().with(|snapshot| snapshot.path_mtu("192.0.2.1".parse().unwrap())), Some(1200));
    assert_eq!(client.take_error(), None);
    assert_eq!(send(&client, &[1; 1400], ""), Err(Errno::EMSGSIZE));
    assert_eq!(send(&client, &[1; 1100], ""), Ok(1100));
    // One that quotes what was never sent is not believed.
    icmp[24 + 8..].iter_mut().for_each(|byte| *byte ^= 0x55);
    icmp[2..4].copy_from_slice(&[0, 0]);
    let sum = crate::checksum::checksum(&icmp).to_be_bytes();
    icmp[2..4].copy_from_slice(&sum);
    icmp[6] = 0x02;
    receive(&stack, &interface, &frame4(IpProtocol::Icmp, [10, 0, 0, 2], [10, 0, 0, 1], &icmp));
    assert_eq!(stack.interfaces().with(|snapshot| snapshot.path_mtu("192.0.2.1".parse().unwrap())), Some(1200));
}

fn ethernet(kind: EthernetProtocol, destination: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let mut bytes = alloc::vec![0; 14 + payload.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(EthernetAddress(PEER_MAC));
    frame.set_dst_addr(EthernetAddress(destination));
    frame.set_ethertype(kind);
    frame.payload_mut().copy_from_slice(payload);
    bytes
}

fn frame4(protocol: IpProtocol, source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = alloc::vec![0; 20 + payload.len()];
    let mut ip = Ipv4Packet::new_unchecked(&mut bytes[..]);
    ip.set_version(4);
    ip.set_header_len(20);
    ip.set_total_len(u16::try_from(20 + payload.len()).unwrap());
    ip.set_hop_limit(64);
    ip.set_next_header(protocol);
    ip.set_src_addr(source.into());
    ip.set_dst_addr(destination.into());
    ip.payload_mut().copy_from_slice(payload);
    ip.fill_checksum();
    ethernet(EthernetProtocol::Ipv4, MAC, &bytes)
}

fn frame6(source: Ipv6Addr, destination: Ipv6Addr, message: &Icmpv6Repr<'_>) -> Vec<u8> {
    let mut bytes = alloc::vec![0; 40 + message.buffer_len()];
    let mut ip = Ipv6Packet::new_unchecked(&mut bytes[..]);
    ip.set_version(6);
    ip.set_payload_len(u16::try_from(message.buffer_len()).unwrap());
    ip.set_next_header(IpProtocol::Icmpv6);
    ip.set_hop_limit(255);
    ip.set_src_addr(source);
    ip.set_dst_addr(destination);
    let mut icmp = Icmpv6Packet::new_unchecked(ip.payload_mut());
    message.emit(&source, &destination, &mut icmp, &ChecksumCapabilities::default());
    ethernet(EthernetProtocol::Ipv6, MAC, &bytes)
}

#[test]
fn a_lease_becomes_address_route_and_name_servers() {
    clock::stop_at(100 * SECOND);
    let machine = Machine::new(MAC, &[]);
    machine.stack.control().set_hostname("pearl");
    let configuration = Configuration { uses_dhcp: true, ..Configuration::default() };
    machine.stack.configure(machine.interface.index(), &configuration).unwrap();
    machine.stack.work(0);
    for (asked, answered) in
        [(DhcpMessageType::Discover, DhcpMessageType::Offer), (DhcpMessageType::Request, DhcpMessageType::Ack)]
    {
        let sent = machine.nic.take().remove(0);
        assert_eq!(sent[..6], [0xff; 6]);
        let udp = UdpPacket::new_checked(&sent[34..]).unwrap();
        assert_eq!((udp.src_port(), udp.dst_port(), sent[26..30].to_vec()), (68, 67, alloc::vec![0; 4]));
        assert!(udp.verify_checksum(&Ipv4Addr::UNSPECIFIED.into(), &Ipv4Addr::BROADCAST.into()));
        let dhcp = DhcpPacket::new_checked(udp.payload()).unwrap();
        let question = DhcpRepr::parse(&dhcp).unwrap();
        assert_eq!(question.message_type, asked);
        assert!(dhcp.options().any(|option| option.kind == 12 && option.data == b"pearl"));
        receive(&machine.stack, &machine.interface, &dhcp_reply(question.transaction_id, answered));
    }
    let snapshot = machine.stack.interfaces().snapshot();
    assert!(snapshot.is_local("10.0.2.15".parse().unwrap()));
    assert_eq!(snapshot.routes().iter().find_map(|route| route.gateway), Some("10.0.2.2".parse().unwrap()));
    assert_eq!(machine.stack.control().name_servers().0, ["10.0.2.3".parse::<IpAddr>().unwrap()]);
    // A probe and an announcement.
    assert_eq!(machine.nic.take().iter().filter(|frame| frame[12..14] == [8, 6]).count(), 2);
    // The lease ends without an answer, and the address with it.
    clock::advance(3601 * SECOND);
    machine.stack.work(0);
    assert!(!machine.stack.interfaces().is_local("10.0.2.15".parse().unwrap()));
}

fn dhcp_reply(transaction_id: u32, message_type: DhcpMessageType) -> Vec<u8> {
    let server = Ipv4Addr::new(10, 0, 2, 2);
    let servers = [DhcpOption { kind: 6, data: &[10, 0, 2, 3] }];
    let repr = DhcpRepr {
        message_type,
        transaction_id,
        secs: 0,
        client_hardware_address: EthernetAddress(MAC),
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: Ipv4Addr::new(10, 0, 2, 15),
        server_ip: server,
        router: Some(server),
        subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(server),
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: Some(3600),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &servers,
    };
    let mut bytes = alloc::vec![0; 8 + repr.buffer_len()];
    let mut udp = UdpPacket::new_unchecked(&mut bytes[..]);
    udp.set_src_port(67);
    udp.set_dst_port(68);
    udp.set_len(u16::try_from(8 + repr.buffer_len()).unwrap());
    repr.emit(&mut DhcpPacket::new_unchecked(udp.payload_mut())).unwrap();
    udp.set_checksum(0);
    frame4(IpProtocol::Udp, [10, 0, 2, 2], [10, 0, 2, 15], &bytes)
}

#[test]
fn an_interface_that_was_configured_by_hand_has_an_address_for_its_link() {
    clock::stop_at(100 * SECOND);
    let machine = Machine::new(MAC, &[]);
    let addresses = vec![("10.0.0.9".parse().unwrap(), 24)];
    let configuration = Configuration { addresses, has_link_local_address: true, ..Configuration::default() };
    machine.stack.configure(machine.interface.index(), &configuration).unwrap();
    for _ in 0..5 {
        clock::advance(SECOND);
        machine.stack.work(0);
    }
    assert!(machine.stack.interfaces().is_local("fe80::ff:fe00:1".parse().unwrap()));
    assert!(machine.nic.take().iter().all(|frame| frame.get(54) != Some(&133)), "routers are not looked for");
}

#[test]
fn a_router_gives_addresses_and_the_way_out() {
    clock::stop_at(100 * SECOND);
    let machine = Machine::new(MAC, &[]);
    let configuration = Configuration { uses_router_advertisements: true, ..Configuration::default() };
    machine.stack.configure(machine.interface.index(), &configuration).unwrap();
    let own: IpAddr = "fe80::ff:fe00:1".parse().unwrap();
    assert!(!machine.stack.interfaces().is_local(own));
    clock::advance(SECOND);
    machine.stack.work(0);
    assert!(machine.stack.interfaces().is_local(own));
    let solicits = |frame: &Vec<u8>| frame.get(54) == Some(&133);
    assert_eq!(machine.nic.take().iter().filter(|frame| solicits(frame)).count(), 1);
    let router: Ipv6Addr = "fe80::2".parse().unwrap();
    let advertise = |lifetime: u64| {
        let mtu = (lifetime == 1800).then_some(1400);
        let prefix_info = NdiscPrefixInformation {
            prefix_len: 64,
            flags: NdiscPrefixInfoFlags::ON_LINK | NdiscPrefixInfoFlags::ADDRCONF,
            valid_lifetime: Duration::from_secs(86_400),
            preferred_lifetime: Duration::from_secs(3600),
            prefix: "2001:db8::".parse().unwrap(),
        };
        let message = NdiscRepr::RouterAdvert {
            hop_limit: 64,
            flags: NdiscRouterFlags::empty(),
            router_lifetime: Duration::from_secs(lifetime),
            reachable_time: Duration::ZERO,
            retrans_time: Duration::ZERO,
            lladdr: Some(RawHardwareAddress::from(EthernetAddress(PEER_MAC))),
            mtu,
            prefix_info: Some(prefix_info),
        };
        frame6(router, "ff02::1".parse().unwrap(), &Icmpv6Repr::Ndisc(message))
    };
    receive(&machine.stack, &machine.interface, &advertise(1800));
    clock::advance(SECOND);
    machine.stack.work(0);
    let address: IpAddr = "2001:db8::ff:fe00:1".parse().unwrap();
    let snapshot = machine.stack.interfaces().snapshot();
    assert!(snapshot.is_local(address));
    // What a router says of the link holds for its family alone.
    let mtu_to = |to: &str| machine.interface.mtu_to(to.parse().unwrap());
    assert_eq!((mtu_to("2001:db8::9"), mtu_to("192.0.2.9"), machine.interface.mtu()), (1400, 1500, 1500));
    for refused in [1279, 1501] {
        machine.stack.interfaces().set_mtu6(&machine.interface, refused);
        assert_eq!(mtu_to("2001:db8::9"), 1400);
    }
    assert_eq!(snapshot.routes().iter().find_map(|route| route.gateway), Some(IpAddr::V6(router)));
    clock::advance(3600 * SECOND);
    machine.stack.work(0);
    let state = |machine: &Machine| {
        let snapshot = machine.stack.interfaces().snapshot();
        snapshot.addresses().iter().find(|own| own.address == address).map(|own| own.state)
    };
    assert_eq!(state(&machine), Some(AddressState::Deprecated));
    assert!(machine.stack.interfaces().snapshot().routes().iter().all(|route| route.gateway.is_none()));
    receive(&machine.stack, &machine.interface, &advertise(1800));
    assert_eq!(state(&machine), Some(AddressState::Preferred));
    receive(&machine.stack, &machine.interface, &advertise(0));
    assert!(machine.stack.interfaces().snapshot().routes().iter().all(|route| route.gateway.is_none()));
}

#[test]
fn an_address_that_another_has_is_not_used() {
    clock::stop_at(100 * SECOND);
    let machine = Machine::new(MAC, &[]);
    let configuration = Configuration { uses_router_advertisements: true, ..Configuration::default() };
    machine.stack.configure(machine.interface.index(), &configuration).unwrap();
    let own: Ipv6Addr = "fe80::ff:fe00:1".parse().unwrap();
    let message = NdiscRepr::NeighborAdvert {
        flags: smoltcp::wire::NdiscNeighborFlags::OVERRIDE,
        target_addr: own,
        lladdr: Some(RawHardwareAddress::from(EthernetAddress(PEER_MAC))),
    };
    receive(&machine.stack, &machine.interface, &frame6(own, "ff02::1".parse().unwrap(), &Icmpv6Repr::Ndisc(message)));
    clock::advance(10 * SECOND);
    machine.stack.work(0);
    assert!(!machine.stack.interfaces().is_local(own.into()));
}

/// A question of a router for all groups, in IGMPv2.
fn query2() -> Vec<u8> {
    let mut frame = alloc::vec![0; 14 + 20 + 8];
    frame[..14].copy_from_slice(&[0x01, 0x00, 0x5e, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
    let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
    packet.set_version(4);
    packet.set_header_len(20);
    packet.set_total_len(28);
    packet.set_hop_limit(1);
    packet.set_next_header(IpProtocol::Igmp);
    packet.set_src_addr(Ipv4Addr::new(10, 0, 0, 2));
    packet.set_dst_addr(Ipv4Addr::new(224, 0, 0, 1));
    packet.payload_mut().copy_from_slice(&[0x11, 100, 0xee, 0x9b, 0, 0, 0, 0]);
    packet.fill_checksum();
    frame
}

#[test]
fn groups_are_reported() {
    clock::stop_at(100 * SECOND);
    let (one, _) = machines();
    let member = one.socket(AF_INET, SOCK_DGRAM, 0);
    member.set_option(0, 35, &[239, 1, 2, 3, 10, 0, 0, 1], &CALLER).unwrap();
    let report = one.nic.take().remove(0);
    let ip = Ipv4Packet::new_checked(&report[14..]).unwrap();
    assert!(ip.verify_checksum() && ip.hop_limit() == 1 && ip.header_len() == 24);
    assert_eq!(ip.dst_addr(), Ipv4Addr::new(224, 0, 0, 22));
    // To exclude nobody of one group: to be in it.
    assert_eq!(ip.payload(), [0x22, 0, 0xe8, 0xf9, 0, 0, 0, 1, 4, 0, 0, 0, 239, 1, 2, 3]);
    member.close();
    let leave = one.nic.take().remove(0);
    assert_eq!(Ipv4Packet::new_checked(&leave[14..]).unwrap().payload()[8], 3);
    // A router that asks in the version before is told in that.
    receive(&one.stack, &one.interface, &query2());
    let member = one.socket(AF_INET, SOCK_DGRAM, 0);
    member.set_option(0, 35, &[239, 1, 2, 3, 10, 0, 0, 1], &CALLER).unwrap();
    let report = one.nic.take().remove(0);
    let ip = Ipv4Packet::new_checked(&report[14..]).unwrap();
    assert_eq!((ip.dst_addr(), ip.payload()[0]), (Ipv4Addr::new(239, 1, 2, 3), 0x16));
    clock::advance(261 * SECOND);
    member.close();
    let leave = one.nic.take().remove(0);
    assert_eq!(Ipv4Packet::new_checked(&leave[14..]).unwrap().payload()[0], 0x22);
    clock::run();
    let member = one.socket(AF_INET6, SOCK_DGRAM, 0);
    let mut request = [0; 20];
    request[..2].copy_from_slice(&[0xff, 0x05]);
    request[15] = 9;
    request[16..].copy_from_slice(&one.interface.index().to_ne_bytes());
    member.set_option(41, 20, &request, &CALLER).unwrap();
    let report = one.nic.take().remove(0);
    assert_eq!((report[54], report[62]), (58, 143));
}

#[test]
fn hostile_packets_do_no_harm() {
    let seed = 23;
    let mut random = Random::new(seed);
    let (one, two) = machines();
    let raw: Vec<Arc<dyn Socket>> = [(AF_INET, IPPROTO_ICMP), (AF_INET6, IPPROTO_ICMPV6)]
        .map(|(domain, protocol)| one.socket(domain, SOCK_RAW, protocol))
        .into();
    one.stack.configure(one.interface.index(), &Configuration::automatic()).unwrap();
    let mut seeds = alloc::vec![dhcp_reply(1, DhcpMessageType::Offer)];
    // Real traffic of many kinds, to begin with.
    for (domain, to) in [(AF_INET, "10.0.0.1:68"), (AF_INET6, "[fd00::1]:9")] {
        let client = two.socket(domain, SOCK_DGRAM, 0);
        send(&client, &[3; 4000], to).unwrap();
        exchange_into(&one, &two, &mut seeds);
    }
    let ping = two.socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6);
    send(&ping, &[128, 0, 0, 0, 0, 0, 0, 1], "[fd00::1]:0").unwrap();
    exchange_into(&one, &two, &mut seeds);
    for _ in 0..20_000 {
        let mut frame = seeds[random.below(seeds.len())].clone();
        for _ in 0..random.below(6) {
            let at = 12 + random.below(frame.len() - 12);
            frame[at] = random.next_u64().to_le_bytes()[0];
        }
        if random.below(4) == 0 {
            frame.truncate(random.below(frame.len() + 1));
        }
        mend(&mut frame);
        receive(&one.stack, &one.interface, &frame);
        one.nic.take();
        for socket in &raw {
            while let Ok(Some(_)) = receive_from(socket, MessageFlags::empty()) {}
        }
    }
}

/// As [`exchange`], and keeps what went by.
fn exchange_into(one: &Machine, two: &Machine, kept: &mut Vec<Vec<u8>>) {
    for _ in 0..20 {
        one.stack.work(0);
        two.stack.work(0);
        let (forth, back) = (one.nic.take(), two.nic.take());
        forth.iter().for_each(|frame| receive(&two.stack, &two.interface, frame));
        back.iter().for_each(|frame| receive(&one.stack, &one.interface, frame));
        kept.extend(back);
        kept.extend(forth);
    }
}

/// Makes checksums right again, so that more than the first look is tested.
fn mend(frame: &mut [u8]) {
    if frame.len() >= 34 && frame[12..14] == [8, 0] && frame[14] == 0x45 {
        let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
        ip.fill_checksum();
        if frame[23] == 1 {
            let mut sum = crate::checksum::Sum::new();
            frame[36 - 2..].iter_mut().skip(2).take(2).for_each(|byte| *byte = 0);
            sum.add(&frame[34..]);
            let value = sum.finish().to_be_bytes();
            if frame.len() >= 38 {
                frame[36..38].copy_from_slice(&value);
            }
        }
    }
    if frame.len() >= 58 && frame[12..14] == [0x86, 0xdd] && frame[20] == 58 {
        let address = |at: usize| IpAddr::from(core::array::from_fn::<u8, 16, _>(|place| frame[at + place]));
        let len = usize::from(u16::from_be_bytes([frame[18], frame[19]])).min(frame.len() - 54);
        let mut sum = crate::checksum::Sum::pseudo_header(address(22), address(38), 58, len);
        frame[56..58].copy_from_slice(&[0, 0]);
        sum.add(&frame[54..54 + len]);
        let value = sum.finish().to_be_bytes();
        frame[56..58].copy_from_slice(&value);
    }
}

#[test]
fn an_address_that_a_program_gives_is_tried_out_and_opens_the_machine_to_no_router() {
    clock::stop_at(100 * SECOND);
    let one = Machine::new(MAC, &[]);
    let index = one.interface.index();
    let entry = InterfaceAddress::permanent(index, "fd05::1".parse().unwrap(), 64, Origin::Static);
    let state = || one.stack.interfaces().with(|snapshot| snapshot.addresses_of(index).next().map(|own| own.state));
    one.stack.add_address(entry, true).unwrap();
    assert_eq!((state(), one.nic.take().len()), (Some(AddressState::Tentative), 1));
    assert_eq!(one.stack.add_address(entry, true), Err(Errno::EEXIST));
    clock::advance(2 * SECOND);
    one.stack.work(0);
    assert_eq!(state(), Some(AddressState::Preferred));
    let listens = one.stack.control().with(|state| state.discoveries.len());
    assert_eq!(listens, 1);
    // Without being asked for, no router is looked for.
    one.stack.link_up(&one.interface);
    one.stack.work(0);
    assert!(one.nic.take().is_empty());
}
