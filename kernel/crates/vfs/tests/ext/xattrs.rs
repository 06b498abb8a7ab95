//! Extended attributes, through the calls of this crate.

use std::fs;

use abi::Errno;
use vfs::fs::ext::ExtOptions;
use vfs::{XattrChange, change_xattr, get_xattr, list_xattrs};

use crate::images::{KINDS, Scratch, check, disk_of, make, mount};

#[test]
fn attributes_outlive_a_mount() {
    let scratch = Scratch::new();
    for (kind, options) in KINDS.iter().step_by(3) {
        println!("{kind}");
        let image = make(&scratch, options, None);
        let disk = disk_of(&fs::read(&image).unwrap());
        let mounted = mount(&disk, ExtOptions::default()).unwrap();
        let world = &mounted.world;
        world.write_file("/file", b"contents").unwrap();
        world.mkdir("/directory").unwrap();
        for path in ["/file", "/directory"] {
            let place = world.place(path).unwrap();
            let change = |name: &[u8], change| change_xattr(&world.credentials, &place, name, change);
            change(b"user.small", XattrChange::Create(b"1")).unwrap();
            change(b"user.large", XattrChange::Set(&[7; 800])).unwrap();
            change(b"trusted.empty", XattrChange::Set(b"")).unwrap();
            change(b"user.gone", XattrChange::Set(b"x")).unwrap();
            change(b"user.gone", XattrChange::Remove).unwrap();
            assert_eq!(change(b"user.small", XattrChange::Create(b"2")), Err(Errno::EEXIST));
            assert_eq!(change(b"user.gone", XattrChange::Replace(b"2")), Err(Errno::ENODATA));
            assert_eq!(change(b"user.gone", XattrChange::Remove), Err(Errno::ENODATA));
            assert_eq!(change(b"user.huge", XattrChange::Set(&[0; 60_000])), Err(Errno::ENOSPC));
            assert_eq!(change(b"system.other", XattrChange::Set(b"")), Err(Errno::EOPNOTSUPP));
        }
        let bytes = mounted.unmount();
        fs::write(&image, &bytes).unwrap();
        check(&image, kind);
        let mounted = mount(&disk_of(&bytes), ExtOptions::default()).unwrap();
        let world = &mounted.world;
        for path in ["/file", "/directory"] {
            let place = world.place(path).unwrap();
            let get = |name: &[u8]| get_xattr(&world.credentials, &place, name);
            assert_eq!(get(b"user.small"), Ok(b"1".to_vec()));
            assert_eq!(get(b"user.large"), Ok(vec![7; 800]));
            assert_eq!(get(b"trusted.empty"), Ok(Vec::new()));
            assert_eq!(get(b"user.gone"), Err(Errno::ENODATA));
            let list = list_xattrs(&world.credentials, &place).unwrap().into_bytes().unwrap();
            let mut names: Vec<_> = list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
            names.sort_unstable();
            assert_eq!(names, [&b"trusted.empty"[..], b"user.large", b"user.small"]);
        }
        world.unlink("/file").unwrap();
        world.rmdir("/directory").unwrap();
        let bytes = mounted.unmount();
        fs::write(&image, &bytes).unwrap();
        check(&image, "without the files");
    }
}
