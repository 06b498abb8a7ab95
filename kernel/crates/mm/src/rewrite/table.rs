//! [`Table`]: the rewritten sites of an address space, and the room for their stubs.
//!
//! Stubs lie in pools, ranges of addresses near an image that cost memory only where there are stubs. A pool is wide so that
//! every site finds an address that fits it ([`place`](super::place)); its pages are used up one after the other.

use alloc::vec::Vec;

use super::index::PublishedIndex;
use super::place;
use super::stub::{CallPatch, Stub, distance};
use crate::PAGE_SIZE;
use crate::range::PageRange;

/// Bytes by which stubs are placed.
pub(super) const GRAIN: usize = 16;
pub(super) const GRAINS: usize = PAGE_SIZE / GRAIN;
/// Bytes of a pool: as many as there is room for.
pub(crate) const POOL_LENGTHS: [usize; 4] = [4 << 20, 2 << 20, 1 << 20, 256 << 10];
/// The most pools of an address space, and the most sites.
const POOLS_MAX: usize = 1024;
const SITES_MAX: usize = 1 << 18;

/// See the module.
#[derive(Default)]
pub(crate) struct Table {
    index: PublishedIndex,
    /// By the address of the site.
    stubs: Vec<Stub>,
    /// The address of a stub and of its site, by the former.
    sites: Vec<(usize, usize)>,
    pools: Vec<Pool>,
}

/// Room for stubs.
#[derive(Clone)]
struct Pool {
    range: PageRange,
    pages: Vec<Page>,
    stubs: usize,
}

/// A page with stubs.
#[derive(Clone, Copy)]
struct Page {
    address: usize,
    /// Which grains are taken.
    taken: [u64; GRAINS / 64],
}

impl Page {
    fn is_free(&self, first: usize, count: usize) -> bool {
        (first..first + count).all(|grain| self.taken[grain / 64] >> (grain % 64) & 1 == 0)
    }

    fn set(&mut self, first: usize, count: usize, is_taken: bool) {
        for grain in first..(first + count).min(GRAINS) {
            let bit = 1 << (grain % 64);
            self.taken[grain / 64] =
                if is_taken { self.taken[grain / 64] | bit } else { self.taken[grain / 64] & !bit };
        }
    }

    /// A place in the page for the stub of a site.
    fn find(&self, site: usize, patch: &CallPatch) -> Option<usize> {
        if !place::may_fit_page(site, self.address, patch.starts) {
            return None;
        }
        let count = patch.stub_len().div_ceil(GRAIN);
        (0..=GRAINS - count)
            .find(|&grain| place::fits(site, self.address + grain * GRAIN, patch.starts) && self.is_free(grain, count))
    }
}

impl Pool {
    /// Takes room for a stub.
    fn take(&mut self, site: usize, patch: &CallPatch) -> Option<usize> {
        // Near both ends: near all of it.
        distance(site, self.range.start()).and(distance(site, self.range.end()))?;
        let count = patch.stub_len().div_ceil(GRAIN);
        let fitting = |(index, page): (usize, &Page)| page.find(site, patch).map(|grain| (index, grain));
        let found = self.pages.iter().enumerate().find_map(fitting).or_else(|| self.add_page(site, patch));
        let (index, grain) = found?;
        let page = self.pages.get_mut(index)?;
        page.set(grain, count, true);
        self.stubs += 1;
        Some(page.address + grain * GRAIN)
    }

    /// Adds a page in which the stub has room, and answers which.
    fn add_page(&mut self, site: usize, patch: &CallPatch) -> Option<(usize, usize)> {
        let pages = &self.pages;
        let unused = self.range.page_addresses().filter(|&address| pages.iter().all(|page| page.address != address));
        let (page, grain) = unused
            .map(|address| Page { address, taken: [0; GRAINS / 64] })
            .find_map(|page| page.find(site, patch).map(|grain| (page, grain)))?;
        self.pages.push(page);
        Some((self.pages.len() - 1, grain))
    }

    fn give_back(&mut self, stub: &Stub) {
        let count = stub.patch.stub_len().div_ceil(GRAIN);
        let page = self.pages.iter_mut().find(|page| (page.address..page.address + PAGE_SIZE).contains(&stub.at));
        if let Some(page) = page {
            page.set((stub.at - page.address) / GRAIN, count, false);
            self.stubs -= 1;
        }
    }
}

/// Whether a pool in this range would have a place for the stub of a site.
pub(crate) fn has_place(range: PageRange, site: usize, patch: &CallPatch) -> bool {
    Pool { range, pages: Vec::new(), stubs: 0 }.take(site, patch).is_some()
}

impl Clone for Table {
    /// The same in another address space.
    fn clone(&self) -> Self {
        let Self { index: _, stubs, sites, pools } = self;
        Self { index: PublishedIndex::default(), stubs: stubs.clone(), sites: sites.clone(), pools: pools.clone() }
    }
}

impl Table {
    /// The index that is read without a lock.
    pub(crate) fn index(&self) -> &PublishedIndex {
        &self.index
    }

    /// All stubs, by the address of the site.
    pub(crate) fn stubs(&self) -> &[Stub] {
        &self.stubs
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// The pool that has a part of `range`, if one has.
    pub(crate) fn pool_in(&self, range: PageRange) -> Option<PageRange> {
        self.pools.iter().map(|pool| pool.range).find(|pool| pool.overlaps(range))
    }

    /// Adds a pool. False: there are enough.
    pub(crate) fn add_pool(&mut self, range: PageRange) -> bool {
        let may = self.pools.len() < POOLS_MAX;
        if may {
            self.pools.push(Pool { range, pages: Vec::new(), stubs: 0 });
        }
        may
    }

    /// Takes room for the stub of a site that has none.
    pub(crate) fn take(&mut self, site: usize, patch: CallPatch) -> Option<Stub> {
        if self.stubs.len() >= SITES_MAX {
            return None;
        }
        let at = self.pools.iter_mut().find_map(|pool| pool.take(site, &patch))?;
        let stub = Stub { site, at, patch };
        self.index.withdraw();
        self.stubs.insert(self.stubs.partition_point(|other| other.site < site), stub);
        self.sites.insert(self.sites.partition_point(|(other, _)| *other < at), (at, site));
        Some(stub)
    }

    /// The site that covers `address`.
    pub(crate) fn covering(&self, address: usize) -> Option<&Stub> {
        let index = self.stubs.partition_point(|stub| stub.site <= address).checked_sub(1)?;
        self.stubs.get(index).filter(|stub| address < stub.site_end())
    }

    /// The stub in which `address` lies.
    pub(crate) fn around(&self, address: usize) -> Option<&Stub> {
        let index = self.sites.partition_point(|(at, _)| *at <= address).checked_sub(1)?;
        let (_, site) = self.sites.get(index)?;
        self.covering(*site).filter(|stub| address < stub.end())
    }

    /// The sites that begin in `range`.
    pub(crate) fn in_range(&self, range: PageRange) -> &[Stub] {
        let first = self.stubs.partition_point(|stub| stub.site < range.start());
        let last = self.stubs.partition_point(|stub| stub.site < range.end());
        self.stubs.get(first..last).unwrap_or_default()
    }

    /// Forgets the sites that begin in `range`. False: there are none.
    pub(crate) fn forget(&mut self, range: PageRange) -> bool {
        let (Some(lowest), Some(highest)) = (self.stubs.first(), self.stubs.last()) else { return false };
        if range.end() <= lowest.site || highest.site < range.start() {
            return false;
        }
        self.index.withdraw();
        let first = self.stubs.partition_point(|stub| stub.site < range.start());
        let last = self.stubs.partition_point(|stub| stub.site < range.end());
        for stub in self.stubs.drain(first..last.max(first)) {
            if let Ok(index) = self.sites.binary_search(&(stub.at, stub.site)) {
                self.sites.remove(index);
            }
            if let Some(pool) = self.pools.iter_mut().find(|pool| pool.range.contains(stub.at)) {
                pool.give_back(&stub);
            }
        }
        true
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.index.withdraw();
        *self = Self { index: self.index.clone(), ..Self::default() };
    }

    /// Takes out a pool without stubs.
    pub(crate) fn take_unused_pool(&mut self) -> Option<PageRange> {
        let index = self.pools.iter().position(|pool| pool.stubs == 0)?;
        Some(self.pools.swap_remove(index).range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(starts: u32) -> CallPatch {
        CallPatch { length: 9, syscall_at: 9, starts, is_full: false, checksum: 0 }
    }

    #[test]
    fn every_site_finds_room_and_gives_it_back() {
        let mut table = Table::default();
        let text = 0x5555_5555_4000;
        let pool = PageRange::new(text - 0x1580_0000, text - 0x1580_0000 + POOL_LENGTHS[0]);
        assert!(table.add_pool(pool));
        let sites: Vec<usize> = (0..3000).map(|index| text + index * 37).collect();
        for (index, &site) in sites.iter().enumerate() {
            // What began at the first byte of the distance is rare; all else is tried.
            let starts = [0b1, 0b101, 0b1001, 0b1_0001, 0b1101, 0b1_0101, 0b1_1001, 0b1_1101][index % 8];
            let stub = table.take(site, patch(starts)).expect("there is room");
            assert!(pool.contains(stub.at) && pool.contains(stub.end() - 1) && place::fits(site, stub.at, starts));
            assert_eq!(stub.at / PAGE_SIZE, (stub.end() - 1) / PAGE_SIZE);
        }
        let index = table.index().clone();
        assert_eq!(index.original(pool.start()), None);
        index.publish(&table);
        assert_eq!(index.original(pool.start() - 1), Some(None));
        for &site in &sites {
            let stub = *table.covering(site + 8).unwrap();
            assert_eq!(index.original(stub.at).unwrap().unwrap().address, site);
            assert_eq!(index.original(stub.end() - 1), Some(Some(stub.original(stub.end() - 1))));
            assert_eq!(stub.site, site);
            assert_eq!(table.around(stub.at), Some(&stub));
            assert_eq!(table.around(stub.end() - 1), Some(&stub));
        }
        assert!(table.covering(sites[0] + 9).is_none());
        assert_eq!(table.pool_in(PageRange::new(text, text + PAGE_SIZE)), None);
        assert_eq!(table.pool_in(pool), Some(pool));
        let some = PageRange::new(text, text + PAGE_SIZE);
        assert!(!table.in_range(some).is_empty());
        assert!(table.forget(some));
        assert_eq!(index.original(pool.start()), None);
        assert_eq!(table.take_unused_pool(), None);
        assert!(table.in_range(some).is_empty() && table.covering(sites[0]).is_none());
        assert!(!table.forget(PageRange::new(0, text)));
        assert!(table.forget(PageRange::new(0, crate::USER_END)));
        assert_eq!(table.take_unused_pool(), Some(pool));
        assert!(table.is_empty());
    }

    #[test]
    fn stubs_do_not_overlap() {
        let mut table = Table::default();
        assert!(table.add_pool(PageRange::new(0x10_0000, 0x10_0000 + POOL_LENGTHS[3])));
        let mut ends = Vec::new();
        for index in 0..500 {
            let Some(stub) = table.take(0x40_0000 + index * 16, patch(0b101)) else { break };
            ends.push((stub.at, stub.end()));
        }
        assert!(ends.len() > 400, "{}", ends.len());
        ends.sort_unstable();
        assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }
}
