//! Which bytes of a transmit buffer the device still owns.
//!
//! Bytes go into a ring, each transfer as one contiguous extent that is given to the device under a token. Extents are
//! freed in the order of the ring; one that the device returns early waits for those before it.
//!
//! Invariants: `used_bytes` is the sum of the lengths of the extents in the queue, never above the capacity; a token is
//! in the queue at most once.

/// Extents that can be in flight.
pub const EXTENTS_MAX: usize = 32;

#[derive(Clone, Copy)]
struct Extent {
    token: u16,
    /// Bytes of the ring, with those skipped at its end to stay contiguous.
    len_bytes: usize,
    is_done: bool,
}

/// The state of the ring; the bytes are elsewhere.
pub struct TransmitRing {
    capacity_bytes: usize,
    /// Offset at which the next extent begins.
    next: usize,
    used_bytes: usize,
    extents: [Extent; EXTENTS_MAX],
    /// Index of the oldest extent, and how many there are.
    first: usize,
    count: usize,
}

/// Room for one transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Offset of its first byte.
    pub offset: usize,
    /// Bytes that may be written there.
    pub len_bytes: usize,
    skipped_bytes: usize,
}

impl TransmitRing {
    /// A ring over a buffer of `capacity_bytes`.
    pub const fn new(capacity_bytes: usize) -> Self {
        let empty = Extent { token: 0, len_bytes: 0, is_done: false };
        Self { capacity_bytes, next: 0, used_bytes: 0, extents: [empty; EXTENTS_MAX], first: 0, count: 0 }
    }

    /// Contiguous room for as much as possible of `wanted_bytes`; none if there is no room at all.
    pub fn reserve(&self, wanted_bytes: usize) -> Option<Reservation> {
        if self.count == EXTENTS_MAX || wanted_bytes == 0 {
            return None;
        }
        let free = self.capacity_bytes - self.used_bytes;
        let to_end = self.capacity_bytes - self.next;
        // Bytes at the end are skipped when much more fits at the start: one long transfer is better than two.
        let after_skip = free.saturating_sub(to_end);
        let is_skipping = to_end < wanted_bytes && to_end < after_skip.min(wanted_bytes) / 2;
        let (offset, skipped_bytes, room) =
            if is_skipping { (0, to_end, after_skip) } else { (self.next, 0, free.min(to_end)) };
        let len_bytes = room.min(wanted_bytes);
        (len_bytes > 0).then_some(Reservation { offset, len_bytes, skipped_bytes })
    }

    /// Records that the reserved bytes were given to the device as `token`.
    pub fn commit(&mut self, reservation: Reservation, token: u16) {
        let len_bytes = reservation.len_bytes + reservation.skipped_bytes;
        debug_assert!(self.used_bytes + len_bytes <= self.capacity_bytes, "a reservation is committed once");
        let slot = (self.first + self.count) % EXTENTS_MAX;
        if let Some(extent) = self.extents.get_mut(slot) {
            *extent = Extent { token, len_bytes, is_done: false };
        }
        self.count += 1;
        self.used_bytes += len_bytes;
        self.next = (reservation.offset + reservation.len_bytes) % self.capacity_bytes;
    }

    /// Whether the device owns the extent with `token`.
    pub fn is_in_flight(&self, token: u16) -> bool {
        self.in_flight().any(|extent| extent.token == token && !extent.is_done)
    }

    /// The device is done with `token`; frees what has become free. False if there is no such extent.
    pub fn complete(&mut self, token: u16) -> bool {
        let (first, count) = (self.first, self.count);
        let mut slots = (0..count).map(|index| (first + index) % EXTENTS_MAX);
        let is_match =
            |slot: &usize| self.extents.get(*slot).is_some_and(|extent| extent.token == token && !extent.is_done);
        let Some(slot) = slots.find(is_match) else { return false };
        if let Some(extent) = self.extents.get_mut(slot) {
            extent.is_done = true;
        }
        while let Some(len_bytes) = self.oldest_done() {
            self.used_bytes -= len_bytes;
            self.first = (self.first + 1) % EXTENTS_MAX;
            self.count -= 1;
        }
        if self.count == 0 {
            self.next = 0;
        }
        true
    }

    /// Bytes of the buffer.
    pub fn capacity_bytes(&self) -> usize {
        self.capacity_bytes
    }

    /// Whether the device owns nothing.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether something can be transmitted now.
    pub fn has_room(&self) -> bool {
        self.count < EXTENTS_MAX && self.used_bytes < self.capacity_bytes
    }

    fn oldest_done(&self) -> Option<usize> {
        self.in_flight().next().filter(|extent| extent.is_done).map(|extent| extent.len_bytes)
    }

    fn in_flight(&self) -> impl Iterator<Item = Extent> + '_ {
        (0..self.count).filter_map(|index| self.extents.get((self.first + index) % EXTENTS_MAX).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn fills_and_drains() {
        let mut ring = TransmitRing::new(100);
        let first = ring.reserve(60).unwrap();
        assert_eq!((first.offset, first.len_bytes), (0, 60));
        ring.commit(first, 7);
        let second = ring.reserve(60).unwrap();
        assert_eq!((second.offset, second.len_bytes), (60, 40));
        ring.commit(second, 8);
        assert!(ring.reserve(1).is_none() && !ring.has_room());
        assert!(!ring.complete(9));
        // Out of order: nothing is free until the oldest is.
        assert!(ring.complete(8) && !ring.has_room());
        assert!(ring.complete(7) && ring.is_empty());
        assert!(!ring.complete(7));
        assert_eq!(ring.reserve(200).unwrap().len_bytes, 100);
    }

    #[test]
    fn skips_a_small_end() {
        let mut ring = TransmitRing::new(100);
        for (len, token) in [(50, 1), (45, 2)] {
            let reservation = ring.reserve(len).unwrap();
            ring.commit(reservation, token);
        }
        ring.complete(1);
        let reservation = ring.reserve(40).unwrap();
        assert_eq!((reservation.offset, reservation.len_bytes), (0, 40));
        ring.commit(reservation, 3);
        assert_eq!(ring.reserve(40).unwrap().len_bytes, 10);
        ring.complete(2);
        assert_eq!(ring.reserve(100).unwrap().offset, 40);
    }

    #[test]
    fn tokens_are_bounded() {
        let mut ring = TransmitRing::new(1000);
        for token in 0..32 {
            let reservation = ring.reserve(1).unwrap();
            ring.commit(reservation, token);
        }
        assert!(ring.reserve(1).is_none() && !ring.has_room());
        assert!(ring.is_in_flight(3) && !ring.is_in_flight(99));
    }

    #[test]
    fn no_two_extents_overlap() {
        let mut state = 88_172_645_463_325_252u64;
        println!("seed {state}");
        let mut random = move |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 20).unwrap() % bound
        };
        let mut ring = TransmitRing::new(256);
        let mut model: VecDeque<(u16, usize, usize)> = VecDeque::new();
        let mut token = 0;
        for _ in 0..100_000 {
            if random(2) == 0 {
                if let Some(at) = ring.reserve(1 + random(200)) {
                    let (start, end) = (at.offset, at.offset + at.len_bytes);
                    assert!(end <= 256);
                    assert!(model.iter().all(|(_, other, other_end)| end <= *other || *other_end <= start));
                    ring.commit(at, token);
                    model.push_back((token, start, end));
                    token = token.wrapping_add(1);
                } else {
                    assert!(!model.is_empty());
                }
            } else if !model.is_empty() {
                let index = if random(4) == 0 { random(model.len()) } else { 0 };
                let (token, ..) = model.remove(index).unwrap();
                assert!(ring.complete(token));
            }
            assert_eq!(ring.is_empty(), model.is_empty());
        }
    }
}
