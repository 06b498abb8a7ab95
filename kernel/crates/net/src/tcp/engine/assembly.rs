//! [`Assembly`]: segments that came ahead of their turn, and the SACK blocks that tell of them.
//!
//! # Theory
//!
//! 1. Segments are kept in order and never overlap: of bytes that come twice, those that are here stay and the newcomer is trimmed. Most come
//!    behind all others, so that a queue with bisection does.
//! 2. SACK blocks (RFC 2018, section 4): the first holds the segment that came last; the others are the most recent ones told of
//!    before. A segment that touches a block makes it longer and moves it to the front; blocks that touch become one; the oldest is
//!    forgotten when there are too many.
//! 3. A segment that was here already is told of once in front of the others (RFC 2883, section 4): the peer learns that it has sent
//!    something for nothing.
//! 4. Memory is bounded twice: by the receive buffer, which the caller keeps to, and by [`SEGMENTS_MAX`]. What does not fit is dropped as if it
//!    had been lost; what was told of is never dropped, though a receiver may do so.

use alloc::collections::VecDeque;

use super::sequence::{earlier, is_after, is_before, later, length};
use super::{SACK_BLOCKS_MAX, SackBlock, SequenceNumber};
use crate::frame::Payload;
use crate::room;

/// Segments that wait.
pub(super) const SEGMENTS_MAX: usize = 16 * 1024;

struct Segment {
    start: SequenceNumber,
    payload: Payload,
}

impl Segment {
    fn end(&self) -> SequenceNumber {
        self.start.wrapping_add(length(self.payload.len()))
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Assembly {
    segments: VecDeque<Segment>,
    footprint: usize,
    blocks: [SackBlock; SACK_BLOCKS_MAX],
    blocks_count: usize,
    duplicate: Option<SackBlock>,
}

impl Assembly {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// How many segments there are.
    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    /// Memory that they hold on to.
    pub(super) const fn footprint(&self) -> usize {
        self.footprint
    }

    /// Keeps a segment, or what of it is new. False: there is no room, and it counts as lost.
    pub(super) fn insert(&mut self, start: SequenceNumber, payload: Payload) -> bool {
        let end = start.wrapping_add(length(payload.len()));
        if start == end {
            return true;
        }
        let mut at = match self.segments.back() {
            Some(last) if is_before(start, last.end()) => {
                self.segments.partition_point(|segment| !is_after(segment.end(), start))
            }
            _ => self.segments.len(),
        };
        if let Some(segment) = self.segments.get(at)
            && !is_after(segment.start, start)
            && !is_before(segment.end(), end)
        {
            self.duplicate = Some((start, end));
            self.note(start, end);
            return true;
        }
        let (mut from, mut payload) = (start, payload);
        let mut is_whole = true;
        while !payload.is_empty() && is_whole {
            let (next_start, next_end) =
                self.segments.get(at).map_or((end, end), |segment| (segment.start, segment.end()));
            if !is_after(next_start, from) && at < self.segments.len() {
                // The front is here already.
                let skip = earlier(next_end, end).wrapping_sub(from);
                self.duplicate = Some((from, from.wrapping_add(skip)));
                from = from.wrapping_add(skip);
                payload.trim_front(skip as usize);
                at += 1;
            } else if is_before(next_start, end) {
                // The next segment cuts it in two: a copy of the part in front of it, and the rest.
                let len = next_start.wrapping_sub(from) as usize;
                let front = payload.bytes().get(..len).unwrap_or_default();
                is_whole = match room::copy_of([front], len) {
                    Ok(front) => self.insert_at(&mut at, from, Payload::from(front)),
                    Err(_) => false,
                };
                payload.trim_front(len);
                from = next_start;
            } else {
                is_whole = self.insert_at(&mut at, from, payload);
                payload = Payload::from(alloc::vec::Vec::new());
            }
        }
        if is_whole {
            self.note(start, end);
        }
        is_whole
    }

    /// Takes the next segment if the turn has come for its first byte or one behind it: `next` is what is expected.
    pub(super) fn take_next(&mut self, next: SequenceNumber) -> Option<Payload> {
        while let Some(segment) = self.segments.front()
            && !is_after(segment.start, next)
        {
            let Segment { start, mut payload } = self.segments.pop_front()?;
            self.footprint -= payload.footprint();
            payload.trim_front(next.wrapping_sub(start) as usize);
            if !payload.is_empty() {
                return Some(payload);
            }
        }
        None
    }

    /// Forgets the blocks that are no longer ahead of `next`.
    pub(super) fn advance(&mut self, next: SequenceNumber) {
        let mut kept = 0;
        for at in 0..self.blocks_count {
            let block = self.blocks[at];
            if is_after(block.0, next) {
                self.blocks[kept] = block;
                kept += 1;
            }
        }
        self.blocks_count = kept;
    }

    /// Notes a segment, or part of one, that had come before its turn was over (RFC 2883).
    pub(super) fn note_duplicate(&mut self, start: SequenceNumber, end: SequenceNumber) {
        self.duplicate = Some((start, end));
    }

    /// The blocks for the next acknowledgement, at most `count_max`, and how many those are. A duplicate is told of once.
    pub(super) fn take_blocks(&mut self, count_max: usize) -> ([SackBlock; SACK_BLOCKS_MAX], u8) {
        let mut blocks = [(0, 0); SACK_BLOCKS_MAX];
        let mut count = 0;
        let known = self.blocks.iter().take(self.blocks_count).copied();
        for (place, block) in blocks.iter_mut().zip(self.duplicate.take().into_iter().chain(known)).take(count_max) {
            *place = block;
            count += 1;
        }
        (blocks, count)
    }

    /// Whether the next acknowledgement has blocks.
    pub(super) const fn blocks_count(&self) -> usize {
        self.blocks_count + if self.duplicate.is_some() { 1 } else { 0 }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Inserts in front of the segment `at`, which is then the number of the same one.
    fn insert_at(&mut self, at: &mut usize, start: SequenceNumber, payload: Payload) -> bool {
        if self.segments.len() >= SEGMENTS_MAX || self.segments.try_reserve(1).is_err() {
            return false;
        }
        let mut payload = payload;
        let mut start = start;
        // What fills little of its buffer goes behind its predecessor, if it is the next byte.
        if payload.len() * 4 <= payload.footprint()
            && let Some(previous) = at.checked_sub(1).and_then(|at| self.segments.get_mut(at))
            && previous.end() == start
        {
            let copied = previous.payload.append(payload.bytes());
            payload.trim_front(copied);
            start = start.wrapping_add(length(copied));
            if payload.is_empty() {
                return true;
            }
        }
        self.footprint += payload.footprint();
        self.segments.insert(*at, Segment { start, payload });
        *at += 1;
        true
    }

    /// Puts a block in front, joined with those it touches.
    fn note(&mut self, start: SequenceNumber, end: SequenceNumber) {
        let mut block = (start, end);
        let mut blocks = [(0, 0); SACK_BLOCKS_MAX];
        let mut count = 1;
        for known in self.blocks.iter().take(self.blocks_count) {
            if is_after(known.0, block.1) || is_before(known.1, block.0) {
                if let Some(place) = blocks.get_mut(count) {
                    *place = *known;
                    count += 1;
                }
            } else {
                block = (earlier(known.0, block.0), later(known.1, block.1));
            }
        }
        blocks[0] = block;
        self.blocks = blocks;
        self.blocks_count = count;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use testkit::Random;

    use super::*;

    fn bytes(start: u32, end: u32) -> Payload {
        Payload::from((start..end).map(|at| at.to_le_bytes()[0]).collect::<Vec<u8>>())
    }

    fn blocks(assembly: &mut Assembly) -> Vec<SackBlock> {
        let (blocks, count) = assembly.take_blocks(4);
        blocks[..usize::from(count)].to_vec()
    }

    #[test]
    fn the_latest_block_comes_first_and_neighbours_join() {
        let mut assembly = Assembly::default();
        for start in [10, 30, 50, 70, 90] {
            assert!(assembly.insert(start, bytes(start, start + 5)));
        }
        assert_eq!(blocks(&mut assembly), [(90, 95), (70, 75), (50, 55), (30, 35)]);
        assembly.insert(55, bytes(55, 70));
        assert_eq!(blocks(&mut assembly), [(50, 75), (90, 95), (30, 35)]);
        assembly.advance(40);
        assert_eq!(blocks(&mut assembly), [(50, 75), (90, 95)]);
    }

    #[test]
    fn what_is_here_already_is_told_of_once() {
        let mut assembly = Assembly::default();
        assembly.insert(10, bytes(10, 20));
        assembly.insert(12, bytes(12, 15));
        assert_eq!(blocks(&mut assembly), [(12, 15), (10, 20)]);
        assert_eq!(blocks(&mut assembly), [(10, 20)]);
    }

    #[test]
    fn overlapping_segments_in_any_order_give_the_stream() {
        let seed = 7;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        for _ in 0..500 {
            let mut assembly = Assembly::default();
            let base = u32::try_from(random.next_u64() & 0xffff_ffff).expect("masked");
            let mut is_here = [false; 300];
            for _ in 0..random.below(30) {
                let start = random.below(290);
                let end = start + 1 + random.below(300 - start - 1);
                let payload = (start..end).map(|at| at.to_le_bytes()[0]).collect::<Vec<u8>>();
                assert!(assembly.insert(base.wrapping_add(length(start)), Payload::from(payload)));
                is_here[start..end].fill(true);
            }
            let mut next = 0;
            while next < 300 {
                match assembly.take_next(base.wrapping_add(length(next))) {
                    Some(payload) => {
                        for (at, byte) in (next..).zip(payload.bytes()) {
                            assert_eq!((*byte, is_here[at]), (at.to_le_bytes()[0], true));
                        }
                        next += payload.len();
                    }
                    None => {
                        assert!(!is_here[next]);
                        next += 1;
                    }
                }
            }
            assert_eq!((assembly.footprint(), assembly.is_empty()), (0, true));
        }
    }
}
