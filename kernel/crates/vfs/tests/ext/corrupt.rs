//! Damaged disks: whatever is on them, calls answer, and nothing panics or goes on for ever.

use std::fs;
use std::path::Path;
use std::process::Command;

use abi::Errno;
use vfs::fs::ext::ExtOptions;

use crate::damage::use_all;
use crate::images::{KINDS, Scratch, disk_of, make, mount};
use crate::support::Random;

/// Damaged copies of each image, unless `NACRE_TEST_ROUNDS` says otherwise.
const COPIES: u64 = 3;

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
            mounted_count += u64::from(use_all(&bytes, &mut random));
        }
    }
    assert!(mounted_count > 0);
}

#[test]
fn directories_with_several_names_are_told() {
    let scratch = Scratch::new();
    let source = scratch.path("tree");
    fs::create_dir_all(source.join("a/b")).unwrap();
    let image = make(&scratch, KINDS[3].1, Some(&source));
    for command in ["link a again", "link a/b a/also", "link a a/b/loop", "link / a/b/root", "link a/b a/b/self"] {
        let output = Command::new("debugfs").args(["-w", "-R", command]).arg(&image).output().unwrap();
        assert!(output.status.success());
    }
    let options = ExtOptions { on_error: Some(1), ..ExtOptions::default() };
    let mounted = mount(&disk_of(&fs::read(&image).unwrap()), options).unwrap();
    let world = &mounted.world;
    assert!(world.stat("/a/b").is_ok());
    for path in ["/again", "/a/also", "/a/b/loop", "/a/b/root", "/a/b/self"] {
        assert_eq!(world.stat(path).err(), Some(Errno::EUCLEAN), "{path}");
        assert_eq!(world.rmdir(path), Err(Errno::EUCLEAN), "{path}");
        assert_eq!(world.rename(path, "/a/new"), Err(Errno::EUCLEAN), "{path}");
    }
    world.rename("/a/b", "/c").unwrap();
    assert!(world.stat("/c").is_ok());
}
