//! [`Script`]: an engine whose peer is the test.

use mm::user::{UserReader, UserWriter};
use net::frame::Payload;
use net::tcp::engine::{
    Connection, Engine, Handshake, Negotiated, Opening, SegmentFlags, SegmentHeader, SegmentPayload, Settings,
};

use crate::support::{Collector, Wire};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const ACK: SegmentFlags = SegmentFlags::ACK;
pub(crate) const FIN: SegmentFlags = SegmentFlags::FIN.union(SegmentFlags::ACK);
pub(crate) const RST: SegmentFlags = SegmentFlags::RST;
pub(crate) const SYN: SegmentFlags = SegmentFlags::SYN;
/// The first number of the engine's data, and of the peer's.
pub(crate) const OURS: u32 = 1001;
pub(crate) const THEIRS: u32 = 5001;
pub(crate) const MSS: usize = 1000;

/// An engine, and the test as its peer.
pub(crate) struct Script {
    pub(crate) engine: Connection,
    pub(crate) now_ns: u64,
    pub(crate) output: Collector,
    pub(crate) window: u16,
}

pub(crate) fn settings() -> Settings {
    Settings { mss_max: MSS, burst_len_max: MSS, ..Settings::default() }
}

pub(crate) fn options() -> Negotiated {
    Negotiated { peer_mss: 1460, window_scales: None, has_sack: true, has_timestamps: false, has_ecn: false }
}

impl Script {
    /// An established connection with a round trip of 20 ms and the peer's window of 64 KiB.
    pub(crate) fn established(settings: Settings, options: Negotiated) -> Self {
        Self::over_path(settings, options, 20 * MS)
    }

    /// The same with another round trip.
    pub(crate) fn over_path(settings: Settings, options: Negotiated, round_trip_ns: u64) -> Self {
        let now_ns = 1000 * MS;
        let handshake = Handshake {
            initial_sequence: OURS - 1,
            peer_initial_sequence: THEIRS - 1,
            timestamp_offset: 0,
            options,
            receive_window: 65_535,
            send_window: 65_535,
            peer_timestamp: 500,
            round_trip_ns: Some(round_trip_ns),
            was_retransmitted: false,
        };
        let engine = Connection::accept(now_ns, settings, &handshake);
        Self { engine, now_ns, output: Collector::default(), window: 65_535 }
    }

    pub(crate) fn new() -> Self {
        Self::established(settings(), options())
    }

    /// A connection that begins here: its SYN is in the output.
    pub(crate) fn opening() -> Self {
        let now_ns = 1000 * MS;
        let mut output = Collector::default();
        let opening = Opening { initial_sequence: OURS - 1, timestamp_offset: 0 };
        let engine = Connection::open(now_ns, settings(), opening, &mut output);
        Self { engine, now_ns, output, window: 65_535 }
    }

    /// Lets time pass; timers run when they are due.
    pub(crate) fn wait(&mut self, ms: u64) -> &mut Self {
        let end_ns = self.now_ns + ms * MS;
        while self.engine.poll_at() <= end_ns {
            self.now_ns = self.now_ns.max(self.engine.poll_at());
            self.engine.poll(self.now_ns, &mut self.output);
            assert!(self.engine.poll_at() > self.now_ns, "a timer that stays due");
        }
        self.now_ns = end_ns;
        self
    }

    pub(crate) fn give(&mut self, header: SegmentHeader, bytes: &[u8]) -> &mut Self {
        let payload = SegmentPayload::new(Payload::from(bytes.to_vec()));
        self.engine.receive(self.now_ns, &header, payload, &mut self.output);
        self.engine.poll(self.now_ns, &mut self.output);
        self
    }

    /// A segment from the peer, by place in both streams.
    pub(crate) fn segment(&self, at: u32, acknowledged: u32, flags: SegmentFlags) -> SegmentHeader {
        SegmentHeader {
            sequence: THEIRS.wrapping_add(at),
            acknowledgement: OURS.wrapping_add(acknowledged),
            flags,
            window: self.window,
            ..SegmentHeader::default()
        }
    }

    pub(crate) fn ack(&mut self, acknowledged: u32) -> &mut Self {
        let header = self.segment(0, acknowledged, ACK);
        self.give(header, &[])
    }

    /// An acknowledgement with SACK blocks, by place in our stream.
    pub(crate) fn sack(&mut self, acknowledged: u32, blocks: &[(u32, u32)]) -> &mut Self {
        let mut header = self.segment(0, acknowledged, ACK);
        for (place, (from, to)) in header.sack.iter_mut().zip(blocks) {
            *place = (OURS + from, OURS + to);
            header.sack_count += 1;
        }
        self.give(header, &[])
    }

    pub(crate) fn data(&mut self, at: u32, len: usize) -> &mut Self {
        let header = self.segment(at, 0, ACK);
        self.give(header, &vec![7; len])
    }

    pub(crate) fn write(&mut self, len: usize) -> &mut Self {
        let bytes = vec![9; len];
        assert_eq!(self.engine.send(&mut UserReader::from_kernel(&bytes)), Ok(Ok(len)));
        self.poll()
    }

    pub(crate) fn poll(&mut self) -> &mut Self {
        self.engine.poll(self.now_ns, &mut self.output);
        self
    }

    pub(crate) fn read(&mut self, len: usize) -> usize {
        self.engine.pass_urgent();
        let mut bytes = vec![0; len];
        let len = self.engine.read(&mut UserWriter::to_kernel(&mut bytes), 0, false).expect("no fault");
        self.poll();
        len
    }

    /// What was emitted since the last call.
    pub(crate) fn take(&mut self) -> Vec<Wire> {
        std::mem::take(&mut self.output.segments)
    }

    /// As places in our stream, and lengths.
    pub(crate) fn take_data(&mut self) -> Vec<(u32, usize)> {
        let wires = self.take();
        wires.iter().map(|wire| (wire.header.sequence.wrapping_sub(OURS), wire.bytes.len())).collect()
    }

    /// The acknowledgements, as places in the peer's stream.
    pub(crate) fn take_acks(&mut self) -> Vec<u32> {
        self.take().iter().map(|wire| wire.header.acknowledgement.wrapping_sub(THEIRS)).collect()
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Settings)) -> &mut Self {
        let mut settings = *self.engine.settings();
        change(&mut settings);
        self.engine.change_settings(settings);
        self.poll()
    }

    /// Ends the quick acknowledgements of a connection's beginning, and leaves `at` bytes read.
    pub(crate) fn past_quick(&mut self) -> u32 {
        let mut at = 0;
        for _ in 0..16 {
            self.data(at, 100);
            at += 100;
        }
        self.read(10_000);
        self.take();
        at
    }
}
