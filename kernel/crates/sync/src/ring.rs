//! Bounded queues with one consumer: [`single_producer`] and [`many_producers`].
//!
//! D. Vyukov's bounded queue: each slot carries a sequence number that says whose turn it is. For the slot of position `p`
//! it is `p` when the slot is free, `p + 1` when it is full, and `p + capacity` when it has been emptied for the next
//! round. A lone producer needs no read-modify-write operation; many producers claim positions by compare-exchange. The
//! consumer never writes what producers poll, but the slot itself.
//!
//! Nothing here blocks, allocates (after creation) or disables interrupts; a handler may push and a thread pop. The
//! consumer is a value: keep it inside the lock that decides who consumes.
//!
//! With many producers, a producer that is interrupted in the middle of a push hides the later entries until it is done.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::mem::MaybeUninit;

use crate::atomic::{AtomicUsize, Ordering};
use crate::cell::UnsafeCell;

/// The largest capacity of a ring.
pub const CAPACITY_MAX: usize = 1 << 20;

/// Aligned so that the two ends do not share a cache line (two lines, as adjacent lines are fetched in pairs).
#[repr(align(128))]
struct Padded<T>(T);

struct Slot<T> {
    turn: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

struct Core<T> {
    /// The position that is pushed next. A lone producer stores it, many claim from it.
    tail: Padded<AtomicUsize>,
    /// The position that is popped next. Stored by the consumer only.
    head: Padded<AtomicUsize>,
    mask: usize,
    slots: Box<[Slot<T>]>,
}

// SAFETY: the turn of a slot gives its value to one side at a time; the values only move between contexts.
unsafe impl<T: Send> Sync for Core<T> {}
// SAFETY: the core owns its values.
unsafe impl<T: Send> Send for Core<T> {}

/// A ring with one producer. `capacity` is rounded up to a power of two, at least 2 and at most [`CAPACITY_MAX`].
pub fn single_producer<T: Send>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let core = Core::new(capacity);
    (Producer { core: Arc::clone(&core) }, Consumer { core })
}

/// A ring with many producers: clone or share the first. `capacity` is as for [`single_producer`].
pub fn many_producers<T: Send>(capacity: usize) -> (SharedProducer<T>, Consumer<T>) {
    let core = Core::new(capacity);
    (SharedProducer { core: Arc::clone(&core) }, Consumer { core })
}

/// The only producer of a ring.
pub struct Producer<T> {
    core: Arc<Core<T>>,
}

impl<T: Send> Producer<T> {
    /// Appends a value, or gives it back if the ring is full.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        let position = self.core.tail.0.load(Ordering::Relaxed);
        let slot = self.core.slot(position);
        if slot.turn.load(Ordering::Acquire) != position {
            return Err(value);
        }
        self.core.tail.0.store(position.wrapping_add(1), Ordering::Relaxed);
        // SAFETY: the slot is free at our position, and this is the only producer.
        unsafe { slot.fill(position, value) };
        Ok(())
    }

    /// The number of values in the ring, as far as this side knows: never too few.
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// True if the ring is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of values the ring can hold.
    pub fn capacity(&self) -> usize {
        self.core.slots.len()
    }
}

/// One of many producers of a ring.
pub struct SharedProducer<T> {
    core: Arc<Core<T>>,
}

impl<T> Clone for SharedProducer<T> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core) }
    }
}

impl<T: Send> SharedProducer<T> {
    /// Appends a value, or gives it back if the ring is full.
    pub fn push(&self, value: T) -> Result<(), T> {
        let mut position = self.core.tail.0.load(Ordering::Relaxed);
        loop {
            let slot = self.core.slot(position);
            let turn = slot.turn.load(Ordering::Acquire);
            if turn == position {
                let next = position.wrapping_add(1);
                match self.core.tail.0.compare_exchange_weak(position, next, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => {
                        // SAFETY: the slot was free at the position that is now ours alone.
                        unsafe { slot.fill(position, value) };
                        return Ok(());
                    }
                    Err(current) => position = current,
                }
                continue;
            }
            // Behind: the slot still holds the value of the last round. Ahead: another producer was faster.
            let current = self.core.tail.0.load(Ordering::Relaxed);
            if current == position {
                return Err(value);
            }
            position = current;
        }
    }

    /// The number of values in the ring, roughly.
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// True if the ring looks empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of values the ring can hold.
    pub fn capacity(&self) -> usize {
        self.core.slots.len()
    }
}

/// The consumer of a ring.
pub struct Consumer<T> {
    core: Arc<Core<T>>,
}

impl<T: Send> Consumer<T> {
    /// Takes the oldest value.
    pub fn pop(&mut self) -> Option<T> {
        let position = self.core.head.0.load(Ordering::Relaxed);
        let slot = self.core.slot(position);
        if slot.turn.load(Ordering::Acquire) != position.wrapping_add(1) {
            return None;
        }
        // SAFETY: the slot is full at our position, and this is the only consumer.
        let value = slot.value.with_mut(|value| unsafe { (*value).assume_init_read() });
        self.core.head.0.store(position.wrapping_add(1), Ordering::Relaxed);
        // Release: the value is out before a producer sees the slot free.
        slot.turn.store(position.wrapping_add(self.core.slots.len()), Ordering::Release);
        Some(value)
    }

    /// True if there is nothing to pop now.
    pub fn is_empty(&self) -> bool {
        let position = self.core.head.0.load(Ordering::Relaxed);
        self.core.slot(position).turn.load(Ordering::Acquire) != position.wrapping_add(1)
    }

    /// The number of values in the ring, as far as this side knows; those being pushed count.
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// The number of values the ring can hold.
    pub fn capacity(&self) -> usize {
        self.core.slots.len()
    }
}

impl<T> Core<T> {
    fn new(capacity: usize) -> Arc<Self> {
        // A single slot could not tell full from free: both turns would be the position plus 1.
        let capacity = capacity.clamp(2, CAPACITY_MAX).next_power_of_two();
        let slots = (0..capacity)
            .map(|turn| Slot { turn: AtomicUsize::new(turn), value: UnsafeCell::new(MaybeUninit::uninit()) })
            .collect();
        Arc::new(Self {
            tail: Padded(AtomicUsize::new(0)),
            head: Padded(AtomicUsize::new(0)),
            mask: capacity - 1,
            slots,
        })
    }

    fn slot(&self, position: usize) -> &Slot<T> {
        &self.slots[position & self.mask]
    }

    fn len(&self) -> usize {
        let head = self.head.0.load(Ordering::Relaxed);
        let tail = self.tail.0.load(Ordering::Relaxed);
        // The two loads are not one: keep the answer in range.
        tail.wrapping_sub(head).min(self.slots.len())
    }
}

impl<T> Slot<T> {
    /// # Safety
    /// The slot is free and the caller alone has claimed `position`.
    unsafe fn fill(&self, position: usize, value: T) {
        self.value.with_mut(|slot| {
            // SAFETY: the caller alone may touch the slot until its turn is stored.
            unsafe { (*slot).write(value) };
        });
        // Release: the value is in before the consumer sees the slot full.
        self.turn.store(position.wrapping_add(1), Ordering::Release);
    }
}

impl<T> Drop for Core<T> {
    fn drop(&mut self) {
        let mut position = self.head.0.load(Ordering::Relaxed);
        loop {
            let slot = self.slot(position);
            if slot.turn.load(Ordering::Relaxed) != position.wrapping_add(1) {
                return;
            }
            // SAFETY: the slot is full, and `&mut self` means that both sides are gone.
            slot.value.with_mut(|value| unsafe { (*value).assume_init_drop() });
            // A position one round later is not full again: each slot is visited once.
            slot.turn.store(position, Ordering::Relaxed);
            position = position.wrapping_add(1);
        }
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Producer({} of {})", self.core.len(), self.core.slots.len())
    }
}

impl<T> fmt::Debug for SharedProducer<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SharedProducer({} of {})", self.core.len(), self.core.slots.len())
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Consumer({} of {})", self.core.len(), self.core.slots.len())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn values_leave_in_order_and_a_full_ring_refuses() {
        let (mut producer, mut consumer) = single_producer(3);
        assert_eq!(producer.capacity(), 4);
        for round in 0..10 {
            for value in 0..4 {
                assert_eq!(producer.push(round * 10 + value), Ok(()));
            }
            assert_eq!(producer.push(99), Err(99));
            assert_eq!(consumer.len(), 4);
            for value in 0..4 {
                assert_eq!(consumer.pop(), Some(round * 10 + value));
            }
            assert_eq!(consumer.pop(), None);
            assert!(consumer.is_empty() && producer.is_empty());
        }
    }

    #[test]
    fn the_smallest_ring_tells_full_from_empty() {
        let (producer, mut consumer) = many_producers(0);
        assert_eq!(producer.capacity(), 2);
        assert!(producer.push(1).is_ok() && producer.push(2).is_ok());
        assert_eq!(producer.push(3), Err(3));
        assert_eq!((consumer.pop(), consumer.pop(), consumer.pop()), (Some(1), Some(2), None));
    }

    #[test]
    fn one_producer_and_the_consumer_run_at_once() {
        const COUNT: usize = 50_000;
        let (mut producer, mut consumer) = single_producer(64);
        let pushing = thread::spawn(move || {
            for value in 0..COUNT {
                while producer.push(value).is_err() {
                    thread::yield_now();
                }
            }
        });
        for expected in 0..COUNT {
            let value = loop {
                match consumer.pop() {
                    Some(value) => break value,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(value, expected);
        }
        pushing.join().unwrap();
    }

    #[test]
    fn many_producers_lose_nothing_and_keep_their_own_order() {
        const COUNT: usize = 10_000;
        const PRODUCERS: usize = 3;
        let (producer, mut consumer) = many_producers(16);
        let pushing: Vec<_> = (0..PRODUCERS)
            .map(|number| {
                let producer = producer.clone();
                thread::spawn(move || {
                    for value in 0..COUNT {
                        while producer.push((number, value)).is_err() {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut next = [0; PRODUCERS];
        for _ in 0..PRODUCERS * COUNT {
            let (number, value) = loop {
                match consumer.pop() {
                    Some(entry) => break entry,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(value, next[number]);
            next[number] += 1;
        }
        assert_eq!(consumer.pop(), None);
        for thread in pushing {
            thread.join().unwrap();
        }
    }

    #[test]
    fn a_ring_drops_what_it_holds_once() {
        let value = Arc::new(());
        let (mut producer, mut consumer) = single_producer(4);
        for _ in 0..4 {
            producer.push(Arc::clone(&value)).unwrap();
        }
        drop(consumer.pop());
        producer.push(Arc::clone(&value)).unwrap();
        assert_eq!(Arc::strong_count(&value), 5);
        drop((producer, consumer));
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
