//! [`ByteQueue`]: bytes from one end of a stream to the other, on one machine.
//!
//! Bytes lie in chunks. A writer fills up the last one and adds others, larger ones for longer writes; a reader empties the first. Emptied
//! chunks of the common size are kept, so that a conversation in small messages allocates nothing, and clears no memory.
//!
//! Copies are from and to program memory. They page it in, so the lock around a queue must stand before `ADDRESS_SPACE`.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use abi::Errno;
use mm::user::{UserReader, UserWriter};

use crate::frame::Payload;
use crate::room;

/// Bytes of a chunk for short writes.
const CHUNK_LEN: usize = 4096;
/// The largest chunk.
const CHUNK_LEN_MAX: usize = 65_536;
/// Emptied chunks that are kept.
const SPARE_MAX: usize = 2;

struct Chunk {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// A queue of bytes.
#[derive(Default)]
pub(crate) struct ByteQueue {
    chunks: VecDeque<Chunk>,
    spare: Vec<Box<[u8]>>,
    len: usize,
}

impl ByteQueue {
    /// An empty queue. Allocates nothing.
    #[must_use]
    pub(crate) const fn new() -> Self {
        Self { chunks: VecDeque::new(), spare: Vec::new(), len: 0 }
    }

    /// Bytes in the queue.
    #[must_use]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends up to `len` bytes of `from`, and answers how many. `EFAULT` when the first cannot be read, `ENOBUFS` when
    /// there is no memory for it.
    pub(crate) fn write(&mut self, from: &mut UserReader<'_>, len: usize) -> Result<usize, Errno> {
        let len = len.min(from.remaining());
        let mut done = 0;
        while done < len {
            let (mut part, left) = (0, len - done);
            let copied = self.room(left).and_then(|room| {
                part = room.len().min(left);
                from.read(&mut room[..part])
            });
            let copied = match copied {
                Ok(copied) => copied,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            if let Some(last) = self.chunks.back_mut() {
                last.end += copied;
            }
            self.len += copied;
            done += copied;
            if copied < part {
                break;
            }
        }
        Ok(done)
    }

    /// Appends bytes of the kernel. False: there was no memory for all of them.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> bool {
        // Kernel memory cannot fault.
        self.write(&mut UserReader::from_kernel(bytes), bytes.len()) == Ok(bytes.len())
    }

    /// Room behind the last byte, not empty; a new chunk's if the last one is full.
    fn room(&mut self, wanted: usize) -> Result<&mut [u8], Errno> {
        if self.chunks.back().is_none_or(|last| last.end == last.bytes.len()) {
            self.chunks.try_reserve(1).map_err(|_| Errno::ENOBUFS)?;
            let chunk = self.new_chunk(wanted);
            self.chunks.push_back(chunk);
        }
        let last = self.chunks.back_mut().expect("a chunk was added if there was none");
        Ok(&mut last.bytes[last.end..])
    }

    fn new_chunk(&mut self, wanted: usize) -> Chunk {
        let kept = self.spare.iter().rposition(|bytes| bytes.len() >= wanted.min(CHUNK_LEN_MAX));
        let bytes = match kept {
            Some(index) => self.spare.swap_remove(index),
            None => {
                let len = wanted.next_power_of_two().clamp(CHUNK_LEN, CHUNK_LEN_MAX);
                // A page there is always.
                room::zeroes(len).unwrap_or_else(|_| alloc::vec![0; CHUNK_LEN]).into_boxed_slice()
            }
        };
        Chunk { bytes, start: 0, end: 0 }
    }

    /// Copies up to `len` bytes to `to`, from `skip` bytes behind the front on, and answers how many. Takes nothing away.
    pub(crate) fn peek(&self, to: &mut UserWriter<'_>, skip: usize, len: usize) -> Result<usize, Errno> {
        let (mut skip, mut done) = (skip, 0);
        for chunk in &self.chunks {
            let bytes = &chunk.bytes[chunk.start..chunk.end];
            let Some(bytes) = bytes.get(skip..) else {
                skip -= bytes.len();
                continue;
            };
            skip = 0;
            let part = bytes.len().min(len - done).min(to.remaining());
            let copied = match to.write(&bytes[..part]) {
                Ok(copied) => copied,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            done += copied;
            if copied < part || done == len || to.is_full() {
                break;
            }
        }
        Ok(done)
    }

    /// Moves up to `len` bytes to `to`, and answers how many.
    pub(crate) fn read(&mut self, to: &mut UserWriter<'_>, len: usize) -> Result<usize, Errno> {
        let done = self.peek(to, 0, len)?;
        self.discard(done);
        Ok(done)
    }

    /// Drops up to `len` bytes at the front, and answers how many.
    pub(crate) fn discard(&mut self, len: usize) -> usize {
        let len = len.min(self.len);
        let mut left = len;
        while left > 0 {
            let is_only = self.chunks.len() == 1;
            let Some(first) = self.chunks.front_mut() else { break };
            let part = left.min(first.end - first.start);
            first.start += part;
            left -= part;
            if first.start < first.end {
                break;
            }
            if is_only && first.bytes.len() == CHUNK_LEN {
                // The usual case: it is filled again from its beginning.
                (first.start, first.end) = (0, 0);
                break;
            }
            if let Some(chunk) = self.chunks.pop_front() {
                self.keep(chunk.bytes);
            }
        }
        self.len -= len;
        len
    }

    /// Takes up to `pieces_max` chunks out whose bytes are not more than `len_max`, to be lent. What is only in part
    /// before `len_max` is copied.
    pub(crate) fn lend(&mut self, pieces_max: usize, len_max: usize) -> Vec<Payload> {
        let (mut pieces, mut left) = (Vec::new(), len_max.min(self.len));
        while pieces.len() < pieces_max
            && left > 0
            && let Some(first) = self.chunks.front()
        {
            let mut len = (first.end - first.start).min(left);
            let is_whole = len == first.end - first.start;
            if !is_whole {
                let copy = room::copy_of_front(&first.bytes[first.start..first.start + len]);
                len = copy.len();
                pieces.push(Payload::from(copy));
                self.discard(len);
            } else if let Some(chunk) = self.chunks.pop_front() {
                self.len -= len;
                if len > 0 {
                    pieces.push(Payload::new(chunk.bytes, chunk.start..chunk.end));
                }
            }
            left -= len;
        }
        pieces
    }

    /// Takes the memory of a chunk back that was lent.
    pub(crate) fn take_back(&mut self, bytes: Box<[u8]>) {
        if bytes.len() >= CHUNK_LEN {
            self.keep(bytes);
        }
    }

    fn keep(&mut self, bytes: Box<[u8]>) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(bytes);
        }
    }

    /// Drops everything, and the memory.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use testkit::Random;

    use super::*;

    fn read(queue: &mut ByteQueue, len: usize) -> Vec<u8> {
        let mut bytes = alloc::vec![0; len];
        let count = queue.read(&mut UserWriter::to_kernel(&mut bytes), len).unwrap();
        bytes.truncate(count);
        bytes
    }

    #[test]
    fn bytes_come_out_in_order_whatever_the_sizes() {
        let seed = 11;
        let mut random = Random::new(seed);
        let (mut queue, mut written, mut seen) = (ByteQueue::new(), 0_u32, 0_u32);
        for _ in 0..2_000 {
            let is_long = random.one_in(20);
            let len = random.below(if is_long { 200_000 } else { 300 });
            let bytes: Vec<u8> = (written..).take(len).map(|number| (number / 3).to_le_bytes()[0]).collect();
            queue.append(&bytes);
            written += u32::try_from(len).unwrap();
            let wanted = random.below(if is_long { 300_000 } else { 2_000 });
            let skip = random.below(50);
            let mut peeked = alloc::vec![0; 100];
            let count = queue.peek(&mut UserWriter::to_kernel(&mut peeked), skip, 100).unwrap();
            let first = seen + u32::try_from(skip).unwrap();
            assert!(
                (first..).zip(&peeked[..count]).all(|(number, byte)| (number / 3).to_le_bytes()[0] == *byte),
                "seed {seed}"
            );
            for byte in read(&mut queue, wanted) {
                assert_eq!(byte, (seen / 3).to_le_bytes()[0], "seed {seed}");
                seen += 1;
            }
            assert_eq!(queue.len(), usize::try_from(written - seen).unwrap());
        }
    }

    #[test]
    fn chunks_are_lent_and_come_back() {
        let mut queue = ByteQueue::new();
        queue.append(&[1; 100_000]);
        let pieces = queue.lend(64, 99_000);
        assert_eq!(pieces.iter().map(Payload::len).sum::<usize>(), 99_000);
        assert!(pieces.len() < 4 && queue.len() == 1_000);
        pieces.into_iter().for_each(|piece| queue.take_back(piece.into_buffer()));
        assert_eq!((queue.lend(64, usize::MAX).len(), queue.len(), queue.is_empty()), (1, 0, true));
        queue.append(b"next");
        assert_eq!(read(&mut queue, 10), b"next");
    }

    #[test]
    fn a_conversation_in_small_messages_keeps_its_chunk() {
        let mut queue = ByteQueue::new();
        for round in 0..10_000_u32 {
            queue.append(&round.to_le_bytes());
            assert_eq!(read(&mut queue, 10), round.to_le_bytes());
        }
        assert_eq!((queue.chunks.len(), queue.spare.len()), (1, 0));
        assert_eq!((queue.discard(3), queue.len()), (0, 0));
    }
}
