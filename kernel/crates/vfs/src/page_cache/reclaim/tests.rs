use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use abi::Errno;
use mm::{Backing, Effort, Frame, MapRequest, MappedObject, Mappings, PAGE_SIZE, Rights, Sharing};
use testkit::{Cpu, Random, frames, threads};

use super::PageCache;
use crate::page_cache::tests::{FakeStore, value_of};

const UNUSED: Effort = Effort { may_wait: false, takes_used: false };
const ANY: Effort = Effort { may_wait: true, takes_used: true };
const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);

/// A file to map.
struct MappedFile {
    store: FakeStore,
    cache: PageCache,
    /// Runs once, when the next page was fetched and is not mapped yet.
    meanwhile: Mutex<Option<Meanwhile>>,
}

type Meanwhile = Box<dyn FnOnce(&MappedFile) + Send>;

impl MappedFile {
    fn new(pages: u64) -> Arc<Self> {
        Arc::new(Self { store: FakeStore::new(pages), cache: PageCache::new(), meanwhile: Mutex::default() })
    }

    fn interrupt(&self, by: impl FnOnce(&Self) + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(by));
    }

    fn fetched(&self, page: Result<Frame, Errno>) -> Result<Frame, Errno> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile(self);
        }
        page
    }

    fn write_back(&self) {
        self.cache.write_back(&self.store, 0, u64::MAX).unwrap();
    }

    fn resident(&self) -> Vec<u64> {
        (0..64).filter(|index| self.cache.is_resident(*index)).collect()
    }
}

impl MappedObject for MappedFile {
    fn page(&self, index: u64) -> Result<Frame, Errno> {
        self.fetched(self.cache.page(&self.store, index))
    }

    fn page_at_hand(&self, index: u64) -> Option<Frame> {
        self.cache.page_at_hand(&self.store, index).and_then(|page| self.fetched(Ok(page)).ok())
    }

    fn page_for_write(&self, index: u64) -> Result<Frame, Errno> {
        self.fetched(self.cache.page_for_write(&self.store, index))
    }

    fn mappings(&self) -> Option<&Mappings> {
        Some(self.cache.mappings())
    }

    fn name(&self) -> Vec<u8> {
        b"/file".to_vec()
    }

    fn device_and_inode(&self) -> (u64, u64) {
        (1, 2)
    }
}

fn map(cpu: &Cpu, file: &Arc<MappedFile>, pages: usize, sharing: Sharing) -> usize {
    let backing = Backing::File { object: file.clone(), offset: 0, access: READ_WRITE };
    let request = MapRequest { sharing, backing, ..MapRequest::anonymous(pages * PAGE_SIZE, READ_WRITE) };
    cpu.space.map(request).unwrap()
}

fn load_all(cpu: &Cpu, address: usize, pages: usize) -> Vec<u8> {
    (0..pages).map(|page| cpu.load(address + page * PAGE_SIZE).unwrap()).collect()
}

#[test]
fn mapped_pages_go_when_they_were_not_used_for_a_round() {
    for sharing in [Sharing::Shared, Sharing::Private] {
        let (cpu, file) = (Cpu::new(), MappedFile::new(8));
        let address = map(&cpu, &file, 8, sharing);
        let expected: Vec<u8> = (0..8).map(value_of).collect();
        assert_eq!(load_all(&cpu, address, 8), expected);
        assert_eq!(file.cache.drop_some(100, UNUSED), 0, "all were used");
        cpu.load(address + 3 * PAGE_SIZE).unwrap();
        assert_eq!(file.cache.drop_some(100, UNUSED), 7);
        assert_eq!((file.resident(), cpu.table.entries().len()), (vec![3], 1));
        assert_eq!(file.cache.drop_some(100, UNUSED), 1);
        assert_eq!((frames::used(), cpu.space.usage().resident_file), (0, 0));
        assert_eq!(load_all(&cpu, address, 8), expected);
        assert_eq!(file.cache.drop_some(5, ANY), 5, "no more than was wanted");
        assert_eq!(file.cache.drop_some(100, ANY), 3);
    }
}

#[test]
fn what_somebody_needs_stays() {
    let (cpu, file) = (Cpu::new(), MappedFile::new(6));
    let address = map(&cpu, &file, 6, Sharing::Shared);
    let copies = map(&cpu, &file, 6, Sharing::Private);
    cpu.store(address, 99).unwrap();
    cpu.space.lock(address + PAGE_SIZE, PAGE_SIZE, false).unwrap();
    let transfer = file.cache.page(&file.store, 2).unwrap();
    load_all(&cpu, address, 6);
    cpu.store(copies + 5 * PAGE_SIZE, 77).unwrap();
    assert_eq!(file.cache.drop_some(100, ANY), 3);
    assert_eq!(file.resident(), [0, 1, 2], "dirty, locked, in a transfer");
    assert_eq!(cpu.table.entries().len(), 3, "dirty, locked, and the copy");
    drop(transfer);
    file.write_back();
    assert_eq!(file.cache.drop_some(100, ANY), 2);
    cpu.space.unlock(address + PAGE_SIZE, PAGE_SIZE).unwrap();
    assert_eq!(file.cache.drop_some(100, ANY), 1);
    assert_eq!((cpu.load(address), cpu.load(copies + 5 * PAGE_SIZE)), (Ok(99), Ok(77)));
    assert_eq!(file.store.on_disk(5).unwrap()[0], value_of(5));
}

#[test]
fn a_page_that_was_fetched_and_is_not_mapped_yet_stays() {
    let (cpu, file) = (Cpu::new(), MappedFile::new(4));
    let address = map(&cpu, &file, 4, Sharing::Shared);
    file.interrupt(|file| assert_eq!(file.cache.drop_some(100, ANY), 3, "those read ahead"));
    assert_eq!(cpu.load(address), Ok(value_of(0)));
    assert_eq!(file.resident(), [0]);
    // One that is to be stored to, and is written back and clean before it is mapped: the store begins again.
    file.interrupt(|file| {
        file.write_back();
        file.cache.drop_some(100, ANY);
    });
    cpu.store(address + PAGE_SIZE, 42).unwrap();
    assert!(file.cache.is_dirty());
    assert_eq!((file.cache.drop_some(100, ANY), cpu.load(address + PAGE_SIZE)), (0, Ok(42)));
    file.write_back();
    assert_eq!(file.cache.drop_some(100, ANY), 1);
    assert_eq!(file.store.on_disk(1).unwrap()[0], 42);
}

#[test]
fn locks_that_others_hold_are_left_alone() {
    let (cpu, file) = (Cpu::new(), MappedFile::new(4));
    let address = map(&cpu, &file, 4, Sharing::Shared);
    load_all(&cpu, address, 4);
    let at_once = Effort { may_wait: false, ..ANY };
    {
        let _pages = file.cache.pages.lock();
        assert_eq!(file.cache.drop_some(100, at_once), 0);
    }
    assert_eq!(file.cache.drop_some(100, at_once), 4);
}

#[test]
fn the_hand_goes_on_where_it_stopped() {
    let (cpu, file) = (Cpu::new(), MappedFile::new(40));
    let address = map(&cpu, &file, 40, Sharing::Shared);
    load_all(&cpu, address, 40);
    assert_eq!(file.cache.drop_some(100, UNUSED), 0);
    for rest in [30, 20, 10, 0] {
        assert_eq!(file.cache.drop_some(10, UNUSED), 10);
        assert_eq!(file.resident().len(), rest);
    }
    load_all(&cpu, address, 40);
    drop(cpu);
    assert_eq!(file.cache.drop_some(100, UNUSED), 40, "nobody maps them any more");
}

#[test]
fn no_store_is_lost_while_pages_come_and_go() {
    const PAGES: usize = 24;
    const OWNERS: usize = 3;
    const STEPS: usize = 600;
    for seed in 0..3 {
        let (cpu, file) = (Cpu::new(), MappedFile::new(PAGES as u64));
        let address = map(&cpu, &file, PAGES, Sharing::Shared);
        let is_over = Arc::new(AtomicBool::new(false));
        let owners: Vec<_> = (0..OWNERS)
            .map(|owner| {
                let cpu = cpu.clone();
                threads::spawn(move || {
                    let mut random = Random::new(seed * 100 + owner as u64);
                    let mut expected: Vec<u8> = (0..PAGES as u64).map(value_of).collect();
                    for _ in 0..STEPS {
                        let page = random.below(PAGES / OWNERS) * OWNERS + owner;
                        let at = address + page * PAGE_SIZE;
                        assert_eq!(cpu.load(at), Ok(expected[page]), "page {page}, seed {seed}");
                        if random.below(2) == 0 {
                            expected[page] = expected[page].wrapping_add(1);
                            cpu.store(at, expected[page]).unwrap();
                        }
                    }
                    (owner, expected)
                })
            })
            .collect();
        let others: Vec<_> = (0..3)
            .map(|other| {
                let (file, is_over) = (file.clone(), is_over.clone());
                threads::spawn(move || {
                    let mut random = Random::new(seed * 100 + 50 + other);
                    while !is_over.load(Ordering::Relaxed) {
                        let effort = Effort { may_wait: random.below(2) == 0, takes_used: random.below(4) == 0 };
                        match other {
                            0 => file.write_back(),
                            _ => drop(file.cache.drop_some(random.below(PAGES) as u64, effort)),
                        }
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        let expected: Vec<_> = owners.into_iter().map(|owner| owner.join().unwrap()).collect();
        is_over.store(true, Ordering::Relaxed);
        others.into_iter().for_each(|other| other.join().unwrap());
        file.write_back();
        for (owner, expected) in expected {
            for page in (owner..PAGES).step_by(OWNERS) {
                assert_eq!(file.store.on_disk(page as u64).unwrap()[0], expected[page], "page {page}, seed {seed}");
            }
        }
        drop((cpu, file));
        assert_eq!(frames::used(), 0, "frames leak with seed {seed}");
    }
}
