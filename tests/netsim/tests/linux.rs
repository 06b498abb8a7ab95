//! Nacre's engine with Linux's stack at the other end, through a lossy wire in real time. Left out, in so many words, where there is no right
//! to network namespaces and TUN devices.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use netsim::linux::wire::{EndStation, join};
use netsim::linux::{Device, Kind, Namespace, find_obstacle};
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

/// Both sides send `len` bytes to each other, with our engine as `role`.
fn exchange(role: Role, link: LinkSettings, len: u64, seed: u64) {
    println!("{role:?}, seed {seed}, {link:?}");
    let namespace = Namespace::new().expect("it was tried");
    let mut device = Device::new(&namespace, Kind::Ip, 1500).expect("it was tried");
    device.add_address(&namespace, *LINUX.ip()).expect("the device is new");
    let (len_text, seed_text) = (len.to_string(), seed.to_string());
    let mut peer = match role {
        Role::Client => spawn(&namespace, &["listen-exchange", &LINUX.to_string(), &len_text, &seed_text]),
        Role::Server => spawn(&namespace, &["connect-exchange", &OURS.to_string(), &len_text, &seed_text]),
    };
    let mut output = BufReader::new(peer.stdout.take().expect("it is a pipe"));
    let mut said = String::new();
    if role == Role::Client {
        output.read_line(&mut said).expect("text");
    }
    // Linux as a client chooses its port.
    let other = if role == Role::Client { LINUX } else { SocketAddrV4::new(*LINUX.ip(), 0) };
    let mut end = EngineEnd::new(role, OURS, other, 1500, seed);
    let (own, others) = if role == Role::Client {
        (Pattern::new(seed ^ 0x0a), Pattern::new(seed ^ 0x0b))
    } else {
        (Pattern::new(seed ^ 0x0b), Pattern::new(seed ^ 0x0a))
    };
    let (mut written_len, mut read_len) = (0, 0);
    let has_ended = Cell::new(false);
    let mut has_finished = false;
    let mut buffer = vec![0; 64 << 10];
    let mut work = |end: &mut EngineEnd| {
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
    join([&mut EndStation::new(&mut end, &mut work), &mut device], [link; 2], seed, &mut is_done);
    output.read_to_string(&mut said).expect("text");
    assert!(said.ends_with("intact\n"), "Linux says: {said}");
    assert_eq!((read_len, end.failure()), (len, None));
    println!("  {:?}", start.elapsed());
}

#[test]
fn linux_and_the_engine_understand_each_other_whatever_is_lost() {
    if let Some(obstacle) = find_obstacle() {
        println!("SKIPPED: Linux cannot be the other end here: {obstacle}");
        return;
    }
    for (place, loss_percent) in [0, 1, 5, 10].into_iter().enumerate() {
        let link = LinkSettings {
            bits_per_second: 100_000_000,
            queue_len_max: 512 << 10,
            delay_ns: 1_000_000,
            loss_ppm: loss_percent * 10_000,
            ..LinkSettings::default()
        };
        let seed = place as u64 + 1;
        exchange(Role::Client, link, 1 << 20, seed);
        let harmful =
            LinkSettings { duplicate_ppm: 10_000, reorder_ppm: 10_000, corrupt_ppm: 5000, jitter_ns: 500_000, ..link };
        exchange(Role::Server, harmful, 1 << 20, seed + 10);
    }
}
