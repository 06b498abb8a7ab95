//! [`StubIndex`]: which stub an address is in, for those who must not wait.
//!
//! A copy of what the [`Table`] knows, sorted for this one question and read under RCU. It is made by the first who
//! asks after the table has changed, and thrown away by the next change: tables change while programs start, and are
//! asked when signals arrive.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use sync::rcu::{self, RcuCell};

use super::table::{GRAIN, GRAINS, Table};
use super::{OriginalAddress, Stub};
use crate::PAGE_SIZE;
use crate::range::page_down;

/// All stubs of an address space.
struct StubIndex {
    /// Pages with stubs, in order.
    pages: Vec<StubPage>,
    /// By address.
    stubs: Box<[Stub]>,
}

/// A page with stubs, none of which reaches beyond it.
struct StubPage {
    address: usize,
    /// The place of its first stub among all.
    first: usize,
    /// Which of its stubs covers each grain, counted from one; zero: none does.
    numbers: [u8; GRAINS],
}

impl StubIndex {
    fn of(table: &Table) -> Self {
        let mut stubs: Vec<Stub> = table.stubs().to_vec();
        stubs.sort_unstable_by_key(|stub| stub.at);
        let mut pages: Vec<StubPage> = Vec::new();
        for (place, stub) in stubs.iter().enumerate() {
            let address = page_down(stub.at);
            if pages.last().is_none_or(|page| page.address != address) {
                pages.push(StubPage { address, first: place, numbers: [0; GRAINS] });
            }
            let Some(page) = pages.last_mut() else { break };
            let grains = (stub.at - address) / GRAIN..(stub.end() - address).div_ceil(GRAIN);
            // A stub has two grains at least, so that its number fits.
            let number = u8::try_from(place - page.first + 1).unwrap_or(0);
            page.numbers.get_mut(grains).into_iter().flatten().for_each(|grain| *grain = number);
        }
        Self { pages, stubs: stubs.into_boxed_slice() }
    }

    #[inline]
    fn original(&self, address: usize) -> Option<OriginalAddress> {
        let page = self.pages.binary_search_by_key(&page_down(address), |page| page.address).ok()?;
        let page = self.pages.get(page)?;
        let number = page.numbers[address % PAGE_SIZE / GRAIN];
        let stub = self.stubs.get(page.first + usize::from(number).checked_sub(1)?)?;
        (address < stub.end()).then(|| stub.original(address))
    }
}

/// The index of a table, while it is up to date.
#[derive(Clone)]
pub(crate) struct PublishedIndex(Arc<RcuCell<Option<StubIndex>>>);

impl Default for PublishedIndex {
    fn default() -> Self {
        Self(Arc::new(RcuCell::new(Arc::new(None))))
    }
}

impl PublishedIndex {
    /// Where the program is in its own code when it is at `address` in a stub. None: there is no index.
    #[inline]
    pub(crate) fn original(&self, address: usize) -> Option<Option<OriginalAddress>> {
        self.0.get(&rcu::read()).as_ref().map(|index| index.original(address))
    }

    /// Makes an index unless there is one. The table is not changed meanwhile.
    pub(crate) fn publish(&self, table: &Table) {
        let is_there = self.0.get(&rcu::read()).is_some();
        if !is_there {
            self.0.replace(Arc::new(Some(StubIndex::of(table))));
        }
    }

    /// Throws the index away, as the table changes. Who found it before has asked before the change.
    pub(crate) fn withdraw(&self) {
        let is_there = self.0.get(&rcu::read()).is_some();
        if is_there {
            self.0.replace(Arc::new(None));
        }
    }
}
