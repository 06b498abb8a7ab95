//! Spoilt frames for the classifier and the whole way in: nothing panics, layouts stay within their frames, memory stays bounded, and the machine
//! serves on. The seed is where to begin, from `NETSIM_SEED`; `NETSIM_FRAMES` are how many.

use net::classify::{Class, Layout, classify};
use netsim::capture;
use netsim::counting::{CountingAllocator, allocated_len};
use netsim::mutate::Mutator;
use netsim::victim::Victim;
use testkit::clock;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Frames of one machine's life.
const LIFE_FRAMES: u64 = 5000;
/// Frames between which everybody goes on with what they do.
const FRAMES_AT_ONCE: u64 = 10;
/// What a machine may hold on to at most while it is bombarded: fragments (4 MiB), the buffers of its sockets, neighbours, and the friend's side.
const BUSY_LEN_MAX: usize = 32 << 20;
/// What may be left of a machine that has no sockets any more.
const QUIET_LEN_MAX: usize = 1 << 20;

fn from_environment(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

fn frames() -> Vec<Vec<u8>> {
    capture::all().flat_map(|(_, frames)| frames).collect()
}

fn check_layout(layout: &Layout, len: usize) {
    assert!(usize::from(layout.network) <= layout.end as usize && layout.end as usize <= len);
    assert!(usize::from(layout.transport) <= layout.end as usize);
}

#[test]
fn the_classifier_stays_within_the_frame() {
    let seed = from_environment("NETSIM_SEED", 1);
    println!("seed {seed}");
    let mut mutator = Mutator::new(seed, frames());
    for _ in 0..from_environment("NETSIM_FRAMES", 100_000) {
        let frame = mutator.make();
        // As it may come, in a buffer that has only part of it.
        let head_len = if mutator.random().one_in(4) { mutator.random().below(frame.len() + 1) } else { frame.len() };
        match classify(&frame[..head_len], frame.len()) {
            Class::Flow(_, layout) | Class::Control(layout) => check_layout(&layout, frame.len()),
            Class::Malformed(_) => {}
        }
    }
}

#[test]
fn spoilt_frames_harm_nobody() {
    let first = from_environment("NETSIM_SEED", 1);
    let lives = from_environment("NETSIM_FRAMES", 100_000).div_ceil(LIFE_FRAMES);
    let before = allocated_len();
    for seed in first..first + lives {
        println!("seed {seed}");
        clock::stop_at(1_000_000_000);
        let mut victim = Victim::new();
        let mut mutator = Mutator::new(seed, frames());
        let mut random = mutator.random().clone();
        let mut busiest = 0;
        for _ in 0..LIFE_FRAMES / FRAMES_AT_ONCE {
            for _ in 0..FRAMES_AT_ONCE {
                victim.receive(&mutator.make(), &mut random);
            }
            victim.live(&mut random, &mut |random, frame| {
                // What the friend sends comes, with something like it before or behind; or it does not.
                match random.below(8) {
                    0 => vec![mutator.spoil(frame)],
                    1 => vec![mutator.spoil(frame.clone()), frame],
                    2 => vec![frame.clone(), mutator.spoil(frame)],
                    _ => vec![frame],
                }
            });
            busiest = busiest.max(allocated_len().saturating_sub(before));
        }
        assert!(busiest < BUSY_LEN_MAX, "seed {seed}: {busiest} bytes");
        victim.check_service();
        victim.end();
        let left = allocated_len().saturating_sub(before);
        assert!(left < QUIET_LEN_MAX, "seed {seed}: {left} bytes are left");
    }
}
