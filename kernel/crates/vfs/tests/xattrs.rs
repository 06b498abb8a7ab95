//! Extended attributes: that the layer over an archive keeps them, and that they count against the limit on inodes.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use abi::xattr::XATTR_NAME_POSIX_ACL_ACCESS;
use abi::{AccessRights, Errno};
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

/// With a list the bits of the group are its mask, which says more than the group may: nobody goes by the mode of one
/// moment and the lists of another.
#[test]
fn a_list_and_its_mode_count_together() {
    const NOBODY: u32 = u32::MAX;
    let world = World::tmpfs();
    world.write_file("/file", b"").unwrap();
    world.chown("/file", Some(1), Some(20)).unwrap();
    let place = world.place("/file").unwrap();
    let set = |entries: &[(u16, u16, u32)]| {
        let mut list = 2u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            list.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
            list.extend(id.to_le_bytes());
        }
        change_xattr(&world.credentials, &place, XATTR_NAME_POSIX_ACL_ACCESS, XattrChange::Set(&list)).unwrap();
    };
    let is_over = Arc::new(AtomicBool::new(false));
    set(&[(1, 7, NOBODY), (4, 0, NOBODY), (32, 0, NOBODY)]);
    let checking = {
        let (member, is_over) = (world.as_user(6, &[20]), is_over.clone());
        testkit::threads::spawn(move || {
            let (mut checks, mut granted) = (0_u64, 0_u64);
            while !is_over.load(Relaxed) {
                checks += 1;
                granted += u64::from(member.access("/file", AccessRights::W_OK).is_ok());
            }
            (checks, granted)
        })
    };
    for _ in 0..30_000 {
        // The user 5, and not the group.
        set(&[(1, 7, NOBODY), (2, 7, 5), (4, 0, NOBODY), (16, 7, NOBODY), (32, 0, NOBODY)]);
        set(&[(1, 7, NOBODY), (4, 0, NOBODY), (32, 0, NOBODY)]);
    }
    is_over.store(true, Relaxed);
    let (checks, granted) = checking.join().unwrap();
    println!("{checks} checks");
    assert_eq!(granted, 0, "of {checks}");
}
