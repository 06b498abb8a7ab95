//! What mmap and its family answer, call by call. Expected values are Linux's.

use crate::support::{FakeFile, Observe};
use abi::{Errno, MapFlags, MlockallFlags, MremapFlags, MsyncFlags, ProtFlags, mman};
use mm::address_space::AREA_COUNT_MAX;
use mm::{
    AreaSnapshot, Backing, Limits, MapOptions, MapRequest, PAGE_SIZE, PageRange, Rights, Sharing, USER_END, USER_START,
};
use testkit::{Cpu, MMAP_BASE, frames};

const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);
const BASE: usize = 0x10_0000_0000;

fn anonymous(pages: usize) -> MapRequest {
    MapRequest::anonymous(pages * PAGE_SIZE, READ_WRITE)
}

fn pages(areas: &[AreaSnapshot]) -> Vec<(usize, usize)> {
    areas.iter().map(|area| (area.range.start(), area.range.pages())).collect()
}

/// An area of 8 pages at [`BASE`].
fn with_area() -> Cpu {
    let cpu = Cpu::new();
    cpu.space.map(anonymous(8).at(BASE)).unwrap();
    cpu
}

#[test]
fn map_places_from_the_top_down() {
    let cpu = Cpu::new();
    let first = cpu.space.map(anonymous(3)).unwrap();
    assert_eq!(first, MMAP_BASE - 3 * PAGE_SIZE);
    let mut read_only = anonymous(1);
    read_only.rights = Rights::READ;
    let second = cpu.space.map(read_only).unwrap();
    assert_eq!(second, first - PAGE_SIZE);
    cpu.space.unmap(first, PAGE_SIZE).unwrap();
    assert_eq!(cpu.space.map(anonymous(1)), Ok(first), "a hole that fits is used first");
}

#[test]
fn neighbours_of_one_kind_are_one_area() {
    let cpu = Cpu::new();
    let top = cpu.space.map(anonymous(1)).unwrap();
    let below = cpu.space.map(anonymous(2)).unwrap();
    assert_eq!(pages(&cpu.space.areas()), [(below, 3)]);
    cpu.space.protect(below + PAGE_SIZE, PAGE_SIZE, ProtFlags::READ).unwrap();
    assert_eq!(pages(&cpu.space.areas()), [(below, 1), (below + PAGE_SIZE, 1), (top, 1)]);
    cpu.space.protect(below, 3 * PAGE_SIZE, ProtFlags::READ).unwrap();
    assert_eq!(pages(&cpu.space.areas()), [(below, 3)]);

    let file = FakeFile::new(10);
    let map = |at: usize, offset: u64| {
        cpu.space.map(MapRequest::private_file(file.clone(), offset, PAGE_SIZE, Rights::READ).at(at)).unwrap()
    };
    map(BASE, 0x1000);
    map(BASE + PAGE_SIZE, 0x2000);
    map(BASE + 2 * PAGE_SIZE, 0x4000);
    assert_eq!(pages(&cpu.space.areas())[..2], [(BASE, 2), (BASE + 2 * PAGE_SIZE, 1)]);
}

#[test]
fn map_refuses() {
    let cpu = with_area();
    let map = |request: MapRequest| cpu.space.map(request);
    let fixed = |address: usize| map(anonymous(1).at(address));
    assert_eq!(map(anonymous(0)), Err(Errno::EINVAL));
    assert_eq!(map(MapRequest::anonymous(usize::MAX, READ_WRITE)), Err(Errno::ENOMEM));
    assert_eq!(map(MapRequest::anonymous(USER_END + 1, Rights::empty())), Err(Errno::ENOMEM));
    assert_eq!(fixed(BASE + 1), Err(Errno::EINVAL));
    assert_eq!(fixed(0), Err(Errno::EPERM));
    assert_eq!(fixed(USER_START - PAGE_SIZE), Err(Errno::EPERM));
    assert_eq!(fixed(USER_START), Ok(USER_START));
    assert_eq!(fixed(USER_END), Err(Errno::ENOMEM));
    assert_eq!(fixed(USER_END - PAGE_SIZE), Ok(USER_END - PAGE_SIZE));
    let no_replace = MapRequest { address: BASE, ..anonymous(1).with(MapOptions::FIXED_NOREPLACE) };
    assert_eq!(map(no_replace), Err(Errno::EEXIST));

    let file = FakeFile::new(2);
    let file_map = |offset: u64, sharing: Sharing, rights: Rights, access: Rights| {
        let backing = Backing::File { object: file.clone(), offset, access };
        map(MapRequest { rights, sharing, backing, ..anonymous(2) }).map(|_| ())
    };
    let read_only = Rights::READ | Rights::EXECUTE;
    assert_eq!(file_map(1, Sharing::Private, Rights::READ, read_only), Err(Errno::EINVAL));
    assert_eq!(file_map(u64::MAX - 0xfff, Sharing::Private, Rights::READ, read_only), Err(Errno::EOVERFLOW));
    assert_eq!(file_map(0, Sharing::Shared, READ_WRITE, read_only), Err(Errno::EACCES));
    assert_eq!(file_map(0, Sharing::Private, READ_WRITE, read_only), Ok(()));
    assert_eq!(file_map(0, Sharing::Private, Rights::READ, Rights::WRITE), Err(Errno::EACCES));
    assert_eq!(file_map(0, Sharing::Private, Rights::READ | Rights::EXECUTE, Rights::READ), Err(Errno::EPERM));
    let stack = MapRequest { sharing: Sharing::Shared, ..anonymous(1).with(MapOptions::GROWS_DOWN) };
    assert_eq!(map(stack), Err(Errno::EINVAL));
}

#[test]
fn flags_are_taken_apart() {
    let parse = |bits: u32, is_anonymous| MapOptions::from_flags(MapFlags::from_bits_retain(bits), is_anonymous);
    assert_eq!(parse(0x22, true), Ok((Sharing::Private, MapOptions::empty())));
    assert_eq!(parse(0x31, true), Ok((Sharing::Shared, MapOptions::FIXED)));
    assert_eq!(parse(0x8022, true), Ok((Sharing::Private, MapOptions::POPULATE)));
    assert_eq!(parse(0x1_8022, true), Ok((Sharing::Private, MapOptions::empty())), "NONBLOCK undoes POPULATE");
    assert_eq!(parse(0x20, true), Err(Errno::EINVAL));
    assert_eq!(parse(0x23, true), Err(Errno::EINVAL), "MAP_SHARED_VALIDATE is for files");
    assert_eq!(parse(0x24, true), Err(Errno::EINVAL));
    assert_eq!(parse(0x03, false), Ok((Sharing::Shared, MapOptions::empty())));
    assert_eq!(parse(0x8_0003, false), Err(Errno::EOPNOTSUPP), "MAP_SYNC");
    assert_eq!(parse(0x200_0003, false), Err(Errno::EOPNOTSUPP), "unknown");
    assert_eq!(parse(0x200_0001, false), Ok((Sharing::Shared, MapOptions::empty())));
    assert_eq!(parse(0x4_0022, true), Err(Errno::ENOMEM), "no huge pages");
}

#[test]
fn hints() {
    let cpu = with_area();
    let hint = |address: usize| cpu.space.map(MapRequest { address, ..anonymous(1) });
    assert_eq!(hint(BASE - PAGE_SIZE), Ok(BASE - PAGE_SIZE));
    assert_eq!(hint(BASE + 0x123), Ok(MMAP_BASE - PAGE_SIZE), "taken");
    assert_eq!(hint(BASE - 3 * PAGE_SIZE + 0x123), Ok(BASE - 3 * PAGE_SIZE), "rounded down");
    assert_eq!(hint(0x1000), Ok(USER_START), "too low");
    assert_eq!(hint(USER_END), Ok(MMAP_BASE - 2 * PAGE_SIZE), "too high");
}

#[test]
fn low_memory_is_found() {
    let cpu = Cpu::new();
    let low = cpu.space.map(anonymous(4).with(MapOptions::LOW)).unwrap();
    assert!(low + 4 * PAGE_SIZE <= 1 << 31);
}

#[test]
fn placement_overflows_above_the_base() {
    let cpu = Cpu::new();
    let mut huge = MapRequest::anonymous(MMAP_BASE - USER_START, Rights::empty());
    assert_eq!(cpu.space.map(huge.clone()), Ok(USER_START));
    let above = cpu.space.map(anonymous(1)).unwrap();
    assert_eq!(above, USER_END - PAGE_SIZE);
    huge.length = USER_END - MMAP_BASE;
    assert_eq!(cpu.space.map(huge), Err(Errno::ENOMEM));
}

#[test]
fn obvious_overcommit_is_refused() {
    let cpu = Cpu::new();
    let too_much = usize::try_from(frames::TOTAL).unwrap() + 1;
    assert_eq!(cpu.space.map(anonymous(too_much)), Err(Errno::ENOMEM));
    let shared = MapRequest { sharing: Sharing::Shared, ..anonymous(too_much) };
    assert_eq!(cpu.space.map(shared), Err(Errno::ENOMEM));
    assert!(cpu.space.map(anonymous(too_much).with(MapOptions::NORESERVE)).is_ok());
    let reserve = MapRequest { rights: Rights::empty(), ..anonymous(too_much) };
    let reserved = cpu.space.map(reserve).unwrap();
    let writable = ProtFlags::READ | ProtFlags::WRITE;
    assert_eq!(cpu.space.protect(reserved, too_much * PAGE_SIZE, writable), Err(Errno::ENOMEM));
    assert_eq!(cpu.space.protect(reserved, PAGE_SIZE, writable), Ok(()));
}

#[test]
fn limits_bind() {
    let cpu = with_area();
    let page = PAGE_SIZE as u64;
    cpu.space.set_limits(Limits { address_space: 10 * page, ..Limits::default() });
    assert_eq!(cpu.space.map(anonymous(3)), Err(Errno::ENOMEM));
    assert_eq!(cpu.space.map(anonymous(4).at(BASE + 6 * PAGE_SIZE)), Ok(BASE + 6 * PAGE_SIZE), "2 replaced, 2 new");
    assert_eq!(cpu.space.remap(BASE, 10 * PAGE_SIZE, 11 * PAGE_SIZE, MremapFlags::MAYMOVE, 0), Err(Errno::ENOMEM));

    cpu.space.set_limits(Limits { data: 11 * page, ..Limits::default() });
    assert_eq!(cpu.space.map(anonymous(2)), Err(Errno::ENOMEM));
    let read_only = MapRequest { rights: Rights::READ, ..anonymous(2) };
    let mapped = cpu.space.map(read_only).unwrap();
    let writable = ProtFlags::READ | ProtFlags::WRITE;
    assert_eq!(cpu.space.protect(mapped, 2 * PAGE_SIZE, writable), Err(Errno::ENOMEM));
    assert_eq!(cpu.space.protect(mapped, PAGE_SIZE, writable), Ok(()));
}

#[test]
fn areas_are_counted() {
    let cpu = Cpu::new();
    for index in 0..AREA_COUNT_MAX / 2 {
        cpu.space.map(anonymous(1).at(BASE + 2 * index * PAGE_SIZE)).unwrap();
    }
    for index in 0..AREA_COUNT_MAX / 2 - 1 {
        cpu.space.map(anonymous(3).at(2 * BASE + 4 * index * PAGE_SIZE)).unwrap();
    }
    let three = 2 * BASE;
    assert_eq!(cpu.space.areas().len(), AREA_COUNT_MAX - 1);
    cpu.space.unmap(three + PAGE_SIZE, PAGE_SIZE).unwrap();
    assert_eq!(cpu.space.areas().len(), AREA_COUNT_MAX);
    assert_eq!(cpu.space.unmap(three + 5 * PAGE_SIZE, PAGE_SIZE), Err(Errno::ENOMEM), "would make one more");
    assert_eq!(cpu.space.protect(three + 5 * PAGE_SIZE, PAGE_SIZE, ProtFlags::READ), Err(Errno::ENOMEM));
    assert_eq!(cpu.space.unmap(three + 4 * PAGE_SIZE, PAGE_SIZE), Ok(()), "from the edge makes none");
    // Linux allows one above the maximum by mmap.
    assert!(cpu.space.map(anonymous(1).at(3 * BASE)).is_ok());
    assert_eq!(cpu.space.map(anonymous(1).at(4 * BASE)), Err(Errno::ENOMEM));
}

#[test]
fn unmap_refuses() {
    let cpu = with_area();
    assert_eq!(cpu.space.unmap(BASE + 1, PAGE_SIZE), Err(Errno::EINVAL));
    assert_eq!(cpu.space.unmap(BASE, 0), Err(Errno::EINVAL));
    assert_eq!(cpu.space.unmap(USER_END, PAGE_SIZE), Err(Errno::EINVAL));
    assert_eq!(cpu.space.unmap(BASE, usize::MAX), Err(Errno::EINVAL));
    assert_eq!(cpu.space.unmap(3 * BASE, 5), Ok(()), "nothing there");
    assert_eq!(cpu.space.unmap(BASE + PAGE_SIZE, 1), Ok(()), "lengths are rounded up");
    assert_eq!(pages(&cpu.space.areas()), [(BASE, 1), (BASE + 2 * PAGE_SIZE, 6)]);
}

#[test]
fn protect_refuses() {
    let cpu = with_area();
    let protect = |address, len, bits| cpu.space.protect(address, len, ProtFlags::from_bits_retain(bits));
    assert_eq!(protect(BASE + 1, PAGE_SIZE, 1), Err(Errno::EINVAL));
    assert_eq!(protect(BASE, PAGE_SIZE, 0x10), Err(Errno::EINVAL));
    assert_eq!(protect(BASE, PAGE_SIZE, 8), Ok(()), "PROT_SEM");
    assert_eq!(protect(BASE, 0, 1), Ok(()));
    assert_eq!(protect(BASE, usize::MAX, 1), Err(Errno::ENOMEM));
    assert_eq!(protect(2 * BASE, PAGE_SIZE, 1), Err(Errno::ENOMEM));
    assert_eq!(protect(BASE, PAGE_SIZE, 0x300_0001), Err(Errno::EINVAL));
    assert_eq!(protect(BASE, PAGE_SIZE, 0x100_0001), Err(Errno::EINVAL), "no stack");
    // The part before the hole changes.
    assert_eq!(protect(BASE + 7 * PAGE_SIZE, 2 * PAGE_SIZE, 1), Err(Errno::ENOMEM));
    assert_eq!(cpu.space.areas().last().unwrap().rights, Rights::READ);

    let file = FakeFile::new(2);
    let backing = Backing::File { object: file, offset: 0, access: Rights::READ };
    let shared = MapRequest { rights: Rights::READ, sharing: Sharing::Shared, backing, ..anonymous(2) };
    let shared = cpu.space.map(shared).unwrap();
    assert_eq!(protect(shared, PAGE_SIZE, 3), Err(Errno::EACCES));
    assert_eq!(protect(shared, PAGE_SIZE, 5), Err(Errno::EACCES));
}

#[test]
fn protect_growsdown_reaches_the_start_of_the_stack() {
    let cpu = Cpu::new();
    cpu.space.map(anonymous(4).at(BASE).with(MapOptions::GROWS_DOWN)).unwrap();
    let executable = ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC | ProtFlags::GROWSDOWN;
    cpu.space.protect(BASE + 2 * PAGE_SIZE, PAGE_SIZE, executable).unwrap();
    let areas = cpu.space.areas();
    assert_eq!(pages(&areas), [(BASE, 3), (BASE + 3 * PAGE_SIZE, 1)]);
    assert!(areas[0].rights.contains(Rights::EXECUTE));
}

#[test]
fn remap_refuses() {
    let cpu = with_area();
    let remap = |old, old_len: usize, new_len: usize, flags: u32, new: usize| {
        cpu.space.remap(old, old_len * PAGE_SIZE, new_len * PAGE_SIZE, MremapFlags::from_bits_retain(flags), new)
    };
    assert_eq!(remap(BASE, 1, 1, 8, 0), Err(Errno::EINVAL));
    assert_eq!(remap(BASE, 1, 1, 2, 2 * BASE), Err(Errno::EINVAL), "FIXED without MAYMOVE");
    assert_eq!(remap(BASE, 1, 1, 4, 0), Err(Errno::EINVAL), "DONTUNMAP without MAYMOVE");
    assert_eq!(remap(BASE, 1, 2, 5, 0), Err(Errno::EINVAL), "DONTUNMAP with another length");
    assert_eq!(remap(BASE + 1, 1, 1, 0, 0), Err(Errno::EINVAL));
    assert_eq!(remap(BASE, 1, 0, 0, 0), Err(Errno::EINVAL));
    assert_eq!(remap(2 * BASE, 1, 2, 1, 0), Err(Errno::EFAULT));
    assert_eq!(remap(BASE, 9, 10, 1, 0), Err(Errno::EFAULT), "beyond the area");
    assert_eq!(remap(BASE, 0, 1, 1, 0), Err(Errno::EINVAL), "duplicates only shared mappings");
    assert_eq!(remap(BASE, 4, 4, 3, BASE + PAGE_SIZE), Err(Errno::EINVAL), "overlap");
    assert_eq!(remap(BASE, 4, 4, 3, 2 * BASE + 1), Err(Errno::EINVAL));
    assert_eq!(remap(BASE, 4, 4, 3, 0), Err(Errno::EPERM));
    assert_eq!(remap(BASE, 4, 5, 0, 0), Err(Errno::ENOMEM), "no room and may not move");
    assert_eq!(remap(BASE + 4 * PAGE_SIZE, 4, 5, 0, 0), Ok(BASE + 4 * PAGE_SIZE), "in place");
    assert_eq!(pages(&cpu.space.areas()), [(BASE, 9)]);
}

#[test]
fn remap_moves_contents() {
    let cpu = with_area();
    for index in 0..8 {
        cpu.store(BASE + usize::from(index) * PAGE_SIZE, index + 1).unwrap();
    }
    let moved = cpu.space.remap(BASE + PAGE_SIZE, 2 * PAGE_SIZE, 5 * PAGE_SIZE, MremapFlags::MAYMOVE, 0).unwrap();
    assert_eq!(cpu.load(moved), Ok(2));
    assert_eq!(cpu.load(moved + PAGE_SIZE), Ok(3));
    assert_eq!(cpu.load(moved + 2 * PAGE_SIZE), Ok(0));
    assert!(cpu.load(BASE + PAGE_SIZE).is_err());
    assert_eq!(cpu.load(BASE + 3 * PAGE_SIZE), Ok(4));

    let both = MremapFlags::MAYMOVE | MremapFlags::DONTUNMAP;
    let copy = cpu.space.remap(BASE + 4 * PAGE_SIZE, PAGE_SIZE, PAGE_SIZE, both, 0).unwrap();
    assert_eq!(cpu.load(copy), Ok(5));
    assert_eq!(cpu.load(BASE + 4 * PAGE_SIZE), Ok(0), "still mapped, and empty");
    cpu.check_invariants();
}

#[test]
fn remap_duplicates_shared_memory() {
    let cpu = Cpu::new();
    let shared = cpu.space.map(MapRequest { sharing: Sharing::Shared, ..anonymous(2) }).unwrap();
    cpu.store(shared, 7).unwrap();
    let other = cpu.space.remap(shared, 0, 2 * PAGE_SIZE, MremapFlags::MAYMOVE, 0).unwrap();
    assert_eq!(cpu.load(other), Ok(7));
    cpu.store(other + PAGE_SIZE, 9).unwrap();
    assert_eq!(cpu.load(shared + PAGE_SIZE), Ok(9));
}

#[test]
fn advice() {
    let cpu = with_area();
    let advise = |address, len, advice| cpu.space.advise(address, len, advice);
    assert_eq!(advise(BASE + 1, PAGE_SIZE, mman::MADV_NORMAL), Err(Errno::EINVAL));
    assert_eq!(advise(BASE, usize::MAX, mman::MADV_NORMAL), Err(Errno::EINVAL));
    assert_eq!(advise(2 * BASE, PAGE_SIZE, mman::MADV_NORMAL), Err(Errno::ENOMEM));
    assert_eq!(advise(2 * BASE, 0, mman::MADV_NORMAL), Ok(()));
    for unknown in [5, 6, 7, 26, 99, 100, 101, u32::MAX] {
        assert_eq!(advise(BASE, PAGE_SIZE, unknown), Err(Errno::EINVAL), "{unknown}");
    }
    for hint in [0, 1, 2, 3, 12, 13, 14, 15, 20, 21] {
        assert_eq!(advise(BASE, PAGE_SIZE, hint), Ok(()), "{hint}");
    }
    assert_eq!(advise(BASE, PAGE_SIZE, mman::MADV_REMOVE), Err(Errno::EINVAL), "no file");
    cpu.store(BASE, 1).unwrap();
    cpu.store(BASE + 7 * PAGE_SIZE, 1).unwrap();
    assert_eq!(advise(BASE, 9 * PAGE_SIZE, mman::MADV_DONTNEED), Err(Errno::ENOMEM));
    assert_eq!((cpu.load(BASE), cpu.load(BASE + 7 * PAGE_SIZE)), (Ok(0), Ok(0)), "done all the same");
    assert_eq!(advise(BASE, PAGE_SIZE, mman::MADV_POPULATE_WRITE), Ok(()));
    cpu.space.lock(BASE, PAGE_SIZE, false).unwrap();
    assert_eq!(advise(BASE, PAGE_SIZE, mman::MADV_DONTNEED), Err(Errno::EINVAL), "locked");
    assert_eq!(advise(BASE, PAGE_SIZE, mman::MADV_DONTNEED_LOCKED), Ok(()));

    let file = FakeFile::new(2);
    let map = MapRequest::private_file(file, 0, 3 * PAGE_SIZE, Rights::READ);
    let address = cpu.space.map(map).unwrap();
    assert_eq!(advise(address, PAGE_SIZE, mman::MADV_FREE), Err(Errno::EINVAL), "only anonymous memory");
    assert_eq!(advise(address, PAGE_SIZE, mman::MADV_WIPEONFORK), Err(Errno::EINVAL));
    assert_eq!(advise(address, PAGE_SIZE, mman::MADV_POPULATE_WRITE), Err(Errno::EINVAL), "not writable");
    assert_eq!(advise(address, 3 * PAGE_SIZE, mman::MADV_POPULATE_READ), Err(Errno::EFAULT), "beyond the end");
}

#[test]
fn remove_punches_holes() {
    let cpu = Cpu::new();
    let shared = cpu.space.map(MapRequest { sharing: Sharing::Shared, ..anonymous(3) }).unwrap();
    for index in 0..3 {
        cpu.store(shared + index * PAGE_SIZE, 5).unwrap();
    }
    let before = frames::used();
    cpu.space.advise(shared + PAGE_SIZE, PAGE_SIZE, mman::MADV_REMOVE).unwrap();
    assert_eq!(frames::used(), before - 1);
    let loads: Vec<_> = (0..3).map(|index| cpu.load(shared + index * PAGE_SIZE).unwrap()).collect();
    assert_eq!(loads, [5, 0, 5]);
    cpu.check_invariants();
}

#[test]
fn heap() {
    let cpu = Cpu::new();
    assert_eq!(cpu.space.brk(0), 0, "no heap yet");
    assert_eq!(cpu.space.brk(0x40_0000), 0);
    let start = 0x60_0123;
    cpu.space.set_brk_base(start);
    assert_eq!(cpu.space.brk(0), start);
    assert_eq!(cpu.space.brk(start + 10), start + 10);
    assert_eq!(cpu.space.areas(), [], "still in the page that the data segment has");
    assert_eq!(cpu.space.brk(start + 0x3000), start + 0x3000);
    let areas = cpu.space.areas();
    assert_eq!(pages(&areas), [(0x60_1000, 3)]);
    assert_eq!(areas[0].name, b"[heap]");
    cpu.store(start + 0x2fff, 1).unwrap();
    assert_eq!(cpu.space.brk(start + 0x1000), start + 0x1000);
    assert_eq!(cpu.space.usage().mapped, 1);
    assert_eq!(cpu.present_pages(), 0, "freed at once");
    assert_eq!(cpu.space.brk(start - 1), start + 0x1000);
    assert_eq!(cpu.space.brk(USER_END), start + 0x1000);
    cpu.space.map(anonymous(1).at(0x60_6000)).unwrap();
    assert_eq!(cpu.space.brk(0x60_6000), start + 0x1000, "a page stays free");
    assert_eq!(cpu.space.brk(0x60_5000), 0x60_5000);
    cpu.space.set_limits(Limits { data: 0x5000, ..Limits::default() });
    assert_eq!(cpu.space.brk(start + 0x5001), 0x60_5000);
    assert_eq!(cpu.space.heap(), (start, 0x60_5000));
}

#[test]
fn residency() {
    let cpu = with_area();
    cpu.store(BASE + PAGE_SIZE, 1).unwrap();
    cpu.load(BASE + 2 * PAGE_SIZE).unwrap();
    assert_eq!(cpu.space.residency(BASE, 4 * PAGE_SIZE - 1), Ok(vec![0, 1, 1, 0]));
    assert_eq!(cpu.space.residency(BASE + 1, PAGE_SIZE), Err(Errno::EINVAL));
    assert_eq!(cpu.space.residency(BASE, 9 * PAGE_SIZE), Err(Errno::ENOMEM));
    assert_eq!(cpu.space.residency(USER_END, PAGE_SIZE), Err(Errno::ENOMEM));
    assert_eq!(cpu.space.residency(BASE, 0), Ok(vec![]));
}

#[test]
fn synchronize() {
    let cpu = with_area();
    let sync =
        |address, pages, bits| cpu.space.synchronize(address, pages * PAGE_SIZE, MsyncFlags::from_bits_retain(bits));
    assert_eq!(sync(BASE, 1, 8), Err(Errno::EINVAL));
    assert_eq!(sync(BASE, 1, 5), Err(Errno::EINVAL), "both ASYNC and SYNC");
    assert_eq!(sync(BASE + 1, 1, 4), Err(Errno::EINVAL));
    assert_eq!(sync(BASE, 9, 4), Err(Errno::ENOMEM));
    assert_eq!(sync(BASE, 8, 4), Ok(()));
    cpu.space.lock(BASE, PAGE_SIZE, false).unwrap();
    assert_eq!(sync(BASE, 1, 2), Err(Errno::EBUSY));

    let file = FakeFile::new(8);
    let backing = Backing::File { object: file.clone(), offset: 0x1000, access: Rights::all() };
    let map = MapRequest { sharing: Sharing::Shared, backing, ..anonymous(4) };
    let address = cpu.space.map(map).unwrap();
    assert_eq!(sync(address + PAGE_SIZE, 2, 4), Ok(()));
    assert_eq!(*file.synchronized.lock().unwrap(), [(2, 4)]);
}

#[test]
fn locking() {
    let cpu = with_area();
    let limits = Limits { locked: 4 * PAGE_SIZE as u64, may_lock_any: false, ..Limits::default() };
    cpu.space.set_limits(limits);
    assert_eq!(cpu.space.lock(BASE + 1, PAGE_SIZE, false), Ok(()), "touches two pages");
    assert_eq!(cpu.present_pages(), 2);
    assert_eq!(cpu.space.usage().locked, 2);
    assert_eq!(cpu.space.lock(BASE, 5 * PAGE_SIZE, false), Err(Errno::ENOMEM));
    assert_eq!(cpu.space.lock(BASE, 4 * PAGE_SIZE, true), Ok(()), "what is locked does not count twice");
    assert_eq!(cpu.present_pages(), 2, "on fault");
    assert_eq!(cpu.space.map(anonymous(1).with(MapOptions::LOCKED)), Err(Errno::EAGAIN));
    assert_eq!(cpu.space.unlock(BASE, 8 * PAGE_SIZE), Ok(()));
    assert_eq!(cpu.space.usage().locked, 0);
    assert_eq!(cpu.space.lock(BASE + 7 * PAGE_SIZE, 2 * PAGE_SIZE, false), Err(Errno::ENOMEM), "a hole");
    assert_eq!(cpu.space.lock(BASE, usize::MAX - PAGE_SIZE, false), Err(Errno::ENOMEM));
    assert_eq!(cpu.space.unlock(usize::MAX - PAGE_SIZE + 1, PAGE_SIZE), Err(Errno::EINVAL));

    cpu.space.set_limits(Limits { locked: 0, ..limits });
    assert_eq!(cpu.space.lock(BASE, PAGE_SIZE, false), Err(Errno::EPERM));
    assert_eq!(cpu.space.map(anonymous(1).with(MapOptions::LOCKED)), Err(Errno::EPERM));
    assert_eq!(cpu.space.lock_all(MlockallFlags::CURRENT), Err(Errno::EPERM));
    cpu.space.set_limits(Limits::default());
    assert_eq!(cpu.space.lock_all(MlockallFlags::empty()), Err(Errno::EINVAL));
    assert_eq!(cpu.space.lock_all(MlockallFlags::ONFAULT), Err(Errno::EINVAL));
    assert_eq!(cpu.space.lock_all(MlockallFlags::CURRENT | MlockallFlags::FUTURE), Ok(()));
    assert_eq!((cpu.space.usage().locked, cpu.present_pages()), (8, 8));
    cpu.space.map(anonymous(2)).unwrap();
    assert_eq!((cpu.space.usage().locked, cpu.present_pages()), (10, 10));
    cpu.space.unlock_all();
    assert_eq!(cpu.space.usage().locked, 0);
    let guard = MapRequest { rights: Rights::empty(), ..anonymous(1) };
    let guard = cpu.space.map(guard).unwrap();
    assert_eq!(cpu.space.lock(guard, PAGE_SIZE, false), Err(Errno::ENOMEM), "cannot be paged in");
}

#[test]
fn usage_and_snapshots() {
    let cpu = Cpu::new();
    let file = FakeFile::new(8);
    let text = MapRequest::private_file(file, 0x2000, 2 * PAGE_SIZE, Rights::READ | Rights::EXECUTE).at(BASE);
    cpu.space.map(text).unwrap();
    let stack = MMAP_BASE + 0x10_0000;
    cpu.space.map(anonymous(3).at(stack).with(MapOptions::GROWS_DOWN)).unwrap();
    cpu.space.set_stack_start(stack + PAGE_SIZE);
    let data = cpu.space.map(anonymous(4)).unwrap();
    cpu.load(BASE).unwrap();
    cpu.store(data, 1).unwrap();
    let usage = cpu.space.usage();
    assert_eq!((usage.mapped, usage.data, usage.stack, usage.executable), (9, 4, 3, 2));
    assert_eq!((usage.resident_anonymous, usage.resident_file, usage.resident()), (1, 1, 2));
    cpu.space.unmap(data, 4 * PAGE_SIZE).unwrap();
    let usage = cpu.space.usage();
    assert_eq!((usage.mapped, usage.mapped_max, usage.resident(), usage.resident_max), (5, 9, 1, 2));

    let areas = cpu.space.areas();
    let expected = AreaSnapshot {
        range: PageRange::new(BASE, BASE + 2 * PAGE_SIZE),
        rights: Rights::READ | Rights::EXECUTE,
        rights_max: Rights::all(),
        is_shared: false,
        offset: 0x2000,
        device: 1,
        inode: 2,
        is_dumped: true,
        name: b"/file".to_vec(),
    };
    assert_eq!(areas[0], expected);
    assert!(cpu.space.object_of(areas[0].range).is_some() && cpu.space.object_of(areas[1].range).is_none());
    assert!(cpu.space.object_of(PageRange::new(BASE, BASE + PAGE_SIZE)).is_none(), "all of it or nothing");
    assert_eq!(areas[1].name, b"[stack]");
    cpu.space.clear();
    assert_eq!((cpu.space.areas(), cpu.present_pages()), (vec![], 0));
}
