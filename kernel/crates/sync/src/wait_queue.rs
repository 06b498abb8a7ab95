//! Wait queues: how the threads that wait for an event are found when it happens.
//!
//! # 1. The protocol of a waiter
//!
//! ```text
//! loop {
//!     queue.add(&node);            // also re-arms a node that was woken
//!     if let Done(n) = operation() { queue.remove(&node); return n; }
//!     if signal_is_pending() { queue.leave(&node); return EINTR; }
//!     parker.park();
//! }
//! ```
//!
//! A waiter registers before it tries. The one who makes the event happen changes the state first and calls
//! [`WaitQueue::wake`] afterwards. Between the two steps there is a sequentially consistent fence on both sides, so either
//! the waiter's attempt sees the new state, or the wake sees the waiter: no wake is lost, though `wake` of an empty queue
//! takes no lock.
//!
//! # 2. Exclusive nodes
//!
//! A wake reaches every node whose events match, but only one that is exclusive, in the order of arrival. An exclusive node
//! that was woken is skipped until it is added again. Its owner must try its operation once more; if it gives up instead,
//! [`WaitQueue::leave`] passes the wake on to the next. A waiter that was woken and got something, but left more behind, owes
//! the next a wake as well, for one wake may have stood for more than one waiter takes: [`Turn`] sees to both.
//!
//! # 3. Ownership and locks
//!
//! The list runs through the nodes, so adding, removing and waking allocate and free nothing under the lock; a linked node
//! is kept alive by the list. The lock is an [`IrqSpinLock`] of rank [`rank::WAIT_QUEUES`] (or of another rank, for the
//! queue of an object that is itself woken from a wake, such as an epoll instance). [`Wake::wake`] is called under it: it
//! must be short, take only later locks, and not touch the queue that calls it.
//!
//! A node is in at most one queue at a time. A queue that is dropped unlinks its nodes.

use alloc::sync::Arc;
use core::fmt;
use core::ptr;

use crate::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use crate::cell::UnsafeCell;
use crate::machine;
use crate::park::Parker;
use crate::rank::{self, Rank};
use crate::spinlock::IrqSpinLock;

/// What is woken: a thread's [`Parker`], an item of an epoll instance.
pub trait Wake: Send + Sync {
    /// Called with the events that happened, from any context, under the lock of the queue. False if that leads nobody
    /// to look at the object.
    fn wake(&self, events: u32) -> bool;

    /// As [`Wake::wake`], for an exclusive node. When nobody takes the wake up it goes on to the next node.
    fn wake_exclusive(&self, events: u32) -> bool {
        self.wake(events)
    }
}

/// The owner of a node that is in no queue.
const NO_QUEUE: u64 = 0;

/// One registration for events; see the module documentation.
pub struct WaitNode {
    wake: Arc<dyn Wake>,
    events: AtomicU32,
    /// Changed by the owner, while it is in no queue.
    is_exclusive: AtomicBool,
    /// The id of the queue that the node is linked in. Set under the lock of that queue.
    owner: AtomicU64,
    /// Protected by the lock of the owner.
    links: UnsafeCell<Links>,
}

struct Links {
    previous: *const WaitNode,
    next: *const WaitNode,
    /// The events with which an exclusive node was woken since it was armed; 0 if it was not.
    woken_events: u32,
}

// SAFETY: `links` is only touched under the lock of the owning queue; all else is Sync by itself.
unsafe impl Sync for WaitNode {}
// SAFETY: a linked node is reached through Arc only, an unlinked one has no pointers to follow.
unsafe impl Send for WaitNode {}

impl WaitNode {
    /// A node for all events, in no queue.
    pub fn new(wake: Arc<dyn Wake>) -> Arc<Self> {
        Self::with_events(wake, u32::MAX, false)
    }

    /// A node that is woken by the events of the mask `events`. Exclusive nodes share: each wake reaches one of them.
    pub fn with_events(wake: Arc<dyn Wake>, events: u32, is_exclusive: bool) -> Arc<Self> {
        let links = Links { previous: ptr::null(), next: ptr::null(), woken_events: 0 };
        Arc::new(Self {
            wake,
            events: AtomicU32::new(events),
            is_exclusive: AtomicBool::new(is_exclusive),
            owner: AtomicU64::new(NO_QUEUE),
            links: UnsafeCell::new(links),
        })
    }

    /// Makes the node another one, for another wait. Only its owner does this, while it is in no queue.
    pub fn reset(&self, events: u32, is_exclusive: bool) {
        debug_assert!(!self.is_queued(), "a node is changed in the middle of a wait");
        // The queue's lock orders these before all who look.
        self.events.store(events, Ordering::Relaxed);
        self.is_exclusive.store(is_exclusive, Ordering::Relaxed);
    }

    #[inline]
    fn is_exclusive(&self) -> bool {
        self.is_exclusive.load(Ordering::Relaxed)
    }

    /// The events that wake this node.
    pub fn events(&self) -> u32 {
        self.events.load(Ordering::Relaxed)
    }

    /// Changes the events that wake this node. Look at the state of the object afterwards: wakes in between may have
    /// gone by the old mask.
    pub fn set_events(&self, events: u32) {
        self.events.store(events, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// True if the node is in a queue.
    pub fn is_queued(&self) -> bool {
        self.owner.load(Ordering::Relaxed) != NO_QUEUE
    }
}

impl fmt::Debug for WaitNode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WaitNode")
            .field("events", &self.events())
            .field("is_exclusive", &self.is_exclusive())
            .field("is_queued", &self.is_queued())
            .finish_non_exhaustive()
    }
}

/// The waiters for the events of one object.
pub struct WaitQueue {
    /// The number of nodes that a wake would reach, for its fast path: not of exclusive ones that were woken. Changed under the lock.
    armed: AtomicU32,
    list: IrqSpinLock<List>,
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
        /// An empty queue whose lock has another rank, for an object that is woken by the wakes of other queues.
        pub const fn with_rank(rank: Rank) -> Self {
            Self { armed: AtomicU32::new(0), list: IrqSpinLock::new(rank, List::new()) }
        }
    }

    /// Links `node`, or arms it again if it is linked here and was woken. Afterwards, try the operation. Answers the events of
    /// an exclusive wake that had reached it, 0 for none.
    ///
    /// # Panics
    /// If the node is in another queue.
    pub fn add(&self, node: &Arc<WaitNode>) -> u32 {
        let mut woken_events = 0;
        {
            let mut list = self.list.lock();
            if node.owner.load(Ordering::Relaxed) == list.id() {
                woken_events = list.rearm(node);
            } else {
                list.link(node);
            }
            self.armed.store(list.armed, Ordering::Relaxed);
        }
        // Section 1: the registration comes before what the caller reads next.
        fence(Ordering::SeqCst);
        woken_events
    }

    /// Unlinks `node`, if it is linked here; once this returns, the queue wakes it no more. For a waiter who got what it
    /// waited for, or whose node is not exclusive. True if it was linked.
    pub fn remove(&self, node: &WaitNode) -> bool {
        self.unlink(node).is_some()
    }

    /// Unlinks `node` for a waiter that gives up: if an exclusive wake had reached it, the next waiter gets that wake.
    pub fn leave(&self, node: &WaitNode) {
        let woken_events = self.take_out(node);
        if woken_events != 0 {
            self.wake(woken_events);
        }
    }

    /// Unlinks `node` and answers the events of an exclusive wake that reached it, 0 for none.
    #[must_use = "a wake that is not used is passed on"]
    fn take_out(&self, node: &WaitNode) -> u32 {
        self.unlink(node).unwrap_or(0)
    }

    /// Wakes the nodes whose events meet `events`: all that are not exclusive, and one that is. True if somebody
    /// will look at the object.
    #[inline]
    pub fn wake(&self, events: u32) -> bool {
        // Section 1: what the caller has written comes before the look at the queue.
        self.has_waiters() && self.wake_listed(events)
    }

    fn wake_listed(&self, events: u32) -> bool {
        // Who is woken and goes first does so when the lock is released, not on the way back to the program, which is longer.
        machine::preemption_disable();
        let is_any_woken = {
            let mut list = self.list.lock();
            let is_any_woken = list.wake(events);
            self.armed.store(list.armed, Ordering::Relaxed);
            is_any_woken
        };
        machine::preemption_enable();
        is_any_woken
    }

    /// Wakes every node, exclusive or not, whatever its events.
    pub fn wake_all(&self) {
        if self.has_waiters() {
            let mut list = self.list.lock();
            list.wake_all();
            self.armed.store(list.armed, Ordering::Relaxed);
        }
    }

    /// True if a wake would reach a node. What the caller has written before is visible to any waiter that this call missed, and to those that
    /// were woken before and have not looked since.
    pub fn has_waiters(&self) -> bool {
        fence(Ordering::SeqCst);
        self.armed.load(Ordering::Relaxed) != 0
    }

    /// As [`WaitQueue::has_waiters`] for who has passed a sequentially consistent fence since it wrote, as by a wake of
    /// another queue.
    #[inline]
    pub fn has_waiters_after_fence(&self) -> bool {
        self.armed.load(Ordering::Relaxed) != 0
    }

    /// Sleeps, uninterruptibly, until `attempt` gives a result. For short waits inside the kernel, such as a page that is
    /// being filled; the waits of system calls go through one loop in the layer that knows signals.
    pub fn block_until<R>(&self, events: u32, mut attempt: impl FnMut() -> Option<R>) -> R {
        if let Some(result) = attempt() {
            return result;
        }
        let parker = Arc::new(Parker::new());
        let node = WaitNode::with_events(parker.clone(), events, false);
        loop {
            self.add(&node);
            if let Some(result) = attempt() {
                self.remove(&node);
                return result;
            }
            parker.park();
        }
    }

    /// Unlinks a node and returns its `woken_events`, if it was linked here.
    fn unlink(&self, node: &WaitNode) -> Option<u32> {
        let (unlinked, woken_events) = {
            let mut list = self.list.lock();
            if node.owner.load(Ordering::Relaxed) != list.id() {
                return None;
            }
            let result = list.unlink(node);
            self.armed.store(list.armed, Ordering::Relaxed);
            result
        };
        // Outside the lock: this may be the last reference.
        drop(unlinked);
        Some(woken_events)
    }
}

/// One wait by an exclusive node, from its first attempt to the end: section 2.
///
/// ```text
/// let mut turn = Turn::new(&queue, node);
/// loop {
///     if let Done(n) = operation() { turn.finish(|| is_more_left()); return n; }
///     if signal_is_pending() { return EINTR; }
///     parker.park();
///     // Usually it is done now; only who finds nothing gets in line again, and then looks once more.
///     if let Done(n) = operation() { turn.finish(|| is_more_left()); return n; }
///     turn.arm();
/// }
/// ```
pub struct Turn<'a> {
    queue: &'a WaitQueue,
    node: Arc<WaitNode>,
    /// The events of the wake that the attempt under way answers to.
    woken_events: u32,
    /// It got what it waited for, and has left.
    is_done: bool,
}

impl<'a> Turn<'a> {
    /// Gets in line. Then try the operation.
    pub fn new(queue: &'a WaitQueue, node: Arc<WaitNode>) -> Self {
        let woken_events = queue.add(&node);
        Self { queue, node, woken_events, is_done: false }
    }

    /// Gets in line again after a wake. Then try the operation.
    pub fn arm(&mut self) {
        self.woken_events = self.queue.add(&self.node);
    }

    /// Leaves, as the operation is done. If a wake led to this and `has_more` is true, the next is woken.
    pub fn finish(mut self, has_more: impl FnOnce() -> bool) {
        self.is_done = true;
        let woken_events = self.woken_events | self.queue.take_out(&self.node);
        if woken_events != 0 && has_more() {
            self.queue.wake(woken_events);
        }
    }
}

impl Drop for Turn<'_> {
    /// Leaves without having done anything: the last attempt found nothing, and a wake that came later goes to the next.
    fn drop(&mut self) {
        if !self.is_done {
            self.queue.leave(&self.node);
        }
    }
}

impl fmt::Debug for WaitQueue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WaitQueue").field("armed", &self.armed.load(Ordering::Relaxed)).finish()
    }
}

impl Drop for WaitQueue {
    fn drop(&mut self) {
        let list = self.list.get_mut();
        while let Some(first) = list.first() {
            drop(list.unlink(first).0);
        }
    }
}

/// The list, all of whose nodes have `owner == id`. Each linked node carries one strong count that the list owns.
/// Exclusive nodes stand behind the others.
struct List {
    head: *const WaitNode,
    tail: *const WaitNode,
    /// Names the queue to its nodes, wherever it moves. 0 until the first use.
    id: u64,
    /// How many nodes are not exclusive, or were not woken.
    armed: u32,
}

// SAFETY: the pointers are to nodes that are Send and Sync and are kept alive by the counts that the list owns.
unsafe impl Send for List {}

impl List {
    const fn new() -> Self {
        Self { head: ptr::null(), tail: ptr::null(), id: NO_QUEUE, armed: 0 }
    }

    /// The id of the queue, unique for the life of the kernel.
    fn id(&mut self) -> u64 {
        if self.id == NO_QUEUE {
            // Only hands out numbers: no other memory depends on it, so loom need not see it.
            static LAST_ID: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(NO_QUEUE);
            self.id = LAST_ID.fetch_add(1, core::sync::atomic::Ordering::Relaxed) + 1;
        }
        self.id
    }

    fn first(&self) -> Option<&'static WaitNode> {
        // SAFETY: linked nodes are alive; callers use the reference no longer than the node is linked.
        unsafe { self.head.as_ref() }
    }

    fn link(&mut self, node: &Arc<WaitNode>) {
        let id = self.id();
        // Acquire: whoever unlinked the node last has finished with its links.
        let claim = node.owner.compare_exchange(NO_QUEUE, id, Ordering::Acquire, Ordering::Relaxed);
        assert!(claim.is_ok(), "a wait node is in two queues");
        let pointer = Arc::into_raw(Arc::clone(node));
        self.insert(pointer, node.is_exclusive());
    }

    /// Puts an owned, unlinked node at the tail or at the head.
    fn insert(&mut self, node: *const WaitNode, at_tail: bool) {
        let (previous, next) = if at_tail { (self.tail, ptr::null()) } else { (ptr::null(), self.head) };
        with_links(node, |links| *links = Links { previous, next, woken_events: 0 });
        self.join(previous, node);
        self.join(node, next);
        self.armed += 1;
    }

    /// Makes `left` and `right` neighbours; null stands for the end on that side.
    fn join(&mut self, left: *const WaitNode, right: *const WaitNode) {
        if left.is_null() {
            self.head = right;
        } else {
            with_links(left, |links| links.next = right);
        }
        if right.is_null() {
            self.tail = left;
        } else {
            with_links(right, |links| links.previous = left);
        }
    }

    /// Takes a node out and returns the list's reference to it, with the events of an unused exclusive wake.
    fn unlink(&mut self, node: &WaitNode) -> (Arc<WaitNode>, u32) {
        debug_assert_eq!(node.owner.load(Ordering::Relaxed), self.id);
        let pointer = ptr::from_ref(node);
        let (previous, next, woken_events) =
            with_links(pointer, |links| (links.previous, links.next, links.woken_events));
        self.join_around(previous, next);
        self.armed -= u32::from(woken_events == 0);
        // Release: the next queue that claims the node sees the links left alone.
        node.owner.store(NO_QUEUE, Ordering::Release);
        // SAFETY: `link` made this pointer by into_raw from a count that the list owned until now.
        (unsafe { Arc::from_raw(pointer) }, woken_events)
    }

    fn join_around(&mut self, previous: *const WaitNode, next: *const WaitNode) {
        if previous.is_null() && next.is_null() {
            (self.head, self.tail) = (ptr::null(), ptr::null());
        } else {
            self.join(previous, next);
        }
    }

    /// Puts a node that was woken back in line; one that was not keeps its place.
    fn rearm(&mut self, node: &WaitNode) -> u32 {
        let pointer = ptr::from_ref(node);
        let (previous, next, woken_events) =
            with_links(pointer, |links| (links.previous, links.next, links.woken_events));
        if woken_events != 0 {
            self.join_around(previous, next);
            self.insert(pointer, true);
        }
        woken_events
    }

    fn wake(&mut self, events: u32) -> bool {
        let mut is_any_woken = false;
        let mut current = self.first();
        while let Some(node) = current {
            current = next_of(node);
            let matching = node.events() & events;
            if matching == 0 {
                continue;
            }
            if !node.is_exclusive() {
                is_any_woken |= node.wake.wake(matching);
            } else if with_links(node, |links| links.take_wake(matching)) {
                if node.wake.wake_exclusive(matching) {
                    self.armed -= 1;
                    return true;
                }
                with_links(node, |links| links.woken_events = 0);
            }
        }
        is_any_woken
    }

    fn wake_all(&mut self) {
        let mut current = self.first();
        while let Some(node) = current {
            current = next_of(node);
            if node.is_exclusive() && with_links(node, |links| links.take_wake(u32::MAX)) {
                self.armed -= 1;
            }
            node.wake.wake(u32::MAX);
        }
    }
}

impl Links {
    /// Marks an exclusive node as woken. False if it already was, and has not looked since.
    fn take_wake(&mut self, events: u32) -> bool {
        let is_armed = self.woken_events == 0;
        if is_armed {
            self.woken_events = events;
        }
        is_armed
    }
}

/// The node after `node`, which is linked and stays so while the caller holds the lock.
fn next_of(node: &WaitNode) -> Option<&'static WaitNode> {
    let next = with_links(node, |links| links.next);
    // SAFETY: neighbours of a linked node are linked, hence alive, while the lock is held.
    unsafe { next.as_ref() }
}

/// Access to the links of a linked node. Called only by [`List`], whose methods run under the lock.
fn with_links<R>(node: *const WaitNode, access: impl FnOnce(&mut Links) -> R) -> R {
    // SAFETY: nodes passed here are alive (linked, or being linked by their owner), and the lock of the owning queue
    // makes this the only access to the links. `access` is never nested.
    unsafe { (*node).links.with_mut(|links| access(&mut *links)) }
}

#[cfg(all(test, not(loom)))]
mod tests;
