//! Walks without locks while others rename, make, remove, mount and unmount, and the cache is emptied: no answer is
//! ever wrong. Each inode number says what file it is of, so a walk that ends at another file shows.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::{Errno, RenameFlags};
use support::World;
use vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use vfs::{MountFlags, Unmount};

const READERS: usize = 3;
const ROUNDS: u64 = 600;
/// As many where each round waits until a mount is left.
const MOUNT_ROUNDS: u64 = 40;

/// Lets `change` run so many rounds beside threads that run `look` all the time.
fn beside(world: &World, rounds: u64, look: impl Fn(&World) + Sync, mut change: impl FnMut(&World, u64)) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            let (look, is_over) = (&look, &is_over);
            let world = World { context: world.context.clone(), credentials: world.credentials.clone() };
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    look(&world);
                }
            });
        }
        for round in 0..rounds {
            change(world, round);
            if round % 50 == 49 {
                world.context.root.dentry.drop_unused();
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

fn number(world: &World, path: &str) -> Option<u64> {
    match world.stat(path) {
        Ok(attributes) => Some(attributes.inode),
        Err(errno) => {
            assert_eq!(errno, Errno::ENOENT, "{path}");
            None
        }
    }
}

#[test]
fn a_name_that_is_replaced_is_always_there() {
    let world = World::tmpfs();
    world.mkdir("/d").unwrap();
    world.write_file("/d/target", b"").unwrap();
    let newest = AtomicU64::new(number(&world, "/d/target").unwrap());
    beside(
        &world,
        ROUNDS,
        |world| {
            // Numbers of new files grow.
            let before = newest.load(Ordering::Acquire);
            let found = number(world, "/d/target").expect("it is replaced, never removed");
            assert!(found >= before);
        },
        |world, _| {
            world.write_file("/d/new", b"").unwrap();
            let new = number(world, "/d/new").unwrap();
            world.rename("/d/new", "/d/target").unwrap();
            newest.store(new, Ordering::Release);
            assert_eq!((number(world, "/d/new"), number(world, "/d/target")), (None, Some(new)));
        },
    );
}

#[test]
fn names_that_are_exchanged_are_always_there() {
    let world = World::tmpfs();
    world.mkdir("/d").unwrap();
    world.mkdir("/e").unwrap();
    world.write_file("/d/x", b"").unwrap();
    world.write_file("/e/y", b"").unwrap();
    let both = [number(&world, "/d/x"), number(&world, "/e/y")];
    beside(
        &world,
        ROUNDS,
        |world| assert!(both.contains(&number(world, "/d/x")) && both.contains(&number(world, "/e/y"))),
        |world, _| world.rename_with("/d/x", "/e/y", RenameFlags::EXCHANGE).unwrap(),
    );
}

#[test]
fn a_directory_that_moves_takes_its_files_with_it() {
    let world = World::tmpfs();
    for directory in ["/p", "/q", "/p/dir", "/p/dir/inner", "/p/other"] {
        world.mkdir(directory).unwrap();
    }
    world.write_file("/p/dir/inner/file", b"").unwrap();
    world.write_file("/p/other/file", b"").unwrap();
    let inside = number(&world, "/p/dir/inner/file");
    let other = number(&world, "/p/other/file");
    beside(
        &world,
        ROUNDS,
        |world| {
            for path in ["/p/dir/inner/file", "/q/dir/inner/file", "/q/dir/inner/../inner/file"] {
                let found = number(world, path);
                assert!(found.is_none() || found == inside, "{path}");
            }
            assert_eq!(number(world, "/p/other/file"), other);
            assert_eq!(number(world, "/p/dir/file"), None);
        },
        |world, _| {
            world.rename("/p/dir", "/q/dir").unwrap();
            assert_eq!((number(world, "/p/dir/inner/file"), number(world, "/q/dir/inner/file")), (None, inside));
            world.rename("/q/dir", "/p/dir").unwrap();
            assert_eq!((number(world, "/p/dir/inner/file"), number(world, "/q/dir/inner/file")), (inside, None));
        },
    );
}

#[test]
fn what_is_made_is_there_and_what_is_removed_is_not() {
    let world = World::tmpfs();
    world.mkdir("/c").unwrap();
    // Even while the file is absent, odd while it is there.
    let state = AtomicU64::new(0);
    beside(
        &world,
        ROUNDS,
        |world| {
            let before = state.load(Ordering::SeqCst);
            let found = number(world, "/c/dir/name").is_some();
            let is_settled = state.load(Ordering::SeqCst) == before && before % 4 != 1 && before % 4 != 3;
            assert!(!is_settled || found == (before % 4 == 2));
        },
        |world, _| {
            // 0: absent, 1: being made, 2: there, 3: being removed.
            state.fetch_add(1, Ordering::SeqCst);
            world.mkdir("/c/dir").unwrap();
            world.write_file("/c/dir/name", b"").unwrap();
            state.fetch_add(1, Ordering::SeqCst);
            assert!(number(world, "/c/dir/name").is_some());
            state.fetch_add(1, Ordering::SeqCst);
            world.unlink("/c/dir/name").unwrap();
            world.rmdir("/c/dir").unwrap();
            state.fetch_add(1, Ordering::SeqCst);
            assert!(number(world, "/c/dir/name").is_none());
        },
    );
}

#[test]
fn a_mount_covers_what_is_below_and_goes_only_unused() {
    let world = World::tmpfs();
    world.mkdir("/m").unwrap();
    world.mkdir("/m/sub").unwrap();
    world.write_file("/m/sub/below", b"").unwrap();
    beside(
        &world,
        MOUNT_ROUNDS,
        |world| {
            let Ok(place) = world.place("/m/sub/above") else { return };
            // Whoever is there keeps the mount: its file system works.
            assert_eq!(world.path_name(&place), "/m/sub/above");
        },
        |world, _| {
            let above = Tmpfs::new(TmpfsOptions { mode: 0o755, ..TmpfsOptions::default() });
            world.mount("/m", above, MountFlags::empty()).unwrap();
            assert_eq!(number(world, "/m/sub/below"), None);
            world.mkdir("/m/sub").unwrap();
            world.write_file("/m/sub/above", b"").unwrap();
            loop {
                let at = world.place("/m").unwrap();
                match world.context.namespace.unmount(&world.credentials, &at, Unmount::empty()) {
                    Ok(()) => break,
                    Err(errno) => assert_eq!(errno, Errno::EBUSY),
                }
            }
            assert!(number(world, "/m/sub/below").is_some() && number(world, "/m/sub/above").is_none());
        },
    );
}

#[test]
fn permission_is_taken_away_at_once() {
    let world = World::tmpfs();
    world.mkdir("/d").unwrap();
    world.write_file("/d/file", b"").unwrap();
    let user = world.as_user(1000, &[]);
    for round in 0..10 {
        world.chmod("/d", if round % 2 == 0 { 0o700 } else { 0o711 }).unwrap();
        let expected = if round % 2 == 0 { Some(Errno::EACCES) } else { None };
        assert_eq!(user.stat("/d/file").err(), expected);
        assert_eq!(user.stat("/d/none").err(), expected.or(Some(Errno::ENOENT)));
    }
    // The owner's class counts for the owner, even if others may more.
    world.chmod("/d", 0o077).unwrap();
    world.chown("/d", Some(1000), Some(1000)).unwrap();
    assert_eq!(user.stat("/d/file").err(), Some(Errno::EACCES));
    assert!(world.as_user(1001, &[]).stat("/d/file").is_ok());
}
