//! [`Connection`]: our engine.
//!
//! # Using it
//!
//! - [`Connection::open`] begins one from here: it emits a SYN, again in time, and is established when the answer has come.
//! - [`Connection::accept`] makes one of a [`Handshake`] whose third segment has come. That segment is then given to
//!   [`Engine::receive`](super::Engine::receive) like all others; it may carry data.
//!
//! Initial sequence numbers and timestamp offsets are the caller's, as they depend on addresses and secrets (RFC 6528).
//!
//! # What is where
//!
//! The state is here. What is done with it is in files by occasion: `incoming` (a segment comes), `acknowledgement` (what it acknowledges),
//! `outgoing` (what is emitted), `timeouts` (time passes), `program` (the program calls), `information` (figures). They all
//! lean on parts that know nothing of each other: buffers, scoreboard, round trip, congestion, recovery, window, timers.
//!
//! # Invariants
//!
//! 1. `send.una <= send.next`; between them lie the records of the scoreboard without gaps, SYN excepted.
//! 2. The send buffer begins at `send.una` (or right behind our SYN) and has all bytes up to its end; FIN has the number behind that.
//! 3. `receive.next` is the first number that has not come; what the assembly holds lies behind it.
//! 4. Nothing is emitted in [`State::Closed`] but a reset that is owed.

use abi::Errno;

use super::assembly::Assembly;
use super::congestion::Congestion;
use super::delayed::Acknowledging;
use super::ecn::{Ecn, EcnMode};
use super::fast_open::{FastOpen, Opened};
use super::handshake::{Handshake, MSS_MIN, Negotiated, initial_window, window_scale};
use super::pacing::Pacing;
use super::receive_queue::ReceiveQueue;
use super::recovery::Recovery;
use super::round_trip::RoundTrip;
use super::scoreboard::Scoreboard;
use super::send_buffer::SendBuffer;
use super::sequence::length;
use super::settings::LIMITED_BUFFER;
use super::timers::{Timer, Timers};
use super::urgent::Urgent;
use super::window::ReceiveWindow;
use super::{Output, SequenceNumber, Settings, State};

/// Bytes of the timestamp option with its padding.
pub(super) const TIMESTAMPS_LEN: usize = 12;

/// Segments that a receive buffer holds at least, twice.
const SEGMENTS_MIN: usize = 10;

/// What goes out.
pub(super) struct SendSide {
    /// The number of our SYN.
    pub(super) initial: SequenceNumber,
    /// The first number not acknowledged.
    pub(super) una: SequenceNumber,
    /// The next to be sent.
    pub(super) next: SequenceNumber,
    /// The peer's window, scaled.
    pub(super) window: u32,
    /// The largest it ever was.
    pub(super) window_max: u32,
    /// Number and acknowledgement of the segment that the window is from.
    pub(super) window_update: (SequenceNumber, SequenceNumber),
    pub(super) buffer: SendBuffer,
    pub(super) board: Scoreboard,
    /// FIN follows the last byte.
    pub(super) is_finished: bool,
    /// FIN was sent.
    pub(super) is_fin_sent: bool,
    /// The number behind the last urgent byte.
    pub(super) urgent: Option<SequenceNumber>,
    /// The number behind the last segment that was not full (Minshall's variant of Nagle's rule).
    pub(super) small_end: SequenceNumber,
    /// Held bytes go out although they are few.
    pub(super) is_pushed: bool,
    /// Payload of a segment, options without SACK deducted.
    pub(super) mss: u32,
    /// When data was sent last.
    pub(super) last_ns: u64,
    /// The most in flight since the round trip that ends at the second was begun: what the window was good for.
    pub(super) flight_max: (u32, SequenceNumber),
    /// The congestion window stopped us in this round trip.
    pub(super) is_congestion_limited: bool,
}

/// What comes in.
pub(super) struct ReceiveSide {
    /// The next number that is expected.
    pub(super) next: SequenceNumber,
    pub(super) queue: ReceiveQueue,
    pub(super) assembly: Assembly,
    pub(super) window: ReceiveWindow,
    pub(super) urgent: Urgent,
    /// The number of the peer's FIN, once a segment with it has come.
    pub(super) fin: Option<SequenceNumber>,
    /// FIN's turn has come.
    pub(super) is_finished: bool,
    /// What comes is dropped.
    pub(super) is_shut: bool,
    /// No more than [`LIMITED_BUFFER`] may wait, whatever the settings say.
    pub(super) is_limited: bool,
    /// The program has read since the window was looked at.
    pub(super) has_read: bool,
    /// RFC 7323's TS.Recent, and when it came.
    pub(super) timestamp: u32,
    pub(super) timestamp_ns: u64,
    /// The acknowledgement sent last.
    pub(super) last_acknowledgement: SequenceNumber,
    /// When anything came last.
    pub(super) last_ns: u64,
}

/// Counts for `TCP_INFO`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) segments_in: u32,
    pub(super) segments_out: u32,
    pub(super) data_segments_in: u32,
    pub(super) data_segments_out: u32,
    pub(super) bytes_acknowledged: u64,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_retransmitted: u64,
    pub(super) retransmits: u32,
    /// Bytes, and the nanoseconds in which they were delivered.
    pub(super) delivery: Option<(u64, u64)>,
}

/// See the module.
pub struct Connection {
    pub(super) state: State,
    pub(super) settings: Settings,
    pub(super) options: Negotiated,
    pub(super) timestamp_offset: u32,
    pub(super) send: SendSide,
    pub(super) receive: ReceiveSide,
    pub(super) acknowledging: Acknowledging,
    pub(super) round_trip: RoundTrip,
    pub(super) congestion: Congestion,
    pub(super) recovery: Recovery,
    pub(super) ecn: Ecn,
    pub(super) fast_open: Opened,
    pub(super) pacing: Pacing,
    pub(super) timers: Timers,
    pub(super) counters: Counters,
    pub(super) error: Option<Errno>,
    pub(super) soft_error: Option<Errno>,
    /// The program has closed its socket.
    pub(super) is_orphan: bool,
    /// Since when nothing was acknowledged although it was sent again, or a window is closed.
    pub(super) stalled_since_ns: Option<u64>,
    /// Retransmissions in a row, of SYN or after timeouts.
    pub(super) retries: u32,
    /// Probes in a row, of a closed window or a quiet peer.
    pub(super) probes: u32,
    /// When an acknowledgement of something invalid was sent last.
    pub(super) challenge_ns: Option<u64>,
}

/// What the caller chooses for a connection that begins here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The number of our SYN.
    pub initial_sequence: SequenceNumber,
    /// What is added to our clock of milliseconds for timestamps.
    pub timestamp_offset: u32,
}

impl Connection {
    /// Begins a connection: emits SYN.
    #[must_use]
    pub fn open(now_ns: u64, settings: Settings, opening: Opening, output: &mut dyn Output) -> Self {
        Self::open_fast(now_ns, settings, opening, FastOpen::default(), output)
    }

    /// Begins a connection with a SYN that carries more than that: the data of it that there was memory for is in
    /// the send buffer.
    #[must_use]
    pub fn open_fast(
        now_ns: u64,
        settings: Settings,
        opening: Opening,
        fast: FastOpen<'_>,
        output: &mut dyn Output,
    ) -> Self {
        let options = Negotiated {
            peer_mss: u16::MAX,
            window_scales: Some((0, window_scale(&settings))),
            has_sack: true,
            has_timestamps: true,
            has_ecn: settings.ecn == EcnMode::Ask,
        };
        let handshake = Handshake {
            initial_sequence: opening.initial_sequence,
            peer_initial_sequence: 0,
            timestamp_offset: opening.timestamp_offset,
            options,
            receive_window: initial_window(&settings),
            send_window: 0,
            peer_timestamp: 0,
            round_trip_ns: None,
            was_retransmitted: false,
        };
        let mut connection = Self::new(now_ns, settings, &handshake, State::SynSent);
        connection.take_fast_open(fast);
        connection.emit_syn(now_ns, output);
        connection.timers.set(Timer::Retransmit, now_ns + connection.round_trip.timeout_ns());
        connection
    }

    /// Makes a connection of a completed handshake. The segment that completed it is to be given to it next.
    #[must_use]
    pub fn accept(now_ns: u64, settings: Settings, handshake: &Handshake) -> Self {
        let mut connection = Self::new(now_ns, settings, handshake, State::Established);
        if let Some(round_trip_ns) = handshake.round_trip_ns {
            connection.round_trip.sample(round_trip_ns, now_ns);
            connection.receive.window.sample_round_trip(round_trip_ns);
        }
        connection.send.una = connection.send.next;
        if handshake.was_retransmitted {
            connection.congestion.restrict_to_one();
        }
        connection.grow_send_buffer();
        connection.start_keepalive(now_ns);
        connection
    }

    pub(super) fn new(now_ns: u64, settings: Settings, handshake: &Handshake, state: State) -> Self {
        let first = handshake.initial_sequence.wrapping_add(1);
        let receive_next = handshake.peer_initial_sequence.wrapping_add(1);
        let scale = handshake.options.window_scales.map_or(0, |(_, ours)| ours);
        let window = u32::from(handshake.receive_window);
        let mut connection = Self {
            state,
            settings,
            options: handshake.options,
            timestamp_offset: handshake.timestamp_offset,
            send: SendSide {
                initial: handshake.initial_sequence,
                una: handshake.initial_sequence,
                next: first,
                window: handshake.send_window,
                window_max: handshake.send_window,
                window_update: (handshake.peer_initial_sequence, first),
                buffer: SendBuffer::new(first),
                board: Scoreboard::new(first),
                is_finished: false,
                is_fin_sent: false,
                urgent: None,
                small_end: first,
                is_pushed: false,
                mss: 0,
                last_ns: now_ns,
                flight_max: (0, first),
                is_congestion_limited: false,
            },
            receive: ReceiveSide {
                next: receive_next,
                queue: ReceiveQueue::default(),
                assembly: Assembly::default(),
                window: ReceiveWindow::new(receive_next, window, scale, length(settings.mss_max), now_ns),
                urgent: Urgent::default(),
                fin: None,
                is_finished: false,
                is_shut: false,
                is_limited: false,
                has_read: false,
                timestamp: handshake.peer_timestamp,
                timestamp_ns: now_ns,
                last_acknowledgement: receive_next,
                last_ns: now_ns,
            },
            acknowledging: Acknowledging::new(settings.is_quickack),
            round_trip: RoundTrip::new(),
            congestion: Congestion::new(settings.congestion, u32::from(MSS_MIN)),
            recovery: Recovery::default(),
            ecn: Ecn::default(),
            fast_open: Opened::default(),
            pacing: Pacing::default(),
            timers: Timers::new(),
            counters: Counters::default(),
            error: None,
            soft_error: None,
            is_orphan: false,
            stalled_since_ns: None,
            retries: 0,
            probes: 0,
            challenge_ns: None,
        };
        connection.update_mss();
        if !settings.is_receive_buffer_fixed {
            // Several segments, however long they are.
            let wanted = (SEGMENTS_MIN * 2 * settings.mss_max).min(settings.receive_buffer_max);
            connection.settings.receive_buffer = settings.receive_buffer.max(wanted);
        }
        connection
    }

    /// Computes the MSS anew: what the peer takes and the path allows, less what options take in each segment.
    pub(super) fn update_mss(&mut self) {
        let whole = usize::from(self.options.peer_mss).min(self.settings.mss_max).max(usize::from(MSS_MIN));
        let options = if self.options.has_timestamps { TIMESTAMPS_LEN } else { 0 };
        let mss = length(whole - options);
        if mss != self.send.mss {
            self.send.mss = mss;
            let has_sent = self.counters.bytes_sent > 0;
            self.congestion.change_mss(mss, has_sent);
        }
    }

    /// Whether data goes both ways, or did.
    pub(super) const fn is_synchronized(&self) -> bool {
        !matches!(self.state, State::SynSent | State::SynReceived | State::Closed | State::Listen)
    }

    /// Whether the peer may still send us data.
    pub(super) const fn may_receive(&self) -> bool {
        matches!(self.state, State::Established | State::FinWait1 | State::FinWait2 | State::SynReceived)
    }

    /// Whether we may still send what is queued.
    pub(super) const fn may_send(&self) -> bool {
        matches!(self.state, State::Established | State::CloseWait | State::FinWait1 | State::Closing | State::LastAck)
    }

    /// All that can wait for the program, in memory.
    pub(super) fn kept_len(&self) -> usize {
        self.receive.queue.footprint() + self.receive.assembly.footprint()
    }

    /// What may wait, in memory.
    pub(super) fn receive_buffer(&self) -> usize {
        let limit = if self.receive.is_limited { LIMITED_BUFFER } else { usize::MAX };
        self.settings.receive_buffer.min(limit)
    }

    /// The end, with what the program is told. What has come can still be read.
    pub(super) fn finish(&mut self, error: Option<Errno>) {
        self.state = State::Closed;
        if error.is_some() {
            self.error = error;
        }
        self.timers.stop_all();
        self.send.buffer.clear();
        self.send.board.clear();
        self.send.una = self.send.next;
        self.receive.assembly.clear();
        if self.is_orphan {
            self.receive.queue.clear();
        }
    }
}
