//! The seams of the machine on the host: frames on the heap, page tables as maps, copies through them, a real clock.
//!
//! Every test thread is a CPU: the address space it activated and the kernel thread it set are its own.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use abi::Errno;
use linux::Thread;
use mm::{
    Frame, FrameMachine, FrameNumber, FrameStatistics, PAGE_SIZE, PageCounts, PageEntry, PageKind, PageRange,
    PageTable, Rights,
};
use sync::HeldRanks;
use sync::machine::{NEVER, PARKED, ThreadHandle};

const FRAMES_TOTAL: u64 = 1 << 16;
const ZERO_FRAME: u32 = u32::MAX;

struct Slot {
    references: u32,
    data: Box<[u8; PAGE_SIZE]>,
}

/// All frames. The zero frame is none of them.
pub(crate) struct Frames(Mutex<Vec<Slot>>);

pub(crate) static FRAMES: Frames = Frames(Mutex::new(Vec::new()));

impl Frames {
    fn with<R>(&self, frame: FrameNumber, act: impl FnOnce(&mut Slot) -> R) -> R {
        let mut slots = self.0.lock().unwrap();
        let slot = &mut slots[frame.index() as usize];
        assert!(slot.references > 0, "use of the free frame {frame:?}");
        act(slot)
    }
}

impl FrameMachine for Frames {
    fn allocate(&self) -> Option<FrameNumber> {
        let mut slots = self.0.lock().unwrap();
        slots.push(Slot { references: 1, data: Box::new([0xa5; PAGE_SIZE]) });
        u32::try_from(slots.len() - 1).ok().map(FrameNumber::new)
    }

    fn acquire(&self, frame: FrameNumber) {
        if frame.index() != ZERO_FRAME {
            self.with(frame, |slot| slot.references += 1);
        }
    }

    fn release(&self, frame: FrameNumber) {
        if frame.index() != ZERO_FRAME {
            self.with(frame, |slot| slot.references -= 1);
        }
    }

    fn reference_count(&self, frame: FrameNumber) -> u32 {
        if frame.index() == ZERO_FRAME { u32::MAX } else { self.with(frame, |slot| slot.references) }
    }

    fn read(&self, frame: FrameNumber, offset: usize, destination: &mut [u8]) {
        if frame.index() == ZERO_FRAME {
            return destination.fill(0);
        }
        self.with(frame, |slot| destination.copy_from_slice(&slot.data[offset..offset + destination.len()]));
    }

    fn write(&self, frame: FrameNumber, offset: usize, source: &[u8]) {
        self.with(frame, |slot| slot.data[offset..offset + source.len()].copy_from_slice(source));
    }

    fn zero(&self, frame: FrameNumber) {
        self.with(frame, |slot| slot.data.fill(0));
    }

    fn copy(&self, from: FrameNumber, to: FrameNumber) {
        let mut bytes = [0; PAGE_SIZE];
        self.read(from, 0, &mut bytes);
        self.write(to, 0, &bytes);
    }

    fn copy_to_user(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        let mut bytes = vec![0; len];
        self.read(frame, offset, &mut bytes);
        nacre_copy_to_user(address, &bytes)
    }

    fn copy_from_user(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        let mut bytes = vec![0; len];
        let copied = nacre_copy_from_user(&mut bytes, address);
        self.write(frame, offset, &bytes[..copied]);
        copied
    }

    fn copy_to_user_nofault(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        let mut bytes = vec![0; len];
        self.read(frame, offset, &mut bytes);
        nacre_copy_to_user_nofault(address, &bytes)
    }

    fn copy_from_user_nofault(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        let mut bytes = vec![0; len];
        let copied = nacre_copy_from_user_nofault(&mut bytes, address);
        self.write(frame, offset, &bytes[..copied]);
        copied
    }

    fn of_static(&self, _: &'static [u8]) -> Option<FrameNumber> {
        None
    }

    fn zero_frame(&self) -> FrameNumber {
        FrameNumber::new(ZERO_FRAME)
    }

    fn statistics(&self) -> FrameStatistics {
        FrameStatistics { total: FRAMES_TOTAL, free: FRAMES_TOTAL / 2, cached: 0 }
    }
}

struct Entry {
    frame: Frame,
    rights: Rights,
    kind: PageKind,
}

type Entries = Arc<Mutex<BTreeMap<usize, Entry>>>;

/// The entries of every page table, by its root.
static TABLES: Mutex<BTreeMap<u64, Entries>> = Mutex::new(BTreeMap::new());
static NEXT_ROOT: AtomicU64 = AtomicU64::new(1);

/// A page table as a map.
pub(crate) struct FakePageTable {
    root: u64,
    entries: Entries,
}

impl FakePageTable {
    pub(crate) fn new() -> Self {
        let root = NEXT_ROOT.fetch_add(1, Ordering::Relaxed);
        let entries = Entries::default();
        TABLES.lock().unwrap().insert(root, Arc::clone(&entries));
        Self { root, entries }
    }
}

impl PageTable for FakePageTable {
    fn root(&self) -> u64 {
        self.root
    }

    fn map(&mut self, address: usize, frame: Frame, rights: Rights, kind: PageKind) -> Result<(), Errno> {
        let before = self.entries.lock().unwrap().insert(address, Entry { frame, rights, kind });
        assert!(before.is_none(), "map over an entry");
        Ok(())
    }

    fn replace(&mut self, address: usize, frame: Frame, rights: Rights, kind: PageKind) {
        let before = self.entries.lock().unwrap().insert(address, Entry { frame, rights, kind });
        assert!(before.is_some(), "replace without an entry");
    }

    fn unmap(&mut self, address: usize) -> Option<Frame> {
        self.entries.lock().unwrap().remove(&address).map(|entry| entry.frame)
    }

    fn protect(&mut self, address: usize, rights: Rights) {
        if let Some(entry) = self.entries.lock().unwrap().get_mut(&address) {
            entry.rights = rights;
        }
    }

    fn lookup(&self, address: usize) -> Option<PageEntry> {
        self.entries.lock().unwrap().get(&address).map(page_entry)
    }

    fn next_present(&self, range: PageRange) -> Option<(usize, PageEntry)> {
        let entries = self.entries.lock().unwrap();
        entries.range(range.start()..range.end()).next().map(|(address, entry)| (*address, page_entry(entry)))
    }

    fn unmap_range(&mut self, range: PageRange) -> PageCounts {
        let mut counts = PageCounts::default();
        self.entries.lock().unwrap().retain(|address, entry| {
            let goes = range.contains(*address);
            if goes {
                counts.add(entry.kind);
            }
            !goes
        });
        counts
    }

    fn protect_range(&mut self, range: PageRange, rights: Rights) {
        for (_, entry) in self.entries.lock().unwrap().range_mut(range.start()..range.end()) {
            let may_store = entry.kind == PageKind::Anonymous && entry.frame.is_exclusive();
            entry.rights = if may_store { rights } else { rights - Rights::WRITE };
        }
    }

    fn move_range(&mut self, _: PageRange, _: usize) -> Result<(), Errno> {
        Err(Errno::ENOMEM)
    }
}

fn page_entry(entry: &Entry) -> PageEntry {
    PageEntry { frame: entry.frame.number(), rights: entry.rights, kind: entry.kind, accessed: false, dirty: false }
}

thread_local! {
    static CURRENT: RefCell<Option<Entries>> = const { RefCell::new(None) };
    static THREAD: RefCell<Option<Arc<Thread>>> = const { RefCell::new(None) };
    static HELD: &'static HeldRanks = Box::leak(Box::new(HeldRanks::new()));
}

/// Makes this test thread see a page table.
pub(crate) fn activate(root: u64) {
    let entries = TABLES.lock().unwrap().get(&root).cloned();
    CURRENT.set(entries);
}

/// Makes this test thread run a kernel thread, whose address space serves page faults.
pub(crate) fn run(thread: &Arc<Thread>) {
    THREAD.set(Some(Arc::clone(thread)));
}

/// The frame behind a page, if it is there with these rights.
fn present(page: usize, rights: Rights) -> Option<FrameNumber> {
    CURRENT.with_borrow(|current| {
        let entries = current.as_ref()?.lock().unwrap();
        entries.get(&page).filter(|entry| entry.rights.contains(rights)).map(|entry| entry.frame.number())
    })
}

fn page_in(address: usize, rights: Rights) -> bool {
    let code = if rights == Rights::WRITE { 2 } else { 0 };
    let thread = THREAD.with_borrow(Clone::clone);
    thread.is_some_and(|thread| linux::page_in(&thread, address, code))
}

/// Moves bytes page by page; `act` gets a frame, the offset in it, and the range of the buffer.
fn copy(
    address: usize,
    len: usize,
    rights: Rights,
    pages_in: bool,
    mut act: impl FnMut(FrameNumber, usize, std::ops::Range<usize>),
) -> usize {
    let mut done = 0;
    while done < len {
        let at = address + done;
        let offset = at % PAGE_SIZE;
        let page = at - offset;
        let part = (PAGE_SIZE - offset).min(len - done);
        let frame = match present(page, rights) {
            Some(frame) => frame,
            None if pages_in && page_in(at, rights) => continue,
            None => return done,
        };
        act(frame, offset, done..done + part);
        done += part;
    }
    done
}

#[unsafe(no_mangle)]
fn nacre_copy_from_user(destination: &mut [u8], source: usize) -> usize {
    copy(source, destination.len(), Rights::READ, true, |frame, offset, range| {
        FRAMES.read(frame, offset, &mut destination[range]);
    })
}

#[unsafe(no_mangle)]
fn nacre_copy_to_user(destination: usize, source: &[u8]) -> usize {
    copy(destination, source.len(), Rights::WRITE, true, |frame, offset, range| {
        FRAMES.write(frame, offset, &source[range]);
    })
}

#[unsafe(no_mangle)]
fn nacre_copy_from_user_nofault(destination: &mut [u8], source: usize) -> usize {
    copy(source, destination.len(), Rights::READ, false, |frame, offset, range| {
        FRAMES.read(frame, offset, &mut destination[range]);
    })
}

#[unsafe(no_mangle)]
fn nacre_copy_to_user_nofault(destination: usize, source: &[u8]) -> usize {
    copy(destination, source.len(), Rights::WRITE, false, |frame, offset, range| {
        FRAMES.write(frame, offset, &source[range]);
    })
}

#[unsafe(no_mangle)]
fn nacre_page_in_user(address: usize, is_store: bool) -> bool {
    page_in(address, if is_store { Rights::WRITE } else { Rights::READ })
}

#[unsafe(no_mangle)]
fn nacre_load_user_u32(address: usize) -> Option<u32> {
    let mut bytes = [0; 4];
    (nacre_copy_from_user_nofault(&mut bytes, address) == 4).then(|| u32::from_ne_bytes(bytes))
}

#[unsafe(no_mangle)]
fn nacre_compare_exchange_user_u32(address: usize, old: u32, new: u32) -> Option<Result<u32, u32>> {
    let found = nacre_load_user_u32(address)?;
    if found != old {
        return Some(Err(found));
    }
    (nacre_copy_to_user_nofault(address, &new.to_ne_bytes()) == 4).then_some(Ok(old))
}

fn started() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}

#[unsafe(no_mangle)]
fn nacre_now_ns() -> u64 {
    // Never zero: the machine has been up for a while.
    1_000_000_000 + u64::try_from(started().elapsed().as_nanos()).unwrap()
}

#[unsafe(no_mangle)]
fn nacre_realtime_ns() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

#[unsafe(no_mangle)]
fn nacre_current_thread() -> ThreadHandle {
    ThreadHandle(1)
}

static WAKES: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());

#[unsafe(no_mangle)]
fn nacre_wait_for_wake(state: &AtomicU32, deadline_ns: u64) {
    let mut guard = WAKES.0.lock().unwrap();
    while state.load(Ordering::Acquire) == PARKED {
        let now_ns = nacre_now_ns();
        if deadline_ns <= now_ns {
            return;
        }
        let left_ns = if deadline_ns == NEVER { u64::MAX >> 2 } else { deadline_ns - now_ns };
        guard = WAKES.1.wait_timeout(guard, Duration::from_nanos(left_ns)).unwrap().0;
    }
}

#[unsafe(no_mangle)]
fn nacre_wake_waiter(_: ThreadHandle) {
    let _guard = WAKES.0.lock().unwrap();
    WAKES.1.notify_all();
}

#[unsafe(no_mangle)]
fn nacre_interrupts_disable_save() -> bool {
    true
}

#[unsafe(no_mangle)]
fn nacre_interrupts_restore(_: bool) {}

#[unsafe(no_mangle)]
fn nacre_held_ranks() -> &'static HeldRanks {
    HELD.with(|held| *held)
}

#[unsafe(no_mangle)]
fn nacre_fill_entropy(destination: &mut [u8]) {
    // A fixed sequence, so that every run places the program alike.
    static STATE: AtomicU64 = AtomicU64::new(0x9e37_79b9_7f4a_7c15);
    for byte in destination {
        let state = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        *byte = (state ^ state >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes()[0];
    }
}
