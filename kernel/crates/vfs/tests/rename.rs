//! Renaming: what may replace what, exchanges, and renames that race.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use abi::{Errno, OpenFlags, RenameFlags};
use support::{ArchiveBuilder, World};
use vfs::MountFlags;

const EXCHANGE: RenameFlags = RenameFlags::EXCHANGE;
const NOREPLACE: RenameFlags = RenameFlags::NOREPLACE;

fn world() -> World {
    let world = World::tmpfs();
    for path in ["/d", "/d/sub", "/empty", "/full"] {
        world.mkdir(path).unwrap();
    }
    for path in ["/f", "/g", "/full/x", "/d/sub/y"] {
        world.write_file(path, path.as_bytes()).unwrap();
    }
    world.symlink("f", "/l").unwrap();
    world
}

#[test]
fn what_may_replace_what() {
    let cases: &[(&str, &str, RenameFlags, Option<Errno>)] = &[
        ("/f", "/g", RenameFlags::empty(), None),
        ("/f", "/new", RenameFlags::empty(), None),
        ("/f", "/f", RenameFlags::empty(), None),
        ("/f", "/d", RenameFlags::empty(), Some(Errno::EISDIR)),
        ("/d", "/f", RenameFlags::empty(), Some(Errno::ENOTDIR)),
        ("/d", "/empty", RenameFlags::empty(), None),
        ("/d", "/full", RenameFlags::empty(), Some(Errno::ENOTEMPTY)),
        ("/d", "/d", RenameFlags::empty(), None),
        ("/d", "/d/new", RenameFlags::empty(), Some(Errno::EINVAL)),
        ("/d", "/d/sub/new", RenameFlags::empty(), Some(Errno::EINVAL)),
        ("/d/sub", "/d", RenameFlags::empty(), Some(Errno::ENOTEMPTY)),
        ("/d/sub/y", "/d", RenameFlags::empty(), Some(Errno::ENOTEMPTY)),
        ("/missing", "/f", RenameFlags::empty(), Some(Errno::ENOENT)),
        ("/missing", "/missing2", RenameFlags::empty(), Some(Errno::ENOENT)),
        ("/f", "/missing/x", RenameFlags::empty(), Some(Errno::ENOENT)),
        ("/f", "/g/x", RenameFlags::empty(), Some(Errno::ENOTDIR)),
        ("/l", "/new", RenameFlags::empty(), None),
        ("/l", "/f", RenameFlags::empty(), None),
        ("/.", "/x", RenameFlags::empty(), Some(Errno::EBUSY)),
        ("/", "/x", RenameFlags::empty(), Some(Errno::EBUSY)),
        ("/f", "/d/..", RenameFlags::empty(), Some(Errno::EBUSY)),
        ("/f", "/d/.", NOREPLACE, Some(Errno::EEXIST)),
        ("/f/", "/new", RenameFlags::empty(), Some(Errno::ENOTDIR)),
        ("/f", "/new/", RenameFlags::empty(), Some(Errno::ENOTDIR)),
        ("/f", "/g/", RenameFlags::empty(), Some(Errno::ENOTDIR)),
        ("/d/", "/new/", RenameFlags::empty(), None),
        ("/d/", "/empty/", RenameFlags::empty(), None),
        ("/f", "/g", NOREPLACE, Some(Errno::EEXIST)),
        ("/f", "/f", NOREPLACE, Some(Errno::EEXIST)),
        ("/f", "/new", NOREPLACE, None),
        ("/f", "/g", EXCHANGE, None),
        ("/f", "/d", EXCHANGE, None),
        ("/d", "/full", EXCHANGE, None),
        ("/f", "/new", EXCHANGE, Some(Errno::ENOENT)),
        ("/d", "/d/sub", EXCHANGE, Some(Errno::EINVAL)),
        ("/d/sub", "/d", EXCHANGE, Some(Errno::EINVAL)),
        ("/d/sub", "/f", EXCHANGE, None),
        ("/f", "/g", EXCHANGE.union(NOREPLACE), Some(Errno::EINVAL)),
    ];
    for (old, new, flags, expected) in cases {
        let world = world();
        let (moved, other) = (world.lstat(old).map(|a| a.inode), world.lstat(new).map(|a| a.inode));
        assert_eq!(world.rename_with(old, new, *flags).err(), *expected, "{old} {new} {flags:?}");
        if expected.is_some() || old == new {
            assert_eq!(world.lstat(old).map(|a| a.inode), moved, "{old} stays");
            continue;
        }
        assert_eq!(world.lstat(new).map(|a| a.inode), moved, "{old} is {new}");
        let left = world.lstat(old).map(|a| a.inode);
        let expected_left = if flags.contains(EXCHANGE) { other } else { Err(Errno::ENOENT) };
        assert_eq!(left, expected_left, "{old} {new} {flags:?}");
    }
}

#[test]
fn two_names_of_one_file_stay_two() {
    let world = world();
    world.link("/f", "/h").unwrap();
    assert_eq!(world.rename("/f", "/h"), Ok(()));
    assert!(world.stat("/f").is_ok() && world.stat("/h").is_ok());
    assert_eq!(world.stat("/f").unwrap().links, 2);
}

#[test]
fn places_move_with_their_names() {
    let mut world = world();
    let file = world.open("/d/sub/y", OpenFlags::empty()).unwrap();
    world.chdir("/d/sub").unwrap();
    world.rename("/d", "/full/moved").unwrap();
    assert_eq!(world.cwd(), "/full/moved/sub");
    assert_eq!(world.path_name(&vfs::path_of(&file.0)), "/full/moved/sub/y");
    world.rename_with("/full", "/empty", EXCHANGE).unwrap();
    assert_eq!(world.cwd(), "/empty/moved/sub");
    assert_eq!(world.path_name(&world.place("../..").unwrap()), "/empty");
    world.write_file("/full/z", b"").unwrap();
    world.rename("/full/z", "/empty/moved/sub/y").unwrap();
    assert_eq!(world.path_name(&vfs::path_of(&file.0)), "/empty/moved/sub/y (deleted)");
    assert_eq!(file.read_all().unwrap(), b"/d/sub/y");
}

#[test]
fn permissions_are_those_of_both_directories() {
    let world = world();
    for path in ["/from", "/to", "/from/dir"] {
        world.mkdir(path).unwrap();
    }
    world.chmod("/from", 0o777).unwrap();
    world.write_file("/from/f", b"").unwrap();
    let user = world.as_user(7, &[]);
    assert_eq!(user.rename("/from/f", "/to/f"), Err(Errno::EACCES));
    world.chmod("/to", 0o777).unwrap();
    assert_eq!(user.rename("/from/f", "/to/f"), Ok(()));
    assert_eq!(user.rename("/from/dir", "/to/dir"), Err(Errno::EACCES), "its `..` changes");
    assert_eq!(user.rename("/from/dir", "/from/dir2"), Ok(()));
    world.chmod("/from", 0o1777).unwrap();
    assert_eq!(user.rename("/from/dir2", "/from/dir"), Err(Errno::EPERM), "sticky");
    user.write_file("/from/own", b"").unwrap();
    assert_eq!(user.rename("/from/own", "/from/own2"), Ok(()));
    world.write_file("/from/roots", b"").unwrap();
    assert_eq!(user.rename("/from/own2", "/from/roots"), Err(Errno::EPERM));
}

#[test]
fn mounts_stay_where_they_are() {
    let world = world();
    let other = World::tmpfs();
    world.mount("/empty", other.context.root.mount.file_system().clone(), MountFlags::empty()).unwrap();
    assert_eq!(world.rename("/empty", "/x"), Err(Errno::EBUSY));
    assert_eq!(world.rename("/d", "/empty"), Err(Errno::EBUSY));
    assert_eq!(world.rmdir("/empty"), Err(Errno::EBUSY));
    assert_eq!(world.rename("/f", "/empty/f"), Err(Errno::EXDEV));
    assert_eq!(world.rename("/full", "/y"), Ok(()));
}

/// A directory must not end up below itself, whatever two threads do.
#[test]
fn racing_renames_make_no_loop() {
    for _ in 0..20 {
        let world = World::tmpfs();
        world.mkdir("/a").unwrap();
        world.mkdir("/b").unwrap();
        let swap = |from: &str, to: &str| {
            for _ in 0..200 {
                let _ = world.rename(from, to);
                let _ = world.rename(to, from);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| swap("/a", "/b/a"));
            scope.spawn(|| swap("/b", "/a/b"));
        });
        // Both are still reachable from the root.
        let mut names = world.names("/").unwrap();
        for top in names.clone() {
            names.extend(world.names(&format!("/{top}")).unwrap());
        }
        names.sort();
        assert_eq!(names, ["a", "b"]);
    }
}

#[test]
fn a_name_that_is_replaced_is_always_there() {
    let archive = ArchiveBuilder::new().file("target", b"old").file("f", b"x");
    for world in [World::tmpfs(), World::overlay(&archive)] {
        let world = Arc::new(world);
        world.write_file("/target", b"old").unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..500 {
                    world.write_file("/temporary", format!("{number}").as_bytes()).unwrap();
                    world.rename("/temporary", "/target").unwrap();
                }
                is_over.store(true, Ordering::Release);
            });
            while !is_over.load(Ordering::Acquire) {
                assert!(!world.read_file("/target").unwrap().is_empty());
            }
        });
        assert_eq!(world.read_file("/target").unwrap(), b"499");
    }
}
