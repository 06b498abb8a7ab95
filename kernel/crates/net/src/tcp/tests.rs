//! TCP sockets by the calls of programs: on one machine, and between two with a wire of the test between them.

mod deferred;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use abi::inet::TCP_NODELAY;
use abi::socket::IPPROTO_TCP;
use abi::{Errno, PollEvents};
use file::Progress;
use mm::user::{UserReader, UserWriter};
use testkit::clock;

use super::TcpSocket;
use super::socket::AF_INET;
use crate::Stack;
use crate::counters::Counter;
use crate::frame::{ChecksumState, Payload, ReceivedFrame, TransmitFrame};
use crate::interface::{Evidence, Interface, InterfaceAddress, Origin};
use crate::nic::{Nic, NicCounters, NicFeatures, NicProperties};
use crate::socket::{
    Accepted, Address, Caller, Half, MessageFlags, ReceiveRequest, SendRequest, Socket, SocketCredentials,
};

const CALLER: Caller = Caller {
    credentials: SocketCredentials { pid: 1, uid: 0, gid: 0 },
    may_bind_low_ports: true,
    may_use_raw: true,
    is_network_admin: true,
    in_flight_max: 100,
};

fn address(text: &str) -> Address {
    Address::Inet(text.parse::<SocketAddr>().unwrap())
}

fn listen(stack: &Arc<Stack>, at: &str, backlog: i32) -> Arc<TcpSocket> {
    let listener = TcpSocket::new(stack, AF_INET);
    listener.bind(&address(at), &CALLER).unwrap();
    listener.listen(backlog, &CALLER).unwrap();
    listener
}

fn send(socket: &dyn Socket, bytes: &[u8]) -> Result<Progress, Errno> {
    let mut from = UserReader::from_kernel(bytes);
    let (address, flags, caller) = (None, MessageFlags::empty(), &CALLER);
    socket.send(&mut SendRequest { from: &mut from, address, control: &mut Vec::new(), flags, caller })
}

fn receive(socket: &dyn Socket, len: usize) -> Result<Option<Vec<u8>>, Errno> {
    let mut bytes = alloc::vec![0; len];
    let mut to = UserWriter::to_kernel(&mut bytes);
    let flags = MessageFlags::empty();
    let received = socket.receive(&mut ReceiveRequest { to: &mut to, flags, wants_control: false })?;
    Ok(received.map(|received| {
        bytes.truncate(received.len);
        bytes
    }))
}

fn accept(listener: &TcpSocket) -> Option<Accepted> {
    listener.accept().unwrap()
}

/// A connection of one machine with itself.
fn local_pair(stack: &Arc<Stack>) -> (Arc<TcpSocket>, Arc<dyn Socket>) {
    let listener = listen(stack, "127.0.0.1:80", 5);
    let client = TcpSocket::new(stack, AF_INET);
    assert_eq!(client.connect(&address("127.0.0.1:80"), &CALLER), Ok(Progress::WouldBlock));
    assert_eq!(client.finish_connect(), Ok(Progress::Done(0)));
    let server = accept(&listener).unwrap();
    assert_eq!(Ok(server.peer), client.local_address());
    listener.close();
    (client, server.socket)
}

#[test]
fn a_local_connection_carries_bytes_both_ways_and_ends() {
    let stack = Stack::new(1);
    let (client, server) = local_pair(&stack);
    assert_eq!(receive(&*server, 10), Ok(None));
    assert_eq!(send(&*client, b"hello"), Ok(Progress::Done(5)));
    assert!(server.readiness().contains(PollEvents::READABLE | PollEvents::WRITABLE));
    assert_eq!(receive(&*server, 3), Ok(Some(b"hel".to_vec())));
    assert_eq!(send(&*server, b"back"), Ok(Progress::Done(4)));
    client.shutdown(Half::Write).unwrap();
    assert_eq!(send(&*client, b"more"), Err(Errno::EPIPE));
    assert_eq!(receive(&*server, 10), Ok(Some(b"lo".to_vec())));
    assert_eq!(receive(&*server, 10), Ok(Some(Vec::new())));
    assert!(server.readiness().contains(PollEvents::RDHUP));
    server.close();
    assert_eq!(receive(&*client, 10), Ok(Some(b"back".to_vec())));
    assert_eq!(receive(&*client, 10), Ok(Some(Vec::new())));
    assert!(client.readiness().contains(PollEvents::HUP));
    client.close();
}

#[test]
fn a_local_connections_ends_are_its_own_until_both_are_closed() {
    let stack = Stack::new(1);
    let (client, server) = local_pair(&stack);
    let (from, to) = (client.local_end(), client.remote_end().unwrap());
    let again = || stack.tcp().ports().claim_outgoing(from.ip(), true, Some(to), |port| port == from.port());
    assert!(again().is_err());
    client.close();
    drop(client);
    assert!(again().is_err(), "the other end has it still");
    server.close();
    drop(server);
    assert!(again().is_ok());
}

#[test]
fn a_connection_that_is_closed_on_both_sides_is_none() {
    let stack = Stack::new(1);
    let (client, server) = local_pair(&stack);
    client.shutdown(Half::Write).unwrap();
    assert!(client.peer_address().is_ok() && server.peer_address().is_ok());
    server.shutdown(Half::Write).unwrap();
    for end in [&*client as &dyn Socket, &*server] {
        assert_eq!(end.peer_address(), Err(Errno::ENOTCONN));
        assert_eq!(end.shutdown(Half::Read), Err(Errno::ENOTCONN));
    }
}

#[test]
fn a_connection_that_was_given_up_is_told_of_and_does_not_keep_from_another() {
    let stack = Stack::new(1);
    let listener = listen(&stack, "127.0.0.1:80", 5);
    let client = TcpSocket::new(&stack, AF_INET);
    client.connect(&address("127.0.0.1:80"), &CALLER).unwrap();
    assert_eq!(client.connect(&Address::Unspecified, &CALLER), Ok(Progress::Done(0)));
    assert_eq!(client.readiness(), PollEvents::WRITABLE | PollEvents::HUP | PollEvents::ERR);
    assert_eq!(client.connect(&address("127.0.0.1:80"), &CALLER), Ok(Progress::WouldBlock));
    assert_eq!(client.finish_connect(), Ok(Progress::Done(0)));
    assert_eq!(Socket::take_error(&*client), None);
    listener.close();
}

#[test]
fn bytes_unread_make_an_end_a_reset() {
    let stack = Stack::new(1);
    let (client, server) = local_pair(&stack);
    send(&*client, b"unread").unwrap();
    send(&*server, b"before").unwrap();
    server.close();
    assert_eq!(receive(&*client, 10), Ok(Some(b"before".to_vec())));
    assert!(client.readiness().contains(PollEvents::ERR | PollEvents::HUP));
    assert_eq!(receive(&*client, 10), Err(Errno::ECONNRESET));
    assert_eq!(receive(&*client, 10), Ok(Some(Vec::new())));
    assert_eq!(send(&*client, b"more"), Err(Errno::EPIPE));
}

#[test]
fn writing_to_who_has_closed_succeeds_once() {
    let stack = Stack::new(1);
    let (client, server) = local_pair(&stack);
    server.close();
    assert_eq!(send(&*client, b"first"), Ok(Progress::Done(5)));
    assert_eq!(send(&*client, b"second"), Err(Errno::EPIPE));
    assert_eq!(receive(&*client, 10), Ok(Some(Vec::new())));
}

#[test]
fn a_full_stream_takes_no_more_until_it_is_read() {
    let stack = Stack::new(1);
    let (client, server) = local_pair(&stack);
    let bytes = alloc::vec![7; 100_000];
    let mut sent = 0;
    while let Progress::Done(count) = send(&*client, &bytes).unwrap() {
        sent += count;
    }
    assert!(!client.readiness().contains(PollEvents::WRITABLE));
    let mut received = 0;
    while let Some(part) = receive(&*server, 65_536).unwrap() {
        received += part.len();
    }
    assert_eq!((sent, received), (super::local::CAPACITY_DEFAULT, sent));
    assert!(client.readiness().contains(PollEvents::WRITABLE));
}

#[test]
fn nobody_listens_is_refused_after_connect_has_returned() {
    let stack = Stack::new(1);
    let client = TcpSocket::new(&stack, AF_INET);
    assert_eq!(client.connect(&address("127.0.0.1:81"), &CALLER), Ok(Progress::WouldBlock));
    assert_eq!(client.finish_connect(), Err(Errno::ECONNREFUSED));
    assert_eq!(client.connect(&address("127.0.0.1:81"), &CALLER), Ok(Progress::WouldBlock));
    assert_eq!(Socket::take_error(&*client), Some(Errno::ECONNREFUSED));
}

#[test]
fn a_full_backlog_makes_local_connections_wait_and_its_end_refuses_them() {
    let stack = Stack::new(1);
    let listener = listen(&stack, "127.0.0.1:80", 1);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let client = TcpSocket::new(&stack, AF_INET);
            assert_eq!(client.connect(&address("127.0.0.1:80"), &CALLER), Ok(Progress::WouldBlock));
            client
        })
        .collect();
    let connected = |client: &Arc<TcpSocket>| client.finish_connect() == Ok(Progress::Done(0));
    assert_eq!(clients.iter().map(connected).collect::<Vec<_>>(), [true, true, false, false]);
    accept(&listener).unwrap().socket.close();
    assert_eq!(clients.iter().map(connected).collect::<Vec<_>>(), [true, true, true, false]);
    listener.close();
    assert_eq!(clients[3].finish_connect(), Err(Errno::ECONNREFUSED));
    assert_eq!(receive(&*clients[1], 1), Err(Errno::ECONNRESET));
    assert_eq!(receive(&*clients[0], 1), Ok(Some(Vec::new())), "what was accepted and closed has ended");
}

#[test]
fn urgent_data_is_apart_from_the_rest() {
    let stack = Stack::new(1);
    let (client, server) = local_pair(&stack);
    send(&*client, b"ab").unwrap();
    let mut from = UserReader::from_kernel(b"!");
    let flags = MessageFlags::OOB;
    let mut request = SendRequest { from: &mut from, address: None, control: &mut Vec::new(), flags, caller: &CALLER };
    assert_eq!(client.send(&mut request), Ok(Progress::Done(1)));
    send(&*client, b"cd").unwrap();
    assert!(server.readiness().contains(PollEvents::PRI));
    assert_eq!(receive(&*server, 10), Ok(Some(b"ab".to_vec())));
    let mut byte = [0];
    let mut to = UserWriter::to_kernel(&mut byte);
    let received = server.receive(&mut ReceiveRequest { to: &mut to, flags, wants_control: false }).unwrap().unwrap();
    assert_eq!((received.len, received.flags, byte), (1, MessageFlags::OOB, *b"!"));
    assert_eq!(receive(&*server, 10), Ok(Some(b"cd".to_vec())));
}

// ---- Two machines -------------------------------------------------------------------------------------------------------

/// A device that keeps what it sends until the test carries it over.
struct EndNic {
    mac: [u8; 6],
    features: NicFeatures,
    sent: Mutex<Vec<Vec<u8>>>,
}

impl Nic for EndNic {
    fn properties(&self) -> NicProperties {
        NicProperties { mac: self.mac, mtu: 1500, features: self.features, queues: 1, pieces_max: 18 }
    }

    fn is_link_up(&self) -> bool {
        true
    }

    fn counters(&self) -> NicCounters {
        NicCounters::default()
    }

    fn transmit(&self, frames: &mut Vec<TransmitFrame>) {
        self.sent.lock().unwrap().extend(frames.drain(..).map(|frame| frame.to_vec().unwrap()));
    }

    fn poll(&self, _queue: u16, _budget: usize) -> bool {
        false
    }
}

struct Machine {
    stack: Arc<Stack>,
    nic: Arc<EndNic>,
    interface: Arc<Interface>,
}

impl Machine {
    fn new(number: u8, features: NicFeatures) -> Self {
        let stack = Stack::new(1);
        let nic = Arc::new(EndNic { mac: [2, 0, 0, 0, 0, number], features, sent: Mutex::default() });
        let interface = stack.interfaces().add(Arc::clone(&nic) as Arc<dyn Nic>).unwrap();
        let address: IpAddr = [10, 0, 0, number].into();
        let address = InterfaceAddress::permanent(interface.index(), address, 24, Origin::Static);
        stack.interfaces().add_address(address).unwrap();
        Self { stack, nic, interface }
    }

    fn take_sent(&self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.nic.sent.lock().unwrap())
    }
}

/// Two machines. What drops frames is given who sends, and how many were sent before.
struct Link {
    ends: [Machine; 2],
    carried: usize,
}

impl Link {
    fn new(features: NicFeatures) -> Self {
        clock::stop_at(1_000_000_000);
        Self { ends: [Machine::new(1, features), Machine::new(2, features)], carried: 0 }
    }

    /// Carries frames until none is under way, while programs wait.
    fn settle(&mut self, mut is_lost: impl FnMut(usize, usize) -> bool) {
        self.ends.iter().for_each(|end| end.stack.release_held());
        loop {
            let mut is_any = false;
            for from in 0..2 {
                for frame in self.ends[from].take_sent() {
                    is_any = true;
                    self.carried += 1;
                    let to = &self.ends[1 - from];
                    if !is_lost(from, self.carried) {
                        let mut received = ReceivedFrame::new(Payload::from(frame));
                        // A device that finishes checksums is believed by the other.
                        if to.nic.features.contains(NicFeatures::TRANSMIT_CHECKSUM) {
                            received.checksum = ChecksumState::Verified;
                        }
                        to.stack.receive(&to.interface, &mut core::iter::once(received));
                    }
                }
            }
            for end in &self.ends {
                end.stack.work(0);
            }
            if !is_any {
                return;
            }
        }
    }

    /// Lets time pass, and carries what that brings about.
    fn pass(&mut self, time_ns: u64, mut is_lost: impl FnMut(usize, usize) -> bool) {
        const STEP_NS: u64 = 5_000_000;
        for _ in 0..time_ns.div_ceil(STEP_NS) {
            clock::advance(STEP_NS);
            self.settle(&mut is_lost);
        }
    }
}

const LOSSLESS: fn(usize, usize) -> bool = |_, _| false;
const SECOND_NS: u64 = 1_000_000_000;

fn connect_over(link: &mut Link) -> (Arc<TcpSocket>, Arc<dyn Socket>) {
    let listener = listen(&link.ends[1].stack, "10.0.0.2:80", 5);
    let client = TcpSocket::new(&link.ends[0].stack, AF_INET);
    assert_eq!(client.connect(&address("10.0.0.2:80"), &CALLER), Ok(Progress::WouldBlock));
    assert!(client.readiness().is_empty());
    link.settle(LOSSLESS);
    assert_eq!(client.finish_connect(), Ok(Progress::Done(0)));
    let server = accept(&listener).unwrap();
    assert_eq!(Ok(server.peer), client.local_address());
    assert_eq!(client.peer_address(), Ok(address("10.0.0.2:80")));
    listener.close();
    (client, server.socket)
}

#[test]
fn only_what_is_for_this_machine_begins_a_connection() {
    const OWN: [u8; 4] = [10, 0, 0, 2];
    const PEER: [u8; 4] = [10, 0, 0, 1];
    let mut link = Link::new(NicFeatures::TRANSMIT_CHECKSUM);
    let listener = listen(&link.ends[1].stack, "0.0.0.0:80", 5);
    let client = TcpSocket::new(&link.ends[0].stack, AF_INET);
    assert_eq!(client.connect(&address("10.0.0.2:80"), &CALLER), Ok(Progress::WouldBlock));
    // Now both know where the other is.
    link.settle(LOSSLESS);
    accept(&listener).unwrap();
    let again = TcpSocket::new(&link.ends[0].stack, AF_INET);
    assert_eq!(again.connect(&address("10.0.0.2:80"), &CALLER), Ok(Progress::WouldBlock));
    link.ends[0].stack.release_held();
    let [request] = <[Vec<u8>; 1]>::try_from(link.ends[0].take_sent()).expect("a SYN");
    let answers = |link_address: u8, source: [u8; 4], destination: [u8; 4]| {
        let mut frame = request.clone();
        frame[0] = link_address;
        frame[26..30].copy_from_slice(&source);
        frame[30..34].copy_from_slice(&destination);
        frame[24..26].fill(0);
        let sum = frame[14..34].chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum::<u32>();
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        let end = &link.ends[1];
        let mut received = ReceivedFrame::new(Payload::from(frame));
        received.checksum = ChecksumState::Verified;
        end.stack.receive(&end.interface, &mut core::iter::once(received));
        end.stack.work(0);
        end.take_sent().len()
    };
    for destination in [[10, 0, 0, 255], [255; 4], [8, 8, 8, 8], [224, 0, 0, 1], [127, 0, 0, 1], [127, 255, 255, 255]] {
        assert_eq!(answers(2, PEER, destination), 0, "to {destination:?}");
    }
    assert_eq!(answers(2, [127, 0, 0, 1], OWN), 0);
    assert_eq!(answers(0xff, PEER, OWN), 0);
    assert_eq!(answers(2, PEER, OWN), 1);
}

#[test]
fn a_connection_between_machines_begins_carries_and_ends() {
    let mut link = Link::new(NicFeatures::empty());
    let (client, server) = connect_over(&mut link);
    assert_eq!(send(&*client, b"question"), Ok(Progress::Done(8)));
    link.settle(LOSSLESS);
    assert!(server.readiness().contains(PollEvents::READABLE));
    assert_eq!(receive(&*server, 100), Ok(Some(b"question".to_vec())));
    assert_eq!(send(&*server, b"answer"), Ok(Progress::Done(6)));
    link.settle(LOSSLESS);
    assert_eq!(receive(&*client, 100), Ok(Some(b"answer".to_vec())));
    client.close();
    link.settle(LOSSLESS);
    assert_eq!(receive(&*server, 100), Ok(Some(Vec::new())));
    server.close();
    link.pass(SECOND_NS, LOSSLESS);
    let counts = link.ends.each_ref().map(|end| (end.stack.flows().len(), end.stack.tcp().record_counts().1));
    assert_eq!(counts, [(0, 1), (0, 0)], "flows, and records of TIME-WAIT");
    link.pass(62 * SECOND_NS, LOSSLESS);
    assert_eq!(link.ends[0].stack.tcp().record_counts(), (0, 0));
}

#[test]
fn segments_and_connections_are_counted() {
    let mut link = Link::new(NicFeatures::empty());
    let (client, server) = connect_over(&mut link);
    send(&*client, b"counted").unwrap();
    link.settle(LOSSLESS);
    assert_eq!(receive(&*server, 10), Ok(Some(b"counted".to_vec())));
    let stack = &link.ends[0].stack;
    let [received, sent, repeated] = stack.tcp().live_counts(stack);
    assert!(received >= 1 && sent >= 3 && repeated == 0, "{received} received, {sent} sent, {repeated} repeated");
    let rows = stack.tcp().rows(stack, sync::machine::now_ns());
    assert!(rows.is_empty(), "no program has it open");
    client.close();
    assert_eq!(stack.tcp().rows(stack, sync::machine::now_ns()).len(), 1, "a connection without an owner is listed");
    link.settle(LOSSLESS);
    server.close();
    link.pass(SECOND_NS, LOSSLESS);
    let stack = &link.ends[0].stack;
    assert_eq!(stack.tcp().live_counts(stack), [0; 3]);
    let counted = |counter| link.ends.each_ref().map(|end| end.stack.mib().get(counter));
    assert!(counted(Counter::TcpInSegs)[0] > received && counted(Counter::TcpOutSegs)[0] > sent);
    assert_eq!(counted(Counter::TcpActiveOpens), [1, 0]);
    assert_eq!(counted(Counter::TcpPassiveOpens), [0, 1]);
    assert_eq!(counted(Counter::TcpExtTW), [1, 0]);
    assert_eq!(stack.tcp().rows(stack, sync::machine::now_ns())[0].state, 6);
}

#[test]
fn raw_sockets_hear_segments_that_their_flows_take() {
    let mut link = Link::new(NicFeatures::empty());
    let raw = crate::socket::create(&link.ends[1].stack, AF_INET, 3, 6, &CALLER).unwrap();
    let (client, server) = connect_over(&mut link);
    send(&*client, b"overheard").unwrap();
    link.settle(LOSSLESS);
    assert_eq!(receive(&*server, 20), Ok(Some(b"overheard".to_vec())));
    let mut heard = Vec::new();
    while let Some(packet) = receive(&*raw, 2000).unwrap() {
        assert_eq!((packet[0] >> 4, packet[9]), (4, 6), "from the header of IPv4 on");
        heard.push(packet);
    }
    assert_eq!(heard.iter().filter(|packet| packet.ends_with(b"overheard")).count(), 1);
    assert!(heard.len() >= 3, "the handshake is heard too: {}", heard.len());
    raw.close();
    send(&*client, b"unheard").unwrap();
    link.settle(LOSSLESS);
    assert_eq!(receive(&*server, 20), Ok(Some(b"unheard".to_vec())));
    assert_eq!(receive(&*raw, 2000), Ok(None));
}

#[test]
fn a_close_lingers_until_all_is_acknowledged() {
    let mut link = Link::new(NicFeatures::empty());
    let (client, server) = connect_over(&mut link);
    send(&*client, b"last").unwrap();
    assert!(!client.is_lingering(), "it is not closed");
    client.close();
    assert!(client.is_lingering());
    link.settle(|from, _| from == 1);
    assert!(client.is_lingering(), "the acknowledgement is lost");
    link.pass(SECOND_NS, LOSSLESS);
    assert!(!client.is_lingering());
    assert_eq!(receive(&*server, 10), Ok(Some(b"last".to_vec())));
    // The other side is next: its FIN is the last.
    server.close();
    assert!(server.is_lingering());
    link.pass(SECOND_NS, LOSSLESS);
    assert!(!server.is_lingering());
}

#[test]
fn a_port_without_a_listener_refuses_and_a_silent_machine_times_out() {
    let mut link = Link::new(NicFeatures::empty());
    let client = TcpSocket::new(&link.ends[0].stack, AF_INET);
    client.connect(&address("10.0.0.2:81"), &CALLER).unwrap();
    link.settle(LOSSLESS);
    assert!(client.readiness().contains(PollEvents::ERR));
    assert_eq!(client.finish_connect(), Err(Errno::ECONNREFUSED));
    // A machine whose link address were not known would be unreachable.
    let neighbours = link.ends[0].interface.neighbours();
    neighbours.learn([10, 0, 0, 2].into(), [2, 0, 0, 0, 0, 2], Evidence::Static, true, 0);
    client.connect(&address("10.0.0.2:81"), &CALLER).unwrap();
    link.pass(200 * SECOND_NS, |_, _| true);
    assert_eq!(client.finish_connect(), Err(Errno::ETIMEDOUT));
    client.close();
    assert!(link.ends[0].stack.flows().is_empty());
}

fn transfer(link: &mut Link, total: usize, mut is_lost: impl FnMut(usize, usize) -> bool) {
    let (client, server) = connect_over(link);
    let byte_at = |place: usize| (place / 3).to_le_bytes()[0];
    let bytes: Vec<u8> = (0..total).map(byte_at).collect();
    let (mut sent, mut received) = (0, 0);
    for _ in 0..100_000 {
        if sent < total
            && let Progress::Done(count) = send(&*client, &bytes[sent..]).unwrap()
        {
            sent += count;
        }
        link.settle(&mut is_lost);
        while let Some(part) = receive(&*server, 50_000).unwrap() {
            assert!(part.iter().enumerate().all(|(at, byte)| *byte == byte_at(received + at)), "bytes are intact");
            received += part.len();
        }
        if received == total {
            return;
        }
        link.pass(5_000_000, &mut is_lost);
    }
    panic!("{received} of {total} bytes came");
}

#[test]
fn much_data_comes_intact_with_and_without_offloads() {
    transfer(&mut Link::new(NicFeatures::empty()), 3_000_000, LOSSLESS);
    transfer(&mut Link::new(NicFeatures::all()), 3_000_000, LOSSLESS);
}

#[test]
fn what_is_lent_closes_the_window_until_it_is_given_back() {
    let mut link = Link::new(NicFeatures::empty());
    let (client, server) = connect_over(&mut link);
    let total = 8_000_000;
    let byte_at = |place: usize| (place / 3).to_le_bytes()[0];
    let bytes: Vec<u8> = (0..total).map(byte_at).collect();
    let (mut sent, mut seen, mut kept, mut stalls) = (0, 0, Vec::new(), 0);
    while seen < total {
        let before = (sent, seen);
        if let Progress::Done(count) = send(&*client, &bytes[sent..]).unwrap() {
            sent += count;
        }
        link.settle(LOSSLESS);
        while let Some(lent) = server.lend(64).unwrap() {
            for loan in &lent.loans {
                assert_eq!(loan.bytes(), &bytes[seen..seen + loan.bytes().len()]);
                seen += loan.bytes().len();
            }
            kept.extend(lent.loans);
        }
        if (sent, seen) == before && !kept.is_empty() {
            // Nothing moves: the peer waits for room.
            stalls += 1;
            kept.clear();
        }
        link.pass(5_000_000, LOSSLESS);
    }
    assert!(stalls > 0, "{} loans are kept", kept.len());
    server.close();
    drop(server);
    // A loan outlives its socket.
    assert!(kept.iter().all(|loan| !loan.bytes().is_empty()));
}

#[test]
fn lost_frames_are_sent_again() {
    transfer(&mut Link::new(NicFeatures::empty()), 1_000_000, |_, number| number > 10 && number % 13 == 0);
}

#[test]
fn a_flood_of_requests_leaves_room_for_who_answers() {
    let mut link = Link::new(NicFeatures::empty());
    let listener = listen(&link.ends[1].stack, "10.0.0.2:80", 5);
    let flooding: Vec<_> = (0..400)
        .map(|_| {
            let client = TcpSocket::new(&link.ends[0].stack, AF_INET);
            client.connect(&address("10.0.0.2:80"), &CALLER).unwrap();
            client
        })
        .collect();
    // The answers are lost: all requests stay half open.
    link.settle(|from, number| from == 1 && number > 10);
    drop(flooding);
    let (half_open, _) = link.ends[1].stack.tcp().record_counts();
    assert!(half_open <= 128, "{half_open} are kept");
    while accept(&listener).is_some() {}
    let client = TcpSocket::new(&link.ends[0].stack, AF_INET);
    client.connect(&address("10.0.0.2:80"), &CALLER).unwrap();
    link.settle(LOSSLESS);
    assert_eq!(client.finish_connect(), Ok(Progress::Done(0)));
}

/// Frames that are on their way, by the length of what they carry.
fn sent_lens(machine: &Machine) -> Vec<usize> {
    machine.nic.sent.lock().unwrap().iter().map(|frame| frame.len() - 14 - 20 - 32).filter(|len| *len > 0).collect()
}

#[test]
fn small_writes_behind_one_under_way_go_together() {
    let mut link = Link::new(NicFeatures::empty());
    let (client, server) = connect_over(&mut link);
    let answers = Arc::clone(&link.ends[1].stack);
    server.set_option(IPPROTO_TCP, TCP_NODELAY, &1_i32.to_ne_bytes(), &CALLER).unwrap();
    let write = |len: usize| assert_eq!(send(&*server, &alloc::vec![7; len]), Ok(Progress::Done(len)));
    // The first goes at once, the others when the program has nothing to do.
    [10, 20, 30].into_iter().for_each(write);
    assert_eq!(sent_lens(&link.ends[1]), [10]);
    answers.release_held();
    assert_eq!(sent_lens(&link.ends[1]), [10, 50]);
    link.settle(LOSSLESS);
    assert_eq!(receive(&*client, 100).unwrap().unwrap().len(), 60);
    // Nothing is under way: nothing is held.
    link.settle(LOSSLESS);
    write(1);
    assert_eq!(sent_lens(&link.ends[1]), [1]);
    // It finds that there is nothing to read.
    write(2);
    assert_eq!((receive(&*server, 10), sent_lens(&link.ends[1])), (Ok(None), alloc::vec![1, 2]));
    // It asks for what waits to be sent.
    [3, 4].into_iter().for_each(write);
    server.set_option(IPPROTO_TCP, TCP_NODELAY, &1_i32.to_ne_bytes(), &CALLER).unwrap();
    assert_eq!(sent_lens(&link.ends[1])[2..], [7]);
    // Whole segments do not wait.
    [5, 1460].into_iter().for_each(write);
    assert_eq!(sent_lens(&link.ends[1])[3..], [1448]);
    // Who has read writes an answer.
    send(&*client, b"?").unwrap();
    link.settle(LOSSLESS);
    answers.release_held();
    assert_eq!(receive(&*server, 10), Ok(Some(b"?".to_vec())));
    write(3);
    assert_eq!(sent_lens(&link.ends[1]).last(), Some(&3));
    // It computes for long.
    write(4);
    assert_eq!(sent_lens(&link.ends[1]).last(), Some(&3));
    link.pass(crate::held::HOLD_NS, LOSSLESS);
    assert_eq!(receive(&*client, 10_000).unwrap().unwrap().len(), 1 + 2 + 7 + 5 + 1460 + 3 + 4);
    // It has no more to say.
    [5, 6].into_iter().for_each(write);
    server.close();
    link.settle(LOSSLESS);
    assert_eq!(receive(&*client, 100).unwrap().unwrap().len(), 11);
    assert_eq!(receive(&*client, 100), Ok(Some(Vec::new())));
}

#[test]
fn pages_are_sent_where_they_lie() {
    testkit::frames::install();
    let mut link = Link::new(NicFeatures::all());
    let (client, server) = connect_over(&mut link);
    let pages: Vec<_> = (0..4_u8)
        .map(|number| {
            let page = mm::Frame::allocate().unwrap();
            page.write(0, &[number; mm::PAGE_SIZE]);
            crate::frame::Piece::Frame(page, 0..mm::PAGE_SIZE)
        })
        .collect();
    assert!(client.takes_pages());
    assert_eq!(client.send_pages(&pages, false), Ok(Progress::Done(4 * mm::PAGE_SIZE)));
    link.settle(LOSSLESS);
    let mut received = Vec::new();
    while let Some(part) = receive(&*server, 10_000).unwrap() {
        received.extend(part);
        link.settle(LOSSLESS);
    }
    let expected: Vec<u8> = (0..4_u8).flat_map(|number| [number; mm::PAGE_SIZE]).collect();
    assert!(received == expected, "{} bytes", received.len());
}
