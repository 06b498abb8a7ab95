//! Nacre's engine with itself and with smoltcp's at the other end: over every kind of link all connections finish, with their data intact.

use std::net::{Ipv4Addr, SocketAddrV4};

use netsim::{
    CongestionControl, EngineEnd, LinkSettings, Outcome, Role, Simulation, SmoltcpEnd, SmoltcpSettings, TcpEnd,
    Transfer,
};
use testkit::Random;

const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 97, 0, 1), 40_000);
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 97, 0, 2), 5000);
const HOUR_NS: u64 = 3600 * 1_000_000_000;

fn engine(role: Role, seed: u64) -> Box<dyn TcpEnd> {
    let (own, other) = if role == Role::Client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    Box::new(EngineEnd::new(role, own, other, 1500, seed))
}

fn smoltcp(role: Role, seed: u64) -> Box<dyn TcpEnd> {
    let (own, other) = if role == Role::Client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    let settings = SmoltcpSettings {
        mtu: 1500,
        send_buffer: 64 << 10,
        receive_buffer: 64 << 10,
        congestion: CongestionControl::Reno,
        seed,
    };
    Box::new(SmoltcpEnd::new(role, own, other, &settings))
}

type Maker = fn(Role, u64) -> Box<dyn TcpEnd>;

fn run(makers: [Maker; 2], transfers: [Transfer; 2], link: LinkSettings, seed: u64) -> Outcome {
    let (mut client, mut server) = (makers[0](Role::Client, seed * 2), makers[1](Role::Server, seed * 2 + 1));
    let mut simulation = Simulation::new([client.as_mut(), server.as_mut()], transfers, [link; 2], seed);
    let outcome = simulation.run(HOUR_NS);
    assert!(outcome.is_over, "seed {seed}, {link:?}, {transfers:?}: {outcome:?}");
    outcome
}

/// Links and transfers of all kinds; the seed is where to begin, from `NETSIM_SEED`.
fn mix(makers: [Maker; 2], count: u64) {
    let first = std::env::var("NETSIM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in first..first + count {
        let mut random = Random::new(seed);
        let link = LinkSettings {
            bits_per_second: *random.pick(&[2_000_000, 100_000_000, 1_000_000_000]),
            queue_len_max: *random.pick(&[20_000, 1 << 20]),
            delay_ns: *random.pick(&[10_000, 1_000_000, 50_000_000]),
            jitter_ns: *random.pick(&[0, 0, 100_000, 5_000_000]),
            loss_ppm: *random.pick(&[0, 10_000, 50_000, 100_000]),
            duplicate_ppm: *random.pick(&[0, 10_000, 50_000]),
            reorder_ppm: *random.pick(&[0, 10_000, 200_000]),
            corrupt_ppm: *random.pick(&[0, 10_000]),
        };
        let transfer = |random: &mut Random| {
            let (read_len, read_pause_ns) = *random.pick(&[(0, 0), (0, 0), (5000, 10_000_000)]);
            let len = *random.pick(&[0, 1, 1460, 50_000, 300_000]);
            Transfer { len, read_len, read_pause_ns, stays_open: false }
        };
        run(makers, [transfer(&mut random), transfer(&mut random)], link, seed);
    }
}

#[test]
fn with_itself_over_all_links() {
    mix([engine, engine], 60);
}

#[test]
fn as_client_of_smoltcp_over_all_links() {
    mix([engine, smoltcp], 40);
}

#[test]
fn as_server_of_smoltcp_over_all_links() {
    mix([smoltcp, engine], 40);
}

#[test]
fn throughput_by_loss() {
    for loss_ppm in [0, 1000, 10_000, 50_000, 100_000] {
        let link = LinkSettings {
            bits_per_second: 100_000_000,
            queue_len_max: 512 << 10,
            delay_ns: 1_000_000,
            loss_ppm,
            ..LinkSettings::default()
        };
        for (name, makers) in [("itself", [engine as Maker, engine]), ("smoltcp", [engine, smoltcp])] {
            let outcome = run(makers, [Transfer::of(4 << 20), Transfer::of(0)], link, 1);
            println!("to {name}, {loss_ppm} of a million lost: {} bits/s", outcome.bits_per_second(1));
        }
    }
}
