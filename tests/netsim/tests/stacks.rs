//! Two whole stacks, by IPv4 and IPv6: over bad links, with many connections, with many idle ones, with a peer that is gone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use abi::Errno;
use abi::native::MEMORY_CRITICAL;
use file::Progress;
use mm::pressure;
use net::socket::Socket;
use netsim::churn::{self, Churn};
use netsim::counting::{CountingAllocator, allocated_len};
use netsim::machine::{Machine, StackEnd, receive, send, settle};
use netsim::{LinkSettings, Outcome, Role, Simulation, Transfer};
use testkit::{Random, clock};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const SECOND_NS: u64 = 1_000_000_000;
/// TIME-WAIT and a little more.
const TIME_WAIT_SECONDS: u64 = 70;

/// Held by each test: the allocator counts for all of them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(transfers: [Transfer; 2], link: LinkSettings, is_v6: bool, seed: u64) -> Outcome {
    let (mut client, mut server) = (StackEnd::new(Role::Client, is_v6), StackEnd::new(Role::Server, is_v6));
    let outcome = Simulation::new([&mut client, &mut server], transfers, [link; 2], seed).run(4 * 3600 * SECOND_NS);
    assert!(outcome.is_over, "seed {seed}, v6 {is_v6}, {link:?}, {transfers:?}: {outcome:?}");
    outcome
}

#[test]
fn all_data_arrives_over_all_links() {
    let _alone = alone();
    let first = std::env::var("NETSIM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in first..first + 40 {
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
            // The last closes the window for seconds at a time.
            let (read_len, read_pause_ns) =
                *random.pick(&[(0, 0), (0, 0), (5000, 10_000_000), (60_000, 20 * SECOND_NS)]);
            let len = *random.pick(&[0, 1, 1460, 50_000, 300_000]);
            Transfer { len, read_len, read_pause_ns, stays_open: false }
        };
        run([transfer(&mut random), transfer(&mut random)], link, seed % 2 == 0, seed);
    }
}

#[test]
fn throughput_by_loss() {
    let _alone = alone();
    for loss_ppm in [0, 10_000, 50_000, 100_000] {
        let link = LinkSettings {
            bits_per_second: 100_000_000,
            queue_len_max: 512 << 10,
            delay_ns: 1_000_000,
            loss_ppm,
            ..LinkSettings::default()
        };
        for is_v6 in [false, true] {
            let outcome = run([Transfer::of(1 << 20), Transfer::of(0)], link, is_v6, 1);
            let family = if is_v6 { "IPv6" } else { "IPv4" };
            println!("{family}, {loss_ppm} of a million lost: {} bits/s", outcome.bits_per_second(1));
            // In simulated time: nothing but the protocol counts.
            assert!(loss_ppm > 0 || outcome.bits_per_second(1) > 40_000_000, "{outcome:?}");
        }
    }
}

#[test]
fn memory_after_many_connections_is_what_it_was_before() {
    let _alone = alone();
    const COUNT: u64 = 1500;
    let [before, after] = churn::measure(COUNT);
    // A few sockets may still wait to be freed; 32 bytes that each connection left would be more.
    assert!(after <= before + 32 * usize::try_from(COUNT).expect("small"), "{before} bytes before, {after} after");
}

#[test]
fn ten_thousand_idle_connections_fit_in_200_mb() {
    let _alone = alone();
    const COUNT: usize = 10_000;
    let churn = Churn::new();
    let first = churn.converse(Machine::address4(2));
    let before = allocated_len();
    let connections: Vec<_> = (0..COUNT).map(|_| churn.converse(Machine::address4(2))).collect();
    churn.pass(2);
    let len = (allocated_len() - before) / COUNT;
    println!("both ends of an idle connection take {len} bytes");
    // Both ends are counted, where a server has one.
    assert!(len * COUNT < 200_000_000);
    // And when they are gone all of that comes back, but for tables that have grown.
    for [asking, answering] in &connections {
        asking.close();
        answering.close();
    }
    drop(connections);
    churn.pass(TIME_WAIT_SECONDS);
    let stays = allocated_len().saturating_sub(before);
    println!("{stays} bytes stay");
    assert!(stays < COUNT * 64);
    drop(first);
}

#[test]
fn nobody_new_is_let_in_while_memory_is_short() {
    let _alone = alone();
    let churn = Churn::new();
    let [client, server] = churn.machines();
    let [asking, answering] = churn.converse(Machine::address4(2));
    // One that was answered before, but not yet let in.
    let early = client.connect(Machine::address4(2)).expect("the way is known");
    for frame in client.take_sent() {
        server.receive(frame);
    }
    server.stack().work(0);
    assert_eq!(server.stack().tcp().record_counts().0, 1);
    pressure::set(MEMORY_CRITICAL, 1);
    let late = client.connect(Machine::address6(2)).expect("the way is known");
    settle([client, server]);
    assert_eq!(server.stack().tcp().record_counts().0, 1, "nothing is kept of those who ask");
    assert_eq!(late.finish_connect(), Ok(Progress::WouldBlock));
    // As far as the other end knows, that one is connected; nobody has it here yet.
    assert_eq!(early.finish_connect(), Ok(Progress::Done(0)));
    assert_eq!(server.stack().flows().len(), 1);
    // Who is connected goes on.
    assert_eq!(send(&*asking, &[3; 1000]), Ok(1000));
    settle([client, server]);
    assert_eq!(receive(&*answering, &mut [0; 2000]), Ok(Some(1000)));
    pressure::set(0, 0);
    churn.pass(8);
    assert!([&early, &late].into_iter().all(|one| one.finish_connect() == Ok(Progress::Done(0))));
}

#[test]
fn a_peer_that_is_gone_is_given_up() {
    let _alone = alone();
    let churn = Churn::new();
    let [client, _] = churn.machines();
    let [asking, answering] = churn.converse(Machine::address4(2));
    assert_eq!(send(&*asking, &[3; 1000]), Ok(1000));
    for _ in 0..2000 {
        clock::advance(SECOND_NS);
        client.stack().work(0);
        // The cable is cut.
        drop(client.take_sent());
    }
    let mut buffer = [0; 10];
    // As on Linux the link's own word counts for more than the silence: nobody has the address any more.
    assert_eq!(receive(&*asking, &mut buffer), Err(Errno::EHOSTUNREACH));
    asking.close();
    assert!(client.stack().flows().is_empty());
    drop(answering);
}
