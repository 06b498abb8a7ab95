//! What Linux leaves in its file of orphans when the power goes: it is deleted, or cut, and `e2fsck` finds nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use abi::Errno;
use ext::checksum::{crc32c, inode_seed};
use vfs::FileSystem;
use vfs::fs::ext::ExtOptions;

use crate::images::{Scratch, check, disk_of, make, mount};

const OPTIONS: &[&str] = &["-t", "ext4", "-b", "1024", "-O", "orphan_file"];
const BLOCK_LEN: usize = 1024;
/// Where the second of the magic number and the checksum is.
const AT_SUM: usize = BLOCK_LEN - 4;
/// Where the superblock says that there are orphans.
const AT_FEATURES: usize = 1024 + 100;

fn debugfs(image: &Path, request: &str) -> String {
    let output = Command::new("debugfs").args(["-w", "-R", request]).arg(image).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().unwrap())
}

/// The number of an inode, as `debugfs` says it.
fn number(image: &Path, name: &str) -> u32 {
    let text = debugfs(image, &format!("stat {name}"));
    text.split("Inode: ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().parse().unwrap()
}

/// Has the file of orphans name inodes. Its seed follows from its number and generation.
fn put_orphans(image: &Path, numbers: &[u32], is_sealed: bool) {
    let mut bytes = fs::read(image).unwrap();
    let file = word(&bytes, 1024 + 640);
    let block: usize = debugfs(image, &format!("bmap <{file}> 0")).trim().parse().unwrap();
    let generation = debugfs(image, &format!("stat <{file}>"));
    let generation = generation.split("Generation: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let checksum_seed = crc32c(u32::MAX, &bytes[1024 + 104..1024 + 120]);
    let place = &mut bytes[block * BLOCK_LEN..(block + 1) * BLOCK_LEN];
    for (entry, number) in place.chunks_exact_mut(4).skip(3).zip(numbers) {
        entry.copy_from_slice(&number.to_le_bytes());
    }
    let seed = inode_seed(checksum_seed, file, generation.parse().unwrap());
    let sum = crc32c(crc32c(seed, &(block as u64).to_le_bytes()), &place[..BLOCK_LEN - 8]);
    let sum = if is_sealed { sum } else { !sum };
    place[AT_SUM..].copy_from_slice(&sum.to_le_bytes());
    let features = word(&bytes, AT_FEATURES) | 0x1_0000;
    bytes[AT_FEATURES..AT_FEATURES + 4].copy_from_slice(&features.to_le_bytes());
    let sum = crc32c(u32::MAX, &bytes[1024..1024 + 1020]);
    bytes[1024 + 1020..2048].copy_from_slice(&sum.to_le_bytes());
    fs::write(image, bytes).unwrap();
}

/// An image with a file to be deleted and one to be cut; their numbers.
fn prepared(scratch: &Scratch) -> (std::path::PathBuf, [u32; 2]) {
    let image = make(scratch, OPTIONS, None);
    let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
    for name in ["/gone", "/cut", "/stays"] {
        mounted.world.write_file(name, &[7; 300_000]).unwrap();
    }
    fs::write(&image, mounted.unmount()).unwrap();
    let numbers = ["/gone", "/cut"].map(|name| number(&image, name));
    debugfs(&image, "unlink /gone");
    debugfs(&image, &format!("sif <{}> links_count 0", numbers[0]));
    debugfs(&image, &format!("sif <{}> size 5000", numbers[1]));
    (image, numbers)
}

#[test]
fn orphans_in_the_file_are_dealt_with() {
    let scratch = Scratch::new();
    let (image, numbers) = prepared(&scratch);
    put_orphans(&image, &numbers, true);
    let disk = disk_of(&fs::read(&image).unwrap());
    // As from Linux: what only reads leaves them alone.
    drop(mount(&disk, ExtOptions { is_read_only: true, ..ExtOptions::default() }).unwrap());
    let mounted = mount(&disk, ExtOptions::default()).unwrap();
    let free = mounted.file_system.statistics().blocks_free;
    assert_eq!(mounted.world.read_file("/cut").unwrap(), [7; 5000]);
    assert_eq!(mounted.world.read_file("/stays").unwrap().len(), 300_000);
    let bytes = mounted.unmount();
    assert_eq!(word(&bytes, AT_FEATURES) & 0x1_0000, 0);
    fs::write(&image, &bytes).unwrap();
    check(&image, "with a file of orphans");
    let mounted = mount(&disk_of(&bytes), ExtOptions::default()).unwrap();
    assert_eq!(mounted.file_system.statistics().blocks_free, free);
}

#[test]
fn what_is_named_twice_is_dealt_with_once() {
    let scratch = Scratch::new();
    for is_in_list in [false, true] {
        let (image, numbers) = prepared(&scratch);
        let [gone, cut] = numbers;
        if is_in_list {
            debugfs(&image, &format!("ssv last_orphan {gone}"));
        }
        put_orphans(&image, &[gone, cut, gone, cut, gone], true);
        let mounted = mount(&disk_of(&fs::read(&image).unwrap()), ExtOptions::default()).unwrap();
        assert_eq!(mounted.world.read_file("/cut").unwrap(), [7; 5000]);
        fs::write(&image, mounted.unmount()).unwrap();
        check(&image, &format!("named twice, {is_in_list}"));
    }
}

#[test]
fn a_file_of_orphans_that_is_wrong_is_told() {
    let scratch = Scratch::new();
    for (numbers, is_sealed) in [([12, 12], false), ([1 << 30, 12], true), ([5000, 0], true)] {
        let (image, _) = prepared(&scratch);
        put_orphans(&image, &numbers, is_sealed);
        let disk = disk_of(&fs::read(&image).unwrap());
        assert_eq!(mount(&disk, ExtOptions::default()).err(), Some(Errno::EUCLEAN), "{numbers:?}");
    }
}
