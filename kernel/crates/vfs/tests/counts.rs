//! How many inodes and names are in memory. In a program of its own, as they are counted for all file systems.

mod support;

use abi::{Errno, OpenFlags};
use support::World;
use vfs::{DentryCounts, dentry_counts, inode_count};

#[test]
fn inodes_and_names_are_counted() {
    let world = World::tmpfs();
    let before = (inode_count(), dentry_counts().unwrap());
    let differ = || {
        let now = dentry_counts().unwrap();
        let less = |now: usize, before: usize| now.wrapping_sub(before);
        let (all, unused) = (less(now.all, before.1.all), less(now.unused, before.1.unused));
        (less(inode_count(), before.0), DentryCounts { all, unused, absent: less(now.absent, before.1.absent) })
    };
    let counts = |all, unused, absent| DentryCounts { all, unused, absent };
    assert_eq!(differ(), (0, counts(0, 0, 0)));
    world.mkdir("/folder").unwrap();
    for name in ["/folder/a", "/folder/b", "/c"] {
        world.write_file(name, b"x").unwrap();
    }
    // What holds a cached name is in use.
    assert_eq!(differ(), (4, counts(4, 3, 0)));
    let open = world.open("/c", OpenFlags::empty()).unwrap();
    assert_eq!(differ(), (4, counts(4, 2, 0)));
    assert_eq!(world.stat("/folder/absent").err(), Some(Errno::ENOENT));
    assert_eq!(differ(), (4, counts(5, 3, 1)));
    world.unlink("/c").unwrap();
    assert_eq!(differ(), (4, counts(4, 3, 1)), "it is open");
    drop(open);
    assert_eq!(differ(), (3, counts(4, 3, 1)));
    world.place("/").unwrap().dentry.drop_unused();
    // Of a tmpfs the files are there without a name in the cache.
    assert_eq!(differ(), (3, counts(0, 0, 0)));
    for name in ["/folder/a", "/folder/b"] {
        world.unlink(name).unwrap();
    }
    world.rmdir("/folder").unwrap();
    world.place("/").unwrap().dentry.drop_unused();
    assert_eq!(differ(), (0, counts(0, 0, 0)));
}
