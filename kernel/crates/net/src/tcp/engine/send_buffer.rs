//! [`SendBuffer`]: the bytes from the first that was not acknowledged to the last that was written.
//!
//! A write is copied once, into the tail of a chunk. Segments refer to ranges of chunks, so neither sending nor sending again copies.
//!
//! # Theory
//!
//! 1. A chunk is memory that all have a share of (`Arc`): this buffer, and every segment that a device has not sent yet. Bytes are appended in
//!    place while nobody else has a share; else a new chunk begins. So what a device reads never changes.
//! 2. Chunks hold initialised memory of their full length and are written before they are read. One that comes free is kept for the
//!    next, so that memory is cleared once and not per write. A small one of which all was acknowledged stays the last, without
//!    bytes, and is appended to as long as it has room: a request at a time moves through it.
//! 3. A chunk is as large as the write that it begins with asks for, and grows with its predecessors: a stream of small writes gets
//!    large chunks, a lone byte a small one.
//! 4. Chunks are in order, so that the one of a sequence number is found by bisection.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use mm::user::{UserFault, UserReader};

use super::SequenceNumber;
use super::sequence::{is_after, length};
use crate::frame::Piece;

/// The smallest chunk.
const CHUNK_LEN_MIN: usize = 2048;
/// The largest chunk.
const CHUNK_LEN_MAX: usize = 64 * 1024;
/// The largest chunk that is kept while nothing is queued.
const IDLE_SPARE_LEN_MAX: usize = 4096;
/// Pieces of one segment: devices take about this many with a head.
const PIECES_MAX: usize = 16;

struct Chunk {
    /// Of the first byte.
    sequence: SequenceNumber,
    piece: Piece,
    /// Memory of this buffer, which may be appended to and used again.
    is_own: bool,
}

impl Chunk {
    fn end(&self) -> SequenceNumber {
        self.sequence.wrapping_add(length(self.piece.len()))
    }

    /// Whether later bytes may go on where it ends, though nothing is queued.
    fn is_small_with_room(&self) -> bool {
        match &self.piece {
            Piece::Shared(memory, range) => {
                self.is_own && range.end < memory.len() && memory.len() <= IDLE_SPARE_LEN_MAX
            }
            Piece::Frame(..) => false,
        }
    }

    /// Drops all bytes, and keeps the room behind them.
    fn forget_bytes(&mut self) {
        self.sequence = self.end();
        if let Piece::Shared(_, range) = &mut self.piece {
            range.start = range.end;
        }
    }

    /// Whether the byte with this number is in it.
    fn has(&self, number: SequenceNumber) -> bool {
        (number.wrapping_sub(self.sequence) as usize) < self.piece.len()
    }
}

/// Bytes of a send buffer, where they lie.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    /// The piece of the first byte, and how many bytes come before it there.
    first: Option<&'a Piece>,
    skip: usize,
    len: usize,
    /// Where the next piece is.
    next: Option<(&'a VecDeque<Chunk>, usize)>,
}

impl Span<'_> {
    /// No bytes.
    #[must_use]
    pub const fn empty() -> Self {
        Self { first: None, skip: 0, len: 0, next: None }
    }

    /// How many bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many pieces.
    #[must_use]
    pub fn count(&self) -> usize {
        let mut count = 0;
        self.for_each(|_, _| count += 1);
        count
    }

    /// Shows each piece, and which part of it counts.
    #[inline]
    pub fn for_each(&self, mut show: impl FnMut(&Piece, Range<usize>)) {
        let Some(first) = self.first.filter(|_| self.len > 0) else { return };
        let len = (first.len() - self.skip).min(self.len);
        show(first, self.skip..self.skip + len);
        if len < self.len {
            self.for_each_further(len, &mut show);
        }
    }

    /// As [`Span::for_each`], without the first piece, in which so many bytes are.
    #[inline(never)]
    fn for_each_further(&self, before: usize, show: &mut dyn FnMut(&Piece, Range<usize>)) {
        let Some((chunks, next)) = self.next else { return };
        let mut left = self.len - before;
        for chunk in chunks.range(next.min(chunks.len())..) {
            let len = chunk.piece.len().min(left);
            if len == 0 {
                break;
            }
            show(&chunk.piece, 0..len);
            left -= len;
        }
    }
}

impl fmt::Debug for Span<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Span({} bytes)", self.len)
    }
}

/// See the module.
pub(super) struct SendBuffer {
    chunks: VecDeque<Chunk>,
    start: SequenceNumber,
    end: SequenceNumber,
    spare: Option<Arc<Vec<u8>>>,
}

impl SendBuffer {
    /// Nothing yet; the first byte will have the number `start`.
    pub(super) const fn new(start: SequenceNumber) -> Self {
        Self { chunks: VecDeque::new(), start, end: start, spare: None }
    }

    /// Bytes from the first not acknowledged on.
    pub(super) fn len(&self) -> usize {
        self.end.wrapping_sub(self.start) as usize
    }

    /// The number behind the last byte.
    pub(super) const fn end(&self) -> SequenceNumber {
        self.end
    }

    /// Copies up to `limit` bytes in and answers how many. None: there is no memory. A fault shows when nothing was copied before it.
    pub(super) fn append(&mut self, from: &mut UserReader<'_>, limit: usize) -> Option<Result<usize, UserFault>> {
        let mut done = 0;
        while done < limit && !from.is_empty() {
            let want = (limit - done).min(from.remaining());
            let copied = match self.append_to_last(from, want) {
                Some(Ok(copied)) => copied,
                Some(Err(fault)) => return Some(if done > 0 { Ok(done) } else { Err(fault) }),
                None if self.begin_chunk(want).is_some() => continue,
                None => return (done > 0).then_some(Ok(done)),
            };
            if copied == 0 {
                break;
            }
            done += copied;
        }
        Some(Ok(done))
    }

    /// Queues bytes that lie elsewhere and do not change.
    pub(super) fn append_piece(&mut self, piece: &Piece) {
        self.drop_empty();
        let sequence = self.end;
        self.end = sequence.wrapping_add(length(piece.len()));
        self.chunks.push_back(Chunk { sequence, piece: piece.clone(), is_own: false });
    }

    /// Drops what comes before `to`.
    pub(super) fn acknowledge(&mut self, to: SequenceNumber) {
        debug_assert!(!is_after(to, self.end), "bytes that were never queued are acknowledged");
        self.start = to;
        let mut count = self.chunks.len();
        while let Some(chunk) = self.chunks.front_mut()
            && !is_after(chunk.end(), to)
        {
            if count == 1 && to == self.end && chunk.is_small_with_room() {
                chunk.forget_bytes();
                break;
            }
            count -= 1;
            if let Some(chunk) = self.chunks.pop_front() {
                self.recycle(chunk);
            }
        }
        if to == self.end {
            self.spare.take_if(|spare| spare.len() > IDLE_SPARE_LEN_MAX);
        }
    }

    /// Whether one emission takes any bytes that are here.
    #[inline]
    pub(super) fn is_in_few_pieces(&self) -> bool {
        self.chunks.len() <= PIECES_MAX
    }

    /// Up to `len` bytes from `from` on: fewer where they lie in too many pieces.
    #[inline]
    pub(super) fn span(&self, from: SequenceNumber, len: usize) -> Span<'_> {
        match self.chunks.front() {
            // Nearly always.
            Some(chunk) if chunk.has(from) && self.is_in_few_pieces() => {
                let len = len.min(self.end.wrapping_sub(from) as usize);
                let skip = from.wrapping_sub(chunk.sequence) as usize;
                Span { first: Some(&chunk.piece), skip, len, next: Some((&self.chunks, 1)) }
            }
            _ => self.span_anywhere(from, len),
        }
    }

    fn span_anywhere(&self, from: SequenceNumber, len: usize) -> Span<'_> {
        let first = self.chunks.partition_point(|chunk| !is_after(chunk.end(), from));
        let Some(chunk) = self.chunks.get(first) else { return Span::empty() };
        let skip = from.wrapping_sub(chunk.sequence) as usize;
        let there: usize = self.chunks.range(first..).take(PIECES_MAX).map(|chunk| chunk.piece.len()).sum();
        let len = len.min(there.saturating_sub(skip));
        Span { first: Some(&chunk.piece), skip, len, next: Some((&self.chunks, first + 1)) }
    }

    /// Drops everything: the connection is over.
    pub(super) fn clear(&mut self) {
        self.chunks = VecDeque::new();
        self.spare = None;
        self.start = self.end;
    }

    /// Copies at most `want` bytes behind the last, in its chunk. None: there is no room.
    #[inline]
    fn append_to_last(&mut self, from: &mut UserReader<'_>, want: usize) -> Option<Result<usize, UserFault>> {
        let Some(Chunk { piece: Piece::Shared(memory, range), is_own: true, .. }) = self.chunks.back_mut() else {
            return None;
        };
        let limit = memory.len().min(range.end.saturating_add(want));
        if range.end >= limit {
            return None;
        }
        let room = Arc::get_mut(memory)?.get_mut(range.end..limit)?;
        let copied = from.read_nofault(room);
        if let Ok(copied) = copied {
            range.end += copied;
            self.end = self.end.wrapping_add(length(copied));
        }
        Some(copied)
    }

    #[inline(never)]
    fn begin_chunk(&mut self, want: usize) -> Option<()> {
        self.drop_empty();
        self.chunks.try_reserve(1).ok()?;
        let previous = match self.chunks.back() {
            Some(Chunk { piece: Piece::Shared(memory, range), is_own: true, .. }) if range.end == memory.len() => {
                memory.len()
            }
            _ => 0,
        };
        let capacity = want.max(previous * 2).clamp(CHUNK_LEN_MIN, CHUNK_LEN_MAX).next_power_of_two();
        let memory = match self.spare.take_if(|spare| spare.len() >= capacity.min(want.max(CHUNK_LEN_MIN))) {
            Some(memory) => memory,
            None => {
                let mut memory = Vec::new();
                memory.try_reserve_exact(capacity).ok()?;
                memory.resize(capacity, 0);
                Arc::new(memory)
            }
        };
        self.chunks.push_back(Chunk { sequence: self.end, piece: Piece::Shared(memory, 0..0), is_own: true });
        Some(())
    }

    /// The last chunk goes if nothing is queued in it.
    fn drop_empty(&mut self) {
        if self.chunks.back().is_some_and(|chunk| chunk.piece.is_empty())
            && let Some(chunk) = self.chunks.pop_back()
        {
            self.recycle(chunk);
        }
    }

    /// Keeps a chunk's memory for the next, if nobody else has it and it is larger than what is kept already.
    fn recycle(&mut self, chunk: Chunk) {
        if let Chunk { piece: Piece::Shared(mut memory, _), is_own: true, .. } = chunk
            && Arc::get_mut(&mut memory).is_some()
            && self.spare.as_ref().is_none_or(|spare| spare.len() < memory.len())
        {
            self.spare = Some(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit as _;

    use super::*;

    fn write(buffer: &mut SendBuffer, bytes: &[u8]) -> usize {
        buffer.append(&mut UserReader::from_kernel(bytes), usize::MAX).expect("memory").expect("no fault")
    }

    fn read(buffer: &SendBuffer, from: SequenceNumber, len: usize) -> Vec<u8> {
        let span = buffer.span(from, len);
        let mut bytes = Vec::new();
        span.for_each(|piece, part| {
            let at = bytes.len();
            bytes.resize(at + part.len(), 0);
            piece.part(part).copy_to(&mut bytes[at..]);
        });
        assert_eq!(bytes.len(), span.len());
        bytes
    }

    #[test]
    fn bytes_come_back_by_their_numbers_across_chunks_and_the_wrap() {
        let start = u32::MAX - 1000;
        let mut buffer = SendBuffer::new(start);
        let bytes: Vec<u8> = (0..200_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        assert_eq!(write(&mut buffer, &bytes), bytes.len());
        assert_eq!(read(&buffer, start.wrapping_add(65_000), 2000), bytes[65_000..67_000]);
        buffer.acknowledge(start.wrapping_add(70_000));
        assert_eq!(
            (read(&buffer, start.wrapping_add(70_000), 10), buffer.len()),
            (bytes[70_000..70_010].to_vec(), 130_000)
        );
    }

    #[test]
    fn a_chunk_is_not_appended_to_while_somebody_has_it() {
        let mut buffer = SendBuffer::new(0);
        write(&mut buffer, b"one");
        let mut held = Vec::new();
        buffer.span(0, 3).for_each(|piece, part| held.push(piece.part(part)));
        write(&mut buffer, b"two");
        assert_eq!(buffer.chunks.len(), 2);
        write(&mut buffer, b"three");
        assert_eq!((buffer.chunks.len(), read(&buffer, 0, 11)), (2, b"onetwothree".to_vec()));
        assert_eq!(read(&buffer, 4, 3), b"wot");
    }

    #[test]
    fn a_request_at_a_time_uses_the_same_memory() {
        let mut buffer = SendBuffer::new(0);
        write(&mut buffer, b"x");
        buffer.acknowledge(1);
        let memory = |buffer: &SendBuffer| match &buffer.chunks.back().expect("it stays").piece {
            Piece::Shared(memory, range) => (Arc::as_ptr(memory), range.clone()),
            Piece::Frame(..) => panic!("it is memory of the buffer"),
        };
        let (first, range) = memory(&buffer);
        assert_eq!((range, buffer.chunks.len()), (1..1, 1));
        // To its end, and then from its beginning.
        for round in 1..2 * length(CHUNK_LEN_MIN) {
            write(&mut buffer, b"y");
            assert_eq!(read(&buffer, round, 1), b"y");
            buffer.acknowledge(round + 1);
            let kept = buffer.spare.as_ref().map_or_else(|| memory(&buffer).0, Arc::as_ptr);
            assert_eq!((kept, buffer.len()), (first, 0));
        }
    }

    #[test]
    fn an_empty_chunk_is_in_nobodys_way() {
        let mut buffer = SendBuffer::new(0);
        write(&mut buffer, b"x");
        let mut held = Vec::new();
        buffer.span(0, 1).for_each(|piece, part| held.push(piece.part(part)));
        buffer.acknowledge(1);
        // Somebody has it still.
        write(&mut buffer, b"yz");
        assert_eq!((buffer.chunks.len(), read(&buffer, 1, 2)), (1, b"yz".to_vec()));
        buffer.acknowledge(3);
        buffer.append_piece(&held[0]);
        assert_eq!((buffer.chunks.len(), read(&buffer, 3, 1)), (1, b"x".to_vec()));
        write(&mut buffer, b"w");
        assert_eq!(read(&buffer, 3, 2), b"xw");
    }

    #[test]
    fn what_was_acknowledged_behind_a_small_chunk_goes() {
        let mut buffer = SendBuffer::new(0);
        let page = Arc::new(alloc::vec![7; 100]);
        let mut end = 0;
        for _ in 0..3 {
            // A header and a part of a file, as web servers answer.
            write(&mut buffer, b"head");
            buffer.append_piece(&Piece::Shared(Arc::clone(&page), 10..30));
            assert_eq!(read(&buffer, end, 24), [&b"head"[..], &[7; 20]].concat());
            end += 24;
            buffer.acknowledge(end);
            assert_eq!((buffer.len(), buffer.chunks.len(), Arc::strong_count(&page)), (0, 0, 1));
            assert!(buffer.spare.is_some(), "the memory of the header serves again");
        }
        buffer.append_piece(&Piece::Shared(Arc::clone(&page), 0..1));
        write(&mut buffer, b"tail");
        buffer.acknowledge(end + 5);
        assert_eq!((buffer.chunks.len(), Arc::strong_count(&page)), (1, 1), "the last one is appended to");
    }

    #[test]
    fn no_more_than_the_limit_is_taken() {
        let mut buffer = SendBuffer::new(0);
        let mut reader = UserReader::from_kernel(&[1; 5000]);
        assert_eq!(buffer.append(&mut reader, 3000), Some(Ok(3000)));
        assert_eq!((reader.remaining(), buffer.len()), (2000, 3000));
    }
}
