//! Spoilt frames for the classifier and the whole way in: nothing panics, layouts stay within their frames, and the machine serves on.

use net::classify::{Class, Layout, classify};
use netsim::machine::{Machine, receive, send};
use testkit::{Random, clock};

const SEEDS: u64 = 30_000;

/// All frames of a connection between two machines, with the questions for their link addresses.
fn real_frames(client: &Machine, server: &Machine) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut carry = || {
        for _ in 0..8 {
            for (from, to) in [(client, server), (server, client)] {
                for frame in from.take_sent() {
                    frames.push(frame.clone());
                    to.receive(frame);
                }
                to.stack().work(0);
            }
        }
    };
    let listener = server.listen(5).expect("the port is free");
    let asking = client.connect(Machine::address4(2)).expect("the way is known");
    carry();
    let answering = net::socket::Socket::accept(&*listener).expect("it listens").expect("somebody waits").socket;
    assert_eq!(send(&*asking, &[7; 3000]), Ok(3000));
    carry();
    assert_eq!(receive(&*answering, &mut [0; 4000]), Ok(Some(3000)));
    net::socket::Socket::close(&*asking);
    answering.close();
    carry();
    net::socket::Socket::close(&*listener);
    assert!(frames.len() > 8, "ARP, SYN, data and FIN at least");
    frames
}

fn check_layout(layout: &Layout, len: usize) {
    assert!(usize::from(layout.network) <= layout.end as usize && layout.end as usize <= len);
    assert!(usize::from(layout.transport) <= layout.end as usize);
}

#[test]
fn spoilt_frames_harm_nobody() {
    let first = std::env::var("NETSIM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    clock::stop_at(1_000_000_000);
    let frames = real_frames(&Machine::new(1), &Machine::new(2));
    let (client, server) = (Machine::new(1), Machine::new(2));
    for seed in first..first + SEEDS {
        let mut random = Random::new(seed);
        let mut frame = random.pick(&frames).clone();
        for _ in 0..1 + random.below(4) {
            let place = random.below(frame.len().min(80));
            frame[place] = *random.pick(&[0, 1, 0x45, 0x7f, 0xff, frame[place].wrapping_add(1)]);
        }
        if random.one_in(3) {
            frame.truncate(1 + random.below(frame.len()));
        }
        match classify(&frame, frame.len()) {
            Class::Flow(_, layout) | Class::Control(layout) => check_layout(&layout, frame.len()),
            Class::Malformed(_) => {}
        }
        let machine = if random.one_in(2) { &client } else { &server };
        machine.receive(frame);
        machine.stack().work(0);
        drop(machine.take_sent());
        clock::advance(1000);
    }
    let served = real_frames(&Machine::new(1), &server);
    assert!(!served.is_empty());
}
