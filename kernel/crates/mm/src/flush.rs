//! What one flush of translations covers, when several CPUs may have them cached.
//!
//! Interrupting another CPU costs far more than flushing a page, so an operation gathers everything it took away in one
//! [`FlushPlan`] and flushes once, at its end. The plan is small and of fixed size, because other CPUs read it: a few
//! ranges, and above [`PAGES_MAX`] pages or [`RANGES_MAX`] ranges simply everything, which is cheaper then.
//!
//! 1. A plan covers every page that was added to it, and may cover more.
//! 2. Neighbours and overlapping ranges become one, so that a walk in either direction needs one range.
//!
//! It decides; it flushes nothing, and knows no CPU.

use crate::PAGE_SIZE;

/// More pages than these are flushed as everything: the bound at which Linux does it too.
pub const PAGES_MAX: usize = 33;
/// More separate ranges than these are flushed as everything.
pub const RANGES_MAX: usize = 4;

/// The pages whose translations must go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushPlan {
    ranges: [(usize, usize); RANGES_MAX],
    len: usize,
    pages: usize,
    is_everything: bool,
    frees_tables: bool,
}

impl FlushPlan {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: [(0, 0); RANGES_MAX], len: 0, pages: 0, is_everything: false, frees_tables: false }
    }

    /// One page.
    #[must_use]
    pub fn page(address: usize) -> Self {
        let mut plan = Self::new();
        plan.add(address, 1);
        plan
    }

    /// Everything that can be cached of an address space.
    #[must_use]
    pub fn everything() -> Self {
        Self { is_everything: true, ..Self::new() }
    }

    /// Adds `pages` pages from `address` on.
    #[inline]
    pub fn add(&mut self, address: usize, pages: usize) {
        debug_assert!(address.is_multiple_of(PAGE_SIZE), "not the address of a page");
        if self.is_everything || pages == 0 {
            return;
        }
        let end = pages.checked_mul(PAGE_SIZE).and_then(|bytes| address.checked_add(bytes));
        let Some(end) = end.filter(|_| pages <= PAGES_MAX) else { return self.become_everything() };
        let known = self.ranges.get_mut(..self.len).unwrap_or_default();
        if let Some((first, last)) = known.iter_mut().find(|(first, last)| address <= *last && *first <= end) {
            let before = *last - *first;
            (*first, *last) = ((*first).min(address), (*last).max(end));
            self.pages += (*last - *first - before) / PAGE_SIZE;
        } else if let Some(slot) = self.ranges.get_mut(self.len) {
            *slot = (address, end);
            self.len += 1;
            self.pages += pages;
        } else {
            return self.become_everything();
        }
        if self.pages > PAGES_MAX {
            self.become_everything();
        }
    }

    /// Notes that tables were unlinked and will be used for something else: CPUs that are idle must flush as well, because
    /// they may walk tables on a guess.
    pub fn add_tables(&mut self) {
        self.frees_tables = true;
    }

    /// Whether tables were unlinked.
    #[must_use]
    pub fn frees_tables(&self) -> bool {
        self.frees_tables
    }

    /// Whether there is nothing to flush.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0 && !self.is_everything && !self.frees_tables
    }

    /// The ranges, as first address and end; none when everything is to be flushed.
    #[must_use]
    pub fn ranges(&self) -> Option<&[(usize, usize)]> {
        if self.is_everything { None } else { Some(self.ranges.get(..self.len).unwrap_or_default()) }
    }

    fn become_everything(&mut self) {
        *self = Self { is_everything: true, frees_tables: self.frees_tables, ..Self::new() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: usize = 0x40_0000;

    fn at(page: usize) -> usize {
        BASE + page * PAGE_SIZE
    }

    #[test]
    fn a_walk_in_either_direction_is_one_range() {
        let (mut up, mut down) = (FlushPlan::new(), FlushPlan::new());
        for page in 0..PAGES_MAX {
            up.add(at(page), 1);
            down.add(at(PAGES_MAX - 1 - page), 1);
        }
        let whole = [(at(0), at(PAGES_MAX))];
        assert_eq!(up.ranges(), Some(&whole[..]));
        assert_eq!(down.ranges(), Some(&whole[..]));
        up.add(at(PAGES_MAX), 1);
        assert_eq!(up.ranges(), None);
    }

    #[test]
    fn pages_that_are_there_cost_nothing() {
        let mut plan = FlushPlan::new();
        for _ in 0..1000 {
            plan.add(at(3), 2);
        }
        assert_eq!(plan.ranges(), Some(&[(at(3), at(5))][..]));
    }

    #[test]
    fn many_ranges_are_everything() {
        let mut plan = FlushPlan::new();
        assert!(plan.is_empty());
        for range in 0..RANGES_MAX {
            plan.add(at(range * 2), 1);
        }
        assert_eq!(plan.ranges().map(<[_]>::len), Some(RANGES_MAX));
        plan.add(at(100), 1);
        assert_eq!(plan.ranges(), None);
        assert!(!plan.is_empty());
    }

    #[test]
    fn large_and_impossible_ranges_are_everything() {
        for pages in [PAGES_MAX + 1, usize::MAX, usize::MAX / PAGE_SIZE] {
            let mut plan = FlushPlan::new();
            plan.add(BASE, pages);
            assert_eq!(plan.ranges(), None, "{pages}");
        }
    }

    #[test]
    fn tables_are_remembered() {
        let mut plan = FlushPlan::page(BASE);
        assert!(!plan.frees_tables());
        plan.add_tables();
        plan.add(at(1), PAGES_MAX + 1);
        assert!(plan.frees_tables() && plan.ranges().is_none());
    }

    #[test]
    fn every_page_added_is_covered() {
        let mut seed = 0x1234_5678_9abc_def1_u64;
        let mut random = |limit: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed >> 33).unwrap() % limit
        };
        for _ in 0..2000 {
            let mut plan = FlushPlan::new();
            let mut added = Vec::new();
            for _ in 0..random(12) {
                let (page, count) = (random(60), random(6));
                plan.add(at(page), count);
                added.extend((page..page + count).map(at));
            }
            if let Some(ranges) = plan.ranges() {
                let covered = |page: usize| ranges.iter().any(|(start, end)| (*start..*end).contains(&page));
                assert!(added.iter().all(|page| covered(*page)), "{ranges:x?} {added:x?}");
                assert!(ranges.iter().map(|(start, end)| (end - start) / PAGE_SIZE).sum::<usize>() <= PAGES_MAX);
            }
        }
    }
}
