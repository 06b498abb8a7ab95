//! Program memory, as the copies of `sync::machine` see it.
//!
//! A thread has none at first, and every access faults. A test gives it an [`Arena`], or the address space of a
//! [`crate::Cpu`], or a page table and a function that serves its faults.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use mm::{Access, Frame, PAGE_SIZE};

use crate::machine::lock;
use crate::page_table::FakePageTable;

/// Faults at one address in a row.
const FAULTS_MAX: usize = 4;

/// Serves a page fault; false if the access cannot be made to work.
type PageIn = dyn Fn(usize, Access) -> bool + Send + Sync;

/// What a thread's copies reach.
#[derive(Clone)]
pub(crate) enum Memory {
    None,
    Arena(Arena),
    Table(FakePageTable, Arc<PageIn>),
}

thread_local! {
    static MEMORY: RefCell<Memory> = const { RefCell::new(Memory::None) };
}

/// Makes futex words atomic among the threads of all tests.
static ATOMIC: Mutex<()> = Mutex::new(());

/// Makes `table` the program memory of the calling thread. `page_in` serves the faults of its copies.
pub fn set_table(table: FakePageTable, page_in: impl Fn(usize, Access) -> bool + Send + Sync + 'static) {
    MEMORY.set(Memory::Table(table, Arc::new(page_in)));
}

/// Takes the program memory of the calling thread away.
pub fn clear() {
    MEMORY.set(Memory::None);
}

pub(crate) fn memory() -> Memory {
    MEMORY.with_borrow(Memory::clone)
}

pub(crate) fn set_memory(memory: Memory) {
    MEMORY.set(memory);
}

/// A few pages of program memory in an array, with nothing before or behind. Clones are the same memory.
#[derive(Clone, Debug)]
pub struct Arena {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Pages that are not there until a copy that may page in, or a fault, touches them.
    absent: Arc<Mutex<Vec<bool>>>,
}

impl Arena {
    /// Where it begins.
    pub const BASE: usize = 0x10_0000;

    /// Makes `pages` pages of zeroes the program memory of the calling thread.
    #[must_use]
    pub fn install(pages: usize) -> Self {
        let arena = Self {
            bytes: Arc::new(Mutex::new(vec![0; pages * PAGE_SIZE])),
            absent: Arc::new(Mutex::new(vec![false; pages])),
        };
        MEMORY.set(Memory::Arena(arena.clone()));
        arena
    }

    /// One past its end: the first address that faults.
    #[must_use]
    pub fn end(&self) -> usize {
        Self::BASE + lock(&self.bytes).len()
    }

    /// Bytes from `offset`.
    #[must_use]
    pub fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        lock(&self.bytes)[offset..offset + len].to_vec()
    }

    /// Changes bytes from `offset`.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        lock(&self.bytes)[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Takes all pages away until they are touched.
    pub fn drop_pages(&self) {
        lock(&self.absent).fill(true);
    }

    /// How many pages are there.
    #[must_use]
    pub fn present_pages(&self) -> usize {
        lock(&self.absent).iter().filter(|is_absent| !**is_absent).count()
    }

    /// Whether the page at `address` is there, perhaps after paging it in.
    fn reach(&self, address: usize, pages_in: bool) -> bool {
        let page = address.checked_sub(Self::BASE).map(|offset| offset / PAGE_SIZE);
        let mut absent = lock(&self.absent);
        match page.and_then(|page| absent.get_mut(page)) {
            None => false,
            Some(is_absent) => {
                *is_absent &= !pages_in;
                !*is_absent
            }
        }
    }
}

/// The parts of `len` bytes at `address` that lie in one page each, with their place in the buffer.
fn parts(address: usize, len: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = address.wrapping_add(done);
        let part = (PAGE_SIZE - at % PAGE_SIZE).min(len - done);
        let range = done..done + part;
        done += part;
        (part > 0).then_some((at, range))
    })
}

/// Copies from program memory; returns the bytes copied.
pub(crate) fn copy_from(destination: &mut [u8], source: usize, pages_in: bool) -> usize {
    let memory = memory();
    let len = destination.len();
    copy(&memory, source, len, Access::Read, pages_in, |place, range| match place {
        Place::Arena(bytes, at) => destination[range.clone()].copy_from_slice(&bytes[at..at + range.len()]),
        Place::Frame(frame, at) => frame.read(at, &mut destination[range]),
    })
}

/// Copies to program memory; returns the bytes copied.
pub(crate) fn copy_to(destination: usize, source: &[u8], pages_in: bool) -> usize {
    let memory = memory();
    copy(&memory, destination, source.len(), Access::Write, pages_in, |place, range| match place {
        Place::Arena(bytes, at) => bytes[at..at + range.len()].copy_from_slice(&source[range]),
        Place::Frame(frame, at) => frame.write(at, &source[range]),
    })
}

/// A word of program memory.
pub(crate) fn read_word<const LEN: usize>(address: usize) -> Option<[u8; LEN]> {
    let mut word = [0; LEN];
    (copy_from(&mut word, address, true) == LEN).then_some(word)
}

/// Copies a string from program memory; answers its length, or all of `destination` if it is longer.
pub(crate) fn copy_string(destination: &mut [u8], source: usize) -> Option<usize> {
    for (index, byte) in destination.iter_mut().enumerate() {
        [*byte] = read_word(source.wrapping_add(index))?;
        if *byte == 0 {
            return Some(index);
        }
    }
    Some(destination.len())
}

/// Stores a word to program memory; false if it cannot be stored.
pub(crate) fn write_word<const LEN: usize>(address: usize, word: [u8; LEN]) -> bool {
    copy_to(address, &word, true) == LEN
}

/// Where a part of a copy is, and from which offset.
enum Place<'a> {
    Arena(&'a mut Vec<u8>, usize),
    Frame(&'a Frame, usize),
}

fn copy(
    memory: &Memory,
    address: usize,
    len: usize,
    access: Access,
    pages_in: bool,
    mut act: impl FnMut(Place<'_>, Range<usize>),
) -> usize {
    for (at, range) in parts(address, len) {
        let done = range.start;
        match memory {
            Memory::Arena(arena) if arena.reach(at, pages_in) => {
                act(Place::Arena(&mut lock(&arena.bytes), at - Arena::BASE), range);
            }
            Memory::Table(table, page_in) => match reach(table, &**page_in, at, access, pages_in) {
                Some(frame) => act(Place::Frame(&frame, at % PAGE_SIZE), range),
                None => return done,
            },
            _ => return done,
        }
    }
    len
}

/// The frame behind an address, perhaps after faults.
fn reach(table: &FakePageTable, page_in: &PageIn, address: usize, access: Access, pages_in: bool) -> Option<Frame> {
    for _ in 0..FAULTS_MAX {
        if let Some(frame) = table.reach(address, access) {
            return Some(Frame::share(frame));
        }
        if !pages_in || !page_in(address, access) {
            return None;
        }
    }
    panic!("the fault at {address:#x} ({access:?}) is handled again and again");
}

/// Does what a fault would do.
pub(crate) fn page_in(address: usize, is_store: bool) -> bool {
    let access = if is_store { Access::Write } else { Access::Read };
    match memory() {
        Memory::None => false,
        Memory::Arena(arena) => arena.reach(address, true),
        Memory::Table(_, page_in) => page_in(address, access),
    }
}

/// Reads a word that is present.
pub(crate) fn load_u32(address: usize) -> Option<u32> {
    assert!(address.is_multiple_of(4), "an unaligned futex word");
    let mut bytes = [0; 4];
    (copy_from(&mut bytes, address, false) == bytes.len()).then(|| u32::from_ne_bytes(bytes))
}

/// Changes a word that is present and writable, if it has the value `old`.
pub(crate) fn compare_exchange_u32(address: usize, old: u32, new: u32) -> Option<Result<u32, u32>> {
    let _atomic = lock(&ATOMIC);
    let found = load_u32(address)?;
    let stored = if found == old { new } else { found };
    if copy_to(address, &stored.to_ne_bytes(), false) != 4 {
        return None;
    }
    Some(if found == old { Ok(old) } else { Err(found) })
}

#[cfg(test)]
mod tests {
    use sync::machine as seam;

    use super::*;
    use crate::threads;

    #[test]
    fn without_memory_everything_faults() {
        assert_eq!(seam::copy_to_user(Arena::BASE, b"x"), 0);
        assert!(!seam::page_in_user(Arena::BASE, false));
        assert_eq!(seam::load_user_u32(Arena::BASE), None);
    }

    #[test]
    fn copies_end_with_the_arena() {
        let arena = Arena::install(1);
        assert_eq!(seam::copy_to_user(arena.end() - 2, b"abc"), 2);
        assert_eq!(arena.read(PAGE_SIZE - 2, 2), b"ab");
        assert_eq!(seam::copy_to_user(Arena::BASE - 1, b"abc"), 0);
        let mut bytes = [0; 3];
        assert_eq!(seam::copy_from_user(&mut bytes, arena.end() - 1), 1);
        assert_eq!(seam::copy_from_user(&mut bytes, usize::MAX), 0);
    }

    #[test]
    fn absent_pages_stop_copies_that_may_not_fault() {
        let arena = Arena::install(2);
        arena.drop_pages();
        let across = Arena::BASE + PAGE_SIZE - 1;
        assert_eq!(seam::copy_to_user_nofault(across, b"ab"), 0);
        assert!(seam::page_in_user(across, true));
        assert_eq!(seam::copy_to_user_nofault(across, b"ab"), 1);
        assert_eq!(arena.present_pages(), 1);
        assert_eq!(seam::copy_to_user(across, b"ab"), 2);
        assert_eq!(arena.present_pages(), 2);
    }

    #[test]
    fn words_change_if_they_are_as_expected() {
        let arena = Arena::install(1);
        assert_eq!(seam::compare_exchange_user_u32(Arena::BASE, 0, 5), Some(Ok(0)));
        assert_eq!(seam::compare_exchange_user_u32(Arena::BASE, 0, 6), Some(Err(5)));
        assert_eq!(seam::load_user_u32(Arena::BASE), Some(5));
        arena.drop_pages();
        assert_eq!(seam::compare_exchange_user_u32(Arena::BASE, 5, 6), None);
    }

    #[test]
    fn a_spawned_thread_sees_the_memory() {
        let arena = Arena::install(1);
        threads::spawn(|| assert_eq!(seam::copy_to_user(Arena::BASE, b"x"), 1)).join().unwrap();
        assert_eq!(arena.read(0, 1), b"x");
    }
}
