//! TCP Fast Open between Nacre's stack and a server of Linux: a cookie for who asks, and data with the next SYN. Left out, in so many words, where there is no
//! right to network namespaces and TAP devices.

use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::{Duration, Instant};

use abi::inet::{TCP_FASTOPEN_CONNECT, TCP_INFO};
use abi::socket::IPPROTO_TCP;
use file::Progress;
use mm::user::UserReader;
use net::socket::{Address, MessageFlags, Opening, SendRequest, Socket};
use net::tcp::TcpSocket;
use netsim::Pattern;
use netsim::linux::{Device, Kind, Namespace, find_obstacle};
use netsim::machine::{CALLER, Machine, PORT, receive, send};
use testkit::clock;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bench-tcp");
/// Linux gives cookies, to those who ask as well as to those whose listener does not say so.
const SERVES_ALL: &str = "1027";
/// Bytes that each side sends: they fit a SYN.
const LEN: usize = 1000;
const SEED: u64 = 7;
/// `TCPI_OPT_SYN_DATA`, and where the options are in `struct tcp_info`.
const SYN_DATA: u8 = 32;
const OPTIONS_AT: usize = 5;
/// A step that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Our machine, Linux's device, and the time since both were there.
struct Cable {
    machine: Machine,
    device: Device,
    start: Instant,
}

impl Cable {
    /// Carries frames until something is there.
    fn carry_until<T>(&mut self, what: &str, mut find: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let now_ns = u64::try_from(self.start.elapsed().as_nanos()).expect("it is not long");
            clock::stop_at(1_000_000_000 + now_ns);
            while let Some(frame) = self.device.receive() {
                self.machine.receive(frame);
            }
            self.machine.stack().work(0);
            self.machine.take_sent().iter().for_each(|frame| self.device.send(frame));
            if let Some(found) = find() {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: it hangs");
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

/// The first send of a socket, which connects it. Answers how many bytes went with the SYN.
fn open_by_send(socket: &TcpSocket, to: Option<SocketAddr>, bytes: &[u8]) -> usize {
    let address = to.map(Address::Inet);
    let flags = if to.is_some() { MessageFlags::FASTOPEN } else { MessageFlags::empty() };
    let mut from = UserReader::from_kernel(bytes);
    let mut request =
        SendRequest { from: &mut from, address: address.as_ref(), control: &mut Vec::new(), flags, caller: &CALLER };
    assert_eq!(socket.send(&mut request), Ok(Progress::WouldBlock), "it is not connected");
    match socket.open_by_send(&mut request) {
        Ok(Opening::UnderWay(taken)) => taken,
        other => panic!("{other:?}"),
    }
}

/// One connection, that is begun by `open`; answers whether its data was acknowledged with its SYN.
fn exchange(
    cable: &mut Cable,
    namespace: &Namespace,
    server: SocketAddr,
    open: impl FnOnce(&TcpSocket, &[u8]) -> usize,
) -> (usize, bool) {
    let mut command = namespace.command(PROGRAM);
    command.args(["peer", "listen-exchange", &server.to_string(), &LEN.to_string(), &SEED.to_string()]);
    let mut peer = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("ip runs");
    let mut output = BufReader::new(peer.stdout.take().expect("it is a pipe"));
    let mut said = String::new();
    output.read_line(&mut said).expect("text");
    let mut bytes = vec![0; LEN];
    Pattern::new(SEED ^ 0x0a).fill(0, &mut bytes);
    let socket = TcpSocket::new(cable.machine.stack(), if server.is_ipv6() { 10 } else { 2 });
    let with_syn = open(&socket, &bytes);
    cable.carry_until("connecting", || match socket.finish_connect().expect("there is a server") {
        Progress::Done(_) => Some(()),
        Progress::WouldBlock => None,
    });
    let mut sent = with_syn;
    cable.carry_until("sending", || {
        sent += send(&*socket, &bytes[sent..]).expect("it is connected");
        (sent == LEN).then_some(())
    });
    let (mut answer, mut len) = (vec![0; LEN], 0);
    cable.carry_until("receiving", || {
        len += receive(&*socket, &mut answer[len..]).expect("it is connected").unwrap_or(0);
        (len == LEN).then_some(())
    });
    assert_eq!(Pattern::new(SEED ^ 0x0b).find_difference(0, &answer), None);
    let information = socket.option(IPPROTO_TCP, TCP_INFO, 248, &[]).expect("all have it");
    socket.close();
    cable.carry_until("closing", || peer.try_wait().expect("a child"));
    output.read_to_string(&mut said).expect("text");
    assert!(said.ends_with("intact\n"), "Linux says: {said}");
    (with_syn, information[OPTIONS_AT] & SYN_DATA != 0)
}

fn run(is_v6: bool) {
    if let Some(obstacle) = find_obstacle() {
        println!("SKIPPED: Linux cannot be the other end here: {obstacle}");
        return;
    }
    clock::stop_at(1_000_000_000);
    let address = |number| -> IpAddr { if is_v6 { Machine::address6(number) } else { Machine::address4(number) } };
    let namespace = Namespace::new().expect("it was tried");
    namespace.set("ipv4/tcp_fastopen", SERVES_ALL).expect("it is a namespace's own");
    let device = Device::new(&namespace, Kind::Ethernet, 1500).expect("it was tried");
    device.add_address(&namespace, address(2)).expect("the device is new");
    let mut cable = Cable { machine: Machine::new(1), device, start: Instant::now() };
    let server = SocketAddr::new(address(2), PORT);
    let by_send = |socket: &TcpSocket, bytes: &[u8]| open_by_send(socket, Some(server), bytes);
    // Without a cookie nothing goes with the SYN, which asks for one.
    assert_eq!(exchange(&mut cable, &namespace, server, by_send), (0, false));
    assert_eq!(exchange(&mut cable, &namespace, server, by_send), (LEN, true));
    // So it is where connecting waits for the first bytes.
    let deferred = exchange(&mut cable, &namespace, server, |socket, bytes| {
        socket.set_option(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &1_i32.to_ne_bytes(), &CALLER).expect("it is new");
        assert_eq!(socket.connect(&Address::Inet(server), &CALLER), Ok(Progress::Done(0)));
        open_by_send(socket, None, bytes)
    });
    assert_eq!(deferred, (LEN, true));
}

#[test]
fn data_goes_with_the_syn_to_a_server_of_linux() {
    run(false);
}

#[test]
fn data_goes_with_the_syn_over_ipv6() {
    run(true);
}
