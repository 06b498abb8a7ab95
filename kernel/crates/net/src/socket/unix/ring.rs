//! [`ByteRing`]: the bytes on their way through a stream, in memory that grows and shrinks with them.

use alloc::vec::Vec;

use abi::Errno;
use mm::user::{UserFault, UserReader, UserWriter};

/// The least memory of a ring that holds anything.
const CAPACITY_MIN: usize = 4096;

/// A queue of bytes.
#[derive(Default)]
pub(super) struct ByteRing {
    memory: Vec<u8>,
    /// Where the first byte is.
    start: usize,
    len: usize,
    /// The most bytes since it was last empty: decides how much memory it keeps then.
    peak: usize,
}

impl ByteRing {
    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory for `len` bytes at least.
    fn reserve(&mut self, len: usize) -> Result<(), Errno> {
        if len <= self.memory.len() {
            return Ok(());
        }
        let capacity = len.next_power_of_two().max(CAPACITY_MIN);
        let mut memory = Vec::new();
        memory.try_reserve_exact(capacity).map_err(|_| Errno::ENOBUFS)?;
        let (front, back) = self.pieces(0, self.len);
        memory.extend_from_slice(front);
        memory.extend_from_slice(back);
        memory.resize(capacity, 0);
        (self.memory, self.start) = (memory, 0);
        Ok(())
    }

    /// `len` bytes from the one at `offset` on, in two pieces.
    #[inline]
    fn pieces(&self, offset: usize, len: usize) -> (&[u8], &[u8]) {
        if len == 0 {
            return (&[], &[]);
        }
        let capacity = self.memory.len();
        let begin = (self.start + offset) % capacity;
        let front_len = len.min(capacity - begin);
        (&self.memory[begin..begin + front_len], &self.memory[..len - front_len])
    }

    /// Appends up to `len` bytes of `from`, without faulting. Answers how many, and the fault that stopped it.
    pub(super) fn fill(&mut self, from: &mut UserReader<'_>, len: usize) -> Result<(usize, Option<UserFault>), Errno> {
        let len = len.min(from.remaining());
        self.reserve(self.len + len)?;
        let mut done = 0;
        while done < len {
            let capacity = self.memory.len();
            let begin = (self.start + self.len) % capacity;
            let part = (len - done).min(capacity - begin);
            match from.read_nofault(&mut self.memory[begin..begin + part]) {
                Ok(copied) => {
                    self.len += copied;
                    done += copied;
                }
                Err(fault) => return Ok((done, Some(fault))),
            }
            self.peak = self.peak.max(self.len);
        }
        Ok((done, None))
    }

    /// The byte at `offset`.
    pub(super) fn byte(&self, offset: usize) -> Option<u8> {
        let is_there = offset < self.len;
        self.pieces(offset, usize::from(is_there)).0.first().copied()
    }

    /// Copies up to `len` bytes from the one at `offset` on to `to`, without faulting, and leaves them here.
    pub(super) fn copy_to(&self, offset: usize, len: usize, to: &mut UserWriter<'_>) -> (usize, Option<UserFault>) {
        let len = len.min(self.len.saturating_sub(offset)).min(to.remaining());
        let mut done = 0;
        while done < len {
            let (front, _) = self.pieces(offset + done, len - done);
            match to.write_nofault(front) {
                Ok(copied) => done += copied,
                Err(fault) => return (done, Some(fault)),
            }
        }
        (done, None)
    }

    /// Drops the first `len` bytes.
    pub(super) fn consume(&mut self, len: usize) {
        let len = len.min(self.len);
        self.len -= len;
        if self.len > 0 {
            self.start = (self.start + len) % self.memory.len();
            return;
        }
        // The next bytes are likely to be as many: they come to lie in the same, warm memory.
        self.start = 0;
        if self.memory.len() > CAPACITY_MIN.max(self.peak.saturating_mul(4)) {
            self.memory = Vec::new();
        }
        self.peak = 0;
    }
}

#[cfg(test)]
mod tests {
    use testkit as _;

    use super::*;

    fn fill(ring: &mut ByteRing, bytes: &[u8]) {
        let mut from = UserReader::from_kernel(bytes);
        assert_eq!(ring.fill(&mut from, bytes.len()).unwrap().0, bytes.len());
    }

    fn take(ring: &mut ByteRing, len: usize) -> Vec<u8> {
        let mut bytes = alloc::vec![0; len];
        let (copied, _) = ring.copy_to(0, len, &mut UserWriter::to_kernel(&mut bytes));
        ring.consume(copied);
        bytes.truncate(copied);
        bytes
    }

    #[test]
    fn bytes_come_out_in_order_across_the_end_and_across_growth() {
        let mut ring = ByteRing::default();
        let (mut written, mut read) = (0_usize, 0_usize);
        let byte = |place: usize| u8::try_from(place % 251).unwrap();
        for step in 0..2000 {
            let count = step * 37 % 900;
            let bytes: Vec<u8> = (written..written + count).map(byte).collect();
            fill(&mut ring, &bytes);
            written += count;
            let out = take(&mut ring, step * 53 % 905);
            assert!(out.iter().enumerate().all(|(place, found)| *found == byte(read + place)));
            read += out.len();
        }
        read += take(&mut ring, 1 << 20).len();
        assert_eq!((written, ring.len()), (read, 0));
    }

    #[test]
    fn memory_shrinks_when_little_is_used() {
        let mut ring = ByteRing::default();
        fill(&mut ring, &[1; 200_000]);
        assert_eq!(take(&mut ring, 200_000).len(), 200_000);
        assert!(ring.memory.len() >= 200_000);
        fill(&mut ring, &[2; 10]);
        assert_eq!(take(&mut ring, 10), [2; 10]);
        assert_eq!(ring.memory.len(), 0);
    }
}
