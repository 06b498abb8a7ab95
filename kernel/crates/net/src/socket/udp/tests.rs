//! Tests of UDP sockets. What they expect is what the same calls answer on Linux.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use ::file::Progress;
use abi::socket::{AF_INET, AF_INET6, SOCK_DGRAM};
use abi::{Errno, PollEvents};
use mm::user::{UserReader, UserWriter};
use smoltcp::wire::{Ipv4Packet, UdpPacket};
use testkit as _;

use crate::interface::Evidence;
use crate::nic::NicFeatures;
use crate::socket::{
    Address, Caller, ControlMessage, MessageFlags, ReceiveRequest, Received, SendRequest, Socket, SocketCredentials,
    create,
};
use crate::test_support::{MAC, PEER_MAC, receive as receive_frame, stack_with_nic};
use crate::{Stack, socket::Half};

const CALLER: Caller = Caller {
    credentials: SocketCredentials { pid: 1, uid: 0, gid: 0 },
    may_bind_low_ports: true,
    may_use_raw: true,
    is_network_admin: true,
    in_flight_max: 1,
};
const SOL_IP: i32 = 0;
const SOL_IPV6: i32 = 41;
const SOL_UDP: i32 = 17;

type AnySocket = Arc<dyn Socket>;

fn socket(stack: &Arc<Stack>, domain: u16) -> AnySocket {
    create(stack, domain.into(), SOCK_DGRAM, 0, &CALLER).unwrap()
}

fn at(text: &str) -> Address {
    Address::Inet(text.parse().unwrap())
}

fn bound(stack: &Arc<Stack>, address: &str) -> (AnySocket, SocketAddr) {
    let domain = if at(address) == Address::Inet(address.parse().unwrap()) && address.starts_with('[') {
        AF_INET6
    } else {
        AF_INET
    };
    let socket = socket(stack, domain);
    socket.bind(&at(address), &CALLER).unwrap();
    let local = local(&socket);
    (socket, local)
}

fn local(socket: &AnySocket) -> SocketAddr {
    match socket.local_address().unwrap() {
        Address::Inet(address) => address,
        other => panic!("{other:?}"),
    }
}

fn send_flags(socket: &AnySocket, bytes: &[u8], to: Option<SocketAddr>, flags: MessageFlags) -> Result<usize, Errno> {
    let mut control = Vec::new();
    let address = to.map(Address::Inet);
    let mut from = UserReader::from_kernel(bytes);
    let mut request =
        SendRequest { from: &mut from, address: address.as_ref(), control: &mut control, flags, caller: &CALLER };
    socket.send(&mut request).map(|progress| match progress {
        Progress::Done(len) => len,
        other => panic!("{other:?}"),
    })
}

fn send(socket: &AnySocket, bytes: &[u8], to: Option<SocketAddr>) -> Result<usize, Errno> {
    send_flags(socket, bytes, to, MessageFlags::empty())
}

fn receive_flags(socket: &AnySocket, room: usize, flags: MessageFlags) -> Result<Option<(Vec<u8>, Received)>, Errno> {
    let mut buffer = alloc::vec![0; room];
    let mut to = UserWriter::to_kernel(&mut buffer);
    let received = socket.receive(&mut ReceiveRequest { to: &mut to, flags, wants_control: true })?;
    let left = to.remaining();
    buffer.truncate(room - left);
    Ok(received.map(|received| (buffer, received)))
}

fn receive(socket: &AnySocket) -> Result<Option<(Vec<u8>, Received)>, Errno> {
    receive_flags(socket, 2000, MessageFlags::empty())
}

fn text(socket: &AnySocket) -> Option<Vec<u8>> {
    receive(socket).unwrap().map(|(bytes, _)| bytes)
}

#[test]
fn datagrams_keep_their_bounds_and_senders() {
    let stack = Stack::new(1);
    let (server, address) = bound(&stack, "127.0.0.1:0");
    assert!((32_768..=60_999).contains(&address.port()));
    let client = socket(&stack, AF_INET);
    assert_eq!(local(&client).port(), 0);
    assert_eq!(send(&client, b"one", Some(address)), Ok(3));
    assert_eq!(send(&client, b"", Some(address)), Ok(0));
    assert_eq!(send(&client, b"three", Some(address)), Ok(5));
    assert!(server.readiness().contains(PollEvents::IN));
    let (bytes, received) = receive_flags(&server, 2, MessageFlags::PEEK).unwrap().unwrap();
    assert_eq!((&bytes[..], received.len, received.flags), (&b"on"[..], 2, MessageFlags::TRUNC));
    let (_, received) = receive_flags(&server, 2, MessageFlags::TRUNC).unwrap().unwrap();
    assert_eq!((received.len, received.flags), (3, MessageFlags::TRUNC));
    let from = SocketAddr::from((Ipv4Addr::LOCALHOST, local(&client).port()));
    assert_eq!(received.address, Some(Address::Inet(from)));
    assert_eq!((text(&server), text(&server), text(&server)), (Some(Vec::new()), Some(b"three".to_vec()), None));
    assert!(!server.readiness().contains(PollEvents::IN));
}

#[test]
fn addresses_are_refused_as_on_linux() {
    let stack = Stack::new(1);
    let (_server, address) = bound(&stack, "0.0.0.0:7000");
    let other = socket(&stack, AF_INET);
    assert_eq!(other.bind(&at("127.0.0.1:7000"), &CALLER), Err(Errno::EADDRINUSE));
    assert_eq!(other.bind(&at("192.0.2.1:1"), &CALLER), Err(Errno::EADDRNOTAVAIL));
    assert_eq!(other.bind(&Address::Unspecified, &CALLER), Err(Errno::EAFNOSUPPORT));
    assert_eq!(other.bind(&at("[::1]:1"), &CALLER), Err(Errno::EAFNOSUPPORT));
    let nobody = Caller { may_bind_low_ports: false, ..CALLER };
    assert_eq!(other.bind(&at("127.0.0.1:80"), &nobody), Err(Errno::EACCES));
    assert_eq!(other.bind(&at("127.0.0.1:7001"), &CALLER), Ok(()));
    assert_eq!(other.bind(&at("127.0.0.1:7002"), &CALLER), Err(Errno::EINVAL));
    let client = socket(&stack, AF_INET);
    assert_eq!(send(&client, b"x", None), Err(Errno::EDESTADDRREQ));
    assert_eq!(send(&client, b"x", Some("127.0.0.1:0".parse().unwrap())), Err(Errno::EINVAL));
    assert_eq!(send(&client, b"x", Some("192.0.2.1:9".parse().unwrap())), Err(Errno::ENETUNREACH));
    assert_eq!(send(&client, &[0; 65_508], Some(address)), Err(Errno::EMSGSIZE));
    assert_eq!(send(&client, &[7; 65_507], Some(address)), Ok(65_507));
    assert_eq!(client.peer_address(), Err(Errno::ENOTCONN));
    assert_eq!(client.shutdown(Half::Both), Err(Errno::ENOTCONN));
    assert_eq!(client.listen(1, &CALLER), Err(Errno::EOPNOTSUPP));
    assert_eq!(receive_flags(&socket(&stack, AF_INET), 10, MessageFlags::ERRQUEUE).err(), Some(Errno::EAGAIN));
}

#[test]
fn a_connected_socket_hears_its_peer_alone() {
    let stack = Stack::new(1);
    let (one, one_address) = bound(&stack, "127.0.0.1:0");
    let (two, two_address) = bound(&stack, "127.0.0.1:0");
    let (three, _) = bound(&stack, "127.0.0.1:0");
    one.connect(&Address::Inet(two_address), &CALLER).unwrap();
    assert_eq!(one.peer_address(), Ok(Address::Inet(two_address)));
    send(&three, b"stranger", Some(one_address)).unwrap();
    send(&two, b"friend", Some(one_address)).unwrap();
    assert_eq!((text(&one), text(&one)), (Some(b"friend".to_vec()), None));
    assert_eq!(send(&one, b"back", None), Ok(4));
    assert_eq!(text(&two), Some(b"back".to_vec()));
    one.connect(&Address::Unspecified, &CALLER).unwrap();
    assert_eq!(one.peer_address(), Err(Errno::ENOTCONN));
    // The address was chosen, the port was not: it goes, as on Linux.
    assert_eq!(local(&one), "127.0.0.1:0".parse().unwrap());
    one.close();
    let (one, one_address) = bound(&stack, "127.0.0.1:7009");
    one.connect(&Address::Inet(two_address), &CALLER).unwrap();
    one.connect(&Address::Unspecified, &CALLER).unwrap();
    assert_eq!(local(&one), one_address);
    send(&three, b"anybody", Some(one_address)).unwrap();
    assert_eq!(text(&one), Some(b"anybody".to_vec()));
    one.close();
    assert_eq!(stack.flows().len(), 2);
    two.close();
    three.close();
    assert!(stack.flows().is_empty());
}

#[test]
fn one_socket_serves_both_families() {
    let stack = Stack::new(1);
    let (server, _) = bound(&stack, "[::]:5000");
    let client = socket(&stack, AF_INET);
    send(&client, b"four", Some("127.0.0.1:5000".parse().unwrap())).unwrap();
    let (bytes, received) = receive(&server).unwrap().unwrap();
    let from = SocketAddr::new(IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()), local(&client).port());
    assert_eq!((&bytes[..], received.address), (&b"four"[..], Some(Address::Inet(from))));
    assert_eq!(send(&server, b"back", Some(from)), Ok(4));
    assert_eq!(text(&client), Some(b"back".to_vec()));
    assert_eq!(socket(&stack, AF_INET).bind(&at("0.0.0.0:5000"), &CALLER), Err(Errno::EADDRINUSE));
    let only = socket(&stack, AF_INET6);
    only.set_option(SOL_IPV6, 26, &1_i32.to_ne_bytes(), &CALLER).unwrap();
    only.bind(&at("[::]:5001"), &CALLER).unwrap();
    assert_eq!(only.set_option(SOL_IPV6, 26, &0_i32.to_ne_bytes(), &CALLER), Err(Errno::EINVAL));
    assert_eq!(only.connect(&Address::Inet("127.0.0.1:9".parse().unwrap()), &CALLER), Err(Errno::ENETUNREACH));
    let (four, _) = bound(&stack, "0.0.0.0:5001");
    send(&client, b"x", Some("127.0.0.1:5001".parse().unwrap())).unwrap();
    assert_eq!((text(&four), text(&only)), (Some(b"x".to_vec()), None));
    assert_eq!(send(&only, b"x", Some(from)), Err(Errno::ENETUNREACH));
}

#[test]
fn nothing_comes_from_a_network_that_is_within_the_machine() {
    let (stack, nic, interface) = stack_with_nic(NicFeatures::empty());
    let (server, address) = bound(&stack, "127.0.0.1:5000");
    let (client, _) = bound(&stack, "127.0.0.1:5001");
    client.connect(&Address::Inet(address), &CALLER).unwrap();
    let (everywhere, _) = bound(&stack, "0.0.0.0:5002");
    let comes = |source: [u8; 4], destination: [u8; 4], ports: [u16; 2]| {
        let mut frame = [&MAC[..], &PEER_MAC, &[8, 0, 0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0]].concat();
        frame.extend(source.iter().chain(&destination));
        Ipv4Packet::new_unchecked(&mut frame[14..]).fill_checksum();
        // Without a checksum of UDP.
        frame.extend(ports.iter().flat_map(|port| port.to_be_bytes()).chain([0, 9, 0, 0, b'x']));
        receive_frame(&stack, &interface, &frame);
        [&server, &client, &everywhere].map(|socket| text(socket).is_some())
    };
    let (own, peer, loopback) = ([10, 0, 0, 1], [10, 0, 0, 2], [127, 0, 0, 1]);
    assert_eq!(comes(peer, own, [9, 5002]), [false, false, true]);
    for (source, destination, ports) in [
        (peer, loopback, [9, 5000]),
        (peer, loopback, [9, 5002]),
        (loopback, loopback, [5000, 5001]),
        (loopback, own, [9, 5002]),
        (peer, [127, 255, 255, 255], [9, 5002]),
    ] {
        assert_eq!(comes(source, destination, ports), [false; 3], "from {source:?} to {destination:?}");
    }
    assert!(nic.take().is_empty(), "and nobody answers");
}

#[test]
fn sockets_that_share_a_port_share_the_load() {
    let stack = Stack::new(1);
    let members: Vec<AnySocket> = (0..4)
        .map(|_| {
            let member = socket(&stack, AF_INET);
            member.options().reuse_port.store(true, core::sync::atomic::Ordering::Relaxed);
            member.bind(&at("127.0.0.1:6000"), &CALLER).unwrap();
            member
        })
        .collect();
    for _ in 0..64 {
        send(&socket(&stack, AF_INET), b"x", Some("127.0.0.1:6000".parse().unwrap())).unwrap();
    }
    let counts: Vec<usize> = members.iter().map(|member| core::iter::from_fn(|| text(member)).count()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 64);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn the_receive_buffer_is_a_limit() {
    let stack = Stack::new(1);
    let (server, address) = bound(&stack, "127.0.0.1:0");
    server.options().receive_buffer.store(4608, core::sync::atomic::Ordering::Relaxed);
    for _ in 0..100 {
        send(&server, &[1; 500], Some(address)).unwrap();
    }
    let count = core::iter::from_fn(|| text(&server)).count();
    assert!((5..12).contains(&count), "{count}");
    assert_eq!(stack.mib().get(crate::counters::Counter::UdpRcvbufErrors), 100 - count as u64);
    send(&server, b"again", Some(address)).unwrap();
    assert_eq!(text(&server), Some(b"again".to_vec()));
}

#[test]
fn options_describe_packets_and_choose_their_headers() {
    let (stack, nic, interface) = stack_with_nic(NicFeatures::empty());
    interface.neighbours().learn(
        "10.0.0.2".parse().unwrap(),
        PEER_MAC,
        Evidence::Answer,
        true,
        sync::machine::now_ns(),
    );
    let (server, address) = bound(&stack, "127.0.0.1:0");
    for option in [8, 12, 13] {
        server.set_option(SOL_IP, option, &1_i32.to_ne_bytes(), &CALLER).unwrap();
    }
    server.options().timestamp.store(1, core::sync::atomic::Ordering::Relaxed);
    let client = socket(&stack, AF_INET);
    client.set_option(SOL_IP, 2, &9_i32.to_ne_bytes(), &CALLER).unwrap();
    client.set_option(SOL_IP, 1, &[0x10], &CALLER).unwrap();
    assert_eq!(client.set_option(SOL_IP, 2, &256_i32.to_ne_bytes(), &CALLER), Err(Errno::EINVAL));
    assert_eq!(client.set_option(SOL_IP, 9999, &[0; 4], &CALLER), Err(Errno::ENOPROTOOPT));
    assert_eq!(client.option(SOL_IP, 2, 4, &[]), Ok(9_i32.to_ne_bytes().to_vec()));
    assert_eq!(client.option(SOL_IP, 2, 1, &[]), Ok(alloc::vec![9]));
    assert_eq!(client.option(SOL_IP, 14, 4, &[]), Err(Errno::ENOTCONN));
    send(&client, b"x", Some(address)).unwrap();
    let (_, received) = receive(&server).unwrap().unwrap();
    let [
        ControlMessage::Timestamp(_),
        info,
        ControlMessage::HopLimit(9, false),
        ControlMessage::TrafficClass(0x10, false),
    ] = &received.control[..]
    else {
        panic!("{:?}", received.control)
    };
    let ControlMessage::PacketInfo { interface: 1, specified, destination } = info else { panic!("{info:?}") };
    assert_eq!((*specified, *destination), (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)));
    client.connect(&at("10.0.0.2:9"), &CALLER).unwrap();
    assert_eq!(client.option(SOL_IP, 14, 4, &[]), Ok(1500_i32.to_ne_bytes().to_vec()));
    send(&client, b"out", None).unwrap();
    let sent = nic.take();
    let packet = Ipv4Packet::new_checked(&sent[0][14..]).unwrap();
    assert_eq!((packet.hop_limit(), packet.dscp(), packet.dont_frag()), (9, 4, true));
}

#[test]
fn messages_are_corked_and_cut() {
    let (stack, nic, interface) = stack_with_nic(NicFeatures::TRANSMIT_CHECKSUM);
    interface.neighbours().learn(
        "10.0.0.2".parse().unwrap(),
        PEER_MAC,
        Evidence::Answer,
        true,
        sync::machine::now_ns(),
    );
    let client = socket(&stack, AF_INET);
    client.connect(&at("10.0.0.2:9"), &CALLER).unwrap();
    send_flags(&client, b"one", None, MessageFlags::MORE).unwrap();
    send_flags(&client, b"two", None, MessageFlags::MORE).unwrap();
    assert!(nic.take().is_empty());
    send(&client, b"!", None).unwrap();
    let sent = nic.take();
    let payload = |frame: &[u8]| UdpPacket::new_checked(&frame[34..]).unwrap().payload().to_vec();
    assert_eq!((sent.len(), payload(&sent[0])), (1, b"onetwo!".to_vec()));
    client.set_option(SOL_UDP, 1, &1_i32.to_ne_bytes(), &CALLER).unwrap();
    send(&client, b"a", None).unwrap();
    send(&client, b"b", None).unwrap();
    client.set_option(SOL_UDP, 1, &0_i32.to_ne_bytes(), &CALLER).unwrap();
    assert_eq!(nic.take().iter().map(|frame| payload(frame)).collect::<Vec<_>>(), [b"ab"]);
    client.set_option(SOL_UDP, 103, &4_i32.to_ne_bytes(), &CALLER).unwrap();
    send(&client, b"0123456789", None).unwrap();
    let parts: Vec<Vec<u8>> = nic.take().iter().map(|frame| payload(frame)).collect();
    assert_eq!(parts, [&b"0123"[..], b"4567", b"89"]);
    client.set_option(SOL_UDP, 103, &1_i32.to_ne_bytes(), &CALLER).unwrap();
    assert_eq!(send(&client, &[0; 129], None), Err(Errno::EINVAL));
}

#[test]
fn groups_and_all_are_reached_by_permission_and_membership() {
    let (stack, nic, interface) = stack_with_nic(NicFeatures::empty());
    let client = socket(&stack, AF_INET);
    let everybody = "10.0.0.255:5353".parse().unwrap();
    assert_eq!(send(&client, b"x", Some(everybody)), Err(Errno::EACCES));
    client.options().broadcast.store(true, core::sync::atomic::Ordering::Relaxed);
    let (one, _) = bound(&stack, "0.0.0.0:5353");
    assert_eq!(send(&client, b"all", Some(everybody)), Ok(3));
    assert_eq!(nic.take()[0][..6], [0xff; 6]);
    assert_eq!(text(&one), Some(b"all".to_vec()));
    let group = "239.1.2.3:5353".parse().unwrap();
    // Nobody on this machine is in the group.
    send(&client, b"x", Some(group)).unwrap();
    assert_eq!((nic.take()[0][..6].to_vec(), text(&one)), (alloc::vec![1, 0, 0x5e, 1, 2, 3], None));
    let two = socket(&stack, AF_INET);
    for member in [&one, &two] {
        member.options().reuse_address.store(true, core::sync::atomic::Ordering::Relaxed);
    }
    two.bind(&at("0.0.0.0:5353"), &CALLER).unwrap();
    two.set_option(SOL_IP, 35, &[239, 1, 2, 3, 10, 0, 0, 1], &CALLER).unwrap();
    one.set_option(SOL_IP, 49, &0_i32.to_ne_bytes(), &CALLER).unwrap();
    send(&client, b"group", Some(group)).unwrap();
    assert_eq!((text(&one), text(&two)), (None, Some(b"group".to_vec())));
    client.set_option(SOL_IP, 34, &0_i32.to_ne_bytes(), &CALLER).unwrap();
    send(&client, b"quiet", Some(group)).unwrap();
    assert_eq!(text(&two), None);
    two.close();
    assert!(!stack.interfaces().with(|snapshot| snapshot.is_member(interface.index(), "239.1.2.3".parse().unwrap())));
}

#[test]
fn packets_with_wrong_sums_or_for_others_are_not_delivered() {
    let (stack, nic, interface) = stack_with_nic(NicFeatures::empty());
    interface.neighbours().learn(
        "10.0.0.2".parse().unwrap(),
        PEER_MAC,
        Evidence::Answer,
        true,
        sync::machine::now_ns(),
    );
    let (server, _) = bound(&stack, "0.0.0.0:7");
    // A datagram of our own is turned round by hand.
    let client = socket(&stack, AF_INET);
    client.bind(&at("10.0.0.1:9000"), &CALLER).unwrap();
    send(&client, b"hello", Some("10.0.0.2:7".parse().unwrap())).unwrap();
    let mut frame = nic.take().remove(0);
    frame[..6].copy_from_slice(&MAC);
    frame[6..12].copy_from_slice(&PEER_MAC);
    frame[26..30].copy_from_slice(&[10, 0, 0, 2]);
    frame[30..34].copy_from_slice(&[10, 0, 0, 1]);
    receive_frame(&stack, &interface, &frame);
    assert_eq!(text(&server), Some(b"hello".to_vec()));
    let last = frame.len() - 1;
    frame[last] ^= 1;
    receive_frame(&stack, &interface, &frame);
    assert!(!server.readiness().contains(PollEvents::IN));
    assert_eq!((text(&server), stack.mib().get(crate::counters::Counter::UdpInCsumErrors)), (None, 1));
    frame[last] ^= 1;
    let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
    packet.set_dst_addr(Ipv4Addr::new(10, 0, 0, 77));
    packet.fill_checksum();
    receive_frame(&stack, &interface, &frame);
    assert_eq!(text(&server), None);
}
