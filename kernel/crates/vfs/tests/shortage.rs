//! Memory is wanted back: what is dirty is written, of every kind of file system, and then goes. The tests take turns, as
//! there is one memory.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::{Arc, Mutex, MutexGuard};

use abi::OpenFlags;
use block::{Disk, Volume};
use mm::{Backing, MapRequest, PAGE_SIZE, Rights, Sharing};
use support::{Handle, World};
use testkit::disk::{FakeDisk, Image};
use testkit::share::{Share, TemporaryDirectory};
use testkit::{Cpu, frames};
use vfs::fs::disk;
use vfs::fs::ext::{ExtFileSystem, ExtOptions};
use vfs::fs::ninep::ServedFs;

const READ_WRITE: Rights = Rights::READ.union(Rights::WRITE);

static TURN: Mutex<()> = Mutex::new(());

fn begin() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    support::machine();
    vfs::write_back::set_starter(|| ());
    take_all();
    turn
}

/// Takes what memory there is to be had.
fn take_all() {
    while mm::reclaim::wait_for() {}
}

fn map(cpu: &Cpu, file: &Handle, len: usize) -> usize {
    let backing = Backing::File { object: file.file().mapping(&file.0).unwrap(), offset: 0, access: READ_WRITE };
    let request = MapRequest::anonymous(len, READ_WRITE);
    cpu.space.map(MapRequest { sharing: Sharing::Shared, backing, ..request }).unwrap()
}

#[test]
fn what_was_stored_goes_to_a_server() {
    let _turn = begin();
    let host = TemporaryDirectory::new();
    std::fs::write(host.path().join("f"), b"....").unwrap();
    let share = Share::new(host.path());
    let world = World::over(ServedFs::connect(share.transport()).unwrap());
    let file = world.open("/f", OpenFlags::RDWR).unwrap();
    let cpu = Cpu::new();
    let at = map(&cpu, &file, PAGE_SIZE);
    cpu.store(at, b'x').unwrap();
    // One frame is enough, of those that are kept for the kernel.
    frames::set_budget(Some(0));
    frames::set_reserve(1);
    assert!(mm::reclaim::wait_for());
    frames::set_budget(None);
    assert_eq!(std::fs::read(host.path().join("f")).unwrap(), b"x...");
    assert_eq!(vfs::dirty_pages(), 0);
    take_all();
    assert_eq!(vfs::cached_pages(), 0);
    assert!(!mm::reclaim::wait_for(), "nothing is left");
    assert_eq!(cpu.load(at), Ok(b'x'), "read again");
    cpu.space.clear();
}

#[test]
fn memory_that_is_full_of_dirty_pages_is_emptied() {
    const PAGES: usize = 200;
    let _turn = begin();
    let disk = FakeDisk::new(Image::default(), (PAGES * PAGE_SIZE / block::SECTOR_LEN) as u64);
    let volume = Volume::whole(&Disk::new("vda".into(), 0xfe00, Box::new(disk.clone())));
    disk::register(&volume).unwrap();
    let world = World::tmpfs();
    world.mknod("/vda", 0o060_600, 0xfe00).unwrap();
    let file = world.open("/vda", OpenFlags::RDWR).unwrap();
    let before = frames::used();
    for page in 0..PAGES {
        file.pwrite(&[u8::try_from(page).unwrap(); PAGE_SIZE], (page * PAGE_SIZE) as u64).unwrap();
    }
    assert_eq!((vfs::dirty_pages(), frames::used() - before), (PAGES, PAGES as u64));
    let written = vfs::written_pages();
    // A program faults, and there is no memory.
    frames::set_budget(Some(0));
    assert!(mm::reclaim::wait_for());
    assert_eq!((vfs::dirty_pages(), vfs::pages_on_the_way()), (0, 0));
    assert_eq!(vfs::written_pages() - written, PAGES as u64);
    take_all();
    frames::set_budget(None);
    assert_eq!(frames::used(), before);
    for page in 0..PAGES {
        assert_eq!(file.pread(1, (page * PAGE_SIZE) as u64).unwrap(), [u8::try_from(page).unwrap()]);
    }
}

#[test]
fn buffers_of_metadata_are_given_back() {
    const FILES: usize = 300;
    let _turn = begin();
    let path = std::env::temp_dir().join(format!("nacre-shortage-{}", std::process::id()));
    std::fs::write(&path, vec![0; 4 << 20]).unwrap();
    let made = std::process::Command::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(&path).status();
    assert!(made.expect("mke2fs runs; make setup installs e2fsprogs").success());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let disk = FakeDisk::new(Image::from_bytes(&bytes), (bytes.len() / block::SECTOR_LEN) as u64);
    let volume = Volume::whole(&Disk::new("vdc".into(), 0xfe20, Box::new(disk.clone())));
    let file_system = ExtFileSystem::open(volume, "ext4", ExtOptions::default()).unwrap();
    let world = World::over(file_system.clone());
    for number in 0..FILES {
        world.write_file(&format!("/{number}"), b"x").unwrap();
    }
    vfs::FileSystem::sync(&*file_system).unwrap();
    file_system.shut_down().unwrap();
    let before = block::buffered_bytes();
    take_all();
    assert!(block::buffered_bytes() < before / 2, "{} of {before} bytes are left", block::buffered_bytes());
    assert_eq!(vfs::cached_pages(), 0);
    assert_eq!(world.names("/").unwrap().len(), FILES + 1, "and lost+found");
}

#[test]
fn who_needs_memory_waits_for_what_others_write() {
    let _turn = begin();
    let disk = FakeDisk::new(Image::default(), 64);
    let volume = Volume::whole(&Disk::new("vdb".into(), 0xfe10, Box::new(disk.clone())));
    disk::register(&volume).unwrap();
    let world = World::tmpfs();
    world.mknod("/vdb", 0o060_600, 0xfe10).unwrap();
    let file = Arc::new(world.open("/vdb", OpenFlags::RDWR).unwrap());
    file.pwrite(&[1; PAGE_SIZE], 0).unwrap();
    disk.hold(8);
    let writer = {
        let file = file.clone();
        testkit::threads::spawn(move || file.file().sync(true).unwrap())
    };
    while disk.held().is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(vfs::dirty_pages(), 0);
    let waiter = testkit::threads::spawn(mm::reclaim::wait_for);
    while !writer.is_finished() {
        if !disk.held().is_empty() {
            disk.release(0);
        }
        std::thread::yield_now();
    }
    writer.join().unwrap();
    assert!(waiter.join().unwrap());
}
