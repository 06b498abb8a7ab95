//! Many files, in directories with large indexes: all are found, and `e2fsck` finds nothing. `EXT_FILES` says how many.

use std::fs::File;
use std::os::unix::fs::FileExt;

use abi::Errno;
use block::SECTOR_LEN;
use testkit::Random;
use testkit::disk::{FakeDisk, Image};
use vfs::FileSystem;
use vfs::fs::ext::ExtOptions;

use crate::images::{KINDS, Mounted, Scratch, check, disk_of, make, make_of, mount};

const FILES: usize = 20_000;
const DIRECTORIES: usize = 4;
/// Some names are as long as names may be.
const LONG_EVERY: usize = 500;

fn name_of(number: usize) -> String {
    let name = format!("/{}/file {number}", number % DIRECTORIES);
    if number.is_multiple_of(LONG_EVERY) { format!("{name:.<258}") } else { name }
}

#[test]
fn many_files_are_found() {
    let files = std::env::var("EXT_FILES").ok().and_then(|value| value.parse().ok()).unwrap_or(FILES);
    println!("EXT_FILES={files}");
    let scratch = Scratch::new();
    // An inode takes 256 bytes, and a name some 30 in blocks that are half full.
    let len = (32 << 20) + files as u64 * 450;
    let options = ["-t", "ext4", "-J", "size=8", "-m", "0", "-N", &(files + files / 500 + 100).to_string()];
    let path = make_of(&scratch, &options, len);
    let disk = FakeDisk::new(Image::from_bytes(&std::fs::read(&path).unwrap()), len / SECTOR_LEN as u64);
    disk.forget_log();
    let mounted = mount(&disk, ExtOptions::default()).unwrap();
    for directory in 0..DIRECTORIES {
        mounted.world.mkdir(&format!("/{directory}")).unwrap();
    }
    for number in 0..files {
        mounted.world.mknod(&name_of(number), 0o100_644, 0).unwrap_or_else(|errno| panic!("{number}: {errno:?}"));
    }
    let Mounted { file_system, world, .. } = mounted;
    drop(world);
    file_system.shut_down().unwrap();
    let image = disk.image();
    let file = File::create(&path).unwrap();
    file.set_len(len).unwrap();
    for (number, sector) in image.sectors() {
        file.write_all_at(sector, number * SECTOR_LEN as u64).unwrap();
    }
    check(&path, "many files");

    let disk = FakeDisk::new(image, len / SECTOR_LEN as u64);
    let mounted = mount(&disk, ExtOptions { is_read_only: true, ..ExtOptions::default() }).unwrap();
    let mut random = Random::new(1);
    for _ in 0..files.min(FILES) {
        let number = random.below(files);
        assert!(mounted.world.stat(&name_of(number)).is_ok(), "{number}");
        assert_eq!(mounted.world.stat(&name_of(files + number)).unwrap_err(), Errno::ENOENT);
    }
    let listed: usize = (0..DIRECTORIES).map(|at| mounted.world.names(&format!("/{at}")).unwrap().len()).sum();
    assert_eq!(listed, files);
}

#[test]
fn records_of_new_files_are_made_without_a_look_at_the_disk() {
    const FILES: usize = 300;
    for (name, options) in KINDS {
        let scratch = Scratch::new();
        let path = make(&scratch, options, None);
        let mounted = mount(&disk_of(&std::fs::read(&path).unwrap()), ExtOptions::default()).unwrap();
        mounted.world.mkdir("/d").unwrap();
        mounted.world.write_file("/d/first", b"").unwrap();
        let before = mounted.disk.reads();
        for number in 0..FILES {
            mounted.world.write_file(&format!("/d/{number}"), number.to_string().as_bytes()).unwrap();
        }
        // Groups have bitmaps, and records beside those that are in use.
        let reads = mounted.disk.reads() - before;
        assert!(reads <= 30, "{name}: {reads} reads");
        // Blocks of records that are in use stay as they are, those that are free again may go.
        for number in (0..FILES).filter(|number| number % 40 != 0) {
            mounted.world.unlink(&format!("/d/{number}")).unwrap();
        }
        mounted.file_system.sync().unwrap();
        mounted.file_system.write_back().unwrap();
        mounted.file_system.drop_caches();
        for number in 0..FILES / 2 {
            mounted.world.write_file(&format!("/d/new {number}"), b"").unwrap();
        }
        std::fs::write(&path, mounted.unmount()).unwrap();
        check(&path, name);
        let mounted = mount(&disk_of(&std::fs::read(&path).unwrap()), ExtOptions::default()).unwrap();
        for number in (0..FILES).step_by(40) {
            assert_eq!(
                mounted.world.read_file(&format!("/d/{number}")).unwrap(),
                number.to_string().as_bytes(),
                "{name}"
            );
        }
    }
}
