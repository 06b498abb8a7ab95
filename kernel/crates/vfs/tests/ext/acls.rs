//! Access control lists: they outlive a mount, decide, and are those of e2fsprogs, which knows both of their forms.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use abi::xattr::{XATTR_NAME_POSIX_ACL_ACCESS as ACCESS, XATTR_NAME_POSIX_ACL_DEFAULT as DEFAULT};
use abi::{AccessRights, Errno};
use vfs::fs::ext::ExtOptions;
use vfs::{FileSystem, XattrChange, change_xattr, get_xattr, list_xattrs};

use crate::images::{KINDS, Mounted, Scratch, check, disk_of, make, mount};
use crate::support::{Answer, World};

const OWNER: u16 = 1;
const USER: u16 = 2;
const OWNING_GROUP: u16 = 4;
const MASK: u16 = 16;
const OTHERS: u16 = 32;
const NOBODY: u32 = u32::MAX;

fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// A list that lets the user 5 do `permissions`, and the mask as much.
fn for_user(permissions: u16) -> Vec<u8> {
    let others = if permissions == 7 { 0 } else { 5 };
    list(&[
        (OWNER, 7, NOBODY),
        (USER, permissions, 5),
        (OWNING_GROUP, 5, NOBODY),
        (MASK, 7, NOBODY),
        (OTHERS, others, NOBODY),
    ])
}

fn set(world: &World, path: &str, name: &[u8], value: &[u8]) -> Answer<()> {
    change_xattr(&world.credentials, &world.place(path)?, name, XattrChange::Set(value))
}

fn get(world: &World, path: &str, name: &[u8]) -> Answer<Vec<u8>> {
    get_xattr(&world.credentials, &world.place(path)?, name)
}

fn names(world: &World, path: &str) -> Vec<u8> {
    list_xattrs(&world.credentials, &world.place(path).unwrap()).unwrap().into_bytes().unwrap()
}

fn debugfs(image: &Path, request: &str) -> String {
    let output = Command::new("debugfs").args(["-w", "-R", request]).arg(image).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// An image of one kind, and what is mounted of it.
fn mounted(scratch: &Scratch, options: &[&str]) -> (PathBuf, Mounted) {
    let image = make(scratch, options, None);
    let mounted = remounted(&image);
    (image, mounted)
}

/// Mounts what is on an image.
fn remounted(image: &Path) -> Mounted {
    mount(&disk_of(&fs::read(image).unwrap()), ExtOptions::default()).unwrap()
}

/// An image with an empty file, to which `debugfs` does something.
fn image_with_file(scratch: &Scratch, requests: &[&str]) -> PathBuf {
    let image = make(scratch, KINDS[4].1, None);
    let empty = scratch.path("empty");
    fs::write(&empty, b"").unwrap();
    debugfs(&image, &format!("write {} file", empty.display()));
    requests.iter().for_each(|request| drop(debugfs(&image, request)));
    image
}

fn fill(world: &World) {
    world.write_file("/file", b"contents").unwrap();
    world.write_file("/pushed", b"contents").unwrap();
    world.mkdir("/directory").unwrap();
    set(world, "/file", ACCESS, &for_user(6)).unwrap();
    set(world, "/directory", DEFAULT, &for_user(7)).unwrap();
    set(world, "/directory", ACCESS, &for_user(0)).unwrap();
    // Its list does not fit beside that.
    set(world, "/pushed", b"user.large", &[7; 80]).unwrap();
    set(world, "/pushed", ACCESS, &for_user(6)).unwrap();
    world.mkdir("/directory/below").unwrap();
    world.write_file("/directory/below/new", b"contents").unwrap();
    world.symlink("nowhere", "/directory/link").unwrap();
}

fn check_tree(world: &World) {
    let user = world.as_user(5, &[]);
    let other = world.as_user(6, &[]);
    let read_write = AccessRights::R_OK | AccessRights::W_OK;
    for path in ["/file", "/pushed"] {
        assert_eq!((user.access(path, read_write), other.access(path, read_write)), (Ok(()), Err(Errno::EACCES)));
        assert_eq!(world.stat(path).unwrap().mode & 0o777, 0o775, "{path}");
        assert_eq!(get(world, path, ACCESS), Ok(for_user(6)), "{path}");
    }
    // The mode lets everybody in, the list does not.
    assert_eq!(user.place("/directory/below").err(), Some(Errno::EACCES));
    assert!(other.place("/directory/below").is_ok());
    // A block has them in order, a record as they came.
    let orders = [[DEFAULT, b"\0", ACCESS, b"\0"].concat(), [ACCESS, b"\0", DEFAULT, b"\0"].concat()];
    assert!(orders.contains(&names(world, "/directory/below")));
    assert_eq!(get(world, "/directory/below", DEFAULT), Ok(for_user(7)));
    assert_eq!(world.stat("/directory/below").unwrap().mode & 0o777, 0o770);
    assert_eq!(world.stat("/directory/below/new").unwrap().mode & 0o777, 0o660);
    assert_eq!(get(world, "/directory/below/new", DEFAULT), Err(Errno::ENODATA));
    let new =
        list(&[(OWNER, 6, NOBODY), (USER, 7, 5), (OWNING_GROUP, 5, NOBODY), (MASK, 6, NOBODY), (OTHERS, 0, NOBODY)]);
    assert_eq!(get(world, "/directory/below/new", ACCESS), Ok(new));
}

#[test]
fn lists_outlive_a_mount_and_decide() {
    let scratch = Scratch::new();
    for (kind, options) in KINDS.iter().step_by(2) {
        println!("{kind}");
        let (image, mounted) = mounted(&scratch, options);
        fill(&mounted.world);
        check_tree(&mounted.world);
        let bytes = mounted.unmount();
        fs::write(&image, &bytes).unwrap();
        check(&image, kind);
        let told = scratch.path("list");
        let _ = fs::remove_file(&told);
        debugfs(&image, &format!("ea_get -f {} /file system.posix_acl_access", told.display()));
        // It says nobody by another number.
        let mut expected = for_user(6);
        expected.iter_mut().filter(|byte| **byte == 255).for_each(|byte| *byte = 0);
        assert_eq!(fs::read(&told).unwrap(), expected);

        let mounted = mount(&disk_of(&bytes), ExtOptions::default()).unwrap();
        check_tree(&mounted.world);
        // A mode is taken over, and all of it goes.
        let world = &mounted.world;
        world.chmod("/file", 0o640).unwrap();
        assert_eq!(world.as_user(5, &[]).access("/file", AccessRights::W_OK), Err(Errno::EACCES));
        for path in ["/directory/below/new", "/directory/link", "/file", "/pushed"] {
            world.unlink(path).unwrap();
        }
        world.rmdir("/directory/below").unwrap();
        set(world, "/directory", DEFAULT, &[]).unwrap();
        set(world, "/directory", ACCESS, &[]).unwrap();
        assert_eq!((names(world, "/directory"), world.stat("/directory").unwrap().mode & 0o777), (vec![], 0o775));
        world.write_file("/directory/plain", b"").unwrap();
        assert_eq!(world.stat("/directory/plain").unwrap().mode & 0o777, 0o644);
        fs::write(&image, mounted.unmount()).unwrap();
        check(&image, "without lists");
    }
}

#[test]
fn lists_of_e2fsprogs_decide() {
    let scratch = Scratch::new();
    let value = scratch.path("value");
    fs::write(&value, for_user(6)).unwrap();
    let with_list = format!("ea_set -f {} file system.posix_acl_access", value.display());
    let image = image_with_file(&scratch, &["sif file mode 0100775", &with_list]);
    let disk = disk_of(&fs::read(&image).unwrap());
    let mounted = mount(&disk, ExtOptions::default()).unwrap();
    assert_eq!(get(&mounted.world, "/file", ACCESS), Ok(for_user(6)));
    let access = |world: &World, uid, rights| world.as_user(uid, &[]).access("/file", rights);
    assert_eq!(access(&mounted.world, 5, AccessRights::W_OK), Ok(()));
    assert_eq!(access(&mounted.world, 6, AccessRights::W_OK), Err(Errno::EACCES));
    mounted.unmount();

    // Without lists the mode decides, and nobody sees them.
    let mounted = mount(&disk, ExtOptions::parse(false, b"noacl").unwrap()).unwrap();
    let world = &mounted.world;
    assert!(mounted.file_system.options().ends_with(b",noacl"));
    assert_eq!(access(world, 5, AccessRights::W_OK), Err(Errno::EACCES));
    assert_eq!((get(world, "/file", ACCESS), names(world, "/file")), (Err(Errno::EOPNOTSUPP), vec![]));
    assert_eq!(set(world, "/file", ACCESS, &for_user(7)), Err(Errno::EOPNOTSUPP));
    mounted.file_system.reconfigure(false, b"acl").unwrap();
    assert_eq!(access(world, 5, AccessRights::W_OK), Ok(()));
}

#[test]
fn a_list_that_is_none_is_told() {
    let scratch = Scratch::new();
    let image = image_with_file(&scratch, &["ea_set -r file system.posix_acl_access nonsense"]);
    let mounted = remounted(&image);
    let world = &mounted.world;
    world.chmod("/file", 0o777).expect_err("the list is to be changed as well");
    assert_eq!(get(world, "/file", ACCESS), Err(Errno::EUCLEAN));
    assert_eq!(world.as_user(5, &[]).access("/file", AccessRights::R_OK), Err(Errno::EUCLEAN));
    assert_eq!(world.read_file("/file"), Ok(Vec::new()), "the owner needs no list");
}

/// Bits that are no permissions would be others' in a mode: those of the kind of the file.
#[test]
fn a_list_that_says_more_than_permissions_is_told() {
    let scratch = Scratch::new();
    let value = scratch.path("value");
    fs::write(&value, list(&[(OWNER, 0o207, NOBODY), (OWNING_GROUP, 0o7775, NOBODY), (OTHERS, 0o10, NOBODY)])).unwrap();
    let with_list = |path, kind| format!("ea_set -f {} {path} system.posix_acl_{kind}", value.display());
    let requests = ["mkdir directory", &with_list("directory", "default"), &with_list("file", "access")];
    let mounted = remounted(&image_with_file(&scratch, &requests));
    let world = &mounted.world;
    assert_eq!(world.write_file("/directory/new", b"").err(), Some(Errno::EIO));
    assert_eq!(world.mkdir("/directory/below"), Err(Errno::EIO));
    assert_eq!(world.names("/directory/"), Ok(vec![]));
    assert_eq!((world.chmod("/file", 0o700), world.stat("/file").unwrap().mode), (Err(Errno::EIO), 0o100_644));
    assert_eq!(world.as_user(5, &[]).access("/file", AccessRights::R_OK), Err(Errno::EIO));
    // Another is set in its place.
    set(world, "/file", ACCESS, &for_user(6)).unwrap();
    set(world, "/directory", DEFAULT, &for_user(7)).unwrap();
    world.write_file("/directory/new", b"").unwrap();
    assert_eq!(world.as_user(5, &[]).access("/file", AccessRights::W_OK), Ok(()));
}

/// What there is no room for is not made, and leaves nothing.
#[test]
fn a_full_disk_makes_nothing_without_its_list() {
    let scratch = Scratch::new();
    let (image, mounted) = mounted(&scratch, &[KINDS[1].1, &["-m", "0"]].concat());
    let world = &mounted.world;
    world.mkdir("/directory").unwrap();
    set(world, "/directory", DEFAULT, &for_user(7)).unwrap();
    world.write_file("/directory/room", b"x").unwrap();
    let filler = world.open("/filler", abi::OpenFlags::RDWR | abi::OpenFlags::CREAT).unwrap();
    let block = vec![1; 4096];
    let mut at = 0;
    while filler.pwrite(&block, at).is_ok() {
        at += 4096;
    }
    mounted.file_system.sync().unwrap();
    // Some blocks that were claimed for what was not written then were not needed.
    let made = (0..100).map(|number| (number, world.write_file(&format!("/directory/{number}"), b"")));
    let refused = made.into_iter().find(|(_, made)| made.is_err());
    let (number, made) = refused.expect("each takes a block");
    assert_eq!(made, Err(Errno::ENOSPC));
    assert_eq!(world.place(&format!("/directory/{number}")).err(), Some(Errno::ENOENT));
    drop(filler);
    fs::write(&image, mounted.unmount()).unwrap();
    check(&image, "full");
}

/// A list that is longer than a block leaves mode and list as they were.
#[test]
fn a_list_that_does_not_fit_changes_nothing() {
    let scratch = Scratch::new();
    let (_, mounted) = mounted(&scratch, KINDS[1].1);
    let world = &mounted.world;
    world.write_file("/file", b"x").unwrap();
    let many: Vec<_> = (0..600).map(|id| (USER, 7, id)).collect();
    let mut entries = vec![(OWNER, 7, NOBODY)];
    entries.extend(many);
    entries.extend([(OWNING_GROUP, 5, NOBODY), (MASK, 7, NOBODY), (OTHERS, 0, NOBODY)]);
    assert_eq!(set(world, "/file", ACCESS, &list(&entries)), Err(Errno::ENOSPC));
    assert_eq!(world.stat("/file").unwrap().mode & 0o777, 0o644);
    assert_eq!(world.as_user(5, &[]).access("/file", AccessRights::W_OK), Err(Errno::EACCES));
}
