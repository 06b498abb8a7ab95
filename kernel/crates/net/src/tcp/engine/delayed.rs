//! [`Acknowledging`]: when what was received is acknowledged.
//!
//! # Theory
//!
//! 1. A delayed acknowledgement waits for data to travel with, at most 40 ms at first, and never for more than one full segment that follows
//!    (RFC 9293, 3.8.6.3; RFC 1122, 4.2.3.2). Segments that a device joined count by their bytes.
//! 2. As on Linux a connection begins in quick mode: the first sixteen acknowledgements go out at once, so that the peer's slow start is not held
//!    up. It becomes interactive when we answer data with data in time; then acknowledgements wait again. `TCP_QUICKACK` ends that.
//! 3. The delay follows the time between segments, from 40 to 200 ms. When it has passed in vain it doubles, or, on an interactive connection,
//!    shows that this one is not.
//! 4. Segments out of order, ones that fill a gap, and duplicates are acknowledged at once (RFC 5681, 4.2); the caller sees to that.

/// Linux's `TCP_ATO_MIN` and `TCP_DELACK_MIN`.
const DELAY_MIN_NS: u64 = 40_000_000;
/// Linux's `TCP_DELACK_MAX`.
const DELAY_MAX_NS: u64 = 200_000_000;
/// Linux's `TCP_MAX_QUICKACKS`.
const QUICK_MAX: u32 = 16;

/// Whether an acknowledgement is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Owed {
    /// No.
    #[default]
    Nothing,
    /// It may wait for a while.
    Later,
    /// At once.
    Now,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acknowledging {
    owed: Owed,
    /// 0: no data has come yet.
    delay_ns: u64,
    quick: u32,
    is_interactive: bool,
    last_data_ns: u64,
    /// Bytes since the last acknowledgement.
    unacknowledged: u32,
    /// The peer's segment, as far as we have seen.
    segment_len: u32,
}

impl Acknowledging {
    /// Of a new connection, for which `TCP_QUICKACK` is set or not.
    pub(super) fn new(is_quick: bool) -> Self {
        Self { is_interactive: !is_quick, ..Self::default() }
    }

    /// Takes note of `len` bytes in order, in `segments` segments.
    pub(super) fn note_data(
        &mut self,
        len: u32,
        segments: u32,
        window: u32,
        timeout_ns: impl Fn() -> u64,
        now_ns: u64,
    ) {
        let segment_len = if segments <= 1 { len } else { len.div_ceil(segments) };
        if segment_len > self.segment_len {
            self.segment_len = segment_len;
        }
        self.unacknowledged = self.unacknowledged.saturating_add(len);
        let pause_ns = now_ns.saturating_sub(self.last_data_ns);
        self.last_data_ns = now_ns;
        if self.delay_ns == 0 {
            self.begin_quick(window);
            self.delay_ns = DELAY_MIN_NS;
        } else if pause_ns <= DELAY_MIN_NS / 2 {
            self.delay_ns = self.delay_ns / 2 + DELAY_MIN_NS / 2;
        } else if pause_ns < self.delay_ns {
            self.delay_ns = (self.delay_ns / 2 + pause_ns).min(timeout_ns());
        } else if pause_ns > timeout_ns() {
            // The peer had stopped and begins again, perhaps with its first window.
            self.begin_quick(window);
        }
        let is_due = self.unacknowledged > self.segment_len || (self.quick > 0 && !self.is_interactive);
        self.owe(if is_due { Owed::Now } else { Owed::Later });
    }

    /// An acknowledgement is owed, if not sooner already.
    pub(super) fn owe(&mut self, owed: Owed) {
        if self.owed != Owed::Now && owed != Owed::Nothing {
            self.owed = owed;
        }
    }

    /// Something is out of order: acknowledgements are quick for a while.
    pub(super) fn note_disorder(&mut self, window: u32) {
        self.begin_quick(window);
        self.is_interactive = false;
    }

    /// Whether one is owed.
    pub(super) const fn owed(&self) -> Owed {
        self.owed
    }

    /// One was sent, alone or with data.
    pub(super) fn note_sent(&mut self) {
        self.owed = Owed::Nothing;
        self.unacknowledged = 0;
        self.quick = self.quick.saturating_sub(1);
    }

    /// Data was sent: the connection may have become interactive by that.
    pub(super) fn note_answer(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.last_data_ns) < self.delay_ns {
            self.is_interactive = true;
        }
    }

    /// Whether data is answered with data.
    pub(super) const fn is_interactive(&self) -> bool {
        self.is_interactive
    }

    /// How long the one owed waits.
    pub(super) fn delay_ns(&self, smoothed_ns: u64) -> u64 {
        let mut delay_ns = self.delay_ns.max(DELAY_MIN_NS);
        if delay_ns > DELAY_MIN_NS && smoothed_ns > 0 {
            delay_ns = delay_ns.min(smoothed_ns.max(DELAY_MIN_NS));
        }
        delay_ns.min(DELAY_MAX_NS)
    }

    /// Nothing came that it could have travelled with.
    pub(super) fn expire(&mut self, timeout_ns: u64) {
        if self.is_interactive {
            self.is_interactive = false;
            self.delay_ns = DELAY_MIN_NS;
        } else {
            self.delay_ns = (self.delay_ns * 2).min(timeout_ns);
        }
        self.owed = Owed::Now;
    }

    /// The program has read all there was. On a connection that goes one way this is when the peer may know.
    pub(super) fn note_drained(&mut self) {
        if self.owed == Owed::Later && !self.is_interactive && self.unacknowledged > 0 && self.quick > 0 {
            self.owed = Owed::Now;
        }
    }

    /// `TCP_QUICKACK`.
    pub(super) fn set_quick(&mut self, is_quick: bool) {
        self.is_interactive = !is_quick;
        if is_quick && self.owed == Owed::Later {
            self.owed = Owed::Now;
        }
    }

    /// The peer's segments, as far as we have seen; 0 for not yet.
    pub(super) const fn segment_len(&self) -> u32 {
        self.segment_len
    }

    /// When data came last.
    pub(super) const fn last_data_ns(&self) -> u64 {
        self.last_data_ns
    }

    fn begin_quick(&mut self, window: u32) {
        let count = (window / (2 * self.segment_len.max(1))).clamp(2, QUICK_MAX);
        self.quick = self.quick.max(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_first_are_quick_and_then_every_second_segment_counts() {
        let mut policy = Acknowledging::default();
        let mut now_ns = 1000 * MS;
        for _ in 0..16 {
            policy.note_data(1000, 1, 64_000, || 200 * MS, now_ns);
            assert_eq!(policy.owed(), Owed::Now);
            policy.note_sent();
            now_ns += MS;
        }
        policy.note_data(1000, 1, 64_000, || 200 * MS, now_ns);
        assert_eq!((policy.owed(), policy.delay_ns(50 * MS)), (Owed::Later, 40 * MS));
        policy.note_data(1000, 1, 64_000, || 200 * MS, now_ns);
        assert_eq!(policy.owed(), Owed::Now);
        policy.note_sent();
        policy.note_data(64_000, 64, 64_000, || 200 * MS, now_ns);
        assert_eq!((policy.owed(), policy.segment_len()), (Owed::Now, 1000));
    }

    #[test]
    fn answers_make_it_interactive_and_silence_undoes_it() {
        let mut policy = Acknowledging::default();
        policy.note_data(1, 1, 64_000, || 200 * MS, 1000 * MS);
        policy.note_sent();
        policy.note_answer(1001 * MS);
        assert!(policy.is_interactive());
        policy.note_data(1, 1, 64_000, || 200 * MS, 1002 * MS);
        assert_eq!(policy.owed(), Owed::Later);
        policy.expire(200 * MS);
        assert_eq!(policy.owed(), Owed::Now);
        policy.note_sent();
        policy.note_data(1, 1, 64_000, || 200 * MS, 1003 * MS);
        assert_eq!(policy.owed(), Owed::Now);
    }
}
