//! Pages in and out of pipes: what `splice` and `tee` move instead of bytes.
//!
//! A page that is in two pipes, or in a pipe and elsewhere, is never written to: only the owner of a page that nobody shares appends to it.

use alloc::vec::Vec;

use abi::{Errno, PollEvents};
use mm::FramePiece;

use super::{Piece, PipeEnd};

/// Bytes of a page, in a pipe or between two.
pub struct PipePage {
    piece: FramePiece,
    is_packet: bool,
}

impl From<FramePiece> for PipePage {
    fn from(piece: FramePiece) -> Self {
        Self { piece, is_packet: false }
    }
}

impl PipePage {
    /// The bytes.
    pub fn piece(&self) -> &FramePiece {
        &self.piece
    }

    /// Drops the first `len` bytes.
    pub fn trim_front(&mut self, len: usize) {
        self.piece.trim_front(len);
    }

    /// The first `len` bytes, sharing the page.
    fn share_front(piece: &Piece, len: usize) -> Self {
        let shared = FramePiece::new(piece.frame.clone(), piece.offset, len.min(piece.len));
        Self { piece: shared, is_packet: piece.is_packet }
    }

    /// As it is in the queue.
    fn into_queued(self) -> Piece {
        let (frame, offset, len) = self.piece.into_parts();
        Piece { frame, offset, len, is_packet: self.is_packet }
    }
}

impl PipeEnd {
    /// Whether a page would find room.
    pub fn has_room(&self) -> bool {
        !self.pipe.queue.lock().is_full()
    }

    /// How many pages find room.
    pub fn room(&self) -> usize {
        let queue = self.pipe.queue.lock();
        queue.slots_max.saturating_sub(queue.pieces.len())
    }

    /// Takes up to `len` bytes out of the pipe. None: it is empty, and a writer is there. No pages: the end.
    pub fn take_pages(&self, len: usize) -> Option<Vec<PipePage>> {
        // Looked at before the queue: bytes written before the last writer left are seen.
        let has_writers = self.pipe.has_writers();
        let mut pages = Vec::new();
        let mut left = len;
        let mut queue = self.pipe.queue.lock();
        let was_full = queue.is_full();
        while left > 0 {
            let Some(piece) = queue.pieces.front_mut() else { break };
            let page = PipePage::share_front(piece, left);
            left -= page.piece.len();
            piece.offset += page.piece.len();
            piece.len -= page.piece.len();
            let is_over = piece.len == 0;
            pages.push(page);
            if is_over {
                // The page stays with the one that was taken.
                queue.pieces.pop_front();
            }
        }
        self.pipe.publish(&queue);
        drop(queue);
        if was_full && !pages.is_empty() {
            self.wake(PollEvents::WRITABLE);
        }
        if !pages.is_empty() {
            self.signal(PollEvents::WRITABLE);
        }
        if pages.is_empty() && has_writers { None } else { Some(pages) }
    }

    /// Gives back, to the front, what was taken and not used.
    pub fn put_back(&self, pages: Vec<PipePage>) {
        let mut queue = self.pipe.queue.lock();
        for page in pages.into_iter().rev().filter(|page| !page.piece.is_empty()) {
            queue.pieces.push_front(page.into_queued());
        }
        self.pipe.publish(&queue);
        drop(queue);
        self.wake(PollEvents::READABLE);
    }

    /// Shares up to `len` bytes with another pipe, and leaves them here. None as in [`PipeEnd::take_pages`].
    pub fn peek_pages(&self, len: usize) -> Option<Vec<PipePage>> {
        let has_writers = self.pipe.has_writers();
        let mut left = len;
        let mut pages = Vec::new();
        let queue = self.pipe.queue.lock();
        for piece in &queue.pieces {
            if left == 0 {
                break;
            }
            let page = PipePage::share_front(piece, left);
            left -= page.piece.len();
            pages.push(page);
        }
        drop(queue);
        if pages.is_empty() && has_writers { None } else { Some(pages) }
    }

    /// Puts pages into the pipe as far as there are slots, and leaves the others. `EPIPE` without readers.
    pub fn put_pages(&self, pages: &mut Vec<PipePage>) -> Result<usize, Errno> {
        if !self.pipe.has_readers() {
            return Err(Errno::EPIPE);
        }
        let mut queue = self.pipe.queue.lock();
        let room = queue.slots_max.saturating_sub(queue.pieces.len()).min(pages.len());
        let mut done = 0;
        for page in pages.drain(..room) {
            done += page.piece.len();
            queue.pieces.push_back(page.into_queued());
        }
        self.pipe.publish(&queue);
        drop(queue);
        if done > 0 {
            self.wake(PollEvents::READABLE);
            self.signal(PollEvents::READABLE);
        }
        Ok(done)
    }
}
