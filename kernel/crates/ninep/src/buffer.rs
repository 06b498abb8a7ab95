//! [`Buffer`]: the bytes of a request and of its reply, in frames; [`Piece`]: a part of a frame, as a device sees it.

use alloc::vec::Vec;

use abi::Errno;
use mm::{Frame, PAGE_SIZE};

/// A part of a frame.
#[derive(Clone, Debug)]
pub struct Piece {
    frame: Frame,
    offset: usize,
    len: usize,
}

impl Piece {
    /// `len` bytes of a frame from `offset` on; `None` when that is nothing, or not within it.
    #[must_use]
    pub fn new(frame: Frame, offset: usize, len: usize) -> Option<Self> {
        let is_within = len > 0 && offset.checked_add(len).is_some_and(|end| end <= PAGE_SIZE);
        is_within.then_some(Self { frame, offset, len })
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Where in the frame it begins.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The pieces of the first `len` bytes of whole frames.
    pub(crate) fn of_frames(frames: &[Frame], len: usize) -> impl Iterator<Item = Self> {
        frames.iter().enumerate().map_while(move |(number, frame)| {
            let left = len.saturating_sub(number * PAGE_SIZE);
            Self::new(frame.clone(), 0, left.min(PAGE_SIZE))
        })
    }
}

/// Bytes in frames of their own.
pub(crate) struct Buffer(Vec<Frame>);

impl Buffer {
    /// Room for so many bytes, which hold anything.
    pub(crate) fn new(len: usize) -> Result<Self, Errno> {
        (0..len.div_ceil(PAGE_SIZE)).map(|_| Frame::allocate()).collect::<Result<_, _>>().map(Self)
    }

    /// The pieces of a part of it.
    pub(crate) fn pieces(&self, start: usize, len: usize) -> impl Iterator<Item = Piece> {
        let end = start + len;
        self.0.iter().enumerate().filter_map(move |(number, frame)| {
            let base = number * PAGE_SIZE;
            let first = start.max(base);
            let part = end.min(base + PAGE_SIZE).checked_sub(first)?;
            Piece::new(frame.clone(), first - base, part)
        })
    }

    /// Copies bytes in.
    pub(crate) fn write(&self, start: usize, bytes: &[u8]) {
        let mut rest = bytes;
        for piece in self.pieces(start, bytes.len()) {
            let (part, behind) = rest.split_at(piece.len.min(rest.len()));
            piece.frame.write(piece.offset, part);
            rest = behind;
        }
        debug_assert!(rest.is_empty(), "a buffer is too short for what is written");
    }

    /// Copies bytes out; fewer where it ends.
    pub(crate) fn read(&self, start: usize, len: usize) -> Vec<u8> {
        let mut bytes = alloc::vec![0; len];
        let mut done = 0;
        for piece in self.pieces(start, len) {
            if let Some(part) = bytes.get_mut(done..done + piece.len) {
                piece.frame.read(piece.offset, part);
            }
            done += piece.len;
        }
        bytes.truncate(done);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_across_frames() {
        testkit::frames::install();
        let buffer = Buffer::new(3 * PAGE_SIZE - 100).unwrap();
        let bytes: Vec<u8> = (0..PAGE_SIZE + 500).map(|at| (at % 251).to_le_bytes()[0]).collect();
        buffer.write(PAGE_SIZE - 200, &bytes);
        assert_eq!(buffer.read(PAGE_SIZE - 200, bytes.len()), bytes);
        let lens: Vec<usize> = buffer.pieces(PAGE_SIZE - 200, bytes.len()).map(|piece| piece.len()).collect();
        assert_eq!(lens, [200, PAGE_SIZE, 300]);
        assert_eq!(buffer.read(3 * PAGE_SIZE - 1, 10).len(), 1);
        let frame = Frame::allocate().unwrap();
        assert!(Piece::new(frame.clone(), 4096, 1).is_none() && Piece::new(frame, 0, 0).is_none());
    }
}
