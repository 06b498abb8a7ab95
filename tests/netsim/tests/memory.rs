//! What needs more than a page of memory at once, which there may not be: each such request of each of these lives is refused once. Nothing
//! panics, what the programs got is right, and in the end all memory has come back.
//!
//! What needs a page or less comes from the kernel's heap, whose reserve neither programs nor devices reach (`net`'s `room` tells); a program that asks for
//! more without being ready to get nothing ends this test, with the length that it asked for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use abi::Errno;
use abi::inet::{IP_RECVERR, TCP_FASTOPEN_NO_COOKIE};
use abi::socket::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, AF_VSOCK, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, SOCK_RAW,
    SOCK_SEQPACKET, SOCK_STREAM,
};
use file::Progress;
use mm::user::{UserReader, UserWriter};
use net::interface::{Evidence, InterfaceAddress, Origin};
use net::socket::address::VsockAddress;
use net::socket::{Address, ControlMessage, MessageFlags, Opening, ReceiveRequest, SendRequest, Socket, UnixName};
use net::tcp::TcpSocket;
use netsim::counting::{CountingAllocator, allocated_len, fail_large, unhindered};
use netsim::machine::{CALLER, Machine, PORT, receive, send, settle};
use testkit::clock;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const SECOND_NS: u64 = 1_000_000_000;
const MILLISECOND_NS: u64 = 1_000_000;
/// Until what is left of connections and fragments has gone: TIME-WAIT, and a while.
const PATIENCE_SECONDS: u64 = 150;
/// What may be there that was not before, in tables that keep their size.
const LEFT_LEN_MAX: usize = 2048;
/// Runs of one life; none has so many large allocations.
const RUNS_MAX: usize = 2000;
/// The longest datagram of these lives.
const LONG: usize = 60_000;
/// What is kept of a datagram that an error quotes.
const QUOTED_LEN: usize = 1280;

/// Two machines on one link.
struct World {
    here: Machine,
    there: Machine,
    buffer: Vec<u8>,
}

impl World {
    fn new() -> Self {
        Self { here: Machine::new(1), there: Machine::new(2), buffer: vec![0; 1 << 20] }
    }

    fn settle(&self) {
        settle([&self.here, &self.there]);
    }

    fn pass(&self, seconds: u64) {
        for _ in 0..seconds * 2 {
            clock::advance(SECOND_NS / 2);
            self.settle();
        }
    }

    /// A socket here, of both families or one alone.
    fn open(&self, domain: u16, kind: i32, protocol: i32) -> Arc<dyn Socket> {
        self.here.socket(domain, kind, protocol).expect("root may")
    }

    /// Reads what there is.
    fn drain(&mut self, socket: &dyn Socket) -> usize {
        let mut sum = 0;
        while let Ok(Some(len)) = receive(socket, &mut self.buffer) {
            sum += len;
            if len == 0 {
                break;
            }
        }
        sum
    }
}

/// Lives one life with each of its large allocations refused in turn.
fn refuse_each(name: &str, live: impl Fn(&mut World)) {
    let mut after_first = None;
    for behind in 0..RUNS_MAX {
        clock::stop_at(SECOND_NS);
        let mut world = World::new();
        // Neighbours know each other: what waits for them has a life of its own.
        live_quietly(&mut world);
        let ((), was_refused) = fail_large(behind, || live(&mut world));
        world.pass(PATIENCE_SECONDS);
        for machine in [&world.here, &world.there] {
            assert!(machine.stack().flows().is_empty(), "{name}, behind {behind}: flows are left");
        }
        live_quietly(&mut world);
        drop(world);
        sync::rcu::flush();
        let len = allocated_len();
        let first = *after_first.get_or_insert(len);
        assert!(len <= first + LEFT_LEN_MAX, "{name}, behind {behind}: {first} bytes after the first life, {len} now");
        if !was_refused {
            println!("{name}: {behind} large allocations");
            return;
        }
    }
    panic!("{name}: no end of large allocations");
}

/// One test: the allocator counts for all threads.
#[test]
fn each_large_allocation_may_be_refused() {
    connections();
    streams();
    streams_within_the_machine();
    loans_before_an_urgent_byte();
    first_sends();
    datagrams_in_fragments();
    datagrams_within_the_machine_and_to_groups();
    echoes();
    errors_that_quote_much();
    frames_that_wait_for_a_neighbour();
    the_unix_domain();
    sockets_to_itself_by_vsock();
    netlink();
}

/// A datagram there and back by each family, which nothing hinders.
fn live_quietly(world: &mut World) {
    for (domain, there) in [(AF_INET, Machine::address4(2)), (AF_INET6, Machine::address6(2))] {
        let (asking, answering) = datagrams(world, domain, there);
        assert_eq!(send(&*asking, b"question"), Ok(8));
        world.settle();
        assert_eq!(receive(&*answering, &mut [0; 10]), Ok(Some(8)));
        asking.close();
        answering.close();
    }
}

/// A socket here that is connected to one there.
fn datagrams(world: &World, domain: u16, there: IpAddr) -> (Arc<dyn Socket>, Arc<dyn Socket>) {
    let answering = world.there.socket(domain, SOCK_DGRAM, 0).expect("root may");
    answering.bind(&Address::Inet(SocketAddr::new(there, PORT)), &CALLER).expect("the port is free");
    let asking = world.open(domain, SOCK_DGRAM, 0);
    asking.connect(&Address::Inet(SocketAddr::new(there, PORT)), &CALLER).expect("the way is known");
    (asking, answering)
}

/// A connection to a listener there, which is accepted.
fn connection(world: &World, to: IpAddr) -> Option<[Arc<dyn Socket>; 2]> {
    let listener = world.there.listen(4).ok()?;
    let asking = world.here.connect(to).ok()?;
    world.settle();
    let accepted = listener.accept().ok().flatten();
    listener.close();
    let asking: Arc<dyn Socket> = asking;
    match accepted {
        Some(accepted) => Some([asking, accepted.socket]),
        None => {
            asking.close();
            None
        }
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|place| (place % 251).to_le_bytes()[0]).collect()
}

/// Sends with ancillary data.
fn send_with(
    socket: &dyn Socket,
    bytes: &[u8],
    mut control: Vec<ControlMessage>,
    flags: MessageFlags,
) -> Result<(), Errno> {
    let mut from = UserReader::from_kernel(bytes);
    let mut request = SendRequest { from: &mut from, address: None, control: &mut control, flags, caller: &CALLER };
    socket.send(&mut request).map(|_| ())
}

fn is_no_memory(result: Result<(), Errno>) -> bool {
    matches!(result, Ok(()) | Err(Errno::ENOBUFS | Errno::ENOMEM))
}

fn connections() {
    // More than the tables of a page hold: of flows, of who waits to be accepted, of TIME-WAIT.
    const COUNT: usize = 600;
    refuse_each("connections", |world| {
        let listener = world.there.listen(2 * i32::try_from(COUNT).expect("small")).expect("the port is free");
        let (mut asking, mut answering) = unhindered(|| (Vec::with_capacity(COUNT), Vec::with_capacity(COUNT)));
        for _ in 0..COUNT {
            clock::advance(MILLISECOND_NS);
            asking.extend(world.here.connect(Machine::address4(2)));
            world.settle();
        }
        world.pass(4);
        while let Ok(Some(accepted)) = listener.accept() {
            answering.push(accepted.socket);
            world.settle();
        }
        assert!(answering.len() + 1 >= COUNT, "{} are accepted", answering.len());
        asking.iter().for_each(|one| one.close());
        world.settle();
        answering.iter().for_each(|one| one.close());
        listener.close();
    });
}

fn streams() {
    let sent = bytes(700_000);
    for to in [Machine::address4(2), Machine::address6(2)] {
        refuse_each("a stream with a reader that comes late", |world| {
            let Some([asking, answering]) = connection(world, to) else { return };
            let (mut written_len, mut read_len) = (0, 0);
            let mut rounds = 0;
            while read_len < sent.len() {
                let rest = &sent[written_len..sent.len().min(written_len + 50_000)];
                written_len += send(&*asking, rest).unwrap_or(0);
                if rounds % 4 == 2 {
                    // A frame is lost, and what follows waits for it.
                    let mut frames = world.here.take_sent().into_iter();
                    drop(frames.next());
                    frames.for_each(|frame| world.there.receive(frame));
                }
                world.settle();
                if rounds % 8 == 7 {
                    world.pass(2);
                    while let Ok(Some(len @ 1..)) = receive(&*answering, &mut world.buffer) {
                        assert!(world.buffer[..len] == sent[read_len..read_len + len]);
                        read_len += len;
                    }
                }
                rounds += 1;
                assert!(rounds < 10_000, "it goes on");
            }
            asking.close();
            answering.close();
        });
    }
}

fn streams_within_the_machine() {
    let sent = bytes(300_000);
    refuse_each("a stream within the machine", |world| {
        let listener = world.here.listen(4).expect("the port is free");
        let asking = world.here.connect(Machine::address4(1)).expect("the way is known");
        world.settle();
        let Ok(Some(accepted)) = listener.accept() else { panic!("it is there at once") };
        let (mut written_len, mut read_len) = (0, 0);
        while read_len < sent.len() {
            written_len += send(&*asking, &sent[written_len..]).unwrap_or(0);
            while let Ok(Some(len @ 1..)) = receive(&*accepted.socket, &mut world.buffer) {
                assert!(world.buffer[..len] == sent[read_len..read_len + len]);
                read_len += len;
            }
        }
        [&*asking as &dyn Socket, &*accepted.socket, &*listener].iter().for_each(|one| one.close());
    });
}

/// What comes before an urgent byte is a part of a long piece of memory, within the machine and where frames are long.
fn loans_before_an_urgent_byte() {
    for (to, len) in [(Machine::address4(1), LONG), (Machine::address4(2), 8000)] {
        let sent = bytes(len);
        refuse_each("loans before an urgent byte", |world| {
            (world.here, world.there) = unhindered(|| (Machine::with_mtu(1, 9000), Machine::with_mtu(2, 9000)));
            let server = if to == Machine::address4(1) { &world.here } else { &world.there };
            let listener = server.listen(4).expect("the port is free");
            let asking = world.here.connect(to).expect("the way is known");
            world.settle();
            let Ok(Some(accepted)) = listener.accept() else { panic!("it is there") };
            let write = || send_with(&*asking, &sent, Vec::new(), MessageFlags::MORE);
            write().or_else(|_| write()).expect("once is refused");
            let is_sent = send_with(&*asking, b"!", Vec::new(), MessageFlags::OOB);
            world.pass(1);
            let mut read_len = 0;
            while let Ok(Some(lent)) = accepted.socket.lend(64) {
                for loan in lent.loans {
                    assert!(loan.bytes() == &sent[read_len..read_len + loan.bytes().len()]);
                    read_len += loan.bytes().len();
                }
            }
            assert!(read_len == len || is_sent.is_err(), "{read_len} bytes of {len}");
            [&*asking as &dyn Socket, &*accepted.socket, &*listener].iter().for_each(|one| one.close());
        });
    }
}

/// Sends that connect, here and over the network.
fn first_sends() {
    let sent = bytes(LONG);
    for to in [Machine::address4(1), Machine::address6(2)] {
        refuse_each("a send that connects", |world| {
            let server = if to.is_ipv4() { &world.here } else { &world.there };
            let listener = server.listen(4).expect("the port is free");
            let asking = TcpSocket::new(world.here.stack(), i32::from(if to.is_ipv4() { AF_INET } else { AF_INET6 }));
            let one = 1_i32.to_ne_bytes();
            asking.set_option(IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &one, &CALLER).expect("it is new");
            let address = Address::Inet(SocketAddr::new(to, PORT));
            let (mut from, flags) = (UserReader::from_kernel(&sent), MessageFlags::FASTOPEN);
            let (address, control) = (Some(&address), &mut Vec::new());
            let mut request = SendRequest { from: &mut from, address, control, flags, caller: &CALLER };
            let Ok(Opening::UnderWay(with_syn)) = asking.open_by_send(&mut request) else { panic!("it connects") };
            world.pass(4);
            let written_len = with_syn + send(&*asking, &sent[with_syn..]).expect("it is connected");
            let accepted = listener.accept().expect("it listens");
            world.pass(4);
            if let Some(accepted) = &accepted {
                assert!(world.drain(&*accepted.socket) <= written_len);
                accepted.socket.close();
            }
            [&*asking as &dyn Socket, &*listener].iter().for_each(|one| one.close());
        });
    }
}

fn datagrams_in_fragments() {
    let sent = bytes(LONG);
    for (domain, there) in [(AF_INET, Machine::address4(2)), (AF_INET6, Machine::address6(2))] {
        refuse_each("long datagrams", |world| {
            let (asking, answering) = datagrams(world, domain, there);
            let hears_all =
                (domain == AF_INET).then(|| world.there.socket(AF_INET, SOCK_RAW, IPPROTO_UDP).expect("root may"));
            assert!(is_no_memory(send(&*asking, &sent).map(|_| ())));
            // Kept back, and then sent with the next.
            assert!(is_no_memory(send_with(&*asking, &sent[..30_000], Vec::new(), MessageFlags::MORE)));
            assert!(is_no_memory(send(&*asking, &sent[..20_000]).map(|_| ())));
            let parts = vec![ControlMessage::SegmentLen(500)];
            let in_parts = send_with(&*asking, &sent[..50_000], parts, MessageFlags::empty());
            // What was kept back may still be.
            assert!(is_no_memory(in_parts) || in_parts == Err(Errno::EMSGSIZE), "{in_parts:?}");
            world.settle();
            world.pass(1);
            while let Ok(Some(len)) = receive(&*answering, &mut world.buffer) {
                assert!(world.buffer[..len.min(500)] == sent[..len.min(500)] || len == 500, "{len} bytes");
            }
            asking.close();
            answering.close();
            if let Some(raw) = hears_all {
                world.drain(&*raw);
                raw.close();
            }
        });
    }
}

fn datagrams_within_the_machine_and_to_groups() {
    let sent = bytes(LONG);
    refuse_each("datagrams within the machine", |world| {
        let group = Address::Inet("239.1.2.3:5000".parse().expect("an address"));
        let any = Address::Inet("0.0.0.0:5000".parse().expect("an address"));
        let members: Vec<_> = (0..3).map(|_| world.open(AF_INET, SOCK_DGRAM, 0)).collect();
        for member in &members {
            member.options().reuse_address.store(true, Relaxed);
            member.bind(&any, &CALLER).expect("it is shared");
            let membership: Vec<u8> = [239, 1, 2, 3, 10, 97, 0, 1, 0, 0, 0, 0].into();
            member.set_option(0, 35, &membership, &CALLER).expect("IP_ADD_MEMBERSHIP");
        }
        let asking = world.open(AF_INET, SOCK_DGRAM, 0);
        asking.set_option(0, 32, &[10, 97, 0, 1], &CALLER).expect("IP_MULTICAST_IF");
        for to in [group, Address::Inet(SocketAddr::new(Machine::address4(1), PORT))] {
            asking.connect(&to, &CALLER).expect("the way is known");
            assert!(is_no_memory(send(&*asking, &sent).map(|_| ())));
            world.settle();
        }
        members.iter().chain([&asking]).for_each(|one| {
            world.drain(&**one);
            one.close();
        });
    });
}

fn echoes() {
    let mut request = bytes(LONG);
    request[..8].copy_from_slice(&[8, 0, 0, 0, 0, 0, 0, 1]);
    refuse_each("echoes", |world| {
        let raw = world.open(AF_INET, SOCK_RAW, IPPROTO_ICMP);
        let ping = world.open(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
        for socket in [&raw, &ping] {
            socket
                .connect(&Address::Inet(SocketAddr::new(Machine::address4(2), 0)), &CALLER)
                .expect("the way is known");
            assert!(is_no_memory(send(&**socket, &request).map(|_| ())));
            world.settle();
        }
        for socket in [raw, ping] {
            world.drain(&*socket);
            socket.close();
        }
    });
}

/// A message that says nobody has the port, and quotes far more than an honest one.
fn errors_that_quote_much() {
    let mut error = vec![3, 3, 0, 0, 0, 0, 0, 0];
    let (Some(from), Some(to)) = (octets(Machine::address4(1)), octets(Machine::address4(2))) else { return };
    let mut ip = [0x45, 0, 0xea, 0x60, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ip[12..16].copy_from_slice(&from);
    ip[16..].copy_from_slice(&to);
    error.extend(ip);
    error.extend([17_u16.to_be_bytes(), PORT.to_be_bytes(), [0xea, 0x4c], [0; 2]].concat());
    error.extend(bytes(LONG));
    let sum = error.chunks_exact(2).fold(0_u32, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = u16::try_from(sum % 0xffff).expect("it is the rest");
    error[2..4].copy_from_slice(&(!sum).to_be_bytes());
    refuse_each("errors that quote much", |world| {
        let asking = world.open(AF_INET, SOCK_DGRAM, 0);
        asking.bind(&Address::Inet(SocketAddr::new(Machine::address4(1), 17)), &CALLER).expect("the port is free");
        let peer = Address::Inet(SocketAddr::new(Machine::address4(2), PORT));
        asking.connect(&peer, &CALLER).expect("the way is known");
        asking.set_option(0, IP_RECVERR, &1_i32.to_ne_bytes(), &CALLER).expect("all have it");
        let raw = world.there.socket(AF_INET, SOCK_RAW, IPPROTO_ICMP).expect("root may");
        let here = Address::Inet(SocketAddr::new(Machine::address4(1), 0));
        raw.connect(&here, &CALLER).expect("the way is known");
        assert!(is_no_memory(send(&*raw, &error).map(|_| ())));
        world.settle();
        let mut to = UserWriter::to_kernel(&mut world.buffer);
        let mut request = ReceiveRequest { to: &mut to, flags: MessageFlags::ERRQUEUE, wants_control: true };
        // An error that there is no memory for is lost, as on any network.
        if let Ok(Some(received)) = asking.receive(&mut request) {
            assert!(received.len == QUOTED_LEN && world.buffer[..QUOTED_LEN] == bytes(QUOTED_LEN));
        }
        world.pass(40);
        world.drain(&*raw);
        [asking, raw].iter().for_each(|one| one.close());
    });
}

fn octets(address: IpAddr) -> Option<[u8; 4]> {
    match address {
        IpAddr::V4(address) => Some(address.octets()),
        IpAddr::V6(_) => None,
    }
}

fn frames_that_wait_for_a_neighbour() {
    let sent = bytes(LONG);
    refuse_each("frames for nobody", |world| {
        let asking = world.open(AF_INET, SOCK_DGRAM, 0);
        asking
            .connect(&Address::Inet("10.97.0.77:9".parse().expect("an address")), &CALLER)
            .expect("it is on the link");
        assert!(is_no_memory(send(&*asking, &sent).map(|_| ())));
        let parts = vec![ControlMessage::SegmentLen(500)];
        assert!(is_no_memory(send_with(&*asking, &sent[..50_000], parts, MessageFlags::empty())));
        world.pass(5);
        asking.close();
    });
}

fn the_unix_domain() {
    let sent = bytes(150_000);
    refuse_each("the Unix domain", |world| {
        for kind in [SOCK_STREAM, SOCK_DGRAM] {
            let name = Address::Unix(UnixName::Abstract(b"a name".to_vec()));
            let listener = world.open(AF_UNIX, kind, 0);
            listener.bind(&name, &CALLER).expect("the name is free");
            let asking = world.open(AF_UNIX, kind, 0);
            let answering = if kind == SOCK_STREAM {
                listener.listen(4, &CALLER).expect("it has a name");
                asking.connect(&name, &CALLER).expect("it listens");
                listener.accept().expect("it listens").expect("somebody waits").socket
            } else {
                asking.connect(&name, &CALLER).expect("it is there");
                Arc::clone(&listener)
            };
            for _ in 0..3 {
                let part = send(&*asking, &sent);
                assert!(part.is_ok() || is_no_memory(part.map(|_| ())));
                world.drain(&*answering);
            }
            for _ in 0..1000 {
                let _ = send(&*asking, b"short");
            }
            world.drain(&*answering);
            [asking, answering, listener].iter().for_each(|one| one.close());
        }
    });
}

/// Bytes, many messages, and so many sockets that their tables are long.
fn sockets_to_itself_by_vsock() {
    let sent = bytes(200_000);
    refuse_each("vsock", |world| {
        let address = |port| Address::Vsock(VsockAddress { cid: 1, port });
        let mut sockets = unhindered(|| Vec::with_capacity(1000));
        sockets.extend((0..200).map(|_| world.open(AF_VSOCK, SOCK_STREAM, 0)));
        for (port, socket) in (10_000..).zip(&sockets) {
            assert!(is_no_memory(socket.bind(&address(port), &CALLER)));
        }
        for (port, kind) in [(5000, SOCK_STREAM), (5001, SOCK_SEQPACKET)] {
            let listener = world.open(AF_VSOCK, kind, 0);
            listener.bind(&address(port), &CALLER).expect("the table is not full");
            listener.listen(200, &CALLER).expect("it has a port");
            for _ in 0..if kind == SOCK_STREAM { 150 } else { 1 } {
                let asking = world.open(AF_VSOCK, kind, 0);
                let begun = asking.connect(&address(port), &CALLER);
                let is_refused = begun.is_ok() && asking.finish_connect() == Err(Errno::ECONNRESET);
                assert!(is_refused || is_no_memory(begun.map(|_| ())));
                if let Ok(Some(accepted)) = listener.accept() {
                    sockets.push(accepted.socket);
                }
                sockets.push(asking);
            }
            let ends = [&sockets[sockets.len() - 1], &sockets[sockets.len() - 2]];
            for _ in 0..3 {
                let _ = send(&**ends[0], &sent);
                world.drain(&**ends[1]);
            }
            for _ in 0..1000 {
                let _ = send(&**ends[0], b"short");
            }
            world.drain(&**ends[1]);
            sockets.push(listener);
        }
        sockets.iter().for_each(|one| one.close());
    });
}

fn netlink() {
    let long = vec![0; 20_000];
    let mut unknown = long.clone();
    unknown[..8].copy_from_slice(&[0x20, 0x4e, 0, 0, 0, 0x10, 1, 0]);
    refuse_each("netlink", |world| {
        let index = world.here.stack().interfaces().snapshot().interfaces().last().expect("a device").index();
        // Who may configure the machine may also fill its tables.
        unhindered(|| {
            for number in 10..90 {
                let address = InterfaceAddress::permanent(index, [10, 98, 0, number].into(), 24, Origin::Static);
                world.here.stack().interfaces().add_address(address).expect("it is new");
            }
        });
        // Neighbours come by themselves.
        let snapshot = world.here.stack().interfaces().snapshot();
        let link = snapshot.interface(index).expect("it was there").neighbours();
        for number in 10..200 {
            link.learn([10, 97, 0, number].into(), [2; 6], Evidence::Claim, true, clock::now());
        }
        unhindered(|| (20..28).for_each(|number| assert!(world.here.add_device(number))));
        let socket = world.open(AF_NETLINK, SOCK_RAW, 0);
        // All links, addresses, routes and neighbours; NLM_F_REQUEST and NLM_F_DUMP.
        for kind in [18_u16, 22, 26, 30] {
            let mut request = [17_u32.to_le_bytes(), [0; 4], [1, 0, 0, 0], [0; 4], [0; 4]].concat();
            request[4..6].copy_from_slice(&kind.to_le_bytes());
            request[6..8].copy_from_slice(&0x301_u16.to_le_bytes());
            assert!(is_no_memory(send(&*socket, &request[..17]).map(|_| ())));
            world.drain(&*socket);
        }
        assert!(is_no_memory(send(&*socket, &long).map(|_| ())));
        world.drain(&*socket);
        // Nobody knows what is asked for, which the answer quotes.
        assert!(is_no_memory(send(&*socket, &unknown).map(|_| ())));
        let mut to = UserWriter::to_kernel(&mut world.buffer);
        let mut request = ReceiveRequest { to: &mut to, flags: MessageFlags::PEEK, wants_control: false };
        assert!(is_no_memory(socket.receive(&mut request).map(|_| ())));
        world.drain(&*socket);
        socket.close();
        assert!(matches!(socket.finish_connect(), Ok(Progress::Done(0)) | Err(_)));
    });
}
