//! [`Realtime`]: the real-time threads that wait for one CPU: a list to each priority, with the links in their nodes, and a
//! bitmap of the lists that are not empty. Every operation is O(1). See sched(7) for who goes to which end.

use crate::heap::some;
use crate::node::{NONE, Nodes, ThreadId};
use crate::policy::PRIORITY_MAX;

const LISTS: usize = PRIORITY_MAX as usize + 1;

/// Which end of its list a thread goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was preempted, and goes on when its priority has its turn.
    First,
    /// It has come, yielded or used its turn.
    Last,
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

/// The waiting real-time threads.
#[derive(Debug)]
pub(crate) struct Realtime {
    /// Bit `p` is set while the list of priority `p` is not empty.
    occupied: u128,
    lists: [List; LISTS],
}

impl Realtime {
    pub(crate) const fn new() -> Self {
        Self { occupied: 0, lists: [List { first: NONE, last: NONE }; LISTS] }
    }

    /// True if no real-time thread waits.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// The first thread of the highest priority.
    pub(crate) fn first(&self) -> Option<ThreadId> {
        let priority = self.occupied.checked_ilog2()?;
        some(self.lists[priority as usize].first)
    }

    /// True if a thread of this priority waits.
    pub(crate) fn has(&self, priority: u8) -> bool {
        self.occupied & (1 << priority) != 0
    }

    pub(crate) fn insert<N: Nodes + ?Sized>(&mut self, nodes: &N, id: ThreadId, priority: u8, end: End) {
        let list = &mut self.lists[usize::from(priority)];
        let (before, after) = match end {
            End::First => (NONE, list.first),
            End::Last => (list.last, NONE),
        };
        nodes.node(id).left.set(before);
        nodes.node(id).right.set(after);
        link(nodes, list, before, id.0);
        link(nodes, list, id.0, after);
        self.occupied |= 1 << priority;
    }

    /// Removes a thread that is in the list of this priority.
    pub(crate) fn remove<N: Nodes + ?Sized>(&mut self, nodes: &N, id: ThreadId, priority: u8) {
        let list = &mut self.lists[usize::from(priority)];
        link(nodes, list, nodes.node(id).left.get(), nodes.node(id).right.get());
        if list.first == NONE {
            self.occupied &= !(1 << priority);
        }
    }

    /// All threads, the most urgent first.
    pub(crate) fn iter<'a, N: Nodes + ?Sized>(&'a self, nodes: &'a N) -> impl Iterator<Item = ThreadId> + use<'a, N> {
        let occupied = self.lists.iter().rev().filter_map(|list| some(list.first));
        occupied.flat_map(move |first| core::iter::successors(Some(first), move |id| some(nodes.node(*id).right.get())))
    }
}

/// Makes two threads neighbours; a missing one stands for the end of the list.
fn link<N: Nodes + ?Sized>(nodes: &N, list: &mut List, before: u32, after: u32) {
    match some(before) {
        Some(before) => nodes.node(before).right.set(after),
        None => list.first = after,
    }
    match some(after) {
        Some(after) => nodes.node(after).left.set(before),
        None => list.last = before,
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{CpuSet, Node};
    use crate::policy::Policy;

    #[test]
    fn priorities_go_first_and_ends_are_kept() {
        let nodes: Vec<Node> = (0..6).map(|_| Node::new(Policy::Idle, CpuSet::ALL)).collect();
        let nodes = nodes.as_slice();
        let mut queue = Realtime::new();
        for (id, priority, end) in
            [(0, 1, End::Last), (1, 99, End::Last), (2, 50, End::Last), (3, 50, End::Last), (4, 50, End::First)]
        {
            queue.insert(nodes, ThreadId(id), priority, end);
        }
        let order: Vec<u32> = queue.iter(nodes).map(|id| id.0).collect();
        assert_eq!(order, [1, 4, 2, 3, 0]);
        queue.remove(nodes, ThreadId(2), 50);
        queue.remove(nodes, ThreadId(1), 99);
        assert!(!queue.has(99) && queue.has(50));
        assert_eq!(queue.first(), Some(ThreadId(4)));
        for (id, priority) in [(4, 50), (3, 50), (0, 1)] {
            assert_eq!(queue.first(), Some(ThreadId(id)));
            queue.remove(nodes, ThreadId(id), priority);
        }
        assert_eq!(queue.first(), None);
    }
}
