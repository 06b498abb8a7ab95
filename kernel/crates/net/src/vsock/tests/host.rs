//! Sockets of `AF_VSOCK` with a host that is played.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::Mutex;

use abi::{Errno, PollEvents};
use file::Progress;
use sync::machine::NEVER;
use testkit::{Random, clock};

use super::super::packet::{HEADER_LEN, Header, Kind, Operation, Packet, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, parse};
use super::super::{ANY, Device, REPLIES_MAX, Taking};
use super::{CALLER, SEQPACKET, STREAM, address, held, listener, pair, read, socket, write};
use crate::Stack;
use crate::channel::Flow;
use crate::socket::address::VsockAddress;
use crate::socket::{Address, Half, Socket};

const OWN_CID: u32 = 42;
const HOST: VsockAddress = VsockAddress { cid: 2, port: 77 };

/// The host's end: what the machine sent, and what it is to receive.
struct Host {
    cid: AtomicU32,
    sent: Mutex<VecDeque<Packet>>,
    arriving: Mutex<VecDeque<Vec<u8>>>,
    room: AtomicUsize,
    has_reset: AtomicBool,
    /// Packets that the device was not told of, and how often it was told of none.
    untold: AtomicUsize,
    needless_kicks: AtomicUsize,
}

impl Device for Host {
    fn cid(&self) -> u32 {
        self.cid.load(Ordering::Relaxed)
    }

    fn has_messages(&self) -> bool {
        false
    }

    fn payload_len_max(&self) -> usize {
        usize::MAX
    }

    fn send(&self, packet: Packet) -> Result<(), Packet> {
        if self.room.load(Ordering::Relaxed) == 0 {
            return Err(packet);
        }
        self.room.fetch_sub(1, Ordering::Relaxed);
        self.sent.lock().unwrap().push_back(packet);
        self.untold.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn kick(&self) {
        if self.untold.swap(0, Ordering::Relaxed) == 0 {
            self.needless_kicks.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take(&self, sink: &mut dyn FnMut(&[u8])) -> Taking {
        let arriving = core::mem::take(&mut *self.arriving.lock().unwrap());
        arriving.iter().for_each(|bytes| sink(bytes));
        Taking::Nothing
    }

    fn take_reset(&self) -> bool {
        self.has_reset.swap(false, Ordering::Relaxed)
    }
}

/// A machine with a host.
struct Machine {
    stack: Arc<Stack>,
    host: Arc<Host>,
}

impl Machine {
    fn new() -> Self {
        let host = Arc::new(Host {
            cid: AtomicU32::new(OWN_CID),
            sent: Mutex::default(),
            arriving: Mutex::default(),
            room: AtomicUsize::new(usize::MAX),
            has_reset: AtomicBool::new(false),
            untold: AtomicUsize::new(0),
            needless_kicks: AtomicUsize::new(0),
        });
        let stack = Stack::new(1);
        stack.vsock().attach(host.clone());
        Self { stack, host }
    }

    /// The next packet to the host.
    fn sent(&self) -> Option<Packet> {
        self.host.sent.lock().unwrap().pop_front()
    }

    /// A packet from the host to `port`.
    fn give(&self, port: u32, operation: Operation, flags: u32, payload: &[u8]) {
        self.give_from(HOST, port, operation, flags, payload);
    }

    fn give_from(&self, source: VsockAddress, port: u32, operation: Operation, flags: u32, payload: &[u8]) {
        self.queue(source, VsockAddress { cid: OWN_CID, port }, operation, flags, payload);
        self.look();
    }

    /// A packet that the device has, whoever it is of.
    fn queue(&self, source: VsockAddress, destination: VsockAddress, operation: Operation, flags: u32, payload: &[u8]) {
        let header = Header {
            source,
            destination,
            kind: Kind::Stream as u16,
            operation: Some(operation),
            flags,
            buffer_len: 1000,
            taken: 0,
        };
        let packet = Packet { header, payload: payload.to_vec() };
        self.host.arriving.lock().unwrap().push_back([&packet.header_bytes()[..], payload].concat());
    }

    fn give_bytes(&self, bytes: Vec<u8>) {
        self.host.arriving.lock().unwrap().push_back(bytes);
        self.look();
    }

    /// The device interrupts, and the worker looks.
    fn look(&self) {
        self.stack.vsock().note_interrupt(&self.stack, true);
        self.stack.work(0);
    }

    /// A socket that is connected to the host, with its port.
    fn connected(&self) -> (Arc<dyn Socket>, u32) {
        let client = socket(&self.stack, STREAM);
        client.connect(&Address::Vsock(HOST), &CALLER).unwrap();
        let request = self.sent().unwrap();
        assert_eq!((request.header.destination, request.header.operation), (HOST, Some(Operation::Request)));
        assert_eq!((request.header.source.cid, request.header.buffer_len), (OWN_CID, 256 * 1024));
        let port = request.header.source.port;
        assert_eq!(client.finish_connect(), Ok(Progress::WouldBlock));
        self.give(port, Operation::Response, 0, b"");
        assert_eq!(client.finish_connect(), Ok(Progress::Done(0)));
        (client, port)
    }

    fn operation(&self) -> Option<Operation> {
        self.sent()?.header.operation
    }
}

#[test]
fn the_host_answers_and_is_answered() {
    let machine = Machine::new();
    assert_eq!(machine.stack.vsock().cid(), OWN_CID);
    let (client, port) = machine.connected();
    assert_eq!(write(&client, b"ping"), Ok(Progress::Done(4)));
    assert_eq!(machine.sent().unwrap().payload, b"ping");
    machine.give(port, Operation::Data, 0, b"pong");
    assert_eq!(read(&client, 10), Ok(Some(b"pong".to_vec())));
    machine.give(port, Operation::CreditRequest, 0, b"");
    let update = machine.sent().unwrap().header;
    assert_eq!((update.operation, update.taken), (Some(Operation::CreditUpdate), 4));
    // Full: a writer asks once, and goes on when it hears of room.
    assert_eq!(write(&client, &[1; 2000]), Ok(Progress::Done(996)));
    assert_eq!((machine.operation(), machine.operation()), (Some(Operation::Data), None));
    assert_eq!(write(&client, &[1; 1]), Ok(Progress::WouldBlock));
    assert_eq!(write(&client, &[1; 1]), Ok(Progress::WouldBlock));
    assert_eq!((machine.operation(), machine.operation()), (Some(Operation::CreditRequest), None));
    assert!(!client.readiness().contains(PollEvents::OUT));
    client.close();
    let farewell = machine.sent().unwrap().header;
    assert_eq!((farewell.operation, farewell.flags), (Some(Operation::Shutdown), SHUTDOWN_RECEIVE | SHUTDOWN_SEND));
    machine.give(port, Operation::Reset, 0, b"");
    assert_eq!(machine.operation(), None);
    // It is forgotten.
    machine.give(port, Operation::Data, 0, b"late");
    assert_eq!(machine.operation(), Some(Operation::Reset));
}

#[test]
fn a_connection_hears_its_peer_and_nobody_else() {
    let machine = Machine::new();
    let (client, port) = machine.connected();
    let others = [VsockAddress { port: 78, ..HOST }, VsockAddress { cid: 3, ..HOST }];
    for other in others {
        for (operation, payload) in
            [(Operation::Data, &b"forged"[..]), (Operation::Shutdown, b""), (Operation::Request, b"")]
        {
            machine.give_from(other, port, operation, SHUTDOWN_RECEIVE | SHUTDOWN_SEND, payload);
            let refusal = machine.sent().unwrap().header;
            assert_eq!((refusal.operation, refusal.destination), (Some(Operation::Reset), other));
        }
        machine.give_from(other, port, Operation::Reset, 0, b"");
    }
    assert_eq!(machine.operation(), None);
    machine.give(port, Operation::Data, 0, b"true");
    assert_eq!(read(&client, 10), Ok(Some(b"true".to_vec())));
    // Nor does anybody else answer for it.
    let asking = socket(&machine.stack, STREAM);
    asking.connect(&Address::Vsock(HOST), &CALLER).unwrap();
    let port = machine.sent().unwrap().header.source.port;
    others.into_iter().for_each(|other| machine.give_from(other, port, Operation::Response, 0, b""));
    assert_eq!(asking.finish_connect(), Ok(Progress::WouldBlock));
    machine.give(port, Operation::Response, 0, b"");
    assert_eq!(asking.finish_connect(), Ok(Progress::Done(0)));
}

#[test]
fn the_host_connects_to_who_listens_and_to_nobody_else() {
    let machine = Machine::new();
    let listener = listener(&machine.stack, STREAM, 1234, 1);
    machine.give(1234, Operation::Request, 0, b"");
    let response = machine.sent().unwrap().header;
    assert_eq!((response.operation, response.destination), (Some(Operation::Response), HOST));
    let accepted = listener.accept().unwrap().unwrap();
    assert_eq!(accepted.peer, Address::Vsock(HOST));
    assert_eq!(accepted.socket.local_address(), Ok(address(OWN_CID, 1234)));
    machine.give(1234, Operation::Shutdown, SHUTDOWN_SEND, b"");
    assert_eq!(read(&accepted.socket, 1), Ok(Some(vec![])));
    assert_eq!(write(&accepted.socket, b"end"), Ok(Progress::Done(3)));
    machine.give(1235, Operation::Request, 0, b"");
    assert_eq!((machine.operation(), machine.operation()), (Some(Operation::Data), Some(Operation::Reset)));
    machine.give(1235, Operation::Reset, 0, b"");
    assert_eq!(machine.operation(), None, "nobody answers a reset");
}

#[test]
fn who_hears_nothing_gives_up() {
    let machine = Machine::new();
    clock::stop_at(1_000);
    let client = socket(&machine.stack, STREAM);
    let timeout: Vec<u8> = [1_i64.to_ne_bytes(), 0_i64.to_ne_bytes()].concat();
    client.set_option(40, 6, &timeout, &CALLER).unwrap();
    client.connect(&Address::Vsock(HOST), &CALLER).unwrap();
    clock::stop_at(1_000_000_999);
    machine.stack.work(0);
    assert_eq!(client.finish_connect(), Ok(Progress::WouldBlock));
    clock::stop_at(1_000_001_000);
    machine.stack.work(0);
    assert_eq!(client.finish_connect(), Err(Errno::ETIMEDOUT));
    assert_eq!(client.take_error(), None, "who waited has been told");
    // And may try again.
    assert_eq!(client.connect(&Address::Vsock(HOST), &CALLER), Ok(Progress::WouldBlock));
    client.close();

    let (client, _) = machine_of(&machine);
    client.close();
    while machine.sent().is_some() {}
    clock::stop_at(20_000_000_000);
    machine.stack.work(0);
    assert_eq!(machine.operation(), Some(Operation::Reset), "the host never ended it");
}

#[test]
fn a_socket_is_gone_when_it_is_closed_however_long_it_might_have_waited() {
    let machine = Machine::new();
    let (mut sockets, hour) = (Vec::new(), [3600_i64.to_ne_bytes(), 0_i64.to_ne_bytes()].concat());
    for is_answered in [true, false] {
        let client = socket(&machine.stack, STREAM);
        client.set_option(40, 6, &hour, &CALLER).unwrap();
        client.connect(&Address::Vsock(HOST), &CALLER).unwrap();
        let port = machine.sent().unwrap().header.source.port;
        if is_answered {
            machine.give(port, Operation::Response, 0, b"");
            client.close();
            machine.give(port, Operation::Reset, 0, b"");
        } else {
            client.close();
        }
        sockets.push(client);
    }
    for socket in &sockets {
        assert_eq!(Arc::strong_count(socket), 1, "somebody holds on to it");
    }
}

fn machine_of(machine: &Machine) -> (Arc<dyn Socket>, u32) {
    while machine.sent().is_some() {}
    machine.connected()
}

#[test]
fn packets_wait_for_a_device_without_room_and_it_is_not_listened_to() {
    let machine = Machine::new();
    let (client, port) = machine.connected();
    machine.host.room.store(1, Ordering::Relaxed);
    for number in 0..3_u8 {
        assert_eq!(write(&client, &[number]), Ok(Progress::Done(1)));
    }
    assert_eq!((machine.sent().unwrap().payload, machine.sent()), (vec![0], None));
    // A host that asks and takes no answers is not listened to in the end.
    for _ in 0..REPLIES_MAX + 10 {
        machine.give(port, Operation::CreditRequest, 0, b"");
    }
    assert_eq!(machine.stack.vsock().backlog.lock().answers(), REPLIES_MAX);
    machine.host.room.store(usize::MAX, Ordering::Relaxed);
    machine.stack.vsock().note_interrupt(&machine.stack, false);
    machine.stack.work(0);
    assert_eq!((machine.sent().unwrap().payload, machine.sent().unwrap().payload), (vec![1], vec![2]));
    assert_eq!(machine.operation(), Some(Operation::CreditUpdate));
}

#[test]
fn a_machine_that_moves_loses_its_connections_and_keeps_its_listeners() {
    let machine = Machine::new();
    let (client, port) = machine.connected();
    let (local, _server) = pair(&machine.stack, STREAM);
    let listener = listener(&machine.stack, STREAM, 1234, 1);
    machine.give(port, Operation::Data, 0, b"unread");
    machine.host.cid.store(43, Ordering::Relaxed);
    machine.host.has_reset.store(true, Ordering::Relaxed);
    // What came behind the event is of the machine as it is.
    let late = VsockAddress { cid: 43, port: 1234 };
    machine.queue(VsockAddress { port: 9, ..HOST }, late, Operation::Request, 0, b"");
    machine.look();
    assert_eq!(machine.stack.vsock().cid(), 43);
    let response = machine.sent().unwrap().header;
    assert_eq!((response.operation, response.source), (Some(Operation::Response), late));
    let accepted = listener.accept().unwrap().unwrap().socket;
    assert_eq!(write(&accepted, b"x"), Ok(Progress::Done(1)));
    assert_eq!(machine.operation(), Some(Operation::Data));
    assert!(client.readiness().contains(PollEvents::ERR));
    assert_eq!((read(&client, 9), read(&client, 9)), (Err(Errno::ECONNRESET), Err(Errno::ENOTCONN)));
    assert_eq!(write(&local, b"x"), Ok(Progress::Done(1)));
    client.close();
    assert_eq!(machine.operation(), None);
}

#[test]
fn a_program_that_sends_much_keeps_nobody_from_being_heard() {
    let machine = Machine::new();
    let connections: Vec<_> = (0..4).map(|_| machine.connected()).collect();
    machine.host.room.store(0, Ordering::Relaxed);
    let posted: usize = connections
        .iter()
        .map(|(socket, _)| (0..900).take_while(|_| write(socket, b"x") == Ok(Progress::Done(1))).count())
        .sum();
    let (socket, port) = &connections[0];
    machine.give(*port, Operation::Data, 0, b"news");
    machine.give(*port, Operation::CreditRequest, 0, b"");
    assert_eq!(read(socket, 9), Ok(Some(b"news".to_vec())), "of {posted} packets none is an answer");
    assert!(posted <= 256 && machine.stack.vsock().backlog.lock().answers() == 1);
    assert!(connections.iter().all(|(socket, _)| !socket.readiness().contains(PollEvents::OUT)));
    assert_eq!(write(socket, b"x"), Ok(Progress::WouldBlock));
    // There is room for a part, then for all.
    for room in [20, usize::MAX] {
        machine.host.room.store(room, Ordering::Relaxed);
        machine.stack.vsock().note_interrupt(&machine.stack, false);
        machine.stack.work(0);
        assert_eq!(socket.readiness().contains(PollEvents::OUT), room > 20 || posted < 276);
    }
    assert_eq!(write(socket, b"y"), Ok(Progress::Done(1)));
    while machine.sent().is_some() {}
    connections.iter().for_each(|(socket, _)| socket.close());
}

#[test]
fn a_host_that_takes_nothing_is_told_of_room_when_it_does() {
    let machine = Machine::new();
    let (socket, port) = machine.connected();
    socket.set_option(40, 0, &128_u64.to_ne_bytes(), &CALLER).unwrap();
    while machine.sent().is_some() {}
    machine.host.room.store(0, Ordering::Relaxed);
    for round in 0..300 {
        machine.give(port, Operation::Data, 0, &[1; 50]);
        assert_eq!(read(&socket, 50), Ok(Some(vec![1; 50])), "{round}");
    }
    assert!(machine.stack.vsock().backlog.lock().calls() <= 256);
    machine.host.room.store(usize::MAX, Ordering::Relaxed);
    machine.stack.vsock().note_interrupt(&machine.stack, false);
    machine.stack.work(0);
    let last = core::iter::from_fn(|| machine.sent()).last().unwrap().header;
    // Or it knows of half of the buffer.
    assert!(last.operation == Some(Operation::CreditUpdate) && last.taken >= 300 * 50 - 64);
}

#[test]
fn a_device_is_told_of_packets_and_of_nothing_else() {
    let machine = Machine::new();
    let (client, port) = machine.connected();
    machine.give(port, Operation::Data, 0, b"nothing to answer");
    machine.give(port, Operation::CreditRequest, 0, b"");
    machine.stack.vsock().note_interrupt(&machine.stack, true);
    machine.stack.work(0);
    assert_eq!(read(&client, 4), Ok(Some(b"noth".to_vec())));
    client.shutdown(Half::Both).unwrap();
    client.close();
    machine.host.room.store(0, Ordering::Relaxed);
    machine.give(1, Operation::Request, 0, b"");
    assert_eq!(machine.host.needless_kicks.load(Ordering::Relaxed), 0);
    assert_eq!(machine.host.untold.load(Ordering::Relaxed), 0);
}

#[test]
fn packets_of_nobody_are_dropped() {
    let machine = Machine::new();
    let listener = listener(&machine.stack, STREAM, 1234, 8);
    let own = VsockAddress { cid: OWN_CID, port: 1234 };
    let from = |cid| (VsockAddress { cid, ..HOST }, own);
    let to = |cid| (HOST, VsockAddress { cid, ..own });
    for (source, destination) in [from(0), from(1), from(OWN_CID), from(ANY), to(0), to(1), to(2), to(43), to(ANY)] {
        machine.queue(source, destination, Operation::Request, 0, b"");
    }
    machine.look();
    assert_eq!((machine.operation(), listener.accept().unwrap().map(|_| ())), (None, None));
    assert_eq!(machine.stack.vsock().counters().malformed.load(Ordering::Relaxed), 9);
    // Another machine may be there.
    machine.give_from(VsockAddress { cid: 3, ..HOST }, 1234, Operation::Request, 0, b"");
    assert_eq!(machine.operation(), Some(Operation::Response));
}

#[test]
fn connections_that_nobody_accepts_take_memory() {
    let machine = Machine::new();
    machine.stack.set_memory(8 * 10_000);
    let listener = listener(&machine.stack, STREAM, 1234, 1000);
    for port in 0..1000 {
        machine.give_from(VsockAddress { port, ..HOST }, 1234, Operation::Request, 0, b"");
    }
    let granted = core::iter::from_fn(|| machine.operation()).filter(|one| *one == Operation::Response).count();
    assert!((2..100).contains(&granted), "{granted} where there is room for 10,000 bytes");
    let accepted = listener.accept().unwrap().unwrap().socket;
    machine.give(1234, Operation::Request, 0, b"");
    assert_eq!(machine.operation(), Some(Operation::Response), "there is room for one more");
    listener.close();
    accepted.close();
    assert_eq!(held(&machine.stack), 0);
}

#[test]
fn messages_need_a_device_that_has_them() {
    let machine = Machine::new();
    let client = socket(&machine.stack, SEQPACKET);
    assert_eq!(client.connect(&Address::Vsock(HOST), &CALLER), Err(Errno::ESOCKTNOSUPPORT));
    assert_eq!(client.connect(&address(OWN_CID, 1), &CALLER), Ok(Progress::WouldBlock));
    assert_eq!(client.finish_connect(), Err(Errno::ECONNRESET));
}

#[test]
fn a_hostile_host_breaks_nothing_but_its_connections() {
    let seed = 99;
    let mut random = Random::new(seed);
    let machine = Machine::new();
    let listener = listener(&machine.stack, STREAM, 1234, 8);
    let (local, server) = pair(&machine.stack, STREAM);
    let mut sockets = Vec::new();
    for round in 0..20_000 {
        let mut bytes = vec![0; random.below(200)];
        random.fill(&mut bytes);
        let ports = [1234, 1235, random.below(3000).try_into().unwrap()];
        let header = Header {
            source: VsockAddress { cid: *random.pick(&[0, 1, 2, OWN_CID]), port: *random.pick(&[1, 77]) },
            destination: VsockAddress { cid: *random.pick(&[1, OWN_CID]), port: *random.pick(&ports) },
            kind: *random.pick(&[Kind::Stream, Kind::Stream, Kind::Seqpacket]) as u16,
            operation: parse(&operation_bytes(&mut random)).unwrap().0.operation,
            flags: random.below(8).try_into().unwrap(),
            buffer_len: *random.pick(&[0, 100, u32::MAX]),
            taken: random.below(1000).try_into().unwrap(),
        };
        if random.one_in(8) {
            machine.give_bytes(bytes);
        } else {
            machine.give_bytes([&Packet { header, payload: bytes.clone() }.header_bytes()[..], &bytes].concat());
        }
        if let Some(accepted) = listener.accept().unwrap() {
            sockets.push(accepted.socket);
        }
        if let Some(socket) = sockets.get(random.below(sockets.len().max(1))) {
            let _any = (read(socket, 100), write(socket, &[1; 50]), socket.readiness());
        }
        if sockets.len() > 10 {
            sockets.remove(0).close();
        }
        while let Some(packet) = machine.sent() {
            assert_ne!(packet.header.source.cid, 2, "seed {seed}, round {round}");
        }
    }
    sockets.iter().for_each(|socket| socket.close());
    assert_eq!(write(&local, b"fine"), Ok(Progress::Done(4)));
    assert_eq!(read(&server, 9), Ok(Some(b"fine".to_vec())));
    listener.close();
}

fn operation_bytes(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    bytes[30] = random.below(10).to_le_bytes()[0];
    bytes
}

#[test]
fn a_worker_is_not_wanted_for_nothing() {
    let machine = Machine::new();
    let service: Arc<dyn Flow> = machine.stack.vsock().service.clone();
    assert_eq!(service.work(&machine.stack, 5), NEVER);
    assert_eq!((Taking::More.again_ns(5), Taking::Short.again_ns(5)), (6, 10_000_005));
}
