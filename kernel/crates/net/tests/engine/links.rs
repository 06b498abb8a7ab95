//! Two engines over links that lose, repeat and reorder: all data arrives intact, all connections end, timers do not storm.

use crate::support::{Link, Program, Simulation};
use net::tcp::engine::{EcnMode, Engine, Settings};

fn settings(burst_len_max: usize, mss_max: usize) -> Settings {
    Settings { burst_len_max, mss_max, ..Settings::default() }
}

fn stream(len: usize) -> Program {
    Program { write_len: len, piece_len: 65_536, pace: None }
}

/// Runs, checks what must hold, and answers kilobits each second of the first side's stream.
fn run(seed: u64, link: Link, settings: Settings, programs: [Program; 2]) -> u64 {
    let mut simulation = Simulation::new(seed, link, [settings; 2], programs);
    let start_ns = simulation.now_ns;
    simulation.run();
    for (side, peer) in [(0, 1), (1, 0)] {
        assert_eq!(simulation.sides[side].read, programs[peer].write_len);
        let reads = programs[side].pace.map_or(0, |(len, _)| simulation.sides[side].read / len + 10_000);
        let (polls, segments) = (simulation.sides[side].timer_polls, simulation.sides[side].segments_sent);
        assert!(polls <= 4 * segments + 20 + reads, "timers storm: {polls} for {segments} segments");
    }
    let ns = simulation.sides[1].finished_ns.saturating_sub(start_ns);
    programs[0].write_len as u64 * 8_000_000 / ns.max(1)
}

#[test]
fn one_byte_each_way() {
    let program = Program { write_len: 1, piece_len: 1, pace: None };
    run(1, Link::default(), Settings::default(), [program; 2]);
}

/// What one stream can have: the link, a window of 3 MB each round trip, or what losses leave of it (M. Mathis et al., "The macroscopic behavior of
/// the TCP congestion avoidance algorithm", 1997): sqrt(3/2 / p) segments each round trip.
fn limit(link: &Link, mss: usize) -> f64 {
    let round_trip = link.delay_ns as f64 * 2e-9;
    let rate = link.bits_per_second as f64;
    let windowed = 3e6 * 8.0 / round_trip;
    let lossy = (1.5e6 / link.loss_ppm as f64).sqrt() * mss as f64 * 8.0 / round_trip;
    rate.min(windowed).min(lossy) / 1000.0
}

/// The shapes of a path: what one emission holds at most, a segment's payload, and whether the receiving device joins.
const SHAPES: [(usize, usize, bool); 3] = [(1460, 1460, false), (65_000, 1460, true), (65_000, 65_000, false)];

#[test]
fn a_clean_link_is_filled() {
    for (burst, mss, is_joining) in SHAPES {
        for (delay_ns, bits_per_second, len) in [(1_000_000, 300_000_000, 8 << 20), (100_000_000, 20_000_000, 12 << 20)]
        {
            let link = Link { delay_ns, bits_per_second, is_joining, queue_len: 4 << 20, ..Link::default() };
            let rate = run(2, link, settings(burst, mss), [stream(len), stream(0)]);
            let limit = limit(&link, mss);
            println!("burst {burst} mss {mss} delay {delay_ns}: {rate} of {limit:.0} kb/s");
            assert!(rate as f64 > 0.7 * limit);
        }
    }
}

#[test]
fn everything_arrives_over_bad_links() {
    // ENGINE_SEED is where to begin, for a search or one run again.
    let first = std::env::var("ENGINE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in first..first + 60 {
        let mut random = testkit::Random::new(seed);
        let link = Link {
            bits_per_second: *random.pick(&[2_000_000, 50_000_000, 1_000_000_000]),
            delay_ns: *random.pick(&[10_000, 1_000_000, 40_000_000]),
            loss_ppm: *random.pick(&[0, 10_000, 50_000, 200_000]),
            repeat_ppm: *random.pick(&[0, 10_000, 100_000]),
            reorder_ppm: *random.pick(&[0, 10_000, 300_000]),
            jitter_ns: *random.pick(&[100_000, 10_000_000, 300_000_000]),
            queue_len: *random.pick(&[20_000, 1 << 20]),
            is_joining: random.one_in(2),
            is_plain: random.one_in(4),
            payload_len_max: *random.pick(&[usize::MAX, usize::MAX, 500]),
            mark_queue_len: *random.pick(&[usize::MAX, 0, 10_000]),
        };
        let settings = settings(*random.pick(&[1460, 65_000]), *random.pick(&[1460, 536, 9000]));
        let settings = Settings { ecn: *random.pick(&[EcnMode::Ask, EcnMode::Agree]), ..settings };
        let len = |random: &mut testkit::Random| *random.pick(&[0, 1, 1459, 20_000, 300_000]);
        let programs = [(); 2].map(|()| Program {
            write_len: len(&mut random),
            piece_len: 1 + random.below(70_000),
            pace: *random.pick(&[None, None, Some((5000, 20_000_000))]),
        });
        run(seed, link, settings, programs);
    }
}

#[test]
fn losses_cost_what_they_must() {
    for (burst, mss, is_joining) in SHAPES {
        for (delay_ns, bits_per_second, len) in [(1_000_000, 100_000_000, 4 << 20), (100_000_000, 20_000_000, 1 << 20)]
        {
            for loss_ppm in [10_000, 50_000] {
                let link = Link { bits_per_second, delay_ns, loss_ppm, is_joining, ..Link::default() };
                let rate = run(3, link, settings(burst, mss), [stream(len), stream(0)]);
                let limit = limit(&link, mss);
                println!("burst {burst} mss {mss} delay {delay_ns} loss {loss_ppm}: {rate} of {limit:.0} kb/s");
                assert!(rate as f64 > 0.35 * limit);
            }
        }
    }
}

/// Who is told of congestion loses nothing to it, fills the link all the same and keeps the queue short.
#[test]
fn marks_instead_of_losses() {
    // The first window of the longest segments is more than any queue here.
    for (burst, mss, is_joining) in SHAPES.into_iter().take(2) {
        let (bits_per_second, delay_ns, queue_len) = (50_000_000, 10_000_000, 500_000);
        let link = Link { bits_per_second, delay_ns, queue_len, is_joining, ..Link::default() };
        let mut figures = Vec::new();
        for mark_queue_len in [125_000, usize::MAX] {
            let settings = Settings { ecn: EcnMode::Ask, ..settings(burst, mss) };
            let programs = [stream(16 << 20), stream(0)];
            let mut simulation = Simulation::new(4, Link { mark_queue_len, ..link }, [settings; 2], programs);
            let start_ns = simulation.now_ns;
            simulation.run();
            let side = &simulation.sides[0];
            let information = side.engine.as_ref().map(|engine| engine.information(simulation.now_ns));
            let retransmits = information.map_or(0, |information| information.total_retransmits);
            let rate = (16_u64 << 20) * 8_000_000 / (simulation.sides[1].finished_ns - start_ns);
            println!("burst {burst} mss {mss}: {rate} kb/s, {} marked, {retransmits} sent again", side.marked);
            figures.push((rate, side.marked, retransmits));
        }
        let [(rate, marked, retransmits), (rate_lossy, _, retransmits_lossy)] = figures[..] else { unreachable!() };
        assert!(marked > 0 && retransmits == 0 && retransmits_lossy > 0, "{figures:?}");
        assert!(rate > rate_lossy * 8 / 10 && rate > bits_per_second * 7 / 10_000, "{figures:?}");
    }
}

/// On a long way bursts are short, however much a device takes at once: routers have small queues.
#[test]
fn long_bursts_do_not_flood_small_queues() {
    for queue_len in [10_000, 20_000, 40_000] {
        let link = Link { bits_per_second: 50_000_000, delay_ns: 10_000_000, queue_len, ..Link::default() };
        let [short, long] =
            [1460, 65_000].map(|burst| run(4, link, settings(burst, 1460), [stream(16 << 20), stream(0)]));
        println!("queue {queue_len}: {short} kb/s, with bursts {long} kb/s");
        assert!(long > short * 8 / 10);
    }
}

#[test]
fn a_rate_that_was_set_is_kept() {
    for (burst, mss, is_joining) in SHAPES.into_iter().take(2) {
        for loss_ppm in [0, 5_000] {
            let settings = Settings { pacing_rate_max: 1_000_000, ..settings(burst, mss) };
            let link = Link { is_joining, loss_ppm, bits_per_second: 100_000_000, ..Link::default() };
            let mut simulation = Simulation::new(5, link, [settings; 2], [stream(4 << 20), stream(0)]);
            let start_ns = simulation.now_ns;
            simulation.run();
            let rate = (4_u64 << 20) * 1_000_000_000 / (simulation.sides[1].finished_ns - start_ns);
            let waiting = simulation.sides[0].queue_len_max;
            println!("burst {burst} loss {loss_ppm}: {rate} bytes/s, {waiting} bytes waited");
            assert!(rate < 1_030_000 && (rate > 950_000 || loss_ppm > 0) && waiting <= 16_000);
        }
    }
}
