//! A machine for the tests: frames on the heap, program memory that is one array at [`USER_BASE`], a clock that stands still.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use mm::{FrameMachine, FrameNumber, FrameStatistics, PAGE_SIZE, frame};
use sync::HeldRanks;
use sync::machine::ThreadHandle;

/// Where the fake program memory begins; it has [`USER_LEN`] bytes, and there is nothing behind it.
pub(crate) const USER_BASE: usize = 0x10_0000;
/// Bytes of program memory.
pub(crate) const USER_LEN: usize = 4 * PAGE_SIZE;

thread_local! {
    static USER: RefCell<Vec<u8>> = RefCell::new(vec![0; USER_LEN]);
    static HELD: &'static HeldRanks = Box::leak(Box::new(HeldRanks::new()));
    /// Pages that a non-faulting copy does not find until they were touched.
    static ABSENT: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Makes all program memory absent until it is touched.
pub(crate) fn drop_pages() {
    ABSENT.with_borrow_mut(|absent| *absent = (0..USER_LEN / PAGE_SIZE).collect());
}

/// Program memory.
pub(crate) fn user_bytes(offset: usize, len: usize) -> Vec<u8> {
    USER.with_borrow(|user| user[offset..offset + len].to_vec())
}

/// Writes program memory.
pub(crate) fn set_user_bytes(offset: usize, bytes: &[u8]) {
    USER.with_borrow_mut(|user| user[offset..offset + bytes.len()].copy_from_slice(bytes));
}

/// Moves bytes while the pages are there.
fn copy(address: usize, len: usize, pages_in: bool, mut move_byte: impl FnMut(&mut u8, usize)) -> usize {
    USER.with_borrow_mut(|user| {
        for done in 0..len {
            let Some(byte) = (address + done).checked_sub(USER_BASE).and_then(|offset| user.get_mut(offset)) else {
                return done;
            };
            let page = (address + done - USER_BASE) / PAGE_SIZE;
            let is_absent = ABSENT.with_borrow(|absent| absent.contains(&page));
            if is_absent && !pages_in {
                return done;
            }
            ABSENT.with_borrow_mut(|absent| absent.retain(|other| *other != page));
            move_byte(byte, done);
        }
        len
    })
}

#[unsafe(no_mangle)]
fn nacre_copy_from_user(destination: &mut [u8], source: usize) -> usize {
    copy(source, destination.len(), true, |byte, index| destination[index] = *byte)
}

#[unsafe(no_mangle)]
fn nacre_copy_to_user(destination: usize, source: &[u8]) -> usize {
    copy(destination, source.len(), true, |byte, index| *byte = source[index])
}

#[unsafe(no_mangle)]
fn nacre_copy_from_user_nofault(destination: &mut [u8], source: usize) -> usize {
    copy(source, destination.len(), false, |byte, index| destination[index] = *byte)
}

#[unsafe(no_mangle)]
fn nacre_copy_to_user_nofault(destination: usize, source: &[u8]) -> usize {
    copy(destination, source.len(), false, |byte, index| *byte = source[index])
}

#[unsafe(no_mangle)]
fn nacre_load_user_u32(address: usize) -> Option<u32> {
    let mut bytes = [0; 4];
    (nacre_copy_from_user(&mut bytes, address) == 4).then(|| u32::from_ne_bytes(bytes))
}

#[unsafe(no_mangle)]
fn nacre_compare_exchange_user_u32(address: usize, old: u32, new: u32) -> Option<Result<u32, u32>> {
    let found = nacre_load_user_u32(address)?;
    if found != old {
        return Some(Err(found));
    }
    nacre_copy_to_user(address, &new.to_ne_bytes());
    Some(Ok(old))
}

#[unsafe(no_mangle)]
fn nacre_page_in_user(address: usize, _is_store: bool) -> bool {
    nacre_copy_from_user(&mut [0], address) == 1
}

#[unsafe(no_mangle)]
fn nacre_now_ns() -> u64 {
    0
}

#[unsafe(no_mangle)]
fn nacre_realtime_ns() -> u64 {
    1_700_000_000_000_000_000
}

#[unsafe(no_mangle)]
fn nacre_current_thread() -> ThreadHandle {
    ThreadHandle(1)
}

#[unsafe(no_mangle)]
fn nacre_wait_for_wake(_state: &AtomicU32, _deadline_ns: u64) {
    panic!("a file never waits");
}

#[unsafe(no_mangle)]
fn nacre_wake_waiter(_thread: ThreadHandle) {}

#[unsafe(no_mangle)]
fn nacre_interrupts_disable_save() -> bool {
    true
}

#[unsafe(no_mangle)]
fn nacre_interrupts_restore(_were_enabled: bool) {}

#[unsafe(no_mangle)]
fn nacre_held_ranks() -> &'static HeldRanks {
    HELD.with(|held| *held)
}

#[unsafe(no_mangle)]
fn nacre_fill_entropy(destination: &mut [u8]) {
    destination.fill(7);
}

/// The fake of the frame seam.
struct Frames(Mutex<Vec<(u32, Box<[u8; PAGE_SIZE]>)>>);

static FRAMES: Frames = Frames(Mutex::new(Vec::new()));

/// Installs the frames; every test calls it first.
pub(crate) fn install() {
    frame::install(&FRAMES);
}

impl Frames {
    fn with<R>(&self, frame: FrameNumber, act: impl FnOnce(&mut (u32, Box<[u8; PAGE_SIZE]>)) -> R) -> R {
        act(&mut self.0.lock().unwrap()[frame.index() as usize])
    }
}

impl FrameMachine for Frames {
    fn allocate(&self) -> Option<FrameNumber> {
        let mut frames = self.0.lock().unwrap();
        frames.push((1, Box::new([0xa5; PAGE_SIZE])));
        Some(FrameNumber::new(u32::try_from(frames.len() - 1).unwrap()))
    }

    fn acquire(&self, frame: FrameNumber) {
        self.with(frame, |slot| slot.0 += 1);
    }

    fn release(&self, frame: FrameNumber) {
        self.with(frame, |slot| slot.0 -= 1);
    }

    fn reference_count(&self, frame: FrameNumber) -> u32 {
        self.with(frame, |slot| slot.0)
    }

    fn read(&self, frame: FrameNumber, offset: usize, destination: &mut [u8]) {
        self.with(frame, |slot| destination.copy_from_slice(&slot.1[offset..offset + destination.len()]));
    }

    fn write(&self, frame: FrameNumber, offset: usize, source: &[u8]) {
        self.with(frame, |slot| slot.1[offset..offset + source.len()].copy_from_slice(source));
    }

    fn zero(&self, frame: FrameNumber) {
        self.with(frame, |slot| slot.1.fill(0));
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
        FrameNumber::new(u32::MAX)
    }

    fn statistics(&self) -> FrameStatistics {
        FrameStatistics::default()
    }
}
