//! The simulation itself, with smoltcp at both ends: whatever the link does, what arrives is what was sent.

use std::net::{Ipv4Addr, SocketAddrV4};

use netsim::{CongestionControl, LinkSettings, Role, Simulation, SmoltcpEnd, SmoltcpSettings, Transfer};

const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 97, 0, 1), 40_000);
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 97, 0, 2), 5000);
const LEN: u64 = 300_000;

fn run(link: LinkSettings, transfers: [Transfer; 2], seed: u64) {
    let settings = SmoltcpSettings {
        mtu: 1500,
        send_buffer: 64 << 10,
        receive_buffer: 64 << 10,
        congestion: CongestionControl::Reno,
        seed,
    };
    let mut client = SmoltcpEnd::new(Role::Client, CLIENT, SERVER, &settings);
    let mut server = SmoltcpEnd::new(Role::Server, SERVER, CLIENT, &settings);
    let outcome = Simulation::new([&mut client, &mut server], transfers, [link, link], seed).run(4000 * 1_000_000_000);
    assert!(outcome.is_over, "seed {seed}, {link:?}: {outcome:?}");
}

#[test]
fn a_perfect_link_carries_everything() {
    run(LinkSettings::default(), [Transfer::of(LEN), Transfer::of(LEN)], 1);
}

#[test]
fn every_kind_of_harm_is_survived() {
    let harmful = LinkSettings {
        bits_per_second: 50_000_000,
        queue_len_max: 100_000,
        delay_ns: 2_000_000,
        jitter_ns: 200_000,
        loss_ppm: 20_000,
        duplicate_ppm: 10_000,
        reorder_ppm: 10_000,
        corrupt_ppm: 10_000,
    };
    (1..=4).for_each(|seed| run(harmful, [Transfer::of(LEN), Transfer::of(LEN / 2)], seed));
}

#[test]
fn a_slow_reader_gets_everything() {
    let slow = Transfer { len: 10, read_len: 5000, read_pause_ns: 50_000_000, stays_open: false };
    let link = LinkSettings { delay_ns: 1_000_000, ..LinkSettings::default() };
    run(link, [Transfer::of(LEN), slow], 1);
}
