//! [`Scoreboard`]: what was sent, when, and what became of it.
//!
//! # Theory
//!
//! 1. A record stands for one emission: a range of numbers, up to a whole burst that the device cuts. It is in flight, lost (and to be sent
//!    again), or was selectively acknowledged. RFC 6675's pipe is the sum of those in flight.
//! 2. Records are in order and without gaps from the first number not acknowledged to the next to be sent. SACK blocks that end inside a
//!    record cut it in two, at multiples of its MSS, as those are the segments that a peer can have. This bounds the records by
//!    the window divided by the MSS.
//! 3. RACK (RFC 8985) asks for the records in the order in which they were sent. Those sent once are so by their numbers: a cursor walks
//!    over them and no record is looked at again once it was judged. Those sent again stand in a queue of their own. So the work is
//!    constant per record, not per acknowledgement.
//! 4. Delivery is counted so that each record knows how much had been delivered when it was sent: the rate between is a sample of
//!    what the path delivers.

mod sole;

use alloc::collections::VecDeque;

use super::sequence::{distance, earlier, is_after, is_before};
use super::{SackBlock, SequenceNumber};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not known.
    InFlight,
    /// To be sent again.
    Lost,
    /// Has arrived.
    Sacked,
}

/// One emission.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) start: SequenceNumber,
    pub(super) end: SequenceNumber,
    pub(super) mss: u16,
    pub(super) fate: Fate,
    /// Was sent more than once.
    pub(super) is_repeated: bool,
    /// Of the last time.
    pub(super) sent_ns: u64,
    /// Bytes delivered when it was sent, and when the last of those were.
    delivered: u64,
    delivered_ns: u64,
}

impl Record {
    fn len(&self) -> u32 {
        self.end.wrapping_sub(self.start)
    }
}

/// What an acknowledgement said, in sum.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivery {
    /// Bytes that are known to have arrived, and were not before.
    pub(super) bytes: u32,
    /// Of these, by SACK.
    pub(super) sacked_bytes: u32,
    /// Since the first of those acknowledged in order was sent, once only (Karn's rule).
    pub(super) round_trip_ns: Option<u64>,
    /// Since the last of all of those was sent, once only.
    pub(super) latest_round_trip_ns: Option<u64>,
    /// A record that was sent again is among those acknowledged in order.
    pub(super) was_repeated: bool,
    /// The number behind the first of those that were sent once.
    pub(super) original_end: Option<SequenceNumber>,
    /// Something below the highest number known to have arrived has arrived, and was sent once: the path reorders.
    pub(super) is_reordered: bool,
    /// Bytes and nanoseconds between the sending of the last record and now.
    pub(super) rate: Option<(u64, u64)>,
}

/// The most recently sent record that has arrived: RACK's own state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Newest {
    pub(super) sent_ns: u64,
    pub(super) end: SequenceNumber,
    pub(super) round_trip_ns: u64,
}

impl Newest {
    /// Whether it was sent behind the record.
    fn was_sent_after(&self, record: &Record) -> bool {
        self.sent_ns > record.sent_ns || (self.sent_ns == record.sent_ns && is_after(self.end, record.end))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Scoreboard {
    records: VecDeque<Record>,
    /// The numbers of all records together: from the first to the one behind the last.
    start: SequenceNumber,
    end: SequenceNumber,
    sacked: u32,
    lost: u32,
    /// Originals below were judged.
    judged: SequenceNumber,
    /// Sent again, in order of that: first and last number, and when.
    repeated: VecDeque<(SequenceNumber, SequenceNumber, u64)>,
    /// Nothing below is lost.
    lost_from: SequenceNumber,
    /// The highest number known to have arrived.
    highest: SequenceNumber,
    newest: Newest,
    delivered: u64,
    delivered_ns: u64,
}

impl Scoreboard {
    /// Nothing was sent; the first number will be `start`.
    pub(super) const fn new(start: SequenceNumber) -> Self {
        Self {
            records: VecDeque::new(),
            start,
            end: start,
            sacked: 0,
            lost: 0,
            judged: start,
            repeated: VecDeque::new(),
            lost_from: start,
            highest: start,
            newest: Newest { sent_ns: 0, end: start, round_trip_ns: 0 },
            delivered: 0,
            delivered_ns: 0,
        }
    }

    /// Nothing waits for an acknowledgement.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes known to have arrived above a gap.
    pub(super) const fn sacked(&self) -> u32 {
        self.sacked
    }

    /// Bytes to be sent again.
    pub(super) const fn lost(&self) -> u32 {
        self.lost
    }

    /// Bytes that were sent again and are in flight.
    pub(super) fn repeated_len(&self) -> u32 {
        let in_flight = |record: &&Record| record.is_repeated && record.fate == Fate::InFlight;
        self.records.iter().filter(in_flight).map(Record::len).sum()
    }

    /// Bytes in the network.
    pub(super) const fn in_flight(&self) -> u32 {
        self.end.wrapping_sub(self.start) - self.sacked - self.lost
    }

    /// Nothing has come out of turn and nothing was sent twice: RACK has nothing to find.
    pub(super) fn has_nothing_to_judge(&self) -> bool {
        self.sacked == 0 && self.repeated.is_empty()
    }

    /// The first record: the one that a timeout is for.
    pub(super) fn first(&self) -> Option<&Record> {
        self.records.front()
    }

    /// RACK's newest.
    pub(super) const fn newest(&self) -> &Newest {
        &self.newest
    }

    /// Makes room for one emission more. False: there is no memory for it, and what is in flight comes first.
    pub(super) fn reserve(&mut self) -> bool {
        self.records.try_reserve(1).is_ok()
    }

    /// Notes an emission of new data.
    #[inline]
    pub(super) fn push(&mut self, start: SequenceNumber, end: SequenceNumber, mss: u16, now_ns: u64) {
        debug_assert!(self.records.back().is_none_or(|last| last.end == start), "records have no gaps");
        if self.records.is_empty() {
            self.delivered_ns = now_ns;
            self.start = start;
        }
        self.end = end;
        self.records.push_back(Record {
            start,
            end,
            mss,
            fate: Fate::InFlight,
            is_repeated: false,
            sent_ns: now_ns,
            delivered: self.delivered,
            delivered_ns: self.delivered_ns,
        });
    }

    /// All before `to` has arrived.
    pub(super) fn acknowledge(&mut self, to: SequenceNumber, now_ns: u64, delivery: &mut Delivery) {
        while let Some(record) = self.records.front().copied() {
            if !is_after(to, record.start) {
                break;
            }
            let arrived = if is_before(to, record.end) { Record { end: to, ..record } } else { record };
            if arrived.fate == Fate::Sacked {
                self.sacked -= arrived.len();
            } else {
                if arrived.fate == Fate::Lost {
                    self.lost -= arrived.len();
                }
                self.note_arrival(&arrived, now_ns, delivery);
                delivery.was_repeated |= arrived.is_repeated;
                if !arrived.is_repeated && delivery.round_trip_ns.is_none() {
                    delivery.round_trip_ns = Some(now_ns.saturating_sub(arrived.sent_ns));
                }
            }
            if arrived.end == record.end {
                self.records.pop_front();
            } else if let Some(first) = self.records.front_mut() {
                first.start = to;
            }
        }
        if is_before(self.start, to) {
            self.start = earlier(to, self.end);
        }
        if is_before(self.judged, to) {
            self.judged = to;
        }
        if is_before(self.lost_from, to) {
            self.lost_from = to;
        }
        if is_before(self.highest, to) {
            self.highest = to;
        }
        if self.records.is_empty() {
            self.repeated.clear();
        }
        if delivery.bytes > 0 {
            self.delivered_ns = now_ns;
        }
    }

    /// A block has arrived.
    pub(super) fn sack(&mut self, block: SackBlock, now_ns: u64, delivery: &mut Delivery) {
        let (Some(first), Some(last)) = (self.records.front(), self.records.back()) else { return };
        let (from, to) = block;
        if !is_after(to, from) || is_before(from, first.start) || is_after(to, last.end) {
            return;
        }
        let mut at = self.split_for_start(from);
        while let Some(record) = self.records.get(at).copied() {
            if !is_before(record.start, to) {
                break;
            }
            if is_after(record.end, to) && !self.split_for_end(at, to) {
                break;
            }
            self.sack_record(at, now_ns, delivery);
            at += 1;
        }
        if delivery.sacked_bytes > 0 {
            self.delivered_ns = now_ns;
        }
    }

    /// Marks what RACK takes for lost: what was sent before the newest arrival, `patience_ns` ago or longer. Answers whether there was any, and
    /// when there will be the next if nothing arrives; 0 if nothing waits.
    pub(super) fn detect_lost(&mut self, patience_ns: u64, now_ns: u64) -> (bool, u64) {
        let newest = self.newest;
        let (mut has_lost, mut next_ns) = (false, u64::MAX);
        let mut at = self.find(self.judged);
        while let Some(record) = self.records.get(at).copied() {
            if record.fate == Fate::InFlight && !record.is_repeated {
                if !newest.was_sent_after(&record) {
                    break;
                }
                let due_ns = record.sent_ns.saturating_add(patience_ns);
                if due_ns > now_ns {
                    next_ns = due_ns;
                    break;
                }
                self.mark_lost(at);
                has_lost = true;
            }
            self.judged = record.end;
            at += 1;
        }
        while let Some((start, end, sent_ns)) = self.repeated.front().copied() {
            let mut at = self.find(start);
            let mut is_waiting = false;
            while let Some(record) = self.records.get(at).copied() {
                if !is_before(record.start, end) {
                    break;
                }
                if record.fate == Fate::InFlight && record.is_repeated && record.sent_ns == sent_ns {
                    let due_ns = sent_ns.saturating_add(patience_ns);
                    if !newest.was_sent_after(&record) {
                        is_waiting = true;
                    } else if due_ns > now_ns {
                        next_ns = next_ns.min(due_ns);
                        is_waiting = true;
                    } else {
                        self.mark_lost(at);
                        has_lost = true;
                    }
                }
                at += 1;
            }
            if is_waiting {
                break;
            }
            self.repeated.pop_front();
        }
        (has_lost, if next_ns == u64::MAX { 0 } else { next_ns })
    }

    /// Takes everything in flight for lost: a timeout. If the first has arrived, by what the peer said, and is not acknowledged, then the peer
    /// has dropped it, and nothing that it said counts (RFC 2018, 8).
    pub(super) fn mark_all_lost(&mut self) {
        if self.records.front().is_some_and(|first| first.fate == Fate::Sacked) {
            for record in self.records.iter_mut().filter(|record| record.fate == Fate::Sacked) {
                record.fate = Fate::InFlight;
            }
            self.sacked = 0;
        }
        for at in 0..self.records.len() {
            self.mark_lost(at);
        }
        self.repeated.clear();
    }

    /// Takes the first record's first segment for lost, if it was not sent again yet: without SACK (RFC 6582).
    pub(super) fn mark_first_lost(&mut self) {
        if let Some(first) = self.records.front().copied() {
            let segment_end = first.start.wrapping_add(u32::from(first.mss));
            if is_before(segment_end, first.end) {
                self.split(0, segment_end);
            }
            self.mark_lost(0);
        }
    }

    /// Takes for lost what is longer than `mss` in one segment: it does not get through. Answers whether there was any.
    pub(super) fn mark_longer_lost(&mut self, mss: u16) -> bool {
        let mut has_lost = false;
        for at in 0..self.records.len() {
            if let Some(record) = self.records.get_mut(at)
                && record.mss > mss
            {
                let is_long = record.len() > u32::from(mss);
                record.mss = mss;
                if is_long && record.fate == Fate::InFlight {
                    self.mark_lost(at);
                    has_lost = true;
                }
            }
        }
        has_lost
    }

    /// What was taken for lost is in flight after all.
    pub(super) fn unmark_lost(&mut self) {
        for record in &mut self.records {
            if record.fate == Fate::Lost {
                record.fate = Fate::InFlight;
                if record.is_repeated && self.repeated.try_reserve(1).is_ok() {
                    self.repeated.push_back((record.start, record.end, record.sent_ns));
                }
            }
        }
        self.lost = 0;
        if let Some(first) = self.records.front() {
            self.judged = first.start;
        }
    }

    /// The first lost range, at most `len_max` numbers of it: what is to be sent again. It is cut off from what follows.
    pub(super) fn take_lost(&mut self, len_max: u32) -> Option<Record> {
        if self.lost == 0 {
            return None;
        }
        let mut at = self.find(self.lost_from);
        while self.records.get(at).is_some_and(|record| record.fate != Fate::Lost) {
            at += 1;
        }
        let record = *self.records.get(at)?;
        self.lost_from = record.start;
        if record.len() > len_max {
            self.split(at, record.start.wrapping_add(len_max.max(1)));
        }
        self.records.get(at).copied()
    }

    /// The last segment, for a tail loss probe.
    pub(super) fn take_last(&mut self) -> Option<Record> {
        let at = self.records.len().checked_sub(1)?;
        let record = *self.records.get(at)?;
        let segments = (record.len().saturating_sub(1)) / u32::from(record.mss.max(1));
        if segments > 0 {
            self.split(at, record.start.wrapping_add(segments * u32::from(record.mss)));
        }
        self.records.back().copied()
    }

    /// The record that begins at `start` was sent again.
    pub(super) fn note_repeated(&mut self, start: SequenceNumber, now_ns: u64) {
        let at = self.find(start);
        let (delivered, delivered_ns) = (self.delivered, self.delivered_ns);
        let Some(record) = self.records.get_mut(at) else { return };
        if record.fate == Fate::Lost {
            self.lost -= record.len();
            record.fate = Fate::InFlight;
        }
        record.is_repeated = true;
        record.sent_ns = now_ns;
        (record.delivered, record.delivered_ns) = (delivered, delivered_ns);
        let entry = (record.start, record.end, now_ns);
        // Whose loss is not noted is found by the timeout.
        if self.repeated.try_reserve(1).is_ok() {
            self.repeated.push_back(entry);
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.records = VecDeque::new();
        self.repeated = VecDeque::new();
        (self.sacked, self.lost) = (0, 0);
    }

    /// Whether more than `segments` segments were selectively acknowledged (RFC 6675's DupThresh).
    pub(super) fn is_sacked_beyond(&self, segments: u32, mss: u32) -> bool {
        self.sacked >= segments * mss
    }

    #[inline]
    fn note_arrival(&mut self, record: &Record, now_ns: u64, delivery: &mut Delivery) {
        delivery.bytes += record.len();
        self.delivered += u64::from(record.len());
        if !record.is_repeated {
            delivery.latest_round_trip_ns = Some(now_ns.saturating_sub(record.sent_ns));
            delivery.is_reordered |= is_before(record.end, self.highest);
            delivery.original_end = Some(delivery.original_end.map_or(record.end, |end| earlier(end, record.end)));
        }
        if is_after(record.end, self.highest) {
            self.highest = record.end;
        }
        let is_newer = record.sent_ns > self.newest.sent_ns
            || (record.sent_ns == self.newest.sent_ns && is_after(record.end, self.newest.end));
        if is_newer {
            let round_trip_ns = now_ns.saturating_sub(record.sent_ns);
            // What comes sooner than anything could was the first of two emissions (RFC 8985, 6.2, step 2).
            if !record.is_repeated || round_trip_ns >= self.newest.round_trip_ns / 2 {
                self.newest = Newest { sent_ns: record.sent_ns, end: record.end, round_trip_ns };
            }
        }
        let interval_ns = now_ns.saturating_sub(record.delivered_ns);
        if interval_ns > 0 {
            delivery.rate = Some((self.delivered - record.delivered, interval_ns));
        }
    }

    fn sack_record(&mut self, at: usize, now_ns: u64, delivery: &mut Delivery) {
        let Some(record) = self.records.get_mut(at) else { return };
        if record.fate == Fate::Sacked {
            return;
        }
        let len = record.len();
        if record.fate == Fate::Lost {
            self.lost -= len;
        }
        record.fate = Fate::Sacked;
        self.sacked += len;
        delivery.sacked_bytes += len;
        let record = *record;
        self.note_arrival(&record, now_ns, delivery);
    }

    fn mark_lost(&mut self, at: usize) {
        if let Some(record) = self.records.get_mut(at)
            && record.fate == Fate::InFlight
        {
            record.fate = Fate::Lost;
            self.lost += record.len();
            if is_before(record.start, self.lost_from) {
                self.lost_from = record.start;
            }
        }
    }

    /// The record that contains a number, or the one behind the last.
    fn find(&self, sequence: SequenceNumber) -> usize {
        match self.records.front() {
            Some(first) if is_after(first.end, sequence) => 0,
            _ => self.records.partition_point(|record| !is_after(record.end, sequence)),
        }
    }

    /// The first record that lies behind `from` entirely, after cutting the one that contains it.
    fn split_for_start(&mut self, from: SequenceNumber) -> usize {
        let at = self.find(from);
        let Some(record) = self.records.get(at).copied() else { return at };
        if !is_after(from, record.start) || record.fate == Fate::Sacked {
            return at;
        }
        let mss = u32::from(record.mss.max(1));
        let cut = distance(record.start, from).div_ceil(mss) * mss;
        if cut < record.len() {
            self.split(at, record.start.wrapping_add(cut));
        }
        at + 1
    }

    /// Cuts a record so that it ends at `to` or before. False: nothing of it is left.
    fn split_for_end(&mut self, at: usize, to: SequenceNumber) -> bool {
        let Some(record) = self.records.get(at).copied() else { return false };
        if record.fate == Fate::Sacked {
            return true;
        }
        let mss = u32::from(record.mss.max(1));
        let cut = distance(record.start, to) / mss * mss;
        if cut > 0 {
            self.split(at, record.start.wrapping_add(cut));
        }
        cut > 0
    }

    fn split(&mut self, at: usize, cut: SequenceNumber) {
        let Some(record) = self.records.get_mut(at) else { return };
        debug_assert!(is_after(cut, record.start) && is_before(cut, record.end), "both parts have numbers");
        let rest = Record { start: cut, ..*record };
        record.end = cut;
        self.records.insert(at + 1, rest);
    }

    /// Checks that the sums are right: for tests.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let sum = |fate| self.records.iter().filter(|record| record.fate == fate).map(Record::len).sum::<u32>();
        assert_eq!((self.sacked, self.lost), (sum(Fate::Sacked), sum(Fate::Lost)));
        assert_eq!(self.in_flight(), sum(Fate::InFlight));
        for (record, next) in self.records.iter().zip(self.records.iter().skip(1)) {
            assert_eq!(record.end, next.start);
        }
        let lost = self.records.iter().find(|record| record.fate == Fate::Lost);
        assert!(lost.is_none_or(|record| !is_before(record.start, self.lost_from)));
    }
}

#[cfg(test)]
mod tests {
    use testkit::Random;

    use super::*;

    /// Ten bursts of three segments of 100 bytes, one each microsecond.
    fn board() -> Scoreboard {
        let mut board = Scoreboard::new(0);
        for burst in 0..10 {
            board.push(burst * 300, burst * 300 + 300, 100, u64::from(burst) * 1000);
        }
        board
    }

    #[test]
    fn blocks_cut_bursts_at_segments() {
        let mut board = board();
        let mut delivery = Delivery::default();
        board.sack((350, 720), 100_000, &mut delivery);
        board.check();
        assert_eq!((delivery.bytes, board.sacked(), board.in_flight()), (300, 300, 2700));
        board.acknowledge(450, 100_000, &mut delivery);
        board.check();
        assert_eq!((delivery.bytes, board.sacked()), (700, 250));
    }

    #[test]
    fn the_short_way_does_as_the_long_one() {
        let sent = |start: u32, len: u32, sent_ns| {
            let mut board = Scoreboard::new(start);
            board.push(start, start.wrapping_add(len), 100, sent_ns);
            board
        };
        for (start, len, sent_ns) in [(0, 1, 1), (u32::MAX - 3, 400, 500), (70_000, 99, 900)] {
            let to = start.wrapping_add(len);
            let (mut short, mut long) = (sent(start, len, sent_ns), sent(start, len, sent_ns));
            let mut delivery = Delivery::default();
            long.acknowledge(to, 1000, &mut delivery);
            let shortly = short.acknowledge_sole(to, 1000).expect("it is the only one");
            assert_eq!((shortly.bytes, shortly.rate), (delivery.bytes, delivery.rate));
            let round_trip_ns = Some(shortly.round_trip_ns);
            assert_eq!((round_trip_ns, round_trip_ns), (delivery.round_trip_ns, delivery.latest_round_trip_ns));
            assert!(!delivery.is_reordered && !delivery.was_repeated);
            assert_eq!(format!("{short:?}"), format!("{long:?}"));
        }
        let mut partly = sent(0, 10, 1);
        assert!(partly.acknowledge_sole(9, 2).is_none() && board().acknowledge_sole(3000, 100_000).is_none());
        assert_eq!(partly.in_flight(), 10);
        partly.mark_all_lost();
        assert!(partly.acknowledge_sole(10, 2).is_none());
        partly.note_repeated(0, 3);
        assert!(partly.acknowledge_sole(10, 4).is_none());
    }

    #[test]
    fn what_was_sent_before_an_arrival_is_lost_after_a_while() {
        let mut board = board();
        let mut delivery = Delivery::default();
        board.sack((900, 1200), 10_000, &mut delivery);
        assert_eq!(board.detect_lost(9_000, 10_000), (true, 11_000));
        board.check();
    }

    #[test]
    fn losses_are_sent_again_and_judged_again() {
        let mut board = board();
        let mut delivery = Delivery::default();
        board.sack((900, 1200), 10_000, &mut delivery);
        assert_eq!(board.detect_lost(5_000, 10_000), (true, 0));
        assert_eq!(board.lost(), 900);
        let record = board.take_lost(200).expect("three bursts are lost");
        assert_eq!((record.start, record.end), (0, 200));
        board.note_repeated(0, 11_000);
        assert_eq!(board.take_lost(1000).map(|record| (record.start, record.end)), Some((200, 300)));
        // Nothing sent behind the repetition has arrived yet.
        assert_eq!(board.detect_lost(5_000, 30_000), (false, 0));
        board.push(3000, 3100, 100, 12_000);
        board.sack((3000, 3100), 22_000, &mut delivery);
        assert!(board.detect_lost(5_000, 22_000).0);
        assert_eq!(board.take_lost(1000).map(|record| (record.start, record.end)), Some((0, 200)));
        board.check();
    }

    #[test]
    fn sums_hold_in_any_order_of_events() {
        let seed = 11;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        for _ in 0..300 {
            let base = u32::try_from(random.next_u64() >> 32).expect("32 bits");
            let mut board = Scoreboard::new(base);
            let (mut first, mut next, mut now) = (0, 0, 0);
            for _ in 0..200 {
                now += 100;
                let mut delivery = Delivery::default();
                match random.below(7) {
                    0 | 1 => {
                        let len = 1 + u32::try_from(random.below(1000)).expect("small");
                        board.push(base.wrapping_add(next), base.wrapping_add(next + len), 100, now);
                        next += len;
                    }
                    2 => {
                        let from = u32::try_from(random.below(next as usize + 1)).expect("small");
                        let to = from + u32::try_from(random.below(1000)).expect("small");
                        board.sack((base.wrapping_add(from), base.wrapping_add(to)), now, &mut delivery);
                    }
                    3 => {
                        first += u32::try_from(random.below((next - first) as usize + 1)).expect("small") / 4;
                        board.acknowledge(base.wrapping_add(first), now, &mut delivery);
                    }
                    4 => drop(board.detect_lost(300, now)),
                    5 => {
                        if let Some(record) = board.take_lost(250) {
                            board.note_repeated(record.start, now);
                        }
                    }
                    _ if random.one_in(10) => board.mark_all_lost(),
                    _ if random.one_in(5) => board.unmark_lost(),
                    _ => board.mark_first_lost(),
                }
                board.check();
            }
        }
    }
}
