//! Nacre's engine, and its whole stack, with Linux's at the other end, through a lossy wire in real time. Left out, in so many words, where there is no right
//! to network namespaces and TUN devices.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use netsim::linux::wire::{EndStation, join};
use netsim::linux::{Device, Kind, Namespace, find_obstacle};
use netsim::machine::{Machine, PORT, StackEnd};
use netsim::{EngineEnd, LinkSettings, Pattern, Received, Role, TcpEnd};

const OURS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 97, 0, 1), 40_000);
const LINUX: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 97, 0, 2), 5000);
const PROGRAM: &str = env!("CARGO_BIN_EXE_bench-tcp");
/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(300);

fn spawn(namespace: &Namespace, arguments: &[&str]) -> Child {
    let mut command = namespace.command(PROGRAM);
    command.arg("peer").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("ip runs")
}

/// Our end and Linux's.
struct Ends {
    ours: Box<dyn TcpEnd>,
    role: Role,
    device: Kind,
    /// Where the server is: Linux's address and port, or ours.
    server: SocketAddr,
    linux: IpAddr,
}

impl Ends {
    /// The engine alone, which exchanges IP packets.
    fn of_engine(role: Role, seed: u64) -> Self {
        let (server, other) = match role {
            Role::Client => (LINUX, LINUX),
            // Linux as a client chooses its port.
            Role::Server => (OURS, SocketAddrV4::new(*LINUX.ip(), 0)),
        };
        let ours = Box::new(EngineEnd::new(role, OURS, other, 1500, seed));
        Self { ours, role, device: Kind::Ip, server: server.into(), linux: (*LINUX.ip()).into() }
    }

    /// A whole stack, which exchanges Ethernet frames.
    fn of_stack(role: Role, is_v6: bool) -> Self {
        let address = |number| if is_v6 { Machine::address6(number) } else { Machine::address4(number) };
        let linux = address(if role == Role::Client { 2 } else { 1 });
        let ours = Box::new(StackEnd::new(role, is_v6));
        Self { ours, role, device: Kind::Ethernet, server: SocketAddr::new(address(2), PORT), linux }
    }
}

/// Both sides send `len` bytes to each other.
fn exchange(ends: Ends, link: LinkSettings, len: u64, seed: u64) {
    let Ends { mut ours, role, device: kind, server, linux } = ends;
    println!("{}, {linux}, seed {seed}, {link:?}", ours.name());
    let namespace = Namespace::new().expect("it was tried");
    let mut device = Device::new(&namespace, kind, 1500).expect("it was tried");
    device.add_address(&namespace, linux).expect("the device is new");
    let (len_text, seed_text) = (len.to_string(), seed.to_string());
    let verb = if role == Role::Client { "listen-exchange" } else { "connect-exchange" };
    let mut peer = spawn(&namespace, &[verb, &server.to_string(), &len_text, &seed_text]);
    let mut output = BufReader::new(peer.stdout.take().expect("it is a pipe"));
    let mut said = String::new();
    if role == Role::Client {
        output.read_line(&mut said).expect("text");
    }
    let (own, others) = if role == Role::Client {
        (Pattern::new(seed ^ 0x0a), Pattern::new(seed ^ 0x0b))
    } else {
        (Pattern::new(seed ^ 0x0b), Pattern::new(seed ^ 0x0a))
    };
    let (mut written_len, mut read_len) = (0, 0);
    let has_ended = Cell::new(false);
    let mut has_finished = false;
    let mut buffer = vec![0; 64 << 10];
    let mut work = |end: &mut (dyn TcpEnd + 'static)| {
        assert_eq!(end.failure(), None);
        let mut is_busy = false;
        while written_len < len {
            let now = usize::try_from(len - written_len).expect("64 bits").min(buffer.len());
            own.fill(written_len, &mut buffer[..now]);
            let taken = end.write(&buffer[..now]);
            written_len += taken as u64;
            is_busy |= taken > 0;
            if taken < now {
                break;
            }
        }
        if written_len == len && !has_finished && end.is_open() {
            end.finish_writing();
            has_finished = true;
        }
        while !has_ended.get() {
            match end.read(&mut buffer) {
                Received::Nothing => break,
                Received::End => has_ended.set(true),
                Received::Bytes(now) => {
                    assert_eq!(others.find_difference(read_len, &buffer[..now]), None);
                    read_len += now as u64;
                }
            }
            is_busy = true;
        }
        is_busy
    };
    let start = Instant::now();
    let mut status = None;
    let mut is_done = || {
        assert!(start.elapsed() < PATIENCE, "the connection hangs");
        status = status.or(peer.try_wait().expect("a child"));
        // Linux goes on with what its program has left behind.
        status.is_some() && has_ended.get()
    };
    join([&mut EndStation::new(&mut *ours, &mut work), &mut device], [link; 2], seed, &mut is_done);
    output.read_to_string(&mut said).expect("text");
    assert!(said.ends_with("intact\n"), "Linux says: {said}");
    assert_eq!((read_len, ours.failure()), (len, None));
    println!("  {:?}", start.elapsed());
}

/// A wire of 100 Mbit/s that loses so many of a hundred.
fn lossy(loss_percent: u32) -> LinkSettings {
    LinkSettings {
        bits_per_second: 100_000_000,
        queue_len_max: 512 << 10,
        delay_ns: 1_000_000,
        loss_ppm: loss_percent * 10_000,
        ..LinkSettings::default()
    }
}

/// As `link`, with all else that goes wrong on wires.
fn harmful(link: LinkSettings) -> LinkSettings {
    LinkSettings { duplicate_ppm: 10_000, reorder_ppm: 10_000, corrupt_ppm: 5000, jitter_ns: 500_000, ..link }
}

/// Whether there is no Linux to talk to, which is said.
fn is_skipped() -> bool {
    let obstacle = find_obstacle();
    if let Some(obstacle) = &obstacle {
        println!("SKIPPED: Linux cannot be the other end here: {obstacle}");
    }
    obstacle.is_some()
}

#[test]
fn linux_and_the_engine_understand_each_other_whatever_is_lost() {
    if is_skipped() {
        return;
    }
    for (seed, loss_percent) in (1..).zip([0, 1, 5, 10]) {
        let link = lossy(loss_percent);
        exchange(Ends::of_engine(Role::Client, seed), link, 1 << 20, seed);
        exchange(Ends::of_engine(Role::Server, seed + 10), harmful(link), 1 << 20, seed + 10);
    }
}

/// Linux and a whole stack of ours, in both roles.
fn exchange_with_stack(is_v6: bool, loss_percent: u32) {
    if is_skipped() {
        return;
    }
    let link = lossy(loss_percent);
    // Nothing protects ARP from what changes on the wire.
    let worse = LinkSettings { corrupt_ppm: if is_v6 { 5000 } else { 0 }, ..harmful(link) };
    let seed = u64::from(loss_percent);
    exchange(Ends::of_stack(Role::Client, is_v6), link, 256 << 10, seed + 1);
    exchange(Ends::of_stack(Role::Server, is_v6), worse, 256 << 10, seed + 21);
}

#[test]
fn linux_and_the_stack_by_ipv4() {
    [0, 10].into_iter().for_each(|loss_percent| exchange_with_stack(false, loss_percent));
}

#[test]
fn linux_and_the_stack_by_ipv4_with_some_loss() {
    [1, 5].into_iter().for_each(|loss_percent| exchange_with_stack(false, loss_percent));
}

#[test]
fn linux_and_the_stack_by_ipv6() {
    [0, 10].into_iter().for_each(|loss_percent| exchange_with_stack(true, loss_percent));
}

#[test]
fn linux_and_the_stack_by_ipv6_with_some_loss() {
    [1, 5].into_iter().for_each(|loss_percent| exchange_with_stack(true, loss_percent));
}
