//! Damaged disks: whatever is on them, calls answer, and nothing panics or goes on for ever.

use std::fs;
use std::path::Path;

use abi::{FallocateFlags, OpenFlags};
use vfs::fs::ext::ExtOptions;

use crate::images::{KINDS, Scratch, disk_of, has_programs, make, mount};
use crate::support::{Random, World};

/// Damaged copies of each image, unless `NACRE_TEST_ROUNDS` says otherwise.
const COPIES: u64 = 3;
/// Operations on each.
const OPERATIONS: u64 = 60;
/// Paths that are looked at: a damaged directory may show many.
const PATHS_MAX: usize = 300;

fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::create_dir(root.join("many")).unwrap();
    for number in 0..150 {
        fs::write(root.join(format!("many/a name of a file, and not a short one: {number}")), "x").unwrap();
    }
    // Every second block, so that maps have many parts.
    let holes = fs::File::create(root.join("a/holes")).unwrap();
    for number in 0..400_u64 {
        std::os::unix::fs::FileExt::write_all_at(&holes, b"data", number * 8192).unwrap();
    }
    fs::write(root.join("a/b/file"), vec![7; 300_000]).unwrap();
    std::os::unix::fs::symlink("z/".repeat(300), root.join("link")).unwrap();
}

/// All paths that can be reached, up to a limit; everything is read.
fn walk(world: &World) -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut at = 0;
    while at < paths.len() && paths.len() < PATHS_MAX {
        let path = paths[at].clone();
        at += 1;
        let Ok(attributes) = world.lstat(&format!("{path}/.")).or_else(|_| world.lstat(&path)) else { continue };
        match attributes.mode & 0o170_000 {
            0o040_000 => {
                let entries =
                    world.open(&format!("{path}/"), OpenFlags::DIRECTORY).and_then(|file| file.names(PATHS_MAX));
                let names = entries.unwrap_or_default().into_iter().filter(|name| name != "." && name != "..");
                paths.extend(names.map(|name| format!("{path}/{name}")));
            }
            0o100_000 => {
                if let Ok(file) = world.open(&path, OpenFlags::empty()) {
                    for position in [0, 5000, 1 << 20, attributes.size.saturating_sub(3)] {
                        let _ = file.pread(20_000, position);
                    }
                    let _ = file.seek(0, abi::open::SEEK_DATA);
                    let _ = file.seek(0, abi::open::SEEK_HOLE);
                }
            }
            _ => {
                let place = world.resolve(&path, vfs::Lookup::empty());
                let _ = place.and_then(|place| vfs::readlink(&world.credentials, &place));
            }
        }
    }
    paths
}

fn change(world: &World, paths: &[String], random: &mut Random) {
    for _ in 0..OPERATIONS {
        let (path, other) = (random.pick(paths).clone(), random.pick(paths).clone());
        let new = format!("{path}/new {}", random.below(5));
        let offset = random.below(4_000_000);
        // Any answer is right.
        let _ = match random.below(11) {
            0 => world.unlink(&path),
            1 => world.rmdir(&path),
            2 => world.rename(&path, &other),
            3 => world.mkdir(&new),
            4 | 5 => {
                let path = if random.below(2) == 0 { &new } else { &path };
                let file = world.open(path, OpenFlags::RDWR | OpenFlags::CREAT);
                file.and_then(|file| file.pwrite(&[1; 9000], offset)).map(drop)
            }
            6 => world.truncate(&path, offset),
            7 => world.truncate(&path, 0),
            8 => world.link(&path, &new),
            9 => world.symlink(&"t".repeat(90), &new),
            _ => {
                let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                world.open(&path, OpenFlags::RDWR).and_then(|file| file.allocate(mode, offset, 100_000))
            }
        };
    }
}

/// Changes bytes of blocks that are not empty, mostly near the beginning, where the metadata is.
fn damage(bytes: &mut [u8], random: &mut Random) {
    let used: Vec<usize> =
        (0..bytes.len() / 512).filter(|at| bytes[at * 512..][..512].iter().any(|b| *b != 0)).collect();
    for _ in 0..1 + random.below(40) {
        let sector = if random.below(2) == 0 {
            used[usize::try_from(random.below(used.len() as u64)).unwrap()]
        } else {
            used[usize::try_from(random.below(used.len().min(400) as u64)).unwrap()]
        };
        let at = sector * 512 + usize::try_from(random.below(512)).unwrap();
        let values = [0, 0xff, 1, random.next().to_le_bytes()[0], bytes[at] ^ 1 << random.below(8)];
        bytes[at] = *random.pick(&values);
    }
}

#[test]
fn damaged_disks_are_told_and_nothing_else() {
    if !has_programs() {
        return;
    }
    let (seed, mut random) = Random::seeded(1);
    let scratch = Scratch::new();
    let source = scratch.path("tree");
    make_tree(&source);
    let mut mounted_count = 0;
    let copies = std::env::var("NACRE_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(COPIES);
    for kind in KINDS {
        let image = make(&scratch, kind.1, Some(&source));
        let bytes = fs::read(&image).unwrap();
        for copy in 0..copies {
            println!("{} {copy} of seed {seed}", kind.0);
            let mut bytes = bytes.clone();
            damage(&mut bytes, &mut random);
            let options = ExtOptions { on_error: Some(1), ..ExtOptions::default() };
            let Ok(mounted) = mount(&disk_of(&bytes), options) else { continue };
            mounted_count += 1;
            let paths = walk(&mounted.world);
            change(&mounted.world, &paths, &mut random);
            let _ = mounted.file_system.write_back();
            walk(&mounted.world);
            let _ = mounted.file_system.shut_down();
        }
    }
    assert!(mounted_count > 0);
}
