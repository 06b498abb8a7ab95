//! [`AreaMap`]: disjoint areas in address order, with fast search for areas and for room.
//!
//! 1. Shape. A B-tree of two levels (R. Bayer, E. McCreight, "Organization and Maintenance of Large Ordered Indexes",
//!    1972): areas lie in order in leaves of at most [`LEAF_LEN_MAX`], and leaves in order in one list. Most programs
//!    have one leaf or a few. A full leaf is split. Of two neighbours that have become small together one goes, so that
//!    there is a leaf for each quarter of [`LEAF_LEN_MAX`] areas at worst.
//! 2. Room. The gap of an area is what is free right below it. Every leaf has a bound that none of its gaps exceeds,
//!    and a search for room skips the leaves whose bound is too low. New areas make gaps smaller, for which a bound
//!    stays right; what makes one larger raises the bound. A search that has looked at a whole leaf in vain makes its
//!    bound exact. Below a stack the guard gap does not count as room.
//! 3. Cost. To find is to look where something was found last, and else two binary searches. To add or take out moves
//!    the areas behind it in the leaf. A leaf is one block of the kernel's heap, which suits its slabs. What goes over
//!    the list of leaves is a search for room, a comparison for each that has none, and, once in half a leaf of
//!    additions, a split, which moves the leaves behind it. With the 65,530 areas that Linux allows there are 6,500
//!    leaves when each was split, and 12,500 at worst.
//!
//! The map neither merges areas nor counts them against limits; [`crate::address_space`] does.

use alloc::vec::Vec;
use core::cell::Cell;

use super::Area;
use crate::range::PageRange;

/// The most areas of a leaf: as many as the largest slab takes.
const LEAF_LEN_MAX: usize = 21;
const _: () = assert!(size_of::<Area>() * LEAF_LEN_MAX <= 1008, "a leaf lies in a slab");
/// Neighbouring leaves have more areas than this together.
const LEAF_PAIR_LEN_MIN: usize = LEAF_LEN_MAX / 2;

/// Areas that lie beside each other. Never empty.
struct Leaf {
    areas: Vec<Area>,
    /// No gap of its areas is larger.
    gap_max: Cell<usize>,
}

impl Leaf {
    fn is_small(&self) -> bool {
        self.areas.len() <= LEAF_PAIR_LEN_MIN
    }
}

/// Areas in address order.
#[derive(Default)]
pub(crate) struct AreaMap {
    leaves: Vec<Leaf>,
    len: usize,
    /// Where something was found or put last; it may be anything by now.
    recent: Cell<Place>,
}

/// Where an area is: its leaf, and where in the leaf. Behind the last area it is where the next leaf would begin.
#[derive(Clone, Copy, Default)]
struct Place {
    leaf: usize,
    index: usize,
}

/// The areas with objects of those that were taken out. They are dropped where objects may end.
#[derive(Default)]
pub(crate) struct Taken(Vec<Area>);

impl Taken {
    /// Adds an area, which may be the last to use its object.
    pub(crate) fn push(&mut self, area: Area) {
        if !area.is_anonymous() {
            self.0.push(area);
        }
    }
}

impl AreaMap {
    pub(crate) const fn new() -> Self {
        Self { leaves: Vec::new(), len: 0, recent: Cell::new(Place { leaf: 0, index: 0 }) }
    }

    /// The number of areas.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The area that `address` lies in.
    pub(crate) fn find(&self, address: usize) -> Option<&Area> {
        self.find_ending_after(address).filter(|area| area.range.start() <= address)
    }

    /// The first area that ends after `address`: the one it lies in, or the next above.
    pub(crate) fn find_ending_after(&self, address: usize) -> Option<&Area> {
        self.get(self.first_ending_after(address))
    }

    /// The last area that starts before `address`.
    pub(crate) fn find_starting_before(&self, address: usize) -> Option<&Area> {
        self.around(address).0
    }

    /// The last area that starts before `address`, and the first that does not.
    pub(crate) fn around(&self, address: usize) -> (Option<&Area>, Option<&Area>) {
        let place = self.first_from(address);
        (self.before(place), self.get(place))
    }

    /// What lies below and above the area that `address` lies in.
    pub(crate) fn neighbours(&self, address: usize) -> (Option<&Area>, Option<&Area>) {
        let place = self.first_ending_after(address);
        (self.before(place), self.get(self.after(place)))
    }

    /// True when no area has a page in `range`.
    pub(crate) fn is_free(&self, range: PageRange) -> bool {
        self.find_ending_after(range.start()).is_none_or(|area| area.range.start() >= range.end())
    }

    /// The areas that have a page in `range`, in order.
    pub(crate) fn overlapping(&self, range: PageRange) -> impl Iterator<Item = &Area> {
        let first = self.first_ending_after(range.start());
        self.iter_from(first).take_while(move |area| area.range.start() < range.end() && !range.is_empty())
    }

    /// All areas, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Area> {
        self.iter_from(Place { leaf: 0, index: 0 })
    }

    /// The start of the highest free `len` bytes in `floor..ceiling`.
    pub(crate) fn find_room(&self, len: usize, floor: usize, ceiling: usize) -> Option<usize> {
        // The room below the ceiling is that of the first area which does not start below it, or nobody's.
        let first = self.first_from(ceiling);
        if self.get(first).is_none() {
            let low = self.before(first).map_or(0, |area| area.range.end()).max(floor);
            if ceiling.checked_sub(low).is_some_and(|room| room >= len) {
                return Some(ceiling - len);
            }
        }
        for (leaf, holder) in self.leaves.iter().enumerate().take(first.leaf + 1).rev() {
            if holder.gap_max.get() < len {
                continue;
            }
            let count = if leaf == first.leaf { (first.index + 1).min(holder.areas.len()) } else { holder.areas.len() };
            let mut largest = 0;
            for (index, area) in holder.areas.iter().enumerate().take(count).rev() {
                let end_below = self.before(Place { leaf, index }).map_or(0, |area| area.range.end());
                let start = area.guarded_start();
                let high = start.min(ceiling);
                if high.checked_sub(end_below.max(floor)).is_some_and(|room| room >= len) {
                    return Some(high - len);
                }
                largest = largest.max(start.saturating_sub(end_below));
                if index == 0 && count == holder.areas.len() {
                    holder.gap_max.set(largest);
                }
                if end_below <= floor {
                    return None;
                }
            }
        }
        None
    }

    /// Adds an area. It overlaps none that is there.
    pub(crate) fn insert(&mut self, area: Area) {
        debug_assert!(!area.range.is_empty() && self.is_free(area.range), "areas are disjoint and not empty");
        let start = area.range.start();
        let mut place = self.first_from(start);
        self.len += 1;
        // Behind the last area of a leaf rather than before all others of the next one.
        if place.index == 0 && place.leaf > 0 {
            place.leaf -= 1;
            place.index = self.leaves.get(place.leaf).map_or(0, |leaf| leaf.areas.len());
        }
        if self.leaves.get(place.leaf).is_some_and(|leaf| leaf.areas.len() >= LEAF_LEN_MAX) {
            place = self.split(place);
        }
        match self.leaves.get_mut(place.leaf) {
            Some(leaf) => {
                make_room(&mut leaf.areas, 1);
                leaf.areas.insert(place.index, area);
            }
            None => self.leaves.push(Leaf { areas: alloc::vec![area], gap_max: Cell::new(0) }),
        }
        self.recent.set(place);
        self.note_gap(place);
    }

    /// Changes the area that `address` lies in, where it stands: it must not pass its neighbours.
    pub(crate) fn modify<R>(&mut self, address: usize, change: impl FnOnce(&mut Area) -> R) -> Option<R> {
        let place = self.first_ending_after(address);
        let area = self.leaves.get_mut(place.leaf)?.areas.get_mut(place.index)?;
        if area.range.start() > address {
            return None;
        }
        let result = change(area);
        self.note_gap(place);
        self.note_gap(self.after(place));
        Some(result)
    }

    /// Takes out the area that `address` lies in.
    pub(crate) fn take_one(&mut self, address: usize) -> Option<Area> {
        let place = self.first_ending_after(address);
        let leaf = self.leaves.get_mut(place.leaf)?;
        if leaf.areas.get(place.index)?.range.start() > address {
            return None;
        }
        let area = leaf.areas.remove(place.index);
        self.len -= 1;
        self.tidy(place, area.range.end());
        Some(area)
    }

    /// Takes out the areas of `range`, cutting those that reach beyond it, and shows each to `see`.
    pub(crate) fn take(&mut self, range: PageRange, mut see: impl FnMut(&Area)) -> Taken {
        self.cut(range.start());
        self.cut(range.end());
        let mut taken = Taken::default();
        let first = self.first_from(range.start());
        let mut place = first;
        while let Some(leaf) = self.leaves.get_mut(place.leaf) {
            let rest = leaf.areas.get(place.index..).unwrap_or_default();
            let count = rest.iter().take_while(|area| area.range.start() < range.end()).count();
            let is_last = count < rest.len();
            self.len -= count;
            for area in leaf.areas.drain(place.index..place.index + count) {
                see(&area);
                taken.push(area);
            }
            if is_last {
                break;
            }
            place = Place { leaf: place.leaf + 1, index: 0 };
        }
        // Leaves in between are empty now, and go together.
        let gone = first.leaf + 1..place.leaf;
        if !gone.is_empty() {
            self.leaves.drain(gone);
        }
        if place.leaf > first.leaf && self.leaves.get(first.leaf + 1).is_some_and(Leaf::is_small) {
            self.join_small(first.leaf + 1);
        }
        self.tidy(first, range.end());
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

    /// The place of the first area that starts at `address` or above it.
    fn first_from(&self, address: usize) -> Place {
        match self.near(address) {
            Some((place, start)) if start < address => self.after(place),
            Some((place, _)) => place,
            None => self.search(|area| area.range.start() < address),
        }
    }

    /// The place of the first area that ends after `address`.
    fn first_ending_after(&self, address: usize) -> Place {
        match self.near(address) {
            Some((place, _)) => place,
            None => self.search(|area| area.range.end() <= address),
        }
    }

    /// The recent place, or one beside it in the leaf, and the start of the area there, if `address` lies in this area
    /// or in the gap below it. What is asked for is nearly always where something was found before.
    #[inline]
    fn near(&self, address: usize) -> Option<(Place, usize)> {
        let place = self.recent.get();
        let areas = self.leaves.get(place.leaf)?.areas.as_slice();
        let range = areas.get(place.index)?.range;
        if address >= range.end() {
            let index = place.index + 1;
            let above = areas.get(index)?.range;
            return (address < above.end()).then_some((Place { index, ..place }, above.start()));
        }
        if address >= range.start() {
            return Some((place, range.start()));
        }
        let below = match place.index.checked_sub(1) {
            Some(below) => areas.get(below),
            None => self.before(place),
        };
        match below.map(|below| below.range) {
            Some(below) if address < below.end() => {
                let index = place.index.checked_sub(1)?;
                (address >= below.start()).then_some((Place { index, ..place }, below.start()))
            }
            _ => Some((place, range.start())),
        }
    }

    /// The place of the first area that is not `before`, as all up to some place are.
    #[cold]
    fn search(&self, mut before: impl FnMut(&Area) -> bool) -> Place {
        let leaf = self.leaves.partition_point(|leaf| leaf.areas.last().is_some_and(&mut before));
        // Behind all leaves, or not behind the end of this one.
        let index = self.leaves.get(leaf).map_or(0, |leaf| leaf.areas.partition_point(&mut before));
        let place = Place { leaf, index };
        self.recent.set(place);
        place
    }

    fn get(&self, place: Place) -> Option<&Area> {
        self.leaves.get(place.leaf)?.areas.get(place.index)
    }

    /// The area below a place.
    #[inline]
    fn before(&self, place: Place) -> Option<&Area> {
        match place.index.checked_sub(1) {
            Some(index) => self.get(Place { index, ..place }),
            None => self.leaves.get(place.leaf.checked_sub(1)?)?.areas.last(),
        }
    }

    /// The place above one.
    fn after(&self, Place { leaf, index }: Place) -> Place {
        let is_last = self.leaves.get(leaf).is_none_or(|leaf| index + 1 >= leaf.areas.len());
        if is_last { Place { leaf: leaf + 1, index: 0 } } else { Place { leaf, index: index + 1 } }
    }

    fn iter_from(&self, place: Place) -> impl Iterator<Item = &Area> {
        let leaves = self.leaves.get(place.leaf..).unwrap_or_default();
        leaves.iter().flat_map(|leaf| &leaf.areas).skip(place.index)
    }

    /// Raises the bound of a leaf for the gap of one of its areas.
    fn note_gap(&self, place: Place) {
        let (Some(leaf), Some(area)) = (self.leaves.get(place.leaf), self.get(place)) else { return };
        let end_below = self.before(place).map_or(0, |area| area.range.end());
        let gap = area.guarded_start().saturating_sub(end_below);
        if gap > leaf.gap_max.get() {
            leaf.gap_max.set(gap);
        }
    }

    /// Makes two leaves of a full one, and answers where the place has gone.
    #[cold]
    fn split(&mut self, place: Place) -> Place {
        let Place { leaf, index } = place;
        let Some(lower) = self.leaves.get_mut(leaf) else { return place };
        let half = lower.areas.len() / 2;
        let upper = Leaf { areas: lower.areas.split_off(half), gap_max: lower.gap_max.clone() };
        self.leaves.insert(leaf + 1, upper);
        if index > half { Place { leaf: leaf + 1, index: index - half } } else { place }
    }

    /// Makes right what is around a place from which areas were taken out that ended at `end`.
    fn tidy(&mut self, place: Place, end: usize) {
        let Some(len) = self.leaves.get(place.leaf).map(|leaf| leaf.areas.len()) else { return };
        if len == 0 || (len <= LEAF_PAIR_LEN_MIN && self.leaves.len() > 1) {
            self.join_small(place.leaf);
            self.note_gap(self.first_from(end));
        } else if place.index < len {
            self.note_gap(place);
        } else {
            self.note_gap(Place { leaf: place.leaf + 1, index: 0 });
        }
    }

    /// Joins a leaf that has become small with its neighbours, as far as they are small together.
    #[cold]
    fn join_small(&mut self, leaf: usize) {
        // One that was emptied becomes the next, which may be small beside the one above it.
        while self.join_pair(leaf) {}
        if let Some(below) = leaf.checked_sub(1) {
            while self.join_pair(below) {}
        }
        if self.len == 0 {
            self.leaves.clear();
        }
    }

    /// Joins a leaf with the next one if they are small together. True: it did.
    fn join_pair(&mut self, leaf: usize) -> bool {
        let [lower, upper, ..] = self.leaves.get(leaf..).unwrap_or_default() else { return false };
        let (lower_len, upper_len) = (lower.areas.len(), upper.areas.len());
        let is_small = lower_len == 0 || upper_len == 0 || lower_len + upper_len <= LEAF_PAIR_LEN_MIN;
        if is_small {
            let Leaf { mut areas, gap_max } = self.leaves.remove(leaf + 1);
            if let Some(lower) = self.leaves.get_mut(leaf) {
                make_room(&mut lower.areas, areas.len());
                lower.areas.append(&mut areas);
                lower.gap_max.set(lower.gap_max.get().max(gap_max.get()));
            }
        }
        is_small
    }
}

/// Makes room for `count` areas more in a leaf, which may take them: it grows by doubling, but not beyond its limit.
#[inline]
fn make_room(areas: &mut Vec<Area>, count: usize) {
    let (len, capacity) = (areas.len(), areas.capacity());
    if len + count > capacity {
        let wanted = (2 * capacity).min(LEAF_LEN_MAX).max(len + count);
        areas.reserve_exact(wanted - len);
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

    /// Checks the sizes of leaves, the order of areas, and the bounds of gaps.
    fn check(map: &AreaMap) {
        let lens: Vec<usize> = map.leaves.iter().map(|leaf| leaf.areas.len()).collect();
        assert!(lens.iter().all(|len| (1..=LEAF_LEN_MAX).contains(len)), "{lens:?}");
        assert!(lens.windows(2).all(|pair| pair[0] + pair[1] > LEAF_PAIR_LEN_MIN), "{lens:?}");
        assert_eq!(lens.iter().sum::<usize>(), map.len());
        let mut end_below = 0;
        for leaf in &map.leaves {
            for area in &leaf.areas {
                assert!(end_below <= area.range.start(), "areas overlap or are out of order");
                assert!(
                    area.guarded_start().saturating_sub(end_below) <= leaf.gap_max.get(),
                    "a gap exceeds its bound"
                );
                end_below = area.range.end();
            }
        }
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
        for seed in 0..24 {
            let mut below = numbers(seed);
            let mut map = AreaMap::new();
            let mut model: BTreeMap<usize, (usize, bool)> = BTreeMap::new();
            for _ in 0..if seed % 2 == 0 { 300 } else { 500 } {
                let start = below(ARENA_PAGES);
                let end = start + 1 + below(if seed % 2 == 0 { 24 } else { 4 });
                // Now and then over several leaves.
                let reach = if below(10) == 0 { end + below(600) } else { end };
                if below(8) == 0 {
                    let taken = map.take_one(start * PAGE_SIZE);
                    let expected =
                        model.iter().find(|(from, (to, _))| **from <= start && start < *to).map(|(from, _)| *from);
                    assert_eq!(taken.map(|area| area.range.start() / PAGE_SIZE), expected);
                    expected.and_then(|from| model.remove(&from));
                } else if below(3) > 0 {
                    let is_free = model.iter().all(|(from, (to, _))| end <= *from || start >= *to);
                    assert_eq!(map.is_free(PageRange::new(start * PAGE_SIZE, end * PAGE_SIZE)), is_free, "seed {seed}");
                    if is_free {
                        let is_stack = below(20) == 0;
                        map.insert(area(start, end, is_stack));
                        model.insert(start, (end, is_stack));
                    }
                } else {
                    let taken = take(&mut map, PageRange::new(start * PAGE_SIZE, reach * PAGE_SIZE));
                    let mut expected = 0;
                    for (from, (to, is_stack)) in std::mem::take(&mut model) {
                        expected += to.min(reach).saturating_sub(from.max(start));
                        if from < start.min(to) {
                            model.insert(from, (to.min(start), is_stack));
                        }
                        if to > reach.max(from) {
                            model.insert(from.max(reach), (to, is_stack));
                        }
                    }
                    assert_eq!(taken.iter().map(|area| area.range.pages()).sum::<usize>(), expected, "seed {seed}");
                }
                check(&map);
                let areas: Vec<_> =
                    map.iter().map(|area| (area.range.start() / PAGE_SIZE, area.range.end() / PAGE_SIZE)).collect();
                assert_eq!(areas, model.iter().map(|(start, (end, _))| (*start, *end)).collect::<Vec<_>>());
                assert_eq!(map.len(), model.len());

                let at = below(ARENA_PAGES);
                let found = map.find(at * PAGE_SIZE).map(|area| area.range.start() / PAGE_SIZE);
                let expected = model.iter().find(|(start, (end, _))| **start <= at && at < *end);
                assert_eq!(found, expected.map(|(start, _)| *start));
                let (lower, upper) = map.around(at * PAGE_SIZE);
                assert_eq!(
                    lower.map(|area| area.range.start() / PAGE_SIZE),
                    model.range(..at).next_back().map(|(from, _)| *from)
                );
                assert_eq!(
                    upper.map(|area| area.range.start() / PAGE_SIZE),
                    model.range(at..).next().map(|(from, _)| *from)
                );
                if let Some(start) = found {
                    let (lower, upper) = map.neighbours(at * PAGE_SIZE);
                    let expected = model.range(..start).next_back().map(|(from, _)| *from);
                    assert_eq!(lower.map(|area| area.range.start() / PAGE_SIZE), expected);
                    let expected = model.range(start + 1..).next().map(|(from, _)| *from);
                    assert_eq!(upper.map(|area| area.range.start() / PAGE_SIZE), expected);
                }
                let (len, floor, ceiling) = (1 + below(200), below(ARENA_PAGES / 2), below(ARENA_PAGES));
                let room = map.find_room(len * PAGE_SIZE, floor * PAGE_SIZE, ceiling * PAGE_SIZE);
                let expected = find_room_slowly(&model, len, floor, ceiling);
                assert_eq!(room.map(|start| start / PAGE_SIZE), expected, "seed {seed}, {len} pages");
            }
        }
    }

    #[test]
    fn leaves_at_both_ends_of_a_hole_are_joined_with_others() {
        let mut map = AreaMap::new();
        for index in 0..10 * LEAF_LEN_MAX {
            map.insert(area(index, index + 1, false));
        }
        // A short leaf before the end of the hole, and one that is cut short by it.
        let lens: Vec<usize> = map.leaves.iter().map(|leaf| leaf.areas.len()).collect();
        let (third, fifth) = (lens[..2].iter().sum::<usize>(), lens[..4].iter().sum::<usize>());
        for index in third + 1..third + lens[2] {
            map.take_one(index * PAGE_SIZE);
        }
        check(&map);
        take(&mut map, PageRange::new(PAGE_SIZE, (fifth + lens[4] - 1) * PAGE_SIZE));
        check(&map);
    }

    fn take(map: &mut AreaMap, range: PageRange) -> Vec<Area> {
        let mut seen = Vec::new();
        let taken = map.take(range, |area| seen.push(area.clone()));
        assert!(taken.0.is_empty(), "none of them has an object");
        seen
    }

    #[test]
    fn most_areas_have_some_thousand_leaves() {
        let mut map = AreaMap::new();
        for index in (0..65_530).rev() {
            map.insert(area(2 * index, 2 * index + 1, false));
        }
        check(&map);
        assert!(map.leaves.len() <= 6600, "{} leaves", map.leaves.len());
        let half = take(&mut map, PageRange::new(0, 65_530 * PAGE_SIZE));
        assert_eq!((half.len(), map.len()), (32_765, 32_765));
        check(&map);
        // What is left of each leaf is joined with others.
        for index in 32_765..65_530 {
            if index % 32 != 0 {
                assert!(map.take_one(2 * index * PAGE_SIZE).is_some());
            }
        }
        check(&map);
        assert!(map.leaves.len() <= 2 * map.len() / LEAF_PAIR_LEN_MIN + 1, "{} leaves", map.leaves.len());
        take(&mut map, PageRange::new(0, usize::MAX & !(PAGE_SIZE - 1)));
        assert!(map.leaves.is_empty() && map.len() == 0);
    }

    #[test]
    fn a_search_in_vain_makes_bounds_exact() {
        let mut map = AreaMap::new();
        map.insert(area(100, 101, false));
        map.insert(area(50, 100, false));
        assert_eq!(map.leaves[0].gap_max.get(), 100 * PAGE_SIZE);
        assert_eq!(map.find_room(60 * PAGE_SIZE, 0, 101 * PAGE_SIZE), None);
        assert_eq!(map.leaves[0].gap_max.get(), 50 * PAGE_SIZE);
        map.take_one(60 * PAGE_SIZE);
        assert_eq!(map.find_room(60 * PAGE_SIZE, 0, 101 * PAGE_SIZE), Some(40 * PAGE_SIZE));
    }

    #[test]
    fn modify_keeps_the_bounds() {
        let mut map = AreaMap::new();
        for index in 0..100 {
            map.insert(area(10 * index, 10 * index + 5, false));
        }
        assert_eq!(map.find_room(6 * PAGE_SIZE, 0, 990 * PAGE_SIZE), None);
        map.modify(500 * PAGE_SIZE, |area| area.move_end(502 * PAGE_SIZE));
        assert_eq!(map.find_room(6 * PAGE_SIZE, 0, 990 * PAGE_SIZE), Some(504 * PAGE_SIZE));
    }
}
