//! Program memory: [`UserReader`] and [`UserWriter`], the only way to it.
//!
//! Both are cursors over a byte range (or several: an iovec) of the program, or over a kernel
//! buffer, so that kernel code which reads and writes files uses the same calls. Every byte is
//! fetched or stored once. No reference to program memory is ever formed: all access goes through
//! `sync::machine`, whose copies recover from faults and report how far they came.
//!
//! Two families of calls. The plain ones page memory in: they may sleep and no lock may be held
//! that a page fault needs. Those that return [`UserFault`] stop at the first page that is not
//! there; after dropping its locks the caller pages it in with [`UserFault::resolve`] and retries.
//!
//! Ranges are checked against [`USER_END`] when a cursor is made; whether something is mapped shows
//! only in the copy.

use alloc::vec::{self, Vec};
use core::mem;

use abi::{Errno, Iovec};
use sync::machine;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::frame::{FrameMachine, FrameNumber};
use crate::range::page_down;
use crate::{PAGE_SIZE, USER_END};

/// The most bytes one transfer moves (Linux's `MAX_RW_COUNT`); longer ones are cut short.
pub const TRANSFER_LEN_MAX: usize = 0x7fff_f000;
/// The most segments of one iovec (Linux's `UIO_MAXIOV`).
pub const IOVEC_COUNT_MAX: usize = 1024;

/// A page of program memory that a non-faulting copy did not find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "drop the locks, resolve the fault, retry"]
pub struct UserFault {
    address: usize,
    is_store: bool,
}

impl UserFault {
    /// The first byte that could not be copied.
    #[must_use]
    pub const fn address(self) -> usize {
        self.address
    }

    /// Pages the byte in, as a load or store of the program would. EFAULT when it cannot be.
    /// May sleep: hold no lock.
    pub fn resolve(self) -> Result<(), Errno> {
        fault_in(self.address, 1, self.is_store)
    }
}

/// Pages `len` bytes at `address` in, for loads or for stores, without touching them. EFAULT when the program could
/// not access them. May sleep: hold no lock.
pub fn fault_in(address: usize, len: usize, is_store: bool) -> Result<(), Errno> {
    check_range(address, len)?;
    let end = address + len;
    let mut at = address;
    while at < end {
        if !machine::page_in_user(at, is_store) {
            return Err(Errno::EFAULT);
        }
        at = page_down(at) + PAGE_SIZE;
    }
    Ok(())
}

/// EFAULT unless the range lies in the program's half.
pub fn check_range(address: usize, len: usize) -> Result<(), Errno> {
    match address.checked_add(len) {
        Some(end) if end <= USER_END => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// A cursor over segments of program memory.
#[derive(Clone, Debug)]
struct Segments {
    address: usize,
    /// Bytes left in the current segment.
    len: usize,
    /// Bytes left in all segments; may be less than their sum, as a transfer has a limit.
    remaining: usize,
    rest: vec::IntoIter<Iovec>,
}

impl Segments {
    fn new(address: usize, len: usize) -> Result<Self, Errno> {
        check_range(address, len)?;
        let len = len.min(TRANSFER_LEN_MAX);
        Ok(Self { address, len, remaining: len, rest: Vec::new().into_iter() })
    }

    fn from_iovecs(iovecs: Vec<Iovec>) -> Result<Self, Errno> {
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
        Ok(Self { address: 0, len: 0, remaining: remaining.min(TRANSFER_LEN_MAX), rest: iovecs.into_iter() })
    }

    /// The next contiguous piece of at most `len` bytes; empty only at the end or for `len` 0.
    fn piece(&mut self, len: usize) -> (usize, usize) {
        let len = len.min(self.remaining);
        if len == 0 {
            return (self.address, 0);
        }
        while self.len == 0 {
            let Some(iovec) = self.rest.next() else { return (self.address, 0) };
            (self.address, self.len) = iovec_parts(&iovec);
        }
        (self.address, len.min(self.len))
    }

    fn advance(&mut self, len: usize) {
        debug_assert!(len <= self.len && len <= self.remaining);
        self.address += len;
        self.len -= len;
        self.remaining -= len;
    }

    /// Moves up to `len` bytes through `copy(done, address, len) -> copied`. Returns the bytes
    /// moved and the address of the byte that stopped it, if one did.
    #[inline]
    fn transfer(&mut self, len: usize, mut copy: impl FnMut(usize, usize, usize) -> usize) -> (usize, Option<usize>) {
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
fn or_efault((done, stopped): (usize, Option<usize>)) -> Result<usize, Errno> {
    match stopped {
        Some(_) if done == 0 => Err(Errno::EFAULT),
        _ => Ok(done),
    }
}

/// The fault when a transfer that was stopped made no progress.
fn or_fault((done, stopped): (usize, Option<usize>), is_store: bool) -> Result<usize, UserFault> {
    match stopped {
        Some(address) if done == 0 => Err(UserFault { address, is_store }),
        _ => Ok(done),
    }
}

/// A source of bytes: program memory or a kernel buffer.
#[derive(Clone, Debug)]
pub struct UserReader<'a>(Source<'a>);

#[derive(Clone, Debug)]
enum Source<'a> {
    User(Segments),
    Kernel(&'a [u8]),
}

impl UserReader<'static> {
    /// `len` bytes of program memory. EFAULT when the range leaves the program's half.
    pub fn new(address: usize, len: usize) -> Result<Self, Errno> {
        Segments::new(address, len).map(Source::User).map(Self)
    }

    /// The segments of an iovec, in order. EINVAL for too many or a negative length, EFAULT outside the program's half.
    pub fn from_iovecs(iovecs: Vec<Iovec>) -> Result<Self, Errno> {
        Segments::from_iovecs(iovecs).map(Source::User).map(Self)
    }
}

impl<'a> UserReader<'a> {
    /// The bytes of a kernel buffer.
    #[must_use]
    pub const fn from_kernel(bytes: &'a [u8]) -> Self {
        Self(Source::Kernel(bytes))
    }

    /// Bytes not yet read.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        match &self.0 {
            Source::User(segments) => segments.remaining,
            Source::Kernel(bytes) => bytes.len(),
        }
    }

    /// True when all was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// Reads up to `destination.len()` bytes. Short at the end, or before a byte that cannot be
    /// read; EFAULT when that is the first one.
    pub fn read(&mut self, destination: &mut [u8]) -> Result<usize, Errno> {
        match &mut self.0 {
            Source::User(segments) => or_efault(segments.transfer(destination.len(), |done, address, len| {
                machine::copy_from_user(&mut destination[done..done + len], address)
            })),
            Source::Kernel(bytes) => Ok(take_bytes(bytes, destination)),
        }
    }

    /// Fills `destination` or fails with EFAULT (also when fewer bytes remain).
    pub fn read_exact(&mut self, destination: &mut [u8]) -> Result<(), Errno> {
        (self.read(destination)? == destination.len()).then_some(()).ok_or(Errno::EFAULT)
    }

    /// Reads a structure.
    pub fn read_struct<T: FromBytes + IntoBytes>(&mut self) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        self.read_exact(value.as_mut_bytes())?;
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
        }
    }

    /// Skips up to `len` bytes and returns how many.
    pub fn skip(&mut self, len: usize) -> usize {
        match &mut self.0 {
            Source::User(segments) => segments.transfer(len, |_, _, piece| piece).0,
            Source::Kernel(bytes) => {
                let len = len.min(bytes.len());
                *bytes = &bytes[len..];
                len
            }
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
        }
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

/// A sink of bytes: program memory or a kernel buffer.
#[derive(Debug)]
pub struct UserWriter<'a>(Sink<'a>);

#[derive(Debug)]
enum Sink<'a> {
    User(Segments),
    Kernel(&'a mut [u8]),
}

impl UserWriter<'static> {
    /// `len` bytes of program memory. EFAULT when the range leaves the program's half.
    pub fn new(address: usize, len: usize) -> Result<Self, Errno> {
        Segments::new(address, len).map(Sink::User).map(Self)
    }

    /// The segments of an iovec, in order. EINVAL for too many or a negative length, EFAULT outside the program's half.
    pub fn from_iovecs(iovecs: Vec<Iovec>) -> Result<Self, Errno> {
        Segments::from_iovecs(iovecs).map(Sink::User).map(Self)
    }
}

impl<'a> UserWriter<'a> {
    /// A kernel buffer.
    #[must_use]
    pub const fn to_kernel(bytes: &'a mut [u8]) -> Self {
        Self(Sink::Kernel(bytes))
    }

    /// Room not yet written.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        match &self.0 {
            Sink::User(segments) => segments.remaining,
            Sink::Kernel(bytes) => bytes.len(),
        }
    }

    /// True when no room is left.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.remaining() == 0
    }

    /// Writes as much of `source` as there is room for. Short before a byte that cannot be
    /// written; EFAULT when that is the first one.
    pub fn write(&mut self, source: &[u8]) -> Result<usize, Errno> {
        match &mut self.0 {
            Sink::User(segments) => or_efault(segments.transfer(source.len(), |done, address, len| {
                machine::copy_to_user(address, &source[done..done + len])
            })),
            Sink::Kernel(bytes) => Ok(put_bytes(bytes, source)),
        }
    }

    /// Writes all of `source` or fails with EFAULT (also when there is less room).
    pub fn write_all(&mut self, source: &[u8]) -> Result<(), Errno> {
        (self.write(source)? == source.len()).then_some(()).ok_or(Errno::EFAULT)
    }

    /// Writes a structure.
    pub fn write_struct<T: IntoBytes + Immutable>(&mut self, value: &T) -> Result<(), Errno> {
        self.write_all(value.as_bytes())
    }

    /// Writes up to `len` zeroes; otherwise as [`Self::write`].
    pub fn fill_zero(&mut self, len: usize) -> Result<usize, Errno> {
        const ZEROES: [u8; 1024] = [0; 1024];
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

/// Reads a structure of the program.
pub fn read_user_struct<T: FromBytes + IntoBytes>(address: usize) -> Result<T, Errno> {
    check_range(address, mem::size_of::<T>())?;
    let mut value = T::new_zeroed();
    let bytes = value.as_mut_bytes();
    if machine::copy_from_user(bytes, address) == bytes.len() { Ok(value) } else { Err(Errno::EFAULT) }
}

/// Writes a structure to the program.
pub fn write_user_struct<T: IntoBytes + Immutable>(address: usize, value: &T) -> Result<(), Errno> {
    check_range(address, mem::size_of::<T>())?;
    let bytes = value.as_bytes();
    if machine::copy_to_user(address, bytes) == bytes.len() { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Reads a string up to its NUL, which is left off. ENAMETOOLONG when there is none in the first
/// `len_max` bytes, EFAULT when memory ends before it.
pub fn read_user_cstr(address: usize, len_max: usize) -> Result<Vec<u8>, Errno> {
    const CHUNK_LEN: usize = 256;
    let mut string = Vec::new();
    let mut at = address;
    while string.len() < len_max {
        // Never past the page: the string may end right before unmapped memory.
        let in_page = PAGE_SIZE - at % PAGE_SIZE;
        let mut chunk = [0; CHUNK_LEN];
        let part = CHUNK_LEN.min(in_page).min(len_max - string.len());
        UserReader::new(at, part)?.read_exact(&mut chunk[..part])?;
        if let Some(end) = chunk[..part].iter().position(|byte| *byte == 0) {
            string.extend_from_slice(&chunk[..end]);
            return Ok(string);
        }
        string.extend_from_slice(&chunk[..part]);
        at = at.checked_add(part).ok_or(Errno::EFAULT)?;
    }
    Err(Errno::ENAMETOOLONG)
}

/// Reads a NULL-terminated array of string pointers (argv, envp) and the strings. E2BIG when the
/// pointers and strings together pass `len_max` bytes. A null array is an empty one.
pub fn read_user_cstr_array(address: usize, len_max: usize) -> Result<Vec<Vec<u8>>, Errno> {
    let mut strings = Vec::new();
    if address == 0 {
        return Ok(strings);
    }
    let mut left = len_max;
    let mut at = address;
    loop {
        let pointer: usize = read_user_struct(at)?;
        if pointer == 0 {
            return Ok(strings);
        }
        at = at.checked_add(mem::size_of::<usize>()).ok_or(Errno::EFAULT)?;
        left = left.checked_sub(mem::size_of::<usize>()).ok_or(Errno::E2BIG)?;
        let string = read_user_cstr(pointer, left).map_err(|errno| match errno {
            Errno::ENAMETOOLONG => Errno::E2BIG,
            other => other,
        })?;
        left -= string.len() + 1;
        strings.push(string);
    }
}

/// Reads the segments of an iovec. EINVAL for more than [`IOVEC_COUNT_MAX`].
pub fn read_iovecs(address: usize, count: usize) -> Result<Vec<Iovec>, Errno> {
    if count > IOVEC_COUNT_MAX {
        return Err(Errno::EINVAL);
    }
    let mut reader = UserReader::new(address, count * mem::size_of::<Iovec>())?;
    (0..count).map(|_| reader.read_struct()).collect()
}
