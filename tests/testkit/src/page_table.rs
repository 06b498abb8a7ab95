//! A page table as a map.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use abi::Errno;
use mm::{Access, Frame, FrameNumber, PAGE_SIZE, PageCounts, PageEntry, PageKind, PageRange, PageTable, Rights};

use crate::machine::lock;

/// One present entry.
#[derive(Debug)]
pub struct Entry {
    /// The mapped frame.
    pub frame: Frame,
    /// The rights.
    pub rights: Rights,
    /// Who owns the contents.
    pub kind: PageKind,
    /// Set by accesses through [`FakePageTable::reach`].
    pub accessed: bool,
    /// Set by stores through [`FakePageTable::reach`].
    pub dirty: bool,
}

type Entries = Mutex<BTreeMap<usize, Entry>>;

/// The entries of every living page table, by its root.
static TABLES: Mutex<BTreeMap<u64, Weak<Entries>>> = Mutex::new(BTreeMap::new());
static LAST_ROOT: AtomicU64 = AtomicU64::new(0);

/// The fake of the page table seam. Clones are views of the same table.
#[derive(Clone, Debug)]
pub struct FakePageTable {
    root: u64,
    entries: Arc<Entries>,
}

impl Default for FakePageTable {
    fn default() -> Self {
        Self::new()
    }
}

impl FakePageTable {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        let root = (LAST_ROOT.fetch_add(1, Ordering::Relaxed) + 1) * PAGE_SIZE as u64;
        let entries = Arc::<Entries>::default();
        lock(&TABLES).insert(root, Arc::downgrade(&entries));
        Self { root, entries }
    }

    /// The table whose root is `root`, as a CPU finds it.
    #[must_use]
    pub fn of_root(root: u64) -> Option<Self> {
        let entries = lock(&TABLES).get(&root).and_then(Weak::upgrade)?;
        Some(Self { root, entries })
    }

    /// The frame an access at `address` reaches now, if it needs no fault. Sets the accessed and dirty bits.
    #[must_use]
    pub fn reach(&self, address: usize, access: Access) -> Option<FrameNumber> {
        self.touch(address, access, Frame::number)
    }

    /// Does something with that frame. As on hardware, the page is not taken away meanwhile.
    pub fn touch<R>(&self, address: usize, access: Access, act: impl FnOnce(&Frame) -> R) -> Option<R> {
        let needed = match access {
            Access::Read => Rights::READ,
            Access::Write => Rights::WRITE,
            Access::Execute => Rights::EXECUTE,
        };
        let mut entries = self.entries();
        let entry = entries.get_mut(&(address & !(PAGE_SIZE - 1))).filter(|entry| entry.rights.contains(needed))?;
        entry.accessed = true;
        entry.dirty |= access == Access::Write;
        Some(act(&entry.frame))
    }

    /// All entries, by address.
    pub fn entries(&self) -> MutexGuard<'_, BTreeMap<usize, Entry>> {
        lock(&self.entries)
    }
}

impl PageTable for FakePageTable {
    fn root(&self) -> u64 {
        self.root
    }

    fn map(&mut self, address: usize, frame: Frame, rights: Rights, kind: PageKind) -> Result<(), Errno> {
        assert!(address.is_multiple_of(PAGE_SIZE), "an unaligned page");
        let before = self.entries().insert(address, Entry::new(frame, rights, kind));
        assert!(before.is_none(), "map over an entry at {address:#x}");
        Ok(())
    }

    fn replace(&mut self, address: usize, frame: Frame, rights: Rights, kind: PageKind) {
        let before = self.entries().insert(address, Entry::new(frame, rights, kind));
        assert!(before.is_some(), "replace without an entry at {address:#x}");
    }

    fn unmap(&mut self, address: usize) -> Option<Frame> {
        self.entries().remove(&address).map(|entry| entry.frame)
    }

    fn protect(&mut self, address: usize, rights: Rights) {
        if let Some(entry) = self.entries().get_mut(&address) {
            entry.rights = rights;
        }
    }

    fn lookup(&self, address: usize) -> Option<PageEntry> {
        self.entries().get(&address).map(Entry::as_seen)
    }

    fn next_present(&self, range: PageRange) -> Option<(usize, PageEntry)> {
        let entries = self.entries();
        let (address, entry) = entries.range(range.start()..range.end()).next()?;
        Some((*address, entry.as_seen()))
    }

    fn unmap_range(&mut self, range: PageRange) -> PageCounts {
        let mut entries = self.entries();
        let mut counts = PageCounts::default();
        for address in addresses(&entries, range) {
            if let Some(entry) = entries.remove(&address) {
                counts.add(entry.kind);
            }
        }
        counts
    }

    fn take_unused(&mut self, range: PageRange, takes_used: bool, is_wanted: &dyn Fn(usize) -> bool) -> PageCounts {
        let mut entries = self.entries();
        let mut counts = PageCounts::default();
        for address in addresses(&entries, range).into_iter().filter(|address| is_wanted(*address)) {
            let Some(entry) = entries.get_mut(&address).filter(|entry| entry.kind == PageKind::File) else { continue };
            if !core::mem::take(&mut entry.accessed) || takes_used {
                counts.add(entry.kind);
                entries.remove(&address);
            }
        }
        counts
    }

    fn protect_range(&mut self, range: PageRange, rights: Rights) {
        for entry in self.entries().range_mut(range.start()..range.end()).map(|(_, entry)| entry) {
            let may_store = entry.kind == PageKind::Anonymous && entry.frame.is_exclusive();
            entry.rights = if may_store { rights } else { rights - Rights::WRITE };
        }
    }

    fn move_range(&mut self, from: PageRange, to: usize) -> Result<(), Errno> {
        let mut entries = self.entries();
        for address in addresses(&entries, from) {
            let Some(entry) = entries.remove(&address) else { continue };
            let before = entries.insert(address - from.start() + to, entry);
            assert!(before.is_none(), "move over an entry");
        }
        Ok(())
    }
}

impl Entry {
    fn new(frame: Frame, rights: Rights, kind: PageKind) -> Self {
        assert!(rights.is_empty() || rights.contains(Rights::READ), "x86 cannot deny loads");
        Self { frame, rights, kind, accessed: false, dirty: false }
    }

    fn as_seen(&self) -> PageEntry {
        let Self { rights, kind, accessed, dirty, .. } = *self;
        PageEntry { frame: self.frame.number(), rights, kind, accessed, dirty }
    }
}

fn addresses(entries: &BTreeMap<usize, Entry>, range: PageRange) -> Vec<usize> {
    entries.range(range.start()..range.end()).map(|(address, _)| *address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames;

    const PAGE: usize = 0x40_0000;

    fn table_with_a_page() -> FakePageTable {
        frames::install();
        let mut table = FakePageTable::new();
        table.map(PAGE, Frame::allocate().unwrap(), Rights::READ | Rights::WRITE, PageKind::Anonymous).unwrap();
        table
    }

    #[test]
    fn accesses_need_rights_and_leave_marks() {
        let table = table_with_a_page();
        assert!(table.reach(PAGE + 5, Access::Execute).is_none());
        assert!(table.reach(PAGE - 1, Access::Read).is_none());
        assert!(table.reach(PAGE + 5, Access::Read).is_some());
        let entry = table.lookup(PAGE).unwrap();
        assert!(entry.accessed && !entry.dirty);
        assert!(table.reach(PAGE + 5, Access::Write).is_some());
        assert!(table.lookup(PAGE).unwrap().dirty);
    }

    #[test]
    fn a_shared_frame_is_not_made_writable() {
        let mut table = table_with_a_page();
        let range = PageRange::new(PAGE, PAGE + PAGE_SIZE);
        let copy = Frame::share(table.lookup(PAGE).unwrap().frame);
        table.protect_range(range, Rights::READ | Rights::WRITE);
        assert_eq!(table.lookup(PAGE).unwrap().rights, Rights::READ);
        drop(copy);
        table.protect_range(range, Rights::READ | Rights::WRITE);
        assert_eq!(table.lookup(PAGE).unwrap().rights, Rights::READ | Rights::WRITE);
    }

    #[test]
    fn entries_move_and_go_with_their_frames() {
        let mut table = table_with_a_page();
        let view = FakePageTable::of_root(table.root()).unwrap();
        let to = PAGE + 16 * PAGE_SIZE;
        table.move_range(PageRange::new(PAGE, PAGE + PAGE_SIZE), to).unwrap();
        assert_eq!(view.next_present(PageRange::new(0, to + PAGE_SIZE)).map(|(address, _)| address), Some(to));
        let counts = table.unmap_range(PageRange::new(to, to + PAGE_SIZE));
        assert_eq!(counts, PageCounts { anonymous: 1, ..PageCounts::default() });
        assert_eq!(frames::used(), 0);
        let root = table.root();
        drop((table, view));
        assert!(FakePageTable::of_root(root).is_none());
    }
}
