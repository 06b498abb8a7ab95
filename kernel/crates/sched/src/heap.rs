//! [`Heap`]: the fair threads that wait for one CPU, least key first, with the links in their nodes.
//!
//! A leftist heap (C. A. Crane, 1972; D. Knuth, TAOCP volume 3, 5.2.3): a binary tree in which no key is below its parent's, and
//! where the way to the nearest missing child always goes right, so that it has at most `log2(n + 1)` steps. Everything is
//! a merge along these ways: inserting, taking the first and removing from the middle are O(log n) in the worst case, not
//! amortised, which a lock with interrupts off needs. Nothing here recurses.
//!
//! Equal keys have no order of their own. The heap does not depend on it: who runs gets a greater key.

use crate::node::{NONE, Node, Nodes, ThreadId};

/// The waiting threads by key.
#[derive(Debug)]
pub(crate) struct Heap {
    root: u32,
}

impl Heap {
    pub(crate) const fn new() -> Self {
        Self { root: NONE }
    }

    /// The thread with the least key.
    pub(crate) fn first(&self) -> Option<ThreadId> {
        some(self.root)
    }

    /// Enters a thread and its node.
    #[inline]
    pub(crate) fn insert<N: Nodes + ?Sized>(&mut self, nodes: &N, id: ThreadId, node: &Node) {
        node.parent.set(NONE);
        node.left.set(NONE);
        node.right.set(NONE);
        node.rank.set(1);
        self.root = if self.root == NONE { id.0 } else { merge(nodes, self.root, id.0) };
    }

    /// Removes a thread that is in the heap.
    #[inline(always)]
    pub(crate) fn remove<N: Nodes + ?Sized>(&mut self, nodes: &N, id: ThreadId, node: &Node) {
        let is_alone = self.root == id.0 && node.left.get() == NONE;
        if is_alone {
            self.root = NONE;
        } else {
            self.remove_from_others(nodes, id, node);
        }
    }

    #[inline(never)]
    fn remove_from_others<N: Nodes + ?Sized>(&mut self, nodes: &N, id: ThreadId, node: &Node) {
        let parent = node.parent.get();
        // Who has a right child has a left one.
        let (left, right) = (node.left.get(), node.right.get());
        let rest = if right == NONE { left } else { merge(nodes, left, right) };
        if let Some(rest) = some(rest) {
            nodes.node(rest).parent.set(parent);
        }
        let Some(parent) = some(parent) else {
            debug_assert_eq!(self.root, id.0, "a thread of another heap");
            self.root = rest;
            return;
        };
        let above = nodes.node(parent);
        if above.left.get() == id.0 {
            above.left.set(rest);
        } else {
            above.right.set(rest);
        }
        // The ranks on the way up rise by one at each step that changes one, so there are at most log n such steps.
        let mut at = Some(parent);
        while let Some(id) = at.filter(|id| lean_left(nodes, *id)) {
            at = some(nodes.node(id).parent.get());
        }
    }

    /// All threads, parents first.
    pub(crate) fn iter<'a, N: Nodes + ?Sized>(&self, nodes: &'a N) -> impl Iterator<Item = ThreadId> + use<'a, N> {
        core::iter::successors(some(self.root), move |id| following(nodes, *id))
    }
}

pub(crate) fn some(index: u32) -> Option<ThreadId> {
    (index != NONE).then_some(ThreadId(index))
}

/// Merges two heaps, either of which may be empty, and returns the root.
fn merge<N: Nodes + ?Sized>(nodes: &N, mut a: u32, mut b: u32) -> u32 {
    let mut root = NONE;
    let mut last = NONE;
    // Down: a chain of the right children of both, by key. At equal keys the older heap stays above.
    loop {
        if a != NONE && b != NONE && nodes.node(ThreadId(b)).key.get() < nodes.node(ThreadId(a)).key.get() {
            core::mem::swap(&mut a, &mut b);
        }
        let next = if a == NONE { b } else { a };
        match some(last) {
            None => root = next,
            Some(last) => nodes.node(last).right.set(next),
        }
        if let Some(next) = some(next) {
            nodes.node(next).parent.set(last);
        }
        if a == NONE || b == NONE {
            break;
        }
        last = a;
        a = nodes.node(ThreadId(a)).right.get();
    }
    // Up: the ranks again.
    while let Some(id) = some(last) {
        lean_left(nodes, id);
        last = nodes.node(id).parent.get();
    }
    root
}

/// Puts the child of the lesser rank right and sets the rank of the node. True if that has changed.
fn lean_left<N: Nodes + ?Sized>(nodes: &N, id: ThreadId) -> bool {
    let node = nodes.node(id);
    let (left, right) = (node.left.get(), node.right.get());
    if rank(nodes, left) < rank(nodes, right) {
        node.left.set(right);
        node.right.set(left);
    }
    let new = rank(nodes, node.right.get()) + 1;
    let is_changed = node.rank.get() != new;
    node.rank.set(new);
    is_changed
}

fn rank<N: Nodes + ?Sized>(nodes: &N, index: u32) -> u32 {
    some(index).map_or(0, |id| nodes.node(id).rank.get())
}

/// The node after `id` in the order of [`Heap::iter`].
fn following<N: Nodes + ?Sized>(nodes: &N, id: ThreadId) -> Option<ThreadId> {
    // In a leftist heap who has a right child has a left one.
    if let Some(left) = some(nodes.node(id).left.get()) {
        return Some(left);
    }
    let mut at = id;
    while let Some(parent) = some(nodes.node(at).parent.get()) {
        let right = nodes.node(parent).right.get();
        if right != NONE && right != at.0 {
            return some(right);
        }
        at = parent;
    }
    None
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use testkit::Random;

    use super::*;
    use crate::node::CpuSet;
    use crate::policy::Policy;

    fn assert_is_leftist(nodes: &[Node], heap: &Heap) {
        for id in heap.iter(nodes) {
            let node = nodes.node(id);
            assert!(rank(nodes, node.left.get()) >= rank(nodes, node.right.get()));
            assert_eq!(node.rank.get(), rank(nodes, node.right.get()) + 1);
            for child in [node.left.get(), node.right.get()].into_iter().filter_map(some) {
                assert_eq!(nodes.node(child).parent.get(), id.0);
                assert!(nodes.node(child).key.get() >= node.key.get());
            }
        }
    }

    #[test]
    fn random_operations_agree_with_a_sorted_set() {
        const SEED: u64 = 0x1ef7;
        let mut random = Random::new(SEED);
        let nodes: Vec<Node> = (0..300).map(|_| Node::new(Policy::Idle, CpuSet::ALL)).collect();
        let nodes = nodes.as_slice();
        let mut heap = Heap::new();
        let mut model: BTreeSet<(u64, ThreadId)> = BTreeSet::new();
        for step in 0..30_000 {
            let id = ThreadId(u32::try_from(random.below(nodes.len())).unwrap());
            let entry = (nodes.node(id).key.get(), id);
            if model.remove(&entry) {
                heap.remove(nodes, id, nodes.node(id));
            } else if random.below(300) * 2 > model.len() {
                nodes.node(id).key.set(random.next_u64() % 1000);
                heap.insert(nodes, id, nodes.node(id));
                model.insert((nodes.node(id).key.get(), id));
            } else if let Some(first) = heap.first() {
                heap.remove(nodes, first, nodes.node(first));
                assert_eq!(model.first().map(|entry| entry.0), Some(nodes.node(first).key.get()), "seed {SEED:#x}");
                model.remove(&(nodes.node(first).key.get(), first));
            }
            if step % 100 == 0 {
                assert_is_leftist(nodes, &heap);
                let all: BTreeSet<_> = heap.iter(nodes).map(|id| (nodes.node(id).key.get(), id)).collect();
                assert_eq!(all, model, "seed {SEED:#x}");
            }
        }
    }

    #[test]
    fn ascending_keys_make_no_long_right_way() {
        let nodes: Vec<Node> = (0..10_000).map(|_| Node::new(Policy::Idle, CpuSet::ALL)).collect();
        let mut heap = Heap::new();
        for (key, node) in (0..).zip(&nodes) {
            node.key.set(u64::from(key));
            heap.insert(nodes.as_slice(), ThreadId(key), node);
        }
        assert_is_leftist(&nodes, &heap);
        assert!(heap.iter(nodes.as_slice()).all(|id| nodes.node(id).rank.get() <= 14));
        assert_eq!(heap.iter(nodes.as_slice()).count(), nodes.len());
    }
}
