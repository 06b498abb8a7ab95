//! `open` with its flags, and the answers of Linux where flags, kinds and permissions meet.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use abi::open::{SEEK_CUR, SEEK_END, SEEK_SET};
use abi::{Errno, FallocateFlags, OpenFlags, ResolveFlags};
use support::World;
use vfs::{Lookup, MountFlags};

const RDONLY: OpenFlags = OpenFlags::empty();
const WRONLY: OpenFlags = OpenFlags::WRONLY;
const RDWR: OpenFlags = OpenFlags::RDWR;
const CREAT: OpenFlags = OpenFlags::CREAT;
const EXCL: OpenFlags = OpenFlags::EXCL;
const TRUNC: OpenFlags = OpenFlags::TRUNC;
const DIRECTORY: OpenFlags = OpenFlags::DIRECTORY;
const NOFOLLOW: OpenFlags = OpenFlags::NOFOLLOW;
const PATH: OpenFlags = OpenFlags::PATH;
const TMPFILE: OpenFlags = OpenFlags::TMPFILE;

fn world() -> World {
    let world = World::tmpfs();
    world.mkdir("/d").unwrap();
    world.write_file("/f", b"contents").unwrap();
    for (target, path) in [("f", "/to-f"), ("d", "/to-d"), ("new", "/d/to-new"), ("missing/x", "/to-nowhere")] {
        world.symlink(target, path).unwrap();
    }
    world.mknod("/fifo", 0o010_666, 0).unwrap();
    world.mknod("/socket", 0o140_666, 0).unwrap();
    world.mknod("/device", 0o020_666, 0x1234).unwrap();
    world
}

#[test]
fn flags_and_kinds() {
    let cases: &[(&str, OpenFlags, Option<Errno>)] = &[
        ("/f", RDONLY, None),
        ("/f", RDWR | CREAT, None),
        ("/f", RDWR | CREAT | EXCL, Some(Errno::EEXIST)),
        ("/to-f", RDWR | CREAT | EXCL, Some(Errno::EEXIST)),
        ("/to-nowhere", RDWR | CREAT | EXCL, Some(Errno::EEXIST)),
        ("/d", RDONLY | CREAT | EXCL, Some(Errno::EEXIST)),
        ("/d", RDONLY | CREAT, Some(Errno::EISDIR)),
        ("/d/", RDONLY | CREAT, Some(Errno::EISDIR)),
        ("/d/.", RDONLY | CREAT, Some(Errno::EISDIR)),
        ("/", RDONLY | CREAT, None),
        ("/new/", WRONLY | CREAT, Some(Errno::EISDIR)),
        ("/missing/new", WRONLY | CREAT, Some(Errno::ENOENT)),
        ("/f/new", WRONLY | CREAT, Some(Errno::ENOTDIR)),
        ("/d", RDONLY, None),
        ("/d", WRONLY, Some(Errno::EISDIR)),
        ("/d", RDWR, Some(Errno::EISDIR)),
        ("/d", RDONLY | TRUNC, Some(Errno::EISDIR)),
        ("/d", RDONLY | DIRECTORY, None),
        ("/f", RDONLY | DIRECTORY, Some(Errno::ENOTDIR)),
        ("/to-d", RDONLY | DIRECTORY, None),
        ("/to-d", RDONLY | DIRECTORY | NOFOLLOW, Some(Errno::ENOTDIR)),
        ("/to-d/", RDONLY | NOFOLLOW, None),
        ("/to-f", RDONLY | NOFOLLOW, Some(Errno::ELOOP)),
        ("/to-f", RDONLY | NOFOLLOW | CREAT, Some(Errno::ELOOP)),
        ("/to-f", PATH | NOFOLLOW, None),
        ("/to-nowhere", RDONLY, Some(Errno::ENOENT)),
        ("/to-nowhere", WRONLY | CREAT, Some(Errno::ENOENT)),
        ("/to-nowhere", PATH | NOFOLLOW, None),
        ("/x", RDONLY | CREAT | DIRECTORY, Some(Errno::EINVAL)),
        ("/socket", RDWR, Some(Errno::ENXIO)),
        ("/socket", PATH, None),
        ("/device", RDWR, Some(Errno::ENXIO)),
        ("/fifo", RDWR, None),
        ("/d", TMPFILE | RDWR, None),
        ("/d", TMPFILE, Some(Errno::EINVAL)),
        ("/f", TMPFILE | RDWR, Some(Errno::ENOTDIR)),
        ("/f", PATH | WRONLY | CREAT | EXCL, None),
    ];
    let world = world();
    for (path, flags, expected) in cases {
        let expected = if *path == "/" { Some(Errno::EISDIR) } else { *expected };
        assert_eq!(world.open(path, *flags).err(), expected, "{path} {flags:?}");
    }
    // Links to what is not there are created through.
    world.open("/d/to-new", WRONLY | CREAT).unwrap();
    assert!(world.stat("/d/new").is_ok());
}

#[test]
fn truncation_needs_write_permission_and_happens_once() {
    let world = world();
    let before = world.stat("/f").unwrap();
    world.open("/f", RDONLY | TRUNC).unwrap();
    let after = world.stat("/f").unwrap();
    assert_eq!(after.size, 0);
    assert_ne!(before.modified, after.modified);
    world.write_file("/f", b"again").unwrap();
    let user = world.as_user(7, &[]);
    assert_eq!(user.open("/f", RDONLY | TRUNC).err(), Some(Errno::EACCES));
    assert_eq!(world.read_file("/f").unwrap(), b"again");
}

#[test]
fn new_files_get_mode_and_owner() {
    let mut world = world();
    world.context.umask = 0o027;
    let file = world.open_with("/d/x", WRONLY | CREAT, 0o6777, ResolveFlags::empty()).unwrap();
    assert_eq!(file.stat().mode, 0o106_750);
    world.mkdir("/d/sub").unwrap();
    assert_eq!(world.stat("/d/sub").unwrap().mode, 0o040_750);
    world.context.umask = 0;
    world.chmod("/d", 0o2777).unwrap();
    world.chown("/d", None, Some(55)).unwrap();
    let user = world.as_user(7, &[]);
    user.mkdir("/d/by-user").unwrap();
    let made = world.stat("/d/by-user").unwrap();
    assert_eq!((made.uid, made.gid, made.mode), (7, 55, 0o042_777));
    let file = user.open_with("/d/file", WRONLY | CREAT, 0o2775, ResolveFlags::empty()).unwrap();
    assert_eq!((file.stat().gid, file.stat().mode), (55, 0o100_775), "a group that is not the user's");
    let member = world.as_user(7, &[55]);
    let file = member.open_with("/d/file2", WRONLY | CREAT, 0o2775, ResolveFlags::empty()).unwrap();
    assert_eq!(file.stat().mode, 0o102_775);
}

#[test]
fn a_file_made_read_only_is_written_by_its_maker() {
    let world = world();
    world.chmod("/d", 0o777).unwrap();
    let user = world.as_user(7, &[]);
    let file = user.open_with("/d/ro", RDWR | CREAT, 0o400, ResolveFlags::empty()).unwrap();
    assert_eq!(file.write(b"x"), Ok(1));
    assert_eq!(user.open("/d/ro", WRONLY).err(), Some(Errno::EACCES));
}

#[test]
fn unnamed_files_can_be_given_names() {
    let world = world();
    let file = world.open("/d", TMPFILE | RDWR).unwrap();
    assert_eq!(file.write(b"nameless"), Ok(8));
    assert_eq!(file.stat().links, 0);
    assert_eq!(world.names("/d").unwrap(), ["to-new"]);
    let place = vfs::path_of(&file.0);
    assert!(world.path_name(&place).ends_with(" (deleted)"));
    vfs::link(&world.context, &world.credentials, &place, None, b"/d/named").unwrap();
    assert_eq!(world.read_file("/d/named").unwrap(), b"nameless");
    assert_eq!(file.stat().links, 1);
    let secret = world.open("/d", TMPFILE | RDWR | EXCL).unwrap();
    let place = vfs::path_of(&secret.0);
    assert_eq!(vfs::link(&world.context, &world.credentials, &place, None, b"/d/no"), Err(Errno::ENOENT));
}

#[test]
fn a_removed_file_lives_while_it_is_open() {
    let world = world();
    let file = world.open("/d/x", RDWR | CREAT).unwrap();
    file.write(&[1; 10_000]).unwrap();
    world.unlink("/d/x").unwrap();
    assert_eq!(world.stat("/d/x").err(), Some(Errno::ENOENT));
    assert_eq!(file.pread(2, 9999).unwrap(), [1]);
    assert_eq!(file.stat().links, 0);
    let place = vfs::path_of(&file.0);
    assert_eq!(world.path_name(&place), "/d/x (deleted)");
    assert_eq!(vfs::link(&world.context, &world.credentials, &place, None, b"/d/y"), Err(Errno::ENOENT));
    // The name can be used again, for another file.
    world.write_file("/d/x", b"other").unwrap();
    assert_eq!(file.pread(1, 0).unwrap(), [1]);
    drop((file, place));
    assert_eq!(testkit::frames::used(), 2, "the pages of /f and /d/x");
    let statistics = vfs::statfs(&world.place("/").unwrap());
    assert_eq!(statistics.blocks - statistics.blocks_free, 2);
}

#[test]
fn appending_goes_to_the_end() {
    let world = world();
    let file = world.open("/f", RDWR | OpenFlags::APPEND).unwrap();
    let other = world.open("/f", RDWR).unwrap();
    assert_eq!(file.write(b"+"), Ok(1));
    assert_eq!(file.seek(0, SEEK_CUR), Ok(9));
    other.truncate(3).unwrap();
    file.seek(0, SEEK_SET).unwrap();
    assert_eq!(file.write(b"end"), Ok(3));
    // Linux appends even where pwrite says.
    assert_eq!(file.pwrite(b"!", 0), Ok(1));
    assert_eq!(world.read_file("/f").unwrap(), b"conend!");
}

#[test]
fn positions_have_bounds() {
    let world = world();
    let file = world.open("/f", RDWR).unwrap();
    assert_eq!(file.seek(-1, SEEK_SET), Err(Errno::EINVAL));
    assert_eq!(file.seek(-8, SEEK_END), Ok(0));
    assert_eq!(file.seek(-9, SEEK_END), Err(Errno::EINVAL));
    assert_eq!(file.seek(i64::MAX, SEEK_SET), Ok(i64::MAX as u64));
    assert_eq!(file.seek(1, SEEK_CUR), Err(Errno::EINVAL));
    assert_eq!(file.read(1).unwrap(), b"");
    assert_eq!(file.write(b"x"), Err(Errno::EFBIG));
    assert_eq!(file.pwrite(b"xy", i64::MAX as u64 - 1), Ok(1));
    assert_eq!(file.stat().size, i64::MAX as u64);
    assert_eq!(file.seek(0, 9), Err(Errno::EINVAL));
    let directory = world.open("/d", RDONLY).unwrap();
    assert_eq!(directory.read(1), Err(Errno::EISDIR));
    assert_eq!(directory.seek(0, SEEK_END), Err(Errno::EINVAL));
    assert_eq!(directory.truncate(0), Err(Errno::EINVAL));
}

#[test]
fn a_read_only_mount_lets_nothing_change() {
    let world = World::tmpfs();
    world.mkdir("/m").unwrap();
    let inner = World::tmpfs();
    inner.mkdir("/d").unwrap();
    inner.write_file("/f", b"x").unwrap();
    inner.mknod("/fifo", 0o010_666, 0).unwrap();
    let file_system = inner.context.root.mount.file_system().clone();
    world.mount("/m", file_system, MountFlags::READ_ONLY).unwrap();
    let read_only = Some(Errno::EROFS);
    assert_eq!(world.open("/m/f", WRONLY).err(), read_only);
    assert_eq!(world.open("/m/f", RDONLY | TRUNC).err(), read_only);
    assert_eq!(world.open("/m/f", RDONLY | CREAT).err(), None);
    assert_eq!(world.open("/m/new", WRONLY | CREAT).err(), read_only);
    assert_eq!(world.open("/m/d", TMPFILE | RDWR).err(), read_only);
    assert_eq!(world.open("/m/fifo", RDWR).err(), None, "a FIFO is no part of the file system's contents");
    assert_eq!(world.mkdir("/m/d").err(), Some(Errno::EEXIST));
    assert_eq!(world.mkdir("/m/e").err(), read_only);
    assert_eq!(world.unlink("/m/missing").err(), read_only);
    assert_eq!(world.rmdir("/m/d").err(), read_only);
    assert_eq!(world.rename("/m/f", "/m/g").err(), read_only);
    assert_eq!(world.link("/m/f", "/m/g").err(), read_only);
    assert_eq!(world.chmod("/m/f", 0).err(), read_only);
    assert_eq!(world.chown("/m/f", Some(1), None).err(), read_only);
    assert_eq!(world.truncate("/m/f", 0).err(), read_only);
    assert_eq!(world.access("/m/f", abi::AccessRights::W_OK).err(), read_only);
    assert_eq!(world.access("/m/f", abi::AccessRights::R_OK).err(), None);
    assert_eq!(world.rename("/m/f", "/f").err(), Some(Errno::EXDEV));
}

#[test]
fn a_file_being_executed_is_not_written() {
    let world = world();
    let program = world.place("/f").unwrap();
    program.inode().metadata().deny_writing().unwrap();
    assert_eq!(world.open("/f", RDWR).err(), Some(Errno::ETXTBSY));
    assert_eq!(world.open("/f", RDONLY | TRUNC).err(), Some(Errno::ETXTBSY));
    assert_eq!(world.truncate("/f", 0), Err(Errno::ETXTBSY));
    assert!(world.open("/f", RDONLY).is_ok());
    program.inode().metadata().allow_writing();
    let writer = world.open("/f", RDWR).unwrap();
    assert_eq!(program.inode().metadata().deny_writing(), Err(Errno::ETXTBSY));
    drop(writer);
    assert_eq!(program.inode().metadata().deny_writing(), Ok(()));
}

#[test]
fn access_times_follow_the_mount_and_the_flags() {
    let world = world();
    let accessed = || world.stat("/f").unwrap().accessed;
    let written = accessed();
    let file = world.open("/f", RDONLY | OpenFlags::NOATIME).unwrap();
    file.read(1).unwrap();
    assert_eq!(accessed(), written);
    let file = world.open("/f", RDONLY).unwrap();
    file.read(1).unwrap();
    let first = accessed();
    assert_ne!(first, written, "older than the last change");
    file.read(1).unwrap();
    assert_eq!(accessed(), first, "newer than the last change");
    world.chmod("/f", 0o666).unwrap();
    file.read(1).unwrap();
    assert_ne!(accessed(), first, "older than the last change of attributes");
    let user = world.as_user(7, &[]);
    assert_eq!(user.open("/f", RDONLY | OpenFlags::NOATIME).err(), Some(Errno::EPERM));
}

#[test]
fn a_path_only_file_names_a_place() {
    let world = world();
    let user = world.as_user(7, &[]);
    world.chmod("/f", 0).unwrap();
    let file = user.open("/f", PATH | RDWR | TRUNC).unwrap();
    assert!(file.0.is_path_only());
    assert_eq!(file.stat().size, 8);
    assert_eq!(user.path_name(&vfs::path_of(&file.0)), "/f");
    let link = user.open("/to-f", PATH | NOFOLLOW).unwrap();
    assert_eq!(link.stat().mode, 0o120_777);
    let empty = vfs::resolve(&user.context, &user.credentials, Some(&vfs::path_of(&file.0)), b"", Lookup::EMPTY);
    assert_eq!(vfs::stat(&empty.unwrap()).size, 8);
}

#[test]
fn allocation_by_kind() {
    let world = world();
    let none = FallocateFlags::empty();
    assert_eq!(world.open("/d", RDONLY).unwrap().allocate(none, 0, 1), Err(Errno::EISDIR));
    assert_eq!(world.open("/fifo", RDWR).unwrap().allocate(none, 0, 1), Err(Errno::ESPIPE));
    let file = world.open("/f", RDWR).unwrap();
    assert_eq!(file.allocate(none, i64::MAX as u64, 1), Err(Errno::EFBIG));
    assert_eq!(file.allocate(FallocateFlags::COLLAPSE_RANGE, 0, 4096), Err(Errno::EOPNOTSUPP));
}
