//! [`Urgent`]: the urgent byte of a received stream, and the mark that it leaves there.
//!
//! # Theory
//!
//! Linux has the rules in `tcp_check_urg`, `tcp_recv_urg`, `tcp_recvmsg` and `tcp_inq`; tcp(7) and RFC 6093 say little
//! of them.
//!
//! 1. The urgent pointer is taken as all systems take it: it points behind the urgent byte, which is the last before it
//!    (RFC 6093, section 3). There is one byte at a time; a newer one takes the older's place, which then is an
//!    ordinary byte of the stream.
//! 2. A pointer that comes for the first time is news, of which the owner of the socket is told (`SIGURG`), though the
//!    byte may come later.
//! 3. The byte is taken apart from the stream (`MSG_OOB`), and its place stays a mark until reading has passed it.
//! 4. A read that has bytes stops at the mark, so that the program can ask whether it is there (`SIOCATMARK`). One that
//!    begins there leaves the byte out, or with `SO_OOBINLINE` reads it as any other. A look (`MSG_PEEK`) does the same
//!    and passes nothing.
//! 5. What can be read counts up to the mark, and is nothing at it; `poll` counts what is behind it, too.
//! 6. News pass a mark at which reading stands: its byte is left out then and there.
//!
//! Places are sequence numbers, or anything else that counts bytes modulo 2^32.

use abi::Errno;

use super::SequenceNumber;
use super::sequence::{is_after, is_before};

/// What is known of the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Byte {
    /// There is none.
    #[default]
    None,
    /// It was announced.
    Awaited,
    /// It is there.
    There(u8),
    /// It was taken; the mark is left.
    Taken,
}

/// How a read goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) enum Step {
    /// So many bytes are ordinary ones.
    Read(usize),
    /// The next byte is left out.
    Pass,
    /// It is over.
    Stop,
}

/// What a program has, and wants to know of.
#[derive(Clone, Copy, Debug)]
pub(in crate::tcp) struct Reader {
    /// The next byte to be read.
    pub next: SequenceNumber,
    /// Bytes that wait.
    pub len: usize,
    /// `SO_OOBINLINE`.
    pub is_inline: bool,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tcp) struct Urgent {
    byte: Byte,
    /// The place of the byte, unless there is none.
    at: SequenceNumber,
    has_news: bool,
}

impl Urgent {
    /// Whether there is neither byte nor mark: all bytes are ordinary ones.
    #[inline]
    pub(in crate::tcp) fn is_empty(&self) -> bool {
        self.byte == Byte::None
    }

    /// The peer says that the byte at `at` is urgent. True: the byte at which reading stands was urgent before and is
    /// to be dropped.
    pub(in crate::tcp) fn announce(&mut self, at: SequenceNumber, reader: Reader) -> bool {
        let received = reader.next.wrapping_add(super::sequence::length(reader.len));
        let is_known = !self.is_empty() && !is_after(at, self.at);
        if is_before(at, reader.next) || is_before(at, received) || is_known {
            return false;
        }
        let passes_byte = self.is_at_mark(reader.next) && !reader.is_inline && reader.len > 0;
        *self = Self { byte: Byte::Awaited, at, has_news: true };
        passes_byte
    }

    /// Bytes have come; `bytes` begin at `start`.
    #[inline]
    pub(in crate::tcp) fn note_bytes(&mut self, start: SequenceNumber, bytes: &[u8]) {
        if self.byte == Byte::Awaited
            && let Some(byte) = bytes.get(self.at.wrapping_sub(start) as usize)
        {
            self.byte = Byte::There(*byte);
        }
    }

    /// Whether something was announced since the last call.
    pub(in crate::tcp) fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.has_news)
    }

    /// The byte, as `MSG_OOB` takes it or looks at it: `EINVAL` if there is none apart from the stream, `EAGAIN` if it
    /// has not come.
    pub(in crate::tcp) fn take(&mut self, is_peek: bool, is_inline: bool) -> Result<u8, Errno> {
        match self.byte {
            _ if is_inline => Err(Errno::EINVAL),
            Byte::None | Byte::Taken => Err(Errno::EINVAL),
            Byte::Awaited => Err(Errno::EAGAIN),
            Byte::There(byte) => {
                if !is_peek {
                    self.byte = Byte::Taken;
                }
                Ok(byte)
            }
        }
    }

    /// Whether there is a byte to take (`POLLPRI`).
    pub(in crate::tcp) fn has_byte(&self) -> bool {
        matches!(self.byte, Byte::There(_))
    }

    /// Whether the next byte to be read is the urgent one, or was it.
    pub(in crate::tcp) fn is_at_mark(&self, next: SequenceNumber) -> bool {
        !self.is_empty() && self.at == next
    }

    /// How a read or look goes on that has got `done` bytes.
    pub(in crate::tcp) fn step(&self, reader: Reader, done: usize) -> Step {
        let before = self.at.wrapping_sub(reader.next) as usize;
        if self.is_empty() || before > reader.len || (before == 0 && reader.is_inline && done == 0) {
            return Step::Read(reader.len);
        }
        match before {
            0 if done > 0 => Step::Stop,
            0 if reader.len > 0 => Step::Pass,
            0 => Step::Stop,
            before => Step::Read(before),
        }
    }

    /// Reading stands at `next`: a mark before that is no more.
    #[inline]
    pub(in crate::tcp) fn pass(&mut self, next: SequenceNumber) {
        if !self.is_empty() && is_after(next, self.at) {
            self.byte = Byte::None;
        }
    }

    /// Bytes that reads give (`SIOCINQ`): up to the mark.
    pub(in crate::tcp) fn waiting_len(&self, reader: Reader) -> usize {
        let before = self.at.wrapping_sub(reader.next) as usize;
        if self.is_empty() || reader.is_inline || before >= reader.len { reader.len } else { before }
    }

    /// Bytes that make it readable: all but the one at a mark where reading stands.
    #[inline]
    pub(in crate::tcp) fn readable_len(&self, reader: Reader) -> usize {
        let is_left_out = !self.is_empty() && self.at == reader.next && !reader.is_inline;
        reader.len.saturating_sub(usize::from(is_left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(next: u32, len: usize) -> Reader {
        Reader { next, len, is_inline: false }
    }

    #[test]
    fn a_byte_is_announced_comes_and_is_taken() {
        let mut urgent = Urgent::default();
        assert!(!urgent.announce(104, reader(100, 0)) && urgent.take_news() && !urgent.take_news());
        assert_eq!((urgent.take(false, false), urgent.has_byte()), (Err(Errno::EAGAIN), false));
        assert!(!urgent.announce(104, reader(100, 0)) && !urgent.announce(103, reader(100, 0)) && !urgent.take_news());
        urgent.note_bytes(100, b"abc");
        assert!(!urgent.has_byte());
        urgent.note_bytes(103, b"de");
        assert_eq!((urgent.has_byte(), urgent.take(false, true)), (true, Err(Errno::EINVAL)));
        assert_eq!((urgent.take(true, false), urgent.take(false, false)), (Ok(b'e'), Ok(b'e')));
        assert_eq!((urgent.take(false, false), urgent.is_at_mark(104)), (Err(Errno::EINVAL), true));
    }

    #[test]
    fn reading_stops_at_the_mark_and_leaves_the_byte_out() {
        let mut urgent = Urgent::default();
        urgent.announce(104, reader(100, 4));
        assert_eq!((urgent.step(reader(100, 6), 0), urgent.waiting_len(reader(100, 6))), (Step::Read(4), 4));
        assert_eq!((urgent.step(reader(104, 2), 4), urgent.step(reader(104, 2), 0)), (Step::Stop, Step::Pass));
        assert_eq!((urgent.waiting_len(reader(104, 2)), urgent.readable_len(reader(104, 2))), (0, 1));
        let inline = Reader { is_inline: true, ..reader(104, 2) };
        assert_eq!((urgent.step(inline, 0), urgent.step(inline, 1)), (Step::Read(2), Step::Stop));
        assert_eq!((urgent.waiting_len(inline), urgent.readable_len(inline)), (2, 2));
        urgent.pass(104);
        assert!(!urgent.is_empty());
        urgent.pass(105);
        assert!(urgent.is_empty());
    }

    #[test]
    fn news_pass_the_mark_at_which_reading_stands() {
        let mut urgent = Urgent::default();
        urgent.announce(100, reader(100, 0));
        assert!(!urgent.announce(101, reader(100, 0)), "the byte has not come");
        urgent.announce(102, reader(101, 1));
        assert!(!urgent.announce(103, reader(101, 2)), "reading does not stand there");
        assert!(urgent.announce(110, reader(103, 1)));
        assert!(!urgent.announce(109, reader(104, 0)) && !urgent.announce(112, reader(120, 0)), "old");
    }
}
