//! What SYN segments say: [`Negotiated`] options, and the [`Handshake`] that a connection is made of.
//!
//! # Theory
//!
//! 1. An option holds for a connection when both SYNs carry it (RFC 7323, 1.3 and 3.2; RFC 2018, 2). The answer to a SYN carries only
//!    what that SYN did.
//! 2. The window field of a SYN is never scaled (RFC 7323, 2.2).
//! 3. Half-open connections are not engines: whoever listens keeps a [`Handshake`] for each, or nothing at all (SYN cookies, RFC 4987), and
//!    makes an engine when the third segment comes. That segment is then given to the engine like any other.
//! 4. Without an MSS option the MSS is 536 (RFC 9293, 3.7.1).

use super::{SegmentFlags, SegmentHeader, SequenceNumber, Settings, ecn};

/// The largest shift of a window (RFC 7323, 2.3).
pub const WINDOW_SCALE_MAX: u8 = 14;
/// What a peer takes that does not say (RFC 9293, 3.7.1).
pub const MSS_DEFAULT: u16 = 536;
/// The least that we take a peer's word for; Linux's `tcp_min_snd_mss`.
pub(super) const MSS_MIN: u16 = 48;

/// What both sides have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// What the peer takes in a segment, options included.
    pub peer_mss: u16,
    /// Shifts of the peer's windows and of ours, if both sides scale.
    pub window_scales: Option<(u8, u8)>,
    /// Selective acknowledgements.
    pub has_sack: bool,
    /// Timestamps.
    pub has_timestamps: bool,
    /// Explicit congestion notification.
    pub has_ecn: bool,
}

impl Negotiated {
    /// What a SYN offers and we take, with our `settings`.
    #[must_use]
    pub fn from_syn(syn: &SegmentHeader, settings: &Settings) -> Self {
        Self {
            peer_mss: syn.mss.filter(|mss| *mss != 0).unwrap_or(MSS_DEFAULT).max(MSS_MIN),
            window_scales: syn.window_scale.map(|scale| (scale.min(WINDOW_SCALE_MAX), window_scale(settings))),
            has_sack: syn.is_sack_permitted,
            has_timestamps: syn.timestamps.is_some(),
            has_ecn: ecn::is_agreed(syn, settings),
        }
    }
}

/// A connection that a peer has asked for: all that its SYN and our answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The number of our SYN.
    pub initial_sequence: SequenceNumber,
    /// The number of the peer's SYN.
    pub peer_initial_sequence: SequenceNumber,
    /// What is added to our clock of milliseconds for timestamps (random, so that nobody learns the time since boot).
    pub timestamp_offset: u32,
    /// The options that hold.
    pub options: Negotiated,
    /// The window field of our answer.
    pub receive_window: u16,
    /// The peer's window when the handshake was complete, scaled.
    pub send_window: u32,
    /// The peer's last timestamp, if timestamps hold.
    pub peer_timestamp: u32,
    /// From our answer to its acknowledgement, if the answer was sent once.
    pub round_trip_ns: Option<u64>,
    /// Our answer was sent again: the first window is one segment (RFC 5681, 3.1).
    pub was_retransmitted: bool,
}

impl Handshake {
    /// Of a SYN that has come.
    #[must_use]
    pub fn from_syn(
        syn: &SegmentHeader,
        settings: &Settings,
        initial_sequence: SequenceNumber,
        timestamp_offset: u32,
    ) -> Self {
        Self {
            initial_sequence,
            peer_initial_sequence: syn.sequence,
            timestamp_offset,
            options: Negotiated::from_syn(syn, settings),
            receive_window: initial_window(settings),
            send_window: u32::from(syn.window),
            peer_timestamp: syn.timestamps.map_or(0, |(value, _)| value),
            round_trip_ns: None,
            was_retransmitted: false,
        }
    }

    /// The answer to the SYN, at this time.
    #[must_use]
    pub fn answer(&self, settings: &Settings, now_ns: u64) -> SegmentHeader {
        let mut flags = SegmentFlags::SYN | SegmentFlags::ACK;
        flags.set(SegmentFlags::ECE, self.options.has_ecn);
        SegmentHeader {
            sequence: self.initial_sequence,
            acknowledgement: self.peer_initial_sequence.wrapping_add(1),
            flags,
            window: self.receive_window,
            mss: Some(advertised_mss(settings)),
            window_scale: self.options.window_scales.map(|(_, ours)| ours),
            is_sack_permitted: self.options.has_sack,
            timestamps: self
                .options
                .has_timestamps
                .then(|| (timestamp(now_ns, self.timestamp_offset), self.peer_timestamp)),
            ..SegmentHeader::default()
        }
    }

    /// The third segment: notes its window, and the round trip since the answer was sent at `answered_ns`.
    pub fn complete(&mut self, header: &SegmentHeader, answered_ns: u64, now_ns: u64) {
        self.send_window = u32::from(header.window) << self.options.window_scales.map_or(0, |(theirs, _)| theirs);
        if !self.was_retransmitted {
            self.round_trip_ns = Some(now_ns.saturating_sub(answered_ns));
        }
    }
}

/// The shift that the largest receive buffer needs.
#[must_use]
pub fn window_scale(settings: &Settings) -> u8 {
    let mut space = settings.receive_buffer_max.max(settings.receive_buffer) >> 16;
    let mut scale = 0;
    while space > 0 && scale < WINDOW_SCALE_MAX {
        space >>= 1;
        scale += 1;
    }
    scale
}

/// The window field of our SYNs: half of the buffer, as its other half pays for what memory takes beside the bytes.
#[must_use]
pub fn initial_window(settings: &Settings) -> u16 {
    let mut window = settings.receive_buffer / 2;
    if settings.window_clamp != 0 {
        window = window.min(settings.window_clamp);
    }
    u16::try_from(window).unwrap_or(u16::MAX)
}

/// The MSS of our SYNs.
#[must_use]
pub fn advertised_mss(settings: &Settings) -> u16 {
    u16::try_from(settings.mss_max).unwrap_or(u16::MAX)
}

/// The clock of our timestamps: milliseconds (RFC 7323, 5.4).
#[must_use]
pub fn timestamp(now_ns: u64, offset: u32) -> u32 {
    let milliseconds = (now_ns / 1_000_000) & u64::from(u32::MAX);
    u32::try_from(milliseconds).unwrap_or(0).wrapping_add(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_syn_offers_is_answered() {
        let settings = Settings::default();
        let syn = SegmentHeader { sequence: 7, mss: Some(1000), window_scale: Some(40), ..SegmentHeader::default() };
        let handshake = Handshake::from_syn(&syn, &settings, 100, 0);
        let answer = handshake.answer(&settings, 5_000_000);
        assert_eq!(handshake.options.window_scales, Some((14, 7)));
        assert_eq!((answer.sequence, answer.acknowledgement, answer.window), (100, 8, u16::MAX));
        assert_eq!((answer.mss, answer.window_scale, answer.timestamps), (Some(1460), Some(7), None));
        assert!(!answer.is_sack_permitted);
    }

    #[test]
    fn a_peer_without_options_takes_536_bytes() {
        let options = Negotiated::from_syn(&SegmentHeader::default(), &Settings::default());
        assert_eq!((options.peer_mss, options.window_scales), (MSS_DEFAULT, None));
    }

    #[test]
    fn the_third_segment_brings_window_and_round_trip() {
        let syn = SegmentHeader { window_scale: Some(3), ..SegmentHeader::default() };
        let mut handshake = Handshake::from_syn(&syn, &Settings::default(), 1, 0);
        handshake.complete(&SegmentHeader { window: 100, ..SegmentHeader::default() }, 1000, 4000);
        assert_eq!((handshake.send_window, handshake.round_trip_ns), (800, Some(3000)));
    }
}
