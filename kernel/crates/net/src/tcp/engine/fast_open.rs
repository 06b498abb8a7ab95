//! TCP Fast Open: data in the SYN (RFC 7413). [`Cookie`], [`FastOpen`] and what becomes of them when the answer comes.
//!
//! # Theory
//!
//! 1. Who opens asks for a cookie by an option without one, and gets it with the answer. Connections to the same address carry it from then on, and
//!    data with it: the cookie proves that the address is its own (RFC 7413, 3 and 4.1).
//! 2. The server acknowledges the data with its SYN, or the SYN alone; then the data is sent again like any other (4.2.1). Here it
//!    is as if it had never been sent before the answer acknowledges it.
//! 3. A SYN that is sent again carries neither (4.1.3): what was between may drop what it does not know.
//! 4. Who takes data with a SYN has a connection in SYN-RECEIVED, whose data the program may read (4.2.2). Its answer acknowledges that data, is
//!    sent again when it is late or the SYN comes again, and may carry another cookie once. What the program sends waits for the third segment, which the
//!    RFC allows.

use abi::Errno;
use mm::user::UserReader;

use super::connection::Connection;
use super::handshake::Handshake;
use super::sequence::length;
use super::timers::Timer;
use super::{Output, SegmentFlags, SegmentHeader, SegmentPayload, SequenceNumber, Settings, Span, State};

/// Bytes of a cookie (RFC 7413, 4.1.1).
pub const COOKIE_LEN: core::ops::RangeInclusive<usize> = 4..=COOKIE_LEN_MAX;
/// The most.
pub const COOKIE_LEN_MAX: usize = 16;

/// Bytes of options at most, which a SYN nearly has.
const OPTIONS_LEN_MAX: usize = 40;

/// What a server gives to who may send it data in a SYN; one of no bytes asks for that.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cookie {
    len: u8,
    bytes: [u8; COOKIE_LEN_MAX],
}

impl Cookie {
    /// None yet: asks for one.
    pub const REQUEST: Self = Self { len: 0, bytes: [0; COOKIE_LEN_MAX] };

    /// The cookie in an option. None: it has a length that no cookie has.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let is_cookie = COOKIE_LEN.contains(&bytes.len()) && bytes.len().is_multiple_of(2);
        if !bytes.is_empty() && !is_cookie {
            return None;
        }
        let mut cookie = Self { len: u8::try_from(bytes.len()).ok()?, ..Self::REQUEST };
        cookie.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(cookie)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether it asks for one.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        self.len == 0
    }
}

/// What goes with a SYN.
#[derive(Clone, Copy, Default, Debug)]
pub struct FastOpen<'a> {
    /// The option; none for a SYN without it, which may carry data all the same where both sides know each other.
    pub option: Option<Cookie>,
    /// Data, of which goes what fits.
    pub data: &'a [u8],
}

/// How it went (`tcpi_fastopen_client_fail`, in Linux's numbers).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(u8)]
pub(super) enum FastOpenFailure {
    /// It did not fail, or was not tried.
    #[default]
    None = 0,
    /// There was no cookie.
    NoCookie = 1,
    /// The data was not acknowledged with the SYN.
    NotAcknowledged = 2,
    /// The SYN was sent again.
    Repeated = 3,
}

/// What a connection knows of it.
#[derive(Default)]
pub(super) struct Opened {
    /// The option of our SYN.
    option: Option<Cookie>,
    /// Bytes of data in our SYN.
    data_len: u32,
    /// The cookie that came with the answer.
    granted: Option<Cookie>,
    /// The cookie that was sent is good for nothing on this way, which nobody was told of.
    is_refuted: bool,
    failure: FastOpenFailure,
    /// The number of the peer's SYN, if that began the connection.
    begun_by: Option<SequenceNumber>,
    /// The cookie for our answer to that.
    given: Option<Cookie>,
    is_data_acknowledged: bool,
}

impl Connection {
    /// Makes a connection of a SYN whose data is taken, and answers it; `given` is another cookie for the peer.
    #[must_use]
    pub fn accept_fast(
        now_ns: u64,
        settings: Settings,
        handshake: &Handshake,
        (syn, payload): (&SegmentHeader, SegmentPayload),
        given: Option<Cookie>,
        output: &mut dyn Output,
    ) -> Self {
        let mut connection = Self::new(now_ns, settings, handshake, State::SynReceived);
        (connection.fast_open.begun_by, connection.fast_open.given) = (Some(syn.sequence), given);
        if payload.len > 0 {
            let sequence = syn.sequence.wrapping_add(1);
            let header = SegmentHeader { sequence, flags: SegmentFlags::ACK, ..*syn };
            connection.data_arrives(now_ns, &header, payload, output);
            connection.fast_open.is_data_acknowledged = true;
        }
        connection.emit_syn(now_ns, output);
        connection.acknowledging.note_sent();
        connection.timers.set(Timer::Retransmit, now_ns + connection.round_trip.timeout_ns());
        connection
    }

    /// Whether a segment is the SYN that began the connection, which was not answered in time.
    pub(super) fn is_begun_again(&self, header: &SegmentHeader) -> bool {
        let others = SegmentFlags::ACK | SegmentFlags::RST;
        header.flags.contains(SegmentFlags::SYN)
            && !header.flags.intersects(others)
            && self.fast_open.begun_by == Some(header.sequence)
    }

    /// Whether the peer's SYN began the connection, and not both at once.
    pub(super) const fn is_begun_by_peer(&self) -> bool {
        self.fast_open.begun_by.is_some()
    }

    /// The cookie of our answer, which goes once.
    pub(super) fn given_cookie(&self) -> Option<Cookie> {
        self.fast_open.given.filter(|_| self.retries == 0)
    }

    /// Takes what is to go with the SYN.
    pub(super) fn take_fast_open(&mut self, fast: FastOpen<'_>) {
        self.fast_open.option = fast.option;
        if fast.option.is_some_and(|cookie| cookie.is_request()) {
            self.fast_open.failure = FastOpenFailure::NoCookie;
        }
        if fast.data.is_empty() {
            return;
        }
        let room = self.settings.mss_max.saturating_sub(OPTIONS_LEN_MAX).min(self.settings.send_buffer);
        // Without memory for it the data is sent later, by who calls.
        if let Some(Ok(count)) = self.send.buffer.append(&mut UserReader::from_kernel(fast.data), room) {
            self.fast_open.data_len = length(count);
        }
    }

    /// The option and the data of the SYN that is sent now.
    pub(super) fn syn_content(&self) -> (Option<Cookie>, Span<'_>, u32) {
        let opened = &self.fast_open;
        if self.retries > 0 || opened.data_len == 0 {
            return (opened.option.filter(|_| self.retries == 0), Span::empty(), 0);
        }
        let data = self.send.buffer.span(self.send.next, opened.data_len as usize);
        (opened.option, data, opened.data_len)
    }

    /// Whether a number acknowledges our SYN, with or without data that it carried.
    pub(super) fn acknowledges_syn(&self, acknowledgement: SequenceNumber) -> bool {
        acknowledgement.wrapping_sub(self.send.next) <= self.fast_open.data_len
    }

    /// The answer to our SYN has come: notes what it says of data and cookie.
    pub(super) fn note_fast_answer(&mut self, header: &SegmentHeader) {
        let opened = &mut self.fast_open;
        // One that was not asked for counts for nothing (`tcp_rcv_fastopen_synack`).
        opened.granted = header.fast_open.filter(|cookie| !cookie.is_request() && opened.option.is_some());
        let taken = header.acknowledgement.wrapping_sub(self.send.next);
        if opened.data_len == 0 {
            return;
        }
        opened.is_data_acknowledged = taken == opened.data_len;
        if taken > 0 {
            self.send.buffer.acknowledge(header.acknowledgement);
            self.send.next = header.acknowledgement;
            self.send.small_end = header.acknowledgement;
            self.counters.bytes_sent += u64::from(taken);
            self.counters.bytes_acknowledged += u64::from(taken);
        }
        if opened.is_data_acknowledged {
            return;
        }
        opened.failure = if self.retries > 0 { FastOpenFailure::Repeated } else { FastOpenFailure::NotAcknowledged };
        // Only the SYN that was sent again arrived, it seems.
        opened.is_refuted = self.retries > 0 && opened.option.is_some() && opened.granted.is_none();
    }

    /// The cookie that the peer has given, once. An error: the one that was sent is good for nothing on this way.
    pub fn take_cookie(&mut self) -> Option<Result<Cookie, Errno>> {
        let opened = &mut self.fast_open;
        if let Some(cookie) = opened.granted.take() {
            return Some(Ok(cookie));
        }
        core::mem::take(&mut opened.is_refuted).then_some(Err(Errno::ETIMEDOUT))
    }

    /// Whether data that went with our SYN was acknowledged with it, and else why not.
    pub(super) const fn fast_open_outcome(&self) -> (bool, FastOpenFailure) {
        (self.fast_open.is_data_acknowledged, self.fast_open.failure)
    }
}
