//! [`Core`]: the part of an instance that wakes reach; [`Watch`]: what they call.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::PollEvents;
use file::ReleaseWatcher;
use sync::{IrqSpinLock, WaitQueue, Wake, rank};

use super::Epoll;
use super::items::Key;

/// The ready list and who waits for it.
pub(super) struct Core {
    /// The length of the list, above the first number on it: what a look without the lock tells. Changed under the lock.
    summary: AtomicU64,
    ready: IrqSpinLock<Ready>,
    pub(super) queue: WaitQueue,
}

struct Ready {
    /// Numbers of items that may be ready, each at most once.
    list: VecDeque<u32>,
    /// By item: whether it is on the list.
    is_listed: Vec<bool>,
    /// The items of other instances that watch this one.
    parents: Vec<Arc<Watch>>,
}

impl Ready {
    /// Puts an item on the list, if it is not there yet.
    #[inline]
    fn list(&mut self, index: u32, at_front: bool) {
        let Some(is_listed) = slot(&mut self.is_listed, index) else { return };
        if core::mem::replace(is_listed, true) {
            return;
        }
        debug_assert!(self.list.len() < self.list.capacity(), "there is room for every item");
        if at_front {
            self.list.push_front(index);
        } else {
            self.list.push_back(index);
        }
    }

    /// Takes an item off the list, wherever it is.
    fn unlist(&mut self, index: u32) {
        let is_listed = slot(&mut self.is_listed, index).is_some_and(|is_listed| core::mem::replace(is_listed, false));
        if is_listed {
            if self.list.front() == Some(&index) {
                self.list.pop_front();
            } else {
                self.list.retain(|other| *other != index);
            }
        }
    }
}

fn slot(is_listed: &mut [bool], index: u32) -> Option<&mut bool> {
    is_listed.get_mut(usize::try_from(index).ok()?)
}

impl Core {
    pub(super) fn new() -> Arc<Self> {
        let ready = Ready { list: VecDeque::new(), is_listed: Vec::new(), parents: Vec::new() };
        Arc::new(Self {
            summary: AtomicU64::new(0),
            ready: IrqSpinLock::new(rank::EPOLL_READY, ready),
            queue: WaitQueue::with_rank(rank::EPOLL_WAIT_QUEUES),
        })
    }

    /// Makes room for the item `index`. One thread at a time: the caller has the items locked.
    pub(super) fn reserve(&self, index: u32) {
        let count = usize::try_from(index).unwrap_or(usize::MAX).saturating_add(1);
        if self.ready.lock().is_listed.len() >= count {
            return;
        }
        let capacity = count.next_power_of_two();
        let mut list = VecDeque::with_capacity(capacity);
        let mut is_listed = Vec::with_capacity(capacity);
        let mut ready = self.ready.lock();
        list.append(&mut ready.list);
        is_listed.append(&mut ready.is_listed);
        is_listed.resize(capacity, false);
        core::mem::swap(&mut ready.list, &mut list);
        core::mem::swap(&mut ready.is_listed, &mut is_listed);
        drop(ready);
    }

    /// An item may be ready: lists it and wakes. Called under the lock of a wait queue, or of the ready list of an instance
    /// this one watches. True if somebody waited for it.
    pub(super) fn note(&self, index: u32) -> bool {
        let mut ready = self.ready.lock_nested();
        ready.list(index, false);
        self.sum_up(&ready);
        for parent in &ready.parents {
            parent.wake(PollEvents::READABLE.bits());
        }
        drop(ready);
        self.queue.wake(PollEvents::READABLE.bits())
    }

    fn sum_up(&self, ready: &Ready) {
        let length = u64::try_from(ready.list.len()).unwrap_or(u64::MAX);
        let first = ready.list.front().copied().unwrap_or(0);
        // Release: who sees the item on the list sees why.
        self.summary.store(length << u32::BITS | u64::from(first), Ordering::Release);
    }

    /// How many items are on the list.
    #[inline]
    pub(super) fn ready_count(&self) -> u64 {
        self.summary.load(Ordering::Acquire) >> u32::BITS
    }

    /// The first item of the list, and whether there are others. Wakes only append: for who has the items locked, and so alone
    /// takes off the list, the first stays the first.
    #[inline]
    pub(super) fn first(&self) -> Option<(u32, bool)> {
        let summary = self.summary.load(Ordering::Acquire);
        let (length, first) = (summary >> u32::BITS, summary & u64::from(u32::MAX));
        (length > 0).then_some((u32::try_from(first).unwrap_or(u32::MAX), length > 1))
    }

    /// Puts an item at the end of the list, if it is not on it.
    pub(super) fn push(&self, index: u32) {
        let mut ready = self.ready.lock();
        ready.list(index, false);
        self.sum_up(&ready);
    }

    /// Puts an item at the front of the list, if it is not on it.
    pub(super) fn push_first(&self, index: u32) {
        let mut ready = self.ready.lock();
        ready.list(index, true);
        self.sum_up(&ready);
    }

    /// Puts an item at the end of the list, wherever it was.
    pub(super) fn move_to_end(&self, index: u32) {
        let mut ready = self.ready.lock();
        ready.unlist(index);
        ready.list(index, false);
        self.sum_up(&ready);
    }

    /// Takes an item off the list.
    #[inline]
    pub(super) fn forget(&self, index: u32) {
        let mut ready = self.ready.lock();
        ready.unlist(index);
        self.sum_up(&ready);
    }

    /// Passes wakes on to an item of an instance that watches this one.
    pub(super) fn add_parent(&self, parent: &Arc<Watch>) {
        let mut bigger = Vec::new();
        loop {
            let mut ready = self.ready.lock();
            if ready.parents.len() == ready.parents.capacity() && bigger.capacity() > ready.parents.len() {
                bigger.append(&mut ready.parents);
                core::mem::swap(&mut bigger, &mut ready.parents);
            }
            if ready.parents.len() < ready.parents.capacity() {
                ready.parents.push(Arc::clone(parent));
                return;
            }
            let wanted = (ready.parents.len() * 2).max(1);
            drop(ready);
            bigger = Vec::with_capacity(wanted);
        }
    }

    /// Takes back [`Core::add_parent`].
    pub(super) fn remove_parent(&self, parent: &Arc<Watch>) {
        let mut ready = self.ready.lock();
        let position = ready.parents.iter().position(|other| Arc::ptr_eq(other, parent));
        let removed = position.map(|position| ready.parents.swap_remove(position));
        drop(ready);
        drop(removed);
    }

    /// How many instances lie on the longest way up from here, this one included.
    pub(super) fn height(&self) -> usize {
        let ready = self.ready.lock_nested();
        1 + ready.parents.iter().map(|parent| parent.core.height()).max().unwrap_or(0)
    }
}

/// What a watched file wakes: the item `index` of an instance.
pub(super) struct Watch {
    core: Arc<Core>,
    epoll: Weak<Epoll>,
    index: u32,
    key: Key,
    /// The events that count; none while the item is disabled.
    events: AtomicU32,
}

impl Watch {
    pub(super) fn new(core: Arc<Core>, epoll: Weak<Epoll>, index: u32, key: Key) -> Self {
        Self { core, epoll, index, key, events: AtomicU32::new(0) }
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }

    pub(super) fn set_events(&self, events: PollEvents) {
        self.events.store(events.bits(), Ordering::Relaxed);
    }
}

impl Wake for Watch {
    /// Whoever asks the instance next looks, unless the item is disabled.
    fn wake(&self, events: u32) -> bool {
        let is_wanted = self.events.load(Ordering::Relaxed) & events != 0;
        if is_wanted {
            self.core.note(self.index);
        }
        is_wanted
    }

    /// A wake of an instance for which nobody waits goes on to another.
    fn wake_exclusive(&self, events: u32) -> bool {
        self.events.load(Ordering::Relaxed) & events != 0 && self.core.note(self.index)
    }
}

impl ReleaseWatcher for Watch {
    fn open_file_released(&self) {
        if let Some(epoll) = self.epoll.upgrade() {
            drop(epoll.take_item(self.key));
        }
    }
}
