//! [`EngineEnd`]: an end by Nacre's own engine. Packets are parsed and built by smoltcp's `wire`, of which a simple segment knows three SACK blocks
//! and one control bit: enough here.

use std::net::SocketAddrV4;

use mm::user::{UserReader, UserWriter};
use net::frame::Payload;
use net::tcp::engine::{
    Connection, Engine, Handshake, Opening, OutgoingSegment, Output, SegmentFlags, SegmentHeader, SegmentPayload,
    Settings, Span, State,
};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, TcpTimestampRepr,
};

use crate::{NEVER, Received, Role, TcpEnd};

/// Headers of IPv4 and TCP.
const HEADERS_LEN: usize = 40;
/// Time before a client begins: an engine's clock does not start at 0.
const START_NS: u64 = 1_000_000_000;

/// One end of a connection by our engine.
pub struct EngineEnd {
    name: String,
    role: Role,
    own: SocketAddrV4,
    other: SocketAddrV4,
    settings: Settings,
    seed: u64,
    engine: Option<Connection>,
    /// What has been answered to a SYN, and when.
    handshake: Option<(Handshake, u64)>,
    packets: Packets,
    failure: Option<String>,
    has_finished: bool,
    is_closed: bool,
}

/// Packets that the engine has emitted.
struct Packets {
    own: SocketAddrV4,
    other: SocketAddrV4,
    packets: Vec<Vec<u8>>,
}

impl EngineEnd {
    /// An end at `own` that opens a connection to `other`, or waits for one; a server takes the first that comes if the port of `other` is 0.
    /// `mtu` is of IP packets.
    #[must_use]
    pub fn new(role: Role, own: SocketAddrV4, other: SocketAddrV4, mtu: usize, seed: u64) -> Self {
        let mss_max = mtu - HEADERS_LEN;
        let settings = Settings { mss_max, burst_len_max: mss_max, ..Settings::default() };
        Self {
            name: format!("engine {role:?}").to_lowercase(),
            role,
            own,
            other,
            settings,
            seed,
            engine: None,
            handshake: None,
            packets: Packets { own, other, packets: Vec::new() },
            failure: None,
            has_finished: false,
            is_closed: false,
        }
    }

    /// Memory of a connection that is open and has nothing under way, the adapter left out.
    #[must_use]
    pub fn engine(&self) -> Option<&Connection> {
        self.engine.as_ref()
    }

    fn initial_sequence(&self) -> u32 {
        u32::try_from(testkit::Random::new(self.seed).next_u64() >> 32).unwrap_or(0)
    }

    /// A segment for a server that has no connection yet.
    fn shake_hands(&mut self, now_ns: u64, header: &SegmentHeader) {
        if header.flags.contains(SegmentFlags::SYN) {
            // The first counts; another is the same again.
            let is_again = self.handshake.is_some();
            let initial = self.initial_sequence();
            let (mut handshake, _) = self
                .handshake
                .unwrap_or_else(|| (Handshake::from_syn(header, &self.settings, initial, initial ^ 0x5555), now_ns));
            handshake.was_retransmitted = is_again;
            let header = handshake.answer(&self.settings, now_ns);
            self.packets.emit(OutgoingSegment { header, payload: Span::empty(), len: 0, mss: usize::MAX });
            self.handshake = Some((handshake, now_ns));
            return;
        }
        let Some((mut handshake, answered_ns)) = self.handshake else { return };
        let expected = handshake.initial_sequence.wrapping_add(1);
        if header.flags.contains(SegmentFlags::ACK) && header.acknowledgement == expected {
            handshake.complete(header, answered_ns, now_ns);
            self.engine = Some(Connection::accept(now_ns, self.settings, &handshake));
        }
    }

    /// Parses a packet; none if it is not for this connection, or spoilt.
    fn parse(&mut self, packet: &[u8]) -> Option<(SegmentHeader, Vec<u8>)> {
        let checksums = ChecksumCapabilities::default();
        let packet = Ipv4Packet::new_checked(packet).ok()?;
        let ip = Ipv4Repr::parse(&packet, &checksums).ok()?;
        if ip.next_header != IpProtocol::Tcp || ip.src_addr != *self.other.ip() || ip.dst_addr != *self.own.ip() {
            return None;
        }
        let segment = TcpPacket::new_checked(packet.payload()).ok()?;
        let (source, destination) = (IpAddress::Ipv4(ip.src_addr), IpAddress::Ipv4(ip.dst_addr));
        let tcp = TcpRepr::parse(&segment, &source, &destination, &checksums).ok()?;
        if self.other.port() == 0 {
            self.other.set_port(tcp.src_port);
            self.packets.other = self.other;
        }
        if tcp.src_port != self.other.port() || tcp.dst_port != self.own.port() {
            return None;
        }
        let mut header = SegmentHeader {
            sequence: tcp.seq_number.0.cast_unsigned(),
            acknowledgement: tcp.ack_number.map_or(0, |number| number.0.cast_unsigned()),
            flags: flags_of(&tcp),
            window: tcp.window_len,
            mss: tcp.max_seg_size,
            window_scale: tcp.window_scale,
            is_sack_permitted: tcp.sack_permitted,
            timestamps: tcp.timestamp.map(|timestamp| (timestamp.tsval, timestamp.tsecr)),
            ..SegmentHeader::default()
        };
        for (block, range) in header.sack.iter_mut().zip(tcp.sack_ranges.iter().flatten()) {
            *block = *range;
            header.sack_count += 1;
        }
        Some((header, tcp.payload.to_vec()))
    }
}

fn flags_of(tcp: &TcpRepr<'_>) -> SegmentFlags {
    let control = match tcp.control {
        TcpControl::None => SegmentFlags::empty(),
        TcpControl::Psh => SegmentFlags::PSH,
        TcpControl::Syn => SegmentFlags::SYN,
        TcpControl::Fin => SegmentFlags::FIN,
        TcpControl::Rst => SegmentFlags::RST,
    };
    if tcp.ack_number.is_some() { control | SegmentFlags::ACK } else { control }
}

fn control_of(flags: SegmentFlags) -> TcpControl {
    [
        (SegmentFlags::RST, TcpControl::Rst),
        (SegmentFlags::SYN, TcpControl::Syn),
        (SegmentFlags::FIN, TcpControl::Fin),
        (SegmentFlags::PSH, TcpControl::Psh),
    ]
    .into_iter()
    .find_map(|(flag, control)| flags.contains(flag).then_some(control))
    .unwrap_or(TcpControl::None)
}

impl Output for Packets {
    fn emit(&mut self, segment: OutgoingSegment<'_>) {
        let mut payload = vec![0; segment.len];
        let mut at = 0;
        segment.payload.for_each(|piece, part| {
            let end = at + part.len();
            piece.part(part).copy_to(&mut payload[at..end]);
            at = end;
        });
        let header = &segment.header;
        let mut sack_ranges = [None; 3];
        for (range, block) in sack_ranges.iter_mut().zip(&header.sack[..usize::from(header.sack_count)]) {
            *range = Some(*block);
        }
        let number = |number: u32| TcpSeqNumber(number.cast_signed());
        let tcp = TcpRepr {
            src_port: self.own.port(),
            dst_port: self.other.port(),
            control: control_of(header.flags),
            seq_number: number(header.sequence),
            ack_number: header.flags.contains(SegmentFlags::ACK).then(|| number(header.acknowledgement)),
            window_len: header.window,
            window_scale: header.window_scale,
            max_seg_size: header.mss,
            sack_permitted: header.is_sack_permitted,
            sack_ranges,
            timestamp: header.timestamps.map(|(tsval, tsecr)| TcpTimestampRepr { tsval, tsecr }),
            payload: &payload,
        };
        let ip = Ipv4Repr {
            src_addr: *self.own.ip(),
            dst_addr: *self.other.ip(),
            next_header: IpProtocol::Tcp,
            payload_len: tcp.buffer_len(),
            hop_limit: 64,
        };
        let checksums = ChecksumCapabilities::default();
        let mut packet = vec![0; ip.buffer_len() + tcp.buffer_len()];
        ip.emit(&mut Ipv4Packet::new_unchecked(&mut packet), &checksums);
        let (source, destination) = (IpAddress::Ipv4(ip.src_addr), IpAddress::Ipv4(ip.dst_addr));
        let mut bytes = TcpPacket::new_unchecked(&mut packet[ip.buffer_len()..]);
        tcp.emit(&mut bytes, &source, &destination, &checksums);
        self.packets.push(packet);
    }
}

impl TcpEnd for EngineEnd {
    fn name(&self) -> &str {
        &self.name
    }

    fn receive(&mut self, now_ns: u64, packet: Vec<u8>) {
        let now_ns = now_ns + START_NS;
        let Some((header, payload)) = self.parse(&packet) else { return };
        if self.engine.is_none() {
            self.shake_hands(now_ns, &header);
        }
        if let Some(engine) = &mut self.engine {
            let payload = SegmentPayload::new(Payload::from(payload));
            engine.receive(now_ns, &header, payload, &mut self.packets);
        }
    }

    fn poll(&mut self, now_ns: u64, send: &mut dyn FnMut(Vec<u8>)) {
        let now_ns = now_ns + START_NS;
        if self.engine.is_none() && self.role == Role::Client {
            let initial_sequence = self.initial_sequence();
            let opening = Opening { initial_sequence, timestamp_offset: initial_sequence ^ 0x5555 };
            self.engine = Some(Connection::open(now_ns, self.settings, opening, &mut self.packets));
        }
        if let Some(engine) = &mut self.engine {
            engine.poll(now_ns, &mut self.packets);
            if self.has_finished && !self.is_closed && engine.is_read_finished() {
                self.is_closed = true;
                if engine.close(now_ns, &mut self.packets) {
                    self.failure = Some("closing became a reset".to_owned());
                }
            }
            if let Some(errno) = engine.take_error() {
                self.failure = Some(format!("{errno:?}"));
            }
        }
        self.packets.packets.drain(..).for_each(send);
    }

    fn poll_at(&mut self, now_ns: u64) -> u64 {
        match &self.engine {
            Some(engine) if engine.poll_at() == sync::machine::NEVER => NEVER,
            Some(engine) => engine.poll_at().saturating_sub(START_NS),
            None if self.role == Role::Client => now_ns,
            None => NEVER,
        }
    }

    fn is_open(&self) -> bool {
        let is_opening = |engine: &Connection| matches!(engine.state(), State::SynSent | State::SynReceived);
        self.engine.as_ref().is_some_and(|engine| !is_opening(engine))
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let Some(engine) = self.engine.as_mut().filter(|engine| engine.writable_len() > 0) else { return 0 };
        match engine.send(&mut UserReader::from_kernel(bytes)) {
            Ok(Ok(len)) => len,
            Ok(Err(_)) => 0,
            Err(errno) => {
                self.failure = Some(format!("send: {errno:?}"));
                0
            }
        }
    }

    fn finish_writing(&mut self) {
        self.has_finished = true;
        if let Some(engine) = &mut self.engine {
            engine.shutdown_write();
        }
    }

    fn read(&mut self, to: &mut [u8]) -> Received {
        let Some(engine) = self.engine.as_mut() else { return Received::Nothing };
        match engine.read(&mut UserWriter::to_kernel(to), 0, false) {
            Ok(0) if engine.is_read_finished() && engine.state() != State::SynSent => Received::End,
            Ok(0) | Err(_) => Received::Nothing,
            Ok(len) => Received::Bytes(len),
        }
    }

    fn is_over(&self) -> bool {
        let is_over = |engine: &Connection| matches!(engine.state(), State::Closed | State::TimeWait);
        self.is_closed && self.engine.as_ref().is_some_and(is_over)
    }

    fn failure(&self) -> Option<String> {
        self.failure.clone()
    }
}
