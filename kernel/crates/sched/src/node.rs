//! [`Node`]: what the scheduler keeps of a thread; [`Nodes`]: where they are found.
//!
//! # 1. Why atomics
//!
//! A thread changes its CPU, and each CPU has a lock of its own. So that queues need no memory of their own (a thread must never
//! fail to become runnable), the links of heap, lists and inbox are in the nodes, as indices. A node belongs to the CPU that
//! it names; the lock of that CPU's [`RunQueue`](crate::RunQueue) protects it, and all accesses under it are relaxed: they
//! cost what plain ones cost. Atomics make sharing the table of nodes safe without `unsafe`: if the rule is broken
//! a queue may become wrong, memory may not.
//!
//! # 2. Whose a node is
//!
//! [`Place::Queued`] and [`Place::Running`]: the queue of [`Node::cpu`]. [`Place::Off`]: whoever blocks, wakes or moves the
//! thread; the machine makes sure there is one. [`Node::policy`], [`Node::affinity`], [`Node::cpu`] and
//! [`Node::runtime_ns`] may be read by anyone, and may be old by then.
//!
//! # 3. Changes from outside
//!
//! Policy and affinity may be changed by anyone at any time, also while the thread goes from one CPU to another and no lock is its own.
//! Who changes one stores it, fences, and then looks for the queue of the thread, to make it follow. A queue that a thread comes to
//! says so in the node (CPU, then place), fences, and then reads policy and affinity. So either the queue reads what is new, or
//! who changed it finds the queue; it waits for the lock then, and makes it follow. What a queue has counted a thread by is a field of its own.

use sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::policy::{Policy, Weight};
use crate::run_queue::ROUND_ROBIN_NS;

/// The most CPUs, as an affinity is one word.
pub const CPUS_MAX: usize = 64;

/// The index of a thread's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadId(pub u32);

/// The table of nodes. A node stays where it is while its thread is known to a queue or an inbox.
pub trait Nodes {
    /// The node of a thread. The id came from the owner of the table, so it is there.
    fn node(&self, id: ThreadId) -> &Node;
}

impl Nodes for [Node] {
    fn node(&self, id: ThreadId) -> &Node {
        &self[id.0 as usize]
    }
}

/// A set of CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuSet(pub u64);

impl CpuSet {
    /// Every CPU there may be.
    pub const ALL: Self = Self(u64::MAX);

    /// The set of one CPU.
    #[must_use]
    pub const fn of(cpu: usize) -> Self {
        Self(if cpu < CPUS_MAX { 1 << cpu } else { 0 })
    }

    /// True if `cpu` is in the set.
    #[must_use]
    pub const fn contains(self, cpu: usize) -> bool {
        self.0 & Self::of(cpu).0 != 0
    }
}

/// Where a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In no queue: it is new, blocked, on its way between CPUs, or gone.
    Off,
    /// Waits for its turn on its CPU.
    Queued,
    /// Is what its CPU runs.
    Running,
}

/// The end of a list or a branch.
pub(crate) const NONE: u32 = u32::MAX;

/// A 32-bit field under the lock of its owner.
#[derive(Debug)]
pub(crate) struct Field32(AtomicU32);

/// A 64-bit field under the lock of its owner.
#[derive(Debug)]
pub(crate) struct Field64(AtomicU64);

impl Field32 {
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl Field64 {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// The scheduler's part of a thread.
#[derive(Debug)]
pub struct Node {
    /// Inflated runtime, relative to `base`; see [`crate::decay`].
    pub(crate) key: Field64,
    /// The epoch to which `key` and `lag` refer. In a queue it is the queue's, and this field is not kept up.
    pub(crate) base: Field64,
    /// Off: `key` less the floor of the queue it left, as an `i64`.
    pub(crate) lag: Field64,
    /// Off: since when.
    pub(crate) off_since_ns: Field64,
    /// What is left of the turn of a round-robin thread.
    pub(crate) quantum_ns: Field64,
    /// All time it ever ran.
    runtime_ns: Field64,
    affinity: Field64,
    /// As asked for.
    policy: Field32,
    /// By which its queue counts it.
    in_force: Field32,
    /// Of the policy in force: the words of its weight, and its priority, 0 for a fair one.
    weight: [Field32; 2],
    priority: Field32,
    cpu: Field32,
    place: Field32,
    /// Heap: the parent.
    pub(crate) parent: Field32,
    /// Heap: the left child. List: the thread before.
    pub(crate) left: Field32,
    /// Heap: the right child. List: the thread after.
    pub(crate) right: Field32,
    /// Heap: one more than the nodes on the way to the nearest missing child, right at every step.
    pub(crate) rank: Field32,
    /// The next in an inbox. Not under a lock: it belongs to whoever pushes the node, then to whoever takes it.
    pub(crate) inbox_next: AtomicU32,
}

impl Node {
    /// The node of a thread that has not run.
    #[must_use]
    pub fn new(policy: Policy, affinity: CpuSet) -> Self {
        let zero = || Field64(AtomicU64::new(0));
        let none = || Field32(AtomicU32::new(NONE));
        let node = Self {
            key: zero(),
            base: zero(),
            lag: zero(),
            off_since_ns: zero(),
            quantum_ns: Field64(AtomicU64::new(ROUND_ROBIN_NS)),
            runtime_ns: zero(),
            affinity: Field64(AtomicU64::new(affinity.0)),
            policy: none(),
            in_force: none(),
            weight: [none(), none()],
            priority: none(),
            cpu: Field32(AtomicU32::new(0)),
            place: none(),
            parent: none(),
            left: none(),
            right: none(),
            rank: Field32(AtomicU32::new(0)),
            inbox_next: AtomicU32::new(NONE),
        };
        node.set_policy(policy);
        node.follow_policy();
        node.set_place(Place::Off);
        node
    }

    /// Makes this the node of another thread, one that has not run. The node is in no queue and no inbox.
    pub fn renew(&self, policy: Policy, affinity: CpuSet) {
        for field in [&self.key, &self.base, &self.lag, &self.off_since_ns, &self.runtime_ns] {
            field.set(0);
        }
        self.quantum_ns.set(ROUND_ROBIN_NS);
        self.set_affinity(affinity);
        self.set_policy(policy);
        self.follow_policy();
        self.set_place(Place::Off);
    }

    /// The policy of the thread, as asked for last.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy::from_bits(self.policy.get())
    }

    /// The CPUs on which the thread may run.
    #[must_use]
    pub fn affinity(&self) -> CpuSet {
        CpuSet(self.affinity.get())
    }

    /// The CPU on which the thread runs or waits, or was last.
    #[must_use]
    pub fn cpu(&self) -> usize {
        self.cpu.get() as usize
    }

    /// Where the thread is.
    #[must_use]
    pub fn place(&self) -> Place {
        match self.place.0.load(Ordering::Acquire) {
            1 => Place::Queued,
            2 => Place::Running,
            _ => Place::Off,
        }
    }

    /// How long the thread has run, up to its last turn; [`RunQueue::runtime_ns`](crate::RunQueue::runtime_ns) knows the present one.
    #[must_use]
    pub fn runtime_ns(&self) -> u64 {
        self.runtime_ns.get()
    }

    /// Says where the thread may run. Whoever then finds it in the queue of a CPU that is not among these
    /// ([`RunQueue::place`](crate::RunQueue::place)) takes it off ([`RunQueue::remove`](crate::RunQueue::remove), or
    /// [`Leave::Moves`](crate::Leave::Moves)).
    pub fn set_affinity(&self, affinity: CpuSet) {
        self.affinity.set(affinity.0);
        fence(Ordering::SeqCst);
    }

    /// Says how the thread is scheduled. The caller then makes its queue follow
    /// ([`RunQueue::follow_policy`](crate::RunQueue::follow_policy)).
    pub fn set_policy(&self, policy: Policy) {
        self.policy.set(policy.to_bits());
        fence(Ordering::SeqCst);
    }

    /// The policy by which the queue counts the thread.
    pub(crate) fn in_force(&self) -> Policy {
        Policy::from_bits(self.in_force.get())
    }

    /// Whether the thread is an ordinary one of nice 0, and nothing else is asked for.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.policy.get() | self.in_force.get() == Policy::PLAIN_BITS
    }

    /// Makes what is asked for what the thread is counted by, and answers it.
    pub(crate) fn follow_policy(&self) -> Policy {
        let policy = self.policy();
        self.in_force.set(policy.to_bits());
        for (field, word) in self.weight.iter().zip(policy.weight().to_words()) {
            field.set(word);
        }
        self.priority.set(policy.priority().map_or(0, u32::from));
        policy
    }

    /// Enters the thread in the queue of a CPU: see section 3.
    pub(crate) fn arrive(&self, cpu: u32) {
        self.cpu.set(cpu);
        self.set_place(Place::Queued);
        fence(Ordering::SeqCst);
        if self.policy.get() != self.in_force.get() {
            self.follow_policy();
        }
    }

    /// The weight of the policy in force.
    pub(crate) fn weight(&self) -> Weight {
        Weight::from_words([self.weight[0].get(), self.weight[1].get()])
    }

    /// The priority of the policy in force, if it is a real-time one.
    pub(crate) fn priority(&self) -> Option<u8> {
        let [priority, ..] = self.priority.get().to_le_bytes();
        (priority != 0).then_some(priority)
    }

    pub(crate) fn set_place(&self, place: Place) {
        let number = match place {
            Place::Off => 0,
            Place::Queued => 1,
            Place::Running => 2,
        };
        // Who sees the place sees the CPU.
        self.place.0.store(number, Ordering::Release);
    }

    pub(crate) fn add_runtime(&self, ran_ns: u64) {
        self.runtime_ns.set(self.runtime_ns.get().saturating_add(ran_ns));
    }
}

/// Run with `RUSTFLAGS="--cfg loom" cargo test -p sched --release`.
#[cfg(all(test, loom))]
mod model {
    use std::sync::Arc;

    use loom::sync::Mutex;
    use loom::thread;

    use super::*;

    /// A thread comes to the queue of CPU 1, behind a lock, while somebody changes something and then makes the queue follow.
    fn explore(
        change: impl Fn(&Node) + Copy + Send + Sync + 'static,
        entered: impl Fn(&Node) + Copy + Send + Sync + 'static,
        follow: impl Fn(&Node) + Copy + Send + Sync + 'static,
        is_right: impl Fn(&Node) -> bool + Copy + Send + Sync + 'static,
    ) {
        loom::model(move || {
            let shared = Arc::new((Node::new(Policy::Other { nice: 0 }, CpuSet::ALL), Mutex::new(())));
            let coming = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let _guard = shared.1.lock().unwrap();
                    shared.0.arrive(1);
                    entered(&shared.0);
                })
            };
            let (node, queue) = &*shared;
            change(node);
            if node.cpu() == 1 {
                let _guard = queue.lock().unwrap();
                if node.place() == Place::Queued {
                    follow(node);
                }
            }
            coming.join().unwrap();
            assert!(is_right(node));
        });
    }

    #[test]
    fn a_policy_is_followed_by_the_queue_or_by_who_changes_it() {
        let change = |node: &Node| node.set_policy(Policy::Idle);
        let follow = |node: &Node| drop(node.follow_policy());
        explore(change, |_| (), follow, |node| node.in_force() == Policy::Idle);
    }

    #[test]
    fn nobody_stays_where_it_may_not_be() {
        let change = |node: &Node| node.set_affinity(CpuSet::of(0));
        let leave = |node: &Node| {
            if !node.affinity().contains(1) {
                node.set_place(Place::Off);
            }
        };
        explore(change, leave, leave, |node| node.place() == Place::Off);
    }
}
