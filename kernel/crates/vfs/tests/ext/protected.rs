//! Files that nobody may change, or that only grow; groups that directories hand on; whiteouts.

use std::fs;

use abi::{Errno, FallocateFlags, OpenFlags, RenameFlags, Timespec};
use vfs::fs::ext::ExtOptions;
use vfs::{FileSystem, SetTime, XattrChange};

use crate::images::{KINDS, Mounted, Scratch, check, disk_of, make, mount};
use crate::support::{Answer, World};

const IMMUTABLE: u32 = 0x10;
const APPEND_ONLY: u32 = 0x20;
const NO_ACCESS_TIME: u32 = 0x80;
const SYNCHRONOUS: u32 = 0x8;
const INDEX: u32 = 0x1000;
const DIRECTORIES_SPREAD: u32 = 0x2_0000;
const KEY: &[u8] = b"user.name";

fn fresh(kind: &(&str, &[&str]), options: ExtOptions) -> (Scratch, Mounted) {
    let scratch = Scratch::new();
    let image = make(&scratch, kind.1, None);
    let mounted = mount(&disk_of(&fs::read(&image).unwrap()), options).unwrap();
    (scratch, mounted)
}

fn change_flags(world: &World, path: &str, set: u32, clear: u32) -> Answer<()> {
    let place = world.place(path)?;
    let flags = vfs::inode_flags(&place)? & !clear | set;
    vfs::set_inode_flags(&world.credentials, &place, flags)
}

/// What an operation answers.
fn opened(world: &World, path: &str, flags: OpenFlags) -> Answer<()> {
    world.open(path, flags).map(drop)
}

fn check_immutable(world: &World) {
    let refused = Err(Errno::EPERM);
    let place = world.place("/fixed").unwrap();
    assert_eq!(opened(world, "/fixed", OpenFlags::RDWR), refused);
    assert_eq!(opened(world, "/fixed", OpenFlags::WRONLY | OpenFlags::APPEND), refused);
    assert_eq!(opened(world, "/fixed", OpenFlags::empty()), Ok(()));
    assert_eq!(world.link("/fixed", "/other"), refused);
    assert_eq!(world.unlink("/fixed"), refused);
    assert_eq!(world.rename("/fixed", "/other"), refused);
    assert_eq!(world.rename("/free", "/fixed"), refused);
    assert_eq!(world.chmod("/fixed", 0o600), refused);
    assert_eq!(world.chown("/fixed", Some(1), None), refused);
    assert_eq!(world.truncate("/fixed", 0), refused);
    assert_eq!(vfs::utimens(&world.credentials, &place, SetTime::Now, SetTime::Now), refused);
    let value = XattrChange::Set(b"x");
    assert_eq!(vfs::change_xattr(&world.credentials, &place, KEY, value), refused);
    assert_eq!(world.mkdir("/folder/x"), refused);
    assert_eq!(opened(world, "/folder/x", OpenFlags::RDWR | OpenFlags::CREAT), refused);
    assert_eq!(opened(world, "/folder", OpenFlags::RDWR | OpenFlags::TMPFILE_ONLY | OpenFlags::DIRECTORY), refused);
    assert_eq!(world.unlink("/folder/inside"), refused);
    assert_eq!(world.write_file("/folder/inside", b"changed"), Ok(()), "what is in it is not protected");
}

fn check_append_only(world: &World) {
    let refused = Err(Errno::EPERM);
    let place = world.place("/log").unwrap();
    assert_eq!(opened(world, "/log", OpenFlags::WRONLY), refused);
    assert_eq!(opened(world, "/log", OpenFlags::WRONLY | OpenFlags::APPEND | OpenFlags::TRUNC), refused);
    let log = world.open("/log", OpenFlags::WRONLY | OpenFlags::APPEND).unwrap();
    assert_eq!(log.write(b"more"), Ok(4));
    assert_eq!(log.truncate(0), refused);
    assert_eq!(log.allocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 1), refused);
    assert_eq!(log.file().set_flags(&log.0, 0), refused);
    assert_eq!(world.truncate("/log", 0), refused);
    assert_eq!(world.unlink("/log"), refused);
    assert_eq!(world.link("/log", "/other"), refused);
    assert_eq!(world.chmod("/log", 0o600), refused);
    assert_eq!(vfs::utimens(&world.credentials, &place, SetTime::Now, SetTime::Now), Ok(()));
    assert_eq!(world.write_file("/archive/new", b"").err(), None);
    assert_eq!(world.unlink("/archive/old"), refused);
    assert_eq!(world.rename("/archive/old", "/archive/older"), refused);
}

#[test]
fn flags_protect_files() {
    for kind in [&KINDS[0], &KINDS[4]] {
        let (scratch, mounted) = fresh(kind, ExtOptions::default());
        let world = &mounted.world;
        for directory in ["/folder", "/archive"] {
            world.mkdir(directory).unwrap();
        }
        for file in ["/fixed", "/free", "/log", "/folder/inside", "/archive/old"] {
            world.write_file(file, b"contents").unwrap();
        }
        let before = world.open("/fixed", OpenFlags::RDWR).unwrap();
        for (path, flags) in
            [("/fixed", IMMUTABLE), ("/folder", IMMUTABLE), ("/log", APPEND_ONLY), ("/archive", APPEND_ONLY)]
        {
            change_flags(world, path, flags, 0).unwrap();
        }
        assert_eq!(before.write(b"x"), Err(Errno::EPERM), "who has it open may not write it either");
        check_immutable(world);
        check_append_only(world);
        assert_eq!(change_flags(world, "/free", SYNCHRONOUS, 0), Err(Errno::EOPNOTSUPP));
        // What is not to be chosen is left as it is, what nobody has is refused.
        let flags_before = vfs::inode_flags(&world.place("/free").unwrap());
        assert_eq!(change_flags(world, "/free", INDEX, 0), Ok(()));
        assert_eq!(change_flags(world, "/free", 0x8000_0000, 0), Err(Errno::EOPNOTSUPP));
        assert_eq!(change_flags(world, "/free", DIRECTORIES_SPREAD, 0), Err(Errno::EOPNOTSUPP), "it is no directory");
        assert_eq!(change_flags(world, "/folder", DIRECTORIES_SPREAD, 0), Ok(()));
        assert_eq!(vfs::inode_flags(&world.place("/free").unwrap()), flags_before);
        world.chown("/free", Some(1000), None).unwrap();
        let owner = world.as_user(1000, &[]);
        assert_eq!(change_flags(&owner, "/free", IMMUTABLE, 0), Err(Errno::EPERM));
        assert_eq!(change_flags(&owner, "/free", 0x40, 0), Ok(()));
        assert_eq!(change_flags(&world.as_user(1001, &[]), "/free", 0, 0x40), Err(Errno::EPERM));
        drop(before);
        // The disk says so, too.
        let image = scratch.path("image");
        let bytes = mounted.unmount();
        fs::write(&image, &bytes).unwrap();
        check(&image, kind.0);
        let again = mount(&disk_of(&bytes), ExtOptions::default()).unwrap();
        check_immutable(&again.world);
        check_append_only(&again.world);
        change_flags(&again.world, "/fixed", 0, IMMUTABLE).unwrap();
        again.world.unlink("/fixed").unwrap();
    }
}

#[test]
fn reading_is_no_access_where_the_disk_says_so() {
    /// Whether reading changes the time that was long ago.
    fn is_noted(world: &World, path: &str) -> bool {
        let long_ago = SetTime::To(Timespec { tv_sec: 1, tv_nsec: 2 });
        vfs::utimens(&world.credentials, &world.place(path).unwrap(), long_ago, SetTime::Omit).unwrap();
        world.read_file(path).unwrap();
        world.stat(path).unwrap().accessed.tv_sec != 1
    }
    for kind in [&KINDS[0], &KINDS[4]] {
        let (_scratch, mounted) = fresh(kind, ExtOptions::default());
        let world = &mounted.world;
        world.mkdir("/quiet").unwrap();
        world.write_file("/file", b"contents").unwrap();
        assert!(is_noted(world, "/file"));
        change_flags(world, "/file", NO_ACCESS_TIME, 0).unwrap();
        assert!(!is_noted(world, "/file"));
        change_flags(world, "/quiet", NO_ACCESS_TIME, 0).unwrap();
        world.write_file("/quiet/new", b"contents").unwrap();
        let again = mount(&disk_of(&mounted.unmount()), ExtOptions::default()).unwrap();
        for path in ["/file", "/quiet/new"] {
            assert!(!is_noted(&again.world, path), "{path}, which the disk says");
            change_flags(&again.world, path, 0, NO_ACCESS_TIME).unwrap();
            assert!(is_noted(&again.world, path), "{path}");
        }
    }
}

#[test]
fn directories_hand_on_their_group() {
    let options = ExtOptions { hands_on_group: Some(true), ..ExtOptions::default() };
    let (_scratch, mounted) = fresh(&KINDS[4], options);
    let world = &mounted.world;
    world.mkdir("/group").unwrap();
    world.chown("/group", None, Some(77)).unwrap();
    world.write_file("/group/file", b"").unwrap();
    world.mkdir("/group/below").unwrap();
    assert_eq!(world.stat("/group/file").unwrap().gid, 77);
    let below = world.stat("/group/below").unwrap();
    assert_eq!((below.gid, below.mode & 0o2000), (77, 0));
    assert_eq!(mounted.file_system.options(), b",grpid");
    mounted.file_system.reconfigure(false, b"nogrpid").unwrap();
    world.write_file("/group/own", b"").unwrap();
    assert_eq!(world.stat("/group/own").unwrap().gid, 0);
}

#[test]
fn a_rename_leaves_a_whiteout() {
    for kind in [&KINDS[0], &KINDS[4]] {
        let (scratch, mounted) = fresh(kind, ExtOptions::default());
        let world = &mounted.world;
        world.mkdir("/from").unwrap();
        world.mkdir("/to").unwrap();
        for name in ["/from/a", "/from/b", "/to/b"] {
            world.write_file(name, name.as_bytes()).unwrap();
        }
        world.rename_with("/from/a", "/to/a", RenameFlags::WHITEOUT).unwrap();
        world.rename_with("/from/b", "/to/b", RenameFlags::WHITEOUT).unwrap();
        world.rename_with("/to", "/moved", RenameFlags::WHITEOUT).unwrap();
        for name in ["/from/a", "/from/b", "/to"] {
            let whiteout = world.lstat(name).unwrap();
            assert_eq!((whiteout.mode, whiteout.represents, whiteout.links), (0o020_000, 0, 1), "{name}");
        }
        assert_eq!(world.read_file("/moved/b").unwrap(), b"/from/b");
        assert_eq!(world.names("/from").unwrap(), ["a", "b"]);
        world.unlink("/from/a").unwrap();
        let image = scratch.path("image");
        fs::write(&image, mounted.unmount()).unwrap();
        check(&image, kind.0);
    }
}
