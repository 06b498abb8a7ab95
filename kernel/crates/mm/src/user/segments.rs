//! A cursor over segments of program memory: what reader and writer have in common.

use alloc::vec::{self, Vec};

use abi::{Errno, Iovec};

use super::{IOVEC_COUNT_MAX, TRANSFER_LEN_MAX, UserFault, check_range};

/// A cursor over segments of program memory.
#[derive(Clone, Debug)]
pub(super) struct Segments {
    address: usize,
    /// Bytes left in the current segment.
    len: usize,
    /// Bytes left in all segments; may be less than their sum, as a transfer has a limit.
    pub(super) remaining: usize,
    /// The segments behind the current one, if there are any.
    rest: Option<vec::IntoIter<Iovec>>,
}

impl Segments {
    #[inline]
    pub(super) fn new(address: usize, len: usize) -> Result<Self, Errno> {
        check_range(address, len)?;
        let len = len.min(TRANSFER_LEN_MAX);
        Ok(Self { address, len, remaining: len, rest: None })
    }

    pub(super) fn from_iovecs(iovecs: Vec<Iovec>) -> Result<Self, Errno> {
        if iovecs.len() > IOVEC_COUNT_MAX {
            return Err(Errno::EINVAL);
        }
        let mut remaining: usize = 0;
        for iovec in &iovecs {
            let (address, len) = iovec_parts(iovec);
            if isize::try_from(len).is_err() {
                return Err(Errno::EINVAL);
            }
            check_range(address, len)?;
            remaining = remaining.saturating_add(len);
        }
        Ok(Self { address: 0, len: 0, remaining: remaining.min(TRANSFER_LEN_MAX), rest: Some(iovecs.into_iter()) })
    }

    /// The bits that are set in any address or length of what is left.
    pub(super) fn alignment_bits(&self) -> usize {
        let current = if self.len > 0 { self.address | self.len } else { 0 };
        let rest = self.rest.iter().flat_map(|rest| rest.as_slice());
        rest.map(iovec_parts).filter(|(_, len)| *len > 0).fold(current, |bits, (address, len)| bits | address | len)
    }

    /// Leaves at most `len` bytes, in the segments as well.
    pub(super) fn truncate(&mut self, len: usize) {
        let mut left = len.min(self.remaining);
        self.remaining = left;
        self.len = self.len.min(left);
        left -= self.len;
        for iovec in self.rest.iter_mut().flat_map(|rest| rest.as_mut_slice()) {
            iovec.iov_len = iovec.iov_len.min(left);
            left -= iovec.iov_len;
        }
    }

    /// The next contiguous piece of at most `len` bytes; empty only at the end or for `len` 0.
    fn piece(&mut self, len: usize) -> (usize, usize) {
        let len = len.min(self.remaining);
        if len == 0 {
            return (self.address, 0);
        }
        while self.len == 0 {
            let Some(iovec) = self.rest.as_mut().and_then(Iterator::next) else { return (self.address, 0) };
            (self.address, self.len) = iovec_parts(&iovec);
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

    #[cold]
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
