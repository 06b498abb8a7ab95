//! [`Wire`]: a connection over the network: an engine, and the way of its segments.
//!
//! Under the lock of its socket. Segments that the engine emits are gathered and sent by [`Wire::flush`], all at once, so that the device
//! is told once.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use abi::{Errno, PollEvents};
use mm::user::{UserFault, UserReader, UserWriter};

use super::Tcp;
use super::engine::{
    Connection, Cookie, Engine, FastOpen, Handshake, Opening, SegmentHeader, SegmentPayload, Settings, State,
};
use super::memory::{Reservation, Share};
use super::passive_fast_open::Place;
use super::segment::{self, Frames, HEADER_LEN};
use crate::channel::QueuedPacket;
use crate::counters::Counter;
use crate::flow_key::{FlowKey, protocol};
use crate::frame::{Payload, Piece, ReceivedFrame};
use crate::interface::{Route, RouteRequest};
use crate::loan::Account;
use crate::nic::NicFeatures;
use crate::settings::TCP_AUTOCORKING;
use crate::socket::inet_options::InetOptions;
use crate::{Stack, TransmitFrame};

/// The most payload of one segment that the device cuts: an IP packet of 64 KiB with all headers.
const BURST_LEN_MAX: usize = 65_535 - 40 - 60;

/// A connection over the network.
pub(super) struct Wire {
    pub(super) key: FlowKey,
    pub(super) engine: Box<Connection>,
    route: Route,
    /// What it keeps for its reader.
    share: Share,
    /// Once the program has let go of it.
    reservation: Option<Reservation>,
    frames: Vec<TransmitFrame>,
    /// `TCP_CORK`.
    is_corked: bool,
    /// The last bytes came with `MSG_MORE`.
    has_more: bool,
    /// The program has written since it last read.
    has_written: bool,
    /// What does not fill a segment is held back for what the program may write next ([`crate::held`]).
    is_held: bool,
    /// It is in the list of those that hold something.
    pub(super) is_listed: bool,
    /// It has been connected, whatever has become of it since.
    pub(super) was_established: bool,
    /// The state it was in before it was closed.
    pub(super) last_state: State,
    /// It is in no table any more.
    pub(super) is_detached: bool,
    /// Its place among those that came with data and are not complete.
    place: Option<Place>,
}

impl Wire {
    /// An attempt to connect two ends. [`Wire::flush`] sends the first segment.
    pub(super) fn connect(
        tcp: &Tcp,
        route: Route,
        ends: [SocketAddr; 2],
        settings: Settings,
        fast: FastOpen<'_>,
        now_ns: u64,
    ) -> Self {
        let key = FlowKey::new(protocol::TCP, ends[0], ends[1]);
        let opening = Opening {
            initial_sequence: tcp.secrets().initial_sequence(&key, now_ns),
            timestamp_offset: tcp.secrets().timestamp_offset(&key),
        };
        let mut frames = Vec::new();
        let output = &mut Frames { key: &key, frames: &mut frames };
        let engine = Connection::open_fast(now_ns, settings, opening, fast, output);
        Self { frames, ..Self::new(tcp, key, Box::new(engine), route, false) }
    }

    /// A connection that a peer has asked for, after its third segment.
    pub(super) fn accept(
        tcp: &Tcp,
        key: FlowKey,
        handshake: &Handshake,
        route: Route,
        settings: Settings,
        now_ns: u64,
    ) -> Self {
        Self::new(tcp, key, Box::new(Connection::accept(now_ns, settings, handshake)), route, true)
    }

    /// A connection that a peer has asked for by a SYN whose data is taken.
    pub(super) fn accept_fast(
        tcp: &Tcp,
        key: FlowKey,
        (handshake, settings): (&Handshake, Settings),
        route: Route,
        (syn, frame): (&SegmentHeader, ReceivedFrame),
        (place, given): (Place, Option<Cookie>),
        now_ns: u64,
    ) -> Self {
        let mut frames = Vec::new();
        let output = &mut Frames { key: &key, frames: &mut frames };
        let data = (syn, SegmentPayload::from_frame(frame));
        let engine = Box::new(Connection::accept_fast(now_ns, settings, handshake, data, given, output));
        let mut wire = Self { frames, place: Some(place), ..Self::new(tcp, key, engine, route, true) };
        wire.share.note(wire.engine.receive_footprint());
        wire
    }

    /// The handshake is over, one way or the other: others may come as this connection did.
    pub(super) fn leave_place(&mut self, now_ns: u64) {
        if self.place.is_none() {
            return;
        }
        let state = self.engine.state();
        if state != State::SynReceived
            && let Some(place) = self.place.take()
        {
            place.leave(state == State::Closed, now_ns);
        }
    }

    fn new(tcp: &Tcp, key: FlowKey, engine: Box<Connection>, route: Route, was_established: bool) -> Self {
        Self {
            key,
            is_corked: engine.settings().is_corked,
            last_state: engine.state(),
            engine,
            route,
            share: Share::new(&tcp.received),
            reservation: None,
            frames: Vec::new(),
            has_more: false,
            has_written: false,
            is_held: false,
            is_listed: false,
            was_established,
            is_detached: false,
            place: None,
        }
    }

    /// Takes a packet. False: its checksum is wrong.
    pub(super) fn receive(&mut self, mut packet: QueuedPacket) -> bool {
        let mut header = SegmentHeader::default();
        if !segment::parse(&mut packet, &mut header) {
            return false;
        }
        // Not now: the time that it lay here is not part of the round trip.
        let now_ns = packet.received_ns;
        self.receive_parsed(&header, packet.value.frame, now_ns);
        true
    }

    /// Takes a segment whose headers are cut off.
    pub(super) fn receive_parsed(&mut self, header: &SegmentHeader, frame: ReceivedFrame, now_ns: u64) {
        let mut output = Frames { key: &self.key, frames: &mut self.frames };
        self.engine.limit_receive(self.share.is_limited());
        self.engine.receive(now_ns, header, SegmentPayload::from_frame(frame), &mut output);
        self.share.note(self.engine.receive_footprint());
        if !self.was_established {
            self.was_established = matches!(
                self.engine.state(),
                State::Established
                    | State::CloseWait
                    | State::FinWait1
                    | State::FinWait2
                    | State::LastAck
                    | State::Closing
            );
        }
    }

    /// Sends what is due.
    pub(super) fn poll(&mut self, stack: &Stack, now_ns: u64) {
        let mut output = Frames { key: &self.key, frames: &mut self.frames };
        self.engine.poll(now_ns, &mut output);
        self.flush(stack);
    }

    /// Sends what was emitted.
    #[inline]
    pub(super) fn flush(&mut self, stack: &Stack) {
        if self.frames.is_empty() {
            return;
        }
        if !self.route.is_current(stack.interfaces()) {
            self.renew_route(stack);
        }
        // Segments that are too long tell so by ICMP; their loss is noticed as any other.
        let _is_sent = self.route.send(stack, &mut self.frames);
    }

    #[cold]
    fn renew_route(&mut self, stack: &Stack) {
        match stack.interfaces().route(self.route.request()) {
            Ok(route) => {
                self.route = route;
                self.engine.reduce_mss(mss_of(&self.route));
            }
            // Sent where they went before: the way may come back.
            Err(errno) => self.engine.network_error(errno, false),
        }
    }

    /// Takes bytes to be sent; none if there is no room.
    pub(super) fn send(
        &mut self,
        from: &mut UserReader<'_>,
        has_more: bool,
    ) -> Result<Result<Option<usize>, UserFault>, Errno> {
        if matches!(self.engine.state(), State::SynSent | State::SynReceived) {
            return Ok(Ok(None));
        }
        self.note_more(has_more);
        let is_empty = from.is_empty();
        Ok(self.engine.send(from)?.map(|count| (count > 0 || is_empty).then_some(count)))
    }

    /// Takes pieces that are not copied, as many as there is room for; none if there is none.
    pub(super) fn send_pieces(&mut self, pieces: &[Piece], has_more: bool) -> Result<Option<usize>, Errno> {
        if matches!(self.engine.state(), State::SynSent | State::SynReceived) {
            return Ok(None);
        }
        let mut done = 0;
        for piece in pieces {
            match self.engine.send_piece(piece) {
                Ok(true) => done += piece.len(),
                Err(errno) if done == 0 => return Err(errno),
                Ok(false) | Err(_) => break,
            }
        }
        // What did not fit is more to come.
        self.note_more(has_more || done < pieces.iter().map(Piece::len).sum());
        Ok((done > 0).then_some(done))
    }

    /// Holds back what does not fill a segment while more follows.
    fn note_more(&mut self, has_more: bool) {
        if core::mem::replace(&mut self.has_more, has_more) != has_more {
            self.follow_corks();
        }
    }

    fn follow_corks(&mut self) {
        self.engine.set_corked(self.is_corked || self.has_more || self.is_held);
    }

    /// `TCP_CORK`. What was held back for more of it goes by that.
    pub(super) fn cork(&mut self, is_corked: bool) {
        (self.is_corked, self.is_held) = (is_corked, false);
        self.engine.set_corked(is_corked || self.has_more);
    }

    /// The program is about to write so many bytes. True: they are to be held back.
    pub(super) fn begin_write(&mut self, len: usize) -> bool {
        if !core::mem::replace(&mut self.has_written, true) {
            return false;
        }
        let settings = self.engine.settings();
        let (kept, unsent) = self.engine.unacknowledged_len();
        len < settings.mss_max && kept > unsent && TCP_AUTOCORKING.get() != 0
    }

    /// Holds output back from now on.
    pub(super) fn hold(&mut self) {
        if !core::mem::replace(&mut self.is_held, true) {
            self.follow_corks();
        }
    }

    /// Holds nothing back any more. True: something was, which is due now.
    #[inline]
    pub(super) fn release(&mut self) -> bool {
        let was_held = core::mem::replace(&mut self.is_held, false);
        if was_held {
            self.follow_corks();
        }
        was_held
    }

    /// The program has read: what it writes next answers that.
    pub(super) fn note_read(&mut self) {
        self.has_written = false;
    }

    /// Whether an acknowledgement would have something done. What is held does not wait for one.
    pub(super) fn awaits_acknowledgement(&self) -> bool {
        !self.is_held && self.engine.awaits_acknowledgement()
    }

    /// Ends with RST.
    pub(super) fn abort(&mut self, stack: &Stack) {
        let mut output = Frames { key: &self.key, frames: &mut self.frames };
        self.engine.abort(&mut output);
        if !self.frames.is_empty() {
            stack.mib().count(Counter::TcpOutRsts);
        }
        self.flush(stack);
    }

    /// The program lets go of it. Ends with RST where too many others are left without a program.
    pub(super) fn close(&mut self, stack: &Stack, now_ns: u64) {
        if !matches!(self.engine.state(), State::Closed | State::TimeWait) {
            self.reservation = Reservation::take(&stack.tcp().orphaned, self.engine.unacknowledged_len().0);
            if self.reservation.is_none() {
                return self.abort(stack);
            }
        }
        let mut output = Frames { key: &self.key, frames: &mut self.frames };
        if self.engine.close(now_ns, &mut output) {
            stack.mib().count(Counter::TcpOutRsts);
        }
    }

    /// The network reports that a packet did not arrive.
    pub(super) fn network_error(&mut self, errno: Errno, is_hard: bool, mtu: Option<u16>) {
        match mtu {
            Some(mtu) => {
                let headers = self.route.header_len() + HEADER_LEN;
                self.engine.reduce_mss(usize::from(mtu).saturating_sub(headers).max(MSS_MIN));
            }
            None => self.engine.network_error(errno, is_hard),
        }
    }

    /// Moves what there is to `to`, where that is one buffer for which there is room and nothing about it is rare. None: nothing was moved,
    /// and [`Wire::read`] says why.
    #[inline]
    pub(super) fn read_sole(&mut self, to: &mut UserWriter<'_>) -> Option<usize> {
        let len = self.engine.read_sole(to)?;
        self.note_read();
        self.note_kept();
        Some(len)
    }

    /// What waits for the program has become less or more.
    #[inline]
    fn note_kept(&mut self) {
        self.share.note(self.engine.receive_footprint());
        self.engine.limit_receive(self.share.is_limited());
    }

    /// Reads, or looks behind what was seen; none if nothing is there. Less than there is room for: the program's memory has a page that is not there.
    pub(super) fn read(
        &mut self,
        to: &mut UserWriter<'_>,
        seen: Option<usize>,
        is_truncating: bool,
    ) -> Result<Result<Option<usize>, UserFault>, Errno> {
        let (is_peek, seen) = (seen.is_some(), seen.unwrap_or(0));
        if !is_peek && !to.is_full() {
            self.engine.pass_urgent();
        }
        if seen > 0 && self.engine.readable_len() <= seen {
            if !self.engine.readiness().contains(PollEvents::RDHUP) {
                return Ok(Ok(None));
            }
            return self.engine.take_error().map_or(Ok(Ok(Some(0))), Err);
        }
        if self.engine.readable_len() == 0 {
            if self.engine.is_read_finished() {
                // An error that ended the connection is told once.
                return self.engine.take_error().map_or(Ok(Ok(Some(0))), Err);
            }
            // An urgent byte that would be left out is something to a read that wants nothing.
            let is_content = to.is_full() && self.engine.is_at_mark();
            return Ok(Ok(is_content.then_some(0)));
        }
        let len = match (is_peek, is_truncating) {
            (true, true) => Ok((self.engine.readable_len() - seen).min(to.remaining())),
            (false, true) => Ok(self.engine.discard(to.remaining())),
            (is_peek, false) => self.engine.read(to, seen, is_peek),
        };
        self.note_kept();
        Ok(len.map(Some))
    }

    /// What would not block, where reading waits for `low_water` bytes.
    #[inline(never)]
    pub(super) fn readiness(&self, low_water: usize) -> PollEvents {
        let mut events = self.engine.readiness();
        // What ends reading makes it readable whatever was asked for, and so does a buffer that is half full.
        let target = low_water.min(self.engine.settings().receive_buffer / 2);
        if self.engine.readable_len() < target && !events.contains(PollEvents::RDHUP) {
            events.remove(PollEvents::READABLE);
        }
        events
    }

    /// Lends what can be read, in up to `pieces_max` buffers; none if nothing is there, no buffer at the end.
    pub(super) fn lend(&mut self, pieces_max: usize) -> Result<Option<(Vec<Payload>, Account)>, Errno> {
        self.engine.pass_urgent();
        if self.engine.readable_len() == 0 {
            if !self.engine.is_read_finished() {
                return Ok(None);
            }
            return self.engine.take_error().map_or_else(|| Ok(Some(Default::default())), Err);
        }
        self.note_read();
        Ok(Some(self.engine.lend(pieces_max)))
    }

    /// Loans were given back.
    pub(super) fn note_given_back(&mut self) {
        self.note_kept();
        self.engine.note_given_back();
    }

    /// What the program set has changed. What was held back for more of it goes by that.
    pub(super) fn change_settings(&mut self, settings: Settings) {
        let own = *self.engine.settings();
        (self.is_corked, self.is_held) = (settings.is_corked, false);
        // What was found out of the way stays.
        self.engine.change_settings(Settings {
            is_corked: settings.is_corked || self.has_more,
            mss_max: own.mss_max,
            burst_len_max: own.burst_len_max,
            send_buffer: if settings.is_send_buffer_fixed { settings.send_buffer } else { own.send_buffer },
            receive_buffer: if settings.is_receive_buffer_fixed { settings.receive_buffer } else { own.receive_buffer },
            ..settings
        });
    }

    /// Later headers carry what is set now.
    pub(super) fn change_headers(&mut self, stack: &Stack, inet: &InetOptions) {
        let old = *self.route.request();
        let (hop_limit, traffic_class) = (inet.hop_limit(old.destination), inet.traffic_class(old.destination));
        let request = RouteRequest { hop_limit, traffic_class, ..old };
        if let Ok(route) = stack.interfaces().route(&request) {
            self.route = route;
        }
    }

    /// The longest packets that the way takes, as far as it is known.
    pub(super) fn path_mtu(&self) -> u32 {
        let mtu = self.engine.settings().mss_max + self.route.header_len() + HEADER_LEN;
        u32::try_from(mtu).unwrap_or(u32::MAX)
    }

    /// The way to the other end.
    pub(super) fn route(&self) -> &Route {
        &self.route
    }
}

/// No path makes segments shorter than this (the least MTU of IPv4 less headers would be 28; Linux stops here).
const MSS_MIN: usize = 536 - 12;

/// The payload that a segment without options may have on a way.
fn mss_of(route: &Route) -> usize {
    route.mtu().saturating_sub(route.header_len() + HEADER_LEN)
}

/// Fits the settings of a connection to its way. `mss_max` is the program's wish.
pub(super) fn fit(settings: &mut Settings, mss_max: Option<u16>, route: &Route) {
    let of_path = mss_of(route);
    settings.mss_max = mss_max.map_or(of_path, |mss| of_path.min(usize::from(mss)));
    let cuts = match route.source() {
        IpAddr::V4(_) => NicFeatures::SEGMENT_TCP4,
        IpAddr::V6(_) => NicFeatures::SEGMENT_TCP6,
    };
    settings.burst_len_max = if route.features().contains(cuts) { BURST_LEN_MAX } else { settings.mss_max };
}

/// The request for the way of a connection to `remote`, from `local` if that is chosen.
pub(super) fn request(remote: IpAddr, local: Option<IpAddr>, interface: u32, inet: &InetOptions) -> RouteRequest {
    RouteRequest {
        source: local,
        interface,
        hop_limit: inet.hop_limit(remote),
        traffic_class: inet.traffic_class(remote),
        ..RouteRequest::new(protocol::TCP, remote)
    }
}
