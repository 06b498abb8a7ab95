//! Two engines and a link between them, in simulated time.
//!
//! Everything follows from a seed: the same seed gives the same run. The link cuts bursts into segments as a device does, has a rate, a delay and a
//! queue, loses, repeats and reorders. The receiving side may join what comes at the same time, as a device does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use mm::user::{UserReader, UserWriter};
use net::frame::Payload;
use net::tcp::engine::{
    Connection, Engine, Handshake, Opening, OutgoingSegment, Output, SegmentFlags, SegmentHeader, SegmentPayload,
    Settings, State,
};
use testkit::Random;

/// Headers of Ethernet, IPv4 and TCP with timestamps, which take time on the link.
const HEADERS_LEN: usize = 66;
/// Events of one run: more are a storm.
const EVENTS_MAX: usize = 20_000_000;

/// When a run begins.
const START_NS: u64 = 1_000_000_000;
/// What comes within this is joined.
const JOIN_NS: u64 = 50_000;

/// How a link is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) bits_per_second: u64,
    pub(crate) delay_ns: u64,
    /// Lost of a million.
    pub(crate) loss_ppm: usize,
    pub(crate) repeat_ppm: usize,
    /// Segments that take up to `jitter_ns` longer, of a million.
    pub(crate) reorder_ppm: usize,
    pub(crate) jitter_ns: u64,
    /// Bytes that wait for the link before more are dropped.
    pub(crate) queue_len: usize,
    /// The receiving device joins segments.
    pub(crate) is_joining: bool,
    /// Takes the options out of SYNs but the MSS.
    pub(crate) is_plain: bool,
    /// Drops longer payloads, and says so.
    pub(crate) payload_len_max: usize,
    /// What finds more than this waiting is marked, if it may be.
    pub(crate) mark_queue_len: usize,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            bits_per_second: 1_000_000_000,
            delay_ns: 1_000_000,
            loss_ppm: 0,
            repeat_ppm: 0,
            reorder_ppm: 0,
            jitter_ns: 0,
            queue_len: 1 << 20,
            is_joining: false,
            is_plain: false,
            payload_len_max: usize::MAX,
            mark_queue_len: usize::MAX,
        }
    }
}

/// A segment on the link.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) header: SegmentHeader,
    pub(crate) bytes: Vec<u8>,
}

/// Collects what an engine emits, cut into segments.
#[derive(Default)]
pub(crate) struct Collector {
    pub(crate) segments: Vec<Wire>,
    pub(crate) emissions: usize,
}

impl Output for Collector {
    fn emit(&mut self, segment: OutgoingSegment<'_>) {
        self.emissions += 1;
        let mut bytes = Vec::with_capacity(segment.len);
        segment.payload.for_each(|piece, part| {
            let at = bytes.len();
            bytes.resize(at + part.len(), 0);
            piece.part(part).copy_to(&mut bytes[at..]);
        });
        assert_eq!(bytes.len(), segment.len, "the pieces are the payload");
        assert!(segment.mss > 0);
        let is_burst = segment.len > segment.mss;
        assert!(!(is_burst && segment.header.flags.contains(SegmentFlags::CWR)), "a device would repeat it");
        let mut at = 0;
        loop {
            let end = (at + segment.mss).min(bytes.len());
            let mut header = segment.header;
            header.sequence = header.sequence.wrapping_add(u32::try_from(at).expect("a burst is short"));
            if end < bytes.len() {
                header.flags.remove(SegmentFlags::FIN | SegmentFlags::PSH);
            }
            self.segments.push(Wire { header, bytes: bytes[at..end].to_vec() });
            at = end;
            if at == bytes.len() {
                return;
            }
        }
    }
}

/// What a program does: writes so many bytes, reads to the end, closes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) write_len: usize,
    /// The most of one write.
    pub(crate) piece_len: usize,
    /// Reads so much, and then nothing for so long.
    pub(crate) pace: Option<(usize, u64)>,
}

/// One side.
pub(crate) struct Side {
    pub(crate) engine: Option<Connection>,
    settings: Settings,
    program: Program,
    written: usize,
    pub(crate) read: usize,
    pub(crate) is_write_done: bool,
    pub(crate) is_read_done: bool,
    pub(crate) is_closed: bool,
    handshake: Option<Handshake>,
    pattern: Vec<u8>,
    peer_pattern: Vec<u8>,
    buffer: Vec<u8>,
    /// When the last byte was read.
    pub(crate) finished_ns: u64,
    pub(crate) segments_sent: usize,
    /// Of these, what the link has marked, and the most that waited before it.
    pub(crate) marked: usize,
    pub(crate) queue_len_max: usize,
    pub(crate) timer_polls: usize,
    link_free_ns: u64,
    /// When the program reads again.
    read_ns: u64,
}

/// The pattern repeats after so many bytes: a prime, so that no buffer or segment hides a displacement.
const PERIOD: usize = 65_521;
/// The most bytes of the pattern at once.
const PIECE_LEN_MAX: usize = 70_000;

/// The pattern of a side, long enough for any piece at any place.
fn pattern(seed: u8) -> Vec<u8> {
    let mut random = Random::new(u64::from(seed));
    let mut bytes = vec![0; PERIOD];
    random.fill(&mut bytes);
    bytes.extend_from_within(..);
    bytes.extend_from_within(..PIECE_LEN_MAX);
    bytes
}

/// The pattern's bytes from `from` to `to`.
fn pattern_bytes(pattern: &[u8], from: usize, to: usize) -> &[u8] {
    &pattern[from % PERIOD..][..to - from]
}

impl Side {
    fn new(settings: Settings, program: Program, seed: u8) -> Self {
        Self {
            engine: None,
            settings,
            program,
            written: 0,
            read: 0,
            is_write_done: false,
            is_read_done: false,
            is_closed: false,
            handshake: None,
            pattern: pattern(seed),
            peer_pattern: pattern(3 - seed),
            buffer: vec![0; program.pace.map_or(65_536, |(len, _)| len)],
            finished_ns: 0,
            segments_sent: 0,
            marked: 0,
            queue_len_max: 0,
            timer_polls: 0,
            link_free_ns: 0,
            read_ns: START_NS,
        }
    }

    /// When something is due.
    fn due_ns(&self) -> u64 {
        let timer_ns = self.engine.as_ref().map_or(u64::MAX, Engine::poll_at);
        if self.is_read_done || self.program.pace.is_none() || self.engine.is_none() {
            return timer_ns;
        }
        timer_ns.min(self.read_ns)
    }

    /// Reads and writes as much as goes, and polls.
    fn run(&mut self, now_ns: u64, output: &mut Collector) {
        let Some(engine) = &mut self.engine else { return };
        let pause_ns = self.program.pace.map_or(0, |(_, pause_ns)| pause_ns);
        while now_ns >= self.read_ns {
            self.read_ns = now_ns + pause_ns;
            let len = engine.read(&mut UserWriter::to_kernel(&mut self.buffer), 0, false).expect("no fault");
            if len == 0 {
                break;
            }
            let expected = pattern_bytes(&self.peer_pattern, self.read, self.read + len);
            assert!(self.buffer[..len] == *expected, "wrong bytes from {} on", self.read);
            self.read += len;
            self.finished_ns = now_ns;
        }
        self.is_read_done |= engine.is_read_finished() && engine.state() != State::SynSent;
        while self.written < self.program.write_len && engine.writable_len() > 0 {
            let end = self.program.write_len.min(self.written + self.program.piece_len);
            let bytes = pattern_bytes(&self.pattern, self.written, end);
            match engine.send(&mut UserReader::from_kernel(bytes)) {
                Ok(Ok(0)) => break,
                Ok(Ok(len)) => self.written += len,
                other => panic!("send: {other:?}"),
            }
        }
        let is_open = !matches!(engine.state(), State::SynSent | State::SynReceived);
        if self.written == self.program.write_len && !self.is_write_done && is_open {
            engine.shutdown_write();
            self.is_write_done = true;
        }
        engine.poll(now_ns, output);
        if self.is_write_done && self.is_read_done && !self.is_closed {
            assert!(!engine.close(now_ns, output), "nothing is unread: no reset");
            self.is_closed = true;
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_closed
            && self.engine.as_ref().is_some_and(|engine| matches!(engine.state(), State::Closed | State::TimeWait))
    }
}

/// The run.
pub(crate) struct Simulation {
    pub(crate) sides: [Side; 2],
    links: [Link; 2],
    random: Random,
    /// When, in which order, for whom.
    events: BinaryHeap<Reverse<(u64, usize, usize)>>,
    wires: Vec<Option<Wire>>,
    pub(crate) now_ns: u64,
    order: usize,
    /// Prints every segment: `ENGINE_TRACE` is set.
    is_traced: bool,
    is_reduced: bool,
}

impl Simulation {
    /// Side 0 opens, side 1 answers.
    pub(crate) fn new(seed: u64, link: Link, settings: [Settings; 2], programs: [Program; 2]) -> Self {
        println!("seed {seed} {link:?} {programs:?}");
        let mut random = Random::new(seed);
        let mut sides = [Side::new(settings[0], programs[0], 1), Side::new(settings[1], programs[1], 2)];
        let number = u32::try_from(random.next_u64() >> 32).expect("32 bits");
        let opening = Opening { initial_sequence: number, timestamp_offset: number ^ 0x5555 };
        let mut output = Collector::default();
        let now_ns = START_NS;
        sides[0].engine = Some(Connection::open(now_ns, settings[0], opening, &mut output));
        let mut simulation = Self {
            sides,
            links: [link; 2],
            random,
            events: BinaryHeap::new(),
            wires: Vec::new(),
            now_ns,
            order: 0,
            is_traced: std::env::var("ENGINE_TRACE").is_ok(),
            is_reduced: false,
        };
        simulation.put_on_link(0, output);
        simulation
    }

    /// Runs until both sides are done. Answers the time, in nanoseconds.
    pub(crate) fn run(&mut self) -> u64 {
        let start_ns = self.now_ns;
        for _ in 0..EVENTS_MAX {
            if self.sides.iter().all(Side::is_over) {
                return self.now_ns - start_ns;
            }
            self.step();
        }
        panic!("a storm: {} events and no end", EVENTS_MAX);
    }

    fn step(&mut self) {
        let timers = [self.sides[0].due_ns(), self.sides[1].due_ns()];
        let first_timer_ns = timers[0].min(timers[1]);
        let event_ns = self.events.peek().map_or(u64::MAX, |Reverse((at_ns, _, _))| *at_ns);
        assert!(first_timer_ns.min(event_ns) != u64::MAX, "nothing will ever happen again: {}", self.describe());
        if first_timer_ns < event_ns {
            // Joining lets time pass.
            assert!(first_timer_ns + JOIN_NS >= self.now_ns, "a timer in the past");
            let to = usize::from(timers[1] < timers[0]);
            self.now_ns = first_timer_ns.max(self.now_ns);
            self.sides[to].timer_polls += 1;
            self.turn(to, Vec::new());
            let again = self.sides[to].due_ns();
            assert!(again > self.now_ns, "a timer that stays due: {}", self.describe());
            return;
        }
        let mut arrivals = Vec::new();
        let mut to = 0;
        while let Some(Reverse((at_ns, number, side))) = self.events.peek().copied() {
            let may_join = self.links[1 - side].is_joining && arrivals.len() < 40;
            let is_joined = may_join && side == to && at_ns < event_ns + JOIN_NS;
            if !arrivals.is_empty() && !is_joined {
                break;
            }
            self.events.pop();
            (to, self.now_ns) = (side, at_ns.max(self.now_ns));
            arrivals.push(self.wires[number].take().expect("each arrives once"));
        }
        self.turn(to, arrivals);
    }

    fn turn(&mut self, to: usize, arrivals: Vec<Wire>) {
        let mut output = Collector::default();
        let is_joining = self.links[1 - to].is_joining;
        let now_ns = self.now_ns;
        let side = &mut self.sides[to];
        let mut at = 0;
        while at < arrivals.len() {
            let (header, payload, count) = join(&arrivals[at..], is_joining);
            at += count;
            if self.is_traced {
                println!("{now_ns} to {to}: {header:?} {} bytes", payload.len);
            }
            arrive(side, &header, payload, now_ns, &mut output);
        }
        side.run(now_ns, &mut output);
        self.is_reduced = false;
        self.put_on_link(to, output);
        if self.is_reduced {
            // The network's answer came at once: what is sent again for it goes out now.
            let mut output = Collector::default();
            self.sides[to].run(now_ns, &mut output);
            self.put_on_link(to, output);
        }
    }

    fn put_on_link(&mut self, from: usize, output: Collector) {
        let link = self.links[from];
        for mut wire in output.segments {
            if link.is_plain {
                wire.header.window_scale = None;
                wire.header.is_sack_permitted = false;
                wire.header.timestamps = None;
            }
            if wire.bytes.len() > link.payload_len_max {
                if let Some(engine) = &mut self.sides[from].engine {
                    engine.reduce_mss(link.payload_len_max);
                    self.is_reduced = true;
                }
                continue;
            }
            if self.is_traced {
                println!("{} from {from}: {:?} {} bytes", self.now_ns, wire.header, wire.bytes.len());
            }
            self.sides[from].segments_sent += 1;
            let len = wire.bytes.len() + HEADERS_LEN;
            let free_ns = self.sides[from].link_free_ns.max(self.now_ns);
            let waiting = (free_ns - self.now_ns) * link.bits_per_second / 8_000_000_000;
            let waiting = usize::try_from(waiting).expect("short");
            if waiting > link.queue_len {
                continue;
            }
            self.sides[from].queue_len_max = self.sides[from].queue_len_max.max(waiting);
            if waiting > link.mark_queue_len && wire.header.is_ecn_capable {
                wire.header.is_congestion_marked = true;
                self.sides[from].marked += 1;
            }
            let sent_ns = free_ns + len as u64 * 8_000_000_000 / link.bits_per_second;
            self.sides[from].link_free_ns = sent_ns;
            if self.random.below(1_000_000) < link.loss_ppm {
                continue;
            }
            let copies = 1 + usize::from(self.random.below(1_000_000) < link.repeat_ppm);
            for _ in 0..copies {
                let mut at_ns = sent_ns + link.delay_ns;
                if self.random.below(1_000_000) < link.reorder_ppm {
                    at_ns += self.random.next_u64() % link.jitter_ns.max(1);
                }
                self.events.push(Reverse((at_ns, self.order, 1 - from)));
                self.wires.push(Some(wire.clone()));
                self.order += 1;
            }
        }
    }

    /// For messages.
    pub(crate) fn describe(&self) -> String {
        let side = |side: &Side| {
            let engine = side.engine.as_ref().map(|engine| (engine.state(), engine.information(self.now_ns)));
            format!("written {} read {} {engine:?}", side.written, side.read)
        };
        format!("{} ns\n{}\n{}", self.now_ns, side(&self.sides[0]), side(&self.sides[1]))
    }
}

/// A segment comes to a side, which may still be a half-open connection.
fn arrive(side: &mut Side, header: &SegmentHeader, payload: SegmentPayload, now_ns: u64, output: &mut Collector) {
    if side.engine.is_none() {
        if header.flags.contains(SegmentFlags::SYN) {
            let handshake = Handshake::from_syn(header, &side.settings, 0xffff_f000, 77);
            answer(&handshake, &side.settings, now_ns, output);
            side.handshake = Some(handshake);
            return;
        }
        let Some(handshake) = &mut side.handshake else { return };
        handshake.complete(header, now_ns, now_ns);
        handshake.round_trip_ns = None;
        side.engine = Some(Connection::accept(now_ns, side.settings, handshake));
    }
    if let Some(engine) = &mut side.engine {
        engine.receive(now_ns, header, payload, output);
    }
}

fn answer(handshake: &Handshake, settings: &Settings, now_ns: u64, output: &mut Collector) {
    output.segments.push(Wire { header: handshake.answer(settings, now_ns), bytes: Vec::new() });
}

/// Joins the first arrivals as a device does: data in order with nothing special about it. Answers how many those were.
fn join(arrivals: &[Wire], is_joining: bool) -> (SegmentHeader, SegmentPayload, usize) {
    let mut header = arrivals[0].header;
    let mut payload = SegmentPayload::new(Payload::from(arrivals[0].bytes.clone()));
    let mut count = 1;
    let plain = SegmentFlags::ACK | SegmentFlags::PSH;
    let is_marked = header.is_congestion_marked;
    let is_plain = |header: &SegmentHeader| {
        plain.contains(header.flags) && header.sack_count == 0 && header.is_congestion_marked == is_marked
    };
    if is_joining && payload.len > 0 && is_plain(&header) {
        for next in &arrivals[1..] {
            let end = header.sequence.wrapping_add(u32::try_from(payload.len).expect("short"));
            if next.header.sequence != end
                || next.bytes.is_empty()
                || !is_plain(&next.header)
                || payload.len + next.bytes.len() > 65_000
            {
                break;
            }
            payload.len += next.bytes.len();
            payload.segments += 1;
            payload.rest.push(Payload::from(next.bytes.clone()));
            header.acknowledgement = next.header.acknowledgement;
            header.window = next.header.window;
            header.timestamps = next.header.timestamps;
            count += 1;
        }
    }
    (header, payload, count)
}
