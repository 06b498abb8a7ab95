//! [`Urgent`]: the byte of a stream that was sent with `MSG_OOB`, and where such bytes were.
//!
//! # Theory
//!
//! Linux has the rules in `manage_oob` of its `af_unix.c`; unix(7) says little of them.
//!
//! 1. The urgent byte has its place in the stream. There is one at a time; a newer one makes the older an ordinary
//!    byte.
//! 2. It is taken apart from the stream (`MSG_OOB`), and leaves a mark in its place. The byte stays in the queue and is
//!    passed when reading comes there, as taking it out would move all that is behind. A mark counts in the sender's
//!    buffer, so that there is an end to them.
//! 3. A read that has bytes stops before the urgent byte, and before a mark unless there is a newer urgent byte. So the
//!    program can ask whether it stands there (`SIOCATMARK`).
//! 4. A read that begins at the urgent byte drops it, and with `SO_OOBINLINE` reads it as an ordinary one. A read that
//!    begins at a mark passes it.
//! 5. A look (`MSG_PEEK`) does the same and changes nothing.

use alloc::collections::VecDeque;

/// What a mark counts in the buffer of who sent it: about what Linux needs to keep it.
pub(super) const MARK_CHARGE: usize = 768;

/// How a read goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes up to this place are ordinary ones.
    Until(u64),
    /// The byte here is left out.
    Pass,
    /// It is over.
    Stop,
}

/// How a read takes bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Nothing is taken.
    pub is_peek: bool,
    /// `SO_OOBINLINE`.
    pub is_inline: bool,
}

/// See the module. Places are counted from the beginning of the stream.
#[derive(Debug, Default)]
pub(super) struct Urgent {
    /// The place of the byte.
    byte: Option<u64>,
    /// Where bytes were taken, in order: all are before `byte`.
    marks: VecDeque<u64>,
}

impl Urgent {
    /// Whether all bytes are ordinary ones.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.byte.is_none() && self.marks.is_empty()
    }

    /// Whether there is a byte to take.
    pub(super) const fn has_byte(&self) -> bool {
        self.byte.is_some()
    }

    /// How many bytes in the queue are none any more.
    #[inline]
    pub(super) fn mark_count(&self) -> usize {
        self.marks.len()
    }

    /// The byte at `place`, the last one, is urgent.
    pub(super) fn note(&mut self, place: u64) {
        debug_assert!(self.marks.back().is_none_or(|mark| *mark < place), "marks are before it");
        self.byte = Some(place);
    }

    /// The place of the byte, which is taken from there.
    pub(super) fn take(&mut self, is_peek: bool) -> Option<u64> {
        let place = self.byte?;
        if !is_peek {
            self.byte = None;
            self.marks.push_back(place);
        }
        Some(place)
    }

    /// How a read goes on at a place, where it has bytes already or not.
    pub(super) fn step(&mut self, at: u64, has_bytes: bool, manner: Manner) -> Step {
        let next = self.marks.partition_point(|mark| *mark < at);
        if self.marks.get(next) == Some(&at) {
            if has_bytes && self.byte.is_none() {
                return Step::Stop;
            }
            if !manner.is_peek {
                self.marks.remove(next);
            }
            return Step::Pass;
        }
        if self.byte == Some(at) {
            if has_bytes {
                return Step::Stop;
            }
            if !manner.is_peek {
                self.byte = None;
            }
            return if manner.is_inline { Step::Until(u64::MAX) } else { Step::Pass };
        }
        let byte = self.byte.filter(|byte| *byte > at).unwrap_or(u64::MAX);
        Step::Until(self.marks.get(next).map_or(byte, |mark| byte.min(*mark)))
    }

    /// Where a look begins that leaves out so many ordinary bytes, behind `front`.
    pub(super) fn offset_behind(&self, front: u64, skip: usize, is_inline: bool) -> usize {
        let is_left_out = self.byte == Some(front) && !is_inline;
        let start = skip + usize::from(is_left_out);
        self.marks.iter().fold(start, |offset, mark| offset + usize::from(*mark <= front + offset as u64))
    }

    /// Whether reading that stands at `front` stands at the urgent byte, or where the last one was.
    pub(super) fn is_at_mark(&self, front: u64) -> bool {
        let passed = (front..).zip(&self.marks).take_while(|(place, mark)| place == *mark).count();
        match self.byte {
            Some(byte) => byte == front + passed as u64,
            None => passed > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Manner = Manner { is_peek: false, is_inline: false };
    const LOOK: Manner = Manner { is_peek: true, is_inline: false };
    const INLINE: Manner = Manner { is_peek: false, is_inline: true };

    #[test]
    fn reading_stops_before_the_byte_once_and_drops_it() {
        let mut urgent = Urgent::default();
        urgent.note(12);
        assert_eq!((urgent.step(10, false, READ), urgent.step(12, true, READ)), (Step::Until(12), Step::Stop));
        assert_eq!((urgent.is_at_mark(12), urgent.is_at_mark(11)), (true, false));
        assert_eq!((urgent.step(12, false, LOOK), urgent.step(13, false, LOOK)), (Step::Pass, Step::Until(u64::MAX)));
        assert_eq!((urgent.step(12, false, READ), urgent.is_empty()), (Step::Pass, true));
        urgent.note(20);
        assert_eq!((urgent.step(20, false, INLINE), urgent.is_empty()), (Step::Until(u64::MAX), true));
    }

    #[test]
    fn marks_stop_reading_until_there_is_a_newer_byte() {
        let mut urgent = Urgent::default();
        urgent.note(1);
        assert_eq!((urgent.take(true), urgent.take(false), urgent.take(false)), (Some(1), Some(1), None));
        assert_eq!((urgent.step(1, true, READ), urgent.mark_count()), (Step::Stop, 1));
        urgent.note(3);
        assert_eq!((urgent.step(0, false, LOOK), urgent.step(1, true, LOOK)), (Step::Until(1), Step::Pass));
        assert_eq!((urgent.step(2, true, LOOK), urgent.step(3, true, LOOK)), (Step::Until(3), Step::Stop));
        assert_eq!(urgent.take(false), Some(3));
        assert_eq!((urgent.step(1, false, READ), urgent.step(2, false, READ)), (Step::Pass, Step::Until(3)));
        assert_eq!((urgent.step(3, false, READ), urgent.is_empty()), (Step::Pass, true));
    }

    #[test]
    fn looks_leave_out_ordinary_bytes_alone() {
        let mut urgent = Urgent::default();
        urgent.note(0);
        assert_eq!((urgent.offset_behind(0, 2, false), urgent.offset_behind(0, 2, true)), (3, 2));
        urgent.take(false);
        urgent.note(1);
        assert!(urgent.is_at_mark(0));
        urgent.take(false);
        assert!(urgent.is_at_mark(0) && !urgent.is_at_mark(2));
        assert_eq!((urgent.offset_behind(0, 0, false), urgent.offset_behind(0, 3, false)), (2, 5));
    }
}
