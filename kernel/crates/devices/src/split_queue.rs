//! [`SplitQueue`]: the driver's side of a split virtqueue (Virtual I/O Device specification 1.2, 2.7), without its memory.
//!
//! 1. The memory that the device sees is reached through [`QueueMemory`]. Nothing is read back from it but what the device writes: the
//!    list of free descriptors and the chains are the driver's own, so a device that scribbles there confuses nobody but itself.
//! 2. Each chain carries a token, whatever the driver wants back when the device is done: the owner of the buffers. So buffers
//!    live for as long as the device has them.
//! 3. What the device claims is checked: an index that jumps further than there are chains, a chain that it does not have. Such
//!    a queue is broken: it gives nothing back any more, and takes nothing. A length is cut to what the device could write.
//! 4. *When to notify.* With event indexes (2.7.7, 2.7.10) each side says which entry it wants to hear of. All comparisons are
//!    modulo 2^16. Each side writes its entry, passes a full fence and reads the other's wish; the other writes its wish, passes a full
//!    fence and reads the entries: one of them sees the other, and no wake-up is lost.
//!
//! 5. *Indirect chains* (2.7.5.3) take one descriptor: the others lie in a table, which the driver has written and which is the
//!    token's as the buffers are.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// The longest queue there can be (2.7).
pub const QUEUE_LEN_MAX: u16 = 1 << 15;

const DESCRIPTOR_HAS_NEXT: u16 = 1;
const DESCRIPTOR_IS_WRITABLE: u16 = 2;
const DESCRIPTOR_IS_TABLE: u16 = 4;
/// Bytes of an entry of a descriptor table.
const DESCRIPTOR_LEN: u32 = 16;
/// The driver wants no interrupts, the device no notifications; without event indexes.
const FLAG_QUIET: u16 = 1;

/// An entry of the descriptor table, as the device sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DescriptorEntry {
    /// Physical address.
    pub address: u64,
    /// Bytes.
    pub len: u32,
    /// `VIRTQ_DESC_F_`.
    pub flags: u16,
    /// The next of the chain.
    pub next: u16,
}

/// The memory of a queue, which the device reads and writes at any time. Indexes of rings run on: their place is modulo the queue's length.
pub trait QueueMemory {
    /// Writes an entry of the descriptor table.
    fn write_descriptor(&self, index: u16, entry: DescriptorEntry);
    /// Writes an entry of the available ring.
    fn write_available(&self, index: u16, head: u16);
    /// Writes the index of the available ring, after all that was written before.
    fn publish_available(&self, index: u16);
    /// Writes the flags of the available ring.
    fn write_available_flags(&self, flags: u16);
    /// Writes the event index of the available ring: which used entry the driver wants to hear of.
    fn write_used_event(&self, index: u16);
    /// Reads the index of the used ring, before all that is read afterwards.
    fn read_used_index(&self) -> u16;
    /// Reads an entry of the used ring: the head of a chain, and bytes written.
    fn read_used(&self, index: u16) -> (u32, u32);
    /// Reads the flags of the used ring.
    fn read_used_flags(&self) -> u16;
    /// Reads the event index of the used ring: which available entry the device wants to hear of.
    fn read_available_event(&self) -> u16;
    /// Passes a full fence.
    fn fence(&self);

    /// As [`Self::fence`], before the driver waits to be interrupted.
    fn fence_before_waiting(&self) {
        self.fence();
    }
}

/// A buffer of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Physical address.
    pub address: u64,
    /// Bytes; not zero.
    pub len: u32,
    /// The device writes to it; it comes behind those that the device reads.
    pub is_writable: bool,
}

/// What the device has of the chain that begins with one descriptor.
struct Chain<T> {
    /// None: there is no such chain.
    token: Option<T>,
    /// Its descriptors, the head among them.
    count: u16,
    last: u16,
    /// Bytes that the device may write.
    writable_len: u32,
}

/// The driver's side of a queue whose chains carry a `T`.
pub struct SplitQueue<T> {
    len: u16,
    has_event_index: bool,
    /// By descriptor: the next one of its chain, or of the free list.
    next: Box<[u16]>,
    /// By head.
    chains: Box<[Chain<T>]>,
    first_free: u16,
    free: u16,
    chain_count: u16,
    /// Where the next chain goes in the available ring, and how far the device knows of it.
    available: u16,
    published: u16,
    /// Which used entry comes next, and how many the device has told of.
    used: u16,
    used_seen: u16,
    is_broken: bool,
}

impl<T> SplitQueue<T> {
    /// A queue of `len` descriptors; `None` unless that is a power of two that a queue can have.
    #[must_use]
    pub fn new(len: u16, has_event_index: bool) -> Option<Self> {
        if !len.is_power_of_two() || len > QUEUE_LEN_MAX {
            return None;
        }
        let chains: Vec<_> = core::iter::repeat_with(|| Chain { token: None, count: 0, last: 0, writable_len: 0 })
            .take(usize::from(len))
            .collect();
        Some(Self {
            len,
            has_event_index,
            next: (1..=len).collect(),
            chains: chains.into_boxed_slice(),
            first_free: 0,
            free: len,
            chain_count: 0,
            available: 0,
            published: 0,
            used: 0,
            used_seen: 0,
            is_broken: false,
        })
    }

    /// Descriptors.
    #[must_use]
    pub fn len(&self) -> u16 {
        self.len
    }

    /// Whether the device has nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chain_count == 0
    }

    /// Descriptors that are free.
    #[must_use]
    pub fn free(&self) -> u16 {
        self.free
    }

    /// Chains that the device has.
    #[must_use]
    pub fn in_flight(&self) -> u16 {
        self.chain_count
    }

    /// Whether the device did what no device may do. It is to be reset, or left alone.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Gives the device a chain of buffers, which it is told of by [`SplitQueue::publish`]. The token comes back if there is no room, or
    /// nothing to give.
    pub fn add(
        &mut self,
        memory: &impl QueueMemory,
        buffers: impl ExactSizeIterator<Item = Buffer>,
        token: T,
    ) -> Result<(), T> {
        let count = buffers.len();
        let Ok(wanted) = u16::try_from(count) else { return Err(token) };
        if wanted == 0 || wanted > self.free || self.is_broken {
            return Err(token);
        }
        let head = self.first_free;
        let mut at = head;
        let mut last = head;
        let mut writable_len = 0u32;
        for (index, buffer) in buffers.take(count).enumerate() {
            last = at;
            let following = self.next_of(at);
            let has_next = index + 1 < count;
            let mut flags = if has_next { DESCRIPTOR_HAS_NEXT } else { 0 };
            if buffer.is_writable {
                flags |= DESCRIPTOR_IS_WRITABLE;
                writable_len = writable_len.saturating_add(buffer.len);
            }
            let next = if has_next { following } else { 0 };
            memory.write_descriptor(at, DescriptorEntry { address: buffer.address, len: buffer.len, flags, next });
            at = following;
        }
        self.first_free = at;
        self.free -= wanted;
        self.offer(memory, head, token, (wanted, last, writable_len));
        Ok(())
    }

    /// As [`SplitQueue::add`], for a chain of one buffer.
    #[inline]
    pub fn add_one(&mut self, memory: &impl QueueMemory, buffer: Buffer, token: T) -> Result<(), T> {
        if !self.has_room_for(1) {
            return Err(token);
        }
        let Buffer { address, len, is_writable } = buffer;
        let head = self.first_free;
        let (flags, writable_len) = if is_writable { (DESCRIPTOR_IS_WRITABLE, len) } else { (0, 0) };
        memory.write_descriptor(head, DescriptorEntry { address, len, flags, next: 0 });
        self.first_free = self.next_of(head);
        self.free -= 1;
        self.offer(memory, head, token, (1, head, writable_len));
        Ok(())
    }

    /// As [`SplitQueue::add`], for a chain in a table at this physical address: `count` entries as [`table_entries`] makes them, of which
    /// the device may write `writable_len` bytes.
    pub fn add_table(
        &mut self,
        memory: &impl QueueMemory,
        address: u64,
        count: u16,
        writable_len: u32,
        token: T,
    ) -> Result<(), T> {
        if count == 0 || self.free == 0 || self.is_broken {
            return Err(token);
        }
        let head = self.first_free;
        let len = u32::from(count) * DESCRIPTOR_LEN;
        memory.write_descriptor(head, DescriptorEntry { address, len, flags: DESCRIPTOR_IS_TABLE, next: 0 });
        self.first_free = self.next_of(head);
        self.free -= 1;
        self.offer(memory, head, token, (1, head, writable_len));
        Ok(())
    }

    /// Puts a chain into the available ring: its count of descriptors, the last of them, and how much the device may write.
    #[inline]
    fn offer(&mut self, memory: &impl QueueMemory, head: u16, token: T, (count, last, writable_len): (u16, u16, u32)) {
        self.chain_count += 1;
        if let Some(chain) = self.chains.get_mut(usize::from(head)) {
            // The token moves once, as it may be large.
            chain.token = Some(token);
            (chain.count, chain.last, chain.writable_len) = (count, last, writable_len);
        }
        memory.write_available(self.available, head);
        self.available = self.available.wrapping_add(1);
    }

    /// Takes every token back, after the device was reset. The queue is of no use any more.
    pub fn take_all(&mut self) -> impl Iterator<Item = T> {
        self.is_broken = true;
        self.chain_count = 0;
        self.chains.iter_mut().filter_map(|chain| chain.token.take())
    }

    /// Tells the device of all chains so far. True: it wants to be notified.
    #[inline]
    pub fn publish(&mut self, memory: &impl QueueMemory) -> bool {
        if self.published == self.available {
            return false;
        }
        let before = self.published;
        self.published = self.available;
        memory.publish_available(self.available);
        memory.fence();
        if self.has_event_index {
            is_event_passed(memory.read_available_event(), before, self.available)
        } else {
            memory.read_used_flags() & FLAG_QUIET == 0
        }
    }

    /// Takes a chain that the device is done with: its token, and how many bytes the device wrote.
    pub fn take_used(&mut self, memory: &impl QueueMemory) -> Option<(T, u32)> {
        if self.used == self.used_seen {
            let told = memory.read_used_index();
            if told.wrapping_sub(self.used) > self.chain_count {
                self.is_broken = true;
            }
            if self.is_broken {
                return None;
            }
            self.used_seen = told;
            if self.used == told {
                return None;
            }
        }
        let (head, written) = memory.read_used(self.used);
        let Ok(head) = u16::try_from(head) else { return self.note_broken() };
        let Some(chain) = self.chains.get_mut(usize::from(head)) else { return self.note_broken() };
        let Chain { token: Some(_), count, last, writable_len } = *chain else { return self.note_broken() };
        self.used = self.used.wrapping_add(1);
        if let Some(next) = self.next.get_mut(usize::from(last)) {
            *next = self.first_free;
        }
        self.first_free = head;
        self.free += count;
        self.chain_count -= 1;
        // Last, and alone: a token may be large.
        chain.token.take().map(|token| (token, written.min(writable_len)))
    }

    /// The device gave back what it did not have: nothing further is believed.
    #[cold]
    fn note_broken<R>(&mut self) -> Option<R> {
        self.is_broken = true;
        self.used_seen = self.used;
        None
    }

    /// Whether a chain of so many buffers would be taken now.
    #[must_use]
    #[inline]
    pub fn has_room_for(&self, count: u16) -> bool {
        count <= self.free && !self.is_broken
    }

    /// Whether the device has used something that was not taken yet.
    #[must_use]
    pub fn has_used(&self, memory: &impl QueueMemory) -> bool {
        memory.read_used_index() != self.used && !self.is_broken
    }

    /// Asks for an interrupt at the next used entry. True: there is one already, for which none may come.
    pub fn enable_interrupts(&mut self, memory: &impl QueueMemory) -> bool {
        self.enable_interrupts_after(memory, 1)
    }

    /// Asks for an interrupt when the device has used so many more. True: it has already, and none may come.
    pub fn enable_interrupts_after(&mut self, memory: &impl QueueMemory, count: u16) -> bool {
        let ahead = count.max(1) - 1;
        if self.has_event_index {
            memory.write_used_event(self.used.wrapping_add(ahead));
        } else {
            memory.write_available_flags(0);
        }
        memory.fence_before_waiting();
        memory.read_used_index().wrapping_sub(self.used) > ahead && !self.is_broken
    }

    /// Asks for no interrupts, if the device does not stop by itself: with event indexes it sends one for what was asked, and no more.
    pub fn quieten(&mut self, memory: &impl QueueMemory) {
        if !self.has_event_index {
            self.disable_interrupts(memory);
        }
    }

    /// Asks for no interrupts. One may come all the same: with event indexes once in 2^16 entries.
    pub fn disable_interrupts(&mut self, memory: &impl QueueMemory) {
        if self.has_event_index {
            memory.write_used_event(self.used.wrapping_sub(1));
        } else {
            memory.write_available_flags(FLAG_QUIET);
        }
    }

    #[inline]
    fn next_of(&self, descriptor: u16) -> u16 {
        self.next.get(usize::from(descriptor)).copied().unwrap_or(0)
    }
}

/// The entries of a table for [`SplitQueue::add_table`], as bytes, one for each buffer.
pub fn table_entries(buffers: impl ExactSizeIterator<Item = Buffer>) -> impl Iterator<Item = [u8; 16]> {
    let count = buffers.len();
    (0_u16..).zip(buffers).map(move |(index, buffer)| {
        let has_next = usize::from(index) + 1 < count;
        let writable = if buffer.is_writable { DESCRIPTOR_IS_WRITABLE } else { 0 };
        let (flags, next) = if has_next { (writable | DESCRIPTOR_HAS_NEXT, index + 1) } else { (writable, 0) };
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&buffer.address.to_le_bytes());
        bytes[8..12].copy_from_slice(&buffer.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        bytes
    })
}

/// Whether an index that went from `before` to `now` has passed entry `event` (2.7.7.2).
fn is_event_passed(event: u16, before: u16, now: u16) -> bool {
    now.wrapping_sub(event).wrapping_sub(1) < now.wrapping_sub(before)
}

#[cfg(test)]
mod tests;
