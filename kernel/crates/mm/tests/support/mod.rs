//! A machine for the tests: frames on the heap, a page table in a map, and a CPU that loads and stores
//! through it, faulting into the address space as hardware does.
//!
//! Every test thread has its own frames, so tests run side by side and each can count its own.
#![expect(dead_code, reason = "every test file uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod seam;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use abi::Errno;
use mm::{
    Access, AddressSpace, CodeSite, FaultError, Frame, FrameMachine, FrameNumber, FrameStatistics, Layout,
    MappedObject, Mappings, PAGE_SIZE, PageCounts, PageEntry, PageKind, PageRange, PageTable, Rights, frame,
};

/// Where test address spaces place mappings from.
pub(crate) const MMAP_BASE: usize = 0x7f00_0000_0000;
/// Memory of the fake machine.
pub(crate) const FRAMES_TOTAL: u64 = 1 << 16;

struct Slot {
    references: u32,
    data: Box<[u8; PAGE_SIZE]>,
}

/// The frames of one test thread.
#[derive(Default)]
struct Pool {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Allocations until they begin to fail.
    budget: Option<u64>,
}

const ZERO_FRAME: u32 = u32::MAX;
const PINNED: u32 = 1 << 31;

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
    static CURRENT: RefCell<Option<Cpu>> = const { RefCell::new(None) };
}

/// The fake of the frame seam.
struct Frames;

static FRAMES: Frames = Frames;

fn with_slot<R>(number: FrameNumber, act: impl FnOnce(&mut Slot) -> R) -> R {
    POOL.with_borrow_mut(|pool| {
        let slot = &mut pool.slots[number.index() as usize];
        assert!(slot.references > 0, "use of a free frame {number:?}");
        act(slot)
    })
}

impl FrameMachine for Frames {
    fn allocate(&self) -> Option<FrameNumber> {
        POOL.with_borrow_mut(|pool| {
            if let Some(budget) = &mut pool.budget {
                *budget = budget.checked_sub(1)?;
            }
            let index = pool.free.pop().unwrap_or_else(|| {
                pool.slots.push(Slot { references: 0, data: Box::new([0; PAGE_SIZE]) });
                u32::try_from(pool.slots.len() - 1).unwrap()
            });
            let slot = &mut pool.slots[index as usize];
            slot.references = 1;
            // Contents are undefined: make a use of them show.
            slot.data.fill(0xa5);
            Some(FrameNumber::new(index))
        })
    }

    fn acquire(&self, frame: FrameNumber) {
        if frame.index() != ZERO_FRAME {
            with_slot(frame, |slot| slot.references += 1);
        }
    }

    fn release(&self, frame: FrameNumber) {
        if frame.index() == ZERO_FRAME {
            return;
        }
        if with_slot(frame, |slot| {
            slot.references -= 1;
            slot.references == 0
        }) {
            POOL.with_borrow_mut(|pool| pool.free.push(frame.index()));
        }
    }

    fn reference_count(&self, frame: FrameNumber) -> u32 {
        if frame.index() == ZERO_FRAME { PINNED } else { with_slot(frame, |slot| slot.references) }
    }

    fn read(&self, frame: FrameNumber, offset: usize, destination: &mut [u8]) {
        if frame.index() == ZERO_FRAME {
            return destination.fill(0);
        }
        with_slot(frame, |slot| destination.copy_from_slice(&slot.data[offset..offset + destination.len()]));
    }

    fn write(&self, frame: FrameNumber, offset: usize, source: &[u8]) {
        assert_ne!(frame.index(), ZERO_FRAME, "a store to the zero page");
        with_slot(frame, |slot| slot.data[offset..offset + source.len()].copy_from_slice(source));
    }

    fn zero(&self, frame: FrameNumber) {
        with_slot(frame, |slot| slot.data.fill(0));
    }

    fn copy(&self, from: FrameNumber, to: FrameNumber) {
        let mut bytes = [0; PAGE_SIZE];
        self.read(from, 0, &mut bytes);
        self.write(to, 0, &bytes);
    }

    fn copy_to_user(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        seam::copy_out(frame, offset, address, len, true)
    }

    fn copy_from_user(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        seam::copy_in(frame, offset, address, len, true)
    }

    fn copy_to_user_nofault(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        seam::copy_out(frame, offset, address, len, false)
    }

    fn copy_from_user_nofault(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        seam::copy_in(frame, offset, address, len, false)
    }

    fn of_static(&self, _: &'static [u8]) -> Option<FrameNumber> {
        None
    }

    fn zero_frame(&self) -> FrameNumber {
        FrameNumber::new(ZERO_FRAME)
    }

    fn statistics(&self) -> FrameStatistics {
        FrameStatistics { total: FRAMES_TOTAL, free: FRAMES_TOTAL - frames_used(), cached: 0 }
    }
}

/// Frames in use by this test.
pub(crate) fn frames_used() -> u64 {
    POOL.with_borrow(|pool| (pool.slots.len() - pool.free.len()) as u64)
}

/// Lets `budget` more allocations of frames succeed; None is no limit.
pub(crate) fn set_frame_budget(budget: Option<u64>) {
    POOL.with_borrow_mut(|pool| pool.budget = budget);
}

struct Entry {
    frame: Frame,
    rights: Rights,
    kind: PageKind,
}

type Entries = Arc<Mutex<BTreeMap<usize, Entry>>>;

/// The fake of the page table seam.
pub(crate) struct FakePageTable(Entries);

impl PageTable for FakePageTable {
    fn root(&self) -> u64 {
        0x1000
    }

    fn map(&mut self, address: usize, frame: Frame, rights: Rights, kind: PageKind) -> Result<(), Errno> {
        assert!(address.is_multiple_of(PAGE_SIZE));
        let before = self.0.lock().unwrap().insert(address, Entry { frame, rights, kind });
        assert!(before.is_none(), "map over an entry");
        Ok(())
    }

    fn replace(&mut self, address: usize, frame: Frame, rights: Rights, kind: PageKind) {
        let before = self.0.lock().unwrap().insert(address, Entry { frame, rights, kind });
        assert!(before.is_some(), "replace without an entry");
    }

    fn unmap(&mut self, address: usize) -> Option<Frame> {
        self.0.lock().unwrap().remove(&address).map(|entry| entry.frame)
    }

    fn protect(&mut self, address: usize, rights: Rights) {
        if let Some(entry) = self.0.lock().unwrap().get_mut(&address) {
            entry.rights = rights;
        }
    }

    fn lookup(&self, address: usize) -> Option<PageEntry> {
        self.0.lock().unwrap().get(&address).map(page_entry)
    }

    fn next_present(&self, range: PageRange) -> Option<(usize, PageEntry)> {
        let entries = self.0.lock().unwrap();
        entries.range(range.start()..range.end()).next().map(|(address, entry)| (*address, page_entry(entry)))
    }

    fn unmap_range(&mut self, range: PageRange) -> PageCounts {
        let mut entries = self.0.lock().unwrap();
        let mut counts = PageCounts::default();
        let removed: Vec<usize> = entries.range(range.start()..range.end()).map(|(address, _)| *address).collect();
        for address in removed {
            counts.add(entries.remove(&address).unwrap().kind);
        }
        counts
    }

    fn protect_range(&mut self, range: PageRange, rights: Rights) {
        for (_, entry) in self.0.lock().unwrap().range_mut(range.start()..range.end()) {
            let may_store = entry.kind == PageKind::Anonymous && entry.frame.is_exclusive();
            entry.rights = if may_store { rights } else { rights - Rights::WRITE };
        }
    }

    fn move_range(&mut self, from: PageRange, to: usize) -> Result<(), Errno> {
        let mut entries = self.0.lock().unwrap();
        let moved: Vec<usize> = entries.range(from.start()..from.end()).map(|(address, _)| *address).collect();
        for address in moved {
            let entry = entries.remove(&address).unwrap();
            let before = entries.insert(address - from.start() + to, entry);
            assert!(before.is_none(), "move over an entry");
        }
        Ok(())
    }
}

fn page_entry(entry: &Entry) -> PageEntry {
    PageEntry { frame: entry.frame.number(), rights: entry.rights, kind: entry.kind, accessed: false, dirty: false }
}

/// An address space and a CPU that runs in it.
#[derive(Clone)]
pub(crate) struct Cpu {
    pub(crate) space: Arc<AddressSpace>,
    entries: Entries,
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

impl Cpu {
    pub(crate) fn new() -> Self {
        frame::install(&FRAMES);
        let entries = Entries::default();
        let space = AddressSpace::new(Box::new(FakePageTable(entries.clone())), Layout { mmap_base: MMAP_BASE });
        Self { space, entries }
    }

    pub(crate) fn fork(&self) -> Result<Self, Errno> {
        let entries = Entries::default();
        let space = self.space.fork(Box::new(FakePageTable(entries.clone())))?;
        Ok(Self { space, entries })
    }

    /// Makes this the address space that `sync::machine` and frames copy from and to, in this thread.
    pub(crate) fn make_current(&self) {
        CURRENT.set(Some(self.clone()));
    }

    /// The frame an access at `address` reaches now, if it needs no fault.
    fn reach(&self, address: usize, access: Access) -> Option<FrameNumber> {
        let needed = match access {
            Access::Read => Rights::READ,
            Access::Write => Rights::WRITE,
            Access::Execute => Rights::EXECUTE,
        };
        let entries = self.entries.lock().unwrap();
        entries
            .get(&(address & !(PAGE_SIZE - 1)))
            .filter(|entry| entry.rights.contains(needed))
            .map(|entry| entry.frame.number())
    }

    /// The frame an access at `address` reaches, after faults.
    fn access(&self, address: usize, access: Access) -> Result<FrameNumber, FaultError> {
        // A fault that does not help within a few turns never will.
        for _ in 0..4 {
            match self.reach(address, access) {
                Some(frame) => return Ok(frame),
                None => self.space.fault(address, access)?,
            }
        }
        panic!("the fault at {address:#x} ({access:?}) is handled again and again");
    }

    pub(crate) fn load(&self, address: usize) -> Result<u8, FaultError> {
        let frame = self.access(address, Access::Read)?;
        let mut byte = [0];
        FRAMES.read(frame, address % PAGE_SIZE, &mut byte);
        Ok(byte[0])
    }

    pub(crate) fn store(&self, address: usize, byte: u8) -> Result<(), FaultError> {
        let frame = self.access(address, Access::Write)?;
        FRAMES.write(frame, address % PAGE_SIZE, &[byte]);
        Ok(())
    }

    /// Fetches an instruction byte.
    pub(crate) fn execute(&self, address: usize) -> Result<u8, FaultError> {
        let frame = self.access(address, Access::Execute)?;
        let mut byte = [0];
        FRAMES.read(frame, address % PAGE_SIZE, &mut byte);
        Ok(byte[0])
    }

    /// Pages with an entry.
    pub(crate) fn present_pages(&self) -> usize {
        self.entries.lock().unwrap().len()
    }

    /// The kind of a present page.
    pub(crate) fn kind(&self, address: usize) -> Option<PageKind> {
        self.entries.lock().unwrap().get(&address).map(|entry| entry.kind)
    }

    /// Checks what must hold between areas, entries and counters.
    pub(crate) fn check_invariants(&self) {
        let areas = self.space.areas();
        let entries = self.entries.lock().unwrap();
        for pair in areas.windows(2) {
            assert!(pair[0].range.end() <= pair[1].range.start(), "areas overlap");
        }
        let mut counts = PageCounts::default();
        for (address, entry) in entries.iter() {
            let area = areas.iter().find(|area| area.range.contains(*address)).expect("an entry outside all areas");
            assert!(entry.rights.is_empty() || entry.rights.contains(Rights::READ), "x86 cannot deny loads");
            assert!(area.rights.contains(entry.rights - Rights::READ), "an entry allows more than its area");
            assert_eq!(area.rights.is_empty(), entry.rights.is_empty(), "an entry allows more or less than its area");
            counts.add(entry.kind);
            if entry.rights.contains(Rights::WRITE) {
                assert!(
                    area.is_shared || (entry.kind == PageKind::Anonymous && entry.frame.is_exclusive()),
                    "a writable entry does not own its frame"
                );
            }
        }
        let usage = self.space.usage();
        assert_eq!(usage.resident_anonymous, counts.anonymous);
        assert_eq!(usage.resident_file, counts.file);
        assert_eq!(usage.resident_shared, counts.shared);
        assert_eq!(usage.mapped, areas.iter().map(|area| area.range.pages()).sum::<usize>());
    }
}

/// A file of the tests. Byte 0 of page n is at first n + 1.
pub(crate) struct FakeFile {
    pages: Mutex<Vec<Frame>>,
    pub(crate) sites: Vec<(u64, CodeSite)>,
    mappings: Mappings,
    pub(crate) notices: Mutex<Vec<u64>>,
    pub(crate) synchronized: Mutex<Vec<(u64, u64)>>,
}

impl FakeFile {
    pub(crate) fn new(pages: u8) -> Arc<Self> {
        Self::with_sites(pages, Vec::new())
    }

    pub(crate) fn with_sites(pages: u8, sites: Vec<(u64, CodeSite)>) -> Arc<Self> {
        frame::install(&FRAMES);
        let frames = (0..pages).map(|index| {
            let frame = Frame::allocate_zeroed().unwrap();
            frame.write(0, &[index + 1]);
            frame
        });
        Arc::new(Self {
            pages: Mutex::new(frames.collect()),
            sites,
            mappings: Mappings::new(),
            notices: Mutex::default(),
            synchronized: Mutex::default(),
        })
    }

    pub(crate) fn byte(&self, index: usize) -> u8 {
        let mut byte = [0];
        self.pages.lock().unwrap()[index].read(0, &mut byte);
        byte[0]
    }

    pub(crate) fn truncate(&self, pages: usize) {
        self.pages.lock().unwrap().truncate(pages);
        self.mappings.truncate(pages as u64, u64::MAX);
    }
}

impl MappedObject for FakeFile {
    fn page(&self, index: u64) -> Result<Frame, Errno> {
        let pages = self.pages.lock().unwrap();
        pages.get(usize::try_from(index).unwrap()).cloned().ok_or(Errno::EFAULT)
    }

    fn page_for_write(&self, index: u64) -> Result<Frame, Errno> {
        self.notices.lock().unwrap().push(index);
        self.page(index)
    }

    fn code_sites(&self, index: u64) -> Option<Vec<CodeSite>> {
        Some(self.sites.iter().filter(|(page, _)| *page == index).map(|(_, site)| *site).collect())
    }

    fn synchronize(&self, first: u64, end: u64) -> Result<(), Errno> {
        self.synchronized.lock().unwrap().push((first, end));
        Ok(())
    }

    fn remove_pages(&self, first: u64, end: u64) -> Result<(), Errno> {
        for (index, page) in self.pages.lock().unwrap().iter_mut().enumerate() {
            if (first..end).contains(&(index as u64)) {
                *page = Frame::allocate_zeroed()?;
            }
        }
        self.mappings.invalidate(first, end);
        Ok(())
    }

    fn mappings(&self) -> Option<&Mappings> {
        Some(&self.mappings)
    }

    fn name(&self) -> Vec<u8> {
        b"/file".to_vec()
    }

    fn device_and_inode(&self) -> (u64, u64) {
        (1, 2)
    }
}

/// A small seeded generator (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
