//! [`SparseMap`]: a map from page numbers to pages, cheap where dense and cheap where empty.
//!
//! A radix tree of 64 ways. Its height is the least that reaches the highest number it holds, so a small file is one node and
//! a page at the end of the largest possible file costs nine. Lookup is one step a level, without comparing keys. Nodes count
//! what they hold and go when it is nothing.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// log2 of the ways of a node.
const WAY_BITS: u32 = 6;
/// Ways of a node.
const WAYS: usize = 1 << WAY_BITS;
/// Levels that reach every 64-bit number.
const HEIGHT_MAX: u32 = u64::BITS.div_ceil(WAY_BITS);

/// The node of one level: leaves hold values, inner nodes hold nodes.
enum Node<T> {
    Leaf(Box<Ways<T>>),
    Inner(Box<Ways<Node<T>>>),
}

struct Ways<T> {
    used: usize,
    ways: [Option<T>; WAYS],
}

impl<T> Ways<T> {
    fn new() -> Box<Self> {
        Box::new(Self { used: 0, ways: [const { None }; WAYS] })
    }

    fn put(&mut self, way: usize, value: T) -> Option<T> {
        let old = self.ways[way].replace(value);
        self.used += usize::from(old.is_none());
        old
    }

    fn take(&mut self, way: usize) -> Option<T> {
        let old = self.ways[way].take();
        self.used -= usize::from(old.is_some());
        old
    }
}

/// The way of `index` in a node of this level; leaves are level 0.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "masked to six bits")]
fn way(index: u64, level: u32) -> usize {
    (index >> (level * WAY_BITS)) as usize & (WAYS - 1)
}

/// One past the last number below a node of this level that begins at `start`; none when that is past all numbers.
fn end_of(start: u64, level: u32) -> Option<u64> {
    let span = 1_u64.checked_shl((level + 1) * WAY_BITS)?;
    start.checked_add(span)
}

impl<T> Node<T> {
    fn new(level: u32) -> Self {
        if level == 0 { Self::Leaf(Ways::new()) } else { Self::Inner(Ways::new()) }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.used == 0,
            Self::Inner(inner) => inner.used == 0,
        }
    }

    /// Values below.
    fn count(&self) -> u64 {
        match self {
            Self::Leaf(leaf) => leaf.used as u64,
            Self::Inner(inner) => inner.ways.iter().flatten().map(Self::count).sum(),
        }
    }

    fn insert(&mut self, index: u64, level: u32, value: T) -> Option<T> {
        match self {
            Self::Leaf(leaf) => leaf.put(way(index, 0), value),
            Self::Inner(inner) => {
                let way = way(index, level);
                if inner.ways[way].is_none() {
                    inner.put(way, Self::new(level - 1));
                }
                inner.ways[way].as_mut().and_then(|node| node.insert(index, level - 1, value))
            }
        }
    }

    /// Takes the values in `first..end` out of a node that begins at `start`, whole nodes where it can.
    fn take_range(&mut self, start: u64, level: u32, first: u64, end: u64, taken: &mut Vec<Taken<T>>) {
        let from = first.max(start);
        let to = end_of(start, level).map_or(end, |last| end.min(last));
        if from >= to {
            return;
        }
        let (from_way, to_way) = (way(from, level), way(to - 1, level));
        match self {
            Self::Leaf(leaf) => {
                taken.extend((from_way..=to_way).filter_map(|way| leaf.take(way)).map(Taken::Value));
            }
            Self::Inner(inner) => {
                for way in from_way..=to_way {
                    let Some(child) = &mut inner.ways[way] else { continue };
                    let child_start = start + ((way as u64) << (level * WAY_BITS));
                    let is_whole =
                        first <= child_start && end_of(child_start, level - 1).is_some_and(|last| last <= end);
                    if !is_whole {
                        child.take_range(child_start, level - 1, first, end, taken);
                    }
                    if is_whole || child.is_empty() {
                        taken.extend(inner.take(way).map(Taken::Node));
                    }
                }
            }
        }
    }

    /// The first number from `from` on that has a value, or has none, below a node that begins at `start`.
    fn next(&self, start: u64, level: u32, from: u64, wants_value: bool) -> Option<u64> {
        let from_way = if from > start { way(from, level) } else { 0 };
        match self {
            Self::Leaf(leaf) => {
                let is_wanted = |way: &usize| leaf.ways[*way].is_some() == wants_value;
                (from_way..WAYS).find(is_wanted).map(|way| start + way as u64)
            }
            Self::Inner(inner) => (from_way..WAYS).find_map(|way| {
                let child_start = start + ((way as u64) << (level * WAY_BITS));
                match &inner.ways[way] {
                    Some(child) => child.next(child_start, level - 1, from.max(child_start), wants_value),
                    None if wants_value => None,
                    None => Some(from.max(child_start)),
                }
            }),
        }
    }
}

/// Something taken out of a map, whose dropping is left to the caller.
enum Taken<T> {
    Value(T),
    Node(Node<T>),
}

/// What was taken out of a map: dropped when the caller wants it, without the map's lock.
#[must_use = "drop it outside the lock"]
pub(crate) struct Removed<T>(Vec<Taken<T>>);

impl<T> Removed<T> {
    /// How many values were taken.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|taken| if let Taken::Node(node) = taken { node.count() } else { 1 }).sum()
    }
}

/// A map from 64-bit numbers to values.
pub(crate) struct SparseMap<T> {
    root: Option<Node<T>>,
    /// Level of the root.
    level: u32,
    len: u64,
}

impl<T> SparseMap<T> {
    /// An empty map.
    pub(crate) const fn new() -> Self {
        Self { root: None, level: 0, len: 0 }
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether the root reaches a number.
    #[inline]
    fn reaches(&self, index: u64) -> bool {
        index.checked_shr((self.level + 1) * WAY_BITS).unwrap_or(0) == 0
    }

    /// The value of a number.
    #[inline]
    pub(crate) fn get(&self, index: u64) -> Option<&T> {
        if !self.reaches(index) {
            return None;
        }
        let mut node = self.root.as_ref()?;
        let mut level = self.level;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.ways[way(index, 0)].as_ref(),
                Node::Inner(inner) => node = inner.ways[way(index, level)].as_ref()?,
            }
            level -= 1;
        }
    }

    /// The value of a number, to be changed.
    pub(crate) fn get_mut(&mut self, index: u64) -> Option<&mut T> {
        if !self.reaches(index) {
            return None;
        }
        let mut node = self.root.as_mut()?;
        let mut level = self.level;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.ways[way(index, 0)].as_mut(),
                Node::Inner(inner) => node = inner.ways[way(index, level)].as_mut()?,
            }
            level -= 1;
        }
    }

    /// Sets the value of a number and gives the one it had.
    pub(crate) fn insert(&mut self, index: u64, value: T) -> Option<T> {
        if self.root.is_none() {
            self.level = 0;
        }
        while !self.reaches(index) {
            debug_assert!(self.level + 1 < HEIGHT_MAX, "the tree is as high as it can be");
            if let Some(node) = self.root.take() {
                let mut inner = Ways::new();
                inner.put(0, node);
                self.root = Some(Node::Inner(inner));
            }
            self.level += 1;
        }
        let level = self.level;
        let old = self.root.get_or_insert_with(|| Node::new(level)).insert(index, level, value);
        self.len += u64::from(old.is_none());
        old
    }

    /// Takes out all values in `first..end`.
    pub(crate) fn remove_range(&mut self, first: u64, end: u64) -> Removed<T> {
        let mut removed = Removed(Vec::new());
        if let Some(root) = &mut self.root {
            root.take_range(0, self.level, first, end, &mut removed.0);
            if root.is_empty() {
                removed.0.extend(self.root.take().map(Taken::Node));
            }
        }
        self.len -= removed.count();
        removed
    }

    /// The first number from `from` on that has a value.
    pub(crate) fn next_present(&self, from: u64) -> Option<u64> {
        if !self.reaches(from) {
            return None;
        }
        self.root.as_ref()?.next(0, self.level, from, true)
    }

    /// The first number from `from` on that has none.
    pub(crate) fn next_absent(&self, from: u64) -> u64 {
        if !self.reaches(from) {
            return from;
        }
        let Some(root) = &self.root else { return from };
        let past_root = || end_of(0, self.level).unwrap_or(u64::MAX);
        root.next(0, self.level, from, false).unwrap_or_else(past_root)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn reaches_both_ends() {
        let mut map = SparseMap::new();
        for index in [0, 63, 64, 4095, 4096, (1 << 51) - 1, u64::MAX - 1, u64::MAX] {
            assert_eq!(map.get(index), None);
            assert_eq!(map.insert(index, index), None);
            assert_eq!(map.get(index), Some(&index));
        }
        assert_eq!(map.len(), 8);
        assert_eq!(map.next_present(4097), Some((1 << 51) - 1));
        assert_eq!(map.next_absent(63), 65);
        assert_eq!(map.remove_range(1, u64::MAX).count(), 6);
        assert_eq!(map.len(), 2);
        assert_eq!(map.next_present(1), Some(u64::MAX));
    }

    #[test]
    fn follows_a_plain_map() {
        let seed = 0x5eed_u64;
        let mut state = seed;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for span in [70, 5000, 1 << 20] {
            let mut map = SparseMap::new();
            let mut model = BTreeMap::new();
            for step in 0..20_000 {
                let index = random(span);
                match random(6) {
                    0..=2 => assert_eq!(map.insert(index, step), model.insert(index, step)),
                    3 => {
                        let end = index + random(span / 8 + 1);
                        let doomed: Vec<u64> = model.range(index..end).map(|(index, _)| *index).collect();
                        assert_eq!(map.remove_range(index, end).count(), doomed.len() as u64);
                        doomed.iter().for_each(|index| assert!(model.remove(index).is_some()));
                    }
                    4 => assert_eq!(map.next_present(index), model.range(index..).next().map(|(index, _)| *index)),
                    _ => {
                        let absent = (index..).find(|index| !model.contains_key(index));
                        assert_eq!(Some(map.next_absent(index)), absent);
                    }
                }
                assert_eq!(map.get(index), model.get(&index), "seed {seed:#x}");
                assert_eq!(map.len(), model.len() as u64);
            }
        }
    }
}
