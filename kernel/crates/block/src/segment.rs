//! [`Segment`]: where in memory a piece of a transfer lies.

use mm::{Frame, PAGE_SIZE};

use crate::SECTOR_LEN;

/// [`PAGE_SIZE`], as a length in a segment.
#[expect(clippy::cast_possible_truncation, reason = "it is 4096")]
const PAGE_LEN: u16 = PAGE_SIZE as u16;

/// A part of a frame: whole sectors, inside one page.
#[derive(Clone, Debug)]
pub struct Segment {
    frame: Frame,
    offset: u16,
    len: u16,
}

impl Segment {
    /// The `len` bytes from `offset` on; None unless they are whole sectors inside the frame.
    pub fn new(frame: Frame, offset: usize, len: usize) -> Option<Self> {
        let is_whole = len > 0 && offset.is_multiple_of(SECTOR_LEN) && len.is_multiple_of(SECTOR_LEN);
        let is_inside = offset.checked_add(len).is_some_and(|end| end <= PAGE_SIZE);
        let (offset, len) = (u16::try_from(offset).ok()?, u16::try_from(len).ok()?);
        (is_whole && is_inside).then_some(Self { frame, offset, len })
    }

    /// A whole frame.
    pub fn page(frame: Frame) -> Self {
        Self { frame, offset: 0, len: PAGE_LEN }
    }

    /// The frame.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Where in the frame it begins, in bytes.
    pub fn offset(&self) -> usize {
        self.offset.into()
    }

    /// Its length in bytes; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a segment is never empty")]
    pub fn len(&self) -> usize {
        self.len.into()
    }

    /// Its length in sectors.
    pub fn sectors(&self) -> u64 {
        (self.len() / SECTOR_LEN) as u64
    }
}
