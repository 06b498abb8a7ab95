//! [`UserWriter`]: bytes to the program.

use core::mem;

use abi::{Errno, Iovec};
use sync::machine;
use zerocopy::{Immutable, IntoBytes};

use super::UserFault;
use super::segments::{Segments, or_efault, or_fault};
use crate::frame::{FrameMachine, FrameNumber};
use crate::pieces::{FramePiece, PieceCursor};

/// A sink of bytes: program memory, a kernel buffer, or pieces of frames.
#[derive(Debug)]
pub struct UserWriter<'a>(Sink<'a>);

#[derive(Debug)]
enum Sink<'a> {
    User(Segments<'a>),
    Kernel(&'a mut [u8]),
    Pieces(PieceCursor<'a>),
}

impl UserWriter<'static> {
    /// `len` bytes of program memory. EFAULT when the range leaves the program's half.
    #[inline]
    pub fn new(address: usize, len: usize) -> Result<Self, Errno> {
        Segments::new(address, len).map(Sink::User).map(Self)
    }
}

/// What zeroes are copied from.
static ZEROES: [u8; 1024] = [0; 1024];

impl<'a> UserWriter<'a> {
    /// The segments of an iovec, in order. EINVAL for too many or a negative length, EFAULT outside the program's half.
    pub fn from_iovecs(iovecs: &'a [Iovec]) -> Result<Self, Errno> {
        Segments::from_iovecs(iovecs).map(Sink::User).map(Self)
    }

    /// A kernel buffer.
    #[must_use]
    pub const fn to_kernel(bytes: &'a mut [u8]) -> Self {
        Self(Sink::Kernel(bytes))
    }

    /// Pieces to be filled in order. Their frames are the caller's alone.
    #[must_use]
    pub fn to_pieces(pieces: &'a [FramePiece]) -> Self {
        Self(Sink::Pieces(PieceCursor::new(pieces)))
    }

    /// Another writer of what is left, to try something that may have to be done again. It moves this one nowhere.
    pub fn again(&mut self) -> UserWriter<'_> {
        UserWriter(match &mut self.0 {
            Sink::User(segments) => Sink::User(segments.clone()),
            Sink::Kernel(bytes) => Sink::Kernel(bytes),
            Sink::Pieces(cursor) => Sink::Pieces(cursor.clone()),
        })
    }

    /// Passes over up to `len` bytes, which are as they should be.
    pub fn skip(&mut self, len: usize) {
        match &mut self.0 {
            Sink::User(segments) => _ = segments.transfer(len, |_, _, piece| piece),
            Sink::Kernel(bytes) => *bytes = mem::take(bytes).split_at_mut(len.min(bytes.len())).1,
            Sink::Pieces(cursor) => _ = cursor.pass(len, |_, _, _, _| {}),
        }
    }

    /// Room not yet written.
    #[must_use]
    #[inline]
    pub const fn remaining(&self) -> usize {
        match &self.0 {
            Sink::User(segments) => segments.remaining,
            Sink::Kernel(bytes) => bytes.len(),
            Sink::Pieces(cursor) => cursor.remaining,
        }
    }

    /// The bits that are set in any address or length of program memory that is left: how all of it is aligned.
    #[must_use]
    pub fn alignment_bits(&self) -> usize {
        match &self.0 {
            Sink::User(segments) => segments.alignment_bits(),
            Sink::Kernel(_) | Sink::Pieces(_) => 0,
        }
    }

    /// True when no room is left.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.remaining() == 0
    }

    /// Writes as much of `source` as there is room for. Short before a byte that cannot be
    /// written; EFAULT when that is the first one.
    #[inline]
    pub fn write(&mut self, source: &[u8]) -> Result<usize, Errno> {
        match &mut self.0 {
            Sink::User(segments) => or_efault(segments.transfer(source.len(), |done, address, len| {
                machine::copy_to_user(address, &source[done..done + len])
            })),
            Sink::Kernel(bytes) => Ok(put_bytes(bytes, source)),
            Sink::Pieces(cursor) => Ok(put_pieces(cursor, source)),
        }
    }

    /// Writes all of `source` or fails with EFAULT (also when there is less room).
    pub fn write_all(&mut self, source: &[u8]) -> Result<(), Errno> {
        (self.write(source)? == source.len()).then_some(()).ok_or(Errno::EFAULT)
    }

    /// Writes a structure.
    #[inline]
    pub fn write_struct<T: IntoBytes + Immutable>(&mut self, value: &T) -> Result<(), Errno> {
        let bytes = value.as_bytes();
        match &mut self.0 {
            Sink::User(segments) if let Some(address) = segments.contiguous(bytes.len()) => {
                if !machine::write_user_struct(address, bytes) {
                    return Err(Errno::EFAULT);
                }
                segments.advance(bytes.len());
                Ok(())
            }
            _ => self.write_all(bytes),
        }
    }

    /// Writes up to `len` zeroes; otherwise as [`Self::write`].
    pub fn fill_zero(&mut self, len: usize) -> Result<usize, Errno> {
        match ZEROES.get(..len) {
            Some(zeroes) => self.write(zeroes),
            None => self.fill_many_zeroes(len),
        }
    }

    #[cold]
    #[inline(never)]
    fn fill_many_zeroes(&mut self, len: usize) -> Result<usize, Errno> {
        let mut done = 0;
        while done < len && !self.is_full() {
            let part = ZEROES.len().min(len - done).min(self.remaining());
            match self.write(&ZEROES[..part]) {
                Ok(copied) => done += copied,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    }

    /// As [`Self::write`], but pages nothing in: locks may be held.
    pub fn write_nofault(&mut self, source: &[u8]) -> Result<usize, UserFault> {
        match &mut self.0 {
            Sink::User(segments) => {
                let moved = segments.transfer(source.len(), |done, address, len| {
                    machine::copy_to_user_nofault(address, &source[done..done + len])
                });
                or_fault(moved, true)
            }
            Sink::Kernel(bytes) => Ok(put_bytes(bytes, source)),
            Sink::Pieces(cursor) => Ok(put_pieces(cursor, source)),
        }
    }

    /// [`crate::Frame::read_to`].
    pub(crate) fn fill_from_frame(
        &mut self,
        frames: &dyn FrameMachine,
        frame: FrameNumber,
        offset: usize,
        len: usize,
    ) -> Result<usize, UserFault> {
        match &mut self.0 {
            Sink::User(segments) => {
                let moved = segments.transfer(len, |done, address, piece| {
                    frames.copy_to_user_nofault(frame, offset + done, address, piece)
                });
                or_fault(moved, true)
            }
            Sink::Kernel(bytes) => {
                let len = len.min(bytes.len());
                let (now, later) = mem::take(bytes).split_at_mut(len);
                frames.read(frame, offset, now);
                *bytes = later;
                Ok(len)
            }
            Sink::Pieces(cursor) => Ok(cursor.fill_from_frame(frames, frame, offset, len)),
        }
    }
}

/// Moves bytes of `source` to the front of `destination`.
fn put_bytes(destination: &mut &mut [u8], source: &[u8]) -> usize {
    let len = source.len().min(destination.len());
    let (now, later) = mem::take(destination).split_at_mut(len);
    now.copy_from_slice(&source[..len]);
    *destination = later;
    len
}

/// Moves bytes of `source` to the front of pieces.
fn put_pieces(destination: &mut PieceCursor<'_>, source: &[u8]) -> usize {
    destination.pass(source.len(), |frame, offset, done, part| frame.write(offset, &source[done..done + part]))
}
