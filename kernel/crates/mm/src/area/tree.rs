//! [`AreaTree`]: disjoint areas in address order, with O(log n) search for areas and for room.
//!
//! 1. Shape. An AVL tree: the heights of two siblings differ by at most 1. All changes are built
//!    from one operation, `join(left, node, right)` (G. Blelloch, D. Ferizovic, Y. Sun, "Just Join
//!    for Parallel Ordered Sets", SPAA 2016): it makes one tree from two and a node between them in
//!    O(|height difference|). Splitting at an address is a chain of joins on the way back up, so
//!    taking a whole range out costs O(log n) whatever it holds. One area goes in or out in place, and
//!    the way back up ends where nothing changes any more.
//! 2. Room. Every node knows the largest gap between neighbours in its subtree, and the
//!    subtree's first and last address. The highest gap of a wanted size is then found on one
//!    path: a subtree without a sufficient gap is left aside at once. Gaps of [`GAP_MAX`] and more count as
//!    that, so that a mapping carved out of the vast emptiness changes nothing higher up; there are few such gaps
//!    to try when somebody asks for more. Below a stack the guard gap does not count as room.
//! 3. Cost. One heap allocation an area; finding and changing in place allocate nothing. Recursion is
//!    as deep as the tree: under 1.45 log2(n), 24 for the most areas there can be.
//!
//! The tree neither merges areas nor counts them against limits; [`crate::address_space`] does.

use alloc::boxed::Box;
use core::cmp::Ordering;

use super::Area;
use crate::range::PageRange;

/// The largest gap that the tree tells from larger ones.
const GAP_MAX: usize = 1 << 40;

/// So many areas are taken out one by one, the rest of a range as a whole.
const FEW: usize = 2;

type Link = Option<Box<Node>>;

struct Node {
    area: Area,
    left: Link,
    right: Link,
    /// Guarded start of the subtree's first area.
    start: usize,
    /// End of the subtree's last area.
    end: usize,
    /// The largest gap between neighbours in the subtree, at most [`GAP_MAX`].
    gap: usize,
    height: u8,
}

/// Areas in address order.
#[derive(Default)]
pub(crate) struct AreaTree {
    root: Link,
    len: usize,
}

impl AreaTree {
    pub(crate) const fn new() -> Self {
        Self { root: None, len: 0 }
    }

    /// The number of areas.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The area that `address` lies in.
    pub(crate) fn find(&self, address: usize) -> Option<&Area> {
        let mut link = &self.root;
        while let Some(node) = link {
            link = match side(node, address) {
                Ordering::Less => &node.left,
                Ordering::Greater => &node.right,
                Ordering::Equal => return Some(&node.area),
            };
        }
        None
    }

    /// The first area that ends after `address`: the one it lies in, or the next above.
    pub(crate) fn find_ending_after(&self, address: usize) -> Option<&Area> {
        let mut best = None;
        let mut link = &self.root;
        while let Some(node) = link {
            if node.area.range.end() > address {
                best = Some(&node.area);
                link = &node.left;
            } else {
                link = &node.right;
            }
        }
        best
    }

    /// The last area that starts before `address`.
    pub(crate) fn find_starting_before(&self, address: usize) -> Option<&Area> {
        let mut best = None;
        let mut link = &self.root;
        while let Some(node) = link {
            if node.area.range.start() < address {
                best = Some(&node.area);
                link = &node.right;
            } else {
                link = &node.left;
            }
        }
        best
    }

    /// The last area that starts before `address`, and the first that does not.
    pub(crate) fn around(&self, address: usize) -> (Option<&Area>, Option<&Area>) {
        let (mut below, mut above) = (None, None);
        let mut link = &self.root;
        while let Some(node) = link {
            if node.area.range.start() < address {
                below = Some(&node.area);
                link = &node.right;
            } else {
                above = Some(&node.area);
                link = &node.left;
            }
        }
        (below, above)
    }

    /// True when no area has a page in `range`.
    pub(crate) fn is_free(&self, range: PageRange) -> bool {
        self.find_ending_after(range.start()).is_none_or(|area| area.range.start() >= range.end())
    }

    /// The areas that have a page in `range`, in order.
    pub(crate) fn overlapping(&self, range: PageRange) -> impl Iterator<Item = &Area> {
        let mut at = range.start();
        core::iter::from_fn(move || {
            let area =
                self.find_ending_after(at).filter(|area| area.range.start() < range.end() && at < range.end())?;
            at = area.range.end();
            Some(area)
        })
    }

    /// All areas, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Area> {
        let mut at = 0;
        core::iter::from_fn(move || {
            let area = self.find_ending_after(at)?;
            at = area.range.end();
            Some(area)
        })
    }

    /// The start of the highest free `len` bytes in `floor..ceiling`.
    pub(crate) fn find_room(&self, len: usize, floor: usize, ceiling: usize) -> Option<usize> {
        find_room(&self.root, len, floor, ceiling).and_then(|end| end.checked_sub(len))
    }

    /// Adds an area. It overlaps none that is there.
    #[inline]
    pub(crate) fn insert(&mut self, area: Area) {
        debug_assert!(!area.range.is_empty() && self.is_free(area.range), "areas are disjoint and not empty");
        insert(&mut self.root, Node::new(area));
        self.len += 1;
    }

    /// Changes the area that `address` lies in, where it stands: it must not pass its neighbours.
    pub(crate) fn modify<R>(&mut self, address: usize, change: impl FnOnce(&mut Area) -> R) -> Option<R> {
        modify(&mut self.root, address, change).map(|(result, _)| result)
    }

    /// Takes out the area that `address` lies in, as a tree of its own.
    pub(crate) fn take_one(&mut self, address: usize) -> Self {
        let Some((node, _)) = remove(&mut self.root, address) else { return Self::new() };
        self.len -= 1;
        Self { root: Some(node), len: 1 }
    }

    /// Takes out the areas of `range`, cutting those that reach beyond it.
    pub(crate) fn take(&mut self, range: PageRange) -> Self {
        self.cut(range.start());
        self.cut(range.end());
        let mut few = Self::new();
        // A few go one by one, which leaves the rest of the tree as it is: a thread's stack and its guard.
        for _ in 0..FEW {
            let Some((node, _)) = self.first_in(range).and_then(|start| remove(&mut self.root, start)) else {
                return few;
            };
            self.len -= 1;
            insert(&mut few.root, node);
            few.len += 1;
        }
        if self.first_in(range).is_none() {
            return few;
        }
        let mut taken = self.take_many(range);
        taken.root = join_two(few.root.take(), taken.root.take());
        taken.len += few.len;
        taken
    }

    /// The start of the first area in `range`, at whose start no area is cut.
    fn first_in(&self, range: PageRange) -> Option<usize> {
        self.find_ending_after(range.start()).map(|area| area.range.start()).filter(|start| *start < range.end())
    }

    /// Takes out the areas of `range`, none of which reaches beyond it.
    fn take_many(&mut self, range: PageRange) -> Self {
        let (below, rest) = split(self.root.take(), range.start());
        let (taken, above) = split(rest, range.end());
        self.root = join_two(below, above);
        let mut taken = Self { root: taken, len: 0 };
        taken.len = taken.iter().count();
        self.len -= taken.len;
        taken
    }

    /// Makes `address` a border: an area across it becomes two.
    fn cut(&mut self, address: usize) {
        let is_inside = self.find(address).is_some_and(|area| area.range.start() < address);
        if !is_inside {
            return;
        }
        if let Some(upper) = self.modify(address, |area| area.split_off(address)) {
            self.insert(upper);
        }
    }
}

impl Node {
    #[inline]
    fn new(area: Area) -> Box<Self> {
        let (start, end) = (area.guarded_start(), area.range.end());
        Box::new(Self { area, left: None, right: None, start, end, gap: 0, height: 1 })
    }

    /// Computes what depends on the area and the children.
    #[inline]
    fn update(&mut self) -> Update {
        let guarded_start = self.area.guarded_start();
        let area_end = self.area.range.end();
        let (mut start, mut end, mut gap, mut left_height, mut right_height) = (guarded_start, area_end, 0, 0, 0);
        if let Some(left) = &self.left {
            start = left.start;
            gap = left.gap.max(guarded_start.saturating_sub(left.end));
            left_height = left.height;
        }
        if let Some(right) = &self.right {
            end = right.end;
            gap = gap.max(right.gap).max(right.start.saturating_sub(area_end));
            right_height = right.height;
        }
        let gap = gap.min(GAP_MAX);
        let node_height = left_height.max(right_height) + 1;
        let differences = (start ^ self.start) | (end ^ self.end) | (gap ^ self.gap);
        let is_same = differences == 0 && node_height == self.height;
        (self.start, self.end, self.gap, self.height) = (start, end, gap, node_height);
        if left_height.abs_diff(right_height) > 1 {
            Update::Unbalanced
        } else if is_same {
            Update::Same
        } else {
            Update::Changed
        }
    }
}

/// What an update of a node found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Update {
    /// Nothing that the parent sees has changed.
    Same,
    /// The parent has to be updated.
    Changed,
    /// The parent has to be updated, and the children must be balanced first.
    Unbalanced,
}

/// Where `address` lies as seen from the node's area.
fn side(node: &Node, address: usize) -> Ordering {
    if address < node.area.range.start() {
        Ordering::Less
    } else if address >= node.area.range.end() {
        Ordering::Greater
    } else {
        Ordering::Equal
    }
}

fn height(link: &Link) -> u8 {
    link.as_ref().map_or(0, |node| node.height)
}

/// The end of the highest gap of `len` bytes in `low..high`, the room around and in a subtree.
fn find_room(link: &Link, len: usize, low: usize, high: usize) -> Option<usize> {
    if high.saturating_sub(low) < len {
        return None;
    }
    let Some(node) = link else { return Some(high) };
    let largest = node.gap.max(node.start.saturating_sub(low)).max(high.saturating_sub(node.end));
    if largest < len.min(GAP_MAX) {
        return None;
    }
    // A stack's guard gap ends at the next area below: it takes nothing from the room under that.
    let left_end = node.left.as_ref().map_or(0, |left| left.end);
    let left_high = high.min(node.area.guarded_start().max(left_end));
    find_room(&node.right, len, low.max(node.area.range.end()), high)
        .or_else(|| find_room(&node.left, len, low, left_high))
}

/// One tree from `left`, `node` and `right`, in this order. The node's own children are ignored.
#[inline]
fn join(left: Link, node: Box<Node>, right: Link) -> Box<Node> {
    match (left, right) {
        (Some(left), right) if left.height > height(&right) + 1 => join_right(left, node, right),
        (left, Some(right)) if right.height > height(&left) + 1 => join_left(left, node, right),
        (left, right) => assemble(left, node, right),
    }
}

/// `node` with these children. Within a double rotation they need not be balanced.
fn assemble(left: Link, mut node: Box<Node>, right: Link) -> Box<Node> {
    node.left = left;
    node.right = right;
    node.update();
    node
}

/// [`join`] where `left` is the higher one: `node` goes down its right side.
fn join_right(mut left: Box<Node>, node: Box<Node>, right: Link) -> Box<Node> {
    let inner = left.right.take();
    let is_low_enough = height(&inner) <= height(&right) + 1;
    let mut joined = match inner {
        Some(inner) if !is_low_enough => join_right(inner, node, right),
        inner => assemble(inner, node, right),
    };
    if joined.height > height(&left.left) + 1 {
        if is_low_enough {
            joined = rotate_right(joined);
        }
        left.right = Some(joined);
        return rotate_left(left);
    }
    let outer = left.left.take();
    assemble(outer, left, Some(joined))
}

/// The mirror image of [`join_right`].
fn join_left(left: Link, node: Box<Node>, mut right: Box<Node>) -> Box<Node> {
    let inner = right.left.take();
    let is_low_enough = height(&inner) <= height(&left) + 1;
    let mut joined = match inner {
        Some(inner) if !is_low_enough => join_left(left, node, inner),
        inner => assemble(left, node, inner),
    };
    if joined.height > height(&right.right) + 1 {
        if is_low_enough {
            joined = rotate_left(joined);
        }
        right.left = Some(joined);
        return rotate_right(right);
    }
    let outer = right.right.take();
    assemble(Some(joined), right, outer)
}

/// The right child becomes the parent.
fn rotate_left(mut node: Box<Node>) -> Box<Node> {
    let Some(mut parent) = node.right.take() else { return node };
    let (left, inner) = (node.left.take(), parent.left.take());
    let right = parent.right.take();
    assemble(Some(assemble(left, node, inner)), parent, right)
}

/// The left child becomes the parent.
fn rotate_right(mut node: Box<Node>) -> Box<Node> {
    let Some(mut parent) = node.left.take() else { return node };
    let (inner, right) = (parent.right.take(), node.right.take());
    let left = parent.left.take();
    assemble(left, parent, Some(assemble(inner, node, right)))
}

/// Makes the subtree right again after one of its children changed. True when the change goes on to the parent.
fn repair(link: &mut Link) -> bool {
    match link.as_mut().map_or(Update::Same, |node| node.update()) {
        Update::Same => false,
        Update::Changed => true,
        Update::Unbalanced => {
            balance(link);
            true
        }
    }
}

#[cold]
#[inline(never)]
fn balance(link: &mut Link) {
    if let Some(mut node) = link.take() {
        let (left, right) = (node.left.take(), node.right.take());
        *link = Some(join(left, node, right));
    }
}

/// Puts a node in its place. True when the subtree changed for its parent.
fn insert(link: &mut Link, new: Box<Node>) -> bool {
    let Some(node) = link else {
        *link = Some(new);
        return true;
    };
    let side = if new.area.range.start() < node.area.range.start() { &mut node.left } else { &mut node.right };
    insert(side, new) && repair(link)
}

/// Takes out the node whose area `address` lies in. Also says whether the subtree changed for its parent.
fn remove(link: &mut Link, address: usize) -> Option<(Box<Node>, bool)> {
    let node = link.as_mut()?;
    let (removed, changed) = match side(node, address) {
        Ordering::Less => remove(&mut node.left, address)?,
        Ordering::Greater => remove(&mut node.right, address)?,
        Ordering::Equal => {
            let mut node = link.take()?;
            *link = join_two(node.left.take(), node.right.take());
            node.update();
            return Some((node, true));
        }
    };
    Some((removed, changed && repair(link)))
}

/// Changes an area where it stands. Also says whether the subtree changed for its parent.
fn modify<R>(link: &mut Link, address: usize, change: impl FnOnce(&mut Area) -> R) -> Option<(R, bool)> {
    let node = link.as_mut()?;
    let (result, changed) = match side(node, address) {
        Ordering::Less => modify(&mut node.left, address, change)?,
        Ordering::Greater => modify(&mut node.right, address, change)?,
        Ordering::Equal => (change(&mut node.area), true),
    };
    Some((result, changed && node.update() == Update::Changed))
}

/// The areas that start below `address`, and the others. No area lies across it.
fn split(link: Link, address: usize) -> (Link, Link) {
    let Some(mut node) = link else { return (None, None) };
    let left = node.left.take();
    let right = node.right.take();
    if node.area.range.start() < address {
        debug_assert!(node.area.range.end() <= address, "areas are cut before the tree is split");
        let (below, above) = split(right, address);
        (Some(join(left, node, below)), above)
    } else {
        let (below, above) = split(left, address);
        (below, Some(join(above, node, right)))
    }
}

/// One tree from two, all of `left` below all of `right`.
fn join_two(left: Link, right: Link) -> Link {
    match (left, right) {
        (left, None) => left,
        (left, Some(right)) => {
            let (first, rest) = take_first(right);
            Some(join(left, first, rest))
        }
    }
}

/// The first node, alone, and the others.
fn take_first(mut node: Box<Node>) -> (Box<Node>, Link) {
    let right = node.right.take();
    match node.left.take() {
        None => (node, right),
        Some(left) => {
            let (first, rest) = take_first(left);
            (first, Some(join(rest, node, right)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{AreaFlags, Origin, STACK_GUARD_GAP};
    use super::*;
    use crate::PAGE_SIZE;
    use crate::page_table::Rights;

    const ARENA_PAGES: usize = 4096;

    fn area(start: usize, end: usize, is_stack: bool) -> Area {
        Area {
            range: PageRange::new(start * PAGE_SIZE, end * PAGE_SIZE),
            rights: Rights::READ,
            rights_max: Rights::all(),
            flags: if is_stack { AreaFlags::GROWS_DOWN } else { AreaFlags::empty() },
            origin: Origin::Anonymous,
        }
    }

    /// Checks heights, order and summaries of a whole tree.
    fn check(link: &Link, low: usize) -> usize {
        let Some(node) = link else { return low };
        assert!(height(&node.left).abs_diff(height(&node.right)) <= 1, "unbalanced");
        assert_eq!(node.height, height(&node.left).max(height(&node.right)) + 1);
        let left_end = check(&node.left, low);
        assert!(left_end <= node.area.range.start(), "areas overlap or are out of order");
        let end = check(&node.right, node.area.range.end());
        assert_eq!(node.end, end);
        let mut fresh = Node::new(node.area.clone());
        let leftmost = node.left.as_ref().map_or(fresh.start, |left| left.start);
        let gaps = [(&node.left, true), (&node.right, false)].map(|(child, is_left)| match child {
            None => 0,
            Some(child) if is_left => child.gap.max(fresh.start.saturating_sub(child.end)),
            Some(child) => child.gap.max(child.start.saturating_sub(fresh.end)),
        });
        assert_eq!((node.start, node.gap), (leftmost, gaps[0].max(gaps[1])));
        assert!(fresh.update() == Update::Same, "a new node is up to date");
        end
    }

    fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
        let mut state = seed;
        move |bound| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % bound
        }
    }

    /// The highest room of `len` pages, by looking at every gap.
    fn find_room_slowly(
        model: &BTreeMap<usize, (usize, bool)>,
        len: usize,
        floor: usize,
        ceiling: usize,
    ) -> Option<usize> {
        let mut best = None;
        let mut low = floor;
        let areas = model.iter().map(|(start, (end, is_stack))| (*start, *end, *is_stack));
        for (start, end, is_stack) in areas.chain([(ceiling, ceiling, false)]) {
            let guard = if is_stack { STACK_GUARD_GAP / PAGE_SIZE } else { 0 };
            let high = start.saturating_sub(guard).min(ceiling);
            if high.saturating_sub(low) >= len {
                best = Some(high - len);
            }
            low = low.max(end);
        }
        best
    }

    #[test]
    fn agrees_with_a_map() {
        for seed in 0..20 {
            let mut below = numbers(seed);
            let mut tree = AreaTree::new();
            let mut model: BTreeMap<usize, (usize, bool)> = BTreeMap::new();
            for _ in 0..300 {
                let start = below(ARENA_PAGES);
                let end = start + 1 + below(24);
                if below(8) == 0 {
                    let taken = tree.take_one(start * PAGE_SIZE);
                    let expected =
                        model.iter().find(|(from, (to, _))| **from <= start && start < *to).map(|(from, _)| *from);
                    assert_eq!(taken.iter().next().map(|area| area.range.start() / PAGE_SIZE), expected);
                    expected.and_then(|from| model.remove(&from));
                } else if below(3) > 0 {
                    let is_free = model.iter().all(|(from, (to, _))| end <= *from || start >= *to);
                    assert_eq!(
                        tree.is_free(PageRange::new(start * PAGE_SIZE, end * PAGE_SIZE)),
                        is_free,
                        "seed {seed}"
                    );
                    if is_free {
                        let is_stack = below(20) == 0;
                        tree.insert(area(start, end, is_stack));
                        model.insert(start, (end, is_stack));
                    }
                } else {
                    let taken = tree.take(PageRange::new(start * PAGE_SIZE, end * PAGE_SIZE));
                    check(&taken.root, 0);
                    let mut expected = 0;
                    for (from, (to, is_stack)) in std::mem::take(&mut model) {
                        expected += to.min(end).saturating_sub(from.max(start));
                        if from < start.min(to) {
                            model.insert(from, (to.min(start), is_stack));
                        }
                        if to > end.max(from) {
                            model.insert(from.max(end), (to, is_stack));
                        }
                    }
                    assert_eq!(taken.iter().map(|area| area.range.pages()).sum::<usize>(), expected, "seed {seed}");
                }
                check(&tree.root, 0);
                let areas: Vec<_> =
                    tree.iter().map(|area| (area.range.start() / PAGE_SIZE, area.range.end() / PAGE_SIZE)).collect();
                assert_eq!(areas, model.iter().map(|(start, (end, _))| (*start, *end)).collect::<Vec<_>>());
                assert_eq!(tree.len(), model.len());

                let at = below(ARENA_PAGES);
                let found = tree.find(at * PAGE_SIZE).map(|area| area.range.start() / PAGE_SIZE);
                let expected = model.iter().find(|(start, (end, _))| **start <= at && at < *end);
                assert_eq!(found, expected.map(|(start, _)| *start));
                let (lower, upper) = tree.around(at * PAGE_SIZE);
                assert_eq!(
                    lower.map(|area| area.range.start() / PAGE_SIZE),
                    model.range(..at).next_back().map(|(from, _)| *from)
                );
                assert_eq!(
                    upper.map(|area| area.range.start() / PAGE_SIZE),
                    model.range(at..).next().map(|(from, _)| *from)
                );
                let (len, floor, ceiling) = (1 + below(200), below(ARENA_PAGES / 2), below(ARENA_PAGES));
                let room = tree.find_room(len * PAGE_SIZE, floor * PAGE_SIZE, ceiling * PAGE_SIZE);
                let expected = find_room_slowly(&model, len, floor, ceiling);
                assert_eq!(room.map(|start| start / PAGE_SIZE), expected, "seed {seed}, {len} pages");
            }
        }
    }

    #[test]
    fn stays_low_when_filled_in_order() {
        let mut tree = AreaTree::new();
        for index in (0..65_530).rev() {
            tree.insert(area(2 * index, 2 * index + 1, false));
        }
        assert_eq!(tree.len(), 65_530);
        assert!(height(&tree.root) <= 17, "height {}", height(&tree.root));
        let half = tree.take(PageRange::new(0, 65_530 * PAGE_SIZE));
        assert_eq!((half.len(), tree.len()), (32_765, 32_765));
        check(&half.root, 0);
        check(&tree.root, 0);
    }

    #[test]
    fn finds_room_beyond_the_largest_gap_told_apart() {
        let (small, large) = (GAP_MAX / PAGE_SIZE + 5, 3 * GAP_MAX / PAGE_SIZE);
        let mut tree = AreaTree::new();
        tree.insert(area(0, 1, false));
        tree.insert(area(1 + large, 2 + large, false));
        tree.insert(area(2 + large + small, 3 + large + small, false));
        let ceiling = (3 + large + small) * PAGE_SIZE;
        assert_eq!(tree.find_room(small * PAGE_SIZE, 0, ceiling), Some((2 + large) * PAGE_SIZE));
        assert_eq!(tree.find_room((small + 1) * PAGE_SIZE, 0, ceiling), Some((large - small) * PAGE_SIZE));
        assert_eq!(tree.find_room((large + 1) * PAGE_SIZE, 0, ceiling), None);
    }

    #[test]
    fn modify_keeps_the_summaries() {
        let mut tree = AreaTree::new();
        for index in 0..100 {
            tree.insert(area(10 * index, 10 * index + 5, false));
        }
        assert_eq!(tree.find_room(6 * PAGE_SIZE, 0, 990 * PAGE_SIZE), None);
        tree.modify(500 * PAGE_SIZE, |area| area.move_end(502 * PAGE_SIZE));
        assert_eq!(tree.find_room(6 * PAGE_SIZE, 0, 990 * PAGE_SIZE), Some(504 * PAGE_SIZE));
    }
}
