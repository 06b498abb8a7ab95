//! Memory seen from outside: `peek`, `poke`, and which pages there are.

use crate::support::{FakeFile, Observe};
use abi::ProtFlags;
use mm::range::PageRange;
use mm::{Access, Backing, FaultError, FaultKind, MapOptions, MapRequest, PAGE_SIZE, PageKind, Rights, Sharing};
use std::sync::atomic::Ordering::Relaxed;
use testkit::{Cpu, frames};

const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);
const READ_EXECUTE: Rights = Rights::READ.union(Rights::EXECUTE);

fn peek(cpu: &Cpu, address: usize) -> Result<u8, FaultError> {
    let mut byte = [0xee];
    cpu.space.peek(address, &mut byte).map(|()| byte[0])
}

#[test]
fn private_memory_is_reached_whatever_its_rights() {
    let cpu = Cpu::new();
    for rights in [Rights::empty(), Rights::READ, READ_EXECUTE, READ_WRITE] {
        let address = cpu.space.map(MapRequest::anonymous(2 * PAGE_SIZE, rights)).unwrap();
        assert_eq!(peek(&cpu, address), Ok(0));
        cpu.space.poke(address + PAGE_SIZE, &[7, 8]).unwrap();
        assert_eq!((peek(&cpu, address + PAGE_SIZE), peek(&cpu, address + PAGE_SIZE + 1)), (Ok(7), Ok(8)));
        cpu.check_invariants();
        assert_eq!(cpu.store(address, 1).is_ok(), rights == READ_WRITE, "rights are as they were");
        cpu.space.protect(address, 2 * PAGE_SIZE, ProtFlags::READ).unwrap();
        assert_eq!(cpu.load(address + PAGE_SIZE), Ok(7));
    }
    assert_eq!(peek(&cpu, 0x7000_0000), Err(FaultError::Unmapped));
    assert_eq!(cpu.space.poke(0x7000_0000, &[1]), Err(FaultError::Unmapped));
}

#[test]
fn a_file_keeps_its_own_when_a_private_page_is_changed() {
    let cpu = Cpu::new();
    for rights in [Rights::empty(), Rights::READ, READ_EXECUTE] {
        let file = FakeFile::new(3);
        let address = cpu.space.map(MapRequest::private_file(file.clone(), 0, 4 * PAGE_SIZE, rights)).unwrap();
        // One that is there already, and one that is not.
        let _ = cpu.load(address);
        for (page, own) in [(0, 1), (1, 2)] {
            cpu.space.poke(address + page * PAGE_SIZE, &[9]).unwrap();
            assert_eq!((peek(&cpu, address + page * PAGE_SIZE), file.byte(page)), (Ok(9), own));
            assert_eq!(cpu.kind(address + page * PAGE_SIZE), Some(PageKind::Anonymous));
        }
        assert_eq!(peek(&cpu, address + 2 * PAGE_SIZE), Ok(3));
        assert_eq!(peek(&cpu, address + 3 * PAGE_SIZE), Err(FaultError::BeyondEnd));
        assert_eq!(cpu.space.poke(address + 3 * PAGE_SIZE, &[1]), Err(FaultError::BeyondEnd));
        cpu.check_invariants();
        cpu.space.unmap(address, 4 * PAGE_SIZE).unwrap();
    }
    assert_eq!(frames::used(), 0);
}

#[test]
fn rights_count_for_shared_memory() {
    let cpu = Cpu::new();
    let file = FakeFile::new(1);
    let backing = Backing::File { object: file.clone(), offset: 0, access: READ_WRITE };
    let request = MapRequest { sharing: Sharing::Shared, backing, ..MapRequest::anonymous(PAGE_SIZE, READ_WRITE) };
    let address = cpu.space.map(request).unwrap();
    cpu.space.poke(address, &[5]).unwrap();
    assert_eq!((file.byte(0), file.notices.lock().unwrap().as_slice()), (5, &[0][..]), "the file is told of a store");
    cpu.space.protect(address, PAGE_SIZE, ProtFlags::READ).unwrap();
    assert_eq!(cpu.space.poke(address, &[6]), Err(FaultError::Rights));
    assert_eq!(peek(&cpu, address), Ok(5));
}

#[test]
fn what_can_never_be_written_is_not_changed() {
    let cpu = Cpu::new();
    let file = FakeFile::new(2);
    let request = MapRequest::private_file(file.clone(), 0, 2 * PAGE_SIZE, Rights::READ);
    let address = cpu.space.map(MapRequest { options: MapOptions::FINAL_RIGHTS, ..request }).unwrap();
    let _ = cpu.load(address);
    for page in [0, 1] {
        assert_eq!(cpu.space.poke(address + page * PAGE_SIZE, &[9]), Err(FaultError::Rights));
        assert_eq!(peek(&cpu, address + page * PAGE_SIZE), Ok(file.byte(page)));
    }
}

#[test]
fn a_copy_is_made_though_the_mapping_changes_meanwhile() {
    let cpu = Cpu::new();
    let file = FakeFile::new(2);
    let address = cpu.space.map(MapRequest::private_file(file.clone(), 0, PAGE_SIZE, Rights::READ)).unwrap();
    let (space, other) = (cpu.space.clone(), FakeFile::new(2));
    *file.meanwhile.lock().unwrap() = Some(Box::new(move || {
        space.unmap(address, PAGE_SIZE).unwrap();
        let request = MapRequest::private_file(other, PAGE_SIZE as u64, PAGE_SIZE, Rights::READ);
        assert_eq!(space.map(request.at(address)), Ok(address));
    }));
    cpu.space.poke(address + 1, &[9]).unwrap();
    assert_eq!((cpu.load(address), cpu.load(address + 1)), (Ok(2), Ok(9)), "page 1 of the other file");
    cpu.check_invariants();
}

#[test]
fn present_pages_are_told() {
    let cpu = Cpu::new();
    let address = cpu.space.map(MapRequest::anonymous(600 * PAGE_SIZE, READ_WRITE)).unwrap();
    for page in [1, 2, 599] {
        cpu.store(address + page * PAGE_SIZE, 1).unwrap();
    }
    let mut seen = Vec::new();
    let range = PageRange::new(address, address + 600 * PAGE_SIZE);
    cpu.space
        .each_present(range, |at, page| seen.push(((at - address) / PAGE_SIZE, page.is_of_object, page.is_exclusive)));
    assert_eq!(seen, [(1, false, true), (2, false, true), (599, false, true)]);
}

#[test]
fn pages_of_files_are_told_by_how_often_they_are_mapped() {
    let cpu = Cpu::new();
    let file = FakeFile::new(1);
    let backing = || Backing::File { object: file.clone(), offset: 0, access: READ_WRITE };
    let request =
        || MapRequest { sharing: Sharing::Shared, backing: backing(), ..MapRequest::anonymous(PAGE_SIZE, READ_WRITE) };
    let (first, second) = (cpu.space.map(request()).unwrap(), cpu.space.map(request()).unwrap());
    let is_exclusive = |address: usize| {
        let mut seen = None;
        cpu.space.each_present(PageRange::new(address, address + PAGE_SIZE), |_, page| seen = Some(page.is_exclusive));
        seen
    };
    cpu.load(first).unwrap();
    assert_eq!((is_exclusive(first), is_exclusive(second)), (Some(true), None));
    cpu.load(second).unwrap();
    assert_eq!((is_exclusive(first), is_exclusive(second)), (Some(false), Some(false)));
    cpu.space.unmap(first, PAGE_SIZE).unwrap();
    assert_eq!(is_exclusive(second), Some(true));
}

#[test]
fn faults_that_read_are_major() {
    let cpu = Cpu::new();
    let file = FakeFile::new(2);
    file.is_absent.store(true, Relaxed);
    let address = cpu.space.map(MapRequest::private_file(file.clone(), 0, 2 * PAGE_SIZE, READ_WRITE)).unwrap();
    assert_eq!(cpu.space.fault(address, Access::Read), Ok(FaultKind::Major));
    assert_eq!(cpu.space.fault(address, Access::Write), Ok(FaultKind::Minor), "a copy");
    file.is_absent.store(false, Relaxed);
    let looks = file.looks.load(Relaxed);
    assert_eq!(cpu.space.fault(address + PAGE_SIZE, Access::Read), Ok(FaultKind::Minor));
    assert_eq!(file.looks.load(Relaxed), looks + 1, "one question says both");
}
