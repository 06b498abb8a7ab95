//! Two whole stacks, by IPv4: over bad links, with many connections, with many idle ones, with a peer that is gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use abi::Errno;
use file::Progress;
use net::socket::Socket;
use netsim::counting::{CountingAllocator, allocated_len};
use netsim::machine::{Machine, StackEnd, receive, send, settle};
use netsim::{LinkSettings, Outcome, Role, Simulation, Transfer};
use testkit::{Random, clock};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const SECOND_NS: u64 = 1_000_000_000;

/// Held by each test: the allocator counts for all of them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(transfers: [Transfer; 2], link: LinkSettings, seed: u64) -> Outcome {
    let (mut client, mut server) = (StackEnd::new(Role::Client, false), StackEnd::new(Role::Server, false));
    let outcome = Simulation::new([&mut client, &mut server], transfers, [link; 2], seed).run(3600 * SECOND_NS);
    assert!(outcome.is_over, "seed {seed}, {link:?}, {transfers:?}: {outcome:?}");
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
            loss_ppm: *random.pick(&[0, 10_000, 50_000]),
            duplicate_ppm: *random.pick(&[0, 10_000, 50_000]),
            reorder_ppm: *random.pick(&[0, 10_000, 200_000]),
            corrupt_ppm: *random.pick(&[0, 10_000]),
        };
        let transfer = |random: &mut Random| {
            let (read_len, read_pause_ns) = *random.pick(&[(0, 0), (0, 0), (5000, 10_000_000)]);
            let len = *random.pick(&[0, 1, 1460, 50_000, 300_000]);
            Transfer { len, read_len, read_pause_ns, stays_open: false }
        };
        run([transfer(&mut random), transfer(&mut random)], link, seed);
    }
}

/// Opens a connection, with a question and an answer on it.
fn converse(client: &Machine, server: &Machine, listener: &dyn Socket) -> [Arc<dyn Socket>; 2] {
    let asking = client.connect(Machine::address4(2)).expect("the way is known");
    settle([client, server]);
    assert_eq!(asking.finish_connect(), Ok(Progress::Done(0)));
    let answering = listener.accept().expect("it listens").expect("somebody waits").socket;
    let mut buffer = [0; 100];
    assert_eq!(send(&*asking, &[1; 100]), Ok(100));
    settle([client, server]);
    assert_eq!(receive(&*answering, &mut buffer), Ok(Some(100)));
    assert_eq!(send(&*answering, &[2; 100]), Ok(100));
    settle([client, server]);
    assert_eq!(receive(&*asking, &mut buffer), Ok(Some(100)));
    [asking, answering]
}

/// Lets time pass.
fn pass(machines: [&Machine; 2], seconds: u64) {
    for _ in 0..seconds * 4 {
        clock::advance(SECOND_NS / 4);
        settle(machines);
    }
}

#[test]
fn memory_after_many_connections_is_what_it_was_before() {
    let _alone = alone();
    clock::stop_at(SECOND_NS);
    let (client, server) = (Machine::new(1), Machine::new(2));
    let listener = server.listen(100).expect("the port is free");
    let churn = |count| {
        for _ in 0..count {
            let [asking, answering] = converse(&client, &server, &*listener);
            asking.close();
            settle([&client, &server]);
            answering.close();
            settle([&client, &server]);
        }
        pass([&client, &server], 70);
        let records = [client.stack().tcp().record_counts(), server.stack().tcp().record_counts()];
        assert_eq!(records, [(0, 0); 2]);
        assert!(client.stack().flows().is_empty() && server.stack().flows().is_empty());
    };
    // Tables grow to their size first.
    churn(1500);
    let before = allocated_len();
    churn(1500);
    let after = allocated_len();
    // A few sockets may still wait to be freed; 32 bytes that each connection left would be more.
    assert!(after <= before + 32 * 1500, "{before} bytes before, {after} after");
}

#[test]
fn ten_thousand_idle_connections_fit_in_200_mb() {
    let _alone = alone();
    const COUNT: usize = 10_000;
    clock::stop_at(SECOND_NS);
    let (client, server) = (Machine::new(1), Machine::new(2));
    let listener = server.listen(100).expect("the port is free");
    let first = converse(&client, &server, &*listener);
    let before = allocated_len();
    let connections: Vec<_> = (0..COUNT).map(|_| converse(&client, &server, &*listener)).collect();
    pass([&client, &server], 2);
    let len = (allocated_len() - before) / COUNT;
    println!("both ends of an idle connection take {len} bytes");
    // Both ends are counted, where a server has one.
    assert!(len * COUNT < 200_000_000);
    drop((first, connections));
}

#[test]
fn a_peer_that_is_gone_is_given_up() {
    let _alone = alone();
    clock::stop_at(SECOND_NS);
    let (client, server) = (Machine::new(1), Machine::new(2));
    let listener = server.listen(100).expect("the port is free");
    let [asking, answering] = converse(&client, &server, &*listener);
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
