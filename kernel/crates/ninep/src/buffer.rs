//! [`Buffer`]: the bytes of a request and of its reply, in frames; [`pieces_of`]: parts of frames, as a device sees
//! them.

use alloc::vec::Vec;

use abi::Errno;
use mm::{Frame, FramePiece, PAGE_SIZE};

/// The pieces of the bytes from `start` on, `len` of them, of frames in order. None is empty.
pub(crate) fn pieces_of(frames: &[Frame], start: usize, len: usize) -> impl Iterator<Item = FramePiece> {
    let end = start.saturating_add(len);
    frames.iter().enumerate().filter_map(move |(number, frame)| {
        let base = number * PAGE_SIZE;
        let first = start.max(base);
        let part = end.min(base + PAGE_SIZE).checked_sub(first).filter(|part| *part > 0)?;
        Some(FramePiece::new(frame.clone(), first - base, part))
    })
}

/// Bytes in frames of their own.
pub(crate) struct Buffer(Vec<Frame>);

impl Buffer {
    /// Room for so many bytes, which hold anything.
    pub(crate) fn new(len: usize) -> Result<Self, Errno> {
        Self::from_first(Frame::allocate()?, len)
    }

    /// As [`Buffer::new`]. A page, which is enough for a write, is to be had though memory is full: what is written makes room.
    pub(crate) fn for_write(len: usize) -> Result<Self, Errno> {
        Self::from_first(Frame::allocate_reserved()?, len)
    }

    fn from_first(first: Frame, len: usize) -> Result<Self, Errno> {
        let others = (1..len.div_ceil(PAGE_SIZE)).map(|_| Frame::allocate());
        core::iter::once(Ok(first)).chain(others).collect::<Result<_, _>>().map(Self)
    }

    /// The pieces of a part of it.
    pub(crate) fn pieces(&self, start: usize, len: usize) -> impl Iterator<Item = FramePiece> {
        pieces_of(&self.0, start, len)
    }

    /// Copies bytes in.
    pub(crate) fn write(&self, start: usize, bytes: &[u8]) {
        let mut rest = bytes;
        for piece in self.pieces(start, bytes.len()) {
            let (part, behind) = rest.split_at(piece.len().min(rest.len()));
            piece.frame().write(piece.offset(), part);
            rest = behind;
        }
        debug_assert!(rest.is_empty(), "a buffer is too short for what is written");
    }

    /// Copies bytes out; fewer where it ends.
    pub(crate) fn read(&self, start: usize, len: usize) -> Vec<u8> {
        let mut bytes = alloc::vec![0; len];
        let mut done = 0;
        for piece in self.pieces(start, len) {
            if let Some(part) = bytes.get_mut(done..done + piece.len()) {
                piece.frame().read(piece.offset(), part);
            }
            done += piece.len();
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
        assert_eq!(buffer.pieces(3 * PAGE_SIZE, 1).count() + buffer.pieces(PAGE_SIZE, 0).count(), 0);
    }
}
