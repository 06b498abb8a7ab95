//! Queues of waiters that are found by a key: what futexes are made of.
//!
//! A [`KeyedQueues`] is a table of buckets; a key hashes to one of them, and the waiters of a bucket form one list. The
//! table knows nothing of words in memory: the caller looks at its word under the lock of the bucket, between
//! [`KeyedQueues::arrive`] and [`Arrival::enqueue`], and what it does with the waiters it finds is a closure.
//!
//! # 1. Why no wake is lost
//!
//! The waiter of a word W counts itself in its bucket, locks the bucket, loads W, and enqueues itself if W has the value it
//! expects. The waker stores to W, then looks at the count, and locks the bucket only if the count is not zero:
//!
//! ```text
//! waiter                                    waker
//! A  count += 1       (read-modify-write)   X  W = new          (by the program)
//! B  fence                                  Y  fence
//! C  lock                                   Z  count == 0 ? return
//! D  load W; if it changed: undo, return       lock; wake
//! E  enqueue; unlock
//! ```
//!
//! 1. If Z reads a count that does not have A in it, then by the two fences D reads what X wrote: the waiter does not sleep.
//! 2. Otherwise the waker takes the lock. If it does so after E it finds the waiter. If it does so before C, the lock's
//!    release and acquire make X visible at D, and the waiter does not sleep.
//!
//! The count includes those who are about to look. It is an upper bound of the length of the list, changed by whoever links
//! or unlinks, so a bucket nobody waits in costs a waker one fence and one load.
//!
//! # 2. Places
//!
//! [`Waiter::place`](Waiter) says where a waiter is: in a bucket, nowhere (free), or taken. It changes only under the lock of
//! the bucket it names, but for the last step of a wake:
//!
//! ```text
//! free -> bucket b       by its thread, under the lock of b
//! b -> bucket c          by a requeue, under the locks of both
//! b -> free              by its thread, which gives up, under the lock of b
//! b -> taken             by a wake, under the lock of b; it is in the waker's chain now
//! taken -> free          by the waker, after all locks; then the thread is unparked
//! ```
//!
//! A thread that gives up ([`KeyedQueues::cancel`]) locks the bucket it believes to be in and looks again. Either it unlinks
//! itself, or someone has taken it: then that wake counts, and the call says so. So a wake that was counted is never lost to
//! a timeout or a signal, and a requeued waiter gives up wherever it has got to.
//!
//! The step over `taken` is there because the chain of those to be woken runs through the waiters: while a waiter is in one,
//! its thread must not enqueue it again.
//!
//! # 3. Order
//!
//! The list is ordered by priority, the greater first, and by arrival among equals. Ordinary threads all have priority 0, so
//! that linking one looks at no other unless real-time threads wait. A waiter keeps its priority until it leaves the
//! bucket.
//!
//! # 4. Ownership and locks
//!
//! A linked or taken waiter carries one strong count, which the list or the chain owns. Nothing is allocated or freed under
//! a lock. The lock of a bucket has rank [`rank::FUTEX`]; two are taken in the order of their numbers. Unparking happens
//! after the locks.

mod list;

use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;

use crate::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
use crate::cell::UnsafeCell;
use crate::park::Parker;
use crate::rank;
use list::List;

pub use list::{Step, Woken};

/// In a model the lock must be one that loom can block on.
#[cfg(loom)]
type Lock<T> = crate::spinlock::IrqSpinLock<T>;
#[cfg(loom)]
type Guard<'a, T> = crate::spinlock::IrqSpinLockGuard<'a, T>;
#[cfg(not(loom))]
type Lock<T> = crate::spinlock::SpinLock<T>;
#[cfg(not(loom))]
type Guard<'a, T> = crate::spinlock::SpinLockGuard<'a, T>;

/// What waiters are found by.
pub trait Key: Copy + Eq + Send + Sync {
    /// A number that spreads keys over buckets; its low bits count.
    fn hash(&self) -> usize;
}

/// What is known of a waiter while it is in a queue. `R` is what the caller wants to note of it.
#[derive(Clone, Copy, Debug)]
pub struct Entry<K, R> {
    /// What it waits for.
    pub key: K,
    /// A wake reaches it if one of these bits is set in the wake's mask.
    pub bits: u32,
    /// The greater goes first.
    pub priority: u8,
    /// The caller's note. A walk may change it, and the thread reads it when it is back.
    pub role: R,
}

/// The place of a waiter that is in no queue.
const FREE: usize = 0;
/// The place of a waiter that is in the chain of a waker.
const TAKEN: usize = usize::MAX;

/// A thread's means to be in a queue. Made once and used for many waits; in one queue at a time.
pub struct Waiter<K, R> {
    parker: Arc<Parker>,
    /// [`FREE`], [`TAKEN`], or one more than the number of its bucket.
    place: AtomicUsize,
    /// Belongs to the bucket's lock, to the chain, or to the thread, as `place` says.
    node: UnsafeCell<list::Node<K, R>>,
}

// SAFETY: `node` is only accessed by whom `place` says it belongs to; its pointers are followed by the list that owns the
// counts. The rest is Sync and Send by itself.
unsafe impl<K: Send, R: Send> Sync for Waiter<K, R> {}
// SAFETY: as above.
unsafe impl<K: Send, R: Send> Send for Waiter<K, R> {}

impl<K: Copy, R: Copy> Waiter<K, R> {
    /// A waiter that wakes by this parker, in no queue.
    pub fn new(parker: Arc<Parker>) -> Arc<Self> {
        Arc::new(Self { parker, place: AtomicUsize::new(FREE), node: UnsafeCell::new(list::Node::unlinked()) })
    }

    /// Whether it is in no queue, and nobody is about to wake it. What the one who took it did before is visible.
    #[inline]
    pub fn is_free(&self) -> bool {
        self.place.load(Ordering::Acquire) == FREE
    }

    /// Waits, for a moment only, until the one who took it has let go of it.
    fn settle(&self) {
        while !self.is_free() {
            self.parker.park();
        }
    }
}

impl<K, R> fmt::Debug for Waiter<K, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Waiter").field("place", &self.place.load(Ordering::Relaxed)).finish_non_exhaustive()
    }
}

/// One bucket, in a cache line of its own.
#[repr(align(64))]
struct Bucket<K, R> {
    /// Waiters linked, and threads about to look.
    count: AtomicU32,
    list: Lock<List<K, R>>,
}

impl<K, R> Bucket<K, R> {
    const_fn! {
        const fn new() -> Self {
            Self { count: AtomicU32::new(0), list: Lock::new(rank::FUTEX, List::new()) }
        }
    }
}

/// The table. The number of buckets is a power of two.
pub struct KeyedQueues<K, R, const BUCKETS: usize> {
    buckets: [Bucket<K, R>; BUCKETS],
}

impl<K, R, const BUCKETS: usize> Default for KeyedQueues<K, R, BUCKETS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, R, const BUCKETS: usize> KeyedQueues<K, R, BUCKETS> {
    /// Empty queues.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        const { assert!(BUCKETS.is_power_of_two()) };
        Self { buckets: [const { Bucket::new() }; BUCKETS] }
    }

    /// Empty queues.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { buckets: core::array::from_fn(|_| Bucket::new()) }
    }
}

impl<K: Key, R: Copy, const BUCKETS: usize> KeyedQueues<K, R, BUCKETS> {
    #[inline]
    fn number(key: &K) -> usize {
        key.hash() & (BUCKETS - 1)
    }

    /// Whether anybody may wait in the bucket of this key. If not, all who come later see what the caller has written.
    #[inline]
    pub fn has_waiters(&self, key: &K) -> bool {
        // Section 1: Y and Z.
        fence(Ordering::SeqCst);
        self.buckets[Self::number(key)].count.load(Ordering::Relaxed) != 0
    }

    /// Locks the queue of `key` if anybody may wait in its bucket: [`has_waiters`](Self::has_waiters) and [`lock`](Self::lock).
    #[inline]
    pub fn lock_waited(&self, key: &K) -> Option<Queue<'_, K, R>> {
        let number = Self::number(key);
        let bucket = &self.buckets[number];
        // Section 1: Y and Z.
        fence(Ordering::SeqCst);
        let has_waiters = bucket.count.load(Ordering::Relaxed) != 0;
        has_waiters.then(|| Queue { number, bucket, list: bucket.list.lock() })
    }

    /// Locks the queue of `key` for a thread that may wait: what it reads from now on is not older than what wakers that miss
    /// it have written.
    #[inline]
    pub fn arrive(&self, key: &K) -> Arrival<'_, K, R> {
        let number = Self::number(key);
        let bucket = &self.buckets[number];
        // Section 1: A, B, C. The read-modify-write is a full fence by itself on this machine; a model has to be told.
        bucket.count.fetch_add(1, Ordering::SeqCst);
        if cfg!(loom) {
            fence(Ordering::SeqCst);
        }
        Arrival { queue: Queue { number, bucket, list: bucket.list.lock() }, count: Some(Counted(&bucket.count)) }
    }

    /// Locks the queue of `key`.
    #[inline]
    pub fn lock(&self, key: &K) -> Queue<'_, K, R> {
        let number = Self::number(key);
        let bucket = &self.buckets[number];
        Queue { number, bucket, list: bucket.list.lock() }
    }

    /// Locks the queues of two keys.
    pub fn lock_two(&self, first: &K, second: &K) -> TwoQueues<'_, K, R> {
        let (first, second) = (Self::number(first), Self::number(second));
        let (low, high) = (first.min(second), first.max(second));
        // As a waiter counts itself before it looks at its word, so is a second queue counted before waiters move to it:
        // a waker of the second key must not pass while they move.
        let count = Counted::new(&self.buckets[second].count);
        let low_list = self.buckets[low].list.lock();
        let high_list = (low != high).then(|| self.buckets[high].list.lock_nested());
        let low = Queue { number: low, bucket: &self.buckets[low], list: low_list };
        let high = high_list.map(|list| Queue { number: high, bucket: &self.buckets[high], list });
        TwoQueues { high, low, is_first_low: first <= second, count }
    }

    /// Takes a waiter out of whatever queue it is in. True: it was in one. False: it was taken first, and the thread is to
    /// act as one that was woken. The waiter is free afterwards. For the thread of the waiter.
    pub fn cancel(&self, waiter: &Waiter<K, R>) -> bool {
        loop {
            let place = waiter.place.load(Ordering::Acquire);
            if place == FREE || place == TAKEN {
                waiter.settle();
                return false;
            }
            let bucket = &self.buckets[place - 1];
            let mut list = bucket.list.lock();
            if waiter.place.load(Ordering::Relaxed) != place {
                continue;
            }
            let owned = list.remove(waiter);
            waiter.place.store(FREE, Ordering::Relaxed);
            drop(list);
            bucket.count.fetch_sub(1, Ordering::Relaxed);
            drop(owned);
            return true;
        }
    }

    /// What is noted of a waiter that is free: what it was enqueued with, as changed since. For the thread of the waiter.
    pub fn entry(&self, waiter: &Waiter<K, R>) -> Option<Entry<K, R>> {
        debug_assert!(waiter.is_free(), "only a free waiter is the thread's own");
        // SAFETY: a free waiter belongs to its thread, which is the caller.
        waiter.node.with(|node| unsafe { (*node).entry() })
    }

    /// Calls `visit` with the entry of a waiter, under the lock of its queue, unless it was taken. For its thread, to look at
    /// or change what is noted of it while it waits.
    pub fn with_entry<T>(&self, waiter: &Waiter<K, R>, visit: impl FnOnce(&mut Entry<K, R>) -> T) -> Option<T> {
        loop {
            let place = waiter.place.load(Ordering::Acquire);
            if place == FREE || place == TAKEN {
                return None;
            }
            let list = self.buckets[place - 1].list.lock();
            if waiter.place.load(Ordering::Relaxed) == place {
                // SAFETY: the waiter is linked in this list, whose lock is held.
                let result = waiter.node.with_mut(|node| unsafe { (*node).entry_mut().map(visit) });
                drop(list);
                return result;
            }
        }
    }
}

/// One more in a bucket's count, as long as this lives.
struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }

    /// Leaves the one in the count, for a waiter that was linked.
    fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A locked queue, and a thread that may wait in it. Dropped, the thread does not wait.
pub struct Arrival<'a, K, R> {
    queue: Queue<'a, K, R>,
    count: Option<Counted<'a>>,
}

impl<'a, K: Key, R: Copy> Arrival<'a, K, R> {
    /// Puts the waiter of the calling thread in the queue and unlocks it. Wait until the waiter [is
    /// free](Waiter::is_free), or [cancel](KeyedQueues::cancel).
    ///
    /// # Panics
    /// If the waiter is in a queue.
    #[inline]
    pub fn enqueue(mut self, waiter: &Arc<Waiter<K, R>>, entry: Entry<K, R>) {
        self.queue.link(waiter, entry);
        if let Some(count) = self.count.take() {
            count.keep();
        }
    }

    /// The queue, to look at those who wait.
    pub fn queue(&mut self) -> &mut Queue<'a, K, R> {
        &mut self.queue
    }
}

/// A locked queue; dropped, it is unlocked. It holds waiters of other keys as well, so everything names its key.
pub struct Queue<'a, K, R> {
    number: usize,
    bucket: &'a Bucket<K, R>,
    list: Guard<'a, List<K, R>>,
}

impl<K: Key, R: Copy> Queue<'_, K, R> {
    #[inline]
    fn link(&mut self, waiter: &Arc<Waiter<K, R>>, entry: Entry<K, R>) {
        // Acquire, as the one who took it last has written to it.
        assert!(waiter.is_free(), "a waiter is in two queues");
        // SAFETY: it is free, so its thread, which is the caller, owns the node; it is not shared yet.
        waiter.node.with_mut(|node| unsafe { (*node).set_entry(entry) });
        waiter.place.store(self.number + 1, Ordering::Relaxed);
        self.list.insert(Arc::clone(waiter));
    }

    /// The waiter that stands first for `key`.
    pub fn first(&self, key: &K) -> Option<Entry<K, R>> {
        self.list.first(key)
    }

    /// What is noted of a waiter, if it is in this queue.
    pub fn entry_of(&mut self, waiter: &Waiter<K, R>) -> Option<&mut Entry<K, R>> {
        if waiter.place.load(Ordering::Relaxed) != self.number + 1 {
            return None;
        }
        self.list.entry_of(waiter)
    }

    /// Takes a waiter out of this queue, without a wake. True: it was in it. For its own thread.
    pub fn remove(&mut self, waiter: &Waiter<K, R>) -> bool {
        if waiter.place.load(Ordering::Relaxed) != self.number + 1 {
            return false;
        }
        // The thread has a count of its own, so nothing is freed here.
        drop(self.list.remove(waiter));
        waiter.place.store(FREE, Ordering::Relaxed);
        self.bucket.count.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// Visits the waiters for `key` in their order; the visitor says what becomes of each. Those to be woken are added to
    /// `woken`, which the caller lets go after the lock. [`Step::Move`] is for [`TwoQueues::walk_first`].
    #[inline]
    pub fn walk(&mut self, key: &K, woken: &mut Woken<K, R>, visit: impl FnMut(&mut Entry<K, R>) -> Step<K>) {
        self.list.walk(key, woken, &self.bucket.count, None, visit);
    }

    /// Takes the waiter that stands first for `key`, to be woken, and changes what is noted of it.
    pub fn take_first(&mut self, key: &K, woken: &mut Woken<K, R>, change: impl FnOnce(&mut Entry<K, R>)) -> bool {
        let mut change = Some(change);
        self.walk(key, woken, |entry| match change.take() {
            Some(change) => {
                change(entry);
                Step::WakeAndStop
            }
            None => Step::Stop,
        });
        change.is_none()
    }
}

/// The locked queues of two keys, which may be in the same bucket.
pub struct TwoQueues<'a, K, R> {
    // Unlocked before the other one.
    high: Option<Queue<'a, K, R>>,
    low: Queue<'a, K, R>,
    is_first_low: bool,
    #[expect(dead_code, reason = "counted until dropped")]
    count: Counted<'a>,
}

impl<'a, K: Key, R: Copy> TwoQueues<'a, K, R> {
    /// The queue of the first key.
    pub fn first(&mut self) -> &mut Queue<'a, K, R> {
        match &mut self.high {
            Some(high) if !self.is_first_low => high,
            _ => &mut self.low,
        }
    }

    /// The queue of the second key.
    pub fn second(&mut self) -> &mut Queue<'a, K, R> {
        match &mut self.high {
            Some(high) if self.is_first_low => high,
            _ => &mut self.low,
        }
    }

    /// As [`Queue::walk`] in the queue of the first key, but [`Step::Move`] puts waiters at the end of that of the second.
    pub fn walk_first(&mut self, key: &K, woken: &mut Woken<K, R>, visit: impl FnMut(&mut Entry<K, R>) -> Step<K>) {
        let (from, to) = match &mut self.high {
            Some(high) if self.is_first_low => (&mut self.low, Some(high)),
            Some(high) => (high, Some(&mut self.low)),
            None => (&mut self.low, None),
        };
        let number = to.as_ref().map_or(from.number, |to| to.number);
        let target = list::Target {
            count: to.as_ref().map_or(&from.bucket.count, |to| &to.bucket.count),
            list: to.map(|to| &mut *to.list),
            place: number + 1,
        };
        from.list.walk(key, woken, &from.bucket.count, Some(target), visit);
    }
}

/// A list is bound to its type of waiter.
type Of<K, R> = PhantomData<Waiter<K, R>>;

#[cfg(all(test, not(loom)))]
mod tests;
