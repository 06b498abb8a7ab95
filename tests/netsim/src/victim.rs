//! [`Victim`]: a machine with everything open that frames can reach, and a friend on the same link that goes on talking to it.
//!
//! What comes in may be anything: forged frames of the friend, answers to what was never asked, nonsense. Two things must stay true: nothing
//! panics (which debug assertions of the stack make a strong claim), and the machine goes on to serve ([`Victim::check_service`]).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use abi::Errno;
use abi::inet::TCP_FASTOPEN;
use abi::socket::{AF_INET, AF_INET6, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, SOCK_DGRAM, SOCK_RAW};
use file::Progress;
use net::control::Configuration;
use net::frame::{ChecksumState, Payload, ReceivedFrame};
use net::settings;
use net::socket::{Address, Socket};
use net::tcp::{CookieKey, CookieKeys};
use sync::machine::NEVER;
use testkit::{Random, clock};

use crate::machine::{CALLER, Machine, receive, send, settle};

/// The port of datagrams.
const DATAGRAM_PORT: u16 = 7000;
/// `IPPROTO_IP` and `IP_ADD_MEMBERSHIP`, `IPPROTO_IPV6` and `IPV6_JOIN_GROUP`: groups that the captures speak of.
const JOIN4: (i32, i32) = (0, 35);
const JOIN6: (i32, i32) = (41, 20);
/// `net.ipv4.tcp_fastopen`: clients and servers.
const FAST_OPEN: u32 = 3;
/// Connections that come with data and are not complete, at most.
const FAST_OPEN_QUEUE: i32 = 3;
/// Bytes that connect.
const FAST_LEN: usize = 100;
/// The key of the server in the captures, whose cookies are good here, too.
const COOKIE_KEY: CookieKey = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const MILLISECOND_NS: u64 = 1_000_000;
/// How long everything may take that still waits for something, when nobody has a socket any more: the longest is a peer that is gone.
const PATIENCE_SECONDS: u64 = 2000;

/// What becomes of a frame under way.
pub type Carry<'a> = dyn FnMut(&mut Random, Vec<u8>) -> Vec<Vec<u8>> + 'a;

/// A connection between the two machines.
struct Pair {
    asking: Arc<dyn Socket>,
    answering: Arc<dyn Socket>,
}

/// See the module.
pub struct Victim {
    machine: Machine,
    friend: Machine,
    listener: Arc<dyn Socket>,
    pairs: Vec<Pair>,
    /// Sockets that nobody connects: datagrams, echoes, raw packets.
    others: Vec<Arc<dyn Socket>>,
    buffer: Vec<u8>,
}

impl Default for Victim {
    fn default() -> Self {
        Self::new()
    }
}

impl Victim {
    /// A machine that has its sockets open and connections with its friend, asks for an address by DHCP and looks for routers. It takes data with
    /// first segments, from who has a cookie.
    ///
    /// # Panics
    /// When what is new does not work.
    #[must_use]
    pub fn new() -> Self {
        assert!(settings::TCP_FASTOPEN.set(FAST_OPEN));
        let (machine, friend) = (Machine::new(1), Machine::new(2));
        machine.configure(&Configuration::automatic()).expect("an interface without configuration");
        let listener = machine.listen(5).expect("the port is free");
        let fast = listener.set_option(IPPROTO_TCP, TCP_FASTOPEN, &FAST_OPEN_QUEUE.to_le_bytes(), &CALLER);
        assert_eq!(fast, Ok(()));
        machine.stack().tcp().set_fast_open_keys(CookieKeys { newest: COOKIE_KEY, before: None });
        let mut victim =
            Self { machine, friend, listener, pairs: Vec::new(), others: Vec::new(), buffer: vec![0; 70_000] };
        victim.open_others();
        victim.open_pairs();
        assert_eq!(victim.pairs.len(), 2, "a connection of each family");
        victim
    }

    fn open_others(&mut self) {
        let port = |ip: IpAddr, port| Address::Inet(SocketAddr::new(ip, port));
        for (domain, any, friend, echo) in [
            (AF_INET, IpAddr::from([0; 4]), Machine::address4(2), IPPROTO_ICMP),
            (AF_INET6, IpAddr::from([0_u16; 8]), Machine::address6(2), IPPROTO_ICMPV6),
        ] {
            let open = |kind, protocol| self.machine.socket(domain, kind, protocol).expect("root may");
            let bound = open(SOCK_DGRAM, 0);
            if domain == AF_INET6 {
                let _ = bound.set_option(JOIN6.0, 26, &1_i32.to_le_bytes(), &CALLER);
            }
            bound.bind(&port(any, DATAGRAM_PORT), &CALLER).expect("the port is free");
            let (level, option) = if domain == AF_INET { JOIN4 } else { JOIN6 };
            let group: Vec<u8> = match domain {
                AF_INET => [239, 1, 2, 3].into_iter().chain([0; 8]).collect(),
                _ => std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 3).octets().into_iter().chain([0; 4]).collect(),
            };
            let _ = bound.set_option(level, option, &group, &CALLER);
            let connected = open(SOCK_DGRAM, 0);
            let _ = connected.connect(&port(friend, DATAGRAM_PORT), &CALLER);
            let echoes = open(SOCK_DGRAM, echo);
            let _ = echoes.connect(&port(friend, 0), &CALLER);
            self.others.extend([
                bound,
                connected,
                echoes,
                open(SOCK_RAW, echo),
                open(SOCK_RAW, 253),
                open(SOCK_RAW, 2),
            ]);
        }
    }

    /// Makes the connections that there are not.
    fn open_pairs(&mut self) {
        for address in [Machine::address4(1), Machine::address6(1)].into_iter().skip(self.pairs.len()) {
            // Each connection but the first has a cookie for its data.
            let Ok((asking, _)) = self.friend.connect_by_send(address, &self.buffer[..FAST_LEN]) else { return };
            settle([&self.machine, &self.friend]);
            match self.listener.accept() {
                Ok(Some(accepted)) if asking.finish_connect() == Ok(Progress::Done(0)) => {
                    self.pairs.push(Pair { asking, answering: accepted.socket });
                }
                _ => return asking.close(),
            }
        }
    }

    /// A frame comes in, in one buffer or, cut behind its headers, in several, with what a device may say of it.
    pub fn receive(&self, frame: &[u8], random: &mut Random) {
        let mut first = frame.to_vec();
        let mut rest = Vec::new();
        if frame.len() > 200 && random.one_in(3) {
            rest = first.split_off(128 + random.below(frame.len() - 128));
        }
        let mut received = ReceivedFrame::new(Payload::from(first));
        if !rest.is_empty() {
            let tail = rest.split_off(random.below(rest.len() + 1));
            received.push(Payload::from(rest));
            received.push(Payload::from(tail));
        }
        if random.one_in(4) {
            received.checksum = ChecksumState::Verified;
        }
        if frame.len() > 1514 || random.one_in(16) {
            received.segment_len = *random.pick(&[0, 1, 536, 1448, 1460, u16::MAX]);
        }
        self.machine.receive_frame(received);
    }

    /// Something happens on both machines, and a moment passes. `carry` sees each frame of the friend, and answers what comes of it.
    pub fn live(&mut self, random: &mut Random, carry: &mut Carry<'_>) {
        self.use_sockets(random);
        for machine in [&self.machine, &self.friend] {
            machine.stack().work(0);
        }
        for frame in self.friend.take_sent() {
            for frame in carry(random, frame) {
                self.receive(&frame, random);
            }
        }
        for frame in self.machine.take_sent() {
            // The friend is not what is tried here: it loses some.
            if !random.one_in(20) {
                self.friend.receive(frame);
            }
        }
        let step_ns = *random.pick(&[1000, MILLISECOND_NS, 40 * MILLISECOND_NS]);
        clock::advance(if random.one_in(200) { 5000 * MILLISECOND_NS } else { step_ns });
    }

    fn use_sockets(&mut self, random: &mut Random) {
        let Self { pairs, others, buffer, .. } = self;
        pairs.retain(|pair| {
            let mut is_alive = !random.one_in(300);
            for socket in [&pair.asking, &pair.answering] {
                if random.one_in(2) {
                    let len = *random.pick(&[1, 100, 1460, 5000, 60_000]);
                    is_alive &= send(&**socket, &buffer[..len]).is_ok();
                }
                if random.one_in(2) {
                    is_alive &= !matches!(receive(&**socket, buffer), Ok(Some(0)) | Err(_));
                }
            }
            if !is_alive {
                pair.asking.close();
                pair.answering.close();
            }
            is_alive
        });
        let chosen = random.pick(others);
        if random.one_in(2) {
            let _ = receive(&**chosen, buffer);
        }
        if random.one_in(4) {
            // An echo request, or what nobody understands.
            let _ = send(&**chosen, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
        }
        if random.one_in(8) {
            self.open_pairs();
        }
        while random.one_in(8)
            && matches!(self.listener.accept().map(|accepted| accepted.map(|it| it.socket.close())), Ok(Some(())))
        {
        }
    }

    /// A machine that has never been here connects, by both families, asks and is answered.
    ///
    /// # Panics
    /// When it is not.
    pub fn check_service(&mut self) {
        let stranger = Machine::new(3);
        // What has come for the listener so far is not what is asked for.
        while let Ok(Some(accepted)) = self.listener.accept() {
            accepted.socket.close();
        }
        drop(self.machine.take_sent());
        for address in [Machine::address4(1), Machine::address6(1)] {
            let asking = stranger.connect(address).expect("the way is known");
            let mut answering = None;
            // Lost segments would be sent again, and there may be a question first who has the address.
            for _ in 0..20 {
                settle([&self.machine, &stranger]);
                answering =
                    answering.or_else(|| self.listener.accept().expect("it listens").map(|accepted| accepted.socket));
                if answering.is_some() && asking.finish_connect() == Ok(Progress::Done(0)) {
                    break;
                }
                clock::advance(500 * MILLISECOND_NS);
            }
            let answering = answering.unwrap_or_else(|| panic!("{address} does not answer"));
            self.exchange(&stranger, [&*asking, &*answering]);
            asking.close();
            answering.close();
            settle([&self.machine, &stranger]);
        }
        pass_until_quiet([&self.machine, &stranger], || stranger.stack().work(0) == NEVER);
    }

    fn exchange(&self, stranger: &Machine, sockets: [&dyn Socket; 2]) {
        for (from, to) in [(sockets[0], sockets[1]), (sockets[1], sockets[0])] {
            assert_eq!(send(from, &[7; 3000]), Ok(3000));
            let (mut buffer, mut len) = (vec![0; 4000], 0);
            for _ in 0..20 {
                settle([&self.machine, stranger]);
                len += receive(to, &mut buffer[len..]).expect("it is connected").unwrap_or(0);
                if len == 3000 {
                    break;
                }
                clock::advance(500 * MILLISECOND_NS);
            }
            assert_eq!(buffer[..len], [7; 3000]);
        }
    }

    /// Closes everything and lets time pass until nothing is left to wait for.
    ///
    /// # Panics
    /// When something is left.
    pub fn end(self) {
        let Self { machine, friend, listener, pairs, others, .. } = self;
        for pair in &pairs {
            pair.asking.close();
            pair.answering.close();
        }
        listener.close();
        others.iter().for_each(|socket| socket.close());
        drop((pairs, others, listener));
        pass_until_quiet([&machine, &friend], || false);
        assert!(machine.stack().flows().is_empty(), "{} flows are left", machine.stack().flows().len());
        assert_eq!(machine.stack().tcp().record_counts(), (0, 0));
    }

    /// Whether a socket says that it is broken, and why: for who wants to know what mutations do.
    #[must_use]
    pub fn failures(&self) -> Vec<Errno> {
        self.pairs.iter().filter_map(|pair| pair.answering.take_error()).collect()
    }
}

/// Lets time pass until two machines wait for nothing more, or `is_quiet` says so. A stack that still has a connection is never freed.
fn pass_until_quiet(machines: [&Machine; 2], is_quiet: impl Fn() -> bool) {
    for _ in 0..PATIENCE_SECONDS {
        if is_quiet() {
            return;
        }
        clock::advance(1000 * MILLISECOND_NS);
        settle(machines);
    }
}
