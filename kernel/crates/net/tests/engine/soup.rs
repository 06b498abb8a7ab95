//! Segments that make no sense, among some that do: nothing panics, and what must hold holds.

use mm::user::{UserReader, UserWriter};
use net::frame::Payload;
use net::tcp::engine::{
    CongestionAlgorithm, Connection, Engine, Handshake, Negotiated, Opening, SegmentFlags, SegmentHeader,
    SegmentPayload, Settings, State,
};
use testkit::Random;

use crate::support::Collector;

/// Of runs; each has so many steps.
const RUNS: u64 = 300;
const STEPS: usize = 400;

fn bits(random: &mut Random) -> u32 {
    u32::try_from(random.next_u64() >> 32).expect("32 bits")
}

/// A number near one that means something.
fn near(random: &mut Random, number: u32) -> u32 {
    match random.below(8) {
        0..=3 => number,
        4 => number.wrapping_add(bits(random) % 5).wrapping_sub(2),
        5 => number.wrapping_add(bits(random) % 70_000),
        6 => number.wrapping_sub(bits(random) % 70_000),
        _ => bits(random),
    }
}

fn segment(random: &mut Random, sequence: u32, acknowledged: u32, sent: u32) -> (SegmentHeader, SegmentPayload) {
    let mut flags = SegmentFlags::ACK;
    if random.one_in(8) {
        flags = SegmentFlags::from_bits_truncate(bits(random).to_le_bytes()[0]);
        // Resets at the very next number end runs too soon.
        flags.set(SegmentFlags::RST, random.one_in(20));
    }
    let target = if random.one_in(2) { acknowledged } else { sent };
    let mut header = SegmentHeader {
        sequence: near(random, sequence),
        acknowledgement: near(random, target),
        flags,
        is_ecn_capable: random.one_in(2),
        is_congestion_marked: random.one_in(10),
        window: *random.pick(&[0, 1, 500, 20_000, 65_535]),
        urgent_pointer: *random.pick(&[0, 1, 5, 65_535]),
        ..SegmentHeader::default()
    };
    if random.one_in(2) {
        header.timestamps = Some((near(random, 1000), near(random, 1000)));
    }
    for block in &mut header.sack {
        let from = near(random, acknowledged);
        *block = (from, near(random, from.wrapping_add(1000)));
    }
    header.sack_count = *random.pick(&[0, 0, 1, 4, 200]);
    header.mss = random.one_in(9).then_some(*random.pick(&[0, 1, 536, 65_535]));
    header.window_scale = random.one_in(9).then_some(*random.pick(&[0, 14, 255]));
    let len = *random.pick(&[0, 0, 1, 100, 1460, 40_000]);
    let mut payload = SegmentPayload::new(Payload::from(vec![1; len]));
    if random.one_in(6) {
        payload.rest.push(Payload::from(vec![2; 77]));
        payload.len += 77;
        payload.segments = *random.pick(&[1, 2, 1000]);
    }
    (header, payload)
}

fn settings(random: &mut Random) -> Settings {
    Settings {
        is_nodelay: random.one_in(2),
        is_corked: random.one_in(5),
        is_keepalive: random.one_in(2),
        keepalive_idle_ns: 1_000_000_000,
        user_timeout_ns: *random.pick(&[0, 1, 5_000_000_000]),
        mss_max: *random.pick(&[1, 536, 1460, 65_483]),
        receive_buffer: *random.pick(&[1, 3000, 131_072]),
        window_clamp: *random.pick(&[0, 1, 1000]),
        burst_len_max: *random.pick(&[1, 1460, 65_000]),
        is_urgent_inline: random.one_in(2),
        congestion: *random.pick(&[CongestionAlgorithm::Cubic, CongestionAlgorithm::Reno]),
        ..Settings::default()
    }
}

fn begin(random: &mut Random, now_ns: u64, output: &mut Collector) -> Connection {
    let settings = settings(random);
    let initial_sequence = bits(random);
    if random.one_in(4) {
        return Connection::open(now_ns, settings, Opening { initial_sequence, timestamp_offset: 1 }, output);
    }
    let handshake = Handshake {
        initial_sequence,
        peer_initial_sequence: bits(random),
        timestamp_offset: bits(random),
        options: Negotiated {
            peer_mss: *random.pick(&[1, 536, 1460, 65_535]),
            window_scales: *random.pick(&[None, Some((14, 14)), Some((0, 7))]),
            has_sack: random.one_in(2),
            has_timestamps: random.one_in(2),
            has_ecn: random.one_in(2),
        },
        receive_window: *random.pick(&[0, 1000, 65_535]),
        send_window: *random.pick(&[0, 1000, 1 << 30]),
        peer_timestamp: 1000,
        round_trip_ns: *random.pick(&[None, Some(0), Some(10_000_000)]),
        was_retransmitted: random.one_in(3),
    };
    Connection::accept(now_ns, settings, &handshake)
}

/// What the peer knows: our first number not acknowledged as far as it has said, what we have sent, and what we expect.
#[derive(Default)]
struct Known {
    acknowledged: u32,
    sent: u32,
    expected: u32,
}

impl Known {
    fn learn(&mut self, output: &mut Collector) {
        for wire in output.segments.drain(..) {
            let header = wire.header;
            if header.flags.contains(SegmentFlags::RST) {
                continue;
            }
            self.sent = header.sequence.wrapping_add(u32::try_from(wire.bytes.len()).expect("short"));
            self.acknowledged = header.sequence;
            self.expected = header.acknowledgement;
            assert!(header.sack_count <= 4);
            for (from, to) in header.sack.iter().take(usize::from(header.sack_count)) {
                assert!((to.wrapping_sub(*from) as i32) > 0, "blocks have a length");
            }
        }
    }
}

#[test]
fn nonsense_does_no_harm() {
    // ENGINE_SEED is where to begin, for a search or one run again.
    let first = std::env::var("ENGINE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in first..first + RUNS {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut now_ns = 1_000_000_000;
        let mut output = Collector::default();
        let mut engine = begin(&mut random, now_ns, &mut output);
        let mut known = Known::default();
        known.learn(&mut output);
        for _ in 0..STEPS {
            now_ns += *random.pick(&[0, 1000, 1_000_000, 50_000_000, 3_000_000_000]);
            step(&mut random, &mut engine, &known, now_ns, &mut output);
            if random.one_in(2) {
                engine.poll(now_ns, &mut output);
                assert!(engine.poll_at() > now_ns, "a timer that stays due");
            }
            known.learn(&mut output);
            check(&engine, now_ns);
        }
        assert!(output.emissions < 40 * STEPS, "no storm of segments: {}", output.emissions);
    }
}

fn step(random: &mut Random, engine: &mut Connection, known: &Known, now_ns: u64, output: &mut Collector) {
    match random.below(40) {
        0..20 => {
            let (header, payload) = segment(random, known.expected, known.acknowledged, known.sent);
            engine.receive(now_ns, &header, payload, output);
        }
        20..28 => {
            let bytes = vec![3; 1 + random.below(30_000)];
            let _ = engine.send(&mut UserReader::from_kernel(&bytes));
        }
        28..33 => {
            let mut bytes = vec![0; 1 + random.below(50_000)];
            let is_peek = random.one_in(4);
            let skip = if is_peek { random.below(100) } else { 0 };
            engine.read(&mut UserWriter::to_kernel(&mut bytes), skip, is_peek).expect("no fault");
        }
        33 => drop(engine.send_urgent(7)),
        34 => drop(engine.take_urgent(random.one_in(2))),
        35 => drop(engine.discard(random.below(1000))),
        36 => engine.reduce_mss(*random.pick(&[0, 1, 500, 1400])),
        37 => engine.change_settings(settings(random)),
        38 if random.one_in(20) => engine.shutdown_write(),
        38 if random.one_in(20) => engine.shutdown_read(),
        39 if random.one_in(40) => drop(engine.close(now_ns, output)),
        39 if random.one_in(60) => engine.abort(output),
        _ => engine.network_error(abi::Errno::EHOSTUNREACH, random.one_in(9)),
    }
}

fn check(engine: &Connection, now_ns: u64) {
    let (queued, unsent) = engine.unacknowledged_len();
    assert!(unsent <= queued);
    let information = engine.information(now_ns);
    assert!(information.congestion_window >= 1);
    let _ = (engine.readiness(), engine.readable_len(), engine.writable_len(), engine.is_at_mark());
    assert_eq!(engine.time_wait().is_some(), engine.state() == State::TimeWait);
    if engine.state() == State::Closed {
        assert_eq!(engine.poll_at(), u64::MAX);
        assert_eq!(queued, 0);
    }
}
