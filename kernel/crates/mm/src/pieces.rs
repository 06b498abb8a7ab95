//! [`FramePiece`]: bytes of a frame, and cursors over several, which move data without program memory.
//!
//! What is on its way between files lies in pages that somebody else has too: a file, a pipe, a socket. A piece keeps
//! its page alive. Whoever shares a page only reads it.

use crate::PAGE_SIZE;
use crate::frame::{Frame, FrameMachine, FrameNumber};

/// Bytes of a frame: `offset..offset + len`.
#[derive(Clone, Debug)]
pub struct FramePiece {
    frame: Frame,
    offset: usize,
    len: usize,
}

impl FramePiece {
    /// These bytes of a frame, cut to what the frame has.
    #[must_use]
    pub fn new(frame: Frame, offset: usize, len: usize) -> Self {
        let offset = offset.min(PAGE_SIZE);
        Self { frame, offset, len: len.min(PAGE_SIZE - offset) }
    }

    /// A new page to be filled, of which `len` bytes count.
    pub fn allocate(len: usize) -> Result<Self, abi::Errno> {
        Ok(Self::new(Frame::allocate()?, 0, len))
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Where in the frame the first byte is.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops the first `len` bytes.
    pub fn trim_front(&mut self, len: usize) {
        let len = len.min(self.len);
        self.offset += len;
        self.len -= len;
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The frame, and where in it the bytes are.
    #[must_use]
    pub fn into_parts(self) -> (Frame, usize, usize) {
        (self.frame, self.offset, self.len)
    }
}

/// A cursor over pieces.
#[derive(Clone, Debug)]
pub(crate) struct PieceCursor<'a> {
    pieces: &'a [FramePiece],
    /// Bytes of the first piece that are behind the cursor.
    passed: usize,
    /// Bytes before it.
    pub(crate) remaining: usize,
}

impl<'a> PieceCursor<'a> {
    pub(crate) fn new(pieces: &'a [FramePiece]) -> Self {
        Self { pieces, passed: 0, remaining: pieces.iter().map(|piece| piece.len).sum() }
    }

    /// Passes up to `len` bytes, and calls `each(frame, offset in it, bytes passed before, bytes)` for those of every
    /// piece.
    pub(crate) fn pass(&mut self, len: usize, mut each: impl FnMut(&Frame, usize, usize, usize)) -> usize {
        let mut done = 0;
        while done < len
            && let Some((piece, rest)) = self.pieces.split_first()
        {
            let part = (piece.len - self.passed).min(len - done);
            if part > 0 {
                each(&piece.frame, piece.offset + self.passed, done, part);
            }
            self.passed += part;
            done += part;
            if self.passed == piece.len {
                (self.pieces, self.passed) = (rest, 0);
            }
        }
        self.remaining -= done;
        done
    }

    /// Passes bytes to a place of another frame.
    pub(crate) fn copy_to_frame(
        &mut self,
        frames: &dyn FrameMachine,
        to: FrameNumber,
        offset: usize,
        len: usize,
    ) -> usize {
        self.pass(len, |frame, at, done, part| frames.copy_part(frame.number(), at, to, offset + done, part))
    }

    /// Fills the bytes passed from a place of another frame.
    pub(crate) fn fill_from_frame(
        &mut self,
        frames: &dyn FrameMachine,
        from: FrameNumber,
        offset: usize,
        len: usize,
    ) -> usize {
        self.pass(len, |frame, at, done, part| frames.copy_part(from, offset + done, frame.number(), at, part))
    }
}
