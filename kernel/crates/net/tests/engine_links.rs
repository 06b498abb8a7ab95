//! Two engines over links that lose, repeat and reorder: all data arrives intact, all connections end, timers do not storm.

mod engine_support;

use engine_support::{Link, Program, Simulation};
use net::tcp::engine::Settings;

fn settings(burst_len_max: usize, mss_max: usize) -> Settings {
    Settings { burst_len_max, mss_max, ..Settings::default() }
}

fn stream(len: usize) -> Program {
    Program { write_len: len, piece_len: 65_536 }
}

/// Runs, checks what must hold, and answers megabits each second of the first side's stream.
fn run(seed: u64, link: Link, settings: Settings, programs: [Program; 2]) -> u64 {
    let mut simulation = Simulation::new(seed, link, [settings; 2], programs);
    let start_ns = simulation.now_ns;
    simulation.run();
    for (side, peer) in [(0, 1), (1, 0)] {
        assert_eq!(simulation.sides[side].read, programs[peer].write_len);
        let (polls, segments) = (simulation.sides[side].timer_polls, simulation.sides[side].segments_sent);
        assert!(polls <= 4 * segments + 20, "timers storm: {polls} for {segments} segments");
    }
    let ns = simulation.sides[1].finished_ns - start_ns;
    programs[0].write_len as u64 * 8000 / ns.max(1)
}

#[test]
fn one_byte_each_way() {
    let program = Program { write_len: 1, piece_len: 1 };
    run(1, Link::default(), Settings::default(), [program; 2]);
}

#[test]
fn a_clean_link_is_filled() {
    for (burst, mss, is_joining) in [(1460, 1460, false), (65_000, 1460, true), (65_000, 65_000, false)] {
        for delay_ns in [1_000_000, 100_000_000] {
            let link = Link { delay_ns, is_joining, queue_len: 4 << 20, ..Link::default() };
            let len = if delay_ns > 10_000_000 { 200 << 20 } else { 50 << 20 };
            let rate = run(2, link, settings(burst, mss), [stream(len), stream(0)]);
            println!("burst {burst} mss {mss} delay {delay_ns}: {rate} Mb/s");
        }
    }
}
