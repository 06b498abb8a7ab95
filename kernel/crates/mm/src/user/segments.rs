//! A cursor over segments of program memory: what reader and writer have in common.

use core::slice;

use abi::{Errno, Iovec};

use super::{IOVEC_COUNT_MAX, TRANSFER_LEN_MAX, UserFault, check_range};

/// A cursor over segments of program memory.
#[derive(Clone, Debug)]
pub(super) struct Segments<'a> {
    address: usize,
    /// Bytes left in the current segment.
    len: usize,
    /// Bytes left in all segments; may be less than their sum, as a transfer has a limit.
    pub(super) remaining: usize,
    /// The segments behind the current one.
    rest: slice::Iter<'a, Iovec>,
}

impl<'a> Segments<'a> {
    #[inline]
    pub(super) fn new(address: usize, len: usize) -> Result<Self, Errno> {
        check_range(address, len)?;
        let len = len.min(TRANSFER_LEN_MAX);
        Ok(Self { address, len, remaining: len, rest: [].iter() })
    }

    pub(super) fn from_iovecs(iovecs: &'a [Iovec]) -> Result<Self, Errno> {
        if iovecs.len() > IOVEC_COUNT_MAX {
            return Err(Errno::EINVAL);
        }
        let mut remaining: usize = 0;
        for iovec in iovecs {
            let (address, len) = iovec_parts(iovec);
            if isize::try_from(len).is_err() {
                return Err(Errno::EINVAL);
            }
            check_range(address, len)?;
            remaining = remaining.saturating_add(len);
        }
        let remaining = remaining.min(TRANSFER_LEN_MAX);
        let mut rest = iovecs.iter();
        let (address, len) = rest.next().map_or((0, 0), iovec_parts);
        Ok(Self { address, len: len.min(remaining), remaining, rest })
    }

    /// The bits that are set in any address or length of what is left.
    pub(super) fn alignment_bits(&self) -> usize {
        let mut bits = if self.len > 0 { self.address | self.len } else { 0 };
        let mut left = self.remaining - self.len;
        for iovec in self.rest.clone() {
            let (address, len) = iovec_parts(iovec);
            let len = len.min(left);
            if len > 0 {
                bits |= address | len;
            }
            left -= len;
        }
        bits
    }

    /// Leaves at most `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.remaining = len.min(self.remaining);
        self.len = self.len.min(self.remaining);
    }

    /// The next contiguous piece of at most `len` bytes; empty only at the end or for `len` 0.
    #[inline]
    fn piece(&mut self, len: usize) -> (usize, usize) {
        let len = len.min(self.remaining);
        if len == 0 {
            return (self.address, 0);
        }
        while self.len == 0 {
            let Some(iovec) = self.rest.next() else { return (self.address, 0) };
            (self.address, self.len) = iovec_parts(iovec);
            self.len = self.len.min(self.remaining);
        }
        (self.address, len.min(self.len))
    }

    /// Where the next `len` bytes are, if they are there and in one piece.
    #[inline]
    pub(super) fn contiguous(&self, len: usize) -> Option<usize> {
        (len <= self.len && len <= self.remaining).then_some(self.address)
    }

    #[inline]
    pub(super) fn advance(&mut self, len: usize) {
        debug_assert!(len <= self.len && len <= self.remaining);
        self.address += len;
        self.len -= len;
        self.remaining -= len;
    }

    /// Moves up to `len` bytes through `copy(done, address, len) -> copied`. Returns the bytes
    /// moved and the address of the byte that stopped it, if one did.
    #[inline]
    pub(super) fn transfer(
        &mut self,
        len: usize,
        mut copy: impl FnMut(usize, usize, usize) -> usize,
    ) -> (usize, Option<usize>) {
        let len = len.min(self.remaining);
        if len <= self.len {
            // Nearly every transfer lies in one segment.
            let copied = copy(0, self.address, len);
            self.advance(copied);
            return (copied, (copied < len).then_some(self.address));
        }
        self.transfer_pieces(len, copy)
    }

    #[inline(never)]
    fn transfer_pieces(
        &mut self,
        len: usize,
        mut copy: impl FnMut(usize, usize, usize) -> usize,
    ) -> (usize, Option<usize>) {
        let mut done = 0;
        loop {
            let (address, piece) = self.piece(len - done);
            if piece == 0 {
                return (done, None);
            }
            let copied = copy(done, address, piece);
            self.advance(copied);
            done += copied;
            if copied < piece {
                return (done, Some(self.address));
            }
        }
    }
}

/// Address and length of a segment.
fn iovec_parts(iovec: &Iovec) -> (usize, usize) {
    (iovec.iov_base, iovec.iov_len)
}

/// EFAULT when a transfer that was stopped made no progress.
pub(super) fn or_efault((done, stopped): (usize, Option<usize>)) -> Result<usize, Errno> {
    match stopped {
        Some(_) if done == 0 => Err(Errno::EFAULT),
        _ => Ok(done),
    }
}

/// The fault when a transfer that was stopped made no progress.
pub(super) fn or_fault((done, stopped): (usize, Option<usize>), is_store: bool) -> Result<usize, UserFault> {
    match stopped {
        Some(address) if done == 0 => Err(UserFault { address, is_store }),
        _ => Ok(done),
    }
}
