//! What is written back, and when.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use abi::{Errno, FallocateFlags, OpenFlags};
use testkit::threads;
use vfs::FileSystem;

use crate::images::{Medium, SHAPES, check};
use crate::support::World;

#[test]
fn what_was_dirty_before_is_written_and_nothing_else() {
    for shape in SHAPES {
        let medium = Medium::new(&shape.make());
        let fat = medium.open().unwrap();
        let world = World::over(fat.clone());
        let steps = || medium.disk.steps();
        let file = world.open("/file", OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
        let mut before = steps();
        for round in 0..3 {
            file.pwrite(&[round; 3000], 0).unwrap();
            fat.write_back().unwrap();
            assert_eq!(steps(), before, "{shape:?}, {round}: it is young");
            // Changed again it is no younger.
            file.pwrite(&[round; 10], 10).unwrap();
            fat.write_back().unwrap();
            assert!(steps() > before, "{shape:?}, {round}: it is old");
            before = steps();
            fat.write_back().unwrap();
            fat.write_back().unwrap();
            assert_eq!(steps(), before, "{shape:?}, {round}: nothing is dirty");
        }
        world.unlink("/file").unwrap();
        drop(file);
        fat.write_back().unwrap();
        assert_eq!(steps(), before, "{shape:?}: the name is young");
        fat.write_back().unwrap();
        assert!(steps() > before, "{shape:?}: the name is gone");
        drop(world);
        vfs::FileSystem::shut_down(&*fat).unwrap();
        check(&medium.bytes());
    }
}

/// Room behind the end is the file's as long as anybody may write it, and nobody sees what was there.
#[test]
fn room_is_kept_until_the_last_writer_closes() {
    let keep = FallocateFlags::KEEP_SIZE;
    for shape in SHAPES {
        let medium = Medium::new(&shape.make());
        let fat = medium.open().unwrap();
        let world = World::over(fat.clone());
        let free = || fat.statistics().blocks_free;
        let cluster = fat.statistics().block_size;
        let before = free();
        let open = || world.open("/file", OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
        let (first, second) = (open(), open());
        first.pwrite(&[1; 100], 0).unwrap();
        first.allocate(keep, 0, 5 * cluster).unwrap();
        assert_eq!((free(), first.stat().size, first.stat().blocks), (before - 5, 100, 5 * cluster / 512), "{shape:?}");
        first.allocate(keep, cluster, 10).unwrap();
        assert_eq!(free(), before - 5, "it is there already");
        assert_eq!(first.allocate(keep, 0, 1 << 32), Err(Errno::EFBIG));
        assert_eq!(first.allocate(keep, 0, (before + 1) * cluster), Err(Errno::ENOSPC), "{shape:?}");
        assert_eq!(first.allocate(FallocateFlags::ZERO_RANGE, 0, 10), Err(Errno::EOPNOTSUPP));
        // A write takes it; what lies between is zero.
        first.pwrite(&[2; 10], 3 * cluster).unwrap();
        assert_eq!((free(), first.stat().size), (before - 5, 3 * cluster + 10), "{shape:?}");
        let between = first.pread(usize::try_from(3 * cluster).unwrap(), 0).unwrap();
        assert!(between.iter().skip(100).all(|byte| *byte == 0), "{shape:?}");
        drop(first);
        assert_eq!(free(), before - 5, "somebody else may write it");
        drop(second);
        assert_eq!(free(), before - 4, "{shape:?}");
        // Cut, it has none.
        let third = open();
        third.allocate(keep, 0, 9 * cluster).unwrap();
        third.truncate(10).unwrap();
        assert_eq!((free(), third.stat().blocks), (before - 1, cluster / 512), "{shape:?}");
        // Of a file that is open at the end nothing is left behind its own.
        third.allocate(keep, 0, 7 * cluster).unwrap();
        fat.shut_down().unwrap();
        check(&medium.bytes());
    }
}

/// Of two writers who close at once one is the last.
#[test]
fn room_is_given_back_whoever_closes_last() {
    let medium = Medium::new(&SHAPES[2].make());
    let fat = medium.open().unwrap();
    let world = World::over(fat.clone());
    let cluster = fat.statistics().block_size;
    let before = fat.statistics().blocks_free;
    for round in 0..500 {
        let open = || world.open("/file", OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
        let files = [open(), open()];
        files[0].allocate(FallocateFlags::KEEP_SIZE, 0, 5 * cluster).unwrap();
        let barrier = Arc::new(Barrier::new(files.len()));
        let closing = files.map(|file| {
            let barrier = barrier.clone();
            threads::spawn(move || {
                barrier.wait();
                drop(file);
            })
        });
        closing.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(fat.statistics().blocks_free, before, "round {round}");
    }
    drop(world);
    fat.shut_down().unwrap();
    check(&medium.bytes());
}

/// Its entry is written back while a rename brings the new one to the disk: what that says is in the new one as well.
#[test]
fn what_is_written_during_a_rename_is_not_lost() {
    const LEN: u64 = 8192;
    /// Time for a thread to come to wait for a lock; when it does not, the case is not met.
    const ARRIVAL: Duration = Duration::from_millis(30);
    let medium = Medium::new(&SHAPES[2].make());
    let fat = medium.open().unwrap();
    let world = Arc::new(World::over(fat.clone()));
    world.mkdir("/other").unwrap();
    world.write_file("/file", &[1; 10]).unwrap();
    fat.sync().unwrap();
    let file = world.open("/file", OpenFlags::RDWR).unwrap();
    // What it gets behind its pages makes none dirty.
    file.truncate(LEN).unwrap();
    file.file().sync(true).unwrap();
    file.truncate(2 * LEN).unwrap();
    medium.disk.hold(usize::MAX);
    let renaming = {
        let world = world.clone();
        threads::spawn(move || world.rename("/file", "/other/file"))
    };
    while medium.disk.held().is_empty() {
        std::thread::yield_now();
    }
    let syncing = threads::spawn(move || file.file().sync(false));
    std::thread::sleep(ARRIVAL);
    while !renaming.is_finished() || !syncing.is_finished() {
        if !medium.disk.held().is_empty() {
            medium.disk.release(0);
        }
        std::thread::yield_now();
    }
    renaming.join().unwrap().unwrap();
    syncing.join().unwrap().unwrap();
    medium.disk.hold_no_more();
    drop(world);
    fat.shut_down().unwrap();
    check(&medium.bytes());
    assert_eq!(medium.with(|world| world.stat("/other/file").unwrap().size), 2 * LEN);
}
