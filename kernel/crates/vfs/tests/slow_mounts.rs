//! Mounting and unmounting, where a disk takes its time.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::process::Command;
use std::sync::Arc;

use block::{Disk, SECTOR_LEN, Volume};
use testkit::disk::{FakeDisk, Image};
use testkit::threads;
use vfs::SuperblockFlags;
use vfs::fs::disk;
use vfs::fs::kinds::{self, Source};

const LEN: u64 = 4 << 20;

/// An empty file system.
fn image() -> Vec<u8> {
    let path = std::env::temp_dir().join(format!("nacre-slow-{}", std::process::id()));
    std::fs::write(&path, vec![0; usize::try_from(LEN).unwrap()]).unwrap();
    let made = Command::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(&path).status();
    assert!(made.expect("mke2fs runs; make setup installs e2fsprogs").success());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    bytes
}

/// Lets a disk do what is held back, until something is the case.
fn release_until(disk: &FakeDisk, is_over: impl Fn() -> bool) {
    while !is_over() {
        if !disk.held().is_empty() {
            disk.release(0);
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_slow_disk_keeps_nobody_from_mounting_another() {
    support::machine();
    let bytes = image();
    kinds::register_own().unwrap();
    let mount_of = |volume: Volume| {
        move || {
            let flags = SuperblockFlags::default();
            let source = Source { name: b"disk", volume: Some(&volume), flags, options: b"" };
            kinds::find(b"ext4").unwrap().open(&source)
        }
    };
    let volumes = [("vda", 0xfe00), ("vdb", 0xfe10)].map(|(name, number)| {
        let disk = FakeDisk::new(Image::from_bytes(&bytes), LEN / SECTOR_LEN as u64);
        let volume = Volume::whole(&Disk::new(name.into(), number, Box::new(disk.clone())));
        disk::register(&volume).unwrap();
        (disk, volume)
    });
    let [(slow, slow_volume), (_, other_volume)] = &volumes;
    slow.hold(4);
    let first = threads::spawn(mount_of(slow_volume.clone()));
    while slow.held().is_empty() {
        std::thread::yield_now();
    }
    let second = threads::spawn(mount_of(slow_volume.clone()));
    drop(mount_of(other_volume.clone())().unwrap());
    vfs::settle_all();
    vfs::sync_all();
    assert!(!first.is_finished() && !second.is_finished());
    release_until(slow, || first.is_finished() && second.is_finished());
    let [first, second] = [first, second].map(|mount| mount.join().unwrap().unwrap());
    assert!(Arc::ptr_eq(&first, &second), "mounted once");
    drop((first, second));
    // While it is let go of, it can be mounted again by who waits.
    let settling = threads::spawn(vfs::settle_all);
    while slow.held().is_empty() {
        std::thread::yield_now();
    }
    let again = threads::spawn(mount_of(slow_volume.clone()));
    drop(mount_of(other_volume.clone())().unwrap());
    release_until(slow, || settling.is_finished() && again.is_finished());
    settling.join().unwrap();
    // Who unmounts has nothing to do with what another has left, and does not wait for who is at work on it.
    let [again, other] = [again.join().unwrap(), mount_of(other_volume.clone())()].map(Result::unwrap);
    let file_system = Arc::downgrade(other.file_system());
    drop((again, other));
    vfs::settle_device(other_volume.number());
    assert!(slow.held().is_empty(), "it was left alone");
    assert!(file_system.upgrade().is_none(), "it is unmounted");
    let last = threads::spawn({
        let number = slow_volume.number();
        move || vfs::settle_device(number)
    });
    while slow.held().is_empty() {
        std::thread::yield_now();
    }
    drop(mount_of(other_volume.clone())().unwrap());
    vfs::settle_device(other_volume.number());
    assert!(!last.is_finished());
    // At the end of the machine all are waited for.
    let end = threads::spawn(vfs::settle_all);
    release_until(slow, || end.is_finished());
    end.join().unwrap();
    last.join().unwrap();
}
