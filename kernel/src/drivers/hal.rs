//! Memory that devices read and write, for the kernel's own drivers and for the `virtio-drivers` crate.
//!
//! Devices see physical addresses; there is no IOMMU. Blocks come from the frame allocator and lie in the direct map.

use core::num::NonZeroUsize;
use core::ptr::NonNull;

use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use crate::memory::layout::{direct, physical_of_direct};
use crate::memory::{PAGE_BYTES, frames};

/// A block of contiguous memory that a device may use; freed when dropped.
///
/// Its bytes may change at any time, so no reference to them is ever formed.
pub(crate) struct DmaBuffer {
    physical: u64,
    /// Where it lies in the direct map.
    start: NonZeroUsize,
    order: u32,
    len: usize,
}

impl DmaBuffer {
    /// A zeroed block of at least `len` bytes.
    pub(crate) fn new(len: usize) -> Option<Self> {
        let pages = len.div_ceil(PAGE_BYTES).max(1).checked_next_power_of_two()?;
        let order = pages.trailing_zeros();
        let physical = frames::allocate_block(order)?;
        let start = NonZeroUsize::new(direct(physical)).expect("the direct map is in the upper half");
        // SAFETY: the block is new, ours, and in the direct map.
        unsafe { core::ptr::write_bytes(start.get() as *mut u8, 0, pages * PAGE_BYTES) };
        Some(Self { physical, start, order, len })
    }

    /// The address that the device is told.
    pub(crate) fn physical(&self) -> u64 {
        self.physical
    }

    /// Copies bytes out.
    pub(crate) fn read(&self, offset: usize, out: &mut [u8]) {
        let source = self.pointer(offset, out.len());
        // SAFETY: `pointer` checked the range, and `out` is not part of the block, which nobody has a reference to.
        unsafe { core::ptr::copy_nonoverlapping(source.as_ptr(), out.as_mut_ptr(), out.len()) };
    }

    /// Copies bytes in.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        let destination = self.pointer(offset, bytes.len());
        // SAFETY: as in `read`.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), destination.as_ptr(), bytes.len()) };
    }

    /// A part of the block, for the functions of `virtio-drivers`, which look at nothing but its address and length.
    ///
    /// # Safety
    /// The slice must not be read or written, and not be kept after the device's work is done.
    pub(super) unsafe fn part<'a>(&self, offset: usize, len: usize) -> &'a mut [u8] {
        // SAFETY: `pointer` checked the range; per the contract it is only an address.
        unsafe { core::slice::from_raw_parts_mut(self.pointer(offset, len).as_ptr(), len) }
    }

    /// Where a part of the block is.
    #[inline]
    pub(super) fn pointer(&self, offset: usize, len: usize) -> NonNull<u8> {
        assert!(offset <= self.len && len <= self.len - offset, "range outside of the block");
        // SAFETY: it was just checked.
        unsafe { self.pointer_inside(offset, len) }
    }

    /// As [`DmaBuffer::pointer`], for a part that is known to be there.
    ///
    /// # Safety
    /// `offset + len` is not more than the block's length.
    #[inline]
    pub(super) unsafe fn pointer_inside(&self, offset: usize, len: usize) -> NonNull<u8> {
        debug_assert!(offset + len <= self.len, "range outside of the block");
        // SAFETY: per the contract it is inside of the block, which lies in the direct map.
        unsafe { NonNull::with_exposed_provenance(self.start).add(offset) }
    }
}

impl Drop for DmaBuffer {
    fn drop(&mut self) {
        frames::free_block(self.physical, self.order);
    }
}

/// The machine as `virtio-drivers` sees it.
pub(super) struct KernelHal;

// SAFETY: `dma_alloc` gives zeroed, page-aligned blocks of the frame allocator, which nobody else has until they are freed;
// `share` and `unshare` translate addresses of the direct map and do nothing else.
unsafe impl Hal for KernelHal {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // The crate takes physical address 0 for a failure.
        let Some(buffer) = pages.checked_mul(PAGE_BYTES).and_then(DmaBuffer::new) else {
            return (0, NonNull::dangling());
        };
        let result = (buffer.physical, buffer.pointer(0, 0));
        core::mem::forget(buffer);
        result
    }

    unsafe fn dma_dealloc(physical: PhysAddr, _address: NonNull<u8>, pages: usize) -> i32 {
        frames::free_block(physical, pages.next_power_of_two().trailing_zeros());
        0
    }

    unsafe fn mmio_phys_to_virt(_physical: PhysAddr, _size: usize) -> NonNull<u8> {
        unreachable!("only the crate's own PCI transport asks, and the kernel has its own")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        physical_of_direct(buffer.cast::<u8>().as_ptr() as usize)
    }

    unsafe fn unshare(_physical: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}
