//! [`SplitQueue`] and a device that keeps to the rules, or does not.

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
    assert!(!queue.has_used(&device));
    assert!(device.give_back(heads[0], 1), "one was asked for");
    assert!(!device.give_back(heads[1], 1), "and only one");
    assert!(queue.enable_interrupts(&device), "there are two already");
    assert!(queue.has_used(&device), "whatever is asked for");
    assert!(queue.take_used(&device).is_some() && queue.take_used(&device).is_some());
    assert!(!queue.has_used(&device));
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
