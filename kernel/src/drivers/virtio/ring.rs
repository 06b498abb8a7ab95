//! The memory of split virtqueues, and buffers that devices fill.
//!
//! [`RingMemory`] is what `devices::split_queue` needs of the machine. [`BufferQueue`] is a queue of whole buffers for the device to
//! write, each of which is somebody's box before and after: while the device has it, it is an address and nothing else.

use alloc::alloc::{Layout, alloc, dealloc};
use alloc::boxed::Box;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering, fence};

use devices::split_queue::{Buffer, DescriptorEntry, QueueMemory, SplitQueue};
use virtio_drivers::transport::Transport;
use x86_64::instructions::port::Port;

use super::AnyTransport;
use crate::arch::cpu;
use crate::drivers::hal::DmaBuffer;
use crate::memory::PAGE_BYTES;
use crate::memory::layout::{DIRECT_MAP, DIRECT_MAP_BYTES_MAX};

const POST_CODE_PORT: u16 = 0x80;
const DESCRIPTOR_BYTES: usize = 16;
const USED_BYTES: usize = 8;
/// Flags and index in front of each ring.
const RING_HEAD_BYTES: usize = 4;

/// Bytes of a buffer of a [`BufferQueue`].
pub(in crate::drivers) const BUFFER_BYTES: usize = PAGE_BYTES;
const BUFFER_LAYOUT: Layout = match Layout::from_size_align(BUFFER_BYTES, 1) {
    Ok(layout) => layout,
    Err(_) => panic!("a page is no layout"),
};

/// The three parts of a queue's memory, in one block.
pub(in crate::drivers) struct RingMemory {
    block: DmaBuffer,
    /// One less than the number of descriptors, a power of two.
    mask: u16,
    /// Where the available and the used ring begin.
    available: usize,
    used: usize,
    /// The machine is QEMU's translator.
    is_translated: bool,
}

impl RingMemory {
    /// Makes the memory of queue `index` and gives it to the device, at most `len_max` descriptors. `None`: the device has no such queue, or
    /// memory is out. The memory must stay until the device is reset.
    #[inline(never)]
    pub(in crate::drivers) fn set_up(transport: &mut AnyTransport, index: u16, len_max: u16) -> Option<Self> {
        let offered = u16::try_from(transport.max_queue_size(index)).unwrap_or(u16::MAX);
        let len = 1 << offered.min(len_max).checked_ilog2()?;
        let count = usize::from(len);
        let available = DESCRIPTOR_BYTES * count;
        // Both rings end with an event index.
        let used = (available + RING_HEAD_BYTES + 2 * count + 2).next_multiple_of(4);
        let block = DmaBuffer::new(used + RING_HEAD_BYTES + USED_BYTES * count + 2)?;
        let start = block.physical();
        transport.queue_set(index, u32::from(len), start, start + available as u64, start + used as u64);
        Some(Self { block, mask: len - 1, available, used, is_translated: cpu::is_translated() })
    }

    /// Descriptors.
    pub(in crate::drivers) fn len(&self) -> u16 {
        self.mask + 1
    }

    /// A half word of the available ring: its flags, its index, as many entries as there are descriptors, its event index.
    #[inline]
    fn available_at(&self, place: usize) -> &AtomicU16 {
        debug_assert!(place <= usize::from(self.len()) + 2, "behind the ring");
        // SAFETY: the block has room for this ring behind `available`, which is even.
        unsafe { self.half_word(self.available + 2 * place) }
    }

    /// A half word of the used ring, of which an entry has four.
    #[inline]
    fn used_at(&self, place: usize) -> &AtomicU16 {
        debug_assert!(place <= 4 * usize::from(self.len()) + 2, "behind the ring");
        // SAFETY: the block has room for this ring behind `used`, which is even.
        unsafe { self.half_word(self.used + 2 * place) }
    }

    /// A half word of the block, which both sides change at any time.
    ///
    /// # Safety
    /// It is inside of the block and aligned.
    #[inline]
    unsafe fn half_word(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: the contract. The block lives as long as `self`, and its words are accessed by atomic or volatile accesses only.
        unsafe { AtomicU16::from_ptr(self.block.pointer_inside(offset, 2).cast().as_ptr()) }
    }

    #[inline]
    fn slot(&self, index: u16) -> usize {
        usize::from(index & self.mask)
    }
}

impl QueueMemory for RingMemory {
    #[inline]
    fn write_descriptor(&self, index: u16, entry: DescriptorEntry) {
        let DescriptorEntry { address, len, flags, next } = entry;
        let rest = u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48;
        // SAFETY: the block begins with as many descriptors as slots are less than, and is aligned to a page.
        unsafe {
            let place = self.block.pointer_inside(self.slot(index) * DESCRIPTOR_BYTES, DESCRIPTOR_BYTES);
            place.cast::<u64>().write_volatile(address);
            place.cast::<u64>().add(1).write_volatile(rest);
        }
    }

    #[inline]
    fn write_available(&self, index: u16, head: u16) {
        self.available_at(2 + self.slot(index)).store(head, Ordering::Relaxed);
    }

    #[inline]
    fn publish_available(&self, index: u16) {
        self.available_at(1).store(index, Ordering::Release);
    }

    fn write_available_flags(&self, flags: u16) {
        self.available_at(0).store(flags, Ordering::Relaxed);
    }

    fn write_used_event(&self, index: u16) {
        self.available_at(2 + usize::from(self.len())).store(index, Ordering::Relaxed);
    }

    #[inline]
    fn read_used_index(&self) -> u16 {
        self.used_at(1).load(Ordering::Acquire)
    }

    #[inline]
    fn read_used(&self, index: u16) -> (u32, u32) {
        let offset = self.used + RING_HEAD_BYTES + USED_BYTES * self.slot(index);
        // SAFETY: the block has room for as many entries behind `used`, a multiple of four. Its words are accessed as in `half_word`.
        let (head, written) = unsafe {
            let entry = self.block.pointer_inside(offset, USED_BYTES).cast::<u32>();
            (AtomicU32::from_ptr(entry.as_ptr()), AtomicU32::from_ptr(entry.add(1).as_ptr()))
        };
        (head.load(Ordering::Relaxed), written.load(Ordering::Relaxed))
    }

    fn read_used_flags(&self) -> u16 {
        self.used_at(0).load(Ordering::Relaxed)
    }

    #[inline]
    fn read_available_event(&self) -> u16 {
        self.used_at(2 + 4 * usize::from(self.len())).load(Ordering::Relaxed)
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    /// QEMU's translator leaves fences out for a machine of one processor, while the device runs on a thread of its own. An access to a port takes
    /// QEMU's lock, which is a fence.
    fn fence_before_waiting(&self) {
        fence(Ordering::SeqCst);
        if self.is_translated {
            // SAFETY: the port of power-on self-test codes: whatever is written there changes nothing.
            unsafe { Port::<u8>::new(POST_CODE_PORT).write(0) };
        }
    }
}

/// The physical address of bytes of the kernel heap; `None` for those that lie elsewhere.
#[inline]
pub(in crate::drivers) fn physical_of(bytes: &[u8]) -> Option<u64> {
    // What lies below the map is far above it in this count.
    let offset = (bytes.as_ptr() as usize).wrapping_sub(DIRECT_MAP) as u64;
    (offset < DIRECT_MAP_BYTES_MAX).then_some(offset)
}

/// A buffer that the device has.
struct LentBuffer(NonNull<u8>);

// SAFETY: it stands for memory that nobody else has.
unsafe impl Send for LentBuffer {}

impl LentBuffer {
    fn lend(buffer: Box<[u8]>) -> Self {
        debug_assert!(buffer.len() == BUFFER_BYTES, "a buffer of another size");
        Self(NonNull::from(Box::leak(buffer)).cast())
    }

    /// Takes it back; the device is done with it.
    fn take_back(self) -> Box<[u8]> {
        let bytes = NonNull::slice_from_raw_parts(self.0, BUFFER_BYTES);
        core::mem::forget(self);
        // SAFETY: `lend` leaked a box of this length, and this value, which is gone now, was the only way to it.
        unsafe { Box::from_raw(bytes.as_ptr()) }
    }
}

impl Drop for LentBuffer {
    fn drop(&mut self) {
        // SAFETY: as in `take_back`: the box would have freed this, and queues are dropped only when their device was reset.
        unsafe { dealloc(self.0.as_ptr(), BUFFER_LAYOUT) };
    }
}

/// A buffer with bytes that do not matter. `None`: memory is out.
pub(in crate::drivers) fn new_buffer() -> Option<Box<[u8]>> {
    // SAFETY: the layout has a size.
    let memory = NonNull::new(unsafe { alloc(BUFFER_LAYOUT) })?;
    // SAFETY: nothing. The memory holds whatever it held: this says to the compiler that somebody wrote it.
    unsafe { core::arch::asm!("/* {} */", in(reg) memory.as_ptr(), options(nostack, preserves_flags)) };
    let bytes = NonNull::slice_from_raw_parts(memory, BUFFER_BYTES);
    // SAFETY: the memory is ours, of the layout that a box of this length has, and written as far as anybody can tell.
    Some(unsafe { Box::from_raw(bytes.as_ptr()) })
}

/// A queue of buffers for the device to write.
pub(in crate::drivers) struct BufferQueue {
    queue: SplitQueue<LentBuffer>,
    memory: RingMemory,
}

impl BufferQueue {
    /// A queue in memory that the device has.
    pub(in crate::drivers) fn new(memory: RingMemory, has_event_index: bool) -> Option<Self> {
        Some(Self { queue: SplitQueue::new(memory.len(), has_event_index)?, memory })
    }

    /// Whether there is room for another buffer.
    pub(in crate::drivers) fn has_room(&self) -> bool {
        self.queue.free() > 0 && !self.queue.is_broken()
    }

    /// Lets the device write a buffer of [`BUFFER_BYTES`]; one that finds no room is freed.
    pub(in crate::drivers) fn post(&mut self, buffer: Box<[u8]>) {
        let Some(address) = physical_of(&buffer) else { return };
        let given = Buffer { address, len: u32::try_from(BUFFER_BYTES).unwrap_or(0), is_writable: true };
        let _ = self.queue.add_one(&self.memory, given, LentBuffer::lend(buffer));
    }

    /// Takes a buffer that the device has written, and how many bytes.
    pub(in crate::drivers) fn take(&mut self) -> Option<(Box<[u8]>, usize)> {
        let (buffer, written) = self.queue.take_used(&self.memory)?;
        Some((buffer.take_back(), usize::try_from(written).unwrap_or(0)))
    }

    /// Tells the device of what was posted. True: it wants to be notified.
    pub(in crate::drivers) fn publish(&mut self) -> bool {
        self.queue.publish(&self.memory)
    }

    /// Whether the device has written a buffer that was not taken yet.
    pub(in crate::drivers) fn has_used(&self) -> bool {
        self.queue.has_used(&self.memory)
    }

    /// Asks for an interrupt. True: there is something already.
    pub(in crate::drivers) fn enable_interrupts(&mut self) -> bool {
        self.queue.enable_interrupts(&self.memory)
    }

    /// Asks for none.
    pub(in crate::drivers) fn disable_interrupts(&mut self) {
        self.queue.disable_interrupts(&self.memory);
    }

    /// Whether the device did what no device may do.
    pub(in crate::drivers) fn is_broken(&self) -> bool {
        self.queue.is_broken()
    }
}
