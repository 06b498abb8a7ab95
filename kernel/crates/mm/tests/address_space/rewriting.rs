//! Call sites: what becomes of text and stubs when mappings change.

use std::sync::Arc;

use abi::{Errno, MremapFlags, ProtFlags, mman};
use mm::{CallPatch, CodeSite, MapRequest, OriginalAddress, PAGE_SIZE, Rights};
use testkit::Cpu;

use crate::support::{FakeFile, Observe};

const READ_EXECUTE: Rights = Rights::READ.union(Rights::EXECUTE);
/// Where the site is in page 0: nine bytes in front of a `syscall`, with instructions at 0, 3 and 4.
const SITE: usize = 0x123;
const STARTS: u32 = 0b1_1001;
const JUMP: u8 = 0xe9;

fn covered() -> [u8; 9] {
    [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19]
}

/// A file of two pages with one site.
fn file() -> Arc<FakeFile> {
    mm::rewrite::enable([0x8000_1000, 0x8000_1008]);
    let checksum = CallPatch::checksum_of(&covered());
    let call = Some(CallPatch { length: 9, syscall_at: 9, starts: STARTS, is_full: false, checksum });
    let offset_in_page = u16::try_from(SITE).unwrap();
    let file = FakeFile::with_sites(2, vec![(0, CodeSite { offset_in_page, original: 0x11, call })]);
    file.write(0, SITE, &covered());
    file
}

fn map(cpu: &Cpu, file: &Arc<FakeFile>) -> usize {
    cpu.space.map(MapRequest::private_file(file.clone(), 0, 2 * PAGE_SIZE, READ_EXECUTE)).unwrap()
}

fn bytes(cpu: &Cpu, address: usize, count: usize) -> Vec<u8> {
    (0..count).map(|offset| cpu.load(address + offset).unwrap()).collect()
}

/// Where the jump of a site leads.
fn target(cpu: &Cpu, site: usize) -> usize {
    let jump = bytes(cpu, site, 5);
    assert_eq!(jump[0], JUMP);
    let distance = i32::from_le_bytes(jump[1..].try_into().unwrap());
    (site + 5).wrapping_add_signed(distance as isize)
}

fn stubs(cpu: &Cpu) -> Vec<mm::AreaSnapshot> {
    cpu.space.areas().into_iter().filter(|area| area.name == b"[stubs]").collect()
}

#[test]
fn a_site_jumps_to_its_instructions() {
    let cpu = Cpu::new();
    let site = map(&cpu, &file()) + SITE;
    cpu.execute(site).unwrap();
    let stub = target(&cpu, site);
    assert_eq!(bytes(&cpu, stub, 9), covered());
    assert_eq!(bytes(&cpu, site + 5, 4), [0xcc; 4]);
    let [area] = &stubs(&cpu)[..] else { panic!("one area of stubs") };
    assert!(area.range.contains(stub) && area.rights == READ_EXECUTE);
    assert!(mm::rewrite::may_be_stub(stub) && !mm::rewrite::may_be_stub(site));

    let original = |offset| cpu.space.original_address(stub + offset).map(|original| original.address);
    assert_eq!((original(0), original(4)), (Some(site), Some(site + 4)));
    assert_eq!(cpu.space.original_address(stub + 9), Some(OriginalAddress { address: site + 9, is_return: false }));
    assert_eq!(original(PAGE_SIZE), None);
    // Who arrives in the middle goes on in the stub, where an instruction begins.
    assert_eq!(cpu.space.stand_in(site + 3), Some(stub + 3));
    assert_eq!((cpu.space.stand_in(site), cpu.space.stand_in(site + 5)), (None, None));
    assert_eq!(cpu.space.stand_in_after_jump(stub), Some(stub));
    assert_eq!(cpu.space.stand_in_after_jump(stub + 3), None);
}

#[test]
fn stubs_are_sealed() {
    let cpu = Cpu::new();
    let site = map(&cpu, &file()) + SITE;
    cpu.execute(site).unwrap();
    let range = stubs(&cpu)[0].range;
    let (start, len) = (range.start(), range.len());
    assert_eq!(cpu.space.unmap(start + PAGE_SIZE, PAGE_SIZE), Err(Errno::EPERM));
    assert_eq!(cpu.space.unmap(start - PAGE_SIZE, 2 * PAGE_SIZE), Err(Errno::EPERM));
    assert_eq!(cpu.space.protect(start, len, ProtFlags::READ | ProtFlags::WRITE), Err(Errno::EPERM));
    assert_eq!(cpu.space.map(MapRequest::anonymous(PAGE_SIZE, READ_EXECUTE).at(start)), Err(Errno::EPERM));
    assert_eq!(cpu.space.remap(start, PAGE_SIZE, 2 * PAGE_SIZE, MremapFlags::MAYMOVE, 0), Err(Errno::EPERM));
    assert_eq!(cpu.space.advise(start, len, mman::MADV_DONTNEED), Err(Errno::EPERM));
    assert_eq!(cpu.store(target(&cpu, site), 0), Err(mm::FaultError::Rights));
}

#[test]
fn stubs_go_with_their_text() {
    let cpu = Cpu::new();
    let file = file();
    let before = testkit::frames::used();
    let address = map(&cpu, &file);
    let usage = cpu.space.usage().mapped;
    cpu.execute(address + SITE).unwrap();
    assert_eq!(cpu.space.usage().mapped, usage, "stubs are not the program's memory");
    cpu.space.unmap(address + PAGE_SIZE, PAGE_SIZE).unwrap();
    assert_eq!(stubs(&cpu).len(), 1, "the page with the site is still there");
    cpu.space.unmap(address, PAGE_SIZE).unwrap();
    assert!(stubs(&cpu).is_empty());
    assert_eq!((cpu.present_pages(), testkit::frames::used()), (0, before));
    // Much text, one after the other, leaves nothing behind either.
    for _ in 0..50 {
        let address = map(&cpu, &file);
        cpu.execute(address + SITE).unwrap();
        cpu.space.unmap(address, 2 * PAGE_SIZE).unwrap();
    }
    assert_eq!((stubs(&cpu).len(), testkit::frames::used()), (0, before));
}

#[test]
fn text_that_is_dropped_or_made_code_again_keeps_its_stub() {
    let cpu = Cpu::new();
    let address = map(&cpu, &file());
    let site = address + SITE;
    cpu.execute(site).unwrap();
    let stub = target(&cpu, site);
    cpu.space.advise(address, PAGE_SIZE, mman::MADV_DONTNEED).unwrap();
    cpu.execute(site).unwrap();
    assert_eq!(target(&cpu, site), stub);
    cpu.space.protect(address, PAGE_SIZE, ProtFlags::READ | ProtFlags::WRITE).unwrap();
    cpu.space.protect(address, PAGE_SIZE, ProtFlags::READ | ProtFlags::EXEC).unwrap();
    assert_eq!(target(&cpu, site), stub);
    // The program puts its own code there: then it is its own.
    cpu.space.protect(address, PAGE_SIZE, ProtFlags::READ | ProtFlags::WRITE).unwrap();
    cpu.store(site, 0x90).unwrap();
    cpu.space.protect(address, PAGE_SIZE, ProtFlags::READ | ProtFlags::EXEC).unwrap();
    assert_eq!((cpu.load(site), cpu.space.stand_in(site + 3)), (Ok(0x90), None));
}

#[test]
fn text_that_moves_has_its_own_bytes() {
    let cpu = Cpu::new();
    let address = map(&cpu, &file());
    cpu.execute(address + SITE).unwrap();
    cpu.store(address + PAGE_SIZE, 0).unwrap_err();
    let target = address - (64 << 20);
    let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
    assert_eq!(cpu.space.remap(address, 2 * PAGE_SIZE, 2 * PAGE_SIZE, flags, target), Ok(target));
    assert_eq!(bytes(&cpu, target + SITE, 9), covered());
    assert!(stubs(&cpu).is_empty() && cpu.space.stand_in(address + SITE + 3).is_none());
}

#[test]
fn a_forked_child_has_stubs_of_its_own() {
    let parent = Cpu::new();
    let file = file();
    let site = map(&parent, &file) + SITE;
    parent.execute(site).unwrap();
    let child = parent.fork().unwrap();
    assert_eq!(target(&child, site), target(&parent, site));
    // Each maps the file once more, and gets a stub that the other does not see.
    let second = [&parent, &child].map(|cpu| {
        let site = map(cpu, &file) + SITE;
        cpu.execute(site).unwrap();
        (cpu, site, target(cpu, site))
    });
    for (cpu, site, stub) in second {
        assert_eq!(bytes(cpu, stub, 9), covered());
        assert_eq!(cpu.space.original_address(stub).map(|original| original.address), Some(site));
    }
    drop(child);
    assert_eq!(bytes(&parent, target(&parent, site), 9), covered());
}

#[test]
fn other_bytes_than_those_analysed_are_left_alone() {
    let cpu = Cpu::new();
    let file = file();
    file.write(0, SITE + 8, &[0]);
    let site = map(&cpu, &file) + SITE;
    assert_eq!(cpu.execute(site), Ok(0x11));
    assert!(stubs(&cpu).is_empty());
}
