//! Page faults: what is mapped when, copies on write, stacks, code sites, running out of memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, ThreadId};

use crate::support::{FakeFile, Observe};
use abi::{Errno, ProtFlags, mman};
use mm::{
    Access, Backing, CodeSite, Effort, FaultError, Limits, MapOptions, MapRequest, MappedObject, PAGE_SIZE, PageKind,
    PageSet, Rights, Sharing, USER_END,
};
use sync::rank;
use testkit::{Cpu, MMAP_BASE, frames, threads};

const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);
const READ_EXECUTE: Rights = Rights::READ.union(Rights::EXECUTE);
const BASE: usize = 0x10_0000_0000;
const STACK_GUARD_GAP: usize = 256 * PAGE_SIZE;

fn anonymous(pages: usize) -> MapRequest {
    MapRequest::anonymous(pages * PAGE_SIZE, READ_WRITE)
}

#[test]
fn anonymous_memory_appears_when_touched() {
    let cpu = Cpu::new();
    let address = cpu.space.map(anonymous(4)).unwrap();
    assert_eq!((cpu.present_pages(), frames::used()), (0, 0));
    assert_eq!(cpu.load(address + 5), Ok(0));
    assert_eq!(cpu.kind(address), Some(PageKind::Zero));
    assert_eq!(frames::used(), 0, "a load costs no frame");
    cpu.store(address + 5, 9).unwrap();
    cpu.store(address + PAGE_SIZE, 8).unwrap();
    assert_eq!(frames::used(), 2);
    assert_eq!((cpu.load(address + 5), cpu.load(address + 6)), (Ok(9), Ok(0)));
    cpu.check_invariants();
    cpu.space.unmap(address, PAGE_SIZE).unwrap();
    assert_eq!(frames::used(), 1, "freed at once");
    assert_eq!(cpu.load(address), Err(FaultError::Unmapped));
}

#[test]
fn errors_of_accesses() {
    let cpu = Cpu::new();
    let read_only = cpu.space.map(MapRequest { rights: Rights::READ, ..anonymous(1) }).unwrap();
    assert_eq!(cpu.store(read_only, 1), Err(FaultError::Rights));
    assert_eq!(cpu.execute(read_only), Err(FaultError::Rights));
    let none = cpu.space.map(MapRequest { rights: Rights::empty(), ..anonymous(1) }).unwrap();
    assert_eq!(cpu.load(none), Err(FaultError::Rights));
    for address in [0, 0xffff, USER_END, usize::MAX, 1 << 47] {
        assert_eq!(cpu.space.fault(address, Access::Read), Err(FaultError::Unmapped), "{address:#x}");
    }
    let file = FakeFile::new(1);
    let file = cpu.space.map(MapRequest::private_file(file, 0, 2 * PAGE_SIZE, READ_WRITE)).unwrap();
    assert_eq!(cpu.load(file), Ok(1));
    assert_eq!(cpu.load(file + PAGE_SIZE), Err(FaultError::BeyondEnd));
    assert_eq!(cpu.store(file + PAGE_SIZE, 1), Err(FaultError::BeyondEnd));
}

#[test]
fn rights_come_and_go() {
    let cpu = Cpu::new();
    let address = cpu.space.map(anonymous(1)).unwrap();
    cpu.store(address, 5).unwrap();
    cpu.space.protect(address, PAGE_SIZE, ProtFlags::empty()).unwrap();
    assert_eq!(cpu.load(address), Err(FaultError::Rights));
    assert_eq!(frames::used(), 1, "PROT_NONE keeps the contents");
    cpu.space.protect(address, PAGE_SIZE, ProtFlags::READ).unwrap();
    assert_eq!((cpu.load(address), cpu.store(address, 6)), (Ok(5), Err(FaultError::Rights)));
    cpu.space.protect(address, PAGE_SIZE, ProtFlags::READ | ProtFlags::WRITE).unwrap();
    assert_eq!((cpu.store(address, 6), cpu.load(address)), (Ok(()), Ok(6)));
}

#[test]
fn private_file_pages_are_copied_on_the_first_store() {
    let cpu = Cpu::new();
    let file = FakeFile::new(3);
    let before = frames::used();
    let address = cpu.space.map(MapRequest::private_file(file.clone(), 0x1000, 2 * PAGE_SIZE, READ_WRITE)).unwrap();
    assert_eq!(cpu.load(address), Ok(2));
    assert_eq!((cpu.kind(address), frames::used()), (Some(PageKind::File), before), "the file's own page");
    cpu.store(address, 99).unwrap();
    assert_eq!((cpu.load(address), file.byte(1)), (Ok(99), 2));
    assert_eq!((cpu.kind(address), frames::used()), (Some(PageKind::Anonymous), before + 1));
    cpu.store(address + PAGE_SIZE, 98).unwrap();
    assert_eq!(file.byte(2), 3);
    cpu.space.advise(address, 2 * PAGE_SIZE, mman::MADV_DONTNEED).unwrap();
    assert_eq!((cpu.load(address), frames::used()), (Ok(2), before), "the file's contents again");
    assert_eq!(*file.notices.lock().unwrap(), [], "private stores are nothing to the file");
    cpu.check_invariants();
}

#[test]
fn shared_files_are_told_of_stores() {
    let cpu = Cpu::new();
    let file = FakeFile::new(3);
    let backing = Backing::File { object: file.clone(), offset: 0, access: Rights::all() };
    let request = MapRequest { sharing: Sharing::Shared, backing, ..anonymous(3) };
    let address = cpu.space.map(request).unwrap();
    assert_eq!(cpu.load(address), Ok(1));
    assert_eq!(*file.notices.lock().unwrap(), []);
    cpu.store(address, 50).unwrap();
    cpu.store(address, 51).unwrap();
    cpu.store(address + PAGE_SIZE, 60).unwrap();
    assert_eq!(*file.notices.lock().unwrap(), [0, 1], "once a page");
    assert_eq!((file.byte(0), file.byte(1)), (51, 60));
    cpu.check_invariants();
}

#[test]
fn truncation_takes_pages_away() {
    let cpu = Cpu::new();
    let file = FakeFile::new(4);
    let private = cpu.space.map(MapRequest::private_file(file.clone(), 0, 4 * PAGE_SIZE, READ_WRITE)).unwrap();
    let shared = Backing::File { object: file.clone(), offset: 0x2000, access: Rights::all() };
    let shared = cpu.space.map(MapRequest { sharing: Sharing::Shared, backing: shared, ..anonymous(2) }).unwrap();
    for page in 0..4 {
        cpu.store(private + page * PAGE_SIZE, 7).unwrap();
    }
    assert_eq!(cpu.load(shared), Ok(3));
    file.truncate(2);
    assert_eq!(cpu.load(shared), Err(FaultError::BeyondEnd));
    assert_eq!(cpu.load(private + 2 * PAGE_SIZE), Err(FaultError::BeyondEnd));
    assert_eq!(cpu.load(private + PAGE_SIZE), Ok(7));
    cpu.check_invariants();
}

/// A fault on the first of two file pages, during which something happens.
fn fault_while(access: Access, meanwhile: impl FnOnce(&Cpu, &FakeFile, usize) + Send + 'static) -> (Cpu, usize) {
    let cpu = Cpu::new();
    let file = FakeFile::with_sites(2, vec![site(0, 0, 1)]);
    let address = cpu.space.map(MapRequest::private_file(file.clone(), 0, 2 * PAGE_SIZE, READ_WRITE)).unwrap();
    let (other_cpu, other_file) = (cpu.clone(), file.clone());
    *file.meanwhile.lock().unwrap() = Some(Box::new(move || meanwhile(&other_cpu, &other_file, address)));
    // What the fault answers shows in what is mapped.
    let _ = cpu.space.fault(address, access);
    cpu.check_invariants();
    file.check_mapped(&cpu);
    (cpu, address)
}

#[test]
fn pages_that_change_while_they_are_fetched() {
    let (cpu, address) = fault_while(Access::Read, |_, file, _| file.replace_pages(0));
    assert_eq!(cpu.load(address), Ok(0), "not the page that was given up");
    let (cpu, address) = fault_while(Access::Read, |_, file, _| file.truncate(0));
    assert_eq!(cpu.load(address), Err(FaultError::BeyondEnd));
    let (cpu, address) = fault_while(Access::Read, |cpu, _, address| cpu.space.unmap(address, PAGE_SIZE).unwrap());
    assert_eq!((cpu.present_pages(), cpu.load(address)), (0, Err(FaultError::Unmapped)));
    let (cpu, address) = fault_while(Access::Read, |cpu, _, address| {
        cpu.space.map(anonymous(1).at(address)).unwrap();
    });
    assert_eq!((cpu.kind(address), cpu.load(address)), (Some(PageKind::Zero), Ok(0)), "another mapping by now");
    let (cpu, address) = fault_while(Access::Write, |cpu, _, address| cpu.store(address, 9).unwrap());
    assert_eq!(cpu.load(address), Ok(9), "another thread was faster");
    let (cpu, address) = fault_while(Access::Write, |cpu, _, address| assert_eq!(cpu.load(address), Ok(1)));
    assert_eq!(cpu.kind(address), Some(PageKind::Anonymous));
    let (cpu, address) = fault_while(Access::Read, |cpu, _, address| {
        cpu.space.protect(address, PAGE_SIZE, ProtFlags::READ | ProtFlags::EXEC).unwrap();
    });
    assert_eq!(cpu.execute(address), Ok(6), "disarmed though it was fetched as data");
    let (cpu, address) = fault_while(Access::Write, |cpu, _, address| {
        cpu.space.protect(address, PAGE_SIZE, ProtFlags::READ).unwrap();
    });
    assert_eq!(cpu.present_pages(), 0);
    assert_eq!(cpu.store(address, 1), Err(FaultError::Rights));
}

/// Tells which thread let go of it.
struct Witness(Arc<Mutex<Option<ThreadId>>>);

impl Drop for Witness {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = Some(thread::current().id());
    }
}

/// Waits until `count` are left who have a file: what a fault has left may be in the hands of another test, whose thread unmaps something.
fn await_owners(file: &Weak<FakeFile>, count: usize) {
    while file.strong_count() != count {
        thread::yield_now();
    }
}

#[test]
fn a_fault_does_not_end_the_file_whose_mapping_went_meanwhile() {
    let cpu = Cpu::new();
    let file = FakeFile::new(1);
    let address = cpu.space.map(MapRequest::private_file(file.clone(), 0, PAGE_SIZE, READ_WRITE)).unwrap();
    let known = Arc::downgrade(&file);
    let ended_by = Arc::new(Mutex::new(None));
    let witness = Witness(ended_by.clone());
    let (other_cpu, other) = (cpu.clone(), file.clone());
    *file.meanwhile.lock().unwrap() = Some(Box::new(move || {
        other_cpu.space.unmap(address, PAGE_SIZE).unwrap();
        // The file has it until its end.
        *other.meanwhile.lock().unwrap() = Some(Box::new(move || drop(witness)));
        drop(other);
    }));
    drop(file);
    assert_eq!(cpu.load(address), Err(FaultError::Unmapped));
    assert_ne!(*ended_by.lock().unwrap(), Some(thread::current().id()), "the fault had the last reference");
    cpu.space.unmap(address, PAGE_SIZE).unwrap();
    await_owners(&known, 0);
}

/// How many have a file when a fault on its only page is over, during which something happens.
fn owners_after_fault(meanwhile: impl Fn(&Cpu, usize) + Send + 'static) -> usize {
    let cpu = Cpu::new();
    let file = FakeFile::new(1);
    let address = cpu.space.map(MapRequest::private_file(file.clone(), 0, PAGE_SIZE, READ_WRITE)).unwrap();
    let other_cpu = cpu.clone();
    *file.meanwhile.lock().unwrap() = Some(Box::new(move || meanwhile(&other_cpu, address)));
    let _ = cpu.load(address);
    let owners = Arc::strong_count(&file);
    cpu.space.clear();
    await_owners(&Arc::downgrade(&file), 1);
    owners
}

#[test]
fn a_fault_leaves_a_file_to_others_whenever_its_mapping_went() {
    // Somebody else has the file when the fault looks, and may be about to let go of it. Other tests unmap things at the same time.
    let is_left = |_| owners_after_fault(|cpu, address| cpu.space.unmap(address, PAGE_SIZE).unwrap()) == 2;
    assert!((0..100).any(is_left));
    // Where the area stands it has the file, whatever else has changed.
    assert_eq!(owners_after_fault(|_, _| {}), 2);
    assert_eq!(owners_after_fault(|cpu, at| cpu.space.protect(at, PAGE_SIZE, ProtFlags::empty()).unwrap()), 2);
    let cpu = Cpu::new();
    let file = FakeFile::new(1);
    let address = cpu.space.map(MapRequest::private_file(file.clone(), 0, 2 * PAGE_SIZE, Rights::empty())).unwrap();
    for _ in 0..3 {
        cpu.space.peek(address, &mut [0]).unwrap();
        assert_eq!(cpu.space.peek(address + PAGE_SIZE, &mut [0]), Err(FaultError::BeyondEnd));
    }
    assert_eq!(Arc::strong_count(&file), 2, "nothing gathers");
    cpu.space.clear();
}

#[test]
fn the_last_reference_to_a_cleared_address_space_goes_under_any_lock() {
    const ROUNDS: usize = 500;
    let file = FakeFile::new(1);
    let is_over = Arc::new(AtomicBool::new(false));
    let taker = {
        let (file, is_over) = (file.clone(), is_over.clone());
        threads::spawn(move || {
            let lock = sync::Mutex::new(rank::BUFFERS, ());
            while !is_over.load(Ordering::Relaxed) {
                let _held = lock.lock();
                let mappings = file.mappings().unwrap();
                mappings.take_unused(&PageSet::new(0), Effort { may_wait: false, takes_used: true });
            }
        })
    };
    for _ in 0..ROUNDS {
        let cpu = Cpu::new();
        cpu.space.map(MapRequest::private_file(file.clone(), 0, PAGE_SIZE, READ_WRITE)).unwrap();
        thread::yield_now();
        cpu.space.clear();
    }
    is_over.store(true, Ordering::Relaxed);
    taker.join().unwrap();
}

#[test]
fn stacks_grow_down_to_the_limit() {
    let cpu = Cpu::new();
    let top = MMAP_BASE + (64 << 20);
    cpu.space.map(anonymous(2).at(top - 2 * PAGE_SIZE).with(MapOptions::GROWS_DOWN)).unwrap();
    cpu.space.set_limits(Limits { stack: 64 << 10, ..Limits::default() });
    let lowest = top - (64 << 10);
    assert_eq!(cpu.store(top - 3 * PAGE_SIZE + 5, 1), Ok(()), "any address below, not only the next page");
    assert_eq!(cpu.store(lowest, 1), Ok(()));
    assert_eq!(cpu.store(lowest - 1, 1), Err(FaultError::Unmapped));
    let areas = cpu.space.areas();
    assert_eq!((areas.len(), areas[0].range.start(), areas[0].range.end()), (1, lowest, top));
    assert_eq!(cpu.space.usage().stack, 16);
    cpu.check_invariants();
}

#[test]
fn stacks_keep_their_distance() {
    let cpu = Cpu::new();
    let top = MMAP_BASE + (64 << 20);
    cpu.space.map(anonymous(1).at(top - PAGE_SIZE).with(MapOptions::GROWS_DOWN)).unwrap();
    let below_end = top - PAGE_SIZE - STACK_GUARD_GAP - 4 * PAGE_SIZE;
    let below = MapRequest { rights: Rights::READ, ..anonymous(1).at(below_end - PAGE_SIZE) };
    cpu.space.map(below).unwrap();
    let gap_end = below_end + STACK_GUARD_GAP;
    assert_eq!(cpu.store(gap_end, 1), Ok(()));
    assert_eq!(cpu.store(gap_end - 1, 1), Err(FaultError::Unmapped));
    // An inaccessible neighbour is a guard itself.
    cpu.space.protect(below_end - PAGE_SIZE, PAGE_SIZE, ProtFlags::empty()).unwrap();
    assert_eq!(cpu.store(gap_end - 1, 1), Ok(()));
    assert_eq!(cpu.store(below_end, 1), Ok(()));
    assert_eq!(cpu.store(below_end - 1, 1), Err(FaultError::Rights));
    // New mappings stay out of the gap.
    let hinted = MapRequest { address: below_end - 2 * PAGE_SIZE, ..anonymous(1) };
    assert_eq!(cpu.space.map(hinted), Ok(below_end - 2 * PAGE_SIZE));
    cpu.space.unmap(below_end - 2 * PAGE_SIZE, 2 * PAGE_SIZE).unwrap();
    let hinted = MapRequest { address: below_end - 2 * PAGE_SIZE, ..anonymous(1) };
    assert_eq!(cpu.space.map(hinted), Ok(MMAP_BASE - PAGE_SIZE));
}

fn site(page: u64, offset_in_page: u16, original: u8) -> (u64, CodeSite) {
    (page, CodeSite { offset_in_page, original, call: None })
}

#[test]
fn code_sites_are_disarmed_in_executable_pages() {
    let cpu = Cpu::new();
    let file = FakeFile::with_sites(3, vec![site(0, 0, 1), site(0, 7, 0), site(1, 9, 0xf4)]);
    let before = frames::used();
    let address = cpu.space.map(MapRequest::private_file(file.clone(), 0, 3 * PAGE_SIZE, READ_EXECUTE)).unwrap();
    assert_eq!((cpu.execute(address), cpu.execute(address + 7), cpu.execute(address + 8)), (Ok(6), Ok(6), Ok(0)));
    assert_eq!(cpu.execute(address + PAGE_SIZE + 9), Ok(0), "other bytes than those analysed are left alone");
    assert_eq!(cpu.execute(address + 2 * PAGE_SIZE), Ok(3));
    assert_eq!((file.byte(0), frames::used()), (1, before + 2), "pages without sites are mapped in place");
    assert_eq!(cpu.space.code_site_at(address + 7), Some(CodeSite { offset_in_page: 7, original: 0, call: None }));
    assert_eq!(cpu.space.code_site_at(address + 8), None);
    assert_eq!(cpu.space.code_site_at(BASE), None);

    let data = cpu.space.map(MapRequest::private_file(file, 0, PAGE_SIZE, READ_WRITE)).unwrap();
    assert_eq!(cpu.load(data), Ok(1), "data is left alone");
    assert_eq!(cpu.space.code_site_at(data), None);
}

#[test]
fn code_sites_are_disarmed_when_pages_become_code() {
    let cpu = Cpu::new();
    let file = FakeFile::with_sites(3, vec![site(0, 0, 1), site(1, 0, 2), site(2, 0, 3)]);
    let address = cpu.space.map(MapRequest::private_file(file, 0, 3 * PAGE_SIZE, READ_WRITE)).unwrap();
    cpu.load(address).unwrap();
    cpu.store(address + PAGE_SIZE + 1, 77).unwrap();
    cpu.store(address + 2 * PAGE_SIZE, 78).unwrap();
    cpu.space.protect(address, 3 * PAGE_SIZE, ProtFlags::READ | ProtFlags::EXEC).unwrap();
    assert_eq!(cpu.execute(address), Ok(6), "was the file's page");
    assert_eq!(cpu.execute(address + PAGE_SIZE), Ok(6), "was a copy");
    assert_eq!(cpu.load(address + PAGE_SIZE + 1), Ok(77));
    assert_eq!(cpu.execute(address + 2 * PAGE_SIZE), Ok(78), "was overwritten by the program");
    cpu.check_invariants();
}

#[test]
fn fork_copies_on_write() {
    let parent = Cpu::new();
    let private = parent.space.map(anonymous(3).at(BASE)).unwrap();
    let shared = parent.space.map(MapRequest { sharing: Sharing::Shared, ..anonymous(1) }).unwrap();
    let hidden = parent.space.map(anonymous(1).at(2 * BASE)).unwrap();
    let wiped = parent.space.map(anonymous(1).at(3 * BASE)).unwrap();
    parent.space.advise(hidden, PAGE_SIZE, mman::MADV_DONTFORK).unwrap();
    parent.space.advise(wiped, PAGE_SIZE, mman::MADV_WIPEONFORK).unwrap();
    for address in [private, private + PAGE_SIZE, shared, hidden, wiped] {
        parent.store(address, 1).unwrap();
    }
    let before = frames::used();
    let child = parent.fork().unwrap();
    assert_eq!(frames::used(), before);
    parent.check_invariants();
    child.check_invariants();
    assert_eq!((child.load(private), child.load(shared)), (Ok(1), Ok(1)));
    assert_eq!((child.load(hidden), child.load(wiped)), (Err(FaultError::Unmapped), Ok(0)));
    child.store(private, 2).unwrap();
    assert_eq!((parent.load(private), child.load(private), frames::used()), (Ok(1), Ok(2), before + 1));
    parent.store(private, 3).unwrap();
    assert_eq!((child.load(private), frames::used()), (Ok(2), before + 1), "the last owner writes in place");
    child.store(shared, 4).unwrap();
    assert_eq!(parent.load(shared), Ok(4));
    drop(child);
    assert_eq!(frames::used(), before);
    parent.store(private + PAGE_SIZE, 5).unwrap();
    assert_eq!(frames::used(), before);
}

#[test]
fn running_out_of_memory_is_an_error() {
    let cpu = Cpu::new();
    let file = FakeFile::new(2);
    let private = cpu.space.map(MapRequest::private_file(file, 0, 2 * PAGE_SIZE, READ_WRITE)).unwrap();
    let address = cpu.space.map(anonymous(4)).unwrap();
    let shared = cpu.space.map(MapRequest { sharing: Sharing::Shared, ..anonymous(1) }).unwrap();
    cpu.load(address).unwrap();
    cpu.load(private).unwrap();
    frames::set_budget(Some(1));
    cpu.store(address + PAGE_SIZE, 1).unwrap();
    assert_eq!(cpu.store(address, 1), Err(FaultError::OutOfMemory));
    assert_eq!(cpu.store(private, 1), Err(FaultError::OutOfMemory));
    assert_eq!(cpu.store(private + PAGE_SIZE, 1), Err(FaultError::OutOfMemory));
    assert_eq!(cpu.store(shared, 1), Err(FaultError::OutOfMemory));
    assert_eq!(cpu.space.advise(address, 2 * PAGE_SIZE, mman::MADV_POPULATE_WRITE), Err(Errno::ENOMEM));
    assert_eq!(cpu.load(address), Ok(0));
    cpu.check_invariants();
    frames::set_budget(None);
    assert_eq!(cpu.store(address, 1), Ok(()));
}

/// Stores to `pages` pages from `address` on.
fn fill(cpu: &Cpu, address: usize, pages: usize) {
    for page in 0..pages {
        cpu.store(address + page * PAGE_SIZE, 1).unwrap();
    }
}

#[test]
fn who_fills_memory_in_order_gets_pages_ahead() {
    let cpu = Cpu::new();
    let address = cpu.space.map(anonymous(200)).unwrap();
    fill(&cpu, address, 15);
    assert_eq!(cpu.present_pages(), 15, "no run yet");
    fill(&cpu, address, 16);
    assert_eq!(cpu.present_pages(), 32);
    assert_eq!(cpu.load(address + 31 * PAGE_SIZE), Ok(0));
    fill(&cpu, address, 33);
    assert_eq!(cpu.present_pages(), 65, "the run goes on behind what was ahead, in longer steps");
    cpu.load(address + 80 * PAGE_SIZE).unwrap();
    fill(&cpu, address, 66);
    assert_eq!(cpu.present_pages(), 81, "up to a page that is there");
    fill(&cpu, address + 81 * PAGE_SIZE, 119);
    assert_eq!(cpu.present_pages(), 200, "and to the end of the area");
    assert_eq!(frames::used(), 199);
    cpu.check_invariants();
}

#[test]
fn nothing_comes_ahead_in_no_order_or_out_of_scarce_memory() {
    let cpu = Cpu::new();
    let address = cpu.space.map(anonymous(200)).unwrap();
    for page in 0..40 {
        cpu.store(address + page * 2 * PAGE_SIZE, 1).unwrap();
    }
    assert_eq!(cpu.present_pages(), 40);
    cpu.space.advise(address, 200 * PAGE_SIZE, mman::MADV_RANDOM).unwrap();
    fill(&cpu, address + 100 * PAGE_SIZE, 20);
    assert_eq!(cpu.present_pages(), 60);
    cpu.space.advise(address, 200 * PAGE_SIZE, mman::MADV_NORMAL).unwrap();
    frames::set_budget(Some(5));
    fill(&cpu, address + 120 * PAGE_SIZE, 5);
    assert_eq!((cpu.present_pages(), frames::used()), (65, 65), "what is free goes");
    assert_eq!(cpu.store(address + 125 * PAGE_SIZE, 1), Err(FaultError::OutOfMemory));
    frames::set_budget(None);
    cpu.check_invariants();
}

#[test]
fn populate_pages_everything_in() {
    let cpu = Cpu::new();
    let address = cpu.space.map(anonymous(200).with(MapOptions::POPULATE)).unwrap();
    assert_eq!((cpu.present_pages(), frames::used()), (200, 200));
    let file = FakeFile::new(2);
    cpu.space.map(MapRequest::private_file(file, 0, 3 * PAGE_SIZE, Rights::READ).with(MapOptions::POPULATE)).unwrap();
    assert_eq!(cpu.present_pages(), 202, "up to the end of the file");
    cpu.space.unmap(address, 200 * PAGE_SIZE).unwrap();
    assert_eq!(cpu.present_pages(), 2);
}

#[test]
fn nothing_leaks_with_the_address_space() {
    let cpu = Cpu::new();
    let file = FakeFile::new(2);
    let before = frames::used();
    let address = cpu.space.map(anonymous(3)).unwrap();
    let private = cpu.space.map(MapRequest::private_file(file, 0, PAGE_SIZE, READ_WRITE)).unwrap();
    for address in [address, private] {
        cpu.store(address, 1).unwrap();
    }
    assert_eq!(frames::used(), before + 2);
    drop(cpu);
    assert_eq!(frames::used(), 0, "with the file, whose last reference the mapping held");
}
