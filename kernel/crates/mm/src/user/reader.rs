//! [`UserReader`]: bytes from the program.

use abi::{Errno, Iovec};
use sync::machine;
use zerocopy::{FromBytes, IntoBytes};

use super::UserFault;
use super::segments::{Segments, or_efault, or_fault};
use crate::frame::{FrameMachine, FrameNumber};
use crate::pieces::{FramePiece, PieceCursor};

/// A source of bytes: program memory, a kernel buffer, or pieces of frames.
#[derive(Clone, Debug)]
pub struct UserReader<'a>(Source<'a>);

#[derive(Clone, Debug)]
enum Source<'a> {
    User(Segments<'a>),
    Kernel(&'a [u8]),
    Pieces(PieceCursor<'a>),
}

impl UserReader<'static> {
    /// `len` bytes of program memory. EFAULT when the range leaves the program's half.
    #[inline]
    pub fn new(address: usize, len: usize) -> Result<Self, Errno> {
        Segments::new(address, len).map(Source::User).map(Self)
    }
}

impl<'a> UserReader<'a> {
    /// The segments of an iovec, in order. EINVAL for too many or a negative length, EFAULT outside the program's half.
    pub fn from_iovecs(iovecs: &'a [Iovec]) -> Result<Self, Errno> {
        Segments::from_iovecs(iovecs).map(Source::User).map(Self)
    }

    /// The bytes of a kernel buffer.
    #[must_use]
    pub const fn from_kernel(bytes: &'a [u8]) -> Self {
        Self(Source::Kernel(bytes))
    }

    /// The bytes of pieces, in order.
    #[must_use]
    pub fn from_pieces(pieces: &'a [FramePiece]) -> Self {
        Self(Source::Pieces(PieceCursor::new(pieces)))
    }

    /// Bytes not yet read.
    #[must_use]
    #[inline]
    pub const fn remaining(&self) -> usize {
        match &self.0 {
            Source::User(segments) => segments.remaining,
            Source::Kernel(bytes) => bytes.len(),
            Source::Pieces(cursor) => cursor.remaining,
        }
    }

    /// The bits that are set in any address or length of program memory that is left: how all of it is aligned.
    #[must_use]
    pub fn alignment_bits(&self) -> usize {
        match &self.0 {
            Source::User(segments) => segments.alignment_bits(),
            Source::Kernel(_) | Source::Pieces(_) => 0,
        }
    }

    /// True when all was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// Reads up to `destination.len()` bytes. Short at the end, or before a byte that cannot be
    /// read; EFAULT when that is the first one.
    #[inline]
    pub fn read(&mut self, destination: &mut [u8]) -> Result<usize, Errno> {
        match &mut self.0 {
            Source::User(segments) => or_efault(segments.transfer(destination.len(), |done, address, len| {
                machine::copy_from_user(&mut destination[done..done + len], address)
            })),
            Source::Kernel(bytes) => Ok(take_bytes(bytes, destination)),
            Source::Pieces(cursor) => Ok(take_pieces(cursor, destination)),
        }
    }

    /// Fills `destination` or fails with EFAULT (also when fewer bytes remain).
    pub fn read_exact(&mut self, destination: &mut [u8]) -> Result<(), Errno> {
        (self.read(destination)? == destination.len()).then_some(()).ok_or(Errno::EFAULT)
    }

    /// Reads a structure.
    #[inline]
    pub fn read_struct<T: FromBytes + IntoBytes>(&mut self) -> Result<T, Errno> {
        let value = self.peek_struct()?;
        self.skip(size_of::<T>());
        Ok(value)
    }

    /// As [`Self::read_struct`], but the bytes are there to be read again.
    #[inline]
    pub fn peek_struct<T: FromBytes + IntoBytes>(&self) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        match &self.0 {
            Source::User(segments) if let Some(address) = segments.contiguous(bytes.len()) => {
                if !machine::read_user_struct(bytes, address) {
                    return Err(Errno::EFAULT);
                }
            }
            _ => self.clone().read_exact(bytes)?,
        }
        Ok(value)
    }

    /// As [`Self::read`], but pages nothing in: locks may be held.
    pub fn read_nofault(&mut self, destination: &mut [u8]) -> Result<usize, UserFault> {
        match &mut self.0 {
            Source::User(segments) => {
                let moved = segments.transfer(destination.len(), |done, address, len| {
                    machine::copy_from_user_nofault(&mut destination[done..done + len], address)
                });
                or_fault(moved, false)
            }
            Source::Kernel(bytes) => Ok(take_bytes(bytes, destination)),
            Source::Pieces(cursor) => Ok(take_pieces(cursor, destination)),
        }
    }

    /// Leaves at most `len` bytes to be read.
    pub fn truncate(&mut self, len: usize) {
        match &mut self.0 {
            Source::User(segments) => segments.truncate(len),
            Source::Kernel(bytes) => *bytes = &bytes[..len.min(bytes.len())],
            Source::Pieces(cursor) => cursor.remaining = cursor.remaining.min(len),
        }
    }

    /// Skips up to `len` bytes and returns how many.
    #[inline]
    pub fn skip(&mut self, len: usize) -> usize {
        match &mut self.0 {
            Source::User(segments) => segments.transfer(len, |_, _, piece| piece).0,
            Source::Kernel(bytes) => {
                let len = len.min(bytes.len());
                *bytes = &bytes[len..];
                len
            }
            Source::Pieces(cursor) => cursor.pass(len, |_, _, _, _| {}),
        }
    }

    /// [`crate::Frame::write_from`].
    pub(crate) fn drain_to_frame(
        &mut self,
        frames: &dyn FrameMachine,
        frame: FrameNumber,
        offset: usize,
        len: usize,
    ) -> Result<usize, UserFault> {
        match &mut self.0 {
            Source::User(segments) => {
                let moved = segments.transfer(len, |done, address, piece| {
                    frames.copy_from_user_nofault(frame, offset + done, address, piece)
                });
                or_fault(moved, false)
            }
            Source::Kernel(bytes) => {
                let (now, later) = bytes.split_at(len.min(bytes.len()));
                frames.write(frame, offset, now);
                *bytes = later;
                Ok(now.len())
            }
            Source::Pieces(cursor) => Ok(cursor.copy_to_frame(frames, frame, offset, len)),
        }
    }

    /// As [`Self::drain_to_frame`], but moves all of `len` bytes or nothing.
    pub(crate) fn drain_all_to_frame(
        &mut self,
        frames: &dyn FrameMachine,
        frame: FrameNumber,
        offset: usize,
        len: usize,
    ) -> Result<(), UserFault> {
        match &mut self.0 {
            Source::User(segments) if let Some(address) = segments.contiguous(len) => {
                let copied = frames.copy_from_user_nofault(frame, offset, address, len);
                if copied < len {
                    return Err(UserFault { address: address + copied, is_store: false });
                }
                segments.advance(len);
                Ok(())
            }
            _ => self.drain_pieces_to_frame(frames, frame, offset, len),
        }
    }

    /// The rest of [`Self::drain_all_to_frame`]: what lies in several pieces.
    #[cold]
    fn drain_pieces_to_frame(
        &mut self,
        frames: &dyn FrameMachine,
        frame: FrameNumber,
        offset: usize,
        len: usize,
    ) -> Result<(), UserFault> {
        let mut attempt = self.clone();
        let mut copied = 0;
        while copied < len {
            copied += attempt.drain_to_frame(frames, frame, offset + copied, len - copied)?;
        }
        *self = attempt;
        Ok(())
    }
}

/// Moves bytes from the front of `source` to `destination`.
fn take_bytes(source: &mut &[u8], destination: &mut [u8]) -> usize {
    let len = destination.len().min(source.len());
    let (now, later) = source.split_at(len);
    destination[..len].copy_from_slice(now);
    *source = later;
    len
}

/// Moves bytes from the front of pieces to `destination`.
fn take_pieces(source: &mut PieceCursor<'_>, destination: &mut [u8]) -> usize {
    source.pass(destination.len(), |frame, offset, done, part| frame.read(offset, &mut destination[done..done + part]))
}
