//! Physical frames on the heap of the host.
//!
//! All machines draw on one pool, as `mm` has one place for the frames that are installed; each frame is charged to the
//! machine that allocated it, so a test counts its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mm::{FrameMachine, FrameNumber, FrameStatistics, PAGE_SIZE, frame};

use crate::machine::{self, lock};
use crate::user;

/// The frames that a machine says it has. It can allocate as many as the host has memory for.
pub const TOTAL: u64 = 1 << 16;

/// What new frames are filled with, so that a use of their undefined contents shows.
pub const POISON: u8 = 0xa5;

/// The frame that is always zero.
const ZERO_FRAME: u32 = u32::MAX;
/// Numbers from here on, but for the zero frame, are pages of the boot image.
const STATIC_FIRST: u32 = 1 << 30;
/// The count that pinned frames show.
const PINNED: u32 = 1 << 31;

/// Installs the frames. Every test that uses frames begins with it; doing it again changes nothing.
pub fn install() {
    frame::install(&Frames);
}

/// Frames that the machine of this thread has allocated and that are still referenced.
#[must_use]
pub fn used() -> u64 {
    machine::current().frames.used.load(Ordering::Relaxed)
}

/// Lets `budget` more allocations of this machine succeed; `None` is no limit.
pub fn set_budget(budget: Option<u64>) {
    *lock(&machine::current().frames.budget) = budget;
}

/// Lets this machine have `count` frames more than it has now from what is kept for the kernel, at a time.
pub fn set_reserve(count: u64) {
    *lock(&machine::current().frames.used_max) = Some(used() + count);
}

/// Frames charged to one machine.
#[derive(Default)]
pub(crate) struct Account {
    used: AtomicU64,
    budget: Mutex<Option<u64>>,
    used_max: Mutex<Option<u64>>,
}

struct Slot {
    references: u32,
    data: Box<[u8; PAGE_SIZE]>,
    account: Arc<Account>,
}

struct Pool {
    slots: Vec<Slot>,
    free: Vec<u32>,
    statics: Vec<&'static [u8]>,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { slots: Vec::new(), free: Vec::new(), statics: Vec::new() });

impl Pool {
    fn slot(&mut self, frame: FrameNumber) -> &mut Slot {
        let slot = self.slots.get_mut(frame.index() as usize).expect("a frame that was allocated");
        assert!(slot.references > 0, "use of the free frame {frame:?}");
        slot
    }

    fn allocate(&mut self, account: Arc<Account>) -> FrameNumber {
        account.used.fetch_add(1, Ordering::Relaxed);
        let index = self.free.pop().unwrap_or_else(|| {
            let data = Box::new([0; PAGE_SIZE]);
            self.slots.push(Slot { references: 0, data, account: Arc::clone(&account) });
            let index = u32::try_from(self.slots.len() - 1).expect("frames fit memory");
            assert!(index < STATIC_FIRST);
            index
        });
        let slot = &mut self.slots[index as usize];
        slot.references = 1;
        slot.data.fill(POISON);
        slot.account = account;
        FrameNumber::new(index)
    }
}

/// The fake of the frame seam.
struct Frames;

fn is_pinned(frame: FrameNumber) -> bool {
    frame.index() >= STATIC_FIRST
}

impl FrameMachine for Frames {
    fn allocate(&self) -> Option<FrameNumber> {
        let account = Arc::clone(&machine::current().frames);
        if let Some(budget) = lock(&account.budget).as_mut() {
            *budget = budget.checked_sub(1)?;
        }
        Some(lock(&POOL).allocate(account))
    }

    fn allocate_reserved(&self) -> Option<FrameNumber> {
        let account = Arc::clone(&machine::current().frames);
        if let Some(most) = *lock(&account.used_max)
            && account.used.load(Ordering::Relaxed) >= most
        {
            return None;
        }
        Some(lock(&POOL).allocate(account))
    }

    fn acquire(&self, frame: FrameNumber) {
        if !is_pinned(frame) {
            lock(&POOL).slot(frame).references += 1;
        }
    }

    fn release(&self, frame: FrameNumber) {
        if is_pinned(frame) {
            return;
        }
        let mut pool = lock(&POOL);
        let slot = pool.slot(frame);
        slot.references -= 1;
        if slot.references == 0 {
            slot.account.used.fetch_sub(1, Ordering::Relaxed);
            pool.free.push(frame.index());
        }
    }

    fn reference_count(&self, frame: FrameNumber) -> u32 {
        if is_pinned(frame) { PINNED } else { lock(&POOL).slot(frame).references }
    }

    fn read(&self, frame: FrameNumber, offset: usize, destination: &mut [u8]) {
        let range = offset..offset + destination.len();
        assert!(range.end <= PAGE_SIZE, "a read beyond the frame");
        if frame.index() == ZERO_FRAME {
            return destination.fill(0);
        }
        let mut pool = lock(&POOL);
        if !is_pinned(frame) {
            return destination.copy_from_slice(&pool.slot(frame).data[range]);
        }
        // The last page of a file may be cut short here; in an image zeroes follow.
        let page = pool.statics[(frame.index() - STATIC_FIRST) as usize];
        let there = page.get(range.start..range.end.min(page.len())).unwrap_or_default();
        destination[..there.len()].copy_from_slice(there);
        destination[there.len()..].fill(0);
    }

    fn write(&self, frame: FrameNumber, offset: usize, source: &[u8]) {
        assert!(!is_pinned(frame), "a store to the pinned frame {frame:?}");
        lock(&POOL).slot(frame).data[offset..offset + source.len()].copy_from_slice(source);
    }

    fn zero(&self, frame: FrameNumber) {
        assert!(!is_pinned(frame), "a store to the pinned frame {frame:?}");
        lock(&POOL).slot(frame).data.fill(0);
    }

    fn copy(&self, from: FrameNumber, to: FrameNumber) {
        let mut bytes = [0; PAGE_SIZE];
        self.read(from, 0, &mut bytes);
        self.write(to, 0, &bytes);
    }

    fn copy_part(&self, from: FrameNumber, from_offset: usize, to: FrameNumber, to_offset: usize, len: usize) {
        let mut bytes = [0; PAGE_SIZE];
        self.read(from, from_offset, &mut bytes[..len]);
        self.write(to, to_offset, &bytes[..len]);
    }

    fn copy_to_user(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        self.copy_out(frame, offset, address, len, true)
    }

    fn copy_from_user(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        self.copy_in(frame, offset, address, len, true)
    }

    fn copy_to_user_nofault(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        self.copy_out(frame, offset, address, len, false)
    }

    fn copy_from_user_nofault(&self, frame: FrameNumber, offset: usize, address: usize, len: usize) -> usize {
        self.copy_in(frame, offset, address, len, false)
    }

    /// Any bytes do, wherever they are: the host does not align an image as the machine does.
    fn of_static(&self, bytes: &'static [u8]) -> Option<FrameNumber> {
        if bytes.len() > PAGE_SIZE {
            return None;
        }
        let statics = &mut lock(&POOL).statics;
        let is_same = |known: &&'static [u8]| known.as_ptr() == bytes.as_ptr() && known.len() == bytes.len();
        let index = statics.iter().position(is_same).unwrap_or_else(|| {
            statics.push(bytes);
            statics.len() - 1
        });
        u32::try_from(index).ok().map(|index| FrameNumber::new(STATIC_FIRST + index))
    }

    fn zero_frame(&self) -> FrameNumber {
        FrameNumber::new(ZERO_FRAME)
    }

    fn statistics(&self) -> FrameStatistics {
        FrameStatistics { total: TOTAL, free: TOTAL.saturating_sub(used()), cached: 0 }
    }
}

impl Frames {
    fn copy_out(&self, frame: FrameNumber, offset: usize, address: usize, len: usize, pages_in: bool) -> usize {
        let mut bytes = vec![0; len];
        self.read(frame, offset, &mut bytes);
        user::copy_to(address, &bytes, pages_in)
    }

    fn copy_in(&self, frame: FrameNumber, offset: usize, address: usize, len: usize, pages_in: bool) -> usize {
        let mut bytes = vec![0; len];
        let copied = user::copy_from(&mut bytes, address, pages_in);
        self.write(frame, offset, &bytes[..copied]);
        copied
    }
}

#[cfg(test)]
mod tests {
    use mm::{Frame, UserReader, UserWriter};

    use super::*;
    use crate::threads;
    use crate::user::Arena;

    #[test]
    fn frames_are_counted_and_freed() {
        install();
        let frame = Frame::allocate().unwrap();
        let mut bytes = [0; 2];
        frame.read(PAGE_SIZE - 2, &mut bytes);
        assert_eq!(bytes, [POISON; 2]);
        let second = frame.clone();
        assert!(!frame.is_exclusive());
        assert_eq!(used(), 1);
        drop(frame);
        assert!(second.is_exclusive());
        // Freed elsewhere, but it was ours.
        std::thread::spawn(move || drop(second)).join().unwrap();
        assert_eq!(used(), 0);
    }

    #[test]
    fn a_budget_runs_out() {
        install();
        set_budget(Some(1));
        let frame = Frame::allocate().unwrap();
        assert!(Frame::allocate().is_err());
        threads::spawn(|| assert!(Frame::allocate().is_err())).join().unwrap();
        std::thread::spawn(|| assert!(Frame::allocate().is_ok())).join().unwrap();
        set_budget(None);
        assert!(frame.duplicate().is_ok());
    }

    #[test]
    fn the_zero_page_and_static_pages_are_pinned() {
        install();
        let zero = Frame::zero_page();
        static BYTES: [u8; 3] = [1, 2, 3];
        let page = Frame::of_static(&BYTES).unwrap();
        assert_eq!(page.number(), Frame::of_static(&BYTES).unwrap().number());
        assert!(!zero.is_exclusive() && !page.is_exclusive());
        let mut bytes = [9; 4];
        page.read(1, &mut bytes);
        assert_eq!(bytes, [2, 3, 0, 0]);
        zero.read(0, &mut bytes);
        assert_eq!(bytes, [0; 4]);
        assert_eq!(used(), 0);
    }

    #[test]
    fn frames_and_program_memory_exchange_bytes() {
        install();
        let arena = Arena::install(2);
        let frame = Frame::allocate_zeroed().unwrap();
        arena.write(10, b"hello");
        let mut reader = UserReader::new(Arena::BASE + 10, 5).unwrap();
        assert_eq!(frame.write_from(100, &mut reader, 5), Ok(5));
        let mut writer = UserWriter::new(arena.end() - 3, 5).unwrap();
        assert_eq!(frame.read_to(100, &mut writer, 5), Ok(3));
        assert_eq!(arena.read(2 * PAGE_SIZE - 3, 3), b"hel");
    }
}
