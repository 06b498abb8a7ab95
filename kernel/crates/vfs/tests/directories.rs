//! Reading directories while they change, link counts, sizes and times of directories.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;

use abi::open::SEEK_SET;
use abi::{Errno, OpenFlags};
use support::{ArchiveBuilder, Handle, Random, World};

fn filled(count: usize) -> World {
    let world = World::tmpfs();
    world.mkdir("/d").unwrap();
    for number in 0..count {
        world.write_file(&format!("/d/f{number}"), b"").unwrap();
    }
    world
}

fn open(world: &World, path: &str) -> Handle {
    world.open(path, OpenFlags::DIRECTORY).unwrap()
}

/// What `rm -r` does: reads some, removes those, reads on.
fn remove_while_reading(world: &World, path: &str, batch: usize) -> usize {
    let directory = open(world, path);
    let mut removed = 0;
    loop {
        let entries = directory.entries(batch).unwrap();
        if entries.is_empty() {
            return removed;
        }
        for (name, ..) in entries {
            if name != "." && name != ".." {
                world.unlink(&format!("{path}/{name}")).unwrap();
                removed += 1;
            }
        }
    }
}

#[test]
fn entries_removed_while_reading_hide_no_others() {
    for batch in [1, 2, 3, 7, 32, 33, 1000] {
        let world = filled(300);
        assert_eq!(remove_while_reading(&world, "/d", batch), 300, "batch {batch}");
        world.rmdir("/d").unwrap();
    }
}

#[test]
fn entries_of_an_archive_too() {
    let mut archive = ArchiveBuilder::new().directory("d");
    for number in 0..200 {
        archive = archive.file(&format!("d/f{number}"), b"x");
    }
    for batch in [1, 5, 32, 1000] {
        let world = World::overlay(&archive);
        for number in 0..100 {
            world.write_file(&format!("/d/new{number}"), b"").unwrap();
        }
        assert_eq!(world.rmdir("/d"), Err(Errno::ENOTEMPTY));
        assert_eq!(remove_while_reading(&world, "/d", batch), 300, "batch {batch}");
        assert_eq!(world.names("/d").unwrap(), Vec::<String>::new());
        world.rmdir("/d").unwrap();
        assert_eq!(world.stat("/d").err(), Some(Errno::ENOENT));
        // What is made in its place is empty.
        world.mkdir("/d").unwrap();
        assert_eq!(world.names("/d").unwrap(), Vec::<String>::new());
    }
}

#[test]
fn an_entry_that_stays_is_seen_once() {
    let (seed, mut random) = Random::seeded(77);
    for _ in 0..50 {
        let world = filled(40);
        let stays: BTreeSet<String> = (0..40).step_by(2).map(|number| format!("f{number}")).collect();
        let directory = open(&world, "/d");
        let mut seen = Vec::new();
        loop {
            let entries = directory.entries(1 + usize::try_from(random.below(5)).unwrap()).unwrap();
            if entries.is_empty() {
                break;
            }
            seen.extend(entries.into_iter().map(|entry| entry.0));
            for _ in 0..random.below(6) {
                let name = format!("/d/f{}", 1 + 2 * random.below(20));
                if world.unlink(&name).is_err() && random.below(2) == 0 {
                    world.write_file(&name, b"").unwrap();
                }
            }
            world.write_file("/d/extra", b"").unwrap();
            world.unlink("/d/extra").unwrap();
        }
        let mut once = seen.clone();
        once.retain(|name| stays.contains(name));
        once.sort();
        assert_eq!(once, stays.iter().cloned().collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn positions_can_be_returned_to() {
    let world = filled(20);
    let directory = open(&world, "/d");
    let all = directory.entries(usize::MAX).unwrap();
    assert_eq!(&all[0].0, ".");
    assert_eq!(&all[1].0, "..");
    assert_eq!(all[1].1, world.stat("/").unwrap().inode);
    assert_eq!(all.len(), 22);
    for (index, entry) in all.iter().enumerate() {
        directory.seek(i64::try_from(entry.3).unwrap(), SEEK_SET).unwrap();
        assert_eq!(directory.entries(usize::MAX).unwrap(), all[index + 1..]);
    }
    directory.seek(0, SEEK_SET).unwrap();
    assert_eq!(directory.entries(usize::MAX).unwrap(), all);
    for (name, inode, kind, _) in &all[2..] {
        assert_eq!(world.stat(&format!("/d/{name}")).unwrap().inode, *inode);
        assert_eq!(*kind, 8);
    }
}

#[test]
fn a_rename_keeps_the_position_of_others() {
    let world = filled(10);
    let directory = open(&world, "/d");
    let first = directory.entries(5).unwrap();
    for number in 0..3 {
        world.rename(&format!("/d/f{number}"), &format!("/d/renamed{number}")).unwrap();
    }
    let rest: Vec<String> = directory.entries(usize::MAX).unwrap().into_iter().map(|entry| entry.0).collect();
    assert_eq!(first.len(), 5);
    assert_eq!(rest, ["f3", "f4", "f5", "f6", "f7", "f8", "f9", "renamed0", "renamed1", "renamed2"]);
}

#[test]
fn links_and_sizes_count_entries() {
    let world = World::tmpfs();
    world.mkdir("/d").unwrap();
    let attributes = || world.stat("/d").unwrap();
    assert_eq!((attributes().links, attributes().size), (2, 40));
    world.mkdir("/d/a").unwrap();
    world.write_file("/d/f", b"").unwrap();
    assert_eq!((attributes().links, attributes().size), (3, 80));
    world.rename("/d/a", "/a").unwrap();
    assert_eq!((attributes().links, attributes().size), (2, 60));
    assert_eq!(world.stat("/").unwrap().links, 4);
    world.mkdir("/d/b").unwrap();
    world.rename("/a", "/d/b").unwrap();
    assert_eq!((attributes().links, world.stat("/").unwrap().links), (3, 3));
    world.rmdir("/d/b").unwrap();
    world.unlink("/d/f").unwrap();
    assert_eq!((attributes().links, attributes().size), (2, 40));
}

#[test]
fn changing_names_changes_times() {
    let world = World::tmpfs();
    world.mkdir("/d").unwrap();
    world.write_file("/f", b"").unwrap();
    let times = |path: &str| world.lstat(path).map(|attributes| (attributes.modified, attributes.changed)).unwrap();
    let mut last = times("/d");
    let mut changed = |what: &str| {
        let now = times("/d");
        assert!(now.0 != last.0 && now.1 != last.1, "{what}");
        last = now;
    };
    world.mkdir("/d/x").unwrap();
    changed("mkdir");
    world.rmdir("/d/x").unwrap();
    changed("rmdir");
    let before = times("/f");
    world.link("/f", "/d/f").unwrap();
    changed("link");
    assert!(times("/f").0 == before.0 && times("/f").1 != before.1, "a link changes attributes, not contents");
    world.rename("/d/f", "/d/g").unwrap();
    changed("rename");
    let before = times("/f");
    world.unlink("/d/g").unwrap();
    changed("unlink");
    assert!(times("/f").0 == before.0 && times("/f").1 != before.1);
    world.symlink("x", "/d/l").unwrap();
    changed("symlink");
    let before = times("/d");
    assert_eq!(world.mkdir("/d/l"), Err(Errno::EEXIST));
    assert_eq!(times("/d"), before);
}

#[test]
fn many_names() {
    let world = World::tmpfs();
    for number in 0..20_000 {
        world.write_file(&format!("/n{number}"), b"").unwrap();
    }
    assert_eq!(world.names("/").unwrap().len(), 20_000);
    for number in (0..20_000).rev().step_by(3) {
        world.unlink(&format!("/n{number}")).unwrap();
    }
    let left = world.names("/").unwrap();
    assert_eq!(left.len(), 20_000 - 6667);
    assert!(left.iter().all(|name| world.stat(&format!("/{name}")).is_ok()));
}

#[test]
fn deep_trees_come_and_go() {
    let mut world = World::tmpfs();
    let depth = 20_000;
    for _ in 0..depth {
        world.mkdir("d").unwrap();
        world.chdir("d").unwrap();
    }
    assert_eq!(world.cwd().len(), 2 * depth);
    // The working directory is given up from below, the tree from above.
    let root = world.context.root.clone();
    world.context.set_cwd(root).unwrap();
    drop(world);
}

#[test]
fn deep_removed_trees_too() {
    let mut world = World::tmpfs();
    let depth = 20_000;
    for _ in 0..depth {
        world.mkdir("d").unwrap();
        world.chdir("d").unwrap();
    }
    for _ in 0..depth {
        world.context.cwd = {
            let parent = world.place("..").unwrap();
            // Someone stays in the deepest directory.
            let deepest = world.context.cwd.clone();
            world.context.cwd = parent;
            if world.names("d").unwrap().is_empty() {
                world.rmdir("d").unwrap();
            }
            drop(deepest);
            world.context.cwd.clone()
        };
    }
    assert_eq!(world.names("/").unwrap(), Vec::<String>::new());
}
