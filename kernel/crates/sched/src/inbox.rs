//! [`Inbox`]: how other CPUs hand threads to a CPU without its lock.
//!
//! # 1. The list
//!
//! A stack linked through the nodes (R. K. Treiber, "Coping with Parallelism", IBM RJ 5118, 1986): a producer puts its node
//! on top by compare-exchange, the owner takes everything by one exchange and turns it round. As nothing is ever popped singly,
//! a top that comes back cannot mislead a producer (the ABA problem): it links to whatever is on top at that moment. It needs
//! no memory and cannot be full, which a ring could be: a thread is in one inbox at most, since only who changes it
//! from blocked to woken pushes it.
//!
//! # 2. The owner's sleep
//!
//! The owner says that it is about to halt and then looks once more; a producer pushes and then looks whether the owner halts.
//! Each has a fence between its store and its load, so at least one sees the other: no thread is left in the inbox of a CPU
//! that halts without an interrupt on its way. A producer that sees a halting owner clears the flag, so that one of many
//! sends the interrupt.

use sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

use crate::heap::some;
use crate::node::{NONE, Nodes, ThreadId};

/// The inbox of one CPU.
#[derive(Debug)]
pub struct Inbox {
    top: AtomicU32,
    is_halting: AtomicBool,
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Inbox {
    /// An empty inbox of a CPU that runs.
    #[must_use]
    pub fn new() -> Self {
        Self { top: AtomicU32::new(NONE), is_halting: AtomicBool::new(false) }
    }

    /// Hands over a thread that is in no queue and no inbox. True: the owner halts, send it an interrupt.
    pub fn push<N: Nodes + ?Sized>(&self, nodes: &N, id: ThreadId) -> bool {
        let next = &nodes.node(id).inbox_next;
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            next.store(top, Ordering::Relaxed);
            match self.top.compare_exchange_weak(top, id.0, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => top = now,
            }
        }
        fence(Ordering::SeqCst);
        self.is_halting.load(Ordering::Relaxed) && self.is_halting.swap(false, Ordering::Relaxed)
    }

    /// True if nothing was handed over; cheap, for an idle CPU that polls.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.top.load(Ordering::Relaxed) == NONE
    }

    /// Takes all that was handed over, oldest first. Only the owner calls this.
    pub fn take<'a, N: Nodes + ?Sized>(&self, nodes: &'a N) -> impl Iterator<Item = ThreadId> + use<'a, N> {
        let mut newest = NONE;
        if !self.is_empty() {
            newest = self.top.swap(NONE, Ordering::Acquire);
        }
        let mut oldest = NONE;
        while let Some(id) = some(newest) {
            let next = &nodes.node(id).inbox_next;
            newest = next.load(Ordering::Relaxed);
            next.store(oldest, Ordering::Relaxed);
            oldest = id.0;
        }
        // The link is read before the thread is given out: from then on its node may enter another inbox.
        let mut following = oldest;
        core::iter::from_fn(move || {
            let id = some(following)?;
            following = nodes.node(id).inbox_next.load(Ordering::Relaxed);
            Some(id)
        })
    }

    /// Says that the owner is about to halt. True: it may, with interrupts off until the instruction that halts. Only the
    /// owner calls this.
    #[must_use]
    pub fn prepare_halt(&self) -> bool {
        self.is_halting.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let may_halt = self.is_empty();
        if !may_halt {
            self.is_halting.store(false, Ordering::Relaxed);
        }
        may_halt
    }

    /// Says that the owner runs again.
    pub fn finish_halt(&self) {
        self.is_halting.store(false, Ordering::Relaxed);
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::node::{CpuSet, Node};
    use crate::policy::Policy;

    fn nodes(count: usize) -> Vec<Node> {
        (0..count).map(|_| Node::new(Policy::Idle, CpuSet::ALL)).collect()
    }

    #[test]
    fn threads_come_in_the_order_of_their_push() {
        let (nodes, inbox) = (nodes(3), Inbox::new());
        let nodes = nodes.as_slice();
        assert!(inbox.take(nodes).next().is_none());
        for id in [2, 0, 1] {
            assert!(!inbox.push(nodes, ThreadId(id)));
        }
        assert!(!inbox.is_empty() && !inbox.prepare_halt());
        assert_eq!(inbox.take(nodes).map(|id| id.0).collect::<Vec<_>>(), [2, 0, 1]);
    }

    #[test]
    fn one_producer_wakes_a_halting_owner() {
        let (nodes, inbox) = (nodes(2), Inbox::new());
        assert!(inbox.prepare_halt());
        assert!(inbox.push(nodes.as_slice(), ThreadId(0)));
        assert!(!inbox.push(nodes.as_slice(), ThreadId(1)));
        inbox.finish_halt();
    }

    #[test]
    fn every_thread_arrives_once_from_many_cpus() {
        const PRODUCERS: u32 = 4;
        const EACH: u32 = 2_000;
        let (nodes, inbox) = (nodes((PRODUCERS * EACH) as usize), Inbox::new());
        let (nodes, inbox) = (nodes.as_slice(), &inbox);
        let mut last = [None; PRODUCERS as usize];
        let mut count = 0;
        thread::scope(|scope| {
            for producer in 0..PRODUCERS {
                scope.spawn(move || {
                    for index in 0..EACH {
                        inbox.push(nodes, ThreadId(producer * EACH + index));
                    }
                });
            }
            while count < PRODUCERS * EACH {
                for id in inbox.take(nodes) {
                    let before = last[(id.0 / EACH) as usize].replace(id);
                    assert!(before < Some(id), "{before:?} before {id:?}");
                    count += 1;
                }
                thread::yield_now();
            }
        });
        assert!(inbox.is_empty());
    }
}

/// Run with `RUSTFLAGS="--cfg loom" cargo test -p sched --release`.
#[cfg(all(test, loom))]
mod model {
    use std::sync::Arc;

    use loom::thread;

    use super::*;
    use crate::node::{CpuSet, Node};
    use crate::policy::Policy;

    #[test]
    fn nothing_is_left_with_an_owner_that_halts() {
        loom::model(|| {
            let nodes: Vec<Node> = (0..2).map(|_| Node::new(Policy::Idle, CpuSet::ALL)).collect();
            let shared = Arc::new((nodes, Inbox::new()));
            let pushing: Vec<_> = (0..2)
                .map(|id| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || shared.1.push(shared.0.as_slice(), ThreadId(id)))
                })
                .collect();
            let mut taken = shared.1.take(shared.0.as_slice()).count();
            let halts = shared.1.prepare_halt();
            let interrupts = pushing.into_iter().map(|thread| thread.join().unwrap()).filter(|sent| *sent).count();
            assert!(interrupts <= 1);
            let rest = shared.1.take(shared.0.as_slice()).count();
            // What came after the last look was announced by an interrupt.
            assert!(!halts || rest == 0 || interrupts == 1);
            taken += rest;
            assert_eq!(taken, 2);
        });
    }
}
