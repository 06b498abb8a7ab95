//! [`ReceiveQueue`]: bytes in order that wait to be read.
//!
//! # Theory
//!
//! 1. What counts against the receive buffer is memory, not bytes: a buffer of a device holds on to all of itself for as long as one byte of
//!    it is here. The window is computed from what is left (see `window`).
//! 2. A segment that fills little of its buffer is copied behind the last bytes, where there is room in their buffer, and its own goes back.
//!    So many tiny segments cost little more memory than their bytes, and a peer cannot make us hold on to pages by sending few
//!    bytes in each.
//! 3. What is lent to the program counts as if it waited ([`crate::loan`]).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use mm::user::{UserFault, UserWriter};

use crate::frame::Payload;
use crate::loan::Account;
use crate::room;

/// A payload whose buffer is at least this many times as large is copied, if there is a place for it.
const SPARSE_FACTOR: usize = 4;

/// See the module.
#[derive(Default)]
pub(super) struct ReceiveQueue {
    payloads: VecDeque<Payload>,
    len: usize,
    footprint: usize,
    /// None as long as nothing was ever lent.
    lent: Option<Account>,
}

impl ReceiveQueue {
    /// Bytes that wait.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Memory that they hold on to, and what is lent.
    pub(super) fn footprint(&self) -> usize {
        self.footprint + self.lent.as_ref().map_or(0, Account::lent)
    }

    /// Makes room for so many payloads more. False: there is no memory for it.
    pub(super) fn reserve(&mut self, count: usize) -> bool {
        self.payloads.try_reserve(count).is_ok()
    }

    /// Appends what comes next.
    pub(super) fn push(&mut self, payload: Payload) {
        if payload.is_empty() {
            return;
        }
        self.len += payload.len();
        let payload = if self.payloads.is_empty() { Some(payload) } else { self.copy_to_tail(payload) };
        if let Some(payload) = payload {
            self.footprint += payload.footprint();
            self.payloads.push_back(payload);
        }
    }

    /// Appends bytes that are nobody's buffer.
    #[cfg(test)]
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        self.push(Payload::from(bytes.to_vec()));
    }

    /// Copies up to `len_max` bytes, from `skip` on, and answers how many. They stay. A fault shows when nothing was copied before it.
    pub(super) fn peek(&self, to: &mut UserWriter<'_>, skip: usize, len_max: usize) -> Result<usize, UserFault> {
        let (mut skip, mut done) = (skip, 0);
        for payload in &self.payloads {
            if done == len_max {
                break;
            }
            if skip >= payload.len() {
                skip -= payload.len();
                continue;
            }
            let bytes = payload.bytes().get(skip..).unwrap_or_default();
            let bytes = bytes.get(..len_max - done).unwrap_or(bytes);
            skip = 0;
            let copied = match to.write_nofault(bytes) {
                Ok(copied) => copied,
                Err(fault) => return if done > 0 { Ok(done) } else { Err(fault) },
            };
            done += copied;
            if copied < bytes.len() {
                break;
            }
        }
        Ok(done)
    }

    /// Moves up to `len_max` bytes out, and answers how many. A fault shows when nothing was moved before it.
    pub(super) fn read(&mut self, to: &mut UserWriter<'_>, len_max: usize) -> Result<usize, UserFault> {
        let mut done = 0;
        while done < len_max
            && let Some(payload) = self.payloads.front()
        {
            let bytes = payload.bytes();
            let bytes = bytes.get(..len_max - done).unwrap_or(bytes);
            let (wanted, copied) = match to.write_nofault(bytes) {
                Ok(copied) => (bytes.len(), copied),
                Err(fault) => return if done > 0 { Ok(done) } else { Err(fault) },
            };
            self.drop_front(copied);
            done += copied;
            if copied < wanted {
                break;
            }
        }
        Ok(done)
    }

    /// Moves what there is, where that is one payload for which there is room, and answers how many bytes. None: nothing was moved.
    #[inline]
    pub(super) fn read_sole(&mut self, to: &mut UserWriter<'_>) -> Option<usize> {
        let first = self.payloads.front().filter(|first| first.len() == self.len && self.len <= to.remaining())?;
        let footprint = first.footprint();
        let copied = to.write_nofault(first.bytes()).ok()?;
        if copied == self.len {
            self.len = 0;
            self.footprint -= footprint;
            self.payloads.pop_front();
        } else {
            self.drop_front(copied);
        }
        Some(copied)
    }

    /// Drops up to `len` bytes, and answers how many.
    pub(super) fn discard(&mut self, len: usize) -> usize {
        let len = len.min(self.len);
        self.drop_front(len);
        len
    }

    /// Takes up to `pieces_max` buffers out whose bytes are not more than `len_max`, to be lent. What is only in part
    /// before `len_max` is copied.
    pub(super) fn lend(&mut self, pieces_max: usize, len_max: usize) -> (Vec<Payload>, Account) {
        let account = self.lent.get_or_insert_default().clone();
        let (mut pieces, mut left) = (Vec::new(), len_max);
        while pieces.len() < pieces_max
            && left > 0
            && let Some(first) = self.payloads.front()
        {
            let mut len = first.len().min(left);
            let piece = if len == first.len() {
                let Some(piece) = self.payloads.pop_front() else { break };
                self.footprint -= piece.footprint();
                self.len -= len;
                piece
            } else {
                let copy = room::copy_of_front(first.bytes().get(..len).unwrap_or_default());
                len = copy.len();
                self.drop_front(len);
                Payload::from(copy)
            };
            account.add(&piece);
            pieces.push(piece);
            left -= len;
        }
        (pieces, account)
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        (self.len, self.footprint) = (0, 0);
        self.payloads = VecDeque::new();
    }

    fn drop_front(&mut self, len: usize) {
        let mut left = len;
        self.len -= len;
        while left > 0
            && let Some(first) = self.payloads.front_mut()
        {
            if first.len() > left {
                left -= first.trim_front(left);
            } else if let Some(first) = self.payloads.pop_front() {
                left -= first.len();
                self.footprint -= first.footprint();
            }
        }
        debug_assert!(left == 0, "the sum of the lengths is kept right");
    }

    /// None: the bytes found a place.
    fn copy_to_tail(&mut self, payload: Payload) -> Option<Payload> {
        let Some(tail) = self.payloads.back_mut() else { return Some(payload) };
        if payload.len() * SPARSE_FACTOR > payload.footprint() {
            return Some(payload);
        }
        let mut payload = payload;
        let copied = tail.append(payload.bytes());
        payload.trim_front(copied);
        (!payload.is_empty()).then_some(payload)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use testkit as _;

    use super::*;

    fn read(queue: &mut ReceiveQueue, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let count = queue.read(&mut UserWriter::to_kernel(&mut bytes), usize::MAX).expect("no fault");
        bytes.truncate(count);
        bytes
    }

    #[test]
    fn reads_cross_payloads() {
        let mut queue = ReceiveQueue::default();
        queue.push_bytes(b"abc");
        queue.push_bytes(b"");
        queue.push_bytes(b"defg");
        assert_eq!(queue.len(), 7);
        let mut peeked = [0; 3];
        assert_eq!(queue.peek(&mut UserWriter::to_kernel(&mut peeked), 2, usize::MAX), Ok(3));
        assert_eq!(&peeked, b"cde");
        assert_eq!((read(&mut queue, 5), queue.discard(1), read(&mut queue, 5)), (b"abcde".to_vec(), 1, b"g".to_vec()));
        assert_eq!((queue.len(), queue.footprint()), (0, 0));
    }

    #[test]
    fn what_is_in_one_payload_is_read_at_once_or_not_at_all() {
        let mut queue = ReceiveQueue::default();
        let read_sole = |queue: &mut ReceiveQueue, len: usize| {
            let mut bytes = vec![0; len];
            let count = queue.read_sole(&mut UserWriter::to_kernel(&mut bytes));
            count.map(|count| bytes[..count].to_vec())
        };
        assert_eq!(read_sole(&mut queue, 5), None);
        queue.push_bytes(b"abc");
        assert_eq!((read_sole(&mut queue, 2), queue.len()), (None, 3));
        assert_eq!((read_sole(&mut queue, 3), queue.len(), queue.footprint()), (Some(b"abc".to_vec()), 0, 0));
        queue.push_bytes(b"abc");
        queue.push_bytes(b"d");
        assert_eq!((read_sole(&mut queue, 9), queue.len()), (None, 4));
        assert_eq!((queue.discard(1), read(&mut queue, 2)), (1, b"bc".to_vec()));
        assert_eq!((read_sole(&mut queue, 9), queue.footprint()), (Some(b"d".to_vec()), 0));
    }

    #[test]
    fn tiny_segments_share_a_buffer() {
        let mut queue = ReceiveQueue::default();
        for byte in 0..100_u8 {
            queue.push(Payload::new(vec![byte; 2048].into_boxed_slice(), 100..101));
        }
        assert_eq!((queue.len(), queue.payloads.len()), (100, 1));
        assert!(queue.footprint() < 3000);
        assert_eq!(read(&mut queue, 100), (0..100).collect::<Vec<u8>>());
    }

    #[test]
    fn what_is_lent_counts_until_it_is_given_back() {
        let mut queue = ReceiveQueue::default();
        queue.push_bytes(b"abc");
        queue.push_bytes(b"defg");
        let before = queue.footprint();
        let (pieces, account) = queue.lend(8, 5);
        assert_eq!(pieces.iter().map(Payload::bytes).collect::<Vec<_>>(), [&b"abc"[..], b"de"]);
        assert!((queue.len(), account.lent() > 0) == (2, true) && queue.footprint() >= before);
        queue.clear();
        assert_eq!(queue.footprint(), account.lent());
        pieces.iter().for_each(|piece| account.subtract(piece));
        assert_eq!((queue.footprint(), queue.lend(8, usize::MAX).0.len()), (0, 0));
    }

    #[test]
    fn full_buffers_are_not_copied() {
        let mut queue = ReceiveQueue::default();
        queue.push(Payload::new(vec![1; 2048].into_boxed_slice(), 0..10));
        queue.push(Payload::new(vec![2; 2048].into_boxed_slice(), 0..1448));
        assert_eq!(queue.payloads.len(), 2);
    }
}
