//! [`TimerQueue`]: the timers of one CPU, by deadline.
//!
//! # 1. Structure
//!
//! A heap with four children to a node, in an array, ordered by deadline and then by age, so that timers of one deadline
//! expire in the order in which they were started. Each timer also has a slot, which holds its value and its place in the
//! heap: cancelling, which most timers meet (a timeout that did not happen), finds the timer in O(1) and removes it in
//! O(log n). Slots are recycled; a [`TimerId`] carries the generation of its slot, so an old id finds nothing.
//!
//! A wheel would make starting O(1), but rounds deadlines or cascades; at the thousands of timers that one CPU has, a heap
//! of this shape needs three or four cache lines for an operation and keeps nanoseconds.
//!
//! # 2. Memory
//!
//! The queue lives behind a spinlock that interrupt handlers take, where nothing may allocate or free. So it never grows by
//! itself: [`TimerQueue::start`] refuses when the queue is full, and the caller brings more room:
//!
//! ```text
//! loop {
//!     let needed = { let mut timers = cpu.timers.lock(); match timers.start(deadline_ns, value) {
//!         Ok(id) => return id, Err(refused) => { value = refused; timers.next_capacity() } } };
//!     let storage = TimerStorage::allocate(needed)?;          // no lock held
//!     let old = cpu.timers.lock().grow(storage);
//!     drop(old);                                              // nor here
//! }
//! ```
//!
//! # 3. What it does not do
//!
//! It knows no clock and calls nobody: the owner reprograms the hardware when [`TimerQueue::next_deadline`] changes, and
//! calls [`TimerQueue::expire`] from the interrupt until it returns none.

use alloc::vec::Vec;
use core::mem;

/// The most timers of one CPU.
pub const TIMERS_MAX: usize = 1 << 20;

/// The first capacity of a queue that grows.
const CAPACITY_MIN: usize = 16;

/// Children of a node of the heap.
const ARITY: usize = 4;

/// Ends the list of free slots.
const NO_SLOT: u32 = u32::MAX;

/// Names a timer until it expires or is cancelled; after that it names nothing, even if its slot is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    slot: u32,
    generation: u32,
}

/// Room for timers, allocated outside of the lock of the queue it is for.
#[derive(Debug)]
pub struct TimerStorage<T> {
    heap: Vec<HeapEntry>,
    slots: Vec<Slot<T>>,
}

/// The timers of one CPU.
#[derive(Debug)]
pub struct TimerQueue<T> {
    /// A heap: no entry is before its parent.
    heap: Vec<HeapEntry>,
    slots: Vec<Slot<T>>,
    first_free: u32,
    /// The age of the next timer.
    next_order: u64,
}

#[derive(Clone, Copy, Debug)]
struct HeapEntry {
    deadline_ns: u64,
    order: u64,
    slot: u32,
}

impl HeapEntry {
    fn is_before(&self, other: &Self) -> bool {
        (self.deadline_ns, self.order) < (other.deadline_ns, other.order)
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    state: SlotState<T>,
}

#[derive(Debug)]
enum SlotState<T> {
    Free { next: u32 },
    Used { heap_index: u32, value: T },
}

impl<T> TimerStorage<T> {
    /// Room for `capacity` timers, at most [`TIMERS_MAX`]; none if memory is short.
    #[must_use]
    pub fn allocate(capacity: usize) -> Option<Self> {
        let capacity = capacity.min(TIMERS_MAX);
        let mut storage = Self { heap: Vec::new(), slots: Vec::new() };
        storage.heap.try_reserve_exact(capacity).ok()?;
        storage.slots.try_reserve_exact(capacity).ok()?;
        Some(storage)
    }

    fn capacity(&self) -> usize {
        self.heap.capacity().min(self.slots.capacity()).min(TIMERS_MAX)
    }
}

impl<T> Default for TimerQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> TimerQueue<T> {
    /// A queue without room: the first timer asks for some.
    #[must_use]
    pub const fn new() -> Self {
        Self { heap: Vec::new(), slots: Vec::new(), first_free: NO_SLOT, next_order: 0 }
    }

    /// The number of timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// True if there is no timer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The time of the next expiry.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.deadline_ns)
    }

    /// Starts a timer. Without room for it, gives the value back: [`grow`](Self::grow) the queue and try again.
    pub fn start(&mut self, deadline_ns: u64, value: T) -> Result<TimerId, T> {
        if self.heap.len() == self.capacity() {
            return Err(value);
        }
        let heap_index = self.heap.len();
        let slot = self.take_slot(SlotState::Used { heap_index: index_u32(heap_index), value });
        self.heap.push(HeapEntry { deadline_ns, order: self.next_order, slot });
        self.next_order += 1;
        self.sift_up(heap_index);
        Ok(TimerId { slot, generation: self.slots[slot as usize].generation })
    }

    /// The number of timers there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.heap.capacity().min(self.slots.capacity()).min(TIMERS_MAX)
    }

    /// The capacity to grow to, when the queue is full. Not above [`TIMERS_MAX`], where growing ends.
    #[must_use]
    pub fn next_capacity(&self) -> usize {
        (self.capacity() * 2).clamp(CAPACITY_MIN, TIMERS_MAX)
    }

    /// Moves the timers to a larger storage and returns the old one, or `storage` itself if that is no larger. The caller
    /// drops what it gets outside of the lock.
    pub fn grow(&mut self, mut storage: TimerStorage<T>) -> TimerStorage<T> {
        if storage.capacity() <= self.capacity() {
            return storage;
        }
        storage.heap.append(&mut self.heap);
        storage.slots.append(&mut self.slots);
        mem::swap(&mut self.heap, &mut storage.heap);
        mem::swap(&mut self.slots, &mut storage.slots);
        storage
    }

    /// Stops a timer and returns its value. None: it has expired or was cancelled.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let heap_index = self.find(id)?;
        Some(self.remove(heap_index))
    }

    /// Gives a timer another deadline. False: it has expired or was cancelled.
    pub fn reschedule(&mut self, id: TimerId, deadline_ns: u64) -> bool {
        let Some(heap_index) = self.find(id) else { return false };
        let entry = &mut self.heap[heap_index];
        entry.deadline_ns = deadline_ns;
        // A timer set anew is younger than those that wait for the same moment.
        entry.order = self.next_order;
        self.next_order += 1;
        self.settle(heap_index);
        true
    }

    /// The deadline of a timer, while it runs.
    #[must_use]
    pub fn deadline(&self, id: TimerId) -> Option<u64> {
        self.find(id).map(|heap_index| self.heap[heap_index].deadline_ns)
    }

    /// The values of all timers, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| match &slot.state {
            SlotState::Used { value, .. } => Some(value),
            SlotState::Free { .. } => None,
        })
    }

    /// Takes the first timer whose deadline is not after `now_ns`. Call it until it returns none.
    pub fn expire(&mut self, now_ns: u64) -> Option<(TimerId, T)> {
        let first = self.heap.first().filter(|entry| entry.deadline_ns <= now_ns)?;
        let slot = first.slot;
        let id = TimerId { slot, generation: self.slots[slot as usize].generation };
        Some((id, self.remove(0)))
    }

    /// Fills a slot. There is room: the heap has one entry for each used slot, and less than its capacity.
    fn take_slot(&mut self, state: SlotState<T>) -> u32 {
        let Some(slot) = self.slots.get_mut(self.first_free as usize) else {
            debug_assert!(self.slots.len() < self.slots.capacity());
            self.slots.push(Slot { generation: 0, state });
            return index_u32(self.slots.len() - 1);
        };
        let taken = self.first_free;
        self.first_free = match mem::replace(&mut slot.state, state) {
            SlotState::Free { next } => next,
            SlotState::Used { .. } => unreachable!("the list of free slots holds free slots"),
        };
        taken
    }

    /// The place of a running timer in the heap.
    fn find(&self, id: TimerId) -> Option<usize> {
        let slot = self.slots.get(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        match &slot.state {
            SlotState::Used { heap_index, .. } => Some(*heap_index as usize),
            SlotState::Free { .. } => None,
        }
    }

    /// Removes the entry at `heap_index` and frees its slot.
    fn remove(&mut self, heap_index: usize) -> T {
        let entry = self.heap.swap_remove(heap_index);
        if heap_index < self.heap.len() {
            self.settle(heap_index);
        }
        let slot = &mut self.slots[entry.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let state = mem::replace(&mut slot.state, SlotState::Free { next: self.first_free });
        self.first_free = entry.slot;
        take_value(state)
    }

    /// Restores the order of the heap around an entry that was put at `index`.
    fn settle(&mut self, index: usize) {
        let index = self.sift_up(index);
        self.sift_down(index);
    }

    /// Moves the entry at `index` towards the root while it is before its parent; returns where it ends.
    fn sift_up(&mut self, mut index: usize) -> usize {
        let entry = self.heap[index];
        while index > 0 {
            let parent = (index - 1) / ARITY;
            if !entry.is_before(&self.heap[parent]) {
                break;
            }
            self.place(index, self.heap[parent]);
            index = parent;
        }
        self.place(index, entry);
        index
    }

    /// Moves the entry at `index` away from the root while a child is before it.
    fn sift_down(&mut self, mut index: usize) {
        let entry = self.heap[index];
        loop {
            let first_child = index * ARITY + 1;
            let children = first_child..(first_child + ARITY).min(self.heap.len());
            let least = children.reduce(|a, b| if self.heap[b].is_before(&self.heap[a]) { b } else { a });
            match least {
                Some(child) if self.heap[child].is_before(&entry) => {
                    self.place(index, self.heap[child]);
                    index = child;
                }
                _ => break,
            }
        }
        self.place(index, entry);
    }

    /// Puts an entry at `index` and tells its slot.
    #[inline]
    fn place(&mut self, index: usize, entry: HeapEntry) {
        self.heap[index] = entry;
        if let SlotState::Used { heap_index, .. } = &mut self.slots[entry.slot as usize].state {
            *heap_index = index_u32(index);
        } else {
            debug_assert!(false, "an entry of the heap has a free slot");
        }
    }
}

fn take_value<T>(state: SlotState<T>) -> T {
    match state {
        SlotState::Used { value, .. } => value,
        SlotState::Free { .. } => unreachable!("every entry of the heap has a used slot"),
    }
}

fn index_u32(index: usize) -> u32 {
    u32::try_from(index).expect("TIMERS_MAX fits 32 bits")
}

const _: () = assert!(TIMERS_MAX < NO_SLOT as usize);

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use testkit::Random;

    use super::*;

    fn queue_for<T>(capacity: usize) -> TimerQueue<T> {
        let mut queue = TimerQueue::new();
        drop(queue.grow(TimerStorage::allocate(capacity).unwrap()));
        queue
    }

    fn expired<T>(queue: &mut TimerQueue<T>, now_ns: u64) -> Vec<T> {
        std::iter::from_fn(|| queue.expire(now_ns)).map(|(_, value)| value).collect()
    }

    #[test]
    fn timers_expire_in_the_order_of_their_deadlines() {
        let mut queue = queue_for(8);
        for (deadline_ns, value) in [(30, 'c'), (10, 'a'), (20, 'b'), (40, 'd')] {
            queue.start(deadline_ns, value).unwrap();
        }
        assert_eq!(queue.next_deadline(), Some(10));
        assert_eq!(expired(&mut queue, 9), []);
        assert_eq!(expired(&mut queue, 30), ['a', 'b', 'c']);
        assert_eq!(queue.next_deadline(), Some(40));
        assert_eq!(expired(&mut queue, u64::MAX), ['d']);
        assert!(queue.is_empty() && queue.next_deadline().is_none());
    }

    #[test]
    fn timers_of_one_deadline_expire_in_the_order_of_their_start() {
        let mut queue = queue_for(100);
        for value in 0..100 {
            queue.start(5, value).unwrap();
        }
        assert_eq!(expired(&mut queue, 5), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_cancelled_timer_does_not_expire() {
        let mut queue = queue_for(4);
        let first = queue.start(1, 'a').unwrap();
        let second = queue.start(2, 'b').unwrap();
        assert_eq!(queue.deadline(first), Some(1));
        assert_eq!(queue.cancel(first), Some('a'));
        assert_eq!(queue.cancel(first), None);
        assert_eq!(queue.deadline(first), None);
        assert_eq!(queue.expire(2), Some((second, 'b')));
        assert_eq!(queue.cancel(second), None);
    }

    #[test]
    fn an_old_id_does_not_name_the_next_timer_of_its_slot() {
        let mut queue = queue_for(1);
        let old = queue.start(1, 'a').unwrap();
        queue.cancel(old);
        let new = queue.start(2, 'b').unwrap();
        assert_ne!(old, new);
        assert_eq!(queue.cancel(old), None);
        assert!(!queue.reschedule(old, 9));
        assert_eq!(queue.cancel(new), Some('b'));
    }

    #[test]
    fn a_timer_moves_both_ways() {
        let mut queue = queue_for(8);
        let ids: Vec<_> = (0..8).map(|value| queue.start(10 * value, value).unwrap()).collect();
        assert!(queue.reschedule(ids[0], 55));
        assert!(queue.reschedule(ids[7], 5));
        assert_eq!(expired(&mut queue, u64::MAX), [7, 1, 2, 3, 4, 5, 0, 6]);
    }

    #[test]
    fn a_full_queue_refuses_until_it_has_grown() {
        let mut queue = TimerQueue::new();
        assert_eq!(queue.start(1, 'a'), Err('a'));
        assert_eq!(queue.next_capacity(), CAPACITY_MIN);
        let old = queue.grow(TimerStorage::allocate(queue.next_capacity()).unwrap());
        assert_eq!(old.capacity(), 0);
        let ids: Vec<_> = std::iter::from_fn(|| queue.start(1, 'a').ok()).collect();
        assert!(ids.len() >= CAPACITY_MIN);
        drop(queue.grow(TimerStorage::allocate(queue.next_capacity()).unwrap()));
        assert!(queue.start(0, 'b').is_ok());
        // Those that were there before still answer to their ids.
        assert!(ids.iter().all(|id| queue.cancel(*id) == Some('a')));
        assert_eq!(expired(&mut queue, 0), ['b']);
    }

    #[test]
    fn a_smaller_storage_is_given_back() {
        let mut queue = queue_for(64);
        queue.start(1, ()).unwrap();
        let refused = queue.grow(TimerStorage::allocate(8).unwrap());
        assert!(refused.capacity() < 64);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn random_operations_agree_with_a_sorted_map() {
        const SEED: u64 = 0x71e5;
        let mut random = Random::new(SEED);
        let mut queue = queue_for(16);
        // By deadline and age, as the queue has it; and the ids in no order.
        let mut model = BTreeMap::new();
        let mut ids: Vec<(TimerId, (u64, u64))> = Vec::new();
        let mut now_ns = 0;
        for age in 0..50_000_u64 {
            match random.below(8) {
                0..=3 => {
                    let deadline_ns = now_ns + random.next_u64() % 1000;
                    let id = queue.start(deadline_ns, age).unwrap_or_else(|value| {
                        drop(queue.grow(TimerStorage::allocate(queue.next_capacity()).unwrap()));
                        queue.start(deadline_ns, value).unwrap()
                    });
                    model.insert((deadline_ns, age), age);
                    ids.push((id, (deadline_ns, age)));
                }
                4 | 5 if !ids.is_empty() => {
                    let (id, key) = ids.swap_remove(random.below(ids.len()));
                    assert_eq!(queue.cancel(id), model.remove(&key), "seed {SEED:#x}");
                }
                6 if !ids.is_empty() => {
                    let index = random.below(ids.len());
                    let (id, key) = &mut ids[index];
                    let deadline_ns = now_ns + random.next_u64() % 1000;
                    let value = model.remove(key);
                    assert_eq!(queue.reschedule(*id, deadline_ns), value.is_some(), "seed {SEED:#x}");
                    if let Some(value) = value {
                        *key = (deadline_ns, age);
                        model.insert(*key, value);
                    }
                }
                _ => {
                    now_ns += random.next_u64() % 300;
                    let due: Vec<_> = model.extract_if(..=(now_ns, u64::MAX), |_, _| true).map(|(_, v)| v).collect();
                    assert_eq!(expired(&mut queue, now_ns), due, "seed {SEED:#x}");
                }
            }
            assert_eq!(queue.len(), model.len());
            assert_eq!(queue.next_deadline(), model.keys().next().map(|key| key.0));
        }
    }
}
