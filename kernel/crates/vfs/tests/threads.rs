//! Many threads at work in one tree. Whatever they do, no lock is taken out of order (debug builds check), nothing hangs, the
//! tree stays a tree, link counts are true, and when everything is removed nothing is left.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;

use abi::{OpenFlags, RenameFlags};
use support::{ArchiveBuilder, Random, World};

const THREADS: u64 = 4;
const STEPS: u64 = 2500;
const NAMES: &[&str] = &["a", "b", "c", "d"];

fn path(random: &mut Random) -> String {
    (0..1 + random.below(3)).map(|_| format!("/{}", random.pick(NAMES))).collect()
}

/// One operation, whose result does not matter.
fn step(world: &World, random: &mut Random) {
    let (one, other) = (path(random), path(random));
    match random.below(14) {
        0 | 1 => drop(world.mkdir(&one)),
        2 => drop(world.rmdir(&one)),
        3 => drop(world.unlink(&one)),
        4 | 5 => drop(world.rename(&one, &other)),
        6 => drop(world.rename_with(&one, &other, RenameFlags::EXCHANGE)),
        7 => drop(world.link(&one, &other)),
        8 => drop(world.symlink(&other, &one)),
        9 => drop(world.names(&one)),
        10 => drop(world.truncate(&one, random.below(20_000))),
        11 => drop(world.read_file(&one)),
        12 => {
            let place = world.place(&one);
            // The path of a place is taken while others move it.
            drop(place.map(|place| world.path_name(&place)));
        }
        _ => {
            if let Ok(file) = world.open(&one, OpenFlags::RDWR | OpenFlags::CREAT) {
                let _ = file.pwrite(&[1; 5000], random.below(10_000));
            }
        }
    }
}

/// Walks the whole tree: every name leads somewhere, and links are as many as names.
fn check(world: &World, path: &str, names: &mut BTreeMap<u64, (u32, u32)>) {
    let mut directories = 0;
    for name in world.names(path).unwrap() {
        let child = format!("{}/{name}", path.trim_end_matches('/'));
        let attributes = world.lstat(&child).unwrap();
        if attributes.mode & 0o170_000 == 0o040_000 {
            directories += 1;
            check(world, &child, names);
        } else {
            names.entry(attributes.inode).or_insert((attributes.links, 0)).1 += 1;
        }
    }
    assert_eq!(world.lstat(path).unwrap().links, 2 + directories, "{path}");
}

fn remove_all(world: &World, path: &str) {
    for name in world.names(path).unwrap() {
        let child = format!("{}/{name}", path.trim_end_matches('/'));
        if world.unlink(&child).is_err() {
            remove_all(world, &child);
            world.rmdir(&child).unwrap();
        }
    }
}

fn run(world: &World, seed: u64) {
    let (seed, _) = Random::seeded(seed);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let (_, mut random) = Random::seeded(seed * 1000 + thread);
                (0..STEPS).for_each(|_| step(world, &mut random));
            });
        }
    });
    let mut names = BTreeMap::new();
    check(world, "/", &mut names);
    assert!(names.values().all(|(links, names)| links == names), "{names:?}");
    remove_all(world, "/");
    let statistics = vfs::statfs(&world.place("/").unwrap());
    assert_eq!(statistics.blocks_free, statistics.blocks);
    assert!(statistics.files_free >= statistics.files - 1);
}

#[test]
fn in_a_tmpfs() {
    for seed in 1..4 {
        run(&World::tmpfs(), seed);
    }
}

#[test]
fn in_an_overlay() {
    let archive = ArchiveBuilder::new()
        .directory("a")
        .directory("a/b")
        .directory("b")
        .directory("b/c")
        .file("a/b/c", &[7; 9000])
        .file("a/c", b"small")
        .file("b/c/d", &[8; 4096])
        .file("c", &[9; 100])
        .hard_link("b/a", "c")
        .link("d", "a");
    for seed in 1..4 {
        run(&World::overlay(&archive), seed);
    }
}
