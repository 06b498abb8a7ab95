//! [`Recovery`]: what is made of losses, and of losses that were none.
//!
//! # Theory
//!
//! 1. Phases, in Linux's terms: open; disorder, when something has come out of turn; reduction, when the network has
//!    told of congestion; recovery, when losses are repaired at the pace of acknowledgements; loss, after a timeout.
//!    The last three end when all that had been sent at their beginning is acknowledged.
//! 2. RACK (RFC 8985): what was sent a reordering window before something that has arrived is lost. The window is a quarter of the shortest
//!    round trip, times one more for each round trip with a report of duplicates, for sixteen recoveries (6.2, step 4). It is nothing as
//!    long as no reordering was seen, once three segments are beyond a gap or losses are being repaired.
//! 3. Without SACK three duplicate acknowledgements tell of one loss, and each partial acknowledgement of the next (RFC 6582).
//! 4. Proportional rate reduction (RFC 6937): while more is in flight than the threshold, threshold / flight of what is delivered is sent; below
//!    it, what is delivered and one segment more for each acknowledgement that goes on, up to the threshold.
//! 5. A tail loss probe (RFC 8985, 7) is new data or the last segment again, after two round trips of silence: its acknowledgement
//!    shows what is missing without waiting for a timeout. Whoever repairs the only loss by a probe must still slow down (7.4).
//! 6. After a timeout the first segment alone is sent again, and it is tried whether anything was lost (F-RTO, RFC
//!    5682, 3.1, as Linux does it): if data that was sent before the timeout, and once only, has arrived, nothing was.
//!    If the first acknowledgement is for what was sent again, new data goes out instead of what counts as lost; should
//!    its receiver tell of a gap, the loss was real.
//! 7. What was not lost is found out by timestamps (Eifel, RFC 3522: the acknowledgement echoes a time before the first
//!    repetition) or by duplicates reported for all that was repeated (RFC 3708); then window and threshold are as
//!    before.

use super::SequenceNumber;
use super::sequence::{is_after, is_before};

/// RFC 8985's initial and largest multiple of the reordering window's unit.
const REORDER_STEPS_MAX: u32 = 20;
/// Recoveries for which a larger reordering window holds.
const REORDER_PERSIST: u32 = 16;
/// RFC 6675's DupThresh.
pub(super) const DUPLICATES_MAX: u32 = 3;

/// In Linux's numbers (`tcpi_ca_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub(super) enum Phase {
    /// Nothing is amiss.
    #[default]
    Open = 0,
    /// Something has come out of turn.
    Disorder = 1,
    /// The window comes down, though nothing is lost.
    Reduction = 2,
    /// Losses are repaired.
    Recovery = 3,
    /// A timeout was.
    Loss = 4,
}

/// What allows to take a reduction back.
#[derive(Clone, Copy, Debug)]
struct Undo {
    /// The first number not acknowledged when it began.
    start: SequenceNumber,
    /// Segments repeated for which no duplicate was reported; None: the count is lost.
    repeated: Option<u32>,
    /// The timestamp of the first repetition.
    timestamp: Option<u32>,
}

/// A tail loss probe that is out.
#[derive(Clone, Copy, Debug)]
struct TailProbe {
    end: SequenceNumber,
    is_repetition: bool,
}

/// How far it is known whether a timeout was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Trial {
    /// It was, or that is found out by other means.
    #[default]
    Over,
    /// What comes next will tell.
    On,
    /// New data is to be sent, whose acknowledgement will tell.
    SendsNew,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recovery {
    phase: Phase,
    /// What ends the phase when it is acknowledged.
    end: SequenceNumber,
    flight_at_start: u32,
    delivered: u32,
    sent: u32,
    undo: Option<Undo>,
    probe: Option<TailProbe>,
    trial: Trial,
    reorder_steps: u32,
    reorder_persist: u32,
    reorder_round_end: Option<SequenceNumber>,
    has_seen_reordering: bool,
    /// Duplicate acknowledgements in a row, without SACK.
    pub(super) duplicates: u32,
}

impl Recovery {
    /// The phase.
    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether losses are repaired.
    pub(super) const fn is_repairing(&self) -> bool {
        matches!(self.phase, Phase::Recovery | Phase::Loss)
    }

    /// Whether the window is on its way down, or was brought down.
    pub(super) const fn is_reducing(&self) -> bool {
        !matches!(self.phase, Phase::Open | Phase::Disorder)
    }

    /// What ends the phase when it is acknowledged.
    pub(super) const fn end(&self) -> SequenceNumber {
        self.end
    }

    /// Something is out of turn, or no longer.
    pub(super) fn set_disorder(&mut self, is_disordered: bool) {
        if !self.is_reducing() {
            self.phase = if is_disordered { Phase::Disorder } else { Phase::Open };
        }
    }

    /// Losses are to be repaired: all before `end`. `in_flight` counts what was sent and not acknowledged.
    pub(super) fn begin(&mut self, phase: Phase, start: SequenceNumber, end: SequenceNumber, in_flight: u32) {
        self.phase = phase;
        self.end = end;
        self.flight_at_start = in_flight.max(1);
        (self.delivered, self.sent) = (0, 0);
        self.undo = Some(Undo { start, repeated: Some(0), timestamp: None });
        self.probe = None;
        self.trial = Trial::Over;
    }

    /// A timeout was, of which it is to be found out whether it was right.
    pub(super) fn begin_trial(&mut self) {
        self.trial = Trial::On;
    }

    /// An acknowledgement came after a timeout. `original_end` is behind the first data that it tells of and that was
    /// sent once, `tells_of_gap` that it tells of something missing, `next` the next number to be sent. True: the
    /// timeout was wrong.
    pub(super) fn is_timeout_wrong(
        &mut self,
        original_end: Option<SequenceNumber>,
        is_advance: bool,
        tells_of_gap: bool,
        (acknowledged, next): (SequenceNumber, SequenceNumber),
    ) -> bool {
        if self.phase != Phase::Loss || self.trial == Trial::Over {
            return false;
        }
        if original_end.is_some_and(|end| !is_after(end, self.end)) {
            return true;
        }
        if is_after(next, self.end) {
            if tells_of_gap {
                self.trial = Trial::Over;
            }
        } else if is_advance && is_before(acknowledged, self.end) {
            self.trial = Trial::SendsNew;
        }
        false
    }

    /// Whether new data goes out before what counts as lost. Asked once.
    pub(super) fn take_trial_send(&mut self) -> bool {
        let is_due = self.trial == Trial::SendsNew;
        if is_due {
            self.trial = Trial::On;
        }
        is_due
    }

    /// There was no new data.
    pub(super) fn end_trial(&mut self) {
        self.trial = Trial::Over;
    }

    /// Whether a reduction may be taken back.
    pub(super) const fn may_undo(&self) -> bool {
        self.undo.is_some()
    }

    /// Losses were found in the middle of a reduction.
    pub(super) fn go_on_as_recovery(&mut self, end: SequenceNumber) {
        self.phase = Phase::Recovery;
        self.end = end;
    }

    /// What was reduced stays so.
    pub(super) fn forbid_undo(&mut self) {
        self.undo = None;
    }

    /// Repair goes on, but what is repaired counts for another `end`.
    pub(super) fn move_end(&mut self, end: SequenceNumber) {
        self.phase = Phase::Loss;
        self.end = end;
    }

    /// All is repaired, or nothing was lost.
    pub(super) fn finish(&mut self) {
        if self.phase == Phase::Recovery || self.phase == Phase::Loss {
            self.reorder_persist = self.reorder_persist.saturating_sub(1);
            if self.reorder_persist == 0 {
                self.reorder_steps = 0;
            }
        }
        self.phase = Phase::Open;
        self.trial = Trial::Over;
        self.undo = None;
        self.duplicates = 0;
    }

    /// Segments turned out to be too long for the path and are sent again: not the network's fault.
    pub(super) fn note_resegmented(&mut self, start: SequenceNumber, end: SequenceNumber) {
        self.phase = Phase::Loss;
        self.end = end;
        self.undo = Some(Undo { start, repeated: None, timestamp: None });
        self.trial = Trial::Over;
    }

    /// Something was sent while losses are repaired. `timestamp` is that of a repetition.
    pub(super) fn note_sent(&mut self, len: u32, repetition: Option<(u32, u32)>) {
        self.sent = self.sent.saturating_add(len);
        if let (Some((segments, timestamp)), Some(undo)) = (repetition, &mut self.undo) {
            undo.timestamp.get_or_insert(timestamp);
            undo.repeated = undo.repeated.map(|count| count + segments);
        }
    }

    /// The window after an acknowledgement that delivered `delivered` bytes (RFC 6937).
    pub(super) fn window(&mut self, delivered: u32, in_flight: u32, threshold: u32, mss: u32, goes_on: bool) -> u32 {
        self.delivered = self.delivered.saturating_add(delivered);
        let mut room = if in_flight > threshold {
            let due = (u64::from(self.delivered) * u64::from(threshold)).div_ceil(u64::from(self.flight_at_start));
            u32::try_from(due).unwrap_or(u32::MAX).saturating_sub(self.sent)
        } else {
            let mut limit = self.delivered.saturating_sub(self.sent).max(delivered);
            if goes_on {
                limit = limit.saturating_add(mss);
            }
            limit.min(threshold - in_flight)
        };
        if self.sent == 0 {
            // The first repetition never waits.
            room = room.max(mss);
        }
        in_flight.saturating_add(room)
    }

    /// How long RACK waits for what was sent before something that has arrived, beyond the round trip.
    pub(super) fn reorder_window_ns(&self, minimum_ns: u64, smoothed_ns: u64, is_beyond_gap: bool) -> u64 {
        if !self.has_seen_reordering && (self.is_repairing() || is_beyond_gap) {
            return 0;
        }
        let unit_ns = if minimum_ns == u64::MAX { smoothed_ns / 4 } else { minimum_ns / 4 };
        unit_ns.saturating_mul(u64::from(self.reorder_steps + 1)).min(smoothed_ns)
    }

    /// The path was seen to reorder.
    pub(super) fn note_reordering(&mut self) {
        self.has_seen_reordering = true;
    }

    /// Whether it was.
    pub(super) const fn has_seen_reordering(&self) -> bool {
        self.has_seen_reordering
    }

    /// The peer reports a duplicate: up to `segments` segments from `start` on. `next` is the next number to be sent.
    pub(super) fn note_duplicate(
        &mut self,
        start: SequenceNumber,
        segments: u32,
        acknowledged: SequenceNumber,
        next: SequenceNumber,
    ) {
        if let Some(undo) = &mut self.undo
            && !is_before(start, undo.start)
            && let Some(repeated) = undo.repeated
        {
            undo.repeated = Some(repeated.saturating_sub(segments));
        }
        if self.reorder_round_end.is_none_or(|end| !is_before(acknowledged, end)) {
            self.reorder_round_end = Some(next);
            self.reorder_steps = (self.reorder_steps + 1).min(REORDER_STEPS_MAX);
            self.reorder_persist = REORDER_PERSIST;
        }
    }

    /// Whether an acknowledgement shows that nothing was lost: `echo` is the timestamp it echoes, `has_duplicate` that it reports one.
    pub(super) fn is_undone(&self, echo: Option<u32>, has_duplicate: bool) -> bool {
        let Some(undo) = &self.undo else { return false };
        let is_older = match (echo, undo.timestamp) {
            (Some(echo), Some(timestamp)) => is_before(echo, timestamp),
            _ => false,
        };
        is_older || (has_duplicate && undo.timestamp.is_some() && undo.repeated == Some(0))
    }

    /// A tail loss probe was sent.
    pub(super) fn begin_probe(&mut self, end: SequenceNumber, is_repetition: bool) {
        self.probe = Some(TailProbe { end, is_repetition });
    }

    /// Whether one is out.
    pub(super) const fn has_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// An acknowledgement came while a probe was out. True: the probe repaired a loss, and the window is to be reduced (RFC 8985, 7.4.2).
    pub(super) fn end_probe(&mut self, acknowledged: SequenceNumber, has_duplicate: bool) -> bool {
        let Some(probe) = self.probe else { return false };
        if is_before(acknowledged, probe.end) {
            return false;
        }
        if !probe.is_repetition || has_duplicate {
            self.probe = None;
            return false;
        }
        if is_after(acknowledged, probe.end) {
            self.probe = None;
            return true;
        }
        // The original or the probe: a second acknowledgement will say that both have come.
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_comes_down_in_proportion() {
        let mut recovery = Recovery::default();
        recovery.begin(Phase::Recovery, 0, 100_000, 100_000);
        assert_eq!(recovery.window(1000, 90_000, 70_000, 1000, false), 91_000);
        recovery.note_sent(1000, Some((1, 5)));
        let mut sent = 1000;
        let mut in_flight = 90_000;
        for _ in 0..50 {
            in_flight -= 1000;
            let window = recovery.window(1000, in_flight, 70_000, 1000, false);
            let room = window.saturating_sub(in_flight) / 1000 * 1000;
            recovery.note_sent(room, None);
            sent += room;
            in_flight += room;
        }
        // 51 segments were delivered, of which seven tenths may be replaced.
        assert!((34_000..=36_000).contains(&sent), "{sent}");
    }

    #[test]
    fn an_echo_from_before_the_repetition_undoes() {
        let mut recovery = Recovery::default();
        recovery.begin(Phase::Loss, 1000, 9000, 8000);
        recovery.note_sent(1000, Some((1, 500)));
        assert!(!recovery.is_undone(Some(500), false) && recovery.is_undone(Some(499), false));
        assert!(!recovery.is_undone(None, true));
        recovery.note_duplicate(1000, 1, 2000, 9000);
        assert!(recovery.is_undone(None, true));
        recovery.finish();
        assert!(!recovery.is_undone(Some(1), true));
    }

    #[test]
    fn duplicates_widen_the_reordering_window_once_a_round_trip() {
        let mut recovery = Recovery::default();
        assert_eq!(recovery.reorder_window_ns(4000, 8000, false), 1000);
        assert_eq!(recovery.reorder_window_ns(4000, 8000, true), 0);
        recovery.note_duplicate(0, 1, 100, 500);
        recovery.note_duplicate(0, 1, 200, 600);
        assert_eq!(recovery.reorder_window_ns(4000, 8000, false), 2000);
        recovery.note_reordering();
        assert_eq!(recovery.reorder_window_ns(4000, 8000, true), 2000);
    }

    #[test]
    fn a_probe_that_repaired_a_loss_slows_down() {
        let mut recovery = Recovery::default();
        recovery.begin_probe(500, true);
        assert!(!recovery.end_probe(400, false) && recovery.has_probe());
        assert!(!recovery.end_probe(500, false) && recovery.has_probe());
        assert!(!recovery.end_probe(500, true) && !recovery.has_probe());
        recovery.begin_probe(500, true);
        assert!(recovery.end_probe(600, false));
    }
}
