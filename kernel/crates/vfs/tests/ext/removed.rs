//! Disks that go away, that do not answer, or that fail for a while: programs are told, nothing waits for ever, and
//! unmounting works.

use std::sync::Arc;

use abi::{Errno, OpenFlags};
use block::{Device, SECTOR_LEN, TIMEOUT_NS};
use testkit::disk::{FakeDisk, Image};
use testkit::{clock, threads};
use vfs::FileSystem;
use vfs::fs::ext::ExtOptions;

use crate::images::{Mounted, Scratch, check, disk_of, make_of, mount};
use crate::support::{Answer, Random, World};

const LEN: u64 = 16 << 20;
const KINDS: &[&[&str]] = &[&["-t", "ext4"], &["-t", "ext2", "-b", "1024"]];

fn mounted(scratch: &Scratch, options: &[&str]) -> Mounted {
    let bytes = std::fs::read(make_of(scratch, options, LEN)).unwrap();
    mount(&disk_of(&bytes), ExtOptions::default()).unwrap()
}

/// Makes, writes, synchronizes, reads and removes files until an operation fails; how.
fn work(world: &World, own: u64, disk: &FakeDisk, after: usize) -> Errno {
    let mut random = Random::new(own);
    loop {
        let path = format!("/{own}-{}", random.below(20));
        let operation: Answer<()> = (|| {
            let file = world.open(&path, OpenFlags::RDWR | OpenFlags::CREAT)?;
            file.pwrite(&[1; 5000], random.below(50_000))?;
            if random.below(4) == 0 {
                file.file().sync(false)?;
            }
            if random.below(3) == 0 {
                world.unlink(&path)?;
            }
            Ok(())
        })();
        if let Err(errno) = operation {
            return errno;
        }
        if disk.steps() >= after {
            disk.stop();
        }
    }
}

#[test]
fn a_disk_that_is_removed_under_load() {
    for (number, options) in KINDS.iter().enumerate() {
        for after in [0, 1, 7, 40, 150] {
            let scratch = Scratch::new();
            let Mounted { disk, file_system, world } = mounted(&scratch, options);
            world.write_file("/kept", b"in memory").unwrap();
            let file = world.open("/kept", OpenFlags::RDWR).unwrap();
            let inode = Arc::downgrade(world.place("/kept").unwrap().inode());
            let workers: Vec<_> = (0..3)
                .map(|own| {
                    let (disk, file_system) = (disk.clone(), file_system.clone());
                    threads::spawn(move || work(&World::over(file_system), own, &disk, after))
                })
                .collect();
            for worker in workers {
                let errno = worker.join().unwrap();
                assert!(matches!(errno, Errno::EIO | Errno::EROFS), "{options:?}, {after}: {errno:?}");
            }
            assert_eq!(file.pread(20, 0).unwrap(), b"in memory");
            assert_eq!(file.file().sync(false), Err(Errno::EIO), "{options:?}");
            assert_eq!(file_system.sync(), Err(Errno::EIO));
            if number == 0 {
                assert!(file_system.is_read_only());
                assert_eq!(file.pwrite(b"x", 0), Err(Errno::EROFS));
                assert_eq!(world.mkdir("/new").unwrap_err(), Errno::EROFS);
                assert_eq!(
                    file_system.reconfigure(false, b""),
                    Err(Errno::EROFS),
                    "it is not mounted for writing again"
                );
            }
            drop((file, world));
            drop(file_system);
            // Nobody uses it any more: it is unmounted.
            vfs::settle_all();
            assert!(inode.upgrade().is_none(), "{options:?}: nothing stays in memory");
        }
    }
}

#[test]
fn a_disk_that_does_not_answer_is_given_up() {
    let scratch = Scratch::new();
    let Mounted { disk, file_system, world } = mounted(&scratch, KINDS[0]);
    let file = world.open("/file", OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
    file.pwrite(&[1; 5000], 0).unwrap();
    clock::stop_at(clock::now());
    // Nobody but who waits for the disk moves the clock.
    clock::skip_waits(true);
    let before_ns = clock::now();
    disk.hold(2);
    assert_eq!(file.file().sync(false), Err(Errno::EIO));
    assert!(clock::now() - before_ns >= TIMEOUT_NS);
    assert!(disk.held().is_empty(), "all were ended");
    assert_eq!(file.file().sync(false), Err(Errno::EIO), "at once");
    assert!(clock::now() - before_ns < 2 * TIMEOUT_NS);
    drop((file, world));
    assert!(file_system.shut_down().is_err());
    clock::run();
}

#[test]
fn a_failure_is_told_once_to_everybody() {
    let scratch = Scratch::new();
    let Mounted { disk, file_system, world } = mounted(&scratch, KINDS[0]);
    let [one, other] = ["/file", "/file"].map(|path| world.open(path, OpenFlags::RDWR | OpenFlags::CREAT).unwrap());
    one.pwrite(&[7; 5000], 0).unwrap();
    disk.fail_writes_after(Some(0));
    assert_eq!(file_system.write_back(), Err(Errno::EIO));
    disk.fail_writes_after(None);
    for file in [&one, &other] {
        assert_eq!(file.file().sync(false), Err(Errno::EIO));
        assert_eq!(file.file().sync(false), Ok(()));
    }
    let late = world.open("/file", OpenFlags::RDWR).unwrap();
    assert_eq!(late.file().sync(false), Ok(()), "it is old");
    drop((one, other, late));
    let bytes = Mounted { disk, file_system, world }.unmount();
    let again =
        mount(&FakeDisk::new(Image::from_bytes(&bytes), LEN / SECTOR_LEN as u64), ExtOptions::default()).unwrap();
    assert_eq!(again.world.read_file("/file").unwrap(), [7; 5000], "it was written after all");
    let path = scratch.path("after");
    std::fs::write(&path, again.unmount()).unwrap();
    check(&path, "after a failure");
}
