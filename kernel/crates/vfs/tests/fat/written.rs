//! What is written back, and when.

use abi::{Errno, FallocateFlags, OpenFlags};
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
