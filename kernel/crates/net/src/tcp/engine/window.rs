//! [`ReceiveWindow`]: how much the peer may send, and how the receive buffer grows.
//!
//! # Theory
//!
//! 1. The window is half of the free memory: the other half pays for what buffers take beside their bytes.
//! 2. Its right edge never moves left (RFC 9293, 3.8.6): what was promised is taken.
//! 3. Silly windows (3.8.6.2.2): a window below one segment, or below a sixteenth of the buffer when more than half of that is used, is shown as closed. After
//!    reads a larger one is told of when it at least doubles what the peer knows of, as on Linux, or opens a closed one by two segments.
//! 4. The buffer grows (dynamic right-sizing, W. Feng et al., 2001): what the program reads in one round trip is what the path and the program carry. The
//!    window must be twice that so that the sender can double in slow start, and the buffer twice the window. When the rate grows fast,
//!    more is added in proportion.
//! 5. The receiver's round trip comes from echoed timestamps, at their resolution of a millisecond, and from the handshake below that.

use super::SequenceNumber;
use super::Settings;
use super::sequence::{distance, length};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveWindow {
    /// The number behind the last that the peer may send.
    edge: SequenceNumber,
    scale: u8,
    /// What was read when this round trip began, in all, and when that was.
    round_start_bytes: u64,
    round_start_ns: u64,
    read_bytes: u64,
    /// What was read in the best round trip.
    space: u64,
    round_trip_ns: u64,
}

impl ReceiveWindow {
    /// `window` was offered from `next` on.
    pub(super) fn new(next: SequenceNumber, window: u32, scale: u8, mss: u32, now_ns: u64) -> Self {
        Self {
            edge: next.wrapping_add(window),
            scale,
            round_start_bytes: 0,
            round_start_ns: now_ns,
            read_bytes: 0,
            space: u64::from(window.min(10 * mss)),
            round_trip_ns: 0,
        }
    }

    /// What the peer may still send.
    pub(super) const fn left(&self, next: SequenceNumber) -> u32 {
        distance(next, self.edge)
    }

    /// The number behind the last that the peer may send.
    pub(super) const fn edge(&self) -> SequenceNumber {
        self.edge
    }

    /// Our shift.
    pub(super) const fn scale(&self) -> u8 {
        self.scale
    }

    /// The window that there is now with `buffer`, of which `footprint` is taken, before the rule of the right edge.
    pub(super) fn available(&self, settings: &Settings, buffer: usize, footprint: usize, segment_len: u32) -> u32 {
        let mut whole = buffer / 2;
        let mut free = buffer.saturating_sub(footprint) / 2;
        if settings.window_clamp != 0 {
            whole = whole.min(settings.window_clamp);
            free = free.min(settings.window_clamp);
        }
        let segment_len = (segment_len as usize).min(whole);
        if free < whole / 2 && (free < whole / 16 || free < segment_len) {
            return 0;
        }
        length(free).min((u32::from(u16::MAX)) << self.scale)
    }

    /// The field of a segment that is sent now, and moves the edge.
    pub(super) fn offer(&mut self, next: SequenceNumber, available: u32) -> u16 {
        let left = self.left(next);
        let unit = 1_u32 << self.scale;
        let window = if available < left { left.div_ceil(unit) } else { available >> self.scale };
        let field = u16::try_from(window).unwrap_or(u16::MAX);
        let offered = u32::from(field) << self.scale;
        if offered > left {
            self.edge = next.wrapping_add(offered);
        }
        field
    }

    /// Whether an empty buffer would be worth telling of: if not, nothing less is ([`ReceiveWindow::available`]).
    #[inline]
    pub(super) fn may_be_worth_telling(&self, next: SequenceNumber, buffer: usize) -> bool {
        self.left(next).saturating_mul(2) <= length(buffer / 2)
    }

    /// Whether the peer ought to hear of a larger window.
    pub(super) fn is_worth_telling(&self, next: SequenceNumber, available: u32, segment_len: u32) -> bool {
        let left = self.left(next);
        available >= left.saturating_mul(2) && available >= left.saturating_add(segment_len.saturating_mul(2)).max(1)
    }

    /// A sample of the round trip.
    pub(super) fn sample_round_trip(&mut self, sample_ns: u64) {
        self.round_trip_ns = match self.round_trip_ns {
            0 => sample_ns,
            known => known - known / 8 + sample_ns / 8,
        };
    }

    /// The receiver's round trip.
    pub(super) const fn round_trip_ns(&self) -> u64 {
        self.round_trip_ns
    }

    /// What was read in the best round trip.
    pub(super) const fn space(&self) -> u64 {
        self.space
    }

    /// The program has read.
    pub(super) fn note_read(&mut self, len: usize) {
        self.read_bytes += len as u64;
    }

    /// Once a round trip: answers the size that the buffer ought to have, if that is more than `settings` say.
    pub(super) fn grown_buffer(&mut self, settings: &Settings, mss: u32, now_ns: u64) -> Option<usize> {
        let since_ns = now_ns.saturating_sub(self.round_start_ns);
        if self.round_trip_ns == 0 || since_ns < self.round_trip_ns {
            return None;
        }
        let read = self.read_bytes - self.round_start_bytes;
        (self.round_start_bytes, self.round_start_ns) = (self.read_bytes, now_ns);
        if read <= self.space {
            return None;
        }
        let mut window = 2 * read + 16 * u64::from(mss);
        window = window.saturating_add(2 * (window.saturating_mul(read - self.space) / self.space.max(1)));
        self.space = read;
        if settings.is_receive_buffer_fixed {
            return None;
        }
        let buffer = usize::try_from(window.saturating_mul(2)).unwrap_or(usize::MAX).min(settings.receive_buffer_max);
        (buffer > settings.receive_buffer).then_some(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_never_moves_left() {
        let mut window = ReceiveWindow::new(1000, 65_535, 7, 1460, 0);
        let settings = Settings { receive_buffer: 200_000, ..Settings::default() };
        let available = window.available(&settings, settings.receive_buffer, 190_000, 1460);
        assert_eq!(available, 0);
        assert_eq!(window.offer(2000, available), 505);
        assert!(window.edge().wrapping_sub(66_535) < 128);
        let available = window.available(&settings, settings.receive_buffer, 0, 1460);
        assert_eq!((available, window.offer(2000, available)), (100_000, 781));
        assert_eq!(window.edge(), 2000 + (781 << 7));
    }

    #[test]
    fn small_openings_are_not_told_of() {
        let window = ReceiveWindow::new(1000, 0, 0, 1000, 0);
        assert!(!window.is_worth_telling(1000, 0, 1000));
        assert!(!window.is_worth_telling(1000, 1999, 1000));
        assert!(window.is_worth_telling(1000, 2000, 1000));
        let window = ReceiveWindow::new(1000, 10_000, 0, 1000, 0);
        assert!(!window.is_worth_telling(1000, 19_999, 1000));
        assert!(window.is_worth_telling(1000, 20_000, 1000));
    }

    #[test]
    fn a_fast_reader_gets_a_larger_buffer() {
        let settings = Settings::default();
        let mut window = ReceiveWindow::new(0, 65_535, 7, 1460, 0);
        window.sample_round_trip(1000);
        window.note_read(60_000);
        assert_eq!(window.grown_buffer(&settings, 1460, 500), None);
        let grown = window.grown_buffer(&settings, 1460, 1000).expect("more than the first window was read");
        assert!(grown > 4 * 60_000 && grown < settings.receive_buffer_max);
        window.note_read(60_000);
        assert_eq!(window.grown_buffer(&settings, 1460, 2000), None);
    }
}
