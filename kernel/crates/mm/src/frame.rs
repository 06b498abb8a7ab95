//! Physical frames: [`Frame`] is a counted reference, [`FrameMachine`] the seam to the machine
//! that owns the memory.
//!
//! Invariants: a frame lives while references to it exist; its contents are reached only through
//! the machine, by copies, so that no reference to program-visible memory is ever formed. Frames
//! of the boot image and the zero page are pinned: counting them has no effect and their count
//! reads above 1, so nobody believes to own them alone.
//!
//! No locks here. Transfers to and from program memory ([`Frame::read_to`], [`Frame::write_from`])
//! never page memory in: they may run under a lock that a page fault needs. A [`UserFault`] tells
//! the caller to drop its lock, resolve the fault and retry.

use core::fmt;
use core::mem::ManuallyDrop;

use abi::Errno;
use sync::Once;

use crate::buddy::ORDER_COUNT;
use crate::pressure;
use crate::reclaim;
use crate::user::{UserFault, UserReader, UserWriter};
use crate::{PAGE_SHIFT, PAGE_SIZE};

/// The index of a physical frame: its physical address divided by the page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameNumber(u32);

impl FrameNumber {
    /// The frame with this index.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The index.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }

    /// The physical address of the frame's first byte.
    #[must_use]
    pub const fn physical_address(self) -> u64 {
        (self.0 as u64) << PAGE_SHIFT
    }
}

/// Counts of frames, for sysinfo, /proc/meminfo and the overcommit check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameStatistics {
    /// All frames of usable memory.
    pub total: u64,
    /// Frames nobody uses.
    pub free: u64,
    /// Frames that hold cached file contents.
    pub cached: u64,
}

/// The machine's physical memory. Offsets and lengths stay within one frame; an implementation
/// panics on a violation (a kernel bug).
pub trait FrameMachine: Sync {
    /// A frame with one reference and undefined contents. None: memory ran out.
    fn allocate(&self) -> Option<FrameNumber>;

    /// As [`Self::allocate`], from what is kept for the kernel where there is no other.
    fn allocate_reserved(&self) -> Option<FrameNumber> {
        self.allocate()
    }

    /// As [`Self::allocate`], filled with zeroes.
    fn allocate_zeroed(&self) -> Option<FrameNumber> {
        let frame = self.allocate()?;
        self.zero(frame);
        Some(frame)
    }

    /// Adds a reference.
    fn acquire(&self, frame: FrameNumber);

    /// Drops a reference; the last one frees the frame at once.
    fn release(&self, frame: FrameNumber);

    /// The number of references; above 1 for pinned frames.
    fn reference_count(&self, frame: FrameNumber) -> u32;

    /// Copies out of the frame.
    fn read(&self, frame: FrameNumber, offset: usize, destination: &mut [u8]);

    /// Copies into the frame.
    fn write(&self, frame: FrameNumber, offset: usize, source: &[u8]);

    /// Fills the whole frame with zeroes.
    fn zero(&self, frame: FrameNumber);

    /// Copies a whole frame.
    fn copy(&self, from: FrameNumber, to: FrameNumber);

    /// Copies a part of a frame to a place of another, or of the same.
    fn copy_part(&self, from: FrameNumber, from_offset: usize, to: FrameNumber, to_offset: usize, len: usize);

    /// Copies frame bytes to program memory, paging it in. Returns the bytes copied; fewer than
    /// `len` means a fault that could not be repaired. No lock may be held.
    fn copy_to_user(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize;

    /// Copies program memory to the frame, paging it in. Otherwise as [`Self::copy_to_user`].
    fn copy_from_user(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize;

    /// As [`Self::copy_to_user`] but stops at the first page that is not there. Locks may be held.
    fn copy_to_user_nofault(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize;

    /// As [`Self::copy_from_user`] but stops at the first page that is not there. Locks may be held.
    fn copy_from_user_nofault(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize;

    /// The frame of page-aligned bytes of the boot image, which then are mapped in place. Pinned.
    fn of_static(&self, bytes: &'static [u8]) -> Option<FrameNumber>;

    /// The frame that is all zeroes for ever. Pinned.
    fn zero_frame(&self) -> FrameNumber;

    /// How much memory there is. What processors keep of small objects may count as used.
    fn statistics(&self) -> FrameStatistics;

    /// Free blocks by their order.
    fn free_blocks(&self) -> [u64; ORDER_COUNT] {
        let mut blocks = [0; ORDER_COUNT];
        blocks[0] = self.statistics().free;
        blocks
    }

    /// [`FrameStatistics::total`] alone, at once.
    fn total(&self) -> u64 {
        self.statistics().total
    }
}

static MACHINE: Once<&'static dyn FrameMachine> = Once::new();

/// Installs the machine's frames, once, before the first use of a frame. Later calls have no effect.
pub fn install(machine: &'static dyn FrameMachine) {
    MACHINE.call_once(|| machine);
}

/// Calls `allocate`, again when memory was given back.
#[inline]
fn allocate_by(allocate: impl Fn() -> Option<FrameNumber>) -> Result<Frame, Errno> {
    let frame = allocate().or_else(|| allocate_again(allocate));
    pressure::check();
    frame.map(Frame).ok_or(Errno::ENOMEM)
}

#[cold]
fn allocate_again(allocate: impl Fn() -> Option<FrameNumber>) -> Option<FrameNumber> {
    while reclaim::at_once() {
        if let Some(frame) = allocate() {
            return Some(frame);
        }
    }
    None
}

/// The installed machine.
fn machine() -> &'static dyn FrameMachine {
    *MACHINE.get().expect("frames are installed at boot, before the first allocation")
}

/// Counts of frames of the installed machine.
#[must_use]
pub fn statistics() -> FrameStatistics {
    machine().statistics()
}

/// Free blocks of the installed machine by their order.
#[must_use]
pub fn free_blocks() -> [u64; ORDER_COUNT] {
    machine().free_blocks()
}

/// Frames that the installed machine has, free or not.
#[must_use]
pub fn total() -> u64 {
    machine().total()
}

/// A counted reference to a physical frame.
pub struct Frame(FrameNumber);

impl Frame {
    /// A new frame of one reference with undefined contents; the caller fills it before anyone else sees it. Not for interrupts, nor under
    /// a spinlock.
    pub fn allocate() -> Result<Self, Errno> {
        allocate_by(|| machine().allocate())
    }

    /// A new frame of one reference, all zeroes.
    pub fn allocate_zeroed() -> Result<Self, Errno> {
        allocate_by(|| machine().allocate_zeroed())
    }

    /// As [`Self::allocate`], from what is kept for the kernel where there is no other. For the length of one transfer, by which memory
    /// becomes free: who holds such a frame asks for no other.
    pub fn allocate_reserved() -> Result<Self, Errno> {
        Self::allocate().or_else(|errno| machine().allocate_reserved().map(Self).ok_or(errno))
    }

    /// As [`Self::allocate_zeroed`], if there is one that is free already.
    #[must_use]
    pub fn allocate_spare_zeroed() -> Option<Self> {
        machine().allocate_zeroed().map(Self)
    }

    /// The zero page.
    #[must_use]
    pub fn zero_page() -> Self {
        Self(machine().zero_frame())
    }

    /// The frame of page-aligned bytes of the boot image, or None when they are not such.
    #[must_use]
    pub fn of_static(bytes: &'static [u8]) -> Option<Self> {
        machine().of_static(bytes).map(Self)
    }

    /// The frame's number. It stays valid while the reference lives.
    #[must_use]
    pub fn number(&self) -> FrameNumber {
        self.0
    }

    /// Gives the reference away, for [`Self::from_raw`] to take up (page tables do).
    #[must_use = "the reference leaks unless from_raw takes it up"]
    pub fn into_raw(self) -> FrameNumber {
        ManuallyDrop::new(self).0
    }

    /// Takes up a reference that [`Self::into_raw`] gave away.
    #[must_use]
    pub fn from_raw(number: FrameNumber) -> Self {
        Self(number)
    }

    /// Adds a reference to a frame that a page table entry keeps alive.
    #[must_use]
    pub fn share(number: FrameNumber) -> Self {
        machine().acquire(number);
        Self(number)
    }

    /// True when this is the only reference and the frame is not pinned.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        is_exclusive(self.0)
    }

    /// Copies out of the frame.
    pub fn read(&self, offset: usize, destination: &mut [u8]) {
        debug_assert!(fits(offset, destination.len()));
        machine().read(self.0, offset, destination);
    }

    /// Copies into the frame.
    pub fn write(&self, offset: usize, source: &[u8]) {
        debug_assert!(fits(offset, source.len()));
        machine().write(self.0, offset, source);
    }

    /// Fills the whole frame with zeroes.
    pub fn zero(&self) {
        machine().zero(self.0);
    }

    /// Fills `offset..offset + len` with zeroes.
    pub fn zero_range(&self, offset: usize, len: usize) {
        debug_assert!(fits(offset, len));
        if len == PAGE_SIZE {
            return self.zero();
        }
        const CHUNK: [u8; 256] = [0; 256];
        let mut done = 0;
        while done < len {
            let part = CHUNK.len().min(len - done);
            machine().write(self.0, offset + done, &CHUNK[..part]);
            done += part;
        }
    }

    /// Copies a part of another frame to `offset`.
    pub fn copy_from(&self, offset: usize, from: &Self, from_offset: usize, len: usize) {
        debug_assert!(fits(offset, len) && fits(from_offset, len));
        machine().copy_part(from.0, from_offset, self.0, offset, len);
    }

    /// A new frame with the same contents.
    pub fn duplicate(&self) -> Result<Self, Errno> {
        Self::copy_of(self.0)
    }

    /// A new frame with the contents of one that a page table entry keeps alive.
    pub(crate) fn copy_of(number: FrameNumber) -> Result<Self, Errno> {
        let copy = Self::allocate()?;
        machine().copy(number, copy.0);
        Ok(copy)
    }

    /// Copies `len` bytes from `offset` to the writer, without paging memory in: locks may be held.
    ///
    /// Returns the bytes copied, by which the writer has advanced. Fewer than `len` (and than the
    /// writer takes) means that the next byte's page is missing; when there is no progress at all
    /// that is the error. The caller drops its locks, calls [`UserFault::resolve`] and retries.
    pub fn read_to(&self, offset: usize, writer: &mut UserWriter<'_>, len: usize) -> Result<usize, UserFault> {
        debug_assert!(fits(offset, len));
        writer.fill_from_frame(machine(), self.0, offset, len)
    }

    /// Copies up to `len` bytes from the reader to `offset`; otherwise as [`Self::read_to`].
    pub fn write_from(&self, offset: usize, reader: &mut UserReader<'_>, len: usize) -> Result<usize, UserFault> {
        debug_assert!(fits(offset, len));
        reader.drain_to_frame(machine(), self.0, offset, len)
    }

    /// Copies exactly `len` bytes, which the reader has, to `offset`, or none: then the reader stays where it is.
    /// Otherwise as [`Self::read_to`].
    pub fn write_all_from(&self, offset: usize, reader: &mut UserReader<'_>, len: usize) -> Result<(), UserFault> {
        debug_assert!(fits(offset, len) && len <= reader.remaining());
        reader.drain_all_to_frame(machine(), self.0, offset, len)
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        Self::share(self.0)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        machine().release(self.0);
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Frame({:#x})", self.0.index())
    }
}

/// How many references a frame has; that of a pinned one says nothing.
pub(crate) fn reference_count(number: FrameNumber) -> u32 {
    machine().reference_count(number)
}

/// True when a frame has one reference and is not pinned.
#[must_use]
pub fn is_exclusive(number: FrameNumber) -> bool {
    machine().reference_count(number) == 1
}

/// Offset and length stay in one frame.
fn fits(offset: usize, len: usize) -> bool {
    offset.checked_add(len).is_some_and(|end| end <= PAGE_SIZE)
}
