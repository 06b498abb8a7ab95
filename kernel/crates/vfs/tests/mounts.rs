//! Mounts: crossing them both ways, covering, unmounting, and what names look like through them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;

use abi::{Errno, OpenFlags, ResolveFlags};
use support::World;
use vfs::{FileSystem, MountFlags, PathRef, SuperblockFlags, Unmount};

/// Unmounts what nobody uses.
const NOW: Unmount = Unmount::empty();

fn file_system(world: &World) -> Arc<dyn FileSystem> {
    world.context.root.mount.file_system().clone()
}

/// `/m` and `/m/inner/n` are mounted.
fn world() -> World {
    let world = World::tmpfs();
    world.mkdir("/m").unwrap();
    world.write_file("/m/covered", b"").unwrap();
    let middle = World::tmpfs();
    middle.mkdir("/inner").unwrap();
    middle.mkdir("/inner/n").unwrap();
    middle.write_file("/file", b"middle").unwrap();
    world.mount("/m", file_system(&middle), MountFlags::empty()).unwrap();
    let deep = World::tmpfs();
    deep.write_file("/file", b"deep").unwrap();
    deep.symlink("/m/file", "/absolute").unwrap();
    deep.symlink("../../file", "/relative").unwrap();
    world.mount("/m/inner/n", file_system(&deep), MountFlags::empty()).unwrap();
    world
}

#[test]
fn walks_cross_mounts_both_ways() {
    let mut world = world();
    assert_eq!(world.names("/m").unwrap(), ["file", "inner"]);
    for (path, contents) in [
        ("/m/file", "middle"),
        ("/m/inner/n/file", "deep"),
        ("/m/inner/n/../../file", "middle"),
        ("/m/inner/n/absolute", "middle"),
        ("/m/inner/n/relative", "middle"),
        ("/m/../m/inner/../inner/n/file", "deep"),
    ] {
        assert_eq!(world.read_file(path).unwrap(), contents.as_bytes(), "{path}");
    }
    assert_eq!(world.stat("/m/inner/n/../../..").unwrap().inode, world.stat("/").unwrap().inode);
    world.chdir("/m/inner/n").unwrap();
    assert_eq!(world.cwd(), "/m/inner/n");
    world.chdir("..").unwrap();
    assert_eq!(world.cwd(), "/m/inner");
    world.chdir("../..").unwrap();
    assert_eq!(world.cwd(), "/");
    let entries = world.open("/m", OpenFlags::DIRECTORY).unwrap().entries(2).unwrap();
    assert_eq!(entries[1].1, world.stat("/").unwrap().inode, "`..` of a root is outside");
    assert_ne!(world.stat("/m").unwrap().device, world.stat("/").unwrap().device);
}

#[test]
fn no_xdev_stays_inside() {
    let world = world();
    let open = |path| world.open_with(path, OpenFlags::PATH, 0, ResolveFlags::NO_XDEV).map(drop);
    assert_eq!(open("/m/file"), Err(Errno::EXDEV));
    assert_eq!(open("/m"), Err(Errno::EXDEV));
    assert_eq!(open("/"), Ok(()));
    let mut inside = world;
    inside.chdir("/m/inner/n").unwrap();
    let open = |path| inside.open_with(path, OpenFlags::PATH, 0, ResolveFlags::NO_XDEV).map(drop);
    assert_eq!(open("file"), Ok(()));
    assert_eq!(open(".."), Err(Errno::EXDEV));
    assert_eq!(open("absolute"), Err(Errno::EXDEV));
}

#[test]
fn mounts_stack() {
    let world = world();
    let top = World::tmpfs();
    top.write_file("/top", b"").unwrap();
    world.mount("/m", file_system(&top), MountFlags::empty()).unwrap();
    assert_eq!(world.names("/m").unwrap(), ["top"]);
    assert_eq!(world.stat("/m/..").unwrap().inode, world.stat("/").unwrap().inode);
    let namespace = &world.context.namespace;
    namespace.unmount(&world.credentials, &world.place("/m").unwrap(), NOW).unwrap();
    assert_eq!(world.names("/m").unwrap(), ["file", "inner"]);
    assert_eq!(namespace.unmount(&world.credentials, &world.place("/m").unwrap(), NOW), Err(Errno::EBUSY));
    namespace.unmount(&world.credentials, &world.place("/m/inner/n").unwrap(), NOW).unwrap();
    namespace.unmount(&world.credentials, &world.place("/m").unwrap(), NOW).unwrap();
    assert_eq!(world.names("/m").unwrap(), ["covered"]);
    assert_eq!(namespace.unmount(&world.credentials, &world.place("/m").unwrap(), NOW), Err(Errno::EINVAL));
    assert_eq!(namespace.unmount(&world.credentials, &world.place("/").unwrap(), NOW), Err(Errno::EINVAL));
    assert_eq!(namespace.mounts().len(), 1);
}

#[test]
fn who_may_mount_what() {
    let world = world();
    world.write_file("/f", b"").unwrap();
    let other = World::tmpfs();
    assert_eq!(world.mount("/f", file_system(&other), MountFlags::empty()), Err(Errno::ENOTDIR));
    let user = world.as_user(7, &[]);
    assert_eq!(user.mount("/m", file_system(&other), MountFlags::empty()), Err(Errno::EPERM));
    assert_eq!(user.context.namespace.unmount(&user.credentials, &user.place("/m").unwrap(), NOW), Err(Errno::EPERM));
}

#[test]
fn an_unmounted_tree_works_for_who_is_in_it() {
    let mut world = world();
    world.chdir("/m/inner/n").unwrap();
    let file = world.open("file", OpenFlags::empty()).unwrap();
    let namespace = &world.context.namespace;
    assert_eq!(namespace.unmount(&world.credentials, &world.place(".").unwrap(), NOW), Err(Errno::EBUSY));
    namespace.unmount(&world.credentials, &world.place(".").unwrap(), Unmount::DETACH).unwrap();
    assert_eq!(file.read_all().unwrap(), b"deep");
    assert_eq!(world.read_file("file").unwrap(), b"deep");
    assert_eq!(world.cwd(), "(unreachable)/");
    assert_eq!(world.path_name(&vfs::path_of(&file.0)), "(unreachable)/file");
    assert!(world.stat("..").is_ok());
}

#[test]
fn a_bind_mount_shows_the_same_files() {
    let world = world();
    world.mkdir("/again").unwrap();
    let place = |path: &str| -> PathRef { world.place(path).unwrap() };
    let namespace = &world.context.namespace;
    namespace.bind(&world.credentials, &place("/again"), &place("/m/inner"), false).unwrap();
    world.write_file("/again/n/new", b"through the bind").unwrap();
    assert_eq!(world.stat("/m/inner/n/new").err(), Some(Errno::ENOENT), "another mount covers n there");
    namespace.unmount(&world.credentials, &place("/m/inner/n"), NOW).unwrap();
    assert_eq!(world.read_file("/m/inner/n/new").unwrap(), b"through the bind");
    assert_eq!(world.path_name(&place("/again/n/..")), "/again");
    assert_eq!(world.path_name(&place("/again/..")), "/");
    assert_eq!(world.rename("/again/n/new", "/m/inner/moved"), Err(Errno::EXDEV), "two mounts, one file system");
}

#[test]
fn flags_of_mounts() {
    let world = World::tmpfs();
    world.mkdir("/m").unwrap();
    let inner = World::tmpfs();
    inner.write_file("/program", b"x").unwrap();
    inner.chmod("/program", 0o755).unwrap();
    inner.mknod("/null", 0o020_666, 0x103).unwrap();
    let flags = MountFlags::NO_EXECUTE | MountFlags::NO_DEVICES;
    world.mount("/m", file_system(&inner), flags).unwrap();
    assert_eq!(world.access("/m/program", abi::AccessRights::X_OK), Err(Errno::EACCES));
    assert_eq!(world.open("/m/null", OpenFlags::RDWR).err(), Some(Errno::EACCES));
    let at = world.place("/m").unwrap();
    assert_eq!(vfs::statfs(&at).flags & 0xf, 0xc);
    world.context.namespace.remount(&world.credentials, &at, MountFlags::READ_ONLY).unwrap();
    assert_eq!(world.access("/m/program", abi::AccessRights::X_OK), Ok(()));
    assert_eq!(world.write_file("/m/program", b""), Err(Errno::EROFS));
    assert_eq!(vfs::statfs(&at).flags, 0x1021, "relatime unless something else is asked for");
    let flags = MountFlags::STRICT_ACCESS_TIME;
    world.context.namespace.remount(&world.credentials, &at, flags).unwrap();
    assert_eq!(vfs::statfs(&at).flags, 0x20);
    let accessed = || world.stat("/m/program").unwrap().accessed;
    let file = world.open("/m/program", OpenFlags::empty()).unwrap();
    let times = [accessed(), file.read(1).map(|_| accessed()).unwrap(), file.read(1).map(|_| accessed()).unwrap()];
    assert!(times[0] != times[1] && times[1] != times[2]);
}

#[test]
fn who_writes_keeps_a_mount_writable() {
    let world = World::tmpfs();
    world.mkdir("/m").unwrap();
    world.mount("/m", file_system(&World::tmpfs()), MountFlags::empty()).unwrap();
    let at = || world.place("/m").unwrap();
    let namespace = &world.context.namespace;
    let read_only = SuperblockFlags { is_read_only: true, is_synchronous: false };
    let file = world.open("/m/f", OpenFlags::CREAT | OpenFlags::WRONLY).unwrap();
    assert_eq!(namespace.remount(&world.credentials, &at(), MountFlags::READ_ONLY), Err(Errno::EBUSY));
    let reconfigure = |flags| namespace.reconfigure(&world.credentials, &at(), flags, MountFlags::empty(), &[]);
    assert_eq!(reconfigure(read_only), Err(Errno::EBUSY));
    assert_eq!(file.write(b"still"), Ok(5));
    drop(file);
    reconfigure(read_only).unwrap();
    assert_eq!(world.open("/m/f", OpenFlags::WRONLY).err(), Some(Errno::EROFS));
    assert_eq!(world.rename("/m/f", "/m/g"), Err(Errno::EROFS));
    assert_eq!(world.read_file("/m/f").unwrap(), b"still");
    reconfigure(SuperblockFlags::default()).unwrap();
    namespace.remount(&world.credentials, &at(), MountFlags::READ_ONLY).unwrap();
    assert_eq!(world.open("/m/f", OpenFlags::WRONLY).err(), Some(Errno::EROFS));
    assert_eq!(namespace.unmount(&world.credentials, &at(), NOW), Ok(()));
}

#[test]
fn a_tree_is_bound_and_moved_as_a_whole() {
    let world = world();
    world.mkdir("/copy").unwrap();
    world.mkdir("/moved").unwrap();
    let place = |path: &str| -> PathRef { world.place(path).unwrap() };
    let namespace = &world.context.namespace;
    namespace.bind(&world.credentials, &place("/copy"), &place("/m"), true).unwrap();
    assert_eq!(world.read_file("/copy/inner/n/file").unwrap(), b"deep");
    assert_eq!(namespace.mounts().len(), 5);
    assert_eq!(namespace.move_mount(&world.credentials, &place("/copy/inner"), &place("/copy")), Err(Errno::ELOOP));
    namespace.move_mount(&world.credentials, &place("/moved"), &place("/copy")).unwrap();
    assert_eq!(world.read_file("/moved/inner/n/file").unwrap(), b"deep");
    assert_eq!(world.names("/copy").unwrap(), [""; 0]);
    assert_eq!(world.path_name(&place("/moved/inner/n")), "/moved/inner/n");
    assert_eq!(world.rmdir("/moved"), Err(Errno::EBUSY));
    namespace.unmount(&world.credentials, &place("/moved"), Unmount::DETACH).unwrap();
    assert_eq!(namespace.mounts().len(), 3);
    assert_eq!(world.rmdir("/moved"), Ok(()));
    assert_eq!(world.read_file("/m/inner/n/file").unwrap(), b"deep");
}

#[test]
fn a_new_root_takes_the_place_of_the_old() {
    let mut world = world();
    let namespace = world.context.namespace.clone();
    let (root, new_root) = (world.place("/").unwrap(), world.place("/m").unwrap());
    let pivot = |old_at: &PathRef| namespace.pivot_root(&world.credentials, &root, &new_root, old_at);
    assert_eq!(pivot(&world.place("/").unwrap()), Err(Errno::EBUSY));
    assert_eq!(pivot(&world.place("/m/inner").unwrap()), Ok(()));
    world.context.move_root(&root, &new_root);
    assert_eq!(world.names("/").unwrap(), ["file", "inner"]);
    assert_eq!(world.path_name(&world.place("/inner").unwrap()), "/inner");
    assert!(world.stat("/inner/m/covered").is_ok(), "the old root, whose /m covers nothing now");
    assert_eq!(world.stat("/..").unwrap().inode, world.stat("/").unwrap().inode);
    assert!(namespace.root().is_same(&new_root));
}
