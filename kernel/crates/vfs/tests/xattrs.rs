//! Extended attributes: that the layer over an archive keeps them, and that they count against the limit on inodes.

mod support;

use abi::Errno;
use support::{ArchiveBuilder, World};
use vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use vfs::{XattrChange, change_xattr, get_xattr, list_xattrs};

#[test]
fn a_file_of_the_archive_keeps_them_under_every_name() {
    let archive = ArchiveBuilder::new().directory("d").file("d/file", b"below");
    let world = World::overlay(&archive);
    let place = world.place("/d/file").unwrap();
    change_xattr(&world.credentials, &place, b"user.a", XattrChange::Create(b"1")).unwrap();
    drop(place);
    world.rename("/d/file", "/moved").unwrap();
    let place = world.place("/moved").unwrap();
    assert_eq!(get_xattr(&world.credentials, &place, b"user.a"), Ok(b"1".to_vec()));
    assert_eq!(list_xattrs(&world.credentials, &place).unwrap().into_bytes(), Ok(b"user.a\0".to_vec()));
    assert_eq!(world.read_file("/moved").unwrap(), b"below");
}

#[test]
fn they_take_space_and_give_it_back() {
    support::machine();
    let options = TmpfsOptions { inodes_max: Some(4), ..TmpfsOptions::default() };
    let world = World::over(Tmpfs::new(options));
    let free = || world.place("/").unwrap().mount.file_system().statistics().files_free;
    world.write_file("/file", b"").unwrap();
    assert_eq!(free(), 2);
    let place = world.place("/file").unwrap();
    let change = |name: &[u8], change| change_xattr(&world.credentials, &place, name, change);
    assert_eq!(change(b"user.big", XattrChange::Set(&[0; 4096])), Err(Errno::ENOSPC));
    change(b"user.a", XattrChange::Set(&[0; 600])).unwrap();
    change(b"user.b", XattrChange::Set(&[0; 600])).unwrap();
    assert_eq!(free(), 0);
    assert_eq!(change(b"user.b", XattrChange::Create(&[0; 1])), Err(Errno::EEXIST));
    assert_eq!(change(b"user.c", XattrChange::Replace(&[0; 1])), Err(Errno::ENODATA));
    change(b"user.a", XattrChange::Remove).unwrap();
    change(b"user.b", XattrChange::Set(b"")).unwrap();
    drop(place);
    world.unlink("/file").unwrap();
    assert_eq!(free(), 3);
}
