//! [`Inbox`]: what a connection has received and its program has not taken.
//!
//! Bytes lie in one queue, whatever packets they came in; messages are lengths beside it. So a peer that sends single
//! bytes takes little more memory here than one that sends pages, and credit bounds both.

use alloc::collections::VecDeque;

use abi::Errno;
use mm::user::UserWriter;

use super::packet::{END_OF_MESSAGE, END_OF_RECORD, Kind};
use crate::byte_queue::ByteQueue;

/// Messages that wait at most: as many as there are bytes in the largest buffer that a program gets by default.
/// Messages without bytes need no credit.
const MESSAGES_MAX: usize = 256 * 1024;

/// A message that is complete.
#[derive(Clone, Copy, Debug)]
struct Message {
    len: usize,
    is_record_end: bool,
}

/// What a read got.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes that were written to the program.
    pub(super) copied: usize,
    /// The bytes of the message, or of the stream that was read.
    pub(super) len: usize,
    /// The message was sent with `MSG_EOR`.
    pub(super) is_record_end: bool,
}

/// What was received.
pub(super) struct Inbox {
    bytes: ByteQueue,
    /// None in a stream.
    messages: Option<VecDeque<Message>>,
    /// Bytes of a message whose end has not come.
    partial: usize,
}

impl Inbox {
    pub(super) fn new(kind: Kind) -> Self {
        let messages = (kind == Kind::Seqpacket).then(VecDeque::new);
        Self { bytes: ByteQueue::new(), messages, partial: 0 }
    }

    /// Bytes, of messages that are complete and of one that is not.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The memory that all this takes: messages have a record each, with or without bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.len() + self.messages.as_ref().map_or(0, |messages| messages.len() * size_of::<Message>())
    }

    /// Whether there is something to read, with as many bytes as a reader waits for.
    pub(super) fn is_readable(&self, low_water: usize) -> bool {
        match &self.messages {
            Some(messages) => !messages.is_empty(),
            None => self.bytes.len() >= low_water.max(1),
        }
    }

    /// Adds what came in a packet. False: there are too many messages, or there is no memory.
    pub(super) fn push(&mut self, payload: &[u8], flags: u32) -> bool {
        if !self.bytes.append(payload) {
            return false;
        }
        let Some(messages) = &mut self.messages else { return true };
        self.partial += payload.len();
        if flags & END_OF_MESSAGE == 0 {
            return true;
        }
        if messages.len() >= MESSAGES_MAX || messages.try_reserve(1).is_err() {
            return false;
        }
        let len = core::mem::take(&mut self.partial);
        messages.push_back(Message { len, is_record_end: flags & END_OF_RECORD != 0 });
        true
    }

    /// Reads bytes, or the first message: what there is no room for is lost, as of a datagram. Nothing is taken away by
    /// a look. None: there is nothing.
    pub(super) fn read(&mut self, to: &mut UserWriter<'_>, is_look: bool) -> Result<Option<Taken>, Errno> {
        if !self.is_readable(1) {
            return Ok(None);
        }
        let first = self.messages.as_ref().and_then(VecDeque::front).copied();
        let len = first.map_or(self.bytes.len(), |message| message.len);
        let copied = self.bytes.peek(to, 0, len)?;
        let taken = if first.is_some() { len } else { copied };
        if !is_look {
            self.bytes.discard(taken);
            if let Some(messages) = &mut self.messages {
                messages.pop_front();
            }
        }
        Ok(Some(Taken { copied, len: taken, is_record_end: first.is_some_and(|message| message.is_record_end) }))
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.partial = 0;
        if let Some(messages) = &mut self.messages {
            *messages = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit as _;

    use super::*;

    fn read(inbox: &mut Inbox, room: usize, is_look: bool) -> Option<(alloc::vec::Vec<u8>, usize, bool)> {
        let mut bytes = alloc::vec![0; room];
        let taken = inbox.read(&mut UserWriter::to_kernel(&mut bytes), is_look).unwrap()?;
        bytes.truncate(taken.copied);
        Some((bytes, taken.len, taken.is_record_end))
    }

    #[test]
    fn messages_keep_their_ends() {
        let mut inbox = Inbox::new(Kind::Seqpacket);
        assert!(inbox.push(b"one, ", 0));
        assert!(!inbox.is_readable(1) && read(&mut inbox, 9, false).is_none());
        assert!(inbox.push(b"two", END_OF_MESSAGE) && inbox.push(b"", END_OF_MESSAGE));
        assert!(inbox.push(b"three", END_OF_MESSAGE | END_OF_RECORD) && inbox.push(b"rest", 0));
        assert_eq!(read(&mut inbox, 3, true), Some((b"one".to_vec(), 8, false)));
        assert_eq!(read(&mut inbox, 3, false), Some((b"one".to_vec(), 8, false)));
        assert_eq!(read(&mut inbox, 3, false), Some((b"".to_vec(), 0, false)));
        assert_eq!(read(&mut inbox, 30, false), Some((b"three".to_vec(), 5, true)));
        assert_eq!((read(&mut inbox, 30, false), inbox.len()), (None, 4));
        inbox.clear();
        assert_eq!(inbox.len(), 0);
    }

    #[test]
    fn a_stream_has_no_ends() {
        let mut inbox = Inbox::new(Kind::Stream);
        assert!(inbox.push(b"ab", END_OF_MESSAGE) && inbox.push(b"cd", 0));
        assert!(inbox.is_readable(4) && !inbox.is_readable(5));
        assert_eq!(read(&mut inbox, 3, true), Some((b"abc".to_vec(), 3, false)));
        assert_eq!(read(&mut inbox, 3, false), Some((b"abc".to_vec(), 3, false)));
        assert_eq!(read(&mut inbox, 3, false), Some((b"d".to_vec(), 1, false)));
        assert_eq!(read(&mut inbox, 3, false), None);
    }

    #[test]
    fn messages_without_bytes_are_bounded() {
        let mut inbox = Inbox::new(Kind::Seqpacket);
        assert!((0..MESSAGES_MAX).all(|_| inbox.push(b"", END_OF_MESSAGE)));
        assert!(!inbox.push(b"", END_OF_MESSAGE));
    }
}
