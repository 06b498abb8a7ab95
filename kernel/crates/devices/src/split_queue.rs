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
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;
    use std::string::String;
    use std::vec;

    const LEN: u16 = 8;

    /// The memory of a queue, and a device on its other side.
    struct Device {
        descriptors: RefCell<Vec<DescriptorEntry>>,
        available: RefCell<Vec<u16>>,
        available_index: Cell<u16>,
        flags: Cell<u16>,
        used_event: Cell<u16>,
        used: RefCell<Vec<(u32, u32)>>,
        used_index: Cell<u16>,
        available_event: Cell<u16>,
        used_flags: Cell<u16>,
        /// How far it has read the available ring.
        seen: Cell<u16>,
    }

    impl QueueMemory for Device {
        fn write_descriptor(&self, index: u16, entry: DescriptorEntry) {
            self.descriptors.borrow_mut()[usize::from(index)] = entry;
        }
        fn write_available(&self, index: u16, head: u16) {
            self.available.borrow_mut()[usize::from(index % LEN)] = head;
        }
        fn publish_available(&self, index: u16) {
            self.available_index.set(index);
        }
        fn write_available_flags(&self, flags: u16) {
            self.flags.set(flags);
        }
        fn write_used_event(&self, index: u16) {
            self.used_event.set(index);
        }
        fn read_used_index(&self) -> u16 {
            self.used_index.get()
        }
        fn read_used(&self, index: u16) -> (u32, u32) {
            self.used.borrow()[usize::from(index % LEN)]
        }
        fn read_used_flags(&self) -> u16 {
            self.used_flags.get()
        }
        fn read_available_event(&self) -> u16 {
            self.available_event.get()
        }
        fn fence(&self) {}
    }

    impl Device {
        fn new() -> Self {
            Self {
                descriptors: RefCell::new(vec![DescriptorEntry::default(); usize::from(LEN)]),
                available: RefCell::new(vec![0; usize::from(LEN)]),
                available_index: Cell::new(0),
                flags: Cell::new(0),
                used_event: Cell::new(0),
                used: RefCell::new(vec![(0, 0); usize::from(LEN)]),
                used_index: Cell::new(0),
                available_event: Cell::new(0),
                used_flags: Cell::new(0),
                seen: Cell::new(0),
            }
        }

        /// Takes the next chain: its head and its buffers.
        fn take(&self) -> Option<(u16, Vec<Buffer>)> {
            let seen = self.seen.get();
            if seen == self.available_index.get() {
                return None;
            }
            self.seen.set(seen.wrapping_add(1));
            let head = self.available.borrow()[usize::from(seen & (LEN - 1))];
            let mut chain = Vec::new();
            let mut at = head;
            loop {
                let entry = self.descriptors.borrow()[usize::from(at)];
                let is_writable = entry.flags & DESCRIPTOR_IS_WRITABLE != 0;
                chain.push(Buffer { address: entry.address, len: entry.len, is_writable });
                assert!(chain.len() <= usize::from(LEN), "the chain is a circle");
                if entry.flags & DESCRIPTOR_HAS_NEXT == 0 {
                    return Some((head, chain));
                }
                at = entry.next;
            }
        }

        /// Gives a chain back. True: the driver wants an interrupt.
        fn give_back(&self, head: u32, written: u32) -> bool {
            let index = self.used_index.get();
            self.used.borrow_mut()[usize::from(index & (LEN - 1))] = (head, written);
            self.used_index.set(index.wrapping_add(1));
            is_event_passed(self.used_event.get(), index, index.wrapping_add(1))
        }
    }

    fn input(address: u64) -> Buffer {
        Buffer { address, len: 100, is_writable: true }
    }

    fn output(address: u64) -> Buffer {
        Buffer { address, len: 50, is_writable: false }
    }

    #[test]
    fn chains_go_and_come_back() {
        let device = Device::new();
        let mut queue = SplitQueue::new(LEN, true).unwrap();
        queue.add(&device, [output(1), output(2), input(3)].into_iter(), "first").unwrap();
        queue.add(&device, [input(4)].into_iter(), "second").unwrap();
        assert_eq!((queue.free(), device.take()), (LEN - 4, None));
        assert!(queue.publish(&device));
        assert!(!queue.publish(&device), "nothing is new");
        let (first, chain) = device.take().unwrap();
        assert_eq!(chain, [output(1), output(2), input(3)]);
        let (second, chain) = device.take().unwrap();
        assert_eq!(chain, [input(4)]);
        // In any order.
        device.give_back(second.into(), 7);
        device.give_back(first.into(), 1000);
        assert_eq!(queue.take_used(&device), Some(("second", 7)));
        assert_eq!(queue.take_used(&device), Some(("first", 100)), "more than it could write");
        assert_eq!((queue.take_used(&device), queue.free(), queue.is_empty()), (None, LEN, true));
    }

    #[test]
    fn one_buffer_is_a_chain_of_its_own() {
        let device = Device::new();
        let mut queue = SplitQueue::new(LEN, true).unwrap();
        for number in 0..3 * u64::from(LEN) {
            let buffer = if number % 2 == 0 { input(number) } else { output(number) };
            queue.add_one(&device, buffer, number).unwrap();
            queue.publish(&device);
            let (head, chain) = device.take().unwrap();
            assert_eq!(chain, [buffer]);
            device.give_back(head.into(), 200);
            let written = if number % 2 == 0 { 100 } else { 0 };
            assert_eq!(queue.take_used(&device), Some((number, written)), "as much as it could write");
        }
        for number in 0..LEN.into() {
            queue.add_one(&device, output(number), number).unwrap();
        }
        assert_eq!((queue.add_one(&device, output(9), 99), queue.free()), (Err(99), 0));
    }

    #[test]
    fn a_full_queue_gives_the_token_back() {
        let device = Device::new();
        let mut queue = SplitQueue::new(LEN, true).unwrap();
        for number in 0..LEN / 2 {
            queue.add(&device, [output(1), output(2)].into_iter(), number).unwrap();
        }
        assert_eq!(queue.add(&device, [output(1)].into_iter(), 99), Err(99));
        assert_eq!(queue.add(&device, [].into_iter(), 98), Err(98));
        assert!(!queue.is_broken());
        assert!(SplitQueue::<()>::new(12, true).is_none() && SplitQueue::<()>::new(0, true).is_none());
    }

    #[test]
    fn nothing_is_lost_over_many_turns_of_the_indexes() {
        // Mixed chains, answered out of order, for long enough that the 16-bit indexes wrap twice.
        let device = Device::new();
        let mut queue = SplitQueue::new(LEN, true).unwrap();
        let mut given = VecDeque::new();
        let mut at_device: VecDeque<(u16, u64)> = VecDeque::new();
        let mut random = 12_345_u64;
        let mut sum = 0;
        for turn in 0..140_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let buffers: Vec<_> = (0..=(random >> 33) % 3).map(|part| output(turn * 10 + part)).collect();
            if queue.add(&device, buffers.into_iter(), turn).is_ok() {
                given.push_back(turn);
            }
            queue.publish(&device);
            while let Some((head, chain)) = device.take() {
                assert_eq!(chain[0].address % 10, 0);
                at_device.push_back((head, chain[0].address / 10));
            }
            let count = (random >> 40) as usize % (at_device.len() + 1);
            for _ in 0..count {
                let index = (random >> 50) as usize % at_device.len();
                let (head, turn) = at_device.remove(index).unwrap();
                device.give_back(head.into(), 0);
                sum += turn;
            }
            while let Some((token, _)) = queue.take_used(&device) {
                let place = given.iter().position(|turn| *turn == token).expect("it was given");
                given.remove(place);
                sum -= token;
            }
        }
        assert_eq!((sum, given.len(), queue.is_broken()), (0, at_device.len(), false));
    }

    #[test]
    fn notifications_follow_the_event_index() {
        let device = Device::new();
        let mut queue = SplitQueue::new(LEN, true).unwrap();
        let mut publish_one = |event: u16| {
            device.available_event.set(event);
            queue.add(&device, [output(1)].into_iter(), ()).unwrap();
            let wants = queue.publish(&device);
            let (head, _) = device.take().unwrap();
            device.give_back(head.into(), 0);
            queue.take_used(&device).unwrap();
            wants
        };
        assert!(publish_one(0));
        assert!(!publish_one(0), "it has heard of that one");
        assert!(publish_one(2));
        for _ in 3..=u16::MAX {
            assert!(!publish_one(2));
        }
        // The index has wrapped.
        assert!(!publish_one(2) && !publish_one(2) && publish_one(2));
    }

    #[test]
    fn interrupts_follow_the_event_index() {
        let device = Device::new();
        let mut queue = SplitQueue::new(LEN, true).unwrap();
        for number in 0..5 {
            queue.add(&device, [input(number)].into_iter(), number).unwrap();
        }
        queue.publish(&device);
        assert!(!queue.enable_interrupts(&device));
        let heads: Vec<u32> = core::iter::from_fn(|| device.take()).map(|(head, _)| head.into()).collect();
        assert!(device.give_back(heads[0], 1), "one was asked for");
        assert!(!device.give_back(heads[1], 1), "and only one");
        assert!(queue.enable_interrupts(&device), "there are two already");
        assert!(queue.take_used(&device).is_some() && queue.take_used(&device).is_some());
        assert!(!queue.enable_interrupts_after(&device, 2));
        assert!(!device.give_back(heads[2], 1) && device.give_back(heads[3], 1));
        assert!(queue.enable_interrupts_after(&device, 2) && !queue.enable_interrupts_after(&device, 3));
        queue.disable_interrupts(&device);
        assert!(!device.give_back(heads[4], 1));
    }

    #[test]
    fn without_event_indexes_the_flags_count() {
        let device = Device::new();
        let mut queue = SplitQueue::new(LEN, false).unwrap();
        queue.add(&device, [output(1)].into_iter(), ()).unwrap();
        assert!(queue.publish(&device));
        device.used_flags.set(FLAG_QUIET);
        queue.add(&device, [output(1)].into_iter(), ()).unwrap();
        assert!(!queue.publish(&device));
        queue.disable_interrupts(&device);
        assert_eq!(device.flags.get(), FLAG_QUIET);
        assert!(!queue.enable_interrupts(&device));
        assert_eq!(device.flags.get(), 0);
    }

    /// A queue with two chains at the device, whose heads are 0 and 1.
    fn with_two(device: &Device) -> SplitQueue<String> {
        let mut queue = SplitQueue::new(LEN, true).unwrap();
        queue.add(device, [input(1)].into_iter(), "a".into()).unwrap();
        queue.add(device, [input(2)].into_iter(), "b".into()).unwrap();
        queue.publish(device);
        queue
    }

    #[test]
    fn a_chain_that_was_never_given_breaks_the_queue() {
        for head in [2, 7, 8, u32::from(u16::MAX) + 1, u32::MAX] {
            let device = Device::new();
            let mut queue = with_two(&device);
            device.give_back(head, 1);
            assert_eq!((queue.take_used(&device), queue.is_broken()), (None, true), "{head}");
            assert_eq!(queue.add(&device, [input(1)].into_iter(), "c".into()), Err("c".into()));
            device.give_back(0, 1);
            assert_eq!(queue.take_used(&device), None, "it stays broken");
        }
    }

    #[test]
    fn a_chain_given_back_twice_breaks_the_queue() {
        let device = Device::new();
        let mut queue = with_two(&device);
        device.give_back(1, 1);
        device.give_back(1, 1);
        assert_eq!(queue.take_used(&device), Some(("b".into(), 1)));
        assert_eq!((queue.take_used(&device), queue.is_broken()), (None, true));
    }

    #[test]
    fn an_index_that_jumps_breaks_the_queue() {
        for index in [3, 100, u16::MAX] {
            let device = Device::new();
            let mut queue = with_two(&device);
            device.used_index.set(index);
            assert_eq!((queue.take_used(&device), queue.is_broken()), (None, true), "{index}");
            assert!(!queue.enable_interrupts(&device), "nobody loops over it");
        }
    }

    #[test]
    fn tokens_are_dropped_with_the_queue() {
        let device = Device::new();
        let token = alloc::sync::Arc::new(());
        let mut queue = SplitQueue::new(LEN, true).unwrap();
        queue.add(&device, [input(1)].into_iter(), alloc::sync::Arc::clone(&token)).unwrap();
        assert_eq!(alloc::sync::Arc::strong_count(&token), 2);
        drop(queue);
        assert_eq!(alloc::sync::Arc::strong_count(&token), 1);
    }
}
