//! [`WaitQueue`]: who wants to know when something happens, and [`WaitNode`]: one such wish.
//!
//! 1. A node belongs to the waiter, which makes it before it takes any lock; adding, removing and waking allocate nothing.
//!    A node is in at most one queue, and while it is, the queue owns one reference to it.
//! 2. No wake is lost if the waiter adds its node *before* it looks at the condition, and the waker changes the condition
//!    *before* it wakes. The list's lock orders the two.
//! 3. [`Wake::wake`] runs under the queue's lock with interrupts off. It may take only locks that follow
//!    [`rank::WAIT_QUEUES`]: unparking a thread, or noting a ready file, which is all a wake does.
//!
//! Lock: [`rank::WAIT_QUEUES`] (or another rank for the queues of epoll instances, which wakes of other queues reach).

use alloc::sync::Arc;
use core::fmt;
use core::ptr::null;

use crate::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::cell::UnsafeCell;
use crate::rank::{self, Rank};
use crate::spinlock::IrqSpinLock;

/// Something that can be told that events happened.
pub trait Wake: Send + Sync {
    /// Takes notice of `events` (poll bits). Called under a spinlock with interrupts off.
    fn wake(&self, events: u32);
}

/// One waiter's place in a queue.
pub struct WaitNode {
    target: Arc<dyn Wake>,
    events: AtomicU32,
    is_exclusive: bool,
    /// Address of the queue the node is in; zero when in none. Written under the queue's lock.
    queue: AtomicUsize,
    /// Neighbours, touched under the queue's lock only.
    links: UnsafeCell<Links>,
}

struct Links {
    next: *const WaitNode,
    previous: *const WaitNode,
}

// SAFETY: the links are touched only under the lock of the queue the node is in; the rest is Send and Sync by itself.
unsafe impl Send for WaitNode {}
// SAFETY: as above.
unsafe impl Sync for WaitNode {}

impl WaitNode {
    /// A node in no queue, for all events.
    pub fn new(target: Arc<dyn Wake>) -> Arc<Self> {
        Self::with_events(target, u32::MAX, false)
    }

    /// A node in no queue, for `events`; an exclusive one is woken alone (accept, EPOLLEXCLUSIVE).
    pub fn with_events(target: Arc<dyn Wake>, events: u32, is_exclusive: bool) -> Arc<Self> {
        Arc::new(Self {
            target,
            events: AtomicU32::new(events),
            is_exclusive,
            queue: AtomicUsize::new(0),
            links: UnsafeCell::new(Links { next: null(), previous: null() }),
        })
    }

    /// Changes which events the node is for.
    pub fn set_events(&self, events: u32) {
        self.events.store(events, Ordering::Relaxed);
    }

    /// Whether the node is in a queue at this moment.
    pub fn is_queued(&self) -> bool {
        self.queue.load(Ordering::Acquire) != 0
    }
}

impl fmt::Debug for WaitNode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WaitNode").field("events", &self.events.load(Ordering::Relaxed)).finish_non_exhaustive()
    }
}

struct List {
    first: *const WaitNode,
    last: *const WaitNode,
}

// SAFETY: the nodes are kept alive by the list's references and touched under its lock only.
unsafe impl Send for List {}

/// The waiters of one event source, in order of arrival.
pub struct WaitQueue {
    list: IrqSpinLock<List>,
    /// Nodes in the list, readable without the lock.
    count: AtomicU32,
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl WaitQueue {
    const_fn! {
        /// An empty queue.
        pub const fn new() -> Self {
            Self::with_rank(rank::WAIT_QUEUES)
        }
    }

    const_fn! {
        /// An empty queue whose lock has `rank`.
        pub const fn with_rank(rank: Rank) -> Self {
            Self { list: IrqSpinLock::new(rank, List { first: null(), last: null() }), count: AtomicU32::new(0) }
        }
    }

    fn address(&self) -> usize {
        self as *const Self as usize
    }

    /// Appends a node, which must be in no queue.
    pub fn add(&self, node: &Arc<WaitNode>) {
        let raw = Arc::into_raw(Arc::clone(node));
        let mut list = self.list.lock();
        assert_eq!(node.queue.swap(self.address(), Ordering::AcqRel), 0, "a wait node is in two queues");
        let last = list.last;
        // SAFETY: the lock is held and the node is in no other queue, so its links are ours.
        node.links.with_mut(|links| unsafe { *links = Links { next: null(), previous: last } });
        if last.is_null() {
            list.first = raw;
        } else {
            // SAFETY: `last` is alive by the list's reference, its links are under our lock.
            unsafe { (*last).links.with_mut(|links| (*links).next = raw) };
        }
        list.last = raw;
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes a node out, if it is in this queue.
    pub fn remove(&self, node: &WaitNode) {
        let mut list = self.list.lock();
        if node.queue.load(Ordering::Relaxed) != self.address() {
            return;
        }
        // SAFETY: the node is in this list, whose lock is held.
        let (next, previous) = node.links.with(|links| unsafe { ((*links).next, (*links).previous) });
        if previous.is_null() {
            list.first = next;
        } else {
            // SAFETY: a neighbour is alive by the list's reference, its links are under our lock.
            unsafe { (*previous).links.with_mut(|links| (*links).next = next) };
        }
        if next.is_null() {
            list.last = previous;
        } else {
            // SAFETY: as above.
            unsafe { (*next).links.with_mut(|links| (*links).previous = previous) };
        }
        node.queue.store(0, Ordering::Release);
        self.count.fetch_sub(1, Ordering::SeqCst);
        drop(list);
        // SAFETY: takes back the reference that `add` gave to the list. Dropped outside the lock, as it may free.
        drop(unsafe { Arc::from_raw(node as *const WaitNode) });
    }

    /// Wakes every waiter that is not exclusive, and the first exclusive one, of those that want any of `events`.
    pub fn wake(&self, events: u32) {
        self.wake_where(events, true);
    }

    /// Wakes every waiter, exclusive or not.
    pub fn wake_all(&self) {
        self.wake_where(u32::MAX, false);
    }

    fn wake_where(&self, events: u32, stops_at_exclusive: bool) {
        if !self.has_waiters() {
            return;
        }
        let list = self.list.lock();
        let mut at = list.first;
        while !at.is_null() {
            // SAFETY: nodes of the list are alive, their links are under our lock.
            let node = unsafe { &*at };
            if node.events.load(Ordering::Relaxed) & events != 0 {
                node.target.wake(events);
                if node.is_exclusive && stops_at_exclusive {
                    return;
                }
            }
            // SAFETY: as above.
            at = node.links.with(|links| unsafe { (*links).next });
        }
    }

    /// Whether anybody waits. The fence makes a waker that sees nobody know that a later waiter sees its change.
    pub fn has_waiters(&self) -> bool {
        crate::atomic::fence(Ordering::SeqCst);
        self.count.load(Ordering::SeqCst) != 0
    }
}

impl Drop for WaitQueue {
    fn drop(&mut self) {
        debug_assert!(self.count.load(Ordering::Relaxed) == 0, "a wait queue dies with waiters in it");
    }
}

impl fmt::Debug for WaitQueue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WaitQueue({})", self.count.load(Ordering::Relaxed))
    }
}
