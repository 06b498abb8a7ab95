//! The acknowledgement of all that is in flight where that is one emission: the short way of requests and answers.

use super::{Fate, Newest, Scoreboard};
use crate::tcp::engine::SequenceNumber;
use crate::tcp::engine::sequence::{is_after, later};

/// What the acknowledgement of the only record says.
#[derive(Clone, Copy, Debug)]
pub(in crate::tcp::engine) struct Sole {
    /// Its bytes.
    pub(in crate::tcp::engine) bytes: u32,
    /// Since it was sent.
    pub(in crate::tcp::engine) round_trip_ns: u64,
    /// As in [`super::Delivery`].
    pub(in crate::tcp::engine) rate: Option<(u64, u64)>,
}

impl Scoreboard {
    /// All has arrived, in the usual case: `to` is the end of the only record, which was sent once, and nothing is amiss.
    /// `None`: this is not the case.
    #[inline]
    pub(in crate::tcp::engine) fn acknowledge_sole(&mut self, to: SequenceNumber, now_ns: u64) -> Option<Sole> {
        let record = self.records.front()?;
        let is_usual = self.records.len() == 1
            && record.end == to
            && record.fate == Fate::InFlight
            && !record.is_repeated
            && self.repeated.is_empty();
        if !is_usual {
            return None;
        }
        let (bytes, sent_ns) = (record.len(), record.sent_ns);
        let round_trip_ns = now_ns.saturating_sub(sent_ns);
        self.delivered += u64::from(bytes);
        let interval_ns = now_ns.saturating_sub(record.delivered_ns);
        let rate = (interval_ns > 0).then(|| (self.delivered - record.delivered, interval_ns));
        self.records.pop_front();
        self.highest = later(self.highest, to);
        if (sent_ns, true) > (self.newest.sent_ns, !is_after(to, self.newest.end)) {
            self.newest = Newest { sent_ns, end: to, round_trip_ns };
        }
        (self.start, self.judged, self.lost_from) = (to, to, to);
        self.delivered_ns = now_ns;
        Some(Sole { bytes, round_trip_ns, rate })
    }
}
