//! Futexes: waiting for a word of the program's memory to change, and locks built of such words.
//!
//! # 1. What is where
//!
//! - [`key`]: what tells one word from all others, across address spaces;
//! - [`word`]: the program's word itself, looked at and changed under locks;
//! - [`wait`], [`wake`], [`vector`]: waiting, waking, moving waiters, waiting for one of many;
//! - [`pi`]: locks whose holder inherits the priority of those who wait for it;
//! - [`robust`]: what a thread leaves behind when it ends while it holds locks.
//!
//! All waiters are in one table, [`QUEUES`], whose module ([`sync::keyed`]) has the proof that no wake is lost. What has to
//! be added to it here is that the word is loaded under the lock of its bucket, after the waiter has been counted.
//!
//! # 2. Words and locks
//!
//! A word may be paged out, and a page fault may sleep, so under the lock of a bucket words are only touched by the accesses
//! that do not fault. One that fails is repeated after the lock was dropped and the page made present. As others may run
//! in between, everything starts over then.
//!
//! # 3. Answers
//!
//! A wake that was counted is answered with success by the thread that it reached, whatever else came at the same time:
//! a timeout or a signal gives up only a waiter that is still in its queue. Interrupted waits begin again as on Linux: those
//! with a time limit by `restart_syscall`, to the same point in time.
//!
//! # 4. Order of locks
//!
//! A bucket ([`sync::rank::FUTEX`]), or two in the order of their numbers; then the graph of priority inheritance
//! ([`sync::rank::FUTEX_OWNERS`]), under which priorities are lent. Threads are woken after all of them.

mod deadline;
mod key;
mod pi;
mod robust;
mod vector;
mod wait;
mod wake;
mod word;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

use sync::Parker;
use sync::keyed::KeyedQueues;

use crate::process::Process;
use crate::thread::Thread;

pub(crate) use deadline::Deadline;
pub(crate) use key::{Key, Sharing};
pub(crate) use pi::{lock, priority_changed, requeue as requeue_to_lock, unlock, wait_for_requeue};
pub(crate) use vector::{Waiting, Watched, has_changed, wait_for_any};
pub(crate) use wait::{Ending, Request, wait, wait_once};
pub(crate) use wake::{Both, Count, check, requeue, wake, wake_and_change};

/// The number of buckets: a few times as many as there are CPUs to contend for them.
const BUCKETS: usize = 256;

/// Everybody who waits for a word.
static QUEUES: KeyedQueues<Key, Role, BUCKETS> = KeyedQueues::new();

/// One waiter.
type Waiter = sync::keyed::Waiter<Key, Role>;
/// Those a call wakes.
type Woken = sync::keyed::Woken<Key, Role>;
/// A waiter that was taken out of its queue, if there was one. It wakes when this is dropped.
pub(crate) struct Taken {
    _waiter: Woken,
}

/// A waiter as it is queued.
type Entry = sync::keyed::Entry<Key, Role>;

/// A mask that meets every other one but the empty one (`FUTEX_BITSET_MATCH_ANY`).
pub(crate) const ALL_BITS: u32 = u32::MAX;

/// What a waiter waits for.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// A wake.
    Plain,
    /// To be moved to a lock, by [`pi::requeue`].
    ToBeMoved(pi::TaskId),
    /// A lock with priority inheritance.
    Blocked(pi::TaskId),
    /// Nothing any more: the lock is its own, but the program's word does not say so.
    Heir(pi::TaskId),
    /// Nothing any more: it has its lock.
    Granted,
}

/// What a thread has of futexes.
pub(crate) struct FutexState {
    /// It waits for one word at a time, or for many with waiters of their own.
    waiter: Arc<Waiter>,
    /// The head of the list of locks it holds (`set_robust_list`).
    pub(crate) robust_list: AtomicUsize,
    /// The thread's own real-time priority, 0 without one: a copy to be read without a lock.
    priority: AtomicU8,
    membership: pi::Membership,
}

impl FutexState {
    /// That of a new thread, which parks here.
    pub(crate) fn new(parker: &Arc<Parker>) -> Self {
        let waiter = Waiter::new(Arc::clone(parker));
        Self { waiter, robust_list: AtomicUsize::new(0), priority: AtomicU8::new(0), membership: pi::Membership::new() }
    }

    /// Takes note of the thread's own priority. Called under the lock that it is kept by.
    pub(crate) fn publish_priority(&self, priority: u8) {
        self.priority.store(priority, Relaxed);
    }
}

/// To be called by a thread that ends, before it leaves its process and before its number is free: lets go of the locks it
/// holds, so that others learn of its death.
pub(crate) fn thread_exits(thread: &Thread) {
    release_all(thread, true);
}

/// To be called by a thread that is about to leave its address space, for another program: as far as locks go it dies, but it
/// may take new ones afterwards.
pub(crate) fn thread_leaves(thread: &Thread) {
    release_all(thread, false);
}

fn release_all(thread: &Thread, is_end: bool) {
    if is_end && thread.futex.robust_list.load(Relaxed) == 0 && pi::end_without_locks(thread) {
        return;
    }
    let leaving = pi::begin_leaving(thread);
    robust::release_all(thread);
    pi::bequeath_all(thread);
    pi::end_leaving(thread, leaving, is_end);
}

/// Takes one of the threads that wait for a word by a call that is not private to the process, as the kernel does for the
/// word it clears when a thread ends. The thread wakes when the answer is dropped.
pub(crate) fn take_waiter(process: &Process, address: usize) -> Taken {
    // The program may have unmapped the word; that is its own affair.
    Taken { _waiter: wake::take_one(process, Sharing::Shared, address).unwrap_or_default() }
}
