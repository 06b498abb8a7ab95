//! [`Urgent`]: the mark in the received stream, and the byte before it.
//!
//! # Theory
//!
//! 1. The urgent pointer is taken as all systems take it: it points behind the urgent byte, which is the last before it (RFC 6093, section 3). There is
//!    one byte at a time; a newer one takes the older's place, which then is an ordinary byte of the stream.
//! 2. The byte is read apart from the stream (`MSG_OOB`), which skips it, unless `SO_OOBINLINE` leaves it in. Reading stops at the mark
//!    once, so that the program can ask whether it is there.

use super::SequenceNumber;
use super::sequence::{is_after, is_before};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Urgent {
    /// The number of the urgent byte.
    mark: Option<SequenceNumber>,
    byte: Option<u8>,
    is_taken: bool,
}

impl Urgent {
    /// The peer says that the byte before `sequence + pointer` is urgent. `read_next` is the next to be read, `next` the next expected. True: this is
    /// news.
    pub(super) fn note(
        &mut self,
        sequence: SequenceNumber,
        pointer: u16,
        read_next: SequenceNumber,
        next: SequenceNumber,
    ) -> bool {
        let mark = sequence.wrapping_add(u32::from(pointer)).wrapping_sub(u32::from(pointer != 0));
        if is_before(mark, read_next) || is_before(mark, next) || self.mark.is_some_and(|known| !is_after(mark, known))
        {
            return false;
        }
        *self = Self { mark: Some(mark), byte: None, is_taken: false };
        true
    }

    /// The number of the urgent byte.
    pub(super) const fn mark(&self) -> Option<SequenceNumber> {
        self.mark
    }

    /// The byte has come.
    pub(super) fn set_byte(&mut self, byte: u8) {
        self.byte = Some(byte);
    }

    /// Whether the byte is awaited.
    pub(super) const fn is_awaited(&self) -> bool {
        self.mark.is_some() && self.byte.is_none() && !self.is_taken
    }

    /// The byte, if it is there and was not taken.
    pub(super) fn take(&mut self, is_peek: bool) -> Option<u8> {
        let byte = self.byte?;
        if !is_peek {
            self.byte = None;
            self.is_taken = true;
        }
        Some(byte)
    }

    /// Whether there is a byte to take.
    pub(super) const fn has_byte(&self) -> bool {
        self.byte.is_some()
    }

    /// Whether there was one that was taken.
    pub(super) const fn is_taken(&self) -> bool {
        self.is_taken
    }

    /// Reading has passed the mark.
    pub(super) fn pass(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_before_the_pointer_is_the_urgent_one() {
        let mut urgent = Urgent::default();
        assert!(urgent.note(100, 5, 100, 100) && urgent.is_awaited());
        assert_eq!(urgent.mark(), Some(104));
        assert!(!urgent.note(100, 5, 100, 100) && !urgent.note(90, 5, 100, 100));
        urgent.set_byte(7);
        assert_eq!((urgent.take(true), urgent.take(false), urgent.take(false)), (Some(7), Some(7), None));
        assert!(urgent.is_taken() && !urgent.is_awaited());
    }
}
