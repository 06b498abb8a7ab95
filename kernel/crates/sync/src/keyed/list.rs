//! The list of one bucket, and the chain of those that are to be woken: both run through the waiters.

use alloc::sync::Arc;
use core::ptr;

use super::{Entry, FREE, Key, Of, TAKEN, Waiter};
use crate::atomic::{AtomicU32, Ordering};

/// What becomes of a waiter that a walk visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<K> {
    /// It stays.
    Stay,
    /// It stays, and the walk ends.
    Stop,
    /// It is woken.
    Wake,
    /// It is woken, and the walk ends.
    WakeAndStop,
    /// It waits for this key from now on.
    Move(K),
}

/// The part of a waiter that lists are made of.
pub(super) struct Node<K, R> {
    previous: *const Waiter<K, R>,
    next: *const Waiter<K, R>,
    entry: Option<Entry<K, R>>,
}

impl<K: Copy, R: Copy> Node<K, R> {
    pub(super) fn unlinked() -> Self {
        Self { previous: ptr::null(), next: ptr::null(), entry: None }
    }

    pub(super) fn set_entry(&mut self, entry: Entry<K, R>) {
        self.entry = Some(entry);
    }

    pub(super) fn entry(&self) -> Option<Entry<K, R>> {
        self.entry
    }

    pub(super) fn entry_mut(&mut self) -> Option<&mut Entry<K, R>> {
        self.entry.as_mut()
    }

    fn priority(&self) -> u8 {
        self.entry.as_ref().map_or(0, |entry| entry.priority)
    }
}

/// Where [`Step::Move`] moves to.
pub(super) struct Target<'a, K, R> {
    /// None: the list it comes from, in which it keeps its place.
    pub list: Option<&'a mut List<K, R>>,
    pub count: &'a AtomicU32,
    pub place: usize,
}

/// The waiters of a bucket. The list owns one strong count of each.
pub(super) struct List<K, R> {
    head: *const Waiter<K, R>,
    tail: *const Waiter<K, R>,
    of: Of<K, R>,
}

// SAFETY: the pointers are to waiters that are Send and Sync and are kept alive by the counts the list owns.
unsafe impl<K: Send, R: Send> Send for List<K, R> {}

impl<K, R> List<K, R> {
    pub(super) const fn new() -> Self {
        Self { head: ptr::null(), tail: ptr::null(), of: core::marker::PhantomData }
    }
}

/// Access to the node of a linked or chained waiter.
///
/// # Safety
/// The caller holds the lock of the list it is linked in, or owns the chain it is in, and has no other access to the node.
unsafe fn node<K, R, T>(waiter: *const Waiter<K, R>, access: impl FnOnce(&mut Node<K, R>) -> T) -> T {
    // SAFETY: linked waiters are alive, as the list owns a count of each; exclusive access as the caller states.
    unsafe { (*waiter).node.with_mut(|node| access(&mut *node)) }
}

impl<K: Key, R: Copy> List<K, R> {
    /// Links a waiter behind the last one of at least its priority.
    pub(super) fn insert(&mut self, waiter: Arc<Waiter<K, R>>) {
        let waiter = Arc::into_raw(waiter);
        // SAFETY: the caller holds the lock; the waiter is the caller's until it is linked.
        let priority = unsafe { node(waiter, |node| node.priority()) };
        let mut before = self.tail;
        // SAFETY: linked waiters of this list, under its lock.
        while !before.is_null() && unsafe { node(before, |node| node.priority()) } < priority {
            // SAFETY: as above.
            before = unsafe { node(before, |node| node.previous) };
        }
        self.link_behind(before, waiter);
    }

    /// Links an owned waiter behind another one; null: at the head.
    fn link_behind(&mut self, before: *const Waiter<K, R>, waiter: *const Waiter<K, R>) {
        let after = if before.is_null() {
            core::mem::replace(&mut self.head, waiter)
        } else {
            // SAFETY: a linked waiter of this list, under its lock.
            unsafe { node(before, |node| core::mem::replace(&mut node.next, waiter)) }
        };
        // SAFETY: the waiter is owned and under no other lock.
        unsafe {
            node(waiter, |node| {
                node.previous = before;
                node.next = after;
            });
        }
        if after.is_null() {
            self.tail = waiter;
        } else {
            // SAFETY: a linked waiter of this list, under its lock.
            unsafe { node(after, |node| node.previous = waiter) };
        }
    }

    /// Unlinks a waiter. Its count is the caller's now.
    fn unlink(&mut self, waiter: *const Waiter<K, R>) {
        // SAFETY: a linked waiter of this list, under its lock.
        let (previous, next) = unsafe { node(waiter, |node| (node.previous, node.next)) };
        if previous.is_null() {
            self.head = next;
        } else {
            // SAFETY: as above.
            unsafe { node(previous, |node| node.next = next) };
        }
        if next.is_null() {
            self.tail = previous;
        } else {
            // SAFETY: as above.
            unsafe { node(next, |node| node.previous = previous) };
        }
    }

    /// Unlinks a waiter that is linked here.
    pub(super) fn remove(&mut self, waiter: &Waiter<K, R>) -> Arc<Waiter<K, R>> {
        let waiter = ptr::from_ref(waiter);
        self.unlink(waiter);
        // SAFETY: the pointer came from `Arc::into_raw` when it was linked, and its count is ours now.
        unsafe { Arc::from_raw(waiter) }
    }

    /// The entry of a waiter that is linked here.
    pub(super) fn entry_of(&mut self, waiter: &Waiter<K, R>) -> Option<&mut Entry<K, R>> {
        // SAFETY: a linked waiter of this list, under its lock, which is held as long as the list is borrowed.
        waiter.node.with_mut(|node| unsafe { (*node).entry_mut() })
    }

    /// The entry of the first waiter for `key`.
    pub(super) fn first(&self, key: &K) -> Option<Entry<K, R>> {
        let mut at = self.head;
        while !at.is_null() {
            // SAFETY: a linked waiter of this list, under its lock.
            let (entry, next) = unsafe { node(at, |node| (node.entry, node.next)) };
            if let Some(entry) = entry
                && entry.key == *key
            {
                return Some(entry);
            }
            at = next;
        }
        None
    }

    /// Visits the waiters for `key`. `count` is that of this list.
    #[inline]
    pub(super) fn walk(
        &mut self,
        key: &K,
        woken: &mut Woken<K, R>,
        count: &AtomicU32,
        mut target: Option<Target<'_, K, R>>,
        mut visit: impl FnMut(&mut Entry<K, R>) -> Step<K>,
    ) {
        let mut gone = 0;
        let mut at = self.head;
        while !at.is_null() {
            // SAFETY: a linked waiter of this list, under its lock.
            let (next, step) = unsafe {
                node(at, |node| {
                    let step = match &mut node.entry {
                        Some(entry) if entry.key == *key => visit(entry),
                        _ => Step::Stay,
                    };
                    (node.next, step)
                })
            };
            match step {
                Step::Stay => {}
                Step::Stop => break,
                Step::Wake | Step::WakeAndStop => {
                    self.unlink(at);
                    gone += 1;
                    woken.push(at);
                    if step == Step::WakeAndStop {
                        break;
                    }
                }
                Step::Move(key) => {
                    if let Some(target) = &mut target {
                        gone += self.move_to(at, key, target);
                    }
                }
            }
            at = next;
        }
        if gone > 0 {
            count.fetch_sub(gone, Ordering::Relaxed);
        }
    }

    /// Gives a waiter another key, and the place that goes with it. Answers how many have left this list.
    fn move_to(&mut self, waiter: *const Waiter<K, R>, key: K, target: &mut Target<'_, K, R>) -> u32 {
        // SAFETY: a linked waiter of this list, under its lock.
        unsafe {
            node(waiter, |node| {
                if let Some(entry) = &mut node.entry {
                    entry.key = key;
                }
            });
        }
        let Some(list) = &mut target.list else { return 0 };
        self.unlink(waiter);
        target.count.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the count is ours since it was unlinked; both lists are locked.
        let owned = unsafe { Arc::from_raw(waiter) };
        // Under both locks: who reads the old place and locks the old bucket looks again.
        owned.place.store(target.place, Ordering::Relaxed);
        list.insert(owned);
        1
    }
}

/// Waiters that were taken out of their queues and are woken when this is dropped, in the order in which they were taken.
#[must_use = "dropped, it wakes; that must be after the locks"]
pub struct Woken<K, R> {
    head: *const Waiter<K, R>,
    tail: *const Waiter<K, R>,
    of: Of<K, R>,
}

impl<K, R> Woken<K, R> {
    /// Nobody.
    pub const fn new() -> Self {
        Self { head: ptr::null(), tail: ptr::null(), of: core::marker::PhantomData }
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// Takes a waiter that was unlinked just now, with its count. Under the lock it was linked under.
    fn push(&mut self, waiter: *const Waiter<K, R>) {
        // SAFETY: the caller gives up the waiter, which is alive by its count.
        unsafe {
            node(waiter, |node| node.next = ptr::null());
            (*waiter).place.store(TAKEN, Ordering::Relaxed);
        }
        if self.tail.is_null() {
            self.head = waiter;
        } else {
            // SAFETY: the chain owns its waiters.
            unsafe { node(self.tail, |node| node.next = waiter) };
        }
        self.tail = waiter;
    }
}

impl<K, R> Default for Woken<K, R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, R> Drop for Woken<K, R> {
    #[inline]
    fn drop(&mut self) {
        let mut at = self.head;
        while !at.is_null() {
            // SAFETY: the chain owns its waiters until their places are free.
            let (waiter, next) = unsafe {
                let next = node(at, |node| node.next);
                (Arc::from_raw(at), next)
            };
            // Release: the thread, and its next wake, come after all that was done to the node.
            waiter.place.store(FREE, Ordering::Release);
            waiter.parker.release();
            at = next;
        }
    }
}
