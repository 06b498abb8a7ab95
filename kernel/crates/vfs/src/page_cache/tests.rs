use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use testkit::user::Arena;
use testkit::{Random, frames, threads};

use super::*;

/// A file on a disk that is a map of pages.
#[derive(Default)]
pub(super) struct FakeStore {
    size: AtomicU64,
    disk: Mutex<BTreeMap<u64, Vec<u8>>>,
    room: AtomicU64,
    reads: AtomicUsize,
    writes: AtomicUsize,
    /// The most pages written at once.
    most_written: AtomicUsize,
    is_broken: std::sync::atomic::AtomicBool,
    /// Happens once, in the next call of this kind.
    meanwhile: Mutex<Option<(Call, Meanwhile)>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// The second of two pieces that are read.
    SecondRead,
    Reserve,
    Write,
}

type Meanwhile = Box<dyn FnOnce(&FakeStore) + Send>;

/// A page that can be written to a disk.
pub(crate) struct Written(FakeStore, PageCache);

impl Written {
    pub(crate) fn new() -> Self {
        Self(FakeStore::new(1), PageCache::new())
    }

    /// Dirties it and writes it.
    pub(crate) fn write(&self) {
        let Self(store, cache) = self;
        cache.page_for_write(store, 0).unwrap();
        cache.write_back(store, 0, 1).unwrap();
    }
}

/// What fills a page at first.
pub(super) fn value_of(index: u64) -> u8 {
    u8::try_from(index + 1).expect("a small file")
}

impl FakeStore {
    pub(super) fn new(pages: u64) -> Self {
        frames::install();
        let store = Self::default();
        store.room.store(u64::MAX, Ordering::Relaxed);
        store.size.store(pages * PAGE, Ordering::Relaxed);
        for index in 0..pages {
            store.disk.lock().unwrap().insert(index, vec![value_of(index); PAGE_SIZE]);
        }
        store
    }

    fn interrupt(&self, call: Call, by: impl FnOnce(&Self) + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some((call, Box::new(by)));
    }

    fn called(&self, call: Call) {
        let meanwhile = self.meanwhile.lock().unwrap().take_if(|(at, _)| *at == call);
        if let Some((_, meanwhile)) = meanwhile {
            meanwhile(self);
        }
    }

    /// Takes the first page out of the file.
    fn collapse(&self) {
        let mut disk = self.disk.lock().unwrap();
        let shifted = disk.iter().filter_map(|(index, bytes)| Some((index.checked_sub(1)?, bytes.clone()))).collect();
        *disk = shifted;
        self.size.fetch_sub(PAGE, Ordering::Relaxed);
    }

    /// Has the file rearranged so at the next such call.
    fn collapse_at(&self, call: Call, cache: &Arc<PageCache>) {
        let cache = cache.clone();
        self.interrupt(call, move |store| {
            let collapse = || {
                store.collapse();
                Ok(())
            };
            cache.rearrange(store, 0, collapse).unwrap();
        });
    }

    pub(super) fn on_disk(&self, index: u64) -> Option<Vec<u8>> {
        self.disk.lock().unwrap().get(&index).cloned()
    }
}

impl PageStore for FakeStore {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    fn read_pages(&self, first: u64, frames: &[Frame]) -> Result<(), Errno> {
        if self.reads.fetch_add(1, Ordering::Relaxed) == 1 {
            self.called(Call::SecondRead);
        }
        std::thread::yield_now();
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(Errno::EIO);
        }
        for (index, frame) in (first..).zip(frames) {
            match self.on_disk(index) {
                Some(bytes) => frame.write(0, &bytes),
                None => frame.zero(),
            }
        }
        Ok(())
    }

    fn reserve(&self, first: u64, end: u64) -> Result<(), Errno> {
        self.called(Call::Reserve);
        let mut disk = self.disk.lock().unwrap();
        for index in first..end {
            if let std::collections::btree_map::Entry::Vacant(entry) = disk.entry(index) {
                let room = self.room.load(Ordering::Relaxed);
                self.room.store(room.checked_sub(1).ok_or(Errno::ENOSPC)?, Ordering::Relaxed);
                entry.insert(vec![0; PAGE_SIZE]);
            }
        }
        Ok(())
    }

    fn is_hole(&self, index: u64) -> Result<bool, Errno> {
        Ok(self.on_disk(index).is_none())
    }

    fn write_pages(&self, first: u64, frames: &[Frame]) -> Result<(), Errno> {
        self.called(Call::Write);
        self.writes.fetch_add(1, Ordering::Relaxed);
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(Errno::EIO);
        }
        for (index, frame) in (first..self.size().div_ceil(PAGE)).zip(frames) {
            let mut bytes = vec![0; PAGE_SIZE];
            frame.read(0, &mut bytes);
            assert!(self.disk.lock().unwrap().insert(index, bytes).is_some(), "page {index} has no room");
        }
        Ok(())
    }

    fn write_runs(&self, runs: &[Run]) -> Result<(), Errno> {
        let pages = runs.iter().map(|run| run.frames.len()).sum();
        self.most_written.fetch_max(pages, Ordering::Relaxed);
        runs.iter().try_for_each(|run| self.write_pages(run.first, &run.frames))
    }
}

fn write(cache: &PageCache, store: &FakeStore, position: u64, bytes: &[u8]) -> Result<usize, Errno> {
    let arena = Arena::install(bytes.len().div_ceil(PAGE_SIZE).max(1));
    arena.write(0, bytes);
    let mut from = UserReader::new(Arena::BASE, bytes.len())?;
    cache.write(store, position, u64::MAX, &mut from, |size| store.size.store(size, Ordering::Relaxed))
}

fn read(cache: &PageCache, store: &FakeStore, position: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let arena = Arena::install(len.div_ceil(PAGE_SIZE).max(1));
    let mut to = UserWriter::new(Arena::BASE, len)?;
    let done = cache.read(store, position, &mut to)?;
    Ok(arena.read(0, done))
}

#[test]
fn reads_are_cached_and_run_ahead() {
    let (store, cache) = (FakeStore::new(100), PageCache::new());
    for index in 0..100 {
        assert_eq!(read(&cache, &store, index * PAGE, 3).unwrap(), [value_of(index); 3]);
    }
    // 4, 8, 16, 32, 32 and what is left.
    assert_eq!(store.reads.load(Ordering::Relaxed), 6);
    assert_eq!(read(&cache, &store, 100 * PAGE - 1, 10).unwrap(), [100]);
    assert_eq!(read(&cache, &store, 100 * PAGE, 10).unwrap(), []);
    assert_eq!(store.reads.load(Ordering::Relaxed), 6);
    assert_eq!(cache.shrink(), 100);
    assert_eq!(frames::used(), 0);
}

#[test]
fn a_write_reaches_the_disk_when_it_is_written_back() {
    let (store, cache) = (FakeStore::new(4), PageCache::new());
    write(&cache, &store, PAGE - 2, &[9; 4]).unwrap();
    assert_eq!(store.on_disk(0).unwrap()[PAGE_SIZE - 1], 1);
    assert!(cache.is_dirty());
    assert_eq!(cache.shrink(), 2, "those that were read ahead");
    cache.write_back(&store, 0, u64::MAX).unwrap();
    assert!(!cache.is_dirty());
    assert_eq!(store.on_disk(0).unwrap()[PAGE_SIZE - 3..], [1, 9, 9]);
    assert_eq!(store.on_disk(1).unwrap()[..3], [9, 9, 2]);
    assert_eq!(store.writes.load(Ordering::Relaxed), 1);
    cache.write_back(&store, 0, u64::MAX).unwrap();
    assert_eq!(store.writes.load(Ordering::Relaxed), 1);
}

#[test]
fn a_whole_page_is_written_without_reading_it() {
    let (store, cache) = (FakeStore::new(2), PageCache::new());
    write(&cache, &store, 0, &[7; PAGE_SIZE]).unwrap();
    write(&cache, &store, 5 * PAGE + 3, &[8; 2]).unwrap();
    assert_eq!(store.reads.load(Ordering::Relaxed), 0);
    assert_eq!(store.size(), 5 * PAGE + 5);
    assert_eq!(read(&cache, &store, 5 * PAGE, 9).unwrap(), [0, 0, 0, 8, 8]);
    assert_eq!(read(&cache, &store, 3 * PAGE, 1).unwrap(), [0]);
}

#[test]
fn a_full_disk_is_told_by_the_write() {
    let (store, cache) = (FakeStore::new(1), PageCache::new());
    store.room.store(1, Ordering::Relaxed);
    assert_eq!(write(&cache, &store, 0, &[3; 3 * PAGE_SIZE]), Ok(2 * PAGE_SIZE));
    assert_eq!(write(&cache, &store, 2 * PAGE, &[3]), Err(Errno::ENOSPC));
    assert_eq!(store.size(), 2 * PAGE);
    cache.write_back(&store, 0, u64::MAX).unwrap();
}

#[test]
fn what_could_not_be_written_is_kept_and_told_once() {
    let (store, cache) = (FakeStore::new(2), PageCache::new());
    write(&cache, &store, 0, &[5]).unwrap();
    let mark = cache.error_mark();
    store.is_broken.store(true, Ordering::Relaxed);
    assert_eq!(cache.write_back(&store, 0, u64::MAX), Err(Errno::EIO));
    store.is_broken.store(false, Ordering::Relaxed);
    assert_eq!(cache.write_back(&store, 0, u64::MAX), Ok(()));
    assert_eq!(store.on_disk(0).unwrap()[0], 5);
    assert_eq!((cache.tell_error(&mark), cache.tell_error(&mark)), (Err(Errno::EIO), Ok(())), "of the earlier try");
    write(&cache, &store, 0, &[6]).unwrap();
    store.is_broken.store(true, Ordering::Relaxed);
    cache.abandon(Errno::EIO);
    assert!(!cache.is_dirty());
    assert_eq!(cache.write_back(&store, 0, u64::MAX), Ok(()));
    assert_eq!(cache.tell_error(&mark), Err(Errno::EIO), "of what was given up");
    assert_eq!(read(&cache, &store, 0, 1).unwrap(), [6]);
    cache.punch(0, 2);
    store.is_broken.store(true, Ordering::Relaxed);
    assert_eq!(read(&cache, &store, 0, 1), Err(Errno::EIO));
    store.is_broken.store(false, Ordering::Relaxed);
    assert_eq!(read(&cache, &store, 0, 1).unwrap(), [5], "a page that could not be read is tried again");
}

#[test]
fn a_cut_zeroes_the_rest_of_the_last_page() {
    let (store, cache) = (FakeStore::new(3), PageCache::new());
    write(&cache, &store, 2 * PAGE, &[5]).unwrap();
    store.size.store(10, Ordering::Relaxed);
    cache.cut(&store, 10).unwrap();
    store.disk.lock().unwrap().retain(|index, _| *index == 0);
    cache.write_back(&store, 0, u64::MAX).unwrap();
    assert_eq!(store.on_disk(0).unwrap()[8..12], [1, 1, 0, 0]);
    store.size.store(3 * PAGE, Ordering::Relaxed);
    assert_eq!(read(&cache, &store, 8, 4).unwrap(), [1, 1, 0, 0]);
    assert_eq!(read(&cache, &store, 2 * PAGE, 1).unwrap(), [0]);
}

#[test]
fn direct_transfers_leave_no_pages_and_agree_with_the_others() {
    let (cache, store) = (PageCache::new(), FakeStore::new(40));
    write(&cache, &store, PAGE + 10, b"dirty").unwrap();
    let mut bytes = vec![0; 39 * PAGE_SIZE];
    let done = cache.read_direct(&store, 512, &mut UserWriter::to_kernel(&mut bytes), || ()).unwrap();
    assert_eq!(done, bytes.len());
    assert_eq!(&bytes[PAGE_SIZE + 10 - 512..][..5], b"dirty");
    assert_eq!(bytes[PAGE_SIZE * 38], value_of(38));
    assert!(cache.is_resident(1) && !cache.is_resident(0) && !cache.is_resident(38));
    let end = store.size();
    assert_eq!(cache.read_direct(&store, end - 100, &mut UserWriter::to_kernel(&mut bytes), || ()), Ok(100));
    assert_eq!(cache.read_direct(&store, end, &mut UserWriter::to_kernel(&mut bytes), || ()), Ok(0));

    write(&cache, &store, 5 * PAGE + 512, &[7; 2 * PAGE_SIZE]).unwrap();
    cache.finish_direct(&store, 5 * PAGE + 512, 2 * PAGE_SIZE).unwrap();
    assert!((5..8).all(|index| !cache.is_resident(index)));
    assert_eq!(store.on_disk(6).unwrap(), vec![7; PAGE_SIZE]);
    assert_eq!(store.on_disk(5).unwrap()[511..513], [value_of(5), 7]);
    // What is dirty elsewhere stays so.
    assert!(cache.is_dirty());
    store.is_broken.store(true, Ordering::Relaxed);
    assert_eq!(cache.read_direct(&store, 0, &mut UserWriter::to_kernel(&mut bytes), || ()), Err(Errno::EIO));
}

#[test]
fn a_direct_read_shows_a_file_as_it_is_before_or_after_it_is_rearranged() {
    const PAGES: usize = 40;
    let (cache, store) = (Arc::new(PageCache::new()), FakeStore::new(PAGES as u64));
    let after: Vec<u8> = (1..PAGES as u64).map(value_of).collect();
    store.collapse_at(Call::SecondRead, &cache);
    let mut bytes = vec![0; PAGES * PAGE_SIZE];
    let mut to = UserWriter::to_kernel(&mut bytes);
    let locked = std::cell::Cell::new(0);
    let done = cache.read_direct(&store, 0, &mut to, || locked.set(locked.get() + 1)).unwrap();
    assert_eq!((done, to.remaining()), ((PAGES - 1) * PAGE_SIZE, PAGE_SIZE));
    let found: Vec<u8> = bytes[..done].iter().step_by(PAGE_SIZE).copied().collect();
    assert_eq!(found, after);
    assert_eq!(locked.get(), 1);
    cache.read_direct(&store, 0, &mut UserWriter::to_kernel(&mut bytes), || locked.set(0)).unwrap();
    assert_eq!(locked.get(), 1, "nobody is in the way");
}

#[test]
fn a_store_is_not_lost_when_its_page_goes_before_it_is_mapped() {
    let (cache, store) = (Arc::new(PageCache::new()), FakeStore::new(3));
    store.collapse_at(Call::Reserve, &cache);
    let frame = cache.page_for_write(&store, 0).unwrap();
    assert!(cache.is_dirty());
    frame.write(1, b"x");
    cache.write_back(&store, 0, u64::MAX).unwrap();
    assert_eq!(store.on_disk(0).unwrap()[..3], [2, b'x', 2]);
    // Behind the end there is no page any more.
    let cutting = cache.clone();
    store.interrupt(Call::Reserve, move |store| {
        store.size.store(PAGE, Ordering::Relaxed);
        cutting.cut(store, PAGE).unwrap();
    });
    assert_eq!(cache.page_for_write(&store, 1).unwrap_err(), Errno::EFAULT);
}

#[test]
fn what_is_written_is_kept_when_somebody_else_changes_the_file_meanwhile() {
    let (cache, store) = (Arc::new(PageCache::new()), FakeStore::new(2));
    read(&cache, &store, 0, 1).unwrap();
    let arena = Arena::install(1);
    arena.write(0, b"new");
    let mut from = UserReader::new(Arena::BASE, 3).unwrap();
    let grow = |size| {
        cache.invalidate();
        store.size.store(size, Ordering::Relaxed);
    };
    assert_eq!(cache.write(&store, 2 * PAGE - 1, u64::MAX, &mut from, grow), Ok(3));
    cache.write_back(&store, 0, u64::MAX).unwrap();
    assert_eq!(store.on_disk(1).unwrap()[PAGE_SIZE - 2..], [2, b'n']);
    assert_eq!(store.on_disk(2).unwrap()[..3], *b"ew\0");
}

#[test]
fn pages_that_are_stored_to_late_are_written_some_at_a_time() {
    const PAGES: u64 = 700;
    let (cache, store) = (Arc::new(PageCache::new()), FakeStore::new(1));
    store.size.store(PAGES * PAGE, Ordering::Relaxed);
    cache.page_for_write(&store, PAGES - 1).unwrap();
    let storing = cache.clone();
    store.interrupt(Call::Write, move |store| {
        // The write-back is past them.
        for index in (0..600).filter(|index| index % 290 != 7) {
            storing.page_for_write(store, index).unwrap().write(0, b"late");
        }
    });
    cache.rearrange(&store, 0, || Ok(())).unwrap();
    assert!((1..=256).contains(&store.most_written.load(Ordering::Relaxed)));
    assert!((0..600).filter(|index| index % 290 != 7).all(|index| store.on_disk(index).unwrap()[..4] == *b"late"));
    assert!(!cache.is_dirty());
    // What cannot be written stays as it was.
    cache.page_for_write(&store, PAGES - 1).unwrap();
    let storing = cache.clone();
    store.interrupt(Call::Write, move |store| {
        (0..600).for_each(|index| storing.page_for_write(store, index).unwrap().write(0, b"more"));
        store.interrupt(Call::Write, |store| {
            store.interrupt(Call::Write, |store| store.is_broken.store(true, Ordering::Relaxed));
        });
    });
    assert_eq!(cache.rearrange(&store, 0, || Ok(())), Err(Errno::EIO));
    store.is_broken.store(false, Ordering::Relaxed);
    cache.write_back(&store, 0, u64::MAX).unwrap();
    assert!((0..600).all(|index| store.on_disk(index).unwrap()[..4] == *b"more"));
}

#[test]
fn a_write_says_once_what_it_appends() {
    let (store, cache) = (FakeStore::new(1), PageCache::new());
    let arena = Arena::install(4);
    arena.write(0, &[9; 3 * PAGE_SIZE]);
    let mut from = UserReader::new(Arena::BASE, 3 * PAGE_SIZE).unwrap();
    let grow = |size| {
        assert_eq!(cache.pages.lock().appended, PAGE - 100..4 * PAGE - 100);
        store.size.store(size, Ordering::Relaxed);
    };
    assert_eq!(cache.write(&store, PAGE - 100, u64::MAX, &mut from, grow), Ok(3 * PAGE_SIZE));
    assert!(cache.pages.lock().appended.is_empty());
}

#[test]
fn advice_reads_and_drops() {
    let (cache, store) = (PageCache::new(), FakeStore::new(10));
    cache.read_ahead(&store, 2, 100).unwrap();
    assert!((2..10).all(|index| cache.is_resident(index)));
    write(&cache, &store, 3 * PAGE, b"x").unwrap();
    cache.drop_range(0, 8);
    let resident: Vec<u64> = (0..10).filter(|index| cache.is_resident(*index)).collect();
    assert_eq!(resident, [3, 8, 9]);
}

#[test]
fn what_is_written_while_others_write_back_is_written_back() {
    let (store, cache) = (FakeStore::new(0), PageCache::new());
    let mut expected = Vec::new();
    for (round, len) in [100, PAGE_SIZE, 3 * PAGE_SIZE + 7, 20].into_iter().enumerate() {
        let bytes = vec![u8::try_from(round + 1).unwrap(); len];
        let arena = Arena::install(len.div_ceil(PAGE_SIZE));
        arena.write(0, &bytes);
        let mut from = UserReader::new(Arena::BASE, len).unwrap();
        let grow = |size| {
            // What is written is there, and the file is not longer yet.
            cache.write_back(&store, 0, u64::MAX).unwrap();
            store.size.store(size, Ordering::Relaxed);
        };
        assert_eq!(cache.write(&store, expected.len() as u64, u64::MAX, &mut from, grow), Ok(len));
        expected.extend(bytes);
    }
    cache.write_back(&store, 0, u64::MAX).unwrap();
    assert_eq!(cache.shrink(), expected.len().div_ceil(PAGE_SIZE) as u64);
    assert_eq!(read(&cache, &store, 0, 8 * PAGE_SIZE), Ok(expected));
}

#[test]
fn what_is_appended_to_a_mapped_page_is_not_taken_for_a_store_behind_the_end() {
    let (store, cache) = (FakeStore::new(1), PageCache::new());
    store.size.store(100, Ordering::Relaxed);
    cache.page_for_write(&store, 0).unwrap().write(90, &[1; 60]);
    let arena = Arena::install(1);
    arena.write(0, &[9; 20]);
    let mut from = UserReader::new(Arena::BASE, 20).unwrap();
    let grow = |size| {
        cache.write_back(&store, 0, u64::MAX).unwrap();
        store.size.store(size, Ordering::Relaxed);
    };
    assert_eq!(cache.write(&store, 110, u64::MAX, &mut from, grow), Ok(20));
    let expected = [[1; 10], [0; 10], [9; 10], [9; 10]].concat();
    assert_eq!(read(&cache, &store, 90, 100), Ok(expected.clone()));
    cache.write_back(&store, 0, u64::MAX).unwrap();
    assert_eq!(store.on_disk(0).unwrap()[90..130], expected);
}

#[test]
fn stores_of_mappings_are_seen() {
    let (store, cache) = (FakeStore::new(1), PageCache::new());
    store.size.store(100, Ordering::Relaxed);
    let frame = cache.page_for_write(&store, 0).unwrap();
    frame.write(50, &[1; 100]);
    cache.write_back(&store, 0, u64::MAX).unwrap();
    assert_eq!(store.on_disk(0).unwrap()[98..102], [1, 1, 0, 0], "nothing behind the end");
    assert!(!cache.is_dirty());
    assert_eq!(cache.page(&store, 1).unwrap_err(), Errno::EFAULT);
}

#[test]
fn threads_agree() {
    let store = Arc::new(FakeStore::new(64));
    let cache = Arc::new(PageCache::new());
    let inode = Arc::new(Mutex::new(()));
    let workers: Vec<_> = (0..4)
        .map(|seed| {
            let (store, cache, inode) = (store.clone(), cache.clone(), inode.clone());
            threads::spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..300 {
                    let index = random.below(64) as u64;
                    match random.below(5) {
                        0 => {
                            let _lock = inode.lock().unwrap();
                            let mut value = [0; PAGE_SIZE];
                            random.fill(&mut value);
                            assert_eq!(write(&cache, &store, index * PAGE, &value), Ok(PAGE_SIZE));
                        }
                        1 => cache.write_back(&*store, index, index + 9).unwrap(),
                        2 => drop(cache.shrink()),
                        _ => {
                            let bytes = read(&cache, &store, index * PAGE, PAGE_SIZE).unwrap();
                            assert_eq!(bytes.len(), PAGE_SIZE);
                        }
                    }
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    cache.write_back(&*store, 0, u64::MAX).unwrap();
    for index in 0..64 {
        assert_eq!(read(&cache, &store, index * PAGE, PAGE_SIZE).unwrap(), store.on_disk(index).unwrap());
    }
}
