//! [`Engine`]: the protocol of one connection, from its first segment to its last.
//!
//! An engine is given parsed segments and the time, and emits segments to an [`Output`]. It knows no addresses, no packets, no
//! locks and no clock, so that it runs on the host in simulated time.
//!
//! Who owns an engine calls it under a lock:
//!
//! 1. [`Engine::receive`] for each segment that has come, in order;
//! 2. [`Engine::send`], [`Engine::read`] and the like for the program;
//! 3. [`Engine::poll`] after a batch of these, which emits what is due: data, acknowledgements, retransmissions;
//! 4. again at [`Engine::poll_at`].
//!
//! Times are nanoseconds on the clock of `sync::machine::now_ns`.

mod acknowledgement;
mod assembly;
mod congestion;
mod connection;
mod delayed;
mod ecn;
mod fast_open;
mod flags;
mod handshake;
mod incoming;
mod information;
mod outgoing;
mod pacing;
mod program;
mod receive_queue;
mod recovery;
mod round_trip;
mod scoreboard;
mod send_buffer;
mod sequence;
mod settings;
mod timeouts;
mod timers;
mod urgent;
mod window;

use alloc::vec::Vec;

use abi::{Errno, PollEvents};
use mm::user::{UserFault, UserReader, UserWriter};

use crate::frame::{Joined, Payload, Piece, ReceivedFrame};
use crate::loan::Account;

pub use connection::{Connection, Opening};
pub use ecn::EcnMode;
pub use fast_open::{COOKIE_LEN, COOKIE_LEN_MAX, Cookie, FastOpen};
pub use flags::SegmentFlags;
pub use handshake::{
    Handshake, MSS_DEFAULT, Negotiated, WINDOW_SCALE_MAX, advertised_mss, initial_window, timestamp, window_scale,
};
pub use pacing::UNLIMITED as PACING_UNLIMITED;
pub use send_buffer::Span;
pub use settings::{CongestionAlgorithm, RECEIVE_BUFFER_MAX, Settings};
pub(in crate::tcp) use urgent::{Reader, Step, Urgent};

/// Sequence numbers: modulo 2^32.
pub type SequenceNumber = u32;

/// A block of sequence numbers, for SACK: from the first to the one behind the last.
pub type SackBlock = (SequenceNumber, SequenceNumber);

/// SACK blocks in one segment.
pub const SACK_BLOCKS_MAX: usize = 4;

/// Header and options of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SegmentHeader {
    /// Of the first byte of payload, or of SYN.
    pub sequence: SequenceNumber,
    /// Meaningful with [`SegmentFlags::ACK`].
    pub acknowledgement: SequenceNumber,
    /// Control bits.
    pub flags: SegmentFlags,
    /// The window field as it is in the header: not scaled.
    pub window: u16,
    /// Meaningful with [`SegmentFlags::URG`].
    pub urgent_pointer: u16,
    /// Maximum segment size; in a SYN.
    pub mss: Option<u16>,
    /// Window scale; in a SYN.
    pub window_scale: Option<u8>,
    /// SACK permitted; in a SYN.
    pub is_sack_permitted: bool,
    /// Timestamp value and echo reply (RFC 7323).
    pub timestamps: Option<(u32, u32)>,
    /// The cookie of TCP Fast Open, or the wish for one; in a SYN.
    pub fast_open: Option<Cookie>,
    /// SACK blocks; the first `sack_count` count.
    pub sack: [SackBlock; SACK_BLOCKS_MAX],
    /// See `sack`.
    pub sack_count: u8,
    /// The network may mark it instead of dropping it (ECT of the IP header).
    pub is_ecn_capable: bool,
    /// And has done so (CE).
    pub is_congestion_marked: bool,
}

/// The payload of a segment that was received, or of several that a device has joined.
#[derive(Debug)]
pub struct SegmentPayload {
    /// The first piece, or all; empty for a segment without payload.
    pub first: Payload,
    /// What the device joined to it; usually nothing, and then no memory.
    pub rest: Joined,
    /// Bytes in all.
    pub len: usize,
    /// How many segments the device joined; at least 1.
    pub segments: u32,
}

impl SegmentPayload {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(Payload::from(alloc::vec::Vec::new()))
    }

    /// The payload of one segment.
    #[must_use]
    pub fn new(bytes: Payload) -> Self {
        Self { len: bytes.len(), first: bytes, rest: Joined::default(), segments: 1 }
    }

    /// What is left of a frame whose headers and padding were cut off. The frame says how many segments it was.
    #[must_use]
    pub fn from_frame(frame: ReceivedFrame) -> Self {
        let len = frame.len();
        let segments = match usize::from(frame.segment_len) {
            0 => 1,
            segment_len => u32::try_from(len.div_ceil(segment_len).max(1)).unwrap_or(u32::MAX),
        };
        let (first, rest) = frame.into_parts();
        Self { first, rest, len, segments }
    }
}

/// A segment to be sent. May be longer than the MSS, up to [`Engine`]'s `burst_len_max`: whoever emits it cuts it, or lets the device do so.
#[derive(Debug)]
pub struct OutgoingSegment<'a> {
    /// Header and options.
    pub header: SegmentHeader,
    /// The payload, where it lies.
    pub payload: Span<'a>,
    /// Bytes of payload.
    pub len: usize,
    /// Bytes of payload that one segment on the wire takes.
    pub mss: usize,
}

/// Where an engine's segments go.
pub trait Output {
    /// Sends a segment. One that cannot be sent is lost, as on any network.
    fn emit(&mut self, segment: OutgoingSegment<'_>);
}

/// The states of RFC 9293, section 3.3.2, in Linux's numbers (`tcp_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum State {
    Established = 1,
    SynSent = 2,
    SynReceived = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Closed = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
}

/// What must outlive a connection in TIME-WAIT: enough to acknowledge the last FIN again, and to refuse old duplicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWait {
    /// What is sent next: the number behind our FIN.
    pub send_next: SequenceNumber,
    /// What is expected next: the number behind theirs.
    pub receive_next: SequenceNumber,
    /// The window field of the acknowledgement.
    pub window: u16,
    /// The peer's last timestamp, and what is added to our clock, if timestamps are on.
    pub timestamps: Option<(u32, u32)>,
}

/// A connection's protocol.
pub trait Engine: Send {
    /// Takes a segment of this connection.
    fn receive(&mut self, now_ns: u64, header: &SegmentHeader, payload: SegmentPayload, output: &mut dyn Output);

    /// Emits what is due.
    fn poll(&mut self, now_ns: u64, output: &mut dyn Output);

    /// When [`Engine::poll`] may have something to do if nothing else happens; `sync::machine::NEVER` for never.
    fn poll_at(&self) -> u64;

    /// Takes bytes to be sent, as many as there is room for, and answers how many. Copies without faulting: after a fault the caller lets go of its
    /// lock, resolves it and calls again. `EPIPE` after [`Engine::shutdown_write`]; an error that ended the connection.
    fn send(&mut self, from: &mut UserReader<'_>) -> Result<Result<usize, UserFault>, Errno>;

    /// Takes one piece to be sent that is not copied. False: there is no room for it now.
    fn send_piece(&mut self, piece: &Piece) -> Result<bool, Errno>;

    /// Moves received bytes to `to`, or copies them when `is_peek`, skipping `skip` bytes first; answers how many. 0 with room left: nothing is there,
    /// see [`Engine::is_read_finished`].
    fn read(&mut self, to: &mut UserWriter<'_>, skip: usize, is_peek: bool) -> Result<usize, UserFault>;

    /// As [`Engine::read`] where all there is is one buffer for which there is room, and nothing is urgent. None: nothing was moved.
    fn read_sole(&mut self, to: &mut UserWriter<'_>) -> Option<usize>;

    /// A read is over: the buffer may grow. True: the peer ought to hear of a larger window, and [`Engine::poll`] is due.
    fn end_read(&mut self, now_ns: u64) -> bool;

    /// Drops up to `len` received bytes (`MSG_TRUNC`), and answers how many.
    fn discard(&mut self, len: usize) -> usize;

    /// Takes up to `pieces_max` buffers of received bytes out, to be lent; they count as waiting until they are taken
    /// off the account.
    fn lend(&mut self, pieces_max: usize) -> (Vec<Payload>, Account);

    /// Something was taken off the account: there may be more room for the peer.
    fn note_given_back(&mut self);

    /// Bytes that can be read now, whether one read gives them or more.
    fn readable_len(&self) -> usize;

    /// Bytes that can be read before the mark of urgent data (`SIOCINQ`).
    fn waiting_len(&self) -> usize;

    /// Memory that all that waits for the program holds on to.
    fn receive_footprint(&self) -> usize;

    /// From now on no more than a little may wait for the program, or again what the settings say.
    fn limit_receive(&mut self, is_limited: bool);

    /// The other side has sent its last byte, all was read, or the connection is gone: reads answer 0.
    fn is_read_finished(&self) -> bool;

    /// Room that a send would find, by the rule of `poll`: 0 until a third of the buffer is free.
    fn writable_len(&self) -> usize;

    /// Bytes sent or to be sent that were not acknowledged (`SIOCOUTQ`), and of these the ones never sent (`SIOCOUTQNSD`).
    fn unacknowledged_len(&self) -> (usize, usize);

    /// Urgent data: the byte, once it is there (`MSG_OOB`); none where it will never come.
    fn take_urgent(&mut self, is_peek: bool) -> Result<Option<u8>, Errno>;

    /// Whether urgent data was announced since the last call.
    fn take_urgent_news(&mut self) -> bool;

    /// A read begins: if it does so at the mark, it leaves the urgent byte out.
    fn pass_urgent(&mut self);

    /// Sends a byte as urgent, behind what waits.
    fn send_urgent(&mut self, byte: u8) -> Result<bool, Errno>;

    /// Whether reading stands at the mark of urgent data (`SIOCATMARK`).
    fn is_at_mark(&self) -> bool;

    /// No more bytes will be sent: FIN follows the last.
    fn shutdown_write(&mut self);

    /// What comes from now on is acknowledged and dropped.
    fn shutdown_read(&mut self);

    /// The program has closed its socket. Unread data makes this a reset (RFC 2525, 2.17). True: RST was emitted, and all is over.
    fn close(&mut self, now_ns: u64, output: &mut dyn Output) -> bool;

    /// Ends the connection at once with RST.
    fn abort(&mut self, output: &mut dyn Output);

    /// The network says that packets do not arrive. A hard error ends a connection that is not established; others are remembered (RFC 5927).
    fn network_error(&mut self, errno: Errno, is_hard: bool);

    /// The path takes IP packets whose TCP payload is at most `mss`: what is in flight and longer is sent again.
    fn reduce_mss(&mut self, mss: usize);

    /// The state.
    fn state(&self) -> State;

    /// What stays of it in TIME-WAIT.
    fn time_wait(&self) -> Option<TimeWait>;

    /// The error that ended the connection or is pending; taken.
    fn take_error(&mut self) -> Option<Errno>;

    /// The events that apply now, `ERR`, `HUP`, `RDHUP` and `PRI` included.
    fn readiness(&self) -> PollEvents {
        self.readiness_of(PollEvents::all())
    }

    /// As [`Engine::readiness`], less room to write if that is not wanted.
    fn readiness_of(&self, wanted: PollEvents) -> PollEvents;

    /// The connection is open and has nothing for the program: of all events only room to write may apply, until a segment comes, time
    /// passes or the program changes something by more than sending.
    fn is_quiet(&self) -> bool;

    /// Whether an acknowledgement that comes now would have something done: data waits to be sent, or an end. If not, segments without payload may wait.
    fn awaits_acknowledgement(&self) -> bool;

    /// What the program set.
    fn settings(&self) -> &Settings;

    /// Holds back from now on what does not fill a segment, or does so no longer: then what is held is due.
    fn set_corked(&mut self, is_corked: bool);

    /// Changes what the program set; [`Engine::poll`] follows.
    fn change_settings(&mut self, settings: Settings);

    /// `TCP_QUICKACK` as it is: the engine ends it when the connection becomes interactive, and begins it anew.
    fn is_quickack(&self) -> bool;

    /// The program sets `TCP_QUICKACK`, which is something done and not something that stays.
    fn set_quickack(&mut self, is_quickack: bool);

    /// Figures for `TCP_INFO`.
    fn information(&self, now_ns: u64) -> Information;
}

/// What `TCP_INFO` shows, in Linux's units: bytes, microseconds, segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the fields are those of struct tcp_info")]
pub struct Information {
    pub state: u8,
    pub congestion_state: u8,
    pub retransmits: u8,
    pub probes: u8,
    pub backoff: u8,
    pub options: u8,
    pub send_window_scale: u8,
    pub receive_window_scale: u8,
    pub retransmit_timeout_us: u32,
    pub acknowledge_timeout_us: u32,
    pub send_mss: u32,
    pub receive_mss: u32,
    pub unacknowledged: u32,
    pub sacked: u32,
    pub lost: u32,
    pub retransmitted: u32,
    pub last_data_sent_ms: u32,
    pub last_data_received_ms: u32,
    pub last_ack_received_ms: u32,
    pub receive_slow_start_threshold: u32,
    pub round_trip_us: u32,
    pub round_trip_variance_us: u32,
    pub slow_start_threshold: u32,
    pub congestion_window: u32,
    pub advertised_mss: u32,
    pub reordering: u32,
    pub receive_round_trip_us: u32,
    pub receive_space: u32,
    pub total_retransmits: u32,
    pub bytes_acknowledged: u64,
    pub bytes_received: u64,
    pub delivered: u32,
    pub segments_out: u32,
    pub segments_in: u32,
    pub unsent_bytes: u32,
    pub round_trip_min_us: u32,
    pub data_segments_in: u32,
    pub data_segments_out: u32,
    pub delivery_rate: u64,
    pub bytes_sent: u64,
    pub bytes_retransmitted: u64,
    pub send_window: u32,
    pub receive_window: u32,
    pub fast_open_failure: u8,
    /// As `/proc/net/tcp` numbers it: 0 none, 1 retransmission, 2 keepalive or the end of FIN-WAIT-2, 4 window probes; and how long until then.
    pub timer: u8,
    pub timer_left_ns: u64,
}
